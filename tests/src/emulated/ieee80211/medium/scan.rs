//! Scans: what is heard, and where the station goes for it.

use std::time::Duration;

use fmip_ctl::{proto::Instant, wire::MacAddr};

use super::{Medium, Output, Radio, State, Step};

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    channels: Vec<u32>,
    /// How many are done.
    done: usize,
    began: Instant,
    per_channel: Duration,
    pub(super) next: Instant,
    /// What becomes of its results.
    purpose: Purpose,
    /// Not there again: it has just refused.
    not: Option<MacAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To find an access point.
    Connect,
    /// The host wants to know, and wpa_supplicant chooses a better access point if it meets one.
    Choose,
    /// The host wants to know, and nothing else.
    Know,
}

/// What is known of an access point from the last scan that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Seen {
    pub(in super::super) bss_id: u32,
    pub(in super::super) signal_dbm: i32,
    pub(in super::super) at: Instant,
    missed: u32,
}

impl Medium {
    pub(super) fn start_scan(
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

    pub(super) fn channel_done(&mut self, now: Instant) {
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

    pub(super) fn see(&mut self, access_point: MacAddr, now: Instant) {
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
    pub(super) fn abort_scan(&mut self, now: Instant) {
        if let Some(scan) = &mut self.scan {
            scan.purpose = Purpose::Know;
        }
        self.finish_scan(now);
    }

    pub(super) fn look_for_access_point(&mut self, now: Instant, not: Option<MacAddr>) {
        self.abort_scan(now);
        self.set_radio(Radio::Off);
        self.state = State::Disconnected { retry: None };
        let per_channel = self.delays.channel();
        self.start_scan(now, None, per_channel, Purpose::Connect, not);
    }
}
