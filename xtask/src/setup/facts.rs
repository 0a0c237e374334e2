//! What this machine has and is, and what apt offers it.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::{
    machine,
    toolchain::{self, Toolchain},
};

/// The LLVM that Debian's compiler for the web browsers is built with; only a guess for the first
/// installation, since the installed compiler is asked afterwards.
const DEBIAN_LLVM: u32 = 22;

/// Debian's packages of the compiler for the BPF target.
pub(super) const DEBIAN_COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// The oldest compiler that builds the workspace, as `major.minor`.
const OLDEST_RUSTC: &str = env!("CARGO_PKG_RUST_VERSION");

/// Programs that are run, the Debian package of each, and who runs it.
pub(super) const PROGRAMS: [(&str, &str, &str); 4] = [
    ("ip", "iproute2", LAB),
    ("ethtool", "ethtool", LAB),
    ("radvd", "radvd", LAB),
    ("tshark", "tshark", TESTS),
];

/// What a download takes, program and Debian package by the same name.
const DOWNLOAD_TOOLS: [&str; 2] = ["curl", "zstd"];

/// Who runs a program besides the build.
const LAB: &str = "the lab";
const TESTS: &str = "the tests";

/// What a router needs that only builds and loads: no lab's packages are installed on it.
pub(crate) const TO_LOAD: &[&str] = &[];
/// What the lab needs.
pub(crate) const FOR_THE_LAB: &[&str] = &[LAB];
/// What the tests need, the lab's included.
pub(crate) const FOR_THE_TESTS: &[&str] = &[LAB, TESTS];

/// A compiler that can build for the BPF target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compiler {
    pub(super) toolchain: Toolchain,
    pub(super) version: (u32, u32),
    /// Major version; `None` if it does not say.
    pub(super) llvm: Option<u32>,
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
pub(super) struct Linker {
    pub(super) path: PathBuf,
    pub(super) version: String,
    /// Major version; `None` for a static build, which does not say.
    pub(super) llvm: Option<u32>,
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
pub(super) enum Offer {
    /// It would install them, and remove nothing for it.
    Yes,
    /// It would not, in its own words.
    No(String),
}

/// What this machine has and is.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) root: bool,
    pub(super) apt: bool,
    pub(super) rustup: bool,
    /// Or why there is none.
    pub(super) compiler: Result<Compiler, String>,
    /// Or why there is none that will do.
    pub(super) linker: Result<Linker, String>,
    /// The folder of the LLVM that the linker is to be built against, if it is installed whole.
    pub(super) llvm_prefix: Option<PathBuf>,
    /// Whose programs are needed.
    pub(super) users: &'static [&'static str],
    /// For each of [`PROGRAMS`], in their order.
    pub(super) programs: Vec<Option<PathBuf>>,
    /// Those of [`DOWNLOAD_TOOLS`] that are not there.
    pub(super) missing_download_tools: Vec<&'static str>,
    /// What apt says about Debian's compiler; asked only if it matters.
    pub(super) compiler_offer: Offer,
    /// What apt says about the LLVM that the linker needs; asked only if it matters.
    pub(super) llvm_offer: Offer,
}

impl Facts {
    pub(super) fn find(users: &'static [&'static str]) -> Self {
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
    pub(super) fn llvm(&self) -> u32 {
        self.compiler
            .as_ref()
            .ok()
            .and_then(|compiler| compiler.llvm)
            .unwrap_or(DEBIAN_LLVM)
    }

    /// Whether the missing things may be had from apt.
    pub(super) fn wants_apt(&self) -> bool {
        let linker_parts = self.linker.is_err() && self.llvm_prefix.is_none();
        self.apt && (self.compiler.is_err() || linker_parts || !self.missing_packages().is_empty())
    }

    /// Fills in what apt offers.
    pub(super) fn ask_apt(&mut self) {
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

    pub(super) fn missing_packages(&self) -> Vec<&'static str> {
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
    pub(super) fn missing(&self) -> Vec<String> {
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
    pub(super) fn print(&self) {
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
pub(super) fn read_compiler(toolchain: Toolchain, said: &str) -> Option<Compiler> {
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
pub(super) fn linked_llvm(libraries: &str) -> Option<u32> {
    let (_, rest) = libraries.split_once("libLLVM")?;
    leading_number(rest.trim_start_matches(['.', '-', 's', 'o']))
}

/// Refuses a linker that could not read what the compiler writes.
pub(super) fn suits(linker: Linker, compiler: &Result<Compiler, String>) -> Result<Linker, String> {
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

pub(super) fn read_simulation(
    success: bool,
    stdout: &str,
    stderr: &str,
    lists_are_new: bool,
) -> Offer {
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
