//! The scenarios of RFC 5270. The steps have the numbers that section 6 gives them.
//!
//! The mobile node is the program alone: its link layer speaks with the base stations, tells its core,
//! and does what the core orders. A scenario says how strong the base stations are, what the network
//! wants, and what is lost.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fmip_ctl::link::ieee80216e::{
    air::Frame,
    message::{HoIndication, MacMode, Message, Pdu},
};

use super::{
    order::{self, Is, Step, never},
    stage::{Scene, Setup},
};
use crate::{
    emulated::ieee80216e::{self, Control, Crossed, Direction, Willingness, bsid},
    ladder::{
        Ladder,
        Place::{MnL2, MnL3, Nar, NewAp, OldAp, Par, Third, ThirdAp},
    },
    report::Run,
    scenario::{
        naack, reactive,
        stage::{Harm, check},
    },
    topology::{AccessPoint, Lab, Network, Router, WLAN},
    wait::{SOON, elapse, wait_until},
};

/// How strong a base station is that a station is glad to be at, in dBm, and one that it leaves.
const STRONG: i8 = -55;
const WEAK: i8 = -85;
/// One that is good enough, but not better.
const FAIR: i8 = -70;
/// How long a station keeps its link for the FBack where it is patient, and where it is not, in
/// milliseconds.
const PATIENT: i64 = 5000;
const IMPATIENT: i64 = 200;

// What the scenarios need

pub(super) fn set_up(setup: &mut Setup) {
    let _ = setup.use_802_16e();
    wait_for_link_switch(setup, PATIENT);
}

/// Messages are authenticated by HMAC, and not by CMAC.
pub(super) fn set_up_hmac(setup: &mut Setup) {
    let _ = setup.use_802_16e_with(ieee80216e::Settings {
        mac_mode: MacMode::Hmac,
        ..ieee80216e::Settings::default()
    });
    wait_for_link_switch(setup, PATIENT);
}

pub(super) fn set_up_impatient(setup: &mut Setup) {
    set_up(setup);
    wait_for_link_switch(setup, IMPATIENT);
    setup.queues = LOSSY_QUEUE;
}

/// The previous router holds what comes for a station that is said to have left.
pub(super) fn set_up_held(setup: &mut Setup) {
    set_up_impatient(setup);
    reactive::with_hold(&mut setup.settings);
}

/// With a third router, and with a base station beside the first.
pub(super) fn set_up_third(setup: &mut Setup) {
    set_up(setup);
    setup.set_network(
        Network::Three,
        &[AccessPoint::Previous, AccessPoint::New, AccessPoint::Third],
    );
}

/// As [`set_up_third`]; the base station beside the first is the target.
pub(super) fn set_up_beside(setup: &mut Setup) {
    set_up(setup);
    setup.set_network(
        Network::Three,
        &[AccessPoint::Previous, AccessPoint::Beside],
    );
}

pub(super) fn set_up_naack(setup: &mut Setup) {
    set_up_impatient(setup);
    naack::with_assign(&mut setup.settings);
}

fn wait_for_link_switch(setup: &mut Setup, milliseconds: i64) {
    let table = &mut setup.settings.mobile_node;
    if let Some(toml::Value::Table(station)) = table.get_mut("ieee80216e") {
        station.insert("link-switch-wait-ms".to_owned(), milliseconds.into());
    }
}

// Steps

/// Steps 1 to 4: access router discovery.
const DISCOVERY: &[Step<'static>] = &[
    Step {
        name: "1",
        shown_by: &[Is::what("MOB_NBR-ADV").from(OldAp).to(MnL2).again()],
    },
    Step {
        name: "2",
        shown_by: &[
            Is::what("MOB_SCN-REQ").from(MnL2).to(OldAp).again(),
            Is::what("MOB_SCN-RSP").from(OldAp).to(MnL2).again(),
            Is::what("scan").from(MnL2).again(),
        ],
    },
    Step {
        name: "3",
        shown_by: &[Is::what("NEW_LINK_DETECTED").from(MnL2).to(MnL3)],
    },
    Step {
        name: "4",
        shown_by: &[
            Is::what("RtSolPr").from(MnL3).to(Par),
            Is::what("PrRtAdv").from(Par).to(MnL3),
        ],
    },
];

const BY_STATION: Step<'static> = Step {
    name: "5",
    shown_by: &[
        Is::what("MOB_MSHO-REQ").from(MnL2).to(OldAp),
        Is::what("MOB_BSHO-RSP").from(OldAp).to(MnL2),
    ],
};

const BY_BASE_STATION: Step<'static> = Step {
    name: "5",
    shown_by: &[Is::what("MOB_BSHO-REQ").from(OldAp).to(MnL2)],
};

const IMPENDING: Step<'static> = Step {
    name: "6",
    shown_by: &[Is::what("LINK_HANDOVER_IMPEND")
        .from(MnL2)
        .to(MnL3)
        .about(NewAp)],
};

const PREPARED: Step<'static> = Step {
    name: "7",
    shown_by: &[
        Is::what("FBU").from(MnL3).to(Par).arrives(),
        Is::what("HI 0").from(Par).to(Nar),
        Is::what("HAck 0").from(Nar).to(Par),
        Is::what("packets: tunnel").from(Par).to(Nar),
        Is::what("FBack 0").from(Par).to(MnL3).arrives(),
    ],
};

const LOST_FBU: Step<'static> = Step {
    name: "7",
    shown_by: &[Is::what("FBU").from(MnL3).is_lost()],
};

const SWITCHED: Step<'static> = Step {
    name: "8",
    shown_by: &[
        Is::what("LINK_SWITCH").from(MnL3).to(MnL2).about(NewAp),
        Is::what("MOB_HO-IND").from(MnL2).to(OldAp),
    ],
};

const LEFT: Step<'static> = Step {
    name: "8",
    shown_by: &[Is::what("MOB_HO-IND").from(MnL2).to(OldAp)],
};

/// SBC, PKM and REG are skipped: the target has the context.
const ENTERED: Step<'static> = Step {
    name: "9",
    shown_by: &[
        Is::what("RNG-REQ").from(MnL2).to(NewAp),
        Is::what("RNG-RSP").from(NewAp).to(MnL2),
        Is::what("DSA-REQ").from(NewAp).to(MnL2),
        Is::what("DSA-RSP").from(MnL2).to(NewAp),
        Is::what("carries").from(NewAp),
        Is::what("DSA-ACK").from(NewAp).to(MnL2),
    ],
};

/// All of it.
const ENTERED_WHOLE: Step<'static> = Step {
    name: "9",
    shown_by: &[
        Is::what("RNG-REQ").from(MnL2).to(NewAp),
        Is::what("RNG-RSP").from(NewAp).to(MnL2),
        Is::what("SBC-REQ").from(MnL2).to(NewAp),
        Is::what("SBC-RSP").from(NewAp).to(MnL2),
        Is::what("PKM-RSP SA-TEK-Challenge").from(NewAp).to(MnL2),
        // The challenge may be given twice, for SBC-REQ is repeated after 50 ms (T18).
        Is::what("PKM-REQ SA-TEK-Request")
            .from(MnL2)
            .to(NewAp)
            .again(),
        Is::what("PKM-RSP SA-TEK-Response")
            .from(NewAp)
            .to(MnL2)
            .again(),
        Is::what("REG-REQ").from(MnL2).to(NewAp),
        Is::what("REG-RSP").from(NewAp).to(MnL2),
        Is::what("DSA-REQ").from(NewAp).to(MnL2),
        Is::what("DSA-RSP").from(MnL2).to(NewAp),
        Is::what("carries").from(NewAp),
        Is::what("DSA-ACK").from(NewAp).to(MnL2),
    ],
};

const ANNOUNCED: Step<'static> = Step {
    name: "10",
    shown_by: &[
        Is::what("LINK_UP").from(MnL2).to(MnL3).about(NewAp),
        Is::what("UNA").from(MnL3).to(Nar),
    ],
};

const RELEASED: Step<'static> = Step {
    name: "11",
    shown_by: &[Is::what("packets: held ones").from(Nar).to(MnL3)],
};

/// Step 10 and 11 of the reactive mode (figure 4).
const REACTED: &[Step<'static>] = &[
    Step {
        name: "10",
        shown_by: &[
            Is::what("LINK_UP").from(MnL2).to(MnL3).about(NewAp),
            Is::what("UNA").from(MnL3).to(Nar),
            Is::what("FBU").from(MnL3).to(Par).arrives().again(),
        ],
    },
    Step {
        name: "11",
        shown_by: &[
            Is::what("HI 1").from(Par).to(Nar),
            Is::what("HAck 0").from(Nar).to(Par),
            Is::what("FBack 0").from(Par).to(MnL3).arrives().again(),
        ],
    },
];

/// What duplicate address detection for the address that the mobile node makes at the new router begins
/// with.
const PROBE: &str = "DAD NS 2001:db8:2::ff:fe00:1";

/// Waits for it: nothing else waits for the kernel to begin, and a story that has ended does not have it.
fn probes(scene: &Scene) -> Result<()> {
    scene.stage.story.wait_for("mn", PROBE).map(drop)
}

/// Section 5.4, and step 10 of both figures: the UNA comes from the address that the mobile node has made,
/// whether it can have it or not, and duplicate address detection for it begins on the new link, not
/// before.
fn announces_its_own(scene: &Scene, ladder: &Ladder) -> Result<()> {
    let up = Is::what("LINK_UP").from(MnL2).to(MnL3).about(NewAp);
    let probed = Step {
        name: "10",
        shown_by: &[up, Is::what(PROBE).from(MnL3).to(Nar)],
    };
    order::check(ladder, &[probed])?;
    announces_from_its_own(scene)
}

/// The source of the UNA is the address that the mobile node has made.
fn announces_from_its_own(scene: &Scene) -> Result<()> {
    let made = Router::New.care_of_address();
    let announcement = scene.stage.story.wait_for("mn", &format!("UNA {made}"))?;
    ensure!(
        announcement.source == made,
        "the UNA for {made} came from {}",
        announcement.source
    );
    Ok(())
}

fn steps(parts: &[&[Step<'static>]]) -> Vec<Step<'static>> {
    parts.concat()
}

// Section 6.1

/// Figure 3, begun by MOB_MSHO-REQ.
pub(super) fn predictive_by_station(scene: &mut Scene) -> Result<Run> {
    discover(scene, AccessPoint::New)?;
    fade(scene, AccessPoint::New)?;
    probes(scene)?;
    let run = arrive_prepared(scene)?;
    let ladder = scene.ladder()?;
    let rest = [BY_STATION, IMPENDING, PREPARED, SWITCHED];
    let end = [ENTERED, ANNOUNCED, RELEASED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, &end]))?;
    never(&ladder, Is::what("PKM-REQ"))?;
    announces_its_own(scene, &ladder)?;
    silent_after_indication(scene, Silence::Both)?;
    Ok(run)
}

/// Figure 3, begun by MOB_BSHO-REQ.
pub(super) fn predictive_by_base_station(scene: &mut Scene) -> Result<Run> {
    discover(scene, AccessPoint::New)?;
    scene
        .network()?
        .order_handover(AccessPoint::Previous, AccessPoint::New)?;
    probes(scene)?;
    let run = arrive_prepared(scene)?;
    let ladder = scene.ladder()?;
    let rest = [BY_BASE_STATION, IMPENDING, PREPARED, SWITCHED];
    let end = [ENTERED, ANNOUNCED, RELEASED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, &end]))?;
    never(&ladder, Is::what("MOB_MSHO-REQ"))?;
    announces_its_own(scene, &ladder)?;
    silent_after_indication(scene, Silence::Both)?;
    Ok(run)
}

/// Figure 3, begun by MOB_BSHO-REQ, which the target's first answer is too late for.
pub(super) fn late_candidate(scene: &mut Scene) -> Result<Run> {
    discover(scene, AccessPoint::New)?;
    let network = scene.network()?;
    let says = |answer| network.tell(AccessPoint::New, &Control::Candidate { answer });
    says(Willingness::Silent)?;
    thread::scope(|scope| {
        let later = scope.spawn(|| {
            let serving = AccessPoint::Previous;
            network.wait_for(serving, "nobody-takes-it", Direction::Local)?;
            says(Willingness::Accept)
        });
        let ordered = network.order_handover(AccessPoint::Previous, AccessPoint::New);
        later.join().expect("it does not panic").and(ordered)
    })?;
    let run = arrive_prepared(scene)?;
    let ladder = scene.ladder()?;
    const NOBODY: Step<'static> = Step {
        name: "in vain",
        shown_by: &[Is::what("nobody-takes-it").from(OldAp)],
    };
    let rest = [NOBODY, BY_BASE_STATION, IMPENDING, PREPARED, SWITCHED];
    let end = [ENTERED, ANNOUNCED, RELEASED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, &end]))?;
    silent_after_indication(scene, Silence::Both)?;
    Ok(run)
}

/// Section 5.3: the serving base station keeps what it knows of the station to itself.
pub(super) fn without_context(scene: &mut Scene) -> Result<Run> {
    discover(scene, AccessPoint::New)?;
    let network = scene.network()?;
    let secretive = Control::Transfers { contexts: false };
    network.tell(AccessPoint::Previous, &secretive)?;
    fade(scene, AccessPoint::New)?;
    let run = arrive_prepared(scene)?;
    let ladder = scene.ladder()?;
    let rest = [BY_STATION, IMPENDING, PREPARED, SWITCHED];
    let end = [ENTERED_WHOLE, ANNOUNCED, RELEASED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, &end]))?;
    silent_after_indication(scene, Silence::Both)?;
    Ok(run)
}

/// Section 5.3: the new router takes its time with the HAck, and MOB_HO-IND waits for it.
pub(super) fn link_switch_waits(scene: &mut Scene) -> Result<Run> {
    /// Far longer than the whole signalling takes.
    const DELAY: Duration = Duration::from_millis(400);
    discover(scene, AccessPoint::New)?;
    let mut indications = 0;
    scene.while_frozen(Router::New, |scene| {
        let network = scene.network()?;
        network.order_handover(AccessPoint::Previous, AccessPoint::New)?;
        scene.stage.story.wait_for("par", "HI 0")?;
        elapse(DELAY)?;
        indications = count(scene, AccessPoint::Previous, "MOB_HO-IND")?;
        scene.stage.flows()
    })?;
    ensure!(
        indications == 0,
        "MOB_HO-IND was sent before the FBack could be there"
    );
    let run = arrive_prepared(scene)?;
    let ladder = scene.ladder()?;
    let rest = [BY_BASE_STATION, IMPENDING, PREPARED, SWITCHED];
    let end = [ENTERED, ANNOUNCED, RELEASED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, &end]))?;
    order::not_before(
        &ladder,
        Is::what("MOB_HO-IND"),
        Is::what("FBack").from(Par).to(MnL3).arrives(),
    )?;
    silent_after_indication(scene, Silence::Both)?;
    Ok(run)
}

// Section 6.2

/// Figure 4: the FBU does not come to the previous router.
pub(super) fn reactive(scene: &mut Scene) -> Result<Run> {
    discover(scene, AccessPoint::New)?;
    leave_without_fbu(scene)?;
    react(scene).map(|(run, _)| run)
}

/// Figure 4, with a base station that tells its router that the station has left, and a router that holds
/// what comes for it from then on.
pub(super) fn reactive_held(scene: &mut Scene) -> Result<Run> {
    const HELD: Step<'static> = Step {
        name: "held",
        shown_by: &[
            Is::what("MOB_HO-IND").from(MnL2).to(OldAp),
            Is::what("holds packets").from(Par),
            Is::what("HAck 0").from(Nar).to(Par),
            Is::what("packets: held ones").from(Par),
        ],
    };
    discover(scene, AccessPoint::New)?;
    // Else it is chance whether the base station's word and the next packet come to the previous router
    // before all of network entry and of the signalling: it holds nothing once it has the HAck.
    scene.while_frozen(Router::New, |scene| {
        leave_without_fbu(scene)?;
        scene.stage.par.wait_for("first-held", SOON).map(drop)
    })?;
    let (run, ladder) = react(scene)?;
    order::check(&ladder, &[HELD])?;
    // Of what was sent before the router knew of it some was on its way to a station that was gone.
    let held = scene.stage.par.wait_for("first-held", SOON)?.time_ns;
    let held = Duration::from_nanos(held);
    let late = scene.never_arrived().filter(|sent| *sent > held);
    let late: Vec<Duration> = late.map(|sent| sent - held).collect();
    ensure!(
        late.is_empty(),
        "packets were lost that were sent after the router began to hold: {late:?}"
    );
    Ok(run)
}

/// The station leaves, and its FBU has not come to the previous router.
fn leave_without_fbu(scene: &Scene) -> Result<()> {
    let lost = Loss::of_signalling(&scene.stage.lab)?;
    fade(scene, AccessPoint::New)?;
    left(scene, AccessPoint::Previous)?;
    lost.end(&scene.stage.lab)
}

fn react(scene: &mut Scene) -> Result<(Run, Ladder)> {
    probes(scene)?;
    let run = arrive_unprepared(scene)?;
    let ladder = scene.ladder()?;
    let rest = [BY_STATION, IMPENDING, LOST_FBU, LEFT, ENTERED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, REACTED]))?;
    never(&ladder, Is::what("LINK_SWITCH"))?;
    never(&ladder, Is::what("HI 0"))?;
    announces_its_own(scene, &ladder)?;
    silent_after_indication(scene, Silence::Uplink)?;
    Ok((run, ladder))
}

/// Section 5.2: the FBack comes when MOB_HO-IND is said already.
pub(super) fn indication_before_fback(scene: &mut Scene) -> Result<Run> {
    discover(scene, AccessPoint::New)?;
    scene.while_frozen(Router::New, |scene| {
        let network = scene.network()?;
        network.order_handover(AccessPoint::Previous, AccessPoint::New)?;
        scene.stage.story.wait_for("par", "HI 0")?;
        left(scene, AccessPoint::Previous)
    })?;
    let run = arrive_unprepared(scene)?;
    let ladder = scene.ladder()?;
    const ASKED: Step<'static> = Step {
        name: "7",
        shown_by: &[Is::what("FBU").from(MnL3).to(Par).arrives()],
    };
    // The mobile node does not wait for it.
    const PASSED_ON: Step<'static> = Step {
        name: "8",
        shown_by: &[Is::what("HI 0").from(Par).to(Nar)],
    };
    const ANNOUNCED: Step<'static> = Step {
        name: "10",
        shown_by: &[
            Is::what("LINK_UP").from(MnL2).to(MnL3).about(NewAp),
            Is::what("UNA").from(MnL3).to(Nar),
            Is::what("FBU").from(MnL3).to(Par).arrives().again(),
        ],
    };
    const ANSWERED: Step<'static> = Step {
        name: "11",
        shown_by: &[Is::what("FBack 0").from(Par).to(MnL3).arrives().again()],
    };
    let rest = [BY_BASE_STATION, IMPENDING, ASKED, LEFT, ENTERED];
    let end = [ANNOUNCED, ANSWERED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, &end]))?;
    order::check(&ladder, &[ASKED, PASSED_ON])?;
    never(&ladder, Is::what("LINK_SWITCH"))?;
    order::not_before(
        &ladder,
        Is::what("FBack").from(Par).to(MnL3).arrives(),
        Is::what("MOB_HO-IND"),
    )?;
    silent_after_indication(scene, Silence::Uplink)?;
    Ok(run)
}

/// Step 11: an RA with NAACK and another address than the one that the node has made.
pub(super) fn another_address(scene: &mut Scene) -> Result<Run> {
    let _other = naack::add_holder_of_ncoa(&scene.stage)?;
    discover(scene, AccessPoint::New)?;
    leave_without_fbu(scene)?;
    let run = arrive_unprepared(scene)?;
    let ladder = scene.ladder()?;
    const ANNOUNCED: Step<'static> = Step {
        name: "10",
        shown_by: &[
            Is::what("LINK_UP").from(MnL2).to(MnL3).about(NewAp),
            Is::what("UNA").from(MnL3).to(Nar),
        ],
    };
    const ASKED: Step<'static> = Step {
        name: "10",
        shown_by: &[Is::what("FBU").from(MnL3).to(Par).arrives().again()],
    };
    const SUPPLIED: Step<'static> = Step {
        name: "11",
        shown_by: &[
            Is::what("RA with NAACK 2").from(Nar).to(MnL3),
            // An FBU that left before the answer came has had its own HI, which was refused.
            Is::what("FBU").from(MnL3).to(Par).arrives().again(),
            Is::what("HI 1").from(Par).to(Nar).again(),
            Is::what("HAck 0").from(Nar).to(Par),
            Is::what("FBack 0").from(Par).to(MnL3).arrives().again(),
        ],
    };
    let rest = [BY_STATION, IMPENDING, LOST_FBU, LEFT, ENTERED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, &[ANNOUNCED, ASKED]]))?;
    order::check(&ladder, &[ANNOUNCED, SUPPLIED])?;
    // The answer may be there before duplicate address detection for an address that it takes away begins.
    let up = Is::what("LINK_UP").from(MnL2).to(MnL3).about(NewAp);
    order::not_before(&ladder, Is::what(PROBE).from(MnL3), up)?;
    announces_from_its_own(scene)?;
    naack::check_holder_untouched(&scene.stage)?;
    let supplied = scene.stage.story.wait_for("nar", "FBack 0")?.destination;
    ensure!(
        supplied.to_string().starts_with(naack::POOL),
        "the FBack went to {supplied}, which the new router has not given"
    );
    // It is the one that the mobile node has, and what it made itself is another node's.
    let made = Router::New.care_of_address();
    let title =
        format!("the mobile node to have {supplied}, and not {made}, which is another node's");
    wait_until(&title, SOON, || {
        let addresses = scene.stage.lab.mn.ip(&format!("-6 addr show dev {WLAN}"))?;
        let has = |address| addresses.contains(&format!("{address}/"));
        Ok((has(supplied) && !has(made)).then_some(()))
    })?;
    silent_after_indication(scene, Silence::Uplink)?;
    Ok(run)
}

// Section 5.4

/// Another base station on the same subnet: the address stays, and FMIPv6 has nothing to do.
pub(super) fn same_subnet(scene: &mut Scene) -> Result<Run> {
    discover(scene, AccessPoint::Beside)?;
    fade(scene, AccessPoint::Beside)?;
    arrived(scene, AccessPoint::Beside)?;
    let run = scene.close()?;
    check("downlink", &run.downlink, Harm::MayLoseInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    let ladder = scene.ladder()?;
    const UP: Step<'static> = Step {
        name: "10",
        shown_by: &[Is::what("LINK_UP").from(MnL2).to(MnL3).about(NewAp)],
    };
    let rest = [BY_STATION, IMPENDING, LEFT, ENTERED, UP];
    order::check(&ladder, &steps(&[DISCOVERY, &rest]))?;
    for what in ["FBU", "UNA", "HI", "FBack"] {
        never(&ladder, Is::what(what))?;
    }
    silent_after_indication(scene, Silence::Uplink)?;
    Ok(run)
}

/// The target does not let the station in, nor does the base station where it was; a third one does.
pub(super) fn unpredicted(scene: &mut Scene) -> Result<Run> {
    discover(scene, AccessPoint::Third)?;
    discover(scene, AccessPoint::New)?;
    let network = scene.network()?;
    let closed = Control::Admits { stations: false };
    network.tell(AccessPoint::New, &closed)?;
    network.tell(AccessPoint::Previous, &closed)?;
    network.set_signal(AccessPoint::Third, Some(FAIR))?;
    network.order_handover(AccessPoint::Previous, AccessPoint::New)?;
    arrived(scene, AccessPoint::Third)?;
    let third = scene.stage.story.wait_for("third", "FBack 0")?;
    ensure!(
        third.destination == Router::Third.care_of_address(),
        "the FBack went to {}",
        third.destination
    );
    let run = scene.close()?;
    check("downlink", &run.downlink, Harm::LostInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    let ladder = scene.ladder()?;
    const ERRONEOUS: Step<'static> = Step {
        name: "9",
        shown_by: &[
            Is::what("RNG-REQ").from(MnL2).to(NewAp),
            Is::what("RNG-RSP").from(NewAp).to(MnL2),
            Is::what("entry-failed").from(MnL2),
            Is::what("RNG-REQ").from(MnL2).to(ThirdAp),
            Is::what("RNG-RSP").from(ThirdAp).to(MnL2),
            Is::what("DSA-ACK").from(ThirdAp).to(MnL2),
        ],
    };
    const REDIRECTED: Step<'static> = Step {
        name: "10",
        shown_by: &[
            Is::what("LINK_UP").from(MnL2).to(MnL3).about(ThirdAp),
            Is::what("FBU").from(MnL3).to(Par).arrives().again(),
            Is::what("HI 1").from(Par).to(Third),
            Is::what("HAck 0").from(Third).to(Par),
            Is::what("FBack 0").from(Par).to(MnL3).arrives().again(),
        ],
    };
    let rest = [BY_BASE_STATION, IMPENDING, PREPARED, SWITCHED];
    let end = [ERRONEOUS, REDIRECTED];
    order::check(&ladder, &steps(&[DISCOVERY, &rest, &end]))?;
    silent_after_indication(scene, Silence::Both)?;
    Ok(run)
}

// What happens in them

/// A base station comes within reach, is announced and scanned, and its router found out.
pub(super) fn discover(scene: &Scene, access_point: AccessPoint) -> Result<()> {
    let told = advertised(scene);
    let network = scene.network()?;
    network.set_signal(access_point, Some(FAIR))?;
    network.announce(access_point)?;
    let name = bsid(access_point).to_string();
    wait_until("NEW_LINK_DETECTED", SOON, || {
        let primitives = scene.stage.mn.all().into_iter();
        let mut detected = primitives.filter(|event| {
            event.fields["primitive"] == "NEW_LINK_DETECTED"
                && event.fields["access_point"] == name.as_str()
        });
        Ok(detected.next().map(drop))
    })?;
    wait_until("a PrRtAdv", SOON, || {
        Ok((advertised(scene) > told).then_some(()))
    })?;
    // A request is answered behind what arrived before it.
    scene.stage.controllers.mn.status().map(drop)
}

/// How many PrRtAdvs the previous router has sent.
fn advertised(scene: &Scene) -> usize {
    let seen = scene.stage.story.all().into_iter();
    seen.filter(|seen| seen.by == "par" && seen.what.starts_with("PrRtAdv"))
        .count()
}

/// The base station where the mobile node is grows weak, and another is strong.
fn fade(scene: &Scene, target: AccessPoint) -> Result<()> {
    let network = scene.network()?;
    network.set_signal(target, Some(STRONG))?;
    network.set_signal(AccessPoint::Previous, Some(WEAK))
}

/// Waits until the station has left a base station.
fn left(scene: &Scene, access_point: AccessPoint) -> Result<()> {
    let network = scene.network()?;
    network
        .wait_for(access_point, "released", Direction::Local)
        .map(drop)
}

/// Waits until the station has entered the network at a base station.
fn arrived(scene: &Scene, access_point: AccessPoint) -> Result<()> {
    let network = scene.network()?;
    network
        .wait_for(access_point, "carries", Direction::Local)
        .map(drop)
}

/// How often a base station has heard a message.
fn count(scene: &Scene, access_point: AccessPoint, step: &str) -> Result<usize> {
    let own = bsid(access_point);
    let steps = scene.network()?.steps()?.into_iter();
    Ok(steps
        .filter(|seen| seen.base_station == own && seen.act.step == step)
        .count())
}

/// Waits for the end of a handover that was prepared; nothing may be lost.
pub(super) fn arrive_prepared(scene: &mut Scene) -> Result<Run> {
    arrived(scene, AccessPoint::New)?;
    scene.stage.nar.wait_for("buffer-drained", SOON)?;
    scene.stage.mn_says("buffer-drained")?;
    let run = scene.close()?;
    check("downlink", &run.downlink, Harm::None)?;
    check("uplink", &run.uplink, Harm::None)?;
    Ok(run)
}

/// Waits for the end of a handover that was not; what was lost is of the gap alone.
fn arrive_unprepared(scene: &mut Scene) -> Result<Run> {
    arrived(scene, AccessPoint::New)?;
    scene.stage.story.wait_for("nar", "FBack 0")?;
    scene.stage.mn_says("buffer-drained")?;
    let run = scene.close()?;
    check("downlink", &run.downlink, Harm::MayLoseInGap)?;
    check("uplink", &run.uplink, Harm::None)?;
    Ok(run)
}

/// Which way no data frame may pass from MOB_HO-IND on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// Neither way: the routers have redirected the packets before. Only neighbor discovery may be on the
    /// air until the base station has heard MOB_HO-IND.
    Both,
    /// Not upwards. Downwards some may be on the air when MOB_HO-IND is, until the base station has
    /// heard it.
    Uplink,
}

/// Section 5.2: after MOB_HO-IND data packet transfer is no longer allowed.
fn silent_after_indication(scene: &Scene, silence: Silence) -> Result<()> {
    let network = scene.network()?;
    let released = network.wait_for(AccessPoint::Previous, "released", Direction::Local)?;
    let entered = entered_again(&network.steps()?).context("the radio came to no other link")?;
    silent_between(&scene.watch()?.all(), released.time_ns, entered, silence)
}

/// Until when nothing can have passed on the second link: the DSA-RSP that ends network entry there. The
/// base station says "carries" when the radio has joined the link, and a packet may have passed meanwhile.
fn entered_again(steps: &[ieee80216e::Step]) -> Option<u64> {
    let mut carries = steps.iter().filter(|step| step.act.step == "carries");
    // The first is that of the first entry.
    let carries = carries.nth(1)?;
    let mut before = steps.iter().rev().filter(|step| {
        step.time_ns <= carries.time_ns && step.base_station == carries.base_station
    });
    before
        .find(|step| step.act.step == "DSA-RSP" && step.act.direction == Direction::Received)
        .map(|step| step.time_ns)
}

/// From the MOB_HO-IND in it until the station has `entered` again, which may be before the base station
/// that it left has heard MOB_HO-IND and `released` it: they are processes of their own, and the radio is
/// the port of one bridge at a time, whoever is late.
fn silent_between(all: &[Crossed], released: u64, entered: u64, silence: Silence) -> Result<()> {
    let after = all
        .iter()
        .skip_while(|crossed| !is_release(crossed))
        .skip(1);
    let mut indicated = false;
    for crossed in after {
        indicated = true;
        if crossed.is_management() {
            continue;
        }
        let way = if crossed.up { "up" } else { "down" };
        let allowed = crossed.time_ns <= released
            && (is_kernels(crossed) || !crossed.up && silence == Silence::Uplink);
        if crossed.time_ns >= entered {
            break;
        }
        ensure!(
            allowed,
            "a data frame went {way} {} us after MOB_HO-IND was heard: {:02x?}",
            (crossed.time_ns as i128 - i128::from(released)) / 1000,
            crossed.frame
        );
    }
    ensure!(indicated, "no MOB_HO-IND crossed the air");
    Ok(())
}

/// Whether it is of the neighbor discovery of the kernels, which know nothing of MOB_HO-IND: a router
/// solicits and advertises, and the mobile node asks whether its router is still there, and answers.
fn is_kernels(crossed: &Crossed) -> bool {
    // EtherType, next header and ICMPv6 type.
    let frame = &crossed.frame;
    let is_icmp = frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&58);
    let kinds = match crossed.up {
        true => 135..=136,
        false => 134..=136,
    };
    is_icmp && frame.get(54).is_some_and(|kind| kinds.contains(kind))
}

/// Whether it is a MOB_HO-IND that says that the station leaves.
fn is_release(crossed: &Crossed) -> bool {
    let message = || Pdu::decode(&Frame::decode(&crossed.frame).ok()?.pdu).ok();
    crossed.is_management()
        && message().is_some_and(|received| {
            matches!(&received.pdu.message, Message::MobHoInd(indication)
                if matches!(indication.indication, HoIndication::Release { .. }))
        })
}

/// The queue to the previous router, with a class that has room for nothing.
const LOSSY_QUEUE: &[&str] = &[
    "qdisc add dev par-air root handle 1: htb default 10",
    "class add dev par-air parent 1: classid 1:10 htb rate 10gbit quantum 60000",
    "class add dev par-air parent 1: classid 1:30 htb rate 10gbit quantum 60000",
    "qdisc add dev par-air parent 1:30 handle 30: pfifo limit 0",
];

/// Signalling of mobility (next header 135) that the mobile node sends is lost on its way to the previous
/// router: it gets into that class of [`LOSSY_QUEUE`].
struct Loss;

impl Loss {
    fn of_signalling(lab: &Lab) -> Result<Self> {
        for next_header in [135, 60] {
            lab.air.tc(&format!(
                "filter add dev par-air parent 1: protocol ipv6 prio 1 \
                 u32 match ip6 protocol {next_header} 0xff flowid 1:30"
            ))?;
        }
        Ok(Self)
    }

    fn end(self, lab: &Lab) -> Result<()> {
        lab.air.tc("filter del dev par-air parent 1: prio 1")
    }
}

#[cfg(test)]
mod tests {
    use fmip_ctl::{link::ieee80216e::message::MobHoInd, wire::MacAddr};

    use super::*;
    use crate::emulated::ieee80216e::Act;

    /// The times of an entry at another base station.
    const RELEASED: u64 = 110;
    const ENTERED: u64 = 200;
    const CARRIES: u64 = 220;

    fn steps() -> Vec<ieee80216e::Step> {
        let [first, second] = [AccessPoint::Previous, AccessPoint::New].map(bsid);
        let step = |time_ns, base_station, act| ieee80216e::Step {
            time_ns,
            base_station,
            act,
        };
        let answer = |direction| Act::on_air("DSA-RSP", direction, None);
        vec![
            step(10, first, answer(Direction::Received)),
            step(20, first, Act::local("carries", None)),
            step(RELEASED, first, Act::local("released", None)),
            step(ENTERED, second, answer(Direction::Received)),
            // Nobody's at this base station.
            step(ENTERED + 5, first, answer(Direction::Received)),
            step(ENTERED + 5, second, answer(Direction::Sent)),
            step(CARRIES, second, Act::local("carries", None)),
            step(CARRIES + 5, second, answer(Direction::Received)),
        ]
    }

    /// MOB_HO-IND, then data at that time.
    fn crossed(data_ns: u64, up: bool) -> Vec<Crossed> {
        let target = bsid(AccessPoint::New);
        let indication = Pdu {
            cid: 1,
            message: Message::MobHoInd(MobHoInd::new(HoIndication::Release { target })),
            authentication: None,
        };
        let frame = Frame {
            destination: bsid(AccessPoint::Previous),
            source: MacAddr([2, 0, 0, 0, 0, 1]),
            signal_dbm: None,
            pdu: indication.encode().unwrap(),
        };
        vec![
            Crossed {
                time_ns: 100,
                up: true,
                frame: frame.encode().to_vec(),
            },
            Crossed {
                time_ns: data_ns,
                up,
                frame: vec![0; 64],
            },
        ]
    }

    fn check(data_ns: u64, up: bool, silence: Silence) -> Result<()> {
        let entered = entered_again(&steps()).context("it has entered")?;
        silent_between(&crossed(data_ns, up), RELEASED, entered, silence)
    }

    #[test]
    fn a_packet_may_pass_before_the_base_station_has_said_that_it_carries() {
        for up in [false, true] {
            check(CARRIES - 1, up, Silence::Both).unwrap();
            check(ENTERED, up, Silence::Both).unwrap();
        }
    }

    #[test]
    fn no_packet_may_pass_between_the_links() {
        for silence in [Silence::Both, Silence::Uplink] {
            for up in [false, true] {
                check(ENTERED - 1, up, silence).unwrap_err();
                check(RELEASED + 1, up, silence).unwrap_err();
            }
            check(RELEASED, true, silence).unwrap_err();
        }
        check(RELEASED, false, Silence::Both).unwrap_err();
        check(RELEASED, false, Silence::Uplink).unwrap();
    }

    #[test]
    fn a_base_station_that_hears_late_lets_no_packet_pass_before_the_station_is_elsewhere() {
        let check = |data_ns, up, silence| {
            silent_between(&crossed(data_ns, up), CARRIES + 5, ENTERED, silence)
        };
        for silence in [Silence::Both, Silence::Uplink] {
            check(ENTERED - 1, true, silence).unwrap_err();
            for up in [false, true] {
                check(ENTERED, up, silence).unwrap();
            }
        }
        check(ENTERED - 1, false, Silence::Both).unwrap_err();
        check(ENTERED - 1, false, Silence::Uplink).unwrap();
    }

    #[test]
    fn the_kernels_ask_and_answer_for_themselves_until_the_base_station_has_heard_it() {
        let [solicitation, advertisement, echo] = [135, 136, 128];
        let check = |time_ns, up, kind: u8| {
            let mut all = crossed(time_ns, up);
            let frame = &mut all[1].frame;
            frame[12..14].copy_from_slice(&[0x86, 0xdd]);
            (frame[20], frame[54]) = (58, kind);
            silent_between(&all, RELEASED, ENTERED, Silence::Both)
        };
        check(RELEASED, false, solicitation).unwrap();
        check(RELEASED, true, advertisement).unwrap();
        check(RELEASED, true, solicitation).unwrap();
        // Routers are none of the mobile node's business to announce, and other packets none of the kernels'.
        check(RELEASED, true, 134).unwrap_err();
        for up in [false, true] {
            check(RELEASED, up, echo).unwrap_err();
            check(RELEASED + 1, up, advertisement).unwrap_err();
        }
    }

    #[test]
    fn a_station_that_has_entered_once_alone_has_not_entered_again() {
        assert_eq!(entered_again(&steps()[..3]), None);
    }
}
