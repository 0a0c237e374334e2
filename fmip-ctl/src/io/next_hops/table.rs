//! What depends on what: destinations on routes, routes on neighbors and interfaces.
//!
//! The kernel's messages are never believed, they only put what is known in question; the answer
//! comes from asking. So it does not matter in which order messages and answers arrive, nor
//! whether ten messages or one were sent for the same thing: a message that says what is known
//! already costs a look-up, and what is in question already is not put in question again.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv6Addr,
};

use super::{
    Way,
    messages::{Entry, Hop, Interface, Notice, Prefix, Route, SourceRoute},
    timers::Again,
};
use crate::proto::InterfaceIndex;

/// A way that is not the one that was last given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) destination: Ipv6Addr,
    /// The number that the destination was watched with.
    pub(super) watch: u64,
    pub(super) way: Option<Way>,
}

/// The watched destinations, what is known of their ways, and what must be asked.
///
/// To be driven so: `watch`, `unwatch` and `handle`; then for each that `poll_*` gives, ask the
/// kernel and `set_*` the answer; then `poll_news`.
#[derive(Debug, Default)]
pub(super) struct Table {
    destinations: BTreeMap<Ipv6Addr, Destination>,
    hops: BTreeMap<Hop, Neighbor>,
    interfaces: BTreeMap<InterfaceIndex, Interface>,
    /// Where a rule looks at more of a packet than where it goes.
    selective: Vec<Prefix>,
    /// The routes for some sources alone; `None`: not known yet.
    source_routes: Option<BTreeSet<SourceRoute>>,
    /// Some of them may not be known.
    source_routes_due: bool,

    /// The destinations whose route is not in question. What a message puts in question is taken
    /// out, so that a thousand messages about one prefix cost what one does.
    settled: BTreeSet<Ipv6Addr>,
    /// Those that have just been watched: somebody waits for them.
    fresh: VecDeque<Ipv6Addr>,
    /// Those in question, for the next wave,
    doubtful: BTreeSet<Ipv6Addr>,
    /// and those of this one.
    wave: VecDeque<Ipv6Addr>,
    due_hops: BTreeSet<Hop>,
    due_interfaces: BTreeSet<InterfaceIndex>,
    rules_due: bool,
    everything_due: bool,
    /// Hops that nothing leads to any more.
    released: Vec<Hop>,
    /// The destinations whose way may differ from the one that was given out.
    touched: BTreeSet<Ipv6Addr>,
}

#[derive(Debug)]
struct Destination {
    watch: u64,
    route: Option<Route>,
    told: Option<Way>,
}

#[derive(Debug, Default)]
struct Neighbor {
    destinations: BTreeSet<Ipv6Addr>,
    entry: Option<Entry>,
}

impl Table {
    /// A table that knows nothing yet, and so asks for all interfaces and rules first.
    pub(super) fn new() -> Self {
        Self {
            selective: vec![Prefix::ALL],
            everything_due: true,
            rules_due: true,
            source_routes_due: true,
            ..Self::default()
        }
    }

    /// Begins to watch. Once for each destination until it is unwatched.
    pub(super) fn watch(&mut self, destination: Ipv6Addr, watch: u64) {
        let before = self.destinations.insert(
            destination,
            Destination {
                watch,
                route: None,
                told: None,
            },
        );
        debug_assert!(before.is_none(), "watches are counted before");
        self.fresh.push_back(destination);
    }

    pub(super) fn unwatch(&mut self, destination: Ipv6Addr) {
        self.settled.remove(&destination);
        self.doubtful.remove(&destination);
        self.touched.remove(&destination);
        if let Some(gone) = self.destinations.remove(&destination)
            && let Some(route) = gone.route
        {
            self.leave(route.hop, destination);
        }
    }

    /// The kernel tells something.
    pub(super) fn handle(&mut self, notice: &Notice) {
        match notice {
            Notice::Routes(prefix) => self.doubt(*prefix),
            Notice::SourceRoute(route, there) => {
                match &mut self.source_routes {
                    Some(routes) if *there => {
                        routes.insert(*route);
                    }
                    Some(routes) => {
                        routes.remove(route);
                    }
                    None => {}
                }
                self.doubt(route.destination);
            }
            Notice::Neighbor(hop, entry) => {
                // An entry that is confirmed again and again says nothing new.
                let known = |entry: &Entry| (entry.link_address, entry.keeper);
                if let Some(neighbor) = self.hops.get(hop)
                    && neighbor.entry.as_ref().map(known) != entry.as_ref().map(known)
                {
                    self.due_hops.insert(*hop);
                }
            }
            Notice::Interface(index, interface) => {
                if interface.is_none() || self.interfaces.get(index) != interface.as_ref() {
                    self.due_interfaces.insert(*index);
                }
            }
            Notice::Rules => self.rules_due = true,
            Notice::Overrun => {
                self.ask_everything();
                self.source_routes_due = true;
                self.doubt(Prefix::ALL);
                self.due_hops.extend(self.hops.keys());
            }
        }
    }

    /// Whether there is something to ask that must not wait for the next wave.
    pub(super) fn urgent(&self) -> bool {
        self.everything_due
            || self.rules_due
            || !self.due_interfaces.is_empty()
            || !self.due_hops.is_empty()
            || !self.fresh.is_empty()
            || !self.released.is_empty()
    }

    /// Whether all interfaces are to be asked for.
    pub(super) fn poll_all_interfaces(&mut self) -> bool {
        let due = std::mem::take(&mut self.everything_due);
        if due {
            self.due_interfaces.clear();
        }
        due
    }

    pub(super) fn poll_interface(&mut self) -> Option<InterfaceIndex> {
        self.due_interfaces.pop_first()
    }

    pub(super) fn poll_rules(&mut self) -> bool {
        std::mem::take(&mut self.rules_due)
    }

    /// Whether the routes for some sources alone are to be asked for. This is none of what is
    /// urgent: where there are many routes it takes seconds.
    pub(super) fn poll_source_routes(&mut self) -> bool {
        std::mem::take(&mut self.source_routes_due)
    }

    pub(super) fn poll_hop(&mut self) -> Option<Hop> {
        self.due_hops.pop_first()
    }

    pub(super) fn poll_released(&mut self) -> Option<Hop> {
        let hop = self.released.pop()?;
        // Somebody uses it again.
        if self.hops.contains_key(&hop) {
            return self.poll_released();
        }
        Some(hop)
    }

    /// A destination whose route is to be asked for at once.
    pub(super) fn poll_fresh(&mut self) -> Option<Ipv6Addr> {
        let destination = self.fresh.pop_front()?;
        if !self.ask_route(destination) {
            return self.poll_fresh();
        }
        Some(destination)
    }

    /// Whether routes are in question.
    pub(super) fn doubts(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// Whether a wave is under way.
    pub(super) fn wave(&self) -> bool {
        !self.wave.is_empty()
    }

    /// Makes the destinations in question the next wave.
    pub(super) fn start_wave(&mut self) {
        self.wave.extend(std::mem::take(&mut self.doubtful));
    }

    /// A destination of this wave, whose route is to be asked for.
    pub(super) fn poll_wave(&mut self) -> Option<Ipv6Addr> {
        let destination = self.wave.pop_front()?;
        if !self.ask_route(destination) {
            return self.poll_wave();
        }
        Some(destination)
    }

    /// What is told from now on may be newer than the answer.
    fn ask_route(&mut self, destination: Ipv6Addr) -> bool {
        let watched = self.destinations.contains_key(&destination);
        if watched {
            self.settled.insert(destination);
        }
        watched
    }

    /// Whether a rule or a route looks at more of a packet for this destination than where it goes,
    /// so that no single hop is true for all packets; or it is not known whether one does.
    pub(super) fn selective(&self, destination: Ipv6Addr) -> bool {
        let by_rule = || {
            self.selective
                .iter()
                .any(|prefix| prefix.contains(destination))
        };
        let by_route = |routes: &BTreeSet<SourceRoute>| {
            !routes.is_empty()
                && (0..=128).any(|length| {
                    let prefix = Prefix::new(destination, length);
                    routes
                        .range(SourceRoute::first_of(prefix)..)
                        .next()
                        .is_some_and(|route| route.destination == prefix)
                })
        };
        self.source_routes.as_ref().is_none_or(by_route) || by_rule()
    }

    /// All routes for some sources alone.
    pub(super) fn set_source_routes(&mut self, routes: BTreeSet<SourceRoute>) {
        let before = self.source_routes.replace(routes);
        if before != self.source_routes {
            self.doubt(Prefix::ALL);
        }
    }

    pub(super) fn set_route(&mut self, destination: Ipv6Addr, route: Option<Route>) {
        let Some(known) = self.destinations.get_mut(&destination) else {
            return;
        };
        let before = std::mem::replace(&mut known.route, route);
        if before == route {
            return;
        }
        self.touched.insert(destination);
        let [old, new] = [before, route].map(|route| route.map(|route| route.hop));
        if old == new {
            return;
        }
        if let Some(hop) = new {
            let neighbor = self.hops.entry(hop).or_default();
            if neighbor.destinations.is_empty() {
                self.due_hops.insert(hop);
            }
            neighbor.destinations.insert(destination);
        }
        if let Some(hop) = old {
            self.leave(hop, destination);
        }
    }

    fn leave(&mut self, hop: Hop, destination: Ipv6Addr) {
        if let Some(neighbor) = self.hops.get_mut(&hop) {
            neighbor.destinations.remove(&destination);
            if neighbor.destinations.is_empty() {
                self.hops.remove(&hop);
                self.due_hops.remove(&hop);
                self.released.push(hop);
            }
        }
    }

    /// All hops that anything leads to.
    pub(super) fn hops(&self) -> impl Iterator<Item = Hop> {
        self.hops.keys().copied()
    }

    pub(super) fn set_neighbor(&mut self, hop: Hop, entry: Option<Entry>) {
        let Some(neighbor) = self.hops.get_mut(&hop) else {
            return;
        };
        let before = std::mem::replace(&mut neighbor.entry, entry);
        let [old, new] = [before, entry].map(|entry| entry?.link_address);
        if old == new {
            return;
        }
        self.touched.extend(&neighbor.destinations);
        // A node that is no router goes over to another default router when one does not answer
        // any more, and no message tells it.
        if old.is_some() && new.is_none() {
            let destinations: Vec<_> = neighbor.destinations.iter().copied().collect();
            for destination in destinations {
                self.doubt_one(destination);
            }
        }
    }

    pub(super) fn set_interface(&mut self, index: InterfaceIndex, interface: Option<Interface>) {
        let before = match interface {
            Some(interface) => self.interfaces.insert(index, interface),
            None => self.interfaces.remove(&index),
        };
        if before == interface {
            return;
        }
        let [old, new] = [before, interface].map(|known| known.is_some_and(|known| known.usable));
        let here: Vec<Ipv6Addr> = self
            .hops
            .range(Hop::first_of(index)..=Hop::last_of(index))
            .flat_map(|(_, neighbor)| neighbor.destinations.iter().copied())
            .collect();
        self.touched.extend(&here);
        match (old, new) {
            // Where a route of another interface gives way to one of an interface whose carrier is
            // back (ignore_routes_with_linkdown), no route changed and none is told.
            (false, true) => self.doubt(Prefix::ALL),
            (true, false) => {
                for destination in here {
                    self.doubt_one(destination);
                }
            }
            _ => {}
        }
    }

    /// All interfaces that there are.
    pub(super) fn set_interfaces(&mut self, interfaces: BTreeMap<InterfaceIndex, Interface>) {
        let gone: Vec<InterfaceIndex> = self
            .interfaces
            .keys()
            .filter(|index| !interfaces.contains_key(index))
            .copied()
            .collect();
        for index in gone {
            self.set_interface(index, None);
        }
        for (index, interface) in interfaces {
            self.set_interface(index, Some(interface));
        }
    }

    /// The prefixes for which rules look at more than the destination; `None` if it is not known.
    pub(super) fn set_rules(&mut self, selective: Option<Vec<Prefix>>) {
        self.selective = selective.unwrap_or_else(|| vec![Prefix::ALL]);
        // Whichever rule it was, it may choose another table.
        self.doubt(Prefix::ALL);
    }

    /// Puts the routes of all destinations with a prefix in question.
    fn doubt(&mut self, prefix: Prefix) {
        if prefix == Prefix::ALL {
            self.doubtful.append(&mut self.settled);
            return;
        }
        let inside: Vec<Ipv6Addr> = self.settled.range(prefix.range()).copied().collect();
        for destination in inside {
            self.doubt_one(destination);
        }
    }

    /// Puts the route of a destination in question, if it is settled.
    fn doubt_one(&mut self, destination: Ipv6Addr) {
        if self.settled.remove(&destination) {
            self.doubtful.insert(destination);
        }
    }

    /// Has all interfaces and rules be asked for.
    fn ask_everything(&mut self) {
        self.everything_due = true;
        self.rules_due = true;
    }

    /// Has something be asked for again, if it is still of interest.
    pub(super) fn doubt_again(&mut self, again: Again) {
        match again {
            Again::Everything => self.ask_everything(),
            Again::SourceRoutes => self.source_routes_due = true,
            Again::Route(destination) => self.doubt_one(destination),
            Again::Hop(hop) => {
                if self.hops.contains_key(&hop) {
                    self.due_hops.insert(hop);
                }
            }
        }
    }

    /// Nothing can be kept true any more: all ways are forgotten.
    pub(super) fn distrust(&mut self) {
        let all: Vec<Ipv6Addr> = self.destinations.keys().copied().collect();
        for destination in all {
            self.set_route(destination, None);
        }
    }

    /// The ways that differ from those given out before. A way whose neighbor or interface is still
    /// to be asked for is not among them: a route that moves makes one change, not two.
    pub(super) fn poll_news(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let mut later = BTreeSet::new();
        for destination in std::mem::take(&mut self.touched) {
            let Some(known) = self.destinations.get(&destination) else {
                continue;
            };
            if let Some(Route { hop, .. }) = known.route
                && (self.due_hops.contains(&hop) || self.due_interfaces.contains(&hop.interface))
            {
                later.insert(destination);
                continue;
            }
            let way = known.route.and_then(|route| self.way(route));
            if way == known.told {
                continue;
            }
            if let Some(known) = self.destinations.get_mut(&destination) {
                known.told = way;
                news.push(News {
                    destination,
                    watch: known.watch,
                    way,
                });
            }
        }
        self.touched = later;
        news
    }

    fn way(&self, route: Route) -> Option<Way> {
        let interface = self.interfaces.get(&route.hop.interface)?;
        if !interface.usable {
            return None;
        }
        Some(Way {
            interface: route.hop.interface,
            gateway: route.hop.address,
            link_destination: self.hops.get(&route.hop)?.entry?.link_address?,
            link_source: interface.link_address?,
            mtu: route
                .mtu
                .map_or(interface.mtu, |mtu| mtu.min(interface.mtu)),
        })
    }
}
