//! Arrival: UNAs, release, and the end of lifetimes.

use super::*;

// Rows: BUF-06, MOV-06
#[test]
fn the_mobile_node_that_never_arrives_leaves_nothing_behind() {
    let mut simulation = Simulation::new();
    simulation.gap = None;
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    assert!(
        simulation
            .events(Node::Nar)
            .contains(&r#"{"event":"buffer-expired","ncoa":"2001:db8:2::ff:fe00:1"}"#.to_owned())
    );
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"expired"}"#
    );
    simulation.assert_clean();
}

// Rows: MOV-06, UNA-08
#[test]
fn a_una_after_the_nar_gave_up_releases_nothing() {
    let mut simulation = Simulation::new();
    simulation.gap = Some(Duration::from_secs(2));
    run_from_impend(&mut simulation);
    // It is a neighbor like any other.
    assert_eq!(simulation.nar.counters().no_handover, 3);
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    simulation.assert_clean();
}

// Rows: UNA-09, UNA-11
#[test]
fn a_una_with_another_link_layer_address_releases_nothing() {
    let mut simulation = between_links();
    let thief = MacAddr([2, 0, 0, 0, 0, 0x66]);
    simulation.inject(Node::Nar, ACCESS, una(NCOA, thief).encode());
    let mut anonymous = una(NCOA, thief);
    let Message::NeighborAdvertisement(advertisement) = &mut anonymous.message else {
        panic!("it is an advertisement");
    };
    advertisement.target_lla = None;
    simulation.inject(Node::Nar, ACCESS, anonymous.encode());
    assert_eq!(simulation.nar.counters().wrong_link_address, 2);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    assert_eq!(simulation.count("nar: remove-proxy-nd"), 0);
    // The right one still works.
    simulation.run(SECOND);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    // Once it is here, nobody takes its place either (UNA-11).
    simulation.inject(Node::Nar, ACCESS, una(NCOA, thief).encode());
    assert_eq!(simulation.nar.counters().wrong_link_address, 3);
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
}

#[test]
fn only_a_una_from_the_link_of_the_address_is_one() {
    let mut simulation = between_links();
    simulation.inject(Node::Nar, CORE, una(NCOA, MN_LLA).encode());
    let mut foreign = una(NCOA, MN_LLA);
    foreign.source = "fe80::1".parse().unwrap();
    simulation.inject(Node::Nar, ACCESS, foreign.encode());
    assert_eq!(simulation.nar.counters().unexpected, 2);
    let mut far = una(NCOA, MN_LLA);
    far.hop_limit = 64;
    simulation.inject(Node::Nar, ACCESS, far.encode());
    assert_eq!(simulation.nar.counters().hop_limit, 1);
    for flag in 0..3 {
        let mut other = una(NCOA, MN_LLA);
        let Message::NeighborAdvertisement(advertisement) = &mut other.message else {
            panic!("it is an advertisement");
        };
        match flag {
            0 => advertisement.router = true,
            1 => advertisement.solicited = true,
            _ => advertisement.override_ = true,
        }
        simulation.inject(Node::Nar, ACCESS, other.encode());
    }
    assert_eq!(simulation.nar.counters().received_other_advertisement, 3);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
}

#[test]
fn a_una_that_comes_twice_releases_once() {
    let mut simulation = between_links();
    for _ in 0..2 {
        simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    }
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
    assert_eq!(simulation.nar.counters().duplicate, 1);
}

// Rows: BUF-06
#[test]
fn a_buffer_that_never_drains_ends_with_its_lifetime() {
    let mut simulation = Simulation::new();
    let now = simulation.now;
    let packet = Input::Packet {
        interface: CORE,
        link_source: PAR_LLA,
        bytes: hi(PAR, HI),
    };
    simulation.nar.handle_input(now, packet);
    let packet = Input::Packet {
        interface: ACCESS,
        link_source: MN_LLA,
        bytes: una(NCOA, MN_LLA).encode(),
    };
    simulation.nar.handle_input(now, packet);
    let end = now + Duration::from_secs(60);
    assert_eq!(simulation.nar.poll_timeout(), Some(end));
    while simulation.nar.poll_output().is_some() {}
    simulation.nar.handle_timeout(end);
    assert_eq!(
        simulation.nar.poll_output(),
        Some(Output::Command(Command::RemoveBuffer { address: NCOA }))
    );
    assert_eq!(simulation.nar.poll_timeout(), None);
}

// Rows: UNA-01
#[test]
fn a_link_that_flaps_after_the_arrival_makes_it_announce_itself_again() {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> NA"), 3);
    simulation.link(LinkEvent::LinkDown);
    // The old address goes through the tunnel, the new one is native there.
    assert_eq!(simulation.count("mn: hold-uplink"), 3);
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> NA"), 6);
    assert_eq!(simulation.count("mn: release-uplink"), 3);
    let uplinks = simulation
        .installed
        .iter()
        .filter(|(_, what, _)| *what == "uplink");
    assert_eq!(uplinks.collect::<Vec<_>>(), [&(Node::Mn, "uplink", PCOA)]);
}

/// All is ready on the other side, but the link does not come up there.
fn lost_between_links() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.gap = None;
    simulation.impend();
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.count("mn: switch-link"), 1);
    simulation
}

// Rows: MOV-01
#[test]
fn a_mobile_node_that_is_ready_to_go_and_comes_up_where_it_was_sends_what_it_held_there() {
    let mut simulation = lost_between_links();
    simulation.log.clear();
    simulation.come_up(AP1);
    let release = Command::ReleaseUplink {
        pcoa: PCOA,
        interface: ACCESS,
        tunnel: None,
        router_lla: PAR_LLA,
        expires: simulation.now + Duration::from_secs(30),
    };
    assert_eq!(commands(&simulation)[0], release);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"elsewhere"}"#
    );
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> FBU"), 1, "the farewell");
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    assert_eq!(simulation.default_router, Some(PAR));
    simulation.run(FOREVER);
    assert_eq!(simulation.count("mn: -> NA"), 0);
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_finds_no_router_gives_its_packets_and_its_route_up() {
    let mut simulation = lost_between_links();
    simulation.come_up(AP_UNKNOWN);
    // Until then, packets must come as far as the hold.
    assert_eq!(simulation.default_router, Some(NAR));
    let start = simulation.now;
    simulation.run(FOREVER);
    assert_eq!(simulation.times(start, Node::Mn, "RS"), [0, 4000, 8000]);
    let events = simulation.events(Node::Mn);
    let failures: Vec<_> = events.iter().filter(|of| of.contains("failed")).collect();
    assert_eq!(
        failures,
        [
            r#"{"event":"handover-failed","reason":"elsewhere"}"#,
            r#"{"event":"handover-failed","reason":"no-address"}"#
        ]
    );
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    assert_eq!(simulation.default_router, None);
    assert_eq!(simulation.count("mn: -> NA"), 0);
    simulation.assert_clean();
}

#[test]
fn the_default_router_is_the_one_that_the_mobile_node_is_behind() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    simulation.link(LinkEvent::LinkDown);
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    assert_eq!(simulation.default_router, Some(NAR));
    // The binding ended long ago.
    simulation.come_up(AP1);
    simulation.run(SECOND);
    assert_eq!(simulation.default_router, Some(PAR));
    // The link never came up at all, or the link layer cannot move.
    for fails in [false, true] {
        let mut simulation = Simulation::new();
        simulation.gap = None;
        if fails {
            simulation.fail(Node::Mn, "switch-link");
        }
        run_from_impend(&mut simulation);
        assert_eq!(simulation.default_router, Some(PAR));
    }
}

#[test]
fn a_mobile_node_that_arrived_but_cannot_release_keeps_its_new_router() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "release-uplink");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    assert_eq!(simulation.default_router, Some(NAR));
}

// Rows: SEC-05
#[test]
fn a_mobile_node_without_a_key_for_its_router_cannot_be_handed_over_from_there() {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    simulation.link(LinkEvent::HandoverImpend { access_point: AP1 });
    simulation.run(SECOND);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"no-handover-key"}"#
    );
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    // The uplink of the first is not its business.
    assert_eq!(simulation.count("mn: remove-uplink"), 0);
}

// Rows: UNA-10
#[test]
fn an_address_that_is_confirmed_is_announced_to_override_what_others_believe() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let advertisements: Vec<_> = simulation
        .messages(Node::Mn, "NA")
        .map(|(_, packet)| match packet.message {
            Message::NeighborAdvertisement(advertisement) => {
                assert_eq!(packet.source, NCOA);
                assert_eq!(packet.destination.to_string(), "ff02::1");
                assert_eq!(advertisement.target, NCOA);
                advertisement.override_
            }
            other => unreachable!("only advertisements were asked for, not {other:?}"),
        })
        .collect();
    assert_eq!(advertisements, [false, false, false, true]);
}
