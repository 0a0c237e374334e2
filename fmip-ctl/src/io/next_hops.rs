//! Next hops that are kept true: through which interface and to which link-layer address packets
//! for a destination go, for a data path that sends them without asking the kernel.
//!
//! A destination is watched for as long as something is sent to it. It begins without a way; what
//! is told is every change from there on, once per change and never the same again. Without a way
//! the data path asks `bpf_fib_lookup` for each packet, or leaves it to the kernel, which is always
//! right and slower. A destination has no way while
//!
//! - there is no route, or one that drops (unreachable, prohibit, blackhole), or one to the router
//!   itself, or the interface has no carrier, or no link-layer address as Ethernet has;
//! - the neighbor does not answer (INCOMPLETE, FAILED);
//! - no single hop is true for all packets: the route has several (ECMP, also as a nexthop group),
//!   or puts a header in front (seg6, MPLS); or a rule (`ip -6 rule`) that could apply to the
//!   destination looks at anything but the destination: the source, the mark, the interface (that
//!   of a VRF included), the traffic class, a user, a port; or there is a route to it for some
//!   sources alone (`from` in `ip -6 route`).
//!
//! The route is that of packets which this router sends itself, as it does with those that it
//! tunnels. Not seen, because the kernel tells nobody: path MTUs, which come with Packet Too Big
//! and go by themselves; nexthop objects where `net.ipv4.nexthop_compat_mode` is 0, so that their
//! routes have no way.
//!
//! Nobody but the kernel resolves neighbors, and it forgets those that it sends nothing to. So it
//! is told to keep them by itself (NTF_EXT_MANAGED, Linux 5.16), or made to look for them every
//! few seconds ([`Upkeep`]). That ends with the last watch, and with [`NextHops::stop`]; what a
//! killed controller left is taken back by the next. Entries that are permanent, that a routing
//! daemon learned, or that somebody else had managed are used as they are and left as they are.
//!
//! # How to drive it
//!
//! Watch when a binding with a tunnel is installed, unwatch when it is removed; write what is told
//! into the table of ways.
//!
//! ```no_run
//! # use std::net::Ipv6Addr;
//! # use fmip_ctl::io::next_hops::{NextHops, Upkeep};
//! # async fn drive(
//! #     mut bindings: tokio::sync::mpsc::Receiver<(bool, Ipv6Addr)>,
//! #     mut write: impl FnMut(Ipv6Addr, Option<fmip_ctl::io::next_hops::Way>),
//! # ) -> anyhow::Result<()> {
//! let mut hops = NextHops::start(Upkeep::Managed)?;
//! loop {
//!     tokio::select! {
//!         change = hops.next() => write(change.destination, change.way),
//!         binding = bindings.recv() => match binding {
//!             // Another binding may have watched it before: then no change tells its way.
//!             Some((true, tunnel_end)) => {
//!                 hops.watch(tunnel_end);
//!                 write(tunnel_end, hops.way(tunnel_end));
//!             }
//!             Some((false, tunnel_end)) => hops.unwatch(tunnel_end),
//!             None => break,
//!         },
//!     }
//! }
//! hops.stop().await;
//! # Ok(())
//! # }
//! ```

mod kernel;
mod messages;
mod outbox;
mod table;
mod timers;
mod worker;

use std::{
    net::Ipv6Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use self::{outbox::Outbox, table::News, worker::Worker};
use crate::{proto::InterfaceIndex, wire::MacAddr};

/// Whose the neighbor entries are that the kernel was told to manage (NDA_PROTOCOL). Not
/// [`PROTOCOL`](super::netlink::PROTOCOL): those are made by the controller, and removed with it;
/// these are the kernel's own, and stay.
const MARK: u8 = 56;

/// How packets for a destination leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// The interface that the route leads to; it may be a VLAN or another device on top of one.
    pub interface: InterfaceIndex,
    /// The next router, or the destination itself if it is on the link.
    pub gateway: Ipv6Addr,
    /// The link-layer address of `gateway`.
    pub link_destination: MacAddr,
    /// The link-layer address of `interface`.
    pub link_source: MacAddr,
    /// The longest packet in octets, link-layer header not counted: that of the interface, or less
    /// if the route says so.
    pub mtu: u32,
}

/// A destination has another way than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// A watched destination.
    pub destination: Ipv6Addr,
    /// Its way from now on; `None`: it has none, and every packet must ask.
    pub way: Option<Way>,
}

/// How neighbors are kept from being forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// The kernel does it by itself; if it cannot, as [`Upkeep::Probed`].
    Managed,
    /// The kernel is made to look for them every few seconds, as before Linux 5.16.
    Probed,
}

/// What it took so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Questions for a route.
    pub route_questions: u64,
    /// Questions for a neighbor.
    pub neighbor_questions: u64,
    /// How often the kernel's messages overran the socket, and all had to be asked for anew.
    pub overruns: u64,
}

/// Follows the ways of destinations in a task of its own.
///
/// When it is dropped, the task undoes what it had the kernel do, as long as the runtime lives;
/// [`NextHops::stop`] waits for that.
#[derive(Debug)]
pub struct NextHops {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl NextHops {
    /// Begins to follow the routes of the network namespace of this thread, on the running tokio
    /// runtime.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn start(upkeep: Upkeep) -> Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let worker = Worker::new(upkeep, receiver, shared.clone())?;
        Ok(Self {
            commands,
            shared,
            task: tokio::spawn(worker.run()),
        })
    }

    /// Watches a destination until it was unwatched as often. If it is not watched already, it is
    /// asked for at once, and begins without a way.
    pub fn watch(&self, destination: Ipv6Addr) {
        // In this order under the lock, or two threads could send them in another one.
        let mut outbox = self.shared.outbox();
        if let Some(watch) = outbox.watch(destination) {
            self.send(Command::Watch { destination, watch });
        }
    }

    /// Undoes one [`NextHops::watch`]. After the last, no change of the destination is told any
    /// more. That it is not watched is no error.
    pub fn unwatch(&self, destination: Ipv6Addr) {
        let mut outbox = self.shared.outbox();
        if outbox.unwatch(destination) {
            self.send(Command::Unwatch { destination });
        }
    }

    fn send(&self, command: Command) {
        // The task ends before this only if its sockets broke, and has told that all ways are gone.
        let _ = self.commands.send(command);
    }

    /// The way that [`NextHops::next`] told last for a watched destination.
    pub fn way(&self, destination: Ipv6Addr) -> Option<Way> {
        self.shared.outbox().told(destination)
    }

    /// Waits for the next change. Nothing is lost if it is cancelled. What changes again before it
    /// is fetched is told once, as it is then.
    pub async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.shared.outbox().fetch() {
                return change;
            }
            self.shared.filled.notified().await;
        }
    }

    /// What it took so far.
    pub fn effort(&self) -> Effort {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Effort {
            route_questions: read(&self.shared.route_questions),
            neighbor_questions: read(&self.shared.neighbor_questions),
            overruns: read(&self.shared.overruns),
        }
    }

    /// Ends it, with all neighbors left to age as they would have.
    pub async fn stop(self) {
        let Self { commands, task, .. } = self;
        drop(commands);
        // It panicked, and said so.
        let _ = task.await;
    }
}

#[derive(Debug)]
enum Command {
    Watch { destination: Ipv6Addr, watch: u64 },
    Unwatch { destination: Ipv6Addr },
}

#[derive(Debug, Default)]
struct Shared {
    outbox: Mutex<Outbox>,
    filled: Notify,
    route_questions: AtomicU64,
    neighbor_questions: AtomicU64,
    overruns: AtomicU64,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // No method of it can leave it half changed.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, news: Vec<News>) {
        let mut filled = false;
        let mut outbox = self.outbox();
        for news in news {
            filled |= outbox.put(news);
        }
        drop(outbox);
        if filled {
            self.filled.notify_one();
        }
    }
}
