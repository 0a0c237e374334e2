//! The section `[mobile-node]`.

use std::{net::Ipv6Addr, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{
    damping::RawDamping,
    fault::{Fault, Unique, bad},
    ieee80211::RawIeee80211,
    ieee80216e::RawIeee80216e,
    value::{
        check_global_address, check_interface_name, check_key, check_link_address, check_prefix,
        check_spi, choice, integer,
    },
};
use crate::{
    config::{
        CurrentRouter, DEFAULT_ROUTE_METRIC, LinkLayerKind, MobileIpv6, MobileNode, RouterKey,
    },
    proto,
};

/// How long a start waits for an address on the link if the file does not say: an association and
/// its authentication, and a router advertisement that was lost.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the command that is told a care-of address may take if the file does not say.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMobileNode {
    interface: Spanned<String>,
    access_router: Option<Spanned<String>>,
    pcoa: Option<Spanned<String>>,
    access_point: Option<Spanned<String>>,
    spi: Option<Spanned<i64>>,
    key: Option<Spanned<String>>,
    start_timeout_s: Option<Spanned<i64>>,
    lifetime_s: Option<Spanned<i64>>,
    route_metric: Option<Spanned<i64>>,
    announcement: Option<Spanned<String>>,
    neighborhood_interval_s: Option<Spanned<i64>>,
    mobile_ipv6: Option<RawMobileIpv6>,
    #[serde(default)]
    router: Vec<RawRouterKey>,
    ieee80211: Option<RawIeee80211>,
    ieee80216e: Option<Spanned<RawIeee80216e>>,
    #[serde(default)]
    damping: RawDamping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawMobileIpv6 {
    on_care_of_address: Option<Spanned<Vec<String>>>,
    timeout_s: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRouterKey {
    address: Spanned<String>,
    prefix: Spanned<String>,
    access_point: Option<Spanned<String>>,
    spi: Spanned<i64>,
    key: Spanned<String>,
}

impl RawMobileNode {
    pub(super) fn check(self, text: &str, timers: &proto::Timers) -> Result<MobileNode, Fault> {
        let access_router = self.check_access_router()?;
        let pcoa = self.pcoa.as_ref().map(check_global_address).transpose()?;
        let mut keyed = Unique::default();
        if let (Some(raw), Some(router)) = (&self.access_router, &access_router) {
            if pcoa == Some(router.address) {
                return Err(bad(
                    self.pcoa.as_ref().unwrap_or(raw),
                    "is the access router's address: give the node's own",
                ));
            }
            keyed.insert(text, raw.span(), router.address, "named")?;
        }
        let mut routers = Vec::new();
        let mut integrated = Unique::default();
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
            let access_point = raw.access_point.as_ref();
            let access_point = access_point.map(check_link_address).transpose()?;
            if let (Some(raw), Some(access_point)) = (&raw.access_point, access_point) {
                integrated.insert(text, raw.span(), access_point, "named")?;
            }
            routers.push(RouterKey {
                address,
                prefix,
                access_point,
                spi: check_spi(&raw.spi)?,
                key: check_key(&raw.key)?,
            });
        }
        if access_router.is_none() {
            self.check_can_be_found(pcoa, &routers)?;
        }
        let interface = check_interface_name(&self.interface)?;
        let link_layer = match (self.ieee80211, self.ieee80216e) {
            (None, None) => LinkLayerKind::Told,
            (Some(raw), None) => LinkLayerKind::Ieee80211(Box::new(raw.check(text, &interface)?)),
            (None, Some(raw)) => LinkLayerKind::Ieee80216e(raw.into_inner().check()?),
            (Some(_), Some(raw)) => {
                return Err(Fault::new(
                    raw.span(),
                    "there is a section [mobile-node.ieee80211], too: remove the one that `interface` is not of",
                ));
            }
        };
        Ok(MobileNode {
            interface,
            access_router,
            pcoa,
            access_point: self
                .access_point
                .as_ref()
                .map(check_link_address)
                .transpose()?,
            start_timeout: Duration::from_secs(integer(
                self.start_timeout_s,
                START_TIMEOUT.as_secs(),
                0..=86_400,
            )?),
            // 16 bits of seconds in the FBU (AMB-04); the router may grant less.
            lifetime: Duration::from_secs(integer(
                self.lifetime_s,
                timers.max_binding_lifetime.as_secs(),
                1..=u16::MAX.into(),
            )?),
            // 0 would stand for the kernel's own, 1024.
            route_metric: integer(
                self.route_metric,
                DEFAULT_ROUTE_METRIC.into(),
                1..=u32::MAX.into(),
            )? as u32,
            announcement: choice(
                &self.announcement,
                "announcement",
                &[
                    ("una", proto::Announcement::Una),
                    ("fna", proto::Announcement::Fna),
                ],
            )?,
            routers,
            neighborhood_interval: match integer(self.neighborhood_interval_s, 0, 0..=86_400)? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
            link_layer,
            mobile_ipv6: check_mobile_ipv6(self.mobile_ipv6)?,
            damping: self.damping.check()?,
        })
    }

    /// The router that is named in the section itself, with its key.
    fn check_access_router(&self) -> Result<Option<CurrentRouter>, Fault> {
        let Some(address) = &self.access_router else {
            let spans = [
                self.spi.as_ref().map(Spanned::span),
                self.key.as_ref().map(Spanned::span),
            ];
            return match spans.into_iter().flatten().next() {
                None => Ok(None),
                Some(span) => Err(Fault::new(
                    span,
                    "goes with `access-router`, which is left out: move it to the \
                     [[mobile-node.router]] that it belongs to",
                )),
            };
        };
        let missing = |key: &str| {
            Fault::new(
                address.span(),
                format!("needs `{key}`, the same as in that router's file"),
            )
        };
        Ok(Some(CurrentRouter {
            address: check_global_address(address)?,
            spi: check_spi(self.spi.as_ref().ok_or_else(|| missing("spi"))?)?,
            key: check_key(self.key.as_ref().ok_or_else(|| missing("key"))?)?,
        }))
    }

    /// Without an access router, the node's address tells which one it is.
    fn check_can_be_found(
        &self,
        pcoa: Option<Ipv6Addr>,
        routers: &[RouterKey],
    ) -> Result<(), Fault> {
        if routers.is_empty() {
            return Err(Fault::new(
                self.interface.span(),
                "is on no link that is known: add a [[mobile-node.router]] for every router that \
                 the node may be at, or give `access-router`",
            ));
        }
        match (&self.pcoa, pcoa) {
            (Some(raw), Some(pcoa))
                if !routers.iter().any(|router| router.prefix.contains(pcoa)) =>
            {
                Err(bad(
                    raw,
                    "is in the prefix of no [[mobile-node.router]]: add its router, or give \
                     `access-router`",
                ))
            }
            _ => Ok(()),
        }
    }
}

fn check_mobile_ipv6(raw: Option<RawMobileIpv6>) -> Result<MobileIpv6, Fault> {
    let Some(raw) = raw else {
        return Ok(MobileIpv6 {
            on_care_of_address: Vec::new(),
            timeout: COMMAND_TIMEOUT,
        });
    };
    if let Some(command) = &raw.on_care_of_address
        && !command.get_ref().is_empty()
    {
        let words = command.get_ref();
        let absolute = words.first().is_some_and(|word| word.starts_with('/'));
        if !absolute || words.iter().any(|word| word.contains('\0')) {
            return Err(Fault::new(
                command.span(),
                "is no command: give the absolute path of a program, and then its arguments",
            ));
        }
    }
    Ok(MobileIpv6 {
        on_care_of_address: raw
            .on_care_of_address
            .map(Spanned::into_inner)
            .unwrap_or_default(),
        timeout: Duration::from_secs(integer(
            raw.timeout_s,
            COMMAND_TIMEOUT.as_secs(),
            1..=3_600,
        )?),
    })
}
