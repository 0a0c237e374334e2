//! An access router: which handover a message is about, and whether it may be listened to.

mod advertising;
mod arrivals;
mod arriving;
mod attachment;
mod departing;
mod errors;
mod keys;
mod leaving;
mod limits;
mod newcomers;
mod pools;
mod reload;
mod stations;
mod unreadable;

use std::net::Ipv6Addr;

use bytes::Bytes;
use tracing::debug;

use crate::wire::{DecodeError, MacAddr, Message, Packet};

use super::{
    AccessLink, Admin, Command, CommandError, Counters, Event, HandoverStatus, Input, Instant,
    InterfaceIndex, Output, Reason, RouterConfig,
    hash::{Seeded, Table},
    nar::{self, Next},
    neighborhood::Neighborhood,
    outbox::Outbox,
    par,
    timer::Deadlines,
};
use arrivals::Arrivals;
use departing::Departing;
use keys::Keys;
use limits::{Rate, Tally};
use newcomers::Newcomers;
use pools::Pools;
use stations::Station;

/// One handover in one role: previous and new router are roles of a handover, not of a process.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HandoverId {
    /// Ours to give away: by PCoA.
    Par(Ipv6Addr),
    /// Ours to receive: by the address that the mobile node has here.
    Nar(Ipv6Addr),
}

/// The protocol of an access router; see the [module](super) for how to drive it.
#[derive(Debug)]
pub struct AccessRouter {
    config: RouterConfig,
    neighborhood: Neighborhood,
    counters: Counters,
    outbox: Outbox<HandoverId>,
    deadlines: Deadlines<HandoverId>,
    departing: Departing,
    arriving: Arrivals,
    newcomers: Newcomers,
    pools: Pools,
    keys: Keys,
    /// Mobile nodes on our links whose packets are kept if they leave.
    stations: Table<Ipv6Addr, Station>,
    /// How many of them are copied for.
    copies: usize,
    tally: Tally,
    rate: Rate,
    hi_sequence: u16,
    closed: bool,
}

/// What a handover's machine works with.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) config: &'a RouterConfig,
    pub(super) neighborhood: &'a Neighborhood,
    pub(super) counters: &'a mut Counters,
    pub(super) outbox: &'a mut Outbox<HandoverId>,
    hi_sequence: &'a mut u16,
}

impl Context<'_> {
    pub(super) fn command(&mut self, id: HandoverId, command: Command) {
        self.outbox.command(id, command);
    }

    pub(super) fn event(&mut self, id: HandoverId, event: Event) {
        self.outbox.event(Some(id), event);
    }

    /// The sequence number of the next HI.
    pub(super) fn next_sequence(&mut self) -> u16 {
        *self.hi_sequence = self.hi_sequence.wrapping_add(1);
        *self.hi_sequence
    }
}

/// Where and how a packet came in.
struct Arrival<'a> {
    now: Instant,
    interface: InterfaceIndex,
    link_source: MacAddr,
    bytes: &'a Bytes,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    home_address: Option<Ipv6Addr>,
}

impl AccessRouter {
    /// Makes a router without a handover, whose first sequence number comes from `seed`.
    pub fn new(mut config: RouterConfig, seed: u64) -> Self {
        Self {
            neighborhood: Neighborhood::new(&config.access, &config.peers),
            keys: Keys::new(std::mem::take(&mut config.mobile_nodes), seed),
            config,
            counters: Counters::default(),
            outbox: Outbox::default(),
            deadlines: Deadlines::default(),
            departing: Departing::new(seed),
            arriving: Arrivals::new(seed),
            newcomers: Newcomers::new(seed),
            pools: Pools::new(seed),
            stations: Table::with_hasher(Seeded(seed)),
            copies: 0,
            tally: Tally::default(),
            rate: Rate::new(seed),
            hi_sequence: seed as u16,
            closed: false,
        }
    }

    /// Gives back what an earlier [`Command::StoreSequence`] kept (AMB-21): an FBU for `pcoa` must
    /// have a newer number. Before the first input.
    pub fn restore_sequence(&mut self, pcoa: Ipv6Addr, sequence: u16) {
        self.keys.set_sequence(pcoa, sequence);
    }

    /// Takes in what happened. Link events are for mobile nodes, and ignored.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Packet { .. } if self.closed => {}
            Input::Packet {
                interface,
                link_source,
                bytes,
            } => self.handle_packet(now, interface, link_source, &bytes),
            Input::Drained { address } if self.is_par_s(address) => {
                self.drive_par(now, address, par::Input::Drained);
            }
            Input::Drained { address } => self.drive_nar(now, address, nar::Input::Drained),
            Input::DrainFailed { address, error } => {
                let expires = now;
                let command = Command::ReleaseBuffer { address, expires };
                self.note_failure(&command, &error);
                if self.is_par_s(address) {
                    self.drive_par(now, address, par::Input::DrainFailed);
                } else {
                    self.drive_nar(now, address, nar::Input::Failed(&command, &error));
                }
            }
            Input::CommandFailed { command, error } => self.handle_failure(now, &command, &error),
            Input::Admin(Admin::Shutdown) => self.shut_down(now),
            Input::Station(event) => self.handle_station(now, event),
            Input::Admin(Admin::Handover {
                pcoa,
                access_point,
                ncoa,
            }) => self.order_handover(now, pcoa, access_point, ncoa),
            Input::Admin(Admin::Advertise { pcoa }) => self.advertise_neighborhood(now, pcoa),
            // A mobile node's.
            Input::Link(_)
            | Input::AddressConfirmed { .. }
            | Input::Admin(Admin::Registered { .. }) => {}
        }
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.pop_due(now) {
            match id {
                HandoverId::Par(pcoa) => self.drive_par(now, pcoa, par::Input::Deadline),
                HandoverId::Nar(address) => self.drive_nar(now, address, nar::Input::Deadline),
            }
        }
    }

    /// When `handle_timeout` is to be called next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// How often what happened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The handovers that are under way: those that leave us, then those that come to us.
    pub fn handovers(&self) -> Vec<HandoverStatus> {
        let departing = self.departing.addresses();
        let departing = departing
            .iter()
            .filter_map(|pcoa| self.departing.get(*pcoa).map(par::Handover::status));
        let arriving = self.arriving.addresses();
        let arriving = arriving
            .iter()
            .filter_map(|address| self.arriving.get(*address).map(nar::Handover::status));
        departing.chain(arriving).collect()
    }

    /// What is counted of handovers, and what they are found by: nothing while there are none.
    #[cfg(test)]
    pub(super) fn left_of_handovers(&self) -> Vec<&'static str> {
        [
            ("tally", self.tally.is_empty()),
            ("departing", self.departing.is_empty()),
            ("arriving", self.arriving.is_empty()),
        ]
        .into_iter()
        .filter_map(|(name, is_empty)| (!is_empty).then_some(name))
        .collect()
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: &Bytes,
    ) {
        // No station has such an address, and an answer to it would go to all of them.
        if link_source.0[0] & 1 != 0 {
            return self.counters.count(Reason::Unexpected);
        }
        if !self.is_within_rate(now, interface, link_source, bytes) {
            return self.counters.count(Reason::RateLimited);
        }
        let packet = match Packet::decode(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                debug!(%error, "unreadable signalling");
                self.counters.count(malformed(&error));
                return self.answer_unreadable(interface, link_source, bytes, &error);
            }
        };
        let arrival = Arrival {
            now,
            interface,
            link_source,
            bytes,
            source: packet.source,
            destination: packet.destination,
            home_address: packet.home_address,
        };
        if !self.is_for_us(arrival.destination) {
            return self.counters.count(Reason::NotForUs);
        }
        match packet.message {
            Message::RtSolPr(message) => self.handle_rtsolpr(&arrival, &message),
            Message::NeighborAdvertisement(message) => self.handle_na(&arrival, &message),
            Message::NeighborSolicitation(message) => self.handle_ns(&arrival, &message),
            Message::FastNeighborAdvertisement(message) => self.handle_fna(&arrival, &message),
            Message::FastBindingUpdate(message) => self.handle_fbu(&arrival, &message),
            Message::HandoverInitiate(message) => {
                self.note_capable(&arrival);
                self.handle_hi(&arrival, &message);
            }
            Message::HandoverAck(message) => self.handle_hack(&arrival, &message),
            Message::BindingError(message) => self.handle_binding_error(&arrival, &message),
            Message::ParameterProblem(message) => {
                self.handle_parameter_problem(&arrival, &message);
            }
            Message::PrRtAdv(_)
            | Message::FastBindingAck(_)
            | Message::RouterSolicitation(_)
            | Message::RouterAdvertisement(_) => {
                self.counters.count(Reason::Unexpected);
            }
        }
    }

    fn is_for_us(&self, destination: Ipv6Addr) -> bool {
        destination.is_multicast() || self.is_own(destination)
    }

    fn note_failure(&mut self, command: &Command, error: &CommandError) {
        self.counters.count(Reason::CommandFailed);
        let failed = Event::CommandFailed {
            command: command.name(),
            error: error.to_string(),
        };
        self.outbox.event(None, failed);
    }

    fn handle_failure(&mut self, now: Instant, command: &Command, error: &CommandError) {
        self.note_failure(command, error);
        match *command {
            Command::InstallTunnel { pcoa, .. } | Command::RemoveTunnel { pcoa } => {
                self.drive_par(now, pcoa, par::Input::Failed(command));
            }
            Command::StartBuffering { address, .. }
            | Command::StartCopying { address, .. }
            | Command::ReleaseBuffer { address, .. }
            | Command::RemoveBuffer { address }
                if self.is_par_s(address) =>
            {
                self.drive_par(now, address, par::Input::Failed(command));
            }
            Command::StartCopying { address, .. } => self.copying_failed(address),
            Command::StartBuffering { address, .. }
            | Command::ReleaseBuffer { address, .. }
            | Command::RemoveBuffer { address }
            | Command::AddProxyNd { address, .. }
            | Command::RemoveProxyNd { address, .. }
            | Command::AddHostRoute { address, .. }
            | Command::RemoveHostRoute { address, .. }
            | Command::AddNeighbor { address, .. } => {
                self.fail_nar(now, address, command, error);
            }
            // Until the next start nothing is missing.
            Command::StoreSequence { .. } => {}
            // A mobile node's.
            Command::HoldUplink { .. }
            | Command::ReleaseUplink { .. }
            | Command::RemoveUplink { .. }
            | Command::ConfigureAddress { .. }
            | Command::PreferAddress { .. }
            | Command::KeepAddress { .. }
            | Command::RestoreAddress { .. }
            | Command::RemoveAddress { .. }
            | Command::SetDefaultRouter { .. }
            | Command::ForgetRouter { .. }
            | Command::SwitchLink { .. } => {}
        }
    }

    /// Whether what is held for `address` is of the handover that it leaves with. Until that has a
    /// tunnel it may still be of the one that it came by.
    fn is_par_s(&self, address: Ipv6Addr) -> bool {
        self.departing.contains(address) && !self.arriving.contains(address)
    }

    fn shut_down(&mut self, now: Instant) {
        self.closed = true;
        let mut stations: Vec<_> = self.stations.keys().copied().collect();
        stations.sort_unstable();
        for address in stations {
            self.forget_station(address);
        }
        for pcoa in self.departing.addresses() {
            self.drive_par(now, pcoa, par::Input::Shutdown);
        }
        for address in self.arriving.addresses() {
            self.drive_nar(now, address, nar::Input::Shutdown);
        }
    }

    /// Adds a handover that `pcoa`, which has none, leaves with.
    fn admit_par(&mut self, pcoa: Ipv6Addr, handover: par::Handover) {
        self.tally.add(handover.peer(), Some(handover.interface()));
        self.departing.insert(pcoa, handover);
    }

    /// Hands an input to the handover that `pcoa` leaves with, if there is one.
    fn drive_par(&mut self, now: Instant, pcoa: Ipv6Addr, input: par::Input<'_>) {
        let (mut context, departing, _) = self.context(now);
        let Some(handover) = departing.get_mut(pcoa) else {
            return;
        };
        let (peer, interface, asked) = (handover.peer(), handover.interface(), handover.asked());
        let next = handover.handle(input, &mut context);
        let (new_peer, new_asked) = (handover.peer(), handover.asked());
        match next {
            Next::Stays => {
                let deadline = handover.deadline();
                departing.note_asked(pcoa, asked, new_asked);
                self.deadlines.set(HandoverId::Par(pcoa), deadline);
                if new_peer != peer {
                    self.tally.remove(peer, None);
                    self.tally.add(new_peer, None);
                }
            }
            Next::Ends => {
                departing.note_asked(pcoa, asked, None);
                let handover = departing.remove(pcoa);
                self.deadlines.set(HandoverId::Par(pcoa), None);
                self.tally.remove(peer, Some(interface));
                if handover.is_some_and(|mut handover| handover.yield_copies()) {
                    self.give_copies_back(pcoa);
                }
                self.start_copying(pcoa);
            }
        }
    }

    /// Adds a handover whose mobile node has an address here that no other one has.
    fn admit_nar(&mut self, handover: nar::Handover) {
        let announcement = handover.announcement();
        let address = announcement.address();
        self.tally
            .add(Some(announcement.peer), Some(announcement.interface));
        self.deadlines
            .set(HandoverId::Nar(address), Some(handover.deadline()));
        self.arriving.insert(handover);
    }

    /// Hands an input to the handover whose mobile node has `address` here, if there is one.
    fn drive_nar(&mut self, now: Instant, address: Ipv6Addr, input: nar::Input<'_>) {
        let (mut context, _, arriving) = self.context(now);
        let Some(handover) = arriving.get_mut(address) else {
            return;
        };
        match handover.handle(input, &mut context) {
            Next::Stays => {
                let deadline = handover.deadline();
                let id = HandoverId::Nar(address);
                self.deadlines.set(id, Some(deadline));
            }
            Next::Ends => self.forget_nar(address),
        }
    }

    /// Ends the handover by which the mobile node that leaves now with `pcoa` came here, and gives
    /// what is still held for it to the handover that it leaves with.
    fn take_leftover(&mut self, now: Instant, pcoa: Ipv6Addr) {
        let Some(handover) = self.release_nar(pcoa) else {
            return;
        };
        let (mut context, departing, _) = self.context(now);
        if let Some(leftover) = handover.give_away(&mut context)
            && let Some(handover) = departing.get_mut(pcoa)
        {
            handover.adopt_leftover(leftover);
        }
    }

    /// Forgets a handover that has ended.
    fn forget_nar(&mut self, address: Ipv6Addr) {
        self.release_nar(address);
        self.start_copying(address);
    }

    fn release_nar(&mut self, address: Ipv6Addr) -> Option<nar::Handover> {
        self.deadlines.set(HandoverId::Nar(address), None);
        let handover = self.arriving.remove(address)?;
        let announcement = handover.announcement();
        self.tally
            .remove(Some(announcement.peer), Some(announcement.interface));
        Some(handover)
    }

    fn context(&mut self, now: Instant) -> (Context<'_>, &mut Departing, &mut Arrivals) {
        let context = Context {
            now,
            config: &self.config,
            neighborhood: &self.neighborhood,
            counters: &mut self.counters,
            outbox: &mut self.outbox,
            hi_sequence: &mut self.hi_sequence,
        };
        (context, &mut self.departing, &mut self.arriving)
    }

    fn access_link(&self, interface: InterfaceIndex) -> Option<&AccessLink> {
        self.config.link(interface)
    }

    /// Whether `address` is ours.
    fn is_own(&self, address: Ipv6Addr) -> bool {
        let mut links = self.config.access.iter();
        links.any(|link| [link.address, link.link_local].contains(&address))
    }

    /// Whether `address` is ours, or the subnet-router anycast address of a link of ours (RFC 4291
    /// section 2.6.1).
    fn is_reserved(&self, address: Ipv6Addr) -> bool {
        let mut links = self.config.access.iter();
        self.is_own(address) || links.any(|link| link.prefix.address() == address)
    }

    /// The link that an address is on.
    fn link_of(&self, address: Ipv6Addr) -> Option<&AccessLink> {
        self.config
            .access
            .iter()
            .filter(|link| link.prefix.contains(address))
            .max_by_key(|link| link.prefix.length())
    }

    fn is_full(&self) -> bool {
        self.departing.len() + self.arriving.len() >= self.config.limits.max_handovers
    }
}

/// How an unreadable packet is counted.
pub(super) fn malformed(error: &DecodeError) -> Reason {
    match error {
        DecodeError::HopLimit(_) => Reason::HopLimit,
        DecodeError::AuthorizationNotLast(_) => Reason::AuthorizationMissing,
        _ => Reason::Malformed,
    }
}
