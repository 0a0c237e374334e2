//! A link of which nothing is known: RS and RA, and an address of its prefix (RFC 4861 section
//! 6.3.7, RFC 4862 section 5.5).

use std::{net::Ipv6Addr, time::Duration};

use crate::wire::{
    MacAddr, Message, Packet, Prefix, RouterAdvertisement, RouterInfo, RouterSolicitation,
};

use super::{
    ALL_ROUTERS, Failure, Instant, MobileNode, Phase, Reason, naack::MAX_REFUSALS,
    place::Destination,
};

/// RFC 4861 section 10.
const MAX_RTR_SOLICITATIONS: u32 = 3;
const RTR_SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
const MAX_RTR_SOLICITATION_DELAY: Duration = Duration::from_secs(1);

/// The length of an interface identifier made of a link-layer address (RFC 4291 section 2.5.1).
pub(super) const IID_BITS: u8 = 64;

/// Router solicitations that wait for an advertisement.
#[derive(Clone, Debug)]
pub(super) struct RouterDiscovery {
    left: u32,
    pub(super) due: Instant,
    /// Whether an FBU is of no use: the router is known not to take one (PRA-14).
    pub(super) plain: bool,
}

impl MobileNode {
    /// Looks for the router of this link. The first solicitation goes at once: the random delay
    /// before it is for hosts that start together (RFC 4861 section 6.3.7).
    pub(super) fn discover(&mut self, now: Instant, plain: bool) {
        let discovery = RouterDiscovery {
            left: MAX_RTR_SOLICITATIONS,
            due: now,
            plain,
        };
        self.solicit_router(now, discovery);
    }

    pub(super) fn solicit_router(&mut self, now: Instant, mut discovery: RouterDiscovery) {
        let Some(left) = discovery.left.checked_sub(1) else {
            return self.fail(now, Failure::NoAddress);
        };
        let iid = self.config.lla.modified_eui64();
        let link_local = Prefix::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), IID_BITS)
            .expect("64 is at most 128")
            .address_from_iid(iid);
        self.counters.sent_rs += 1;
        self.transmit(&Packet {
            source: link_local,
            destination: ALL_ROUTERS,
            hop_limit: 255,
            home_address: None,
            message: Message::RouterSolicitation(RouterSolicitation {
                source_lla: Some(self.config.lla),
                unknown: Vec::new(),
            }),
        });
        discovery.left = left;
        discovery.due = now
            + match left {
                0 => MAX_RTR_SOLICITATION_DELAY,
                _ => RTR_SOLICITATION_INTERVAL,
            };
        self.set_phase(Phase::Discovering(discovery));
    }

    pub(super) fn handle_advertisement(
        &mut self,
        now: Instant,
        link_source: MacAddr,
        packet: &Packet,
        message: &RouterAdvertisement,
    ) {
        self.counters.received_ra += 1;
        if !packet.source.is_unicast_link_local() {
            return self.counters.count(Reason::Unexpected);
        }
        if let Some(naack) = &message.naack {
            return self.handle_naack(now, link_source, packet, naack);
        }
        let lla = message.source_lla.unwrap_or(link_source);
        let holds = |address: Ipv6Addr| {
            let mut prefixes = message.prefixes.iter();
            prefixes.any(|of| of.valid > 0 && of.prefix.contains(address))
        };
        if self.elsewhere.is_none() && holds(self.origin.pcoa) {
            self.origin.link.router_lla = Some(lla);
        }
        let plain = match self.handover.as_ref().map(|handover| &handover.phase) {
            Some(Phase::Discovering(discovery)) => discovery.plain,
            // Nobody answered in time; now somebody is there.
            None if !self.is_settled() && self.refused.len() <= MAX_REFUSALS => false,
            _ => return,
        };
        // W16-15: the link of an address that it has.
        if holds(self.origin.pcoa) {
            self.origin.link.router_lla = Some(lla);
            return self.return_to_origin(now);
        }
        if let Some(mut past) = self.take_redirected(now, |past| holds(past.pcoa)) {
            past.link.router_lla = Some(lla);
            return self.return_to(now, past, None);
        }
        let prefix = message
            .prefixes
            .iter()
            .find(|of| {
                of.autonomous && of.valid > 0 && of.preferred <= of.valid && is_usable(of.prefix)
            })
            .map(|of| of.prefix);
        let Some(prefix) = prefix.filter(|_| message.router_lifetime > 0) else {
            return; // another router may do better
        };
        let destination = Destination {
            router: RouterInfo {
                lla,
                address: packet.source,
                prefix,
            },
            ncoa: self.form_address(prefix),
            dhcp: false,
        };
        if plain {
            self.handover = None;
            self.configure(&destination);
            return self.fall_back(now, &destination);
        }
        self.arrive_late(now, destination);
    }

    /// An address of this prefix: of the link-layer address, unless that was refused here.
    pub(super) fn form_address(&self, prefix: Prefix) -> Ipv6Addr {
        let own = prefix.address_from_iid(self.config.lla.modified_eui64());
        let mut address = own;
        let mut attempt = 0;
        while self.refused.contains(&address) {
            attempt += 1;
            address = prefix.address_from_iid(self.random_iid(prefix, attempt));
        }
        address
    }

    /// An interface identifier that is as good as random, and the same for the same seed.
    fn random_iid(&self, prefix: Prefix, attempt: u64) -> [u8; 8] {
        let network = (prefix.address().to_bits() >> 64) as u64;
        // The finalizer of SplitMix64: every bit depends on every bit.
        let mut mixed = self.seed ^ network.rotate_left(32) ^ attempt;
        for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
        }
        let mut iid = (mixed ^ (mixed >> 31)).to_be_bytes();
        iid[0] &= !0x02; // not one of a universal link-layer address
        iid
    }
}

fn is_usable(prefix: Prefix) -> bool {
    let address = prefix.address();
    prefix.length() == IID_BITS && !address.is_unicast_link_local() && !address.is_multicast()
}
