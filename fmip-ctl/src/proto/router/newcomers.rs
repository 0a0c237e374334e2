//! Mobile nodes that announced themselves and that no other router has vouched for yet.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use crate::wire::MacAddr;

use super::super::{
    Instant,
    hash::{Seeded, Table},
};

/// The only state that anybody on an access link can make us keep: bounded, short-lived, and the
/// first to go (SEC-07).
#[derive(Debug)]
pub(super) struct Newcomers {
    by_address: Table<Ipv6Addr, Newcomer>,
    by_age: BTreeMap<(Instant, u64), Ipv6Addr>,
    number: u64,
}

#[derive(Debug)]
struct Newcomer {
    lla: MacAddr,
    /// Its place in `by_age`: when it is forgotten.
    age: (Instant, u64),
}

impl Newcomers {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            by_address: Table::with_hasher(Seeded(seed)),
            by_age: BTreeMap::new(),
            number: 0,
        }
    }

    /// How many are not forgotten at `now`.
    pub(super) fn len(&mut self, now: Instant) -> usize {
        while let Some(oldest) = self.by_age.first_entry() {
            if oldest.key().0 > now {
                break;
            }
            self.by_address.remove(&oldest.remove());
        }
        self.by_address.len()
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
        lla: MacAddr,
    ) {
        self.remove(address);
        self.number += 1;
        let age = (now + lifetime, self.number);
        self.by_age.insert(age, address);
        self.by_address.insert(address, Newcomer { lla, age });
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, address: Ipv6Addr) {
        if let Some(newcomer) = self.by_address.remove(&address) {
            self.by_age.remove(&newcomer.age);
        }
    }

    /// Forgets the oldest, if there is one.
    pub(super) fn remove_oldest(&mut self) -> bool {
        let Some((_, address)) = self.by_age.pop_first() else {
            return false;
        };
        self.by_address.remove(&address);
        true
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
            newcomers.insert(start, SECOND, address(n), LLA);
        }
        // Seen again: it is the youngest now.
        newcomers.insert(start, SECOND * 2, address(1), LLA);
        assert_eq!(newcomers.len(start), 3);
        assert!(newcomers.remove_oldest());
        assert_eq!(newcomers.owner(start, address(2)), None);
        assert_eq!(newcomers.owner(start, address(3)), Some(LLA));
        assert_eq!(newcomers.owner(start + SECOND, address(3)), None);
        assert_eq!(newcomers.len(start + SECOND), 1);
        assert_eq!(newcomers.len(start + SECOND * 2), 0);
        assert!(!newcomers.remove_oldest());
    }
}
