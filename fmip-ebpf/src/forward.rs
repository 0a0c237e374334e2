//! Next hop: which interface and which link-layer address a packet leaves to.

use core::mem::zeroed;

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as Fib,
    },
    helpers::bpf_fib_lookup,
};
use fmip_common::binding::{Address, NextHop};

use crate::{maps::INTERFACES, packet::Packet};

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

/// The next hop that the controller found out already, or else what the kernel's routes say.
#[inline(always)]
pub(crate) fn known_or_route<P: Packet>(
    packet: &P,
    known: &NextHop,
    source: &Address,
    destination: &Address,
    length: u32,
) -> Route {
    if P::exit(known) != 0 {
        // Its maximum transmission unit is in the way that it comes from.
        return Route {
            answer: Answer::To,
            hop: *known,
            mtu: u32::MAX,
        };
    }
    route(packet, source, destination, length)
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
    // SAFETY: a structure of integers.
    let mut fib: Fib = unsafe { zeroed() };
    fib.family = AF_INET6;
    // 40 + payload length for IPv6, or the answer about the MTU is wrong.
    fib.__bindgen_anon_1.tot_len = length as u16;
    fib.ifindex = packet.interface();
    fib.__bindgen_anon_3.ipv6_src = words(source);
    fib.__bindgen_anon_4.ipv6_dst = words(destination);
    // SAFETY: the context is the kernel's, the structure on this stack.
    let answer =
        unsafe { bpf_fib_lookup(packet.as_ptr(), &raw mut fib, size_of::<Fib>() as i32, 0) };
    let mut route = Route {
        answer: Answer::Kernel,
        hop: NextHop::default(),
        // SAFETY: both members are the same integer.
        mtu: u32::from(unsafe { fib.__bindgen_anon_1.mtu_result }),
    };
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
