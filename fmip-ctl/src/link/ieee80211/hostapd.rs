//! 802.11 at an access router: what hostapd says about stations on its control interface, and which
//! of them are on a link.
//!
//! Pure: text and times in, stations that came and left out. The formats are those of hostapd 2.10.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use super::control::{clipped, event_text, text};
use crate::{
    link::StationChange,
    proto::{Instant, InterfaceIndex},
    wire::MacAddr,
};

/// What hostapd tells without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A station is there and its port is authorized.
    Connected(MacAddr),
    /// A station is gone.
    Disconnected(MacAddr),
    /// The access point was switched on or off: which stations are there must be asked anew.
    Switched,
    /// hostapd ends.
    Terminating,
    /// One that nothing depends on.
    Other,
}

/// A station as hostapd lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) station: MacAddr,
    /// Whether its port is open. One that is not has no packets here.
    pub(crate) authorized: bool,
    /// For how long it has been there; not every hostapd says so.
    pub(crate) connected: Option<Duration>,
}

/// What was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbage {
    #[error("{0:?} is no text")]
    Text(Vec<u8>),
    #[error("{0:?} is no event: it has no <level> in front")]
    Level(String),
    #[error("{0:?} names no station")]
    Station(String),
    #[error("the answer to {request} does not begin with a station: {answer:?}")]
    List {
        /// What was asked.
        request: String,
        /// What was answered.
        answer: String,
    },
}

/// Reads an event.
pub(crate) fn event(datagram: &[u8]) -> Result<Event, Garbage> {
    let whole = text(datagram).map_err(Garbage::Text)?.trim_end();
    let told = event_text(whole).ok_or_else(|| Garbage::Level(clipped(whole)))?;
    let mut words = told.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    // More may stand behind it: the address it had before, a key's name, the reason.
    let mut station = || {
        let word = words.next().unwrap_or_default();
        MacAddr::from_str(word).map_err(|_| Garbage::Station(clipped(told)))
    };
    Ok(match name {
        "AP-STA-CONNECTED" => Event::Connected(station()?),
        "AP-STA-DISCONNECTED" => Event::Disconnected(station()?),
        "AP-ENABLED" | "AP-DISABLED" | "INTERFACE-ENABLED" | "INTERFACE-DISABLED" => {
            Event::Switched
        }
        "CTRL-EVENT-TERMINATING" => Event::Terminating,
        _ => Event::Other,
    })
}

/// What is asked to list the stations, one after the other.
pub(crate) fn list_request(after: Option<MacAddr>) -> String {
    match after {
        None => "STA-FIRST".to_owned(),
        Some(station) => format!("STA-NEXT {station}"),
    }
}

/// The answer to a request for the next station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There it is.
    Station(Listed),
    /// There are no more.
    End,
    /// The one it was to come after has left meanwhile: the list is to be read from its start.
    Lost,
}

/// Reads the answer to `request`.
pub(crate) fn listed(request: &str, datagram: &[u8]) -> Result<Next, Garbage> {
    let answer = text(datagram).map_err(Garbage::Text)?;
    if answer.trim().is_empty() {
        return Ok(Next::End);
    }
    if answer.trim() == "FAIL" {
        return Ok(Next::Lost);
    }
    let mut lines = answer.lines();
    let station = (lines.next())
        .and_then(|first| MacAddr::from_str(first.trim()).ok())
        .ok_or_else(|| Garbage::List {
            request: request.to_owned(),
            answer: clipped(answer),
        })?;
    let mut listed = Listed {
        station,
        // Before there were flags there was nothing to say about it.
        authorized: true,
        connected: None,
    };
    for line in lines {
        match line.split_once('=') {
            Some(("flags", flags)) => listed.authorized = flags.contains("[AUTHORIZED]"),
            Some(("connected_time", seconds)) => {
                listed.connected = seconds.trim().parse().ok().map(Duration::from_secs);
            }
            _ => {}
        }
    }
    Ok(Next::Station(listed))
}

/// Which access point of the router's: its place in the configuration's order.
pub(crate) type AccessPointId = u64;

/// The stations on the links of a router, by what the access points say.
///
/// A station is where it connected last. An access point may take minutes to find out that a station
/// has left it for another: what it says then is no departure from the link if the other is on the
/// same one.
#[derive(Debug, Default)]
pub(crate) struct Stations {
    access_points: BTreeMap<AccessPointId, InterfaceIndex>,
    at: BTreeMap<(InterfaceIndex, MacAddr), Attachment>,
    /// Since when each access point says that it has which station, wherever that has gone meanwhile.
    said: BTreeMap<(AccessPointId, MacAddr), Instant>,
}

/// How much later a station may seem to have come by a list than it did: a list has whole seconds, and
/// what it says arrives later than it was written.
const ROUNDING: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attachment {
    access_point: AccessPointId,
    since: Instant,
}

impl Stations {
    /// One more access point, on that link.
    pub(crate) fn add(&mut self, access_point: AccessPointId, interface: InterfaceIndex) {
        self.access_points.insert(access_point, interface);
    }

    /// An access point that is not listened to any more: where its stations are is unknown, which is
    /// no departure.
    pub(crate) fn remove(&mut self, access_point: AccessPointId) {
        self.access_points.remove(&access_point);
        self.at.retain(|_, at| at.access_point != access_point);
        self.forget(access_point);
    }

    /// Nothing is heard of an access point (any more): all that it says next is new.
    pub(crate) fn forget(&mut self, access_point: AccessPointId) {
        self.said.retain(|(of, _), _| *of != access_point);
    }

    /// How many stations are at an access point.
    pub(crate) fn count(&self, access_point: AccessPointId) -> usize {
        let at = self.at.values();
        at.filter(|at| at.access_point == access_point).count()
    }

    /// An access point says that a station has come. A station that comes anew to the link it is on is
    /// told again: it may be at another access point, and the router must know that it lives.
    pub(crate) fn connected(
        &mut self,
        now: Instant,
        access_point: AccessPointId,
        station: MacAddr,
    ) -> Option<StationChange> {
        let interface = *self.access_points.get(&access_point)?;
        let here = Attachment {
            access_point,
            since: now,
        };
        self.at.insert((interface, station), here);
        self.said.insert((access_point, station), now);
        Some(StationChange::Came { interface, station })
    }

    /// An access point says that a station has left it.
    pub(crate) fn disconnected(
        &mut self,
        access_point: AccessPointId,
        station: MacAddr,
    ) -> Option<StationChange> {
        let interface = *self.access_points.get(&access_point)?;
        let was_here = self.at.contains_key(&(interface, station));
        self.gone(access_point, station).filter(|_| was_here)
    }

    /// As [`Stations::disconnected`], if it need not have said before that the station had come.
    pub(crate) fn gone(
        &mut self,
        access_point: AccessPointId,
        station: MacAddr,
    ) -> Option<StationChange> {
        let interface = *self.access_points.get(&access_point)?;
        self.said.remove(&(access_point, station));
        let at = self.at.get(&(interface, station));
        if at.is_some_and(|at| at.access_point != access_point) {
            return None;
        }
        self.at.remove(&(interface, station));
        Some(StationChange::Left { interface, station })
    }

    /// An access point says which stations there are at it, for the first time or again: those that came
    /// and left meanwhile. What it has said before is no news: the station may have gone on since.
    pub(crate) fn listed(
        &mut self,
        now: Instant,
        access_point: AccessPointId,
        list: &[Listed],
    ) -> Vec<StationChange> {
        let Some(&interface) = self.access_points.get(&access_point) else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        let there = |station: &MacAddr| {
            let mut open = list.iter().filter(|listed| listed.authorized);
            open.any(|listed| listed.station == *station)
        };
        self.at.retain(|(link, station), at| {
            let stays = at.access_point != access_point || there(station);
            if !stays {
                changes.push(StationChange::Left {
                    interface: *link,
                    station: *station,
                });
            }
            stays
        });
        (self.said).retain(|(of, station), _| *of != access_point || there(station));
        for listed in list.iter().filter(|listed| listed.authorized) {
            let station = listed.station;
            // The last one to whom it came has it; the others do not know better yet.
            let connected = listed.connected.unwrap_or_default();
            let since = earlier(now, connected);
            let newer = |at: &Attachment| at.access_point != access_point && at.since >= since;
            let said = self.said.get(&(access_point, station)).copied();
            let is_news =
                said.is_none_or(|said| listed.connected.is_some() && since > said + ROUNDING);
            if is_news {
                self.said.insert((access_point, station), since);
            }
            match self.at.get(&(interface, station)) {
                Some(at) if newer(at) => {}
                Some(at) if at.access_point == access_point => {}
                _ if !is_news => {}
                _ => {
                    let here = Attachment {
                        access_point,
                        since,
                    };
                    self.at.insert((interface, station), here);
                    changes.push(StationChange::Came { interface, station });
                }
            }
        }
        changes
    }
}

fn earlier(now: Instant, by: Duration) -> Instant {
    let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const LINK: InterfaceIndex = 3;
    const FAR_LINK: InterfaceIndex = 4;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn came(interface: InterfaceIndex) -> StationChange {
        StationChange::Came {
            interface,
            station: STATION,
        }
    }

    fn left(interface: InterfaceIndex) -> StationChange {
        StationChange::Left {
            interface,
            station: STATION,
        }
    }

    /// Access points 1 and 2 on one link, 3 on another.
    fn stations() -> Stations {
        let mut stations = Stations::default();
        stations.add(1, LINK);
        stations.add(2, LINK);
        stations.add(3, FAR_LINK);
        stations
    }

    fn list(station: MacAddr, connected: Option<u64>) -> Listed {
        Listed {
            station,
            authorized: true,
            connected: connected.map(Duration::from_secs),
        }
    }

    #[test]
    fn an_event_is_read_with_whatever_stands_behind_it() {
        for (text, expected) in [
            (
                "<3>AP-STA-CONNECTED 02:00:00:00:00:01",
                Event::Connected(STATION),
            ),
            (
                "<3>AP-STA-CONNECTED 02:00:00:00:00:01 auth_alg=open keyid=staff\n",
                Event::Connected(STATION),
            ),
            (
                "IFNAME=wlan0 <3>AP-STA-DISCONNECTED 02:00:00:00:00:01 p2p_dev_addr=02:00:00:00:00:02",
                Event::Disconnected(STATION),
            ),
            ("<3>AP-ENABLED ", Event::Switched),
            ("<3>AP-DISABLED ", Event::Switched),
            ("<3>CTRL-EVENT-TERMINATING ", Event::Terminating),
            (
                "<3>AP-STA-POSSIBLE-PSK-MISMATCH 02:00:00:00:00:01",
                Event::Other,
            ),
            ("<2>", Event::Other),
        ] {
            assert_eq!(event(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_event_is_named() {
        for (octets, expected) in [
            (&b"AP-STA-CONNECTED 02:00:00:00:00:01"[..], "no <level>"),
            (b"<x>AP-STA-CONNECTED 02:00:00:00:00:01", "no <level>"),
            (b"<3>AP-STA-CONNECTED", "names no station"),
            (b"<3>AP-STA-DISCONNECTED 02:00:00:00:00", "names no station"),
            (b"<3>\xff\xfe", "is no text"),
            (b"", "no <level>"),
        ] {
            let error = event(octets).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_list_is_read_station_by_station() {
        assert_eq!(list_request(None), "STA-FIRST");
        assert_eq!(list_request(Some(STATION)), "STA-NEXT 02:00:00:00:00:01");
        let answer =
            "02:00:00:00:00:01\nflags=[AUTH][ASSOC][AUTHORIZED]\naid=1\nconnected_time=17\n";
        assert_eq!(
            listed("STA-FIRST", answer.as_bytes()),
            Ok(Next::Station(list(STATION, Some(17))))
        );
        let unauthorized = "02:00:00:00:00:01\nflags=[AUTH][ASSOC]\n";
        assert_eq!(
            listed("STA-FIRST", unauthorized.as_bytes()),
            Ok(Next::Station(Listed {
                authorized: false,
                ..list(STATION, None)
            }))
        );
        assert_eq!(listed("STA-NEXT x", b""), Ok(Next::End));
        assert_eq!(listed("STA-NEXT x", b"FAIL\n"), Ok(Next::Lost));
        let error = listed("STA-FIRST", b"UNKNOWN COMMAND\n").unwrap_err();
        assert!(error.to_string().contains("STA-FIRST"), "{error}");
    }

    #[test]
    fn a_station_comes_and_leaves() {
        let mut stations = stations();
        assert_eq!(stations.connected(at(1), 1, STATION), Some(came(LINK)));
        assert_eq!(stations.count(1), 1);
        assert_eq!(stations.disconnected(1, STATION), Some(left(LINK)));
        assert_eq!(stations.disconnected(1, STATION), None);
        assert_eq!(stations.disconnected(1, OTHER), None);
        assert_eq!(stations.count(1), 0);
    }

    #[test]
    fn a_station_that_moved_to_another_access_point_of_the_link_has_not_left() {
        let mut stations = stations();
        stations.connected(at(1), 1, STATION);
        assert_eq!(stations.connected(at(2), 2, STATION), Some(came(LINK)));
        // Minutes later the first one finds out.
        assert_eq!(stations.disconnected(1, STATION), None);
        assert_eq!(stations.disconnected(2, STATION), Some(left(LINK)));
    }

    #[test]
    fn a_station_that_left_is_gone_even_if_an_access_point_has_not_noticed() {
        let mut stations = stations();
        stations.connected(at(1), 1, STATION);
        stations.connected(at(2), 2, STATION);
        assert_eq!(stations.disconnected(2, STATION), Some(left(LINK)));
        assert_eq!(stations.disconnected(1, STATION), None);
    }

    #[test]
    fn a_station_that_moved_to_another_link_has_left_the_first() {
        let mut stations = stations();
        stations.connected(at(1), 1, STATION);
        assert_eq!(stations.connected(at(2), 3, STATION), Some(came(FAR_LINK)));
        assert_eq!(stations.disconnected(1, STATION), Some(left(LINK)));
        assert_eq!(stations.count(3), 1);
    }

    #[test]
    fn a_list_tells_what_was_missed() {
        let mut stations = stations();
        assert_eq!(
            stations.listed(at(100), 1, &[list(STATION, Some(20))]),
            [came(LINK)]
        );
        assert_eq!(stations.listed(at(110), 1, &[list(STATION, Some(30))]), []);
        assert_eq!(stations.listed(at(120), 1, &[]), [left(LINK)]);
        let unauthorized = Listed {
            authorized: false,
            ..list(STATION, None)
        };
        assert_eq!(stations.listed(at(130), 1, &[unauthorized]), []);
    }

    /// An access point may take minutes to find out that a station has left it.
    #[test]
    fn a_list_that_is_read_again_has_nothing_new_of_a_station_that_has_gone_on() {
        let moved = Instant::from_nanos(1_500_000_000);
        for connected in [None, Some(38), Some(39)] {
            let mut stations = stations();
            stations.connected(at(1), 1, STATION);
            stations.connected(moved, 2, STATION);
            // Its seconds are whole ones: it may seem to have come later than it did.
            let listed = [list(STATION, connected)];
            for _ in 0..2 {
                assert_eq!(stations.listed(at(40), 1, &listed), [], "{connected:?}");
            }
            assert_eq!(stations.disconnected(2, STATION), Some(left(LINK)));
            assert_eq!(stations.listed(at(40), 1, &listed), [], "{connected:?}");
            assert_eq!(stations.disconnected(1, STATION), None);
            // That was the end of it there: what is listed from now on is new.
            assert_eq!(stations.listed(at(40), 1, &listed), [came(LINK)]);
        }
    }

    #[test]
    fn a_station_that_came_back_unseen_is_in_the_list() {
        let mut stations = stations();
        stations.connected(at(1), 1, STATION);
        stations.connected(at(10), 2, STATION);
        let listed = [list(STATION, Some(30))];
        assert_eq!(stations.listed(at(130), 1, &listed), [came(LINK)]);
        assert_eq!(stations.disconnected(2, STATION), None);
        // One that is not listed has left, and what is listed after that is new.
        stations.connected(at(140), 2, STATION);
        assert_eq!(stations.listed(at(150), 1, &[]), []);
        let listed = [list(STATION, None)];
        assert_eq!(stations.listed(at(160), 1, &listed), [came(LINK)]);
    }

    #[test]
    fn of_two_lists_with_a_station_the_later_arrival_counts() {
        for (first, second) in [(1, 2), (2, 1)] {
            let mut stations = stations();
            // It has been at 2 for 5 seconds, and 1 still believes that it has it.
            let connected = |access_point| if access_point == 2 { 5 } else { 300 };
            for access_point in [first, second] {
                let listed = [list(STATION, Some(connected(access_point)))];
                stations.listed(at(1000), access_point, &listed);
            }
            assert_eq!(stations.disconnected(1, STATION), None, "{first} first");
            assert_eq!(stations.disconnected(2, STATION), Some(left(LINK)));
        }
    }

    #[test]
    fn an_access_point_that_is_not_listened_to_any_more_is_no_departure() {
        let mut stations = stations();
        stations.connected(at(1), 1, STATION);
        stations.remove(1);
        assert_eq!(stations.disconnected(1, STATION), None);
        assert_eq!(stations.connected(at(2), 1, STATION), None);
        assert_eq!(stations.listed(at(2), 1, &[list(STATION, None)]), []);
    }
}
