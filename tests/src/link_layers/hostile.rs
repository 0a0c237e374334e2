//! Somebody near the mobile node forges what base stations say (RFC 5270 section 8).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fmip_ctl::link::ieee80216e::{
    air::Frame,
    message::{Pdu, cid},
};

use super::{
    order::{Is, never},
    rfc5270::{arrive_prepared, discover},
    stage::Scene,
};
use crate::{
    emulated::ieee80216e::Forgery,
    report::Run,
    scenario::stage::{Harm, check},
    topology::AccessPoint,
    wait::{SOON, wait_until},
};

/// How many forged messages there are.
const MESSAGES: u32 = 2000;
/// MAX_RTSOLPR_RATE of RFC 5568 section 9: in any one second.
const MAX_RTSOLPR_RATE: usize = 3;
/// How much later than another a message may come from its sender onto the wire, on a busy machine.
const DELAYED: Duration = Duration::from_millis(600);

/// A flood of MOB_NBR-ADV: whom no scan hears is nobody, and is not asked about. Then one of base
/// stations that a scan does hear: they are asked about no faster than RFC 5568 allows.
pub(super) fn neighbor_advertisements(scene: &mut Scene) -> Result<Run> {
    forge(
        scene,
        Forgery::NeighborAdvertisements,
        cid::BROADCAST,
        "MOB_NBR-ADV",
    )?;
    ensure!(
        detected(scene) == 0,
        "a base station that no scan can have heard was detected"
    );
    // One that is there is found among them all the same.
    discover(scene, AccessPoint::New)?;
    // Until there are detected as many as would break the limit: who is busy loses most of a flood.
    wait_until("forged base stations to be detected", SOON, || {
        forge(scene, Forgery::BaseStations, cid::BROADCAST, "DL-MAP")?;
        Ok((detected(scene) > MAX_RTSOLPR_RATE).then_some(()))
    })?;
    let seen = scene.stage.story.all().into_iter();
    let asked: Vec<_> = seen
        .filter(|seen| seen.by == "mn" && seen.what == "RtSolPr")
        .map(|seen| seen.at)
        .collect();
    // In any one second, as near as the clock of the wire tells it: what the mobile node decides comes onto
    // the wire a moment later, now and then.
    for several in asked.windows(MAX_RTSOLPR_RATE + 1) {
        let within = several[MAX_RTSOLPR_RATE] - several[0];
        ensure!(
            within >= Duration::from_secs(1) - DELAYED,
            "{} RtSolPrs in {within:?}",
            several.len()
        );
    }
    let run = scene.close()?;
    check("downlink", &run.downlink, Harm::None)?;
    check("uplink", &run.uplink, Harm::None)?;
    let ladder = scene.ladder()?;
    for what in ["LINK_HANDOVER_IMPEND", "FBU", "MOB_HO-IND"] {
        never(&ladder, Is::what(what))?;
    }
    Ok(run)
}

/// A flood of MOB_BSHO-REQ: nothing impends, and the mobile node stays. A genuine one behind them is
/// obeyed.
pub(super) fn handover_requests(scene: &mut Scene) -> Result<Run> {
    // The target is a good one; what is forged is the order to go there.
    discover(scene, AccessPoint::New)?;
    let cid = wait_until("the station to ask for a scan", SOON, || basic_cid(scene))?;
    // Those on its own connection are looked at, and refused for what they lack.
    wait_until("the forged orders to be refused", SOON, || {
        forge(scene, Forgery::HandoverRequests, cid, "MOB_BSHO-REQ")?;
        Ok((refused(scene)? >= u64::from(MESSAGES) / 2).then_some(()))
    })?;
    let ladder = scene.ladder()?;
    for what in ["LINK_HANDOVER_IMPEND", "FBU", "MOB_HO-IND"] {
        never(&ladder, Is::what(what))?;
    }
    let network = scene.network()?;
    network.order_handover(AccessPoint::Previous, AccessPoint::New)?;
    arrive_prepared(scene)
}

/// Floods, and makes sure that the flood came to the mobile node.
fn forge(scene: &Scene, forgery: Forgery, cid: u16, what: &str) -> Result<()> {
    let before = crossed(scene, what)?;
    scene.network()?.forge(
        &scene.stage.lab,
        forgery,
        AccessPoint::Previous,
        AccessPoint::New,
        cid,
        MESSAGES,
    )?;
    let title = format!("most of {MESSAGES} forged messages on the air, as {what}");
    wait_until(&title, SOON, || {
        let came = crossed(scene, what)? - before;
        Ok((came >= MESSAGES as usize / 2).then_some(()))
    })
}

/// How many messages the mobile node has refused for their authentication.
fn refused(scene: &Scene) -> Result<u64> {
    let status = scene.stage.controllers.mn.status()?;
    let counts = status["link_layer"].as_object();
    let counts = counts.context("the link layer counts nothing")?;
    let refused = counts
        .iter()
        .filter(|(name, _)| name.starts_with("cmac-") || name.starts_with("hmac-"));
    Ok(refused.filter_map(|(_, number)| number.as_u64()).sum())
}

/// The connection on which the station has spoken last: who listens to the air knows it.
fn basic_cid(scene: &Scene) -> Result<Option<u16>> {
    let all = scene.watch()?.all();
    let mut up = all
        .iter()
        .rev()
        .filter(|crossed| crossed.up && crossed.is_management());
    Ok(up.find_map(|crossed| {
        let received = Pdu::decode(&Frame::decode(&crossed.frame).ok()?.pdu).ok()?;
        let is_basic = received.pdu.message.name() == "MOB_SCN-REQ";
        is_basic.then_some(received.pdu.cid)
    }))
}

/// How many messages of that name have gone down to the mobile node.
fn crossed(scene: &Scene, name: &str) -> Result<usize> {
    let message = |frame: &[u8]| Pdu::decode(&Frame::decode(frame).ok()?.pdu).ok();
    let all = scene.watch()?.all();
    let down = all
        .iter()
        .filter(|crossed| !crossed.up && crossed.is_management());
    Ok(down
        .filter_map(|crossed| message(&crossed.frame))
        .filter(|received| received.pdu.message.name() == name)
        .count())
}

/// How many base stations the mobile node was told of.
fn detected(scene: &Scene) -> usize {
    let events = scene.stage.mn.all().into_iter();
    events
        .filter(|event| event.fields["primitive"] == "NEW_LINK_DETECTED")
        .count()
}
