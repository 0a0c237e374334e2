//! Counts packets by interface and reason.

use fmip_common::{limits::REASONS_PER_INTERFACE, reason::Reason};

use crate::maps::{COUNTS, INTERFACES};

/// Counts one packet of `bytes` octets under `reason`, on this processor, for the interface with this index:
/// the one that it came in on, or at TC egress goes out of. What has no number of its own is counted
/// together, and so is what leaves a buffer.
#[inline(always)]
pub(crate) fn count(interface: u32, reason: Reason, bytes: u64) {
    let number = match INTERFACES.get(interface) {
        Some(interface) => u32::from(interface.number),
        None => 0,
    };
    let Some(count) = COUNTS.get_ptr_mut(number * REASONS_PER_INTERFACE + reason as u32) else {
        return;
    };
    // SAFETY: an element of a per-CPU map, and a program is not interrupted by itself.
    unsafe {
        (*count).packets += 1;
        (*count).bytes += bytes;
    }
}
