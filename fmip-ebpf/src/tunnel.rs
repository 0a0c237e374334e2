//! Push and pop of the outer header (RFC 2473, 6040, 6438).

use fmip_common::{binding::Egress, limits::TUNNEL_HOP_LIMIT};

use crate::{
    packet::{Packet, TUNNEL_HEADER},
    parse::{IPV6, IPV6_IN_IPV6, Ipv6},
};

const ECN: u32 = 0b11;
const NOT_ECT: u32 = 0b00;
const ECT_1: u32 = 0b01;
const ECT_0: u32 = 0b10;
const CONGESTION_EXPERIENCED: u32 = 0b11;

/// The outer header for a packet with this inner header.
///
/// Traffic class and ECN are the inner ones (RFC 6040 section 4.1, normal mode). The flow label is
/// the inner one too, or if there is none a number made of the addresses, so that a flow stays on
/// one of several equal paths (RFC 6438 section 2).
#[inline(always)]
pub(crate) fn outer_header(inner: &Ipv6, egress: &Egress) -> Ipv6 {
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
        source: egress.outer_source,
        destination: egress.outer_destination,
    }
}

/// Puts an outer header before the packet's IPv6 header.
#[inline(always)]
pub(crate) fn push(packet: &mut impl Packet, outer: Ipv6) -> Option<()> {
    if !packet.grow() {
        return None;
    }
    packet.write(IPV6, outer)
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

/// Takes the outer header away, and gives the inner one the first word that [`congestion`] found.
#[inline(always)]
pub(crate) fn pop(packet: &mut impl Packet, version_class_flow: u32) -> Option<()> {
    packet.write(IPV6 + TUNNEL_HEADER, version_class_flow)?;
    packet.shrink().then_some(())
}
