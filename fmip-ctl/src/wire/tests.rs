//! What a whole packet must be beside its message: headers, checksum, addresses.

use super::*;

const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x11);
const DESTINATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

fn hack() -> Packet {
    Packet {
        source: SOURCE,
        destination: DESTINATION,
        hop_limit: 64,
        home_address: None,
        message: Message::HandoverAck(HandoverAck {
            sequence: 1,
            code: HackCode::NcoaValid,
            ncoa: None,
            unknown: vec![],
        }),
    }
}

fn una() -> Packet {
    let una = NeighborAdvertisement::unsolicited(SOURCE, MacAddr([2, 0, 0, 0, 0, 7]));
    Packet {
        hop_limit: 255,
        message: Message::NeighborAdvertisement(una),
        ..hack()
    }
}

/// Reads `packet` with one octet changed and the checksum set right again.
fn with_octet(packet: &Packet, offset: usize, value: u8) -> Result<Packet, DecodeError> {
    let mut bytes = packet.encode().to_vec();
    bytes[offset] = value;
    Packet::decode(&mended(bytes))
}

/// Sets the checksum of a packet without extension headers right.
fn mended(mut bytes: Vec<u8>) -> Vec<u8> {
    let next_header = bytes[6];
    let at = 40 + if next_header == 58 { 2 } else { 4 };
    bytes[at..at + 2].fill(0);
    let value = checksum(SOURCE, DESTINATION, next_header, &bytes[40..]);
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    bytes
}

#[test]
fn neighbor_discovery_from_beyond_the_link_is_refused() {
    for hop_limit in [0, 64, 254] {
        let packet = Packet { hop_limit, ..una() };
        assert_eq!(
            Packet::decode(&packet.encode()),
            Err(DecodeError::HopLimit(hop_limit))
        );
    }
}

// Rows: GEN-12
#[test]
fn wrong_checksum_is_told_with_the_right_one() {
    for (packet, offset) in [(una(), 42), (hack(), 44)] {
        let mut bytes = packet.encode().to_vec();
        let right = u16::from_be_bytes([bytes[offset], bytes[offset + 1]]);
        bytes[offset] ^= 0x40;
        assert_eq!(
            Packet::decode(&bytes),
            Err(DecodeError::Checksum {
                received: right ^ 0x4000,
                computed: right
            })
        );
    }
}

// Rows: AMB-13
#[test]
fn home_address_takes_the_source_s_place_in_the_checksum() {
    let mut packet = hack();
    let checksum = |packet: &Packet| {
        let bytes = packet.encode();
        let header = mobility_header(&bytes).unwrap();
        [header[4], header[5]]
    };
    let plain = checksum(&packet);
    packet.home_address = Some(SOURCE);
    assert_eq!(checksum(&packet), plain);
    packet.source = Ipv6Addr::LOCALHOST;
    assert_eq!(checksum(&packet), plain);
    packet.home_address = None;
    assert_ne!(checksum(&packet), plain);
}

// Rows: GEN-01
#[test]
fn messages_that_are_not_ours_are_told_by_their_type() {
    assert_eq!(
        with_octet(&hack(), 42, 5),
        Err(DecodeError::MobilityType(5))
    );
    assert_eq!(
        with_octet(&una(), 40, 128),
        Err(DecodeError::Icmpv6Type(128))
    );
    // GEN-01: the HI of RFC 5268.
    let mut bytes = una().encode().to_vec();
    (bytes[40], bytes[44]) = (154, 4);
    assert_eq!(Packet::decode(&mended(bytes)), Err(DecodeError::Subtype(4)));
    let mut bytes = una().encode().to_vec();
    bytes[6] = 17;
    assert_eq!(Packet::decode(&bytes), Err(DecodeError::NextHeader(17)));
}

// Rows: GEN-12
#[test]
fn mobility_header_with_a_payload_is_refused() {
    assert_eq!(
        with_octet(&hack(), 40, 41),
        Err(DecodeError::PayloadProto(41))
    );
}

// Rows: LEG-03
#[test]
fn only_an_fna_may_be_followed_by_a_packet() {
    let fna = |fbu| Packet {
        message: Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
            mn_lla: None,
            unknown: vec![],
            fbu,
        }),
        ..hack()
    };
    let with_fbu = fna(Some(hack().encode()));
    assert_eq!(Packet::decode(&with_fbu.encode()), Ok(with_fbu.clone()));
    // What follows without being announced is none of its.
    let mut bytes = with_fbu.encode().to_vec();
    bytes[40] = 59;
    let header = mobility_header(&bytes).unwrap().to_vec();
    let mut zeroed = header.clone();
    zeroed[4..6].fill(0);
    let value = checksum(SOURCE, DESTINATION, 135, &zeroed);
    bytes[44..46].copy_from_slice(&value.to_be_bytes());
    assert_eq!(Packet::decode(&bytes), Ok(fna(None)));
    assert_eq!(
        with_octet(&fna(None), 40, 4),
        Err(DecodeError::PayloadProto(4))
    );
}

/// RFC 4861 sections 6.1.1, 6.1.2 and 7.1.1.
#[test]
fn neighbor_discovery_from_an_impossible_address_is_refused() {
    let lla = Some(MacAddr([2, 0, 0, 0, 0, 7]));
    let packet = |source, destination, message| Packet {
        source,
        destination,
        hop_limit: 255,
        home_address: None,
        message,
    };
    let read = |packet: Packet| Packet::decode(&packet.encode()).map(drop);
    let nobody = Ipv6Addr::UNSPECIFIED;

    let advertisement = Message::RouterAdvertisement(RouterAdvertisement {
        hop_limit: 64,
        managed: false,
        other: false,
        router_lifetime: 0,
        reachable_ms: 0,
        retrans_ms: 0,
        source_lla: None,
        prefixes: vec![],
        naack: None,
        unknown: vec![],
    });
    for address in [SOURCE, nobody] {
        assert_eq!(
            read(packet(address, DESTINATION, advertisement.clone())),
            Err(DecodeError::NotLinkLocal {
                message: "router advertisement",
                address
            })
        );
    }

    let solicitation = |source_lla| {
        Message::RouterSolicitation(RouterSolicitation {
            source_lla,
            unknown: vec![],
        })
    };
    let error = DecodeError::NobodysLinkLayerAddress("router solicitation");
    assert_eq!(
        read(packet(nobody, DESTINATION, solicitation(lla))),
        Err(error)
    );
    assert_eq!(
        read(packet(nobody, DESTINATION, solicitation(None))),
        Ok(())
    );

    let probe = NeighborSolicitation::probe(DESTINATION);
    let named = NeighborSolicitation {
        source_lla: lla,
        ..probe.clone()
    };
    let group = solicited_node(DESTINATION);
    for (source, destination, message, expected) in [
        (nobody, group, &probe, Ok(())),
        (
            nobody,
            DESTINATION,
            &probe,
            Err(DecodeError::ProbeDestination(DESTINATION)),
        ),
        (
            nobody,
            group,
            &named,
            Err(DecodeError::NobodysLinkLayerAddress(
                "neighbor solicitation",
            )),
        ),
        (SOURCE, DESTINATION, &named, Ok(())),
    ] {
        let message = Message::NeighborSolicitation(message.clone());
        assert_eq!(read(packet(source, destination, message)), expected);
    }
}

// Rows: GEN-11
#[test]
fn reserved_octet_of_the_mobility_header_is_ignored() {
    assert_eq!(with_octet(&hack(), 43, 0xff), Ok(hack()));
}

// Rows: GEN-12
#[test]
fn header_len_too_short_for_its_message_is_refused() {
    // A HAck that says it is 8 octets long: its own data would begin at the end.
    let mut bytes = hack().encode()[..48].to_vec();
    bytes[5] = 8;
    bytes[41] = 0;
    assert!(matches!(
        Packet::decode(&mended(bytes)),
        Err(DecodeError::Truncated { what: "HAck", .. })
    ));
}

#[test]
fn octets_behind_the_mobility_header_are_ignored() {
    let whole = hack().encode();
    let mut bytes = whole.to_vec();
    bytes.extend([1, 2, 3]);
    let behind_the_packet = bytes.clone();
    bytes[5] += 3;
    for bytes in [behind_the_packet, bytes] {
        assert_eq!(Packet::decode(&bytes), Ok(hack()));
        assert_eq!(mobility_header(&bytes), Some(&whole[40..]));
    }
}

#[test]
fn addresses_of_a_packet_are_read_whatever_it_says() {
    let mut packet = hack();
    packet.home_address = Some(Ipv6Addr::LOCALHOST);
    let mut bytes = packet.encode().to_vec();
    let expected = Addresses {
        source: SOURCE,
        destination: DESTINATION,
        home_address: packet.home_address,
    };
    assert_eq!(addresses(&bytes), Some(expected));
    // Behind the extension header: a type that nobody knows, and a wrong checksum with it.
    bytes[66] = 99;
    assert!(Packet::decode(&bytes).is_err());
    assert_eq!(addresses(&bytes), Some(expected));
    assert_eq!(addresses(&bytes[..39]), None);
}

#[test]
fn mobility_header_is_found_behind_a_home_address_and_nowhere_else() {
    let packet = Packet {
        home_address: Some(SOURCE),
        ..hack()
    };
    let bytes = packet.encode();
    assert_eq!(mobility_header(&bytes), Some(&bytes[64..]));
    assert_eq!(mobility_header(&bytes[..bytes.len() - 1]), None);
    assert_eq!(mobility_header(&una().encode()), None);
    assert_eq!(mobility_header(&[]), None);
}
