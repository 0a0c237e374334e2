//! Messages that are lost: retransmission and its limits.

use super::*;

// Rows: HI-08, HI-18, RTS-06, UNA-04
#[test]
fn each_message_may_be_lost_once_and_the_handover_succeeds() {
    for (from, kind) in [
        (Node::Mn, "RtSolPr"),
        (Node::Par, "PrRtAdv"),
        (Node::Mn, "FBU"),
        (Node::Par, "HI"),
        (Node::Nar, "HAck"),
        (Node::Par, "FBack"),
        (Node::Mn, "NA"),
    ] {
        let mut simulation = Simulation::new();
        simulation.lose(from, kind, 1);
        run_from_impend(&mut simulation);
        assert_eq!(simulation.count("nar: release-buffer"), 1, "{kind} lost");
        assert_eq!(simulation.count("mn: release-uplink"), 1, "{kind} lost");
        simulation.assert_clean();
    }
}

// Rows: HI-14
#[test]
fn a_handover_whose_fback_on_the_old_link_is_lost_succeeds_with_the_next_fbu() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "FBack", 2);
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: -> FBU"), 2);
    // Each FBU is put to the NAR, which drops nothing and does not install anything twice.
    assert_eq!(simulation.count("par: -> HI"), 2);
    assert_eq!(simulation.count("nar: add-proxy-nd"), 1);
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    assert_eq!(simulation.count("mn: switch-link"), 1);
    simulation.assert_clean();
}

// Rows: AMB-15, RTS-06, RTS-07, RTS-08
#[test]
fn rtsolpr_is_retransmitted_with_doubled_interval_but_never_above_its_rate() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    let start = run_from_impend(&mut simulation);
    // The back-off alone would say 0, 100, 300, 700; there may be three in a second (AMB-15).
    assert_eq!(
        simulation.times(start, Node::Mn, "RtSolPr"),
        [0, 100, 300, 1000]
    );
    assert_eq!(
        simulation.events(Node::Mn),
        [r#"{"event":"handover-failed","reason":"no-prrtadv"}"#]
    );
    let (failed, ..) = simulation.log.last().expect("it failed");
    assert_eq!(*failed - start, Duration::from_millis(1800));
    simulation.assert_clean();
}

// Rows: RTS-09
#[test]
fn a_router_that_never_answers_is_not_asked_again() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    run_from_impend(&mut simulation);
    simulation.link(LinkEvent::NewLinkDetected {
        access_point: AP_UNKNOWN,
    });
    simulation.impend();
    simulation.run(FOREVER);
    assert_eq!(simulation.count("mn: -> RtSolPr"), 4);
    assert_eq!(simulation.events(Node::Mn).len(), 2);
    simulation.assert_clean();
}

const ASKED: &str = "mn: -> RtSolPr";

/// A mobile node that doubts after a minute that its router is deaf, which it is so far.
fn doubtful() -> Simulation {
    let mut config = mobile_node_config();
    config.silent_router_interval = Some(60 * SECOND);
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    simulation.impend();
    simulation.run(2 * SECOND);
    assert_eq!(simulation.count(ASKED), 4);
    simulation
}

/// When a silent router is asked next, in milliseconds from now.
fn asked_next(simulation: &Simulation) -> Option<u128> {
    let silent = simulation.mn.status().silent_router;
    let next = silent.expect("it is silent").asked_next_ns;
    next.map(|next| (next - simulation.now).as_millis())
}

// Rows: RTS-09
#[test]
fn a_silent_router_is_asked_again_now_and_then_by_one_message() {
    let mut simulation = doubtful();
    let start = simulation.now;
    simulation.log.clear();
    let mut expected = Vec::new();
    let mut next = asked_next(&simulation).expect("it is asked again");
    // It was silent for a while when this began.
    assert!(next <= 60_000, "{next}");
    for minutes in [2, 4, 8, 16, 16] {
        expected.push(next);
        next += minutes * 60_000;
    }
    simulation.run(50 * 60 * SECOND);
    let mut asked = simulation.times(start, Node::Mn, "RtSolPr");
    asked.truncate(5);
    assert_eq!(asked, expected);
    for (_, packet) in simulation.messages(Node::Mn, "RtSolPr") {
        let Message::RtSolPr(question) = packet.message else {
            unreachable!("only RtSolPrs were asked for")
        };
        assert!(question.access_points.is_empty(), "{question:?}");
    }
    // Whoever waits for a handover does not wait for that.
    simulation.log.clear();
    simulation.impend();
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"no-prrtadv"}"#
    );
}

// Rows: RTS-09
#[test]
fn a_router_that_begins_to_answer_later_hands_over_after_all() {
    let mut simulation = doubtful();
    simulation.repair();
    simulation.run(61 * SECOND);
    assert_eq!(simulation.count(ASKED), 5);
    assert_eq!(simulation.mn.status().silent_router, None);
    assert_eq!(simulation.mn.poll_timeout(), None);
    simulation.log.clear();
    run_from_impend(&mut simulation);
    // What is behind the access point is known already.
    assert_eq!(simulation.steps()[0], "mn: -> fbu");
    assert_eq!(simulation.count("mn: switch-link"), 1);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    simulation.assert_clean();
}

// Rows: RTS-09
#[test]
fn a_silent_router_that_is_needed_is_asked_sooner_but_not_more_often_than_at_first() {
    let needs = [
        LinkEvent::NewLinkDetected { access_point: AP2 },
        LinkEvent::HandoverImpend { access_point: AP2 },
    ];
    for need in needs {
        let mut simulation = doubtful();
        simulation.run(20 * 60 * SECOND);
        simulation.log.clear();
        let waits = asked_next(&simulation).expect("it is asked again");
        assert!(waits > 60_000, "{waits}");
        for _ in 0..100 {
            simulation.link(need);
            simulation.run(SECOND);
        }
        assert_eq!(simulation.count(ASKED), 2, "{need:?}");
    }
}

// Rows: RTS-09
#[test]
fn a_silent_router_is_not_asked_again_without_a_key_or_a_link_or_against_its_file() {
    let mut without_key = mobile_node_config();
    without_key.silent_router_interval = Some(60 * SECOND);
    without_key.routers.clear();
    for config in [without_key, mobile_node_config()] {
        let mut simulation = Simulation::with(config, router_config(false), router_config(true));
        simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
        run_from_impend(&mut simulation);
        assert_eq!(asked_next(&simulation), None);
        assert_eq!(simulation.count(ASKED), 4);
        assert_eq!(simulation.mn.poll_timeout(), None);
    }
    let mut simulation = doubtful();
    simulation.link(LinkEvent::LinkDown);
    simulation.run(600 * SECOND);
    assert_eq!(simulation.count(ASKED), 4);
    simulation.link(LinkEvent::LinkUp { access_point: AP1 });
    simulation.run(SECOND);
    assert_eq!(simulation.count(ASKED), 5);
}

// Rows: PRA-18, RTS-09
#[test]
fn a_silent_router_that_speaks_of_its_own_accord_is_silent_no_more() {
    let mut simulation = doubtful();
    let advertise = Input::Admin(Admin::Advertise { pcoa: PCOA });
    simulation.input(Node::Par, advertise);
    simulation.run(SECOND);
    assert_eq!(simulation.mn.status().silent_router, None);
    simulation.impend();
    assert_eq!(simulation.count("mn: -> FBU"), 1);
}

// Rows: RTS-08, W16-03
#[test]
fn a_flood_of_access_points_does_not_exceed_the_rate_of_rtsolpr() {
    let mut simulation = Simulation::new();
    let start = simulation.now;
    for n in 0..200 {
        let access_point = MacAddr([2, 0, 0, 0, 0xee, n]);
        simulation.link(LinkEvent::NewLinkDetected { access_point });
        simulation.run(Duration::from_millis(25));
    }
    let times = simulation.times(start, Node::Mn, "RtSolPr");
    assert!(times.len() > 10, "it still asks: {times:?}");
    for window in times.windows(4) {
        assert!(window[3] - window[0] >= 1000, "{times:?}");
    }
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: AMB-07, FBU-09, FBU-10
#[test]
fn fbu_is_retransmitted_with_doubled_interval_and_a_new_number() {
    let mut simulation = Simulation::new();
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    let start = run_from_impend(&mut simulation);
    // From 1500 on, those that end what the router may have begun.
    assert_eq!(
        simulation.times(start, Node::Mn, "FBU"),
        [0, 100, 300, 700, 1500, 1600, 1800, 2200]
    );
    let sequence = |(_, packet): (_, Packet)| match packet.message {
        Message::FastBindingUpdate(fbu) => fbu.sequence,
        other => unreachable!("only FBUs were asked for, not {other:?}"),
    };
    let sequences: Vec<_> = simulation.messages(Node::Mn, "FBU").map(sequence).collect();
    assert_eq!(sequences, (42..50).collect::<Vec<_>>());
    let failed = Output::Event(Event::HandoverFailed {
        reason: Failure::NoFback,
    });
    let failed = simulation.log.iter().find(|(.., output)| *output == failed);
    let (failed, ..) = failed.expect("it failed");
    assert_eq!(*failed - start, Duration::from_millis(1500));
    assert_nothing_changed(&simulation);
}

// Rows: HI-02, HI-08, HI-09
#[test]
fn hi_is_retransmitted_unchanged_with_doubled_interval_and_then_given_up() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let start = simulation.now;
    simulation.run(FOREVER);
    assert_eq!(simulation.times(start, Node::Par, "HI"), [0, 100, 300, 700]);
    let packets: Vec<_> = simulation
        .messages(Node::Par, "HI")
        .map(|(_, packet)| packet)
        .collect();
    assert!(packets.iter().all(|packet| *packet == packets[0]));
    assert_eq!(simulation.times(start, Node::Par, "FBack"), [1500]);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
    assert_eq!(simulation.par.counters().peer_silent, 1);
    assert_nothing_changed(&simulation);
}

// Rows: HI-14, HI-18
#[test]
fn a_lost_hack_is_given_again_and_the_nar_installs_nothing_twice() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Nar, "HAck", 1);
    run_from_impend(&mut simulation);
    assert_eq!(
        hack_codes(&simulation),
        [HackCode::NcoaValid, HackCode::NcoaValid]
    );
    assert_eq!(simulation.count("nar: start-buffering"), 1);
    assert_eq!(simulation.nar.counters().duplicate, 1 + 2); // and two UNAs
    simulation.assert_clean();
}

// Rows: AMB-11
#[test]
fn an_fbu_that_is_sent_again_while_the_nar_thinks_makes_no_second_hi() {
    let mut simulation = Simulation::new();
    for sequence in [1, 2, 3] {
        let fbu = Fbu { sequence, ..FBU };
        simulation.inject(Node::Par, ACCESS, fbu.bytes());
    }
    assert_eq!(simulation.count("par: -> HI"), 1);
    simulation.run(SECOND);
    let sequences: Vec<_> = fbacks(&simulation)
        .into_iter()
        .map(|(_, fback)| fback.sequence)
        .collect();
    assert_eq!(sequences, [3, 3]);
}

// Rows: AMB-11, FBU-16, HAK-10, HI-02
#[test]
fn an_fbu_for_another_ncoa_takes_the_place_of_the_one_that_waits() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Nar, "HAck", 1);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(50));
    let other: Ipv6Addr = "2001:db8:2::beef".parse().unwrap();
    let newer = Fbu {
        sequence: 2,
        ncoa: Some(other),
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, newer.bytes());
    simulation.run(Duration::from_millis(50));
    assert_eq!(simulation.par.counters().superseded, 1);
    let sequence = |(_, packet): (_, Packet)| match packet.message {
        Message::HandoverInitiate(hi) => (hi.sequence, hi.ncoa),
        other => unreachable!("only HIs were asked for, not {other:?}"),
    };
    let questions: Vec<_> = simulation.messages(Node::Par, "HI").map(sequence).collect();
    assert_eq!(questions, [(101, Some(NCOA)), (102, Some(other))]);
    // A late answer to the first is no answer to the second.
    simulation.inject(Node::Par, CORE, hack(NAR, 101, HackCode::NcoaValid, None));
    assert_eq!(simulation.par.counters().unmatched, 1);
    let tunnels: Vec<_> = commands(&simulation)
        .into_iter()
        .filter(|command| command.name() == "install-tunnel")
        .collect();
    assert!(matches!(
        tunnels[..],
        [Command::InstallTunnel { ncoa, .. }] if ncoa == other
    ));
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: UNA-04
#[test]
fn una_is_repeated_because_nothing_acknowledges_it() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "NA", 2);
    let start = run_from_impend(&mut simulation);
    assert_eq!(
        simulation.times(start, Node::Mn, "NA"),
        [218, 318, 418, 2218], // the last is that of UNA-10
        "{:?}",
        simulation.steps()
    );
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    simulation.assert_clean();
}
