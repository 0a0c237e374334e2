//! The BPF maps, as the controller writes and reads them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
};
use fmip_common::{
    binding::{ACTION_BUFFER, ACTION_MOBILE, ACTION_TUNNEL, Address, Binding, NO_BUFFER, NextHop},
    buffer::{Buffer, DrainJob, EMPTY, Pool, Slot},
    limits::{BUFFERS, FRAME_BYTES},
    reason::{Count, Reason},
};

/// Bounds of one mobile node's handover buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimits {
    /// Packets.
    pub packets: u64,
    /// Octets.
    pub bytes: u64,
    /// How long a packet waits at most.
    pub age: Duration,
}

impl From<&crate::config::Buffer> for BufferLimits {
    fn from(buffer: &crate::config::Buffer) -> Self {
        Self {
            packets: u64::from(buffer.packets_per_node),
            bytes: buffer.bytes_per_node,
            age: buffer.max_hold,
        }
    }
}

/// The maps that the controller's main loop owns.
pub struct Maps {
    bindings: HashMap<MapData, Address, Binding>,
    local: HashMap<MapData, Address, u32>,
    buffers: Array<MapData, Buffer>,
    pool: Array<MapData, Pool>,
    parked: Array<MapData, u32>,
    interfaces: HashMap<MapData, u32, u32>,
    counts: PerCpuArray<MapData, Count>,
    limits: BufferLimits,
    tunnel_mtu: u32,
    free: FreeBuffers,
    in_use: BTreeMap<Ipv6Addr, u32>,
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

    fn new() -> Self {
        Self {
            queue: (0..BUFFERS).map(|index| (None, index)).collect(),
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

/// The maps that the drain thread owns.
pub struct DrainMaps {
    /// What the drain program is asked for.
    pub job: Array<MapData, DrainJob>,
    /// The handover buffers, to read.
    pub buffers: Array<MapData, Buffer>,
}

/// One handover buffer, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferStatus {
    /// Whose packets it holds: NCoA at a NAR, PCoA at a mobile node.
    pub address: Ipv6Addr,
    /// Packets that were ever put.
    pub held: u64,
    /// Packets that were sent on.
    pub released: u64,
    /// Packets that were refused, aged or discarded.
    pub dropped: u64,
    /// Packets that wait now.
    pub waiting: u64,
}

impl Maps {
    /// Takes the maps out of the loaded object and chains the `pool` free slots.
    ///
    /// # Errors
    /// When a map is missing or the kernel refuses a write.
    pub fn new(ebpf: &mut Ebpf, pool: u32, limits: BufferLimits) -> Result<Self> {
        let mut slots: Array<_, Slot> = take(ebpf, "SLOTS")?.try_into()?;
        let mut slot = Slot {
            next: EMPTY,
            arrival_ns: 0,
            length: 0,
            reserved: 0,
            reserved2: 0,
            frame: [0; FRAME_BYTES],
        };
        for index in 0..pool {
            slot.next = if index + 1 < pool {
                u64::from(index + 1)
            } else {
                EMPTY
            };
            slots
                .set(index, slot, 0)
                .with_context(|| format!("cannot chain slot {index} of {pool}"))?;
        }
        let mut pool: Array<_, Pool> = take(ebpf, "POOL")?.try_into()?;
        pool.set(0, Pool::default(), 0)
            .context("cannot open the pool of slots")?;
        Ok(Self {
            bindings: take(ebpf, "BINDINGS")?.try_into()?,
            local: take(ebpf, "LOCAL")?.try_into()?,
            buffers: again(ebpf, "BUFFERS")?.try_into()?,
            pool,
            parked: take(ebpf, "PARKED")?.try_into()?,
            interfaces: take(ebpf, "INTERFACES")?.try_into()?,
            counts: take(ebpf, "COUNTS")?.try_into()?,
            limits,
            tunnel_mtu: u32::MAX,
            free: FreeBuffers::new(),
            in_use: BTreeMap::new(),
        })
    }

    /// Other bounds for the buffers that are opened from now on.
    pub fn set_limits(&mut self, limits: BufferLimits) {
        self.limits = limits;
    }

    /// Makes signalling to `address` come to the controller, and tunnels end there.
    ///
    /// # Errors
    /// When the map is full.
    pub fn add_local(&mut self, address: Ipv6Addr) -> Result<()> {
        self.local
            .insert(Address::from(address), 1, 0)
            .with_context(|| format!("cannot take signalling for {address}"))
    }

    /// Undoes [`Maps::add_local`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_local(&mut self, address: Ipv6Addr) -> Result<()> {
        gone(self.local.remove(&Address::from(address)))
            .with_context(|| format!("cannot stop taking signalling for {address}"))
    }

    /// Makes an interface one that packets may be redirected to. The narrowest of all bounds what
    /// goes into a tunnel: at the far end it meets a link like one of ours, and what is too big
    /// there is told to nobody who could act on it.
    ///
    /// # Errors
    /// When the map is full.
    pub fn add_interface(&mut self, index: u32, mtu: u32) -> Result<()> {
        self.tunnel_mtu = self.tunnel_mtu.min(mtu);
        self.interfaces
            .insert(index, mtu, 0)
            .with_context(|| format!("cannot redirect to interface {index}"))
    }

    /// Names the parked interface, where originals of held packets go.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_parked(&mut self, interface: u32) -> Result<()> {
        self.parked
            .set(0, interface, 0)
            .context("cannot name the parked interface")
    }

    /// PAR: packets to `pcoa` go into the tunnel, and those from it are accepted from the tunnel.
    ///
    /// # Errors
    /// When the map is full.
    pub fn install_tunnel(
        &mut self,
        pcoa: Ipv6Addr,
        ncoa: Ipv6Addr,
        local: Ipv6Addr,
        expires_ns: u64,
    ) -> Result<()> {
        let binding = Binding {
            action: ACTION_TUNNEL,
            buffer: NO_BUFFER,
            expires_ns,
            outer_source: local.into(),
            outer_destination: ncoa.into(),
            mtu: self.tunnel_mtu,
            reserved: 0,
        };
        self.bind(pcoa, binding)
    }

    /// NAR: packets to `address` are held. If they are already, only the expiry changes.
    ///
    /// # Errors
    /// When no buffer is free or the map is full.
    pub fn hold(&mut self, address: Ipv6Addr, next_hop: NextHop, expires_ns: u64) -> Result<()> {
        let binding = Binding {
            action: ACTION_BUFFER,
            expires_ns,
            ..Binding::default()
        };
        self.bind_buffer(address, next_hop, binding)
    }

    /// Mobile node: packets from `pcoa` are held, encapsulated from `ncoa` to `par`; packets to it
    /// are accepted from that tunnel. If that is so already, only the tunnel and the expiry change.
    ///
    /// # Errors
    /// When no buffer is free or the map is full.
    pub fn hold_uplink(
        &mut self,
        pcoa: Ipv6Addr,
        ncoa: Ipv6Addr,
        par: Ipv6Addr,
        next_hop: NextHop,
        expires_ns: u64,
    ) -> Result<()> {
        let binding = Binding {
            action: ACTION_MOBILE,
            buffer: NO_BUFFER,
            expires_ns,
            outer_source: ncoa.into(),
            outer_destination: par.into(),
            mtu: self.tunnel_mtu,
            reserved: 0,
        };
        self.bind_buffer(pcoa, next_hop, binding)
    }

    /// Changes when a binding ends.
    ///
    /// # Errors
    /// When there is none for `address`.
    pub fn set_expiry(&mut self, address: Ipv6Addr, expires_ns: u64) -> Result<()> {
        let mut binding = self
            .bindings
            .get(&address.into(), 0)
            .with_context(|| format!("nothing is bound for {address}"))?;
        binding.expires_ns = expires_ns;
        self.bind(address, binding)
    }

    /// The buffer of an address, if it has one.
    pub fn buffer_of(&self, address: Ipv6Addr) -> Option<u32> {
        self.in_use.get(&address).copied()
    }

    /// Removes what is bound for `address`. If it had a buffer, gives its index: the drain thread
    /// must discard what is left in it, then [`Maps::give_back`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unbind(&mut self, address: Ipv6Addr) -> Result<Option<u32>> {
        gone(self.bindings.remove(&address.into()))
            .with_context(|| format!("cannot remove what is bound for {address}"))?;
        Ok(self.in_use.remove(&address))
    }

    /// Makes a buffer that was unbound and discarded available again.
    pub fn give_back(&mut self, index: u32) {
        self.free.give_back(Instant::now(), index);
    }

    /// Packets and octets by reason, over all processors.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counts(&self) -> Result<Vec<(Reason, Count)>> {
        Reason::ALL
            .iter()
            .map(|reason| {
                let counts = self
                    .counts
                    .get(&(*reason as u32), 0)
                    .with_context(|| format!("cannot read the counter {}", reason.name()))?;
                let mut sum = Count::default();
                for count in counts.iter() {
                    sum.packets += count.packets;
                    sum.bytes += count.bytes;
                }
                Ok((*reason, sum))
            })
            .collect()
    }

    /// The buffers that are bound.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn buffers(&self) -> Result<Vec<BufferStatus>> {
        self.in_use
            .iter()
            .map(|(&address, index)| {
                let buffer = self
                    .buffers
                    .get(index, 0)
                    .with_context(|| format!("cannot read the buffer of {address}"))?;
                Ok(BufferStatus {
                    address,
                    held: buffer.held,
                    released: buffer.released,
                    dropped: buffer.dropped,
                    waiting: buffer.waiting,
                })
            })
            .collect()
    }

    /// Slots of the pool that are in use.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn slots_in_use(&self) -> Result<u64> {
        Ok(self
            .pool
            .get(&0, 0)
            .context("cannot read the pool of slots")?
            .used)
    }

    fn bind(&mut self, address: Ipv6Addr, binding: Binding) -> Result<()> {
        self.bindings
            .insert(Address::from(address), binding, 0)
            .with_context(|| format!("cannot bind {address}"))
    }

    fn bind_buffer(
        &mut self,
        address: Ipv6Addr,
        next_hop: NextHop,
        mut binding: Binding,
    ) -> Result<()> {
        if let Some(&index) = self.in_use.get(&address) {
            binding.buffer = index;
            return self.bind(address, binding);
        }
        let index = self
            .free
            .take(Instant::now())
            .with_context(|| format!("no handover buffer is free for {address}"))?;
        let age_ns = u64::try_from(self.limits.age.as_nanos()).unwrap_or(u64::MAX);
        let buffer = Buffer::open(next_hop, self.limits.packets, self.limits.bytes, age_ns);
        binding.buffer = index;
        // The buffer before the binding: a program must never see it half made.
        let bound = self
            .buffers
            .set(index, buffer, 0)
            .with_context(|| format!("cannot open a handover buffer for {address}"))
            .and_then(|()| self.bind(address, binding));
        match bound {
            Ok(()) => {
                self.in_use.insert(address, index);
                Ok(())
            }
            Err(error) => {
                self.free.give_back(Instant::now(), index);
                Err(error)
            }
        }
    }
}

impl DrainMaps {
    /// Opens what the drain thread needs. After [`Maps::new`].
    ///
    /// # Errors
    /// When a map is missing.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            job: take(ebpf, "DRAIN")?.try_into()?,
            buffers: again(ebpf, "BUFFERS")?.try_into()?,
        })
    }
}

/// The ring that signalling comes through.
///
/// # Errors
/// When the map is missing.
pub fn signal_ring(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>> {
    Ok(take(ebpf, "SIGNALS")?.try_into()?)
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the BPF object has no map {name}"))
}

/// Another handle of a map that stays in the object.
fn again(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    let map = ebpf
        .map(name)
        .with_context(|| format!("the BPF object has no map {name}"))?;
    let Map::Array(data) = map else {
        anyhow::bail!("the map {name} of the BPF object is not an array");
    };
    Ok(Map::Array(MapData::from_id(data.info()?.id())?))
}

/// A key that is not there is removed already.
fn gone(result: Result<(), MapError>) -> Result<()> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_rests_before_it_is_given_out_again() {
        let mut free = FreeBuffers::new();
        let start = Instant::now();
        let taken: Vec<u32> = std::iter::from_fn(|| free.take(start)).collect();
        assert_eq!(taken.len(), BUFFERS as usize);
        free.give_back(start, 7);
        assert_eq!(free.take(start), None);
        assert_eq!(free.take(start + FreeBuffers::REST), Some(7));
    }
}
