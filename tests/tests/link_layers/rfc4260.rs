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

// Rows: W11-08
#[test]
fn a_node_that_knows_nothing_asks_for_the_router_first() {
    play("rfc4260-123456abcdefg");
}
