//! The damping of what a link layer tells (RFC 4907 section 2.3.3), between whatever tells
//! primitives and the core: a pure state machine, driven as the core is.
//!
//! - NEW_LINK_DETECTED: an access point is told once in a while. New ones have a burst and a rate:
//!   neighbor lists can be forged, and every name in them costs a question over the air (RFC 5270
//!   sections 5.1 and 8). What is dropped is not remembered, so that a genuine one among them is told
//!   if it is named again. Our link layers name one again only when it comes back into reach (802.11)
//!   or is heard from another base station (802.16e). Until then nothing is known of it, which costs
//!   no more than one question when a handover there impends.
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
#[serde(default, rename_all = "kebab-case")]
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
    /// Where the node is, or was when its link went down.
    access_point: Option<MacAddr>,
    /// Whether the link came up there, so that this is no old news.
    came_up: bool,
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
            came_up: false,
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
                self.came_up = true;
                if self.access_point.replace(access_point) != Some(access_point) {
                    // Another router may have to be asked about the same access points.
                    self.new_links.clear();
                    self.going_down = None;
                }
                Outcome::Told
            }
            LinkEvent::LinkUpSomewhere => {
                self.overtake();
                self.handover_ended();
                self.is_up = true;
                // What is said of an access point may be of this one.
                self.came_up = false;
                self.access_point = None;
                self.new_links.clear();
                self.going_down = None;
                Outcome::Told
            }
        }
    }

    /// Whether LINK_DOWN or LINK_GOING_DOWN of this access point is of another link than the one that
    /// came up last, and says nothing about that: a driver that makes the new link before it breaks
    /// the old one reports them in this order.
    pub fn is_of_another_link(&mut self, access_point: MacAddr) -> bool {
        let is_other = self.came_up && self.access_point != Some(access_point);
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const AP1: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
    const AP2: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);
    const AP3: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 3]);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(1_000_000_000 + ms * 1_000_000)
    }

    fn damper() -> Damper {
        Damper::new(Settings::default(), Some(AP1))
    }

    fn new_link(access_point: MacAddr) -> LinkEvent {
        LinkEvent::NewLinkDetected { access_point }
    }

    fn impend(access_point: MacAddr) -> LinkEvent {
        LinkEvent::HandoverImpend { access_point }
    }

    fn up(access_point: MacAddr) -> LinkEvent {
        LinkEvent::LinkUp { access_point }
    }

    fn forged(n: u16) -> MacAddr {
        let [high, low] = n.to_be_bytes();
        MacAddr([2, 0xee, 0, 0, high, low])
    }

    #[test]
    fn an_access_point_is_told_as_new_once_in_a_while() {
        let mut damper = damper();
        for (ms, expected) in [
            (0, Outcome::Told),
            (1, Outcome::Dropped),
            (9_999, Outcome::Dropped),
            (10_000, Outcome::Told),
            (10_001, Outcome::Dropped),
        ] {
            assert_eq!(damper.tell(at(ms), new_link(AP2)), expected, "{ms}");
        }
        assert_eq!(damper.counters().repeated_new_links, 3);
        assert_eq!(damper.counters().flooded_new_links, 0);
    }

    /// The new link's router knows nothing of the questions to the old one's.
    #[test]
    fn behind_another_access_point_all_are_new_again() {
        let mut damper = damper();
        assert_eq!(damper.tell(at(0), new_link(AP3)), Outcome::Told);
        damper.tell(at(1), LinkEvent::LinkDown);
        damper.tell(at(2), up(AP1));
        assert_eq!(damper.tell(at(3), new_link(AP3)), Outcome::Dropped);
        damper.tell(at(4), up(AP2));
        assert_eq!(damper.tell(at(5), new_link(AP3)), Outcome::Told);
    }

    // Rows: W16-03
    #[test]
    fn new_access_points_have_a_burst_and_a_rate() {
        let mut damper = damper();
        let mut told = (0..1_000).filter(|n| {
            let outcome = damper.tell(at(0), new_link(forged(*n)));
            outcome == Outcome::Told
        });
        assert_eq!(told.by_ref().count(), 32);
        assert_eq!(damper.counters().flooded_new_links, 1_000 - 32);
        // One that drowned in the flood is told when it is named again, at the rate.
        assert_eq!(damper.tell(at(499), new_link(AP2)), Outcome::Dropped);
        assert_eq!(damper.tell(at(500), new_link(AP2)), Outcome::Told);
        assert_eq!(damper.tell(at(501), new_link(AP3)), Outcome::Dropped);
        // After a rest the burst is there again.
        let told = (1_000..1_100).filter(|n| {
            let outcome = damper.tell(at(60_000), new_link(forged(*n)));
            outcome == Outcome::Told
        });
        assert_eq!(told.count(), 32);
    }

    // Rows: W16-03
    #[test]
    fn what_is_remembered_is_bounded_whatever_the_settings() {
        let settings = Settings {
            new_link_repeat: Duration::from_secs(3_600),
            new_link_burst: 1_000,
            new_links_per_second: 1_000,
            ..Settings::default()
        };
        let mut damper = Damper::new(settings, Some(AP1));
        for n in 0..10_000 {
            let outcome = damper.tell(at(n.into()), new_link(forged(n)));
            assert_eq!(outcome, Outcome::Told);
            assert!(damper.new_links.len() <= MAX_REMEMBERED);
        }
        // The last ones are those that are remembered.
        let again = damper.tell(at(10_000), new_link(forged(9_999)));
        assert_eq!(again, Outcome::Dropped);
        assert_eq!(damper.tell(at(10_001), new_link(forged(0))), Outcome::Told);
    }

    // Rows: W16-07
    #[test]
    fn repetitions_for_the_same_target_pass_as_one() {
        let mut damper = damper();
        assert_eq!(damper.tell(at(0), impend(AP2)), Outcome::Told);
        for ms in 1..1_000 {
            assert_eq!(damper.tell(at(ms), impend(AP2)), Outcome::Dropped);
            assert_eq!(damper.poll_timeout(), None);
        }
        assert_eq!(damper.counters().repeated_impends, 999);
        // It came to nothing, so it is news again, at once if that was long enough ago.
        damper.handover_ended();
        assert_eq!(damper.tell(at(1_000), impend(AP2)), Outcome::Told);
        damper.handover_ended();
        assert_eq!(damper.tell(at(1_001), impend(AP2)), Outcome::HeldBack);
        assert_eq!(damper.tell(at(1_002), impend(AP2)), Outcome::HeldBack);
        assert_eq!(damper.poll_timeout(), Some(at(1_200)));
        assert_eq!(damper.handle_timeout(at(1_199)), None);
        assert_eq!(damper.handle_timeout(at(1_200)), Some(impend(AP2)));
        assert_eq!(damper.poll_timeout(), None);
    }

    // Rows: W16-07
    #[test]
    fn of_targets_that_flap_the_last_one_wins_after_the_interval() {
        let mut damper = damper();
        assert_eq!(damper.tell(at(0), impend(AP2)), Outcome::Told);
        for ms in 1..150 {
            let (target, outcome) = match ms % 2 {
                0 => (AP2, Outcome::Dropped),
                _ => (AP3, Outcome::HeldBack),
            };
            assert_eq!(damper.tell(at(ms), impend(target)), outcome);
        }
        assert_eq!(damper.poll_timeout(), Some(at(200)));
        assert_eq!(damper.handle_timeout(at(203)), Some(impend(AP3)));
        // And that begins the next interval.
        assert_eq!(damper.tell(at(204), impend(AP2)), Outcome::HeldBack);
        assert_eq!(damper.poll_timeout(), Some(at(403)));
        let counters = damper.counters();
        assert_eq!(counters.held_back_impends, 75 + 1);
        assert_eq!(counters.overtaken_impends, 74);
        assert_eq!(counters.repeated_impends, 74);
    }

    #[test]
    fn a_change_of_mind_after_the_interval_is_told_at_once() {
        let mut damper = damper();
        assert_eq!(damper.tell(at(0), impend(AP2)), Outcome::Told);
        assert_eq!(damper.tell(at(200), impend(AP3)), Outcome::Told);
        assert_eq!(damper.counters(), &Counters::default());
    }

    /// The event loop may hear of it before it looks at the clock.
    #[test]
    fn what_waits_does_not_overtake_what_is_told_when_it_is_due() {
        let mut damper = damper();
        damper.tell(at(0), impend(AP2));
        assert_eq!(damper.tell(at(100), impend(AP3)), Outcome::HeldBack);
        let ap4 = forged(4);
        assert_eq!(damper.tell(at(200), impend(ap4)), Outcome::Told);
        assert_eq!(damper.handle_timeout(at(200)), None);
        assert_eq!(damper.handle_timeout(at(9_000)), None);
        assert_eq!(damper.counters().overtaken_impends, 1);
    }

    #[test]
    fn staying_where_it_is_is_no_handover_and_ends_what_waits() {
        let mut damper = damper();
        assert_eq!(damper.tell(at(0), impend(AP1)), Outcome::Dropped);
        // It cost nothing.
        assert_eq!(damper.tell(at(1), impend(AP2)), Outcome::Told);
        assert_eq!(damper.tell(at(2), impend(AP3)), Outcome::HeldBack);
        assert_eq!(damper.tell(at(3), impend(AP1)), Outcome::Dropped);
        assert_eq!(damper.poll_timeout(), None);
    }

    #[test]
    fn without_an_interval_every_change_of_mind_is_told() {
        let settings = Settings {
            impend_interval: Duration::ZERO,
            ..Settings::default()
        };
        let mut damper = Damper::new(settings, None);
        for target in [AP2, AP3, AP2, AP3] {
            assert_eq!(damper.tell(at(0), impend(target)), Outcome::Told);
        }
    }

    /// Which would be about a move that is over.
    #[test]
    fn the_end_and_the_return_of_the_link_overtake_what_waits() {
        for event in [LinkEvent::LinkDown, up(AP1), up(AP2), up(AP3)] {
            let mut damper = damper();
            damper.tell(at(0), impend(AP2));
            damper.tell(at(1), impend(AP3));
            assert_eq!(damper.tell(at(2), event), Outcome::Told);
            assert_eq!(damper.poll_timeout(), None, "{event:?}");
            assert_eq!(damper.handle_timeout(at(5_000)), None);
        }
    }

    #[test]
    fn a_link_that_goes_down_is_told_once_in_a_while() {
        let mut damper = damper();
        let event = LinkEvent::LinkGoingDown;
        assert_eq!(damper.tell(at(0), event), Outcome::Told);
        assert_eq!(damper.tell(at(100), event), Outcome::Dropped);
        assert_eq!(damper.tell(at(10_000), event), Outcome::Told);
        // It is another link.
        damper.tell(at(10_001), up(AP2));
        assert_eq!(damper.tell(at(10_002), event), Outcome::Told);
        assert_eq!(damper.counters().repeated_going_downs, 1);
    }

    #[test]
    fn only_a_link_that_came_up_makes_the_end_of_another_old_news() {
        let mut damper = damper();
        // What the configuration says may be out of date.
        assert!(!damper.is_of_another_link(AP2));
        damper.tell(at(0), up(AP2));
        assert!(damper.is_of_another_link(AP1));
        assert!(!damper.is_of_another_link(AP2));
        damper.tell(at(1), LinkEvent::LinkDown);
        assert!(!damper.is_of_another_link(AP2));
        assert_eq!(damper.counters().of_other_links, 1);
    }

    fn any_event() -> impl Strategy<Value = LinkEvent> {
        let access_point = (0..5u16).prop_map(forged);
        prop_oneof![
            access_point.clone().prop_map(new_link),
            access_point.clone().prop_map(impend),
            access_point.clone().prop_map(impend),
            access_point.prop_map(up),
            Just(LinkEvent::LinkDown),
            Just(LinkEvent::LinkUpSomewhere),
            Just(LinkEvent::LinkGoingDown),
        ]
    }

    proptest! {
        /// Whatever is told: the link's end and return at once, targets no more often than they may
        /// be, and the last one that was named is told unless something came in between.
        #[test]
        fn whatever_comes_targets_keep_their_interval_and_the_link_is_never_delayed(
            events in vec((any_event(), 0..300u64, any::<bool>()), 1..200)
        ) {
            let mut damper = damper();
            let mut now = 0;
            let mut told: Vec<u64> = Vec::new();
            for (event, wait, ended) in events {
                let until = now + wait;
                while let Some(due) = damper.poll_timeout().filter(|due| *due <= at(until)) {
                    let waited = damper.handle_timeout(due);
                    let is_target = matches!(waited, Some(LinkEvent::HandoverImpend { .. }));
                    prop_assert!(is_target, "{:?}", waited);
                    told.push((due - at(0)).as_millis() as u64);
                }
                now = until;
                if ended {
                    damper.handover_ended();
                }
                let outcome = damper.tell(at(now), event);
                match event {
                    LinkEvent::LinkDown
                    | LinkEvent::LinkUp { .. }
                    | LinkEvent::LinkUpSomewhere => {
                        prop_assert_eq!(outcome, Outcome::Told);
                        prop_assert_eq!(damper.poll_timeout(), None);
                    }
                    LinkEvent::HandoverImpend { access_point } => match outcome {
                        Outcome::Told => told.push(now),
                        Outcome::HeldBack => {
                            prop_assert_eq!(damper.waiting, Some(access_point));
                            prop_assert!(damper.poll_timeout().is_some());
                        }
                        Outcome::Dropped => prop_assert_eq!(damper.poll_timeout(), None),
                    },
                    _ => prop_assert!(outcome != Outcome::HeldBack),
                }
            }
            for pair in told.windows(2) {
                prop_assert!(pair[1] >= pair[0] + 200, "{:?}", told);
            }
        }
    }
}
