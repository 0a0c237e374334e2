//! The handover buffers: their layout, their algorithm and their invariants, the same code in the kernel
//! and in the models on the host.
//!
//! One pool of slots serves all mobile nodes. A free slot is on the pool's stack; a held packet's
//! slot is in a queue of its mobile node. Both are chained through one array of links beside the slots
//! ([`next_of`]), so that an idle node costs one [`Buffer`] and no slot, and that taking a free slot never
//! waits for the memory of a packet.
//!
//! Many processors put, one drain takes (the controller has one drain thread). What makes it
//! lossless is one word, the queue's `tail`: in its upper half the number of packets that were ever put, in
//! its lower half
//!
//! * [`EMPTY`]: open and nothing held;
//! * a slot's index: open, and this slot is the newest;
//! * [`CLOSED`]: packets go straight to the mobile node.
//!
//! A put moves `tail` to its slot, a take of the last slot moves it back to `EMPTY`, and the switch
//! to direct delivery moves it from `EMPTY` to `CLOSED`: all by compare-and-swap on the same word.
//! So the switch can succeed only while nothing is held, no packet can be put behind the switch,
//! and none can overtake those before it. (A state beside the queue was rejected: between reading
//! the state and putting the packet the drain could finish, and the packet would be stranded.) The number
//! makes every put a new word, so that a slot which went and came back is not mistaken for one that stayed.
//!
//! A buffer has two queues, each with a tail of its own: signalling to the node ([`PRIORITY`]) goes ahead of
//! the stream ([`STREAM`]) and is switched after it. A packet looks at the word of its own queue alone.
//!
//! # Room
//!
//! A buffer's packets up to its guaranteed number always find a slot. Those beyond are counted in
//! [`Pool::shared`], all nodes' together, and bounded by what the pool has beyond the guaranteed numbers of
//! all its buffers. Which packets these are is decided by the buffer's one word [`Buffer::load`], exactly:
//! every step up from the guaranteed number on is paired with the step down from there.
//!
//! # Memory order
//!
//! What [`Memory`] demands is what BPF gives: compare-and-swap and addition are full barriers; loads and
//! stores of links and heads are plain, but a load whose value is the address of the next one is ordered
//! before that. The models beside this file check the algorithm under these orderings.

#[cfg(test)]
mod model;

use crate::binding::Egress;
use crate::limits::FRAME_BYTES;

/// No slot: the end of a chain, and the tail of an open and empty queue.
pub const EMPTY: u32 = u32::MAX;
/// The tail of a queue that is switched to direct delivery.
pub const CLOSED: u32 = EMPTY - 1;

/// The queue of what goes to the node.
pub const STREAM: usize = 0;
/// The queue of signalling to the node, which goes first.
pub const PRIORITY: usize = 1;
/// Queues of a buffer.
pub const QUEUES: usize = 2;

/// How often a compare-and-swap is tried before the packet is given up. Each failure means that
/// another processor succeeded, so the number is one of processors, not of time.
const ATTEMPTS: u32 = if cfg!(test) { 4 } else { 32 };

/// The same for giving a slot back. What is not given back is lost until the programs are loaded
/// again, so this is more than the processors that could win at one instant; but no more than that, for the
/// kernel's verifier walks through them all, from every way that leads here.
const FREE_ATTEMPTS: u32 = if cfg!(test) { 4 } else { 128 };

/// Packets of signalling that are held beyond a node's bound: they are few and small, and without
/// them the stream that fills the buffer has nowhere to go.
pub const PRIORITY_RESERVE: u64 = 8;

/// One packet's place.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// When the packet arrived, on the clock of `bpf_ktime_get_ns`, as of the kernel's last tick.
    pub arrival_ns: u64,
    /// Octets of `frame` in use.
    pub length: u32,
    /// Means nothing: written when the slot is the next one to be taken, so that the processor fetches it.
    pub touched: u32,
    /// The packet from the IPv6 header on.
    pub frame: [u8; FRAME_BYTES],
}
const _: () = assert!(size_of::<Slot>() == 2048);

/// The stack of free slots, and the room that nodes share. As the kernel makes it, all zero but for
/// the bound, all slots are free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Index of the topmost free slot, or [`EMPTY`], in the lower half; in the upper half a number
    /// that changes with every move, so that a compare-and-swap cannot mistake a slot which went
    /// and came back for one that stayed.
    pub top: u64,
    /// Keeps the words of each packet apart from those of a full node's packets: a line of the cache.
    pub reserved: [u64; 7],
    /// Packets held beyond their buffers' guaranteed number.
    pub shared: u64,
    /// Bound on `shared`.
    pub max_shared: u64,
    /// Keeps the pool at whole lines of the cache.
    pub reserved2: [u64; 6],
}
const _: () = assert!(size_of::<Pool>() == 128);

impl Pool {
    /// A pool of free slots, of which `max_shared` are not guaranteed to anybody.
    pub const fn new(max_shared: u64) -> Self {
        Self {
            top: 0,
            reserved: [0; 7],
            shared: 0,
            max_shared,
            reserved2: [0; 6],
        }
    }
}

/// The handover buffer of one mobile node: one line of the cache for who puts, one for who takes, one for
/// what was dropped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Of each queue: the packets ever put, in the upper half; the newest slot, [`EMPTY`] or [`CLOSED`] in
    /// the lower.
    pub tails: [u64; QUEUES],
    /// What is held now, in both queues: packets and octets ([`packets_of`], [`octets_of`]).
    pub load: u64,
    /// Of the stream: the packet that the meter begins with ([`mark`]). 0: the first one.
    pub first: u64,
    /// The packet that came last when that was looked at last ([`mark`]): [`metered`] is between the two.
    pub latest: u64,
    /// Bound on the packets held.
    pub max_packets: u32,
    /// So many packets are held whatever others hold.
    pub guaranteed: u32,
    /// Bound on the octets held.
    pub max_octets: u64,
    /// The most packets that were ever held at one time; as good as exact.
    pub high_water: u64,
    /// Of each queue: the oldest slot, or [`EMPTY`]. Belongs to the taker, but for the put into an empty
    /// queue.
    pub heads: [u64; QUEUES],
    /// Packets that left towards the mobile node.
    pub released: u64,
    /// Copies that were taken out again because a newer one would do.
    pub trimmed: u64,
    /// Bound on the time that a packet waits, in nanoseconds.
    pub max_age_ns: u64,
    /// Packets of the stream that were ever taken.
    pub taken: u64,
    /// Keeps the taker's words apart from the rest.
    pub reserved: [u64; 2],
    /// Packets that were not sent, by what kept them: the `DROPPED_` constants.
    pub dropped: [u64; DROPS],
}
const _: () = assert!(size_of::<Buffer>() == 192);

/// The node held as many packets as it may.
pub const DROPPED_PACKETS: usize = 0;
/// The node held as many octets as it may.
pub const DROPPED_OCTETS: usize = 1;
/// The pool had no room beyond what is guaranteed to others.
pub const DROPPED_POOL: usize = 2;
/// It had waited too long.
pub const DROPPED_AGE: usize = 3;
/// Longer than a slot, or several packets in one.
pub const DROPPED_LENGTH: usize = 4;
/// The buffer ended before its node arrived.
pub const DROPPED_DISCARDED: usize = 5;
/// Other processors kept winning.
pub const DROPPED_CONTENDED: usize = 6;
/// Anything else: it could not be copied, or not be sent.
pub const DROPPED_OTHER: usize = 7;
/// How many counters there are.
pub const DROPS: usize = 8;
/// The names under which they are shown, in the order of their numbers.
pub const DROP_NAMES: [&str; DROPS] = [
    "node-packets",
    "node-octets",
    "pool",
    "age",
    "length",
    "discarded",
    "contended",
    "other",
];

impl Buffer {
    /// An open and empty buffer.
    pub const fn open(bounds: &Bounds, max_age_ns: u64) -> Self {
        Self {
            tails: [EMPTY as u64; QUEUES],
            load: 0,
            first: 0,
            latest: 0,
            max_packets: bounds.packets,
            guaranteed: bounds.guaranteed,
            max_octets: bounds.octets,
            high_water: 0,
            heads: [EMPTY as u64; QUEUES],
            released: 0,
            trimmed: 0,
            max_age_ns,
            taken: 0,
            reserved: [0; 2],
            dropped: [0; DROPS],
        }
    }

    /// Whether all packets go straight to the mobile node.
    pub const fn is_closed(&self) -> bool {
        index_of(self.tails[STREAM]) == CLOSED && index_of(self.tails[PRIORITY]) == CLOSED
    }

    /// Packets that were ever put.
    pub const fn held(&self) -> u64 {
        number_of(self.tails[STREAM]) as u64 + number_of(self.tails[PRIORITY]) as u64
    }

    /// Packets that are held now.
    pub const fn waiting(&self) -> u64 {
        packets_of(self.load)
    }

    /// Octets that are held now.
    pub const fn waiting_octets(&self) -> u64 {
        octets_of(self.load)
    }

    /// Packets that were not sent, for whatever reason.
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// What bounds one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Packets.
    pub packets: u32,
    /// Packets that find room whatever others hold.
    pub guaranteed: u32,
    /// Octets.
    pub octets: u64,
}

/// One of the things that the controller asks the drain program for, and what it answers. (The frame's own
/// octets cannot carry it: recycled pages keep what the last run wrote.)
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainJob {
    /// Index of the buffer.
    pub buffer: u32,
    /// One of the `DRAIN_` constants.
    pub operation: u32,
    /// Frames that the job may use.
    pub budget: u32,
    /// Packets taken by this job.
    pub taken: u32,
    /// One of the `OUTCOME_` constants, of the last frame.
    pub outcome: u32,
    /// Packets that this job handed to the kernel instead of sending them. Those behind them must
    /// take the same way: a run's frames are sent before any is handed on.
    pub passed: u32,
    /// 1 when a packet was handed to the kernel so that it resolves the next hop. Where that is not
    /// done yet nothing more is taken while this is set: the kernel's own queue is short.
    pub resolving: u32,
    /// Frames used.
    pub used: u32,
    /// Packets that this job gave to an interface: put into its ring.
    pub sent: u32,
    /// Index of the interface that got the last of them. What stood there before, if there is none.
    pub port: u32,
    /// With [`DRAIN_TRIM`]: copies that wait longer, in nanoseconds, are taken.
    pub window_ns: u64,
    /// With [`DRAIN_RELEASE`]: how the packets leave.
    pub egress: Egress,
}
const _: () = assert!(size_of::<DrainJob>() == 120);

/// Which jobs a run has: they are done in their order, each frame being of the first that is not done.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainList {
    /// Index of the job that the next frame is of.
    pub next: u32,
    /// Jobs.
    pub jobs: u32,
}
const _: () = assert!(size_of::<DrainList>() == 8);

/// Take the oldest packet and send it.
pub const DRAIN_RELEASE: u32 = 1;
/// Take the oldest packet and drop it.
pub const DRAIN_DISCARD: u32 = 2;
/// Switch to direct delivery, if nothing is held.
pub const DRAIN_CLOSE: u32 = 3;
/// Take the oldest packet and drop it, if it is a copy that waits longer than the window, or if
/// there is hardly room for a newer one.
pub const DRAIN_TRIM: u32 = 4;
/// Switch back from direct delivery to holding.
pub const DRAIN_OPEN: u32 = 5;

/// The operation was carried out.
pub const OUTCOME_DONE: u32 = 1;
/// Nothing is held; with [`DRAIN_TRIM`]: nothing that must go.
pub const OUTCOME_EMPTY: u32 = 2;
/// A put is under way on another processor: ask again.
pub const OUTCOME_BUSY: u32 = 3;
/// Nothing can leave yet: the next hop is not resolved, or the tunnel's own end is an address whose
/// packets are held. Ask again later.
pub const OUTCOME_WAIT: u32 = 4;

/// The words that the algorithm works on, wherever they are: BPF maps, or atomics in a model.
pub trait Memory {
    /// One word; a pointer in the kernel, a reference in a model.
    type Word: Copy;
    /// One link; the same, half as wide.
    type Link: Copy;
    /// `Pool::top`.
    fn pool_top(&self) -> Self::Word;
    /// `Pool::shared`.
    fn shared(&self) -> Self::Word;
    /// `Buffer::load`.
    fn buffer_load(&self) -> Self::Word;
    /// `Buffer::tails`; `queue` is below [`QUEUES`].
    fn tail(&self, queue: usize) -> Self::Word;
    /// `Buffer::heads`; `queue` is below [`QUEUES`].
    fn head(&self, queue: usize) -> Self::Word;
    /// A slot's link; `None` if there is no such slot.
    fn link(&self, slot: u32) -> Option<Self::Link>;
    /// Reads a word. Later reads at an address made of the value see what was written before the value.
    fn load(word: Self::Word) -> u64;
    /// Writes a word, and orders nothing.
    fn store(word: Self::Word, value: u64);
    /// Reads a link, as [`Memory::load`].
    fn load_link(link: Self::Link) -> u32;
    /// Writes a link, and orders nothing.
    fn store_link(link: Self::Link, value: u32);
    /// Writes `new` if the word is `current`; otherwise gives what it is. A full barrier.
    fn compare_and_swap(word: Self::Word, current: u64, new: u64) -> Result<(), u64>;
    /// Adds, wrapping; what the word was before. A full barrier.
    fn add(word: Self::Word, value: u64) -> u64;
}

/// Why [`put`] did not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutError {
    /// The queue is closed: deliver the packet directly.
    Closed,
    /// Other processors kept winning.
    Contended,
}

/// Why [`allocate`] gave no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocateError {
    /// No slot is free.
    Exhausted,
    /// Other processors kept winning.
    Contended,
}

/// Why [`charge`] found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The node's packets.
    Packets,
    /// The node's octets.
    Octets,
    /// The pool, but for what is guaranteed to others.
    Pool,
}

/// What [`take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The oldest slot; it belongs to the caller now.
    Slot(u32),
    /// Nothing is held (or the first put is not finished).
    Empty,
    /// A put is under way behind the last slot: ask again.
    Busy,
}

/// The slot, or [`EMPTY`] or [`CLOSED`], that a tail or a top names.
#[inline(always)]
pub const fn index_of(word: u64) -> u32 {
    word as u32
}

/// The number in a tail or a top.
#[inline(always)]
pub const fn number_of(word: u64) -> u32 {
    (word >> 32) as u32
}

#[inline(always)]
const fn word(number: u32, index: u32) -> u64 {
    (number as u64) << 32 | index as u64
}

/// Octets are in the lower 40 bits of a load, packets in the upper 24: more than the largest pool has of
/// either.
const OCTET_BITS: u32 = 40;

/// The packets in a load.
#[inline(always)]
pub const fn packets_of(load: u64) -> u64 {
    load >> OCTET_BITS
}

/// The octets in a load.
#[inline(always)]
pub const fn octets_of(load: u64) -> u64 {
    load & ((1 << OCTET_BITS) - 1)
}

/// One packet of so many octets, as a load.
#[inline(always)]
pub const fn one_packet(octets: u64) -> u64 {
    1 << OCTET_BITS | octets
}

/// How long the meter goes back beyond what is held: from the last tick's time to that of a packet ten
/// milliseconds may be missing, which must not count.
pub const METERED_NS: u64 = 250_000_000;

/// Nanoseconds are in the lower 40 bits of a mark, the packet's number is in the upper 24: both come round, and
/// what is compared is near.
const NS_BITS: u32 = 40;
const NUMBER_MASK: u64 = (1 << (u64::BITS - NS_BITS)) - 1;
const NS_MASK: u64 = (1 << NS_BITS) - 1;
/// So much less than none is taken for less, not for eighteen minutes: processors overtake one another.
const EARLIER_NS: u64 = 1 << 30;

/// A packet's number in the stream, and when it came.
#[inline(always)]
pub const fn mark(number: u32, ns: u64) -> u64 {
    (number as u64) << NS_BITS | ns & NS_MASK
}

/// What the meter does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// It begins with it: the packet's mark is [`Buffer::first`].
    First,
    /// The packet's mark is [`Buffer::latest`].
    Latest,
    /// Nothing.
    None,
}

/// What the meter that begins with `first` does with a packet of this number: it looks at each of a few, and at
/// some of many. The clock costs as much as all the other steps of a put.
#[inline(always)]
pub const fn meter(first: u64, number: u32) -> Meter {
    match (number as u64).wrapping_sub(first >> NS_BITS) & NUMBER_MASK {
        0 => Meter::First,
        1..32 => Meter::Latest,
        _ if number.is_multiple_of(16) => Meter::Latest,
        _ => Meter::None,
    }
}

/// The packets that came after `first` up to `latest`, and in what time; `None` if there are none.
#[inline(always)]
pub const fn metered(first: u64, latest: u64) -> Option<(u64, u64)> {
    let packets = (latest >> NS_BITS).wrapping_sub(first >> NS_BITS) & NUMBER_MASK;
    let ns = latest.wrapping_sub(first) & NS_MASK;
    if packets == 0 || packets > NUMBER_MASK / 2 || ns > NS_MASK - EARLIER_NS {
        return None;
    }
    Some((packets, ns))
}

/// Where the meter begins when `oldest` is what is held longest: there, once it has gone on for so long that
/// it is exact all the same. What was there before says nothing of the rate at which packets come now: the node
/// may have been idle. `None` if it begins where it did: nothing would be left to meter, or too little.
#[inline(always)]
pub const fn begins_anew(first: u64, latest: u64, oldest: u64) -> Option<u64> {
    if metered(oldest, latest).is_none() {
        return None;
    }
    match metered(first, latest) {
        Some((_, ns)) if ns < METERED_NS => None,
        _ => Some(oldest),
    }
}

/// The slot behind this one, by its link: as the kernel makes it, zero, the next one of the array, so
/// that a pool needs no chaining before its first use.
#[inline(always)]
pub const fn next_of(slot: u32, link: u32) -> u32 {
    link.wrapping_add(slot).wrapping_add(1)
}

/// The link that says so.
#[inline(always)]
pub const fn link_to(slot: u32, next: u32) -> u32 {
    next.wrapping_sub(slot).wrapping_sub(1)
}

/// Makes room for a packet of so many octets in the account of its buffer, within `bounds` and the
/// pool's `max_shared`; packets held, with this one.
///
/// # Errors
/// What is full; nothing is changed then.
#[inline(always)]
pub fn charge<M: Memory>(
    memory: &M,
    octets: u64,
    bounds: &Bounds,
    max_shared: u64,
) -> Result<u64, Full> {
    let before = M::add(memory.buffer_load(), one_packet(octets));
    let packets = packets_of(before);
    let beyond = packets >= bounds.guaranteed as u64;
    let full = if packets >= bounds.packets as u64 {
        Full::Packets
    } else if octets_of(before) + octets > bounds.octets {
        Full::Octets
    } else if !beyond {
        return Ok(packets + 1);
    } else {
        // Signed: another processor may have taken back what it had not added yet.
        let shared = M::add(memory.shared(), 1) as i64;
        if shared < max_shared as i64 {
            return Ok(packets + 1);
        }
        discharge(memory, octets, bounds.guaranteed);
        return Err(Full::Pool);
    };
    // This step up was not counted as shared. The step down may be another one: only the difference is.
    let was_beyond = lighten(memory, octets, bounds.guaranteed);
    if beyond != was_beyond {
        let difference = if beyond { 1 } else { 1_u64.wrapping_neg() };
        M::add(memory.shared(), difference);
    }
    Err(full)
}

/// Undoes [`charge`]. After the packet's slot was given back, so that whoever is promised one finds one.
#[inline(always)]
pub fn discharge<M: Memory>(memory: &M, octets: u64, guaranteed: u32) {
    if lighten(memory, octets, guaranteed) {
        M::add(memory.shared(), 1_u64.wrapping_neg());
    }
}

/// Whether the step down was one from beyond the guaranteed number.
#[inline(always)]
fn lighten<M: Memory>(memory: &M, octets: u64, guaranteed: u32) -> bool {
    let before = M::add(memory.buffer_load(), one_packet(octets).wrapping_neg());
    packets_of(before) > guaranteed as u64
}

/// Takes a free slot off the pool's stack; with it the one that is on top then, if any.
///
/// # Errors
/// [`AllocateError`]; nothing is changed then.
#[inline(always)]
pub fn allocate<M: Memory>(memory: &M) -> Result<(u32, u32), AllocateError> {
    let top_word = memory.pool_top();
    let mut top = M::load(top_word);
    for _ in 0..ATTEMPTS {
        let index = index_of(top);
        // Another processor may own the slot by now and change its link under us; then the top
        // has moved, and the swap fails.
        let next = match memory.link(index) {
            Some(link) => next_of(index, M::load_link(link)),
            None => return Err(AllocateError::Exhausted),
        };
        let moved = word(number_of(top).wrapping_add(1), next);
        match M::compare_and_swap(top_word, top, moved) {
            Ok(()) => return Ok((index, next)),
            Err(found) => top = found,
        }
    }
    Err(AllocateError::Contended)
}

/// Puts a slot that the caller owns back on the pool's stack. `false` if other processors kept
/// winning: the caller owns it still.
#[inline(always)]
#[must_use]
pub fn free<M: Memory>(memory: &M, slot: u32) -> bool {
    let Some(link) = memory.link(slot) else {
        return false;
    };
    let top_word = memory.pool_top();
    let mut top = M::load(top_word);
    for _ in 0..FREE_ATTEMPTS {
        M::store_link(link, link_to(slot, index_of(top)));
        let moved = word(number_of(top).wrapping_add(1), slot);
        match M::compare_and_swap(top_word, top, moved) {
            Ok(()) => return true,
            Err(found) => top = found,
        }
    }
    false
}

/// Puts a filled slot that the caller owns behind all others of its queue; how many were put there before.
///
/// # Errors
/// [`PutError`]; the caller owns the slot still.
#[inline(always)]
pub fn put<M: Memory>(memory: &M, queue: usize, slot: u32) -> Result<u32, PutError> {
    let Some(link) = memory.link(slot) else {
        return Err(PutError::Contended);
    };
    M::store_link(link, link_to(slot, EMPTY));
    let tail_word = memory.tail(queue);
    let mut tail = M::load(tail_word);
    for _ in 0..ATTEMPTS {
        let newest = index_of(tail);
        if newest == CLOSED {
            return Err(PutError::Closed);
        }
        let moved = word(number_of(tail).wrapping_add(1), slot);
        match M::compare_and_swap(tail_word, tail, moved) {
            Ok(()) => {
                // The slot is in the queue; now it is chained to its elder. Until then a take
                // answers Busy or Empty, and the switch to direct delivery cannot succeed.
                match memory.link(newest) {
                    Some(elder) => M::store_link(elder, link_to(newest, slot)),
                    None => M::store(memory.head(queue), slot as u64),
                }
                return Ok(number_of(tail));
            }
            Err(found) => tail = found,
        }
    }
    Err(PutError::Contended)
}

/// Takes the oldest slot of a queue. One taker at a time.
#[inline(always)]
pub fn take<M: Memory>(memory: &M, queue: usize) -> Take {
    let head = memory.head(queue);
    let slot = index_of(M::load(head));
    let Some(link) = memory.link(slot) else {
        return Take::Empty;
    };
    let younger = next_of(slot, M::load_link(link));
    if younger != EMPTY {
        M::store(head, younger as u64);
        return Take::Slot(slot);
    }
    // The last one, as far as can be seen.
    let tail_word = memory.tail(queue);
    let tail = M::load(tail_word);
    if index_of(tail) != slot {
        return Take::Busy;
    }
    // The head must be empty before the tail says so: the next put into the empty queue writes the head.
    M::store(head, EMPTY as u64);
    match M::compare_and_swap(tail_word, tail, word(number_of(tail), EMPTY)) {
        Ok(()) => Take::Slot(slot),
        Err(_) => {
            M::store(head, slot as u64);
            Take::Busy
        }
    }
}

/// Switches to direct delivery, the stream first; `false` if packets are held.
#[inline(always)]
pub fn close<M: Memory>(memory: &M) -> bool {
    close_queue(memory, STREAM) && close_queue(memory, PRIORITY)
}

#[inline(always)]
fn close_queue<M: Memory>(memory: &M, queue: usize) -> bool {
    let tail_word = memory.tail(queue);
    let tail = M::load(tail_word);
    match index_of(tail) {
        CLOSED => true,
        EMPTY => M::compare_and_swap(tail_word, tail, word(number_of(tail), CLOSED)).is_ok(),
        _ => false,
    }
}

/// Switches back to holding what is shut; nothing is changed in a queue that is open.
#[inline(always)]
pub fn open<M: Memory>(memory: &M) {
    for queue in [PRIORITY, STREAM] {
        let tail_word = memory.tail(queue);
        let tail = M::load(tail_word);
        if index_of(tail) == CLOSED {
            // The only other move of a shut queue's tail is none at all.
            let _ = M::compare_and_swap(tail_word, tail, word(number_of(tail), EMPTY));
        }
    }
}

/// Whether packets of this queue go straight on.
#[inline(always)]
pub fn is_closed<M: Memory>(memory: &M, queue: usize) -> bool {
    index_of(M::load(memory.tail(queue))) == CLOSED
}

/// The oldest slot of a queue, without taking it. For the taker alone.
#[inline(always)]
pub fn oldest<M: Memory>(memory: &M, queue: usize) -> Option<u32> {
    let slot = index_of(M::load(memory.head(queue)));
    memory.link(slot).map(|_| slot)
}

/// The queue whose turn it is: that of signalling, unless it has nothing. For the taker alone.
#[inline(always)]
pub fn first<M: Memory>(memory: &M) -> usize {
    match oldest(memory, PRIORITY) {
        Some(_) => PRIORITY,
        None => STREAM,
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding (sizes asserted above), every bit pattern valid.
    unsafe impl aya::Pod for super::Slot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Pool {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Buffer {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::DrainJob {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::DrainList {}
}
