//! The BPF maps, as the controller writes and reads them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
};
use fmip_common::{
    binding::{
        ACTION_BUFFER, ACTION_COPY, ACTION_HOST, ACTION_MOBILE, ACTION_TUNNEL, Address, Binding,
        Egress, NO_BUFFER, NextHop,
    },
    buffer::{Buffer, CLOSED, DrainJob, EMPTY, Pool, Slot},
    limits::{BUFFERS, FRAME_BYTES},
    reason::{Count, Reason},
};

use crate::proto::Tunnel;

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
    peers: HashMap<MapData, Address, u32>,
    /// What `peers` holds.
    groups: BTreeMap<Ipv6Addr, u32>,
    /// The highest number that a router was ever given.
    last_group: u32,
    hosts: Array<MapData, u32>,
    /// What `hosts` holds.
    host_count: u32,
    free: FreeBuffers,
    bound: BTreeMap<Ipv6Addr, Bound>,
}

/// What is bound for an address.
#[derive(Clone, Copy, Debug)]
struct Bound {
    action: u32,
    buffer: Option<u32>,
}

/// A buffer that is to be released, and how its packets leave: for [`super::drain::Drain::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Whose buffer.
    pub address: Ipv6Addr,
    /// Its index.
    pub buffer: u32,
    /// How its packets leave.
    pub egress: Egress,
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
    /// Whose packets it holds: the NCoA at a NAR (the PCoA after HAck code 3), the PCoA at a PAR and at
    /// a mobile node.
    pub address: Ipv6Addr,
    /// Packets that were ever put, without copies that went unused.
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
            peers: take(ebpf, "PEERS")?.try_into()?,
            groups: BTreeMap::new(),
            last_group: 0,
            hosts: take(ebpf, ".bss")?.try_into()?,
            host_count: 0,
            free: FreeBuffers::new(),
            bound: BTreeMap::new(),
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

    /// Names the routers that this one hands over to and from, each by all of its addresses: what comes
    /// in a tunnel from one of them may come from any of these (AMB-20). Replaces those named before;
    /// tunnels that are bound already go on with the router that they were bound to, as long as it keeps
    /// one address.
    ///
    /// # Errors
    /// When the map is full.
    pub fn set_peers(&mut self, peers: &[Vec<Ipv6Addr>]) -> Result<()> {
        let groups = number_peers(&self.groups, &mut self.last_group, peers);
        for (address, group) in &groups {
            if self.groups.get(address) != Some(group) {
                self.peers
                    .insert(Address::from(*address), group, 0)
                    .with_context(|| format!("cannot name the peer's address {address}"))?;
            }
        }
        for address in self.groups.keys() {
            if !groups.contains_key(address) {
                gone(self.peers.remove(&Address::from(*address)))
                    .with_context(|| format!("cannot forget the peer's address {address}"))?;
            }
        }
        self.groups = groups;
        Ok(())
    }

    /// PAR: packets to `pcoa` go into the tunnel from `local` to `ncoa` (to the NAR's own address after
    /// HAck code 3), and those from it are accepted from that tunnel.
    ///
    /// If `pcoa` is held or copied, its buffer is taken over: packets wait in it behind those that do
    /// already, until [`super::drain::Drain::release`] has sent the given [`Release`] into the tunnel.
    /// `None` if there is nothing to release.
    ///
    /// # Errors
    /// When the map is full.
    pub fn install_tunnel(
        &mut self,
        pcoa: Ipv6Addr,
        ncoa: Ipv6Addr,
        local: Ipv6Addr,
        expires_ns: u64,
    ) -> Result<Option<Release>> {
        let tunnel = Tunnel {
            local,
            remote: ncoa,
        };
        let egress = self.egress(Some(tunnel), NextHop::default());
        let buffer = self.buffer_of(pcoa);
        let binding = Binding {
            action: ACTION_TUNNEL,
            buffer: buffer.unwrap_or(NO_BUFFER),
            expires_ns,
            egress,
        };
        self.bind(pcoa, binding)?;
        self.to_release(pcoa, egress)
    }

    /// Packets to `address` are held, to be sent to `next_hop` when [`Maps::release`] says so. At a NAR
    /// that is the NCoA, at a PAR the PCoA of a node that left without a word.
    ///
    /// With a `tunnel` it is a PCoA at a NAR that answered HAck code 3: packets to it are held that come
    /// in the tunnel, too, and packets from it that come from that neighbor go into the tunnel.
    ///
    /// What is held or copied already stays in front. The index of the buffer:
    /// [`super::drain::Drain::hold`] must be told, so that it ends a release, or copying, that is
    /// under way.
    ///
    /// # Errors
    /// When no buffer is free or the map is full.
    pub fn hold(
        &mut self,
        address: Ipv6Addr,
        next_hop: NextHop,
        tunnel: Option<Tunnel>,
        expires_ns: u64,
    ) -> Result<u32> {
        let binding = Binding {
            action: match tunnel {
                Some(_) => ACTION_HOST,
                None => ACTION_BUFFER,
            },
            buffer: NO_BUFFER,
            expires_ns,
            egress: self.egress(tunnel, next_hop),
        };
        self.bind_buffer(address, binding)
    }

    /// PAR: packets to `address` go on as if nothing were bound, and a copy of each is kept. The index
    /// of the buffer: [`super::drain::Drain::copy`] must be told, so that it takes out again what is
    /// older than the window. `next_hop` is where the copies would go if the node were held next, and
    /// came back.
    ///
    /// # Errors
    /// When no buffer is free or the map is full.
    pub fn copy(&mut self, address: Ipv6Addr, next_hop: NextHop) -> Result<u32> {
        let binding = Binding {
            action: ACTION_COPY,
            buffer: NO_BUFFER,
            // Nothing is redirected, so nothing must end by itself.
            expires_ns: u64::MAX,
            egress: Egress::plain(next_hop),
        };
        self.bind_buffer(address, binding)
    }

    /// What is held for `address` goes to the next hop that it was held for, and what comes then
    /// straight there: the [`Release`] is for [`super::drain::Drain::release`]. `None` if that is so
    /// already; only the expiry changes then.
    ///
    /// # Errors
    /// When nothing is bound for `address`, or it has no buffer.
    pub fn release(&mut self, address: Ipv6Addr, expires_ns: u64) -> Result<Option<Release>> {
        self.buffer_of(address)
            .with_context(|| format!("{address} has no handover buffer"))?;
        let binding = self.set_expiry(address, expires_ns)?;
        self.to_release(address, Egress::plain(binding.egress.next_hop))
    }

    /// Mobile node: packets from `pcoa` are held. If the `tunnel` is known that they will leave in,
    /// those that are too big for it are not, and what comes for `pcoa` in it is accepted; if not, what
    /// comes in the one that `pcoa` has already. The index of the buffer: [`super::drain::Drain::hold`]
    /// must be told.
    ///
    /// # Errors
    /// When no buffer is free or the map is full.
    pub fn hold_uplink(
        &mut self,
        pcoa: Ipv6Addr,
        tunnel: Option<Tunnel>,
        expires_ns: u64,
    ) -> Result<u32> {
        let before = match self.bound.get(&pcoa) {
            Some(_) => self.binding(pcoa)?.egress,
            None => Egress::default(),
        };
        let egress = match tunnel {
            Some(_) => self.egress(tunnel, before.next_hop),
            None => before,
        };
        let binding = Binding {
            action: ACTION_MOBILE,
            buffer: NO_BUFFER,
            expires_ns,
            egress,
        };
        self.bind_buffer(pcoa, binding)
    }

    /// Mobile node: packets from `pcoa` go to `next_hop`, through the `tunnel` if there is one, and what
    /// comes for it in that tunnel is accepted. What is held goes first: the [`Release`] is for
    /// [`super::drain::Drain::release`]. `None` if nothing is held any more; the new way is in force
    /// at once then.
    ///
    /// # Errors
    /// When `pcoa` has no buffer, or the kernel refuses.
    pub fn release_uplink(
        &mut self,
        pcoa: Ipv6Addr,
        tunnel: Option<Tunnel>,
        next_hop: NextHop,
        expires_ns: u64,
    ) -> Result<Option<Release>> {
        let buffer = self
            .buffer_of(pcoa)
            .with_context(|| format!("{pcoa} has no handover buffer"))?;
        let egress = self.egress(tunnel, next_hop);
        let binding = Binding {
            action: ACTION_MOBILE,
            buffer,
            expires_ns,
            egress,
        };
        self.bind(pcoa, binding)?;
        self.to_release(pcoa, egress)
    }

    /// Changes when a binding ends; the binding.
    ///
    /// # Errors
    /// When there is none for `address`.
    pub fn set_expiry(&mut self, address: Ipv6Addr, expires_ns: u64) -> Result<Binding> {
        let mut binding = self.binding(address)?;
        binding.expires_ns = expires_ns;
        self.bind(address, binding)?;
        Ok(binding)
    }

    /// The buffer of an address, if it has one.
    pub fn buffer_of(&self, address: Ipv6Addr) -> Option<u32> {
        self.bound.get(&address)?.buffer
    }

    /// Removes what is bound for `address`. If it had a buffer, gives its index: the drain thread
    /// must discard what is left in it, then [`Maps::give_back`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unbind(&mut self, address: Ipv6Addr) -> Result<Option<u32>> {
        gone(self.bindings.remove(&address.into()))
            .with_context(|| format!("cannot remove what is bound for {address}"))?;
        let bound = self.bound.remove(&address);
        self.count_hosts(bound, None)?;
        Ok(bound.and_then(|bound| bound.buffer))
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
        self.bound
            .iter()
            .filter_map(|(&address, bound)| Some((address, bound.buffer?)))
            .map(|(address, index)| {
                let buffer = self.buffer(address, index)?;
                Ok(BufferStatus {
                    address,
                    held: buffer.held - buffer.trimmed.min(buffer.held),
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

    fn egress(&self, tunnel: Option<Tunnel>, next_hop: NextHop) -> Egress {
        match tunnel {
            Some(Tunnel { local, remote }) => Egress {
                outer_source: local.into(),
                outer_destination: remote.into(),
                mtu: self.tunnel_mtu,
                group: self.groups.get(&remote).copied().unwrap_or(0),
                next_hop,
            },
            None => Egress::plain(next_hop),
        }
    }

    fn binding(&self, address: Ipv6Addr) -> Result<Binding> {
        self.bindings
            .get(&address.into(), 0)
            .with_context(|| format!("nothing is bound for {address}"))
    }

    fn buffer(&self, address: Ipv6Addr, index: u32) -> Result<Buffer> {
        self.buffers
            .get(&index, 0)
            .with_context(|| format!("cannot read the buffer of {address}"))
    }

    /// The buffer of an address, unless it is drained already.
    fn to_release(&self, address: Ipv6Addr, egress: Egress) -> Result<Option<Release>> {
        let Some(buffer) = self.buffer_of(address) else {
            return Ok(None);
        };
        Ok(
            (self.buffer(address, buffer)?.tail != CLOSED).then_some(Release {
                address,
                buffer,
                egress,
            }),
        )
    }

    fn bind(&mut self, address: Ipv6Addr, binding: Binding) -> Result<()> {
        self.bindings
            .insert(Address::from(address), binding, 0)
            .with_context(|| format!("cannot bind {address}"))?;
        let bound = Bound {
            action: binding.action,
            buffer: (binding.buffer != NO_BUFFER).then_some(binding.buffer),
        };
        let before = self.bound.insert(address, bound);
        self.count_hosts(before, Some(bound))
    }

    /// Tells the data path whether there is an address by which sources must be looked up.
    fn count_hosts(&mut self, before: Option<Bound>, after: Option<Bound>) -> Result<()> {
        let host = |bound: Option<Bound>| {
            u32::from(bound.is_some_and(|bound| bound.action == ACTION_HOST))
        };
        if host(before) == host(after) {
            return Ok(());
        }
        self.host_count = self.host_count + host(after) - host(before);
        self.hosts
            .set(0, self.host_count, 0)
            .context("cannot say how many addresses are kept away from home")
    }

    /// Binds an address to its buffer, or to a new one if it has none that holds.
    fn bind_buffer(&mut self, address: Ipv6Addr, mut binding: Binding) -> Result<u32> {
        let previous = self.buffer_of(address);
        if let Some(index) = previous
            && self.buffer(address, index)?.tail != CLOSED
        {
            binding.buffer = index;
            self.bind(address, binding)?;
            return Ok(index);
        }
        let now = Instant::now();
        let index = self
            .free
            .take(now)
            .with_context(|| format!("no handover buffer is free for {address}"))?;
        let age_ns = u64::try_from(self.limits.age.as_nanos()).unwrap_or(u64::MAX);
        let buffer = Buffer::open(self.limits.packets, self.limits.bytes, age_ns);
        binding.buffer = index;
        // The buffer before the binding: a program must never see it half made.
        let bound = self
            .buffers
            .set(index, buffer, 0)
            .with_context(|| format!("cannot open a handover buffer for {address}"))
            .and_then(|()| self.bind(address, binding));
        if let Err(error) = bound {
            self.free.give_back(now, index);
            return Err(error);
        }
        // It was drained and is shut: it holds nothing, and nothing can be put into it. (Opened again it
        // would have the account, and the metered rate, of two handovers.)
        if let Some(previous) = previous {
            self.free.give_back(now, previous);
        }
        Ok(index)
    }
}

/// Numbers the routers: one that shares an address with one before keeps its number.
fn number_peers(
    before: &BTreeMap<Ipv6Addr, u32>,
    last: &mut u32,
    peers: &[Vec<Ipv6Addr>],
) -> BTreeMap<Ipv6Addr, u32> {
    let mut groups = BTreeMap::new();
    let mut given = BTreeSet::new();
    for addresses in peers {
        let kept = addresses
            .iter()
            .filter_map(|address| before.get(address).copied())
            .find(|group| !given.contains(group));
        let group = kept.unwrap_or_else(|| {
            *last += 1;
            *last
        });
        given.insert(group);
        groups.extend(addresses.iter().map(|&address| (address, group)));
    }
    groups
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

    /// A tunnel that is bound to a router goes on when the configuration is read again.
    // Rows: AMB-20
    #[test]
    fn a_router_keeps_its_number_as_long_as_it_keeps_an_address() {
        let address = |host: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host);
        let mut last = 0;
        let peers = [vec![address(1), address(2)], vec![address(3)]];
        let first = number_peers(&BTreeMap::new(), &mut last, &peers);
        assert_eq!(first[&address(1)], first[&address(2)]);
        assert_ne!(first[&address(1)], first[&address(3)]);
        assert!(first.values().all(|&group| group != 0));

        let peers = [vec![address(4)], vec![address(2), address(5)]];
        let second = number_peers(&first, &mut last, &peers);
        assert_eq!(second[&address(2)], first[&address(2)]);
        assert_eq!(second[&address(5)], first[&address(2)]);
        assert!(!first.values().any(|&group| group == second[&address(4)]));
        assert_eq!(second.len(), 3);

        // One that was split keeps its number once only.
        let peers = [vec![address(2)], vec![address(5)]];
        let third = number_peers(&second, &mut last, &peers);
        assert_ne!(third[&address(2)], third[&address(5)]);
    }
}
