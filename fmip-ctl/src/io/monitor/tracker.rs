//! From neighbor entries that change to nodes that come and go.

use std::{collections::BTreeMap, net::Ipv6Addr};

use netlink_packet_route::neighbour::NeighbourState;

use super::Watched;
use crate::{
    proto::{InterfaceIndex, StationEvent},
    wire::MacAddr,
};

/// The watched nodes that were ever seen, at most one entry for each on each link.
#[derive(Debug)]
pub(super) struct Tracker {
    watched: Watched,
    nodes: BTreeMap<(InterfaceIndex, Ipv6Addr), Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Whose attachment was told; `None`: it was seen only.
    attached: Option<MacAddr>,
    /// Whether it answered lately. An entry that is removed after that is a link that went away;
    /// one of a node that nobody has talked to for long is removed to make room.
    confirmed: bool,
}

impl Tracker {
    pub(super) fn new(watched: Watched) -> Self {
        Self {
            watched,
            nodes: BTreeMap::new(),
        }
    }

    /// Other nodes, or other links; what is known of those that stay is kept.
    pub(super) fn watch(&mut self, watched: Watched) {
        self.watched = watched;
        let watched = &self.watched;
        self.nodes.retain(|(interface, address), _| {
            watched.interfaces.contains(interface) && watched.addresses.contains(address)
        });
    }

    /// Whether an address on a link is one of those that are watched.
    pub(super) fn watches(&self, interface: InterfaceIndex, address: Ipv6Addr) -> bool {
        self.watched.interfaces.contains(&interface) && self.watched.addresses.contains(&address)
    }

    /// The nodes that are or were there.
    pub(super) fn known(&self) -> Vec<(InterfaceIndex, Ipv6Addr)> {
        self.nodes.keys().copied().collect()
    }

    /// An entry has this state now.
    pub(super) fn update(
        &mut self,
        interface: InterfaceIndex,
        address: Ipv6Addr,
        state: NeighbourState,
        link_address: Option<MacAddr>,
    ) -> Option<StationEvent> {
        if !self.watches(interface, address) {
            return None;
        }
        match (state, link_address) {
            (NeighbourState::Reachable, Some(link_address)) => {
                let node = self.nodes.entry((interface, address)).or_default();
                node.confirmed = true;
                let before = node.attached.replace(link_address);
                (before != Some(link_address)).then_some(StationEvent::Attached {
                    interface,
                    address,
                    link_address,
                })
            }
            // Once it has been seen. Nobody who was never there can leave.
            (NeighbourState::Failed, _) => self
                .nodes
                .remove(&(interface, address))
                .map(|_| StationEvent::Departed { interface, address }),
            (NeighbourState::Stale, Some(_)) => {
                self.nodes
                    .entry((interface, address))
                    .or_default()
                    .confirmed = false;
                None
            }
            // It is being asked, or was not asked for.
            (NeighbourState::Delay | NeighbourState::Probe, Some(_)) => {
                self.nodes.entry((interface, address)).or_default();
                None
            }
            _ => None,
        }
    }

    /// An entry is not there any more.
    pub(super) fn remove(
        &mut self,
        interface: InterfaceIndex,
        address: Ipv6Addr,
    ) -> Option<StationEvent> {
        if !self.nodes.get(&(interface, address))?.confirmed {
            // It may still be asked for, and not answer.
            return None;
        }
        self.nodes.remove(&(interface, address));
        Some(StationEvent::Departed { interface, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: InterfaceIndex = 3;
    const FIRST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const SECOND: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn node() -> Ipv6Addr {
        "2001:db8:1::9".parse().unwrap()
    }

    fn tracker() -> Tracker {
        Tracker::new(Watched {
            interfaces: [LINK].into(),
            addresses: [node()].into(),
        })
    }

    fn attached(link_address: MacAddr) -> Option<StationEvent> {
        Some(StationEvent::Attached {
            interface: LINK,
            address: node(),
            link_address,
        })
    }

    fn departed() -> Option<StationEvent> {
        Some(StationEvent::Departed {
            interface: LINK,
            address: node(),
        })
    }

    /// Feeds one state after another, and gives what was told.
    fn tell(
        tracker: &mut Tracker,
        states: &[(NeighbourState, Option<MacAddr>)],
    ) -> Vec<Option<StationEvent>> {
        states
            .iter()
            .map(|(state, link_address)| tracker.update(LINK, node(), *state, *link_address))
            .collect()
    }

    #[test]
    fn a_node_comes_once_however_often_it_is_confirmed() {
        use NeighbourState::{Delay, Incomplete, Probe, Reachable, Stale};
        let mac = Some(FIRST);
        let told = tell(
            &mut tracker(),
            &[
                (Incomplete, None),
                (Reachable, mac),
                (Stale, mac),
                (Delay, mac),
                (Probe, mac),
                (Reachable, mac),
                (Reachable, Some(SECOND)),
            ],
        );
        let mut expected = vec![None; 7];
        expected[1] = attached(FIRST);
        expected[6] = attached(SECOND);
        assert_eq!(told, expected);
    }

    #[test]
    fn a_node_that_was_seen_and_does_not_answer_has_left_once() {
        use NeighbourState::{Failed, Incomplete, Probe, Reachable, Stale};
        for seen in [Reachable, Stale, Probe] {
            let mut tracker = tracker();
            tell(&mut tracker, &[(seen, Some(FIRST))]);
            let told = tell(
                &mut tracker,
                &[(Failed, None), (Incomplete, None), (Failed, None)],
            );
            assert_eq!(told, [departed(), None, None], "{seen:?}");
            assert_eq!(
                tell(&mut tracker, &[(Reachable, Some(FIRST))]),
                [attached(FIRST)]
            );
        }
    }

    #[test]
    fn a_node_that_was_never_there_does_not_leave() {
        use NeighbourState::{Failed, Incomplete};
        let told = tell(&mut tracker(), &[(Incomplete, None), (Failed, None)]);
        assert_eq!(told, [None, None]);
    }

    #[test]
    fn an_entry_removed_while_it_was_confirmed_is_a_departure() {
        use NeighbourState::{Failed, Reachable, Stale};
        let mut tracker = tracker();
        assert_eq!(tracker.remove(LINK, node()), None);
        tell(&mut tracker, &[(Reachable, Some(FIRST))]);
        assert_eq!(tracker.remove(LINK, node()), departed());
        assert_eq!(tracker.remove(LINK, node()), None);
        // Removed to make room: whether it has left shows when it is asked again.
        tell(
            &mut tracker,
            &[(Reachable, Some(FIRST)), (Stale, Some(FIRST))],
        );
        assert_eq!(tracker.remove(LINK, node()), None);
        assert_eq!(tell(&mut tracker, &[(Failed, None)]), [departed()]);
    }

    #[test]
    fn others_are_not_watched() {
        use NeighbourState::Reachable;
        let mut tracker = tracker();
        let other = "2001:db8:1::8".parse().unwrap();
        assert_eq!(tracker.update(LINK, other, Reachable, Some(FIRST)), None);
        assert_eq!(tracker.update(4, node(), Reachable, Some(FIRST)), None);
        assert!(tracker.known().is_empty());
        // Until they are.
        tracker.watch(Watched {
            interfaces: [LINK].into(),
            addresses: [other].into(),
        });
        assert!(
            tracker
                .update(LINK, other, Reachable, Some(FIRST))
                .is_some()
        );
        tracker.watch(Watched::default());
        assert!(tracker.known().is_empty());
    }
}
