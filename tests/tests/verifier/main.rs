//! What the kernel's verifier makes of each program: instructions walked and stack, printed, and far from
//! the limits.
//!
//! A program near a limit loads on this kernel and is refused by the next one, or by an older one whose
//! verifier prunes less. So the gate stands well below.

mod load;
mod logs;

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::MapInfo,
    programs::{Program, ProgramError},
};
use fmip_common::table::Seed;
use fmip_ctl::io::{
    load::{Programs, Shape},
    pool::Room,
};

use load::{LoadedMap, Statistics};

/// BPF_COMPLEXITY_LIMIT_INSNS in the kernel's include/linux/bpf.h: instructions that the verifier walks
/// through, each as often as it comes by.
const INSTRUCTIONS: u64 = 1_000_000;
/// MAX_BPF_STACK in the kernel's include/linux/filter.h: octets, of all functions that call one another.
const STACK: u64 = 512;
/// Of a limit, in percent.
const GATE: u64 = 70;

/// The maps: no program's size depends on them.
const SHAPE: Shape = Shape {
    room: Room {
        packets: 64,
        nodes: 8,
        guaranteed: 0,
    },
    bindings: 64,
    highest_interface: 1,
    counters: 1,
    seed: Seed([0; 2]),
};

/// What is known of one program.
struct Measured {
    name: String,
    /// Octets in the kernel, before it is made machine code.
    size: u32,
    /// Of the machine code.
    machine_code: u32,
    verifier: Statistics,
}

impl Measured {
    /// Instructions of 8 octets.
    fn instructions(&self) -> u32 {
        self.size / 8
    }
}

fn measure() -> Result<Vec<Measured>> {
    let mut programs = Programs::load(&SHAPE)?;
    let mut measured = Vec::new();
    for (name, program) in programs.ebpf().programs() {
        let info = match program {
            Program::Xdp(program) => program.info(),
            Program::SchedClassifier(program) => program.info(),
            // A kernel without tracing loads none.
            Program::RawTracePoint(program) => match program.info() {
                Err(ProgramError::NotLoaded) => continue,
                info => info,
            },
            _ => anyhow::bail!("{name} is of an unknown kind"),
        }
        .with_context(|| format!("{name} is not loaded"))?;
        let maps = info
            .map_ids()?
            .context("the kernel does not say which maps the program uses")?
            .into_iter()
            .map(|id| {
                let map = MapInfo::from_id(id)?;
                let name = map.name_as_str().context("a map without a name")?;
                Ok(LoadedMap {
                    name: name.to_owned(),
                    handle: map.fd()?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let verifier = load::statistics(name, &maps)?;
        // That what was verified again is what is loaded.
        let walked = info.verified_instruction_count();
        ensure!(
            walked.map(u64::from) == Some(verifier.instructions),
            "{name}: verified with {walked:?} instructions, and again with {}",
            verifier.instructions
        );
        measured.push(Measured {
            name: name.to_owned(),
            size: info.size_translated().context("no size")?,
            machine_code: info.size_jitted(),
            verifier,
        });
    }
    measured.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(measured)
}

/// A table that stands on lines of its own, whatever the harness has begun to write.
fn table(measured: &[Measured]) -> String {
    let mut text = format!(
        "\n{:<18} {:>12} {:>12} {:>9} {:>6} {:>9} {:>6}\n",
        "program", "instructions", "machine code", "verified", "", "stack", ""
    );
    for program in measured {
        let Statistics {
            instructions,
            ref stack,
        } = program.verifier;
        text.push_str(&format!(
            "{:<18} {:>12} {:>12} {:>9} {:>4} % {:>9} {:>4} %\n",
            program.name,
            program.instructions(),
            program.machine_code,
            instructions,
            instructions * 100 / INSTRUCTIONS,
            program.verifier.stack_depth(),
            program.verifier.stack_depth() * 100 / STACK,
        ));
        if stack.len() > 1 {
            text.push_str(&format!("{:<18} by function: {stack:?}\n", ""));
        }
    }
    text
}

#[test]
fn every_program_stays_far_from_the_verifiers_limits() {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {}: BPF programs need root",
            std::thread::current().name().unwrap_or("a test")
        );
        return;
    }
    let measured = measure().unwrap_or_else(|error| panic!("{error:#}"));
    // Past the harness, which keeps to itself what a passing test prints: the figures are to be seen in
    // every run.
    let _ = std::io::stderr().write_all(table(&measured).as_bytes());
    assert!(measured.len() >= 4, "{} programs", measured.len());
    let over: Vec<String> = measured
        .iter()
        .flat_map(|program| {
            let Measured { name, verifier, .. } = program;
            [
                ("instructions", verifier.instructions, INSTRUCTIONS),
                ("octets of stack", verifier.stack_depth(), STACK),
            ]
            .map(|(what, is, limit)| {
                (is * 100 > limit * GATE).then(|| format!("{name}: {is} {what} of {limit}"))
            })
        })
        .flatten()
        .collect();
    assert!(over.is_empty(), "more than {GATE} % of a limit: {over:#?}");
}
