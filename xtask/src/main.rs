//! `cargo xtask`: everything that is done to this repository, from an empty machine to a running
//! handover; one file per subcommand.
//!
//! Progress and findings go to standard error always, so that `--json` has standard output alone.

use std::process::ExitCode;

use clap::{Command, error::ErrorKind};

mod bench;
mod build_and_load;
mod check;
mod conformance;
mod lab;
mod machine;
mod setup;
mod step;
mod test;
mod vm_test;
// Shared with fmip-ctl/build.rs, which is its other reader.
#[path = "../../fmip-ebpf/toolchain.rs"]
#[allow(dead_code, reason = "only the build script builds the object")]
mod toolchain;

fn command_line() -> Command {
    Command::new("xtask")
        .bin_name("cargo xtask")
        .about("Sets up this machine for fmip, builds it, shows a handover, runs the tests")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(setup::command_line())
        .subcommand(build_and_load::command_line())
        .subcommand(test::command_line())
        .subcommand(vm_test::command_line())
        .subcommand(check::command_line())
        .subcommand(conformance::command_line())
        .subcommand(bench::command_line())
        .subcommand(lab::command_line())
}

fn main() -> ExitCode {
    let matches = match command_line().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp);
            // A closed pipe behind `--help` is no error of ours.
            let _ = error.print();
            return ExitCode::from(if asked { 0 } else { 2 });
        }
    };
    let result = match matches.subcommand() {
        Some(("setup", matches)) => setup::run(matches),
        Some(("build-and-load", matches)) => build_and_load::run(matches),
        Some(("test", matches)) => test::run(matches),
        Some(("vm-test", matches)) => vm_test::run(matches),
        Some(("check", matches)) => check::run(matches),
        Some(("conformance", matches)) => conformance::run(matches),
        Some(("bench", matches)) => bench::run(matches),
        Some(("lab", matches)) => lab::run(matches),
        _ => unreachable!("clap accepts no other subcommand"),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command_line().debug_assert();
    }

    #[test]
    fn a_configuration_file_excludes_the_options_of_the_lab() {
        for line in [
            "x build-and-load --config f --keep",
            "x build-and-load --config f --json",
            "x build-and-load --config f --gap-ms 5",
        ] {
            let error = super::command_line()
                .try_get_matches_from(line.split(' '))
                .expect_err(line);
            assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
        }
    }
}
