//! A mobile node: into the reverse tunnel and out of the tunnel (RFC 5568 section 3.1).
//!
//! A node that moves again before its first tunnel has ended is in two: what it sends from the first PCoA
//! goes into the tunnel from the second PCoA, and that into the tunnel from where it is now.

use fmip_common::{
    binding::{ACTION_MOBILE, Egress, LOOPBACK},
    event::Kind,
    reason::Reason,
};

use crate::{
    Outcome,
    buffer::{Put, Queue},
    checksum, events,
    lookup::{self, State},
    maps::RELEASE_TO,
    packet::{Packet, Resize, TUNNEL_HEADER, TcPacket},
    parse::{self, Headers, INNER, IPV6_HEADER, IPV6_IN_IPV6, Ipv6},
    router,
    signal::{self, Node},
    too_big, tunnel,
};

const UNCHANGEABLE: Outcome = Outcome::Drop(Reason::Unchangeable);

/// Octets that are read directly: Ethernet, outer and inner header.
const HEADERS: u32 = 14 + 2 * IPV6_HEADER as u32;

/// Where the link-layer source is, with the Ethernet type behind it.
const SOURCE: usize = 6;

/// Tunnels that a packet may be in.
const TUNNELS: u32 = 2;

/// One packet that came in.
#[inline(always)]
pub(crate) fn handle_in(packet: &mut TcPacket<'_>) -> Outcome {
    packet.pull(HEADERS);
    let mut outer = match parse::parse(packet) {
        Headers::Ipv6(header) => header,
        Headers::Other(reason) => return Outcome::Pass(reason),
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
        let bound = lookup::binding(&inner.destination);
        if bound.state == State::Expired {
            return Outcome::Pass(opened.unwrap_or(Reason::Expired));
        }
        let egress = lookup::tunnel(&bound.binding);
        if !bound.is(ACTION_MOBILE) || !egress.is_tunnel() {
            break;
        }
        if outer.source != egress.outer_destination || outer.destination != egress.outer_source {
            let addresses = [&outer.source, &inner.source, &inner.destination];
            events::emit(Kind::Spoofed, packet, 0, addresses);
            return Outcome::Drop(Reason::Spoofed);
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
        let popped = packet
            .write_ip(INNER, version_class_flow)
            .is_some_and(|()| packet.resize(Resize::Pop));
        if !popped {
            return UNCHANGEABLE;
        }
        bound.count(packet.arrived());
        packet.pull(HEADERS);
        inner.version_class_flow = version_class_flow;
        outer = inner;
        opened = Some(Reason::MobileUntunnelled);
    }
    Outcome::Pass(opened.unwrap_or(Reason::NoBinding))
}

/// The interface that a packet on the loopback is to leave by, if the drain has passed it up there.
///
/// What the drain has made is IPv6 and has this node's own address on the link as its source. What this node
/// sends to itself has no link-layer addresses, and what others put there is theirs.
#[inline(always)]
pub(crate) fn exit_of_released(packet: &TcPacket<'_>) -> Option<u32> {
    let exit = RELEASE_TO.get(0)?;
    let is_drained = exit.interface != 0 && packet.read::<u64>(SOURCE)? == exit.mark;
    is_drained.then_some(exit.interface)
}

/// One packet that goes out.
#[inline(always)]
pub(crate) fn handle_out(packet: &mut TcPacket<'_>) -> Outcome {
    // It comes from the drain, in its tunnels, and would be held again.
    if packet.came_in_on() == LOOPBACK {
        return Outcome::Unseen;
    }
    packet.pull(HEADERS);
    let inner = match parse::parse(packet) {
        Headers::Ipv6(header) => header,
        Headers::Other(reason) => return Outcome::Pass(reason),
    };
    let bound = lookup::binding(&inner.source);
    if bound.state == State::Expired {
        return Outcome::Pass(Reason::Expired);
    }
    if !bound.is(ACTION_MOBILE) {
        return Outcome::Pass(Reason::NoBinding);
    }
    let mut egress = lookup::tunnel(&bound.binding);
    let of_this_link = inner.destination.is_multicast()
        || inner.destination.is_link_local()
        || parse::is_neighbor_discovery(packet, &inner, 0);
    if of_this_link {
        return Outcome::Pass(Reason::LinkScope);
    }
    // What was held and leaves by way of the loopback has no socket. Where packets wait sorted by flow
    // (fq_codel, mac80211), those behind it must not be told from it by what their sockets say.
    packet.forget_flow();
    bound.count(packet.arrived());
    let Some(mut queue) = Queue::new(bound.binding.buffer.into()) else {
        return UNCHANGEABLE;
    };
    let was_closed = queue.is_closed();
    // Not an option: the compiler would carry on what is in none, and the verifier refuses that.
    let (nested, next, next_queue) = match around(&egress) {
        Some((next, next_queue)) if was_closed => (true, next, next_queue),
        _ => (false, Egress::default(), queue),
    };
    let mtu = tunnel_mtu(&egress, &next);
    if mtu != 0 && packet.wire_length(&inner) + TUNNEL_HEADER as u32 > mtu {
        return too_big::answer(packet, &inner, &egress.outer_source, mtu);
    }
    let mut header = inner;
    let mut outer_octets = 0;
    if nested {
        header = match into_tunnel(packet, &inner, &egress) {
            Some(header) => header,
            None => return UNCHANGEABLE,
        };
        outer_octets = TUNNEL_HEADER as u64;
        (egress, queue) = (next, next_queue);
    }
    // The tunnel that it will leave in takes room in front, but not yet.
    let put = queue.hold(packet, &header, TUNNEL_HEADER, |frame| {
        // SAFETY: a slot's frame, which is the caller's until it is put.
        unsafe { checksum::finish(frame, &inner, outer_octets) };
    });
    put.tell(packet, &inner.source, &header.source);
    match put {
        Put::Held | Put::First => return router::sink(),
        Put::Refused(reason) => {
            queue.count_dropped(reason);
            return Outcome::Drop(reason);
        }
        // Drained, and held again one tunnel further, both in this instant.
        Put::Closed if !was_closed && around(&egress).is_some() => {
            return Outcome::Drop(Reason::Contended);
        }
        Put::Closed => {}
    }
    let mut reason = match outer_octets {
        0 => Reason::MobileSent,
        _ => Reason::MobileTunnelled,
    };
    if egress.is_tunnel() {
        if into_tunnel(packet, &header, &egress).is_none() {
            return UNCHANGEABLE;
        }
        reason = Reason::MobileTunnelled;
    }
    match packet.address_to(&egress.next_hop) {
        Some(()) => Outcome::Pass(reason),
        None => UNCHANGEABLE,
    }
}

/// What is bound for the tunnel's own end: the tunnel around this one, and where its packets are held.
#[inline(always)]
fn around(egress: &Egress) -> Option<(Egress, Queue)> {
    if !egress.is_tunnel() {
        return None;
    }
    let bound = lookup::binding(&egress.outer_source);
    if !bound.is(ACTION_MOBILE) {
        return None;
    }
    Some((
        lookup::tunnel(&bound.binding),
        Queue::new(bound.binding.buffer.into())?,
    ))
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

/// Puts the packet into the tunnel; the header that leads it then.
#[inline(always)]
fn into_tunnel(packet: &mut TcPacket<'_>, header: &Ipv6, egress: &Egress) -> Option<Ipv6> {
    // This node is the packet's source: it takes no hop of it.
    let outer = tunnel::outer_header(header, egress);
    if !packet.resize(Resize::Push) {
        return None;
    }
    packet.write_ip(0, outer)?;
    Some(outer)
}
