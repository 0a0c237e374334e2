//! wpa_supplicant: its words on its control interface, and a client that outlives it.
//!
//! What it writes is read by pure functions, which never fail in another way than by an error that
//! says what was not understood. The formats are those of wpa_supplicant 2.10.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    path::PathBuf,
    pin::Pin,
    str::FromStr,
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::control::{Connection, PATIENCE, clipped, event_text, is_event, text};
use crate::wire::MacAddr;

/// The pause before the supplicant is tried again: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How many questions may wait.
const MAX_QUESTIONS: usize = 32;

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
    /// The access point did not answer in time.
    TimedOut {
        bssid: MacAddr,
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
    /// The supplicant ends: for [`Client`].
    Terminating,
    /// One that nothing depends on.
    Other,
}

/// What the supplicant is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Where it is attached.
    Status,
    /// How strong the access point is.
    SignalPoll,
    /// To tell when the signal crosses a threshold; if that is 0, not any more.
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

/// Reads an event.
pub(super) fn event(datagram: &[u8]) -> Result<Event, Garbage> {
    let whole = text(datagram).map_err(Garbage::NoText)?.trim_end();
    let told = event_text(whole).ok_or_else(|| Garbage::NoLevel(clipped(whole)))?;
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
    // As it is in `Authentication with 02:00:00:00:01:00 timed out.`
    if let Some(after) = told.strip_prefix("Authentication with ") {
        return Ok(Event::TimedOut {
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
    let answer = text(datagram).map_err(Garbage::NoText)?;
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

/// What a [`Client`] tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The supplicant is there, or there again.
    Opened,
    /// It is gone, and tried again.
    Lost { error: String },
    /// It told something.
    Event(Event),
    /// It answered.
    Replied { request: Request, reply: Reply },
    /// It wrote what is not understood.
    Garbage(Garbage),
    /// That was its answer.
    Unreadable { request: Request, garbage: Garbage },
}

/// A client of the supplicant that outlives it.
pub(super) struct Client {
    path: PathBuf,
    beside: PathBuf,
    state: State,
    /// The pause before it is tried again.
    pause: Duration,
    /// Whether it was told that the supplicant is gone.
    told_lost: bool,
    /// Whether the supplicant was asked to watch the signal.
    watches_signal: bool,
}

enum State {
    Pausing(Pin<Box<Sleep>>),
    Opening(Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>),
    Open(Open),
}

struct Open {
    connection: Connection,
    /// What is to be asked, the question whose answer is waited for in front.
    questions: VecDeque<Request>,
    /// Whether that was sent.
    sent: bool,
    /// Until when the one in front must be answered.
    patience: Pin<Box<Sleep>>,
}

impl Client {
    /// A client of the supplicant whose socket is at `path`, answered to beside `beside`.
    pub(super) fn new(path: PathBuf, beside: PathBuf) -> Self {
        Self {
            state: opening(path.clone(), beside.clone()),
            path,
            beside,
            pause: FIRST_PAUSE,
            told_lost: false,
            watches_signal: false,
        }
    }

    /// Asks something, if there is somebody to ask. What waits to be asked already is not asked
    /// twice.
    pub(super) fn ask(&mut self, request: Request) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        let under_way = usize::from(open.sent);
        if open
            .questions
            .iter()
            .skip(under_way)
            .any(|of| *of == request)
        {
            return;
        }
        if open.questions.is_empty() {
            open.patience = Box::pin(sleep(PATIENCE));
        }
        self.watches_signal |= matches!(request, Request::SignalMonitor { .. });
        match request {
            // Nothing may make a move wait.
            Request::Roam { .. } => open.questions.insert(under_way, request),
            _ if open.questions.len() < MAX_QUESTIONS => open.questions.push_back(request),
            _ => {}
        }
    }

    /// The next that it tells. Nothing is lost if this is cancelled.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            let error = match &mut self.state {
                State::Pausing(pause) => {
                    pause.as_mut().await;
                    let (path, beside) = (self.path.clone(), self.beside.clone());
                    self.state = opening(path, beside);
                    continue;
                }
                State::Opening(opening) => match opening.as_mut().await {
                    Ok(connection) => {
                        self.pause = FIRST_PAUSE;
                        self.told_lost = false;
                        self.state = State::Open(Open {
                            connection,
                            questions: VecDeque::new(),
                            sent: false,
                            patience: Box::pin(sleep(PATIENCE)),
                        });
                        return Heard::Opened;
                    }
                    Err(error) => error,
                },
                State::Open(open) => match open.next().await {
                    Ok(heard) => return heard,
                    Err(error) => error,
                },
            };
            self.state = State::Pausing(Box::pin(sleep(self.pause)));
            self.pause = (self.pause * 2).min(LAST_PAUSE);
            // It is told once, not at every attempt.
            if !std::mem::replace(&mut self.told_lost, true) {
                let error = error.to_string();
                return Heard::Lost { error };
            }
        }
    }
}

fn opening(path: PathBuf, beside: PathBuf) -> State {
    State::Opening(Box::pin(
        async move { Connection::open(&path, &beside).await },
    ))
}

impl Drop for Client {
    /// The kernel would go on watching the signal for the supplicant, by our threshold.
    fn drop(&mut self) {
        if let (State::Open(open), true) = (&self.state, self.watches_signal) {
            let off = Request::SignalMonitor {
                threshold_dbm: 0,
                hysteresis_db: 0,
            };
            open.connection.ask_at_the_end(&off.to_string());
        }
    }
}

impl Open {
    async fn next(&mut self) -> io::Result<Heard> {
        let is_waiting = !self.questions.is_empty();
        if let (Some(question), false) = (self.questions.front(), self.sent) {
            let question = question.to_string();
            tokio::select! {
                sent = self.connection.send(&question) => sent?,
                () = self.patience.as_mut() => {
                    return Err(io::Error::other("it reads nothing"));
                }
            }
            self.sent = true;
        }
        let datagram = tokio::select! {
            biased;
            datagram = self.connection.receive() => datagram?,
            () = self.patience.as_mut(), if is_waiting => {
                return Err(io::Error::other("it does not answer"));
            }
        };
        if is_event(datagram) {
            return Ok(match event(datagram) {
                // It says so itself, and its socket says nothing more.
                Ok(Event::Terminating) => return Err(io::Error::other("it ended")),
                Ok(event) => Heard::Event(event),
                Err(garbage) => Heard::Garbage(garbage),
            });
        }
        if !std::mem::take(&mut self.sent) {
            let answer = String::from_utf8_lossy(datagram);
            return Ok(Heard::Garbage(Garbage::Answer {
                request: "nothing".to_owned(),
                what: "question",
                answer: clipped(&answer),
            }));
        }
        self.patience = Box::pin(sleep(PATIENCE));
        let request = self.questions.pop_front().expect("one was sent");
        Ok(match reply(&request, datagram) {
            Ok(reply) => Heard::Replied { request, reply },
            Err(garbage) => Heard::Unreadable { request, garbage },
        })
    }
}
