//! The pool of slots and the handover buffers, as the controller opens, reads and recycles them.

use std::{
    collections::{BTreeMap, VecDeque},
    mem::offset_of,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use fmip_common::buffer::{self, Bounds, Buffer};

use super::{drain::Pace, mapped::MappedArray};
use crate::config;

/// How much room there is for held packets: what the maps are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Slots: packets of all nodes together.
    pub packets: u32,
    /// Buffers: nodes whose packets are held at the same time.
    pub nodes: u32,
    /// Packets of each node that find a slot whatever the others hold.
    pub guaranteed: u32,
}

impl Room {
    /// Slots that are not guaranteed to anybody.
    pub fn shared(self) -> u64 {
        let guaranteed = u64::from(self.nodes) * u64::from(self.guaranteed);
        u64::from(self.packets).saturating_sub(guaranteed)
    }
}

impl From<&config::Buffer> for Room {
    fn from(buffer: &config::Buffer) -> Self {
        Self {
            packets: buffer.packets,
            nodes: buffer.nodes,
            guaranteed: buffer.guaranteed_per_node,
        }
    }
}

/// How the packets of the nodes of one link are held, and leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// How fast they leave.
    pub pace: Pace,
    /// How long a packet waits at most.
    pub age: Duration,
}

/// Bounds of one mobile node's handover buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferLimits {
    /// Packets.
    pub packets: u64,
    /// Octets, from the IPv6 header on.
    pub bytes: u64,
    /// How long a packet waits at most, and how fast it leaves.
    pub policy: Policy,
    /// The same where it is another, by the index of the link's interface.
    pub policies: BTreeMap<u32, Policy>,
}

impl BufferLimits {
    /// The same bounds for all links, with this policy.
    pub fn new(packets: u64, bytes: u64, policy: Policy) -> Self {
        Self {
            packets,
            bytes,
            policy,
            policies: BTreeMap::new(),
        }
    }

    /// What the configuration says, `interfaces` being those that it names.
    pub fn configured(config: &config::Config, interfaces: &[config::Interface]) -> Self {
        let buffer = &config.buffer;
        let policy = |policy: &config::BufferPolicy| Policy {
            pace: match policy.drain {
                config::Drain::Burst => Pace::Burst,
                config::Drain::Paced => Pace::Metered {
                    catch_up: policy.catch_up,
                },
            },
            age: policy.max_hold,
        };
        let access = match &config.role {
            config::Role::AccessRouter(router) => router.access.as_slice(),
            config::Role::MobileNode(_) => &[],
        };
        Self {
            packets: u64::from(buffer.packets_per_node),
            bytes: buffer.bytes_per_node,
            policy: policy(&buffer.policy),
            policies: access
                .iter()
                .filter_map(|access| {
                    let named = |interface: &&config::Interface| interface.name == access.interface;
                    let interface = interfaces.iter().find(named)?;
                    Some((interface.index, policy(&access.buffer)))
                })
                .collect(),
        }
    }

    /// The policy of a link.
    fn policy_of(&self, interface: u32) -> Policy {
        self.policies
            .get(&interface)
            .copied()
            .unwrap_or(self.policy)
    }
}

/// The buffers and the pool, of which the main loop opens buffers and reads their accounts.
pub struct Pool {
    buffers: MappedArray<Buffer>,
    pool: MappedArray<buffer::Pool>,
    limits: BufferLimits,
    room: Room,
    free: FreeBuffers,
    /// How the packets of each buffer leave.
    policies: Vec<Policy>,
}

impl Pool {
    /// Takes the pool of the loaded object, of that much room: all of its slots are free.
    ///
    /// # Errors
    /// When a map is missing or cannot be mapped.
    pub fn new(ebpf: &Ebpf, room: Room, limits: BufferLimits) -> Result<Self> {
        let pool: MappedArray<buffer::Pool> = MappedArray::new(ebpf, "POOL")?;
        pool.set(0, &buffer::Pool::new(room.shared()))?;
        let buffers = MappedArray::new(ebpf, "BUFFERS")?;
        Ok(Self {
            free: FreeBuffers::new(buffers.length()),
            policies: vec![limits.policy; buffers.length() as usize],
            buffers,
            pool,
            room,
            limits,
        })
    }

    /// Other bounds for the buffers that are opened from now on.
    pub fn set_limits(&mut self, limits: BufferLimits) {
        self.limits = limits;
    }

    /// Opens a buffer for a node on the link of this interface; its index. `None` if none is free.
    pub fn open(&mut self, interface: u32) -> Result<Option<u32>> {
        let Some(index) = self.free.take(Instant::now()) else {
            return Ok(None);
        };
        let policy = self.limits.policy_of(interface);
        let packets = u32::try_from(self.limits.packets).unwrap_or(u32::MAX);
        let bounds = Bounds {
            packets,
            guaranteed: self.room.guaranteed.min(packets),
            octets: self.limits.bytes,
        };
        let age_ns = u64::try_from(policy.age.as_nanos()).unwrap_or(u64::MAX);
        self.buffers.set(index, &Buffer::open(&bounds, age_ns))?;
        if let Some(slot) = self.policies.get_mut(index as usize) {
            *slot = policy;
        }
        Ok(Some(index))
    }

    /// Makes a buffer available again that holds nothing, and that nothing can be put into any more.
    pub fn give_back(&mut self, index: u32) {
        self.free.give_back(Instant::now(), index);
    }

    /// How fast the packets of a buffer leave.
    pub fn pace(&self, index: u32) -> Pace {
        self.policies
            .get(index as usize)
            .map_or(self.limits.policy.pace, |policy| policy.pace)
    }

    /// A buffer's account.
    ///
    /// # Errors
    /// When there is none with this index.
    pub fn buffer(&self, index: u32) -> Result<Buffer> {
        self.buffers
            .get(index)
            .with_context(|| format!("there is no handover buffer {index}"))
    }

    /// Packets that are held now, in all buffers.
    pub fn packets(&self) -> u64 {
        const LOAD: usize = offset_of!(Buffer, load) / size_of::<u64>();
        (0..self.buffers.length())
            .filter_map(|index| self.buffers.element(index)?.get(LOAD))
            .map(|load| buffer::packets_of(load.load(Ordering::Relaxed)))
            .sum()
    }

    /// Packets that are held beyond what is guaranteed to their nodes.
    pub fn shared(&self) -> u64 {
        let pool = self.pool.get(0);
        // For an instant it may be below zero.
        pool.map_or(0, |pool| u64::try_from(pool.shared as i64).unwrap_or(0))
    }

    /// What the maps are made for.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Buffers that are somebody's.
    pub fn buffers_in_use(&self) -> u64 {
        u64::from(self.buffers.length()) - self.free.queue.len() as u64
    }
}

/// Indexes of buffers that nobody uses.
///
/// The one that was given back first is given out first, and none before its rest is over: a
/// program on another processor may have looked up the old binding and be about to put.
struct FreeBuffers {
    queue: VecDeque<(Option<Instant>, u32)>,
}

impl FreeBuffers {
    /// Programs run for microseconds, in a context that nothing preempts for long.
    const REST: Duration = Duration::from_millis(100);

    fn new(buffers: u32) -> Self {
        Self {
            queue: (0..buffers).map(|index| (None, index)).collect(),
        }
    }

    fn take(&mut self, now: Instant) -> Option<u32> {
        match self.queue.front()? {
            (Some(freed), _) if now.duration_since(*freed) < Self::REST => None,
            _ => self.queue.pop_front().map(|(_, index)| index),
        }
    }

    fn give_back(&mut self, now: Instant, index: u32) {
        self.queue.push_back((Some(now), index));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_link_has_its_own_policy_and_every_other_interface_that_of_all() {
        let text = include_str!("../../examples/access-router.toml").replace(
            "#known-link-addresses = []",
            "drain = \"burst\"\nmax-hold-ms = 300",
        );
        let config = config::Config::parse(Path::new("f.toml"), &text).expect("a correct file");
        let interface = |index, name: &str| config::Interface {
            name: name.to_owned(),
            index,
            link_address: "02:00:00:00:00:11".parse().expect("a literal"),
            mtu: 1500,
            up: true,
            link_local: None,
            addresses: Vec::new(),
        };
        let interfaces = [interface(3, "core0"), interface(4, "acc0")];
        let limits = BufferLimits::configured(&config, &interfaces);
        let own = Policy {
            pace: Pace::Burst,
            age: Duration::from_millis(300),
        };
        let all = Policy {
            pace: Pace::Metered { catch_up: 2.0 },
            age: Duration::from_secs(10),
        };
        assert_eq!(limits.policy_of(4), own);
        assert_eq!(limits.policy_of(3), all);
        assert_eq!(limits.policy_of(0), all);
    }

    #[test]
    fn what_is_not_guaranteed_is_shared() {
        let room = |packets, nodes, guaranteed| Room {
            packets,
            nodes,
            guaranteed,
        };
        assert_eq!(room(16384, 1024, 8).shared(), 8192);
        assert_eq!(room(16384, 1024, 16).shared(), 0);
        assert_eq!(room(100, 1024, 0).shared(), 100);
    }

    #[test]
    fn a_buffer_rests_before_it_is_given_out_again() {
        let mut free = FreeBuffers::new(8);
        let start = Instant::now();
        let taken: Vec<u32> = std::iter::from_fn(|| free.take(start)).collect();
        assert_eq!(taken.len(), 8);
        free.give_back(start, 7);
        assert_eq!(free.take(start), None);
        assert_eq!(free.take(start + FreeBuffers::REST), Some(7));
    }
}
