//! RtSolPr and PrRtAdv: what lies behind access points (RFC 5568 sections 6.1.1 and 6.1.2).

use super::*;

impl MobileNode {
    /// Asks about an access point, together with the others that are asked about.
    pub(super) fn want(&mut self, now: Instant, access_point: MacAddr) {
        if self.router_silent || self.wanted.contains(&access_point) {
            return;
        }
        if self.wanted.len() >= MAX_WANTED {
            // The one that a handover waits for has precedence over those that are only in reach.
            let target = self.handover.as_ref().map(|handover| handover.target);
            if target != Some(access_point) {
                return;
            }
            self.wanted.pop_last();
        }
        self.wanted.insert(access_point);
        self.identifier = self.identifier.wrapping_add(1).max(1); // 0: unsolicited (PRA-02)
        self.solicitation = Some(Solicitation {
            identifier: self.identifier,
            sends_left: self.config.timers.rtsolpr_retries.saturating_add(1),
            timeout: self.config.timers.initial_timeout,
            due: self.earliest_rtsolpr(now),
        });
        if self.poll_timeout() == Some(now) {
            self.solicit(now);
        }
    }

    /// RTS-08: the first moment from `at` on at which an RtSolPr does not break the rate. Where it
    /// is later than the back-off says, the rate wins (AMB-15).
    pub(super) fn earliest_rtsolpr(&self, at: Instant) -> Instant {
        let rate = self.config.timers.max_rtsolpr_rate.max(1) as usize;
        match self.solicited.len().checked_sub(rate) {
            Some(index) => at.max(self.solicited[index] + Duration::from_secs(1)),
            None => at,
        }
    }

    /// Sends the RtSolPr that is due, or gives up.
    pub(super) fn solicit(&mut self, now: Instant) {
        let Some(mut solicitation) = self.solicitation.take() else {
            return;
        };
        if solicitation.sends_left == 0 {
            // RTS-09.
            self.router_silent = true;
            self.wanted.clear();
            if let Some(Phase::Asking) = self.handover.as_ref().map(|h| &h.phase) {
                self.fail(Failure::NoPrrtadv);
            }
            return;
        }
        let packet = Packet {
            source: self.config.pcoa,
            destination: self.config.par,
            hop_limit: 255, // RTS-01
            home_address: None,
            message: Message::RtSolPr(RtSolPr {
                identifier: solicitation.identifier,                  // RTS-02
                source_lla: Some(self.config.lla),                    // RTS-03
                access_points: self.wanted.iter().copied().collect(), // RTS-04
                unknown: Vec::new(),
            }),
        };
        let interface = Some(self.config.interface);
        self.counters.sent_rtsolpr += 1;
        self.outbox.transmit(None, interface, packet.encode());
        self.solicited.push_back(now);
        while self.solicited.len() > self.config.timers.max_rtsolpr_rate.max(1) as usize {
            self.solicited.pop_front();
        }

        // RTS-06, RTS-07.
        solicitation.sends_left -= 1;
        let due = now + solicitation.timeout;
        solicitation.due = match solicitation.sends_left {
            0 => due,
            _ => self.earliest_rtsolpr(due),
        };
        solicitation.timeout = solicitation.timeout.saturating_mul(2);
        self.solicitation = Some(solicitation);
    }

    pub(super) fn handle_prrtadv(&mut self, now: Instant, packet: &Packet, message: &PrRtAdv) {
        self.counters.received_prrtadv += 1;
        // PRA-01.
        if !packet.source.is_unicast_link_local() || !self.at_previous_router {
            return self.counters.count(Reason::Unexpected);
        }
        let asked = self
            .solicitation
            .as_ref()
            .is_some_and(|solicitation| solicitation.identifier == message.identifier);
        let unsolicited = message.identifier == 0
            && matches!(
                message.code,
                PrRtAdvCode::HandoverTrigger | PrRtAdvCode::Neighborhood
            );
        if !asked && !unsolicited {
            return self.counters.count(Reason::Unmatched);
        }
        for tuple in &message.tuples {
            let knowledge = self.learn(message.code, tuple);
            self.remember(tuple.access_point, knowledge);
        }
        if asked {
            self.solicitation = None;
            // What the router passed over it does not know (PRA-09).
            for access_point in std::mem::take(&mut self.wanted) {
                if !self.known.contains_key(&access_point) {
                    self.remember(access_point, Knowledge::Unknown);
                }
            }
        }
        self.go_on(now);
        // PRA-18: the network wants it to move.
        if unsolicited && message.code == PrRtAdvCode::HandoverTrigger {
            let known = |tuple: &&ApTuple| tuple.outcome == ApOutcome::Known;
            if let Some(tuple) = message.tuples.iter().find(known) {
                self.handle_impend(now, tuple.access_point);
            }
        }
    }

    /// AMB-06: what counts is what is said about the access point, not about the message.
    pub(super) fn learn(&self, code: PrRtAdvCode, tuple: &ApTuple) -> Knowledge {
        match (tuple.outcome, tuple.router) {
            // PRA-22: an address by DHCP, and packets for the PCoA alone: not done so far.
            (ApOutcome::Known, Some(_)) if code == PrRtAdvCode::Dhcp => Knowledge::NoFastHandover,
            (ApOutcome::Known, Some(router)) => {
                let own = router
                    .prefix
                    .address_from_iid(self.config.lla.modified_eui64());
                // PRA-19, PRA-21; but not one that belongs elsewhere.
                let given = tuple.new_coa.filter(|&ncoa| router.prefix.contains(ncoa));
                Knowledge::Router(Destination {
                    router,
                    ncoa: given.unwrap_or(own),
                })
            }
            (ApOutcome::SameInterface, _) => Knowledge::SameInterface,
            (ApOutcome::NoFastHandover, _) => Knowledge::NoFastHandover,
            (ApOutcome::Known | ApOutcome::NoPrefix | ApOutcome::Other(_), _) => Knowledge::Unknown,
        }
    }

    pub(super) fn remember(&mut self, access_point: MacAddr, knowledge: Knowledge) {
        let is_new = !self.known.contains_key(&access_point);
        if is_new && self.known.len() >= MAX_KNOWN {
            // The target of a handover stays; any other is asked for again when it is needed.
            let target = self.handover.as_ref().map(|handover| handover.target);
            let victim = self.known.keys().find(|&&key| Some(key) != target).copied();
            self.known
                .remove(&victim.expect("more than one is known, and one is the target"));
        }
        self.known.insert(access_point, knowledge);
    }
}
