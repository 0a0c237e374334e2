//! Prepared on the previous link.

use crate::play;

// Rows: W11-04, W16-18, UNA-01, UNA-06, BUF-07, BUF-08, TUN-01, TUN-03, TUN-05
#[test]
fn a_prepared_handover_loses_nothing() {
    play("predictive");
}

// Rows: PRA-17, PRA-18, PRA-20, W16-19
#[test]
fn a_handover_that_the_network_begins_loses_nothing() {
    play("network-initiated");
}

// Rows: PRA-19, PRA-21
#[test]
fn a_handover_that_the_network_begins_uses_the_address_that_it_names() {
    play("network-initiated-ncoa");
}
