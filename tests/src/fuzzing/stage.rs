//! What stands around one machine while a script plays: the clock, the account of what it
//! installed, the commands that fail, and the objections.

use std::{
    collections::VecDeque,
    net::Ipv6Addr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use fmip_ctl::{
    proto::{
        AccessRouter, Admin, Command, CommandError, HandoverStatus, Input, Instant, InterfaceIndex,
        MobileNode, Output,
    },
    wire::{MacAddr, Packet},
};

use super::{octets::mend, script::Script};
use crate::simulation::books::{Books, Effect};

/// How many of the last packets, sent or received, are remembered.
const MEMORY: usize = 8;
/// Outputs that one input may lead to; more would never end.
const MAX_OUTPUTS: usize = 1000;
/// Deadlines that may pass in one step; more would never end.
const MAX_DEADLINES: usize = 10_000;
/// Longer than any lifetime that can be granted: 65 535 seconds.
const FOREVER: Duration = Duration::from_secs(70_000);

/// Whether a story is told on the standard error while it plays.
pub static TELL: AtomicBool = AtomicBool::new(false);

fn tell(now: Instant, what: impl FnOnce() -> String) {
    if TELL.load(Ordering::Relaxed) {
        eprintln!("{:>12.3} s {}", now.as_nanos() as f64 / 1e9, what());
    }
}

/// A state machine of the protocol.
pub trait Machine {
    /// See [`fmip_ctl::proto`].
    fn handle_input(&mut self, now: Instant, input: Input);
    /// See [`fmip_ctl::proto`].
    fn handle_timeout(&mut self, now: Instant);
    /// See [`fmip_ctl::proto`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// See [`fmip_ctl::proto`].
    fn poll_output(&mut self) -> Option<Output>;
    /// The handovers that are under way.
    fn handovers(&self) -> Vec<HandoverStatus>;
}

macro_rules! machine {
    ($name:ty) => {
        impl Machine for $name {
            fn handle_input(&mut self, now: Instant, input: Input) {
                self.handle_input(now, input);
            }

            fn handle_timeout(&mut self, now: Instant) {
                self.handle_timeout(now);
            }

            fn poll_timeout(&self) -> Option<Instant> {
                self.poll_timeout()
            }

            fn poll_output(&mut self) -> Option<Output> {
                self.poll_output()
            }

            fn handovers(&self) -> Vec<HandoverStatus> {
                self.handovers()
            }
        }
    };
}

machine!(AccessRouter);
machine!(MobileNode);

/// What else must hold, from the side of one role.
pub trait Objections {
    /// A packet is about to be sent.
    fn on_transmit(&mut self, _now: Instant, _packet: &Packet) {}
    /// A command is about to be carried out.
    fn on_command(&mut self, _now: Instant, _command: &Command) {}
}

/// A command that will fail.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// That of the command.
    name: &'static str,
    /// Whether the machine hears of it only after the outputs behind it were carried out.
    late: bool,
    in_use: bool,
}

/// One machine, and what stands around it.
#[derive(Debug)]
pub struct Stage<M, O> {
    /// The machine.
    pub machine: M,
    /// What its role must not do.
    pub objections: O,
    /// The time.
    pub now: Instant,
    /// The last packets that it sent, the newest first.
    pub sent: VecDeque<Packet>,
    /// The last packets that it was given, the newest first.
    pub received: VecDeque<(InterfaceIndex, MacAddr, Bytes)>,
    /// Addresses whose packets are being let go.
    pub draining: VecDeque<Ipv6Addr>,
    books: Books,
    fates: Vec<Fate>,
    /// Whether a command ever failed: what then stays too long is not the machine's fault.
    disturbed: bool,
    /// Commands that failed, of which the machine does not know yet: it may undo them.
    unreported: VecDeque<(Command, CommandError)>,
}

impl<M: Machine, O: Objections> Stage<M, O> {
    /// Nothing has happened yet.
    pub fn new(machine: M, objections: O) -> Self {
        Self {
            machine,
            objections,
            now: Instant::from_nanos(1_000_000_000),
            sent: VecDeque::new(),
            received: VecDeque::new(),
            draining: VecDeque::new(),
            books: Books::default(),
            fates: Vec::new(),
            disturbed: false,
            unreported: VecDeque::new(),
        }
    }

    /// A mobile node has this address from the beginning.
    pub fn has_address(&mut self, address: Ipv6Addr) {
        self.books.addresses.insert(address);
    }

    /// Hands over an input, and carries out what follows from it.
    pub fn input(&mut self, input: Input) {
        tell(self.now, || match &input {
            Input::Packet { bytes, .. } => format!("<- {:?}", Packet::decode(bytes)),
            other => format!("<- {other:?}"),
        });
        self.machine.handle_input(self.now, input);
        self.carry_out();
    }

    /// Hands over a packet.
    pub fn receive(&mut self, interface: InterfaceIndex, link_source: MacAddr, bytes: Bytes) {
        self.received
            .push_front((interface, link_source, bytes.clone()));
        self.received.truncate(MEMORY);
        self.input(Input::Packet {
            interface,
            link_source,
            bytes,
        });
    }

    /// Lets time pass, deadline by deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..MAX_DEADLINES {
            match self.machine.poll_timeout().filter(|due| *due <= end) {
                Some(due) => self.reach(due),
                None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("{MAX_DEADLINES} deadlines in {time:?}");
    }

    /// Lets time pass until the next deadline, if there is one.
    pub fn pass_to_deadline(&mut self) {
        if let Some(due) = self.machine.poll_timeout() {
            self.reach(due);
        }
    }

    fn reach(&mut self, due: Instant) {
        self.now = self.now.max(due);
        self.machine.handle_timeout(self.now);
        self.carry_out();
        let next = self.machine.poll_timeout();
        assert!(
            next.is_none_or(|next| next > self.now),
            "what was due at {due:?} is due at {next:?} still"
        );
        if !self.disturbed {
            assert_eq!(self.books.overdue(self.now), None);
        }
    }

    /// The steps that a script may take whatever the machine is.
    pub fn play(&mut self, which: u8, script: &mut Script<'_>, fallible: &[&'static str]) {
        match which {
            0 => self.pass(Duration::from_millis(script.octet().into())),
            1 => self.pass(Duration::from_millis(100 * u64::from(script.number()))),
            2 => self.pass_to_deadline(),
            3 => {
                let name = script.pick(fallible);
                let how = script.octet();
                self.disturbed = true;
                self.fates.push(Fate {
                    name,
                    late: how & 1 == 1,
                    in_use: how & 2 == 2,
                });
            }
            4 => self.fates.clear(),
            5 => {
                if let Some(address) = self.draining.pop_front() {
                    self.input(Input::Drained { address });
                }
            }
            6 => {
                if let Some(address) = self.draining.pop_front() {
                    self.disturbed = true;
                    let error = CommandError::Other("broke off".to_owned());
                    self.input(Input::DrainFailed { address, error });
                }
            }
            7 => {
                // Once more what came before, with an octet changed and the checksum mended.
                let (which, at, octet) = (script.octet(), script.number(), script.octet());
                if let Some((interface, link_source, bytes)) =
                    self.received.get(usize::from(which) % MEMORY).cloned()
                {
                    let mut bytes = bytes.to_vec();
                    if !bytes.is_empty() {
                        let at = usize::from(at) % bytes.len();
                        bytes[at] ^= octet;
                        mend(&mut bytes);
                    }
                    self.receive(interface, link_source, bytes.into());
                }
            }
            8 => {
                let bytes = script.string();
                let interface = script.pick(&[1, 2, 3]);
                self.receive(interface, MacAddr([2, 0, 0, 0, 0, 0x99]), bytes);
            }
            _ => self.input(Input::Admin(Admin::Shutdown)),
        }
    }

    /// The end of every story: nothing may be left.
    pub fn end(mut self) {
        self.fates.clear();
        self.input(Input::Admin(Admin::Shutdown));
        self.pass(FOREVER);
        assert_eq!(self.books.left(true), None);
        assert_eq!(self.machine.handovers(), []);
        assert_eq!(self.machine.poll_timeout(), None);
    }

    fn carry_out(&mut self) {
        for _ in 0..MAX_OUTPUTS {
            let Some(output) = self.machine.poll_output() else {
                let Some((command, error)) = self.unreported.pop_front() else {
                    return;
                };
                let failed = Input::CommandFailed { command, error };
                self.machine.handle_input(self.now, failed);
                continue;
            };
            match output {
                Output::Transmit(transmit) => {
                    let packet = Packet::decode(&transmit.bytes).expect("what we send can be read");
                    tell(self.now, || format!("-> {packet:?}"));
                    self.objections.on_transmit(self.now, &packet);
                    self.sent.push_front(packet);
                    self.sent.truncate(MEMORY);
                }
                Output::Event(event) => {
                    drop(serde_json::to_string(&event).expect("an event is plain data"));
                }
                Output::Command(command) => self.execute(command),
            }
        }
        panic!("{MAX_OUTPUTS} outputs of one input");
    }

    fn execute(&mut self, command: Command) {
        tell(self.now, || format!("-> {command:?}"));
        self.objections.on_command(self.now, &command);
        let fate = self.fates.iter().find(|fate| fate.name == command.name());
        if let Some(&Fate { late, in_use, .. }) = fate {
            // The kernel finds out that an address is another node's when it has configured it, and
            // one that it did not configure then, it may make of an advertisement.
            if matches!(command, Command::ConfigureAddress { .. }) {
                let _ = self.books.execute(self.now, &command);
            }
            let error = match in_use {
                true => CommandError::InUse("no".to_owned()),
                false => CommandError::Other("no".to_owned()),
            };
            tell(self.now, || {
                format!("   fails, late: {late}, in use: {in_use}")
            });
            if late {
                self.unreported.push_back((command, error));
            } else {
                let failed = Input::CommandFailed { command, error };
                self.machine.handle_input(self.now, failed);
            }
            return;
        }
        match self.books.execute(self.now, &command) {
            Ok(Effect::Deliver(address, _) | Effect::Tunnel(address, _))
            | Ok(Effect::Uplink(address)) => {
                self.draining.push_back(address);
                self.draining.truncate(MEMORY);
            }
            Ok(Effect::None | Effect::Switch(_)) => {}
            // It follows from a command that failed without the machine knowing it.
            Err(_)
                if self
                    .unreported
                    .iter()
                    .any(|(failed, _)| is_about(failed, &command)) => {}
            Err(objection) => panic!("{objection}: {command:?}"),
        }
    }
}

/// Whether two commands are about the same thing.
fn is_about(failed: &Command, command: &Command) -> bool {
    subject(failed) == subject(command)
}

/// What a command is about: kind and address.
fn subject(command: &Command) -> (&'static str, Option<Ipv6Addr>) {
    match *command {
        Command::InstallTunnel { pcoa, .. } | Command::RemoveTunnel { pcoa } => {
            ("tunnel", Some(pcoa))
        }
        Command::StartBuffering { address, .. }
        | Command::StartCopying { address, .. }
        | Command::ReleaseBuffer { address, .. }
        | Command::RemoveBuffer { address } => ("buffer", Some(address)),
        Command::AddProxyNd { address, .. } | Command::RemoveProxyNd { address, .. } => {
            ("proxy", Some(address))
        }
        Command::AddHostRoute { address, .. } | Command::RemoveHostRoute { address, .. } => {
            ("route", Some(address))
        }
        Command::HoldUplink { pcoa, .. }
        | Command::ReleaseUplink { pcoa, .. }
        | Command::RemoveUplink { pcoa } => ("uplink", Some(pcoa)),
        Command::SetDefaultRouter { .. } | Command::ForgetRouter { .. } => ("router", None),
        Command::AddNeighbor { address, .. }
        | Command::ConfigureAddress { address, .. }
        | Command::PreferAddress { address, .. }
        | Command::KeepAddress { address, .. }
        | Command::RestoreAddress { address, .. }
        | Command::RemoveAddress { address, .. } => ("address", Some(address)),
        Command::StoreSequence { pcoa, .. } => ("sequence", Some(pcoa)),
        Command::SwitchLink { .. } => ("link", None),
    }
}
