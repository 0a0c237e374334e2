//! Many worlds, on all processors.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{Summary, Violation, World};

/// What many worlds came to.
#[derive(Debug, Default)]
pub struct Exploration {
    /// Of the worlds in which nothing was wrong.
    pub summary: Summary,
    /// Worlds in which nothing was wrong.
    pub worlds: u64,
    /// What was wrong in the others, by seed.
    pub violations: Vec<Violation>,
}

/// Runs the worlds of the seeds from `from` on, until there were `journeys` journeys or `failures`
/// worlds with something wrong. Which worlds run does not depend on the processors, but for those
/// that are under way when the end is reached.
pub fn explore(from: u64, journeys: u64, failures: usize) -> Exploration {
    let next = AtomicU64::new(from);
    let found = Mutex::new(Exploration::default());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let result = World::new(seed, false).run();
                    let mut found = found.lock().expect("no worker panics with the lock");
                    match result {
                        Ok(summary) => {
                            found.summary += summary;
                            found.worlds += 1;
                        }
                        Err(violation) => found.violations.push(violation),
                    }
                    let is_over =
                        found.summary.journeys >= journeys || found.violations.len() >= failures;
                    if is_over {
                        return;
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no worker panics with the lock");
    found.violations.sort_by_key(|violation| violation.seed);
    found
}

/// The command that shows all that happens in the world of a seed.
pub fn replay_command(seed: u64) -> String {
    format!("cargo run -p fmip-tests --bin fmip-journeys -- --seed {seed}")
}
