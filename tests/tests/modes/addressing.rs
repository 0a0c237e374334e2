//! The new router has a say about the address.

use crate::play;

// Rows: HI-15, HAK-03, FBA-04, FBA-06, FBA-07, AMB-02
#[test]
fn an_address_that_the_new_router_assigns_is_used() {
    play("assigned");
}

// Rows: HI-12, FBA-08, AMB-19
#[test]
fn an_address_that_another_node_has_is_refused_before_the_move() {
    play("ncoa-refused");
}

// Rows: HI-16, HAK-07, HAK-08, AMB-18
#[test]
fn a_node_that_keeps_its_address_is_reached_through_the_new_router() {
    play("pcoa-kept");
}

// Rows: PRA-22, PRA-23
#[test]
fn where_addresses_come_by_dhcp_packets_go_by_way_of_the_previous_one() {
    play("dhcp");
}
