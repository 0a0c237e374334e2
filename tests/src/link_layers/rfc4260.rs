//! The scenarios of RFC 4260 section 7. Their names are their order: the numbers are the steps of an
//! 802.11 handover (section 4), the letters those of FMIPv6 (section 5).
//!
//! The text is of RFC 4068. Where it has an FNA, RFC 5568 has a UNA; and the FBU that the FNA would have
//! had inside follows the UNA. So in the reactive scenarios `g` comes before `cdef`.

use anyhow::Result;

use super::{
    order::{Is, Step, check_sequence},
    stage::Scene,
};
use crate::{
    ladder::Place::{MnL2, MnL3, Nar, Par},
    report::Run,
    scenario::stage::{Harm, check},
    topology::AccessPoint,
    wait::SOON,
};

/// What shows each step.
const STEPS: &[Step<'static>] = &[
    Step {
        name: "1",
        shown_by: &[Is::what("NEW_LINK_DETECTED")],
    },
    Step {
        name: "a",
        shown_by: &[Is::what("RtSolPr").from(MnL3).to(Par)],
    },
    Step {
        name: "b",
        shown_by: &[Is::what("PrRtAdv").from(Par).to(MnL3)],
    },
    Step {
        name: "c",
        shown_by: &[Is::what("FBU").from(MnL3).to(Par)],
    },
    Step {
        name: "d",
        shown_by: &[Is::what("HI").from(Par).to(Nar)],
    },
    Step {
        name: "e",
        shown_by: &[Is::what("HAck").from(Nar).to(Par)],
    },
    Step {
        name: "f",
        shown_by: &[Is::what("FBack").from(Par).to(MnL3)],
    },
    Step {
        name: "2",
        shown_by: &[Is::what("disconnect").from(MnL2)],
    },
    Step {
        name: "6",
        shown_by: &[Is::what("LINK_UP").from(MnL2).to(MnL3)],
    },
    Step {
        name: "g",
        shown_by: &[Is::what("UNA").from(MnL3).to(Nar)],
    },
];

/// RFC 4260 section 7.1.
pub(super) fn predictive(scene: &mut Scene) -> Result<Run> {
    scene.stage.hear(AccessPoint::New, "PrRtAdv 0")?;
    scene.stage.prepare(AccessPoint::New)?;
    scene.leave()?;
    scene.arrive(AccessPoint::New)?;
    scene.stage.nar.wait_for("buffer-drained", SOON)?;
    scene.stage.mn_says("buffer-drained")?;
    let run = scene.close()?;
    check("downlink", &run.downlink, Harm::None)?;
    check("uplink", &run.uplink, Harm::None)?;
    check_sequence(&scene.ladder()?, "1abcdef26g", STEPS)?;
    Ok(run)
}

/// RFC 4260 section 7.2.
pub(super) fn reactive_known(scene: &mut Scene) -> Result<Run> {
    scene.stage.hear(AccessPoint::New, "PrRtAdv 0")?;
    let run = react(scene)?;
    check_sequence(&scene.ladder()?, "ab26gcde", STEPS)?;
    Ok(run)
}

/// RFC 4260 section 7.3.
pub(super) fn reactive_unknown(scene: &mut Scene) -> Result<Run> {
    let run = react(scene)?;
    check_sequence(&scene.ladder()?, "26cde", STEPS)?;
    Ok(run)
}

fn react(scene: &mut Scene) -> Result<Run> {
    scene.leave()?;
    scene.arrive(AccessPoint::New)?;
    scene.stage.mn_says("fback-received")?;
    scene.stage.mn_says("buffer-drained")?;
    let run = scene.close()?;
    check("downlink", &run.downlink, Harm::LostInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    Ok(run)
}
