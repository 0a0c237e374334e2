//! What the link layer tells, and where that leaves the mobile node (RFC 5270 section 5).

use std::net::Ipv6Addr;

use crate::wire::MacAddr;

use super::{
    Event, Failure, Instant, Link, LinkEvent, MobileNode, Phase,
    handover::{Drift, Handover, Request, Switch},
    place::{Destination, Origin},
    solicitation::Knowledge,
};

/// Where the link came up.
enum Place {
    /// Where an FBack made all ready.
    Prepared(Switch),
    /// On the link that it was on.
    Same,
    /// On the link of the address it uses, after having been elsewhere.
    Origin,
    /// On one that it left, and whose router still sends its packets elsewhere.
    Past(Origin),
    /// On one that its last router told about.
    Known(Destination),
    /// On one with a router that takes no FBU (PRA-14).
    Plain,
    Unknown,
}

impl MobileNode {
    pub(super) fn handle_link(&mut self, now: Instant, event: LinkEvent) {
        match event {
            LinkEvent::NewLinkDetected { access_point } => {
                if self.is_settled()
                    && Some(access_point) != self.access_point
                    && self.neighborhood.knowledge(access_point).is_none()
                {
                    self.want(now, access_point);
                }
            }
            LinkEvent::HandoverImpend { access_point } => self.handle_impend(now, access_point),
            LinkEvent::LinkGoingDown => {
                // No target, so no FBU; but even a move without a word may be one to a router that
                // is known.
                if self.is_settled() && self.link_up && self.key().is_some() {
                    self.want_all(now);
                }
            }
            LinkEvent::LinkDown => self.handle_link_down(now),
            LinkEvent::LinkUp { access_point } => self.handle_link_up(now, access_point),
            LinkEvent::LinkUpSomewhere => self.handle_link_up_somewhere(now),
        }
    }

    /// RFC 5270 section 5.2.
    pub(super) fn handle_impend(&mut self, now: Instant, target: MacAddr) {
        if Some(target) == self.access_point {
            return;
        }
        if !self.is_settled() || !self.link_up {
            // The handover that led here goes on.
            let reason = Failure::NotAtPreviousRouter;
            return self.outbox.event(None, Event::HandoverFailed { reason });
        }
        match &self.handover {
            // Indications are repeated while the signal fades.
            Some(handover) if handover.target == Some(target) => return,
            // Elsewhere after all: a new FBU supersedes the old one (FBU-16).
            Some(_) => self.release_uplinks(now),
            None => {}
        }
        self.handover = Some(Handover {
            target: Some(target),
            phase: Phase::Asking,
        });
        if self.neighborhood.knowledge(target).is_some() {
            self.go_on(now);
        } else if self.neighborhood.is_silent() {
            self.miss_router();
            self.fail(now, Failure::NoPrrtadv);
        } else {
            self.want(now, target);
        }
    }

    /// What is sent from now on waits for the link.
    fn handle_link_down(&mut self, now: Instant) {
        self.link_up = false;
        self.announcing = None;
        self.announced = None;
        self.given_up = None;
        self.neighborhood.stop_asking();
        match self.handover.take() {
            // Held already.
            Some(
                handover @ Handover {
                    phase: Phase::Switching(_) | Phase::Adrift(_),
                    ..
                },
            ) => self.handover = Some(handover),
            handover => {
                let target = handover.as_ref().and_then(|handover| handover.target);
                let request = handover.and_then(|handover| handover.phase.into_request());
                self.drift(now, request);
                if let Some(handover) = &mut self.handover {
                    handover.target = target;
                }
                self.hold_uplinks(now);
            }
        }
    }

    /// RFC 5270 section 5.4.
    fn handle_link_up(&mut self, now: Instant, access_point: MacAddr) {
        let was_up = std::mem::replace(&mut self.link_up, true);
        // What came up without a name is another link once it has gone.
        let is_named_late = was_up || !self.is_nameless;
        let place = self.locate(now, access_point, is_named_late);
        self.is_nameless = false;
        self.access_point = Some(access_point);
        self.come_to(now, place);
    }

    /// The routers there say where it is, as they do at an access point that nobody knows.
    fn handle_link_up_somewhere(&mut self, now: Instant) {
        self.link_up = true;
        self.is_nameless = true;
        self.access_point = None;
        self.come_to(now, Place::Unknown);
    }

    fn come_to(&mut self, now: Instant, place: Place) {
        if let Place::Same = place {
            let access_point = self.access_point;
            self.link_mut().add(access_point);
            return self.stay(now);
        }
        let handover = self.handover.take();
        let target = handover.as_ref().and_then(|handover| handover.target);
        let was_prepared = handover
            .as_ref()
            .is_some_and(|handover| matches!(handover.phase, Phase::Switching(_)));
        let earlier = handover.and_then(|handover| handover.phase.into_request());
        if target.is_some() && target != self.access_point {
            let reason = Failure::Elsewhere;
            self.outbox.event(None, Event::HandoverFailed { reason });
        }
        if !was_prepared {
            // It came up without having gone down.
            self.hold_uplinks(now);
        }
        match place {
            Place::Prepared(switch) => self.arrive(now, &switch),
            Place::Same => {}
            Place::Origin => {
                self.origin.link.add(self.access_point);
                self.return_to_origin(now);
            }
            Place::Past(mut past) => {
                past.link.add(self.access_point);
                self.return_to(now, past, earlier);
            }
            // MOV-04, W16-13, W16-14.
            Place::Known(destination) => self.arrive_unprepared(now, destination, earlier),
            Place::Plain => {
                self.enter(Link::unknown(self.access_point));
                self.discover(now, true);
            }
            Place::Unknown => {
                self.enter(Link::unknown(self.access_point));
                self.discover(now, false);
            }
        }
    }

    /// `is_named_late`: whether this may be the first name of the link that it was on last.
    fn locate(&mut self, now: Instant, access_point: MacAddr, is_named_late: bool) -> Place {
        if let Some(Handover {
            target: Some(target),
            phase: Phase::Switching(switch),
        }) = &self.handover
            && *target == access_point
        {
            return Place::Prepared(*switch);
        }
        let knowledge = self.neighborhood.knowledge(access_point);
        if self.link().access_points.contains(&access_point)
            || knowledge == Some(Knowledge::SameInterface)
        {
            return Place::Same;
        }
        if self.origin.link.access_points.contains(&access_point) {
            return Place::Origin;
        }
        let is_there = |past: &Origin| past.link.access_points.contains(&access_point);
        if let Some(past) = self.take_redirected(now, is_there) {
            return Place::Past(past);
        }
        match knowledge {
            Some(Knowledge::Router(destination)) => Place::Known(destination),
            Some(Knowledge::NoFastHandover) => Place::Plain,
            // It never knew where it was.
            None if self.access_point.is_none() && is_named_late => Place::Same,
            Some(Knowledge::SameInterface | Knowledge::Unknown) | None => {
                let past = self.past.iter().rfind(|past| is_there(past));
                let destination = past
                    .and_then(|past| self.destination_again(past))
                    .or_else(|| self.integrated_router(access_point)); // W11-09
                destination.map_or(Place::Unknown, Place::Known)
            }
        }
    }

    /// The link is that which it was (W16-15).
    fn stay(&mut self, now: Instant) {
        if !self.is_settled() {
            // On the way to an address here.
            return match self.handover.take().map(|handover| handover.phase) {
                Some(Phase::Adrift(Drift {
                    request: Some(request),
                    ..
                })) if request.reactive => self.resume(now, request),
                Some(phase @ (Phase::AwaitingFback(_) | Phase::Discovering(_))) => {
                    self.set_phase(phase);
                }
                _ => self.discover(now, false),
            };
        }
        match &self.handover {
            Some(Handover {
                phase: Phase::Adrift(drift),
                target,
            }) => {
                // MOV-01 follows, if an FBU was out.
                let is_failure = drift.request.is_some() || target.is_some();
                self.handover = None;
                if is_failure {
                    let reason = Failure::LinkLost;
                    self.outbox.event(None, Event::HandoverFailed { reason });
                }
                self.release_uplinks(now);
                // The router may not have heard.
                if self.origin.is_new || self.elsewhere.is_some() {
                    self.begin_announcing(now, self.origin.pcoa);
                }
            }
            Some(Handover {
                phase: Phase::Switching(_),
                ..
            }) => self.fail(now, Failure::Elsewhere),
            Some(_) | None => {}
        }
    }

    /// The link flapped while an FBU was out from here.
    fn resume(&mut self, now: Instant, request: Request) {
        let (destination, care_of) = (request.destination, request.care_of);
        if care_of == destination.ncoa {
            self.expect_tunnel(care_of);
            self.begin_announcing(now, care_of);
        }
        self.ask_from_here(now, destination, care_of, Some(request));
    }

    /// Back on the link of the address in use.
    pub(super) fn return_to_origin(&mut self, now: Instant) {
        self.handover = None;
        self.forget_link();
        self.elsewhere = None;
        self.release_uplinks(now);
    }

    /// Back on a link that it left before: the address of that link is the one in use again, and
    /// the farewell follows (MOV-01).
    pub(super) fn return_to(&mut self, now: Instant, past: Origin, earlier: Option<Request>) {
        self.handover = None;
        self.forget_link();
        let pcoa: Ipv6Addr = past.pcoa;
        self.change_origin(past);
        self.endings.forget(pcoa);
        self.restore_address(pcoa);
        // If it was announced there, the router holds its packets until it says that it is here.
        if earlier.is_some_and(|earlier| earlier.care_of == pcoa) {
            self.begin_announcing(now, pcoa);
        }
        self.release_uplinks(now);
    }

    fn forget_link(&mut self) {
        self.neighborhood.clear();
        self.announcing = None;
        self.announced = None;
        self.given_up = None;
        self.refused.clear();
    }
}
