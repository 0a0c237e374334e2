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
    /// Questions that another took the place of before they were answered, the newest last: their
    /// answers are as good.
    superseded: VecDeque<Question>,
    /// When the last RtSolPrs were sent, as many as may be in a second (RTS-08).
    solicited: VecDeque<Instant>,
    /// Since the router did not answer RtSolPrs (RTS-09).
    silence: Option<Silence>,
}

/// A router that did not answer RTSOLPR_RETRIES retransmissions is taken for one that does not know
/// fast handovers, and no more RtSolPrs are sent (RFC 5568 section 5.1). But the node has a key of it,
/// so it does, and was only not ready. After some time that is doubted, by a single RtSolPr; without
/// an answer to that it is believed for twice as long.
#[derive(Copy, Clone, Debug)]
struct Silence {
    /// When the router was asked last.
    asked: Instant,
    /// How long that is believed since; `None`: on this link for ever.
    patience: Option<Duration>,
}

/// How many times the first wait the longest is.
const MAX_PATIENCE: u32 = 16;

/// How many questions are remembered that another took the place of. An answer takes milliseconds,
/// in which only as many can be asked as the rate allows.
const MAX_SUPERSEDED: usize = 4;

/// RtSolPrs that wait for a PrRtAdv, one at a time: what is wanted while the answer is on its way is
/// asked for when it is there, all at once. Only a handover does not wait.
#[derive(Clone, Debug)]
struct Solicitation {
    /// What was asked last; `None`: what is wanted when it is due.
    question: Option<Question>,
    /// How often it may still be sent.
    sends_left: u32,
    /// The wait after the next one.
    timeout: Duration,
    /// When to send the next, or to give up.
    due: Instant,
}

/// What an RtSolPr asked.
#[derive(Clone, Debug)]
struct Question {
    identifier: u16,
    /// About which access points; none: about all (RTS-04).
    about: BTreeSet<MacAddr>,
}

impl Question {
    fn is_wildcard(&self) -> bool {
        self.about.is_empty()
    }
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
            superseded: VecDeque::new(),
            solicited: VecDeque::new(),
            silence: None,
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
        self.silence.is_some()
    }

    /// When a silent router is asked next.
    pub(super) fn doubt(&self) -> Option<Instant> {
        let silence = self.silence?;
        silence.patience.map(|patience| silence.asked + patience)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.solicitation.as_ref().map(|of| of.due)
    }

    /// Forgets all but when it asked: the rate holds across links.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.revision += 1;
        self.stop_asking();
        self.silence = None;
    }

    pub(super) fn stop_asking(&mut self) {
        self.wanted.clear();
        self.wants_all = false;
        self.solicitation = None;
        self.superseded.clear();
    }

    fn wants_something(&self) -> bool {
        self.wants_all || !self.wanted.is_empty()
    }

    /// Whether the answer to this question would tell what is still wanted.
    fn needs(&self, question: &Question) -> bool {
        match question.is_wildcard() {
            true => self.wants_all,
            false => question.about.iter().any(|of| self.wanted.contains(of)),
        }
    }

    /// Whether something is being asked whose answer is still needed, or will be as soon as it may.
    fn is_asking(&self) -> bool {
        self.solicitation
            .as_ref()
            .is_some_and(|solicitation| match &solicitation.question {
                Some(question) => self.needs(question),
                None => self.wants_something(),
            })
    }

    /// Whether this access point, which is wanted, is one of those that are being asked about.
    fn asks_about(&self, access_point: MacAddr) -> bool {
        self.solicitation.as_ref().is_some_and(|solicitation| {
            let question = solicitation.question.as_ref();
            question.is_none_or(|question| question.about.contains(&access_point))
        })
    }

    /// Another question takes the place of this one.
    fn supersede(&mut self, question: Question) {
        self.superseded.push_back(question);
        if self.superseded.len() > MAX_SUPERSEDED {
            self.superseded.pop_front();
        }
    }

    /// Takes the question out that has this identifier, for it is answered.
    fn take_answered(&mut self, identifier: u16) -> Option<Question> {
        let is_it = |question: &Question| question.identifier == identifier;
        let last = self.solicitation.take_if(|solicitation| {
            let question = solicitation.question.as_ref();
            question.is_some_and(is_it)
        });
        if let Some(last) = last {
            self.superseded.clear();
            return last.question;
        }
        let index = self.superseded.iter().position(is_it)?;
        self.superseded.remove(index)
    }

    /// A question about what is wanted now; about all, if it is nothing in particular: a handover
    /// needs its one answer, and soon.
    fn next_question(&mut self) -> Question {
        self.identifier = self.identifier.wrapping_add(1).max(1); // 0: PRA-02
        Question {
            identifier: self.identifier,
            about: self.wanted.clone(),
        }
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
        let is_target = self.target() == Some(access_point);
        self.miss_router();
        let neighborhood = &mut self.neighborhood;
        if neighborhood.is_silent() {
            return;
        }
        if !neighborhood.wanted.contains(&access_point) {
            if neighborhood.wanted.len() >= MAX_WANTED {
                // The one that a handover waits for has precedence over those that are only in reach;
                // those are asked for all at once.
                if !is_target {
                    return self.want_all(now);
                }
                neighborhood.wanted.pop_last();
            }
            neighborhood.wanted.insert(access_point);
        }
        match is_target && !neighborhood.asks_about(access_point) {
            true => self.ask(now),
            false => self.ask_for_the_rest(now),
        }
    }

    /// Asks for all that the router knows.
    pub(super) fn want_all(&mut self, now: Instant) {
        if !self.neighborhood.is_silent() && !self.neighborhood.wants_all {
            self.neighborhood.wants_all = true;
            self.ask_for_the_rest(now);
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
        (self.config.neighborhood_interval.is_some() && self.may_look())
            .then_some(self.next_look)
            .flatten()
    }

    /// Whether there is nothing better to do than to ask a router that may hand it over.
    fn may_look(&self) -> bool {
        self.link_up && self.handover.is_none() && self.is_settled() && self.key().is_some()
    }

    /// When to ask a silent router again, unless there is something better to do.
    pub(super) fn doubt_deadline(&self) -> Option<Instant> {
        let doubt = self.neighborhood.doubt();
        doubt.filter(|_| self.may_look())
    }

    /// Asks a silent router once for all that it knows: no handover is to wait for it again.
    pub(super) fn doubt_silence(&mut self, now: Instant) {
        let longest = (self.config.silent_router_interval)
            .map(|interval| interval.saturating_mul(MAX_PATIENCE));
        let Some(silence) = &mut self.neighborhood.silence else {
            return;
        };
        silence.asked = now;
        let twice = silence.patience.map(|patience| patience.saturating_mul(2));
        silence.patience = twice.min(longest);
        // As long as the last RtSolPr of all would be waited for.
        let timers = &self.config.timers;
        let doublings = 2_u32.saturating_pow(timers.rtsolpr_retries);
        let timeout = timers.initial_timeout.saturating_mul(doublings);
        self.neighborhood.wants_all = true;
        self.ask_so_often(now, 1, timeout);
    }

    /// A silent router would be needed now: it is asked again as soon as it may be.
    pub(super) fn miss_router(&mut self) {
        if let Some(silence) = &mut self.neighborhood.silence {
            silence.patience = self.config.silent_router_interval;
        }
    }

    /// Asks for what is still wanted, unless an answer is on its way.
    fn ask_for_the_rest(&mut self, now: Instant) {
        if self.neighborhood.wants_something() && !self.neighborhood.is_asking() {
            self.ask(now);
        }
    }

    /// Begins to ask for what is wanted now.
    fn ask(&mut self, now: Instant) {
        let timers = &self.config.timers;
        let sends = timers.rtsolpr_retries.saturating_add(1);
        self.ask_so_often(now, sends, timers.initial_timeout);
    }

    fn ask_so_often(&mut self, now: Instant, sends: u32, timeout: Duration) {
        let due = self.earliest_rtsolpr(now);
        let neighborhood = &mut self.neighborhood;
        let before = neighborhood.solicitation.replace(Solicitation {
            question: None,
            sends_left: sends,
            timeout,
            due,
        });
        if let Some(question) = before.and_then(|before| before.question) {
            neighborhood.supersede(question);
        }
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
        let neighborhood = &mut self.neighborhood;
        let last = solicitation.question.take();
        let is_needed = match &last {
            Some(last) => neighborhood.needs(last),
            None => neighborhood.wants_something(),
        };
        if !is_needed {
            // The router told it otherwise.
            neighborhood.superseded.clear();
            return self.ask_for_the_rest(now);
        }
        if let Some(last) = last.as_ref().filter(|last| last.is_wildcard())
            && !neighborhood.wanted.is_empty()
        {
            // What has come up meanwhile is asked for by name before all is asked for again, and is
            // not the last that is asked for.
            neighborhood.wants_all &= solicitation.sends_left > 0;
            neighborhood.supersede(last.clone());
            return self.ask(now);
        }
        if solicitation.sends_left == 0 {
            neighborhood.stop_asking();
            // RTS-09. A look around that came to nothing, perhaps long ago, proves nothing for the
            // question that a handover asks.
            if last.is_some_and(|last| !last.is_wildcard()) {
                neighborhood.silence = Some(Silence {
                    asked: now,
                    patience: self.config.silent_router_interval,
                });
            }
            if let Some(Phase::Asking) = self.handover.as_ref().map(|h| &h.phase) {
                self.fail(now, Failure::NoPrrtadv);
            }
            return;
        }
        // What came up since it was sent is asked for, too; and that is another question, or the
        // answer to the first could not be told from one that passes over the rest (PRA-09).
        let question = match last {
            Some(last) if neighborhood.wanted.is_subset(&last.about) => last,
            Some(last) => {
                neighborhood.supersede(last);
                neighborhood.next_question()
            }
            None => neighborhood.next_question(),
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
                identifier: question.identifier,   // RTS-02
                source_lla: Some(self.config.lla), // RTS-03
                // RTS-04, RTS-05: a wildcard stands alone.
                access_points: question.about.iter().copied().collect(),
                unknown: Vec::new(),
            }),
        });
        let solicited = &mut self.neighborhood.solicited;
        solicited.push_back(now);
        while solicited.len() > self.config.timers.max_rtsolpr_rate.max(1) as usize {
            solicited.pop_front();
        }

        // RTS-06, RTS-07.
        solicitation.question = Some(question);
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
        let answered = self.neighborhood.take_answered(message.identifier);
        let unsolicited = message.identifier == 0
            && matches!(
                message.code,
                PrRtAdvCode::HandoverTrigger | PrRtAdvCode::Neighborhood
            );
        if answered.is_none() && !unsolicited {
            return self.counters.count(Reason::Unmatched);
        }
        self.neighborhood.silence = None;
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
        match answered {
            Some(question) if question.is_wildcard() => self.neighborhood.wants_all = false,
            // What the router passed over of that which it was asked about, it does not know (PRA-09).
            Some(question) => {
                for access_point in question.about {
                    if self.neighborhood.wanted.remove(&access_point) {
                        self.neighborhood
                            .remember(access_point, Knowledge::Unknown, target);
                    }
                }
            }
            None => {}
        }
        self.ask_for_the_rest(now);
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
