//! Mobile nodes that keep their previous care-of address (HAck with Code 3).

use super::*;

const HOME_TUNNEL: Tunnel = Tunnel {
    local: NAR,
    remote: PAR,
};

/// A NAR on whose link nobody gets a new address.
fn keeping() -> Simulation {
    nar_with(|config| config.access[0].addressing = Addressing::KeepPcoa)
}

/// The same, and it heard the HI.
fn expecting() -> Simulation {
    let mut simulation = keeping();
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    simulation
}

// Rows: HI-16, HAK-02, HAK-07, TUN-04
#[test]
fn a_kept_address_is_held_out_of_the_tunnel_and_nobody_on_the_link_hears_of_it() {
    for buffer in [true, false] {
        let mut simulation = keeping();
        let expires = simulation.now + Duration::from_millis(1500);
        let message = HandoverInitiate { buffer, ..HI };
        simulation.inject(Node::Nar, CORE, hi(PAR, message));
        let held = Command::StartBuffering {
            address: PCOA,
            interface: ACCESS,
            link_address: MN_LLA,
            tunnel: Some(HOME_TUNNEL),
            expires,
        };
        assert_eq!(commands(&simulation), [held]);
        assert_eq!(hacks(&simulation), [(HackCode::UsePcoa, None)]);
        // It never comes.
        simulation.run(FOREVER);
        assert_eq!(simulation.count("nar: remove-buffer"), 1);
        assert_eq!(simulation.count("nar: add-neighbor"), 0);
        assert_eq!(simulation.count("nar: add-host-route"), 0);
        assert_eq!(simulation.count("nar: -> ns"), 0);
        simulation.assert_clean();
    }
}

// Rows: HI-16, HAK-07, BUF-07
#[test]
fn a_kept_address_is_routed_to_the_link_once_its_node_is_seen_there() {
    let mut simulation = expecting();
    simulation.log.clear();
    let expires = simulation.now + Duration::from_secs(60);
    simulation.inject(Node::Nar, ACCESS, una(PCOA, MN_LLA).encode());
    let interface = ACCESS;
    let address = PCOA;
    assert_eq!(
        commands(&simulation),
        [
            Command::AddNeighbor {
                interface,
                address,
                link_address: MN_LLA,
                state: NeighborState::Stale,
            },
            Command::AddHostRoute { interface, address },
            Command::ReleaseBuffer { address, expires },
        ]
    );
    // The tunnel is needed for as long as the PAR's binding may live.
    simulation.run(Duration::from_secs(59));
    assert_eq!(simulation.nar.handovers()[0].state, "arrived");
    assert_eq!(simulation.count("nar: remove-buffer"), 0);
    simulation.run(FOREVER);
    let end = [
        Command::RemoveHostRoute { interface, address },
        Command::RemoveBuffer { address },
    ];
    assert_eq!(commands(&simulation)[3..], end);
    simulation.assert_clean();
}

// Rows: UNA-09, UNA-11
#[test]
fn a_kept_address_is_released_to_the_announced_node_on_its_link_alone() {
    let mut simulation = expecting();
    let thief = MacAddr([2, 0, 0, 0, 0, 0x66]);
    simulation.inject(Node::Nar, ACCESS, una(PCOA, thief).encode());
    assert_eq!(simulation.nar.counters().wrong_link_address, 1);
    simulation.inject(Node::Nar, CORE, una(PCOA, MN_LLA).encode());
    assert_eq!(simulation.nar.counters().unexpected, 1);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    assert_eq!(simulation.count("nar: add-host-route"), 0);
}

// Rows: NAK-01, NAK-03, HI-16
#[test]
fn a_node_that_missed_that_it_keeps_its_address_is_told_when_it_comes() {
    let mut simulation = expecting();
    for _ in 0..2 {
        simulation.inject(Node::Nar, ACCESS, una(NCOA, MN_LLA).encode());
    }
    // It is here, and has what was held.
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    assert_eq!(simulation.count("nar: add-host-route"), 1);
    let naack = Naack {
        status: NaackStatus::UsePcoa,
        ncoa: Some(PCOA),
    };
    let told = (NCOA, Some(MN_LLA), naack);
    assert_eq!(naacks(&simulation), [told, told]);
    // Its FBU was under way: the answer is the same again.
    let moved = HandoverInitiate {
        sequence: 8,
        code: HiCode::OtherSource,
        ncoa: Some(NAR),
        ..HI
    };
    simulation.inject(Node::Nar, CORE, hi(PAR, moved));
    assert_eq!(hacks(&simulation), [(HackCode::UsePcoa, None); 2]);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: NAK-01, HAK-05
#[test]
fn a_node_that_names_the_router_s_address_is_here_with_its_previous_one() {
    for code in [HiCode::OtherSource, HiCode::PcoaSource] {
        let mut simulation = nar_with(|config| {
            config.access[0].on_invalid_ncoa = OnInvalidNcoa::UseRouterAddress;
        });
        let message = HandoverInitiate {
            code,
            buffer: false,
            ncoa: Some(NAR),
            ..HI
        };
        simulation.inject(Node::Nar, CORE, hi(PAR, message));
        assert_eq!(
            simulation.steps(),
            [
                "nar: start-buffering",
                "nar: -> hack",
                "nar: add-neighbor",
                "nar: add-host-route",
                "nar: release-buffer"
            ]
        );
        assert_eq!(hacks(&simulation), [(HackCode::UsePcoa, None)]);
        simulation.run(FOREVER);
        simulation.assert_clean();
    }
}

// Rows: AMB-20, SEC-06
#[test]
fn the_far_end_of_the_tunnel_is_the_par_s_address_on_the_link_that_was_left() {
    let other: Ipv6Addr = "2001:db8:ffff::1".parse().unwrap();
    let mut simulation = nar_with(|config| {
        config.access[0].addressing = Addressing::KeepPcoa;
        config.peers[0].other_addresses = vec![other];
    });
    simulation.inject(Node::Nar, CORE, hi(other, HI));
    let Some(Command::StartBuffering { tunnel, .. }) = commands(&simulation).pop() else {
        panic!("it is held");
    };
    assert_eq!(tunnel, Some(HOME_TUNNEL));
    // SEC-06: an address that the neighbor is not responsible for is not taken from it.
    let elsewhere = HandoverInitiate {
        sequence: 8,
        pcoa: Some("2001:db8:3::1".parse().unwrap()),
        ..HI
    };
    simulation.inject(Node::Nar, CORE, hi(other, elsewhere));
    assert_eq!(simulation.nar.counters().pcoa_outside_prefix, 1);
    assert_eq!(simulation.count("nar: start-buffering"), 1);
}

#[test]
fn a_route_that_cannot_be_made_costs_nothing_and_a_buffer_that_cannot_costs_the_handover() {
    let mut simulation = keeping();
    simulation.fail(Node::Nar, "add-host-route");
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    simulation.inject(Node::Nar, ACCESS, una(PCOA, MN_LLA).encode());
    assert_eq!(simulation.count("nar: release-buffer"), 1);
    simulation.run(FOREVER);
    assert_eq!(simulation.count("nar: remove-host-route"), 0);
    simulation.assert_clean();

    let mut simulation = keeping();
    simulation.fail(Node::Nar, "start-buffering");
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    assert_eq!(hacks(&simulation), [(HackCode::Resources, None)]);
    simulation.assert_clean();
}

// Rows: HAK-08, HAK-07
#[test]
fn a_whole_handover_with_a_kept_address_leaves_nothing_behind() {
    let mut simulation = keeping();
    run_from_impend(&mut simulation);
    let tunnel = commands(&simulation)
        .into_iter()
        .find_map(|command| match command {
            Command::InstallTunnel { pcoa, ncoa, .. } => Some((pcoa, ncoa)),
            _ => None,
        });
    assert_eq!(tunnel, Some((PCOA, NAR)));
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(simulation.nar.handovers(), []);
    assert_eq!(simulation.par.handovers(), []);
}
