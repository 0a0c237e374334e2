//! The helper programs of the bench; no part of what a router loads.
//!
//! * `bench_walk` and `bench_walk_again` (XDP): make of every frame that they are run with a packet to the next of
//!   many nodes, and give it to another program by a tail call: to what is measured, or to what it is compared
//!   with. So both pay alike for the making.
//! * `bench_pass`, `bench_redirect`, `bench_redirect_fib` (XDP): what fmip is compared with.
//! * `bench_to_ring` (XDP): the first half of a handover buffer in user space.
//! * `bench_sink` (XDP), `bench_sink_kernel` (TC): count what arrives at the far end, and drop it.
//!
//! With fragments, as the router is: a tail call goes only to a program of the same kind.

#![no_std]
#![no_main]

use core::mem::transmute;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_FIB_LKUP_RET_SUCCESS, BPF_RB_NO_WAKEUP, TC_ACT_SHOT, bpf_fib_lookup as Fib, xdp_action,
        xdp_md,
    },
    helpers::{
        bpf_fib_lookup, bpf_redirect, bpf_ringbuf_output, bpf_xdp_adjust_head,
        bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    macros::{classifier, map, xdp},
    maps::{Array, PerCpuArray, ProgramArray, RingBuf},
    programs::{TcContext, XdpContext},
};
use fmip_common::bench::{
    DESTINATION_ID, DESTINATIONS, INNER_SOURCE_ID, PLAIN_HEAD, Plan, TUNNEL_HEAD, TUNNELLED,
    interface_id,
};

/// What is measured, one entry. Driver writes, walking programs read and move on.
#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);

/// Whom the walking programs give a packet to. Driver writes.
#[map]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(8, 0);

/// Packets that arrived, one entry. Sinks write, driver reads.
#[map]
static ARRIVED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// What the user-space buffer holds. `bench_to_ring` writes, driver reads; the size is the driver's.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// A frame on its way into the ring.
#[map]
static FRAME: PerCpuArray<[u8; FRAME_BYTES]> = PerCpuArray::with_max_entries(1, 0);

const FRAME_BYTES: usize = 2048;

/// The order in which the nodes are walked over: a variable, that is a map named `.bss`, which the driver fills.
/// So that neither the program nor the processor can guess which comes next.
#[unsafe(no_mangle)]
static mut ORDER: [u32; DESTINATIONS] = [0; DESTINATIONS];

/// For live frames, which come anew each time but for what the last run wrote into them.
#[xdp(frags)]
pub fn bench_walk(ctx: XdpContext) -> u32 {
    walk(&ctx)
}

/// For repeated runs, which all get the one packet as the last run left it: makes it as long as it was.
#[xdp(frags)]
pub fn bench_walk_again(ctx: XdpContext) -> u32 {
    let Some(plan) = PLAN.get_ptr(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: a map element; the context is the kernel's.
    unsafe {
        // Even if it is as long as it was: what did not change it must cost as much here.
        let grown = bpf_xdp_get_buff_len(ctx.ctx) as i64 - i64::from((*plan).length);
        if bpf_xdp_adjust_head(ctx.ctx, grown as i32) != 0 {
            return xdp_action::XDP_ABORTED;
        }
    }
    walk(&ctx)
}

#[inline(always)]
fn walk(ctx: &XdpContext) -> u32 {
    let Some(plan) = PLAN.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: a map element, which the driver writes between runs only, and the programs on one processor.
    let (shape, program) = unsafe { ((*plan).shape, (*plan).program) };
    // SAFETY: as above; the variable is read within its bounds.
    let id = unsafe {
        let next = (*plan).next;
        let order = (&raw const ORDER).cast::<u32>();
        let index = order.add(next as usize % DESTINATIONS).read();
        let after = next + 1;
        (*plan).next = if after < (*plan).destinations {
            after
        } else {
            0
        };
        interface_id(index)
    };
    let written = if shape == TUNNELLED {
        // SAFETY: as above.
        unsafe { write::<TUNNEL_HEAD, INNER_SOURCE_ID>(ctx.ctx, plan, id) }
    } else {
        // SAFETY: as above.
        unsafe { write::<PLAIN_HEAD, DESTINATION_ID>(ctx.ctx, plan, id) }
    };
    if written {
        // SAFETY: the context is the kernel's; nothing here is left to drop.
        unsafe { PROGRAMS.tail_call(ctx, program) };
    }
    xdp_action::XDP_ABORTED
}

/// Writes the first `LENGTH` octets of the frame, with the interface identifier at `AT`.
///
/// # Safety
/// The context is the kernel's, the plan a map element.
#[inline(always)]
unsafe fn write<const LENGTH: usize, const AT: usize>(
    ctx: *mut xdp_md,
    plan: *const Plan,
    id: u64,
) -> bool {
    // SAFETY: compared with the end of the packet before it is written.
    unsafe {
        let (start, end) = ((*ctx).data as usize, (*ctx).data_end as usize);
        if start + LENGTH > end {
            return false;
        }
        let (to, from) = (start as *mut u8, (&raw const (*plan).head).cast::<u8>());
        // Field by field, so that whoever reads an address next finds it in one of the processor's pending
        // writes: across two of them it would wait, as it never does for a packet from the wire.
        copy::<u16>(to, from, 0);
        copy::<u32>(to, from, 2);
        copy::<u64>(to, from, 6);
        let mut at = ETHERNET;
        while at < LENGTH {
            copy::<u64>(to, from, at);
            at += 8;
        }
        to.add(AT).cast::<u64>().write(id);
    }
    true
}
const ETHERNET: usize = 14;
const _: () = assert!((PLAIN_HEAD - ETHERNET) % 8 == 0 && (TUNNEL_HEAD - ETHERNET) % 8 == 0);

/// Copies one field.
///
/// # Safety
/// Both are valid for a `T` at this offset, and aligned: a packet by the verifier's own reckoning (two octets are
/// left before it), the plan's head since it lies likewise.
#[inline(always)]
unsafe fn copy<T>(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: as the caller says.
    unsafe {
        let field = from.add(at).cast::<T>().read();
        to.add(at).cast::<T>().write(field);
    }
}

/// The empty program: what a packet costs before anything is done to it, and how it gets into the kernel.
#[xdp(frags)]
pub fn bench_pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// The least that a program can do to forward a packet.
#[xdp(frags)]
pub fn bench_redirect(_: XdpContext) -> u32 {
    let Some(plan) = PLAN.get_ptr(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: a map element; a helper without pointers.
    unsafe { bpf_redirect((*plan).interface, 0) as u32 }
}

/// The least that a program can do to route a packet.
#[xdp(frags)]
pub fn bench_redirect_fib(ctx: XdpContext) -> u32 {
    const AF_INET6: u8 = 10;
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + PLAIN_HEAD > end {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: compared with the end of the packet above; the context is the kernel's.
    unsafe {
        let packet = start as *mut u8;
        let hop_limit = packet.add(14 + 7);
        if packet.add(12).cast::<u16>().read() != 0x86dd_u16.to_be() || *hop_limit <= 1 {
            return xdp_action::XDP_PASS;
        }
        // Not `zeroed`, which becomes a loop over octets.
        let mut fib: Fib = transmute([0_u64; size_of::<Fib>() / 8]);
        fib.family = AF_INET6;
        fib.__bindgen_anon_1.tot_len =
            u16::from_be(packet.add(14 + 4).cast::<u16>().read()).wrapping_add(40);
        fib.ifindex = (*ctx.ctx).ingress_ifindex;
        fib.__bindgen_anon_3.ipv6_src = packet.add(14 + 8).cast::<[u32; 4]>().read();
        fib.__bindgen_anon_4.ipv6_dst = packet.add(14 + 24).cast::<[u32; 4]>().read();
        let answer = bpf_fib_lookup(ctx.as_ptr(), &raw mut fib, size_of::<Fib>() as i32, 0);
        if answer != i64::from(BPF_FIB_LKUP_RET_SUCCESS) {
            return xdp_action::XDP_PASS;
        }
        *hop_limit -= 1;
        packet.cast::<[u8; 6]>().write(fib.dmac);
        packet.add(6).cast::<[u8; 6]>().write(fib.smac);
        bpf_redirect(fib.ifindex, 0) as u32
    }
}

/// Hands the packet to user space, and ends it.
#[xdp(frags)]
pub fn bench_to_ring(ctx: XdpContext) -> u32 {
    let Some(frame) = FRAME.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the context is the kernel's, the frame a map element of this processor, as long as its bound says.
    unsafe {
        let length = bpf_xdp_get_buff_len(ctx.ctx);
        if length < 16 || length > FRAME_BYTES as u64 {
            return xdp_action::XDP_ABORTED;
        }
        if bpf_xdp_load_bytes(ctx.ctx, 0, frame.cast(), length as u32) != 0 {
            return xdp_action::XDP_ABORTED;
        }
        let flags = u64::from(BPF_RB_NO_WAKEUP);
        if bpf_ringbuf_output(
            (&raw const RING).cast_mut().cast(),
            frame.cast(),
            length,
            flags,
        ) != 0
        {
            return xdp_action::XDP_ABORTED;
        }
    }
    xdp_action::XDP_DROP
}

/// What the wire's far end gets in XDP.
#[xdp(frags)]
pub fn bench_sink(_: XdpContext) -> u32 {
    arrived();
    xdp_action::XDP_DROP
}

/// What the wire's far end gets in the kernel.
#[classifier]
pub fn bench_sink_kernel(_: TcContext) -> i32 {
    arrived();
    TC_ACT_SHOT
}

#[inline(always)]
fn arrived() {
    if let Some(count) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: an element of this processor's own.
        unsafe { *count += 1 };
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier refuses a program that could panic.
    loop {}
}

/// The licence the kernel reads: GPL-compatible, so that the helpers which ask for one load.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
