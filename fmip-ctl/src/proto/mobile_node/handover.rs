//! FBU and FBack: packets for the previous care-of address go to the new one (RFC 5568 sections 6.2.2 and 6.2.3).

use super::*;

impl MobileNode {
    /// Goes on with a handover whose target was asked for, if there is an answer.
    pub(super) fn go_on(&mut self, now: Instant) {
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

    pub(super) fn handle_handover_timeout(&mut self, now: Instant) {
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

    pub(super) fn send_fbu(&mut self, now: Instant, ncoa: Ipv6Addr) {
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

    pub(super) fn send_binding_update(&mut self, owner: Owner, ncoa: Ipv6Addr, lifetime: u16) {
        self.sequence = self.sequence.wrapping_add(1); // FBU-10
        let MobileNodeConfig { pcoa, par, .. } = self.config;
        let packet = Packet {
            source: pcoa, // FBU-02
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

    /// Whether an FBU with this number was sent since the one with the number `first`.
    pub(super) fn was_sent(&self, number: u16, first: u16) -> bool {
        number.wrapping_sub(first) <= self.sequence.wrapping_sub(first)
    }

    pub(super) fn authenticate(
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
    pub(super) fn key(&self) -> Option<&RouterKey> {
        let mut keys = self.config.routers.iter();
        keys.find(|key| key.router == self.config.par)
    }

    /// The reverse tunnel to the previous router (TUN-03).
    pub(super) fn tunnel(&self, ncoa: Ipv6Addr) -> Tunnel {
        Tunnel {
            local: ncoa,
            remote: self.config.par,
        }
    }

    /// Sends an FBU again, or gives up (AMB-07, FBU-09).
    pub(super) fn repeat_fbu(&mut self, now: Instant, request: Request) {
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

    pub(super) fn handle_fback(
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

    pub(super) fn switch_link(&mut self, access_point: MacAddr) {
        self.outbox
            .command(Owner::Handover, Command::SwitchLink { access_point });
        self.outbox
            .event(Some(Owner::Handover), Event::LinkSwitch { access_point });
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        if let Some(handover) = &mut self.handover {
            handover.phase = phase;
        }
    }
}
