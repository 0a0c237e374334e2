//! FBacks, as the mobile node sees them.

use super::*;

// Rows: FBA-09
#[test]
fn an_fback_that_was_tampered_with_moves_nobody() {
    for tamper in [
        |bytes: &mut Vec<u8>| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1; // the authenticator; the checksum is now wrong too
        },
        |bytes: &mut Vec<u8>| {
            let mut packet = Packet::decode(bytes).unwrap();
            if let Message::FastBindingAck(fback) = &mut packet.message {
                fback.lifetime += 1;
            }
            *bytes = packet.encode().to_vec();
        },
        |bytes: &mut Vec<u8>| {
            let mut packet = Packet::decode(bytes).unwrap();
            if let Message::FastBindingAck(fback) = &mut packet.message {
                fback.authorization = None;
            }
            *bytes = packet.encode().to_vec();
        },
        |bytes: &mut Vec<u8>| {
            let mut packet = Packet::decode(bytes).unwrap();
            packet.source = NAR;
            *bytes = packet.encode().to_vec();
        },
    ] {
        let mut simulation = Simulation::new();
        simulation.tamper(Node::Par, "FBack", tamper);
        run_from_impend(&mut simulation);
        assert_eq!(simulation.count("mn: switch-link"), 0);
        assert_eq!(simulation.count("mn: hold-uplink"), 0);
        assert_eq!(
            last_failure(&simulation),
            r#"{"event":"handover-failed","reason":"no-fback"}"#
        );
        let counters = simulation.mn.counters();
        let counted = counters.malformed
            + counters.bad_authenticator
            + counters.authorization_missing
            + counters.unexpected;
        assert_eq!(counted, 8, "{counters:?}");
        simulation.assert_clean();
    }
}

// Rows: FBA-09, SEC-05
#[test]
fn a_refusal_cannot_be_forged() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.impend();
    simulation.run(Duration::from_millis(50));
    let packet = Packet {
        source: PAR,
        destination: PCOA,
        hop_limit: 64,
        home_address: None,
        message: Message::FastBindingAck(FastBindingAck {
            status: FastBindingStatus::Prohibited,
            key_management: false,
            sequence: 42,
            lifetime: 0,
            alternate_coa: None,
            unknown: Vec::new(),
            authorization: None,
        }),
    };
    let addresses = Addresses {
        care_of: NCOA,
        par: PAR,
    };
    let forged = sign(packet.clone(), SPI, b"another", addresses);
    simulation.inject(Node::Mn, ACCESS, forged);
    assert_eq!(simulation.mn.counters().bad_authenticator, 1);
    assert_eq!(simulation.mn.handovers()[0].state, "awaiting-fback");

    let stale = |sequence| {
        let mut packet = packet.clone();
        if let Message::FastBindingAck(fback) = &mut packet.message {
            fback.sequence = sequence;
        }
        sign(packet, SPI, KEY, addresses)
    };
    simulation.inject(Node::Mn, ACCESS, stale(41));
    simulation.inject(Node::Mn, ACCESS, stale(43));
    assert_eq!(simulation.mn.counters().stale_sequence, 2);
    simulation.inject(Node::Mn, ACCESS, stale(42));
    assert_eq!(simulation.mn.handovers(), []);
}

/// The tunnel stands when it is sent: routed, it would go to the NCoA a second time.
// Rows: AMB-08, FBA-03
#[test]
fn the_fback_for_the_old_link_is_sent_on_it_whatever_the_tunnel_says() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    let sent: Vec<_> = simulation
        .log
        .iter()
        .filter_map(|(_, node, output)| match output {
            Output::Transmit(transmit) if *node == Node::Par => {
                let packet = Packet::decode(&transmit.bytes).unwrap();
                let is_fback = matches!(packet.message, Message::FastBindingAck(_));
                is_fback.then_some((packet.destination, transmit.interface))
            }
            _ => None,
        })
        .collect();
    assert_eq!(sent, [(NCOA, None), (PCOA, Some(ACCESS))]);
}

// Rows: AMB-16, FBA-05
#[test]
fn the_authenticator_of_an_fback_covers_the_address_that_was_registered() {
    let given: Ipv6Addr = "2001:db8:2::abcd".parse().unwrap();
    for (answer, care_of) in [(None, NCOA), (Some(given), given)] {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Par, "HI", ALWAYS);
        simulation.inject(Node::Par, ACCESS, FBU.bytes());
        let code = answer.map_or(HackCode::NcoaValid, |_| HackCode::NcoaAssigned);
        simulation.inject(Node::Par, CORE, hack(NAR, 101, code, answer));
        let fbacks: Vec<_> = simulation.messages(Node::Par, "FBack").collect();
        assert_eq!(fbacks.len(), 2);
        for (_, packet) in fbacks {
            let Message::FastBindingAck(fback) = &packet.message else {
                panic!("it is an FBack");
            };
            let authorization = fback.authorization.as_ref().expect("it is signed");
            let is_signed_for = |care_of| {
                let addresses = Addresses { care_of, par: PAR };
                auth::verify(&packet.encode(), authorization, KEY, addresses)
            };
            assert!(is_signed_for(care_of));
            assert!(!is_signed_for(PCOA));
            assert_eq!(is_signed_for(NCOA), care_of == NCOA);
        }
    }
}
