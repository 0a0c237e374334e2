//! The predictive handover of RFC 5568 figure 2, and what can go wrong with it.

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
    HandoverInitiate, HiCode, Message, NeighborAdvertisement, Packet, PrRtAdv, PrRtAdvCode,
    RtSolPr,
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
    "par: remove-tunnel",
    "mn: remove-uplink",
];

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
            0 => self.source,
            _ => self.ncoa.unwrap_or(self.source),
        };
        let par = self.par;
        sign(packet, self.spi, self.key, Addresses { care_of, par })
    }
}

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

fn statuses(simulation: &Simulation) -> Vec<FastBindingStatus> {
    let fbacks = fbacks(simulation);
    fbacks.into_iter().map(|(_, fback)| fback.status).collect()
}

fn commands(simulation: &Simulation) -> Vec<Command> {
    let command = |(_, _, output): &(Instant, Node, Output)| match output {
        Output::Command(command) => Some(command.clone()),
        _ => None,
    };
    simulation.log.iter().filter_map(command).collect()
}

/// The last event of the mobile node that tells of a failed handover.
fn last_failure(simulation: &Simulation) -> String {
    let is_failure = |event: &String| event.contains("handover-failed");
    let events = simulation.events(Node::Mn);
    events.into_iter().rfind(is_failure).expect("one failed")
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

fn assert_nothing_changed(simulation: &Simulation) {
    assert_eq!(commands(simulation), []);
    simulation.assert_clean();
}

// Figure 2

#[test]
fn a_predictive_handover_takes_the_steps_of_figure_2_in_their_order() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let expected = [ASKING, PREPARING, MOVING, ENDING].concat();
    assert_eq!(simulation.steps(), expected);
    simulation.assert_clean();
}

#[test]
fn the_commands_carry_the_addresses_links_and_lifetimes_of_the_handover() {
    let mut simulation = Simulation::new();
    let start = run_from_impend(&mut simulation);
    let at = |millis| start + Duration::from_millis(millis);
    // RtSolPr 2, PrRtAdv 4, FBU 6, HI 11, HAck 16, FBack 18, link up 218, UNA 220, drained 221.
    assert_eq!(
        commands(&simulation),
        [
            Command::StartBuffering {
                address: NCOA,
                interface: ACCESS,
                link_address: MN_LLA,
                expires: at(11 + 1500),
            },
            Command::AddProxyNd {
                interface: ACCESS,
                address: NCOA,
            },
            Command::InstallTunnel {
                pcoa: PCOA,
                ncoa: NCOA,
                local: PAR,
                expires: at(16 + 30_000),
            },
            Command::HoldUplink {
                pcoa: PCOA,
                ncoa: NCOA,
                par: PAR,
                interface: ACCESS,
                router_lla: NAR_LLA,
                expires: at(18 + 30_000),
            },
            Command::SetDefaultRouter {
                interface: ACCESS,
                router: NAR,
                link_address: NAR_LLA,
            },
            Command::SwitchLink { access_point: AP2 },
            Command::ReleaseUplink {
                pcoa: PCOA,
                expires: at(18 + 30_000),
            },
            Command::ConfigureAddress {
                interface: ACCESS,
                address: NCOA,
                prefix_length: 64,
            },
            Command::RemoveProxyNd {
                interface: ACCESS,
                address: NCOA,
            },
            Command::AddNeighbor {
                interface: ACCESS,
                address: NCOA,
                link_address: MN_LLA,
            },
            Command::ReleaseBuffer {
                address: NCOA,
                expires: at(220 + 60_000),
            },
            Command::RemoveBuffer { address: NCOA },
            Command::RemoveTunnel { pcoa: PCOA },
            Command::RemoveUplink { pcoa: PCOA },
        ]
    );
    let removed = simulation
        .log
        .iter()
        .find(|(_, _, output)| *output == Output::Command(Command::RemoveBuffer { address: NCOA }));
    assert_eq!(removed.map(|(at, ..)| *at), Some(at(221 + 1500)));
}

#[test]
fn the_events_tell_the_story_with_the_names_that_people_look_for() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let pair = r#""pcoa":"2001:db8:1::ff:fe00:1","ncoa":"2001:db8:2::ff:fe00:1""#;
    let ncoa = r#""ncoa":"2001:db8:2::ff:fe00:1""#;
    assert_eq!(
        simulation.events(Node::Mn),
        [
            r#"{"event":"fbu-sent","sequence":42}"#.to_owned(),
            r#"{"event":"fback-received","status":0}"#.to_owned(),
            r#"{"event":"link-switch","access_point":"02:00:00:00:0a:02"}"#.to_owned(),
            format!(r#"{{"event":"una-sent",{ncoa}}}"#),
            format!(r#"{{"event":"una-sent",{ncoa}}}"#),
            format!(r#"{{"event":"una-sent",{ncoa}}}"#),
        ]
    );
    assert_eq!(
        simulation.events(Node::Par),
        [
            format!(r#"{{"event":"fbu-accepted",{pair}}}"#),
            format!(r#"{{"event":"hi-sent",{pair},"peer":"2001:db8:2::1"}}"#),
            r#"{"event":"hack-received","code":0,"peer":"2001:db8:2::1"}"#.to_owned(),
            format!(r#"{{"event":"tunnel-installed",{pair}}}"#),
            r#"{"event":"tunnel-removed","pcoa":"2001:db8:1::ff:fe00:1","reason":"expired"}"#
                .to_owned(),
        ]
    );
    assert_eq!(
        simulation.events(Node::Nar),
        [
            format!(r#"{{"event":"hi-accepted",{pair}}}"#),
            format!(r#"{{"event":"buffer-started",{ncoa}}}"#),
            format!(r#"{{"event":"una-received",{ncoa}}}"#),
            format!(r#"{{"event":"buffer-released",{ncoa}}}"#),
            format!(r#"{{"event":"buffer-drained",{ncoa}}}"#),
        ]
    );
}

#[test]
fn the_messages_are_those_that_the_rfc_describes() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let only = |node, kind| {
        let mut messages = simulation.messages(node, kind);
        messages.next().expect("it was sent").1
    };

    let solicitation = only(Node::Mn, "RtSolPr");
    assert_eq!((solicitation.source, solicitation.destination), (PCOA, PAR));
    assert_eq!(solicitation.hop_limit, 255);

    let advertisement = only(Node::Par, "PrRtAdv");
    assert!(advertisement.source.is_unicast_link_local());
    assert_eq!(advertisement.destination, PCOA);
    let (Message::RtSolPr(asked), Message::PrRtAdv(told)) =
        (solicitation.message, advertisement.message)
    else {
        panic!("these are what was asked for");
    };
    assert_eq!(told.identifier, asked.identifier);

    let fbu = only(Node::Mn, "FBU");
    assert_eq!((fbu.source, fbu.destination), (PCOA, PAR));
    assert_eq!(fbu.home_address, Some(PCOA));
    let Message::FastBindingUpdate(fbu) = fbu.message else {
        panic!("an FBU was asked for");
    };
    assert!(fbu.ack && fbu.home && !fbu.link_local && !fbu.key_management);
    assert_eq!(fbu.alternate_coa, Some(NCOA));
    assert_eq!(fbu.lifetime, 30);

    let hi = only(Node::Par, "HI");
    assert_eq!((hi.source, hi.destination), (PAR, NAR));
    let Message::HandoverInitiate(hi) = hi.message else {
        panic!("an HI was asked for");
    };
    let expected = HandoverInitiate {
        sequence: hi.sequence,
        ..HI
    };
    assert_eq!(hi, expected);

    let hack = only(Node::Nar, "HAck");
    assert_eq!((hack.source, hack.destination), (NAR, PAR));

    let fbacks = fbacks(&simulation);
    assert_eq!([fbacks[0].0, fbacks[1].0], [NCOA, PCOA]);
    assert_eq!(fbacks[0].1.sequence, fbu.sequence);
    assert_eq!(fbacks[0].1.lifetime, 30);

    let una = only(Node::Mn, "NA");
    assert_eq!(una.source, NCOA);
    assert_eq!(una.destination.to_string(), "ff02::1");
    assert_eq!(
        una.message,
        Message::NeighborAdvertisement(NeighborAdvertisement::unsolicited(NCOA, MN_LLA))
    );
}

#[test]
fn what_was_learnt_before_saves_the_question_when_the_handover_impends() {
    let mut simulation = Simulation::new();
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> RtSolPr"), 1);
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.impend();
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    simulation.run(FOREVER);
    let expected = [ASKING, PREPARING, MOVING, ENDING].concat();
    assert_eq!(simulation.steps(), expected);
}

#[test]
fn the_same_inputs_and_seeds_give_the_same_outputs() {
    let run = || {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Nar, "HAck", 1);
        run_from_impend(&mut simulation);
        simulation.log
    };
    assert_eq!(run(), run());
}

#[test]
fn without_buffering_the_nar_stands_in_for_the_address_and_holds_nothing() {
    let mut par = router_config(false);
    par.buffering = false;
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("nar: start-buffering"), 0);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
    simulation.assert_clean();
}

#[test]
fn the_status_shows_where_each_side_stands() {
    let simulation = between_links();
    let states = |handovers: Vec<HandoverStatus>| {
        let state = |status: &HandoverStatus| (status.role, status.state);
        handovers.iter().map(state).collect::<Vec<_>>()
    };
    assert_eq!(
        states(simulation.mn.handovers()),
        [(Role::MobileNode, "switching")]
    );
    assert_eq!(
        states(simulation.par.handovers()),
        [(Role::Par, "forwarding")]
    );
    assert_eq!(
        states(simulation.nar.handovers()),
        [(Role::Nar, "expected")]
    );
    let json = serde_json::to_string(&simulation.par.handovers()[0]).unwrap();
    assert_eq!(
        json,
        "{\"role\":\"par\",\"state\":\"forwarding\",\"pcoa\":\"2001:db8:1::ff:fe00:1\",\
         \"ncoa\":\"2001:db8:2::ff:fe00:1\",\"peer\":\"2001:db8:2::1\",\"expires_ns\":31016000000}"
    );
}

#[test]
fn counters_are_a_flat_map_from_names_to_numbers() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    let counters = serde_json::to_value(simulation.par.counters()).unwrap();
    let map = counters.as_object().expect("a map");
    assert!(map.values().all(serde_json::Value::is_u64));
    assert_eq!(map["received-fbu"], 1);
    assert_eq!(map["sent-fback"], 2);
    assert_eq!(map["bad-authenticator"], 0);
}

// Loss

#[test]
fn each_message_may_be_lost_once_and_the_handover_succeeds() {
    for (from, kind) in [
        (Node::Mn, "RtSolPr"),
        (Node::Par, "PrRtAdv"),
        (Node::Mn, "FBU"),
        (Node::Par, "HI"),
        (Node::Nar, "HAck"),
        (Node::Par, "FBack"),
        (Node::Mn, "NA"),
    ] {
        let mut simulation = Simulation::new();
        simulation.lose(from, kind, 1);
        run_from_impend(&mut simulation);
        assert_eq!(simulation.count("nar: release-buffer"), 1, "{kind} lost");
        assert_eq!(simulation.count("mn: release-uplink"), 1, "{kind} lost");
        simulation.assert_clean();
    }
}

#[test]
fn a_handover_whose_fback_on_the_old_link_is_lost_succeeds_with_the_next_fbu() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "FBack", 2);
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: -> FBU"), 2);
    // Each FBU is put to the NAR, which drops nothing and does not install anything twice.
    assert_eq!(simulation.count("par: -> HI"), 2);
    assert_eq!(simulation.count("nar: add-proxy-nd"), 1);
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    assert_eq!(simulation.count("mn: switch-link"), 1);
    simulation.assert_clean();
}

#[test]
fn rtsolpr_is_retransmitted_with_doubled_interval_but_never_above_its_rate() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    let start = run_from_impend(&mut simulation);
    // The back-off alone would say 0, 100, 300, 700; there may be three in a second (AMB-15).
    assert_eq!(
        simulation.times(start, Node::Mn, "RtSolPr"),
        [0, 100, 300, 1000]
    );
    assert_eq!(
        simulation.events(Node::Mn),
        [r#"{"event":"handover-failed","reason":"no-prrtadv"}"#]
    );
    let (failed, ..) = simulation.log.last().expect("it failed");
    assert_eq!(*failed - start, Duration::from_millis(1800));
    simulation.assert_clean();
}

#[test]
fn a_router_that_never_answers_is_not_asked_again() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "RtSolPr", ALWAYS);
    run_from_impend(&mut simulation);
    simulation.link(LinkEvent::NewLinkDetected {
        access_point: AP_UNKNOWN,
    });
    simulation.impend();
    simulation.run(FOREVER);
    assert_eq!(simulation.count("mn: -> RtSolPr"), 4);
    assert_eq!(simulation.events(Node::Mn).len(), 2);
    simulation.assert_clean();
}

#[test]
fn a_flood_of_access_points_does_not_exceed_the_rate_of_rtsolpr() {
    let mut simulation = Simulation::new();
    let start = simulation.now;
    for n in 0..200 {
        let access_point = MacAddr([2, 0, 0, 0, 0xee, n]);
        simulation.link(LinkEvent::NewLinkDetected { access_point });
        simulation.run(Duration::from_millis(25));
    }
    let times = simulation.times(start, Node::Mn, "RtSolPr");
    assert!(times.len() > 10, "it still asks: {times:?}");
    for window in times.windows(4) {
        assert!(window[3] - window[0] >= 1000, "{times:?}");
    }
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn fbu_is_retransmitted_with_doubled_interval_and_a_new_number() {
    let mut simulation = Simulation::new();
    simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
    simulation.run(SECOND);
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    let start = run_from_impend(&mut simulation);
    // From 1500 on, those that end what the router may have begun.
    assert_eq!(
        simulation.times(start, Node::Mn, "FBU"),
        [0, 100, 300, 700, 1500, 1600, 1800, 2200]
    );
    let sequence = |(_, packet): (_, Packet)| match packet.message {
        Message::FastBindingUpdate(fbu) => fbu.sequence,
        other => unreachable!("only FBUs were asked for, not {other:?}"),
    };
    let sequences: Vec<_> = simulation.messages(Node::Mn, "FBU").map(sequence).collect();
    assert_eq!(sequences, (42..50).collect::<Vec<_>>());
    let failed = Output::Event(Event::HandoverFailed {
        reason: Failure::NoFback,
    });
    let failed = simulation.log.iter().find(|(.., output)| *output == failed);
    let (failed, ..) = failed.expect("it failed");
    assert_eq!(*failed - start, Duration::from_millis(1500));
    assert_nothing_changed(&simulation);
}

#[test]
fn hi_is_retransmitted_unchanged_with_doubled_interval_and_then_given_up() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let start = simulation.now;
    simulation.run(FOREVER);
    assert_eq!(simulation.times(start, Node::Par, "HI"), [0, 100, 300, 700]);
    let packets: Vec<_> = simulation
        .messages(Node::Par, "HI")
        .map(|(_, packet)| packet)
        .collect();
    assert!(packets.iter().all(|packet| *packet == packets[0]));
    assert_eq!(simulation.times(start, Node::Par, "FBack"), [1500]);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
    assert_eq!(simulation.par.counters().peer_silent, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn a_lost_hack_is_given_again_and_the_nar_installs_nothing_twice() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Nar, "HAck", 1);
    run_from_impend(&mut simulation);
    assert_eq!(
        hack_codes(&simulation),
        [HackCode::NcoaValid, HackCode::NcoaValid]
    );
    assert_eq!(simulation.count("nar: start-buffering"), 1);
    assert_eq!(simulation.nar.counters().duplicate, 1 + 2); // and two UNAs
    simulation.assert_clean();
}

#[test]
fn an_fbu_that_is_sent_again_while_the_nar_thinks_makes_no_second_hi() {
    let mut simulation = Simulation::new();
    for sequence in [1, 2, 3] {
        let fbu = Fbu { sequence, ..FBU };
        simulation.inject(Node::Par, ACCESS, fbu.bytes());
    }
    assert_eq!(simulation.count("par: -> HI"), 1);
    simulation.run(SECOND);
    let sequences: Vec<_> = fbacks(&simulation)
        .into_iter()
        .map(|(_, fback)| fback.sequence)
        .collect();
    assert_eq!(sequences, [3, 3]);
}

#[test]
fn an_fbu_for_another_ncoa_takes_the_place_of_the_one_that_waits() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Nar, "HAck", 1);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(50));
    let other: Ipv6Addr = "2001:db8:2::beef".parse().unwrap();
    let newer = Fbu {
        sequence: 2,
        ncoa: Some(other),
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, newer.bytes());
    simulation.run(Duration::from_millis(50));
    assert_eq!(simulation.par.counters().superseded, 1);
    let sequence = |(_, packet): (_, Packet)| match packet.message {
        Message::HandoverInitiate(hi) => (hi.sequence, hi.ncoa),
        other => unreachable!("only HIs were asked for, not {other:?}"),
    };
    let questions: Vec<_> = simulation.messages(Node::Par, "HI").map(sequence).collect();
    assert_eq!(questions, [(101, Some(NCOA)), (102, Some(other))]);
    // A late answer to the first is no answer to the second.
    simulation.inject(Node::Par, CORE, hack(NAR, 101, HackCode::NcoaValid, None));
    assert_eq!(simulation.par.counters().unmatched, 1);
    let tunnels: Vec<_> = commands(&simulation)
        .into_iter()
        .filter(|command| command.name() == "install-tunnel")
        .collect();
    assert!(matches!(
        tunnels[..],
        [Command::InstallTunnel { ncoa, .. }] if ncoa == other
    ));
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn una_is_repeated_because_nothing_acknowledges_it() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "NA", 2);
    let start = run_from_impend(&mut simulation);
    assert_eq!(
        simulation.times(start, Node::Mn, "NA"),
        [218, 318, 418],
        "{:?}",
        simulation.steps()
    );
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    simulation.assert_clean();
}

// FBUs that must not work

#[test]
fn an_fbu_with_a_wrong_key_changes_nothing_and_gets_no_answer() {
    let key = b"a key of twenty bytf";
    let simulation = par_hears(Fbu { key, ..FBU }.bytes());
    assert_eq!(simulation.steps(), Vec::<String>::new());
    assert_eq!(simulation.par.counters().bad_authenticator, 1);
    assert_eq!(
        simulation.events(Node::Par),
        [
            r#"{"event":"fbu-refused","reason":"bad-authenticator","source":"2001:db8:1::ff:fe00:1"}"#
        ]
    );
    assert_nothing_changed(&simulation);
}

#[test]
fn every_altered_octet_of_an_fbu_is_noticed() {
    let original = FBU.bytes();
    // Traffic class, flow label and hop limit may change on the way (RFC 8200 section 3), and the
    // padding before the Home Address option says nothing.
    let free = |index: &usize| (0..4).chain([7]).chain(42..46).any(|octet| octet == *index);
    for index in (0..original.len()).filter(|index| !free(index)) {
        let mut altered = original.to_vec();
        altered[index] ^= 0x01;
        let simulation = par_hears(altered.into());
        assert_eq!(simulation.count("par: -> HI"), 0, "octet {index}");
    }
}

#[test]
fn an_altered_fbu_with_a_repaired_checksum_is_noticed() {
    // The checksum is not signed, so whoever alters a message can make it right again.
    let alterations: [fn(&mut FastBindingUpdate); 4] = [
        |fbu| fbu.sequence += 1,
        |fbu| fbu.lifetime += 1,
        |fbu| fbu.alternate_coa = Some("2001:db8:2::bad".parse().unwrap()),
        |fbu| fbu.mn_lla = Some(MacAddr([2, 0, 0, 0, 0, 0xbd])),
    ];
    for alter in alterations {
        let mut packet = Packet::decode(&FBU.bytes()).unwrap();
        let Message::FastBindingUpdate(fbu) = &mut packet.message else {
            panic!("it is an FBU");
        };
        alter(fbu);
        let simulation = par_hears(packet.encode());
        assert_eq!(simulation.par.counters().bad_authenticator, 1);
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn an_authenticator_that_is_cut_short_is_not_enough() {
    let mut packet = Packet::decode(&FBU.bytes()).unwrap();
    let Message::FastBindingUpdate(fbu) = &mut packet.message else {
        panic!("it is an FBU");
    };
    let authorization = fbu.authorization.as_mut().expect("it is signed");
    authorization.authenticator.truncate(4);
    let simulation = par_hears(packet.encode());
    assert_eq!(simulation.par.counters().bad_authenticator, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn an_fbu_without_an_authenticator_changes_nothing() {
    let fbu = Fbu {
        signed: false,
        ..FBU
    };
    let simulation = par_hears(fbu.bytes());
    assert_eq!(simulation.par.counters().authorization_missing, 1);
    assert_eq!(simulation.steps(), Vec::<String>::new());
    assert_nothing_changed(&simulation);
}

#[test]
fn an_fbu_whose_authenticator_is_not_at_the_end_changes_nothing() {
    // Eight octets of padding behind the option; the lengths and the checksum made to fit.
    let mut bytes = FBU.bytes().to_vec();
    bytes.extend([1, 6, 0, 0, 0, 0, 0, 0]);
    let payload = u16::from_be_bytes([bytes[4], bytes[5]]) + 8;
    bytes[4..6].copy_from_slice(&payload.to_be_bytes());
    let header = 40 + 24; // behind the Destination Options header with the home address
    bytes[header + 1] += 1;
    bytes[header + 4..header + 6].fill(0);
    let sum = crate::wire::checksum(PCOA, PAR, 135, &bytes[header..]);
    bytes[header + 4..header + 6].copy_from_slice(&sum.to_be_bytes());

    let simulation = par_hears(bytes.into());
    assert_eq!(simulation.par.counters().authorization_missing, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn an_fbu_without_a_home_address_or_its_flags_changes_nothing() {
    let fbu = Fbu {
        home_address: None,
        ..FBU
    };
    let simulation = par_hears(fbu.bytes());
    assert_eq!(simulation.par.counters().home_address_missing, 1);
    assert_nothing_changed(&simulation);
    for (ack, home) in [(false, true), (true, false)] {
        let simulation = par_hears(Fbu { ack, home, ..FBU }.bytes());
        assert_eq!(simulation.par.counters().flags_missing, 1);
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn one_mobile_nodes_key_does_not_move_anothers_address() {
    let victim: Ipv6Addr = "2001:db8:1::77".parse().unwrap();
    let mut par = router_config(false);
    par.mobile_nodes.push(HandoverKey {
        pcoa: victim,
        spi: SPI + 1,
        key: b"the victim's own key".to_vec(),
    });
    // Signed with the attacker's key, under either SPI.
    for (spi, count) in [
        (SPI, |c: &Counters| c.unknown_key),
        (SPI + 1, |c: &Counters| c.bad_authenticator),
    ] as [(u32, Counter); 2]
    {
        let mut simulation =
            Simulation::with(mobile_node_config(), par.clone(), router_config(true));
        let fbu = Fbu {
            source: victim,
            home_address: Some(victim),
            spi,
            ..FBU
        };
        simulation.inject(Node::Par, ACCESS, fbu.bytes());
        assert_eq!(count(simulation.par.counters()), 1);
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn a_replayed_fbu_changes_nothing_as_long_as_its_key_lives() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(FOREVER);
    simulation.assert_clean();
    let before = commands(&simulation);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(simulation.par.counters().stale_sequence, 1);
    assert_eq!(commands(&simulation), before);
    assert_eq!(simulation.count("par: -> HI"), 1);
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_lost_count_learns_the_last_number_and_goes_on() {
    let mut simulation = Simulation::new();
    let later = Fbu {
        sequence: 1000,
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, later.bytes());
    simulation.run(FOREVER);
    simulation.log.clear();
    // It begins with 42.
    run_from_impend(&mut simulation);
    let sequence = |(_, packet): (_, Packet)| match packet.message {
        Message::FastBindingUpdate(fbu) => fbu.sequence,
        other => unreachable!("only FBUs were asked for, not {other:?}"),
    };
    let sequences: Vec<_> = simulation.messages(Node::Mn, "FBU").map(sequence).collect();
    assert_eq!(sequences, [42, 1001]);
    let (_, first) = &fbacks(&simulation)[0];
    assert_eq!((first.status.value(), first.sequence), (135, 1000));
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    simulation.assert_clean();
}

#[test]
fn a_router_that_never_likes_the_number_is_given_up() {
    let mut simulation = Simulation::new();
    simulation.tamper(Node::Par, "FBack", |bytes| {
        let mut packet = Packet::decode(bytes).unwrap();
        if let Message::FastBindingAck(fback) = &mut packet.message {
            fback.status = FastBindingStatus::Other(135);
        }
        let addresses = Addresses {
            care_of: NCOA,
            par: PAR,
        };
        *bytes = sign(packet, SPI, KEY, addresses).to_vec();
    });
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: -> FBU"), 8);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"no-fback"}"#
    );
    simulation.assert_clean();
}

#[test]
fn an_fbu_with_an_older_number_changes_nothing() {
    for stale in [9, 10, 10_u16.wrapping_sub(0x8000)] {
        let mut simulation = Simulation::new();
        let first = Fbu {
            sequence: 10,
            ..FBU
        };
        simulation.inject(Node::Par, ACCESS, first.bytes());
        let second = Fbu {
            sequence: stale,
            ncoa: Some("2001:db8:2::5".parse().unwrap()),
            ..FBU
        };
        simulation.inject(Node::Par, ACCESS, second.bytes());
        assert_eq!(simulation.par.counters().stale_sequence, 1);
        assert_eq!(simulation.count("par: -> HI"), 1);
    }
}

#[test]
fn an_ncoa_outside_every_neighbors_prefix_is_refused_with_a_signed_fback() {
    for ncoa in ["2001:db8:3::1", "2001:db8:1::99", "fe80::1"] {
        let ncoa = ncoa.parse().unwrap();
        let fbu = Fbu {
            ncoa: Some(ncoa),
            ..FBU
        };
        let simulation = par_hears(fbu.bytes());
        assert_eq!(simulation.par.counters().ncoa_outside_prefix, 1);
        assert_nothing_changed(&simulation);

        let (_, packet) = simulation.messages(Node::Par, "FBack").next().unwrap();
        assert_eq!(packet.destination, PCOA);
        let Message::FastBindingAck(fback) = &packet.message else {
            panic!("it is an FBack");
        };
        assert_eq!(fback.status, FastBindingStatus::Prohibited);
        assert_eq!((fback.sequence, fback.lifetime), (1, 0));
        let authorization = fback.authorization.as_ref().expect("it is signed");
        let addresses = Addresses {
            care_of: ncoa,
            par: PAR,
        };
        assert!(auth::verify(
            &packet.encode(),
            authorization,
            KEY,
            addresses
        ));
    }
}

#[test]
fn the_neighbor_with_the_longest_prefix_of_the_ncoa_is_asked() {
    let mut par = router_config(false);
    let narrow: Ipv6Addr = "2001:db8:2:8000::1".parse().unwrap();
    par.peers[0].prefix = "2001:db8:2::/48".parse().unwrap();
    par.peers.push(Peer {
        address: narrow,
        lla: NAR_LLA,
        prefix: "2001:db8:2:8000::/64".parse().unwrap(),
        access_points: Vec::new(),
    });
    for (ncoa, peer) in [("2001:db8:2:8000::5", narrow), ("2001:db8:2::5", NAR)] {
        let mut simulation =
            Simulation::with(mobile_node_config(), par.clone(), router_config(true));
        let fbu = Fbu {
            ncoa: Some(ncoa.parse().unwrap()),
            ..FBU
        };
        simulation.inject(Node::Par, ACCESS, fbu.bytes());
        let (_, hi) = simulation.messages(Node::Par, "HI").next().unwrap();
        assert_eq!(hi.destination, peer);
    }
}

#[test]
fn an_address_of_our_own_link_is_not_in_a_neighbors_wider_prefix() {
    let mut par = router_config(false);
    par.peers[0].prefix = "2001:db8::/32".parse().unwrap();
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    let fbu = Fbu {
        ncoa: Some("2001:db8:1::99".parse().unwrap()),
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, fbu.bytes());
    assert_eq!(simulation.par.counters().ncoa_outside_prefix, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn an_authentic_fbu_that_asks_for_what_we_do_not_do_is_refused_with_a_reason() {
    let moved = Fbu {
        source: NCOA,
        ..FBU
    };
    let bare = Fbu { ncoa: None, ..FBU };
    let cases: [(Fbu, Counter); 2] = [
        (moved, |counters| counters.not_from_pcoa),
        (bare, |counters| counters.ncoa_missing),
    ];
    for (fbu, count) in cases {
        let simulation = par_hears(fbu.bytes());
        assert_eq!(count(simulation.par.counters()), 1);
        assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn the_granted_lifetime_is_bounded() {
    let fbu = Fbu {
        lifetime: 60_000,
        ..FBU
    };
    let mut simulation = par_hears(fbu.bytes());
    simulation.run(SECOND);
    assert_eq!(fbacks(&simulation)[0].1.lifetime, 60);
    let expires = simulation.par.handovers()[0].expires_ns;
    let installed = simulation.times(Instant::default(), Node::Par, "FBack")[0];
    assert_eq!(
        expires.map(|at| u128::from(at.as_nanos()) / 1_000_000),
        Some(installed + 60_000)
    );
}

#[test]
fn a_lifetime_of_zero_ends_the_binding() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.par.handovers().len(), 1);
    let end = Fbu {
        sequence: 2,
        lifetime: 0,
        ncoa: Some(PCOA),
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, end.bytes());
    assert_eq!(simulation.par.handovers(), []);
    let (to, fback) = fbacks(&simulation).pop().unwrap();
    assert_eq!(to, PCOA);
    assert_eq!(
        (fback.status, fback.lifetime),
        (FastBindingStatus::Accepted, 0)
    );
    // AMB-21: the numbers are remembered beyond the binding.
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(simulation.par.counters().stale_sequence, 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn there_is_a_limit_to_handovers() {
    let mut par = router_config(false);
    par.max_handovers = 0;
    let mut nar = router_config(true);
    nar.max_handovers = 0;
    let mut simulation = Simulation::with(mobile_node_config(), par, nar);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(statuses(&simulation), [FastBindingStatus::Resources]);
    assert_eq!(simulation.par.counters().resources, 1);
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    assert_eq!(hack_codes(&simulation), [HackCode::Resources]);
    assert_eq!(simulation.nar.counters().resources, 1);
    assert_nothing_changed(&simulation);
}

// HIs that must not work

#[test]
fn an_hi_from_a_stranger_is_refused() {
    let stranger = "2001:db8:9::1".parse().unwrap();
    let simulation = nar_hears(hi(stranger, HI));
    assert_eq!(simulation.nar.counters().unknown_peer, 1);
    assert_eq!(hack_codes(&simulation), [HackCode::Prohibited]);
    assert_nothing_changed(&simulation);
}

#[test]
fn an_hi_that_comes_over_an_access_link_is_no_neighbors() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Nar, ACCESS, hi(PAR, HI));
    assert_eq!(simulation.nar.counters().unknown_peer, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn an_hi_for_a_pcoa_outside_its_senders_prefix_is_refused() {
    let pcoa = Some("2001:db8:3::1".parse().unwrap());
    let simulation = nar_hears(hi(PAR, HandoverInitiate { pcoa, ..HI }));
    assert_eq!(simulation.nar.counters().pcoa_outside_prefix, 1);
    assert_eq!(hack_codes(&simulation), [HackCode::Prohibited]);
    assert_nothing_changed(&simulation);
}

#[test]
fn an_hi_for_an_ncoa_that_is_not_ours_to_give_is_refused() {
    let cases: [(&str, Counter); 3] = [
        ("2001:db8:3::1", |counters| counters.ncoa_outside_prefix),
        ("2001:db8:2::1", |counters| counters.ncoa_in_use), // the router itself
        ("2001:db8:2::", |counters| counters.ncoa_in_use),  // any router
    ];
    for (ncoa, count) in cases {
        let ncoa = Some(ncoa.parse().unwrap());
        let simulation = nar_hears(hi(PAR, HandoverInitiate { ncoa, ..HI }));
        assert_eq!(count(simulation.nar.counters()), 1);
        assert_eq!(hack_codes(&simulation), [HackCode::NcoaInUse]);
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn an_hi_that_asks_for_what_we_do_not_do_is_refused() {
    let code = |code| HandoverInitiate { code, ..HI };
    let assigned_address = true;
    for message in [
        code(HiCode::OtherSource),
        code(HiCode::Other(9)),
        HandoverInitiate {
            assigned_address,
            ..HI
        },
        HandoverInitiate { proxy: true, ..HI },
        HandoverInitiate {
            forward: true,
            ..HI
        },
    ] {
        let simulation = nar_hears(hi(PAR, message));
        assert_eq!(simulation.nar.counters().unsupported, 1);
        assert_eq!(hack_codes(&simulation), [HackCode::Unspecified]);
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn an_hi_without_its_options_is_refused() {
    for message in [
        HandoverInitiate { mn_lla: None, ..HI },
        HandoverInitiate { pcoa: None, ..HI },
        HandoverInitiate { ncoa: None, ..HI },
    ] {
        let simulation = nar_hears(hi(PAR, message));
        assert_eq!(hack_codes(&simulation), [HackCode::Unspecified]);
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn an_ncoa_that_another_mobile_node_is_expected_with_is_refused() {
    let mut simulation = nar_hears(hi(PAR, HI));
    let other = HandoverInitiate {
        sequence: 8,
        mn_lla: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        pcoa: Some("2001:db8:1::9".parse().unwrap()),
        ..HI
    };
    // The answer to the same question is the same.
    for _ in 0..2 {
        simulation.inject(Node::Nar, CORE, hi(PAR, other.clone()));
    }
    assert_eq!(
        hack_codes(&simulation),
        [
            HackCode::NcoaValid,
            HackCode::NcoaInUse,
            HackCode::NcoaInUse
        ]
    );
    assert_eq!(simulation.nar.counters().ncoa_in_use, 2);
    assert_eq!(simulation.count("nar: start-buffering"), 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_left_and_returns_is_expected_anew() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    simulation.run(Duration::from_millis(500));
    let again = HandoverInitiate { sequence: 8, ..HI };
    simulation.inject(Node::Nar, CORE, hi(PAR, again));
    assert_eq!(simulation.nar.handovers()[0].state, "expected");
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(simulation.count("nar: add-proxy-nd"), 2);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn an_hi_that_the_mobile_node_overtook_does_not_send_it_away_again() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    simulation.run(Duration::from_millis(10));
    // The FBU was sent again just before the FBack to the first came.
    let again = HandoverInitiate { sequence: 8, ..HI };
    simulation.inject(Node::Nar, CORE, hi(PAR, again));
    assert_eq!(simulation.nar.handovers()[0].state, "arrived");
    assert_eq!(simulation.count("nar: remove-buffer"), 0);
    assert_eq!(
        hack_codes(&simulation),
        [HackCode::NcoaValid, HackCode::NcoaValid]
    );
    let sequences =
        simulation
            .messages(Node::Nar, "HAck")
            .map(|(_, packet)| match packet.message {
                Message::HandoverAck(hack) => hack.sequence,
                other => unreachable!("only HAcks were asked for, not {other:?}"),
            });
    assert_eq!(sequences.collect::<Vec<_>>(), [7, 8]);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// What a handover that failed leaves at the previous router

/// When the tunnel was removed, after `start`.
fn tunnel_ended(simulation: &Simulation, start: Instant) -> Duration {
    let removal = Output::Command(Command::RemoveTunnel { pcoa: PCOA });
    let removal = simulation
        .log
        .iter()
        .find(|(.., output)| *output == removal);
    let (at, ..) = removal.expect("the tunnel was removed");
    *at - start
}

#[test]
fn a_mobile_node_that_hears_no_fback_takes_its_packets_back() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "FBack", ALWAYS);
    let start = run_from_impend(&mut simulation);
    assert!(simulation.count("par: install-tunnel") > 0);
    assert!(tunnel_ended(&simulation, start) < Duration::from_millis(1600));
    // Four to begin with and four to end it: it does not go on for ever.
    assert_eq!(simulation.count("mn: -> FBU"), 8);
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_returns_takes_its_packets_back() {
    for millis in [0, 5_000] {
        let mut simulation = Simulation::new();
        simulation.impend();
        simulation.run(SECOND + Duration::from_millis(millis));
        simulation.lose(Node::Mn, "FBU", 1);
        simulation.come_up(AP1);
        let start = simulation.now;
        simulation.run(FOREVER);
        assert!(tunnel_ended(&simulation, start) < Duration::from_millis(150));
        let last = simulation.messages(Node::Mn, "FBU").last();
        let (_, last) = last.expect("one got through");
        let Message::FastBindingUpdate(fbu) = last.message else {
            panic!("an FBU was asked for");
        };
        assert_eq!((last.source, last.home_address), (PCOA, Some(PCOA)));
        assert_eq!((fbu.lifetime, fbu.alternate_coa), (0, Some(PCOA)));
        // One for the handover, one lost, one answered.
        assert_eq!(simulation.count("mn: -> FBU"), 3);
        simulation.assert_clean();
    }
}

#[test]
fn a_mobile_node_that_cannot_go_or_lost_its_link_takes_its_packets_back() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "hold-uplink");
    let start = run_from_impend(&mut simulation);
    assert!(tunnel_ended(&simulation, start) < Duration::from_millis(30));
    assert_eq!(simulation.count("mn: -> FBU"), 2);
    simulation.assert_clean();

    // The link went down before the FBack came: when it is back, it is time.
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "FBack", ALWAYS);
    simulation.impend();
    simulation.run(Duration::from_millis(50));
    simulation.link(LinkEvent::LinkDown);
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    simulation.link(LinkEvent::LinkUp { access_point: AP1B });
    assert_eq!(simulation.count("mn: -> FBU"), 1, "AP1B may be anywhere");
    simulation.link(LinkEvent::LinkUp { access_point: AP1 });
    let start = simulation.now;
    simulation.run(FOREVER);
    assert!(tunnel_ended(&simulation, start) < Duration::from_millis(30));
    simulation.assert_clean();
}

#[test]
fn an_fbu_that_was_refused_needs_no_other_to_end_it() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Nar, "start-buffering");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: -> FBU"), 1);
}

// There and back, and on

/// A simulation in which the mobile node is at the NAR, and the tunnel still stands.
fn arrived() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    assert_eq!(simulation.nar.handovers()[0].state, "arrived");
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    simulation.log.clear();
    simulation
}

#[test]
fn a_mobile_node_that_is_announced_back_ends_the_tunnel_before_it_is_expected() {
    let mut simulation = arrived();
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    assert_eq!(
        simulation.steps(),
        [
            "par: remove-tunnel",
            "par: start-buffering",
            "par: add-proxy-nd",
            "par: -> hack"
        ]
    );
    assert!(
        simulation.events(Node::Par)[0].ends_with(r#""reason":"returning"}"#),
        "{:?}",
        simulation.events(Node::Par)
    );
    // The end of the tunnel's lifetime has nothing left to remove.
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    simulation.assert_clean();
}

#[test]
fn the_address_of_a_mobile_node_that_left_is_nobody_elses() {
    for message in [
        // Announced by its neighbor, but for another of its mobile nodes.
        HandoverInitiate {
            pcoa: Some("2001:db8:2::9".parse().unwrap()),
            ..HI_BACK
        },
        HandoverInitiate {
            pcoa: Some("2001:db8:2::9".parse().unwrap()),
            mn_lla: Some(MacAddr([2, 0, 0, 0, 0, 9])),
            ..HI_BACK
        },
    ] {
        let mut simulation = arrived();
        simulation.inject(Node::Par, CORE, hi(NAR, message));
        assert_eq!(simulation.steps(), ["par: -> hack"]);
        assert_eq!(simulation.par.counters().ncoa_in_use, 1);
        assert!(
            simulation.events(Node::Par)[0]
                .starts_with(r#"{"event":"hi-refused","reason":"ncoa-in-use","code":1"#),
            "{:?}",
            simulation.events(Node::Par)
        );
        assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    }
}

#[test]
fn a_mobile_node_that_moves_on_frees_its_buffer_before_it_is_tunnelled() {
    let mut simulation = arrived();
    simulation.inject(Node::Nar, ACCESS, FBU_BACK.bytes());
    simulation.run(Duration::from_millis(100));
    assert_eq!(
        simulation.steps(),
        [
            "nar: -> hi",
            "par: remove-tunnel",
            "par: start-buffering",
            "par: add-proxy-nd",
            "par: -> hack",
            "nar: remove-buffer",
            "nar: install-tunnel",
            "nar: -> fback",
            "nar: -> fback",
        ]
    );
    // The deadlines of what ended before remove nothing.
    simulation.run(Duration::from_secs(5));
    assert!(simulation.installed.contains(&(Node::Nar, "tunnel", NCOA)));
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_wants_to_move_on_and_is_refused_keeps_its_buffer() {
    let mut simulation = arrived();
    simulation.fail(Node::Par, "start-buffering");
    simulation.inject(Node::Nar, ACCESS, FBU_BACK.bytes());
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.count("nar: -> fback"), 1);
    assert_eq!(simulation.count("nar: remove-buffer"), 0);
    assert_eq!(simulation.nar.handovers()[0].state, "arrived");
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// HAcks

#[test]
fn refusals_of_the_nar_reach_the_mobile_node() {
    use {FastBindingStatus as Status, HackCode as Code};
    for (code, status) in [
        (Code::NcoaInUse, Status::Unspecified),
        (Code::NcoaAssigned, Status::Unspecified),
        (Code::UsePcoa, Status::Unspecified),
        (Code::Other(9), Status::Unspecified),
        (Code::Unspecified, Status::Unspecified),
        (Code::Prohibited, Status::Prohibited),
        (Code::Resources, Status::Resources),
        (Code::Other(200), Status::Unspecified),
    ] {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Par, "HI", ALWAYS);
        simulation.inject(Node::Par, ACCESS, FBU.bytes());
        simulation.inject(Node::Par, CORE, hack(NAR, 101, code, None));
        assert_eq!(statuses(&simulation), [status], "{code:?}");
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn a_mobile_node_that_is_refused_stays_where_it_is() {
    let mut nar = router_config(true);
    nar.max_handovers = 0;
    let mut simulation = Simulation::with(mobile_node_config(), router_config(false), nar);
    run_from_impend(&mut simulation);
    assert_eq!(
        simulation.events(Node::Mn)[1..],
        [
            r#"{"event":"fback-received","status":130}"#,
            r#"{"event":"handover-failed","reason":"refused"}"#
        ]
    );
    assert_nothing_changed(&simulation);
}

#[test]
fn an_address_that_the_nar_gives_replaces_the_proposal() {
    let given: Ipv6Addr = "2001:db8:2::abcd".parse().unwrap();
    for code in [
        HackCode::NcoaInUse,
        HackCode::NcoaAssigned,
        HackCode::UsePcoa,
    ] {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Par, "HI", ALWAYS);
        simulation.impend();
        simulation.run(Duration::from_millis(10));
        simulation.inject(Node::Par, CORE, hack(NAR, 101, code, Some(given)));
        simulation.run(Duration::from_millis(50));
        let (to, fback) = &fbacks(&simulation)[0];
        assert_eq!(*to, given);
        assert_eq!(fback.status, FastBindingStatus::NcoaInvalid);
        assert_eq!(fback.alternate_coa, Some(given));
        let ncoas: Vec<_> = commands(&simulation)
            .into_iter()
            .filter_map(|command| match command {
                Command::InstallTunnel { ncoa, .. } | Command::HoldUplink { ncoa, .. } => {
                    Some(ncoa)
                }
                _ => None,
            })
            .collect();
        assert_eq!(ncoas, [given, given]);
    }
}

#[test]
fn an_address_that_is_not_the_nars_to_give_is_not_tunnelled_to() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let foreign = "2001:db8:3::1".parse().unwrap();
    let answer = hack(NAR, 101, HackCode::NcoaAssigned, Some(foreign));
    simulation.inject(Node::Par, CORE, answer);
    assert_eq!(simulation.par.counters().peer_unsupported, 1);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
    assert_nothing_changed(&simulation);
}

#[test]
fn a_hack_that_nobody_asked_for_is_ignored() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let stranger = "2001:db8:9::1".parse().unwrap();
    let valid = HackCode::NcoaValid;
    simulation.inject(Node::Par, CORE, hack(stranger, 101, valid, None));
    assert_eq!(simulation.par.counters().unknown_peer, 1);
    simulation.inject(Node::Par, ACCESS, hack(NAR, 101, valid, None));
    assert_eq!(simulation.par.counters().unknown_peer, 2);
    simulation.inject(Node::Par, CORE, hack(NAR, 100, valid, None));
    assert_eq!(simulation.par.counters().unmatched, 1);
    let unsolicited = hack(NAR, 101, HackCode::Unsolicited, None);
    simulation.inject(Node::Par, CORE, unsolicited);
    assert_eq!(simulation.par.counters().unmatched, 2);
    assert_eq!(commands(&simulation), []);
    assert_eq!(simulation.par.handovers()[0].state, "awaiting-hack");
}

#[test]
fn a_hack_that_comes_twice_changes_nothing() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    let before = simulation.steps();
    simulation.inject(Node::Par, CORE, hack(NAR, 101, HackCode::NcoaValid, None));
    assert_eq!(simulation.par.counters().duplicate, 1);
    assert_eq!(simulation.steps(), before);
}

#[test]
fn a_nar_that_takes_its_word_back_ends_the_tunnel() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    simulation.inject(Node::Par, CORE, hack(NAR, 101, HackCode::Resources, None));
    assert_eq!(simulation.par.handovers(), []);
    assert_eq!(
        statuses(&simulation).last(),
        Some(&FastBindingStatus::Resources)
    );
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Arrival

#[test]
fn the_mobile_node_that_never_arrives_leaves_nothing_behind() {
    let mut simulation = Simulation::new();
    simulation.gap = None;
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    assert!(
        simulation
            .events(Node::Nar)
            .contains(&r#"{"event":"buffer-expired","ncoa":"2001:db8:2::ff:fe00:1"}"#.to_owned())
    );
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"expired"}"#
    );
    simulation.assert_clean();
}

#[test]
fn a_una_after_the_nar_gave_up_releases_nothing() {
    let mut simulation = Simulation::new();
    simulation.gap = Some(Duration::from_secs(2));
    run_from_impend(&mut simulation);
    assert_eq!(simulation.nar.counters().no_handover, 3);
    assert_eq!(simulation.count("nar: add-neighbor"), 0);
    simulation.assert_clean();
}

#[test]
fn a_una_with_another_link_layer_address_releases_nothing() {
    let mut simulation = between_links();
    let thief = MacAddr([2, 0, 0, 0, 0, 0x66]);
    simulation.inject(Node::Nar, ACCESS, una(NCOA, thief).encode());
    let mut anonymous = una(NCOA, thief);
    let Message::NeighborAdvertisement(advertisement) = &mut anonymous.message else {
        panic!("it is an advertisement");
    };
    advertisement.target_lla = None;
    simulation.inject(Node::Nar, ACCESS, anonymous.encode());
    assert_eq!(simulation.nar.counters().wrong_link_address, 2);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    assert_eq!(simulation.count("nar: remove-proxy-nd"), 0);
    // The right one still works.
    simulation.run(SECOND);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    // Once it is here, nobody takes its place either (UNA-11).
    simulation.inject(Node::Nar, ACCESS, una(NCOA, thief).encode());
    assert_eq!(simulation.nar.counters().wrong_link_address, 3);
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
}

#[test]
fn only_a_una_from_the_link_of_the_address_is_one() {
    let mut simulation = between_links();
    simulation.inject(Node::Nar, CORE, una(NCOA, MN_LLA).encode());
    let mut foreign = una(NCOA, MN_LLA);
    foreign.source = "fe80::1".parse().unwrap();
    simulation.inject(Node::Nar, ACCESS, foreign.encode());
    assert_eq!(simulation.nar.counters().unexpected, 2);
    let mut far = una(NCOA, MN_LLA);
    far.hop_limit = 64;
    simulation.inject(Node::Nar, ACCESS, far.encode());
    assert_eq!(simulation.nar.counters().hop_limit, 1);
    for flag in 0..3 {
        let mut other = una(NCOA, MN_LLA);
        let Message::NeighborAdvertisement(advertisement) = &mut other.message else {
            panic!("it is an advertisement");
        };
        match flag {
            0 => advertisement.router = true,
            1 => advertisement.solicited = true,
            _ => advertisement.override_ = true,
        }
        simulation.inject(Node::Nar, ACCESS, other.encode());
    }
    assert_eq!(simulation.nar.counters().received_other_advertisement, 3);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
}

#[test]
fn a_una_that_comes_twice_releases_once() {
    let mut simulation = between_links();
    for _ in 0..2 {
        simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    }
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    assert_eq!(simulation.count("nar: add-neighbor"), 1);
    assert_eq!(simulation.nar.counters().duplicate, 1);
}

#[test]
fn a_buffer_that_never_drains_ends_with_its_lifetime() {
    let mut simulation = Simulation::new();
    let now = simulation.now;
    let packet = Input::Packet {
        interface: CORE,
        link_source: PAR_LLA,
        bytes: hi(PAR, HI),
    };
    simulation.nar.handle_input(now, packet);
    let packet = Input::Packet {
        interface: ACCESS,
        link_source: MN_LLA,
        bytes: una(NCOA, MN_LLA).encode(),
    };
    simulation.nar.handle_input(now, packet);
    let end = now + Duration::from_secs(60);
    assert_eq!(simulation.nar.poll_timeout(), Some(end));
    while simulation.nar.poll_output().is_some() {}
    simulation.nar.handle_timeout(end);
    assert_eq!(
        simulation.nar.poll_output(),
        Some(Output::Command(Command::RemoveBuffer { address: NCOA }))
    );
    assert_eq!(simulation.nar.poll_timeout(), None);
}

#[test]
fn a_link_that_flaps_after_the_arrival_makes_it_announce_itself_again() {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> NA"), 3);
    simulation.link(LinkEvent::LinkDown);
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> NA"), 6);
    assert_eq!(simulation.count("mn: release-uplink"), 1);
}

#[test]
fn a_mobile_node_that_comes_up_elsewhere_gives_the_fast_handover_up() {
    for (access_point, reason) in [(AP_UNKNOWN, "elsewhere"), (AP1, "elsewhere")] {
        let mut simulation = Simulation::new();
        simulation.gap = None;
        simulation.impend();
        simulation.run(Duration::from_millis(100));
        simulation.link(LinkEvent::LinkUp { access_point });
        simulation.run(FOREVER);
        assert_eq!(simulation.count("mn: remove-uplink"), 1);
        assert_eq!(
            last_failure(&simulation),
            format!(r#"{{"event":"handover-failed","reason":"{reason}"}}"#)
        );
        assert_eq!(simulation.count("mn: -> NA"), 0);
        simulation.assert_clean();
    }
}

#[test]
fn the_new_router_stays_the_default_one_as_long_as_the_mobile_node_is_behind_it() {
    let mut simulation = Simulation::new();
    run_from_impend(&mut simulation);
    simulation.link(LinkEvent::LinkDown);
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    assert!(simulation.rerouted);
    // The binding ended long ago.
    for access_point in [AP_UNKNOWN, AP1] {
        simulation.link(LinkEvent::LinkDown);
        simulation.link(LinkEvent::LinkUp { access_point });
        assert!(!simulation.rerouted, "{access_point}");
        assert_eq!(simulation.count("mn: forget-router"), 1);
    }
}

#[test]
fn a_default_router_that_was_never_reached_is_forgotten_after_the_uplink() {
    for access_point in [AP_UNKNOWN, AP1] {
        let mut simulation = between_links();
        simulation.log.clear();
        simulation.link(LinkEvent::LinkUp { access_point });
        let steps = simulation.steps();
        assert_eq!(steps[..2], ["mn: remove-uplink", "mn: forget-router"]);
    }
    // The link never came up at all, or the link layer cannot move.
    let mut simulation = Simulation::new();
    simulation.gap = None;
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: forget-router"), 1);
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "switch-link");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: forget-router"), 1);
}

#[test]
fn a_mobile_node_that_arrived_but_cannot_release_keeps_its_new_router() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "release-uplink");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    assert!(simulation.rerouted);
}

#[test]
fn a_link_that_goes_down_before_the_fback_ends_the_fast_handover() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.impend();
    simulation.run(Duration::from_millis(50));
    simulation.link(LinkEvent::LinkDown);
    simulation.link(LinkEvent::LinkUp { access_point: AP2 });
    simulation.run(FOREVER);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"link-lost"}"#
    );
    assert_nothing_changed(&simulation);
}

#[test]
fn a_second_handover_waits_until_there_is_a_router_to_ask() {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    simulation.link(LinkEvent::HandoverImpend { access_point: AP1 });
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"not-at-previous-router"}"#
    );
    // The uplink of the first is not its business.
    assert_eq!(simulation.count("mn: remove-uplink"), 0);
}

// FBacks

#[test]
fn an_fback_that_was_tampered_with_moves_nobody() {
    for tamper in [
        |bytes: &mut Vec<u8>| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1; // the authenticator; the checksum is now wrong too
        },
        |bytes: &mut Vec<u8>| {
            let mut packet = Packet::decode(bytes).unwrap();
            if let Message::FastBindingAck(fback) = &mut packet.message {
                fback.lifetime += 1;
            }
            *bytes = packet.encode().to_vec();
        },
        |bytes: &mut Vec<u8>| {
            let mut packet = Packet::decode(bytes).unwrap();
            if let Message::FastBindingAck(fback) = &mut packet.message {
                fback.authorization = None;
            }
            *bytes = packet.encode().to_vec();
        },
        |bytes: &mut Vec<u8>| {
            let mut packet = Packet::decode(bytes).unwrap();
            packet.source = NAR;
            *bytes = packet.encode().to_vec();
        },
    ] {
        let mut simulation = Simulation::new();
        simulation.tamper(Node::Par, "FBack", tamper);
        run_from_impend(&mut simulation);
        assert_eq!(simulation.count("mn: switch-link"), 0);
        assert_eq!(simulation.count("mn: hold-uplink"), 0);
        assert_eq!(
            last_failure(&simulation),
            r#"{"event":"handover-failed","reason":"no-fback"}"#
        );
        let counters = simulation.mn.counters();
        let counted = counters.malformed
            + counters.bad_authenticator
            + counters.authorization_missing
            + counters.unexpected;
        assert_eq!(counted, 8, "{counters:?}");
        simulation.assert_clean();
    }
}

#[test]
fn a_refusal_cannot_be_forged() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.impend();
    simulation.run(Duration::from_millis(50));
    let packet = Packet {
        source: PAR,
        destination: PCOA,
        hop_limit: 64,
        home_address: None,
        message: Message::FastBindingAck(FastBindingAck {
            status: FastBindingStatus::Prohibited,
            key_management: false,
            sequence: 42,
            lifetime: 0,
            alternate_coa: None,
            unknown: Vec::new(),
            authorization: None,
        }),
    };
    let addresses = Addresses {
        care_of: NCOA,
        par: PAR,
    };
    let forged = sign(packet.clone(), SPI, b"another", addresses);
    simulation.inject(Node::Mn, ACCESS, forged);
    assert_eq!(simulation.mn.counters().bad_authenticator, 1);
    assert_eq!(simulation.mn.handovers()[0].state, "awaiting-fback");

    let stale = |sequence| {
        let mut packet = packet.clone();
        if let Message::FastBindingAck(fback) = &mut packet.message {
            fback.sequence = sequence;
        }
        sign(packet, SPI, KEY, addresses)
    };
    simulation.inject(Node::Mn, ACCESS, stale(41));
    simulation.inject(Node::Mn, ACCESS, stale(43));
    assert_eq!(simulation.mn.counters().stale_sequence, 2);
    simulation.inject(Node::Mn, ACCESS, stale(42));
    assert_eq!(simulation.mn.handovers(), []);
}

// RtSolPr and PrRtAdv

#[test]
fn every_access_point_gets_its_own_answer() {
    use {ApOutcome as Outcome, PrRtAdvCode as Code};
    let cases: [(&[MacAddr], Code, &[Outcome]); 6] = [
        (&[AP2], Code::Solicited, &[Outcome::Known]),
        (&[AP1B], Code::NoNewRouter, &[Outcome::SameInterface]),
        (&[AP_UNKNOWN], Code::NoNewRouter, &[Outcome::NoPrefix]),
        (
            &[AP_UNKNOWN, AP2, AP1],
            Code::Partial,
            &[Outcome::NoPrefix, Outcome::Known, Outcome::SameInterface],
        ),
        (
            &[AP1, AP_UNKNOWN],
            Code::NoNewRouter,
            &[Outcome::SameInterface, Outcome::NoPrefix],
        ),
        (&[], Code::Solicited, &[Outcome::Known]),
    ];
    for (asked, code, outcomes) in cases {
        let simulation = par_hears(rtsolpr(asked.to_vec()).encode());
        let (_, packet) = simulation.messages(Node::Par, "PrRtAdv").next().unwrap();
        assert_eq!(packet.source.to_string(), "fe80::1");
        assert_eq!((packet.destination, packet.hop_limit), (PCOA, 255));
        let Message::PrRtAdv(answer) = packet.message else {
            panic!("it is a PrRtAdv");
        };
        assert_eq!(answer.code, code, "{asked:?}");
        assert_eq!(answer.identifier, 77);
        assert_eq!(answer.source_lla, Some(PAR_LLA));
        let got: Vec<_> = answer.tuples.iter().map(|tuple| tuple.outcome).collect();
        assert_eq!(got, outcomes);
        for tuple in answer.tuples {
            let router = tuple.router.map(|router| (router.address, router.lla));
            let expected = (tuple.outcome == Outcome::Known).then_some((NAR, NAR_LLA));
            assert_eq!(router, expected);
        }
        simulation.assert_clean(); // RTS-11: no state
    }
}

#[test]
fn an_access_point_on_another_link_of_the_same_router_has_no_fast_handover() {
    let mut par = router_config(false);
    par.access.push(AccessLink {
        interface: 9,
        address: "2001:db8:5::1".parse().unwrap(),
        link_local: "fe80::5".parse().unwrap(),
        lla: PAR_LLA,
        prefix: "2001:db8:5::/64".parse().unwrap(),
        access_points: vec![AP_UNKNOWN],
    });
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.link(LinkEvent::HandoverImpend {
        access_point: AP_UNKNOWN,
    });
    simulation.run(SECOND);
    assert_eq!(
        simulation.events(Node::Mn),
        [r#"{"event":"handover-failed","reason":"no-fast-handover"}"#]
    );
}

#[test]
fn a_wildcard_answer_fits_the_link() {
    let mut par = router_config(false);
    par.peers[0].access_points = (0..100).map(|n| MacAddr([2, 0, 0, 0, 1, n])).collect();
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.inject(Node::Par, ACCESS, rtsolpr(Vec::new()).encode());
    let Some((_, _, Output::Transmit(transmit))) = simulation.log.first() else {
        panic!("it is answered");
    };
    assert!(transmit.bytes.len() <= 1280, "{}", transmit.bytes.len());
    assert!(transmit.bytes.len() > 1280 - 80, "as many as there is room");
    assert_eq!(transmit.interface, Some(ACCESS));
}

#[test]
fn rtsolpr_is_answered_only_on_access_links_and_only_to_somebody() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, CORE, rtsolpr(vec![AP2]).encode());
    let mut anonymous = rtsolpr(vec![AP2]);
    anonymous.source = Ipv6Addr::UNSPECIFIED;
    simulation.inject(Node::Par, ACCESS, anonymous.encode());
    assert_eq!(simulation.par.counters().unexpected, 2);
    let mut far = rtsolpr(vec![AP2]);
    far.hop_limit = 254;
    simulation.inject(Node::Par, ACCESS, far.encode());
    assert_eq!(simulation.par.counters().hop_limit, 1);
    assert_eq!(simulation.steps(), Vec::<String>::new());
}

#[test]
fn a_move_on_the_same_link_needs_no_fast_handover() {
    let mut simulation = Simulation::new();
    simulation.link(LinkEvent::HandoverImpend { access_point: AP1B });
    simulation.run(FOREVER);
    assert_eq!(
        simulation.steps(),
        ["mn: -> rtsolpr", "par: -> prrtadv", "mn: switch-link"]
    );
    simulation.assert_clean();
    // It is still at its router, and can be handed over from there.
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
}

#[test]
fn an_unknown_access_point_ends_the_fast_handover() {
    let mut simulation = Simulation::new();
    let access_point = AP_UNKNOWN;
    simulation.link(LinkEvent::HandoverImpend { access_point });
    simulation.run(SECOND);
    assert_eq!(
        simulation.events(Node::Mn),
        [r#"{"event":"handover-failed","reason":"unknown-access-point"}"#]
    );
    assert_nothing_changed(&simulation);
}

fn prrtadv(source: &str, identifier: u16, code: PrRtAdvCode) -> Bytes {
    let config = router_config(true);
    let packet = Packet {
        source: source.parse().unwrap(),
        destination: PCOA,
        hop_limit: 255,
        home_address: None,
        message: Message::PrRtAdv(PrRtAdv {
            code,
            identifier,
            source_lla: None,
            tuples: vec![crate::wire::ApTuple {
                access_point: AP2,
                outcome: ApOutcome::Known,
                router: Some(crate::wire::RouterInfo {
                    lla: NAR_LLA,
                    address: NAR,
                    prefix: config.access[0].prefix,
                }),
                new_coa: Some("2001:db8:2::4321".parse().unwrap()),
            }],
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}

#[test]
fn a_prrtadv_that_nobody_asked_for_is_ignored() {
    let mut simulation = Simulation::new();
    let solicited = PrRtAdvCode::Solicited;
    simulation.inject(Node::Mn, ACCESS, prrtadv("fe80::1", 0, solicited));
    simulation.inject(Node::Mn, ACCESS, prrtadv("fe80::1", 5, solicited));
    assert_eq!(simulation.mn.counters().unmatched, 2);
    let trigger = PrRtAdvCode::HandoverTrigger;
    simulation.inject(Node::Mn, ACCESS, prrtadv("2001:db8:1::1", 0, trigger));
    assert_eq!(simulation.mn.counters().unexpected, 1);
    assert_eq!(simulation.steps(), Vec::<String>::new());
    simulation.assert_clean();
}

#[test]
fn the_network_can_make_the_mobile_node_move() {
    let mut simulation = Simulation::new();
    let trigger = PrRtAdvCode::HandoverTrigger;
    simulation.inject(Node::Mn, ACCESS, prrtadv("fe80::1", 0, trigger));
    simulation.run(FOREVER);
    let expected = [&["mn: -> fbu"], PREPARING, MOVING, ENDING].concat();
    assert_eq!(simulation.steps(), expected);
    let (_, una) = simulation.messages(Node::Mn, "NA").next().unwrap();
    assert_eq!(una.source.to_string(), "2001:db8:2::4321");
}

// Commands that fail

#[test]
fn a_nar_that_cannot_hold_packets_refuses() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Nar, "start-buffering");
    run_from_impend(&mut simulation);
    assert_eq!(hack_codes(&simulation), [HackCode::Resources]);
    // What stood behind the failed command was taken back.
    assert_eq!(simulation.count("nar: add-proxy-nd"), 0);
    assert_eq!(simulation.count("par: install-tunnel"), 0);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Resources]);
    assert_eq!(
        simulation.events(Node::Nar),
        [
            r#"{"event":"command-failed","command":"start-buffering","error":"no"}"#,
            r#"{"event":"hi-refused","reason":"command-failed","code":130,"source":"2001:db8:1::1"}"#
        ]
    );
    simulation.assert_clean();
}

#[test]
fn an_ncoa_that_the_kernel_knows_as_anothers_is_refused_as_such() {
    for command in ["start-buffering", "add-proxy-nd"] {
        for late in [false, true] {
            let mut simulation = Simulation::new();
            simulation.in_use = true;
            match late {
                false => simulation.fail(Node::Nar, command),
                true => simulation.fail_late(Node::Nar, command),
            }
            run_from_impend(&mut simulation);
            assert_eq!(
                hack_codes(&simulation).last(),
                Some(&HackCode::NcoaInUse),
                "{command}"
            );
            assert_eq!(simulation.nar.counters().ncoa_in_use, 1);
            let told = statuses(&simulation);
            // AMB-19.
            assert_eq!(told.last(), Some(&FastBindingStatus::Unspecified));
            assert_eq!(
                simulation.count("par: remove-tunnel"),
                usize::from(late),
                "what was begun on its word is ended"
            );
            simulation.assert_clean();
        }
    }
}

#[test]
fn a_nar_that_cannot_stand_in_for_the_address_refuses_and_holds_nothing() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Nar, "add-proxy-nd");
    run_from_impend(&mut simulation);
    assert_eq!(hack_codes(&simulation), [HackCode::Unspecified]);
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(simulation.count("nar: remove-proxy-nd"), 0);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
    simulation.assert_clean();
}

#[test]
fn a_nar_that_learns_of_a_failure_too_late_takes_its_word_back() {
    for (command, code) in [
        ("start-buffering", HackCode::Resources),
        ("add-proxy-nd", HackCode::Unspecified),
    ] {
        let mut simulation = Simulation::new();
        simulation.fail_late(Node::Nar, command);
        run_from_impend(&mut simulation);
        assert_eq!(hack_codes(&simulation), [HackCode::NcoaValid, code]);
        assert_eq!(simulation.count("par: remove-tunnel"), 1);
        simulation.assert_clean();
    }
}

#[test]
fn a_buffer_that_cannot_be_prolonged_is_removed() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.fail(Node::Nar, "start-buffering");
    let newer = HandoverInitiate { sequence: 8, ..HI };
    simulation.inject(Node::Nar, CORE, hi(PAR, newer));
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(
        hack_codes(&simulation),
        [HackCode::NcoaValid, HackCode::Resources]
    );
    simulation.assert_clean();
}

#[test]
fn a_par_that_cannot_tunnel_refuses() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Par, "install-tunnel");
    run_from_impend(&mut simulation);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Resources]);
    assert_eq!(simulation.count("par: remove-tunnel"), 0);
    assert_eq!(simulation.count("mn: switch-link"), 0);
    simulation.assert_clean();
}

#[test]
fn a_par_that_learns_too_late_that_it_cannot_tunnel_says_so() {
    let mut simulation = Simulation::new();
    simulation.fail_late(Node::Par, "install-tunnel");
    run_from_impend(&mut simulation);
    use FastBindingStatus::{Accepted, Resources};
    assert_eq!(statuses(&simulation), [Accepted, Accepted, Resources]);
    assert_eq!(simulation.count("par: remove-tunnel"), 0);
    simulation.assert_clean();
}

#[test]
fn a_tunnel_that_cannot_be_renewed_is_removed() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    simulation.fail(Node::Par, "install-tunnel");
    let newer = Fbu { sequence: 2, ..FBU };
    simulation.inject(Node::Par, ACCESS, newer.bytes());
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    simulation.assert_clean();
}

#[test]
fn a_buffer_that_cannot_be_released_is_removed() {
    for late in [false, true] {
        let mut simulation = Simulation::new();
        if late {
            simulation.fail_late(Node::Nar, "release-buffer");
        } else {
            simulation.fail(Node::Nar, "release-buffer");
        }
        run_from_impend(&mut simulation);
        assert_eq!(simulation.count("nar: remove-buffer"), 1);
        assert_eq!(simulation.count("nar: remove-proxy-nd"), 1);
        simulation.assert_clean();
    }
}

#[test]
fn a_mobile_node_that_cannot_hold_its_packets_stays() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "hold-uplink");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: switch-link"), 0);
    assert_eq!(simulation.count("mn: remove-uplink"), 0);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"command-failed"}"#
    );
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_cannot_move_or_release_gives_its_packets_back_to_the_kernel() {
    for command in ["switch-link", "release-uplink"] {
        for late in [false, true] {
            let mut simulation = Simulation::new();
            if late {
                simulation.fail_late(Node::Mn, command);
            } else {
                simulation.fail(Node::Mn, command);
            }
            run_from_impend(&mut simulation);
            assert_eq!(simulation.count("mn: remove-uplink"), 1, "{command}");
            assert_eq!(
                last_failure(&simulation),
                r#"{"event":"handover-failed","reason":"command-failed"}"#
            );
            simulation.assert_clean();
        }
    }
}

#[test]
fn a_failure_of_what_the_kernel_can_do_by_itself_does_not_stop_the_handover() {
    for (node, command) in [
        (Node::Mn, "set-default-router"),
        (Node::Mn, "configure-address"),
        (Node::Nar, "add-neighbor"),
    ] {
        let mut simulation = Simulation::new();
        simulation.fail(node, command);
        run_from_impend(&mut simulation);
        let expected = [ASKING, PREPARING, MOVING, ENDING].concat();
        assert_eq!(simulation.steps(), expected, "{command}");
        simulation.assert_clean();
    }
}

#[test]
fn a_removal_that_fails_is_counted_and_reported_and_not_repeated() {
    for (node, command) in [
        (Node::Nar, "remove-proxy-nd"),
        (Node::Nar, "remove-buffer"),
        (Node::Par, "remove-tunnel"),
        (Node::Mn, "remove-uplink"),
    ] {
        let mut simulation = Simulation::new();
        simulation.fail(node, command);
        run_from_impend(&mut simulation);
        let expected = [ASKING, PREPARING, MOVING, ENDING].concat();
        assert_eq!(simulation.steps(), expected, "{command}");
        let counters = [
            simulation.mn.counters().command_failed,
            simulation.par.counters().command_failed,
            simulation.nar.counters().command_failed,
        ];
        assert_eq!(counters.iter().sum::<u64>(), 1);
        assert_eq!(simulation.installed.len(), 1);
    }
}

// Shutdown

#[test]
fn a_shutdown_at_any_moment_removes_exactly_what_was_installed() {
    for node in [Node::Mn, Node::Par, Node::Nar] {
        for millis in 0..300 {
            let mut simulation = Simulation::new();
            simulation.impend();
            simulation.run(Duration::from_millis(millis));
            simulation.input(node, Input::Admin(Admin::Shutdown));
            let left = simulation.installed.iter().any(|(of, ..)| *of == node);
            assert!(!left, "{node:?} after {millis} ms");
            let (handovers, timeout) = match node {
                Node::Mn => (simulation.mn.handovers(), simulation.mn.poll_timeout()),
                Node::Par => (simulation.par.handovers(), simulation.par.poll_timeout()),
                Node::Nar => (simulation.nar.handovers(), simulation.nar.poll_timeout()),
            };
            assert_eq!((handovers, timeout), (Vec::new(), None));
            // The others notice, or wait for their lifetimes.
            simulation.run(FOREVER);
            simulation.assert_clean();
        }
    }
}

#[test]
fn after_a_shutdown_nothing_new_begins() {
    let mut simulation = Simulation::new();
    for node in [Node::Mn, Node::Par, Node::Nar] {
        simulation.input(node, Input::Admin(Admin::Shutdown));
    }
    simulation.impend();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    assert_eq!(simulation.steps(), Vec::<String>::new());
    simulation.assert_clean();
}

// Anything

#[test]
fn packets_for_others_are_counted_and_left_alone() {
    let mut packet = Packet::decode(&hi(PAR, HI)).unwrap();
    packet.destination = "2001:db8:2::2".parse().unwrap();
    let simulation = nar_hears(packet.encode());
    assert_eq!(simulation.nar.counters().not_for_us, 1);
    assert_nothing_changed(&simulation);
}

#[test]
fn rubbish_is_counted() {
    for bytes in [&b""[..], b"rubbish", &[0x60; 80]] {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut simulation = Simulation::new();
        for node in [Node::Mn, Node::Par, Node::Nar] {
            simulation.inject(node, ACCESS, bytes.clone());
        }
        assert_eq!(simulation.mn.counters().malformed, 1);
        assert_eq!(simulation.par.counters().malformed, 1);
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn keys_do_not_appear_in_what_is_printed() {
    let router = format!("{:?}", Simulation::new().par);
    let mobile = format!("{:?}", Simulation::new().mn);
    let key = format!("{KEY:?}");
    assert!(!router.contains(&key) && !mobile.contains(&key));
    assert!(router.contains("HandoverKey"));
}

/// One thing that happens in a random story.
#[derive(Clone, Debug)]
enum Happening {
    Pass(u64),
    Link(LinkEvent),
    Lose(Node, &'static str),
    Fail(Node, &'static str, bool),
    Repair,
    Fbu {
        back: bool,
        sequence: u16,
        lifetime: u16,
        host: u16,
    },
    Hi {
        back: bool,
        sequence: u16,
        host: u16,
        lla: u8,
    },
    Hack {
        sequence: u16,
        code: u8,
    },
    Una(bool, u8),
    Drained(bool),
    Noise(Node, Vec<u8>),
}

fn happening() -> impl Strategy<Value = Happening> {
    let node = || prop_oneof![Just(Node::Mn), Just(Node::Par), Just(Node::Nar)];
    let access_point = || prop_oneof![Just(AP1), Just(AP1B), Just(AP2), Just(AP_UNKNOWN)];
    let kind = proptest::sample::select(vec![
        "RtSolPr", "PrRtAdv", "FBU", "FBack", "HI", "HAck", "NA",
    ]);
    let command = proptest::sample::select(vec![
        "install-tunnel",
        "start-buffering",
        "release-buffer",
        "add-proxy-nd",
        "add-neighbor",
        "hold-uplink",
        "release-uplink",
        "switch-link",
        "configure-address",
        "set-default-router",
    ]);
    let link = (0..4, access_point()).prop_map(|(event, access_point)| match event {
        0 => LinkEvent::NewLinkDetected { access_point },
        1 => LinkEvent::HandoverImpend { access_point },
        2 => LinkEvent::LinkUp { access_point },
        _ => LinkEvent::LinkDown,
    });
    prop_oneof![
        6 => prop_oneof![0..30_u64, 0..400_u64, 0..40_000_u64].prop_map(Happening::Pass),
        6 => link.prop_map(Happening::Link),
        1 => (node(), kind).prop_map(|(from, kind)| Happening::Lose(from, kind)),
        1 => (node(), command, any::<bool>())
            .prop_map(|(of, command, late)| Happening::Fail(of, command, late)),
        1 => Just(Happening::Repair),
        4 => (any::<bool>(), 1..40_u16, 0..3_u16, 0..3_u16).prop_map(
            |(back, sequence, lifetime, host)| {
                Happening::Fbu { back, sequence, lifetime: lifetime * 15, host }
            },
        ),
        4 => (any::<bool>(), 1..5_u16, 0..3_u16, 1..3_u8)
            .prop_map(|(back, sequence, host, lla)| Happening::Hi { back, sequence, host, lla }),
        3 => (100..106_u16, prop_oneof![0..6_u8, 127..131_u8])
            .prop_map(|(sequence, code)| Happening::Hack { sequence, code }),
        2 => (any::<bool>(), 1..3_u8).prop_map(|(back, lla)| Happening::Una(back, lla)),
        1 => any::<bool>().prop_map(Happening::Drained),
        1 => (node(), proptest::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(to, bytes)| Happening::Noise(to, bytes)),
    ]
}

fn tell(story: &[Happening]) -> Simulation {
    let mut simulation = Simulation::new();
    let host_on =
        |link, host: u16| Ipv6Addr::new(0x2001, 0xdb8, link, 0, 0, 0xff, 0xfe00, 1 + host);
    // Where a mobile node comes to, and the address of the router that announces it.
    let routers = |back| {
        if back {
            (Node::Par, NAR)
        } else {
            (Node::Nar, PAR)
        }
    };
    let lla = |last| MacAddr([2, 0, 0, 0, 0, last]);
    for happening in story.iter().cloned() {
        match happening {
            Happening::Pass(millis) => simulation.run(Duration::from_millis(millis)),
            Happening::Link(event) => simulation.link(event),
            Happening::Lose(from, kind) => simulation.lose(from, kind, 1),
            Happening::Fail(of, command, false) => simulation.fail(of, command),
            Happening::Fail(of, command, true) => simulation.fail_late(of, command),
            Happening::Repair => simulation.repair(),
            Happening::Fbu {
                back,
                sequence,
                lifetime,
                host,
            } => {
                let (router, fbu, link) = match back {
                    false => (Node::Par, FBU, 2),
                    true => (Node::Nar, FBU_BACK, 1),
                };
                let ncoa = Some(host_on(link, host));
                let fbu = Fbu {
                    sequence,
                    lifetime,
                    ncoa,
                    ..fbu
                };
                simulation.inject(router, ACCESS, fbu.bytes());
            }
            Happening::Hi {
                back,
                sequence,
                host,
                lla: last,
            } => {
                let (router, peer) = routers(back);
                let (message, link) = if back { (HI_BACK, 1) } else { (HI, 2) };
                let message = HandoverInitiate {
                    sequence,
                    ncoa: Some(host_on(link, host)),
                    mn_lla: Some(lla(last)),
                    ..message
                };
                simulation.inject(router, CORE, hi(peer, message));
            }
            Happening::Hack { sequence, code } => {
                let bytes = hack(NAR, sequence, code.into(), None);
                simulation.inject(Node::Par, CORE, bytes);
            }
            Happening::Una(back, last) => {
                let ncoa = if back { PCOA } else { NCOA };
                let bytes = una(ncoa, lla(last)).encode();
                simulation.inject(routers(back).0, ACCESS, bytes);
            }
            Happening::Drained(back) => {
                let address = if back { PCOA } else { NCOA };
                simulation.input(routers(back).0, Input::Drained { address });
            }
            Happening::Noise(to, bytes) => simulation.inject(to, ACCESS, bytes.into()),
        }
    }
    simulation
}

proptest! {
    /// The simulation itself objects to what is installed twice or removed without being there.
    #[test]
    fn whatever_happens_nothing_outlives_its_lifetime(
        story in proptest::collection::vec(happening(), 0..40),
    ) {
        let mut simulation = tell(&story);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }

    #[test]
    fn whatever_happened_a_shutdown_removes_all_that_is_left(
        story in proptest::collection::vec(happening(), 0..40),
    ) {
        let mut simulation = tell(&story);
        for node in [Node::Mn, Node::Par, Node::Nar] {
            simulation.input(node, Input::Admin(Admin::Shutdown));
        }
        simulation.assert_clean();
    }
}
