//! Messages that a router cannot read.

use super::*;
use crate::wire::{BindingError, checksum};

const CORRESPONDENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 7);

/// A packet with a Mobility Header of this type, behind a Home Address option if one is given.
fn mobility(
    kind: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    home_address: Option<Ipv6Addr>,
) -> Bytes {
    // Written as a HAck, whose type is then another one.
    let packet = Packet {
        source,
        destination,
        hop_limit: 64,
        home_address,
        message: Message::HandoverAck(HandoverAck {
            sequence: 1,
            code: HackCode::NcoaValid,
            ncoa: None,
            unknown: Vec::new(),
        }),
    };
    let mut bytes = packet.encode().to_vec();
    let header = bytes.len() - 16;
    bytes[header + 2] = kind;
    bytes[header + 4..header + 6].fill(0);
    let signed = home_address.unwrap_or(source);
    let sum = checksum(signed, destination, 135, &bytes[header..]);
    bytes[header + 4..header + 6].copy_from_slice(&sum.to_be_bytes());
    bytes.into()
}

// Rows: GEN-12
#[test]
fn an_unknown_mobility_header_is_answered_with_a_binding_error() {
    for home_address in [None, Some(PCOA)] {
        let mut simulation = Simulation::new();
        let bytes = mobility(99, CORRESPONDENT, NAR, home_address);
        simulation.inject(Node::Nar, CORE, bytes);
        let answers: Vec<_> = simulation.messages(Node::Nar, "BindingError").collect();
        let [(_, packet)] = &answers[..] else {
            panic!("one answer, not {answers:?}");
        };
        assert_eq!((packet.source, packet.destination), (NAR, CORRESPONDENT));
        let expected = BindingError {
            status: BindingError::UNRECOGNIZED_TYPE,
            home_address: home_address.unwrap_or(Ipv6Addr::UNSPECIFIED),
        };
        assert_eq!(packet.message, Message::BindingError(expected));
        assert_eq!(simulation.nar.counters().malformed, 1);
        assert_eq!(simulation.nar.counters().sent_binding_error, 1);
    }
}

/// As what asks about access points.
// Rows: GEN-12
#[test]
fn a_station_is_answered_in_a_frame_and_a_router_on_its_route() {
    for (interface, framed) in [(ACCESS, Some(MN_LLA)), (CORE, None)] {
        let mut simulation = Simulation::new();
        let bytes = mobility(99, CORRESPONDENT, NAR, None);
        simulation.inject(Node::Nar, interface, bytes);
        assert_eq!(framed_to(&simulation, Node::Nar), [framed]);
    }
}

// Rows: GEN-12
#[test]
fn what_is_not_for_us_or_from_nobody_is_not_answered() {
    let all_nodes = "ff02::1".parse().unwrap();
    let unspecified = Ipv6Addr::UNSPECIFIED;
    for bytes in [
        mobility(99, CORRESPONDENT, PAR, None),
        mobility(99, CORRESPONDENT, all_nodes, None),
        mobility(99, all_nodes, NAR, None),
        mobility(99, unspecified, NAR, None),
        mobility(99, NAR, NAR, None),
        // A home agent's and a correspondent's.
        mobility(5, CORRESPONDENT, NAR, None),
        mobility(1, CORRESPONDENT, NAR, None),
        {
            let mut damaged = mobility(99, CORRESPONDENT, NAR, None).to_vec();
            damaged[50] ^= 1;
            damaged.into()
        },
    ] {
        let mut simulation = Simulation::new();
        simulation.inject(Node::Nar, CORE, bytes.clone());
        assert_eq!(simulation.count("nar: -> bindingerror"), 0, "{bytes:?}");
        assert_eq!(simulation.nar.counters().malformed, 1);
    }
}

// Rows: GEN-12, SEC-07
#[test]
fn binding_errors_are_no_more_than_their_cause_may_be() {
    let mut simulation = nar_with(|config| config.limits.signalling_per_source = 3);
    for _ in 0..50 {
        let bytes = mobility(99, CORRESPONDENT, NAR, None);
        simulation.inject(Node::Nar, CORE, bytes);
    }
    assert_eq!(simulation.count("nar: -> bindingerror"), 3);
    assert_eq!(simulation.nar.counters().rate_limited, 47);
}
