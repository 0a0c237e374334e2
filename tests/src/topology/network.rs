//! Which routers and access points a lab has.

use std::net::Ipv6Addr;

use super::{AccessPoint, Router};

/// The routers and access points of a lab.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Two routers, each with an access point.
    #[default]
    Two,
    /// A third router, and a second access point on the first one's link.
    Three,
    /// RFC 4260 figure 1: two subnets, each with three routers and five access points that relay.
    ///
    /// ```text
    ///       par                             nar
    ///  par2  |  par3                   nar2  |  nar3
    ///      \ | /                            \ | /
    ///   2001:db8:1::/64                 2001:db8:2::/64
    ///   /   |   |  |  \                /   |   |  |   \
    ///  AP1 AP2 AP3 AP4 AP5            AP6 AP7 AP8 AP9 AP10
    /// ```
    ///
    /// Of the routers of a subnet one speaks RFC 5568; the others route and advertise themselves.
    Figure1,
    /// RFC 4260 figure 2: three routers, each with an access point inside that has the same link-layer
    /// address.
    Figure2,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Two, Self::Three, Self::Figure1, Self::Figure2];

    /// The access routers that speak RFC 5568.
    pub const fn routers(self) -> &'static [Router] {
        match self {
            Self::Two | Self::Figure1 => &[Router::Previous, Router::New],
            Self::Three | Self::Figure2 => &Router::ALL,
        }
    }

    /// The access points on a router's link.
    pub const fn access_points(self, router: Router) -> &'static [AccessPoint] {
        use AccessPoint::{Beside, Integrated, New, Previous, Relay, Third};
        match (self, router) {
            (Self::Two, Router::Previous) => &[Previous],
            (Self::Two | Self::Three, Router::New) => &[New],
            (Self::Three, Router::Previous) => &[Previous, Beside],
            (Self::Three, Router::Third) => &[Third],
            (Self::Figure1, Router::Previous) => {
                &[Relay(1), Relay(2), Relay(3), Relay(4), Relay(5)]
            }
            (Self::Figure1, Router::New) => &[Relay(6), Relay(7), Relay(8), Relay(9), Relay(10)],
            (Self::Two | Self::Figure1, Router::Third) => &[],
            (Self::Figure2, Router::Previous) => &[Integrated(Router::Previous)],
            (Self::Figure2, Router::New) => &[Integrated(Router::New)],
            (Self::Figure2, Router::Third) => &[Integrated(Router::Third)],
        }
    }

    /// Where the mobile node is at first.
    pub const fn start(self) -> AccessPoint {
        self.access_points(Router::Previous)[0]
    }

    /// The routers that do not speak RFC 5568.
    pub const fn companions(self) -> &'static [Companion] {
        match self {
            Self::Figure1 => &Companion::ALL,
            _ => &[],
        }
    }
}

/// A router on another one's link that does not speak RFC 5568.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Whose link it is on.
    pub beside: Router,
    /// Its name, which is its namespace's, too.
    pub name: &'static str,
    /// Its link-layer address on that link.
    pub(super) lla: &'static str,
    /// Counts all routers; addresses are made of it.
    pub(super) number: u16,
    /// The last part of its address on that link.
    host: u16,
}

impl Companion {
    const ALL: [Self; 4] = [
        Self::new(Router::Previous, "par2", "02:00:00:00:00:12", 4, 2),
        Self::new(Router::Previous, "par3", "02:00:00:00:00:13", 5, 3),
        Self::new(Router::New, "nar2", "02:00:00:00:00:23", 6, 2),
        Self::new(Router::New, "nar3", "02:00:00:00:00:24", 7, 3),
    ];

    const fn new(
        beside: Router,
        name: &'static str,
        lla: &'static str,
        number: u16,
        host: u16,
    ) -> Self {
        Self {
            beside,
            name,
            lla,
            number,
            host,
        }
    }

    /// Its address on that link.
    pub const fn address(self) -> Ipv6Addr {
        let [a, b, c, d, e, f, g, _] = self.beside.address().segments();
        Ipv6Addr::new(a, b, c, d, e, f, g, self.host)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_access_point_is_on_the_link_of_its_router_and_has_a_name_of_its_own() {
        for network in Network::ALL {
            let mut ids = BTreeSet::new();
            for router in network.routers() {
                let access_points = network.access_points(*router);
                assert!(!access_points.is_empty());
                for access_point in access_points {
                    assert_eq!(access_point.router(), *router, "{network:?}");
                    assert!(ids.insert(access_point.id()), "{network:?}");
                }
            }
        }
    }

    #[test]
    fn the_figures_have_as_many_routers_and_access_points_as_in_the_text() {
        let routers = |network: Network| network.routers().len() + network.companions().len();
        assert_eq!(routers(Network::Figure1), 6);
        assert_eq!(Network::Figure1.access_points(Router::Previous).len(), 5);
        assert_eq!(Network::Figure1.access_points(Router::New).len(), 5);
        assert_eq!(routers(Network::Figure2), 3);
        for router in Router::ALL {
            let [access_point] = Network::Figure2.access_points(router) else {
                panic!("one access point in each router");
            };
            assert_eq!(access_point.id(), router.lla());
        }
    }
}
