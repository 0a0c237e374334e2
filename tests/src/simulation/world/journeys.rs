//! Where the mobile nodes go, and what their links and their routers are told of it.

use std::time::Duration;

use fmip_ctl::proto::{Admin, Input, LinkEvent, StationEvent};
use fmip_ctl::wire::MacAddr;

use super::super::flow::Flow;
use super::super::plan::{self, ACCESS, Manner, access_point, mobile_lla, own_address, router_of};
use super::{AFTERWARDS, FOREVER, NodeId, PATIENCE, Pending, World};

impl World {
    pub(super) fn depart(&mut self, mobile: usize) {
        let journey = &mut self.journeys[mobile];
        let Some(leg) = journey.legs.pop_front() else {
            return self.close(mobile);
        };
        journey.leg = Some(leg);
        let from = router_of(journey.last).expect("a router's access point");
        let node = NodeId::Mobile(mobile);
        self.note(|| format!("{node}: {:?} from r{from} to r{}", leg.manner, leg.to));
        self.close(mobile);
        self.judge.depart(self.now, mobile, from, &leg);
        let flow = self.journeys[mobile].flows.len();
        let to = own_address(mobile, from);
        self.journeys[mobile].flows.push(Flow::new(to));
        self.speak(mobile, flow);
        let target = match leg.manner {
            Manner::Astray { predicted } | Manner::Stays { predicted } => {
                access_point(predicted, false)
            }
            Manner::WithinLink => {
                let first = access_point(leg.to, false);
                if self.journeys[mobile].last == first {
                    access_point(leg.to, true)
                } else {
                    first
                }
            }
            _ => access_point(leg.to, false),
        };
        let destination = match leg.manner {
            Manner::Astray { .. } => access_point(leg.to, false),
            Manner::Stays { .. } => self.journeys[mobile].last,
            _ => target,
        };
        let impend = Input::Link(LinkEvent::HandoverImpend {
            access_point: target,
        });
        let generation = self.journeys[mobile].generation;
        let patience = match leg.manner {
            Manner::Sudden => return self.leave(mobile, destination, leg.gap),
            Manner::Hasty { patience } => patience,
            Manner::Ordered { .. } | Manner::Predicted => PATIENCE,
            Manner::Astray { .. } | Manner::Stays { .. } | Manner::WithinLink => PATIENCE,
        };
        let leave = Pending::Leave(mobile, generation, destination, leg.gap);
        self.after(patience, leave);
        match leg.manner {
            Manner::Ordered { given } => {
                let pcoa = own_address(mobile, from);
                let order = Admin::Handover {
                    pcoa,
                    access_point: target,
                    ncoa: given.then(|| own_address(mobile, leg.to)),
                };
                self.input(NodeId::Router(from), Input::Admin(order));
            }
            _ => self.input(node, impend),
        }
    }

    /// The last move is over.
    pub(super) fn close(&mut self, mobile: usize) {
        let flow = self.journeys[mobile].flows.last();
        let loss = flow.map(|flow| flow.loss(self.now)).unwrap_or_default();
        let objection = self.judge.close(self.now, mobile, loss);
        self.object_if(NodeId::Mobile(mobile), objection);
    }

    /// The mobile node is ready to move.
    pub(super) fn switch(&mut self, node: NodeId, target: MacAddr) {
        let NodeId::Mobile(mobile) = node else {
            return self.object(format!("{node}: a router cannot switch its link"));
        };
        let journey = &self.journeys[mobile];
        let generation = journey.generation;
        let (destination, gap) = match journey.leg {
            Some(plan::Leg {
                manner: Manner::Astray { .. },
                to,
                gap,
                ..
            }) => (access_point(to, false), gap),
            Some(plan::Leg {
                manner: Manner::Stays { .. },
                gap,
                ..
            }) => (journey.last, gap),
            Some(plan::Leg {
                manner: Manner::Hasty { .. },
                ..
            }) => return, // it goes anyway
            Some(leg) => (target, leg.gap),
            None => (target, Duration::from_millis(50)),
        };
        let leave = Pending::Leave(mobile, generation, destination, gap);
        self.after(Duration::ZERO, leave);
    }

    pub(super) fn leave(&mut self, mobile: usize, destination: MacAddr, gap: Duration) {
        let journey = &mut self.journeys[mobile];
        journey.generation += 1;
        let generation = journey.generation;
        let place = journey.place.take();
        self.judge.left(mobile);
        if let Some(router) = place.and_then(router_of)
            && self.plan.routers[router].reports_stations
            && self.rng.u8(0..4) > 0
        {
            let address = own_address(mobile, router);
            let departed = StationEvent::Departed {
                interface: ACCESS,
                address,
            };
            let delay = Duration::from_micros(self.rng.u64(0..20_000));
            self.after(delay, Pending::Station(router, departed));
        }
        self.after(gap, Pending::LinkUp(mobile, generation, destination));
        self.input(NodeId::Mobile(mobile), Input::Link(LinkEvent::LinkDown));
    }

    pub(super) fn link_up(&mut self, mobile: usize, access_point: MacAddr) {
        let node = NodeId::Mobile(mobile);
        let journey = &mut self.journeys[mobile];
        journey.generation += 1;
        journey.place = Some(access_point);
        journey.last = access_point;
        journey.leg = None;
        let next = journey.legs.front().map(|leg| leg.pause);
        let router = router_of(access_point).expect("a router's access point");
        self.judge.arrived(self.now, mobile, router);
        if let Some(flow) = self.journeys[mobile].flows.last_mut() {
            flow.end_at(self.now + AFTERWARDS);
        }
        if let Some(pause) = next {
            self.after(pause, Pending::Depart(mobile));
        } else {
            // Its account is closed when every retry is over.
            self.after(FOREVER / 4, Pending::Depart(mobile));
        }
        self.report_attached(mobile);
        self.input(node, Input::Link(LinkEvent::LinkUp { access_point }));
    }

    pub(super) fn report_attached(&mut self, mobile: usize) {
        let Some(router) = self.journeys[mobile].place.and_then(router_of) else {
            return;
        };
        if self.plan.routers[router].reports_stations && self.rng.u8(0..4) > 0 {
            let attached = StationEvent::Attached {
                interface: ACCESS,
                address: own_address(mobile, router),
                link_address: mobile_lla(mobile),
            };
            let delay = Duration::from_micros(self.rng.u64(0..5_000));
            self.after(delay, Pending::Station(router, attached));
        }
    }
}
