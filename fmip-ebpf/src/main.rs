//! The programs, and the one place where an outcome becomes a verdict.
//!
//! * `fmip_router` (XDP): on every interface of an access router, core and access side alike.
//! * `fmip_drain` (XDP): takes packets out of the handover buffers; run by the controller with
//!   live frames, and attached to a parked interface so that such a run is cheap.
//! * `fmip_mobile_in`, `fmip_mobile_out` (TC): on the interface of a mobile node.

#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(internal_features)]

mod buffer;
mod checksum;
mod count;
mod drain;
mod forward;
mod lookup;
mod maps;
mod mobile;
mod packet;
mod parse;
mod router;
mod signal;
mod too_big;
mod tunnel;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
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
}

/// What an access router does with every packet that comes in.
#[xdp(frags)]
pub fn fmip_router(ctx: XdpContext) -> u32 {
    let mut packet = XdpPacket::new(&ctx);
    let length = packet.length();
    let outcome = router::handle(&mut packet);
    xdp_verdict(outcome, length)
}

/// Takes one packet out of a handover buffer and makes the live frame carry it.
#[xdp]
pub fn fmip_drain(ctx: XdpContext) -> u32 {
    let mut packet = XdpPacket::new(&ctx);
    let (outcome, length) = drain::handle(&mut packet);
    xdp_verdict(outcome, length)
}

/// What a mobile node does with every packet that comes in.
#[classifier]
pub fn fmip_mobile_in(ctx: TcContext) -> i32 {
    let mut packet = TcPacket::new(&ctx);
    let length = packet.length();
    let outcome = mobile::handle_in(&mut packet);
    tc_verdict(outcome, length, packet.interface())
}

/// What a mobile node does with every packet that goes out.
#[classifier]
pub fn fmip_mobile_out(ctx: TcContext) -> i32 {
    let mut packet = TcPacket::new(&ctx);
    let length = packet.length();
    let outcome = mobile::handle_out(&mut packet);
    tc_verdict(outcome, length, packet.interface())
}

#[inline(always)]
fn xdp_verdict(outcome: Outcome, length: u64) -> u32 {
    match outcome {
        Outcome::Pass(reason) => {
            count::count(reason, length);
            xdp_action::XDP_PASS
        }
        Outcome::Drop(reason) => {
            count::count(reason, length);
            xdp_action::XDP_DROP
        }
        Outcome::Redirect(reason, interface) => {
            count::count(reason, length);
            packet::redirect(interface) as u32
        }
        Outcome::Reply(reason) => {
            count::count(reason, length);
            xdp_action::XDP_TX
        }
        Outcome::Nothing => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn tc_verdict(outcome: Outcome, length: u64, own: u32) -> i32 {
    match outcome {
        // Not TC_ACT_OK: programs behind this one, and the operator's filters, see the packet too.
        Outcome::Pass(reason) => {
            count::count(reason, length);
            TC_ACT_UNSPEC
        }
        Outcome::Drop(reason) => {
            count::count(reason, length);
            TC_ACT_SHOT
        }
        Outcome::Redirect(reason, interface) => {
            count::count(reason, length);
            packet::redirect(interface) as i32
        }
        Outcome::Reply(reason) => {
            count::count(reason, length);
            packet::turn_in(own) as i32
        }
        Outcome::Nothing => TC_ACT_SHOT,
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
