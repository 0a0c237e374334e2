//! Mobile nodes that leave: which FBUs and HAcks are listened to.

use std::{net::Ipv6Addr, time::Duration};

use tracing::debug;

use crate::wire::{FastBindingStatus, FastBindingUpdate, HandoverAck};

use super::super::{
    Event, HandoverKey, Reason, SEQUENCE_OUT_OF_WINDOW,
    auth::{self, Addresses},
    nar,
    par::{self, Acknowledgment, Answer, Request},
};
use super::{AccessRouter, Arrival, HandoverId};

/// A refused FBU, and the FBack that says so if it was authentic.
struct Refusal {
    reason: Reason,
    answer: Option<Objection>,
}

/// What the FBack to a refused FBU says.
struct Objection {
    status: FastBindingStatus,
    sequence: u16,
    key: HandoverKey,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            answer: None,
        }
    }
}

/// What an authentic FBU asks for.
enum Wish {
    Move(Request),
    End { pcoa: Ipv6Addr, key: HandoverKey },
}

impl AccessRouter {
    /// RFC 5568 section 6.2.2.
    pub(super) fn handle_fbu(&mut self, arrival: &Arrival<'_>, message: &FastBindingUpdate) {
        self.counters.received_fbu += 1;
        match self.examine_fbu(arrival, message) {
            Ok(Wish::Move(request)) => {
                let pcoa = request.pcoa;
                if self.leaving.contains_key(&pcoa) {
                    self.drive_par(arrival.now, pcoa, par::Input::Requested(request));
                } else {
                    let (mut context, leaving, _) = self.context(arrival.now);
                    let handover = par::Handover::begin(request, &mut context);
                    let deadline = handover.deadline();
                    leaving.insert(pcoa, handover);
                    self.deadlines.set(HandoverId::Par(pcoa), deadline);
                }
            }
            Ok(Wish::End { pcoa, key }) => {
                self.drive_par(arrival.now, pcoa, par::Input::Ended);
                let answer = Answer::refusal(FastBindingStatus::Accepted);
                self.acknowledge(arrival, message.sequence, pcoa, answer, &key);
            }
            Err(Refusal { reason, answer }) => {
                debug!(?reason, source = %arrival.source, "FBU refused");
                self.counters.count(reason);
                if let Some(Objection {
                    status,
                    sequence,
                    key,
                }) = answer
                {
                    let care_of = match message.lifetime {
                        0 => arrival.home_address, // AMB-17
                        _ => message.alternate_coa,
                    };
                    let care_of = care_of.unwrap_or(arrival.source);
                    let answer = Answer::refusal(status);
                    self.acknowledge(arrival, sequence, care_of, answer, &key);
                }
                let source = arrival.source;
                self.outbox
                    .event(None, Event::FbuRefused { reason, source });
            }
        }
    }

    /// Whether an FBU is genuine, and then what it asks for. Until it is known to be genuine it
    /// changes nothing and is not answered; after that its sequence number is spent.
    fn examine_fbu(
        &mut self,
        arrival: &Arrival<'_>,
        message: &FastBindingUpdate,
    ) -> Result<Wish, Refusal> {
        let pcoa = arrival.home_address.ok_or(Reason::HomeAddressMissing)?; // FBU-04
        if !(message.ack && message.home) {
            return Err(Reason::FlagsMissing.into()); // FBU-01
        }
        let authorization = message
            .authorization
            .as_ref()
            .ok_or(Reason::AuthorizationMissing)?; // FBU-05
        // SEC-08: the Home Address option itself is not signed, so the key must be that of the
        // address it names.
        let key = self
            .keys
            .get(&(pcoa, authorization.spi))
            .map(|&index| &self.config.mobile_nodes[index])
            .ok_or(Reason::UnknownKey)?;
        let ending = message.lifetime == 0;
        let care_of = if ending {
            pcoa // MOV-07, AMB-17
        } else {
            message.alternate_coa.unwrap_or(arrival.source)
        };
        let addresses = Addresses {
            care_of,
            par: arrival.destination,
        };
        if !auth::verify(arrival.bytes, authorization, &key.key, addresses) {
            return Err(Reason::BadAuthenticator.into()); // FBU-13
        }
        // FBU-10, FBU-16. A replayed FBU is genuine, but old. A mobile node that began to count
        // anew must hear the last number, or it is locked out for as long as the key lives.
        let last = self.fbu_sequences.get(&pcoa);
        if let Some(&last) = last.filter(|&&last| !is_newer(message.sequence, last)) {
            let objection = Objection {
                status: SEQUENCE_OUT_OF_WINDOW,
                sequence: last,
                key: key.clone(),
            };
            return Err(Refusal {
                reason: Reason::StaleSequence,
                answer: Some(objection),
            });
        }
        self.fbu_sequences.insert(pcoa, message.sequence);

        let refuse = |reason, status| Refusal {
            reason,
            answer: Some(Objection {
                status,
                sequence: message.sequence,
                key: key.clone(),
            }),
        };
        let link = self
            .config
            .access
            .iter()
            .find(|link| link.prefix.contains(pcoa))
            .ok_or_else(|| refuse(Reason::PcoaNotOurs, FastBindingStatus::Prohibited))?;
        if arrival.source != pcoa {
            // It has moved already; so far only those are served that are about to.
            return Err(refuse(Reason::NotFromPcoa, FastBindingStatus::Unspecified));
        }
        if ending {
            let key = key.clone();
            return Ok(Wish::End { pcoa, key });
        }
        let ncoa = message
            .alternate_coa
            .ok_or_else(|| refuse(Reason::NcoaMissing, FastBindingStatus::Unspecified))?; // FBU-03
        let peer = self
            .neighborhood
            .owner(ncoa)
            .ok_or_else(|| refuse(Reason::NcoaOutsidePrefix, FastBindingStatus::Prohibited))?; // FBU-14
        if !self.leaving.contains_key(&pcoa) && self.is_full() {
            return Err(refuse(Reason::Resources, FastBindingStatus::Resources));
        }
        let asked = Duration::from_secs(message.lifetime.into());
        Ok(Wish::Move(Request {
            sequence: message.sequence,
            lifetime: asked.min(self.config.timers.max_binding_lifetime), // FBA-11, TUN-06
            pcoa,
            ncoa,
            // The option is signed; the frame's source is not.
            lla: message.mn_lla.unwrap_or(arrival.link_source),
            peer: peer.address,
            par: arrival.destination,
            local: link.address,
            interface: link.interface,
            key: key.clone(),
        }))
    }

    /// Answers an FBU on the link that it came over, if it came from there, without a handover.
    fn acknowledge(
        &mut self,
        arrival: &Arrival<'_>,
        sequence: u16,
        care_of: Ipv6Addr,
        answer: Answer,
        key: &HandoverKey,
    ) {
        let acknowledgment = Acknowledgment {
            par: arrival.destination,
            destination: arrival.source,
            care_of,
            sequence,
            answer,
        };
        let link = self.access_link(arrival.interface);
        let interface = link.map(|link| link.interface);
        self.counters.sent_fback += 1;
        let bytes = acknowledgment.sign(key);
        self.outbox.transmit(None, interface, bytes);
    }

    /// RFC 5568 section 6.2.1.2.
    pub(super) fn handle_hack(&mut self, arrival: &Arrival<'_>, message: &HandoverAck) {
        self.counters.received_hack += 1;
        if self.access_link(arrival.interface).is_some()
            || !self.neighborhood.is_peer(arrival.source)
        {
            return self.counters.count(Reason::UnknownPeer);
        }
        let asked = self.leaving.iter().find(|(_, handover)| {
            handover.is_between(arrival.destination, arrival.source)
                && handover.asked(message.sequence)
        });
        let Some((&pcoa, handover)) = asked else {
            return self.counters.count(Reason::Unmatched); // HAK-10
        };
        if handover.is_consent(message.code, message.ncoa, &self.neighborhood) {
            // One address has one binding: that of its way here makes room for the tunnel. Not
            // sooner, for until now the mobile node took what was held for it.
            self.drive_nar(arrival.now, pcoa, nar::Input::Left);
        }
        let input = par::Input::Answered {
            code: message.code,
            ncoa: message.ncoa,
        };
        self.drive_par(arrival.now, pcoa, input);
    }
}

/// Whether `number` comes after `last`, modulo 2^16 (RFC 6275 section 9.5.1).
fn is_newer(number: u16, last: u16) -> bool {
    (1..0x8000).contains(&number.wrapping_sub(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_compared_modulo_their_range() {
        assert!(is_newer(1, 0));
        assert!(is_newer(0, 65535));
        assert!(is_newer(32767, 0));
        assert!(!is_newer(32768, 0));
        assert!(!is_newer(7, 7));
        assert!(!is_newer(65535, 0));
    }
}
