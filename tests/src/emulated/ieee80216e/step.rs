//! What a base station does, as lines of JSON on its standard output.

use std::fmt;

use fmip_ctl::wire::MacAddr;
use serde::{Deserialize, Serialize};

/// A message of a base station, or something that it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When: nanoseconds on the kernel's monotonic clock, which all processes share.
    pub time_ns: u64,
    /// Whose: its BSID.
    pub base_station: MacAddr,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

/// A step without its time and place, as the base station's state machine tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Its name in the standard, such as `MOB_BSHO-RSP`, or what it is.
    pub step: String,
    /// Where it happened.
    pub medium: Medium,
    /// Which way it went.
    pub direction: Direction,
    /// The mobile station or the base station at the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<MacAddr>,
    /// More of it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Where a step happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// Between a mobile station and a base station.
    Air,
    /// Between base stations.
    Backbone,
    /// In the base station.
    Local,
}

/// Which way a step went, as seen by the base station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It sent it.
    Sent,
    /// It received it.
    Received,
    /// It did it.
    Local,
}

impl Act {
    /// A message on the air.
    pub fn on_air(step: &str, direction: Direction, peer: Option<MacAddr>) -> Self {
        Self::new(step, Medium::Air, direction, peer)
    }

    /// A message between base stations.
    pub fn on_backbone(step: &str, direction: Direction, peer: MacAddr) -> Self {
        Self::new(step, Medium::Backbone, direction, Some(peer))
    }

    /// Something that was done, with the mobile station that it concerns.
    pub fn local(step: &str, peer: Option<MacAddr>) -> Self {
        Self::new(step, Medium::Local, Direction::Local, peer)
    }

    fn new(step: &str, medium: Medium, direction: Direction, peer: Option<MacAddr>) -> Self {
        Self {
            step: step.to_owned(),
            medium,
            direction,
            peer,
            detail: None,
        }
    }

    /// With more of it.
    #[must_use]
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.time_ns as f64 / 1e6;
        write!(formatter, "{milliseconds:.3} {}: ", self.base_station)?;
        write!(formatter, "{}", self.act)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.direction {
            Direction::Sent => " ->",
            Direction::Received => " <-",
            Direction::Local => "",
        };
        write!(formatter, "{}{arrow}", self.step)?;
        if let Some(peer) = self.peer {
            write!(formatter, " {peer}")?;
        }
        match &self.detail {
            Some(detail) => write!(formatter, " ({detail})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_line_and_read_again() {
        let step = Step {
            time_ns: 12,
            base_station: MacAddr([2, 0, 0, 0, 10, 1]),
            act: Act::on_air(
                "MOB_BSHO-RSP",
                Direction::Sent,
                Some(MacAddr([2, 0, 0, 0, 0, 1])),
            )
            .with("to 02:00:00:00:0a:02"),
        };
        let line = serde_json::to_string(&step).unwrap();
        assert_eq!(
            line,
            r#"{"time_ns":12,"base_station":"02:00:00:00:0a:01","step":"MOB_BSHO-RSP","medium":"air","direction":"sent","peer":"02:00:00:00:00:01","detail":"to 02:00:00:00:0a:02"}"#
        );
        assert_eq!(serde_json::from_str::<Step>(&line).unwrap(), step);
        assert_eq!(
            step.act.to_string(),
            "MOB_BSHO-RSP -> 02:00:00:00:00:01 (to 02:00:00:00:0a:02)"
        );
    }
}
