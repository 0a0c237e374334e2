//! Which test programs there are, built on this machine, and which of them somebody wants.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

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

/// What cargo has built.
#[derive(Debug)]
pub(super) struct Built {
    /// The test programs, in order of their names.
    pub(super) tests: Vec<Program>,
    /// The programs that the tests of the lab run, which they look for beside themselves.
    pub(super) helpers: Vec<PathBuf>,
}

/// Builds every test program that says something about a kernel, or only those that are chosen.
pub(super) fn build(choices: &[Choice]) -> Result<Built> {
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
    Ok(Built {
        tests: programs(&messages),
        helpers: messages
            .iter()
            .filter_map(|message| helper(message))
            .collect(),
    })
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

/// Programs that the tests run are built, too, and are no tests.
fn is_test(message: &str) -> Option<bool> {
    let profile = message.split_once("\"profile\":{")?.1;
    let (profile, _) = profile.split_once('}')?;
    Some(profile.contains("\"test\":true"))
}

fn folder(message: &str) -> Option<PathBuf> {
    let manifest = step::text_behind(message, "\"manifest_path\":\"")?;
    Path::new(&manifest).parent().map(Path::to_owned)
}

/// The file of a program of the lab's.
fn helper(message: &str) -> Option<PathBuf> {
    if is_test(message)? || !folder(message)?.ends_with(KERNEL_TESTS) {
        return None;
    }
    step::text_behind(message, "\"executable\":\"").map(PathBuf::from)
}

fn program(message: &str) -> Option<Program> {
    if !is_test(message)? {
        return None;
    }
    let executable = step::text_behind(message, "\"executable\":\"")?;
    let folder = folder(message)?;
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

impl Program {
    /// Whether it is one of those whose tests need a kernel: each is run by itself, so that one that
    /// hangs costs no other its turn, and one that brings the machine down is known by its name.
    fn needs_a_kernel(&self) -> bool {
        self.folder.ends_with(KERNEL_TESTS)
    }

    /// Takes it under another name, in that folder: somebody who builds while the machine runs shall not
    /// change what runs there.
    pub(super) fn keep(&mut self, folder: &Path) -> Result<()> {
        self.executable = keep(&self.executable, folder)?;
        Ok(())
    }

    /// The names of its tests: all, or those that contain one of `filters`.
    pub(super) fn tests(&self, filters: &[String]) -> Result<Vec<String>> {
        let mut command = Command::new(&self.executable);
        command
            .args(["--list", "--format=terse"])
            .args(filters)
            .current_dir(&self.folder);
        let lines = step::run(
            &format!("vm-test: the tests of {}", self.name),
            &mut command,
            false,
        )?;
        Ok(listed(&lines))
    }
}

/// Another name for a file, in that folder: what is built later is another file. Or a copy, where the
/// folder is on another disk.
pub(super) fn keep(file: &Path, folder: &Path) -> Result<PathBuf> {
    let name = file.file_name().context("a program has a name")?;
    let kept = folder.join(name);
    if fs::hard_link(file, &kept).is_err() {
        fs::copy(file, &kept)
            .with_context(|| format!("cannot copy {} to {}", file.display(), kept.display()))?;
    }
    Ok(kept)
}

/// The tests in what a harness lists.
fn listed(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

/// Seconds that are allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// To one test that needs a kernel.
    pub(super) test: u32,
    /// To a program of other tests, which run beside each other.
    pub(super) program: u32,
}

/// The jobs for the programs that are wanted: those of `choices` in that order, else all. `tests` tells
/// the names of a program's tests that contain one of some words, or of all.
///
/// # Errors
/// If there is no program of a choice's name, all are listed then; or none of its tests has such a name.
pub(super) fn jobs(
    programs: &[Program],
    choices: &[Choice],
    limits: Limits,
    tests: impl Fn(&Program, &[String]) -> Result<Vec<String>>,
) -> Result<Vec<Job>> {
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
    let place = |program: &Program| choices.iter().position(|of| of.program == program.name);
    let mut wanted: Vec<&Program> = programs
        .iter()
        .filter(|program| choices.is_empty() || place(program).is_some())
        .collect();
    wanted.sort_by_key(|program| place(program));
    let mut jobs = Vec::new();
    for program in wanted {
        let own: Vec<&Choice> = choices
            .iter()
            .filter(|of| of.program == program.name)
            .collect();
        // Several filters are alternatives to the harness.
        let filters: Vec<String> = match own.iter().all(|of| of.filter.is_some()) {
            true => own.iter().filter_map(|of| of.filter.clone()).collect(),
            false => Vec::new(),
        };
        // What a test prints is there even if the program never comes to its end.
        let mut arguments = vec!["--color=never".to_owned(), "--nocapture".to_owned()];
        let job = |test, arguments, limit| Job {
            name: program.name.clone(),
            test,
            program: program.executable.display().to_string(),
            folder: program.folder.display().to_string(),
            arguments,
            limit,
        };
        if !program.needs_a_kernel() {
            // Their lines would be mixed up.
            arguments.pop();
            arguments.extend(filters);
            jobs.push(job(None, arguments, limits.program));
            continue;
        }
        let tests = tests(program, &filters)?;
        if tests.is_empty() && !filters.is_empty() {
            bail!(
                "no test of {} has {} in its name",
                program.name,
                filters.join(" or ")
            );
        }
        arguments.extend(["--test-threads=1".to_owned(), "--exact".to_owned()]);
        jobs.extend(tests.into_iter().map(|test| {
            let arguments = arguments.iter().chain([&test]).cloned().collect();
            job(Some(test), arguments, limits.test)
        }));
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
    fn programs_of_the_lab_are_found_in_cargos_messages() {
        let found = |message: String| helper(&message);
        let wifi = message("bin", "fmip-wifi", false, "tests");
        assert_eq!(found(wifi), Some("/t/fmip-wifi-1".into()));
        let library = "\"executable\":\"/t/fmip-wifi-1\"";
        let library =
            message("lib", "fmip-wifi", false, "tests").replace(library, "\"executable\":null");
        assert_eq!(found(library), None);
        assert_eq!(found(message("bin", "fmip-wifi", true, "tests")), None);
        assert_eq!(found(message("bin", "fmip-ctl", false, "fmip-ctl")), None);
    }

    #[test]
    fn test_programs_are_found_in_cargos_messages() {
        let names: Vec<String> = some().into_iter().map(|of| of.name).collect();
        assert_eq!(names, ["fmip-ctl", "fmip-lab (program)", "modes"]);
    }

    const LIMITS: Limits = Limits {
        test: 9,
        program: 99,
    };

    /// As a harness with these tests lists them.
    fn tests_of(_: &Program, filters: &[String]) -> Result<Vec<String>> {
        let all = ["a::b", "a::c", "d"].map(str::to_owned);
        let is_wanted = |name: &String| {
            filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
        };
        Ok(all.into_iter().filter(is_wanted).collect())
    }

    fn jobs_of(choices: &[&str]) -> Result<Vec<Job>> {
        let choices: Vec<_> = choices.iter().map(|text| Choice::read(text)).collect();
        jobs(&some(), &choices, LIMITS, tests_of)
    }

    #[test]
    fn all_are_run_if_none_is_chosen_and_each_of_the_kernels_tests_by_itself() {
        let jobs = jobs_of(&[]).unwrap();
        assert_eq!(jobs.len(), 1 + 3 + 3);
        assert_eq!(jobs[0].folder, "/w/fmip-ctl");
        assert_eq!(jobs[0].arguments, ["--color=never"]);
        assert_eq!((&jobs[0].test, jobs[0].limit), (&None, 99));
        assert_eq!(jobs[5].program, "/t/modes-1");
        assert_eq!(jobs[5].test.as_deref(), Some("a::c"));
        assert_eq!(
            jobs[5].arguments.join(" "),
            "--color=never --nocapture --test-threads=1 --exact a::c"
        );
        assert_eq!(jobs[5].limit, 9);
    }

    #[test]
    fn choices_are_programs_or_tests_of_them_in_that_order() {
        let chosen = |choices: &[&str]| {
            let jobs = jobs_of(choices).unwrap().into_iter();
            jobs.map(|job| format!("{} {}", job.name, job.test.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(&["modes"]), ["modes a::b", "modes a::c", "modes d"]);
        assert_eq!(chosen(&["modes::d", "modes::b"]), ["modes a::b", "modes d"]);
        assert_eq!(chosen(&["modes::d", "modes"]).len(), 3);
        assert_eq!(chosen(&["modes::d", "fmip-ctl"]), ["modes d", "fmip-ctl "]);
        assert_eq!(
            jobs_of(&["fmip-ctl::wire"]).unwrap()[0].arguments,
            ["--color=never", "wire"]
        );
        for (choice, word) in [("nodes", "modes"), ("modes::x::y", "x::y")] {
            let error = jobs_of(&[choice]).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn what_is_built_meanwhile_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("fmip-vm-keep-{}", std::process::id()));
        let kept = folder.join("kept");
        fs::create_dir_all(&kept).unwrap();
        let program = folder.join("modes-1");
        fs::write(&program, "old").unwrap();
        let of_it = keep(&program, &kept).unwrap();
        // As a linker does.
        fs::remove_file(&program).unwrap();
        fs::write(&program, "new").unwrap();
        let read = fs::read_to_string(&of_it).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(of_it, kept.join("modes-1"));
        assert_eq!(read, "old");
    }

    #[test]
    fn tests_are_read_from_what_a_harness_lists() {
        let lines = ["a::b: test", "c: benchmark", "", "d: test"].map(str::to_owned);
        assert_eq!(listed(&lines), ["a::b", "d"]);
    }
}
