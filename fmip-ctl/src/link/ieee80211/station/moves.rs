//! Whether, when and where the station moves, and how far a move has come.

use std::time::Duration;

use tracing::debug;

use super::{
    super::{policy::Choice, supplicant::Request},
    Station,
};
use crate::{
    link::{Direction, Told},
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

/// How long the search for one access point may take.
const LOOKING: Duration = Duration::from_secs(3);

/// The pause before a supplicant that is busy is asked again: the end of its scan is not always told.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// How long 802.1X may take: the supplicant's own patience is 70 s.
const AUTHENTICATING: Duration = Duration::from_secs(75);

/// What the supplicant answers while it scans.
pub(super) const BUSY: &str = "FAIL-BUSY";

/// How often an access point is looked for in vain until it is taken not to be there: a beacon, or the
/// answer to a probe, may be missed once.
const SEARCHES: u32 = 2;

/// How far the scan for the target of a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    Asked,
    /// The supplicant has begun: the next results are those of this scan.
    Begun,
    /// They are there to be read.
    Done,
}

/// A move, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The protocol prepares it.
    Impending { target: MacAddr, until: Instant },
    /// The target is looked for; the protocol ordered the move.
    Looking {
        target: MacAddr,
        until: Instant,
        search: Search,
        /// How many searches have not found it.
        missed: u32,
        /// When to ask again for a scan: the supplicant did not begin this one, or not with success.
        again: Option<Instant>,
        /// Whether the supplicant refused to move there before.
        refused: bool,
    },
    /// The supplicant moves.
    Roaming {
        target: MacAddr,
        until: Instant,
        /// Whether the protocol ordered it.
        ordered: bool,
        /// When to ask again for the roam: a scan was in its way.
        again: Option<Instant>,
        /// Whether the supplicant refused to move there before.
        refused: bool,
    },
}

impl Station {
    /// Ends the wait for what was to happen next, if it took too long.
    pub(super) fn handle_move_timeout(&mut self, now: Instant) {
        match self.course {
            Some(Course::Impending { target, until }) if until <= now => {
                self.go_unprepared(now, target);
            }
            Some(Course::Looking { until, .. }) if until <= now => {
                self.fail_move(now, "it is not heard");
            }
            Some(Course::Roaming { until, .. }) if until <= now => {
                self.fail_move(now, "the roam took too long");
            }
            Some(Course::Looking { again, .. } | Course::Roaming { again, .. })
                if again.is_some_and(|again| again <= now) =>
            {
                self.ask_again(now);
            }
            _ => {}
        }
    }

    /// When [`Station::handle_move_timeout`] has something to do.
    pub(super) fn move_timeout(&self) -> Option<Instant> {
        self.course.map(|course| match course {
            Course::Impending { until, .. } => until,
            Course::Looking { until, again, .. } | Course::Roaming { until, again, .. } => {
                again.map_or(until, |again| again.min(until))
            }
        })
    }

    /// The station is associated with the target; 802.1X takes its own time.
    pub(super) fn await_authentication(&mut self, now: Instant, bssid: MacAddr) {
        if let Some(Course::Roaming { target, until, .. }) = &mut self.course
            && *target == bssid
        {
            *until = now + AUTHENTICATING;
        }
    }

    /// Whether to move.
    pub(super) fn decide(&mut self, now: Instant) {
        let (Some(current), None) = (self.bssid(), self.course) else {
            return;
        };
        if !self.policy.is_confirmed() {
            self.going_down = false;
            return;
        }
        // The choice is better with what is heard now, unless there is no time.
        if self.schedule.is_under_way(now) && !self.policy.is_lost() {
            return;
        }
        let ssid = self.ssid.as_deref().filter(|_| self.open);
        let choice = ssid.map_or(Choice::Nowhere, |ssid| {
            let (table, detected) = (&self.table, &self.detected);
            self.policy.choose(now, current, ssid, table, detected)
        });
        match choice {
            Choice::To(target) => {
                self.course = Some(Course::Impending {
                    target,
                    until: now + self.settings.link_switch_wait,
                });
                self.primitive(LinkEvent::HandoverImpend {
                    access_point: target,
                });
            }
            Choice::Nowhere => {
                if !std::mem::replace(&mut self.going_down, true) {
                    self.primitive(LinkEvent::LinkGoingDown);
                }
            }
            // For the answer, or for the next measurement.
            Choice::Wait => {}
        }
    }

    /// Nobody prepares the move, or not in time.
    pub(super) fn go_unprepared(&mut self, now: Instant, target: MacAddr) {
        self.course = None;
        if self.is_up() && self.policy.is_fading() && self.policy.may_choose(target) {
            self.roam(now, target, false, false);
        }
    }

    /// LINK_SWITCH.
    pub(super) fn switch(&mut self, now: Instant, target: MacAddr) {
        if self.bssid() == Some(target) {
            // It has come there by itself; what else was under way is not wanted any more.
            self.course = None;
            return self.primitive(LinkEvent::LinkUp {
                access_point: target,
            });
        }
        if !self.open {
            return self.refuse(target, "wpa_supplicant is gone");
        }
        if let Some(Course::Roaming {
            target: current,
            ordered,
            ..
        }) = &mut self.course
            && *current == target
        {
            *ordered = true;
            return;
        }
        if self.is_fresh(now, target) {
            return self.roam(now, target, true, false);
        }
        self.look(now, target, false);
    }

    pub(super) fn roam(&mut self, now: Instant, target: MacAddr, ordered: bool, refused: bool) {
        self.course = Some(Course::Roaming {
            target,
            until: now + self.settings.roam_timeout,
            ordered,
            again: None,
            refused,
        });
        self.ask(Request::Roam { bssid: target });
    }

    pub(super) fn handle_roam_refused(&mut self, now: Instant, bssid: MacAddr, why: &str) {
        let Some(Course::Roaming {
            target,
            ordered,
            again,
            refused,
            ..
        }) = &mut self.course
        else {
            return;
        };
        if *target != bssid {
            return;
        }
        if why == BUSY {
            debug!(%bssid, "no roam yet: {why}");
            *again = Some(now + BUSY_PAUSE);
        } else if why == "FAIL" && *ordered && !*refused {
            // It says no more than that; it does so of what it has not heard lately.
            self.look(now, bssid, true);
        } else {
            self.fail_move(now, &format!("wpa_supplicant refuses: {why}"));
        }
    }

    /// A scan of whatever channels is over, and with it what was in the way of a move. A target that is
    /// looked for may be among its results: those are read first.
    pub(super) fn handle_scan_end(&mut self, now: Instant) {
        let is_up = self.is_up();
        match &mut self.course {
            Some(Course::Roaming { again: Some(_), .. }) => self.ask_again(now),
            // The supplicant said that it would move, and waited with that for the end of the scan; or it
            // has chosen anew by its results.
            Some(Course::Roaming { again, .. }) if is_up => *again = Some(now + BUSY_PAUSE),
            _ => {}
        }
    }

    /// Asks for what the supplicant was too busy for.
    pub(super) fn ask_again(&mut self, now: Instant) {
        match &mut self.course {
            Some(Course::Looking {
                target,
                search,
                again,
                ..
            }) => {
                *again = None;
                *search = Search::Asked;
                let target = *target;
                self.look_for(now, target);
            }
            Some(Course::Roaming { target, again, .. }) => {
                *again = None;
                let bssid = *target;
                // It has begun, otherwise.
                if self.is_up() {
                    self.ask(Request::Roam { bssid });
                }
            }
            Some(Course::Impending { .. }) | None => {}
        }
    }

    /// Looks for the target of an ordered move.
    fn look(&mut self, now: Instant, target: MacAddr, refused: bool) {
        self.course = Some(Course::Looking {
            target,
            until: now + LOOKING.max(self.settings.roam_timeout),
            search: Search::Asked,
            missed: 0,
            again: None,
            refused,
        });
        self.look_for(now, target);
    }

    /// The supplicant's answer to the scan for the target, or its end.
    pub(super) fn handle_search(&mut self, from: Search, to: Search) {
        if let Some(Course::Looking { search, .. }) = &mut self.course
            && *search == from
        {
            *search = to;
        }
    }

    /// There are new results. If the target is among them, the station moves there. If they are those
    /// of the scan for it, and it is not, it is looked for once more: when LINK_SWITCH came, its packets
    /// were on their way to where it cannot go, perhaps.
    pub(super) fn handle_sought(&mut self, now: Instant) {
        // Newer results are about to be read: those are the ones.
        let is_last = !self.read_again;
        let Some(Course::Looking {
            target,
            search,
            missed,
            again,
            refused,
            ..
        }) = &mut self.course
        else {
            return;
        };
        let (target, refused) = (*target, *refused);
        let is_missed = *search == Search::Done && is_last;
        *missed += u32::from(is_missed);
        let (is_over, is_due) = (*missed >= SEARCHES, again.is_some());
        if self.is_fresh(now, target) {
            self.roam(now, target, true, refused);
        } else if is_missed && is_over {
            self.fail_move(now, "it is not heard");
        } else if is_missed || is_due {
            // Or the scan that was in the way has ended without it.
            self.ask_again(now);
        }
    }

    /// On its own channel alone, if that is known.
    fn look_for(&mut self, now: Instant, target: MacAddr) {
        let frequencies = match self.table.frequency(target) {
            Some(frequency) => vec![frequency],
            None => self.settings.frequencies.clone(),
        };
        self.schedule.begin(now);
        self.scan(frequencies, Some(target));
    }

    /// The move came to nothing. If the link is gone for it, the protocol hears where it comes up
    /// again.
    pub(super) fn fail_move(&mut self, now: Instant, why: &str) {
        let (target, ordered) = match self.course.take() {
            Some(Course::Looking { target, .. }) => (target, true),
            Some(Course::Roaming {
                target, ordered, ..
            }) => (target, ordered),
            Some(Course::Impending { .. }) | None => return,
        };
        self.policy.avoid(now, target);
        if self.is_up() && ordered {
            self.refuse(target, why);
        } else {
            let detail = Some(format!("failed: {why}"));
            self.step("handover", Direction::Local, Some(target), detail);
        }
        self.ask(Request::Status);
    }

    pub(super) fn handle_rejected(
        &mut self,
        now: Instant,
        step: &str,
        bssid: Option<MacAddr>,
        detail: String,
    ) {
        self.step(step, Direction::Received, bssid, Some(detail.clone()));
        self.joined = None;
        match self.course {
            Some(Course::Roaming { target, .. }) if bssid.is_none_or(|bssid| bssid == target) => {
                self.fail_move(now, &format!("it {detail}"));
            }
            _ => {
                if let Some(bssid) = bssid {
                    self.policy.avoid(now, bssid);
                }
            }
        }
    }

    pub(super) fn refuse(&mut self, access_point: MacAddr, error: &str) {
        self.tell(Told::SwitchFailed {
            access_point,
            error: format!("{access_point}: {error}"),
        });
    }
}
