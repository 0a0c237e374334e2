//! The machine of a mobile node: triggers in, signalling out.

mod addresses;
mod announcement;
mod arrival;
mod default_router;
mod discovery;
mod farewell;
mod fback;
mod handover;
mod movement;
mod naack;
mod place;
mod registration;
mod solicitation;
mod status;
mod uplink;

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;
use tracing::debug;

use crate::wire::{MacAddr, Message, Packet};

use super::{
    Admin, Command, CommandError, Counters, Event, Failure, HandoverStatus, Input, Instant,
    InterfaceIndex, LinkEvent, MobileNodeConfig, Output, Reason, Role, RouterKey, outbox::Outbox,
    router::malformed,
};

use addresses::Addresses;
use announcement::{Announced, Announcing};
use default_router::DefaultRouter;
use discovery::RouterDiscovery;
use farewell::Farewell;
use handover::{Handover, Phase};
use place::{Elsewhere, Link, Origin};
use registration::Endings;
use solicitation::Neighborhood;
use uplink::Uplink;

pub use status::{
    AnnouncementsLeft, HandoverUnderWay, KnownAccessPoint, MobileNodeStatus, PreviousAddress,
    Prospect,
};

/// How many access points are remembered, and how many can be asked about at one time: neighbor
/// lists can be forged (RFC 5270 section 8).
const MAX_KNOWN: usize = 64;
const MAX_WANTED: usize = 16;

/// How many links that it left are remembered.
const MAX_PAST: usize = 4;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The protocol of a mobile node; see the [module](super) for how to drive it.
///
/// Its first output makes its router the default one, so that packets still come as far as the data
/// path when the link is gone; poll for outputs once before the first input.
///
/// # Moves
/// When the link goes, what is sent from any of its addresses is held. Where it comes up again
/// decides how that leaves: through a tunnel to the router it left, once an FBack is there (sent on
/// the old link or on the new one); plain, if it is back or keeps its address; or not at all, if
/// nothing remains but an ordinary Binding Update ([`Event::FellBack`]). The new care-of address is
/// then the previous one of the next move, and the uplinks of earlier moves go on inside that of
/// the last, each until its binding ends.
#[derive(Debug)]
pub struct MobileNode {
    config: MobileNodeConfig,
    seed: u64,
    counters: Counters,
    outbox: Outbox<Owner>,
    /// Of the last FBU.
    sequence: u16,
    neighborhood: Neighborhood,
    /// When its router is asked for its neighborhood next, if nothing else is under way then.
    next_look: Option<Instant>,
    /// Whether the link is there.
    link_up: bool,
    access_point: Option<MacAddr>,
    /// Whose address it uses.
    origin: Origin,
    /// Where it is, if it is not on that link.
    elsewhere: Option<Elsewhere>,
    /// Links that it left, the last one last.
    past: Vec<Origin>,
    handover: Option<Handover>,
    /// What was ordered for the uplink and not yet removed, the newest last.
    uplinks: Vec<Uplink>,
    announcing: Option<Announcing>,
    /// What a NAACK can still answer.
    announced: Option<Announced>,
    /// What the kernel found in use before a NAACK came that says what to use instead.
    given_up: Option<Announced>,
    /// Addresses on this link that were refused.
    refused: Vec<Ipv6Addr>,
    /// The FBU that ends a binding.
    farewell: Option<Farewell>,
    /// The FBUs that end bindings of earlier addresses.
    endings: Endings,
    addresses: Addresses,
    /// Whose way packets take that need no tunnel.
    default_router: DefaultRouter,
    closed: bool,
}

/// Outputs that may be taken back together, and the rest.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Owner {
    /// What follows when packets can be held.
    Departure,
    /// The uplink of this address.
    Uplink(Ipv6Addr),
    Rest,
}

impl MobileNode {
    /// Makes a mobile node at its router, whose sequence numbers and whose addresses in place of
    /// refused ones come from `seed`.
    pub fn new(config: MobileNodeConfig, seed: u64) -> Self {
        let mut keys = config.routers.iter();
        let prefix = keys.find(|key| key.router == config.par);
        let prefix_length = prefix
            .and_then(|key| key.prefix)
            .map_or(discovery::IID_BITS, |prefix| prefix.length());
        let origin = Origin {
            pcoa: config.pcoa,
            par: config.par,
            prefix_length,
            link: Link {
                router: config.par,
                router_lla: config.router_lla,
                access_points: config.current_access_point.into_iter().collect(),
            },
            redirected: None,
            is_new: false,
        };
        let mut node = Self {
            seed,
            counters: Counters::default(),
            outbox: Outbox::default(),
            sequence: seed as u16,
            neighborhood: Neighborhood::new((seed >> 16) as u16),
            next_look: None,
            link_up: true,
            access_point: config.current_access_point,
            origin,
            elsewhere: None,
            past: Vec::new(),
            handover: None,
            uplinks: Vec::new(),
            announcing: None,
            announced: None,
            given_up: None,
            refused: Vec::new(),
            farewell: None,
            endings: Endings::default(),
            addresses: Addresses::new(config.pcoa),
            default_router: DefaultRouter::default(),
            closed: false,
            config,
        };
        node.choose_router(Owner::Rest);
        node
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::CommandFailed { command, error } => self.handle_failure(now, &command, &error),
            Input::Admin(Admin::Shutdown) => self.shut_down(),
            _ if self.closed => {}
            Input::Admin(Admin::Registered { care_of }) => self.handle_registered(now, care_of),
            Input::AddressConfirmed { address } => self.handle_confirmed(now, address),
            Input::Packet {
                interface,
                link_source,
                bytes,
            } => self.handle_packet(now, interface, link_source, &bytes),
            Input::Link(event) => self.handle_link(now, event),
            Input::Drained { address } => self.handle_drained(address),
            Input::DrainFailed { address, .. } => self.lose_uplink(address),
            // A router's.
            Input::Station(_) | Input::Admin(Admin::Handover { .. } | Admin::Advertise { .. }) => {}
        }
        self.settle(now);
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|due| due <= now) {
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if is_due(self.neighborhood.deadline()) {
                self.solicit(now);
            } else if is_due(self.look_deadline()) {
                self.look_again(now);
            } else if is_due(self.farewell.as_ref().map(|farewell| farewell.due)) {
                self.repeat_farewell(now);
            } else if is_due(self.endings.deadline()) {
                self.handle_ending_timeout(now);
            } else if is_due(self.uplink_deadline()) {
                self.expire_uplinks(now);
            } else if is_due(self.announcing.as_ref().map(|announcing| announcing.due)) {
                self.repeat_announcement(now);
            } else {
                self.handle_handover_timeout(now);
            }
            self.settle(now);
        }
    }

    /// When `handle_timeout` is to be called next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let handover = self.handover.as_ref();
        [
            self.neighborhood.deadline(),
            self.look_deadline(),
            self.farewell.as_ref().map(|farewell| farewell.due),
            self.endings.deadline(),
            self.uplink_deadline(),
            self.announcing.as_ref().map(|announcing| announcing.due),
            handover.and_then(|handover| handover.phase.deadline()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outbox.pop()?;
        self.note_polled(&output);
        Some(output)
    }

    /// How often what happened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The bindings in force, oldest first, and the handover that is under way.
    pub fn handovers(&self) -> Vec<HandoverStatus> {
        let bindings = self.uplinks.iter().filter_map(Uplink::status);
        let under_way = self.handover.as_ref().map(|handover| HandoverStatus {
            role: Role::MobileNode,
            state: handover.phase.name(),
            pcoa: self.origin.pcoa,
            ncoa: handover.phase.ncoa(),
            peer: self.origin.par,
            expires_ns: handover.phase.expires(),
        });
        bindings.chain(under_way).collect()
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
        if interface != self.config.interface {
            return self.counters.count(Reason::Unexpected);
        }
        match &packet.message {
            Message::PrRtAdv(message) => self.handle_prrtadv(now, &packet, message),
            Message::FastBindingAck(message) => self.handle_fback(now, &packet, message, bytes),
            Message::RouterAdvertisement(message) => {
                self.handle_advertisement(now, link_source, &packet, message);
            }
            // Ordinary neighbor discovery: the kernel's.
            Message::NeighborAdvertisement(_) => self.counters.received_other_advertisement += 1,
            _ => self.counters.count(Reason::Unexpected),
        }
    }

    fn handle_failure(&mut self, now: Instant, command: &Command, error: &CommandError) {
        self.counters.count(Reason::CommandFailed);
        let failed = Event::CommandFailed {
            command: command.name(),
            error: error.to_string(),
        };
        self.outbox.event(None, failed);
        match *command {
            Command::HoldUplink { pcoa, .. } => self.handle_hold_failure(now, pcoa),
            Command::ReleaseUplink { pcoa, .. } => self.lose_uplink(pcoa),
            Command::SwitchLink { access_point } => {
                // Not of an earlier one, which this one superseded.
                let is_it = |handover: &Handover| {
                    handover.target == Some(access_point)
                        && matches!(handover.phase, Phase::Switching(_))
                };
                if self.handover.as_ref().is_some_and(is_it) {
                    self.fail(now, Failure::CommandFailed);
                }
            }
            Command::SetDefaultRouter { .. } => self.handle_router_failure(),
            // Duplicate address detection says no.
            Command::ConfigureAddress { address, .. }
                if matches!(error, CommandError::InUse(_)) =>
            {
                self.handle_duplicate(now, address);
            }
            Command::ConfigureAddress { address, .. } => self.forget_address(address),
            // The rest is done by ordinary neighbor discovery in its own time.
            _ => {}
        }
    }

    /// Gives up the fast handover: where the mobile node is decides what that means.
    fn fail(&mut self, now: Instant, reason: Failure) {
        let Some(handover) = self.handover.take() else {
            return;
        };
        self.outbox.event(None, Event::HandoverFailed { reason });
        match handover.phase {
            Phase::AwaitingFback(request) if request.reactive => {
                self.fall_back(now, &request.destination);
            }
            Phase::Discovering(_) => self.be_lost(),
            // It has not left.
            _ if self.link_up => self.release_uplinks(now),
            _ => self.remove_uplinks(),
        }
    }

    fn shut_down(&mut self) {
        self.closed = true;
        self.neighborhood.clear();
        self.farewell = None;
        self.endings.clear();
        self.announcing = None;
        self.handover = None;
        self.remove_uplinks();
        self.forget_router();
    }

    /// Clears up behind what happened.
    fn settle(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        self.next_look = self.next_look.or(Some(now));
        let phase = self.handover.as_ref().map(|handover| &handover.phase);
        let in_transit = matches!(phase, Some(Phase::Switching(_) | Phase::Adrift(_)));
        if !in_transit {
            self.choose_router(Owner::Rest);
        }
        // MOV-01: on that link, what comes for it must not go elsewhere.
        if self.elsewhere.is_some() || !self.link_up {
            self.farewell = None;
        } else if self.handover.is_none()
            && self.farewell.is_none()
            && self.origin.redirected.is_some_and(|until| until > now)
            && self.key().is_some()
        {
            let timers = &self.config.timers;
            let (retries, timeout) = (timers.fbu_retries, timers.initial_timeout);
            self.send_farewell(now, retries, timeout);
        }
        self.settle_addresses();
    }

    /// The key shared with the router that the address in use comes from.
    fn key(&self) -> Option<&RouterKey> {
        self.key_of(self.origin.par)
    }

    fn key_of(&self, router: Ipv6Addr) -> Option<&RouterKey> {
        let mut keys = self.config.routers.iter();
        keys.find(|key| key.router == router)
    }

    fn lifetime(&self) -> u16 {
        self.config.lifetime.as_secs().clamp(1, u16::MAX.into()) as u16
    }

    /// How long packets wait for it to be known how they leave.
    fn patience(&self) -> Duration {
        Duration::from_secs(self.lifetime().into())
    }

    /// Transmits on the interface that moves, past any routing.
    fn transmit(&mut self, packet: &Packet) {
        let interface = Some(self.config.interface);
        self.outbox.transmit(None, interface, packet.encode());
    }
}
