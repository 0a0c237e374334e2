//! Put and take: the algorithm of `fmip_common::buffer` over the maps.

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd},
    mem::offset_of,
};

use fmip_common::{
    binding::Address,
    buffer::{
        self, AllocateError, Bounds, Buffer, DROPPED_AGE, DROPPED_CONTENDED, DROPPED_DISCARDED,
        DROPPED_LENGTH, DROPPED_OCTETS, DROPPED_OTHER, DROPPED_PACKETS, DROPPED_POOL, DROPS, Full,
        Memory, Meter, PRIORITY, PRIORITY_RESERVE, PutError, QUEUES, STREAM, Slot, Take,
    },
    event::Kind,
    limits::FRAME_BYTES,
    reason::Reason,
};

use crate::{
    count, events,
    maps::{BUFFERS, LINKS, POOL, SLOTS},
    packet::{Packet, bounded, coarse_now, now},
    parse::{IPV6_HEADER, Ipv6, MOBILITY},
};

/// One buffer and the pool, as the algorithm sees them.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    buffer: *mut Buffer,
    pool: *mut buffer::Pool,
}

impl Memory for Queue {
    type Word = *mut u64;
    type Link = *mut u32;
    #[inline(always)]
    fn pool_top(&self) -> *mut u64 {
        // SAFETY: a map element lives as long as the program.
        unsafe { &raw mut (*self.pool).top }
    }
    #[inline(always)]
    fn shared(&self) -> *mut u64 {
        // SAFETY: as above.
        unsafe { &raw mut (*self.pool).shared }
    }
    #[inline(always)]
    fn buffer_load(&self) -> *mut u64 {
        // SAFETY: as above.
        unsafe { &raw mut (*self.buffer).load }
    }
    #[inline(always)]
    fn tail(&self, queue: usize) -> *mut u64 {
        // SAFETY: as above.
        unsafe { word_of(&raw mut (*self.buffer).tails, queue) }
    }
    #[inline(always)]
    fn head(&self, queue: usize) -> *mut u64 {
        // SAFETY: as above.
        unsafe { word_of(&raw mut (*self.buffer).heads, queue) }
    }
    #[inline(always)]
    fn link(&self, slot: u32) -> Option<*mut u32> {
        // The sentinels EMPTY and CLOSED are beyond every map.
        LINKS.get_ptr_mut(slot)
    }
    #[inline(always)]
    fn load(word: *mut u64) -> u64 {
        // SAFETY: a map element; volatile, since other processors write it.
        unsafe { word.read_volatile() }
    }
    #[inline(always)]
    fn store(word: *mut u64, value: u64) {
        // SAFETY: as above.
        unsafe { word.write_volatile(value) }
    }
    #[inline(always)]
    fn load_link(link: *mut u32) -> u32 {
        // SAFETY: as above.
        unsafe { link.read_volatile() }
    }
    #[inline(always)]
    fn store_link(link: *mut u32, value: u32) {
        // SAFETY: as above.
        unsafe { link.write_volatile(value) }
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
    #[inline(always)]
    fn add(word: *mut u64, value: u64) -> u64 {
        // SAFETY: a field of a map element.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word, value) }
    }
}

/// The word of one of the queues.
#[inline(always)]
fn word_of(words: *mut [u64; QUEUES], queue: usize) -> *mut u64 {
    // SAFETY: the index is bounded here, where the verifier looks.
    unsafe { words.cast::<u64>().add(queue & (QUEUES - 1)) }
}

#[inline(always)]
fn slot_at(slot: u32) -> Option<*mut Slot> {
    SLOTS.get_ptr_mut(slot)
}

/// Makes the processor fetch the first two lines of a slot, those of a short packet, while the next packet is
/// yet to come: 75 nanoseconds less in a put. Whoever owns the slot by now does not notice.
#[inline(always)]
fn touch(slot: u32) {
    const SECOND_LINE: usize = 64 - offset_of!(Slot, frame);
    if let Some(slot) = slot_at(slot) {
        // SAFETY: fields of a map element. The first line by a write, to a word that means nothing: nobody
        // waits for that. The second by a read, of which nothing depends: any word there is the packet's.
        unsafe {
            (&raw mut (*slot).touched).write_volatile(0);
            (&raw const (*slot).frame)
                .cast::<u8>()
                .add(SECOND_LINE)
                .read_volatile();
        }
    }
}

/// What became of a packet that met a binding with a buffer.
pub(crate) enum Put {
    /// It is held.
    Held,
    /// It is held, as the first of the stream in this buffer.
    First,
    /// There is no holding it, for this reason.
    Refused(Reason),
    /// The buffer is drained: the packet goes straight on.
    Closed,
}

impl Put {
    /// Tells people of what they want to see: that a buffer has begun to hold, and that the pool is full.
    /// `source` is the packet's, `bound` the address whose buffer it is.
    #[inline(always)]
    pub(crate) fn tell(&self, packet: &impl Packet, source: &Address, bound: &Address) {
        let kind = match self {
            Self::First => Kind::FirstHeld,
            Self::Refused(Reason::PoolFull) => Kind::PoolFull,
            Self::Held | Self::Refused(_) | Self::Closed => return,
        };
        events::emit(kind, packet, 0, [source, bound, &Address([0; 2])]);
    }
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

    /// Counts a packet that will never be sent, and what kept it.
    #[inline(always)]
    pub(crate) fn count_dropped(&self, reason: Reason) {
        let by = match reason {
            Reason::NodeFull => DROPPED_PACKETS,
            Reason::NodeOctets => DROPPED_OCTETS,
            Reason::PoolFull => DROPPED_POOL,
            Reason::Aged => DROPPED_AGE,
            Reason::TooLong => DROPPED_LENGTH,
            Reason::Discarded => DROPPED_DISCARDED,
            Reason::Contended => DROPPED_CONTENDED,
            _ => DROPPED_OTHER,
        };
        // SAFETY: a field of a map element; the index is bounded where the verifier looks.
        let counter = unsafe {
            (&raw mut (*self.buffer).dropped)
                .cast::<u64>()
                .add(by & (DROPS - 1))
        };
        Self::add(counter, 1);
    }

    /// Whether the stream's packets go straight on.
    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        buffer::is_closed(self, STREAM)
    }

    /// Holds a copy of the packet, if the buffer is open and has room for it and `spare` octets
    /// more. `finish` makes of the copy, from its IPv6 header on, what shall leave one day; tunnels come at
    /// its release. `header` is that of the packet as it is: what comes behind it decides on the queue.
    #[inline(always)]
    pub(crate) fn hold(
        &self,
        packet: &impl Packet,
        header: &Ipv6,
        spare: usize,
        finish: impl FnOnce(*mut u8),
    ) -> Put {
        let queue = match header.next_header {
            MOBILITY => PRIORITY,
            _ => STREAM,
        };
        if buffer::is_closed(self, queue) {
            return Put::Closed;
        }
        match self.try_hold(packet, header, queue, spare, finish) {
            Ok(0) if queue == STREAM => Put::First,
            Ok(_) => Put::Held,
            Err(Refused::Closed) => Put::Closed,
            Err(Refused::Because(reason)) => Put::Refused(reason),
        }
    }

    /// Puts the packet behind all others of its queue; how many were put there before.
    #[inline(always)]
    fn try_hold(
        &self,
        packet: &impl Packet,
        header: &Ipv6,
        queue: usize,
        spare: usize,
        finish: impl FnOnce(*mut u8),
    ) -> Result<u32, Refused> {
        // Without what the link may have put behind it.
        let length = u64::from(header.total_length());
        let longest = (FRAME_BYTES - spare) as u64;
        if length < IPV6_HEADER as u64 || length > longest || packet.is_merged() {
            return Err(Refused::Because(Reason::TooLong));
        }
        let bounds = self.bounds(queue);
        // SAFETY: a field that the controller sets before anything is bound.
        let max_shared = unsafe { (*self.pool).max_shared };
        // Charged before the slot is taken, so that the bound holds whoever else is putting.
        let packets = buffer::charge(self, length, &bounds, max_shared).map_err(|full| {
            Refused::Because(match full {
                Full::Packets => Reason::NodeFull,
                Full::Octets => Reason::NodeOctets,
                Full::Pool => Reason::PoolFull,
            })
        })?;
        let result = self.fill_and_put(packet, queue, finish, length);
        match result {
            Ok(_) => {
                // SAFETY: a field of a map element. Not in one step: another processor may write a
                // smaller number over ours, and the next packet corrects it.
                unsafe {
                    let high_water = &raw mut (*self.buffer).high_water;
                    if packets > high_water.read_volatile() {
                        high_water.write_volatile(packets);
                    }
                }
            }
            Err(_) => buffer::discharge(self, length, bounds.guaranteed),
        }
        result
    }

    #[inline(always)]
    fn bounds(&self, queue: usize) -> Bounds {
        // SAFETY: fields that the controller set before the buffer was bound.
        let bounds = unsafe {
            Bounds {
                packets: (*self.buffer).max_packets,
                guaranteed: (*self.buffer).guaranteed,
                octets: (*self.buffer).max_octets,
            }
        };
        if queue == STREAM {
            return bounds;
        }
        Bounds {
            packets: bounds.packets.saturating_add(PRIORITY_RESERVE as u32),
            octets: bounds.octets + PRIORITY_RESERVE * FRAME_BYTES as u64,
            ..bounds
        }
    }

    #[inline(always)]
    fn fill_and_put(
        &self,
        packet: &impl Packet,
        queue: usize,
        finish: impl FnOnce(*mut u8),
        length: u64,
    ) -> Result<u32, Refused> {
        let (index, next) = buffer::allocate(self).map_err(|error| {
            Refused::Because(match error {
                AllocateError::Exhausted => Reason::PoolFull,
                AllocateError::Contended => Reason::Contended,
            })
        })?;
        let result = self
            .fill(packet, finish, length, index)
            .and_then(|()| self.put(queue, index));
        match result {
            // Now, since every locked instruction would wait for it.
            Ok(_) => touch(next),
            Err(_) => self.free(index),
        }
        result
    }

    /// Copies the packet into a slot.
    #[inline(always)]
    fn fill(
        &self,
        packet: &impl Packet,
        finish: impl FnOnce(*mut u8),
        length: u64,
        index: u32,
    ) -> Result<(), Refused> {
        const UNCHANGEABLE: Refused = Refused::Because(Reason::Unchangeable);
        let slot = slot_at(index).ok_or(UNCHANGEABLE)?;
        // SAFETY: the slot is ours until it is put; lengths are bounded by the caller, and once
        // more here, where the verifier looks.
        unsafe {
            let frame = (&raw mut (*slot).frame).cast::<u8>();
            let length =
                bounded(length, IPV6_HEADER as u64, FRAME_BYTES as u64).ok_or(UNCHANGEABLE)?;
            (*slot).length = length as u32;
            if !packet.copy(packet.network() as u32, frame, length as u32) {
                return Err(UNCHANGEABLE);
            }
            finish(frame);
            (*slot).arrival_ns = coarse_now();
        }
        Ok(())
    }

    /// Puts a filled slot behind all others; how many there were ever before.
    #[inline(always)]
    fn put(&self, queue: usize, index: u32) -> Result<u32, Refused> {
        match buffer::put(self, queue, index) {
            Ok(before) if queue == PRIORITY => Ok(before),
            Ok(before) => {
                // SAFETY: a map element.
                unsafe { meter(self.buffer, before) };
                Ok(before)
            }
            Err(PutError::Closed) => Err(Refused::Closed),
            Err(PutError::Contended) => Err(Refused::Because(Reason::Contended)),
        }
    }

    /// Takes the oldest packet of a queue. One taker at a time: the drain program.
    #[inline(always)]
    pub(crate) fn take(&self, queue: usize) -> Take {
        let taken = buffer::take(self, queue);
        if queue == STREAM
            && let Take::Slot(_) = taken
        {
            self.meter_anew();
        }
        taken
    }

    /// A packet of the stream was taken: the meter need not go back to it.
    #[inline(always)]
    fn meter_anew(&self) {
        let oldest = buffer::oldest(self, STREAM).and_then(slot_at);
        // SAFETY: fields of a map element, and a slot that is in the queue, which changes only when it is
        // taken; this is the one taker.
        unsafe {
            let number = (*self.buffer).taken + 1;
            (*self.buffer).taken = number;
            let first = &raw mut (*self.buffer).first;
            let anew = match oldest {
                // The next one says itself when it came; if it came just now, it has said it already.
                None => Some(buffer::mark(number as u32, now())),
                Some(oldest) => buffer::begins_anew(
                    first.read_volatile(),
                    (&raw const (*self.buffer).latest).read_volatile(),
                    buffer::mark(number as u32, (*oldest).arrival_ns),
                ),
            };
            if let Some(anew) = anew {
                first.write_volatile(anew);
            }
        }
    }

    /// The content of a slot that was taken.
    #[inline(always)]
    pub(crate) fn slot(&self, index: u32) -> Option<*mut Slot> {
        slot_at(index)
    }

    /// Octets of the packet in a slot that was taken.
    #[inline(always)]
    pub(crate) fn length(&self, index: u32) -> u64 {
        // SAFETY: the slot is the caller's.
        slot_at(index).map_or(0, |slot| u64::from(unsafe { (*slot).length }))
    }

    /// Gives back the slot of a packet of `length` octets that was taken, and then the room that it had.
    #[inline(always)]
    pub(crate) fn give_back(&self, index: u32, length: u64) {
        self.free(index);
        // SAFETY: a field that the controller set before the buffer was bound.
        let guaranteed = unsafe { (*self.buffer).guaranteed };
        buffer::discharge(self, length, guaranteed);
    }

    #[inline(always)]
    fn free(&self, index: u32) {
        if !buffer::free(self, index) {
            count::count(0, Reason::SlotLost, 0);
        }
    }
}

/// Takes note of when the packet with this number came, if the meter wants to know. A function of its own, since
/// among the other steps of a put it costs a fifth of the stack.
///
/// # Safety
/// The buffer is a map element.
#[inline(never)]
unsafe fn meter(buffer: *mut Buffer, number: u32) {
    // SAFETY: fields of a map element; each is one word, since other processors write them. Should one
    // that began sooner come later, the meter is off by what came between, until it is looked at again.
    unsafe {
        let first = &raw mut (*buffer).first;
        let noted = match buffer::meter(first.read_volatile(), number) {
            Meter::First => first,
            Meter::Latest => &raw mut (*buffer).latest,
            Meter::None => return,
        };
        noted.write_volatile(buffer::mark(number, now()));
    }
}

enum Refused {
    Closed,
    Because(Reason),
}
