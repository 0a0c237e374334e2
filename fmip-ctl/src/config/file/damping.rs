//! The section `[mobile-node.damping]`.

use serde::Deserialize;
use toml::Spanned;

use super::{
    fault::Fault,
    value::{integer, milliseconds},
};
use crate::link::damping::Settings;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDamping {
    new_link_repeat_ms: Option<Spanned<i64>>,
    new_link_burst: Option<Spanned<i64>>,
    new_links_per_second: Option<Spanned<i64>>,
    impend_interval_ms: Option<Spanned<i64>>,
}

impl RawDamping {
    pub(super) fn check(self) -> Result<Settings, Fault> {
        let default = Settings::default();
        Ok(Settings {
            new_link_repeat: milliseconds(
                self.new_link_repeat_ms,
                default.new_link_repeat,
                0..=3_600_000,
            )?,
            new_link_burst: integer(
                self.new_link_burst,
                default.new_link_burst.into(),
                1..=1_000,
            )? as u32,
            new_links_per_second: integer(
                self.new_links_per_second,
                default.new_links_per_second.into(),
                1..=1_000,
            )? as u32,
            impend_interval: milliseconds(
                self.impend_interval_ms,
                default.impend_interval,
                0..=60_000,
            )?,
        })
    }
}
