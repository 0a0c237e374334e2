//! The section `[access-router]`.

use std::{net::Ipv6Addr, ops::Range, path::PathBuf, time::Duration};

use fmip_common::limits::DEFAULT_BINDINGS;
use serde::Deserialize;
use toml::Spanned;

use super::{
    check_policy,
    fault::{Fault, Unique, bad},
    value::{
        check_directory, check_global_address, check_interface_name, check_key, check_link_address,
        check_pool, check_prefix, check_socket_path, check_spi, choice, integer, milliseconds,
    },
};
use crate::{
    config::{
        Access, AccessRouter, Attach, BINDINGS_PER_HANDOVER, BufferPolicy, Core,
        DEFAULT_STATE_DIRECTORY, MAX_BINDINGS, MobileNodeKey, Neighbor,
    },
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
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAccessRouter {
    core_interfaces: Option<Spanned<Vec<Spanned<String>>>>,
    state_directory: Option<Spanned<String>>,
    max_bindings: Option<Spanned<i64>>,
    max_handovers: Option<Spanned<i64>>,
    max_per_peer: Option<Spanned<i64>>,
    max_per_link: Option<Spanned<i64>>,
    signalling_per_source: Option<Spanned<i64>>,
    core: Option<Spanned<Vec<RawCore>>>,
    access: Option<Spanned<Vec<RawAccess>>>,
    #[serde(default)]
    neighbor: Vec<RawNeighbor>,
    #[serde(default)]
    mobile_node: Vec<RawMobileNodeKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCore {
    interface: Spanned<String>,
    attach: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawAccess {
    interface: Spanned<String>,
    attach: Option<Spanned<String>>,
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
    #[serde(default)]
    hostapd: Vec<Spanned<String>>,
    drain: Option<Spanned<String>>,
    catch_up: Option<Spanned<f64>>,
    max_hold_ms: Option<Spanned<i64>>,
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

impl RawAccessRouter {
    /// `section` is where all of it stands; `buffer` is what holds where an access link says nothing.
    pub(super) fn check(
        self,
        text: &str,
        section: Range<usize>,
        buffer: &BufferPolicy,
    ) -> Result<AccessRouter, Fault> {
        let mut interfaces = Unique::default();
        let mut addresses = Unique::default();
        let mut access_points = Unique::default();
        let mut sockets = Unique::default();
        let mut prefixes: Vec<(Prefix, usize)> = Vec::new();

        let mut core = Vec::new();
        for name in self
            .core_interfaces
            .iter()
            .flat_map(|names| names.get_ref())
        {
            interfaces.insert(text, name.span(), name.get_ref(), "named")?;
            core.push(Core {
                interface: check_interface_name(name)?,
                attach: Attach::default(),
            });
        }
        for raw in self.core.iter().flat_map(|core| core.get_ref()) {
            let interface = check_interface_name(&raw.interface)?;
            interfaces.insert(text, raw.interface.span(), &interface, "named")?;
            core.push(Core {
                interface,
                attach: attach(&raw.attach)?,
            });
        }
        let core_span = match (&self.core_interfaces, &self.core) {
            (Some(names), _) => names.span(),
            (None, Some(core)) => core.span(),
            (None, None) => {
                return Err(Fault::new(
                    section,
                    "names no interface towards the other routers: write `core-interfaces`, or an \
                     [[access-router.core]] for each",
                ));
            }
        };
        if core.is_empty() {
            return Err(Fault::new(
                core_span,
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
                attach: attach(&raw.attach)?,
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
                hostapd: raw
                    .hostapd
                    .iter()
                    .map(|path| {
                        let checked = check_socket_path(path)?;
                        sockets.insert(text, path.span(), path.get_ref(), "listened to")?;
                        Ok(checked)
                    })
                    .collect::<Result<_, _>>()?,
                buffer: check_policy(
                    &raw.drain,
                    raw.catch_up.clone(),
                    raw.max_hold_ms.clone(),
                    buffer,
                )?,
            });
        }
        if access.is_empty() {
            return Err(Fault::new(
                self.access.map_or(core_span, |access| access.span()),
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
        let max_bindings = integer(
            self.max_bindings,
            u64::from(DEFAULT_BINDINGS).max(BINDINGS_PER_HANDOVER * max_handovers),
            1..=MAX_BINDINGS.into(),
        )?;
        // A default that the file's own `max-handovers` does not leave room for is no error.
        let part = |value| integer(value, max_handovers, 1..=max_handovers);
        Ok(AccessRouter {
            core,
            state_directory: match &self.state_directory {
                Some(path) => check_directory(path)?,
                None => PathBuf::from(DEFAULT_STATE_DIRECTORY),
            },
            max_bindings: max_bindings as u32,
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

fn attach(word: &Option<Spanned<String>>) -> Result<Attach, Fault> {
    let words = Attach::ALL.map(|attach| (attach.name(), attach));
    choice(word, "way to attach", &words)
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
