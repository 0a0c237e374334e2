//! How to get what is missing: what is run, in which order, and why so.

use std::{env, path::Path};

use super::facts::{DEBIAN_COMPILER, Facts, Offer};
use crate::{step::Invocation, toolchain::Toolchain};

/// The release of bpf-linker that this workspace is tested with, and the LLVMs that it can be
/// built against.
const LINKER_VERSION: &str = "0.13.0";
const LINKER_LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// What is to be run, in this order, and why so.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) reason: Option<String>,
    /// Each with what it does, for the progress line.
    pub(super) steps: Vec<(String, Invocation)>,
}

/// Decides how to get what is missing. Where the compiler's LLVM is not known before it is
/// installed, the plan ends with the compiler, and a second one goes on from there.
///
/// # Errors
/// Says what cannot be had, and why not.
pub(super) fn plan(facts: &Facts, wish: Option<Toolchain>) -> Result<Plan, String> {
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
