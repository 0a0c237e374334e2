//! Stories of a mobile node: its links come and go as the script says, and routers answer it
//! rightly, wrongly, or not at all.

use std::{collections::VecDeque, net::Ipv6Addr, time::Duration};

use fmip_ctl::{
    proto::{
        Admin, Announcement, Input, Instant, LinkEvent, MobileNode, MobileNodeConfig, RouterKey,
        Timers,
        auth::{self, Addresses},
    },
    wire::{
        ApOutcome, ApTuple, FastBindingAck, FastBindingStatus, FastBindingUpdate, MacAddr, Message,
        Naack, NaackStatus, NeighborAdvertisement, NeighborSolicitation, Packet, PrRtAdv,
        PrRtAdvCode, Prefix, PrefixInformation, RouterAdvertisement, RouterInfo,
    },
};

use super::{
    script::Script,
    stage::{Objections, Stage},
};

const INTERFACE: u32 = 1;
const LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const SPI: u32 = 0x100;
const KEY: &[u8] = b"a key of twenty byte";
const OTHER_KEY: &[u8] = b"another of twenty by";
const SECOND: Duration = Duration::from_secs(1);

/// The commands that may fail; what undoes something always succeeds.
const FALLIBLE: [&str; 5] = [
    "hold-uplink",
    "release-uplink",
    "switch-link",
    "configure-address",
    "set-default-router",
];

fn router(link: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, link, 0, 0, 0, 0, 1)
}

fn prefix(link: u16) -> Prefix {
    Prefix::new(router(link), 64).expect("a length of 64")
}

fn router_link_local(link: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, link)
}

fn router_lla(link: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, link as u8])
}

fn access_point(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 2, number])
}

fn own_address(link: u16) -> Ipv6Addr {
    prefix(link).address_from_iid(LLA.modified_eui64())
}

/// Addresses that a message may speak of.
fn addresses() -> [Ipv6Addr; 9] {
    [
        own_address(1),
        own_address(2),
        own_address(3),
        Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x8001),
        router(1),
        router(2),
        Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 9),
        Ipv6Addr::UNSPECIFIED,
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    ]
}

fn config(script: &mut Script<'_>) -> MobileNodeConfig {
    let key = |link: u16, script: &mut Script<'_>| RouterKey {
        router: router(link),
        prefix: script.maybe(&[prefix(link)]),
        access_point: None,
        spi: SPI,
        key: KEY.to_vec(),
    };
    MobileNodeConfig {
        timers: Timers::default(),
        interface: INTERFACE,
        lla: LLA,
        pcoa: own_address(1),
        par: router(1),
        current_access_point: script.maybe(&[access_point(1)]),
        router_lla: None,
        routers: vec![key(1, script), key(2, script)],
        lifetime: Duration::from_secs(script.pick(&[30, 1, 65_535])),
        announcement: script.pick(&[Announcement::Una, Announcement::Fna]),
        neighborhood_interval: None,
        silent_router_interval: Some(Duration::from_secs(5)),
    }
}

/// Counts what must not be sent too often.
#[derive(Debug, Default)]
struct Rate {
    /// When the last RtSolPrs were sent.
    solicited: VecDeque<Instant>,
}

impl Objections for Rate {
    /// RTS-08.
    fn on_transmit(&mut self, now: Instant, packet: &Packet) {
        if !matches!(packet.message, Message::RtSolPr(_)) {
            return;
        }
        let limit = Timers::default().max_rtsolpr_rate as usize;
        self.solicited.push_back(now);
        while self.solicited.front().is_some_and(|at| *at + SECOND <= now) {
            self.solicited.pop_front();
        }
        assert!(
            self.solicited.len() <= limit,
            "{} RtSolPrs in one second",
            self.solicited.len()
        );
    }
}

type Node = Stage<MobileNode, Rate>;

/// Plays a script.
pub fn run(data: &[u8]) {
    let script = &mut Script::new(data);
    let machine = MobileNode::new(config(script), 41);
    let own = machine.status().care_of;
    let mut node = Stage::new(machine, Rate::default());
    node.has_address(own);
    while !script.is_over() {
        step(&mut node, script);
    }
    node.end();
}

fn step(node: &mut Node, script: &mut Script<'_>) {
    match script.octet() % 24 {
        which @ 0..10 => node.play(which, script, &FALLIBLE),
        10..14 => {
            let access_point = access_point(script.pick(&[1, 2, 3, 0x11, 9]));
            let which = script.octet();
            let address = own_address(u16::from(access_point.0[5]));
            if which == 253 {
                let care_of = address;
                return node.input(Input::Admin(Admin::Registered { care_of }));
            }
            if which == 254 {
                return node.input(Input::AddressConfirmed { address });
            }
            node.input(Input::Link(match which {
                u8::MAX => LinkEvent::LinkGoingDown,
                which if which % 4 == 0 => LinkEvent::HandoverImpend { access_point },
                which if which % 4 == 1 => LinkEvent::LinkUp { access_point },
                which if which % 4 == 2 => LinkEvent::LinkDown,
                _ => LinkEvent::NewLinkDetected { access_point },
            }));
        }
        14..17 => receive(node, &prrtadv(node, script)),
        17..20 => {
            let packet = fback(node, script);
            node.receive(INTERFACE, router_lla(1), packet);
        }
        20..22 => receive(node, &ra(script)),
        22 => receive(node, &na(node, script)),
        _ => {
            let address = script.pick(&addresses());
            node.input(Input::Drained { address });
        }
    }
}

fn receive(node: &mut Node, packet: &Packet) {
    node.receive(INTERFACE, router_lla(1), packet.encode());
}

/// An answer to the last RtSolPr, or something unasked.
fn prrtadv(node: &Node, script: &mut Script<'_>) -> Packet {
    let how = script.octet();
    let asked = node.sent.iter().find_map(|packet| match &packet.message {
        Message::RtSolPr(rtsolpr) => Some(rtsolpr),
        _ => None,
    });
    let identifier = match (how & 3, asked) {
        (0 | 1, Some(rtsolpr)) => rtsolpr.identifier,
        (3, _) => script.number(),
        _ => 0,
    };
    let count = 1 + (how >> 2) % 3;
    let tuples = (0..count)
        .map(|_| {
            let what = script.octet();
            let link = 1 + u16::from(what & 3);
            let known = [
                access_point(link as u8),
                access_point(0x11),
                access_point(9),
            ];
            ApTuple {
                access_point: known[usize::from((what >> 2) & 3).min(2)],
                outcome: match (what >> 4) & 7 {
                    0..4 => ApOutcome::Known,
                    4 => ApOutcome::SameInterface,
                    5 => ApOutcome::NoPrefix,
                    6 => ApOutcome::NoFastHandover,
                    _ => ApOutcome::Other(8),
                },
                router: (what < 0xc0).then(|| RouterInfo {
                    lla: router_lla(link),
                    address: router(link),
                    prefix: prefix(link),
                }),
                new_coa: match what & 0x80 {
                    0 => None,
                    _ => script.maybe(&addresses()),
                },
            }
        })
        .collect();
    Packet {
        source: script.pick(&[router_link_local(1), router_link_local(2), router(1)]),
        destination: own_address(1),
        hop_limit: 255,
        home_address: None,
        message: Message::PrRtAdv(PrRtAdv {
            code: PrRtAdvCode::from(script.pick(&[0, 1, 2, 3, 4, 5, 6])),
            identifier,
            source_lla: Some(router_lla(1)),
            tuples,
            unknown: Vec::new(),
        }),
    }
}

/// The FBU in a packet, be it in an FNA.
fn fbu_in(packet: &Packet) -> Option<(Packet, FastBindingUpdate)> {
    match &packet.message {
        Message::FastBindingUpdate(fbu) => Some((packet.clone(), fbu.clone())),
        Message::FastNeighborAdvertisement(fna) => {
            fbu_in(&Packet::decode(fna.fbu.as_ref()?).expect("what we send can be read"))
        }
        _ => None,
    }
}

/// An answer to the last FBU, or to none.
fn fback(node: &Node, script: &mut Script<'_>) -> bytes::Bytes {
    let how = script.octet();
    let asked = node.sent.iter().find_map(fbu_in);
    let status = script.pick(&[0, 1, 128, 129, 130, 131, 135, 2, 255]);
    let alternate_coa = match how & 7 {
        0..3 => None,
        3 => Some(own_address(1)),
        4 => Some(own_address(2)),
        _ => script.maybe(&addresses()),
    };
    let (par, destination, sequence, asked_for) = match asked {
        Some((packet, fbu)) if how & 8 == 0 => {
            let care_of = match fbu.lifetime {
                0 => own_address(1),
                _ => fbu.alternate_coa.unwrap_or(packet.source),
            };
            (packet.destination, packet.source, fbu.sequence, care_of)
        }
        _ => (router(1), own_address(1), script.number(), own_address(2)),
    };
    let packet = Packet {
        source: par,
        destination,
        hop_limit: 64,
        home_address: None,
        message: Message::FastBindingAck(FastBindingAck {
            status: FastBindingStatus::from(status),
            key_management: false,
            sequence,
            lifetime: script.pick(&[30, 0, 1, 65_535]),
            alternate_coa,
            unknown: Vec::new(),
            authorization: None,
        }),
    };
    // AMB-16.
    let care_of = alternate_coa.unwrap_or(asked_for);
    let addresses = Addresses { care_of, par };
    match (how >> 4) & 7 {
        7 => packet.encode(),
        6 => auth::sign(packet, SPI, OTHER_KEY, addresses),
        _ => auth::sign(packet, SPI, KEY, addresses),
    }
}

/// A router says which link this is, and perhaps what it thinks of the NCoA.
fn ra(script: &mut Script<'_>) -> Packet {
    let how = script.octet();
    let link = 1 + u16::from(how & 3);
    let status = NaackStatus::from(script.pick(&[0, 1, 2, 3, 4, 128, 5]));
    let supplied = match own_address(link) {
        own if how & 0x10 == 0 => own,
        _ => script.pick(&addresses()[..7]),
    };
    let naack = Naack {
        status,
        ncoa: (status == NaackStatus::UseSupplied || how & 0x20 != 0).then_some(supplied),
    };
    Packet {
        source: router_link_local(link),
        destination: match how & 0x40 {
            0 => own_address(link),
            _ => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        },
        hop_limit: 255,
        home_address: None,
        message: Message::RouterAdvertisement(RouterAdvertisement {
            hop_limit: 64,
            managed: how & 4 != 0,
            other: false,
            router_lifetime: script.pick(&[1800, 0]),
            reachable_ms: 0,
            retrans_ms: 0,
            source_lla: script.maybe(&[router_lla(link)]),
            prefixes: vec![PrefixInformation {
                prefix: script.pick(&[prefix(link), prefix(9), "::/0".parse().expect("a prefix")]),
                on_link: true,
                autonomous: how & 8 == 0,
                valid: script.pick(&[86_400, 0, 30]),
                preferred: 30,
            }],
            naack: (status.value() != 0).then_some(naack),
            unknown: Vec::new(),
        }),
    }
}

/// Somebody has, or wants, an address; mostly the one that was probed for.
fn na(node: &Node, script: &mut Script<'_>) -> Packet {
    let probed = node.sent.iter().find_map(|packet| match &packet.message {
        Message::NeighborSolicitation(ns) => Some(ns.target),
        _ => None,
    });
    let target = probed.unwrap_or_else(|| script.pick(&addresses()[..7]));
    let how = script.octet();
    let message = match how & 1 {
        0 => Message::NeighborAdvertisement(NeighborAdvertisement {
            router: how & 2 != 0,
            solicited: how & 4 != 0,
            override_: how & 8 != 0,
            target,
            target_lla: script.maybe(&[LLA, MacAddr([2, 0, 0, 0, 0, 9])]),
            unknown: Vec::new(),
        }),
        _ => Message::NeighborSolicitation(NeighborSolicitation::probe(target)),
    };
    Packet {
        source: router(2),
        destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        hop_limit: 255,
        home_address: None,
        message,
    }
}
