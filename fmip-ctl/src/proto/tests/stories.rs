//! Random stories: what holds whatever happens.

use super::{refused::naack, *};

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
        /// From the link that it goes to.
        moved: bool,
        sequence: u16,
        lifetime: u16,
        host: u16,
    },
    Hi {
        back: bool,
        /// From a third router, to the NAR.
        third: bool,
        moved: bool,
        sequence: u16,
        host: u16,
        lla: u8,
    },
    Hack {
        sequence: u16,
        code: u8,
    },
    Una(bool, u8),
    /// The NAR answers the announcement before the last, or the last, and may supply an address.
    Naack {
        status: u8,
        last: bool,
        host: Option<u16>,
    },
    /// The kernel finds that the address of the last announcement is another node's.
    Duplicate,
    Drained(bool),
    DrainFailed(bool),
    /// The link layer of the PAR, or of the NAR, sees the mobile node come or leave.
    Station {
        back: bool,
        attached: bool,
        lla: u8,
    },
    /// The routers take another policy for departures.
    Reload(Departure),
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
        "start-copying",
        "release-buffer",
        "add-proxy-nd",
        "add-neighbor",
        "hold-uplink",
        "release-uplink",
        "switch-link",
        "configure-address",
        "set-default-router",
    ]);
    let link = (0..5, access_point()).prop_map(|(event, access_point)| match event {
        0 => LinkEvent::NewLinkDetected { access_point },
        1 => LinkEvent::HandoverImpend { access_point },
        2 => LinkEvent::LinkUp { access_point },
        3 => LinkEvent::LinkUpSomewhere,
        _ => LinkEvent::LinkDown,
    });
    prop_oneof![
        6 => prop_oneof![0..30_u64, 0..400_u64, 0..40_000_u64].prop_map(Happening::Pass),
        6 => link.prop_map(Happening::Link),
        1 => (node(), kind).prop_map(|(from, kind)| Happening::Lose(from, kind)),
        1 => (node(), command, any::<bool>())
            .prop_map(|(of, command, late)| Happening::Fail(of, command, late)),
        1 => Just(Happening::Repair),
        6 => (any::<bool>(), any::<bool>(), 1..40_u16, 0..3_u16, 0..3_u16).prop_map(
            |(back, moved, sequence, lifetime, host)| {
                Happening::Fbu { back, moved, sequence, lifetime: lifetime * 15, host }
            },
        ),
        4 => (any::<bool>(), any::<bool>(), any::<bool>(), 1..5_u16, 0..3_u16, 1..3_u8).prop_map(
            |(back, third, moved, sequence, host, lla)| {
                Happening::Hi { back, third: third && !back, moved, sequence, host, lla }
            },
        ),
        3 => (100..106_u16, prop_oneof![0..6_u8, 127..131_u8])
            .prop_map(|(sequence, code)| Happening::Hack { sequence, code }),
        2 => (any::<bool>(), 1..3_u8).prop_map(|(back, lla)| Happening::Una(back, lla)),
        2 => (
            prop_oneof![1..5_u8, Just(128)],
            any::<bool>(),
            proptest::option::of(0..3_u16),
        )
            .prop_map(|(status, last, host)| Happening::Naack { status, last, host }),
        2 => Just(Happening::Duplicate),
        1 => any::<bool>().prop_map(Happening::Drained),
        1 => any::<bool>().prop_map(Happening::DrainFailed),
        4 => (any::<bool>(), any::<bool>(), 1..3_u8)
            .prop_map(|(back, attached, lla)| Happening::Station { back, attached, lla }),
        1 => departure().prop_map(Happening::Reload),
        1 => (node(), proptest::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(to, bytes)| Happening::Noise(to, bytes)),
    ]
}

fn departure() -> impl Strategy<Value = Departure> {
    let lifetime = Duration::from_secs(3);
    let window = Duration::from_millis(100);
    prop_oneof![
        Just(Departure::Ignore),
        Just(Departure::Hold { lifetime }),
        Just(Departure::Copy { window, lifetime }),
    ]
}

/// The addresses that the mobile node announced, each as often as it did it in a row once.
fn announced(simulation: &Simulation) -> Vec<Ipv6Addr> {
    let sources = simulation.messages(Node::Mn, "NA");
    let mut sources: Vec<Ipv6Addr> = sources.map(|(_, packet)| packet.source).collect();
    sources.dedup();
    sources
}

fn station(attached: bool, address: Ipv6Addr, link_address: MacAddr) -> Input {
    let interface = ACCESS;
    Input::Station(match attached {
        true => StationEvent::Attached {
            interface,
            address,
            link_address,
        },
        false => StationEvent::Departed { interface, address },
    })
}

const THIRD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1);

/// The PAR, or the NAR, which may assign addresses.
fn with_departure(nar: bool, assigns: bool, departure: Departure) -> RouterConfig {
    let mut config = router_config(nar);
    config.access[0].departure = departure;
    if nar {
        let third = Peer {
            address: THIRD,
            prefix: "2001:db8:3::/64".parse().unwrap(),
            ..config.peers[0].clone()
        };
        config.peers.push(third);
    }
    if nar && assigns {
        let pool = "2001:db8:2::ff:fe00:0/126".parse().unwrap();
        config.access[0].addressing = Addressing::Assigned { pool };
    }
    config
}

fn tell(assigns: bool, departure: Departure, story: &[Happening]) -> Simulation {
    let mut mobile_node = mobile_node_config();
    mobile_node.silent_router_interval = Some(5 * SECOND);
    let mut simulation = Simulation::with(
        mobile_node,
        with_departure(false, assigns, departure),
        with_departure(true, assigns, departure),
    );
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
                moved,
                sequence,
                lifetime,
                host,
            } => {
                let (router, fbu, link) = match back {
                    false => (Node::Par, FBU, 2),
                    true => (Node::Nar, FBU_BACK, 1),
                };
                let ncoa = host_on(link, host);
                let fbu = Fbu {
                    source: if moved { ncoa } else { fbu.source },
                    sequence,
                    lifetime,
                    ncoa: Some(ncoa),
                    ..fbu
                };
                let interface = if moved { CORE } else { ACCESS };
                simulation.inject(router, interface, fbu.bytes());
            }
            Happening::Hi {
                back,
                third,
                moved,
                sequence,
                host,
                lla: last,
            } => {
                let (router, peer) = routers(back);
                let peer = if third { THIRD } else { peer };
                let (message, link) = if back { (HI_BACK, 1) } else { (HI, 2) };
                let code = match moved {
                    false => message.code,
                    true => HiCode::OtherSource,
                };
                let pcoa = match third {
                    false => message.pcoa,
                    true => Some(host_on(3, 0)),
                };
                let message = HandoverInitiate {
                    code,
                    pcoa,
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
            Happening::Naack { status, last, host } => {
                let skipped = usize::from(!last);
                if let Some(announced) = announced(&simulation).into_iter().nth_back(skipped) {
                    let supplied = host.map(|host| host_on(2, 9 + host));
                    let status = NaackStatus::from(status);
                    let mut answer = naack(status, supplied);
                    answer.destination = announced;
                    simulation.inject_from(Node::Mn, ACCESS, NAR_LLA, answer.encode());
                }
            }
            Happening::Duplicate => {
                let last = announced(&simulation).into_iter().next_back();
                let last = last.filter(|of| *of != PCOA && simulation.addresses.contains(of));
                if let Some(address) = last {
                    refused::find_duplicate(&mut simulation, address);
                }
            }
            Happening::Drained(back) => {
                let address = if back { PCOA } else { NCOA };
                simulation.input(routers(back).0, Input::Drained { address });
            }
            Happening::DrainFailed(back) => {
                let address = if back { PCOA } else { NCOA };
                let error = CommandError::Other("no".to_owned());
                let failed = Input::DrainFailed { address, error };
                simulation.input(routers(back).0, failed);
            }
            Happening::Station {
                back,
                attached,
                lla: last,
            } => {
                let (router, address) = match back {
                    false => (Node::Par, PCOA),
                    true => (Node::Nar, NCOA),
                };
                simulation.input(router, station(attached, address, lla(last)));
            }
            Happening::Reload(departure) => {
                let now = simulation.now;
                simulation
                    .par
                    .reload(now, with_departure(false, assigns, departure));
                simulation
                    .nar
                    .reload(now, with_departure(true, assigns, departure));
                for node in [Node::Par, Node::Nar] {
                    simulation.carry_out(node);
                }
            }
            Happening::Noise(to, bytes) => simulation.inject(to, ACCESS, bytes.into()),
        }
    }
    simulation
}

proptest! {
    /// The simulation itself objects to what is installed twice or removed without being there.
    // Rows: BUF-06
    #[test]
    fn whatever_happens_nothing_outlives_its_lifetime(
        assigns in any::<bool>(),
        departure in departure(),
        story in proptest::collection::vec(happening(), 0..40),
    ) {
        let mut simulation = tell(assigns, departure, &story);
        // Whoever is on a link is copied for as long as that lasts.
        for (node, address) in [(Node::Par, PCOA), (Node::Nar, NCOA)] {
            simulation.input(node, station(false, address, MN_LLA));
        }
        simulation.run(FOREVER);
        // A story may tell it that it is where it is not: its router there is asked in vain now and then.
        if simulation.mn.status().silent_router.is_some() {
            simulation.link(LinkEvent::LinkDown);
            simulation.run(FOREVER);
        }
        simulation.assert_clean();
    }

    #[test]
    fn whatever_happened_a_shutdown_removes_all_that_is_left(
        assigns in any::<bool>(),
        departure in departure(),
        story in proptest::collection::vec(happening(), 0..40),
    ) {
        let mut simulation = tell(assigns, departure, &story);
        for node in [Node::Mn, Node::Par, Node::Nar] {
            simulation.input(node, Input::Admin(Admin::Shutdown));
        }
        simulation.assert_clean();
    }
}
