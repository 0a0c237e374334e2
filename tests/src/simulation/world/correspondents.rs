//! What correspondents send to the mobile nodes, on its way.

use std::net::Ipv6Addr;

use super::super::books::{BufferState, Data, Load};
use super::super::plan::{router_address, router_of, router_of_address};
use super::{ACCESS_DELAY, CORE_DELAY, INTERVAL, NodeId, Pending, World};

impl World {
    /// A correspondent of a mobile node sends a packet to the address it had when the move began.
    pub(super) fn speak(&mut self, mobile: usize, flow: usize) {
        let journey = &mut self.journeys[mobile];
        let is_over = flow + 1 < journey.flows.len();
        let it = &mut journey.flows[flow];
        if is_over || it.is_over(self.now) {
            return;
        }
        let to = it.to;
        let number = it.send(self.now);
        let data = Data {
            mobile,
            flow,
            number,
            to,
        };
        if let Some(router) = router_of_address(to, self.plan.routers.len()) {
            self.after(CORE_DELAY, Pending::Data(router, data, to));
        }
        self.after(INTERVAL, Pending::Speak(mobile, flow));
    }

    /// By a router's data path: `to` is the address that leads it now.
    pub(super) fn carry(&mut self, at: NodeId, data: Data, to: Ipv6Addr) {
        let NodeId::Router(here) = at else {
            return;
        };
        let now = self.now;
        let books = &mut self.nodes[here].books;
        if let Some(tunnel) = books.tunnels.get(&to).filter(|it| it.expires > now) {
            let ncoa = tunnel.ncoa;
            if let Some(there) = router_of_address(ncoa, self.plan.routers.len()) {
                self.after(CORE_DELAY, Pending::Data(there, data, ncoa));
            }
            return;
        }
        // Out of a tunnel that ends at this router.
        let to = match to == router_address(here) {
            true => data.to,
            false => to,
        };
        if let Some(buffer) = books.buffers.get_mut(&to) {
            match buffer.state {
                BufferState::Holding if buffer.expires.is_none_or(|at| at > now) => {
                    return buffer.keep(now, Load::Data(data));
                }
                BufferState::Copying => buffer.keep(now, Load::Data(data)),
                BufferState::Holding | BufferState::Released => {}
            }
        }
        self.hand_over(at, data, to);
    }

    pub(super) fn hand_over(&mut self, at: NodeId, data: Data, to: Ipv6Addr) {
        if let NodeId::Router(router) = at {
            self.after(ACCESS_DELAY, Pending::Heard(router, data, to));
        }
    }

    pub(super) fn hear(&mut self, router: usize, data: Data, to: Ipv6Addr) {
        let here = self.journeys[data.mobile].place.and_then(router_of) == Some(router);
        if !here {
            return;
        }
        // What comes through a tunnel needs its other end.
        let books = &self.node(NodeId::Mobile(data.mobile)).books;
        let is_unwrapped = to == data.to || books.uplinks.contains_key(&data.to);
        if is_unwrapped {
            let flow = &mut self.journeys[data.mobile].flows[data.flow];
            flow.receive(data.number);
        }
    }
}
