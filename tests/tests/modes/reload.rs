//! The neighborhood changes while the router runs.

use fmip_tests::{
    AccessPoint, Lab, Router,
    capture::Story,
    controller::{Controllers, Settings},
    scenario::stage::knows,
    testing,
    wait::SOON,
    wait_until,
};
use serde_json::json;

// Rows: PRA-12, PRA-13, PRA-14
#[test]
fn a_router_that_reads_its_file_again_tells_of_the_neighbors_in_it() {
    let Some(_turn) = testing::turn() else {
        return;
    };
    let lab = Lab::build().unwrap();
    let mut settings = testing::settings();
    let previous = settings.router(Router::Previous);
    previous.set_neighbor(Router::New, "fast-handover", false);
    let mut controllers = Controllers::start(&lab, &settings).unwrap();
    let story = Story::start(&lab).unwrap();
    let mn = controllers.mn.subscribe().unwrap();
    controllers.mn.trigger("impend", AccessPoint::New).unwrap();
    let failed = mn.wait_for_another("handover-failed", 0).unwrap();
    assert_eq!(failed.fields["reason"], "no-fast-handover");
    story
        .check_order(&["mn: RtSolPr", "par: PrRtAdv 3"])
        .unwrap();

    // Something that cannot be: all stays as it was, what is right in the file included.
    previous_says(&mut settings, "maybe");
    let previous = settings.router(Router::Previous);
    previous.set_neighbor(Router::New, "fast-handover", true);
    controllers.par.rewrite(&lab, &settings).unwrap();
    let refused = controllers.par.request(&json!({"command": "reload"}));
    let error = format!("{:#}", refused.unwrap_err());
    assert!(error.contains("addressing"), "{error}");
    // That is what a mobile node hears that asks again: one that has forgotten the answer.
    controllers.mn.restart(&lab, &settings).unwrap();
    let mn = controllers.mn.subscribe().unwrap();
    controllers.mn.trigger("impend", AccessPoint::New).unwrap();
    let failed = mn.wait_for_another("handover-failed", 0).unwrap();
    assert_eq!(failed.fields["reason"], "no-fast-handover");
    wait_until("the second answer on the wire", SOON, || {
        let answers = story.all().into_iter();
        let answers = answers.filter(|seen| seen.by == "par" && seen.what == "PrRtAdv 3");
        Ok((answers.count() >= 2).then_some(()))
    })
    .unwrap();
    story.check_never("par", "PrRtAdv 0").unwrap();

    previous_says(&mut settings, "stateless");
    controllers.par.rewrite(&lab, &settings).unwrap();
    controllers
        .par
        .request(&json!({"command": "reload"}))
        .unwrap();
    // The mobile node is told, for it would not ask again.
    let told = json!({
        "command": "trigger", "trigger": "advertise", "node": Router::Previous.care_of_address(),
    });
    controllers.par.request(&told).unwrap();
    story.wait_for("par", "PrRtAdv 4").unwrap();
    // What is on the wire has not been heard yet.
    knows(&controllers.mn, AccessPoint::New, "router").unwrap();
    controllers.mn.trigger("impend", AccessPoint::New).unwrap();
    mn.wait_for_another("link-switch", 0).unwrap();
}

fn previous_says(settings: &mut Settings, addressing: &str) {
    let previous = settings.router(Router::Previous);
    previous.set_neighbor(Router::New, "addressing", addressing);
}
