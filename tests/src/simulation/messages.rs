//! Messages that the world itself sends: those of kernels and of attackers.

use std::net::Ipv6Addr;

use bytes::Bytes;
use fmip_ctl::{
    proto::auth::{self, Addresses},
    wire::{
        MacAddr, Message, NeighborAdvertisement, Packet, PrefixInformation, RouterAdvertisement,
    },
};

use super::plan::{
    key, mobile_of_address, own_address, prefix, router_link_local, router_lla, spi,
};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What the kernel of a node says to a probe of its address (RFC 4862 section 5.4.4).
pub(super) fn defence(target: Ipv6Addr, lla: MacAddr) -> Packet {
    Packet {
        source: target,
        destination: ALL_NODES,
        hop_limit: 255,
        home_address: None,
        message: Message::NeighborAdvertisement(NeighborAdvertisement {
            override_: true,
            ..NeighborAdvertisement::unsolicited(target, lla)
        }),
    }
}

/// What a router says to a mobile node that solicits it.
pub(super) fn router_advertisement(router: usize, mobile: usize) -> Packet {
    Packet {
        source: router_link_local(router),
        destination: own_address(mobile, router),
        hop_limit: 255,
        home_address: None,
        message: Message::RouterAdvertisement(RouterAdvertisement {
            hop_limit: 64,
            managed: false,
            other: false,
            router_lifetime: 1800,
            reachable_ms: 0,
            retrans_ms: 0,
            source_lla: Some(router_lla(router)),
            prefixes: vec![PrefixInformation {
                prefix: prefix(router),
                on_link: true,
                autonomous: true,
                valid: 86_400,
                preferred: 14_400,
            }],
            naack: None,
            unknown: Vec::new(),
        }),
    }
}

/// The FBU in `packet` as another mobile node would sign it, with the key that it has at the same
/// router; none if `mobile` is who may sign it.
pub(super) fn forged(packet: &Packet, mobile: usize) -> Option<Bytes> {
    let victim = mobile_of_address(packet.home_address?)?;
    let Message::FastBindingUpdate(fbu) = &packet.message else {
        return None;
    };
    if victim == mobile {
        return None;
    }
    let mut forged = packet.clone();
    let care_of = fbu.alternate_coa.unwrap_or(packet.source);
    if let Message::FastBindingUpdate(fbu) = &mut forged.message {
        fbu.sequence = fbu.sequence.wrapping_add(100);
        fbu.authorization = None;
    }
    let par = packet.destination;
    let router = usize::from(par.segments()[2]).checked_sub(1)?;
    let addresses = Addresses { care_of, par };
    Some(auth::sign(
        forged,
        spi(victim),
        &key(mobile, router),
        addresses,
    ))
}
