//! The messages that come from other RFCs than 5568.

use fmip_ctl::wire::{
    BindingError, FastBindingUpdate, FastNeighborAdvertisement, Naack, NaackStatus,
    NeighborSolicitation, ParameterProblem, PrefixInformation, RouterAdvertisement,
    RouterSolicitation, solicited_node,
};

use super::*;

fn rs(source: &str, source_lla: Option<MacAddr>) -> Case {
    let packet = packet(
        source,
        "ff02::2",
        Message::RouterSolicitation(RouterSolicitation {
            source_lla,
            unknown: vec![],
        }),
    );
    let lla = source_lla.map(|lla| lla.to_string()).unwrap_or_default();
    Case::icmpv6(format!("RS from {source}"), &packet, 133, 0)
        .expect("icmpv6.reserved", "00000000")
        .expect(
            "icmpv6.opt.type",
            if source_lla.is_some() { "1" } else { "" },
        )
        .expect("icmpv6.opt.linkaddr", lla)
}

/// A router advertisement with two prefixes and, perhaps, a NAACK.
fn ra(flags: [bool; 2], naack: Option<Naack>) -> Case {
    let [managed, other] = flags;
    let prefix = |text: &str, on_link, autonomous| PrefixInformation {
        prefix: text.parse().unwrap(),
        on_link,
        autonomous,
        valid: 2_592_000,
        preferred: 604_800,
    };
    let packet = packet(
        NAR_LINK_LOCAL,
        NCOA,
        Message::RouterAdvertisement(RouterAdvertisement {
            hop_limit: 64,
            managed,
            other,
            router_lifetime: 1800,
            reachable_ms: 30_000,
            retrans_ms: 1000,
            source_lla: Some(NAR_LLA),
            prefixes: vec![
                prefix("2001:db8:2::/64", true, false),
                prefix("2001:db8:3::/48", false, true),
            ],
            naack,
            unknown: vec![],
        }),
    );
    let name = format!("RA, M {managed}, O {other}, {naack:?}");
    let case = Case::icmpv6(name, &packet, 134, 0)
        .expect("icmpv6.nd.ra.cur_hop_limit", 64)
        .expect("icmpv6.nd.ra.flag.m", u8::from(managed))
        .expect("icmpv6.nd.ra.flag.o", u8::from(other))
        .expect("icmpv6.nd.ra.flag.h", 0)
        .expect("icmpv6.nd.ra.flag.prf", 0)
        .expect("icmpv6.nd.ra.flag.rsv", 0)
        .expect("icmpv6.nd.ra.router_lifetime", 1800)
        .expect("icmpv6.nd.ra.reachable_time", 30_000)
        .expect("icmpv6.nd.ra.retrans_timer", 1000)
        .expect("icmpv6.opt.linkaddr", NAR_LLA)
        .expect("icmpv6.opt.prefix", "2001:db8:2::,2001:db8:3::")
        .expect("icmpv6.opt.prefix.length", "64,48")
        .expect("icmpv6.opt.prefix.flag.l", "1,0")
        .expect("icmpv6.opt.prefix.flag.a", "0,1")
        .expect("icmpv6.opt.prefix.flag.r", "0,0")
        .expect("icmpv6.opt.prefix.flag.reserved", "0,0")
        .expect("icmpv6.opt.prefix.valid_lifetime", "2592000,2592000")
        .expect("icmpv6.opt.prefix.preferred_lifetime", "604800,604800");
    let Some(naack) = naack else {
        return case
            .expect("icmpv6.opt.type", "1,3,3")
            .expect("icmpv6.opt.length", "1,4,4");
    };
    let case = case
        .expect("icmpv6.opt.type", "1,3,3,20")
        .expect("icmpv6.opt.naack.option_code", 0)
        .expect("icmpv6.opt.naack.status", naack.status.value());
    match naack.ncoa {
        None => case.expect("icmpv6.opt.length", "1,4,4,1"),
        // tshark overlooks the Reserved field, looks for the address where that begins, and does
        // not know what to do with the last four octets (KRN-05).
        Some(ncoa) => {
            let shifted = Ipv6Addr::from_bits(ncoa.to_bits() >> 32);
            case.expect("icmpv6.opt.length", "1,4,4,3")
                .expect("icmpv6.opt.naack.supplied_ncoa", shifted)
                .expect("_ws.expert.message", "Unknown Data (not interpreted)")
                .expect("_ws.malformed", "_ws.malformed")
        }
    }
}

fn ns(source: &str, destination: Ipv6Addr, ns: NeighborSolicitation) -> Case {
    let (target, lla) = (ns.target, ns.source_lla);
    let packet = Packet {
        destination,
        ..packet(source, NCOA, Message::NeighborSolicitation(ns))
    };
    Case::icmpv6(format!("NS from {source}"), &packet, 135, 0)
        .expect("icmpv6.reserved", "00000000")
        .expect("icmpv6.nd.ns.target_address", target)
        .expect(
            "icmpv6.opt.linkaddr",
            lla.map(|lla| lla.to_string()).unwrap_or_default(),
        )
}

fn fna(fbu: Option<&Packet>) -> Case {
    let packet = packet(
        NCOA,
        NAR,
        Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
            mn_lla: Some(MN),
            unknown: vec![],
            fbu: fbu.map(Packet::encode),
        }),
    );
    let case = Case::mobility(format!("FNA, FBU {}", fbu.is_some()), &packet, 10)
        .expect("mip6.lla", MN)
        .expect("mip6.lla.optcode", 2)
        // The MN's address at 8, padding of 7.
        .expect("mip6.mobility_opt.len", "7,5");
    let Some(fbu) = fbu else {
        return case;
    };
    // Both packets are dissected, the FBU with its own checksum.
    let inner = Case::mobility("FBU", fbu, 8);
    let mut both = case.expect("mip6.proto", 41);
    for (field, value) in inner.expected {
        let outer = both.expected.iter().find(|(named, _)| *named == field);
        let value = match outer {
            Some((_, outer)) if !value.is_empty() => format!("{outer},{value}"),
            _ => value,
        };
        both = both.expect(field, value);
    }
    both.expect("mip6.fbu.seqnr", 7)
        .expect("mip6.mobility_opt.len", "7,5,2")
}

fn binding_error(status: u8) -> Case {
    let packet = packet(
        NAR,
        PAR,
        Message::BindingError(BindingError {
            status,
            home_address: address(PCOA),
        }),
    );
    Case::mobility(format!("Binding Error {status}"), &packet, 7)
        .expect("mip6.be.status", status)
        .expect("mip6.be.haddr", PCOA)
}

/// From beyond the link, about the Next Header of a packet that is dissected in its turn.
fn parameter_problem(invoking: &Case) -> Case {
    let packet = Packet {
        hop_limit: 62,
        ..packet(
            NAR,
            PAR,
            Message::ParameterProblem(ParameterProblem {
                code: 1,
                pointer: 6,
                invoking: invoking.bytes.clone().into(),
            }),
        )
    };
    Case::icmpv6("Parameter Problem", &packet, 4, 1)
        .expect("ipv6.version", "6,6")
        .expect("ipv6.plen", format_args!("{},64", invoking.bytes.len() + 8))
        .expect("ipv6.hlim", "62,64")
        .expect("ipv6.nxt", "58,135")
        .expect("ipv6.src", joined([NAR, PAR]))
        .expect("ipv6.dst", joined([PAR, NAR]))
        .expect("icmpv6.pointer", 6)
        .expect("mip6.mhtype", 14)
        .expect("mip6.hi.seqnr", 0xfffe)
}

/// Every message, in its variants.
pub(super) fn cases() -> Vec<Case> {
    let naack = |status: NaackStatus, ncoa: Option<&str>| {
        let ncoa = ncoa.map(address);
        ra([true, false], Some(Naack { status, ncoa }))
    };
    let fbu = Packet {
        home_address: Some(address(PCOA)),
        ..packet(
            NCOA,
            PAR,
            Message::FastBindingUpdate(FastBindingUpdate {
                sequence: 7,
                ack: true,
                home: true,
                link_local: false,
                key_management: false,
                lifetime: 30,
                alternate_coa: None,
                mn_lla: None,
                unknown: vec![],
                authorization: None,
            }),
        )
    };
    vec![
        rs(MN_LINK_LOCAL, Some(MN)),
        rs("::", None),
        ra([false, true], None),
        naack(NaackStatus::ConfigureAddress, None),
        naack(NaackStatus::UseSupplied, Some(OTHER_NCOA)),
        naack(NaackStatus::UseRouterAddress, None),
        naack(NaackStatus::UsePcoa, None),
        naack(NaackStatus::LinkAddressUnrecognized, None),
        ns(
            "::",
            solicited_node(address(NCOA)),
            NeighborSolicitation::probe(address(NCOA)),
        ),
        ns(
            NAR,
            address(NCOA),
            NeighborSolicitation {
                source_lla: Some(NAR_LLA),
                ..NeighborSolicitation::probe(address(NCOA))
            },
        ),
        fna(None),
        fna(Some(&fbu)),
        binding_error(BindingError::UNKNOWN_BINDING),
        binding_error(BindingError::UNRECOGNIZED_TYPE),
        parameter_problem(&hi(false, true, HiCode::PcoaSource)),
    ]
}
