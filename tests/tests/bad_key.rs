//! A Fast Binding Update that does not prove the knowledge of the handover key changes nothing.

use fmip_tests::{
    AccessPoint, Lab, capture::Watch, controller::Controllers, testing, wait::SOON, wait_until,
};

// Rows: FBU-13
#[test]
fn an_fbu_with_a_bad_key_redirects_nothing() {
    let Some(_turn) = testing::turn() else { return };
    let mut settings = testing::settings();
    settings.mobile_node_key = "00112233445566778899aabbccddeeff".to_owned();
    let lab = Lab::build().unwrap();
    let controllers = Controllers::start(&lab, &settings).unwrap();
    let watch = Watch::start(&lab).unwrap();
    let streams = testing::a_move(0, 500).start_streams(&lab).unwrap();
    let par_events = controllers.par.subscribe().unwrap();
    let nar_events = controllers.nar.subscribe().unwrap();
    controllers.mn.trigger("impend", AccessPoint::New).unwrap();

    wait_until("the bad key to be counted", SOON, || {
        let status = controllers.par.status()?;
        let counted = status["signalling"]["bad-authenticator"].as_u64();
        Ok(counted.filter(|count| *count > 0))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));

    // The traffic goes on as if nothing had been asked for.
    assert_eq!(watch.tunnelled_of_next(250, SOON).unwrap(), 0);
    assert_eq!(watch.tunnelled(), 0);
    let status = controllers.par.status().unwrap();
    assert_eq!(testing::packets(&status, "tunnel-sent"), 0, "{status}");
    for (events, name) in [
        (&par_events, "fbu-accepted"),
        (&par_events, "hi-sent"),
        (&par_events, "tunnel-installed"),
        (&nar_events, "hi-accepted"),
        (&nar_events, "buffer-started"),
    ] {
        assert_eq!(events.first(name), None);
    }
    assert!(testing::proxies(&lab.nar).unwrap().is_empty());
    let traffic = streams.stop().unwrap();
    for direction in [traffic.downlink, traffic.uplink] {
        assert!(direction.received > 0);
        assert_eq!(
            (direction.lost, direction.duplicated, direction.reordered),
            (0, 0, 0)
        );
    }
}
