//! What PrRtAdvs make the mobile node do (RFC 5568 sections 3.3 and 6.1.2), and where its packets go
//! when it keeps its address.

use super::*;

const GIVEN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x4321);
const TRIGGER: PrRtAdvCode = PrRtAdvCode::HandoverTrigger;

fn care_of_addresses(simulation: &Simulation) -> Vec<Option<Ipv6Addr>> {
    let care_of = |(_, packet): (_, Packet)| match packet.message {
        Message::FastBindingUpdate(fbu) => fbu.alternate_coa,
        other => unreachable!("only FBUs were asked for, not {other:?}"),
    };
    simulation.messages(Node::Mn, "FBU").map(care_of).collect()
}

fn releases(simulation: &Simulation) -> Vec<(Option<Tunnel>, MacAddr)> {
    let release = |command| match command {
        Command::ReleaseUplink {
            tunnel, router_lla, ..
        } => Some((tunnel, router_lla)),
        _ => None,
    };
    commands(simulation)
        .into_iter()
        .filter_map(release)
        .collect()
}

// Rows: PRA-18, PRA-19, PRA-21, W16-19
#[test]
fn a_trigger_sends_the_fbu_at_once_with_the_address_it_gives() {
    for (given, expected) in [(None, NCOA), (Some(GIVEN), GIVEN)] {
        let mut simulation = Simulation::new();
        simulation.inject(Node::Mn, ACCESS, told(TRIGGER, AP2, 2, given));
        assert_eq!(simulation.steps(), ["mn: -> fbu"]);
        assert_eq!(care_of_addresses(&simulation), [Some(expected)]);
        simulation.run(FOREVER);
        assert_eq!(simulation.count("mn: configure-address"), 1);
        simulation.assert_clean();
    }
}

// Rows: PRA-19
#[test]
fn a_trigger_with_another_address_supersedes_the_fbu_that_is_out() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "FBU", 2);
    simulation.inject(Node::Mn, ACCESS, told(TRIGGER, AP2, 2, None));
    simulation.inject(Node::Mn, ACCESS, told(TRIGGER, AP2, 2, None));
    assert_eq!(care_of_addresses(&simulation), [Some(NCOA)]);
    simulation.inject(Node::Mn, ACCESS, told(TRIGGER, AP2, 2, Some(GIVEN)));
    assert_eq!(care_of_addresses(&simulation), [Some(NCOA), Some(GIVEN)]);
    simulation.run(SECOND);
    let (_, una) = simulation.messages(Node::Mn, "NA").next().unwrap();
    assert_eq!(una.source, GIVEN);
}

// Rows: PRA-21
#[test]
fn an_address_that_no_mobile_node_can_have_there_is_not_taken() {
    // Of another link, the router's own, that of all routers of the link.
    for address in ["2001:db8:9::1", "2001:db8:2::1", "2001:db8:2::"] {
        let address: Ipv6Addr = address.parse().unwrap();
        let mut simulation = Simulation::new();
        simulation.inject(Node::Mn, ACCESS, told(TRIGGER, AP2, 2, Some(address)));
        assert_eq!(care_of_addresses(&simulation), [Some(NCOA)]);
        // Nor from an FBack.
        let fback = FastBindingAck {
            status: FastBindingStatus::NcoaInvalid,
            alternate_coa: Some(address),
            ..accepted(42)
        };
        simulation.inject(Node::Mn, ACCESS, fback_to(PCOA, fback, address));
        assert_eq!(
            last_failure(&simulation),
            r#"{"event":"handover-failed","reason":"refused"}"#
        );
    }
}

// Rows: PRA-17
#[test]
fn news_of_the_neighborhood_is_no_trigger_but_saves_the_question() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Mn, ACCESS, neighborhood(AP2, 2, Some(GIVEN)));
    assert_eq!(simulation.steps(), Vec::<String>::new());
    simulation.impend();
    assert_eq!(simulation.steps(), ["mn: -> fbu"]);
    assert_eq!(care_of_addresses(&simulation), [Some(GIVEN)]);
}

// Rows: AMB-06, PRA-14
#[test]
fn what_is_said_of_the_access_point_counts_and_not_the_code_of_the_message() {
    let cases = [
        (ApOutcome::NoFastHandover, "no-fast-handover"),
        (ApOutcome::NoPrefix, "unknown-access-point"),
    ];
    for (outcome, reason) in cases {
        for code in [PrRtAdvCode::NoNewRouter, PrRtAdvCode::Partial] {
            let mut simulation = Simulation::new();
            simulation.lose(Node::Par, "PrRtAdv", 1);
            simulation.impend();
            let (_, question) = simulation.messages(Node::Mn, "RtSolPr").next().unwrap();
            let Message::RtSolPr(question) = question.message else {
                panic!("an RtSolPr was asked for");
            };
            let mut answer = Packet::decode(&told(code, AP2, 2, None)).unwrap();
            if let Message::PrRtAdv(message) = &mut answer.message {
                message.identifier = question.identifier;
                message.tuples[0].outcome = outcome;
                message.tuples[0].router = None;
            }
            simulation.inject(Node::Mn, ACCESS, answer.encode());
            assert_eq!(
                last_failure(&simulation),
                format!(r#"{{"event":"handover-failed","reason":"{reason}"}}"#)
            );
            assert_eq!(simulation.count("mn: -> FBU"), 0);
        }
    }
}

// Rows: PRA-23, PRA-22
#[test]
fn where_addresses_come_from_dhcp_data_goes_on_from_the_previous_one() {
    for reactive in [false, true] {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Mn, "FBU", ALWAYS);
        simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
        simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
        let (_, question) = simulation.messages(Node::Mn, "RtSolPr").next().unwrap();
        let Message::RtSolPr(question) = question.message else {
            panic!("an RtSolPr was asked for");
        };
        let mut answer = Packet::decode(&told(PrRtAdvCode::Dhcp, AP2, 2, None)).unwrap();
        if let Message::PrRtAdv(message) = &mut answer.message {
            message.identifier = question.identifier;
        }
        simulation.inject(Node::Mn, ACCESS, answer.encode());
        if reactive {
            simulation.come_up(AP2);
        } else {
            simulation.impend();
        }
        assert_eq!(care_of_addresses(&simulation), [Some(NCOA)]);
        let destination = if reactive { NCOA } else { PCOA };
        let fback = fback_to(destination, accepted(42), NCOA);
        simulation.inject(Node::Mn, ACCESS, fback);
        simulation.run(SECOND);
        assert_eq!(releases(&simulation), [(None, NAR_LLA)]);
        let (_, una) = simulation.messages(Node::Mn, "NA").last().unwrap();
        assert_eq!(una.source, PCOA);
        assert!(
            simulation
                .events(Node::Mn)
                .contains(&r#"{"event":"dhcp-needed","router":"2001:db8:2::1"}"#.to_owned())
        );
        simulation.run(FOREVER);
        assert_eq!(simulation.mn.handovers(), []);
    }
}

// Rows: RTS-04, RTS-05, RTS-08, W11-11, W16-02
#[test]
fn more_access_points_than_it_asks_about_one_by_one_make_it_ask_for_all() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    for n in 0..40 {
        let access_point = MacAddr([2, 0, 0, 0, 0xee, n]);
        simulation.link(LinkEvent::NewLinkDetected { access_point });
    }
    simulation.repair();
    simulation.run(SECOND * 3);
    let asked: Vec<_> = simulation
        .messages(Node::Mn, "RtSolPr")
        .map(|(_, packet)| match packet.message {
            Message::RtSolPr(message) => message.access_points.len(),
            other => unreachable!("only RtSolPrs were asked for, not {other:?}"),
        })
        .collect();
    assert!(asked.iter().all(|&count| count <= 16), "{asked:?}");
    assert!(asked.contains(&0), "{asked:?}");
    // What the wildcard brought needs no question.
    simulation.log.clear();
    simulation.impend();
    assert_eq!(simulation.steps(), ["mn: -> fbu"]);
}

/// A handover that began with an FBU that is lost, after the move or before it.
fn begun(reactive: bool) -> Simulation {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.inject(Node::Mn, ACCESS, neighborhood(AP2, 2, None));
    if reactive {
        simulation.come_up(AP2);
    } else {
        simulation.impend();
    }
    simulation
}

// Rows: AMB-18, HAK-08
#[test]
fn told_to_keep_its_address_it_sends_plain_by_the_new_router_and_announces_itself_with_it() {
    for reactive in [false, true] {
        let mut simulation = begun(reactive);
        let fback = FastBindingAck {
            status: FastBindingStatus::NcoaInvalid,
            alternate_coa: Some(PCOA),
            ..accepted(42)
        };
        simulation.inject(Node::Mn, ACCESS, fback_to(PCOA, fback, PCOA));
        simulation
            .log
            .retain(|(_, _, output)| !matches!(output, Output::Event(_)));
        simulation.run(SECOND);
        assert_eq!(releases(&simulation), [(None, NAR_LLA)]);
        let (_, una) = simulation.messages(Node::Mn, "NA").last().unwrap();
        let announced = NeighborAdvertisement::unsolicited(PCOA, MN_LLA);
        assert_eq!(una.source, PCOA);
        assert_eq!(una.message, Message::NeighborAdvertisement(announced));
        let status = &simulation.mn.handovers()[0];
        assert_eq!((status.state, status.ncoa), ("arrived", Some(PCOA)));
        assert_eq!(simulation.default_router, Some(NAR));
        if !reactive {
            assert_eq!(simulation.count("mn: configure-address"), 0);
        }

        // Back at the PAR, the binding ends (MOV-01).
        simulation.repair();
        simulation.log.clear();
        simulation.come_up(AP1);
        let (_, farewell) = simulation.messages(Node::Mn, "FBU").next().unwrap();
        assert_eq!((farewell.source, farewell.destination), (PCOA, PAR));
        assert_eq!(releases(&simulation), [(None, PAR_LLA)]);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: FBA-07, W16-16
#[test]
fn an_address_in_the_fback_takes_the_place_of_its_own() {
    for reactive in [false, true] {
        let mut simulation = begun(reactive);
        let fback = FastBindingAck {
            status: FastBindingStatus::NcoaInvalid,
            alternate_coa: Some(GIVEN),
            ..accepted(42)
        };
        simulation.inject(Node::Mn, ACCESS, fback_to(PCOA, fback, GIVEN));
        simulation.run(SECOND);
        let tunnel = Tunnel {
            local: GIVEN,
            remote: PAR,
        };
        assert_eq!(releases(&simulation), [(Some(tunnel), NAR_LLA)]);
        let (_, una) = simulation.messages(Node::Mn, "NA").last().unwrap();
        assert_eq!(una.source, GIVEN);
        let configured =
            |command: &Command| matches!(command, Command::ConfigureAddress { address: GIVEN, .. });
        assert!(commands(&simulation).iter().any(configured));
    }
}

// Rows: UNA-10
#[test]
fn the_last_announcement_may_replace_what_others_know() {
    let mut simulation = Simulation::new();
    let start = run_from_impend(&mut simulation);
    let (at, last) = simulation.messages(Node::Mn, "NA").last().unwrap();
    assert_eq!(at - start, Duration::from_millis(2218));
    assert_eq!(last.destination.to_string(), "ff02::1");
    let Message::NeighborAdvertisement(last) = last.message else {
        panic!("an NA was asked for");
    };
    assert!(last.override_ && !last.solicited && !last.router);
    assert_eq!((last.target, last.target_lla), (NCOA, Some(MN_LLA)));
}

// Rows: GEN-07, RTS-07, FBU-09
#[test]
fn how_often_it_asks_is_configured() {
    let mut config = mobile_node_config();
    config.timers.rtsolpr_retries = 1;
    config.timers.fbu_retries = 2;
    config.timers.max_rtsolpr_rate = 1;
    config.timers.initial_timeout = Duration::from_millis(50);
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    let start = run_from_impend(&mut simulation);
    assert_eq!(simulation.times(start, Node::Mn, "RtSolPr"), [0, 1000]);
    let start = simulation.now;
    simulation.inject(Node::Mn, ACCESS, told(TRIGGER, AP2, 2, None));
    simulation.run(Duration::from_millis(349));
    assert_eq!(simulation.times(start, Node::Mn, "FBU"), [0, 50, 150]);
    simulation.run(Duration::from_millis(1));
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"no-fback"}"#
    );
}

// Rows: LEG-02, LEG-03, AMB-14
#[test]
fn for_an_old_router_the_fbu_travels_in_an_fna() {
    for reactive in [false, true] {
        let mut config = mobile_node_config();
        config.announcement = Announcement::Fna;
        let mut simulation = Simulation::with(config, router_config(false), router_config(true));
        simulation.inject(Node::Mn, ACCESS, neighborhood(AP2, 2, None));
        if reactive {
            simulation.come_up(AP2);
        } else {
            simulation.impend();
            simulation.run(SECOND);
        }
        let (_, packet) = simulation.messages(Node::Mn, "FNA").next().unwrap();
        assert_eq!((packet.source, packet.destination), (NCOA, NAR));
        let Message::FastNeighborAdvertisement(fna) = packet.message else {
            panic!("an FNA was asked for");
        };
        assert_eq!(fna.mn_lla, Some(MN_LLA));
        assert_eq!(fna.fbu.is_some(), reactive);
        assert_eq!(simulation.count("mn: -> NA"), 0);
        if let Some(inner) = fna.fbu {
            let inner = Packet::decode(&inner).unwrap();
            assert_eq!((inner.source, inner.destination), (NCOA, PAR));
            assert_eq!(inner.home_address, Some(PCOA));
            assert_eq!(simulation.count("mn: -> FBU"), 0);
        }
        simulation.run(SECOND);
        assert_eq!(simulation.count("mn: release-uplink"), 1);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}
