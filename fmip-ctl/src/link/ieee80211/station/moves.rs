//! Whether, when and where the station moves, and how far a move has come.

use std::time::Duration;

use super::{super::supplicant::Request, Station};
use crate::{
    link::{Direction, Told},
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

/// How long the scan for one access point may take.
const LOOKING: Duration = Duration::from_secs(3);

/// How long 802.1X may take: the supplicant's own patience is 70 s.
const AUTHENTICATING: Duration = Duration::from_secs(75);

/// A move, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The protocol prepares it.
    Impending { target: MacAddr, until: Instant },
    /// The target is looked for; the protocol ordered the move.
    Looking { target: MacAddr, until: Instant },
    /// The supplicant moves.
    Roaming {
        target: MacAddr,
        until: Instant,
        /// Whether the protocol ordered it.
        ordered: bool,
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
            _ => {}
        }
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
        let target = ssid.and_then(|ssid| self.policy.choose(now, current, ssid, &self.table));
        if let Some(target) = target {
            self.course = Some(Course::Impending {
                target,
                until: now + self.settings.link_switch_wait,
            });
            self.primitive(LinkEvent::HandoverImpend {
                access_point: target,
            });
        } else if !std::mem::replace(&mut self.going_down, true) {
            self.primitive(LinkEvent::LinkGoingDown);
        }
    }

    /// Nobody prepares the move, or not in time.
    pub(super) fn go_unprepared(&mut self, now: Instant, target: MacAddr) {
        self.course = None;
        if self.is_up() && self.policy.is_fading() {
            self.roam(now, target, false);
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
            return self.roam(now, target, true);
        }
        let known = self.table.get(target).map(|entry| entry.frequency);
        let frequencies = match known {
            Some(frequency) => vec![frequency],
            None => self.settings.frequencies.clone(),
        };
        self.course = Some(Course::Looking {
            target,
            until: now + LOOKING,
        });
        self.schedule.begin(now);
        self.scan(frequencies, Some(target));
    }

    pub(super) fn roam(&mut self, now: Instant, target: MacAddr, ordered: bool) {
        self.course = Some(Course::Roaming {
            target,
            until: now + self.settings.roam_timeout,
            ordered,
        });
        self.ask(Request::Roam { bssid: target });
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
