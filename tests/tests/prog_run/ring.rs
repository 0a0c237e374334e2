//! A release as fast as possible into a ring that nobody empties for a while: the far end of a veth whose
//! processor has other things to do, and with it every link that is slower than this machine.

use std::{
    fs,
    process::Command,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fmip_ctl::io::drain::{Drain, Report};
use fmip_tests::{NetNs, wait_until};
use rustix::{
    process::Pid,
    thread::{CpuSet, gettid, sched_setaffinity},
};
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    bench::{Bench, Router, WIDE, address::*, in_namespace, later},
    packets::Packet,
    receiver::Receiver,
};

/// Four times as many as the ring of a veth takes.
const PACKETS: u32 = 1000;
/// How long nothing is taken out of the ring: as long as on a machine that is busy compiling, and far longer
/// than the drain takes to fill it.
const PAUSE: Duration = Duration::from_millis(30);
/// Far longer than a machine under load needs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Has the kernel take frames out of an interface's ring by a thread of its own, on one processor; its id.
fn emptied_by_a_thread(namespace: &NetNs, interface: &str, processor: usize) -> Result<Pid> {
    // In a /sys of that namespace, which `ip netns exec` makes.
    let switch = format!("echo 1 > /sys/class/net/{interface}/threaded");
    let done = Command::new("ip")
        .args(["netns", "exec", namespace.name(), "sh", "-c", &switch])
        .output()?;
    ensure!(
        done.status.success(),
        "no thread for {interface}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let name = format!("napi/{interface}-");
    // Other namespaces may have an interface of that name: the newest is this one's.
    let mut newest = None;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(id) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if command.starts_with(&name) {
            newest = newest.max(Some(id));
        }
    }
    let id = newest
        .and_then(Pid::from_raw)
        .with_context(|| format!("there is no thread {name}*"))?;
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(Some(id), &set)?;
    Ok(id)
}

/// Occupies a processor before everybody else, until it is told to stop.
fn occupy(processor: usize, begun: &AtomicBool, stop: &AtomicBool) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set)?;
    let id = gettid().as_raw_nonzero().to_string();
    let raised = Command::new("chrt")
        .args(["--fifo", "--pid", "1", &id])
        .output()
        .context("cannot run chrt (package util-linux)")?;
    ensure!(
        raised.status.success(),
        "no real-time priority: {}",
        String::from_utf8_lossy(&raised.stderr)
    );
    let end = Instant::now() + 2 * PAUSE;
    begun.store(true, Release);
    // Not for long, whatever becomes of the others.
    while !stop.load(Acquire) && Instant::now() < end {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Found in a lab beside a compiler: the packets that did not find room in the ring were lost, and counted
/// as released.
// Rows: W11-04
#[test]
fn a_release_waits_while_nothing_is_taken_out_of_the_ring() {
    if thread::available_parallelism().is_ok_and(|processors| processors.get() < 2) {
        eprintln!(
            "SKIPPED: what empties the ring must be held up beside what fills it: two processors"
        );
        return;
    }
    in_namespace(|namespace| {
        let mut bench = Bench::with(2 * PACKETS, WIDE)?;
        let router = Router::new(namespace, &mut bench)?;
        let receiver = Receiver::new()?;
        emptied_by_a_thread(namespace, "out1", 1)?;
        let mut here = CpuSet::new();
        here.set(0);
        sched_setaffinity(None, &here)?;

        bench.maps.hold(NCOA, router.next_hop(), None, later())?;
        for number in 0..PACKETS {
            bench.router(&Packet::numbered(CN, NCOA, number).octets())?;
        }
        let (reporter, mut reports) = unbounded_channel();
        let release = bench.maps.release(NCOA, later())?;
        let drain = Drain::start(bench.programs, bench.drain, reporter)?;
        let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let busy = scope.spawn(|| occupy(1, &begun, &stop));
            wait_until("the processor to be busy", DEADLINE, || {
                ensure!(!busy.is_finished() || begun.load(Acquire), "it is not");
                Ok(begun.load(Acquire).then_some(()))
            })?;
            drain.release(release.context("nothing to release")?);
            let end = Instant::now() + PAUSE;
            while Instant::now() < end {
                thread::yield_now();
            }
            stop.store(true, Release);
            busy.join().expect("no panic inside")
        })?;
        wait_until("the node to be drained", DEADLINE, || {
            let drained = |report| matches!(report, Report::Drained { .. });
            Ok(reports.try_recv().is_ok_and(drained).then_some(()))
        })?;
        for (number, packet) in (0..).zip(receiver.packets(PACKETS as usize)?) {
            assert_eq!(packet.number(), number);
        }
        Ok(())
    });
}
