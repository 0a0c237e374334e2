//! Runs simulated journeys: many of them, or one whose seed failed, with all that happens in it.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;
use fmip_tests::simulation::{Summary, Violation, World};

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
        None => explore(&cli),
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

fn explore(cli: &Cli) -> ExitCode {
    let start = Instant::now();
    let next = AtomicU64::new(cli.from);
    let total = Mutex::new((Summary::default(), Vec::<Violation>::new(), 0_u64));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let result = World::new(seed, false).run();
                    let mut total = total.lock().expect("no worker panics with the lock");
                    match result {
                        Ok(summary) => {
                            total.0 += summary;
                            total.2 += 1;
                        }
                        Err(violation) => total.1.push(violation),
                    }
                    if total.0.journeys >= cli.journeys || total.1.len() >= cli.failures {
                        return;
                    }
                }
            });
        }
    });
    let (summary, violations, worlds) = total.into_inner().expect("the workers are done");
    println!(
        "{} journeys in {worlds} worlds, {:.1} s: {summary:#?}",
        summary.journeys,
        start.elapsed().as_secs_f64()
    );
    for violation in &violations {
        eprintln!("FAULT {violation}");
        eprintln!(
            "      replay: cargo run -p fmip-tests --bin fmip-journeys -- --seed {}",
            violation.seed
        );
    }
    match violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
