//! What mobile nodes on our links are told about the routers around (RFC 5568 section 6.1).

use std::net::Ipv6Addr;

use crate::wire::{MacAddr, Message, Packet, PrRtAdv, RtSolPr};

use super::super::{
    AccessLink, Event, Instant, InterfaceIndex, LINK_MTU, Reason, neighborhood::Advertisement,
};
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
        let (interface, room) = (link.interface, room(link));
        let access_points = &message.access_points;
        let answers = self
            .neighborhood
            .advertise(arrival.now, interface, access_points, room);
        for answer in answers {
            let identifier = message.identifier; // PRA-02
            let to = Some(arrival.link_source);
            self.send_prrtadv(interface, source, to, identifier, answer);
        }
    }

    /// Makes a mobile node move (RFC 5568 section 3.3). PRA-20: until its FBU comes nothing else
    /// changes.
    pub(super) fn order_handover(
        &mut self,
        now: Instant,
        pcoa: Ipv6Addr,
        access_point: MacAddr,
        ncoa: Option<Ipv6Addr>,
    ) {
        let Some(interface) = self.interface_of(pcoa) else {
            return self.refuse_order(pcoa, Reason::PcoaNotOurs);
        };
        match self.neighborhood.order(now, interface, access_point, ncoa) {
            Ok(order) => {
                self.send_prrtadv(interface, pcoa, None, 0, order);
                let ordered = Event::HandoverOrdered { pcoa, access_point };
                self.outbox.event(None, ordered);
            }
            Err(reason) => self.refuse_order(pcoa, reason),
        }
    }

    /// Tells a mobile node about the access points around (PRA-17).
    pub(super) fn advertise_neighborhood(&mut self, now: Instant, pcoa: Ipv6Addr) {
        let Some(link) = self.link_of(pcoa) else {
            return self.refuse_order(pcoa, Reason::PcoaNotOurs);
        };
        let (interface, room) = (link.interface, room(link));
        let announcement = self.neighborhood.announce(now, interface, room);
        self.send_prrtadv(interface, pcoa, None, 0, announcement);
    }

    fn interface_of(&self, address: Ipv6Addr) -> Option<InterfaceIndex> {
        self.link_of(address).map(|link| link.interface)
    }

    fn refuse_order(&mut self, pcoa: Ipv6Addr, reason: Reason) {
        self.counters.count(reason);
        let refused = Event::OrderRefused { pcoa, reason };
        self.outbox.event(None, refused);
    }

    /// An answer goes to the station that asked: to ask the link first who has an address that was
    /// made up would cost the kernel a neighbor entry, and room for what waits for the reply, each time.
    fn send_prrtadv(
        &mut self,
        interface: InterfaceIndex,
        destination: Ipv6Addr,
        link_destination: Option<MacAddr>,
        identifier: u16,
        advertisement: Advertisement,
    ) {
        let Some(link) = self.access_link(interface) else {
            return;
        };
        let Advertisement { code, tuples } = advertisement;
        let packet = Packet {
            source: link.link_local, // PRA-01
            destination,
            hop_limit: 255,
            home_address: None,
            message: Message::PrRtAdv(PrRtAdv {
                code,
                identifier,
                source_lla: Some(link.lla), // PRA-04
                tuples,
                unknown: Vec::new(),
            }),
        };
        self.counters.sent_prrtadv += 1;
        let bytes = packet.encode();
        match link_destination {
            Some(station) => self.outbox.transmit_frame(interface, station, bytes),
            None => self.outbox.transmit(None, Some(interface), bytes),
        }
    }
}

/// Octets of a PrRtAdv on this link (PRA-15).
fn room(link: &AccessLink) -> usize {
    link.mtu.max(LINK_MTU) - IPV6_HEADER_LEN
}
