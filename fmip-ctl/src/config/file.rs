//! The file itself: its shape, the check of every value, and the way back from a fault to line and
//! key.
//!
//! Values that have a syntax of their own stay text in the `Raw` types and are parsed in `check`,
//! so that all of them are refused in the same words.

use std::{
    collections::BTreeMap,
    fmt,
    net::Ipv6Addr,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Access, AccessRouter, Buffer, Config, ConfigError, DEFAULT_CONTROL_SOCKET, Drain, Key,
    MAX_KEY_OCTETS, MAX_POOL_PACKETS, MIN_KEY_OCTETS, MobileNode, MobileNodeKey, Neighbor, Role,
};
use crate::{
    proto,
    wire::{MacAddr, Prefix},
};

/// The longest path of a Unix socket (`sun_path` without its terminating zero).
const MAX_SOCKET_PATH: usize = 107;
/// The longest name of an interface (`IFNAMSIZ` without its terminating zero).
const MAX_INTERFACE_NAME: usize = 15;
/// Interface identifiers are 64 bits long (RFC 4291 section 2.5.1), so a prefix has 64 at most.
const MAX_PREFIX_LENGTH: u8 = 64;

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
    max_handovers: Option<Spanned<i64>>,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawNeighbor {
    address: Spanned<String>,
    link_address: Spanned<String>,
    prefix: Spanned<String>,
    access_points: Spanned<Vec<Spanned<String>>>,
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

/// What is wrong, and where in the text.
#[derive(Debug)]
struct Fault {
    span: Range<usize>,
    message: String,
}

impl Fault {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
        }
    }

    fn from_toml(error: toml::de::Error) -> Self {
        // Its Display shows the line with the error, and that line may hold a key.
        Self::new(error.span().unwrap_or(0..0), error.message())
    }

    /// Adds file, line and key.
    fn locate(self, file: &Path, text: &str, table: Option<&DeTable<'_>>) -> ConfigError {
        let key = table.map_or_else(String::new, |table| key_at(table, &self.span));
        let message = if key == "key" || key.ends_with(".key") {
            // serde repeats the value it did not expect.
            if self.message.starts_with("invalid type") {
                "must be a string of hexadecimal digits in quotation marks".to_owned()
            } else {
                self.message
            }
        } else {
            self.message
        };
        ConfigError::Invalid {
            file: file.to_owned(),
            line: 1 + text
                .bytes()
                .take(self.span.start)
                .filter(|byte| *byte == b'\n')
                .count(),
            key,
            message,
        }
    }
}

/// The dotted path of the innermost key or value that `span` lies in. Elements of arrays are not
/// numbered: the line tells them apart.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> String {
    fn visit(
        value: &DeValue<'_>,
        path: &str,
        span: &Range<usize>,
        best: &mut Option<(usize, String)>,
    ) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table {
                    let path = if path.is_empty() {
                        key.get_ref().to_string()
                    } else {
                        format!("{path}.{}", key.get_ref())
                    };
                    offer(key.span(), &path, span, best);
                    offer(value.span(), &path, span, best);
                    visit(value.get_ref(), &path, span, best);
                }
            }
            DeValue::Array(array) => {
                for value in array.iter() {
                    offer(value.span(), path, span, best);
                    visit(value.get_ref(), path, span, best);
                }
            }
            _ => {}
        }
    }
    fn offer(
        candidate: Range<usize>,
        path: &str,
        span: &Range<usize>,
        best: &mut Option<(usize, String)>,
    ) {
        if candidate.start <= span.start
            && span.end <= candidate.end
            && best
                .as_ref()
                .is_none_or(|(length, _)| candidate.len() <= *length)
        {
            *best = Some((candidate.len(), path.to_owned()));
        }
    }
    let mut best = None;
    visit(&DeValue::Table(table.clone()), "", span, &mut best);
    best.map(|(_, path)| path).unwrap_or_default()
}

/// A value that must not occur twice, and where it first stood.
#[derive(Default)]
struct Unique(BTreeMap<String, usize>);

impl Unique {
    fn insert(
        &mut self,
        text: &str,
        span: Range<usize>,
        value: impl fmt::Display,
        what: &str,
    ) -> Result<(), Fault> {
        let line = 1 + text[..span.start].matches('\n').count();
        match self.0.insert(value.to_string(), line) {
            None => Ok(()),
            Some(first) => Err(Fault::new(
                span,
                format!("{value} is {what} on line {first} already: remove one of the two"),
            )),
        }
    }
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
                Role::MobileNode(node.into_inner().check(&timers)?)
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

        Ok(AccessRouter {
            core_interfaces,
            max_handovers: integer(self.max_handovers, 1_024, 1..=1_000_000)? as usize,
            access,
            neighbors,
            mobile_nodes,
        })
    }
}

impl RawMobileNode {
    fn check(self, timers: &proto::Timers) -> Result<MobileNode, Fault> {
        let access_router = check_global_address(&self.access_router)?;
        let pcoa = check_global_address(&self.pcoa)?;
        if pcoa == access_router {
            return Err(bad(
                &self.pcoa,
                "is the access router's address: give the node's own",
            ));
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
        let drain = match &self.drain {
            None => default.drain,
            Some(policy) => [Drain::Paced, Drain::Burst]
                .into_iter()
                .find(|drain| drain.name() == policy.get_ref())
                .ok_or_else(|| bad(policy, "is no drain policy: write \"paced\" or \"burst\""))?,
        };
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

/// `"value" what is wrong with it`.
fn bad(value: &Spanned<String>, why: &str) -> Fault {
    Fault::new(value.span(), format!("{:?} {why}", value.get_ref()))
}

fn integer(
    value: Option<Spanned<i64>>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, Fault> {
    let Some(value) = value else {
        return Ok(default);
    };
    u64::try_from(*value.get_ref())
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            Fault::new(
                value.span(),
                format!(
                    "{} is out of range: {} to {}",
                    value.get_ref(),
                    range.start(),
                    range.end()
                ),
            )
        })
}

fn milliseconds(
    value: Option<Spanned<i64>>,
    default: Duration,
    range: RangeInclusive<u64>,
) -> Result<Duration, Fault> {
    match value {
        None => Ok(default),
        value => integer(value, 0, range).map(Duration::from_millis),
    }
}

fn check_socket_path(path: &Spanned<String>) -> Result<PathBuf, Fault> {
    let checked = PathBuf::from(path.get_ref());
    if !checked.is_absolute() || path.get_ref().ends_with('/') {
        return Err(bad(path, "is no absolute path of a file"));
    }
    if path.get_ref().len() > MAX_SOCKET_PATH || path.get_ref().contains('\0') {
        return Err(bad(
            path,
            &format!("is no path of a Unix socket: it has {MAX_SOCKET_PATH} octets at most"),
        ));
    }
    Ok(checked)
}

fn check_interface_name(name: &Spanned<String>) -> Result<String, Fault> {
    let text = name.get_ref();
    let valid = (1..=MAX_INTERFACE_NAME).contains(&text.len())
        && text != "."
        && text != ".."
        && !text
            .bytes()
            .any(|byte| byte.is_ascii_whitespace() || byte == b'/' || byte == 0);
    if !valid {
        return Err(bad(
            name,
            &format!(
                "is no interface name: 1 to {MAX_INTERFACE_NAME} octets without blank or slash"
            ),
        ));
    }
    Ok(text.clone())
}

fn check_global_address(address: &Spanned<String>) -> Result<Ipv6Addr, Fault> {
    let checked = Ipv6Addr::from_str(address.get_ref()).map_err(|_| {
        bad(
            address,
            "is no IPv6 address: write it like \"2001:db8:1::1\", without a prefix length",
        )
    })?;
    if checked.is_unspecified()
        || checked.is_loopback()
        || checked.is_multicast()
        || checked.is_unicast_link_local()
        || checked.to_ipv4_mapped().is_some()
    {
        return Err(bad(
            address,
            "is no global unicast address, which other routers could reach",
        ));
    }
    Ok(checked)
}

fn check_prefix(prefix: &Spanned<String>) -> Result<Prefix, Fault> {
    let checked = Prefix::from_str(prefix.get_ref())
        .map_err(|_| bad(prefix, "is no prefix: write it like \"2001:db8:1::/64\""))?;
    if !(1..=MAX_PREFIX_LENGTH).contains(&checked.length()) {
        return Err(bad(
            prefix,
            "has a length out of range: 1 to 64, because interface identifiers are 64 bits long",
        ));
    }
    Ok(checked)
}

fn check_link_address(address: &Spanned<String>) -> Result<MacAddr, Fault> {
    let checked = MacAddr::from_str(address.get_ref()).map_err(|_| {
        bad(
            address,
            "is no link-layer address: write six octets like \"02:00:00:00:0a:01\"",
        )
    })?;
    if checked.0[0] & 1 != 0 || checked.0 == [0; 6] {
        return Err(bad(address, "is no unicast link-layer address"));
    }
    Ok(checked)
}

fn check_spi(spi: &Spanned<i64>) -> Result<u32, Fault> {
    u32::try_from(*spi.get_ref())
        .ok()
        .filter(|spi| *spi != 0)
        .ok_or_else(|| {
            Fault::new(
                spi.span(),
                format!(
                    "{} is out of range: 1 to {} (0 stands for keys made by SEND)",
                    spi.get_ref(),
                    u32::MAX
                ),
            )
        })
}

/// Never repeats the key.
fn check_key(key: &Spanned<String>) -> Result<Key, Fault> {
    let digits = key.get_ref().as_bytes();
    let octets: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                Some((digit(high)? << 4 | digit(low)?) as u8)
            }
            _ => None,
        })
        .collect();
    let octets = octets.ok_or_else(|| {
        Fault::new(
            key.span(),
            "is not an even number of hexadecimal digits: make one with `openssl rand -hex 20`",
        )
    })?;
    if !(MIN_KEY_OCTETS..=MAX_KEY_OCTETS).contains(&octets.len()) {
        return Err(Fault::new(
            key.span(),
            format!(
                "has {} octets, out of range: {MIN_KEY_OCTETS} to {MAX_KEY_OCTETS}; make one with \
                 `openssl rand -hex 20`",
                octets.len()
            ),
        ));
    }
    Ok(Key(octets))
}
