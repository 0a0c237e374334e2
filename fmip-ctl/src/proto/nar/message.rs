//! What a new access router says: to the PAR, to the link, to a mobile node.

use std::net::Ipv6Addr;

use bytes::Bytes;

use crate::wire::{
    HackCode, HandoverAck, Message, Naack, NeighborSolicitation, Packet, RouterAdvertisement,
    solicited_node,
};

use super::super::{AccessLink, HOP_LIMIT};

/// AdvDefaultLifetime (RFC 4861 section 6.2.1), in seconds.
const ROUTER_LIFETIME: u16 = 1800;

/// The answer to an HI: addresses swapped, sequence copied (HAK-01).
pub(in super::super) fn hack(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    sequence: u16,
    code: HackCode,
    ncoa: Option<Ipv6Addr>,
) -> Bytes {
    let packet = Packet {
        source,
        destination,
        hop_limit: HOP_LIMIT,
        home_address: None,
        message: Message::HandoverAck(HandoverAck {
            sequence,
            code,
            ncoa,
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}

/// The question whether anybody has `target` (RFC 4862 section 5.4.2).
pub(in super::super) fn probe(target: Ipv6Addr) -> Bytes {
    let packet = Packet {
        source: Ipv6Addr::UNSPECIFIED,
        destination: solicited_node(target),
        hop_limit: 255,
        home_address: None,
        message: Message::NeighborSolicitation(NeighborSolicitation {
            target,
            source_lla: None,
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}

/// The answer to the UNA of `destination` (RFC 5568 section 6.4.6; NAK-03).
///
/// It says of the link what is true of any link with a NAR on it, and nothing else: whoever comes
/// to it has this router for a default router, and a lifetime of 0 would say that it is none. The
/// values that an advertisement can leave open (RFC 4861 section 4.2) are left open, and prefixes
/// are left to the link's own advertisements, whose lifetimes are not known here.
pub(in super::super) fn naack(link: &AccessLink, destination: Ipv6Addr, naack: Naack) -> Bytes {
    let packet = Packet {
        source: link.link_local,
        destination,
        hop_limit: 255,
        home_address: None,
        message: Message::RouterAdvertisement(RouterAdvertisement {
            hop_limit: 0,
            managed: false,
            other: false,
            router_lifetime: ROUTER_LIFETIME,
            reachable_ms: 0,
            retrans_ms: 0,
            source_lla: Some(link.lla),
            prefixes: Vec::new(),
            naack: Some(naack),
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}
