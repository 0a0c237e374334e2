//! A new access router as the wires see it: what is held for a node leaves behind its announcement.

use fmip_tests::{bench::journey, testing};

// Rows: HI-11, UNA-06, UNA-09, BUF-03
#[test]
fn held_packets_follow_the_announcement_in_order_and_the_router_stands_in_for_nobody() {
    let Some(_turn) = testing::turn() else { return };
    let fmip_ctl = testing::settings().fmip_ctl;
    let figures =
        journey::una_to_first(&fmip_ctl, 1, 5).unwrap_or_else(|error| panic!("{error:#}"));
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["una_to_first_us_p50", "una_to_first_us_p99"]);
    assert!(figures[0].value <= figures[1].value, "{figures:?}");
}
