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
    parse::{self, HOP_LIMIT, Headers, INNER, IPV6, IPV6_IN_IPV6, Ipv6},
    signal, too_big, tunnel,
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
    let (header, binding) = match lookup::binding(&header.destination) {
        Lookup::Found(binding) => (header, binding),
        Lookup::Expired => return Outcome::Pass(Reason::Expired),
        Lookup::None if header.next_header == IPV6_IN_IPV6 && is_local(&header.destination) => {
            let inner = match from_tunnel(packet, &header) {
                Ok(inner) => inner,
                Err(outcome) => return outcome,
            };
            // Two nodes that have both left this router: out of one's tunnel and into the other's.
            match lookup::binding(&inner.destination) {
                Lookup::Found(binding) => (inner, binding),
                _ => return forward(packet, &inner),
            }
        }
        Lookup::None => return Outcome::Pass(Reason::NoBinding),
    };
    to_bound(packet, &header, &binding)
}

/// To an address that is bound.
#[inline(always)]
fn to_bound(packet: &mut XdpPacket, header: &Ipv6, binding: &Binding) -> Outcome {
    // A neighbor's probe of an address that this router defends (proxy neighbor discovery) is the kernel's
    // to answer, and nothing from a link-local address may leave its link.
    if !header.source.is_forwarded_from() || parse::is_neighbor_discovery(packet, header, IPV6) {
        return Outcome::Pass(Reason::LinkScope);
    }
    if header.hop_limit <= 1 {
        return Outcome::Pass(Reason::HopLimit);
    }
    match binding.action {
        ACTION_TUNNEL => to_tunnel(packet, header, binding),
        ACTION_BUFFER => to_mobile_node(packet, header, binding),
        _ => Outcome::Pass(Reason::NoBinding),
    }
}

#[inline(always)]
fn is_local(address: &Address) -> bool {
    LOCAL.get_ptr(address).is_some()
}

/// PAR: PCoA to NCoA (TUN-01).
#[inline(always)]
fn to_tunnel(packet: &mut XdpPacket, inner: &Ipv6, binding: &Binding) -> Outcome {
    let outer = tunnel::outer_header(inner, binding);
    let length = outer.total_length();
    if length > binding.mtu {
        return too_big::answer(packet, inner, &binding.outer_source, binding.mtu);
    }
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

/// PAR: out of the mobile node's reverse tunnel, if it is that (TUN-04, TUN-05). The header that leads
/// the packet then; or what becomes of it, if it stays in the tunnel.
#[inline(always)]
fn from_tunnel(packet: &mut XdpPacket, outer: &Ipv6) -> Result<Ipv6, Outcome> {
    let Some(mut inner) = parse::ipv6_at(packet, INNER) else {
        return Err(Outcome::Pass(Reason::Malformed));
    };
    let binding = match lookup::binding(&inner.source) {
        Lookup::Found(binding) if binding.action == ACTION_TUNNEL => binding,
        Lookup::Expired => return Err(Outcome::Pass(Reason::Expired)),
        _ => return Err(Outcome::Pass(Reason::NoBinding)),
    };
    if outer.source != binding.outer_destination || outer.destination != binding.outer_source {
        debug!(
            packet,
            "tunnelled packet from {:i}, claiming to be from {:i}: not the end of that tunnel",
            outer.source.octets(),
            inner.source.octets()
        );
        return Err(Outcome::Pass(Reason::Spoofed));
    }
    // On this side of the tunnel, its hop limit of 255 would make it a neighbor's word (RFC 4861
    // section 11.2).
    if !inner.destination.is_forwarded_to() || parse::is_neighbor_discovery(packet, &inner, INNER) {
        return Err(Outcome::Pass(Reason::LinkScope));
    }
    inner.version_class_flow =
        tunnel::congestion(outer, &inner).ok_or(Outcome::Drop(Reason::CongestionLost))?;
    tunnel::pop(packet, inner.version_class_flow).ok_or(UNCHANGEABLE)?;
    Ok(inner)
}

/// On the kernel's routes, as any router would.
#[inline(always)]
fn forward(packet: &mut XdpPacket, header: &Ipv6) -> Outcome {
    if header.hop_limit <= 1 {
        return Outcome::Pass(Reason::HopLimit);
    }
    let length = header.total_length();
    let route = forward::route(packet, &header.source, &header.destination, length);
    if let Route::To(_) = route
        && packet.write(HOP_LIMIT, header.hop_limit - 1).is_none()
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
