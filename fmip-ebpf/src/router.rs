//! An access router: what happens to a packet that comes in.

use aya_log_ebpf::debug;
use fmip_common::{
    binding::{ACTION_BUFFER, ACTION_TUNNEL, Address, Binding},
    reason::Reason,
};

use crate::{
    Outcome,
    buffer::{Form, Put, Queue},
    forward::{self, Route},
    lookup::{self, Lookup},
    maps::LOCAL,
    packet::{Packet, TUNNEL_HEADER, XdpPacket},
    parse::{self, HOP_LIMIT, Headers, INNER, IPV6_IN_IPV6, Ipv6},
    signal, too_big,
    tunnel::{self, Congestion},
};

const UNCHANGEABLE: Outcome = Outcome::Drop(Reason::Unchangeable);

/// One packet's way through the router.
#[inline(always)]
pub(crate) fn handle(packet: &mut XdpPacket) -> Outcome {
    let header = match parse::parse(packet) {
        Headers::Ipv6(header) => header,
        Headers::Other => return Outcome::Pass(Reason::NotIpv6),
        Headers::Malformed => return Outcome::Pass(Reason::Malformed),
    };
    if let Some(outcome) = signal::intercept(packet, &header) {
        return outcome;
    }
    match lookup::binding(&header.destination) {
        Lookup::Found(binding) => match binding.action {
            ACTION_TUNNEL => to_tunnel(packet, &header, binding),
            ACTION_BUFFER => to_mobile_node(packet, &header, binding),
            _ => Outcome::Pass(Reason::NoBinding),
        },
        Lookup::Expired => Outcome::Pass(Reason::Expired),
        Lookup::None if header.next_header == IPV6_IN_IPV6 && is_local(&header.destination) => {
            from_tunnel(packet, &header)
        }
        Lookup::None => Outcome::Pass(Reason::NoBinding),
    }
}

#[inline(always)]
fn is_local(address: &Address) -> bool {
    LOCAL.get_ptr(address).is_some()
}

/// PAR: PCoA to NCoA (TUN-01).
#[inline(always)]
fn to_tunnel(packet: &mut XdpPacket, inner: &Ipv6, binding: &Binding) -> Outcome {
    if inner.hop_limit <= 1 {
        return Outcome::Pass(Reason::HopLimit);
    }
    let outer = tunnel::outer_header(inner, binding);
    let length = outer.total_length();
    let route = forward::route(packet, &outer.source, &outer.destination, length);
    if let Route::TooBig(mtu) = route {
        return too_big::answer(packet, inner, &binding.outer_source, mtu);
    }
    // RFC 2473 section 3.1: the entry point forwards the packet, and so takes one hop of it.
    if packet.write(HOP_LIMIT, inner.hop_limit - 1).is_none()
        || tunnel::push(packet, outer).is_none()
    {
        return UNCHANGEABLE;
    }
    send(packet, route, Reason::Tunnelled, Reason::TunnelledByKernel)
}

/// NAR: hold while the radio is between two links, then deliver.
#[inline(always)]
fn to_mobile_node(packet: &mut XdpPacket, header: &Ipv6, binding: &Binding) -> Outcome {
    if header.hop_limit <= 1 {
        return Outcome::Pass(Reason::HopLimit);
    }
    let Some(queue) = Queue::new(binding.buffer) else {
        return Outcome::Pass(Reason::NoBinding);
    };
    match queue.hold(packet, Form::Forwarded, |_| {}) {
        Put::Ended(reason) => Outcome::Drop(reason),
        Put::Closed(buffer) => {
            // SAFETY: a map element; the controller sets the next hop before the buffer is bound.
            let hop = unsafe { (*buffer).next_hop };
            if packet.write(HOP_LIMIT, header.hop_limit - 1).is_none()
                || forward::address_to(packet, &hop).is_none()
            {
                return UNCHANGEABLE;
            }
            Outcome::Redirect(Reason::Delivered, hop.interface)
        }
    }
}

/// PAR: out of the mobile node's reverse tunnel, if it is that (TUN-04, TUN-05).
#[inline(always)]
fn from_tunnel(packet: &mut XdpPacket, outer: &Ipv6) -> Outcome {
    let Some(inner) = parse::ipv6_at(packet, INNER) else {
        return Outcome::Pass(Reason::Malformed);
    };
    let binding = match lookup::binding(&inner.source) {
        Lookup::Found(binding) if binding.action == ACTION_TUNNEL => binding,
        Lookup::Expired => return Outcome::Pass(Reason::Expired),
        _ => return Outcome::Pass(Reason::NoBinding),
    };
    if outer.source != binding.outer_destination || outer.destination != binding.outer_source {
        debug!(
            packet,
            "tunnelled packet from {:i}, claiming to be from {:i}: not the end of that tunnel",
            outer.source.octets(),
            inner.source.octets()
        );
        return Outcome::Pass(Reason::Spoofed);
    }
    let congestion = tunnel::congestion(outer, &inner);
    if let Congestion::Lost = congestion {
        return Outcome::Drop(Reason::CongestionLost);
    }
    if tunnel::pop(packet, congestion).is_none() {
        return UNCHANGEABLE;
    }
    if inner.hop_limit <= 1 {
        return Outcome::Pass(Reason::HopLimit);
    }
    let route = forward::route(
        packet,
        &inner.source,
        &inner.destination,
        inner.total_length(),
    );
    if let Route::To(_) = route
        && packet.write(HOP_LIMIT, inner.hop_limit - 1).is_none()
    {
        return UNCHANGEABLE;
    }
    send(
        packet,
        route,
        Reason::Untunnelled,
        Reason::UntunnelledByKernel,
    )
}

/// Sends the packet, or leaves it to the kernel: a neighbor that is not known yet is resolved there,
/// and the packet waits for it.
#[inline(always)]
fn send(packet: &mut XdpPacket, route: Route, sent: Reason, passed: Reason) -> Outcome {
    match route {
        Route::To(hop) => match forward::address_to(packet, &hop) {
            Some(()) => Outcome::Redirect(sent, hop.interface),
            None => UNCHANGEABLE,
        },
        Route::TooBig(_) | Route::Kernel => Outcome::Pass(passed),
    }
}

const _: () = assert!(TUNNEL_HEADER == parse::IPV6_HEADER);
