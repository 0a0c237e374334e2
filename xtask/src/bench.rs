//! `cargo xtask bench`: figures measured on this machine.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches};

use crate::{setup, step};

pub(crate) fn command_line() -> clap::Command {
    clap::Command::new("bench")
        .about("Measures; alone on the machine, or the figures are the neighbors' too")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            clap::Command::new("core")
                .about("Handovers through the routers' protocol core: rate, memory, growth")
                .arg(
                    Arg::new("json")
                        .long("json")
                        .action(ArgAction::SetTrue)
                        .help("Print an array of objects, alone on standard output"),
                ),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("core", matches)) => core(matches),
        _ => unreachable!("clap accepts no other subcommand"),
    }
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
