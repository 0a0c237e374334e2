//! A mobile station that speaks by hand, and base stations that hear each other at once.

use std::{path::PathBuf, time::Duration};

use fmip_ctl::link::ieee80216e::{
    auth::{Ak, End, Pmk},
    message::{
        Candidate, Confirmation, DsaAnswer, Flows, HoIndication, HoOptimization, MacMode, Measured,
        MobHoInd, MobMshoReq, MobScnReq, Pkm, PkmCode, RangingStatus, RegReq, RngReq, Rssi,
        ScanTarget, ScanType, SecurityNegotiation,
    },
};

use super::*;
use crate::emulated::ieee80216e::{Timing, step::Medium};

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const BS1: MacAddr = bs(1);
const BS2: MacAddr = bs(2);
const BS3: MacAddr = bs(3);
const PMK: [u8; auth::KEY_LEN] = [7; auth::KEY_LEN];

const fn bs(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 10, number])
}

/// Three base stations, and what came of what happened last.
struct World {
    now: Instant,
    stations: BTreeMap<MacAddr, BaseStation>,
    /// The mobile station's keys, by base station.
    keys: BTreeMap<MacAddr, auth::Context>,
    /// What base stations did since it was looked at last, with whose it is.
    acts: Vec<(MacAddr, Act)>,
    /// What was sent to the mobile station.
    heard: Vec<(MacAddr, Received)>,
    /// Who carries the station's data.
    carried_by: Vec<MacAddr>,
    cids: (u16, u16),
    /// What is on its way between base stations, while it does not come.
    on_its_way: Option<Vec<(MacAddr, Envelope)>>,
}

impl World {
    fn new() -> Self {
        Self::by(MacMode::Cmac)
    }

    /// The station's messages are authenticated in this way.
    fn by(mode: MacMode) -> Self {
        let all = [BS1, BS2, BS3];
        let now = Instant::from_nanos(0);
        let station = |own: MacAddr| {
            let configuration = Configuration {
                base_station: own,
                interface: "radio".to_owned(),
                bridge: "br".to_owned(),
                directory: PathBuf::new(),
                neighbors: all.into_iter().filter(|other| *other != own).collect(),
                announced: Vec::new(),
                signal_dbm: Some(-60),
                pmk: PMK,
                router: None,
                timing: Timing::default(),
            };
            (own, BaseStation::new(now, configuration, 1))
        };
        let keys = |bsid| {
            let ak = Ak::derive_for(mode, &Pmk(PMK), STATION, bsid);
            let keys = auth::Context::new(&ak, FIRST_KEY, STATION, bsid, End::Station);
            (bsid, keys)
        };
        Self {
            now,
            stations: all.into_iter().map(station).collect(),
            keys: all.into_iter().map(keys).collect(),
            acts: Vec::new(),
            heard: Vec::new(),
            carried_by: Vec::new(),
            cids: (0, 0),
            on_its_way: None,
        }
    }

    fn at(&mut self, bsid: MacAddr) -> &mut BaseStation {
        self.stations.get_mut(&bsid).unwrap()
    }

    /// Carries out all that the base stations want.
    fn settle(&mut self) {
        let all: Vec<MacAddr> = self.stations.keys().copied().collect();
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for own in &all {
                while let Some(output) = self.at(*own).poll_output() {
                    quiet = false;
                    match output {
                        Output::Air(octets) => {
                            let frame = Frame::decode(&octets).unwrap();
                            let received = Pdu::decode(&frame.pdu).unwrap();
                            if frame.destination == STATION {
                                self.heard.push((*own, received));
                            }
                        }
                        Output::Backbone(to, envelope) => match &mut self.on_its_way {
                            Some(on_its_way) => on_its_way.push((to, envelope)),
                            None => {
                                let now = self.now;
                                self.at(to).handle_backbone(now, envelope);
                            }
                        },
                        Output::Carry { carries: true, .. } => self.carried_by.push(*own),
                        Output::Carry { carries: false, .. } => {
                            self.carried_by.retain(|by| by != own);
                        }
                        Output::Act(act) => self.acts.push((*own, act)),
                    }
                }
            }
        }
    }

    /// What base stations say to each other does not come until [`World::deliver`].
    fn hold_up(&mut self) {
        self.on_its_way = Some(Vec::new());
    }

    fn deliver(&mut self) {
        let now = self.now;
        for (to, envelope) in self.on_its_way.take().unwrap_or_default() {
            self.at(to).handle_backbone(now, envelope);
        }
        self.settle();
    }

    /// Lets time pass, a millisecond at once.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            let all: Vec<MacAddr> = self.stations.keys().copied().collect();
            for own in all {
                let now = self.now;
                if self.at(own).poll_timeout().is_some_and(|at| at <= now) {
                    self.at(own).handle_timeout(now);
                }
            }
            self.settle();
        }
    }

    fn control(&mut self, bsid: MacAddr, control: Control) -> Result<(), String> {
        let now = self.now;
        let result = self.at(bsid).handle_control(now, control);
        self.settle();
        result
    }

    /// The station says something, authenticated.
    fn say(&mut self, to: MacAddr, cid: u16, message: Message) {
        let pdu = self.keys.get_mut(&to).unwrap().sign(cid, message).unwrap();
        self.transmit(to, pdu);
    }

    /// Without authentication.
    fn say_plainly(&mut self, to: MacAddr, cid: u16, message: Message) {
        self.transmit(to, plain(cid, message).unwrap());
    }

    fn transmit(&mut self, to: MacAddr, pdu: Bytes) {
        let frame = Frame {
            destination: to,
            source: STATION,
            signal_dbm: None,
            pdu,
        };
        let octets = frame.encode();
        let now = self.now;
        // All hear it, as they share the air.
        for station in self.stations.values_mut() {
            station.handle_frame(now, &octets);
        }
        self.settle();
    }

    /// What was heard last from a base station with that name; authentic if it must be.
    fn last(&mut self, from: MacAddr, name: &str) -> Message {
        let mut heard = std::mem::take(&mut self.heard).into_iter();
        let of = |(by, received): &(MacAddr, Received)| {
            *by == from && received.pdu.message.name() == name
        };
        let (_, received) = heard
            .rfind(of)
            .unwrap_or_else(|| panic!("{from} did not say {name}"));
        if requirement(&received.pdu.message) == Requirement::Always {
            self.keys[&from].verify_unordered(&received).unwrap();
        }
        received.pdu.message
    }

    fn names(&self) -> Vec<&'static str> {
        let heard = self.heard.iter();
        heard
            .map(|(_, received)| received.pdu.message.name())
            .collect()
    }

    fn acts_of(&mut self, bsid: MacAddr, medium: Medium) -> Vec<String> {
        let acts = self.acts.iter();
        acts.filter(|(by, act)| *by == bsid && act.medium == medium)
            .map(|(_, act)| act.step.clone())
            .collect()
    }

    /// RNG-REQ; returns what is skipped.
    fn range(&mut self, at: MacAddr, from: Option<MacAddr>) -> HoOptimization {
        self.ask_for_ranging(at, from);
        self.ranged(at)
    }

    fn ask_for_ranging(&mut self, at: MacAddr, from: Option<MacAddr>) {
        let request = Message::RngReq(RngReq {
            station: Some(STATION),
            serving: from,
            handover: from.is_some(),
            ..RngReq::default()
        });
        match from {
            Some(_) => self.say(at, cid::INITIAL_RANGING, request),
            None => self.say_plainly(at, cid::INITIAL_RANGING, request),
        }
    }

    fn ranged(&mut self, at: MacAddr) -> HoOptimization {
        // The next may have been sent already.
        let heard = self.heard.clone();
        let Message::RngRsp(answer) = self.last(at, "RNG-RSP") else {
            panic!("it was found by its name");
        };
        self.heard = heard;
        assert_eq!(answer.status, RangingStatus::Success);
        self.cids = (answer.basic_cid.unwrap(), answer.primary_cid.unwrap());
        answer.ho_optimization.unwrap()
    }

    /// From SBC-REQ to REG-REQ.
    fn authenticate_and_register(&mut self, at: MacAddr) {
        let (basic, primary) = self.cids;
        let mode = self.keys[&at].mode();
        self.say_plainly(at, basic, Message::SbcReq(BasicCapabilities::with(mode)));
        // The challenge follows it at once.
        let heard = self.heard.clone();
        let Message::SbcRsp(agreed) = self.last(at, "SBC-RSP") else {
            panic!("it was found by its name");
        };
        self.heard = heard;
        assert_eq!(agreed, BasicCapabilities::with(mode));
        let Message::PkmRsp(challenge) = self.last(at, "PKM-RSP") else {
            panic!("it was found by its name");
        };
        assert_eq!(challenge.code, PkmCode::SaTekChallenge);
        let mut answer = Pkm::new(PkmCode::SaTekRequest, challenge.identifier);
        answer.bs_random = challenge.bs_random;
        answer.ms_random = Some([9; 8]);
        answer.akid = challenge.akid;
        answer.security = Some(SecurityNegotiation::with(mode));
        self.say(at, primary, Message::PkmReq(answer));
        let Message::PkmRsp(response) = self.last(at, "PKM-RSP") else {
            panic!("it was found by its name");
        };
        assert_eq!(response.code, PkmCode::SaTekResponse);
        assert_eq!(response.ms_random, Some([9; 8]));
        self.say(at, primary, Message::RegReq(RegReq::default()));
    }

    /// DSA-RSP to the DSA-REQ.
    fn take_flows(&mut self, at: MacAddr) {
        let Message::DsaReq(request) = self.last(at, "DSA-REQ") else {
            panic!("it was found by its name");
        };
        let answer = DsaAnswer {
            transaction: request.transaction,
            confirmation: Confirmation::Ok,
            flows: Flows::default(),
        };
        self.say(at, self.cids.1, Message::DsaRsp(answer));
        self.last(at, "DSA-ACK");
    }

    /// The whole first network entry.
    fn enter(&mut self, at: MacAddr) {
        assert_eq!(self.range(at, None), HoOptimization::default());
        self.authenticate_and_register(at);
        self.take_flows(at);
        assert_eq!(self.carried_by, [at]);
        self.acts.clear();
        self.heard.clear();
    }

    fn ask_to_move(&mut self, candidates: &[MacAddr]) {
        let request = MobMshoReq {
            candidates: (candidates.iter())
                .map(|bsid| Candidate {
                    measured: Measured {
                        bsid: *bsid,
                        rssi: Rssi::from_dbm(-60),
                    },
                    preamble: 0,
                    service_level: 2,
                })
                .collect(),
            serving: Some(Rssi::from_dbm(-80)),
            unknown: Vec::new(),
        };
        self.say(BS1, self.cids.0, Message::MobMshoReq(request));
    }

    /// Where MOB_BSHO-RSP recommends to go.
    fn recommended(&mut self) -> Vec<MacAddr> {
        let Message::MobBshoRsp(answer) = self.last(BS1, "MOB_BSHO-RSP") else {
            panic!("it was found by its name");
        };
        let targets = answer.recommendation.map(|all| all.targets);
        let targets = targets.unwrap_or_default();
        targets.iter().map(|target| target.bsid).collect()
    }

    fn leave_for(&mut self, target: MacAddr) {
        let indication = MobHoInd::new(HoIndication::Release { target });
        self.say(BS1, self.cids.0, Message::MobHoInd(indication));
    }
}

const ALL_SKIPPED: HoOptimization = HoOptimization::OMIT_SBC
    .with(HoOptimization::OMIT_PKM)
    .with(HoOptimization::OMIT_REG);

// Rows: W16-11
#[test]
fn a_first_entry_is_whole_and_data_passes_at_its_end_alone() {
    let mut world = World::new();
    assert_eq!(world.range(BS1, None), HoOptimization::default());
    world.authenticate_and_register(BS1);
    assert!(world.carried_by.is_empty(), "before its service flows");
    world.take_flows(BS1);
    assert_eq!(world.carried_by, [BS1]);
    let acts = world.acts_of(BS1, Medium::Air);
    assert_eq!(
        acts,
        [
            "RNG-REQ", "RNG-RSP", "SBC-REQ", "SBC-RSP", "PKM-RSP", "PKM-REQ", "PKM-RSP", "REG-REQ",
            "REG-RSP", "DSA-REQ", "DSA-RSP", "DSA-ACK"
        ]
    );
}

#[test]
fn neighbors_are_announced_at_least_once_a_second() {
    let mut world = World::new();
    world.pass(Duration::from_secs(5));
    let advertised = world.acts_of(BS1, Medium::Air);
    assert!(advertised.iter().all(|step| step == "MOB_NBR-ADV"));
    assert!(advertised.len() >= 5, "{advertised:?}");
}

#[test]
fn neighbors_are_announced_once_that_is_wanted() {
    let mut world = World::new();
    let neighbor = bs(9);
    let error = world
        .control(BS1, Control::Announce { neighbor })
        .unwrap_err();
    assert!(error.contains("no neighbor"), "{error}");
    let listed = |world: &mut World| {
        world.acts.clear();
        world.pass(Duration::from_secs(1));
        let mut acts = world.acts.iter();
        let act = acts.rfind(|(by, act)| *by == BS1 && act.step == "MOB_NBR-ADV");
        act.unwrap().1.detail.clone().unwrap()
    };
    assert_eq!(listed(&mut world), "no neighbor");
    let neighbor = BS2;
    world.control(BS1, Control::Announce { neighbor }).unwrap();
    assert_eq!(listed(&mut world), BS2.to_string());
}

#[test]
fn scanning_is_granted_to_a_station_that_is_served() {
    let mut world = World::new();
    let request = Message::MobScnReq(MobScnReq {
        duration: 10,
        interleaving: 20,
        iterations: 2,
        targets: vec![ScanTarget {
            bsid: BS2,
            kind: ScanType::Listen,
        }],
        unknown: Vec::new(),
    });
    world.say(BS1, 1, request.clone());
    assert!(world.heard.is_empty(), "it has no key here");
    world.enter(BS1);
    world.say(BS1, world.cids.0, request);
    let Message::MobScnRsp(answer) = world.last(BS1, "MOB_SCN-RSP") else {
        panic!("it was found by its name");
    };
    let grant = answer.grant.unwrap();
    assert_eq!((grant.duration, grant.targets[0].bsid), (10, BS2));
}

#[test]
fn candidates_that_agree_are_recommended_in_the_stations_order() {
    let mut world = World::new();
    world.enter(BS1);
    world.ask_to_move(&[BS3, BS2]);
    let backbone = world.acts_of(BS1, Medium::Backbone);
    assert_eq!(
        backbone,
        ["HO-request", "HO-request", "HO-response", "HO-response"]
    );
    assert_eq!(world.recommended(), [BS3, BS2]);
}

#[test]
fn candidates_that_refuse_or_are_silent_are_not_recommended() {
    let mut world = World::new();
    world.enter(BS1);
    let answer = Willingness::Reject;
    world.control(BS2, Control::Candidate { answer }).unwrap();
    let answer = Willingness::Silent;
    world.control(BS3, Control::Candidate { answer }).unwrap();
    world.ask_to_move(&[BS2, BS3]);
    assert!(world.names().is_empty(), "one has not answered yet");
    world.pass(Duration::from_millis(Timing::default().negotiation_ms));
    assert!(world.recommended().is_empty());
}

#[test]
fn a_candidate_that_answered_too_late_can_be_asked_again() {
    let mut world = World::new();
    world.enter(BS1);
    for by_network in [false, true] {
        world.hold_up();
        let (station, target) = (STATION, BS2);
        let order = Control::Handover { station, target };
        match by_network {
            true => world.control(BS1, order.clone()).unwrap(),
            false => world.ask_to_move(&[BS2]),
        }
        world.pass(Duration::from_millis(Timing::default().negotiation_ms));
        // It is not in time, and not needed any more when it comes.
        world.deliver();
        if by_network {
            assert!(world.names().is_empty());
            world.control(BS1, order).unwrap();
            world.last(BS1, "MOB_BSHO-REQ");
        } else {
            assert!(world.recommended().is_empty());
            world.ask_to_move(&[BS2]);
            assert_eq!(world.recommended(), [BS2]);
        }
    }
    world.leave_for(BS2);
    assert_eq!(world.range(BS2, Some(BS1)), ALL_SKIPPED);
}

#[test]
fn a_base_station_that_is_no_neighbor_is_not_asked() {
    let mut world = World::new();
    world.enter(BS1);
    world.ask_to_move(&[bs(9)]);
    assert!(world.acts_of(BS1, Medium::Backbone).is_empty());
    assert!(world.recommended().is_empty());
}

#[test]
fn a_base_station_can_be_told_not_to_answer() {
    let mut world = World::new();
    world.enter(BS1);
    let silent = Control::Responds {
        to_handover_requests: false,
    };
    world.control(BS1, silent).unwrap();
    world.ask_to_move(&[BS2]);
    assert!(world.names().is_empty());
    assert_eq!(world.acts_of(BS1, Medium::Local), ["MOB_BSHO-RSP-withheld"]);
}

// Rows: W16-08, W16-11
#[test]
fn the_radio_is_taken_from_the_link_at_once_and_the_context_goes_to_the_target() {
    let mut world = World::new();
    world.enter(BS1);
    world.ask_to_move(&[BS2, BS3]);
    world.leave_for(BS2);
    assert!(world.carried_by.is_empty());
    assert_eq!(
        world.acts_of(BS3, Medium::Backbone).last().unwrap(),
        "HO-cancel"
    );
    assert_eq!(world.range(BS2, Some(BS1)), ALL_SKIPPED);
    assert!(world.carried_by.is_empty(), "before its service flows");
    world.take_flows(BS2);
    assert_eq!(world.carried_by, [BS2]);
    let acts = world.acts_of(BS2, Medium::Air);
    assert_eq!(
        acts,
        ["RNG-REQ", "RNG-RSP", "DSA-REQ", "DSA-RSP", "DSA-ACK"]
    );
    assert_eq!(
        world.acts_of(BS1, Medium::Local),
        ["released", "released-context"]
    );
}

#[test]
fn a_base_station_that_was_not_told_asks_for_the_context() {
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(BS2);
    assert_eq!(world.range(BS3, Some(BS1)), ALL_SKIPPED);
    world.take_flows(BS3);
    assert_eq!(world.carried_by, [BS3]);
    let backbone = world.acts_of(BS3, Medium::Backbone);
    assert_eq!(
        backbone,
        [
            "context-request",
            "context-response",
            "arrived",
            "HO-complete"
        ]
    );
}

#[test]
fn a_context_may_take_longer_than_a_candidates_answer() {
    let timing = Timing::default();
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(bs(9));
    world.hold_up();
    world.ask_for_ranging(BS3, Some(BS1));
    world.pass(Duration::from_millis(timing.negotiation_ms + 20));
    assert!(world.names().is_empty(), "its context is on its way");
    world.deliver();
    assert_eq!(world.ranged(BS3), ALL_SKIPPED);
    world.take_flows(BS3);
    assert_eq!(world.carried_by, [BS3]);
}

#[test]
fn a_context_that_does_not_come_is_not_waited_for_longer_than_the_station_waits() {
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(bs(9));
    world.hold_up();
    world.ask_for_ranging(BS3, Some(BS1));
    world.pass(Duration::from_millis(Timing::default().context_ms));
    assert_eq!(world.ranged(BS3), HoOptimization::default());
    world.authenticate_and_register(BS3);
    world.take_flows(BS3);
    assert_eq!(world.carried_by, [BS3]);
}

#[test]
fn a_station_that_ranges_again_goes_on_with_the_first_answer() {
    for from in [None, Some(BS1)] {
        let mut world = World::new();
        world.enter(BS1);
        world.leave_for(BS2);
        let skipped = world.range(BS2, from);
        let (cids, heard) = (world.cids, world.heard.clone());
        // T3 was over before that came.
        assert_eq!(world.range(BS2, from), skipped);
        assert_eq!(world.cids, cids);
        (world.cids, world.heard) = (cids, heard);
        if !skipped.omits_pkm() {
            world.authenticate_and_register(BS2);
        }
        world.take_flows(BS2);
        assert_eq!(world.carried_by, [BS2]);
    }
}

#[test]
fn a_station_that_heard_no_answer_goes_on_with_the_second() {
    for from in [None, Some(BS1)] {
        let mut world = World::new();
        world.enter(BS1);
        world.leave_for(BS2);
        world.range(BS2, from);
        world.heard.clear();
        if !world.range(BS2, from).omits_pkm() {
            world.authenticate_and_register(BS2);
        }
        world.take_flows(BS2);
        assert_eq!(world.carried_by, [BS2]);
    }
}

#[test]
fn a_station_that_ranges_again_does_not_make_the_wait_for_its_context_longer() {
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(bs(9));
    world.hold_up();
    world.ask_for_ranging(BS3, Some(BS1));
    world.pass(Duration::from_millis(Timing::default().context_ms - 1));
    world.ask_for_ranging(BS3, Some(BS1));
    assert!(world.names().is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.ranged(BS3), HoOptimization::default());
}

#[test]
fn a_station_that_begins_anew_after_all_else_is_ranged_anew() {
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(bs(9));
    world.range(BS2, None);
    world.authenticate_and_register(BS2);
    // It had no service flows and gave up.
    world.heard.clear();
    world.range(BS2, None);
    world.authenticate_and_register(BS2);
    world.take_flows(BS2);
    assert_eq!(world.carried_by, [BS2]);
}

#[test]
fn who_has_no_key_does_not_begin_a_stations_entry_anew() {
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(BS2);
    assert_eq!(world.range(BS2, Some(BS1)), ALL_SKIPPED);
    let heard = world.heard.clone();
    let wrong = Ak::derive(&Pmk([8; auth::KEY_LEN]), STATION, BS2);
    let wrong = auth::Context::new(&wrong, FIRST_KEY, STATION, BS2, End::Station);
    let right = world.keys.insert(BS2, wrong).unwrap();
    world.heard.clear();
    world.ask_for_ranging(BS2, Some(BS1));
    assert!(world.names().is_empty(), "it is not answered");
    world.keys.insert(BS2, right);
    world.heard = heard;
    world.take_flows(BS2);
    assert_eq!(world.carried_by, [BS2]);
}

// Rows: W16-11
#[test]
fn without_a_context_nothing_is_skipped() {
    let mut world = World::new();
    world.enter(BS1);
    let secretive = Control::Transfers { contexts: false };
    world.control(BS1, secretive).unwrap();
    world.leave_for(BS2);
    assert_eq!(world.range(BS2, Some(BS1)), HoOptimization::default());
    world.authenticate_and_register(BS2);
    world.take_flows(BS2);
    assert_eq!(world.carried_by, [BS2]);
}

#[test]
fn what_is_known_of_a_station_is_kept_for_the_resource_retain_time() {
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(bs(9));
    world.pass(Duration::from_millis(
        Timing::default().resource_retain_ms + 1,
    ));
    assert_eq!(world.range(BS3, Some(BS1)), HoOptimization::default());
}

#[test]
fn a_station_that_comes_back_in_time_skips_too() {
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(BS2);
    assert_eq!(world.range(BS1, Some(BS1)), ALL_SKIPPED);
    world.take_flows(BS1);
    assert_eq!(world.carried_by, [BS1]);
}

#[test]
fn a_station_that_stays_is_expected_nowhere() {
    for indication in [HoIndication::Cancel, HoIndication::Reject] {
        let mut world = World::new();
        world.enter(BS1);
        world.ask_to_move(&[BS2, BS3]);
        world.acts.clear();
        let cid = world.cids.0;
        world.say(BS1, cid, Message::MobHoInd(MobHoInd::new(indication)));
        assert_eq!(world.carried_by, [BS1]);
        for candidate in [BS2, BS3] {
            assert_eq!(world.acts_of(candidate, Medium::Backbone), ["HO-cancel"]);
        }
        // It can ask again.
        world.ask_to_move(&[BS3]);
        assert_eq!(world.recommended(), [BS3]);
    }
}

#[test]
fn a_station_that_takes_its_leave_back_is_not_expected_at_the_target() {
    let mut world = World::new();
    world.enter(BS1);
    let cid = world.cids.0;
    world.leave_for(BS2);
    world.acts.clear();
    let back = MobHoInd::new(HoIndication::Cancel);
    world.say(BS1, cid, Message::MobHoInd(back));
    assert_eq!(world.acts_of(BS2, Medium::Backbone), ["HO-cancel"]);
    assert_eq!(world.acts_of(BS1, Medium::Local), ["returns"]);
    assert!(world.carried_by.is_empty(), "it has not entered again");
    assert_eq!(world.range(BS1, Some(BS1)), ALL_SKIPPED);
    world.take_flows(BS1);
    assert_eq!(world.carried_by, [BS1]);
}

#[test]
fn an_indication_that_is_not_authentic_releases_nobody() {
    let mut world = World::new();
    world.enter(BS1);
    let cid = world.cids.0;
    let indication = || Message::MobHoInd(MobHoInd::new(HoIndication::Release { target: BS2 }));
    world.say_plainly(BS1, cid, indication());
    // Signed with the key of another base station.
    let other = world.keys.get_mut(&BS2).unwrap();
    let forged = other.sign(cid, indication()).unwrap();
    world.transmit(BS1, forged);
    // Said before.
    let pdu = world.keys.get_mut(&BS1).unwrap();
    let cancel = pdu.sign(cid, Message::MobHoInd(MobHoInd::new(HoIndication::Cancel)));
    let cancel = cancel.unwrap();
    world.transmit(BS1, cancel.clone());
    world.acts.clear();
    world.transmit(BS1, cancel);
    let refused = &world.acts.last().unwrap().1;
    let why = refused.detail.clone().unwrap_or_default();
    assert!(why.starts_with("refused: "), "{why}");
    assert_eq!(world.carried_by, [BS1]);
}

#[test]
fn an_entry_that_is_not_authentic_drops_nobody() {
    let mut world = World::new();
    world.enter(BS1);
    // With a key that nobody has given it.
    let wrong = Ak::derive(&Pmk([8; auth::KEY_LEN]), STATION, BS2);
    let wrong = auth::Context::new(&wrong, FIRST_KEY, STATION, BS2, End::Station);
    let right = world.keys.insert(BS2, wrong).unwrap();
    assert_eq!(world.range(BS2, Some(BS1)), HoOptimization::default());
    world.keys.insert(BS2, right);
    assert_eq!(world.carried_by, [BS1]);
    assert_eq!(world.range(BS1, None), HoOptimization::default());
    assert_eq!(world.carried_by, [BS1]);
    // The station goes on as if nothing had been.
    world.ask_to_move(&[BS2]);
    assert_eq!(world.recommended(), [BS2]);
}

#[test]
fn the_network_makes_a_station_move_once_the_target_has_agreed() {
    let mut world = World::new();
    let (station, target) = (STATION, BS2);
    let order = || Control::Handover { station, target };
    let error = world.control(BS1, order()).unwrap_err();
    assert!(error.contains("has not entered"), "{error}");
    world.enter(BS1);
    world.control(BS1, order()).unwrap();
    let Message::MobBshoReq(request) = world.last(BS1, "MOB_BSHO-REQ") else {
        panic!("it was found by its name");
    };
    assert!(request.recommendation.mandatory);
    assert_eq!(request.recommendation.targets[0].bsid, BS2);
    let answer = Willingness::Reject;
    world.control(BS2, Control::Candidate { answer }).unwrap();
    world.control(BS1, order()).unwrap();
    assert!(world.names().is_empty());
    assert!(
        world
            .acts_of(BS1, Medium::Local)
            .contains(&"nobody-takes-it".to_owned())
    );
}

// Rows: W16-24
#[test]
fn what_was_agreed_to_authenticate_by_goes_with_the_station() {
    let mut world = World::by(MacMode::Hmac);
    world.enter(BS1);
    world.leave_for(BS2);
    assert!(world.range(BS2, Some(BS1)).omits_pkm());
}

// Rows: W16-24
#[test]
fn of_what_a_station_offers_cmac_is_taken_and_nothing_that_is_neither() {
    let mut world = World::new();
    world.range(BS1, None);
    let basic = world.cids.0;
    let offer = |mac_mode| {
        let mut offered = BasicCapabilities::profile();
        offered.security = Some(SecurityNegotiation {
            mac_mode: Some(mac_mode),
            ..SecurityNegotiation::profile()
        });
        Message::SbcReq(offered)
    };
    world.say_plainly(BS1, basic, offer(1 << 2));
    assert!(!world.names().contains(&"SBC-RSP"));
    world.say_plainly(BS1, basic, offer(0b11));
    let Message::SbcRsp(agreed) = world.last(BS1, "SBC-RSP") else {
        panic!("it was found by its name");
    };
    assert_eq!(agreed, BasicCapabilities::with(MacMode::Cmac));
}

#[test]
fn what_is_not_answered_is_asked_again_and_then_given_up() {
    let mut world = World::new();
    world.range(BS1, None);
    let basic = world.cids.0;
    world.say_plainly(BS1, basic, Message::SbcReq(BasicCapabilities::profile()));
    world.pass(Duration::from_secs(5));
    let challenges = world.names();
    let count = challenges.iter().filter(|name| **name == "PKM-RSP").count();
    assert_eq!(count, 4);
    assert!(
        world
            .acts_of(BS1, Medium::Local)
            .contains(&"entry-given-up".to_owned())
    );
}

#[test]
fn a_base_station_can_be_told_to_let_nobody_in() {
    let mut world = World::new();
    world.enter(BS1);
    world.leave_for(BS2);
    let closed = Control::Admits { stations: false };
    world.control(BS2, closed).unwrap();
    let request = Message::RngReq(RngReq {
        station: Some(STATION),
        serving: Some(BS1),
        handover: true,
        ..RngReq::default()
    });
    world.say(BS2, cid::INITIAL_RANGING, request);
    let Message::RngRsp(answer) = world.last(BS2, "RNG-RSP") else {
        panic!("it was found by its name");
    };
    assert_eq!(answer.status, RangingStatus::Abort);
    // It is told so by somebody who has the key.
    assert_eq!(world.range(BS1, Some(BS1)), ALL_SKIPPED);
}

#[test]
fn a_base_station_that_is_off_the_air_neither_sends_nor_hears() {
    let mut world = World::new();
    world.control(BS1, Control::Signal { dbm: None }).unwrap();
    let request = Message::RngReq(RngReq {
        station: Some(STATION),
        ..RngReq::default()
    });
    world.say_plainly(BS1, cid::INITIAL_RANGING, request);
    assert!(world.names().is_empty());
}

#[test]
fn garbage_from_the_air_is_told_and_harms_nothing() {
    let mut world = World::new();
    world.enter(BS1);
    let now = world.now;
    for octets in [&[][..], &[0xff; 13], &[0xff; 64]] {
        world.at(BS1).handle_frame(now, octets);
    }
    world.transmit(BS1, Bytes::from_static(&[0; 3]));
    assert!(world.acts_of(BS1, Medium::Local).len() >= 4);
    world.ask_to_move(&[BS2]);
    assert_eq!(world.recommended(), [BS2]);
}
