//! `cargo xtask build-and-load`: builds the programs and the controller, then runs them: on this
//! router with a configuration file, in a lab of network namespaces without one.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::{machine, setup, step};

pub(crate) fn command_line() -> clap::Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .conflicts_with("config")
            .help(help)
    };
    clap::Command::new("build-and-load")
        .about("Builds all, then shows a handover in a lab or runs the controller on this router")
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Run the controller on this machine's interfaces as FILE says"),
        )
        .arg(
            Arg::new("keep")
                .long("keep")
                .action(ArgAction::SetTrue)
                .conflicts_with("config")
                .help("Leave the lab standing, and say how to look into it"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .conflicts_with("config")
                .help("Print the report as one JSON object, alone on standard output"),
        )
        .arg(
            number(
                "gap-ms",
                "200",
                "Milliseconds between detaching from one access point and attaching to the next",
            )
            .value_parser(value_parser!(u32)),
        )
        .arg(
            number("rate", "1000", "Packets per second in each direction")
                .value_parser(value_parser!(u32).range(1..)),
        )
        .arg(
            number("size", "200", "Bytes of each packet")
                .value_parser(value_parser!(u32).range(1..)),
        )
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .action(ArgAction::SetTrue)
                .help("Show what the build prints"),
        )
        .arg(
            Arg::new("lab")
                .last(true)
                .num_args(0..)
                .value_name("ARGS")
                .value_parser(value_parser!(OsString))
                .conflicts_with("config")
                .help("More options of the lab, such as --log-level debug"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    // All that can be known to fail is looked at before the long build.
    machine::check_kernel()?;
    machine::check_rights("build-and-load")?;
    let config = matches.get_one::<PathBuf>("config");
    if let Some(path) = config {
        File::open(path)
            .and_then(|file| file.metadata())
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    }
    setup::ensure(match config {
        Some(_) => setup::TO_LOAD,
        None => setup::FOR_THE_LAB,
    })?;

    let mut args = vec!["--release", "--package", "fmip-ctl", "--bins"];
    if config.is_none() {
        args.extend(["--package", "fmip-tests"]);
    }
    let built = step::build(
        "building the BPF programs and the controller",
        &args,
        matches.get_flag("verbose"),
    )?;
    let controller = built.program("fmip-ctl")?;
    let mut command = match config {
        Some(path) => controller_command(controller, path),
        None => {
            let mut command = Command::new(built.program("fmip-lab")?);
            command.args(lab_arguments(controller, matches));
            command.env("PATH", machine::search_path());
            command
        }
    };
    // In our place, so that signals reach it and its exit code is ours.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", command.get_program().display()))
}

fn controller_command(controller: &Path, config: &Path) -> Command {
    let mut command = Command::new(controller);
    command.args(["run", "--config"]).arg(config);
    command
}

fn lab_arguments(controller: &Path, matches: &ArgMatches) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        "handover".into(),
        "--fmip-ctl".into(),
        controller.as_os_str().into(),
    ];
    for name in ["gap-ms", "rate", "size"] {
        let value: u32 = *matches.get_one(name).expect("it has a default");
        arguments.extend([format!("--{name}").into(), value.to_string().into()]);
    }
    for name in ["json", "keep"] {
        if matches.get_flag(name) {
            arguments.push(format!("--{name}").into());
        }
    }
    arguments.extend(
        matches
            .get_many::<OsString>("lab")
            .unwrap_or_default()
            .cloned(),
    );
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<OsString> {
        let matches = command_line()
            .try_get_matches_from(line.split(' '))
            .expect(line);
        lab_arguments(Path::new("/t/fmip-ctl"), &matches)
    }

    #[test]
    fn the_lab_gets_every_option_with_its_default() {
        assert_eq!(
            arguments("build-and-load").join(" ".as_ref()),
            "handover --fmip-ctl /t/fmip-ctl --gap-ms 200 --rate 1000 --size 200"
        );
        assert_eq!(
            arguments("build-and-load --json --rate 5000 --gap-ms 0 --keep").join(" ".as_ref()),
            "handover --fmip-ctl /t/fmip-ctl --gap-ms 0 --rate 5000 --size 200 --json --keep"
        );
        assert_eq!(
            arguments("build-and-load --gap-ms 50 -- --drain burst").join(" ".as_ref()),
            "handover --fmip-ctl /t/fmip-ctl --gap-ms 50 --rate 1000 --size 200 --drain burst"
        );
    }

    #[test]
    fn a_rate_of_nothing_is_refused() {
        for line in ["x --rate 0", "x --size 0", "x --gap-ms -1", "x --rate many"] {
            assert!(
                command_line()
                    .try_get_matches_from(line.split(' '))
                    .is_err()
            );
        }
    }
}
