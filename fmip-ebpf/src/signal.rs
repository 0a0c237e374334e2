//! Signalling for the controller, which the kernel would drop (KRN-01) or does not know.

use core::mem::offset_of;

use aya_ebpf::helpers::{bpf_ringbuf_discard, bpf_ringbuf_submit};
use fmip_common::{event::Signal, limits::SIGNAL_BYTES, reason::Reason};

use crate::{
    Outcome,
    maps::{LOCAL, SIGNALS},
    packet::{Packet, bounded, now},
    parse::{DESTINATION_OPTIONS, HOP_BY_HOP, ICMPV6, IPV6_HEADER, Ipv6, MOBILITY},
};

/// ICMPv6 Parameter Problem (RFC 4443 section 3.4): a router that does not know the Mobility Header
/// answers with one (GEN-13).
const PARAMETER_PROBLEM: u8 = 4;
const ICMPV6_HEADER: u32 = 8;
/// ICMPv6 Router Advertisement (RFC 4861 section 4.2).
const ROUTER_ADVERTISEMENT: u8 = 134;
/// ICMPv6 Neighbor Advertisement (RFC 4861 section 4.4): an UNA is one.
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Its S flag. An UNA has it not (RFC 5568 section 6.3), nor has an answer to a probe for duplicates
/// (RFC 4861 section 7.2.4); all others are the kernel's alone.
const SOLICITED: u8 = 0x40;
/// ICMPv6 experimental mobility (RFC 5568 section 6.1): RtSolPr and PrRtAdv are subtypes of it.
const MOBILITY_ICMPV6: u8 = 154;
const RTSOLPR: u8 = 2;
const PRRTADV: u8 = 3;
/// Mobility Header types up to this one are those of RFC 6275 section 6.1: the kernel's, and those of a
/// home agent or mobile node beside this one. All others are the controller's: the messages of RFC 5568
/// section 6.2 and the FNA (RFC 4068 section 6.3.3), and what nobody here knows, which it answers with a
/// Binding Error (GEN-12). The kernel must not see them: it would answer an ICMPv6 Parameter Problem.
const BINDING_ERROR: u8 = 7;

/// Extension headers that may stand before a Mobility Header: hop-by-hop options and destination
/// options (with the Home Address option).
const EXTENSION_HEADERS: u32 = 3;

/// Offset of the next header's number in an IPv6 header.
const NEXT_HEADER: u32 = offset_of!(Ipv6, next_header) as u32;

/// What kind of node this is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Node {
    /// An access router: solicitations and advertisements of routers are the kernel's affair.
    Router,
    /// A mobile node.
    Mobile,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The controller's alone.
    Taken,
    /// The kernel's as well.
    Copied,
    /// The kernel's as well, to whatever address it came.
    Overheard,
}

/// Gives the packet to the controller if it is signalling to this node; what becomes of it then.
#[inline(always)]
pub(crate) fn intercept(packet: &impl Packet, header: &Ipv6, node: Node) -> Option<Outcome> {
    if !matches!(
        header.next_header,
        MOBILITY | ICMPV6 | DESTINATION_OPTIONS | HOP_BY_HOP
    ) {
        return None;
    }
    let kind = kind(packet, header, node)?;
    if kind != Kind::Overheard
        && !header.destination.is_multicast()
        && LOCAL.get_ptr(header.destination).is_none()
    {
        return None;
    }
    Some(match (report(packet), kind) {
        (true, Kind::Taken) => Outcome::Drop(Reason::Signal),
        (true, Kind::Copied | Kind::Overheard) => Outcome::Pass(Reason::SignalCopied),
        (false, Kind::Taken) => Outcome::Drop(Reason::SignalLost),
        (false, Kind::Copied | Kind::Overheard) => Outcome::Pass(Reason::SignalLost),
    })
}

/// Whether this is a message of RFC 5568, as the controller of this router sends them.
#[inline(always)]
pub(crate) fn is_own(packet: &impl Packet, header: &Ipv6) -> bool {
    let start = (packet.network() + IPV6_HEADER) as u32;
    match header.next_header {
        MOBILITY => matches!(packet.octet(start + 2), Some(BINDING_ERROR..)),
        ICMPV6 => packet.octet(start) == Some(MOBILITY_ICMPV6),
        _ => false,
    }
}

#[inline(always)]
fn kind(packet: &impl Packet, header: &Ipv6, node: Node) -> Option<Kind> {
    let start = (packet.network() + IPV6_HEADER) as u32;
    let (next_header, offset) = upper_layer(packet, header.next_header, start)?;
    match next_header {
        MOBILITY => match packet.octet(offset + 2)? {
            ..BINDING_ERROR => None,
            BINDING_ERROR => Some(Kind::Copied),
            _ => Some(Kind::Taken),
        },
        ICMPV6 => match packet.octet(offset)? {
            PARAMETER_PROBLEM => {
                let quoted = offset + ICMPV6_HEADER;
                let next_header = packet.octet(quoted + NEXT_HEADER)?;
                let start = quoted + IPV6_HEADER as u32;
                let (next_header, _) = upper_layer(packet, next_header, start)?;
                (next_header == MOBILITY).then_some(Kind::Copied)
            }
            ROUTER_ADVERTISEMENT if node == Node::Mobile => Some(Kind::Overheard),
            NEIGHBOR_ADVERTISEMENT => {
                (packet.octet(offset + 4)? & SOLICITED == 0).then_some(Kind::Copied)
            }
            MOBILITY_ICMPV6 => {
                matches!(packet.octet(offset + 4)?, RTSOLPR | PRRTADV).then_some(Kind::Taken)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The first header that is none of the options' that may stand in front, and where it starts.
#[inline(always)]
fn upper_layer(packet: &impl Packet, mut next_header: u8, mut offset: u32) -> Option<(u8, u32)> {
    for _ in 0..EXTENSION_HEADERS {
        if next_header != HOP_BY_HOP && next_header != DESTINATION_OPTIONS {
            break;
        }
        next_header = packet.octet(offset)?;
        // RFC 8200 section 4.3: in units of 8 octets, without the first 8.
        offset += (u32::from(packet.octet(offset + 1)?) + 1) * 8;
    }
    Some((next_header, offset))
}

/// Copies the frame into the ring; `false` if the ring is full.
#[inline(always)]
fn report(packet: &impl Packet) -> bool {
    let Some(mut entry) = SIGNALS.reserve::<Signal>(0) else {
        return false;
    };
    let length = packet.length().min(SIGNAL_BYTES as u64);
    let signal = entry.as_mut_ptr();
    // SAFETY: the ring's entry is as large as a Signal; `length` is bounded by its frame, and not
    // 0. Submitted or discarded exactly once.
    unsafe {
        (*signal).arrival_ns = now();
        (*signal).interface = packet.interface();
        (*signal).length = length as u32;
        if let Some(length) = bounded(length, 14, SIGNAL_BYTES as u64)
            && packet.copy(0, (&raw mut (*signal).frame).cast(), length as u32)
        {
            bpf_ringbuf_submit(signal.cast(), 0);
            true
        } else {
            bpf_ringbuf_discard(signal.cast(), 0);
            false
        }
    }
}
