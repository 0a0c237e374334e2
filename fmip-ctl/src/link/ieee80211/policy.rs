//! Whether to move, and where to: by signal, by what the file says of access points, and by what the
//! router said of them.
//!
//! A single weak measurement proves nothing (RFC 4907 section 2; RFC 5270 section 5.2 wants the
//! indication confirmed): the signal is filtered, several measurements in a row must be weak or
//! beacons be lost, and the other access point must be better by more than the signal wavers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::scan::Table;
use crate::{
    config::Ieee80211,
    proto::{Instant, Prospect},
    wire::MacAddr,
};

/// The signal of an access point whose beacons do not come, in dBm: below all that is received.
const LOST_DBM: f64 = -110.0;

/// How long the router may take to say what is behind an access point that has just been found, before
/// the choice is made without: an RtSolPr that is sent again once (RFC 5568 section 9).
const ANSWER: Duration = Duration::from_millis(300);

/// Where to move to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    To(MacAddr),
    /// There is nothing to move to.
    Nowhere,
    /// The router is about to say which of them is whose.
    Wait,
}

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
    /// What moves lead to, by what the router said.
    prospects: Arc<BTreeMap<MacAddr, Prospect>>,
}

impl Policy {
    pub(super) fn new(settings: &Ieee80211) -> Self {
        Self {
            settings: settings.clone(),
            filtered: None,
            weak: 0,
            lost: 0,
            avoided: BTreeMap::new(),
            prospects: Arc::default(),
        }
    }

    /// The router said more, or there is another one.
    pub(super) fn inform(&mut self, prospects: Arc<BTreeMap<MacAddr, Prospect>>) {
        self.prospects = prospects;
    }

    /// What a move there leads to; what the router was not asked about it does not know.
    fn prospect(&self, bssid: MacAddr) -> Prospect {
        let told = self.prospects.get(&bssid).copied();
        told.unwrap_or(Prospect::Unknown)
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
    /// network `ssid`; `detected` says since when the protocol knows of which.
    pub(super) fn choose(
        &self,
        now: Instant,
        current: MacAddr,
        ssid: &str,
        table: &Table,
        detected: &BTreeMap<MacAddr, Instant>,
    ) -> Choice {
        let Some(signal) = self.signal().filter(|_| self.settings.choose_target) else {
            return Choice::Nowhere;
        };
        let hysteresis = self.settings.signal_hysteresis_db;
        let enough = signal + f64::from(hysteresis);
        let candidates: Vec<_> = table
            .iter()
            .filter(|(bssid, entry)| {
                *bssid != current
                    && entry.ssid == ssid
                    && f64::from(entry.dbm) >= enough
                    && table.is_fresh(now, *bssid, self.settings.scan_max_age)
                    && self.may_move_to(now, *bssid)
            })
            .map(|(bssid, entry)| (self.settings.prefer.contains(&bssid), entry.dbm, bssid))
            .collect();
        let is_pending = |bssid: &MacAddr| {
            let since = detected
                .get(bssid)
                .filter(|_| !self.prospects.contains_key(bssid));
            since.is_some_and(|since| now < *since + ANSWER)
        };
        let is_choice = candidates.len() > 1 || self.settings.require_known_router;
        if is_choice && !self.is_lost() && candidates.iter().any(|(_, _, of)| is_pending(of)) {
            return Choice::Wait;
        }
        let candidates: Vec<_> = (candidates.into_iter())
            .filter(|(_, _, bssid)| self.may_choose(*bssid))
            .collect();
        let Some(&(preferred, strongest, _)) = candidates.iter().max() else {
            return Choice::Nowhere;
        };
        // What anybody can have is a strong signal, and a little more of it is of no use either.
        let is_near = |dbm: i32| strongest.abs_diff(dbm) <= hysteresis;
        candidates
            .iter()
            .filter(|(is_preferred, dbm, _)| *is_preferred == preferred && is_near(*dbm))
            .max_by_key(|(_, dbm, bssid)| (self.prospect(*bssid), *dbm))
            .map_or(Choice::Nowhere, |(_, _, bssid)| Choice::To(*bssid))
    }

    /// Whether the node goes there of its own accord: if the file wants the router to be known, only
    /// where it is, or if there is nothing to lose.
    pub(super) fn may_choose(&self, bssid: MacAddr) -> bool {
        !self.settings.require_known_router
            || self.is_lost()
            || self.prospect(bssid) != Prospect::Unknown
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
