//! Mobile nodes that are announced: which HIs are listened to, and what address each one gets.

use std::net::Ipv6Addr;

use tracing::debug;

use crate::wire::{HackCode, HandoverInitiate, HiCode};

use super::super::{
    AccessLink, Addressing, Event, Instant, Reason, Tunnel,
    nar::{self, Announcement, Grant, Handover, message},
    par,
};
use super::{AccessRouter, Arrival, pools::Applicant};

/// How many addresses that turn out to be others' are tried for one HI.
const MAX_ATTEMPTS: u8 = 3;

/// Why an HI is refused, and the code that says so.
type Refusal = (HackCode, Reason);

impl AccessRouter {
    /// RFC 5568 section 6.2.1.1. HI-18: every HI gets an answer.
    pub(super) fn handle_hi(&mut self, arrival: &Arrival<'_>, message: &HandoverInitiate) {
        self.counters.received_hi += 1;
        let to = (arrival.destination, arrival.source, message.sequence);
        match self.examine_hi(arrival, message) {
            Ok(announcement) => self.settle(arrival.now, announcement, None),
            Err(refusal) => self.refuse_hi(to, refusal),
        }
    }

    pub(super) fn refuse_hi(&mut self, to: (Ipv6Addr, Ipv6Addr, u16), (code, reason): Refusal) {
        let (local, peer, sequence) = to;
        debug!(?reason, %peer, "HI refused");
        self.counters.count(reason);
        self.counters.sent_hack += 1;
        let bytes = message::hack(local, peer, sequence, code, None);
        self.outbox.transmit(None, None, bytes);
        let refused = Event::HiRefused {
            reason,
            code: code.value(), // HAK-06
            source: peer,
        };
        self.outbox.event(None, refused);
    }

    /// Whether an HI is in order. What address its mobile node gets is not yet settled.
    fn examine_hi(
        &self,
        arrival: &Arrival<'_>,
        message: &HandoverInitiate,
    ) -> Result<Announcement, Refusal> {
        // SEC-06. A mobile node that borrows a neighbor's address does not get through either.
        let from_access = self.access_link(arrival.interface).is_some();
        if from_access || !self.neighborhood.is_peer(arrival.source) {
            return Err((HackCode::Prohibited, Reason::UnknownPeer));
        }
        let moved = match message.code {
            HiCode::PcoaSource => false,
            HiCode::OtherSource => true,
            HiCode::Other(_) => return Err((HackCode::Unspecified, Reason::Unsupported)),
        };
        // It is a message of Proxy Mobile IPv6 (EXT-02).
        if message.proxy || message.forward {
            return Err((HackCode::Unspecified, Reason::Unsupported));
        }
        let missing = (HackCode::Unspecified, Reason::OptionMissing);
        let lla = message.mn_lla.ok_or(missing)?; // HI-06
        let pcoa = message.pcoa.ok_or(missing)?; // HI-07
        if !self.neighborhood.may_announce(arrival.source, pcoa) {
            return Err((HackCode::Prohibited, Reason::PcoaOutsidePrefix));
        }
        let link = self.link_of_ncoa(message)?;
        if !link.takes(lla) {
            return Err((HackCode::Prohibited, Reason::UnknownLinkAddress));
        }
        Ok(Announcement {
            peer: arrival.source,
            local: arrival.destination,
            sequence: message.sequence,
            pcoa,
            ncoa: message.ncoa,
            lla,
            interface: link.interface,
            buffer: message.buffer,
            assign: message.assigned_address && !moved,
            moved,
            tunnel: Tunnel {
                local: arrival.destination,
                // TUN-02, AMB-20: it tunnels from its address on the link that is left, and may
                // write from another one.
                remote: self.neighborhood.tunnel_end(arrival.source, pcoa),
            },
            grant: Grant::Proposed(message.ncoa.unwrap_or(pcoa)),
            attempts: 0,
        })
    }

    /// The access link that a mobile node comes to.
    fn link_of_ncoa(&self, message: &HandoverInitiate) -> Result<&AccessLink, Refusal> {
        let Some(ncoa) = message.ncoa else {
            // Whoever has an address assigned need not propose one, if there is only one place
            // where it can be.
            return match &self.config.access[..] {
                [link] if link.assigns(message.assigned_address) => Ok(link),
                _ => Err((HackCode::Unspecified, Reason::NcoaMissing)),
            };
        };
        let code = match message.code {
            HiCode::PcoaSource => HackCode::NcoaInUse,
            _ => HackCode::Unspecified, // HAK-05
        };
        self.config
            .access
            .iter()
            .filter(|link| link.prefix.contains(ncoa))
            .max_by_key(|link| link.prefix.length())
            .ok_or((code, Reason::NcoaOutsidePrefix))
    }

    /// Gives the mobile node of `announcement` an address, and begins to expect it, or goes on.
    /// `taken` is an address that is known to be another node's.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        announcement: Announcement,
        taken: Option<Ipv6Addr>,
    ) {
        let to = announcement.answers_to();
        let grant = match self.grant(now, &announcement, taken) {
            Ok(grant) => grant,
            Err(refusal) => return self.refuse_hi(to, refusal),
        };
        let announcement = Announcement {
            grant,
            ..announcement
        };
        let address = grant.address();
        let standing = self.arriving.get(address).map(nar::Handover::announcement);
        let is_of_another = match standing {
            Some(standing) if standing.same_node(&announcement) => {
                return self.drive_nar(now, address, nar::Input::Announced(announcement));
            }
            Some(standing) => match self.may_take_over(standing, &announcement) {
                Ok(()) => true,
                Err(refusal) => return self.refuse_hi(to, refusal),
            },
            None => false,
        };
        // It is expected at one place only: elsewhere nothing is kept for it (MOV-06, SEC-07).
        let elsewhere = self.arriving.of_pcoa(announcement.pcoa);
        let elsewhere = elsewhere.filter(|of| of.is_awaited());
        let elsewhere = elsewhere.filter(|of| of.announcement().address() != address);
        if let Some(elsewhere) = elsewhere.map(|of| of.announcement().address()) {
            self.drive_nar(now, elsewhere, nar::Input::Withdrawn);
        }
        if is_of_another {
            return self.take_over(now, address, announcement);
        }
        self.newcomers.remove(address);
        // One that comes back has the place that it leaves.
        let returns = self.departing.contains(address);
        if !returns && self.has_no_room(&announcement) {
            return self.refuse_hi(to, (HackCode::Resources, Reason::Resources));
        }
        let own = announcement.ncoa.is_some_and(|ncoa| self.is_own(ncoa));
        let here = announcement.moved || own;
        let holds = match grant {
            Grant::Kept(_) => true,
            _ => announcement.buffer && !announcement.moved,
        };
        let leaves = self.departing.get(address);
        let inherits = leaves.is_some_and(|handover| handover.is_left_to(holds));
        self.drive_par(now, address, par::Input::Returning { inherits });
        self.stop_copying(address); // one address has one binding
        self.make_room(1);
        let (mut context, ..) = self.context(now);
        let handover = match grant {
            // NAACK 3 brought it to name our address: it is here.
            Grant::Kept(_) if here => Handover::receive(announcement, inherits, &mut context),
            // HI-17.
            _ if announcement.moved => Handover::confirm(announcement, inherits, &mut context),
            _ => Handover::expect(announcement, inherits, &mut context),
        };
        self.admit_nar(handover);
    }

    /// Whether `announcement` may take the place of one that another router made, or the same one of another
    /// address: the mobile node was announced from there and came from here (MOV-04).
    fn may_take_over(
        &self,
        standing: &Announcement,
        announcement: &Announcement,
    ) -> Result<(), Refusal> {
        let node = |of: &Announcement| (of.lla, of.interface);
        if node(standing) != node(announcement) {
            return Err(announcement.in_use());
        }
        let (peer, limits) = (announcement.peer, &self.config.limits);
        if peer != standing.peer && self.tally.peer_is_full(peer, limits) {
            return Err((HackCode::Resources, Reason::Resources));
        }
        Ok(())
    }

    /// Makes the handover of the mobile node with `address` that of another announcement. What is held for
    /// it goes on being held; but it counts for another router, and is found by another address.
    fn take_over(&mut self, now: Instant, address: Ipv6Addr, announcement: Announcement) {
        let Some(mut handover) = self.release_nar(address) else {
            return;
        };
        let (mut context, ..) = self.context(now);
        match handover.handle(nar::Input::Announced(announcement), &mut context) {
            nar::Next::Stays => self.admit_nar(handover),
            nar::Next::Ends => self.start_copying(address),
        }
    }

    /// SEC-07.
    fn has_no_room(&self, announcement: &Announcement) -> bool {
        let limits = &self.config.limits;
        self.is_full()
            || self.tally.peer_is_full(announcement.peer, limits)
            || self.tally.link_is_full(announcement.interface, limits)
    }

    /// Finds another address for the mobile node of `announcement`, whose one turned out to be
    /// another node's, or refuses it.
    pub(super) fn settle_anew(&mut self, now: Instant, announcement: Announcement) {
        let address = announcement.address();
        if let Grant::Assigned(_) = announcement.grant {
            let interface = announcement.interface;
            self.pools.is_taken(now, interface, address);
        }
        if announcement.attempts == MAX_ATTEMPTS {
            let to = announcement.answers_to();
            return self.refuse_hi(to, announcement.in_use());
        }
        let attempts = announcement.attempts + 1;
        let again = Announcement {
            attempts,
            ..announcement
        };
        self.settle(now, again, Some(address));
    }

    /// The address that the mobile node of `announcement` has here.
    fn grant(
        &mut self,
        now: Instant,
        announcement: &Announcement,
        taken: Option<Ipv6Addr>,
    ) -> Result<Grant, Refusal> {
        let Announcement {
            pcoa,
            ncoa,
            interface,
            moved,
            ..
        } = *announcement;
        let Some(link) = self.access_link(interface) else {
            return Err((HackCode::Unspecified, Reason::NcoaOutsidePrefix));
        };
        let (addressing, keeps) = (link.addressing, link.keeps_pcoa());
        let in_use = announcement.in_use();
        let free = |address| Some(address) != taken && self.is_free(now, address, announcement);
        let kept = || match free(pcoa) {
            true => Ok(Grant::Kept(pcoa)),
            false => Err(in_use),
        };
        let own = ncoa.is_some_and(|ncoa| self.is_own(ncoa));
        // HI-14, HI-18: what was said stays said.
        if taken.is_none()
            && let Some(before) = self.arriving.of_pcoa(pcoa)
            && before.announcement().same_node(announcement)
        {
            let grant = before.announcement().grant;
            let keeps = grant == Grant::Kept(pcoa);
            let is_named = ncoa == Some(grant.address()) || keeps && own;
            // HAK-05: to Code 1 another address cannot be given, but the kept one can.
            let is_asked_again = before.announcement().ncoa == ncoa && (!moved || keeps);
            if is_named || is_asked_again {
                return Ok(grant);
            }
        }
        if own {
            return match keeps {
                true => kept(),
                false => Err(in_use),
            };
        }
        let leased = ncoa.and_then(|ncoa| self.pools.owner(now, interface, ncoa));
        let leased = leased == Some(Some(announcement.lla));
        match (addressing, ncoa) {
            // HI-17: it uses the address already; the question is whether that is its own.
            (Addressing::Assigned { .. }, Some(ncoa)) if moved => {
                if !leased {
                    return Err(in_use);
                }
                self.pools.renew(now, interface, ncoa);
                Ok(Grant::Proposed(ncoa))
            }
            (_, Some(ncoa)) if moved => match free(ncoa) {
                true => Ok(Grant::Proposed(ncoa)),
                false => Err(in_use),
            },
            (Addressing::KeepPcoa, _) => kept(), // HI-16
            (Addressing::Assigned { .. }, _) => {
                let applicant = Applicant {
                    interface,
                    lla: announcement.lla,
                    wanted: ncoa, // HI-15
                    trial: None,
                };
                let assigned = self.assign(now, applicant, |router, address| {
                    Some(address) != taken && router.is_free(now, address, announcement)
                });
                let assigned = assigned.map(Grant::Assigned);
                assigned.ok_or((HackCode::Resources, Reason::Resources))
            }
            (Addressing::Stateless, Some(ncoa)) => {
                if free(ncoa) {
                    return Ok(match announcement.assign {
                        true => Grant::Assigned(ncoa), // HI-15, HAK-03: the proposed one
                        false => Grant::Proposed(ncoa),
                    });
                }
                match keeps {
                    true => kept(),
                    false => Err(in_use),
                }
            }
            (Addressing::Stateless, None) => Err((HackCode::Unspecified, Reason::NcoaMissing)),
        }
    }

    /// The address of its link's pool that `applicant` has or gets.
    pub(super) fn assign(
        &mut self,
        now: Instant,
        applicant: Applicant,
        usable: impl Fn(&Self, Ipv6Addr) -> bool,
    ) -> Option<Ipv6Addr> {
        let link = self.access_link(applicant.interface)?;
        let Addressing::Assigned { pool } = link.addressing else {
            return None;
        };
        // It knows itself whose its addresses are.
        let mut pools = std::mem::take(&mut self.pools);
        let address = pools.assign(now, pool, applicant, &|address| usable(self, address));
        self.pools = pools;
        address
    }

    /// HI-12, HI-14: whether `address` is not known to be another node's than this one.
    fn is_free(&self, now: Instant, address: Ipv6Addr, announcement: &Announcement) -> bool {
        if let Some(handover) = self.arriving.get(address)
            && !handover.announcement().same_node(announcement)
        {
            return false;
        }
        // The address is that of a mobile node that left. Nobody else gets it, and no other
        // neighbor than the one that has that mobile node can say that it comes back.
        if let Some(handover) = self.departing.get(address)
            && !handover.is_of(announcement)
        {
            return false;
        }
        // Or of one that is on its link.
        if let Some(station) = self.stations.get(&address)
            && station.link_address() != announcement.lla
        {
            return false;
        }
        let of_node = |owner| owner == Some(announcement.lla);
        let newcomer = self.newcomers.owner(now, address);
        let leased = self.pools.owner(now, announcement.interface, address);
        !self.is_reserved(address)
            && newcomer.is_none_or(|owner| of_node(Some(owner)))
            && leased.is_none_or(of_node)
    }
}
