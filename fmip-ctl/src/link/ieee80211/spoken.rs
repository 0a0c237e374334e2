//! What the daemons of 802.11 say, and what is made of it, without a socket between: for those who
//! have the words and no radio, such as the fuzzers.

use std::collections::{BTreeMap, VecDeque};

use super::{
    control,
    hostapd::{self, AccessPointId, Listed, Next, Stations},
    station::{Input, Output, Station},
    supplicant::{self, Heard, Request},
};
use crate::{
    config::Ieee80211,
    link::{Order, StationChange, Told},
    proto::{Instant, InterfaceIndex},
    wire::MacAddr,
};

/// A station whose supplicant somebody speaks for. It is driven as the machines of
/// [`proto`](crate::proto) are.
#[derive(Debug)]
pub struct Supplicant {
    station: Station,
    /// The questions that wait for an answer, the first to be answered in front.
    asked: VecDeque<Request>,
    told: VecDeque<Told>,
}

impl Supplicant {
    /// A station with the defaults of the configuration, whose supplicant has just been found.
    pub fn new(now: Instant) -> Self {
        let mut spoken = Self {
            station: Station::new(&Ieee80211::of("wlan0")),
            asked: VecDeque::new(),
            told: VecDeque::new(),
        };
        spoken.come_back(now);
        spoken
    }

    /// It says this: an event, or the answer to the question that waits longest.
    ///
    /// # Errors
    /// In words, if it is not understood; the station is told so too.
    pub fn say(&mut self, now: Instant, datagram: &[u8]) -> Result<(), String> {
        let (heard, understood) = if control::is_event(datagram) {
            match supplicant::event(datagram) {
                Ok(event) => (Heard::Event(event), Ok(())),
                Err(garbage) => {
                    let error = garbage.to_string();
                    (Heard::Garbage(garbage), Err(error))
                }
            }
        } else if let Some(request) = self.asked.pop_front() {
            match supplicant::reply(&request, datagram) {
                Ok(reply) => (Heard::Replied { request, reply }, Ok(())),
                Err(garbage) => {
                    let error = garbage.to_string();
                    (Heard::Unreadable { request, garbage }, Err(error))
                }
            }
        } else {
            return Err("an answer to nothing".to_owned());
        };
        self.input(now, heard);
        understood
    }

    /// It is gone.
    pub fn leave(&mut self, now: Instant) {
        self.asked.clear();
        let error = "it ended".to_owned();
        self.input(now, Heard::Lost { error });
    }

    /// It is back.
    pub fn come_back(&mut self, now: Instant) {
        self.asked.clear();
        self.input(now, Heard::Opened);
    }

    /// What the protocol wants.
    pub fn order(&mut self, now: Instant, order: Order) {
        self.station.handle_input(now, Input::Order(order));
        self.drain();
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.station.handle_timeout(now);
        self.drain();
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.station.poll_timeout()
    }

    /// The next thing that the station tells.
    pub fn poll_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// What is asked and not yet answered, as the supplicant reads it.
    pub fn asked(&self) -> impl ExactSizeIterator<Item = String> {
        self.asked.iter().map(Request::to_string)
    }

    fn input(&mut self, now: Instant, heard: Heard) {
        self.station.handle_input(now, Input::Supplicant(heard));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Tell(told) => self.told.push_back(told),
                // What waits already is not asked twice.
                Output::Ask(request) if self.asked.contains(&request) => {}
                Output::Ask(request) => self.asked.push_back(request),
                // There is no 802.11 in this kernel.
                Output::Query(_) | Output::OpenKernel => {}
            }
        }
    }
}

/// Access points of a router whose hostapds somebody speaks for.
#[derive(Debug, Default)]
pub struct AccessPoints {
    stations: Stations,
    /// What was read of the list of each so far.
    lists: BTreeMap<AccessPointId, Vec<Listed>>,
}

/// What became of a station on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The link.
    pub interface: InterfaceIndex,
    /// The station.
    pub station: MacAddr,
    /// Whether it came; otherwise it left.
    pub came: bool,
}

impl From<StationChange> for Moved {
    fn from(change: StationChange) -> Self {
        let (interface, station, came) = match change {
            StationChange::Came { interface, station } => (interface, station, true),
            StationChange::Left { interface, station } => (interface, station, false),
        };
        Self {
            interface,
            station,
            came,
        }
    }
}

impl AccessPoints {
    /// One more access point, on that link.
    pub fn add(&mut self, access_point: u64, interface: InterfaceIndex) {
        self.stations.add(access_point, interface);
        self.lists.insert(access_point, Vec::new());
    }

    /// It says this: an event, or the next of its list of stations, which ends with an empty answer.
    ///
    /// # Errors
    /// In words, if it is not understood.
    pub fn say(
        &mut self,
        now: Instant,
        access_point: u64,
        datagram: &[u8],
    ) -> Result<Vec<Moved>, String> {
        let changes = if control::is_event(datagram) {
            match hostapd::event(datagram).map_err(|garbage| garbage.to_string())? {
                hostapd::Event::Connected(station) => {
                    let change = self.stations.connected(now, access_point, station);
                    change.into_iter().collect()
                }
                hostapd::Event::Disconnected(station) => {
                    let change = self.stations.disconnected(access_point, station);
                    change.into_iter().collect()
                }
                _ => Vec::new(),
            }
        } else {
            let list = self.lists.entry(access_point).or_default();
            let request = hostapd::list_request(list.last().map(|last| last.station));
            match hostapd::listed(&request, datagram).map_err(|garbage| garbage.to_string())? {
                Next::Station(station) => {
                    list.push(station);
                    Vec::new()
                }
                Next::End => {
                    let list = std::mem::take(list);
                    self.stations.listed(now, access_point, &list)
                }
                Next::Lost => {
                    list.clear();
                    Vec::new()
                }
            }
        };
        Ok(changes.into_iter().map(Moved::from).collect())
    }

    /// How many stations are at an access point.
    pub fn count(&self, access_point: u64) -> usize {
        self.stations.count(access_point)
    }
}
