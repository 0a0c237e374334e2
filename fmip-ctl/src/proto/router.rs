//! An access router: which handover a message is about, and whether it may be listened to.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use bytes::Bytes;
use tracing::debug;

use crate::wire::{
    DecodeError, FastBindingStatus, FastBindingUpdate, HackCode, HandoverAck, HandoverInitiate,
    HiCode, MacAddr, Message, NeighborAdvertisement, Packet, RtSolPr,
};

use super::{
    AccessLink, Admin, Command, CommandError, Counters, Event, HandoverKey, HandoverStatus, Input,
    Instant, InterfaceIndex, LINK_MTU, Output, Reason, RouterConfig, SEQUENCE_OUT_OF_WINDOW,
    auth::{self, Addresses},
    nar::{self, Announcement, Next},
    neighborhood::Neighborhood,
    outbox::Outbox,
    par::{self, Acknowledgment, Answer, Request},
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
    neighborhood: Neighborhood,
    counters: Counters,
    outbox: Outbox<HandoverId>,
    deadlines: Deadlines<HandoverId>,
    leaving: BTreeMap<Ipv6Addr, par::Handover>,
    arriving: BTreeMap<Ipv6Addr, nar::Handover>,
    /// The last FBU sequence number under each key, as long as the key lives (AMB-21).
    fbu_sequences: BTreeMap<Ipv6Addr, u16>,
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

/// A refused FBU, and the FBack that says so if it was authentic.
struct Refusal {
    reason: Reason,
    answer: Option<Objection>,
}

/// What the FBack to a refused FBU says.
struct Objection {
    status: FastBindingStatus,
    sequence: u16,
    key: HandoverKey,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            answer: None,
        }
    }
}

/// What an authentic FBU asks for.
enum Wish {
    Move(Request),
    End { pcoa: Ipv6Addr, key: HandoverKey },
}

impl AccessRouter {
    /// Makes a router without a handover, whose first sequence number comes from `seed`.
    pub fn new(config: RouterConfig, seed: u64) -> Self {
        Self {
            neighborhood: Neighborhood::new(&config.access, &config.peers),
            config,
            counters: Counters::default(),
            outbox: Outbox::default(),
            deadlines: Deadlines::default(),
            leaving: BTreeMap::new(),
            arriving: BTreeMap::new(),
            fbu_sequences: BTreeMap::new(),
            hi_sequence: seed as u16,
            closed: false,
        }
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
            Input::CommandFailed { command, error } => self.handle_failure(now, &command, &error),
            Input::Admin(Admin::Shutdown) => self.shut_down(now),
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
            Message::PrRtAdv(_) | Message::FastBindingAck(_) => {
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

    /// RFC 5568 section 6.1.1; RTS-11: nothing is remembered.
    fn handle_rtsolpr(&mut self, arrival: &Arrival<'_>, message: &RtSolPr) {
        self.counters.received_rtsolpr += 1;
        let Some(link) = self.access_link(arrival.interface) else {
            return self.counters.count(Reason::Unexpected);
        };
        let source = arrival.source;
        // RTS-01: it comes from an address of the link, to which the answer goes.
        if source.is_unspecified() || source.is_multicast() {
            return self.counters.count(Reason::Unexpected);
        }
        let advertisement = self.neighborhood.advertise(
            link.interface,
            &message.access_points,
            message.identifier, // PRA-02
            link.lla,
            LINK_MTU - IPV6_HEADER_LEN,
        );
        let packet = Packet {
            source: link.link_local, // PRA-01
            destination: source,
            hop_limit: 255,
            home_address: None,
            message: Message::PrRtAdv(advertisement),
        };
        let interface = Some(link.interface);
        self.counters.sent_prrtadv += 1;
        self.outbox.transmit(None, interface, packet.encode());
    }

    /// RFC 5568 section 6.3.
    fn handle_na(&mut self, arrival: &Arrival<'_>, message: &NeighborAdvertisement) {
        if message.router || message.solicited || message.override_ {
            // Ordinary neighbor discovery: the kernel's.
            self.counters.received_other_advertisement += 1;
            return;
        }
        self.counters.received_una += 1;
        let ncoa = message.target;
        if !self.arriving.contains_key(&ncoa) {
            return self.counters.count(Reason::NoHandover); // UNA-08
        }
        let link = self.access_link(arrival.interface);
        // UNA-02; and from the link that the address belongs to.
        if arrival.source != ncoa || !link.is_some_and(|link| link.prefix.contains(ncoa)) {
            return self.counters.count(Reason::Unexpected);
        }
        self.drive_nar(arrival.now, ncoa, nar::Input::Una(message.target_lla));
    }

    /// RFC 5568 section 6.2.2.
    fn handle_fbu(&mut self, arrival: &Arrival<'_>, message: &FastBindingUpdate) {
        self.counters.received_fbu += 1;
        match self.examine_fbu(arrival, message) {
            Ok(Wish::Move(request)) => {
                let pcoa = request.pcoa;
                if self.leaving.contains_key(&pcoa) {
                    self.drive_par(arrival.now, pcoa, par::Input::Requested(request));
                } else {
                    let (mut context, leaving, _) = self.context(arrival.now);
                    let handover = par::Handover::begin(request, &mut context);
                    let deadline = handover.deadline();
                    leaving.insert(pcoa, handover);
                    self.deadlines.set(HandoverId::Par(pcoa), deadline);
                }
            }
            Ok(Wish::End { pcoa, key }) => {
                self.drive_par(arrival.now, pcoa, par::Input::Ended);
                let answer = Answer::refusal(FastBindingStatus::Accepted);
                self.acknowledge(arrival, message.sequence, pcoa, answer, &key);
            }
            Err(Refusal { reason, answer }) => {
                debug!(?reason, source = %arrival.source, "FBU refused");
                self.counters.count(reason);
                if let Some(Objection {
                    status,
                    sequence,
                    key,
                }) = answer
                {
                    let care_of = match message.lifetime {
                        0 => arrival.home_address, // AMB-17
                        _ => message.alternate_coa,
                    };
                    let care_of = care_of.unwrap_or(arrival.source);
                    let answer = Answer::refusal(status);
                    self.acknowledge(arrival, sequence, care_of, answer, &key);
                }
                let source = arrival.source;
                self.outbox
                    .event(None, Event::FbuRefused { reason, source });
            }
        }
    }

    /// Whether an FBU is genuine, and then what it asks for. Until it is known to be genuine it
    /// changes nothing and is not answered; after that its sequence number is spent.
    fn examine_fbu(
        &mut self,
        arrival: &Arrival<'_>,
        message: &FastBindingUpdate,
    ) -> Result<Wish, Refusal> {
        let pcoa = arrival.home_address.ok_or(Reason::HomeAddressMissing)?; // FBU-04
        if !(message.ack && message.home) {
            return Err(Reason::FlagsMissing.into()); // FBU-01
        }
        let authorization = message
            .authorization
            .as_ref()
            .ok_or(Reason::AuthorizationMissing)?; // FBU-05
        // SEC-08: the Home Address option itself is not signed, so the key must be that of the
        // address it names.
        let key = self
            .config
            .mobile_nodes
            .iter()
            .find(|key| key.pcoa == pcoa && key.spi == authorization.spi)
            .ok_or(Reason::UnknownKey)?;
        let ending = message.lifetime == 0;
        let care_of = if ending {
            pcoa // MOV-07, AMB-17
        } else {
            message.alternate_coa.unwrap_or(arrival.source)
        };
        let addresses = Addresses {
            care_of,
            par: arrival.destination,
        };
        if !auth::verify(arrival.bytes, authorization, &key.key, addresses) {
            return Err(Reason::BadAuthenticator.into()); // FBU-13
        }
        // FBU-10, FBU-16. A replayed FBU is genuine, but old. A mobile node that began to count
        // anew must hear the last number, or it is locked out for as long as the key lives.
        let last = self.fbu_sequences.get(&pcoa);
        if let Some(&last) = last.filter(|&&last| !is_newer(message.sequence, last)) {
            let objection = Objection {
                status: SEQUENCE_OUT_OF_WINDOW,
                sequence: last,
                key: key.clone(),
            };
            return Err(Refusal {
                reason: Reason::StaleSequence,
                answer: Some(objection),
            });
        }
        self.fbu_sequences.insert(pcoa, message.sequence);

        let refuse = |reason, status| Refusal {
            reason,
            answer: Some(Objection {
                status,
                sequence: message.sequence,
                key: key.clone(),
            }),
        };
        let link = self
            .config
            .access
            .iter()
            .find(|link| link.prefix.contains(pcoa))
            .ok_or_else(|| refuse(Reason::PcoaNotOurs, FastBindingStatus::Prohibited))?;
        if arrival.source != pcoa {
            // It has moved already; so far only those are served that are about to.
            return Err(refuse(Reason::NotFromPcoa, FastBindingStatus::Unspecified));
        }
        if ending {
            let key = key.clone();
            return Ok(Wish::End { pcoa, key });
        }
        let ncoa = message
            .alternate_coa
            .ok_or_else(|| refuse(Reason::NcoaMissing, FastBindingStatus::Unspecified))?; // FBU-03
        let peer = self
            .neighborhood
            .owner(ncoa)
            .ok_or_else(|| refuse(Reason::NcoaOutsidePrefix, FastBindingStatus::Prohibited))?; // FBU-14
        if !self.leaving.contains_key(&pcoa) && self.is_full() {
            return Err(refuse(Reason::Resources, FastBindingStatus::Resources));
        }
        let asked = Duration::from_secs(message.lifetime.into());
        Ok(Wish::Move(Request {
            sequence: message.sequence,
            lifetime: asked.min(self.config.timers.max_binding_lifetime), // FBA-11, TUN-06
            pcoa,
            ncoa,
            // The option is signed; the frame's source is not.
            lla: message.mn_lla.unwrap_or(arrival.link_source),
            peer: peer.address,
            par: arrival.destination,
            local: link.address,
            interface: link.interface,
            key: key.clone(),
        }))
    }

    /// Answers an FBU on the link that it came over, if it came from there, without a handover.
    fn acknowledge(
        &mut self,
        arrival: &Arrival<'_>,
        sequence: u16,
        care_of: Ipv6Addr,
        answer: Answer,
        key: &HandoverKey,
    ) {
        let acknowledgment = Acknowledgment {
            par: arrival.destination,
            destination: arrival.source,
            care_of,
            sequence,
            answer,
        };
        let link = self.access_link(arrival.interface);
        let interface = link.map(|link| link.interface);
        self.counters.sent_fback += 1;
        let bytes = acknowledgment.sign(key);
        self.outbox.transmit(None, interface, bytes);
    }

    /// RFC 5568 section 6.2.1.1. HI-18: every HI gets an answer.
    fn handle_hi(&mut self, arrival: &Arrival<'_>, message: &HandoverInitiate) {
        self.counters.received_hi += 1;
        let (code, reason) = match self.examine_hi(arrival, message) {
            Ok(announcement) => {
                let ncoa = announcement.ncoa;
                if self.arriving.contains_key(&ncoa) {
                    let input = nar::Input::Announced(announcement);
                    return self.drive_nar(arrival.now, ncoa, input);
                }
                // One address has one binding: the way back ends the way there.
                self.drive_par(arrival.now, ncoa, par::Input::Returning);
                let (mut context, _, arriving) = self.context(arrival.now);
                let handover = nar::Handover::begin(announcement, &mut context);
                let deadline = handover.deadline();
                arriving.insert(ncoa, handover);
                return self.deadlines.set(HandoverId::Nar(ncoa), Some(deadline));
            }
            Err(refusal) => refusal,
        };
        debug!(?reason, source = %arrival.source, "HI refused");
        self.counters.count(reason);
        self.counters.sent_hack += 1;
        let bytes = nar::hack(arrival.destination, arrival.source, message.sequence, code);
        self.outbox.transmit(None, None, bytes);
        let refused = Event::HiRefused {
            reason,
            code: code.value(), // HAK-06
            source: arrival.source,
        };
        self.outbox.event(None, refused);
    }

    fn examine_hi(
        &self,
        arrival: &Arrival<'_>,
        message: &HandoverInitiate,
    ) -> Result<Announcement, (HackCode, Reason)> {
        // SEC-06. A mobile node that borrows a neighbor's address does not get through either.
        let from_access = self.access_link(arrival.interface).is_some();
        if from_access || !self.neighborhood.is_peer(arrival.source) {
            return Err((HackCode::Prohibited, Reason::UnknownPeer));
        }
        // Code 1 is for mobile nodes that have moved already, 'S' for addresses that we assign:
        // neither is offered so far. Of other codes we know nothing, and 'P' and 'F' make it a
        // message of Proxy Mobile IPv6 (EXT-02).
        let foreign = message.proxy || message.forward;
        if message.code != HiCode::PcoaSource || message.assigned_address || foreign {
            return Err((HackCode::Unspecified, Reason::Unsupported));
        }
        let missing = (HackCode::Unspecified, Reason::OptionMissing);
        let lla = message.mn_lla.ok_or(missing)?; // HI-06
        let pcoa = message.pcoa.ok_or(missing)?; // HI-07
        if !self.neighborhood.may_announce(arrival.source, pcoa) {
            return Err((HackCode::Prohibited, Reason::PcoaOutsidePrefix));
        }
        let ncoa = message
            .ncoa
            .ok_or((HackCode::Unspecified, Reason::NcoaMissing))?;
        let link = self
            .config
            .access
            .iter()
            .filter(|link| link.prefix.contains(ncoa))
            .max_by_key(|link| link.prefix.length())
            .ok_or((HackCode::NcoaInUse, Reason::NcoaOutsidePrefix))?;
        // Our own, and the subnet-router anycast address (RFC 4291 section 2.6.1).
        if ncoa == link.address || ncoa == link.prefix.address() {
            return Err((HackCode::NcoaInUse, Reason::NcoaInUse));
        }
        let announcement = Announcement {
            peer: arrival.source,
            local: arrival.destination,
            sequence: message.sequence,
            pcoa,
            ncoa,
            lla,
            interface: link.interface,
            buffer: message.buffer,
        };
        match self.arriving.get(&ncoa) {
            // HI-12, HI-14.
            Some(handover) if !handover.is_of(&announcement) => {
                Err((HackCode::NcoaInUse, Reason::NcoaInUse))
            }
            Some(_) => Ok(announcement),
            // HI-12: the address is that of a mobile node that left. Nobody else gets it, and no
            // other neighbor than the one that has that mobile node can say that it comes back.
            None => match self.leaving.get(&ncoa) {
                Some(handover) if !handover.is_of(&announcement) => {
                    Err((HackCode::NcoaInUse, Reason::NcoaInUse))
                }
                // Its place becomes free.
                Some(_) => Ok(announcement),
                None if self.is_full() => Err((HackCode::Resources, Reason::Resources)),
                None => Ok(announcement),
            },
        }
    }

    /// RFC 5568 section 6.2.1.2.
    fn handle_hack(&mut self, arrival: &Arrival<'_>, message: &HandoverAck) {
        self.counters.received_hack += 1;
        if self.access_link(arrival.interface).is_some()
            || !self.neighborhood.is_peer(arrival.source)
        {
            return self.counters.count(Reason::UnknownPeer);
        }
        let asked = self.leaving.iter().find(|(_, handover)| {
            handover.is_between(arrival.destination, arrival.source)
                && handover.asked(message.sequence)
        });
        let Some((&pcoa, handover)) = asked else {
            return self.counters.count(Reason::Unmatched); // HAK-10
        };
        if handover.is_consent(message.code, message.ncoa, &self.neighborhood) {
            // One address has one binding: that of its way here makes room for the tunnel. Not
            // sooner, for until now the mobile node took what was held for it.
            self.drive_nar(arrival.now, pcoa, nar::Input::Left);
        }
        let input = par::Input::Answered {
            code: message.code,
            ncoa: message.ncoa,
        };
        self.drive_par(arrival.now, pcoa, input);
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
            | Command::AddNeighbor { address, .. } => {
                self.drive_nar(now, address, nar::Input::Failed(command, error));
            }
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
        self.leaving.len() + self.arriving.len() >= self.config.max_handovers
    }
}

const IPV6_HEADER_LEN: usize = 40;

/// Whether `number` comes after `last`, modulo 2^16 (RFC 6275 section 9.5.1).
fn is_newer(number: u16, last: u16) -> bool {
    (1..0x8000).contains(&number.wrapping_sub(last))
}

/// How an unreadable packet is counted.
pub(super) fn malformed(error: &DecodeError) -> Reason {
    match error {
        DecodeError::HopLimit(_) => Reason::HopLimit,
        DecodeError::AuthorizationNotLast(_) => Reason::AuthorizationMissing,
        _ => Reason::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_compared_modulo_their_range() {
        assert!(is_newer(1, 0));
        assert!(is_newer(0, 65535));
        assert!(is_newer(32767, 0));
        assert!(!is_newer(32768, 0));
        assert!(!is_newer(7, 7));
        assert!(!is_newer(65535, 0));
    }
}
