//! What the link layer tells, and where that leaves the mobile node (RFC 5270 section 5).

use super::*;

impl MobileNode {
    pub(super) fn handle_link(&mut self, now: Instant, event: LinkEvent) {
        match event {
            LinkEvent::NewLinkDetected { access_point } => {
                if self.at_previous_router
                    && Some(access_point) != self.access_point
                    && !self.known.contains_key(&access_point)
                {
                    self.want(now, access_point);
                }
            }
            LinkEvent::HandoverImpend { access_point } => self.handle_impend(now, access_point),
            LinkEvent::LinkDown => self.handle_link_down(),
            LinkEvent::LinkUp { access_point } => self.handle_link_up(now, access_point),
        }
    }

    /// RFC 5270 section 5.2.
    pub(super) fn handle_impend(&mut self, now: Instant, target: MacAddr) {
        if Some(target) == self.access_point {
            return;
        }
        if !self.at_previous_router {
            // The handover that led away from it goes on.
            let reason = Failure::NotAtPreviousRouter;
            return self.outbox.event(None, Event::HandoverFailed { reason });
        }
        match &self.handover {
            // Indications are repeated while the signal fades.
            Some(handover) if handover.target == target => return,
            // Elsewhere after all: a new FBU supersedes the old one (FBU-16).
            Some(_) => self.end_handover(),
            None => {}
        }
        self.handover = Some(Handover {
            target,
            phase: Phase::Asking,
        });
        if self.known.contains_key(&target) {
            self.go_on(now);
        } else if self.router_silent {
            self.fail(Failure::NoPrrtadv);
        } else {
            self.want(now, target);
        }
    }

    pub(super) fn handle_link_down(&mut self) {
        self.link_up = false;
        match self.handover.as_ref().map(|handover| &handover.phase) {
            Some(Phase::Asking | Phase::AwaitingFback(_)) => self.fail(Failure::LinkLost),
            Some(Phase::Switching { .. } | Phase::Arrived { .. }) | None => {}
        }
    }

    /// RFC 5270 section 5.4.
    pub(super) fn handle_link_up(&mut self, now: Instant, access_point: MacAddr) {
        self.link_up = true;
        let before = self.access_point.replace(access_point);
        let same_link = before.is_none_or(|before| before == access_point)
            || self.known.get(&access_point) == Some(&Knowledge::SameInterface);
        let Some(handover) = &self.handover else {
            self.moved(access_point, same_link);
            return;
        };
        let as_predicted = handover.target == access_point;
        match &handover.phase {
            // W16-12.
            Phase::Switching {
                destination,
                expires,
            } if as_predicted => {
                let (destination, expires) = (*destination, *expires);
                self.moved(access_point, false);
                self.arrive(now, destination, expires);
            }
            // The link flapped: the NAR may not have heard.
            Phase::Arrived {
                destination,
                expires,
                ..
            } if as_predicted => {
                let (destination, expires) = (*destination, *expires);
                self.announce(now, destination, expires, self.config.timers.una_retries);
            }
            // W16-15.
            Phase::Asking | Phase::AwaitingFback(_) if same_link => {}
            // W16-13: it came here without knowing whether it is expected.
            Phase::Asking | Phase::AwaitingFback(_) if as_predicted => {
                self.moved(access_point, false);
                self.fail(Failure::NoFback);
            }
            _ => {
                self.moved(access_point, same_link);
                self.fail(Failure::Elsewhere);
            }
        }
    }

    /// Notes a move to `access_point`; what is known of others holds for one link only.
    pub(super) fn moved(&mut self, access_point: MacAddr, same_link: bool) {
        if same_link {
            if self.at_previous_router && self.previous_link.len() < MAX_KNOWN {
                self.previous_link.insert(access_point);
            }
            return;
        }
        self.at_previous_router = self.previous_link.contains(&access_point);
        self.known.clear();
        self.wanted.clear();
        self.solicitation = None;
        self.router_silent = false;
    }
}
