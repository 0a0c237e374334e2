//! The mobile node on a link that it knows nothing of (RFC 4260 section 7.3).

use super::*;
use crate::wire::RouterAdvertisement;

/// It came up at an access point that nobody told it about.
fn somewhere() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.come_up(AP_UNKNOWN);
    simulation
}

fn mobile_commands(simulation: &Simulation) -> Vec<&'static str> {
    let commands = commands(simulation);
    commands.iter().map(Command::name).collect()
}

// Rows: RTS-10, W11-08, W16-14, MOV-04, FBU-02
#[test]
fn an_address_of_the_advertised_prefix_comes_before_the_fbu() {
    let mut simulation = somewhere();
    assert_eq!(simulation.count("mn: -> RS"), 1);
    assert_eq!(simulation.count("mn: -> FBU"), 0);
    assert_eq!(simulation.count("mn: -> NA"), 0);
    let (_, rs) = simulation.messages(Node::Mn, "RS").next().unwrap();
    assert_eq!(rs.source.to_string(), "fe80::ff:fe00:1");
    assert_eq!(rs.destination.to_string(), "ff02::2");
    simulation.log.clear();
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
    let router = "fe80::2".parse().unwrap();
    assert_eq!(
        commands(&simulation)[..2],
        [
            Command::SetDefaultRouter {
                interface: ACCESS,
                router,
                link_address: Some(NAR_LLA),
            },
            Command::ConfigureAddress {
                interface: ACCESS,
                address: NCOA,
                prefix_length: 64,
            },
        ]
    );
    // What the PAR holds may come out of the tunnel before the FBack does.
    let tunnel = Some(Tunnel {
        local: NCOA,
        remote: PAR,
    });
    assert!(
        matches!(
            commands(&simulation)[2..],
            [Command::HoldUplink { pcoa: PCOA, tunnel: expected, .. }] if expected == tunnel
        ),
        "{:?}",
        commands(&simulation)
    );
    let steps = simulation.steps();
    assert_eq!(
        steps[1..],
        [
            "mn: configure-address",
            "mn: hold-uplink",
            "mn: -> fbu",
            "mn: -> na"
        ]
    );
    let (_, packet) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((packet.source, packet.destination), (NCOA, PAR));
    assert_eq!(packet.home_address, Some(PCOA));
    let Message::FastBindingUpdate(fbu) = packet.message else {
        panic!("an FBU was asked for");
    };
    let fback = accepted(fbu.sequence);
    simulation.inject(Node::Mn, ACCESS, fback_to(NCOA, fback, NCOA));
    assert_eq!(
        mobile_commands(&simulation)[3..],
        ["release-uplink", "keep-address"]
    );
}

/// Nothing is known but the carrier.
fn nameless() -> Simulation {
    let mut simulation = Simulation::new();
    // Where it is may be known or not: nobody says that it is there.
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    simulation.link(LinkEvent::LinkDown);
    simulation.link(LinkEvent::LinkUpSomewhere);
    simulation
}

// Rows: W11-06, W11-08, MOV-04
#[test]
fn a_link_without_a_name_is_told_by_its_router() {
    let mut simulation = nameless();
    assert_eq!(simulation.mn.status().access_point, None);
    assert_eq!(simulation.count("mn: -> RS"), 1);
    assert_eq!(simulation.count("mn: -> FBU"), 0);
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
    let (_, packet) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((packet.source, packet.destination), (NCOA, PAR));
    // The name that comes later is that of the link it is on, as long as it is on it.
    simulation.run(SECOND);
    simulation.log.clear();
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    assert_eq!(simulation.mn.status().access_point, Some(AP2));
    assert_eq!(simulation.count("mn: -> RS"), 0);
    assert_eq!(simulation.count("mn: -> FBU"), 0);
    simulation.link(LinkEvent::LinkDown);
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    assert_eq!(simulation.count("mn: -> RS"), 0);
}

// Rows: W11-06, W16-15
#[test]
fn a_carrier_that_flaps_at_home_costs_a_question() {
    let mut simulation = nameless();
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::1", 1));
    simulation.log.clear();
    // That access point is on the link, whoever says so later.
    simulation.link(LinkEvent::LinkUp { access_point: AP1 });
    simulation.run(FOREVER);
    assert_eq!(simulation.count("mn: -> RS"), 0);
    assert_eq!(simulation.count("mn: -> FBU"), 0);
    simulation.assert_clean();
}

// Rows: W11-06
#[test]
fn a_link_that_never_had_a_name_and_went_is_not_the_one_that_came() {
    let mut simulation = nameless();
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::1", 1));
    simulation.link(LinkEvent::LinkDown);
    simulation.log.clear();
    simulation.link(LinkEvent::LinkUp {
        access_point: AP_UNKNOWN,
    });
    assert_eq!(simulation.count("mn: -> RS"), 1);
}

// Rows: W11-06
#[test]
fn what_was_prepared_is_not_where_a_link_without_a_name_is() {
    let mut simulation = Simulation::new();
    simulation.gap = None;
    simulation.impend();
    simulation.run(SECOND);
    assert_eq!(simulation.mn.handovers()[0].state, "switching");
    simulation.log.clear();
    simulation.link(LinkEvent::LinkUpSomewhere);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"elsewhere"}"#
    );
    assert_eq!(simulation.count("mn: -> RS"), 1);
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
    assert_eq!(simulation.count("mn: -> FBU"), 1);
}

// Rows: W16-15
#[test]
fn the_prefix_of_its_own_address_tells_that_it_has_not_moved() {
    let mut simulation = somewhere();
    simulation.log.clear();
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::1", 1));
    simulation.run(FOREVER);
    assert_eq!(
        simulation.steps(),
        ["mn: release-uplink", "mn: remove-uplink"]
    );
    assert_eq!(simulation.events(Node::Mn), Vec::<String>::new());
    simulation.assert_clean();
    // And now it knows that access point.
    simulation.log.clear();
    simulation.come_up(AP1);
    simulation.come_up(AP_UNKNOWN);
    assert_eq!(simulation.count("mn: -> RS"), 1);
}

// Rows: MOV-01
#[test]
fn the_prefix_of_an_earlier_address_tells_that_it_is_back() {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    simulation.come_up(AP_UNKNOWN);
    simulation.log.clear();
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::1", 1));
    simulation.run(SECOND);
    let (_, packet) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((packet.source, packet.destination), (PCOA, PAR));
    let Message::FastBindingUpdate(fbu) = packet.message else {
        panic!("an FBU was asked for");
    };
    assert_eq!(fbu.lifetime, 0);
    assert_eq!(simulation.count("mn: configure-address"), 0);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: RTS-10
#[test]
fn a_router_that_answers_too_late_is_still_welcome() {
    let mut simulation = somewhere();
    simulation.run(FOREVER);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"no-address"}"#
    );
    assert_eq!(simulation.default_router, None);
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
    assert_eq!(simulation.count("mn: configure-address"), 1);
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    simulation.run(FOREVER);
    assert_eq!(simulation.mn.counters().fell_back, 1);
    simulation.assert_clean();
}

/// Changes something in the advertisement of the NAR's link.
type Change = fn(&mut Packet, &mut RouterAdvertisement);

// Rows: RTS-10
#[test]
fn only_a_sane_advertisement_of_a_default_router_makes_an_address() {
    let changes: [Change; 8] = [
        |packet, _| packet.source = "2001:db8:2::1".parse().unwrap(),
        |_, of| of.router_lifetime = 0,
        |_, of| of.prefixes.clear(),
        |_, of| of.prefixes[0].autonomous = false,
        |_, of| of.prefixes[0].valid = 0,
        |_, of| of.prefixes[0].preferred = of.prefixes[0].valid + 1,
        |_, of| of.prefixes[0].prefix = "2001:db8:2::/63".parse().unwrap(),
        |_, of| of.prefixes[0].prefix = "fe80::/64".parse().unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut packet = Packet::decode(&advertisement("fe80::2", 2)).unwrap();
        let Message::RouterAdvertisement(mut message) = packet.message.clone() else {
            panic!("it is an advertisement");
        };
        change(&mut packet, &mut message);
        packet.message = Message::RouterAdvertisement(message);
        let mut simulation = somewhere();
        simulation.log.clear();
        simulation.inject(Node::Mn, ACCESS, packet.encode());
        assert_eq!(simulation.steps(), Vec::<String>::new(), "{number}");
        assert_eq!(simulation.mn.handovers()[0].state, "discovering");
    }
}

// Rows: GEN-09
#[test]
fn an_advertisement_that_was_not_asked_for_changes_nothing() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::1", 1));
    assert_eq!(simulation.log, []);
    assert_eq!(simulation.mn.counters().received_ra, 2);
}
