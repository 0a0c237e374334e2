//! What the configuration takes, what it refuses, and in which words.

mod errors;
mod exchange;
mod ieee80216e;
mod told;

use super::*;

const ROUTER: &str = include_str!("../../examples/access-router.toml");
const NODE: &str = include_str!("../../examples/mobile-node.toml");
const KEY: &str = "000102030405060708090a0b0c0d0e0f10111213";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("f.toml"), text)
}

/// The error of `text` with `from`, which must occur in it, replaced by `to` once.
fn error_with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in the example");
    match parse(&text.replacen(from, to, 1)) {
        Ok(_) => panic!("accepted {to:?} in the place of {from:?}"),
        Err(error) => error.to_string(),
    }
}

fn line_of(text: &str, what: &str) -> usize {
    1 + text[..text.find(what).expect("it is in the text")]
        .matches('\n')
        .count()
}

/// The example with every default spelt out.
fn uncommented(text: &str) -> String {
    text.lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
                .unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn router() -> (Config, AccessRouter) {
    let config = parse(ROUTER).expect("the example is valid");
    let Role::AccessRouter(router) = config.role.clone() else {
        panic!("the example is no access router's")
    };
    (config, router)
}

fn node() -> (Config, MobileNode) {
    let config = parse(NODE).expect("the example is valid");
    let Role::MobileNode(node) = config.role.clone() else {
        panic!("the example is no mobile node's")
    };
    (config, node)
}

fn interface(name: &str, address: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        index: 7,
        link_address: "02:00:00:00:00:11".parse().unwrap(),
        mtu: 1_500,
        up: true,
        link_local: Some("fe80::11".parse().unwrap()),
        addresses: vec![(address.parse().unwrap(), 64)],
    }
}

#[test]
fn the_access_router_example_says_what_it_seems_to() {
    let (config, router) = router();
    assert_eq!(config.control_socket, Path::new(DEFAULT_CONTROL_SOCKET));
    assert_eq!(config.buffer, Buffer::default());
    assert_eq!(config.timers, proto::Timers::default());
    assert_eq!(config.interface_names(), ["core0", "acc0"]);
    assert_eq!(
        router,
        AccessRouter {
            core: vec![Core {
                interface: "core0".to_owned(),
                attach: Attach::Auto,
            }],
            state_directory: PathBuf::from(DEFAULT_STATE_DIRECTORY),
            max_bindings: 65_536,
            limits: proto::Limits::default(),
            access: vec![Access {
                interface: "acc0".to_owned(),
                attach: Attach::Auto,
                address: "2001:db8:1::1".parse().unwrap(),
                prefix: "2001:db8:1::/64".parse().unwrap(),
                access_points: vec!["02:00:00:00:0a:01".parse().unwrap()],
                addressing: proto::Addressing::Stateless,
                departure: proto::Departure::Ignore,
                duplicate_probe: None,
                on_invalid_ncoa: proto::OnInvalidNcoa::Silent,
                known_link_addresses: Vec::new(),
                hostapd: Vec::new(),
                buffer: BufferPolicy::default(),
            }],
            neighbors: vec![Neighbor {
                address: "2001:db8:2::1".parse().unwrap(),
                link_address: "02:00:00:00:00:22".parse().unwrap(),
                prefix: "2001:db8:2::/64".parse().unwrap(),
                access_points: vec!["02:00:00:00:0a:02".parse().unwrap()],
                other_addresses: Vec::new(),
                addressing: proto::PeerAddressing::Stateless,
                fast_handover: true,
            }],
            mobile_nodes: vec![MobileNodeKey {
                pcoa: "2001:db8:1::ff:fe00:1".parse().unwrap(),
                spi: 256,
                key: Key((0..=0x13).collect()),
            }],
        }
    );
}

#[test]
fn the_mobile_node_example_says_what_it_seems_to() {
    let (config, node) = node();
    assert_eq!(config.interface_names(), ["wlan0"]);
    assert_eq!(
        node,
        MobileNode {
            interface: "wlan0".to_owned(),
            access_router: Some(CurrentRouter {
                address: "2001:db8:1::1".parse().unwrap(),
                spi: 256,
                key: Key((0..=0x13).collect()),
            }),
            pcoa: Some("2001:db8:1::ff:fe00:1".parse().unwrap()),
            access_point: Some("02:00:00:00:0a:01".parse().unwrap()),
            start_timeout: Duration::from_secs(60),
            lifetime: Duration::from_secs(60),
            route_metric: 512,
            announcement: proto::Announcement::Una,
            routers: vec![RouterKey {
                address: "2001:db8:2::1".parse().unwrap(),
                prefix: "2001:db8:2::/64".parse().unwrap(),
                access_point: None,
                spi: 256,
                key: Key((0x10..=0x23).collect()),
            }],
            neighborhood_interval: None,
            link_layer: LinkLayerKind::Ieee80211(Box::new(Ieee80211::of("wlan0"))),
            mobile_ipv6: MobileIpv6 {
                on_care_of_address: Vec::new(),
                timeout: Duration::from_secs(30),
            },
            damping: damping::Settings::default(),
        }
    );
}

// Rows: GEN-07
#[test]
fn the_examples_show_every_default_as_it_is() {
    for text in [ROUTER, NODE] {
        let spelt_out = uncommented(text);
        assert!(spelt_out.lines().any(|line| line == "una-retries = 2"));
        assert_eq!(parse(&spelt_out).unwrap(), parse(text).unwrap());
    }
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let readme = include_str!("../../../README.md");
    assert!(readme.contains(&format!("```toml\n{ROUTER}```")));
}

// Rows: GEN-07, GEN-08, AMB-10
#[test]
fn every_key_of_buffer_and_timers_is_read() {
    let config = parse(&format!(
        "{}\n[buffer]\nenabled = false\npackets = 100\npackets-per-node = 10\n\
         bytes-per-node = 20000\nnodes = 20\nguaranteed-per-node = 5\ndrain = \"burst\"\ncatch-up = 3\nmax-hold-ms = 4\n\
         [timers]\nrtsolpr-retries = 11\nmax-rtsolpr-rate = 12\nfbu-retries = 13\n\
         proxy-nd-lifetime-ms = 14\nhi-retries = 15\ninitial-timeout-ms = 16\n\
         una-retries = 17\nuna-interval-ms = 18\nmax-binding-lifetime-s = 19\n",
        NODE.split("[buffer]")
            .next()
            .unwrap()
            .replace("role", "control-socket = \"/run/x\"\nrole"),
    ))
    .unwrap();
    assert_eq!(config.control_socket, Path::new("/run/x"));
    let ms = Duration::from_millis;
    assert_eq!(
        config.buffer,
        Buffer {
            enabled: false,
            packets: 100,
            packets_per_node: 10,
            bytes_per_node: 20_000,
            nodes: 20,
            guaranteed_per_node: 5,
            policy: BufferPolicy {
                drain: Drain::Burst,
                catch_up: 3.0,
                max_hold: ms(4),
            },
        }
    );
    assert_eq!(
        config.timers,
        proto::Timers {
            rtsolpr_retries: 11,
            max_rtsolpr_rate: 12,
            fbu_retries: 13,
            proxy_nd_lifetime: ms(14),
            hi_retries: 15,
            initial_timeout: ms(16),
            una_retries: 17,
            una_interval: ms(18),
            max_binding_lifetime: Duration::from_secs(19),
        }
    );
    let Role::MobileNode(node) = config.role else {
        panic!("it is a mobile node's")
    };
    assert_eq!(node.lifetime, Duration::from_secs(19));
}

#[test]
fn every_key_of_damping_is_read() {
    let text = NODE
        .replace("#new-link-repeat-ms = 10000", "new-link-repeat-ms = 21")
        .replace("#new-link-burst = 32", "new-link-burst = 22")
        .replace("#new-links-per-second = 2", "new-links-per-second = 23")
        .replace("#impend-interval-ms = 200", "impend-interval-ms = 0");
    let Role::MobileNode(node) = parse(&text).unwrap().role else {
        panic!("it is a mobile node's")
    };
    assert_eq!(
        node.damping,
        damping::Settings {
            new_link_repeat: Duration::from_millis(21),
            new_link_burst: 22,
            new_links_per_second: 23,
            impend_interval: Duration::ZERO,
        }
    );
}

#[test]
fn a_core_interface_is_a_name_or_a_section() {
    let router = router_with(&[
        (
            "core-interfaces = [\"core0\"]",
            "core-interfaces = [\"core0\"]\ncore = [{ interface = \"core1\", attach = \"tc\" }]",
        ),
        ("#attach = \"auto\"", "attach = \"native\""),
    ]);
    for (name, expected) in [
        ("core0", Some((Attach::Auto, Side::Core))),
        ("core1", Some((Attach::Tc, Side::Core))),
        ("acc0", Some((Attach::Native, Side::Access))),
        ("acc1", None),
    ] {
        assert_eq!(router.attachment(name), expected, "{name}");
    }
    let alone = router_with(&[(
        "core-interfaces = [\"core0\"]",
        "core = [{ interface = \"core1\" }]",
    )]);
    assert_eq!(alone.attachment("core1"), Some((Attach::Auto, Side::Core)));
}

/// The router's example with these lines in the place of their defaults.
fn router_with(changes: &[(&str, &str)]) -> AccessRouter {
    let mut text = ROUTER.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from:?} is not in the example");
        text = text.replacen(from, to, 1);
    }
    match parse(&text).expect("it is valid").role {
        Role::AccessRouter(router) => router,
        Role::MobileNode(_) => panic!("it is an access router's"),
    }
}

#[test]
fn every_key_of_an_access_link_is_read() {
    let ms = Duration::from_millis;
    let access = |changes: &[(&str, &str)]| router_with(changes).access.remove(0);
    let assigned = (
        "#addressing = \"stateless\"",
        "addressing = \"assigned\"\npool = \"2001:db8:1::a000:0:0:0/68\"",
    );
    assert_eq!(
        access(&[assigned]).addressing,
        proto::Addressing::Assigned {
            pool: "2001:db8:1::a000:0:0:0/68".parse().unwrap()
        }
    );
    let keep = ("#addressing = \"stateless\"", "addressing = \"keep-pcoa\"");
    assert_eq!(access(&[keep]).addressing, proto::Addressing::KeepPcoa);

    let hold = ("#departure = \"ignore\"", "departure = \"hold\"");
    let copy = ("#departure = \"ignore\"", "departure = \"copy\"");
    let hold_ms = ("#departure-hold-ms = 5000", "departure-hold-ms = 7000");
    let window_ms = ("#copy-window-ms = 200", "copy-window-ms = 90");
    let lifetime = ms(7000);
    assert_eq!(
        access(&[hold, hold_ms]).departure,
        proto::Departure::Hold { lifetime }
    );
    assert_eq!(
        access(&[copy, hold_ms, window_ms]).departure,
        proto::Departure::Copy {
            window: ms(90),
            lifetime
        }
    );
    assert_eq!(
        access(&[copy]).departure,
        proto::Departure::Copy {
            window: ms(200),
            lifetime: ms(5000)
        }
    );

    let probe = ("#duplicate-probe-ms = 0", "duplicate-probe-ms = 1000");
    assert_eq!(access(&[probe]).duplicate_probe, Some(ms(1000)));
    for (word, policy) in [
        ("silent", proto::OnInvalidNcoa::Silent),
        ("configure", proto::OnInvalidNcoa::Configure),
        ("assign", proto::OnInvalidNcoa::Assign),
        ("use-router-address", proto::OnInvalidNcoa::UseRouterAddress),
    ] {
        let line = format!("on-invalid-ncoa = {word:?}");
        let change = ("#on-invalid-ncoa = \"silent\"", line.as_str());
        assert_eq!(access(&[assigned, change]).on_invalid_ncoa, policy);
    }
    let known = (
        "#known-link-addresses = []",
        "known-link-addresses = [\"02:00:00:00:00:99\"]",
    );
    assert_eq!(
        access(&[known]).known_link_addresses,
        ["02:00:00:00:00:99".parse().unwrap()]
    );
    let hostapd = (
        "#hostapd = []",
        "hostapd = [\"/run/hostapd/wlan0\", \"/run/hostapd/wlan1\"]",
    );
    assert_eq!(
        access(&[hostapd]).hostapd,
        ["/run/hostapd/wlan0", "/run/hostapd/wlan1"].map(PathBuf::from)
    );
}

#[test]
fn every_key_of_a_neighbor_is_read() {
    for (word, addressing) in [
        ("stateless", proto::PeerAddressing::Stateless),
        ("assigned", proto::PeerAddressing::Assigned),
        ("dhcp", proto::PeerAddressing::Dhcp),
    ] {
        // Behind the access link's key of the same name.
        let line = format!("access-points = [\"02:00:00:00:0a:02\"]\naddressing = {word:?}");
        let router = router_with(&[
            ("access-points = [\"02:00:00:00:0a:02\"]", &line),
            ("#fast-handover = true", "fast-handover = false"),
            (
                "#other-addresses = []",
                "other-addresses = [\"2001:db8:f::2\"]",
            ),
        ]);
        let neighbor = &router.neighbors[0];
        assert_eq!(neighbor.addressing, addressing);
        assert!(!neighbor.fast_handover);
        let other: Ipv6Addr = "2001:db8:f::2".parse().unwrap();
        assert_eq!(neighbor.other_addresses, [other]);
    }
}

#[test]
fn every_limit_is_read_and_parts_are_not_more_than_the_whole() {
    let whole = ("#max-handovers = 1024", "max-handovers = 50");
    let limits = router_with(&[
        whole,
        ("#max-per-peer = 1024", "max-per-peer = 20"),
        ("#max-per-link = 1024", "max-per-link = 30"),
        ("#signalling-per-source = 100", "signalling-per-source = 7"),
    ])
    .limits;
    assert_eq!(
        limits,
        proto::Limits {
            max_handovers: 50,
            max_per_peer: 20,
            max_per_link: 30,
            signalling_per_source: 7,
        }
    );
    let limits = router_with(&[whole]).limits;
    assert_eq!((limits.max_per_peer, limits.max_per_link), (50, 50));
    let bindings = ("#max-bindings = 65536", "max-bindings = 1000000");
    assert_eq!(router_with(&[bindings]).max_bindings, 1_000_000);
    // As many as the handovers need.
    let many = ("#max-handovers = 1024", "max-handovers = 100000");
    assert_eq!(router_with(&[many]).max_bindings, 200_000);
}

#[test]
fn a_mobile_node_may_announce_itself_by_an_fna() {
    let text = NODE.replace("#announcement = \"una\"", "announcement = \"fna\"");
    let Role::MobileNode(node) = parse(&text).unwrap().role else {
        panic!("it is a mobile node's")
    };
    assert_eq!(node.announcement, proto::Announcement::Fna);
}

#[test]
fn a_small_pool_lowers_the_default_per_node() {
    let config = parse(&ROUTER.replace("#packets = 16384", "packets = 8")).unwrap();
    assert_eq!(config.buffer.packets_per_node, 8);
}

#[test]
fn a_link_says_how_its_packets_leave_and_what_it_leaves_out_is_as_for_all() {
    let text = ROUTER.replace("#catch-up = 2.0", "catch-up = 4.0").replace(
        "#known-link-addresses = []",
        "drain = \"burst\"\nmax-hold-ms = 300",
    );
    let config = parse(&text).unwrap();
    let Role::AccessRouter(router) = config.role else {
        panic!("it is an access router's")
    };
    let expected = BufferPolicy {
        drain: Drain::Burst,
        catch_up: 4.0,
        max_hold: Duration::from_millis(300),
    };
    assert_eq!(router.access[0].buffer, expected);
    assert_eq!(config.buffer.policy.drain, Drain::Paced);
}

#[test]
fn a_small_pool_guarantees_each_node_what_there_is() {
    for (packets, nodes, guaranteed) in [(16384, 1024, 8), (4096, 1024, 4), (100, 1024, 0)] {
        let text = ROUTER.replace(
            "#packets = 16384",
            &format!("packets = {packets}\nnodes = {nodes}"),
        );
        let buffer = parse(&text).unwrap().buffer;
        assert_eq!(buffer.guaranteed_per_node, guaranteed);
    }
}

#[test]
fn every_key_of_80211_is_read() {
    let config = parse(&NODE.replacen(
        "[mobile-node.ieee80211]",
        "[mobile-node.ieee80211]\ncontrol-interface = \"/run/x\"\nchoose-target = false\n\
         require-known-router = true\nsignal-threshold-dbm = -60\nsignal-hysteresis-db = 1\nsignal-interval-ms = 102\n\
         signal-weight = 1.0\nindications = 3\nlink-switch-wait-ms = 4\nroam-timeout-ms = 105\n\
         avoid-failed-ms = 6\nscan-max-age-ms = 7\nscan-min-interval-ms = 108\n\
         frequencies = [2412]\nallow = [\"02:00:00:00:00:09\"]\ndeny = [\"02:00:00:00:00:0a\"]\n\
         prefer = [\"02:00:00:00:00:09\"]",
        1,
    ));
    let Role::MobileNode(node) = config.unwrap().role else {
        panic!("the example is no mobile node's")
    };
    let millis = Duration::from_millis;
    let expected = Ieee80211 {
        control_interface: "/run/x".into(),
        choose_target: false,
        require_known_router: true,
        signal_threshold_dbm: -60,
        signal_hysteresis_db: 1,
        signal_interval: millis(102),
        signal_weight: 1.0,
        indications: 3,
        link_switch_wait: millis(4),
        roam_timeout: millis(105),
        avoid_failed: millis(6),
        scan_max_age: millis(7),
        scan_min_interval: millis(108),
        frequencies: vec![2412],
        allow: vec![MacAddr([2, 0, 0, 0, 0, 9])],
        deny: vec![MacAddr([2, 0, 0, 0, 0, 10])],
        prefer: vec![MacAddr([2, 0, 0, 0, 0, 9])],
    };
    assert_eq!(
        node.link_layer,
        LinkLayerKind::Ieee80211(Box::new(expected))
    );
}
