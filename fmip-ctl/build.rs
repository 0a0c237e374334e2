//! Builds the BPF object and leaves it in `OUT_DIR/fmip-ebpf`, where `io::object` embeds it.

use std::{env, fs, path::PathBuf, process::Command};

#[path = "../fmip-ebpf/toolchain.rs"]
mod toolchain;

fn main() {
    for path in ["../fmip-ebpf", "../fmip-common/src", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Err(error) = build() {
        // One line for the newcomer; where it is the source that does not compile, the compiler's
        // own words stand above it as warnings.
        println!("cargo::error={error}");
    }
}

fn build() -> Result<(), String> {
    const MISSING: &str = "run `cargo xtask setup`, which installs it";
    let toolchain = toolchain::Toolchain::find()
        .ok_or_else(|| format!("no compiler for the BPF target on this machine: {MISSING}"))?;
    let linker = toolchain::find_bpf_linker()
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
    let mut command: Command = toolchain.build_command(&target_dir);
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
            "the BPF object does not build ({}): see the warnings above, or run `cargo xtask setup` if a tool is missing",
            output.status
        ));
    }
    let object = target_dir.join("bpfel-unknown-none/release/fmip-ebpf");
    fs::copy(&object, out_dir.join("fmip-ebpf"))
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    Ok(())
}
