//! Push and pop of the outer header (RFC 2473, 6040, 6438).

use core::mem::offset_of;

use fmip_common::{
    binding::{Address, Egress},
    limits::TUNNEL_HOP_LIMIT,
};

use crate::{
    packet::Packet,
    parse::{IPV6_HEADER, IPV6_IN_IPV6, Ipv6},
};

const ECN: u32 = 0b11;
const NOT_ECT: u32 = 0b00;
const ECT_1: u32 = 0b01;
const ECT_0: u32 = 0b10;
const CONGESTION_EXPERIENCED: u32 = 0b11;

/// Tunnels that a packet may be in when it comes to be put into one more. No handover needs so many: a
/// node that moves again before its first tunnel has ended makes two. What is in more goes in circles, from
/// router to router, and every turn would add a header and a fresh hop limit (RFC 2473 section 4.1).
pub(crate) const NESTING: usize = 4;

/// Whether the packet is in so many tunnels that it must go into no other.
#[inline(always)]
pub(crate) fn is_nested(packet: &impl Packet, header: &Ipv6) -> bool {
    const NEXT_HEADER: usize = offset_of!(Ipv6, next_header);
    if header.next_header != IPV6_IN_IPV6 {
        return false;
    }
    (1..NESTING).all(|level| {
        packet.octet((packet.network() + level * IPV6_HEADER + NEXT_HEADER) as u32)
            == Some(IPV6_IN_IPV6)
    })
}

/// The outer header for a packet with this inner header.
///
/// Traffic class and ECN are the inner ones (RFC 6040 section 4.1, normal mode). The flow label is
/// the inner one too, or if there is none a number made of the addresses, so that a flow stays on
/// one of several equal paths (RFC 6438 section 2).
#[inline(always)]
pub(crate) fn outer_header(inner: &Ipv6, egress: &Egress) -> Ipv6 {
    outer_header_between(inner, &egress.outer_source, &egress.outer_destination)
}

/// The same, from one of the tunnel's ends to the other.
#[inline(always)]
pub(crate) fn outer_header_between(inner: &Ipv6, from: &Address, to: &Address) -> Ipv6 {
    let mut version_class_flow = u32::from_be(inner.version_class_flow);
    if version_class_flow & 0xf_ffff == 0 {
        let [a, b] = inner.source.0;
        let [c, d] = inner.destination.0;
        let mixed = (a ^ b.rotate_left(13) ^ c.rotate_left(29) ^ d.rotate_left(43))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        version_class_flow |= (mixed >> 44) as u32;
    }
    Ipv6 {
        version_class_flow: version_class_flow.to_be(),
        payload_length: (inner.total_length() as u16).to_be(),
        next_header: IPV6_IN_IPV6,
        hop_limit: TUNNEL_HOP_LIMIT,
        source: *from,
        destination: *to,
    }
}

/// How the outer header's congestion mark meets the inner header (RFC 6040 section 4.2, figure 4): the
/// inner header's first word as it leaves the tunnel, or `None` if the packet cannot carry the mark and must
/// be dropped.
#[inline(always)]
pub(crate) fn congestion(outer: &Ipv6, inner: &Ipv6) -> Option<u32> {
    let ecn = |header: &Ipv6| u32::from_be(header.version_class_flow) >> 20 & ECN;
    let marked = match (ecn(inner), ecn(outer)) {
        (NOT_ECT, CONGESTION_EXPERIENCED) => return None,
        (ECT_0, ECT_1) => ECT_1,
        (ECT_0 | ECT_1, CONGESTION_EXPERIENCED) => CONGESTION_EXPERIENCED,
        (mark, _) => mark,
    };
    let cleared = u32::from_be(inner.version_class_flow) & !(ECN << 20);
    Some((cleared | marked << 20).to_be())
}
