//! Mobile nodes that come: which HIs and UNAs are listened to.

use tracing::debug;

use crate::wire::{HackCode, HandoverInitiate, HiCode, NeighborAdvertisement};

use super::super::{
    Event, Reason,
    nar::{self, Announcement},
    par,
};
use super::{AccessRouter, Arrival, HandoverId};

impl AccessRouter {
    /// RFC 5568 section 6.2.1.1. HI-18: every HI gets an answer.
    pub(super) fn handle_hi(&mut self, arrival: &Arrival<'_>, message: &HandoverInitiate) {
        self.counters.received_hi += 1;
        let (code, reason) = match self.examine_hi(arrival, message) {
            Ok(announcement) => {
                let ncoa = announcement.ncoa;
                if self.arriving.contains_key(&ncoa) {
                    let input = nar::Input::Announced(announcement);
                    return self.drive_nar(arrival.now, ncoa, input);
                }
                // One address has one binding: the way back ends the way there.
                self.drive_par(arrival.now, ncoa, par::Input::Returning);
                let (mut context, _, arriving) = self.context(arrival.now);
                let handover = nar::Handover::begin(announcement, &mut context);
                let deadline = handover.deadline();
                arriving.insert(ncoa, handover);
                return self.deadlines.set(HandoverId::Nar(ncoa), Some(deadline));
            }
            Err(refusal) => refusal,
        };
        debug!(?reason, source = %arrival.source, "HI refused");
        self.counters.count(reason);
        self.counters.sent_hack += 1;
        let bytes = nar::hack(arrival.destination, arrival.source, message.sequence, code);
        self.outbox.transmit(None, None, bytes);
        let refused = Event::HiRefused {
            reason,
            code: code.value(), // HAK-06
            source: arrival.source,
        };
        self.outbox.event(None, refused);
    }

    fn examine_hi(
        &self,
        arrival: &Arrival<'_>,
        message: &HandoverInitiate,
    ) -> Result<Announcement, (HackCode, Reason)> {
        // SEC-06. A mobile node that borrows a neighbor's address does not get through either.
        let from_access = self.access_link(arrival.interface).is_some();
        if from_access || !self.neighborhood.is_peer(arrival.source) {
            return Err((HackCode::Prohibited, Reason::UnknownPeer));
        }
        // Code 1 is for mobile nodes that have moved already, 'S' for addresses that we assign:
        // neither is offered so far. Of other codes we know nothing, and 'P' and 'F' make it a
        // message of Proxy Mobile IPv6 (EXT-02).
        let foreign = message.proxy || message.forward;
        if message.code != HiCode::PcoaSource || message.assigned_address || foreign {
            return Err((HackCode::Unspecified, Reason::Unsupported));
        }
        let missing = (HackCode::Unspecified, Reason::OptionMissing);
        let lla = message.mn_lla.ok_or(missing)?; // HI-06
        let pcoa = message.pcoa.ok_or(missing)?; // HI-07
        if !self.neighborhood.may_announce(arrival.source, pcoa) {
            return Err((HackCode::Prohibited, Reason::PcoaOutsidePrefix));
        }
        let ncoa = message
            .ncoa
            .ok_or((HackCode::Unspecified, Reason::NcoaMissing))?;
        let link = self
            .config
            .access
            .iter()
            .filter(|link| link.prefix.contains(ncoa))
            .max_by_key(|link| link.prefix.length())
            .ok_or((HackCode::NcoaInUse, Reason::NcoaOutsidePrefix))?;
        // Our own, and the subnet-router anycast address (RFC 4291 section 2.6.1).
        if ncoa == link.address || ncoa == link.prefix.address() {
            return Err((HackCode::NcoaInUse, Reason::NcoaInUse));
        }
        let announcement = Announcement {
            peer: arrival.source,
            local: arrival.destination,
            sequence: message.sequence,
            pcoa,
            ncoa,
            lla,
            interface: link.interface,
            buffer: message.buffer,
        };
        match self.arriving.get(&ncoa) {
            // HI-12, HI-14.
            Some(handover) if !handover.is_of(&announcement) => {
                Err((HackCode::NcoaInUse, Reason::NcoaInUse))
            }
            Some(_) => Ok(announcement),
            // HI-12: the address is that of a mobile node that left. Nobody else gets it, and no
            // other neighbor than the one that has that mobile node can say that it comes back.
            None => match self.departing.get(ncoa) {
                Some(handover) if !handover.is_of(&announcement) => {
                    Err((HackCode::NcoaInUse, Reason::NcoaInUse))
                }
                // Its place becomes free.
                Some(_) => Ok(announcement),
                None if self.is_full() => Err((HackCode::Resources, Reason::Resources)),
                None => Ok(announcement),
            },
        }
    }

    /// RFC 5568 section 6.3.
    pub(super) fn handle_na(&mut self, arrival: &Arrival<'_>, message: &NeighborAdvertisement) {
        if message.router || message.solicited || message.override_ {
            // Ordinary neighbor discovery: the kernel's.
            self.counters.received_other_advertisement += 1;
            return;
        }
        self.counters.received_una += 1;
        let ncoa = message.target;
        if !self.arriving.contains_key(&ncoa) {
            return self.counters.count(Reason::NoHandover); // UNA-08
        }
        let link = self.access_link(arrival.interface);
        // UNA-02; and from the link that the address belongs to.
        if arrival.source != ncoa || !link.is_some_and(|link| link.prefix.contains(ncoa)) {
            return self.counters.count(Reason::Unexpected);
        }
        self.drive_nar(arrival.now, ncoa, nar::Input::Una(message.target_lla));
    }
}
