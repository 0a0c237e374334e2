//! What others can make a router remember and do (SEC-07).

use super::*;

/// A second mobile node of the PAR.
const PCOA_2: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0xff, 0xfe00, 2);
const NCOA_2: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0xff, 0xfe00, 2);
const FBU_2: Fbu = Fbu {
    source: PCOA_2,
    home_address: Some(PCOA_2),
    ncoa: Some(NCOA_2),
    ..FBU
};

fn with_limits(limits: Limits) -> Simulation {
    let mut par = router_config(false);
    par.limits = limits;
    par.mobile_nodes.push(HandoverKey {
        pcoa: PCOA_2,
        ..par.mobile_nodes[0].clone()
    });
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation
}

// Rows: SEC-07
#[test]
fn handovers_are_limited_in_total_by_neighbor_and_by_link() {
    let one = |limits: Limits| limits;
    for limits in [
        one(Limits {
            max_handovers: 1,
            ..Limits::default()
        }),
        one(Limits {
            max_per_peer: 1,
            ..Limits::default()
        }),
        one(Limits {
            max_per_link: 1,
            ..Limits::default()
        }),
    ] {
        let mut simulation = with_limits(limits);
        simulation.inject(Node::Par, ACCESS, FBU.bytes());
        simulation.inject(Node::Par, ACCESS, FBU_2.bytes());
        assert_eq!(simulation.count("par: -> HI"), 1);
        assert_eq!(simulation.par.counters().resources, 1);
        let (to, fback) = fbacks(&simulation).pop().unwrap();
        assert_eq!((to, fback.status), (PCOA_2, FastBindingStatus::Resources));
        // Who has a place keeps it.
        let again = Fbu {
            sequence: 2,
            ..FBU_MOVED
        };
        simulation.inject(Node::Par, CORE, again.bytes());
        assert_eq!(simulation.count("par: -> HI"), 2);
        // A place that becomes free is another's.
        answer(&mut simulation, HackCode::Prohibited, None);
        let later = Fbu {
            sequence: 2,
            ..FBU_2
        };
        simulation.inject(Node::Par, ACCESS, later.bytes());
        assert_eq!(simulation.count("par: -> HI"), 3);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: SEC-07
#[test]
fn one_source_cannot_keep_the_router_busy() {
    let mut simulation = with_limits(Limits {
        signalling_per_source: 5,
        ..Limits::default()
    });
    let forged = Fbu {
        key: b"a key of twenty bytf",
        ..FBU
    };
    for _ in 0..20 {
        simulation.inject(Node::Par, ACCESS, forged.bytes());
    }
    // Of the others not even the authenticator was computed.
    assert_eq!(simulation.par.counters().received_fbu, 5);
    assert_eq!(simulation.par.counters().bad_authenticator, 5);
    assert_eq!(simulation.par.counters().rate_limited, 15);
    // Other addresses from the same station do not help it.
    simulation.inject(Node::Par, ACCESS, FBU_2.bytes());
    assert_eq!(simulation.par.counters().rate_limited, 16);
    // Others are heard, and so is the same one after a while.
    let other = Input::Packet {
        interface: ACCESS,
        link_source: MacAddr([2, 0, 0, 0, 0, 2]),
        bytes: FBU_2.bytes(),
    };
    simulation.input(Node::Par, other);
    assert_eq!(simulation.count("par: -> HI"), 1);
    simulation.run(Duration::from_millis(200));
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(simulation.par.counters().received_fbu, 7);
}

// Rows: SEC-07
#[test]
fn a_neighbor_may_speak_for_as_many_as_it_may_hand_over() {
    let mut simulation = with_limits(Limits {
        signalling_per_source: 2,
        max_per_peer: 10,
        ..Limits::default()
    });
    for _ in 0..12 {
        simulation.inject(Node::Par, CORE, hack(NAR, 0, HackCode::NcoaValid, None));
    }
    assert_eq!(simulation.par.counters().received_hack, 10);
    // Somebody else over the core may not.
    for _ in 0..12 {
        simulation.inject(Node::Par, CORE, FBU_MOVED.bytes());
    }
    assert_eq!(simulation.par.counters().received_fbu, 2);
}

// Rows: SEC-07, RTS-11, FBU-13
#[test]
fn nothing_that_is_not_authentic_is_remembered() {
    let mut simulation = with_limits(Limits {
        signalling_per_source: u32::MAX,
        ..Limits::default()
    });
    for n in 0..2000_u16 {
        let elsewhere = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 1, n);
        let forged = Fbu {
            source: elsewhere,
            sequence: n,
            key: b"a key of twenty bytf",
            ncoa: None,
            ..FBU
        };
        simulation.inject(Node::Par, CORE, forged.bytes());
        let unknown = Fbu {
            home_address: Some(elsewhere),
            ..forged
        };
        simulation.inject(Node::Par, CORE, unknown.bytes());
        simulation.inject(Node::Par, ACCESS, rtsolpr(vec![AP2]).encode());
        simulation.inject(Node::Par, CORE, hack(NAR, n, HackCode::NcoaValid, None));
    }
    assert_eq!(simulation.par.counters().bad_authenticator, 2000);
    assert_eq!(simulation.par.counters().unknown_key, 2000);
    assert_eq!(simulation.par.counters().sent_prrtadv, 2000);
    assert_nothing_changed(&simulation);
    // Nor is any number spent.
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    assert_eq!(simulation.count("par: -> HI"), 1);
}
