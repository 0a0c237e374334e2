//! A mobile node: into the reverse tunnel and out of the tunnel (RFC 5568 section 3.1).
//!
//! A node that moves again before its first tunnel has ended is in two: what it sends from the first PCoA
//! goes into the tunnel from the second PCoA, and that into the tunnel from where it is now.

use fmip_common::{
    binding::{ACTION_MOBILE, Binding, Egress},
    reason::Reason,
};

use crate::{
    Outcome,
    buffer::{Put, Queue},
    checksum, forward,
    lookup::{self, Lookup},
    maps::PARKED,
    packet::{Packet, TUNNEL_HEADER, TcPacket},
    parse::{self, Headers, INNER, IPV6, IPV6_HEADER, IPV6_IN_IPV6, Ipv6, TCP},
    signal::{self, Node},
    too_big, tunnel,
};

const UNCHANGEABLE: Outcome = Outcome::Drop(Reason::Unchangeable);

/// Octets that are read directly: Ethernet, outer and inner header.
const HEADERS: u32 = (IPV6 + 2 * IPV6_HEADER) as u32;

/// Tunnels that a packet may be in.
const TUNNELS: u32 = 2;

/// One packet that came in.
#[inline(always)]
pub(crate) fn handle_in(packet: &mut TcPacket<'_>) -> Outcome {
    packet.pull(HEADERS);
    let mut outer = match parse::parse(packet) {
        Headers::Ipv6(header) => header,
        Headers::Other => return Outcome::Pass(Reason::NotIpv6),
        Headers::Malformed => return Outcome::Pass(Reason::Malformed),
    };
    if let Some(outcome) = signal::intercept(packet, &outer, Node::Mobile) {
        return outcome;
    }
    // What becomes of a packet that stays as it is by then.
    let mut opened = None;
    for _ in 0..TUNNELS {
        if outer.next_header != IPV6_IN_IPV6 {
            break;
        }
        let Some(mut inner) = parse::ipv6_at(packet, INNER) else {
            return Outcome::Pass(opened.unwrap_or(Reason::Malformed));
        };
        let binding = match lookup::binding(&inner.destination) {
            Lookup::Found(binding)
                if binding.action == ACTION_MOBILE && binding.egress.is_tunnel() =>
            {
                binding
            }
            Lookup::Expired => return Outcome::Pass(opened.unwrap_or(Reason::Expired)),
            _ => break,
        };
        let egress = &binding.egress;
        if outer.source != egress.outer_destination || outer.destination != egress.outer_source {
            return Outcome::Pass(Reason::Spoofed);
        }
        // Out of the tunnel, its hop limit of 255 would make it a neighbor's word (RFC 4861 section
        // 11.2).
        if !inner.source.is_forwarded_from() || parse::is_neighbor_discovery(packet, &inner, INNER)
        {
            return Outcome::Pass(Reason::LinkScope);
        }
        let Some(version_class_flow) = tunnel::congestion(&outer, &inner) else {
            return Outcome::Drop(Reason::CongestionLost);
        };
        if tunnel::pop(packet, version_class_flow).is_none() {
            return UNCHANGEABLE;
        }
        packet.pull(HEADERS);
        inner.version_class_flow = version_class_flow;
        outer = inner;
        opened = Some(Reason::MobileUntunnelled);
    }
    Outcome::Pass(opened.unwrap_or(Reason::NoBinding))
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
    let mut binding = match lookup::binding(&inner.source) {
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
    let Some(mut queue) = Queue::new(binding.buffer) else {
        return UNCHANGEABLE;
    };
    let was_closed = queue.is_closed();
    // Not an option: the compiler would carry on what is in none, and the verifier refuses that.
    let (next, next_queue) = match around(&binding.egress) {
        Some(next) if was_closed => next,
        _ => (Binding::default(), queue),
    };
    let nested = next.action == ACTION_MOBILE;
    let mtu = tunnel_mtu(&binding.egress, &next.egress);
    if mtu != 0 && wire_length(packet, &inner) + TUNNEL_HEADER as u32 > mtu {
        return too_big::answer(packet, &inner, &binding.egress.outer_source, mtu);
    }
    let mut header = inner;
    let mut outer_octets = 0;
    if nested {
        header = match into_tunnel(packet, &inner, &binding.egress) {
            Some(header) => header,
            None => return UNCHANGEABLE,
        };
        outer_octets = TUNNEL_HEADER as u64;
        (binding, queue) = (next, next_queue);
    }
    // The tunnel that it will leave in takes room in front, but not yet.
    match queue.hold(packet, header.next_header, TUNNEL_HEADER, |frame| {
        // SAFETY: a slot's frame, which is the caller's until it is put.
        unsafe { checksum::finish(frame, &inner, outer_octets) };
    }) {
        Put::Held => return sink(),
        Put::Refused(reason) => {
            queue.count_dropped(reason);
            return Outcome::Drop(reason);
        }
        // Drained, and held again one tunnel further, both in this instant.
        Put::Closed if !was_closed && around(&binding.egress).is_some() => {
            return Outcome::Drop(Reason::Contended);
        }
        Put::Closed => {}
    }
    let mut reason = match outer_octets {
        0 => Reason::MobileSent,
        _ => Reason::MobileTunnelled,
    };
    if binding.egress.is_tunnel() {
        if into_tunnel(packet, &header, &binding.egress).is_none() {
            return UNCHANGEABLE;
        }
        reason = Reason::MobileTunnelled;
    }
    match forward::address_to(packet, &binding.egress.next_hop) {
        Some(()) => Outcome::Pass(reason),
        None => UNCHANGEABLE,
    }
}

/// What is bound for the tunnel's own end: the tunnel around this one, and where its packets are held.
#[inline(always)]
fn around(egress: &Egress) -> Option<(Binding, Queue)> {
    if !egress.is_tunnel() {
        return None;
    }
    match lookup::binding(&egress.outer_source) {
        Lookup::Found(binding) if binding.action == ACTION_MOBILE => {
            Some((binding, Queue::new(binding.buffer)?))
        }
        _ => None,
    }
}

/// The longest packet that may go into the tunnel, with its header, and then into the one around it. 0 if
/// there is no tunnel.
#[inline(always)]
fn tunnel_mtu(egress: &Egress, around: &Egress) -> u32 {
    if !around.is_tunnel() {
        return egress.mtu;
    }
    let inside = around.mtu.saturating_sub(TUNNEL_HEADER as u32);
    inside.min(egress.mtu)
}

/// How long the packet is on the link, or each of those that the kernel makes of it.
#[inline(always)]
fn wire_length(packet: &TcPacket<'_>, header: &Ipv6) -> u32 {
    const TCP_DATA_OFFSET: u32 = (IPV6 + IPV6_HEADER + 12) as u32;
    const UDP_HEADER: u32 = 8;
    match packet.segment() {
        0 => header.total_length(),
        segment if header.next_header == TCP => {
            // RFC 9293 section 3.1: in units of four octets, in the upper half of the octet.
            let offset = packet.octet(TCP_DATA_OFFSET).unwrap_or(0) >> 4;
            IPV6_HEADER as u32 + u32::from(offset) * 4 + segment
        }
        segment => IPV6_HEADER as u32 + UDP_HEADER + segment,
    }
}

/// Puts the packet into the tunnel; the header that leads it then.
#[inline(always)]
fn into_tunnel(packet: &mut TcPacket<'_>, header: &Ipv6, egress: &Egress) -> Option<Ipv6> {
    // This node is the packet's source: it takes no hop of it.
    let outer = tunnel::outer_header(header, egress);
    tunnel::push(packet, outer)?;
    Some(outer)
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
