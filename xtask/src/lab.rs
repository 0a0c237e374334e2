//! `cargo xtask lab`: lists the scenarios of the link layers, or builds what they need and plays one.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, value_parser};

use crate::{machine, setup, step};

pub(crate) fn command_line() -> clap::Command {
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("list")
            .help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    clap::Command::new("lab")
        .about(
            "Plays a scenario of RFC 4260 (802.11) or RFC 5270 (802.16e), and draws what happened",
        )
        .arg(flag("list", "List the scenarios"))
        .arg(
            Arg::new("scenario")
                .long("scenario")
                .value_name("NAME")
                .help(
                    "Play this one; the exit code is 0 only if its order and its losses are right",
                ),
        )
        .group(
            ArgGroup::new("what")
                .args(["list", "scenario"])
                .required(true),
        )
        .arg(flag(
            "json",
            "Print one JSON value, alone on standard output",
        ))
        .arg(path("svg", "FILE", "Draw the ladder into FILE, too"))
        .arg(path(
            "output",
            "DIR",
            "Write NAME.txt, NAME.svg and NAME.json into DIR, too",
        ))
        .arg(flag("verbose", "Show what the build prints"))
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let plays = !matches.get_flag("list");
    if plays {
        // All that can be known to fail is looked at before the long build.
        machine::check_kernel()?;
        machine::check_rights("lab")?;
        setup::ensure(setup::FOR_THE_LAB)?;
    } else {
        setup::ensure(setup::TO_LOAD)?;
    }
    let (label, args): (_, &[&str]) = if plays {
        (
            "building the BPF programs, the controller and the lab",
            &[
                "--release",
                "--package",
                "fmip-ctl",
                "--bins",
                "--package",
                "fmip-tests",
            ],
        )
    } else {
        // What only prints its own table is built without what makes it fast.
        (
            "building the lab",
            &["--package", "fmip-tests", "--bin", "fmip-lab"],
        )
    };
    let built = step::build(label, args, matches.get_flag("verbose"))?;
    let controller = if plays {
        Some(built.program("fmip-ctl")?)
    } else {
        None
    };
    let mut command = Command::new(built.program("fmip-lab")?);
    command.args(lab_arguments(controller, matches));
    command.env("PATH", machine::search_path());
    // In our place, so that signals reach it and its exit code is ours.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", command.get_program().display()))
}

fn lab_arguments(controller: Option<&Path>, matches: &ArgMatches) -> Vec<OsString> {
    let scenario = matches.get_one::<String>("scenario");
    let mut arguments: Vec<OsString> = match scenario.zip(controller) {
        None => vec!["scenarios".into()],
        Some((name, controller)) => vec![
            "scenario".into(),
            "--fmip-ctl".into(),
            controller.as_os_str().into(),
            name.into(),
        ],
    };
    if matches.get_flag("json") {
        arguments.push("--json".into());
    }
    for name in ["svg", "output"] {
        if let Some(path) = matches.get_one::<PathBuf>(name) {
            arguments.extend([format!("--{name}").into(), path.into()]);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> OsString {
        let matches = command_line()
            .try_get_matches_from(line.split(' '))
            .expect(line);
        let controller = (!matches.get_flag("list")).then_some(Path::new("/t/fmip-ctl"));
        lab_arguments(controller, &matches).join(" ".as_ref())
    }

    #[test]
    fn the_lab_is_told_what_to_list_or_to_play() {
        assert_eq!(arguments("lab --list"), "scenarios");
        assert_eq!(arguments("lab --list --json"), "scenarios --json");
        assert_eq!(
            arguments("lab --scenario x --json --svg a.svg --output d"),
            "scenario --fmip-ctl /t/fmip-ctl x --json --svg a.svg --output d"
        );
    }

    #[test]
    fn one_thing_is_asked_for() {
        for line in [
            "lab",
            "lab --json",
            "lab --list --scenario x",
            "lab --list --svg a.svg",
        ] {
            let result = command_line().try_get_matches_from(line.split(' '));
            assert!(result.is_err(), "{line}");
        }
    }
}
