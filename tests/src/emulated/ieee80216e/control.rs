//! What a scenario tells a base station: how it is to behave, and what to begin.

use fmip_ctl::wire::MacAddr;
use serde::{Deserialize, Serialize};

/// A request on a base station's control socket: one datagram of JSON, answered by one, an `Answer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Control {
    /// It makes a station that it serves leave for another base station (MOB_BSHO-REQ).
    Handover {
        /// The station.
        station: MacAddr,
        /// Where to.
        target: MacAddr,
    },
    /// From now on stations measure it with this strength.
    Signal {
        /// In dBm; if that is not there, it is off the air.
        dbm: Option<i8>,
    },
    /// It announces a neighbor from now on (MOB_NBR-ADV).
    Announce {
        /// Which.
        neighbor: MacAddr,
    },
    /// What it says from now on to other base stations that ask whether it takes a station.
    Candidate {
        /// The answer.
        answer: Willingness,
    },
    /// Whether it answers from now on to MOB_MSHO-REQ.
    Responds {
        /// Whether.
        to_handover_requests: bool,
    },
    /// Whether it lets stations in that range here.
    Admits {
        /// Whether.
        stations: bool,
    },
    /// Whether it gives the contexts of stations away.
    Transfers {
        /// Whether.
        contexts: bool,
    },
}

/// How a base station answers others that ask whether it takes a station.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Willingness {
    /// Yes.
    #[default]
    Accept,
    /// No.
    Reject,
    /// Not at all.
    Silent,
}

/// The answer to a [`Control`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Whether it was done.
    pub(super) ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Answer {
    /// It was done, or not, and why not.
    pub(super) fn of(result: Result<(), String>) -> Self {
        Self {
            ok: result.is_ok(),
            error: result.err(),
        }
    }
}

/// Reads a request.
///
/// # Errors
/// Names the field that is wrong.
pub(super) fn parse(datagram: &[u8]) -> Result<Control, String> {
    serde_json::from_slice(datagram).map_err(|error| format!("not a request: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_and_read_and_garbage_is_named() {
        let request = Control::Signal { dbm: Some(-70) };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(text, r#"{"command":"signal","dbm":-70}"#);
        assert_eq!(parse(text.as_bytes()), Ok(request));
        let error = parse(br#"{"command":"signal","dbm":"loud"}"#).unwrap_err();
        assert!(error.contains("loud"), "{error}");
        let error = parse(br#"{"command":"signal","dbm":1,"more":2}"#).unwrap_err();
        assert!(error.contains("more"), "{error}");
        let error = parse(br#"{"command":"sing"}"#).unwrap_err();
        assert!(error.contains("sing"), "{error}");
    }
}
