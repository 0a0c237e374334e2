//! The drain thread: releases handover buffers at the pace of RFC 5568 section 5.4.
//!
//! The packets never come here: each release is a run of the drain program with live frames, which
//! takes packets out of the buffer and sends them, in the kernel. What this thread decides is when.
//! It is a thread of its own since a run blocks, and because the pace is finer than the timers of
//! the main loop; which begins a release itself while this thread sleeps.

mod throttle;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv6Addr,
    num::NonZeroU64,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release as Published},
        },
        mpsc::{Receiver, Sender, channel},
    },
    thread::{JoinHandle, park, park_timeout},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
use fmip_common::{
    binding::LOOPBACK,
    buffer::{
        Buffer, CLOSED, DRAIN_CLOSE, DRAIN_DISCARD, DRAIN_OPEN, DRAIN_RELEASE, DRAIN_TRIM,
        DrainJob, DrainList, OUTCOME_BUSY, OUTCOME_DONE, OUTCOME_EMPTY, OUTCOME_WAIT, index_of,
        metered_ns, metered_number,
    },
    limits::DRAIN_JOBS,
};
use rustix::{
    process::setpriority_process,
    thread::{gettid, set_current_timer_slack},
};
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    time::timeout,
};

use self::throttle::{BATCH, LONG_RUN, QUANTUM, Throttle};
use super::{
    load::{DRAIN, Programs},
    mapped::MappedArray,
    maps::Release,
    monotonic_ns,
};

/// RFC 5568 section 5.4: at most this many packets one after another.
const BACK_TO_BACK: u32 = 5;
/// The pace while nothing has been metered yet: one packet, or all in one instant.
const UNMETERED: Duration = Duration::from_micros(100);
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
/// How long the controller waits for an order to be carried out: much longer than any run.
const PATIENCE: Duration = Duration::from_secs(1);
/// Failed runs in a row before a buffer is given up.
const RETRIES: u32 = 50;
/// Octets of the frame that a run starts with: an Ethernet header at least.
const FRAME: [u8; 64] = [0; 64];

/// How fast held packets are released.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the kernel takes them.
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
    Hold {
        buffer: u32,
        done: Option<oneshot::Sender<()>>,
    },
    Copy {
        buffer: u32,
        window: Duration,
    },
    Discard {
        buffer: u32,
    },
}

/// The maps that the drain thread owns.
pub struct DrainMaps {
    jobs: MappedArray<DrainJob>,
    list: MappedArray<DrainList>,
    buffers: MappedArray<Buffer>,
}

impl DrainMaps {
    /// Opens what the drain thread needs.
    ///
    /// # Errors
    /// When a map is missing or cannot be mapped.
    pub fn new(ebpf: &Ebpf) -> Result<Self> {
        Ok(Self {
            jobs: MappedArray::new(ebpf, "JOBS")?,
            list: MappedArray::new(ebpf, "JOB_LIST")?,
            buffers: MappedArray::new(ebpf, "BUFFERS")?,
        })
    }

    /// A buffer's words.
    ///
    /// # Errors
    /// When there is none with this index.
    pub fn buffer(&self, index: u32) -> Result<Buffer> {
        self.buffers
            .get(index)
            .with_context(|| format!("there is no handover buffer {index}"))
    }

    /// Writes down what the next run is asked for.
    ///
    /// # Errors
    /// When there are more than [`DRAIN_JOBS`].
    pub fn ask(&self, jobs: &[DrainJob]) -> Result<()> {
        for (number, job) in (0..).zip(jobs) {
            self.jobs.set(number, job)?;
        }
        let list = DrainList {
            next: 0,
            jobs: u32::try_from(jobs.len())?,
        };
        self.list.set(0, &list)
    }

    /// Runs the drain program with as many frames as the jobs may use; what it made of them.
    ///
    /// # Errors
    /// When the kernel refuses the run. Some of the jobs may have been done then.
    pub fn run(&self, program: &Xdp, jobs: &[DrainJob]) -> Result<Vec<DrainJob>> {
        self.ask(jobs)?;
        let frames = jobs.iter().map(|job| job.budget).sum();
        program
            .test_run(TestRunOptions {
                data_in: Some(&FRAME),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(frames.min(BATCH)),
                ..TestRunOptions::new()
            })
            .context("cannot run the drain program")?;
        (0..)
            .zip(jobs)
            .map(|(number, _)| self.jobs.get(number).context("a job is gone"))
            .collect()
    }
}

/// The drain thread, from outside. Ends, and unloads the programs, when it is dropped.
///
/// A release is begun by the thread that orders it, if the drain thread is idle: to wake that up takes as long as
/// to send the first packets.
pub struct Drain {
    orders: Sender<Order>,
    worker: Arc<Mutex<Worker>>,
    ended: Arc<AtomicBool>,
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
        reports: UnboundedSender<Report>,
    ) -> Result<Self> {
        let (orders, receiver) = channel();
        let worker = Worker {
            programs,
            maps,
            orders: receiver,
            reports,
            tasks: BTreeMap::new(),
            fresh: VecDeque::new(),
            due: BTreeSet::new(),
            barred: Vec::new(),
            retry: Instant::now(),
            throttle: Throttle::new(Instant::now()),
        };
        let worker = Arc::new(Mutex::new(worker));
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("fmip-drain".to_owned())
            .spawn({
                let (worker, ended) = (worker.clone(), ended.clone());
                move || run(&worker, &ended)
            })
            .context("cannot start the drain thread")?;
        Ok(Self {
            orders,
            worker,
            ended,
            thread: Some(thread),
        })
    }

    /// Releases what the buffer holds; [`Report::Drained`] follows. If that is under way, it goes on
    /// by the new way.
    pub fn release(&self, release: Release) {
        self.order(Order::Release(release));
        // If the lock is taken, the thread is awake, and about to find the order.
        if let Ok(mut worker) = self.worker.try_lock()
            && worker.is_idle()
        {
            worker.serve();
        }
        self.wake();
    }

    /// Holds what the buffer holds, and what comes: ends a release or copying that is under way.
    pub fn hold(&self, buffer: u32) {
        self.order(Order::Hold { buffer, done: None });
        self.wake();
    }

    /// As [`Drain::hold`], and waits until that is so: nothing leaves the buffer from then on, and it is not
    /// shut, whatever is bound to it next.
    pub async fn hold_now(&self, buffer: u32) {
        let (done, held) = oneshot::channel();
        let done = Some(done);
        self.order(Order::Hold { buffer, done });
        self.wake();
        if timeout(PATIENCE, held).await.is_err() {
            tracing::warn!(buffer, "the drain thread is slow to hold");
        }
    }

    /// Keeps the copies of the last `window` in the buffer, and drops older ones: the oldest is older
    /// than that by a tenth at most, or by ten milliseconds.
    pub fn copy(&self, buffer: u32, window: Duration) {
        self.order(Order::Copy { buffer, window });
        self.wake();
    }

    /// Drops what the buffer holds; [`Report::Discarded`] follows. It must not be bound any more.
    pub fn discard(&self, buffer: u32) {
        self.order(Order::Discard { buffer });
        self.wake();
    }

    fn order(&self, order: Order) {
        // The worker has the other end of the channel, and this has the worker.
        if self.orders.send(order).is_err() {
            tracing::error!("the drain thread has ended");
        }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.ended.store(true, Published);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the drain thread panicked");
        }
    }
}

/// The drain thread.
fn run(worker: &Mutex<Worker>, ended: &AtomicBool) {
    hurry();
    while !ended.load(Acquire) {
        // Another thread that panicked in there has ended the controller, too.
        let wake = match worker.lock() {
            Ok(mut worker) => worker.serve(),
            Err(_) => return,
        };
        // Who orders something after this wakes the thread beforehand.
        match wake {
            None => park(),
            Some(wake) => match wake.saturating_duration_since(Instant::now()) {
                Duration::ZERO => {}
                wait => park_timeout(wait),
            },
        }
    }
}

struct Worker {
    programs: Programs,
    maps: DrainMaps,
    orders: Receiver<Order>,
    reports: UnboundedSender<Report>,
    /// What is to be done, by buffer.
    tasks: BTreeMap<u32, Task>,
    /// Those that nothing was done of yet, which go first, in the order in which they came.
    fresh: VecDeque<u32>,
    /// The others, by when they are due.
    due: BTreeSet<(Instant, u32)>,
    /// Those that found no room in the ring that their packets leave by, and when they were due.
    barred: Vec<(Option<Instant>, u32)>,
    /// When they may try again.
    retry: Instant,
    throttle: Throttle,
}

/// What is done with a buffer.
enum Task {
    Release(Releasing),
    Copy {
        window: Duration,
    },
    Discard {
        operation: u32,
        packets: u32,
        shut: bool,
    },
}

/// A buffer that is being released.
struct Releasing {
    release: Release,
    pacer: Pacer,
    started: bool,
    failures: u32,
    /// Index of the interface whose ring the packets are put into, 0 while that is not known.
    port: u32,
    /// Since when the kernel resolves the next hop.
    resolving: Option<Instant>,
    /// Everything has left, so that the buffer is to be shut. In a run of its own: what the run before it
    /// released has left this processor by then, so that a packet delivered directly cannot overtake it.
    empty: bool,
}

/// When a task goes on.
enum Next {
    At(Instant),
    Never,
}

impl Worker {
    /// Takes the orders that there are and does what is due, in one run; when something is due again.
    fn serve(&mut self) -> Option<Instant> {
        // All of them, so that those that came together are served together.
        while let Ok(order) = self.orders.try_recv() {
            self.carry_out(order);
        }
        if self.next()? <= Instant::now() {
            self.work();
        }
        self.next()
    }

    /// Whether nothing is due that was ordered before.
    fn is_idle(&self) -> bool {
        self.next().is_none_or(|next| next > Instant::now())
    }

    /// When something is due.
    fn next(&self) -> Option<Instant> {
        let barred = (!self.barred.is_empty()).then_some(self.retry);
        let due = match self.fresh.front() {
            Some(_) => Some(Instant::now()),
            None => self.due.first().map(|(due, _)| *due),
        };
        let next = due.into_iter().chain(barred).min()?;
        Some(next.max(self.throttle.until()))
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Release(release) => match self.tasks.get_mut(&release.buffer) {
                Some(Task::Release(releasing)) => {
                    releasing.port = port_of(&release);
                    releasing.release = release;
                    releasing.resolving = None;
                }
                _ => {
                    let releasing = Releasing {
                        pacer: Pacer::new(release.pace, Instant::now()),
                        port: port_of(&release),
                        release,
                        started: false,
                        failures: 0,
                        resolving: None,
                        empty: false,
                    };
                    self.begin(release.buffer, Task::Release(releasing));
                }
            },
            Order::Hold { buffer, done } => {
                self.end(buffer);
                // The release may have ended after the order to hold was given.
                self.reopen(buffer);
                if let Some(done) = done {
                    // Who has waited too long waits no more.
                    let _ = done.send(());
                }
            }
            Order::Copy { buffer, window } => {
                self.end(buffer);
                self.tasks.insert(buffer, Task::Copy { window });
                self.due
                    .insert((Instant::now() + trim_interval(window), buffer));
            }
            Order::Discard { buffer } => {
                // Of copies nothing is lost.
                let operation = match self.end(buffer) {
                    Some(Task::Copy { .. }) => DRAIN_TRIM,
                    _ => DRAIN_DISCARD,
                };
                let discard = Task::Discard {
                    operation,
                    packets: 0,
                    shut: false,
                };
                self.tasks.insert(buffer, discard);
                // Behind those that somebody waits for.
                self.due.insert((Instant::now(), buffer));
            }
        }
    }

    fn begin(&mut self, buffer: u32, task: Task) {
        self.end(buffer);
        self.tasks.insert(buffer, task);
        self.fresh.push_back(buffer);
    }

    fn end(&mut self, buffer: u32) -> Option<Task> {
        let task = self.tasks.remove(&buffer)?;
        self.fresh.retain(|fresh| *fresh != buffer);
        self.due.retain(|(_, due)| *due != buffer);
        self.barred.retain(|(_, barred)| *barred != buffer);
        Some(task)
    }

    /// Switches a buffer back from direct delivery to holding.
    fn reopen(&mut self, buffer: u32) {
        // Nobody but this thread shuts one.
        let is_shut = |buffer: Buffer| buffer.tails.iter().any(|&tail| index_of(tail) == CLOSED);
        if !self.maps.buffer(buffer).is_ok_and(is_shut) {
            return;
        }
        let open = DrainJob {
            budget: 1,
            ..job(buffer, DRAIN_OPEN)
        };
        for _ in 0..RETRIES {
            match self.run_jobs(&[open]) {
                Ok(_) => return,
                Err(error) => tracing::debug!(buffer, "cannot open a buffer: {error:#}"),
            }
        }
        tracing::error!(buffer, "cannot hold a node's packets");
    }

    /// One run, for as many of those that are due as it can serve.
    fn work(&mut self) {
        let now = Instant::now();
        self.try_again(now);
        let (mut room, mut only) = self.throttle.room(now);
        let waiting = self.fresh.len() + self.due.range(..=(now, u32::MAX)).take(2).count();
        let mut jobs: Vec<DrainJob> = Vec::new();
        let mut frames = 0;
        let mut refused = 0;
        while frames < room && jobs.len() < DRAIN_JOBS as usize && refused < DRAIN_JOBS {
            let Some((due, buffer)) = self.pick(now) else {
                break;
            };
            let mut turn = room - frames;
            if waiting > 1 {
                turn = turn.min(BACK_TO_BACK);
            }
            match self.job_of(buffer, now, turn) {
                Some(mut job) => {
                    if only.is_some() && job.operation == DRAIN_RELEASE && way_of(&job) != only {
                        // By another interface than that whose ring has so much room.
                        if frames >= BATCH {
                            self.fresh.push_front(buffer);
                            break;
                        }
                        (room, only) = (BATCH, None);
                        job.budget = job.budget.min(room - frames);
                    }
                    if !self.finds_room(now, &mut job, &jobs) {
                        self.barred.push((due, buffer));
                        refused += 1;
                        continue;
                    }
                    frames += job.budget;
                    jobs.push(job);
                }
                None => self.go_on(buffer, Next::At(now + TRIM_INTERVAL)),
            }
        }
        if refused > 0 && self.retry <= now {
            self.retry = now + QUANTUM;
        }
        if jobs.is_empty() {
            return;
        }
        self.throttle.sending(only_way(&jobs));
        let result = self.run_jobs(&jobs);
        match result {
            Ok(results) => {
                let released = results.iter().filter(|job| job.operation == DRAIN_RELEASE);
                let released = released.map(|job| job.taken).sum();
                let after = Instant::now();
                self.throttle.sent(after, released, &put_by(&results));
                for result in results {
                    let next = self.conclude(&result, after);
                    self.go_on(result.buffer, next);
                }
            }
            Err(error) => {
                let after = Instant::now();
                // None of them as far as is known: what was is found by the next look at the ring.
                self.throttle.sent(after, frames, &[]);
                for job in jobs {
                    let next = self.failed(job.buffer, &error, after);
                    self.go_on(job.buffer, next);
                }
            }
        }
    }

    /// Cuts a job to what the ring takes that its packets are put into, together with those of the other jobs
    /// of the run. If that is nothing, it must wait; and so must the switch to direct delivery: what is held
    /// is safe while a ring stands still, and what is delivered into it is not.
    fn finds_room(&mut self, now: Instant, job: &mut DrainJob, others: &[DrainJob]) -> bool {
        let wanted = match job.operation {
            DRAIN_RELEASE => job.budget,
            DRAIN_CLOSE => BATCH,
            _ => return true,
        };
        if job.port == 0 {
            return true;
        }
        let planned = planned(others, job.port);
        let admitted = self.throttle.admits(now, job.port, planned, wanted);
        job.budget = job.budget.min(admitted);
        admitted > 0
    }

    /// The next one whose turn it is, and since when, if not for the first time.
    fn pick(&mut self, now: Instant) -> Option<(Option<Instant>, u32)> {
        if let Some(buffer) = self.fresh.pop_front() {
            return Some((None, buffer));
        }
        let &(due, buffer) = self.due.first()?;
        (due <= now).then(|| {
            self.due.pop_first();
            (Some(due), buffer)
        })
    }

    /// Gives those their places back that found no room, if it is time.
    fn try_again(&mut self, now: Instant) {
        if now < self.retry {
            return;
        }
        for (due, buffer) in self.barred.drain(..).rev() {
            match due {
                Some(due) => {
                    self.due.insert((due, buffer));
                }
                None => self.fresh.push_front(buffer),
            }
        }
    }

    fn go_on(&mut self, buffer: u32, next: Next) {
        match next {
            Next::At(time) => {
                self.due.insert((time, buffer));
            }
            Next::Never => {
                self.tasks.remove(&buffer);
            }
        }
    }

    /// What is to be done for a buffer, with so many frames at most; `None` if nothing is.
    fn job_of(&mut self, buffer: u32, now: Instant, turn: u32) -> Option<DrainJob> {
        match self.tasks.get_mut(&buffer)? {
            Task::Release(releasing) if releasing.empty => Some(DrainJob {
                budget: 1,
                port: releasing.port,
                ..job(buffer, DRAIN_CLOSE)
            }),
            Task::Release(releasing) => {
                releasing.resolving = releasing
                    .resolving
                    .filter(|since| since.elapsed() < RESOLUTION);
                // What comes first comes sooner if it is not sent together with many.
                let turn = match releasing.started {
                    true => turn,
                    false => turn.min(BACK_TO_BACK),
                };
                Some(DrainJob {
                    budget: releasing.pacer.packets_due(now).min(turn),
                    egress: releasing.release.egress,
                    port: releasing.port,
                    resolving: releasing.resolving.is_some().into(),
                    ..job(buffer, DRAIN_RELEASE)
                })
            }
            Task::Copy { window } => {
                // Most nodes are idle most of the time, and a look costs less than a frame.
                let waiting = self
                    .maps
                    .buffer(buffer)
                    .map_or(0, |buffer| buffer.waiting());
                let window_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
                (waiting > 0).then_some(DrainJob {
                    budget: turn,
                    window_ns,
                    ..job(buffer, DRAIN_TRIM)
                })
            }
            Task::Discard { shut: true, .. } => Some(DrainJob {
                budget: 1,
                ..job(buffer, DRAIN_CLOSE)
            }),
            Task::Discard { operation, .. } => Some(DrainJob {
                budget: turn,
                ..job(buffer, *operation)
            }),
        }
    }

    /// Takes note of what a run made of a job; when its buffer's turn is again.
    fn conclude(&mut self, result: &DrainJob, now: Instant) -> Next {
        let state = self.maps.buffer(result.buffer);
        match self.tasks.get_mut(&result.buffer) {
            Some(Task::Release(releasing)) => {
                let state = match state {
                    Ok(state) if result.outcome != 0 => state,
                    _ => {
                        return self.failed(result.buffer, &anyhow::anyhow!("no such buffer"), now);
                    }
                };
                let (next, reports) = releasing.conclude(result, &state, now);
                for report in reports.into_iter().flatten() {
                    self.report(report);
                }
                next
            }
            // When a run ends in the middle, there may be more.
            Some(Task::Copy { .. }) if result.outcome == OUTCOME_DONE => Next::At(now),
            Some(Task::Copy { window }) => Next::At(now + trim_interval(*window)),
            Some(Task::Discard { packets, shut, .. }) => {
                *packets += result.taken;
                match (result.operation, result.outcome) {
                    (DRAIN_CLOSE, OUTCOME_DONE) => {
                        let report = Report::Discarded {
                            buffer: result.buffer,
                            packets: *packets,
                        };
                        self.report(report);
                        return Next::Never;
                    }
                    // Shut behind the last one: what a processor that looked up the binding before it was
                    // removed puts now is refused, and not held for nobody.
                    (_, OUTCOME_EMPTY) => *shut = true,
                    _ => *shut = false,
                }
                Next::At(now)
            }
            None => Next::Never,
        }
    }

    fn failed(&mut self, buffer: u32, error: &anyhow::Error, now: Instant) -> Next {
        if let Some(Task::Release(releasing)) = self.tasks.get_mut(&buffer) {
            let address = releasing.release.address;
            releasing.failures += 1;
            if releasing.failures > RETRIES {
                self.report(Report::Failed {
                    address,
                    error: format!("{error:#}"),
                });
                return Next::Never;
            }
        }
        tracing::debug!(buffer, "run failed: {error:#}");
        Next::At(now + RETRY)
    }

    fn run_jobs(&mut self, jobs: &[DrainJob]) -> Result<Vec<DrainJob>> {
        let results = self.maps.run(self.programs.xdp(DRAIN)?, jobs)?;
        ensure!(results.len() == jobs.len(), "a job got lost");
        Ok(results)
    }

    fn report(&self, report: Report) {
        // Nobody listens any more when the controller is about to end.
        let _ = self.reports.send(report);
    }
}

impl Releasing {
    /// Takes note of what a run released, or whether it shut the buffer; when the next one is due, and what
    /// there is to tell.
    fn conclude(
        &mut self,
        result: &DrainJob,
        state: &Buffer,
        now: Instant,
    ) -> (Next, [Option<Report>; 2]) {
        let address = self.release.address;
        self.failures = 0;
        if result.sent > 0 {
            self.port = result.port;
        }
        if result.operation == DRAIN_CLOSE {
            if result.outcome == OUTCOME_DONE {
                let drained = Report::Drained {
                    address,
                    held: state.held().saturating_sub(state.trimmed),
                    released: state.released,
                    dropped: state.all_dropped(),
                };
                return (Next::Never, [Some(drained), None]);
            }
            // Another one came.
            self.empty = false;
            return (Next::At(self.pacer.wake.max(now)), [None, None]);
        }
        let first = (result.taken > 0 && !self.started).then(|| Report::FirstReleased {
            address,
            time_ns: monotonic_ns(),
        });
        self.started |= result.taken > 0;
        if result.resolving != 0 {
            self.resolving.get_or_insert(now);
        }
        if result.taken > 0 {
            self.pacer
                .released(result.taken, metered_interval(state), now);
        }
        let next = match result.outcome {
            OUTCOME_EMPTY => {
                self.empty = true;
                now
            }
            OUTCOME_BUSY => now + RETRY,
            OUTCOME_WAIT => now + WAIT,
            _ => self.pacer.wake,
        };
        (Next::At(next), [first, None])
    }
}

/// How often copies are taken out.
fn trim_interval(window: Duration) -> Duration {
    TRIM_INTERVAL.max(window / 10)
}

/// The interface whose ring a release's packets are put into, 0 if that is not known, or if there is none: what
/// the kernel sends waits in its own queues.
fn port_of(release: &Release) -> u32 {
    match release.egress.next_hop.port {
        LOOPBACK => 0,
        port => port,
    }
}

/// The interface whose ring a job's packets are put into, if that is known.
fn way_of(job: &DrainJob) -> Option<u32> {
    (job.operation == DRAIN_RELEASE && job.port != 0).then_some(job.port)
}

/// Frames that these jobs may put into the ring of an interface.
fn planned(jobs: &[DrainJob], interface: u32) -> u32 {
    let jobs = jobs.iter().filter(|job| way_of(job) == Some(interface));
    jobs.map(|job| job.budget).sum()
}

/// How many frames were put into which ring.
fn put_by(results: &[DrainJob]) -> Vec<(u32, u32)> {
    let mut put: Vec<(u32, u32)> = Vec::new();
    for job in results.iter().filter(|job| job.sent > 0) {
        match put.iter_mut().find(|(interface, _)| *interface == job.port) {
            Some((_, frames)) => *frames += job.sent,
            None => put.push((job.port, job.sent)),
        }
    }
    put
}

/// The interface that all of the packets leave by which these jobs release.
fn only_way(jobs: &[DrainJob]) -> Option<u32> {
    let mut releases = jobs.iter().filter(|job| job.operation == DRAIN_RELEASE);
    let way = way_of(releases.next()?)?;
    releases.all(|job| way_of(job) == Some(way)).then_some(way)
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
    let interval = metered_ns(buffer.metered).checked_div(metered_number(buffer.metered))?;
    Some(Duration::from_nanos(interval)).filter(|interval| !interval.is_zero())
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
    fn released(&mut self, packets: u32, metered: Option<Duration>, now: Instant) {
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
