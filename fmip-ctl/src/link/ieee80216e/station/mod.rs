//! The mobile station: a pure state machine of IEEE 802.16e's handover, with the primitives of RFC
//! 5270 at its upper edge.
//!
//! It is driven as the protocol core is: mutate by a `handle_*`, take what [`Station::poll_output`]
//! gives until it gives nothing, sleep until [`Station::poll_timeout`].
//!
//! ```text
//!     Searching -- a base station is chosen --> Entering -- service flows --> Connected
//!         ^                                        ^  |                          |
//!         +------- nobody lets it in --------------|--+     MOB_HO-IND, or lost  |
//!                                                  +-----------------------------+
//! ```
//! While it is connected it listens to MOB_NBR-ADV, scans what it names, and tells of what it heard
//! (NEW_LINK_DETECTED); asks to be handed over, or is told to be (LINK_HANDOVER_IMPEND); and holds
//! MOB_HO-IND until LINK_SWITCH. When network entry is over at the target it tells LINK_UP.

mod connected;
mod entry;
mod flows;
mod handover;
mod neighbors;
mod scan;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::{
    air::Tuned,
    auth::{Ak, Context, End, Pmk, Refusal, Requirement, requirement},
    message::{MacMode, Message, Pdu, Received},
    timing::{ENTRY_BACKOFF, SEARCH},
};
use crate::{
    link::{Direction, Heard, Order, Step},
    proto::{Instant, LinkEvent},
    wire::MacAddr,
};

use connected::Connected;
use entry::Entry;
use neighbors::{Neighbors, Signal};

/// Keys of how many base stations are remembered.
const MAX_CONTEXTS: usize = 64;
/// How many base stations a search hears.
const MAX_SEARCHED: usize = 32;

/// What a station is told before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address.
    pub station: MacAddr,
    /// The base station of its first entry; `None`: the strongest.
    pub first: Option<MacAddr>,
    /// The key that the network knows, too.
    pub pmk: Pmk,
    /// How it wants management messages to be authenticated; another way is not agreed to.
    pub mac_mode: MacMode,
    /// The sequence number of the keys that are made from it; 4 bits.
    pub key_sequence: u8,
    /// Whether it asks to be handed over; otherwise it moves only when it is told.
    pub choose_target: bool,
    /// How strong the serving base station is when another is looked for, in dBm.
    pub threshold_dbm: i32,
    /// How much stronger another must be, in dB.
    pub hysteresis_db: i32,
    /// How many scans must say so, one after the other (W16-07).
    pub confirmations: u32,
    /// How long MOB_HO-IND waits for LINK_SWITCH; zero: not at all (W16-10).
    pub link_switch_wait: Duration,
    /// How much time is between two scans, at least.
    pub scan_interval: Duration,
    /// How long it asks to scan at once, in frames.
    pub scan_duration: u8,
    /// How long it asks to listen to the serving base station in between, in frames.
    pub scan_interleaving: u8,
    /// How often it asks to scan.
    pub scan_iterations: u8,
    /// Without a DL-MAP for so long, a base station is lost.
    pub lost_dl_map: Duration,
    /// What the station's random numbers are made of: from the system's random source, never the
    /// same twice.
    pub seed: [u8; 32],
}

/// What a station wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this to a base station.
    Send {
        /// To which.
        destination: MacAddr,
        /// The whole PDU.
        pdu: Bytes,
    },
    /// Listen to these from now on.
    Tune(Tuned),
    /// Tell the core.
    Primitive(LinkEvent),
    /// Go on when the core has done what it was told to.
    Settle,
    /// Tell the core that a LINK_SWITCH is not obeyed.
    SwitchFailed {
        /// Where to.
        access_point: MacAddr,
        /// Why not, in words.
        error: String,
    },
    /// Tell people.
    Step(Step),
    /// Tell people whom it hears.
    Heard(Vec<Heard>),
}

/// A mobile station.
#[derive(Debug)]
pub struct Station {
    settings: Settings,
    phase: Phase,
    neighbors: Neighbors,
    contexts: BTreeMap<MacAddr, Context>,
    outputs: VecDeque<Output>,
    counters: BTreeMap<&'static str, u64>,
    /// How many random numbers were made.
    nonces: u64,
    /// Whether the core takes the link to be up.
    link_up: bool,
}

#[derive(Debug)]
enum Phase {
    Searching(Search),
    Entering(Entry),
    Connected(Connected),
}

/// It knows no base station.
#[derive(Debug, Default)]
struct Search {
    heard: BTreeMap<MacAddr, Signal>,
    /// When it chooses among those.
    decide: Option<Instant>,
    /// Those that did not let it in, and until when they are left alone.
    avoided: BTreeMap<MacAddr, Instant>,
}

/// How a message is known to be authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freshness {
    /// By its packet number.
    Ordered,
    /// By a random number of ours in it.
    Random,
    /// It is not: it is the first of a dialogue.
    None,
}

impl Station {
    /// A station that looks for its first base station.
    pub fn new(settings: Settings) -> Self {
        let mut station = Self {
            settings,
            phase: Phase::Searching(Search::default()),
            neighbors: Neighbors::default(),
            contexts: BTreeMap::new(),
            outputs: VecDeque::new(),
            counters: BTreeMap::new(),
            nonces: 0,
            link_up: false,
        };
        station.output(Output::Tune(match station.settings.first {
            Some(bsid) => Tuned::to(bsid),
            None => Tuned::All,
        }));
        station
    }

    /// A frame that the station heard: from whom, how strong, and the PDU in it.
    pub fn handle_frame(
        &mut self,
        now: Instant,
        source: MacAddr,
        signal_dbm: Option<i8>,
        pdu: &[u8],
    ) {
        let received = match Pdu::decode(pdu) {
            Ok(received) => received,
            Err(error) => return self.refuse("malformed", source, &error.to_string()),
        };
        if let Message::DlMap(map) = &received.pdu.message
            && map.bsid != source
        {
            return self.refuse("foreign-dl-map", source, "DL-MAP of another base station");
        }
        match &self.phase {
            Phase::Searching(_) => self.handle_searching(now, source, signal_dbm, &received),
            Phase::Entering(entry) if entry.target == source => {
                self.handle_entering(now, signal_dbm, received);
            }
            Phase::Connected(connected) if connected.bsid == source => {
                self.handle_connected(now, signal_dbm, received);
            }
            Phase::Connected(_) => self.handle_scanned(now, source, signal_dbm, &received),
            // The receiver was tuned to it a moment ago.
            Phase::Entering(_) => {}
        }
    }

    /// What the core wants.
    pub fn handle_order(&mut self, now: Instant, order: Order) {
        match order {
            Order::Switch { access_point } => self.handle_switch(now, access_point),
            Order::GoAhead => self.handle_go_ahead(now),
            // It goes to no base station that its own one has not told about.
            Order::Prospects(_) => {}
        }
    }

    /// Time has passed; does nothing before [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.phase {
            Phase::Searching(search) => {
                if search.decide.is_some_and(|at| at <= now) {
                    self.decide(now);
                }
            }
            Phase::Entering(_) => self.handle_entry_timeout(now),
            Phase::Connected(_) => self.handle_connected_timeout(now),
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Searching(search) => search.decide,
            Phase::Entering(entry) => Some(entry.deadline()),
            Phase::Connected(connected) => Some(connected.deadline()),
        }
    }

    /// The next thing that is to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How many frames and messages were dropped, by reason, and what else is counted.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    /// The base station that it is connected to.
    pub fn serving(&self) -> Option<MacAddr> {
        match &self.phase {
            Phase::Connected(connected) => Some(connected.bsid),
            Phase::Searching(_) | Phase::Entering(_) => None,
        }
    }

    fn handle_searching(
        &mut self,
        now: Instant,
        source: MacAddr,
        signal_dbm: Option<i8>,
        received: &Received,
    ) {
        let Message::DlMap(_) = received.pdu.message else {
            return;
        };
        let first = self.settings.first;
        let Phase::Searching(search) = &mut self.phase else {
            return;
        };
        let dbm = signal_dbm.unwrap_or(i8::MIN);
        let is_avoided = search
            .avoided
            .get(&source)
            .is_some_and(|until| now < *until);
        if is_avoided || first.is_some_and(|first| first != source) {
            return;
        }
        if search.heard.len() < MAX_SEARCHED || search.heard.contains_key(&source) {
            search
                .heard
                .entry(source)
                .and_modify(|signal| signal.measure(dbm))
                .or_insert(Signal::new(dbm));
        }
        if first == Some(source) {
            return self.decide(now);
        }
        search.decide.get_or_insert(now + SEARCH);
    }

    /// Enters at the strongest.
    fn decide(&mut self, now: Instant) {
        let Phase::Searching(search) = &mut self.phase else {
            return;
        };
        search.decide = None;
        let best = search
            .heard
            .iter()
            .max_by_key(|(_, signal)| signal.dbm())
            .map(|(bsid, _)| *bsid);
        search.heard.clear();
        if let Some(bsid) = best {
            self.enter(Entry::first(now, bsid));
        }
    }

    /// Looks for any base station, but at first for none of `avoided`.
    fn search(&mut self, now: Instant, avoided: &[MacAddr]) {
        let until = now + ENTRY_BACKOFF;
        self.phase = Phase::Searching(Search {
            avoided: avoided.iter().map(|bsid| (*bsid, until)).collect(),
            ..Search::default()
        });
        self.local("search", None, None);
        self.output(Output::Tune(match self.settings.first {
            Some(bsid) => Tuned::to(bsid),
            None => Tuned::All,
        }));
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn count(&mut self, reason: &'static str) -> u64 {
        let count = self.counters.entry(reason).or_default();
        *count += 1;
        *count
    }

    /// Counts what is dropped. People are told of the first, the second, the fourth, ...: a flood
    /// is seen, and does not flood them.
    fn refuse(&mut self, reason: &'static str, source: MacAddr, what: &str) {
        let count = self.count(reason);
        if count.is_power_of_two() {
            let detail = format!("{reason}: {what}; {count} so far");
            self.step("refused", Direction::Received, Some(source), Some(detail));
        }
    }

    fn step(
        &mut self,
        step: &str,
        direction: Direction,
        peer: Option<MacAddr>,
        detail: Option<String>,
    ) {
        self.output(Output::Step(Step {
            step: step.to_owned(),
            direction,
            peer,
            detail,
        }));
    }

    fn local(&mut self, step: &str, peer: Option<MacAddr>, detail: Option<String>) {
        self.step(step, Direction::Local, peer, detail);
    }

    fn primitive(&mut self, event: LinkEvent) {
        self.output(Output::Primitive(event));
    }

    /// Tells that the link went down, unless it is known.
    fn link_down(&mut self) {
        if std::mem::take(&mut self.link_up) {
            self.primitive(LinkEvent::LinkDown);
        }
    }

    /// A number that nobody can know, and that was never used before.
    fn random(&mut self) -> [u8; 8] {
        self.nonces += 1;
        let mut hmac =
            Hmac::<Sha1>::new_from_slice(&self.settings.seed).expect("HMAC takes any key");
        hmac.update(&self.nonces.to_be_bytes());
        let digest = hmac.finalize().into_bytes();
        *digest.first_chunk().expect("a digest has 20 octets")
    }

    fn context(&mut self, bsid: MacAddr) -> &mut Context {
        if self.contexts.len() >= MAX_CONTEXTS && !self.contexts.contains_key(&bsid) {
            // One whose packet numbers are lost is met by a full entry; not the one that it is at.
            let serving = self.serving();
            let mut others = self.contexts.keys().filter(|of| Some(**of) != serving);
            if let Some(other) = others.next().copied() {
                self.contexts.remove(&other);
            }
        }
        let settings = &self.settings;
        self.contexts.entry(bsid).or_insert_with(|| {
            let ak = Ak::derive_for(settings.mac_mode, &settings.pmk, settings.station, bsid);
            let sequence = settings.key_sequence;
            Context::new(&ak, sequence, settings.station, bsid, End::Station)
        })
    }

    /// Sends a message to a base station, authenticated if it must be.
    fn send(&mut self, bsid: MacAddr, cid: u16, message: Message, in_handover: bool) {
        let name = message.name();
        let is_signed = match requirement(&message) {
            Requirement::Always => true,
            Requirement::InHandover => in_handover,
            Requirement::Never => false,
        };
        let detail = describe(&message);
        let written = if is_signed {
            let signed = self.context(bsid).sign(cid, message);
            signed.map_err(|error| error.to_string())
        } else {
            let pdu = Pdu {
                cid,
                message,
                authentication: None,
            };
            pdu.encode().map_err(|error| error.to_string())
        };
        match written {
            Ok(pdu) => {
                self.output(Output::Send {
                    destination: bsid,
                    pdu,
                });
                self.step(name, Direction::Sent, Some(bsid), detail);
            }
            Err(error) => {
                self.count("unsendable");
                self.local("unsendable", Some(bsid), Some(error));
            }
        }
    }

    /// Whether a message of a base station is authentic; if not, it is counted (W16-24).
    fn is_authentic(&mut self, bsid: MacAddr, received: &Received, freshness: Freshness) -> bool {
        let context = self.context(bsid);
        let verified = match freshness {
            Freshness::Ordered => context.verify(received),
            Freshness::Random => context.verify_fresh(received),
            Freshness::None => context.verify_unordered(received),
        };
        match verified {
            Ok(()) => true,
            Err(refusal) => {
                self.refuse_unauthentic(bsid, received, refusal);
                false
            }
        }
    }

    fn refuse_unauthentic(&mut self, bsid: MacAddr, received: &Received, refusal: Refusal) {
        let what = format!("{}: {refusal}", received.pdu.message.name());
        self.refuse(refusal.name(self.settings.mac_mode), bsid, &what);
    }

    /// Tells people of a message that was taken.
    fn took(&mut self, bsid: MacAddr, message: &Message) {
        let detail = describe(message);
        self.step(message.name(), Direction::Received, Some(bsid), detail);
    }

    fn tell_heard(&mut self, now: Instant) {
        let mut heard = self.neighbors.shown(now);
        if let Phase::Connected(connected) = &self.phase {
            heard.push(Heard {
                access_point: connected.bsid,
                signal_dbm: Some(connected.signal.dbm()),
                age_ms: 0,
                attached: true,
            });
        }
        heard.sort_by_key(|heard| std::cmp::Reverse(heard.signal_dbm));
        self.output(Output::Heard(heard));
    }
}

/// What of a message people want to see.
fn describe(message: &Message) -> Option<String> {
    use super::message::{HoIndication, PkmCode};
    match message {
        Message::PkmReq(pkm) | Message::PkmRsp(pkm) => Some(
            match pkm.code {
                PkmCode::EapTransfer => "EAP-Transfer",
                PkmCode::SaTekChallenge => "SA-TEK-Challenge",
                PkmCode::SaTekRequest => "SA-TEK-Request",
                PkmCode::SaTekResponse => "SA-TEK-Response",
                PkmCode::KeyRequest => "Key-Request",
                PkmCode::KeyReply => "Key-Reply",
                PkmCode::KeyReject => "Key-Reject",
                PkmCode::Other(_) => return None,
            }
            .to_owned(),
        ),
        Message::RngRsp(response) => {
            let optimization = response.ho_optimization.unwrap_or_default();
            let skipped: Vec<&str> = [
                (optimization.omits_sbc(), "SBC"),
                (optimization.omits_pkm(), "PKM"),
                (optimization.omits_reg(), "REG"),
                (optimization.keeps_flows(), "DSA"),
            ]
            .into_iter()
            .filter_map(|(skipped, name)| skipped.then_some(name))
            .collect();
            (!skipped.is_empty()).then(|| format!("without {}", skipped.join(", ")))
        }
        Message::MobHoInd(indication) => Some(match indication.indication {
            HoIndication::Release { target } => format!("release, to {target}"),
            HoIndication::Cancel => "cancel".to_owned(),
            HoIndication::Reject => "reject".to_owned(),
        }),
        Message::MobBshoReq(request) => Some(targets(&request.recommendation)),
        Message::MobBshoRsp(response) => Some(match &response.recommendation {
            Some(recommendation) => targets(recommendation),
            None => "not recommended".to_owned(),
        }),
        Message::MobScnReq(request) => {
            let bsids = request.targets.iter().map(|target| target.bsid.to_string());
            Some(bsids.collect::<Vec<_>>().join(", "))
        }
        Message::MobScnRsp(response) if response.grant.is_none() => Some("refused".to_owned()),
        _ => None,
    }
}

fn targets(recommendation: &super::message::Recommendation) -> String {
    let bsids = recommendation.targets.iter();
    let bsids: Vec<String> = bsids.map(|target| target.bsid.to_string()).collect();
    match &bsids[..] {
        [] => "nowhere".to_owned(),
        bsids => bsids.join(", "),
    }
}
