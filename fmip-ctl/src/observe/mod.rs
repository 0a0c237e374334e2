//! What people and the lab see of a running controller, and the few things they may tell it.
//!
//! The controller listens on a Unix socket ([`control`]); [`client`] is the other end. Both speak
//! lines of JSON: one [`Request`] per line one way, one answer per line the other way, and after
//! `subscribe` one line per event. The types here are that language, so that the two ends cannot
//! drift apart.

pub mod client;
pub mod control;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{proto::LinkEvent, wire::MacAddr};

/// The longest request line, in octets; the longest valid one has about a hundred.
pub const MAX_REQUEST: usize = 4_096;

/// A line from a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// Asks for a [`Status`].
    Status,
    /// Reports what the link layer did or is about to do (mobile node only).
    Trigger(Trigger),
    /// Asks for all events from now on; the connection takes no further request.
    Subscribe,
    /// Asks the controller to remove what it installed and to end.
    Shutdown,
}

/// A link-layer trigger, as far as one can be given by hand: the primitives of RFC 5270
/// section 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trigger", rename_all = "kebab-case")]
pub enum Trigger {
    /// The node is about to move to this access point.
    Impend {
        /// Its link-layer address.
        access_point: MacAddr,
    },
    /// The node is attached to this access point.
    LinkUp {
        /// Its link-layer address.
        access_point: MacAddr,
    },
    /// The node is attached to no access point.
    LinkDown,
    /// The node hears this access point.
    NewLink {
        /// Its link-layer address.
        access_point: MacAddr,
    },
}

impl From<Trigger> for LinkEvent {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Impend { access_point } => Self::HandoverImpend { access_point },
            Trigger::LinkUp { access_point } => Self::LinkUp { access_point },
            Trigger::LinkDown => Self::LinkDown,
            Trigger::NewLink { access_point } => Self::NewLinkDetected { access_point },
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
    pub address: std::net::Ipv6Addr,
    /// Packets that ever entered it.
    pub held: u64,
    /// Packets that left it towards their node.
    pub released: u64,
    /// Packets that it dropped.
    pub dropped: u64,
    /// Packets in it now.
    pub waiting: u64,
}

/// What the control socket counts about its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlCounts {
    /// Lines that were no request, or too long.
    pub bad_requests: u64,
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
