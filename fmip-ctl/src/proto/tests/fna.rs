//! Fast Neighbor Advertisements of RFC 4068, and the FBUs in them.

use super::*;
use crate::wire::FastNeighborAdvertisement;

const OTHER_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn fna(mn_lla: Option<MacAddr>, fbu: Option<Bytes>) -> Bytes {
    let packet = Packet {
        source: NCOA,
        destination: NAR,
        hop_limit: 64,
        home_address: None,
        message: Message::FastNeighborAdvertisement(FastNeighborAdvertisement {
            mn_lla,
            unknown: Vec::new(),
            fbu,
        }),
    };
    packet.encode()
}

/// The FBU that a mobile node on the NAR's link sends.
fn fbu() -> Bytes {
    let fbu = Fbu {
        source: NCOA,
        ..FBU
    };
    fbu.bytes()
}

/// What the NAR sent on.
fn relayed(simulation: &Simulation) -> Vec<Transmit> {
    let transmit = |(_, node, output): &(Instant, Node, Output)| match output {
        Output::Transmit(transmit) if *node == Node::Nar => Some(transmit.clone()),
        _ => None,
    };
    simulation.log.iter().filter_map(transmit).collect()
}

// Rows: LEG-01, LEG-02, BUF-07
#[test]
fn an_fna_releases_what_is_held_and_its_node_counts_as_reachable() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.log.clear();
    for _ in 0..2 {
        simulation.inject(Node::Nar, ACCESS, fna(Some(MN_LLA), None));
    }
    assert_eq!(
        simulation.steps(),
        [
            "nar: remove-proxy-nd",
            "nar: add-neighbor",
            "nar: release-buffer"
        ]
    );
    let neighbor = Command::AddNeighbor {
        interface: ACCESS,
        address: NCOA,
        link_address: MN_LLA,
        state: NeighborState::Reachable,
    };
    assert_eq!(commands(&simulation)[1], neighbor);
    assert_eq!(simulation.nar.counters().received_fna, 2);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: LEG-02, UNA-09
#[test]
fn an_fna_is_one_only_with_its_node_s_link_layer_address_and_from_its_link() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.inject(Node::Nar, ACCESS, fna(None, Some(fbu())));
    assert_eq!(simulation.nar.counters().option_missing, 1);
    simulation.inject(Node::Nar, CORE, fna(Some(MN_LLA), Some(fbu())));
    assert_eq!(simulation.nar.counters().unexpected, 1);
    simulation.inject(Node::Nar, ACCESS, fna(Some(OTHER_LLA), Some(fbu())));
    assert_eq!(simulation.nar.counters().wrong_link_address, 1);
    assert_eq!(simulation.count("nar: release-buffer"), 0);
    assert_eq!(simulation.count("nar: -> fbu"), 0);
    // The other one may come with an address of its own, in another network's.
    assert_eq!(simulation.nar.counters().not_relayed, 1);
}

// Rows: LEG-03, AMB-14, W16-21
#[test]
fn the_fbu_in_an_fna_goes_to_the_par_as_it_is() {
    let mut simulation = Simulation::new();
    // It comes as often as its node sends it.
    for times in 1..=2 {
        simulation.inject(Node::Nar, ACCESS, fna(Some(MN_LLA), Some(fbu())));
        let transmit = Transmit {
            interface: None,
            link_destination: None,
            bytes: fbu(),
        };
        assert_eq!(relayed(&simulation), vec![transmit; times]);
    }
    // Behind the entry, which may show that the address is not its own.
    assert_eq!(
        simulation.steps()[..2],
        ["nar: add-neighbor", "nar: -> fbu"]
    );
    // The PAR acts on it as on any FBU from there.
    simulation.run(SECOND);
    assert_eq!(simulation.count("par: install-tunnel"), 1);
    assert_eq!(hack_codes(&simulation)[0], HackCode::NcoaValid);
}

// Rows: LEG-03
#[test]
fn nothing_but_an_fbu_of_its_sender_to_a_neighbor_is_sent_on() {
    let not_an_fbu = hi(NCOA, HI);
    let cases = [
        Fbu {
            source: PCOA,
            ..FBU
        }
        .bytes(),
        Fbu {
            source: NCOA,
            par: "2001:db8:9::1".parse().unwrap(),
            ..FBU
        }
        .bytes(),
        not_an_fbu,
        {
            let mut damaged = fbu().to_vec();
            damaged[60] ^= 1;
            damaged.into()
        },
    ];
    for inner in cases {
        let mut simulation = Simulation::new();
        simulation.inject(Node::Nar, ACCESS, fna(Some(MN_LLA), Some(inner)));
        assert_eq!(relayed(&simulation), []);
        assert_eq!(simulation.nar.counters().not_relayed, 1);
        assert_eq!(simulation.count("nar: add-neighbor"), 1);
    }
}

// Rows: LEG-03, NAK-01, NAK-03
#[test]
fn an_fbu_for_an_address_that_is_anothers_is_discarded_and_its_node_is_told() {
    let refuse = |simulation: &mut Simulation| {
        simulation.log.clear();
        simulation.inject(Node::Nar, ACCESS, fna(Some(MN_LLA), Some(fbu())));
        assert_eq!(simulation.count("nar: -> fbu"), 0);
        let told = Naack {
            status: NaackStatus::ConfigureAddress,
            ncoa: None,
        };
        assert_eq!(naacks(simulation), [(NCOA, Some(MN_LLA), told)]);
    };
    let configure = |config: &mut RouterConfig| {
        config.access[0].on_invalid_ncoa = OnInvalidNcoa::Configure;
    };
    // By what we know, and by what the kernel knows.
    let mut simulation = nar_with(configure);
    simulation.inject(Node::Nar, ACCESS, una(NCOA, OTHER_LLA).encode());
    refuse(&mut simulation);
    let mut simulation = nar_with(configure);
    simulation.in_use = true;
    simulation.fail(Node::Nar, "add-neighbor");
    refuse(&mut simulation);
    simulation.assert_clean();
    // An address of another network.
    let mut simulation = nar_with(|config| {
        configure(config);
        config.access[0].prefix = "2001:db8:2:1::/64".parse().unwrap();
    });
    refuse(&mut simulation);
}

// Rows: LEG-03, NAK-01
#[test]
fn a_node_that_keeps_its_address_is_told_so_and_its_fbu_is_needless() {
    let mut simulation = nar_with(|config| {
        config.access[0].addressing = Addressing::KeepPcoa;
    });
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    simulation.inject(Node::Nar, ACCESS, fna(Some(MN_LLA), Some(fbu())));
    let told = Naack {
        status: NaackStatus::UsePcoa,
        ncoa: Some(PCOA),
    };
    assert_eq!(naacks(&simulation), [(NCOA, Some(MN_LLA), told)]);
    assert_eq!(simulation.count("nar: -> fbu"), 0);
    assert_eq!(simulation.count("nar: release-buffer"), 1);
}
