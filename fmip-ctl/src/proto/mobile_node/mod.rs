//! The machine of a mobile node: triggers in, signalling out.

mod arrival;
mod farewell;
mod handover;
mod movement;
mod solicitation;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv6Addr,
    time::Duration,
};

use bytes::Bytes;
use tracing::debug;

use crate::wire::{
    ApOutcome, ApTuple, FastBindingAck, FastBindingStatus, FastBindingUpdate, MacAddr, Message,
    NeighborAdvertisement, Packet, PrRtAdv, PrRtAdvCode, RouterInfo, RtSolPr,
};

use super::{
    Admin, Command, CommandError, Counters, Event, Failure, HOP_LIMIT, HandoverStatus, Input,
    Instant, LinkEvent, MobileNodeConfig, Output, Reason, Role, RouterKey, SEQUENCE_OUT_OF_WINDOW,
    Tunnel,
    auth::{self, Addresses},
    outbox::Outbox,
    router::malformed,
};

/// How many access points are remembered, and how many can be asked about at one time: neighbor
/// lists can be forged (RFC 5270 section 8).
const MAX_KNOWN: usize = 64;
const MAX_WANTED: usize = 16;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The protocol of a mobile node; see the [module](super) for how to drive it.
///
/// It knows one previous router. When it has arrived at the new one, it waits there for the
/// binding to end.
#[derive(Debug)]
pub struct MobileNode {
    config: MobileNodeConfig,
    counters: Counters,
    outbox: Outbox<Owner>,
    /// Of the last RtSolPr and the last FBU.
    identifier: u16,
    sequence: u16,
    /// What the previous router said about access points.
    known: BTreeMap<MacAddr, Knowledge>,
    wanted: BTreeSet<MacAddr>,
    solicitation: Option<Solicitation>,
    /// When the last RtSolPrs were sent, as many as may be in a second (RTS-08).
    solicited: VecDeque<Instant>,
    /// Whether the router did not answer RtSolPrs (RTS-09).
    router_silent: bool,
    access_point: Option<MacAddr>,
    /// Access points that are known to be on the previous router's link.
    previous_link: BTreeSet<MacAddr>,
    at_previous_router: bool,
    handover: Option<Handover>,
    /// Whether the uplink binding was ordered and not yet removed.
    uplink: bool,
    /// Until when the previous router may send our packets elsewhere, as far as an FBU asked for
    /// it.
    redirected: Option<Instant>,
    /// The FBU that ends that.
    farewell: Option<Farewell>,
    /// Whether the link is there.
    link_up: bool,
    /// The access point that the default router which was ordered, and not yet undone, is behind.
    default_router: Option<MacAddr>,
    closed: bool,
}

/// The outputs that can be taken back are those of the one handover.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Owner {
    Handover,
    Aftermath,
}

/// What is known about an access point (RFC 5568 section 6.1.2).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Knowledge {
    /// Where an MN is after a move there.
    Router(Destination),
    SameInterface,
    Unknown,
    NoFastHandover,
}

/// Where a handover leads.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Destination {
    router: RouterInfo,
    ncoa: Ipv6Addr,
}

/// RtSolPrs that wait for a PrRtAdv.
#[derive(Clone, Debug)]
struct Solicitation {
    identifier: u16,
    /// How often it may still be sent.
    sends_left: u32,
    /// The wait after the next one.
    timeout: Duration,
    /// When to send the next, or to give up.
    due: Instant,
}

#[derive(Debug)]
struct Handover {
    target: MacAddr,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// The router behind the target is being asked for.
    Asking,
    /// An FBU is out.
    AwaitingFback(Request),
    /// All is ready on the other side; the link layer moves.
    Switching {
        destination: Destination,
        expires: Instant,
    },
    /// On the new link, with the tunnel to the previous router still in use.
    Arrived {
        destination: Destination,
        expires: Instant,
        unas_left: u32,
        next_una: Instant,
    },
}

/// An FBU with lifetime 0 that waits for its FBack (MOV-01).
#[derive(Clone, Debug)]
struct Farewell {
    /// As in [`Request`].
    first_sequence: u16,
    retries_left: u32,
    timeout: Duration,
    due: Instant,
}

#[derive(Clone, Debug)]
struct Request {
    destination: Destination,
    /// No FBU of an earlier exchange may still be in force.
    is_only: bool,
    /// That of the first FBU of this exchange; each retransmission has the next (FBU-10).
    first_sequence: u16,
    retries_left: u32,
    timeout: Duration,
    due: Instant,
}

impl MobileNode {
    /// Makes a mobile node at its router, whose first sequence numbers come from `seed`.
    ///
    pub fn new(config: MobileNodeConfig, seed: u64) -> Self {
        Self {
            access_point: config.current_access_point,
            previous_link: config.current_access_point.into_iter().collect(),
            config,
            counters: Counters::default(),
            outbox: Outbox::default(),
            identifier: (seed >> 16) as u16,
            sequence: seed as u16,
            known: BTreeMap::new(),
            wanted: BTreeSet::new(),
            solicitation: None,
            solicited: VecDeque::new(),
            router_silent: false,
            at_previous_router: true,
            handover: None,
            uplink: false,
            redirected: None,
            farewell: None,
            link_up: true,
            default_router: None,
            closed: false,
        }
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::CommandFailed { command, error } => self.handle_failure(&command, &error),
            Input::Admin(Admin::Shutdown) => {
                self.closed = true;
                self.solicitation = None;
                self.farewell = None;
                self.remove_uplink();
                self.handover = None;
            }
            _ if self.closed => {}
            Input::Packet { bytes, .. } => self.handle_packet(now, &bytes),
            Input::Link(event) => self.handle_link(now, event),
            Input::DrainFailed { .. } => self.fail(Failure::CommandFailed),
            // The uplink goes straight through now; nothing depends on it.
            Input::Drained { .. } => {}
            // A router's.
            Input::Station(_) | Input::Admin(Admin::Handover { .. } | Admin::Advertise { .. }) => {}
        }
        self.settle(now);
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|due| due <= now) {
            if self.solicitation.as_ref().is_some_and(|s| s.due <= now) {
                self.solicit(now);
            } else if self.farewell.as_ref().is_some_and(|f| f.due <= now) {
                self.repeat_farewell(now);
            } else {
                self.handle_handover_timeout(now);
            }
            self.settle(now);
        }
    }

    /// When `handle_timeout` is to be called next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let solicitation = self.solicitation.as_ref().map(|s| s.due);
        let handover = self.handover.as_ref().and_then(|h| h.phase.deadline());
        let farewell = self.farewell.as_ref().map(|f| f.due);
        [solicitation, handover, farewell]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// How often what happened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The handover that is under way.
    pub fn handovers(&self) -> Vec<HandoverStatus> {
        let status = |handover: &Handover| HandoverStatus {
            role: Role::MobileNode,
            state: handover.phase.name(),
            pcoa: self.config.pcoa,
            ncoa: handover.phase.destination().map(|to| to.ncoa),
            peer: self.config.par,
            expires_ns: handover.phase.expires(),
        };
        self.handover.iter().map(status).collect()
    }

    fn handle_packet(&mut self, now: Instant, bytes: &Bytes) {
        let packet = match Packet::decode(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                debug!(%error, "unreadable signalling");
                return self.counters.count(malformed(&error));
            }
        };
        match &packet.message {
            Message::PrRtAdv(message) => self.handle_prrtadv(now, &packet, message),
            Message::FastBindingAck(message) => self.handle_fback(now, &packet, message, bytes),
            // Ordinary neighbor discovery: the kernel's.
            Message::NeighborAdvertisement(_) => self.counters.received_other_advertisement += 1,
            _ => self.counters.count(Reason::Unexpected),
        }
    }

    // Ends

    fn handle_failure(&mut self, command: &Command, error: &CommandError) {
        self.counters.count(Reason::CommandFailed);
        let failed = Event::CommandFailed {
            command: command.name(),
            error: error.to_string(),
        };
        self.outbox.event(None, failed);
        match command {
            // Without it the move would lose what the application sends: it stays where it is.
            Command::HoldUplink { .. } => {
                self.take_back();
                self.uplink = false;
                self.fail(Failure::CommandFailed);
            }
            // What is held must not wait for ever.
            Command::SwitchLink { .. } | Command::ReleaseUplink { .. } if self.uplink => {
                self.fail(Failure::CommandFailed);
            }
            Command::SetDefaultRouter { .. } => self.default_router = None,
            // The rest is done by ordinary neighbor discovery in its own time.
            _ => {}
        }
    }

    /// Unsays what was not yet heard.
    fn take_back(&mut self) {
        for command in self.outbox.withdraw(Owner::Handover) {
            match command {
                Command::HoldUplink { .. } => self.uplink = false,
                Command::RemoveUplink { .. } => self.uplink = true,
                Command::SetDefaultRouter { .. } => self.default_router = None,
                _ => {}
            }
        }
    }

    /// Gives up the fast handover.
    fn fail(&mut self, reason: Failure) {
        self.end_handover();
        self.outbox.event(None, Event::HandoverFailed { reason });
    }

    fn end_handover(&mut self) {
        self.remove_uplink();
        self.handover = None;
    }

    /// Clears up behind a handover that is over, whichever way it went.
    fn settle(&mut self, now: Instant) {
        let phase = self.handover.as_ref().map(|handover| &handover.phase);
        let is_leaving = matches!(phase, Some(Phase::Switching { .. }));
        if self.default_router.is_some() && self.default_router != self.access_point && !is_leaving
        {
            self.default_router = None;
            let interface = self.config.interface;
            self.outbox
                .command(Owner::Aftermath, Command::ForgetRouter { interface });
        }
        // MOV-01: on the previous link, what comes for it must not go elsewhere.
        if !self.at_previous_router || !self.link_up {
            self.farewell = None;
        } else if self.handover.is_none()
            && self.farewell.is_none()
            && !self.closed
            && self.redirected.is_some_and(|until| until > now)
        {
            let timers = &self.config.timers;
            let (retries, timeout) = (timers.fbu_retries, timers.initial_timeout);
            self.send_farewell(now, retries, timeout);
        }
    }

    fn remove_uplink(&mut self) {
        if std::mem::take(&mut self.uplink) {
            let pcoa = self.config.pcoa;
            self.outbox
                .command(Owner::Handover, Command::RemoveUplink { pcoa });
        }
    }
}

impl Phase {
    fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Asking => None,
            Self::AwaitingFback(Request { due, .. }) => Some(due),
            Self::Switching { expires, .. } => Some(expires),
            Self::Arrived {
                expires,
                unas_left,
                next_una,
                ..
            } => Some(if unas_left == 0 {
                expires
            } else {
                next_una.min(expires)
            }),
        }
    }

    fn destination(&self) -> Option<&Destination> {
        match self {
            Self::Asking => None,
            Self::AwaitingFback(Request { destination, .. })
            | Self::Switching { destination, .. }
            | Self::Arrived { destination, .. } => Some(destination),
        }
    }

    fn expires(&self) -> Option<Instant> {
        match *self {
            Self::Asking | Self::AwaitingFback(_) => None,
            Self::Switching { expires, .. } | Self::Arrived { expires, .. } => Some(expires),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::AwaitingFback(_) => "awaiting-fback",
            Self::Switching { .. } => "switching",
            Self::Arrived { .. } => "arrived",
        }
    }
}
