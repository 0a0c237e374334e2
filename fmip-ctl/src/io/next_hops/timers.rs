//! What is to be asked again without anybody telling, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use tokio::time::Instant;

use super::messages::Hop;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Again {
    /// All interfaces and rules.
    Everything,
    SourceRoutes,
    Hop(Hop),
    Route(Ipv6Addr),
}

/// One time for each.
#[derive(Debug, Default)]
pub(super) struct Timers {
    times: BTreeMap<Again, Instant>,
    order: BTreeSet<(Instant, Again)>,
}

impl Timers {
    /// Sets the time of one, or moves it.
    pub(super) fn set(&mut self, again: Again, at: Instant) {
        if let Some(before) = self.times.insert(again, at) {
            self.order.remove(&(before, again));
        }
        self.order.insert((at, again));
    }

    /// The first time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// One whose time has come.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Again> {
        let (at, again) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        self.times.remove(&again);
        Some(again)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_comes_once_at_the_time_that_was_set_last() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let route = Again::Route("2001:db8::1".parse().unwrap());
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Again::Everything, at(2));
        timers.set(route, at(1));
        timers.set(route, at(3));
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.poll(at(1)), None);
        assert_eq!(timers.poll(at(3)), Some(Again::Everything));
        assert_eq!(timers.poll(at(3)), Some(route));
        assert_eq!(timers.poll(at(9)), None);
    }
}
