//! Ethernet, VLAN and IPv6 headers: from octets to [`Headers`].

use core::mem::offset_of;

use fmip_common::{
    binding::{Address, Tag, Vlan},
    reason::Reason,
};
use network_types::{
    eth::{EthHdr, EtherType},
    ip::IpProto,
};

use crate::{maps::VLANS, packet::Packet};

/// Where the second IPv6 header of a tunnelled packet starts, counted from the first one.
pub(crate) const INNER: usize = IPV6_HEADER;
/// Octets of an IPv6 header.
pub(crate) const IPV6_HEADER: usize = size_of::<Ipv6>();

pub(crate) const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
pub(crate) const IPV6_IN_IPV6: u8 = IpProto::Ipv6 as u8;
pub(crate) const TCP: u8 = IpProto::Tcp as u8;
pub(crate) const UDP: u8 = IpProto::Udp as u8;
pub(crate) const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
/// Routing header (RFC 8200 section 4.4).
const ROUTING: u8 = 43;
pub(crate) const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;
/// Mobility Header (RFC 6275 section 6.1).
pub(crate) const MOBILITY: u8 = IpProto::MobilityHeader as u8;

/// First and last of the ICMPv6 types of neighbor discovery (RFC 4861 section 4).
const ROUTER_SOLICITATION: u8 = 133;
pub(crate) const REDIRECT: u8 = 137;

/// An IPv6 header (RFC 8200 section 3) as it stands in the packet. Not network-types' own, which is
/// all octets: an address would be read in sixteen loads.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20); network order.
    pub(crate) version_class_flow: u32,
    /// Octets behind this header; network order.
    pub(crate) payload_length: u16,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Address,
    pub(crate) destination: Address,
}
const _: () = assert!(size_of::<Ipv6>() == 40);

impl Ipv6 {
    /// Octets of the packet, from this header on.
    #[inline(always)]
    pub(crate) fn total_length(&self) -> u32 {
        IPV6_HEADER as u32 + u32::from(u16::from_be(self.payload_length))
    }

    #[inline(always)]
    fn is_version_6(&self) -> bool {
        u32::from_be(self.version_class_flow) >> 28 == 6
    }
}

/// What stands at the head of a packet.
pub(crate) enum Headers {
    /// IPv6, long enough for what its header says; on a VLAN of this node, if it is tagged.
    Ipv6(Ipv6),
    /// Something else, for this reason.
    Other(Reason),
}

/// Reads the headers, and tells the packet where the IPv6 header is.
#[inline(always)]
pub(crate) fn parse<P: Packet>(packet: &mut P) -> Headers {
    const ETHERTYPE: usize = offset_of!(EthHdr, ether_type);
    const TAG: usize = size_of::<Tag>();
    const IPV6: u16 = EtherType::Ipv6 as u16;
    if packet.has_tag_beside() {
        return Headers::Other(Reason::OtherVlan);
    }
    match packet.read::<u16>(ETHERTYPE) {
        Some(IPV6) => {}
        Some(kind) if P::SHOWS_TAGS && is_tag(kind) => {
            let (Some(outer), Some(kind)) = (
                packet.read::<Tag>(ETHERTYPE),
                packet.read::<u16>(ETHERTYPE + TAG),
            ) else {
                return Headers::Other(Reason::Malformed);
            };
            let mut tags = [outer.vlan(), Tag::NONE];
            let mut network = ETHERTYPE + TAG + 2;
            let mut kind = Some(kind);
            if kind.is_some_and(is_tag) {
                let Some(inner) = packet.read::<Tag>(ETHERTYPE + TAG) else {
                    return Headers::Other(Reason::Malformed);
                };
                tags[1] = inner.vlan();
                network += TAG;
                kind = packet.read::<u16>(ETHERTYPE + 2 * TAG);
            }
            if kind != Some(IPV6) {
                return Headers::Other(Reason::NotIpv6);
            }
            let port = packet.interface();
            // SAFETY: a map element: it may change, but it stays an integer.
            match unsafe { VLANS.get(Vlan { port, tags }) } {
                Some(&interface) => packet.set_place(interface, network),
                None => return Headers::Other(Reason::OtherVlan),
            }
        }
        _ => return Headers::Other(Reason::NotIpv6),
    }
    match ipv6_at(packet, 0) {
        Some(header) => Headers::Ipv6(header),
        None => Headers::Other(Reason::Malformed),
    }
}

/// Whether this is the Ethernet type of a VLAN tag: IEEE 802.1Q's, or 802.1ad's.
#[inline(always)]
fn is_tag(kind: u16) -> bool {
    matches!(u16::from_be(kind), 0x8100 | 0x88a8)
}

/// The IPv6 header at `offset` behind the start of the first one, if the packet holds what it announces.
#[inline(always)]
pub(crate) fn ipv6_at(packet: &mut impl Packet, offset: usize) -> Option<Ipv6> {
    // In five words and taken apart here: read as the structure, the compiler copies the addresses
    // octet by octet.
    let [first, a, b, c, d] = packet.read_ip::<[u64; 5]>(offset)?;
    let first = u64::from_be(first);
    let header = Ipv6 {
        version_class_flow: ((first >> 32) as u32).to_be(),
        payload_length: ((first >> 16) as u16).to_be(),
        next_header: (first >> 8) as u8,
        hop_limit: first as u8,
        source: Address([a, b]),
        destination: Address([c, d]),
    };
    // A payload length of 0 is a jumbogram (RFC 2675) or nothing at all: neither can be tunnelled.
    if !header.is_version_6()
        || header.payload_length == 0
        || !packet.has((packet.network() + offset) as u64 + u64::from(header.total_length()))
    {
        return None;
    }
    Some(header)
}

/// Whether the packet whose header stands at `offset` behind the first one is, or may be, neighbor discovery:
/// ICMPv6 types 133 to 137 that no router has forwarded (RFC 4861 sections 4 and 7.1).
#[inline(always)]
pub(crate) fn is_neighbor_discovery(packet: &impl Packet, header: &Ipv6, offset: usize) -> bool {
    header.hop_limit == 255
        && matches!(
            icmpv6_type(packet, header, offset),
            Icmpv6::Type(ROUTER_SOLICITATION..=REDIRECT) | Icmpv6::Unknown
        )
}

/// What ICMPv6 message a packet carries.
pub(crate) enum Icmpv6 {
    /// One of this type.
    Type(u8),
    /// None.
    None,
    /// Nobody can say: it stands behind more headers than are looked behind here, while a kernel looks behind
    /// all.
    Unknown,
}

/// The ICMPv6 message that the packet carries whose header stands at `offset` behind the first one: also
/// behind the extension headers that a receiver skips, or the first of them would be a disguise. (Fragments
/// are not put together: neighbor discovery in fragments is refused by all, RFC 6980.)
#[inline(always)]
pub(crate) fn icmpv6_type(packet: &impl Packet, header: &Ipv6, offset: usize) -> Icmpv6 {
    const SKIPPED: u32 = 3;
    let mut next_header = header.next_header;
    let mut at = (packet.network() + offset + IPV6_HEADER) as u32;
    for _ in 0..SKIPPED {
        if !is_skipped(next_header) {
            break;
        }
        let (Some(next), Some(units)) = (packet.octet(at), packet.octet(at + 1)) else {
            return Icmpv6::None;
        };
        next_header = next;
        // RFC 8200 section 4.3: in units of 8 octets, without the first 8.
        at += (u32::from(units) + 1) * 8;
    }
    if is_skipped(next_header) {
        return Icmpv6::Unknown;
    }
    match packet.octet(at) {
        Some(kind) if next_header == ICMPV6 => Icmpv6::Type(kind),
        _ => Icmpv6::None,
    }
}

#[inline(always)]
fn is_skipped(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS)
}

/// Offset of the hop limit in an IPv6 header.
pub(crate) const HOP_LIMIT: usize = offset_of!(Ipv6, hop_limit);
