//! Handovers that begin on the new router's link: the previous one heard nothing, or its answer was not
//! heard.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    predictive::una,
    stage::{Harm, Stage, check},
};
use crate::{
    capture::Watch,
    controller::Settings,
    report::Run,
    topology::{AccessPoint, Router},
    wait::{SOON, wait_until},
};

/// How far back the previous router has copies: longer than everything takes.
const COPIES: Duration = Duration::from_secs(2);

pub(crate) fn with_hold(settings: &mut Settings) {
    settings
        .router(Router::Previous)
        .set_access("departure", "hold");
}

pub(super) fn with_copy(settings: &mut Settings) {
    let router = settings.router(Router::Previous);
    router.set_access("departure", "copy");
    router.set_access("copy-window-ms", COPIES.as_millis() as i64);
}

pub(super) fn with_fna(settings: &mut Settings) {
    settings
        .mobile_node
        .insert("announcement".to_owned(), "fna".into());
}

/// RFC 4260 section 7.2: the UNA comes first, the FBU behind it.
pub(super) fn known_router(stage: &mut Stage) -> Result<Run> {
    leave_heard_of(stage)?;
    let run = finish(stage, Harm::LostInGap)?;
    check_story_of_known(stage)?;
    Ok(run)
}

fn leave_heard_of(stage: &Stage) -> Result<()> {
    stage.hear(AccessPoint::New, "PrRtAdv 0")?;
    stage.leave()?;
    stage.arrive(AccessPoint::New)
}

fn check_story_of_known(stage: &Stage) -> Result<()> {
    stage.story.check_order(&[
        "par: PrRtAdv 0",
        &una(Router::New.care_of_address()),
        "mn: FBU",
        "par: HI 1",
        "nar: HAck 0",
        "par: FBack 0",
        "nar: FBack 0",
    ])
}

/// RFC 4260 section 7.3: the mobile node asks the new link for its router, and forms its address then.
pub(super) fn unknown_router(stage: &mut Stage) -> Result<Run> {
    stage.leave()?;
    stage.arrive(AccessPoint::New)?;
    let run = finish(stage, Harm::LostInGap)?;
    stage.story.check_not_before("mn", "RtSolPr", "FBU")?;
    stage.story.check_order(&[
        "mn: RS",
        "nar: RA",
        "mn: FBU",
        "par: HI 1",
        "nar: HAck 0",
        "par: FBack 0",
        "nar: FBack 0",
    ])?;
    Ok(run)
}

/// RFC 5568 section 3.2: an FBack that was not received on the old link makes the handover a reactive
/// one, though the HI was one of a predictive handover.
pub(super) fn fback_missed(stage: &mut Stage) -> Result<Run> {
    let watch = Watch::start(&stage.lab)?;
    // Frozen, the new router answers only when the mobile node is gone.
    stage.while_frozen(Router::New, |stage| {
        stage.controllers.mn.trigger("impend", AccessPoint::New)?;
        stage.story.wait_for("par", "HI 0")?;
        stage.leave()
    })?;
    stage.story.wait_for("par", "FBack 0")?;
    stage.arrive(AccessPoint::New)?;
    stage
        .mn_says("fback-received")
        .context("the previous router does not answer")?;
    let run = finish_late_tunnel(stage, &watch)?;
    stage.story.check_order(&[
        "mn: FBU",
        "par: HI 0",
        "nar: HAck 0",
        "par: FBack 0",
        &una(Router::New.care_of_address()),
        "mn: FBU",
        "nar: FBack 0",
    ])?;
    Ok(run)
}

/// Waits for what was held, of a mobile node that left before the new router had answered. What came between
/// went out on the link that the node had left. From its HAck on the new router holds: of what went into the
/// tunnel, which begins behind the HAck, nothing is lost.
pub(super) fn finish_late_tunnel(stage: &mut Stage, watch: &Watch) -> Result<Run> {
    stage.mn_says("buffer-drained")?;
    let (run, passages) = stage.close_with_passages()?;
    // What has crossed the core may not have been read yet.
    let first = wait_until("packets in a tunnel", SOON, || Ok(watch.first_tunnelled()))?;
    let first = usize::try_from(first)?;
    let before = passages.iter().take(first);
    let lost = before.filter(|passage| passage.arrived.is_none()).count() as u64;
    check("downlink", &run.downlink, Harm::MayLoseInGap)?;
    let released = stage.released(Router::New)?;
    check("downlink", &run.downlink, Harm::LostAtMost(lost))
        .with_context(|| format!("of what went into the tunnel, from number {first} on"))?;
    check("uplink", &run.uplink, Harm::None)?;
    ensure!(released > 0, "the new router held nothing");
    Ok(run)
}

/// The previous router's link layer reports the departure a moment before the radio is gone.
pub(super) fn held(stage: &mut Stage) -> Result<Run> {
    stage.attached(Router::Previous)?;
    stage.hear(AccessPoint::New, "PrRtAdv 0")?;
    stage.link_down()?;
    stage.departed(Router::Previous)?;
    stage.lab.leave()?;
    stage.arrive(AccessPoint::New)?;
    let run = finish(stage, Harm::None)?;
    check_story_of_known(stage)?;
    Ok(run)
}

/// Nobody reports the departure; what the mobile node had already of the copies, it gets twice.
pub(super) fn copied(stage: &mut Stage) -> Result<Run> {
    stage.attached(Router::Previous)?;
    stage.flows()?;
    leave_heard_of(stage)?;
    let run = finish(stage, Harm::Duplicated(COPIES))?;
    check_story_of_known(stage)?;
    ensure!(
        run.downlink.duplicated > 0,
        "nothing came twice, though the window is longer than the gap"
    );
    // The previous router counts what it sent from its copies: what came twice is among that.
    let status = stage.controllers.par.status()?;
    let sent = status["released"].as_u64().unwrap_or(0);
    ensure!(
        sent >= run.downlink.duplicated,
        "{} packets came twice, but only {sent} went out of the copies",
        run.downlink.duplicated
    );
    Ok(run)
}

/// RFC 4068 section 6.3.3: the new router takes the FBU out of the FNA and sends it on.
pub(super) fn legacy(stage: &mut Stage) -> Result<Run> {
    leave_heard_of(stage)?;
    let run = finish(stage, Harm::LostInGap)?;
    stage.story.check_order(&[
        "par: PrRtAdv 0",
        "mn: FNA with FBU",
        "nar: FBU",
        "par: HI 1",
        "nar: HAck 0",
        "par: FBack 0",
        "nar: FBack 0",
    ])?;
    Ok(run)
}

/// Waits for the FBack on the new link and for what was held on the mobile node's side.
pub(super) fn finish(stage: &mut Stage, downlink: Harm) -> Result<Run> {
    stage
        .mn_says("fback-received")
        .context("the previous router does not answer")?;
    stage.mn_says("buffer-drained")?;
    let run = stage.close()?;
    check("downlink", &run.downlink, downlink)?;
    // Held from the moment at which the link went down.
    check("uplink", &run.uplink, Harm::None)?;
    Ok(run)
}
