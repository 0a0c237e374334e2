//! FBUs that must not work.

use super::*;

// Rows: FBU-13, SEC-05
#[test]
fn an_fbu_with_a_wrong_key_changes_nothing_and_gets_no_answer() {
    let key = b"a key of twenty bytf";
    let simulation = par_hears(Fbu { key, ..FBU }.bytes());
    assert_eq!(simulation.steps(), Vec::<String>::new());
    assert_eq!(simulation.par.counters().bad_authenticator, 1);
    assert_eq!(
        simulation.events(Node::Par),
        [
            r#"{"event":"fbu-refused","reason":"bad-authenticator","source":"2001:db8:1::ff:fe00:1"}"#
        ]
    );
    assert_nothing_changed(&simulation);
}

// Rows: FBU-13, OPT-08
#[test]
fn every_altered_octet_of_an_fbu_is_noticed() {
    let original = FBU.bytes();
    // Traffic class, flow label and hop limit may change on the way (RFC 8200 section 3), and the
    // padding before the Home Address option says nothing.
    let free = |index: &usize| (0..4).chain([7]).chain(42..46).any(|octet| octet == *index);
    for index in (0..original.len()).filter(|index| !free(index)) {
        let mut altered = original.to_vec();
        altered[index] ^= 0x01;
        let simulation = par_hears(altered.into());
        // Nor is the source signed, for a mobile node may write from anywhere (FBU-11). Where the
        // tunnel will lead, it does not say.
        let moved = (8..24).contains(&index);
        assert_eq!(
            simulation.count("par: -> HI"),
            usize::from(moved),
            "octet {index}"
        );
        for (_, packet) in simulation.messages(Node::Par, "HI") {
            let Message::HandoverInitiate(hi) = packet.message else {
                panic!("it is an HI");
            };
            assert_eq!((hi.code, hi.ncoa), (HiCode::OtherSource, Some(NCOA)));
        }
    }
}

// Rows: FBU-13, OPT-08
#[test]
fn an_altered_fbu_with_a_repaired_checksum_is_noticed() {
    // The checksum is not signed, so whoever alters a message can make it right again.
    let alterations: [fn(&mut FastBindingUpdate); 4] = [
        |fbu| fbu.sequence += 1,
        |fbu| fbu.lifetime += 1,
        |fbu| fbu.alternate_coa = Some("2001:db8:2::bad".parse().unwrap()),
        |fbu| fbu.mn_lla = Some(MacAddr([2, 0, 0, 0, 0, 0xbd])),
    ];
    for alter in alterations {
        let mut packet = Packet::decode(&FBU.bytes()).unwrap();
        let Message::FastBindingUpdate(fbu) = &mut packet.message else {
            panic!("it is an FBU");
        };
        alter(fbu);
        let simulation = par_hears(packet.encode());
        assert_eq!(simulation.par.counters().bad_authenticator, 1);
        assert_nothing_changed(&simulation);
    }
}

// Rows: FBU-13, OPT-07
#[test]
fn an_authenticator_that_is_cut_short_is_not_enough() {
    let mut packet = Packet::decode(&FBU.bytes()).unwrap();
    let Message::FastBindingUpdate(fbu) = &mut packet.message else {
        panic!("it is an FBU");
    };
    let authorization = fbu.authorization.as_mut().expect("it is signed");
    authorization.authenticator.truncate(4);
    let simulation = par_hears(packet.encode());
    assert_eq!(simulation.par.counters().bad_authenticator, 1);
    assert_nothing_changed(&simulation);
}

// Rows: FBU-13
#[test]
fn an_fbu_without_an_authenticator_changes_nothing() {
    let fbu = Fbu {
        signed: false,
        ..FBU
    };
    let simulation = par_hears(fbu.bytes());
    assert_eq!(simulation.par.counters().authorization_missing, 1);
    assert_eq!(simulation.steps(), Vec::<String>::new());
    assert_nothing_changed(&simulation);
}

// Rows: OPT-07
#[test]
fn an_fbu_whose_authenticator_is_not_at_the_end_changes_nothing() {
    // Eight octets of padding behind the option; the lengths and the checksum made to fit.
    let mut bytes = FBU.bytes().to_vec();
    bytes.extend([1, 6, 0, 0, 0, 0, 0, 0]);
    let payload = u16::from_be_bytes([bytes[4], bytes[5]]) + 8;
    bytes[4..6].copy_from_slice(&payload.to_be_bytes());
    let header = 40 + 24; // behind the Destination Options header with the home address
    bytes[header + 1] += 1;
    bytes[header + 4..header + 6].fill(0);
    let sum = crate::wire::checksum(PCOA, PAR, 135, &bytes[header..]);
    bytes[header + 4..header + 6].copy_from_slice(&sum.to_be_bytes());

    let simulation = par_hears(bytes.into());
    assert_eq!(simulation.par.counters().authorization_missing, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn an_fbu_without_a_home_address_or_its_flags_changes_nothing() {
    let fbu = Fbu {
        home_address: None,
        ..FBU
    };
    let simulation = par_hears(fbu.bytes());
    assert_eq!(simulation.par.counters().home_address_missing, 1);
    assert_nothing_changed(&simulation);
    for (ack, home) in [(false, true), (true, false)] {
        let simulation = par_hears(Fbu { ack, home, ..FBU }.bytes());
        assert_eq!(simulation.par.counters().flags_missing, 1);
        assert_nothing_changed(&simulation);
    }
}

// Rows: FBU-13, SEC-08, HKY-05
#[test]
fn one_mobile_nodes_key_does_not_move_anothers_address() {
    let victim: Ipv6Addr = "2001:db8:1::77".parse().unwrap();
    let mut par = router_config(false);
    par.mobile_nodes.push(HandoverKey {
        pcoa: victim,
        spi: SPI + 1,
        key: b"the victim's own key".to_vec(),
    });
    // Signed with the attacker's key, under either SPI.
    for (spi, count) in [
        (SPI, |c: &Counters| c.unknown_key),
        (SPI + 1, |c: &Counters| c.bad_authenticator),
    ] as [(u32, Counter); 2]
    {
        let mut simulation =
            Simulation::with(mobile_node_config(), par.clone(), router_config(true));
        let fbu = Fbu {
            source: victim,
            home_address: Some(victim),
            spi,
            ..FBU
        };
        simulation.inject(Node::Par, ACCESS, fbu.bytes());
        assert_eq!(count(simulation.par.counters()), 1);
        assert_nothing_changed(&simulation);
    }
}

// Rows: AMB-21, FBU-16
#[test]
fn a_replayed_fbu_changes_nothing_as_long_as_its_key_lives() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(FOREVER);
    simulation.assert_clean();
    let before = commands(&simulation);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(simulation.par.counters().stale_sequence, 1);
    assert_eq!(commands(&simulation), before);
    assert_eq!(simulation.count("par: -> HI"), 1);
    simulation.assert_clean();
}

// Rows: FBU-10
#[test]
fn a_mobile_node_that_lost_count_learns_the_last_number_and_goes_on() {
    let mut simulation = Simulation::new();
    let later = Fbu {
        sequence: 1000,
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, later.bytes());
    simulation.run(FOREVER);
    simulation.log.clear();
    // It begins with 42.
    run_from_impend(&mut simulation);
    let sequence = |(_, packet): (_, Packet)| match packet.message {
        Message::FastBindingUpdate(fbu) => fbu.sequence,
        other => unreachable!("only FBUs were asked for, not {other:?}"),
    };
    let sequences: Vec<_> = simulation.messages(Node::Mn, "FBU").map(sequence).collect();
    assert_eq!(sequences, [42, 1001]);
    let (_, first) = &fbacks(&simulation)[0];
    assert_eq!((first.status.value(), first.sequence), (135, 1000));
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    simulation.assert_clean();
}

// Rows: FBU-09
#[test]
fn a_router_that_never_likes_the_number_is_given_up() {
    let mut simulation = Simulation::new();
    simulation.tamper(Node::Par, "FBack", |bytes| {
        let mut packet = Packet::decode(bytes).unwrap();
        if let Message::FastBindingAck(fback) = &mut packet.message {
            fback.status = FastBindingStatus::Other(135);
        }
        let addresses = Addresses {
            care_of: NCOA,
            par: PAR,
        };
        *bytes = sign(packet, SPI, KEY, addresses).to_vec();
    });
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: -> FBU"), 8);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"no-fback"}"#
    );
    simulation.assert_clean();
}

// Rows: FBU-16
#[test]
fn an_fbu_with_an_older_number_changes_nothing() {
    for stale in [9, 10, 10_u16.wrapping_sub(0x8000)] {
        let mut simulation = Simulation::new();
        let first = Fbu {
            sequence: 10,
            ..FBU
        };
        simulation.inject(Node::Par, ACCESS, first.bytes());
        let second = Fbu {
            sequence: stale,
            ncoa: Some("2001:db8:2::5".parse().unwrap()),
            ..FBU
        };
        simulation.inject(Node::Par, ACCESS, second.bytes());
        assert_eq!(simulation.par.counters().stale_sequence, 1);
        assert_eq!(simulation.count("par: -> HI"), 1);
    }
}

// Rows: FBA-05, FBA-08, FBU-14, W11-14
#[test]
fn an_ncoa_outside_every_neighbors_prefix_is_refused_with_a_signed_fback() {
    for ncoa in ["2001:db8:3::1", "2001:db8:1::99", "fe80::1"] {
        let ncoa = ncoa.parse().unwrap();
        let fbu = Fbu {
            ncoa: Some(ncoa),
            ..FBU
        };
        let simulation = par_hears(fbu.bytes());
        assert_eq!(simulation.par.counters().ncoa_outside_prefix, 1);
        assert_nothing_changed(&simulation);

        let (_, packet) = simulation.messages(Node::Par, "FBack").next().unwrap();
        assert_eq!(packet.destination, PCOA);
        let Message::FastBindingAck(fback) = &packet.message else {
            panic!("it is an FBack");
        };
        assert_eq!(fback.status, FastBindingStatus::Prohibited);
        assert_eq!((fback.sequence, fback.lifetime), (1, 0));
        let authorization = fback.authorization.as_ref().expect("it is signed");
        let addresses = Addresses {
            care_of: ncoa,
            par: PAR,
        };
        assert!(auth::verify(
            &packet.encode(),
            authorization,
            KEY,
            addresses
        ));
    }
}

// Rows: FBU-14, HI-01
#[test]
fn the_neighbor_with_the_longest_prefix_of_the_ncoa_is_asked() {
    let mut par = router_config(false);
    let narrow: Ipv6Addr = "2001:db8:2:8000::1".parse().unwrap();
    par.peers[0].prefix = "2001:db8:2::/48".parse().unwrap();
    par.peers.push(Peer {
        address: narrow,
        lla: NAR_LLA,
        prefix: "2001:db8:2:8000::/64".parse().unwrap(),
        access_points: Vec::new(),
        ..par.peers[0].clone()
    });
    for (ncoa, peer) in [("2001:db8:2:8000::5", narrow), ("2001:db8:2::5", NAR)] {
        let mut simulation =
            Simulation::with(mobile_node_config(), par.clone(), router_config(true));
        let fbu = Fbu {
            ncoa: Some(ncoa.parse().unwrap()),
            ..FBU
        };
        simulation.inject(Node::Par, ACCESS, fbu.bytes());
        let (_, hi) = simulation.messages(Node::Par, "HI").next().unwrap();
        assert_eq!(hi.destination, peer);
    }
}

// Rows: FBU-14
#[test]
fn an_address_of_our_own_link_is_not_in_a_neighbors_wider_prefix() {
    let mut par = router_config(false);
    par.peers[0].prefix = "2001:db8::/32".parse().unwrap();
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    let fbu = Fbu {
        ncoa: Some("2001:db8:1::99".parse().unwrap()),
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, fbu.bytes());
    assert_eq!(simulation.par.counters().ncoa_outside_prefix, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn an_fbu_from_the_pcoa_must_say_which_ncoa() {
    let simulation = par_hears(Fbu { ncoa: None, ..FBU }.bytes());
    assert_eq!(simulation.par.counters().ncoa_missing, 1);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
    assert_nothing_changed(&simulation);
}

// Rows: FBA-11
#[test]
fn the_granted_lifetime_is_bounded() {
    let fbu = Fbu {
        lifetime: 60_000,
        ..FBU
    };
    let mut simulation = par_hears(fbu.bytes());
    simulation.run(SECOND);
    assert_eq!(fbacks(&simulation)[0].1.lifetime, 60);
    let expires = simulation.par.handovers()[0].expires_ns;
    let installed = simulation.times(Instant::default(), Node::Par, "FBack")[0];
    assert_eq!(
        expires.map(|at| u128::from(at.as_nanos()) / 1_000_000),
        Some(installed + 60_000)
    );
}

// Rows: AMB-17, AMB-21, MOV-02, MOV-07
#[test]
fn a_lifetime_of_zero_ends_the_binding() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.par.handovers().len(), 1);
    let end = Fbu {
        sequence: 2,
        lifetime: 0,
        ncoa: Some(PCOA),
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, end.bytes());
    assert_eq!(simulation.par.handovers(), []);
    let (to, fback) = fbacks(&simulation).pop().unwrap();
    assert_eq!(to, PCOA);
    assert_eq!(
        (fback.status, fback.lifetime),
        (FastBindingStatus::Accepted, 0)
    );
    // AMB-21: the numbers are remembered beyond the binding.
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(simulation.par.counters().stale_sequence, 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: SEC-07
#[test]
fn there_is_a_limit_to_handovers() {
    let mut par = router_config(false);
    par.limits.max_handovers = 0;
    let mut nar = router_config(true);
    nar.limits.max_handovers = 0;
    let mut simulation = Simulation::with(mobile_node_config(), par, nar);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(statuses(&simulation), [FastBindingStatus::Resources]);
    assert_eq!(simulation.par.counters().resources, 1);
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    assert_eq!(hack_codes(&simulation), [HackCode::Resources]);
    assert_eq!(simulation.nar.counters().resources, 1);
    assert_nothing_changed(&simulation);
}
