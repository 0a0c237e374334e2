//! Network entry: ranging, capabilities, keys, registration, service flows; what another base station
//! has told of the station is skipped.

use std::time::Duration;

use fmip_ctl::{
    link::ieee80216e::{
        auth::{self, Ak, End, Pmk, Refusal},
        message::{
            Authentication, BasicCapabilities, Confirmation, DsaAnswer, DsaReq, Flows,
            HoOptimization, MacMode, Message, Pdu, Pkm, PkmCode, RangingStatus, Received, RegReq,
            RegResponse, RegRsp, RegistrationParameters, RngReq, RngRsp, SecurityNegotiation,
            ServiceFlow, cid,
        },
    },
    proto::Instant,
    wire::MacAddr,
};

use super::{BaseStation, Output, Served};
use crate::emulated::ieee80216e::{
    backbone::{self, Context},
    step::Act,
};

/// SAChallengeTimer and T7 of IEEE 802.16e-2005 (tables 343 and 342): how long a base station waits for
/// the answer to what it asks.
const ANSWER: Duration = Duration::from_secs(1);
/// SaChallengeMaxResends, and DSx Request Retries of those tables.
const RESENDS: u8 = 3;
/// How long an AK holds, in seconds.
const KEY_LIFETIME: u32 = 3600;

/// A station on its way into the network.
#[derive(Debug)]
pub(super) struct Entry {
    state: State,
    /// Whether it has shown that it has the key.
    authentic: bool,
    pmk: [u8; auth::KEY_LEN],
    capabilities: BasicCapabilities,
    registration: Option<RegRsp>,
    cids: (u16, u16),
    /// The base station that it says it comes from.
    from: Option<MacAddr>,
    /// The answer to its RNG-REQ, until it says something else.
    answer: Option<RngRsp>,
    /// What was asked and is asked again.
    asked: Option<Asked>,
}

#[derive(Debug)]
enum State {
    /// Another base station is asked about it.
    AwaitsContext {
        until: Instant,
        request: Box<Received>,
    },
    /// It is ranged; SBC-REQ is next.
    Ranged,
    /// It is to show that it has the key.
    Challenged { identifier: u8, random: [u8; 8] },
    /// REG-REQ is next.
    Keyed { answer: Box<Pkm> },
    /// Its service flows are being made.
    Registered { transaction: u16 },
}

#[derive(Debug)]
struct Asked {
    message: Message,
    /// More of it, for people.
    detail: &'static str,
    again: Instant,
    left: u8,
}

impl Asked {
    /// What is asked again, with more of it for people.
    fn again(&self) -> (Message, String) {
        (self.message.clone(), format!("{}, again", self.detail))
    }
}

impl Entry {
    /// Whether the station has shown that it has the key.
    pub(super) fn is_authentic(&self) -> bool {
        self.authentic
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match (&self.state, &self.asked) {
            (State::AwaitsContext { until, .. }, _) => Some(*until),
            (_, Some(asked)) => Some(asked.again),
            _ => None,
        }
    }
}

impl BaseStation {
    /// RNG-REQ: the first message of a station here.
    pub(super) fn ranging(
        &mut self,
        now: Instant,
        station: MacAddr,
        request: &RngReq,
        received: &Received,
    ) {
        if request.station.is_some_and(|named| named != station) {
            return self.complain(Some(station), "RNG-REQ of another station");
        }
        let from = request.serving.filter(|_| request.handover);
        if self.is_ranged_again(station, from, received) {
            return;
        }
        let under_way = self.stations.get(&station);
        let under_way = under_way.and_then(|known| known.entry.as_ref());
        let cids = match under_way {
            Some(entry) => entry.cids,
            None => {
                let cids = (self.next_cid, self.next_cid.wrapping_add(1));
                self.next_cid = (self.next_cid + 2) % 0x2000;
                cids
            }
        };
        let entry = Entry {
            state: State::AwaitsContext {
                until: now + self.configuration.timing.context(),
                request: Box::new(received.clone()),
            },
            authentic: false,
            pmk: [0; auth::KEY_LEN],
            capabilities: BasicCapabilities::default(),
            registration: None,
            cids,
            from,
            answer: None,
            asked: None,
        };
        let own_context = (from == Some(self.own))
            .then(|| self.context_of(station))
            .flatten();
        let known = self.stations.entry(station).or_default();
        known.entry = Some(entry);
        if own_context.is_some() {
            known.context = own_context;
        }
        match from {
            Some(other)
                if known.context.is_none() && self.configuration.neighbors.contains(&other) =>
            {
                self.tell(other, station, backbone::Message::ContextRequest);
            }
            _ => self.context_came(now, station),
        }
    }

    /// Whether an RNG-REQ is the one before it again, after which the station has said nothing: T3 was over
    /// before the answer came to it. The answer is the same, for it may go on with either.
    fn is_ranged_again(
        &mut self,
        station: MacAddr,
        from: Option<MacAddr>,
        received: &Received,
    ) -> bool {
        let Some(known) = self.stations.get_mut(&station) else {
            return false;
        };
        let Some(entry) = known.entry.as_mut().filter(|entry| entry.from == from) else {
            return false;
        };
        if let State::AwaitsContext { request, .. } = &mut entry.state {
            // Both are answered when that comes.
            **request = received.clone();
            return true;
        }
        let Some(answer) = entry.answer.clone() else {
            return false;
        };
        let cid = entry.cids.1;
        let asked = entry.asked.as_ref().map(Asked::again);
        if from.is_some() {
            // The one before it was not the station's, perhaps, and this one is.
            if !entry.authentic {
                return false;
            }
            let verified = known.keys.as_mut().ok_or(Refusal::NoKey);
            if let Err(why) = verified.and_then(|keys| keys.verify(received)) {
                self.complain(Some(station), &format!("RNG-REQ is not authentic: {why}"));
                return true;
            }
        }
        let answer = Message::RngRsp(answer);
        let detail = Some("again".to_owned());
        self.send(station, cid::INITIAL_RANGING, answer, detail);
        if let Some((asked, detail)) = asked {
            self.send(station, cid, asked, Some(detail));
        }
        true
    }

    /// Another base station has told what it knows of a station, or that it knows nothing.
    pub(super) fn context_came(&mut self, now: Instant, station: MacAddr) {
        let Some(known) = self.stations.get_mut(&station) else {
            return;
        };
        let Some(entry) = &mut known.entry else {
            return;
        };
        let State::AwaitsContext { request, .. } = &entry.state else {
            return;
        };
        let request = request.clone();
        entry.state = State::Ranged;
        let admits = self.admits;
        let mut answer = RngRsp::new(if admits {
            RangingStatus::Success
        } else {
            RangingStatus::Abort
        });
        answer.station = Some(station);
        answer.basic_cid = Some(entry.cids.0);
        answer.primary_cid = Some(entry.cids.1);
        answer.ho_optimization = Some(HoOptimization::default());
        let told = known.context.take().and_then(read);
        let skips = told.is_some();
        // Without the context the key is the network's still: its authenticator has it. That the station
        // has it, too, is shown by a handover's RNG-REQ.
        let pmk = told
            .as_ref()
            .map_or(self.configuration.pmk, |(pmk, ..)| *pmk);
        let mut why = None;
        if entry.from.is_some() {
            // What was agreed goes with the context, too; else the station says it by what it does.
            let agreed = told
                .as_ref()
                .and_then(|(_, capabilities, _)| capabilities.security.as_ref().and_then(mode_of));
            let mode = agreed.unwrap_or(match request.pdu.authentication {
                Some(Authentication::Hmac(_)) => MacMode::Hmac,
                Some(Authentication::Cmac(_)) | None => MacMode::Cmac,
            });
            match keys_of(&mut known.keys, mode, pmk, station, self.own).verify(&request) {
                Ok(()) => {
                    entry.authentic = true;
                    entry.pmk = pmk;
                }
                Err(error) => why = Some(error.to_string()),
            }
        }
        if let Some((_, capabilities, registration)) = told.filter(|_| entry.authentic) {
            entry.capabilities = capabilities.clone();
            entry.registration = Some(registration.clone());
            answer.ho_optimization = Some(
                HoOptimization::OMIT_SBC
                    .with(HoOptimization::OMIT_PKM)
                    .with(HoOptimization::OMIT_REG),
            );
            answer.sbc = Some(capabilities);
            answer.reg = Some(registration.parameters);
        }
        entry.answer = Some(answer.clone());
        let (authentic, from) = (entry.authentic, entry.from);
        if let Some(why) = why {
            self.complain(Some(station), &format!("RNG-REQ is not authentic: {why}"));
        }
        if authentic
            && admits
            && let Some(from) = from
            && from != self.own
        {
            self.tell(from, station, backbone::Message::Arrived);
        }
        let skips = skips && authentic && admits;
        let detail = if !admits {
            "not here"
        } else if skips {
            "SBC, PKM and REG are skipped"
        } else {
            "nothing is skipped"
        };
        self.send(
            station,
            cid::INITIAL_RANGING,
            Message::RngRsp(answer),
            Some(detail.to_owned()),
        );
        if skips {
            self.make_flows(now, station);
        }
        if !admits && let Some(known) = self.stations.get_mut(&station) {
            known.entry = None;
        }
    }

    /// SBC-REQ.
    pub(super) fn capabilities(
        &mut self,
        now: Instant,
        station: MacAddr,
        request: &BasicCapabilities,
    ) {
        let random = self.random.u64(..).to_be_bytes();
        let pmk = self.configuration.pmk;
        let own = self.own;
        let Some(known) = self.stations.get_mut(&station) else {
            return self.complain(Some(station), "SBC-REQ without ranging");
        };
        let Some(entry) = (known.entry.as_mut())
            .filter(|entry| matches!(entry.state, State::Ranged | State::Challenged { .. }))
        else {
            return self.complain(Some(station), "SBC-REQ out of turn");
        };
        let offered = request.security.as_ref();
        let speaks = (offered.and_then(|security| security.pkm_version))
            .is_some_and(|version| version & SecurityNegotiation::PKM_V2 != 0);
        let mode = offered.and_then(mode_of);
        let (true, Some(mode)) = (speaks, mode) else {
            return self.complain(
                Some(station),
                "it does not offer PKMv2, or no CMAC and no HMAC",
            );
        };
        let agreed = BasicCapabilities::with(mode);
        entry.capabilities = agreed.clone();
        entry.answer = None;
        let identifier = match entry.state {
            State::Challenged { identifier, .. } => identifier.wrapping_add(1),
            _ => 1,
        };
        entry.state = State::Challenged { identifier, random };
        let (basic, primary) = entry.cids;
        let keys = keys_of(&mut known.keys, mode, pmk, station, own);
        let mut challenge = Pkm::new(PkmCode::SaTekChallenge, identifier);
        challenge.bs_random = Some(random);
        challenge.akid = Some(keys.akid());
        challenge.key_lifetime = Some(KEY_LIFETIME);
        self.send(station, basic, Message::SbcRsp(agreed), None);
        self.ask(
            now,
            station,
            primary,
            Message::PkmRsp(challenge),
            "SA-TEK-Challenge",
        );
    }

    /// PKM-REQ: the second of the three messages by which both show that they have the key.
    pub(super) fn privacy(&mut self, station: MacAddr, request: &Pkm, received: &Received) {
        let pmk = self.configuration.pmk;
        let Some(known) = self.stations.get_mut(&station) else {
            return self.complain(Some(station), "PKM-REQ without ranging");
        };
        let (Some(entry), Some(keys)) = (known.entry.as_mut(), known.keys.as_mut()) else {
            return self.complain(Some(station), "PKM-REQ without ranging");
        };
        if request.code != PkmCode::SaTekRequest {
            return self.complain(Some(station), "PKM-REQ that is no SA-TEK-Request");
        }
        let primary = entry.cids.1;
        let answer = match &entry.state {
            State::Challenged { identifier, random } => {
                if request.identifier != *identifier || request.bs_random != Some(*random) {
                    return self.complain(Some(station), "SA-TEK-Request to another challenge");
                }
                if let Err(why) = keys.verify_fresh(received) {
                    return self.complain(Some(station), &format!("SA-TEK-Request: {why}"));
                }
                let mut answer = Pkm::new(PkmCode::SaTekResponse, *identifier);
                answer.ms_random = request.ms_random;
                answer.bs_random = Some(*random);
                answer.akid = request.akid;
                answer.key_lifetime = Some(KEY_LIFETIME);
                answer.security = Some(SecurityNegotiation::with(keys.mode()));
                entry.authentic = true;
                entry.pmk = pmk;
                entry.asked = None;
                entry.state = State::Keyed {
                    answer: Box::new(answer.clone()),
                };
                answer
            }
            // The answer was lost.
            State::Keyed { answer } if answer.identifier == request.identifier => {
                if let Err(why) = keys.verify(received) {
                    return self.complain(Some(station), &format!("SA-TEK-Request: {why}"));
                }
                answer.as_ref().clone()
            }
            _ => return self.complain(Some(station), "PKM-REQ out of turn"),
        };
        let detail = Some("SA-TEK-Response".to_owned());
        self.send(station, primary, Message::PkmRsp(answer), detail);
    }

    /// REG-REQ.
    pub(super) fn registration(&mut self, now: Instant, station: MacAddr, request: &RegReq) {
        let retain = self.configuration.timing.resource_retain_ms / 100;
        let known = self.stations.get_mut(&station);
        let Some(entry) = known.and_then(|known| known.entry.as_mut()) else {
            return self.complain(Some(station), "REG-REQ without ranging");
        };
        if !matches!(entry.state, State::Keyed { .. } | State::Registered { .. }) {
            return self.complain(Some(station), "REG-REQ out of turn");
        }
        let answer = RegRsp {
            response: RegResponse::Ok,
            parameters: RegistrationParameters {
                managed: request.parameters.managed,
                ip_management: request.parameters.ip_management,
                ip_version: Some(RegistrationParameters::IPV6),
                resource_retain_time: Some(retain.clamp(1, 255) as u8),
                mobility: Some(RegistrationParameters::HANDOVER),
                service_flows: Some(1),
                ..RegistrationParameters::default()
            },
        };
        entry.registration = Some(answer.clone());
        let primary = entry.cids.1;
        self.send(station, primary, Message::RegRsp(answer), None);
        self.make_flows(now, station);
    }

    /// The flows that the station has by contract: one each way, for IPv6.
    fn make_flows(&mut self, now: Instant, station: MacAddr) {
        let transaction = self.transaction();
        let cid = self.next_cid;
        self.next_cid = (self.next_cid + 1) % 0x2000;
        let known = self.stations.get_mut(&station);
        let Some(entry) = known.and_then(|known| known.entry.as_mut()) else {
            return;
        };
        entry.state = State::Registered { transaction };
        let primary = entry.cids.1;
        let flow = |sfid| ServiceFlow {
            sfid: Some(sfid),
            cid: Some(cid | 0x2000),
            qos_set: Some(7),
            scheduling: Some(ServiceFlow::BEST_EFFORT),
            convergence: Some(ServiceFlow::IPV6),
            ..ServiceFlow::default()
        };
        let request = DsaReq {
            transaction,
            flows: Flows {
                uplink: Some(flow(1)),
                downlink: Some(flow(2)),
                unknown: Vec::new(),
            },
        };
        self.ask(
            now,
            station,
            primary,
            Message::DsaReq(request),
            "one each way",
        );
    }

    /// DSA-RSP: the station is in.
    pub(super) fn flows_made(&mut self, station: MacAddr, answer: &DsaAnswer) {
        let Some(known) = self.stations.get_mut(&station) else {
            return;
        };
        let acknowledgement = DsaAnswer {
            transaction: answer.transaction,
            confirmation: Confirmation::Ok,
            flows: Flows::default(),
        };
        let in_turn = known.entry.as_ref().is_some_and(|entry| {
            matches!(entry.state, State::Registered { transaction }
                if transaction == answer.transaction)
        });
        if !in_turn {
            // The acknowledgement was lost, perhaps.
            let cid = known.served.as_ref().map(|served| served.cids.1);
            return match cid {
                Some(cid) => self.send(station, cid, Message::DsaAck(acknowledgement), None),
                None => self.complain(Some(station), "DSA-RSP out of turn"),
            };
        }
        if answer.confirmation != Confirmation::Ok {
            return self.complain(Some(station), "it refuses its service flows");
        }
        let entry = known.entry.take().expect("it was looked at above");
        let Some(registration) = entry.registration else {
            return;
        };
        known.left = None;
        known.expected_from = None;
        known.served = Some(Served {
            pmk: entry.pmk,
            capabilities: entry.capabilities,
            registration,
            cids: entry.cids,
            negotiation: None,
            agreed: Vec::new(),
        });
        if let Some(from) = entry.from.filter(|from| *from != self.own) {
            self.tell(from, station, backbone::Message::HandoverComplete);
        }
        // Before the station knows it, for then it sends.
        self.outputs.push_back(Output::Carry {
            station,
            carries: true,
        });
        self.act(Act::local("carries", Some(station)));
        let cid = entry.cids.1;
        self.send(station, cid, Message::DsaAck(acknowledgement), None);
    }

    /// Sends what is to be answered, and again if it is not.
    fn ask(
        &mut self,
        now: Instant,
        station: MacAddr,
        cid: u16,
        message: Message,
        detail: &'static str,
    ) {
        let known = self.stations.get_mut(&station);
        if let Some(entry) = known.and_then(|known| known.entry.as_mut()) {
            entry.asked = Some(Asked {
                message: message.clone(),
                detail,
                again: now + ANSWER,
                left: RESENDS,
            });
        }
        self.send(station, cid, message, Some(detail.to_owned()));
    }

    pub(super) fn entry_timeout(&mut self, now: Instant, station: MacAddr) {
        let Some(known) = self.stations.get_mut(&station) else {
            return;
        };
        let Some(entry) = &mut known.entry else {
            return;
        };
        if entry.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if matches!(entry.state, State::AwaitsContext { .. }) {
            // Without it, then.
            return self.context_came(now, station);
        }
        let cid = entry.cids.1;
        match &mut entry.asked {
            Some(asked) if asked.left > 0 => {
                asked.left -= 1;
                asked.again = now + ANSWER;
                let (message, detail) = asked.again();
                self.send(station, cid, message, Some(detail));
            }
            _ => {
                known.entry = None;
                self.act(Act::local("entry-given-up", Some(station)));
            }
        }
    }

    pub(super) fn transaction(&mut self) -> u16 {
        let transaction = self.next_transaction;
        self.next_transaction = transaction.wrapping_add(1) | 0x8000;
        transaction
    }
}

/// The AK of a station at a base station: the one that was in use before, if it is that, for its packet
/// numbers go on.
fn keys_of(
    known: &mut Option<auth::Context>,
    mode: MacMode,
    pmk: [u8; auth::KEY_LEN],
    station: MacAddr,
    base_station: MacAddr,
) -> &mut auth::Context {
    let ak = Ak::derive_for(mode, &Pmk(pmk), station, base_station);
    let end = End::BaseStation;
    let made = auth::Context::new(&ak, super::FIRST_KEY, station, base_station, end);
    match known {
        Some(keys) if keys.akid() == made.akid() => {}
        _ => *known = Some(made),
    }
    known.as_mut().expect("there is one now")
}

/// The best way to authenticate messages that was offered, or that which was agreed.
fn mode_of(security: &SecurityNegotiation) -> Option<MacMode> {
    security.mac_mode.and_then(MacMode::best_of)
}

/// What a context says; nothing if it is not whole.
fn read(context: Context) -> Option<([u8; auth::KEY_LEN], BasicCapabilities, RegRsp)> {
    let message = |octets: &[u8]| Some(Pdu::decode(octets).ok()?.pdu.message);
    match (
        message(&context.capabilities)?,
        message(&context.registration)?,
    ) {
        (Message::SbcRsp(capabilities), Message::RegRsp(registration)) => {
            Some((context.pmk, capabilities, registration))
        }
        _ => None,
    }
}
