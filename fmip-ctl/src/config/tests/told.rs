//! What the core is told of a file, and the interfaces that do not go with it.

use super::*;

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
    assert_eq!(told.limits, router.limits);
}

#[test]
fn the_core_of_a_mobile_node_is_told_what_the_file_and_the_interface_say() {
    let (config, node) = node();
    let interfaces = [interface("wlan0", "2001:db8:1::ff:fe00:1")];
    let told = config.mobile_node_config(&node, &interfaces).unwrap();
    assert_eq!(told.interface, 7);
    assert_eq!(told.lla, interfaces[0].link_address);
    let router = node.access_router.as_ref().unwrap();
    assert_eq!(Some(told.pcoa), node.pcoa);
    assert_eq!(told.par, router.address);
    assert_eq!(told.current_access_point, node.access_point);
    assert_eq!(told.announcement, proto::Announcement::Una);
    assert_eq!(told.routers.len(), 2);
    assert_eq!(told.routers[0].router, router.address);
    assert_eq!(told.routers[0].key, router.key.as_bytes());
    // That of the interface's address.
    assert_eq!(
        told.routers[0].prefix,
        Some("2001:db8:1::/64".parse().unwrap())
    );
    assert_eq!(told.routers[1].router, node.routers[0].address);
    assert_eq!(told.routers[1].key, node.routers[0].key.as_bytes());
    assert_eq!(told.routers[1].prefix, Some(node.routers[0].prefix));
    assert_eq!(told.lifetime, Duration::from_secs(60));
}

/// The mobile node's example without what says where the node is.
fn anywhere() -> String {
    let here = ["access-router = ", "pcoa = ", "access-point = "];
    let (before, after) = NODE.split_once("\n[[mobile-node.router]]\n").unwrap();
    let before: String = (before.lines())
        .filter(|line| !here.iter().any(|key| line.starts_with(key)))
        .filter(|line| !line.starts_with("spi = ") && !line.starts_with("key = "))
        .map(|line| format!("{line}\n"))
        .collect();
    format!(
        "{before}\n[[mobile-node.router]]\naddress = \"2001:db8:1::1\"\n\
         prefix = \"2001:db8:1::/64\"\nspi = 7\nkey = \"000102030405060708090a0b0c0d0e0f\"\n\
         [[mobile-node.router]]\n{after}"
    )
}

#[test]
fn a_node_that_is_not_told_where_it_is_finds_its_address_and_its_router() {
    let config = parse(&anywhere()).unwrap();
    let Role::MobileNode(node) = &config.role else {
        panic!("it is a mobile node's")
    };
    let with = |addresses: &[&str]| {
        let mut interface = interface("wlan0", "2001:db8:9::1");
        interface.addresses = (addresses.iter())
            .map(|address| (address.parse().unwrap(), 64))
            .collect();
        config.mobile_node_config(node, &[interface])
    };
    // One of the link-layer address goes before others of the prefix.
    let lla = interface("wlan0", "::").link_address;
    let prefix: Prefix = "2001:db8:2::/64".parse().unwrap();
    let own = prefix.address_from_iid(lla.modified_eui64());
    let told = with(&["2001:db8:9::1", "2001:db8:2::77", &own.to_string()]).unwrap();
    assert_eq!((told.pcoa, told.par), (own, node.routers[1].address));
    let told = with(&["2001:db8:9::1", "2001:db8:1::77"]).unwrap();
    assert_eq!(told.pcoa, "2001:db8:1::77".parse::<Ipv6Addr>().unwrap());
    assert_eq!(told.par, node.routers[0].address);
    assert_eq!(told.current_access_point, None);
    assert_eq!(told.routers.len(), 2);
    assert_eq!(
        with(&["2001:db8:9::1"]).unwrap_err().to_string(),
        "mobile-node.interface: wlan0 has no address in a prefix of a router that there is a key \
         for (2001:db8:1::/64, 2001:db8:2::/64); it has 2001:db8:9::1/64"
    );
}

#[test]
fn the_router_alone_tells_the_address_and_the_address_alone_the_router() {
    let config = parse(&NODE.replace("pcoa = ", "#pcoa = ")).unwrap();
    let Role::MobileNode(node) = &config.role else {
        panic!("it is a mobile node's")
    };
    let interfaces = [interface("wlan0", "2001:db8:1::77")];
    let told = config.mobile_node_config(node, &interfaces).unwrap();
    assert_eq!(told.pcoa, "2001:db8:1::77".parse::<Ipv6Addr>().unwrap());
    assert_eq!(told.par, "2001:db8:1::1".parse::<Ipv6Addr>().unwrap());
    let line = "interface = \"wlan0\"";
    let text = anywhere().replace(line, &format!("{line}\npcoa = \"2001:db8:2::77\""));
    let config = parse(&text).unwrap();
    let Role::MobileNode(node) = &config.role else {
        panic!("it is a mobile node's")
    };
    let interfaces = [interface("wlan0", "2001:db8:2::77")];
    let told = config.mobile_node_config(node, &interfaces).unwrap();
    assert_eq!(told.par, "2001:db8:2::1".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn what_leaves_the_place_unknown_is_refused() {
    let error = |text: &str| parse(text).unwrap_err().to_string();
    let missing = error(&NODE.replacen("access-router = ", "#access-router = ", 1));
    assert!(
        missing.ends_with(
            "mobile-node.spi: goes with `access-router`, which is left out: move it to the \
             [[mobile-node.router]] that it belongs to"
        ),
        "{missing}"
    );
    let missing = error(&NODE.replacen("spi = ", "#spi = ", 1));
    assert!(
        missing
            .ends_with("mobile-node.access-router: needs `spi`, the same as in that router's file"),
        "{missing}"
    );
    let alone = error(
        anywhere()
            .split("\n[[mobile-node.router]]\n")
            .next()
            .unwrap(),
    );
    assert!(
        alone.contains("mobile-node.interface: is on no link that is known: add a"),
        "{alone}"
    );
    let line = "interface = \"wlan0\"";
    let text = anywhere().replace(line, &format!("{line}\npcoa = \"2001:db8:9::77\""));
    let elsewhere = error(&text);
    assert!(
        elsewhere.contains("mobile-node.pcoa: \"2001:db8:9::77\" is in the prefix of no"),
        "{elsewhere}"
    );
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

#[test]
fn a_router_tells_its_core_of_every_policy() {
    let text = ROUTER
        .replace("#departure = \"ignore\"", "departure = \"hold\"")
        .replacen(
            "#addressing = \"stateless\"",
            "addressing = \"keep-pcoa\"",
            1,
        )
        .replace("#duplicate-probe-ms = 0", "duplicate-probe-ms = 5")
        .replace(
            "#on-invalid-ncoa = \"silent\"",
            "on-invalid-ncoa = \"configure\"",
        )
        .replace(
            "#known-link-addresses = []",
            "known-link-addresses = [\"02:00:00:00:00:99\"]",
        )
        .replace("#fast-handover = true", "fast-handover = false")
        .replace(
            "#other-addresses = []",
            "other-addresses = [\"2001:db8:f::2\"]\naddressing = \"dhcp\"",
        );
    let config = parse(&text).unwrap();
    let Role::AccessRouter(router) = &config.role else {
        panic!("it is an access router's")
    };
    let interfaces = [
        interface("core0", "2001:db8:f::1"),
        interface("acc0", "2001:db8:1::1"),
    ];
    let told = config.router_config(router, &interfaces).unwrap();
    let link = &told.access[0];
    assert_eq!(link.addressing, proto::Addressing::KeepPcoa);
    assert_eq!(link.departure, router.access[0].departure);
    assert_ne!(link.departure, proto::Departure::Ignore);
    assert_eq!(link.duplicate_probe, Some(Duration::from_millis(5)));
    assert_eq!(link.on_invalid_ncoa, proto::OnInvalidNcoa::Configure);
    assert_eq!(link.known_link_addresses.len(), 1);
    let peer = &told.peers[0];
    assert_eq!(peer.addressing, proto::PeerAddressing::Dhcp);
    assert!(!peer.fast_handover);
    assert_eq!(peer.other_addresses.len(), 1);
}
