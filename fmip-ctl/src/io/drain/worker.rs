//! What the drain thread does with the buffers that it was given: in which run which of them is served,
//! and what follows from what became of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use fmip_common::{
    binding::LOOPBACK,
    buffer::{
        Buffer, CLOSED, DRAIN_CLOSE, DRAIN_DISCARD, DRAIN_OPEN, DRAIN_RELEASE, DRAIN_TRIM,
        DrainJob, OUTCOME_BUSY, OUTCOME_DONE, OUTCOME_EMPTY, OUTCOME_WAIT, index_of,
    },
    limits::DRAIN_JOBS,
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    super::{
        load::{DRAIN, Programs},
        maps::Release,
        monotonic_ns,
    },
    DrainMaps, Order, Report,
    pacer::{BACK_TO_BACK, Pacer, metered_interval},
    throttle::{BATCH, QUANTUM, Throttle},
};

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

/// What the thread does: which buffers are served in which run, and what became of that.
pub(super) struct Worker {
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
    /// Nothing is to be done yet.
    pub(super) fn new(
        programs: Programs,
        maps: DrainMaps,
        orders: Receiver<Order>,
        reports: UnboundedSender<Report>,
    ) -> Self {
        let now = Instant::now();
        Self {
            programs,
            maps,
            orders,
            reports,
            tasks: BTreeMap::new(),
            fresh: VecDeque::new(),
            due: BTreeSet::new(),
            barred: Vec::new(),
            retry: now,
            throttle: Throttle::new(now),
        }
    }

    /// Takes the orders that there are and does what is due, in one run; when something is due again.
    pub(super) fn serve(&mut self) -> Option<Instant> {
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
    pub(super) fn is_idle(&self) -> bool {
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
/// the kernel forwards waits in its own queues.
fn port_of(release: &Release) -> u32 {
    let hop = &release.egress.next_hop;
    match hop.port {
        LOOPBACK => hop.interface,
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
