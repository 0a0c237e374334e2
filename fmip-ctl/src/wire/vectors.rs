//! One packet of each kind, laid out octet by octet after the figures of RFC 5568, RFC 6275 and
//! RFC 8200, to be read and written exactly so. The checksums come from a separate program.

use super::*;

mod companions;

/// Lines of hexadecimal octets, each with what it is.
type Lines = &'static [(&'static str, &'static str)];

const MN: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x11]);
const AP2: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xa2]);
const AP3: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xa3]);
const PAR_LLA: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
const NAR_LLA: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x02]);

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn octets(lines: Lines) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|(hex, _)| hex.split_whitespace())
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect()
}

/// The packet is read from these octets, and written as them.
fn is_exactly(packet: Packet, lines: Lines) {
    let bytes = octets(lines);
    assert_eq!(Packet::decode(&bytes), Ok(packet.clone()));
    assert_eq!(packet.encode(), bytes, "{packet:?}");
}

fn icmpv6(source: &str, destination: &str, message: Message) -> Packet {
    Packet {
        source: address(source),
        destination: address(destination),
        hop_limit: 255,
        home_address: None,
        message,
    }
}

fn mobility(source: &str, destination: &str, message: Message) -> Packet {
    Packet {
        source: address(source),
        destination: address(destination),
        hop_limit: 64,
        home_address: None,
        message,
    }
}

// Rows: OPT-01, OPT-05, RTS-01
#[test]
fn rtsolpr_is_figure_4() {
    is_exactly(
        icmpv6(
            "fe80::11",
            "fe80::1",
            Message::RtSolPr(RtSolPr {
                identifier: 0x1234,
                source_lla: Some(MN),
                access_points: vec![AP2],
                unknown: vec![],
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            ("00 28 3a ff", "payload 40 octets, ICMPv6, hop limit 255"),
            ("fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 11", "source"),
            (
                "fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01",
                "destination",
            ),
            ("9a 00 76 4c", "type 154, code 0, checksum"),
            ("02 00 12 34", "subtype 2, reserved, identifier"),
            ("13 02 04", "link-layer address, 16 octets, of the source"),
            ("02 00 00 00 00 11 00 00 00 00 00 00 00", "it, and padding"),
            ("13 02 01", "link-layer address, 16 octets, of the new AP"),
            ("02 00 00 00 00 a2 00 00 00 00 00 00 00", "it, and padding"),
        ],
    );
}

// Rows: OPT-05, RTS-04, RTS-05
#[test]
fn rtsolpr_with_a_wildcard_asks_for_all_access_points() {
    is_exactly(
        icmpv6(
            "fe80::11",
            "ff02::2",
            Message::RtSolPr(RtSolPr {
                identifier: 1,
                source_lla: None,
                access_points: vec![],
                unknown: vec![],
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            ("00 10 3a ff", "payload 16 octets, ICMPv6, hop limit 255"),
            ("fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 11", "source"),
            (
                "ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 02",
                "all routers",
            ),
            ("9a 00 53 1c", "type 154, code 0, checksum"),
            ("02 00 00 01", "subtype 2, reserved, identifier"),
            ("13 01 00 00 00 00 00 00", "wildcard, 8 octets, padding"),
        ],
    );
}

// Rows: OPT-02, OPT-05, PRA-03, PRA-06
#[test]
fn prrtadv_is_figure_5() {
    is_exactly(
        icmpv6(
            "fe80::1",
            "fe80::11",
            Message::PrRtAdv(PrRtAdv {
                code: PrRtAdvCode::Partial,
                identifier: 0x1234,
                source_lla: Some(PAR_LLA),
                tuples: vec![
                    ApTuple {
                        access_point: AP2,
                        outcome: ApOutcome::Known,
                        router: Some(RouterInfo {
                            lla: NAR_LLA,
                            address: address("2001:db8:2::1"),
                            prefix: "2001:db8:2::/64".parse().unwrap(),
                        }),
                        new_coa: Some(address("2001:db8:2::11")),
                    },
                    ApTuple {
                        access_point: AP3,
                        outcome: ApOutcome::NoPrefix,
                        router: None,
                        new_coa: None,
                    },
                ],
                unknown: vec![],
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            ("00 90 3a ff", "payload 144 octets, ICMPv6, hop limit 255"),
            ("fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01", "source"),
            (
                "fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 11",
                "destination",
            ),
            ("9a 03 ea 8b", "type 154, code 3, checksum"),
            ("03 00 12 34", "subtype 3, reserved, identifier"),
            ("13 02 04", "link-layer address, 16 octets, of the source"),
            ("02 00 00 00 00 01 00 00 00 00 00 00 00", "it, and padding"),
            ("13 02 01", "link-layer address, 16 octets, of a known AP"),
            ("02 00 00 00 00 a2 00 00 00 00 00 00 00", "it, and padding"),
            ("13 02 03", "link-layer address, 16 octets, of the NAR"),
            ("02 00 00 00 00 02 00 00 00 00 00 00 00", "it, and padding"),
            (
                "11 03 03 40 00 00 00 00",
                "IP address, 24 octets, of the NAR, /64, reserved",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 01", "it"),
            (
                "11 03 04 40 00 00 00 00",
                "IP address, 24 octets, the NAR's prefix, /64, reserved",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 00", "it"),
            (
                "11 03 02 80 00 00 00 00",
                "IP address, 24 octets, new CoA, /128, reserved",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "it"),
            (
                "13 02 06",
                "link-layer address, 16 octets, of an AP without prefix information",
            ),
            ("02 00 00 00 00 a3 00 00 00 00 00 00 00", "it, and padding"),
        ],
    );
}

// Rows: UNA-02
#[test]
fn una_is_a_neighbor_advertisement_without_flags() {
    is_exactly(
        icmpv6(
            "2001:db8:2::11",
            "ff02::1",
            Message::NeighborAdvertisement(NeighborAdvertisement::unsolicited(
                address("2001:db8:2::11"),
                MN,
            )),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            ("00 20 3a ff", "payload 32 octets, ICMPv6, hop limit 255"),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "source"),
            (
                "ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01",
                "all nodes",
            ),
            ("88 00 18 f7", "type 136, code 0, checksum"),
            ("00 00 00 00", "R, S, O and reserved"),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "target"),
            (
                "02 01 02 00 00 00 00 11",
                "target link-layer address, 8 octets",
            ),
        ],
    );
}

// Rows: FBU-01, FBU-04, FBU-05, FBU-06, OPT-06, OPT-07, OPT-09
#[test]
fn fbu_is_figure_8_behind_a_home_address() {
    is_exactly(
        Packet {
            home_address: Some(address("2001:db8:1::11")),
            ..mobility(
                "2001:db8:1::11",
                "2001:db8:1::1",
                Message::FastBindingUpdate(FastBindingUpdate {
                    sequence: 0x0102,
                    ack: true,
                    home: true,
                    link_local: false,
                    key_management: false,
                    lifetime: 30,
                    alternate_coa: Some(address("2001:db8:2::11")),
                    mn_lla: Some(MN),
                    unknown: vec![],
                    authorization: Some(Authorization {
                        spi: 0x1000,
                        authenticator: Bytes::from_static(b"authenticate"),
                    }),
                }),
            )
        },
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            (
                "00 58 3c 40",
                "payload 88 octets, Destination Options, hop limit 64",
            ),
            ("20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 11", "source"),
            (
                "20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01",
                "destination",
            ),
            ("87 02", "Mobility Header follows, 24 octets"),
            ("01 02 00 00", "PadN"),
            ("c9 10", "home address, at 6"),
            ("20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 11", "it"),
            (
                "3b 07 08 00 a4 17",
                "no next header, 64 octets, FBU, reserved, checksum",
            ),
            ("01 02", "sequence"),
            ("c0 00 00 1e", "A and H, reserved; 30 seconds"),
            ("01 00", "PadN"),
            ("03 10", "alternate care-of address, at 14"),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "it"),
            ("07 07 02 02 00 00 00 00 11", "link-layer address of the MN"),
            ("01 03 00 00 00", "PadN"),
            ("15 10 00 00 10 00", "BADF, at 46; SPI"),
            ("61 75 74 68 65 6e 74 69 63 61 74 65", "authenticator"),
        ],
    );
}

/// The MN has moved: the source is its NCoA, and the checksum that of the home address (AMB-13).
// Rows: AMB-13
#[test]
fn reactive_fbu_has_the_checksum_of_the_home_address() {
    is_exactly(
        Packet {
            home_address: Some(address("2001:db8:1::11")),
            ..mobility(
                "2001:db8:2::11",
                "2001:db8:1::1",
                Message::FastBindingUpdate(FastBindingUpdate {
                    sequence: 1,
                    ack: true,
                    home: true,
                    link_local: false,
                    key_management: false,
                    lifetime: 0,
                    alternate_coa: None,
                    mn_lla: None,
                    unknown: vec![],
                    authorization: Some(Authorization {
                        spi: 0,
                        authenticator: Bytes::from_static(b"authenticate"),
                    }),
                }),
            )
        },
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            (
                "00 38 3c 40",
                "payload 56 octets, Destination Options, hop limit 64",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "source"),
            (
                "20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01",
                "destination",
            ),
            (
                "87 02 01 02 00 00 c9 10",
                "Mobility Header follows, PadN, home address",
            ),
            ("20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 11", "it"),
            (
                "3b 03 08 00 03 41",
                "no next header, 32 octets, FBU, reserved, checksum",
            ),
            ("00 01 c0 00 00 00", "sequence, A and H, 0 seconds"),
            ("01 00", "PadN"),
            ("15 10 00 00 00 00", "BADF, at 14; SPI"),
            ("61 75 74 68 65 6e 74 69 63 61 74 65", "authenticator"),
        ],
    );
}

// Rows: FBA-01, FBA-05, OPT-09
#[test]
fn fback_is_figure_9() {
    is_exactly(
        mobility(
            "2001:db8:1::1",
            "2001:db8:2::11",
            Message::FastBindingAck(FastBindingAck {
                status: FastBindingStatus::NcoaInvalid,
                key_management: true,
                sequence: 0x0102,
                lifetime: 30,
                alternate_coa: Some(address("2001:db8:2::12")),
                unknown: vec![],
                authorization: Some(Authorization {
                    spi: 0x1000,
                    authenticator: Bytes::from_static(b"authenticate"),
                }),
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            (
                "00 38 87 40",
                "payload 56 octets, Mobility Header, hop limit 64",
            ),
            ("20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01", "source"),
            (
                "20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11",
                "destination",
            ),
            (
                "3b 06 09 00 7d a5",
                "no next header, 56 octets, FBack, reserved, checksum",
            ),
            ("01 80", "status 1, K"),
            ("01 02 00 1e", "sequence, 30 seconds"),
            ("01 00", "PadN"),
            ("03 10", "alternate care-of address, at 14"),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 12", "it"),
            ("01 04 00 00 00 00", "PadN"),
            ("15 10 00 00 10 00", "BADF, at 38; SPI"),
            ("61 75 74 68 65 6e 74 69 63 61 74 65", "authenticator"),
        ],
    );
}

// Rows: AMB-01, GEN-01, HI-01, OPT-01, OPT-04, OPT-11
#[test]
fn hi_is_figure_6() {
    is_exactly(
        mobility(
            "2001:db8:1::1",
            "2001:db8:2::1",
            Message::HandoverInitiate(HandoverInitiate {
                sequence: 0xfffe,
                assigned_address: false,
                buffer: true,
                proxy: false,
                forward: false,
                code: HiCode::PcoaSource,
                mn_lla: Some(MN),
                pcoa: Some(address("2001:db8:1::11")),
                ncoa: Some(address("2001:db8:2::11")),
                unknown: vec![],
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            (
                "00 40 87 40",
                "payload 64 octets, Mobility Header, hop limit 64",
            ),
            ("20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01", "source"),
            (
                "20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 01",
                "destination",
            ),
            (
                "3b 07 0e 00 5b f4",
                "no next header, 64 octets, HI, reserved, checksum",
            ),
            ("ff fe", "sequence"),
            ("40 00", "U, reserved; code 0"),
            (
                "07 07 02 02 00 00 00 00 11",
                "link-layer address of the MN, at 10",
            ),
            ("00", "Pad1"),
            (
                "22 12 01 80",
                "IP address, at 20; old care-of address, /128",
            ),
            ("20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 11", "it"),
            ("01 02 00 00", "PadN"),
            (
                "22 12 02 80",
                "IP address, at 44; new care-of address, /128",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "it"),
        ],
    );
}

// Rows: GEN-01, HAK-01, OPT-04, OPT-11
#[test]
fn hack_is_figure_7() {
    is_exactly(
        mobility(
            "2001:db8:2::1",
            "2001:db8:1::1",
            Message::HandoverAck(HandoverAck {
                sequence: 0xfffe,
                code: HackCode::NcoaAssigned,
                ncoa: Some(address("2001:db8:2::12")),
                unknown: vec![],
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            (
                "00 20 87 40",
                "payload 32 octets, Mobility Header, hop limit 64",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 01", "source"),
            (
                "20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01",
                "destination",
            ),
            (
                "3b 03 0f 00 06 7e",
                "no next header, 32 octets, HAck, reserved, checksum",
            ),
            ("ff fe", "sequence"),
            ("00 02", "reserved; code 2"),
            ("01 00", "PadN"),
            (
                "22 12 02 80",
                "IP address, at 12; new care-of address, /128",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 12", "it"),
        ],
    );
}

#[test]
fn hack_without_options_is_16_octets() {
    is_exactly(
        mobility(
            "2001:db8:2::1",
            "2001:db8:1::1",
            Message::HandoverAck(HandoverAck {
                sequence: 7,
                code: HackCode::Prohibited,
                ncoa: None,
                unknown: vec![],
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            (
                "00 10 87 40",
                "payload 16 octets, Mobility Header, hop limit 64",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 01", "source"),
            (
                "20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01",
                "destination",
            ),
            (
                "3b 01 0f 00 58 64",
                "no next header, 16 octets, HAck, reserved, checksum",
            ),
            ("00 07 00 81", "sequence, reserved, code 129"),
            ("01 04 00 00 00 00", "PadN"),
        ],
    );
}
