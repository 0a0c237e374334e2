//! A mobile node and two access routers, joined by links with delay and scripted loss, on a
//! virtual clock. Every message crosses a link as the bytes that the wire would carry.
//!
//! ```text
//!        PAR ---- core ---- NAR
//!         |                  |
//!   2001:db8:1::/64    2001:db8:2::/64
//!         |                  |
//!        AP1  <-- MN -->    AP2
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::Duration,
};

use bytes::Bytes;

use super::*;
use crate::wire::{MacAddr, Packet};

/// Interface numbers, the same on every node.
pub(super) const ACCESS: InterfaceIndex = 1;
pub(super) const CORE: InterfaceIndex = 2;

pub(super) const AP1: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
pub(super) const AP2: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);
/// Another access point on the PAR's link.
pub(super) const AP1B: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 0x11]);
/// One that nobody knows.
pub(super) const AP_UNKNOWN: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 0xff]);
pub(super) const MN_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const PAR_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
pub(super) const NAR_LLA: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x22]);

pub(super) const PAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
pub(super) const NAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
pub(super) const PCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0xff, 0xfe00, 1);
pub(super) const NCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0xff, 0xfe00, 1);

pub(super) const SPI: u32 = 256;
pub(super) const KEY: &[u8] = b"a key of twenty byte";

const ACCESS_DELAY: Duration = Duration::from_millis(2);
const CORE_DELAY: Duration = Duration::from_millis(5);

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Mn,
    Par,
    Nar,
}

/// Something that will happen.
#[derive(Debug)]
enum Pending {
    Packet(Node, InterfaceIndex, Bytes),
    Link(LinkEvent),
    Drained(Node, Ipv6Addr),
}

/// What befalls messages of one kind, in the order of their sending.
pub(super) struct Fate {
    kind: &'static str,
    from: Node,
    times: usize,
    tamper: Option<fn(&mut Vec<u8>)>,
}

pub(super) struct Simulation {
    pub(super) now: Instant,
    pub(super) mn: MobileNode,
    pub(super) par: AccessRouter,
    pub(super) nar: AccessRouter,
    /// What each node put out: commands and messages by name, events by their JSON.
    pub(super) log: Vec<(Instant, Node, Output)>,
    pending: BTreeMap<(Instant, u64), Pending>,
    number: u64,
    fates: Vec<Fate>,
    /// Commands that fail: node, name, and whether the node hears of it only after the outputs
    /// behind it were carried out.
    failures: Vec<(Node, &'static str, bool)>,
    /// Whether they fail because an address is another node's.
    pub(super) in_use: bool,
    attached: Option<Node>,
    /// How long the link layer takes from one access point to the other; `None`: it gets lost.
    pub(super) gap: Option<Duration>,
    /// The default router that the MN ordered, if it stands.
    pub(super) default_router: Option<Ipv6Addr>,
    /// The addresses of the MN.
    pub(super) addresses: BTreeSet<Ipv6Addr>,
    /// What stands: node, what, for which address.
    pub(super) installed: BTreeSet<(Node, &'static str, Ipv6Addr)>,
    /// Commands that failed, of which their node does not know yet: it may undo them.
    unreported: Vec<(Node, Command)>,
    /// Packets that are held: where, for which address.
    held: BTreeMap<(Node, Ipv6Addr), Vec<Bytes>>,
    /// How long it takes until nothing is held any more.
    pub(super) drain: Duration,
    /// Buffers that are being released, or were.
    released: BTreeSet<(Node, Ipv6Addr)>,
    /// Addresses whose packets were held and have not all left.
    backlog: BTreeSet<(Node, Ipv6Addr)>,
    /// Those whose binding was removed before they had.
    pub(super) dropped: Vec<(Node, Ipv6Addr)>,
}

pub(super) fn router_config(nar: bool) -> RouterConfig {
    let prefix = |text: &str| text.parse().expect("a prefix");
    let (here, there) = if nar { (2, 1) } else { (1, 2) };
    let address = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1);
    let lla = |n: u16| if n == 1 { PAR_LLA } else { NAR_LLA };
    let access_points = |n: u16| if n == 1 { vec![AP1, AP1B] } else { vec![AP2] };
    RouterConfig {
        timers: Timers::default(),
        access: vec![AccessLink {
            interface: ACCESS,
            address: address(here),
            link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, here),
            lla: lla(here),
            prefix: prefix(&format!("2001:db8:{here}::/64")),
            access_points: access_points(here),
            mtu: LINK_MTU,
            addressing: Addressing::Stateless,
            departure: Departure::Ignore,
            duplicate_probe: None,
            on_invalid_ncoa: OnInvalidNcoa::Silent,
            known_link_addresses: Vec::new(),
        }],
        peers: vec![Peer {
            address: address(there),
            lla: lla(there),
            prefix: prefix(&format!("2001:db8:{there}::/64")),
            access_points: access_points(there),
            other_addresses: Vec::new(),
            addressing: PeerAddressing::Stateless,
            fast_handover: true,
        }],
        mobile_nodes: vec![HandoverKey {
            pcoa: if nar { NCOA } else { PCOA },
            spi: SPI,
            key: KEY.to_vec(),
        }],
        buffering: true,
        limits: Limits {
            max_handovers: 16,
            ..Limits::default()
        },
    }
}

pub(super) fn mobile_node_config() -> MobileNodeConfig {
    MobileNodeConfig {
        timers: Timers::default(),
        interface: ACCESS,
        lla: MN_LLA,
        pcoa: PCOA,
        par: PAR,
        current_access_point: Some(AP1),
        router_lla: None,
        routers: vec![RouterKey {
            router: PAR,
            prefix: None,
            access_point: None,
            spi: SPI,
            key: KEY.to_vec(),
        }],
        lifetime: Duration::from_secs(30),
        announcement: Announcement::Una,
        neighborhood_interval: None,
        silent_router_interval: None,
    }
}

impl Simulation {
    pub(super) fn new() -> Self {
        Self::with(
            mobile_node_config(),
            router_config(false),
            router_config(true),
        )
    }

    pub(super) fn with(mn: MobileNodeConfig, par: RouterConfig, nar: RouterConfig) -> Self {
        let mut simulation = Self {
            now: Instant::from_nanos(1_000_000_000),
            mn: MobileNode::new(mn, 41),
            par: AccessRouter::new(par, 100),
            nar: AccessRouter::new(nar, 200),
            log: Vec::new(),
            pending: BTreeMap::new(),
            number: 0,
            fates: Vec::new(),
            failures: Vec::new(),
            in_use: false,
            attached: Some(Node::Par),
            gap: Some(Duration::from_millis(200)),
            default_router: None,
            addresses: [PCOA].into(),
            installed: BTreeSet::new(),
            unreported: Vec::new(),
            held: BTreeMap::new(),
            drain: Duration::from_millis(1),
            released: BTreeSet::new(),
            backlog: BTreeSet::new(),
            dropped: Vec::new(),
        };
        // The mobile node's first word, before anything happened.
        simulation.carry_out(Node::Mn);
        simulation.log.clear();
        simulation
    }

    /// Loses the next `times` messages of `kind` (`usize::MAX`: all) that `from` sends.
    pub(super) fn lose(&mut self, from: Node, kind: &'static str, times: usize) {
        self.fates.push(Fate {
            kind,
            from,
            times,
            tamper: None,
        });
    }

    /// Changes all messages of `kind` that `from` sends.
    pub(super) fn tamper(&mut self, from: Node, kind: &'static str, tamper: fn(&mut Vec<u8>)) {
        self.fates.push(Fate {
            kind,
            from,
            times: usize::MAX,
            tamper: Some(tamper),
        });
    }

    /// Makes every command of this name fail, and says so at once.
    pub(super) fn fail(&mut self, node: Node, command: &'static str) {
        self.failures.push((node, command, false));
    }

    /// Makes every command of this name fail, and says so after the outputs behind it.
    pub(super) fn fail_late(&mut self, node: Node, command: &'static str) {
        self.failures.push((node, command, true));
    }

    /// From now on all commands succeed, and no message is lost.
    pub(super) fn repair(&mut self) {
        self.failures.clear();
        self.fates.clear();
    }

    pub(super) fn link(&mut self, event: LinkEvent) {
        self.input(Node::Mn, Input::Link(event));
    }

    /// The link layer is about to move to AP2.
    pub(super) fn impend(&mut self) {
        self.link(LinkEvent::HandoverImpend { access_point: AP2 });
    }

    /// The mobile node's link goes down and comes up there.
    pub(super) fn come_up(&mut self, access_point: MacAddr) {
        self.link(LinkEvent::LinkDown);
        self.happen(Pending::Link(LinkEvent::LinkUp { access_point }));
    }

    /// A packet arrives, whoever sent it.
    pub(super) fn inject(&mut self, node: Node, interface: InterfaceIndex, bytes: Bytes) {
        self.inject_from(node, interface, MN_LLA, bytes);
    }

    /// A packet arrives in a frame from this address.
    pub(super) fn inject_from(
        &mut self,
        node: Node,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: Bytes,
    ) {
        let packet = Input::Packet {
            interface,
            link_source,
            bytes,
        };
        self.input(node, packet);
    }

    /// Hands over an input, and carries out what follows from it at once.
    pub(super) fn input(&mut self, node: Node, input: Input) {
        let now = self.now;
        match node {
            Node::Mn => self.mn.handle_input(now, input),
            Node::Par => self.par.handle_input(now, input),
            Node::Nar => self.nar.handle_input(now, input),
        }
        self.carry_out(node);
    }

    /// Lets time pass until nothing is left to happen, or until `limit` has passed.
    pub(super) fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        loop {
            let pending = self.pending.first_key_value().map(|(&(at, _), _)| at);
            let timer = [
                (self.mn.poll_timeout(), Node::Mn),
                (self.par.poll_timeout(), Node::Par),
                (self.nar.poll_timeout(), Node::Nar),
            ]
            .into_iter()
            .filter_map(|(at, node)| at.map(|at| (at, node)))
            .min();
            let next = pending.into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|&next| next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if pending == Some(next) {
                let (_, pending) = self.pending.pop_first().expect("it was just looked at");
                self.happen(pending);
            } else if let Some((_, node)) = timer {
                let now = self.now;
                match node {
                    Node::Mn => self.mn.handle_timeout(now),
                    Node::Par => self.par.handle_timeout(now),
                    Node::Nar => self.nar.handle_timeout(now),
                }
                self.carry_out(node);
            }
        }
    }

    fn happen(&mut self, pending: Pending) {
        match pending {
            // The MN may have left the link while the frame was in the air.
            Pending::Packet(Node::Mn, _, _) if self.attached.is_none() => {}
            Pending::Packet(node, interface, bytes) => self.inject(node, interface, bytes),
            Pending::Link(event) => {
                if let LinkEvent::LinkUp { access_point } = event {
                    let at = if access_point == AP2 {
                        Node::Nar
                    } else {
                        Node::Par
                    };
                    self.attached = Some(at);
                }
                self.link(event);
            }
            Pending::Drained(node, address) => {
                let of = (node, address);
                if self.released.contains(&of)
                    || self.installed.contains(&(node, "tunnel", address))
                {
                    self.backlog.remove(&of);
                }
                self.input(node, Input::Drained { address });
            }
        }
    }

    fn after(&mut self, delay: Duration, pending: Pending) {
        self.number += 1;
        self.pending
            .insert((self.now + delay, self.number), pending);
    }

    /// Carries out what a node wants.
    pub(super) fn carry_out(&mut self, node: Node) {
        loop {
            let output = match node {
                Node::Mn => self.mn.poll_output(),
                Node::Par => self.par.poll_output(),
                Node::Nar => self.nar.poll_output(),
            };
            let Some(output) = output else { break };
            self.log.push((self.now, node, output.clone()));
            match output {
                Output::Transmit(transmit) => self.transmit(node, transmit),
                Output::Event(_) => {}
                Output::Command(command) => {
                    let failing = |&&(of, name, _): &&(Node, &str, bool)| {
                        of == node && name == command.name()
                    };
                    match self.failures.iter().find(failing).copied() {
                        None => self.execute(node, command),
                        // The kernel finds that out when it has configured it.
                        Some(_) if self.in_use && self.is_configured(&command) => {
                            self.report_failure(node, command);
                        }
                        Some((_, _, false)) => self.report_failure(node, command),
                        Some((_, _, true)) => self.unreported.push((node, command)),
                    }
                }
            }
        }
        if !self.unreported.is_empty() {
            let (node, command) = self.unreported.remove(0);
            self.report_failure(node, command);
            self.carry_out(node);
        }
    }

    fn is_configured(&mut self, command: &Command) -> bool {
        match command {
            Command::ConfigureAddress { address, .. } => {
                self.addresses.insert(*address);
                true
            }
            _ => false,
        }
    }

    fn report_failure(&mut self, node: Node, command: Command) {
        let now = self.now;
        let error = match self.in_use {
            true => CommandError::InUse("no".to_owned()),
            false => CommandError::Other("no".to_owned()),
        };
        let failed = Input::CommandFailed { command, error };
        match node {
            Node::Mn => self.mn.handle_input(now, failed),
            Node::Par => self.par.handle_input(now, failed),
            Node::Nar => self.nar.handle_input(now, failed),
        }
    }

    /// Keeps the books of what is installed: nothing may be removed that does not stand, and one
    /// address cannot be tunnelled and held at once, for the data path has one binding for it.
    /// A tunnel takes over what is held, and the order to hold takes the tunnel's place.
    fn execute(&mut self, node: Node, command: Command) {
        match command {
            Command::InstallTunnel { pcoa, .. }
                if self.installed.remove(&(node, "buffer", pcoa)) =>
            {
                self.released.remove(&(node, pcoa));
                self.after(self.drain, Pending::Drained(node, pcoa));
            }
            Command::StartBuffering { address, .. } => {
                self.installed.remove(&(node, "tunnel", address));
                self.released.remove(&(node, address));
                self.backlog.insert((node, address));
            }
            Command::RemoveTunnel { pcoa: address } | Command::RemoveBuffer { address }
                if self.backlog.remove(&(node, address)) =>
            {
                self.dropped.push((node, address));
            }
            _ => {}
        }
        let mut install = |what, address, replaces: bool| {
            let is_new = self.installed.insert((node, what, address));
            assert!(is_new || replaces, "{what} for {address} a second time");
        };
        match command {
            Command::InstallTunnel { pcoa, .. } => install("tunnel", pcoa, true),
            Command::StartBuffering { address, .. } => install("buffer", address, true),
            Command::AddProxyNd { address, .. } => install("proxy", address, false),
            Command::HoldUplink { pcoa, .. } => install("uplink", pcoa, true),
            Command::RemoveTunnel { pcoa } => self.remove(node, "tunnel", pcoa),
            Command::RemoveBuffer { address } => {
                self.held.remove(&(node, address));
                self.released.remove(&(node, address));
                // That of a tunnel whose place could not be taken.
                let held = self.installed.contains(&(node, "buffer", address));
                let tunnelled = self.installed.contains(&(node, "tunnel", address));
                match tunnelled && !held {
                    true => self.remove(node, "tunnel", address),
                    false => self.remove(node, "buffer", address),
                }
            }
            Command::RemoveProxyNd { address, .. } => self.remove(node, "proxy", address),
            Command::RemoveUplink { pcoa } => self.remove(node, "uplink", pcoa),
            Command::ReleaseBuffer { address, .. } => {
                let doubtful = |(of, command): &(Node, Command)| {
                    *of == node
                        && matches!(*command, Command::StartBuffering { address: held, .. } if held == address)
                };
                let stands = self.installed.contains(&(node, "buffer", address));
                assert!(stands || self.unreported.iter().any(doubtful));
                self.released.insert((node, address));
                for bytes in self.held.remove(&(node, address)).unwrap_or_default() {
                    self.after(ACCESS_DELAY, Pending::Packet(Node::Mn, ACCESS, bytes));
                }
                self.after(self.drain, Pending::Drained(node, address));
            }
            Command::ReleaseUplink { pcoa, .. } => {
                let doubtful = |(_, command): &(Node, Command)| matches!(*command, Command::HoldUplink { pcoa: held, .. } if held == pcoa);
                let stands = self.installed.contains(&(node, "uplink", pcoa));
                assert!(stands || self.unreported.iter().any(doubtful));
                self.after(Duration::from_millis(1), Pending::Drained(node, pcoa));
            }
            Command::StartCopying { address, .. } => install("buffer", address, true),
            Command::AddHostRoute { address, .. } => install("host route", address, false),
            Command::RemoveHostRoute { address, .. } => self.remove(node, "host route", address),
            Command::ConfigureAddress { address, .. } | Command::RestoreAddress { address, .. } => {
                self.addresses.insert(address);
            }
            Command::PreferAddress { address, .. } | Command::KeepAddress { address, .. } => {
                let is_there = self.addresses.contains(&address);
                assert!(
                    is_there || self.is_doubtful(address),
                    "{address} is not there"
                );
            }
            Command::RemoveAddress { address, .. } => {
                let was_there = self.addresses.remove(&address);
                assert!(
                    was_there || self.is_doubtful(address),
                    "{address} is not there to remove"
                );
            }
            Command::AddNeighbor { .. } | Command::StoreSequence { .. } => {}
            Command::SetDefaultRouter { router, .. } => self.default_router = Some(router),
            Command::ForgetRouter { .. } => {
                let doubtful = |(_, command): &(Node, Command)| {
                    matches!(command, Command::SetDefaultRouter { .. })
                };
                assert!(self.default_router.is_some() || self.unreported.iter().any(doubtful));
                self.default_router = None;
            }
            Command::SwitchLink { access_point } => {
                self.attached = None;
                self.after(Duration::ZERO, Pending::Link(LinkEvent::LinkDown));
                if let Some(gap) = self.gap {
                    self.after(gap, Pending::Link(LinkEvent::LinkUp { access_point }));
                }
            }
        }
    }

    /// Whether the mobile node cannot know yet that it does not have this address.
    fn is_doubtful(&self, address: Ipv6Addr) -> bool {
        self.unreported.iter().any(|(_, command)| match *command {
            Command::ConfigureAddress { address: of, .. }
            | Command::RestoreAddress { address: of, .. } => of == address,
            _ => false,
        })
    }

    fn remove(&mut self, node: Node, what: &'static str, address: Ipv6Addr) {
        let doubtful = |(of, command): &(Node, Command)| {
            let subject = match *command {
                Command::InstallTunnel { pcoa, .. } => ("tunnel", pcoa),
                Command::StartBuffering { address, .. } | Command::StartCopying { address, .. } => {
                    ("buffer", address)
                }
                Command::AddProxyNd { address, .. } => ("proxy", address),
                Command::HoldUplink { pcoa, .. } => ("uplink", pcoa),
                _ => return false,
            };
            *of == node && subject == (what, address)
        };
        let stood =
            self.installed.remove(&(node, what, address)) || self.unreported.iter().any(doubtful);
        assert!(stood, "{node:?}: no {what} for {address} to remove");
    }

    fn transmit(&mut self, from: Node, transmit: Transmit) {
        let mut bytes = transmit.bytes.to_vec();
        let packet = Packet::decode(&bytes).expect("what we send can be read");
        let kind = packet.message.name();
        let fate = |fate: &&mut Fate| fate.from == from && fate.kind == kind && fate.times > 0;
        if let Some(fate) = self.fates.iter_mut().find(fate) {
            fate.times -= 1;
            match fate.tamper {
                Some(tamper) => tamper(&mut bytes),
                None => return,
            }
        }
        let bytes = Bytes::from(bytes);
        let to = packet.destination;
        let on_link = |of: Node| if of == Node::Par { 1 } else { 2 };
        let delivery = match (from, transmit.interface) {
            // Through the NAR: it forwards what is for the other.
            (Node::Mn, _) if self.attached == Some(Node::Nar) && to == PAR => {
                Some((Node::Par, CORE, ACCESS_DELAY + CORE_DELAY))
            }
            (Node::Mn, _) => self.attached.map(|router| (router, ACCESS, ACCESS_DELAY)),
            (router, Some(ACCESS)) => {
                (self.attached == Some(router)).then_some((Node::Mn, ACCESS, ACCESS_DELAY))
            }
            (_, Some(_)) => None,
            (Node::Par, None) if to.segments()[2] == on_link(Node::Nar) => {
                Some((Node::Nar, CORE, CORE_DELAY))
            }
            (Node::Nar, None) if to.segments()[2] == on_link(Node::Par) => {
                Some((Node::Par, CORE, CORE_DELAY))
            }
            (_, None) => None,
        };
        match delivery {
            // The data path's part: it is held, or passed on to the link.
            Some((node, CORE, delay)) if ![PAR, NAR].contains(&to) => {
                let is_bound = self.installed.contains(&(node, "buffer", to));
                if is_bound && !self.released.contains(&(node, to)) {
                    self.held.entry((node, to)).or_default().push(bytes);
                } else if self.attached == Some(node) {
                    let delivered = Pending::Packet(Node::Mn, ACCESS, bytes);
                    self.after(delay + ACCESS_DELAY, delivered);
                }
            }
            Some((node, interface, delay)) => {
                self.after(delay, Pending::Packet(node, interface, bytes));
            }
            None => {}
        }
    }

    // What was seen

    /// Commands and messages of all nodes in their order: `par: install-tunnel`, `mn: -> FBU`.
    pub(super) fn steps(&self) -> Vec<String> {
        let step = |(_, node, output): &(Instant, Node, Output)| {
            let what = match output {
                Output::Transmit(transmit) => {
                    let packet = Packet::decode(&transmit.bytes).expect("what we send can be read");
                    format!("-> {}", packet.message.name())
                }
                // Bookkeeping, which changes nothing that a packet of a handover could meet.
                Output::Command(
                    Command::StoreSequence { .. }
                    | Command::PreferAddress { .. }
                    | Command::KeepAddress { .. }
                    | Command::RestoreAddress { .. }
                    | Command::RemoveAddress { .. },
                )
                | Output::Event(_) => return None,
                Output::Command(command) => command.name().to_owned(),
            };
            Some(format!("{node:?}: {what}").to_lowercase())
        };
        self.log.iter().filter_map(step).collect()
    }

    /// How often a node put this out: a command's name, or `-> FBU` for a message.
    pub(super) fn count(&self, step: &str) -> usize {
        let step = step.to_lowercase();
        self.steps().iter().filter(|seen| **seen == step).count()
    }

    /// When a node sent messages of this kind, in milliseconds after `start`.
    pub(super) fn times(&self, start: Instant, from: Node, kind: &str) -> Vec<u128> {
        self.messages(from, kind)
            .map(|(at, _)| (at - start).as_millis())
            .collect()
    }

    /// The messages of this kind that a node sent.
    pub(super) fn messages(
        &self,
        from: Node,
        kind: &str,
    ) -> impl Iterator<Item = (Instant, Packet)> {
        self.log.iter().filter_map(move |(at, node, output)| {
            let Output::Transmit(transmit) = output else {
                return None;
            };
            let packet = Packet::decode(&transmit.bytes).expect("what we send can be read");
            (*node == from && packet.message.name() == kind).then_some((*at, packet))
        })
    }

    /// A node's events as JSON.
    pub(super) fn events(&self, of: Node) -> Vec<String> {
        let event = |(_, node, output): &(Instant, Node, Output)| match output {
            Output::Event(event) if *node == of => {
                Some(serde_json::to_string(event).expect("an event is plain data"))
            }
            _ => None,
        };
        self.log.iter().filter_map(event).collect()
    }

    /// Asserts that nothing is left: nothing installed, no handover, nothing that is counted or found by one, no
    /// deadline.
    pub(super) fn assert_clean(&self) {
        assert_eq!(self.installed, BTreeSet::new());
        assert_eq!(self.mn.handovers(), []);
        assert_eq!(self.par.handovers(), []);
        assert_eq!(self.nar.handovers(), []);
        assert_eq!(self.par.left_of_handovers(), [""; 0]);
        assert_eq!(self.nar.left_of_handovers(), [""; 0]);
        assert_eq!(self.mn.poll_timeout(), None);
        assert_eq!(self.par.poll_timeout(), None);
        assert_eq!(self.nar.poll_timeout(), None);
    }
}
