//! Shutdown in every phase.

use super::*;

#[test]
fn a_shutdown_at_any_moment_removes_exactly_what_was_installed() {
    for node in [Node::Mn, Node::Par, Node::Nar] {
        for millis in 0..300 {
            let mut simulation = Simulation::new();
            simulation.impend();
            simulation.run(Duration::from_millis(millis));
            simulation.input(node, Input::Admin(Admin::Shutdown));
            let left = simulation.installed.iter().any(|(of, ..)| *of == node);
            assert!(!left, "{node:?} after {millis} ms");
            let (handovers, timeout) = match node {
                Node::Mn => (simulation.mn.handovers(), simulation.mn.poll_timeout()),
                Node::Par => (simulation.par.handovers(), simulation.par.poll_timeout()),
                Node::Nar => (simulation.nar.handovers(), simulation.nar.poll_timeout()),
            };
            assert_eq!((handovers, timeout), (Vec::new(), None));
            // The others notice, or wait for their lifetimes.
            simulation.run(FOREVER);
            simulation.assert_clean();
        }
    }
}

#[test]
fn after_a_shutdown_nothing_new_begins() {
    let mut simulation = Simulation::new();
    for node in [Node::Mn, Node::Par, Node::Nar] {
        simulation.input(node, Input::Admin(Admin::Shutdown));
    }
    simulation.impend();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.inject(Node::Nar, CORE, hi(PAR, HI));
    // What was ordered before the first input is undone.
    assert_eq!(simulation.steps(), ["mn: forget-router"]);
    simulation.assert_clean();
}
