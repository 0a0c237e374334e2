//! The lab itself: without a move its network loses nothing, so that what a handover loses is its own.

use fmip_tests::{Lab, testing, wait::SOON};

#[test]
fn a_stream_of_a_node_that_stays_arrives_whole_and_in_order() {
    let Some(_turn) = testing::turn() else { return };
    let lab = Lab::build().unwrap();
    let streams = testing::a_move(0, 5000).start_streams(&lab).unwrap();
    streams.wait_for_packets(10_000, SOON).unwrap();
    let traffic = streams.stop().unwrap();
    assert!(traffic.refused.is_empty(), "{:?}", traffic.refused);
    for direction in [traffic.downlink, traffic.uplink] {
        assert!(direction.received >= 10_000, "{direction:?}");
        assert_eq!(
            (direction.lost, direction.duplicated, direction.reordered),
            (0, 0, 0),
            "{direction:?}"
        );
    }
}
