//! Mobile nodes that announced themselves and that no other router has vouched for yet.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use crate::wire::MacAddr;

use super::super::{
    Instant, InterfaceIndex,
    hash::{Seeded, Table},
};

/// The only state that anybody on an access link can make us keep: bounded, short-lived, and the
/// first to go (SEC-07).
#[derive(Debug)]
pub(super) struct Newcomers {
    by_address: Table<Ipv6Addr, Newcomer>,
    by_age: BTreeMap<Age, Ipv6Addr>,
    by_link: BTreeMap<(InterfaceIndex, Age), Ipv6Addr>,
    links: BTreeMap<InterfaceIndex, usize>,
    number: u64,
}

/// When one is forgotten, and its number.
type Age = (Instant, u64);

#[derive(Debug)]
struct Newcomer {
    interface: InterfaceIndex,
    lla: MacAddr,
    age: Age,
}

impl Newcomers {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            by_address: Table::with_hasher(Seeded(seed)),
            by_age: BTreeMap::new(),
            by_link: BTreeMap::new(),
            links: BTreeMap::new(),
            number: 0,
        }
    }

    /// Forgets those whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((&(at, _), &address)) = self.by_age.first_key_value()
            && at <= now
        {
            self.remove(address);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// How many there are on one link.
    pub(super) fn on_link(&self, interface: InterfaceIndex) -> usize {
        self.links.get(&interface).copied().unwrap_or(0)
    }

    /// Whose `address` is.
    pub(super) fn owner(&self, now: Instant, address: Ipv6Addr) -> Option<MacAddr> {
        let newcomer = self.by_address.get(&address)?;
        (newcomer.age.0 > now).then_some(newcomer.lla)
    }

    /// Remembers one for `lifetime`.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        lifetime: Duration,
        address: Ipv6Addr,
        interface: InterfaceIndex,
        lla: MacAddr,
    ) {
        self.remove(address);
        self.number += 1;
        let age = (now + lifetime, self.number);
        self.by_age.insert(age, address);
        self.by_link.insert((interface, age), address);
        *self.links.entry(interface).or_default() += 1;
        let newcomer = Newcomer {
            interface,
            lla,
            age,
        };
        self.by_address.insert(address, newcomer);
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, address: Ipv6Addr) {
        let Some(newcomer) = self.by_address.remove(&address) else {
            return;
        };
        let Newcomer { interface, age, .. } = newcomer;
        self.by_age.remove(&age);
        self.by_link.remove(&(interface, age));
        match self.links.get_mut(&interface) {
            Some(number) if *number > 1 => *number -= 1,
            _ => {
                self.links.remove(&interface);
            }
        }
    }

    /// Forgets the oldest, if there is one.
    pub(super) fn remove_oldest(&mut self) -> bool {
        let oldest = self.by_age.first_key_value();
        let oldest = oldest.map(|(_, &address)| address);
        oldest.inspect(|&address| self.remove(address)).is_some()
    }

    /// Forgets the oldest on one link, if there is one.
    pub(super) fn remove_oldest_on(&mut self, interface: InterfaceIndex) -> bool {
        let mut of_link = self.by_link.range((interface, (Instant::default(), 0))..);
        let oldest = of_link
            .next()
            .filter(|((of, _), _)| *of == interface)
            .map(|(_, &address)| address);
        oldest.inspect(|&address| self.remove(address)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn address(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n)
    }

    // Rows: SEC-07
    #[test]
    fn the_oldest_newcomer_goes_first_and_each_goes_in_time() {
        let mut newcomers = Newcomers::new(1);
        let start = Instant::from_nanos(0);
        for n in 1..=3 {
            newcomers.insert(start, SECOND, address(n), 1, LLA);
        }
        // Seen again: it is the youngest now.
        newcomers.insert(start, SECOND * 2, address(1), 1, LLA);
        assert_eq!(newcomers.len(), 3);
        assert!(newcomers.remove_oldest());
        assert_eq!(newcomers.owner(start, address(2)), None);
        assert_eq!(newcomers.owner(start, address(3)), Some(LLA));
        assert_eq!(newcomers.owner(start + SECOND, address(3)), None);
        newcomers.expire(start + SECOND);
        assert_eq!(newcomers.len(), 1);
        newcomers.expire(start + SECOND * 2);
        assert_eq!(newcomers.len(), 0);
        assert!(!newcomers.remove_oldest());
    }

    // Rows: SEC-07
    #[test]
    fn newcomers_are_counted_and_forgotten_by_link() {
        let mut newcomers = Newcomers::new(1);
        let start = Instant::from_nanos(0);
        for n in 1..=6 {
            let link = u32::from(n % 2 + 1);
            newcomers.insert(start, SECOND, address(n), link, LLA);
        }
        assert!(newcomers.remove_oldest_on(1));
        assert_eq!(newcomers.owner(start, address(1)), Some(LLA));
        assert_eq!(newcomers.owner(start, address(2)), None);
        assert_eq!((newcomers.on_link(1), newcomers.on_link(2)), (2, 3));
        while newcomers.remove_oldest_on(1) {}
        assert_eq!((newcomers.on_link(1), newcomers.on_link(2)), (0, 3));
        assert_eq!(newcomers.len(), 3);
        assert!(!newcomers.remove_oldest_on(0) && !newcomers.remove_oldest_on(3));
    }
}
