//! Prepared before the station leaves its access point: nothing is lost.

use anyhow::{Result, ensure};
use fmip_tests::{
    radios::{FAR_DBM, NEAR_DBM},
    stream::Direction,
    topology::AccessPoint,
    wait::SOON,
};

use crate::{Scene, scene, station};

/// The mobile node is told where it is about to go, by somebody who knows.
#[test]
fn a_roam_that_was_announced_loses_nothing() {
    let Some(mut scene) = scene(station("choose-target = false")) else {
        return;
    };
    let announced = |scene: &Scene| {
        scene.radios.hear(AccessPoint::New)?;
        scene.controllers.mn.trigger("impend", AccessPoint::New)
    };
    if let Err(error) = play(&mut scene, "predictive, told to move", announced) {
        scene.fail(&error);
    }
}

/// It notices itself that its access point fades, looks for another, and prepares the move.
#[test]
fn a_fading_signal_brings_about_a_roam_that_loses_nothing() {
    let Some(mut scene) = scene(station(
        "signal-interval-ms = 200\n\
         scan-min-interval-ms = 1000\n\
         frequencies = [2412, 2437]\n",
    )) else {
        return;
    };
    let fade = |scene: &Scene| {
        scene.radios.set_signal(AccessPoint::New, NEAR_DBM)?;
        scene.radios.set_signal(AccessPoint::Previous, FAR_DBM)
    };
    if let Err(error) = play(&mut scene, "predictive, by a fading signal", fade) {
        scene.fail(&error);
    }
}

fn play(scene: &mut Scene, title: &str, begin: impl Fn(&Scene) -> Result<()>) -> Result<()> {
    begin(scene)?;
    scene.mn.wait_for("fback-received", SOON)?;
    scene.mn.wait_for("una-sent", SOON)?;
    scene.radios.wait_associated(AccessPoint::New)?;
    scene.nar.wait_for("buffer-drained", SOON)?;
    scene.mn.wait_for("buffer-drained", SOON)?;
    let traffic = scene.close(title)?;
    // All was said on the old link.
    scene.check_order(&["fbu-sent", "fback-received", "link-switch", "una-sent"])?;
    unharmed("downlink", &traffic.downlink)?;
    unharmed("uplink", &traffic.uplink)
}

fn unharmed(name: &str, direction: &Direction) -> Result<()> {
    ensure!(direction.received > 0, "{name}: nothing arrived");
    ensure!(
        direction.lost == 0 && direction.reordered == 0 && direction.duplicated == 0,
        "{name}: {direction:?}"
    );
    Ok(())
}
