//! The first moments on a new link (RFC 5568 section 4), and what is left of a move that failed.

use std::net::Ipv6Addr;

use super::{
    super::Announcement,
    Announced, Elsewhere, Event, Failure, Instant, Link, MobileNode, Origin, Owner,
    handover::{Request, Switch},
    place::Destination,
    uplink::Way,
};

impl MobileNode {
    /// At the router that all was prepared with (W16-12).
    pub(super) fn arrive(&mut self, now: Instant, switch: &Switch) {
        self.handover = None;
        self.enter(Link::behind(&switch.destination, self.access_point));
        match switch.keeps_pcoa {
            true => self.begin_announcing(now, self.origin.pcoa),
            false => self.announce(now, &switch.destination, switch.destination.ncoa), // UNA-01
        }
        self.settle_in(&switch.destination, switch.keeps_pcoa);
        self.release_uplinks(now);
        if !switch.keeps_pcoa {
            self.configure(&switch.destination); // UNA-05
        }
        self.look_around(now, &switch.destination);
    }

    /// On a link that is known, but not prepared for it: asks from there (W16-13).
    pub(super) fn arrive_unprepared(
        &mut self,
        now: Instant,
        destination: Destination,
        earlier: Option<Request>,
    ) {
        self.enter(Link::behind(&destination, self.access_point));
        let router = destination.router;
        self.order_router(Owner::Rest, router.address, Some(router.lla));
        self.expect_tunnel(destination.ncoa);
        if self.config.announcement == Announcement::Una {
            self.announce(now, &destination, destination.ncoa);
        }
        self.configure(&destination);
        self.ask_from_here(now, destination, destination.ncoa, earlier); // FBU-08
    }

    /// On a link that its router advertised just now: the address comes before everything else
    /// (RTS-10).
    pub(super) fn arrive_late(&mut self, now: Instant, destination: Destination) {
        self.elsewhere = Some(Elsewhere {
            link: Link::behind(&destination, self.access_point),
            keeps_pcoa: false,
        });
        let router = destination.router;
        self.order_router(Owner::Rest, router.address, Some(router.lla));
        self.configure(&destination);
        self.expect_tunnel(destination.ncoa);
        self.ask_from_here(now, destination, destination.ncoa, None);
        // The router would ask for it before it can deliver the FBack.
        if self.config.announcement == Announcement::Una {
            self.announce(now, &destination, destination.ncoa);
        }
    }

    /// Sends the FBU from the new link, if there is a key for one.
    pub(super) fn ask_from_here(
        &mut self,
        now: Instant,
        destination: Destination,
        care_of: Ipv6Addr,
        earlier: Option<Request>,
    ) {
        // An FNA is answered as a UNA is; but where the router gave its own address for the FBU, the
        // mobile node's is refused already.
        if self.config.announcement == Announcement::Fna && care_of == destination.ncoa {
            self.expect_answer(now, &destination, destination.ncoa);
        }
        if self.key().is_none() {
            let reason = Failure::NoHandoverKey;
            self.outbox.event(None, Event::HandoverFailed { reason });
            self.handover = None;
            return self.fall_back(now, &destination);
        }
        self.request(now, destination, care_of, true, earlier);
    }

    /// What was asked for from here is granted.
    pub(super) fn take_up(&mut self, now: Instant, switch: &Switch, announced: Ipv6Addr) {
        self.handover = None;
        let pcoa = self.origin.pcoa;
        let destination = switch.destination;
        self.hold_uplinks(now);
        if switch.keeps_pcoa {
            self.set_way(pcoa, Way::Kept, switch.expires);
            // It is agreed on: there is nothing to refuse any more.
            self.announced = None;
            self.begin_announcing(now, pcoa);
        } else {
            let way = Way::Tunnel(self.tunnel(destination.ncoa));
            self.set_way(pcoa, way, switch.expires);
            if destination.ncoa != announced {
                self.configure(&destination);
                self.announce(now, &destination, destination.ncoa);
            }
        }
        self.settle_in(&destination, switch.keeps_pcoa);
        self.release_uplinks(now);
        self.look_around(now, &destination);
    }

    /// Nothing of the old address is of use here: the rest is an ordinary Binding Update's
    /// (W11-15).
    pub(super) fn fall_back(&mut self, now: Instant, destination: &Destination) {
        // It is another node's, and was good for an FBU at most (NAK-07).
        if self.refused.contains(&destination.ncoa) {
            return self.discover(now, true);
        }
        self.settle_in(destination, false);
        self.release_uplinks(now);
        self.counters.fell_back += 1;
        let care_of = destination.ncoa;
        self.outbox.event(None, Event::FellBack { care_of });
        self.look_around(now, destination);
    }

    /// There is no router, or none that gives addresses. One that comes later is welcome.
    pub(super) fn be_lost(&mut self) {
        self.remove_uplinks();
        self.forget_router();
    }

    /// Is on another link from now on: what was known holds for the last one only.
    pub(super) fn enter(&mut self, link: Link) {
        self.neighborhood.clear();
        self.announcing = None;
        self.announced = None;
        self.given_up = None;
        self.refused.clear();
        self.elsewhere = Some(Elsewhere {
            link,
            keeps_pcoa: false,
        });
    }

    /// Uses the address that it has here from now on.
    fn settle_in(&mut self, destination: &Destination, keeps_pcoa: bool) {
        if keeps_pcoa {
            if let Some(elsewhere) = &mut self.elsewhere {
                elsewhere.keeps_pcoa = true;
            }
            return;
        }
        let link = Link::behind(destination, self.access_point);
        // Back on a link by way of an ordinary handover, the address is an old one.
        let known = self.take_past(|past| past.pcoa == destination.ncoa);
        let next = match known {
            Some(mut known) => {
                known.link.access_points.extend(self.access_point);
                known.link.router_lla = link.router_lla;
                known
            }
            None => Origin {
                pcoa: destination.ncoa,
                par: self.global_address(destination),
                prefix_length: destination.router.prefix.length(),
                link,
                redirected: None,
                is_new: true,
            },
        };
        self.change_origin(next);
    }

    /// Does what can wait until packets flow.
    fn look_around(&mut self, now: Instant, destination: &Destination) {
        if destination.dhcp {
            let router = destination.router.address;
            self.outbox.event(None, Event::DhcpNeeded { router }); // PRA-23
        }
        // Where the next move may lead is better known before it impends.
        if self.key().is_some() {
            self.look_again(now);
        }
    }

    /// The kernel found that another node has this address.
    pub(super) fn handle_duplicate(&mut self, now: Instant, address: Ipv6Addr) {
        let announced = self.announced.clone().filter(|of| of.ncoa == address);
        let settled = || {
            let is_here = self.elsewhere.is_none() && self.origin.pcoa == address;
            // The link went and came back since it was announced.
            let again = self.destination_again(&self.origin);
            again
                .filter(|_| is_here && self.origin.is_new)
                .map(|destination| Announced {
                    ncoa: address,
                    destination,
                    until: now,
                })
        };
        match announced.or_else(settled) {
            Some(announced) => self.give_up(now, announced),
            // Not in use here any more, or not yet.
            None => self.abandon_address(address),
        }
    }
}
