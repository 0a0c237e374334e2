//! The predictive handover of RFC 5568 figure 2, and what can go wrong with it.

mod addresses;
mod arrival;
mod assigned;
mod commands;
mod departure;
mod discovery;
mod ending;
mod failed;
mod fback;
mod fbu;
mod figure_2;
mod fna;
mod hack;
mod hi;
mod incapable;
mod kept;
mod limits;
mod loss;
mod naack;
mod neighborhood;
mod newcomer;
mod primitives;
mod probe;
mod reactive;
mod refused;
mod registered;
mod reload;
mod returning;
mod shutdown;
mod solicitation;
mod stories;
mod told;
mod travel;
mod unprepared;
mod unreadable;

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    auth::{Addresses, sign},
    simulation::*,
    *,
};
use crate::wire::{
    ApOutcome, FastBindingAck, FastBindingStatus, FastBindingUpdate, HackCode, HandoverAck,
    HandoverInitiate, HiCode, MacAddr, Message, Naack, NaackStatus, NeighborAdvertisement, Packet,
    PrRtAdv, PrRtAdvCode, RtSolPr,
};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any binding.
const FOREVER: Duration = Duration::from_secs(300);
const ALWAYS: usize = usize::MAX;

/// What leads to the FBU, up to the point where the routers begin to talk.
const ASKING: &[&str] = &["mn: -> rtsolpr", "par: -> prrtadv", "mn: -> fbu"];
const PREPARING: &[&str] = &[
    "par: -> hi",
    "nar: start-buffering",
    "nar: add-proxy-nd",
    "nar: -> hack",
    "par: install-tunnel",
    "par: -> fback", // to the NCoA
    "par: -> fback", // to the PCoA
];
const MOVING: &[&str] = &[
    "mn: hold-uplink",
    "mn: set-default-router",
    "mn: switch-link",
    "mn: -> na",
    "mn: release-uplink",
    "mn: configure-address",
    "nar: remove-proxy-nd",
    "nar: add-neighbor",
    "nar: release-buffer",
    "mn: -> na",
    "mn: -> na",
];
const ENDING: &[&str] = &[
    "nar: remove-buffer",
    "mn: -> na", // the last word: the address is certainly ours
    "par: remove-tunnel",
    "mn: remove-uplink",
];

/// An FBack to the mobile node, as the PAR signs it for this care-of address.
fn fback_to(destination: Ipv6Addr, message: FastBindingAck, care_of: Ipv6Addr) -> Bytes {
    let packet = Packet {
        source: PAR,
        destination,
        hop_limit: 64,
        home_address: None,
        message: Message::FastBindingAck(message),
    };
    sign(packet, SPI, KEY, Addresses { care_of, par: PAR })
}

/// An FBack that grants what was asked for.
fn accepted(sequence: u16) -> FastBindingAck {
    FastBindingAck {
        status: FastBindingStatus::Accepted,
        key_management: false,
        sequence,
        lifetime: 30,
        alternate_coa: None,
        unknown: Vec::new(),
        authorization: None,
    }
}

/// A PrRtAdv with Code 4 from the PAR: what is behind this access point of link `n`.
fn neighborhood(access_point: MacAddr, n: u16, new_coa: Option<Ipv6Addr>) -> Bytes {
    told(PrRtAdvCode::Neighborhood, access_point, n, new_coa)
}

/// A PrRtAdv from the PAR that nobody asked for.
fn told(code: PrRtAdvCode, access_point: MacAddr, n: u16, new_coa: Option<Ipv6Addr>) -> Bytes {
    let tuple = crate::wire::ApTuple {
        access_point,
        outcome: ApOutcome::Known,
        router: Some(crate::wire::RouterInfo {
            lla: link_address(n),
            address: Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1),
            prefix: format!("2001:db8:{n}::/64").parse().unwrap(),
        }),
        new_coa,
    };
    let packet = Packet {
        source: "fe80::1".parse().unwrap(),
        destination: PCOA,
        hop_limit: 255,
        home_address: None,
        message: Message::PrRtAdv(PrRtAdv {
            code,
            identifier: 0,
            source_lla: Some(PAR_LLA),
            tuples: vec![tuple],
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}

/// That of the router of link `n`.
fn link_address(n: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, (n * 0x11) as u8])
}

/// The Router Advertisement of link `n`.
fn advertisement(source: &str, n: u16) -> Bytes {
    let prefix = crate::wire::PrefixInformation {
        prefix: format!("2001:db8:{n}::/64").parse().unwrap(),
        on_link: true,
        autonomous: true,
        valid: 86_400,
        preferred: 14_400,
    };
    let packet = Packet {
        source: source.parse().unwrap(),
        destination: "ff02::1".parse().unwrap(),
        hop_limit: 255,
        home_address: None,
        message: Message::RouterAdvertisement(crate::wire::RouterAdvertisement {
            hop_limit: 64,
            managed: false,
            other: false,
            router_lifetime: 1800,
            reachable_ms: 0,
            retrans_ms: 0,
            source_lla: Some(link_address(n)),
            prefixes: vec![prefix],
            naack: None,
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}

/// Reads one counter.
type Counter = fn(&Counters) -> u64;

/// A handover that a run takes to its end.
fn run_from_impend(simulation: &mut Simulation) -> Instant {
    let start = simulation.now;
    simulation.impend();
    simulation.run(FOREVER);
    start
}

/// A simulation in which the tunnel stands and the mobile node is between two links.
fn between_links() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.count("mn: switch-link"), 1);
    assert_eq!(simulation.count("mn: -> NA"), 0);
    simulation
}

/// An FBU as the mobile node of the simulation makes it, to be changed before it is signed.
struct Fbu {
    source: Ipv6Addr,
    home_address: Option<Ipv6Addr>,
    par: Ipv6Addr,
    sequence: u16,
    lifetime: u16,
    ncoa: Option<Ipv6Addr>,
    spi: u32,
    key: &'static [u8],
    signed: bool,
    ack: bool,
    home: bool,
}

const FBU: Fbu = Fbu {
    source: PCOA,
    home_address: Some(PCOA),
    par: PAR,
    sequence: 1,
    lifetime: 30,
    ncoa: Some(NCOA),
    spi: SPI,
    key: KEY,
    signed: true,
    ack: true,
    home: true,
};

impl Fbu {
    fn bytes(&self) -> Bytes {
        let packet = Packet {
            source: self.source,
            destination: self.par,
            hop_limit: 64,
            home_address: self.home_address,
            message: Message::FastBindingUpdate(FastBindingUpdate {
                sequence: self.sequence,
                ack: self.ack,
                home: self.home,
                link_local: false,
                key_management: false,
                lifetime: self.lifetime,
                alternate_coa: self.ncoa,
                mn_lla: None,
                unknown: Vec::new(),
                authorization: None,
            }),
        };
        if !self.signed {
            return packet.encode();
        }
        let care_of = match self.lifetime {
            0 => self.home_address.unwrap_or(self.source),
            _ => self.ncoa.unwrap_or(self.source),
        };
        let par = self.par;
        sign(packet, self.spi, self.key, Addresses { care_of, par })
    }
}

/// The FBU of a mobile node that is on the NAR's link already.
const FBU_MOVED: Fbu = Fbu {
    source: NCOA,
    ..FBU
};

/// The FBU of the way back, from what was the NAR.
const FBU_BACK: Fbu = Fbu {
    source: NCOA,
    home_address: Some(NCOA),
    par: NAR,
    ncoa: Some(PCOA),
    ..FBU
};

const HI: HandoverInitiate = HandoverInitiate {
    sequence: 7,
    assigned_address: false,
    buffer: true,
    proxy: false,
    forward: false,
    code: HiCode::PcoaSource,
    mn_lla: Some(MN_LLA),
    pcoa: Some(PCOA),
    ncoa: Some(NCOA),
    unknown: Vec::new(),
};

/// The HI of the way back.
const HI_BACK: HandoverInitiate = HandoverInitiate {
    sequence: 7,
    assigned_address: false,
    buffer: true,
    proxy: false,
    forward: false,
    code: HiCode::PcoaSource,
    mn_lla: Some(MN_LLA),
    pcoa: Some(NCOA),
    ncoa: Some(PCOA),
    unknown: Vec::new(),
};

/// An HI to the NAR or, from there, to the PAR.
fn hi(source: Ipv6Addr, message: HandoverInitiate) -> Bytes {
    let packet = Packet {
        source,
        destination: if source == NAR { PAR } else { NAR },
        hop_limit: 64,
        home_address: None,
        message: Message::HandoverInitiate(message),
    };
    packet.encode()
}

fn hack(source: Ipv6Addr, sequence: u16, code: HackCode, ncoa: Option<Ipv6Addr>) -> Bytes {
    let packet = Packet {
        source,
        destination: PAR,
        hop_limit: 64,
        home_address: None,
        message: Message::HandoverAck(HandoverAck {
            sequence,
            code,
            ncoa,
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}

fn una(ncoa: Ipv6Addr, lla: MacAddr) -> Packet {
    Packet {
        source: ncoa,
        destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        hop_limit: 255,
        home_address: None,
        message: Message::NeighborAdvertisement(NeighborAdvertisement::unsolicited(ncoa, lla)),
    }
}

fn rtsolpr(access_points: Vec<MacAddr>) -> Packet {
    Packet {
        source: PCOA,
        destination: PAR,
        hop_limit: 255,
        home_address: None,
        message: Message::RtSolPr(RtSolPr {
            identifier: 77,
            source_lla: Some(MN_LLA),
            access_points,
            unknown: Vec::new(),
        }),
    }
}

/// The codes of the HAcks that the NAR sent.
fn hack_codes(simulation: &Simulation) -> Vec<HackCode> {
    let code = |(_, packet): (_, Packet)| match packet.message {
        Message::HandoverAck(hack) => hack.code,
        other => unreachable!("only HAcks were asked for, not {other:?}"),
    };
    simulation.messages(Node::Nar, "HAck").map(code).collect()
}

/// The FBacks that the PAR sent, and to whom.
fn fbacks(simulation: &Simulation) -> Vec<(Ipv6Addr, FastBindingAck)> {
    let fback = |(_, packet): (_, Packet)| match packet.message {
        Message::FastBindingAck(fback) => (packet.destination, fback),
        other => unreachable!("only FBacks were asked for, not {other:?}"),
    };
    simulation.messages(Node::Par, "FBack").map(fback).collect()
}

/// The HIs that the PAR sent, and to whom.
fn his(simulation: &Simulation) -> Vec<(Ipv6Addr, HandoverInitiate)> {
    let hi = |(_, packet): (_, Packet)| match packet.message {
        Message::HandoverInitiate(hi) => (packet.destination, hi),
        other => unreachable!("only HIs were asked for, not {other:?}"),
    };
    simulation.messages(Node::Par, "HI").map(hi).collect()
}

/// The NAR's answer to the last HI, whether it heard that or not.
fn answer(simulation: &mut Simulation, code: HackCode, ncoa: Option<Ipv6Addr>) {
    let (_, hi) = his(simulation).pop().expect("an HI was sent");
    simulation.inject(Node::Par, CORE, hack(NAR, hi.sequence, code, ncoa));
}

fn statuses(simulation: &Simulation) -> Vec<FastBindingStatus> {
    let fbacks = fbacks(simulation);
    fbacks.into_iter().map(|(_, fback)| fback.status).collect()
}

/// What was ordered of the data path and the kernel.
fn commands(simulation: &Simulation) -> Vec<Command> {
    let command = |(_, _, output): &(Instant, Node, Output)| match output {
        Output::Command(Command::StoreSequence { .. }) => None,
        Output::Command(command) => Some(command.clone()),
        _ => None,
    };
    simulation.log.iter().filter_map(command).collect()
}

/// The last event of the mobile node that tells of a failed handover.
fn last_failure(simulation: &Simulation) -> String {
    last_event(simulation, "handover-failed")
}

/// The last event of that name of the mobile node.
fn last_event(simulation: &Simulation, name: &str) -> String {
    let is_it = |event: &String| event.contains(&format!("\"event\":\"{name}\""));
    let events = simulation.events(Node::Mn);
    events.into_iter().rfind(is_it).expect("there was one")
}

/// A PAR that hears this message, and what it counted.
fn par_hears(bytes: Bytes) -> Simulation {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, bytes);
    simulation
}

/// A NAR that hears this message over the core.
fn nar_hears(bytes: Bytes) -> Simulation {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Nar, CORE, bytes);
    simulation
}

/// A simulation whose NAR is configured otherwise.
fn nar_with(change: impl FnOnce(&mut RouterConfig)) -> Simulation {
    let mut nar = router_config(true);
    change(&mut nar);
    Simulation::with(mobile_node_config(), router_config(false), nar)
}

/// The HAcks that the NAR sent.
fn hacks(simulation: &Simulation) -> Vec<(HackCode, Option<Ipv6Addr>)> {
    let hack = |(_, packet): (_, Packet)| match packet.message {
        Message::HandoverAck(hack) => (hack.code, hack.ncoa),
        other => unreachable!("only HAcks were asked for, not {other:?}"),
    };
    simulation.messages(Node::Nar, "HAck").map(hack).collect()
}

/// The NAACKs that the NAR sent: to which address, in a frame to whom.
fn naacks(simulation: &Simulation) -> Vec<(Ipv6Addr, Option<MacAddr>, Naack)> {
    let naack = |(_, node, output): &(Instant, Node, Output)| {
        let Output::Transmit(transmit) = output else {
            return None;
        };
        let packet = Packet::decode(&transmit.bytes).expect("what we send can be read");
        match packet.message {
            Message::RouterAdvertisement(message) if *node == Node::Nar => {
                let naack = message.naack.expect("it has no other reason to advertise");
                Some((packet.destination, transmit.link_destination, naack))
            }
            _ => None,
        }
    };
    simulation.log.iter().filter_map(naack).collect()
}

/// In frames to whom a node sent its messages.
fn framed_to(simulation: &Simulation, sender: Node) -> Vec<Option<MacAddr>> {
    let framed = |(_, node, output): &(Instant, Node, Output)| match output {
        Output::Transmit(transmit) if *node == sender => Some(transmit.link_destination),
        _ => None,
    };
    simulation.log.iter().filter_map(framed).collect()
}

fn assert_nothing_changed(simulation: &Simulation) {
    assert_eq!(commands(simulation), []);
    simulation.assert_clean();
}
