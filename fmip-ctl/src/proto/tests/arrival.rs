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
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> NA"), 6);
    assert_eq!(simulation.count("mn: release-uplink"), 1);
}

#[test]
fn a_mobile_node_that_comes_up_elsewhere_gives_the_fast_handover_up() {
    for (access_point, reason) in [(AP_UNKNOWN, "elsewhere"), (AP1, "elsewhere")] {
        let mut simulation = Simulation::new();
        simulation.gap = None;
        simulation.impend();
        simulation.run(Duration::from_millis(100));
        simulation.link(LinkEvent::LinkUp { access_point });
        simulation.run(FOREVER);
        assert_eq!(simulation.count("mn: remove-uplink"), 1);
        assert_eq!(
            last_failure(&simulation),
            format!(r#"{{"event":"handover-failed","reason":"{reason}"}}"#)
        );
        assert_eq!(simulation.count("mn: -> NA"), 0);
        simulation.assert_clean();
    }
}

#[test]
fn the_new_router_stays_the_default_one_as_long_as_the_mobile_node_is_behind_it() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    simulation.link(LinkEvent::LinkDown);
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    assert!(simulation.rerouted);
    // The binding ended long ago.
    for access_point in [AP_UNKNOWN, AP1] {
        simulation.link(LinkEvent::LinkDown);
        simulation.link(LinkEvent::LinkUp { access_point });
        assert!(!simulation.rerouted, "{access_point}");
        assert_eq!(simulation.count("mn: forget-router"), 1);
    }
}

#[test]
fn a_default_router_that_was_never_reached_is_forgotten_after_the_uplink() {
    for access_point in [AP_UNKNOWN, AP1] {
        let mut simulation = between_links();
        simulation.log.clear();
        simulation.link(LinkEvent::LinkUp { access_point });
        let steps = simulation.steps();
        assert_eq!(steps[..2], ["mn: remove-uplink", "mn: forget-router"]);
    }
    // The link never came up at all, or the link layer cannot move.
    let mut simulation = Simulation::new();
    simulation.gap = None;
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: forget-router"), 1);
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "switch-link");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: forget-router"), 1);
}

#[test]
fn a_mobile_node_that_arrived_but_cannot_release_keeps_its_new_router() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "release-uplink");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    assert!(simulation.rerouted);
}

#[test]
fn a_link_that_goes_down_before_the_fback_ends_the_fast_handover() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.impend();
    simulation.run(Duration::from_millis(50));
    simulation.link(LinkEvent::LinkDown);
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    simulation.run(FOREVER);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"link-lost"}"#
    );
    assert_nothing_changed(&simulation);
}

#[test]
fn a_second_handover_waits_until_there_is_a_router_to_ask() {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    simulation.link(LinkEvent::HandoverImpend { access_point: AP1 });
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"not-at-previous-router"}"#
    );
    // The uplink of the first is not its business.
    assert_eq!(simulation.count("mn: remove-uplink"), 0);
}
