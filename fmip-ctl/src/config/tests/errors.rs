//! What the configuration refuses, and in which words.

use super::*;

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
- core-interfaces = ["core0"]
+ core = []
! access-router.core: is empty: name the interfaces towards the other routers
- core-interfaces = ["core0"]
+ core = [{ interface = "core0" }]; core-interfaces = ["core0"]
! access-router.core.interface: core0 is named on line 15 already: remove one of the two
- core-interfaces = ["core0"]
+ core = [{ interface = "core0", attach = "xdp" }]
! access-router.core.attach: "xdp" is no way to attach: write "auto", "native", "tc" or "generic"
- #attach = "auto"
+ attach = "skb"
! access-router.access.attach: "skb" is no way to attach: write "auto", "native", "tc" or "generic"
- #max-bindings = 65536
+ max-bindings = 100000000
! access-router.max-bindings: 100000000 is out of range: 1 to 16777216
- #max-handovers = 1024
+ max-handovers = 0
! access-router.max-handovers: 0 is out of range: 1 to 1000000
- #max-per-peer = 1024
+ max-per-peer = 1025
! access-router.max-per-peer: 1025 is out of range: 1 to 1024
- #max-per-link = 1024
+ max-per-link = 0
! access-router.max-per-link: 0 is out of range: 1 to 1024
- #signalling-per-source = 100
+ signalling-per-source = 0
! access-router.signalling-per-source: 0 is out of range: 1 to 1000000
- #state-directory = "/var/lib/fmip"
+ state-directory = "fmip"
! access-router.state-directory: "fmip" is no absolute path of a directory
- #hostapd = []
+ hostapd = ["wlan0"]
! access-router.access.hostapd: "wlan0" is no absolute path of a file
- #hostapd = []
+ hostapd = ["/run/hostapd/wlan0", "/run/hostapd/wlan0"]
! access-router.access.hostapd: /run/hostapd/wlan0 is listened to on line 68 already: remove one of the two
- #addressing = "stateless"
+ addressing = "dhcp"
! access-router.access.addressing: "dhcp" is no addressing: write "stateless", "assigned" or "keep-pcoa"
- #addressing = "stateless"
+ addressing = "assigned"
! access-router.access.addressing: "assigned" needs a `pool`: a part of 2001:db8:1::/64 to assign from
- #addressing = "stateless"
+ pool = "2001:db8:1::a000:0:0:0/68"
! access-router.access.pool: "2001:db8:1::a000:0:0:0/68" is for addressing = "assigned" alone: remove it, or set that
- #addressing = "stateless"
+ pool = "2001:db8:3::/68"; addressing = "assigned"
! access-router.access.pool: "2001:db8:3::/68" is not within the prefix 2001:db8:1::/64
- #addressing = "stateless"
+ pool = "2001:db8::/32"; addressing = "assigned"
! access-router.access.pool: "2001:db8::/32" is not within the prefix 2001:db8:1::/64
- #addressing = "stateless"
+ pool = "2001:db8:1::/112"; addressing = "assigned"
! access-router.access.pool: "2001:db8:1::/112" has this router's own address 2001:db8:1::1 among its addresses
- #addressing = "stateless"
+ pool = "2001:db8:1::/129"; addressing = "assigned"
! access-router.access.pool: "2001:db8:1::/129" is no prefix: write it like "2001:db8:1::a000:0:0:0/68"
- #departure = "ignore"
+ departure = "drop"
! access-router.access.departure: "drop" is no departure policy: write "ignore", "hold" or "copy"
- #departure-hold-ms = 5000
+ departure-hold-ms = 0
! access-router.access.departure-hold-ms: 0 is out of range: 1 to 600000
- #copy-window-ms = 200
+ copy-window-ms = 10001
! access-router.access.copy-window-ms: 10001 is out of range: 1 to 10000
- #duplicate-probe-ms = 0
+ duplicate-probe-ms = 10001
! access-router.access.duplicate-probe-ms: 10001 is out of range: 0 to 10000
- #on-invalid-ncoa = "silent"
+ on-invalid-ncoa = "refuse"
! access-router.access.on-invalid-ncoa: "refuse" is no such policy: write "silent", "configure", "assign" or "use-router-address"
- #on-invalid-ncoa = "silent"
+ on-invalid-ncoa = "assign"
! access-router.access.on-invalid-ncoa: "assign" needs addresses to assign: set addressing = "assigned" and a `pool`
- #known-link-addresses = []
+ known-link-addresses = ["ff:ff:ff:ff:ff:ff"]
! access-router.access.known-link-addresses: "ff:ff:ff:ff:ff:ff" is no unicast link-layer address
- #other-addresses = []
+ other-addresses = ["fe80::1"]
! access-router.neighbor.other-addresses: "fe80::1" is no global unicast address, which other routers could reach
- #other-addresses = []
+ other-addresses = ["2001:db8:1::1"]
! access-router.neighbor.other-addresses: "2001:db8:1::1" is this router's own address
- #other-addresses = []
+ addressing = "keep-pcoa"
! access-router.neighbor.addressing: "keep-pcoa" is no addressing: write "stateless", "assigned" or "dhcp"
- #fast-handover = true
+ fast-handover = "no"
! access-router.neighbor.fast-handover: invalid type: string "no", expected a boolean
- interface = "acc0"
+ interface = "core0"
! access-router.access.interface: core0 is named on line 14 already: remove one of the two
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
! access-router.neighbor.address: 2001:db8:1::1 is used on line 39 already: remove one of the two
- "02:00:00:00:00:22"
+ "00:00:00:00:00:00"
! access-router.neighbor.link-address: "00:00:00:00:00:00" is no unicast link-layer address
- prefix = "2001:db8:2::/64"
+ prefix = "2001:db8::/32"
! access-router.neighbor.prefix: "2001:db8::/32" overlaps 2001:db8:1::/64 of line 41: every link has a prefix of its own
- "02:00:00:00:0a:02"
+ "02:00:00:00:0A:01"
! access-router.neighbor.access-points: 02:00:00:00:0a:01 is an access point on line 43 already: remove one of the two
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
- #nodes = 1024
+ nodes = 65537
! buffer.nodes: 65537 is out of range: 1 to 65535
- #guaranteed-per-node = 8
+ guaranteed-per-node = 8193
! buffer.guaranteed-per-node: 8193 is out of range: 0 to 8192
- #guaranteed-per-node = 8
+ guaranteed-per-node = 17
! buffer.guaranteed-per-node: 17 for each of 1024 nodes are more than the 16384 packets of the pool: lower it or `nodes`, or raise `packets`
- #known-link-addresses = []
+ catch-up = 0.5
! access-router.access.catch-up: 0.5 is out of range: above 1 (or the backlog never shrinks) and at most 100
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
- #route-metric = 512
+ route-metric = 0
! mobile-node.route-metric: 0 is out of range: 1 to 4294967295
- #start-timeout-s = 60
+ start-timeout-s = -1
! mobile-node.start-timeout-s: -1 is out of range: 0 to 86400
- #on-care-of-address = []
+ on-care-of-address = ["x"]
! mobile-node.mobile-ipv6.on-care-of-address: is no command: give the absolute path of a program, and then its arguments
- #timeout-s = 30
+ timeout-s = 0
! mobile-node.mobile-ipv6.timeout-s: 0 is out of range: 1 to 3600
- #announcement = "una"
+ announcement = "ra"
! mobile-node.announcement: "ra" is no announcement: write "una" or "fna"
- #new-link-repeat-ms = 10000
+ new-link-repeat-ms = -1
! mobile-node.damping.new-link-repeat-ms: -1 is out of range: 0 to 3600000
- #new-link-burst = 32
+ new-link-burst = 0
! mobile-node.damping.new-link-burst: 0 is out of range: 1 to 1000
- #new-links-per-second = 2
+ new-links-per-second = 1001
! mobile-node.damping.new-links-per-second: 1001 is out of range: 1 to 1000
- #impend-interval-ms = 200
+ impend-interval-ms = 60001
! mobile-node.damping.impend-interval-ms: 60001 is out of range: 0 to 60000
- address = "2001:db8:2::1"
+ address = "2001:db8:1::1"
! mobile-node.router.address: 2001:db8:1::1 is named on line 15 already: remove one of the two
- address = "2001:db8:2::1"
+ address = "2001:db8:3::1"
! mobile-node.router.address: "2001:db8:3::1" is not within the prefix 2001:db8:2::/64
- prefix = "2001:db8:2::/64"
+ prefix = "2001:db8:2::/65"
! mobile-node.router.prefix: "2001:db8:2::/65" has a length out of range: 1 to 64, because interface identifiers are 64 bits long
- prefix = "2001:db8:2::/64"
+ access-point = "01:00:00:00:00:01"; prefix = "2001:db8:2::/64"
! mobile-node.router.access-point: "01:00:00:00:00:01" is no unicast link-layer address
- #neighborhood-interval-s = 0
+ neighborhood-interval-s = -1
! mobile-node.neighborhood-interval-s: -1 is out of range: 0 to 86400
- #control-interface = "/run/wpa_supplicant/wlan0"
+ control-interface = "wlan0"
! mobile-node.ieee80211.control-interface: "wlan0" is no absolute path of a file
- #signal-threshold-dbm = -70
+ signal-threshold-dbm = 70
! mobile-node.ieee80211.signal-threshold-dbm: 70 is out of range: -100 to -20
- #signal-weight = 0.4
+ signal-weight = 0.0
! mobile-node.ieee80211.signal-weight: 0 is out of range: above 0 and at most 1, which takes the last measurement alone
- #indications = 2
+ indications = 0
! mobile-node.ieee80211.indications: 0 is out of range: 1 to 100
- #frequencies = []
+ frequencies = [11]
! mobile-node.ieee80211.frequencies: 11 is out of range: 700 to 75000
- #allow = []
+ allow = ["wlan0"]
! mobile-node.ieee80211.allow: "wlan0" is no link-layer address: write six octets like "02:00:00:00:0a:01"
- #deny = []
+ prefer = ["02:00:00:00:00:05"]; deny = ["02:00:00:00:00:05"]
! mobile-node.ieee80211.prefer: "02:00:00:00:00:05" is never moved to: see `allow` and `deny`
- #signal-interval-ms = 500
+ signal = 1
! mobile-node.ieee80211.signal: unknown field `signal`, expected one of `control-interface`, `choose-target`, `require-known-router`, `signal-threshold-dbm`, `signal-hysteresis-db`, `signal-interval-ms`, `signal-weight`, `indications`, `link-switch-wait-ms`, `roam-timeout-ms`, `avoid-failed-ms`, `scan-max-age-ms`, `scan-min-interval-ms`, `frequencies`, `allow`, `deny`, `prefer`
- key = "101112131415161718191a1b1c1d1e1f20212223"
+ key = "1011"
! mobile-node.router.key: has 2 octets, out of range: 16 to 256; make one with `openssl rand -hex 20`
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
            // More than one key is needed to be wrong in some ways; all are on one line of these.
            let to = &to.replace("; ", "\n");
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
    let line = line_of(ROUTER, "pcoa = \"2001:db8:1::ff:fe00:1\"");
    let said = format!("2001:db8:1::ff:fe00:1 is given a key on line {line} already");
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.contains(&said), "{error}");
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
