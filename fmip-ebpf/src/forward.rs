//! Next hop: which interface and which link-layer address a packet leaves to.

use core::mem::zeroed;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as Fib,
    },
    helpers::bpf_fib_lookup,
};
use fmip_common::binding::{Address, NextHop};

use crate::{
    maps::INTERFACES,
    packet::{Packet, XdpPacket},
};

const AF_INET6: u8 = 10;

/// What the kernel's routes say about a packet.
pub(crate) enum Route {
    /// Send it there; the way's maximum transmission unit, in octets.
    To(NextHop, u32),
    /// It is longer than the way's maximum transmission unit, in octets.
    TooBig(u32),
    /// The next hop's link-layer address is not known yet: the kernel finds it out, when it gets a
    /// packet.
    Unresolved,
    /// The kernel must decide: no route, not forwarding, no interface of ours.
    Kernel,
}

/// Asks the kernel's routes and neighbors for the way of a packet of `length` octets; of any packet, if
/// that is 0.
#[inline(always)]
pub(crate) fn route(
    packet: &XdpPacket,
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
    if answer == i64::from(BPF_FIB_LKUP_RET_SUCCESS) {
        // Elsewhere a redirected frame may vanish without a trace: a VLAN device, a tunnel, a
        // driver without XDP. The kernel knows the way there, too.
        if INTERFACES.get_ptr(fib.ifindex).is_none() {
            return Route::Kernel;
        }
        let hop = NextHop {
            interface: fib.ifindex,
            destination: fib.dmac,
            source: fib.smac,
        };
        // SAFETY: both members are the same integer.
        Route::To(hop, u32::from(unsafe { fib.__bindgen_anon_1.mtu_result }))
    } else if answer == i64::from(BPF_FIB_LKUP_RET_FRAG_NEEDED) {
        // SAFETY: both members are the same integer.
        Route::TooBig(u32::from(unsafe { fib.__bindgen_anon_1.mtu_result }))
    } else if answer == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH) {
        Route::Unresolved
    } else {
        Route::Kernel
    }
}

/// Writes the link-layer addresses of the next hop.
#[inline(always)]
pub(crate) fn address_to(packet: &mut impl Packet, hop: &NextHop) -> Option<()> {
    packet.write(0, hop.destination)?;
    packet.write(6, hop.source)
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
