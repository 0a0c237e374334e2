//! FBUs of mobile nodes that have moved already, as the PAR meets them.

use super::*;

/// A PAR that heard these FBUs over the core; the NAR hears nothing.
fn asked_by(fbus: &[Fbu]) -> Simulation {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    for fbu in fbus {
        simulation.inject(Node::Par, CORE, fbu.bytes());
    }
    simulation
}

fn tunnels(simulation: &Simulation) -> Vec<(Ipv6Addr, Ipv6Addr)> {
    let tunnel = |command| match command {
        Command::InstallTunnel { ncoa, local, .. } => Some((ncoa, local)),
        _ => None,
    };
    commands(simulation)
        .into_iter()
        .filter_map(tunnel)
        .collect()
}

// Rows: HI-01, HI-03, HI-04, HI-05, HI-06, HI-07, FBU-11, FBU-12, GEN-04
#[test]
fn a_mobile_node_that_has_moved_is_announced_with_code_1_and_without_flags() {
    let mut par = router_config(false);
    par.peers[0].addressing = PeerAddressing::Assigned;
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
    let (to, hi) = his(&simulation).pop().unwrap();
    assert_eq!(to, NAR);
    assert_eq!(hi.code, HiCode::OtherSource);
    assert!(!hi.assigned_address && !hi.buffer);
    assert_eq!((hi.pcoa, hi.ncoa), (Some(PCOA), Some(NCOA)));
    // It gave none; the frame came from a router, but its address was made of it.
    assert_eq!(hi.mn_lla, Some(MN_LLA));
}

// Rows: FBA-02, FBA-03, FBU-15, TUN-01, TUN-02, AMB-08
#[test]
fn after_the_hack_the_tunnel_stands_and_the_fback_goes_to_the_ncoa_alone() {
    let mut simulation = asked_by(&[FBU_MOVED]);
    assert_eq!(tunnels(&simulation), []);
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(tunnels(&simulation), [(NCOA, PAR)]);
    assert_eq!(
        simulation.steps(),
        ["par: -> hi", "par: install-tunnel", "par: -> fback"]
    );
    let (to, fback) = fbacks(&simulation).pop().unwrap();
    assert_eq!((to, fback.status), (NCOA, FastBindingStatus::Accepted));
    let Some((_, _, Output::Transmit(transmit))) = simulation
        .log
        .iter()
        .rfind(|(_, _, output)| matches!(output, Output::Transmit(_)))
    else {
        panic!("the FBack was sent");
    };
    assert_eq!(transmit.interface, None, "as routed, not on the old link");
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: AMB-09
#[test]
fn without_an_alternate_care_of_address_the_source_is_the_ncoa() {
    let fbu = Fbu {
        ncoa: None,
        ..FBU_MOVED
    };
    let mut simulation = asked_by(&[fbu]);
    assert_eq!(his(&simulation)[0].1.ncoa, Some(NCOA));
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(tunnels(&simulation), [(NCOA, PAR)]);
}

// Rows: FBU-11, HI-03
#[test]
fn the_alternate_care_of_address_counts_whatever_the_source_is() {
    let fbu = Fbu {
        source: "2001:db8:2::77".parse().unwrap(),
        ..FBU
    };
    let mut simulation = asked_by(&[fbu]);
    let (_, hi) = his(&simulation).pop().unwrap();
    assert_eq!((hi.code, hi.ncoa), (HiCode::OtherSource, Some(NCOA)));
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(tunnels(&simulation), [(NCOA, PAR)]);
}

// Rows: FBU-13, FBU-14, SEC-08, W11-14
#[test]
fn from_elsewhere_an_fbu_needs_the_key_of_its_pcoa_and_an_ncoa_of_a_neighbor() {
    let foreign = Fbu {
        key: b"a key of twenty bytf",
        ..FBU_MOVED
    };
    let simulation = asked_by(&[foreign]);
    assert_eq!(simulation.par.counters().bad_authenticator, 1);
    assert_eq!(simulation.steps(), Vec::<String>::new());

    let nowhere: Ipv6Addr = "2001:db8:66::1".parse().unwrap();
    let fbu = Fbu {
        source: nowhere,
        ncoa: None,
        ..FBU
    };
    let simulation = asked_by(&[fbu]);
    assert_eq!(simulation.par.counters().ncoa_outside_prefix, 1);
    let (to, fback) = fbacks(&simulation).pop().unwrap();
    assert_eq!((to, fback.status), (nowhere, FastBindingStatus::Prohibited));
    assert_nothing_changed(&simulation);
}

// Rows: FBA-08, HAK-10
#[test]
fn a_refused_mobile_node_is_told_where_it_is() {
    let mut simulation = asked_by(&[FBU_MOVED]);
    answer(&mut simulation, HackCode::Prohibited, None);
    let (to, fback) = fbacks(&simulation).pop().unwrap();
    assert_eq!((to, fback.status), (NCOA, FastBindingStatus::Prohibited));
    assert_nothing_changed(&simulation);
}

// Rows: AMB-11, HI-03, FBU-16, W11-10
#[test]
fn a_mobile_node_that_missed_the_fback_is_announced_anew_and_its_tunnel_stays() {
    // The predictive FBU is still with the NAR, or its tunnel stands.
    for answered in [false, true] {
        let mut simulation = asked_by(&[FBU]);
        if answered {
            answer(&mut simulation, HackCode::NcoaValid, None);
        }
        simulation.log.clear();
        let again = Fbu {
            sequence: 2,
            ..FBU_MOVED
        };
        simulation.inject(Node::Par, CORE, again.bytes());
        let (_, hi) = his(&simulation).pop().unwrap();
        assert_eq!(hi.code, HiCode::OtherSource);
        // The answer to the first HI comes late, and is to nothing that is asked now.
        let first = hack(NAR, hi.sequence.wrapping_sub(1), HackCode::NcoaValid, None);
        simulation.inject(Node::Par, CORE, first);
        assert_eq!(simulation.par.counters().unmatched, 1);
        answer(&mut simulation, HackCode::NcoaValid, None);
        assert_eq!(
            simulation.steps(),
            ["par: -> hi", "par: install-tunnel", "par: -> fback"]
        );
        let (to, fback) = fbacks(&simulation).pop().unwrap();
        assert_eq!((to, fback.sequence), (NCOA, 2));
        simulation.run(FOREVER);
        assert_eq!(simulation.count("par: remove-tunnel"), 1);
        simulation.assert_clean();
    }
}

// Rows: MOV-05, W11-06
#[test]
fn a_mobile_node_at_a_third_router_takes_its_tunnel_there() {
    let third: Ipv6Addr = "2001:db8:3::1".parse().unwrap();
    let there: Ipv6Addr = "2001:db8:3::ff:fe00:1".parse().unwrap();
    let mut par = router_config(false);
    par.peers.push(Peer {
        address: third,
        prefix: "2001:db8:3::/64".parse().unwrap(),
        access_points: vec![AP_UNKNOWN],
        ..par.peers[0].clone()
    });
    for answered in [false, true] {
        let mut simulation =
            Simulation::with(mobile_node_config(), par.clone(), router_config(true));
        simulation.lose(Node::Par, "HI", ALWAYS);
        simulation.inject(Node::Par, ACCESS, FBU.bytes());
        if answered {
            answer(&mut simulation, HackCode::NcoaValid, None);
        }
        simulation.log.clear();
        let fbu = Fbu {
            source: there,
            ncoa: None,
            sequence: 2,
            ..FBU
        };
        simulation.inject(Node::Par, CORE, fbu.bytes());
        let (to, hi) = his(&simulation).pop().unwrap();
        assert_eq!((to, hi.ncoa), (third, Some(there)));
        // The router that it did not go to has no say any more.
        let late = hack(NAR, hi.sequence, HackCode::NcoaValid, None);
        simulation.inject(Node::Par, CORE, late);
        assert_eq!(simulation.par.counters().unmatched, 1);
        assert_eq!(simulation.count("par: remove-tunnel"), 0);
        let valid = hack(third, hi.sequence, HackCode::NcoaValid, None);
        simulation.inject(Node::Par, CORE, valid);
        assert_eq!(tunnels(&simulation), [(there, PAR)]);
        simulation.run(FOREVER);
        assert_eq!(simulation.count("par: remove-tunnel"), 1);
        simulation.assert_clean();
    }
}

// Rows: HAK-08, AMB-18, AMB-02, FBA-04, TUN-01, AMB-16
#[test]
fn a_mobile_node_that_keeps_its_address_is_tunnelled_to_the_nar_itself() {
    for fbu in [FBU, FBU_MOVED] {
        let predictive = fbu.source == PCOA;
        let mut simulation = asked_by(&[]);
        let interface = if predictive { ACCESS } else { CORE };
        simulation.inject(Node::Par, interface, fbu.bytes());
        answer(&mut simulation, HackCode::UsePcoa, None);
        assert_eq!(tunnels(&simulation), [(NAR, PAR)]);
        let fbacks = simulation.messages(Node::Par, "FBack");
        let fbacks: Vec<_> = fbacks.map(|(_, packet)| packet).collect();
        // Through the tunnel, and on the old link if it may still be there.
        assert_eq!(fbacks.len(), 1 + usize::from(predictive));
        for packet in fbacks {
            assert_eq!(packet.destination, PCOA);
            let Message::FastBindingAck(fback) = &packet.message else {
                panic!("it is an FBack");
            };
            assert_eq!(fback.status, FastBindingStatus::NcoaInvalid);
            assert_eq!(fback.alternate_coa, Some(PCOA));
            let addresses = Addresses {
                care_of: PCOA,
                par: PAR,
            };
            let authorization = fback.authorization.as_ref().expect("it is signed");
            let bytes = packet.encode();
            assert!(auth::verify(&bytes, authorization, KEY, addresses));
        }
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: FBU-14, TUN-01
#[test]
fn an_ncoa_that_is_the_nars_own_address_is_tunnelled_to_it() {
    // NAACK 3 told the mobile node to do so.
    let fbu = Fbu {
        ncoa: Some(NAR),
        ..FBU
    };
    let mut simulation = asked_by(&[fbu]);
    let (to, hi) = his(&simulation).pop().unwrap();
    assert_eq!((to, hi.ncoa), (NAR, Some(NAR)));
    answer(&mut simulation, HackCode::NcoaValid, None);
    assert_eq!(tunnels(&simulation), [(NAR, PAR)]);
    // The NAR's address is not the mobile node's: what is for it goes through the tunnel.
    let (to, fback) = fbacks(&simulation).pop().unwrap();
    assert_eq!((to, fback.status), (PCOA, FastBindingStatus::Accepted));
    assert_eq!(fbacks(&simulation).len(), 1);
}

// Rows: HI-04
#[test]
fn a_nar_that_assigns_addresses_is_asked_for_one() {
    let mut par = router_config(false);
    par.peers[0].addressing = PeerAddressing::Assigned;
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let (_, hi) = his(&simulation).pop().unwrap();
    assert_eq!((hi.code, hi.assigned_address), (HiCode::PcoaSource, true));
    assert!(!his(&asked_by(&[FBU]))[0].1.assigned_address);
}

// Rows: FBU-16
#[test]
fn an_fbu_that_the_network_doubled_gets_the_same_answer_twice() {
    let mut simulation = asked_by(&[FBU_MOVED, FBU_MOVED]);
    assert_eq!(simulation.count("par: -> hi"), 1);
    assert_eq!(simulation.par.counters().duplicate, 1);
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
    let answers: Vec<_> = simulation.messages(Node::Par, "FBack").collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].1, answers[1].1);
    assert_eq!(tunnels(&simulation).len(), 1);
}

// Rows: PRA-13
#[test]
fn a_neighbor_without_fast_handovers_is_asked_nothing() {
    let mut par = router_config(false);
    par.peers[0].fast_handover = false;
    for (interface, fbu) in [(ACCESS, FBU), (CORE, FBU_MOVED)] {
        let mut simulation =
            Simulation::with(mobile_node_config(), par.clone(), router_config(true));
        let source = fbu.source;
        simulation.inject(Node::Par, interface, fbu.bytes());
        let (to, fback) = fbacks(&simulation).pop().unwrap();
        assert_eq!((to, fback.status), (source, FastBindingStatus::Unspecified));
        assert_eq!(simulation.par.counters().peer_incapable, 1);
        assert_nothing_changed(&simulation);
    }
}
