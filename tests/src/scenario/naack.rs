//! Arrivals with an address that the mobile node cannot have: the new router's answer to its UNA.

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context, Result, ensure};

pub(crate) use super::addressing::POOL;
use super::{
    addressing::has_host_route,
    predictive::una,
    reactive::{finish, finish_late_tunnel},
    stage::{Harm, Stage, check},
};
use crate::{
    capture::Watch,
    controller::Settings,
    netns::NetNs,
    report::Run,
    topology::{AccessPoint, Router},
    wait::{SOON, wait_until},
};

/// The time between two UNAs where the answer is late: what answers the first of them comes long before the last.
const UNA_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn with_configure(settings: &mut Settings) {
    settings
        .router(Router::New)
        .set_access("on-invalid-ncoa", "configure");
}

pub(crate) fn with_assign(settings: &mut Settings) {
    let new = settings.router(Router::New);
    new.set_access("addressing", "assigned");
    new.set_access("pool", format!("{POOL}:/80"));
    new.set_access("on-invalid-ncoa", "assign");
}

pub(super) fn with_router_address(settings: &mut Settings) {
    settings
        .router(Router::New)
        .set_access("on-invalid-ncoa", "use-router-address");
}

/// As [`with_router_address`]; the mobile node, which believes an answer for a moment behind its last UNA only,
/// still does when it has found out by itself and the router has been thawed.
pub(super) fn with_late_router_address(settings: &mut Settings) {
    with_router_address(settings);
    let interval = UNA_INTERVAL.as_millis() as u64;
    settings.timers.insert("una-interval-ms", interval);
}

pub(super) fn with_known_nodes(settings: &mut Settings) {
    settings
        .router(Router::New)
        .set_access("known-link-addresses", vec!["02:00:00:00:00:77"]);
}

/// Another node has the address that the mobile node will make, and the new router knows it.
pub(crate) fn add_holder_of_ncoa(stage: &Stage) -> Result<NetNs> {
    let ncoa = Router::New.care_of_address();
    let other = stage.lab.add_node(AccessPoint::New, ncoa)?;
    stage.lab.nar.run(|| {
        let socket = UdpSocket::bind("[::]:0")?;
        socket.send_to(b"anybody there?", (ncoa, 9))?;
        Ok(())
    })?;
    wait_until("the router to know the other node", SOON, || {
        let neighbors = stage.lab.nar.ip_json(&format!("-6 neigh show {ncoa}"))?;
        Ok(neighbors[0]["lladdr"].as_str().map(drop))
    })?;
    Ok(other)
}

/// The mobile node comes with the other's address, and hears what to do.
fn arrive_with_taken_address(stage: &Stage, status: u8) -> Result<()> {
    stage.hear(AccessPoint::New, "PrRtAdv 0")?;
    stage.leave()?;
    stage.arrive(AccessPoint::New)?;
    answered(stage, status)
}

fn answered(stage: &Stage, status: u8) -> Result<()> {
    stage
        .story
        .wait_for("nar", &format!("RA with NAACK {status}"))
        .map(drop)
        .context("the new router did not answer the UNA")
}

/// The node that had the address keeps it: the router still knows it by its own link-layer address.
pub(crate) fn check_holder_untouched(stage: &Stage) -> Result<()> {
    let ncoa = Router::New.care_of_address();
    let neighbors = stage.lab.nar.ip_json(&format!("-6 neigh show {ncoa}"))?;
    ensure!(
        neighbors[0]["lladdr"] == "02:00:00:00:00:99",
        "the mobile node has taken the other's address: {neighbors}"
    );
    Ok(())
}

/// NAACK 1.
pub(super) fn configure(stage: &mut Stage) -> Result<Run> {
    let _other = add_holder_of_ncoa(stage)?;
    arrive_with_taken_address(stage, 1)?;
    let run = finish(stage, Harm::LostInGap)?;
    stage.story.check_order(&[
        &una(Router::New.care_of_address()),
        "nar: RA with NAACK 1",
        "mn: FBU",
        "par: HI 1",
        "nar: HAck 0",
        "nar: FBack 0",
    ])?;
    check_holder_untouched(stage)?;
    Ok(run)
}

/// NAACK 2.
pub(super) fn supplied(stage: &mut Stage) -> Result<Run> {
    let _other = add_holder_of_ncoa(stage)?;
    arrive_with_taken_address(stage, 2)?;
    let run = finish(stage, Harm::LostInGap)?;
    stage.story.check_order(&[
        &una(Router::New.care_of_address()),
        "nar: RA with NAACK 2",
        "mn: FBU",
        "par: HI 1",
        "nar: HAck 0",
        "nar: FBack 0",
    ])?;
    let fback = stage.story.wait_for("nar", "FBack 0")?;
    ensure!(
        fback.destination.to_string().starts_with(POOL),
        "the FBack went to {} and not to the address that was supplied",
        fback.destination
    );
    check_holder_untouched(stage)?;
    Ok(run)
}

/// NAACK 3.
pub(super) fn router_address(stage: &mut Stage) -> Result<Run> {
    let _other = add_holder_of_ncoa(stage)?;
    arrive_with_taken_address(stage, 3)?;
    goes_by_the_routers(stage)
}

/// NAACK 3, after the mobile node's kernel has found by itself that the address is another's.
pub(super) fn router_address_late(stage: &mut Stage) -> Result<Run> {
    let _other = add_holder_of_ncoa(stage)?;
    stage.hear(AccessPoint::New, "PrRtAdv 0")?;
    stage.leave()?;
    stage.while_frozen(Router::New, |stage| {
        stage.arrive(AccessPoint::New)?;
        let found = stage.mn_says("command-failed")?;
        ensure!(found.fields["command"] == "configure-address", "{found:?}");
        stage.story.check_never("nar", "RA with NAACK 3")
    })?;
    answered(stage, 3)?;
    goes_by_the_routers(stage)
}

fn goes_by_the_routers(stage: &mut Stage) -> Result<Run> {
    let run = finish(stage, Harm::LostInGap)?;
    stage.story.check_order(&[
        &una(Router::New.care_of_address()),
        "nar: RA with NAACK 3",
        "mn: FBU",
        "par: HI 1",
        "nar: HAck 3",
        "par: FBack 1 in a tunnel",
        "nar: FBack 1",
    ])?;
    check_holder_untouched(stage)?;
    Ok(run)
}

/// NAACK 4: the new router has promised to take the previous address (HAck 3), and the mobile node did
/// not hear of it.
pub(super) fn pcoa(stage: &mut Stage) -> Result<Run> {
    let watch = Watch::start(&stage.lab)?;
    stage.while_frozen(Router::New, |stage| {
        stage.controllers.mn.trigger("impend", AccessPoint::New)?;
        stage.story.wait_for("par", "HI 0")?;
        stage.leave()
    })?;
    stage.story.wait_for("par", "FBack 1")?;
    stage.arrive(AccessPoint::New)?;
    answered(stage, 4)?;
    let run = finish_late_tunnel(stage, &watch)?;
    stage.story.check_order(&[
        "par: HI 0",
        "nar: HAck 3",
        &una(Router::New.care_of_address()),
        "nar: RA with NAACK 4",
    ])?;
    has_host_route(stage)?;
    Ok(run)
}

/// NAACK 128: neither address is of use; the application goes on from a new one.
pub(super) fn unrecognized(stage: &mut Stage) -> Result<Run> {
    arrive_with_taken_address(stage, 128)?;
    stage.mn_gives_up()?;
    stage.lab.solicit_routers()?;
    stage.streams().follow_new_address(&stage.lab, SOON)?;
    let run = stage.close()?;
    check("downlink", &run.downlink, Harm::LostInGap)?;
    check("uplink", &run.uplink, Harm::LostInGap)?;
    stage.story.check_order(&[
        &una(Router::New.care_of_address()),
        "nar: RA with NAACK 128",
    ])?;
    ensure!(
        stage.par.first("tunnel-installed").is_none(),
        "packets are sent to a node that is not taken"
    );
    Ok(run)
}
