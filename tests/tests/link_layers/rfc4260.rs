//! 802.11, by RFC 4260.

use crate::play;

// Rows: W11-04
#[test]
fn all_is_said_before_the_node_leaves() {
    play("rfc4260-1abcdef23456g");
}

// Rows: W11-07
#[test]
fn a_node_that_knows_the_new_router_announces_itself_first() {
    play("rfc4260-ab123456cdefg");
}

// Rows: W11-11
#[test]
fn no_scan_disturbs_traffic_while_the_signal_is_good() {
    play("rfc4260-quiet-radio");
}

// Rows: W11-08
#[test]
fn a_node_that_knows_nothing_asks_for_the_router_first() {
    play("rfc4260-123456abcdefg");
}

// Rows: W11-01, PRA-10
#[test]
fn figure_1_from_ap1_to_ap2_nothing_is_said() {
    play("rfc4260-figure-1-same-subnet");
}

// Rows: W11-02
#[test]
fn figure_1_from_ap5_to_ap6_is_a_handover() {
    play("rfc4260-figure-1-handover");
}

// Rows: W11-03
#[test]
fn figure_2_every_access_point_is_a_router() {
    play("rfc4260-figure-2-handover");
}

// Rows: W11-09
#[test]
fn figure_2_a_node_that_knows_the_figure_asks_for_no_router() {
    play("rfc4260-figure-2-123456cdefg");
}

// Rows: W11-06, MOV-04, MOV-05
#[test]
fn a_prediction_that_goes_wrong_devolves_to_a_reaction() {
    play("rfc4260-wrong-prediction");
}

// Rows: W11-05
#[test]
fn a_scan_that_is_out_of_date_devolves_to_a_reaction() {
    play("rfc4260-stale-scan");
}

// Rows: W11-13
#[test]
fn what_is_held_survives_802_1x_if_the_routers_wait_for_it() {
    play("rfc4260-802.1x-delay");
}

// Rows: W11-13
#[test]
fn what_is_held_expires_if_802_1x_takes_longer_than_the_router_waits() {
    play("rfc4260-802.1x-delay-expired");
}

// Rows: W11-14
#[test]
fn a_rogue_access_point_redirects_nothing() {
    play("hostile-rogue-access-point");
}

// Rows: W11-14
#[test]
fn a_rogue_access_point_is_not_chosen_for_its_signal() {
    play("hostile-rogue-access-point-strong");
}

// Rows: W11-14
#[test]
fn a_node_that_wants_the_router_known_stays_as_long_as_it_can() {
    play("hostile-rogue-access-point-alone");
}
