//! The configuration file: what a router or a mobile node is told before it starts.
//!
//! A pure reader: text in, a checked [`Config`] out. It asks nothing of the machine, so that a file
//! can be checked on another machine than the one it is for; what the interfaces it names
//! really are is found by `io` and joined here ([`Config::router_config`],
//! [`Config::mobile_node_config`]).
//!
//! Every error names the file, the line, the key, the value and what to do about it. The value
//! of a `key` is the exception: it is shown nowhere, neither in errors nor by `Debug`.

mod exchange;
mod file;
mod ieee80211;
mod ieee80216e;
mod told;

use std::{
    collections::BTreeSet,
    fmt,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use fmip_common::limits::DEFAULT_NODES;

use crate::{
    link::damping,
    proto,
    wire::{MacAddr, Prefix},
};

pub use ieee80211::{CONTROL_INTERFACES, Ieee80211};
pub use ieee80216e::Ieee80216e;

/// Where the control socket is if the file does not say.
pub const DEFAULT_CONTROL_SOCKET: &str = "/run/fmip/control.sock";
/// Where an access router keeps what must survive a restart if the file does not say.
pub const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/fmip";

/// The metric of a mobile node's default route if the file does not say: before one of a router
/// advertisement, which has 1024 and may still lead to the router that was left.
pub const DEFAULT_ROUTE_METRIC: u32 = 512;

/// The most addresses that something may be bound for: some 4 GiB of kernel memory.
pub const MAX_BINDINGS: u32 = 1 << 24;

/// The shortest handover key, in octets. HMAC-SHA1 gains nothing from less than its output's 20,
/// but RFC 5269 section 4 hands out 16.
pub const MIN_KEY_OCTETS: usize = 16;
/// The longest handover key, in octets: far above what HMAC-SHA1 makes use of.
pub const MAX_KEY_OCTETS: usize = 256;
/// The largest buffer pool, in packets; a slot is about 2 KiB of kernel memory that cannot be
/// swapped out.
pub const MAX_POOL_PACKETS: u32 = 1 << 20;
/// The most handover buffers; each is 192 octets of the same kind of memory.
pub const MAX_BUFFER_NODES: u32 = fmip_common::binding::NO_BUFFER as u32;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the controller listens for `fmip-ctl status` and its like.
    pub control_socket: PathBuf,
    /// What this machine is.
    pub role: Role,
    /// The handover buffer.
    pub buffer: Buffer,
    /// The protocol's timers and retry limits (RFC 5568 section 9).
    pub timers: proto::Timers,
}

/// What a machine is, and what it must know for it.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a process has one")]
pub enum Role {
    /// An access router: PAR of some handovers and NAR of others.
    AccessRouter(AccessRouter),
    /// A mobile node.
    MobileNode(MobileNode),
}

impl Role {
    /// The role as the file, `status` and the logs write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AccessRouter(_) => "access-router",
            Self::MobileNode(_) => "mobile-node",
        }
    }
}

/// The section `[access-router]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRouter {
    /// The interfaces towards the other routers; at least one.
    pub core: Vec<Core>,
    /// Where the sequence numbers of its mobile nodes are kept (AMB-21).
    pub state_directory: PathBuf,
    /// Addresses that the data path has room for: nodes that are away from here, or are coming.
    pub max_bindings: u32,
    /// What others can make it remember and do.
    pub limits: proto::Limits,
    /// The links that mobile nodes are on; at least one.
    pub access: Vec<Access>,
    /// The routers that mobile nodes are exchanged with.
    pub neighbors: Vec<Neighbor>,
    /// The handover keys of the mobile nodes.
    pub mobile_nodes: Vec<MobileNodeKey>,
}

impl AccessRouter {
    /// The neighboring routers, each by all of its addresses.
    pub fn peers(&self) -> Vec<Vec<Ipv6Addr>> {
        self.neighbors
            .iter()
            .map(|neighbor| {
                let others = neighbor.other_addresses.iter().copied();
                std::iter::once(neighbor.address).chain(others).collect()
            })
            .collect()
    }

    /// How the programs are attached to an interface, and on which side of the router it is; `None`
    /// if it is none of the router's.
    pub fn attachment(&self, interface: &str) -> Option<(Attach, Side)> {
        let core = self.core.iter().map(|core| {
            let side = (core.attach, Side::Core);
            (&core.interface, side)
        });
        let access = self.access.iter().map(|access| {
            let side = (access.attach, Side::Access);
            (&access.interface, side)
        });
        core.chain(access)
            .find(|(name, _)| *name == interface)
            .map(|(_, found)| found)
    }

    /// As many bindings as all handovers may need.
    pub(crate) fn min_bindings(&self) -> u32 {
        let handovers = u32::try_from(self.limits.max_handovers).unwrap_or(u32::MAX);
        handovers.saturating_mul(BINDINGS_PER_HANDOVER as u32)
    }

    /// The addresses of the mobile nodes that a key is configured for.
    pub fn keyed(&self) -> BTreeSet<Ipv6Addr> {
        self.mobile_nodes.iter().map(|node| node.pcoa).collect()
    }
}

/// A node that leaves is one binding, and one that comes may be two.
const BINDINGS_PER_HANDOVER: u64 = 2;

/// A name in `core-interfaces`, or an `[[access-router.core]]`: an interface towards the other
/// routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// The interface's name.
    pub interface: String,
    /// How the programs are attached to it.
    pub attach: Attach,
}

/// Where the programs meet the packets of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attach {
    /// In its driver if that can do all that is needed, else by TC.
    #[default]
    Auto,
    /// In its driver (native XDP), or not at all.
    Native,
    /// By TC.
    Tc,
    /// In the kernel's network stack (generic XDP): for tests, and where nothing else is left.
    Generic,
}

impl Attach {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Native, Self::Tc, Self::Generic];

    /// The word that the file has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Tc => "tc",
            Self::Generic => "generic",
        }
    }
}

/// On which side of a router an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards the other routers.
    Core,
    /// Towards the mobile nodes.
    Access,
}

/// An `[[access-router.access]]`: a link that mobile nodes are on.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// The interface's name.
    pub interface: String,
    /// How the programs are attached to it.
    pub attach: Attach,
    /// This router's global address on the link.
    pub address: Ipv6Addr,
    /// The prefix of the link, 64 bits at most.
    pub prefix: Prefix,
    /// The access points that bridge to this link.
    pub access_points: Vec<MacAddr>,
    /// Where mobile nodes that come have their address from.
    pub addressing: proto::Addressing,
    /// What happens to the packets of a mobile node that leaves without a word.
    pub departure: proto::Departure,
    /// How long the link is asked whether somebody has an address; `None`: not at all.
    pub duplicate_probe: Option<Duration>,
    /// What a mobile node is told that comes with an address which it cannot have.
    pub on_invalid_ncoa: proto::OnInvalidNcoa,
    /// The only mobile nodes that are taken; all, if there are none.
    pub known_link_addresses: Vec<MacAddr>,
    /// The control sockets of the access points' hostapds, which tell who comes and goes.
    pub hostapd: Vec<PathBuf>,
    /// How packets leave that are held for its mobile nodes.
    pub buffer: BufferPolicy,
}

/// An `[[access-router.neighbor]]`: one access link of another router.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbor {
    /// The router's global address on that link; HI and tunnels go there.
    pub address: Ipv6Addr,
    /// Its link-layer address on that link.
    pub link_address: MacAddr,
    /// The prefix of that link, 64 bits at most.
    pub prefix: Prefix,
    /// The access points that bridge to that link.
    pub access_points: Vec<MacAddr>,
    /// All addresses that the router writes and tunnels from, besides `address` (AMB-20).
    pub other_addresses: Vec<Ipv6Addr>,
    /// Where mobile nodes have their address from there.
    pub addressing: proto::PeerAddressing,
    /// Whether it knows fast handovers at all.
    pub fast_handover: bool,
}

/// An `[[access-router.mobile-node]]`: what authenticates the FBUs for one address.
#[derive(Clone, Debug, PartialEq)]
pub struct MobileNodeKey {
    /// The mobile node's address on this router's link.
    pub pcoa: Ipv6Addr,
    /// The security parameter index that goes with the key; never 0, which stands for keys made
    /// by SEND (RFC 5568 section 6.4.5).
    pub spi: u32,
    /// The key that the mobile node shares with this router.
    pub key: Key,
}

/// The section `[mobile-node]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MobileNode {
    /// The name of the interface that moves.
    pub interface: String,
    /// The router that the node is attached to now; `None`: that of `routers` whose prefix the node
    /// has an address in.
    pub access_router: Option<CurrentRouter>,
    /// The node's address on that router's link; `None`: the one that the interface has there.
    pub pcoa: Option<Ipv6Addr>,
    /// The access point the node is attached to now, if known.
    pub access_point: Option<MacAddr>,
    /// How long a start waits until the interface has such an address.
    pub start_timeout: Duration,
    /// How long a binding the node asks for, in whole seconds.
    pub lifetime: Duration,
    /// The metric of its default route, lower before higher.
    pub route_metric: u32,
    /// How it says that it has arrived.
    pub announcement: proto::Announcement,
    /// The other routers that the node may be handed over from.
    pub routers: Vec<RouterKey>,
    /// How often its router is asked for all access points around; never, if none.
    pub neighborhood_interval: Option<Duration>,
    /// How long a router that did not answer is not asked again at first; never again, if none.
    pub silent_router_interval: Option<Duration>,
    /// What tells it what its radio does and is about to do.
    pub link_layer: LinkLayerKind,
    /// How what that tells is damped.
    pub damping: damping::Settings,
    /// What a Mobile IPv6 implementation on the node is told.
    pub mobile_ipv6: MobileIpv6,
}

/// The router that a mobile node is said to be attached to when it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentRouter {
    /// Its global address on the link.
    pub address: Ipv6Addr,
    /// The security parameter index that goes with the key; never 0.
    pub spi: u32,
    /// The key that the node shares with it.
    pub key: Key,
}

/// The section `[mobile-node.mobile-ipv6]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobileIpv6 {
    /// The program that is run with every new care-of address, and its arguments; none if empty.
    pub on_care_of_address: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
}

/// What tells a mobile node what its radio does and is about to do, and moves it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LinkLayerKind {
    /// Somebody else, by the control socket.
    #[default]
    Told,
    /// Nobody, and so the carrier of its interface must do.
    Carrier,
    /// 802.11: wpa_supplicant and the kernel.
    Ieee80211(Box<Ieee80211>),
    /// 802.16e: a station of its own.
    Ieee80216e(Ieee80216e),
}

/// A `[[mobile-node.router]]`: what authenticates the node's FBUs to another router than the first.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterKey {
    /// The router's global address on the link that the node is handed over from.
    pub address: Ipv6Addr,
    /// The prefix of that link.
    pub prefix: Prefix,
    /// The access point that the router itself is, if it is one.
    pub access_point: Option<MacAddr>,
    /// The security parameter index that goes with the key; never 0.
    pub spi: u32,
    /// The key that the node shares with that router.
    pub key: Key,
}

/// The section `[buffer]`: how packets are held while a mobile node is between two links.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Whether this router asks its neighbors to hold packets (the U flag of HI).
    pub enabled: bool,
    /// Packets that can be held for all mobile nodes together.
    pub packets: u32,
    /// Packets that can be held for one mobile node; not above `packets`.
    pub packets_per_node: u32,
    /// Octets that can be held for one mobile node.
    pub bytes_per_node: u64,
    /// Mobile nodes whose packets can be held at the same time.
    pub nodes: u32,
    /// Packets of each of them that find room whatever the others hold; not above `packets_per_node`,
    /// and for all of them together not above `packets`.
    pub guaranteed_per_node: u32,
    /// How packets leave, unless their link's own section says otherwise.
    pub policy: BufferPolicy,
}

/// How held packets leave, and how long they may stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BufferPolicy {
    /// How held packets leave.
    pub drain: Drain,
    /// How much faster than it arrived a backlog leaves when paced; above 1, or it would never
    /// shrink.
    pub catch_up: f64,
    /// The longest time that a packet may be held.
    pub max_hold: Duration,
}

impl Default for BufferPolicy {
    fn default() -> Self {
        Self {
            drain: Drain::Paced,
            catch_up: 2.0,
            max_hold: Duration::from_secs(10),
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            enabled: true,
            packets: 16_384,
            packets_per_node: 8_192,
            bytes_per_node: 16 << 20,
            nodes: DEFAULT_NODES,
            guaranteed_per_node: 8,
            policy: BufferPolicy::default(),
        }
    }
}

/// How held packets leave the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// At most 5 back to back, then at the rate at which they came, times the catch-up factor
    /// (RFC 5568 section 5.4).
    Paced,
    /// As fast as the link takes them.
    Burst,
}

impl Drain {
    /// The policy as the file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::Burst => "burst",
        }
    }
}

/// A handover key. `Debug` says how long it is and no more.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key's octets, [`MIN_KEY_OCTETS`] to [`MAX_KEY_OCTETS`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} octets)", self.0.len())
    }
}

/// What the kernel knows about an interface that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index in the controller's network namespace.
    pub index: u32,
    /// Its link-layer address.
    pub link_address: MacAddr,
    /// The largest packet it sends, in octets.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Its link-local address, if it has one.
    pub link_local: Option<Ipv6Addr>,
    /// Its global addresses and their prefix lengths.
    pub addresses: Vec<(Ipv6Addr, u8)>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The file is not TOML, or does not say what it should.
    #[error("{}:{line}: {}{message}", file.display(), Prefixed(key))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, with its sections in front of it; empty for the file as a whole.
        key: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The file changes what a running controller cannot change.
    #[error(
        "{}: {key}: cannot change while the controller runs: put back the old value, or restart it",
        file.display()
    )]
    Fixed {
        /// The file.
        file: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// The file and the machine's interfaces do not go together.
    #[error("{key}: {message}")]
    Interface {
        /// The key that names the interface or one of its addresses.
        key: &'static str,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// `key: `, or nothing for an empty key.
struct Prefixed<'a>(&'a str);

impl fmt::Display for Prefixed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, "{}: ", self.0)
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`], or those of [`Config::parse`].
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(file, &text)
    }

    /// Checks a file's text; `file` is its name for error messages.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for the first thing that is wrong.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        file::parse(file, text)
    }

    /// The names of all interfaces that the configuration uses, each once.
    pub fn interface_names(&self) -> Vec<&str> {
        match &self.role {
            Role::AccessRouter(router) => router
                .core
                .iter()
                .map(|core| &core.interface)
                .chain(router.access.iter().map(|access| &access.interface))
                .map(String::as_str)
                .collect(),
            Role::MobileNode(node) => vec![&node.interface],
        }
    }
}

#[cfg(test)]
mod tests;
