//! Who is where: the addresses and prefixes of the lab, its access routers and its access points.

use std::{fmt, net::Ipv6Addr};

/// The correspondent node's address.
pub const CN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
/// The previous access router's address on its access link.
pub const PAR: Ipv6Addr = Router::Previous.address();
/// The new access router's address on its access link.
pub const NAR: Ipv6Addr = Router::New.address();
/// The mobile node's link-layer address, the same on every link.
pub const MN_LLA: &str = "02:00:00:00:00:01";
/// The mobile node's address on the previous access router's link.
pub const PCOA: Ipv6Addr = Router::Previous.care_of_address();

/// The mobile node's interface.
pub const WLAN: &str = "wlan0";
/// The routers' interface towards the other routers.
pub const CORE_INTERFACE: &str = "core0";
/// The routers' interface on their access link.
pub const ACCESS_INTERFACE: &str = "acc0";

/// One of the access routers.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Router {
    /// Where the mobile node comes from.
    Previous,
    /// Where it goes.
    New,
    /// Where it goes after that, or instead; only in [`Lab::with_third_router`](super::Lab::with_third_router).
    Third,
}

impl Router {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Previous, Self::New, Self::Third];

    /// Its name, which is its namespace's, too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Previous => "par",
            Self::New => "nar",
            Self::Third => "third",
        }
    }

    /// Counts the routers from 1; addresses are made of it.
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::Previous => 1,
            Self::New => 2,
            Self::Third => 3,
        }
    }

    /// Its address on its access link.
    pub const fn address(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, self.number(), 0, 0, 0, 0, 1)
    }

    /// The prefix of its access link.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Previous => "2001:db8:1::/64",
            Self::New => "2001:db8:2::/64",
            Self::Third => "2001:db8:3::/64",
        }
    }

    /// Its link-layer address on its access link.
    pub const fn lla(self) -> &'static str {
        match self {
            Self::Previous => "02:00:00:00:00:11",
            Self::New => "02:00:00:00:00:22",
            Self::Third => "02:00:00:00:00:33",
        }
    }

    /// Its link-local address on its access link: what the kernel makes of its link-layer address.
    pub const fn link_local(self) -> Ipv6Addr {
        let last = 0x11 * self.number();
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, last)
    }

    /// What stateless address configuration makes of its prefix and [`MN_LLA`].
    pub const fn care_of_address(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, self.number(), 0, 0, 0xff, 0xfe00, 1)
    }
}

/// One of the access points.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum AccessPoint {
    /// On the previous access router's link.
    Previous,
    /// On the new access router's link.
    New,
    /// On the third access router's link.
    Third,
    /// Another one on the previous access router's link; like the third, only in
    /// [`Lab::with_third_router`](super::Lab::with_third_router).
    Beside,
    /// Those of [`Network::Figure1`](super::Network::Figure1), AP1 to AP10.
    Relay(u8),
    /// That of [`Network::Figure2`](super::Network::Figure2) that a router has inside.
    Integrated(Router),
}

impl AccessPoint {
    /// Its identifier: a link-layer address.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Previous => "02:00:00:00:0a:01",
            Self::New => "02:00:00:00:0a:02",
            Self::Third => "02:00:00:00:0a:03",
            Self::Beside => "02:00:00:00:0a:04",
            Self::Relay(number) => RELAYS[relay(number)],
            Self::Integrated(router) => router.lla(),
        }
    }

    /// The router on its link.
    pub const fn router(self) -> Router {
        match self {
            Self::Previous | Self::Beside | Self::Relay(..=5) => Router::Previous,
            Self::New | Self::Relay(_) => Router::New,
            Self::Third => Router::Third,
            Self::Integrated(router) => router,
        }
    }

    /// The bridge that it is, in the lab's `air`.
    pub const fn bridge(self) -> &'static str {
        match self {
            Self::Previous | Self::Integrated(Router::Previous) => "br-ap1",
            Self::New | Self::Integrated(Router::New) => "br-ap2",
            Self::Third | Self::Integrated(Router::Third) => "br-ap3",
            Self::Beside => "br-ap4",
            Self::Relay(number) => RELAY_BRIDGES[relay(number)],
        }
    }
}

impl fmt::Display for AccessPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.id())
    }
}

const RELAYS: [&str; 10] = [
    "02:00:00:00:0e:01",
    "02:00:00:00:0e:02",
    "02:00:00:00:0e:03",
    "02:00:00:00:0e:04",
    "02:00:00:00:0e:05",
    "02:00:00:00:0e:06",
    "02:00:00:00:0e:07",
    "02:00:00:00:0e:08",
    "02:00:00:00:0e:09",
    "02:00:00:00:0e:10",
];

const RELAY_BRIDGES: [&str; 10] = [
    "br-relay1",
    "br-relay2",
    "br-relay3",
    "br-relay4",
    "br-relay5",
    "br-relay6",
    "br-relay7",
    "br-relay8",
    "br-relay9",
    "br-relay10",
];

/// The place of a relay in the lists; they count from 1.
const fn relay(number: u8) -> usize {
    assert!(1 <= number && number <= 10, "the relays are AP1 to AP10");
    number as usize - 1
}

pub(crate) fn lla_bytes(text: &str) -> [u8; 6] {
    let mut bytes = [0; 6];
    for (byte, part) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(part, 16).expect("the lab's own addresses are hexadecimal");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4291 appendix A.
    fn modified_eui_64(prefix: Ipv6Addr, lla: &str) -> Ipv6Addr {
        let mac = lla_bytes(lla);
        let identifier = [
            mac[0] ^ 2,
            mac[1],
            mac[2],
            0xff,
            0xfe,
            mac[3],
            mac[4],
            mac[5],
        ];
        Ipv6Addr::from_bits(prefix.to_bits() | u128::from(u64::from_be_bytes(identifier)))
    }

    #[test]
    fn a_care_of_address_is_the_prefix_and_the_modified_eui_64_of_the_link_layer_address() {
        for router in Router::ALL {
            let prefix = router.prefix().strip_suffix("/64").unwrap();
            let prefix = prefix.parse().unwrap();
            assert_eq!(router.care_of_address(), modified_eui_64(prefix, MN_LLA));
        }
    }

    #[test]
    fn a_routers_link_local_address_is_made_of_its_link_layer_address() {
        for router in Router::ALL {
            let prefix = "fe80::".parse().unwrap();
            assert_eq!(router.link_local(), modified_eui_64(prefix, router.lla()));
        }
    }
}
