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

mod facts;
mod plan;
#[cfg(test)]
mod tests;

use std::{process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Arg, ArgAction, ArgMatches};

pub(crate) use self::facts::{FOR_THE_LAB, FOR_THE_TESTS, TO_LOAD};
use self::{
    facts::Facts,
    plan::{Plan, plan},
};
use crate::{
    step::{self, Invocation},
    toolchain::Toolchain,
};

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
