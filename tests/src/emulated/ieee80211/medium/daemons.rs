//! The commands that the daemons are asked on their control interfaces, and their answers.

use fmip_ctl::{proto::Instant, wire::MacAddr};

use super::{
    super::speech::{self, BssQuery},
    Medium, Move, Plan, Radio, State, Step,
    scan::Purpose,
};

/// The connection quality monitor of the driver: `SIGNAL_MONITOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Monitor {
    threshold: i32,
    hysteresis: i32,
    /// The signal that was told last; none since the station is at this access point.
    pub(super) told: Option<i32>,
}

impl Medium {
    // The station's

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

    // The access points'

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
    pub(super) fn kick(&mut self, now: Instant, at: MacAddr) {
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

    /// Tells of the signal as the kernel's monitor does: when it is below the threshold and has fallen
    /// by more than the hysteresis since it was told last, and the same upwards.
    pub(super) fn watch_signal(&mut self) {
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
}
