//! UNA and FNA: the mobile node is here (RFC 5568 section 6.3, RFC 4068 section 6.3.3).

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;

use crate::wire::{FastNeighborAdvertisement, Message, NeighborAdvertisement, Packet};

use super::{
    super::Announcement, ALL_NODES, Event, Instant, MobileNode, place::Destination,
    status::AnnouncementsLeft,
};

/// When duplicate address detection is over at the latest, if nobody objected (RFC 4862 section
/// 5.4.2): a random delay of MAX_RTR_SOLICITATION_DELAY, 1 s, and RetransTimer, 1 s (RFC 4861
/// section 10).
///
/// The kernel may say so earlier ([`AddressConfirmed`](super::Input::AddressConfirmed)). That it need
/// not is why there is a time: silence is consent in duplicate address detection itself, and that the
/// address is another node's is said as a failed
/// [`ConfigureAddress`](super::Command::ConfigureAddress).
const CONFIRMATION: Duration = Duration::from_secs(2);

/// How long after the last announcement a router's answer to it is believed.
const ANSWER: Duration = Duration::from_secs(1);

/// UNAs or FNAs that are still to be sent.
#[derive(Clone, Debug)]
pub(super) struct Announcing {
    ncoa: Ipv6Addr,
    /// How many, besides the last word.
    left: u32,
    pub(super) due: Instant,
    confirmed: Instant,
}

/// What was announced, and to whom.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub(super) ncoa: Ipv6Addr,
    pub(super) destination: Destination,
    pub(super) until: Instant,
}

impl Announcing {
    pub(super) fn status(&self) -> AnnouncementsLeft {
        AnnouncementsLeft {
            address: self.ncoa,
            left: self.left,
        }
    }
}

impl MobileNode {
    /// Sends a UNA or FNA, and plans those that follow it.
    pub(super) fn announce(&mut self, now: Instant, destination: &Destination, ncoa: Ipv6Addr) {
        self.expect_answer(now, destination, ncoa);
        self.begin_announcing(now, ncoa);
    }

    pub(super) fn begin_announcing(&mut self, now: Instant, ncoa: Ipv6Addr) {
        self.say(ncoa);
        self.announcing = Some(Announcing {
            ncoa,
            left: self.config.timers.una_retries,
            due: now,
            confirmed: now + CONFIRMATION,
        });
        self.plan_announcement(now);
    }

    /// Believes a NAACK for some time.
    pub(super) fn expect_answer(
        &mut self,
        now: Instant,
        destination: &Destination,
        ncoa: Ipv6Addr,
    ) {
        let timers = &self.config.timers;
        let repeats = timers.una_interval.saturating_mul(timers.una_retries);
        self.announced = Some(Announced {
            ncoa,
            destination: *destination,
            until: now + repeats + ANSWER,
        });
    }

    /// UNA-04: the next comes soon. UNA-10: the last when the address is certainly ours.
    fn plan_announcement(&mut self, now: Instant) {
        if let Some(announcing) = &mut self.announcing {
            announcing.due = match announcing.left {
                0 => announcing.confirmed,
                _ => now + self.config.timers.una_interval,
            };
        }
    }

    /// Duplicate address detection is over for this address, and nobody objected.
    pub(super) fn handle_confirmed(&mut self, now: Instant, address: Ipv6Addr) {
        let announcing = self.announcing.as_mut();
        if let Some(announcing) = announcing.filter(|announcing| announcing.ncoa == address) {
            // The announcements that are still to come go first: each must be one that a router
            // without an entry for us accepts.
            announcing.confirmed = announcing.confirmed.min(now);
            if announcing.left == 0 {
                announcing.due = announcing.due.min(now);
            }
        }
    }

    pub(super) fn repeat_announcement(&mut self, now: Instant) {
        let Some(announcing) = &mut self.announcing else {
            return;
        };
        let ncoa = announcing.ncoa;
        match announcing.left.checked_sub(1) {
            Some(left) => {
                announcing.left = left;
                self.say(ncoa);
                self.plan_announcement(now);
            }
            None => {
                self.announcing = None;
                let mut confirmation = NeighborAdvertisement::unsolicited(ncoa, self.config.lla);
                confirmation.override_ = true;
                self.advertise(ncoa, confirmation);
            }
        }
    }

    fn say(&mut self, ncoa: Ipv6Addr) {
        match self.config.announcement {
            Announcement::Una => self.send_una(ncoa),
            Announcement::Fna => self.send_fna(ncoa, None),
        }
    }

    fn send_una(&mut self, ncoa: Ipv6Addr) {
        let una = NeighborAdvertisement::unsolicited(ncoa, self.config.lla); // UNA-02
        self.advertise(ncoa, una);
        self.counters.sent_una += 1;
        self.outbox.event(None, Event::UnaSent { ncoa });
    }

    fn advertise(&mut self, source: Ipv6Addr, advertisement: NeighborAdvertisement) {
        self.transmit(&Packet {
            source,
            destination: ALL_NODES, // UNA-03
            hop_limit: 255,
            home_address: None,
            message: Message::NeighborAdvertisement(advertisement),
        });
    }

    /// LEG-02, LEG-03: an FNA, which may carry an FBU.
    pub(super) fn send_fna(&mut self, ncoa: Ipv6Addr, fbu: Option<Bytes>) {
        let fna = Packet {
            source: ncoa,
            destination: self.link().router,
            hop_limit: 255,
            home_address: None,
            message: Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
                mn_lla: Some(self.config.lla),
                unknown: Vec::new(),
                fbu,
            }),
        };
        self.counters.sent_fna += 1;
        self.transmit(&fna);
    }
}
