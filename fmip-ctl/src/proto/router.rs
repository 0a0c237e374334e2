//! The machine of an access router: previous router of some handovers, new router of others.

use std::collections::VecDeque;

use crate::wire::Packet;

use super::{Counters, HandoverStatus, Input, Instant, Output, Reason, RouterConfig};

/// The protocol of an access router; see the [module](super) for how to drive it.
#[derive(Debug)]
pub struct AccessRouter {
    config: RouterConfig,
    seed: u64,
    counters: Counters,
    outputs: VecDeque<Output>,
}

impl AccessRouter {
    /// Makes a machine whose first sequence numbers come from `seed`.
    pub fn new(config: RouterConfig, seed: u64) -> Self {
        Self {
            config,
            seed,
            counters: Counters::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let _ = (now, &self.config, self.seed);
        if let Input::Packet { bytes, .. } = input {
            let reason = match Packet::decode(&bytes) {
                Ok(_) => Reason::Unexpected,
                Err(_) => Reason::Malformed,
            };
            self.counters.count(reason);
        }
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When `handle_timeout` is to be called next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How often what happened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The handovers that are under way.
    pub fn handovers(&self) -> Vec<HandoverStatus> {
        Vec::new()
    }
}
