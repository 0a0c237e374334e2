//! What the machines must know before they start.

use std::{fmt, net::Ipv6Addr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::wire::{MacAddr, Prefix};

use super::InterfaceIndex;

/// Times and limits; the defaults are those of RFC 5568 section 9.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// RTSOLPR_RETRIES: how often an unanswered RtSolPr is sent again.
    pub rtsolpr_retries: u32,
    /// MAX_RTSOLPR_RATE: RtSolPrs in any one second; at least 1.
    pub max_rtsolpr_rate: u32,
    /// FBU_RETRIES: how often an unanswered FBU is sent again.
    pub fbu_retries: u32,
    /// PROXY_ND_LIFETIME: how long a NAR waits for the mobile node.
    pub proxy_nd_lifetime: Duration,
    /// HI_RETRIES: how often an unanswered HI is sent again.
    pub hi_retries: u32,
    /// The first wait for an answer, doubled for each retransmission: twice the round-trip time,
    /// or 100 ms (RFC 5568 sections 6.1.1 and 6.2.1.1; AMB-07 for the FBU).
    pub initial_timeout: Duration,
    /// How often a UNA is sent again; nothing acknowledges it (UNA-04).
    pub una_retries: u32,
    /// The time between two UNAs, "far shorter" than RetransTimer (UNA-04).
    pub una_interval: Duration,
    /// The longest lifetime that a PAR grants (TUN-06).
    pub max_binding_lifetime: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            rtsolpr_retries: 3,
            max_rtsolpr_rate: 3,
            fbu_retries: 3,
            proxy_nd_lifetime: Duration::from_millis(1500),
            hi_retries: 3,
            initial_timeout: Duration::from_millis(100),
            una_retries: 2,
            una_interval: Duration::from_millis(100),
            max_binding_lifetime: Duration::from_secs(60),
        }
    }
}

/// All that an access router must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterConfig {
    /// Times and limits.
    pub timers: Timers,
    /// Our links that mobile nodes are on.
    pub access: Vec<AccessLink>,
    /// The routers that take over our mobile nodes, and give us theirs.
    pub peers: Vec<Peer>,
    /// Handover keys.
    pub mobile_nodes: Vec<HandoverKey>,
    /// Whether a NAR is asked to hold packets (the HI's 'U' flag).
    pub buffering: bool,
    /// What others can make us remember and do.
    pub limits: Limits,
}

impl RouterConfig {
    /// The access link of an interface.
    pub(super) fn link(&self, interface: InterfaceIndex) -> Option<&AccessLink> {
        self.access.iter().find(|link| link.interface == interface)
    }
}

/// Bounds on what others can make a router remember and do (SEC-07).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Handovers at one time, both roles together.
    pub max_handovers: usize,
    /// Handovers at one time with one neighboring router.
    pub max_per_peer: usize,
    /// Handovers at one time from or to one access link.
    pub max_per_link: usize,
    /// Signalling messages per second from one source, and as many at once: from one station of an
    /// access link, or from one address elsewhere. A neighboring router speaks for many mobile
    /// nodes, and may send `max_per_peer` if that is more.
    pub signalling_per_source: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_handovers: 1024,
            max_per_peer: 1024,
            max_per_link: 1024,
            signalling_per_source: 100,
        }
    }
}

/// A link of ours that mobile nodes are on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLink {
    /// Our interface on it.
    pub interface: InterfaceIndex,
    /// Our global address on it.
    pub address: Ipv6Addr,
    /// Our link-local address on it.
    pub link_local: Ipv6Addr,
    /// Our link-layer address on it.
    pub lla: MacAddr,
    /// The prefix that mobile nodes form addresses from.
    pub prefix: Prefix,
    /// The access points on it.
    pub access_points: Vec<MacAddr>,
    /// The largest packet on it, in octets: at least 1280 (RFC 8200 section 5).
    pub mtu: usize,
    /// Where mobile nodes that come have their address from.
    pub addressing: Addressing,
    /// What happens to the packets of a mobile node that leaves without a word.
    pub departure: Departure,
    /// How long the link is asked whether an NCoA is in use there (HI-12); `None`: not at all, as
    /// with DupAddrDetectTransmits 0 (RFC 4862 section 5.1).
    pub duplicate_probe: Option<Duration>,
    /// What a mobile node is told that comes with an NCoA which it cannot have.
    pub on_invalid_ncoa: OnInvalidNcoa,
    /// The only mobile nodes that are taken; all, if there are none.
    pub known_link_addresses: Vec<MacAddr>,
}

impl AccessLink {
    /// Whether a mobile node with this link-layer address may come.
    pub(super) fn takes(&self, lla: MacAddr) -> bool {
        let known = &self.known_link_addresses;
        known.is_empty() || known.contains(&lla)
    }

    /// Whether mobile nodes have their address from us, if the PAR `asks` for that.
    pub(super) fn assigns(&self, asks: bool) -> bool {
        match self.addressing {
            Addressing::Stateless => false,
            Addressing::Assigned { .. } => true,
            Addressing::KeepPcoa => !asks,
        }
    }

    /// Whether a mobile node that cannot have its NCoA keeps its previous address here.
    pub(super) fn keeps_pcoa(&self) -> bool {
        self.addressing == Addressing::KeepPcoa
            || self.on_invalid_ncoa == OnInvalidNcoa::UseRouterAddress
    }
}

/// Where a mobile node that comes has its address from.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// It makes one itself (RFC 4862).
    #[default]
    Stateless,
    /// We assign one (HAck with Code 2).
    Assigned {
        /// The addresses to assign, within the link's prefix.
        pool: Prefix,
    },
    /// It keeps its previous one, with a host route and a tunnel to the PAR (HAck with Code 3).
    KeepPcoa,
}

/// What happens to the packets of a mobile node that leaves without a word.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Departure {
    /// They are lost, as by any router.
    #[default]
    Ignore,
    /// They are held from when its departure is known.
    Hold {
        /// For how long.
        lifetime: Duration,
    },
    /// The last ones are kept beside being delivered, and held from when its departure is known.
    Copy {
        /// How far back; what the mobile node had of it already, it gets twice.
        window: Duration,
        /// How long they are held.
        lifetime: Duration,
    },
}

/// What a mobile node is told that comes with an NCoA which it cannot have (RFC 5568 section
/// 6.4.6).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnInvalidNcoa {
    /// Nothing.
    #[default]
    Silent,
    /// NAACK 1: to configure an address as on any link.
    Configure,
    /// NAACK 2: an address of the link's pool.
    Assign,
    /// NAACK 3: to give our address as its NCoA to the PAR.
    UseRouterAddress,
}

/// An access link of a neighbouring router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The router's global address on it.
    pub address: Ipv6Addr,
    /// The router's link-layer address on it.
    pub lla: MacAddr,
    /// The prefix that mobile nodes form addresses from.
    pub prefix: Prefix,
    /// The access points on it.
    pub access_points: Vec<MacAddr>,
    /// All addresses that the router writes and tunnels from, besides `address` (AMB-20).
    pub other_addresses: Vec<Ipv6Addr>,
    /// Where mobile nodes have their address from there.
    pub addressing: PeerAddressing,
    /// Whether it knows fast handovers at all (PRA-13).
    pub fast_handover: bool,
}

impl Peer {
    /// Whether `address` is one of the router's.
    pub(super) fn has(&self, address: Ipv6Addr) -> bool {
        self.address == address || self.other_addresses.contains(&address)
    }
}

/// Where mobile nodes have their address from at a neighboring router.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerAddressing {
    /// They make one themselves.
    #[default]
    Stateless,
    /// It assigns one: the HI has the 'S' flag.
    Assigned,
    /// By DHCP after they have arrived: a PrRtAdv has Code 5, and only packets for the PCoA are
    /// forwarded (PRA-22).
    Dhcp,
}

/// The key shared with one mobile node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverKey {
    /// The one previous care-of address that it speaks for (SEC-08).
    pub pcoa: Ipv6Addr,
    /// Its index in the BADF option.
    pub spi: u32,
    /// The key itself.
    #[serde(with = "super::hex")]
    pub key: Vec<u8>,
}

impl fmt::Debug for HandoverKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoverKey")
            .field("pcoa", &self.pcoa)
            .field("spi", &self.spi)
            .finish_non_exhaustive()
    }
}

/// All that a mobile node must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MobileNodeConfig {
    /// Times and limits.
    pub timers: Timers,
    /// The interface that moves.
    pub interface: InterfaceIndex,
    /// Its link-layer address.
    pub lla: MacAddr,
    /// Its care-of address at the current router.
    pub pcoa: Ipv6Addr,
    /// The current router's global address.
    pub par: Ipv6Addr,
    /// The access point it is attached to, if that is known.
    pub current_access_point: Option<MacAddr>,
    /// The current router's link-layer address, if that is known: what was held while the link was
    /// gone needs it to leave at once when it is back.
    #[serde(default)]
    pub router_lla: Option<MacAddr>,
    /// The keys shared with all the routers that it may be handed over from, `par` among them.
    pub routers: Vec<RouterKey>,
    /// The lifetime asked for in an FBU: whole seconds, 1..=65535.
    pub lifetime: Duration,
    /// How it says that it has arrived.
    pub announcement: Announcement,
    /// How often its router is asked for all access points that it knows, beginning at once (RFC
    /// 4260 section 6); `None`: only on a new link.
    #[serde(default)]
    pub neighborhood_interval: Option<Duration>,
    /// How long a router that did not answer is not asked again; twice as long after each further
    /// silence, up to 16 times. `None`: as long as it is on that link (RTS-09).
    #[serde(default)]
    pub silent_router_interval: Option<Duration>,
}

/// The key that a mobile node shares with one access router.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterKey {
    /// The router's global address on the link that it is handed over from.
    pub router: Ipv6Addr,
    /// The prefix of that link: tells the router on a link that was not predicted.
    pub prefix: Option<Prefix>,
    /// The access point that this router itself is (RFC 4260 figure 2): its link-layer address is
    /// the router's, so that nobody needs to be asked for it (W11-09).
    #[serde(default)]
    pub access_point: Option<MacAddr>,
    /// The key's index in the BADF option.
    pub spi: u32,
    /// The key itself.
    #[serde(with = "super::hex")]
    pub key: Vec<u8>,
}

impl fmt::Debug for RouterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterKey")
            .field("router", &self.router)
            .field("prefix", &self.prefix)
            .field("access_point", &self.access_point)
            .field("spi", &self.spi)
            .finish_non_exhaustive()
    }
}

/// How a mobile node says that it has arrived.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Announcement {
    /// By a UNA, and an FBU behind it if none was answered before (RFC 5568 section 4).
    #[default]
    Una,
    /// By an FNA that carries the FBU, for routers of RFC 4068.
    Fna,
}
