//! The machine of a mobile node: triggers in, signalling out.

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
    Admin, Command, CommandError, Counters, Event, Failure, HandoverStatus, Input, Instant,
    LinkEvent, MobileNodeConfig, Output, Reason, Role, RouterKey, SEQUENCE_OUT_OF_WINDOW, Tunnel,
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

    // Link events (RFC 5270 section 5)

    fn handle_link(&mut self, now: Instant, event: LinkEvent) {
        match event {
            LinkEvent::NewLinkDetected { access_point } => {
                if self.at_previous_router
                    && Some(access_point) != self.access_point
                    && !self.known.contains_key(&access_point)
                {
                    self.want(now, access_point);
                }
            }
            LinkEvent::HandoverImpend { access_point } => self.handle_impend(now, access_point),
            LinkEvent::LinkDown => self.handle_link_down(),
            LinkEvent::LinkUp { access_point } => self.handle_link_up(now, access_point),
        }
    }

    /// RFC 5270 section 5.2.
    fn handle_impend(&mut self, now: Instant, target: MacAddr) {
        if Some(target) == self.access_point {
            return;
        }
        if !self.at_previous_router {
            // The handover that led away from it goes on.
            let reason = Failure::NotAtPreviousRouter;
            return self.outbox.event(None, Event::HandoverFailed { reason });
        }
        match &self.handover {
            // Indications are repeated while the signal fades.
            Some(handover) if handover.target == target => return,
            // Elsewhere after all: a new FBU supersedes the old one (FBU-16).
            Some(_) => self.end_handover(),
            None => {}
        }
        self.handover = Some(Handover {
            target,
            phase: Phase::Asking,
        });
        if self.known.contains_key(&target) {
            self.go_on(now);
        } else if self.router_silent {
            self.fail(Failure::NoPrrtadv);
        } else {
            self.want(now, target);
        }
    }

    /// Goes on with a handover whose target was asked for, if there is an answer.
    fn go_on(&mut self, now: Instant) {
        let Some(Handover {
            target,
            phase: Phase::Asking,
        }) = self.handover
        else {
            return;
        };
        match self.known.get(&target) {
            None => {}
            Some(&Knowledge::Router(destination)) => {
                let first_sequence = self.sequence.wrapping_add(1);
                let timeout = self.config.timers.initial_timeout;
                let is_only = self.redirected.is_none_or(|until| until <= now);
                self.farewell = None; // FBU-16: superseded
                self.send_fbu(now, destination.ncoa);
                self.set_phase(Phase::AwaitingFback(Request {
                    destination,
                    is_only,
                    first_sequence,
                    retries_left: self.config.timers.fbu_retries,
                    timeout,
                    due: now + timeout,
                }));
            }
            // PRA-11, W16-06: the address stays; nothing is left to wait for.
            Some(Knowledge::SameInterface) => {
                self.switch_link(target);
                self.handover = None;
            }
            Some(Knowledge::Unknown) => self.fail(Failure::UnknownAccessPoint), // PRA-09
            Some(Knowledge::NoFastHandover) => self.fail(Failure::NoFastHandover), // PRA-14
        }
    }

    fn handle_link_down(&mut self) {
        self.link_up = false;
        match self.handover.as_ref().map(|handover| &handover.phase) {
            Some(Phase::Asking | Phase::AwaitingFback(_)) => self.fail(Failure::LinkLost),
            Some(Phase::Switching { .. } | Phase::Arrived { .. }) | None => {}
        }
    }

    /// RFC 5270 section 5.4.
    fn handle_link_up(&mut self, now: Instant, access_point: MacAddr) {
        self.link_up = true;
        let before = self.access_point.replace(access_point);
        let same_link = before.is_none_or(|before| before == access_point)
            || self.known.get(&access_point) == Some(&Knowledge::SameInterface);
        let Some(handover) = &self.handover else {
            self.moved(access_point, same_link);
            return;
        };
        let as_predicted = handover.target == access_point;
        match &handover.phase {
            // W16-12.
            Phase::Switching {
                destination,
                expires,
            } if as_predicted => {
                let (destination, expires) = (*destination, *expires);
                self.moved(access_point, false);
                self.arrive(now, destination, expires);
            }
            // The link flapped: the NAR may not have heard.
            Phase::Arrived {
                destination,
                expires,
                ..
            } if as_predicted => {
                let (destination, expires) = (*destination, *expires);
                self.announce(now, destination, expires, self.config.timers.una_retries);
            }
            // W16-15.
            Phase::Asking | Phase::AwaitingFback(_) if same_link => {}
            // W16-13: it came here without knowing whether it is expected.
            Phase::Asking | Phase::AwaitingFback(_) if as_predicted => {
                self.moved(access_point, false);
                self.fail(Failure::NoFback);
            }
            _ => {
                self.moved(access_point, same_link);
                self.fail(Failure::Elsewhere);
            }
        }
    }

    /// Notes a move to `access_point`; what is known of others holds for one link only.
    fn moved(&mut self, access_point: MacAddr, same_link: bool) {
        if same_link {
            if self.at_previous_router && self.previous_link.len() < MAX_KNOWN {
                self.previous_link.insert(access_point);
            }
            return;
        }
        self.at_previous_router = self.previous_link.contains(&access_point);
        self.known.clear();
        self.wanted.clear();
        self.solicitation = None;
        self.router_silent = false;
    }

    /// RFC 5568 section 4, from "after attaching to the NAR".
    fn arrive(&mut self, now: Instant, destination: Destination, expires: Instant) {
        let interface = self.config.interface;
        let Destination { router, ncoa } = destination;
        self.announce(now, destination, expires, self.config.timers.una_retries); // UNA-01
        let release = Command::ReleaseUplink {
            pcoa: self.config.pcoa,
            interface,
            tunnel: Some(self.tunnel(ncoa)),
            router_lla: router.lla,
            expires,
        };
        self.outbox.command(Owner::Handover, release);
        let configure = Command::ConfigureAddress {
            interface,
            address: ncoa,
            prefix_length: router.prefix.length(),
        };
        self.outbox.command(Owner::Handover, configure); // UNA-05
    }

    /// Sends a UNA and sets the time for the next, `left` more after this one.
    fn announce(&mut self, now: Instant, destination: Destination, expires: Instant, left: u32) {
        let ncoa = destination.ncoa;
        let packet = Packet {
            source: ncoa,
            destination: ALL_NODES, // UNA-03
            hop_limit: 255,
            home_address: None,
            message: Message::NeighborAdvertisement(NeighborAdvertisement::unsolicited(
                ncoa,
                self.config.lla,
            )),
        };
        let interface = Some(self.config.interface);
        self.counters.sent_una += 1;
        self.outbox
            .transmit(Some(Owner::Handover), interface, packet.encode());
        self.outbox
            .event(Some(Owner::Handover), Event::UnaSent { ncoa });
        self.set_phase(Phase::Arrived {
            destination,
            expires,
            unas_left: left,
            next_una: now + self.config.timers.una_interval, // UNA-04
        });
    }

    // Timers

    fn handle_handover_timeout(&mut self, now: Instant) {
        let Some(handover) = &self.handover else {
            return;
        };
        match handover.phase.clone() {
            // The solicitation has the deadline.
            Phase::Asking => {}
            Phase::AwaitingFback(request) => self.repeat_fbu(now, request),
            Phase::Switching { .. } => self.fail(Failure::Expired),
            Phase::Arrived { expires, .. } if expires <= now => self.end_handover(),
            Phase::Arrived {
                destination,
                expires,
                unas_left,
                ..
            } => self.announce(now, destination, expires, unas_left - 1),
        }
    }

    // RtSolPr and PrRtAdv (RFC 5568 sections 6.1.1 and 6.1.2)

    /// Asks about an access point, together with the others that are asked about.
    fn want(&mut self, now: Instant, access_point: MacAddr) {
        if self.router_silent || self.wanted.contains(&access_point) {
            return;
        }
        if self.wanted.len() >= MAX_WANTED {
            // The one that a handover waits for has precedence over those that are only in reach.
            let target = self.handover.as_ref().map(|handover| handover.target);
            if target != Some(access_point) {
                return;
            }
            self.wanted.pop_last();
        }
        self.wanted.insert(access_point);
        self.identifier = self.identifier.wrapping_add(1).max(1); // 0: unsolicited (PRA-02)
        self.solicitation = Some(Solicitation {
            identifier: self.identifier,
            sends_left: self.config.timers.rtsolpr_retries.saturating_add(1),
            timeout: self.config.timers.initial_timeout,
            due: self.earliest_rtsolpr(now),
        });
        if self.poll_timeout() == Some(now) {
            self.solicit(now);
        }
    }

    /// RTS-08: the first moment from `at` on at which an RtSolPr does not break the rate. Where it
    /// is later than the back-off says, the rate wins (AMB-15).
    fn earliest_rtsolpr(&self, at: Instant) -> Instant {
        let rate = self.config.timers.max_rtsolpr_rate.max(1) as usize;
        match self.solicited.len().checked_sub(rate) {
            Some(index) => at.max(self.solicited[index] + Duration::from_secs(1)),
            None => at,
        }
    }

    /// Sends the RtSolPr that is due, or gives up.
    fn solicit(&mut self, now: Instant) {
        let Some(mut solicitation) = self.solicitation.take() else {
            return;
        };
        if solicitation.sends_left == 0 {
            // RTS-09.
            self.router_silent = true;
            self.wanted.clear();
            if let Some(Phase::Asking) = self.handover.as_ref().map(|h| &h.phase) {
                self.fail(Failure::NoPrrtadv);
            }
            return;
        }
        let packet = Packet {
            source: self.config.pcoa,
            destination: self.config.par,
            hop_limit: 255, // RTS-01
            home_address: None,
            message: Message::RtSolPr(RtSolPr {
                identifier: solicitation.identifier,                  // RTS-02
                source_lla: Some(self.config.lla),                    // RTS-03
                access_points: self.wanted.iter().copied().collect(), // RTS-04
                unknown: Vec::new(),
            }),
        };
        let interface = Some(self.config.interface);
        self.counters.sent_rtsolpr += 1;
        self.outbox.transmit(None, interface, packet.encode());
        self.solicited.push_back(now);
        while self.solicited.len() > self.config.timers.max_rtsolpr_rate.max(1) as usize {
            self.solicited.pop_front();
        }

        // RTS-06, RTS-07.
        solicitation.sends_left -= 1;
        let due = now + solicitation.timeout;
        solicitation.due = match solicitation.sends_left {
            0 => due,
            _ => self.earliest_rtsolpr(due),
        };
        solicitation.timeout = solicitation.timeout.saturating_mul(2);
        self.solicitation = Some(solicitation);
    }

    fn handle_prrtadv(&mut self, now: Instant, packet: &Packet, message: &PrRtAdv) {
        self.counters.received_prrtadv += 1;
        // PRA-01.
        if !packet.source.is_unicast_link_local() || !self.at_previous_router {
            return self.counters.count(Reason::Unexpected);
        }
        let asked = self
            .solicitation
            .as_ref()
            .is_some_and(|solicitation| solicitation.identifier == message.identifier);
        let unsolicited = message.identifier == 0
            && matches!(
                message.code,
                PrRtAdvCode::HandoverTrigger | PrRtAdvCode::Neighborhood
            );
        if !asked && !unsolicited {
            return self.counters.count(Reason::Unmatched);
        }
        for tuple in &message.tuples {
            let knowledge = self.learn(message.code, tuple);
            self.remember(tuple.access_point, knowledge);
        }
        if asked {
            self.solicitation = None;
            // What the router passed over it does not know (PRA-09).
            for access_point in std::mem::take(&mut self.wanted) {
                if !self.known.contains_key(&access_point) {
                    self.remember(access_point, Knowledge::Unknown);
                }
            }
        }
        self.go_on(now);
        // PRA-18: the network wants it to move.
        if unsolicited && message.code == PrRtAdvCode::HandoverTrigger {
            let known = |tuple: &&ApTuple| tuple.outcome == ApOutcome::Known;
            if let Some(tuple) = message.tuples.iter().find(known) {
                self.handle_impend(now, tuple.access_point);
            }
        }
    }

    /// AMB-06: what counts is what is said about the access point, not about the message.
    fn learn(&self, code: PrRtAdvCode, tuple: &ApTuple) -> Knowledge {
        match (tuple.outcome, tuple.router) {
            // PRA-22: an address by DHCP, and packets for the PCoA alone: not done so far.
            (ApOutcome::Known, Some(_)) if code == PrRtAdvCode::Dhcp => Knowledge::NoFastHandover,
            (ApOutcome::Known, Some(router)) => {
                let own = router
                    .prefix
                    .address_from_iid(self.config.lla.modified_eui64());
                // PRA-19, PRA-21; but not one that belongs elsewhere.
                let given = tuple.new_coa.filter(|&ncoa| router.prefix.contains(ncoa));
                Knowledge::Router(Destination {
                    router,
                    ncoa: given.unwrap_or(own),
                })
            }
            (ApOutcome::SameInterface, _) => Knowledge::SameInterface,
            (ApOutcome::NoFastHandover, _) => Knowledge::NoFastHandover,
            (ApOutcome::Known | ApOutcome::NoPrefix | ApOutcome::Other(_), _) => Knowledge::Unknown,
        }
    }

    fn remember(&mut self, access_point: MacAddr, knowledge: Knowledge) {
        let is_new = !self.known.contains_key(&access_point);
        if is_new && self.known.len() >= MAX_KNOWN {
            // The target of a handover stays; any other is asked for again when it is needed.
            let target = self.handover.as_ref().map(|handover| handover.target);
            let victim = self.known.keys().find(|&&key| Some(key) != target).copied();
            self.known
                .remove(&victim.expect("more than one is known, and one is the target"));
        }
        self.known.insert(access_point, knowledge);
    }

    // FBU and FBack (RFC 5568 sections 6.2.2 and 6.2.3)

    fn send_fbu(&mut self, now: Instant, ncoa: Ipv6Addr) {
        let lifetime = self.config.lifetime.as_secs().clamp(1, u16::MAX.into()) as u16;
        // The lifetime begins when the new router has agreed; by then it was asked for the last
        // time.
        let timers = &self.config.timers;
        let sends = timers.hi_retries.saturating_add(1);
        let asking = timers
            .initial_timeout
            .saturating_mul(2_u32.saturating_pow(sends));
        let until = now + asking + Duration::from_secs(lifetime.into());
        self.redirected = self.redirected.max(Some(until));
        self.send_binding_update(Owner::Handover, ncoa, lifetime);
    }

    fn send_binding_update(&mut self, owner: Owner, ncoa: Ipv6Addr, lifetime: u16) {
        self.sequence = self.sequence.wrapping_add(1); // FBU-10
        let MobileNodeConfig { pcoa, par, .. } = self.config;
        let packet = Packet {
            source: pcoa, // FBU-02
            destination: par,
            hop_limit: super::HOP_LIMIT,
            home_address: Some(pcoa), // FBU-04
            message: Message::FastBindingUpdate(FastBindingUpdate {
                sequence: self.sequence,
                ack: true, // FBU-01
                home: true,
                link_local: false,
                key_management: false,
                lifetime,
                alternate_coa: Some(ncoa),     // FBU-03
                mn_lla: Some(self.config.lla), // FBU-06
                unknown: Vec::new(),
                authorization: None,
            }),
        };
        let addresses = Addresses { care_of: ncoa, par };
        let bytes = match self.key() {
            Some(key) => auth::sign(packet, key.spi, &key.key, addresses),
            None => packet.encode(),
        };
        self.counters.sent_fbu += 1;
        self.outbox.transmit(Some(owner), None, bytes);
        let sequence = self.sequence;
        self.outbox.event(Some(owner), Event::FbuSent { sequence });
    }

    /// Asks the previous router to deliver directly again (MOV-01, AMB-17).
    fn send_farewell(&mut self, now: Instant, retries_left: u32, timeout: Duration) {
        self.send_binding_update(Owner::Aftermath, self.config.pcoa, 0);
        let first_sequence = match &self.farewell {
            Some(farewell) => farewell.first_sequence,
            None => self.sequence,
        };
        self.farewell = Some(Farewell {
            first_sequence,
            retries_left,
            timeout,
            due: now + timeout,
        });
    }

    /// Sends it again, or leaves the rest to the lifetime of what the previous router has.
    fn repeat_farewell(&mut self, now: Instant) {
        let Some(farewell) = self.farewell.clone() else {
            return;
        };
        match farewell.retries_left.checked_sub(1) {
            Some(left) => self.send_farewell(now, left, farewell.timeout.saturating_mul(2)),
            None => self.end_farewell(),
        }
    }

    fn end_farewell(&mut self) {
        self.farewell = None;
        self.redirected = None;
    }

    /// An FBack while an FBU with lifetime 0 is out.
    fn handle_farewell_fback(
        &mut self,
        now: Instant,
        farewell: &Farewell,
        message: &FastBindingAck,
        bytes: &Bytes,
    ) {
        let lost_count = message.status == SEQUENCE_OUT_OF_WINDOW;
        if !lost_count && !self.was_sent(message.sequence, farewell.first_sequence) {
            return self.counters.count(Reason::StaleSequence); // of the handover that failed
        }
        // MOV-07.
        if let Err(reason) = self.authenticate(message, bytes, self.config.pcoa) {
            return self.counters.count(reason);
        }
        let status = message.status.value();
        self.outbox.event(None, Event::FbackReceived { status });
        if lost_count {
            self.sequence = message.sequence;
            let first_sequence = self.sequence.wrapping_add(1);
            self.farewell = Some(Farewell {
                first_sequence,
                ..farewell.clone()
            });
            return self.repeat_farewell(now);
        }
        self.end_farewell();
    }

    /// Whether an FBU with this number was sent since the one with the number `first`.
    fn was_sent(&self, number: u16, first: u16) -> bool {
        number.wrapping_sub(first) <= self.sequence.wrapping_sub(first)
    }

    fn authenticate(
        &self,
        message: &FastBindingAck,
        bytes: &Bytes,
        care_of: Ipv6Addr,
    ) -> Result<(), Reason> {
        let authorization = message
            .authorization
            .as_ref()
            .ok_or(Reason::AuthorizationMissing)?;
        let key = self.key().filter(|key| key.spi == authorization.spi);
        let key = key.ok_or(Reason::UnknownKey)?;
        let addresses = Addresses {
            care_of,
            par: self.config.par,
        };
        if !auth::verify(bytes, authorization, &key.key, addresses) {
            return Err(Reason::BadAuthenticator);
        }
        Ok(())
    }

    /// The key shared with the previous router.
    fn key(&self) -> Option<&RouterKey> {
        let mut keys = self.config.routers.iter();
        keys.find(|key| key.router == self.config.par)
    }

    /// The reverse tunnel to the previous router (TUN-03).
    fn tunnel(&self, ncoa: Ipv6Addr) -> Tunnel {
        Tunnel {
            local: ncoa,
            remote: self.config.par,
        }
    }

    /// Sends an FBU again, or gives up (AMB-07, FBU-09).
    fn repeat_fbu(&mut self, now: Instant, request: Request) {
        let Some(retries_left) = request.retries_left.checked_sub(1) else {
            return self.fail(Failure::NoFback);
        };
        self.send_fbu(now, request.destination.ncoa);
        let timeout = request.timeout.saturating_mul(2);
        self.set_phase(Phase::AwaitingFback(Request {
            retries_left,
            timeout,
            due: now + timeout,
            ..request
        }));
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

    fn handle_fback(
        &mut self,
        now: Instant,
        packet: &Packet,
        message: &FastBindingAck,
        bytes: &Bytes,
    ) {
        self.counters.received_fback += 1;
        if packet.source != self.config.par {
            return self.counters.count(Reason::Unexpected);
        }
        if let Some(farewell) = self.farewell.clone() {
            return self.handle_farewell_fback(now, &farewell, message, bytes);
        }
        let (target, phase) = match &self.handover {
            Some(handover) => (handover.target, &handover.phase),
            None => return self.counters.count(Reason::Unmatched),
        };
        let request = match phase {
            Phase::AwaitingFback(request) => request.clone(),
            // FBA-03: there are two copies, one for each link.
            Phase::Switching { .. } | Phase::Arrived { .. } => {
                return self.counters.count(Reason::Duplicate);
            }
            Phase::Asking => return self.counters.count(Reason::Unmatched),
        };
        // FBA-09: any of the FBUs of this exchange; they ask for the same.
        let lost_count = message.status == SEQUENCE_OUT_OF_WINDOW;
        if !lost_count && !self.was_sent(message.sequence, request.first_sequence) {
            return self.counters.count(Reason::StaleSequence);
        }
        // AMB-16.
        let proposed = request.destination.ncoa;
        let registered = match message.status {
            FastBindingStatus::NcoaInvalid => message.alternate_coa.unwrap_or(proposed),
            _ => proposed,
        };
        if let Err(reason) = self.authenticate(message, bytes, registered) {
            return self.counters.count(reason);
        }

        let status = message.status.value();
        self.outbox
            .event(Some(Owner::Handover), Event::FbackReceived { status });
        if lost_count {
            // It is a retransmission like any other, but with the right number: a replayed FBack
            // must not make this go on for ever.
            self.sequence = message.sequence;
            let first_sequence = self.sequence.wrapping_add(1);
            return self.repeat_fbu(
                now,
                Request {
                    first_sequence,
                    ..request
                },
            );
        }
        let usable = match message.status {
            FastBindingStatus::Accepted => true,
            // FBA-07; told to keep its PCoA (AMB-18), or an address of elsewhere, it cannot go on.
            FastBindingStatus::NcoaInvalid => {
                message.alternate_coa.is_some()
                    && request.destination.router.prefix.contains(registered)
            }
            _ => false,
        };
        if message.status.value() >= 128 && request.is_only {
            self.redirected = None; // nothing is in force
        }
        if !usable || message.lifetime == 0 {
            return self.fail(Failure::Refused);
        }
        let destination = Destination {
            ncoa: registered,
            ..request.destination
        };
        let expires = now + Duration::from_secs(message.lifetime.into()); // FBA-11
        self.redirected = self.redirected.max(Some(expires));
        let hold = Command::HoldUplink {
            pcoa: self.config.pcoa,
            interface: self.config.interface,
            tunnel: Some(self.tunnel(registered)),
            router_lla: Some(destination.router.lla),
            expires,
        };
        self.outbox.command(Owner::Handover, hold);
        self.uplink = true;
        // Before the move: while there is no link the kernel forgets its neighbors, and packets
        // that wait for one to be resolved would not come as far as the hold.
        let default_router = Command::SetDefaultRouter {
            interface: self.config.interface,
            router: destination.router.address,
            link_address: Some(destination.router.lla),
        };
        self.outbox.command(Owner::Handover, default_router);
        self.default_router = Some(target);
        self.set_phase(Phase::Switching {
            destination,
            expires,
        });
        self.switch_link(target); // W16-10
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

    fn switch_link(&mut self, access_point: MacAddr) {
        self.outbox
            .command(Owner::Handover, Command::SwitchLink { access_point });
        self.outbox
            .event(Some(Owner::Handover), Event::LinkSwitch { access_point });
    }

    fn set_phase(&mut self, phase: Phase) {
        if let Some(handover) = &mut self.handover {
            handover.phase = phase;
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
