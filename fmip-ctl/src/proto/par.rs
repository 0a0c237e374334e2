//! One handover as its previous access router sees it: the question to the NAR, the tunnel to it.

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;

use crate::wire::{
    FastBindingAck, FastBindingStatus, HackCode, HandoverInitiate, HiCode, MacAddr, Message, Packet,
};

use super::{
    Command, Event, HandoverKey, HandoverStatus, Instant, InterfaceIndex, Reason, Removal, Role,
    auth::{self, Addresses},
    nar::{Announcement, Next},
    neighborhood::Neighborhood,
    router::{Context, HandoverId},
};

/// An FBU that was found authentic and in order, and what the router knows about it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) sequence: u16,
    /// What is granted of what was asked for.
    pub(super) lifetime: Duration,
    pub(super) pcoa: Ipv6Addr,
    pub(super) ncoa: Ipv6Addr,
    /// The mobile node's link-layer address.
    pub(super) lla: MacAddr,
    /// The NAR.
    pub(super) peer: Ipv6Addr,
    /// The address of ours that the mobile node wrote to.
    pub(super) par: Ipv6Addr,
    /// Our address on the mobile node's link: our end of the tunnel (TUN-02), and where the HI
    /// comes from.
    pub(super) local: Ipv6Addr,
    /// The mobile node's link.
    pub(super) interface: InterfaceIndex,
    pub(super) key: HandoverKey,
}

impl Request {
    /// The FBack to this request (RFC 5568 section 6.2.3).
    fn fback(&self, destination: Ipv6Addr, answer: Answer) -> Bytes {
        let acknowledgment = Acknowledgment {
            par: self.par,
            destination,
            care_of: self.ncoa,
            sequence: self.sequence,
            answer,
        };
        acknowledgment.sign(&self.key)
    }
}

/// What an FBack says.
#[derive(Copy, Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: FastBindingStatus,
    /// Whole seconds; 0 with a refusal.
    pub(super) lifetime: u16,
    /// The NCoA that the mobile node must use in place of its own proposal (FBA-04, FBA-06).
    pub(super) alternate_coa: Option<Ipv6Addr>,
}

impl Answer {
    pub(super) fn refusal(status: FastBindingStatus) -> Self {
        Self {
            status,
            lifetime: 0,
            alternate_coa: None,
        }
    }
}

/// An FBack and whom it is for.
#[derive(Copy, Clone, Debug)]
pub(super) struct Acknowledgment {
    /// The address of ours that the FBU was sent to.
    pub(super) par: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    /// What the authenticator covers (AMB-16).
    pub(super) care_of: Ipv6Addr,
    pub(super) sequence: u16,
    pub(super) answer: Answer,
}

impl Acknowledgment {
    /// Writes it with its BADF option (FBA-05).
    pub(super) fn sign(self, key: &HandoverKey) -> Bytes {
        let packet = Packet {
            source: self.par,
            // AMB-08: no routing header.
            destination: self.destination,
            hop_limit: super::HOP_LIMIT,
            home_address: None,
            message: Message::FastBindingAck(FastBindingAck {
                status: self.answer.status,
                key_management: false,
                sequence: self.sequence,
                lifetime: self.answer.lifetime,
                alternate_coa: self.answer.alternate_coa,
                unknown: Vec::new(),
                authorization: None,
            }),
        };
        let addresses = Addresses {
            care_of: self.care_of,
            par: self.par,
        };
        auth::sign(packet, key.spi, &key.key, addresses)
    }
}

/// What can happen to a handover at the PAR.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// A newer FBU.
    Requested(Request),
    /// The NAR's HAck to the last HI.
    Answered {
        code: HackCode,
        ncoa: Option<Ipv6Addr>,
    },
    /// The mobile node ends the binding.
    Ended,
    /// The mobile node comes back here.
    Returning,
    /// A deadline was reached.
    Deadline,
    /// A command was not carried out.
    Failed(&'a Command),
    /// The router shuts down.
    Shutdown,
}

#[derive(Clone, Debug)]
enum State {
    /// An HI is out.
    AwaitingHack(Question),
    /// The tunnel stands; this HI was the last.
    Forwarding { sequence: u16 },
}

/// An HI that waits for its answer.
#[derive(Clone, Debug)]
struct Question {
    sequence: u16,
    /// As it was sent, and is sent again.
    bytes: Bytes,
    retries_left: u32,
    timeout: Duration,
    due: Instant,
}

/// One handover.
#[derive(Debug)]
pub(super) struct Handover {
    request: Request,
    state: State,
    /// When the tunnel ends that was ordered and not yet removed.
    tunnel: Option<Instant>,
    /// Whether the last order for the tunnel replaced an earlier one.
    tunnel_replaced: bool,
}

impl Handover {
    /// Asks the NAR before anything is bound (FBU-15, RFC 5568 section 4).
    pub(super) fn begin(request: Request, context: &mut Context<'_>) -> Self {
        let question = ask(&request, context);
        Self {
            request,
            state: State::AwaitingHack(question),
            tunnel: None,
            tunnel_replaced: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = match &self.state {
            State::AwaitingHack(question) => Some(question.due),
            State::Forwarding { .. } => None,
        };
        due.into_iter().chain(self.tunnel).min()
    }

    /// Whether `source` is the NAR that `local` wrote to.
    pub(super) fn is_between(&self, local: Ipv6Addr, source: Ipv6Addr) -> bool {
        (self.request.local, self.request.peer) == (local, source)
    }

    /// Whether the last HI had this sequence number.
    pub(super) fn asked(&self, number: u16) -> bool {
        match &self.state {
            State::AwaitingHack(Question { sequence, .. }) | State::Forwarding { sequence } => {
                *sequence == number
            }
        }
    }

    /// Whether `announcement` is about the mobile node that this is the handover of: the router
    /// that took it over says so, of the address that it went there with. A link-layer address
    /// would prove nothing, for a mobile node may claim any.
    pub(super) fn is_of(&self, announcement: &Announcement) -> bool {
        (self.request.peer, self.request.ncoa) == (announcement.peer, announcement.pcoa)
    }

    /// Whether this answer makes the tunnel stand.
    pub(super) fn is_consent(
        &self,
        code: HackCode,
        ncoa: Option<Ipv6Addr>,
        neighborhood: &Neighborhood,
    ) -> bool {
        matches!(self.state, State::AwaitingHack(_))
            && code != HackCode::Unsolicited
            && self.objection(code, ncoa, neighborhood).is_none()
    }

    pub(super) fn handle(&mut self, input: Input<'_>, context: &mut Context<'_>) -> Next {
        match (&mut self.state, input) {
            // AMB-11: sent again while the NAR thinks. The answer is to the newest.
            (State::AwaitingHack(_), Input::Requested(newer))
                if newer.ncoa == self.request.ncoa && newer.peer == self.request.peer =>
            {
                self.request = newer;
                Next::Stays
            }
            // AMB-11: elsewhere after all. The old NAR's state ends by itself (MOV-06).
            (State::AwaitingHack(_), Input::Requested(newer)) => {
                self.refuse(Reason::Superseded, context);
                self.ask_again(newer, context);
                Next::Stays
            }
            // FBU-16: a newer FBU supersedes; each is put to the NAR (GEN-04), which may have
            // given the mobile node up. The tunnel stands until there is an answer.
            (State::Forwarding { .. }, Input::Requested(newer)) => {
                self.ask_again(newer, context);
                Next::Stays
            }

            (State::AwaitingHack(_), Input::Answered { code, ncoa }) => {
                self.answered(code, ncoa, context)
            }
            // The NAR takes its word back: what it promised, it could not do.
            (State::Forwarding { .. }, Input::Answered { code, ncoa })
                if code.value() >= 128 || (code, ncoa) == (HackCode::NcoaInUse, None) =>
            {
                self.note_answer(code, context);
                self.give_up(Reason::PeerRefused, status(code), Removal::Refused, context)
            }
            (State::Forwarding { .. }, Input::Answered { .. }) => {
                context.counters.count(Reason::Duplicate);
                Next::Stays
            }

            // MOV-02: the tunnel ends, and packets are delivered directly.
            (_, Input::Ended) => {
                self.remove_tunnel(Removal::Ended, context);
                Next::Ends
            }

            (state, Input::Returning) => {
                let waiting = matches!(state, State::AwaitingHack(_));
                self.remove_tunnel(Removal::Returning, context);
                if waiting {
                    self.refuse(Reason::Superseded, context);
                }
                Next::Ends
            }

            (State::AwaitingHack(_), Input::Deadline) => self.ask_or_give_up(context),
            // FBA-11, TUN-06.
            (State::Forwarding { .. }, Input::Deadline) => {
                self.remove_tunnel(Removal::Expired, context);
                Next::Ends
            }

            (_, Input::Failed(Command::InstallTunnel { .. })) => {
                self.take_back(context);
                if !self.tunnel_replaced {
                    self.tunnel = None;
                }
                let status = FastBindingStatus::Resources;
                self.give_up(Reason::CommandFailed, status, Removal::Failed, context)
            }
            (_, Input::Failed(_)) => Next::Stays,

            (_, Input::Shutdown) => {
                self.remove_tunnel(Removal::Shutdown, context);
                Next::Ends
            }
        }
    }

    /// RFC 5568 section 6.2.1.2.
    fn answered(
        &mut self,
        code: HackCode,
        ncoa: Option<Ipv6Addr>,
        context: &mut Context<'_>,
    ) -> Next {
        let State::AwaitingHack(Question { sequence, .. }) = self.state else {
            unreachable!("only a question is answered");
        };
        if code == HackCode::Unsolicited {
            // HAK-09: it asks for an HI; one is out.
            context.counters.count(Reason::Unmatched);
            return Next::Stays;
        }
        let refusal = self.objection(code, ncoa, context.neighborhood);
        self.note_answer(code, context);
        if let Some((reason, status)) = refusal {
            return self.give_up(reason, status, Removal::Refused, context);
        }
        let alternate_coa = ncoa.filter(|&ncoa| ncoa != self.request.ncoa);
        self.state = State::Forwarding { sequence };
        self.forward(alternate_coa, context);
        Next::Stays
    }

    /// Why this answer leads to no tunnel, and what the mobile node is told.
    fn objection(
        &self,
        code: HackCode,
        ncoa: Option<Ipv6Addr>,
        neighborhood: &Neighborhood,
    ) -> Option<(Reason, FastBindingStatus)> {
        match (code, ncoa) {
            (HackCode::NcoaValid, None) => None,
            // FBA-06, AMB-19, AMB-02: the NAR wants another address to be used. It must be one of
            // its own, or the tunnel would lead to a third party.
            (
                HackCode::NcoaValid
                | HackCode::NcoaInUse
                | HackCode::NcoaAssigned
                | HackCode::UsePcoa,
                Some(ncoa),
            ) => {
                let owner = neighborhood.owner(ncoa);
                if owner.is_some_and(|peer| peer.address == self.request.peer) {
                    None
                } else {
                    Some((Reason::PeerUnsupported, FastBindingStatus::Unspecified))
                }
            }
            // AMB-19.
            (HackCode::NcoaInUse, None) => {
                Some((Reason::PeerRefusedNcoa, FastBindingStatus::Unspecified))
            }
            // HAck 3 without an NCoA asks for a tunnel to the NAR itself (HAK-08), which we do not
            // build; 2 without one, and values without a meaning, say nothing to act upon.
            (HackCode::NcoaAssigned | HackCode::UsePcoa, None) => {
                Some((Reason::PeerUnsupported, FastBindingStatus::Unspecified))
            }
            (HackCode::Other(value), _) if value < 128 => {
                Some((Reason::PeerUnsupported, FastBindingStatus::Unspecified))
            }
            (
                HackCode::Unspecified
                | HackCode::Prohibited
                | HackCode::Resources
                | HackCode::Unsolicited
                | HackCode::Other(_),
                _,
            ) => Some((Reason::PeerRefused, status(code))),
        }
    }

    /// First the tunnel, then the word that it stands.
    fn forward(&mut self, alternate_coa: Option<Ipv6Addr>, context: &mut Context<'_>) {
        let id = self.id();
        if let Some(ncoa) = alternate_coa {
            self.request.ncoa = ncoa;
        }
        let Request {
            pcoa,
            ncoa,
            local,
            lifetime,
            interface,
            ..
        } = self.request;
        let expires = context.now + lifetime;
        self.tunnel_replaced = self.tunnel.replace(expires).is_some();
        let install = Command::InstallTunnel {
            pcoa,
            ncoa,
            local,
            expires,
        };
        context.command(id, install);
        context.event(id, Event::TunnelInstalled { pcoa, ncoa });

        let answer = Answer {
            status: match alternate_coa {
                Some(_) => FastBindingStatus::NcoaInvalid, // FBA-04
                None => FastBindingStatus::Accepted,
            },
            lifetime: u16::try_from(lifetime.as_secs()).unwrap_or(u16::MAX),
            alternate_coa,
        };
        // FBA-03, FBA-10: it is held at the NAR, at the head of the queue.
        let bytes = self.request.fback(ncoa, answer);
        context.counters.sent_fback += 1;
        context.outbox.transmit(Some(id), None, bytes);
        // The mobile node waits for it on the old link.
        let bytes = self.request.fback(pcoa, answer);
        context.counters.sent_fback += 1;
        context.outbox.transmit(Some(id), Some(interface), bytes);
    }

    /// Puts a newer FBU to its NAR.
    fn ask_again(&mut self, newer: Request, context: &mut Context<'_>) {
        self.state = State::AwaitingHack(ask(&newer, context));
        self.request = newer;
    }

    /// HI-08, HI-09: doubled, and limited.
    fn ask_or_give_up(&mut self, context: &mut Context<'_>) -> Next {
        if self.tunnel.is_some_and(|expires| expires <= context.now) {
            self.remove_tunnel(Removal::Expired, context);
        }
        let State::AwaitingHack(question) = &mut self.state else {
            unreachable!("only a question is asked again");
        };
        if question.due > context.now {
            return Next::Stays;
        }
        if question.retries_left == 0 {
            let status = FastBindingStatus::Unspecified;
            return self.give_up(Reason::PeerSilent, status, Removal::PeerSilent, context);
        }
        question.retries_left -= 1;
        question.timeout = question.timeout.saturating_mul(2);
        question.due = context.now + question.timeout;
        let bytes = question.bytes.clone();
        send_hi(&self.request, bytes, context);
        Next::Stays
    }

    /// Ends the handover; the mobile node is told on the link where it still is.
    fn give_up(
        &mut self,
        reason: Reason,
        status: FastBindingStatus,
        removal: Removal,
        context: &mut Context<'_>,
    ) -> Next {
        self.remove_tunnel(removal, context);
        let bytes = self
            .request
            .fback(self.request.pcoa, Answer::refusal(status));
        context.counters.sent_fback += 1;
        let interface = Some(self.request.interface);
        context.outbox.transmit(Some(self.id()), interface, bytes);
        self.refuse(reason, context);
        Next::Ends
    }

    fn refuse(&self, reason: Reason, context: &mut Context<'_>) {
        context.counters.count(reason);
        let source = self.request.pcoa;
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
    fn take_back(&mut self, context: &mut Context<'_>) {
        for command in context.outbox.withdraw(self.id()) {
            match command {
                Command::InstallTunnel { .. } if !self.tunnel_replaced => self.tunnel = None,
                Command::RemoveTunnel { .. } => self.tunnel = Some(context.now),
                _ => {}
            }
        }
    }

    fn remove_tunnel(&mut self, reason: Removal, context: &mut Context<'_>) {
        if self.tunnel.take().is_some() {
            let pcoa = self.request.pcoa;
            context.command(self.id(), Command::RemoveTunnel { pcoa });
            context.event(self.id(), Event::TunnelRemoved { pcoa, reason });
        }
    }

    fn id(&self) -> HandoverId {
        HandoverId::Par(self.request.pcoa)
    }

    pub(super) fn status(&self) -> HandoverStatus {
        HandoverStatus {
            role: Role::Par,
            state: match self.state {
                State::AwaitingHack(_) => "awaiting-hack",
                State::Forwarding { .. } => "forwarding",
            },
            pcoa: self.request.pcoa,
            ncoa: Some(self.request.ncoa),
            peer: self.request.peer,
            expires_ns: self.tunnel,
        }
    }
}

/// Sends the HI of a request (RFC 5568 section 6.2.1.1).
fn ask(request: &Request, context: &mut Context<'_>) -> Question {
    let sequence = context.next_sequence();
    let packet = Packet {
        source: request.local, // HI-01
        destination: request.peer,
        hop_limit: super::HOP_LIMIT,
        home_address: None,
        message: Message::HandoverInitiate(HandoverInitiate {
            sequence, // HI-02
            assigned_address: false,
            buffer: context.config.buffering,
            proxy: false,
            forward: false,
            code: HiCode::PcoaSource, // HI-03: the FBU came from the PCoA
            mn_lla: Some(request.lla),
            pcoa: Some(request.pcoa),
            ncoa: Some(request.ncoa), // FBU-11, FBU-12
            unknown: Vec::new(),
        }),
    };
    let timeout = context.config.timers.initial_timeout;
    let question = Question {
        sequence,
        bytes: packet.encode(),
        retries_left: context.config.timers.hi_retries,
        timeout,
        due: context.now + timeout,
    };
    let accepted = Event::FbuAccepted {
        pcoa: request.pcoa,
        ncoa: request.ncoa,
    };
    context.event(HandoverId::Par(request.pcoa), accepted);
    send_hi(request, question.bytes.clone(), context);
    question
}

fn send_hi(request: &Request, bytes: Bytes, context: &mut Context<'_>) {
    let id = HandoverId::Par(request.pcoa);
    context.counters.sent_hi += 1;
    context.outbox.transmit(Some(id), None, bytes);
    let sent = Event::HiSent {
        pcoa: request.pcoa,
        ncoa: request.ncoa,
        peer: request.peer,
    };
    context.event(id, sent);
}

/// FBA-08: a refusal of the NAR in the words of an FBack.
fn status(code: HackCode) -> FastBindingStatus {
    match code {
        HackCode::Prohibited => FastBindingStatus::Prohibited,
        HackCode::Resources => FastBindingStatus::Resources,
        _ => FastBindingStatus::Unspecified,
    }
}
