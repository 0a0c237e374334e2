//! What crosses the links, and by which data paths.

use std::net::Ipv6Addr;
use std::time::Duration;

use bytes::Bytes;
use fmip_ctl::proto::{Input, InterfaceIndex, Transmit};
use fmip_ctl::wire::{MacAddr, Message, Packet};

use super::super::books::{BufferState, Load};
use super::super::messages;
use super::super::plan::{
    ACCESS, CORE, mobile_lla, mobile_of_address, router_address, router_link_local, router_lla,
    router_of, router_of_address,
};
use super::{MAX_CAPTURED, MAX_TUNNELS, NodeId, Pending, World};

impl World {
    pub(super) fn transmit(&mut self, from: NodeId, transmit: Transmit) {
        let Transmit {
            interface,
            link_destination,
            bytes,
        } = transmit;
        self.summary.messages += 1;
        let packet = match Packet::decode(&bytes) {
            Ok(packet) => packet,
            Err(error) => {
                return self.object(format!("{from}: sends what cannot be read: {error}"));
            }
        };
        self.judge.sent(self.now, from, &packet);
        let to = packet.destination;
        match from {
            NodeId::Mobile(mobile) => {
                let Some(router) = self.journeys[mobile].place.and_then(router_of) else {
                    return self.judge.no_link(mobile);
                };
                let link_source = mobile_lla(mobile);
                if let Message::RouterSolicitation(_) = packet.message {
                    return self.advertise_router(router, mobile);
                }
                let on_link = to.is_multicast()
                    || [router_address(router), router_link_local(router)].contains(&to);
                if on_link {
                    let to = NodeId::Router(router);
                    return self.send(to, ACCESS, link_source, bytes, &packet);
                }
                self.route(NodeId::Router(router), to, bytes, 0);
            }
            NodeId::Router(router) => match interface {
                Some(ACCESS) => self.send_on_link(router, to, link_destination, bytes, &packet),
                Some(other) => self.object(format!("{from}: sends on interface {other}")),
                None => self.route(from, to, bytes, 0),
            },
        }
    }

    /// From a router to the mobile nodes on its link.
    pub(super) fn send_on_link(
        &mut self,
        router: usize,
        to: Ipv6Addr,
        link_destination: Option<MacAddr>,
        bytes: Bytes,
        packet: &Packet,
    ) {
        if let Message::NeighborSolicitation(probe) = &packet.message {
            return self.answer_probe(router, probe.target);
        }
        for mobile in 0..self.journeys.len() {
            let here = self.journeys[mobile].place.and_then(router_of) == Some(router);
            let meant = match link_destination {
                Some(link_address) => link_address == mobile_lla(mobile),
                None => to.is_multicast() || self.has_address(mobile, to),
            };
            if here && meant {
                let bytes = bytes.clone();
                let to = NodeId::Mobile(mobile);
                self.send(to, ACCESS, router_lla(router), bytes, packet);
            }
        }
    }

    pub(super) fn has_address(&mut self, mobile: usize, address: Ipv6Addr) -> bool {
        mobile_of_address(address) == Some(mobile)
            || self
                .node(NodeId::Mobile(mobile))
                .books
                .addresses
                .contains(&address)
    }

    /// The kernel of a mobile node that uses an address defends it (RFC 4862 section 5.4.3).
    pub(super) fn answer_probe(&mut self, router: usize, target: Ipv6Addr) {
        for mobile in 0..self.journeys.len() {
            let here = self.journeys[mobile].place.and_then(router_of) == Some(router);
            if here
                && self
                    .node(NodeId::Mobile(mobile))
                    .books
                    .addresses
                    .contains(&target)
            {
                let packet = messages::defence(target, mobile_lla(mobile));
                let bytes = packet.encode();
                let to = NodeId::Router(router);
                self.send(to, ACCESS, mobile_lla(mobile), bytes, &packet);
            }
        }
    }

    /// A router's kernel answers a solicitation.
    pub(super) fn advertise_router(&mut self, router: usize, mobile: usize) {
        let packet = messages::router_advertisement(router, mobile);
        let bytes = packet.encode();
        let to = NodeId::Mobile(mobile);
        self.send(to, ACCESS, router_lla(router), bytes, &packet);
    }

    /// By the routers' data paths, from `at` on.
    pub(super) fn route(&mut self, at: NodeId, to: Ipv6Addr, bytes: Bytes, tunnels: usize) {
        let NodeId::Router(here) = at else {
            return;
        };
        let packet = match Packet::decode(&bytes) {
            Ok(packet) => packet,
            Err(_) => return,
        };
        // What is bound at this router goes where its binding leads.
        let now = self.now;
        let books = &mut self.nodes[here].books;
        if let Some(tunnel) = books.tunnels.get(&to).filter(|it| it.expires > now) {
            let ncoa = tunnel.ncoa;
            if tunnels < MAX_TUNNELS && ncoa != to {
                return self.route(at, ncoa, bytes, tunnels + 1);
            }
            return;
        }
        if let Some(buffer) = books.buffers.get_mut(&to) {
            match buffer.state {
                BufferState::Holding => return buffer.keep(now, Load::Signal(bytes)),
                BufferState::Copying => buffer.keep(now, Load::Signal(bytes.clone())),
                BufferState::Released => {}
            }
        }
        if to == router_address(here) {
            // By way of a tunnel to a router that stands in for the mobile node.
            return;
        }
        let Some(there) = router_of_address(to, self.plan.routers.len()) else {
            return;
        };
        if there == here {
            return self.deliver_on_link(at, to, bytes);
        }
        if to == router_address(there) {
            let node = NodeId::Router(there);
            return self.send(node, CORE, router_lla(here), bytes, &packet);
        }
        // To a mobile node on another router's link: held or delivered there. The way there loses
        // and delays as for any other message.
        if self.is_lost(&packet) {
            return;
        }
        self.route(NodeId::Router(there), to, bytes, tunnels + 1);
    }

    pub(super) fn deliver_on_link(&mut self, at: NodeId, to: Ipv6Addr, bytes: Bytes) {
        let NodeId::Router(router) = at else {
            return;
        };
        if let Ok(packet) = Packet::decode(&bytes) {
            self.send_on_link(router, to, None, bytes, &packet);
        }
    }

    pub(super) fn is_lost(&mut self, packet: &Packet) -> bool {
        let lost = self.rng.f64() < self.plan.weather.loss;
        if lost {
            self.summary.lost += 1;
            self.judge.lost(packet);
        }
        lost
    }

    /// Over one link, with all that can happen on it.
    pub(super) fn send(
        &mut self,
        to: NodeId,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: Bytes,
        packet: &Packet,
    ) {
        if self.is_lost(packet) {
            self.note(|| format!("{to}: lost: {}", packet.message.name()));
            return;
        }
        let weather = self.plan.weather;
        let longest = match interface {
            ACCESS => weather.access_delay,
            _ => weather.core_delay,
        };
        let copies = 1 + usize::from(self.rng.f64() < weather.duplication);
        for _ in 0..copies {
            let delay = Duration::from_nanos(self.rng.u64(100_000..=longest.as_nanos() as u64));
            let pending = Pending::Packet {
                to,
                interface,
                link_source,
                bytes: bytes.clone(),
            };
            self.after(delay, pending);
        }
    }

    pub(super) fn arrive(
        &mut self,
        to: NodeId,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: Bytes,
    ) {
        if let NodeId::Mobile(mobile) = to
            && self.journeys[mobile].place.is_none()
        {
            return self.judge.no_link(mobile);
        }
        if self.captured.len() >= MAX_CAPTURED {
            self.captured.pop_front();
        }
        self.captured
            .push_back((to, interface, link_source, bytes.clone()));
        let packet = Input::Packet {
            interface,
            link_source,
            bytes,
        };
        self.input(to, packet);
    }
}
