//! What a handover that failed leaves at the previous router.

use super::*;

/// When the tunnel was removed, after `start`.
fn tunnel_ended(simulation: &Simulation, start: Instant) -> Duration {
    let removal = Output::Command(Command::RemoveTunnel { pcoa: PCOA });
    let removal = simulation
        .log
        .iter()
        .find(|(.., output)| *output == removal);
    let (at, ..) = removal.expect("the tunnel was removed");
    *at - start
}

#[test]
fn a_mobile_node_that_hears_no_fback_takes_its_packets_back() {
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "FBack", ALWAYS);
    let start = run_from_impend(&mut simulation);
    assert!(simulation.count("par: install-tunnel") > 0);
    assert!(tunnel_ended(&simulation, start) < Duration::from_millis(1600));
    // Four to begin with and four to end it: it does not go on for ever.
    assert_eq!(simulation.count("mn: -> FBU"), 8);
    simulation.assert_clean();
}

// Rows: AMB-17, MOV-01, MOV-07
#[test]
fn a_mobile_node_that_returns_takes_its_packets_back() {
    for millis in [0, 5_000] {
        let mut simulation = Simulation::new();
        simulation.impend();
        simulation.run(SECOND + Duration::from_millis(millis));
        simulation.lose(Node::Mn, "FBU", 1);
        simulation.come_up(AP1);
        let start = simulation.now;
        simulation.run(FOREVER);
        assert!(tunnel_ended(&simulation, start) < Duration::from_millis(150));
        let last = simulation.messages(Node::Mn, "FBU").last();
        let (_, last) = last.expect("one got through");
        let Message::FastBindingUpdate(fbu) = last.message else {
            panic!("an FBU was asked for");
        };
        assert_eq!((last.source, last.home_address), (PCOA, Some(PCOA)));
        assert_eq!((fbu.lifetime, fbu.alternate_coa), (0, Some(PCOA)));
        // One for the handover, one lost, one answered.
        assert_eq!(simulation.count("mn: -> FBU"), 3);
        simulation.assert_clean();
    }
}

#[test]
fn a_mobile_node_that_cannot_go_or_lost_its_link_takes_its_packets_back() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "hold-uplink");
    let start = run_from_impend(&mut simulation);
    assert!(tunnel_ended(&simulation, start) < Duration::from_millis(30));
    assert_eq!(simulation.count("mn: -> FBU"), 2);
    simulation.assert_clean();

    // The link went down before the FBack came: when it is back, it is time.
    let mut simulation = Simulation::new();
    simulation.lose(Node::Par, "FBack", ALWAYS);
    simulation.impend();
    simulation.run(Duration::from_millis(50));
    simulation.link(LinkEvent::LinkDown);
    simulation.run(SECOND);
    assert_eq!(simulation.count("mn: -> FBU"), 1);
    simulation.link(LinkEvent::LinkUp { access_point: AP1B });
    assert_eq!(simulation.count("mn: -> FBU"), 1, "AP1B may be anywhere");
    simulation.link(LinkEvent::LinkUp { access_point: AP1 });
    let start = simulation.now;
    simulation.run(FOREVER);
    assert!(tunnel_ended(&simulation, start) < Duration::from_millis(30));
    simulation.assert_clean();
}

#[test]
fn an_fbu_that_was_refused_needs_no_other_to_end_it() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Nar, "start-buffering");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: -> FBU"), 1);
}

/// A key that ended before its tunnel could not end the tunnel.
// Rows: MOV-03
#[test]
fn a_tunnel_can_be_ended_as_long_as_it_stands() {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND * 29);
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    simulation.come_up(AP1);
    simulation.run(Duration::from_millis(150));
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    assert!(
        simulation
            .events(Node::Par)
            .last()
            .unwrap()
            .contains(r#""reason":"ended""#),
        "{:?}",
        simulation.events(Node::Par)
    );
    assert_eq!(simulation.par.counters().unknown_key, 0);
}
