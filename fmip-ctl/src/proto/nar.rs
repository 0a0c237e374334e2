//! One handover as its new access router sees it: expected, arriving, arrived.

use std::net::Ipv6Addr;

use crate::wire::{HackCode, HandoverAck, MacAddr, Message, Packet};

use super::{
    Command, CommandError, Event, HandoverStatus, Instant, InterfaceIndex, NeighborState, Reason,
    Role,
    router::{Context, HandoverId},
};

/// An HI that was found to be in order, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    /// The PAR.
    pub(super) peer: Ipv6Addr,
    /// The address of ours that the PAR wrote to.
    pub(super) local: Ipv6Addr,
    pub(super) sequence: u16,
    /// The PAR listens only to the holder of the key of this address.
    pub(super) pcoa: Ipv6Addr,
    pub(super) ncoa: Ipv6Addr,
    /// The mobile node's.
    pub(super) lla: MacAddr,
    /// The access link of the NCoA.
    pub(super) interface: InterfaceIndex,
    /// Whether the PAR wants packets held ('U').
    pub(super) buffer: bool,
}

impl Announcement {
    /// Whether both are about the same mobile node on the same way.
    fn same_move(&self, other: &Self) -> bool {
        let key = |a: &Self| (a.peer, a.pcoa, a.ncoa, a.lla, a.interface);
        key(self) == key(other)
    }
}

/// What can happen to a handover at the NAR.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// The HI came again, or a newer one for the same NCoA.
    Announced(Announcement),
    /// A UNA for the NCoA, with this Target LLA.
    Una(Option<MacAddr>),
    /// Nothing is held any more.
    Drained,
    /// The mobile node moves on: from now on its packets leave through a tunnel.
    Left,
    /// The deadline was reached.
    Deadline,
    /// A command was not carried out.
    Failed(&'a Command, &'a CommandError),
    /// The router shuts down.
    Shutdown,
}

/// Whether a handover goes on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stays,
    Ends,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    /// Announced, not here: packets are held.
    Expected,
    /// Here: held packets are being released.
    Draining,
    /// Here: packets go straight through.
    Arrived,
}

/// One handover.
#[derive(Debug)]
pub(super) struct Handover {
    announcement: Announcement,
    state: State,
    deadline: Instant,
    /// When the mobile node came, if it did.
    arrived: Instant,
    /// Buffer and proxy, as far as they were ordered and not yet removed.
    buffer: bool,
    proxy: bool,
    /// Whether the last order for the buffer only prolonged an earlier one.
    buffer_prolonged: bool,
}

impl Handover {
    /// Begins to expect a mobile node (RFC 5568 section 6.2.1.1).
    pub(super) fn begin(announcement: Announcement, context: &mut Context<'_>) -> Self {
        let mut handover = Self {
            announcement,
            state: State::Expected,
            deadline: context.now,
            arrived: context.now,
            buffer: false,
            proxy: false,
            buffer_prolonged: false,
        };
        handover.expect(context);
        handover
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether `announcement` is about the mobile node that this is the handover of. If not, the
    /// NCoA is taken.
    pub(super) fn is_of(&self, announcement: &Announcement) -> bool {
        self.announcement.same_move(announcement)
    }

    pub(super) fn handle(&mut self, input: Input<'_>, context: &mut Context<'_>) -> Next {
        match (self.state, input) {
            // HI-18, HI-14: the answer was lost, or is still on its way.
            (_, Input::Announced(again)) if again.sequence == self.announcement.sequence => {
                context.counters.count(Reason::Duplicate);
                self.answer(HackCode::NcoaValid, context);
                Next::Stays
            }
            // The mobile node asked its PAR anew before it left: wait for it anew.
            (State::Expected, Input::Announced(newer)) => {
                self.announcement = newer;
                self.expect(context);
                Next::Stays
            }
            // It has only just come: this HI is of the way here, and the UNA overtook it.
            (State::Draining | State::Arrived, Input::Announced(newer))
                if context.now - self.arrived < context.config.timers.initial_timeout * 2 =>
            {
                context.counters.count(Reason::Duplicate);
                self.announcement = newer;
                self.answer(HackCode::NcoaValid, context);
                Next::Stays
            }
            // It was here, went back, and is about to return. What it left behind is stale.
            (State::Draining | State::Arrived, Input::Announced(newer)) => {
                self.undo(context);
                self.announcement = newer;
                self.expect(context);
                Next::Stays
            }

            // UNA-09, UNA-11: somebody else; the buffer is not theirs, nor the neighbor entry.
            (_, Input::Una(lla)) if lla != Some(self.announcement.lla) => {
                context.counters.count(Reason::WrongLinkAddress);
                Next::Stays
            }
            (State::Expected, Input::Una(_)) => self.arrive(context),
            // UNA-04: it is repeated, for nothing acknowledges it.
            (State::Draining | State::Arrived, Input::Una(_)) => {
                context.counters.count(Reason::Duplicate);
                Next::Stays
            }

            (State::Draining, Input::Drained) => {
                // The buffer stays for stragglers, which go straight through it.
                self.state = State::Arrived;
                self.deadline = context.now + context.config.timers.proxy_nd_lifetime;
                let ncoa = self.announcement.ncoa;
                context.event(self.id(), Event::BufferDrained { ncoa });
                Next::Stays
            }
            // Of an earlier visit.
            (State::Expected | State::Arrived, Input::Drained) => Next::Stays,

            // BUF-06: a short, finite life.
            (State::Expected | State::Draining, Input::Deadline) => {
                let expired = self.buffer;
                self.undo(context);
                if expired {
                    let ncoa = self.announcement.ncoa;
                    context.event(self.id(), Event::BufferExpired { ncoa });
                }
                Next::Ends
            }
            (State::Arrived, Input::Deadline) | (_, Input::Left | Input::Shutdown) => {
                self.undo(context);
                Next::Ends
            }

            (_, Input::Failed(command, error)) => self.fail(command, error, context),
        }
    }

    /// Holds packets, stands in for the mobile node, and only then says yes.
    fn expect(&mut self, context: &mut Context<'_>) {
        let Announcement {
            pcoa,
            ncoa,
            lla,
            interface,
            buffer,
            ..
        } = self.announcement;
        self.state = State::Expected;
        self.deadline = context.now + context.config.timers.proxy_nd_lifetime;
        if buffer {
            let command = Command::StartBuffering {
                address: ncoa,
                interface,
                link_address: lla,
                tunnel: None,
                expires: self.deadline,
            };
            context.command(self.id(), command);
            self.buffer_prolonged = std::mem::replace(&mut self.buffer, true);
        }
        if !self.proxy {
            // HI-12 asks for a probe on the link before the address is defended. So far the check
            // is against the table of handovers, our own addresses and the neighbors that are
            // known, as if DupAddrDetectTransmits were 0.
            let command = Command::AddProxyNd {
                interface,
                address: ncoa,
                link_address: lla,
            };
            context.command(self.id(), command);
            self.proxy = true;
        }
        self.answer(HackCode::NcoaValid, context);
        context.event(self.id(), Event::HiAccepted { pcoa, ncoa });
        if buffer && !self.buffer_prolonged {
            context.event(self.id(), Event::BufferStarted { ncoa });
        }
    }

    /// The mobile node is here (RFC 5568 section 6.3).
    fn arrive(&mut self, context: &mut Context<'_>) -> Next {
        let Announcement {
            ncoa,
            lla,
            interface,
            ..
        } = self.announcement;
        let id = self.id();
        self.arrived = context.now;
        context.event(id, Event::UnaReceived { ncoa });
        // UNA-06, UNA-12: the proxy first, or it would answer the mobile node's own probe.
        self.remove_proxy(context);
        let neighbor = Command::AddNeighbor {
            interface,
            address: ncoa,
            link_address: lla,
            state: NeighborState::Stale,
        };
        context.command(id, neighbor);
        let timers = &context.config.timers;
        if self.buffer {
            self.state = State::Draining;
            self.deadline = context.now + timers.max_binding_lifetime;
            let release = Command::ReleaseBuffer {
                address: ncoa,
                expires: self.deadline,
            };
            context.command(id, release);
            context.event(id, Event::BufferReleased { ncoa });
        } else {
            self.state = State::Arrived;
            self.deadline = context.now + timers.proxy_nd_lifetime;
        }
        Next::Stays
    }

    fn fail(&mut self, command: &Command, error: &CommandError, context: &mut Context<'_>) -> Next {
        let (code, reason) = match (command, error) {
            // HI-12.
            (
                Command::StartBuffering { .. } | Command::AddProxyNd { .. },
                CommandError::InUse(_),
            ) => (HackCode::NcoaInUse, Reason::NcoaInUse),
            (Command::StartBuffering { .. }, _) => (HackCode::Resources, Reason::CommandFailed),
            (Command::AddProxyNd { .. }, _) => (HackCode::Unspecified, Reason::CommandFailed),
            // What is held can never go out; what comes now must not be held too.
            (Command::ReleaseBuffer { .. }, _) => {
                self.take_back(context);
                self.undo(context);
                return Next::Ends;
            }
            // Without the entry, neighbor discovery finds the mobile node.
            _ => return Next::Stays,
        };
        self.take_back(context);
        match command {
            Command::StartBuffering { .. } => self.buffer = self.buffer_prolonged,
            _ => self.proxy = false,
        }
        let expected = self.state == State::Expected;
        self.undo(context);
        // Once the mobile node is here, the answer to the HI is history.
        if expected {
            self.answer(code, context);
            if reason == Reason::NcoaInUse {
                context.counters.count(reason);
            }
            let refused = Event::HiRefused {
                reason,
                code: code.value(),
                source: self.announcement.peer,
            };
            context.event(self.id(), refused);
        }
        Next::Ends
    }

    /// Unsays what was not yet heard.
    fn take_back(&mut self, context: &mut Context<'_>) {
        for command in context.outbox.withdraw(self.id()) {
            match command {
                Command::StartBuffering { .. } => self.buffer = self.buffer_prolonged,
                Command::RemoveBuffer { .. } => self.buffer = true,
                Command::AddProxyNd { .. } => self.proxy = false,
                Command::RemoveProxyNd { .. } => self.proxy = true,
                _ => {}
            }
        }
    }

    /// Removes what was installed.
    fn undo(&mut self, context: &mut Context<'_>) {
        self.remove_proxy(context);
        if std::mem::take(&mut self.buffer) {
            let address = self.announcement.ncoa;
            context.command(self.id(), Command::RemoveBuffer { address });
        }
    }

    fn remove_proxy(&mut self, context: &mut Context<'_>) {
        if std::mem::take(&mut self.proxy) {
            let command = Command::RemoveProxyNd {
                interface: self.announcement.interface,
                address: self.announcement.ncoa,
            };
            context.command(self.id(), command);
        }
    }

    fn answer(&self, code: HackCode, context: &mut Context<'_>) {
        let Announcement {
            peer,
            local,
            sequence,
            ..
        } = self.announcement;
        context.counters.sent_hack += 1;
        let bytes = hack(local, peer, sequence, code);
        context.outbox.transmit(Some(self.id()), None, bytes);
    }

    fn id(&self) -> HandoverId {
        HandoverId::Nar(self.announcement.ncoa)
    }

    pub(super) fn status(&self) -> HandoverStatus {
        HandoverStatus {
            role: Role::Nar,
            state: match self.state {
                State::Expected => "expected",
                State::Draining => "draining",
                State::Arrived => "arrived",
            },
            pcoa: self.announcement.pcoa,
            ncoa: Some(self.announcement.ncoa),
            peer: self.announcement.peer,
            expires_ns: Some(self.deadline),
        }
    }
}

/// The answer to an HI: addresses swapped, sequence copied (HAK-01).
pub(super) fn hack(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    sequence: u16,
    code: HackCode,
) -> bytes::Bytes {
    let packet = Packet {
        source,
        destination,
        hop_limit: super::HOP_LIMIT,
        home_address: None,
        message: Message::HandoverAck(HandoverAck {
            sequence,
            code,
            ncoa: None,
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}
