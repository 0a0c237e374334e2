//! Addresses that the NAR assigns (HAck with Code 2).

use super::*;

/// The first and the last address of the pool.
const FIRST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0xa, 0);
const LAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0xa, 3);

/// A NAR with a pool of four addresses.
fn assigning() -> Simulation {
    nar_with(|config| {
        let pool = "2001:db8:2::a:0/126".parse().unwrap();
        config.access[0].addressing = Addressing::Assigned { pool };
        config.access[0].on_invalid_ncoa = OnInvalidNcoa::Assign;
    })
}

/// The HI of the mobile node with this number.
fn hi_of(n: u16) -> HandoverInitiate {
    HandoverInitiate {
        sequence: n,
        mn_lla: Some(lla(n)),
        pcoa: Some(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, n)),
        ..HI
    }
}

fn lla(n: u16) -> MacAddr {
    let [high, low] = n.to_be_bytes();
    MacAddr([2, 0, 0, 1, high, low])
}

fn hear(simulation: &mut Simulation, message: HandoverInitiate) -> (HackCode, Option<Ipv6Addr>) {
    simulation.inject(Node::Nar, CORE, hi(PAR, message));
    hacks(simulation).pop().expect("it was answered")
}

/// Hears an HI that must be answered with an address of the pool.
fn assigned(simulation: &mut Simulation, message: HandoverInitiate) -> Ipv6Addr {
    let (code, ncoa) = hear(simulation, message);
    assert_eq!(code, HackCode::NcoaAssigned);
    let ncoa = ncoa.expect("it is named");
    assert!((FIRST..=LAST).contains(&ncoa), "{ncoa}");
    ncoa
}

// Rows: AMB-02, HAK-02, HAK-03, HI-15
#[test]
fn an_assigned_address_is_named_held_and_defended() {
    for assigned_address in [false, true] {
        let mut simulation = assigning();
        let message = HandoverInitiate {
            assigned_address,
            ..HI
        };
        let ncoa = assigned(&mut simulation, message.clone());
        let steps = ["nar: start-buffering", "nar: add-proxy-nd", "nar: -> hack"];
        assert_eq!(simulation.steps(), steps);
        for what in ["buffer", "proxy"] {
            assert!(simulation.installed.contains(&(Node::Nar, what, ncoa)));
        }
        // HI-18.
        assert_eq!(assigned(&mut simulation, message), ncoa);
        simulation.inject(Node::Nar, ACCESS, una(ncoa, MN_LLA).encode());
        assert_eq!(simulation.count("nar: release-buffer"), 1);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: HI-15
#[test]
fn a_proposal_from_the_pool_is_granted_and_none_is_needed() {
    let mut simulation = assigning();
    let message = HandoverInitiate {
        ncoa: Some(LAST),
        ..HI
    };
    assert_eq!(assigned(&mut simulation, message), LAST);
    let message = HandoverInitiate {
        ncoa: None,
        assigned_address: true,
        ..hi_of(8)
    };
    assert_ne!(assigned(&mut simulation, message), LAST);
    // Another's is not granted.
    let message = HandoverInitiate {
        ncoa: Some(LAST),
        ..hi_of(9)
    };
    assert_ne!(assigned(&mut simulation, message), LAST);
}

// Rows: AMB-02, HAK-03, HAK-04
#[test]
fn a_par_that_asks_for_an_address_is_told_one_where_nodes_make_their_own() {
    let mut simulation = Simulation::new();
    let message = HandoverInitiate {
        assigned_address: true,
        ..HI
    };
    assert_eq!(
        hear(&mut simulation, message),
        (HackCode::NcoaAssigned, Some(NCOA))
    );
    let message = HandoverInitiate {
        assigned_address: true,
        ncoa: None,
        ..hi_of(8)
    };
    assert_eq!(hear(&mut simulation, message).0, HackCode::Unspecified);
}

// Rows: HI-15, HAK-06
#[test]
fn an_address_is_its_node_s_for_longer_than_the_handover() {
    let mut simulation = assigning();
    let mut all: Vec<_> = (1..=4)
        .map(|n| assigned(&mut simulation, hi_of(n)))
        .collect();
    let third = all[2];
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4, "each has its own");
    let refused = (HackCode::Resources, None);
    assert_eq!(hear(&mut simulation, hi_of(5)), refused);
    // Nobody came; but nobody knows that the addresses are not used either.
    simulation.run(FOREVER);
    simulation.assert_clean();
    assert_eq!(hear(&mut simulation, hi_of(5)), refused);
    assert_eq!(
        assigned(
            &mut simulation,
            HandoverInitiate {
                sequence: 13,
                ..hi_of(3)
            }
        ),
        third
    );
    // Much later they are given away, the one of the node that was heard again last.
    simulation.run(Duration::from_secs(2 * 3600 - 1));
    for n in 5..=7 {
        assert_ne!(assigned(&mut simulation, hi_of(n)), third);
    }
    assert_eq!(hear(&mut simulation, hi_of(8)), refused);
}

// Rows: HI-12
#[test]
fn an_assigned_address_that_is_in_use_is_replaced_a_few_times() {
    for command in ["start-buffering", "add-proxy-nd"] {
        let mut simulation = assigning();
        simulation.in_use = true;
        simulation.fail(Node::Nar, command);
        assert_eq!(
            hear(&mut simulation, HI),
            (HackCode::NcoaInUse, None),
            "{command}"
        );
        assert_eq!(simulation.count(&format!("nar: {command}")), 4);
        simulation.assert_clean();
        // All four are somebody's.
        simulation.repair();
        let refused = (HackCode::Resources, None);
        assert_eq!(hear(&mut simulation, hi_of(8)), refused);
    }
}

// Rows: NAK-01, NAK-04, UNA-09
#[test]
fn a_node_that_missed_its_address_is_told_and_gets_what_was_held_when_it_has_it() {
    for announces in [true, false] {
        let mut simulation = assigning();
        let ncoa = assigned(&mut simulation, HI);
        // It comes with the address that it proposed.
        simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
        let naack = Naack {
            status: NaackStatus::UseSupplied,
            ncoa: Some(ncoa),
        };
        assert_eq!(naacks(&simulation), [(NCOA, Some(MN_LLA), naack)]);
        assert_eq!(simulation.count("nar: release-buffer"), 0);
        // By a UNA, or by what its PAR says.
        let moved = HandoverInitiate {
            sequence: 8,
            code: HiCode::OtherSource,
            ncoa: Some(ncoa),
            ..HI
        };
        match announces {
            true => simulation.inject(Node::Nar, ACCESS, una(ncoa, MN_LLA).encode()),
            false => {
                // HAK-05: not as an assigned one.
                assert_eq!(hear(&mut simulation, moved), (HackCode::NcoaValid, None));
            }
        }
        assert_eq!(simulation.count("nar: release-buffer"), 1);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: HI-17, HAK-05, NAK-01, NAK-04, W16-22
#[test]
fn a_node_that_comes_unannounced_is_given_an_address_that_its_par_then_confirms() {
    let mut simulation = assigning();
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    assert_eq!(simulation.count("nar: add-neighbor"), 0);
    let (_, _, naack) = naacks(&simulation).pop().expect("it is told");
    assert_eq!(naack.status, NaackStatus::UseSupplied);
    let ncoa = naack.ncoa.expect("an address is supplied");
    assert!((FIRST..=LAST).contains(&ncoa));
    // What it made up itself, its PAR cannot make good.
    let moved = HandoverInitiate {
        code: HiCode::OtherSource,
        ..HI
    };
    assert_eq!(
        hear(&mut simulation, moved.clone()),
        (HackCode::Unspecified, None)
    );
    let moved = HandoverInitiate {
        sequence: 8,
        ncoa: Some(ncoa),
        ..moved
    };
    assert_eq!(
        hear(&mut simulation, moved.clone()),
        (HackCode::NcoaValid, None)
    );
    // It is nobody else's, then.
    let other = HandoverInitiate {
        ncoa: Some(ncoa),
        code: HiCode::OtherSource,
        ..hi_of(9)
    };
    assert_eq!(hear(&mut simulation, other).0, HackCode::Unspecified);
}

// Rows: SEC-07
#[test]
fn addresses_that_nobody_vouches_for_are_given_away_first() {
    let mut simulation = assigning();
    for n in 1..=9 {
        let made_up = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0xb, n);
        simulation.inject(Node::Nar, ACCESS, una(made_up, lla(n)).encode());
    }
    let supplied = naacks(&simulation);
    assert!(
        supplied
            .iter()
            .all(|(_, _, naack)| naack.status == NaackStatus::UseSupplied)
    );
    for n in 11..=14 {
        assigned(&mut simulation, hi_of(n));
    }
    assert_eq!(hear(&mut simulation, hi_of(15)).0, HackCode::Resources);
    // And then there is none to supply.
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    let (_, _, naack) = naacks(&simulation).pop().expect("it is told");
    assert_eq!(naack.status, NaackStatus::ConfigureAddress);
}

// Rows: FBA-04, FBA-06, HAK-03
#[test]
fn a_whole_handover_with_an_assigned_address_leaves_nothing_behind() {
    let mut simulation = assigning();
    run_from_impend(&mut simulation);
    let (_, ncoa) = hacks(&simulation)[0];
    let told = fbacks(&simulation);
    assert!(!told.is_empty());
    for (_, fback) in told {
        assert_eq!(fback.status, FastBindingStatus::NcoaInvalid);
        assert_eq!(fback.alternate_coa, ncoa);
    }
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    simulation.assert_clean();
}

const THIRD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1);

/// As [`assigning`], with a third router as neighbor, and room for one handover with each.
fn assigning_for_two() -> Simulation {
    nar_with(|config| {
        let pool = "2001:db8:2::a:0/126".parse().unwrap();
        config.access[0].addressing = Addressing::Assigned { pool };
        config.limits.max_per_peer = 1;
        let third = Peer {
            address: THIRD,
            prefix: "2001:db8:3::/64".parse().unwrap(),
            ..config.peers[0].clone()
        };
        config.peers.push(third);
    })
}

/// What the third router says of a mobile node that was there, and is at the NAR with `ncoa`.
fn moved_from_third(ncoa: Ipv6Addr) -> HandoverInitiate {
    HandoverInitiate {
        code: HiCode::OtherSource,
        pcoa: Some("2001:db8:3::7".parse().unwrap()),
        ncoa: Some(ncoa),
        ..HI
    }
}

// Rows: MOV-04, SEC-07, HI-17
#[test]
fn a_node_that_comes_by_another_router_than_the_one_that_announced_it_counts_as_that_one_s() {
    for here in [false, true] {
        let mut simulation = assigning_for_two();
        let ncoa = assigned(&mut simulation, HI);
        if here {
            simulation.inject(Node::Nar, ACCESS, una(ncoa, MN_LLA).encode());
        }
        simulation.run(SECOND);
        simulation.log.clear();
        // The numbers of two routers have nothing to do with each other.
        simulation.inject(Node::Nar, CORE, hi(THIRD, moved_from_third(ncoa)));
        let (_, answer) = simulation.messages(Node::Nar, "HAck").next().unwrap();
        assert_eq!(answer.destination, THIRD);
        assert_eq!(hacks(&simulation), [(HackCode::NcoaValid, None)]);
        assert_eq!(simulation.nar.handovers()[0].peer, THIRD);
        assert_eq!(simulation.nar.handovers().len(), 1);
        // The router that announced it may announce another one.
        assigned(&mut simulation, hi_of(8));
        let full = HandoverInitiate {
            sequence: 9,
            mn_lla: Some(lla(9)),
            pcoa: Some("2001:db8:3::9".parse().unwrap()),
            code: HiCode::PcoaSource,
            ..moved_from_third(LAST)
        };
        simulation.inject(Node::Nar, CORE, hi(THIRD, full));
        assert_eq!(hacks(&simulation).pop(), Some((HackCode::Resources, None)));
        // What was held for it is released when it comes, once.
        if !here {
            assert_eq!(simulation.count("nar: release-buffer"), 0);
            simulation.inject(Node::Nar, ACCESS, una(ncoa, MN_LLA).encode());
            assert_eq!(simulation.count("nar: release-buffer"), 1);
        }
        assert_eq!(simulation.count("nar: remove-buffer"), 0);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: SEC-07, HI-18
#[test]
fn a_router_that_has_no_room_left_takes_no_node_from_another_one() {
    let mut simulation = assigning_for_two();
    let ncoa = assigned(&mut simulation, HI);
    let another = HandoverInitiate {
        mn_lla: Some(lla(9)),
        code: HiCode::PcoaSource,
        ..moved_from_third(LAST)
    };
    simulation.inject(Node::Nar, CORE, hi(THIRD, another));
    let moved = HandoverInitiate {
        sequence: 8,
        pcoa: Some("2001:db8:3::8".parse().unwrap()),
        ..moved_from_third(ncoa)
    };
    simulation.inject(Node::Nar, CORE, hi(THIRD, moved));
    assert_eq!(hacks(&simulation).pop(), Some((HackCode::Resources, None)));
    assert_eq!(simulation.count("nar: remove-buffer"), 0);
    simulation.run(FOREVER);
    simulation.assert_clean();
}
