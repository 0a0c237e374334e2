//! The mobile node in a network whose access points are routers (RFC 4260 figure 2), coming up at one
//! that no router told it about (RFC 4260 section 7.3).

use super::*;

/// It has a key for the NAR too, whose access point is said to be `access_point`.
fn at_nar(access_point: Option<MacAddr>) -> Simulation {
    let mut config = mobile_node_config();
    config.routers.push(RouterKey {
        router: NAR,
        prefix: Some("2001:db8:2::/64".parse().unwrap()),
        access_point,
        spi: SPI,
        key: KEY.to_vec(),
    });
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    simulation.come_up(NAR_LLA);
    simulation
}

// Rows: W11-09
#[test]
fn a_router_that_is_its_access_point_needs_no_discovery() {
    let mut simulation = at_nar(Some(NAR_LLA));
    assert_eq!(simulation.count("mn: -> RS"), 0);
    assert_eq!(simulation.count("mn: -> RtSolPr"), 0);
    let moved: Vec<_> = simulation
        .steps()
        .into_iter()
        .filter(|step| step.starts_with("mn:"))
        .collect();
    assert_eq!(
        moved[..],
        [
            "mn: hold-uplink",
            "mn: set-default-router",
            "mn: -> na",
            "mn: configure-address",
            "mn: hold-uplink",
            "mn: -> fbu",
        ]
    );
    assert!(commands(&simulation).contains(&Command::SetDefaultRouter {
        interface: ACCESS,
        router: NAR,
        link_address: Some(NAR_LLA),
    }));
    let (_, packet) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!((packet.source, packet.destination), (NCOA, PAR));
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: release-uplink"), 1);
    assert_eq!(simulation.mn.counters().fell_back, 0);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: W11-09
#[test]
fn nothing_but_being_told_makes_an_access_point_a_router() {
    for access_point in [None, Some(PAR_LLA)] {
        let simulation = at_nar(access_point);
        assert_eq!(simulation.count("mn: -> RS"), 1, "{access_point:?}");
        assert_eq!(simulation.count("mn: -> NA"), 0);
        assert_eq!(simulation.count("mn: -> FBU"), 0);
        assert_eq!(simulation.mn.handovers()[0].state, "discovering");
    }
}

// Rows: W11-09
#[test]
fn what_its_router_told_counts_for_more() {
    let mut config = mobile_node_config();
    config.routers.push(RouterKey {
        router: NAR,
        prefix: Some("2001:db8:2::/64".parse().unwrap()),
        access_point: Some(AP2),
        spi: SPI,
        key: KEY.to_vec(),
    });
    let mut simulation = Simulation::with(config, router_config(false), router_config(true));
    simulation.inject(Node::Mn, ACCESS, neighborhood(AP2, 3, None));
    simulation.come_up(AP2);
    let (_, packet) = simulation.messages(Node::Mn, "FBU").next().unwrap();
    assert_eq!(packet.source.to_string(), "2001:db8:3::ff:fe00:1");
}
