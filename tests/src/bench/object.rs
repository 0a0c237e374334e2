//! The helper programs of the bench: loaded, attached, run.

use std::{iter, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData, PerCpuArray, ProgramArray, RingBuf},
    programs::{
        ProgramFd, SchedClassifier, TcAttachType, TestRun as _, TestRunAttrs, TestRunOptions, Xdp,
        xdp::XdpMode,
    },
};
use fmip_common::bench::{DESTINATIONS, Plan};
use rustix::time::{ClockId, clock_gettime};

/// The object that the build script made.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fmip-bench"));

/// Names of the programs.
const WALK: &str = "bench_walk";
const WALK_AGAIN: &str = "bench_walk_again";
const TO_RING: &str = "bench_to_ring";
const SINK: &str = "bench_sink";
const SINK_KERNEL: &str = "bench_sink_kernel";

/// Frames of one batch of live frames: more would overrun the ring of a veth.
const BATCH: u32 = 64;

/// Who gets the packets that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Contender {
    /// The program that does nothing: with live frames, the kernel.
    Pass,
    /// Out of an interface, and nothing else.
    Redirect,
    /// Out of the interface that the kernel's routes name.
    RedirectFib,
    /// A buffer in user space.
    ToRing,
    /// What is measured.
    Subject,
}

/// The loaded helpers. What they attached goes with them.
pub(super) struct Helpers {
    ebpf: Ebpf,
    plan: Array<MapData, Plan>,
    arrived: PerCpuArray<MapData, u64>,
    programs: ProgramArray<MapData>,
    ring: Option<RingBuf<MapData>>,
}

impl Helpers {
    /// Loads them, with a ring of so many octets, which is a power of two.
    pub(super) fn load(ring: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("RING", ring)
            .load(OBJECT)
            .context("cannot load the bench's BPF object")?;
        for name in [
            WALK,
            WALK_AGAIN,
            "bench_pass",
            "bench_redirect",
            "bench_redirect_fib",
            TO_RING,
            SINK,
        ] {
            xdp(&mut ebpf, name)?
                .load()
                .map_err(|error| anyhow!("{error:?}"))
                .with_context(|| format!("the kernel refuses the program {name}"))?;
        }
        classifier(&mut ebpf)?.load()?;
        let plan = take(&mut ebpf, "PLAN")?.try_into()?;
        let arrived = take(&mut ebpf, "ARRIVED")?.try_into()?;
        let ring = take(&mut ebpf, "RING")?.try_into()?;
        let programs = take(&mut ebpf, "PROGRAMS")?.try_into()?;
        let mut helpers = Self {
            ebpf,
            plan,
            arrived,
            programs,
            ring: Some(ring),
        };
        for (contender, name) in [
            (Contender::Pass, "bench_pass"),
            (Contender::Redirect, "bench_redirect"),
            (Contender::RedirectFib, "bench_redirect_fib"),
            (Contender::ToRing, TO_RING),
        ] {
            let program = xdp(&mut helpers.ebpf, name)?.fd()?.try_clone()?;
            helpers.give_to(contender, &program)?;
        }
        Ok(helpers)
    }

    /// Makes a program the one that a contender stands for.
    pub(super) fn give_to(&mut self, contender: Contender, program: &ProgramFd) -> Result<()> {
        self.programs
            .set(contender as u32, program, 0)
            .with_context(|| format!("{contender:?} cannot be called by the bench's programs"))
    }

    /// The order in which the first `number` destinations come.
    pub(super) fn set_order(&mut self, order: impl Iterator<Item = u32>) -> Result<()> {
        let map = self.ebpf.map_mut(".bss").context("there is no order")?;
        let mut map: Array<_, [u32; DESTINATIONS]> = map.try_into()?;
        let order: Vec<u32> = order.chain(iter::repeat(0)).take(DESTINATIONS).collect();
        let order: Box<[u32; DESTINATIONS]> = order.into_boxed_slice().try_into().expect("as many");
        map.set(0, order, 0).context("cannot set the order")
    }

    /// Makes the interface one that live frames can be shown to come in on, and runs with them quick: the
    /// dispatcher of XDP programs knows the one that makes the frames.
    pub(super) fn attach_walk(&mut self, interface: &str) -> Result<()> {
        attach(&mut self.ebpf, WALK, interface)
    }

    /// Counts and drops what arrives at an interface, in XDP.
    pub(super) fn attach_sink(&mut self, interface: &str) -> Result<()> {
        attach(&mut self.ebpf, SINK, interface)
    }

    /// The same in the kernel.
    pub(super) fn attach_sink_kernel(&mut self, interface: &str) -> Result<()> {
        classifier(&mut self.ebpf)?
            .attach(interface, TcAttachType::Ingress)
            .with_context(|| format!("cannot attach {SINK_KERNEL} to {interface}"))?;
        Ok(())
    }

    /// Packets that arrived at the sinks.
    pub(super) fn arrived(&self) -> Result<u64> {
        let counts = self.arrived.get(&0, 0).context("cannot read the sink")?;
        Ok(counts.iter().sum())
    }

    /// The ring that the user-space buffer reads from; once.
    pub(super) fn take_ring(&mut self) -> Result<RingBuf<MapData>> {
        self.ring.take().context("somebody has the ring already")
    }

    /// Makes `packets` packets by the plan and gives them to its program, as frames that are really sent, as if
    /// they had come in on `interface`. The time of the processor for all.
    pub(super) fn run_live(
        &mut self,
        plan: &mut Plan,
        interface: u32,
        packets: u32,
    ) -> Result<Duration> {
        self.plan.set(0, *plan, 0)?;
        let frame = vec![0; plan.length as usize];
        let context = context(frame.len(), interface);
        let program = xdp(&mut self.ebpf, WALK)?;
        let start = processor_time();
        program
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(&context),
                repeat: packets,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::new()
            })
            .context("cannot run the bench's programs with live frames")?;
        let time = processor_time() - start;
        *plan = self.plan.get(&0, 0)?;
        Ok(time)
    }

    /// The same as [`Helpers::run_live`], but nothing is sent: the program's own time.
    pub(super) fn run(&mut self, plan: &mut Plan, packets: u32) -> Result<Duration> {
        self.plan.set(0, *plan, 0)?;
        let frame = vec![0; plan.length as usize];
        let program = xdp(&mut self.ebpf, WALK_AGAIN)?;
        let start = processor_time();
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                repeat: packets,
                ..TestRunOptions::new()
            })
            .context("cannot run the bench's programs")?;
        let time = processor_time() - start;
        *plan = self.plan.get(&0, 0)?;
        // XDP_ABORTED.
        ensure!(result.return_value != 0, "a program gave up: {plan:?}");
        Ok(time)
    }
}

/// Time that this thread has run for, with what the kernel did on its back: the machine's other work does not
/// count.
pub(super) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context(length: usize, interface: u32) -> Vec<u8> {
    [0, length as u32, 0, interface, 0, 0]
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect()
}

fn attach(ebpf: &mut Ebpf, name: &str, interface: &str) -> Result<()> {
    xdp(ebpf, name)?
        .attach(interface, XdpMode::Driver)
        .with_context(|| format!("cannot attach {name} to {interface}"))?;
    Ok(())
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name);
    Ok(program
        .with_context(|| format!("the bench's object has no program {name}"))?
        .try_into()?)
}

fn classifier(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    let program = ebpf.program_mut(SINK_KERNEL);
    Ok(program
        .context("the bench's object has no sink")?
        .try_into()?)
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the bench's object has no map {name}"))
}
