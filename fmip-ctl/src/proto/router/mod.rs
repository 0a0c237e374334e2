//! An access router: which handover a message is about, and whether it may be listened to.

mod advertising;
mod arriving;
mod leaving;

use std::{collections::BTreeMap, net::Ipv6Addr};

use bytes::Bytes;
use tracing::debug;

use crate::wire::{DecodeError, MacAddr, Message, Packet};

use super::{
    AccessLink, Admin, Command, CommandError, Counters, Event, HandoverStatus, Input, Instant,
    InterfaceIndex, Output, Reason, RouterConfig, StationEvent,
    nar::{self, Next},
    neighborhood::Neighborhood,
    outbox::Outbox,
    par,
    table::Table,
    timer::Deadlines,
};

/// One handover in one role: previous and new router are roles of a handover, not of a process.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HandoverId {
    /// Ours to give away: by PCoA.
    Par(Ipv6Addr),
    /// Ours to receive: by NCoA.
    Nar(Ipv6Addr),
}

/// The protocol of an access router; see the [module](super) for how to drive it.
#[derive(Debug)]
pub struct AccessRouter {
    config: RouterConfig,
    /// Where in the configuration the key of a PCoA and SPI is.
    keys: Table<(Ipv6Addr, u32), usize>,
    neighborhood: Neighborhood,
    counters: Counters,
    outbox: Outbox<HandoverId>,
    deadlines: Deadlines<HandoverId>,
    leaving: BTreeMap<Ipv6Addr, par::Handover>,
    arriving: BTreeMap<Ipv6Addr, nar::Handover>,
    /// The last FBU sequence number under each key, as long as the key lives (AMB-21).
    fbu_sequences: Table<Ipv6Addr, u16>,
    hi_sequence: u16,
    seed: u64,
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
    /// Makes a router without a handover, whose first sequence number and tables come from `seed`.
    pub fn new(config: RouterConfig, seed: u64) -> Self {
        Self {
            keys: index_keys(&config, seed),
            neighborhood: Neighborhood::new(&config.access, &config.peers),
            config,
            counters: Counters::default(),
            outbox: Outbox::default(),
            deadlines: Deadlines::default(),
            leaving: BTreeMap::new(),
            arriving: BTreeMap::new(),
            fbu_sequences: Table::new(seed),
            hi_sequence: seed as u16,
            seed,
            closed: false,
        }
    }

    /// Takes another configuration. What is under way goes on as it began; sequence numbers of
    /// mobile nodes that still have a key stay known.
    pub fn reload(&mut self, _now: Instant, config: RouterConfig) {
        self.neighborhood = Neighborhood::new(&config.access, &config.peers);
        self.keys = index_keys(&config, self.seed);
        self.config = config;
    }

    /// Gives back what an earlier [`Command::StoreSequence`] kept (AMB-21): an FBU for `pcoa` must
    /// have a newer number. Before the first input.
    pub fn restore_sequence(&mut self, pcoa: Ipv6Addr, sequence: u16) {
        self.fbu_sequences.insert(pcoa, sequence);
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
            Input::Drained { address } => self.drive_nar(now, address, nar::Input::Drained),
            Input::DrainFailed { address, error } => {
                let expires = now;
                let command = Command::ReleaseBuffer { address, expires };
                self.handle_failure(now, &command, &error);
            }
            Input::CommandFailed { command, error } => self.handle_failure(now, &command, &error),
            Input::Admin(Admin::Shutdown) => self.shut_down(now),
            Input::Station(event) => self.handle_station(now, event),
            Input::Admin(Admin::Handover {
                pcoa,
                access_point,
                ncoa,
            }) => self.order_handover(pcoa, access_point, ncoa),
            Input::Admin(Admin::Advertise { pcoa }) => self.advertise_neighborhood(pcoa),
            Input::Link(_) => {}
        }
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.pop_due(now) {
            match id {
                HandoverId::Par(pcoa) => self.drive_par(now, pcoa, par::Input::Deadline),
                HandoverId::Nar(ncoa) => self.drive_nar(now, ncoa, nar::Input::Deadline),
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
        let leaving = self.leaving.values().map(par::Handover::status);
        let arriving = self.arriving.values().map(nar::Handover::status);
        leaving.chain(arriving).collect()
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: &Bytes,
    ) {
        let packet = match Packet::decode(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                debug!(%error, "unreadable signalling");
                return self.counters.count(malformed(&error));
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
            Message::FastBindingUpdate(message) => self.handle_fbu(&arrival, &message),
            Message::HandoverInitiate(message) => self.handle_hi(&arrival, &message),
            Message::HandoverAck(message) => self.handle_hack(&arrival, &message),
            Message::PrRtAdv(_)
            | Message::FastBindingAck(_)
            | Message::FastNeighborAdvertisement(_)
            | Message::RouterSolicitation(_)
            | Message::RouterAdvertisement(_)
            | Message::NeighborSolicitation(_)
            | Message::BindingError(_)
            | Message::ParameterProblem(_) => {
                self.counters.count(Reason::Unexpected);
            }
        }
    }

    fn is_for_us(&self, destination: Ipv6Addr) -> bool {
        destination.is_multicast()
            || self
                .config
                .access
                .iter()
                .any(|link| [link.address, link.link_local].contains(&destination))
    }

    fn handle_failure(&mut self, now: Instant, command: &Command, error: &CommandError) {
        self.counters.count(Reason::CommandFailed);
        let failed = Event::CommandFailed {
            command: command.name(),
            error: error.to_string(),
        };
        self.outbox.event(None, failed);
        match *command {
            Command::InstallTunnel { pcoa, .. } | Command::RemoveTunnel { pcoa } => {
                self.drive_par(now, pcoa, par::Input::Failed(command));
            }
            Command::StartBuffering { address, .. }
            | Command::ReleaseBuffer { address, .. }
            | Command::RemoveBuffer { address }
            | Command::AddProxyNd { address, .. }
            | Command::RemoveProxyNd { address, .. }
            | Command::StartCopying { address, .. }
            | Command::AddHostRoute { address, .. }
            | Command::RemoveHostRoute { address, .. }
            | Command::AddNeighbor { address, .. } => {
                self.drive_nar(now, address, nar::Input::Failed(command, error));
            }
            // Until the next start nothing is missing.
            Command::StoreSequence { .. } => {}
            // A mobile node's.
            Command::HoldUplink { .. }
            | Command::ReleaseUplink { .. }
            | Command::RemoveUplink { .. }
            | Command::ConfigureAddress { .. }
            | Command::SetDefaultRouter { .. }
            | Command::ForgetRouter { .. }
            | Command::SwitchLink { .. } => {}
        }
    }

    /// Mobile nodes that come to a link of ours or leave it, as the link layer sees it.
    fn handle_station(&mut self, _now: Instant, _event: StationEvent) {
        self.counters.count(Reason::Unsupported);
    }

    fn shut_down(&mut self, now: Instant) {
        self.closed = true;
        let leaving: Vec<_> = self.leaving.keys().copied().collect();
        for pcoa in leaving {
            self.drive_par(now, pcoa, par::Input::Shutdown);
        }
        let arriving: Vec<_> = self.arriving.keys().copied().collect();
        for ncoa in arriving {
            self.drive_nar(now, ncoa, nar::Input::Shutdown);
        }
    }

    /// Hands an input to the handover that `pcoa` leaves with, if there is one.
    fn drive_par(&mut self, now: Instant, pcoa: Ipv6Addr, input: par::Input<'_>) {
        let (mut context, leaving, _) = self.context(now);
        let Some(handover) = leaving.get_mut(&pcoa) else {
            return;
        };
        let deadline = match handover.handle(input, &mut context) {
            Next::Stays => handover.deadline(),
            Next::Ends => {
                leaving.remove(&pcoa);
                None
            }
        };
        self.deadlines.set(HandoverId::Par(pcoa), deadline);
    }

    /// Hands an input to the handover that arrives with `ncoa`, if there is one.
    fn drive_nar(&mut self, now: Instant, ncoa: Ipv6Addr, input: nar::Input<'_>) {
        let (mut context, _, arriving) = self.context(now);
        let Some(handover) = arriving.get_mut(&ncoa) else {
            return;
        };
        let deadline = match handover.handle(input, &mut context) {
            Next::Stays => Some(handover.deadline()),
            Next::Ends => {
                arriving.remove(&ncoa);
                None
            }
        };
        self.deadlines.set(HandoverId::Nar(ncoa), deadline);
    }

    #[allow(clippy::type_complexity)] // The two tables beside the rest of self: named nowhere else.
    fn context(
        &mut self,
        now: Instant,
    ) -> (
        Context<'_>,
        &mut BTreeMap<Ipv6Addr, par::Handover>,
        &mut BTreeMap<Ipv6Addr, nar::Handover>,
    ) {
        let context = Context {
            now,
            config: &self.config,
            neighborhood: &self.neighborhood,
            counters: &mut self.counters,
            outbox: &mut self.outbox,
            hi_sequence: &mut self.hi_sequence,
        };
        (context, &mut self.leaving, &mut self.arriving)
    }

    fn access_link(&self, interface: InterfaceIndex) -> Option<&AccessLink> {
        self.config
            .access
            .iter()
            .find(|link| link.interface == interface)
    }

    fn is_full(&self) -> bool {
        self.leaving.len() + self.arriving.len() >= self.config.limits.max_handovers
    }
}

/// There may be a million of them.
fn index_keys(config: &RouterConfig, seed: u64) -> Table<(Ipv6Addr, u32), usize> {
    let keys = config.mobile_nodes.iter().enumerate();
    Table::of(seed, keys.map(|(index, key)| ((key.pcoa, key.spi), index)))
}

/// How an unreadable packet is counted.
pub(super) fn malformed(error: &DecodeError) -> Reason {
    match error {
        DecodeError::HopLimit(_) => Reason::HopLimit,
        DecodeError::AuthorizationNotLast(_) => Reason::AuthorizationMissing,
        _ => Reason::Malformed,
    }
}
