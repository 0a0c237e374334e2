//! Runs simulated journeys: many of them, or one whose seed failed, with all that happens in it.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use fmip_tests::simulation::{Exploration, World, explore, replay_command};

/// Runs random journeys of mobile nodes over access routers in a simulated network.
#[derive(Parser)]
#[command(name = "fmip-journeys", version, about)]
struct Cli {
    /// Runs the world of this seed alone, and prints all that happens in it.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// How many journeys to run, at least.
    #[arg(long, default_value_t = 10_000)]
    journeys: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many failing worlds to find before giving up.
    #[arg(long, default_value_t = 1)]
    failures: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.seed {
        Some(seed) => replay(seed),
        None => run(&cli),
    }
}

fn replay(seed: u64) -> ExitCode {
    let mut world = World::new(seed, true);
    let result = world.run();
    for line in world.trace() {
        println!("{line}");
    }
    match result {
        Ok(summary) => {
            println!("{summary:#?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("FAULT {violation}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> ExitCode {
    let start = Instant::now();
    let Exploration {
        summary,
        worlds,
        violations,
    } = explore(cli.from, cli.journeys, cli.failures);
    println!(
        "{} journeys in {worlds} worlds, {:.1} s: {summary:#?}",
        summary.journeys,
        start.elapsed().as_secs_f64()
    );
    for violation in &violations {
        eprintln!("FAULT {violation}");
        eprintln!("      replay: {}", replay_command(violation.seed));
    }
    match violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
