//! Who watches what, and the changes that wait to be fetched: of every destination the last one.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv6Addr,
};

use super::{Change, Way, table::News};

/// Bounded by the number of destinations, however slow the reader and however fast the changes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    watched: BTreeMap<Ipv6Addr, Watched>,
    changed: VecDeque<Ipv6Addr>,
    watches: u64,
}

#[derive(Debug)]
struct Watched {
    references: usize,
    /// Tells this watch from an earlier one of the same destination.
    watch: u64,
    way: Option<Way>,
    told: Option<Way>,
    queued: bool,
}

impl Outbox {
    /// Counts another watcher; the number of the watch if it is the first.
    pub(super) fn watch(&mut self, destination: Ipv6Addr) -> Option<u64> {
        if let Some(watched) = self.watched.get_mut(&destination) {
            watched.references += 1;
            return None;
        }
        self.watches += 1;
        self.watched.insert(
            destination,
            Watched {
                references: 1,
                watch: self.watches,
                way: None,
                told: None,
                queued: false,
            },
        );
        Some(self.watches)
    }

    /// Counts one watcher less; whether it was the last.
    pub(super) fn unwatch(&mut self, destination: Ipv6Addr) -> bool {
        let Some(watched) = self.watched.get_mut(&destination) else {
            return false;
        };
        watched.references -= 1;
        let last = watched.references == 0;
        if last {
            self.watched.remove(&destination);
        }
        last
    }

    /// What was last fetched for a destination.
    pub(super) fn told(&self, destination: Ipv6Addr) -> Option<Way> {
        self.watched.get(&destination)?.told
    }

    /// Whether there is now something to fetch that was not there before.
    pub(super) fn put(&mut self, news: News) -> bool {
        let Some(watched) = self.watched.get_mut(&news.destination) else {
            return false;
        };
        // Somebody stopped watching, and another began, while it was on its way.
        if watched.watch != news.watch {
            return false;
        }
        watched.way = news.way;
        if watched.queued || watched.way == watched.told {
            return false;
        }
        watched.queued = true;
        self.changed.push_back(news.destination);
        true
    }

    /// The next change: what is true now, if it is not what was fetched before.
    pub(super) fn fetch(&mut self) -> Option<Change> {
        while let Some(destination) = self.changed.pop_front() {
            let Some(watched) = self.watched.get_mut(&destination) else {
                continue;
            };
            if std::mem::take(&mut watched.queued) && watched.way != watched.told {
                watched.told = watched.way;
                return Some(Change {
                    destination,
                    way: watched.way,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    fn destination() -> Ipv6Addr {
        "2001:db8:9::1".parse().unwrap()
    }

    fn way(mtu: u32) -> Option<Way> {
        Some(Way {
            interface: 2,
            gateway: "fe80::1".parse().unwrap(),
            link_destination: MacAddr([2, 0, 0, 0, 0, 1]),
            link_source: MacAddr([2, 0, 0, 0, 0, 2]),
            mtu,
        })
    }

    fn news(watch: u64, way: Option<Way>) -> News {
        News {
            destination: destination(),
            watch,
            way,
        }
    }

    fn change(way: Option<Way>) -> Option<Change> {
        Some(Change {
            destination: destination(),
            way,
        })
    }

    #[test]
    fn a_destination_is_watched_from_the_first_watcher_to_the_last() {
        let mut outbox = Outbox::default();
        assert!(!outbox.unwatch(destination()));
        let first = outbox.watch(destination());
        assert!(first.is_some());
        assert_eq!(outbox.watch(destination()), None);
        assert!(!outbox.unwatch(destination()));
        assert!(outbox.unwatch(destination()));
        assert!(!outbox.unwatch(destination()));
        let second = outbox.watch(destination());
        assert!(second.is_some() && second != first);
    }

    #[test]
    fn a_reader_that_is_slow_gets_the_last_way_and_none_that_it_has() {
        let mut outbox = Outbox::default();
        let watch = outbox.watch(destination()).unwrap();
        assert!(!outbox.put(news(watch, None)), "it begins without a way");
        assert!(outbox.put(news(watch, way(1_500))));
        assert!(!outbox.put(news(watch, way(1_400))), "one waits already");
        assert_eq!(outbox.told(destination()), None);
        assert_eq!(outbox.fetch(), change(way(1_400)));
        assert_eq!(outbox.told(destination()), way(1_400));
        assert_eq!(outbox.fetch(), None);
        // There and back again.
        assert!(outbox.put(news(watch, None)));
        assert!(!outbox.put(news(watch, way(1_400))));
        assert_eq!(outbox.fetch(), None);
        assert!(outbox.put(news(watch, None)));
        assert_eq!(outbox.fetch(), change(None));
    }

    #[test]
    fn what_an_earlier_watch_would_have_been_told_is_not_told_to_a_later_one() {
        let mut outbox = Outbox::default();
        let before = outbox.watch(destination()).unwrap();
        assert!(outbox.put(news(before, way(1_500))));
        assert!(outbox.unwatch(destination()));
        assert_eq!(outbox.fetch(), None);
        assert!(!outbox.put(news(before, way(1_500))));
        let watch = outbox.watch(destination()).unwrap();
        assert!(!outbox.put(news(before, way(1_400))));
        assert_eq!(outbox.fetch(), None);
        assert!(outbox.put(news(watch, way(1_500))));
        assert_eq!(outbox.fetch(), change(way(1_500)));
    }
}
