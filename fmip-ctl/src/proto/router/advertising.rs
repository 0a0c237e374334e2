//! What mobile nodes on our links are told about the routers around (RFC 5568 section 6.1).

use std::net::Ipv6Addr;

use crate::wire::{MacAddr, Message, Packet, RtSolPr};

use super::super::{LINK_MTU, Reason};
use super::{AccessRouter, Arrival};

const IPV6_HEADER_LEN: usize = 40;

impl AccessRouter {
    /// RFC 5568 section 6.1.1; RTS-11: nothing is remembered.
    pub(super) fn handle_rtsolpr(&mut self, arrival: &Arrival<'_>, message: &RtSolPr) {
        self.counters.received_rtsolpr += 1;
        let Some(link) = self.access_link(arrival.interface) else {
            return self.counters.count(Reason::Unexpected);
        };
        let source = arrival.source;
        // RTS-01: it comes from an address of the link, to which the answer goes.
        if source.is_unspecified() || source.is_multicast() {
            return self.counters.count(Reason::Unexpected);
        }
        let advertisement = self.neighborhood.advertise(
            link.interface,
            &message.access_points,
            message.identifier, // PRA-02
            link.lla,
            LINK_MTU - IPV6_HEADER_LEN,
        );
        let packet = Packet {
            source: link.link_local, // PRA-01
            destination: source,
            hop_limit: 255,
            home_address: None,
            message: Message::PrRtAdv(advertisement),
        };
        let interface = Some(link.interface);
        self.counters.sent_prrtadv += 1;
        self.outbox.transmit(None, interface, packet.encode());
    }

    /// Makes a mobile node move (RFC 5568 section 3.3).
    pub(super) fn order_handover(
        &mut self,
        _pcoa: Ipv6Addr,
        _access_point: MacAddr,
        _ncoa: Option<Ipv6Addr>,
    ) {
        self.counters.count(Reason::Unsupported);
    }

    /// Tells a mobile node about the access points around (PRA-17).
    pub(super) fn advertise_neighborhood(&mut self, _pcoa: Ipv6Addr) {
        self.counters.count(Reason::Unsupported);
    }
}
