//! NAACK, as the mobile node sees it (RFC 5568 section 6.4.6).

use super::*;
use crate::wire::{Naack, NaackStatus, RouterAdvertisement};

const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x77);

/// What a NAACK finds at the mobile node that announced itself at the NAR.
fn announced(predictive: bool) -> Simulation {
    let mut simulation = Simulation::new();
    if predictive {
        simulation.impend();
        simulation.run(Duration::from_millis(219));
        assert_eq!(simulation.mn.handovers()[0].state, "arrived");
    } else {
        simulation.link(LinkEvent::NewLinkDetected { access_point: AP2 });
        simulation.run(SECOND);
        simulation.come_up(AP2);
        assert_eq!(simulation.mn.handovers()[0].state, "awaiting-fback");
    }
    simulation.lose(Node::Mn, "FBU", ALWAYS);
    simulation.log.clear();
    simulation
}

pub(super) fn naack(status: NaackStatus, ncoa: Option<Ipv6Addr>) -> Packet {
    Packet {
        source: "fe80::2".parse().unwrap(),
        destination: NCOA,
        hop_limit: 255,
        home_address: None,
        message: Message::RouterAdvertisement(RouterAdvertisement {
            hop_limit: 64,
            managed: false,
            other: false,
            router_lifetime: 1800,
            reachable_ms: 0,
            retrans_ms: 0,
            source_lla: Some(NAR_LLA),
            prefixes: Vec::new(),
            naack: Some(Naack { status, ncoa }),
            unknown: Vec::new(),
        }),
    }
}

fn hear(simulation: &mut Simulation, packet: &Packet) {
    simulation.inject_from(Node::Mn, ACCESS, NAR_LLA, packet.encode());
}

fn last_fbu(simulation: &Simulation) -> (Packet, FastBindingUpdate) {
    let (_, packet) = simulation
        .messages(Node::Mn, "FBU")
        .last()
        .expect("one was sent");
    let Message::FastBindingUpdate(fbu) = packet.message.clone() else {
        panic!("an FBU was asked for");
    };
    (packet, fbu)
}

/// Grants the last FBU.
fn grant(simulation: &mut Simulation) {
    let (_, fbu) = last_fbu(simulation);
    let care_of = fbu.alternate_coa.unwrap();
    let bytes = fback_to(care_of, accepted(fbu.sequence), care_of);
    simulation.inject(Node::Mn, ACCESS, bytes);
}

fn last_release(simulation: &Simulation) -> Option<(Ipv6Addr, Option<Tunnel>)> {
    let release = |command| match command {
        Command::ReleaseUplink { pcoa, tunnel, .. } => Some((pcoa, tunnel)),
        _ => None,
    };
    commands(simulation)
        .into_iter()
        .filter_map(release)
        .next_back()
}

// Rows: NAK-05
#[test]
fn a_supplied_address_is_used_and_registered() {
    for predictive in [false, true] {
        let mut simulation = announced(predictive);
        hear(
            &mut simulation,
            &naack(NaackStatus::UseSupplied, Some(OTHER)),
        );
        let (_, una) = simulation.messages(Node::Mn, "NA").last().unwrap();
        assert_eq!(una.source, OTHER);
        let (packet, fbu) = last_fbu(&simulation);
        assert_eq!((packet.source, packet.home_address), (OTHER, Some(PCOA)));
        assert_eq!((packet.destination, fbu.alternate_coa), (PAR, Some(OTHER)));
        let configured =
            |command: &Command| matches!(command, Command::ConfigureAddress { address: OTHER, .. });
        assert!(commands(&simulation).iter().any(configured));
        grant(&mut simulation);
        let tunnel = Tunnel {
            local: OTHER,
            remote: PAR,
        };
        assert_eq!(last_release(&simulation), Some((PCOA, Some(tunnel))));
        simulation.run(FOREVER);
        assert_eq!(simulation.mn.handovers(), []);
        assert_eq!(simulation.mn.poll_timeout(), None);
    }
}

// Rows: NAK-06
#[test]
fn told_to_keep_its_previous_address_it_sends_no_fbu_any_more() {
    for predictive in [false, true] {
        for (status, ncoa) in [
            (NaackStatus::UsePcoa, None),
            (NaackStatus::UseSupplied, Some(PCOA)),
        ] {
            let mut simulation = announced(predictive);
            hear(&mut simulation, &naack(status, ncoa));
            let (_, una) = simulation.messages(Node::Mn, "NA").last().unwrap();
            assert_eq!(una.source, PCOA);
            assert_eq!(last_release(&simulation), Some((PCOA, None)));
            simulation.run(FOREVER);
            assert_eq!(simulation.count("mn: -> FBU"), 0);
            assert_eq!(simulation.mn.handovers(), []);
        }
    }
}

// Rows: NAK-07
#[test]
fn told_to_use_the_routers_address_it_names_that_to_the_previous_router() {
    for predictive in [false, true] {
        let mut simulation = announced(predictive);
        hear(&mut simulation, &naack(NaackStatus::UseRouterAddress, None));
        let (packet, fbu) = last_fbu(&simulation);
        assert_eq!(fbu.alternate_coa, Some(NAR));
        assert_eq!(packet.home_address, Some(PCOA));
        grant(&mut simulation);
        // What comes from its own address needs no tunnel of its own.
        assert_eq!(last_release(&simulation), Some((PCOA, None)));
    }
}

// Rows: NAK-07, NAK-08
#[test]
fn told_to_look_for_another_address_it_uses_neither_of_those_it_has() {
    for predictive in [false, true] {
        for status in [
            NaackStatus::ConfigureAddress,
            NaackStatus::LinkAddressUnrecognized,
        ] {
            let mut simulation = announced(predictive);
            hear(&mut simulation, &naack(status, None));
            assert_eq!(simulation.count("mn: -> RS"), 1);
            assert_eq!(simulation.count("mn: -> NA"), 0);
            assert_eq!(last_release(&simulation), None);
            assert!(simulation.installed.contains(&(Node::Mn, "uplink", PCOA)));
            simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
            let (packet, fbu) = last_fbu(&simulation);
            let formed = packet.source;
            assert_ne!(formed, NCOA);
            assert_eq!(formed.segments()[..3], NCOA.segments()[..3]);
            assert_eq!(fbu.alternate_coa, Some(formed));
            grant(&mut simulation);
            let tunnel = Tunnel {
                local: formed,
                remote: PAR,
            };
            assert_eq!(last_release(&simulation), Some((PCOA, Some(tunnel))));
        }
    }
}

// Rows: NAK-03
#[test]
fn only_the_router_just_announced_to_refuses_an_address() {
    let good = naack(NaackStatus::UseSupplied, Some(OTHER));
    let elsewhere = "2001:db8:3::77".parse().unwrap();
    let foreign = naack(NaackStatus::UseSupplied, Some(elsewhere));
    let changed = |change: fn(&mut Packet)| {
        let mut packet = good.clone();
        change(&mut packet);
        packet
    };
    let cases = [
        (PAR_LLA, good.clone()),
        (NAR_LLA, foreign),
        (NAR_LLA, naack(NaackStatus::Other(9), None)),
        (NAR_LLA, changed(|of| of.source = NAR)),
        (NAR_LLA, changed(|of| of.destination = OTHER)),
        (NAR_LLA, changed(|of| of.hop_limit = 64)),
    ];
    for (link_source, packet) in cases {
        let mut simulation = announced(false);
        simulation.inject_from(Node::Mn, ACCESS, link_source, packet.encode());
        assert_eq!(simulation.log, [], "{packet:?} from {link_source}");
        let counters = simulation.mn.counters();
        let counted = counters.unexpected + counters.hop_limit + counters.malformed;
        assert_eq!(counted, 1);
    }
    // Too late.
    let mut simulation = announced(false);
    simulation.run(Duration::from_secs(2));
    simulation.log.clear();
    hear(&mut simulation, &good);
    assert_eq!(simulation.steps(), Vec::<String>::new());
    // A second time.
    let mut simulation = announced(false);
    hear(&mut simulation, &good);
    simulation.log.clear();
    hear(&mut simulation, &good);
    assert_eq!(simulation.log, []);
}

// Rows: W16-22
#[test]
fn a_router_that_refuses_every_address_is_left_alone() {
    let mut simulation = announced(false);
    let mut address = NCOA;
    for _ in 0..4 {
        let mut refusal = naack(NaackStatus::ConfigureAddress, None);
        refusal.destination = address;
        hear(&mut simulation, &refusal);
        simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
        if let Some((_, packet)) = simulation.messages(Node::Mn, "FBU").last() {
            address = packet.source;
        }
        simulation.run(Duration::from_millis(10));
    }
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"refused"}"#
    );
    assert_eq!(simulation.count("mn: -> FBU"), 3);
    assert_eq!(simulation.count("mn: remove-uplink"), 1);
    simulation.run(FOREVER);
    assert_eq!(simulation.mn.poll_timeout(), None);
}

// Rows: UNA-05
#[test]
fn an_address_that_the_kernel_finds_in_use_is_replaced() {
    let mut simulation = announced(true);
    simulation.run(Duration::from_millis(500));
    find_duplicate(&mut simulation, NCOA);
    simulation.log.clear();
    simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
    let (packet, _) = last_fbu(&simulation);
    assert_ne!(packet.source, NCOA);
}

/// The kernel finds that this address is another node's.
pub(super) fn find_duplicate(simulation: &mut Simulation, address: Ipv6Addr) {
    let command = Command::ConfigureAddress {
        interface: ACCESS,
        address,
        prefix_length: 64,
    };
    let error = CommandError::InUse("another node answered".to_owned());
    simulation.input(Node::Mn, Input::CommandFailed { command, error });
}

/// What a NAACK finds at a mobile node whose kernel was faster; and, if `formed`, one that has
/// announced another address since.
fn given_up(predictive: bool, formed: bool) -> Simulation {
    let mut simulation = announced(predictive);
    find_duplicate(&mut simulation, NCOA);
    assert_eq!(simulation.count("mn: -> RS"), 1);
    if formed {
        simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
        assert_ne!(last_fbu(&simulation).0.source, NCOA);
    }
    simulation.log.clear();
    simulation
}

const WAYS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

// Rows: NAK-05, UNA-05
#[test]
fn a_supplied_address_is_used_if_the_kernel_was_faster_than_the_router() {
    for (predictive, formed) in WAYS {
        let mut simulation = given_up(predictive, formed);
        let supplied = naack(NaackStatus::UseSupplied, Some(OTHER));
        hear(&mut simulation, &supplied);
        let (_, una) = simulation.messages(Node::Mn, "NA").last().unwrap();
        assert_eq!(una.source, OTHER);
        let (packet, fbu) = last_fbu(&simulation);
        assert_eq!((packet.source, packet.home_address), (OTHER, Some(PCOA)));
        assert_eq!((packet.destination, fbu.alternate_coa), (PAR, Some(OTHER)));
        // What the router says once more, or advertises meanwhile, changes nothing.
        let seen = simulation.log.len();
        hear(&mut simulation, &supplied);
        simulation.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
        assert_eq!(simulation.log.len(), seen);
        grant(&mut simulation);
        let tunnel = Tunnel {
            local: OTHER,
            remote: PAR,
        };
        assert_eq!(last_release(&simulation), Some((PCOA, Some(tunnel))));
        // What it had made for itself is gone.
        assert_eq!(simulation.addresses, [PCOA, OTHER].into());
        simulation.run(FOREVER);
        assert_eq!(simulation.mn.handovers(), []);
        assert_eq!(simulation.mn.poll_timeout(), None);
    }
}

// Rows: NAK-06, UNA-05
#[test]
fn it_keeps_its_previous_address_if_the_kernel_was_faster_than_the_router() {
    for (predictive, formed) in WAYS {
        for (status, ncoa) in [
            (NaackStatus::UsePcoa, None),
            (NaackStatus::UseSupplied, Some(PCOA)),
        ] {
            let mut simulation = given_up(predictive, formed);
            hear(&mut simulation, &naack(status, ncoa));
            let (_, una) = simulation.messages(Node::Mn, "NA").last().unwrap();
            assert_eq!(una.source, PCOA);
            assert_eq!(last_release(&simulation), Some((PCOA, None)));
            simulation.run(FOREVER);
            assert_eq!(simulation.count("mn: -> FBU"), 0);
            assert_eq!(simulation.addresses, [PCOA].into());
            assert_eq!(simulation.mn.handovers(), []);
        }
    }
}

// Rows: NAK-07, UNA-05
#[test]
fn the_routers_address_is_named_if_the_kernel_was_faster_than_the_router() {
    for (predictive, formed) in WAYS {
        let mut simulation = given_up(predictive, formed);
        hear(&mut simulation, &naack(NaackStatus::UseRouterAddress, None));
        let (packet, fbu) = last_fbu(&simulation);
        assert_eq!(fbu.alternate_coa, Some(NAR));
        assert_eq!(packet.home_address, Some(PCOA));
        grant(&mut simulation);
        assert_eq!(last_release(&simulation), Some((PCOA, None)));
    }
}

// Rows: NAK-07, NAK-08, UNA-05
#[test]
fn what_it_does_already_it_does_not_begin_again_at_the_routers_word() {
    for (predictive, formed) in WAYS {
        for status in [
            NaackStatus::ConfigureAddress,
            NaackStatus::LinkAddressUnrecognized,
        ] {
            let mut simulation = given_up(predictive, formed);
            let unexpected = simulation.mn.counters().unexpected;
            hear(&mut simulation, &naack(status, None));
            assert_eq!(simulation.log, []);
            assert_eq!(simulation.mn.counters().unexpected, unexpected);
        }
    }
}

// Rows: NAK-03, UNA-05
#[test]
fn a_word_on_an_address_given_up_has_its_time_and_its_sender_as_any_other() {
    let supplied = naack(NaackStatus::UseSupplied, Some(OTHER));
    let mut stranger = given_up(true, false);
    stranger.inject_from(Node::Mn, ACCESS, PAR_LLA, supplied.encode());
    let mut late = given_up(true, false);
    late.run(Duration::from_secs(2));
    late.log.clear();
    hear(&mut late, &supplied);
    // The router has agreed to the other address since.
    let mut agreed = given_up(true, false);
    agreed.inject(Node::Mn, ACCESS, advertisement("fe80::2", 2));
    grant(&mut agreed);
    agreed.log.clear();
    hear(&mut agreed, &supplied);
    // Back at another router meanwhile.
    let mut gone = given_up(true, false);
    gone.link(LinkEvent::LinkDown);
    gone.link(LinkEvent::LinkUp { access_point: AP2 });
    gone.log.clear();
    hear(&mut gone, &supplied);
    for simulation in [stranger, late, agreed, gone] {
        assert_eq!(simulation.log, []);
        assert_eq!(simulation.mn.counters().unexpected, 1);
    }
}

// Rows: NAK-05, UNA-05
#[test]
fn addresses_that_are_supplied_and_found_in_use_have_an_end() {
    for kernel_first in [true, false] {
        let mut simulation = announced(false);
        let mut address = NCOA;
        for n in 1..9 {
            let supplied = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 7, n);
            let mut refusal = naack(NaackStatus::UseSupplied, Some(supplied));
            refusal.destination = address;
            if kernel_first {
                find_duplicate(&mut simulation, address);
            }
            hear(&mut simulation, &refusal);
            if !kernel_first {
                find_duplicate(&mut simulation, address);
            }
            address = supplied;
        }
        assert_eq!(simulation.count("mn: -> FBU"), 3);
        assert_eq!(
            last_failure(&simulation),
            r#"{"event":"handover-failed","reason":"refused"}"#
        );
        simulation.run(FOREVER);
        assert_eq!(simulation.mn.poll_timeout(), None);
    }
}

// Rows: NAK-05
#[test]
fn a_router_that_supplies_one_address_after_the_other_is_left_alone() {
    let mut simulation = announced(false);
    let mut address = NCOA;
    for n in 1..9 {
        let supplied = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 7, n);
        let mut refusal = naack(NaackStatus::UseSupplied, Some(supplied));
        refusal.destination = address;
        hear(&mut simulation, &refusal);
        address = supplied;
    }
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"refused"}"#
    );
    assert_eq!(simulation.count("mn: -> FBU"), 3);
    simulation.run(FOREVER);
    assert_eq!(simulation.mn.poll_timeout(), None);
}

// Rows: NAK-06
#[test]
fn an_address_that_the_previous_router_lets_it_keep_cannot_be_refused() {
    let mut simulation = announced(false);
    let fback = FastBindingAck {
        status: FastBindingStatus::NcoaInvalid,
        alternate_coa: Some(PCOA),
        ..accepted(42)
    };
    simulation.inject(Node::Mn, ACCESS, fback_to(PCOA, fback, PCOA));
    simulation.log.clear();
    for destination in [PCOA, NCOA] {
        let mut refusal = naack(NaackStatus::UseRouterAddress, None);
        refusal.destination = destination;
        hear(&mut simulation, &refusal);
    }
    assert_eq!(simulation.log, []);
    assert_eq!(simulation.mn.counters().unexpected, 2);
}
