//! The BPF maps, as the controller writes and reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use fmip_common::{
    binding::{
        ACTION_BUFFER, ACTION_COPY, ACTION_HOST, ACTION_MOBILE, ACTION_TUNNEL, Address, Egress,
        Exit, Interface, NextHop, Tag, Vlan,
    },
    buffer::{Bounds, DROPS},
    limits::REASONS_PER_INTERFACE,
    reason::{Count, Reason},
};

use super::{
    bindings::{Bindings, Hop, Spec},
    drain::Pace,
    load::Shape,
    pool::{BufferLimits, Pool},
};
use crate::{observe::show::BufferState, proto::Tunnel, wire::MacAddr};

/// The maps that the controller's main loop owns.
pub struct Maps {
    bindings: Bindings,
    local: HashMap<MapData, Address, u32>,
    pool: Pool,
    parked: Array<MapData, u32>,
    release_to: Array<MapData, Exit>,
    interfaces: Array<MapData, Interface>,
    vlans: HashMap<MapData, Vlan, u32>,
    ports: BTreeMap<u32, Port>,
    /// The interfaces by the number of their counters.
    numbered: Vec<u32>,
    counts: PerCpuArray<MapData, Count>,
    tunnel_mtu: u32,
    peers: HashMap<MapData, Address, u32>,
    /// What `peers` holds.
    groups: BTreeMap<Ipv6Addr, u32>,
    /// The highest number that a router was ever given.
    last_group: u32,
    hosts: Array<MapData, u32>,
    /// How many addresses are bound that a node keeps away from home.
    host_count: u32,
    shape: Shape,
    bound: BTreeMap<Ipv6Addr, Bound>,
}

/// What is bound for an address.
#[derive(Clone, Copy, Debug)]
struct Bound {
    action: u16,
    buffer: Option<u32>,
    /// Whether the buffer is to be released, and not held again since.
    draining: bool,
}

/// A buffer that is to be released, and how its packets leave: for [`super::drain::Drain::release`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Release {
    /// Whose buffer.
    pub address: Ipv6Addr,
    /// Its index.
    pub buffer: u32,
    /// How its packets leave.
    pub egress: Egress,
    /// How fast.
    pub pace: Pace,
}

/// Packets and octets, reason by reason.
pub type Counts = Vec<(Reason, Count)>;

/// Where the frames of an interface go that XDP programs redirect to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// As [`NextHop::port`].
    pub index: u32,
    /// As [`NextHop::tags`].
    pub tags: [Tag; 2],
}

impl Port {
    /// To the interface itself.
    pub const fn of(interface: u32) -> Self {
        Self {
            index: interface,
            tags: [Tag::NONE; 2],
        }
    }
}

/// What is bound for one address, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingStatus {
    /// The address.
    pub address: Ipv6Addr,
    /// What happens to its packets.
    pub action: &'static str,
    /// The tunnel that they go into, if they do.
    pub tunnel: Option<Tunnel>,
    /// Where packets leave to, outside of any tunnel: of a node on a link of this router (`buffer`, `copy`,
    /// `host`) the node itself. `None`: the kernel's routes are asked, packet by packet.
    pub next_hop: Option<NextHop>,
    /// Index of the handover buffer, if there is one.
    pub buffer: Option<u32>,
    /// When it ends, on the monotonic clock.
    pub expires_ns: u64,
    /// Packets that met it.
    pub packets: u64,
    /// Their octets, with the Ethernet header.
    pub bytes: u64,
}

/// The name of an action.
fn action_name(action: u16) -> &'static str {
    match action {
        ACTION_TUNNEL => "tunnel",
        ACTION_BUFFER => "buffer",
        ACTION_COPY => "copy",
        ACTION_HOST => "host",
        ACTION_MOBILE => "mobile",
        _ => "none",
    }
}

/// One handover buffer, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferStatus {
    /// Whose packets it holds: the NCoA at a NAR (the PCoA after HAck code 3), the PCoA at a PAR and at
    /// a mobile node.
    pub address: Ipv6Addr,
    /// What it does.
    pub state: BufferState,
    /// Packets that were ever put, without copies that went unused.
    pub held: u64,
    /// Packets that were sent on.
    pub released: u64,
    /// Packets that were refused, aged or discarded.
    pub dropped: u64,
    /// Packets that wait now.
    pub waiting: u64,
    /// Their octets, from the IPv6 header on.
    pub waiting_octets: u64,
    /// What bounds it.
    pub bounds: Bounds,
    /// How long a packet waits at most, in nanoseconds.
    pub max_age_ns: u64,
    /// The most packets that ever waited at one time.
    pub high_water: u64,
    /// Packets that were not sent, by what kept them: the `DROPPED_` constants of
    /// [`fmip_common::buffer`].
    pub dropped_by: [u64; DROPS],
}

impl Maps {
    /// Takes the maps out of the loaded object.
    ///
    /// # Errors
    /// When a map is missing or the kernel refuses a write.
    pub fn new(ebpf: &mut Ebpf, shape: &Shape, pool: Pool) -> Result<Self> {
        Ok(Self {
            bindings: Bindings::new(ebpf, shape.bindings, shape.seed)?,
            local: take(ebpf, "LOCAL")?.try_into()?,
            pool,
            parked: take(ebpf, "PARKED")?.try_into()?,
            release_to: take(ebpf, "RELEASE_TO")?.try_into()?,
            interfaces: take(ebpf, "INTERFACES")?.try_into()?,
            vlans: take(ebpf, "VLANS")?.try_into()?,
            ports: BTreeMap::new(),
            numbered: vec![0],
            counts: take(ebpf, "COUNTS")?.try_into()?,
            tunnel_mtu: u32::MAX,
            peers: take(ebpf, "PEERS")?.try_into()?,
            groups: BTreeMap::new(),
            last_group: 0,
            hosts: take(ebpf, ".bss")?.try_into()?,
            host_count: 0,
            bound: BTreeMap::new(),
            shape: *shape,
        })
    }

    /// Other bounds for the buffers that are opened from now on.
    pub fn set_limits(&mut self, limits: BufferLimits) {
        self.pool.set_limits(limits);
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

    /// Makes an interface one of ours: the programs see what comes in there. The narrowest of all bounds what
    /// goes into a tunnel: at the far end it meets a link like one of ours.
    ///
    /// # Errors
    /// When the map is full.
    pub fn add_interface(&mut self, index: u32, mtu: u32, port: Port) -> Result<()> {
        if port.tags[0].is_some() {
            let vlan = Vlan {
                port: port.index,
                tags: port.tags,
            };
            self.vlans.insert(vlan, index, 0).with_context(|| {
                format!("cannot take the frames of the VLAN that is interface {index}")
            })?;
        }
        self.tunnel_mtu = self.tunnel_mtu.min(mtu);
        self.bindings.set_tunnel_mtu(self.tunnel_mtu)?;
        // Those that are too many are counted together.
        let number = u16::try_from(self.numbered.len())
            .ok()
            .filter(|number| u32::from(*number) < self.shape.counters);
        let interface = Interface {
            port: port.index,
            tags: port.tags,
            number: number.unwrap_or(0),
            ours: 1,
        };
        self.interfaces
            .set(index, interface, 0)
            .with_context(|| format!("cannot redirect to interface {index}"))?;
        if number.is_some() {
            self.numbered.push(index);
        }
        self.ports.insert(index, port);
        Ok(())
    }

    /// The way out of an interface, between these link-layer addresses.
    pub fn hop(&self, interface: u32, destination: [u8; 6], source: [u8; 6]) -> NextHop {
        let port = self.ports.get(&interface).copied().unwrap_or_default();
        NextHop {
            interface,
            port: port.index,
            tags: port.tags,
            destination,
            source,
            reserved: 0,
        }
    }

    /// Packets in a tunnel to `remote` go to this next hop from now on, which takes `mtu` octets; `None`:
    /// where the kernel's routes say, packet by packet.
    ///
    /// # Errors
    /// When there are too many different next hops.
    pub fn set_hop(&mut self, remote: Ipv6Addr, hop: Option<(NextHop, u32)>) -> Result<()> {
        let hop = hop.map(|(next_hop, mtu)| Hop { next_hop, mtu });
        self.bindings.set_hop(remote, hop)
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

    /// Names the interface that released packets leave by which are passed up on the loopback, with the
    /// link-layer address that they have as their source.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_release_to(&mut self, interface: u32, source: MacAddr) -> Result<()> {
        self.release_to
            .set(0, Exit::by(interface, source.0), 0)
            .context("cannot name the interface for what was held")
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
        let binding = Spec {
            action: ACTION_TUNNEL,
            buffer,
            expires_ns,
            egress,
        };
        self.bind(pcoa, binding)?;
        self.releasing(pcoa, egress)
    }

    /// Packets to `address` are held, to be sent to `next_hop` when [`Maps::release`] says so. At a NAR
    /// that is the NCoA, at a PAR the PCoA of a node that left without a word.
    ///
    /// With a `tunnel` it is a PCoA at a NAR that answered HAck code 3: packets to it are held that come
    /// in the tunnel, too, and packets from it that come from that neighbor go into the tunnel.
    ///
    /// What is held or copied already stays in front, and what a tunnel took over and has not left. The index
    /// of the buffer: [`super::drain::Drain::hold`] must be told, so that it ends a release, or copying,
    /// that is under way. A release that [`Maps::releasing_from`] tells of is better ended before, or
    /// the buffer may be shut while it is bound anew, and a packet passes by what is held.
    ///
    /// If `address` was tunnelled, what comes from it in that tunnel is accepted until [`Maps::release`]: the
    /// mobile node that is to come back sends that way until it hears that all is ready.
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
        let (action, egress) = match tunnel {
            Some(_) => (ACTION_HOST, self.egress(tunnel, next_hop)),
            None => {
                let before = self.bindings.get(address);
                let left = before.filter(|before| {
                    matches!(before.action, ACTION_TUNNEL | ACTION_BUFFER)
                        && before.egress.is_tunnel()
                });
                let egress = left.map_or(Egress::default(), |before| before.egress);
                (ACTION_BUFFER, Egress { next_hop, ..egress })
            }
        };
        let binding = Spec {
            action,
            buffer: None,
            expires_ns,
            egress,
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
        let binding = Spec {
            action: ACTION_COPY,
            buffer: None,
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
        let mut binding = self.binding(address)?;
        let egress = Egress::plain(binding.egress.next_hop);
        binding.expires_ns = expires_ns;
        if binding.action == ACTION_BUFFER {
            binding.egress = egress;
        }
        self.bind(address, binding)?;
        self.releasing(address, egress)
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
        let binding = Spec {
            action: ACTION_MOBILE,
            buffer: None,
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
        let binding = Spec {
            action: ACTION_MOBILE,
            buffer: Some(buffer),
            expires_ns,
            egress,
        };
        self.bind(pcoa, binding)?;
        self.releasing(pcoa, egress)
    }

    /// Changes when a binding ends.
    ///
    /// # Errors
    /// When there is none for `address`.
    pub fn set_expiry(&mut self, address: Ipv6Addr, expires_ns: u64) -> Result<()> {
        let mut binding = self.binding(address)?;
        binding.expires_ns = expires_ns;
        self.bind(address, binding)
    }

    /// The buffer of an address, if it has one.
    pub fn buffer_of(&self, address: Ipv6Addr) -> Option<u32> {
        self.bound.get(&address)?.buffer
    }

    /// The buffer of an address that is being released, if it is not drained yet.
    ///
    /// # Errors
    /// None today: what it takes is mapped.
    pub fn releasing_from(&self, address: Ipv6Addr) -> Result<Option<u32>> {
        let bound = self.bound.get(&address).filter(|bound| bound.draining);
        let Some(buffer) = bound.and_then(|bound| bound.buffer) else {
            return Ok(None);
        };
        Ok((!self.pool.buffer(buffer)?.is_closed()).then_some(buffer))
    }

    /// Removes what is bound for `address`. If it had a buffer, gives its index: the drain thread
    /// must discard what is left in it, then [`Maps::give_back`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unbind(&mut self, address: Ipv6Addr) -> Result<Option<u32>> {
        self.bindings.remove(address);
        let bound = self.bound.remove(&address);
        if bound.is_some_and(|bound| bound.action == ACTION_HOST) {
            self.set_hosts(self.host_count - 1)?;
        }
        Ok(bound.and_then(|bound| bound.buffer))
    }

    /// Makes a buffer that was unbound and discarded available again.
    pub fn give_back(&mut self, index: u32) {
        self.pool.give_back(index);
    }

    /// Packets and octets by reason, over all interfaces and processors.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counts(&self) -> Result<Counts> {
        let mut sums = vec![Count::default(); Reason::ALL.len()];
        for number in 0..self.numbered.len() {
            for (sum, (_, count)) in sums.iter_mut().zip(self.counts_of(number)?) {
                sum.packets += count.packets;
                sum.bytes += count.bytes;
            }
        }
        Ok(Reason::ALL.iter().copied().zip(sums).collect())
    }

    /// The same, interface by interface, by index. Number 0 stands for all that has no counters of its
    /// own, and for what leaves the buffers.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counts_by_interface(&self) -> Result<Vec<(u32, Counts)>> {
        (0..self.numbered.len())
            .map(|number| Ok((self.numbered[number], self.counts_of(number)?)))
            .collect()
    }

    fn counts_of(&self, number: usize) -> Result<Counts> {
        let first = u32::try_from(number)? * REASONS_PER_INTERFACE;
        Reason::ALL
            .iter()
            .map(|reason| {
                let counts = self
                    .counts
                    .get(&(first + *reason as u32), 0)
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

    /// What is bound, and the packets that met it, with their octets.
    pub fn bindings(&self) -> Vec<BindingStatus> {
        self.bindings_from(Ipv6Addr::UNSPECIFIED, usize::MAX).0
    }

    /// The same of `number` addresses at most, the lowest ones that are not below `from`; and the address
    /// behind them, if there is one.
    pub fn bindings_from(
        &self,
        from: Ipv6Addr,
        number: usize,
    ) -> (Vec<BindingStatus>, Option<Ipv6Addr>) {
        let mut range = self.bound.range(from..);
        let page = range.by_ref().take(number);
        let page = page.filter_map(|(&address, bound)| self.described(address, bound));
        (page.collect(), range.next().map(|(&address, _)| address))
    }

    fn described(&self, address: Ipv6Addr, bound: &Bound) -> Option<BindingStatus> {
        let spec = self.bindings.get(address)?;
        let (packets, bytes) = self.bindings.counts(address)?;
        Some(BindingStatus {
            address,
            action: action_name(bound.action),
            tunnel: spec.egress.is_tunnel().then(|| Tunnel {
                local: spec.egress.outer_source.into(),
                remote: spec.egress.outer_destination.into(),
            }),
            next_hop: self.bindings.next_hop(address),
            buffer: bound.buffer,
            expires_ns: spec.expires_ns,
            packets,
            bytes,
        })
    }

    /// Addresses that are bound.
    pub fn bound(&self) -> u64 {
        self.bound.len() as u64
    }

    /// The interfaces that are ours, by index, and where frames go that are redirected to them.
    pub fn ports(&self) -> &BTreeMap<u32, Port> {
        &self.ports
    }

    /// The pool of slots, and the buffers.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How large the maps were made.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The buffers that are bound.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn buffers(&self) -> Result<Vec<BufferStatus>> {
        self.bound
            .iter()
            .filter_map(|(&address, bound)| Some((address, bound, bound.buffer?)))
            .map(|(address, bound, index)| self.account(address, bound, index))
            .collect()
    }

    /// The same of `number` addresses at most, the lowest ones that are not below `from`; and where to go
    /// on, if there is more. Bindings without a buffer are looked at, too, and of those there may be many
    /// more: what is found may be less than there is, or nothing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn buffers_from(
        &self,
        from: Ipv6Addr,
        number: usize,
    ) -> Result<(Vec<BufferStatus>, Option<Ipv6Addr>)> {
        // A few hundred microseconds.
        const LOOKED_AT: usize = 16_384;
        let mut found = Vec::new();
        for (looked_at, (&address, bound)) in self.bound.range(from..).enumerate() {
            if found.len() == number || looked_at == LOOKED_AT {
                return Ok((found, Some(address)));
            }
            if let Some(index) = bound.buffer {
                found.push(self.account(address, bound, index)?);
            }
        }
        Ok((found, None))
    }

    fn account(&self, address: Ipv6Addr, bound: &Bound, index: u32) -> Result<BufferStatus> {
        let buffer = self.pool.buffer(index)?;
        let state = if bound.action == ACTION_COPY {
            BufferState::Copying
        } else if buffer.is_closed() {
            BufferState::Direct
        } else if bound.draining {
            BufferState::Draining
        } else {
            BufferState::Holding
        };
        Ok(BufferStatus {
            address,
            state,
            held: buffer.held().saturating_sub(buffer.trimmed),
            released: buffer.released,
            dropped: buffer.all_dropped(),
            waiting: buffer.waiting(),
            waiting_octets: buffer.waiting_octets(),
            bounds: Bounds {
                packets: buffer.max_packets,
                guaranteed: buffer.guaranteed,
                octets: buffer.max_octets,
            },
            max_age_ns: buffer.max_age_ns,
            high_water: buffer.high_water,
            dropped_by: buffer.dropped,
        })
    }

    /// Slots of the pool that are in use.
    ///
    /// # Errors
    /// None today: what it takes is mapped.
    pub fn slots_in_use(&self) -> Result<u64> {
        Ok(self.pool.packets())
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

    fn binding(&self, address: Ipv6Addr) -> Result<Spec> {
        self.bindings
            .get(address)
            .with_context(|| format!("nothing is bound for {address}"))
    }

    /// The buffer of an address, unless it is drained already.
    fn releasing(&mut self, address: Ipv6Addr, egress: Egress) -> Result<Option<Release>> {
        let Some(bound) = self.bound.get_mut(&address) else {
            return Ok(None);
        };
        let Some(buffer) = bound.buffer else {
            return Ok(None);
        };
        bound.draining = true;
        Ok((!self.pool.buffer(buffer)?.is_closed()).then_some(Release {
            address,
            buffer,
            egress,
            pace: self.pool.pace(buffer),
        }))
    }

    fn bind(&mut self, address: Ipv6Addr, binding: Spec) -> Result<()> {
        let is_host = binding.action == ACTION_HOST;
        if is_host && self.host_count == 0 {
            // Before the first of them is bound: none of its packets may be missed.
            self.set_hosts(1)?;
            self.host_count = 0;
        }
        self.bindings.set(address, &binding)?;
        let buffer = binding.buffer;
        let before = self.bound.get(&address).copied();
        let bound = Bound {
            action: binding.action,
            buffer,
            draining: before.is_some_and(|before| before.draining && before.buffer == buffer),
        };
        self.bound.insert(address, bound);
        let was_host = before.is_some_and(|bound| bound.action == ACTION_HOST);
        if is_host != was_host {
            self.set_hosts(self.host_count + u32::from(is_host) - u32::from(was_host))?;
        }
        Ok(())
    }

    /// Tells the data path whether there is an address by which sources must be looked up.
    fn set_hosts(&mut self, count: u32) -> Result<()> {
        self.host_count = count;
        self.hosts
            .set(0, count, 0)
            .context("cannot say how many addresses are kept away from home")
    }

    /// Binds an address to its buffer, or to a new one if it has none that holds.
    fn bind_buffer(&mut self, address: Ipv6Addr, mut binding: Spec) -> Result<u32> {
        let previous = self.buffer_of(address);
        if let Some(index) = previous
            && !self.pool.buffer(index)?.is_closed()
        {
            binding.buffer = Some(index);
            self.bind(address, binding)?;
            if let Some(bound) = self.bound.get_mut(&address) {
                bound.draining = false;
            }
            return Ok(index);
        }
        // The buffer before the binding: a program must never see it half made.
        let index = self
            .pool
            .open(binding.egress.next_hop.interface)?
            .with_context(|| format!("no handover buffer is free for {address}"))?;
        binding.buffer = Some(index);
        if let Err(error) = self.bind(address, binding) {
            self.pool.give_back(index);
            return Err(error);
        }
        // It was drained and is shut: it holds nothing, and nothing can be put into it. (Opened again it
        // would have the account, and the metered rate, of two handovers.)
        if let Some(previous) = previous {
            self.pool.give_back(previous);
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

/// A map, out of the object.
pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the BPF object has no map {name}"))
}

/// A key that is not there is removed already.
pub(super) fn gone(result: Result<(), MapError>) -> Result<()> {
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
