//! A mobile node that prepares a handover and is never seen again.

use std::time::Duration;

use fmip_tests::{
    Lab, capture::Watch, controller::Controllers, handover::Prepared, testing, wait::SOON,
    wait_until,
};

/// How long the new router waits for the node, in milliseconds, unless the machine is known to be slow: longer
/// than a look at what it made for it takes.
const WAIT_MS: u64 = 5_000;
/// How long the previous one redirects: longer than that.
const LIFETIME: Duration = Duration::from_secs(10);

// Rows: BUF-06, MOV-06, TUN-06
#[test]
fn what_was_made_for_a_node_that_never_arrives_ends() {
    let Some(_turn) = testing::turn() else { return };
    let mut settings = testing::settings();
    settings.lifetime_s = LIFETIME.as_secs() as u32;
    let timers = &mut settings.timers;
    timers.entry("proxy-nd-lifetime-ms").or_insert(WAIT_MS);
    let lab = Lab::build().unwrap();
    let before = testing::Traces::of(&lab.nar).unwrap();
    let controllers = Controllers::start(&lab, &settings).unwrap();
    let watch = Watch::start(&lab).unwrap();
    let streams = testing::a_move(0, 500).start_streams(&lab).unwrap();
    let par_events = controllers.par.subscribe().unwrap();
    let prepared = Prepared::start(&controllers)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    lab.detach().unwrap();

    // It was all there.
    assert_eq!(testing::proxies(&lab.nar).unwrap().len(), 1);
    wait_until("packets to be held", SOON, || {
        let status = controllers.nar.status()?;
        Ok(status["held"].as_u64().filter(|held| *held > 0))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    wait_until("packets in the tunnel", SOON, || {
        Ok((watch.tunnelled() > 0).then_some(()))
    })
    .unwrap();

    // The new router forgets the node.
    prepared.nar.wait_for("buffer-expired", SOON).unwrap();
    wait_until("the proxy entry to go", SOON, || {
        Ok(testing::proxies(&lab.nar)?.is_empty().then_some(()))
    })
    .unwrap();
    // The previous one redirects no longer than the node asked for.
    par_events
        .wait_for("tunnel-removed", LIFETIME + SOON)
        .unwrap();
    assert_eq!(watch.tunnelled_of_next(250, SOON).unwrap(), 0);

    // Every packet that was held has left in a counted way, and no buffer is bound.
    wait_until("all held packets to be accounted for", SOON, || {
        let status = controllers.nar.status()?;
        let gone = ["released", "drop-discarded", "drop-aged", "drop-unwritable"]
            .map(|reason| testing::packets(&status, reason))
            .iter()
            .sum::<u64>();
        let waiting = status["buffers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|buffer| buffer["waiting"].as_u64())
            .sum::<u64>();
        let held = testing::packets(&status, "held");
        Ok((held > 0 && gone == held && waiting == 0).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    for controller in [&controllers.par, &controllers.nar] {
        wait_until("the handover to be forgotten", LIFETIME + SOON, || {
            let status = controller.status()?;
            let handovers = status["handovers"].as_array().map(Vec::len);
            Ok((handovers == Some(0)).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    }
    drop(streams);
    drop(controllers);
    assert_eq!(testing::Traces::of(&lab.nar).unwrap(), before);
}
