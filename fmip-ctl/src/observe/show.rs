//! What `fmip-ctl show` tells: the data path as a whole, what is bound, and the handover buffers.

use std::{collections::BTreeMap, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Count;
use crate::{
    link::Health,
    proto::{AnnouncementsLeft, HandoverUnderWay, Tunnel},
    wire::MacAddr,
};

/// The most bindings, or buffers, in one answer: what takes the event loop some hundred microseconds.
pub const MAX_PAGE: u32 = 512;

/// Which part of a list is asked for. A list is in the order of its addresses; what comes and goes
/// between two pages is in one of them or in none, but never twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The lowest address; the first one if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Ipv6Addr>,
    /// How many at most; more than [`MAX_PAGE`], or none given, is as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Page {
    /// How many are wanted, and allowed.
    pub fn length(&self) -> usize {
        self.limit.map_or(MAX_PAGE, |limit| limit.min(MAX_PAGE)) as usize
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed<T> {
    /// What was found. It may be less than was asked for, or nothing, and yet not be the end.
    pub list: Vec<T>,
    /// Where the list goes on, the next [`Page::from`]; `None` at its end.
    pub next: Option<Ipv6Addr>,
}

/// The data path as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPath {
    /// `access-router` or `mobile-node`.
    pub role: String,
    /// The interfaces that the programs are attached to.
    pub interfaces: Vec<InterfaceStatus>,
    /// What is counted for no single interface, by the reason's name: what leaves the buffers, and all
    /// that comes in where there are no counters of its own.
    pub elsewhere: BTreeMap<String, Count>,
    /// The sums of all counters, by the reason's name.
    pub reasons: BTreeMap<String, Count>,
    /// The room for held packets.
    pub pool: PoolStatus,
    /// The table of bindings.
    pub bindings: Usage,
    /// Memory of the maps in the kernel, by what it is for.
    pub memory_octets: BTreeMap<String, u64>,
    /// Signalling that the controller did not get, by its cause.
    pub signalling_lost: BTreeMap<String, u64>,
    /// Events that were not told, because there were too many of them, by their name.
    pub events_lost: BTreeMap<String, u64>,
}

/// An interface with the programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// How its packets are met: `native`, `tc` or `generic`.
    pub mode: Option<String>,
    /// Index of the interface that redirected frames go to: of a VLAN its parent, else the same. `None`
    /// where the kernel is given them.
    pub port: Option<u32>,
    /// The VLAN tags of its frames there, the outer one first.
    pub tags: Vec<TagStatus>,
    /// How often every way out of the data path was taken, by the reason's name; `None` if it is counted
    /// together with others.
    pub reasons: Option<BTreeMap<String, Count>>,
}

/// A VLAN tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagStatus {
    /// `802.1Q` or `802.1ad`.
    pub protocol: String,
    /// The VLAN.
    pub vlan: u16,
}

/// How much of something is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// So many are.
    pub used: u64,
    /// Of so many.
    pub room: u64,
}

/// The room for held packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Packets, of all nodes.
    pub slots: Usage,
    /// Packets beyond what is guaranteed to their nodes.
    pub shared: Usage,
    /// Packets of each node that find room whatever the others hold.
    pub guaranteed_per_node: u32,
    /// Buffers: nodes whose packets are held.
    pub buffers: Usage,
}

/// What is bound for one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BindingEntry {
    /// The address.
    pub address: Ipv6Addr,
    /// What happens to its packets: `tunnel`, `buffer`, `copy`, `host` or `mobile`.
    pub action: String,
    /// The tunnel that they go into, or, of a node that is a guest here, that its packets go into.
    pub tunnel: Option<Tunnel>,
    /// Where they leave to; `None`: by the kernel's routes, packet by packet.
    pub next_hop: Option<NextHopStatus>,
    /// The number of the handover buffer, if there is one.
    pub buffer: Option<u32>,
    /// The time that it has left; 0 if it is over, `None` if it does not end by itself.
    pub expires_in_s: Option<f64>,
    /// Packets that met it.
    pub packets: u64,
    /// Their octets, from the Ethernet header on.
    pub octets: u64,
}

/// Where packets leave to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHopStatus {
    /// The interface's name.
    pub interface: String,
    /// The link-layer address of the router, or node, that gets them.
    pub link_address: MacAddr,
}

/// What a handover buffer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BufferState {
    /// Packets wait until they are released.
    Holding,
    /// What waits is being released; what comes waits behind it.
    Draining,
    /// It is drained: packets go straight on.
    Direct,
    /// Packets go on as if nothing were bound, and a copy of each is kept for a while.
    Copying,
}

impl BufferState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holding => "holding",
            Self::Draining => "draining",
            Self::Direct => "direct",
            Self::Copying => "copying",
        }
    }
}

/// One handover buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferEntry {
    /// Whose packets it holds.
    pub address: Ipv6Addr,
    /// What it does.
    pub state: BufferState,
    /// Packets that wait now.
    pub waiting_packets: u64,
    /// Their octets, from the IPv6 header on.
    pub waiting_octets: u64,
    /// The most packets that ever waited at one time.
    pub high_water_packets: u64,
    /// Packets that ever entered it, without copies that went unused.
    pub held: u64,
    /// Packets that left it towards their node.
    pub released: u64,
    /// Packets that it did not take or did not send, by what kept them.
    pub dropped: BTreeMap<String, u64>,
    /// Bound on the packets that wait.
    pub max_packets: u32,
    /// Packets that find room whatever others hold.
    pub guaranteed_packets: u32,
    /// Bound on their octets.
    pub max_octets: u64,
    /// Bound on the time that a packet waits.
    pub max_age_ms: u64,
}

/// A mobile node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MobileState {
    /// Its interface.
    pub interface: String,
    /// Whether the link is there.
    pub link_up: bool,
    /// The link layer that drives it, such as `802.11`; `None` if it is told by the control socket.
    pub link_layer: Option<String>,
    /// Whether what the link layer depends on is there, if it said so.
    pub health: Option<Health>,
    /// Where it is attached, or was last.
    pub access_point: Option<MacAddr>,
    /// The router of the link, if one is known.
    pub router: Option<Ipv6Addr>,
    /// That router's link-layer address, if it is known.
    pub router_link_address: Option<MacAddr>,
    /// If the router did not answer when it was asked for its neighborhood.
    pub silent_router: Option<SilentEntry>,
    /// The address in use.
    pub care_of: Ipv6Addr,
    /// Whether that address is usable on this link.
    pub settled: bool,
    /// Whether Mobile IPv6 has said that it has registered it.
    pub registered: bool,
    /// The global addresses of the interface.
    pub addresses: Vec<AddressEntry>,
    /// Earlier addresses with a tunnel, the oldest first.
    pub previous: Vec<PreviousEntry>,
    /// The handover that is under way.
    pub handover: Option<HandoverUnderWay>,
    /// The announcements that are still to be sent.
    pub announcing: Option<AnnouncementsLeft>,
    /// Access points that are heard, or that the router told about.
    pub access_points: Vec<AccessPointEntry>,
    /// What was counted of what matters, by its name.
    pub counters: BTreeMap<String, u64>,
}

/// A router that did not answer, and is taken for one that knows no fast handovers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SilentEntry {
    /// The time until it is asked again; `None`: not as long as the node is on its link.
    pub asked_in_s: Option<f64>,
}

/// An address of a mobile node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressEntry {
    /// The address.
    pub address: Ipv6Addr,
    /// Of its prefix.
    pub prefix_length: u8,
    /// `care-of` (configured by this controller), `kept` (for a tunnel), or `other`.
    pub role: String,
    /// What the kernel says of it, such as `optimistic` or `deprecated`.
    pub flags: Vec<String>,
    /// For how many seconds something new may begin from it; `None`: for ever.
    pub preferred_s: Option<u32>,
    /// For how many seconds it is there; `None`: for ever.
    pub valid_s: Option<u32>,
}

/// An earlier address whose packets still come, and go, through a tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviousEntry {
    /// The address.
    pub address: Ipv6Addr,
    /// The tunnel.
    pub tunnel: Tunnel,
    /// The time that it has left.
    pub expires_in_s: f64,
    /// Whether its router was, or is being, asked to end it.
    pub ending: bool,
}

/// An access point that is heard, or that the router told about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPointEntry {
    /// Its link-layer address.
    pub access_point: MacAddr,
    /// Whether the node is attached to it.
    pub attached: bool,
    /// How strong it is, if it is heard.
    pub signal_dbm: Option<i32>,
    /// How long ago that was measured.
    pub age_ms: Option<u64>,
    /// What the router said of it: `router`, `same-link`, `unknown` or `no-fast-handover`; `None` if it
    /// was not asked.
    pub knowledge: Option<String>,
    /// The router behind it.
    pub router: Option<Ipv6Addr>,
    /// The prefix of its link.
    pub prefix: Option<String>,
    /// The address that the node would have there.
    pub ncoa: Option<Ipv6Addr>,
}
