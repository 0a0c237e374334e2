//! A base station as a pure state machine: no clock, no socket, no radio.
//!
//! Driven as the protocol's machines are: call `handle_*` for what came, or [`BaseStation::handle_timeout`]
//! when [`BaseStation::poll_timeout`] has come; then carry out what [`BaseStation::poll_output`] gives,
//! in its order, until it gives nothing.
//!
//! A station is served here (`Served`) from the end of its network entry until its MOB_HO-IND. A
//! network entry (`Entry`) touches nothing of that before it has shown that it has the key: whoever
//! forges an RNG-REQ drops nobody.

mod entry;
mod handover;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use fmip_ctl::{
    link::ieee80216e::{
        air::{BROADCAST, Frame},
        auth::{self, Refusal, Requirement, requirement},
        message::{
            BasicCapabilities, DlMap, Message, MobNbrAdv, Neighbor, Pdu, Received, RegRsp, TooLong,
            cid,
        },
    },
    proto::Instant,
    wire::MacAddr,
};

use self::{entry::Entry, handover::Negotiation};
use super::{
    backbone::{self, Context, Envelope},
    configuration::Configuration,
    control::{Control, Willingness},
    step::{Act, Direction},
};

/// The number of the first AK of a station (IEEE 802.16e-2005 section 7.2.2.4.1).
const FIRST_KEY: u8 = 1;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A frame for the air.
    Air(Bytes),
    /// A message for another base station.
    Backbone(MacAddr, Envelope),
    /// Whether the radio carries the station's data, to and from this base station's link, from now on.
    Carry {
        /// The station.
        station: MacAddr,
        /// Whether.
        carries: bool,
    },
    /// Something for people, and for the checks of a scenario.
    Act(Act),
}

/// A base station.
#[derive(Debug)]
pub struct BaseStation {
    own: MacAddr,
    configuration: Configuration,
    random: fastrand::Rng,
    willingness: Willingness,
    responds: bool,
    admits: bool,
    transfers: bool,
    stations: BTreeMap<MacAddr, Station>,
    next_cid: u16,
    next_transaction: u16,
    frame_number: u32,
    /// Of the list of neighbors.
    change_count: u8,
    next_advertisement: Instant,
    next_map: Instant,
    outputs: VecDeque<Output>,
}

/// What is known of a mobile station.
#[derive(Debug, Default)]
struct Station {
    /// Its AK at this base station. Packet numbers go on for as long as the key does, wherever the station
    /// is meanwhile.
    keys: Option<auth::Context>,
    /// What another base station has told of it.
    context: Option<Context>,
    /// It is expected from there, or has been.
    expected_from: Option<MacAddr>,
    entry: Option<Entry>,
    served: Option<Served>,
    /// It has left; until when what is known of it is kept.
    left: Option<Left>,
}

/// A station that has entered the network here.
#[derive(Clone, Debug)]
struct Served {
    pmk: [u8; auth::KEY_LEN],
    capabilities: BasicCapabilities,
    registration: RegRsp,
    /// Its basic and its primary management connection.
    cids: (u16, u16),
    negotiation: Option<Negotiation>,
    /// Those that have agreed to take it.
    agreed: Vec<MacAddr>,
}

#[derive(Clone, Debug)]
struct Left {
    was: Served,
    until: Instant,
    /// Where to, if that was told the context.
    target: Option<MacAddr>,
}

impl BaseStation {
    /// One that begins to announce itself now. `seed` is where its random numbers come from.
    pub fn new(now: Instant, configuration: Configuration, seed: u64) -> Self {
        Self {
            own: configuration.base_station,
            configuration,
            random: fastrand::Rng::with_seed(seed),
            willingness: Willingness::default(),
            responds: true,
            admits: true,
            transfers: true,
            stations: BTreeMap::new(),
            next_cid: 1,
            // A base station's transactions have the first bit set (section 6.3.2.3.10).
            next_transaction: 0x8000,
            frame_number: 0,
            change_count: 0,
            next_advertisement: now,
            next_map: now,
            outputs: VecDeque::new(),
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`BaseStation::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let of_stations = self.stations.values().flat_map(|station| {
            [
                station.entry.as_ref().and_then(Entry::deadline),
                station.left.as_ref().map(|left| left.until),
                (station.served.as_ref())
                    .and_then(|served| served.negotiation.as_ref())
                    .map(|negotiation| negotiation.until),
            ]
        });
        of_stations
            .flatten()
            .chain([self.next_advertisement, self.next_map])
            .min()
    }

    /// Time has come to [`BaseStation::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_map {
            self.next_map = now + self.configuration.timing.downlink_map();
            self.send_downlink_map();
        }
        if now >= self.next_advertisement {
            self.next_advertisement = now + self.configuration.timing.neighbor_advertisement();
            self.advertise_neighbors();
        }
        let stations: Vec<MacAddr> = self.stations.keys().copied().collect();
        for station in stations {
            self.negotiation_timeout(now, station);
            self.entry_timeout(now, station);
            self.forget_in_time(now, station);
        }
    }

    /// A frame came from the air.
    pub fn handle_frame(&mut self, now: Instant, octets: &[u8]) {
        let frame = match Frame::decode(octets) {
            Ok(frame) => frame,
            Err(error) => return self.complain(None, &error.to_string()),
        };
        // All base stations share the air; one that is off the air hears nothing.
        if frame.destination != self.own || self.configuration.signal_dbm.is_none() {
            return;
        }
        let station = frame.source;
        let received = match Pdu::decode(&frame.pdu) {
            Ok(received) => received,
            Err(error) => return self.complain(Some(station), &error.to_string()),
        };
        let name = received.pdu.message.name();
        if let Err(why) = self.check(station, &received) {
            let act = Act::on_air(name, Direction::Received, Some(station));
            return self.act(act.with(format!("refused: {why}")));
        }
        self.act(Act::on_air(name, Direction::Received, Some(station)));
        match &received.pdu.message {
            Message::RngReq(request) => self.ranging(now, station, request, &received),
            Message::SbcReq(request) => self.capabilities(now, station, request),
            Message::PkmReq(request) => self.privacy(station, request, &received),
            Message::RegReq(request) => self.registration(now, station, request),
            Message::DsaRsp(answer) => self.flows_made(station, answer),
            Message::MobScnReq(request) => self.scan(station, request),
            Message::MobMshoReq(request) => self.wants_to_move(now, station, request),
            Message::MobHoInd(indication) => self.indicated(now, station, indication),
            // The strength of others is the station's own affair here.
            Message::MobScnRep(_) => {}
            _ => self.complain(Some(station), &format!("{name} is no station's to send")),
        }
    }

    /// Another base station said something.
    pub fn handle_backbone(&mut self, now: Instant, envelope: Envelope) {
        let Envelope {
            from,
            station,
            message,
        } = envelope;
        let act = Act::on_backbone(message.name(), Direction::Received, from);
        let of = format!("of {station}");
        self.act(match message.detail() {
            Some(detail) => act.with(format!("{of}, {detail}")),
            None => act.with(of),
        });
        if !self.configuration.neighbors.contains(&from) {
            return self.complain(None, &format!("{from} is no neighbor"));
        }
        match message {
            backbone::Message::HandoverRequest { transaction } => {
                self.asked_to_take(from, station, transaction);
            }
            backbone::Message::HandoverResponse {
                transaction,
                accepted,
            } => self.answered(from, station, transaction, accepted),
            backbone::Message::HandoverConfirm { context } => {
                let known = self.stations.entry(station).or_default();
                known.expected_from = Some(from);
                known.context = context;
                self.context_came(now, station);
            }
            backbone::Message::HandoverCancel => {
                if let Some(known) = self.stations.get_mut(&station) {
                    known.expected_from = None;
                    known.context = None;
                }
            }
            backbone::Message::ContextRequest => self.asked_for_context(from, station),
            backbone::Message::ContextResponse { context } => {
                let known = self.stations.entry(station).or_default();
                known.context = context;
                self.context_came(now, station);
            }
            backbone::Message::Arrived => self.release(now, station),
            backbone::Message::HandoverComplete => {
                self.release(now, station);
                if let Some(known) = self.stations.get_mut(&station)
                    && known.left.take().is_some()
                {
                    self.act(Act::local("released-context", Some(station)));
                }
            }
        }
    }

    /// A scenario wants something.
    ///
    /// # Errors
    /// Says why it cannot be done.
    pub fn handle_control(&mut self, now: Instant, control: Control) -> Result<(), String> {
        match control {
            Control::Handover { station, target } => self.order(now, station, target)?,
            Control::Signal { dbm } => {
                self.configuration.signal_dbm = dbm;
                let how = dbm.map_or("off the air".to_owned(), |dbm| format!("{dbm} dBm"));
                self.act(Act::local("signal", None).with(how));
            }
            Control::Announce { neighbor } => {
                if !self.configuration.neighbors.contains(&neighbor) {
                    return Err(format!("{neighbor} is no neighbor"));
                }
                let announced = &mut self.configuration.announced;
                if !announced.contains(&neighbor) {
                    announced.push(neighbor);
                    self.change_count = self.change_count.wrapping_add(1);
                }
            }
            Control::Candidate { answer } => self.willingness = answer,
            Control::Responds {
                to_handover_requests,
            } => self.responds = to_handover_requests,
            Control::Admits { stations } => self.admits = stations,
            Control::Transfers { contexts } => self.transfers = contexts,
        }
        Ok(())
    }

    // The air

    /// Checks that a message is authentic, if it must be. An RNG-REQ is checked later: the key may still be
    /// on its way here.
    fn check(&mut self, station: MacAddr, received: &Received) -> Result<(), Refusal> {
        let message = &received.pdu.message;
        // A request to a challenge has the challenge's random number instead of a packet number.
        if requirement(message) != Requirement::Always || matches!(message, Message::PkmReq(_)) {
            return Ok(());
        }
        let known = self.stations.get_mut(&station);
        let keys = known.and_then(|known| known.keys.as_mut());
        keys.ok_or(Refusal::NoKey)?.verify(received)
    }

    /// Sends a message to a station, authenticated if its key is in use.
    fn send(&mut self, station: MacAddr, cid: u16, message: Message, detail: Option<String>) {
        let name = message.name();
        let known = self.stations.get_mut(&station);
        let keys = known.and_then(|known| match requirement(&message) {
            Requirement::Always => known.keys.as_mut(),
            Requirement::InHandover if known.entry.as_ref().is_some_and(Entry::is_authentic) => {
                known.keys.as_mut()
            }
            _ => None,
        });
        let octets = match keys {
            Some(keys) => keys.sign(cid, message).map_err(|error| error.to_string()),
            None => plain(cid, message).map_err(|error| error.to_string()),
        };
        match octets {
            Ok(octets) => {
                let act = Act::on_air(name, Direction::Sent, Some(station));
                self.act(match detail {
                    Some(detail) => act.with(detail),
                    None => act,
                });
                self.transmit(station, octets);
            }
            Err(error) => self.complain(Some(station), &error),
        }
    }

    fn transmit(&mut self, destination: MacAddr, pdu: Bytes) {
        // One that is off the air sends, and nobody hears it.
        let Some(signal_dbm) = self.configuration.signal_dbm else {
            return;
        };
        let frame = Frame {
            destination,
            source: self.own,
            signal_dbm: Some(signal_dbm),
            pdu,
        };
        self.outputs.push_back(Output::Air(frame.encode()));
    }

    fn broadcast(&mut self, message: Message) {
        match plain(cid::BROADCAST, message) {
            Ok(octets) => self.transmit(BROADCAST, octets),
            Err(error) => self.complain(None, &error.to_string()),
        }
    }

    fn send_downlink_map(&mut self) {
        let duration = self.configuration.timing.downlink_map();
        let frames = (duration.as_micros() / FRAME.as_micros()).max(1) as u32;
        self.frame_number = self.frame_number.wrapping_add(frames) & 0x00ff_ffff;
        self.broadcast(Message::DlMap(DlMap {
            frame_duration: DlMap::FRAME_5_MS,
            frame_number: self.frame_number,
            dcd_count: 0,
            bsid: self.own,
            symbols: 1,
            allocations: Default::default(),
        }));
    }

    fn advertise_neighbors(&mut self) {
        let announced = &self.configuration.announced;
        let detail = match &announced[..] {
            [] => "no neighbor".to_owned(),
            announced => list(announced),
        };
        let neighbors = announced.iter().copied().map(Neighbor::new).collect();
        self.act(Act::on_air("MOB_NBR-ADV", Direction::Sent, None).with(detail));
        self.broadcast(Message::MobNbrAdv(MobNbrAdv {
            operator: None,
            change_count: self.change_count,
            fragment: 0,
            fragments: 1,
            neighbors,
        }));
    }

    // What all have in common

    fn tell(&mut self, to: MacAddr, station: MacAddr, message: backbone::Message) {
        let act = Act::on_backbone(message.name(), Direction::Sent, to);
        let of = format!("of {station}");
        self.act(match message.detail() {
            Some(detail) => act.with(format!("{of}, {detail}")),
            None => act.with(of),
        });
        let envelope = Envelope {
            from: self.own,
            station,
            message,
        };
        self.outputs.push_back(Output::Backbone(to, envelope));
    }

    fn act(&mut self, act: Act) {
        self.outputs.push_back(Output::Act(act));
    }

    fn complain(&mut self, station: Option<MacAddr>, what: &str) {
        self.act(Act::local("ignored", station).with(what));
    }

    fn forget_in_time(&mut self, now: Instant, station: MacAddr) {
        let Some(known) = self.stations.get_mut(&station) else {
            return;
        };
        if known.left.as_ref().is_some_and(|left| now >= left.until) {
            known.left = None;
            self.act(Act::local("resource-retain-time-over", Some(station)));
        }
    }
}

/// A frame of mobile profiles.
const FRAME: Duration = Duration::from_millis(5);

/// A message without authentication.
fn plain(cid: u16, message: Message) -> Result<Bytes, TooLong> {
    let pdu = Pdu {
        cid,
        message,
        authentication: None,
    };
    pdu.encode()
}

/// How a list of things reads.
fn list(of: impl IntoIterator<Item = impl ToString>) -> String {
    let all: Vec<String> = of.into_iter().map(|one| one.to_string()).collect();
    all.join(", ")
}
