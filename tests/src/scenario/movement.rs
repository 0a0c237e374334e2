//! Movements that were not predicted, or not so: staying, coming back, going elsewhere, going on.

use anyhow::{Context, Result, ensure};

use super::{
    predictive::{lossless, move_as_prepared},
    stage::{Harm, Stage, check},
};
use crate::{
    capture::Watch,
    report::Run,
    topology::{AccessPoint, Router},
    wait::SOON,
};

/// Option-Code 5: the router stays, and so does the address; nothing more is said (RFC 4260 section 3).
pub(super) fn same_link(stage: &mut Stage) -> Result<Run> {
    stage
        .controllers
        .mn
        .trigger("impend", AccessPoint::Beside)?;
    stage.mn_says("link-switch")?;
    stage.leave()?;
    stage.arrive(AccessPoint::Beside)?;
    let run = stage.close()?;
    check("downlink", &run.downlink, Harm::LostInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    stage
        .story
        .check_order(&["mn: RtSolPr", "par: PrRtAdv 2"])?;
    for (who, what) in [("mn", "FBU"), ("mn", "UNA"), ("mn", "RS"), ("par", "HI")] {
        stage.story.check_never(who, what)?;
    }
    Ok(run)
}

/// RFC 5568 section 5.6: it asks for the end of what it asked for.
pub(super) fn stays(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    stage
        .controllers
        .mn
        .trigger("link-up", AccessPoint::Previous)?;
    stage.story.wait_for("mn", "FBU to end")?;
    stage.par.wait_for("tunnel-removed", SOON)?;
    let run = stage.close()?;
    check("downlink", &run.downlink, Harm::MayLoseInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    stage
        .story
        .check_order(&["mn: FBU", "par: FBack 0", "mn: FBU to end", "par: FBack 0"])?;
    stage.story.check_never("mn", "UNA")?;
    Ok(run)
}

/// The FBU from the third router's link supersedes the one that was sent before (RFC 5568 section 5.6).
pub(super) fn elsewhere(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    stage.leave()?;
    stage.arrive(AccessPoint::Third)?;
    stage
        .story
        .wait_for("third", "FBack 0")
        .context("the third router's link got no FBack")?;
    let run = stage.close()?;
    check("downlink", &run.downlink, Harm::LostInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    stage.story.check_order(&[
        "par: HI 0",
        "nar: HAck 0",
        "par: FBack 0",
        "mn: FBU",
        "par: HI 1",
        "third: HAck 0",
        "third: FBack 0",
    ])?;
    Ok(run)
}

/// A new FBU for another router supersedes the one before.
pub(super) fn superseded(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    stage.prepare(AccessPoint::Third)?;
    stage.leave()?;
    stage.arrive(AccessPoint::Third)?;
    stage.flows()?;
    let run = stage.close()?;
    // What went to the first router in between is held there for nobody.
    check("downlink", &run.downlink, Harm::MayLoseInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    stage.story.check_order(&[
        "par: HI 0",
        "nar: HAck 0",
        "par: FBack 0",
        "mn: FBU",
        "par: HI 0",
        "third: HAck 0",
        "par: FBack 0",
        &format!("mn: UNA {}", Router::Third.care_of_address()),
    ])?;
    Ok(run)
}

/// RFC 5568 section 5.6: back on the previous link, an FBU with lifetime 0 ends the tunnel.
pub(super) fn ping_pong(stage: &mut Stage) -> Result<Run> {
    let watch = Watch::start(&stage.lab)?;
    stage.prepare(AccessPoint::New)?;
    move_as_prepared(stage)?;
    ensure!(watch.tunnelled() > 0, "nothing went through a tunnel");
    stage.leave()?;
    stage.arrive(AccessPoint::Previous)?;
    stage.story.wait_for("mn", "FBU to end")?;
    stage.par.wait_for("tunnel-removed", SOON)?;
    let tunnelled = watch.tunnelled_during(100, SOON)?;
    ensure!(
        tunnelled == 0,
        "{tunnelled} packets still went through the tunnel"
    );
    let run = stage.close()?;
    check("downlink", &run.downlink, Harm::LostInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    stage
        .story
        .check_order(&["par: FBack 0", "mn: FBU to end", "par: FBack 0"])?;
    Ok(run)
}

/// The second router hands over the address that the first tunnel ends at.
pub(super) fn chain(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    move_as_prepared(stage)?;
    let drained = stage.mn.count("buffer-drained");
    stage.prepare(AccessPoint::Third)?;
    stage.leave()?;
    stage.arrive(AccessPoint::Third)?;
    stage.mn.wait_for_another("buffer-drained", drained)?;
    stage.flows()?;
    let run = lossless(stage)?;
    stage.story.check_order(&[
        "par: HI 0",
        "nar: HAck 0",
        &format!("mn: UNA {}", Router::New.care_of_address()),
        "mn: FBU",
        "nar: HI 0",
        "third: HAck 0",
        "nar: FBack 0",
        &format!("mn: UNA {}", Router::Third.care_of_address()),
    ])?;
    Ok(run)
}
