//! The handover's dialogue with the serving base station, up to MOB_HO-IND.

use std::collections::BTreeMap;

use crate::{
    link::ieee80216e::{
        message::{
            Candidate, HoIndication, Measured, Message, MobBshoReq, MobBshoRsp, MobHoInd,
            MobMshoReq, Recommendation, Rssi,
        },
        timing::HO_RETRIES,
    },
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

use super::{
    Output, Phase, Station,
    entry::{Entry, Origin},
};

/// A handover that is being prepared.
#[derive(Debug)]
pub(super) enum Handover {
    /// MOB_MSHO-REQ is out.
    Requested {
        candidates: Vec<MacAddr>,
        retries_left: u32,
        due: Instant,
    },
    /// LINK_HANDOVER_IMPEND is told; MOB_HO-IND is held back (W16-10).
    Impending {
        target: MacAddr,
        /// Whether the serving base station keeps what it has of the station.
        is_retained: bool,
        due: Instant,
    },
}

impl Handover {
    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Requested { due, .. } | Self::Impending { due, .. } => *due,
        }
    }
}

impl Station {
    /// After a scan: is another so much better that this is to end? A weak signal alone never says
    /// so, nor does one scan (W16-07, RFC 4907 section 2).
    pub(super) fn consider_handover(&mut self, now: Instant, heard: &BTreeMap<MacAddr, i8>) {
        let ranked: Vec<_> = self
            .neighbors
            .by_signal()
            .into_iter()
            .filter_map(|(bsid, signal)| Some((bsid, signal, *heard.get(&bsid)?)))
            .collect();
        let settings = &self.settings;
        let (threshold, hysteresis) = (settings.threshold_dbm, settings.hysteresis_db);
        let (may_choose, confirmations) = (settings.choose_target, settings.confirmations);
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let serving = connected.signal.dbm();
        let better: Vec<MacAddr> = ranked
            .iter()
            // Now, and not only before.
            .filter(|(_, signal, dbm)| signal.dbm().min((*dbm).into()) >= serving + hysteresis)
            .map(|(bsid, ..)| *bsid)
            .collect();
        let best = match better.first() {
            Some(best) if may_choose && serving < threshold => *best,
            _ => {
                connected.confirmed = None;
                return;
            }
        };
        let count = match connected.confirmed {
            Some((bsid, count)) if bsid == best => count + 1,
            _ => 1,
        };
        connected.confirmed = Some((best, count));
        if count >= confirmations && now >= connected.handover_after && connected.handover.is_none()
        {
            self.request_handover(now, better, HO_RETRIES);
        }
    }

    fn request_handover(&mut self, now: Instant, candidates: Vec<MacAddr>, retries_left: u32) {
        let offered = candidates
            .iter()
            .filter_map(|bsid| {
                let signal = self.neighbors.signal(*bsid)?;
                Some(Candidate {
                    measured: Measured {
                        bsid: *bsid,
                        rssi: Rssi::from_dbm(signal.dbm()),
                    },
                    preamble: 0,
                    service_level: 2,
                })
            })
            .collect();
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let message = Message::MobMshoReq(MobMshoReq {
            candidates: offered,
            serving: Some(Rssi::from_dbm(connected.signal.dbm())),
            unknown: Vec::new(),
        });
        connected.handover = Some(Handover::Requested {
            candidates,
            retries_left,
            due: now + connected.ho_retransmission,
        });
        let (bsid, cid) = (connected.bsid, connected.basic_cid);
        self.send(bsid, cid, message, true);
    }

    /// MOB_BSHO-RSP, which is authentic (W16-05).
    pub(super) fn handle_bsho_response(&mut self, now: Instant, response: &MobBshoRsp) {
        let Phase::Connected(connected) = &self.phase else {
            return;
        };
        let Some(Handover::Requested { .. }) = connected.handover else {
            self.count("out-of-place");
            return;
        };
        match &response.recommendation {
            Some(recommendation) => self.handle_recommendation(now, recommendation),
            None => {
                self.local("handover-not-recommended", None, None);
                self.end_handover(now);
            }
        }
    }

    /// MOB_BSHO-REQ, which is authentic (W16-05, W16-24).
    pub(super) fn handle_bsho_request(&mut self, now: Instant, request: &MobBshoReq) {
        let Phase::Connected(connected) = &self.phase else {
            return;
        };
        match &connected.handover {
            // It was repeated before the station left, or the base station changed its mind when
            // the routers had been asked already.
            Some(Handover::Impending { .. }) => {
                self.count("out-of-place");
            }
            Some(Handover::Requested { .. }) | None => {
                self.handle_recommendation(now, &request.recommendation);
            }
        }
    }

    /// Takes the first target that a scan heard: whatever a base station recommends, nobody moves to
    /// where nothing is heard (W16-04).
    fn handle_recommendation(&mut self, now: Instant, recommendation: &Recommendation) {
        let target = recommendation
            .targets
            .iter()
            .map(|target| target.bsid)
            .find(|bsid| self.neighbors.signal(*bsid).is_some());
        match target {
            Some(target) => self.impend(now, target, recommendation.resource_retain),
            None => {
                self.indicate(HoIndication::Reject);
                self.end_handover(now);
            }
        }
    }

    fn impend(&mut self, now: Instant, target: MacAddr, is_retained: bool) {
        self.abandon_scan(now);
        let wait = self.settings.link_switch_wait;
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        connected.handover = Some(Handover::Impending {
            target,
            is_retained,
            due: now + wait,
        });
        self.primitive(LinkEvent::HandoverImpend {
            access_point: target,
        });
        if wait.is_zero() {
            self.leave(now, target, is_retained);
        }
    }

    /// LINK_SWITCH (W16-10).
    pub(super) fn handle_switch(&mut self, now: Instant, target: MacAddr) {
        let refused = match &self.phase {
            Phase::Searching(_) => Some("the station is at no base station".to_owned()),
            // MOB_HO-IND was not held so long.
            Phase::Entering(entry) if entry.target == target => None,
            Phase::Entering(entry) => Some(format!(
                "the station is on its way to {} already",
                entry.target
            )),
            Phase::Connected(connected) if connected.bsid == target => {
                Some("the station is there already".to_owned())
            }
            Phase::Connected(connected) => {
                let is_retained = match connected.handover {
                    Some(Handover::Impending { is_retained, .. }) => is_retained,
                    _ => false,
                };
                if self.neighbors.signal(target).is_some() {
                    return self.leave(now, target, is_retained);
                }
                Some("no scan has heard it".to_owned())
            }
        };
        if let Some(error) = refused {
            self.output(Output::SwitchFailed {
                access_point: target,
                error,
            });
        }
    }

    /// Nothing is prepared: there is nothing to wait for.
    pub(super) fn handle_go_ahead(&mut self, now: Instant) {
        if let Phase::Connected(connected) = &self.phase
            && let Some(Handover::Impending {
                target,
                is_retained,
                ..
            }) = connected.handover
        {
            self.leave(now, target, is_retained);
        }
    }

    pub(super) fn handle_handover_timeout(&mut self, now: Instant) {
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let is_due = |handover: &mut Handover| handover.deadline() <= now;
        match connected.handover.take_if(is_due) {
            Some(Handover::Requested {
                candidates,
                retries_left,
                ..
            }) => match retries_left.checked_sub(1) {
                Some(left) => self.request_handover(now, candidates, left),
                None => {
                    self.local("handover-unanswered", None, None);
                    self.end_handover(now);
                }
            },
            // Nobody said LINK_SWITCH, and the signal does not wait (W16-09).
            Some(Handover::Impending {
                target,
                is_retained,
                ..
            }) => self.leave(now, target, is_retained),
            None => {}
        }
    }

    /// Says MOB_HO-IND and goes: after it nothing passes on the old link, either way (W16-08).
    ///
    /// So the core is told before it is said, and holds what the node sends (whatever is sent after it
    /// is lost); also where the core has ordered the move, for within a subnet it holds nothing else.
    fn leave(&mut self, now: Instant, target: MacAddr, is_retained: bool) {
        self.abandon_scan(now);
        self.link_down();
        self.output(Output::Settle);
        self.indicate(HoIndication::Release { target });
        let Phase::Connected(connected) = &self.phase else {
            return;
        };
        let origin = Origin {
            bsid: connected.bsid,
            basic_cid: connected.basic_cid,
            retained_until: is_retained.then(|| now + connected.retain),
        };
        let lost_dl_map = self.settings.lost_dl_map;
        self.enter(Entry::handover(now, target, origin, lost_dl_map));
    }

    fn indicate(&mut self, indication: HoIndication) {
        let Phase::Connected(connected) = &self.phase else {
            return;
        };
        let (bsid, cid) = (connected.bsid, connected.basic_cid);
        let message = Message::MobHoInd(MobHoInd::new(indication));
        self.send(bsid, cid, message, true);
    }

    /// The serving base station is not heard any more.
    pub(super) fn handle_lost(&mut self, now: Instant) {
        let Phase::Connected(connected) = &self.phase else {
            return;
        };
        let bsid = connected.bsid;
        let target = match connected.handover {
            Some(Handover::Impending { target, .. }) => Some(target),
            _ => None,
        };
        let origin = Origin {
            bsid,
            basic_cid: connected.basic_cid,
            retained_until: None,
        };
        self.count("lost");
        self.local("lost", Some(bsid), Some("no DL-MAP".to_owned()));
        self.link_down();
        let best = self.neighbors.by_signal().first().map(|(bsid, _)| *bsid);
        match target.or(best) {
            Some(target) => {
                let lost_dl_map = self.settings.lost_dl_map;
                self.enter(Entry::handover(now, target, origin, lost_dl_map));
            }
            None => self.search(now, &[]),
        }
    }
}
