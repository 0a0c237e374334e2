//! Signalling for the controller, which the kernel would drop (KRN-01) or does not know.
//!
//! [`fmip_common::signalling`] says who may send how much of it.

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd},
    mem::offset_of,
};

use aya_ebpf::bindings::{BPF_NOEXIST, BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE};
use fmip_common::{
    binding::Address,
    event::{Kind as EventKind, Signal, SignalHeader},
    limits::SIGNAL_BYTES,
    reason::Reason,
    signalling::{
        EXPECTED, LINK_ACCESS, LINK_CORE, OTHERS, Rate, Source, Station, has_share, in_ring,
    },
};

use crate::{
    Outcome, events,
    lookup::{self, State},
    maps::{
        LOCAL, PEERS, SIGNAL, SIGNAL_LINKS, SIGNAL_QUEUES, SIGNAL_SOURCES, SIGNALS, SIGNALS_READ,
        STATIONS,
    },
    packet::{Packet, bounded, now},
    parse::{DESTINATION_OPTIONS, HOP_BY_HOP, ICMPV6, IPV6_HEADER, Ipv6, MOBILITY},
};

/// ICMPv6 Parameter Problem (RFC 4443 section 3.4): a router that does not know the Mobility Header
/// answers with one (GEN-13).
const PARAMETER_PROBLEM: u8 = 4;
const ICMPV6_HEADER: u32 = 8;
/// ICMPv6 Router Advertisement (RFC 4861 section 4.2).
const ROUTER_ADVERTISEMENT: u8 = 134;
/// ICMPv6 Neighbor Solicitation (RFC 4861 section 4.3), and where its target address stands in it.
const NEIGHBOR_SOLICITATION: u8 = 135;
const TARGET: usize = 8;
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

/// Whether a mobile node that is expected on this link, or is on it already, asks whether another has the
/// address that is bound for it (RFC 4862 section 5.4.2). The kernel defends the address until the controller
/// has heard the UNA that came first, and is not to defend it against the node itself.
#[inline(always)]
pub(crate) fn is_own_probe(packet: &impl Packet, header: &Ipv6) -> bool {
    if header.next_header != ICMPV6
        || header.source != Address([0; 2])
        || packet.read_ip::<u8>(IPV6_HEADER) != Some(NEIGHBOR_SOLICITATION)
    {
        return false;
    }
    let target = packet.read_ip::<[u64; 2]>(IPV6_HEADER + TARGET);
    let (Some(target), Some(address)) = (target, packet.read::<[u8; 6]>(6)) else {
        return false;
    };
    let station = Station {
        interface: packet.interface(),
        address,
        ..Station::default()
    };
    is_bound_for(&station, &Address(target))
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
    let refusal = report(packet, header).err();
    if let Some(reason) = refusal {
        let addresses = [&header.source, &header.destination, &Address([0; 2])];
        events::emit(EventKind::SignalRefused, packet, reason as u32, addresses);
    }
    Some(match kind {
        Kind::Taken => Outcome::Drop(refusal.unwrap_or(Reason::Signal)),
        // The kernel's all the same.
        Kind::Copied | Kind::Overheard => Outcome::Pass(refusal.unwrap_or(Reason::SignalCopied)),
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

/// What the programs have no room for on their stack.
#[repr(C)]
pub(crate) struct Draft {
    source: Source,
    station: Station,
    reserved: u32,
    record: Signal,
}

/// Gives the frame to the controller, or says which bound it meets.
#[inline(always)]
fn report(packet: &impl Packet, header: &Ipv6) -> Result<(), Reason> {
    let (Some(draft), Some(link_source)) = (SIGNAL.get_ptr_mut(0), packet.read::<[u8; 6]>(6))
    else {
        return Err(Reason::SignalLost);
    };
    let now = now();
    let interface = packet.interface();
    // SAFETY: an element of a per-CPU map, and a program is not interrupted by itself.
    let draft = unsafe { &mut *draft };
    draft.record.header = SignalHeader {
        arrival_ns: now,
        interface,
        queue: 0,
        length: 0,
        whole: packet.length() as u32,
        link_source,
        network: packet.network() as u16,
    };
    draft.source.interface = interface;
    draft.station.interface = interface;
    draft.station.address = link_source;
    let link = SIGNAL_LINKS
        .get_ptr(interface)
        .or_else(|| SIGNAL_LINKS.get_ptr(0));
    // SAFETY: a map element; it may change, but it stays integers.
    let link = link.map(|link| unsafe { &*link });
    let class = match link {
        Some(link) if link.kind == LINK_CORE => {
            draft.source.kind = LINK_CORE;
            draft.source.address = header.source;
            class(PEERS.get_ptr(header.source).is_some())
        }
        _ => {
            draft.source.kind = LINK_ACCESS;
            draft.source.address = link_layer(link_source);
            class(is_expected(&draft.station, header))
        }
    };
    let mut number = class;
    if let Some(link) = link {
        number += link.queue;
        // The source before the link: what one sends too much takes nothing from the others.
        if !source_admits(&draft.source, of(&link.source, class), now) {
            return Err(Reason::SignalSourceRate);
        }
    }
    let (Some(queue), Some(read)) = (SIGNAL_QUEUES.get_ptr_mut(number), SIGNALS_READ.get(number))
    else {
        return Err(Reason::SignalLost);
    };
    // SAFETY: fields of a map element.
    let (bucket, put) = unsafe { (&raw mut (*queue).full_at_ns, &raw mut (*queue).put) };
    if let Some(link) = link
        && !admits(bucket, of(&link.all, class), now)
    {
        return Err(Reason::SignalLinkRate);
    }
    let length = packet.length().min(SIGNAL_BYTES as u64);
    draft.record.header.queue = number;
    draft.record.header.length = length as u32;
    let octets = in_ring(HEADER + length);
    let own = add(put, octets) + octets - *read;
    let fill = SIGNALS.query(BPF_RB_AVAIL_DATA.into()) + octets;
    let result = match has_share(class, own, fill, SIGNALS.query(BPF_RB_RING_SIZE.into())) {
        true => send(packet, &mut draft.record, length).ok_or(Reason::SignalLost),
        false => Err(Reason::SignalShare),
    };
    if result.is_err() {
        add(put, octets.wrapping_neg());
    }
    result
}

/// Octets before the frame in a record.
const HEADER: u64 = size_of::<SignalHeader>() as u64;

#[inline(always)]
fn class(expected: bool) -> u32 {
    match expected {
        true => EXPECTED,
        false => OTHERS,
    }
}

/// The rate of a class.
#[inline(always)]
fn of(rates: &[Rate; 2], class: u32) -> &Rate {
    match class {
        EXPECTED => &rates[0],
        _ => &rates[1],
    }
}

/// A link-layer address in the place of an IPv6 address.
#[inline(always)]
fn link_layer([a, b, c, d, e, f]: [u8; 6]) -> Address {
    Address([u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]), 0])
}

/// Whether this router has reason to listen to a station: it is known to be a mobile node's; or what it
/// sends comes from the NCoA of a node that was announced by an HI with this link-layer address (an UNA),
/// or from the PCoA of a node whose packets are held.
#[inline(always)]
fn is_expected(station: &Station, header: &Ipv6) -> bool {
    STATIONS.get_ptr(station).is_some() || is_bound_for(station, &header.source)
}

/// Whether an address is bound here for a station.
#[inline(always)]
fn is_bound_for(station: &Station, address: &Address) -> bool {
    let bound = lookup::binding(address);
    let node = lookup::node(&bound.binding);
    bound.state == State::InForce
        && node.interface == station.interface
        && node.destination == station.address
}

/// Takes a token of a source.
#[inline(always)]
fn source_admits(source: &Source, rate: &Rate, now: u64) -> bool {
    if rate.interval_ns == 0 {
        return true;
    }
    let mut bucket = SIGNAL_SOURCES.get_ptr_mut(source);
    if bucket.is_none() {
        let full_at = now + rate.interval_ns;
        let new = BPF_NOEXIST.into();
        if SIGNAL_SOURCES.insert(source, full_at, new).is_ok() {
            return true;
        }
        // Another processor was faster.
        bucket = SIGNAL_SOURCES.get_ptr_mut(source);
    }
    match bucket {
        Some(bucket) => admits(bucket, rate, now),
        // There is no room at all: the link's rate must do.
        None => true,
    }
}

/// How often a token is reached for that another processor takes.
const ATTEMPTS: u32 = 8;

/// Takes a token.
#[inline(always)]
fn admits(bucket: *mut u64, rate: &Rate, now: u64) -> bool {
    if rate.interval_ns == 0 {
        return true;
    }
    for _ in 0..ATTEMPTS {
        // SAFETY: a map element; volatile, since other processors write it.
        let before = unsafe { bucket.read_volatile() };
        let Some(after) = rate.take(before, now) else {
            return false;
        };
        // SAFETY: a map element.
        let (_, swapped) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                bucket, before, after,
            )
        };
        if swapped {
            return true;
        }
    }
    false
}

/// The word before.
#[inline(always)]
fn add(word: *mut u64, value: u64) -> u64 {
    // SAFETY: a field of a map element.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word, value) }
}

/// Copies `length` octets of the frame into the record, and the record into the ring; `None` if that is
/// full.
#[inline(always)]
fn send(packet: &impl Packet, record: &mut Signal, length: u64) -> Option<()> {
    // Not 1, see `bounded`; a message has an IPv6 header at least.
    let length = bounded(length, IPV6_HEADER as u64, SIGNAL_BYTES as u64)?;
    let frame = (&raw mut record.frame).cast();
    // SAFETY: `length` is bounded by the record's frame.
    unsafe {
        if !packet.copy(0, frame, length as u32) {
            return None;
        }
        let start = (&raw const *record).cast::<u8>();
        let octets = core::slice::from_raw_parts(start, (HEADER + length) as usize);
        SIGNALS.output::<[u8]>(octets, 0).ok()
    }
}
