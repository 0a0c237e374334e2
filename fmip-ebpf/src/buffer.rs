//! Put and take: the algorithm of `fmip_common::buffer` over the maps.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};

use fmip_common::{
    buffer::{self, AllocateError, Buffer, CLOSED, Memory, PutError, Slot, Take},
    limits::FRAME_BYTES,
    reason::Reason,
};

use crate::{
    count,
    maps::{BUFFERS, POOL, SLOTS},
    packet::{Packet, bounded, now},
};

/// Octets of an Ethernet header.
const ETHERNET: u64 = 14;

/// One buffer and the pool, as the algorithm sees them.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    buffer: *mut Buffer,
    pool: *mut buffer::Pool,
}

impl Memory for Queue {
    type Word = *mut u64;
    #[inline(always)]
    fn pool_top(&self) -> *mut u64 {
        // SAFETY: a map element lives as long as the program.
        unsafe { &raw mut (*self.pool).top }
    }
    #[inline(always)]
    fn tail(&self) -> *mut u64 {
        // SAFETY: as above.
        unsafe { &raw mut (*self.buffer).tail }
    }
    #[inline(always)]
    fn head(&self) -> *mut u64 {
        // SAFETY: as above.
        unsafe { &raw mut (*self.buffer).head }
    }
    #[inline(always)]
    fn next(&self, slot: u64) -> Option<*mut u64> {
        // SAFETY: as above.
        slot_at(slot).map(|slot| unsafe { &raw mut (*slot).next })
    }
    #[inline(always)]
    fn load(word: *mut u64) -> u64 {
        // SAFETY: a map element; volatile, since other processors write it.
        unsafe { word.read_volatile() }
    }
    #[inline(always)]
    fn store(word: *mut u64, value: u64) {
        // SAFETY: a map element. An exchange, since a BPF store orders nothing.
        unsafe {
            atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, value);
        }
    }
    #[inline(always)]
    fn compare_and_swap(word: *mut u64, current: u64, new: u64) -> Result<(), u64> {
        // SAFETY: a map element.
        let (found, swapped) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                word, current, new,
            )
        };
        if swapped { Ok(()) } else { Err(found) }
    }
}

#[inline(always)]
fn slot_at(slot: u64) -> Option<*mut Slot> {
    // The sentinels EMPTY and CLOSED are beyond every map.
    SLOTS.get_ptr_mut(slot as u32)
}

#[inline(always)]
fn add(word: *mut u64, value: u64) -> u64 {
    // SAFETY: a field of a map element.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word, value) }
}

/// What became of a packet that met a binding with a buffer.
pub(crate) enum Put {
    /// It is held.
    Held,
    /// There is no holding it, for this reason.
    Refused(Reason),
    /// The buffer is drained: the packet goes straight on.
    Closed,
}

impl Queue {
    /// The buffer with this index.
    #[inline(always)]
    pub(crate) fn new(index: u32) -> Option<Self> {
        Some(Self {
            buffer: BUFFERS.get_ptr_mut(index)?,
            pool: POOL.get_ptr_mut(0)?,
        })
    }

    /// The buffer itself.
    #[inline(always)]
    pub(crate) fn buffer(&self) -> *mut Buffer {
        self.buffer
    }

    /// Counts a packet that will never be sent.
    #[inline(always)]
    pub(crate) fn count_dropped(&self) {
        // SAFETY: a field of a map element.
        add(unsafe { &raw mut (*self.buffer).dropped }, 1);
    }

    /// Whether packets go straight on.
    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        Self::load(self.tail()) == CLOSED
    }

    /// Holds a copy of the packet, if the buffer is open and has room for it and `spare` octets
    /// more. `finish` makes of the copy what shall leave one day; tunnels come at its release.
    #[inline(always)]
    pub(crate) fn hold(
        &self,
        packet: &impl Packet,
        spare: usize,
        finish: impl FnOnce(*mut u8),
    ) -> Put {
        if self.is_closed() {
            return Put::Closed;
        }
        match self.try_hold(packet, spare, finish) {
            Ok(()) => Put::Held,
            Err(Refused::Closed) => Put::Closed,
            Err(Refused::Because(reason)) => Put::Refused(reason),
        }
    }

    #[inline(always)]
    fn try_hold(
        &self,
        packet: &impl Packet,
        spare: usize,
        finish: impl FnOnce(*mut u8),
    ) -> Result<(), Refused> {
        let length = packet.length();
        let longest = (FRAME_BYTES - spare) as u64;
        if length <= ETHERNET || length > longest || packet.is_merged() {
            return Err(Refused::Because(Reason::TooLong));
        }
        let buffer = self.buffer;
        // Counted before the slot is taken, so that the bound holds whoever else is putting.
        // SAFETY: fields of a map element.
        let (waiting, waiting_bytes) =
            unsafe { (&raw mut (*buffer).waiting, &raw mut (*buffer).waiting_bytes) };
        let packets_before = add(waiting, 1);
        let bytes_before = add(waiting_bytes, length);
        // SAFETY: fields that the controller set before the buffer was bound.
        let (max_packets, max_bytes) = unsafe { ((*buffer).max_packets, (*buffer).max_bytes) };
        let result = if packets_before >= max_packets || bytes_before + length > max_bytes {
            Err(Refused::Because(Reason::NodeFull))
        } else {
            self.fill_and_put(packet, finish, length)
        };
        if result.is_err() {
            add(waiting, 1_u64.wrapping_neg());
            add(waiting_bytes, length.wrapping_neg());
        }
        result
    }

    #[inline(always)]
    fn fill_and_put(
        &self,
        packet: &impl Packet,
        finish: impl FnOnce(*mut u8),
        length: u64,
    ) -> Result<(), Refused> {
        let index = buffer::allocate(self).map_err(|error| {
            Refused::Because(match error {
                AllocateError::Exhausted => Reason::PoolFull,
                AllocateError::Contended => Reason::Contended,
            })
        })?;
        // SAFETY: a field of a map element.
        add(unsafe { &raw mut (*self.pool).used }, 1);
        let result = self
            .fill(packet, finish, length, index)
            .and_then(|arrival| self.put(index, arrival));
        if result.is_err() {
            self.free(index);
        }
        result
    }

    /// Copies the packet into a slot; when it did, on the clock of [`now`].
    #[inline(always)]
    fn fill(
        &self,
        packet: &impl Packet,
        finish: impl FnOnce(*mut u8),
        length: u64,
        index: u64,
    ) -> Result<u64, Refused> {
        const UNCHANGEABLE: Refused = Refused::Because(Reason::Unchangeable);
        let slot = slot_at(index).ok_or(UNCHANGEABLE)?;
        let arrival = now();
        // SAFETY: the slot is ours until it is put; lengths are bounded by the caller, and once
        // more here, where the verifier looks.
        unsafe {
            let frame = (&raw mut (*slot).frame).cast::<u8>();
            let length = bounded(length, ETHERNET, FRAME_BYTES as u64).ok_or(UNCHANGEABLE)?;
            (*slot).length = length as u32;
            if !packet.copy(0, frame, length as u32) {
                return Err(UNCHANGEABLE);
            }
            finish(frame);
            (*slot).arrival_ns = arrival;
        }
        Ok(arrival)
    }

    /// Puts a slot, filled at `arrival`, behind all others.
    #[inline(always)]
    fn put(&self, index: u64, arrival: u64) -> Result<(), Refused> {
        let buffer = self.buffer;
        // SAFETY: fields of a map element.
        let held = unsafe {
            (*buffer).last_ns = arrival;
            &raw mut (*buffer).held
        };
        // Counted before it is put, so that no one sees more packets leave than came.
        if add(held, 1) == 0 {
            // SAFETY: as above.
            unsafe { (*buffer).first_ns = arrival };
        }
        let result = buffer::put(self, index);
        if result.is_err() {
            add(held, 1_u64.wrapping_neg());
        }
        result.map_err(|error| match error {
            PutError::Closed => Refused::Closed,
            PutError::Contended => Refused::Because(Reason::Contended),
        })
    }

    /// Takes the oldest packet. One taker at a time: the drain program.
    #[inline(always)]
    pub(crate) fn take(&self) -> Take {
        let taken = buffer::take(self);
        if let Take::Slot(index) = taken
            && let Some(slot) = slot_at(index)
        {
            // SAFETY: the slot is the caller's; fields of map elements.
            unsafe {
                let buffer = self.buffer;
                add(&raw mut (*buffer).waiting, 1_u64.wrapping_neg());
                add(
                    &raw mut (*buffer).waiting_bytes,
                    u64::from((*slot).length).wrapping_neg(),
                );
            }
        }
        taken
    }

    /// The content of a slot that was taken.
    #[inline(always)]
    pub(crate) fn slot(&self, index: u64) -> Option<*mut Slot> {
        slot_at(index)
    }

    /// Octets of the packet in a slot that was taken.
    #[inline(always)]
    pub(crate) fn length(&self, index: u64) -> u64 {
        // SAFETY: the slot is the caller's.
        slot_at(index).map_or(0, |slot| u64::from(unsafe { (*slot).length }))
    }

    /// Gives a slot back to the pool.
    #[inline(always)]
    pub(crate) fn free(&self, index: u64) {
        if buffer::free(self, index) {
            // SAFETY: a field of a map element.
            add(unsafe { &raw mut (*self.pool).used }, 1_u64.wrapping_neg());
        } else {
            count::count(0, Reason::SlotLost, 0);
        }
    }
}

enum Refused {
    Closed,
    Because(Reason),
}
