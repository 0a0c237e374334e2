//! Commands that fail.

use super::*;

// Rows: FBA-08, HAK-06
#[test]
fn a_nar_that_cannot_hold_packets_refuses() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Nar, "start-buffering");
    run_from_impend(&mut simulation);
    assert_eq!(hack_codes(&simulation), [HackCode::Resources]);
    // What stood behind the failed command was taken back.
    assert_eq!(simulation.count("nar: add-proxy-nd"), 0);
    assert_eq!(simulation.count("par: install-tunnel"), 0);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Resources]);
    assert_eq!(
        simulation.events(Node::Nar),
        [
            r#"{"event":"command-failed","command":"start-buffering","error":"no"}"#,
            r#"{"event":"hi-refused","reason":"command-failed","code":130,"source":"2001:db8:1::1"}"#
        ]
    );
    simulation.assert_clean();
}

// Rows: AMB-19, HI-12
#[test]
fn an_ncoa_that_the_kernel_knows_as_anothers_is_refused_as_such() {
    for command in ["start-buffering", "add-proxy-nd"] {
        for late in [false, true] {
            let mut simulation = Simulation::new();
            simulation.in_use = true;
            match late {
                false => simulation.fail(Node::Nar, command),
                true => simulation.fail_late(Node::Nar, command),
            }
            run_from_impend(&mut simulation);
            assert_eq!(
                hack_codes(&simulation).last(),
                Some(&HackCode::NcoaInUse),
                "{command}"
            );
            assert_eq!(simulation.nar.counters().ncoa_in_use, 1);
            let told = statuses(&simulation);
            // AMB-19.
            assert_eq!(told.last(), Some(&FastBindingStatus::Unspecified));
            assert_eq!(
                simulation.count("par: remove-tunnel"),
                usize::from(late),
                "what was begun on its word is ended"
            );
            simulation.assert_clean();
        }
    }
}

#[test]
fn a_nar_that_cannot_stand_in_for_the_address_refuses_and_holds_nothing() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Nar, "add-proxy-nd");
    run_from_impend(&mut simulation);
    assert_eq!(hack_codes(&simulation), [HackCode::Unspecified]);
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(simulation.count("nar: remove-proxy-nd"), 0);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Unspecified]);
    simulation.assert_clean();
}

#[test]
fn a_nar_that_learns_of_a_failure_too_late_takes_its_word_back() {
    for (command, code) in [
        ("start-buffering", HackCode::Resources),
        ("add-proxy-nd", HackCode::Unspecified),
    ] {
        let mut simulation = Simulation::new();
        simulation.fail_late(Node::Nar, command);
        run_from_impend(&mut simulation);
        assert_eq!(hack_codes(&simulation), [HackCode::NcoaValid, code]);
        assert_eq!(simulation.count("par: remove-tunnel"), 1);
        simulation.assert_clean();
    }
}

#[test]
fn a_buffer_that_cannot_be_prolonged_is_removed() {
    let mut simulation = nar_hears(hi(PAR, HI));
    simulation.fail(Node::Nar, "start-buffering");
    let newer = HandoverInitiate { sequence: 8, ..HI };
    simulation.inject(Node::Nar, CORE, hi(PAR, newer));
    assert_eq!(simulation.count("nar: remove-buffer"), 1);
    assert_eq!(
        hack_codes(&simulation),
        [HackCode::NcoaValid, HackCode::Resources]
    );
    simulation.assert_clean();
}

#[test]
fn a_par_that_cannot_tunnel_refuses() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Par, "install-tunnel");
    run_from_impend(&mut simulation);
    assert_eq!(statuses(&simulation), [FastBindingStatus::Resources]);
    assert_eq!(simulation.count("par: remove-tunnel"), 0);
    assert_eq!(simulation.count("mn: switch-link"), 0);
    simulation.assert_clean();
}

#[test]
fn a_par_that_learns_too_late_that_it_cannot_tunnel_says_so() {
    let mut simulation = Simulation::new();
    simulation.fail_late(Node::Par, "install-tunnel");
    run_from_impend(&mut simulation);
    use FastBindingStatus::{Accepted, Resources};
    assert_eq!(statuses(&simulation), [Accepted, Accepted, Resources]);
    assert_eq!(simulation.count("par: remove-tunnel"), 0);
    simulation.assert_clean();
}

#[test]
fn a_tunnel_that_cannot_be_renewed_is_removed() {
    let mut simulation = Simulation::new();
    simulation.inject(Node::Par, ACCESS, FBU.bytes());
    simulation.run(Duration::from_millis(100));
    simulation.fail(Node::Par, "install-tunnel");
    let newer = Fbu { sequence: 2, ..FBU };
    simulation.inject(Node::Par, ACCESS, newer.bytes());
    simulation.run(FOREVER);
    assert_eq!(simulation.count("par: remove-tunnel"), 1);
    simulation.assert_clean();
}

#[test]
fn a_buffer_that_cannot_be_released_is_removed() {
    for late in [false, true] {
        let mut simulation = Simulation::new();
        if late {
            simulation.fail_late(Node::Nar, "release-buffer");
        } else {
            simulation.fail(Node::Nar, "release-buffer");
        }
        run_from_impend(&mut simulation);
        assert_eq!(simulation.count("nar: remove-buffer"), 1);
        assert_eq!(simulation.count("nar: remove-proxy-nd"), 1);
        simulation.assert_clean();
    }
}

#[test]
fn a_mobile_node_that_cannot_hold_its_packets_stays() {
    let mut simulation = Simulation::new();
    simulation.fail(Node::Mn, "hold-uplink");
    run_from_impend(&mut simulation);
    assert_eq!(simulation.count("mn: switch-link"), 0);
    assert_eq!(simulation.count("mn: remove-uplink"), 0);
    assert_eq!(
        last_failure(&simulation),
        r#"{"event":"handover-failed","reason":"command-failed"}"#
    );
    simulation.assert_clean();
}

#[test]
fn a_mobile_node_that_cannot_move_or_release_gives_its_packets_back_to_the_kernel() {
    for command in ["switch-link", "release-uplink"] {
        for late in [false, true] {
            let mut simulation = Simulation::new();
            if late {
                simulation.fail_late(Node::Mn, command);
            } else {
                simulation.fail(Node::Mn, command);
            }
            run_from_impend(&mut simulation);
            assert_eq!(simulation.count("mn: remove-uplink"), 1, "{command}");
            // It is where it wanted to be when it is to release.
            let event = match command {
                "switch-link" => "handover-failed",
                _ => "ending-failed",
            };
            assert_eq!(
                last_event(&simulation, event),
                format!(r#"{{"event":"{event}","reason":"command-failed"}}"#)
            );
            simulation.assert_clean();
        }
    }
}

#[test]
fn a_failure_of_what_the_kernel_can_do_by_itself_does_not_stop_the_handover() {
    for (node, command) in [
        (Node::Mn, "set-default-router"),
        (Node::Mn, "configure-address"),
        (Node::Nar, "add-neighbor"),
    ] {
        let mut simulation = Simulation::new();
        simulation.fail(node, command);
        run_from_impend(&mut simulation);
        let expected = [ASKING, PREPARING, MOVING, ENDING].concat();
        assert_eq!(simulation.steps(), expected, "{command}");
        simulation.assert_clean();
    }
}

#[test]
fn a_removal_that_fails_is_counted_and_reported_and_not_repeated() {
    for (node, command) in [
        (Node::Nar, "remove-proxy-nd"),
        (Node::Nar, "remove-buffer"),
        (Node::Par, "remove-tunnel"),
        (Node::Mn, "remove-uplink"),
    ] {
        let mut simulation = Simulation::new();
        simulation.fail(node, command);
        run_from_impend(&mut simulation);
        let expected = [ASKING, PREPARING, MOVING, ENDING].concat();
        assert_eq!(simulation.steps(), expected, "{command}");
        let counters = [
            simulation.mn.counters().command_failed,
            simulation.par.counters().command_failed,
            simulation.nar.counters().command_failed,
        ];
        assert_eq!(counters.iter().sum::<u64>(), 1);
        assert_eq!(simulation.installed.len(), 1);
    }
}
