//! Who is on a router's access links: what the kernel and the access points' hostapds say of it.

use std::collections::BTreeMap;

use tracing::debug;

use super::Controller;
use crate::{
    config::{AccessRouter, Config, Interface, Role},
    io::{
        hostapd::{self, StationTold, Told},
        machine::now,
        monitor::{Monitor, Watched},
        monotonic_ns, triggers,
    },
    link::StationChange,
    proto::{Input, InterfaceIndex, StationEvent},
};

impl Controller {
    /// What an access point says of its stations.
    pub(super) fn hear_hostapd(&mut self, told: Told, monitor: Option<&Monitor>) {
        let heard = self.hostapds.hear(now(), told);
        if let Some(notice) = heard.notice {
            self.events.publish(monotonic_ns(), &notice);
        }
        for change in heard.changes {
            self.hear_of_station(change, monitor);
        }
    }

    /// What somebody else says of them that knows no more of them than their link-layer addresses, such as a
    /// base station.
    ///
    /// # Errors
    /// In words for the one who said it.
    pub(super) fn hear_of_told_station(
        &mut self,
        told: StationTold,
        monitor: Option<&Monitor>,
    ) -> Result<(), String> {
        if let Some(change) = self.hostapds.told(now(), told)? {
            self.hear_of_station(change, monitor);
        }
        Ok(())
    }

    /// A station has come or gone. One of no address that has a key, such as a guest, is counted.
    fn hear_of_station(&mut self, change: StationChange, monitor: Option<&Monitor>) {
        let (StationChange::Came { interface, station }
        | StationChange::Left { interface, station }) = change;
        let Some(link) = self.links.iter().find(|link| link.index == interface) else {
            return;
        };
        let told = self.owners.iter();
        let told = told.filter(|((link, _), _)| *link == interface);
        let known = monitor.map(|monitor| monitor.owners(interface));
        let known =
            (told.map(|((_, address), owner)| (*address, *owner))).chain(known.unwrap_or_default());
        let keyed = |address| self.keyed.contains(&address);
        let addresses = hostapd::addresses_of(station, link.prefix, keyed, known);
        let name = link.name.clone();
        if addresses.is_empty() {
            self.hostapds.count_unknown(&name, station);
        }
        let inputs = addresses.clone();
        let notice = match change {
            StationChange::Came { .. } => hostapd::Notice::StationAttached {
                interface: name,
                station,
                addresses,
            },
            StationChange::Left { .. } => hostapd::Notice::StationDeparted {
                interface: name,
                station,
                addresses,
            },
        };
        let time_ns = monotonic_ns();
        for address in inputs {
            self.handle_input(Input::Station(match change {
                StationChange::Came { .. } => StationEvent::Attached {
                    interface,
                    address,
                    link_address: station,
                },
                StationChange::Left { .. } => StationEvent::Departed { interface, address },
            }));
        }
        debug!(?notice);
        self.events.publish(time_ns, &notice);
    }

    /// Who has which address; only those with a key are of any use.
    pub(super) fn note_owner(&mut self, event: &StationEvent) {
        if let StationEvent::Attached {
            interface,
            address,
            link_address,
        } = *event
            && self.keyed.contains(&address)
        {
            self.owners.insert((interface, address), link_address);
        }
    }
}

/// The next neighbor that changes; none ever at a mobile node.
pub(super) async fn station_event(monitor: &mut Option<Monitor>) -> StationEvent {
    match monitor {
        Some(monitor) => monitor.next().await,
        None => std::future::pending().await,
    }
}

/// The nodes that this router could hand over.
pub(super) fn watched(router: &AccessRouter, links: &[triggers::Link]) -> Watched {
    Watched {
        interfaces: links.iter().map(|link| link.index).collect(),
        addresses: router.keyed(),
    }
}

/// The hostapds of a router's access points; none of a mobile node.
pub(super) fn hostapds(config: &Config, links: &[triggers::Link]) -> Vec<hostapd::Wanted> {
    let Role::AccessRouter(router) = &config.role else {
        return Vec::new();
    };
    let wanted = router.access.iter().filter_map(|access| {
        let link = links.iter().find(|link| link.name == access.interface)?;
        let of_link = access.hostapd.iter().map(|path| hostapd::Wanted {
            path: path.clone(),
            interface: link.index,
            name: link.name.clone(),
        });
        Some(of_link)
    });
    wanted.flatten().collect()
}

/// The access links of a router; none of a mobile node.
pub(super) fn links(
    config: &Config,
    interfaces: &BTreeMap<InterfaceIndex, Interface>,
) -> Vec<triggers::Link> {
    let Role::AccessRouter(router) = &config.role else {
        return Vec::new();
    };
    router
        .access
        .iter()
        .filter_map(|access| {
            let interface = interfaces
                .values()
                .find(|interface| interface.name == access.interface)?;
            Some(triggers::Link {
                name: interface.name.clone(),
                index: interface.index,
                prefix: access.prefix,
            })
        })
        .collect()
}
