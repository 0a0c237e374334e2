//! A mobile node: into the reverse tunnel and out of the tunnel (RFC 5568 section 3.1).

use fmip_common::{
    binding::{ACTION_MOBILE, Binding, NextHop},
    reason::Reason,
};

use crate::{
    Outcome,
    buffer::{Form, Put, Queue},
    checksum, forward,
    lookup::{self, Lookup},
    maps::PARKED,
    packet::{TUNNEL_HEADER, TcPacket},
    parse::{self, Headers, INNER, IPV6, IPV6_HEADER, IPV6_IN_IPV6, Ipv6},
    signal, tunnel,
};

const UNCHANGEABLE: Outcome = Outcome::Drop(Reason::Unchangeable);

/// Octets that are read directly: Ethernet, outer and inner header.
const HEADERS: u32 = (IPV6 + 2 * IPV6_HEADER) as u32;

/// One packet that came in.
#[inline(always)]
pub(crate) fn handle_in(packet: &mut TcPacket<'_>) -> Outcome {
    packet.pull(HEADERS);
    let outer = match parse::parse(packet) {
        Headers::Ipv6(header) => header,
        Headers::Other => return Outcome::Pass(Reason::NotIpv6),
        Headers::Malformed => return Outcome::Pass(Reason::Malformed),
    };
    if let Some(outcome) = signal::intercept(packet, &outer) {
        return outcome;
    }
    if outer.next_header != IPV6_IN_IPV6 {
        return Outcome::Pass(Reason::NoBinding);
    }
    let Some(inner) = parse::ipv6_at(packet, INNER) else {
        return Outcome::Pass(Reason::Malformed);
    };
    let binding = match lookup::binding(&inner.destination) {
        Lookup::Found(binding) if binding.action == ACTION_MOBILE => binding,
        Lookup::Expired => return Outcome::Pass(Reason::Expired),
        _ => return Outcome::Pass(Reason::NoBinding),
    };
    if outer.source != binding.outer_destination || outer.destination != binding.outer_source {
        return Outcome::Pass(Reason::Spoofed);
    }
    // Out of the tunnel, its hop limit of 255 would make it a neighbor's word (RFC 4861 section 11.2).
    if !inner.source.is_forwarded_from() || parse::is_neighbor_discovery(packet, &inner, INNER) {
        return Outcome::Pass(Reason::LinkScope);
    }
    let Some(version_class_flow) = tunnel::congestion(&outer, &inner) else {
        return Outcome::Drop(Reason::CongestionLost);
    };
    match tunnel::pop(packet, version_class_flow) {
        Some(()) => Outcome::Pass(Reason::MobileUntunnelled),
        None => UNCHANGEABLE,
    }
}

/// One packet that goes out.
#[inline(always)]
pub(crate) fn handle_out(packet: &mut TcPacket<'_>) -> Outcome {
    packet.pull((IPV6 + IPV6_HEADER) as u32);
    let inner = match parse::parse(packet) {
        Headers::Ipv6(header) => header,
        Headers::Other => return Outcome::Pass(Reason::NotIpv6),
        Headers::Malformed => return Outcome::Pass(Reason::Malformed),
    };
    let binding = match lookup::binding(&inner.source) {
        Lookup::Found(binding) if binding.action == ACTION_MOBILE => binding,
        Lookup::Expired => return Outcome::Pass(Reason::Expired),
        _ => return Outcome::Pass(Reason::NoBinding),
    };
    let of_this_link = inner.destination.is_multicast()
        || inner.destination.is_link_local()
        || parse::is_neighbor_discovery(packet, &inner, IPV6);
    if of_this_link {
        return Outcome::Pass(Reason::LinkScope);
    }
    let Some(queue) = Queue::new(binding.buffer) else {
        return Outcome::Pass(Reason::NoBinding);
    };
    match queue.hold(packet, Form::Tunnelled, |frame| {
        write_headers(frame, &inner, &binding);
        // SAFETY: a slot's frame, which is the caller's until it is put.
        unsafe { checksum::finish(frame, &inner) };
    }) {
        Put::Ended(Reason::Held) => sink(),
        Put::Ended(reason) => Outcome::Drop(reason),
        Put::Closed(buffer) => {
            // SAFETY: a map element; the controller sets the next hop before the buffer is bound.
            let hop = unsafe { (*buffer).next_hop };
            reverse_tunnel(packet, &inner, &binding, &hop)
        }
    }
}

#[inline(always)]
fn reverse_tunnel(
    packet: &mut TcPacket<'_>,
    inner: &Ipv6,
    binding: &Binding,
    hop: &NextHop,
) -> Outcome {
    // This node is the packet's source: it takes no hop of it.
    if tunnel::push(packet, tunnel::outer_header(inner, binding)).is_none()
        || forward::address_to(packet, hop).is_none()
    {
        return UNCHANGEABLE;
    }
    Outcome::Pass(Reason::MobileTunnelled)
}

/// The headers of a held packet, in front of the inner one. The link-layer addresses are written
/// when it is released.
#[inline(always)]
fn write_headers(frame: *mut u8, inner: &Ipv6, binding: &Binding) {
    const { assert!(TUNNEL_HEADER == IPV6_HEADER) };
    // SAFETY: `frame` is a slot's frame, which starts on a multiple of 8 and has room for both
    // headers; the IPv6 header is written unaligned.
    unsafe {
        frame.add(12).cast::<[u8; 2]>().write([0x86, 0xdd]);
        frame
            .add(IPV6)
            .cast::<Ipv6>()
            .write_unaligned(tunnel::outer_header(inner, binding));
    }
}

/// Where the original of a held packet goes: out of the parked interface, behind which nobody is.
/// Dropping it would tell the application that its packet was lost, which it was not.
#[inline(always)]
fn sink() -> Outcome {
    match PARKED.get(0) {
        Some(&interface) if interface != 0 => Outcome::Redirect(Reason::Held, interface),
        _ => Outcome::Drop(Reason::Held),
    }
}
