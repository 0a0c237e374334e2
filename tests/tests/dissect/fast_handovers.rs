//! The messages of RFC 5568.

use fmip_ctl::wire::{
    ApOutcome, ApTuple, Authorization, FastBindingAck, FastBindingStatus, FastBindingUpdate,
    HandoverAck, HandoverInitiate, NeighborAdvertisement, PrRtAdv, PrRtAdvCode, RouterInfo,
    RtSolPr,
};

use super::*;

pub(super) fn rtsolpr(access_points: &[MacAddr]) -> Case {
    let packet = packet(
        MN_LINK_LOCAL,
        PAR_LINK_LOCAL,
        Message::RtSolPr(RtSolPr {
            identifier: 0x1234,
            source_lla: Some(MN),
            access_points: access_points.to_vec(),
            unknown: vec![],
        }),
    );
    let mut codes = vec![4];
    let mut addresses = vec![padded(MN)];
    if access_points.is_empty() {
        codes.push(0);
        // The wildcard is as short as an option can be; its padding passes for an address.
        addresses.push("00".repeat(5));
    }
    for access_point in access_points {
        codes.push(1);
        addresses.push(padded(*access_point));
    }
    let name = format!("RtSolPr for {} access points", access_points.len());
    Case::icmpv6(name, &packet, 154, 0)
        .expect("icmpv6.fmip6.subtype", 2)
        .expect("icmpv6.fmip6.identifier", 0x1234)
        .expect("icmpv6.opt.type", joined(vec![19; codes.len()]))
        .expect("icmpv6.opt.lla.option_code", joined(codes))
        .expect("icmpv6.opt.lla.bytes", joined(addresses))
}

fn prrtadv(code: PrRtAdvCode) -> Case {
    let packet = packet(
        PAR_LINK_LOCAL,
        MN_LINK_LOCAL,
        Message::PrRtAdv(PrRtAdv {
            code,
            identifier: 0x1234,
            source_lla: Some(PAR_LLA),
            tuples: vec![
                ApTuple {
                    access_point: AP2,
                    outcome: ApOutcome::Known,
                    router: Some(RouterInfo {
                        lla: NAR_LLA,
                        address: address(NAR),
                        prefix: "2001:db8:2::/64".parse().unwrap(),
                    }),
                    new_coa: Some(address(NCOA)),
                },
                ApTuple {
                    access_point: AP3,
                    outcome: ApOutcome::NoFastHandover,
                    router: None,
                    new_coa: None,
                },
            ],
            unknown: vec![],
        }),
    );
    let addresses = [PAR_LLA, AP2, NAR_LLA, AP3].map(padded);
    Case::icmpv6(format!("PrRtAdv {code:?}"), &packet, 154, code.value())
        .expect("icmpv6.fmip6.subtype", 3)
        .expect("icmpv6.fmip6.identifier", 0x1234)
        .expect("icmpv6.opt.type", "19,19,19,17,17,17,19")
        .expect("icmpv6.opt.length", "2,2,2,3,3,3,2")
        .expect("icmpv6.opt.lla.option_code", "4,1,3,7")
        .expect("icmpv6.opt.lla.bytes", joined(addresses))
        .expect("icmpv6.opt.ipa.option_code", "3,4,2")
        .expect("icmpv6.opt.ipa.prefix_len", "64,64,128")
        .expect(
            "icmpv6.opt.ipa.ipv6_address",
            joined([NAR, "2001:db8:2::", NCOA]),
        )
}

fn na(name: &str, destination: &str, na: NeighborAdvertisement) -> Case {
    let flags = [na.router, na.solicited, na.override_].map(u8::from);
    let packet = packet(NCOA, destination, Message::NeighborAdvertisement(na));
    Case::icmpv6(name, &packet, 136, 0)
        .expect("icmpv6.nd.na.flag.r", flags[0])
        .expect("icmpv6.nd.na.flag.s", flags[1])
        .expect("icmpv6.nd.na.flag.o", flags[2])
        .expect("icmpv6.nd.na.flag.rsv", 0)
        .expect("icmpv6.nd.na.target_address", NCOA)
        .expect("icmpv6.opt.type", 2)
        .expect("icmpv6.opt.linkaddr", MN)
}

fn authorization(octets: usize) -> Authorization {
    Authorization {
        spi: 0x1000,
        authenticator: vec![0xab; octets].into(),
    }
}

/// Adds what tshark says of a BADF option: of its authenticator the last two octets are missing
/// (KRN-05).
fn with_badf(case: Case, octets: usize) -> Case {
    case.expect("mip6.badff.spi", 0x1000)
        .expect("mip6.badff.auth", "ab".repeat(octets - 2))
}

/// An FBU before the move, and one after it, with the lengths of its options, padding included.
fn fbu(source: &str, lifetime: u16, mn_lla: bool, octets: usize, lengths: &str) -> Case {
    let is_predictive = source == PCOA;
    let packet = Packet {
        home_address: Some(address(PCOA)),
        ..packet(
            source,
            PAR,
            Message::FastBindingUpdate(FastBindingUpdate {
                sequence: 0xfffe,
                ack: true,
                home: true,
                link_local: is_predictive,
                key_management: !is_predictive,
                lifetime,
                alternate_coa: is_predictive.then(|| address(NCOA)),
                mn_lla: mn_lla.then_some(MN),
                unknown: vec![],
                authorization: Some(authorization(octets)),
            }),
        )
    };
    let name = format!("FBU from {source} for {lifetime} s, {octets} octets authenticate it");
    let case = Case::mobility(name, &packet, 8)
        .expect("mip6.fbu.seqnr", 0xfffe)
        .expect("mip6.fbu.a_flag", 1)
        .expect("mip6.fbu.h_flag", 1)
        .expect("mip6.fbu.l_flag", u8::from(is_predictive))
        .expect("mip6.fbu.k_flag", u8::from(!is_predictive))
        // The value as sent. The text that tshark makes of it multiplies by 4, as if it were a
        // Binding Update's (KRN-05, AMB-04).
        .expect("mip6.fbu.lifetime", lifetime)
        .expect("mip6.acoa.acoa", if is_predictive { NCOA } else { "" })
        .expect("mip6.mobility_opt.len", lengths);
    let case = if mn_lla {
        case.expect("mip6.lla", MN).expect("mip6.lla.optcode", 2)
    } else {
        case
    };
    with_badf(case, octets)
}

fn fback(status: FastBindingStatus, alternate_coa: Option<&str>) -> Case {
    let packet = packet(
        PAR,
        NCOA,
        Message::FastBindingAck(FastBindingAck {
            status,
            key_management: status.is_accepted(),
            sequence: 0xfffe,
            lifetime: 40,
            alternate_coa: alternate_coa.map(address),
            unknown: vec![],
            authorization: Some(authorization(12)),
        }),
    );
    let case = Case::mobility(format!("FBack {status:?}"), &packet, 9)
        .expect("mip6.fback.status", status.value())
        .expect("mip6.fback.k_flag", u8::from(status.is_accepted()))
        .expect("mip6.fback.seqnr", 0xfffe)
        .expect("mip6.fback.lifetime", 40)
        .expect("mip6.acoa.acoa", alternate_coa.unwrap_or_default())
        .expect(
            "mip6.mobility_opt.len",
            // Padding of 2, the address at 14, padding of 6, BADF at 38; or BADF at 14 at once.
            match alternate_coa {
                Some(_) => "0,16,4,16",
                None => "0,16",
            },
        );
    with_badf(case, 12)
}

pub(super) fn hi(assigned_address: bool, buffer: bool, code: HiCode) -> Case {
    let packet = packet(
        PAR,
        NAR,
        Message::HandoverInitiate(HandoverInitiate {
            sequence: 0xfffe,
            assigned_address,
            buffer,
            proxy: false,
            forward: false,
            code,
            mn_lla: Some(MN),
            pcoa: Some(address(PCOA)),
            ncoa: Some(address(NCOA)),
            unknown: vec![],
        }),
    );
    let name = format!("HI {code:?}, S {assigned_address}, U {buffer}");
    // Codes are bare numbers to tshark (KRN-05).
    Case::mobility(name, &packet, 14)
        .expect("mip6.hi.seqnr", 0xfffe)
        .expect("mip6.hi.s_flag", u8::from(assigned_address))
        .expect("mip6.hi.u_flag", u8::from(buffer))
        .expect("mip6.hi.code", code.value())
        .expect("mip6.lla", MN)
        .expect("mip6.lla.optcode", 2)
        .expect("mip6.mhipv6ap.opt_code", "1,2")
        .expect("mip6.mhipv6ap.len", "128,128")
        .expect("mip6.mhipv6ap.ipv6_address", joined([PCOA, NCOA]))
        // The MN's address at 10, a Pad1, the PCoA at 20, padding of 4, the NCoA at 44.
        .expect("mip6.mobility_opt.len", "7,18,2,18")
}

pub(super) fn hack(code: HackCode, ncoa: Option<&str>) -> Case {
    let packet = packet(
        NAR,
        PAR,
        Message::HandoverAck(HandoverAck {
            sequence: 0xfffe,
            code,
            ncoa: ncoa.map(address),
            unknown: vec![],
        }),
    );
    let case = Case::mobility(format!("HAck {code:?}"), &packet, 15)
        .expect("mip6.hack.seqnr", 0xfffe)
        .expect("mip6.hack.code", code.value())
        .expect("mip6.mhipv6ap.ipv6_address", ncoa.unwrap_or_default());
    match ncoa {
        // Padding of 2, the NCoA at 12.
        Some(_) => case
            .expect("mip6.mhipv6ap.opt_code", 2)
            .expect("mip6.mhipv6ap.len", 128)
            .expect("mip6.mobility_opt.len", "0,18"),
        None => case.expect("mip6.mobility_opt.len", 4),
    }
}

/// Every message, in its variants.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        rtsolpr(&[]),
        rtsolpr(&[AP2]),
        rtsolpr(&[AP2, AP3]),
        na(
            "UNA to all nodes",
            "ff02::1",
            NeighborAdvertisement::unsolicited(address(NCOA), MN),
        ),
        na(
            "UNA to the router",
            NAR,
            NeighborAdvertisement::unsolicited(address(NCOA), MN),
        ),
        na(
            "NA with every flag",
            NAR,
            NeighborAdvertisement {
                router: true,
                solicited: true,
                override_: true,
                ..NeighborAdvertisement::unsolicited(address(NCOA), MN)
            },
        ),
        // Padding of 2 before the address at 14, of 5 behind the MN's at 32; BADF at 46.
        fbu(PCOA, 30, true, 12, "0,16,7,3,16"),
        fbu(PCOA, 0, false, 12, "0,16,4,16"),
        fbu(PCOA, 65535, false, 16, "0,16,0,20"),
        fbu(NCOA, 30, false, 12, "0,16"),
        fbu(NCOA, 30, true, 32, "7,3,36"),
        fback(FastBindingStatus::Accepted, None),
        fback(FastBindingStatus::NcoaInvalid, Some(OTHER_NCOA)),
        fback(FastBindingStatus::Unspecified, None),
        fback(FastBindingStatus::Prohibited, None),
        fback(FastBindingStatus::Resources, None),
        fback(FastBindingStatus::BadIid, None),
        hi(false, true, HiCode::PcoaSource),
        hi(true, false, HiCode::PcoaSource),
        hi(true, true, HiCode::PcoaSource),
        hi(false, false, HiCode::OtherSource),
        hack(HackCode::NcoaValid, None),
        hack(HackCode::NcoaInUse, Some(OTHER_NCOA)),
        hack(HackCode::NcoaAssigned, Some(OTHER_NCOA)),
        hack(HackCode::UsePcoa, None),
        hack(HackCode::Unsolicited, None),
        hack(HackCode::Unspecified, None),
        hack(HackCode::Prohibited, None),
        hack(HackCode::Resources, None),
    ];
    // Code 5 is the only one that tshark has no word for; the number is right (KRN-05).
    cases.extend((0..=5).map(|code| prrtadv(code.into())));
    cases
}
