//! How much is sent at a time: never more than the ring of the interface that it leaves by takes.
//!
//! A veth's ring has 256 frames, and what does not find room is lost without a word. Nobody tells how full it is,
//! but its far end counts what it takes out. As long as that is all that was put in, run by run, the next run
//! may follow at once, and be a long one; else a run follows after a time, and only if no more than half a ring
//! is still to be taken out. Time alone is no measure: a far end whose processor is busy with other things takes
//! nothing out for tens of milliseconds, and most links are slower than this machine.

mod counters;
mod ring;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use self::{
    counters::{Counters, Sent},
    ring::Ring,
};

/// Frames of one [`QUANTUM`] at most, while it is not known whether they have left.
pub(super) const BATCH: u32 = 64;
/// Frames of one run at most, into a ring that is known to be empty: it leaves room for what others send.
pub(super) const LONG_RUN: u32 = 192;
/// The shortest time between two full batches otherwise, and between two looks at a full ring.
pub(super) const QUANTUM: Duration = Duration::from_micros(250);

/// When how much may be sent.
pub(super) struct Throttle {
    counters: Box<dyn FnMut(u32) -> Option<Sent> + Send>,
    /// When the present quantum began.
    start: Instant,
    /// Frames sent in it.
    frames: u32,
    /// The interface whose ring is empty.
    empty: Option<u32>,
    /// What is known of the rings, by interface.
    rings: BTreeMap<u32, Ring>,
}

impl Throttle {
    /// By the counters of the network namespace that this thread is in.
    pub(super) fn new(now: Instant) -> Self {
        let mut counters = Counters::default();
        Self::by(now, move |interface| counters.sent(interface))
    }

    fn by(now: Instant, counters: impl FnMut(u32) -> Option<Sent> + Send + 'static) -> Self {
        Self {
            counters: Box::new(counters),
            start: now,
            frames: 0,
            empty: None,
            rings: BTreeMap::new(),
        }
    }

    /// How many frames may be sent now, and by which interface alone, if it is so many for a single one.
    pub(super) fn room(&self, now: Instant) -> (u32, Option<u32>) {
        match self.empty {
            Some(interface) => (LONG_RUN, Some(interface)),
            None if now.saturating_duration_since(self.start) >= QUANTUM => (BATCH, None),
            None => (BATCH.saturating_sub(self.frames), None),
        }
    }

    /// When there is room again.
    pub(super) fn until(&self) -> Instant {
        match self.frames >= BATCH && self.empty.is_none() {
            true => self.start + QUANTUM,
            false => self.start,
        }
    }

    /// How many of the `wanted` frames may be put into the ring of an interface, for which so many are
    /// `planned` already. 0: they must wait, a [`QUANTUM`] at least.
    pub(super) fn admits(
        &mut self,
        now: Instant,
        interface: u32,
        planned: u32,
        wanted: u32,
    ) -> u32 {
        if self.empty == Some(interface) {
            return wanted.min(LONG_RUN.saturating_sub(planned));
        }
        let ring = (self.rings.entry(interface)).or_insert_with(|| Ring::new(interface, now));
        ring.admits(now, planned, wanted, || (self.counters)(interface))
    }

    /// Before frames are sent by an interface, if it is a single one, as far as is known.
    pub(super) fn sending(&mut self, interface: Option<u32>) {
        if self.empty != interface {
            self.empty = None;
        }
    }

    /// So many frames were sent, and so many of them put into the rings of these interfaces.
    pub(super) fn sent(&mut self, now: Instant, frames: u32, put: &[(u32, u32)]) {
        if now.saturating_duration_since(self.start) >= QUANTUM {
            self.start = now;
            self.frames = 0;
        }
        self.frames += frames;
        for &(interface, frames) in put {
            let ring = (self.rings.entry(interface)).or_insert_with(|| Ring::new(interface, now));
            ring.put(now, frames);
        }
        self.empty = match *put {
            // Looking costs as much as some packets: worth it for a full batch.
            [(interface, frames)] if frames >= BATCH => {
                let ring = self.rings.get_mut(&interface);
                let is_empty =
                    ring.is_some_and(|ring| ring.is_empty(now, || (self.counters)(interface)));
                is_empty.then_some(interface)
            }
            // It was the last of many, or not one interface alone.
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use super::*;

    fn by(start: Instant, packets: &Arc<AtomicU64>) -> Throttle {
        let packets = packets.clone();
        Throttle::by(start, move |_| {
            Some(Sent {
                packets: packets.load(Relaxed),
                dropped: 0,
            })
        })
    }

    #[test]
    fn no_more_is_sent_in_one_quantum_than_the_rings_take() {
        let start = Instant::now();
        let mut throttle = Throttle::by(start, |_| None);
        throttle.sent(start, BATCH - 5, &[(1, BATCH - 5)]);
        assert_eq!(throttle.room(start), (5, None));
        throttle.sent(start + QUANTUM / 2, 5, &[(1, 5)]);
        assert_eq!(throttle.room(start + QUANTUM / 2), (0, None));
        assert_eq!(throttle.until(), start + QUANTUM);
        assert_eq!(throttle.room(start + QUANTUM), (BATCH, None));
    }

    #[test]
    fn what_is_known_to_have_left_makes_room_at_once_for_more_by_the_same_interface() {
        let start = Instant::now();
        let count = Arc::new(AtomicU64::new(1000));
        let mut throttle = by(start, &count);
        let run = |throttle: &mut Throttle, now, frames: u32, left: u32| {
            assert_eq!(throttle.admits(now, 7, 0, frames), frames);
            throttle.sending(Some(7));
            count.fetch_add(left.into(), Relaxed);
            throttle.sent(now, frames, &[(7, frames)]);
            (throttle.room(now).1, throttle.until() <= now)
        };
        let now = start + QUANTUM;
        assert_eq!(run(&mut throttle, now, 5, 5), (None, true));
        let now = now + QUANTUM;
        assert_eq!(run(&mut throttle, now, BATCH, BATCH), (Some(7), true));
        assert_eq!(run(&mut throttle, now, LONG_RUN, LONG_RUN), (Some(7), true));
        // One that is still in the ring, or somebody else's, and it is as if nothing were known.
        assert_eq!(
            run(&mut throttle, now, LONG_RUN, LONG_RUN - 1),
            (None, false)
        );
    }

    #[test]
    fn a_full_ring_bars_its_own_interface_alone() {
        let start = Instant::now();
        let mut throttle = by(start, &Arc::default());
        let mut put = 0;
        for _ in 0..10 {
            let admitted = throttle.admits(start, 7, 0, BATCH);
            throttle.sent(start, admitted, &[(7, admitted)]);
            put += admitted;
        }
        assert!((BATCH..=LONG_RUN).contains(&put), "{put} put into a ring");
        assert_eq!(throttle.admits(start, 7, 0, BATCH), 0);
        assert_eq!(throttle.admits(start, 8, 0, BATCH), BATCH);
    }

    #[test]
    fn another_interface_has_another_ring() {
        let start = Instant::now();
        let mut throttle = by(start, &Arc::default());
        throttle.empty = Some(7);
        throttle.sending(Some(8));
        assert_eq!(throttle.room(start + QUANTUM), (BATCH, None));
        throttle.empty = Some(7);
        throttle.sending(None);
        assert_eq!(throttle.empty, None);
    }
}
