//! The question whether an NCoA is in use on the link, before the HAck.

use super::*;
use crate::wire::{NeighborSolicitation, solicited_node};

const OTHER_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const PROBE: Duration = Duration::from_millis(250);
const ASKED: [&str; 2] = ["nar: start-buffering", "nar: -> ns"];

/// A NAR that heard the HI and asks its link.
fn probing(change: impl FnOnce(&mut AccessLink)) -> Simulation {
    let mut simulation = nar_with(|config| {
        config.access[0].duplicate_probe = Some(PROBE);
        change(&mut config.access[0]);
    });
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    assert_eq!(simulation.steps(), ASKED);
    simulation
}

/// An answer to the probe.
fn defence(lla: MacAddr) -> Bytes {
    let mut packet = una(NCOA, lla);
    let Message::NeighborAdvertisement(advertisement) = &mut packet.message else {
        panic!("it is an advertisement");
    };
    advertisement.override_ = true;
    packet.encode()
}

/// Another node's own probe.
fn rival() -> Bytes {
    let packet = Packet {
        source: Ipv6Addr::UNSPECIFIED,
        destination: solicited_node(NCOA),
        hop_limit: 255,
        home_address: None,
        message: Message::NeighborSolicitation(NeighborSolicitation {
            target: NCOA,
            source_lla: None,
            unknown: Vec::new(),
        }),
    };
    packet.encode()
}

fn from(link_source: MacAddr, interface: InterfaceIndex, bytes: Bytes) -> Input {
    Input::Packet {
        interface,
        link_source,
        bytes,
    }
}

// Rows: HI-12, HI-13, HI-18
#[test]
fn the_link_is_asked_before_an_address_is_defended() {
    let mut simulation = probing(|_| {});
    let Some((_, _, Output::Transmit(transmit))) = simulation
        .log
        .iter()
        .find(|(_, _, output)| matches!(output, Output::Transmit(_)))
    else {
        panic!("it was asked");
    };
    assert_eq!(transmit.interface, Some(ACCESS));
    let packet = Packet::decode(&transmit.bytes).unwrap();
    assert_eq!(packet, Packet::decode(&rival()).unwrap());
    // The PAR asks again meanwhile; and its mobile node, too.
    simulation.run(Duration::from_millis(100));
    for sequence in [7, 8, 8] {
        let message = HandoverInitiate { sequence, ..HI };
        simulation.inject(Node::Nar, CORE, hi(PAR, message));
    }
    simulation.run(Duration::from_millis(149));
    assert_eq!(simulation.steps(), ASKED);
    assert_eq!(simulation.nar.handovers()[0].state, "probing");
    simulation.run(Duration::from_millis(1));
    assert_eq!(
        simulation.steps()[2..],
        ["nar: add-proxy-nd", "nar: -> hack"]
    );
    let (_, packet) = simulation.messages(Node::Nar, "HAck").next().unwrap();
    let Message::HandoverAck(hack) = packet.message else {
        panic!("it is a HAck");
    };
    assert_eq!((hack.sequence, hack.code), (8, HackCode::NcoaValid));
    // What is held is held for as long as the mobile node is waited for.
    assert_eq!(
        commands(&simulation)[0],
        Command::StartBuffering {
            address: NCOA,
            interface: ACCESS,
            link_address: MN_LLA,
            tunnel: None,
            expires: simulation.now + Duration::from_millis(1500),
        }
    );
    // The address is ours to defend: the link is not asked a second time.
    let message = HandoverInitiate { sequence: 9, ..HI };
    simulation.inject(Node::Nar, CORE, hi(PAR, message));
    assert_eq!(simulation.count("nar: -> ns"), 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: HI-12
#[test]
fn an_address_that_somebody_has_or_wants_is_not_the_mobile_node_s() {
    let claims = [
        from(OTHER_LLA, ACCESS, defence(OTHER_LLA)),
        from(OTHER_LLA, ACCESS, rival()),
        from(OTHER_LLA, ACCESS, una(NCOA, OTHER_LLA).encode()),
    ];
    for claim in claims {
        let mut simulation = probing(|_| {});
        simulation.input(Node::Nar, claim);
        assert_eq!(
            simulation.steps()[2..],
            ["nar: remove-buffer", "nar: -> hack"]
        );
        assert_eq!(hacks(&simulation), [(HackCode::NcoaInUse, None)]);
        assert_eq!(simulation.nar.counters().ncoa_in_use, 1);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: HI-12
#[test]
fn only_others_on_that_link_can_contest_an_address() {
    // Another access link of the same router.
    const ELSEWHERE: InterfaceIndex = 3;
    let mut simulation = nar_with(|config| {
        config.access[0].duplicate_probe = Some(PROBE);
        config.access.push(AccessLink {
            interface: ELSEWHERE,
            prefix: "2001:db8:22::/64".parse().unwrap(),
            address: "2001:db8:22::1".parse().unwrap(),
            ..config.access[0].clone()
        });
    });
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    for words in [
        from(OTHER_LLA, ELSEWHERE, rival()),
        from(OTHER_LLA, ELSEWHERE, defence(OTHER_LLA)),
        from(OTHER_LLA, ELSEWHERE, una(NCOA, OTHER_LLA).encode()),
        from(MN_LLA, ACCESS, defence(MN_LLA)),
        from(NAR_LLA, ACCESS, rival()),
        from(MN_LLA, ACCESS, rival()),
        from(OTHER_LLA, CORE, rival()),
        from(OTHER_LLA, CORE, defence(OTHER_LLA)),
    ] {
        simulation.input(Node::Nar, words);
        assert_eq!(simulation.steps(), ASKED);
    }
    simulation.run(PROBE);
    assert_eq!(hacks(&simulation), [(HackCode::NcoaValid, None)]);
    // Now it is too late.
    simulation.input(Node::Nar, from(OTHER_LLA, ACCESS, defence(OTHER_LLA)));
    assert_eq!(simulation.nar.handovers()[0].state, "expected");
}

// Rows: HI-12, UNA-06
#[test]
fn the_mobile_node_itself_answers_the_question() {
    let mut simulation = probing(|_| {});
    simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    assert_eq!(
        simulation.steps()[2..],
        ["nar: -> hack", "nar: add-neighbor", "nar: release-buffer"]
    );
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: HI-12, HI-15, HI-16
#[test]
fn for_an_address_in_use_the_link_s_policy_finds_another() {
    let mut simulation = probing(|link| {
        link.on_invalid_ncoa = OnInvalidNcoa::UseRouterAddress;
    });
    simulation.input(Node::Nar, from(OTHER_LLA, ACCESS, defence(OTHER_LLA)));
    assert_eq!(hacks(&simulation), [(HackCode::UsePcoa, None)]);
    assert!(simulation.installed.contains(&(Node::Nar, "buffer", PCOA)));
    simulation.run(FOREVER);
    simulation.assert_clean();

    let mut simulation = probing(|link| {
        let pool = "2001:db8:2::/64".parse().unwrap();
        link.addressing = Addressing::Assigned { pool };
    });
    simulation.input(Node::Nar, from(OTHER_LLA, ACCESS, defence(OTHER_LLA)));
    // The other one is asked for, too.
    assert_eq!(hacks(&simulation), []);
    assert_eq!(simulation.count("nar: -> ns"), 2);
    simulation.run(PROBE);
    let (code, ncoa) = hacks(&simulation)[0];
    assert_eq!(code, HackCode::NcoaAssigned);
    assert_ne!(ncoa, Some(NCOA));
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: HI-12
#[test]
fn commands_that_fail_during_the_question_end_it() {
    let mut simulation = nar_with(|config| config.access[0].duplicate_probe = Some(PROBE));
    simulation.fail(Node::Nar, "start-buffering");
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    assert_eq!(simulation.steps(), ["nar: start-buffering", "nar: -> hack"]);
    assert_eq!(hacks(&simulation), [(HackCode::Resources, None)]);
    simulation.run(FOREVER);
    simulation.assert_clean();
}
