//! A mobile node that is driven by a program at its control socket, in the words of IEEE 802.21.

use std::{
    process::{Command, Output},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use fmip_tests::{
    AccessPoint, Router,
    controller::Event,
    scenario::stage::{Harm, Stage, check},
    testing,
    wait::{SOON, elapse},
    wait_until,
};
use serde_json::{Value, json};

/// A Media Independent Handover function: it knows the control socket and nothing else.
struct Driver {
    stage: Stage,
}

impl Driver {
    fn start() -> Result<Self> {
        let stage = Stage::set(testing::settings().patient(), false)?;
        Ok(Self { stage })
    }

    /// Says a primitive; what became of it.
    fn say(&self, primitive: &str, access_point: AccessPoint) -> Result<String> {
        let request = json!({
            "command": "primitive", "primitive": primitive, "access_point": access_point.id(),
        });
        self.request(&request)
    }

    fn request(&self, request: &Value) -> Result<String> {
        let answer = self.stage.controllers.mn.request(request)?;
        let outcome = answer["outcome"].as_str();
        Ok(outcome.context("it says what became of it")?.to_owned())
    }

    /// Says one that is to be acted on at once.
    fn tell(&self, primitive: &str, access_point: AccessPoint) -> Result<()> {
        let outcome = self.say(primitive, access_point)?;
        ensure!(outcome == "told", "{primitive} was {outcome}");
        Ok(())
    }

    /// The commands to move, so far.
    fn commits(&self) -> Vec<Event> {
        let mut events = self.stage.mn.all();
        events
            .retain(|event| event.name == "primitive" && event.fields["mih"] == "HANDOVER_COMMIT");
        events
    }

    /// Waits for the `number`th command to move, and returns where to.
    fn wait_for_commit(&self, number: usize) -> Result<Value> {
        wait_until("HANDOVER_COMMIT", SOON, || {
            let mut commits = self.commits();
            Ok((commits.len() == number).then(|| commits.pop()).flatten())
        })
        .map(|event| event.fields["access_point"].clone())
    }

    /// Moves the radio, and says so.
    fn obey(&self) -> Result<()> {
        self.tell("LINK_DOWN", AccessPoint::Previous)?;
        self.stage.controllers.mn.status()?;
        self.stage.lab.leave()?;
        elapse(std::time::Duration::from_millis(100))?;
        self.stage.lab.attach(AccessPoint::New)?;
        self.tell("LINK_UP", AccessPoint::New)?;
        self.stage.nar.wait_for("buffer-drained", SOON)?;
        self.stage.mn.wait_for("buffer-drained", SOON)?;
        self.stage.flows()
    }

    /// `fmip-ctl primitive`.
    fn command_line(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.stage.settings.fmip_ctl);
        command
            .arg("--socket")
            .arg(self.stage.controllers.mn.socket())
            .arg("primitive")
            .args(arguments);
        Ok(command.output()?)
    }

    fn status(&self, pointer: &str) -> Result<u64> {
        let status = self.stage.controllers.mn.status()?;
        let number = status.pointer(pointer).and_then(Value::as_u64);
        number.with_context(|| format!("{pointer} is no number in {status}"))
    }
}

/// Plays with a driver; what went wrong is told with all that was seen.
fn play(part: impl FnOnce(&mut Driver) -> Result<()>) {
    let Some(_turn) = testing::shared_turn() else {
        return;
    };
    let mut driver = Driver::start().unwrap();
    if let Err(error) = part(&mut driver) {
        panic!("{error:#}\n{}", driver.stage.account());
    }
}

// Rows: W16-01, W16-10, W16-12, W16-23, W11-04
#[test]
fn a_predictive_handover_in_the_words_of_802_21_loses_nothing() {
    play(|driver| {
        driver.tell("LINK_DETECTED", AccessPoint::New)?;
        driver.stage.story.wait_for("par", "PrRtAdv 0")?;
        // The signal fades.
        driver.tell("LINK_GOING_DOWN", AccessPoint::Previous)?;
        driver.tell("LINK_HANDOVER_IMMINENT", AccessPoint::New)?;
        let target = driver.wait_for_commit(1)?;
        ensure!(target == json!(AccessPoint::New.id()), "to {target}");
        driver.obey()?;
        let run = driver.stage.close()?;
        check("downlink", &run.downlink, Harm::None)?;
        check("uplink", &run.uplink, Harm::None)?;
        ensure!(run.held > 0, "nothing was held in the gap");
        driver.stage.story.check_order(&[
            "mn: RtSolPr",
            "par: PrRtAdv 0",
            "mn: FBU",
            "par: HI 0",
            "nar: HAck 0",
            "par: FBack 0",
            &format!("mn: UNA {}", Router::New.care_of_address()),
        ])?;
        // What was said and what was ordered, as any subscriber reads it, by the other names.
        let mut told = driver.stage.mn.all();
        told.retain(|event| event.name == "primitive");
        let told: Vec<&str> = told
            .iter()
            .filter_map(|event| event.fields["primitive"].as_str())
            .collect();
        let expected = [
            "NEW_LINK_DETECTED",
            "LINK_GOING_DOWN",
            "LINK_HANDOVER_IMPEND",
            "LINK_SWITCH",
            "LINK_DOWN",
            "LINK_UP",
        ];
        ensure!(told == expected, "{told:?}");
        Ok(())
    });
}

// Rows: W16-10
#[test]
fn a_driver_that_cannot_move_says_so_and_is_asked_again() {
    play(|driver| {
        driver.tell("LINK_HANDOVER_IMMINENT", AccessPoint::New)?;
        driver.wait_for_commit(1)?;
        // While it stands, the indication may be repeated.
        let repeated = driver.say("LINK_HANDOVER_IMMINENT", AccessPoint::New)?;
        ensure!(repeated == "dropped", "{repeated}");
        let failed = json!({
            "command": "primitive", "primitive": "HANDOVER_COMMIT",
            "access_point": AccessPoint::New.id(), "error": "no answer to authentication",
        });
        let outcome = driver.request(&failed)?;
        ensure!(outcome == "told", "{outcome}");
        let reason = driver.stage.mn_gives_up()?;
        ensure!(reason == "command-failed", "{reason}");
        let event = driver
            .stage
            .mn
            .first("command-failed")
            .context("no event")?;
        ensure!(
            event.fields["error"] == "no answer to authentication",
            "{event:?}"
        );
        // It is where it was, and its packets come there again.
        driver.stage.story.wait_for("mn", "FBU to end")?;
        driver.stage.par.wait_for("tunnel-removed", SOON)?;
        driver.stage.flows()?;
        // Once is enough.
        let again = driver.request(&failed).unwrap_err().to_string();
        ensure!(again.contains("access_point: no LINK_SWITCH to"), "{again}");

        // The next attempt is acted on at once, or after the interval.
        let outcome = driver.say("LINK_HANDOVER_IMMINENT", AccessPoint::New)?;
        ensure!(outcome != "dropped", "{outcome}");
        let target = driver.wait_for_commit(2)?;
        ensure!(target == json!(AccessPoint::New.id()), "to {target}");
        let removed = driver.stage.par.count("tunnel-removed");
        driver.request(&json!({
            "command": "primitive", "primitive": "LINK_SWITCH",
            "access_point": AccessPoint::New.id(), "error": "no answer to authentication",
        }))?;
        driver
            .stage
            .par
            .wait_for_another("tunnel-removed", removed)?;
        let run = driver.stage.close()?;
        // What went to the new router meanwhile was held there for nobody, twice.
        let discarded = driver.stage.discarded(Router::New)?;
        check("downlink", &run.downlink, Harm::LostAtMost(discarded))?;
        check("uplink", &run.uplink, Harm::None)
    });
}

// Rows: W16-03
#[test]
fn garbage_is_refused_by_field_and_a_flood_is_damped_and_both_are_counted() {
    play(|driver| {
        let ap = AccessPoint::New.id();
        let refused = [
            (
                json!({"command": "primitive", "primitive": "LINK_SIDEWAYS", "access_point": ap}),
                "primitive: \"LINK_SIDEWAYS\" is none: there are NEW_LINK_DETECTED (LINK_DETECTED)",
            ),
            (json!({"command": "primitive"}), "missing field `primitive`"),
            (
                json!({"command": "primitive", "primitive": "LINK_UP"}),
                "access_point: LINK_UP needs",
            ),
            (
                json!({"command": "primitive", "primitive": "LINK_UP", "access_point": 7}),
                "access_point: 7 is not",
            ),
            (
                json!({"command": "primitive", "primitive": "LINK_HANDOVER_IMMINENT",
                    "access_point": "ff:ff:ff:ff:ff:ff"}),
                "access_point: ff:ff:ff:ff:ff:ff is no unicast link-layer address",
            ),
            (
                json!({"command": "trigger", "trigger": "impend",
                    "access_point": "00:00:00:00:00:00"}),
                "access_point: 00:00:00:00:00:00 is no unicast link-layer address",
            ),
        ];
        for (request, expected) in &refused {
            let error = driver.stage.controllers.mn.request(request).unwrap_err();
            let error = format!("{error:#}");
            ensure!(error.contains(expected), "{error}");
        }
        let at_router = json!({"command": "primitive", "primitive": "LINK_DOWN"});
        let error = driver
            .stage
            .controllers
            .par
            .request(&at_router)
            .unwrap_err();
        ensure!(
            error.to_string().contains("is for a mobile node"),
            "{error}"
        );

        let by_hand = driver.command_line(&["LINK_UP", "01:00:5e:00:00:01"])?;
        ensure!(by_hand.status.code() == Some(1), "{by_hand:?}");
        let said = String::from_utf8_lossy(&by_hand.stderr);
        ensure!(said.contains("access_point: 01:00:5e:00:00:01"), "{said}");
        let counted = driver.status("/control/refused_primitives")?;
        // The last was refused by the program itself.
        ensure!(counted == refused.len() as u64, "{counted}");

        let begun = Instant::now();
        for n in 0..1_000_u16 {
            let [high, low] = n.to_be_bytes();
            let request = json!({
                "command": "primitive", "primitive": "LINK_DETECTED",
                "access_point": format!("02:ee:00:00:{high:02x}:{low:02x}"),
            });
            driver.request(&request)?;
        }
        let asked = driver.status("/signalling/sent-rtsolpr")?;
        // MAX_RTSOLPR_RATE is 3.
        let most = 3 * (1 + begun.elapsed().as_secs());
        ensure!(
            (1..=most).contains(&asked),
            "{asked} RtSolPr, and not {most}"
        );
        let flooded = driver.status("/damping/flooded-new-links")?;
        let told = 32 + 2 * (1 + begun.elapsed().as_secs());
        ensure!(flooded >= 1_000 - told, "{flooded}");

        // And in the midst of it all somebody moves the node by hand.
        let arguments = ["LINK_HANDOVER_IMMINENT", ap];
        let by_hand = driver.command_line(&arguments)?;
        ensure!(by_hand.status.success(), "{by_hand:?}");
        ensure!(by_hand.stdout.is_empty(), "{by_hand:?}");
        driver.wait_for_commit(1)?;
        let again = driver.command_line(&arguments)?;
        ensure!(again.stdout.starts_with(b"dropped: "), "{again:?}");
        driver.obey()?;
        let run = driver.stage.close()?;
        check("downlink", &run.downlink, Harm::None)?;
        check("uplink", &run.uplink, Harm::None)
    });
}
