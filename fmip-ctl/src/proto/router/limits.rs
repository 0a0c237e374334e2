//! How much others can make a router remember and do (SEC-07).

use std::{collections::BTreeMap, net::Ipv6Addr};

use crate::wire::MacAddr;

use super::super::{
    Instant, InterfaceIndex, Limits,
    hash::{Seeded, Table},
};
use super::AccessRouter;

/// Handovers by neighbor and by access link, both roles together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    peers: BTreeMap<Ipv6Addr, usize>,
    links: BTreeMap<InterfaceIndex, usize>,
}

impl Tally {
    pub(super) fn add(&mut self, peer: Option<Ipv6Addr>, link: Option<InterfaceIndex>) {
        if let Some(peer) = peer {
            *self.peers.entry(peer).or_default() += 1;
        }
        if let Some(link) = link {
            *self.links.entry(link).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, peer: Option<Ipv6Addr>, link: Option<InterfaceIndex>) {
        if let Some(peer) = peer {
            decrement(&mut self.peers, peer);
        }
        if let Some(link) = link {
            decrement(&mut self.links, link);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.links.is_empty()
    }

    pub(super) fn peer_is_full(&self, peer: Ipv6Addr, limits: &Limits) -> bool {
        self.peers.get(&peer).copied().unwrap_or(0) >= limits.max_per_peer
    }

    pub(super) fn link_is_full(&self, link: InterfaceIndex, limits: &Limits) -> bool {
        self.links.get(&link).copied().unwrap_or(0) >= limits.max_per_link
    }
}

fn decrement<K: Ord + Copy>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl AccessRouter {
    /// Whether the sender of this keeps within what one may send, before anything is spent on it.
    pub(super) fn is_within_rate(
        &mut self,
        now: Instant,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: &[u8],
    ) -> bool {
        let Limits {
            signalling_per_source,
            max_per_peer,
            ..
        } = self.config.limits;
        let address = || {
            Some(Ipv6Addr::from(
                <[u8; 16]>::try_from(bytes.get(8..24)?).ok()?,
            ))
        };
        let (source, per_second) = if self.access_link(interface).is_some() {
            let source = Source::Station(interface, link_source);
            (source, signalling_per_source)
        } else {
            let address = address().unwrap_or(Ipv6Addr::UNSPECIFIED);
            // A neighbor speaks for as many mobile nodes as it may hand over.
            let per_second = match self.neighborhood.is_peer(address) {
                true => u32::try_from(max_per_peer)
                    .unwrap_or(u32::MAX)
                    .max(signalling_per_source),
                false => signalling_per_source,
            };
            (Source::Address(address), per_second)
        };
        self.rate.admits(now, source, per_second)
    }
}

/// Who sends. On an access link an address is made up at will with every packet; there it is the
/// frame's source, which the link layer may vouch for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Station(InterfaceIndex, MacAddr),
    Address(Ipv6Addr),
}

/// Sources that are remembered at one time.
const MAX_SOURCES: usize = 4096;

/// A token bucket for each source. The source that was quiet for the longest time is forgotten
/// first; it has the full allowance when it comes again.
#[derive(Debug)]
pub(super) struct Rate {
    buckets: Table<Source, Bucket>,
    by_age: BTreeMap<u64, Source>,
    uses: u64,
}

#[derive(Debug)]
struct Bucket {
    /// In parts of a second's worth of one message: nanoseconds.
    tokens: u64,
    filled: Instant,
    last_use: u64,
}

const TOKEN: u64 = 1_000_000_000;

impl Rate {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            buckets: Table::with_hasher(Seeded(seed)),
            by_age: BTreeMap::new(),
            uses: 0,
        }
    }

    /// Whether `source` may send another message, at `per_second` and as many at once.
    pub(super) fn admits(&mut self, now: Instant, source: Source, per_second: u32) -> bool {
        let full = u64::from(per_second) * TOKEN;
        self.uses += 1;
        let bucket = self.buckets.entry(source).or_insert(Bucket {
            tokens: full,
            filled: now,
            last_use: 0,
        });
        self.by_age.remove(&bucket.last_use);
        bucket.last_use = self.uses;
        self.by_age.insert(self.uses, source);

        let elapsed = u64::try_from((now - bucket.filled).as_nanos()).unwrap_or(u64::MAX);
        let gained = elapsed.saturating_mul(per_second.into());
        bucket.tokens = bucket.tokens.saturating_add(gained).min(full);
        bucket.filled = now;
        let admitted = bucket.tokens >= TOKEN;
        if admitted {
            bucket.tokens -= TOKEN;
        }
        if self.buckets.len() > MAX_SOURCES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.buckets.remove(&oldest);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(n: u32) -> Source {
        Source::Address(Ipv6Addr::from(u128::from(n)))
    }

    #[test]
    fn a_source_has_its_rate_and_as_much_at_once() {
        let mut rate = Rate::new(1);
        let start = Instant::from_nanos(5);
        let admitted =
            |rate: &mut Rate, at| (0..100).filter(|_| rate.admits(at, source(1), 10)).count();
        assert_eq!(admitted(&mut rate, start), 10);
        assert_eq!(admitted(&mut rate, start + Duration::from_millis(99)), 0);
        assert_eq!(admitted(&mut rate, start + Duration::from_millis(100)), 1);
        assert_eq!(admitted(&mut rate, start + Duration::from_secs(3600)), 10);
        // Others have their own.
        assert!(rate.admits(start + Duration::from_secs(3600), source(2), 10));
    }

    #[test]
    fn the_source_that_was_quiet_longest_is_forgotten_first() {
        let mut rate = Rate::new(1);
        let now = Instant::default();
        assert!(rate.admits(now, source(0), 1));
        assert!(rate.admits(now, source(1), 1));
        assert!(!rate.admits(now, source(0), 1));
        for n in 0..MAX_SOURCES - 1 {
            rate.admits(now, source(10 + n as u32), 1);
        }
        assert_eq!(rate.buckets.len(), MAX_SOURCES);
        assert_eq!(rate.by_age.len(), MAX_SOURCES);
        assert!(!rate.admits(now, source(0), 1), "it spoke after 1");
        assert!(rate.admits(now, source(1), 1), "it was forgotten");
        assert_eq!(rate.buckets.len(), MAX_SOURCES);
        assert_eq!(rate.by_age.len(), MAX_SOURCES);
    }
}
