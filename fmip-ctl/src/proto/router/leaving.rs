//! Mobile nodes that leave: which FBUs and HAcks are listened to.

use std::{net::Ipv6Addr, time::Duration};

use tracing::debug;

use crate::wire::{FastBindingStatus, FastBindingUpdate, HackCode, HandoverAck};

use super::super::{
    Command, Departure, Event, HandoverKey, Instant, PeerAddressing, Reason,
    SEQUENCE_OUT_OF_WINDOW,
    auth::{self, Addresses},
    par::{self, Acknowledgment, Answer, Handover, Request},
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
    Move(Box<Request>),
    /// The same as the last one.
    Again {
        pcoa: Ipv6Addr,
    },
    /// To end the binding that the last one has ended.
    Ended {
        pcoa: Ipv6Addr,
        key: HandoverKey,
    },
    End {
        pcoa: Ipv6Addr,
        /// Whether the mobile node is on the link that it left.
        here: bool,
        key: HandoverKey,
    },
}

impl AccessRouter {
    /// RFC 5568 section 6.2.2.
    pub(super) fn handle_fbu(&mut self, arrival: &Arrival<'_>, message: &FastBindingUpdate) {
        self.counters.received_fbu += 1;
        match self.examine_fbu(arrival, message) {
            Ok(Wish::Move(request)) => self.begin_move(arrival.now, request),
            Ok(Wish::Again { pcoa }) => {
                self.counters.count(Reason::Duplicate);
                self.drive_par(arrival.now, pcoa, par::Input::RequestedTwice);
            }
            Ok(Wish::Ended { pcoa, key }) => {
                self.counters.count(Reason::Duplicate);
                let answer = Answer::refusal(FastBindingStatus::Accepted);
                self.acknowledge(arrival, message.sequence, pcoa, answer, &key);
            }
            Ok(Wish::End { pcoa, here, key }) => {
                self.drive_par(arrival.now, pcoa, par::Input::Ended { here });
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

    fn begin_move(&mut self, now: Instant, request: Box<Request>) {
        let Request {
            pcoa,
            lla,
            interface,
            ..
        } = *request;
        let copied = self.take_copies(pcoa);
        if !self.departing.contains(pcoa) {
            self.admit_par(pcoa, Handover::new(pcoa, interface, lla));
        }
        if let Some(link_address) = copied
            && let Some(handover) = self.departing.get_mut(pcoa)
        {
            handover.adopt_copies(link_address);
        }
        if !request.is_predictive() {
            // Its FBU is as good as a word of the link layer.
            let link_address = self
                .stations
                .remove(&pcoa)
                .map_or(lla, |station| station.link_address());
            if let Some(lifetime) = self.hold_lifetime(interface)
                && self.clear_arrival(now, pcoa)
            {
                let departed = par::Input::Departed {
                    link_address,
                    lifetime,
                };
                self.drive_par(now, pcoa, departed);
            }
        }
        self.drive_par(now, pcoa, par::Input::Requested(request));
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
            .get(pcoa)
            .filter(|key| key.spi == authorization.spi)
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
        let key = key.clone();
        // FBU-10, FBU-16. A replayed FBU is genuine, but old. A mobile node that began to count
        // anew must hear the last number, or it is locked out for as long as the key lives.
        if let Some(last) = self.keys.sequence(pcoa)
            && !is_newer(message.sequence, last)
        {
            let standing = self.departing.get(pcoa).and_then(Handover::request);
            let twice = message.sequence == last
                && standing.is_some_and(|request| request.is_asked_by(message, arrival.source));
            if twice {
                return Ok(Wish::Again { pcoa });
            }
            if message.sequence == last && ending && standing.is_none() {
                return Ok(Wish::Ended { pcoa, key });
            }
            return Err(Refusal {
                reason: Reason::StaleSequence,
                answer: Some(Objection {
                    status: SEQUENCE_OUT_OF_WINDOW,
                    sequence: last,
                    key,
                }),
            });
        }
        self.keys.set_sequence(pcoa, message.sequence);
        let store = Command::StoreSequence {
            pcoa,
            sequence: message.sequence,
        };
        self.outbox.command(HandoverId::Par(pcoa), store);
        let refuse = |(reason, status)| Refusal {
            reason,
            answer: Some(Objection {
                status,
                sequence: message.sequence,
                key: key.clone(),
            }),
        };
        self.understand_fbu(arrival, message, pcoa, &key)
            .map_err(refuse)
    }

    /// What a genuine FBU asks for.
    fn understand_fbu(
        &self,
        arrival: &Arrival<'_>,
        message: &FastBindingUpdate,
        pcoa: Ipv6Addr,
        key: &HandoverKey,
    ) -> Result<Wish, (Reason, FastBindingStatus)> {
        let unspecified = FastBindingStatus::Unspecified;
        let prohibited = FastBindingStatus::Prohibited;
        let link = self
            .link_of(pcoa)
            .ok_or((Reason::PcoaNotOurs, prohibited))?;
        let on_link = arrival.interface == link.interface;
        let predictive = arrival.source == pcoa;
        if message.lifetime == 0 {
            return Ok(Wish::End {
                pcoa,
                here: on_link && predictive,
                key: key.clone(),
            });
        }
        let ncoa = match message.alternate_coa {
            Some(ncoa) => ncoa, // FBU-11
            // FBU-03.
            None if predictive => return Err((Reason::NcoaMissing, unspecified)),
            None => arrival.source, // AMB-09
        };
        let peer = self
            .neighborhood
            .owner(ncoa)
            .ok_or((Reason::NcoaOutsidePrefix, prohibited))?; // FBU-14
        if !peer.fast_handover {
            return Err((Reason::PeerIncapable, unspecified));
        }
        let standing = self.departing.get(pcoa);
        let limits = &self.config.limits;
        let new_peer = standing.and_then(Handover::peer) != Some(peer.address);
        if (standing.is_none()
            && (self.is_full() || self.tally.link_is_full(link.interface, limits)))
            || (new_peer && self.tally.peer_is_full(peer.address, limits))
        {
            return Err((Reason::Resources, FastBindingStatus::Resources));
        }
        let asked = Duration::from_secs(message.lifetime.into());
        // HI-06. The option is signed; the frame's source is not, and is that of a router if the
        // mobile node has moved already.
        let lla = message
            .mn_lla
            .or_else(|| on_link.then_some(arrival.link_source))
            .or_else(|| Some(standing?.request()?.lla))
            .or_else(|| Some(self.stations.get(&pcoa)?.link_address()))
            .or_else(|| par::link_address_of(ncoa))
            .or_else(|| par::link_address_of(pcoa))
            .ok_or((Reason::OptionMissing, unspecified))?;
        Ok(Wish::Move(Box::new(Request {
            sequence: message.sequence,
            lifetime: asked.min(self.config.timers.max_binding_lifetime), // FBA-11, TUN-06
            source: arrival.source,
            on_link,
            pcoa,
            ncoa,
            lla,
            peer: peer.address,
            assigned: peer.addressing == PeerAddressing::Assigned,
            par: arrival.destination,
            local: link.address,
            interface: link.interface,
            copy_window: match link.departure {
                Departure::Copy { window, .. } => Some(window),
                Departure::Ignore | Departure::Hold { .. } => None,
            },
            key: key.clone(),
        })))
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
        self.note_capable(arrival);
        if message.code == HackCode::Unsolicited {
            return self.handle_invitation(arrival, message);
        }
        let asked = self.departing.asked(arrival.source, message.sequence);
        let asked = asked.and_then(|pcoa| Some((pcoa, self.departing.get(pcoa)?)));
        let asked = asked.filter(|(_, handover)| handover.asked_from(arrival.destination));
        let Some((pcoa, handover)) = asked else {
            return self.counters.count(Reason::Unmatched); // HAK-10
        };
        if handover.is_consent(message.code, message.ncoa, &self.neighborhood) {
            // One address has one binding: the tunnel takes that of its way here over, with what is
            // still held. Not sooner, for until now the mobile node took it.
            self.take_leftover(arrival.now, pcoa);
        }
        let input = par::Input::Answered {
            code: message.code,
            ncoa: message.ncoa,
        };
        self.drive_par(arrival.now, pcoa, input);
    }

    /// HAK-09: a NAR would like an HI for a mobile node that it names by its NCoA, or by the
    /// sequence number of an HI. It gets one if an FBU is known.
    fn handle_invitation(&mut self, arrival: &Arrival<'_>, message: &HandoverAck) {
        let named = |pcoa: &Ipv6Addr| {
            let handover = self.departing.get(*pcoa)?;
            let request = handover.request()?;
            let fits = match message.ncoa {
                Some(ncoa) => request.ncoa == ncoa,
                None => handover.asked() == Some((arrival.source, message.sequence)),
            };
            (fits && handover.asked_from(arrival.destination)).then_some(())
        };
        let mut asked = self.departing.with_peer(arrival.source);
        let named = asked.find(|pcoa| named(pcoa).is_some());
        drop(asked);
        match named {
            Some(pcoa) => self.drive_par(arrival.now, pcoa, par::Input::Invited),
            None => self.counters.count(Reason::Unmatched),
        }
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
