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
