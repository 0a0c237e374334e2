//! Mobile nodes that announce themselves on a link of ours, and what the link says of addresses.

use std::net::Ipv6Addr;

use tracing::debug;

use crate::wire::{
    FastNeighborAdvertisement, MacAddr, Message, Naack, NaackStatus, NeighborAdvertisement,
    NeighborSolicitation, Packet,
};

use super::super::{
    Addressing, Command, CommandError, Event, Instant, InterfaceIndex, NeighborState,
    OnInvalidNcoa, Reason,
    nar::{self, Grant, message},
};
use super::{AccessRouter, Arrival, HandoverId, pools::Applicant};

/// A mobile node's claim to be on a link of ours.
#[derive(Copy, Clone, Debug)]
struct Claim {
    now: Instant,
    interface: InterfaceIndex,
    /// The source of its message: where the answer goes.
    address: Ipv6Addr,
    lla: MacAddr,
    /// What becomes of its neighbor entry.
    state: NeighborState,
}

impl AccessRouter {
    /// RFC 5568 section 6.3.
    pub(super) fn handle_na(&mut self, arrival: &Arrival<'_>, message: &NeighborAdvertisement) {
        let target = message.target;
        if message.router || message.solicited || message.override_ {
            // Ordinary neighbor discovery: the kernel's. But it may be the answer to a probe.
            self.counters.received_other_advertisement += 1;
            let lla = message.target_lla.unwrap_or(arrival.link_source);
            return self.contest(arrival, target, lla);
        }
        self.counters.received_una += 1;
        // UNA-02; and from a link of ours.
        if self.access_link(arrival.interface).is_none() || arrival.source != target {
            return self.counters.count(Reason::Unexpected);
        }
        let Some(lla) = message.target_lla else {
            return self.counters.count(Reason::WrongLinkAddress);
        };
        self.greet(Claim {
            now: arrival.now,
            interface: arrival.interface,
            address: target,
            lla,
            state: NeighborState::Stale, // UNA-06, UNA-07
        });
    }

    /// RFC 4068 section 6.3.3.
    pub(super) fn handle_fna(
        &mut self,
        arrival: &Arrival<'_>,
        message: &FastNeighborAdvertisement,
    ) {
        self.counters.received_fna += 1;
        if self.access_link(arrival.interface).is_none() {
            return self.counters.count(Reason::Unexpected);
        }
        let Some(lla) = message.mn_lla else {
            return self.counters.count(Reason::OptionMissing); // LEG-02
        };
        let ncoa = arrival.source;
        let is_accepted = self.greet(Claim {
            now: arrival.now,
            interface: arrival.interface,
            address: ncoa,
            lla,
            state: NeighborState::Reachable, // LEG-02
        });
        let Some(fbu) = &message.fbu else { return };
        // LEG-03. Behind the entry, which may turn out to be impossible.
        if is_accepted && self.is_relayed(ncoa, fbu) {
            self.counters.relayed_fbu += 1;
            let id = HandoverId::Nar(ncoa);
            self.outbox.transmit(Some(id), None, fbu.clone());
        } else {
            self.counters.count(Reason::NotRelayed);
        }
    }

    /// Whether the packet in an FNA of `ncoa` is one that a mobile node could have sent itself, and
    /// that leads to a neighbor: nothing else may be sent under cover of this router.
    fn is_relayed(&self, ncoa: Ipv6Addr, bytes: &[u8]) -> bool {
        let Ok(packet) = Packet::decode(bytes) else {
            return false;
        };
        packet.source == ncoa
            && self.neighborhood.is_peer(packet.destination)
            && matches!(packet.message, Message::FastBindingUpdate(_))
    }

    /// HI-12: somebody else looks for the owner of an address, to take it.
    pub(super) fn handle_ns(&mut self, arrival: &Arrival<'_>, message: &NeighborSolicitation) {
        if arrival.source.is_unspecified() {
            self.contest(arrival, message.target, arrival.link_source);
        }
    }

    /// HI-12: `lla` has, or is taking, an address that the link is being asked for.
    fn contest(&mut self, arrival: &Arrival<'_>, address: Ipv6Addr, lla: MacAddr) {
        let Some(handover) = self.arriving.get(address) else {
            return;
        };
        let announcement = handover.announcement();
        let link = self.access_link(arrival.interface);
        let is_other = lla != announcement.lla && link.is_some_and(|link| link.lla != lla);
        if handover.is_probing() && arrival.interface == announcement.interface && is_other {
            self.yield_address(arrival.now, address);
        }
    }

    /// The address that a mobile node was to have here is another node's: finds another one for
    /// it, or refuses its HI.
    pub(super) fn yield_address(&mut self, now: Instant, address: Ipv6Addr) {
        let Some(handover) = self.arriving.get(address) else {
            return;
        };
        let announcement = handover.announcement().clone();
        self.drive_nar(now, address, nar::Input::Withdrawn);
        self.settle_anew(now, announcement);
    }

    /// A command of a handover that comes to us was not carried out.
    pub(super) fn fail_nar(
        &mut self,
        now: Instant,
        address: Ipv6Addr,
        command: &Command,
        error: &CommandError,
    ) {
        let handover = self.arriving.get(address);
        let awaited = handover.is_some_and(|handover| handover.is_awaited());
        let announcement = handover.map(|handover| handover.announcement().clone());
        self.drive_nar(now, address, nar::Input::Failed(command, error));
        if !matches!(error, CommandError::InUse(_)) {
            return;
        }
        match *command {
            Command::StartBuffering { .. } | Command::AddProxyNd { .. } if awaited => {
                if let Some(announcement) = announcement {
                    self.settle_anew(now, announcement);
                }
            }
            Command::AddNeighbor {
                interface,
                link_address,
                ..
            } => {
                match announcement {
                    Some(announcement) if announcement.moved => {
                        self.refuse_hi(announcement.answers_to(), announcement.in_use());
                    }
                    Some(_) => {}
                    None => {
                        // LEG-03: an FBU behind it.
                        self.outbox.withdraw(HandoverId::Nar(address));
                    }
                }
                self.refuse_neighbor(now, interface, address, link_address);
            }
            _ => {}
        }
    }

    /// Takes a mobile node in, or tells it why not (RFC 5568 section 4). Returns whether it may
    /// have the address that it claims.
    fn greet(&mut self, claim: Claim) -> bool {
        let Claim {
            now,
            interface,
            address,
            lla,
            state,
        } = claim;
        let Some(link) = self.access_link(interface) else {
            return false;
        };
        let (prefix, addressing) = (link.prefix, link.addressing);
        if !link.takes(lla) {
            self.counters.count(Reason::UnknownLinkAddress);
            self.send_naack(claim, NaackStatus::LinkAddressUnrecognized, None); // NAK-08
            return false;
        }
        if let Some(handover) = self.arriving.get(address) {
            let announcement = handover.announcement();
            if announcement.interface != interface {
                self.counters.count(Reason::Unexpected);
                return false;
            }
            let is_it = announcement.lla == lla;
            let is_probing = handover.is_probing();
            self.drive_nar(now, address, nar::Input::Una(Some(lla), state));
            if is_it {
                self.pools.renew(now, interface, address);
            } else {
                if is_probing {
                    self.yield_address(now, address);
                }
                // The proxy entry stays: it is not this node's.
                self.object(claim);
            }
            return is_it;
        }
        if let Some(supplied) = self.unheard_grant(claim) {
            match supplied {
                Grant::Kept(pcoa) => {
                    // It is here, with the address that it does not know it still has.
                    self.drive_nar(now, pcoa, nar::Input::Una(Some(lla), state));
                    self.send_naack(claim, NaackStatus::UsePcoa, Some(pcoa)); // NAK-06
                }
                Grant::Assigned(ncoa) | Grant::Proposed(ncoa) => {
                    // Until it uses that address it cannot have what is held for it.
                    self.drive_nar(now, ncoa, nar::Input::Seen);
                    self.send_naack(claim, NaackStatus::UseSupplied, Some(ncoa)); // NAK-04
                }
            }
            return false;
        }
        if !prefix.contains(address) {
            // Not an address of this network: the business of whoever made it up.
            self.counters.count(Reason::NcoaOutsidePrefix);
            if state == NeighborState::Reachable {
                self.object(claim);
            }
            return false;
        }
        if self.is_reserved(address) {
            self.counters.count(Reason::NcoaInUse);
            return false;
        }
        let leased = self.pools.owner(now, interface, address) == Some(Some(lla));
        let is_assigned = leased || !matches!(addressing, Addressing::Assigned { .. });
        if !is_assigned || self.is_others(now, interface, address, lla) {
            self.counters.count(Reason::NcoaInUse); // UNA-11
            self.object(claim);
            return false;
        }
        self.counters.count(Reason::NoHandover);
        if state == NeighborState::Stale && self.newcomers.owner(now, address) == Some(lla) {
            self.counters.count(Reason::Duplicate); // UNA-04
            return true;
        }
        if !self.make_room_on(now, interface) {
            self.counters.count(Reason::Resources);
            return false;
        }
        // AMB-12: an entry, as of any neighbor (UNA-08). What is sent to its previous address comes
        // only when its PAR says so.
        debug!(%address, %lla, "a mobile node that was not announced");
        let lifetime = self.config.timers.proxy_nd_lifetime;
        self.newcomers
            .insert(now, lifetime, address, interface, lla);
        let neighbor = Command::AddNeighbor {
            interface,
            address,
            link_address: lla,
            state,
        };
        self.outbox.command(HandoverId::Nar(address), neighbor);
        true
    }

    /// The other address that this mobile node was given when it proposed the one that it claims:
    /// it missed the answer.
    fn unheard_grant(&self, claim: Claim) -> Option<Grant> {
        let handover = self.arriving.of_node(claim.interface, claim.lla)?;
        let announcement = handover.announcement();
        let is_unheard =
            announcement.ncoa == Some(claim.address) && announcement.address() != claim.address;
        is_unheard.then_some(announcement.grant)
    }

    /// An order to make a neighbor entry was refused: the address is another node's.
    pub(super) fn refuse_neighbor(
        &mut self,
        now: Instant,
        interface: InterfaceIndex,
        address: Ipv6Addr,
        lla: MacAddr,
    ) {
        self.newcomers.remove(address);
        self.counters.count(Reason::WrongLinkAddress);
        let state = NeighborState::Stale;
        self.object(Claim {
            now,
            interface,
            address,
            lla,
            state,
        });
    }

    /// Tells a mobile node that it cannot have its address, as the link's policy says (NAK-01,
    /// NAK-07).
    fn object(&mut self, claim: Claim) {
        let Some(link) = self.access_link(claim.interface) else {
            return;
        };
        match link.on_invalid_ncoa {
            OnInvalidNcoa::Silent => {}
            OnInvalidNcoa::Configure => {
                self.send_naack(claim, NaackStatus::ConfigureAddress, None);
            }
            OnInvalidNcoa::UseRouterAddress => {
                self.send_naack(claim, NaackStatus::UseRouterAddress, None);
            }
            OnInvalidNcoa::Assign => {
                let Claim {
                    now,
                    interface,
                    lla,
                    ..
                } = claim;
                let applicant = Applicant {
                    interface,
                    lla,
                    wanted: None,
                    // Until its PAR says that it uses it.
                    trial: Some(self.config.timers.max_binding_lifetime),
                };
                let supplied = self.assign(now, applicant, |router, address| {
                    !router.is_reserved(address) && !router.is_others(now, interface, address, lla)
                });
                match supplied {
                    Some(ncoa) => self.send_naack(claim, NaackStatus::UseSupplied, Some(ncoa)),
                    None => self.send_naack(claim, NaackStatus::ConfigureAddress, None),
                }
            }
        }
    }

    /// NAK-03: to the source of the UNA, in a frame to the link-layer address in it.
    fn send_naack(&mut self, claim: Claim, status: NaackStatus, ncoa: Option<Ipv6Addr>) {
        let Claim {
            interface,
            address,
            lla,
            ..
        } = claim;
        let Some(link) = self.config.link(interface) else {
            return;
        };
        let bytes = message::naack(link, address, Naack { status, ncoa });
        self.counters.sent_naack += 1;
        self.outbox.transmit_frame(interface, lla, bytes);
        let sent = Event::NaackSent {
            ncoa: address,
            status: status.value(),
        };
        self.outbox.event(None, sent);
    }

    /// Whether `address` is known to be that of another node than `lla` on this link.
    fn is_others(
        &self,
        now: Instant,
        interface: InterfaceIndex,
        address: Ipv6Addr,
        lla: MacAddr,
    ) -> bool {
        let arriving = self.arriving.get(address);
        let arriving = arriving.map(|handover| handover.announcement().lla);
        let departing = self.departing.get(address);
        let departing = departing.map(|handover| handover.link_address());
        let newcomer = self.newcomers.owner(now, address);
        let known = [arriving, departing, newcomer];
        let leased = self.pools.owner(now, interface, address);
        known.into_iter().flatten().any(|owner| owner != lla)
            || leased.is_some_and(|owner| owner != Some(lla))
    }

    /// SEC-07: makes room for one more newcomer, at the cost of the oldest. Returns whether there is
    /// room.
    fn make_room_on(&mut self, now: Instant, interface: InterfaceIndex) -> bool {
        self.newcomers.expire(now);
        let limits = &self.config.limits;
        while self.newcomers.on_link(interface) >= limits.max_per_link {
            if !self.newcomers.remove_oldest_on(interface) {
                return false;
            }
        }
        self.make_room(1)
    }

    /// SEC-07: makes room for so many more handovers and newcomers, at the cost of the oldest
    /// newcomers. Returns whether there is room.
    pub(super) fn make_room(&mut self, more: usize) -> bool {
        let handovers = self.departing.len() + self.arriving.len() + more;
        while self.newcomers.len() + handovers > self.config.limits.max_handovers {
            if !self.newcomers.remove_oldest() {
                return false;
            }
        }
        true
    }
}
