//! One handover as its new access router sees it: probed, expected, arriving, arrived.

mod announcement;
pub(super) mod message;
mod removal;

use std::{net::Ipv6Addr, time::Duration};

use crate::wire::{HackCode, MacAddr};

use super::{
    Command, CommandError, Event, HandoverStatus, Instant, NeighborState, Reason, Role,
    router::{Context, HandoverId},
};

pub(super) use announcement::{Announcement, Grant};
pub(super) use removal::Leftover;

/// What can happen to a handover at the NAR.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// The HI came again, or a newer one of the same mobile node.
    Announced(Announcement),
    /// A UNA for its address with this Target LLA, or an FNA.
    Una(Option<MacAddr>, NeighborState),
    /// It is on its link, but does not know its address yet.
    Seen,
    /// Nothing is held any more.
    Drained,
    /// Its address turned out to be another node's, or its mobile node goes elsewhere.
    Withdrawn,
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
    /// Announced, and the link is asked whether the address is in use: no answer yet.
    Probing,
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
    /// Buffer, proxy and host route, as far as they were ordered and not yet removed.
    buffer: bool,
    proxy: bool,
    route: bool,
    /// Whether the mobile node is on the link, as far as is known before it uses its address.
    seen: bool,
    /// Whether the last order for the buffer only prolonged an earlier one.
    buffer_prolonged: bool,
}

impl Handover {
    /// Begins to expect a mobile node (RFC 5568 section 6.2.1.1). `inherits`: it was here before, and what
    /// stands of its handover from here is this one's.
    pub(super) fn expect(
        announcement: Announcement,
        inherits: bool,
        context: &mut Context<'_>,
    ) -> Self {
        let mut handover = Self::new(announcement, State::Expected, context);
        handover.buffer = inherits;
        handover.prepare(context);
        if inherits {
            let ncoa = handover.announcement.address();
            context.event(handover.id(), Event::BufferStarted { ncoa });
        }
        handover
    }

    /// Takes a mobile node that is here already, with an address of this link, and whose PAR
    /// vouches for it (HI-17): what its UNA made is made sure of, and remembered until the HI
    /// cannot come again. `inherits`: as for [`Handover::expect`]; what is held goes to it at once.
    pub(super) fn confirm(
        announcement: Announcement,
        inherits: bool,
        context: &mut Context<'_>,
    ) -> Self {
        let mut handover = Self::new(announcement, State::Arrived, context);
        handover.deadline = context.now + context.config.timers.proxy_nd_lifetime;
        handover.add_neighbor(NeighborState::Stale, context);
        if inherits {
            handover.buffer = true;
            handover.hold(handover.deadline, context);
            handover.release(context);
        }
        handover.accept(context);
        handover
    }

    /// Takes a mobile node that is here already and keeps its previous care-of address.
    pub(super) fn receive(
        announcement: Announcement,
        inherits: bool,
        context: &mut Context<'_>,
    ) -> Self {
        let mut handover = Self::expect(announcement, inherits, context);
        handover.arrive(NeighborState::Stale, context);
        handover
    }

    fn new(announcement: Announcement, state: State, context: &Context<'_>) -> Self {
        Self {
            announcement,
            state,
            deadline: context.now,
            arrived: context.now,
            buffer: false,
            proxy: false,
            route: false,
            seen: false,
            buffer_prolonged: false,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Whether the mobile node was announced and has not come.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Probing | State::Expected)
    }

    /// Whether the link is being asked for the address.
    pub(super) fn is_probing(&self) -> bool {
        self.state == State::Probing
    }

    pub(super) fn handle(&mut self, input: Input<'_>, context: &mut Context<'_>) -> Next {
        match (self.state, input) {
            // HI-18: it is answered when the link had its time to object; to the newest.
            (State::Probing, Input::Announced(again)) => {
                context.counters.count(Reason::Duplicate);
                self.announcement = again;
                if self.announcement.buffer && !self.buffer {
                    let wait = context.config.timers.proxy_nd_lifetime;
                    self.hold(self.deadline + wait, context);
                }
                Next::Stays
            }
            // HI-18, HI-14: the answer was lost, or is still on its way.
            (_, Input::Announced(again)) if again.is_same_question(&self.announcement) => {
                context.counters.count(Reason::Duplicate);
                self.answer(context);
                Next::Stays
            }
            // It was seen, and now its PAR knows which address it has.
            (State::Expected, Input::Announced(newer)) if newer.moved && self.seen => {
                self.announcement = newer;
                self.answer(context);
                self.arrive(NeighborState::Stale, context)
            }
            // It was overtaken by the one that asks for packets to be held.
            (State::Expected, Input::Announced(other))
                if other.calls_off() && self.announcement.overtook(&other) =>
            {
                context.counters.count(Reason::Duplicate);
                self.answer(context);
                Next::Stays
            }
            // The mobile node asked its PAR anew before it left, or before its UNA was heard
            // (HI-17): wait for it anew.
            (State::Expected, Input::Announced(newer)) => {
                self.announcement = newer;
                // It stayed where it was: what was held for it would come late.
                if self.announcement.calls_off() && std::mem::take(&mut self.buffer) {
                    let address = self.announcement.address();
                    context.command(self.id(), Command::RemoveBuffer { address });
                }
                self.prepare(context);
                Next::Stays
            }
            // It has only just come: this HI is of the way here, and the UNA overtook it. Or the
            // PAR says itself that the mobile node is here, having missed the FBack (HI-17).
            (State::Draining | State::Arrived, Input::Announced(newer))
                if newer.moved
                    || context.now - self.arrived < context.config.timers.initial_timeout * 2 =>
            {
                context.counters.count(Reason::Duplicate);
                self.announcement = newer;
                self.answer(context);
                Next::Stays
            }
            // It was here, went back, and is about to return. What it left behind is stale.
            (State::Draining | State::Arrived, Input::Announced(newer)) => {
                self.undo(context);
                self.announcement = newer;
                self.prepare(context);
                Next::Stays
            }

            // UNA-09, UNA-11: somebody else; the buffer is not theirs, nor the neighbor entry.
            (_, Input::Una(lla, _)) if lla != Some(self.announcement.lla) => {
                context.counters.count(Reason::WrongLinkAddress);
                Next::Stays
            }
            // It is the one that the link was asked for: nobody else has the address.
            (State::Probing, Input::Una(_, neighbor)) => {
                self.accept(context);
                self.arrive(neighbor, context)
            }
            (State::Expected, Input::Una(_, neighbor)) => self.arrive(neighbor, context),
            // UNA-04: it is repeated, for nothing acknowledges it.
            (State::Draining | State::Arrived, Input::Una(..)) => {
                context.counters.count(Reason::Duplicate);
                Next::Stays
            }

            (_, Input::Seen) => {
                self.seen = true;
                Next::Stays
            }

            (State::Draining, Input::Drained) => {
                self.state = State::Arrived;
                // The buffer stays for stragglers, which go straight through it; and as long as a
                // kept address needs its tunnel.
                if !self.keeps() {
                    self.deadline = context.now + context.config.timers.proxy_nd_lifetime;
                }
                Next::Stays
            }
            // Of an earlier visit.
            (State::Probing | State::Expected | State::Arrived, Input::Drained) => Next::Stays,

            // HI-12, HI-13: nobody objected.
            (State::Probing, Input::Deadline) => {
                self.defend(context);
                Next::Stays
            }
            // BUF-06, MOV-06: a short, finite life.
            (State::Expected | State::Draining, Input::Deadline) => {
                let expired = self.buffer;
                self.undo(context);
                if expired {
                    let ncoa = self.announcement.address();
                    context.event(self.id(), Event::BufferExpired { ncoa });
                }
                Next::Ends
            }
            (_, Input::Withdrawn) => {
                self.take_back(context);
                self.undo(context);
                Next::Ends
            }
            (State::Arrived, Input::Deadline) | (_, Input::Shutdown) => {
                self.undo(context);
                Next::Ends
            }

            (_, Input::Failed(command, error)) => self.fail(command, error, context),
        }
    }

    /// Holds packets, and sees to it that the address may be defended.
    fn prepare(&mut self, context: &mut Context<'_>) {
        let Announcement {
            interface, buffer, ..
        } = self.announcement;
        let address = self.announcement.address();
        let probe = self.probe_time(context);
        let wait = context.config.timers.proxy_nd_lifetime;
        let expires = context.now + probe.unwrap_or_default() + wait;
        // HI-11. What comes for a kept address comes in a tunnel, out of which only the data path
        // takes it.
        if buffer || self.buffer || self.keeps() {
            self.hold(expires, context);
        }
        let started = self.buffer && !self.buffer_prolonged;
        match probe {
            Some(probe) => {
                self.state = State::Probing;
                self.deadline = context.now + probe;
                let bytes = message::probe(address);
                let id = Some(self.id());
                context.outbox.transmit(id, Some(interface), bytes);
            }
            None => self.defend(context),
        }
        if started {
            context.event(self.id(), Event::BufferStarted { ncoa: address });
        }
    }

    fn hold(&mut self, expires: Instant, context: &mut Context<'_>) {
        let command = Command::StartBuffering {
            address: self.announcement.address(),
            interface: self.announcement.interface,
            link_address: self.announcement.lla,
            tunnel: self.keeps().then_some(self.announcement.tunnel),
            expires,
        };
        context.command(self.id(), command);
        self.buffer_prolonged = std::mem::replace(&mut self.buffer, true);
    }

    /// How long the link is asked for the address, if that is needed at all (HI-12).
    fn probe_time(&self, context: &Context<'_>) -> Option<Duration> {
        let probed = self.proxy || self.keeps();
        let link = context.config.link(self.announcement.interface);
        link.and_then(|link| link.duplicate_probe)
            .filter(|_| !probed)
    }

    /// Stands in for the mobile node, and only then says yes (HI-13).
    fn defend(&mut self, context: &mut Context<'_>) {
        self.state = State::Expected;
        self.deadline = context.now + context.config.timers.proxy_nd_lifetime;
        // HI-16: for a kept address, nobody on the link asks before the mobile node is there.
        if !self.proxy && !self.keeps() {
            let command = Command::AddProxyNd {
                interface: self.announcement.interface,
                address: self.announcement.address(),
                link_address: self.announcement.lla,
            };
            context.command(self.id(), command);
            self.proxy = true;
        }
        self.accept(context);
    }

    /// The mobile node is here (RFC 5568 section 6.3).
    fn arrive(&mut self, neighbor: NeighborState, context: &mut Context<'_>) -> Next {
        let ncoa = self.announcement.address();
        let id = self.id();
        self.arrived = context.now;
        context.event(id, Event::UnaReceived { ncoa });
        // UNA-06, UNA-12: the proxy first, or it would answer the mobile node's own probe.
        self.remove_proxy(context);
        self.add_neighbor(neighbor, context);
        if self.keeps() {
            let command = Command::AddHostRoute {
                interface: self.announcement.interface,
                address: ncoa,
            };
            context.command(id, command);
            self.route = true;
        }
        let timers = &context.config.timers;
        if self.buffer {
            self.release(context);
        } else {
            self.state = State::Arrived;
            self.deadline = context.now + timers.proxy_nd_lifetime;
        }
        Next::Stays
    }

    /// What is held goes to the mobile node.
    fn release(&mut self, context: &mut Context<'_>) {
        let ncoa = self.announcement.address();
        self.state = State::Draining;
        // How long the PAR's binding lives, it did not say.
        self.deadline = context.now + context.config.timers.max_binding_lifetime;
        let release = Command::ReleaseBuffer {
            address: ncoa,
            expires: self.deadline,
        };
        context.command(self.id(), release);
        context.event(self.id(), Event::BufferReleased { ncoa });
    }

    fn add_neighbor(&self, state: NeighborState, context: &mut Context<'_>) {
        let command = Command::AddNeighbor {
            interface: self.announcement.interface,
            address: self.announcement.address(),
            link_address: self.announcement.lla,
            state,
        };
        context.command(self.id(), command);
    }

    /// Says that the mobile node is taken.
    fn accept(&mut self, context: &mut Context<'_>) {
        self.answer(context);
        let accepted = Event::HiAccepted {
            pcoa: self.announcement.pcoa,
            ncoa: self.announcement.address(),
        };
        context.event(self.id(), accepted);
    }

    /// HAK-02.
    fn answer(&self, context: &mut Context<'_>) {
        let (code, ncoa) = match self.announcement.grant {
            Grant::Kept(_) => (HackCode::UsePcoa, None),
            // HAK-03, AMB-02.
            Grant::Assigned(ncoa) if !self.announcement.moved => {
                (HackCode::NcoaAssigned, Some(ncoa))
            }
            // HAK-05: it is the one that the mobile node uses already.
            Grant::Assigned(_) | Grant::Proposed(_) => (HackCode::NcoaValid, None),
        };
        self.send(code, ncoa, context);
    }

    fn refuse(&self, code: HackCode, reason: Reason, context: &mut Context<'_>) {
        self.send(code, None, context);
        let refused = Event::HiRefused {
            reason,
            code: code.value(),
            source: self.announcement.peer,
        };
        context.event(self.id(), refused);
    }

    fn send(&self, code: HackCode, ncoa: Option<Ipv6Addr>, context: &mut Context<'_>) {
        let Announcement {
            peer,
            local,
            sequence,
            ..
        } = self.announcement;
        context.counters.sent_hack += 1;
        let bytes = message::hack(local, peer, sequence, code, ncoa);
        context.outbox.transmit(Some(self.id()), None, bytes);
    }

    /// Whether the mobile node keeps its previous care-of address.
    fn keeps(&self) -> bool {
        matches!(self.announcement.grant, Grant::Kept(_))
    }

    fn id(&self) -> HandoverId {
        HandoverId::Nar(self.announcement.address())
    }

    pub(super) fn status(&self) -> HandoverStatus {
        HandoverStatus {
            role: Role::Nar,
            state: match self.state {
                State::Probing => "probing",
                State::Expected => "expected",
                State::Draining => "draining",
                State::Arrived => "arrived",
            },
            pcoa: self.announcement.pcoa,
            ncoa: Some(self.announcement.address()),
            peer: self.announcement.peer,
            expires_ns: Some(self.deadline),
        }
    }
}
