//! A controller that dies in the middle of a handover, without a chance to clean up.

use std::time::Duration;

use fmip_tests::{
    AccessPoint, Lab, Router,
    capture::Watch,
    controller::{Controller, Controllers, Role},
    handover::Prepared,
    testing::{self, Traces},
    wait::{SOON, elapse},
    wait_until,
};
use rustix::process::Signal;

/// Longer than it takes until the tunnel is seen to carry packets, on any machine.
const LIFETIME: Duration = Duration::from_secs(10);

fn assert_redirection_ends(victim: impl Fn(&mut Controllers) -> &mut Controller) {
    let Some(_turn) = testing::turn() else { return };
    let mut settings = testing::settings();
    settings.lifetime_s = LIFETIME.as_secs() as u32;
    let lab = Lab::build().unwrap();
    let mut controllers = Controllers::start(&lab, &settings).unwrap();
    let watch = Watch::start(&lab).unwrap();
    let streams = testing::a_move(0, 500).start_streams(&lab).unwrap();
    Prepared::start(&controllers)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    lab.detach().unwrap();
    wait_until("the tunnel to carry packets", SOON, || {
        Ok((watch.tunnelled() > 0).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));

    let victim = victim(&mut controllers);
    victim.process.signal(Signal::KILL).unwrap();
    victim.process.wait(SOON).unwrap();
    // The binding is older than this.
    elapse(LIFETIME).unwrap();
    assert_eq!(
        watch.tunnelled_of_next(250, SOON).unwrap(),
        0,
        "traffic is redirected beyond the binding's lifetime"
    );

    // The node comes back, and all is as before the handover.
    lab.attach(AccessPoint::Previous).unwrap();
    controllers
        .mn
        .trigger("link-up", AccessPoint::Previous)
        .unwrap();
    streams
        .wait_for_packets(100, SOON)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
}

// Rows: TUN-06
#[test]
fn the_previous_router_dying_leaves_nothing_redirected() {
    assert_redirection_ends(|controllers| &mut controllers.par);
}

#[test]
fn the_new_router_dying_leaves_nothing_redirected() {
    assert_redirection_ends(|controllers| &mut controllers.nar);
}

#[test]
fn a_new_controller_removes_what_a_killed_one_left() {
    let Some(_turn) = testing::turn() else { return };
    let settings = testing::settings().patient();
    let lab = Lab::build().unwrap();
    let before = Traces::of(&lab.nar).unwrap();
    let mut controllers = Controllers::start(&lab, &settings).unwrap();
    Prepared::start(&controllers)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    controllers.nar.process.signal(Signal::KILL).unwrap();
    controllers.nar.process.wait(SOON).unwrap();
    assert_eq!(testing::proxies(&lab.nar).unwrap().len(), 1);

    controllers.nar = Controller::start(&lab, Role::Router(Router::New), &settings).unwrap();
    controllers.nar.wait_ready().unwrap();
    assert!(testing::proxies(&lab.nar).unwrap().is_empty());
    controllers.nar.process.signal(Signal::TERM).unwrap();
    assert!(controllers.nar.process.wait(SOON).unwrap().success());
    // All but the value of proxy_ndp from before the one that was killed, which nobody knows any more.
    let mut after = Traces::of(&lab.nar).unwrap();
    after.proxy_ndp.clone_from(&before.proxy_ndp);
    assert_eq!(after, before);
}
