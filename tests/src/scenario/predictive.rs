//! Handovers that are prepared on the previous router's link, by the mobile node or by the network.

use std::net::Ipv6Addr;

use anyhow::{Context, Result};

use super::stage::{Harm, Stage, check};
use crate::{
    controller::Events,
    report::Run,
    topology::{AccessPoint, Router},
};

/// RFC 5568 figure 2.
pub(super) fn by_mobile_node(stage: &mut Stage) -> Result<Run> {
    stage.prepare(AccessPoint::New)?;
    move_as_prepared(stage)?;
    let run = lossless(stage)?;
    stage.story.check_order(&[
        "mn: RtSolPr",
        "par: PrRtAdv 0",
        "mn: FBU",
        "par: HI 0",
        "nar: HAck 0",
        "par: FBack 0",
        &una(Router::New.care_of_address()),
    ])?;
    Ok(run)
}

/// RFC 5568 section 3.3.
pub(super) fn by_network(stage: &mut Stage) -> Result<Run> {
    ordered(stage, None)
}

/// With a New CoA option behind the prefix (RFC 5568 section 6.1.2).
pub(super) fn by_network_with_ncoa(stage: &mut Stage) -> Result<Run> {
    let ncoa = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0xcafe, 1);
    ordered(stage, Some(ncoa))
}

fn ordered(stage: &mut Stage, ncoa: Option<Ipv6Addr>) -> Result<Run> {
    stage.order_handover(AccessPoint::New, ncoa)?;
    stage
        .mn_says("link-switch")
        .context("the mobile node did not follow")?;
    move_as_prepared(stage)?;
    let run = lossless(stage)?;
    stage.story.check_order(&[
        "par: PrRtAdv 1",
        "mn: FBU",
        "par: HI 0",
        "nar: HAck 0",
        "par: FBack 0",
        &una(ncoa.unwrap_or(Router::New.care_of_address())),
    ])?;
    stage.story.check_not_before("mn", "RtSolPr", "FBU")?;
    Ok(run)
}

/// Leaves for the new router, and waits until what was held on both sides has gone out.
pub(super) fn move_as_prepared(stage: &Stage) -> Result<()> {
    // That of a handover before this one is no word about this one.
    let drained = |events: &Events| events.count("buffer-drained");
    let (nar, mn) = (drained(&stage.nar), drained(&stage.mn));
    stage.leave()?;
    stage.arrive(AccessPoint::New)?;
    stage.nar.wait_for_another("buffer-drained", nar)?;
    stage.mn.wait_for_another("buffer-drained", mn)?;
    stage.flows()
}

pub(super) fn lossless(stage: &mut Stage) -> Result<Run> {
    let run = stage.close()?;
    check("downlink", &run.downlink, Harm::None)?;
    check("uplink", &run.uplink, Harm::None)?;
    Ok(run)
}

/// The mobile node's UNA for an address, as the wires show it.
pub(super) fn una(ncoa: Ipv6Addr) -> String {
    format!("mn: UNA {ncoa}")
}
