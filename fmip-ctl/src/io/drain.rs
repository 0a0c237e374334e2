//! The drain thread: releases handover buffers at the pace of RFC 5568 section 5.4.
//!
//! The packets never come here: each release is a run of the drain program with live frames, which
//! takes packets out of the buffer and sends them, in the kernel. What this thread decides is when.
//! It is a thread of its own since a run blocks, and because the pace is finer than the timers of
//! the main loop; which begins a release itself while this thread sleeps.
//!
//! `worker`: which buffers are served in which run; `pacer`: when a buffer's packets are due;
//! `throttle`: how many a ring takes.

mod pacer;
mod throttle;
mod worker;

use std::{
    net::Ipv6Addr,
    num::NonZeroU64,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release as Published},
        },
        mpsc::{Sender, channel},
    },
    thread::{JoinHandle, park, park_timeout},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
use fmip_common::buffer::{Buffer, DrainJob, DrainList};
use rustix::{
    process::setpriority_process,
    thread::{gettid, set_current_timer_slack},
};
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    time::timeout,
};

use self::{throttle::BATCH, worker::Worker};
use super::{load::Programs, mapped::MappedArray, maps::Release};

/// How exactly the thread is woken. The kernel's default of 50 microseconds is a packet's time at
/// twenty thousand packets a second.
const TIMER_SLACK_NS: u64 = 5_000;
/// The thread's niceness: what waits is somebody's call.
const NICENESS: i32 = -20;
/// How long the controller waits for an order to be carried out: much longer than any run.
const PATIENCE: Duration = Duration::from_secs(1);
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
    /// When there are more than [`DRAIN_JOBS`](fmip_common::limits::DRAIN_JOBS).
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
        let worker = Worker::new(programs, maps, receiver, reports);
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
