//! Begun on the new link.

use crate::play;

// Rows: W11-07, W16-20, FBU-08, HI-03, FBA-03
#[test]
fn behind_its_una_at_a_known_router_the_node_sends_its_fbu() {
    play("reactive-known");
}

// Rows: W11-08, RTS-10, HI-03
#[test]
fn at_an_unknown_router_the_node_asks_for_it_first() {
    play("reactive");
}

// Rows: W11-10, W16-13, FBU-08
#[test]
fn an_fback_that_came_too_late_makes_the_handover_a_reactive_one() {
    play("fback-missed");
}

// Rows: BUF-08, TUN-01
#[test]
fn what_comes_for_a_node_that_was_seen_leaving_is_held_and_goes_after_it() {
    play("reactive-hold");
}

// Rows: BUF-01, TUN-01
#[test]
fn copies_of_what_came_last_go_after_a_node_that_nobody_saw_leaving() {
    play("reactive-copy");
}

// Rows: LEG-01, LEG-03
#[test]
fn an_fna_brings_the_fbu_to_the_new_router_which_sends_it_on() {
    play("fna");
}
