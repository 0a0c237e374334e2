//! The damping of what a link layer tells (RFC 4907 section 2.3.3), between whatever tells
//! primitives and the core: a pure state machine, driven as the core is.
//!
//! - NEW_LINK_DETECTED: an access point is told once in a while. New ones have a burst and a rate:
//!   neighbor lists can be forged, and every name in them costs a question over the air (RFC 5270
//!   sections 5.1 and 8). What is dropped is not remembered, so that a genuine one among them is told
//!   when the link layer names it again.
//! - LINK_HANDOVER_IMPEND: an indication that is repeated while the signal fades is told once; a
//!   target that follows upon another too soon waits, and the last one that was named is told then
//!   (RFC 5270 section 5.2). To drop it instead would lose a genuine change of mind.
//! - LINK_DOWN and LINK_UP are told at once, always: what is sent between the end of the link and the
//!   news of it is lost, and held packets wait for the news that it is there (RFC 4907 weighs damping
//!   against that latency). That a link which flaps costs no signalling is the core's affair (RFC 5270
//!   section 5.3).

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

/// The most access points that are remembered as told, whatever the settings: some ten KiB.
const MAX_REMEMBERED: usize = 256;

/// How much is damped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an access point that was told as new is not told as new again.
    pub new_link_repeat: Duration,
    /// New access points that are told at once, at least 1.
    pub new_link_burst: u32,
    /// New access points that are told in a second after that, at least 1.
    pub new_links_per_second: u32,
    /// The time between two targets of a handover.
    pub impend_interval: Duration,
}

impl Default for Settings {
    /// A burst is what a scan finds in a crowded place; a train at 300 km/h passes one access point
    /// a second where they stand as densely as in a street. The interval between two targets is
    /// longer than the exchange of FBU and FBack takes, its first repetition included, so that one is
    /// over before the next begins, and short beside what a fading signal leaves.
    fn default() -> Self {
        Self {
            new_link_repeat: Duration::from_secs(10),
            new_link_burst: 32,
            new_links_per_second: 2,
            impend_interval: Duration::from_millis(200),
        }
    }
}

/// What became of a primitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is for the core, now.
    Told,
    /// It waits, and is for the core then unless something overtakes it.
    HeldBack,
    /// It says nothing new, or there are too many of them.
    Dropped,
}

/// How often what was damped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// NEW_LINK_DETECTED of an access point that was told a while ago.
    pub repeated_new_links: u64,
    /// NEW_LINK_DETECTED beyond the burst and the rate.
    pub flooded_new_links: u64,
    /// LINK_GOING_DOWN that was told a while ago.
    pub repeated_going_downs: u64,
    /// LINK_HANDOVER_IMPEND to where a handover is under way, or to where the node is.
    pub repeated_impends: u64,
    /// LINK_HANDOVER_IMPEND that had to wait.
    pub held_back_impends: u64,
    /// Those of them that were never told, because something else came.
    pub overtaken_impends: u64,
    /// LINK_DOWN or LINK_GOING_DOWN of another link than the one that came up last.
    pub of_other_links: u64,
}

/// What stands between a link layer and the core.
#[derive(Clone, Debug)]
pub struct Damper {
    settings: Settings,
    /// Where the link came up last.
    access_point: Option<MacAddr>,
    /// Whether it is there still.
    is_up: bool,
    /// The access points that were told as new, and when.
    new_links: BTreeMap<MacAddr, Instant>,
    /// When the burst of new access points is there again in full (the "theoretical arrival time" of
    /// the generic cell rate algorithm).
    replenished: Instant,
    /// When LINK_GOING_DOWN of this link was told.
    going_down: Option<Instant>,
    /// The target that was told last.
    impended: Option<Impended>,
    /// The target that waits.
    waiting: Option<MacAddr>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug)]
struct Impended {
    target: MacAddr,
    at: Instant,
    /// Whether the handover to it is not over.
    stands: bool,
}

impl Damper {
    /// Nothing was told yet; the node is at `access_point`, if that is known.
    pub fn new(settings: Settings, access_point: Option<MacAddr>) -> Self {
        Self {
            settings,
            access_point,
            is_up: true,
            new_links: BTreeMap::new(),
            replenished: Instant::default(),
            going_down: None,
            impended: None,
            waiting: None,
            counters: Counters::default(),
        }
    }

    /// Takes a primitive. It is for the core if it is [`Outcome::Told`].
    pub fn tell(&mut self, now: Instant, event: LinkEvent) -> Outcome {
        match event {
            LinkEvent::NewLinkDetected { access_point } => self.new_link(now, access_point),
            LinkEvent::HandoverImpend { access_point } => self.impend(now, access_point),
            LinkEvent::LinkGoingDown => self.go_down(now),
            LinkEvent::LinkDown => {
                self.overtake();
                self.is_up = false;
                Outcome::Told
            }
            LinkEvent::LinkUp { access_point } => {
                self.overtake();
                self.handover_ended();
                self.is_up = true;
                if self.access_point.replace(access_point) != Some(access_point) {
                    // Another router may have to be asked about the same access points.
                    self.new_links.clear();
                    self.going_down = None;
                }
                Outcome::Told
            }
        }
    }

    /// Whether LINK_DOWN or LINK_GOING_DOWN of this access point is of another link than the one that
    /// came up last, and says nothing about that: a driver that makes the new link before it breaks
    /// the old one reports them in this order.
    pub fn is_of_another_link(&mut self, access_point: MacAddr) -> bool {
        let is_other = self.access_point.is_some_and(|here| here != access_point);
        self.counters.of_other_links += u64::from(is_other);
        is_other
    }

    /// The core prepares nothing (any more) for the target that it was told, or the link layer did not
    /// get there: that one may be told again.
    pub fn handover_ended(&mut self) {
        if let Some(impended) = &mut self.impended {
            impended.stands = false;
        }
    }

    /// When [`Damper::handle_timeout`] is to be called next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let impended = self.impended.filter(|_| self.waiting.is_some())?;
        Some(impended.at + self.settings.impend_interval)
    }

    /// What has waited long enough by `now`, for the core.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<LinkEvent> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        let access_point = self.waiting.take()?;
        self.note_impended(now, access_point);
        Some(LinkEvent::HandoverImpend { access_point })
    }

    /// How often what was damped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn new_link(&mut self, now: Instant, access_point: MacAddr) -> Outcome {
        let repeat = self.settings.new_link_repeat;
        let told = self.new_links.get(&access_point);
        if told.is_some_and(|told| now < *told + repeat) {
            self.counters.repeated_new_links += 1;
            return Outcome::Dropped;
        }
        let share = Duration::from_secs(1) / self.settings.new_links_per_second.max(1);
        let burst = share * (self.settings.new_link_burst.max(1) - 1);
        if self.replenished - now > burst {
            self.counters.flooded_new_links += 1;
            return Outcome::Dropped;
        }
        self.replenished = self.replenished.max(now) + share;
        self.new_links.retain(|_, told| now < *told + repeat);
        if self.new_links.len() >= MAX_REMEMBERED {
            let oldest = self.new_links.iter().min_by_key(|(_, told)| **told);
            if let Some(oldest) = oldest.map(|(access_point, _)| *access_point) {
                self.new_links.remove(&oldest);
            }
        }
        self.new_links.insert(access_point, now);
        Outcome::Told
    }

    fn go_down(&mut self, now: Instant) -> Outcome {
        let repeat = self.settings.new_link_repeat;
        if self.going_down.is_some_and(|told| now < told + repeat) {
            self.counters.repeated_going_downs += 1;
            return Outcome::Dropped;
        }
        self.going_down = Some(now);
        Outcome::Told
    }

    fn impend(&mut self, now: Instant, target: MacAddr) -> Outcome {
        let stays = self.is_up && self.access_point == Some(target);
        let is_under_way = |last: Impended| last.stands && last.target == target;
        if stays || self.impended.is_some_and(is_under_way) {
            self.overtake();
            self.counters.repeated_impends += 1;
            return Outcome::Dropped;
        }
        let interval = self.settings.impend_interval;
        if self.impended.is_some_and(|last| now < last.at + interval) {
            if self.waiting == Some(target) {
                self.counters.repeated_impends += 1;
            } else {
                self.overtake();
                self.waiting = Some(target);
                self.counters.held_back_impends += 1;
            }
            return Outcome::HeldBack;
        }
        self.overtake();
        self.note_impended(now, target);
        Outcome::Told
    }

    fn note_impended(&mut self, now: Instant, target: MacAddr) {
        self.impended = Some(Impended {
            target,
            at: now,
            stands: true,
        });
    }

    /// What waits is not told any more.
    fn overtake(&mut self) {
        let overtaken = self.waiting.take();
        self.counters.overtaken_impends += u64::from(overtaken.is_some());
    }
}

impl Default for Damper {
    fn default() -> Self {
        Self::new(Settings::default(), None)
    }
}
