//! The move without fast handover: what the project saves people from.

use fmip_tests::{Lab, testing};

#[test]
fn a_plain_move_loses_packets_both_ways_and_recovers() {
    let Some(_turn) = testing::turn() else { return };
    let lab = Lab::build().unwrap();
    // It returns only once packets have come both ways at the new address.
    let run = testing::a_move(200, 1000).plain(&lab).unwrap();
    for direction in [run.downlink, run.uplink] {
        assert!(direction.lost > 0, "{direction:?}");
        assert!(direction.received > 0, "{direction:?}");
        assert_eq!(direction.sent, direction.received + direction.lost);
        assert_eq!((direction.duplicated, direction.reordered), (0, 0));
        assert!(direction.longest_gap_ms >= 200.0, "{direction:?}");
    }
    assert_eq!((run.held, run.released), (0, 0));
    assert_eq!((run.fbu_to_fback_us, run.una_to_first_us), (None, None));
}
