//! Another configuration while the router runs.

use std::net::Ipv6Addr;

use super::super::{Departure, Instant, RouterConfig, nar, neighborhood::Neighborhood, par};
use super::AccessRouter;

impl AccessRouter {
    /// Takes another configuration. What is under way goes on as it began, except that handovers
    /// end whose key, link or neighboring router is gone. A mobile node that keeps its key goes on
    /// counting its sequence numbers.
    pub fn reload(&mut self, now: Instant, mut config: RouterConfig) {
        self.neighborhood = Neighborhood::new(&config.access, &config.peers);
        self.keys.replace(std::mem::take(&mut config.mobile_nodes));
        self.config = config;

        for pcoa in self.departing.addresses() {
            if !self.may_go_on(pcoa) {
                self.drive_par(now, pcoa, par::Input::Revoked);
            }
        }
        for address in self.arriving.addresses() {
            let Some(handover) = self.arriving.get(address) else {
                continue;
            };
            let announcement = handover.announcement();
            let link = self.access_link(announcement.interface);
            if link.is_none() || !self.neighborhood.is_peer(announcement.peer) {
                self.drive_nar(now, address, nar::Input::Shutdown);
            }
        }
        let mut stations: Vec<_> = self.stations.keys().copied().collect();
        stations.sort_unstable();
        for address in stations {
            self.review_station(address);
        }
    }

    fn may_go_on(&self, pcoa: Ipv6Addr) -> bool {
        let (Some(handover), Some(key)) = (self.departing.get(pcoa), self.keys.get(pcoa)) else {
            return false;
        };
        let link = self.link_of(pcoa);
        link.is_some_and(|link| link.interface == handover.interface())
            && handover.request().is_none_or(|request| {
                request.key == *key && self.neighborhood.is_peer(request.peer)
            })
    }

    fn review_station(&mut self, address: Ipv6Addr) {
        let departure = self.stations.get(&address).and_then(|station| {
            let link = self.access_link(station.interface())?;
            link.prefix.contains(address).then_some(link.departure)
        });
        match departure {
            Some(_) if self.keys.get(address).is_none() => self.forget_station(address),
            Some(Departure::Copy { .. }) => self.start_copying(address),
            Some(Departure::Hold { .. }) => self.stop_copying(address),
            Some(Departure::Ignore) | None => self.forget_station(address),
        }
    }
}
