//! Push and pop of the outer header (RFC 2473, 6040, 6438).

use fmip_common::{binding::Binding, limits::TUNNEL_HOP_LIMIT};

use crate::{
    packet::{Packet, TUNNEL_HEADER},
    parse::{IPV6, IPV6_IN_IPV6, Ipv6},
};

const ECN: u32 = 0b11;
const NOT_ECT: u32 = 0b00;
const CONGESTION_EXPERIENCED: u32 = 0b11;

/// The outer header for a packet with this inner header.
///
/// Traffic class and ECN are the inner ones (RFC 6040 section 4.1, normal mode). The flow label is
/// the inner one too, or if there is none a number made of the addresses, so that a flow stays on
/// one of several equal paths (RFC 6438 section 2).
#[inline(always)]
pub(crate) fn outer_header(inner: &Ipv6, binding: &Binding) -> Ipv6 {
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
        source: binding.outer_source,
        destination: binding.outer_destination,
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

/// What popping does to the inner header.
pub(crate) enum Congestion {
    /// Nothing.
    Unchanged,
    /// The mark moves to the inner header, which is this one then.
    Marked(u32),
    /// The packet cannot carry the mark: it must be dropped (RFC 6040 section 4.2).
    Lost,
}

/// How the outer header's congestion mark meets the inner header (RFC 6040 section 4.2).
#[inline(always)]
pub(crate) fn congestion(outer: &Ipv6, inner: &Ipv6) -> Congestion {
    let ecn = |header: &Ipv6| u32::from_be(header.version_class_flow) >> 20 & ECN;
    if ecn(outer) != CONGESTION_EXPERIENCED || ecn(inner) == CONGESTION_EXPERIENCED {
        return Congestion::Unchanged;
    }
    if ecn(inner) == NOT_ECT {
        return Congestion::Lost;
    }
    let marked = u32::from_be(inner.version_class_flow) | CONGESTION_EXPERIENCED << 20;
    Congestion::Marked(marked.to_be())
}

/// Takes the outer header away. [`congestion`] has been asked before.
#[inline(always)]
pub(crate) fn pop(packet: &mut impl Packet, congestion: Congestion) -> Option<()> {
    if let Congestion::Marked(version_class_flow) = congestion {
        packet.write(IPV6 + TUNNEL_HEADER, version_class_flow)?;
    }
    packet.shrink().then_some(())
}
