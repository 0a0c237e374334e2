//! Movements that were not predicted, or not so: staying, coming back, going elsewhere, going on.

use anyhow::{Context, Result, ensure};

use super::{
    predictive::{lossless, move_as_prepared, una},
    reactive::with_hold,
    stage::{Harm, Stage, check},
};
use crate::{
    capture::Watch,
    controller::Settings,
    report::Run,
    topology::{AccessPoint, PCOA, Router},
    wait::{SOON, wait_until},
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
    // What was in the tunnel meanwhile has nobody to go to.
    let discarded = stage.discarded(Router::New)?;
    check("downlink", &run.downlink, Harm::LostAtMost(discarded))?;
    check("uplink", &run.uplink, Harm::None)?;
    stage
        .story
        .check_order(&["mn: FBU", "par: FBack 0", "mn: FBU to end", "par: FBack 0"])?;
    stage.story.check_never("mn", "UNA")?;
    Ok(run)
}

/// What was tunnelled before it stayed is older than all that it got since, and must not come behind that.
pub(super) fn broken_off(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    stage
        .controllers
        .mn
        .trigger("link-up", AccessPoint::Previous)?;
    stage.story.wait_for("mn", "FBU to end")?;
    stage.par.wait_for("tunnel-removed", SOON)?;
    // Neither is an answer to the second attempt.
    let reason = stage.mn_gives_up()?;
    ensure!(
        reason == "elsewhere",
        "it gave up for another reason: {reason}"
    );
    stage.mn.wait_for_another("buffer-drained", 0)?;
    stage.prepare(AccessPoint::New)?;
    move_as_prepared(stage)?;
    let run = stage.close()?;
    // What was in the tunnel the first time has nobody to go to; of the second time nothing is lost.
    let discarded = stage.discarded(Router::New)?;
    check("downlink", &run.downlink, Harm::LostAtMost(discarded))?;
    check("uplink", &run.uplink, Harm::None)?;
    ensure!(
        stage.released(Router::New)? > 0,
        "the new router held nothing the second time"
    );
    stage.story.check_order(&[
        "mn: FBU",
        "par: HI 0",
        "nar: HAck 0",
        "par: FBack 0",
        "mn: FBU to end",
        "mn: FBU",
        "par: HI 0",
        "nar: HAck 0",
        "par: FBack 0",
        &una(Router::New.care_of_address()),
    ])?;
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
    // What went to the first router in between is held there for nobody; the other one's comes.
    let discarded = stage.discarded(Router::New)?;
    check("downlink", &run.downlink, Harm::LostAtMost(discarded))?;
    check("uplink", &run.uplink, Harm::None)?;
    ensure!(
        stage.released(Router::Third)? > 0,
        "the third router held nothing"
    );
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
    // What has crossed the core may not have been read yet.
    wait_until("packets in a tunnel", SOON, || {
        Ok((watch.tunnelled() > 0).then_some(()))
    })?;
    stage.leave()?;
    stage.arrive(AccessPoint::Previous)?;
    stage.story.wait_for("mn", "FBU to end")?;
    stage.par.wait_for("tunnel-removed", SOON)?;
    let tunnelled = watch.tunnelled_of_next(100, SOON)?;
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

/// What is held leaves hardly faster than new packets come, so that it takes long.
pub(super) fn with_slow_hold(settings: &mut Settings) {
    with_hold(settings);
    settings.buffer.catch_up = Some(1.1);
}

/// Part of what the previous router held has gone into the tunnel; the rest waits there for the mobile node,
/// which is announced back, and what comes meanwhile waits behind it.
pub(super) fn held_return(stage: &mut Stage) -> Result<Run> {
    stage.attached(Router::Previous)?;
    stage.hear(AccessPoint::New, "PrRtAdv 0")?;
    stage.link_down()?;
    stage.departed(Router::Previous)?;
    stage.lab.leave()?;
    stage.arrive(AccessPoint::New)?;
    stage
        .mn_says("fback-received")
        .context("the previous router does not answer")?;
    stage.par.wait_for("first-released", SOON)?;
    stage.prepare(AccessPoint::Previous)?;
    ensure!(
        stage.par.count("buffer-drained") == 0,
        "what was held had all left before the mobile node came back"
    );
    stage.leave()?;
    stage.arrive(AccessPoint::Previous)?;
    stage.par.wait_for("buffer-drained", SOON)?;
    let run = lossless(stage)?;
    stage.story.check_order(&[
        "par: HI 1",
        "nar: HAck 0",
        "par: FBack 0",
        "mn: FBU",
        "nar: HI 0",
        "par: HAck 0",
        "nar: FBack 0",
        &una(PCOA),
    ])?;
    Ok(run)
}

/// The previous router has sent the mobile node, which is back, part of what it held for it when the link layer
/// reports that it is gone again; the rest goes after it to a third router.
pub(super) fn held_again(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    move_as_prepared(stage)?;
    stage.prepare(AccessPoint::Previous)?;
    stage.leave()?;
    stage.arrive(AccessPoint::Previous)?;
    stage.attached(Router::Previous)?;
    stage.par.wait_for("first-released", SOON)?;
    stage.hear(AccessPoint::Third, "PrRtAdv 0")?;
    stage.link_down()?;
    stage.departed(Router::Previous)?;
    ensure!(
        stage.par.count("buffer-drained") == 0,
        "what was held had all left before the mobile node left again"
    );
    stage.lab.leave()?;
    stage.arrive(AccessPoint::Third)?;
    stage.par.wait_for("buffer-drained", SOON)?;
    let run = lossless(stage)?;
    stage.story.check_order(&[
        "par: HI 0",
        "nar: HAck 0",
        "par: FBack 0",
        "mn: FBU",
        "nar: HI 0",
        "par: HAck 0",
        "nar: FBack 0",
        &una(PCOA),
        "mn: FBU",
        "par: HI 1",
        "third: HAck 0",
        "par: FBack 0",
    ])?;
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
