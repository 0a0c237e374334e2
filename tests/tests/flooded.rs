//! A handover while somebody floods an access link with signalling.

use std::net::Ipv6Addr;

use fmip_tests::{
    AccessPoint, Lab,
    controller::Controllers,
    flood::Flood,
    handover::Prepared,
    testing::{self, packets},
    topology::{MN_LLA, PCOA},
    wait::SOON,
    wait_until,
};
use serde_json::json;

/// Messages that are refused before the handover begins: far more than the flooder may have at once.
const REFUSED: u64 = 20_000;

/// A predictive handover from the first router to the second, while somebody on the link of `flooded`
/// sends as fast as it can.
fn assert_handover_under_flood(flooded: AccessPoint) {
    let Some(_turn) = testing::turn() else { return };
    let settings = testing::settings().patient();
    let lab = Lab::build().unwrap();
    let controllers = Controllers::start(&lab, &settings).unwrap();
    let router = flooded.router();
    let [a, b, c, d, ..] = router.address().segments();
    let address = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0xbad);
    let node = lab.add_node(flooded, address).unwrap();
    let watched = controllers.router(router);
    let events = watched.subscribe().unwrap();
    let explained = |error: anyhow::Error| -> ! { panic!("{error:#}\n{}", controllers.account()) };

    // As an access point tells it, or the kernel's neighbor discovery. A node that nobody knows yet is
    // one of those without number.
    let attached = json!({
        "command": "trigger", "trigger": "attached",
        "node": PCOA, "link_address": MN_LLA,
    });
    controllers.par.request(&attached).unwrap();
    let flood = Flood::start(&node, "eth0", router).unwrap();
    let refused = || {
        let status = watched.status()?;
        anyhow::Ok(packets(&status, "signal-over-link-rate"))
    };
    wait_until("the flood to be refused", SOON, || {
        Ok((refused()? > REFUSED).then_some(()))
    })
    .unwrap_or_else(|error| explained(error));
    // RtSolPr and FBU on one link, HI and HAck on the core.
    let prepared = Prepared::start(&controllers).unwrap_or_else(|error| explained(error));
    // UNA on the other link.
    lab.detach().unwrap();
    lab.attach(AccessPoint::New).unwrap();
    controllers.mn.trigger("link-up", AccessPoint::New).unwrap();
    prepared
        .nar
        .wait_for("buffer-drained", SOON)
        .unwrap_or_else(|error| explained(error));
    let before = refused().unwrap();
    let sent = flood.sent();
    wait_until("the flood to go on to the end", SOON, || {
        Ok((refused()? > before).then_some(()))
    })
    .unwrap_or_else(|error| explained(error));
    drop(flood);

    // Not one was lost without a reason.
    let status = watched.status().unwrap();
    assert_eq!(packets(&status, "signal-lost"), 0, "{status}");
    assert_eq!(packets(&status, "signal-over-share"), 0, "{status}");
    assert!(sent > REFUSED);
    let told = events
        .wait_for("signalling-refused", SOON)
        .unwrap_or_else(|error| explained(error));
    assert_eq!(told.fields["interface"], "acc0");
    assert_eq!(told.fields["reason"], "signal-over-link-rate");
    events
        .wait_for("events-lost", SOON)
        .unwrap_or_else(|error| explained(error));
    let status = watched.status().unwrap();
    let lost = status["data_path"]["events_lost"]["signalling-refused"].as_u64();
    assert!(lost > Some(REFUSED / 2), "{status}");
}

// Rows: SEC-07
#[test]
fn a_flood_on_the_link_that_the_node_leaves_does_not_hinder_it() {
    assert_handover_under_flood(AccessPoint::Previous);
}

// Rows: SEC-07
#[test]
fn a_flood_on_the_link_that_the_node_comes_to_does_not_hinder_it() {
    assert_handover_under_flood(AccessPoint::New);
}
