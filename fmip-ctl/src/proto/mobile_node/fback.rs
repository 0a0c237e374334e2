//! FBack: what became of an FBU (RFC 5568 section 6.2.3).

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;

use crate::wire::{FastBindingAck, FastBindingStatus, Packet};

use super::{
    super::{
        SEQUENCE_OUT_OF_WINDOW,
        auth::{self, Addresses},
    },
    Event, Failure, Instant, MobileNode, Phase, Reason,
    handover::{Drift, Request, Switch},
    place::Destination,
};

impl MobileNode {
    /// On either link: there are two copies, and the one for the new address may be late (FBA-03).
    pub(super) fn handle_fback(
        &mut self,
        now: Instant,
        packet: &Packet,
        message: &FastBindingAck,
        bytes: &Bytes,
    ) {
        self.counters.received_fback += 1;
        if self.handle_ending_fback(now, packet, message, bytes) {
            return;
        }
        if packet.source != self.origin.par {
            let is_past = self.past.iter().any(|past| past.par == packet.source);
            return self.counters.count(match is_past {
                true => Reason::Duplicate,
                false => Reason::Unexpected,
            });
        }
        if let Some(farewell) = self.farewell.clone() {
            return self.handle_farewell_fback(now, &farewell, message, bytes);
        }
        let request = match self.handover.as_ref().map(|handover| &handover.phase) {
            Some(
                Phase::AwaitingFback(request)
                | Phase::Adrift(Drift {
                    request: Some(request),
                    ..
                }),
            ) => request.clone(),
            Some(Phase::Switching(_)) => return self.counters.count(Reason::Duplicate),
            // It settled with its previous address, and this is the other copy.
            None if self.elsewhere.is_some() => return self.counters.count(Reason::Duplicate),
            _ => return self.counters.count(Reason::Unmatched),
        };
        // FBA-09: any of the FBUs of this exchange; they ask for the same.
        let lost_count = message.status == SEQUENCE_OUT_OF_WINDOW;
        if !lost_count && !self.was_sent(message.sequence, request.first_sequence) {
            return self.counters.count(Reason::StaleSequence);
        }
        // AMB-16.
        let registered = match message.status {
            FastBindingStatus::NcoaInvalid => message.alternate_coa.unwrap_or(request.care_of),
            _ => request.care_of,
        };
        if let Err(reason) = self.authenticate(message, bytes, registered) {
            return self.counters.count(reason);
        }

        let status = message.status.value();
        self.outbox.event(None, Event::FbackReceived { status });
        if lost_count {
            self.sequence = message.sequence;
            if !self.link_up {
                return;
            }
            // It is a retransmission like any other, but with the right number: a replayed FBack
            // must not make this go on for ever.
            let first_sequence = self.sequence.wrapping_add(1);
            return self.repeat_fbu(
                now,
                Request {
                    first_sequence,
                    ..request
                },
            );
        }
        self.conclude(now, &request, message, registered);
    }

    /// Acts on an authentic FBack.
    fn conclude(
        &mut self,
        now: Instant,
        request: &Request,
        message: &FastBindingAck,
        registered: Ipv6Addr,
    ) {
        let Destination { ncoa, dhcp, .. } = request.destination;
        let usable = match message.status {
            FastBindingStatus::Accepted => true,
            // FBA-07, AMB-18: an address of that link, or the one it has.
            FastBindingStatus::NcoaInvalid => {
                message.alternate_coa.is_some()
                    && (registered == self.origin.pcoa || request.destination.can_have(registered))
            }
            _ => false,
        };
        if message.status.value() >= 128 && request.is_only {
            self.origin.redirected = None; // nothing is in force
        }
        if !usable || message.lifetime == 0 {
            return match self.link_up {
                true => self.fail(now, Failure::Refused),
                // Where it comes up it may ask again.
                false => self.drift(now, None),
            };
        }
        let expires = now + Duration::from_secs(message.lifetime.into()); // FBA-11
        self.origin.redirected = self.origin.redirected.max(Some(expires));
        let is_own = registered == request.care_of && request.care_of == ncoa;
        let is_assigned = message.status == FastBindingStatus::NcoaInvalid;
        // PRA-23; NAACK 3: packets come to the router's address, and leave it for the link.
        let keeps_pcoa = dhcp || registered == self.origin.pcoa || !(is_own || is_assigned);
        let switch = Switch {
            destination: Destination {
                ncoa: if keeps_pcoa { ncoa } else { registered },
                ..request.destination
            },
            keeps_pcoa,
            expires,
        };
        match request.reactive {
            true if self.link_up => self.take_up(now, &switch, ncoa),
            // It is asked for again when the link is back.
            true => {}
            false => self.depart(now, switch),
        }
    }

    /// Whether an FBU with this number was sent since the one with the number `first`.
    pub(super) fn was_sent(&self, number: u16, first: u16) -> bool {
        number.wrapping_sub(first) <= self.sequence.wrapping_sub(first)
    }

    /// Whether the router that the FBU was for answers with this (FBA-09).
    pub(super) fn authenticate(
        &self,
        message: &FastBindingAck,
        bytes: &Bytes,
        care_of: Ipv6Addr,
    ) -> Result<(), Reason> {
        self.authenticate_by(self.origin.par, message, bytes, care_of)
    }

    /// The same of any router.
    pub(super) fn authenticate_by(
        &self,
        par: Ipv6Addr,
        message: &FastBindingAck,
        bytes: &Bytes,
        care_of: Ipv6Addr,
    ) -> Result<(), Reason> {
        let authorization = message
            .authorization
            .as_ref()
            .ok_or(Reason::AuthorizationMissing)?;
        let key = self.key_of(par);
        let key = key.filter(|key| key.spi == authorization.spi);
        let key = key.ok_or(Reason::UnknownKey)?;
        let addresses = Addresses { care_of, par };
        if !auth::verify(bytes, authorization, &key.key, addresses) {
            return Err(Reason::BadAuthenticator);
        }
        Ok(())
    }
}
