//! The words of wpa_supplicant on its control interface.
//!
//! What it writes is read by pure functions, which never fail in another way than by an error that
//! says what was not understood. The formats are those of wpa_supplicant 2.10.

use std::{collections::HashMap, fmt, str::FromStr, time::Duration};

use super::control;
use crate::wire::MacAddr;

/// What of a BSS is asked for: id, BSSID, frequency, level, age, flags, SSID and a line between two of
/// them (`WPA_BSS_MASK_*`).
const BSS_MASK: u32 = 1 | 1 << 1 | 1 << 2 | 1 << 7 | 1 << 9 | 1 << 11 | 1 << 12 | 1 << 17;

/// What the supplicant tells without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The authentication with an access point begins.
    Authenticating {
        bssid: MacAddr,
    },
    /// The association begins. A driver that chooses the access point itself does not say which.
    Associating {
        bssid: Option<MacAddr>,
    },
    /// The association is there; keys may be missing yet.
    Associated {
        bssid: MacAddr,
    },
    /// 802.1X begins.
    EapStarted,
    /// 802.1X succeeded.
    EapSuccess,
    /// 802.1X failed.
    EapFailure,
    /// The four-way handshake has come to its end.
    KeysNegotiated {
        bssid: MacAddr,
    },
    /// All of it is done.
    Connected {
        bssid: MacAddr,
    },
    /// The link is gone.
    Disconnected {
        bssid: Option<MacAddr>,
        reason: Option<u16>,
    },
    /// The access point refuses the authentication.
    AuthenticationRejected {
        bssid: MacAddr,
        status: Option<u16>,
    },
    /// The access point refuses the association.
    AssociationRejected {
        bssid: Option<MacAddr>,
        status: Option<u16>,
    },
    /// The network is not tried for some time.
    NetworkDisabled {
        reason: Option<String>,
    },
    ScanStarted,
    /// There are new results.
    ScanResults,
    ScanFailed,
    /// The signal of the access point crossed the threshold of [`Request::SignalMonitor`].
    SignalChange {
        above: bool,
        dbm: i32,
    },
    /// Beacons of the access point did not come.
    BeaconLoss,
    /// The supplicant ends.
    Terminating,
    /// One that nothing depends on.
    Other,
}

/// What the supplicant is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Whether it is there.
    Ping,
    /// Where it is attached.
    Status,
    /// How strong the access point is.
    SignalPoll,
    /// To tell when the signal crosses a threshold.
    SignalMonitor {
        threshold_dbm: i32,
        hysteresis_db: u32,
    },
    /// To look around, on these frequencies (MHz) only, if there are any.
    Scan { frequencies: Vec<u32> },
    /// What was found, from the BSS with this number on.
    Found { from: u32 },
    /// What was found, in the older form that knows no age.
    ScanResults,
    /// To move.
    Roam { bssid: MacAddr },
}

impl fmt::Display for Request {
    /// As the supplicant reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("PING"),
            Self::Status => f.write_str("STATUS"),
            Self::SignalPoll => f.write_str("SIGNAL_POLL"),
            Self::SignalMonitor {
                threshold_dbm,
                hysteresis_db,
            } => write!(
                f,
                "SIGNAL_MONITOR THRESHOLD={threshold_dbm} HYSTERESIS={hysteresis_db}"
            ),
            // A scan that is not of this type lets the supplicant choose an access point by its results.
            Self::Scan { frequencies } => {
                f.write_str("SCAN TYPE=ONLY")?;
                for (index, frequency) in frequencies.iter().enumerate() {
                    let before = if index == 0 { " freq=" } else { "," };
                    write!(f, "{before}{frequency}")?;
                }
                Ok(())
            }
            Self::Found { from } => write!(f, "BSS RANGE={from}- MASK=0x{BSS_MASK:x}"),
            Self::ScanResults => f.write_str("SCAN_RESULTS"),
            Self::Roam { bssid } => write!(f, "ROAM {bssid}"),
        }
    }
}

/// What the supplicant answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It does what it was asked for.
    Done,
    Status(Status),
    Signal(Signal),
    /// Not all of them, perhaps: ask for those behind the last until there are none.
    Found(Vec<Bss>),
    /// No, in its words, such as `FAIL-BUSY`.
    Refused(String),
}

/// The answer to [`Request::Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) phase: Phase,
    pub(super) bssid: Option<MacAddr>,
    /// As the supplicant writes it, special characters escaped.
    pub(super) ssid: Option<String>,
    /// In MHz.
    pub(super) frequency: Option<u32>,
    /// Whether its 802.1X port lets packets through; not every supplicant says so.
    pub(super) port_authorized: Option<bool>,
}

/// How far the supplicant is, as far as that makes a difference here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not attached.
    #[default]
    Detached,
    /// On its way, or renewing keys on a link that is there.
    Underway,
    /// Attached.
    Completed,
}

/// The answer to [`Request::SignalPoll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signal {
    pub(super) dbm: i32,
    /// In MHz.
    pub(super) frequency: Option<u32>,
}

/// An access point that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bss {
    /// The supplicant's number for it.
    pub(super) id: Option<u32>,
    pub(super) bssid: MacAddr,
    /// In MHz.
    pub(super) frequency: u32,
    pub(super) dbm: i32,
    /// How old that is, to the second; `None`: unknown.
    pub(super) age: Option<Duration>,
    pub(super) ssid: String,
}

/// What was not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbage {
    #[error("{0:?} is no text")]
    NoText(Vec<u8>),
    #[error("{0:?} is no event: it has no <level> in front")]
    NoLevel(String),
    #[error("{event:?}: {what} is missing, or is none")]
    Field { event: String, what: &'static str },
    #[error("the answer to {request} has no {what}: {answer:?}")]
    Answer {
        request: String,
        what: &'static str,
        answer: String,
    },
}

/// Text, as far as people need to see it.
fn clipped(text: &str) -> String {
    text.chars().take(200).collect()
}

fn text(datagram: &[u8]) -> Result<&str, Garbage> {
    std::str::from_utf8(datagram)
        .map_err(|_| Garbage::NoText(datagram[..datagram.len().min(100)].to_vec()))
}

/// Reads an event.
pub(super) fn event(datagram: &[u8]) -> Result<Event, Garbage> {
    let whole = text(datagram)?.trim_end();
    let told = control::event_text(whole).ok_or_else(|| Garbage::NoLevel(clipped(whole)))?;
    let missing = |what| Garbage::Field {
        event: clipped(told),
        what,
    };
    let first_address = |after: &str| {
        let word = after.split_whitespace().next().unwrap_or_default();
        MacAddr::from_str(word).map_err(|_| missing("the access point's address"))
    };
    if let Some(after) = told.strip_prefix("SME: Trying to authenticate with ") {
        return Ok(Event::Authenticating {
            bssid: first_address(after)?,
        });
    }
    if let Some(after) = told.strip_prefix("Trying to associate with ") {
        let bssid = match after.starts_with("SSID ") {
            true => None,
            false => Some(first_address(after)?),
        };
        return Ok(Event::Associating { bssid });
    }
    if let Some(after) = told.strip_prefix("Associated with ") {
        return Ok(Event::Associated {
            bssid: first_address(after)?,
        });
    }
    if let Some(after) = told.strip_prefix("WPA: Key negotiation completed with ") {
        return Ok(Event::KeysNegotiated {
            bssid: first_address(after)?,
        });
    }
    let (name, after) = told.split_once(' ').unwrap_or((told, ""));
    let fields = fields(after.split_whitespace());
    let field = |key: &str| fields.get(key).copied();
    let bssid = || {
        field("bssid")
            .map(|value| MacAddr::from_str(value).map_err(|_| missing("bssid")))
            .transpose()
    };
    let code = |key: &'static str| {
        field(key)
            .map(|value| value.parse().map_err(|_| missing(key)))
            .transpose()
    };
    Ok(match name {
        "CTRL-EVENT-CONNECTED" => {
            let after = after
                .strip_prefix("- Connection to ")
                .ok_or_else(|| missing("\"- Connection to\""))?;
            Event::Connected {
                bssid: first_address(after)?,
            }
        }
        "CTRL-EVENT-DISCONNECTED" => Event::Disconnected {
            // All zero where it was attached to nothing.
            bssid: bssid()?.filter(|bssid| bssid.0 != [0; 6]),
            reason: code("reason")?,
        },
        "CTRL-EVENT-AUTH-REJECT" => Event::AuthenticationRejected {
            bssid: first_address(after)?,
            status: code("status_code")?,
        },
        "CTRL-EVENT-ASSOC-REJECT" => Event::AssociationRejected {
            bssid: bssid()?,
            status: code("status_code")?,
        },
        "CTRL-EVENT-SSID-TEMP-DISABLED" => Event::NetworkDisabled {
            reason: field("reason").map(clipped),
        },
        "CTRL-EVENT-EAP-STARTED" => Event::EapStarted,
        "CTRL-EVENT-EAP-SUCCESS" => Event::EapSuccess,
        "CTRL-EVENT-EAP-FAILURE" => Event::EapFailure,
        "CTRL-EVENT-SCAN-STARTED" => Event::ScanStarted,
        "CTRL-EVENT-SCAN-RESULTS" => Event::ScanResults,
        "CTRL-EVENT-SCAN-FAILED" => Event::ScanFailed,
        "CTRL-EVENT-SIGNAL-CHANGE" => Event::SignalChange {
            above: match field("above") {
                Some("0") => false,
                Some("1") => true,
                _ => return Err(missing("above")),
            },
            dbm: field("signal")
                .and_then(dbm)
                .ok_or_else(|| missing("signal"))?,
        },
        "CTRL-EVENT-BEACON-LOSS" => Event::BeaconLoss,
        "CTRL-EVENT-TERMINATING" => Event::Terminating,
        _ => Event::Other,
    })
}

/// `key=value` words.
fn fields<'a>(words: impl Iterator<Item = &'a str>) -> HashMap<&'a str, &'a str> {
    words.filter_map(|word| word.split_once('=')).collect()
}

/// A signal that can be one: drivers that measure none write 0, 9999 or the like.
fn dbm(text: &str) -> Option<i32> {
    text.parse().ok().filter(|dbm| (-128..0).contains(dbm))
}

/// Reads the answer to `request`.
pub(super) fn reply(request: &Request, datagram: &[u8]) -> Result<Reply, Garbage> {
    let answer = text(datagram)?;
    let word = answer.trim_end();
    if word.starts_with("FAIL") || word == "UNKNOWN COMMAND" {
        return Ok(Reply::Refused(clipped(word)));
    }
    let lacks = |what| Garbage::Answer {
        request: request.to_string(),
        what,
        answer: clipped(answer),
    };
    match request {
        Request::Ping => match word {
            "PONG" => Ok(Reply::Done),
            _ => Err(lacks("PONG")),
        },
        Request::SignalMonitor { .. } | Request::Scan { .. } | Request::Roam { .. } => match word {
            "OK" => Ok(Reply::Done),
            _ => Err(lacks("OK")),
        },
        Request::Status => status(answer)
            .map(Reply::Status)
            .ok_or_else(|| lacks("wpa_state")),
        Request::SignalPoll => signal(answer)
            .map(Reply::Signal)
            .ok_or_else(|| lacks("RSSI")),
        Request::Found { .. } => found(answer)
            .map(Reply::Found)
            .ok_or_else(|| lacks("bssid, freq and level for every BSS")),
        Request::ScanResults => scan_results(answer)
            .map(Reply::Found)
            .ok_or_else(|| lacks("five columns")),
    }
}

fn status(answer: &str) -> Option<Status> {
    let fields = fields(answer.lines());
    let phase = match *fields.get("wpa_state")? {
        "COMPLETED" => Phase::Completed,
        "AUTHENTICATING" | "ASSOCIATING" | "ASSOCIATED" | "4WAY_HANDSHAKE" | "GROUP_HANDSHAKE" => {
            Phase::Underway
        }
        _ => Phase::Detached,
    };
    Some(Status {
        phase,
        bssid: fields
            .get("bssid")
            .and_then(|bssid| MacAddr::from_str(bssid).ok()),
        ssid: fields.get("ssid").map(|ssid| (*ssid).to_owned()),
        frequency: fields.get("freq").and_then(|freq| freq.parse().ok()),
        port_authorized: fields
            .get("suppPortStatus")
            .map(|status| *status == "Authorized"),
    })
}

fn signal(answer: &str) -> Option<Signal> {
    let fields = fields(answer.lines());
    Some(Signal {
        dbm: fields.get("RSSI").copied().and_then(dbm)?,
        frequency: fields.get("FREQUENCY").and_then(|mhz| mhz.parse().ok()),
    })
}

/// The entries of `BSS RANGE=`, of which the last may be cut off.
fn found(answer: &str) -> Option<Vec<Bss>> {
    let mut all = Vec::new();
    let mut lines = Vec::new();
    for line in answer.lines() {
        if line != "====" && line != "####" {
            lines.push(line);
            continue;
        }
        let fields = fields(lines.drain(..));
        if fields.is_empty() {
            continue;
        }
        let field = |key: &str| fields.get(key).copied();
        all.push(Bss {
            id: field("id").and_then(|id| id.parse().ok()),
            bssid: MacAddr::from_str(field("bssid")?).ok()?,
            frequency: field("freq")?.parse().ok()?,
            dbm: field("level")?.parse().ok()?,
            age: field("age")
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            ssid: field("ssid").unwrap_or_default().to_owned(),
        });
    }
    Some(all)
}

/// The table of `SCAN_RESULTS`: BSSID, frequency, signal level, flags, SSID.
fn scan_results(answer: &str) -> Option<Vec<Bss>> {
    let rows = answer.lines().filter(|line| !line.starts_with("bssid /"));
    rows.map(|row| {
        let mut columns = row.splitn(5, '\t');
        Some(Bss {
            id: None,
            bssid: MacAddr::from_str(columns.next()?).ok()?,
            frequency: columns.next()?.parse().ok()?,
            dbm: columns.next()?.parse().ok()?,
            age: None,
            ssid: columns.nth(1).unwrap_or_default().to_owned(),
        })
    })
    .collect()
}
