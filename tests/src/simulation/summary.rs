//! What became of a world.

use std::{fmt, time::Duration};

use super::{books::Ends, flow::Loss};

/// What must not be, and when it was.
#[derive(Debug)]
pub struct Violation {
    /// The seed of the world.
    pub seed: u64,
    /// The time since the beginning.
    pub time: Duration,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} at {:.3} s: {}",
            self.seed,
            self.time.as_secs_f64(),
            self.what
        )
    }
}

/// What happened in a world.
#[derive(Copy, Clone, Debug, Default)]
pub struct Summary {
    /// Journeys that came to their end.
    pub journeys: u64,
    /// Moves from one router to another.
    pub moves: u64,
    /// Of these, those with a tunnel from the old router.
    pub fast: u64,
    /// Of these, those that fell back to ordinary mobility.
    pub fallen_back: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// How the buffers ended.
    pub ends: Ends,
    /// What became of the correspondents' packets in fast handovers that were predicted.
    pub predicted: Loss,
    /// And in all other moves.
    pub others: Loss,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.journeys += other.journeys;
        self.moves += other.moves;
        self.fast += other.fast;
        self.fallen_back += other.fallen_back;
        self.messages += other.messages;
        self.lost += other.lost;
        self.ends.released += other.ends.released;
        self.ends.handed_on += other.ends.handed_on;
        self.ends.expired += other.ends.expired;
        self.ends.cancelled += other.ends.cancelled;
        self.predicted += other.predicted;
        self.others += other.others;
    }
}
