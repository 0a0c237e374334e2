//! Whether a driver really takes frames that are redirected to it.
//!
//! A redirect is a promise: the program is told that it went well, and what the driver does with the
//! frame is known later, by nobody but the kernel's own tracepoint. So the one program sends a frame,
//! and the other hears its fate there. Both run on one CPU within one run of the first, during which
//! no other packet is processed on it: the first transmission heard after the frame was sent is the
//! frame's.

use aya_ebpf::{
    bindings::xdp_action,
    macros::map,
    maps::{Array, PerCpuArray},
    programs::RawTracePointContext,
};
use fmip_common::probe::{ASKED, Probe, REFUSED, TAKEN};

use crate::packet;

/// Index of the interface under test, one entry. Controller writes, probe reads.
#[map]
static PROBE_TARGET: Array<u32> = Array::with_max_entries(1, 0);

/// What became of the frame, by CPU, one entry. Controller clears and reads, the probe's two programs
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
    unsafe { (*probe).state = ASKED };
    packet::redirect(*target) as u32
}

/// Takes note of a transmission, if it is the one that is waited for. The tracepoint's arguments:
/// the device that the frame came from, the one it went to, frames sent, frames dropped, the error.
#[inline(always)]
pub(crate) fn sent(ctx: &RawTracePointContext) {
    let Some(probe) = PROBE.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: an element of the map, and this CPU's own.
    let probe = unsafe { &mut *probe };
    if probe.state != ASKED {
        return;
    }
    probe.state = if ctx.arg::<i32>(2) > 0 {
        TAKEN
    } else {
        REFUSED
    };
    probe.error = ctx.arg::<i32>(4);
}
