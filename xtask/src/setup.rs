//! `cargo xtask setup`: finds out what is missing for the BPF build, the lab and the tests, and
//! installs it.
//!
//! Two worlds have a compiler for the BPF target. Debian's archive has one ready-made, which needs
//! root and apt and nothing else; it is taken where apt offers it. Everywhere else it is rustup's
//! nightly, which builds `core` for the target itself. bpf-linker comes from crates.io in both,
//! built against the LLVM of the compiler.
//!
//! What is there is found by looking at files and asking the programs themselves, since the
//! package managers' own databases take longer to open than everything else here together.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::{Arg, ArgAction, ArgMatches};

use crate::{
    machine,
    step::{self, Invocation},
    toolchain::{self, Toolchain},
};

/// The LLVM that Debian's compiler for the web browsers is built with; only a guess for the first
/// installation, since the installed compiler is asked afterwards.
const DEBIAN_LLVM: u32 = 22;

/// The release of bpf-linker that this workspace is tested with, and the LLVMs that it can be
/// built against.
const LINKER_VERSION: &str = "0.13.0";
const LINKER_LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// Debian's packages of the compiler for the BPF target.
const DEBIAN_COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// The oldest compiler that builds the workspace, as `major.minor`.
const OLDEST_RUSTC: &str = env!("CARGO_PKG_RUST_VERSION");

/// Who runs a program besides the build.
const LAB: &str = "the lab";
const TESTS: &str = "the tests";

/// What a router needs that only builds and loads: no lab's packages are installed on it.
pub(crate) const TO_LOAD: &[&str] = &[];
/// What the lab needs.
pub(crate) const FOR_THE_LAB: &[&str] = &[LAB];
/// What the tests need, the lab's included.
pub(crate) const FOR_THE_TESTS: &[&str] = &[LAB, TESTS];

/// Programs that are run, the Debian package of each, and who runs it.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("ip", "iproute2", LAB),
    ("ethtool", "ethtool", LAB),
    ("radvd", "radvd", LAB),
    ("tshark", "tshark", TESTS),
];

/// What a download takes, program and Debian package by the same name.
const DOWNLOAD_TOOLS: [&str; 2] = ["curl", "zstd"];

/// How many times setup looks again after it has installed something: the compiler, then what its
/// LLVM asks for, then the linker, and a last look.
const ROUNDS: usize = 4;

pub(crate) fn command_line() -> clap::Command {
    clap::Command::new("setup")
        .about("Installs what is missing for the BPF build, the lab and the tests")
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Change nothing; fail with the list of what is missing"),
        )
        .arg(
            Arg::new("with")
                .long("with")
                .value_parser(["debian", "rustup"])
                .help("Where a missing BPF compiler comes from [default: debian if apt has it]"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let wish = matches
        .get_one::<String>("with")
        .map(|with| match with.as_str() {
            "debian" => Toolchain::Debian,
            _ => Toolchain::Nightly,
        });
    let start = Instant::now();
    if matches.get_flag("check") {
        let facts = Facts::find(FOR_THE_TESTS);
        facts.print();
        let missing = facts.missing();
        if !missing.is_empty() {
            bail!(
                "missing: {}; `cargo xtask setup` installs it",
                missing.join(", ")
            );
        }
    } else {
        install_missing(FOR_THE_TESTS, wish, true)?;
    }
    eprintln!(
        "setup: nothing is missing ({:.1} s)",
        start.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

/// What the other commands call first, with the `users` whose programs they need besides the
/// build's: says nothing if nothing is missing.
pub(crate) fn ensure(users: &'static [&'static str]) -> Result<()> {
    install_missing(users, None, false)
}

fn install_missing(
    users: &'static [&'static str],
    wish: Option<Toolchain>,
    mut talk: bool,
) -> Result<()> {
    let mut updated = false;
    let mut previous = Plan::default();
    for round in 0..ROUNDS {
        let mut facts = Facts::find(users);
        let missing = facts.missing();
        if missing.is_empty() {
            if talk {
                facts.print();
            }
            return Ok(());
        }
        if round == 0 {
            facts.print();
            talk = true;
        }
        // What apt offers is known only with its lists at hand and up to date.
        let mut update = Vec::new();
        if facts.wants_apt() && !updated {
            let invocation = Invocation::new("apt-get").args(["update"]).by_root();
            if facts.root {
                // Not fatal: with one source out of reach the others may do.
                if let Err(error) =
                    step::run("setup: apt-get update", &mut invocation.command(), false)
                {
                    eprintln!("setup: {error:#}; going on with the package lists there are");
                }
            } else {
                update.push(invocation);
            }
            updated = true;
        }
        facts.ask_apt();
        let plan = plan(&facts, wish).map_err(anyhow::Error::msg)?;
        if plan == previous {
            break;
        }
        if let Some(reason) = &plan.reason {
            eprintln!("setup: {reason}");
        }
        if !facts.root && plan.steps.iter().any(|(_, step)| step.needs_root()) {
            let mut commands: Vec<String> = update.iter().map(Invocation::with_sudo).collect();
            commands.extend(plan.steps.iter().map(|(_, step)| step.with_sudo()));
            eprintln!("setup: only root may install packages; run these, then setup again:");
            for command in commands {
                eprintln!("  {command}");
            }
            if facts.rustup && facts.compiler.is_err() && wish.is_none() {
                eprintln!(
                    "setup: the compiler alone can do without root: cargo xtask setup --with rustup"
                );
            }
            bail!("missing: {}", missing.join(", "));
        }
        for (label, invocation) in &plan.steps {
            eprintln!("setup: {invocation}");
            step::run(&format!("setup: {label}"), &mut invocation.command(), false)
                .with_context(|| format!("still missing: {}", missing.join(", ")))?;
        }
        previous = plan;
    }
    let missing = Facts::find(users).missing();
    if !missing.is_empty() {
        bail!(
            "all of that succeeded, and still missing: {}; what was installed is not whole",
            missing.join(", ")
        );
    }
    Ok(())
}

/// A compiler that can build for the BPF target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Compiler {
    toolchain: Toolchain,
    version: (u32, u32),
    /// Major version; `None` if it does not say.
    llvm: Option<u32>,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = match self.toolchain {
            Toolchain::Debian => "Debian's rustc",
            Toolchain::Nightly => "rustup's nightly",
        };
        let (major, minor) = self.version;
        write!(f, "{owner} {major}.{minor}")?;
        match self.llvm {
            Some(llvm) => write!(f, ", LLVM {llvm}"),
            None => f.write_str(", of unknown LLVM"),
        }
    }
}

/// An installed bpf-linker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Linker {
    path: PathBuf,
    version: String,
    /// Major version; `None` for a static build, which does not say.
    llvm: Option<u32>,
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.version, self.path.display())?;
        match self.llvm {
            Some(llvm) => write!(f, ", LLVM {llvm}"),
            None => f.write_str(", of unknown LLVM"),
        }
    }
}

/// What apt says about a set of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Offer {
    /// It would install them, and remove nothing for it.
    Yes,
    /// It would not, in its own words.
    No(String),
}

/// What this machine has and is.
#[derive(Debug, Clone)]
struct Facts {
    root: bool,
    apt: bool,
    rustup: bool,
    /// Or why there is none.
    compiler: Result<Compiler, String>,
    /// Or why there is none that will do.
    linker: Result<Linker, String>,
    /// The folder of the LLVM that the linker is to be built against, if it is installed whole.
    llvm_prefix: Option<PathBuf>,
    /// Whose programs are needed.
    users: &'static [&'static str],
    /// For each of [`PROGRAMS`], in their order.
    programs: Vec<Option<PathBuf>>,
    /// Those of [`DOWNLOAD_TOOLS`] that are not there.
    missing_download_tools: Vec<&'static str>,
    /// What apt says about Debian's compiler; asked only if it matters.
    compiler_offer: Offer,
    /// What apt says about the LLVM that the linker needs; asked only if it matters.
    llvm_offer: Offer,
}

impl Facts {
    fn find(users: &'static [&'static str]) -> Self {
        // The two that start other programs, at the same time.
        let compiler = thread::spawn(find_compiler);
        let linker = thread::spawn(find_linker);
        let programs = PROGRAMS
            .iter()
            .map(|(program, _, _)| machine::find_program(program))
            .collect();
        let not_asked = || Offer::No("apt-get is not on this machine".to_owned());
        let mut facts = Self {
            root: machine::is_root(),
            apt: machine::find_program("apt-get").is_some(),
            rustup: machine::find_program("rustup").is_some(),
            compiler: compiler.join().expect("the search does not panic"),
            linker: linker.join().expect("the search does not panic"),
            llvm_prefix: None,
            users,
            programs,
            missing_download_tools: DOWNLOAD_TOOLS
                .into_iter()
                .filter(|tool| machine::find_program(tool).is_none())
                .collect(),
            compiler_offer: not_asked(),
            llvm_offer: not_asked(),
        };
        facts.linker = facts
            .linker
            .and_then(|linker| suits(linker, &facts.compiler));
        if facts.linker.is_err() {
            facts.llvm_prefix = find_llvm(facts.llvm());
        }
        facts
    }

    /// The LLVM that the linker must have: the compiler's, or what it will be.
    fn llvm(&self) -> u32 {
        self.compiler
            .as_ref()
            .ok()
            .and_then(|compiler| compiler.llvm)
            .unwrap_or(DEBIAN_LLVM)
    }

    /// Whether the missing things may be had from apt.
    fn wants_apt(&self) -> bool {
        let linker_parts = self.linker.is_err() && self.llvm_prefix.is_none();
        self.apt && (self.compiler.is_err() || linker_parts || !self.missing_packages().is_empty())
    }

    /// Fills in what apt offers.
    fn ask_apt(&mut self) {
        if !self.apt {
            return;
        }
        let llvm_package = format!("llvm-{}-dev", self.llvm());
        if self.compiler.is_err() {
            let mut packages = DEBIAN_COMPILER.to_vec();
            packages.push(&llvm_package);
            self.compiler_offer = simulate(&packages, self.root);
        } else if self.linker.is_err() && self.llvm_prefix.is_none() {
            self.llvm_offer = simulate(&[&llvm_package], self.root);
        }
    }

    fn missing_packages(&self) -> Vec<&'static str> {
        self.missing_programs()
            .map(|(_, package, _)| package)
            .collect()
    }

    fn missing_programs(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        PROGRAMS
            .into_iter()
            .zip(&self.programs)
            .filter(|((_, _, user), found)| found.is_none() && self.users.contains(user))
            .map(|(program, _)| program)
    }

    /// The names of what is missing.
    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.compiler.is_err() {
            missing.push("a compiler for the BPF target".to_owned());
        }
        if self.linker.is_err() {
            missing.push("bpf-linker".to_owned());
        }
        missing.extend(
            self.missing_programs()
                .map(|(program, _, _)| program.to_owned()),
        );
        missing
    }

    /// One line for each thing.
    fn print(&self) {
        let line = |name: &str, found: Result<String, String>| match found {
            Ok(found) => eprintln!("setup: {name:<12} {found}"),
            Err(reason) => eprintln!("setup: {name:<12} MISSING: {reason}"),
        };
        line("BPF compiler", found(&self.compiler));
        line("bpf-linker", found(&self.linker));
        for ((program, package, user), path) in PROGRAMS.iter().zip(&self.programs) {
            if !self.users.contains(user) {
                continue;
            }
            line(
                program,
                path.as_ref()
                    .map(|path| path.display().to_string())
                    .ok_or_else(|| format!("for {user}; Debian's package is {package}")),
            );
        }
    }
}

fn found<T: fmt::Display>(thing: &Result<T, String>) -> Result<String, String> {
    thing.as_ref().map(T::to_string).map_err(String::clone)
}

fn find_compiler() -> Result<Compiler, String> {
    let toolchain = Toolchain::find()
        .ok_or("neither Debian's rustc with its BPF target nor rustup's nightly with rust-src")?;
    let mut command = match toolchain {
        Toolchain::Debian => Command::new("/usr/bin/rustc"),
        Toolchain::Nightly => {
            let mut command = Command::new("rustup");
            command.args(["run", "nightly", "rustc"]);
            command
        }
    };
    let said = output_of(command.arg("-vV"))?;
    let compiler = read_compiler(toolchain, &said)
        .ok_or_else(|| format!("its rustc does not tell its version: {said:?}"))?;
    let oldest = read_version(OLDEST_RUSTC).expect("cargo checked the manifest's rust-version");
    if compiler.version < oldest {
        return Err(format!("{compiler} is older than {OLDEST_RUSTC}"));
    }
    Ok(compiler)
}

/// Reads what `rustc -vV` prints.
fn read_compiler(toolchain: Toolchain, said: &str) -> Option<Compiler> {
    let value = |key| said.lines().find_map(|line| line.strip_prefix(key));
    Some(Compiler {
        toolchain,
        version: read_version(value("release: ")?)?,
        llvm: value("LLVM version: ").and_then(leading_number),
    })
}

/// `1.96.0-nightly` -> (1, 96).
fn read_version(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once('.')?;
    Some((major.parse().ok()?, leading_number(rest)?))
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn find_linker() -> Result<Linker, String> {
    let path = toolchain::find_bpf_linker().ok_or("it is not installed")?;
    let said = output_of(Command::new(&path).arg("--version"))?;
    // Only the loader knows which LLVM a dynamically linked one has.
    let libraries = output_of(Command::new("ldd").arg(&path)).unwrap_or_default();
    Ok(Linker {
        version: said.trim().trim_start_matches("bpf-linker ").to_owned(),
        llvm: linked_llvm(&libraries),
        path,
    })
}

/// The major version of the libLLVM among the libraries that `ldd` lists.
fn linked_llvm(libraries: &str) -> Option<u32> {
    let (_, rest) = libraries.split_once("libLLVM")?;
    leading_number(rest.trim_start_matches(['.', '-', 's', 'o']))
}

/// Refuses a linker that could not read what the compiler writes.
fn suits(linker: Linker, compiler: &Result<Compiler, String>) -> Result<Linker, String> {
    match (linker.llvm, compiler.as_ref().ok().and_then(|c| c.llvm)) {
        (Some(has), Some(needs)) if has < needs => Err(format!(
            "the one at {} has LLVM {has}, older than the compiler's LLVM {needs}",
            linker.path.display()
        )),
        _ => Ok(linker),
    }
}

/// The folder of an LLVM of this major version that programs can be linked with.
fn find_llvm(major: u32) -> Option<PathBuf> {
    env::var_os("LLVM_PREFIX")
        .map(PathBuf::from)
        .into_iter()
        .chain([
            format!("/usr/lib/llvm-{major}").into(),
            format!("/usr/lib/llvm{major}").into(),
            format!("/usr/lib64/llvm{major}").into(),
        ])
        .find(|prefix| is_llvm(prefix, major))
}

fn is_llvm(prefix: &Path, major: u32) -> bool {
    output_of(Command::new(prefix.join("bin/llvm-config")).arg("--version"))
        .is_ok_and(|version| leading_number(&version) == Some(major))
        && prefix.join("lib/libLLVM.so").exists()
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("without a word").trim();
        return Err(format!("{program} fails: {said}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks apt whether it could install `packages`, which changes nothing and needs no rights.
fn simulate(packages: &[&str], lists_are_new: bool) -> Offer {
    let output = Command::new("apt-get")
        .env("LC_ALL", "C.UTF-8")
        .args(["--simulate", "--no-remove", "--no-install-recommends"])
        .arg("install")
        .args(packages)
        .output();
    match output {
        Ok(output) => read_simulation(
            output.status.success(),
            &String::from_utf8_lossy(&output.stdout),
            &String::from_utf8_lossy(&output.stderr),
            lists_are_new,
        ),
        Err(error) => Offer::No(format!("apt-get cannot be run: {error}")),
    }
}

fn read_simulation(success: bool, stdout: &str, stderr: &str, lists_are_new: bool) -> Offer {
    let oldest = read_version(OLDEST_RUSTC).expect("cargo checked the manifest's rust-version");
    if !success {
        let said = stderr
            .lines()
            .find_map(|line| line.strip_prefix("E: "))
            .unwrap_or("it does not say why");
        // A package that is unknown without lists may be known with them.
        if !lists_are_new && said.starts_with("Unable to locate") && !has_package_lists() {
            return Offer::Yes;
        }
        return Offer::No(said.to_owned());
    }
    // `Inst rustc-web [1.85.0...] (1.96.0+dfsg1-1 Debian-Security:12/oldstable [amd64])`
    let version = stdout
        .lines()
        .find(|line| line.starts_with("Inst rustc-web "))
        .and_then(|line| line.split_once('('))
        .and_then(|(_, version)| read_version(version));
    match version {
        Some(version) if version < oldest => Offer::No(format!(
            "its rustc-web is {}.{}, older than {OLDEST_RUSTC}",
            version.0, version.1
        )),
        _ => Offer::Yes,
    }
}

fn has_package_lists() -> bool {
    let Ok(entries) = Path::new("/var/lib/apt/lists").read_dir() else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// What is to be run, in this order, and why so.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    reason: Option<String>,
    /// Each with what it does, for the progress line.
    steps: Vec<(String, Invocation)>,
}

/// Decides how to get what is missing. Where the compiler's LLVM is not known before it is
/// installed, the plan ends with the compiler, and a second one goes on from there.
///
/// # Errors
/// Says what cannot be had, and why not.
fn plan(facts: &Facts, wish: Option<Toolchain>) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let mut packages: Vec<String> = Vec::new();
    let mut steps = Vec::new();

    let toolchain = match &facts.compiler {
        Ok(compiler) => compiler.toolchain,
        Err(_) => {
            let (toolchain, reason) = choose(facts, wish)?;
            plan.reason = Some(reason);
            toolchain
        }
    };
    if facts.compiler.is_err() {
        match toolchain {
            Toolchain::Debian => packages.extend(DEBIAN_COMPILER.map(str::to_owned)),
            Toolchain::Nightly => steps.push((
                "rustup's nightly with rust-src".to_owned(),
                Invocation::new("rustup").args([
                    "toolchain",
                    "install",
                    "nightly",
                    "--profile",
                    "minimal",
                    "--component",
                    "rust-src",
                    "--no-self-update",
                ]),
            )),
        }
    }
    let llvm_is_known = facts.compiler.is_ok() || toolchain == Toolchain::Debian;
    if facts.linker.is_err() && llvm_is_known {
        let llvm = facts.llvm();
        let from_apt = facts.compiler.is_err() || facts.llvm_offer == Offer::Yes;
        if facts.llvm_prefix.is_some() || from_apt {
            if facts.llvm_prefix.is_none() {
                packages.push(format!("llvm-{llvm}-dev"));
            }
            let prefix = facts
                .llvm_prefix
                .clone()
                .unwrap_or_else(|| format!("/usr/lib/llvm-{llvm}").into());
            steps.push((
                format!("building bpf-linker for LLVM {llvm} (one to two minutes)"),
                build_linker(llvm, &prefix),
            ));
        } else {
            packages.extend(
                facts
                    .missing_download_tools
                    .iter()
                    .map(|tool| tool.to_string()),
            );
            steps.push((
                "downloading bpf-linker".to_owned(),
                download_linker(env::consts::ARCH),
            ));
        }
    }
    packages.extend(facts.missing_packages().into_iter().map(str::to_owned));

    if !packages.is_empty() {
        if !facts.apt {
            return Err(format!(
                "there is no apt-get on this machine; install these with its own package manager \
                 (Debian's names): {}",
                packages.join(" ")
            ));
        }
        plan.steps.push((
            format!("apt-get install, {} packages", packages.len()),
            Invocation::new("apt-get")
                // tshark would ask whether everybody may capture.
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(["install", "--yes", "--no-install-recommends", "--no-remove"])
                .args(["-o", "DPkg::Lock::Timeout=300"])
                .args(packages)
                .by_root(),
        ));
    }
    plan.steps.extend(steps);
    Ok(plan)
}

/// Where the compiler comes from, and why.
fn choose(facts: &Facts, wish: Option<Toolchain>) -> Result<(Toolchain, String), String> {
    let no_rustup = "rustup is not installed (see https://rustup.rs)";
    match (wish, &facts.compiler_offer, facts.rustup) {
        (Some(Toolchain::Debian), Offer::No(why), _) => {
            Err(format!("apt does not offer Debian's BPF compiler: {why}"))
        }
        (Some(Toolchain::Debian), Offer::Yes, _) => Ok((
            Toolchain::Debian,
            "Debian's compiler, as asked for".to_owned(),
        )),
        (Some(Toolchain::Nightly), _, false) => Err(no_rustup.to_owned()),
        (Some(Toolchain::Nightly), _, true) => Ok((
            Toolchain::Nightly,
            "rustup's nightly, as asked for".to_owned(),
        )),
        (None, Offer::Yes, _) => Ok((
            Toolchain::Debian,
            "taking Debian's compiler, since apt offers it with a ready-made BPF target".to_owned(),
        )),
        (None, Offer::No(why), true) => Ok((
            Toolchain::Nightly,
            format!("taking rustup's nightly, since apt has no BPF compiler to offer: {why}"),
        )),
        (None, Offer::No(why), false) => Err(format!(
            "no source for a BPF compiler: apt has none to offer ({why}), and {no_rustup}"
        )),
    }
}

/// `cargo install`, over whatever unfit linker may be there.
fn build_linker(llvm: u32, prefix: &Path) -> Invocation {
    let invocation = Invocation::new("cargo")
        .env("LLVM_PREFIX", &prefix.display().to_string())
        .args(["install", "bpf-linker"]);
    let invocation = if LINKER_LLVMS.contains(&llvm) {
        invocation.args(["--version", LINKER_VERSION])
    } else {
        invocation
    };
    invocation
        .args(["--locked", "--force", "--no-default-features", "--features"])
        .args([format!("llvm-{llvm}")])
}

/// The project's own static build, of the newest release since it must keep up with nightly.
fn download_linker(arch: &str) -> Invocation {
    let script = format!(
        "set -o pipefail; curl -fsSL https://github.com/aya-rs/bpf-linker/releases/latest/download/\
         bpf-linker-{arch}-unknown-linux-musl.tar.zst | zstd -dc | \
         tar -xf - -C \"${{CARGO_HOME:-$HOME/.cargo}}/bin\""
    );
    Invocation::new("bash").args(["-c", &script])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian_compiler() -> Compiler {
        Compiler {
            toolchain: Toolchain::Debian,
            version: (1, 96),
            llvm: Some(22),
        }
    }

    fn nightly(llvm: u32) -> Compiler {
        Compiler {
            toolchain: Toolchain::Nightly,
            version: (1, 101),
            llvm: Some(llvm),
        }
    }

    fn linker(llvm: Option<u32>) -> Linker {
        Linker {
            path: "/home/a/.cargo/bin/bpf-linker".into(),
            version: "0.13.0".to_owned(),
            llvm,
        }
    }

    /// A machine with root, apt that offers everything, rustup, and nothing installed.
    fn bare() -> Facts {
        Facts {
            root: true,
            apt: true,
            rustup: true,
            compiler: Err("none".to_owned()),
            linker: Err("none".to_owned()),
            llvm_prefix: None,
            users: FOR_THE_TESTS,
            programs: vec![None; PROGRAMS.len()],
            missing_download_tools: vec!["zstd"],
            compiler_offer: Offer::Yes,
            llvm_offer: Offer::Yes,
        }
    }

    /// The same with everything installed.
    fn full() -> Facts {
        Facts {
            compiler: Ok(debian_compiler()),
            linker: Ok(linker(Some(22))),
            llvm_prefix: Some("/usr/lib/llvm-22".into()),
            users: FOR_THE_TESTS,
            programs: vec![Some("/usr/bin/x".into()); PROGRAMS.len()],
            ..bare()
        }
    }

    fn commands(plan: &Plan) -> Vec<String> {
        plan.steps
            .iter()
            .map(|(_, step)| step.to_string())
            .collect()
    }

    #[test]
    fn where_apt_offers_the_compiler_debians_way_is_taken() {
        let plan = plan(&bare(), None).unwrap();
        assert_eq!(
            commands(&plan),
            [
                "DEBIAN_FRONTEND=noninteractive apt-get install --yes \
                 --no-install-recommends --no-remove -o DPkg::Lock::Timeout=300 rustc-web \
                 cargo-web libstd-rust-web-dev-bpf llvm-22-dev iproute2 ethtool radvd tshark",
                "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --locked \
                 --force --no-default-features --features llvm-22",
            ]
        );
        assert!(plan.reason.unwrap().contains("Debian"));
    }

    #[test]
    fn a_router_that_is_only_loaded_gets_no_packages_of_the_lab() {
        for (users, packages) in [
            (TO_LOAD, vec![]),
            (FOR_THE_LAB, vec!["iproute2", "ethtool", "radvd"]),
            (
                FOR_THE_TESTS,
                vec!["iproute2", "ethtool", "radvd", "tshark"],
            ),
        ] {
            let facts = Facts { users, ..bare() };
            assert_eq!(facts.missing_packages(), packages);
            let full = Facts { users, ..full() };
            assert_eq!(full.missing(), Vec::<String>::new());
        }
    }

    #[test]
    fn where_apt_has_no_compiler_rustups_nightly_is_taken_and_the_reason_said() {
        let facts = Facts {
            compiler_offer: Offer::No("Unable to locate package rustc-web".to_owned()),
            ..bare()
        };
        let plan = plan(&facts, None).unwrap();
        let commands = commands(&plan);
        assert!(commands[0].contains("apt-get install") && commands[0].contains("tshark"));
        assert!(commands[1].starts_with("rustup toolchain install nightly"));
        // Which LLVM the linker needs is known when the compiler is there.
        assert_eq!(commands.len(), 2);
        assert!(
            plan.reason
                .unwrap()
                .contains("Unable to locate package rustc-web")
        );
    }

    #[test]
    fn without_apt_and_rustup_the_error_names_both() {
        let facts = Facts {
            apt: false,
            rustup: false,
            compiler_offer: Offer::No("apt-get is not on this machine".to_owned()),
            ..bare()
        };
        let error = plan(&facts, None).unwrap_err();
        assert!(
            error.contains("apt") && error.contains("rustup.rs"),
            "{error}"
        );
    }

    #[test]
    fn without_apt_missing_programs_are_named_for_other_package_managers() {
        let facts = Facts {
            apt: false,
            users: FOR_THE_TESTS,
            programs: vec![None; PROGRAMS.len()],
            ..full()
        };
        let error = plan(&facts, None).unwrap_err();
        assert!(error.contains("iproute2 ethtool radvd"), "{error}");
    }

    #[test]
    fn a_wish_overrules_the_choice_or_fails() {
        let plan_of_wish = plan(&bare(), Some(Toolchain::Nightly)).unwrap();
        assert!(commands(&plan_of_wish)[1].starts_with("rustup toolchain install nightly"));
        let facts = Facts {
            rustup: false,
            ..bare()
        };
        assert!(plan(&facts, Some(Toolchain::Nightly)).is_err());
        let facts = Facts {
            compiler_offer: Offer::No("no".to_owned()),
            ..bare()
        };
        assert!(plan(&facts, Some(Toolchain::Debian)).is_err());
    }

    #[test]
    fn the_linker_is_built_against_the_llvm_of_the_compiler() {
        let facts = Facts {
            compiler: Ok(nightly(23)),
            linker: Err("none".to_owned()),
            llvm_prefix: Some("/opt/llvm".into()),
            ..full()
        };
        assert_eq!(
            commands(&plan(&facts, None).unwrap()),
            [
                "LLVM_PREFIX=/opt/llvm cargo install bpf-linker --version 0.13.0 --locked --force \
              --no-default-features --features llvm-23"
            ]
        );
        // An LLVM that the tested release does not know needs a newer release.
        let facts = Facts {
            compiler: Ok(nightly(24)),
            ..facts
        };
        let command = &commands(&plan(&facts, None).unwrap())[0];
        assert!(!command.contains("--version"), "{command}");
    }

    #[test]
    fn without_an_llvm_to_build_against_the_linker_is_downloaded() {
        let facts = Facts {
            compiler: Ok(nightly(23)),
            linker: Err("none".to_owned()),
            llvm_prefix: None,
            llvm_offer: Offer::No("Unable to locate package llvm-23-dev".to_owned()),
            ..full()
        };
        let commands_of_plan = commands(&plan(&facts, None).unwrap());
        assert!(
            commands_of_plan[0].ends_with(" zstd"),
            "{commands_of_plan:?}"
        );
        assert!(
            commands_of_plan[1].contains("bpf-linker/releases"),
            "{commands_of_plan:?}"
        );
        let facts = Facts {
            llvm_offer: Offer::Yes,
            ..facts
        };
        let commands = commands(&plan(&facts, None).unwrap());
        assert!(commands[0].ends_with("llvm-23-dev"), "{commands:?}");
        assert!(commands[1].starts_with("LLVM_PREFIX=/usr/lib/llvm-23 "));
    }

    #[test]
    fn nothing_is_planned_where_nothing_is_missing() {
        assert_eq!(plan(&full(), None).unwrap(), Plan::default());
        assert!(full().missing().is_empty());
        assert!(!full().wants_apt());
    }

    #[test]
    fn what_is_missing_is_listed_by_name() {
        let facts = Facts {
            compiler: Err("none".to_owned()),
            ..full()
        };
        assert_eq!(facts.missing(), ["a compiler for the BPF target"]);
        assert_eq!(
            bare().missing(),
            [
                "a compiler for the BPF target",
                "bpf-linker",
                "ip",
                "ethtool",
                "radvd",
                "tshark"
            ]
        );
    }

    #[test]
    fn a_linker_with_an_older_llvm_than_the_compiler_is_refused() {
        let compiler = Ok(debian_compiler());
        assert!(suits(linker(Some(22)), &compiler).is_ok());
        assert!(suits(linker(Some(23)), &compiler).is_ok());
        assert!(suits(linker(None), &compiler).is_ok());
        let reason = suits(linker(Some(21)), &compiler).unwrap_err();
        assert!(
            reason.contains("LLVM 21") && reason.contains("LLVM 22"),
            "{reason}"
        );
    }

    #[test]
    fn versions_are_read_from_what_the_tools_print() {
        let said = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
                    host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(
            read_compiler(Toolchain::Nightly, said),
            Some(Compiler {
                toolchain: Toolchain::Nightly,
                version: (1, 97),
                llvm: Some(22)
            })
        );
        assert_eq!(read_compiler(Toolchain::Nightly, "rustc"), None);
        assert_eq!(
            linked_llvm("\tlibLLVM.so.22.1 => /usr/lib/x (0x1)\n"),
            Some(22)
        );
        assert_eq!(
            linked_llvm("\tlibLLVM-19.so.1 => /usr/lib/x (0x1)\n"),
            Some(19)
        );
        assert_eq!(linked_llvm("\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"), None);
    }

    #[test]
    fn apts_simulation_decides_what_it_offers() {
        let new = "Inst libllvm22 (1:22.1.8 Debian-Security [amd64])\n\
                   Inst rustc-web (1.96.0+dfsg1-1 Debian-Security:12/oldstable [amd64])\n";
        assert_eq!(read_simulation(true, new, "", true), Offer::Yes);
        let upgrade = "Inst rustc-web [1.80.0+d] (1.85.0+dfsg3-1 Debian:12/oldstable [amd64])\n";
        assert!(matches!(
            read_simulation(true, upgrade, "", true),
            Offer::No(why) if why.contains("1.85")
        ));
        let unknown = "W: x\nE: Unable to locate package rustc-web\nE: and more\n";
        assert_eq!(
            read_simulation(false, "", unknown, true),
            Offer::No("Unable to locate package rustc-web".to_owned())
        );
    }
}
