//! What the kernel says of the radio: nl80211.
//!
//! It knows two things that the supplicant does not say, or not in time: whether the port lets
//! packets through, and what becomes of the link while the supplicant is gone.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::{task::JoinHandle, time::timeout};
use tracing::debug;
use wl_nl80211::{
    Ieee80211StatusCode, Nl80211Attr, Nl80211BssInfo, Nl80211Command, Nl80211CqmAttr,
    Nl80211Handle, Nl80211Message, Nl80211MulticastGroup, Nl80211StationFlags, Nl80211StationInfo,
    new_multicast_connection,
    packet_core::{NetlinkPayload, Nla as _},
};

use super::supplicant::Bss;
use crate::wire::MacAddr;

/// How long the kernel may take for an answer. Less than a millisecond is usual.
const PATIENCE: Duration = Duration::from_secs(1);

/// `NL80211_ATTR_CQM_BEACON_LOSS_EVENT`, which the crate has no name for.
const BEACON_LOSS: u16 = 8;

/// The element that holds the network's name (IEEE 802.11 section 9.4.2.2).
const SSID_ELEMENT: u8 = 0;

/// What the kernel tells of the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It is associated.
    Connected { bssid: MacAddr },
    /// It is not any more.
    Disconnected,
    /// There are new scan results.
    Scanned,
    /// The signal crossed the threshold.
    Signal { dbm: i32 },
    /// Beacons of the access point did not come.
    BeaconLoss,
    /// Whether packets get through changed, perhaps.
    Authorized,
}

/// What the kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// The access point that the interface is attached to.
    Peers,
    /// What was found by scans.
    Found,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Peers(Vec<Peer>),
    Found(Vec<Bss>),
}

/// An access point that the interface is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) bssid: MacAddr,
    /// Whether it lets packets through; not every driver says so.
    pub(super) authorized: Option<bool>,
    pub(super) dbm: Option<i32>,
}

/// A connection to the kernel.
pub(super) struct Kernel {
    interface: u32,
    handle: Nl80211Handle,
    /// The messages of the groups, as far as they are events of the interface's.
    events: futures_util::stream::BoxStream<'static, Event>,
    task: JoinHandle<()>,
}

impl Kernel {
    /// Listens to what the kernel tells of the interface with this index.
    ///
    /// # Errors
    /// There is no 802.11 in this kernel, or it does not let this process listen.
    pub(super) fn open(interface: u32) -> Result<Self, String> {
        let groups = [Nl80211MulticastGroup::Scan, Nl80211MulticastGroup::Mlme];
        let (connection, handle, messages) =
            new_multicast_connection(&groups).map_err(|error| error.to_string())?;
        let events = messages.filter_map(move |(message, _)| {
            let event = match message.payload {
                NetlinkPayload::InnerMessage(raw) => match raw.parse_into_genlmsg() {
                    Ok(message) => event(&message.payload, interface),
                    Err(error) => {
                        debug!("the kernel told what is not understood: {error}");
                        None
                    }
                },
                _ => None,
            };
            std::future::ready(event)
        });
        Ok(Self {
            interface,
            handle,
            events: events.boxed(),
            task: tokio::spawn(connection),
        })
    }

    /// The next event; `None`: there will be none any more. Nothing is lost if this is cancelled.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }

    /// Asks the kernel.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub(super) async fn ask(&mut self, query: Query) -> Result<Answer, String> {
        let interface = self.interface;
        let answer = async {
            match query {
                Query::Peers => {
                    let dump = self.handle.station().dump(interface).execute().await;
                    let messages: Vec<_> = dump.try_collect().await?;
                    let messages = messages.iter();
                    let peers = messages.filter_map(|message| peer(&message.payload));
                    Ok(Answer::Peers(peers.collect()))
                }
                Query::Found => {
                    let dump = self.handle.scan().dump(interface).execute().await;
                    let messages: Vec<_> = dump.try_collect().await?;
                    let messages = messages.iter();
                    let found = messages.filter_map(|message| bss(&message.payload));
                    Ok(Answer::Found(found.collect()))
                }
            }
        };
        match timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|error: wl_nl80211::Nl80211Error| error.to_string()),
            Err(_) => Err("nl80211 does not answer".to_owned()),
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn address(message: &Nl80211Message) -> Option<MacAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            Nl80211Attr::Mac(octets) => Some(MacAddr(*octets)),
            _ => None,
        })
}

/// What a message of the groups says of the interface.
pub(super) fn event(message: &Nl80211Message, interface: u32) -> Option<Event> {
    let is_ours = |attribute: &Nl80211Attr| *attribute == Nl80211Attr::IfIndex(interface);
    if !message.attributes.iter().any(is_ours) {
        return None;
    }
    match message.cmd {
        Nl80211Command::Connect => {
            let is_failure = |attribute: &Nl80211Attr| {
                matches!(attribute, Nl80211Attr::StatusCode(code)
                    if *code != Ieee80211StatusCode::Success)
            };
            let bssid = address(message)?;
            (!message.attributes.iter().any(is_failure)).then_some(Event::Connected { bssid })
        }
        Nl80211Command::Roam => Some(Event::Connected {
            bssid: address(message)?,
        }),
        Nl80211Command::Disconnect => Some(Event::Disconnected),
        Nl80211Command::NewScanResults => Some(Event::Scanned),
        Nl80211Command::PortAuthorized => Some(Event::Authorized),
        Nl80211Command::NotifyCqm => message.attributes.iter().find_map(|attribute| {
            let Nl80211Attr::Cqm(fields) = attribute else {
                return None;
            };
            fields.iter().find_map(|field| match field {
                Nl80211CqmAttr::RssiLevel(dbm) => Some(Event::Signal { dbm: *dbm }),
                Nl80211CqmAttr::Other(field) if field.kind() == BEACON_LOSS => {
                    Some(Event::BeaconLoss)
                }
                _ => None,
            })
        }),
        _ => None,
    }
}

/// An entry of the list of stations.
pub(super) fn peer(message: &Nl80211Message) -> Option<Peer> {
    let bssid = address(message)?;
    let mut peer = Peer {
        bssid,
        authorized: None,
        dbm: None,
    };
    for attribute in &message.attributes {
        let Nl80211Attr::StationInfo(fields) = attribute else {
            continue;
        };
        for field in fields {
            match field {
                Nl80211StationInfo::StationFlags(flags) => {
                    let flag = Nl80211StationFlags::Authorized;
                    peer.authorized = (flags.mask.contains(flag)).then(|| flags.set.contains(flag));
                }
                // That of beacons is told by few drivers, and the average lags behind.
                Nl80211StationInfo::Signal(dbm) if *dbm < 0 => peer.dbm = Some((*dbm).into()),
                _ => {}
            }
        }
    }
    Some(peer)
}

/// An entry of the list of what was found.
pub(super) fn bss(message: &Nl80211Message) -> Option<Bss> {
    let fields = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            Nl80211Attr::Bss(fields) => Some(fields),
            _ => None,
        })?;
    let (mut bssid, mut frequency, mut dbm, mut age, mut ssid) = (None, None, None, None, None);
    for field in fields {
        match field {
            Nl80211BssInfo::Bssid(octets) => bssid = Some(MacAddr(*octets)),
            Nl80211BssInfo::Frequency(mhz) => frequency = Some(*mhz),
            // In hundredths of a dBm.
            Nl80211BssInfo::SignalMbm(mbm) => dbm = Some(mbm.div_euclid(100)),
            Nl80211BssInfo::SeenMsAgo(millis) => {
                age = Some(Duration::from_millis((*millis).into()))
            }
            Nl80211BssInfo::RawInformationElements(elements) => {
                ssid = name(elements);
            }
            _ => {}
        }
    }
    Some(Bss {
        id: None,
        bssid: bssid?,
        frequency: frequency?,
        dbm: dbm?,
        age,
        ssid: ssid.unwrap_or_default(),
    })
}

/// The network's name among these elements: each has a type, a length and a body.
pub(super) fn name(mut elements: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = elements {
        let body = rest.get(..usize::from(*length))?;
        if *kind == SSID_ELEMENT {
            return Some(escaped(body));
        }
        elements = &rest[body.len()..];
    }
    None
}

/// As the supplicant writes it.
fn escaped(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets {
        match octet {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x1b => text.push_str("\\e"),
            32..=126 => text.push(char::from(*octet)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text
}
