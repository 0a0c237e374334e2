//! Mobile nodes that come before they are announced (reactive mode, at the NAR).

use super::*;

const OTHER_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// The HI of a mobile node that moved before its PAR knew.
fn hi_moved(sequence: u16) -> HandoverInitiate {
    HandoverInitiate {
        sequence,
        code: HiCode::OtherSource,
        buffer: false,
        ..HI
    }
}

/// A NAR that heard this UNA and nothing before.
fn nar_hears_una(ncoa: Ipv6Addr, lla: MacAddr) -> Simulation {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Nar, ACCESS, una(ncoa, lla).encode());
    simulation
}

// Rows: AMB-12, UNA-06, UNA-08
#[test]
fn a_mobile_node_that_was_not_announced_becomes_a_neighbor_and_nothing_more() {
    let mut simulation = nar_hears_una(NCOA, MN_LLA);
    let neighbor = Command::AddNeighbor {
        interface: ACCESS,
        address: NCOA,
        link_address: MN_LLA,
        state: NeighborState::Stale,
    };
    assert_eq!(commands(&simulation), [neighbor]);
    // UNA-04: it says so again, and nothing is new about that.
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
    assert_eq!(simulation.nar.counters().no_handover, 2);
    assert_eq!(simulation.nar.counters().duplicate, 1);
    simulation.assert_clean();
}

// Rows: AMB-12, UNA-02
#[test]
fn only_an_address_of_its_link_makes_a_mobile_node_a_neighbor() {
    let simulation = nar_hears_una(PCOA, MN_LLA);
    assert_eq!(simulation.nar.counters().ncoa_outside_prefix, 1);
    assert_nothing_changed(&simulation);

    let mut simulation = Simulation::new();
    let mut foreign = una(NCOA, MN_LLA);
    foreign.source = "2001:db8:2::9".parse().unwrap();
    simulation.inject(Node::Nar, ACCESS, foreign.encode());
    simulation.inject(Node::Nar, CORE, una(NCOA, MN_LLA).encode());
    assert_eq!(simulation.nar.counters().unexpected, 2);
    assert_nothing_changed(&simulation);
}

// Rows: UNA-11
#[test]
fn a_una_takes_nobodys_address() {
    // The router's own, and any router's.
    for reserved in [NAR, "2001:db8:2::".parse().unwrap()] {
        let simulation = nar_hears_una(reserved, MN_LLA);
        assert_eq!(simulation.nar.counters().ncoa_in_use, 1);
        assert_nothing_changed(&simulation);
    }
    // Another mobile node's that said so just before.
    let mut simulation = nar_hears_una(NCOA, MN_LLA);
    simulation.inject(Node::Nar, ACCESS, una(NCOA, OTHER_LLA).encode());
    assert_eq!(simulation.nar.counters().ncoa_in_use, 1);
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
    // A mobile node's that left for another router.
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    simulation.inject(Node::Par, ACCESS, una(PCOA, OTHER_LLA).encode());
    assert_eq!(simulation.par.counters().ncoa_in_use, 1);
    assert_eq!(simulation.count("par: add-neighbor"), 0);
    // Its own, if it comes back.
    simulation.inject(Node::Par, ACCESS, una(PCOA, MN_LLA).encode());
    assert_eq!(simulation.count("par: add-neighbor"), 1);
    // One of which the kernel knows better.
    let mut simulation = Simulation::new();
    simulation.in_use = true;
    simulation.fail(Node::Nar, "add-neighbor");
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    assert_eq!(simulation.nar.counters().wrong_link_address, 1);
    simulation.assert_clean();
}

// Rows: HAK-01, HI-17
#[test]
fn an_hi_of_a_mobile_node_that_moved_confirms_what_its_una_made() {
    for before in [true, false] {
        let mut simulation = Simulation::new();
        if before {
            simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
        }
        simulation.log.clear();
        // 'U' and 'S' mean nothing here.
        let message = HandoverInitiate {
            buffer: true,
            assigned_address: true,
            ..hi_moved(7)
        };
        // HI-18: the same question, the same answer.
        for _ in 0..2 {
            simulation.inject(Node::Nar, CORE, hi(PAR, message.clone()));
        }
        assert_eq!(
            simulation.steps(),
            ["nar: add-neighbor", "nar: -> hack", "nar: -> hack"]
        );
        assert_eq!(hack_codes(&simulation), [HackCode::NcoaValid; 2]);
        simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
        assert_eq!(simulation.count("nar: add-neighbor"), 1);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: HAK-05, HAK-06, HI-17
#[test]
fn an_hi_of_a_mobile_node_that_moved_is_refused_with_a_reason_if_the_address_is_anothers() {
    let refused = |mut simulation: Simulation, message: HandoverInitiate| {
        simulation.inject(Node::Nar, CORE, hi(PAR, message));
        assert_eq!(hack_codes(&simulation).last(), Some(&HackCode::Unspecified));
        assert_eq!(simulation.count("nar: start-buffering"), 0);
        simulation.run(FOREVER);
        simulation.assert_clean();
    };
    // Announced by another node, known to the kernel as another's, or our own.
    refused(nar_hears_una(NCOA, OTHER_LLA), hi_moved(7));
    let mut simulation = Simulation::new();
    simulation.in_use = true;
    simulation.fail(Node::Nar, "add-neighbor");
    refused(simulation, hi_moved(7));
    for ncoa in [NAR, "2001:db8:2::".parse().unwrap(), PCOA] {
        let ncoa = Some(ncoa);
        let message = HandoverInitiate {
            ncoa,
            ..hi_moved(7)
        };
        refused(Simulation::new(), message);
    }
    // That of a mobile node that is expected with it.
    let mut simulation = nar_hears(hi(PAR, HI));
    let other = HandoverInitiate {
        mn_lla: Some(OTHER_LLA),
        pcoa: Some("2001:db8:1::9".parse().unwrap()),
        ..hi_moved(8)
    };
    simulation.inject(Node::Nar, CORE, hi(PAR, other));
    assert_eq!(
        hack_codes(&simulation),
        [HackCode::NcoaValid, HackCode::Unspecified]
    );
}

// Rows: HI-17
#[test]
fn a_kernel_that_learns_too_late_whose_the_address_is_takes_the_consent_back() {
    let mut simulation = Simulation::new();
    simulation.in_use = true;
    simulation.fail_late(Node::Nar, "add-neighbor");
    simulation.inject(Node::Nar, CORE, hi(PAR, hi_moved(7)));
    assert_eq!(
        hack_codes(&simulation),
        [HackCode::NcoaValid, HackCode::Unspecified]
    );
    simulation.assert_clean();
}

// Rows: HI-17, HAK-05, W11-10
#[test]
fn a_mobile_node_that_missed_its_fback_keeps_what_was_prepared() {
    // Its FBU comes again from here, before the UNA was heard or after.
    for heard in [false, true] {
        let mut simulation = nar_hears(hi(PAR, HI));
        if heard {
            simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
            simulation.run(SECOND);
        }
        simulation.inject(Node::Nar, CORE, hi(PAR, hi_moved(8)));
        assert_eq!(hack_codes(&simulation), [HackCode::NcoaValid; 2]);
        assert_eq!(simulation.count("nar: remove-buffer"), 0);
        if !heard {
            // It is held for as long again.
            simulation.run(Duration::from_millis(1400));
            simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
        }
        assert_eq!(simulation.count("nar: release-buffer"), 1);
        assert_eq!(simulation.count("nar: add-proxy-nd"), 1);
        assert_eq!(simulation.count("nar: add-neighbor"), 1);
        simulation.run(FOREVER);
        assert_eq!(simulation.count("nar: remove-buffer"), 1);
        simulation.assert_clean();
    }
}

// Rows: SEC-07
#[test]
fn newcomers_make_room_for_those_that_a_router_vouches_for() {
    let config = RouterConfig {
        limits: Limits {
            max_handovers: 2,
            ..Limits::default()
        },
        ..router_config(true)
    };
    let mut simulation = Simulation::with(mobile_node_config(), router_config(false), config);
    let address = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, n);
    // A third newcomer takes the place of the first, of whom nothing is known any more.
    for n in [11, 12, 13, 11] {
        simulation.inject(Node::Nar, ACCESS, una(address(n), MN_LLA).encode());
    }
    assert_eq!(simulation.count("nar: add-neighbor"), 4);
    let announced = |n: u16| HandoverInitiate {
        sequence: n,
        pcoa: Some(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, n)),
        ncoa: Some(address(n)),
        ..HI
    };
    for n in 21..=23 {
        simulation.inject(Node::Nar, CORE, hi(PAR, announced(n)));
    }
    use HackCode::{NcoaValid, Resources};
    assert_eq!(hack_codes(&simulation), [NcoaValid, NcoaValid, Resources]);
    // And for no newcomer there is room now.
    simulation.inject(Node::Nar, ACCESS, una(address(14), MN_LLA).encode());
    assert_eq!(simulation.count("nar: add-neighbor"), 4);
    assert_eq!(simulation.nar.counters().resources, 2);
}

// Rows: SEC-07
#[test]
fn handovers_are_bounded_per_neighbor_and_per_link() {
    let refused = |change: fn(&mut Limits), n: u16| {
        let mut simulation = nar_with(|config| change(&mut config.limits));
        for n in 1..=n {
            let message = HandoverInitiate {
                sequence: n,
                pcoa: Some(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100 + n)),
                ncoa: Some(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x100 + n)),
                ..HI
            };
            simulation.inject(Node::Nar, CORE, hi(PAR, message));
        }
        let codes = hack_codes(&simulation);
        simulation.run(FOREVER);
        simulation.assert_clean();
        // What ended makes room.
        let message = HandoverInitiate { sequence: 99, ..HI };
        simulation.inject(Node::Nar, CORE, hi(PAR, message));
        assert_eq!(hack_codes(&simulation).last(), Some(&HackCode::NcoaValid));
        codes
    };
    use HackCode::{NcoaValid, Resources};
    let expected = [NcoaValid, NcoaValid, Resources];
    assert_eq!(refused(|limits| limits.max_per_peer = 2, 3), expected);
    assert_eq!(refused(|limits| limits.max_per_link = 2, 3), expected);
    assert_eq!(refused(|limits| limits.max_handovers = 2, 3), expected);
}

// Rows: HI-12
#[test]
fn an_address_in_use_is_found_out_without_a_buffer_too() {
    let mut simulation = Simulation::new();
    simulation.in_use = true;
    simulation.fail(Node::Nar, "add-proxy-nd");
    let buffer = false;
    simulation.inject(Node::Nar, CORE, hi(PAR, HandoverInitiate { buffer, ..HI }));
    assert_eq!(hack_codes(&simulation), [HackCode::NcoaInUse]);
    assert_eq!(
        commands(&simulation),
        [Command::AddProxyNd {
            interface: ACCESS,
            address: NCOA,
            link_address: MN_LLA,
        }]
    );
    simulation.assert_clean();
}

// Rows: AMB-10, BUF-06, W11-13
#[test]
fn a_link_that_takes_long_to_enter_is_waited_for_as_long_as_it_is_told() {
    let mut simulation = nar_with(|config| {
        config.timers.proxy_nd_lifetime = Duration::from_secs(6);
    });
    simulation.gap = Some(Duration::from_secs(5));
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    simulation.assert_clean();
}

// Rows: MOV-06
#[test]
fn what_was_held_for_a_mobile_node_that_went_elsewhere_is_nobody_elses() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.run(Duration::from_secs(2));
    simulation.assert_clean();
    // Another node makes the same address its own.
    simulation.inject(Node::Nar, ACCESS, una(NCOA, OTHER_LLA).encode());
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: MOV-06
#[test]
fn a_mobile_node_is_expected_with_one_address_only() {
    let mut simulation = nar_hears(hi(PAR, HI));
    let other = Some("2001:db8:2::77".parse().unwrap());
    let newer = HandoverInitiate {
        sequence: 8,
        ncoa: other,
        ..HI
    };
    simulation.inject(Node::Nar, CORE, hi(PAR, newer));
    assert_eq!(hack_codes(&simulation), [HackCode::NcoaValid; 2]);
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(simulation.count("nar: remove-proxy-nd"), 1);
    let status = simulation.nar.handovers();
    assert_eq!(status.len(), 1);
    assert_eq!(status[0].ncoa, other);
}
