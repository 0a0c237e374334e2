//! `cargo xtask vm-test`: the tests on another kernel, and with real 802.11, in a virtual machine.
//!
//! What it is for:
//!
//! - the oldest kernel that is supported in earnest, Debian's 6.1, which this machine need not run;
//! - 802.11 as Linux has it (mac80211, cfg80211, nl80211, hostapd, wpa_supplicant, WPA2) over radios
//!   that the kernel simulates (mac80211_hwsim), which few machines' kernels have: the test program
//!   `vm_wifi`. How long a roam takes there, and what of a live stream is lost, reordered or late, is
//!   what it measures and reports.
//!
//! What it needs beside what `cargo xtask setup` installs for the tests: qemu, hostapd, wpa_supplicant, iw
//! and a static busybox. What of these is missing is downloaded as Debian packages and unpacked under
//! target/vm, as the kernel is; of these nothing is installed, nor is root needed for them, and this
//! machine's kernel and interfaces are left alone. Without hardware
//! virtualisation qemu emulates the processor: the code in the machine is then about ten times slower,
//! while its clock keeps the real time. The tests are built on this machine: the machine in it sees this
//! machine's files, read-only, and keeps in memory what it writes.
//!
//! Exit codes: 0, all passed; 1, something failed; 77, it could not run, and said why.

use std::{
    env, fmt,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use self::{
    emulator::{Accelerator, Machine, Told},
    guest::{Job, Line, Plan},
    kernel::{Kernel, Wish},
    results::{End, Outcome, Results, Tally},
    suite::{Built, Choice, Limits},
    tools::Tools,
};
use crate::{machine, setup, step};

mod archive;
mod emulator;
mod guest;
mod kernel;
mod modules;
mod results;
mod suite;
mod tools;

/// The exit code for "could not run", as other test tools have it.
const COULD_NOT_RUN: u8 = 77;

/// How long the machine may take until it is up: some seconds, more on a machine under load.
const BOOT: Duration = Duration::from_secs(180);

/// What the host waits beyond the machine's own limits.
const GRACE: Duration = Duration::from_secs(60);

/// Two access points, one mobile node.
const RADIOS: u32 = 3;

/// Tells the tests that they have a tenth of the processor that they are written for.
const EMULATED: &str = "FMIP_EMULATED";

/// Why nothing could be tried, which is another thing than a failure.
#[derive(Debug)]
pub(super) struct CannotRun(String);

impl CannotRun {
    fn because(reason: String) -> anyhow::Error {
        Self(reason).into()
    }
}

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotRun {}

pub(crate) fn command_line() -> clap::Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .value_parser(value_parser!(u32).range(1..))
            .help(help)
    };
    clap::Command::new("vm-test")
        .about("Runs the tests on a stock kernel in a virtual machine, with real 802.11")
        .after_help("Exit codes: 0 all passed, 1 something failed, 77 could not run (and why)")
        .arg(
            Arg::new("suite")
                .long("suite")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["wifi", "only"])
                .help("Everything but the test of real 802.11"),
        )
        .arg(
            Arg::new("wifi")
                .long("wifi")
                .action(ArgAction::SetTrue)
                .conflicts_with("only")
                .help("The test of real 802.11 alone"),
        )
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("PROGRAM[::FILTER]")
                .action(ArgAction::Append)
                .help(
                    "Only this test program, or those of its tests whose name contains FILTER; \
                     several are run in the order in which they are given",
                ),
        )
        .arg(
            Arg::new("kernel")
                .long("kernel")
                .value_name("6.1|DEB|DIR")
                .default_value("6.1")
                .value_parser(Wish::read)
                .help("A series that apt has, a Debian package, or a folder with one unpacked"),
        )
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .action(ArgAction::SetTrue)
                .help("Show all that the tests print, as it comes"),
        )
        .arg(number("memory", "2048", "MiB of the machine's memory"))
        .arg(number("processors", "2", "Its processors"))
        .arg(number(
            "limit-s",
            "900",
            "Seconds that one test may take, and a fourth of what a program of unit tests may",
        ))
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    match try_run(matches) {
        Err(error) => match error.downcast::<CannotRun>() {
            Ok(reason) => {
                println!("xtask vm-test: COULD NOT RUN: {reason}");
                Ok(ExitCode::from(COULD_NOT_RUN))
            }
            Err(error) => Err(error),
        },
        done => done,
    }
}

fn try_run(matches: &ArgMatches) -> Result<ExitCode> {
    if env::consts::ARCH != "x86_64" {
        return Err(CannotRun::because(format!(
            "the machine is one of x86-64, for which tests built on {} are not",
            env::consts::ARCH
        )));
    }
    let cache = step::workspace_root().join("target/vm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // What can be known to fail comes before the long build.
    setup::ensure(setup::FOR_THE_TESTS)
        .map_err(|error| CannotRun::because(format!("{error:#}")))?;
    let tools = Tools::ensure(&cache)?;
    let wish = matches.get_one::<Wish>("kernel").expect("it has a default");
    let kernel = Kernel::ensure(wish, &cache, &tools.busybox())?;

    let controller = match env::var_os("FMIP_CTL") {
        Some(path) => PathBuf::from(path),
        None => step::build(
            "vm-test: building the controller",
            &["--release", "--package", "fmip-ctl", "--bins"],
            false,
        )?
        .program("fmip-ctl")?
        .to_owned(),
    };
    let choices: Vec<Choice> = if matches.get_flag("wifi") {
        vec![Choice::read(suite::WIFI)]
    } else {
        matches
            .get_many::<String>("only")
            .unwrap_or_default()
            .map(|text| Choice::read(text))
            .collect()
    };
    let Built {
        tests: mut programs,
        helpers,
    } = suite::build(&choices)?;
    if matches.get_flag("suite") {
        programs.retain(|program| program.name != suite::WIFI);
    }
    let kept = emptied(&cache.join("programs"))?;
    let controller = suite::keep(&controller, &kept)?;
    for program in &mut programs {
        program.keep(&kept)?;
    }
    for helper in &helpers {
        suite::keep(helper, &kept)?;
    }
    let number = |name| *matches.get_one::<u32>(name).expect("it has a default");
    let limits = Limits {
        test: number("limit-s"),
        program: number("limit-s").saturating_mul(4),
    };
    let accelerator = Accelerator::find();
    let mut environment = vec![
        (
            "PATH".to_owned(),
            machine::search_path().to_string_lossy().into_owned(),
        ),
        ("FMIP_CTL".to_owned(), controller.display().to_string()),
    ];
    if accelerator == Accelerator::Software {
        environment.push((EMULATED.to_owned(), "1".to_owned()));
    }
    let plan = Plan {
        environment,
        radios: RADIOS,
        jobs: suite::jobs(&programs, &choices, limits, suite::Program::tests)?,
    };

    let initramfs = cache.join("initramfs");
    fs::write(
        &initramfs,
        guest::first_file_system(&kernel, &tools.busybox(), &plan)?,
    )
    .with_context(|| format!("cannot write {}", initramfs.display()))?;
    let logs = emptied(&cache.join("logs"))?;
    let machine = Machine {
        kernel: &kernel.image,
        initramfs: &initramfs,
        accelerator,
        memory_mib: number("memory"),
        processors: number("processors"),
        kernel_log: logs.join("kernel.log"),
        qemu_log: logs.join("qemu.log"),
    };
    let mut session = Session {
        machine: &machine,
        jobs: &plan.jobs,
        logs: &logs,
        verbose: matches.get_flag("verbose"),
    };
    let start = Instant::now();
    let report = session.play(&tools)?;
    report.print(&kernel.release, &logs, start.elapsed());
    if let Some(reason) = report.why_nothing_was_tested() {
        return Err(CannotRun::because(reason));
    }
    Ok(if report.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The folder, with nothing in it.
fn emptied(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// One run of the machine.
struct Session<'a> {
    machine: &'a Machine<'a>,
    jobs: &'a [Job],
    /// Where what the programs print is kept.
    logs: &'a Path,
    verbose: bool,
}

/// A test program that has been run.
struct Finished {
    name: String,
    results: Results,
    end: End,
    took: Duration,
}

impl Finished {
    /// In the machine everything is root's: whatever is skipped there is something that it lacks.
    fn passed(&self) -> bool {
        let tally = self.results.tally();
        self.end == End::Code(0) && tally.failed == 0 && tally.skipped == 0
    }
}

/// All that have.
#[derive(Default)]
struct Report {
    finished: Vec<Finished>,
    /// Why not all of them are there.
    fault: Option<String>,
    /// What had not begun then.
    not_run: Vec<String>,
}

/// The test program that runs.
struct Current {
    name: String,
    results: Results,
    /// The worst of its tests' ends so far.
    end: End,
    log: File,
    begun: Instant,
    /// When the last of its tests did.
    test_begun: Instant,
}

impl Session<'_> {
    fn play(&mut self, tools: &Tools) -> Result<Report> {
        let booted = Instant::now();
        let mut running = self.machine.start(tools)?;
        let mut report = Report::default();
        let mut current: Option<Current> = None;
        let mut deadline = booted + BOOT;
        let mut is_up = false;
        let mut begun = 0;
        loop {
            let line = match running.next(deadline) {
                Told::Line(line) => line,
                Told::Nothing => {
                    report.fault = Some("the machine says nothing any more".to_owned());
                    break;
                }
                Told::Ended => {
                    report.fault = Some("the machine has ended before its time".to_owned());
                    break;
                }
            };
            match Line::read(&line) {
                Line::Ready(release) => {
                    is_up = true;
                    eprintln!(
                        "vm-test: kernel {release} is up ({}) after {:.1} s",
                        self.machine.accelerator,
                        booted.elapsed().as_secs_f64()
                    );
                    deadline = Instant::now() + GRACE;
                }
                Line::Begin(number) => {
                    let Some(job) = self.jobs.get(number) else {
                        continue;
                    };
                    begun = number + 1;
                    deadline = Instant::now() + Duration::from_secs(job.limit.into()) + GRACE;
                    match &mut current {
                        Some(current) if current.name == job.name => {
                            current.test_begun = Instant::now();
                        }
                        _ => current = Some(self.begin(job)?),
                    }
                }
                Line::Text(text) => {
                    if let Some(current) = &mut current {
                        self.read(current, text)?;
                    }
                }
                Line::End(number, end) => {
                    let Some(mut of) = current.take() else {
                        continue;
                    };
                    // What stands before it on its line is the program's last word.
                    let text = line.split('\u{1}').next().unwrap_or_default();
                    self.read(&mut of, text)?;
                    of.results.finish();
                    let job = self.jobs.get(number);
                    let limit = job.map_or(0, |job| job.limit);
                    let end = end.after(of.test_begun.elapsed(), Duration::from_secs(limit.into()));
                    of.end = of.end.worse(end);
                    if let Some(test) = job.and_then(|job| job.test.as_ref()) {
                        of.say(test, end);
                    }
                    // Its next test may follow.
                    match self.jobs.get(number + 1) {
                        Some(next) if next.name == of.name => current = Some(of),
                        _ => report.add(of),
                    }
                    deadline = Instant::now() + GRACE;
                }
                Line::Done => {
                    running.wait(GRACE);
                    return Ok(report);
                }
            }
        }
        let fault = report.fault.take().unwrap_or_default();
        let fault = match self.machine.panic() {
            Some(line) => format!("the kernel has died: {line}"),
            None => fault,
        };
        if !is_up {
            return Err(CannotRun::because(format!(
                "the machine did not start: {fault}; its last words:\n{}",
                self.machine.last_words()
            )));
        }
        report.fault = Some(fault);
        if let Some(mut current) = current {
            current.results.finish();
            current.end = current.end.worse(End::Cut);
            report.add(current);
        }
        report.not_run = self.jobs[begun..].iter().map(Job::to_string).collect();
        Ok(report)
    }

    fn begin(&self, job: &Job) -> Result<Current> {
        eprintln!("vm-test: {} ...", job.name);
        let path = self.logs.join(log_name(&job.name));
        Ok(Current {
            name: job.name.clone(),
            results: Results::default(),
            end: End::Code(0),
            log: File::create(&path)
                .with_context(|| format!("cannot create {}", path.display()))?,
            begun: Instant::now(),
            test_begun: Instant::now(),
        })
    }

    fn read(&self, current: &mut Current, text: &str) -> Result<()> {
        writeln!(current.log, "{text}").context("cannot keep what the tests print")?;
        current.results.read(text);
        if self.verbose {
            println!("{text}");
        }
        Ok(())
    }
}

impl Current {
    /// Tells people, who wait for long, what became of a test.
    fn say(&self, test: &str, end: End) {
        let word = match (end, self.results.outcome(test)) {
            (End::TimeUp, _) => "FAILED, its time was up",
            (End::Killed, _) => "FAILED, it was killed: for want of memory? (kernel.log; --memory)",
            (_, Some(Outcome::Passed)) => "passed",
            (_, Some(Outcome::Skipped(_) | Outcome::WithoutKernel(_) | Outcome::Ignored)) => {
                "not run"
            }
            _ => "FAILED",
        };
        eprintln!(
            "vm-test: {}: {test}: {word}, {:.0} s",
            self.name,
            self.test_begun.elapsed().as_secs_f64()
        );
    }
}

impl Report {
    fn add(&mut self, current: Current) {
        self.finished.push(Finished {
            took: current.begun.elapsed(),
            name: current.name,
            results: current.results,
            end: current.end,
        });
    }

    fn passed(&self) -> bool {
        self.fault.is_none() && self.finished.iter().all(Finished::passed)
    }

    /// Nothing failed, but every test was left out: whoever asked is not to take that for an answer.
    fn why_nothing_was_tested(&self) -> Option<String> {
        let mut finished = self.finished.iter();
        let is_idle = finished.all(|finished| finished.results.tally().passed == 0);
        (self.passed() && is_idle)
            .then(|| "nothing could be tested in that kernel; the reasons are above".to_owned())
    }

    fn print(&self, release: &str, logs: &Path, took: Duration) {
        let mut sum = Tally::default();
        for finished in &self.finished {
            finished.print();
            sum.add(finished.results.tally());
        }
        for job in &self.not_run {
            println!("not run: {job}");
        }
        if let Some(fault) = &self.fault {
            println!("xtask vm-test: {fault}");
        }
        if !self.passed() {
            println!(
                "xtask vm-test: what the tests and the kernel said is in {}",
                logs.display()
            );
        }
        println!(
            "xtask vm-test: {}: kernel {release}: {sum}{} in {} test programs, {} s",
            if self.passed() { "ok" } else { "FAILED" },
            match self.not_run.len() {
                0 => String::new(),
                count => format!(", {count} not begun"),
            },
            self.finished.len(),
            took.as_secs()
        );
    }
}

impl Finished {
    /// One line, and one for each test that has not just passed.
    fn print(&self) {
        let word = match self.end {
            _ if self.passed() => "ok",
            End::Code(_) => "FAILED",
            End::TimeUp => "FAILED, its time was up",
            End::Killed => "FAILED, it was killed",
            End::Cut => "FAILED, the machine ended",
        };
        println!(
            "{}: {word}: {}, {:.0} s",
            self.name,
            self.results.tally(),
            self.took.as_secs_f64()
        );
        for (name, outcome) in self.results.tests() {
            match outcome {
                Outcome::Passed | Outcome::Ignored => {}
                Outcome::Failed => println!("    FAILED {name}"),
                Outcome::Unfinished => println!("    FAILED {name}: it did not come to its end"),
                Outcome::Skipped(reason) => println!("    skipped {name}: {reason}"),
                Outcome::WithoutKernel(reason) => {
                    println!("    not run, for want of something in that kernel: {name}: {reason}");
                }
            }
        }
        for report in &self.results.reports {
            println!("    {report}");
        }
    }
}

/// A file's name for a test program's.
fn log_name(program: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = program
        .trim_end_matches(')')
        .chars()
        .map(|c| if c == '_' { c } else { plain(c) })
        .collect();
    format!("{}.log", name.replace("--", "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_have_plain_names() {
        assert_eq!(log_name("prog_run"), "prog_run.log");
        assert_eq!(log_name("fmip-lab (program)"), "fmip-lab-program.log");
    }

    #[test]
    fn the_kinds_of_tests_exclude_each_other() {
        for line in [
            "vm-test --suite --wifi",
            "vm-test --suite --only modes",
            "vm-test --wifi --only modes",
            "vm-test --kernel six",
            "vm-test --memory 0",
        ] {
            assert!(
                command_line()
                    .try_get_matches_from(line.split(' '))
                    .is_err(),
                "{line}"
            );
        }
        let line = "vm-test --only modes --only attach::probe --kernel 6.12";
        let matches = command_line()
            .try_get_matches_from(line.split(' '))
            .expect(line);
        assert_eq!(
            matches.get_one::<Wish>("kernel"),
            Some(&Wish::Series("6.12".to_owned()))
        );
    }

    fn a_finished(end: End, lines: &str) -> Finished {
        let mut results = Results::default();
        lines.lines().for_each(|line| results.read(line));
        results.finish();
        Finished {
            name: "x".to_owned(),
            results,
            end,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_program_passes_only_if_it_says_so_and_ends_so() {
        assert!(a_finished(End::Code(0), "test a ... ok").passed());
        assert!(!a_finished(End::Code(0), "test a ... FAILED").passed());
        assert!(!a_finished(End::Code(101), "test a ... ok").passed());
        assert!(!a_finished(End::TimeUp, "test a ... ok").passed());
        assert!(!a_finished(End::Cut, "test a ... ok").passed());
        let skipped = "test a ... SKIPPED: a: no root\nok\ntest b ... ok";
        assert!(!a_finished(End::Code(0), skipped).passed());
        let without = "test a ... WITHOUT KERNEL: a: no VLAN\nok\ntest b ... ok";
        assert!(a_finished(End::Code(0), without).passed());
    }

    #[test]
    fn a_report_with_a_fault_has_not_passed() {
        let mut report = Report::default();
        report
            .finished
            .push(a_finished(End::Code(0), "test a ... ok"));
        assert!(report.passed());
        report.fault = Some("the kernel has died".to_owned());
        assert!(!report.passed());
    }

    #[test]
    fn a_run_in_which_nothing_could_be_tested_is_no_success() {
        let without = "test a ... WITHOUT KERNEL: a: no mac80211_hwsim\nok";
        let mut report = Report::default();
        report.finished.push(a_finished(End::Code(0), without));
        assert!(report.why_nothing_was_tested().is_some());
        let mut report = Report::default();
        let one = format!("{without}\ntest b ... ok");
        report.finished.push(a_finished(End::Code(0), &one));
        assert_eq!(report.why_nothing_was_tested(), None);
        // What failed is a failure.
        let mut report = Report::default();
        report
            .finished
            .push(a_finished(End::Code(101), "test a ... FAILED"));
        assert_eq!(report.why_nothing_was_tested(), None);
    }
}
