//! Those who forge what the link layer says.

use crate::play;

// Rows: W16-03, W16-04
#[test]
fn base_stations_that_only_an_advertisement_names_are_nobody() {
    play("hostile-nbr-adv-flood");
}

// Rows: W16-24
#[test]
fn orders_to_move_without_a_valid_cmac_are_not_obeyed() {
    play("hostile-bsho-req-flood");
}

// Rows: W16-24
#[test]
fn orders_to_move_without_a_valid_hmac_are_not_obeyed() {
    play("hostile-bsho-req-flood-hmac");
}
