//! A station at its serving base station.

use std::time::Duration;

use crate::{
    link::ieee80216e::{
        message::{Message, MobNbrAdv, Received, cid},
        timing::HO_BACKOFF,
    },
    proto::Instant,
    wire::MacAddr,
};

use super::{
    Freshness, Phase, Station,
    flows::ServiceFlows,
    handover::Handover,
    neighbors::{Listed, Signal},
    scan::Scan,
};

#[derive(Debug)]
pub(super) struct Connected {
    pub(super) bsid: MacAddr,
    pub(super) basic_cid: u16,
    pub(super) primary_cid: u16,
    pub(super) signal: Signal,
    /// When the base station is lost, if it is not heard before.
    pub(super) lost: Instant,
    pub(super) scan: Option<Scan>,
    /// When it may ask for a scan.
    pub(super) scan_after: Instant,
    pub(super) handover: Option<Handover>,
    /// When it may ask for a handover.
    pub(super) handover_after: Instant,
    /// Who was better than the serving base station in how many scans, one after the other.
    pub(super) confirmed: Option<(MacAddr, u32)>,
    pub(super) flows: ServiceFlows,
    /// When MOB_MSHO-REQ is repeated.
    pub(super) ho_retransmission: Duration,
    /// How long this base station keeps what it has of the station, once it left.
    pub(super) retain: Duration,
    /// Whether people were told of a list of neighbors.
    pub(super) told_of_list: bool,
}

impl Connected {
    pub(super) fn deadline(&self) -> Instant {
        let is_deaf = self.scan.as_ref().is_some_and(Scan::is_deaf);
        let others = [
            self.scan.as_ref().map(|scan| scan.due),
            self.handover.as_ref().map(Handover::deadline),
            self.flows.deadline(),
        ];
        let lost = (!is_deaf).then_some(self.lost);
        others
            .into_iter()
            .flatten()
            .chain(lost)
            .min()
            .unwrap_or(self.lost)
    }
}

impl Station {
    /// A frame of the serving base station.
    pub(super) fn handle_connected(
        &mut self,
        now: Instant,
        signal_dbm: Option<i8>,
        received: Received,
    ) {
        let lost = now + self.settings.lost_dl_map;
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let bsid = connected.bsid;
        let ours = [connected.basic_cid, connected.primary_cid];
        match &received.pdu.message {
            Message::DlMap(_) => {
                connected.lost = lost;
                let before = connected.signal.dbm();
                if let Some(dbm) = signal_dbm {
                    connected.signal.measure(dbm);
                }
                if connected.signal.dbm() != before {
                    self.tell_heard(now);
                }
                return self.consider_scan(now);
            }
            Message::MobNbrAdv(list) => {
                if received.pdu.cid != cid::BROADCAST {
                    return self.refuse("other-cid", bsid, "MOB_NBR-ADV not to all");
                }
                return self.handle_list(now, bsid, list);
            }
            message if !ours.contains(&received.pdu.cid) => {
                let name = message.name();
                return self.refuse(
                    "other-cid",
                    bsid,
                    &format!("{name} on another's connection"),
                );
            }
            Message::MobScnRsp(_)
            | Message::MobBshoReq(_)
            | Message::MobBshoRsp(_)
            | Message::DsaReq(_)
            | Message::DsaAck(_) => {}
            // Late answers of an entry that is over.
            _ => {
                self.count("out-of-place");
                return;
            }
        }
        if !self.is_authentic(bsid, &received, Freshness::Ordered) {
            return;
        }
        self.took(bsid, &received.pdu.message);
        match received.pdu.message {
            Message::MobScnRsp(response) => self.handle_scan_response(now, response),
            Message::MobBshoReq(request) => self.handle_bsho_request(now, &request),
            Message::MobBshoRsp(response) => self.handle_bsho_response(now, &response),
            Message::DsaReq(request) => {
                let Phase::Connected(connected) = &mut self.phase else {
                    return;
                };
                let cid = connected.primary_cid;
                if let Some(answer) = connected.flows.handle_request(now, &request) {
                    self.send(bsid, cid, Message::DsaRsp(answer), true);
                }
            }
            Message::DsaAck(acknowledgment) => {
                if let Phase::Connected(connected) = &mut self.phase {
                    connected.flows.handle_acknowledgment(&acknowledgment);
                }
            }
            _ => {}
        }
    }

    /// MOB_NBR-ADV: names to be scanned, and no more than that (W16-04).
    fn handle_list(&mut self, now: Instant, serving: MacAddr, list: &MobNbrAdv) {
        let mut new = Vec::new();
        let mut full = 0_u32;
        let bsids: Vec<_> = list
            .bsids(serving)
            .filter(|bsid| *bsid != serving && bsid.0[0] & 1 == 0)
            .collect();
        for (bsid, listed) in self.neighbors.hear_list(now, &bsids) {
            match listed {
                Listed::Known => {}
                Listed::New => new.push(bsid.to_string()),
                Listed::Full => full += 1,
            }
        }
        for _ in 0..full {
            let what = "MOB_NBR-ADV names more base stations than are remembered";
            self.refuse("neighbors-full", serving, what);
        }
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let is_first = !std::mem::replace(&mut connected.told_of_list, true);
        if is_first || !new.is_empty() {
            let detail = (!new.is_empty()).then(|| format!("new: {}", new.join(", ")));
            let direction = crate::link::Direction::Received;
            self.step("MOB_NBR-ADV", direction, Some(serving), detail);
        }
        self.consider_scan(now);
    }

    pub(super) fn handle_connected_timeout(&mut self, now: Instant) {
        self.handle_scan_timeout(now);
        self.handle_handover_timeout(now);
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let (bsid, cid) = (connected.bsid, connected.primary_cid);
        for answer in connected.flows.handle_timeout(now) {
            self.send(bsid, cid, Message::DsaRsp(answer), true);
        }
        let Phase::Connected(connected) = &self.phase else {
            return;
        };
        let is_deaf = connected.scan.as_ref().is_some_and(Scan::is_deaf);
        if !is_deaf && connected.lost <= now {
            self.handle_lost(now);
        }
    }

    /// Nothing more came of, or is to come of, the handover that was tried.
    pub(super) fn end_handover(&mut self, now: Instant) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.handover = None;
            connected.confirmed = None;
            connected.handover_after = now + HO_BACKOFF;
        }
    }
}
