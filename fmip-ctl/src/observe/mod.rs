//! What people and the lab see of a running controller, and the few things they may tell it.
//!
//! The controller listens on a Unix socket ([`control`]); [`client`] is the other end. Both speak
//! lines of JSON: one [`Request`] per line one way, one answer per line the other way, and after
//! `subscribe` one line per event. The types here are that language, so that the two ends cannot
//! drift apart.

pub mod client;
pub mod control;
mod request;
pub mod show;

use std::{collections::BTreeMap, net::Ipv6Addr, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    link::{damping, vocabulary::Indication},
    wire::MacAddr,
};

/// The longest request line, in octets; the longest valid one has about a hundred.
pub const MAX_REQUEST: usize = 4_096;

/// A line from a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// Asks for a [`Status`].
    Status,
    /// Asks for the [`show::DataPath`].
    ShowDatapath,
    /// Asks for what is bound, as [`show::Listed`] [`show::BindingEntry`]s.
    ShowBindings(show::Page),
    /// Asks for the handover buffers, as [`show::Listed`] [`show::BufferEntry`]s.
    ShowBuffers(show::Page),
    /// Reports what the link layer did or is about to do, or asks a router to act on a node.
    Trigger(Trigger),
    /// Tells a mobile node a primitive of its link layer, in the words of RFC 5270 or of IEEE 802.21;
    /// or that a LINK_SWITCH failed.
    Primitive(Indication),
    /// Asks a mobile node for a [`show::MobileState`].
    ShowMobile,
    /// Tells a mobile node that Mobile IPv6 has registered its care-of address.
    Registered {
        /// The care-of address.
        care_of: Ipv6Addr,
    },
    /// Asks an access router to read its configuration file again.
    Reload,
    /// Asks for all events from now on; the connection takes no further request.
    Subscribe,
    /// Asks the controller to remove what it installed and to end.
    Shutdown,
}

/// What can be told a controller by hand: the link-layer triggers of RFC 5270 section 5 to that of a
/// mobile node, what happens on its access links and what it shall do to that of an access router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trigger", rename_all = "kebab-case")]
pub enum Trigger {
    /// Mobile node: it is about to move to this access point.
    Impend {
        /// Its link-layer address.
        access_point: MacAddr,
    },
    /// Mobile node: it is attached to this access point.
    LinkUp {
        /// Its link-layer address.
        access_point: MacAddr,
    },
    /// Mobile node: it is attached to no access point.
    LinkDown,
    /// Mobile node: it hears this access point.
    NewLink {
        /// Its link-layer address.
        access_point: MacAddr,
    },
    /// Access router: a mobile node is on an access link.
    Attached {
        /// The node's address on the link.
        node: Ipv6Addr,
        /// The node's link-layer address.
        link_address: MacAddr,
        /// The link's interface; if it is not given, the one whose prefix `node` is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
    /// Access router: a mobile node has left an access link.
    Departed {
        /// The node's address on the link.
        node: Ipv6Addr,
        /// As in `Attached`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
    /// Access router: a station is on an access link, as its access point or base station knows it.
    StationAttached(StationOfLink),
    /// Access router: a station has left an access link.
    StationDeparted(StationOfLink),
    /// Access router: make a mobile node move (RFC 5568 section 3.3).
    Handover {
        /// The node's address on a link of this router.
        node: Ipv6Addr,
        /// Where it is to move to.
        access_point: MacAddr,
        /// The address that it is to use there; if it is not given, the node chooses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ncoa: Option<Ipv6Addr>,
    },
    /// Access router: tell a mobile node about the access points around.
    Advertise {
        /// The node's address on a link of this router.
        node: Ipv6Addr,
    },
}

/// A station of an access link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationOfLink {
    /// The station's link-layer address.
    pub link_address: MacAddr,
    /// The link's interface; it can be left out if there is one access link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The access point or base station that it came to or has left, if there are several on the link: what
    /// one says late of a station that is at another by now is no departure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_point: Option<MacAddr>,
}

impl Trigger {
    /// The name that it has in requests and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Impend { .. } => "impend",
            Self::LinkUp { .. } => "link-up",
            Self::LinkDown => "link-down",
            Self::NewLink { .. } => "new-link",
            Self::Attached { .. } => "attached",
            Self::Departed { .. } => "departed",
            Self::StationAttached { .. } => "station-attached",
            Self::StationDeparted { .. } => "station-departed",
            Self::Handover { .. } => "handover",
            Self::Advertise { .. } => "advertise",
        }
    }
}

/// What a controller did so far and does now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `access-router` or `mobile-node`.
    pub role: String,
    /// Since the programs were loaded.
    pub uptime_s: f64,
    /// How often every way out of the data path was taken, by the reason's name.
    pub reasons: BTreeMap<String, Count>,
    /// The signalling counters of the protocol core, by name.
    pub signalling: Value,
    /// The handovers in progress.
    pub handovers: Vec<Value>,
    /// The handover buffers, one for each address that has one.
    pub buffers: Vec<BufferStatus>,
    /// Packets that ever entered a buffer.
    pub held: u64,
    /// Packets that left a buffer towards their node.
    pub released: u64,
    /// What a mobile node's link layer told and was damped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damping: Option<damping::Counters>,
    /// How often what happened in a mobile node's link layer, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub link_layer: BTreeMap<String, u64>,
    /// How often a mobile node's handover was not a fast one, by the reason's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_handovers: BTreeMap<String, u64>,
    /// What came by the rings of the data path.
    #[serde(default)]
    pub data_path: DataPathCounts,
    /// The hostapds of an access router's access points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostapd: Vec<HostapdStatus>,
    /// Stations that hostapd told of and that have none of the addresses with a key.
    #[serde(default)]
    pub unknown_stations: u64,
    /// What the control socket itself counts; filled in by it.
    #[serde(default)]
    pub control: ControlCounts,
}

/// Packets and their octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Octets of these packets, from the Ethernet header on.
    pub bytes: u64,
}

/// One handover buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferStatus {
    /// Whose packets it holds.
    pub address: Ipv6Addr,
    /// Packets that ever entered it.
    pub held: u64,
    /// Packets that left it towards their node.
    pub released: u64,
    /// Packets that it dropped.
    pub dropped: u64,
    /// Packets in it now.
    pub waiting: u64,
}

/// What came from the data path, and what did not. (Signalling that never reached its ring is among the
/// reasons.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPathCounts {
    /// Signalling messages that were given to the protocol.
    pub signals_received: u64,
    /// Signalling that was longer than any message, or cut short, and was not read.
    pub signals_cut: u64,
    /// Events that were not told, because there were too many of them, by their name.
    pub events_lost: BTreeMap<String, u64>,
}

/// A hostapd that is listened to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostapdStatus {
    /// Its control socket.
    pub hostapd: PathBuf,
    /// The access link that it bridges to.
    pub interface: String,
    /// `connecting`, `connected` or `lost`.
    pub state: String,
    /// Why it was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Stations at it.
    pub stations: usize,
    /// What it said that was not understood.
    pub garbage: u64,
}

/// What the control socket counts about its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlCounts {
    /// Lines that were no request, or too long.
    pub bad_requests: u64,
    /// Primitives and triggers that there are not, or not so, or not here.
    #[serde(default)]
    pub refused_primitives: u64,
    /// Subscribers that were disconnected because they did not read fast enough.
    pub slow_subscribers: u64,
    /// Connections refused because too many were open.
    pub refused_connections: u64,
}

/// A line to a subscriber.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// When it happened, on the kernel's monotonic clock, in nanoseconds.
    pub time_ns: u64,
    /// The event's name, in kebab-case.
    pub event: String,
    /// The event's own fields.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

pub use request::RequestError;

/// The answer to a primitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// What became of it.
    pub outcome: damping::Outcome,
}

/// `{"ok":true, ...}` or `{"ok":false,"error":"..."}`.
#[derive(Serialize, Deserialize)]
struct Answer<T> {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    body: Option<T>,
}

#[cfg(test)]
mod tests;
