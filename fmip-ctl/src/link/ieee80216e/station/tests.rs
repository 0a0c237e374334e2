//! The station against base stations that a test scripts: every message passes as octets, and is
//! verified at the other end.

mod entry;
mod handover;
mod hostile;
mod scan;

use super::*;
use crate::link::ieee80216e::{
    auth::{KEY_LEN, KEY_SEQUENCE},
    message::{
        BasicCapabilities, Confirmation, DlMap, DsaAnswer, DsaReq, Flows, HoIndication,
        HoOptimization, MobBshoReq, MobBshoRsp, MobHoInd, MobNbrAdv, MobScnReq, MobScnRsp,
        Neighbor, Pkm, PkmCode, RangingStatus, Recommendation, RegResponse, RegRsp,
        RegistrationParameters, RngRsp, ScanGrant, SecurityNegotiation, ServiceFlow, Target, cid,
    },
    timing::{FRAME, T3},
};

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const BS1: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
const BS2: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);
const BS3: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 3]);
const PMK: Pmk = Pmk([0x42; KEY_LEN]);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn settings() -> Settings {
    Settings {
        station: STATION,
        first: Some(BS1),
        pmk: PMK,
        mac_mode: MacMode::Cmac,
        key_sequence: KEY_SEQUENCE,
        choose_target: true,
        threshold_dbm: -75,
        hysteresis_db: 5,
        confirmations: 2,
        link_switch_wait: ms(500),
        scan_interval: ms(200),
        scan_duration: 10,
        scan_interleaving: 4,
        scan_iterations: 1,
        lost_dl_map: ms(600),
        seed: [9; 32],
    }
}

/// A base station as the test's script wants it to be.
struct Base {
    context: Context,
    /// How strong the station hears it; `None`: not at all.
    dbm: Option<i8>,
    /// What it lets be skipped after a handover.
    optimization: HoOptimization,
    /// What is not answered.
    mute: Vec<&'static str>,
    /// What REG-RSP says of service flows.
    flows: Option<u8>,
    /// What its answers to ranging say.
    ranging: RangingStatus,
    /// What it answers to MOB_MSHO-REQ; `None`: the first candidate.
    recommends: Option<Option<Vec<MacAddr>>>,
    /// Messages that it received, by name.
    received: Vec<&'static str>,
    indications: Vec<HoIndication>,
    random: u8,
}

/// What reached the core.
#[derive(Clone, Debug, PartialEq)]
enum Upward {
    Primitive(LinkEvent),
    SwitchFailed(MacAddr),
}

struct World {
    station: Station,
    now: Instant,
    bases: BTreeMap<MacAddr, Base>,
    tuned: Tuned,
    /// Who is named in MOB_NBR-ADV.
    list: Vec<MacAddr>,
    upward: Vec<Upward>,
    steps: Vec<Step>,
    heard: Vec<Heard>,
    /// All that was sent, by whom it was for and its name, in order, together with the tunings and
    /// the primitives.
    log: Vec<String>,
    next_frame: Instant,
    next_list: Instant,
}

fn basic(bsid: MacAddr) -> u16 {
    0x0100 + u16::from(bsid.0[5])
}

fn primary(bsid: MacAddr) -> u16 {
    0x0200 + u16::from(bsid.0[5])
}

impl World {
    fn mode(&self) -> MacMode {
        self.station.settings.mac_mode
    }

    fn new(settings: Settings) -> Self {
        let bases = [(BS1, -60), (BS2, -70), (BS3, -80)].map(|(bsid, dbm)| {
            let ak = Ak::derive_for(settings.mac_mode, &PMK, STATION, bsid);
            let base = Base {
                context: Context::new(&ak, KEY_SEQUENCE, STATION, bsid, End::BaseStation),
                dbm: Some(dbm),
                optimization: HoOptimization::default(),
                mute: Vec::new(),
                flows: None,
                ranging: RangingStatus::Success,
                recommends: None,
                received: Vec::new(),
                indications: Vec::new(),
                random: 0,
            };
            (bsid, base)
        });
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            station: Station::new(settings),
            now,
            bases: bases.into_iter().collect(),
            tuned: Tuned::All,
            list: Vec::new(),
            upward: Vec::new(),
            steps: Vec::new(),
            heard: Vec::new(),
            log: Vec::new(),
            next_frame: now,
            next_list: now,
        }
    }

    /// A world in which the station is connected to the first base station.
    fn connected(settings: Settings) -> Self {
        let mut world = Self::new(settings);
        world.run(ms(200));
        assert_eq!(world.station.serving(), Some(BS1), "{:#?}", world.log);
        world.upward.clear();
        world
    }

    /// As [`Self::connected`], and the second base station is named from now on.
    fn listing(settings: Settings) -> Self {
        let mut world = Self::connected(settings);
        world.list = vec![BS2];
        world
    }

    /// As [`Self::listing`], and the second base station was scanned.
    fn neighborly(settings: Settings) -> Self {
        let mut world = Self::listing(settings);
        world.run(ms(400));
        assert_eq!(
            world.upward,
            [Upward::Primitive(LinkEvent::NewLinkDetected {
                access_point: BS2
            })],
            "{:#?}",
            world.log
        );
        world.upward.clear();
        world
    }

    fn base(&mut self, bsid: MacAddr) -> &mut Base {
        self.bases
            .get_mut(&bsid)
            .expect("a base station of the test")
    }

    /// Lets time pass.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.drain();
            let due = self.station.poll_timeout().unwrap_or(end);
            let next = due.min(self.next_frame).min(self.next_list).min(end);
            self.now = self.now.max(next);
            if self.now >= end {
                return;
            }
            if self.now >= self.next_frame {
                self.next_frame = self.now + FRAME * 2;
                for bsid in [BS1, BS2, BS3] {
                    let map = Message::DlMap(DlMap {
                        frame_duration: DlMap::FRAME_5_MS,
                        frame_number: 0,
                        dcd_count: 0,
                        bsid,
                        symbols: 0,
                        allocations: Bytes::new(),
                    });
                    self.say_plainly(bsid, cid::BROADCAST, map);
                }
            }
            if self.now >= self.next_list {
                self.next_list = self.now + ms(50);
                if let Some(serving) = self.station.serving() {
                    let list = self.list.clone();
                    self.say_list(serving, &list);
                }
            }
            if self
                .station
                .poll_timeout()
                .is_some_and(|due| due <= self.now)
            {
                self.station.handle_timeout(self.now);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Send { destination, pdu } => self.receive(destination, &pdu),
                Output::Tune(tuned) => {
                    self.log.push(format!("tune {tuned:?}"));
                    self.tuned = tuned;
                }
                Output::Primitive(event) => {
                    self.log.push(format!("{event:?}"));
                    self.upward.push(Upward::Primitive(event));
                }
                Output::SwitchFailed { access_point, .. } => {
                    self.upward.push(Upward::SwitchFailed(access_point));
                }
                Output::Step(step) => self.steps.push(step),
                Output::Heard(heard) => self.heard = heard,
                Output::Settle => self.log.push("settle".to_owned()),
            }
        }
    }

    fn order(&mut self, order: Order) {
        self.station.handle_order(self.now, order);
        self.drain();
    }

    fn say_list(&mut self, bsid: MacAddr, bsids: &[MacAddr]) {
        let [a, b, c, ..] = bsid.0;
        let list = Message::MobNbrAdv(MobNbrAdv {
            operator: Some([a, b, c]),
            change_count: 0,
            fragment: 0,
            fragments: 1,
            neighbors: bsids.iter().map(|bsid| Neighbor::new(*bsid)).collect(),
        });
        self.say_plainly(bsid, cid::BROADCAST, list);
    }

    fn say_plainly(&mut self, bsid: MacAddr, cid: u16, message: Message) {
        let pdu = Pdu {
            cid,
            message,
            authentication: None,
        };
        self.transmit(bsid, &pdu.encode().unwrap());
    }

    fn say(&mut self, bsid: MacAddr, cid: u16, message: Message) {
        let bytes = self.base(bsid).context.sign(cid, message).unwrap();
        self.transmit(bsid, &bytes);
    }

    /// On the air: the station hears it if it is tuned to its sender, and near enough.
    fn transmit(&mut self, bsid: MacAddr, bytes: &[u8]) {
        let dbm = self.base(bsid).dbm;
        if dbm.is_some() && self.tuned.hears(bsid) {
            self.station.handle_frame(self.now, bsid, dbm, bytes);
            self.drain();
        }
    }

    fn recommend(bsids: &[MacAddr]) -> Recommendation {
        Recommendation {
            mandatory: false,
            resource_retain: true,
            targets: bsids.iter().map(|bsid| Target::new(*bsid)).collect(),
        }
    }

    /// MOB_BSHO-REQ.
    fn order_by_base(&mut self, bsid: MacAddr, targets: &[MacAddr]) {
        let message = Message::MobBshoReq(MobBshoReq {
            network_assisted: false,
            recommendation: Self::recommend(targets),
            action_time: 0,
            unknown: Vec::new(),
        });
        self.say(bsid, basic(bsid), message);
    }

    /// A base station's part of the dialogue.
    fn receive(&mut self, bsid: MacAddr, bytes: &[u8]) {
        let received = Pdu::decode(bytes).unwrap();
        let name = received.pdu.message.name();
        self.log.push(format!("{name} to {bsid}"));
        let base = self.base(bsid);
        if base.dbm.is_none() {
            return;
        }
        base.received.push(name);
        let is_muted = base.mute.contains(&name);
        let (cid, message) = (received.pdu.cid, received.pdu.message.clone());
        let is_verified = match &message {
            Message::SbcReq(_) => true,
            Message::RngReq(request) => !request.handover || base.context.verify(&received).is_ok(),
            Message::PkmReq(_) => base.context.verify_fresh(&received).is_ok(),
            _ => base.context.verify(&received).is_ok(),
        };
        assert!(is_verified, "{name} to {bsid} is not authentic");
        if is_muted {
            return;
        }
        match message {
            Message::RngReq(request) => {
                assert_eq!(cid, cid::INITIAL_RANGING);
                let mut response = RngRsp {
                    station: request.station,
                    basic_cid: Some(basic(bsid)),
                    primary_cid: Some(primary(bsid)),
                    ..RngRsp::new(base.ranging)
                };
                if request.handover {
                    response.ho_optimization = Some(base.optimization);
                    self.say(bsid, cid, Message::RngRsp(response));
                } else {
                    self.say_plainly(bsid, cid, Message::RngRsp(response));
                }
                let base = self.base(bsid);
                let optimization = base.optimization;
                if request.handover && optimization.omits_sbc() {
                    self.after_capabilities(bsid, optimization);
                }
            }
            Message::SbcReq(capabilities) => {
                assert_eq!(cid, basic(bsid));
                assert_eq!(capabilities, BasicCapabilities::with(self.mode()));
                self.say_plainly(bsid, cid, Message::SbcRsp(capabilities));
                let optimization = self.base(bsid).optimization;
                self.after_capabilities(bsid, optimization);
            }
            Message::PkmReq(request) => {
                assert_eq!((cid, request.code), (primary(bsid), PkmCode::SaTekRequest));
                assert_eq!(request.bs_random, Some([base.random; 8]));
                assert_eq!(request.akid, Some(base.context.akid()));
                let response = Pkm {
                    code: PkmCode::SaTekResponse,
                    security: Some(SecurityNegotiation::with(self.mode())),
                    ..request
                };
                self.say(bsid, cid, Message::PkmRsp(response));
            }
            Message::RegReq(_) => {
                assert_eq!(cid, primary(bsid));
                let flows = base.flows;
                let response = RegRsp {
                    response: RegResponse::Ok,
                    parameters: RegistrationParameters {
                        service_flows: flows,
                        resource_retain_time: Some(5),
                        ..RegistrationParameters::default()
                    },
                };
                self.say(bsid, cid, Message::RegRsp(response));
                for transaction in 0..flows.unwrap_or(1) {
                    self.make_flow(bsid, 0x8000 + u16::from(transaction));
                }
            }
            Message::DsaRsp(answer) => {
                assert_eq!(
                    (cid, answer.confirmation),
                    (primary(bsid), Confirmation::Ok)
                );
                let acknowledgment = DsaAnswer {
                    flows: Flows::default(),
                    ..answer
                };
                self.say(bsid, cid, Message::DsaAck(acknowledgment));
            }
            Message::MobScnReq(request) => {
                assert_eq!(cid, basic(bsid));
                self.say(bsid, cid, Message::MobScnRsp(grant(&request)));
            }
            Message::MobMshoReq(request) => {
                assert_eq!(cid, basic(bsid));
                let first = request.candidates.iter().map(|each| each.measured.bsid);
                let recommends = base.recommends.clone();
                let recommends = recommends.unwrap_or_else(|| Some(first.take(1).collect()));
                let response = MobBshoRsp {
                    recommendation: recommends.map(|bsids| Self::recommend(&bsids)),
                    action_time: 0,
                    unknown: Vec::new(),
                };
                self.say(bsid, cid, Message::MobBshoRsp(response));
            }
            Message::MobHoInd(MobHoInd { indication, .. }) => {
                assert_eq!(cid, basic(bsid));
                base.indications.push(indication);
            }
            Message::MobScnRep(_) => assert_eq!(cid, primary(bsid)),
            other => panic!("a station does not send {}", other.name()),
        }
    }

    fn after_capabilities(&mut self, bsid: MacAddr, optimization: HoOptimization) {
        if !optimization.omits_pkm() {
            let base = self.base(bsid);
            base.random += 1;
            let challenge = Pkm {
                bs_random: Some([base.random; 8]),
                akid: Some(base.context.akid()),
                ..Pkm::new(PkmCode::SaTekChallenge, base.random)
            };
            self.say(bsid, primary(bsid), Message::PkmRsp(challenge));
        } else if optimization.omits_reg() && !optimization.keeps_flows() {
            self.make_flow(bsid, 0x9000);
        }
    }

    fn make_flow(&mut self, bsid: MacAddr, transaction: u16) {
        let request = DsaReq {
            transaction,
            flows: Flows {
                downlink: Some(ServiceFlow {
                    sfid: Some(transaction.into()),
                    convergence: Some(ServiceFlow::IPV6),
                    ..ServiceFlow::default()
                }),
                ..Flows::default()
            },
        };
        self.say(bsid, primary(bsid), Message::DsaReq(request));
    }

    /// What was sent, without what it takes to get there.
    fn sent_to(&self, bsid: MacAddr) -> Vec<&str> {
        let suffix = format!(" to {bsid}");
        self.log
            .iter()
            .filter_map(|line| line.strip_suffix(suffix.as_str()))
            .collect()
    }

    fn primitives(&mut self) -> Vec<LinkEvent> {
        std::mem::take(&mut self.upward)
            .into_iter()
            .map(|upward| match upward {
                Upward::Primitive(event) => event,
                Upward::SwitchFailed(to) => panic!("LINK_SWITCH to {to} failed"),
            })
            .collect()
    }

    fn count(&self, reason: &str) -> u64 {
        self.station.counters().get(reason).copied().unwrap_or(0)
    }
}

fn grant(request: &MobScnReq) -> MobScnRsp {
    MobScnRsp {
        grant: Some(ScanGrant {
            duration: request.duration,
            start: 1,
            interleaving: request.interleaving,
            iterations: request.iterations,
            targets: request.targets.clone(),
        }),
        report_mode: 1,
        report_period: 0,
        unknown: Vec::new(),
    }
}
