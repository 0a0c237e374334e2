//! The bench that a program is tested on: the loaded object, its maps, and one packet in, one out.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::Ipv6Addr,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{PerCpuArray, PerCpuValues},
    programs::{TestRun, TestRunOptions},
};
use fmip_common::{
    binding::{Egress, NextHop},
    buffer::{Buffer, DRAIN_CLOSE, DrainJob, OUTCOME_DONE, PRIORITY, STREAM, Slot, index_of},
    event::SignalHeader,
    limits::{DEFAULT_NODES, RECENT_ROUTES_BITS},
    reason::Reason,
};
use fmip_ctl::io::{
    admission::Admission,
    drain::{DrainMaps, Pace},
    load::{DRAIN, MOBILE_IN, MOBILE_OUT, Programs, RELEASE, ROUTER, ROUTER_IN, ROUTER_OUT, Shape},
    mapped::MappedArray,
    maps::{Maps, Port, Release},
    monotonic_ns,
    pool::{BufferLimits, Policy, Pool, Room},
    signals::Ring,
};
use fmip_ctl::proto::Tunnel;
use fmip_tests::NetNs;

use crate::{
    corpus::network_layer,
    packets::{Packet, ROUTER_MAC, SENDER_MAC},
};

/// What a program said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Drop,
    /// Out of an interface.
    Redirect,
    /// Back out of the interface it came in on.
    Reply,
}

impl Verdict {
    fn of_xdp(value: u32) -> Self {
        // enum xdp_action in the kernel's uapi/linux/bpf.h.
        match value {
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Reply,
            4 => Self::Redirect,
            other => panic!("no XDP verdict: {other}"),
        }
    }

    fn of_tc(value: u32) -> Self {
        // TC_ACT_ in the kernel's uapi/linux/pkt_cls.h; UNSPEC is -1.
        match value {
            u32::MAX => Self::Pass,
            2 => Self::Drop,
            7 => Self::Redirect,
            other => panic!("no TC verdict: {other}"),
        }
    }
}

/// A program that meets packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// XDP, at an access router.
    Router,
    /// TC, ingress of an access router.
    RouterIn,
    /// TC, egress of an access router, with what that makes itself.
    RouterOut,
    /// The same, with what the kernel forwards from elsewhere.
    RouterForward,
    /// XDP, on the parked interface.
    Drain,
    /// TC, ingress of a mobile node.
    MobileIn,
    /// TC, egress of a mobile node.
    MobileOut,
}

impl Program {
    pub(crate) const ALL: [Self; 7] = [
        Self::Router,
        Self::RouterIn,
        Self::RouterOut,
        Self::RouterForward,
        Self::Drain,
        Self::MobileIn,
        Self::MobileOut,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Router => ROUTER,
            Self::RouterIn => ROUTER_IN,
            Self::RouterOut | Self::RouterForward => ROUTER_OUT,
            Self::Drain => DRAIN,
            Self::MobileIn => MOBILE_IN,
            Self::MobileOut => MOBILE_OUT,
        }
    }

    /// Whether it is an XDP program; else it is one of TC.
    pub(crate) fn is_xdp(self) -> bool {
        matches!(self, Self::Router | Self::Drain)
    }

    /// Whether it meets what goes out of an access router.
    pub(crate) fn is_router_out(self) -> bool {
        matches!(self, Self::RouterOut | Self::RouterForward)
    }

    /// The interface that a packet came in on, of one that is met on `interface`; 0: on none.
    fn came_in_on(self, interface: u32) -> u32 {
        match self {
            Self::RouterOut => 0,
            Self::RouterForward => ELSEWHERE,
            _ => interface,
        }
    }

    fn verdict(self, value: u32) -> Verdict {
        if self.is_xdp() {
            Verdict::of_xdp(value)
        } else {
            Verdict::of_tc(value)
        }
    }

    /// What the program is told of a packet of `length` octets besides its octets: that it came in on, or
    /// goes out of, `interface`.
    fn context(self, length: usize, interface: u32) -> Vec<u8> {
        if self.is_xdp() {
            // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
            return [0, length as u32, 0, interface, 0, 0]
                .into_iter()
                .flat_map(u32::to_ne_bytes)
                .collect();
        }
        from_to(self.came_in_on(interface), interface)
    }
}

/// What a TC program is told of a packet that came in on `from` and is met on `at`.
fn from_to(from: u32, at: u32) -> Vec<u8> {
    let mut context = vec![0; SK_BUFF];
    // ingress_ifindex, ifindex.
    context[36..40].copy_from_slice(&from.to_ne_bytes());
    context[40..44].copy_from_slice(&at.to_ne_bytes());
    context
}

/// Octets of `struct __sk_buff`, up to and with `gso_size`.
const SK_BUFF: usize = 184;

/// Where the counters stand, or how far they moved: reason, packets, octets.
pub(crate) type Counts = Vec<(Reason, u64, u64)>;

/// What became of one packet.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
    /// The counters that moved, by how many packets and octets.
    pub(crate) moved: Counts,
}

impl Ran {
    /// The packet that came out, after a check of the verdict and of the one counter that moved: by
    /// one packet, and by the octets of the frame that went in.
    #[track_caller]
    pub(crate) fn is(&self, verdict: Verdict, reason: Reason, sent: &[u8]) -> Packet {
        self.is_frame(verdict, reason, sent);
        Packet::read(&self.frame)
    }

    /// As [`Ran::is`], for what may be no packet at all.
    #[track_caller]
    pub(crate) fn is_frame(&self, verdict: Verdict, reason: Reason, sent: &[u8]) {
        assert_eq!(
            (self.verdict, self.moved.as_slice()),
            (verdict, &[(reason, 1, sent.len() as u64)][..]),
            "the packet left as {:02x?}",
            self.frame
        );
    }

    /// As [`Ran::is`]; and the packet is the one that went in.
    #[track_caller]
    pub(crate) fn is_unchanged(&self, verdict: Verdict, reason: Reason, sent: &[u8]) {
        self.is_frame(verdict, reason, sent);
        assert_eq!(self.frame, sent, "the packet was changed");
    }
}

/// The programs and their maps.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) maps: Maps,
    pub(crate) drain: DrainMaps,
    pub(crate) slots: MappedArray<Slot>,
    pub(crate) signals: Ring,
    pub(crate) admission: Admission,
    /// How what a buffer holds is to leave.
    releases: BTreeMap<u32, Egress>,
}

/// Slots of the pool, unless a test says otherwise.
pub(crate) const POOL: u32 = 64;
/// Bindings that the table is made for.
pub(crate) const BINDINGS: u32 = 1024;
/// Bounds of a buffer, unless a test says otherwise: none that a test meets by accident.
pub(crate) const WIDE: BufferLimits = BufferLimits {
    packets: 1 << 20,
    bytes: 1 << 30,
    policy: Policy {
        pace: Pace::Burst,
        age: std::time::Duration::from_secs(60),
    },
    policies: BTreeMap::new(),
};

/// The account of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The newest slot of the stream, or one of the sentinels.
    pub(crate) tail: u32,
    /// The same of signalling to the node.
    pub(crate) priority: u32,
    pub(crate) waiting: u64,
    pub(crate) waiting_bytes: u64,
    pub(crate) held: u64,
    pub(crate) released: u64,
    pub(crate) dropped: u64,
    pub(crate) trimmed: u64,
}

impl From<Buffer> for Account {
    fn from(buffer: Buffer) -> Self {
        Self {
            tail: index_of(buffer.tails[STREAM]),
            priority: index_of(buffer.tails[PRIORITY]),
            waiting: buffer.waiting(),
            waiting_bytes: buffer.waiting_octets(),
            held: buffer.held(),
            released: buffer.released,
            dropped: buffer.all_dropped(),
            trimmed: buffer.trimmed,
        }
    }
}

/// With the same counters for all interfaces: they are read around each packet.
fn shape(room: Room, bindings: u32) -> Result<Shape> {
    Ok(Shape {
        counters: 1,
        ..Shape::new(room, bindings, OURS)?
    })
}

/// Maps for so many bindings.
pub(crate) fn shape_for(bindings: u32) -> Result<Shape> {
    let room = Room {
        packets: POOL,
        nodes: DEFAULT_NODES,
        guaranteed: 0,
    };
    shape(room, bindings)
}

/// Words of what the programs remember of a route.
const RECENT_WORDS: usize = 10;

/// Interfaces that may be redirected to: as many as a namespace of these tests has.
pub(crate) const OURS: std::ops::RangeInclusive<u32> = 1..=32;
/// An interface that is none of them.
pub(crate) const ELSEWHERE: u32 = 77;
/// Of each of them, as the bound on tunnels; the routes of some tests are narrower.
pub(crate) const MTU: u32 = 9000;

impl Bench {
    pub(crate) fn new() -> Result<Self> {
        Self::with(POOL, WIDE)
    }

    /// A bench with counters for each interface.
    pub(crate) fn counting_by_interface() -> Result<Self> {
        let room = Room {
            packets: POOL,
            nodes: DEFAULT_NODES,
            guaranteed: 0,
        };
        // One more, for an interface that is named twice.
        let interfaces = OURS.chain([*OURS.end()]);
        Self::of(Shape::new(room, BINDINGS, interfaces)?, WIDE)
    }

    /// A bench with room for so many bindings.
    pub(crate) fn for_bindings(bindings: u32) -> Result<Self> {
        Self::of(shape_for(bindings)?, WIDE)
    }

    pub(crate) fn with(pool: u32, limits: BufferLimits) -> Result<Self> {
        let room = Room {
            packets: pool,
            nodes: DEFAULT_NODES,
            guaranteed: 0,
        };
        Self::with_room(room, limits)
    }

    pub(crate) fn with_room(room: Room, limits: BufferLimits) -> Result<Self> {
        Self::of(shape(room, BINDINGS)?, limits)
    }

    pub(crate) fn of(shape: Shape, limits: BufferLimits) -> Result<Self> {
        // A test loads what it runs: the verifier takes a second for all of them.
        let mut programs = Programs::open(&shape)?;
        let ebpf = programs.ebpf();
        let slots = MappedArray::new(ebpf, "SLOTS")?;
        let pool = Pool::new(ebpf, shape.room, limits)?;
        let mut maps = Maps::new(ebpf, &shape, pool)?;
        for interface in OURS {
            maps.add_interface(interface, MTU, Port::of(interface))?;
        }
        let drain = DrainMaps::new(ebpf)?;
        let signals = Ring::new(ebpf)?;
        let admission = Admission::new(ebpf)?;
        Ok(Self {
            programs,
            maps,
            drain,
            slots,
            signals,
            admission,
            releases: BTreeMap::new(),
        })
    }

    /// A packet that the router sees come in on the loopback.
    pub(crate) fn router(&mut self, frame: &[u8]) -> Result<Ran> {
        self.run(Program::Router, None, frame)
    }

    /// A packet that the router sees come in on `interface`, which must have the program.
    pub(crate) fn router_on(&mut self, interface: u32, frame: &[u8]) -> Result<Ran> {
        self.run(Program::Router, Some(interface), frame)
    }

    /// The same packet `times` times, as [`Bench::router_on`]; the counters that moved, in packets.
    pub(crate) fn flood(
        &mut self,
        interface: u32,
        frame: &[u8],
        times: u32,
    ) -> Result<BTreeMap<Reason, u64>> {
        let before = counts(&self.maps)?;
        self.send(interface, frame, times)?;
        let moved = moved(&before, &counts(&self.maps)?).into_iter();
        Ok(moved
            .map(|(reason, packets, _)| (reason, packets))
            .collect())
    }

    /// As [`Bench::flood`], without a look at the counters, which takes longer than the packet.
    pub(crate) fn send(&mut self, interface: u32, frame: &[u8], times: u32) -> Result<()> {
        let context = Program::Router.context(frame.len(), interface);
        self.programs.xdp(ROUTER)?.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: times,
            ..TestRunOptions::new()
        })?;
        Ok(())
    }

    /// A packet that comes in at the mobile node.
    pub(crate) fn mobile_in(&mut self, frame: &[u8]) -> Result<Ran> {
        self.run(Program::MobileIn, None, frame)
    }

    /// A packet that goes out of the mobile node.
    pub(crate) fn mobile_out(&mut self, frame: &[u8]) -> Result<Ran> {
        self.run(Program::MobileOut, None, frame)
    }

    /// A packet on the mobile node's loopback, whose program changes and counts nothing.
    pub(crate) fn mobile_loopback(&mut self, frame: &[u8]) -> Result<Verdict> {
        let before = self.counts()?;
        let (value, after) = run(self.programs.classifier(RELEASE)?, frame, None)?;
        ensure!(after == frame, "it was changed into {after:02x?}");
        ensure!(self.counts()? == before, "it was counted");
        Ok(Verdict::of_tc(value))
    }

    /// As [`Bench::mobile_out`], for what the kernel will cut into segments of `segment` octets.
    pub(crate) fn mobile_out_merged(&mut self, frame: &[u8], segment: u32) -> Result<Ran> {
        let mut context = vec![0; SK_BUFF];
        // gso_segs, gso_size.
        context[164..168].copy_from_slice(&2_u32.to_ne_bytes());
        context[176..180].copy_from_slice(&segment.to_ne_bytes());
        self.run_with(Program::MobileOut, frame, Some(&context))
    }

    /// A packet that `program` meets: on `interface`, or on the loopback. For an XDP program, the interface
    /// must have one.
    pub(crate) fn run(
        &mut self,
        program: Program,
        interface: Option<u32>,
        frame: &[u8],
    ) -> Result<Ran> {
        let context = interface.map(|interface| program.context(frame.len(), interface));
        self.run_with(program, frame, context.as_deref())
    }

    /// A packet that came in on the interface `from` (0: on none) and goes out of `at`.
    pub(crate) fn router_out(&mut self, from: u32, at: u32, frame: &[u8]) -> Result<Ran> {
        self.run_with(Program::RouterOut, frame, Some(&from_to(from, at)))
    }

    /// As [`Bench::run`], for many runs one after the other: `counts` is where the counters stood after the
    /// last one, and is moved on. Nothing else may have moved them.
    pub(crate) fn run_next(
        &mut self,
        program: Program,
        interface: u32,
        frame: &[u8],
        counts: &mut Counts,
    ) -> Result<Ran> {
        let context = program.context(frame.len(), interface);
        let (verdict, frame) = self.only_run(program, frame, Some(&context))?;
        let after = self.counts()?;
        let before = std::mem::replace(counts, after);
        Ok(Ran {
            verdict,
            frame,
            moved: moved(&before, counts),
        })
    }

    /// Where the counters stand.
    pub(crate) fn counts(&self) -> Result<Counts> {
        counts(&self.maps)
    }

    fn run_with(&mut self, program: Program, frame: &[u8], context: Option<&[u8]>) -> Result<Ran> {
        let before = self.counts()?;
        let (verdict, frame) = self.only_run(program, frame, context)?;
        Ok(Ran {
            verdict,
            frame,
            moved: moved(&before, &self.counts()?),
        })
    }

    fn only_run(
        &mut self,
        program: Program,
        frame: &[u8],
        context: Option<&[u8]>,
    ) -> Result<(Verdict, Vec<u8>)> {
        let (value, frame) = if program.is_xdp() {
            run(self.programs.xdp(program.name())?, frame, context)?
        } else {
            run(self.programs.classifier(program.name())?, frame, context)?
        };
        Ok((program.verdict(value), frame))
    }

    /// The drain program with a job to do, and a packet that really came in on `interface`.
    pub(crate) fn drain_program_on(
        &mut self,
        interface: u32,
        frame: &[u8],
        operation: u32,
        buffer: u32,
    ) -> Result<Ran> {
        let job = DrainJob {
            buffer,
            operation,
            budget: 1,
            ..DrainJob::default()
        };
        self.drain.ask(&[job])?;
        self.run(Program::Drain, Some(interface), frame)
    }

    /// Runs the drain program with `frames` live frames; what it answers, and the counters that moved.
    pub(crate) fn drain(
        &mut self,
        operation: u32,
        buffer: u32,
        frames: u32,
    ) -> Result<(DrainJob, Vec<(Reason, u64)>)> {
        let job = DrainJob {
            buffer,
            operation,
            egress: self.releases.get(&buffer).copied().unwrap_or_default(),
            ..DrainJob::default()
        };
        self.drain_job(job, frames)
    }

    /// As [`Bench::drain`], with a job of all its fields.
    pub(crate) fn drain_job(
        &mut self,
        job: DrainJob,
        frames: u32,
    ) -> Result<(DrainJob, Vec<(Reason, u64)>)> {
        let before = counts(&self.maps)?;
        let program = self.programs.xdp(DRAIN)?;
        let job = run_drain(program, &self.drain, job, frames)?;
        let moved = moved(&before, &counts(&self.maps)?)
            .into_iter()
            .map(|(reason, packets, _)| (reason, packets))
            .collect();
        Ok((job, moved))
    }

    /// Holds packets to `address`, to be released out of `router`; the buffer's index.
    pub(crate) fn hold(&mut self, address: Ipv6Addr, router: &Router) -> Result<u32> {
        let buffer = self.maps.hold(address, router.next_hop(), None, later())?;
        let release = self.maps.release(address, later())?;
        self.releases(release)?;
        Ok(buffer)
    }

    /// Holds packets from the PCoA, to be released into the reverse tunnel to the PAR by way of `router`;
    /// the buffer's index.
    pub(crate) fn hold_uplink(&mut self, router: &Router) -> Result<u32> {
        use address::{NCOA, PAR, PCOA};
        let tunnel = Tunnel {
            local: NCOA,
            remote: PAR,
        };
        self.maps.hold_uplink(PCOA, None, later())?;
        let release = self
            .maps
            .release_uplink(PCOA, Some(tunnel), router.next_hop(), later())?;
        self.releases(release)
    }

    /// Takes note of how a buffer is to be released; its index.
    pub(crate) fn releases(&mut self, release: Option<Release>) -> Result<u32> {
        let release = release.context("there is nothing to release")?;
        self.releases.insert(release.buffer, release.egress);
        Ok(release.buffer)
    }

    /// Switches a buffer that holds nothing to direct delivery.
    pub(crate) fn close(&mut self, buffer: u32) -> Result<()> {
        let (job, _) = self.drain(DRAIN_CLOSE, buffer, 1)?;
        ensure!(job.outcome == OUTCOME_DONE, "buffer {buffer} is not empty");
        Ok(())
    }

    pub(crate) fn buffer(&self, index: u32) -> Result<Account> {
        self.drain.buffer(index).map(Account::from)
    }

    /// Lets the programs answer with errors at once as many times as they ever do.
    pub(crate) fn refill_errors(&mut self) -> Result<()> {
        let map = self.programs.ebpf().map_mut("ERROR_RATE");
        let mut rate: PerCpuArray<_, u64> = map.context("no limit of errors")?.try_into()?;
        let processors = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        rate.set(0, PerCpuValues::try_from(vec![0; processors])?, 0)?;
        Ok(())
    }

    /// Changes the routes of the namespace, and forgets what the programs remember of them for a moment.
    pub(crate) fn reroute(&mut self, namespace: &NetNs, change: &str) -> Result<()> {
        namespace.ip(change)?;
        let map = self.programs.ebpf().map_mut("RECENT_ROUTES");
        let mut recent: PerCpuArray<_, [u64; RECENT_WORDS]> =
            map.context("no memory of routes")?.try_into()?;
        let processors = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        for place in 0..1 << RECENT_ROUTES_BITS {
            let nothing = vec![[0; RECENT_WORDS]; processors];
            recent.set(place, PerCpuValues::try_from(nothing)?, 0)?;
        }
        Ok(())
    }

    /// The frame in a slot, behind a header like that of [`Packet::udp`].
    pub(crate) fn slot(&self, index: u32) -> Result<Vec<u8>> {
        let slot = self.slots.get(index).context("there is no such slot")?;
        let mut frame = [ROUTER_MAC, SENDER_MAC].concat();
        frame.extend([0x86, 0xdd]);
        frame.extend_from_slice(&slot.frame[..slot.length as usize]);
        Ok(frame)
    }

    /// The next record of signalling: interface and frame.
    pub(crate) fn signal(&mut self) -> Option<(u32, Vec<u8>)> {
        const HEADER: usize = size_of::<SignalHeader>();
        let signal = self.signals.next(|record| {
            let word = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("four"));
            assert_eq!(record.len(), HEADER + word(16) as usize);
            assert!(word(16) <= word(20), "more than there was");
            let (frame, source) = (&record[HEADER..], &record[24..30]);
            assert_eq!(*source, frame[6..12], "the frame's source");
            let network = network_layer(frame).expect("signalling is IPv6") as u16;
            assert_eq!(record[30..32], network.to_ne_bytes());
            (word(8), frame.to_vec())
        });
        self.signals.tell().expect("a word in a map");
        signal
    }
}

/// Asks the drain program for something.
pub(crate) fn run_drain(
    program: &aya::programs::Xdp,
    maps: &DrainMaps,
    job: DrainJob,
    frames: u32,
) -> Result<DrainJob> {
    let job = DrainJob {
        budget: frames,
        used: 0,
        ..job
    };
    let [job] = maps.run(program, &[job])?[..] else {
        anyhow::bail!("the answer to one job is not one")
    };
    Ok(job)
}

/// One run: the verdict and the packet that came out.
fn run<P>(program: &P, frame: &[u8], context: Option<&[u8]>) -> Result<(u32, Vec<u8>)>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = aya::programs::TestRunResult>,
{
    let mut out = vec![0; 4096];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: context,
        ..TestRunOptions::new()
    })?;
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out))
}

fn counts(maps: &Maps) -> Result<Counts> {
    Ok(maps
        .counts()?
        .into_iter()
        .map(|(reason, count)| (reason, count.packets, count.bytes))
        .collect())
}

fn moved(before: &[(Reason, u64, u64)], after: &[(Reason, u64, u64)]) -> Counts {
    before
        .iter()
        .zip(after)
        .map(
            |(&(reason, packets, bytes), &(_, packets_now, bytes_now))| {
                (reason, packets_now - packets, bytes_now - bytes)
            },
        )
        .filter(|&(_, packets, bytes)| packets > 0 || bytes > 0)
        .collect()
}

/// A point in time that no test reaches.
pub(crate) fn later() -> u64 {
    monotonic_ns() + 3_600_000_000_000
}

/// The interfaces of a router in a namespace of its own.
///
/// ```text
///     in1 ---- in0 [router] out0 ---- out1     2001:db8:f::/64, next hop 2001:db8:f::2
/// ```
///
/// The router program is on `in0`, so that a run may name it as the packet's interface; the drain program on
/// `parked0`, so that runs with many frames are quick.
pub(crate) struct Router {
    pub(crate) incoming: u32,
    pub(crate) outgoing: u32,
    pub(crate) parked: u32,
    /// Stand-ins for two VLANs on `in0`, for kernels that have none: interfaces of their own, which no packet
    /// ever reaches, but with routes like any other's.
    pub(crate) vlan: u32,
    pub(crate) qinq: u32,
}

/// The link-layer addresses of `out0` and of the next hop behind it.
pub(crate) const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
pub(crate) const NEXT_HOP_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];

/// The maximum transmission unit of `out0`.
pub(crate) const OUT_MTU: u32 = 1500;

impl Router {
    /// Makes the interfaces, with a route to everywhere by way of the next hop; forwarding is on.
    pub(crate) fn new(namespace: &NetNs, bench: &mut Bench) -> Result<Self> {
        Self::bare(namespace, bench)?;
        namespace.sysctl("ipv6/conf/all/forwarding", 1)?;
        namespace.ip_batch(
            "address add 2001:db8:f::1/64 dev out0 nodad\n\
             neighbor add 2001:db8:f::2 lladdr 02:00:00:00:00:11 dev out0 nud permanent\n\
             route add default via 2001:db8:f::2 dev out0\n",
        )?;
        Ok(Self {
            incoming: index(namespace, "in0")?,
            outgoing: index(namespace, "out0")?,
            parked: index(namespace, "parked0")?,
            vlan: index(namespace, "vlan0")?,
            qinq: index(namespace, "qinq0")?,
        })
    }

    fn bare(namespace: &NetNs, bench: &mut Bench) -> Result<()> {
        // The kernel's own packets (router solicitations, multicast listener reports) would be counted
        // among the tests': the far ends send none.
        namespace.sysctl("ipv6/conf/default/disable_ipv6", 1)?;
        namespace.ip_batch(
            "link add in0 address 02:00:00:00:00:01 type veth peer name in1\n\
             link add out0 address 02:00:00:00:00:10 type veth peer name out1\n\
             link add parked0 type veth peer name parked1\n\
             link add vlan0 type veth peer name qinq0\n\
             link set vlan0 up\nlink set qinq0 up\n\
             link set in0 up\nlink set in1 up\n\
             link set out0 up\nlink set out1 up\n\
             link set parked0 up\nlink set parked1 up\n",
        )?;
        for interface in ["in0", "out0", "vlan0", "qinq0"] {
            namespace.sysctl(&format!("ipv6/conf/{interface}/disable_ipv6"), 0)?;
        }
        namespace.prepare_for_xdp("out1")?;
        bench.programs.attach_xdp(ROUTER, "in0")?;
        bench.programs.attach_xdp(DRAIN, "parked0")?;
        Ok(())
    }

    /// Where a buffer releases to: out of `out0`.
    pub(crate) fn next_hop(&self) -> NextHop {
        NextHop::untagged(self.outgoing, NEXT_HOP_MAC, OUT_MAC)
    }
}

/// A point in time that is over, also for a clock that is late by a tick of the kernel's.
pub(crate) fn over() -> u64 {
    monotonic_ns() - 100_000_000
}

pub(crate) fn index(namespace: &NetNs, interface: &str) -> Result<u32> {
    let links = namespace.ip_json(&format!("link show dev {interface}"))?;
    let index = links[0]["ifindex"]
        .as_u64()
        .context("ip shows no ifindex")?;
    Ok(u32::try_from(index)?)
}

/// Runs `test` with a bench in a network namespace of its own, or says why it is skipped.
#[track_caller]
pub(crate) fn in_namespace(test: impl FnOnce(&NetNs) -> Result<()> + Send) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);

    if !rustix::process::geteuid().is_root() {
        // Past the harness, which keeps to itself what a passing test prints.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {}: BPF programs and network namespaces need root",
            std::thread::current().name().unwrap_or("a test")
        );
        return;
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("fmip-run-{}-{number}", std::process::id());
    let namespace = NetNs::create(&name).expect("a network namespace");
    if let Err(error) = namespace.run(|| test(&namespace)) {
        panic!("{error:#}");
    }
}

/// Runs `test` with a bench in a namespace that has no interface but the loopback.
#[track_caller]
pub(crate) fn on_bench(test: impl FnOnce(&mut Bench) -> Result<()> + Send) {
    in_namespace(|_| test(&mut Bench::new()?));
}

/// Runs `test` with a bench on a router.
#[track_caller]
pub(crate) fn on_router(test: impl FnOnce(&mut Bench, &Router) -> Result<()> + Send) {
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        test(&mut bench, &router)
    });
}

/// Addresses of the tests, by role.
pub(crate) mod address {
    use super::Ipv6Addr;

    const fn address(net: u16, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host)
    }

    /// The correspondent node.
    pub(crate) const CN: Ipv6Addr = address(0xc, 2);
    /// The previous access router, the tunnel's end.
    pub(crate) const PAR: Ipv6Addr = address(0xf1, 2);
    /// The previous care-of address.
    pub(crate) const PCOA: Ipv6Addr = address(1, 0x10);
    /// The new care-of address.
    pub(crate) const NCOA: Ipv6Addr = address(2, 0x10);
    /// Somebody else.
    pub(crate) const OTHER: Ipv6Addr = address(9, 9);
}
