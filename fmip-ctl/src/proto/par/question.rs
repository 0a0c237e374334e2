//! The HI that a NAR is asked with, and what its answer means (RFC 5568 section 6.2.1).

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;

use crate::wire::{
    FastBindingStatus, HackCode, HandoverInitiate, HiCode, MacAddr, Message, Packet,
};

use super::{
    super::{
        Event, HOP_LIMIT, Instant, Reason,
        neighborhood::Neighborhood,
        router::{Context, HandoverId},
    },
    Request,
};

/// An HI that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) sequence: u16,
    /// As it was sent, and is sent again.
    bytes: Bytes,
    retries_left: u32,
    timeout: Duration,
    pub(super) due: Instant,
}

impl Question {
    /// Sends the HI of a request (RFC 5568 section 6.2.1.1).
    pub(super) fn ask(request: &Request, context: &mut Context<'_>) -> Self {
        let sequence = context.next_sequence();
        // HI-05: for a mobile node that is there already nothing is to be held.
        let buffer = context.config.buffering && request.code() == HiCode::PcoaSource;
        let packet = initiate(request, sequence, buffer);
        let timeout = context.config.timers.initial_timeout;
        let question = Self {
            sequence,
            bytes: packet.encode(),
            retries_left: context.config.timers.hi_retries,
            timeout,
            due: context.now + timeout,
        };
        let accepted = Event::FbuAccepted {
            pcoa: request.pcoa,
            ncoa: request.ncoa,
        };
        context.event(HandoverId::Par(request.pcoa), accepted);
        question.send(request, context);
        question
    }

    /// HI-08, HI-09: asks again, after twice the time; `false` when it was asked often enough.
    pub(super) fn repeat(&mut self, request: &Request, context: &mut Context<'_>) -> bool {
        if self.retries_left == 0 {
            return false;
        }
        self.retries_left -= 1;
        self.timeout = self.timeout.saturating_mul(2);
        self.due = context.now + self.timeout;
        self.send(request, context);
        true
    }

    fn send(&self, request: &Request, context: &mut Context<'_>) {
        let id = HandoverId::Par(request.pcoa);
        context.counters.sent_hi += 1;
        context.outbox.transmit(Some(id), None, self.bytes.clone());
        let sent = Event::HiSent {
            pcoa: request.pcoa,
            ncoa: request.ncoa,
            peer: request.peer,
        };
        context.event(id, sent);
    }
}

/// The HI of a request.
fn initiate(request: &Request, sequence: u16, buffer: bool) -> Packet {
    let code = request.code(); // HI-03
    Packet {
        source: request.local, // HI-01
        destination: request.peer,
        hop_limit: HOP_LIMIT,
        home_address: None,
        message: Message::HandoverInitiate(HandoverInitiate {
            sequence, // HI-02
            // HI-04: a mobile node that is there already has its address.
            assigned_address: request.assigned && code == HiCode::PcoaSource,
            buffer,
            proxy: false,
            forward: false,
            code,
            mn_lla: Some(request.lla), // HI-06
            pcoa: Some(request.pcoa),  // HI-07
            ncoa: Some(request.ncoa),  // FBU-11, FBU-12
            unknown: Vec::new(),
        }),
    }
}

/// MOV-06: a request that was granted, whose mobile node did not go where it asked for. What is held for it
/// there is older than all that it gets from now on, and should not wait for it to come after all: an HI
/// says that nothing is to be held. Nobody waits for the answer, for what is held ends by itself, too.
pub(super) fn call_off(request: &Request, context: &mut Context<'_>) {
    if !context.config.buffering || !request.is_predictive() {
        return; // Nothing is held there.
    }
    let sequence = context.next_sequence();
    let bytes = initiate(request, sequence, false).encode();
    context.counters.sent_hi += 1;
    let id = HandoverId::Par(request.pcoa);
    context.outbox.transmit(Some(id), None, bytes);
}

/// Where a mobile node's packets go.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The care-of address that it is to use.
    pub(super) care_of: Ipv6Addr,
    /// The other end of the tunnel.
    pub(super) remote: Ipv6Addr,
}

/// What an answer of the NAR to `request` means: where the tunnel leads, or why there is none and
/// what the mobile node is told.
pub(super) fn route(
    request: &Request,
    code: HackCode,
    ncoa: Option<Ipv6Addr>,
    neighborhood: &Neighborhood,
) -> Result<Route, (Reason, FastBindingStatus)> {
    let unspecified = FastBindingStatus::Unspecified;
    match (code, ncoa) {
        (HackCode::NcoaValid, None) => Ok(Route {
            care_of: request.ncoa,
            remote: request.ncoa,
        }),
        // HAK-08, AMB-02, AMB-18: the mobile node keeps its address, and the NAR takes what is
        // tunnelled to itself.
        (HackCode::UsePcoa, None) => Ok(Route {
            care_of: request.pcoa,
            remote: request.peer,
        }),
        // FBA-06, AMB-19, AMB-02: the NAR wants another address to be used. It must be one of its
        // own, or the tunnel would lead to a third party.
        (
            HackCode::NcoaValid | HackCode::NcoaInUse | HackCode::NcoaAssigned | HackCode::UsePcoa,
            Some(ncoa),
        ) => {
            let owner = neighborhood.owner(ncoa);
            if owner.is_some_and(|peer| peer.address == request.peer) {
                Ok(Route {
                    care_of: ncoa,
                    remote: ncoa,
                })
            } else {
                Err((Reason::PeerUnsupported, unspecified))
            }
        }
        // AMB-19.
        (HackCode::NcoaInUse, None) => Err((Reason::PeerRefusedNcoa, unspecified)),
        // Neither this nor a value without a meaning says anything to act upon.
        (HackCode::NcoaAssigned, None) => Err((Reason::PeerUnsupported, unspecified)),
        (HackCode::Other(value), _) if value < 128 => Err((Reason::PeerUnsupported, unspecified)),
        (
            HackCode::Unspecified
            | HackCode::Prohibited
            | HackCode::Resources
            | HackCode::Unsolicited
            | HackCode::Other(_),
            _,
        ) => Err((Reason::PeerRefused, status(code))),
    }
}

/// FBA-08: a refusal of the NAR in the words of an FBack.
pub(super) fn status(code: HackCode) -> FastBindingStatus {
    match code {
        HackCode::Prohibited => FastBindingStatus::Prohibited,
        HackCode::Resources => FastBindingStatus::Resources,
        _ => FastBindingStatus::Unspecified,
    }
}

/// The link-layer address that an interface identifier was made of (RFC 4291 appendix A).
pub(in crate::proto) fn link_address_of(address: Ipv6Addr) -> Option<MacAddr> {
    let [.., a, b, c, 0xff, 0xfe, d, e, f] = address.octets() else {
        return None;
    };
    Some(MacAddr([a ^ 2, b, c, d, e, f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_identifier_gives_its_link_layer_address_back() {
        let of = |text: &str| link_address_of(text.parse().unwrap());
        assert_eq!(
            of("2001:db8::a8bb:ccff:fe00:1"),
            Some(MacAddr([0xaa, 0xbb, 0xcc, 0, 0, 1]))
        );
        assert_eq!(of("2001:db8::1"), None);
        assert_eq!(of("2001:db8::ffff:ff:ff00:1"), None);
    }
}
