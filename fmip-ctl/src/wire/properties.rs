//! What holds for every packet, and for every string of octets.

use proptest::{collection::vec, prelude::*};

use super::*;

mod packets;

use packets::{is_neighbor_discovery, packet};

/// Gives a packet whose octets were tampered with the checksum that they ask for, so that the
/// message behind it is looked at too.
fn mend(bytes: &mut [u8]) {
    let Ok((headers, rest)) = Headers::decode(bytes) else {
        return;
    };
    let (offset, message) = match headers.next_header {
        next_header::ICMPV6 => (icmpv6::CHECKSUM_OFFSET, rest),
        _ => match super::mobility_header::split(rest) {
            Ok((header, _)) => (super::mobility_header::CHECKSUM_OFFSET, header),
            Err(_) => return,
        },
    };
    if message.len() < offset + 2 {
        return;
    }
    let mut zeroed = message.to_vec();
    zeroed[offset..offset + 2].fill(0);
    let (source, destination) = (headers.checksum_source(), headers.destination);
    let value = checksum(source, destination, headers.next_header, &zeroed);
    let at = bytes.len() - rest.len() + offset;
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Type and body of an option: one that some message knows, or any other.
fn raw_option() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let known = prop::sample::select(vec![
        (1u8, 6usize),
        (2, 6),
        (3, 16),
        (3, 30),
        (7, 7),
        (17, 22),
        (19, 14),
        (20, 6),
        (20, 22),
        (20, 30),
        (21, 16),
        (34, 18),
    ])
    .prop_flat_map(|(kind, len)| (Just(kind), vec(any::<u8>(), len)));
    let any = (any::<u8>(), vec(any::<u8>(), 0..30));
    (prop_oneof![9 => known, 1 => any], 0..10u8, 0..130u8).prop_map(
        |((kind, mut body), code, prefix_length)| {
            // Option-Code and Prefix Length, where there is such a thing.
            for (octet, value) in body.iter_mut().zip([code, prefix_length]) {
                *octet = value;
            }
            (kind, body)
        },
    )
}

/// What was accepted is written as something that says the same, and is written so again.
fn accepted_is_stable(bytes: &[u8]) -> Result<(), TestCaseError> {
    let lenient = Leniency {
        address_option_17: true,
    };
    for packet in [Packet::decode(bytes), Packet::decode_with(bytes, lenient)]
        .into_iter()
        .flatten()
    {
        let written = packet.encode();
        let again = Packet::decode(&written);
        prop_assert_eq!(again.as_ref(), Ok(&packet));
        prop_assert_eq!(again.unwrap().encode(), written);
    }
    Ok(())
}

proptest! {
    #[test]
    fn packet_is_read_as_it_was_written(packet in packet()) {
        prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }

    #[test]
    fn every_strict_prefix_is_an_error(packet in packet()) {
        let bytes = packet.encode();
        for len in 0..bytes.len() {
            prop_assert!(
                matches!(Packet::decode(&bytes[..len]), Err(DecodeError::Truncated { .. })),
                "{} of {} octets", len, bytes.len()
            );
        }
    }

    /// As the one above, for a packet that was cut before the IPv6 header was made.
    // Rows: GEN-12
    #[test]
    fn mobility_header_shorter_than_it_says_is_an_error(packet in packet()) {
        let bytes = packet.encode();
        let (headers, rest) = Headers::decode(&bytes).unwrap();
        if headers.next_header == next_header::MOBILITY {
            for len in 0..rest.len() {
                let mut cut = bytes[..bytes.len() - rest.len() + len].to_vec();
                let payload_length = (cut.len() - 40) as u16;
                cut[4..6].copy_from_slice(&payload_length.to_be_bytes());
                mend(&mut cut);
                let is_truncated =
                    matches!(Packet::decode(&cut), Err(DecodeError::Truncated { .. }));
                prop_assert!(is_truncated, "{} of {} octets", len, rest.len());
            }
        }
    }

    // Rows: FBA-05, FBU-05, OPT-09
    #[test]
    fn mobility_header_is_a_multiple_of_8_octets_and_the_packet_s_end(packet in packet()) {
        let bytes = packet.encode();
        match (mobility_header(&bytes), &packet.message) {
            (None, Message::ParameterProblem(_)) => {}
            (None, message) if is_neighbor_discovery(message) => {}
            (Some(header), Message::FastNeighborAdvertisement(
                FastNeighborAdvertisement { fbu: Some(fbu), .. }
            )) => {
                prop_assert_eq!(header.len() % 8, 0);
                prop_assert!(bytes.ends_with(&[header, fbu].concat()));
            }
            (Some(header), message) => {
                prop_assert_eq!(header.len() % 8, 0);
                prop_assert!(bytes.ends_with(header));
                if let Message::FastBindingUpdate(FastBindingUpdate { authorization, .. })
                    | Message::FastBindingAck(FastBindingAck { authorization, .. }) = message
                    && let Some(Authorization { authenticator, .. }) = authorization
                {
                    prop_assert!(header.ends_with(authenticator));
                }
            }
            (None, message) => prop_assert!(false, "no Mobility Header for {}", message.name()),
        }
    }

    /// A 16-bit sum sees every error in a single bit.
    // Rows: GEN-12
    #[test]
    fn flipped_bit_in_the_message_is_an_error(packet in packet(), position: prop::sample::Index) {
        let mut bytes = packet.encode().to_vec();
        let rest = Headers::decode(&bytes).unwrap().1.len();
        // AMB-14: what follows a Mobility Header has a checksum of its own.
        let covered = mobility_header(&bytes).map_or(rest, <[u8]>::len);
        let bit = position.index(8 * covered);
        let at = bytes.len() - rest + bit / 8;
        bytes[at] ^= 1 << (bit % 8);
        prop_assert!(Packet::decode(&bytes).is_err());
    }

    #[test]
    fn tampered_packet_never_panics_and_what_passes_is_stable(
        packet in packet(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = packet.encode().to_vec();
        for (position, octet) in changes {
            let at = position.index(bytes.len());
            bytes[at] = octet;
        }
        accepted_is_stable(&bytes)?;
        mend(&mut bytes);
        accepted_is_stable(&bytes)?;
    }

    /// Options in any order and number, mostly of the right length, behind a fixed part without
    /// sense: what a foreign implementation might send.
    #[test]
    fn any_sequence_of_options_never_panics_and_what_passes_is_stable(
        kind in prop::sample::select(vec![(58u8, 154u8), (58, 133), (58, 134), (58, 135), (58, 136),
            (58, 4), (135, 7), (135, 8), (135, 9), (135, 10), (135, 14), (135, 15)]),
        mut message in vec(any::<u8>(), 24),
        options in vec(raw_option(), 0..6),
    ) {
        let (next_header, kind) = kind;
        let is_icmpv6 = next_header == next_header::ICMPV6;
        message[0] = if is_icmpv6 { kind } else { next_header::NONE };
        message[1] = 0;
        message[2] = kind;
        message[4] = 2 + message[4] % 2;
        message.truncate(match kind {
            4 | 10 | 133 | 154 => 8,
            134 => 16,
            7 | 135 | 136 => 24,
            8 | 9 => 12,
            _ => 10,
        });
        for (kind, body) in options {
            message.push(kind);
            if is_icmpv6 {
                let len = (body.len() + 2).next_multiple_of(8);
                message.push((len / 8) as u8);
                let end = message.len() + len - 2;
                message.extend(body);
                message.resize(end, 0);
            } else {
                message.push(body.len() as u8);
                message.extend(body);
            }
        }
        if !is_icmpv6 {
            message.resize(message.len().next_multiple_of(8), 0);
            message[1] = (message.len() / 8 - 1) as u8;
        }
        let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next_header, 255];
        bytes[4..6].copy_from_slice(&(message.len() as u16).to_be_bytes());
        // Link-local, as a router advertisement's must be.
        bytes.extend([0xfe, 0x80]);
        bytes.extend([0x20; 30]);
        bytes.extend(message);
        mend(&mut bytes);
        accepted_is_stable(&bytes)?;
    }

    #[test]
    fn random_octets_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Packet::decode(&bytes);
        let _ = mobility_header(&bytes);
    }
}
