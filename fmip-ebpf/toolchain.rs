//! Which compiler builds the BPF objects, and how it is called.
//!
//! Included by `fmip-ctl/build.rs`, which builds the data path, by `tests/build.rs`, which builds the
//! helpers of the bench, and by `xtask`, which installs what is missing: they must never disagree,
//! and a build script can share no code with a workspace member other than by a dependency that
//! every build would then pay for.
//!
//! Not `aya-build`: it fixes the compiler flags, and the BPF compare-and-swap that the handover
//! buffer rests on needs `-Ctarget-cpu=v3`.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The crates that may use unstable features with a stable-channel compiler. Names, not `1`: with
/// `1` cargo would let every dependency do so.
const UNSTABLE_CRATES: &str = "aya_ebpf,fmip_ebpf";

/// A compiler that can build for the BPF target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// Debian's rustc-web with its ready-made `core` for BPF: no nightly, no build-std.
    Debian,
    /// rustup's nightly with `rust-src`; `core` is built for the BPF target by cargo.
    Nightly,
}

impl Toolchain {
    /// The toolchain this machine has, Debian's first; `None` if it has neither.
    pub(crate) fn find() -> Option<Self> {
        if Path::new("/usr/bin/cargo").exists()
            && Path::new("/usr/bin/rustc").exists()
            && Path::new("/usr/lib/rustlib/bpfel-unknown-none/lib").exists()
        {
            return Some(Self::Debian);
        }
        let sysroot = Command::new("rustup")
            .args(["run", "nightly", "rustc", "--print", "sysroot"])
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).ok()?.trim());
        sysroot
            .join("lib/rustlib/src/rust/library/core")
            .exists()
            .then_some(Self::Nightly)
    }

    /// A `cargo build` of a BPF object, which is the binary of that name, into `target_dir`; run it in the
    /// workspace. The object is then `target_dir/bpfel-unknown-none/release/` and the name.
    pub(crate) fn build_command(self, object: &str, target_dir: &Path) -> Command {
        let mut command = match self {
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                command.env("RUSTC", "/usr/bin/rustc");
                command
            }
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo"]);
                command.env_remove("RUSTC");
                command
            }
        };
        command.args(["build", "--locked", "--release", "--package", "fmip-ebpf"]);
        command.args(["--bin", object, "--target", "bpfel-unknown-none"]);
        if self == Self::Nightly {
            command.args(["-Z", "build-std=core"]);
        }
        command.arg("--target-dir").arg(target_dir);
        // What the outer cargo says to its own compiler must not reach this one.
        for key in [
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "RUSTUP_TOOLCHAIN",
        ] {
            command.env_remove(key);
        }
        command.env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES);
        command.env(
            "CARGO_ENCODED_RUSTFLAGS",
            [
                "-Cdebuginfo=2",
                "-Clink-arg=--btf",
                "-Ctarget-cpu=v3",
                "--cfg=bpf_target_arch=\"x86_64\"",
            ]
            .join("\x1f")
            .replace("x86_64", env::consts::ARCH),
        );
        command.env("PATH", search_path());
        command
    }
}

/// Builds a BPF object and leaves it in `OUT_DIR`, under its name: what a build script does.
///
/// # Errors
/// One line for the newcomer; where it is the source that does not compile, the compiler's own words
/// stand above it as warnings.
pub(crate) fn build(object: &str) -> Result<(), String> {
    const MISSING: &str = "run `cargo xtask setup`, which installs it";
    let toolchain = Toolchain::find()
        .ok_or_else(|| format!("no compiler for the BPF target on this machine: {MISSING}"))?;
    let linker = find_bpf_linker()
        .ok_or_else(|| format!("bpf-linker is not installed on this machine: {MISSING}"))?;

    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Not OUT_DIR itself: it changes with the profile, and the BPF object does not.
    let target_dir = out_dir
        .ancestors()
        .find(|dir| dir.ends_with("build"))
        .and_then(|dir| dir.parent())
        .and_then(|dir| dir.parent())
        .unwrap_or(&out_dir)
        .join("bpf");
    let mut command: Command = toolchain.build_command(object, &target_dir);
    let output = command
        .output()
        .map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
    if !output.status.success() {
        // A linker that has lost its LLVM would be reported by a page of compiler options.
        let linker_runs = Command::new(&linker).arg("--version").output();
        if !linker_runs.is_ok_and(|output| output.status.success()) {
            return Err(format!(
                "{} is installed but does not run: {MISSING} anew",
                linker.display()
            ));
        }
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            println!("cargo::warning={line}");
        }
        return Err(format!(
            "the BPF object {object} does not build ({}): see the warnings above, or run `cargo xtask setup` if a tool is missing",
            output.status
        ));
    }
    let built = target_dir.join("bpfel-unknown-none/release").join(object);
    fs::copy(&built, out_dir.join(object))
        .map_err(|error| format!("cannot copy {}: {error}", built.display()))?;
    Ok(())
}

/// Where `bpf-linker` is, if it is installed.
pub(crate) fn find_bpf_linker() -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|dir| dir.join("bpf-linker"))
        .find(|path| path.is_file())
}

/// `PATH`, and the folder that `cargo install` writes to behind it.
fn search_path() -> OsString {
    let mut paths: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    if let Some(cargo_home) = cargo_home {
        paths.push(cargo_home.join("bin"));
    }
    env::join_paths(paths).unwrap_or_default()
}
