//! The section `[mobile-node]`.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{
    damping::RawDamping,
    fault::{Fault, Unique, bad},
    ieee80211::RawIeee80211,
    value::{
        check_global_address, check_interface_name, check_key, check_link_address, check_prefix,
        check_spi, choice, integer,
    },
};
use crate::{
    config::{LinkLayerKind, MobileNode, RouterKey},
    proto,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMobileNode {
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
    ieee80211: Option<RawIeee80211>,
    #[serde(default)]
    damping: RawDamping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRouterKey {
    address: Spanned<String>,
    prefix: Spanned<String>,
    spi: Spanned<i64>,
    key: Spanned<String>,
}

impl RawMobileNode {
    pub(super) fn check(self, text: &str, timers: &proto::Timers) -> Result<MobileNode, Fault> {
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
        let interface = check_interface_name(&self.interface)?;
        let link_layer = match self.ieee80211 {
            Some(raw) => LinkLayerKind::Ieee80211(raw.check(text, &interface)?),
            None => LinkLayerKind::Told,
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
            link_layer,
            damping: self.damping.check()?,
        })
    }
}
