//! The first moments on the new link (RFC 5568 section 4).

use super::*;

impl MobileNode {
    /// RFC 5568 section 4, from "after attaching to the NAR".
    pub(super) fn arrive(&mut self, now: Instant, destination: Destination, expires: Instant) {
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
    pub(super) fn announce(
        &mut self,
        now: Instant,
        destination: Destination,
        expires: Instant,
        left: u32,
    ) {
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
}
