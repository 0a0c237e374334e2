//! Signalling for the controller, which the kernel would drop (KRN-01) or does not know.

use aya_ebpf::helpers::{bpf_ringbuf_discard, bpf_ringbuf_submit};
use fmip_common::{event::Signal, limits::SIGNAL_BYTES, reason::Reason};

use crate::{
    Outcome,
    maps::{LOCAL, SIGNALS},
    packet::{Packet, bounded, now},
    parse::{DESTINATION_OPTIONS, HOP_BY_HOP, ICMPV6, IPV6, IPV6_HEADER, Ipv6, MOBILITY},
};

/// ICMPv6 Neighbor Advertisement (RFC 4861 section 4.4): an UNA is one.
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// ICMPv6 experimental mobility (RFC 5568 section 6.1): RtSolPr and PrRtAdv are subtypes of it.
const MOBILITY_ICMPV6: u8 = 154;
const RTSOLPR: u8 = 2;
const PRRTADV: u8 = 3;
/// Mobility Header types (RFC 5568 section 6.2): FBU, FBack, HI, HAck.
const FBU: u8 = 8;
const FBACK: u8 = 9;
const HI: u8 = 14;
const HACK: u8 = 15;

/// Extension headers that may stand before a Mobility Header: hop-by-hop options and destination
/// options (with the Home Address option).
const EXTENSION_HEADERS: u32 = 3;

enum Kind {
    /// The controller's alone.
    Taken,
    /// The kernel's as well.
    Copied,
}

/// Gives the packet to the controller if it is signalling to this node; what becomes of it then.
#[inline(always)]
pub(crate) fn intercept(packet: &impl Packet, header: &Ipv6) -> Option<Outcome> {
    if !matches!(
        header.next_header,
        MOBILITY | ICMPV6 | DESTINATION_OPTIONS | HOP_BY_HOP
    ) {
        return None;
    }
    let kind = kind(packet, header)?;
    if !header.destination.is_multicast() && LOCAL.get_ptr(header.destination).is_none() {
        return None;
    }
    Some(match (report(packet), kind) {
        (true, Kind::Taken) => Outcome::Drop(Reason::Signal),
        (true, Kind::Copied) => Outcome::Pass(Reason::SignalCopied),
        (false, Kind::Taken) => Outcome::Drop(Reason::SignalLost),
        (false, Kind::Copied) => Outcome::Pass(Reason::SignalLost),
    })
}

#[inline(always)]
fn kind(packet: &impl Packet, header: &Ipv6) -> Option<Kind> {
    let mut next_header = header.next_header;
    let mut offset = (IPV6 + IPV6_HEADER) as u32;
    for _ in 0..EXTENSION_HEADERS {
        if next_header != HOP_BY_HOP && next_header != DESTINATION_OPTIONS {
            break;
        }
        next_header = packet.octet(offset)?;
        // RFC 8200 section 4.3: in units of 8 octets, without the first 8.
        offset += (u32::from(packet.octet(offset + 1)?) + 1) * 8;
    }
    match next_header {
        MOBILITY => {
            matches!(packet.octet(offset + 2)?, FBU | FBACK | HI | HACK).then_some(Kind::Taken)
        }
        ICMPV6 => match packet.octet(offset)? {
            NEIGHBOR_ADVERTISEMENT => Some(Kind::Copied),
            MOBILITY_ICMPV6 => {
                matches!(packet.octet(offset + 4)?, RTSOLPR | PRRTADV).then_some(Kind::Taken)
            }
            _ => None,
        },
        _ => None,
    }
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
        if let Some(length) = bounded(length, IPV6 as u64, SIGNAL_BYTES as u64)
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
