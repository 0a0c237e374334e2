//! RtSolPr and PrRtAdv: what lies behind access points (RFC 5568 sections 6.1.1 and 6.1.2).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::wire::{ApOutcome, ApTuple, MacAddr, Message, Packet, PrRtAdv, PrRtAdvCode, RtSolPr};

use super::{
    ALL_ROUTERS, Failure, Instant, MAX_KNOWN, MAX_WANTED, MobileNode, Phase, Reason,
    place::Destination,
};

/// What is known about an access point (RFC 5568 section 6.1.2).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// Where the mobile node is after a move there.
    Router(Destination),
    SameInterface,
    Unknown,
    NoFastHandover,
}

/// What the router said, or is being asked, about access points.
#[derive(Debug)]
pub(super) struct Neighborhood {
    /// Of the last RtSolPr.
    identifier: u16,
    known: BTreeMap<MacAddr, Knowledge>,
    /// Another one whenever `known` may have changed.
    revision: u64,
    wanted: BTreeSet<MacAddr>,
    /// Whether all that the router knows is wanted (RTS-04).
    wants_all: bool,
    solicitation: Option<Solicitation>,
    /// When the last RtSolPrs were sent, as many as may be in a second (RTS-08).
    solicited: VecDeque<Instant>,
    /// Whether the router did not answer RtSolPrs (RTS-09).
    is_silent: bool,
}

/// RtSolPrs that wait for a PrRtAdv.
#[derive(Clone, Debug)]
struct Solicitation {
    identifier: u16,
    /// Whether they ask for all.
    is_wildcard: bool,
    /// How often it may still be sent.
    sends_left: u32,
    /// The wait after the next one.
    timeout: Duration,
    /// When to send the next, or to give up.
    due: Instant,
}

impl Neighborhood {
    pub(super) fn new(identifier: u16) -> Self {
        Self {
            identifier,
            known: BTreeMap::new(),
            revision: 0,
            wanted: BTreeSet::new(),
            wants_all: false,
            solicitation: None,
            solicited: VecDeque::new(),
            is_silent: false,
        }
    }

    pub(super) fn knowledge(&self, access_point: MacAddr) -> Option<Knowledge> {
        self.known.get(&access_point).copied()
    }

    /// All that is known, in the order of the access points.
    pub(super) fn all(&self) -> impl Iterator<Item = (MacAddr, Knowledge)> + '_ {
        self.known
            .iter()
            .map(|(access_point, of)| (*access_point, *of))
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.solicitation.as_ref().map(|of| of.due)
    }

    /// Forgets all but when it asked: the rate holds across links.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.revision += 1;
        self.stop_asking();
        self.is_silent = false;
    }

    pub(super) fn stop_asking(&mut self) {
        self.wanted.clear();
        self.wants_all = false;
        self.solicitation = None;
    }

    fn remember(&mut self, access_point: MacAddr, knowledge: Knowledge, target: Option<MacAddr>) {
        let is_new = !self.known.contains_key(&access_point);
        if is_new && self.known.len() >= MAX_KNOWN {
            // The target of a handover stays; any other is asked for again when it is needed.
            let victim = self.known.keys().find(|&&key| Some(key) != target).copied();
            self.known
                .remove(&victim.expect("more than one is known, and one is the target"));
        }
        self.known.insert(access_point, knowledge);
        self.revision += 1;
    }
}

impl MobileNode {
    /// Asks about an access point, together with the others that are asked about.
    pub(super) fn want(&mut self, now: Instant, access_point: MacAddr) {
        let target = self.target();
        let neighborhood = &mut self.neighborhood;
        if neighborhood.is_silent || neighborhood.wanted.contains(&access_point) {
            return;
        }
        if neighborhood.wanted.len() >= MAX_WANTED {
            // The one that a handover waits for has precedence over those that are only in reach;
            // those are asked for all at once.
            if target != Some(access_point) {
                return self.want_all(now);
            }
            neighborhood.wanted.pop_last();
        }
        neighborhood.wanted.insert(access_point);
        self.ask(now);
    }

    /// Asks for all that the router knows.
    pub(super) fn want_all(&mut self, now: Instant) {
        if !self.neighborhood.is_silent && !self.neighborhood.wants_all {
            self.neighborhood.wants_all = true;
            self.ask(now);
        }
    }

    /// Asks for all that the router knows, and plans to ask again.
    pub(super) fn look_again(&mut self, now: Instant) {
        let interval = self.config.neighborhood_interval;
        self.next_look = interval.map(|interval| now + interval);
        self.want_all(now);
    }

    /// When to ask for all that the router knows, unless there is something better to do (RFC 4260
    /// section 6).
    pub(super) fn look_deadline(&self) -> Option<Instant> {
        let is_idle = self.link_up && self.handover.is_none() && self.is_settled();
        (self.config.neighborhood_interval.is_some() && is_idle && self.key().is_some())
            .then_some(self.next_look)
            .flatten()
    }

    /// Begins to ask for what is wanted now.
    fn ask(&mut self, now: Instant) {
        let due = self.earliest_rtsolpr(now);
        let neighborhood = &mut self.neighborhood;
        neighborhood.identifier = neighborhood.identifier.wrapping_add(1).max(1); // 0: PRA-02
        neighborhood.solicitation = Some(Solicitation {
            identifier: neighborhood.identifier,
            // A handover needs its one answer, and soon.
            is_wildcard: neighborhood.wanted.is_empty(),
            sends_left: self.config.timers.rtsolpr_retries.saturating_add(1),
            timeout: self.config.timers.initial_timeout,
            due,
        });
        if due == now {
            self.solicit(now);
        }
    }

    fn target(&self) -> Option<MacAddr> {
        self.handover.as_ref().and_then(|handover| handover.target)
    }

    /// RTS-08: the first moment from `at` on at which an RtSolPr does not break the rate. Where it
    /// is later than the back-off says, the rate wins (AMB-15).
    fn earliest_rtsolpr(&self, at: Instant) -> Instant {
        let rate = self.config.timers.max_rtsolpr_rate.max(1) as usize;
        let solicited = &self.neighborhood.solicited;
        match solicited.len().checked_sub(rate) {
            Some(index) => at.max(solicited[index] + Duration::from_secs(1)),
            None => at,
        }
    }

    /// Sends the RtSolPr that is due, or gives up.
    pub(super) fn solicit(&mut self, now: Instant) {
        let Some(mut solicitation) = self.neighborhood.solicitation.take() else {
            return;
        };
        if solicitation.sends_left == 0 {
            self.neighborhood.stop_asking();
            // RTS-09. A look around that came to nothing, perhaps long ago, proves nothing for the
            // question that a handover asks.
            self.neighborhood.is_silent = !solicitation.is_wildcard;
            if let Some(Phase::Asking) = self.handover.as_ref().map(|h| &h.phase) {
                self.fail(now, Failure::NoPrrtadv);
            }
            return;
        }
        // RTS-04, RTS-05: a wildcard stands alone.
        let access_points = match solicitation.is_wildcard {
            true => Vec::new(),
            false => self.neighborhood.wanted.iter().copied().collect(),
        };
        let router = match &self.elsewhere {
            None => self.origin.par,
            Some(_) => ALL_ROUTERS,
        };
        self.counters.sent_rtsolpr += 1;
        self.transmit(&Packet {
            source: self.origin.pcoa,
            destination: router,
            hop_limit: 255, // RTS-01
            home_address: None,
            message: Message::RtSolPr(RtSolPr {
                identifier: solicitation.identifier, // RTS-02
                source_lla: Some(self.config.lla),   // RTS-03
                access_points,
                unknown: Vec::new(),
            }),
        });
        let solicited = &mut self.neighborhood.solicited;
        solicited.push_back(now);
        while solicited.len() > self.config.timers.max_rtsolpr_rate.max(1) as usize {
            solicited.pop_front();
        }

        // RTS-06, RTS-07.
        solicitation.sends_left -= 1;
        let due = now + solicitation.timeout;
        solicitation.due = match solicitation.sends_left {
            0 => due,
            _ => self.earliest_rtsolpr(due),
        };
        solicitation.timeout = solicitation.timeout.saturating_mul(2);
        self.neighborhood.solicitation = Some(solicitation);
    }

    pub(super) fn handle_prrtadv(&mut self, now: Instant, packet: &Packet, message: &PrRtAdv) {
        self.counters.received_prrtadv += 1;
        // PRA-01.
        if !packet.source.is_unicast_link_local() || !self.is_settled() || !self.link_up {
            return self.counters.count(Reason::Unexpected);
        }
        let asked = self
            .neighborhood
            .solicitation
            .as_ref()
            .filter(|solicitation| solicitation.identifier == message.identifier);
        let was_wildcard = asked.map(|solicitation| solicitation.is_wildcard);
        let unsolicited = message.identifier == 0
            && matches!(
                message.code,
                PrRtAdvCode::HandoverTrigger | PrRtAdvCode::Neighborhood
            );
        if was_wildcard.is_none() && !unsolicited {
            return self.counters.count(Reason::Unmatched);
        }
        if let Some(lla) = message.source_lla {
            self.link_mut().router_lla = Some(lla);
        }
        let target = self.target();
        for tuple in &message.tuples {
            let knowledge = self.learn(message.code, tuple);
            self.neighborhood
                .remember(tuple.access_point, knowledge, target);
            self.neighborhood.wanted.remove(&tuple.access_point);
        }
        match was_wildcard {
            Some(true) => self.neighborhood.wants_all = false,
            // What the router passed over it does not know (PRA-09).
            Some(false) => {
                for access_point in std::mem::take(&mut self.neighborhood.wanted) {
                    self.neighborhood
                        .remember(access_point, Knowledge::Unknown, target);
                }
            }
            None => {}
        }
        if was_wildcard.is_some() {
            self.neighborhood.solicitation = None;
            if self.neighborhood.wants_all || !self.neighborhood.wanted.is_empty() {
                self.ask(now);
            }
        }
        self.go_on(now);
        // PRA-18: the network wants it to move.
        if unsolicited && message.code == PrRtAdvCode::HandoverTrigger {
            let known = |tuple: &&ApTuple| tuple.outcome == ApOutcome::Known;
            if let Some(tuple) = message.tuples.iter().find(known) {
                self.handle_trigger(now, tuple.access_point);
            }
        }
    }

    /// The network says where to go, and perhaps with which address.
    fn handle_trigger(&mut self, now: Instant, target: MacAddr) {
        let request = match self.handover.as_ref().map(|handover| &handover.phase) {
            Some(Phase::AwaitingFback(request)) if self.target() == Some(target) => request,
            _ => return self.handle_impend(now, target),
        };
        // PRA-19: another address than the one that was asked for.
        if let Some(Knowledge::Router(destination)) = self.neighborhood.knowledge(target)
            && destination.ncoa != request.care_of
        {
            self.set_phase(Phase::Asking);
            self.go_on(now);
        }
    }

    /// AMB-06: what counts is what is said about the access point, not about the message.
    fn learn(&self, code: PrRtAdvCode, tuple: &ApTuple) -> Knowledge {
        match (tuple.outcome, tuple.router) {
            (ApOutcome::Known, Some(router)) => {
                let own = router
                    .prefix
                    .address_from_iid(self.config.lla.modified_eui64());
                let mut destination = Destination {
                    router,
                    ncoa: own,
                    dhcp: code == PrRtAdvCode::Dhcp,
                };
                // PRA-19, PRA-21; but not one that belongs elsewhere.
                if let Some(given) = tuple.new_coa.filter(|&given| destination.can_have(given)) {
                    destination.ncoa = given;
                }
                Knowledge::Router(destination)
            }
            (ApOutcome::SameInterface, _) => Knowledge::SameInterface,
            (ApOutcome::NoFastHandover, _) => Knowledge::NoFastHandover,
            (ApOutcome::Known | ApOutcome::NoPrefix | ApOutcome::Other(_), _) => Knowledge::Unknown,
        }
    }
}
