//! What routers tell of their neighborhood: every code, orders to move, and the two topologies of
//! RFC 4260 section 3.

use super::*;
use crate::wire::RouterInfo;

const AP3: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 3]);
const AP4: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 4]);
const AP5: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 5]);
const AP6: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 6]);

fn peer(n: u16, access_points: &[MacAddr]) -> Peer {
    Peer {
        address: Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1),
        lla: MacAddr([2, 0, 0, 0, 1, n as u8]),
        prefix: format!("2001:db8:{n}::/64").parse().unwrap(),
        access_points: access_points.to_vec(),
        ..router_config(false).peers[0].clone()
    }
}

fn par_with(peers: Vec<Peer>) -> Simulation {
    let config = RouterConfig {
        peers,
        ..router_config(false)
    };
    Simulation::with(mobile_node_config(), config, router_config(true))
}

fn prrtadvs(simulation: &Simulation) -> Vec<PrRtAdv> {
    let advertisement = |(_, packet): (_, Packet)| {
        assert_eq!(packet.source.to_string(), "fe80::1");
        assert_eq!((packet.destination, packet.hop_limit), (PCOA, 255));
        match packet.message {
            Message::PrRtAdv(advertisement) => advertisement,
            other => unreachable!("only PrRtAdvs were asked for, not {other:?}"),
        }
    };
    let messages = simulation.messages(Node::Par, "PrRtAdv");
    messages.map(advertisement).collect()
}

fn asked(simulation: &mut Simulation, access_points: &[MacAddr]) -> Vec<PrRtAdv> {
    simulation.log.clear();
    simulation.inject(Node::Par, ACCESS, rtsolpr(access_points.to_vec()).encode());
    prrtadvs(simulation)
}

fn outcomes(advertisement: &PrRtAdv) -> Vec<(MacAddr, ApOutcome)> {
    let tuples = advertisement.tuples.iter();
    tuples
        .map(|tuple| (tuple.access_point, tuple.outcome))
        .collect()
}

// Rows: PRA-13, PRA-16, PRA-05, PRA-06, PRA-08, PRA-10
#[test]
fn every_outcome_has_its_option_code_and_the_message_its_code() {
    use {ApOutcome as Outcome, PrRtAdvCode as Code};
    let mut legacy = peer(3, &[AP3]);
    legacy.fast_handover = false;
    let mut simulation = par_with(vec![peer(2, &[AP2]), legacy]);
    let all = [
        (AP2, Outcome::Known),
        (AP1B, Outcome::SameInterface),
        (AP_UNKNOWN, Outcome::NoPrefix),
        (AP3, Outcome::NoFastHandover),
    ];
    let cases: [(&[usize], Code); 7] = [
        (&[0], Code::Solicited),
        (&[1], Code::NoNewRouter),
        (&[2], Code::NoNewRouter),
        (&[1, 2], Code::NoNewRouter),
        (&[3], Code::Partial),
        (&[2, 3], Code::Partial),
        (&[0, 1, 2, 3], Code::Partial),
    ];
    for (which, code) in cases {
        let expected: Vec<_> = which.iter().map(|&index| all[index]).collect();
        let access_points: Vec<_> = expected.iter().map(|(ap, _)| *ap).collect();
        let answers = asked(&mut simulation, &access_points);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].code, code, "{which:?}");
        assert_eq!(outcomes(&answers[0]), expected);
        for tuple in &answers[0].tuples {
            // PRA-10: no prefix information where nothing changes, or nothing can be done.
            let known = tuple.outcome == Outcome::Known;
            assert_eq!(tuple.router.is_some(), known);
        }
    }
}

// Rows: PRA-22
#[test]
fn networks_with_dhcp_have_a_message_and_a_code_of_their_own() {
    use {ApOutcome as Outcome, PrRtAdvCode as Code};
    let mut dhcp = peer(3, &[AP3, AP4]);
    dhcp.addressing = PeerAddressing::Dhcp;
    let mut simulation = par_with(vec![peer(2, &[AP2]), dhcp.clone()]);
    let answers = asked(&mut simulation, &[AP3]);
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].code, answers[0].identifier), (Code::Dhcp, 77));
    assert_eq!(outcomes(&answers[0]), [(AP3, Outcome::Known)]);
    let router = answers[0].tuples[0].router.map(|router| router.address);
    assert_eq!(router, Some(dhcp.address));

    for access_points in [&[AP3, AP2, AP4, AP_UNKNOWN][..], &[]] {
        let answers = asked(&mut simulation, access_points);
        let codes: Vec<_> = answers.iter().map(|answer| answer.code).collect();
        let first = match access_points {
            [] => Code::Solicited,
            _ => Code::Partial,
        };
        assert_eq!(codes, [first, Code::Dhcp]);
        assert_eq!(outcomes(&answers[0])[0], (AP2, Outcome::Known));
        assert_eq!(
            outcomes(&answers[1]),
            [(AP3, Outcome::Known), (AP4, Outcome::Known)]
        );
        assert!(answers.iter().all(|answer| answer.identifier == 77));
    }
    // One that knows nothing of fast handovers needs no code for its addresses.
    dhcp.fast_handover = false;
    let mut simulation = par_with(vec![dhcp]);
    let answers = asked(&mut simulation, &[AP3]);
    assert_eq!(outcomes(&answers[0]), [(AP3, Outcome::NoFastHandover)]);
    assert_eq!(answers[0].code, Code::Partial);
}

// Rows: PRA-15, W11-12
#[test]
fn a_message_is_never_longer_than_the_link_takes() {
    let many: Vec<_> = (0..200).map(|n| MacAddr([2, 0, 0, 0, 2, n])).collect();
    for (mtu, room) in [(1280, 1280), (1500, 1500), (600, 1280), (9000, 9000)] {
        let mut config = router_config(false);
        config.access[0].mtu = mtu;
        config.peers = vec![peer(2, &many)];
        let mut simulation = Simulation::with(mobile_node_config(), config, router_config(true));
        let lengths = |simulation: &Simulation| -> Vec<usize> {
            let length = |(_, _, output): &(Instant, Node, Output)| match output {
                Output::Transmit(transmit) => Some(transmit.bytes.len()),
                _ => None,
            };
            simulation.log.iter().filter_map(length).collect()
        };
        simulation.inject(Node::Par, ACCESS, rtsolpr(Vec::new()).encode());
        let advertise = Input::Admin(Admin::Advertise { pcoa: PCOA });
        simulation.input(Node::Par, advertise);
        for length in lengths(&simulation) {
            assert!(length <= room, "{length} octets on a link of {mtu}");
            assert!(length > room - 80, "as many as there is room for");
        }
        assert_eq!(lengths(&simulation).len(), 2);
    }
}

// Rows: PRA-07, PRA-24
#[test]
fn the_prefix_is_given_also_where_the_routers_address_does_not_show_it() {
    let mut elsewhere = peer(2, &[AP2]);
    elsewhere.address = "2001:db8:ffff::2".parse().unwrap();
    elsewhere.prefix = "2001:db8:2::/48".parse().unwrap();
    let expected = RouterInfo {
        lla: elsewhere.lla,
        address: elsewhere.address,
        prefix: elsewhere.prefix,
    };
    let mut simulation = par_with(vec![elsewhere]);
    let answers = asked(&mut simulation, &[AP2]);
    assert_eq!(answers[0].tuples[0].router, Some(expected));
}

// Rows: PRA-02, PRA-17, PRA-20
#[test]
fn an_order_to_move_is_a_prrtadv_with_code_1_and_changes_nothing_else() {
    let ncoa: Ipv6Addr = "2001:db8:2::4321".parse().unwrap();
    for ncoa in [None, Some(ncoa)] {
        let mut simulation = par_with(vec![peer(2, &[AP2, AP3])]);
        let order = Input::Admin(Admin::Handover {
            pcoa: PCOA,
            access_point: AP3,
            ncoa,
        });
        simulation.input(Node::Par, order);
        let advertisements = prrtadvs(&simulation);
        assert_eq!(advertisements.len(), 1);
        assert_eq!(advertisements[0].code, PrRtAdvCode::HandoverTrigger);
        assert_eq!(advertisements[0].identifier, 0);
        assert_eq!(outcomes(&advertisements[0]), [(AP3, ApOutcome::Known)]);
        assert_eq!(advertisements[0].tuples[0].new_coa, ncoa);
        assert!(advertisements[0].tuples[0].router.is_some());
        assert!(simulation.events(Node::Par)[0].contains("handover-ordered"));
        assert_nothing_changed(&simulation);
    }
}

// Rows: PRA-17, PRA-18, PRA-19
#[test]
fn an_order_leads_to_a_predictive_handover() {
    let ncoa: Ipv6Addr = "2001:db8:2::4321".parse().unwrap();
    for (ncoa, announced) in [(None, NCOA), (Some(ncoa), ncoa)] {
        let mut simulation = Simulation::new();
        let order = Input::Admin(Admin::Handover {
            pcoa: PCOA,
            access_point: AP2,
            ncoa,
        });
        simulation.input(Node::Par, order);
        simulation.run(FOREVER);
        assert_eq!(simulation.count("nar: release-buffer"), 1);
        let (_, una) = simulation.messages(Node::Mn, "NA").next().unwrap();
        assert_eq!(una.source, announced);
        simulation.assert_clean();
    }
}

// Rows: PRA-17
#[test]
fn an_order_that_leads_nowhere_is_refused_with_a_reason() {
    let mut legacy = peer(3, &[AP3]);
    legacy.fast_handover = false;
    let order = |pcoa, access_point, ncoa| Admin::Handover {
        pcoa,
        access_point,
        ncoa,
    };
    let of_another: Ipv6Addr = "2001:db8:3::9".parse().unwrap();
    let router: Ipv6Addr = "2001:db8:2::1".parse().unwrap();
    let cases: [(Admin, Counter); 7] = [
        (order(NCOA, AP2, None), |c| c.pcoa_not_ours),
        (order(PCOA, AP_UNKNOWN, None), |c| c.unknown_access_point),
        (order(PCOA, AP1B, None), |c| c.unknown_access_point),
        (order(PCOA, AP3, None), |c| c.peer_incapable),
        (order(PCOA, AP2, Some(of_another)), |c| {
            c.ncoa_outside_prefix
        }),
        (order(PCOA, AP2, Some(router)), |c| c.ncoa_outside_prefix),
        (Admin::Advertise { pcoa: NCOA }, |c| c.pcoa_not_ours),
    ];
    for (order, count) in cases {
        let mut simulation = par_with(vec![peer(2, &[AP2]), legacy.clone()]);
        simulation.input(Node::Par, Input::Admin(order));
        assert_eq!(count(simulation.par.counters()), 1, "{order:?}");
        assert!(simulation.events(Node::Par)[0].contains("order-refused"));
        assert_eq!(simulation.steps(), Vec::<String>::new());
    }
}

// Rows: PRA-17, PRA-02
#[test]
fn the_neighborhood_is_told_unasked_with_code_4() {
    let mut legacy = peer(3, &[AP4]);
    legacy.fast_handover = false;
    let mut simulation = par_with(vec![peer(2, &[AP2, AP3]), legacy]);
    let advertise = Input::Admin(Admin::Advertise { pcoa: PCOA });
    simulation.input(Node::Par, advertise);
    let advertisements = prrtadvs(&simulation);
    assert_eq!(advertisements.len(), 1);
    assert_eq!(advertisements[0].code, PrRtAdvCode::Neighborhood);
    assert_eq!(advertisements[0].identifier, 0);
    assert_eq!(
        outcomes(&advertisements[0]),
        [
            (AP2, ApOutcome::Known),
            (AP3, ApOutcome::Known),
            (AP4, ApOutcome::NoFastHandover)
        ]
    );
    assert_nothing_changed(&simulation);
}

/// RFC 4260 section 3, figure 1: several access points on one subnet, several routers.
///
/// ```text
///      AR1           AR2           AR3
///     /   \         /   \           |
///   AP1   AP2     AP3   AP4        AP5, AP6
/// ```
// Rows: W11-01, W11-02, PRA-10, PRA-11
#[test]
fn figure_1_a_move_between_access_points_of_one_subnet_is_none_and_of_another_is_one() {
    let with = |peers| {
        let mut config = router_config(false);
        config.access[0].access_points = vec![AP1, AP1B];
        config.peers = peers;
        config
    };
    let far = Peer {
        access_points: vec![AP2, AP5, AP6],
        ..router_config(false).peers[0].clone()
    };
    let par = with(vec![far, peer(3, &[AP3, AP4])]);
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.link(LinkEvent::HandoverImpend { access_point: AP1B });
    simulation.run(FOREVER);
    let mut steps = simulation.steps();
    steps.retain(|step| step.contains("->") || !step.starts_with("mn"));
    assert_eq!(steps, ["mn: -> rtsolpr", "par: -> prrtadv"]);
    let (_, packet) = simulation.messages(Node::Par, "PrRtAdv").next().unwrap();
    let Message::PrRtAdv(answer) = packet.message else {
        panic!("it is a PrRtAdv");
    };
    assert_eq!(outcomes(&answer), [(AP1B, ApOutcome::SameInterface)]);
    assert_eq!(answer.tuples[0].router, None);
    // Each router of the neighborhood has its own information.
    for (access_point, router) in [
        (AP3, peer(3, &[]).address),
        (AP4, peer(3, &[]).address),
        (AP6, NAR),
    ] {
        let answers = asked(&mut simulation, &[access_point]);
        let told = answers[0].tuples[0].router.map(|router| router.address);
        assert_eq!(told, Some(router));
    }
    // And a move to another router is a handover.
    simulation.log.clear();
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
}

/// RFC 4260 section 3, figure 2: each access point is a router, and its BSSID the router's
/// link-layer address.
// Rows: W11-03
#[test]
fn figure_2_every_access_point_is_a_router_with_its_own_bssid() {
    let mut par = router_config(false);
    par.access[0].access_points = vec![PAR_LLA];
    let mut integrated = par.peers[0].clone();
    integrated.access_points = vec![integrated.lla];
    par.peers = vec![
        integrated.clone(),
        Peer {
            access_points: vec![peer(3, &[]).lla],
            ..peer(3, &[])
        },
    ];
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    for (n, lla) in [(2, integrated.lla), (3, peer(3, &[]).lla)] {
        let answers = asked(&mut simulation, &[lla]);
        let router = answers[0].tuples[0].router.expect("it is known");
        assert_eq!(router.lla, lla);
        assert_eq!(router.prefix, peer(n, &[]).prefix);
    }
    let answers = asked(&mut simulation, &[PAR_LLA]);
    assert_eq!(outcomes(&answers[0]), [(PAR_LLA, ApOutcome::SameInterface)]);
}
