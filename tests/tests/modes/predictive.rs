//! Prepared on the previous link.

use crate::play;

// Rows: W11-04, W16-18, UNA-01, UNA-06, BUF-07, BUF-08, TUN-01, TUN-03, TUN-05
#[test]
fn a_prepared_handover_loses_nothing() {
    play("predictive");
}
