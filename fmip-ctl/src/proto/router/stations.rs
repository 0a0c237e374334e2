//! Mobile nodes on our links, as the link layer sees them: those whose packets are to be kept
//! should they leave without a word.

use std::{net::Ipv6Addr, time::Duration};

use tracing::debug;

use crate::wire::MacAddr;

use super::super::{
    Command, Departure, Instant, InterfaceIndex, Reason, StationEvent, nar,
    par::{self, Handover},
};
use super::{AccessRouter, HandoverId};

/// A mobile node on a link of ours.
#[derive(Copy, Clone, Debug)]
pub(super) struct Station {
    interface: InterfaceIndex,
    link_address: MacAddr,
    /// Whether copies of its packets are made that no handover has taken over.
    copied: bool,
}

impl Station {
    pub(super) fn interface(&self) -> InterfaceIndex {
        self.interface
    }

    pub(super) fn link_address(&self) -> MacAddr {
        self.link_address
    }
}

impl AccessRouter {
    /// Mobile nodes that come to a link of ours or leave it. Only those that have a key are looked
    /// at: nobody else could tell us where to send what is kept.
    pub(super) fn handle_station(&mut self, now: Instant, event: StationEvent) {
        let (StationEvent::Attached {
            interface, address, ..
        }
        | StationEvent::Departed { interface, address }) = event;
        let Some(link) = self.access_link(interface) else {
            return self.counters.count(Reason::Unexpected);
        };
        if link.departure == Departure::Ignore {
            return;
        }
        if !link.prefix.contains(address) {
            return self.counters.count(Reason::PcoaNotOurs);
        }
        if self.keys.get(address).is_none() {
            return self.counters.count(Reason::UnknownKey);
        }
        match event {
            StationEvent::Attached { link_address, .. } => {
                self.station_attached(now, interface, address, link_address);
            }
            StationEvent::Departed { .. } => self.station_departed(now, interface, address),
        }
    }

    fn station_attached(
        &mut self,
        now: Instant,
        interface: InterfaceIndex,
        address: Ipv6Addr,
        link_address: MacAddr,
    ) {
        let new = Station {
            interface,
            link_address,
            copied: false,
        };
        let station = self.stations.entry(address).or_insert(new);
        let moved = station.link_address != link_address;
        station.link_address = link_address;
        if moved {
            // Not in place of the old ones: should the new ones fail, nobody would own those.
            self.stop_copying(address);
        }
        self.drive_par(now, address, par::Input::Attached);
        self.start_copying(address);
    }

    fn station_departed(&mut self, now: Instant, interface: InterfaceIndex, address: Ipv6Addr) {
        let Some(lifetime) = self.hold_lifetime(interface) else {
            return;
        };
        let station = self.stations.remove(&address);
        let arrived = self.arriving.get(address);
        if arrived.is_some_and(|handover| handover.is_awaited()) {
            return; // It was here before: what comes for it is held already.
        }
        let arrived = arrived.map(|handover| handover.announcement().lla);
        let requested = || Some(self.departing.get(address)?.request()?.lla);
        let link_address = station.map(|station| station.link_address);
        let Some(link_address) = link_address.or_else(requested).or(arrived) else {
            debug!(%address, "a mobile node left that was not known to be here");
            return self.counters.count(Reason::UnknownStation);
        };
        let copied = station.is_some_and(|station| station.copied);
        self.copies -= usize::from(copied);
        if !self.departing.contains(address) {
            // One that came by a handover has the place of that.
            let full = self.is_full() || self.tally.link_is_full(interface, &self.config.limits);
            if arrived.is_none() && full {
                self.counters.count(Reason::Resources);
                if copied {
                    let command = Command::RemoveBuffer { address };
                    self.outbox.command(HandoverId::Par(address), command);
                }
                return;
            }
            let handover = Handover::new(address, interface, link_address);
            self.admit_par(address, handover);
        }
        if copied && let Some(handover) = self.departing.get_mut(address) {
            handover.adopt_copies(link_address);
        }
        self.clear_arrival(now, address);
        let departed = par::Input::Departed {
            link_address,
            lifetime,
        };
        self.drive_par(now, address, departed);
    }

    /// Ends the handover that brought `address` here, so that its packets can be held; not while
    /// its mobile node is still expected. What that has not got yet stays held, for the handover that it
    /// leaves with.
    pub(super) fn clear_arrival(&mut self, now: Instant, address: Ipv6Addr) -> bool {
        let awaited = |handover: &nar::Handover| handover.is_awaited();
        if self.arriving.get(address).is_some_and(awaited) {
            return false;
        }
        self.take_leftover(now, address);
        true
    }

    /// How long packets are held for a mobile node that left this link without a word.
    pub(super) fn hold_lifetime(&self, interface: InterfaceIndex) -> Option<Duration> {
        match self.access_link(interface)?.departure {
            Departure::Ignore => None,
            Departure::Hold { lifetime } | Departure::Copy { lifetime, .. } => Some(lifetime),
        }
    }

    /// Begins to copy the packets of a mobile node that is on its link, if that is the link's
    /// policy and nothing else is done with them.
    pub(super) fn start_copying(&mut self, address: Ipv6Addr) {
        let busy = self.departing.contains(address) || self.arriving.contains(address);
        let Some(station) = self.stations.get_mut(&address).filter(|_| !busy) else {
            return;
        };
        let Station {
            interface,
            link_address,
            copied,
        } = *station;
        let link = self
            .config
            .access
            .iter()
            .find(|link| link.interface == interface);
        let Some(Departure::Copy { window, .. }) = link.map(|link| link.departure) else {
            return;
        };
        if copied {
            return;
        }
        if self.copies >= self.config.limits.max_handovers {
            return self.counters.count(Reason::Resources);
        }
        station.copied = true;
        self.copies += 1;
        let command = Command::StartCopying {
            address,
            interface,
            link_address,
            window,
        };
        self.outbox.command(HandoverId::Par(address), command);
    }

    /// Ends the copies of one mobile node's packets.
    pub(super) fn stop_copying(&mut self, address: Ipv6Addr) {
        if self.take_copies(address).is_none() {
            return;
        }
        let is_start = |command: &Command| matches!(command, Command::StartCopying { address: of, .. } if *of == address);
        // What nobody heard of yet needs no undoing.
        if !self.outbox.take_back(is_start) {
            let command = Command::RemoveBuffer { address };
            self.outbox.command(HandoverId::Par(address), command);
        }
    }

    /// Takes the copies away from a mobile node on its link, for a handover; gives its link-layer
    /// address.
    pub(super) fn take_copies(&mut self, address: Ipv6Addr) -> Option<MacAddr> {
        let station = self.stations.get_mut(&address)?;
        if !std::mem::take(&mut station.copied) {
            return None;
        }
        self.copies -= 1;
        Some(station.link_address)
    }

    /// Gives the copies back that a handover made nothing of.
    pub(super) fn give_copies_back(&mut self, address: Ipv6Addr) {
        match self.stations.get_mut(&address) {
            Some(station) => {
                station.copied = true;
                self.copies += 1;
            }
            None => {
                let command = Command::RemoveBuffer { address };
                self.outbox.command(HandoverId::Par(address), command);
            }
        }
    }

    /// The mobile node is somewhere else, as it says itself.
    pub(super) fn forget_station(&mut self, address: Ipv6Addr) {
        self.stop_copying(address);
        self.stations.remove(&address);
    }

    /// The copies of a mobile node's packets could not be begun.
    pub(super) fn copying_failed(&mut self, address: Ipv6Addr) {
        self.take_copies(address);
    }
}
