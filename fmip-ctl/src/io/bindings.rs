//! The bindings of the data path, as the controller writes them: the table, and the ways that packets
//! leave by.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::Ipv6Addr,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, Pod,
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use fmip_common::{
    binding::{
        ACTION_BUFFER, ACTION_COPY, ACTION_HOST, ACTION_TUNNEL, Address, Binding, Egress, LINKS,
        NO_BUFFER, NextHop, Ticks, Way,
    },
    limits::WAYS,
    table::{ENTRY_WORDS, Entry, Seed, Words, Writer, buckets_for},
};

use rustix::time::{ClockId, clock_getres};

use super::{load::CLOCK, mapped::MappedArray, monotonic_ns};

/// What is to happen to packets of an address: [`Binding`] with all that it only points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// One of the `ACTION_` constants.
    pub(super) action: u16,
    /// Index of the handover buffer, if there is one.
    pub(super) buffer: Option<u32>,
    /// When it ends, on the monotonic clock.
    pub(super) expires_ns: u64,
    /// The tunnel, and the next hop. Of a node on a link of this router (all actions but
    /// `ACTION_TUNNEL` and `ACTION_MOBILE`) that is the node itself; of `ACTION_TUNNEL` it is the way to
    /// the tunnel's far end, and if it is left open, the one that [`Bindings::set_hop`] said.
    pub(super) egress: Egress,
}

/// The way to a tunnel's far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) next_hop: NextHop,
    /// Its maximum transmission unit, in octets.
    pub(super) mtu: u32,
}

/// The table and the ways.
pub(super) struct Bindings {
    table: Writer<Tables>,
    ways: Ways,
    ticks: Ticks,
    tunnel_mtu: u32,
    hops: HashMap<Address, Hop>,
    /// Far ends of tunnels, each with the addresses whose packets go there, if there is a hop or not.
    tunnels: BTreeSet<(Ipv6Addr, Ipv6Addr)>,
}

struct Tables {
    buckets: MappedArray<u64>,
    entries: MappedArray<Entry>,
    spares: MappedArray<Entry>,
}

impl Words for Tables {
    fn bucket(&self, number: u32) -> &AtomicU64 {
        &element::<_, 1>(&self.buckets, number)[0]
    }
    fn entry(&self, number: u32) -> &[AtomicU64; ENTRY_WORDS] {
        element(&self.entries, number)
    }
    fn spare(&self, number: u32) -> &[AtomicU64; ENTRY_WORDS] {
        element(&self.spares, number)
    }
}

/// The words of an element that is there.
fn element<T: Pod, const WORDS: usize>(array: &MappedArray<T>, number: u32) -> &[AtomicU64; WORDS] {
    array
        .element(number)
        .and_then(|words| words.try_into().ok())
        .expect("the map has as many elements as its writer was told, each of so many words")
}

/// What the table's hash depends on, for a new table.
///
/// # Errors
/// When the kernel gives no random numbers.
pub(super) fn random_seed() -> Result<Seed> {
    let mut octets = [0; 16];
    let length = rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty())
        .context("cannot get random numbers")?;
    anyhow::ensure!(length == octets.len(), "only {length} random octets");
    let (words, _) = octets.as_chunks::<8>();
    Ok(Seed([
        u64::from_ne_bytes(words[0]),
        u64::from_ne_bytes(words[1]),
    ]))
}

impl Bindings {
    /// Takes the table for `bindings` bindings out of the loaded object, which was loaded with this seed.
    ///
    /// # Errors
    /// When a map is missing, or cannot be mapped.
    pub(super) fn new(ebpf: &Ebpf, bindings: u32, seed: Seed) -> Result<Self> {
        let tables = Tables {
            buckets: MappedArray::new(ebpf, "BUCKETS")?,
            entries: MappedArray::new(ebpf, "ENTRIES")?,
            spares: MappedArray::new(ebpf, "SPARES")?,
        };
        Ok(Self {
            table: Writer::new(tables, seed, buckets_for(bindings)),
            ways: Ways::new(MappedArray::new(ebpf, "WAYS")?),
            ticks: ticks(ebpf)?,
            tunnel_mtu: u32::MAX,
            hops: HashMap::new(),
            tunnels: BTreeSet::new(),
        })
    }

    /// Binds `address`, anew or otherwise than before: in one instant.
    ///
    /// # Errors
    /// When the table is full; nothing has changed then.
    pub(super) fn set(&mut self, address: Ipv6Addr, spec: &Spec) -> Result<()> {
        let key = Address::from(address);
        let before = self.table.get(&key);
        let now = Instant::now();
        let (tunnel, link) = self.split(spec);
        let link_way = Way {
            next_hop: NextHop {
                destination: [0; 6],
                ..link
            },
            ..Way::default()
        };
        let binding = Binding {
            expiry: self.ticks.expiry(spec.expires_ns),
            remote: spec.egress.outer_destination,
            buffer: match spec.buffer {
                Some(index) => u16::try_from(index)?,
                None => NO_BUFFER,
            },
            action: spec.action,
            link: self.ways.take(link_way, LINKS.into(), now)?,
            tunnel: match self.ways.take(tunnel, WAYS, now) {
                Ok(way) => way,
                Err(error) => {
                    self.ways.give_back(self.ways.number(&link_way), now);
                    return Err(error);
                }
            },
            node: link.destination,
        };
        if self.table.set(&key, &binding).is_err() {
            self.give_back(&binding, now);
            return Err(anyhow!(
                "all {} places for bindings are taken near that of {address}",
                self.table.len()
            ));
        }
        if let Some(before) = before {
            self.give_back(&before, now);
        }
        let far_end = |binding: &Binding| is_tunnel_to(binding).then_some(binding.remote.into());
        let (old, new) = (before.as_ref().and_then(far_end), far_end(&binding));
        if old != new {
            if let Some(remote) = old {
                self.tunnels.remove(&(remote, address));
            }
            if let Some(remote) = new {
                self.tunnels.insert((remote, address));
            }
        }
        Ok(())
    }

    /// What is bound for `address`.
    pub(super) fn get(&self, address: Ipv6Addr) -> Option<Spec> {
        let binding = self.table.get(&address.into())?;
        let tunnel = self.ways.at(binding.tunnel);
        let mut egress = tunnel.to(binding.remote);
        if egress.is_tunnel() {
            egress.mtu = self.tunnel_mtu;
        }
        match binding.action {
            ACTION_BUFFER | ACTION_COPY | ACTION_HOST => {
                egress.next_hop = NextHop {
                    destination: binding.node,
                    ..self.ways.at(binding.link).next_hop
                };
            }
            // Left open: it may be another by now.
            ACTION_TUNNEL => egress.next_hop = NextHop::default(),
            _ => {}
        }
        Some(Spec {
            action: binding.action,
            buffer: (binding.buffer != NO_BUFFER).then_some(binding.buffer.into()),
            expires_ns: self.ticks.ns(binding.expiry, monotonic_ns()),
            egress,
        })
    }

    /// Where packets of `address` leave to, outside of any tunnel; `None` if nothing is bound, or the
    /// kernel's routes are asked for each.
    pub(super) fn next_hop(&self, address: Ipv6Addr) -> Option<NextHop> {
        let binding = self.table.get(&address.into())?;
        let next_hop = match binding.action {
            ACTION_BUFFER | ACTION_COPY | ACTION_HOST => NextHop {
                destination: binding.node,
                ..self.ways.at(binding.link).next_hop
            },
            _ => self.ways.at(binding.tunnel).next_hop,
        };
        (next_hop.interface != 0).then_some(next_hop)
    }

    /// Removes what is bound for `address`.
    pub(super) fn remove(&mut self, address: Ipv6Addr) {
        let key = Address::from(address);
        if let Some(binding) = self.table.get(&key) {
            self.table.remove(&key);
            self.give_back(&binding, Instant::now());
            self.tunnels.remove(&(binding.remote.into(), address));
        }
    }

    /// Packets that met the binding of `address`, and their octets.
    pub(super) fn counts(&self, address: Ipv6Addr) -> Option<(u64, u64)> {
        let index = self.table.index_of(&address.into())?;
        Some(self.table.counts(index))
    }

    /// Where packets go from now on that are in a tunnel to `remote`; `None`: where the kernel's routes
    /// say, packet by packet.
    ///
    /// # Errors
    /// When there are too many different ways; packets go where the kernel says then.
    pub(super) fn set_hop(&mut self, remote: Ipv6Addr, hop: Option<Hop>) -> Result<()> {
        let key = Address::from(remote);
        let before = match hop {
            Some(hop) => self.hops.insert(key, hop),
            None => self.hops.remove(&key),
        };
        if before == hop {
            return Ok(());
        }
        let first = (remote, Ipv6Addr::UNSPECIFIED);
        let last = (remote, Ipv6Addr::from_bits(u128::MAX));
        let addresses = self.tunnels.range(first..=last);
        self.renew(addresses.map(|&(_, address)| address).collect())
    }

    /// The longest packet that goes into any tunnel, with its outer header, in octets: besides what the next
    /// hop of each takes.
    ///
    /// # Errors
    /// As [`Bindings::set_hop`].
    pub(super) fn set_tunnel_mtu(&mut self, mtu: u32) -> Result<()> {
        self.tunnel_mtu = mtu;
        let addresses = self.tunnels.iter();
        self.renew(addresses.map(|&(_, address)| address).collect())
    }

    /// Binds again what is bound, with what has become known.
    fn renew(&mut self, addresses: Vec<Ipv6Addr>) -> Result<()> {
        for address in addresses {
            if let Some(spec) = self.get(address) {
                self.set(address, &spec)?;
            }
        }
        Ok(())
    }

    /// The ways of a binding: into its tunnel, and to its node.
    fn split(&self, spec: &Spec) -> (Way, NextHop) {
        let mut tunnel = spec.egress.way();
        let mut link = NextHop::default();
        if tunnel.is_tunnel() {
            tunnel.mtu = self.tunnel_mtu;
        }
        if let ACTION_BUFFER | ACTION_COPY | ACTION_HOST = spec.action {
            link = tunnel.next_hop;
            tunnel.next_hop = NextHop::default();
        }
        if let ACTION_TUNNEL | ACTION_HOST = spec.action
            && tunnel.next_hop.interface == 0
            && let Some(hop) = self.hops.get(&spec.egress.outer_destination)
        {
            tunnel.next_hop = hop.next_hop;
            tunnel.mtu = tunnel.mtu.min(hop.mtu);
        }
        (tunnel, link)
    }

    fn give_back(&mut self, binding: &Binding, now: Instant) {
        self.ways.give_back(Some(binding.tunnel), now);
        self.ways.give_back(Some(binding.link), now);
    }
}

/// Whether a binding's packets go to its tunnel's far end by whatever way leads there.
fn is_tunnel_to(binding: &Binding) -> bool {
    matches!(binding.action, ACTION_TUNNEL | ACTION_HOST)
}

/// What the kernel's ticks are on its monotonic clock, by a look at both.
fn ticks(ebpf: &Ebpf) -> Result<Ticks> {
    let each = clock_getres(ClockId::MonotonicCoarse);
    let each_ns = u64::try_from(each.tv_nsec)
        .ok()
        .filter(|&each_ns| each_ns > 0 && each.tv_sec == 0)
        .with_context(|| format!("a tick of {each:?} is none"))?;
    let clock: &Xdp = ebpf
        .program(CLOCK)
        .with_context(|| format!("the BPF object has no program {CLOCK}"))?
        .try_into()?;
    let result = clock
        .test_run(TestRunOptions {
            data_in: Some(&[0; 64]),
            ..TestRunOptions::new()
        })
        .context("cannot ask the kernel for its ticks")?;
    Ok(Ticks {
        tick: result.return_value,
        at_ns: monotonic_ns(),
        each_ns,
    })
}

/// The ways that bindings name, each once, however many name it.
struct Ways {
    map: MappedArray<Way>,
    known: HashMap<Way, u16>,
    /// Of each number: its way, and how many name it.
    used: Vec<(Way, u32)>,
    /// Numbers that nobody names, and since when.
    free: VecDeque<(Instant, u16)>,
}

impl Ways {
    /// How long a number rests before it is another way's: a program on another processor may have looked up the
    /// old binding and be about to read it. Programs run for microseconds, in a context that nothing
    /// preempts for long.
    const REST: Duration = Duration::from_millis(100);

    fn new(map: MappedArray<Way>) -> Self {
        // The first is the empty one, as the array is at first.
        let nothing = Way::default();
        Self {
            map,
            known: HashMap::from([(nothing, 0)]),
            used: vec![(nothing, 1)],
            free: VecDeque::new(),
        }
    }

    fn at(&self, number: u16) -> Way {
        self.used[usize::from(number)].0
    }

    fn number(&self, way: &Way) -> Option<u16> {
        self.known.get(way).copied()
    }

    /// The number of a way that is named once more, which must be `below` that.
    fn take(&mut self, way: Way, below: u32, now: Instant) -> Result<u16> {
        if let Some(number) = self.number(&way)
            && u32::from(number) < below
        {
            self.used[usize::from(number)].1 += 1;
            return Ok(number);
        }
        let number = match self.free.front() {
            Some(&(since, number))
                if now.duration_since(since) >= Self::REST && u32::from(number) < below =>
            {
                self.free.pop_front();
                number
            }
            _ => {
                let number = u16::try_from(self.used.len())
                    .ok()
                    .filter(|number| u32::from(*number) < below)
                    .with_context(|| format!("all {below} different next hops are in use"))?;
                self.used.push((Way::default(), 0));
                number
            }
        };
        // Before any binding names it.
        self.map.set(number.into(), &way)?;
        self.used[usize::from(number)] = (way, 1);
        self.known.insert(way, number);
        Ok(number)
    }

    fn give_back(&mut self, number: Option<u16>, now: Instant) {
        let Some(number) = number.filter(|number| *number != 0) else {
            return;
        };
        let (way, references) = &mut self.used[usize::from(number)];
        *references -= 1;
        if *references == 0 {
            self.known.remove(way);
            self.free.push_back((now, number));
        }
    }
}
