//! Stories of an access router: every message in every state, from mobile nodes that have keys and
//! from anybody.

use std::{collections::BTreeSet, net::Ipv6Addr, time::Duration};

use bytes::Bytes;
use fmip_ctl::{
    proto::{
        AccessLink, AccessRouter, Addressing, Admin, Command, Departure, HandoverKey, Input,
        Instant, Limits, OnInvalidNcoa, Peer, PeerAddressing, RouterConfig, StationEvent, Timers,
        auth::{self, Addresses},
    },
    wire::{
        BindingError, FastBindingUpdate, FastNeighborAdvertisement, HackCode, HandoverAck,
        HandoverInitiate, HiCode, MacAddr, Message, NeighborAdvertisement, NeighborSolicitation,
        Packet, ParameterProblem, Prefix, RouterSolicitation, RtSolPr, solicited_node,
    },
};

use super::{
    script::Script,
    stage::{Objections, Stage},
};

const CORE: u32 = 3;
const SPI: u32 = 0x100;
/// Few, so that a script can reach the limit.
const MAX_HANDOVERS: usize = 4;
const LIFETIMES: [u16; 6] = [30, 0, 1, 60, 300, 65_535];

/// The commands that may fail; what undoes something always succeeds.
const FALLIBLE: [&str; 8] = [
    "install-tunnel",
    "start-buffering",
    "start-copying",
    "release-buffer",
    "add-proxy-nd",
    "add-neighbor",
    "add-host-route",
    "store-sequence",
];

/// The routers: 1 and 4 are links of ours, 2 and 3 are neighbors.
fn router_address(link: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, link, 0, 0, 0, 0, 1)
}

fn prefix(link: u16) -> Prefix {
    Prefix::new(router_address(link), 64).expect("a length of 64")
}

fn link_local(link: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, link)
}

fn router_lla(link: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, link as u8])
}

fn access_point(link: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, 2, link as u8])
}

fn mobile_lla(mobile: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, mobile])
}

/// The address that a mobile node makes itself on a link.
fn own_address(mobile: u8, link: u16) -> Ipv6Addr {
    prefix(link).address_from_iid(mobile_lla(mobile).modified_eui64())
}

/// The key for an address: each has its own (SEC-08).
fn key(pcoa: Ipv6Addr) -> Vec<u8> {
    [&b"key:"[..], &pcoa.octets()].concat()
}

/// Addresses that a message may speak of.
fn addresses(mobile: u8) -> [Ipv6Addr; 12] {
    [
        own_address(mobile, 1),
        own_address(mobile, 2),
        own_address(mobile, 3),
        own_address(mobile, 4),
        own_address(mobile ^ 1, 1),
        own_address(mobile ^ 1, 2),
        router_address(1),
        router_address(2),
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x8001),
        Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 9),
        Ipv6Addr::UNSPECIFIED,
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    ]
}

fn config(script: &mut Script<'_>) -> RouterConfig {
    let addressing = |choice| match choice {
        0 => Addressing::Stateless,
        1 => Addressing::Assigned {
            // Two addresses: soon used up.
            pool: "2001:db8:1::8000/127".parse().expect("a prefix"),
        },
        _ => Addressing::KeepPcoa,
    };
    let (window, lifetime) = (Duration::from_millis(200), Duration::from_secs(2));
    let departures = [
        Departure::Ignore,
        Departure::Hold { lifetime },
        Departure::Copy { window, lifetime },
    ];
    let answers = [
        OnInvalidNcoa::Silent,
        OnInvalidNcoa::Configure,
        OnInvalidNcoa::Assign,
        OnInvalidNcoa::UseRouterAddress,
    ];
    let peers = [
        PeerAddressing::Stateless,
        PeerAddressing::Assigned,
        PeerAddressing::Dhcp,
    ];
    let link = |link: u16, addressing, script: &mut Script<'_>| AccessLink {
        interface: if link == 1 { 1 } else { 2 },
        address: router_address(link),
        link_local: link_local(link),
        lla: router_lla(link),
        prefix: prefix(link),
        access_points: vec![access_point(link)],
        mtu: script.pick(&[1280, 1500]),
        addressing,
        departure: script.pick(&departures),
        duplicate_probe: script.maybe(&[Duration::from_millis(50)]),
        on_invalid_ncoa: script.pick(&answers),
        known_link_addresses: script.pick(&[vec![], vec![mobile_lla(0), mobile_lla(1)]]),
    };
    let peer = |link: u16, script: &mut Script<'_>| Peer {
        address: router_address(link),
        lla: router_lla(link),
        prefix: prefix(link),
        access_points: vec![access_point(link)],
        other_addresses: vec![Ipv6Addr::new(0x2001, 0xdb8, 0xf0, 0, 0, 0, 0, link)],
        addressing: script.pick(&peers),
        fast_handover: true,
    };
    let mobile_nodes = (0..3u8)
        .flat_map(|mobile| [1, 4].map(|link| (mobile, link)))
        .map(|(mobile, link)| own_address(mobile, link))
        .map(|pcoa| HandoverKey {
            pcoa,
            spi: SPI,
            key: key(pcoa),
        })
        .collect();
    let ours = addressing(script.octet() % 3);
    RouterConfig {
        timers: Timers::default(),
        access: vec![
            link(1, ours, script),
            link(4, Addressing::Stateless, script),
        ],
        peers: vec![peer(2, script), peer(3, script)],
        mobile_nodes,
        buffering: !script.flag(),
        limits: Limits {
            max_handovers: MAX_HANDOVERS,
            max_per_peer: 3,
            max_per_link: 3,
            signalling_per_source: script.pick(&[100, 3]),
        },
    }
}

/// Knows which addresses were asked to be redirected by who may.
#[derive(Debug, Default)]
struct Authority {
    pcoas: BTreeSet<Ipv6Addr>,
}

impl Objections for Authority {
    fn on_command(&mut self, now: Instant, command: &Command) {
        let Command::InstallTunnel {
            pcoa,
            ncoa,
            expires,
            ..
        } = *command
        else {
            return;
        };
        assert!(
            self.pcoas.contains(&pcoa),
            "{pcoa} is redirected, and nobody with its key asked for it"
        );
        assert!(
            [1, 2, 3, 4].iter().any(|link| prefix(*link).contains(ncoa)),
            "{pcoa} is redirected to {ncoa}, which is in no neighbor's prefix"
        );
        assert!(expires <= now + Timers::default().max_binding_lifetime);
    }
}

type Router = Stage<AccessRouter, Authority>;

/// Plays a script.
pub fn run(data: &[u8]) {
    let script = &mut Script::new(data);
    let config = config(script);
    let mut router = Stage::new(AccessRouter::new(config.clone(), 100), Authority::default());
    let mut play = Play {
        config,
        sequence: 0,
    };
    while !script.is_over() {
        play.step(&mut router, script);
        let handovers = router.machine.handovers().len();
        assert!(handovers <= MAX_HANDOVERS, "{handovers} handovers");
    }
    router.end();
}

struct Play {
    config: RouterConfig,
    /// That of the last FBU.
    sequence: u16,
}

impl Play {
    fn step(&mut self, router: &mut Router, script: &mut Script<'_>) {
        match script.octet() % 32 {
            which @ 0..10 => router.play(which, script, &FALLIBLE),
            10..13 => {
                let (interface, packet) = self.fbu(router, script);
                router.receive(interface, mobile_lla(0), packet);
            }
            13..15 => {
                let packet = hi(script);
                router.receive(CORE, router_lla(2), packet.encode());
            }
            15..18 => {
                let packet = hack(router, script);
                router.receive(CORE, router_lla(2), packet.encode());
            }
            18..20 => {
                let (mobile, packet) = na(script);
                let interface = script.pick(&[1, 2]);
                router.receive(interface, mobile_lla(mobile), packet.encode());
            }
            20 => {
                let (mobile, packet) = rtsolpr(script);
                router.receive(1, mobile_lla(mobile), packet.encode());
            }
            21..23 => self.fna(router, script),
            23 => {
                let packet = trouble(router, script);
                router.receive(CORE, router_lla(2), packet.encode());
            }
            24 => {
                let packet = solicitation(script);
                router.receive(1, mobile_lla(0), packet.encode());
            }
            25..28 => {
                let mobile = script.octet() & 3;
                let (interface, link) = script.pick(&[(1, 1), (2, 4)]);
                let address = own_address(mobile, link);
                router.input(Input::Station(match script.flag() {
                    true => StationEvent::Attached {
                        interface,
                        address,
                        link_address: mobile_lla(mobile),
                    },
                    false => StationEvent::Departed { interface, address },
                }));
            }
            28 => {
                let pcoa = script.pick(&addresses(0));
                let access_point = access_point(script.pick(&[2, 3, 4, 9]));
                let ncoa = script.maybe(&addresses(0));
                router.input(Input::Admin(Admin::Handover {
                    pcoa,
                    access_point,
                    ncoa,
                }));
            }
            29 => {
                let pcoa = script.pick(&addresses(0));
                router.input(Input::Admin(Admin::Advertise { pcoa }));
            }
            30 => {
                let address = script.pick(&addresses(0));
                router.input(Input::Drained { address });
            }
            _ => {
                self.config = config(script);
                let now = router.now;
                router.machine.reload(now, self.config.clone());
                // What follows from it at once comes with the next step.
                router.pass(Duration::ZERO);
            }
        }
    }

    /// An FBU, mostly as a mobile node makes it, and where it arrives.
    fn fbu(&mut self, router: &mut Router, script: &mut Script<'_>) -> (u32, Bytes) {
        let (who, how) = (script.octet(), script.octet());
        let mobile = who & 3;
        let home = own_address(mobile, if who & 4 == 0 { 1 } else { 4 });
        let par = router_address(if who & 8 == 0 { 1 } else { 4 });
        // From the PCoA, from the NCoA, from anywhere.
        let source = match (who >> 4) & 3 {
            0 | 1 => home,
            2 => own_address(mobile, 2),
            _ => script.pick(&addresses(mobile)),
        };
        let alternate_coa = match how & 3 {
            0 => Some(own_address(mobile, 2)),
            1 => Some(own_address(mobile, 3)),
            2 => None,
            _ => script.maybe(&addresses(mobile)),
        };
        self.sequence = match (how >> 2) & 3 {
            0 | 1 => self.sequence.wrapping_add(1),
            2 => self.sequence,
            _ => script.number(),
        };
        let lifetime = script.pick(&LIFETIMES);
        let packet = Packet {
            source,
            destination: par,
            hop_limit: 64,
            home_address: Some(home),
            message: Message::FastBindingUpdate(FastBindingUpdate {
                sequence: self.sequence,
                ack: how & 0x10 == 0,
                home: true,
                link_local: false,
                key_management: false,
                lifetime,
                alternate_coa,
                mn_lla: (how & 0x20 != 0).then(|| mobile_lla(mobile)),
                unknown: Vec::new(),
                authorization: None,
            }),
        };
        let care_of = match lifetime {
            0 => home, // MOV-07
            _ => alternate_coa.unwrap_or(source),
        };
        let interface = if source == home { 1 } else { CORE };
        let addresses = Addresses { care_of, par };
        let bytes = match how >> 6 {
            0 | 1 => {
                router.objections.pcoas.insert(home);
                auth::sign(packet, SPI, &key(home), addresses)
            }
            // As another mobile node would.
            2 => auth::sign(packet, SPI, &key(own_address(mobile ^ 1, 1)), addresses),
            _ => packet.encode(),
        };
        (interface, bytes)
    }

    /// An FNA, with an FBU or without.
    fn fna(&mut self, router: &mut Router, script: &mut Script<'_>) {
        let mobile = script.octet() & 3;
        let link = script.pick(&[1, 4]);
        let fbu = match script.octet() % 4 {
            0 => None,
            1 | 2 => Some(self.fbu(router, script).1),
            _ => Some(hi(script).encode()),
        };
        let packet = Packet {
            source: script.pick(&[own_address(mobile, link), own_address(mobile ^ 1, link)]),
            destination: router_address(link),
            hop_limit: 64,
            home_address: None,
            message: Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
                mn_lla: script.maybe(&[mobile_lla(mobile), mobile_lla(mobile ^ 1)]),
                unknown: Vec::new(),
                fbu,
            }),
        };
        let interface = if link == 1 { 1 } else { 2 };
        router.receive(interface, mobile_lla(mobile), packet.encode());
    }
}

/// Where a neighbor writes from.
fn neighbor(script: &mut Script<'_>) -> Ipv6Addr {
    script.pick(&[
        router_address(2),
        router_address(3),
        Ipv6Addr::new(0x2001, 0xdb8, 0xf0, 0, 0, 0, 0, 2),
        Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 9),
    ])
}

fn hi(script: &mut Script<'_>) -> Packet {
    let (who, how) = (script.octet(), script.octet());
    let mobile = who & 3;
    let code = if how & 1 == 0 { 0 } else { script.octet() };
    Packet {
        source: neighbor(script),
        destination: router_address(if who & 4 == 0 { 1 } else { 4 }),
        hop_limit: 64,
        home_address: None,
        message: Message::HandoverInitiate(HandoverInitiate {
            sequence: script.octet().into(),
            assigned_address: how & 2 != 0,
            buffer: how & 4 == 0,
            proxy: how & 0x18 == 0x18,
            forward: how & 0x30 == 0x30,
            code: HiCode::from(code),
            mn_lla: (how & 0xc0 != 0xc0).then(|| mobile_lla(mobile)),
            pcoa: match who >> 6 {
                0 | 1 => Some(own_address(mobile, 2)),
                2 => Some(own_address(mobile, 3)),
                _ => script.maybe(&addresses(mobile)),
            },
            ncoa: match (who >> 4) & 3 {
                0 | 1 => Some(own_address(mobile, if who & 4 == 0 { 1 } else { 4 })),
                2 => None,
                _ => script.maybe(&addresses(mobile)),
            },
            unknown: Vec::new(),
        }),
    }
}

/// An answer to the last HI that was sent, or to none.
fn hack(router: &Router, script: &mut Script<'_>) -> Packet {
    let how = script.octet();
    let asked = router.sent.iter().find_map(|packet| match &packet.message {
        Message::HandoverInitiate(hi) => Some((packet.source, packet.destination, hi.sequence)),
        _ => None,
    });
    let (us, peer, sequence) = match asked {
        Some(asked) if how & 7 != 0 => asked,
        _ => (router_address(1), neighbor(script), script.number()),
    };
    let code = script.pick(&[0, 1, 2, 3, 4, 128, 129, 130, 5, 255]);
    let mobile = (how >> 3) & 3;
    Packet {
        source: peer,
        destination: us,
        hop_limit: 64,
        home_address: None,
        message: Message::HandoverAck(HandoverAck {
            sequence,
            code: HackCode::from(code),
            ncoa: match how >> 5 {
                0..4 => None,
                4 | 5 => Some(own_address(mobile, 2)),
                _ => script.maybe(&addresses(mobile)),
            },
            unknown: Vec::new(),
        }),
    }
}

/// A UNA mostly, or what defends an address.
fn na(script: &mut Script<'_>) -> (u8, Packet) {
    let how = script.octet();
    let mobile = how & 3;
    let target = match (how >> 2) & 3 {
        0 | 1 => own_address(mobile, 1),
        2 => own_address(mobile, 4),
        _ => script.pick(&addresses(mobile)),
    };
    // The formats know no other target.
    let target = match target.is_multicast() || target.is_unspecified() {
        true => router_address(1),
        false => target,
    };
    let flags = if how & 0x10 == 0 { 0 } else { script.octet() };
    let lla = match (how >> 5) & 3 {
        3 => None,
        2 => Some(mobile_lla(mobile ^ 1)),
        _ => Some(mobile_lla(mobile)),
    };
    let packet = Packet {
        source: target,
        destination: match how >> 7 {
            0 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
            _ => router_address(1),
        },
        hop_limit: 255,
        home_address: None,
        message: Message::NeighborAdvertisement(NeighborAdvertisement {
            router: flags & 1 != 0,
            solicited: flags & 2 != 0,
            override_: flags & 4 != 0,
            target,
            target_lla: lla,
            unknown: Vec::new(),
        }),
    };
    (mobile, packet)
}

fn rtsolpr(script: &mut Script<'_>) -> (u8, Packet) {
    let mobile = script.octet() & 3;
    let count = script.octet() % 4;
    let access_points = (0..count)
        .map(|_| access_point(script.pick(&[1, 2, 3, 4, 9])))
        .collect();
    let packet = Packet {
        source: own_address(mobile, 1),
        destination: script.pick(&[router_address(1), link_local(1)]),
        hop_limit: 255,
        home_address: None,
        message: Message::RtSolPr(RtSolPr {
            identifier: script.octet().into(),
            source_lla: script.maybe(&[mobile_lla(mobile)]),
            access_points,
            unknown: Vec::new(),
        }),
    };
    (mobile, packet)
}

/// A Binding Error or a Parameter Problem about what was sent, or about nothing.
fn trouble(router: &Router, script: &mut Script<'_>) -> Packet {
    let how = script.octet();
    let about = router
        .sent
        .iter()
        .find(|packet| matches!(packet.message, Message::HandoverInitiate(_)));
    let (source, destination) = match about {
        Some(packet) => (packet.destination, packet.source),
        None => (router_address(2), router_address(1)),
    };
    let message = if how & 1 == 0 {
        Message::BindingError(BindingError {
            status: script.pick(&[2, 1, 0, 255]),
            home_address: Ipv6Addr::UNSPECIFIED,
        })
    } else {
        let invoking = match about {
            Some(packet) => packet.encode(),
            None => script.string(),
        };
        let len = invoking.len();
        Message::ParameterProblem(ParameterProblem {
            code: script.octet() % 4,
            pointer: script.octet().into(),
            // Cut short now and then.
            invoking: match how & 2 {
                0 => invoking,
                _ => invoking.slice(..usize::from(script.octet()).min(len)),
            },
        })
    };
    Packet {
        source,
        destination,
        hop_limit: 64,
        home_address: None,
        message,
    }
}

/// What a router hears that is not for its fast handovers.
fn solicitation(script: &mut Script<'_>) -> Packet {
    let mobile = script.octet() & 3;
    let target = own_address(mobile, 1);
    let (source, destination, message) = match script.octet() % 3 {
        0 => (
            Ipv6Addr::UNSPECIFIED,
            solicited_node(target),
            Message::NeighborSolicitation(NeighborSolicitation::probe(target)),
        ),
        1 => (
            link_local(0x11),
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
            Message::RouterSolicitation(RouterSolicitation {
                source_lla: Some(mobile_lla(mobile)),
                unknown: Vec::new(),
            }),
        ),
        _ => (
            target,
            router_address(1),
            Message::NeighborSolicitation(NeighborSolicitation::probe(router_address(1))),
        ),
    };
    Packet {
        source,
        destination,
        hop_limit: 255,
        home_address: None,
        message,
    }
}
