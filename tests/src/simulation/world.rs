//! The world: routers, mobile nodes, the links between them, and the clock.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::Ipv6Addr,
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use fmip_ctl::{
    proto::{
        AccessRouter, Admin, Command, CommandError, Input, Instant, InterfaceIndex, LinkEvent,
        MobileNode, Output, StationEvent, Transmit,
    },
    wire::{MacAddr, Message, Packet},
};

use super::{
    books::{Books, BufferState, Data, Effect, Ends, Load},
    flow::{Flow, Loss},
    judge::Judge,
    plan::{
        self, ACCESS, CORE, Manner, Plan, access_point, mobile_lla, mobile_of_address, own_address,
        router_address, router_link_local, router_lla, router_of, router_of_address,
    },
};

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

enum Machine {
    Router(Box<AccessRouter>),
    Mobile(Box<MobileNode>),
}

impl Machine {
    fn handle_input(&mut self, now: Instant, input: Input) {
        match self {
            Self::Router(machine) => machine.handle_input(now, input),
            Self::Mobile(machine) => machine.handle_input(now, input),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Router(machine) => machine.handle_timeout(now),
            Self::Mobile(machine) => machine.handle_timeout(now),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Router(machine) => machine.poll_timeout(),
            Self::Mobile(machine) => machine.poll_timeout(),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Router(machine) => machine.poll_output(),
            Self::Mobile(machine) => machine.poll_output(),
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::Router(machine) => machine.handovers().is_empty(),
            Self::Mobile(machine) => machine.handovers().is_empty(),
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
                machine: Machine::Router(Box::new(machine)),
                books: Books::default(),
            });
        }
        for index in 0..self.plan.mobiles.len() {
            let mobile = &self.plan.mobiles[index];
            let machine = MobileNode::new(mobile.config.clone(), self.rng.u64(..));
            let mut books = Books::default();
            books.addresses.insert(mobile.config.pcoa);
            self.nodes.push(Node {
                machine: Machine::Mobile(Box::new(machine)),
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
            } else if !it.machine.is_idle() {
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
            machine: Machine::Router(Box::new(machine)),
            books: old.after_crash(),
        };
        self.carry_out(node);
    }

    // Journeys

    fn depart(&mut self, mobile: usize) {
        let journey = &mut self.journeys[mobile];
        let Some(leg) = journey.legs.pop_front() else {
            return self.close(mobile);
        };
        journey.leg = Some(leg);
        let from = router_of(journey.last).expect("a router's access point");
        let node = NodeId::Mobile(mobile);
        self.note(|| format!("{node}: {:?} from r{from} to r{}", leg.manner, leg.to));
        self.close(mobile);
        self.judge.depart(self.now, mobile, from, &leg);
        let flow = self.journeys[mobile].flows.len();
        let to = own_address(mobile, from);
        self.journeys[mobile].flows.push(Flow::new(to));
        self.speak(mobile, flow);
        let target = match leg.manner {
            Manner::Astray { predicted } | Manner::Stays { predicted } => {
                access_point(predicted, false)
            }
            Manner::WithinLink => {
                let first = access_point(leg.to, false);
                if self.journeys[mobile].last == first {
                    access_point(leg.to, true)
                } else {
                    first
                }
            }
            _ => access_point(leg.to, false),
        };
        let destination = match leg.manner {
            Manner::Astray { .. } => access_point(leg.to, false),
            Manner::Stays { .. } => self.journeys[mobile].last,
            _ => target,
        };
        let impend = Input::Link(LinkEvent::HandoverImpend {
            access_point: target,
        });
        let generation = self.journeys[mobile].generation;
        let patience = match leg.manner {
            Manner::Sudden => return self.leave(mobile, destination, leg.gap),
            Manner::Hasty { patience } => patience,
            Manner::Ordered { .. } | Manner::Predicted => PATIENCE,
            Manner::Astray { .. } | Manner::Stays { .. } | Manner::WithinLink => PATIENCE,
        };
        let leave = Pending::Leave(mobile, generation, destination, leg.gap);
        self.after(patience, leave);
        match leg.manner {
            Manner::Ordered { given } => {
                let pcoa = own_address(mobile, from);
                let order = Admin::Handover {
                    pcoa,
                    access_point: target,
                    ncoa: given.then(|| own_address(mobile, leg.to)),
                };
                self.input(NodeId::Router(from), Input::Admin(order));
            }
            _ => self.input(node, impend),
        }
    }

    /// The last move is over.
    fn close(&mut self, mobile: usize) {
        let flow = self.journeys[mobile].flows.last();
        let loss = flow.map(|flow| flow.loss(self.now)).unwrap_or_default();
        let objection = self.judge.close(self.now, mobile, loss);
        self.object_if(NodeId::Mobile(mobile), objection);
    }

    /// The mobile node is ready to move.
    fn switch(&mut self, node: NodeId, target: MacAddr) {
        let NodeId::Mobile(mobile) = node else {
            return self.object(format!("{node}: a router cannot switch its link"));
        };
        let journey = &self.journeys[mobile];
        let generation = journey.generation;
        let (destination, gap) = match journey.leg {
            Some(plan::Leg {
                manner: Manner::Astray { .. },
                to,
                gap,
                ..
            }) => (access_point(to, false), gap),
            Some(plan::Leg {
                manner: Manner::Stays { .. },
                gap,
                ..
            }) => (journey.last, gap),
            Some(plan::Leg {
                manner: Manner::Hasty { .. },
                ..
            }) => return, // it goes anyway
            Some(leg) => (target, leg.gap),
            None => (target, Duration::from_millis(50)),
        };
        let leave = Pending::Leave(mobile, generation, destination, gap);
        self.after(Duration::ZERO, leave);
    }

    fn leave(&mut self, mobile: usize, destination: MacAddr, gap: Duration) {
        let journey = &mut self.journeys[mobile];
        journey.generation += 1;
        let generation = journey.generation;
        let place = journey.place.take();
        self.judge.left(mobile);
        if let Some(router) = place.and_then(router_of)
            && self.plan.routers[router].reports_stations
            && self.rng.u8(0..4) > 0
        {
            let address = own_address(mobile, router);
            let departed = StationEvent::Departed {
                interface: ACCESS,
                address,
            };
            let delay = Duration::from_micros(self.rng.u64(0..20_000));
            self.after(delay, Pending::Station(router, departed));
        }
        self.after(gap, Pending::LinkUp(mobile, generation, destination));
        self.input(NodeId::Mobile(mobile), Input::Link(LinkEvent::LinkDown));
    }

    fn link_up(&mut self, mobile: usize, access_point: MacAddr) {
        let node = NodeId::Mobile(mobile);
        let journey = &mut self.journeys[mobile];
        journey.generation += 1;
        journey.place = Some(access_point);
        journey.last = access_point;
        journey.leg = None;
        let next = journey.legs.front().map(|leg| leg.pause);
        let router = router_of(access_point).expect("a router's access point");
        self.judge.arrived(self.now, mobile, router);
        if let Some(flow) = journey_flow(&mut self.journeys[mobile]) {
            flow.end_at(self.now + AFTERWARDS);
        }
        if let Some(pause) = next {
            self.after(pause, Pending::Depart(mobile));
        } else {
            // Its account is closed when every retry is over.
            self.after(FOREVER / 4, Pending::Depart(mobile));
        }
        self.report_attached(mobile);
        self.input(node, Input::Link(LinkEvent::LinkUp { access_point }));
    }

    fn report_attached(&mut self, mobile: usize) {
        let Some(router) = self.journeys[mobile].place.and_then(router_of) else {
            return;
        };
        if self.plan.routers[router].reports_stations && self.rng.u8(0..4) > 0 {
            let attached = StationEvent::Attached {
                interface: ACCESS,
                address: own_address(mobile, router),
                link_address: mobile_lla(mobile),
            };
            let delay = Duration::from_micros(self.rng.u64(0..5_000));
            self.after(delay, Pending::Station(router, attached));
        }
    }

    // Links

    fn transmit(&mut self, from: NodeId, transmit: Transmit) {
        let Transmit {
            interface,
            link_destination,
            bytes,
        } = transmit;
        self.summary.messages += 1;
        let packet = match Packet::decode(&bytes) {
            Ok(packet) => packet,
            Err(error) => {
                return self.object(format!("{from}: sends what cannot be read: {error}"));
            }
        };
        self.judge.sent(self.now, from, &packet);
        let to = packet.destination;
        match from {
            NodeId::Mobile(mobile) => {
                let Some(router) = self.journeys[mobile].place.and_then(router_of) else {
                    return self.judge.no_link(mobile);
                };
                let link_source = mobile_lla(mobile);
                if let Message::RouterSolicitation(_) = packet.message {
                    return self.advertise_router(router, mobile);
                }
                let on_link = to.is_multicast()
                    || [router_address(router), router_link_local(router)].contains(&to);
                if on_link {
                    let to = NodeId::Router(router);
                    return self.send(to, ACCESS, link_source, bytes, &packet);
                }
                self.route(NodeId::Router(router), to, bytes, 0);
            }
            NodeId::Router(router) => match interface {
                Some(ACCESS) => self.send_on_link(router, to, link_destination, bytes, &packet),
                Some(other) => self.object(format!("{from}: sends on interface {other}")),
                None => self.route(from, to, bytes, 0),
            },
        }
    }

    /// From a router to the mobile nodes on its link.
    fn send_on_link(
        &mut self,
        router: usize,
        to: Ipv6Addr,
        link_destination: Option<MacAddr>,
        bytes: Bytes,
        packet: &Packet,
    ) {
        if let Message::NeighborSolicitation(probe) = &packet.message {
            return self.answer_probe(router, probe.target);
        }
        for mobile in 0..self.journeys.len() {
            let here = self.journeys[mobile].place.and_then(router_of) == Some(router);
            let meant = match link_destination {
                Some(link_address) => link_address == mobile_lla(mobile),
                None => to.is_multicast() || self.has_address(mobile, to),
            };
            if here && meant {
                let bytes = bytes.clone();
                let to = NodeId::Mobile(mobile);
                self.send(to, ACCESS, router_lla(router), bytes, packet);
            }
        }
    }

    fn has_address(&mut self, mobile: usize, address: Ipv6Addr) -> bool {
        mobile_of_address(address) == Some(mobile)
            || self
                .node(NodeId::Mobile(mobile))
                .books
                .addresses
                .contains(&address)
    }

    /// The kernel of a mobile node that uses an address defends it (RFC 4862 section 5.4.3).
    fn answer_probe(&mut self, router: usize, target: Ipv6Addr) {
        for mobile in 0..self.journeys.len() {
            let here = self.journeys[mobile].place.and_then(router_of) == Some(router);
            if here
                && self
                    .node(NodeId::Mobile(mobile))
                    .books
                    .addresses
                    .contains(&target)
            {
                let packet = super::messages::defence(target, mobile_lla(mobile));
                let bytes = packet.encode();
                let to = NodeId::Router(router);
                self.send(to, ACCESS, mobile_lla(mobile), bytes, &packet);
            }
        }
    }

    /// A router's kernel answers a solicitation.
    fn advertise_router(&mut self, router: usize, mobile: usize) {
        let packet = super::messages::router_advertisement(router, mobile);
        let bytes = packet.encode();
        let to = NodeId::Mobile(mobile);
        self.send(to, ACCESS, router_lla(router), bytes, &packet);
    }

    /// By the routers' data paths, from `at` on.
    fn route(&mut self, at: NodeId, to: Ipv6Addr, bytes: Bytes, tunnels: usize) {
        let NodeId::Router(here) = at else {
            return;
        };
        let packet = match Packet::decode(&bytes) {
            Ok(packet) => packet,
            Err(_) => return,
        };
        // What is bound at this router goes where its binding leads.
        let now = self.now;
        let books = &mut self.nodes[here].books;
        if let Some(tunnel) = books.tunnels.get(&to).filter(|it| it.expires > now) {
            let ncoa = tunnel.ncoa;
            if tunnels < MAX_TUNNELS && ncoa != to {
                return self.route(at, ncoa, bytes, tunnels + 1);
            }
            return;
        }
        if let Some(buffer) = books.buffers.get_mut(&to) {
            match buffer.state {
                BufferState::Holding => return buffer.keep(now, Load::Signal(bytes)),
                BufferState::Copying => buffer.keep(now, Load::Signal(bytes.clone())),
                BufferState::Released => {}
            }
        }
        if to == router_address(here) {
            // By way of a tunnel to a router that stands in for the mobile node.
            return;
        }
        let Some(there) = router_of_address(to, self.plan.routers.len()) else {
            return;
        };
        if there == here {
            return self.deliver_on_link(at, to, bytes);
        }
        if to == router_address(there) {
            let node = NodeId::Router(there);
            return self.send(node, CORE, router_lla(here), bytes, &packet);
        }
        // To a mobile node on another router's link: held or delivered there. The way there loses
        // and delays as for any other message.
        if self.is_lost(&packet) {
            return;
        }
        self.route(NodeId::Router(there), to, bytes, tunnels + 1);
    }

    fn deliver_on_link(&mut self, at: NodeId, to: Ipv6Addr, bytes: Bytes) {
        let NodeId::Router(router) = at else {
            return;
        };
        if let Ok(packet) = Packet::decode(&bytes) {
            self.send_on_link(router, to, None, bytes, &packet);
        }
    }

    fn is_lost(&mut self, packet: &Packet) -> bool {
        let lost = self.rng.f64() < self.plan.weather.loss;
        if lost {
            self.summary.lost += 1;
            self.judge.lost(packet);
        }
        lost
    }

    /// Over one link, with all that can happen on it.
    fn send(
        &mut self,
        to: NodeId,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: Bytes,
        packet: &Packet,
    ) {
        if self.is_lost(packet) {
            self.note(|| format!("{to}: lost: {}", packet.message.name()));
            return;
        }
        let weather = self.plan.weather;
        let longest = match interface {
            ACCESS => weather.access_delay,
            _ => weather.core_delay,
        };
        let copies = 1 + usize::from(self.rng.f64() < weather.duplication);
        for _ in 0..copies {
            let delay = Duration::from_nanos(self.rng.u64(100_000..=longest.as_nanos() as u64));
            let pending = Pending::Packet {
                to,
                interface,
                link_source,
                bytes: bytes.clone(),
            };
            self.after(delay, pending);
        }
    }

    fn arrive(
        &mut self,
        to: NodeId,
        interface: InterfaceIndex,
        link_source: MacAddr,
        bytes: Bytes,
    ) {
        if let NodeId::Mobile(mobile) = to
            && self.journeys[mobile].place.is_none()
        {
            return self.judge.no_link(mobile);
        }
        if self.captured.len() >= MAX_CAPTURED {
            self.captured.pop_front();
        }
        self.captured
            .push_back((to, interface, link_source, bytes.clone()));
        let packet = Input::Packet {
            interface,
            link_source,
            bytes,
        };
        self.input(to, packet);
    }

    // Correspondents

    /// A correspondent of a mobile node sends a packet to the address it had when the move began.
    fn speak(&mut self, mobile: usize, flow: usize) {
        let journey = &mut self.journeys[mobile];
        let is_over = flow + 1 < journey.flows.len();
        let it = &mut journey.flows[flow];
        if is_over || it.is_over(self.now) {
            return;
        }
        let to = it.to;
        let number = it.send(self.now);
        let data = Data {
            mobile,
            flow,
            number,
            to,
        };
        if let Some(router) = router_of_address(to, self.plan.routers.len()) {
            self.after(CORE_DELAY, Pending::Data(router, data, to));
        }
        self.after(INTERVAL, Pending::Speak(mobile, flow));
    }

    /// By a router's data path: `to` is the address that leads it now.
    fn carry(&mut self, at: NodeId, data: Data, to: Ipv6Addr) {
        let NodeId::Router(here) = at else {
            return;
        };
        let now = self.now;
        let books = &mut self.nodes[here].books;
        if let Some(tunnel) = books.tunnels.get(&to).filter(|it| it.expires > now) {
            let ncoa = tunnel.ncoa;
            if let Some(there) = router_of_address(ncoa, self.plan.routers.len()) {
                self.after(CORE_DELAY, Pending::Data(there, data, ncoa));
            }
            return;
        }
        // Out of a tunnel that ends at this router.
        let to = match to == router_address(here) {
            true => data.to,
            false => to,
        };
        if let Some(buffer) = books.buffers.get_mut(&to) {
            match buffer.state {
                BufferState::Holding if buffer.expires.is_none_or(|at| at > now) => {
                    return buffer.keep(now, Load::Data(data));
                }
                BufferState::Copying => buffer.keep(now, Load::Data(data)),
                BufferState::Holding | BufferState::Released => {}
            }
        }
        self.hand_over(at, data, to);
    }

    fn hand_over(&mut self, at: NodeId, data: Data, to: Ipv6Addr) {
        if let NodeId::Router(router) = at {
            self.after(ACCESS_DELAY, Pending::Heard(router, data, to));
        }
    }

    fn hear(&mut self, router: usize, data: Data, to: Ipv6Addr) {
        let here = self.journeys[data.mobile].place.and_then(router_of) == Some(router);
        if !here {
            return;
        }
        // What comes through a tunnel needs its other end.
        let books = &self.node(NodeId::Mobile(data.mobile)).books;
        let is_unwrapped = to == data.to || books.uplinks.contains_key(&data.to);
        if is_unwrapped {
            let flow = &mut self.journeys[data.mobile].flows[data.flow];
            flow.receive(data.number);
        }
    }

    // Attackers

    /// Somebody repeats, changes or forges a message. The routers' association with each other
    /// keeps HI and HAck out of reach (SEC-01), and what is on a link is not under attack there.
    fn attack(&mut self) {
        self.judge.disturbance(self.now);
        let index = match self.captured.len() {
            0 => return,
            length => self.rng.usize(0..length),
        };
        let (to, interface, link_source, bytes) = self.captured[index].clone();
        let Ok(packet) = Packet::decode(&bytes) else {
            return;
        };
        match packet.message {
            Message::FastBindingUpdate(_) | Message::FastBindingAck(_) => {}
            _ => return,
        }
        let bytes = match self.rng.u8(0..3) {
            0 => {
                let mut changed = bytes.to_vec();
                let at = self.rng.usize(40..changed.len());
                changed[at] ^= 1 << self.rng.u8(0..8);
                changed.into()
            }
            1 => {
                match super::messages::forged(&packet, self.rng.usize(0..plan_mobiles(&self.plan)))
                {
                    Some(forged) => forged,
                    None => bytes,
                }
            }
            _ => bytes,
        };
        self.note(|| format!("attack on {to}: {}", describe(&bytes)));
        let pending = Pending::Packet {
            to,
            interface,
            link_source,
            bytes,
        };
        let delay = Duration::from_millis(self.rng.u64(0..5_000));
        self.after(delay, pending);
    }
}

fn journey_flow(journey: &mut Journey) -> Option<&mut Flow> {
    journey.flows.last_mut()
}

fn plan_mobiles(plan: &Plan) -> usize {
    plan.mobiles.len()
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
