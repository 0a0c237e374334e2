//! 802.16e, by RFC 5270.

use crate::play;

// Rows: W16-01, W16-02, W16-05, W16-06, W16-08, W16-10, W16-11, W16-12, W16-17, W16-18
#[test]
fn a_station_that_wants_to_move_is_prepared_before_it_leaves() {
    play("rfc5270-predictive-ms-initiated");
}

// Rows: W16-05, W16-12, W16-19
#[test]
fn a_station_that_is_told_to_move_is_prepared_before_it_leaves() {
    play("rfc5270-predictive-bs-initiated");
}

// Rows: W16-19
#[test]
fn a_target_that_answers_too_late_is_asked_again() {
    play("rfc5270-late-candidate");
}

// Rows: W16-11
#[test]
fn a_target_that_knows_nothing_of_the_station_skips_nothing() {
    play("rfc5270-without-context");
}

// Rows: W16-13, W16-20, W16-21
#[test]
fn a_station_whose_fbu_is_lost_announces_itself_and_asks_again_on_the_new_link() {
    play("rfc5270-reactive");
}

// Rows: W16-20
#[test]
fn a_router_that_is_told_that_the_station_has_left_holds_its_packets_until_the_fbu_comes() {
    play("rfc5270-reactive-held");
}

// Rows: W16-06, W16-15
#[test]
fn another_base_station_of_the_same_subnet_is_no_handover() {
    play("rfc5270-same-subnet");
}

// Rows: W16-14
#[test]
fn a_station_that_comes_elsewhere_sends_a_new_fbu_to_the_previous_router() {
    play("rfc5270-unpredicted");
}

// Rows: W16-08, W16-10
#[test]
fn ho_ind_waits_for_link_switch_and_that_for_the_fback() {
    play("rfc5270-link-switch-waits-for-fback");
}

// Rows: W16-09
#[test]
fn ho_ind_before_the_fback_makes_it_a_reactive_handover() {
    play("rfc5270-ho-ind-before-fback");
}

// Rows: W16-16, W16-22
#[test]
fn an_address_that_the_new_router_gives_is_used() {
    play("rfc5270-naack");
}
