//! The radio medium as a state machine: one station, the access points that it hears, and what both
//! sides' daemons say about it. No clock, no socket, no interface.
//!
//! Contract: `handle_*`, then [`Medium::poll_output`] until `None`, then sleep until
//! [`Medium::poll_timeout`] and call [`Medium::handle_timeout`]. Outputs are carried out in their
//! order: an event that a daemon says after the radio moved is said when the radio has moved.
//!
//! This file moves the station; `scan` says what it hears, `daemons` what its and the access points'
//! daemons answer.

mod daemons;
mod scan;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fmip_ctl::{proto::Instant, wire::MacAddr};
use serde::{Deserialize, Serialize};

pub(super) use self::scan::Seen;
use self::{daemons::Monitor, scan::Scan};
use super::{Control, Delays, Refusal, speech};

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

    // Moving

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
