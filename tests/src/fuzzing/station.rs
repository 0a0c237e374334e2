//! Stories of a station of 802.16e: base stations answer it rightly, wrongly or not at all, and others
//! forge their messages.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use fmip_ctl::{
    link::{
        Order,
        ieee80216e::{
            air::Frame,
            auth::{Ak, Context, End, KEY_LEN, KEY_SEQUENCE, Pmk},
            message::{
                Confirmation, DlMap, DsaAnswer, DsaReq, Flows, HoOptimization, MacMode, Message,
                MobBshoReq, MobBshoRsp, MobNbrAdv, MobScnRsp, Neighbor, Pdu, Pkm, PkmCode,
                RangingStatus, Recommendation, RegResponse, RegRsp, RegistrationParameters, RngRsp,
                ScanGrant, SecurityNegotiation, ServiceFlow, Target, cid,
            },
            station::{Output, Settings, Station},
        },
    },
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

use super::script::Script;

/// Octets of the generic MAC header, of which the last is its check sequence.
const HEADER: usize = 6;
/// The longest PDU.
const MAX_PDU: usize = 0x7ff;
/// What a station sent is remembered for so many messages.
const MEMORY: usize = 4;
/// More deadlines than a time of a minute has.
const MAX_DEADLINES: usize = 100_000;
const BEACONS: Duration = Duration::from_millis(10);

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const BASE_STATIONS: [MacAddr; 3] = [base_station(1), base_station(2), base_station(3)];

const fn base_station(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0x0a, number])
}

fn settings(script: &mut Script<'_>) -> Settings {
    let how = script.octet();
    let ms = Duration::from_millis;
    Settings {
        station: STATION,
        first: (how & 1 == 0).then_some(BASE_STATIONS[0]),
        pmk: Pmk([0x42; KEY_LEN]),
        mac_mode: MacMode::Cmac,
        key_sequence: KEY_SEQUENCE,
        choose_target: how & 2 == 0,
        threshold_dbm: -75,
        hysteresis_db: 5,
        confirmations: 1 + u32::from(how >> 2 & 1),
        link_switch_wait: ms(if how & 8 == 0 { 500 } else { 0 }),
        scan_interval: ms(200),
        scan_duration: 10,
        scan_interleaving: 4,
        scan_iterations: 1 + (how >> 4 & 1),
        lost_dl_map: ms(600),
        seed: [9; 32],
    }
}

struct Play {
    station: Station,
    now: Instant,
    keys: BTreeMap<MacAddr, Context>,
    /// What the station sent last, the newest first, and to whom.
    sent: VecDeque<(MacAddr, Pdu)>,
    /// How strong each base station is; `None`: it is not heard.
    strength: BTreeMap<MacAddr, Option<i8>>,
    up: bool,
    /// Where the station was ordered to.
    ordered: BTreeSet<MacAddr>,
    transactions: u16,
    /// The first message of each type, either way.
    spoken: BTreeMap<u8, Vec<u8>>,
}

/// Plays a script; and reads it as if it were one PDU.
pub fn run(data: &[u8]) {
    read(data);
    drop(Frame::decode(data));
    play(data);
}

/// The messages of a story, one of each type: from the management message type on.
pub fn messages(story: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    play(story).spoken.into_values()
}

fn play(story: &[u8]) -> Play {
    let script = &mut Script::new(story);
    let key = |bsid| {
        let ak = Ak::derive(&Pmk([0x42; KEY_LEN]), STATION, bsid);
        let context = Context::new(&ak, KEY_SEQUENCE, STATION, bsid, End::BaseStation);
        (bsid, context)
    };
    let mut play = Play {
        station: Station::new(settings(script)),
        now: Instant::from_nanos(1_000_000_000),
        keys: BASE_STATIONS.map(key).into(),
        sent: VecDeque::new(),
        strength: BASE_STATIONS.map(|bsid| (bsid, None)).into(),
        up: false,
        ordered: BTreeSet::new(),
        transactions: 0x8000,
        spoken: BTreeMap::new(),
    };
    play.listen();
    while !script.is_over() {
        play.step(script);
    }
    play.pass(Duration::from_secs(60), false);
    play
}

/// What can be read is written as it was understood.
fn read(octets: &[u8]) -> Option<Pdu> {
    match Pdu::decode(octets) {
        Err(error) => {
            drop(error.to_string());
            None
        }
        Ok(received) => {
            let pdu = received.pdu;
            // One that is as long as can be may grow when what was left out is written.
            if let Ok(written) = pdu.encode() {
                let again = Pdu::decode(&written).map(|received| received.pdu);
                assert_eq!(again.as_ref(), Ok(&pdu));
            }
            Some(pdu)
        }
    }
}

/// A message in its header, whose length and check sequence are right.
pub fn framed(cid: u16, message: &[u8]) -> Vec<u8> {
    let message = &message[..message.len().min(MAX_PDU - HEADER)];
    let len = (HEADER + message.len()) as u16;
    let [high, low] = len.to_be_bytes();
    let [cid_high, cid_low] = cid.to_be_bytes();
    let mut pdu = vec![0, high, low, cid_high, cid_low];
    // x^8 + x^2 + x + 1 (IEEE 802.16 section 6.3.2.1.1).
    let check = pdu.iter().fold(0, |mut crc: u8, octet| {
        crc ^= octet;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 0x07 };
        }
        crc
    });
    pdu.push(check);
    pdu.extend_from_slice(message);
    pdu
}

fn basic(bsid: MacAddr) -> u16 {
    0x0100 + u16::from(bsid.0[5])
}

fn primary(bsid: MacAddr) -> u16 {
    0x0200 + u16::from(bsid.0[5])
}

impl Play {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.octet() % 16 {
            0 => self.pass(Duration::from_millis(script.octet().into()), true),
            1 => self.pass(
                Duration::from_millis(100 * u64::from(script.octet())),
                false,
            ),
            2 => {
                if let Some(due) = self.station.poll_timeout() {
                    self.reach(due);
                }
            }
            3 => {
                let bsid = script.pick(&BASE_STATIONS);
                let dbm = script.maybe(&[-60, -70, -85, i8::MAX]);
                self.strength.insert(bsid, dbm);
            }
            4 => {
                let access_point = script.pick(&BASE_STATIONS);
                self.ordered.insert(access_point);
                self.order(Order::Switch { access_point });
            }
            5 => self.order(Order::GoAhead),
            6 => self.advertise(script),
            7 => self.recommend(script),
            8 => self.challenge(script.pick(&BASE_STATIONS)),
            9 => self.make_flow(script.pick(&BASE_STATIONS)),
            10 => {
                let bsid = script.pick(&BASE_STATIONS);
                let pdu = script.string();
                self.transmit(bsid, &pdu);
            }
            11 | 12 => {
                let bsid = script.pick(&BASE_STATIONS);
                let cids = [
                    cid::BROADCAST,
                    cid::INITIAL_RANGING,
                    basic(bsid),
                    primary(bsid),
                ];
                let cid = script.pick(&cids);
                let is_signed = script.flag();
                let octets = framed(cid, &script.string());
                match read(&octets) {
                    Some(pdu) if is_signed => self.say(bsid, cid, pdu.message, true),
                    _ => self.transmit(bsid, &octets),
                }
            }
            _ => self.answer(script.octet()),
        }
    }

    /// The base stations that are heard send DL-MAP meanwhile, or they do not.
    fn pass(&mut self, time: Duration, with_maps: bool) {
        let end = self.now + time;
        let mut map = self.now;
        for _ in 0..MAX_DEADLINES {
            if with_maps && map <= self.now {
                map = self.now + BEACONS;
                for bsid in BASE_STATIONS {
                    self.send_map(bsid);
                }
            }
            let until = if with_maps { end.min(map) } else { end };
            match self.station.poll_timeout().filter(|due| *due <= until) {
                Some(due) => self.reach(due),
                None if until == end => {
                    self.now = end;
                    return;
                }
                None => self.now = until,
            }
        }
        panic!("{MAX_DEADLINES} deadlines in {time:?}");
    }

    fn reach(&mut self, due: Instant) {
        self.now = self.now.max(due);
        self.station.handle_timeout(self.now);
        let next = self.station.poll_timeout();
        assert!(
            next.is_none_or(|next| next > self.now),
            "what was due at {due:?} is due at {next:?} still"
        );
        self.listen();
    }

    fn order(&mut self, order: Order) {
        self.station.handle_order(self.now, order);
        self.listen();
    }

    fn transmit(&mut self, bsid: MacAddr, pdu: &[u8]) {
        self.note(pdu);
        let dbm = self.strength[&bsid];
        self.station.handle_frame(self.now, bsid, dbm, pdu);
        self.listen();
    }

    fn note(&mut self, pdu: &[u8]) {
        if let Some(message) = pdu.get(HEADER..)
            && let Some(kind) = message.first()
            && !self.spoken.contains_key(kind)
        {
            self.spoken.insert(*kind, message.to_vec());
        }
    }

    fn say(&mut self, bsid: MacAddr, cid: u16, message: Message, is_signed: bool) {
        let pdu = if is_signed {
            let context = self.keys.get_mut(&bsid).expect("it has a key");
            context.sign(cid, message).ok()
        } else {
            let authentication = None;
            let pdu = Pdu {
                cid,
                message,
                authentication,
            };
            pdu.encode().ok()
        };
        if let Some(pdu) = pdu {
            self.transmit(bsid, &pdu);
        }
    }

    fn send_map(&mut self, bsid: MacAddr) {
        if self.strength[&bsid].is_none() {
            return;
        }
        let map = Message::DlMap(DlMap {
            frame_duration: DlMap::FRAME_5_MS,
            frame_number: 0,
            dcd_count: 0,
            bsid,
            symbols: 0,
            allocations: Bytes::new(),
        });
        self.say(bsid, cid::BROADCAST, map, false);
    }

    /// MOB_NBR-ADV of some of those that there are, or of others.
    fn advertise(&mut self, script: &mut Script<'_>) {
        let bsid = script.pick(&BASE_STATIONS);
        let count = script.octet() % 8;
        let names = (0..count).map(|_| Neighbor::new(base_station(script.octet())));
        let [a, b, c, ..] = bsid.0;
        let list = Message::MobNbrAdv(MobNbrAdv {
            operator: Some([a, b, c]),
            change_count: 0,
            fragment: 0,
            fragments: 1,
            neighbors: names.collect(),
        });
        self.say(bsid, cid::BROADCAST, list, false);
    }

    /// MOB_BSHO-REQ, from a base station or from somebody else in its name.
    fn recommend(&mut self, script: &mut Script<'_>) {
        let bsid = script.pick(&BASE_STATIONS);
        let how = script.octet();
        let targets = (0..how & 3).map(|_| Target::new(base_station(script.octet())));
        let message = Message::MobBshoReq(MobBshoReq {
            network_assisted: how & 4 != 0,
            recommendation: Recommendation {
                mandatory: how & 8 != 0,
                resource_retain: how & 16 != 0,
                targets: targets.collect(),
            },
            action_time: how >> 6,
            unknown: Vec::new(),
        });
        self.say(bsid, basic(bsid), message, how & 32 == 0);
    }

    fn challenge(&mut self, bsid: MacAddr) {
        let challenge = Pkm {
            bs_random: Some([7; 8]),
            akid: Some(self.keys[&bsid].akid()),
            ..Pkm::new(PkmCode::SaTekChallenge, 1)
        };
        self.say(bsid, primary(bsid), Message::PkmRsp(challenge), true);
    }

    fn make_flow(&mut self, bsid: MacAddr) {
        self.transactions = self.transactions.wrapping_add(1);
        let request = DsaReq {
            transaction: self.transactions,
            flows: Flows {
                downlink: Some(ServiceFlow {
                    sfid: Some(self.transactions.into()),
                    convergence: Some(ServiceFlow::IPV6),
                    ..ServiceFlow::default()
                }),
                ..Flows::default()
            },
        };
        self.say(bsid, primary(bsid), Message::DsaReq(request), true);
    }

    /// The base station's answer to something that the station sent.
    fn answer(&mut self, how: u8) {
        let Some((bsid, asked)) = self.sent.get(usize::from(how & 3) % MEMORY).cloned() else {
            return;
        };
        let mut is_signed = how & 4 == 0;
        let answer = match asked.message {
            Message::RngReq(request) => {
                is_signed &= request.handover;
                let skipped = [
                    HoOptimization::default(),
                    HoOptimization::OMIT_SBC,
                    HoOptimization::OMIT_SBC.with(HoOptimization::OMIT_PKM),
                    HoOptimization::OMIT_SBC
                        .with(HoOptimization::OMIT_PKM)
                        .with(HoOptimization::OMIT_REG)
                        .with(HoOptimization::FULL_STATE),
                ];
                let status = match how >> 5 {
                    0..5 => RangingStatus::Success,
                    5 => RangingStatus::Continue,
                    6 => RangingStatus::Rerange,
                    _ => RangingStatus::Abort,
                };
                Message::RngRsp(RngRsp {
                    station: request.station,
                    basic_cid: Some(basic(bsid)),
                    primary_cid: Some(primary(bsid)),
                    ho_optimization: request.handover.then(|| skipped[usize::from(how >> 3 & 3)]),
                    ..RngRsp::new(status)
                })
            }
            Message::SbcReq(capabilities) => {
                is_signed = false;
                Message::SbcRsp(capabilities)
            }
            Message::PkmReq(request) => Message::PkmRsp(Pkm {
                code: PkmCode::SaTekResponse,
                security: Some(SecurityNegotiation::profile()),
                ..request
            }),
            Message::RegReq(_) => Message::RegRsp(RegRsp {
                response: RegResponse::Ok,
                parameters: RegistrationParameters {
                    service_flows: [None, Some(0), Some(2)]
                        .get(usize::from(how >> 6))
                        .copied()
                        .flatten(),
                    resource_retain_time: Some(5),
                    ..RegistrationParameters::default()
                },
            }),
            Message::DsaRsp(answer) => Message::DsaAck(DsaAnswer {
                flows: Flows::default(),
                confirmation: Confirmation::Ok,
                ..answer
            }),
            Message::MobScnReq(request) => Message::MobScnRsp(MobScnRsp {
                grant: (how & 8 == 0).then_some(ScanGrant {
                    duration: request.duration.max(1),
                    start: 1,
                    interleaving: request.interleaving,
                    iterations: request.iterations,
                    targets: request.targets,
                }),
                report_mode: 1 ^ (how >> 4 & 1),
                report_period: 0,
                unknown: Vec::new(),
            }),
            Message::MobMshoReq(request) => {
                let targets = request.candidates.iter();
                let targets = targets.map(|candidate| Target::new(candidate.measured.bsid));
                Message::MobBshoRsp(MobBshoRsp {
                    recommendation: (how & 8 == 0).then(|| Recommendation {
                        mandatory: how & 16 != 0,
                        resource_retain: how & 32 != 0,
                        targets: targets.collect(),
                    }),
                    action_time: 0,
                    unknown: Vec::new(),
                })
            }
            _ => return,
        };
        self.say(bsid, asked.cid, answer, is_signed);
    }

    /// What the station does makes sense to the core, and can be read by base stations.
    fn listen(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Send { destination, pdu } => {
                    self.note(&pdu);
                    let pdu = read(&pdu).expect("what it sends can be read");
                    self.sent.push_front((destination, pdu));
                    self.sent.truncate(MEMORY);
                }
                Output::Primitive(LinkEvent::LinkUp { access_point }) => {
                    assert!(BASE_STATIONS.contains(&access_point));
                    self.up = true;
                }
                Output::Primitive(LinkEvent::LinkDown) => {
                    assert!(std::mem::take(&mut self.up), "LINK_DOWN twice");
                }
                Output::Primitive(event) => assert!(self.up, "{event:?} without a link"),
                Output::SwitchFailed { access_point, .. } => {
                    assert!(self.ordered.contains(&access_point), "nobody ordered that");
                }
                Output::Tune(_) | Output::Settle | Output::Step(_) | Output::Heard(_) => {}
            }
        }
    }
}
