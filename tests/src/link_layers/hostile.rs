//! Somebody near the mobile node forges what base stations say (RFC 5270 section 8).

use anyhow::{Result, ensure};

use super::{
    order::{Is, never},
    rfc5270::discover,
    stage::Scene,
};
use crate::{
    emulated::ieee80216e::Forgery,
    report::Run,
    scenario::stage::{Harm, check},
    topology::AccessPoint,
};

/// How many forged messages there are.
const MESSAGES: u32 = 2000;
/// MAX_RTSOLPR_RATE of RFC 5568 section 9: in any one second.
const MAX_RTSOLPR_RATE: usize = 3;

/// A flood of MOB_NBR-ADV: whom no scan hears is nobody, and is not asked about.
pub(super) fn neighbor_advertisements(scene: &mut Scene) -> Result<Run> {
    let network = scene.network()?;
    network.forge(
        &scene.stage.lab,
        Forgery::NeighborAdvertisements,
        AccessPoint::Previous,
        AccessPoint::New,
        MESSAGES,
    )?;
    let detected = scene.stage.mn.all().into_iter();
    let detected = detected.filter(|event| event.fields["primitive"] == "NEW_LINK_DETECTED");
    ensure!(
        detected.count() == 0,
        "a base station that is not there was detected"
    );
    let asked: Vec<_> = (scene.stage.story.all().into_iter())
        .filter(|seen| seen.by == "mn" && seen.what == "RtSolPr")
        .map(|seen| seen.at)
        .collect();
    for window in asked.windows(MAX_RTSOLPR_RATE + 1) {
        let [first, .., last] = window else { continue };
        ensure!(
            last.as_secs() - first.as_secs() >= 1 || (*last - *first).as_secs() >= 1,
            "more than {MAX_RTSOLPR_RATE} RtSolPrs in a second"
        );
    }
    // One that is there is found among them all the same.
    discover(scene, AccessPoint::New)?;
    let run = scene.close()?;
    check("downlink", &run.downlink, Harm::None)?;
    check("uplink", &run.uplink, Harm::None)?;
    never(&scene.ladder()?, Is::what("LINK_HANDOVER_IMPEND"))?;
    Ok(run)
}

/// A flood of MOB_BSHO-REQ: nothing impends, and the mobile node stays.
pub(super) fn handover_requests(scene: &mut Scene) -> Result<Run> {
    // The target is a good one; what is forged is the order to go there.
    discover(scene, AccessPoint::New)?;
    let network = scene.network()?;
    network.forge(
        &scene.stage.lab,
        Forgery::HandoverRequests,
        AccessPoint::Previous,
        AccessPoint::New,
        MESSAGES,
    )?;
    scene.stage.flows()?;
    // The mobile node has heard them: a genuine one comes behind them, and is obeyed.
    let ladder = scene.ladder()?;
    never(&ladder, Is::what("LINK_HANDOVER_IMPEND"))?;
    for what in ["FBU", "MOB_HO-IND"] {
        never(&ladder, Is::what(what))?;
    }
    let network = scene.network()?;
    network.order_handover(AccessPoint::Previous, AccessPoint::New)?;
    super::rfc5270::arrive_prepared(scene)
}
