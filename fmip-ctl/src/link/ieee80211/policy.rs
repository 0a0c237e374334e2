//! Whether to move, and where to: by signal, and by what the file says of access points.
//!
//! A single weak measurement proves nothing (RFC 4907 section 2; RFC 5270 section 5.2 wants the
//! indication confirmed): the signal is filtered, several measurements in a row must be weak or
//! beacons be lost, and the other access point must be better by more than the signal wavers.

use std::collections::BTreeMap;

use super::scan::Table;
use crate::{config::Ieee80211, proto::Instant, wire::MacAddr};

/// The signal of an access point whose beacons do not come, in dBm: below all that is received.
const LOST_DBM: f64 = -110.0;

/// How many access points are remembered that could not be moved to.
const MAX_AVOIDED: usize = 64;

#[derive(Debug)]
pub(super) struct Policy {
    settings: Ieee80211,
    /// The signal of the access point, in dBm.
    filtered: Option<f64>,
    /// How many measurements in a row were weak.
    weak: u32,
    /// How many more must be good, before beacons are taken to come again.
    lost: u32,
    /// Until when access points are not tried.
    avoided: BTreeMap<MacAddr, Instant>,
}

impl Policy {
    pub(super) fn new(settings: &Ieee80211) -> Self {
        Self {
            settings: settings.clone(),
            filtered: None,
            weak: 0,
            lost: 0,
            avoided: BTreeMap::new(),
        }
    }

    /// It is another access point from now on.
    pub(super) fn reset(&mut self) {
        self.filtered = None;
        self.weak = 0;
        self.lost = 0;
    }

    /// A measurement.
    pub(super) fn measure(&mut self, dbm: i32) {
        let weight = self.settings.signal_weight;
        let dbm = f64::from(dbm);
        let filtered = match self.filtered {
            Some(last) => weight * dbm + (1.0 - weight) * last,
            None => dbm,
        };
        self.filtered = Some(filtered);
        if filtered < self.threshold() {
            self.weak = self.weak.saturating_add(1);
        } else if self.lost > 0 {
            // What a driver tells while no beacons come is what it measured last.
            self.lost -= 1;
        } else {
            self.weak = 0;
        }
    }

    /// Beacons did not come: the signal is gone, whatever the last measurement was.
    pub(super) fn lose_beacons(&mut self) {
        self.weak = self.weak.max(self.settings.indications);
        self.lost = self.settings.indications;
    }

    /// Whether the signal is weak.
    pub(super) fn is_fading(&self) -> bool {
        self.signal()
            .is_some_and(|signal| signal < self.threshold())
    }

    /// Whether beacons do not come.
    pub(super) fn is_lost(&self) -> bool {
        self.lost > 0
    }

    /// Whether it is certainly so.
    pub(super) fn is_confirmed(&self) -> bool {
        self.is_fading() && self.weak >= self.settings.indications
    }

    fn signal(&self) -> Option<f64> {
        match self.lost {
            0 => self.filtered,
            _ => Some(LOST_DBM),
        }
    }

    fn threshold(&self) -> f64 {
        f64::from(self.settings.signal_threshold_dbm)
    }

    /// Does not try it again for some time.
    pub(super) fn avoid(&mut self, now: Instant, bssid: MacAddr) {
        self.avoided.retain(|_, until| *until > now);
        if self.avoided.len() >= MAX_AVOIDED {
            self.avoided.pop_first();
        }
        self.avoided.insert(bssid, now + self.settings.avoid_failed);
    }

    /// It took the node after all.
    pub(super) fn forgive(&mut self, bssid: MacAddr) {
        self.avoided.remove(&bssid);
    }

    /// Where to move to from an access point whose signal is weak. `current` is where it is, in the
    /// network `ssid`.
    pub(super) fn choose(
        &self,
        now: Instant,
        current: MacAddr,
        ssid: &str,
        table: &Table,
    ) -> Option<MacAddr> {
        if !self.settings.choose_target {
            return None;
        }
        let enough = self.signal()? + f64::from(self.settings.signal_hysteresis_db);
        table
            .iter()
            .filter(|(bssid, entry)| {
                *bssid != current
                    && entry.ssid == ssid
                    && f64::from(entry.dbm) >= enough
                    && table.is_fresh(now, *bssid, self.settings.scan_max_age)
                    && self.may_move_to(now, *bssid)
            })
            .max_by_key(|(bssid, entry)| (self.settings.prefer.contains(bssid), entry.dbm))
            .map(|(bssid, _)| bssid)
    }

    /// Whether the file lets it, and the access point took it last time.
    pub(super) fn may_move_to(&self, now: Instant, bssid: MacAddr) -> bool {
        let settings = &self.settings;
        let is_avoided = self.avoided.get(&bssid).is_some_and(|until| *until > now);
        !is_avoided
            && !settings.deny.contains(&bssid)
            && (settings.allow.is_empty() || settings.allow.contains(&bssid))
    }
}
