//! The predictive handover: nothing is lost, duplicated or reordered, whatever the gap and the rate.

use fmip_tests::{
    Lab,
    controller::{Controllers, Settings},
    testing,
};

fn assert_lossless(gap_ms: u64, rate: u32) {
    assert_lossless_with(gap_ms, rate, |_| {});
}

fn assert_lossless_with(gap_ms: u64, rate: u32, adjust: impl Fn(&mut Settings)) {
    let Some(_turn) = testing::turn() else { return };
    let mut settings = testing::settings();
    adjust(&mut settings);
    assert_lossless_in(&Lab::build().unwrap(), &settings, gap_ms, rate);
}

fn assert_lossless_in(lab: &Lab, settings: &Settings, gap_ms: u64, rate: u32) {
    let controllers = Controllers::start(lab, settings).unwrap();
    let run = testing::a_move(gap_ms, rate)
        .fast(lab, &controllers)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    let faults = run.faults(true);
    assert!(
        faults.is_empty(),
        "{}\n{run:#?}\n{}",
        faults.join("\n"),
        controllers.account()
    );
    assert!(run.fbu_to_fback_us.is_some(), "{run:#?}");
    assert!(run.una_to_first_us.is_some(), "{run:#?}");
}

// Rows: W11-04
#[test]
fn a_slow_stream_survives_a_gap_of_50_ms() {
    assert_lossless(50, 200);
}

// Rows: W11-04
#[test]
fn a_slow_stream_survives_a_gap_of_200_ms() {
    assert_lossless(200, 200);
}

// Rows: W11-04
#[test]
fn a_slow_stream_survives_a_gap_of_1000_ms() {
    assert_lossless(1000, 200);
}

// Rows: W11-04
#[test]
fn a_fast_stream_survives_a_gap_of_50_ms() {
    assert_lossless(50, 5000);
}

// Rows: HI-11, TUN-03, W11-04
#[test]
fn a_fast_stream_survives_a_gap_of_200_ms() {
    assert_lossless(200, 5000);
}

// Rows: W11-04
#[test]
fn a_fast_stream_survives_a_gap_of_1000_ms() {
    assert_lossless(1000, 5000);
}

// Rows: W11-04
#[test]
fn a_release_as_fast_as_possible_keeps_the_order_too() {
    assert_lossless_with(200, 5000, |settings| {
        settings.buffer.drain = Some("burst".to_owned());
    });
}

/// Found on real 802.11, whose drivers take no frames that XDP programs redirect: all that the node had
/// held was lost on its way out, and counted as released. The lab's veth takes them.
// Rows: W11-04
#[test]
fn what_a_node_holds_gets_out_of_an_interface_that_takes_no_redirected_frames() {
    let Some(_turn) = testing::turn() else { return };
    let mut lab = Lab::build().unwrap();
    lab.make_mobile_node_plain().unwrap();
    assert_lossless_in(&lab, &testing::settings(), 200, 500);
}
