//! What is known of one interface's ring: how many of the frames that were put into it are still there.

use std::time::{Duration, Instant};

use super::{BATCH, QUANTUM, counters::Sent};

/// Frames that may be in a ring without having been seen to leave: half of a veth's. The other half is for
/// what others send, and for the [`BATCH`] that may have been in it before anything was counted. A driver that
/// counts what has left only when more is put in gets more, too.
const WINDOW: u32 = 128;
/// For how long a counter that stands still is believed. What waits so long waits in vain: either the link is
/// dead, or this driver does not count redirected frames, or does so now and then.
const STANDSTILL: Duration = Duration::from_millis(250);
/// After this time without a frame what was put in is forgotten: it has left.
const IDLE: Duration = Duration::from_secs(1);
/// For how long a counter that stood still is not believed afterwards, and how many times as long after each
/// time that this happens again.
const DOUBT: Duration = Duration::from_secs(1);
const DOUBT_GROWTH: u32 = 8;
/// The longest doubt.
const MAX_DOUBT: Duration = Duration::from_secs(3600);

/// The ring of one interface.
#[derive(Debug)]
pub(super) struct Ring {
    /// Index of the interface.
    interface: u32,
    /// What the interface had sent at the last look.
    seen: Option<Sent>,
    /// Frames put in that have not been seen to leave.
    owed: u32,
    /// When a frame was put in or seen to leave for the last time.
    moved: Instant,
    looked: Instant,
    /// Until when the counter is not believed.
    doubted: Option<Instant>,
    /// For how long it is not if it stands still once more.
    doubt: Duration,
}

impl Ring {
    pub(super) fn new(interface: u32, now: Instant) -> Self {
        Self {
            interface,
            seen: None,
            owed: 0,
            moved: now,
            looked: now,
            doubted: None,
            doubt: DOUBT,
        }
    }

    /// As [`super::Throttle::admits`].
    pub(super) fn admits(
        &mut self,
        now: Instant,
        planned: u32,
        wanted: u32,
        counter: impl FnOnce() -> Option<Sent>,
    ) -> u32 {
        if self.is_doubted(now) {
            return wanted;
        }
        if now.saturating_duration_since(self.moved) >= IDLE {
            self.forget();
        }
        let few = wanted.min(BATCH);
        match self.seen {
            None if self.owed.saturating_add(planned + few) <= BATCH => return few,
            None => {
                // From here on all is counted. What was put in before is a batch at most.
                self.owed = 0;
                self.moved = now;
                self.looked = now;
                self.seen = counter();
            }
            Some(_) if self.room(planned) >= few => {}
            Some(_) if now.saturating_duration_since(self.looked) < QUANTUM => {}
            Some(_) => {
                self.look(now, counter);
            }
        }
        if self.seen.is_none() {
            // Nobody tells.
            return wanted;
        }
        match self.room(planned) {
            room if room < few => 0,
            room => wanted.min(room),
        }
    }

    /// So many frames were put in.
    pub(super) fn put(&mut self, now: Instant, frames: u32) {
        self.owed = self.owed.saturating_add(frames);
        self.moved = now;
    }

    /// Whether exactly what was put in has left. If it is more, others put something in as well: how much of
    /// the ring is theirs cannot be told.
    pub(super) fn is_empty(
        &mut self,
        now: Instant,
        counter: impl FnOnce() -> Option<Sent>,
    ) -> bool {
        let owed = u64::from(self.owed);
        !self.is_doubted(now)
            && self.look(now, counter)
                == Some(Sent {
                    packets: owed,
                    dropped: 0,
                })
    }

    fn room(&self, planned: u32) -> u32 {
        WINDOW.saturating_sub(self.owed.saturating_add(planned))
    }

    fn is_doubted(&self, now: Instant) -> bool {
        self.doubted.is_some_and(|until| now < until)
    }

    fn forget(&mut self) {
        self.seen = None;
        self.owed = 0;
    }

    /// What has left since the last look.
    fn look(&mut self, now: Instant, counter: impl FnOnce() -> Option<Sent>) -> Option<Sent> {
        let before = self.seen?;
        self.seen = counter();
        self.looked = now;
        let seen = self.seen?;
        let left = Sent {
            packets: seen.packets.wrapping_sub(before.packets),
            dropped: seen.dropped.wrapping_sub(before.dropped),
        };
        if left.dropped > 0 {
            tracing::warn!(
                interface = self.interface,
                packets = left.dropped,
                "an interface had no room for packets while a buffer was released"
            );
        }
        let gone = left.packets.saturating_add(left.dropped);
        self.owed = self
            .owed
            .saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX));
        if gone > 0 {
            self.moved = now;
        } else if self.owed > 0 && now.saturating_duration_since(self.moved) >= STANDSTILL {
            tracing::debug!(
                interface = self.interface,
                owed = self.owed,
                "an interface does not count what it sends, or sends nothing"
            );
            self.forget();
            self.doubted = Some(now + self.doubt);
            self.doubt = (self.doubt * DOUBT_GROWTH).min(MAX_DOUBT);
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sent(packets: u64, dropped: u64) -> impl Fn() -> Option<Sent> + Copy {
        move || Some(Sent { packets, dropped })
    }

    fn unasked() -> Option<Sent> {
        panic!("a look that is not needed")
    }

    /// A ring that has got a window of frames, none of which has left.
    fn full(now: Instant) -> Ring {
        let mut ring = Ring::new(7, now);
        assert_eq!(ring.admits(now, 0, 5, unasked), 5);
        ring.put(now, 5);
        // Whether those have left is not known; from here on all is counted.
        for _ in 0..WINDOW / BATCH {
            assert_eq!(ring.admits(now, 0, BATCH, sent(1000, 0)), BATCH);
            ring.put(now, BATCH);
        }
        ring
    }

    #[test]
    fn no_more_is_put_into_a_ring_than_half_of_it_while_nothing_leaves() {
        let start = Instant::now();
        let mut ring = full(start);
        for ms in 0..30 {
            assert_eq!(ring.admits(start + MS * ms, 0, BATCH, sent(1000, 0)), 0);
            assert_eq!(ring.admits(start + MS * ms, 0, 1, sent(1000, 0)), 0);
        }
        let now = start + MS * 30;
        assert_eq!(ring.admits(now, 0, BATCH, sent(1000 + 63, 0)), 0);
        let now = now + QUANTUM;
        assert_eq!(ring.admits(now, 0, BATCH, sent(1000 + 64, 0)), BATCH);
        assert_eq!(ring.admits(now, BATCH, 1, sent(1000 + 64, 0)), 0, "planned");
    }

    #[test]
    fn a_ring_is_looked_at_no_more_than_once_in_a_quantum() {
        let start = Instant::now();
        let mut ring = full(start);
        let now = start + QUANTUM;
        assert_eq!(ring.admits(now, 0, BATCH, sent(1000, 0)), 0);
        assert_eq!(ring.admits(now + QUANTUM / 2, 0, BATCH, unasked), 0);
        assert_eq!(ring.admits(now + QUANTUM, 0, BATCH, sent(1128, 0)), BATCH);
    }

    #[test]
    fn what_was_dropped_is_in_the_ring_no_more_and_yet_it_was_not_empty() {
        let start = Instant::now();
        let mut ring = full(start);
        assert!(!ring.is_empty(start, sent(1100, 28)));
        assert_eq!(ring.admits(start, 0, BATCH, unasked), BATCH);
        ring.put(start, BATCH);
        assert!(ring.is_empty(start, sent(1164, 28)));
        ring.put(start, BATCH);
        assert!(
            !ring.is_empty(start, sent(1229, 28)),
            "somebody else's, too"
        );
    }

    /// Of a driver that does not count redirected frames, or once in a second.
    #[test]
    fn a_counter_that_stands_still_too_long_is_not_believed_and_each_time_for_longer() {
        let start = Instant::now();
        let mut ring = full(start);
        assert_eq!(
            ring.admits(start + STANDSTILL - MS, 0, BATCH, sent(1000, 0)),
            0
        );
        let now = start + STANDSTILL;
        ring.admits(now, 0, BATCH, sent(1000, 0));
        assert_eq!(ring.admits(now, 0, BATCH, unasked), BATCH);
        ring.put(now, BATCH);
        assert!(!ring.is_empty(now, unasked));
        assert_eq!(ring.admits(now + DOUBT - MS, 0, BATCH, unasked), BATCH);
        let now = now + DOUBT;
        for _ in 0..WINDOW / BATCH {
            assert_eq!(ring.admits(now, 0, BATCH, sent(1000, 0)), BATCH);
            ring.put(now, BATCH);
        }
        let now = now + STANDSTILL;
        ring.admits(now, 0, BATCH, sent(1000, 0));
        assert_eq!(ring.admits(now + DOUBT * 7, 0, BATCH, unasked), BATCH);
    }

    #[test]
    fn an_interface_that_nobody_counts_for_is_paced_by_time_alone() {
        let start = Instant::now();
        let mut ring = Ring::new(7, start);
        for _ in 0..10 {
            assert_eq!(ring.admits(start, 0, BATCH, || None), BATCH);
            ring.put(start, BATCH);
            assert!(!ring.is_empty(start, || None));
        }
    }

    #[test]
    fn a_ring_that_was_not_used_for_long_is_empty() {
        let start = Instant::now();
        let mut ring = full(start);
        assert_eq!(ring.admits(start + IDLE, 0, BATCH, unasked), BATCH);
    }
}
