//! NAACK: the router answers an announcement (RFC 5568 section 6.4.6).

use crate::wire::{MacAddr, Naack, NaackStatus, Packet};

use super::{
    Announced, Elsewhere, Event, Failure, Instant, Link, MobileNode, Reason, handover::Switch,
};

/// How often a router can refuse an address: one that refuses more has none.
pub(super) const MAX_REFUSALS: usize = 3;

impl MobileNode {
    pub(super) fn handle_naack(
        &mut self,
        now: Instant,
        link_source: MacAddr,
        packet: &Packet,
        naack: &Naack,
    ) {
        // Only the router just announced to may answer, and only the address announced (NAK-03).
        let answers = |announced: &Announced| {
            now <= announced.until
                && packet.destination == announced.ncoa
                && link_source == announced.destination.router.lla
        };
        // The kernel's finding and the router's answer are about the same address, and come in any
        // order. Once it has settled, the router has agreed to another address since.
        let given_up = self.given_up.as_ref().filter(|_| !self.is_settled());
        let mut answered = self.announced.iter().chain(given_up);
        let answered = answered.find(|announced| answers(announced)).cloned();
        let Some(announced) = answered else {
            return self.counters.count(Reason::Unexpected);
        };
        let pcoa = match self.origin.pcoa == announced.ncoa {
            true => self.past.last().map(|past| past.pcoa),
            false => Some(self.origin.pcoa),
        };
        match (naack.status, naack.ncoa) {
            (NaackStatus::UsePcoa, _) => self.keep_pcoa(now, &announced), // NAK-06
            (NaackStatus::UseSupplied, ncoa) if ncoa == pcoa => self.keep_pcoa(now, &announced),
            // NAK-05.
            (NaackStatus::UseSupplied, Some(ncoa)) if announced.destination.can_have(ncoa) => {
                if !self.go_back(now, &announced) {
                    return;
                }
                let mut destination = announced.destination;
                destination.ncoa = ncoa;
                self.expect_tunnel(ncoa);
                self.announce(now, &destination, ncoa);
                self.configure(&destination);
                self.ask_from_here(now, destination, ncoa, None);
            }
            // NAK-07.
            (NaackStatus::UseRouterAddress, _) => {
                if !self.go_back(now, &announced) {
                    return;
                }
                let router = self.global_address(&announced.destination);
                self.ask_from_here(now, announced.destination, router, None);
            }
            // NAK-07, NAK-08.
            (NaackStatus::ConfigureAddress | NaackStatus::LinkAddressUnrecognized, _) => {
                // What it says is under way already if the kernel was faster.
                if !self.has_given_up(&announced) {
                    self.refuse(now, &announced);
                }
            }
            _ => self.counters.count(Reason::Unexpected),
        }
    }

    /// The address is not to be used: acquires another one at once.
    fn refuse(&mut self, now: Instant, announced: &Announced) {
        if self.go_back(now, announced) {
            self.discover(now, false);
        }
    }

    /// The kernel found the address in use: acquires another one at once, unless the router says
    /// something better in the time that it has for its answer. To wait for that first would delay
    /// every node whose router says nothing.
    pub(super) fn give_up(&mut self, now: Instant, announced: Announced) {
        self.refuse(now, &announced);
        self.given_up = self.handover.is_some().then_some(announced);
    }

    fn has_given_up(&self, announced: &Announced) -> bool {
        let given_up = self.given_up.as_ref();
        given_up.is_some_and(|given_up| given_up.ncoa == announced.ncoa)
    }

    /// Goes on using the previous address here, and sends no FBU any more.
    fn keep_pcoa(&mut self, now: Instant, announced: &Announced) {
        if !self.go_back(now, announced) {
            return;
        }
        let switch = Switch {
            destination: announced.destination,
            keeps_pcoa: true,
            expires: now + self.patience(),
        };
        self.take_up(now, &switch, announced.ncoa);
    }

    /// Takes back what the arrival made of the address that was announced, and of another that it
    /// has begun to use instead: it is the previous one again that matters, and what is sent from it
    /// waits. Whether there is any sense in trying on.
    fn go_back(&mut self, now: Instant, announced: &Announced) -> bool {
        self.announcing = None;
        self.announced = None;
        self.handover = None;
        if self.elsewhere.is_none()
            && self.origin.pcoa == announced.ncoa
            && let Some(last) = self.past.pop()
        {
            self.remove_uplink(announced.ncoa);
            self.neighborhood.clear();
            self.origin = last;
        }
        self.elsewhere = Some(Elsewhere {
            link: Link::behind(&announced.destination, self.access_point),
            keeps_pcoa: false,
        });
        self.hold_uplinks(now);
        self.abandon_address(announced.ncoa);
        if !self.has_given_up(announced) {
            self.refused.push(announced.ncoa);
        }
        self.given_up = None;
        if self.refused.len() <= MAX_REFUSALS {
            return true;
        }
        let reason = Failure::Refused;
        self.outbox.event(None, Event::HandoverFailed { reason });
        self.be_lost();
        false
    }
}
