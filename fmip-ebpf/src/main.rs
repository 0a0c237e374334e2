//! The programs, and the one place where an outcome becomes a verdict.
//!
//! * `fmip_router` (XDP): on every interface of an access router, core and access side alike; where a
//!   driver does not run XDP, `fmip_router_in` (TC) instead, over the same body.
//! * `fmip_router_out` (TC): on what goes out of the access interfaces, for packets that neither has seen.
//! * `fmip_drain` (XDP): takes packets out of the handover buffers; run by the controller with
//!   live frames, and attached to a parked interface so that such a run is cheap.
//! * `fmip_clock` (XDP): tells the controller what the kernel's ticks are; attached nowhere.
//! * `fmip_mobile_in`, `fmip_mobile_out` (TC): on the interface of a mobile node; `fmip_release` (TC): on its
//!   loopback, for what was held.
//! * `fmip_probe` (XDP), `fmip_probe_sent`, `fmip_probe_failed` (raw tracepoints): whether a driver
//!   takes redirected frames.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(internal_features)]

mod buffer;
mod checksum;
mod count;
mod drain;
mod events;
mod forward;
mod lookup;
mod maps;
mod mobile;
mod packet;
mod parse;
mod probe;
mod router;
mod signal;
mod too_big;
mod tunnel;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, raw_tracepoint, xdp},
    programs::{RawTracePointContext, TcContext, XdpContext},
};
use fmip_common::reason::Reason;

use packet::{Packet, TcPacket, XdpPacket};

/// What became of a packet.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// On to the kernel.
    Pass(Reason),
    /// Ends here.
    Drop(Reason),
    /// Out of the interface with this index.
    Redirect(Reason, u32),
    /// Back where it came from: out of the interface it came in on, or in by the one it goes out of.
    Reply(Reason),
    /// Nothing was taken from the buffer: there is no packet to speak of.
    Nothing,
    /// On to the kernel, and not counted: it was counted when it came in, or is none of the data path's.
    Unseen,
}

// The attribute that makes a program of a function makes two of it, one of which calls the other, and on many
// machines a return costs as much as a look-up: they are all to be put into one.

/// What an access router does with every packet that comes in. With fragments: packets that take more than
/// one page of memory (jumbo frames) come here, too.
#[xdp(frags)]
#[inline(always)]
pub fn fmip_router(ctx: XdpContext) -> u32 {
    let mut packet = XdpPacket::new(&ctx);
    let outcome = router::handle_in(&mut packet);
    xdp_verdict(outcome, packet.arrived(), packet.interface())
}

/// The same, where the driver of the interface does not run XDP.
#[classifier]
#[inline(always)]
pub fn fmip_router_in(ctx: TcContext) -> i32 {
    let mut packet = TcPacket::new(&ctx);
    let outcome = router::handle_in(&mut packet);
    tc_verdict(outcome, packet.arrived(), packet.interface(), Side::In)
}

/// What an access router does with packets that go out to mobile nodes and did not come in by one of its
/// interfaces.
#[classifier]
#[inline(always)]
pub fn fmip_router_out(ctx: TcContext) -> i32 {
    let mut packet = TcPacket::new(&ctx);
    let outcome = router::handle_out(&mut packet);
    tc_verdict(outcome, packet.arrived(), packet.interface(), Side::Out)
}

/// Takes one packet out of a handover buffer and makes the live frame carry it.
#[xdp]
#[inline(always)]
pub fn fmip_drain(ctx: XdpContext) -> u32 {
    let mut packet = XdpPacket::new(&ctx);
    let (outcome, length) = drain::handle(&mut packet);
    xdp_verdict(outcome, length, packet.interface())
}

/// Says what time it is, in the kernel's ticks: for the controller, which has no other way to know.
#[xdp]
pub fn fmip_clock(_ctx: XdpContext) -> u32 {
    packet::tick()
}

/// What a mobile node does with every packet that comes in.
#[classifier]
#[inline(always)]
pub fn fmip_mobile_in(ctx: TcContext) -> i32 {
    let mut packet = TcPacket::new(&ctx);
    let outcome = mobile::handle_in(&mut packet);
    tc_verdict(outcome, packet.arrived(), packet.interface(), Side::In)
}

/// What a mobile node does with every packet that goes out.
#[classifier]
#[inline(always)]
pub fn fmip_mobile_out(ctx: TcContext) -> i32 {
    let mut packet = TcPacket::new(&ctx);
    let outcome = mobile::handle_out(&mut packet);
    tc_verdict(outcome, packet.arrived(), packet.interface(), Side::Out)
}

/// Sends out of a mobile node's interface what the drain has passed up on the loopback: by the kernel's ordinary
/// transmission, as what the node sends next, and in front of it.
#[classifier]
#[inline(always)]
pub fn fmip_release(ctx: TcContext) -> i32 {
    match mobile::exit_of_released(&TcPacket::new(&ctx)) {
        // It was counted when it was taken.
        Some(interface) => packet::redirect(interface) as i32,
        None => TC_ACT_UNSPEC,
    }
}

/// Where a TC program stands.
#[derive(Clone, Copy)]
enum Side {
    In,
    Out,
}

/// Sends the frame of a probe out of the interface under test.
#[xdp]
pub fn fmip_probe(_ctx: XdpContext) -> u32 {
    probe::send()
}

/// Hears what the driver under test did with it.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
pub fn fmip_probe_sent(ctx: RawTracePointContext) {
    probe::sent(&ctx);
}

/// Hears that the driver under test was not even asked.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
pub fn fmip_probe_failed(ctx: RawTracePointContext) {
    probe::failed(&ctx);
}

#[inline(always)]
fn xdp_verdict(outcome: Outcome, length: u64, interface: u32) -> u32 {
    let count = |reason| count::count(interface, reason, length);
    match outcome {
        Outcome::Pass(reason) => {
            count(reason);
            xdp_action::XDP_PASS
        }
        Outcome::Drop(reason) => {
            count(reason);
            xdp_action::XDP_DROP
        }
        Outcome::Redirect(reason, port) => {
            count(reason);
            packet::redirect(port) as u32
        }
        Outcome::Reply(reason) => {
            count(reason);
            xdp_action::XDP_TX
        }
        Outcome::Nothing => xdp_action::XDP_DROP,
        Outcome::Unseen => xdp_action::XDP_PASS,
    }
}

#[inline(always)]
fn tc_verdict(outcome: Outcome, length: u64, own: u32, side: Side) -> i32 {
    let count = |reason| count::count(own, reason, length);
    match outcome {
        // Not TC_ACT_OK: programs behind this one, and the operator's filters, see the packet too.
        Outcome::Pass(reason) => {
            count(reason);
            TC_ACT_UNSPEC
        }
        Outcome::Drop(reason) => {
            count(reason);
            TC_ACT_SHOT
        }
        Outcome::Redirect(reason, interface) => {
            count(reason);
            packet::redirect(interface) as i32
        }
        Outcome::Reply(reason) => {
            count(reason);
            let turned = match side {
                Side::In => packet::redirect(own),
                Side::Out => packet::turn_in(own),
            };
            turned as i32
        }
        Outcome::Nothing => TC_ACT_SHOT,
        Outcome::Unseen => TC_ACT_UNSPEC,
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
