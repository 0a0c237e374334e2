//! The addresses that we assign (HI-15): which mobile node has which, and when one is free again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::Duration,
};

use crate::wire::{MacAddr, Prefix};

use super::super::{
    Instant, InterfaceIndex,
    hash::{Seeded, Table},
};

/// How long an address stays its mobile node's after it was last heard of.
///
/// An assigned address has no lifetime that the mobile node is told of, so that it may use it as
/// long as it stays on the link. Later than this the address is given away only if nobody else is
/// free, and only after the link's neighbor entries were asked for it (HI-12), and the link itself
/// where it is probed.
const LEASE: Duration = Duration::from_secs(2 * 3600);

/// The most addresses of one link that are remembered.
const MAX_LEASES: usize = 1 << 16;

/// The pools of all access links.
#[derive(Debug, Default)]
pub(super) struct Pools {
    links: BTreeMap<InterfaceIndex, Leases>,
    seed: u64,
}

/// The addresses of one link's pool that are not free.
#[derive(Debug)]
struct Leases {
    by_address: Table<Ipv6Addr, Lease>,
    by_node: Table<MacAddr, Ipv6Addr>,
    /// Those without another router's word first, then by when they end.
    by_age: BTreeSet<(bool, Instant, Ipv6Addr)>,
}

#[derive(Copy, Clone, Debug)]
struct Lease {
    /// Whose it is; `None`: somebody's who did not have it from us.
    lla: Option<MacAddr>,
    vouched: bool,
    ends: Instant,
}

/// Whom an address is wanted for.
#[derive(Copy, Clone, Debug)]
pub(super) struct Applicant {
    pub(super) interface: InterfaceIndex,
    pub(super) lla: MacAddr,
    /// The address that it would like.
    pub(super) wanted: Option<Ipv6Addr>,
    /// How long it keeps the address without another router's word for it; `None`: it has that.
    pub(super) trial: Option<Duration>,
}

impl Pools {
    pub(super) fn new(seed: u64) -> Self {
        let links = BTreeMap::new();
        Self { links, seed }
    }

    fn leases(&mut self, interface: InterfaceIndex) -> &mut Leases {
        let hasher = Seeded(self.seed);
        self.links.entry(interface).or_insert_with(|| Leases {
            by_address: Table::with_hasher(hasher),
            by_node: Table::with_hasher(hasher),
            by_age: BTreeSet::new(),
        })
    }

    /// The address of `pool` that `applicant` has or gets: the same one as long as it lives, if
    /// not, the wanted one, if not, the next one free. `usable` tells whether anything else speaks
    /// against an address. `None`: none is free.
    pub(super) fn assign(
        &mut self,
        now: Instant,
        pool: Prefix,
        applicant: Applicant,
        usable: &dyn Fn(Ipv6Addr) -> bool,
    ) -> Option<Ipv6Addr> {
        let Applicant {
            interface,
            lla,
            wanted,
            trial,
        } = applicant;
        let leases = self.leases(interface);
        let own = leases.by_node.get(&lla).copied();
        let own = own.filter(|&own| pool.contains(own) && usable(own));
        let wanted = wanted.filter(|&wanted| pool.contains(wanted));
        let address = own
            .or(wanted.filter(|&wanted| leases.is_free(now, wanted) && usable(wanted)))
            .or_else(|| leases.next_free(now, pool, lla, usable))?;
        let before = leases.by_address.get(&address).filter(|_| own.is_some());
        let vouched = trial.is_none() || before.is_some_and(|lease| lease.vouched);
        let ends = now + trial.filter(|_| !vouched).unwrap_or(LEASE);
        leases.put(
            address,
            Lease {
                lla: Some(lla),
                vouched,
                ends,
            },
        );
        leases.trim(now);
        Some(address)
    }

    /// Whose `address` is, if it was assigned: `Some(None)` if it is nobody's whom we know.
    pub(super) fn owner(
        &self,
        now: Instant,
        interface: InterfaceIndex,
        address: Ipv6Addr,
    ) -> Option<Option<MacAddr>> {
        let lease = self.links.get(&interface)?.by_address.get(&address)?;
        (lease.ends > now).then_some(lease.lla)
    }

    /// The mobile node that has `address` was heard of.
    pub(super) fn renew(&mut self, now: Instant, interface: InterfaceIndex, address: Ipv6Addr) {
        let Some(leases) = self.links.get_mut(&interface) else {
            return;
        };
        if let Some(&lease) = leases.by_address.get(&address) {
            let vouched = true;
            let ends = now + LEASE;
            leases.put(
                address,
                Lease {
                    vouched,
                    ends,
                    ..lease
                },
            );
        }
    }

    /// Somebody has `address` who did not have it from us.
    pub(super) fn is_taken(&mut self, now: Instant, interface: InterfaceIndex, address: Ipv6Addr) {
        let leases = self.leases(interface);
        leases.put(
            address,
            Lease {
                lla: None,
                vouched: true,
                ends: now + LEASE,
            },
        );
        leases.trim(now);
    }
}

impl Leases {
    fn is_free(&self, now: Instant, address: Ipv6Addr) -> bool {
        let lease = self.by_address.get(&address);
        lease.is_none_or(|lease| lease.ends <= now)
    }

    /// A free address: as a rule the same one for the same node, also after a restart; from there
    /// on the first, and if there is none, the one of the oldest node without another's word.
    fn next_free(
        &self,
        now: Instant,
        pool: Prefix,
        lla: MacAddr,
        usable: &dyn Fn(Ipv6Addr) -> bool,
    ) -> Option<Ipv6Addr> {
        let mask = u128::MAX.checked_shr(pool.length().into()).unwrap_or(0);
        let start = spread(lla);
        // More than can be taken, but for those few that only `usable` knows of.
        let tries = (self.by_address.len() as u128 + SPARE).min(mask.saturating_add(1));
        let address = |n: u128| {
            let number = start.wrapping_add(n) & mask;
            Ipv6Addr::from_bits(pool.address().to_bits() | number)
        };
        let free = |address: &Ipv6Addr| self.is_free(now, *address) && usable(*address);
        (0..tries).map(address).find(free).or_else(|| {
            let &(vouched, _, address) = self.by_age.first()?;
            (!vouched && pool.contains(address) && usable(address)).then_some(address)
        })
    }

    fn put(&mut self, address: Ipv6Addr, lease: Lease) {
        self.remove(address);
        self.by_age.insert((lease.vouched, lease.ends, address));
        self.by_address.insert(address, lease);
        if let Some(lla) = lease.lla
            && let Some(other) = self.by_node.insert(lla, address)
            && other != address
        {
            self.remove(other);
            self.by_node.insert(lla, address);
        }
    }

    fn remove(&mut self, address: Ipv6Addr) {
        let Some(lease) = self.by_address.remove(&address) else {
            return;
        };
        self.by_age.remove(&(lease.vouched, lease.ends, address));
        if let Some(lla) = lease.lla
            && self.by_node.get(&lla) == Some(&address)
        {
            self.by_node.remove(&lla);
        }
    }

    /// Forgets what has ended, and what there is no room for: the oldest, and first those that have
    /// nobody's word.
    fn trim(&mut self, now: Instant) {
        while let Some(&(_, ends, address)) = self.by_age.first()
            && (ends <= now || self.by_address.len() > MAX_LEASES)
        {
            self.remove(address);
        }
    }
}

/// How many addresses of a pool may be in the way that are not leased: the router's own, the
/// subnet's, and those of handovers.
const SPARE: u128 = 64;

/// A number for a link-layer address (FNV-1a): near ones are far apart.
fn spread(lla: MacAddr) -> u128 {
    let hash = lla
        .0
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    u128::from(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1);

    fn lla(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn pool(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn assign(pools: &mut Pools, now: Instant, pool: Prefix, n: u8) -> Option<Ipv6Addr> {
        let applicant = Applicant {
            interface: 1,
            lla: lla(n),
            wanted: None,
            trial: None,
        };
        pools.assign(now, pool, applicant, &|_| true)
    }

    // Rows: HI-15
    #[test]
    fn a_node_has_the_same_address_again_also_after_a_restart() {
        let pool = pool("2001:db8::/64");
        let first = assign(&mut Pools::new(1), START, pool, 7).unwrap();
        let mut pools = Pools::new(2);
        assert_ne!(assign(&mut pools, START, pool, 8), Some(first));
        assert_eq!(assign(&mut pools, START, pool, 7), Some(first));
        let later = START + LEASE * 9;
        assert_eq!(assign(&mut pools, later, pool, 7), Some(first));
        assert!(pool.contains(first));
    }

    #[test]
    fn a_pool_of_one_address_has_one_and_no_more() {
        let pool = pool("2001:db8::7/128");
        let mut pools = Pools::new(1);
        assert_eq!(assign(&mut pools, START, pool, 1), Some(pool.address()));
        assert_eq!(assign(&mut pools, START, pool, 2), None);
        assert_eq!(pools.owner(START, 1, pool.address()), Some(Some(lla(1))));
        assert_eq!(pools.owner(START, 2, pool.address()), None);
        // Its time is over when nobody has heard of its node.
        let end = START + LEASE;
        assert_eq!(pools.owner(end, 1, pool.address()), None);
        assert_eq!(assign(&mut pools, end, pool, 2), Some(pool.address()));
        // The one before gets none, and keeps none.
        assert_eq!(assign(&mut pools, end, pool, 1), None);
    }

    #[test]
    fn a_node_is_heard_of_and_keeps_its_address_and_what_is_taken_stays_so() {
        let pool = pool("2001:db8::2/127");
        let mut pools = Pools::new(1);
        let own = assign(&mut pools, START, pool, 1).unwrap();
        let other = Ipv6Addr::from_bits(own.to_bits() ^ 1);
        pools.is_taken(START + LEASE / 2, 1, other);
        pools.renew(START + LEASE / 2, 1, own);
        let later = START + LEASE;
        assert_eq!(pools.owner(later, 1, own), Some(Some(lla(1))));
        assert_eq!(pools.owner(later, 1, other), Some(None));
        assert_eq!(assign(&mut pools, later, pool, 2), None);
        let end = START + LEASE * 3 / 2;
        assert!(assign(&mut pools, end, pool, 2).is_some());
    }

    #[test]
    fn what_is_remembered_of_a_pool_is_bounded() {
        let pool = pool("2001:db8::/64");
        let mut pools = Pools::new(1);
        for n in 0..MAX_LEASES + 100 {
            let [.., a, b, c] = n.to_be_bytes();
            let applicant = Applicant {
                interface: 1,
                lla: MacAddr([2, 0, 0, a, b, c]),
                wanted: None,
                trial: None,
            };
            let now = START + Duration::from_nanos(n as u64);
            assert!(pools.assign(now, pool, applicant, &|_| true).is_some());
        }
        let leases = &pools.links[&1];
        assert_eq!(leases.by_address.len(), MAX_LEASES);
        assert_eq!(leases.by_node.len(), MAX_LEASES);
        assert_eq!(leases.by_age.len(), MAX_LEASES);
    }
}
