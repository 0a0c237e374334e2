//! The world: routers, mobile nodes, the links between them, and the clock.

mod attack;
mod correspondents;
mod journeys;
mod links;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use fmip_ctl::proto::{
    AccessRouter, Admin, Command, CommandError, Input, Instant, InterfaceIndex, Machine,
    MobileNode, Output, StationEvent,
};
use fmip_ctl::wire::{MacAddr, Packet};

use super::books::{Books, Data, Effect, Load};
use super::flow::Flow;
use super::judge::Judge;
use super::plan::{self, Plan, access_point};
use super::summary::{Summary, Violation};

/// When a world begins.
const BEGINNING: Instant = Instant::from_nanos(1_000_000_000);
/// How long a link waits for a mobile node that was told to move and does not say that it is ready.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a correspondent goes on after a move.
const AFTERWARDS: Duration = Duration::from_millis(400);
/// Longer than anything lasts: after it nothing may be left.
const FOREVER: Duration = Duration::from_secs(400);
/// How long a correspondent waits between two packets: those of a voice call.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long its packets take between two routers, and on an access link. Always the same, so that
/// it is not the network that reorders them; and on an access link no longer than signalling, which
/// queues behind them.
const CORE_DELAY: Duration = Duration::from_millis(4);
const ACCESS_DELAY: Duration = Duration::from_micros(100);
/// How often a packet may enter another tunnel on its way.
const MAX_TUNNELS: usize = 8;
/// How many messages an attacker remembers.
const MAX_CAPTURED: usize = 32;

/// One of the nodes.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeId {
    /// An access router, by its number.
    Router(usize),
    /// A mobile node, by its number.
    Mobile(usize),
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(index) => write!(f, "r{index}"),
            Self::Mobile(index) => write!(f, "m{index}"),
        }
    }
}

struct Node {
    machine: Machine,
    books: Books,
}

/// Where a mobile node is on its journey.
struct Journey {
    legs: VecDeque<plan::Leg>,
    /// The leg that is under way.
    leg: Option<plan::Leg>,
    /// Where its radio is attached.
    place: Option<MacAddr>,
    /// Where it was attached last.
    last: MacAddr,
    /// Of its link: what was announced of an earlier one does not happen.
    generation: u64,
    /// What a correspondent sends, one flow for each move.
    flows: Vec<Flow>,
}

enum Pending {
    Packet {
        to: NodeId,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: Bytes,
    },
    Drained(NodeId, Ipv6Addr, u64),
    /// The next leg of a journey begins.
    Depart(usize),
    /// The link of a mobile node goes, to come up there.
    Leave(usize, u64, MacAddr, Duration),
    LinkUp(usize, u64, MacAddr),
    /// The correspondent of a mobile node sends the next packet.
    Speak(usize, usize),
    /// A packet of a correspondent comes to a router, for this address.
    Data(usize, Data, Ipv6Addr),
    /// It comes to the mobile nodes on a router's link.
    Heard(usize, Data, Ipv6Addr),
    Station(usize, StationEvent),
    Crash(usize),
    Attack,
}

/// A world in motion.
pub struct World {
    plan: Plan,
    rng: Rng,
    now: Instant,
    nodes: Vec<Node>,
    journeys: Vec<Journey>,
    pending: BTreeMap<(Instant, u64), Pending>,
    number: u64,
    judge: Judge,
    summary: Summary,
    captured: VecDeque<(NodeId, InterfaceIndex, MacAddr, Bytes)>,
    trace: Option<Vec<String>>,
    violation: Option<Violation>,
    /// The next timer of a node, and whether it must be looked for again.
    timer: Option<(Instant, usize)>,
    stirred: bool,
}

impl World {
    /// Makes the world of a seed; `traced`: with an account of all that happens.
    pub fn new(seed: u64, traced: bool) -> Self {
        let plan = Plan::new(seed);
        let rng = Rng::with_seed(seed ^ 0x5eed);
        let mut world = Self {
            rng,
            now: BEGINNING,
            nodes: Vec::new(),
            journeys: Vec::new(),
            pending: BTreeMap::new(),
            number: 0,
            judge: Judge::new(&plan),
            summary: Summary::default(),
            captured: VecDeque::new(),
            trace: traced.then(Vec::new),
            violation: None,
            timer: None,
            stirred: true,
            plan,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        for router in &self.plan.routers {
            let machine = AccessRouter::new(router.config.clone(), self.rng.u64(..));
            self.nodes.push(Node {
                machine: Machine::AccessRouter(Box::new(machine)),
                books: Books::default(),
            });
        }
        for index in 0..self.plan.mobiles.len() {
            let mobile = &self.plan.mobiles[index];
            let machine = MobileNode::new(mobile.config.clone(), self.rng.u64(..));
            let mut books = Books::default();
            books.addresses.insert(mobile.config.pcoa);
            self.nodes.push(Node {
                machine: Machine::MobileNode(Box::new(machine)),
                books,
            });
            let place = access_point(mobile.start, false);
            let legs: VecDeque<_> = mobile.legs.iter().copied().collect();
            let first = legs.front().map(|leg| leg.pause);
            self.journeys.push(Journey {
                legs,
                leg: None,
                place: Some(place),
                last: place,
                generation: 0,
                flows: Vec::new(),
            });
            if let Some(pause) = first {
                self.after(pause, Pending::Depart(index));
            }
        }
        for index in 0..self.plan.mobiles.len() {
            self.carry_out(NodeId::Mobile(index));
            self.report_attached(index);
        }
        for (at, router) in self.plan.crashes.clone() {
            self.after(at, Pending::Crash(router));
        }
        for at in self.plan.attacks.clone() {
            self.after(at, Pending::Attack);
        }
    }

    /// Lets everything happen that will.
    ///
    /// # Errors
    /// The first thing that must not be.
    pub fn run(&mut self) -> Result<Summary, Violation> {
        while self.violation.is_none() && self.step() {}
        if self.violation.is_none() {
            self.finish();
        }
        match self.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(self.summary),
        }
    }

    /// What happened, line by line.
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    // Time

    fn step(&mut self) -> bool {
        let pending = self.pending.first_key_value().map(|(&(at, _), _)| at);
        if std::mem::take(&mut self.stirred) {
            let timers = self.nodes.iter().enumerate();
            self.timer = timers
                .filter_map(|(index, node)| node.machine.poll_timeout().map(|at| (at, index)))
                .min();
            self.look_for_overdue();
        }
        let timer = self.timer;
        let Some(next) = pending.into_iter().chain(timer.map(|(at, _)| at)).min() else {
            return false;
        };
        if next > BEGINNING + Duration::from_secs(3600) {
            self.object("the world does not come to rest within an hour".to_owned());
            return false;
        }
        self.now = self.now.max(next);
        if let Some((at, index)) = timer.filter(|&(at, _)| at <= next) {
            let now = self.now.max(at);
            let node = self.id(index);
            self.note(|| format!("{node}: timeout"));
            self.nodes[index].machine.handle_timeout(now);
            let again = self.nodes[index].machine.poll_timeout();
            if again.is_some_and(|due| due <= now) {
                self.object(format!("{node}: a timeout that is due again at once"));
            }
            self.carry_out(node);
        } else if let Some((_, pending)) = self.pending.pop_first() {
            self.happen(pending);
        }
        true
    }

    fn look_for_overdue(&mut self) {
        let overdue = self.nodes.iter().enumerate().find_map(|(index, node)| {
            let what = node.books.overdue(self.now)?;
            Some(format!("{}: {what}", self.id(index)))
        });
        if let Some(what) = overdue {
            self.object(what);
        }
    }

    /// Nothing will happen any more: nothing may be left.
    fn finish(&mut self) {
        for index in 0..self.nodes.len() {
            let node = self.id(index);
            let copies_too = self.plan.shutdown;
            if self.plan.shutdown {
                self.input(node, Input::Admin(Admin::Shutdown));
            }
            let it = &self.nodes[index];
            if let Some(left) = it.books.left(copies_too) {
                self.object(format!("{node}: {left}"));
            } else if !it.machine.handovers().is_empty() {
                self.object(format!("{node}: a handover is left"));
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if index < self.plan.routers.len() {
                let ends = node.books.ends;
                self.summary += Summary {
                    ends,
                    ..Summary::default()
                };
            }
        }
        self.summary.journeys = self.plan.mobiles.len() as u64;
        self.summary += self.judge.totals();
    }

    fn after(&mut self, delay: Duration, pending: Pending) {
        self.number += 1;
        let at = self.now + delay;
        self.pending.insert((at, self.number), pending);
    }

    fn happen(&mut self, pending: Pending) {
        match pending {
            Pending::Packet {
                to,
                interface,
                link_source,
                bytes,
            } => self.arrive(to, interface, link_source, bytes),
            Pending::Drained(node, address, generation) => {
                if self.node(node).books.generation() >= generation {
                    self.input(node, Input::Drained { address });
                }
            }
            Pending::Depart(mobile) => self.depart(mobile),
            Pending::Leave(mobile, generation, access_point, gap) => {
                if self.journeys[mobile].generation == generation {
                    self.leave(mobile, access_point, gap);
                }
            }
            Pending::LinkUp(mobile, generation, access_point) => {
                if self.journeys[mobile].generation == generation {
                    self.link_up(mobile, access_point);
                }
            }
            Pending::Speak(mobile, flow) => self.speak(mobile, flow),
            Pending::Data(router, data, to) => self.carry(NodeId::Router(router), data, to),
            Pending::Heard(router, data, to) => self.hear(router, data, to),
            Pending::Station(router, event) => {
                self.input(NodeId::Router(router), Input::Station(event));
            }
            Pending::Crash(router) => self.crash(router),
            Pending::Attack => self.attack(),
        }
    }

    // Nodes

    fn id(&self, index: usize) -> NodeId {
        match index.checked_sub(self.plan.routers.len()) {
            None => NodeId::Router(index),
            Some(mobile) => NodeId::Mobile(mobile),
        }
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        match id {
            NodeId::Router(index) => &mut self.nodes[index],
            NodeId::Mobile(index) => {
                let index = index + self.plan.routers.len();
                &mut self.nodes[index]
            }
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let since = self.now - BEGINNING;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.6} {}", since.as_secs_f64(), line()));
        }
    }

    fn object(&mut self, what: String) {
        self.note(|| format!("VIOLATION {what}"));
        if self.violation.is_none() {
            self.violation = Some(Violation {
                seed: self.plan.seed,
                time: self.now - BEGINNING,
                what,
            });
        }
    }

    fn input(&mut self, node: NodeId, input: Input) {
        self.note(|| match &input {
            Input::Packet { bytes, .. } => format!("{node}: <- {}", describe(bytes)),
            other => format!("{node}: {other:?}"),
        });
        let now = self.now;
        self.node(node).machine.handle_input(now, input);
        self.carry_out(node);
    }

    fn carry_out(&mut self, node: NodeId) {
        self.stirred = true;
        while let Some(output) = self.node(node).machine.poll_output() {
            match output {
                Output::Event(event) => {
                    self.note(|| format!("{node}: event {event:?}"));
                    let objection = self.judge.event(self.now, node, &event);
                    self.object_if(node, objection);
                }
                Output::Transmit(transmit) => {
                    self.note(|| format!("{node}: -> {}", describe(&transmit.bytes)));
                    self.transmit(node, transmit);
                }
                Output::Command(command) => {
                    self.note(|| format!("{node}: {command:?}"));
                    self.execute(node, command);
                }
            }
        }
    }

    fn object_if(&mut self, node: NodeId, objection: Option<String>) {
        if let Some(what) = objection {
            self.object(format!("{node}: {what}"));
        }
    }

    fn execute(&mut self, node: NodeId, command: Command) {
        if is_refusable(&command) && self.rng.f64() < self.plan.refusals {
            let error = match self.rng.bool() {
                true => CommandError::Other("refused by the simulation".to_owned()),
                false => CommandError::InUse("in use by the simulation".to_owned()),
            };
            self.judge.disturbance(self.now);
            // The kernel finds out that an address is another node's when it has configured it, and
            // one that it did not configure then, it may make of an advertisement.
            if matches!(command, Command::ConfigureAddress { .. }) {
                let now = self.now;
                let done = self.node(node).books.execute(now, &command);
                self.object_if(node, done.err());
            }
            return self.input(node, Input::CommandFailed { command, error });
        }
        let now = self.now;
        let objection = self.judge.command(now, node, &command);
        self.object_if(node, objection);
        match self.node(node).books.execute(now, &command) {
            Err(what) => self.object(format!("{node}: {what}")),
            Ok(Effect::None) => {}
            Ok(Effect::Switch(access_point)) => self.switch(node, access_point),
            Ok(Effect::Uplink(pcoa)) => self.drain(node, pcoa),
            Ok(Effect::Deliver(address, content)) => {
                for load in content {
                    match load {
                        Load::Signal(bytes) => self.deliver_on_link(node, address, bytes),
                        Load::Data(data) => self.hand_over(node, data, address),
                    }
                }
                self.drain(node, address);
            }
            Ok(Effect::Tunnel(address, content)) => {
                for load in content {
                    match load {
                        Load::Signal(bytes) => self.route(node, address, bytes, 0),
                        Load::Data(data) => self.carry(node, data, address),
                    }
                }
                self.drain(node, address);
            }
        }
    }

    fn drain(&mut self, node: NodeId, address: Ipv6Addr) {
        let generation = self.node(node).books.generation();
        let delay = Duration::from_micros(self.rng.u64(100..50_000));
        self.after(delay, Pending::Drained(node, address, generation));
    }

    /// A controller dies without a word, its programs and maps with it, and starts again.
    fn crash(&mut self, router: usize) {
        let node = NodeId::Router(router);
        self.note(|| format!("{node}: crashes and starts again"));
        self.judge.disturbance(self.now);
        let config = self.plan.routers[router].config.clone();
        let mut machine = AccessRouter::new(config, self.rng.u64(..));
        let old = std::mem::take(&mut self.nodes[router].books);
        for (&pcoa, &sequence) in &old.sequences {
            machine.restore_sequence(pcoa, sequence);
        }
        self.nodes[router] = Node {
            machine: Machine::AccessRouter(Box::new(machine)),
            books: old.after_crash(),
        };
        self.carry_out(node);
    }
}

/// Which commands the kernel may refuse; to undo something always succeeds.
fn is_refusable(command: &Command) -> bool {
    matches!(
        command,
        Command::InstallTunnel { .. }
            | Command::StartBuffering { .. }
            | Command::StartCopying { .. }
            | Command::ReleaseBuffer { .. }
            | Command::AddProxyNd { .. }
            | Command::AddNeighbor { .. }
            | Command::AddHostRoute { .. }
            | Command::HoldUplink { .. }
            | Command::ReleaseUplink { .. }
            | Command::ConfigureAddress { .. }
            | Command::SetDefaultRouter { .. }
            | Command::SwitchLink { .. }
    )
}

fn describe(bytes: &Bytes) -> String {
    match Packet::decode(bytes) {
        Ok(packet) => format!(
            "{} {} > {} {:?}",
            packet.message.name(),
            packet.source,
            packet.destination,
            packet.message
        ),
        Err(error) => format!("{} octets: {error}", bytes.len()),
    }
}
