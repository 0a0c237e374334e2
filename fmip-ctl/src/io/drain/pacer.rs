//! When packets of one buffer are due (RFC 5568 section 5.4).

use std::time::{Duration, Instant};

use fmip_common::buffer::{Buffer, metered_ns, metered_number};

use super::{
    Pace,
    throttle::{BATCH, LONG_RUN, QUANTUM},
};

/// RFC 5568 section 5.4: at most this many packets one after another.
pub(super) const BACK_TO_BACK: u32 = 5;
/// The pace while nothing has been metered yet: one packet, or all in one instant.
const UNMETERED: Duration = Duration::from_micros(100);
/// The mean time between packets entering the buffer, if it can be told.
pub(super) fn metered_interval(buffer: &Buffer) -> Option<Duration> {
    let interval = metered_ns(buffer.metered).checked_div(metered_number(buffer.metered))?;
    Some(Duration::from_nanos(interval)).filter(|interval| !interval.is_zero())
}

/// When packets of one buffer are due.
pub(super) struct Pacer {
    pace: Pace,
    /// Packets that may still go back to back.
    burst: u32,
    /// When the next packet is due.
    next: Instant,
    /// When to run: not before `next`, and not too soon after the run before.
    pub(super) wake: Instant,
    interval: Duration,
}

impl Pacer {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            burst: BACK_TO_BACK,
            next: now,
            wake: now,
            interval: UNMETERED,
        }
    }

    /// How many packets are to be sent at `now`, at least 1: with those that were missed because
    /// this thread was not run in time. If it sent only a few then, a busy machine would let the
    /// backlog grow instead of shrink.
    pub(super) fn packets_due(&self, now: Instant) -> u32 {
        match self.pace {
            Pace::Burst => LONG_RUN,
            Pace::Metered { .. } if self.burst > 0 => self.burst,
            Pace::Metered { .. } => {
                let late = now.saturating_duration_since(self.next).as_nanos();
                let missed = late / self.interval.as_nanos().max(1);
                u32::try_from(missed)
                    .unwrap_or(u32::MAX)
                    .saturating_add(1)
                    .min(BATCH)
            }
        }
    }

    /// Takes note that `packets` were sent; `metered` is the mean time between arrivals.
    pub(super) fn released(&mut self, packets: u32, metered: Option<Duration>, now: Instant) {
        let Pace::Metered { catch_up } = self.pace else {
            // Behind the others whose turn it is.
            self.wake = now;
            return;
        };
        self.interval = metered.map_or(UNMETERED, |interval| interval.div_f64(catch_up));
        if self.burst > 0 {
            self.burst = self.burst.saturating_sub(packets);
            if self.burst == 0 {
                self.next = now + self.interval;
            }
        } else {
            self.next += self.interval * packets;
        }
        // After a very long delay the schedule starts anew.
        if now.saturating_duration_since(self.next) > self.interval * BATCH {
            self.next = now;
        }
        // Who is late goes on at once, behind the others whose turn it is.
        self.wake = match self.next <= now {
            true => now,
            false => self.next.max(now + QUANTUM),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fmip_common::buffer::{Bounds, metered};

    const METERED: Pace = Pace::Metered { catch_up: 2.0 };
    const MS: Duration = Duration::from_millis(1);

    // Rows: BUF-03, BUF-04, BUF-09
    #[test]
    fn five_packets_go_back_to_back_and_the_rest_at_the_metered_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(METERED, start);
        assert_eq!(pacer.packets_due(start), 5);
        pacer.released(5, Some(MS), start);
        for number in 1..100 {
            // Twice as fast as they came.
            assert_eq!(pacer.wake, start + MS / 2 * number);
            let now = pacer.wake;
            assert_eq!(pacer.packets_due(now), 1);
            pacer.released(1, Some(MS), now);
        }
    }

    // Rows: BUF-03
    #[test]
    fn a_high_rate_is_kept_by_few_runs() {
        let start = Instant::now();
        let interval = Duration::from_micros(100);
        let mut pacer = Pacer::new(METERED, start);
        pacer.released(5, Some(interval), start);
        let (mut packets, mut runs) = (0, 0);
        while pacer.wake <= start + 100 * MS {
            let now = pacer.wake;
            let due = pacer.packets_due(now);
            assert!(due <= BACK_TO_BACK, "{due} packets in one run are a burst");
            pacer.released(due, Some(interval), now);
            packets += due;
            runs += 1;
        }
        assert!((1995..=2005).contains(&packets), "{packets} in 100 ms");
        assert!(runs <= 401, "{runs} runs");
    }

    #[test]
    fn a_late_thread_makes_up_for_what_it_missed_but_not_for_ever() {
        let start = Instant::now();
        let mut pacer = Pacer::new(METERED, start);
        pacer.released(5, Some(MS), start);
        let late = pacer.wake + 4 * MS;
        assert_eq!(pacer.packets_due(late), 9);
        pacer.released(9, Some(MS), late);
        assert_eq!(pacer.next, late + MS / 2, "back on schedule");
        let very_late = pacer.wake + 1000 * MS;
        assert_eq!(pacer.packets_due(very_late), BATCH);
        pacer.released(BATCH, Some(MS), very_late);
        assert_eq!(pacer.next, very_late, "the schedule starts anew");
    }

    #[test]
    fn a_burst_knows_no_pace() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::Burst, start);
        assert_eq!(pacer.packets_due(start), LONG_RUN);
        pacer.released(LONG_RUN, Some(MS), start);
        assert_eq!(pacer.wake, start);
    }

    // Rows: BUF-03, BUF-04
    #[test]
    fn the_rate_is_metered_over_all_that_entered() {
        let bounds = Bounds {
            packets: 1,
            guaranteed: 1,
            octets: 1,
        };
        let mut buffer = Buffer::open(&bounds, 1);
        assert_eq!(metered_interval(&buffer), None, "one packet has no rate");
        buffer.metered = metered(10, 10_000_000).expect("a short time");
        assert_eq!(metered_interval(&buffer), Some(MS));
    }
}
