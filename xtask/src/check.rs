//! `cargo xtask check`: formatting, lints and documentation, as far as the tools are installed.

use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;
use clap::ArgMatches;

use crate::{setup, step};

pub(crate) fn command_line() -> clap::Command {
    clap::Command::new("check").about("Checks formatting, lints and documentation; changes nothing")
}

pub(crate) fn run(_: &ArgMatches) -> Result<ExitCode> {
    setup::ensure(setup::FOR_THE_TESTS)?;
    let mut failed = false;
    for (component, label, args, env) in [
        (
            "fmt",
            "check: formatting",
            &["fmt", "--all", "--check"][..],
            None,
        ),
        (
            "clippy",
            "check: lints",
            // The BPF programs are no crate for the host.
            &[
                "clippy",
                "--workspace",
                "--exclude",
                "fmip-ebpf",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
            None,
        ),
        (
            "doc",
            "check: documentation",
            &["doc", "--workspace", "--exclude", "fmip-ebpf", "--no-deps"],
            Some(("RUSTDOCFLAGS", "-D warnings")),
        ),
    ] {
        if !is_installed(component) {
            println!("{label}: SKIPPED, cargo {component} is not installed");
            continue;
        }
        let mut command = step::cargo();
        command.args(args).envs(env);
        if let Err(error) = step::run(label, &mut command, false) {
            eprintln!("{error:#}");
            failed = true;
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn is_installed(component: &str) -> bool {
    Command::new(step::cargo_program())
        .args([component, "--help"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
