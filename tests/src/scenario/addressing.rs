//! Handovers in which the new router has a say about the mobile node's address.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    predictive::{lossless, move_as_prepared, una},
    stage::Stage,
};
use crate::{
    controller::Settings,
    report::Run,
    testing::packets,
    topology::{ACCESS_INTERFACE, AccessPoint, PCOA, Router},
    wait::{SOON, wait_until},
};

/// The addresses that the new router assigns, without the length and what follows it.
pub(crate) const POOL: &str = "2001:db8:2:0:a551:";

/// How long the new router asks whether somebody has an address. Who has it answers at once; nobody else makes
/// the router wait, so that it hears the answer however late it comes to read it. A repeated HI changes nothing
/// meanwhile.
const PROBE: Duration = Duration::from_secs(5);

pub(super) fn with_pool(settings: &mut Settings) {
    let new = settings.router(Router::New);
    new.set_access("addressing", "assigned");
    new.set_access("pool", format!("{POOL}:/80"));
    let previous = settings.router(Router::Previous);
    previous.set_neighbor(Router::New, "addressing", "assigned");
}

pub(super) fn with_probe(settings: &mut Settings) {
    settings
        .router(Router::New)
        .set_access("duplicate-probe-ms", PROBE.as_millis() as i64);
}

pub(super) fn with_kept_pcoa(settings: &mut Settings) {
    settings
        .router(Router::New)
        .set_access("addressing", "keep-pcoa");
}

pub(super) fn with_dhcp(settings: &mut Settings) {
    // Packets for the previous address only: that is what it keeps until it has another.
    with_kept_pcoa(settings);
    let previous = settings.router(Router::Previous);
    previous.set_neighbor(Router::New, "addressing", "dhcp");
}

/// RFC 5568 section 4, assigned addressing: HAck 2, FBack 1 with the address, and a UNA for it.
pub(super) fn assigned(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    move_as_prepared(stage)?;
    let run = lossless(stage)?;
    let unas = format!("mn: UNA {POOL}");
    let lines = stage.story.lines();
    let first = lines.iter().find(|line| line.starts_with("mn: UNA"));
    let first = first.context("the mobile node did not announce itself")?;
    ensure!(first.starts_with(&unas), "{first} is not of the pool");
    stage
        .story
        .check_order(&["mn: FBU", "par: HI 0", "nar: HAck 2", "par: FBack 1", first])?;
    Ok(run)
}

/// HAck 1: the mobile node hears so while it is still there, and nothing is lost.
pub(super) fn refused(stage: &mut Stage) -> Result<Run> {
    let ncoa = Router::New.care_of_address();
    let _other = stage.lab.add_node(AccessPoint::New, ncoa)?;
    stage.controllers.mn.trigger("impend", AccessPoint::New)?;
    let reason = stage.mn_gives_up()?;
    ensure!(
        reason == "refused",
        "it gave up for another reason: {reason}"
    );
    let run = lossless(stage)?;
    stage.story.check_order(&[
        "mn: FBU",
        "par: HI 0",
        &format!("nar: DAD NS {ncoa}"),
        "nar: HAck 1",
        "par: FBack 128",
    ])?;
    stage.story.check_never("mn", "UNA")?;
    ensure!(
        stage.par.first("tunnel-installed").is_none(),
        "a tunnel was made"
    );
    Ok(run)
}

/// HAck 3: a host route and a tunnel both ways, and no word about the address before the node is there.
pub(super) fn kept(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    stage.leave()?;
    stage.arrive(AccessPoint::New)?;
    stage.nar.wait_for("buffer-drained", SOON)?;
    stage.mn_says("buffer-drained")?;
    stage.flows()?;
    has_host_route(stage)?;
    for (router, reason, what) in [
        (Router::Previous, "tunnel-sent", "into the tunnel to the"),
        (Router::New, "delivered", "out of the tunnel at the"),
        (Router::New, "tunnel-sent", "into the tunnel at the"),
        (
            Router::Previous,
            "reverse-sent",
            "out of the tunnel from the",
        ),
    ] {
        let status = stage.controllers.router(router).status()?;
        ensure!(
            packets(&status, reason) > 0,
            "no packet went {what} new router: {status}"
        );
    }
    let run = lossless(stage)?;
    stage.story.check_order(&[
        "mn: FBU",
        "par: HI 0",
        "nar: HAck 3",
        "par: FBack 1",
        &una(PCOA),
    ])?;
    let announced = stage.story.wait_for("mn", &format!("UNA {PCOA}"))?;
    for seen in stage.story.all() {
        ensure!(
            seen.at > announced.at || seen.by != "nar" || seen.what != format!("NS {PCOA}"),
            "the new router asked for the mobile node before it was there"
        );
    }
    Ok(run)
}

/// Waits until the new router has a host route for the previous address, which it makes behind the release
/// of what it held.
pub(super) fn has_host_route(stage: &Stage) -> Result<()> {
    wait_until(
        "the new router's route to the previous address",
        SOON,
        || {
            let routes = stage.lab.nar.ip(&format!("-6 route show {PCOA}"))?;
            Ok(routes.contains(ACCESS_INTERFACE).then_some(()))
        },
    )
}

/// PrRtAdv 5: the NCoA is for the FBU alone; packets go on by way of the PCoA, and DHCP is asked for.
pub(super) fn dhcp(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    move_as_prepared(stage)?;
    let run = lossless(stage)?;
    stage.story.check_order(&[
        "par: PrRtAdv 5",
        "mn: FBU",
        "par: HI 0",
        "nar: HAck 3",
        "par: FBack 1",
        &una(PCOA),
    ])?;
    ensure!(
        stage.mn.first("dhcp-needed").is_some(),
        "nobody is told that an address is to be had by DHCP"
    );
    Ok(run)
}
