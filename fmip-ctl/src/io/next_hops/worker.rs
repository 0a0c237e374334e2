//! The task between the kernel and the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    ops::ControlFlow,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    MulticastGroup, new_multicast_connection, packet_core::NetlinkMessage, sys::AsyncSocket as _,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    Command, Shared, Upkeep,
    kernel::{Kernel, Unanswered},
    messages::{Hop, Keeper, Notice, SourceRoute, notice, routable},
    table::Table,
    timers::{Again, Timers},
};

/// What the socket may hold while this task is busy; the kernel gives less if its limit is less.
const SOCKET_BUFFER: i32 = 4 << 20;
/// Routes that are asked for before messages are looked at again: some milliseconds.
const PART_OF_WAVE: usize = 128;
/// Messages that are looked at before something is asked.
const MESSAGES_AT_ONCE: usize = 4_096;
/// The least time between two waves. A wave waits as long as the one before took, too, so that
/// routes that never rest cost half of a processor at most.
const BETWEEN_WAVES: Duration = Duration::from_millis(10);
/// How long to wait before the kernel is asked again what it did not answer, or is made to look
/// again for a neighbor that somebody else had it leave alone.
const RETRY: Duration = Duration::from_secs(1);
/// The least time between two lists of all routes, which are only looked through for those that are
/// for some sources alone.
const BETWEEN_LISTS: Duration = Duration::from_secs(60);
/// How often a neighbor is looked for where the kernel does not do so by itself: as often as it
/// would (interval_probe_time_ms).
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

type Messages = Pin<Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send>>;

pub(super) struct Worker {
    kernel: Kernel,
    messages: Messages,
    connection: JoinHandle<()>,
    commands: mpsc::UnboundedReceiver<Command>,
    shared: Arc<Shared>,
    table: Table,
    timers: Timers,
    upkeep: Upkeep,
    /// Whether the kernel was seen to do it.
    proven: bool,
    /// The hops whose entries this worker had the kernel manage, and when it may do so again.
    kept: BTreeMap<Hop, Instant>,
    /// Looks through all routes, on a socket of its own, for it may take seconds.
    list: Option<JoinHandle<Result<BTreeSet<SourceRoute>>>>,
    /// Whether what it looks for changed meanwhile.
    list_outdated: bool,
    next_list: Instant,
    wave_started: Instant,
    next_wave: Instant,
}

impl Worker {
    /// Opens the sockets in the network namespace of this thread.
    pub(super) fn new(
        upkeep: Upkeep,
        commands: mpsc::UnboundedReceiver<Command>,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let (mut connection, _, messages) = new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Ifinfo,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Rule,
        ])
        .context("cannot open a netlink socket to follow routes and neighbors")?;
        let socket = connection.socket_mut().socket_mut();
        if let Err(error) = socket.set_rx_buf_sz(SOCKET_BUFFER) {
            debug!(%error, "the socket keeps its buffer");
        }
        let now = Instant::now();
        Ok(Self {
            kernel: Kernel::connect()?,
            messages: Box::pin(messages.map(|(message, _)| message)),
            connection: tokio::spawn(connection),
            commands,
            shared,
            table: Table::new(),
            timers: Timers::default(),
            upkeep,
            proven: false,
            kept: BTreeMap::new(),
            list: None,
            list_outdated: false,
            next_list: now,
            wave_started: now,
            next_wave: now,
        })
    }

    /// Ends when nobody watches any more, with everything undone.
    pub(super) async fn run(mut self) {
        self.take_back_leftovers().await;
        while self.step().await.is_continue() {}
        let kept: Vec<Hop> = self.kept.keys().copied().collect();
        for hop in kept {
            self.release(hop).await;
        }
    }

    async fn step(&mut self) -> ControlFlow<()> {
        self.take_what_waits()?;
        if self.table.poll_source_routes() {
            self.list_routes();
        }
        if self.table.urgent() {
            self.ask_what_is_urgent().await;
            self.publish();
            return ControlFlow::Continue(());
        }
        if self.table.wave() {
            self.ask_part_of_wave().await;
            self.publish();
            return ControlFlow::Continue(());
        }
        let now = Instant::now();
        if self.table.doubts() && now >= self.next_wave {
            self.table.start_wave();
            self.wave_started = now;
            return ControlFlow::Continue(());
        }
        while let Some(again) = self.timers.poll(now) {
            self.table.doubt_again(again);
        }
        if self.table.urgent() {
            return ControlFlow::Continue(());
        }
        let wave = self.table.doubts().then_some(self.next_wave);
        let wake = [wave, self.timers.next()].into_iter().flatten().min();
        let sleep = async {
            match wake {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = self.commands.recv() => match command {
                Some(command) => self.obey(command),
                None => return ControlFlow::Break(()),
            },
            message = self.messages.next() => match message {
                Some(message) => self.hear(&message),
                None => return self.give_up(),
            },
            listed = listed(&mut self.list) => self.take_list(listed),
            () = sleep => {}
        }
        ControlFlow::Continue(())
    }

    /// Commands and messages that are there already: the more of them are seen before the kernel
    /// is asked, the less often it is asked the same.
    fn take_what_waits(&mut self) -> ControlFlow<()> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
        }
        for _ in 0..MESSAGES_AT_ONCE {
            match self.messages.next().now_or_never() {
                Some(Some(message)) => self.hear(&message),
                Some(None) => return self.give_up(),
                None => break,
            }
        }
        ControlFlow::Continue(())
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Watch { destination, watch } => self.table.watch(destination, watch),
            Command::Unwatch { destination } => self.table.unwatch(destination),
        }
    }

    fn hear(&mut self, message: &NetlinkMessage<RouteNetlinkMessage>) {
        let Some(notice) = notice(message) else {
            return;
        };
        if notice == Notice::Overrun {
            self.shared.overruns.fetch_add(1, Ordering::Relaxed);
            warn!("messages about routes and neighbors were lost: asking for all anew");
        }
        self.list_outdated |= matches!(notice, Notice::SourceRoute(..) | Notice::Overrun);
        self.table.handle(&notice);
    }

    fn list_routes(&mut self) {
        let now = Instant::now();
        if self.list.is_some() {
            // It is found to be outdated when it is there.
            return;
        }
        if now < self.next_list {
            self.timers.set(Again::SourceRoutes, self.next_list);
            return;
        }
        self.list_outdated = false;
        self.next_list = now + BETWEEN_LISTS;
        self.list = match Kernel::connect() {
            Ok(kernel) => Some(tokio::spawn(async move { kernel.source_routes().await })),
            Err(error) => {
                warn!("{error:#}");
                self.timers.set(Again::SourceRoutes, now + BETWEEN_LISTS);
                None
            }
        };
    }

    fn take_list(&mut self, listed: Result<BTreeSet<SourceRoute>>) {
        self.list = None;
        match listed {
            Ok(routes) if !self.list_outdated => self.table.set_source_routes(routes),
            // Routes for some sources alone are few and rest.
            Ok(_) => {
                self.next_list = Instant::now() + RETRY;
                self.again(Again::SourceRoutes);
            }
            Err(error) => {
                warn!("{error:#}");
                self.timers.set(Again::SourceRoutes, self.next_list);
            }
        }
    }

    /// The kernel tells nothing any more.
    fn give_up(&self) -> ControlFlow<()> {
        warn!("the kernel tells no more about routes: every packet asks it for its next hop");
        ControlFlow::Break(())
    }

    fn publish(&mut self) {
        self.shared.publish(self.table.poll_news());
    }

    /// What is not a wave, in the order in which one thing needs the other: rules for routes,
    /// routes for hops.
    async fn ask_what_is_urgent(&mut self) {
        if self.table.poll_all_interfaces() {
            match self.kernel.interfaces().await {
                Ok(interfaces) => self.table.set_interfaces(interfaces),
                Err(error) => {
                    warn!("{error:#}");
                    self.again(Again::Everything);
                }
            }
        }
        while let Some(index) = self.table.poll_interface() {
            match self.kernel.interface(index).await {
                Ok(interface) => self.table.set_interface(index, interface),
                Err(error) => {
                    debug!(index, %error, "an interface is not told");
                    self.table.set_interface(index, None);
                    self.again(Again::Everything);
                }
            }
        }
        if self.table.poll_rules() {
            match self.kernel.selective().await {
                Ok(selective) => self.table.set_rules(Some(selective)),
                Err(error) => {
                    warn!("{error:#}");
                    self.table.set_rules(None);
                    self.again(Again::Everything);
                }
            }
        }
        for _ in 0..PART_OF_WAVE {
            let Some(destination) = self.table.poll_fresh() else {
                break;
            };
            self.ask_route(destination).await;
        }
        self.ask_hops().await;
    }

    async fn ask_part_of_wave(&mut self) {
        for _ in 0..PART_OF_WAVE {
            let Some(destination) = self.table.poll_wave() else {
                break;
            };
            self.ask_route(destination).await;
        }
        if !self.table.wave() {
            let now = Instant::now();
            self.next_wave = now + (now - self.wave_started).max(BETWEEN_WAVES);
        }
        self.ask_hops().await;
    }

    /// Also those that the routes just asked for lead to, so that both are published at once.
    async fn ask_hops(&mut self) {
        for _ in 0..PART_OF_WAVE {
            let Some(hop) = self.table.poll_hop() else {
                break;
            };
            self.ask_hop(hop).await;
        }
        // After the others: a hop that is left and found again in between is not touched.
        while let Some(hop) = self.table.poll_released() {
            self.release(hop).await;
        }
    }

    async fn ask_route(&mut self, destination: Ipv6Addr) {
        if !routable(destination) || self.table.selective(destination) {
            self.table.set_route(destination, None);
            return;
        }
        self.shared.route_questions.fetch_add(1, Ordering::Relaxed);
        match self.kernel.route(destination).await {
            Ok(route) => self.table.set_route(destination, route),
            Err(error) => {
                debug!(%destination, %error, "a route is not told");
                self.table.set_route(destination, None);
                self.again(Again::Route(destination));
            }
        }
    }

    async fn ask_hop(&mut self, hop: Hop) {
        if let Err(error) = self.try_hop(hop).await {
            debug!(?hop, %error, "a neighbor is not told");
            self.table.set_neighbor(hop, None);
            self.again(Again::Hop(hop));
        }
    }

    async fn try_hop(&mut self, hop: Hop) -> Result<(), Unanswered> {
        self.shared
            .neighbor_questions
            .fetch_add(1, Ordering::Relaxed);
        let mut entry = self.kernel.neighbor(hop).await?;
        let wanted = match self.upkeep {
            Upkeep::Managed => entry.is_none_or(|entry| entry.keeper == Keeper::Nobody),
            Upkeep::Probed => {
                entry.is_none_or(|entry| entry.keeper == Keeper::Nobody && entry.idle)
            }
        };
        let now = Instant::now();
        if self.upkeep == Upkeep::Probed {
            self.timers.set(Again::Hop(hop), now + PROBE_INTERVAL);
        }
        if wanted {
            match self.kept.get(&hop) {
                // Somebody else keeps taking it away.
                Some(not_before) if *not_before > now => {
                    self.timers.set(Again::Hop(hop), *not_before);
                }
                _ => {
                    self.kept.insert(hop, now + RETRY);
                    let claimed = entry.is_some_and(|entry| entry.claimed);
                    self.look_for(hop, !claimed).await?;
                    entry = self.kernel.neighbor(hop).await?;
                    let keeper = entry.map(|entry| entry.keeper);
                    self.proven |= keeper == Some(Keeper::Kernel);
                    if self.upkeep == Upkeep::Managed
                        && !self.proven
                        && keeper == Some(Keeper::Nobody)
                    {
                        self.probe_from_now_on();
                    }
                }
            }
        }
        self.table.set_neighbor(hop, entry);
        Ok(())
    }

    async fn look_for(&mut self, hop: Hop, mark: bool) -> Result<(), Unanswered> {
        let managed = self.upkeep == Upkeep::Managed;
        let result = self.kernel.look_for(hop, managed, mark).await;
        if result.is_err() && managed && !self.proven {
            // It may be the flag that is refused.
            self.kernel.look_for(hop, false, false).await?;
            return Ok(());
        }
        result
    }

    fn probe_from_now_on(&mut self) {
        info!(
            "the kernel (before Linux 5.16) keeps no neighbors by itself: they are asked for every \
             {} seconds",
            PROBE_INTERVAL.as_secs()
        );
        self.upkeep = Upkeep::Probed;
        self.kept.clear();
        let at = Instant::now() + PROBE_INTERVAL;
        for hop in self.table.hops() {
            self.timers.set(Again::Hop(hop), at);
        }
    }

    async fn release(&mut self, hop: Hop) {
        if self.kept.remove(&hop).is_none() || self.upkeep == Upkeep::Probed {
            return;
        }
        if let Err(error) = self.kernel.leave_alone(hop).await {
            warn!(
                interface = hop.interface,
                neighbor = %hop.address,
                "the kernel goes on keeping a neighbor: {error}"
            );
        }
    }

    /// A killed controller could not undo it.
    async fn take_back_leftovers(&mut self) {
        match self.kernel.left_behind().await {
            Ok(hops) => {
                for hop in hops {
                    debug!(?hop, "a neighbor was left managed");
                    if let Err(error) = self.kernel.leave_alone(hop).await {
                        warn!(?hop, "the kernel goes on keeping a neighbor: {error}");
                    }
                }
            }
            Err(error) => warn!("{error:#}"),
        }
    }

    fn again(&mut self, again: Again) {
        self.timers.set(again, Instant::now() + RETRY);
    }
}

/// Waits for the list, if one is under way.
async fn listed(
    list: &mut Option<JoinHandle<Result<BTreeSet<SourceRoute>>>>,
) -> Result<BTreeSet<SourceRoute>> {
    match list {
        Some(task) => task.await.context("the list of routes broke off")?,
        None => std::future::pending().await,
    }
}

impl Drop for Worker {
    /// However it ends, nobody keeps the ways true any more.
    fn drop(&mut self) {
        self.connection.abort();
        if let Some(list) = &self.list {
            list.abort();
        }
        self.table.distrust();
        self.publish();
    }
}
