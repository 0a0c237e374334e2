//! The answer to messages that we cannot read.

use std::net::Ipv6Addr;

use crate::wire::{self, BindingError, DecodeError, MacAddr, Message, Packet};

use super::super::{HOP_LIMIT, InterfaceIndex};
use super::AccessRouter;

/// The last Mobility Header type of RFC 6275 itself. They are spoken with home agents and
/// correspondent nodes; if there is one on this router, it answers.
const LAST_OF_MOBILE_IPV6: u8 = 7;

impl AccessRouter {
    /// GEN-12: a Mobility Header of a type that we do not know (RFC 6275 section 9.2). How often one
    /// sender is answered is bounded with how much it may send (section 6.1.9).
    pub(super) fn answer_unreadable(
        &mut self,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: &[u8],
        error: &DecodeError,
    ) {
        match error {
            DecodeError::MobilityType(kind) if *kind > LAST_OF_MOBILE_IPV6 => {}
            _ => return,
        }
        let Some(addresses) = wire::addresses(bytes) else {
            return;
        };
        let source = addresses.source;
        // Never to a group, nor because of what was sent to one.
        let nobody = source.is_unspecified() || source.is_multicast() || self.is_own(source);
        if nobody || !self.is_own(addresses.destination) {
            return;
        }
        let packet = Packet {
            source: addresses.destination,
            destination: source,
            hop_limit: HOP_LIMIT,
            home_address: None,
            message: Message::BindingError(BindingError {
                status: BindingError::UNRECOGNIZED_TYPE,
                home_address: addresses.home_address.unwrap_or(Ipv6Addr::UNSPECIFIED),
            }),
        };
        self.counters.sent_binding_error += 1;
        let bytes = packet.encode();
        // As with a PrRtAdv: the link is not asked who has an address that may be made up.
        if self.access_link(interface).is_some() {
            self.outbox.transmit_frame(interface, link_source, bytes);
        } else {
            let interface = source.is_unicast_link_local().then_some(interface);
            self.outbox.transmit(None, interface, bytes);
        }
    }
}
