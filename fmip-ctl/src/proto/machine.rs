//! The machine of either role, driven in the same way.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    AccessRouter, Counters, HandoverStatus, Input, Instant, MobileNode, MobileNodeConfig,
    MobileNodeStatus, Output, RouterConfig,
};

/// What a machine must know, and by that which role it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", content = "config", rename_all = "kebab-case")]
pub enum MachineConfig {
    /// An access router's.
    AccessRouter(RouterConfig),
    /// A mobile node's.
    MobileNode(MobileNodeConfig),
}

/// An [`AccessRouter`] or a [`MobileNode`]; see the [module](super) for how to drive it.
#[derive(Debug)]
pub enum Machine {
    /// An access router.
    AccessRouter(Box<AccessRouter>),
    /// A mobile node.
    MobileNode(Box<MobileNode>),
}

impl Machine {
    /// Makes the machine of the role that the configuration is of.
    pub fn new(config: MachineConfig, seed: u64) -> Self {
        match config {
            MachineConfig::AccessRouter(config) => {
                Self::AccessRouter(Box::new(AccessRouter::new(config, seed)))
            }
            MachineConfig::MobileNode(config) => {
                Self::MobileNode(Box::new(MobileNode::new(config, seed)))
            }
        }
    }

    /// As [`AccessRouter::restore_sequence`]; a mobile node has no use for it.
    pub fn restore_sequence(&mut self, pcoa: Ipv6Addr, sequence: u16) {
        if let Self::AccessRouter(machine) = self {
            machine.restore_sequence(pcoa, sequence);
        }
    }

    /// As [`AccessRouter::reload`]; a mobile node takes its configuration at its start only.
    pub fn reload(&mut self, now: Instant, config: RouterConfig) {
        if let Self::AccessRouter(machine) = self {
            machine.reload(now, config);
        }
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match self {
            Self::AccessRouter(machine) => machine.handle_input(now, input),
            Self::MobileNode(machine) => machine.handle_input(now, input),
        }
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::AccessRouter(machine) => machine.handle_timeout(now),
            Self::MobileNode(machine) => machine.handle_timeout(now),
        }
    }

    /// When `handle_timeout` is to be called next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::AccessRouter(machine) => machine.poll_timeout(),
            Self::MobileNode(machine) => machine.poll_timeout(),
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::AccessRouter(machine) => machine.poll_output(),
            Self::MobileNode(machine) => machine.poll_output(),
        }
    }

    /// Whether a mobile node can have this address registered.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn may_register(&self, care_of: Ipv6Addr) -> Result<(), String> {
        match self {
            Self::AccessRouter(_) => {
                Err("`registered` is for a mobile node; this is an access router".to_owned())
            }
            Self::MobileNode(machine) => machine.may_register(care_of),
        }
    }

    /// What a mobile node knows and does; `None` of a router.
    pub fn mobile_node(&self) -> Option<MobileNodeStatus> {
        match self {
            Self::AccessRouter(_) => None,
            Self::MobileNode(machine) => Some(machine.status()),
        }
    }

    /// How often what happened.
    pub fn counters(&self) -> &Counters {
        match self {
            Self::AccessRouter(machine) => machine.counters(),
            Self::MobileNode(machine) => machine.counters(),
        }
    }

    /// The handovers that are under way.
    pub fn handovers(&self) -> Vec<HandoverStatus> {
        match self {
            Self::AccessRouter(machine) => machine.handovers(),
            Self::MobileNode(machine) => machine.handovers(),
        }
    }
}
