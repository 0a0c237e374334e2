//! The radio medium as a state machine: one station, the access points that it hears, and what both
//! sides' daemons say about it. No clock, no socket, no interface.
//!
//! Contract: `handle_*`, then [`Medium::poll_output`] until `None`, then sleep until
//! [`Medium::poll_timeout`] and call [`Medium::handle_timeout`]. Outputs are carried out in their
//! order: an event that a daemon says after the radio moved is said when the radio has moved.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use fmip_ctl::{proto::Instant, wire::MacAddr};
use serde::{Deserialize, Serialize};

use super::{
    Control, Delays, Refusal,
    speech::{self, BssQuery},
};

/// The channels of the 2.4 GHz band that may be used everywhere, in MHz: those a scan goes through if
/// it is not told which.
const CHANNELS: [u32; 11] = [
    2412, 2417, 2422, 2427, 2432, 2437, 2442, 2447, 2452, 2457, 2462,
];

/// By how much an access point must be stronger, in dB, until wpa_supplicant roams to it on its own:
/// a value between those that it has for weak and for strong signals.
const BETTER_BY: i32 = 5;

/// How many scans of its channel an access point may miss before it is forgotten: wpa_supplicant's
/// `bss_expiration_scan_count`.
const MISSED_SCANS: u32 = 2;

/// An access point on the medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPoint {
    /// Its BSSID.
    pub id: MacAddr,
    /// The bridge that a station is put into by it.
    pub bridge: String,
    /// Its channel, in MHz.
    pub frequency: u32,
    /// How strong the station hears it, in dBm.
    pub signal_dbm: i32,
}

/// A step of a handover, as RFC 4260 section 4 numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// 1: which access points there are.
    Scan,
    /// 2: the station leaves its access point and synchronizes with the new one.
    Join,
    /// 3: Open System authentication.
    Authenticate,
    /// 4: (re)association.
    Associate,
    /// 5: 802.1X, or the four-way handshake; the port is closed until it ends.
    #[serde(rename = "802.1X")]
    Handshake,
    /// 6: the bridges behind the access point learn where the station is.
    #[serde(rename = "layer-2-update")]
    Layer2Update,
}

/// What the radio does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Radio {
    /// No access point: the station has no carrier.
    Off,
    /// Associated, but no frame passes either way: the port is not authorized (yet), the access point
    /// fell silent, or the station listens on another channel.
    Closed,
    /// Frames pass to and from that access point.
    Open(MacAddr),
}

/// What the adapter is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Move the radio, and go on when it has moved.
    Radio(Radio),
    /// Send the layer 2 update frame on that access point's link.
    Layer2Update(MacAddr),
    /// Record a step.
    Step {
        /// Which.
        step: Step,
        /// At which access point; none for a scan, which is not of one.
        access_point: Option<MacAddr>,
        /// When it began; it ends now.
        began: Instant,
    },
    /// wpa_supplicant says so to whoever is attached to it.
    SupplicantEvent(String),
    /// hostapd of that access point says so.
    HostapdEvent(MacAddr, String),
}

/// The medium.
#[derive(Debug)]
pub struct Medium {
    station: MacAddr,
    ssid: String,
    delays: Delays,
    access_points: Vec<AccessPoint>,
    /// Those that are not on the air (any more).
    silent: BTreeSet<MacAddr>,
    state: State,
    scan: Option<Scan>,
    seen: BTreeMap<MacAddr, Seen>,
    next_bss_id: u32,
    /// Where the station is registered, and since when: an access point may not notice that it has left.
    registered: BTreeMap<MacAddr, Instant>,
    /// When an access point finds out that the station has left it.
    notices: Vec<(Instant, MacAddr)>,
    monitor: Option<Monitor>,
    /// What the radio was told last.
    radio: Radio,
    /// What happens to the host's next attempt to roam.
    plan: Option<Plan>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Disconnected {
        /// When it looks for an access point on its own; never, if the host wants it disconnected.
        retry: Option<Instant>,
    },
    /// It has told its access point that it leaves, and is still there.
    Leaving {
        moving: Move,
        until: Instant,
    },
    Moving(Move),
    Connected {
        to: MacAddr,
        /// The access point fell silent: what the station does about it, and when.
        lost: Option<(Instant, Lost)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    NotNoticed,
    BeaconsMissed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    to: MacAddr,
    /// The step that runs.
    step: Step,
    began: Instant,
    ends: Instant,
    /// The firmware does it, without the host.
    firmware: bool,
    refusal: Option<Refusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Refuse(Refusal),
    Divert(MacAddr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Scan {
    channels: Vec<u32>,
    /// How many are done.
    done: usize,
    began: Instant,
    per_channel: Duration,
    next: Instant,
    /// What becomes of its results.
    purpose: Purpose,
    /// Not there again: it has just refused.
    not: Option<MacAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To find an access point.
    Connect,
    /// The host wants to know, and wpa_supplicant chooses a better access point if it meets one.
    Choose,
    /// The host wants to know, and nothing else.
    Know,
}

/// What is known of an access point from the last scan that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) bss_id: u32,
    pub(super) signal_dbm: i32,
    pub(super) at: Instant,
    missed: u32,
}

/// The connection quality monitor of the driver: `SIGNAL_MONITOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Monitor {
    threshold: i32,
    hysteresis: i32,
    /// The signal that was told last; none since the station is at this access point.
    told: Option<i32>,
}

impl Medium {
    /// A station at `attached`, of which its own daemon and the access point's know already.
    pub fn new(
        station: MacAddr,
        ssid: &str,
        access_points: Vec<AccessPoint>,
        attached: MacAddr,
        delays: Delays,
        now: Instant,
    ) -> Self {
        let mut medium = Self {
            station,
            ssid: ssid.to_owned(),
            delays,
            access_points,
            silent: BTreeSet::new(),
            state: State::Connected {
                to: attached,
                lost: None,
            },
            scan: None,
            seen: BTreeMap::new(),
            next_bss_id: 0,
            registered: BTreeMap::from([(attached, now)]),
            notices: Vec::new(),
            monitor: None,
            radio: Radio::Open(attached),
            plan: None,
            outputs: VecDeque::new(),
        };
        // It was found somehow.
        medium.see(attached, now);
        medium
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Medium::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let state = match self.state {
            State::Disconnected { retry } => retry,
            State::Leaving { until, .. } => Some(until),
            State::Moving(moving) => Some(moving.ends),
            State::Connected { lost, .. } => lost.map(|(at, _)| at),
        };
        (self.notices.iter().map(|(at, _)| *at))
            .chain(state)
            .chain(self.scan.as_ref().map(|scan| scan.next))
            .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let (due, later) = self.notices.iter().partition(|(at, _)| *at <= now);
        let due: Vec<(Instant, MacAddr)> = due;
        self.notices = later;
        for (_, access_point) in due {
            self.notice_departure(access_point);
        }
        if self.scan.as_ref().is_some_and(|scan| scan.next <= now) {
            self.channel_done(now);
        }
        match self.state {
            State::Disconnected { retry: Some(at) } if at <= now => {
                self.state = State::Disconnected { retry: None };
                self.look_for_access_point(now, None);
            }
            State::Leaving { moving, until } if until <= now => self.join(now, moving),
            State::Moving(moving) if moving.ends <= now => self.step_done(now, moving),
            State::Connected {
                to,
                lost: Some((at, lost)),
            } if at <= now => self.lose(now, to, lost),
            _ => {}
        }
    }

    // The station's daemon

    /// A command on wpa_supplicant's control interface, and its answer. ATTACH and DETACH are the
    /// socket's affair.
    pub fn handle_supplicant_command(&mut self, now: Instant, command: &str) -> String {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let ok = |done: bool| if done { "OK\n" } else { "FAIL\n" }.to_owned();
        match word {
            "PING" => "PONG\n".to_owned(),
            "STATUS" => self.supplicant_status(),
            "SCAN" => self.supplicant_scan(now, rest),
            "ABORT_SCAN" => {
                let scans = self.scan.is_some();
                self.abort_scan(now);
                ok(scans)
            }
            "SCAN_RESULTS" => speech::scan_results(self.known(), &self.ssid, self.protected()),
            // Nothing found is an empty answer.
            "BSS" => match BssQuery::parse(rest) {
                Some(query) => query.answer(self.known(), &self.ssid, self.protected(), now),
                None => ok(false),
            },
            "BSS_FLUSH" => {
                let attached = self.attached();
                self.seen.retain(|id, _| Some(*id) == attached);
                ok(true)
            }
            "SIGNAL_POLL" => match self.attached().and_then(|id| self.access_point(id)) {
                Some(access_point) => speech::signal_poll(access_point),
                None => ok(false),
            },
            "SIGNAL_MONITOR" => match speech::parse_signal_monitor(rest) {
                Some((threshold, hysteresis)) => {
                    self.monitor = (threshold != 0).then_some(Monitor {
                        threshold,
                        hysteresis,
                        told: None,
                    });
                    self.watch_signal();
                    ok(true)
                }
                None => ok(false),
            },
            "ROAM" => ok(self.supplicant_roam(now, rest)),
            "DISCONNECT" => {
                self.disconnect(now);
                ok(true)
            }
            "RECONNECT" | "REASSOCIATE" => {
                if matches!(self.state, State::Disconnected { .. }) {
                    self.look_for_access_point(now, None);
                }
                ok(true)
            }
            "LIST_NETWORKS" => format!(
                "network id / ssid / bssid / flags\n0\t{}\tany\t[CURRENT]\n",
                self.ssid
            ),
            "SET" => ok(true),
            _ => "UNKNOWN COMMAND\n".to_owned(),
        }
    }

    fn supplicant_status(&self) -> String {
        let state = match self.state {
            State::Connected { .. } => "COMPLETED",
            State::Leaving { .. } => "AUTHENTICATING",
            State::Moving(moving) => match moving.step {
                Step::Scan | Step::Join | Step::Authenticate => "AUTHENTICATING",
                Step::Associate => "ASSOCIATING",
                Step::Handshake | Step::Layer2Update => "4WAY_HANDSHAKE",
            },
            State::Disconnected { .. } if self.scan.is_some() => "SCANNING",
            State::Disconnected { .. } => "DISCONNECTED",
        };
        let at = match self.state {
            State::Connected { to, .. } => Some(to),
            State::Moving(Move { to, step, .. }) if step >= Step::Associate => Some(to),
            _ => None,
        };
        speech::status(
            at.and_then(|id| self.access_point(id)),
            &self.ssid,
            self.protected(),
            state,
            self.station,
        )
    }

    fn supplicant_scan(&mut self, now: Instant, options: &str) -> String {
        let Some(options) = speech::parse_scan(options) else {
            return "FAIL\n".to_owned();
        };
        if self.scan.is_some() || matches!(self.state, State::Leaving { .. } | State::Moving(_)) {
            return "FAIL-BUSY\n".to_owned();
        }
        let per_channel = if options.passive {
            self.delays.passive_channel()
        } else {
            self.delays.channel()
        };
        let purpose = if options.only {
            Purpose::Know
        } else {
            Purpose::Choose
        };
        self.start_scan(now, options.frequencies, per_channel, purpose, None);
        "OK\n".to_owned()
    }

    /// Only to an access point of which a scan told, as in wpa_supplicant.
    fn supplicant_roam(&mut self, now: Instant, to: &str) -> bool {
        let Ok(to) = to.trim().parse() else {
            return false;
        };
        if !self.seen.contains_key(&to) {
            return false;
        }
        let (to, refusal) = match self.plan.take() {
            None => (to, None),
            Some(Plan::Refuse(refusal)) => (to, Some(refusal)),
            Some(Plan::Divert(elsewhere)) => (elsewhere, None),
        };
        self.start_move(now, to, false, refusal);
        true
    }

    fn disconnect(&mut self, now: Instant) {
        self.abort_scan(now);
        let at = self.attached();
        self.set_radio(Radio::Off);
        if let Some(at) = at {
            // A deauthentication frame tells the access point at once.
            if !self.silent.contains(&at) {
                self.notice_departure(at);
            }
            self.supplicant(speech::disconnected(at, 3, true));
        }
        self.state = State::Disconnected { retry: None };
    }

    // The access points' daemons

    /// A command on the control interface of an access point's hostapd, and its answer.
    pub fn handle_hostapd_command(&mut self, now: Instant, at: MacAddr, command: &str) -> String {
        let Some(access_point) = self.access_point(at) else {
            return "FAIL\n".to_owned();
        };
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let since = self.registered.get(&at).copied();
        let here = since.is_some();
        let station = || speech::station(self.station, now - since.unwrap_or(now));
        let named = rest.split(' ').next().and_then(|mac| mac.parse().ok());
        match word {
            "PING" => "PONG\n".to_owned(),
            "STATUS" => speech::hostapd_status(access_point, &self.ssid, here),
            "STA-FIRST" if here => station(),
            // An empty list is an empty answer.
            "STA-FIRST" => String::new(),
            "STA" | "STA-NEXT" if !here || named != Some(self.station) => "FAIL\n".to_owned(),
            "STA" => station(),
            // There is but one.
            "STA-NEXT" => String::new(),
            "DEAUTHENTICATE" | "DISASSOCIATE" if named.is_none() => "FAIL\n".to_owned(),
            "DEAUTHENTICATE" | "DISASSOCIATE" => {
                if named == Some(self.station) {
                    self.kick(now, at);
                }
                "OK\n".to_owned()
            }
            _ => "UNKNOWN COMMAND\n".to_owned(),
        }
    }

    /// An access point sends the station away.
    fn kick(&mut self, now: Instant, at: MacAddr) {
        let attached = self.attached() == Some(at);
        if attached {
            self.set_radio(Radio::Off);
        }
        self.notice_departure(at);
        if attached {
            self.supplicant(speech::disconnected(at, 2, false));
            self.look_for_access_point(now, Some(at));
        }
    }

    // The scenario

    /// Something that the scenario wants.
    ///
    /// # Errors
    /// It names an access point that is not there; or the station is not where it would have to be.
    pub fn handle_control(&mut self, now: Instant, control: Control) -> Result<(), String> {
        match control {
            Control::Signal { access_point, dbm } => {
                let found = self.access_points.iter_mut();
                let access_point = found
                    .into_iter()
                    .find(|candidate| candidate.id == access_point)
                    .ok_or_else(|| no_such(access_point))?;
                access_point.signal_dbm = dbm;
                self.watch_signal();
            }
            Control::Vanish { access_point } => {
                self.must_exist(access_point)?;
                self.silent.insert(access_point);
                if let State::Connected { to, lost: None } = self.state
                    && to == access_point
                {
                    self.set_radio(Radio::Closed);
                    self.state = State::Connected {
                        to,
                        lost: Some((now + self.delays.beacon_loss(), Lost::NotNoticed)),
                    };
                }
            }
            Control::Appear { access_point } => {
                self.must_exist(access_point)?;
                self.silent.remove(&access_point);
                if let State::Connected { to, lost: Some(_) } = self.state
                    && to == access_point
                {
                    self.state = State::Connected { to, lost: None };
                    self.set_radio(Radio::Open(to));
                }
            }
            Control::AddAccessPoint(access_point) => {
                if self.access_point(access_point.id).is_some() {
                    return Err(format!("there is an access point {}", access_point.id));
                }
                self.access_points.push(access_point);
            }
            Control::RefuseRoam { how } => self.plan = Some(Plan::Refuse(how)),
            Control::DivertRoam { access_point } => {
                self.must_exist(access_point)?;
                self.plan = Some(Plan::Divert(access_point));
            }
            Control::FirmwareRoam { access_point } => {
                self.must_exist(access_point)?;
                if self.attached() == Some(access_point) {
                    return Err(format!("the station is at {access_point}"));
                }
                self.start_move(now, access_point, true, None);
            }
            Control::Kick { access_point } => {
                self.must_exist(access_point)?;
                if !self.registered.contains_key(&access_point) {
                    return Err(format!("the station is not at {access_point}"));
                }
                self.kick(now, access_point);
            }
            Control::Delays(delays) => self.delays = delays,
            Control::SupplicantSays { line } => self.supplicant(line),
            Control::HostapdSays { access_point, line } => {
                self.must_exist(access_point)?;
                self.hostapd(access_point, line);
            }
            // The sockets' affair.
            Control::Daemon { .. } => {}
        }
        Ok(())
    }

    fn must_exist(&self, access_point: MacAddr) -> Result<(), String> {
        match self.access_point(access_point) {
            Some(_) => Ok(()),
            None => Err(no_such(access_point)),
        }
    }

    // Scanning

    fn start_scan(
        &mut self,
        now: Instant,
        frequencies: Option<Vec<u32>>,
        per_channel: Duration,
        purpose: Purpose,
        not: Option<MacAddr>,
    ) {
        let mut channels = frequencies.unwrap_or_else(|| {
            let others = self.access_points.iter().map(|point| point.frequency);
            CHANNELS.into_iter().chain(others).collect()
        });
        channels.sort_unstable();
        channels.dedup();
        self.supplicant("CTRL-EVENT-SCAN-STARTED ".to_owned());
        if self.delays.deaf_scan && self.hears_traffic() {
            self.set_radio(Radio::Closed);
        }
        self.scan = Some(Scan {
            channels,
            done: 0,
            began: now,
            per_channel,
            next: now + per_channel,
            purpose,
            not,
        });
    }

    fn channel_done(&mut self, now: Instant) {
        let scan = self.scan.as_mut().expect("a scan is due");
        if let Some(channel) = scan.channels.get(scan.done).copied() {
            scan.done += 1;
            scan.next = now + scan.per_channel;
            self.listen(now, channel);
        }
        let scan = self.scan.as_ref().expect("it was there");
        if scan.done >= scan.channels.len() {
            self.finish_scan(now);
        }
    }

    /// What is heard on a channel.
    fn listen(&mut self, now: Instant, channel: u32) {
        let there: Vec<(MacAddr, bool)> = (self.access_points.iter())
            .filter(|access_point| access_point.frequency == channel)
            .map(|access_point| (access_point.id, self.silent.contains(&access_point.id)))
            .collect();
        for (access_point, silent) in there {
            if !silent {
                self.see(access_point, now);
            } else if let Some(seen) = self.seen.get_mut(&access_point) {
                seen.missed += 1;
                if seen.missed >= MISSED_SCANS {
                    self.seen.remove(&access_point);
                }
            }
        }
    }

    fn see(&mut self, access_point: MacAddr, now: Instant) {
        let Some(signal_dbm) = self
            .access_point(access_point)
            .map(|point| point.signal_dbm)
        else {
            return;
        };
        let bss_id = match self.seen.get(&access_point) {
            Some(seen) => seen.bss_id,
            None => {
                self.next_bss_id += 1;
                self.next_bss_id - 1
            }
        };
        let seen = Seen {
            bss_id,
            signal_dbm,
            at: now,
            missed: 0,
        };
        self.seen.insert(access_point, seen);
    }

    fn finish_scan(&mut self, now: Instant) {
        let Some(scan) = self.scan.take() else {
            return;
        };
        if let State::Connected { to, lost: None } = self.state
            && self.delays.deaf_scan
        {
            self.set_radio(Radio::Open(to));
        }
        self.outputs.push_back(Output::Step {
            step: Step::Scan,
            access_point: None,
            began: scan.began,
        });
        self.supplicant("CTRL-EVENT-SCAN-RESULTS ".to_owned());
        match (scan.purpose, self.state) {
            (Purpose::Connect, State::Disconnected { .. }) => self.choose(now, &scan),
            (Purpose::Choose, State::Connected { to, lost: None }) => {
                if let Some(better) = self.better_than(to, scan.began) {
                    self.start_move(now, better, false, None);
                }
            }
            _ => {}
        }
    }

    /// An access point that this scan has met and that is so much stronger that wpa_supplicant roams.
    fn better_than(&self, current: MacAddr, since: Instant) -> Option<MacAddr> {
        let now = self.access_point(current)?.signal_dbm;
        (self.known())
            .filter(|(access_point, seen)| access_point.id != current && seen.at >= since)
            .filter(|(_, seen)| seen.signal_dbm >= now + BETTER_BY)
            .max_by_key(|(_, seen)| seen.signal_dbm)
            .map(|(access_point, _)| access_point.id)
    }

    /// Goes to the strongest access point that a scan has met.
    fn choose(&mut self, now: Instant, scan: &Scan) {
        let strongest = (self.known())
            .filter(|(access_point, seen)| {
                seen.at >= scan.began && Some(access_point.id) != scan.not
            })
            .max_by_key(|(_, seen)| seen.signal_dbm)
            .map(|(access_point, _)| access_point.id);
        match strongest {
            Some(to) => self.start_move(now, to, false, None),
            None => {
                self.supplicant("CTRL-EVENT-NETWORK-NOT-FOUND ".to_owned());
                self.state = State::Disconnected {
                    retry: Some(now + self.delays.retry()),
                };
            }
        }
    }

    /// Ends a scan early; what was heard until then is its result.
    fn abort_scan(&mut self, now: Instant) {
        if let Some(scan) = &mut self.scan {
            scan.purpose = Purpose::Know;
        }
        self.finish_scan(now);
    }

    // Moving

    fn look_for_access_point(&mut self, now: Instant, not: Option<MacAddr>) {
        self.abort_scan(now);
        self.set_radio(Radio::Off);
        self.state = State::Disconnected { retry: None };
        let per_channel = self.delays.channel();
        self.start_scan(now, None, per_channel, Purpose::Connect, not);
    }

    fn start_move(&mut self, now: Instant, to: MacAddr, firmware: bool, refusal: Option<Refusal>) {
        self.abort_scan(now);
        if firmware {
            self.outputs.push_back(Output::Step {
                step: Step::Scan,
                access_point: None,
                began: now,
            });
            self.see(to, now);
        } else {
            self.supplicant(speech::trying_to_authenticate(
                to,
                &self.ssid,
                self.frequency(to),
            ));
        }
        let left = self.attached();
        if let Some(from) = left.filter(|from| *from != to)
            && let Some(notice) = self.delays.notice()
        {
            self.notices.push((now + notice, from));
        }
        let moving = Move {
            to,
            step: Step::Join,
            began: now,
            ends: now,
            firmware,
            refusal,
        };
        let linger = self.delays.linger();
        if left.is_none() || linger.is_zero() {
            self.join(now, moving);
        } else {
            let until = now + linger;
            self.state = State::Leaving { moving, until };
        }
    }

    /// Leaves the access point and turns to the next.
    fn join(&mut self, now: Instant, moving: Move) {
        self.set_radio(Radio::Off);
        self.state = State::Moving(Move {
            began: now,
            ends: now + self.delays.of(Step::Join, moving.firmware),
            ..moving
        });
    }

    fn step_done(&mut self, now: Instant, moving: Move) {
        let Move {
            to, step, firmware, ..
        } = moving;
        let unanswered = self.silent.contains(&to) || moving.refusal == Some(Refusal::Silence);
        let record = |medium: &mut Self, step| {
            medium.outputs.push_back(Output::Step {
                step,
                access_point: Some(to),
                began: moving.began,
            });
        };
        let next = match step {
            Step::Scan | Step::Join => {
                record(self, Step::Join);
                Step::Authenticate
            }
            // Nobody answers. Linux tries three times, and says nothing on the control interface.
            Step::Authenticate | Step::Associate if unanswered => {
                return self.look_for_access_point(now, Some(to));
            }
            Step::Authenticate if moving.refusal == Some(Refusal::Authentication) => {
                self.supplicant(format!(
                    "CTRL-EVENT-AUTH-REJECT {to} auth_type=0 auth_transaction=2 status_code=1"
                ));
                return self.look_for_access_point(now, Some(to));
            }
            Step::Authenticate => {
                record(self, Step::Authenticate);
                if !firmware {
                    self.supplicant(speech::trying_to_associate(
                        to,
                        &self.ssid,
                        self.frequency(to),
                    ));
                }
                Step::Associate
            }
            Step::Associate if moving.refusal == Some(Refusal::Association) => {
                self.supplicant(format!("CTRL-EVENT-ASSOC-REJECT bssid={to} status_code=17"));
                return self.look_for_access_point(now, Some(to));
            }
            Step::Associate => {
                record(self, Step::Associate);
                self.set_radio(Radio::Closed);
                self.supplicant(format!("Associated with {to}"));
                self.supplicant("CTRL-EVENT-SUBNET-STATUS-UPDATE status=0".to_owned());
                Step::Handshake
            }
            Step::Handshake | Step::Layer2Update => {
                return self.connect(moving);
            }
        };
        let mut takes = self.delays.of(next, firmware);
        if next == Step::Authenticate && unanswered {
            takes = self.delays.silence();
        }
        self.state = State::Moving(Move {
            step: next,
            began: now,
            ends: now + takes,
            ..moving
        });
    }

    fn connect(&mut self, moving: Move) {
        let Move { to, began, .. } = moving;
        let silent = self.silent.contains(&to);
        if !silent {
            self.set_radio(Radio::Open(to));
        }
        if self.protected() {
            self.outputs.push_back(Output::Step {
                step: Step::Handshake,
                access_point: Some(to),
                began,
            });
        }
        self.outputs.push_back(Output::Layer2Update(to));
        self.outputs.push_back(Output::Step {
            step: Step::Layer2Update,
            access_point: Some(to),
            began: moving.ends,
        });
        // It is back before the access point noticed that it had left.
        self.notices.retain(|(_, access_point)| *access_point != to);
        self.registered.insert(to, moving.ends);
        self.hostapd(to, format!("AP-STA-CONNECTED {}", self.station));
        if self.protected() {
            self.supplicant(format!(
                "WPA: Key negotiation completed with {to} [PTK=CCMP GTK=CCMP]"
            ));
        }
        self.supplicant(format!(
            "CTRL-EVENT-CONNECTED - Connection to {to} completed [id=0 id_str=]"
        ));
        self.state = State::Connected {
            to,
            lost: silent.then_some((moving.ends + self.delays.beacon_loss(), Lost::NotNoticed)),
        };
        if let Some(monitor) = &mut self.monitor {
            monitor.told = None;
        }
        self.watch_signal();
    }

    /// The access point has been silent for a while.
    fn lose(&mut self, now: Instant, at: MacAddr, lost: Lost) {
        match lost {
            Lost::NotNoticed => {
                self.supplicant("CTRL-EVENT-BEACON-LOSS ".to_owned());
                self.state = State::Connected {
                    to: at,
                    lost: Some((now + self.delays.beacon_loss(), Lost::BeaconsMissed)),
                };
            }
            Lost::BeaconsMissed => {
                self.set_radio(Radio::Off);
                if let Some(notice) = self.delays.notice() {
                    self.notices.push((now + notice, at));
                }
                self.supplicant(speech::disconnected(at, 4, true));
                self.look_for_access_point(now, None);
            }
        }
    }

    fn notice_departure(&mut self, access_point: MacAddr) {
        self.notices.retain(|(_, other)| *other != access_point);
        if self.registered.remove(&access_point).is_some() {
            self.hostapd(
                access_point,
                format!("AP-STA-DISCONNECTED {}", self.station),
            );
        }
    }

    /// Tells of the signal as the kernel's monitor does: when it is below the threshold and has fallen
    /// by more than the hysteresis since it was told last, and the same upwards.
    fn watch_signal(&mut self) {
        let signal = match self.state {
            State::Connected { to, .. } => self.access_point(to).map(|point| point.signal_dbm),
            _ => None,
        };
        let (Some(monitor), Some(signal)) = (&mut self.monitor, signal) else {
            return;
        };
        let (threshold, hysteresis) = (monitor.threshold, monitor.hysteresis);
        let fell = monitor.told.is_none_or(|told| signal < told - hysteresis);
        let rose = monitor.told.is_none_or(|told| signal > told + hysteresis);
        let above = if signal < threshold && fell {
            false
        } else if signal > threshold && rose {
            true
        } else {
            return;
        };
        monitor.told = Some(signal);
        self.supplicant(speech::signal_change(above, signal));
    }

    // What there is

    /// Where the station is, if it is connected.
    pub fn attached(&self) -> Option<MacAddr> {
        match self.state {
            State::Connected { to, .. } => Some(to),
            _ => None,
        }
    }

    fn hears_traffic(&self) -> bool {
        matches!(self.state, State::Connected { lost: None, .. })
    }

    /// An access point of the medium.
    pub fn access_point(&self, id: MacAddr) -> Option<&AccessPoint> {
        self.access_points.iter().find(|point| point.id == id)
    }

    fn frequency(&self, id: MacAddr) -> u32 {
        self.access_point(id).map_or(0, |point| point.frequency)
    }

    /// Whether there is a four-way handshake.
    fn protected(&self) -> bool {
        self.delays.handshake_ms > 0
    }

    fn known(&self) -> impl Iterator<Item = (&AccessPoint, &Seen)> {
        (self.access_points.iter()).filter_map(|point| Some((point, self.seen.get(&point.id)?)))
    }

    fn set_radio(&mut self, radio: Radio) {
        if self.radio != radio {
            self.radio = radio;
            self.outputs.push_back(Output::Radio(radio));
        }
    }

    fn supplicant(&mut self, event: String) {
        self.outputs.push_back(Output::SupplicantEvent(event));
    }

    fn hostapd(&mut self, access_point: MacAddr, event: String) {
        self.outputs
            .push_back(Output::HostapdEvent(access_point, event));
    }
}

fn no_such(access_point: MacAddr) -> String {
    format!("there is no access point {access_point}")
}
