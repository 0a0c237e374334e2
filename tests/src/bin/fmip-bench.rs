//! Measures the data path, and says how it stands to what it is to reach.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use fmip_tests::{
    bench::{self, Options, plot},
    controller::find_fmip_ctl,
    topology,
    wait::{Interrupted, catch_signals},
};

/// Measures the data path beside what a user would take instead.
#[derive(Parser)]
#[command(name = "fmip-bench", version)]
struct Cli {
    /// Only figures whose key begins so; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Prints an array of objects and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Draws the plots, too, as SVG files in this directory.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Few and short measurements: to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// The controller; default: $FMIP_CTL, or the one built beside this program.
    #[arg(long, value_name = "PATH")]
    fmip_ctl: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    if let Some(reason) = topology::missing() {
        bail!("nothing can be measured here: {reason}");
    }
    // So that namespaces go away with their owners.
    catch_signals().context("cannot catch signals")?;
    if let Some(directory) = &cli.plots {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let report = bench::run(&Options {
        only: cli.only,
        quick: cli.quick,
        plots: cli.plots.is_some(),
        fmip_ctl: match cli.fmip_ctl {
            Some(path) => path,
            None => find_fmip_ctl()?,
        },
    })?;
    if let Some(directory) = &cli.plots {
        for drawing in &report.plots {
            let path = plot::write(drawing, directory)?;
            eprintln!("bench: {}", path.display());
        }
    }
    if cli.json {
        println!("{}", report.json());
        for skipped in &report.skipped {
            eprintln!("{}: SKIPPED: {}", skipped.name, skipped.reason);
        }
    } else {
        print!("{report}");
    }
    Ok(())
}
