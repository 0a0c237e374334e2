//! A probe: does an interface's driver take frames that XDP programs redirect to it?
//!
//! The kernel does not say (before 6.3), or says what the driver promises; and a driver that
//! promises and drops does so without a word. So one frame is redirected, and what the driver
//! answers is heard at the kernel's own tracepoints. The frame is of an ethertype for local
//! experiments, from the interface's own address to the same: whoever gets it drops it.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray, PerCpuValues},
    programs::{RawTracePoint, TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
    util::nr_cpus,
};
use fmip_common::probe::{NOT_ASKED, Probe, REFUSED, TAKEN};
use rustix::{
    io::Errno,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use super::load::in_full;
use crate::wire::MacAddr;

/// Name of the program that sends the frame.
pub(super) const SEND: &str = "fmip_probe";
/// Names of the programs that hear what became of it, and the tracepoints where they do.
const LISTENERS: [(&str, &str); 2] = [
    ("fmip_probe_sent", "xdp_devmap_xmit"),
    ("fmip_probe_failed", "xdp_redirect_err"),
];
/// IEEE 802 local experimental ethertype 1.
const ETHERTYPE: u16 = 0x88b5;
/// The shortest frame of Ethernet, without its check sequence.
const FRAME: usize = 60;

/// What became of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The driver took it.
    Taken,
    /// The driver was asked, and did not take it.
    Refused(Errno),
    /// The kernel did not ask the driver: it takes no frames from XDP programs, or the interface is
    /// down.
    NotAsked(Errno),
}

/// Loads what hears; without it there is no probe.
pub(super) fn load_listeners(ebpf: &mut Ebpf) -> Result<(), String> {
    for (name, _) in LISTENERS {
        let program = listener(ebpf, name).map_err(|error| format!("{error:#}"))?;
        program.load().map_err(|error| {
            // Not the verifier's whole log: this is a line among others.
            let text = in_full(&error);
            text.lines().next().unwrap_or_default().to_owned()
        })?;
    }
    Ok(())
}

/// Sends a frame out of `interface`, which has `address`, from every processor; the worst answer.
pub(super) fn run(ebpf: &mut Ebpf, interface: u32, address: MacAddr) -> Result<Answer> {
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&address.0);
    frame[6..12].copy_from_slice(&address.0);
    frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());

    let mut target = target(ebpf)?;
    target.set(0, interface, 0)?;
    let processors = nr_cpus().map_err(|(path, error)| anyhow!("cannot read {path}: {error}"))?;
    let mut found = found(ebpf)?;
    let idle = PerCpuValues::try_from(vec![Probe::default(); processors])?;
    found.set(0, idle, 0)?;

    // Only while they are needed: the tracepoints are on the way of redirected packets.
    let mut links = Vec::new();
    for (name, tracepoint) in LISTENERS {
        let listener = listener(ebpf, name)?;
        let link = listener
            .attach(tracepoint)
            .and_then(|id| listener.take_link(id))
            .map_err(|error| anyhow!(in_full(&error)))
            .with_context(|| format!("cannot listen to {tracepoint}"))?;
        links.push(link);
    }
    on_every_processor(|| send(ebpf, &frame))?;
    drop(links);
    let found = self::found(ebpf)?.get(&0, 0)?;
    let answers = found.iter().filter_map(answer);
    answers
        .reduce(|worst, answer| match worst {
            Answer::Taken => answer,
            _ => worst,
        })
        .context("nothing was heard of the frame")
}

fn answer(probe: &Probe) -> Option<Answer> {
    // A driver that takes none and gives no reason has no room.
    let error = match probe.error {
        error if error < 0 => Errno::from_raw_os_error(-error),
        _ => Errno::NOBUFS,
    };
    match probe.state {
        TAKEN => Some(Answer::Taken),
        REFUSED => Some(Answer::Refused(error)),
        NOT_ASKED => Some(Answer::NotAsked(error)),
        _ => None,
    }
}

/// Does something on one processor after the other, on all that this thread may run on: there are
/// drivers with a queue for redirected frames for some of them only.
fn on_every_processor(mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let all = sched_getaffinity(None).context("cannot ask for the processors")?;
    let mut result = Ok(());
    for processor in (0..CpuSet::MAX_CPU).filter(|processor| all.is_set(*processor)) {
        let mut one = CpuSet::new();
        one.set(processor);
        result = sched_setaffinity(None, &one)
            .with_context(|| format!("cannot run on processor {processor}"))
            .and_then(|()| work());
        if result.is_err() {
            break;
        }
    }
    sched_setaffinity(None, &all).context("cannot go back to all processors")?;
    result
}

fn send(ebpf: &mut Ebpf, frame: &[u8]) -> Result<()> {
    let program: &mut Xdp = ebpf
        .program_mut(SEND)
        .with_context(|| format!("the BPF object has no program {SEND}"))?
        .try_into()?;
    program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::new()
        })
        .map_err(|error| anyhow!(in_full(&error)))
        .context("cannot send a frame")?;
    Ok(())
}

fn listener<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("the BPF object has no program {name}"))?;
    Ok(program.try_into()?)
}

fn target(ebpf: &mut Ebpf) -> Result<Array<&mut MapData, u32>> {
    let map = ebpf.map_mut("PROBE_TARGET");
    Ok(map
        .context("the BPF object has no map PROBE_TARGET")?
        .try_into()?)
}

fn found(ebpf: &mut Ebpf) -> Result<PerCpuArray<&mut MapData, Probe>> {
    let map = ebpf.map_mut("PROBE");
    Ok(map.context("the BPF object has no map PROBE")?.try_into()?)
}
