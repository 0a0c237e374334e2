//! There and back, and on to a third router.

use super::*;

/// A simulation in which the mobile node is at the NAR, and the tunnel still stands.
fn arrived() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.impend();
    simulation.run(SECOND);
    assert_eq!(simulation.nar.handovers()[0].state, "arrived");
    assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    simulation.log.clear();
    simulation
}

#[test]
fn a_mobile_node_that_is_announced_back_is_held_for_in_place_of_the_tunnel() {
    let mut simulation = arrived();
    simulation.inject(Node::Par, CORE, hi(NAR, HI_BACK));
    assert_eq!(
        simulation.steps(),
        ["par: start-buffering", "par: add-proxy-nd", "par: -> hack"]
    );
    assert!(
        simulation.events(Node::Par)[0].ends_with(r#""reason":"returning"}"#),
        "{:?}",
        simulation.events(Node::Par)
    );
    // The end of the tunnel's lifetime has nothing left to remove.
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-tunnel"), 0);
    simulation.assert_clean();
}

#[test]
fn the_address_of_a_mobile_node_that_left_is_nobody_elses() {
    for message in [
        // Announced by its neighbor, but for another of its mobile nodes.
        HandoverInitiate {
            pcoa: Some("2001:db8:2::9".parse().unwrap()),
            ..HI_BACK
        },
        HandoverInitiate {
            pcoa: Some("2001:db8:2::9".parse().unwrap()),
            mn_lla: Some(MacAddr([2, 0, 0, 0, 0, 9])),
            ..HI_BACK
        },
    ] {
        let mut simulation = arrived();
        simulation.inject(Node::Par, CORE, hi(NAR, message));
        assert_eq!(simulation.steps(), ["par: -> hack"]);
        assert_eq!(simulation.par.counters().ncoa_in_use, 1);
        assert!(
            simulation.events(Node::Par)[0]
                .starts_with(r#"{"event":"hi-refused","reason":"ncoa-in-use","code":1"#),
            "{:?}",
            simulation.events(Node::Par)
        );
        assert_eq!(simulation.par.handovers()[0].state, "forwarding");
    }
}

#[test]
fn a_mobile_node_that_moves_on_frees_its_buffer_before_it_is_tunnelled() {
    let mut simulation = arrived();
    simulation.inject(Node::Nar, ACCESS, FBU_BACK.bytes());
    simulation.run(Duration::from_millis(100));
    assert_eq!(
        simulation.steps(),
        [
            "nar: -> hi",
            "par: start-buffering",
            "par: add-proxy-nd",
            "par: -> hack",
            "nar: remove-buffer",
            "nar: install-tunnel",
            "nar: -> fback",
            "nar: -> fback",
        ]
    );
    // The deadlines of what ended before remove nothing.
    simulation.run(Duration::from_secs(5));
    assert!(simulation.installed.contains(&(Node::Nar, "tunnel", NCOA)));
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_wants_to_move_on_and_is_refused_keeps_its_buffer() {
    let mut simulation = arrived();
    simulation.fail(Node::Par, "start-buffering");
    simulation.inject(Node::Nar, ACCESS, FBU_BACK.bytes());
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.count("nar: -> fback"), 1);
    assert_eq!(simulation.count("nar: remove-buffer"), 0);
    assert_eq!(simulation.nar.handovers()[0].state, "arrived");
    simulation.run(FOREVER);
    simulation.assert_clean();
}

// Rows: BUF-08
#[test]
fn a_mobile_node_that_moves_on_before_it_has_all_takes_the_rest_along() {
    for fails in [false, true] {
        let mut simulation = Simulation::new();
        simulation.drain = SECOND * 5;
        simulation.impend();
        simulation.run(SECOND);
        assert_eq!(simulation.nar.handovers()[0].state, "draining");
        simulation.log.clear();
        if fails {
            simulation.fail(Node::Nar, "install-tunnel");
        }
        simulation.inject(Node::Nar, ACCESS, FBU_BACK.bytes());
        simulation.run(Duration::from_millis(100));
        // The tunnel takes over what is held: nothing removes it before.
        assert_eq!(simulation.count("nar: install-tunnel"), 1);
        assert_eq!(simulation.count("nar: remove-buffer"), 0);
        let handovers = simulation.nar.handovers();
        assert_eq!(handovers.len(), 1);
        let state = if fails { "returned" } else { "forwarding" };
        assert_eq!(handovers[0].state, state);
        simulation.run(FOREVER);
        assert_eq!(
            simulation.count("nar: remove-buffer"),
            usize::from(fails),
            "what no tunnel took over"
        );
        simulation.assert_clean();
    }
}

// Rows: BUF-06
#[test]
fn a_mobile_node_that_never_came_and_is_asked_for_elsewhere_takes_what_is_held_along() {
    let mut simulation = nar_hears(hi(PAR, HI));
    assert_eq!(simulation.nar.handovers()[0].state, "expected");
    simulation.log.clear();
    // Its FBU got here before its UNA did.
    simulation.inject(Node::Nar, ACCESS, FBU_BACK.bytes());
    simulation.run(Duration::from_millis(100));
    assert_eq!(simulation.count("nar: remove-proxy-nd"), 1);
    assert_eq!(simulation.count("nar: install-tunnel"), 1);
    assert_eq!(simulation.count("nar: remove-buffer"), 0);
    simulation.run(FOREVER);
    simulation.assert_clean();
}

/// A simulation in which the mobile node asks to move on from the NAR, and has no answer yet.
fn asking_to_move_on() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.drain = Duration::from_millis(400);
    simulation.impend();
    simulation.run(Duration::from_millis(500));
    assert_eq!(simulation.nar.handovers()[0].state, "draining");
    simulation.lose(Node::Nar, "HI", ALWAYS);
    simulation.inject(Node::Nar, ACCESS, FBU_BACK.bytes());
    simulation
}

fn states_at_nar(simulation: &Simulation) -> Vec<&'static str> {
    let handovers = simulation.nar.handovers();
    handovers.iter().map(|handover| handover.state).collect()
}

#[test]
fn what_becomes_of_a_buffer_is_told_to_the_handover_that_has_it() {
    let mut simulation = asking_to_move_on();
    assert_eq!(states_at_nar(&simulation), ["awaiting-hack", "draining"]);
    simulation.run(Duration::from_millis(300));
    assert_eq!(states_at_nar(&simulation), ["awaiting-hack", "arrived"]);
    simulation.run(FOREVER);
    simulation.assert_clean();

    let mut simulation = asking_to_move_on();
    let failed = Input::DrainFailed {
        address: NCOA,
        error: CommandError::Other("no".to_owned()),
    };
    simulation.input(Node::Nar, failed);
    assert_eq!(states_at_nar(&simulation), ["awaiting-hack"]);
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    simulation.run(FOREVER);
    simulation.assert_clean();
}
