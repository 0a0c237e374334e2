//! Network entry: synchronise, RNG, SBC, PKM, REG, DSA (W16-11).

use std::time::Duration;

use crate::{
    link::ieee80216e::{
        air::Tuned,
        auth::Refusal,
        message::{
            BasicCapabilities, HoIndication, HoOptimization, MacMode, Message, MobHoInd, Pkm,
            PkmCode, RangingStatus, Received, RegReq, RegResponse, RegistrationParameters, RngReq,
            RngRsp, SecurityNegotiation, cid,
        },
        timing::{
            FRAME, HANDOVER_RANGING_RETRIES, HO_BACKOFF, HO_RETRANSMISSION, RANGING_RETRIES,
            REGISTRATION_RETRIES, RESOURCE_RETAIN, SA_CHALLENGE_WAIT, SA_TEK, SA_TEK_RETRIES,
            SBC_RETRIES, T3, T6, T10, T18, T21,
        },
    },
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

use super::{
    Freshness, Output, Phase, Station, connected::Connected, flows::ServiceFlows, neighbors::Signal,
};

/// Where a handover began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) bsid: MacAddr,
    pub(super) basic_cid: u16,
    /// Until when it keeps what it has of the station, if it does.
    pub(super) retained_until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) target: MacAddr,
    /// `None`: the first entry, or one after a search.
    origin: Option<Origin>,
    /// Where it was tried before.
    tried: Vec<MacAddr>,
    stage: Stage,
    /// When the stage's question is repeated, or given up.
    due: Instant,
    retries_left: u32,
    signal: Option<Signal>,
    basic_cid: u16,
    primary_cid: u16,
    optimization: HoOptimization,
    parameters: RegistrationParameters,
    flows: ServiceFlows,
}

#[derive(Debug)]
enum Stage {
    Synchronise,
    Ranging,
    Capabilities,
    Challenge,
    SaTek(Pkm),
    /// With `false`, the base station says REG-RSP unasked.
    Registration {
        is_asked: bool,
    },
    Flows,
}

impl Entry {
    /// At a base station that was found by listening.
    pub(super) fn first(now: Instant, target: MacAddr) -> Self {
        Self::new(target, None, now + T21)
    }

    /// At the target of a handover.
    pub(super) fn handover(
        now: Instant,
        target: MacAddr,
        origin: Origin,
        lost_dl_map: Duration,
    ) -> Self {
        Self::new(target, Some(origin), now + lost_dl_map)
    }

    fn new(target: MacAddr, origin: Option<Origin>, due: Instant) -> Self {
        Self {
            target,
            origin,
            tried: Vec::new(),
            stage: Stage::Synchronise,
            due,
            retries_left: 0,
            signal: None,
            basic_cid: 0,
            primary_cid: 0,
            optimization: HoOptimization::default(),
            parameters: RegistrationParameters::default(),
            flows: ServiceFlows::default(),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.flows
            .deadline()
            .map_or(self.due, |due| due.min(self.due))
    }

    /// How many service flows there are to be.
    fn expected_flows(&self) -> u32 {
        u32::from(self.parameters.service_flows.unwrap_or(1))
    }
}

/// Whether what a base station chose of what was offered can be spoken. A forged SBC-RSP cannot
/// weaken anything: only one way was offered, and there is no other that the station would speak.
fn agrees(offered: MacMode, chosen: &SecurityNegotiation) -> bool {
    let has = |value: Option<u8>, bit| value.is_none_or(|value| value & bit != 0);
    has(chosen.mac_mode, offered.bit()) && has(chosen.pkm_version, SecurityNegotiation::PKM_V2)
}

impl Station {
    /// Begins to enter: nobody else is heard from now on.
    pub(super) fn enter(&mut self, entry: Entry) {
        let target = entry.target;
        self.phase = Phase::Entering(entry);
        self.output(Output::Tune(Tuned::to(target)));
        self.local("synchronise", Some(target), None);
    }

    /// A frame of the base station that it enters at.
    pub(super) fn handle_entering(
        &mut self,
        now: Instant,
        signal_dbm: Option<i8>,
        received: Received,
    ) {
        let Phase::Entering(entry) = &mut self.phase else {
            return;
        };
        let (bsid, basic_cid, primary_cid) = (entry.target, entry.basic_cid, entry.primary_cid);
        if let Message::DlMap(_) = received.pdu.message {
            if let Some(dbm) = signal_dbm {
                match &mut entry.signal {
                    Some(signal) => signal.measure(dbm),
                    None => entry.signal = Some(Signal::new(dbm)),
                }
            }
            if let Stage::Synchronise = entry.stage {
                self.took(bsid, &received.pdu.message);
                self.synchronised(now);
            }
            return;
        }
        let expected_cid = match (&entry.stage, &received.pdu.message) {
            (Stage::Ranging, Message::RngRsp(_)) => cid::INITIAL_RANGING,
            (Stage::Capabilities, Message::SbcRsp(_)) => basic_cid,
            (Stage::Challenge | Stage::SaTek(_), Message::PkmRsp(_))
            | (Stage::Registration { .. }, Message::RegRsp(_))
            | (_, Message::DsaReq(_) | Message::DsaAck(_)) => primary_cid,
            // A list of neighbors is heard again; what else is late, or early, is asked for again.
            _ => {
                if !matches!(received.pdu.message, Message::MobNbrAdv(_)) {
                    self.count("out-of-place");
                }
                return;
            }
        };
        if received.pdu.cid != expected_cid {
            let name = received.pdu.message.name();
            return self.refuse(
                "other-cid",
                bsid,
                &format!("{name} on another's connection"),
            );
        }
        match &received.pdu.message {
            Message::RngRsp(response) => {
                let response = response.clone();
                self.handle_ranging(now, bsid, &received, response);
            }
            Message::SbcRsp(capabilities) => {
                let offered = self.settings.mac_mode;
                let chosen = capabilities.security.as_ref();
                let agrees = chosen.is_none_or(|chosen| agrees(offered, chosen));
                self.took(bsid, &received.pdu.message);
                if !agrees {
                    return self.fail_entry(
                        now,
                        "SBC-RSP has not PKM version 2 and the offered authentication",
                    );
                }
                self.after_capabilities(now);
            }
            Message::PkmRsp(pkm) => {
                let pkm = pkm.clone();
                self.handle_pkm(now, bsid, &received, &pkm);
            }
            // REG-RSP, DSA-REQ, DSA-ACK.
            _ if self.is_authentic(bsid, &received, Freshness::Ordered) => {
                self.took(bsid, &received.pdu.message);
                self.handle_registered(now, bsid, received.pdu.message);
            }
            _ => {}
        }
    }

    fn stage(&mut self, stage: Stage, due: Instant, retries_left: u32) {
        if let Phase::Entering(entry) = &mut self.phase {
            entry.stage = stage;
            entry.due = due;
            entry.retries_left = retries_left;
        }
    }

    /// The target is heard.
    fn synchronised(&mut self, now: Instant) {
        let Phase::Entering(entry) = &self.phase else {
            return;
        };
        let (bsid, origin) = (entry.target, entry.origin);
        if let Some(origin) = origin
            && origin.bsid == bsid
            && origin.retained_until.is_some_and(|until| now < until)
        {
            // It is back in time: what it had is there still (section 6.3.22.2.7).
            let message = Message::MobHoInd(MobHoInd::new(HoIndication::Cancel));
            self.send(bsid, origin.basic_cid, message, true);
        }
        let retries = match origin {
            Some(_) => HANDOVER_RANGING_RETRIES,
            None => RANGING_RETRIES,
        };
        self.stage(Stage::Ranging, now + T3, retries);
        self.ask_for_ranging();
    }

    fn ask_for_ranging(&mut self) {
        let station = self.settings.station;
        let Phase::Entering(entry) = &self.phase else {
            return;
        };
        let (bsid, origin) = (entry.target, entry.origin);
        let message = Message::RngReq(RngReq {
            station: Some(station),
            serving: origin.map(|origin| origin.bsid),
            handover: origin.is_some(),
            ho_id: None,
            unknown: Vec::new(),
        });
        self.send(bsid, cid::INITIAL_RANGING, message, origin.is_some());
    }

    fn handle_ranging(
        &mut self,
        now: Instant,
        bsid: MacAddr,
        received: &Received,
        response: RngRsp,
    ) {
        let station = self.settings.station;
        let Phase::Entering(entry) = &mut self.phase else {
            return;
        };
        if response.station != Some(station) {
            return; // Another's: all that are not known yet are ranged on one connection.
        }
        let in_handover = entry.origin.is_some();
        if in_handover && !self.is_authentic(bsid, received, Freshness::Ordered) {
            return;
        }
        self.took(bsid, &received.pdu.message);
        match response.status {
            RangingStatus::Success => {}
            // It is asked again when T3 is over.
            RangingStatus::Continue | RangingStatus::Rerange => return,
            RangingStatus::Abort | RangingStatus::Other(_) => {
                return self.fail_entry(now, "ranging was aborted");
            }
        }
        let (Some(basic_cid), Some(primary_cid)) = (response.basic_cid, response.primary_cid)
        else {
            return self.refuse("malformed", bsid, "RNG-RSP: success without CIDs");
        };
        let Phase::Entering(entry) = &mut self.phase else {
            return;
        };
        entry.basic_cid = basic_cid;
        entry.primary_cid = primary_cid;
        if in_handover {
            entry.optimization = response.ho_optimization.unwrap_or_default();
            entry.parameters = response.reg.unwrap_or_default();
        }
        if entry.optimization.omits_sbc() {
            return self.after_capabilities(now);
        }
        self.stage(Stage::Capabilities, now + T18, SBC_RETRIES);
        self.ask_for_capabilities();
    }

    fn ask_for_capabilities(&mut self) {
        let Phase::Entering(entry) = &self.phase else {
            return;
        };
        let (bsid, cid) = (entry.target, entry.basic_cid);
        let message = Message::SbcReq(BasicCapabilities::with(self.settings.mac_mode));
        self.send(bsid, cid, message, false);
    }

    fn after_capabilities(&mut self, now: Instant) {
        let Phase::Entering(entry) = &self.phase else {
            return;
        };
        if entry.optimization.omits_pkm() {
            return self.after_keys(now);
        }
        self.stage(Stage::Challenge, now + SA_CHALLENGE_WAIT, 0);
    }

    /// The SA-TEK 3-way handshake (section 7.8.1).
    fn handle_pkm(&mut self, now: Instant, bsid: MacAddr, received: &Received, pkm: &Pkm) {
        match pkm.code {
            PkmCode::SaTekChallenge => {
                if !self.is_authentic(bsid, received, Freshness::None) {
                    return;
                }
                let akid = self.context(bsid).akid();
                let Some(bs_random) = pkm.bs_random else {
                    return self.refuse("malformed", bsid, "SA-TEK-Challenge without BS_Random");
                };
                if pkm.akid.is_some_and(|other| other != akid) {
                    let name = Refusal::OtherKey.name(self.settings.mac_mode);
                    return self.refuse(name, bsid, "SA-TEK-Challenge of another key");
                }
                self.took(bsid, &received.pdu.message);
                let ms_random = match &self.phase {
                    // It was repeated: so is the answer.
                    Phase::Entering(Entry {
                        stage: Stage::SaTek(request),
                        ..
                    }) => request.ms_random.unwrap_or_default(),
                    _ => self.random(),
                };
                let request = Pkm {
                    ms_random: Some(ms_random),
                    bs_random: Some(bs_random),
                    akid: Some(akid),
                    security: Some(SecurityNegotiation::with(self.settings.mac_mode)),
                    ..Pkm::new(PkmCode::SaTekRequest, pkm.identifier)
                };
                self.stage(Stage::SaTek(request), now + SA_TEK, SA_TEK_RETRIES);
                self.ask_for_keys();
            }
            PkmCode::SaTekResponse => {
                let Phase::Entering(Entry {
                    stage: Stage::SaTek(request),
                    ..
                }) = &self.phase
                else {
                    return;
                };
                let is_answer = pkm.ms_random == request.ms_random
                    && pkm.bs_random == request.bs_random
                    && pkm.identifier == request.identifier;
                if !is_answer {
                    let what = "SA-TEK-Response to another SA-TEK-Request";
                    let name = Refusal::Replayed.name(self.settings.mac_mode);
                    return self.refuse(name, bsid, what);
                }
                if self.is_authentic(bsid, received, Freshness::Random) {
                    self.took(bsid, &received.pdu.message);
                    self.after_keys(now);
                }
            }
            PkmCode::KeyReject => {
                if self.is_authentic(bsid, received, Freshness::Ordered) {
                    self.took(bsid, &received.pdu.message);
                    self.fail_entry(now, "the base station rejects the key");
                }
            }
            _ => {
                self.count("out-of-place");
            }
        }
    }

    fn ask_for_keys(&mut self) {
        let Phase::Entering(entry) = &self.phase else {
            return;
        };
        let Stage::SaTek(request) = &entry.stage else {
            return;
        };
        let (bsid, cid, request) = (entry.target, entry.primary_cid, request.clone());
        self.send(bsid, cid, Message::PkmReq(request), true);
    }

    fn after_keys(&mut self, now: Instant) {
        let Phase::Entering(entry) = &self.phase else {
            return;
        };
        let optimization = entry.optimization;
        if !optimization.omits_reg() {
            let stage = Stage::Registration { is_asked: true };
            self.stage(stage, now + T6, REGISTRATION_RETRIES);
            return self.ask_for_registration();
        }
        if optimization.0 & HoOptimization::UNSOLICITED_REG.0 != 0 {
            let stage = Stage::Registration { is_asked: false };
            return self.stage(stage, now + T6, REGISTRATION_RETRIES);
        }
        self.after_registration(now);
    }

    fn ask_for_registration(&mut self) {
        let Phase::Entering(entry) = &self.phase else {
            return;
        };
        let (bsid, cid) = (entry.target, entry.primary_cid);
        let message = Message::RegReq(RegReq {
            parameters: RegistrationParameters {
                managed: Some(0),
                ip_version: Some(RegistrationParameters::IPV6),
                mobility: Some(RegistrationParameters::HANDOVER),
                ..RegistrationParameters::default()
            },
        });
        self.send(bsid, cid, message, true);
    }

    /// REG-RSP, DSA-REQ or DSA-ACK, which is authentic.
    fn handle_registered(&mut self, now: Instant, bsid: MacAddr, message: Message) {
        let Phase::Entering(entry) = &mut self.phase else {
            return;
        };
        match message {
            Message::RegRsp(response) => {
                if response.response != RegResponse::Ok {
                    return self.fail_entry(now, "registration was refused");
                }
                entry.parameters = response.parameters;
                self.after_registration(now);
            }
            Message::DsaReq(request) => {
                let cid = entry.primary_cid;
                if let Some(answer) = entry.flows.handle_request(now, &request) {
                    self.send(bsid, cid, Message::DsaRsp(answer), true);
                }
            }
            Message::DsaAck(acknowledgment) => {
                entry.flows.handle_acknowledgment(&acknowledgment);
                self.consider_flows(now);
            }
            _ => {}
        }
    }

    fn after_registration(&mut self, now: Instant) {
        let Phase::Entering(entry) = &self.phase else {
            return;
        };
        if entry.optimization.keeps_flows() {
            return self.connect(now);
        }
        self.stage(Stage::Flows, now + T10, 0);
        self.consider_flows(now);
    }

    /// The link is up when its service flows are (W16-11).
    fn consider_flows(&mut self, now: Instant) {
        if let Phase::Entering(entry) = &self.phase
            && let Stage::Flows = entry.stage
            && entry.flows.made >= entry.expected_flows()
        {
            self.connect(now);
        }
    }

    fn connect(&mut self, now: Instant) {
        let lost = now + self.settings.lost_dl_map;
        let Phase::Entering(entry) = &mut self.phase else {
            return;
        };
        let bsid = entry.target;
        let parameters = &entry.parameters;
        let connected = Connected {
            bsid,
            basic_cid: entry.basic_cid,
            primary_cid: entry.primary_cid,
            signal: entry.signal.unwrap_or(Signal::new(i8::MIN)),
            lost,
            scan: None,
            scan_after: now,
            handover: None,
            // It would be sent to where it was not let in.
            handover_after: if entry.tried.is_empty() {
                now
            } else {
                now + HO_BACKOFF
            },
            confirmed: None,
            flows: std::mem::take(&mut entry.flows),
            ho_retransmission: parameters
                .ho_retransmission
                .filter(|frames| *frames > 0)
                .map_or(HO_RETRANSMISSION, |frames| FRAME * u32::from(frames)),
            retain: parameters
                .resource_retain_time
                .map_or(RESOURCE_RETAIN, |time| {
                    Duration::from_millis(100) * u32::from(time)
                }),
            told_of_list: false,
        };
        self.phase = Phase::Connected(connected);
        self.settings.first = None;
        self.neighbors.begin_anew(now, bsid);
        self.link_up = true;
        self.primitive(LinkEvent::LinkUp { access_point: bsid });
        self.tell_heard(now);
    }

    pub(super) fn handle_entry_timeout(&mut self, now: Instant) {
        let Phase::Entering(entry) = &mut self.phase else {
            return;
        };
        let (bsid, cid) = (entry.target, entry.primary_cid);
        for answer in entry.flows.handle_timeout(now) {
            self.send(bsid, cid, Message::DsaRsp(answer), true);
        }
        let Phase::Entering(entry) = &mut self.phase else {
            return;
        };
        if now < entry.due {
            return;
        }
        let timeout = match &mut entry.stage {
            Stage::Synchronise => return self.fail_entry(now, "no DL-MAP"),
            Stage::Challenge => return self.fail_entry(now, "no SA-TEK-Challenge"),
            Stage::Flows => return self.fail_entry(now, "no service flow"),
            Stage::Ranging => T3,
            Stage::Capabilities => T18,
            Stage::SaTek(_) => SA_TEK,
            Stage::Registration { is_asked } => {
                *is_asked = true;
                T6
            }
        };
        let Some(left) = entry.retries_left.checked_sub(1) else {
            let why = match entry.stage {
                Stage::Ranging => "no RNG-RSP",
                Stage::Capabilities => "no SBC-RSP",
                Stage::SaTek(_) => "no SA-TEK-Response",
                _ => "no REG-RSP",
            };
            return self.fail_entry(now, why);
        };
        entry.retries_left = left;
        entry.due = now + timeout;
        match entry.stage {
            Stage::Ranging => self.ask_for_ranging(),
            Stage::Capabilities => self.ask_for_capabilities(),
            Stage::SaTek(_) => self.ask_for_keys(),
            _ => self.ask_for_registration(),
        }
    }

    /// It is not let in here: back to where it came from, else to the next best, else anywhere.
    fn fail_entry(&mut self, now: Instant, why: &str) {
        let lost_dl_map = self.settings.lost_dl_map;
        let Phase::Entering(entry) = &mut self.phase else {
            return;
        };
        let target = entry.target;
        let origin = entry.origin;
        let mut tried = std::mem::take(&mut entry.tried);
        tried.push(target);
        self.count("entry-failed");
        self.local("entry-failed", Some(target), Some(why.to_owned()));
        self.link_down();
        let Some(origin) = origin else {
            return self.search(now, &tried);
        };
        let back = Some(origin.bsid).filter(|bsid| !tried.contains(bsid));
        let next = back.or_else(|| {
            let heard = self.neighbors.by_signal();
            let mut heard = heard.into_iter().map(|(bsid, _)| bsid);
            heard.find(|bsid| !tried.contains(bsid))
        });
        match next {
            Some(next) => {
                let entry = Entry::handover(now, next, origin, lost_dl_map);
                self.enter(Entry { tried, ..entry });
            }
            None => self.search(now, &tried),
        }
    }
}
