//! The section `[mobile-node.ieee80211]`.

use std::ops::RangeInclusive;

use serde::Deserialize;
use toml::Spanned;

use super::{
    fault::{Fault, Unique, bad},
    value::{check_link_address, check_socket_path, integer, milliseconds, negative},
};
use crate::{config::Ieee80211, wire::MacAddr};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawIeee80211 {
    control_interface: Option<Spanned<String>>,
    choose_target: Option<bool>,
    require_known_router: Option<bool>,
    signal_threshold_dbm: Option<Spanned<i64>>,
    signal_hysteresis_db: Option<Spanned<i64>>,
    signal_interval_ms: Option<Spanned<i64>>,
    signal_weight: Option<Spanned<f64>>,
    indications: Option<Spanned<i64>>,
    link_switch_wait_ms: Option<Spanned<i64>>,
    roam_timeout_ms: Option<Spanned<i64>>,
    avoid_failed_ms: Option<Spanned<i64>>,
    scan_max_age_ms: Option<Spanned<i64>>,
    scan_min_interval_ms: Option<Spanned<i64>>,
    #[serde(default)]
    frequencies: Vec<Spanned<i64>>,
    #[serde(default)]
    allow: Vec<Spanned<String>>,
    #[serde(default)]
    deny: Vec<Spanned<String>>,
    #[serde(default)]
    prefer: Vec<Spanned<String>>,
}

impl RawIeee80211 {
    /// `interface` is that of the mobile node.
    pub(super) fn check(self, text: &str, interface: &str) -> Result<Ieee80211, Fault> {
        const MILLISECONDS: RangeInclusive<u64> = 1..=3_600_000;
        /// The channels of 802.11, from below 1 GHz to 60 GHz.
        const MEGAHERTZ: RangeInclusive<u64> = 700..=75_000;
        let default = Ieee80211::of(interface);
        let signal_weight = match self.signal_weight {
            None => default.signal_weight,
            Some(weight) if *weight.get_ref() > 0.0 && *weight.get_ref() <= 1.0 => {
                *weight.get_ref()
            }
            Some(weight) => {
                return Err(Fault::new(
                    weight.span(),
                    format!(
                        "{} is out of range: above 0 and at most 1, which takes the last measurement \
                         alone",
                        weight.get_ref()
                    ),
                ));
            }
        };
        let mut channels = Unique::default();
        let mut frequencies = Vec::new();
        for raw in self.frequencies {
            channels.insert(text, raw.span(), raw.get_ref(), "named")?;
            frequencies.push(integer(Some(raw), 0, MEGAHERTZ)? as u32);
        }
        // What is named twice, in one list or in two that contradict each other, is a mistake.
        let mut named = Unique::default();
        let mut listed = |list: &[Spanned<String>]| {
            list.iter()
                .map(|raw| {
                    let address = check_link_address(raw)?;
                    named.insert(text, raw.span(), address, "named")?;
                    Ok(address)
                })
                .collect::<Result<Vec<MacAddr>, Fault>>()
        };
        let allow = listed(&self.allow)?;
        let deny = listed(&self.deny)?;
        let mut preferred = Unique::default();
        let mut prefer = Vec::new();
        for raw in &self.prefer {
            let address = check_link_address(raw)?;
            preferred.insert(text, raw.span(), address, "named")?;
            if deny.contains(&address) || !(allow.is_empty() || allow.contains(&address)) {
                return Err(bad(raw, "is never moved to: see `allow` and `deny`"));
            }
            prefer.push(address);
        }
        Ok(Ieee80211 {
            control_interface: match &self.control_interface {
                Some(path) => check_socket_path(path)?,
                None => default.control_interface,
            },
            choose_target: self.choose_target.unwrap_or(default.choose_target),
            require_known_router: self
                .require_known_router
                .unwrap_or(default.require_known_router),
            signal_threshold_dbm: negative(
                self.signal_threshold_dbm,
                default.signal_threshold_dbm,
                -100..=-20,
            )?,
            signal_hysteresis_db: integer(
                self.signal_hysteresis_db,
                default.signal_hysteresis_db.into(),
                0..=60,
            )? as u32,
            signal_interval: milliseconds(
                self.signal_interval_ms,
                default.signal_interval,
                50..=60_000,
            )?,
            signal_weight,
            indications: integer(self.indications, default.indications.into(), 1..=100)? as u32,
            link_switch_wait: milliseconds(
                self.link_switch_wait_ms,
                default.link_switch_wait,
                1..=60_000,
            )?,
            roam_timeout: milliseconds(self.roam_timeout_ms, default.roam_timeout, 100..=60_000)?,
            avoid_failed: milliseconds(self.avoid_failed_ms, default.avoid_failed, MILLISECONDS)?,
            scan_max_age: milliseconds(self.scan_max_age_ms, default.scan_max_age, MILLISECONDS)?,
            scan_min_interval: milliseconds(
                self.scan_min_interval_ms,
                default.scan_min_interval,
                100..=3_600_000,
            )?,
            frequencies,
            allow,
            deny,
            prefer,
        })
    }
}
