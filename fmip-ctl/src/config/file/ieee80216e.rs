//! The section `[mobile-node.ieee80216e]`.

use serde::Deserialize;
use toml::Spanned;

use super::{
    fault::Fault,
    value::{check_link_address, check_octets, choice, integer, milliseconds, negative},
};
use crate::{
    config::Ieee80216e,
    link::ieee80216e::{
        auth::{KEY_LEN, Pmk},
        message::MacMode,
        timing::LOST_DL_MAP_MS,
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawIeee80216e {
    pmk: Spanned<String>,
    mac_mode: Option<Spanned<String>>,
    base_station: Option<Spanned<String>>,
    choose_target: Option<bool>,
    signal_threshold_dbm: Option<Spanned<i64>>,
    signal_hysteresis_db: Option<Spanned<i64>>,
    indications: Option<Spanned<i64>>,
    link_switch_wait_ms: Option<Spanned<i64>>,
    scan_min_interval_ms: Option<Spanned<i64>>,
    scan_duration_frames: Option<Spanned<i64>>,
    scan_interleaving_frames: Option<Spanned<i64>>,
    scan_iterations: Option<Spanned<i64>>,
    lost_dl_map_ms: Option<Spanned<i64>>,
}

impl RawIeee80216e {
    pub(super) fn check(self) -> Result<Ieee80216e, Fault> {
        let octets = check_octets(&self.pmk)?;
        let length = octets.len();
        let pmk: [u8; KEY_LEN] = octets.try_into().map_err(|_| {
            Fault::new(
                self.pmk.span(),
                format!(
                    "has {length} octets, and must have {KEY_LEN}; make one with \
                     `openssl rand -hex {KEY_LEN}`"
                ),
            )
        })?;
        let default = Ieee80216e::with(Pmk(pmk));
        let frames = |value, default: u8, least| integer(value, default.into(), least..=255);
        Ok(Ieee80216e {
            mac_mode: choice(
                &self.mac_mode,
                "mac-mode",
                &[("cmac", MacMode::Cmac), ("hmac", MacMode::Hmac)],
            )?,
            base_station: self
                .base_station
                .as_ref()
                .map(check_link_address)
                .transpose()?,
            choose_target: self.choose_target.unwrap_or(default.choose_target),
            // What can be reported (section 6.3.2.3.50) is from -103.75 to -40 dBm.
            signal_threshold_dbm: negative(
                self.signal_threshold_dbm,
                default.signal_threshold_dbm,
                -103..=-40,
            )?,
            signal_hysteresis_db: integer(
                self.signal_hysteresis_db,
                default.signal_hysteresis_db.into(),
                0..=60,
            )? as u32,
            indications: integer(self.indications, default.indications.into(), 1..=100)? as u32,
            link_switch_wait: milliseconds(
                self.link_switch_wait_ms,
                default.link_switch_wait,
                0..=60_000,
            )?,
            scan_min_interval: milliseconds(
                self.scan_min_interval_ms,
                default.scan_min_interval,
                10..=3_600_000,
            )?,
            scan_duration: frames(self.scan_duration_frames, default.scan_duration, 1)? as u8,
            scan_interleaving: frames(self.scan_interleaving_frames, default.scan_interleaving, 0)?
                as u8,
            scan_iterations: frames(self.scan_iterations, default.scan_iterations, 1)? as u8,
            lost_dl_map: milliseconds(self.lost_dl_map_ms, default.lost_dl_map, LOST_DL_MAP_MS)?,
            pmk: default.pmk,
        })
    }
}
