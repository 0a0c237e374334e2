//! The event loop: the only clock, and the one place where the protocol core is driven.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::Ipv6Addr,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::programs::TcAttachType;
use aya_log::EbpfLogger;
use serde::Serialize;
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{self, UnboundedReceiver, unbounded_channel},
    time::sleep,
};
use tracing::{debug, info, warn};

use super::{
    check,
    drain::{Drain, Pace, Report},
    execute::Executor,
    load::{DRAIN, MOBILE_IN, MOBILE_OUT, Programs, ROUTER},
    maps::{BufferLimits, DrainMaps, Maps, signal_ring},
    monotonic_ns,
    netlink::Netlink,
    signals::Signals,
    transmit::Transmitter,
};
use crate::{
    config::{self, Config, Role},
    observe::{
        BufferStatus, Count, Status,
        control::{ControlSocket, EventBus, Order, orders},
    },
    proto::{self, AccessRouter, Admin, CommandError, Input, Instant, MobileNode, Output},
};

/// Loads the programs as the configuration says and runs until it is told to end; then removes all
/// that it loaded and changed.
///
/// # Errors
/// When a precondition is not met, an interface is not as the configuration says, or the kernel
/// refuses something. Nothing is left behind then.
pub async fn run(config: Config) -> Result<()> {
    check::preconditions()?;
    // Before anything is changed: who interrupts the loading gets everything undone, too.
    let ending = Ending::new()?;
    let mut netlink = Netlink::connect().await?;
    let interfaces = netlink.resolve(&config.interface_names()).await?;
    let machine = Machine::new(&config, &interfaces)?;
    netlink.remove_leftovers(&interfaces).await?;

    let loaded = match load(&config, &interfaces, &mut netlink).await {
        Ok(loaded) => loaded,
        Err(error) => {
            netlink.clean_up().await;
            return Err(error);
        }
    };
    let controller = Controller {
        role: config.role.name(),
        started: std::time::Instant::now(),
        machine,
        executor: Executor::new(loaded.maps, loaded.drain, netlink, interfaces),
        transmitter: loaded.transmitter,
        events: EventBus::default(),
    };
    controller
        .run(&config, loaded.signals, loaded.reports, ending)
        .await
}

/// The signals that ask the controller to end.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal went away.
    hangup: Signal,
}

impl Ending {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            hangup: signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?,
        })
    }

    /// Waits for any of them.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// What is loaded, ready to be driven.
struct Loaded {
    maps: Maps,
    drain: Drain,
    reports: UnboundedReceiver<Report>,
    signals: Signals,
    transmitter: Transmitter,
}

async fn load(
    config: &Config,
    interfaces: &[config::Interface],
    netlink: &mut Netlink,
) -> Result<Loaded> {
    let transmitter = Transmitter::new()?;
    let buffer = &config.buffer;
    let mut programs = Programs::load(buffer.packets)?;
    forward_logs(&mut programs)?;
    let mut maps = Maps::new(
        programs.ebpf(),
        buffer.packets,
        BufferLimits {
            packets: u64::from(buffer.packets_per_node),
            bytes: buffer.bytes_per_node,
            age: buffer.max_hold,
        },
    )?;
    for interface in interfaces {
        maps.add_interface(interface.index, interface.mtu)?;
        let addresses = interface.addresses.iter().map(|(address, _)| *address);
        for address in addresses.chain(interface.link_local) {
            maps.add_local(address)?;
        }
    }
    let parked = netlink.park().await?;
    maps.set_parked(parked.index)?;
    programs.attach_xdp(DRAIN, &parked.name)?;
    let drain_maps = DrainMaps::new(programs.ebpf())?;
    let signals = Signals::new(signal_ring(programs.ebpf())?)?;
    for interface in interfaces {
        match config.role {
            Role::AccessRouter(_) => programs.attach_xdp(ROUTER, &interface.name)?,
            Role::MobileNode(_) => {
                programs.attach_classifier(MOBILE_IN, &interface.name, TcAttachType::Ingress)?;
                programs.attach_classifier(MOBILE_OUT, &interface.name, TcAttachType::Egress)?;
            }
        }
        info!(interface = interface.name, "attached");
    }
    let pace = match buffer.drain {
        config::Drain::Burst => Pace::Burst,
        config::Drain::Paced => Pace::Metered {
            catch_up: buffer.catch_up,
        },
    };
    let (sender, reports) = unbounded_channel();
    Ok(Loaded {
        maps,
        drain: Drain::start(programs, drain_maps, pace, sender)?,
        reports,
        signals,
        transmitter,
    })
}

/// Shows what the programs log among the controller's own lines.
fn forward_logs(programs: &mut Programs) -> Result<()> {
    let logger = EbpfLogger::init(programs.ebpf()).context("cannot read what the programs log")?;
    // SAFETY: the logger owns its ring's descriptor and gives the same one as long as it lives.
    let mut logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
        .context("cannot watch what the programs log")?;
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.clear_ready();
            guard.get_inner_mut().flush();
        }
    });
    Ok(())
}

/// The protocol core in one of its roles.
enum Machine {
    Router(AccessRouter),
    MobileNode(MobileNode),
}

impl Machine {
    fn new(config: &Config, interfaces: &[config::Interface]) -> Result<Self> {
        // Sequence numbers and identifiers need not be secret, only different at each start.
        let seed = RandomState::new().build_hasher().finish();
        Ok(match &config.role {
            Role::AccessRouter(router) => Self::Router(AccessRouter::new(
                config.router_config(router, interfaces)?,
                seed,
            )),
            Role::MobileNode(node) => Self::MobileNode(MobileNode::new(
                config.mobile_node_config(node, interfaces)?,
                seed,
            )),
        })
    }

    fn handle_input(&mut self, input: Input) {
        let now = now();
        match self {
            Self::Router(machine) => machine.handle_input(now, input),
            Self::MobileNode(machine) => machine.handle_input(now, input),
        }
    }

    fn handle_timeout(&mut self) {
        let now = now();
        match self {
            Self::Router(machine) => machine.handle_timeout(now),
            Self::MobileNode(machine) => machine.handle_timeout(now),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Router(machine) => machine.poll_timeout(),
            Self::MobileNode(machine) => machine.poll_timeout(),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Router(machine) => machine.poll_output(),
            Self::MobileNode(machine) => machine.poll_output(),
        }
    }

    fn counters(&self) -> &proto::Counters {
        match self {
            Self::Router(machine) => machine.counters(),
            Self::MobileNode(machine) => machine.counters(),
        }
    }

    fn handovers(&self) -> Vec<proto::HandoverStatus> {
        match self {
            Self::Router(machine) => machine.handovers(),
            Self::MobileNode(machine) => machine.handovers(),
        }
    }
}

/// The clock: the one that the data path reads, so that a lifetime means the same to both.
fn now() -> Instant {
    Instant::from_nanos(monotonic_ns())
}

struct Controller {
    role: &'static str,
    started: std::time::Instant,
    machine: Machine,
    executor: Executor,
    transmitter: Transmitter,
    events: EventBus,
}

/// What this room tells people, besides the core's events.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    /// The first packet of a buffer was sent.
    FirstReleased { address: Ipv6Addr },
    /// A buffer is drained: packets go straight through.
    BufferDrained {
        address: Ipv6Addr,
        held: u64,
        released: u64,
        dropped: u64,
    },
}

impl Controller {
    async fn run(
        mut self,
        config: &Config,
        signals: Signals,
        reports: UnboundedReceiver<Report>,
        ending: Ending,
    ) -> Result<()> {
        let (order_sender, order_receiver) = orders();
        let socket =
            ControlSocket::start(&config.control_socket, order_sender, self.events.clone());
        let result = match &socket {
            Ok(_) => {
                info!(role = self.role, control = %config.control_socket.display(), "ready");
                self.serve(signals, reports, order_receiver, ending).await
            }
            Err(_) => Ok(()),
        };
        self.machine.handle_input(Input::Admin(Admin::Shutdown));
        self.carry_out().await;
        self.executor.end().await;
        // Last, so that those who watch see the end of the handovers.
        socket?.stop().await;
        info!("unloaded");
        result
    }

    async fn serve(
        &mut self,
        mut signals: Signals,
        mut reports: UnboundedReceiver<Report>,
        mut orders: mpsc::Receiver<Order>,
        mut ending: Ending,
    ) -> Result<()> {
        loop {
            self.carry_out().await;
            tokio::select! {
                received = signals.receive() => {
                    let received = received?;
                    self.machine.handle_input(Input::Packet {
                        interface: received.interface,
                        link_source: received.link_source,
                        bytes: received.packet,
                    });
                }
                Some(report) = reports.recv() => self.handle_report(report),
                Some(order) = orders.recv() => {
                    if let Order::Shutdown { reply } = order {
                        // Whether the client still listens does not matter.
                        let _ = reply.send(Ok(()));
                        return Ok(());
                    }
                    self.handle_order(order);
                }
                () = until(self.machine.poll_timeout()) => self.machine.handle_timeout(),
                () = ending.asked() => return Ok(()),
            }
        }
    }

    /// Carries out all that the core wants done.
    async fn carry_out(&mut self) {
        // The time of the events is that of the decision: a message is answered, and its answer
        // timed by another process, before this one knows that the message has been sent.
        let decided_ns = monotonic_ns();
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    if let Err(error) = self.transmitter.send(transmit.interface, &transmit.bytes) {
                        // As lost as on the wire: the retransmission timer sees to it.
                        warn!("{error:#}");
                    }
                }
                Output::Command(command) => {
                    debug!(?command, "carried out");
                    if let Err(error) = self.executor.execute(&command).await {
                        warn!(command = command.name(), "{error}");
                        let failed = Input::CommandFailed { command, error };
                        self.machine.handle_input(failed);
                    }
                }
                Output::Event(event) => {
                    info!(?event);
                    self.events.publish(decided_ns, &event);
                }
            }
        }
    }

    fn handle_report(&mut self, report: Report) {
        self.executor.note(&report);
        match report {
            Report::FirstReleased { address, time_ns } => {
                self.events
                    .publish(time_ns, &Event::FirstReleased { address });
            }
            Report::Drained {
                address,
                held,
                released,
                dropped,
            } => {
                info!(%address, held, released, dropped, "drained");
                let event = Event::BufferDrained {
                    address,
                    held,
                    released,
                    dropped,
                };
                self.events.publish(monotonic_ns(), &event);
                self.machine.handle_input(Input::Drained { address });
            }
            Report::Discarded { buffer, packets } => {
                if packets > 0 {
                    info!(buffer, packets, "discarded");
                }
            }
            Report::Failed { address, error } => {
                warn!(%address, "cannot release the buffer: {error}");
                let error = CommandError::Other(error);
                self.machine
                    .handle_input(Input::DrainFailed { address, error });
            }
        }
    }

    fn handle_order(&mut self, order: Order) {
        match order {
            Order::Status { reply } => {
                let status = self.status().map_err(|error| format!("{error:#}"));
                // A client that went away needs no answer.
                let _ = reply.send(status);
            }
            Order::Trigger { trigger, reply } => {
                let result = match self.machine {
                    Machine::MobileNode(_) => {
                        self.machine.handle_input(Input::Link(trigger.into()));
                        Ok(())
                    }
                    Machine::Router(_) => Err(
                        "link-layer triggers are for a mobile node; this is an access router"
                            .to_owned(),
                    ),
                };
                let _ = reply.send(result);
            }
            Order::Shutdown { .. } => {}
        }
    }

    fn status(&self) -> Result<Status> {
        let maps = self.executor.maps();
        let counts = maps.counts()?;
        let packets_of = |reason| {
            counts
                .iter()
                .find(|(counted, _)| *counted == reason)
                .map_or(0, |(_, count)| count.packets)
        };
        Ok(Status {
            role: self.role.to_owned(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            reasons: counts
                .iter()
                .map(|(reason, count)| {
                    let count = Count {
                        packets: count.packets,
                        bytes: count.bytes,
                    };
                    (reason.name().to_owned(), count)
                })
                .collect(),
            signalling: serde_json::to_value(self.machine.counters())?,
            handovers: self
                .machine
                .handovers()
                .iter()
                .map(serde_json::to_value)
                .collect::<Result<_, _>>()?,
            buffers: maps
                .buffers()?
                .into_iter()
                .map(|buffer| BufferStatus {
                    address: buffer.address,
                    held: buffer.held,
                    released: buffer.released,
                    dropped: buffer.dropped,
                    waiting: buffer.waiting,
                })
                .collect(),
            held: packets_of(fmip_common::reason::Reason::Held),
            released: packets_of(fmip_common::reason::Reason::Released),
            ..Status::default()
        })
    }
}

/// Sleeps until the core's next deadline; for ever if it has none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => {
            let left: Duration = deadline - now();
            if !left.is_zero() {
                sleep(left).await;
            }
        }
        None => std::future::pending().await,
    }
}
