//! The protocol core in the role that the configuration gives it, on the kernel's clock, and
//! recorded if that is wanted.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::Ipv6Addr,
    path::Path,
};

use anyhow::{Context as _, Result};

use super::monotonic_ns;
use crate::{
    config::{self, Config, Role},
    proto::{
        Counters, HandoverStatus, Input, Instant, Machine as Core, MachineConfig, MobileNodeConfig,
        MobileNodeStatus, Output, Prospect, RouterConfig,
    },
    record::Recorder,
    wire::MacAddr,
};

/// The protocol core in one of its roles.
pub(super) struct Machine {
    core: Core,
    recorder: Option<Recorder>,
    /// When it was told something last.
    now: Instant,
    /// Up to which revision its prospects were asked for.
    prospects: Option<u64>,
}

impl Machine {
    /// Makes the core of the configured role, and records what it is told and does in a new file
    /// at `record`. `router_lla` is what the kernel knows of a mobile node's router.
    pub(super) fn new(
        config: &Config,
        interfaces: &[config::Interface],
        router_lla: Option<MacAddr>,
        record: Option<&Path>,
    ) -> Result<Self> {
        // Sequence numbers and identifiers need not be secret, only different at each start.
        let seed = RandomState::new().build_hasher().finish();
        let config = match &config.role {
            Role::AccessRouter(router) => {
                MachineConfig::AccessRouter(config.router_config(router, interfaces)?)
            }
            Role::MobileNode(node) => {
                let told = config.mobile_node_config(node, interfaces)?;
                MachineConfig::MobileNode(MobileNodeConfig { router_lla, ..told })
            }
        };
        let recorder = record
            .map(|path| {
                Recorder::create(path, seed, config.clone())
                    .with_context(|| format!("cannot record to {}", path.display()))
            })
            .transpose()?;
        Ok(Self {
            core: Core::new(config, seed),
            recorder,
            now: now(),
            prospects: None,
        })
    }

    /// Gives a router back what it had kept before it was restarted.
    pub(super) fn restore_sequence(&mut self, pcoa: Ipv6Addr, sequence: u16) {
        if let Some(recorder) = &mut self.recorder {
            recorder.restore(self.now, pcoa, sequence);
        }
        self.core.restore_sequence(pcoa, sequence);
    }

    /// Exchanges a router's configuration.
    pub(super) fn reload(&mut self, config: RouterConfig) {
        self.now = now();
        if let Some(recorder) = &mut self.recorder {
            recorder.reload(self.now, &config);
        }
        self.core.reload(self.now, config);
    }

    pub(super) fn handle_input(&mut self, input: Input) {
        self.now = now();
        if let Some(recorder) = &mut self.recorder {
            recorder.input(self.now, &input);
        }
        self.core.handle_input(self.now, input);
    }

    pub(super) fn handle_timeout(&mut self) {
        self.now = now();
        if let Some(recorder) = &mut self.recorder {
            recorder.timeout(self.now);
        }
        self.core.handle_timeout(self.now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        let output = self.core.poll_output();
        if let Some(recorder) = &mut self.recorder {
            match &output {
                Some(output) => recorder.output(self.now, output),
                // Before the sleep that follows.
                None => recorder.flush(),
            }
        }
        output
    }

    pub(super) fn may_register(&self, care_of: Ipv6Addr) -> Result<(), String> {
        self.core.may_register(care_of)
    }

    /// Of a mobile node.
    pub(super) fn mobile_node(&self) -> Option<MobileNodeStatus> {
        self.core.mobile_node()
    }

    /// What moves of a mobile node lead to, if that has changed since this was asked last.
    pub(super) fn new_prospects(&mut self) -> Option<BTreeMap<MacAddr, Prospect>> {
        let Core::MobileNode(node) = &self.core else {
            return None;
        };
        let revision = Some(node.prospects_revision());
        (std::mem::replace(&mut self.prospects, revision) != revision).then(|| node.prospects())
    }

    pub(super) fn counters(&self) -> &Counters {
        self.core.counters()
    }

    pub(super) fn handovers(&self) -> Vec<HandoverStatus> {
        self.core.handovers()
    }

    /// Nothing is told any more, and all was polled.
    pub(super) fn end(&mut self) {
        if let Some(recorder) = self.recorder.take() {
            recorder.end(now());
        }
    }
}

/// The clock: the one that the data path reads, so that a lifetime means the same to both.
pub(super) fn now() -> Instant {
    Instant::from_nanos(monotonic_ns())
}
