//! The binding that a mobile node asks for: the question to the NAR, then the tunnel to it.

use std::net::Ipv6Addr;

use crate::wire::{FastBindingStatus, HackCode};

use super::{
    super::{
        Command, Event, Instant, InterfaceIndex, Reason, Removal,
        nar::{Announcement, Next},
        neighborhood::Neighborhood,
        router::{Context, HandoverId},
    },
    Answer, Input, Request,
    hold::Hold,
    question::{self, Question, Route},
};

#[derive(Clone, Debug)]
enum State {
    /// An HI is out.
    AwaitingHack(Question),
    /// The tunnel stands; this HI was the last.
    Forwarding { sequence: u16 },
}

/// A binding that was asked for, or stands.
#[derive(Debug)]
pub(super) struct Binding {
    request: Request,
    state: State,
    /// Where the tunnel leads that was ordered and not yet removed, and when it ends.
    tunnel: Option<(Route, Instant)>,
    /// Whether the last order for the tunnel replaced an earlier one.
    tunnel_replaced: bool,
    /// The request that the NAR granted last, and when.
    granted: Option<(Box<Request>, Instant)>,
}

impl Binding {
    /// Asks the NAR before anything is bound (FBU-15, RFC 5568 section 4).
    pub(super) fn begin(request: Request, context: &mut Context<'_>) -> Self {
        let question = Question::ask(&request, context);
        Self {
            request,
            state: State::AwaitingHack(question),
            tunnel: None,
            tunnel_replaced: false,
            granted: None,
        }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = match &self.state {
            State::AwaitingHack(question) => Some(question.due),
            State::Forwarding { .. } => None,
        };
        due.into_iter().chain(self.expires()).min()
    }

    pub(super) fn expires(&self) -> Option<Instant> {
        self.tunnel.map(|(_, expires)| expires)
    }

    pub(super) fn has_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    pub(super) fn is_awaiting(&self) -> bool {
        matches!(self.state, State::AwaitingHack(_))
    }

    pub(super) fn state(&self) -> &'static str {
        match self.state {
            State::AwaitingHack(_) => "awaiting-hack",
            State::Forwarding { .. } => "forwarding",
        }
    }

    /// The sequence number of the last HI.
    pub(super) fn asked(&self) -> u16 {
        match &self.state {
            State::AwaitingHack(Question { sequence, .. }) | State::Forwarding { sequence } => {
                *sequence
            }
        }
    }

    /// The address that the mobile node uses at the NAR, as far as we know.
    pub(super) fn care_of(&self) -> Ipv6Addr {
        match (&self.state, self.tunnel) {
            (State::Forwarding { .. }, Some((route, _))) => route.care_of,
            _ => self.request.ncoa,
        }
    }

    /// Whether `announcement` is about the mobile node that this is the binding of: the router
    /// that took it over says so, of the address that it went there with. A link-layer address
    /// would prove nothing, for a mobile node may claim any.
    pub(super) fn is_of(&self, announcement: &Announcement) -> bool {
        (self.request.peer, self.care_of()) == (announcement.peer, announcement.pcoa)
    }

    /// Whether this answer makes the tunnel stand.
    pub(super) fn is_consent(
        &self,
        code: HackCode,
        ncoa: Option<Ipv6Addr>,
        neighborhood: &Neighborhood,
    ) -> bool {
        self.is_awaiting()
            && code != HackCode::Unsolicited
            && question::route(&self.request, code, ncoa, neighborhood).is_ok()
    }

    pub(super) fn handle(
        &mut self,
        input: Input<'_>,
        hold: &mut Hold,
        context: &mut Context<'_>,
    ) -> Next {
        match (&mut self.state, input) {
            // AMB-11: sent again while the NAR thinks. The answer is to the newest.
            (State::AwaitingHack(_), Input::Requested(newer))
                if self.request.is_same_question(&newer) =>
            {
                self.request = *newer;
                Next::Stays
            }
            // HI-03: the mobile node has gone there meanwhile, without an answer.
            (State::AwaitingHack(_), Input::Requested(newer))
                if (newer.ncoa, newer.peer) == (self.request.ncoa, self.request.peer) =>
            {
                self.ask_again(*newer, context);
                Next::Stays
            }
            // AMB-11: elsewhere after all. The old NAR's state ends by itself (MOV-06).
            (State::AwaitingHack(_), Input::Requested(newer)) => {
                self.refuse(Reason::Superseded, context);
                self.ask_again(*newer, context);
                Next::Stays
            }
            // FBU-16, MOV-05: a newer FBU supersedes; each is put to the NAR (GEN-04), which may
            // have given the mobile node up. The tunnel stands until there is an answer.
            (State::Forwarding { .. }, Input::Requested(newer)) => {
                self.ask_again(*newer, context);
                Next::Stays
            }

            // The answer is still to come.
            (State::AwaitingHack(_), Input::RequestedTwice) => Next::Stays,
            // The same question has the same answer.
            (State::Forwarding { .. }, Input::RequestedTwice) => {
                self.acknowledge(context);
                Next::Stays
            }

            (State::AwaitingHack(_), Input::Answered { code, ncoa }) => {
                self.answered(code, ncoa, hold, context)
            }
            // The NAR takes its word back: what it promised, it could not do.
            (State::Forwarding { .. }, Input::Answered { code, ncoa })
                if code.value() >= 128 || (code, ncoa) == (HackCode::NcoaInUse, None) =>
            {
                self.note_answer(code, context);
                let status = question::status(code);
                self.give_up(Reason::PeerRefused, status, Removal::Refused, hold, context)
            }
            (State::Forwarding { .. }, Input::Answered { .. }) => {
                context.counters.count(Reason::Duplicate);
                Next::Stays
            }

            // HAK-09: it did not hear the HI, and would like to. That is one of the retries.
            (State::AwaitingHack(question), Input::Invited) => {
                question.repeat(&self.request, context);
                Next::Stays
            }
            // It has forgotten the mobile node.
            (State::Forwarding { .. }, Input::Invited) => {
                self.ask_again(self.request.clone(), context);
                Next::Stays
            }

            // MOV-02: the tunnel ends, and packets are delivered directly; behind those that have not
            // gone into it yet.
            (_, Input::Ended { here }) => {
                if here && hold.has_taken() && self.tunnel.take().is_some() {
                    self.tell_removed(Removal::Ended, context);
                    hold.bring_home(context);
                }
                self.remove_tunnel(Removal::Ended, context);
                if here {
                    self.call_off(context);
                }
                Next::Ends
            }

            (_, Input::Returning { inherits }) => {
                let waiting = self.is_awaiting();
                if inherits && self.tunnel.take().is_some() {
                    self.tell_removed(Removal::Returning, context);
                }
                self.remove_tunnel(Removal::Returning, context);
                if waiting {
                    self.refuse(Reason::Superseded, context);
                }
                Next::Ends
            }

            // GEN-13.
            (State::AwaitingHack(_), Input::NotUnderstood) => {
                let status = FastBindingStatus::Unspecified;
                self.give_up(
                    Reason::PeerIncapable,
                    status,
                    Removal::Refused,
                    hold,
                    context,
                )
            }
            (State::Forwarding { .. }, Input::NotUnderstood) => Next::Stays,

            (State::AwaitingHack(_), Input::Deadline) => self.ask_or_give_up(hold, context),
            // FBA-11, TUN-06.
            (State::Forwarding { .. }, Input::Deadline) => {
                if self.expires().is_some_and(|expires| expires > context.now) {
                    return Next::Stays;
                }
                self.remove_tunnel(Removal::Expired, context);
                Next::Ends
            }

            (_, Input::Failed(Command::InstallTunnel { .. })) => {
                self.take_back(hold, context);
                if !self.tunnel_replaced {
                    self.tunnel = None;
                    hold.take_from_tunnel();
                }
                let status = FastBindingStatus::Resources;
                self.give_up(
                    Reason::CommandFailed,
                    status,
                    Removal::Failed,
                    hold,
                    context,
                )
            }
            (_, Input::Failed(_)) => Next::Stays,
            // What the tunnel took over cannot go out, and would stop what comes behind it.
            (_, Input::DrainFailed) => {
                self.renew_tunnel(hold, context);
                Next::Stays
            }

            (_, Input::Revoked) => {
                self.remove_tunnel(Removal::Revoked, context);
                self.refuse(Reason::Revoked, context);
                Next::Ends
            }
            (_, Input::Shutdown) => {
                self.remove_tunnel(Removal::Shutdown, context);
                Next::Ends
            }

            // Of the link, not of the binding.
            (_, Input::Departed { .. } | Input::Attached | Input::Drained) => Next::Stays,
        }
    }

    /// RFC 5568 section 6.2.1.2.
    fn answered(
        &mut self,
        code: HackCode,
        ncoa: Option<Ipv6Addr>,
        hold: &mut Hold,
        context: &mut Context<'_>,
    ) -> Next {
        let route = question::route(&self.request, code, ncoa, context.neighborhood);
        self.note_answer(code, context);
        match route {
            Ok(route) => {
                let sequence = self.asked();
                self.state = State::Forwarding { sequence };
                self.forward(route, hold, context);
                Next::Stays
            }
            Err((reason, status)) => self.give_up(reason, status, Removal::Refused, hold, context),
        }
    }

    /// First the tunnel, then the word that it stands.
    fn forward(&mut self, route: Route, hold: &mut Hold, context: &mut Context<'_>) {
        let expires = context.now + self.request.lifetime;
        self.tunnel_replaced = self.tunnel.replace((route, expires)).is_some();
        hold.hand_to_tunnel();
        self.install_tunnel(context);
        let elsewhere = |(granted, _): &(Box<Request>, _)| granted.peer != self.request.peer;
        if self.granted.as_ref().is_some_and(elsewhere) {
            self.call_off(context);
        }
        self.granted = Some((Box::new(self.request.clone()), context.now));
        let installed = Event::TunnelInstalled {
            pcoa: self.request.pcoa,
            ncoa: route.remote,
        };
        context.event(self.id(), installed);
        self.acknowledge(context);
    }

    /// Tells the NAR that agreed last that the mobile node did not go there; not if whatever it held is gone
    /// by now.
    fn call_off(&mut self, context: &mut Context<'_>) {
        let held = context.config.timers.proxy_nd_lifetime * 2;
        if let Some((request, since)) = self.granted.take()
            && context.now - since < held
        {
            question::call_off(&request, context);
        }
    }

    fn install_tunnel(&self, context: &mut Context<'_>) {
        if let Some((route, expires)) = self.tunnel {
            let install = Command::InstallTunnel {
                pcoa: self.request.pcoa,
                ncoa: route.remote, // TUN-01
                local: self.request.local,
                expires,
            };
            context.command(self.id(), install);
        }
    }

    fn renew_tunnel(&mut self, hold: &mut Hold, context: &mut Context<'_>) {
        if self.has_tunnel() {
            hold.forget_taken();
            self.tunnel_replaced = false;
            let pcoa = self.request.pcoa;
            context.command(self.id(), Command::RemoveTunnel { pcoa });
            self.install_tunnel(context);
        }
    }

    /// The FBack that says that the tunnel stands.
    fn acknowledge(&self, context: &mut Context<'_>) {
        let Some((route, _)) = self.tunnel else {
            return;
        };
        let Request {
            pcoa,
            ncoa,
            lifetime,
            ..
        } = self.request;
        let alternate_coa = (route.care_of != ncoa).then_some(route.care_of);
        let answer = Answer {
            status: match alternate_coa {
                Some(_) => FastBindingStatus::NcoaInvalid, // FBA-04, AMB-18
                None => FastBindingStatus::Accepted,
            },
            lifetime: u16::try_from(lifetime.as_secs()).unwrap_or(u16::MAX),
            alternate_coa,
        };
        // FBA-03, FBA-10: it is held at the NAR, at the head of the queue. A mobile node without
        // an address of its own there gets it through the tunnel.
        let at_nar = match route.remote == self.request.peer {
            true => pcoa,
            false => route.care_of,
        };
        self.send_fback(at_nar, None, answer, context);
        // A mobile node that has not moved yet waits for it on the old link.
        if let Some(interface) = self.request.old_link() {
            self.send_fback(pcoa, Some(interface), answer, context);
        }
    }

    fn send_fback(
        &self,
        destination: Ipv6Addr,
        interface: Option<InterfaceIndex>,
        answer: Answer,
        context: &mut Context<'_>,
    ) {
        let bytes = self.request.fback(destination, self.care_of(), answer);
        context.counters.sent_fback += 1;
        context.outbox.transmit(Some(self.id()), interface, bytes);
    }

    /// Puts a newer FBU to its NAR.
    fn ask_again(&mut self, newer: Request, context: &mut Context<'_>) {
        self.state = State::AwaitingHack(Question::ask(&newer, context));
        self.request = newer;
    }

    fn ask_or_give_up(&mut self, hold: &mut Hold, context: &mut Context<'_>) -> Next {
        if self.expires().is_some_and(|expires| expires <= context.now) {
            self.remove_tunnel(Removal::Expired, context);
        }
        let State::AwaitingHack(question) = &mut self.state else {
            return Next::Stays;
        };
        if question.due > context.now || question.repeat(&self.request, context) {
            return Next::Stays;
        }
        let status = FastBindingStatus::Unspecified;
        self.give_up(
            Reason::PeerSilent,
            status,
            Removal::PeerSilent,
            hold,
            context,
        )
    }

    /// Ends the binding; the mobile node is told where it wrote from.
    fn give_up(
        &mut self,
        reason: Reason,
        status: FastBindingStatus,
        removal: Removal,
        hold: &mut Hold,
        context: &mut Context<'_>,
    ) -> Next {
        let answer = Answer::refusal(status);
        let care_of = self.care_of();
        // What has not gone out yet waits for another FBU.
        if self.tunnel.is_some() && hold.resume(context) {
            self.tunnel = None;
            self.tell_removed(removal, context);
        }
        self.remove_tunnel(removal, context);
        let bytes = self.request.fback(self.request.source, care_of, answer);
        context.counters.sent_fback += 1;
        let interface = self.request.old_link();
        context.outbox.transmit(Some(self.id()), interface, bytes);
        self.refuse(reason, context);
        Next::Ends
    }

    fn refuse(&self, reason: Reason, context: &mut Context<'_>) {
        context.counters.count(reason);
        let source = self.request.source;
        context.event(self.id(), Event::FbuRefused { reason, source });
    }

    fn note_answer(&self, code: HackCode, context: &mut Context<'_>) {
        let received = Event::HackReceived {
            code: code.value(),
            peer: self.request.peer,
        };
        context.event(self.id(), received);
    }

    /// Unsays what was not yet heard.
    fn take_back(&mut self, hold: &mut Hold, context: &mut Context<'_>) {
        let now = context.now;
        for command in context.outbox.withdraw(self.id()).into_iter().rev() {
            match command {
                Command::InstallTunnel { .. } if !self.tunnel_replaced => {
                    self.tunnel = None;
                    hold.take_from_tunnel();
                }
                Command::RemoveTunnel { .. } => {
                    let route = Route {
                        care_of: self.request.ncoa,
                        remote: self.request.ncoa,
                    };
                    self.tunnel.get_or_insert((route, now));
                }
                // What was heard of the mobile node stays true.
                Command::StoreSequence { .. } => context.command(self.id(), command),
                _ => hold.withdrawn(&command, now),
            }
        }
    }

    fn remove_tunnel(&mut self, reason: Removal, context: &mut Context<'_>) {
        if self.tunnel.take().is_some() {
            let pcoa = self.request.pcoa;
            context.command(self.id(), Command::RemoveTunnel { pcoa });
            self.tell_removed(reason, context);
        }
    }

    fn tell_removed(&self, reason: Removal, context: &mut Context<'_>) {
        let pcoa = self.request.pcoa;
        context.event(self.id(), Event::TunnelRemoved { pcoa, reason });
    }

    fn id(&self) -> HandoverId {
        HandoverId::Par(self.request.pcoa)
    }
}
