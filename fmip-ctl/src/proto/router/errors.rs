//! Neighbors that do not understand our HIs (GEN-13).

use std::{net::Ipv6Addr, time::Duration};

use crate::wire::{BindingError, HandoverInitiate, ParameterProblem};

use super::super::{
    Reason,
    par::{self, Handover},
};
use super::{AccessRouter, Arrival};

/// How long the access points of a neighbor that did not understand an HI are given as those of a
/// router without fast handovers, unless it is heard before. FBUs are put to it all the same: that
/// is how it is found out.
const INCAPABLE_FOR: Duration = Duration::from_secs(60);

const IPV6_HEADER_LEN: usize = 40;
const MOBILITY_HEADER: u8 = 135;

impl AccessRouter {
    /// RFC 6275 section 9.2: the neighbor does not know this type of Mobility Header. Which of them
    /// it does not say, but of us it gets HIs and the answers to its own.
    pub(super) fn handle_binding_error(&mut self, arrival: &Arrival<'_>, message: &BindingError) {
        self.counters.received_binding_error += 1;
        if !self.is_from_peer(arrival) {
            return self.counters.count(Reason::UnknownPeer);
        }
        let fits = message.status == BindingError::UNRECOGNIZED_TYPE
            && message.home_address.is_unspecified(); // an HI has no home address
        let asked = self.departing.with_peer(arrival.source);
        let asked: Vec<_> = asked
            .filter(|pcoa| {
                let handover = self.departing.get(*pcoa);
                fits && handover.is_some_and(|handover| waits_at(handover, arrival.destination))
            })
            .collect();
        self.not_understood(arrival, &asked);
    }

    /// RFC 4443 section 3.4: the neighbor does not know Mobility Headers at all, or not this one.
    /// Only the neighbor itself is believed, and only if it quotes the HI that is out.
    pub(super) fn handle_parameter_problem(
        &mut self,
        arrival: &Arrival<'_>,
        message: &ParameterProblem,
    ) {
        self.counters.received_parameter_problem += 1;
        if !self.is_from_peer(arrival) {
            return self.counters.count(Reason::UnknownPeer);
        }
        let quoted = quoted_hi(&message.invoking)
            .filter(|hi| (hi.source, hi.destination) == (arrival.destination, arrival.source));
        let asked = quoted.and_then(|hi| self.departing.asked(arrival.source, hi.sequence));
        let asked: Vec<_> = asked
            .into_iter()
            .filter(|pcoa| {
                let handover = self.departing.get(*pcoa);
                handover.is_some_and(|handover| waits_at(handover, arrival.destination))
            })
            .collect();
        self.not_understood(arrival, &asked);
    }

    /// A neighbor that sends an HI or a HAck knows what they are.
    pub(super) fn note_capable(&mut self, arrival: &Arrival<'_>) {
        if self.is_from_peer(arrival) {
            self.neighborhood.heard(arrival.source);
        }
    }

    fn is_from_peer(&self, arrival: &Arrival<'_>) -> bool {
        self.access_link(arrival.interface).is_none() && self.neighborhood.is_peer(arrival.source)
    }

    fn not_understood(&mut self, arrival: &Arrival<'_>, asked: &[Ipv6Addr]) {
        if asked.is_empty() {
            return self.counters.count(Reason::Unmatched);
        }
        let until = arrival.now + INCAPABLE_FOR;
        self.neighborhood.not_understood(arrival.source, until);
        for pcoa in asked {
            self.drive_par(arrival.now, *pcoa, par::Input::NotUnderstood);
        }
    }
}

/// Whether an HI from `local` is out that is not answered.
fn waits_at(handover: &Handover, local: Ipv6Addr) -> bool {
    handover.is_awaiting() && handover.asked_from(local)
}

/// What identifies an HI in the beginning of a packet.
struct QuotedHi {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    sequence: u16,
}

fn quoted_hi(packet: &[u8]) -> Option<QuotedHi> {
    let address = |at: usize| {
        Some(Ipv6Addr::from(
            <[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?,
        ))
    };
    let header = packet.get(IPV6_HEADER_LEN..IPV6_HEADER_LEN + 8)?;
    let is_hi = packet[6] == MOBILITY_HEADER && header[2] == HandoverInitiate::MH_TYPE;
    is_hi.then_some(QuotedHi {
        source: address(8)?,
        destination: address(24)?,
        sequence: u16::from_be_bytes([header[6], header[7]]),
    })
}
