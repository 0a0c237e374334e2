//! The course of a handover, and its FBU (RFC 5568 section 6.2.2).

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;

use crate::wire::{FastBindingUpdate, MacAddr, Message, Packet};

use super::{
    super::{
        Announcement, HOP_LIMIT, Tunnel,
        auth::{self, Addresses},
    },
    Command, Event, Failure, Instant, MobileNode, Owner, RouterDiscovery,
    place::Destination,
    solicitation::Knowledge,
    uplink::Way,
};

#[derive(Debug)]
pub(super) struct Handover {
    /// Where the link layer is said to go.
    pub(super) target: Option<MacAddr>,
    pub(super) phase: Phase,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// The router behind the target is being asked for.
    Asking,
    /// An FBU is out, from the old link or from the new one.
    AwaitingFback(Request),
    /// All is ready on the other side; the link layer moves.
    Switching(Switch),
    /// The link is gone, and nothing is ready; an FBU may be out.
    Adrift(Drift),
    /// It is on a link of which it knows nothing, and looks for a router.
    Discovering(RouterDiscovery),
}

/// A link that went down before anything was ready.
#[derive(Clone, Debug)]
pub(super) struct Drift {
    /// The FBU that was out.
    pub(super) request: Option<Request>,
    /// When nobody waits any more.
    pub(super) until: Instant,
}

/// What an FBack granted before the move.
#[derive(Copy, Clone, Debug)]
pub(super) struct Switch {
    pub(super) destination: Destination,
    /// The previous care-of address stays in use.
    pub(super) keeps_pcoa: bool,
    pub(super) expires: Instant,
}

/// An FBU that waits for its FBack.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) destination: Destination,
    /// What it asks for as the new care-of address: that of the destination, or the router's
    /// (NAACK 3).
    pub(super) care_of: Ipv6Addr,
    /// Whether it is sent from the new link.
    pub(super) reactive: bool,
    /// No FBU of an earlier exchange may still be in force.
    pub(super) is_only: bool,
    /// That of the first FBU of this exchange; each retransmission has the next (FBU-10).
    pub(super) first_sequence: u16,
    pub(super) retries_left: u32,
    pub(super) timeout: Duration,
    pub(super) due: Instant,
}

impl Request {
    /// Whether it comes with the announcement of its own care-of address on the new link.
    fn is_announced(&self) -> bool {
        self.reactive && self.care_of == self.destination.ncoa
    }
}

impl Phase {
    /// When it goes on if nothing happens. What ends with the time that packets are held has no
    /// deadline of its own.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Asking | Self::Switching(_) => None,
            Self::Adrift(drift) => Some(drift.until),
            Self::AwaitingFback(request) => Some(request.due),
            Self::Discovering(discovery) => Some(discovery.due),
        }
    }

    pub(super) fn ncoa(&self) -> Option<Ipv6Addr> {
        match self {
            Self::Asking | Self::Discovering(_) => None,
            Self::AwaitingFback(request) => Some(request.care_of),
            Self::Switching(switch) => Some(switch.destination.ncoa),
            Self::Adrift(drift) => drift.request.as_ref().map(|request| request.care_of),
        }
    }

    pub(super) fn expires(&self) -> Option<Instant> {
        match self {
            Self::Switching(switch) => Some(switch.expires),
            _ => None,
        }
    }

    /// The FBU that is out.
    pub(super) fn into_request(self) -> Option<Request> {
        match self {
            Self::AwaitingFback(request) => Some(request),
            Self::Adrift(drift) => drift.request,
            Self::Asking | Self::Switching(_) | Self::Discovering(_) => None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::AwaitingFback(_) => "awaiting-fback",
            Self::Switching(_) => "switching",
            Self::Adrift(_) => "adrift",
            Self::Discovering(_) => "discovering",
        }
    }
}

impl MobileNode {
    /// Goes on with a handover whose target was asked for, if there is an answer.
    pub(super) fn go_on(&mut self, now: Instant) {
        let Some(Handover {
            target: Some(target),
            phase: Phase::Asking,
        }) = self.handover
        else {
            return;
        };
        match self.neighborhood.knowledge(target) {
            None => {}
            Some(Knowledge::Router(destination)) if self.key().is_some() => {
                self.request(now, destination, destination.ncoa, false, None);
            }
            Some(Knowledge::Router(_)) => self.fail(now, Failure::NoHandoverKey),
            // PRA-11, W16-06: the address stays; nothing is left to wait for.
            Some(Knowledge::SameInterface) => {
                self.switch_link(target);
                self.handover = None;
            }
            Some(Knowledge::Unknown) => self.fail(now, Failure::UnknownAccessPoint), // PRA-09
            Some(Knowledge::NoFastHandover) => self.fail(now, Failure::NoFastHandover), // PRA-14
        }
    }

    /// Waits for the link to come up, wherever that is.
    pub(super) fn drift(&mut self, now: Instant, request: Option<Request>) {
        let until = now + self.patience();
        self.set_phase(Phase::Adrift(Drift { request, until }));
    }

    pub(super) fn handle_handover_timeout(&mut self, now: Instant) {
        let Some(handover) = &self.handover else {
            return;
        };
        match handover.phase.clone() {
            Phase::AwaitingFback(request) => self.repeat_fbu(now, request),
            Phase::Discovering(discovery) => self.solicit_router(now, discovery),
            Phase::Adrift(_) => self.fail(now, Failure::Expired),
            Phase::Asking | Phase::Switching(_) => {}
        }
    }

    /// Begins an exchange of FBU and FBack; or goes on with one that began on the old link
    /// (`earlier`), if it asked for the same: its FBack may still come.
    pub(super) fn request(
        &mut self,
        now: Instant,
        destination: Destination,
        care_of: Ipv6Addr,
        reactive: bool,
        earlier: Option<Request>,
    ) {
        let earlier = earlier.filter(|earlier| earlier.care_of == care_of);
        let next = self.sequence.wrapping_add(1);
        let redirected = self.origin.redirected;
        let timeout = self.config.timers.initial_timeout;
        let request = Request {
            destination,
            care_of,
            reactive,
            is_only: redirected.is_none_or(|until| until <= now),
            first_sequence: earlier.map_or(next, |earlier| earlier.first_sequence),
            retries_left: self.config.timers.fbu_retries,
            timeout,
            due: now + timeout,
        };
        self.farewell = None; // FBU-16: superseded
        self.send_fbu(now, &request);
        self.set_phase(Phase::AwaitingFback(request));
    }

    /// Sends an FBU again, or gives up (AMB-07, FBU-09).
    pub(super) fn repeat_fbu(&mut self, now: Instant, request: Request) {
        let Some(retries_left) = request.retries_left.checked_sub(1) else {
            return self.fail(now, Failure::NoFback);
        };
        self.send_fbu(now, &request);
        let timeout = request.timeout.saturating_mul(2);
        self.set_phase(Phase::AwaitingFback(Request {
            retries_left,
            timeout,
            due: now + timeout,
            ..request
        }));
    }

    fn send_fbu(&mut self, now: Instant, request: &Request) {
        let lifetime = self.lifetime();
        // The lifetime begins when the new router has agreed; by then it was asked for the last
        // time.
        let timers = &self.config.timers;
        let sends = timers.hi_retries.saturating_add(1);
        let asking = timers
            .initial_timeout
            .saturating_mul(2_u32.saturating_pow(sends));
        let until = now + asking + Duration::from_secs(lifetime.into());
        self.origin.redirected = self.origin.redirected.max(Some(until));

        // FBU-02. Where the router's address is the care-of address, the mobile node's own has but
        // this one use.
        let source = match request.reactive {
            true => request.destination.ncoa,
            false => self.origin.pcoa,
        };
        let bytes = self.binding_update(source, request.care_of, lifetime);
        match self.config.announcement {
            Announcement::Fna if request.is_announced() => {
                self.send_fna(source, Some(bytes));
            }
            // Through the new router, also while the previous link's prefix is still taken for one
            // of this link.
            Announcement::Una | Announcement::Fna if request.reactive => {
                let interface = self.config.interface;
                let router = request.destination.router.lla;
                self.outbox.transmit_frame(interface, router, bytes);
            }
            Announcement::Una | Announcement::Fna => self.outbox.transmit(None, None, bytes),
        }
        self.count_fbu();
    }

    pub(super) fn count_fbu(&mut self) {
        self.counters.sent_fbu += 1;
        let sequence = self.sequence;
        self.outbox.event(None, Event::FbuSent { sequence });
    }

    /// An FBU with the next number.
    pub(super) fn binding_update(
        &mut self,
        source: Ipv6Addr,
        care_of: Ipv6Addr,
        lifetime: u16,
    ) -> Bytes {
        let (pcoa, par) = (self.origin.pcoa, self.origin.par);
        self.update_of(pcoa, par, source, care_of, lifetime)
    }

    /// An FBU with the next number for an address of this or an earlier link, to its router.
    pub(super) fn update_of(
        &mut self,
        pcoa: Ipv6Addr,
        par: Ipv6Addr,
        source: Ipv6Addr,
        care_of: Ipv6Addr,
        lifetime: u16,
    ) -> Bytes {
        self.sequence = self.sequence.wrapping_add(1); // FBU-10
        let packet = Packet {
            source,
            destination: par,
            hop_limit: HOP_LIMIT,
            home_address: Some(pcoa), // FBU-04
            message: Message::FastBindingUpdate(FastBindingUpdate {
                sequence: self.sequence,
                ack: true, // FBU-01
                home: true,
                link_local: false,
                key_management: false,
                lifetime,
                alternate_coa: Some(care_of),  // FBU-03
                mn_lla: Some(self.config.lla), // FBU-06
                unknown: Vec::new(),
                authorization: None,
            }),
        };
        let addresses = Addresses { care_of, par };
        match self.key_of(par) {
            Some(key) => auth::sign(packet, key.spi, &key.key, addresses), // FBU-05
            None => packet.encode(),
        }
    }

    /// Leaves for where all is ready; or makes that ready, if the link is gone already.
    pub(super) fn depart(&mut self, now: Instant, switch: Switch) {
        let way = match switch.keeps_pcoa {
            true => Way::Kept,
            false => Way::Tunnel(self.tunnel(switch.destination.ncoa)),
        };
        let router = switch.destination.router;
        self.prepare_uplink(now, way, router.lla, switch.expires);
        // Before the move: while there is no link the kernel forgets its neighbors, and packets
        // that wait for one to be resolved would not come as far as the hold.
        self.order_router(Owner::Departure, router.address, Some(router.lla));
        self.set_phase(Phase::Switching(switch));
        let target = self.handover.as_ref().and_then(|handover| handover.target);
        if let Some(target) = target.filter(|_| self.link_up) {
            self.switch_link(target); // W16-10
        }
    }

    pub(super) fn switch_link(&mut self, access_point: MacAddr) {
        self.outbox
            .command(Owner::Departure, Command::SwitchLink { access_point });
        self.outbox
            .event(Some(Owner::Departure), Event::LinkSwitch { access_point });
    }

    /// The reverse tunnel to the router that the address in use comes from (TUN-03).
    pub(super) fn tunnel(&self, ncoa: Ipv6Addr) -> Tunnel {
        Tunnel {
            local: ncoa,
            remote: self.origin.par,
        }
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        match &mut self.handover {
            Some(handover) => handover.phase = phase,
            None => {
                self.handover = Some(Handover {
                    target: None,
                    phase,
                });
            }
        }
    }
}
