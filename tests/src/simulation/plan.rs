//! What a simulated world is made of and what will happen in it, all drawn from one seed.

use std::{net::Ipv6Addr, time::Duration};

use fastrand::Rng;
use fmip_ctl::{
    proto::{
        AccessLink, Addressing, Announcement, Departure, HandoverKey, InterfaceIndex, Limits,
        MobileNodeConfig, OnInvalidNcoa, Peer, PeerAddressing, RouterConfig, RouterKey, Timers,
    },
    wire::{MacAddr, Prefix},
};

/// Every node's interface on its access link.
pub const ACCESS: InterfaceIndex = 1;
/// Every router's interface towards the other routers.
pub const CORE: InterfaceIndex = 2;

const MAX_ROUTERS: usize = 5;
const MAX_MOBILES: usize = 4;

/// A world before its first moment.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all the rest was drawn from.
    pub seed: u64,
    /// The access routers.
    pub routers: Vec<RouterPlan>,
    /// The mobile nodes and their journeys.
    pub mobiles: Vec<MobilePlan>,
    /// What the links do to signalling.
    pub weather: Weather,
    /// Routers that crash and start again at once: when, and which.
    pub crashes: Vec<(Duration, usize)>,
    /// When an attacker sends something.
    pub attacks: Vec<Duration>,
    /// The part of all commands that the kernel refuses, 0.0..=1.0.
    pub refusals: f64,
    /// Whether the routers are shut down in the end, rather than left to wait for all lifetimes.
    pub shutdown: bool,
}

/// What the links do to signalling.
#[derive(Copy, Clone, Debug)]
pub struct Weather {
    /// The part of all messages that is lost, 0.0..=0.3.
    pub loss: f64,
    /// The part that arrives twice.
    pub duplication: f64,
    /// The longest delay on an access link.
    pub access_delay: Duration,
    /// The longest delay between two routers.
    pub core_delay: Duration,
}

/// One access router.
#[derive(Clone, Debug)]
pub struct RouterPlan {
    /// What it is told.
    pub config: RouterConfig,
    /// Whether its link layer reports mobile nodes that come and go.
    pub reports_stations: bool,
}

/// One mobile node and where it goes.
#[derive(Clone, Debug)]
pub struct MobilePlan {
    /// What it is told.
    pub config: MobileNodeConfig,
    /// The router that it starts at.
    pub start: usize,
    /// Its moves.
    pub legs: Vec<Leg>,
}

/// One move of a journey.
#[derive(Copy, Clone, Debug)]
pub struct Leg {
    /// How long it stays before.
    pub pause: Duration,
    /// How it moves.
    pub manner: Manner,
    /// The router that it ends at.
    pub to: usize,
    /// How long it has no link.
    pub gap: Duration,
}

/// How a mobile node moves.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Its link layer says where it will go, and it goes when the signalling is done.
    Predicted,
    /// As predicted, but the link does not wait for the signalling.
    Hasty {
        /// How long the link lasts after the announcement.
        patience: Duration,
    },
    /// Without a word.
    Sudden,
    /// Because the router wants it to.
    Ordered {
        /// Whether the router gives it an address.
        given: bool,
    },
    /// As predicted, but it comes up elsewhere.
    Astray {
        /// The router that was predicted.
        predicted: usize,
    },
    /// As predicted, but it comes up where it was.
    Stays {
        /// The router that was predicted.
        predicted: usize,
    },
    /// To another access point of the same router.
    WithinLink,
}

/// The address of router `index` on its access link.
pub fn router_address(index: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, index as u16 + 1, 0, 0, 0, 0, 1)
}

/// Its link-local address.
pub fn router_link_local(index: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, index as u16 + 1)
}

/// The prefix of its link.
pub fn prefix(index: usize) -> Prefix {
    let address = Ipv6Addr::new(0x2001, 0xdb8, index as u16 + 1, 0, 0, 0, 0, 0);
    Prefix::new(address, 64).expect("64 is a prefix length")
}

/// Its link-layer address.
pub fn router_lla(index: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0x11, index as u8 + 1])
}

/// One of its two access points.
pub fn access_point(index: usize, second: bool) -> MacAddr {
    MacAddr([2, 0, 0, 0x0a, u8::from(second), index as u8 + 1])
}

/// The router of an access point.
pub fn router_of(access_point: MacAddr) -> Option<usize> {
    match access_point.0 {
        [2, 0, 0, 0x0a, _, number] => Some(usize::from(number) - 1),
        _ => None,
    }
}

/// The router whose link `address` belongs to.
pub fn router_of_address(address: Ipv6Addr, routers: usize) -> Option<usize> {
    (0..routers).find(|&index| prefix(index).contains(address))
}

/// The link-layer address of a mobile node.
pub fn mobile_lla(index: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0x99, index as u8 + 1])
}

/// The address that a mobile node makes on the link of a router.
pub fn own_address(mobile: usize, router: usize) -> Ipv6Addr {
    prefix(router).address_from_iid(mobile_lla(mobile).modified_eui64())
}

/// The mobile node that makes this address for itself.
pub fn mobile_of_address(address: Ipv6Addr) -> Option<usize> {
    match address.octets()[8..] {
        [0, 0, 0, 0xff, 0xfe, 0, 0x99, number] => Some(usize::from(number) - 1),
        _ => None,
    }
}

/// The addresses that a router assigns.
fn pool(index: usize) -> Prefix {
    let address = Ipv6Addr::new(0x2001, 0xdb8, index as u16 + 1, 0, 0xaaaa, 0, 0, 0);
    Prefix::new(address, 112).expect("112 is a prefix length")
}

/// The key of a mobile node at a router.
pub fn key(mobile: usize, router: usize) -> Vec<u8> {
    format!("key of mobile node {mobile} at router {router}").into_bytes()
}

/// The number of that key.
pub fn spi(mobile: usize) -> u32 {
    256 + mobile as u32
}

impl Plan {
    /// Draws a world.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let routers = rng.usize(2..=MAX_ROUTERS);
        let mobiles = rng.usize(1..=MAX_MOBILES);
        // A third of the worlds have good weather, and what fails there fails without excuse.
        let rough = rng.u8(0..3) > 0;
        let weather = Weather {
            loss: if rough { 0.3 * rng.f64() } else { 0.0 },
            duplication: if rough { 0.1 * rng.f64() } else { 0.0 },
            access_delay: millis(rng, 1, 10),
            core_delay: millis(rng, 1, 20),
        };
        let plain = rng.bool();
        let addressing: Vec<Addressing> = (0..routers)
            .map(|index| match if plain { 0 } else { rng.u8(0..5) } {
                3 => Addressing::Assigned { pool: pool(index) },
                4 => Addressing::KeepPcoa,
                _ => Addressing::Stateless,
            })
            .collect();
        let lifetime = Duration::from_secs(rng.u64(5..=30));
        let routers: Vec<RouterPlan> = (0..routers)
            .map(|index| router_plan(index, &addressing, mobiles, plain, rng))
            .collect();
        let count = routers.len();
        let mobiles = (0..mobiles)
            .map(|index| mobile_plan(index, count, lifetime, plain, rng))
            .collect();
        let span = 60_000;
        let crashes = match rough && rng.u8(0..4) == 0 {
            true => vec![(millis(rng, 0, span), rng.usize(0..count))],
            false => Vec::new(),
        };
        let attacks = match rough && rng.bool() {
            true => (0..rng.usize(0..40))
                .map(|_| millis(rng, 0, span))
                .collect(),
            false => Vec::new(),
        };
        let refusals = match rough && rng.u8(0..5) == 0 {
            true => 0.1 * rng.f64(),
            false => 0.0,
        };
        Self {
            seed,
            routers,
            mobiles,
            weather,
            crashes,
            attacks,
            refusals,
            shutdown: rng.u8(0..4) == 0,
        }
    }

    /// Whether nothing in this world excuses a handover that fails.
    pub fn is_fair(&self) -> bool {
        self.weather.loss == 0.0
            && self.weather.duplication == 0.0
            && self.crashes.is_empty()
            && self.attacks.is_empty()
            && self.refusals == 0.0
    }

    /// Journeys in it.
    pub fn journeys(&self) -> usize {
        self.mobiles.len()
    }
}

fn millis(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..=to))
}

fn router_plan(
    index: usize,
    addressing: &[Addressing],
    mobiles: usize,
    plain: bool,
    rng: &mut Rng,
) -> RouterPlan {
    let count = addressing.len();
    let departure = match rng.u8(0..3) {
        0 => Departure::Ignore,
        1 => Departure::Hold {
            lifetime: millis(rng, 500, 3000),
        },
        _ => Departure::Copy {
            window: millis(rng, 50, 500),
            lifetime: millis(rng, 500, 3000),
        },
    };
    let on_invalid_ncoa = match (plain, addressing[index]) {
        (true, _) => OnInvalidNcoa::Silent,
        (false, Addressing::Assigned { .. }) => OnInvalidNcoa::Assign,
        (false, _) => match rng.u8(0..3) {
            0 => OnInvalidNcoa::Silent,
            1 => OnInvalidNcoa::Configure,
            _ => OnInvalidNcoa::UseRouterAddress,
        },
    };
    let access = AccessLink {
        interface: ACCESS,
        address: router_address(index),
        link_local: router_link_local(index),
        lla: router_lla(index),
        prefix: prefix(index),
        access_points: vec![access_point(index, false), access_point(index, true)],
        mtu: 1500,
        addressing: addressing[index],
        departure,
        duplicate_probe: (!plain && rng.u8(0..4) == 0).then(|| millis(rng, 5, 50)),
        on_invalid_ncoa,
        known_link_addresses: Vec::new(),
    };
    let peers = (0..count)
        .filter(|&other| other != index)
        .map(|other| Peer {
            address: router_address(other),
            other_addresses: Vec::new(),
            lla: router_lla(other),
            prefix: prefix(other),
            access_points: vec![access_point(other, false), access_point(other, true)],
            addressing: match addressing[other] {
                Addressing::Assigned { .. } => PeerAddressing::Assigned,
                Addressing::KeepPcoa if rng.bool() => PeerAddressing::Dhcp,
                _ => PeerAddressing::Stateless,
            },
            fast_handover: plain || rng.u8(0..20) > 0,
        })
        .collect();
    let mobile_nodes = (0..mobiles)
        .map(|mobile| HandoverKey {
            pcoa: own_address(mobile, index),
            spi: spi(mobile),
            key: key(mobile, index),
        })
        .collect();
    RouterPlan {
        config: RouterConfig {
            timers: Timers::default(),
            access: vec![access],
            peers,
            mobile_nodes,
            buffering: plain || rng.u8(0..5) > 0,
            limits: Limits::default(),
        },
        reports_stations: rng.bool(),
    }
}

fn mobile_plan(
    index: usize,
    routers: usize,
    lifetime: Duration,
    plain: bool,
    rng: &mut Rng,
) -> MobilePlan {
    let start = rng.usize(0..routers);
    let config = MobileNodeConfig {
        timers: Timers::default(),
        interface: ACCESS,
        lla: mobile_lla(index),
        pcoa: own_address(index, start),
        par: router_address(start),
        current_access_point: Some(access_point(start, false)),
        router_lla: None,
        routers: (0..routers)
            .map(|router| RouterKey {
                router: router_address(router),
                prefix: Some(prefix(router)),
                access_point: None,
                spi: spi(index),
                key: key(index, router),
            })
            .collect(),
        lifetime,
        announcement: match !plain && rng.u8(0..6) == 0 {
            true => Announcement::Fna,
            false => Announcement::Una,
        },
        neighborhood_interval: None,
        silent_router_interval: Some(lifetime),
    };
    let mut at = start;
    let legs = (0..rng.usize(1..=5))
        .map(|_| {
            let leg = leg(at, routers, rng);
            at = leg.to;
            leg
        })
        .collect();
    MobilePlan {
        config,
        start,
        legs,
    }
}

fn leg(at: usize, routers: usize, rng: &mut Rng) -> Leg {
    let other = |rng: &mut Rng| (at + rng.usize(1..routers)) % routers;
    let pause = match rng.u8(0..10) {
        0 => millis(rng, 0, 500),
        1 => millis(rng, 30_000, 70_000),
        _ => millis(rng, 500, 10_000),
    };
    let (manner, to) = match rng.u8(0..16) {
        0..6 => (Manner::Predicted, other(rng)),
        6 | 7 => {
            let patience = millis(rng, 0, 60);
            (Manner::Hasty { patience }, other(rng))
        }
        8..11 => (Manner::Sudden, other(rng)),
        11 | 12 => {
            let given = rng.bool();
            (Manner::Ordered { given }, other(rng))
        }
        13 => {
            let predicted = other(rng);
            (Manner::Astray { predicted }, rng.usize(0..routers))
        }
        14 => {
            let predicted = other(rng);
            (Manner::Stays { predicted }, at)
        }
        _ => (Manner::WithinLink, at),
    };
    Leg {
        pause,
        manner,
        to,
        gap: match rng.u8(0..8) {
            0 => millis(rng, 1000, 2500),
            _ => millis(rng, 0, 400),
        },
    }
}
