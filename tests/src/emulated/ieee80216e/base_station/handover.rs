//! Stations that leave, or want to: scanning, the negotiation with candidates, MOB_HO-IND, and what
//! other base stations ask about them.

use std::collections::BTreeMap;

use fmip_ctl::{
    link::ieee80216e::message::{
        HoIndication, HoOptimization, Message, MobBshoReq, MobBshoRsp, MobHoInd, MobMshoReq,
        MobScnReq, MobScnRsp, Pdu, Recommendation, ScanGrant, Target, cid,
    },
    proto::Instant,
    wire::MacAddr,
};

use super::{BaseStation, Left, Output, Served, list};
use crate::emulated::ieee80216e::{
    backbone::{self, Context},
    control::Willingness,
    step::Act,
};

/// Other base stations are asked whether they take a station.
#[derive(Clone, Debug)]
pub(super) struct Negotiation {
    transaction: u32,
    /// In the order in which they were named.
    asked: Vec<MacAddr>,
    answers: BTreeMap<MacAddr, bool>,
    pub(super) until: Instant,
    /// Whether it is the network that wants the station to move.
    by_network: bool,
}

impl BaseStation {
    // Scanning

    /// Grants what is asked for, beginning with the next frame.
    pub(super) fn scan(&mut self, station: MacAddr, request: &MobScnReq) {
        let Some(cid) = self.served_cid(station) else {
            return;
        };
        // Whoever is asked for by name: others may be there than those that are announced here.
        let detail = list(request.targets.iter().map(|target| target.bsid));
        let grant = (request.duration != 0).then(|| ScanGrant {
            duration: request.duration,
            start: 1,
            interleaving: request.interleaving,
            iterations: request.iterations,
            targets: request.targets.clone(),
        });
        let answer = MobScnRsp {
            grant,
            report_mode: 0,
            report_period: 0,
            unknown: Vec::new(),
        };
        self.send(station, cid, Message::MobScnRsp(answer), Some(detail));
    }

    // Where to

    /// MOB_MSHO-REQ: those that it names are asked whether they take it.
    pub(super) fn wants_to_move(&mut self, now: Instant, station: MacAddr, request: &MobMshoReq) {
        let neighbors = &self.configuration.neighbors;
        let candidates = (request.candidates.iter())
            .map(|candidate| candidate.measured.bsid)
            .filter(|bsid| neighbors.contains(bsid))
            .collect();
        if self.served_cid(station).is_none() {
            return self.complain(Some(station), "it has not entered the network here");
        }
        self.negotiate(now, station, candidates, false);
    }

    /// The scenario wants the station to move.
    pub(super) fn order(
        &mut self,
        now: Instant,
        station: MacAddr,
        target: MacAddr,
    ) -> Result<(), String> {
        if self.served_cid(station).is_none() {
            return Err(format!("{station} has not entered the network here"));
        }
        if !self.configuration.neighbors.contains(&target) {
            return Err(format!("{target} is no neighbor"));
        }
        self.negotiate(now, station, vec![target], true);
        Ok(())
    }

    fn negotiate(&mut self, now: Instant, station: MacAddr, asked: Vec<MacAddr>, by_network: bool) {
        let transaction = u32::from(self.transaction());
        for candidate in &asked {
            let question = backbone::Message::HandoverRequest { transaction };
            self.tell(*candidate, station, question);
        }
        let until = now + self.configuration.timing.negotiation();
        let known = self.stations.get_mut(&station);
        if let Some(served) = known.and_then(|known| known.served.as_mut()) {
            served.negotiation = Some(Negotiation {
                transaction,
                asked,
                answers: BTreeMap::new(),
                until,
                by_network,
            });
        }
        self.conclude_if_all_answered(station);
    }

    /// A candidate says whether it takes the station.
    pub(super) fn answered(
        &mut self,
        candidate: MacAddr,
        station: MacAddr,
        transaction: u32,
        accepted: bool,
    ) {
        let known = self.stations.get_mut(&station);
        let served = known.and_then(|known| known.served.as_mut());
        let Some(negotiation) = served
            .and_then(|served| served.negotiation.as_mut())
            .filter(|negotiation| negotiation.transaction == transaction)
        else {
            // Too late: what it keeps ready is not needed.
            if accepted {
                self.tell(candidate, station, backbone::Message::HandoverCancel);
            }
            return;
        };
        negotiation.answers.insert(candidate, accepted);
        self.conclude_if_all_answered(station);
    }

    pub(super) fn negotiation_timeout(&mut self, now: Instant, station: MacAddr) {
        let negotiation = self.negotiation(station);
        if negotiation.is_some_and(|negotiation| now >= negotiation.until) {
            self.conclude(station);
        }
    }

    fn negotiation(&self, station: MacAddr) -> Option<&Negotiation> {
        let served = self.stations.get(&station)?.served.as_ref()?;
        served.negotiation.as_ref()
    }

    fn conclude_if_all_answered(&mut self, station: MacAddr) {
        let negotiation = self.negotiation(station);
        if negotiation.is_some_and(|negotiation| {
            let mut asked = negotiation.asked.iter();
            asked.all(|candidate| negotiation.answers.contains_key(candidate))
        }) {
            self.conclude(station);
        }
    }

    /// The station is told where it can go, those first that it named first.
    fn conclude(&mut self, station: MacAddr) {
        let known = self.stations.get_mut(&station);
        let Some(served) = known.and_then(|known| known.served.as_mut()) else {
            return;
        };
        let Some(negotiation) = served.negotiation.take() else {
            return;
        };
        let cid = served.cids.0;
        let agreed: Vec<MacAddr> = (negotiation.asked.into_iter())
            .filter(|candidate| negotiation.answers.get(candidate) == Some(&true))
            .collect();
        served.agreed.clone_from(&agreed);
        let skipped = if self.transfers {
            HoOptimization::OMIT_SBC
                .with(HoOptimization::OMIT_PKM)
                .with(HoOptimization::OMIT_REG)
        } else {
            HoOptimization::default()
        };
        let recommendation = (!agreed.is_empty()).then(|| Recommendation {
            mandatory: negotiation.by_network,
            resource_retain: true,
            targets: (agreed.iter())
                .map(|bsid| Target {
                    // The lower 8 bits are all that there is room for.
                    ho_optimization: skipped.0 as u8,
                    ..Target::new(*bsid)
                })
                .collect(),
        });
        if negotiation.by_network {
            match recommendation {
                Some(recommendation) => {
                    let detail = format!("to {}", list(&agreed));
                    let order = MobBshoReq {
                        network_assisted: false,
                        recommendation,
                        action_time: 0,
                        unknown: Vec::new(),
                    };
                    self.send(station, cid, Message::MobBshoReq(order), Some(detail));
                }
                None => self.act(Act::local("nobody-takes-it", Some(station))),
            }
            return;
        }
        if !self.responds {
            return self.act(Act::local("MOB_BSHO-RSP-withheld", Some(station)));
        }
        let detail = match &recommendation {
            Some(_) => format!("to {}", list(&agreed)),
            None => "not recommended".to_owned(),
        };
        let answer = MobBshoRsp {
            recommendation,
            action_time: 0,
            unknown: Vec::new(),
        };
        self.send(station, cid, Message::MobBshoRsp(answer), Some(detail));
    }

    // It moves

    /// MOB_HO-IND: the last word on this link.
    pub(super) fn indicated(&mut self, now: Instant, station: MacAddr, message: &MobHoInd) {
        let Some(known) = self.stations.get_mut(&station) else {
            return;
        };
        let Some(served) = &mut known.served else {
            return match (&mut known.left, message.indication) {
                // Back before it has entered anywhere else.
                (Some(left), HoIndication::Cancel) => {
                    let target = left.target.take();
                    self.act(Act::local("returns", Some(station)));
                    if let Some(target) = target {
                        self.tell(target, station, backbone::Message::HandoverCancel);
                    }
                }
                _ => self.complain(Some(station), "it has not entered the network here"),
            };
        };
        served.negotiation = None;
        let agreed = std::mem::take(&mut served.agreed);
        let target = match message.indication {
            HoIndication::Release { target } => Some(target),
            HoIndication::Cancel | HoIndication::Reject => None,
        };
        for candidate in agreed {
            if Some(candidate) != target {
                self.tell(candidate, station, backbone::Message::HandoverCancel);
            }
        }
        let Some(target) = target else {
            return self.act(Act::local("stays", Some(station)));
        };
        let is_neighbor = self.configuration.neighbors.contains(&target);
        if is_neighbor {
            // First: the target waits for it, and the radio takes its time to leave on a busy machine.
            let context = self.context_of(station);
            self.tell(
                target,
                station,
                backbone::Message::HandoverConfirm { context },
            );
        }
        self.release(now, station);
        let known = self.stations.get_mut(&station);
        if is_neighbor && let Some(left) = known.and_then(|known| known.left.as_mut()) {
            left.target = Some(target);
        }
    }

    /// From now on nothing of the station's passes here. What is known of it is kept for a while, should
    /// it come back or another base station ask.
    pub(super) fn release(&mut self, now: Instant, station: MacAddr) {
        let until = now + self.configuration.timing.resource_retain();
        let Some(known) = self.stations.get_mut(&station) else {
            return;
        };
        let Some(was) = known.served.take() else {
            return;
        };
        known.left = Some(Left {
            was,
            until,
            target: None,
        });
        self.outputs.push_back(Output::Carry {
            station,
            carries: false,
        });
        self.act(Act::local("released", Some(station)));
    }

    // What others ask

    pub(super) fn asked_to_take(&mut self, from: MacAddr, station: MacAddr, transaction: u32) {
        let accepted = match self.willingness {
            Willingness::Accept => true,
            Willingness::Reject => false,
            Willingness::Silent => return,
        };
        if accepted {
            self.stations.entry(station).or_default().expected_from = Some(from);
        }
        self.tell(
            from,
            station,
            backbone::Message::HandoverResponse {
                transaction,
                accepted,
            },
        );
    }

    pub(super) fn asked_for_context(&mut self, from: MacAddr, station: MacAddr) {
        let context = self.context_of(station);
        self.tell(
            from,
            station,
            backbone::Message::ContextResponse { context },
        );
    }

    /// What another base station is told of a station that is here or has been, if anything.
    pub(super) fn context_of(&self, station: MacAddr) -> Option<Context> {
        if !self.transfers {
            return None;
        }
        let known = self.stations.get(&station)?;
        let left = known.left.as_ref().map(|left| &left.was);
        let served: &Served = known.served.as_ref().or(left)?;
        let octets = |message| {
            let pdu = Pdu {
                cid: cid::INITIAL_RANGING,
                message,
                authentication: None,
            };
            // It was sent before, so it fits.
            pdu.encode().map(|octets| octets.to_vec()).ok()
        };
        Some(Context {
            pmk: served.pmk,
            capabilities: octets(Message::SbcRsp(served.capabilities.clone()))?,
            registration: octets(Message::RegRsp(served.registration.clone()))?,
        })
    }

    /// The basic connection of a station that is served here.
    fn served_cid(&self, station: MacAddr) -> Option<u16> {
        let served = self.stations.get(&station)?.served.as_ref()?;
        Some(served.cids.0)
    }
}
