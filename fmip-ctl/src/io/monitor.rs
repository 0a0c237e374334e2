//! What the kernel learns about the mobile nodes on the access links: which came, and which left
//! without a word.
//!
//! The kernel's neighbor discovery is the witness that every link has (RFC 4861 section 7.3): an
//! entry that becomes REACHABLE is a node that answered, one that becomes FAILED is a node that
//! does not answer any more. An access point's own events are faster, and come by the control
//! socket. Only nodes with a key are watched: nobody else can be handed over.

mod tracker;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourFlags, NeighbourMessage},
};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tracing::{debug, warn};

use self::tracker::Tracker;
use super::netlink::{neighbor_address, neighbor_link_address};
use crate::{
    proto::{InterfaceIndex, StationEvent},
    wire::MacAddr,
};

/// Events that may wait for the event loop. While it is behind, the kernel's messages wait in the
/// socket, and when that overruns, the kernel is asked anew.
const EVENT_QUEUE: usize = 1_024;
/// How long to wait before the kernel is asked again what it did not tell.
const RETRY: Duration = Duration::from_secs(1);

/// Which nodes to watch, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// The access links.
    pub interfaces: BTreeSet<InterfaceIndex>,
    /// The addresses of the nodes with a key.
    pub addresses: BTreeSet<Ipv6Addr>,
}

/// Watches neighbors in a task of its own, until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    watch: mpsc::UnboundedSender<Watched>,
    events: mpsc::Receiver<StationEvent>,
    owners: Owners,
    connection: JoinHandle<()>,
    task: JoinHandle<()>,
}

/// Whose link-layer address each watched address had last, answering or not. An entry that the kernel
/// drops says nothing against it.
#[derive(Clone, Debug, Default)]
struct Owners(Arc<Mutex<BTreeMap<(InterfaceIndex, Ipv6Addr), MacAddr>>>);

impl Owners {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(InterfaceIndex, Ipv6Addr), MacAddr>> {
        // Whoever held it leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    /// Begins to watch in the network namespace of this thread; nodes that are there already are
    /// told as those that come.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn start(watched: Watched) -> Result<Self> {
        let (connection, handle, messages) = new_multicast_connection(&[MulticastGroup::Neigh])
            .context("cannot open a netlink socket to watch neighbors")?;
        let connection = tokio::spawn(connection);
        let (watch, watches) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let owners = Owners::default();
        let worker = Worker {
            owners: owners.clone(),
            handle,
            messages: Box::pin(messages.map(|(message, _)| message)),
            tracker: Tracker::new(watched),
            events: sender,
        };
        Ok(Self {
            watch,
            events,
            owners,
            connection,
            task: tokio::spawn(worker.run(watches)),
        })
    }

    /// Waits for the next event. Nothing is lost if it is cancelled.
    pub async fn next(&mut self) -> StationEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task said why it ended.
            None => std::future::pending().await,
        }
    }

    /// Who the kernel knows on a link: the watched addresses, and the link-layer address of each.
    pub fn owners(&self, interface: InterfaceIndex) -> Vec<(Ipv6Addr, MacAddr)> {
        let owners = self.owners.lock();
        let on_link = owners.iter().filter(|((link, _), _)| *link == interface);
        on_link
            .map(|((_, address), mac)| (*address, *mac))
            .collect()
    }

    /// Watches other nodes from now on.
    pub fn watch(&self, watched: Watched) {
        // The task ends before this only if the socket broke.
        let _ = self.watch.send(watched);
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
        self.connection.abort();
    }
}

type Messages = Pin<Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send>>;

struct Worker {
    owners: Owners,
    handle: Handle,
    messages: Messages,
    tracker: Tracker,
    events: mpsc::Sender<StationEvent>,
}

/// What a message of the kernel means for what is known.
enum Told {
    /// Nothing new, or this.
    Event(Option<StationEvent>),
    /// Messages were lost.
    Overrun,
}

impl Worker {
    async fn run(mut self, mut watches: mpsc::UnboundedReceiver<Watched>) {
        // Those that are there already.
        let mut behind = true;
        loop {
            if behind {
                match self.resynchronise().await {
                    Ok(events) => {
                        behind = false;
                        for event in events {
                            if self.events.send(event).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(error) => {
                        warn!("{error:#}");
                        sleep(RETRY).await;
                        continue;
                    }
                }
            }
            tokio::select! {
                watched = watches.recv() => match watched {
                    Some(watched) => {
                        (self.owners.lock()).retain(|(interface, address), _| {
                            watched.interfaces.contains(interface)
                                && watched.addresses.contains(address)
                        });
                        self.tracker.watch(watched);
                        behind = true;
                    }
                    None => return,
                },
                message = self.messages.next() => match message {
                    Some(message) => match self.tell(message) {
                        Told::Event(None) => {}
                        Told::Event(Some(event)) => {
                            if self.events.send(event).await.is_err() {
                                return;
                            }
                        }
                        Told::Overrun => {
                            debug!("messages about neighbors were lost: asking for all");
                            behind = true;
                        }
                    },
                    None => {
                        warn!("the kernel tells no more about neighbors: who leaves without a \
                               word is not noticed");
                        return;
                    }
                },
            }
        }
    }

    fn tell(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> Told {
        match message.payload {
            NetlinkPayload::Overrun(_) => Told::Overrun,
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry)) => Told::Event(
                neighbor(&entry)
                    .and_then(|(interface, address)| self.update(interface, address, &entry)),
            ),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(entry)) => {
                let event = neighbor(&entry)
                    .and_then(|(interface, address)| self.tracker.remove(interface, address));
                Told::Event(event)
            }
            _ => Told::Event(None),
        }
    }

    fn update(
        &mut self,
        interface: InterfaceIndex,
        address: Ipv6Addr,
        entry: &NeighbourMessage,
    ) -> Option<StationEvent> {
        let link_address = neighbor_link_address(entry);
        if let Some(link_address) = link_address
            && self.tracker.watches(interface, address)
        {
            self.owners
                .lock()
                .insert((interface, address), link_address);
        }
        (self.tracker).update(interface, address, entry.header.state, link_address)
    }

    /// Asks for all that the kernel knows.
    async fn resynchronise(&mut self) -> Result<Vec<StationEvent>> {
        let entries: Vec<NeighbourMessage> = self
            .handle
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Inet6)
            .execute()
            .try_collect()
            .await
            .context("cannot list the neighbors")?;
        let mut events = Vec::new();
        let mut there = BTreeSet::new();
        for entry in &entries {
            if let Some((interface, address)) = neighbor(entry) {
                there.insert((interface, address));
                events.extend(self.update(interface, address, entry));
            }
        }
        for (interface, address) in self.tracker.known() {
            if !there.contains(&(interface, address)) {
                events.extend(self.tracker.remove(interface, address));
            }
        }
        Ok(events)
    }
}

/// Where a neighbor is and who, if it is an IPv6 neighbor and no proxy entry.
fn neighbor(entry: &NeighbourMessage) -> Option<(InterfaceIndex, Ipv6Addr)> {
    if entry.header.family != AddressFamily::Inet6
        || entry.header.flags.contains(NeighbourFlags::Proxy)
    {
        return None;
    }
    Some((entry.header.ifindex, neighbor_address(entry)?))
}
