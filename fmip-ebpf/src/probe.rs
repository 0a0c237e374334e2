//! Whether a driver really takes frames that are redirected to it.
//!
//! A redirect is a promise: the program is told that it went well, and what the driver does with the
//! frame is known later, by nobody but the kernel's own tracepoints. So one program sends a frame, and
//! two others hear its fate there. All of this happens on one CPU within one run of the first, during
//! which no other packet is processed on it: what is heard first after the frame was sent is of the
//! frame.

use aya_ebpf::{
    bindings::xdp_action,
    macros::map,
    maps::{Array, PerCpuArray},
    programs::RawTracePointContext,
};
use fmip_common::probe::{NOT_ASKED, Probe, REFUSED, SENT, TAKEN};

use crate::packet;

/// Index of the interface under test, one entry. Controller writes, probe reads.
#[map]
static PROBE_TARGET: Array<u32> = Array::with_max_entries(1, 0);

/// What became of the frame, by CPU, one entry. Controller clears and reads, the probe's programs
/// write.
#[map]
static PROBE: PerCpuArray<Probe> = PerCpuArray::with_max_entries(1, 0);

/// Redirects the frame to the interface under test.
#[inline(always)]
pub(crate) fn send() -> u32 {
    let (Some(target), Some(probe)) = (PROBE_TARGET.get(0), PROBE.get_ptr_mut(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: an element of the map, and this CPU's own.
    unsafe { (*probe).state = SENT };
    packet::redirect(*target) as u32
}

/// Takes note of a transmission, if it is the one that is waited for. The tracepoint's arguments:
/// the device that the frame came from, the one it went to, frames sent, frames dropped, the error.
#[inline(always)]
pub(crate) fn sent(ctx: &RawTracePointContext) {
    let taken = ctx.arg::<i32>(2) > 0;
    heard(if taken { TAKEN } else { REFUSED }, ctx.arg(4));
}

/// Takes note of a redirect that came to nothing, if it is the one that is waited for. The
/// tracepoint's arguments: the device that the frame came from, the program, the target, the error,
/// and the map if there was one.
#[inline(always)]
pub(crate) fn failed(ctx: &RawTracePointContext) {
    heard(NOT_ASKED, ctx.arg(3));
}

#[inline(always)]
fn heard(state: u32, error: i32) {
    let Some(probe) = PROBE.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: an element of the map, and this CPU's own.
    let probe = unsafe { &mut *probe };
    if probe.state == SENT {
        *probe = Probe { state, error };
    }
}
