//! The algorithm, checked exhaustively: every interleaving of its steps, and every value that a plain load
//! may still see.
//!
//! The contents of the slots are cells that loom watches: whoever reads or writes one without being the only
//! one who may is found out, however the values come out.

use std::{collections::BTreeMap, sync::Mutex};

use loom::{
    cell::UnsafeCell,
    model::Builder,
    sync::{
        Arc,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, SeqCst},
            fence,
        },
    },
    thread,
};

use super::*;

/// What the kernel's maps hold, in loom's atomics.
struct Words {
    top: AtomicU64,
    shared: AtomicU64,
    max_shared: u64,
    links: Vec<AtomicU32>,
    contents: Vec<UnsafeCell<Packet>>,
    buffers: Vec<BufferWords>,
    /// Everything that left, in the order in which it did.
    wire: Mutex<Vec<Packet>>,
}

struct BufferWords {
    load: AtomicU64,
    tails: [AtomicU64; QUEUES],
    heads: [AtomicU64; QUEUES],
}

/// Who sent it, in which queue, and which of the packets that this is.
type Packet = (usize, usize, u32);

/// One buffer and the pool.
#[derive(Clone)]
struct View {
    words: Arc<Words>,
    buffer: usize,
    bounds: Bounds,
}

/// Bounds that nothing reaches.
const WIDE: Bounds = Bounds {
    packets: 100,
    guaranteed: 0,
    octets: 1 << 20,
};
const OCTETS: u64 = 100;

impl View {
    fn new(slots: usize, buffers: usize, bounds: Bounds) -> Self {
        let empty = || AtomicU64::new(EMPTY.into());
        let words = Words {
            top: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            max_shared: slots as u64 - buffers as u64 * u64::from(bounds.guaranteed),
            links: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            contents: (0..slots).map(|_| UnsafeCell::new((0, 0, 0))).collect(),
            buffers: (0..buffers)
                .map(|_| BufferWords {
                    load: AtomicU64::new(0),
                    tails: [empty(), empty()],
                    heads: [empty(), empty()],
                })
                .collect(),
            wire: Mutex::new(Vec::new()),
        };
        Self {
            words: Arc::new(words),
            buffer: 0,
            bounds,
        }
    }

    fn of(&self, buffer: usize) -> Self {
        Self {
            buffer,
            ..self.clone()
        }
    }

    fn send(&self, packet: Packet) {
        self.words.wire.lock().expect("no panic").push(packet);
    }

    fn fill(&self, slot: u32, packet: Packet) {
        // SAFETY: the caller owns the slot, which is what loom checks.
        self.words.contents[slot as usize].with_mut(|content| unsafe { *content = packet });
    }

    fn content(&self, slot: u32) -> Packet {
        // SAFETY: the caller owns the slot, which is what loom checks.
        self.words.contents[slot as usize].with(|content| unsafe { *content })
    }

    /// As the data path does with a packet to a bound address; what there was no room for is the error.
    fn handle(&self, packet: Packet) -> Result<(), Full> {
        let queue = packet.1;
        if is_closed(&self, queue) {
            self.send(packet);
            return Ok(());
        }
        charge(&self, OCTETS, &self.bounds, self.words.max_shared)?;
        let (slot, _) = allocate(&self).expect("who is charged for a slot finds one");
        self.fill(slot, packet);
        let result = put(&self, queue, slot);
        if result.is_err() {
            assert!(free(&self, slot));
            discharge(&self, OCTETS, self.bounds.guaranteed);
        }
        match result {
            Ok(_) => {}
            Err(PutError::Closed) => self.send(packet),
            Err(PutError::Contended) => panic!("contended"),
        }
        Ok(())
    }

    /// As the drain program does with a frame; whether there was a packet to take.
    fn release(&self) -> Take {
        let taken = take(&self, first(&self));
        if let Take::Slot(slot) = taken {
            self.send(self.content(slot));
            assert!(free(&self, slot));
            discharge(&self, OCTETS, self.bounds.guaranteed);
        }
        taken
    }

    /// As the drain thread does: until the buffer is switched to direct delivery.
    fn drain(&self) {
        loop {
            match self.release() {
                Take::Slot(_) => {}
                Take::Empty if close(&self) => return,
                // Somebody else must go on first.
                _ => thread::yield_now(),
            }
        }
    }

    /// At the end, everything having come back: nothing is charged, all slots are free, each one once.
    fn is_at_rest(&self) {
        assert_eq!(self.words.shared.load(SeqCst), 0);
        for buffer in &self.words.buffers {
            assert_eq!(buffer.load.load(SeqCst), 0);
        }
        let slots = self.words.links.len();
        let free: std::collections::BTreeSet<u32> = (0..slots)
            .map(|_| allocate(&self).expect("a slot is lost").0)
            .collect();
        assert_eq!(free.len(), slots, "a slot is there twice");
        assert_eq!(allocate(&self), Err(AllocateError::Exhausted));
    }

    /// Each packet was sent once, and those of one sender in one queue in their order.
    fn all_sent(&self, packets: &[Packet]) {
        let wire = self.words.wire.lock().expect("no panic");
        let mut sorted = wire.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, packets, "lost or sent twice");
        let mut newest = BTreeMap::new();
        for &(sender, queue, number) in wire.iter() {
            let before = newest.insert((sender, queue), number);
            assert!(before < Some(number), "{wire:?}");
        }
    }
}

impl<'a> Memory for &'a View {
    type Word = &'a AtomicU64;
    type Link = &'a AtomicU32;
    fn pool_top(&self) -> Self::Word {
        &self.words.top
    }
    fn shared(&self) -> Self::Word {
        &self.words.shared
    }
    fn buffer_load(&self) -> Self::Word {
        &self.words.buffers[self.buffer].load
    }
    fn tail(&self, queue: usize) -> Self::Word {
        &self.words.buffers[self.buffer].tails[queue]
    }
    fn head(&self, queue: usize) -> Self::Word {
        &self.words.buffers[self.buffer].heads[queue]
    }
    fn link(&self, slot: u32) -> Option<Self::Link> {
        self.words.links.get(slot as usize)
    }
    // Loom knows no order by address; this is what of it the algorithm makes use of.
    fn load(word: Self::Word) -> u64 {
        word.load(Acquire)
    }
    fn store(word: Self::Word, value: u64) {
        word.store(value, Relaxed);
    }
    fn load_link(link: Self::Link) -> u32 {
        link.load(Acquire)
    }
    fn store_link(link: Self::Link, value: u32) {
        link.store(value, Relaxed);
    }
    fn compare_and_swap(word: Self::Word, current: u64, new: u64) -> Result<(), u64> {
        fence(SeqCst);
        let result = word.compare_exchange(current, new, SeqCst, SeqCst);
        fence(SeqCst);
        result.map(drop)
    }
    fn add(word: Self::Word, value: u64) -> u64 {
        fence(SeqCst);
        let before = word.fetch_add(value, SeqCst);
        fence(SeqCst);
        before
    }
}

/// Checks every run of `model` with at most so many preemptions, or every one.
fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(model);
}

/// The straggler race, in all its variants: two processors put while the third drains and switches.
// Rows: BUF-08
#[test]
fn what_two_processors_put_while_the_buffer_is_switched_is_sent_once_and_in_order() {
    check(Some(3), || {
        let view = View::new(3, 1, WIDE);
        let putters = [(0, 2), (1, 1)].map(|(sender, packets)| {
            let view = view.clone();
            thread::spawn(move || {
                for number in 0..packets {
                    view.handle((sender, STREAM, number)).expect("room for all");
                }
            })
        });
        view.drain();
        for putter in putters {
            putter.join().expect("no panic");
        }
        view.all_sent(&[(0, STREAM, 0), (0, STREAM, 1), (1, STREAM, 0)]);
        view.is_at_rest();
    });
}

/// One processor alone against the drain, without a bound on the preemptions.
// Rows: BUF-08
#[test]
fn no_interleaving_of_a_straggler_with_the_switch_strands_or_reorders_it() {
    check(None, || {
        let view = View::new(2, 1, WIDE);
        view.handle((0, STREAM, 0)).expect("room for it");
        let putter = {
            let view = view.clone();
            thread::spawn(move || view.handle((0, STREAM, 1)).expect("room for it"))
        };
        view.drain();
        putter.join().expect("no panic");
        view.all_sent(&[(0, STREAM, 0), (0, STREAM, 1)]);
        view.is_at_rest();
    });
}

/// Hold, drain, deliver, and hold again.
// Rows: BUF-08
#[test]
fn a_buffer_that_is_opened_again_loses_and_reorders_nothing() {
    check(Some(3), || {
        let view = View::new(2, 1, WIDE);
        let putter = {
            let view = view.clone();
            thread::spawn(move || {
                for number in 0..2 {
                    view.handle((0, STREAM, number)).expect("room for both");
                }
            })
        };
        view.drain();
        open(&&view);
        putter.join().expect("no panic");
        view.drain();
        view.all_sent(&[(0, STREAM, 0), (0, STREAM, 1)]);
        view.is_at_rest();
    });
}

/// Each queue is switched by a word of its own, and nothing is left in either.
// Rows: BUF-08
#[test]
fn signalling_that_comes_while_the_stream_is_switched_is_not_stranded() {
    check(Some(3), || {
        let view = View::new(3, 1, WIDE);
        let sent = [(0, [STREAM, PRIORITY].as_slice()), (1, &[PRIORITY])];
        let putters = sent.map(|(sender, queues)| {
            let view = view.clone();
            thread::spawn(move || {
                for (&queue, number) in queues.iter().zip(0..) {
                    view.handle((sender, queue, number)).expect("room for all");
                }
            })
        });
        view.drain();
        for putter in putters {
            putter.join().expect("no panic");
        }
        view.all_sent(&[(0, STREAM, 0), (0, PRIORITY, 1), (1, PRIORITY, 0)]);
        view.is_at_rest();
    });
}

#[test]
fn signalling_leaves_before_the_stream() {
    check(None, || {
        let view = View::new(3, 1, WIDE);
        for (queue, number) in [(STREAM, 0), (STREAM, 1), (PRIORITY, 2)] {
            view.handle((0, queue, number)).expect("room for all");
        }
        view.drain();
        let wire = view.words.wire.lock().expect("no panic").clone();
        assert_eq!(wire, [(0, PRIORITY, 2), (0, STREAM, 0), (0, STREAM, 1)]);
        drop(wire);
        view.is_at_rest();
    });
}

/// Slots go and come back under the hands of others: no one mistakes one that came back for one that stayed.
#[test]
fn two_slots_that_go_round_between_processors_are_never_anybody_elses() {
    check(Some(4), || {
        let view = View::new(2, 1, WIDE);
        let round = |view: &View, packet: Packet| {
            // One of the two is there at any time.
            let (slot, _) = allocate(&view).expect("a free slot");
            view.fill(slot, packet);
            assert_eq!(view.content(slot), packet);
            assert!(free(&view, slot));
        };
        let other = {
            let view = view.clone();
            thread::spawn(move || {
                round(&view, (1, STREAM, 0));
                round(&view, (1, STREAM, 1));
            })
        };
        round(&view, (0, STREAM, 0));
        round(&view, (0, STREAM, 1));
        other.join().expect("no panic");
        view.is_at_rest();
    });
}

/// Two greedy nodes and their drain: each finds its guaranteed slot, none finds more than there is.
#[test]
fn what_is_guaranteed_to_a_node_is_there_whatever_others_hold() {
    const BOUNDS: Bounds = Bounds {
        guaranteed: 1,
        ..WIDE
    };
    check(Some(3), || {
        // One slot for each node, and one that they share.
        let view = View::new(3, 2, BOUNDS);
        let greedy = [0, 1].map(|buffer| {
            let view = view.of(buffer);
            thread::spawn(move || {
                let results = [0, 1].map(|number| view.handle((buffer, STREAM, number)));
                assert_eq!(results[0], Ok(()), "the guaranteed one");
                let held = results.iter().filter(|result| result.is_ok()).count() as u32;
                assert!(results[1].is_ok() || results[1] == Err(Full::Pool));
                held
            })
        });
        let held = greedy.map(|putter| putter.join().expect("no panic"));
        assert!(held.iter().sum::<u32>() <= 3);
        assert!(held.contains(&2), "the shared slot is for one of them");
        for buffer in [0, 1] {
            view.of(buffer).drain();
        }
        view.is_at_rest();
    });
}

/// The steps up and down over the guaranteed number are paired, whoever makes them.
#[test]
fn what_is_counted_as_shared_is_exactly_what_is_held_beyond_the_guaranteed() {
    check(None, exactly_shared::<1>);
    check(None, exactly_shared::<2>);
}

/// With so many packets as the node's bound.
fn exactly_shared<const PACKETS: u32>() {
    let bounds = Bounds {
        packets: PACKETS,
        guaranteed: 1,
        ..WIDE
    };
    let view = View::new(3, 1, bounds);
    let charged = |view: &View| charge(&view, OCTETS, &bounds, view.words.max_shared).is_ok();
    assert!(charged(&view));
    let threads = [true, false].map(|stays| {
        let view = view.clone();
        thread::spawn(move || {
            let charged = charge(&&view, OCTETS, &bounds, view.words.max_shared).is_ok();
            if charged && !stays {
                discharge(&&view, OCTETS, bounds.guaranteed);
            }
            charged && stays
        })
    });
    // What was refused beyond the guaranteed may be taken back when that is no step from beyond any more.
    discharge(&&view, OCTETS, bounds.guaranteed);
    let stayed = threads.map(|thread| thread.join().expect("no panic"));
    let held = stayed.iter().filter(|stayed| **stayed).count() as u64;
    let words = &view.words;
    let load = words.buffers[0].load.load(SeqCst);
    assert_eq!((packets_of(load), octets_of(load)), (held, held * OCTETS));
    assert_eq!(words.shared.load(SeqCst), held.saturating_sub(1));
    for _ in 0..held {
        discharge(&&view, OCTETS, bounds.guaranteed);
    }
    view.is_at_rest();
}

/// Copies are put all the time; the taker looks at the oldest and takes it only if its time is over. What
/// it looked at is what it takes.
#[test]
fn what_is_trimmed_while_others_put_is_what_was_looked_at() {
    check(None, || {
        let view = View::new(2, 1, WIDE);
        view.handle((0, STREAM, 0)).expect("room for it");
        let putter = {
            let view = view.clone();
            thread::spawn(move || view.handle((0, STREAM, 1)).expect("room for it"))
        };
        for number in 0..2 {
            let seen = loop {
                match oldest(&&view, STREAM) {
                    Some(seen) => break seen,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(view.content(seen), (0, STREAM, number));
            loop {
                match take(&&view, STREAM) {
                    Take::Slot(slot) => {
                        assert_eq!(slot, seen);
                        assert!(free(&&view, slot));
                        discharge(&&view, OCTETS, 0);
                        break;
                    }
                    Take::Busy => thread::yield_now(),
                    Take::Empty => panic!("the oldest vanished"),
                }
            }
        }
        putter.join().expect("no panic");
        view.is_at_rest();
    });
}

#[test]
fn a_load_holds_the_packets_and_octets_of_the_largest_pool() {
    let most = (1 << 20) * one_packet(FRAME_BYTES as u64);
    assert_eq!(packets_of(most), 1 << 20);
    assert_eq!(octets_of(most), FRAME_BYTES as u64 * (1 << 20));
}

#[test]
fn a_link_of_zero_leads_to_the_next_slot_and_every_other_where_it_was_set_to() {
    assert_eq!(next_of(7, 0), 8);
    for (slot, next) in [(0, 0), (5, 3), (3, 5), (0, EMPTY), (1 << 20, EMPTY)] {
        assert_eq!(next_of(slot, link_to(slot, next)), next);
    }
}
