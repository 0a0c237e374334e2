//! Tells the controller what happened, for people to see: a few of each kind in a second, and how many
//! more there were.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use fmip_common::{
    binding::Address,
    event::{EVENT_RATE, Event, Kind},
};

use crate::{
    maps::{EVENT_BUCKETS, EVENTS, EVENTS_LOST},
    packet::{Packet, now},
};

/// Tells of one packet. `detail` and `addresses` are what the kind says they are.
#[inline(always)]
pub(crate) fn emit(kind: Kind, packet: &impl Packet, detail: u32, addresses: [&Address; 3]) {
    let now = now();
    if !(is_due(kind, now) && told(kind, packet, detail, addresses, now)) {
        lost(kind);
    }
}

/// Whether another of this kind may be told. A flood only reads the word that all processors share.
#[inline(always)]
fn is_due(kind: Kind, now: u64) -> bool {
    let Some(bucket) = EVENT_BUCKETS.get_ptr_mut(kind as u32) else {
        return false;
    };
    // SAFETY: a map element; volatile, since other processors write it.
    let before = unsafe { bucket.read_volatile() };
    let Some(after) = EVENT_RATE.take(before, now) else {
        return false;
    };
    // SAFETY: a map element. Who loses the race has lost to one that is told.
    unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
            bucket, before, after,
        )
        .1
    }
}

#[inline(always)]
fn told(
    kind: Kind,
    packet: &impl Packet,
    detail: u32,
    [first, second, third]: [&Address; 3],
    now: u64,
) -> bool {
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        return false;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: the ring's entry is as large as an Event. Field by field: the programs have no room for
    // another on their stack.
    unsafe {
        (*event).time_ns = now;
        (*event).kind = kind as u32;
        (*event).interface = packet.interface();
        (*event).detail = detail;
        (*event).link_source = packet.read::<[u8; 6]>(6).unwrap_or_default();
        (*event).reserved = [0; 6];
        (*event).addresses[0] = *first;
        (*event).addresses[1] = *second;
        (*event).addresses[2] = *third;
    }
    entry.submit(0);
    true
}

#[inline(always)]
fn lost(kind: Kind) {
    if let Some(lost) = EVENTS_LOST.get_ptr_mut(kind as u32) {
        // SAFETY: an element of a per-CPU map, and a program is not interrupted by itself.
        unsafe { *lost += 1 };
    }
}
