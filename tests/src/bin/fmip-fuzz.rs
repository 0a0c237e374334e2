//! What fuzzing needs beside the fuzzers, with every compiler: writing the inputs to begin with, and
//! running single inputs again.

use std::{fs, path::PathBuf, sync::atomic::Ordering};

use anyhow::{Context, Result, bail};
use clap::Parser;
use fmip_tests::fuzzing::{TARGETS, seeds::seeds, stage::TELL};

/// Writes the fuzzers' first inputs, or runs inputs again.
#[derive(Debug, Parser)]
enum Arguments {
    /// Writes the inputs to begin with into a directory for each target.
    Seeds {
        /// Where these directories are.
        corpus: PathBuf,
    },
    /// Runs inputs; one that was found to crash crashes here, too.
    Run {
        /// The target.
        target: String,
        /// Files with one input each.
        #[arg(required = true)]
        inputs: Vec<PathBuf>,
        /// Tell what a machine is told, and what it answers.
        #[arg(long)]
        tell: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse() {
        Arguments::Seeds { corpus } => {
            for target in TARGETS {
                let directory = corpus.join(target.name);
                fs::create_dir_all(&directory)
                    .with_context(|| format!("cannot make {}", directory.display()))?;
                for (number, seed) in seeds(target.name).iter().enumerate() {
                    let file = directory.join(format!("seed-{number:02}"));
                    fs::write(&file, seed)
                        .with_context(|| format!("cannot write {}", file.display()))?;
                }
            }
        }
        Arguments::Run {
            target,
            inputs,
            tell,
        } => {
            TELL.store(tell, Ordering::Relaxed);
            let Some(target) = TARGETS.iter().find(|known| known.name == target) else {
                let names = TARGETS.map(|target| target.name).join(", ");
                bail!("no fuzz target is called {target:?}; there are {names}");
            };
            for input in inputs {
                let octets =
                    fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
                println!("{}", input.display());
                (target.run)(&octets);
            }
        }
    }
    Ok(())
}
