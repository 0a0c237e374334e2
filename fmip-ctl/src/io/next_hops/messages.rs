//! What the kernel's messages and answers say about ways.

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv6Addr},
    ops::RangeInclusive,
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkFlags, LinkMessage},
    neighbour::{
        NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol,
        RouteType,
    },
    rule::{RuleAttribute, RuleFlags, RuleMessage},
};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};

use super::super::netlink::{neighbor_address, neighbor_link_address};
use crate::{proto::InterfaceIndex, wire::MacAddr};

/// The smallest MTU that IPv6 allows (RFC 8200 section 5).
const MIN_MTU: u32 = 1_280;

/// A node on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hop {
    pub(super) interface: InterfaceIndex,
    pub(super) address: Ipv6Addr,
}

impl Hop {
    pub(super) fn first_of(interface: InterfaceIndex) -> Self {
        Self {
            interface,
            address: Ipv6Addr::UNSPECIFIED,
        }
    }

    pub(super) fn last_of(interface: InterfaceIndex) -> Self {
        Self {
            interface,
            address: Ipv6Addr::from_bits(u128::MAX),
        }
    }
}

/// Where packets for a destination go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) hop: Hop,
    /// If the route has one of its own.
    pub(super) mtu: Option<u32>,
}

/// What a neighbor entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As long as the kernel would send to it.
    pub(super) link_address: Option<MacAddr>,
    pub(super) keeper: Keeper,
    /// Whether it bears the mark of this module.
    pub(super) marked: bool,
    /// Whether it bears anybody's.
    pub(super) claimed: bool,
    /// Whether nobody looks for it now, or ever got an answer.
    pub(super) idle: bool,
}

/// Who sees to it that a neighbor entry stays true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// Nobody: it is forgotten if it is not used.
    Nobody,
    /// The kernel (NTF_EXT_MANAGED).
    Kernel,
    /// Whoever made it: it is permanent, or learned by a routing daemon.
    Maker,
}

/// What of an interface is part of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// It is up and has a carrier.
    pub(super) usable: bool,
    /// If it has one as Ethernet has.
    pub(super) link_address: Option<MacAddr>,
    /// Of IPv6.
    pub(super) mtu: u32,
}

/// What tells a route for some sources alone from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceRoute {
    pub(super) destination: Prefix,
    source: Prefix,
    table: u32,
    metric: u32,
}

impl SourceRoute {
    /// The least of those with this destination.
    pub(super) fn first_of(destination: Prefix) -> Self {
        Self {
            destination,
            source: Prefix::ALL,
            table: 0,
            metric: 0,
        }
    }
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    address: Ipv6Addr,
    length: u8,
}

impl Prefix {
    pub(super) const ALL: Self = Self {
        address: Ipv6Addr::UNSPECIFIED,
        length: 0,
    };

    /// The bits of `address` beyond `length`, which is 128 at most, do not matter.
    pub(super) fn new(address: Ipv6Addr, length: u8) -> Self {
        let length = length.min(128);
        Self {
            address: Ipv6Addr::from_bits(address.to_bits() & !Self::host_bits(length)),
            length,
        }
    }

    fn host_bits(length: u8) -> u128 {
        u128::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    pub(super) fn range(self) -> RangeInclusive<Ipv6Addr> {
        let last = self.address.to_bits() | Self::host_bits(self.length);
        self.address..=Ipv6Addr::from_bits(last)
    }

    pub(super) fn contains(self, address: Ipv6Addr) -> bool {
        self.range().contains(&address)
    }
}

/// What a message of the kernel puts in question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The routes of all destinations with a prefix.
    Routes(Prefix),
    /// The same, by a route for some sources alone, which is there now, or is not.
    SourceRoute(SourceRoute, bool),
    /// A neighbor, which is now so, or is not.
    Neighbor(Hop, Option<Entry>),
    /// An interface, which is now so; `None`: it is not said how.
    Interface(InterfaceIndex, Option<Interface>),
    /// The rules that choose a routing table.
    Rules,
    /// Everything, for messages were lost.
    Overrun,
}

/// What a message puts in question, if anything.
pub(super) fn notice(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<Notice> {
    let message = match &message.payload {
        NetlinkPayload::Overrun(_) => return Some(Notice::Overrun),
        NetlinkPayload::InnerMessage(message) => message,
        _ => return None,
    };
    match message {
        RouteNetlinkMessage::NewRoute(route) => routes(route, true),
        RouteNetlinkMessage::DelRoute(route) => routes(route, false),
        RouteNetlinkMessage::NewNeighbour(message) => {
            Some(Notice::Neighbor(hop(message)?, Some(entry(message))))
        }
        RouteNetlinkMessage::DelNeighbour(message) => Some(Notice::Neighbor(hop(message)?, None)),
        RouteNetlinkMessage::NewLink(link) => {
            // Those of bridges and of IPv6 say only a part.
            let whole = link.header.interface_family == AddressFamily::Unspec;
            let interface = whole.then(|| interface(link));
            Some(Notice::Interface(link.header.index, interface))
        }
        RouteNetlinkMessage::DelLink(link) => Some(Notice::Interface(link.header.index, None)),
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
            Some(Notice::Routes(prefix_of(address)?))
        }
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Notice::Rules),
        _ => None,
    }
}

fn routes(message: &RouteMessage, there: bool) -> Option<Notice> {
    Some(match source_route(message) {
        Some(route) => Notice::SourceRoute(route, there),
        None => Notice::Routes(destination_of(message)?),
    })
}

/// What tells this route from others, if it is for some sources alone.
pub(super) fn source_route(message: &RouteMessage) -> Option<SourceRoute> {
    if message.header.source_prefix_length == 0 {
        return None;
    }
    let mut route = SourceRoute {
        table: message.header.table.into(),
        ..SourceRoute::first_of(destination_of(message)?)
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Source(RouteAddress::Inet6(address)) => {
                route.source = Prefix::new(*address, message.header.source_prefix_length);
            }
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            _ => {}
        }
    }
    Some(route)
}

fn destination_of(route: &RouteMessage) -> Option<Prefix> {
    if route.header.address_family != AddressFamily::Inet6 {
        return None;
    }
    let address = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(*address),
            _ => None,
        });
    Some(Prefix::new(
        address.unwrap_or(Ipv6Addr::UNSPECIFIED),
        route.header.destination_prefix_length,
    ))
}

fn prefix_of(message: &AddressMessage) -> Option<Prefix> {
    let mut prefix = None;
    for attribute in &message.attributes {
        match attribute {
            // Where there is one, the prefix is that of the other end.
            AddressAttribute::Address(IpAddr::V6(address)) => prefix = Some(*address),
            AddressAttribute::Local(IpAddr::V6(address)) => {
                prefix.get_or_insert(*address);
            }
            _ => {}
        }
    }
    Some(Prefix::new(prefix?, message.header.prefix_len))
}

fn hop(message: &NeighbourMessage) -> Option<Hop> {
    if message.header.family != AddressFamily::Inet6
        || message.header.flags.contains(NeighbourFlags::Proxy)
    {
        return None;
    }
    Some(Hop {
        interface: message.header.ifindex,
        address: neighbor_address(message)?,
    })
}

/// The hop that an entry of a list is for, if it was left marked as ours and managed.
pub(super) fn left_behind(message: &NeighbourMessage) -> Option<Hop> {
    let entry = entry(message);
    (entry.marked && entry.keeper == Keeper::Kernel)
        .then(|| hop(message))
        .flatten()
}

pub(super) fn entry(message: &NeighbourMessage) -> Entry {
    let state = message.header.state;
    let valid = matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp
    );
    let mut managed = false;
    let mut protocol = RouteProtocol::Unspec;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::ExtFlags(flags) => {
                managed = flags.contains(NeighbourExtFlags::Managed);
            }
            NeighbourAttribute::Protocol(number) => protocol = *number,
            _ => {}
        }
    }
    let keeper = if matches!(state, NeighbourState::Permanent | NeighbourState::Noarp)
        || message.header.flags.contains(NeighbourFlags::ExtLearned)
    {
        Keeper::Maker
    } else if managed {
        Keeper::Kernel
    } else {
        Keeper::Nobody
    };
    Entry {
        link_address: neighbor_link_address(message).filter(|address| valid && is_set(*address)),
        keeper,
        marked: protocol == RouteProtocol::Other(super::MARK),
        claimed: protocol != RouteProtocol::Unspec,
        idle: matches!(
            state,
            NeighbourState::None | NeighbourState::Failed | NeighbourState::Stale
        ),
    }
}

fn is_set(address: MacAddr) -> bool {
    address.0 != [0; 6]
}

pub(super) fn interface(link: &LinkMessage) -> Interface {
    let mut mtu = None;
    let mut mtu6 = None;
    let mut link_address = None;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(octets) => mtu = Some(*octets),
            LinkAttribute::Address(octets) => {
                link_address = <[u8; 6]>::try_from(octets.as_slice()).ok().map(MacAddr);
            }
            LinkAttribute::AfSpecUnspec(families) => {
                // A router advertisement or the operator may have made it less.
                mtu6 = families.iter().find_map(|family| match family {
                    AfSpecUnspec::Inet6(attributes) => {
                        attributes.iter().find_map(|attribute| match attribute {
                            AfSpecInet6::DevConf(switches) => u32::try_from(switches.mtu6).ok(),
                            _ => None,
                        })
                    }
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let running = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    Interface {
        usable: link.header.flags.contains(running),
        link_address: link_address.filter(|address| is_set(*address)),
        mtu: [mtu, mtu6.filter(|octets| *octets >= MIN_MTU)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(MIN_MTU),
    }
}

/// Where a route leads, as the kernel has it in its table (RTM_F_FIB_MATCH), for packets to
/// `destination`; `None` if there is no single node on an Ethernet link that all of them go to.
pub(super) fn route(message: &RouteMessage, destination: Ipv6Addr) -> Option<Route> {
    let header = &message.header;
    if header.kind != RouteType::Unicast
        || header.source_prefix_length != 0
        || header
            .flags
            .intersects(RouteFlags::Dead | RouteFlags::Linkdown)
    {
        return None;
    }
    let mut interface = None;
    let mut gateway = None;
    let mut mtu = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => gateway = Some(*address),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(octets) if *octets > 0 => Some(*octets),
                    _ => None,
                });
            }
            // Several hops, one by another protocol, or a header in front of the packet.
            RouteAttribute::MultiPath(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::EncapType(_)
            | RouteAttribute::Encap(_) => return None,
            _ => {}
        }
    }
    Some(Route {
        hop: Hop {
            interface: interface?,
            address: gateway.unwrap_or(destination),
        },
        mtu,
    })
}

/// The destinations for which a rule looks at more of a packet than where it goes; `None` if it
/// looks at nothing else.
pub(super) fn selective(rule: &RuleMessage) -> Option<Prefix> {
    let mut destination = Prefix::ALL;
    let mut looks = rule.header.src_len != 0 || rule.header.tos != 0;
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Destination(IpAddr::V6(address)) => {
                destination = Prefix::new(*address, rule.header.dst_len);
            }
            // What is done with the packet, not which one it is.
            RuleAttribute::Table(_)
            | RuleAttribute::Priority(_)
            | RuleAttribute::Protocol(_)
            | RuleAttribute::Goto(_)
            | RuleAttribute::Realm(_)
            | RuleAttribute::SuppressIfGroup(_)
            | RuleAttribute::SuppressPrefixLen(_)
            | RuleAttribute::L3MDev(false) => {}
            // And whatever a newer kernel looks at.
            _ => looks = true,
        }
    }
    // "not to ..." is about all others, and about these if it looks at something else as well.
    let inverted = rule.header.flags.contains(RuleFlags::Invert);
    looks.then_some(if inverted { Prefix::ALL } else { destination })
}

/// Whether a destination can have a way at all: it is no address of one link alone, which would be
/// another node on every interface.
pub(super) fn routable(destination: Ipv6Addr) -> bool {
    !(destination.is_unspecified()
        || destination.is_loopback()
        || destination.is_multicast()
        || destination.is_unicast_link_local())
}
