//! HAcks, and what they become for the mobile node.

use super::*;

// Rows: AMB-19, FBA-08
#[test]
fn refusals_of_the_nar_reach_the_mobile_node() {
    use {FastBindingStatus as Status, HackCode as Code};
    for (code, status) in [
        (Code::NcoaInUse, Status::Unspecified),
        (Code::NcoaAssigned, Status::Unspecified),
        (Code::Other(9), Status::Unspecified),
        (Code::Unspecified, Status::Unspecified),
        (Code::Prohibited, Status::Prohibited),
        (Code::Resources, Status::Resources),
        (Code::Other(200), Status::Unspecified),
    ] {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Par, "HI", ALWAYS);
        simulation.inject(Node::Par, ACCESS, FBU.bytes());
        simulation.inject(Node::Par, CORE, hack(NAR, 101, code, None));
        assert_eq!(statuses(&simulation), [status], "{code:?}");
        assert_nothing_changed(&simulation);
    }
}

#[test]
fn a_mobile_node_that_is_refused_stays_where_it_is() {
    let mut nar = router_config(true);
    nar.limits.max_handovers = 0;
    let mut simulation = Simulation::with(mobile_node_config(), router_config(false), nar);
    run_from_impend(&mut simulation);
    assert_eq!(
        simulation.events(Node::Mn)[1..],
        [
            r#"{"event":"fback-received","status":130}"#,
            r#"{"event":"handover-failed","reason":"refused"}"#
        ]
    );
    assert_nothing_changed(&simulation);
}

// Rows: AMB-02, AMB-19, FBA-04, FBA-06, FBA-07
#[test]
fn an_address_that_the_nar_gives_replaces_the_proposal() {
    let given: Ipv6Addr = "2001:db8:2::abcd".parse().unwrap();
    for code in [
        HackCode::NcoaInUse,
        HackCode::NcoaAssigned,
        HackCode::UsePcoa,
    ] {
        let mut simulation = Simulation::new();
        simulation.lose(Node::Par, "HI", ALWAYS);
        simulation.impend();
        simulation.run(Duration::from_millis(10));
        simulation.inject(Node::Par, CORE, hack(NAR, 101, code, Some(given)));
        simulation.run(Duration::from_millis(50));
        let (to, fback) = &fbacks(&simulation)[0];
        assert_eq!(*to, given);
        assert_eq!(fback.status, FastBindingStatus::NcoaInvalid);
        assert_eq!(fback.alternate_coa, Some(given));
        let ncoas: Vec<_> = commands(&simulation)
            .into_iter()
            .filter_map(|command| match command {
                Command::InstallTunnel { ncoa, .. } => Some(ncoa),
                Command::HoldUplink { tunnel, .. } => tunnel.map(|tunnel| tunnel.local),
                _ => None,
            })
            .collect();
        assert_eq!(ncoas, [given, given]);
    }
}

/// Each mobile node has a prefix of its own at the NAR: what is advertised is what they have in common.
// Rows: PRA-24
#[test]
fn an_address_of_a_prefix_per_mobile_node_comes_back_in_the_fback() {
    let aggregate = "2001:db8:2::/48".parse().unwrap();
    let mut par = router_config(false);
    par.peers[0].prefix = aggregate;
    let mut simulation = Simulation::with(mobile_node_config(), par, router_config(true));
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.impend();
    simulation.run(Duration::from_millis(10));
    let (_, packet) = simulation.messages(Node::Par, "PrRtAdv").next().unwrap();
    let Message::PrRtAdv(advertisement) = packet.message else {
        panic!("it is a PrRtAdv");
    };
    let router = advertisement.tuples[0].router.expect("it is known");
    assert_eq!(router.prefix, aggregate);

    let given: Ipv6Addr = "2001:db8:2:77::1".parse().unwrap();
    let answer = hack(NAR, 101, HackCode::NcoaAssigned, Some(given));
    simulation.inject(Node::Par, CORE, answer);
    simulation.run(Duration::from_millis(50));
    let (_, fback) = &fbacks(&simulation)[0];
    assert_eq!(fback.alternate_coa, Some(given));
    simulation.run(SECOND);
    let (_, una) = simulation.messages(Node::Mn, "NA").next().unwrap();
    assert_eq!(una.source, given);
}

#[test]
fn an_address_that_is_not_the_nars_to_give_is_not_tunnelled_to() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let foreign = "2001:db8:3::1".parse().unwrap();
    let answer = hack(NAR, 101, HackCode::NcoaAssigned, Some(foreign));
    simulation.inject(Node::Par, CORE, answer);
    assert_eq!(simulation.par.counters().peer_unsupported, 1);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
    assert_nothing_changed(&simulation);
}

// Rows: HAK-10
#[test]
fn a_hack_that_nobody_asked_for_is_ignored() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "HI", ALWAYS);
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    let stranger = "2001:db8:9::1".parse().unwrap();
    let valid = HackCode::NcoaValid;
    simulation.inject(Node::Par, CORE, hack(stranger, 101, valid, None));
    assert_eq!(simulation.par.counters().unknown_peer, 1);
    simulation.inject(Node::Par, ACCESS, hack(NAR, 101, valid, None));
    assert_eq!(simulation.par.counters().unknown_peer, 2);
    simulation.inject(Node::Par, CORE, hack(NAR, 100, valid, None));
    assert_eq!(simulation.par.counters().unmatched, 1);
    let unsolicited = hack(NAR, 100, HackCode::Unsolicited, None);
    simulation.inject(Node::Par, CORE, unsolicited);
    assert_eq!(simulation.par.counters().unmatched, 2);
    assert_eq!(commands(&simulation), []);
    assert_eq!(simulation.par.handovers()[0].state, "awaiting-hack");
}

#[test]
fn a_hack_that_comes_twice_changes_nothing() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    let before = simulation.steps();
    simulation.inject(Node::Par, CORE, hack(NAR, 101, HackCode::NcoaValid, None));
    assert_eq!(simulation.par.counters().duplicate, 1);
    assert_eq!(simulation.steps(), before);
}

#[test]
fn a_nar_that_takes_its_word_back_ends_the_tunnel() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    simulation.inject(Node::Par, CORE, hack(NAR, 101, HackCode::Resources, None));
    assert_eq!(simulation.par.handovers(), []);
    assert_eq!(
        statuses(&simulation).last(),
        Some(&FastBindingStatus::Resources)
    );
    simulation.run(FOREVER);
    simulation.assert_clean();
}
