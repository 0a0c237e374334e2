//! The sequence of RFC 5568 figure 2.

use super::*;

// Rows: BUF-07, FBA-02, FBU-07, FBU-15, GEN-03, GEN-04, HI-11, HI-13, UNA-01, UNA-06, W11-04, W16-08, W16-10, W16-12
// Rows: GEN-06, UNA-12, W16-17, W16-18
#[test]
fn a_predictive_handover_takes_the_steps_of_figure_2_in_their_order() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let expected = [ASKING, PREPARING, MOVING, ENDING].concat();
    assert_eq!(simulation.steps(), expected);
    simulation.assert_clean();
}

// Rows: BUF-06, HI-11, HI-13, TUN-01, TUN-02, TUN-06
#[test]
fn the_commands_carry_the_addresses_links_and_lifetimes_of_the_handover() {
    let mut simulation = Simulation::new();
    let start = run_from_impend(&mut simulation);
    let at = |millis| start + Duration::from_millis(millis);
    // RtSolPr 2, PrRtAdv 4, FBU 6, HI 11, HAck 16, FBack 18, link up 218, UNA 220, drained 221.
    assert_eq!(
        commands(&simulation),
        [
            Command::StartBuffering {
                address: NCOA,
                interface: ACCESS,
                link_address: MN_LLA,
                tunnel: None,
                expires: at(11 + 1500),
            },
            Command::AddProxyNd {
                interface: ACCESS,
                address: NCOA,
                link_address: MN_LLA,
            },
            Command::InstallTunnel {
                pcoa: PCOA,
                ncoa: NCOA,
                local: PAR,
                expires: at(16 + 30_000),
            },
            Command::HoldUplink {
                pcoa: PCOA,
                interface: ACCESS,
                tunnel: Some(Tunnel {
                    local: NCOA,
                    remote: PAR,
                }),
                router_lla: Some(NAR_LLA),
                expires: at(18 + 30_000),
            },
            Command::SetDefaultRouter {
                interface: ACCESS,
                router: NAR,
                link_address: Some(NAR_LLA),
            },
            Command::SwitchLink { access_point: AP2 },
            Command::ReleaseUplink {
                pcoa: PCOA,
                interface: ACCESS,
                tunnel: Some(Tunnel {
                    local: NCOA,
                    remote: PAR,
                }),
                router_lla: NAR_LLA,
                expires: at(18 + 30_000),
            },
            Command::ConfigureAddress {
                interface: ACCESS,
                address: NCOA,
                prefix_length: 64,
            },
            Command::KeepAddress {
                interface: ACCESS,
                address: PCOA,
            },
            Command::RemoveProxyNd {
                interface: ACCESS,
                address: NCOA,
            },
            Command::AddNeighbor {
                interface: ACCESS,
                address: NCOA,
                link_address: MN_LLA,
                state: NeighborState::Stale,
            },
            Command::ReleaseBuffer {
                address: NCOA,
                expires: at(220 + 60_000),
            },
            Command::RemoveBuffer { address: NCOA },
            Command::RemoveTunnel { pcoa: PCOA },
            Command::RemoveUplink { pcoa: PCOA },
            Command::PreferAddress {
                interface: ACCESS,
                address: NCOA,
            },
            Command::RemoveAddress {
                interface: ACCESS,
                address: PCOA,
            },
        ]
    );
    let removed = simulation
        .log
        .iter()
        .find(|(_, _, output)| *output == Output::Command(Command::RemoveBuffer { address: NCOA }));
    assert_eq!(removed.map(|(at, ..)| *at), Some(at(221 + 1500)));
}

#[test]
fn the_events_tell_the_story_with_the_names_that_people_look_for() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let pair = r#""pcoa":"2001:db8:1::ff:fe00:1","ncoa":"2001:db8:2::ff:fe00:1""#;
    let ncoa = r#""ncoa":"2001:db8:2::ff:fe00:1""#;
    assert_eq!(
        simulation.events(Node::Mn),
        [
            r#"{"event":"fbu-sent","sequence":42}"#.to_owned(),
            r#"{"event":"fback-received","status":0}"#.to_owned(),
            r#"{"event":"link-switch","access_point":"02:00:00:00:0a:02"}"#.to_owned(),
            format!(r#"{{"event":"una-sent",{ncoa}}}"#),
            concat!(
                r#"{"event":"care-of-address","care_of":"2001:db8:2::ff:fe00:1","#,
                r#""previous":"2001:db8:1::ff:fe00:1","router":"2001:db8:2::1","#,
                r#""prefix_length":64,"fast":true}"#
            )
            .to_owned(),
            format!(r#"{{"event":"una-sent",{ncoa}}}"#),
            format!(r#"{{"event":"una-sent",{ncoa}}}"#),
            r#"{"event":"tunnel-removed","pcoa":"2001:db8:1::ff:fe00:1","reason":"expired"}"#
                .to_owned(),
        ]
    );
    assert_eq!(
        simulation.events(Node::Par),
        [
            format!(r#"{{"event":"fbu-accepted",{pair}}}"#),
            format!(r#"{{"event":"hi-sent",{pair},"peer":"2001:db8:2::1"}}"#),
            r#"{"event":"hack-received","code":0,"peer":"2001:db8:2::1"}"#.to_owned(),
            format!(r#"{{"event":"tunnel-installed",{pair}}}"#),
            r#"{"event":"tunnel-removed","pcoa":"2001:db8:1::ff:fe00:1","reason":"expired"}"#
                .to_owned(),
        ]
    );
    assert_eq!(
        simulation.events(Node::Nar),
        [
            format!(r#"{{"event":"hi-accepted",{pair}}}"#),
            format!(r#"{{"event":"buffer-started",{ncoa}}}"#),
            format!(r#"{{"event":"una-received",{ncoa}}}"#),
            format!(r#"{{"event":"buffer-released",{ncoa}}}"#),
        ]
    );
}

// Rows: AMB-04, FBA-01, FBA-03, FBA-05, FBU-01, FBU-02, FBU-03, FBU-04, FBU-11, FBU-12, GEN-01
// Rows: HAK-01, HI-01, HI-02, HI-03, HI-06, HI-07, PRA-01, PRA-02, RTS-01, RTS-02, RTS-03, RTS-04
// Rows: UNA-02, UNA-03
#[test]
fn the_messages_are_those_that_the_rfc_describes() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let only = |node, kind| {
        let mut messages = simulation.messages(node, kind);
        messages.next().expect("it was sent").1
    };

    let solicitation = only(Node::Mn, "RtSolPr");
    assert_eq!((solicitation.source, solicitation.destination), (PCOA, PAR));
    assert_eq!(solicitation.hop_limit, 255);

    let advertisement = only(Node::Par, "PrRtAdv");
    assert!(advertisement.source.is_unicast_link_local());
    assert_eq!(advertisement.destination, PCOA);
    let (Message::RtSolPr(asked), Message::PrRtAdv(told)) =
        (solicitation.message, advertisement.message)
    else {
        panic!("these are what was asked for");
    };
    assert_ne!(asked.identifier, 0);
    assert_eq!(asked.source_lla, Some(MN_LLA));
    assert_eq!(asked.access_points, [AP2]);
    assert_eq!(told.identifier, asked.identifier);

    let fbu = only(Node::Mn, "FBU");
    assert_eq!((fbu.source, fbu.destination), (PCOA, PAR));
    assert_eq!(fbu.home_address, Some(PCOA));
    let Message::FastBindingUpdate(fbu) = fbu.message else {
        panic!("an FBU was asked for");
    };
    assert!(fbu.ack && fbu.home && !fbu.link_local && !fbu.key_management);
    assert_eq!(fbu.alternate_coa, Some(NCOA));
    assert_eq!(fbu.lifetime, 30);

    let hi = only(Node::Par, "HI");
    assert_eq!((hi.source, hi.destination), (PAR, NAR));
    let Message::HandoverInitiate(hi) = hi.message else {
        panic!("an HI was asked for");
    };
    let expected = HandoverInitiate {
        sequence: hi.sequence,
        ..HI
    };
    assert_eq!(hi, expected);

    let hack = only(Node::Nar, "HAck");
    assert_eq!((hack.source, hack.destination), (NAR, PAR));
    let Message::HandoverAck(hack) = hack.message else {
        panic!("a HAck was asked for");
    };
    assert_eq!(hack.sequence, hi.sequence);

    let fbacks = fbacks(&simulation);
    assert_eq!([fbacks[0].0, fbacks[1].0], [NCOA, PCOA]);
    assert_eq!(fbacks[0].1.sequence, fbu.sequence);
    assert_eq!(fbacks[0].1.lifetime, 30);
    assert!(
        fbacks
            .iter()
            .all(|(_, fback)| fback.authorization.is_some())
    );

    let una = only(Node::Mn, "NA");
    assert_eq!(una.source, NCOA);
    assert_eq!(una.destination.to_string(), "ff02::1");
    assert_eq!(
        una.message,
        Message::NeighborAdvertisement(NeighborAdvertisement::unsolicited(NCOA, MN_LLA))
    );
}

// Rows: GEN-05
#[test]
fn what_was_learnt_before_saves_the_question_when_the_handover_impends() {
    let mut simulation = Simulation::new();
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> RtSolPr"), 1);
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.impend();
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    simulation.run(FOREVER);
    let expected = [ASKING, PREPARING, MOVING, ENDING].concat();
    assert_eq!(simulation.steps(), expected);
}

#[test]
fn the_same_inputs_and_seeds_give_the_same_outputs() {
    let run = || {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Nar, "HAck", 1);
        run_from_impend(&mut simulation);
        simulation.log
    };
    assert_eq!(run(), run());
}

#[test]
fn without_buffering_the_nar_stands_in_for_the_address_and_holds_nothing() {
    let mut par = router_config(false);
    par.buffering = false;
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("nar: start-buffering"), 0);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
    simulation.assert_clean();
}

#[test]
fn the_status_shows_where_each_side_stands() {
    let simulation = between_links();
    let states = |handovers: Vec<HandoverStatus>| {
        let state = |status: &HandoverStatus| (status.role, status.state);
        handovers.iter().map(state).collect::<Vec<_>>()
    };
    assert_eq!(
        states(simulation.mn.handovers()),
        [(Role::MobileNode, "switching")]
    );
    assert_eq!(
        states(simulation.par.handovers()),
        [(Role::Par, "forwarding")]
    );
    assert_eq!(
        states(simulation.nar.handovers()),
        [(Role::Nar, "expected")]
    );
    let json = serde_json::to_string(&simulation.par.handovers()[0]).unwrap();
    assert_eq!(
        json,
        "{\"role\":\"par\",\"state\":\"forwarding\",\"pcoa\":\"2001:db8:1::ff:fe00:1\",\
         \"ncoa\":\"2001:db8:2::ff:fe00:1\",\"peer\":\"2001:db8:2::1\",\"expires_ns\":31016000000}"
    );
}

#[test]
fn counters_are_a_flat_map_from_names_to_numbers() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let counters = serde_json::to_value(simulation.par.counters()).unwrap();
    let map = counters.as_object().expect("a map");
    assert!(map.values().all(serde_json::Value::is_u64));
    assert_eq!(map["received-fbu"], 1);
    assert_eq!(map["sent-fback"], 2);
    assert_eq!(map["bad-authenticator"], 0);
}
