//! Next hop: which interface and which link-layer address a packet leaves to.

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as Fib,
    },
    helpers::bpf_fib_lookup,
};
use fmip_common::{
    binding::{Address, NextHop},
    limits,
};

use crate::{
    maps::{FIB, INTERFACES, RECENT_ROUTES},
    packet::{Packet, coarse_now},
};

const AF_INET6: u8 = 10;

/// What the kernel's routes say about a packet.
///
/// Not an enumeration: of one that says nothing about the next hop, the compiler carries on what is in none of
/// its fields, and the verifier refuses that.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) answer: Answer,
    /// With [`Answer::To`]: there.
    pub(crate) hop: NextHop,
    /// With [`Answer::To`] and [`Answer::TooBig`]: the way's maximum transmission unit, in octets.
    pub(crate) mtu: u32,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    /// Send it there.
    To,
    /// It is too long.
    TooBig,
    /// The next hop's link-layer address is not known yet: the kernel finds it out, when it gets a
    /// packet.
    Unresolved,
    /// The kernel must decide: no route, not forwarding, no interface of ours.
    Kernel,
}

/// A route that the kernel gave lately, on this processor.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Recent {
    source: Address,
    destination: Address,
    /// Which interface the packet came in on: rules may ask for it.
    interface: u32,
    mtu: u32,
    /// On the clock of [`coarse_now`].
    until_ns: u64,
    hop: NextHop,
}

/// How long a route is believed: a few of the kernel's ticks, so that it is asked some tens of times in a second
/// however many packets come. One that comes after a change, and before that is over, goes the old way.
const RECENT_NS: u64 = 20_000_000;

/// As [`route`], but asks only once in a while for the packets from one address to another.
#[inline(always)]
pub(crate) fn recent_route<P: Packet>(
    packet: &P,
    source: &Address,
    destination: &Address,
    length: u32,
) -> Route {
    let [a, b] = source.0;
    let [c, d] = destination.0;
    let mixed = (a ^ c.rotate_left(17) ^ b.rotate_left(31) ^ d).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let place = (mixed >> (64 - limits::RECENT_ROUTES_BITS)) as u32;
    let Some(recent) = RECENT_ROUTES.get_ptr_mut(place) else {
        return route(packet, source, destination, length);
    };
    let (interface, now) = (packet.interface(), coarse_now());
    // SAFETY: an element of a per-CPU map, and a program is not interrupted by itself.
    let recent = unsafe { &mut *recent };
    if recent.destination == *destination
        && recent.source == *source
        && recent.interface == interface
        && now < recent.until_ns
        && length <= recent.mtu
        // One that a program of the other kind asked for may be none for this one.
        && P::exit(&recent.hop) != 0
    {
        return Route {
            answer: Answer::To,
            hop: recent.hop,
            mtu: recent.mtu,
        };
    }
    let route = route(packet, source, destination, length);
    if route.answer == Answer::To {
        recent.source = *source;
        recent.destination = *destination;
        recent.interface = interface;
        recent.mtu = route.mtu;
        recent.until_ns = now + RECENT_NS;
        recent.hop = route.hop;
    }
    route
}

/// Asks the kernel's routes and neighbors for the way of a packet of `length` octets; of any packet, if
/// that is 0.
#[inline(always)]
pub(crate) fn route<P: Packet>(
    packet: &P,
    source: &Address,
    destination: &Address,
    length: u32,
) -> Route {
    let mut route = Route {
        answer: Answer::Kernel,
        hop: NextHop::default(),
        mtu: 0,
    };
    let Some(fib) = FIB.get_ptr_mut(0) else {
        return route;
    };
    // Word by word, and volatile: else it is zeroed by a loop over its octets, in a function of its own.
    for word in 0..size_of::<Fib>() / 8 {
        // SAFETY: an element of a per-CPU map, of so many words, and a program is not interrupted by itself.
        unsafe { fib.cast::<u64>().add(word).write_volatile(0) };
    }
    // SAFETY: as above; a structure of integers.
    let fib = unsafe { &mut *fib };
    fib.family = AF_INET6;
    // 40 + payload length for IPv6, or the answer about the MTU is wrong.
    fib.__bindgen_anon_1.tot_len = length as u16;
    fib.ifindex = packet.interface();
    fib.__bindgen_anon_3.ipv6_src = words(source);
    fib.__bindgen_anon_4.ipv6_dst = words(destination);
    // SAFETY: the context is the kernel's, the structure the map's.
    let answer =
        unsafe { bpf_fib_lookup(packet.as_ptr(), &raw mut *fib, size_of::<Fib>() as i32, 0) };
    // SAFETY: both members are the same integer.
    route.mtu = u32::from(unsafe { fib.__bindgen_anon_1.mtu_result });
    if answer == i64::from(BPF_FIB_LKUP_RET_SUCCESS) {
        // Elsewhere a redirected frame may vanish without a trace: a tunnel, a driver without XDP.
        // The kernel knows the way there, too.
        if let Some(interface) = INTERFACES.get(fib.ifindex)
            && interface.ours != 0
        {
            route.hop = NextHop {
                interface: fib.ifindex,
                port: interface.port,
                tags: interface.tags,
                destination: fib.dmac,
                source: fib.smac,
                reserved: 0,
            };
            if P::exit(&route.hop) != 0 {
                route.answer = Answer::To;
            }
        }
    } else if answer == i64::from(BPF_FIB_LKUP_RET_FRAG_NEEDED) {
        route.answer = Answer::TooBig;
    } else if answer == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH) {
        route.answer = Answer::Unresolved;
    }
    route
}

#[inline(always)]
fn words(address: &Address) -> [u32; 4] {
    let [a, b] = address.0;
    if cfg!(target_endian = "little") {
        [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32]
    } else {
        [(a >> 32) as u32, a as u32, (b >> 32) as u32, b as u32]
    }
}
