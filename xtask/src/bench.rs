//! `cargo xtask bench`: figures measured on this machine.

use std::{
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::{machine, setup, step};

pub(crate) fn command_line() -> clap::Command {
    let json = || {
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print an array of objects, alone on standard output")
    };
    let data_path = |command: clap::Command| {
        command
            .arg(json())
            .arg(
                Arg::new("only")
                    .long("only")
                    .value_name("NAME")
                    .action(ArgAction::Append)
                    .help("Only figures whose key begins so; may be given several times"),
            )
            .arg(
                Arg::new("plots")
                    .long("plots")
                    .value_name("DIR")
                    .value_parser(value_parser!(PathBuf))
                    .help("Draw the plots, too, as SVG files in this directory"),
            )
            .arg(
                Arg::new("quick")
                    .long("quick")
                    .action(ArgAction::SetTrue)
                    .help("Few and short measurements: to see that everything runs"),
            )
    };
    let command = clap::Command::new("bench")
        .about("Measures; alone on the machine, or the figures are the neighbors' too")
        .args_conflicts_with_subcommands(true)
        .subcommand(
            clap::Command::new("core")
                .about("Handovers through the routers' protocol core: rate, memory, growth")
                .arg(json()),
        )
        .subcommand(data_path(clap::Command::new("data-path").about(
            "Packets, beside the kernel's own ways and bare XDP; without a subcommand, too",
        )));
    data_path(command)
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("core", matches)) => core(matches),
        Some(("data-path", matches)) => data_path(matches),
        None => data_path(matches),
        _ => unreachable!("clap accepts no other subcommand"),
    }
}

fn data_path(matches: &ArgMatches) -> Result<ExitCode> {
    machine::check_rights("bench")?;
    // Handovers are measured in a network of namespaces.
    setup::ensure(setup::FOR_THE_LAB)?;
    let built = step::build(
        "building the data path and its bench",
        &[
            "--release",
            "--package",
            "fmip-ctl",
            "--package",
            "fmip-tests",
            "--bins",
        ],
        false,
    )?;
    let mut command = Command::new(built.program("fmip-bench")?);
    command.env("PATH", machine::search_path());
    command.arg("--fmip-ctl").arg(built.program("fmip-ctl")?);
    for flag in ["json", "quick"] {
        if matches.get_flag(flag) {
            command.arg(format!("--{flag}"));
        }
    }
    for name in matches.get_many::<String>("only").unwrap_or_default() {
        command.arg("--only").arg(name);
    }
    if let Some(directory) = matches.get_one::<PathBuf>("plots") {
        command.arg("--plots").arg(directory);
    }
    eprintln!("bench: some minutes, on a machine that does nothing else");
    // In our place, so that signals reach it and its exit code is ours.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", command.get_program().display()))
}

fn core(matches: &ArgMatches) -> Result<ExitCode> {
    // The core is a module of the controller, which embeds the BPF programs.
    setup::ensure(setup::TO_LOAD)?;
    let built = step::build(
        "building the benchmark of the core",
        &["--release", "--package", "fmip-ctl", "--bench", "core"],
        false,
    )?;
    let mut command = Command::new(built.bench("core")?);
    if matches.get_flag("json") {
        command.arg("--json");
    }
    eprintln!("bench core: half a minute, on a machine that does nothing else");
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_path_is_measured_with_and_without_its_name() {
        for line in [
            "bench --json --only encap --only miss --plots d --quick",
            "bench data-path --json --only encap --only miss --plots d --quick",
        ] {
            let matches = command_line()
                .try_get_matches_from(line.split(' '))
                .expect(line);
            let matches = matches.subcommand().map_or(&matches, |(_, inner)| inner);
            let only: Vec<&String> = matches.get_many("only").expect("two").collect();
            assert_eq!(only, ["encap", "miss"]);
            assert!(matches.get_flag("json") && matches.get_flag("quick"));
        }
        assert!(
            command_line()
                .try_get_matches_from(["bench", "--quick", "core"])
                .is_err()
        );
    }
}
