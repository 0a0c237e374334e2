//! Arrivals with an address that cannot be.

use crate::play;

// Rows: NAK-01, NAK-07, UNA-11
#[test]
fn a_node_with_a_taken_address_makes_another() {
    play("naack-configure");
}

// Rows: NAK-04, NAK-05, W16-22
#[test]
fn a_node_with_a_taken_address_uses_the_one_that_it_is_given() {
    play("naack-supplied");
}

// Rows: NAK-07
#[test]
fn a_node_with_a_taken_address_is_reached_by_way_of_the_routers() {
    play("naack-router-address");
}

// Rows: NAK-07, UNA-05
#[test]
fn a_node_whose_kernel_is_faster_than_the_router_does_as_the_router_says() {
    play("naack-late");
}

// Rows: NAK-06
#[test]
fn a_node_that_is_to_keep_its_address_sends_no_fbu() {
    play("naack-pcoa");
}

// Rows: NAK-08
#[test]
fn a_node_that_nobody_knows_here_uses_neither_address() {
    play("naack-unrecognized");
}
