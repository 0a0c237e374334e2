//! The file itself: its shape, the check of every value, and the way back from a fault to line and
//! key.
//!
//! Values that have a syntax of their own stay text in the `Raw` types and are parsed in `check`,
//! so that all of them are refused in the same words.

mod fault;
mod value;

use std::{
    net::Ipv6Addr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::{Spanned, de::DeTable};

use self::{
    fault::{Fault, Unique, bad},
    value::{
        check_directory, check_global_address, check_interface_name, check_key, check_link_address,
        check_pool, check_prefix, check_socket_path, check_spi, choice, integer, milliseconds,
    },
};
use super::{
    Access, AccessRouter, Buffer, Config, ConfigError, DEFAULT_CONTROL_SOCKET,
    DEFAULT_STATE_DIRECTORY, Drain, MAX_POOL_PACKETS, MobileNode, MobileNodeKey, Neighbor, Role,
    RouterKey,
};
use crate::{
    proto,
    wire::{MacAddr, Prefix},
};

/// How long a link is asked at most whether somebody has an address: nobody waits longer for an
/// acknowledgement.
const MAX_DUPLICATE_PROBE_MS: u64 = 10_000;
/// How far back packets are copied if the file does not say: what is under way to a node while its
/// departure gets known.
const DEFAULT_COPY_WINDOW: Duration = Duration::from_millis(200);
/// How long packets of a node that left without a word are held if the file does not say: it must
/// find another link and write from there.
const DEFAULT_DEPARTURE_HOLD: Duration = Duration::from_secs(5);

/// As [`Config::parse`].
pub(super) fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let table =
        DeTable::parse(text).map_err(|error| Fault::from_toml(error).locate(file, text, None))?;
    toml::from_str::<RawFile>(text)
        .map_err(Fault::from_toml)
        .and_then(|raw| raw.check(text))
        .map_err(|fault| fault.locate(file, text, Some(table.get_ref())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawFile {
    role: Spanned<String>,
    control_socket: Option<Spanned<String>>,
    access_router: Option<Spanned<RawAccessRouter>>,
    mobile_node: Option<Spanned<RawMobileNode>>,
    #[serde(default)]
    buffer: RawBuffer,
    #[serde(default)]
    timers: RawTimers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawAccessRouter {
    core_interfaces: Spanned<Vec<Spanned<String>>>,
    state_directory: Option<Spanned<String>>,
    max_handovers: Option<Spanned<i64>>,
    max_per_peer: Option<Spanned<i64>>,
    max_per_link: Option<Spanned<i64>>,
    signalling_per_source: Option<Spanned<i64>>,
    access: Option<Spanned<Vec<RawAccess>>>,
    #[serde(default)]
    neighbor: Vec<RawNeighbor>,
    #[serde(default)]
    mobile_node: Vec<RawMobileNodeKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawAccess {
    interface: Spanned<String>,
    address: Spanned<String>,
    prefix: Spanned<String>,
    access_points: Spanned<Vec<Spanned<String>>>,
    addressing: Option<Spanned<String>>,
    pool: Option<Spanned<String>>,
    departure: Option<Spanned<String>>,
    departure_hold_ms: Option<Spanned<i64>>,
    copy_window_ms: Option<Spanned<i64>>,
    duplicate_probe_ms: Option<Spanned<i64>>,
    on_invalid_ncoa: Option<Spanned<String>>,
    #[serde(default)]
    known_link_addresses: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawNeighbor {
    address: Spanned<String>,
    link_address: Spanned<String>,
    prefix: Spanned<String>,
    access_points: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    other_addresses: Vec<Spanned<String>>,
    addressing: Option<Spanned<String>>,
    fast_handover: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawMobileNodeKey {
    pcoa: Spanned<String>,
    spi: Spanned<i64>,
    key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawMobileNode {
    interface: Spanned<String>,
    access_router: Spanned<String>,
    pcoa: Spanned<String>,
    access_point: Option<Spanned<String>>,
    spi: Spanned<i64>,
    key: Spanned<String>,
    lifetime_s: Option<Spanned<i64>>,
    announcement: Option<Spanned<String>>,
    #[serde(default)]
    router: Vec<RawRouterKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRouterKey {
    address: Spanned<String>,
    prefix: Spanned<String>,
    spi: Spanned<i64>,
    key: Spanned<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawBuffer {
    enabled: Option<bool>,
    packets: Option<Spanned<i64>>,
    packets_per_node: Option<Spanned<i64>>,
    bytes_per_node: Option<Spanned<i64>>,
    drain: Option<Spanned<String>>,
    catch_up: Option<Spanned<f64>>,
    max_hold_ms: Option<Spanned<i64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTimers {
    rtsolpr_retries: Option<Spanned<i64>>,
    max_rtsolpr_rate: Option<Spanned<i64>>,
    fbu_retries: Option<Spanned<i64>>,
    proxy_nd_lifetime_ms: Option<Spanned<i64>>,
    hi_retries: Option<Spanned<i64>>,
    initial_timeout_ms: Option<Spanned<i64>>,
    una_retries: Option<Spanned<i64>>,
    una_interval_ms: Option<Spanned<i64>>,
    max_binding_lifetime_s: Option<Spanned<i64>>,
}

impl RawFile {
    fn check(self, text: &str) -> Result<Config, Fault> {
        let timers = self.timers.check()?;
        let buffer = self.buffer.check()?;
        let control_socket = match &self.control_socket {
            Some(path) => check_socket_path(path)?,
            None => PathBuf::from(DEFAULT_CONTROL_SOCKET),
        };
        let role = match (
            self.role.get_ref().as_str(),
            self.access_router,
            self.mobile_node,
        ) {
            ("access-router", Some(router), None) => {
                Role::AccessRouter(router.into_inner().check(text)?)
            }
            ("mobile-node", None, Some(node)) => {
                Role::MobileNode(node.into_inner().check(text, &timers)?)
            }
            ("access-router", None, _) => {
                return Err(Fault::new(
                    self.role.span(),
                    "an access router needs a section [access-router]",
                ));
            }
            ("mobile-node", _, None) => {
                return Err(Fault::new(
                    self.role.span(),
                    "a mobile node needs a section [mobile-node]",
                ));
            }
            ("access-router", _, Some(section)) => {
                return Err(Fault::new(
                    section.span(),
                    "an access router has no such section: remove it, or change `role`",
                ));
            }
            ("mobile-node", Some(section), _) => {
                return Err(Fault::new(
                    section.span(),
                    "a mobile node has no such section: remove it, or change `role`",
                ));
            }
            (_, _, _) => {
                return Err(bad(
                    &self.role,
                    "is no role: write \"access-router\" or \"mobile-node\"",
                ));
            }
        };
        Ok(Config {
            control_socket,
            role,
            buffer,
            timers,
        })
    }
}

impl RawAccessRouter {
    fn check(self, text: &str) -> Result<AccessRouter, Fault> {
        let mut interfaces = Unique::default();
        let mut addresses = Unique::default();
        let mut access_points = Unique::default();
        let mut prefixes: Vec<(Prefix, usize)> = Vec::new();

        let mut core_interfaces = Vec::new();
        for name in self.core_interfaces.get_ref() {
            interfaces.insert(text, name.span(), name.get_ref(), "named")?;
            core_interfaces.push(check_interface_name(name)?);
        }
        if core_interfaces.is_empty() {
            return Err(Fault::new(
                self.core_interfaces.span(),
                "is empty: name the interfaces towards the other routers",
            ));
        }

        let mut link = |address: &Spanned<String>,
                        prefix: &Spanned<String>,
                        aps: &Spanned<Vec<Spanned<String>>>|
         -> Result<(Ipv6Addr, Prefix, Vec<MacAddr>), Fault> {
            let global = check_global_address(address)?;
            addresses.insert(text, address.span(), global, "used")?;
            let checked_prefix = check_prefix(prefix)?;
            if !checked_prefix.contains(global) {
                return Err(bad(
                    address,
                    &format!("is not within the prefix {checked_prefix}"),
                ));
            }
            for (other, line) in &prefixes {
                if other.contains(checked_prefix.address())
                    || checked_prefix.contains(other.address())
                {
                    return Err(bad(
                        prefix,
                        &format!(
                            "overlaps {other} of line {line}: every link has a prefix of its own"
                        ),
                    ));
                }
            }
            prefixes.push((
                checked_prefix,
                1 + text[..prefix.span().start].matches('\n').count(),
            ));
            if aps.get_ref().is_empty() {
                return Err(Fault::new(
                    aps.span(),
                    "is empty: give the link-layer address (BSSID) of every access point on the link",
                ));
            }
            let mut checked = Vec::new();
            for ap in aps.get_ref() {
                let mac = check_link_address(ap)?;
                access_points.insert(text, ap.span(), mac, "an access point")?;
                checked.push(mac);
            }
            Ok((global, checked_prefix, checked))
        };

        let mut access = Vec::new();
        for raw in self.access.iter().flat_map(|access| access.get_ref()) {
            let interface = check_interface_name(&raw.interface)?;
            interfaces.insert(text, raw.interface.span(), &interface, "named")?;
            let (address, prefix, access_points) =
                link(&raw.address, &raw.prefix, &raw.access_points)?;
            access.push(Access {
                interface,
                address,
                prefix,
                access_points,
                addressing: raw.addressing(address, prefix)?,
                departure: raw.departure()?,
                duplicate_probe: raw.duplicate_probe()?,
                on_invalid_ncoa: raw.on_invalid_ncoa()?,
                known_link_addresses: raw
                    .known_link_addresses
                    .iter()
                    .map(check_link_address)
                    .collect::<Result<_, _>>()?,
            });
        }
        if access.is_empty() {
            return Err(Fault::new(
                self.access
                    .map_or(self.core_interfaces.span(), |access| access.span()),
                "there is no [[access-router.access]]: add one for every link that mobile nodes are on",
            ));
        }

        let mut neighbors = Vec::new();
        for raw in &self.neighbor {
            let link_address = check_link_address(&raw.link_address)?;
            let (address, prefix, access_points) =
                link(&raw.address, &raw.prefix, &raw.access_points)?;
            neighbors.push(Neighbor {
                address,
                link_address,
                prefix,
                access_points,
                other_addresses: raw.other_addresses(&access)?,
                addressing: choice(
                    &raw.addressing,
                    "addressing",
                    &[
                        ("stateless", proto::PeerAddressing::Stateless),
                        ("assigned", proto::PeerAddressing::Assigned),
                        ("dhcp", proto::PeerAddressing::Dhcp),
                    ],
                )?,
                fast_handover: raw.fast_handover.unwrap_or(true),
            });
        }

        let mut pcoas = Unique::default();
        let mut mobile_nodes = Vec::new();
        for raw in &self.mobile_node {
            let pcoa = check_global_address(&raw.pcoa)?;
            pcoas.insert(text, raw.pcoa.span(), pcoa, "given a key")?;
            if access.iter().any(|access| access.address == pcoa) {
                return Err(bad(&raw.pcoa, "is this router's own address"));
            }
            if !access.iter().any(|access| access.prefix.contains(pcoa)) {
                return Err(bad(
                    &raw.pcoa,
                    "is on none of this router's access links: its handovers start at another router",
                ));
            }
            mobile_nodes.push(MobileNodeKey {
                pcoa,
                spi: check_spi(&raw.spi)?,
                key: check_key(&raw.key)?,
            });
        }

        let default = proto::Limits::default();
        let max_handovers = integer(
            self.max_handovers,
            default.max_handovers as u64,
            1..=1_000_000,
        )?;
        // A default that the file's own `max-handovers` does not leave room for is no error.
        let part = |value| integer(value, max_handovers, 1..=max_handovers);
        Ok(AccessRouter {
            core_interfaces,
            state_directory: match &self.state_directory {
                Some(path) => check_directory(path)?,
                None => PathBuf::from(DEFAULT_STATE_DIRECTORY),
            },
            limits: proto::Limits {
                max_handovers: max_handovers as usize,
                max_per_peer: part(self.max_per_peer)? as usize,
                max_per_link: part(self.max_per_link)? as usize,
                signalling_per_source: integer(
                    self.signalling_per_source,
                    default.signalling_per_source.into(),
                    1..=1_000_000,
                )? as u32,
            },
            access,
            neighbors,
            mobile_nodes,
        })
    }
}

impl RawAccess {
    /// Where nodes that come have their address from; `address` and `prefix` are the link's.
    fn addressing(&self, address: Ipv6Addr, prefix: Prefix) -> Result<proto::Addressing, Fault> {
        #[derive(Clone, Copy)]
        enum Word {
            Stateless,
            Assigned,
            KeepPcoa,
        }
        let word = choice(
            &self.addressing,
            "addressing",
            &[
                ("stateless", Word::Stateless),
                ("assigned", Word::Assigned),
                ("keep-pcoa", Word::KeepPcoa),
            ],
        )?;
        match (word, &self.pool) {
            (Word::Assigned, Some(text)) => {
                let pool = check_pool(text)?;
                if pool.length() < prefix.length() || !prefix.contains(pool.address()) {
                    return Err(bad(text, &format!("is not within the prefix {prefix}")));
                }
                if pool.contains(address) {
                    return Err(bad(
                        text,
                        &format!("has this router's own address {address} among its addresses"),
                    ));
                }
                Ok(proto::Addressing::Assigned { pool })
            }
            (Word::Assigned, None) => {
                let span = self.addressing.as_ref().map_or(0..0, Spanned::span);
                Err(Fault::new(
                    span,
                    format!("\"assigned\" needs a `pool`: a part of {prefix} to assign from"),
                ))
            }
            (_, Some(pool)) => Err(bad(
                pool,
                "is for addressing = \"assigned\" alone: remove it, or set that",
            )),
            (Word::Stateless, None) => Ok(proto::Addressing::Stateless),
            (Word::KeepPcoa, None) => Ok(proto::Addressing::KeepPcoa),
        }
    }

    fn departure(&self) -> Result<proto::Departure, Fault> {
        let window = milliseconds(self.copy_window_ms.clone(), DEFAULT_COPY_WINDOW, 1..=10_000)?;
        let lifetime = milliseconds(
            self.departure_hold_ms.clone(),
            DEFAULT_DEPARTURE_HOLD,
            1..=600_000,
        )?;
        choice(
            &self.departure,
            "departure policy",
            &[
                ("ignore", proto::Departure::Ignore),
                ("hold", proto::Departure::Hold { lifetime }),
                ("copy", proto::Departure::Copy { window, lifetime }),
            ],
        )
    }

    fn duplicate_probe(&self) -> Result<Option<Duration>, Fault> {
        let probe = milliseconds(
            self.duplicate_probe_ms.clone(),
            Duration::ZERO,
            0..=MAX_DUPLICATE_PROBE_MS,
        )?;
        Ok((!probe.is_zero()).then_some(probe))
    }

    fn on_invalid_ncoa(&self) -> Result<proto::OnInvalidNcoa, Fault> {
        let chosen = choice(
            &self.on_invalid_ncoa,
            "such policy",
            &[
                ("silent", proto::OnInvalidNcoa::Silent),
                ("configure", proto::OnInvalidNcoa::Configure),
                ("assign", proto::OnInvalidNcoa::Assign),
                ("use-router-address", proto::OnInvalidNcoa::UseRouterAddress),
            ],
        )?;
        match &self.on_invalid_ncoa {
            Some(word) if chosen == proto::OnInvalidNcoa::Assign && self.pool.is_none() => {
                Err(bad(
                    word,
                    "needs addresses to assign: set addressing = \"assigned\" and a `pool`",
                ))
            }
            _ => Ok(chosen),
        }
    }
}

impl RawNeighbor {
    /// Those of our own links are no neighbor's.
    fn other_addresses(&self, access: &[Access]) -> Result<Vec<Ipv6Addr>, Fault> {
        self.other_addresses
            .iter()
            .map(|text| {
                let address = check_global_address(text)?;
                if access.iter().any(|access| access.address == address) {
                    return Err(bad(text, "is this router's own address"));
                }
                Ok(address)
            })
            .collect()
    }
}

impl RawMobileNode {
    fn check(self, text: &str, timers: &proto::Timers) -> Result<MobileNode, Fault> {
        let access_router = check_global_address(&self.access_router)?;
        let pcoa = check_global_address(&self.pcoa)?;
        if pcoa == access_router {
            return Err(bad(
                &self.pcoa,
                "is the access router's address: give the node's own",
            ));
        }
        let mut keyed = Unique::default();
        keyed.insert(text, self.access_router.span(), access_router, "named")?;
        let mut routers = Vec::new();
        for raw in &self.router {
            let address = check_global_address(&raw.address)?;
            keyed.insert(text, raw.address.span(), address, "named")?;
            let prefix = check_prefix(&raw.prefix)?;
            if !prefix.contains(address) {
                return Err(bad(
                    &raw.address,
                    &format!("is not within the prefix {prefix}"),
                ));
            }
            routers.push(RouterKey {
                address,
                prefix,
                spi: check_spi(&raw.spi)?,
                key: check_key(&raw.key)?,
            });
        }
        Ok(MobileNode {
            interface: check_interface_name(&self.interface)?,
            access_router,
            pcoa,
            access_point: self
                .access_point
                .as_ref()
                .map(check_link_address)
                .transpose()?,
            spi: check_spi(&self.spi)?,
            key: check_key(&self.key)?,
            // 16 bits of seconds in the FBU (AMB-04); the router may grant less.
            lifetime: Duration::from_secs(integer(
                self.lifetime_s,
                timers.max_binding_lifetime.as_secs(),
                1..=u16::MAX.into(),
            )?),
            announcement: choice(
                &self.announcement,
                "announcement",
                &[
                    ("una", proto::Announcement::Una),
                    ("fna", proto::Announcement::Fna),
                ],
            )?,
            routers,
        })
    }
}

impl RawBuffer {
    fn check(self) -> Result<Buffer, Fault> {
        let default = Buffer::default();
        let packets = integer(
            self.packets,
            default.packets.into(),
            1..=MAX_POOL_PACKETS.into(),
        )?;
        // A default that the file's own `packets` does not leave room for is no error.
        let packets_per_node = integer(
            self.packets_per_node,
            packets.min(default.packets_per_node.into()),
            1..=packets,
        )?;
        let catch_up = match self.catch_up {
            None => default.catch_up,
            Some(factor) if *factor.get_ref() > 1.0 && *factor.get_ref() <= 100.0 => {
                *factor.get_ref()
            }
            Some(factor) => {
                return Err(Fault::new(
                    factor.span(),
                    format!(
                        "{} is out of range: above 1 (or the backlog never shrinks) and at most 100",
                        factor.get_ref()
                    ),
                ));
            }
        };
        let drain = choice(
            &self.drain,
            "drain policy",
            &[Drain::Paced, Drain::Burst].map(|drain| (drain.name(), drain)),
        )?;
        Ok(Buffer {
            enabled: self.enabled.unwrap_or(default.enabled),
            packets: packets as u32,
            packets_per_node: packets_per_node as u32,
            // At least one packet of IPv6's minimum MTU.
            bytes_per_node: integer(
                self.bytes_per_node,
                default.bytes_per_node,
                1_280..=u64::from(u32::MAX),
            )?,
            drain,
            catch_up,
            max_hold: milliseconds(self.max_hold_ms, default.max_hold, 1..=600_000)?,
        })
    }
}

impl RawTimers {
    fn check(self) -> Result<proto::Timers, Fault> {
        const RETRIES: RangeInclusive<u64> = 0..=20;
        let default = proto::Timers::default();
        Ok(proto::Timers {
            rtsolpr_retries: integer(
                self.rtsolpr_retries,
                default.rtsolpr_retries.into(),
                RETRIES,
            )? as u32,
            max_rtsolpr_rate: integer(
                self.max_rtsolpr_rate,
                default.max_rtsolpr_rate.into(),
                1..=1_000,
            )? as u32,
            fbu_retries: integer(self.fbu_retries, default.fbu_retries.into(), RETRIES)? as u32,
            proxy_nd_lifetime: milliseconds(
                self.proxy_nd_lifetime_ms,
                default.proxy_nd_lifetime,
                1..=600_000,
            )?,
            hi_retries: integer(self.hi_retries, default.hi_retries.into(), RETRIES)? as u32,
            initial_timeout: milliseconds(
                self.initial_timeout_ms,
                default.initial_timeout,
                1..=60_000,
            )?,
            una_retries: integer(self.una_retries, default.una_retries.into(), RETRIES)? as u32,
            una_interval: milliseconds(self.una_interval_ms, default.una_interval, 1..=60_000)?,
            // The lifetime of an FBU is a 16-bit number of seconds (AMB-04).
            max_binding_lifetime: Duration::from_secs(integer(
                self.max_binding_lifetime_s,
                default.max_binding_lifetime.as_secs(),
                1..=u16::MAX.into(),
            )?),
        })
    }
}
