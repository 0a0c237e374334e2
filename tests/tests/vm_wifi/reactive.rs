//! The station moves without a word: what the old access point still sent to it is lost, no more.

use anyhow::{Result, ensure};
use fmip_tests::{topology::AccessPoint, wait::SOON};

use crate::{Scene, scene, station};

#[test]
fn a_roam_that_nobody_announced_is_made_good_from_the_new_link() {
    let Some(mut scene) = scene(station("choose-target = false")) else {
        return;
    };
    if let Err(error) = play(&mut scene) {
        scene.fail(&error);
    }
}

fn play(scene: &mut Scene) -> Result<()> {
    scene.radios.roam(AccessPoint::New)?;
    scene.radios.wait_associated(AccessPoint::New)?;
    scene.mn.wait_for("una-sent", SOON)?;
    scene.mn.wait_for("fback-received", SOON)?;
    let traffic = scene.close("reactive")?;
    // Nothing was said before.
    scene.check_order(&["una-sent", "fbu-sent", "fback-received"])?;
    ensure!(
        scene.mn.first("link-switch").is_none(),
        "the roam was the mobile node's own"
    );
    for (name, direction) in [("downlink", &traffic.downlink), ("uplink", &traffic.uplink)] {
        ensure!(
            direction.received > 0 && direction.reordered == 0,
            "{name}: {direction:?}"
        );
        // What is lost is lost in one gap: the rest arrives.
        let gap = (direction.longest_gap_ms * f64::from(crate::RATE) / 1e3).ceil() as u64 + 2;
        ensure!(direction.lost <= gap, "{name}: {direction:?}");
    }
    Ok(())
}
