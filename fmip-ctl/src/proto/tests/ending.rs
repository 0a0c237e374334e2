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
            ["par: remove-tunnel", "par: -> fback"],
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
