//! The rig: a router between two wires, and packets that come in as fast as it takes them.
//!
//! ```text
//!                          +--------+ out0 ------- out1 [sink, in XDP]
//!     packets ------- in0  | router |
//!                          +--------+ kernel0 ---- kernel1 [sink, in the kernel]
//! ```
//!
//! All is done on one processor, one batch of 64 packets after another, in one call of BPF_PROG_RUN with live
//! frames: a program makes the packets and gives them to the program that is measured, by a tail call, with
//! `in0` as the interface that they came in on. What it redirects goes over `out0` to the sink. What it passes
//! the kernel gets as from a driver: as a list of socket buffers, made in bulk around the same pages.
//!
//! So the router's own work is nearly all that is measured; making a packet and the sink cost every contender
//! the same. The other way is a generator that redirects into a veth whose far end is the router's interface.
//! It was tried: the way through that veth costs every contender 150 to 200 ns more (kernel forwarding 810
//! instead of 630 ns, seg6 1160 instead of 950 ns in one run), on a real router it is the network card's
//! driver's instead, and with the generator on a processor of its own it is the generator that sets the pace. The
//! kernel, too, is faster as it is measured here.
//!
//! The kernel's ways leave by the wire on which they are faster. A socket buffer that was forwarded as it
//! came costs least on `out0`; one that got a header before it has not the room left that XDP asks for at the
//! far end, and would be copied there, so it leaves by `kernel0`, whose far end takes it as it is. The kernel
//! has what an operator who measures would give it: a source address for its tunnels (without one it
//! searches for it with every packet), no early demultiplexing, and no filter rules.

use std::{fmt::Write as _, net::Ipv6Addr, thread::available_parallelism};

use anyhow::{Context as _, Result};
use fmip_common::{
    bench::{PLAIN, Plan, TUNNEL_HEAD, TUNNELLED},
    binding::NextHop,
};
use rustix::{
    process::setpriority_process,
    thread::{CpuSet, gettid, sched_setaffinity},
};

use super::{
    object::{Contender, Helpers},
    subject::{NCOA_PREFIX, OTHER_PREFIX, PAR, PCOA_PREFIX, Subject, next_hop, node},
};
use crate::{
    NetNs,
    wait::{SOON, check_interrupted, wait_until},
};

/// What comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// To nodes that are bound.
    ToBound,
    /// To nodes that nobody knows.
    ToOthers,
    /// From nodes that are bound, in their tunnels.
    FromTunnel,
}

/// The router, and what measures it.
pub(super) struct Rig {
    pub(super) helpers: Helpers,
    pub(super) subject: Subject,
    incoming: u32,
    outgoing: u32,
    /// The interface before the sink in the kernel.
    pub(super) kernel: u32,
}

const LINKS: &str = "\
link add in0 address 02:00:00:00:00:30 type veth peer name in1
link add out0 address 02:00:00:00:00:10 type veth peer name out1
link add kernel0 address 02:00:00:00:00:20 type veth peer name kernel1
link add parked0 type veth peer name parked1
link set in0 up
link set in1 up
link set out0 up
link set out1 up
link set kernel0 up
link set kernel1 up
link set parked0 up
link set parked1 up
";

/// Addresses on the wires, and the routes that both kinds of router follow. The kernel's tunnels get an
/// end of their own, so that they leave by the other wire.
const ROUTES: &str = "\
address add 2001:db8:f::1/64 dev out0 nodad
address add 2001:db8:e::1/64 dev kernel0 nodad
neighbor add 2001:db8:f::2 lladdr 02:00:00:00:00:11 dev out0 nud permanent
neighbor add 2001:db8:e::2 lladdr 02:00:00:00:00:21 dev kernel0 nud permanent
route add 2001:db8:2::/64 via 2001:db8:f::2 dev out0
route add 2001:db8:3::/64 via 2001:db8:f::2 dev out0
route add 2001:db8:4::/64 via 2001:db8:e::2 dev kernel0
route add 2001:db8:c::/64 via 2001:db8:f::2 dev out0
";

/// The link-layer addresses of `in0`, of its neighbor, of `out0` and of the next hop behind it.
const IN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x30];
const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x31];
const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
const NEXT_HOP_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];

/// The prefix of correspondent nodes.
const CN_PREFIX: [u16; 4] = [0x2001, 0xdb8, 0xc, 0];
/// The prefix of the far ends of the kernel's tunnels.
const SEGMENT_PREFIX: [u16; 4] = [0x2001, 0xdb8, 4, 0];

/// Octets of the ring of the user-space buffer: enough for as many packets as are held.
const RING: u32 = 32 << 20;

impl Rig {
    /// Builds it in a namespace, with room for `pool` held packets and for `bindings`.
    pub(super) fn new(namespace: &NetNs, pool: u32, bindings: u32) -> Result<Self> {
        // The far ends send nothing of their own.
        namespace.sysctl("ipv6/conf/default/disable_ipv6", 1)?;
        namespace.ip_batch(LINKS)?;
        namespace.sysctl("ipv6/conf/all/forwarding", 1)?;
        // Of both versions, for all that its name says.
        namespace.sysctl("ipv4/ip_early_demux", 0)?;
        for interface in ["in0", "out0", "kernel0"] {
            namespace.sysctl(&format!("ipv6/conf/{interface}/disable_ipv6"), 0)?;
        }
        namespace.prepare_for_xdp("out1")?;
        namespace.prepare_for_xdp("kernel1")?;
        namespace.ip_batch(ROUTES)?;
        let incoming = index(namespace, "in0")?;
        let outgoing = index(namespace, "out0")?;
        let kernel = index(namespace, "kernel0")?;
        let mut helpers = Helpers::load(RING)?;
        let mut subject = Subject::load(pool, bindings, [incoming, outgoing])?;
        helpers.give_to(Contender::Subject, &subject.router()?)?;
        helpers.attach_walk("in0")?;
        helpers.attach_sink("out1")?;
        helpers.attach_sink_kernel("kernel1")?;
        subject.attach_drain("parked0")?;
        Ok(Self {
            helpers,
            subject,
            incoming,
            outgoing,
            kernel,
        })
    }

    /// Where packets leave for.
    pub(super) fn next_hop(&self) -> NextHop {
        next_hop(self.outgoing, NEXT_HOP_MAC, OUT_MAC)
    }

    /// Binds the first `number` nodes.
    pub(super) fn bind(&mut self, number: u32) -> Result<()> {
        let next_hop = self.next_hop();
        self.subject.bind(number, next_hop)
    }

    /// Renews the bindings of the first `number` nodes, which are bound.
    pub(super) fn renew(&mut self, number: u32) -> Result<()> {
        (0..number).try_for_each(|index| self.subject.renew(index))
    }

    /// The plan for packets of `length` octets, from the Ethernet header on, of the first `nodes`.
    pub(super) fn plan(
        &self,
        traffic: Traffic,
        contender: Contender,
        length: usize,
        nodes: u32,
    ) -> Plan {
        const NO_NEXT_HEADER: u8 = 59;
        const IPV6_IN_IPV6: u8 = 41;
        let mut head = [0; TUNNEL_HEAD];
        head[..6].copy_from_slice(&IN_MAC);
        head[6..12].copy_from_slice(&SOURCE_MAC);
        head[12..14].copy_from_slice(&[0x86, 0xdd]);
        let mut write = |at: usize, next_header: u8, source: Ipv6Addr, destination: Ipv6Addr| {
            let header = &mut head[at..at + 40];
            header[0] = 0x60;
            header[4..6].copy_from_slice(&((length - at - 40) as u16).to_be_bytes());
            header[6] = next_header;
            header[7] = 64;
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&destination.octets());
        };
        let correspondent = node(CN_PREFIX, 0);
        let shape = match traffic {
            Traffic::ToBound => {
                write(14, NO_NEXT_HEADER, correspondent, node(PCOA_PREFIX, 0));
                PLAIN
            }
            Traffic::ToOthers => {
                write(14, NO_NEXT_HEADER, correspondent, node(OTHER_PREFIX, 0));
                PLAIN
            }
            Traffic::FromTunnel => {
                write(14, IPV6_IN_IPV6, node(NCOA_PREFIX, 0), PAR);
                write(54, NO_NEXT_HEADER, node(PCOA_PREFIX, 0), correspondent);
                TUNNELLED
            }
        };
        Plan {
            reserved: [0; 2],
            head,
            shape,
            length: length as u32,
            program: contender as u32,
            destinations: nodes,
            next: 0,
            interface: self.outgoing,
        }
    }

    /// Sends `packets`; nanoseconds for each that arrived.
    ///
    /// # Errors
    /// If not all but a few arrive: then it was not forwarding that was measured.
    pub(super) fn send(&mut self, plan: &mut Plan, packets: u32) -> Result<f64> {
        check_interrupted()?;
        let before = self.helpers.arrived()?;
        let time = self.helpers.run_live(plan, self.incoming, packets)?;
        // The last may be on their way still, if another has the processor.
        let enough = u64::from(packets - packets / 1000);
        let arrived = || anyhow::Ok(self.helpers.arrived()? - before);
        let arrived = wait_until("the last packets", SOON, || {
            Ok(Some(arrived()?).filter(|arrived| *arrived > enough))
        })
        .with_context(|| match arrived() {
            Ok(arrived) => format!("{arrived} of {packets} packets arrived"),
            Err(error) => format!("{error:#}"),
        })?;
        Ok(time.as_nanos() as f64 / arrived as f64)
    }

    /// Runs the plan's program for `packets`, and sends none of them; nanoseconds for each.
    pub(super) fn run(&mut self, plan: &mut Plan, packets: u32) -> Result<f64> {
        check_interrupted()?;
        let time = self.helpers.run(plan, packets)?;
        Ok(time.as_nanos() as f64 / f64::from(packets))
    }
}

/// Routes of the kernel's own, for nodes from `nodes`: each into a tunnel of seg6's.
pub(super) fn route_to_segments(namespace: &NetNs, nodes: std::ops::Range<u32>) -> Result<()> {
    namespace
        .ip(&format!("sr tunsrc set {PAR}"))
        .context("the kernel has no seg6")?;
    let mut lines = String::new();
    for index in nodes {
        let (pcoa, segment) = (node(PCOA_PREFIX, index), node(SEGMENT_PREFIX, index));
        writeln!(
            lines,
            "route replace {pcoa}/128 encap seg6 mode encap.red segs {segment} dev kernel0"
        )?;
    }
    namespace
        .ip_batch(&lines)
        .context("the kernel has no seg6 encapsulation")
}

/// Ends the kernel's tunnels at the router.
pub(super) fn route_out_of_tunnels(namespace: &NetNs) -> Result<()> {
    namespace
        .ip_batch(&format!(
            "route replace {PAR}/128 encap seg6local action End.DT6 table 254 dev out0\n"
        ))
        .context("the kernel has no End.DT6")
}

/// Keeps this thread on one processor, and others off it as far as may be.
pub(super) fn settle_on_one_processor() -> Result<()> {
    // The last one: the first takes most interrupts.
    let last = available_parallelism()?.get() - 1;
    let mut processors = CpuSet::new();
    processors.set(last);
    sched_setaffinity(None, &processors).context("cannot stay on one processor")?;
    setpriority_process(Some(gettid()), -20).context("cannot go before other work")
}

fn index(namespace: &NetNs, interface: &str) -> Result<u32> {
    let links = namespace.ip_json(&format!("link show dev {interface}"))?;
    let index = links[0]["ifindex"].as_u64();
    Ok(u32::try_from(index.context("ip shows no ifindex")?)?)
}
