//! Where the station is attached, and whether the port there lets packets through.

use std::time::Duration;

use super::{
    super::{
        nl80211::{Peer, Query},
        supplicant::{Phase, Request, Status},
    },
    Station,
    moves::Course,
};
use crate::{
    link::Direction,
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

/// How often it is asked whether the port is open: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Where the station is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attachment {
    /// Nobody told yet.
    Unknown,
    Down,
    /// Attached, but its port does not let packets through yet.
    Closed {
        bssid: MacAddr,
        /// When to ask again, if nothing is being asked.
        ask: Instant,
        pause: Duration,
        /// Whether the kernel was asked and said nothing of the port.
        silent: bool,
    },
    Up {
        bssid: MacAddr,
    },
    /// Attached, and nobody says where: nothing but the carrier is known.
    Somewhere,
}

impl Station {
    /// Asks once more whether the port is open, if it is time.
    pub(super) fn handle_port_timeout(&mut self, now: Instant) {
        if let Attachment::Closed { ask, pause, .. } = &mut self.attachment
            && *ask <= now
        {
            *pause = (*pause * 2).min(LAST_PAUSE);
            *ask = now + *pause;
            self.ask_for_port();
        }
    }

    pub(super) fn handle_status(&mut self, now: Instant, status: Status) {
        match (status.phase, status.bssid) {
            (Phase::Completed, Some(bssid)) => {
                self.ssid = status.ssid;
                let is_authorized = status.port_authorized != Some(false);
                match self.attachment {
                    Attachment::Up { bssid: known } if known == bssid => self.detect_links(now),
                    Attachment::Closed {
                        bssid: known,
                        silent,
                        ..
                    } if known == bssid => {
                        // The kernel knows better, if it tells.
                        if is_authorized && (silent || !self.kernel.answers()) {
                            self.open_port(now, bssid);
                        }
                    }
                    _ => {
                        self.close_port(now, bssid);
                        match is_authorized && !self.kernel.answers() {
                            true => self.open_port(now, bssid),
                            false => self.query(Query::Peers),
                        }
                    }
                }
            }
            (Phase::Detached, _) => self.detach(),
            // A link whose keys are renewed is there all the time; one that is being made is not yet.
            (Phase::Underway | Phase::Completed, _) => {
                if self.attachment == Attachment::Unknown {
                    self.detach();
                }
            }
        }
    }

    pub(super) fn handle_peers(&mut self, now: Instant, peers: &[Peer]) {
        let peer_at = |bssid| peers.iter().find(|peer| peer.bssid == bssid);
        match self.attachment {
            Attachment::Closed { bssid, .. } if self.open || peer_at(bssid).is_some() => {
                match peer_at(bssid) {
                    Some(peer) => self.hear_of_port(now, bssid, peer.authorized),
                    // There are drivers that list no access point at all.
                    None if peers.is_empty() => self.hear_of_port(now, bssid, None),
                    None => {}
                }
            }
            _ if self.open => {}
            Attachment::Up { bssid } if peer_at(bssid).is_some() => {
                if let Some(dbm) = peer_at(bssid).and_then(|peer| peer.dbm) {
                    self.handle_signal(now, dbm);
                }
            }
            _ => match peers {
                [peer, ..] => {
                    self.close_port(now, peer.bssid);
                    self.hear_of_port(now, peer.bssid, peer.authorized);
                }
                [] if self.kernel.lists() => self.detach(),
                // There never was more in the list, whatever the link was.
                [] => self.follow_carrier(now),
            },
        }
    }

    /// What the kernel says of the port at the access point that the node is attached to. If that is
    /// nothing, the supplicant's word must do; and without a supplicant there are no keys that would be
    /// waited for.
    fn hear_of_port(&mut self, now: Instant, bssid: MacAddr, authorized: Option<bool>) {
        match authorized {
            Some(true) => self.open_port(now, bssid),
            None if !self.open => self.open_port(now, bssid),
            _ => {
                let is_silent = authorized.is_none();
                if let Attachment::Closed { silent, .. } = &mut self.attachment
                    && std::mem::replace(silent, is_silent) != is_silent
                    && is_silent
                {
                    self.ask(Request::Status);
                }
            }
        }
    }

    pub(super) fn attach(&mut self, now: Instant, bssid: MacAddr) {
        self.close_port(now, bssid);
        self.ask_for_port();
    }

    pub(super) fn ask_for_port(&mut self) {
        self.ask(Request::Status);
        self.query(Query::Peers);
    }

    fn close_port(&mut self, now: Instant, bssid: MacAddr) {
        self.attachment = Attachment::Closed {
            bssid,
            ask: now + FIRST_PAUSE,
            pause: FIRST_PAUSE,
            silent: false,
        };
    }

    fn open_port(&mut self, now: Instant, bssid: MacAddr) {
        self.attachment = Attachment::Up { bssid };
        self.told_up = Some(true);
        self.going_down = false;
        self.policy.reset();
        self.policy.forgive(bssid);
        if let Some(Course::Roaming { target, .. }) = self.course.take()
            && target != bssid
        {
            self.policy.avoid(now, target);
        }
        self.primitive(LinkEvent::LinkUp {
            access_point: bssid,
        });
        let (threshold_dbm, hysteresis_db) = (self.settings.signal_threshold_dbm, 2);
        self.ask(Request::SignalMonitor {
            threshold_dbm,
            hysteresis_db,
        });
        self.detect_links(now);
        self.tell_heard(now);
    }

    /// Nobody tells whether the link is there: it is as its carrier is.
    pub(super) fn follow_carrier(&mut self, now: Instant) {
        match (self.attachment, self.carrier.is_up(), self.told_up) {
            // The kernel told where it is, and that may come before the carrier.
            (Attachment::Closed { .. }, Some(false), _) => self.tell_down(),
            (Attachment::Closed { bssid, .. }, Some(true), _) => self.open_port(now, bssid),
            (_, Some(false), _) => self.detach(),
            (_, Some(true), Some(false)) if !self.kernel.has_just_let_go(now) => {
                self.attachment = Attachment::Somewhere;
                self.told_up = Some(true);
                self.going_down = false;
                self.primitive(LinkEvent::LinkUpSomewhere);
            }
            // As the protocol has it, or takes it to be.
            (_, Some(true) | None, _) => {}
        }
    }

    /// The link is gone.
    pub(super) fn detach(&mut self) {
        self.attachment = Attachment::Down;
        self.policy.reset();
        self.tell_down();
    }

    /// It is told once.
    fn tell_down(&mut self) {
        if self.told_up != Some(false) {
            self.told_up = Some(false);
            self.primitive(LinkEvent::LinkDown);
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.attachment, Attachment::Up { .. })
    }

    /// Where it is attached.
    pub(super) fn bssid(&self) -> Option<MacAddr> {
        match self.attachment {
            Attachment::Up { bssid } => Some(bssid),
            _ => None,
        }
    }

    /// The supplicant turns to this access point, and away from where it was.
    pub(super) fn leave(&mut self, bssid: MacAddr) {
        self.detach();
        self.joined = Some(bssid);
        self.step("join", Direction::Local, Some(bssid), None);
    }

    pub(super) fn handle_disconnected(
        &mut self,
        now: Instant,
        bssid: Option<MacAddr>,
        reason: Option<u16>,
    ) {
        let detail = reason.map(|reason| format!("reason {reason}"));
        self.step("disassociate", Direction::Received, bssid, detail);
        match self.course {
            // From where it was: that is what a roam is.
            Some(Course::Roaming { target, .. }) if bssid != Some(target) => self.detach(),
            Some(Course::Roaming { .. }) => {
                self.detach();
                self.fail_move(now, "it let go of the node");
            }
            Some(Course::Impending { .. } | Course::Looking { .. }) | None => {
                self.course = None;
                self.detach();
            }
        }
        self.joined = None;
    }
}
