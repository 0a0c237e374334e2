//! Another configuration while handovers are under way.

use super::*;

fn forwarding() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    answer(&mut simulation, HackCode::NcoaValid, None);
    simulation.log.clear();
    simulation
}

impl Simulation {
    fn reload(&mut self, config: RouterConfig) {
        self.par.reload(self.now, config);
        self.carry_out(Node::Par);
    }
}

#[test]
fn what_is_under_way_goes_on_and_the_numbers_go_on_counting() {
    let mut simulation = forwarding();
    let mut config = router_config(false);
    config.limits.max_handovers = 0;
    config.peers[0].access_points.push(AP_UNKNOWN);
    simulation.reload(config);
    assert_eq!(simulation.steps(), Vec::<String>::new());
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    // The new neighborhood is told.
    simulation.inject(Node::Par, ACCESS, rtsolpr(vec![AP_UNKNOWN]).encode());
    let (_, packet) = simulation.messages(Node::Par, "PrRtAdv").next().unwrap();
    let Message::PrRtAdv(advertisement) = packet.message else {
        panic!("it is a PrRtAdv");
    };
    assert_eq!(advertisement.code, PrRtAdvCode::Solicited);
    let replayed = Fbu {
        lifetime: 29,
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, replayed.bytes());
    simulation.inject(Node::Par, ACCESS, Fbu { sequence: 0, ..FBU }.bytes());
    assert_eq!(simulation.par.counters().stale_sequence, 1);
    assert_eq!(simulation.par.counters().duplicate, 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn a_handover_whose_key_link_or_neighbor_is_gone_ends() {
    type Change = fn(&mut RouterConfig);
    let changes: [Change; 4] = [
        |config| config.mobile_nodes.clear(),
        |config| config.mobile_nodes[0].key = b"another key".to_vec(),
        |config| config.peers.clear(),
        |config| config.access.clear(),
    ];
    for change in changes {
        for answered in [true, false] {
            let mut simulation = Simulation::new();
            simulation.lose(Node::Par, "HI", ALWAYS);
            simulation.inject(Node::Par, ACCESS, FBU.bytes());
            if answered {
                answer(&mut simulation, HackCode::NcoaValid, None);
            }
            simulation.log.clear();
            let mut config = router_config(false);
            change(&mut config);
            simulation.reload(config);
            let expected: &[&str] = if answered {
                &["par: remove-tunnel"]
            } else {
                &[]
            };
            assert_eq!(simulation.steps(), expected);
            assert_eq!(simulation.par.counters().revoked, 1);
            simulation.assert_clean();
        }
    }
}

#[test]
fn a_mobile_node_that_is_expected_from_a_neighbor_that_is_gone_is_expected_no_more() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    assert_eq!(simulation.par.handovers()[0].state, "expected");
    let mut config = router_config(false);
    config.peers.clear();
    simulation.reload(config);
    simulation.assert_clean();
}

// Rows: AMB-21
#[test]
fn a_new_key_counts_anew() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, Fbu { sequence: 9, ..FBU }.bytes());
    let mut config = router_config(false);
    config.mobile_nodes[0].key = b"another key".to_vec();
    simulation.reload(config);
    let fbu = Fbu {
        key: b"another key",
        ..FBU
    };
    simulation.inject(Node::Par, ACCESS, fbu.bytes());
    assert_eq!(simulation.par.counters().stale_sequence, 0);
    assert_eq!(simulation.count("par: -> HI"), 2);
}

#[test]
fn another_policy_for_departures_counts_at_once() {
    let attached = Input::Station(StationEvent::Attached {
        interface: ACCESS,
        address: PCOA,
        link_address: MN_LLA,
    });
    let lifetime = SECOND;
    let copy = Departure::Copy {
        window: SECOND,
        lifetime,
    };
    let with = |departure| {
        let mut config = router_config(false);
        config.access[0].departure = departure;
        config
    };
    let mut simulation = Simulation::with(mobile_node_config(), with(copy), router_config(true));
    simulation.input(Node::Par, attached);
    assert_eq!(simulation.count("par: start-copying"), 1);
    simulation.reload(with(Departure::Hold { lifetime }));
    assert_eq!(simulation.count("par: remove-buffer"), 1);
    simulation.reload(with(copy));
    assert_eq!(simulation.count("par: start-copying"), 2);
    simulation.reload(with(Departure::Ignore));
    assert_eq!(simulation.count("par: remove-buffer"), 2);
    let departed = Input::Station(StationEvent::Departed {
        interface: ACCESS,
        address: PCOA,
    });
    simulation.input(Node::Par, departed);
    simulation.assert_clean();
}
