//! `fmip-lab` as a program: what it prints, and that it leaves nothing behind.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fmip_tests::{netns, testing, wait::SOON, wait_until};
use rustix::process::{Pid, Signal, kill_process};

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_fmip-lab"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn namespaces_of(process: u32) -> Vec<String> {
    let prefix = format!("fmip-{process}x");
    let mut names = netns::list().unwrap();
    names.retain(|name| name.starts_with(&prefix));
    names
}

fn directory_of(process: u32) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("fmip-lab-{process}x1"))
}

#[test]
fn with_json_standard_output_is_one_object_and_nothing_stays() {
    let Some(_turn) = testing::turn() else { return };
    let child = start(&["handover", "--plain-only", "--json", "--rate", "100"]);
    let process = child.id();
    let output = child.wait_with_output().unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{progress}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["plain"]["downlink"]["sent"].as_u64().unwrap() > 0);
    assert!(report["plain"]["fbu_to_fback_us"].is_null());
    assert_eq!(namespaces_of(process), Vec::<String>::new());
    assert!(!directory_of(process).exists());
}

#[test]
fn interrupted_in_the_middle_it_removes_everything() {
    let Some(_turn) = testing::turn() else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = start(&["handover", "--plain-only", "--rate", "100"]);
        let process = child.id();
        wait_until("the lab to stand", SOON, || {
            Ok((namespaces_of(process).len() == 6).then_some(()))
        })
        .unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = wait_until("fmip-lab to end", SOON, || Ok(child.try_wait()?)).unwrap();
        assert_eq!(status.code(), Some(130), "after {signal:?}");
        assert_eq!(namespaces_of(process), Vec::<String>::new());
        assert!(!directory_of(process).exists());
    }
}

#[test]
fn a_lab_whose_runner_was_killed_is_found_and_removed() {
    let Some(_turn) = testing::turn() else { return };
    let mut child = start(&["handover", "--plain-only", "--rate", "100"]);
    let process = child.id();
    wait_until("the lab to stand", SOON, || {
        Ok((namespaces_of(process).len() == 6).then_some(()))
    })
    .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let clean = start(&["clean", &format!("{process}x1")]);
    let output = clean.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(namespaces_of(process), Vec::<String>::new());
    assert!(!directory_of(process).exists());
    let radvd = format!("fmip-lab-{process}x1");
    wait_until("radvd to end", Duration::from_secs(5), || {
        let running = fs::read_dir("/proc")?.flatten().any(|process| {
            let command_line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command_line).contains(&radvd)
        });
        Ok((!running).then_some(()))
    })
    .unwrap();
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let Some(_turn) = testing::turn() else { return };
    for (arguments, word) in [
        (["handover", "--size", "71"], "71 bytes"),
        (["handover", "--rate", "0"], "rate of 0"),
        (["clean", "--", "1x9"], "no lab 1x9"),
        (
            ["handover", "--fmip-ctl", "/nowhere/fmip-ctl"],
            "/nowhere/fmip-ctl",
        ),
    ] {
        let output = start(&arguments).wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn the_scenarios_are_listed_for_people_and_for_machines() {
    let output = start(&["scenarios"]).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let output = start(&["scenarios", "--json"]).wait_with_output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(text.lines().count(), list.len());
    for (line, scenario) in text.lines().zip(list) {
        assert!(
            line.starts_with(scenario["name"].as_str().unwrap()),
            "{line}"
        );
        assert!(
            line.contains(scenario["source"].as_str().unwrap()),
            "{line}"
        );
    }
}

#[test]
fn an_unknown_scenario_is_answered_with_those_that_there_are() {
    let Some(_turn) = testing::turn() else { return };
    let output = start(&["scenario", "by-magic"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("by-magic") && error.contains("rfc4260-1abcdef23456g"),
        "{error}"
    );
}

#[test]
fn a_scenario_is_told_and_drawn_in_every_form() {
    let Some(_turn) = testing::turn() else { return };
    let name = "rfc4260-1abcdef23456g";
    let directory = std::env::temp_dir().join(format!("fmip-ladders-{}", std::process::id()));
    let one = directory.join("one.svg");
    let (directory_name, one_name) = (directory.to_str().unwrap(), one.to_str().unwrap());
    let child = start(&[
        "scenario",
        name,
        "--json",
        "--output",
        directory_name,
        "--svg",
        one_name,
    ]);
    let process = child.id();
    let output = child.wait_with_output().unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{progress}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["name"], name);
    assert_eq!(told["run"]["downlink"]["lost"], 0);
    let rows = told["ladder"].as_array().unwrap();
    let is_una = |row: &serde_json::Value| {
        let what = row["what"].as_str().unwrap_or_default();
        row["from"] == "mn-l3" && row["to"] == "nar" && what.starts_with("UNA ")
    };
    assert!(rows.iter().any(is_una), "{told}");
    let file = |extension: &str| {
        let path = directory.join(format!("{name}.{extension}"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    assert_eq!(file("json").as_bytes(), output.stdout);
    assert!(file("txt").contains("MN L2") && file("txt").contains("downlink"));
    assert!(file("svg").starts_with("<svg") && file("svg").contains("LSW"));
    assert_eq!(fs::read_to_string(&one).unwrap(), file("svg"));
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(namespaces_of(process), Vec::<String>::new());
}
