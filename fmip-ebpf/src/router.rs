//! An access router: what happens to a packet that comes in, and to one that goes out to mobile nodes.

use aya_log_ebpf::debug;
use fmip_common::{
    binding::{ACTION_BUFFER, ACTION_COPY, ACTION_HOST, ACTION_TUNNEL, Address, NextHop, Way},
    event::Kind,
    reason::Reason,
};

use crate::{
    Outcome,
    buffer::{Put, Queue},
    checksum, count, events,
    forward::{self, Answer, Route},
    lookup::{self, Bound, State},
    maps::{self, INTERFACES, LOCAL, PARKED, PEERS},
    packet::{Packet, Resize, TUNNEL_HEADER, TcPacket},
    parse::{self, HOP_LIMIT, Headers, INNER, IPV6_IN_IPV6, Ipv6},
    signal::{self, Node},
    too_big, tunnel,
};

const UNCHANGEABLE: Outcome = Outcome::Drop(Reason::Unchangeable);

/// Octets that are read directly: Ethernet, outer and inner header.
const HEADERS: u32 = 14 + 2 * parse::IPV6_HEADER as u32;

/// Interface index of the loopback, in every network namespace.
const LOOPBACK: u32 = 1;

/// The way of a packet that comes in.
#[inline(always)]
pub(crate) fn handle_in(packet: &mut impl Packet) -> Outcome {
    packet.pull(HEADERS);
    let header = match parse::parse(packet) {
        Headers::Ipv6(header) => header,
        Headers::Other(reason) => return Outcome::Pass(reason),
    };
    if let Some(outcome) = signal::intercept(packet, &header, Node::Router) {
        return outcome;
    }
    if signal::is_own_probe(packet, &header) {
        return Outcome::Drop(Reason::OwnProbe);
    }
    let (header, origin, bound) = match from_host(packet, &header) {
        Some(Ok(bound)) => (header, Origin::Host, bound),
        Some(Err(outcome)) => return outcome,
        None => {
            let bound = lookup::binding(&header.destination);
            match bound.state {
                State::InForce => (header, Origin::Elsewhere, bound),
                State::Expired => return Outcome::Pass(Reason::Expired),
                State::Nothing
                    if header.next_header == IPV6_IN_IPV6 && is_local(&header.destination) =>
                {
                    let inner = match from_tunnel(packet, &header) {
                        Ok(inner) => inner,
                        Err(outcome) => return outcome,
                    };
                    // To a node that is held here (HAck code 3), or that has left this router as
                    // well: out of one's tunnel and into the other's.
                    let bound = lookup::binding(&inner.destination);
                    if bound.state != State::InForce {
                        return forward(packet, &inner);
                    }
                    (inner, Origin::Tunnel, bound)
                }
                State::Nothing => return Outcome::Pass(Reason::NoBinding),
            }
        }
    };
    to_bound(packet, &header, origin, &bound)
}

/// The way of a packet that goes out of an interface towards mobile nodes: the router's own, and those that
/// came out of tunnels of the kernel's, which [`handle_in`] has never seen.
#[inline(always)]
pub(crate) fn handle_out(packet: &mut TcPacket<'_>) -> Outcome {
    let origin = match packet.came_in_on() {
        0 => Origin::Router,
        // What the drain gave to the kernel comes in on the loopback.
        LOOPBACK => return Outcome::Unseen,
        incoming => match INTERFACES.get(incoming) {
            Some(interface) if interface.ours != 0 => return Outcome::Unseen,
            _ => Origin::Kernel,
        },
    };
    packet.pull(HEADERS);
    let header = match parse::parse(packet) {
        Headers::Ipv6(header) => header,
        Headers::Other(reason) => return Outcome::Pass(reason),
    };
    // The controller says itself which way its messages take.
    if origin == Origin::Router && signal::is_own(packet, &header) {
        return Outcome::Unseen;
    }
    let bound = lookup::binding(&header.destination);
    match bound.state {
        State::InForce => to_bound(packet, &header, origin, &bound),
        State::Expired => Outcome::Pass(Reason::Expired),
        State::Nothing => Outcome::Pass(Reason::NoBinding),
    }
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
    /// From this router itself, to the bound address.
    Router,
    /// To the bound address, and forwarded by the kernel.
    Kernel,
}

impl Origin {
    /// Hops that this router takes of it yet.
    #[inline(always)]
    fn hops(self) -> u8 {
        match self {
            Self::Elsewhere | Self::Tunnel | Self::Host => 1,
            Self::Router | Self::Kernel => 0,
        }
    }

    /// Whether its checksum may be left to the interface that it goes out of.
    #[inline(always)]
    fn is_unfinished(self) -> bool {
        matches!(self, Self::Router | Self::Kernel)
    }
}

#[inline(always)]
fn to_bound<P: Packet>(packet: &mut P, header: &Ipv6, origin: Origin, bound: &Bound) -> Outcome {
    // A neighbor's probe of an address that this router defends (proxy neighbor discovery) is the kernel's
    // to answer, and nothing from a link-local address may leave its link.
    if packet.is_for_others()
        || !header.source.is_forwarded_from()
        || parse::is_neighbor_discovery(packet, header, 0)
    {
        return Outcome::Pass(Reason::LinkScope);
    }
    let hops = origin.hops();
    if header.hop_limit <= hops {
        return Outcome::Pass(Reason::HopLimit);
    }
    bound.count(packet.arrived());
    let binding = &bound.binding;
    let into_tunnel = binding.action == ACTION_TUNNEL || origin == Origin::Host;
    let Some(way) = lookup::tunnel_way(binding) else {
        return UNCHANGEABLE;
    };
    if into_tunnel {
        if tunnel::is_nested(packet, header) {
            return Outcome::Drop(Reason::Nested);
        }
        if packet.wire_length(header) + TUNNEL_HEADER as u32 > way.mtu {
            return too_big::answer(packet, header, &way.outer_source, way.mtu);
        }
    }
    if origin != Origin::Host
        && let Some(queue) = Queue::new(binding.buffer.into())
    {
        let put = queue.hold(packet, header, 0, |frame| {
            // SAFETY: a slot's frame, which holds an IPv6 packet; its hop limit is more than `hops`.
            unsafe {
                *frame.add(HOP_LIMIT) -= hops;
                if origin.is_unfinished() {
                    checksum::finish(frame, header, 0);
                }
            }
        });
        put.tell(packet, &header.source, &header.destination);
        let interface = packet.interface();
        // As it is copied: it may have come out of a tunnel.
        let octets = packet.network() as u64 + u64::from(header.total_length());
        match put {
            Put::Closed => {}
            Put::Held | Put::First if binding.action == ACTION_COPY => {
                count::count(interface, Reason::Copied, octets);
            }
            Put::Refused(_) if binding.action == ACTION_COPY => {
                count::count(interface, Reason::CopyRefused, octets);
            }
            Put::Held | Put::First if origin.is_unfinished() => return sink(),
            Put::Held | Put::First => return Outcome::Drop(Reason::Held),
            Put::Refused(reason) => {
                queue.count_dropped(reason);
                return Outcome::Drop(reason);
            }
        }
    }
    match binding.action {
        _ if into_tunnel => to_tunnel(packet, header, hops, way, &binding.remote),
        ACTION_BUFFER | ACTION_HOST => to_mobile_node(packet, header, hops, &lookup::node(binding)),
        // As if nothing were bound.
        _ if origin == Origin::Tunnel => forward(packet, header),
        _ => Outcome::Pass(Reason::NoBinding),
    }
}

/// Where the original of a held packet goes that this node sends: out of the parked interface, behind which
/// nobody is. Dropping it would tell the sender that it was lost, which it was not.
#[inline(always)]
pub(crate) fn sink() -> Outcome {
    match PARKED.get(0) {
        Some(&interface) if interface != 0 => Outcome::Redirect(Reason::Held, interface),
        _ => Outcome::Drop(Reason::Held),
    }
}

#[inline(always)]
fn is_local(address: &Address) -> bool {
    LOCAL.get_ptr(address).is_some()
}

/// Into a tunnel: at a PAR from PCoA to NCoA (TUN-01), at a NAR from the PCoA to the PAR (HAK-07).
#[inline(always)]
fn to_tunnel<P: Packet>(
    packet: &mut P,
    inner: &Ipv6,
    hops: u8,
    way: &Way,
    remote: &Address,
) -> Outcome {
    let outer = tunnel::outer_header_between(inner, &way.outer_source, remote);
    // RFC 2473 section 3.1: the entry point forwards the packet, and so takes one hop of it.
    let hop_limit = inner.hop_limit - hops;
    if P::exit(&way.next_hop) == 0 {
        return to_tunnel_by_route(packet, inner, hop_limit, way, outer);
    }
    let done = packet.write_ip(HOP_LIMIT, hop_limit).is_some()
        && packet.depart(Resize::Push, &way.next_hop)
        && packet.write_ip(0, outer).is_some();
    match done {
        true => Outcome::Redirect(Reason::Tunnelled, P::exit(&way.next_hop)),
        false => UNCHANGEABLE,
    }
}

/// The same, where the controller has not found out the next hop, or that takes no redirected frames.
#[inline(always)]
fn to_tunnel_by_route<P: Packet>(
    packet: &mut P,
    inner: &Ipv6,
    hop_limit: u8,
    way: &Way,
    outer: Ipv6,
) -> Outcome {
    let length = packet.wire_length(inner) + TUNNEL_HEADER as u32;
    let route = forward::recent_route(packet, &outer.source, &outer.destination, length);
    if route.answer == Answer::TooBig {
        return too_big::answer(packet, inner, &way.outer_source, route.mtu);
    }
    tell_unresolved(packet, &route, &outer.source, &outer.destination);
    if packet.write_ip(HOP_LIMIT, hop_limit).is_none() {
        return UNCHANGEABLE;
    }
    send(
        packet,
        Resize::Push,
        Some(outer),
        route,
        Reason::Tunnelled,
        Reason::TunnelledByKernel,
    )
}

/// To a mobile node on its link, its buffer being drained.
#[inline(always)]
fn to_mobile_node<P: Packet>(packet: &mut P, header: &Ipv6, hops: u8, hop: &NextHop) -> Outcome {
    if hops == 0 && packet.interface() == hop.interface {
        // It goes out there already: only its link-layer addresses are missing.
        return match packet.depart(Resize::Keep, hop) {
            true => Outcome::Pass(Reason::Delivered),
            false => UNCHANGEABLE,
        };
    }
    if P::exit(hop) == 0 {
        return Outcome::Pass(Reason::DeliveredByKernel);
    }
    if packet
        .write_ip(HOP_LIMIT, header.hop_limit - hops)
        .is_none()
        || !packet.depart(Resize::Keep, hop)
    {
        return UNCHANGEABLE;
    }
    Outcome::Redirect(Reason::Delivered, P::exit(hop))
}

/// NAR that answered HAck code 3: from the mobile node that kept its PCoA (HAK-07, HI-16). What is bound
/// for it then; or what becomes of the packet, if it is not for the tunnel.
#[inline(always)]
fn from_host(packet: &impl Packet, header: &Ipv6) -> Option<Result<Bound, Outcome>> {
    if maps::hosts() == 0 {
        return None;
    }
    let bound = lookup::binding(&header.source);
    if !bound.is(ACTION_HOST) {
        return None;
    }
    // What is said to this router, or on this link alone, is the kernel's.
    let destination = &header.destination;
    if destination.is_multicast() || destination.is_link_local() || is_local(destination) {
        return Some(Err(Outcome::Pass(Reason::LinkScope)));
    }
    // TUN-04, from this side: nobody else speaks for it.
    let hop = lookup::node(&bound.binding);
    if packet.interface() != hop.interface || packet.read::<[u8; 6]>(6) != Some(hop.destination) {
        let addresses = [&header.source, &header.source, destination];
        events::emit(Kind::Spoofed, packet, 0, addresses);
        return Some(Err(Outcome::Drop(Reason::Spoofed)));
    }
    Some(Ok(bound))
}

/// Out of a tunnel that ends here, if it is that of a mobile node: at a PAR the reverse tunnel from a PCoA
/// (TUN-04, TUN-05), at a NAR that answered HAck code 3 the tunnel to a PCoA (HAK-08). The header that
/// leads the packet then, with the outer one still before it; or what becomes of it, if it stays in the
/// tunnel.
#[inline(always)]
fn from_tunnel(packet: &mut impl Packet, outer: &Ipv6) -> Result<Ipv6, Outcome> {
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
        return Err(match refusal {
            // TUN-04: nobody opens it, the kernel's own tunnels no more than we.
            Reason::Spoofed => Outcome::Drop(Reason::Spoofed),
            reason => Outcome::Pass(reason),
        });
    }
    // On this side of the tunnel, its hop limit of 255 would make it a neighbor's word (RFC 4861
    // section 11.2).
    if packet.is_for_others()
        || !inner.source.is_forwarded_from()
        || !inner.destination.is_forwarded_to()
        || parse::is_neighbor_discovery(packet, &inner, INNER)
    {
        return Err(Outcome::Pass(Reason::LinkScope));
    }
    inner.version_class_flow =
        tunnel::congestion(outer, &inner).ok_or(Outcome::Drop(Reason::CongestionLost))?;
    packet
        .write_ip(INNER, inner.version_class_flow)
        .filter(|()| packet.resize(Resize::Pop))
        .ok_or(UNCHANGEABLE)?;
    packet.pull(HEADERS);
    Ok(inner)
}

/// Whether `outer` is the header of the tunnel that is bound for `address`; if not, why.
#[inline(always)]
fn ends_here(outer: &Ipv6, address: &Address, action: u16, refusal: &mut Reason) -> bool {
    let bound = lookup::binding(address);
    if bound.state == State::Expired {
        *refusal = Reason::Expired;
    }
    // A mobile node that is announced back sends by the tunnel whose place its buffer has taken, until it
    // hears of that.
    let is_left = action == ACTION_TUNNEL && bound.is(ACTION_BUFFER);
    if !bound.is(action) && !is_left {
        return false;
    }
    let egress = lookup::tunnel(&bound.binding);
    if is_left && !egress.is_tunnel() {
        return false;
    }
    let ours = outer.destination == egress.outer_source
        && (outer.source == egress.outer_destination || is_peer(&outer.source, egress.group));
    if !ours {
        *refusal = Reason::Spoofed;
    }
    ours
}

/// Whether the address is one of the router's with this number (AMB-20).
#[inline(always)]
fn is_peer(address: &Address, group: u32) -> bool {
    // SAFETY: a map element: it may change, but it stays an integer.
    group != 0 && matches!(unsafe { PEERS.get(address) }, Some(&found) if found == group)
}

/// On the kernel's routes, as any router would.
#[inline(always)]
fn forward(packet: &mut impl Packet, header: &Ipv6) -> Outcome {
    if header.hop_limit <= 1 {
        return Outcome::Pass(Reason::HopLimit);
    }
    let length = packet.wire_length(header);
    let route = forward::recent_route(packet, &header.source, &header.destination, length);
    tell_unresolved(packet, &route, &header.source, &header.destination);
    if route.answer == Answer::To && packet.write_ip(HOP_LIMIT, header.hop_limit - 1).is_none() {
        return UNCHANGEABLE;
    }
    send(
        packet,
        Resize::Keep,
        None,
        route,
        Reason::Untunnelled,
        Reason::UntunnelledByKernel,
    )
}

/// Tells people of a packet that the kernel gets for its next hop's link-layer address.
#[inline(always)]
fn tell_unresolved(packet: &impl Packet, route: &Route, source: &Address, destination: &Address) {
    if route.answer == Answer::Unresolved {
        let addresses = [source, destination, &Address([0; 2])];
        events::emit(Kind::NextHopMissing, packet, 0, addresses);
    }
}

/// Sends the packet, or leaves it to the kernel: a neighbor that is not known yet is resolved there,
/// and the packet waits for it.
#[inline(always)]
fn send<P: Packet>(
    packet: &mut P,
    change: Resize,
    outer: Option<Ipv6>,
    route: Route,
    sent: Reason,
    passed: Reason,
) -> Outcome {
    let (outcome, resized) = match route.answer {
        Answer::To => (
            Outcome::Redirect(sent, P::exit(&route.hop)),
            packet.depart(change, &route.hop),
        ),
        Answer::TooBig | Answer::Unresolved | Answer::Kernel => {
            (Outcome::Pass(passed), packet.resize(change))
        }
    };
    let written = match outer {
        Some(outer) => packet.write_ip(0, outer),
        None => Some(()),
    };
    match resized && written.is_some() {
        true => outcome,
        false => UNCHANGEABLE,
    }
}

const _: () = assert!(TUNNEL_HEADER == parse::IPV6_HEADER);
