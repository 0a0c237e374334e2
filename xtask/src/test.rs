//! `cargo xtask test`: every test of the workspace.
//!
//! Tests that need the kernel are all in the package fmip-tests. They run one after the other,
//! since they measure time and a machine with few processors would have them disturb each other;
//! but for those that play something in a lab of their own, with processes that wait for each other
//! most of the time. The rest runs in parallel.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgMatches};

use crate::{machine, setup, step};

/// The package whose tests need root, a kernel and the machine for themselves.
const KERNEL_TESTS: &str = "fmip-tests";
/// Its programs whose tests play something, each in namespaces of its own, and judge the order of what
/// happened and what was lost, not how fast it was.
const PLAYS: [&str; 5] = [
    "emulated_wifi",
    "hostapd",
    "link_layers",
    "mobile",
    "primitives",
];
/// How many of those are played at a time.
const STAGES: &str = "--test-threads=2";

pub(crate) fn command_line() -> clap::Command {
    clap::Command::new("test")
        .about("Runs all tests; those that need the kernel skip themselves without root")
        .arg(
            Arg::new("package")
                .long("package")
                .short('p')
                .value_name("PACKAGE")
                .help("Only the tests of this package"),
        )
        .arg(
            Arg::new("filter")
                .value_name("FILTER")
                .help("Only tests whose name contains this"),
        )
        .arg(
            Arg::new("harness")
                .last(true)
                .num_args(0..)
                .value_name("ARGS")
                .help("For the test programs, such as --nocapture"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let start = Instant::now();
    setup::ensure(setup::FOR_THE_TESTS)?;
    let package = matches.get_one::<String>("package").map(String::as_str);
    let mut tally = Tally::default();
    let mut failed = false;

    if package != Some(KERNEL_TESTS) {
        let mut command = step::cargo();
        command.args(["test", "--no-fail-fast"]);
        match package {
            Some(package) => command.args(["--package", package]),
            None => command
                .args(["--workspace", "--exclude", "fmip-ebpf"])
                .args(["--exclude", KERNEL_TESTS]),
        };
        failed |= !run_tests(command, matches, &[], &mut tally)?;
    }
    if package.is_none_or(|package| package == KERNEL_TESTS) {
        if machine::is_root() {
            machine::check_kernel()?;
        }
        let built = step::build(
            "building the controller for the tests",
            &["--release", "--package", "fmip-ctl", "--bins"],
            false,
        )?;
        let fmip_ctl = built.program("fmip-ctl")?;
        for (targets, threads) in [(alone()?, "--test-threads=1"), (plays(), STAGES)] {
            let mut command = step::cargo();
            command
                .args(["test", "--no-fail-fast", "--package", KERNEL_TESTS])
                .args(targets)
                .env("PATH", machine::search_path())
                .env("FMIP_CTL", fmip_ctl);
            failed |= !run_tests(command, matches, &[threads], &mut tally)?;
        }
    }

    if tally.skipped > 0 && machine::is_root() {
        failed = true;
        println!("xtask test: as root no test may be skipped; each says above what it misses");
    } else if tally.skipped > 0 {
        println!(
            "xtask test: run as root for the tests of network namespaces and BPF programs, which \
             were skipped"
        );
    }
    if tally.without_kernel > 0 {
        println!(
            "xtask test: {} not run, for want of something in this kernel; each says above of what",
            tally.without_kernel
        );
    }
    println!(
        "xtask test: {}: {} passed, {} failed, {} ignored, {} skipped in {} test programs, {} s",
        if failed { "FAILED" } else { "ok" },
        tally
            .passed
            .saturating_sub(tally.skipped + tally.without_kernel),
        tally.failed,
        tally.ignored,
        tally.skipped,
        tally.programs,
        start.elapsed().as_secs()
    );
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What cargo is to test of the kernel's tests one after the other.
fn alone() -> Result<Vec<String>> {
    let directory = step::workspace_root().join("tests/tests");
    let listed = || format!("cannot list {}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).with_context(listed)? {
        let path = entry.with_context(listed)?.path();
        let is_program = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").is_file();
        if let (true, Some(name)) = (is_program, path.file_stem().and_then(|name| name.to_str())) {
            names.push(name.to_owned());
        }
    }
    names.retain(|name| !PLAYS.contains(&name.as_str()));
    names.sort_unstable();
    let programs = names
        .into_iter()
        .flat_map(|name| ["--test".to_owned(), name]);
    Ok(["--lib", "--bins"]
        .map(str::to_owned)
        .into_iter()
        .chain(programs)
        .collect())
}

/// The same, of those that are played side by side.
fn plays() -> Vec<String> {
    PLAYS
        .iter()
        .flat_map(|name| ["--test", name])
        .map(str::to_owned)
        .collect()
}

/// Runs `cargo test` with its output as it comes; whether all passed.
fn run_tests(
    mut command: Command,
    matches: &ArgMatches,
    harness: &[&str],
    tally: &mut Tally,
) -> Result<bool> {
    command.args(matches.get_one::<String>("filter"));
    command.arg("--").args(harness);
    command.args(matches.get_many::<String>("harness").unwrap_or_default());
    // One pipe for both, so that cargo's headings stay above what they announce.
    let (output, input) = io::pipe().context("cannot make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(input.try_clone().context("cannot share a pipe")?)
        .stderr(input);
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.spawn().context("cannot run cargo test")?;
    // It holds the pipe's other end, without which the pipe would never end.
    drop(command);
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what cargo test prints")?;
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        tally.read(&String::from_utf8_lossy(&line));
    }
    Ok(child.wait()?.success())
}

/// The sum of the test programs' closing lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
    /// Tests that passed because they found that they cannot run here, and said so.
    skipped: u32,
    /// The same, because the kernel was built without what they are about: nobody's rights change that.
    without_kernel: u32,
}

impl Tally {
    /// Counts `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, `SKIPPED: why` and `WITHOUT KERNEL: why`.
    fn read(&mut self, line: &str) {
        // Not at the line's start: the harness has written `test name ... ` before it.
        if line.contains("SKIPPED") {
            self.skipped += 1;
        }
        if line.contains("WITHOUT KERNEL: ") {
            self.without_kernel += 1;
        }
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|result| result.split_once(". "))
        else {
            return;
        };
        self.programs += 1;
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_of_the_kernels_tests_is_run_once() {
        let alone = alone().unwrap();
        for name in ["attach", "prog_run", "journeys", "predictive"] {
            assert!(alone.iter().any(|program| program == name), "{name}");
        }
        let directory = step::workspace_root().join("tests/tests");
        for name in PLAYS {
            assert!(alone.iter().all(|program| program != name), "{name}");
            let file = directory.join(name).with_extension("rs");
            assert!(
                file.is_file() || directory.join(name).join("main.rs").is_file(),
                "there is no program {name}"
            );
        }
    }

    #[test]
    fn closing_lines_are_summed() {
        let mut tally = Tally::default();
        for line in [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a ... ok",
            "test b ... SKIPPED: b: network namespaces need root",
            "test c ... WITHOUT KERNEL: c: it makes no VLAN devices",
            "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s",
        ] {
            tally.read(line);
        }
        assert_eq!(
            tally,
            Tally {
                programs: 2,
                passed: 5,
                failed: 5,
                ignored: 1,
                skipped: 1,
                without_kernel: 1,
            }
        );
    }
}
