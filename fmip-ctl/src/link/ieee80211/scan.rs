//! What access points are heard, how old that knowledge is, and when it is worth a scan (RFC 4260
//! sections 4 and 6).
//!
//! While a radio scans it is deaf on its own channel, and its access point holds what comes for it.
//! So it scans only if there is a reason to: the signal fades, or what is known has become too old
//! to move by. Never more often than a minimum interval, only on the channels that are worth it, and
//! never while it moves.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::supplicant::Bss;
use crate::{config::Ieee80211, link::Heard, proto::Instant, wire::MacAddr};

/// How many access points are remembered, the strongest first: beacons can be forged.
const MAX_HEARD: usize = 256;

/// Of how many the channel is remembered; then all of it is learned anew.
const MAX_CHANNELS: usize = 4 * MAX_HEARD;

/// How long a scan may take; then nothing is known of it any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it usually takes at most: some 100 ms on each channel that nobody may transmit on without
/// having heard somebody.
const USUAL: Duration = Duration::from_secs(3);

/// How many scans in a row are of the known channels only, before one is of all of them: an access
/// point on another channel would never be found otherwise.
const MAX_NARROW: u32 = 3;

/// The access points that are heard.
#[derive(Debug, Default)]
pub(super) struct Table {
    heard: BTreeMap<MacAddr, Entry>,
    /// In MHz: where those were that are not heard now, and those that are.
    channels: BTreeMap<MacAddr, u32>,
}

/// What is known of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// In MHz.
    pub(super) frequency: u32,
    pub(super) dbm: i32,
    pub(super) ssid: String,
    /// When it was heard last.
    pub(super) heard: Instant,
}

impl Table {
    /// Takes in all that is heard now. `scanned` is when those were heard whose age is not told.
    pub(super) fn replace(&mut self, now: Instant, scanned: Instant, all: Vec<Bss>) {
        let mut all = all;
        all.sort_by_key(|bss| std::cmp::Reverse(bss.dbm));
        all.truncate(MAX_HEARD);
        let mut next = BTreeMap::new();
        for bss in all {
            let heard = bss.age.map_or(scanned, |age| before(now, age));
            let known = self.heard.get(&bss.bssid);
            let entry = Entry {
                frequency: bss.frequency,
                dbm: bss.dbm,
                ssid: bss.ssid,
                // Ages are told in whole seconds, rounded down: the earlier word may be the better.
                heard: known.map_or(heard, |known| known.heard.max(heard)),
            };
            // Of two of the same address the stronger came first.
            next.entry(bss.bssid).or_insert(entry);
        }
        self.heard = next;
        if self.channels.len() + self.heard.len() > MAX_CHANNELS {
            self.channels.clear();
        }
        let heard = self.heard.iter();
        let channels = heard.map(|(bssid, entry)| (*bssid, entry.frequency));
        self.channels.extend(channels);
    }

    /// The access point that the node is attached to was heard just now.
    pub(super) fn hear(&mut self, now: Instant, bssid: MacAddr, dbm: i32) {
        if let Some(entry) = self.heard.get_mut(&bssid) {
            entry.dbm = dbm;
            entry.heard = now;
        }
    }

    /// The channel on which `bssid` was heard last, in MHz, however long ago.
    pub(super) fn frequency(&self, bssid: MacAddr) -> Option<u32> {
        self.channels.get(&bssid).copied()
    }

    pub(super) fn get(&self, bssid: MacAddr) -> Option<&Entry> {
        self.heard.get(&bssid)
    }

    /// Whether `bssid` was heard not longer than `max_age` ago.
    pub(super) fn is_fresh(&self, now: Instant, bssid: MacAddr, max_age: Duration) -> bool {
        let entry = self.heard.get(&bssid);
        entry.is_some_and(|entry| now - entry.heard <= max_age)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MacAddr, &Entry)> {
        self.heard.iter().map(|(bssid, entry)| (*bssid, entry))
    }

    /// When an access point was heard last that is not the one that the node hears all the time.
    pub(super) fn last_heard(&self, attached: Option<MacAddr>) -> Option<Instant> {
        let others = self.iter().filter(|(bssid, _)| Some(*bssid) != attached);
        others.map(|(_, entry)| entry.heard).max()
    }

    /// The channels of a network, in MHz.
    pub(super) fn frequencies(&self, ssid: &str) -> BTreeSet<u32> {
        let same = self.heard.values().filter(|entry| entry.ssid == ssid);
        same.map(|entry| entry.frequency).collect()
    }

    /// As people see it, the strongest first.
    pub(super) fn heard(&self, now: Instant, attached: Option<MacAddr>) -> Vec<Heard> {
        let mut heard: Vec<Heard> = self
            .iter()
            .map(|(access_point, entry)| Heard {
                access_point,
                signal_dbm: Some(entry.dbm),
                age_ms: u64::try_from((now - entry.heard).as_millis()).unwrap_or(u64::MAX),
                attached: Some(access_point) == attached,
            })
            .collect();
        heard.sort_by_key(|heard| std::cmp::Reverse(heard.signal_dbm));
        heard
    }
}

fn before(now: Instant, age: Duration) -> Instant {
    let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(nanos))
}

/// When to scan, and where.
#[derive(Debug)]
pub(super) struct Schedule {
    min_interval: Duration,
    max_age: Duration,
    configured: Vec<u32>,
    /// When the last scan began, whoever wanted it.
    begun: Option<Instant>,
    /// When the last one came to its end.
    done: Option<Instant>,
    under_way: bool,
    /// How wide ours is that is under way.
    width: Option<Width>,
    /// How many of ours in a row were of the known channels only.
    narrow: u32,
    /// Whether the last of ours was, and the signal was weak: it is in vain if the signal still is.
    looked: bool,
}

/// What a scan of ours says of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// It is of all of them.
    All,
    /// It is of the known ones; `fading`: whether the signal was weak when it began.
    Known { fading: bool },
}

impl Schedule {
    pub(super) fn new(settings: &Ieee80211) -> Self {
        Self {
            min_interval: settings.scan_min_interval,
            max_age: settings.scan_max_age,
            configured: settings.frequencies.clone(),
            begun: None,
            done: None,
            under_way: false,
            width: None,
            narrow: 0,
            looked: false,
        }
    }

    /// A scan of ours in the background is about to begin.
    pub(super) fn look(&mut self, now: Instant, frequencies: &[u32], fading: bool) {
        self.begin(now);
        self.width = Some(match frequencies {
            [] => Width::All,
            _ => Width::Known { fading },
        });
    }

    /// A scan began: one of ours, or of the supplicant's own.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
        self.under_way = true;
    }

    /// Its results are there.
    pub(super) fn end(&mut self, now: Instant) {
        self.done = Some(now);
        self.under_way = false;
        match self.width.take() {
            Some(Width::All) => (self.narrow, self.looked) = (0, false),
            Some(Width::Known { fading }) => {
                self.narrow = self.narrow.saturating_add(1);
                self.looked = fading;
            }
            None => {}
        }
    }

    /// At the start: what is known already was found by a scan at this time.
    pub(super) fn begin_from(&mut self, done: Option<Instant>) {
        self.done = self.done.or(done);
    }

    /// It came to nothing.
    pub(super) fn fail(&mut self) {
        self.under_way = false;
        self.width = None;
    }

    /// Another one is under way instead, of whatever channels.
    pub(super) fn give_way(&mut self) {
        self.width = None;
    }

    /// Whether results are about to come.
    pub(super) fn is_under_way(&self, now: Instant) -> bool {
        self.under_way && self.begun.is_some_and(|begun| now < begun + USUAL)
    }

    /// When the next background scan is due; `fading`: whether the signal is weak.
    pub(super) fn due(&self, fading: bool) -> Instant {
        let zero = Instant::from_nanos(0);
        let wanted = match self.done {
            Some(done) if !fading => done + self.max_age,
            _ => zero,
        };
        let allowed = self.begun.map_or(zero, |begun| match self.under_way {
            true => begun + self.min_interval.max(PATIENCE),
            false => begun + self.min_interval,
        });
        wanted.max(allowed)
    }

    /// The channels to scan, in MHz: those of the file; or those on which the network was heard, once
    /// all of them were scanned. None: all, which is the case again where those were scanned in vain
    /// while the signal was weak (`fading`: it still is), and now and then.
    pub(super) fn frequencies(&self, table: &Table, ssid: Option<&str>, fading: bool) -> Vec<u32> {
        if !self.configured.is_empty() {
            return self.configured.clone();
        }
        if self.narrow >= MAX_NARROW || fading && self.looked {
            return Vec::new();
        }
        let heard = ssid.map(|ssid| table.frequencies(ssid)).unwrap_or_default();
        match self.done {
            // Its own channel alone says nothing of where the others are.
            Some(_) if heard.len() > 1 => heard.into_iter().collect(),
            _ => Vec::new(),
        }
    }
}
