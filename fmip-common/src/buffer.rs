//! The handover buffer: its layout, its algorithm and its invariants, the same code in the kernel
//! and in the tests on the host.
//!
//! One pool of slots serves all mobile nodes. A free slot is on the pool's stack; a held packet's
//! slot is in the queue of its mobile node. Both are chained through the slot's `next` word, so an
//! idle node costs one [`Buffer`] and no slot.
//!
//! Many processors put, one drain takes (the controller has one drain thread). What makes it
//! lossless is one word, the queue's `tail`:
//!
//! * [`EMPTY`]: open and nothing held;
//! * a slot's index: open, and this slot is the newest;
//! * [`CLOSED`]: packets go straight to the mobile node.
//!
//! A put moves `tail` to its slot, a take of the last slot moves it back to `EMPTY`, and the switch
//! to direct delivery moves it from `EMPTY` to `CLOSED`: all by compare-and-swap on the same word.
//! So the switch can succeed only while nothing is held, no packet can be put behind the switch,
//! and none can overtake those before it. (A state beside the queue was rejected: between reading
//! the state and putting the packet the drain could finish, and the packet would be stranded.)

use crate::binding::Egress;
use crate::limits::FRAME_BYTES;

/// No slot: the end of a chain, and the tail of an open and empty queue.
pub const EMPTY: u64 = u32::MAX as u64;
/// The tail of a queue that is switched to direct delivery.
pub const CLOSED: u64 = EMPTY - 1;

/// How often a compare-and-swap is tried before the packet is given up. Each failure means that
/// another processor succeeded, so the number is one of processors, not of time.
const ATTEMPTS: u32 = 32;

/// The same for giving a slot back. What is not given back is lost until the programs are loaded
/// again, so this is more than the processors that could win at one instant; but no more than that, for the
/// kernel's verifier walks through them all, from every way that leads here.
const FREE_ATTEMPTS: u32 = 128;

/// One packet's place.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The next slot of the chain, or [`EMPTY`].
    pub next: u64,
    /// When the packet arrived, on the clock of `bpf_ktime_get_ns`.
    pub arrival_ns: u64,
    /// Octets of `frame` in use.
    pub length: u32,
    /// Always 0.
    pub reserved: u32,
    /// Always 0; keeps the frame on a multiple of 8 and the slot at 2048 octets.
    pub reserved2: u64,
    /// The packet from the Ethernet header on.
    pub frame: [u8; FRAME_BYTES],
}
const _: () = assert!(size_of::<Slot>() == 2048);

/// The stack of free slots.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Index of the topmost free slot, or [`EMPTY`], in the lower half; in the upper half a number
    /// that changes with every move, so that a compare-and-swap cannot mistake a slot which went
    /// and came back for one that stayed.
    pub top: u64,
    /// Slots in use.
    pub used: u64,
}
const _: () = assert!(size_of::<Pool>() == 16);

/// The handover buffer of one mobile node.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The newest slot, [`EMPTY`] or [`CLOSED`].
    pub tail: u64,
    /// The oldest slot, or [`EMPTY`]. Belongs to the taker, but for the put into an empty queue.
    pub head: u64,
    /// Packets held now.
    pub waiting: u64,
    /// Octets held now.
    pub waiting_bytes: u64,
    /// Packets that were ever put.
    pub held: u64,
    /// Packets that left towards the mobile node.
    pub released: u64,
    /// Packets that were refused, aged or discarded.
    pub dropped: u64,
    /// Copies that were taken out again because a newer one would do.
    pub trimmed: u64,
    /// Arrival of the first packet put.
    pub first_ns: u64,
    /// Arrival of the newest packet put.
    pub last_ns: u64,
    /// Bound on `waiting`.
    pub max_packets: u64,
    /// Bound on `waiting_bytes`.
    pub max_bytes: u64,
    /// Bound on the time that a packet waits, in nanoseconds.
    pub max_age_ns: u64,
}
const _: () = assert!(size_of::<Buffer>() == 104);

impl Buffer {
    /// An open and empty buffer.
    pub const fn open(max_packets: u64, max_bytes: u64, max_age_ns: u64) -> Self {
        Self {
            tail: EMPTY,
            head: EMPTY,
            waiting: 0,
            waiting_bytes: 0,
            held: 0,
            released: 0,
            dropped: 0,
            trimmed: 0,
            first_ns: 0,
            last_ns: 0,
            max_packets,
            max_bytes,
            max_age_ns,
        }
    }
}

/// What the controller asks the drain program for, and what it answers. One record, since there is
/// one drain thread. (The frame's own octets cannot carry it: recycled pages keep what the last
/// run wrote.)
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainJob {
    /// Index of the buffer.
    pub buffer: u32,
    /// One of the `DRAIN_` constants.
    pub operation: u32,
    /// Packets taken by this job.
    pub taken: u32,
    /// One of the `OUTCOME_` constants, of the last run.
    pub outcome: u32,
    /// Packets that this job handed to the kernel instead of sending them. Those behind them must
    /// take the same way: a run's frames are sent before any is handed on.
    pub passed: u32,
    /// 1 when a packet was handed to the kernel so that it resolves the next hop. Where that is not
    /// done yet nothing more is taken while this is set: the kernel's own queue is short.
    pub resolving: u32,
    /// With [`DRAIN_TRIM`]: copies that wait longer, in nanoseconds, are taken.
    pub window_ns: u64,
    /// With [`DRAIN_RELEASE`]: how the packets leave.
    pub egress: Egress,
}
const _: () = assert!(size_of::<DrainJob>() == 104);

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

/// The words that the algorithm works on, wherever they are: a BPF map, or atomics in a test.
pub trait Memory {
    /// One word; a pointer in the kernel, a reference in a test.
    type Word: Copy;
    /// `Pool::top`.
    fn pool_top(&self) -> Self::Word;
    /// `Buffer::tail`.
    fn tail(&self) -> Self::Word;
    /// `Buffer::head`.
    fn head(&self) -> Self::Word;
    /// `Slot::next` of a slot; `None` if there is no such slot.
    fn next(&self, slot: u64) -> Option<Self::Word>;
    /// Reads a word.
    fn load(word: Self::Word) -> u64;
    /// Writes a word; everything written before it is seen by who reads it.
    fn store(word: Self::Word, value: u64);
    /// Writes `new` if the word is `current`; otherwise gives what it is.
    fn compare_and_swap(word: Self::Word, current: u64, new: u64) -> Result<(), u64>;
}

/// Why [`put`] did not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutError {
    /// The buffer is closed: deliver the packet directly.
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

/// What [`take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The oldest slot; it belongs to the caller now.
    Slot(u64),
    /// Nothing is held (or the first put is not finished).
    Empty,
    /// A put is under way behind the last slot: ask again.
    Busy,
}

#[inline(always)]
const fn index_of(top: u64) -> u64 {
    top & EMPTY
}

#[inline(always)]
const fn moved_to(top: u64, index: u64) -> u64 {
    ((top >> 32).wrapping_add(1) << 32) | index
}

/// Takes a free slot off the pool's stack.
///
/// # Errors
/// [`AllocateError`]; nothing is changed then.
#[inline(always)]
pub fn allocate<M: Memory>(memory: &M) -> Result<u64, AllocateError> {
    let word = memory.pool_top();
    let mut top = M::load(word);
    for _ in 0..ATTEMPTS {
        let index = index_of(top);
        // Another processor may own the slot by now and change its `next` under us; then the top
        // has moved, and the swap fails.
        let next = match memory.next(index) {
            Some(next) => M::load(next),
            None => return Err(AllocateError::Exhausted),
        };
        match M::compare_and_swap(word, top, moved_to(top, index_of(next))) {
            Ok(()) => return Ok(index),
            Err(found) => top = found,
        }
    }
    Err(AllocateError::Contended)
}

/// Puts a slot that the caller owns back on the pool's stack. `false` if other processors kept
/// winning: the caller owns it still.
#[inline(always)]
#[must_use]
pub fn free<M: Memory>(memory: &M, slot: u64) -> bool {
    let Some(next) = memory.next(slot) else {
        return false;
    };
    let word = memory.pool_top();
    let mut top = M::load(word);
    for _ in 0..FREE_ATTEMPTS {
        M::store(next, index_of(top));
        match M::compare_and_swap(word, top, moved_to(top, slot)) {
            Ok(()) => return true,
            Err(found) => top = found,
        }
    }
    false
}

/// Puts a filled slot that the caller owns behind all others.
///
/// # Errors
/// [`PutError`]; the caller owns the slot still.
#[inline(always)]
pub fn put<M: Memory>(memory: &M, slot: u64) -> Result<(), PutError> {
    let Some(next) = memory.next(slot) else {
        return Err(PutError::Contended);
    };
    M::store(next, EMPTY);
    let word = memory.tail();
    let mut tail = M::load(word);
    for _ in 0..ATTEMPTS {
        if tail == CLOSED {
            return Err(PutError::Closed);
        }
        match M::compare_and_swap(word, tail, slot) {
            Ok(()) => {
                // The slot is in the queue; now it is chained to its elder. Until then a take
                // answers Busy or Empty, and the switch to direct delivery cannot succeed.
                match memory.next(tail) {
                    Some(elder) => M::store(elder, slot),
                    None => M::store(memory.head(), slot),
                }
                return Ok(());
            }
            Err(found) => tail = found,
        }
    }
    Err(PutError::Contended)
}

/// Takes the oldest slot. One taker at a time.
#[inline(always)]
pub fn take<M: Memory>(memory: &M) -> Take {
    let head = memory.head();
    let slot = M::load(head);
    let Some(next) = memory.next(slot) else {
        return Take::Empty;
    };
    let younger = M::load(next);
    if younger != EMPTY {
        M::store(head, younger);
        return Take::Slot(slot);
    }
    // The last one, as far as can be seen. The head must be empty before the tail says so: the
    // next put into the empty queue writes the head.
    M::store(head, EMPTY);
    match M::compare_and_swap(memory.tail(), slot, EMPTY) {
        Ok(()) => Take::Slot(slot),
        Err(_) => {
            M::store(head, slot);
            Take::Busy
        }
    }
}

/// Switches to direct delivery; `false` if packets are held.
#[inline(always)]
pub fn close<M: Memory>(memory: &M) -> bool {
    matches!(
        M::compare_and_swap(memory.tail(), EMPTY, CLOSED),
        Ok(()) | Err(CLOSED)
    )
}

/// Switches back to holding, if the queue is shut; nothing is changed if it is open.
#[inline(always)]
pub fn open<M: Memory>(memory: &M) {
    // The only other move of a shut queue's tail is none at all.
    let _ = M::compare_and_swap(memory.tail(), CLOSED, EMPTY);
}

/// The oldest slot, without taking it. For the taker alone.
#[inline(always)]
pub fn oldest<M: Memory>(memory: &M) -> Option<u64> {
    let slot = M::load(memory.head());
    memory.next(slot).map(|_| slot)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    struct Words {
        top: AtomicU64,
        tail: AtomicU64,
        head: AtomicU64,
        next: Vec<AtomicU64>,
        content: Vec<AtomicU64>,
    }

    impl Words {
        fn new(slots: u64) -> Self {
            let chain = |slot| if slot + 1 < slots { slot + 1 } else { EMPTY };
            Self {
                top: AtomicU64::new(0),
                tail: AtomicU64::new(EMPTY),
                head: AtomicU64::new(EMPTY),
                next: (0..slots).map(|slot| chain(slot).into()).collect(),
                content: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            }
        }

        fn free_slots(&self) -> usize {
            let mut count = 0;
            let mut slot = index_of(self.top.load(SeqCst));
            while let Some(next) = self.next.get(slot as usize) {
                count += 1;
                slot = next.load(SeqCst);
            }
            count
        }
    }

    impl<'a> Memory for &'a Words {
        type Word = &'a AtomicU64;
        fn pool_top(&self) -> Self::Word {
            &self.top
        }
        fn tail(&self) -> Self::Word {
            &self.tail
        }
        fn head(&self) -> Self::Word {
            &self.head
        }
        fn next(&self, slot: u64) -> Option<Self::Word> {
            self.next.get(slot as usize)
        }
        fn load(word: Self::Word) -> u64 {
            word.load(SeqCst)
        }
        fn store(word: Self::Word, value: u64) {
            word.store(value, SeqCst);
        }
        fn compare_and_swap(word: Self::Word, current: u64, new: u64) -> Result<(), u64> {
            word.compare_exchange(current, new, SeqCst, SeqCst)
                .map(drop)
        }
    }

    // Rows: BUF-08
    #[test]
    fn packets_leave_in_the_order_they_came() {
        let words = &Words::new(4);
        for content in 1..=4 {
            let slot = allocate(&words).expect("a free slot");
            words.content[slot as usize].store(content, SeqCst);
            put(&words, slot).expect("an open queue");
        }
        assert_eq!(allocate(&words), Err(AllocateError::Exhausted));
        for content in 1..=4 {
            let Take::Slot(slot) = take(&words) else {
                panic!("nothing to take")
            };
            assert_eq!(words.content[slot as usize].load(SeqCst), content);
            assert!(free(&words, slot));
        }
        assert_eq!(take(&words), Take::Empty);
        assert_eq!(words.free_slots(), 4);
    }

    #[test]
    fn the_switch_succeeds_only_while_nothing_is_held_and_shuts_the_queue() {
        let words = &Words::new(2);
        let slot = allocate(&words).expect("a free slot");
        put(&words, slot).expect("an open queue");
        assert!(!close(&words));
        assert_eq!(take(&words), Take::Slot(slot));
        assert!(close(&words));
        assert!(close(&words), "closing twice is no error");
        assert_eq!(put(&words, slot), Err(PutError::Closed));
        assert!(free(&words, slot), "a refused slot is still the caller's");
        assert_eq!(words.free_slots(), 2);
    }

    /// Every interleaving of a put with a taker that drains and switches, step by step: the
    /// straggler race. Each word access is one step; the schedule says whose turn it is.
    // Rows: BUF-08
    #[test]
    fn no_interleaving_of_a_straggler_with_the_switch_strands_or_reorders_it() {
        use std::sync::{Condvar, Mutex};

        thread_local!(static ME: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
        struct Turns {
            schedule: Mutex<(VecDeque<usize>, [bool; 2])>,
            changed: Condvar,
        }
        impl Turns {
            fn step<T>(&self, action: impl FnOnce() -> T) -> T {
                let me = ME.get();
                let mut guard = self.schedule.lock().expect("no panic inside");
                loop {
                    match guard.0.front() {
                        Some(&turn) if turn != me && !guard.1[turn] => {
                            guard = self.changed.wait(guard).expect("no panic inside");
                        }
                        _ => break,
                    }
                }
                if guard.0.front() == Some(&me) {
                    guard.0.pop_front();
                } else {
                    // The one whose turn it was has ended.
                    while guard.0.front().is_some_and(|&turn| guard.1[turn]) {
                        guard.0.pop_front();
                    }
                    if guard.0.front() == Some(&me) {
                        guard.0.pop_front();
                    }
                }
                let result = action();
                self.changed.notify_all();
                result
            }
            fn end(&self) {
                self.schedule.lock().expect("no panic inside").1[ME.get()] = true;
                self.changed.notify_all();
            }
        }
        struct Stepped<'a>(&'a Words, &'a Turns);
        impl<'a> Memory for Stepped<'a> {
            type Word = (&'a AtomicU64, &'a Turns);
            fn pool_top(&self) -> Self::Word {
                (&self.0.top, self.1)
            }
            fn tail(&self) -> Self::Word {
                (&self.0.tail, self.1)
            }
            fn head(&self) -> Self::Word {
                (&self.0.head, self.1)
            }
            fn next(&self, slot: u64) -> Option<Self::Word> {
                Some((self.0.next.get(slot as usize)?, self.1))
            }
            fn load(word: Self::Word) -> u64 {
                word.1.step(|| word.0.load(SeqCst))
            }
            fn store(word: Self::Word, value: u64) {
                word.1.step(|| word.0.store(value, SeqCst));
            }
            fn compare_and_swap(word: Self::Word, current: u64, new: u64) -> Result<(), u64> {
                word.1.step(|| {
                    word.0
                        .compare_exchange(current, new, SeqCst, SeqCst)
                        .map(drop)
                })
            }
        }

        // The put has at most 4 steps, the taker's first 8 cover take, take and close.
        let mut outcomes = [0; 2];
        for pattern in 0..(1_u32 << 12) {
            if pattern.count_ones() != 4 {
                continue;
            }
            let words = &Words::new(2);
            let elder = allocate(&words).expect("a free slot");
            put(&words, elder).expect("an open queue");
            let straggler = allocate(&words).expect("a free slot");
            let turns = Turns {
                schedule: Mutex::new((
                    (0..12)
                        .map(|bit| usize::from(pattern >> bit & 1 == 1))
                        .collect(),
                    [false; 2],
                )),
                changed: Condvar::new(),
            };
            let (taken, was_put) = std::thread::scope(|scope| {
                let taker = scope.spawn(|| {
                    ME.set(0);
                    let memory = Stepped(words, &turns);
                    let mut taken = Vec::new();
                    loop {
                        match take(&memory) {
                            Take::Slot(slot) => taken.push(slot),
                            Take::Busy => {}
                            Take::Empty => {
                                if close(&memory) {
                                    break;
                                }
                            }
                        }
                    }
                    turns.end();
                    taken
                });
                let putter = scope.spawn(|| {
                    ME.set(1);
                    let result = put(&Stepped(words, &turns), straggler);
                    turns.end();
                    result
                });
                (
                    taker.join().expect("no panic"),
                    putter.join().expect("no panic"),
                )
            });
            match was_put {
                Ok(()) => assert_eq!(taken, [elder, straggler], "{pattern:012b}"),
                Err(PutError::Closed) => assert_eq!(taken, [elder], "{pattern:012b}"),
                Err(PutError::Contended) => panic!("{pattern:012b}: contended"),
            }
            outcomes[usize::from(was_put.is_ok())] += 1;
        }
        assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
    }

    // Rows: BUF-08
    #[test]
    fn a_shut_queue_is_opened_again_and_an_open_one_is_left_alone() {
        let words = &Words::new(2);
        assert!(close(&words));
        open(&words);
        let slot = allocate(&words).expect("a free slot");
        put(&words, slot).expect("an open queue");
        open(&words);
        assert_eq!(oldest(&words), Some(slot));
        assert_eq!(take(&words), Take::Slot(slot), "what was held is lost");
        assert_eq!(oldest(&words), None);
    }

    /// Copies are put on two processors, all the time; the taker looks at the oldest and takes it only if
    /// its time is over. What it looked at is what it takes, and no put is lost.
    #[test]
    fn what_is_trimmed_while_others_put_is_what_was_looked_at() {
        const EACH: u64 = 50_000;
        // So many the window keeps.
        const KEPT: u64 = 8;
        let words = &Words::new(64);
        let trimmed = std::thread::scope(|scope| {
            for producer in 0..2_u64 {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let slot = loop {
                            match allocate(&words) {
                                Ok(slot) => break slot,
                                Err(_) => std::thread::yield_now(),
                            }
                        };
                        words.content[slot as usize].store(producer << 32 | number, SeqCst);
                        while put(&words, slot) != Ok(()) {}
                    }
                });
            }
            let mut next = [0_u64; 2];
            while next.iter().sum::<u64>() < 2 * EACH - KEPT {
                let Some(seen) = oldest(&words) else {
                    std::thread::yield_now();
                    continue;
                };
                let content = words.content[seen as usize].load(SeqCst);
                match take(&words) {
                    Take::Slot(slot) => {
                        assert_eq!(slot, seen);
                        let producer = (content >> 32) as usize;
                        assert_eq!(content & 0xffff_ffff, next[producer], "out of order");
                        next[producer] += 1;
                        while !free(&words, slot) {}
                    }
                    Take::Busy => std::thread::yield_now(),
                    Take::Empty => panic!("the oldest vanished"),
                }
            }
            next.iter().sum::<u64>()
        });
        assert_eq!(trimmed, 2 * EACH - KEPT);
        let mut kept = 0;
        while let Take::Slot(slot) = take(&words) {
            kept += 1;
            assert!(free(&words, slot));
        }
        assert_eq!(kept, KEPT);
        assert_eq!(words.free_slots(), 64, "every slot came back");
    }

    #[test]
    fn two_processors_putting_while_one_drains_lose_nothing_and_keep_each_ones_order() {
        const EACH: u64 = 100_000;
        let words = &Words::new(64);
        let received = std::thread::scope(|scope| {
            for producer in 0..2_u64 {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let slot = loop {
                            match allocate(&words) {
                                Ok(slot) => break slot,
                                Err(_) => std::thread::yield_now(),
                            }
                        };
                        words.content[slot as usize].store(producer << 32 | number, SeqCst);
                        while put(&words, slot) != Ok(()) {}
                    }
                });
            }
            let mut received = [0_u64; 2];
            while received.iter().sum::<u64>() < 2 * EACH {
                match take(&words) {
                    Take::Slot(slot) => {
                        let content = words.content[slot as usize].load(SeqCst);
                        let producer = (content >> 32) as usize;
                        assert_eq!(content & 0xffff_ffff, received[producer], "out of order");
                        received[producer] += 1;
                        while !free(&words, slot) {}
                    }
                    Take::Busy | Take::Empty => std::thread::yield_now(),
                }
            }
            received
        });
        assert_eq!(received, [EACH; 2]);
        assert!(close(&words));
        assert_eq!(words.free_slots(), 64, "every slot came back");
    }
}
