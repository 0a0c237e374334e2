//! When packets of one buffer are due (RFC 5568 section 5.4).

use std::time::{Duration, Instant};

use fmip_common::buffer::{Buffer, metered};

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
    let (packets, ns) = metered(buffer.first, buffer.latest)?;
    Some(Duration::from_nanos(ns / packets)).filter(|interval| !interval.is_zero())
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

    /// Takes note that `packets` were sent; `metered` is the mean time between arrivals, or `None` if it is
    /// not known anew.
    pub(super) fn released(&mut self, packets: u32, metered: Option<Duration>, now: Instant) {
        let Pace::Metered { catch_up } = self.pace else {
            // Behind the others whose turn it is.
            self.wake = now;
            return;
        };
        if let Some(interval) = metered {
            self.interval = interval.div_f64(catch_up);
        }
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
    use std::collections::VecDeque;

    use super::*;
    use fmip_common::buffer::{Bounds, Meter, begins_anew, mark, meter};

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

    fn open() -> Buffer {
        let bounds = Bounds {
            packets: 1,
            guaranteed: 1,
            octets: 1,
        };
        Buffer::open(&bounds, 1)
    }

    // Rows: BUF-03, BUF-04
    #[test]
    fn the_rate_is_metered_from_the_first_packet_to_the_last() {
        let mut buffer = open();
        assert_eq!(metered_interval(&buffer), None, "no packet has a rate");
        buffer.first = mark(3, 1_000_000_000);
        assert_eq!(metered_interval(&buffer), None, "one packet has no rate");
        buffer.latest = mark(13, 1_010_000_000);
        assert_eq!(metered_interval(&buffer), Some(MS));
    }

    #[test]
    fn what_cannot_be_metered_anew_goes_on_at_the_pace_of_before() {
        let start = Instant::now();
        let mut pacer = Pacer::new(METERED, start);
        pacer.released(5, Some(20 * MS), start);
        pacer.released(1, None, pacer.wake);
        assert_eq!(pacer.wake, start + 20 * MS);
    }

    /// A buffer as the programs fill and empty it, and how its packets would leave.
    struct Stream {
        buffer: Buffer,
        /// When each of those that are held came.
        held: VecDeque<Duration>,
        put: u32,
        start: Instant,
    }

    impl Stream {
        fn new() -> Self {
            Self {
                buffer: open(),
                held: VecDeque::new(),
                put: 0,
                start: Instant::now(),
            }
        }

        fn put(&mut self, now: Duration) {
            let noted = mark(self.put, now.as_nanos() as u64);
            match meter(self.buffer.first, self.put) {
                Meter::First => self.buffer.first = noted,
                Meter::Latest => self.buffer.latest = noted,
                Meter::None => {}
            }
            self.put += 1;
            self.held.push_back(now);
        }

        fn take(&mut self, now: Duration) {
            self.held.pop_front();
            self.buffer.taken += 1;
            let mark = |time: Duration| mark(self.buffer.taken as u32, time.as_nanos() as u64);
            let anew = match self.held.front() {
                None => Some(mark(now)),
                // As of the tick before.
                Some(came) => begins_anew(
                    self.buffer.first,
                    self.buffer.latest,
                    mark(*came - Duration::from_nanos(came.as_nanos() as u64 % 4_000_000)),
                ),
            };
            self.buffer.first = anew.unwrap_or(self.buffer.first);
        }

        /// Releases what is held from `now` on, while packets go on coming at this interval. Returns the most
        /// that waited once a while had passed, and when nothing was held any more.
        fn release(&mut self, now: Duration, interval: Duration) -> (usize, Duration) {
            let start = self.start;
            let at = |pacer: &Pacer| pacer.wake.duration_since(start);
            let mut pacer = Pacer::new(METERED, start + now);
            let (begin, mut next, mut most) = (now, now + interval, 0);
            loop {
                let now = at(&pacer);
                while next <= now {
                    self.put(next);
                    next += interval;
                }
                if now > begin + 200 * MS {
                    most = most.max(self.held.len());
                }
                let due = pacer.packets_due(start + now).min(self.held.len() as u32);
                for _ in 0..due {
                    self.take(now);
                }
                if self.held.is_empty() {
                    return (most, now - begin);
                }
                assert!(now < begin + 10_000 * MS, "{} wait still", self.held.len());
                pacer.released(due, metered_interval(&self.buffer), start + now);
            }
        }
    }

    /// Copies are made of all that comes to a node, and most of what came is long gone when it leaves.
    // Rows: BUF-03, BUF-04, BUF-09
    #[test]
    fn a_call_after_a_long_silence_is_released_at_its_own_rate() {
        const WINDOW: Duration = Duration::from_millis(200);
        for (idle, silence, call) in [
            (600_u32, 1000, 60_000),
            (600, 1000, 300),
            (3, 400_000, 60_000),
        ] {
            let mut stream = Stream::new();
            let idle_until = silence * MS * idle;
            let end = idle_until + MS * call;
            let (mut now, mut next) = (Duration::ZERO, Duration::ZERO);
            while now < end {
                now += MS * 10;
                if next <= now {
                    stream.put(next);
                    next += if next < idle_until {
                        silence * MS
                    } else {
                        20 * MS
                    };
                }
                while stream
                    .held
                    .front()
                    .is_some_and(|came| *came + WINDOW <= now)
                {
                    stream.take(now);
                }
            }
            // It has left, and is found 300 milliseconds later.
            for _ in 0..15 {
                now += 20 * MS;
                stream.put(now);
            }
            let backlog = stream.held.len();
            let (most, took) = stream.release(now, 20 * MS);
            assert!(most <= backlog, "the backlog grows: {backlog}, then {most}");
            assert!(took < WINDOW + 500 * MS, "{took:?} for {backlog}");
        }
    }

    /// What came before a silence is held as well.
    // Rows: BUF-03, BUF-04, BUF-09
    #[test]
    fn a_silence_between_what_is_held_does_not_slow_down_what_comes_after_it() {
        for before in [1, 3] {
            let mut stream = Stream::new();
            for number in 0..before {
                stream.put(20 * MS * number);
            }
            let mut now = 5000 * MS;
            for _ in 0..30 {
                now += 20 * MS;
                stream.put(now);
            }
            let (_, took) = stream.release(now, 20 * MS);
            assert!(took < 900 * MS, "{took:?}");
        }
    }

    // Rows: BUF-03
    #[test]
    fn a_fast_stream_leaves_none_behind_though_its_times_are_those_of_ticks() {
        for interval in [MS, MS / 10] {
            let mut stream = Stream::new();
            let mut now = Duration::ZERO;
            while now < 1000 * MS {
                stream.put(now);
                now += interval;
            }
            let (_, took) = stream.release(now, interval);
            assert!(took < 1200 * MS, "{took:?}");
        }
    }
}
