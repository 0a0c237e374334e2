//! Mobile nodes that leave without a word: what is kept of their packets, and what becomes of it.

use super::*;

const LIFETIME: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_millis(50);
const HOLD: Departure = Departure::Hold { lifetime: LIFETIME };
const COPY: Departure = Departure::Copy {
    window: WINDOW,
    lifetime: LIFETIME,
};

const ATTACHED: Input = Input::Station(StationEvent::Attached {
    interface: ACCESS,
    address: PCOA,
    link_address: MN_LLA,
});
const DEPARTED: Input = Input::Station(StationEvent::Departed {
    interface: ACCESS,
    address: PCOA,
});

/// A PAR with this policy, whose HIs the test answers.
fn par_with(departure: Departure) -> Simulation {
    let mut par = router_config(false);
    par.access[0].departure = departure;
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation
}

/// One that the mobile node attached to and left.
fn departed(departure: Departure) -> Simulation {
    let mut simulation = par_with(departure);
    simulation.input(Node::Par, ATTACHED);
    simulation.input(Node::Par, DEPARTED);
    simulation
}

fn buffering(simulation: &Simulation) -> Command {
    Command::StartBuffering {
        address: PCOA,
        interface: ACCESS,
        link_address: MN_LLA,
        tunnel: None,
        expires: simulation.now + LIFETIME,
    }
}

// Rows: BUF-06, BUF-05
#[test]
fn packets_are_held_from_the_departure_and_not_beyond_their_time() {
    let mut simulation = departed(HOLD);
    assert_eq!(commands(&simulation), [buffering(&simulation)]);
    assert_eq!(simulation.par.handovers()[0].state, "departed");
    // Said again, it does not last longer.
    simulation.run(SECOND);
    simulation.input(Node::Par, DEPARTED);
    simulation.run(SECOND * 2);
    assert_eq!(
        simulation.steps(),
        ["par: start-buffering", "par: remove-buffer"]
    );
    assert!(
        simulation.events(Node::Par)[1].contains("buffer-expired"),
        "{:?}",
        simulation.events(Node::Par)
    );
    simulation.assert_clean();
}

#[test]
fn the_tunnel_of_a_reactive_handover_takes_over_what_is_held() {
    for departure in [HOLD, COPY] {
        let mut simulation = departed(departure);
        simulation.log.clear();
        simulation.run(SECOND);
        simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
        answer(&mut simulation, HackCode::NcoaValid, None);
        simulation.run(SECOND);
        assert_eq!(
            simulation.steps(),
            ["par: -> hi", "par: install-tunnel", "par: -> fback"]
        );
        assert_eq!(simulation.par.handovers()[0].state, "forwarding");
        // The time of the hold is nothing to the tunnel, which alone is removed.
        simulation.run(FOREVER);
        assert_eq!(simulation.steps()[3..], ["par: remove-tunnel"]);
        simulation.assert_clean();
    }
}

#[test]
fn a_reactive_fbu_is_word_enough_of_a_departure() {
    for (departure, expected) in [
        (Departure::Ignore, &["par: -> hi"][..]),
        (HOLD, &["par: start-buffering", "par: -> hi"]),
        (COPY, &["par: start-buffering", "par: -> hi"]),
    ] {
        let mut simulation = par_with(departure);
        simulation.input(Node::Par, ATTACHED);
        simulation.log.clear();
        simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
        assert_eq!(simulation.steps(), expected);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

#[test]
fn an_fbu_that_was_in_the_air_takes_over_what_is_held() {
    let mut simulation = departed(HOLD);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(simulation.count("par: install-tunnel"), 1);
    assert_eq!(simulation.count("par: remove-buffer"), 0);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn what_is_held_waits_for_another_fbu_if_the_nar_refuses() {
    let mut simulation = departed(HOLD);
    simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
    answer(&mut simulation, HackCode::Resources, None);
    assert_eq!(simulation.count("par: remove-buffer"), 0);
    assert_eq!(simulation.par.handovers()[0].state, "departed");
    let again = Fbu {
        sequence: 2,
        ..FBU_MOVED
    };
    simulation.inject(Node::Par, CORE, again.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-buffer"), 0);
    simulation.assert_clean();
}

// Rows: MOV-02, BUF-07
#[test]
fn a_mobile_node_that_is_back_gets_what_was_held() {
    let end = Fbu { lifetime: 0, ..FBU };
    for by_fbu in [false, true] {
        let mut simulation = departed(HOLD);
        simulation.log.clear();
        match by_fbu {
            false => simulation.input(Node::Par, ATTACHED),
            true => simulation.inject(Node::Par, ACCESS, end.bytes()),
        }
        assert_eq!(simulation.steps()[0], "par: release-buffer");
        assert_eq!(simulation.par.handovers()[0].state, "returned");
        // What was on its way into the buffer has a while to follow.
        simulation.run(SECOND);
        assert_eq!(simulation.count("par: remove-buffer"), 0);
        simulation.run(SECOND);
        assert_eq!(simulation.count("par: remove-buffer"), 1);
        simulation.assert_clean();
    }
}

// Rows: FBU-13
#[test]
fn a_replayed_end_does_not_release_what_is_held() {
    let end = Fbu { lifetime: 0, ..FBU };
    let mut simulation = par_with(HOLD);
    simulation.inject(Node::Par, ACCESS, end.bytes());
    simulation.input(Node::Par, ATTACHED);
    simulation.input(Node::Par, DEPARTED);
    simulation.log.clear();
    simulation.inject(Node::Par, ACCESS, end.bytes());
    assert_eq!(simulation.steps(), ["par: -> fback"]);
    assert_eq!(simulation.par.counters().duplicate, 1);
    assert_eq!(simulation.par.handovers()[0].state, "departed");
}

// Rows: BUF-01, BUF-02, HI-10
#[test]
fn copies_are_made_beside_the_delivery_until_the_tunnel_takes_over() {
    let copying = Command::StartCopying {
        address: PCOA,
        interface: ACCESS,
        link_address: MN_LLA,
        window: WINDOW,
    };
    let mut simulation = par_with(COPY);
    simulation.input(Node::Par, ATTACHED);
    assert_eq!(commands(&simulation), std::slice::from_ref(&copying));
    assert_eq!(simulation.par.handovers(), []);
    // Attached again, as after a move between access points: nothing new.
    simulation.input(Node::Par, ATTACHED);
    assert_eq!(commands(&simulation).len(), 1);
    simulation.log.clear();

    // What came before the FBU, the mobile node has: it was there to write it.
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let remove = Command::RemoveBuffer { address: PCOA };
    assert_eq!(commands(&simulation), [remove, copying]);
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(
        simulation.steps(),
        [
            "par: remove-buffer",
            "par: start-copying",
            "par: -> hi",
            "par: install-tunnel",
            "par: -> fback",
            "par: -> fback"
        ]
    );
    // The link layer notices later.
    simulation.input(Node::Par, DEPARTED);
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-buffer"), 1);
    assert_eq!(simulation.count("par: start-buffering"), 0);
    simulation.assert_clean();
}

// Rows: BUF-01
#[test]
fn a_mobile_node_that_leaves_before_the_answer_is_held_for_behind_the_copies() {
    let mut simulation = par_with(COPY);
    simulation.input(Node::Par, ATTACHED);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.input(Node::Par, DEPARTED);
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(
        simulation.steps()[3..6],
        ["par: -> hi", "par: start-buffering", "par: install-tunnel"]
    );
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-buffer"), 1, "before the HI");
    simulation.assert_clean();
}

// Rows: HI-10
#[test]
fn a_router_that_asks_its_neighbor_to_hold_packets_holds_them_itself() {
    for departure in [HOLD, COPY] {
        let mut simulation = par_with(departure);
        simulation.inject(Node::Par, ACCESS, FBU.bytes());
        let (_, packet) = simulation.messages(Node::Par, "HI").next().unwrap();
        let Message::HandoverInitiate(asked) = packet.message else {
            panic!("an HI was asked for");
        };
        assert!(asked.buffer);
        simulation.input(Node::Par, DEPARTED);
        assert!(
            commands(&simulation).contains(&buffering(&simulation)),
            "{departure:?}: {:?}",
            simulation.steps()
        );
    }
}

#[test]
fn copies_go_on_when_the_mobile_node_stays_after_all() {
    let end = Fbu {
        sequence: 2,
        lifetime: 0,
        ..FBU
    };
    for ending in [false, true] {
        let mut simulation = par_with(COPY);
        simulation.input(Node::Par, ATTACHED);
        simulation.inject(Node::Par, ACCESS, FBU.bytes());
        let before = commands(&simulation).len();
        match ending {
            false => answer(&mut simulation, HackCode::Resources, None),
            true => simulation.inject(Node::Par, ACCESS, end.bytes()),
        }
        assert_eq!(commands(&simulation).len(), before);
        assert_eq!(simulation.par.handovers(), []);
        // They are still known to be made.
        simulation.input(Node::Par, DEPARTED);
        assert_eq!(simulation.count("par: start-buffering"), 1);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

#[test]
fn copies_begin_again_when_the_mobile_node_is_back_and_the_tunnel_ends() {
    let mut simulation = par_with(COPY);
    simulation.input(Node::Par, ATTACHED);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.run(Duration::from_millis(10));
    simulation.input(Node::Par, DEPARTED);
    simulation.input(Node::Par, ATTACHED);
    simulation.log.clear();
    let end = Fbu {
        sequence: 2,
        lifetime: 0,
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, end.bytes());
    assert_eq!(
        simulation.steps(),
        [
            "par: remove-tunnel",
            "par: -> hi",
            "par: start-copying",
            "par: -> fback"
        ]
    );
    simulation.input(Node::Par, Input::Admin(Admin::Shutdown));
    simulation.assert_clean();
}

#[test]
fn only_mobile_nodes_with_a_key_on_their_link_are_kept_anything_for() {
    let stranger: Ipv6Addr = "2001:db8:1::77".parse().unwrap();
    let attached = |interface, address| {
        Input::Station(StationEvent::Attached {
            interface,
            address,
            link_address: MN_LLA,
        })
    };
    let cases: [(Input, Counter); 4] = [
        (attached(ACCESS, stranger), |c| c.unknown_key),
        (attached(ACCESS, NCOA), |c| c.pcoa_not_ours),
        (attached(CORE, PCOA), |c| c.unexpected),
        (DEPARTED, |c| c.unknown_station),
    ];
    for (input, count) in cases {
        let mut simulation = par_with(COPY);
        simulation.input(Node::Par, input);
        assert_eq!(count(simulation.par.counters()), 1);
        assert_nothing_changed(&simulation);
    }
    // Nor is anything counted where nothing is to be kept.
    let mut simulation = par_with(Departure::Ignore);
    simulation.input(Node::Par, attached(ACCESS, stranger));
    simulation.input(Node::Par, DEPARTED);
    assert_eq!(simulation.par.counters().unknown_key, 0);
    assert_eq!(simulation.par.counters().unknown_station, 0);
    assert_nothing_changed(&simulation);
}

// Rows: SEC-07, BUF-05
#[test]
fn what_is_held_counts_as_a_handover() {
    for departure in [HOLD, COPY] {
        let mut par = router_config(false);
        par.access[0].departure = departure;
        par.limits.max_per_link = 0;
        let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
        simulation.input(Node::Par, ATTACHED);
        simulation.input(Node::Par, DEPARTED);
        assert_eq!(simulation.par.counters().resources, 1);
        assert_eq!(simulation.count("par: start-buffering"), 0);
        simulation.assert_clean();
    }
    let mut par = router_config(false);
    par.access[0].departure = COPY;
    par.limits.max_handovers = 0;
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.input(Node::Par, ATTACHED);
    assert_eq!(simulation.par.counters().resources, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn a_mobile_node_that_arrived_by_handover_is_copied_for_once_that_is_over() {
    let mut simulation = par_with(COPY);
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    simulation.input(Node::Par, ATTACHED);
    assert_eq!(simulation.count("par: start-copying"), 0);
    simulation.inject(Node::Par, ACCESS, una(PCOA, MN_LLA).encode());
    simulation.run(Duration::from_secs(5));
    let steps = simulation.steps();
    assert_eq!(
        steps[steps.len() - 2..],
        ["par: remove-buffer", "par: start-copying"]
    );
    simulation.input(Node::Par, Input::Admin(Admin::Shutdown));
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_leaves_soon_after_it_came_is_held_for_too() {
    let mut simulation = par_with(HOLD);
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    // Of an earlier visit: it has not come yet.
    simulation.input(Node::Par, DEPARTED);
    assert_eq!(simulation.par.handovers()[0].state, "expected");
    simulation.input(Node::Par, ATTACHED);
    simulation.inject(Node::Par, ACCESS, una(PCOA, MN_LLA).encode());
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.par.handovers()[0].state, "arrived");
    simulation.log.clear();
    simulation.input(Node::Par, DEPARTED);
    assert_eq!(
        simulation.steps(),
        ["par: remove-buffer", "par: start-buffering"]
    );
    assert_eq!(simulation.par.handovers()[0].state, "departed");
    simulation.run(FOREVER);
    simulation.assert_clean();
}

/// A mobile node that came by a handover and has not got yet all that was held for it.
fn draining(departure: Departure, attached: bool) -> Simulation {
    let mut simulation = par_with(departure);
    simulation.drain = SECOND * 5;
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    if attached {
        simulation.input(Node::Par, ATTACHED);
    }
    simulation.inject(Node::Par, ACCESS, una(PCOA, MN_LLA).encode());
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.par.handovers()[0].state, "draining");
    simulation.log.clear();
    simulation
}

// Rows: BUF-08
#[test]
fn what_a_mobile_node_that_leaves_again_has_not_got_yet_stays_held_for_it() {
    for departure in [HOLD, COPY] {
        // Whether or not the link layer said that it came.
        for attached in [false, true] {
            let mut simulation = draining(departure, attached);
            simulation.input(Node::Par, DEPARTED);
            assert_eq!(commands(&simulation), [buffering(&simulation)]);
            assert_eq!(simulation.par.handovers().len(), 1);
            assert_eq!(simulation.par.handovers()[0].state, "departed");
            simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
            answer(&mut simulation, HackCode::NcoaValid, None);
            assert_eq!(simulation.count("par: install-tunnel"), 1);
            simulation.run(FOREVER);
            assert_eq!(simulation.count("par: remove-buffer"), 0);
            simulation.assert_clean();
        }
        // It is back, without another word.
        let mut simulation = draining(departure, true);
        simulation.input(Node::Par, DEPARTED);
        simulation.input(Node::Par, ATTACHED);
        assert_eq!(
            simulation.steps(),
            ["par: start-buffering", "par: release-buffer"]
        );
        simulation.input(Node::Par, DEPARTED);
        simulation.run(FOREVER);
        assert_eq!(simulation.count("par: remove-buffer"), 1);
        simulation.assert_clean();
        // It cannot be held any longer.
        let mut simulation = draining(departure, true);
        simulation.fail(Node::Par, "start-buffering");
        simulation.input(Node::Par, DEPARTED);
        assert_eq!(simulation.count("par: remove-buffer"), 1);
        simulation.assert_clean();
    }
}

// Rows: BUF-08
#[test]
fn what_a_mobile_node_has_not_got_yet_that_writes_from_elsewhere_goes_there() {
    for departure in [HOLD, COPY] {
        let mut simulation = draining(departure, true);
        simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
        assert_eq!(simulation.steps(), ["par: start-buffering", "par: -> hi"]);
        answer(&mut simulation, HackCode::NcoaValid, None);
        assert_eq!(simulation.count("par: install-tunnel"), 1);
        simulation.run(FOREVER);
        assert_eq!(simulation.count("par: remove-buffer"), 0);
        simulation.assert_clean();
    }
}

// Rows: SEC-07, BUF-05
#[test]
fn a_mobile_node_that_leaves_again_has_the_place_that_it_came_by() {
    let mut par = router_config(false);
    par.access[0].departure = HOLD;
    par.limits.max_per_link = 1;
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    simulation.input(Node::Par, ATTACHED);
    simulation.inject(Node::Par, ACCESS, una(PCOA, MN_LLA).encode());
    simulation.input(Node::Par, DEPARTED);
    assert_eq!(simulation.par.counters().resources, 0);
    assert_eq!(simulation.par.handovers()[0].state, "departed");
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: HI-12
#[test]
fn the_address_of_a_mobile_node_on_its_link_is_nobody_elses() {
    let other = MacAddr([2, 0, 0, 0, 0, 9]);
    for departure in [HOLD, COPY] {
        let mut simulation = par_with(departure);
        simulation.input(Node::Par, ATTACHED);
        simulation.log.clear();
        let claim = HandoverInitiate {
            mn_lla: Some(other),
            ..HI_BACK
        };
        simulation.inject(Node::Par, CORE, hi(NAR, claim));
        assert_eq!(simulation.steps(), ["par: -> hack"]);
        assert_eq!(simulation.par.counters().ncoa_in_use, 1);
        // The same one may come back, though nobody noticed that it left.
        simulation.log.clear();
        let back = HandoverInitiate {
            sequence: 8,
            ..HI_BACK
        };
        simulation.inject(Node::Par, CORE, hi(NAR, back));
        let copied = usize::from(departure == COPY);
        assert_eq!(simulation.count("par: remove-buffer"), copied);
        assert_eq!(simulation.count("par: start-buffering"), 1);
        simulation.input(Node::Par, Input::Admin(Admin::Shutdown));
        simulation.assert_clean();
    }
}

#[test]
fn what_cannot_be_kept_is_not_removed() {
    // At the departure.
    for (departure, late) in [(HOLD, false), (HOLD, true), (COPY, false), (COPY, true)] {
        let mut simulation = par_with(departure);
        simulation.input(Node::Par, ATTACHED);
        match late {
            false => simulation.fail(Node::Par, "start-buffering"),
            true => simulation.fail_late(Node::Par, "start-buffering"),
        }
        simulation.input(Node::Par, DEPARTED);
        // The copies still stood.
        let copies = usize::from(departure == COPY);
        assert_eq!(simulation.count("par: remove-buffer"), copies);
        simulation.assert_clean();
    }
    // While it is attached.
    let mut simulation = par_with(COPY);
    simulation.fail(Node::Par, "start-copying");
    simulation.input(Node::Par, ATTACHED);
    simulation.repair();
    simulation.input(Node::Par, Input::Admin(Admin::Shutdown));
    assert_eq!(simulation.count("par: remove-buffer"), 0);
    simulation.assert_clean();
    // When it is back.
    let mut simulation = departed(HOLD);
    simulation.fail(Node::Par, "release-buffer");
    simulation.input(Node::Par, ATTACHED);
    assert_eq!(simulation.count("par: remove-buffer"), 1);
    simulation.assert_clean();
}

#[test]
fn what_is_held_outlives_a_tunnel_that_cannot_be_made() {
    for late in [false, true] {
        let mut simulation = departed(HOLD);
        match late {
            false => simulation.fail(Node::Par, "install-tunnel"),
            true => simulation.fail_late(Node::Par, "install-tunnel"),
        }
        simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
        answer(&mut simulation, HackCode::NcoaValid, None);
        assert_eq!(
            statuses(&simulation).last(),
            Some(&FastBindingStatus::Resources)
        );
        assert_eq!(simulation.par.handovers()[0].state, "departed");
        simulation.run(FOREVER);
        assert_eq!(simulation.count("par: remove-buffer"), 1);
        assert_eq!(simulation.count("par: remove-tunnel"), 0);
        simulation.assert_clean();
    }
}

#[test]
fn a_tunnel_whose_backlog_cannot_go_out_is_made_anew_without_it() {
    let mut simulation = departed(HOLD);
    simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.log.clear();
    let failed = Input::DrainFailed {
        address: PCOA,
        error: CommandError::Other("no".to_owned()),
    };
    simulation.input(Node::Par, failed);
    assert_eq!(
        simulation.steps(),
        ["par: remove-tunnel", "par: install-tunnel"]
    );
    // If that fails nothing is left, neither the tunnel nor what it had taken over.
    simulation.log.clear();
    simulation.fail(Node::Par, "install-tunnel");
    let failed = Input::DrainFailed {
        address: PCOA,
        error: CommandError::Other("no".to_owned()),
    };
    simulation.input(Node::Par, failed);
    assert_eq!(
        simulation.steps(),
        ["par: remove-tunnel", "par: install-tunnel", "par: -> fback"]
    );
    simulation.assert_clean();
}

#[test]
fn a_shutdown_removes_what_is_kept_in_every_state() {
    for departure in [HOLD, COPY] {
        let inputs = [ATTACHED, DEPARTED, ATTACHED];
        for steps in 0..=inputs.len() {
            for asked in [false, true] {
                let mut simulation = par_with(departure);
                for input in inputs.iter().take(steps) {
                    simulation.input(Node::Par, input.clone());
                }
                if asked {
                    simulation.inject(Node::Par, ACCESS, FBU.bytes());
                }
                simulation.input(Node::Par, Input::Admin(Admin::Shutdown));
                simulation.assert_clean();
            }
        }
    }
}

/// A PAR that held packets for a mobile node which has gone to the NAR; they are on their way there.
fn handing_on(drain: Duration) -> Simulation {
    let mut simulation = departed(HOLD);
    simulation.drain = drain;
    simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    simulation.log.clear();
    simulation
}

// Rows: MOV-02, BUF-08
#[test]
fn what_has_not_left_when_the_mobile_node_is_announced_back_waits_for_it() {
    for code in [HiCode::PcoaSource, HiCode::OtherSource] {
        let mut simulation = handing_on(SECOND);
        let moved = code == HiCode::OtherSource;
        // As a router would say it that holds nothing itself.
        let back = HandoverInitiate {
            code,
            buffer: false,
            ..HI_BACK
        };
        simulation.inject(Node::Par, CORE, hi(NAR, back));
        if !moved {
            assert_eq!(
                simulation.steps(),
                ["par: start-buffering", "par: add-proxy-nd", "par: -> hack"]
            );
            assert_eq!(simulation.par.handovers()[0].state, "expected");
            simulation.inject(Node::Par, ACCESS, una(PCOA, MN_LLA).encode());
        }
        assert_eq!(simulation.count("par: start-buffering"), 1);
        assert_eq!(simulation.count("par: release-buffer"), 1);
        assert_eq!(simulation.par.handovers()[0].state, "draining");
        simulation.run(FOREVER);
        assert_eq!(simulation.count("par: remove-tunnel"), 0);
        assert_eq!(simulation.count("par: remove-buffer"), 1);
        assert_eq!(simulation.dropped, []);
        simulation.assert_clean();
    }
}

#[test]
fn a_tunnel_that_has_all_behind_it_makes_place_for_an_announced_mobile_node() {
    for buffer in [false, true] {
        let mut simulation = handing_on(Duration::from_millis(1));
        simulation.run(Duration::from_millis(10));
        let back = HandoverInitiate { buffer, ..HI_BACK };
        simulation.inject(Node::Par, CORE, hi(NAR, back));
        // In one step, if its packets are to be held.
        let (removed, held) = if buffer { (0, 1) } else { (1, 0) };
        assert_eq!(simulation.count("par: remove-tunnel"), removed);
        assert_eq!(simulation.count("par: start-buffering"), held);
        assert!(
            simulation.events(Node::Par)[0].ends_with(r#""reason":"returning"}"#),
            "{:?}",
            simulation.events(Node::Par)
        );
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: MOV-02, BUF-08
#[test]
fn what_has_not_left_when_the_mobile_node_ends_its_tunnel_here_goes_to_the_link() {
    let end = Fbu {
        sequence: 2,
        lifetime: 0,
        ..FBU
    };
    let mut simulation = handing_on(SECOND);
    simulation.inject(Node::Par, ACCESS, end.bytes());
    assert_eq!(
        simulation.steps(),
        [
            "par: start-buffering",
            "par: release-buffer",
            "par: -> fback"
        ]
    );
    assert_eq!(simulation.par.handovers()[0].state, "returned");
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-tunnel"), 0);
    assert_eq!(simulation.dropped, []);
    simulation.assert_clean();

    // All has left: nothing to hold.
    let mut simulation = handing_on(Duration::from_millis(1));
    simulation.run(Duration::from_millis(10));
    simulation.inject(Node::Par, ACCESS, end.bytes());
    assert_eq!(simulation.steps(), ["par: remove-tunnel", "par: -> fback"]);
    simulation.assert_clean();
}

// Rows: BUF-06, BUF-08
#[test]
fn what_has_not_left_when_the_nar_takes_its_word_back_waits_for_another_fbu() {
    let mut simulation = departed(HOLD);
    simulation.drain = SECOND;
    simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    answer(&mut simulation, HackCode::Resources, None);
    let steps = simulation.steps();
    assert_eq!(
        steps[steps.len() - 2..],
        ["par: start-buffering", "par: -> fback"]
    );
    assert_eq!(simulation.par.handovers()[0].state, "departed");
    let again = Fbu {
        sequence: 2,
        ..FBU_MOVED
    };
    simulation.inject(Node::Par, CORE, again.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    assert_eq!(simulation.dropped, []);
    simulation.assert_clean();
}

// Rows: MOV-05, BUF-08
#[test]
fn another_tunnel_goes_on_with_what_the_first_one_took_over() {
    let mut simulation = handing_on(SECOND);
    let again = Fbu {
        sequence: 2,
        ..FBU_MOVED
    };
    simulation.inject(Node::Par, CORE, again.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(simulation.count("par: install-tunnel"), 1);
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    simulation.inject(Node::Par, ACCESS, una(PCOA, MN_LLA).encode());
    simulation.run(FOREVER);
    assert_eq!(simulation.dropped, []);
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_leaves_again_before_it_has_all_is_held_for_behind_the_rest() {
    let mut simulation = departed(HOLD);
    simulation.drain = SECOND;
    simulation.input(Node::Par, ATTACHED);
    simulation.log.clear();
    simulation.input(Node::Par, DEPARTED);
    assert_eq!(commands(&simulation), [buffering(&simulation)]);
    assert_eq!(simulation.par.handovers()[0].state, "departed");
    simulation.run(Duration::from_millis(1500));
    simulation.input(Node::Par, ATTACHED);
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: release-buffer"), 1);
    assert_eq!(simulation.dropped, []);
    simulation.assert_clean();
}

#[test]
fn a_tunnel_whose_place_cannot_be_taken_is_removed() {
    let end = Fbu {
        sequence: 2,
        lifetime: 0,
        ..FBU
    };
    for late in [false, true] {
        for ending in [false, true] {
            let mut simulation = handing_on(SECOND);
            match late {
                false => simulation.fail(Node::Par, "start-buffering"),
                true => simulation.fail_late(Node::Par, "start-buffering"),
            }
            match ending {
                false => simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK)),
                true => simulation.inject(Node::Par, ACCESS, end.bytes()),
            }
            assert_eq!(simulation.count("par: start-buffering"), 1);
            assert_eq!(simulation.count("par: remove-buffer"), 1, "the tunnel's");
            simulation.assert_clean();
        }
    }
}
