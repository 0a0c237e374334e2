//! The base stations around: from being named to being trusted (W16-03, W16-04).

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use crate::{
    link::{Heard, ieee80216e::timing::NEIGHBOR_LIFETIME},
    proto::Instant,
    wire::MacAddr,
};

/// How many base stations are remembered. What a flood of forged advertisements names beyond them is
/// counted and forgotten; an entry ends when it was scanned in vain, or is in no list any more.
pub(super) const MAX_NEIGHBORS: usize = 32;
/// How many of them may be there that no list named twice.
const MAX_NEWCOMERS: usize = MAX_NEIGHBORS / 2;
/// Of how many lists is known whether they were heard before.
const MAX_LISTS: usize = 512;
/// How many are scanned at once.
const MAX_TARGETS: usize = 8;
/// The longest time after which one that was not heard is scanned again.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// A signal as it is judged: new measurements count for a quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signal {
    /// In sixteenths of a dB.
    filtered: i32,
}

impl Signal {
    pub(super) fn new(dbm: i8) -> Self {
        Self {
            filtered: i32::from(dbm) * 16,
        }
    }

    pub(super) fn measure(&mut self, dbm: i8) {
        self.filtered += (i32::from(dbm) * 16 - self.filtered) / 4;
    }

    pub(super) fn dbm(self) -> i32 {
        self.filtered.div_euclid(16)
    }
}

#[derive(Clone, Debug)]
struct Neighbor {
    /// When it was in a list last.
    listed: Instant,
    /// In how many lists it was.
    lists: u32,
    /// Whether one of them was heard more than once: a base station repeats its list, a flood of
    /// forged ones is no flood of names if it repeats itself.
    is_repeated: bool,
    /// How it was heard by scans, and when last.
    heard: Option<(Signal, Instant)>,
    /// Whether a NEW_LINK_DETECTED told of it since this base station serves.
    told: bool,
    /// In how many scans it was not heard, one after the other.
    missed: u32,
    /// When it may be scanned again.
    scan_after: Instant,
}

/// What became of a BSID that was in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Known,
    New,
    /// There is no room for it.
    Full,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Neighbors {
    table: BTreeMap<MacAddr, Neighbor>,
    /// The lists that were heard last, by their hashes.
    lists: VecDeque<u64>,
}

impl Neighbors {
    /// A list was heard; what became of each of its names.
    pub(super) fn hear_list(
        &mut self,
        now: Instant,
        bsids: &[MacAddr],
    ) -> impl Iterator<Item = (MacAddr, Listed)> {
        let mut hasher = DefaultHasher::new();
        bsids.hash(&mut hasher);
        let hash = hasher.finish();
        let is_repeated = self.lists.contains(&hash);
        if !is_repeated {
            if self.lists.len() >= MAX_LISTS {
                self.lists.pop_front();
            }
            self.lists.push_back(hash);
        }
        bsids
            .iter()
            .map(move |bsid| (*bsid, self.name(now, *bsid, is_repeated)))
    }

    fn name(&mut self, now: Instant, bsid: MacAddr, is_repeated: bool) -> Listed {
        if let Some(neighbor) = self.table.get_mut(&bsid) {
            neighbor.listed = now;
            neighbor.lists = neighbor.lists.saturating_add(1);
            neighbor.is_repeated |= is_repeated;
            return match neighbor.lists {
                1 => Listed::New,
                _ => Listed::Known,
            };
        }
        let room = match is_repeated {
            true => MAX_NEIGHBORS,
            false => MAX_NEWCOMERS,
        };
        if self.table.len() >= room {
            self.make_room(now, is_repeated);
        }
        if self.table.len() >= room {
            return Listed::Full;
        }
        let neighbor = Neighbor {
            listed: now,
            lists: 1,
            is_repeated,
            heard: None,
            told: false,
            missed: 0,
            scan_after: now,
        };
        self.table.insert(bsid, neighbor);
        Listed::New
    }

    /// Forgets those that are in no list any more, or one that was never heard: scanned in vain, or,
    /// for a name of a list that is repeated, one that no such list has.
    fn make_room(&mut self, now: Instant, for_repeated: bool) {
        self.table
            .retain(|_, neighbor| now - neighbor.listed < NEIGHBOR_LIFETIME);
        let silent = self
            .table
            .iter()
            .filter(|(_, neighbor)| {
                neighbor.heard.is_none()
                    && (neighbor.missed > 0 || for_repeated && !neighbor.is_repeated)
            })
            .min_by_key(|(_, neighbor)| (neighbor.is_repeated, std::cmp::Reverse(neighbor.missed)))
            .map(|(bsid, _)| *bsid);
        if let Some(bsid) = silent {
            self.table.remove(&bsid);
        }
    }

    /// Whom to scan: those that were never heard, and, if the serving base station is weak, all.
    /// Those of lists that are repeated come first.
    pub(super) fn wanted(&self, now: Instant, all: bool) -> Vec<MacAddr> {
        let mut wanted: Vec<_> = self
            .table
            .iter()
            .filter(|(_, neighbor)| {
                neighbor.lists > 0 && neighbor.scan_after <= now && (all || !neighbor.told)
            })
            .collect();
        wanted.sort_by_key(|(_, neighbor)| {
            let heard = neighbor.heard.is_some() && neighbor.missed == 0;
            (
                !heard,
                !neighbor.is_repeated,
                neighbor.missed,
                std::cmp::Reverse(neighbor.lists),
            )
        });
        wanted
            .into_iter()
            .take(MAX_TARGETS)
            .map(|(bsid, _)| *bsid)
            .collect()
    }

    /// A scan heard it; whether that is to be told as a NEW_LINK_DETECTED.
    pub(super) fn hear(&mut self, now: Instant, bsid: MacAddr, dbm: i8) -> bool {
        let Some(neighbor) = self.table.get_mut(&bsid) else {
            return false;
        };
        match &mut neighbor.heard {
            Some((signal, at)) => {
                // What is old says little about now.
                if now - *at < Duration::from_secs(5) {
                    signal.measure(dbm);
                } else {
                    *signal = Signal::new(dbm);
                }
                *at = now;
            }
            None => neighbor.heard = Some((Signal::new(dbm), now)),
        }
        neighbor.missed = 0;
        neighbor.scan_after = now;
        !std::mem::replace(&mut neighbor.told, true)
    }

    /// A scan did not hear it.
    pub(super) fn miss(&mut self, now: Instant, bsid: MacAddr, interval: Duration) {
        if let Some(neighbor) = self.table.get_mut(&bsid) {
            neighbor.missed = neighbor.missed.saturating_add(1);
            let pause = interval.saturating_mul(1 << neighbor.missed.min(10));
            neighbor.scan_after = now + pause.min(MAX_BACKOFF);
        }
    }

    /// How strong one is that a scan heard: the only ones that are moved to (W16-04).
    pub(super) fn signal(&self, bsid: MacAddr) -> Option<Signal> {
        let neighbor = self.table.get(&bsid)?;
        let (signal, _) = neighbor.heard.filter(|_| neighbor.missed < 2)?;
        Some(signal)
    }

    /// Those that were heard, the strongest first.
    pub(super) fn by_signal(&self) -> Vec<(MacAddr, Signal)> {
        let mut heard: Vec<_> = self
            .table
            .keys()
            .filter_map(|bsid| Some((*bsid, self.signal(*bsid)?)))
            .collect();
        heard.sort_by_key(|(_, signal)| std::cmp::Reverse(signal.filtered));
        heard
    }

    /// The node serves from elsewhere now: what is around is to be found out and told again. The
    /// measurements stay, for a way back.
    pub(super) fn begin_anew(&mut self, now: Instant, serving: MacAddr) {
        self.table.remove(&serving);
        self.lists.clear();
        for neighbor in self.table.values_mut() {
            neighbor.told = false;
            neighbor.missed = 0;
            neighbor.scan_after = now;
            // Until the new base station names it, it is not scanned, nor told of.
            neighbor.lists = 0;
            neighbor.is_repeated = false;
        }
    }

    /// As people are shown them.
    pub(super) fn shown(&self, now: Instant) -> Vec<Heard> {
        let heard = self.by_signal();
        heard
            .into_iter()
            .map(|(access_point, signal)| {
                let at = self.table[&access_point].heard.map_or(now, |(_, at)| at);
                Heard {
                    access_point,
                    signal_dbm: Some(signal.dbm()),
                    age_ms: u64::try_from((now - at).as_millis()).unwrap_or(u64::MAX),
                    attached: false,
                }
            })
            .collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
