//! The access points of a router: what each one's hostapd says about stations that come and go.
//!
//! A task for every hostapd reads its control interface, and tries again when it is gone. The event
//! loop hears of stations through [`Hostapds`], which knows where each of them is.

mod listener;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{debug, info, warn};

use self::listener::Listener;
use crate::{
    link::{
        StationChange,
        ieee80211::hostapd::{AccessPointId, Event, Listed, Stations},
    },
    observe::HostapdStatus,
    proto::{Instant, InterfaceIndex},
    wire::{MacAddr, Prefix},
};

/// Events that may wait for the event loop; a hostapd that is faster waits.
const QUEUE: usize = 256;

/// A hostapd to listen to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    /// Its control socket.
    pub(super) path: PathBuf,
    /// The access link that it bridges to.
    pub(super) interface: InterfaceIndex,
    /// That link's name.
    pub(super) name: String,
}

/// What a task tells.
#[derive(Debug)]
pub(super) struct Told {
    from: AccessPointId,
    what: What,
}

#[derive(Debug)]
enum What {
    /// It is there, with these stations.
    Listed(Vec<Listed>),
    Event(Event),
    Lost(String),
    Garbage(String),
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Notice {
    /// A hostapd is listened to.
    HostapdConnected {
        hostapd: PathBuf,
        interface: String,
        stations: usize,
    },
    /// A hostapd is gone; it is tried again.
    HostapdLost {
        hostapd: PathBuf,
        interface: String,
        error: String,
    },
    /// A station is on an access link, with these of the addresses that have a key.
    StationAttached {
        interface: String,
        station: MacAddr,
        addresses: Vec<Ipv6Addr>,
    },
    /// A station has left an access link.
    StationDeparted {
        interface: String,
        station: MacAddr,
        addresses: Vec<Ipv6Addr>,
    },
}

/// What came of something that was told.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) notice: Option<Notice>,
    pub(super) changes: Vec<StationChange>,
}

/// The hostapds of this router's access points.
#[derive(Debug)]
pub(super) struct Hostapds {
    /// The controller's own control socket; those that hostapd answers to are beside it.
    beside: PathBuf,
    sender: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    next_id: AccessPointId,
    all: BTreeMap<AccessPointId, Hostapd>,
    /// Those that others than hostapd speak for, by their links and their own link-layer addresses.
    told_of: BTreeMap<(InterfaceIndex, MacAddr), AccessPointId>,
    stations: Stations,
    unknown_stations: u64,
    /// How long each may be silent until it is asked whether it is there.
    ping_interval: Duration,
}

/// What somebody else than hostapd says of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StationTold {
    /// The access link.
    pub(super) interface: InterfaceIndex,
    /// The station.
    pub(super) station: MacAddr,
    /// The access point or base station that it came to or has left.
    pub(super) access_point: Option<MacAddr>,
    /// Whether it came.
    pub(super) came: bool,
}

/// Access points that others speak for, at most.
const MAX_TOLD_OF: usize = 4096;

#[derive(Debug)]
struct Hostapd {
    wanted: Wanted,
    task: JoinHandle<()>,
    /// `None`: it has not been reached yet.
    state: Option<Result<(), String>>,
    garbage: u64,
}

impl Drop for Hostapd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostapds {
    /// None yet. Sockets to be answered to are made beside the control socket at `control_socket`.
    pub(super) fn new(control_socket: &Path) -> Self {
        let (sender, told) = mpsc::channel(QUEUE);
        Self {
            beside: control_socket.to_owned(),
            sender,
            told,
            next_id: 0,
            all: BTreeMap::new(),
            told_of: BTreeMap::new(),
            stations: Stations::default(),
            unknown_stations: 0,
            ping_interval: listener::PING_INTERVAL,
        }
    }

    /// Listens to these from now on, and to no others. Those that stay go on.
    pub(super) fn follow(&mut self, wanted: Vec<Wanted>) {
        let wanted: BTreeSet<Wanted> = wanted.into_iter().collect();
        let gone = self.all.iter();
        let gone = gone.filter(|(_, hostapd)| !wanted.contains(&hostapd.wanted));
        let gone: Vec<AccessPointId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.all.remove(&id);
            self.stations.remove(id);
        }
        for wanted in wanted {
            if self.all.values().any(|hostapd| hostapd.wanted == wanted) {
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            self.stations.add(id, wanted.interface);
            let mut name = self.beside.file_name().unwrap_or_default().to_owned();
            name.push(".hostapd");
            let listener = Listener {
                id,
                path: wanted.path.clone(),
                beside: self.beside.with_file_name(name),
                tell: self.sender.clone(),
                ping_interval: self.ping_interval,
            };
            let hostapd = Hostapd {
                wanted,
                task: tokio::spawn(listener.run()),
                state: None,
                garbage: 0,
            };
            self.all.insert(id, hostapd);
        }
    }

    /// Listens to none any more: the sockets that they answered to are gone when this returns.
    pub(super) async fn end(&mut self) {
        for (_, mut hostapd) in std::mem::take(&mut self.all) {
            hostapd.task.abort();
            // That it was ended is no news.
            let _ = (&mut hostapd.task).await;
        }
    }

    /// The next that one of them tells; never, if there are none. Nothing is lost if this is cancelled.
    pub(super) async fn next(&mut self) -> Told {
        match self.told.recv().await {
            Some(told) => told,
            // This has a sender itself.
            None => std::future::pending().await,
        }
    }

    /// What it means.
    pub(super) fn hear(&mut self, now: Instant, told: Told) -> Heard {
        let Told { from, what } = told;
        // It may have been told before nobody wanted to hear it any more.
        let Some(hostapd) = self.all.get_mut(&from) else {
            return Heard::default();
        };
        let path = hostapd.wanted.path.display();
        let name = &hostapd.wanted.name;
        match what {
            What::Listed(list) => {
                let known = hostapd.state == Some(Ok(()));
                hostapd.state = Some(Ok(()));
                let stations = list.len();
                let notice = (!known).then(|| {
                    info!(hostapd = %path, interface = name, stations, "connected");
                    Notice::HostapdConnected {
                        hostapd: hostapd.wanted.path.clone(),
                        interface: name.clone(),
                        stations,
                    }
                });
                Heard {
                    notice,
                    changes: self.stations.listed(now, from, &list),
                }
            }
            What::Event(event) => {
                let change = match event {
                    Event::Connected(station) => self.stations.connected(now, from, station),
                    Event::Disconnected(station) => self.stations.disconnected(from, station),
                    // The task does what these need.
                    Event::Switched | Event::Terminating | Event::Other => None,
                };
                Heard {
                    notice: None,
                    changes: change.into_iter().collect(),
                }
            }
            What::Lost(error) => {
                warn!(
                    interface = name,
                    "hostapd at {path} is gone: {error}; until it is back, a station that comes to \
                     its access point or leaves it is noticed late"
                );
                hostapd.state = Some(Err(error.clone()));
                self.stations.forget(from);
                Heard {
                    notice: Some(Notice::HostapdLost {
                        hostapd: hostapd.wanted.path.clone(),
                        interface: name.clone(),
                        error,
                    }),
                    changes: Vec::new(),
                }
            }
            What::Garbage(error) => {
                hostapd.garbage += 1;
                // Whoever says such things says many of them.
                if hostapd.garbage.is_power_of_two() {
                    warn!(number = hostapd.garbage, "hostapd at {path}: {error}");
                }
                Heard::default()
            }
        }
    }

    /// What somebody else says of a station; nothing, if it has left an access point and is at another one of
    /// the same link, as far as is known.
    ///
    /// # Errors
    /// In words: there are too many access points.
    pub(super) fn told(
        &mut self,
        now: Instant,
        told: StationTold,
    ) -> Result<Option<StationChange>, String> {
        let StationTold {
            interface,
            station,
            access_point,
            came,
        } = told;
        let Some(access_point) = access_point else {
            return Ok(Some(match came {
                true => StationChange::Came { interface, station },
                false => StationChange::Left { interface, station },
            }));
        };
        let known = self.told_of.get(&(interface, access_point)).copied();
        let id = match known {
            Some(id) => id,
            None if self.told_of.len() >= MAX_TOLD_OF => {
                return Err(format!(
                    "access_point: {MAX_TOLD_OF} others were told of already"
                ));
            }
            None => {
                let id = self.next_id;
                self.next_id += 1;
                self.told_of.insert((interface, access_point), id);
                self.stations.add(id, interface);
                id
            }
        };
        Ok(match came {
            true => self.stations.connected(now, id, station),
            false => self.stations.gone(id, station),
        })
    }

    /// A station that has none of the addresses with a key.
    pub(super) fn count_unknown(&mut self, interface: &str, station: MacAddr) {
        self.unknown_stations += 1;
        debug!(interface, %station, "a station with none of the addresses that have a key");
    }

    /// How many such there were.
    pub(super) fn unknown_stations(&self) -> u64 {
        self.unknown_stations
    }

    /// What each of them does.
    pub(super) fn status(&self) -> Vec<HostapdStatus> {
        let status = |(id, hostapd): (&AccessPointId, &Hostapd)| HostapdStatus {
            hostapd: hostapd.wanted.path.clone(),
            interface: hostapd.wanted.name.clone(),
            state: match hostapd.state {
                None => "connecting",
                Some(Ok(())) => "connected",
                Some(Err(_)) => "lost",
            }
            .to_owned(),
            error: hostapd.state.clone().and_then(Result::err),
            stations: self.stations.count(*id),
            garbage: hostapd.garbage,
        };
        self.all.iter().map(status).collect()
    }
}

/// The addresses of a station on a link with that prefix: of those with a key, the ones that are known
/// to be its; or, if there are none, the one that it makes of its link-layer address (RFC 4291
/// appendix A). `known` is who has which address on the link.
pub(super) fn addresses_of(
    station: MacAddr,
    prefix: Prefix,
    keyed: impl Fn(Ipv6Addr) -> bool,
    known: impl IntoIterator<Item = (Ipv6Addr, MacAddr)>,
) -> Vec<Ipv6Addr> {
    let found: BTreeSet<Ipv6Addr> = known
        .into_iter()
        .filter(|(address, owner)| {
            *owner == station && prefix.contains(*address) && keyed(*address)
        })
        .map(|(address, _)| address)
        .collect();
    if !found.is_empty() {
        return found.into_iter().collect();
    }
    let identifier = u64::from_be_bytes(station.modified_eui64());
    let network = prefix.address().to_bits() & !u128::from(u64::MAX);
    let made = Ipv6Addr::from_bits(network | u128::from(identifier));
    Vec::from_iter(keyed(made).then_some(made))
}
