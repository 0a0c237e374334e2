//! The messages that come from other RFCs than 5568: neighbor discovery with the NAACK option, the
//! FNA, and the two that tell of trouble.

use super::*;

// Rows: GEN-11
#[test]
fn router_solicitation_is_that_of_rfc_4861_section_4_1() {
    is_exactly(
        icmpv6(
            "fe80::11",
            "ff02::2",
            Message::RouterSolicitation(RouterSolicitation {
                source_lla: Some(MN),
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
            ("85 00 7a 0c", "type 133, code 0, checksum"),
            ("00 00 00 00", "reserved"),
            (
                "01 01 02 00 00 00 00 11",
                "source link-layer address, 8 octets",
            ),
        ],
    );
}

// Rows: AMB-05, NAK-04, OPT-10
#[test]
fn router_advertisement_with_a_naack_is_figure_16() {
    is_exactly(
        icmpv6(
            "fe80::2",
            "2001:db8:2::11",
            Message::RouterAdvertisement(RouterAdvertisement {
                hop_limit: 64,
                managed: true,
                other: false,
                router_lifetime: 1800,
                reachable_ms: 30_000,
                retrans_ms: 1000,
                source_lla: Some(NAR_LLA),
                prefixes: vec![PrefixInformation {
                    prefix: "2001:db8:2::/64".parse().unwrap(),
                    on_link: true,
                    autonomous: true,
                    valid: 2_592_000,
                    preferred: 604_800,
                }],
                naack: Some(Naack {
                    status: NaackStatus::UseSupplied,
                    ncoa: Some(address("2001:db8:2::12")),
                }),
                unknown: vec![],
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            ("00 50 3a ff", "payload 80 octets, ICMPv6, hop limit 255"),
            ("fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 02", "source"),
            (
                "20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11",
                "destination",
            ),
            ("86 00 0e 80", "type 134, code 0, checksum"),
            ("40 80 07 08", "hop limit 64; M; 1800 seconds"),
            ("00 00 75 30", "30 000 milliseconds"),
            ("00 00 03 e8", "1000 milliseconds"),
            (
                "01 01 02 00 00 00 00 02",
                "source link-layer address, 8 octets",
            ),
            ("03 04 40 c0", "prefix information, 32 octets, /64, L and A"),
            ("00 27 8d 00 00 09 3a 80", "valid 30 days, preferred 7 days"),
            ("00 00 00 00", "reserved"),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 00", "prefix"),
            (
                "14 03 00 02 00 00 00 00",
                "NAACK, 24 octets, status 2, reserved",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 12", "NCoA"),
        ],
    );
}

#[test]
fn duplicate_address_probe_is_that_of_rfc_4862_section_5_4_2() {
    is_exactly(
        icmpv6(
            "::",
            "ff02::1:ff00:11",
            Message::NeighborSolicitation(NeighborSolicitation::probe(address("2001:db8:2::11"))),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            ("00 18 3a ff", "payload 24 octets, ICMPv6, hop limit 255"),
            (
                "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
                "unspecified source",
            ),
            (
                "ff 02 00 00 00 00 00 00 00 00 00 01 ff 00 00 11",
                "solicited-node address",
            ),
            ("87 00 4c cb", "type 135, code 0, checksum"),
            ("00 00 00 00", "reserved"),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "target"),
        ],
    );
}

/// The FNA's checksum covers its Mobility Header alone; the FBU behind has its own.
// Rows: AMB-14, LEG-03
#[test]
fn fna_brings_a_whole_fbu_along() {
    let packet = mobility(
        "2001:db8:2::11",
        "2001:db8:2::1",
        Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
            mn_lla: Some(MN),
            unknown: vec![],
            fbu: Some(octets(FBU).into()),
        }),
    );
    is_exactly(packet.clone(), FNA);

    let Message::FastNeighborAdvertisement(FastNeighborAdvertisement { fbu: Some(fbu), .. }) =
        packet.message
    else {
        panic!("just made so")
    };
    let inner = Packet::decode(&fbu).unwrap();
    assert_eq!(inner.home_address, Some(address("2001:db8:1::11")));
    assert!(matches!(inner.message, Message::FastBindingUpdate(_)));

    // An FBU that was damaged on its way is not the FNA's concern.
    let mut bytes = octets(FNA);
    *bytes.last_mut().unwrap() ^= 1;
    assert!(Packet::decode(&bytes).is_ok());
}

const FNA: Lines = &[
    ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
    (
        "00 78 87 40",
        "payload 120 octets, Mobility Header, hop limit 64",
    ),
    ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "source"),
    (
        "20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 01",
        "destination",
    ),
    (
        "29 02 0a 00 51 cc",
        "IPv6 follows, 24 octets, FNA, reserved, checksum",
    ),
    ("00 00", "reserved"),
    (
        "07 07 02 02 00 00 00 00 11",
        "link-layer address of the MN, at 8",
    ),
    ("01 05 00 00 00 00 00", "PadN"),
    ("60 00 00 00 00 38 3c 40", "payload 56 octets"),
    ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 11", "source"),
    (
        "20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01",
        "destination",
    ),
    ("87 02 01 02 00 00 c9 10", "home address"),
    ("20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 11", "it"),
    (
        "3b 03 08 00 f3 22",
        "no next header, 32 octets, FBU, reserved, checksum",
    ),
    ("00 01 c0 00 00 1e", "sequence, A and H, 30 seconds"),
    ("01 00", "PadN"),
    ("15 10 00 00 10 00", "BADF, at 14; SPI"),
    ("61 75 74 68 65 6e 74 69 63 61 74 65", "authenticator"),
];

/// The FBU in [`FNA`].
const FBU: Lines = FNA.split_at(8).1;

#[test]
fn fna_without_an_fbu_ends_with_its_header() {
    let packet = mobility(
        "2001:db8:2::11",
        "2001:db8:2::1",
        Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
            mn_lla: Some(MN),
            unknown: vec![],
            fbu: None,
        }),
    );
    let bytes = packet.encode();
    assert_eq!(bytes.len(), 64);
    assert_eq!(bytes[40], 59);
    assert_eq!(Packet::decode(&bytes), Ok(packet));
}

// Rows: GEN-12
#[test]
fn binding_error_is_that_of_rfc_6275_section_6_1_9() {
    is_exactly(
        mobility(
            "2001:db8:2::1",
            "2001:db8:1::1",
            Message::BindingError(BindingError {
                status: BindingError::UNRECOGNIZED_TYPE,
                home_address: Ipv6Addr::UNSPECIFIED,
            }),
        ),
        &[
            ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
            (
                "00 18 87 40",
                "payload 24 octets, Mobility Header, hop limit 64",
            ),
            ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 01", "source"),
            (
                "20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01",
                "destination",
            ),
            (
                "3b 02 07 00 5f e7",
                "no next header, 24 octets, Binding Error, reserved, checksum",
            ),
            ("02 00", "status 2, reserved"),
            (
                "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
                "no home address",
            ),
        ],
    );
}

/// From a router that does not know the Mobility Header at all, and is more than one hop away.
#[test]
fn parameter_problem_is_that_of_rfc_4443_section_3_4() {
    let invoking: Lines = &[
        ("60 00 00 00 00 10 87 40", "a HAck"),
        ("20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01", "source"),
        (
            "20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 01",
            "destination",
        ),
        ("3b 01 0f 00 58 64 00 07 00 81 01 04 00 00 00 00", "it"),
    ];
    let packet = Packet {
        hop_limit: 62,
        ..icmpv6(
            "2001:db8:2::1",
            "2001:db8:1::1",
            Message::ParameterProblem(ParameterProblem {
                code: 1,
                pointer: 6,
                invoking: octets(invoking).into(),
            }),
        )
    };
    let header: Lines = &[
        ("60 00 00 00", "version 6, traffic class 0, flow label 0"),
        ("00 40 3a 3e", "payload 64 octets, ICMPv6, hop limit 62"),
        ("20 01 0d b8 00 02 00 00 00 00 00 00 00 00 00 01", "source"),
        (
            "20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 01",
            "destination",
        ),
        ("04 01 b9 4d", "type 4, code 1, checksum"),
        ("00 00 00 06", "octet 6, the Next Header"),
    ];
    let bytes = [octets(header), octets(invoking)].concat();
    assert_eq!(Packet::decode(&bytes), Ok(packet.clone()));
    assert_eq!(packet.encode(), bytes);
}
