//! The drain: one run takes one packet out of a handover buffer.

use fmip_common::{
    buffer::{
        self, DRAIN_CLOSE, DRAIN_DISCARD, DRAIN_RELEASE, OUTCOME_BUSY, OUTCOME_DONE, OUTCOME_EMPTY,
        Take,
    },
    limits::FRAME_BYTES,
    reason::Reason,
};

use crate::{
    Outcome,
    buffer::Queue,
    maps::DRAIN,
    packet::{Packet, XdpPacket, bounded, now},
    parse::IPV6,
};

/// Interface index of the loopback, in every network namespace: what a run by the controller shows
/// as its interface. A packet that really arrives on the parked interface is not ours to fill.
const LOOPBACK: u32 = 1;

/// Carries out the job that the controller wrote; what becomes of the packet, and its length.
#[inline(always)]
pub(crate) fn handle(packet: &mut XdpPacket) -> (Outcome, u64) {
    const NOTHING: (Outcome, u64) = (Outcome::Nothing, 0);
    if packet.interface() != LOOPBACK {
        return (Outcome::Pass(Reason::NoBinding), packet.length());
    }
    let Some(job) = DRAIN.get_ptr_mut(0) else {
        return NOTHING;
    };
    // SAFETY: a map element; the controller's one drain thread waits while the program runs.
    let (index, operation) = unsafe { ((*job).buffer, (*job).operation) };
    let Some(queue) = Queue::new(index) else {
        return NOTHING;
    };
    let mut length = 0;
    let (outcome, verdict) = match operation {
        DRAIN_RELEASE | DRAIN_DISCARD => match queue.take() {
            Take::Slot(slot) => {
                // SAFETY: as above.
                unsafe { (*job).taken += 1 };
                length = queue.length(slot);
                let verdict = match operation {
                    DRAIN_RELEASE => release(packet, &queue, slot),
                    _ => Outcome::Drop(Reason::Discarded),
                };
                account(&queue, verdict);
                queue.free(slot);
                (OUTCOME_DONE, verdict)
            }
            Take::Empty => (OUTCOME_EMPTY, Outcome::Nothing),
            Take::Busy => (OUTCOME_BUSY, Outcome::Nothing),
        },
        DRAIN_CLOSE if buffer::close(&queue) => (OUTCOME_DONE, Outcome::Nothing),
        DRAIN_CLOSE => (OUTCOME_BUSY, Outcome::Nothing),
        _ => (0, Outcome::Nothing),
    };
    // SAFETY: as above.
    unsafe { (*job).outcome = outcome };
    (verdict, length)
}

/// Makes the frame carry the packet in the slot, addressed to the buffer's next hop.
#[inline(always)]
fn release(packet: &mut XdpPacket, queue: &Queue, index: u64) -> Outcome {
    const UNWRITABLE: Outcome = Outcome::Drop(Reason::Unwritable);
    let Some(slot) = queue.slot(index) else {
        return UNWRITABLE;
    };
    // SAFETY: map elements; the slot is ours since it was taken.
    unsafe {
        let buffer = queue.buffer();
        if now().saturating_sub((*slot).arrival_ns) > (*buffer).max_age_ns {
            return Outcome::Drop(Reason::Aged);
        }
        let hop = (*buffer).next_hop;
        let frame = (&raw mut (*slot).frame).cast::<u8>();
        frame.cast::<[u8; 6]>().write(hop.destination);
        frame.add(6).cast::<[u8; 6]>().write(hop.source);
        let length = u64::from((*slot).length);
        let Some(length) = bounded(length, IPV6 as u64, FRAME_BYTES as u64) else {
            return UNWRITABLE;
        };
        let length = length as u32;
        if !packet.set_length(length) || !packet.fill(frame, length) {
            return UNWRITABLE;
        }
        Outcome::Redirect(Reason::Released, hop.interface)
    }
}

#[inline(always)]
fn account(queue: &Queue, verdict: Outcome) {
    match verdict {
        // SAFETY: a map element; only runs of the one drain thread write `released`.
        Outcome::Redirect(..) => unsafe { (*queue.buffer()).released += 1 },
        _ => queue.count_dropped(),
    }
}
