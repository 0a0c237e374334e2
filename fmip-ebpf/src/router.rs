//! An access router: what happens to a packet that comes in.

use aya_log_ebpf::debug;
use fmip_common::{
    binding::{
        ACTION_BUFFER, ACTION_COPY, ACTION_HOST, ACTION_TUNNEL, Address, Binding, Egress, NextHop,
    },
    event::Kind,
    reason::Reason,
};

use crate::{
    Outcome,
    buffer::{Put, Queue},
    count, events,
    forward::{self, Route},
    lookup::{self, Lookup},
    maps::{self, LOCAL, PEERS},
    packet::{Packet, TUNNEL_HEADER, XdpPacket},
    parse::{self, HOP_LIMIT, Headers, INNER, IPV6, IPV6_IN_IPV6, Ipv6},
    signal::{self, Node},
    too_big, tunnel,
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
    if let Some(outcome) = signal::intercept(packet, &header, Node::Router) {
        return outcome;
    }
    let (header, origin, binding) = match from_host(packet, &header) {
        Some(Ok(binding)) => (header, Origin::Host, binding),
        Some(Err(outcome)) => return outcome,
        None => match lookup::binding(&header.destination) {
            Lookup::Found(binding) => (header, Origin::Elsewhere, binding),
            Lookup::Expired => return Outcome::Pass(Reason::Expired),
            Lookup::None if header.next_header == IPV6_IN_IPV6 && is_local(&header.destination) => {
                let inner = match from_tunnel(packet, &header) {
                    Ok(inner) => inner,
                    Err(outcome) => return outcome,
                };
                // To a node that is held here (HAck code 3), or that has left this router as well: out
                // of one's tunnel and into the other's.
                match lookup::binding(&inner.destination) {
                    Lookup::Found(binding) => (inner, Origin::Tunnel, binding),
                    _ => return forward(packet, &inner),
                }
            }
            Lookup::None => return Outcome::Pass(Reason::NoBinding),
        },
    };
    to_bound(packet, &header, origin, &binding)
}

/// Where a bound packet comes from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// From anywhere, to the bound address.
    Elsewhere,
    /// The same, out of a tunnel that ended here.
    Tunnel,
    /// From the bound address, which a mobile node keeps on a link that it does not belong to.
    Host,
}

#[inline(always)]
fn to_bound(packet: &mut XdpPacket, header: &Ipv6, origin: Origin, binding: &Binding) -> Outcome {
    // A neighbor's probe of an address that this router defends (proxy neighbor discovery) is the kernel's
    // to answer, and nothing from a link-local address may leave its link.
    if !header.source.is_forwarded_from() || parse::is_neighbor_discovery(packet, header, IPV6) {
        return Outcome::Pass(Reason::LinkScope);
    }
    if header.hop_limit <= 1 {
        return Outcome::Pass(Reason::HopLimit);
    }
    let into_tunnel = binding.action == ACTION_TUNNEL || origin == Origin::Host;
    if into_tunnel
        && tunnel::outer_header(header, &binding.egress).total_length() > binding.egress.mtu
    {
        return too_big::answer(
            packet,
            header,
            &binding.egress.outer_source,
            binding.egress.mtu,
        );
    }
    if origin != Origin::Host
        && let Some(queue) = Queue::new(binding.buffer)
    {
        let put = queue.hold(packet, 0, |frame| {
            // SAFETY: a slot's frame, which holds an IPv6 packet; its hop limit is not 0.
            unsafe { *frame.add(HOP_LIMIT) -= 1 };
        });
        match put {
            Put::Closed => {}
            Put::Held if binding.action == ACTION_COPY => {
                count::count(Reason::Copied, packet.length());
            }
            Put::Refused(_) if binding.action == ACTION_COPY => {
                count::count(Reason::CopyRefused, packet.length());
            }
            Put::Held => return Outcome::Drop(Reason::Held),
            Put::Refused(reason) => {
                queue.count_dropped();
                return Outcome::Drop(reason);
            }
        }
    }
    match binding.action {
        _ if into_tunnel => to_tunnel(packet, header, &binding.egress),
        ACTION_BUFFER | ACTION_HOST => to_mobile_node(packet, header, &binding.egress.next_hop),
        // As if nothing were bound.
        _ if origin == Origin::Tunnel => forward(packet, header),
        _ => Outcome::Pass(Reason::NoBinding),
    }
}

#[inline(always)]
fn is_local(address: &Address) -> bool {
    LOCAL.get_ptr(address).is_some()
}

/// Into a tunnel: at a PAR from PCoA to NCoA (TUN-01), at a NAR from the PCoA to the PAR (HAK-07).
#[inline(always)]
fn to_tunnel(packet: &mut XdpPacket, inner: &Ipv6, egress: &Egress) -> Outcome {
    let outer = tunnel::outer_header(inner, egress);
    let length = outer.total_length();
    let route = forward::route(packet, &outer.source, &outer.destination, length);
    if let Route::TooBig(mtu) = route {
        return too_big::answer(packet, inner, &egress.outer_source, mtu);
    }
    // RFC 2473 section 3.1: the entry point forwards the packet, and so takes one hop of it.
    if packet.write(HOP_LIMIT, inner.hop_limit - 1).is_none()
        || tunnel::push(packet, outer).is_none()
    {
        return UNCHANGEABLE;
    }
    send(packet, route, Reason::Tunnelled, Reason::TunnelledByKernel)
}

/// To a mobile node on its link, its buffer being drained.
#[inline(always)]
fn to_mobile_node(packet: &mut XdpPacket, header: &Ipv6, hop: &NextHop) -> Outcome {
    if packet.write(HOP_LIMIT, header.hop_limit - 1).is_none()
        || forward::address_to(packet, hop).is_none()
    {
        return UNCHANGEABLE;
    }
    Outcome::Redirect(Reason::Delivered, hop.interface)
}

/// NAR that answered HAck code 3: from the mobile node that kept its PCoA (HAK-07, HI-16). What is bound
/// for it then; or what becomes of the packet, if it is not for the tunnel.
#[inline(always)]
fn from_host(packet: &XdpPacket, header: &Ipv6) -> Option<Result<Binding, Outcome>> {
    if maps::hosts() == 0 {
        return None;
    }
    let binding = match lookup::binding(&header.source) {
        Lookup::Found(binding) if binding.action == ACTION_HOST => binding,
        _ => return None,
    };
    // What is said to this router, or on this link alone, is the kernel's.
    let destination = &header.destination;
    if destination.is_multicast() || destination.is_link_local() || is_local(destination) {
        return Some(Err(Outcome::Pass(Reason::LinkScope)));
    }
    let hop = binding.egress.next_hop;
    // TUN-04, from this side: nobody else speaks for it.
    if packet.interface() != hop.interface || packet.read::<[u8; 6]>(6) != Some(hop.destination) {
        let addresses = [&header.source, &header.source, destination];
        events::emit(Kind::Spoofed, packet, 0, addresses);
        return Some(Err(Outcome::Pass(Reason::Spoofed)));
    }
    Some(Ok(binding))
}

/// Out of a tunnel that ends here, if it is that of a mobile node: at a PAR the reverse tunnel from a PCoA
/// (TUN-04, TUN-05), at a NAR that answered HAck code 3 the tunnel to a PCoA (HAK-08). The header that
/// leads the packet then; or what becomes of it, if it stays in the tunnel.
#[inline(always)]
fn from_tunnel(packet: &mut XdpPacket, outer: &Ipv6) -> Result<Ipv6, Outcome> {
    let Some(mut inner) = parse::ipv6_at(packet, INNER) else {
        return Err(Outcome::Pass(Reason::Malformed));
    };
    let mut refusal = Reason::NoBinding;
    let ours = ends_here(outer, &inner.source, ACTION_TUNNEL, &mut refusal)
        || maps::hosts() > 0 && ends_here(outer, &inner.destination, ACTION_HOST, &mut refusal);
    if !ours {
        if let Reason::Spoofed = refusal {
            debug!(
                packet,
                "tunnelled packet from {:i}, claiming to be from {:i}: not the end of that tunnel",
                outer.source.octets(),
                inner.source.octets()
            );
            let addresses = [&outer.source, &inner.source, &inner.destination];
            events::emit(Kind::Spoofed, packet, 0, addresses);
        }
        return Err(Outcome::Pass(refusal));
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

/// Whether `outer` is the header of the tunnel that is bound for `address`; if not, why.
#[inline(always)]
fn ends_here(outer: &Ipv6, address: &Address, action: u32, refusal: &mut Reason) -> bool {
    match lookup::binding(address) {
        Lookup::Found(binding) if binding.action == action => {
            let egress = &binding.egress;
            let ours = outer.destination == egress.outer_source
                && (outer.source == egress.outer_destination
                    || is_peer(&outer.source, egress.group));
            if !ours {
                *refusal = Reason::Spoofed;
            }
            ours
        }
        Lookup::Expired => {
            *refusal = Reason::Expired;
            false
        }
        _ => false,
    }
}

/// Whether the address is one of the router's with this number (AMB-20).
#[inline(always)]
fn is_peer(address: &Address, group: u32) -> bool {
    // SAFETY: a map element: it may change, but it stays an integer.
    group != 0 && matches!(unsafe { PEERS.get(address) }, Some(&found) if found == group)
}

/// On the kernel's routes, as any router would.
#[inline(always)]
fn forward(packet: &mut XdpPacket, header: &Ipv6) -> Outcome {
    if header.hop_limit <= 1 {
        return Outcome::Pass(Reason::HopLimit);
    }
    let length = header.total_length();
    let route = forward::route(packet, &header.source, &header.destination, length);
    if let Route::To(..) = route
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
        Route::To(hop, _) => match forward::address_to(packet, &hop) {
            Some(()) => Outcome::Redirect(sent, hop.interface),
            None => UNCHANGEABLE,
        },
        Route::TooBig(_) | Route::Unresolved | Route::Kernel => Outcome::Pass(passed),
    }
}

const _: () = assert!(TUNNEL_HEADER == parse::IPV6_HEADER);
