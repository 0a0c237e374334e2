//! What is measured: the data path as the controller loads it. All of the bench that knows its programs and maps.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use fmip_common::{
    bench::interface_id,
    binding::NextHop,
    buffer::{DRAIN_DISCARD, DRAIN_RELEASE, DrainJob, OUTCOME_DONE},
};
use fmip_ctl::io::{
    drain::{DrainMaps, Pace},
    load::{DRAIN, Programs, ROUTER, Shape},
    maps::{Maps, Port},
    monotonic_ns,
    pool::{BufferLimits, Policy, Pool, Room},
};

/// The previous access router, where tunnels begin and end.
pub(super) const PAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf1, 0, 0, 0, 0, 2);

/// Half an address: the prefix of the PCoAs.
pub(super) const PCOA_PREFIX: [u16; 4] = [0x2001, 0xdb8, 1, 0];
/// That of the NCoAs.
pub(super) const NCOA_PREFIX: [u16; 4] = [0x2001, 0xdb8, 2, 0];
/// That of nodes that nothing is bound for.
pub(super) const OTHER_PREFIX: [u16; 4] = [0x2001, 0xdb8, 3, 0];

/// The address of a node.
pub(super) fn node(prefix: [u16; 4], index: u32) -> Ipv6Addr {
    let mut octets = [0; 16];
    for (to, part) in octets.chunks_mut(2).zip(prefix) {
        to.copy_from_slice(&part.to_be_bytes());
    }
    octets[8..].copy_from_slice(&interface_id(index).to_ne_bytes());
    octets.into()
}

/// Where packets leave this router.
pub(super) const fn next_hop(interface: u32, destination: [u8; 6], source: [u8; 6]) -> NextHop {
    NextHop::untagged(interface, destination, source)
}

/// Frames of one run of the drain.
const BATCH: u32 = 64;

/// The data path with nothing bound.
pub(super) struct Subject {
    programs: Programs,
    maps: Maps,
    drain: DrainMaps,
    /// How many nodes are.
    bound: u32,
}

impl Subject {
    /// Loads it, with room for `pool` held packets and for `bindings`, on these interfaces.
    pub(super) fn load(pool: u32, bindings: u32, interfaces: [u32; 2]) -> Result<Self> {
        let room = Room {
            packets: pool,
            nodes: 1024,
            guaranteed: 0,
        };
        let shape = Shape::new(room, bindings, interfaces)?;
        let mut programs = Programs::open(&shape)?;
        let policy = Policy {
            pace: Pace::Burst,
            age: Duration::from_secs(3600),
        };
        let limits = BufferLimits::new(pool.into(), u64::from(pool) * 2048, policy);
        let ebpf = programs.ebpf();
        let pool = Pool::new(ebpf, room, limits)?;
        let mut maps = Maps::new(ebpf, &shape, pool)?;
        let drain = DrainMaps::new(ebpf)?;
        for interface in interfaces {
            maps.add_interface(interface, 1500, Port::of(interface))?;
        }
        maps.add_local(PAR)?;
        Ok(Self {
            programs,
            maps,
            drain,
            bound: 0,
        })
    }

    /// The program that every packet goes through.
    pub(super) fn router(&mut self) -> Result<ProgramFd> {
        Ok(self.programs.xdp(ROUTER)?.fd()?.try_clone()?)
    }

    /// Makes runs of the drain quick, as the controller does.
    pub(super) fn attach_drain(&mut self, parked: &str) -> Result<()> {
        self.programs.attach_xdp(DRAIN, parked)
    }

    /// Binds the first `number` nodes, each to a tunnel to its NCoA by way of `next_hop`, where they are not
    /// bound already.
    pub(super) fn bind(&mut self, number: u32, next_hop: NextHop) -> Result<()> {
        for index in self.bound..number {
            let pcoa = node(PCOA_PREFIX, index);
            let ncoa = node(NCOA_PREFIX, index);
            self.maps.set_hop(ncoa, Some((next_hop, 1500)))?;
            self.maps.install_tunnel(pcoa, ncoa, PAR, later())?;
            self.bound = index + 1;
        }
        Ok(())
    }

    /// Renews the binding of a node that is bound.
    pub(super) fn renew(&mut self, index: u32) -> Result<()> {
        self.maps.set_expiry(node(PCOA_PREFIX, index), later())
    }

    /// Holds the packets to a node's PCoA, to be sent to `next_hop`; the buffer's index.
    pub(super) fn hold(&mut self, index: u32, next_hop: NextHop) -> Result<u32> {
        self.maps
            .hold(node(PCOA_PREFIX, index), next_hop, None, later())
    }

    /// Packets that wait in a buffer.
    pub(super) fn waiting(&self, buffer: u32) -> Result<u64> {
        Ok(self.drain.buffer(buffer)?.waiting())
    }

    /// Throws away what a buffer holds.
    pub(super) fn discard(&mut self, buffer: u32) -> Result<()> {
        self.drain(job(buffer, DRAIN_DISCARD))
    }

    /// Sends what a node's buffer holds, and leaves it open for more.
    pub(super) fn release(&mut self, index: u32) -> Result<()> {
        let release = self.maps.release(node(PCOA_PREFIX, index), later())?;
        let release = release.context("the buffer is shut")?;
        let job = DrainJob {
            egress: release.egress,
            ..job(release.buffer, DRAIN_RELEASE)
        };
        self.drain(job)
    }

    /// Runs a job until there is nothing left to do.
    fn drain(&mut self, job: DrainJob) -> Result<()> {
        while self.run(job)?.outcome == OUTCOME_DONE {}
        let left = self.waiting(job.buffer)?;
        ensure!(left == 0, "{left} packets stay in the buffer");
        Ok(())
    }

    fn run(&mut self, job: DrainJob) -> Result<DrainJob> {
        let done = self.drain.run(self.programs.xdp(DRAIN)?, &[job])?;
        done.first().copied().context("a job that was not answered")
    }
}

fn job(buffer: u32, operation: u32) -> DrainJob {
    DrainJob {
        buffer,
        operation,
        budget: BATCH,
        ..DrainJob::default()
    }
}

/// A point in time that no bench reaches.
fn later() -> u64 {
    monotonic_ns() + 3_600_000_000_000 * 24
}
