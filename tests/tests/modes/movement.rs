//! Movements that were not predicted.

use crate::play;

// Rows: PRA-10, PRA-11, W11-01
#[test]
fn another_access_point_of_the_same_router_is_no_handover() {
    play("same-link");
}

// Rows: MOV-01, MOV-02
#[test]
fn a_node_that_stays_ends_what_it_has_asked_for() {
    play("stays");
}

// Rows: MOV-01, MOV-06, BUF-08
#[test]
fn a_handover_that_is_broken_off_and_repeated_brings_nothing_late() {
    play("broken-off");
}

// Rows: MOV-04, MOV-05, W11-06, W16-14
#[test]
fn a_node_that_appears_elsewhere_gets_its_packets_there() {
    play("elsewhere");
}

// Rows: FBU-16, MOV-05
#[test]
fn a_new_fbu_takes_the_place_of_the_one_before() {
    play("superseded");
}

// Rows: MOV-01, MOV-02
#[test]
fn a_node_that_comes_back_ends_its_tunnel() {
    play("ping-pong");
}

// Rows: MOV-02, BUF-08
#[test]
fn a_node_that_comes_back_before_it_has_all_gets_the_rest_there() {
    play("held-return");
}

// Rows: BUF-08
#[test]
fn a_node_that_leaves_again_before_it_has_all_gets_the_rest_where_it_goes() {
    play("held-again");
}

// Rows: TUN-01, TUN-03
#[test]
fn a_node_that_moves_on_gets_its_packets_through_both_tunnels() {
    play("chain");
}
