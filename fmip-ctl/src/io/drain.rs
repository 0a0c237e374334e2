//! The drain thread: releases handover buffers at the pace of RFC 5568 section 5.4.
//!
//! The packets never come here: each release is a run of the drain program with live frames, which
//! takes packets out of the buffer and sends them, in the kernel. What this thread decides is when.
//! It is a thread of its own since a run blocks, and because the pace is finer than the timers of
//! the main loop.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    num::NonZeroU64,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions};
use fmip_common::buffer::{
    Buffer, DRAIN_CLOSE, DRAIN_DISCARD, DRAIN_OPEN, DRAIN_RELEASE, DRAIN_TRIM, DrainJob,
    OUTCOME_DONE, OUTCOME_EMPTY, OUTCOME_WAIT,
};
use rustix::{
    process::setpriority_process,
    thread::{gettid, set_current_timer_slack},
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    load::{DRAIN, Programs},
    maps::{DrainMaps, Release},
    monotonic_ns,
};

/// RFC 5568 section 5.4: at most this many packets one after another.
const BACK_TO_BACK: u32 = 5;
/// Packets of one run at most, without a pace or to catch up. Larger batches overrun the ring of a veth (256 frames).
const BATCH: u32 = 64;
/// The pace while nothing has been metered yet: one packet, or all in one instant.
const UNMETERED: Duration = Duration::from_micros(100);
/// The shortest time between two runs of one buffer: a run costs some microseconds however few
/// packets it sends, and at ten thousand packets a second two or three of them at once are no burst.
const QUANTUM: Duration = Duration::from_micros(250);
/// How exactly the thread is woken. The kernel's default of 50 microseconds is a packet's time at
/// twenty thousand packets a second.
const TIMER_SLACK_NS: u64 = 5_000;
/// The thread's niceness: what waits is somebody's call.
const NICENESS: i32 = -20;
/// How long to wait before a run that failed, or that met a put under way, is tried again.
const RETRY: Duration = Duration::from_micros(200);
/// How long to wait before the next try while a next hop is being resolved, or the packets of the tunnel's
/// own end are held.
const WAIT: Duration = Duration::from_millis(2);
/// How long the kernel may take to resolve a next hop before it is asked again, with another packet. Its
/// own probes are a second apart (RFC 4861 section 10: RETRANS_TIMER).
const RESOLUTION: Duration = Duration::from_secs(1);
/// How often copies are taken out that left the window: as often as that, or ten times in a window that
/// is longer.
const TRIM_INTERVAL: Duration = Duration::from_millis(10);
/// Failed runs in a row before a buffer is given up.
const RETRIES: u32 = 50;
/// Octets of the frame that a run starts with: an Ethernet header at least.
const FRAME: [u8; 64] = [0; 64];

/// How fast held packets are released.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the kernel takes them: a batch, and a pause in which it is delivered.
    Burst,
    /// RFC 5568 section 5.4, the default: five back to back, then at the rate at which packets
    /// entered the buffer.
    Metered {
        /// How much faster than they entered; above 1, or a live stream's backlog never shrinks
        /// (BUF-09).
        catch_up: f64,
    },
}

/// What the drain thread tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The first packet of a buffer was sent.
    FirstReleased {
        /// Whose buffer.
        address: Ipv6Addr,
        /// When, on the monotonic clock, in nanoseconds.
        time_ns: u64,
    },
    /// All packets were sent, and new ones go straight on.
    Drained {
        /// Whose buffer.
        address: Ipv6Addr,
        /// Packets that were put, without copies that went unused.
        held: u64,
        /// Packets that were sent.
        released: u64,
        /// Packets that were refused or too old.
        dropped: u64,
    },
    /// What was left in a buffer that is bound no more has been dropped.
    Discarded {
        /// Index of the buffer.
        buffer: u32,
        /// Packets that were dropped.
        packets: u32,
    },
    /// A buffer cannot be released.
    Failed {
        /// Whose buffer.
        address: Ipv6Addr,
        /// Why.
        error: String,
    },
}

enum Order {
    Release(Release),
    Hold { buffer: u32 },
    Copy { buffer: u32, window: Duration },
    Discard { buffer: u32 },
}

/// The drain thread, from outside. Ends, and unloads the programs, when it is dropped.
pub struct Drain {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Drain {
    /// Starts the thread. It owns the programs from now on.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        programs: Programs,
        maps: DrainMaps,
        pace: Pace,
        reports: UnboundedSender<Report>,
    ) -> Result<Self> {
        let (orders, receiver) = channel();
        let worker = Worker {
            programs,
            maps,
            pace,
            reports,
            releases: BTreeMap::new(),
            copies: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("fmip-drain".to_owned())
            .spawn(move || worker.run(&receiver))
            .context("cannot start the drain thread")?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Releases what the buffer holds; [`Report::Drained`] follows. If that is under way, it goes on
    /// by the new way.
    pub fn release(&self, release: Release) {
        self.order(Order::Release(release));
    }

    /// Holds what the buffer holds, and what comes: ends a release or copying that is under way.
    pub fn hold(&self, buffer: u32) {
        self.order(Order::Hold { buffer });
    }

    /// Keeps the copies of the last `window` in the buffer, and drops older ones: the oldest is older
    /// than that by a tenth at most, or by ten milliseconds.
    pub fn copy(&self, buffer: u32, window: Duration) {
        self.order(Order::Copy { buffer, window });
    }

    /// Drops what the buffer holds; [`Report::Discarded`] follows. It must not be bound any more.
    pub fn discard(&self, buffer: u32) {
        self.order(Order::Discard { buffer });
    }

    fn order(&self, order: Order) {
        // The thread ends only when this end of the channel is dropped.
        if let Some(orders) = &self.orders
            && orders.send(order).is_err()
        {
            tracing::error!("the drain thread has ended");
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the drain thread panicked");
        }
    }
}

struct Worker {
    programs: Programs,
    maps: DrainMaps,
    pace: Pace,
    reports: UnboundedSender<Report>,
    releases: BTreeMap<u32, Releasing>,
    copies: BTreeMap<u32, Copying>,
}

/// A buffer that is being released.
struct Releasing {
    release: Release,
    pacer: Pacer,
    started: bool,
    failures: u32,
    /// Since when the kernel resolves the next hop.
    resolving: Option<Instant>,
}

/// A buffer that copies are kept in.
struct Copying {
    window: Duration,
    next: Instant,
}

impl Copying {
    fn trimmed(&mut self, now: Instant) {
        self.next = now + TRIM_INTERVAL.max(self.window / 10);
    }
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        hurry();
        loop {
            let order = match self.wake() {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => orders.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match order {
                Ok(order) => self.carry_out(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.release_due();
            self.trim_due();
        }
    }

    fn wake(&self) -> Option<Instant> {
        let releases = self.releases.values().map(|release| release.pacer.wake);
        let copies = self.copies.values().map(|copying| copying.next);
        releases.chain(copies).min()
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Release(release) => {
                self.copies.remove(&release.buffer);
                match self.releases.get_mut(&release.buffer) {
                    Some(releasing) => {
                        releasing.release = release;
                        releasing.resolving = None;
                    }
                    None => {
                        let releasing = Releasing {
                            release,
                            pacer: Pacer::new(self.pace, Instant::now()),
                            started: false,
                            failures: 0,
                            resolving: None,
                        };
                        self.releases.insert(release.buffer, releasing);
                    }
                }
            }
            Order::Hold { buffer } => {
                self.copies.remove(&buffer);
                self.releases.remove(&buffer);
                // The release may have ended after the order to hold was given.
                self.must(buffer, "hold", |worker| {
                    let job = worker.run_job(job(buffer, DRAIN_OPEN), 1)?;
                    Ok(job.outcome == OUTCOME_DONE)
                });
            }
            Order::Copy { buffer, window } => {
                self.releases.remove(&buffer);
                let mut copying = Copying {
                    window,
                    next: Instant::now(),
                };
                copying.trimmed(Instant::now());
                self.copies.insert(buffer, copying);
            }
            Order::Discard { buffer } => self.discard(buffer),
        }
    }

    fn release_due(&mut self) {
        let now = Instant::now();
        let due: Vec<u32> = self
            .releases
            .iter()
            .filter(|(_, release)| release.pacer.wake <= now)
            .map(|(&buffer, _)| buffer)
            .collect();
        for buffer in due {
            let Some(mut releasing) = self.releases.remove(&buffer) else {
                continue;
            };
            let address = releasing.release.address;
            match self.release_some(&mut releasing) {
                Ok(true) => {}
                Ok(false) => {
                    releasing.failures = 0;
                    self.releases.insert(buffer, releasing);
                }
                Err(error) if releasing.failures < RETRIES => {
                    tracing::debug!(%address, "run failed: {error:#}");
                    releasing.failures += 1;
                    releasing.pacer.wake = Instant::now() + RETRY;
                    self.releases.insert(buffer, releasing);
                }
                Err(error) => self.report(Report::Failed {
                    address,
                    error: format!("{error:#}"),
                }),
            }
        }
    }

    /// Releases the packets of a buffer that are due; `true` if that was the last one and the
    /// buffer is switched to direct delivery.
    fn release_some(&mut self, releasing: &mut Releasing) -> Result<bool> {
        let Release {
            address,
            buffer,
            egress,
        } = releasing.release;
        let packets = releasing.pacer.packets_due(Instant::now());
        releasing.resolving = releasing
            .resolving
            .filter(|since| since.elapsed() < RESOLUTION);
        let result = self.run_job(
            DrainJob {
                egress,
                resolving: releasing.resolving.is_some().into(),
                ..job(buffer, DRAIN_RELEASE)
            },
            packets,
        )?;
        if result.taken > 0 && !releasing.started {
            releasing.started = true;
            self.report(Report::FirstReleased {
                address,
                time_ns: monotonic_ns(),
            });
        }
        if result.resolving != 0 {
            releasing.resolving.get_or_insert_with(Instant::now);
        }
        let state = self.maps.buffers.get(&buffer, 0)?;
        let now = Instant::now();
        match result.outcome {
            OUTCOME_DONE => {
                let interval = metered_interval(&state);
                releasing.pacer.released(result.taken, interval, now);
                return Ok(false);
            }
            OUTCOME_WAIT => {
                releasing.pacer.wake = now + WAIT;
                return Ok(false);
            }
            _ => {}
        }
        // The switch is a run of its own: what the run before it released has left this processor
        // by now, so that a packet delivered directly cannot overtake it.
        if result.outcome == OUTCOME_EMPTY
            && self.run_job(job(buffer, DRAIN_CLOSE), 1)?.outcome == OUTCOME_DONE
        {
            self.report(Report::Drained {
                address,
                held: state.held.saturating_sub(state.trimmed),
                released: state.released,
                dropped: state.dropped,
            });
            return Ok(true);
        }
        releasing.pacer.wake = now + RETRY;
        Ok(false)
    }

    fn trim_due(&mut self) {
        let now = Instant::now();
        let due: Vec<(u32, Duration)> = self
            .copies
            .iter_mut()
            .filter(|(_, copying)| copying.next <= now)
            .map(|(&buffer, copying)| {
                copying.trimmed(now);
                (buffer, copying.window)
            })
            .collect();
        for (buffer, window) in due {
            if let Err(error) = self.trim(buffer, window) {
                // The next time comes soon.
                tracing::debug!(buffer, "cannot trim: {error:#}");
            }
        }
    }

    /// Takes out the copies that are older than the window.
    fn trim(&mut self, buffer: u32, window: Duration) -> Result<()> {
        // Most nodes are idle most of the time, and a look costs less than a run.
        if self.maps.buffers.get(&buffer, 0)?.waiting == 0 {
            return Ok(());
        }
        let window_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let trim = DrainJob {
            window_ns,
            ..job(buffer, DRAIN_TRIM)
        };
        // When a run ends in the middle, there may be more.
        while self.run_job(trim, BATCH)?.outcome == OUTCOME_DONE {}
        Ok(())
    }

    fn discard(&mut self, buffer: u32) {
        self.releases.remove(&buffer);
        // Of copies nothing is lost.
        let operation = match self.copies.remove(&buffer) {
            Some(_) => DRAIN_TRIM,
            None => DRAIN_DISCARD,
        };
        let mut packets = 0;
        self.must(buffer, "discard", |worker| {
            let result = worker.run_job(job(buffer, operation), BATCH)?;
            packets += result.taken;
            // Shut behind the last one: what a processor that looked up the binding before it was
            // removed puts now is refused, and not held for nobody.
            Ok(result.outcome == OUTCOME_EMPTY
                && worker.run_job(job(buffer, DRAIN_CLOSE), 1)?.outcome == OUTCOME_DONE)
        });
        self.report(Report::Discarded { buffer, packets });
    }

    /// Does a `step` until it says that it was the last one.
    fn must(&mut self, buffer: u32, what: &str, mut step: impl FnMut(&mut Self) -> Result<bool>) {
        let mut failures = 0;
        loop {
            match step(self) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    failures += 1;
                    if failures > RETRIES {
                        tracing::error!(buffer, "cannot {what} a buffer: {error:#}");
                        return;
                    }
                }
            }
        }
    }

    /// Runs a job with as many frames; what the program made of it.
    fn run_job(&mut self, job: DrainJob, frames: u32) -> Result<DrainJob> {
        self.maps
            .job
            .set(0, job, 0)
            .context("cannot write the job")?;
        self.programs
            .xdp(DRAIN)?
            .test_run(TestRunOptions {
                data_in: Some(&FRAME),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(frames),
                ..TestRunOptions::new()
            })
            .context("cannot run the drain program")?;
        self.maps.job.get(&0, 0).context("cannot read the job")
    }

    fn report(&self, report: Report) {
        // Nobody listens any more when the controller is about to end.
        let _ = self.reports.send(report);
    }
}

/// A job that says nothing but what to do.
fn job(buffer: u32, operation: u32) -> DrainJob {
    DrainJob {
        buffer,
        operation,
        ..DrainJob::default()
    }
}

/// The mean time between packets entering the buffer, if it can be told.
fn metered_interval(buffer: &Buffer) -> Option<Duration> {
    let window = buffer.last_ns.checked_sub(buffer.first_ns)?;
    let intervals = buffer.held.checked_sub(1).filter(|&count| count > 0)?;
    Some(Duration::from_nanos(window / intervals)).filter(|interval| !interval.is_zero())
}

/// Asks the scheduler to run this thread on time. Without the rights for it the pace is coarser,
/// and nothing is lost.
fn hurry() {
    if let Err(error) = set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS)) {
        tracing::debug!("cannot sharpen the drain thread's timer: {error}");
    }
    // On Linux a niceness is a thread's own.
    if let Err(error) = setpriority_process(Some(gettid()), NICENESS) {
        tracing::debug!("cannot raise the drain thread's priority: {error}");
    }
}

/// When packets of one buffer are due.
struct Pacer {
    pace: Pace,
    /// Packets that may still go back to back.
    burst: u32,
    /// When the next packet is due.
    next: Instant,
    /// When to run: not before `next`, and not too soon after the run before.
    wake: Instant,
    interval: Duration,
}

impl Pacer {
    fn new(pace: Pace, now: Instant) -> Self {
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
    fn packets_due(&self, now: Instant) -> u32 {
        match self.pace {
            Pace::Burst => BATCH,
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
    fn released(&mut self, packets: u32, metered: Option<Duration>, now: Instant) {
        let Pace::Metered { catch_up } = self.pace else {
            // A pause all the same: the kernel delivers what was sent on this processor, and must
            // come to do so before the next batch, or the rings on the way overflow.
            self.wake = now + QUANTUM;
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
        self.wake = self.next.max(now + QUANTUM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_burst_knows_no_pace_but_leaves_the_kernel_time_to_deliver() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::Burst, start);
        assert_eq!(pacer.packets_due(start), BATCH);
        pacer.released(BATCH, Some(MS), start);
        assert_eq!(pacer.wake, start + QUANTUM);
    }

    // Rows: BUF-03, BUF-04
    #[test]
    fn the_rate_is_metered_over_all_that_entered() {
        let mut buffer = Buffer::open(1, 1, 1);
        assert_eq!(metered_interval(&buffer), None);
        buffer.held = 1;
        assert_eq!(metered_interval(&buffer), None, "one packet has no rate");
        buffer.held = 11;
        buffer.first_ns = 1_000_000;
        buffer.last_ns = 11_000_000;
        assert_eq!(metered_interval(&buffer), Some(MS));
    }
}
