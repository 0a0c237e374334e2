//! The protocol core in the role that the configuration gives it, on the kernel's clock.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::Ipv6Addr,
};

use anyhow::{Result, bail};

use super::monotonic_ns;
use crate::{
    config::{self, Config, Role},
    proto::{
        AccessRouter, Counters, HandoverStatus, Input, Instant, MobileNode, Output, RouterConfig,
    },
};

/// The protocol core in one of its roles.
pub(super) enum Machine {
    Router(Box<AccessRouter>),
    MobileNode(Box<MobileNode>),
}

impl Machine {
    pub(super) fn new(config: &Config, interfaces: &[config::Interface]) -> Result<Self> {
        // Sequence numbers and identifiers need not be secret, only different at each start.
        let seed = RandomState::new().build_hasher().finish();
        Ok(match &config.role {
            Role::AccessRouter(router) => Self::Router(Box::new(AccessRouter::new(
                config.router_config(router, interfaces)?,
                seed,
            ))),
            Role::MobileNode(node) => Self::MobileNode(Box::new(MobileNode::new(
                config.mobile_node_config(node, interfaces)?,
                seed,
            ))),
        })
    }

    pub(super) fn handle_input(&mut self, input: Input) {
        let now = now();
        match self {
            Self::Router(machine) => machine.handle_input(now, input),
            Self::MobileNode(machine) => machine.handle_input(now, input),
        }
    }

    /// Gives a router back what it had kept before it was restarted.
    pub(super) fn restore_sequence(&mut self, pcoa: Ipv6Addr, sequence: u16) {
        if let Self::Router(machine) = self {
            machine.restore_sequence(pcoa, sequence);
        }
    }

    /// Exchanges a router's configuration.
    pub(super) fn reload(&mut self, config: RouterConfig) -> Result<()> {
        match self {
            Self::Router(machine) => machine.reload(now(), config),
            Self::MobileNode(_) => bail!("a mobile node takes its configuration at its start"),
        }
        Ok(())
    }

    pub(super) fn handle_timeout(&mut self) {
        let now = now();
        match self {
            Self::Router(machine) => machine.handle_timeout(now),
            Self::MobileNode(machine) => machine.handle_timeout(now),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Router(machine) => machine.poll_timeout(),
            Self::MobileNode(machine) => machine.poll_timeout(),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Router(machine) => machine.poll_output(),
            Self::MobileNode(machine) => machine.poll_output(),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        match self {
            Self::Router(machine) => machine.counters(),
            Self::MobileNode(machine) => machine.counters(),
        }
    }

    pub(super) fn handovers(&self) -> Vec<HandoverStatus> {
        match self {
            Self::Router(machine) => machine.handovers(),
            Self::MobileNode(machine) => machine.handovers(),
        }
    }
}

/// The clock: the one that the data path reads, so that a lifetime means the same to both.
pub(super) fn now() -> Instant {
    Instant::from_nanos(monotonic_ns())
}
