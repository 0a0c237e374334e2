//! Counts packets by reason.

use fmip_common::reason::Reason;

use crate::maps::COUNTS;

/// Counts one packet of `bytes` octets under `reason`, on this processor.
#[inline(always)]
pub(crate) fn count(reason: Reason, bytes: u64) {
    if let Some(count) = COUNTS.get_ptr_mut(reason as u32) {
        // SAFETY: an element of a per-CPU map, and a program is not interrupted by itself.
        unsafe {
            (*count).packets += 1;
            (*count).bytes += bytes;
        }
    }
}
