//! Which test programs there are, built on this machine, and which of them somebody wants.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::guest::Job;
use crate::step;

/// The folder of the package whose tests need a kernel, one after the other.
const KERNEL_TESTS: &str = "tests";

/// The test program of the real 802.11.
pub(super) const WIFI: &str = "vm_wifi";

/// A test program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// What it is called: an integration test as its file, the tests within a library or a program as
    /// that.
    pub(super) name: String,
    /// Its package's folder.
    folder: PathBuf,
    executable: PathBuf,
}

/// `PROGRAM` or `PROGRAM::FILTER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    program: String,
    filter: Option<String>,
}

impl Choice {
    pub(super) fn read(text: &str) -> Self {
        match text.split_once("::") {
            Some((program, filter)) => Self {
                program: program.to_owned(),
                filter: Some(filter.to_owned()),
            },
            None => Self {
                program: text.to_owned(),
                filter: None,
            },
        }
    }
}

/// Builds every test program that says something about a kernel, or only those that are chosen.
pub(super) fn build(choices: &[Choice]) -> Result<Vec<Program>> {
    let tests = step::workspace_root().join(KERNEL_TESTS).join("tests");
    let is_of_the_lab = |name: &str| {
        tests.join(name).join("main.rs").is_file() || tests.join(format!("{name}.rs")).is_file()
    };
    let mut command = step::cargo();
    command.args(["test", "--no-run"]);
    if !choices.is_empty() && choices.iter().all(|of| is_of_the_lab(&of.program)) {
        command.args(["--package", "fmip-tests"]);
        for choice in choices {
            command.args(["--test", &choice.program]);
        }
    } else {
        command
            .arg("--workspace")
            // The one is no program of this kind of machine, the other looks at no kernel.
            .args(["--exclude", "fmip-ebpf", "--exclude", "xtask"]);
    }
    command.arg("--message-format=json-render-diagnostics");
    let messages = step::run("vm-test: building the tests", &mut command, false)?;
    Ok(programs(&messages))
}

/// The test programs in cargo's messages, in order of their names.
fn programs(messages: &[String]) -> Vec<Program> {
    let mut programs: Vec<Program> = messages
        .iter()
        .filter_map(|message| program(message))
        .collect();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    programs
}

fn program(message: &str) -> Option<Program> {
    // Programs that the tests run are built, too, and are no tests.
    let profile = message.split_once("\"profile\":{")?.1;
    let (profile, _) = profile.split_once('}')?;
    if !profile.contains("\"test\":true") {
        return None;
    }
    let executable = step::text_behind(message, "\"executable\":\"")?;
    let manifest = step::text_behind(message, "\"manifest_path\":\"")?;
    let folder = Path::new(&manifest).parent()?.to_owned();
    let target = message.split_once("\"target\":{")?.1;
    let kind = step::text_behind(target, "\"kind\":[\"")?;
    let name = step::text_behind(target, "\"name\":\"")?;
    Some(Program {
        name: match kind.as_str() {
            "test" => name,
            // A library's and a program's own tests are of one name, if their package is.
            "bin" => format!("{name} (program)"),
            _ => name.replace('_', "-"),
        },
        folder,
        executable: executable.into(),
    })
}

/// The jobs for the programs that are wanted: those of `choices`, else all.
///
/// # Errors
/// If there is no program of a choice's name; all are listed then.
pub(super) fn jobs(programs: &[Program], choices: &[Choice], limit: u32) -> Result<Vec<Job>> {
    for choice in choices {
        if !programs.iter().any(|of| of.name == choice.program) {
            let names: Vec<&str> = programs.iter().map(|of| of.name.as_str()).collect();
            bail!(
                "there is no test program {:?}; there are: {}",
                choice.program,
                names.join(", ")
            );
        }
    }
    let mut jobs = Vec::new();
    for program in programs {
        let all = [Choice {
            program: program.name.clone(),
            filter: None,
        }];
        let wanted = if choices.is_empty() { &all } else { choices };
        let wanted: Vec<_> = wanted
            .iter()
            .filter(|of| of.program == program.name)
            .collect();
        // Several filters are alternatives to the harness.
        let filters: Vec<_> = wanted.iter().filter_map(|of| of.filter.clone()).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut arguments = vec!["--color=never".to_owned()];
        if program.folder.ends_with(KERNEL_TESTS) {
            arguments.push("--test-threads=1".to_owned());
        }
        if wanted.iter().all(|of| of.filter.is_some()) {
            arguments.extend(filters);
        }
        jobs.push(Job {
            name: program.name.clone(),
            program: program.executable.display().to_string(),
            folder: program.folder.display().to_string(),
            arguments,
            limit,
        });
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, name: &str, test: bool, package: &str) -> String {
        format!(
            "{{\"reason\":\"compiler-artifact\",\"package_id\":\"path+file:///w/{package}#0.1.0\",\
             \"manifest_path\":\"/w/{package}/Cargo.toml\",\"target\":{{\"kind\":[\"{kind}\"],\
             \"crate_types\":[\"bin\"],\"name\":\"{name}\",\"src_path\":\"/w/x.rs\",\
             \"edition\":\"2024\",\"doc\":false,\"doctest\":false,\"test\":true}},\
             \"profile\":{{\"opt_level\":\"0\",\"debuginfo\":2,\"test\":{test}}},\
             \"features\":[],\"filenames\":[\"/t/{name}-1\"],\"executable\":\"/t/{name}-1\",\
             \"fresh\":true}}"
        )
    }

    fn some() -> Vec<Program> {
        programs(&[
            message("test", "modes", true, "tests"),
            message("bin", "fmip-lab", false, "tests"),
            message("bin", "fmip-lab", true, "tests"),
            message("lib", "fmip_ctl", true, "fmip-ctl"),
            "{\"reason\":\"build-finished\",\"success\":true}".to_owned(),
        ])
    }

    #[test]
    fn test_programs_are_found_in_cargos_messages() {
        let names: Vec<String> = some().into_iter().map(|of| of.name).collect();
        assert_eq!(names, ["fmip-ctl", "fmip-lab (program)", "modes"]);
    }

    #[test]
    fn all_are_run_if_none_is_chosen_and_the_kernels_one_test_at_a_time() {
        let jobs = jobs(&some(), &[], 9).unwrap();
        assert_eq!(jobs.len(), 3);
        assert_eq!(jobs[0].folder, "/w/fmip-ctl");
        assert_eq!(jobs[0].arguments, ["--color=never"]);
        assert_eq!(jobs[2].program, "/t/modes-1");
        assert_eq!(jobs[2].arguments, ["--color=never", "--test-threads=1"]);
        assert_eq!(jobs[2].limit, 9);
    }

    #[test]
    fn choices_are_programs_or_tests_of_them() {
        let arguments = |choices: &[&str]| {
            let choices: Vec<_> = choices.iter().map(|text| Choice::read(text)).collect();
            let jobs = jobs(&some(), &choices, 9).unwrap();
            assert_eq!(jobs.len(), 1);
            jobs[0].arguments.join(" ")
        };
        assert_eq!(arguments(&["modes"]), "--color=never --test-threads=1");
        assert_eq!(
            arguments(&["modes::a::b", "modes::c"]),
            "--color=never --test-threads=1 a::b c"
        );
        assert_eq!(
            arguments(&["modes::a", "modes"]),
            "--color=never --test-threads=1"
        );
        let error = jobs(&some(), &[Choice::read("nodes")], 9).unwrap_err();
        assert!(error.to_string().contains("modes"), "{error}");
    }
}
