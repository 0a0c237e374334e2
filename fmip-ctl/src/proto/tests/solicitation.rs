//! RtSolPr and PrRtAdv.

use super::*;

// Rows: PRA-01, PRA-02, PRA-04, PRA-05, PRA-06, PRA-08, PRA-10, PRA-12, PRA-16, RTS-11
#[test]
fn every_access_point_gets_its_own_answer() {
    use {ApOutcome as Outcome, PrRtAdvCode as Code};
    let cases: [(&[MacAddr], Code, &[Outcome]); 6] = [
        (&[AP2], Code::Solicited, &[Outcome::Known]),
        (&[AP1B], Code::NoNewRouter, &[Outcome::SameInterface]),
        (&[AP_UNKNOWN], Code::NoNewRouter, &[Outcome::NoPrefix]),
        (
            &[AP_UNKNOWN, AP2, AP1],
            Code::Partial,
            &[Outcome::NoPrefix, Outcome::Known, Outcome::SameInterface],
        ),
        (
            &[AP1, AP_UNKNOWN],
            Code::NoNewRouter,
            &[Outcome::SameInterface, Outcome::NoPrefix],
        ),
        (&[], Code::Solicited, &[Outcome::Known]),
    ];
    for (asked, code, outcomes) in cases {
        let simulation = par_hears(rtsolpr(asked.to_vec()).encode());
        let (_, packet) = simulation.messages(Node::Par, "PrRtAdv").next().unwrap();
        assert_eq!(packet.source.to_string(), "fe80::1");
        assert_eq!((packet.destination, packet.hop_limit), (PCOA, 255));
        let Message::PrRtAdv(answer) = packet.message else {
            panic!("it is a PrRtAdv");
        };
        assert_eq!(answer.code, code, "{asked:?}");
        assert_eq!(answer.identifier, 77);
        assert_eq!(answer.source_lla, Some(PAR_LLA));
        let got: Vec<_> = answer.tuples.iter().map(|tuple| tuple.outcome).collect();
        assert_eq!(got, outcomes);
        let named: Vec<_> = answer
            .tuples
            .iter()
            .map(|tuple| tuple.access_point)
            .collect();
        // A wildcard asks for all that there are beyond this link.
        assert_eq!(named, if asked.is_empty() { &[AP2] } else { asked });
        for tuple in answer.tuples {
            let router = tuple.router.map(|router| (router.address, router.lla));
            let expected = (tuple.outcome == Outcome::Known).then_some((NAR, NAR_LLA));
            assert_eq!(router, expected);
        }
        simulation.assert_clean(); // RTS-11: no state
    }
}

/// The kernel would have to ask for an address first that the sender may have made up (SEC-07).
#[test]
fn who_asks_is_answered_in_a_frame_to_the_station_that_asked() {
    let station = MacAddr([2, 0, 0, 0, 0, 0x77]);
    let mut simulation = Simulation::new();
    let question = rtsolpr(vec![AP2]).encode();
    simulation.inject_from(Node::Par, ACCESS, station, question);
    assert_eq!(framed_to(&simulation, Node::Par), [Some(station)]);
    // Who has not asked is where the kernel finds it.
    let advertise = Input::Admin(Admin::Advertise { pcoa: PCOA });
    simulation.input(Node::Par, advertise);
    assert_eq!(framed_to(&simulation, Node::Par), [Some(station), None]);
}

#[test]
fn nobody_makes_a_router_answer_to_all_stations_of_a_link() {
    let all = MacAddr([0xff; 6]);
    let mut simulation = Simulation::new();
    let question = rtsolpr(vec![AP2]).encode();
    simulation.inject_from(Node::Par, ACCESS, all, question);
    assert_eq!(framed_to(&simulation, Node::Par), []);
    assert_eq!(simulation.par.counters().unexpected, 1);
}

// Rows: PRA-14
#[test]
fn an_access_point_on_another_link_of_the_same_router_has_no_fast_handover() {
    let mut par = router_config(false);
    par.access.push(AccessLink {
        interface: 9,
        address: "2001:db8:5::1".parse().unwrap(),
        link_local: "fe80::5".parse().unwrap(),
        lla: PAR_LLA,
        prefix: "2001:db8:5::/64".parse().unwrap(),
        access_points: vec![AP_UNKNOWN],
        ..par.access[0].clone()
    });
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.link(LinkEvent::HandoverImpend {
        access_point: AP_UNKNOWN,
    });
    simulation.run(SECOND);
    assert_eq!(
        simulation.events(Node::Mn),
        [r#"{"event":"handover-failed","reason":"no-fast-handover"}"#]
    );
}

// Rows: PRA-15
#[test]
fn a_wildcard_answer_fits_the_link() {
    let mut par = router_config(false);
    par.peers[0].access_points = (0..100).map(|n| MacAddr([2, 0, 0, 0, 1, n])).collect();
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.inject(Node::Par, ACCESS, rtsolpr(Vec::new()).encode());
    let Some((_, _, Output::Transmit(transmit))) = simulation.log.first() else {
        panic!("it is answered");
    };
    assert!(transmit.bytes.len() <= 1280, "{}", transmit.bytes.len());
    assert!(transmit.bytes.len() > 1280 - 80, "as many as there is room");
    assert_eq!(transmit.interface, Some(ACCESS));
}

// Rows: RTS-11
#[test]
fn rtsolpr_is_answered_only_on_access_links_and_only_to_somebody() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, CORE, rtsolpr(vec![AP2]).encode());
    let mut anonymous = rtsolpr(vec![AP2]);
    anonymous.source = Ipv6Addr::UNSPECIFIED;
    simulation.inject(Node::Par, ACCESS, anonymous.encode());
    assert_eq!(simulation.par.counters().unexpected, 2);
    let mut far = rtsolpr(vec![AP2]);
    far.hop_limit = 254;
    simulation.inject(Node::Par, ACCESS, far.encode());
    assert_eq!(simulation.par.counters().hop_limit, 1);
    assert_eq!(simulation.steps(), Vec::<String>::new());
}

// Rows: PRA-10, PRA-11, W16-06
#[test]
fn a_move_on_the_same_link_needs_no_fast_handover() {
    let mut simulation = Simulation::new();
    simulation.link(LinkEvent::HandoverImpend { access_point: AP1B });
    simulation.run(FOREVER);
    assert_eq!(
        simulation.steps(),
        [
            "mn: -> rtsolpr",
            "par: -> prrtadv",
            "mn: switch-link",
            "mn: hold-uplink",
            "mn: release-uplink",
            "mn: remove-uplink"
        ]
    );
    simulation.assert_clean();
    // It is still at its router, and can be handed over from there.
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
}

// Rows: PRA-09
#[test]
fn an_unknown_access_point_ends_the_fast_handover() {
    let mut simulation = Simulation::new();
    let access_point = AP_UNKNOWN;
    simulation.link(LinkEvent::HandoverImpend { access_point });
    simulation.run(SECOND);
    assert_eq!(
        simulation.events(Node::Mn),
        [r#"{"event":"handover-failed","reason":"unknown-access-point"}"#]
    );
    assert_nothing_changed(&simulation);
}

fn prrtadv(source: &str, identifier: u16, code: PrRtAdvCode) -> Bytes {
    let config = router_config(true);
    let packet = Packet {
        source: source.parse().unwrap(),
        destination: PCOA,
        hop_limit: 255,
        home_address: None,
        message: Message::PrRtAdv(PrRtAdv {
            code,
            identifier,
            source_lla: None,
            tuples: vec![crate::wire::ApTuple {
                access_point: AP2,
                outcome: ApOutcome::Known,
                router: Some(crate::wire::RouterInfo {
                    lla: NAR_LLA,
                    address: NAR,
                    prefix: config.access[0].prefix,
                }),
                new_coa: Some("2001:db8:2::4321".parse().unwrap()),
            }],
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}

#[test]
fn a_prrtadv_that_nobody_asked_for_is_ignored() {
    let mut simulation = Simulation::new();
    let solicited = PrRtAdvCode::Solicited;
    simulation.inject(Node::Mn, ACCESS, prrtadv("fe80::1", 0, solicited));
    simulation.inject(Node::Mn, ACCESS, prrtadv("fe80::1", 5, solicited));
    assert_eq!(simulation.mn.counters().unmatched, 2);
    let trigger = PrRtAdvCode::HandoverTrigger;
    simulation.inject(Node::Mn, ACCESS, prrtadv("2001:db8:1::1", 0, trigger));
    assert_eq!(simulation.mn.counters().unexpected, 1);
    assert_eq!(simulation.steps(), Vec::<String>::new());
    simulation.assert_clean();
}

// Rows: PRA-18, PRA-19, PRA-21
#[test]
fn the_network_can_make_the_mobile_node_move() {
    let mut simulation = Simulation::new();
    let trigger = PrRtAdvCode::HandoverTrigger;
    simulation.inject(Node::Mn, ACCESS, prrtadv("fe80::1", 0, trigger));
    simulation.run(FOREVER);
    let expected = [&["mn: -> fbu"], PREPARING, MOVING, ENDING].concat();
    assert_eq!(simulation.steps(), expected);
    let (_, una) = simulation.messages(Node::Mn, "NA").next().unwrap();
    assert_eq!(una.source.to_string(), "2001:db8:2::4321");
}

// Rows: AMB-06, PRA-14
#[test]
fn a_router_without_fast_handover_is_told_by_its_option_whatever_the_code() {
    for code in [PrRtAdvCode::NoNewRouter, PrRtAdvCode::Partial] {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Par, "PrRtAdv", ALWAYS);
        simulation.impend();
        simulation.run(Duration::from_millis(20));
        let (_, question) = simulation.messages(Node::Mn, "RtSolPr").next().unwrap();
        let Message::RtSolPr(question) = question.message else {
            panic!("an RtSolPr was asked for");
        };
        let answer = prrtadv("fe80::1", question.identifier, code);
        let mut answer = Packet::decode(&answer).unwrap();
        if let Message::PrRtAdv(message) = &mut answer.message {
            message.tuples[0].outcome = ApOutcome::NoFastHandover;
            message.tuples[0].router = None;
            message.tuples[0].new_coa = None;
        }
        simulation.inject(Node::Mn, ACCESS, answer.encode());
        assert_eq!(
            simulation.events(Node::Mn),
            [r#"{"event":"handover-failed","reason":"no-fast-handover"}"#],
            "{code:?}"
        );
        simulation.run(FOREVER);
        assert_eq!(simulation.count("mn: -> RtSolPr"), 1, "{code:?}");
        assert_nothing_changed(&simulation);
    }
}

// Rows: RTS-04, W11-11
#[test]
fn a_node_that_is_to_look_around_asks_at_once_and_now_and_then() {
    let mut config = mobile_node_config();
    config.neighborhood_interval = Some(Duration::from_secs(10));
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    let asked = |simulation: &Simulation| simulation.messages(Node::Mn, "RtSolPr").count();
    // Its link is said to be up: it is where it was.
    simulation.link(LinkEvent::LinkUp { access_point: AP1 });
    simulation.run(SECOND);
    assert_eq!(asked(&simulation), 1);
    simulation.run(9 * SECOND);
    assert_eq!(asked(&simulation), 2);
    // Without a link there is nobody to ask.
    simulation.link(LinkEvent::LinkDown);
    simulation.run(30 * SECOND);
    assert_eq!(asked(&simulation), 2);
    simulation.link(LinkEvent::LinkUp { access_point: AP1 });
    simulation.run(SECOND);
    assert_eq!(asked(&simulation), 3);
    for (_, packet) in simulation.messages(Node::Mn, "RtSolPr") {
        let Message::RtSolPr(message) = packet.message else {
            unreachable!("only RtSolPrs were asked for")
        };
        assert!(message.access_points.is_empty(), "{message:?}");
    }
    // What is known so needs no question when the link has moved without a word.
    simulation.link(LinkEvent::LinkDown);
    simulation.log.clear();
    simulation.come_up(AP2);
    simulation.run(SECOND);
    assert_eq!(simulation.messages(Node::Mn, "RS").count(), 0);
    assert_eq!(simulation.messages(Node::Mn, "FBU").count(), 1);
}

/// A PAR that knows five access points of the NAR, and these.
fn many() -> (Simulation, [MacAddr; 5]) {
    let all = [3, 4, 5, 6, 7].map(|n| MacAddr([2, 0, 0, 0, 0x0a, n]));
    let mut par = router_config(false);
    par.peers[0].access_points.extend(all);
    let simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    (simulation, all)
}

/// What the mobile node asked about, and when.
fn questions(simulation: &Simulation) -> Vec<(Instant, RtSolPr)> {
    let question = |(at, packet): (_, Packet)| match packet.message {
        Message::RtSolPr(message) => (at, message),
        other => unreachable!("only RtSolPrs were asked for, not {other:?}"),
    };
    simulation
        .messages(Node::Mn, "RtSolPr")
        .map(question)
        .collect()
}

/// The access points of each question.
fn asked(simulation: &Simulation) -> Vec<Vec<MacAddr>> {
    let questions = questions(simulation).into_iter();
    questions
        .map(|(_, message)| message.access_points)
        .collect()
}

fn detect(simulation: &mut Simulation, access_points: &[MacAddr]) {
    for &access_point in access_points {
        simulation.link(LinkEvent::NewLinkDetected { access_point });
    }
}

/// What the mobile node knows of these access points.
fn known(simulation: &Simulation, access_points: &[MacAddr]) -> Vec<Option<Prospect>> {
    let prospects = simulation.mn.prospects();
    let known = access_points.iter().map(|of| prospects.get(of).copied());
    known.collect()
}

const PAUSE: Duration = Duration::from_millis(20);

// Rows: RTS-02, RTS-08, W16-03
#[test]
fn all_that_a_scan_finds_at_once_is_known_after_two_round_trips() {
    let (mut simulation, all) = many();
    detect(&mut simulation, &all);
    assert_eq!(asked(&simulation), [&all[..1]]);
    simulation.run(PAUSE);
    assert_eq!(asked(&simulation), [&all[..1], &all[1..]]);
    assert_eq!(known(&simulation, &all), [Some(Prospect::Fast); 5]);
    assert_eq!(simulation.mn.counters().unmatched, 0);
    simulation.run(FOREVER);
    assert_eq!(asked(&simulation).len(), 2);
    simulation.assert_clean();
}

// Rows: PRA-09
#[test]
fn an_access_point_that_was_not_asked_about_yet_is_not_unknown() {
    let (mut simulation, all) = many();
    simulation.lose(Node::Par, "PrRtAdv", ALWAYS);
    detect(&mut simulation, &[AP_UNKNOWN, all[0]]);
    simulation.run(Duration::from_millis(5));
    let (_, question) = questions(&simulation).remove(0);
    let mut answer = Packet::decode(&prrtadv(
        "fe80::1",
        question.identifier,
        PrRtAdvCode::Solicited,
    ));
    if let Ok(Packet {
        message: Message::PrRtAdv(message),
        ..
    }) = &mut answer
    {
        message.tuples.clear();
    }
    simulation.inject(Node::Mn, ACCESS, answer.unwrap().encode());
    assert_eq!(
        known(&simulation, &[AP_UNKNOWN, all[0]]),
        [Some(Prospect::Unknown), None]
    );
    // That is asked about now.
    assert_eq!(asked(&simulation), [[AP_UNKNOWN], [all[0]]]);
}

// Rows: RTS-02, RTS-04, W16-03
#[test]
fn what_is_wanted_besides_does_not_cost_a_handover_its_answer() {
    let (mut simulation, all) = many();
    simulation.impend();
    simulation.link(LinkEvent::LinkGoingDown);
    detect(&mut simulation, &all);
    simulation.run(Duration::from_millis(5));
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    // Once for the handover, once for the others; the link may be gone before it asks for all.
    let asked = asked(&simulation);
    assert_eq!(asked[..2], [vec![AP2], all.to_vec()]);
    simulation.run(FOREVER);
    assert_eq!(simulation.mn.counters().unmatched, 0);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
}

// Rows: RTS-02, RTS-08
#[test]
fn a_handover_does_not_wait_for_the_answer_to_another_question() {
    let (mut simulation, all) = many();
    detect(&mut simulation, &all);
    detect(&mut simulation, &[AP2]);
    // It is wanted, and was not asked about.
    simulation.impend();
    let both: Vec<MacAddr> = [&[AP2], &all[..]].concat();
    assert_eq!(asked(&simulation), [&all[..1], &both[..]]);
    // As it is being asked about, it is not asked about again.
    simulation.link(LinkEvent::HandoverImpend {
        access_point: all[4],
    });
    assert_eq!(asked(&simulation).len(), 2);
    simulation.impend();
    simulation.run(Duration::from_millis(5));
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    // The answer to the first was as good.
    assert_eq!(known(&simulation, &all), [Some(Prospect::Fast); 5]);
    assert_eq!(simulation.mn.counters().received_prrtadv, 2);
    assert_eq!(simulation.mn.counters().unmatched, 0);
    assert_eq!(asked(&simulation).len(), 2);
}

// Rows: RTS-04
#[test]
fn a_handover_is_told_by_the_answer_to_the_question_for_all() {
    let (mut simulation, all) = many();
    simulation.link(LinkEvent::LinkGoingDown);
    simulation.lose(Node::Mn, "RtSolPr", 1);
    simulation.impend();
    assert_eq!(asked(&simulation), [vec![], vec![AP2]]);
    simulation.run(Duration::from_millis(5));
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    assert_eq!(simulation.mn.counters().unmatched, 0);
    assert_eq!(known(&simulation, &all), [Some(Prospect::Fast); 5]);
    // What is known need not be asked for again.
    simulation.run(FOREVER);
    assert_eq!(asked(&simulation).len(), 2);
}

// Rows: RTS-02, RTS-06, RTS-07
#[test]
fn a_question_that_is_repeated_asks_for_what_came_up_meanwhile() {
    let (mut simulation, all) = many();
    simulation.lose(Node::Mn, "RtSolPr", 1);
    detect(&mut simulation, &all);
    simulation.run(Duration::from_millis(99));
    assert_eq!(asked(&simulation), [&all[..1]]);
    simulation.run(Duration::from_millis(10));
    assert_eq!(asked(&simulation), [&all[..1], &all[..]]);
    assert_eq!(known(&simulation, &all), [Some(Prospect::Fast); 5]);
    // An answer says which question it is to.
    let [(_, first), (_, second)] = &questions(&simulation)[..] else {
        panic!("there are two");
    };
    assert_ne!(first.identifier, second.identifier);

    // Without anything new it is the same one.
    let (mut simulation, all) = many();
    simulation.lose(Node::Mn, "RtSolPr", 1);
    detect(&mut simulation, &all[..1]);
    simulation.run(Duration::from_millis(110));
    let [(_, first), (_, second)] = &questions(&simulation)[..] else {
        panic!("there are two");
    };
    assert_eq!(first, second);
}

// Rows: RTS-04, RTS-06
#[test]
fn what_came_up_while_all_was_asked_for_in_vain_is_asked_for_by_name() {
    let (mut simulation, all) = many();
    simulation.lose(Node::Mn, "RtSolPr", 1);
    simulation.link(LinkEvent::LinkGoingDown);
    detect(&mut simulation, &all);
    simulation.run(Duration::from_millis(110));
    assert_eq!(asked(&simulation)[..2], [vec![], all.to_vec()]);
    assert_eq!(known(&simulation, &all), [Some(Prospect::Fast); 5]);
    assert_eq!(simulation.mn.counters().unmatched, 0);

    // Even if that was for the last time.
    let (mut simulation, all) = many();
    simulation.lose(Node::Mn, "RtSolPr", 4);
    simulation.link(LinkEvent::LinkGoingDown);
    simulation.run(Duration::from_millis(1700));
    assert_eq!(asked(&simulation), vec![Vec::new(); 4]);
    detect(&mut simulation, &all[..1]);
    simulation.run(Duration::from_millis(200));
    assert_eq!(asked(&simulation)[4..], [&all[..1]]);
    assert_eq!(known(&simulation, &all[..1]), [Some(Prospect::Fast)]);
    simulation.run(FOREVER);
    assert_eq!(simulation.mn.status().silent_router, None);
    simulation.assert_clean();
}

// Rows: RTS-07, RTS-09
#[test]
fn a_router_that_never_answers_is_not_asked_about_the_rest() {
    let (mut simulation, all) = many();
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    detect(&mut simulation, &all);
    simulation.run(Duration::from_millis(1500));
    // One by one, in the time of one question.
    detect(&mut simulation, &[AP2]);
    simulation.run(FOREVER);
    assert_eq!(asked(&simulation).len(), 4);
    assert!(simulation.mn.status().silent_router.is_some());
    simulation.assert_clean();
}

// Rows: RTS-04, RTS-05
#[test]
fn what_the_router_tells_unasked_is_not_asked_for_again() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    detect(&mut simulation, &[AP2]);
    simulation.inject(Node::Mn, ACCESS, neighborhood(AP2, 2, None));
    simulation.run(FOREVER);
    // Nor is all asked for instead.
    assert_eq!(asked(&simulation), [[AP2]]);
    assert_eq!(simulation.mn.status().silent_router, None);
    simulation.assert_clean();
}
