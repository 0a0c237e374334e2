//! The file itself: its shape, the check of every value, and the way back from a fault to line and
//! key.
//!
//! Values that have a syntax of their own stay text in the `Raw` types and are parsed in `check`,
//! so that all of them are refused in the same words.

mod damping;
mod fault;
mod ieee80211;
mod ieee80216e;
mod node;
mod router;
mod value;

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::{Spanned, de::DeTable};

use self::{
    fault::{Fault, bad},
    node::RawMobileNode,
    router::RawAccessRouter,
    value::{check_socket_path, choice, integer, milliseconds},
};
use super::{
    Buffer, BufferPolicy, Config, ConfigError, DEFAULT_CONTROL_SOCKET, Drain, MAX_BUFFER_NODES,
    MAX_POOL_PACKETS, Role,
};
use crate::proto;

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

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawBuffer {
    enabled: Option<bool>,
    packets: Option<Spanned<i64>>,
    packets_per_node: Option<Spanned<i64>>,
    bytes_per_node: Option<Spanned<i64>>,
    nodes: Option<Spanned<i64>>,
    guaranteed_per_node: Option<Spanned<i64>>,
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
                let section = router.span();
                let router = router.into_inner();
                Role::AccessRouter(router.check(text, section, &buffer.policy)?)
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
        let nodes = integer(
            self.nodes,
            default.nodes.into(),
            1..=MAX_BUFFER_NODES.into(),
        )?;
        // Nor are defaults that the pool and the number of nodes do not leave room for.
        let guaranteed_per_node = integer(
            self.guaranteed_per_node.clone(),
            u64::from(default.guaranteed_per_node)
                .min(packets_per_node)
                .min(packets / nodes),
            0..=packets_per_node,
        )?;
        if let Some(guaranteed) = self.guaranteed_per_node
            && guaranteed_per_node * nodes > packets
        {
            return Err(Fault::new(
                guaranteed.span(),
                format!(
                    "{guaranteed_per_node} for each of {nodes} nodes are more than the {packets} packets of \
                     the pool: lower it or `nodes`, or raise `packets`"
                ),
            ));
        }
        let policy = check_policy(
            &self.drain,
            self.catch_up,
            self.max_hold_ms,
            &default.policy,
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
            nodes: nodes as u32,
            guaranteed_per_node: guaranteed_per_node as u32,
            policy,
        })
    }
}

/// What is not said is as in `default`.
fn check_policy(
    drain: &Option<Spanned<String>>,
    catch_up: Option<Spanned<f64>>,
    max_hold_ms: Option<Spanned<i64>>,
    default: &BufferPolicy,
) -> Result<BufferPolicy, Fault> {
    let catch_up = match catch_up {
        None => default.catch_up,
        Some(factor) if *factor.get_ref() > 1.0 && *factor.get_ref() <= 100.0 => *factor.get_ref(),
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
    let policies = [Drain::Paced, Drain::Burst].map(|drain| (drain.name(), drain));
    Ok(BufferPolicy {
        drain: match drain {
            None => default.drain,
            some => choice(some, "drain policy", &policies)?,
        },
        catch_up,
        max_hold: milliseconds(max_hold_ms, default.max_hold, 1..=600_000)?,
    })
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
