//! What the configuration takes, what it refuses, and in which words.

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
            core_interfaces: vec!["core0".to_owned()],
            max_handovers: 1_024,
            access: vec![Access {
                interface: "acc0".to_owned(),
                address: "2001:db8:1::1".parse().unwrap(),
                prefix: "2001:db8:1::/64".parse().unwrap(),
                access_points: vec!["02:00:00:00:0a:01".parse().unwrap()],
            }],
            neighbors: vec![Neighbor {
                address: "2001:db8:2::1".parse().unwrap(),
                link_address: "02:00:00:00:00:22".parse().unwrap(),
                prefix: "2001:db8:2::/64".parse().unwrap(),
                access_points: vec!["02:00:00:00:0a:02".parse().unwrap()],
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
            access_router: "2001:db8:1::1".parse().unwrap(),
            pcoa: "2001:db8:1::ff:fe00:1".parse().unwrap(),
            access_point: Some("02:00:00:00:0a:01".parse().unwrap()),
            spi: 256,
            key: Key((0..=0x13).collect()),
            lifetime: Duration::from_secs(60),
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

// Rows: GEN-07, GEN-08
#[test]
fn every_key_of_buffer_and_timers_is_read() {
    let config = parse(&format!(
        "{}\n[buffer]\nenabled = false\npackets = 100\npackets-per-node = 10\n\
         bytes-per-node = 20000\ndrain = \"burst\"\ncatch-up = 3\nmax-hold-ms = 4\n\
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
            drain: Drain::Burst,
            catch_up: 3.0,
            max_hold: ms(4),
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
fn a_small_pool_lowers_the_default_per_node() {
    let config = parse(&ROUTER.replace("#packets = 16384", "packets = 8")).unwrap();
    assert_eq!(config.buffer.packets_per_node, 8);
}

/// What to change in the router's example (`-` to `+`), and what is said about it (`!`).
const ROUTER_ERRORS: &str = r#"
- role = "access-router"
+ role = "ha"
! role: "ha" is no role: write "access-router" or "mobile-node"
- role = "access-router"
+ role = "mobile-node"
! role: a mobile node needs a section [mobile-node]
- role = "access-router"
+ rule = "access-router"
! rule: unknown field `rule`, expected one of `role`, `control-socket`, `access-router`, `mobile-node`, `buffer`, `timers`
- #control-socket = "/run/fmip/control.sock"
+ control-socket = "x.sock"
! control-socket: "x.sock" is no absolute path of a file
- core-interfaces = ["core0"]
+ core-interfaces = []
! access-router.core-interfaces: is empty: name the interfaces towards the other routers
- core-interfaces = ["core0"]
+ core-interfaces = ["core 0"]
! access-router.core-interfaces: "core 0" is no interface name: 1 to 15 octets without blank or slash
- core-interfaces = ["core0"]
+ core-interfaces = "core0"
! access-router.core-interfaces: invalid type: string "core0", expected a sequence
- #max-handovers = 1024
+ max-handovers = 0
! access-router.max-handovers: 0 is out of range: 1 to 1000000
- interface = "acc0"
+ interface = "core0"
! access-router.access.interface: core0 is named on line 12 already: remove one of the two
- "2001:db8:1::1"
+ "2001:db8:1::1/64"
! access-router.access.address: "2001:db8:1::1/64" is no IPv6 address: write it like "2001:db8:1::1", without a prefix length
- "2001:db8:1::1"
+ "fe80::1"
! access-router.access.address: "fe80::1" is no global unicast address, which other routers could reach
- "2001:db8:1::1"
+ "2001:db8:9::1"
! access-router.access.address: "2001:db8:9::1" is not within the prefix 2001:db8:1::/64
- "2001:db8:1::/64"
+ "2001:db8:1::"
! access-router.access.prefix: "2001:db8:1::" is no prefix: write it like "2001:db8:1::/64"
- "2001:db8:1::/64"
+ "2001:db8:1::/72"
! access-router.access.prefix: "2001:db8:1::/72" has a length out of range: 1 to 64, because interface identifiers are 64 bits long
- access-points = ["02:00:00:00:0a:01"]
+ access-points = []
! access-router.access.access-points: is empty: give the link-layer address (BSSID) of every access point on the link
- access-points = ["02:00:00:00:0a:01"]
+ access-points = ["02:00:0a:01"]
! access-router.access.access-points: "02:00:0a:01" is no link-layer address: write six octets like "02:00:00:00:0a:01"
- access-points = ["02:00:00:00:0a:01"]
+ access-points = ["03:00:00:00:0a:01"]
! access-router.access.access-points: "03:00:00:00:0a:01" is no unicast link-layer address
- "2001:db8:2::1"
+ "2001:db8:1::1"
! access-router.neighbor.address: 2001:db8:1::1 is used on line 20 already: remove one of the two
- "02:00:00:00:00:22"
+ "00:00:00:00:00:00"
! access-router.neighbor.link-address: "00:00:00:00:00:00" is no unicast link-layer address
- prefix = "2001:db8:2::/64"
+ prefix = "2001:db8::/32"
! access-router.neighbor.prefix: "2001:db8::/32" overlaps 2001:db8:1::/64 of line 22: every link has a prefix of its own
- "02:00:00:00:0a:02"
+ "02:00:00:00:0A:01"
! access-router.neighbor.access-points: 02:00:00:00:0a:01 is an access point on line 24 already: remove one of the two
- "2001:db8:1::ff:fe00:1"
+ "2001:db8:2::ff:fe00:1"
! access-router.mobile-node.pcoa: "2001:db8:2::ff:fe00:1" is on none of this router's access links: its handovers start at another router
- "2001:db8:1::ff:fe00:1"
+ "2001:db8:1::1"
! access-router.mobile-node.pcoa: "2001:db8:1::1" is this router's own address
- spi = 256
+ spi = 0
! access-router.mobile-node.spi: 0 is out of range: 1 to 4294967295 (0 stands for keys made by SEND)
- spi = 256
+ spi = 4294967296
! access-router.mobile-node.spi: 4294967296 is out of range: 1 to 4294967295 (0 stands for keys made by SEND)
- spi = 256
+
! access-router.mobile-node: missing field `spi`
- #packets = 16384
+ packets = 1048577
! buffer.packets: 1048577 is out of range: 1 to 1048576
- #packets = 16384
+ packets = "many"
! buffer.packets: invalid type: string "many", expected i64
- #packets-per-node = 8192
+ packets-per-node = 16385
! buffer.packets-per-node: 16385 is out of range: 1 to 16384
- #bytes-per-node = 16777216
+ bytes-per-node = -1
! buffer.bytes-per-node: -1 is out of range: 1280 to 4294967295
- #drain = "paced"
+ drain = "slow"
! buffer.drain: "slow" is no drain policy: write "paced" or "burst"
- #catch-up = 2.0
+ catch-up = 1.0
! buffer.catch-up: 1 is out of range: above 1 (or the backlog never shrinks) and at most 100
- #catch-up = 2.0
+ catch-up = nan
! buffer.catch-up: NaN is out of range: above 1 (or the backlog never shrinks) and at most 100
- #max-hold-ms = 10000
+ max-hold-ms = 0
! buffer.max-hold-ms: 0 is out of range: 1 to 600000
- #hi-retries = 3
+ hi-retries = 21
! timers.hi-retries: 21 is out of range: 0 to 20
- #max-binding-lifetime-s = 60
+ max-binding-lifetime-s = 65536
! timers.max-binding-lifetime-s: 65536 is out of range: 1 to 65535
"#;

/// The same for the mobile node's example.
const NODE_ERRORS: &str = r#"
- role = "mobile-node"
+ role = "access-router"
! role: an access router needs a section [access-router]
- pcoa = "2001:db8:1::ff:fe00:1"
+ pcoa = "2001:db8:1::1"
! mobile-node.pcoa: "2001:db8:1::1" is the access router's address: give the node's own
- #lifetime-s = 60
+ lifetime-s = 65536
! mobile-node.lifetime-s: 65536 is out of range: 1 to 65535
"#;

#[test]
fn every_error_names_file_line_key_and_value() {
    for (text, errors) in [(ROUTER, ROUTER_ERRORS), (NODE, NODE_ERRORS)] {
        let lines: Vec<&str> = errors.trim().lines().collect();
        for change in lines.chunks(3) {
            let [from, to, expected] = change else {
                panic!("{change:?} is not three lines")
            };
            let from = from.strip_prefix("- ").unwrap();
            let to = to.strip_prefix('+').unwrap().trim_start();
            let expected = expected.strip_prefix("! ").unwrap();
            // A missing key is reported where its section begins.
            let line = if to.is_empty() {
                line_of(text, "[[access-router.mobile-node]]")
            } else {
                line_of(text, from)
            };
            assert_eq!(
                error_with(text, from, to),
                format!("f.toml:{line}: {expected}"),
                "for {to:?}"
            );
        }
    }
}

#[test]
fn a_router_without_access_links_is_refused() {
    let text = "role = \"access-router\"\n[access-router]\ncore-interfaces = [\"core0\"]\n";
    assert_eq!(
        parse(text).unwrap_err().to_string(),
        "f.toml:3: access-router.core-interfaces: there is no [[access-router.access]]: add \
         one for every link that mobile nodes are on"
    );
}

#[test]
fn a_section_of_the_other_role_is_refused() {
    let text = NODE.to_owned() + "\n[access-router]\ncore-interfaces = [\"core0\"]\n";
    assert_eq!(
        parse(&text).unwrap_err().to_string(),
        format!(
            "f.toml:{}: access-router: a mobile node has no such section: remove it, or \
             change `role`",
            line_of(&text, "[access-router]")
        )
    );
}

#[test]
fn a_mobile_node_has_one_key() {
    let text = ROUTER.to_owned()
        + "\n[[access-router.mobile-node]]\npcoa = \"2001:db8:1::ff:fe00:1\"\nspi = 1\n\
           key = \"000102030405060708090a0b0c0d0e0f\"\n";
    assert!(
        parse(&text)
            .unwrap_err()
            .to_string()
            .contains("2001:db8:1::ff:fe00:1 is given a key on line 41 already"),
    );
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let error = error_with(ROUTER, "role = \"access-router\"", "role = access-router");
    assert!(error.starts_with("f.toml:5: "), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nonexistent/f.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/f.toml");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn keys_are_shown_nowhere() {
    for text in [ROUTER, NODE] {
        assert!(text.contains(KEY));
        let shown = format!("{:?} {:#?}", parse(text), parse(text));
        assert!(shown.contains("Key(20 octets)"));
        assert!(
            !shown.contains(&KEY[..8]) && !shown.contains("1, 2, 3"),
            "{shown}"
        );
    }
    let quoted = format!("\"{KEY}\"");
    for (to, message) in [
        (
            "\"6162636465\"",
            "has 5 octets, out of range: 16 to 256; make one with `openssl rand -hex 20`",
        ),
        (
            "\"61626364656\"",
            "is not an even number of hexadecimal digits: make one with `openssl rand -hex 20`",
        ),
        (
            "\"6162636465zz\"",
            "is not an even number of hexadecimal digits: make one with `openssl rand -hex 20`",
        ),
        (
            "6162636465",
            "must be a string of hexadecimal digits in quotation marks",
        ),
    ] {
        let error = error_with(NODE, &quoted, to);
        assert_eq!(
            error,
            format!("f.toml:{}: mobile-node.key: {message}", line_of(NODE, KEY))
        );
    }
    // A key that ends in the wrong place, so that the line is no TOML.
    let error = error_with(NODE, &quoted, &format!("\"{KEY}"));
    assert!(!error.contains(&KEY[..8]), "{error}");
    let error = error_with(NODE, &quoted, KEY);
    assert!(!error.contains(&KEY[..8]), "{error}");
}

#[test]
fn the_core_of_a_router_is_told_what_the_file_and_the_interfaces_say() {
    let (config, router) = router();
    let interfaces = [
        interface("core0", "2001:db8:f::1"),
        interface("acc0", "2001:db8:1::1"),
    ];
    let told = config.router_config(&router, &interfaces).unwrap();
    assert_eq!(told.access.len(), 1);
    assert_eq!(told.access[0].interface, 7);
    assert_eq!(told.access[0].lla, interfaces[1].link_address);
    assert_eq!(Some(told.access[0].link_local), interfaces[1].link_local);
    assert_eq!(told.access[0].address, router.access[0].address);
    assert_eq!(told.access[0].prefix, router.access[0].prefix);
    assert_eq!(told.access[0].access_points, router.access[0].access_points);
    assert_eq!(told.peers.len(), 1);
    assert_eq!(told.peers[0].address, router.neighbors[0].address);
    assert_eq!(told.peers[0].lla, router.neighbors[0].link_address);
    assert_eq!(told.peers[0].prefix, router.neighbors[0].prefix);
    assert_eq!(told.mobile_nodes.len(), 1);
    assert_eq!(told.mobile_nodes[0].spi, 256);
    assert_eq!(
        told.mobile_nodes[0].key,
        router.mobile_nodes[0].key.as_bytes()
    );
    assert!(told.buffering);
    assert_eq!(told.limits.max_handovers, 1_024);
}

#[test]
fn the_core_of_a_mobile_node_is_told_what_the_file_and_the_interface_say() {
    let (config, node) = node();
    let interfaces = [interface("wlan0", "2001:db8:1::ff:fe00:1")];
    let told = config.mobile_node_config(&node, &interfaces).unwrap();
    assert_eq!(told.interface, 7);
    assert_eq!(told.lla, interfaces[0].link_address);
    assert_eq!(told.pcoa, node.pcoa);
    assert_eq!(told.par, node.access_router);
    assert_eq!(told.current_access_point, node.access_point);
    assert_eq!(told.routers.len(), 1);
    assert_eq!(told.routers[0].router, node.access_router);
    assert_eq!(told.routers[0].key, node.key.as_bytes());
    assert_eq!(told.lifetime, Duration::from_secs(60));
}

#[test]
fn interfaces_that_do_not_fit_are_refused() {
    let (config, router) = router();
    let core = interface("core0", "2001:db8:f::1");
    let access = interface("acc0", "2001:db8:1::1");
    let refused = |interfaces: &[Interface]| {
        config
            .router_config(&router, interfaces)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(std::slice::from_ref(&core)),
        "access-router.access.interface: there is no interface acc0"
    );
    assert_eq!(
        refused(std::slice::from_ref(&access)),
        "access-router.core-interfaces: there is no interface core0"
    );
    let down = Interface {
        up: false,
        ..access.clone()
    };
    assert_eq!(
        refused(&[core.clone(), down]),
        "access-router.access.interface: acc0 is down: `ip link set acc0 up`"
    );
    let other = interface("acc0", "2001:db8:1::9");
    assert_eq!(
        refused(&[core.clone(), other]),
        "access-router.access.address: 2001:db8:1::1 is not an address of acc0 (it has \
         2001:db8:1::9/64): correct the file or add the address"
    );
    let no_link_local = Interface {
        link_local: None,
        ..access
    };
    assert_eq!(
        refused(&[core, no_link_local]),
        "access-router.access.interface: acc0 has no link-local address, and router \
         advertisements need one: set net.ipv6.conf.acc0.disable_ipv6 to 0"
    );
}
