//! What a base station is told when it starts.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use fmip_ctl::{link::ieee80216e::auth::KEY_LEN, wire::MacAddr};
use serde::{Deserialize, Serialize};

/// The configuration of one base station.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Configuration {
    /// Its BSID.
    pub base_station: MacAddr,
    /// The radio of the mobile node.
    pub interface: String,
    /// The bridge of the link that it gives access to.
    pub bridge: String,
    /// Where the sockets of all base stations are.
    pub directory: PathBuf,
    /// The base stations that it hands stations over to.
    pub neighbors: Vec<MacAddr>,
    /// Those of them that it announces.
    pub announced: Vec<MacAddr>,
    /// How strong stations measure it, in dBm; if that is not there, it is off the air.
    pub signal_dbm: Option<i8>,
    /// The key that the stations and the network share.
    pub pmk: [u8; KEY_LEN],
    /// The access router of its link, which it tells who comes and goes; nobody, if there is none.
    #[serde(default)]
    pub router: Option<Router>,
    /// Its times.
    pub timing: Timing,
}

/// The access router of a base station's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Router {
    /// Its controller's control socket.
    pub control_socket: PathBuf,
    /// The link's interface there.
    pub interface: String,
}

/// The times of a base station, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Timing {
    /// Between two MOB_NBR-ADVs: at most 1 s (IEEE 802.16e-2005 table 342).
    pub neighbor_advertisement_ms: u64,
    /// Between two frames by which it is heard and measured (DL-MAP). A station that hears none for
    /// 600 ms (Lost DL-MAP Interval of table 342) has lost it; several must fit in.
    pub downlink_map_ms: u64,
    /// How long it waits for candidates until it answers without them. A station waits for the answer to
    /// its MOB_MSHO-REQ 100 ms where nothing else is agreed, so that it must be shorter.
    pub negotiation_ms: u64,
    /// How long it waits for what another base station knows of a station that comes from there, until it
    /// lets it in as one of which nothing is known. A station asks four times, a T3 (up to 200 ms) after
    /// each other, until it gives up, so that it must be shorter than all of that.
    pub context_ms: u64,
    /// How long after MOB_HO-IND it keeps what it knows of the station (Resource Retain Time, section
    /// 6.3.22.2.4: 100 ms to 25.5 s, in units of 100 ms).
    pub resource_retain_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            neighbor_advertisement_ms: 500,
            downlink_map_ms: 20,
            negotiation_ms: 80,
            context_ms: 500,
            resource_retain_ms: 2000,
        }
    }
}

/// A time that the standard does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}: it must be from {least} to {most}")]
pub struct OutOfRange {
    name: &'static str,
    value: u64,
    least: u64,
    most: u64,
}

impl Timing {
    /// Checks that all are within their ranges.
    ///
    /// # Errors
    /// Names the one that is not.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let within = |name, value, least, most| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(OutOfRange {
                name,
                value,
                least,
                most,
            })
        };
        within(
            "neighbor-advertisement-ms",
            self.neighbor_advertisement_ms,
            10,
            1000,
        )?;
        within("downlink-map-ms", self.downlink_map_ms, 2, 200)?;
        within("negotiation-ms", self.negotiation_ms, 1, 95)?;
        within("context-ms", self.context_ms, 1, 750)?;
        within("resource-retain-ms", self.resource_retain_ms, 100, 25_500)
    }

    pub(super) fn neighbor_advertisement(&self) -> Duration {
        Duration::from_millis(self.neighbor_advertisement_ms)
    }

    pub(super) fn downlink_map(&self) -> Duration {
        Duration::from_millis(self.downlink_map_ms)
    }

    pub(super) fn negotiation(&self) -> Duration {
        Duration::from_millis(self.negotiation_ms)
    }

    pub(super) fn context(&self) -> Duration {
        Duration::from_millis(self.context_ms)
    }

    pub(super) fn resource_retain(&self) -> Duration {
        Duration::from_millis(self.resource_retain_ms)
    }
}

/// Where a base station is told what to do.
pub(super) fn control_socket(directory: &Path, base_station: MacAddr) -> PathBuf {
    socket(directory, base_station, "control")
}

/// Where other base stations reach it.
pub(super) fn backbone_socket(directory: &Path, base_station: MacAddr) -> PathBuf {
    socket(directory, base_station, "backbone")
}

fn socket(directory: &Path, base_station: MacAddr, what: &str) -> PathBuf {
    let name: String = base_station.0.map(|octet| format!("{octet:02x}")).concat();
    directory.join(format!("bs-{name}.{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_the_standards_ranges() {
        assert_eq!(Timing::default().check(), Ok(()));
    }

    #[test]
    fn neighbors_are_announced_once_a_second_at_least() {
        let timing = Timing {
            neighbor_advertisement_ms: 1001,
            ..Timing::default()
        };
        let error = timing.check().unwrap_err().to_string();
        assert_eq!(
            error,
            "neighbor-advertisement-ms is 1001: it must be from 10 to 1000"
        );
    }

    #[test]
    fn every_socket_has_a_path_of_its_own() {
        let at = |last| MacAddr([2, 0, 0, 0, 10, last]);
        let directory = Path::new("/lab");
        assert_eq!(
            control_socket(directory, at(1)),
            Path::new("/lab/bs-020000000a01.control")
        );
        assert_ne!(
            backbone_socket(directory, at(1)),
            backbone_socket(directory, at(2))
        );
    }
}
