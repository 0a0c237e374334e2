//! What the kernel's messages say.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
};

use anyhow::{Context, Result, anyhow};
use netlink_packet_route::{
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
};
use rustix::io::Errno;

use super::MIN_MTU;
use crate::{config::Interface, wire::MacAddr};

pub(super) fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

/// What is to be removed and does not exist needs no removal.
pub(super) fn gone_is_done(result: Result<(), rtnetlink::Error>) -> io::Result<()> {
    gone_is_done_io(result.map_err(io_error))
}

/// As [`gone_is_done`].
pub(super) fn gone_is_done_io(result: io::Result<()>) -> io::Result<()> {
    result.or_else(
        |error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::SRCH | Errno::NODEV | Errno::ADDRNOTAVAIL) => Ok(()),
            _ => Err(error),
        },
    )
}

pub(super) fn interface(
    name: &str,
    links: &[LinkMessage],
    addresses: &[AddressMessage],
) -> Result<Interface> {
    let link = links
        .iter()
        .find(|link| link_name(link) == Some(name))
        .ok_or_else(|| {
            let existing: Vec<&str> = links.iter().filter_map(link_name).collect();
            anyhow!(
                "there is no interface {name} (there are: {})",
                existing.join(", ")
            )
        })?;
    let link_address = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => <[u8; 6]>::try_from(octets.as_slice()).ok(),
            _ => None,
        })
        .filter(|octets| *octets != [0; 6])
        .with_context(|| {
            format!("interface {name} has no link-layer address of 6 octets, as Ethernet has")
        })?;
    let mtu = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
    let own = || {
        addresses.iter().filter(|message| {
            let failed = AddressHeaderFlags::Dadfailed;
            message.header.index == link.header.index && !message.header.flags.contains(failed)
        })
    };
    Ok(Interface {
        name: name.to_owned(),
        index: link.header.index,
        link_address: MacAddr(link_address),
        mtu: mtu.unwrap_or(MIN_MTU),
        up: link.header.flags.contains(LinkFlags::Up),
        link_local: own()
            .filter_map(ipv6_of)
            .find(|address| address.is_unicast_link_local()),
        addresses: own()
            .filter(|message| message.header.scope == AddressScope::Universe)
            .filter_map(|message| Some((ipv6_of(message)?, message.header.prefix_len)))
            .collect(),
    })
}

pub(in crate::io) fn link_name(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

pub(super) fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    })
}

pub(super) fn has_xdp(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => xdp.iter().any(
            |xdp| matches!(xdp, LinkXdp::Attached(attached) if *attached != XdpAttached::None),
        ),
        _ => false,
    })
}

pub(in crate::io) fn ipv6_of(message: &AddressMessage) -> Option<Ipv6Addr> {
    let mut peer = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(IpAddr::V6(address)) => return Some(*address),
            // Ours, unless there is a `Local` as well: then it is the other end's.
            AddressAttribute::Address(IpAddr::V6(address)) => peer = Some(*address),
            _ => {}
        }
    }
    peer
}

pub(in crate::io) fn neighbor_address(message: &NeighbourMessage) -> Option<Ipv6Addr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(*address),
            _ => None,
        })
}

pub(in crate::io) fn neighbor_link_address(message: &NeighbourMessage) -> Option<MacAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(octets) => {
                <[u8; 6]>::try_from(octets.as_slice()).ok().map(MacAddr)
            }
            _ => None,
        })
}
