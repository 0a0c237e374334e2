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
