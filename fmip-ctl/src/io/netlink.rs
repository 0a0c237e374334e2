//! Interfaces, addresses, neighbors and routes of the kernel, through netlink.
//!
//! Not by calling `ip`: what it prints is no interface, its failures are text, and a process per
//! change would cost milliseconds in the middle of a handover.
//!
//! What stays in the kernel until somebody removes it is written down, so that
//! [`Netlink::clean_up`] removes it, and marked with [`PROTOCOL`], so that
//! [`Netlink::remove_leftovers`] finds what a killed controller could not remove. STALE neighbor
//! entries are neither: they age as any other.

mod addresses;
mod direct;
mod messages;
mod neighbors;
mod routes;
mod sysctl;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    net::Ipv6Addr,
};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use netlink_packet_route::{
    AddressFamily, link::LinkMessage, neighbour::NeighbourMessage, route::RouteProtocol,
};
use rtnetlink::{Handle, LinkUnspec, LinkVeth};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

pub use self::addresses::{AddressOwner, KEPT, UNUSED_LABEL, Verdict};
pub(super) use self::direct::Direct;
pub(super) use self::messages::{ipv6_of, link_name, neighbor_address, neighbor_link_address};
use self::{
    addresses::{Found, Own},
    messages::{gone_is_done, has_xdp, interface, io_error, is_veth},
    neighbors::neighbor_protocol,
    routes::output_interface,
    sysctl::{Sysctl, interface_sysctl},
};
use super::{
    addresses::Described,
    devices::{self, Device},
};
use crate::config::{DEFAULT_ROUTE_METRIC, Interface};

/// Whose routes, addresses, neighbor and proxy entries ours are (`rtm_protocol`, `IFA_PROTO`,
/// `NDA_PROTOCOL`): a number that `/etc/iproute2/rt_protos` leaves free, from that of the RFC.
pub const PROTOCOL: u8 = 55;

/// The two ends of the parked veth pair.
const PARKED: [&str; 2] = ["fmip-park0", "fmip-park1"];

/// The smallest MTU that IPv6 allows (RFC 8200 section 5).
const MIN_MTU: u32 = 1_280;
/// What the tunnel puts in front of a packet.
const TUNNEL_HEADER: u32 = 40;

/// One end of a veth pair that carries nothing; see [`Netlink::park`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
}

/// A netlink connection in the network namespace of the thread that opened it, and a list of what
/// was changed through it.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
    direct: Direct,
    /// Name and MTU of the interfaces that were resolved, by index.
    interfaces: BTreeMap<u32, (String, u32)>,
    proxies: BTreeSet<(u32, Ipv6Addr)>,
    /// Addresses that were added.
    addresses: BTreeMap<(u32, Ipv6Addr), Own>,
    /// Addresses that were there, and are kept.
    found: BTreeMap<(u32, Ipv6Addr), Found>,
    /// Of those, the last that were removed.
    removed: VecDeque<((u32, Ipv6Addr), Found)>,
    labels: BTreeSet<(u32, Ipv6Addr)>,
    /// The router that each interface's default route leads to.
    default_routers: BTreeMap<u32, Ipv6Addr>,
    /// The metric that these routes are to have, and the one that they have.
    wanted_metric: u32,
    default_metric: u32,
    /// The neighbor entries that were fixed, and what people had fixed there before.
    fixed_neighbors: BTreeMap<(u32, Ipv6Addr), Option<NeighbourMessage>>,
    host_routes: BTreeSet<(u32, Ipv6Addr)>,
    parked: Option<u32>,
    sysctls: Vec<Sysctl>,
}

impl Netlink {
    /// Opens a connection; its task runs on the running tokio runtime.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub async fn connect() -> Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a netlink socket")?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
            direct: Direct::open().context("cannot open a netlink socket")?,
            interfaces: BTreeMap::new(),
            proxies: BTreeSet::new(),
            addresses: BTreeMap::new(),
            found: BTreeMap::new(),
            removed: VecDeque::new(),
            labels: BTreeSet::new(),
            default_routers: BTreeMap::new(),
            wanted_metric: DEFAULT_ROUTE_METRIC,
            default_metric: DEFAULT_ROUTE_METRIC,
            fixed_neighbors: BTreeMap::new(),
            host_routes: BTreeSet::new(),
            parked: None,
            sysctls: Vec::new(),
        })
    }

    /// Gives the default routes to come this metric, or the next lower one that nobody else has.
    pub fn set_route_metric(&mut self, metric: u32) {
        self.wanted_metric = metric;
    }

    /// What the kernel knows about the interfaces of these names, in their order.
    ///
    /// The other methods take the indices of interfaces that were resolved here.
    ///
    /// # Errors
    /// An interface does not exist, or has no link-layer address of 6 octets.
    pub async fn resolve(&mut self, names: &[&str]) -> Result<Vec<Interface>> {
        let links = self.links().await?;
        let addresses = self.addresses().await?;
        let interfaces = names
            .iter()
            .map(|name| interface(name, &links, &addresses))
            .collect::<Result<Vec<_>>>()?;
        for interface in &interfaces {
            self.interfaces
                .insert(interface.index, (interface.name.clone(), interface.mtu));
        }
        Ok(interfaces)
    }

    /// What these interfaces are made of, in their order.
    ///
    /// # Errors
    /// An interface is gone.
    pub async fn devices(&self, interfaces: &[Interface]) -> Result<Vec<Device>> {
        let links = self.links().await?;
        interfaces
            .iter()
            .map(|interface| devices::device(interface.index, &links))
            .collect()
    }

    /// The global addresses of an interface that can be used now, the best first: one that something
    /// new may begin from, and one that stays.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub async fn usable_addresses(&self, interface: u32) -> Result<Vec<Described>> {
        let addresses = self.addresses().await?;
        let described = addresses.iter().filter_map(Described::by);
        let mut usable: Vec<Described> = described
            .filter(|of| of.interface == interface && of.global && of.is_usable())
            .collect();
        usable.sort_by_key(|of| (of.preferred_s == 0, of.is_temporary()));
        Ok(usable)
    }

    fn resolved(&self, index: u32) -> Result<(&str, u32)> {
        self.interfaces
            .get(&index)
            .map(|(name, mtu)| (name.as_str(), *mtu))
            .with_context(|| format!("interface {index} is none of this controller's"))
    }

    /// Removes what a killed controller left: the parked pair, and the proxy entries, addresses,
    /// routes and permanent neighbor entries on `interfaces` that are marked as ours.
    ///
    /// # Errors
    /// Another controller runs in this network namespace; the kernel refuses.
    pub async fn remove_leftovers(&mut self, interfaces: &[Interface]) -> Result<()> {
        // First: it fails if the controller that things are marked by still runs.
        self.remove_idle_pair().await?;
        let here = |index: u32| interfaces.iter().any(|interface| interface.index == index);
        for proxies in [true, false] {
            for entry in self.neighbors(proxies).await? {
                if here(entry.header.ifindex)
                    && entry.attributes.contains(&neighbor_protocol())
                    && let Some(address) = neighbor_address(&entry)
                {
                    debug!(%address, proxies, "removing a neighbor entry that was left behind");
                    self.delete_neighbor(entry.header.ifindex, address, entry.header.flags)
                        .await?;
                }
            }
        }
        self.remove_left_addresses(here).await?;
        for message in self.routes().await? {
            let interface = output_interface(&message);
            if message.header.address_family == AddressFamily::Inet6
                && message.header.protocol == RouteProtocol::Other(PROTOCOL)
                && interface.is_some_and(here)
            {
                debug!(?interface, "removing a route that was left behind");
                self.delete_route(message).await?;
            }
        }
        Ok(())
    }

    /// Makes a veth pair for a program that must be attached somewhere to be fast, and returns the
    /// end to attach it to.
    ///
    /// Both ends are up and have no IPv6, so that nothing is ever sent on them; packets redirected
    /// into the pair are taken by its other end and go nowhere.
    ///
    /// # Errors
    /// A link of that name is something else, or another controller's; the kernel refuses.
    pub async fn park(&mut self) -> Result<Parked> {
        self.remove_idle_pair().await?;
        let [name, peer] = PARKED;
        self.handle
            .link()
            .add(LinkVeth::new(name, peer).build())
            .execute()
            .await
            .map_err(io_error)
            .with_context(|| format!("cannot make the veth pair {name}, {peer}"))?;
        let links = self.links().await?;
        let index_of = |name: &str| {
            links
                .iter()
                .find(|link| link_name(link) == Some(name))
                .map(|link| link.header.index)
                .with_context(|| format!("interface {name} is gone as soon as it was made"))
        };
        let index = index_of(name)?;
        self.parked = Some(index);
        for end in PARKED {
            // Or both would send router solicitations and multicast reports.
            let path = interface_sysctl(end, "disable_ipv6");
            fs::write(&path, "1").with_context(|| format!("cannot write {}", path.display()))?;
        }
        for end in PARKED {
            self.handle
                .link()
                .change(LinkUnspec::new_with_index(index_of(end)?).up().build())
                .execute()
                .await
                .map_err(io_error)
                .with_context(|| format!("cannot set interface {end} up"))?;
        }
        Ok(Parked {
            index,
            name: name.to_owned(),
        })
    }

    /// Removes a parked pair that nobody uses any more.
    async fn remove_idle_pair(&self) -> Result<()> {
        let links = self.links().await?;
        let pair = || {
            links
                .iter()
                .filter(|link| link_name(link).is_some_and(|name| PARKED.contains(&name)))
        };
        // All of them before the first is removed, for the other end goes with it.
        for link in pair() {
            let name = link_name(link).unwrap_or_default();
            if !is_veth(link) {
                bail!("interface {name} is no veth pair of a controller: give it another name");
            }
            // A controller's program is gone as soon as the controller is, even if it was killed.
            if has_xdp(link) {
                bail!(
                    "another controller runs in this network namespace ({name} is in use): end it"
                );
            }
        }
        for link in pair() {
            debug!("removing a veth pair that was left behind");
            self.delete_link(PARKED[0], link.header.index).await?;
        }
        Ok(())
    }

    /// Removes all that was installed, and puts back the switches that were changed. What cannot
    /// be removed is logged, and the rest is removed all the same.
    pub async fn clean_up(&mut self) {
        let mut results = Vec::new();
        for (interface, address) in self.proxies.clone() {
            results.push(self.remove_proxy_nd(interface, address).await);
        }
        for (interface, address) in self.host_routes.clone() {
            results.push(self.remove_host_route(interface, address).await);
        }
        // Before the addresses: its packets may have one of them as their source.
        for interface in self.default_routers.clone().into_keys() {
            results.push(self.restore_default_router(interface).await);
        }
        self.clean_up_addresses(&mut results).await;
        if let Some(index) = self.parked.take() {
            results.push(self.delete_link(PARKED[0], index).await);
        }
        for error in results.into_iter().filter_map(Result::err) {
            warn!("left behind: {error:#}");
        }
        self.sysctls.clear();
    }

    async fn delete_link(&self, name: &str, index: u32) -> Result<()> {
        gone_is_done(self.handle.link().del(index).execute().await)
            .with_context(|| format!("cannot remove interface {name}"))
    }

    async fn links(&self) -> Result<Vec<LinkMessage>> {
        let links = self.handle.link().get().execute().try_collect().await;
        links
            .map_err(io_error)
            .context("cannot list the interfaces")
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
