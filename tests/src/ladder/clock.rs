//! The two clocks that times are from: what crosses a wire is stamped by CLOCK_REALTIME, what a process
//! tells by CLOCK_MONOTONIC. Both are set side by side at the beginning and at the end.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How often the clocks are read at one time; the quickest reading is the exactest.
const READINGS: usize = 32;

/// Both clocks at one time.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// CLOCK_MONOTONIC.
    pub monotonic: Duration,
    /// CLOCK_REALTIME.
    pub realtime: Duration,
    /// How far they may be apart from what stands here.
    pub error: Duration,
}

impl Reading {
    /// Reads both.
    pub fn take() -> Self {
        let one = || {
            let before = read(ClockId::Monotonic);
            let realtime = read(ClockId::Realtime);
            let after = read(ClockId::Monotonic);
            let error = (after - before) / 2;
            Self {
                monotonic: before + error,
                realtime,
                error,
            }
        };
        (0..READINGS)
            .map(|_| one())
            .min_by_key(|reading| reading.error)
            .expect("there is at least one reading")
    }

    /// How far CLOCK_REALTIME is ahead, in nanoseconds.
    fn offset(self) -> i128 {
        self.realtime.as_nanos() as i128 - self.monotonic.as_nanos() as i128
    }
}

fn read(clock: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    Duration::new(tv_sec as u64, tv_nsec as u32)
}

/// The two clocks side by side, from one reading to another.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    begin: Reading,
    end: Reading,
}

impl Clocks {
    /// Between two readings.
    pub fn between(begin: Reading, end: Reading) -> Self {
        Self { begin, end }
    }

    /// A time of CLOCK_REALTIME on CLOCK_MONOTONIC. Between the readings the one clock is taken to have
    /// drifted from the other evenly; so no two times of one clock change places.
    pub fn monotonic(&self, realtime: Duration) -> Duration {
        let (begin, end) = (self.begin, self.end);
        let passed = end.realtime.saturating_sub(begin.realtime).as_nanos() as i128;
        let at = realtime.as_nanos() as i128 - begin.realtime.as_nanos() as i128;
        let drift = end.offset() - begin.offset();
        let drifted = if passed == 0 {
            0
        } else {
            drift * at.clamp(0, passed) / passed
        };
        let nanoseconds = realtime.as_nanos() as i128 - begin.offset() - drifted;
        Duration::from_nanos(nanoseconds.clamp(0, i128::from(u64::MAX)) as u64)
    }

    /// How far a time that was carried from one clock to the other may be wrong: by the errors of the
    /// readings, and by all of the drift between them if it came in one step.
    pub fn tolerance(&self) -> Duration {
        let drift = (self.end.offset() - self.begin.offset()).unsigned_abs();
        let drift = Duration::from_nanos(u64::try_from(drift).unwrap_or(u64::MAX));
        drift + self.begin.error.max(self.end.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(monotonic_us: u64, realtime_us: u64) -> Reading {
        Reading {
            monotonic: Duration::from_micros(monotonic_us),
            realtime: Duration::from_micros(realtime_us),
            error: Duration::from_micros(1),
        }
    }

    #[test]
    fn a_drift_is_spread_evenly() {
        let clocks = Clocks::between(reading(1000, 5_001_000), reading(3000, 5_003_010));
        let us = Duration::from_micros;
        assert_eq!(clocks.monotonic(us(5_001_000)), us(1000));
        assert_eq!(clocks.monotonic(us(5_002_005)), us(2000));
        assert_eq!(clocks.monotonic(us(5_003_010)), us(3000));
        // Outside of the readings the nearer one holds.
        assert_eq!(clocks.monotonic(us(5_000_500)), us(500));
        assert_eq!(clocks.monotonic(us(5_004_010)), us(4000));
        assert_eq!(clocks.tolerance(), us(11));
    }

    #[test]
    fn two_readings_at_one_time_are_no_drift() {
        let clocks = Clocks::between(reading(7, 9), reading(7, 9));
        assert_eq!(
            clocks.monotonic(Duration::from_micros(12)),
            Duration::from_micros(10)
        );
        assert_eq!(clocks.tolerance(), Duration::from_micros(1));
    }

    #[test]
    fn the_order_of_one_clock_is_kept_by_a_clock_that_runs_backwards() {
        // Realtime was set back by 2 ms while 4 ms passed.
        let clocks = Clocks::between(reading(1000, 9000), reading(5000, 11_000));
        let times = (9000..11_000).step_by(7).map(Duration::from_micros);
        let mapped: Vec<_> = times.map(|time| clocks.monotonic(time)).collect();
        assert!(mapped.is_sorted(), "{mapped:?}");
    }

    #[test]
    fn the_machines_own_clocks_can_be_read() {
        let clocks = Clocks::between(Reading::take(), Reading::take());
        let now = read(ClockId::Realtime);
        let there = clocks.monotonic(now);
        assert!(there <= read(ClockId::Monotonic) + clocks.tolerance());
    }
}
