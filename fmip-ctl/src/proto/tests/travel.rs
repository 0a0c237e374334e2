//! A mobile node that moves on: bindings in force, uplinks inside uplinks, the way back.

use super::*;
use crate::wire::RouterInfo;

const AP3: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 3]);
const THIRD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1);
const THIRD_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x33]);
const THIRD_COA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0xff, 0xfe00, 1);

/// A mobile node with a key for every router.
fn traveller() -> Simulation {
    let mut config = mobile_node_config();
    for n in 2..4 {
        config.routers.push(RouterKey {
            router: Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1),
            prefix: Some(format!("2001:db8:{n}::/64").parse().unwrap()),
            access_point: None,
            spi: SPI,
            key: KEY.to_vec(),
        });
    }
    Simulation::with(config, router_config(false), router_config(true))
}

/// It has arrived at the NAR, and the tunnel of the first move still stands.
fn at_nar() -> Simulation {
    let mut simulation = traveller();
    simulation.impend();
    simulation.run(SECOND);
    simulation.log.clear();
    simulation
}

/// Lets the mobile node move from the NAR to the third router, which is not simulated: it hears
/// the messages that it would hear.
fn to_third(simulation: &mut Simulation) {
    let access_point = AP3;
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    let tuple = crate::wire::ApTuple {
        access_point,
        outcome: ApOutcome::Known,
        router: Some(RouterInfo {
            lla: THIRD_LLA,
            address: THIRD,
            prefix: "2001:db8:3::/64".parse().unwrap(),
        }),
        new_coa: None,
    };
    let told = Packet {
        source: "fe80::2".parse().unwrap(),
        destination: NCOA,
        hop_limit: 255,
        home_address: None,
        message: Message::PrRtAdv(PrRtAdv {
            code: PrRtAdvCode::Neighborhood,
            identifier: 0,
            source_lla: Some(NAR_LLA),
            tuples: vec![tuple],
            unknown: Vec::new(),
        }),
    };
    simulation.inject(Node::Mn, ACCESS, told.encode());
    simulation.link(LinkEvent::HandoverImpend { access_point });
    let (_, packet) = simulation.messages(Node::Mn, "FBU").last().unwrap();
    let Message::FastBindingUpdate(fbu) = packet.message else {
        panic!("an FBU was asked for");
    };
    let granted = Packet {
        source: NAR,
        destination: NCOA,
        hop_limit: 64,
        home_address: None,
        message: Message::FastBindingAck(FastBindingAck {
            status: FastBindingStatus::Accepted,
            key_management: false,
            sequence: fbu.sequence,
            lifetime: 30,
            alternate_coa: None,
            unknown: Vec::new(),
            authorization: None,
        }),
    };
    let addresses = Addresses {
        care_of: THIRD_COA,
        par: NAR,
    };
    let granted = sign(granted, SPI, KEY, addresses);
    simulation.inject(Node::Mn, ACCESS, granted);
}

fn uplink_commands(simulation: &Simulation) -> Vec<(&'static str, Ipv6Addr, Option<Tunnel>)> {
    let uplink = |command: Command| match command {
        Command::HoldUplink { pcoa, tunnel, .. } => Some(("hold", pcoa, tunnel)),
        Command::ReleaseUplink { pcoa, tunnel, .. } => Some(("release", pcoa, tunnel)),
        Command::RemoveUplink { pcoa } => Some(("remove", pcoa, None)),
        _ => None,
    };
    commands(simulation)
        .into_iter()
        .filter_map(uplink)
        .collect()
}

const TO_PAR: Option<Tunnel> = Some(Tunnel {
    local: NCOA,
    remote: PAR,
});
const TO_NAR: Option<Tunnel> = Some(Tunnel {
    local: THIRD_COA,
    remote: NAR,
});

// Rows: FBU-02, FBU-04, GEN-03
#[test]
fn the_new_address_is_the_previous_one_of_the_next_handover() {
    let mut simulation = at_nar();
    to_third(&mut simulation);
    let (_, fbu) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((fbu.source, fbu.destination), (NCOA, NAR));
    assert_eq!(fbu.home_address, Some(NCOA));
    let Message::FastBindingUpdate(fbu) = fbu.message else {
        panic!("an FBU was asked for");
    };
    assert_eq!(fbu.alternate_coa, Some(THIRD_COA));
    assert_eq!(simulation.count("mn: switch-link"), 1);
}

// Rows: TUN-03
#[test]
fn the_uplink_of_the_last_move_carries_that_of_the_one_before() {
    let mut simulation = at_nar();
    to_third(&mut simulation);
    simulation.run(SECOND);
    // Both are held, each by itself; what is inside is released behind what carries it.
    assert_eq!(
        uplink_commands(&simulation),
        [
            ("hold", NCOA, TO_NAR),
            ("hold", PCOA, TO_PAR),
            ("release", NCOA, TO_NAR),
            ("release", PCOA, TO_PAR),
        ]
    );
    let bindings: Vec<_> = simulation
        .mn
        .handovers()
        .iter()
        .map(|of| (of.state, of.pcoa, of.ncoa, of.peer))
        .collect();
    assert_eq!(
        bindings,
        [
            ("arrived", PCOA, Some(NCOA), PAR),
            ("arrived", NCOA, Some(THIRD_COA), NAR)
        ]
    );
    // Each ends once.
    simulation.run(FOREVER);
    assert_eq!(
        uplink_commands(&simulation)[4..],
        [("remove", PCOA, None), ("remove", NCOA, None)]
    );
    assert_eq!(simulation.mn.handovers(), []);
    assert_eq!(simulation.mn.poll_timeout(), None);
}

// Rows: MOV-01
#[test]
fn back_on_the_first_link_what_went_through_its_tunnel_goes_plain_and_the_binding_ends() {
    let mut simulation = at_nar();
    to_third(&mut simulation);
    simulation.run(SECOND);
    simulation.repair();
    simulation.log.clear();
    simulation.come_up(AP1);
    simulation.run(SECOND);
    assert_eq!(
        uplink_commands(&simulation),
        [
            ("hold", PCOA, TO_PAR),
            ("hold", NCOA, TO_NAR),
            ("hold", THIRD_COA, None),
            // Those lead nowhere from here.
            ("remove", NCOA, None),
            ("remove", THIRD_COA, None),
            ("release", PCOA, None),
            ("remove", PCOA, None),
        ]
    );
    let (_, farewell) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((farewell.source, farewell.destination), (PCOA, PAR));
    let Message::FastBindingUpdate(fbu) = farewell.message else {
        panic!("an FBU was asked for");
    };
    assert_eq!((fbu.lifetime, fbu.alternate_coa), (0, Some(PCOA)));
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    assert_eq!(simulation.default_router, Some(PAR));
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: MOV-01
#[test]
fn back_on_the_second_link_the_tunnel_of_the_first_move_stays() {
    let mut simulation = at_nar();
    to_third(&mut simulation);
    simulation.run(SECOND);
    simulation.log.clear();
    simulation.come_up(AP2);
    simulation.run(Duration::from_millis(50));
    assert_eq!(
        uplink_commands(&simulation)[3..],
        [
            ("remove", THIRD_COA, None),
            ("release", NCOA, None),
            ("release", PCOA, TO_PAR),
            ("remove", NCOA, None),
        ]
    );
    let (_, farewell) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((farewell.source, farewell.destination), (NCOA, NAR));
}

// Rows: MOV-01, MOV-02
#[test]
fn a_prepared_way_back_ends_in_direct_delivery_on_both_sides() {
    let mut simulation = at_nar();
    simulation.link(LinkEvent::HandoverImpend { access_point: AP1 });
    simulation.run(SECOND);
    let (_, fbu) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((fbu.source, fbu.destination), (NCOA, NAR));
    let back = Some(Tunnel {
        local: PCOA,
        remote: NAR,
    });
    assert_eq!(
        uplink_commands(&simulation),
        [
            ("hold", NCOA, back),
            ("hold", PCOA, TO_PAR),
            ("release", NCOA, back),
            ("release", PCOA, None),
            ("remove", PCOA, None),
        ]
    );
    assert_eq!(simulation.count("par: release-buffer"), 1);
    assert!(!simulation.installed.contains(&(Node::Par, "tunnel", PCOA)));
    assert!(simulation.installed.contains(&(Node::Nar, "tunnel", NCOA)));
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: MOV-01
#[test]
fn ping_pong_leaves_nothing_behind() {
    let mut simulation = traveller();
    for turn in 0..6 {
        let access_point = if turn % 2 == 0 { AP2 } else { AP1 };
        simulation.link(LinkEvent::HandoverImpend { access_point });
        simulation.run(SECOND);
        assert_eq!(simulation.count("mn: switch-link"), turn + 1);
    }
    let uplinks = simulation
        .installed
        .iter()
        .filter(|(of, ..)| *of == Node::Mn);
    assert!(uplinks.count() <= 2);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: RTS-09
#[test]
fn a_look_around_that_came_to_nothing_does_not_keep_it_from_asking() {
    let mut simulation = traveller();
    simulation.impend();
    simulation.run(Duration::from_millis(100));
    simulation.lose(Node::Mn, "RtSolPr", 4);
    simulation.run(SECOND * 5);
    assert_eq!(simulation.count("mn: -> RtSolPr"), 5);
    simulation.link(LinkEvent::HandoverImpend { access_point: AP1 });
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: switch-link"), 2);
    // A question that nobody answers does.
    let mut simulation = at_nar();
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    for _ in 0..2 {
        simulation.link(LinkEvent::HandoverImpend {
            access_point: AP_UNKNOWN,
        });
        simulation.run(SECOND * 5);
    }
    assert_eq!(simulation.count("mn: -> RtSolPr"), 4);
}

// Rows: RTS-04, RTS-05
#[test]
fn at_a_router_with_a_key_the_mobile_node_asks_for_all_that_it_knows() {
    let simulation = {
        let mut simulation = traveller();
        simulation.impend();
        simulation.run(SECOND);
        simulation
    };
    let (_, question) = simulation.messages(Node::Mn, "RtSolPr").last().unwrap();
    assert_eq!((question.source, question.destination), (NCOA, NAR));
    let Message::RtSolPr(question) = question.message else {
        panic!("an RtSolPr was asked for");
    };
    assert_eq!(question.access_points, []);
}

/// Answers the last FBU with lifetime 0, which was for this address and this router.
fn ended(simulation: &mut Simulation, pcoa: Ipv6Addr, par: Ipv6Addr) {
    let (_, packet) = simulation.messages(Node::Mn, "FBU").last().unwrap();
    assert_eq!((packet.source, packet.destination), (THIRD_COA, par));
    assert_eq!(packet.home_address, Some(pcoa));
    let Message::FastBindingUpdate(fbu) = packet.message else {
        panic!("it is an FBU");
    };
    assert_eq!(fbu.lifetime, 0);
    let answer = Packet {
        source: par,
        destination: THIRD_COA,
        hop_limit: 64,
        home_address: None,
        message: Message::FastBindingAck(FastBindingAck {
            lifetime: 0,
            ..accepted(fbu.sequence)
        }),
    };
    let addresses = Addresses { care_of: pcoa, par };
    let answer = sign(answer, SPI, KEY, addresses);
    simulation.inject(Node::Mn, ACCESS, answer);
}

// Rows: MOV-02, MOV-07
#[test]
fn tunnels_within_tunnels_end_one_after_the_other_the_oldest_first() {
    let mut simulation = at_nar();
    to_third(&mut simulation);
    simulation.run(SECOND);
    assert_eq!(simulation.mn.status().previous.len(), 2);
    simulation.log.clear();
    let care_of = THIRD_COA;
    simulation.input(Node::Mn, Input::Admin(Admin::Registered { care_of }));
    // What the first router still sends comes through the second's tunnel.
    ended(&mut simulation, PCOA, PAR);
    ended(&mut simulation, NCOA, NAR);
    assert_eq!(simulation.count("mn: -> fbu"), 2);
    assert_eq!(simulation.count("mn: remove-uplink"), 0);
    simulation.run(SECOND * 3);
    assert_eq!(
        uplink_commands(&simulation),
        [("remove", PCOA, None), ("remove", NCOA, None)]
    );
    assert_eq!(simulation.addresses, [THIRD_COA].into());
    assert_eq!(simulation.mn.handovers(), []);
    let timeout = simulation.mn.poll_timeout();
    simulation.run(FOREVER);
    assert_eq!(simulation.mn.poll_timeout(), None, "{timeout:?}");
}
