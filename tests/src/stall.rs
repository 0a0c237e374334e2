//! Holds up what takes frames out of an interface's ring, as a processor with other things to do does.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    thread::{self, JoinHandle, available_parallelism},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    process::Pid,
    thread::{CpuSet, gettid, sched_setaffinity},
};

use crate::{
    netns::{NetNs, run},
    wait::{SOON, wait_until},
};

/// The processor that is held up.
const PROCESSOR: usize = 1;

/// Why nothing can be held up here, if so: beside the processor that is, there must be one for the others.
pub fn missing() -> Option<&'static str> {
    available_parallelism()
        .is_ok_and(|processors| processors.get() <= PROCESSOR)
        .then_some("a processor is held up while another one works: two of them")
}

/// Keeps this thread and those that it starts off the processor that is held up.
///
/// # Errors
/// If the kernel refuses it.
pub fn stay_away() -> Result<()> {
    let mut set = CpuSet::new();
    (0..available_parallelism()?.get())
        .filter(|processor| *processor != PROCESSOR)
        .for_each(|processor| set.set(processor));
    Ok(sched_setaffinity(None, &set)?)
}

/// Has the kernel take frames out of the ring of an interface, a veth's end with GRO, by a thread of its own on
/// the processor that is held up by a [`Stall`].
///
/// # Errors
/// If the kernel does not.
pub fn prepare(namespace: &NetNs, interface: &str) -> Result<()> {
    // In a /sys of that namespace, which `ip netns exec` makes.
    let switch = format!("echo 1 > /sys/class/net/{interface}/threaded");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace.name(), "sh", "-c", &switch]);
    run(&mut command)?;
    let name = format!("napi/{interface}-");
    let mut newest = None;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(id) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // Gone in the meantime is as good as another's.
        let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if command.starts_with(&name) {
            // Of those of other namespaces, the newest is this one's.
            newest = newest.max(Some(id));
        }
    }
    let id = newest
        .and_then(Pid::from_raw)
        .with_context(|| format!("there is no thread {name}*"))?;
    let mut set = CpuSet::new();
    set.set(PROCESSOR);
    Ok(sched_setaffinity(Some(id), &set)?)
}

/// While this lives, one processor does nothing for anybody.
#[derive(Debug)]
pub struct Stall {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Stall {
    /// Begins it; it ends by itself after `at_most`.
    ///
    /// # Errors
    /// Without the right to a real-time priority, or without chrt.
    pub fn begin(at_most: Duration) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("stall".to_owned()).spawn({
            let (stop, begun) = (stop.clone(), begun.clone());
            move || occupy(at_most, &begun, &stop)
        })?;
        let stall = Self {
            stop,
            thread: Some(thread),
        };
        wait_until("the processor to be held up", SOON, || {
            let ended = stall.thread.as_ref().is_some_and(JoinHandle::is_finished);
            Ok((ended || begun.load(Acquire)).then_some(()))
        })?;
        if begun.load(Acquire) {
            return Ok(stall);
        }
        stall.end()?;
        anyhow::bail!("the processor is not held up")
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it never began.
    pub fn end(mut self) -> Result<()> {
        self.stop.store(true, Release);
        match self.thread.take() {
            Some(thread) => thread.join().expect("no panic inside"),
            None => Ok(()),
        }
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.stop.store(true, Release);
    }
}

fn occupy(at_most: Duration, begun: &AtomicBool, stop: &AtomicBool) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(PROCESSOR);
    sched_setaffinity(None, &set)?;
    let id = gettid().as_raw_nonzero().to_string();
    let raised = Command::new("chrt")
        .args(["--fifo", "--pid", "1", &id])
        .output()
        .context("cannot run chrt (package util-linux)")?;
    ensure!(
        raised.status.success(),
        "no real-time priority: {}",
        String::from_utf8_lossy(&raised.stderr).trim()
    );
    let end = Instant::now() + at_most;
    begun.store(true, Release);
    while !stop.load(Acquire) && Instant::now() < end {
        std::hint::spin_loop();
    }
    Ok(())
}
