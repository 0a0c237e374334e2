//! FBUs with a lifetime of zero, and the numbers that FBUs carry.

use super::*;

const END: Fbu = Fbu {
    sequence: 2,
    lifetime: 0,
    ncoa: Some(PCOA),
    ..FBU
};

/// A simulation in which the tunnel to the NAR stands.
fn forwarding() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.log.clear();
    simulation
}

// Rows: MOV-02, MOV-07, AMB-17
#[test]
fn a_mobile_node_that_is_back_ends_its_tunnel_whatever_alternate_it_names() {
    for ncoa in [Some(PCOA), Some(NCOA), None] {
        let mut simulation = forwarding();
        simulation.inject(Node::Par, ACCESS, Fbu { ncoa, ..END }.bytes());
        assert_eq!(
            simulation.steps(),
            ["par: remove-tunnel", "par: -> hi", "par: -> fback"],
            "{ncoa:?}"
        );
        let (_, packet) = simulation.messages(Node::Par, "FBack").next().unwrap();
        assert_eq!(packet.destination, PCOA);
        let Message::FastBindingAck(fback) = &packet.message else {
            panic!("it is an FBack");
        };
        assert_eq!(fback.status, FastBindingStatus::Accepted);
        assert_eq!((fback.sequence, fback.lifetime), (2, 0));
        // The authenticator is over the PCoA.
        let addresses = Addresses {
            care_of: PCOA,
            par: PAR,
        };
        let authorization = fback.authorization.as_ref().expect("it is signed");
        assert!(auth::verify(
            &packet.encode(),
            authorization,
            KEY,
            addresses
        ));
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

/// The HIs that the PAR sends when the mobile node ends a tunnel that has stood for so long.
fn called_off(par: RouterConfig, fbu: Fbu, end: Fbu, after: Duration) -> Vec<HandoverInitiate> {
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, fbu.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.log.clear();
    simulation.run(after);
    simulation.inject(Node::Par, ACCESS, end.bytes());
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    let sent = his(&simulation);
    sent.into_iter().map(|(_, hi)| hi).collect()
}

// Rows: MOV-06
#[test]
fn the_nar_hears_that_nothing_is_to_be_held_for_a_mobile_node_that_stays() {
    let soon = Duration::from_millis(100);
    let par = || router_config(false);
    let expected = HandoverInitiate {
        sequence: 102,
        code: HiCode::PcoaSource,
        buffer: false,
        ..HI
    };
    assert_eq!(called_off(par(), FBU, END, soon), [expected]);
    // By then the NAR has given it up, or it has been there.
    assert_eq!(called_off(par(), FBU, END, Duration::from_secs(4)), []);
    // It was there when it asked, and is somewhere else when it ends what it asked for.
    assert_eq!(called_off(par(), FBU_MOVED, END, soon), []);
    let elsewhere = Fbu {
        source: NCOA,
        ..END
    };
    assert_eq!(called_off(par(), FBU, elsewhere, soon), []);
    // Nothing was to be held.
    let unbuffered = RouterConfig {
        buffering: false,
        ..par()
    };
    assert_eq!(called_off(unbuffered, FBU, END, soon), []);
}

// Rows: MOV-05, MOV-06
#[test]
fn the_nar_that_another_one_takes_the_place_of_hears_that_nothing_is_to_be_held() {
    let third: Ipv6Addr = "2001:db8:3::1".parse().unwrap();
    let mut par = router_config(false);
    let peer = par.peers[0].clone();
    par.peers.push(Peer {
        address: third,
        prefix: "2001:db8:3::/64".parse().unwrap(),
        ..peer
    });
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    let newer = Fbu {
        sequence: 2,
        ncoa: Some("2001:db8:3::ff:fe00:1".parse().unwrap()),
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, newer.bytes());
    let (to, hi) = his(&simulation).pop().unwrap();
    assert_eq!((to, hi.buffer), (third, true));
    let consent = hack(third, hi.sequence, HackCode::NcoaValid, None);
    simulation.inject(Node::Par, CORE, consent);
    assert_eq!(simulation.count("par: install-tunnel"), 2);
    let (to, hi) = his(&simulation).pop().unwrap();
    assert_eq!((to, hi.buffer, hi.ncoa), (NAR, false, Some(NCOA)));
    // The same one asked again has the same.
    let sent = his(&simulation).len();
    let newest = Fbu {
        sequence: 3,
        ..newer
    };
    simulation.inject(Node::Par, ACCESS, newest.bytes());
    let (_, hi) = his(&simulation).pop().unwrap();
    let consent = hack(third, hi.sequence, HackCode::NcoaValid, None);
    simulation.inject(Node::Par, CORE, consent);
    assert_eq!(his(&simulation).len(), sent + 1);
}

/// Packets of the first attempt would come behind those that the mobile node got while it stayed.
// Rows: MOV-01, MOV-06, BUF-08
#[test]
fn a_handover_that_is_broken_off_and_repeated_begins_with_an_empty_buffer() {
    let mut simulation = Simulation::new();
    simulation.gap = None;
    simulation.impend();
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.nar.handovers()[0].state, "expected");
    simulation.log.clear();
    simulation.come_up(AP1);
    simulation.gap = Some(Duration::from_millis(200));
    simulation.run(Duration::from_millis(5));
    simulation.impend();
    simulation.run(SECOND);
    let steps = simulation.steps();
    let at_nar = |step: &&String| step.contains("nar: ") && step.contains("buffer");
    let at_nar: Vec<_> = steps.iter().filter(at_nar).collect();
    assert_eq!(
        at_nar,
        [
            "nar: remove-buffer",
            "nar: start-buffering",
            "nar: release-buffer"
        ],
        "{steps:#?}"
    );
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: MOV-02
#[test]
fn without_a_tunnel_the_end_is_acknowledged_all_the_same() {
    let mut simulation = par_hears(END.bytes());
    assert_eq!(statuses(&simulation), [FastBindingStatus::Accepted]);
    assert_nothing_changed(&simulation);
    // The network doubled it: the same answer.
    simulation.inject(Node::Par, ACCESS, END.bytes());
    let answers: Vec<_> = simulation.messages(Node::Par, "FBack").collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].1, answers[1].1);
    assert_eq!(simulation.par.counters().duplicate, 1);
}

// Rows: MOV-02
#[test]
fn a_mobile_node_that_stays_ends_what_it_asked_for_before_there_is_an_answer() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.inject(Node::Par, ACCESS, END.bytes());
    // The answer comes to nothing that is asked any more.
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(simulation.par.counters().unmatched, 1);
    assert_nothing_changed(&simulation);
}

// Rows: MOV-07, FBU-13
#[test]
fn the_end_of_a_binding_needs_the_key() {
    let mut simulation = forwarding();
    let forged = Fbu {
        key: b"a key of twenty bytf",
        ..END
    };
    simulation.inject(Node::Par, ACCESS, forged.bytes());
    // Signed over the NCoA, as if it were an ordinary FBU.
    let mut packet = Packet::decode(&END.bytes()).unwrap();
    if let Message::FastBindingUpdate(fbu) = &mut packet.message {
        fbu.authorization = None;
    }
    let addresses = Addresses {
        care_of: NCOA,
        par: PAR,
    };
    simulation.inject(Node::Par, ACCESS, sign(packet, SPI, KEY, addresses));
    assert_eq!(simulation.par.counters().bad_authenticator, 2);
    assert_eq!(simulation.steps(), Vec::<String>::new());
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
}

fn stored(simulation: &Simulation) -> Vec<(Ipv6Addr, u16)> {
    let stored = |(_, _, output): &(Instant, Node, Output)| match output {
        Output::Command(Command::StoreSequence { pcoa, sequence }) => Some((*pcoa, *sequence)),
        _ => None,
    };
    simulation.log.iter().filter_map(stored).collect()
}

// Rows: AMB-21
#[test]
fn a_number_is_kept_beyond_the_binding_and_beyond_a_restart() {
    let mut simulation = forwarding();
    simulation.inject(Node::Par, ACCESS, END.bytes());
    assert_eq!(stored(&simulation), [(PCOA, 2)]);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(simulation.par.counters().stale_sequence, 1);

    let mut restarted = Simulation::new();
    restarted.par.restore_sequence(PCOA, 2);
    // Nothing is remembered for those without a key.
    restarted.par.restore_sequence(NCOA, 9);
    restarted.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(restarted.par.counters().stale_sequence, 1);
    assert_eq!(fbacks(&restarted)[0].1.sequence, 2);
    assert_nothing_changed(&restarted);
    restarted.inject(Node::Par, ACCESS, Fbu { sequence: 3, ..FBU }.bytes());
    assert_eq!(restarted.count("par: -> HI"), 1);
}

// Rows: AMB-21, FBU-16
#[test]
fn only_an_authentic_number_is_stored() {
    let forged = Fbu {
        key: b"a key of twenty bytf",
        ..FBU
    };
    assert_eq!(stored(&par_hears(forged.bytes())), []);
    // One that is refused for another reason is spent all the same.
    let nowhere = Fbu {
        ncoa: Some("2001:db8:66::1".parse().unwrap()),
        ..FBU
    };
    assert_eq!(stored(&par_hears(nowhere.bytes())), [(PCOA, 1)]);
}

// Rows: AMB-21
#[test]
fn a_stored_number_survives_that_a_command_behind_it_fails() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.log.clear();
    // The tunnel fails while a newer FBU's outputs wait.
    let now = simulation.now;
    let valid = hack(NAR, 101, HackCode::NcoaValid, None);
    let packet = |bytes| Input::Packet {
        interface: ACCESS,
        link_source: MN_LLA,
        bytes,
    };
    let core = Input::Packet {
        interface: CORE,
        link_source: NAR_LLA,
        bytes: valid,
    };
    simulation.par.handle_input(now, core);
    let Some(install) =
        std::iter::from_fn(|| simulation.par.poll_output()).find_map(|output| match output {
            Output::Command(command @ Command::InstallTunnel { .. }) => Some(command),
            _ => None,
        })
    else {
        panic!("the tunnel is ordered");
    };
    let newer = Fbu { sequence: 2, ..FBU };
    simulation.par.handle_input(now, packet(newer.bytes()));
    let failed = Input::CommandFailed {
        command: install,
        error: CommandError::Other("no".to_owned()),
    };
    simulation.input(Node::Par, failed);
    assert_eq!(stored(&simulation), [(PCOA, 2)]);
    simulation.run(FOREVER);
    simulation.assert_clean();
}
