//! The mobile node on a link where nothing is prepared for it (RFC 5568 figure 3).

use super::*;

/// The link goes after the FBU of a handover to AP2, and comes up there: the FBacks are lost.
fn without_fback() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "FBack", 2);
    simulation.impend();
    simulation.run(Duration::from_millis(50));
    simulation.link(LinkEvent::LinkDown);
    simulation.run(Duration::from_millis(20));
    simulation
}

/// As a mobile node that knows AP2 and goes there without a word.
fn without_fbu() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    simulation.link(LinkEvent::LinkDown);
    simulation
}

fn fbus(simulation: &Simulation) -> Vec<(Packet, FastBindingUpdate)> {
    let fbu = |(_, packet): (Instant, Packet)| match packet.message.clone() {
        Message::FastBindingUpdate(fbu) => (packet, fbu),
        other => unreachable!("only FBUs were asked for, not {other:?}"),
    };
    simulation.messages(Node::Mn, "FBU").map(fbu).collect()
}

/// What the mobile node did, without the repeats.
fn mobile_steps(simulation: &Simulation) -> Vec<String> {
    let steps = simulation.steps().into_iter();
    steps.filter(|step| step.starts_with("mn:")).collect()
}

// Rows: W16-09, W16-13, FBU-02, FBU-03, FBU-04, FBU-08, RTS-10, W11-07, W16-20
#[test]
fn an_fbu_follows_the_una_where_no_fback_came() {
    for mut simulation in [without_fback(), without_fbu()] {
        simulation.log.clear();
        simulation.come_up(AP2);
        assert_eq!(
            mobile_steps(&simulation),
            [
                "mn: set-default-router",
                // What the new router holds may come out of the tunnel at once, and what the PAR holds before
                // the FBack does.
                "mn: hold-uplink",
                "mn: -> na",
                "mn: configure-address",
                "mn: -> fbu"
            ]
        );
        let (packet, fbu) = fbus(&simulation).remove(0);
        assert_eq!((packet.source, packet.destination), (NCOA, PAR));
        assert_eq!(packet.home_address, Some(PCOA));
        assert_eq!(fbu.alternate_coa, Some(NCOA));
        assert!(fbu.ack && fbu.home && fbu.authorization.is_some());

        simulation.run(Duration::from_millis(100));
        let release = Command::ReleaseUplink {
            pcoa: PCOA,
            interface: ACCESS,
            tunnel: Some(Tunnel {
                local: NCOA,
                remote: PAR,
            }),
            router_lla: NAR_LLA,
            expires: Instant::default(),
        };
        let released = commands(&simulation)
            .into_iter()
            .find_map(|command| match command {
                Command::ReleaseUplink {
                    pcoa,
                    interface,
                    tunnel,
                    router_lla,
                    ..
                } => Some(Command::ReleaseUplink {
                    pcoa,
                    interface,
                    tunnel,
                    router_lla,
                    expires: Instant::default(),
                }),
                _ => None,
            });
        assert_eq!(released, Some(release));
        assert_eq!(simulation.mn.handovers()[0].state, "arrived");
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: TUN-03
#[test]
fn what_is_sent_while_there_is_no_link_waits() {
    for (mut simulation, ncoa) in [(without_fbu(), None), (without_fback(), None)] {
        let holds: Vec<_> = commands(&simulation)
            .into_iter()
            .filter(|command| command.name() == "hold-uplink")
            .collect();
        assert!(
            matches!(holds[..], [Command::HoldUplink { pcoa: PCOA, tunnel, .. }] if tunnel == ncoa),
            "{holds:?}"
        );
        assert_eq!(simulation.count("mn: release-uplink"), 0);
        simulation.come_up(AP2);
        // Once more, to take what comes out of the tunnel; nothing leaves yet.
        assert_eq!(simulation.count("mn: hold-uplink"), 2);
        assert_eq!(simulation.count("mn: remove-uplink"), 0);
        simulation.run(SECOND);
        assert_eq!(simulation.count("mn: release-uplink"), 1);
    }
}

// Rows: FBU-09, FBU-10, AMB-07, W11-15
#[test]
fn without_an_answer_the_rest_is_left_to_an_ordinary_binding_update() {
    let mut simulation = without_fbu();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.log.clear();
    simulation.come_up(AP2);
    let start = simulation.now;
    simulation.run(FOREVER);
    assert_eq!(simulation.times(start, Node::Mn, "FBU"), [0, 100, 300, 700]);
    let numbers: Vec<_> = fbus(&simulation)
        .iter()
        .map(|(_, fbu)| fbu.sequence)
        .collect();
    assert_eq!(numbers, [42, 43, 44, 45]);
    let events = simulation.events(Node::Mn);
    let failed = events.iter().position(|event| event.contains("failed"));
    assert_eq!(
        events[failed.expect("it failed")..][..2],
        [
            r#"{"event":"handover-failed","reason":"no-fback"}"#,
            r#"{"event":"fell-back","care_of":"2001:db8:2::ff:fe00:1"}"#
        ]
    );
    assert_eq!(simulation.mn.counters().fell_back, 1);
    // From the new link nobody takes packets from the old address.
    assert_eq!(simulation.count("mn: release-uplink"), 0);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    assert_eq!(simulation.count("mn: configure-address"), 1);
    simulation.assert_clean();
}

// Rows: FBA-09, FBA-08
#[test]
fn a_refusal_from_the_new_link_is_a_fall_back_too() {
    let mut par = router_config(false);
    par.mobile_nodes.clear();
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    simulation.come_up(AP2);
    let (_, fbu) = fbus(&simulation).remove(0);
    for (status, lifetime, alternate_coa) in [
        (FastBindingStatus::Prohibited, 0, None),
        (FastBindingStatus::Accepted, 0, None),
        (FastBindingStatus::NcoaInvalid, 30, None),
    ] {
        let mut simulation = Simulation::new();
        simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
        simulation.run(SECOND);
        simulation.lose(Node::Mn, "FBU", ALWAYS);
        simulation.come_up(AP2);
        let fback = FastBindingAck {
            status,
            key_management: false,
            sequence: fbu.sequence,
            lifetime,
            alternate_coa,
            unknown: Vec::new(),
            authorization: None,
        };
        simulation.inject(Node::Mn, ACCESS, fback_to(NCOA, fback, NCOA));
        let events = simulation.events(Node::Mn);
        assert_eq!(
            events[events.len() - 3..],
            [
                r#"{"event":"handover-failed","reason":"refused"}"#,
                r#"{"event":"fell-back","care_of":"2001:db8:2::ff:fe00:1"}"#,
                concat!(
                    r#"{"event":"care-of-address","care_of":"2001:db8:2::ff:fe00:1","#,
                    r#""previous":"2001:db8:1::ff:fe00:1","router":"2001:db8:2::1","#,
                    r#""prefix_length":64,"fast":false}"#
                )
            ]
        );
        assert_eq!(simulation.count("mn: remove-uplink"), 1);
    }
}

// Rows: FBA-03, W11-10
#[test]
fn the_fback_to_the_fbu_from_the_old_link_counts_on_the_new_one() {
    let mut simulation = without_fback();
    let (_, first) = fbus(&simulation).remove(0);
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.come_up(AP2);
    let fback = accepted(first.sequence);
    let bytes = fback_to(NCOA, fback, NCOA);
    simulation.inject(Node::Mn, ACCESS, bytes.clone());
    assert_eq!(simulation.count("mn: release-uplink"), 1);
    // The other copy changes nothing.
    simulation.log.clear();
    simulation.inject(Node::Mn, ACCESS, bytes);
    assert_eq!(simulation.log, []);
    assert_eq!(simulation.mn.counters().duplicate, 1);
}

// Rows: FBA-09
#[test]
fn an_fback_that_comes_while_the_link_is_gone_makes_ready() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "FBack", 2);
    simulation.impend();
    simulation.run(Duration::from_millis(50));
    simulation.link(LinkEvent::LinkDown);
    let (_, fbu) = fbus(&simulation).remove(0);
    let fback = accepted(fbu.sequence);
    simulation.inject(Node::Mn, ACCESS, fback_to(PCOA, fback, NCOA));
    assert_eq!(simulation.mn.handovers()[0].state, "switching");
    // The link layer is on its way by itself.
    assert_eq!(simulation.count("mn: switch-link"), 0);
    simulation.come_up(AP2);
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    assert_eq!(simulation.count("mn: release-uplink"), 1);
}

// Rows: W16-15, MOV-01
#[test]
fn back_at_its_access_point_it_sends_what_waited_and_ends_what_it_asked_for() {
    for (mut simulation, farewells) in [(without_fbu(), 0), (without_fback(), 1)] {
        simulation.log.clear();
        simulation.come_up(AP1);
        simulation.run(FOREVER);
        let fbus = fbus(&simulation);
        assert_eq!(fbus.len(), farewells);
        assert!(fbus.iter().all(|(_, fbu)| fbu.lifetime == 0));
        assert_eq!(simulation.count("mn: release-uplink"), 1);
        assert_eq!(simulation.count("mn: remove-uplink"), 1);
        assert_eq!(simulation.count("mn: -> NA"), 0);
        let failures = simulation.events(Node::Mn);
        let lost = r#"{"event":"handover-failed","reason":"link-lost"}"#.to_owned();
        assert_eq!(failures.contains(&lost), farewells == 1);
        simulation.assert_clean();
    }
}

// Rows: MOV-04, W11-06, W11-05
#[test]
fn at_another_router_than_the_one_that_is_ready_a_new_fbu_supersedes() {
    let mut simulation = Simulation::new();
    let ap3 = MacAddr([2, 0, 0, 0, 0x0a, 3]);
    simulation.gap = None;
    simulation.inject(Node::Mn, ACCESS, neighborhood(ap3, 3, None));
    simulation.impend();
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.mn.handovers()[0].state, "switching");
    simulation.log.clear();
    simulation.link(LinkEvent::LinkUp { access_point: ap3 });
    let (packet, fbu) = fbus(&simulation).remove(0);
    let there: Ipv6Addr = "2001:db8:3::ff:fe00:1".parse().unwrap();
    assert_eq!((packet.source, packet.destination), (there, PAR));
    assert_eq!(packet.home_address, Some(PCOA));
    assert_eq!(fbu.alternate_coa, Some(there));
    let fback = accepted(fbu.sequence);
    simulation.inject(Node::Mn, ACCESS, fback_to(there, fback, there));
    let uplinks: Vec<_> = commands(&simulation)
        .into_iter()
        .filter_map(|command| match command {
            Command::ReleaseUplink { pcoa, tunnel, .. } => Some((pcoa, tunnel)),
            _ => None,
        })
        .collect();
    let tunnel = Tunnel {
        local: there,
        remote: PAR,
    };
    assert_eq!(uplinks, [(PCOA, Some(tunnel))]);
}

// Rows: FBU-08
#[test]
fn a_link_that_flaps_before_the_fback_makes_it_ask_again() {
    let mut simulation = without_fbu();
    simulation.lose(Node::Mn, "FBU", 1);
    simulation.come_up(AP2);
    simulation.run(Duration::from_millis(10));
    simulation.log.clear();
    simulation.come_up(AP2);
    assert_eq!(
        mobile_steps(&simulation),
        ["mn: hold-uplink", "mn: -> na", "mn: -> fbu"]
    );
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.count("mn: release-uplink"), 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn a_link_that_never_comes_up_again_gives_up_what_waits() {
    for fails in [false, true] {
        let mut simulation = Simulation::new();
        if fails {
            simulation.fail(Node::Mn, "hold-uplink");
        }
        simulation.link(LinkEvent::LinkDown);
        assert_eq!(simulation.mn.handovers()[0].state, "adrift");
        simulation.run(FOREVER);
        assert_eq!(
            last_failure(&simulation),
            r#"{"event":"handover-failed","reason":"expired"}"#
        );
        assert_eq!(simulation.count("mn: remove-uplink"), usize::from(!fails));
        simulation.assert_clean();
    }
}

// Rows: PRA-14
#[test]
fn where_the_router_has_no_fast_handover_no_fbu_is_sent() {
    let mut packet = Packet::decode(&neighborhood(AP2, 2, None)).unwrap();
    if let Message::PrRtAdv(message) = &mut packet.message {
        message.tuples[0].outcome = ApOutcome::NoFastHandover;
    }
    let mut simulation = Simulation::new();
    simulation.inject(Node::Mn, ACCESS, packet.encode());
    simulation.impend();
    simulation.run(SECOND);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"no-fast-handover"}"#
    );
    simulation.come_up(AP2);
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> FBU"), 0);
    assert_eq!(simulation.count("mn: configure-address"), 1);
    assert_eq!(simulation.mn.counters().fell_back, 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: SEC-05
#[test]
fn without_a_key_for_the_old_router_the_new_link_is_an_ordinary_one() {
    let mut config = mobile_node_config();
    config.routers.clear();
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    simulation.come_up(AP2);
    simulation.run(FOREVER);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"no-handover-key"}"#
    );
    assert_eq!(simulation.count("mn: -> FBU"), 0);
    assert_eq!(simulation.mn.counters().fell_back, 1);
    assert_eq!(simulation.default_router, Some(NAR));
    simulation.assert_clean();
}

// Rows: W11-03, W11-09
#[test]
fn where_access_points_are_routers_nobody_is_asked_who_the_router_is() {
    let mut config = mobile_node_config();
    config.routers.push(RouterKey {
        router: NAR,
        prefix: Some("2001:db8:2::/64".parse().unwrap()),
        access_point: Some(AP2),
        spi: SPI,
        key: KEY.to_vec(),
    });
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    simulation.link(LinkEvent::LinkDown);
    simulation.log.clear();
    simulation.come_up(AP2);
    let steps = mobile_steps(&simulation);
    assert!(!steps.contains(&"mn: -> rs".to_owned()), "{steps:?}");
    let sent: Vec<&str> = steps
        .iter()
        .filter_map(|step| step.strip_prefix("mn: -> "))
        .take(2)
        .collect();
    assert_eq!(sent, ["na", "fbu"]);
    let (packet, fbu) = fbus(&simulation).remove(0);
    assert_eq!((packet.source, fbu.alternate_coa), (NCOA, Some(NCOA)));
    let router = commands(&simulation)
        .into_iter()
        .find_map(|command| match command {
            Command::SetDefaultRouter {
                router,
                link_address,
                ..
            } => Some((router, link_address)),
            _ => None,
        });
    assert_eq!(router, Some((NAR, Some(AP2))));
}
