//! The event loop: the one place where the protocol core is driven.

mod stations;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv6Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use futures_util::FutureExt as _;
use serde::Serialize;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    time::sleep,
};
use tracing::{debug, error, info, warn};

use self::stations::{hostapds, links, station_event, watched};
use super::{
    addresses::{AddressWatch, Change},
    attach::Mode,
    drain::Report,
    events::Events,
    execute::Executor,
    hook::{CareOf, Hook},
    hostapd::Hostapds,
    link::{self, Link},
    machine::{Machine, now},
    mobile,
    monitor::Monitor,
    monotonic_ns,
    requests::{Request, Requests},
    show,
    signals::{Received, Signals},
    transmit::{self, Transmitter},
    triggers::{self, Receiver, Told},
};
use crate::{
    config::{Config, Role},
    link::{damping::Outcome, vocabulary::Indication},
    observe::{
        control::{ControlSocket, EventBus, Order, orders},
        show::MobileState,
    },
    proto::{self, Admin, Command, CommandError, Input, Instant, InterfaceIndex, Output},
    wire::MacAddr,
};

/// Where inputs come from, besides the control socket.
pub(super) struct Sources {
    pub(super) signals: Signals,
    pub(super) events: Events,
    pub(super) reports: UnboundedReceiver<Report>,
    pub(super) requests: Requests,
    /// Of a mobile node.
    pub(super) link: Link,
}

/// All that runs once everything is loaded.
pub(super) struct Controller {
    /// Where the configuration was read from.
    file: PathBuf,
    config: Config,
    started: std::time::Instant,
    machine: Machine,
    executor: Executor,
    transmitter: Transmitter,
    /// Of a mobile node.
    link: Link,
    /// Of a mobile node.
    hook: Option<Hook>,
    events: EventBus,
    /// Of a router's access points.
    hostapds: Hostapds,
    /// Who had which of the addresses with a key, by what was told of stations.
    owners: BTreeMap<(InterfaceIndex, Ipv6Addr), MacAddr>,
    /// The addresses that have a key; none of a mobile node.
    keyed: BTreeSet<Ipv6Addr>,
    /// The access links, to find out which one a node is on.
    links: Vec<triggers::Link>,
    /// How the packets of each interface are met, by its index.
    modes: BTreeMap<u32, Mode>,
}

/// What the event loop itself tells people, besides the core's events.
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
    pub(super) fn new(
        file: &Path,
        config: Config,
        machine: Machine,
        executor: Executor,
        transmitter: Transmitter,
        modes: BTreeMap<u32, Mode>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            links: links(&config, executor.interfaces()),
            link: Link::default(),
            hostapds: Hostapds::new(&config.control_socket),
            owners: BTreeMap::new(),
            keyed: match &config.role {
                Role::AccessRouter(router) => router.keyed(),
                Role::MobileNode(_) => BTreeSet::new(),
            },
            hook: hook(&config),
            config,
            started: std::time::Instant::now(),
            machine,
            executor,
            transmitter,
            modes,
            events: EventBus::default(),
        }
    }

    /// Runs until somebody asks for the end; then ends what is under way and unloads.
    ///
    /// # Errors
    /// The control socket cannot be made, or a source of inputs broke.
    pub(super) async fn run(mut self, sources: Sources) -> Result<()> {
        let (order_sender, order_receiver) = orders();
        let socket = ControlSocket::start(
            &self.config.control_socket,
            order_sender,
            self.events.clone(),
        );
        let result = match &socket {
            Ok(socket) => {
                info!(
                    role = self.config.role.name(),
                    control = %socket.path().display(),
                    "ready"
                );
                self.serve(sources, order_receiver).await
            }
            Err(_) => Ok(()),
        };
        self.machine.handle_input(Input::Admin(Admin::Shutdown));
        self.carry_out().await;
        self.machine.end();
        self.executor.end().await;
        self.link.end().await;
        self.hostapds.end().await;
        // Last, so that those who watch see the end of the handovers.
        socket?.stop().await;
        info!("unloaded");
        result
    }

    async fn serve(
        &mut self,
        mut sources: Sources,
        mut orders: mpsc::Receiver<Order>,
    ) -> Result<()> {
        // Of a router.
        let watched = match &self.config.role {
            Role::AccessRouter(router) => Some(watched(router, &self.links)),
            Role::MobileNode(_) => None,
        };
        let mut monitor = watched.map(Monitor::start).transpose()?;
        // Of a mobile node: before its first address is configured.
        let mut addresses = match &self.config.role {
            Role::AccessRouter(_) => None,
            Role::MobileNode(_) => Some(AddressWatch::start()?),
        };
        self.link = std::mem::take(&mut sources.link);
        self.hostapds.follow(hostapds(&self.config, &self.links));
        loop {
            self.carry_out().await;
            if let Some(prospects) = self.machine.new_prospects() {
                self.link.inform(prospects);
            }
            let held_back = self.link.poll_timeout();
            tokio::select! {
                received = sources.signals.receive() => self.hear_signal(received?),
                event = station_event(&mut monitor) => {
                    debug!(?event, "a neighbor changed");
                    self.handle_input(Input::Station(event));
                }
                told = self.link.next() => {
                    let (input, event) = self.link.hear(now(), told);
                    if let Some(event) = event {
                        self.events.publish(monotonic_ns(), &event);
                    }
                    if let Some(input) = input {
                        self.handle_input(input);
                    }
                }
                told = self.hostapds.next() => self.hear_hostapd(told, monitor.as_ref()),
                change = address_change(&mut addresses) => self.handle_change(change).await,
                () = hook_ended(&mut self.hook) => {}
                event = sources.events.next() => {
                    let (time_ns, event) = event?;
                    debug!(?event, "in the data path");
                    self.events.publish(time_ns, &event);
                }
                Some(report) = sources.reports.recv() => self.handle_report(report),
                result = self.executor.follow_next_hops() => if let Err(error) = result {
                    warn!("{error:#}");
                },
                Some(order) = orders.recv() => {
                    if let Order::Shutdown { reply } = order {
                        // Whether the client still listens does not matter.
                        let _ = reply.send(Ok(()));
                        return Ok(());
                    }
                    self.handle_order(order, monitor.as_ref(), &sources).await;
                }
                () = until(self.machine.poll_timeout()) => {
                    // What came in time is heard first, if this process has not run for a while; as much of it
                    // as is taken at once.
                    while let Some(received) = sources.signals.receive().now_or_never() {
                        self.hear_signal(received?);
                    }
                    self.machine.handle_timeout();
                }
                () = until(held_back) => {
                    if let Some(event) = self.link.handle_timeout(now()) {
                        self.tell(Input::Link(event));
                    }
                }
                request = sources.requests.next() => match request {
                    Request::End => return Ok(()),
                    Request::Reload => if let Err(error) = self.reload(monitor.as_ref()).await {
                        error!("the configuration stays as it was: {error:#}");
                    },
                },
            }
        }
    }

    fn hear_signal(&mut self, received: Received) {
        self.machine.handle_input(Input::Packet {
            interface: received.interface,
            link_source: received.link_source,
            bytes: received.packet,
        });
    }

    /// Carries out all that the core wants done.
    async fn carry_out(&mut self) {
        // The time of the events is that of the decision: a message is answered, and its answer
        // timed by another process, before this one knows that the message has been sent.
        let decided_ns = monotonic_ns();
        let mut events = Vec::new();
        let mut waiting = VecDeque::new();
        let mut released = false;
        loop {
            let output = self.machine.poll_output();
            if let Some(output) = &output {
                self.link.note(output);
            }
            match output {
                Some(Output::Transmit(transmit)) => {
                    let tunnel_to = |address| self.executor.tunnel_to(address);
                    let transmit = transmit::routed(transmit, tunnel_to);
                    if let Err(error) = self.transmitter.send(&transmit) {
                        // As lost as on the wire: the retransmission timer sees to it.
                        warn!("{error:#}");
                    }
                }
                Some(Output::Command(command)) if can_wait(&command) => {
                    match self.executor.admit(&command).await {
                        Ok(()) => waiting.push_back(command),
                        Err(error) => self.handle_failure(command, error),
                    }
                }
                Some(Output::Command(command)) => {
                    if !matches!(command, Command::ReleaseBuffer { .. }) {
                        for before in waiting.drain(..) {
                            self.execute(before).await;
                        }
                    }
                    released |= matches!(command, Command::ReleaseBuffer { .. });
                    self.execute(command).await;
                }
                Some(Output::Event(event)) => events.push(event),
                // The drain thread, woken on this processor, would run when this one sleeps.
                None if std::mem::take(&mut released) => std::thread::yield_now(),
                // What failed may have made more outputs.
                None => match waiting.pop_front() {
                    Some(command) => self.execute(command).await,
                    None => break,
                },
            }
        }
        // Telling people takes longer than doing it.
        for event in events {
            info!(?event);
            self.events.publish(decided_ns, &event);
            self.tell_hook(&event);
            if let Some(primitive) = link::command(&event) {
                self.events.publish(decided_ns, &primitive);
            }
        }
    }

    async fn execute(&mut self, command: Command) {
        debug!(?command, "carried out");
        if let Err(error) = self.executor.execute(&command).await {
            self.handle_failure(command, error);
        }
    }

    /// Has the program of Mobile IPv6 told of a new care-of address.
    fn tell_hook(&mut self, event: &proto::Event) {
        if let proto::Event::CareOfAddress {
            care_of,
            previous,
            router,
            prefix_length,
            fast,
        } = *event
            && let Some(hook) = &mut self.hook
        {
            hook.tell(CareOf {
                care_of,
                previous,
                router,
                prefix_length,
                fast,
            });
        }
    }

    /// Something happened to an address of the mobile node's interface.
    async fn handle_change(&mut self, change: Change) {
        match self.executor.note_address(change).await {
            Ok(inputs) => {
                for input in inputs {
                    if let Input::CommandFailed { command, error } = &input {
                        warn!(command = command.name(), "{error}");
                    }
                    self.machine.handle_input(input);
                }
            }
            Err(error) => warn!("{error:#}"),
        }
    }

    fn handle_failure(&mut self, command: Command, error: CommandError) {
        warn!(command = command.name(), "{error}");
        let failed = Input::CommandFailed { command, error };
        self.machine.handle_input(failed);
    }

    /// Tells the core what somebody told, and people of the primitive in it.
    fn tell(&mut self, input: Input) {
        if let Input::Link(event) = &input {
            self.events
                .publish(monotonic_ns(), &link::primitive(*event));
        }
        self.handle_input(input);
    }

    /// Something that the data path must know of, too.
    fn handle_input(&mut self, input: Input) {
        if let Input::Station(event) = &input {
            self.executor.note_station(event);
            self.note_owner(event);
        }
        self.machine.handle_input(input);
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

    async fn handle_order(&mut self, order: Order, monitor: Option<&Monitor>, sources: &Sources) {
        match order {
            Order::Status { reply } => {
                let status = self.status(sources).map_err(|error| format!("{error:#}"));
                // A client that went away needs no answer.
                let _ = reply.send(status);
            }
            Order::DataPath { reply } => {
                let data_path = show::data_path(
                    self.config.role.name(),
                    &self.executor,
                    &self.modes,
                    &sources.signals,
                    &sources.events,
                );
                let _ = reply.send(data_path.map_err(|error| format!("{error:#}")));
            }
            Order::Bindings { page, reply } => {
                let _ = reply.send(Ok(show::bindings(&self.executor, page)));
            }
            Order::Buffers { page, reply } => {
                let buffers = show::buffers(&self.executor, page);
                let _ = reply.send(buffers.map_err(|error| format!("{error:#}")));
            }
            Order::Trigger { trigger, reply } => {
                let done = match triggers::told(trigger, self.receiver()) {
                    // As a program would tell it that speaks of primitives.
                    Ok(Told::Input(Input::Link(event))) => {
                        self.hear(Indication::Event { event, of: None }).map(drop)
                    }
                    Ok(Told::Input(input)) => {
                        self.tell(input);
                        Ok(())
                    }
                    Ok(Told::Station(change)) => self.hear_of_told_station(change, monitor),
                    Err(error) => Err(error),
                };
                let _ = reply.send(done);
            }
            Order::Primitive { indication, reply } => {
                let _ = reply.send(self.hear(indication));
            }
            Order::Mobile { reply } => {
                let _ = reply.send(self.mobile().await);
            }
            Order::Registered { care_of, reply } => {
                let done = self.machine.may_register(care_of);
                let _ = reply.send(done.map(|()| {
                    info!(%care_of, "registered");
                    self.machine
                        .handle_input(Input::Admin(Admin::Registered { care_of }));
                }));
            }
            Order::Reload { reply } => {
                let _ = reply.send(
                    self.reload(monitor)
                        .await
                        .map_err(|error| format!("{error:#}")),
                );
            }
            Order::Shutdown { .. } => {}
        }
    }

    /// What a program says of the link layer of a mobile node.
    fn hear(&mut self, indication: Indication) -> Result<Outcome, String> {
        if self.receiver() != Receiver::MobileNode {
            return Err(
                "primitive: is for a mobile node; this is an access router (whose link layer \
                 is told by `trigger`)"
                    .to_owned(),
            );
        }
        let (outcome, input) = self.link.take(now(), indication)?;
        if let Some(input) = input {
            self.tell(input);
        }
        Ok(outcome)
    }

    /// Reads the configuration file again and goes on with what it says; with what it said before
    /// if there is anything wrong with it.
    async fn reload(&mut self, monitor: Option<&Monitor>) -> Result<()> {
        let config = Config::load(&self.file)?;
        config.may_replace(&self.config, &self.file)?;
        let Role::AccessRouter(router) = &config.role else {
            bail!("only an access router takes another configuration while it runs");
        };
        let interfaces = self.executor.resolve(&config.interface_names()).await?;
        let told = config.router_config(router, &interfaces)?;
        self.executor.reconfigure(interfaces, &config, router)?;
        self.machine.reload(told);
        self.links = links(&config, self.executor.interfaces());
        if let Some(monitor) = monitor {
            monitor.watch(watched(router, &self.links));
        }
        self.keyed = router.keyed();
        let keyed = &self.keyed;
        self.owners
            .retain(|(_, address), _| keyed.contains(address));
        self.hostapds.follow(hostapds(&config, &self.links));
        self.config = config;
        info!(file = %self.file.display(), "reloaded");
        Ok(())
    }

    async fn mobile(&self) -> Result<MobileState, String> {
        let Some(status) = self.machine.mobile_node() else {
            return Err("`show mobile` is for a mobile node; this is an access router".to_owned());
        };
        let counters = self.machine.counters();
        let hook = self.hook.as_ref().map(Hook::counts);
        mobile::state(&self.executor, &self.link, status, counters, hook)
            .await
            .map_err(|error| format!("{error:#}"))
    }

    fn receiver(&self) -> Receiver<'_> {
        match self.config.role {
            Role::AccessRouter(_) => Receiver::AccessRouter(&self.links),
            Role::MobileNode(_) => Receiver::MobileNode,
        }
    }
}

/// Whether a command can wait until the packets that an arrived node waits for are on their way: the
/// data path needs none of these for that. Each takes the kernel longer than the order to release, and
/// as long as it likes while another process changes the network. All that would keep the packets from
/// the node was asked before, when the command was admitted.
///
/// A proxy entry does no harm meanwhile: the kernel answers in another's stead only after a random time,
/// and only if the entry is still there then (UNA-06, UNA-12).
fn can_wait(command: &Command) -> bool {
    matches!(
        command,
        Command::RemoveProxyNd { .. } | Command::AddNeighbor { .. } | Command::AddHostRoute { .. }
    )
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

/// The next change of an address; none ever at a router.
async fn address_change(watch: &mut Option<AddressWatch>) -> Change {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// Until the program of Mobile IPv6 has ended, if it runs.
async fn hook_ended(hook: &mut Option<Hook>) {
    match hook {
        Some(hook) => hook.follow().await,
        None => std::future::pending().await,
    }
}

/// Of a mobile node.
fn hook(config: &Config) -> Option<Hook> {
    let Role::MobileNode(node) = &config.role else {
        return None;
    };
    let socket = config.control_socket.clone();
    let settings = node.mobile_ipv6.clone();
    Some(Hook::new(settings, node.interface.clone(), socket))
}
