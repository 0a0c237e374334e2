//! The scenarios of the link layers: RFC 4260 (802.11) and RFC 5270 (802.16e), each played with live
//! traffic and real processes, its steps checked against the order that the text gives them.

mod hostile;
pub mod order;
mod rfc4260;
mod rfc5270;
pub mod stage;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use self::{
    order::OutOfOrder,
    stage::{Scene, Setup},
};
use crate::{
    ladder::Ladder,
    report::{Report, Run},
};

/// A scenario.
#[derive(Copy, Clone, Debug)]
pub struct Scenario {
    /// Its name, for the command line.
    pub name: &'static str,
    /// What happens in it, for people.
    pub title: &'static str,
    /// Where it stands, such as `RFC 4260 section 7.1`.
    pub source: &'static str,
    /// What it needs before it begins.
    set_up: fn(&mut Setup),
    play: fn(&mut Scene) -> Result<Run>,
}

/// What a scenario came to.
#[derive(Debug)]
pub struct Performance {
    /// The account of the traffic.
    pub run: Run,
    /// What happened, in order.
    pub ladder: Ladder,
}

impl Performance {
    /// The streams' account, for people.
    pub fn report(&self) -> Report {
        Report {
            fmip: Some(self.run.clone()),
            plain: None,
        }
    }

    /// One object, for machines.
    pub fn json(&self, scenario: &Scenario) -> Value {
        let mut object = scenario.json();
        object["run"] = json!(self.run);
        object["ladder"] = self.ladder.json();
        object["exact_to_us"] = json!(self.ladder.tolerance.as_nanos() as f64 / 1e3);
        object
    }
}

impl Scenario {
    const fn new(
        name: &'static str,
        title: &'static str,
        source: &'static str,
        set_up: fn(&mut Setup),
        play: fn(&mut Scene) -> Result<Run>,
    ) -> Self {
        Self {
            name,
            title,
            source,
            set_up,
            play,
        }
    }

    /// What it is, for machines.
    pub fn json(&self) -> Value {
        json!({"name": self.name, "title": self.title, "source": self.source})
    }

    /// The scenario of that name.
    ///
    /// # Errors
    /// Names those that there are.
    pub fn named(name: &str) -> Result<Self> {
        let mut all = SCENARIOS.iter();
        all.find(|scenario| scenario.name == name)
            .copied()
            .with_context(|| {
                let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
                format!(
                    "there is no scenario {name}; there are {}",
                    names.join(", ")
                )
            })
    }

    /// Plays it in a lab of its own, with the controller at `fmip_ctl`.
    ///
    /// # Errors
    /// If it did not come to what the text promises: tells what, with all that was seen.
    pub fn play(&self, fmip_ctl: PathBuf, log_level: &str) -> Result<Performance> {
        let mut setup = Setup::new(fmip_ctl);
        log_level.clone_into(&mut setup.settings.log_level);
        (self.set_up)(&mut setup);
        let mut scene = Scene::set(self.title, setup)?;
        (self.play)(&mut scene)
            .and_then(|run| {
                let ladder = scene.ladder()?;
                Ok(Performance { run, ladder })
            })
            .map_err(|error| {
                let ladder = match scene.ladder() {
                    Ok(_) if error.is::<OutOfOrder>() => String::new(),
                    Ok(ladder) => ladder.to_string(),
                    Err(why) => format!("there is no ladder: {why:#}"),
                };
                // What went wrong first: the rest is long, and may be cut by who shows it.
                anyhow!("{}: {error:#}\n{ladder}\n{}", self.title, scene.account())
            })
    }
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "rfc4260-1abcdef23456g",
        "802.11, predictive: all is said before the mobile node leaves",
        "RFC 4260 section 7.1",
        rfc4260::two_routers,
        rfc4260::predictive,
    ),
    Scenario::new(
        "rfc4260-ab123456cdefg",
        "802.11, reactive: the firmware moves, to a router that is known",
        "RFC 4260 section 7.2",
        rfc4260::told_before,
        rfc4260::reactive_known,
    ),
    Scenario::new(
        "rfc4260-quiet-radio",
        "802.11: no scan disturbs traffic while the signal is good; routers are known by wildcard",
        "RFC 4260 section 6",
        rfc4260::deaf_scans,
        rfc4260::quiet_radio,
    ),
    Scenario::new(
        "rfc4260-123456abcdefg",
        "802.11, reactive: the firmware moves, to a router of which nothing is known",
        "RFC 4260 section 7.3",
        rfc4260::never_heard,
        rfc4260::reactive_unknown,
    ),
    Scenario::new(
        "rfc4260-figure-1-same-subnet",
        "802.11, figure 1: from AP1 to AP2 the router stays, and nothing is said",
        "RFC 4260 section 3",
        rfc4260::figure_1,
        rfc4260::figure_1_same_subnet,
    ),
    Scenario::new(
        "rfc4260-figure-1-handover",
        "802.11, figure 1: from AP5 to AP6 the router changes",
        "RFC 4260 section 3",
        rfc4260::figure_1_edge,
        rfc4260::figure_1_handover,
    ),
    Scenario::new(
        "rfc4260-figure-2-handover",
        "802.11, figure 2: the access point is the router, with one link-layer address",
        "RFC 4260 section 3",
        rfc4260::figure_2,
        rfc4260::figure_2_handover,
    ),
    Scenario::new(
        "rfc4260-figure-2-123456cdefg",
        "802.11, figure 2, reactive: the new access point is the router, and needs no finding",
        "RFC 4260 section 7.3",
        rfc4260::figure_2_told,
        rfc4260::figure_2_reactive,
    ),
    Scenario::new(
        "rfc4260-wrong-prediction",
        "802.11: prepared for one router the mobile node comes to another, and reacts",
        "RFC 4260 section 7.1",
        rfc4260::three_routers,
        rfc4260::wrong_prediction,
    ),
    Scenario::new(
        "rfc4260-stale-scan",
        "802.11: what was found once is gone when the mobile node goes there",
        "RFC 4260 sections 4 and 7.1",
        rfc4260::out_of_date,
        rfc4260::stale_scan,
    ),
    Scenario::new(
        "rfc4260-802.1x-delay",
        "802.11, predictive: 802.1X takes seconds, and what is held is held as long",
        "RFC 4260 section 4",
        rfc4260::dot1x_foreseen,
        rfc4260::dot1x_survived,
    ),
    Scenario::new(
        "rfc4260-802.1x-delay-expired",
        "802.11: 802.1X takes longer than the new router waits",
        "RFC 4260 section 4",
        rfc4260::dot1x_unforeseen,
        rfc4260::dot1x_expired,
    ),
    Scenario::new(
        "rfc5270-predictive-ms-initiated",
        "802.16e, predictive: the mobile station wants to move",
        "RFC 5270 section 6.1, figure 3",
        rfc5270::set_up,
        rfc5270::predictive_by_station,
    ),
    Scenario::new(
        "rfc5270-predictive-bs-initiated",
        "802.16e, predictive: the base station wants the mobile station to move",
        "RFC 5270 section 6.1, figure 3",
        rfc5270::set_up,
        rfc5270::predictive_by_base_station,
    ),
    Scenario::new(
        "rfc5270-late-candidate",
        "802.16e, predictive: the target says too late that it takes the mobile station, and is asked again",
        "RFC 5270 section 6.1, figure 3",
        rfc5270::set_up,
        rfc5270::late_candidate,
    ),
    Scenario::new(
        "rfc5270-without-context",
        "802.16e, predictive: nothing of the network entry is skipped at the target",
        "RFC 5270 section 5.3",
        rfc5270::set_up,
        rfc5270::without_context,
    ),
    Scenario::new(
        "rfc5270-reactive",
        "802.16e, reactive: the FBU is lost before the mobile station moves",
        "RFC 5270 section 6.2, figure 4",
        rfc5270::set_up_impatient,
        rfc5270::reactive,
    ),
    Scenario::new(
        "rfc5270-reactive-held",
        "802.16e, reactive: the base station tells the previous router that the mobile station has left",
        "RFC 5270 section 6.2, figure 4",
        rfc5270::set_up_held,
        rfc5270::reactive_held,
    ),
    Scenario::new(
        "rfc5270-same-subnet",
        "802.16e: another base station on the same subnet needs no FMIPv6",
        "RFC 5270 sections 5.2 and 5.4",
        rfc5270::set_up_beside,
        rfc5270::same_subnet,
    ),
    Scenario::new(
        "rfc5270-unpredicted",
        "802.16e: the target does not let the mobile station in, and another base station does",
        "RFC 5270 section 5.4",
        rfc5270::set_up_third,
        rfc5270::unpredicted,
    ),
    Scenario::new(
        "rfc5270-link-switch-waits-for-fback",
        "802.16e: MOB_HO-IND waits for LINK_SWITCH, and that for the FBack",
        "RFC 5270 section 5.3",
        rfc5270::set_up,
        rfc5270::link_switch_waits,
    ),
    Scenario::new(
        "rfc5270-ho-ind-before-fback",
        "802.16e: MOB_HO-IND cannot wait for the FBack, and the mobile node reacts",
        "RFC 5270 section 5.2",
        rfc5270::set_up_impatient,
        rfc5270::indication_before_fback,
    ),
    Scenario::new(
        "rfc5270-naack",
        "802.16e, reactive: the new router gives another address",
        "RFC 5270 section 6.2, step 11",
        rfc5270::set_up_naack,
        rfc5270::another_address,
    ),
    Scenario::new(
        "hostile-nbr-adv-flood",
        "a flood of forged MOB_NBR-ADV, each with base stations that are not there",
        "RFC 5270 sections 5.1 and 8",
        rfc5270::set_up,
        hostile::neighbor_advertisements,
    ),
    Scenario::new(
        "hostile-bsho-req-flood",
        "a flood of MOB_BSHO-REQ without a valid CMAC",
        "RFC 5270 section 8",
        rfc5270::set_up,
        hostile::handover_requests,
    ),
    Scenario::new(
        "hostile-bsho-req-flood-hmac",
        "a flood of MOB_BSHO-REQ without a valid HMAC, where that was agreed",
        "RFC 5270 section 8",
        rfc5270::set_up_hmac,
        hostile::handover_requests,
    ),
    Scenario::new(
        "hostile-rogue-access-point",
        "802.11: an access point lures the mobile node to a router that is no neighbor",
        "RFC 4260 section 8",
        rfc4260::stranger,
        rfc4260::rogue,
    ),
    Scenario::new(
        "hostile-rogue-access-point-strong",
        "802.11: of two access points the stronger one is a rogue's, and the node goes to the other",
        "RFC 4260 section 8",
        rfc4260::stranger_beside,
        rfc4260::strong_rogue,
    ),
    Scenario::new(
        "hostile-rogue-access-point-alone",
        "802.11: only a rogue's access point is strong, and the node that wants its router known stays",
        "RFC 4260 section 8",
        rfc4260::stranger_alone,
        rfc4260::lonely_rogue,
    ),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own() {
        let names: BTreeSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
    }

    #[test]
    fn an_unknown_scenario_is_answered_with_those_that_there_are() {
        let error = Scenario::named("by-magic").unwrap_err().to_string();
        assert!(
            error.contains("by-magic") && error.contains("rfc4260-1abcdef23456g"),
            "{error}"
        );
    }

    #[test]
    fn the_controller_understands_the_files_of_every_scenario() {
        for scenario in SCENARIOS {
            let mut setup = Setup::new(PathBuf::from("fmip-ctl"));
            (scenario.set_up)(&mut setup);
            let settings = setup.settings_with(Path::new("/run/wpa_supplicant/wlan0"));
            for (name, text) in settings.files_in(setup.network) {
                let file = format!("{name}.toml");
                if let Err(error) = fmip_ctl::config::Config::parse(Path::new(&file), &text) {
                    panic!("{}: {error}\n{text}", scenario.name);
                }
            }
        }
    }
}
