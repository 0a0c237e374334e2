//! Interfaces, addresses, neighbors and routes of the kernel, through netlink.
//!
//! Not by calling `ip`: what it prints is no interface, its failures are text, and a process per
//! change would cost milliseconds in the middle of a handover.
//!
//! What stays in the kernel until somebody removes it is written down, so that
//! [`Netlink::clean_up`] removes it, and marked with [`PROTOCOL`], so that
//! [`Netlink::remove_leftovers`] finds what a killed controller could not remove. STALE neighbor
//! entries are neither: they age as any other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use anyhow::{Context, Result, anyhow, bail};
use futures_util::TryStreamExt;
use netlink_packet_route::{
    AddressFamily,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
        AddressScope, CacheInfo,
    },
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached},
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteAttribute, RouteMessage, RouteMetric, RouteProtocol},
};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::io::Errno;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::{config::Interface, proto::NeighborState, wire::MacAddr};

/// Whose routes, addresses, neighbor and proxy entries ours are (`rtm_protocol`, `IFA_PROTO`,
/// `NDA_PROTOCOL`): a number that `/etc/iproute2/rt_protos` leaves free, from that of the RFC.
pub const PROTOCOL: u8 = 55;

/// The metric of our default routes: before one of a router advertisement, which has 1024 and may
/// still lead to the router that was left.
pub const DEFAULT_ROUTE_METRIC: u32 = 512;

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
    /// Name and MTU of the interfaces that were resolved, by index.
    interfaces: BTreeMap<u32, (String, u32)>,
    proxies: BTreeSet<(u32, Ipv6Addr)>,
    addresses: BTreeMap<(u32, Ipv6Addr), u8>,
    /// The router that each interface's default route leads to.
    default_routers: BTreeMap<u32, Ipv6Addr>,
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
            interfaces: BTreeMap::new(),
            proxies: BTreeSet::new(),
            addresses: BTreeMap::new(),
            default_routers: BTreeMap::new(),
            parked: None,
            sysctls: Vec::new(),
        })
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
        for message in self.addresses().await? {
            if here(message.header.index)
                && message
                    .attributes
                    .contains(&AddressAttribute::Protocol(AddressProtocol::Other(
                        PROTOCOL,
                    )))
            {
                debug!(address = ?ipv6_of(&message), "removing an address that was left behind");
                self.delete_address(message).await?;
            }
        }
        let routes: Vec<RouteMessage> = self
            .handle
            .route()
            .get(RouteMessageBuilder::<Ipv6Addr>::new().build())
            .execute()
            .try_collect()
            .await
            .map_err(io_error)
            .context("cannot list the routes")?;
        for message in routes {
            let interface = message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                });
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

    /// Answers neighbor solicitations for `address` on an interface in another node's stead
    /// (HI-13). That the entry exists already is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_proxy_nd(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let (name, _) = self.resolved(interface)?;
        let action = format!("cannot add the proxy entry for {address} on {name}");
        let path = interface_sysctl(name, "proxy_ndp");
        let switch = Sysctl::set(path.clone(), "1")
            .with_context(|| format!("cannot write {}", path.display()))?;
        // From the second entry on there is nothing to put back.
        if switch.before.is_some() {
            self.sysctls.push(switch);
        }
        let mut request = self
            .handle
            .neighbours()
            .add(interface, IpAddr::V6(address))
            .flags(NeighbourFlags::Proxy)
            .replace();
        request.message_mut().attributes.push(neighbor_protocol());
        request.execute().await.map_err(io_error).context(action)?;
        self.proxies.insert((interface, address));
        Ok(())
    }

    /// Undoes [`Netlink::add_proxy_nd`]. That there is no such entry is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_proxy_nd(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        self.delete_neighbor(interface, address, NeighbourFlags::Proxy)
            .await?;
        self.proxies.remove(&(interface, address));
        Ok(())
    }

    /// Who has `address` on an interface, as far as the kernel knows and still believes it.
    ///
    /// Entries of [`Netlink::add_proxy_nd`] and [`Netlink::set_default_router`] say nothing about
    /// that and are passed over, as are those that were never or are no longer answered for.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub async fn neighbor(&self, interface: u32, address: Ipv6Addr) -> Result<Option<MacAddr>> {
        let unanswered = [
            NeighbourState::None,
            NeighbourState::Incomplete,
            NeighbourState::Failed,
        ];
        let entries = self.neighbors(false).await?;
        let entry = entries.iter().find(|entry| {
            entry.header.ifindex == interface
                && neighbor_address(entry) == Some(address)
                && !unanswered.contains(&entry.header.state)
                && !entry.attributes.contains(&neighbor_protocol())
        });
        Ok(entry.and_then(neighbor_link_address))
    }

    /// Makes a neighbor entry, or turns the one that is there into this. STALE (UNA-06) is used at
    /// once and verified soon after, REACHABLE (LEG-02) is verified when it has aged.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_neighbor(
        &mut self,
        interface: u32,
        address: Ipv6Addr,
        link_address: MacAddr,
        state: NeighborState,
    ) -> Result<()> {
        let action =
            format!("cannot make {link_address} the neighbor {address} on interface {interface}");
        let state = match state {
            NeighborState::Stale => NeighbourState::Stale,
            NeighborState::Reachable => NeighbourState::Reachable,
        };
        self.handle
            .neighbours()
            .add(interface, IpAddr::V6(address))
            .link_layer_address(&link_address.0)
            .state(state)
            .replace()
            .execute()
            .await
            .map_err(io_error)
            .context(action)
    }

    /// Adds an address that may be used at once for what it is needed for, and for nothing else.
    ///
    /// At once: it is optimistic (RFC 4429), that is, duplicate address detection runs beside its
    /// use. Where the kernel knows no optimistic addresses there is no detection at all, which
    /// would take a second; the new access router has looked for duplicates before. Nothing else:
    /// its preferred lifetime is 0, so that no connection begins from it (TUN-07).
    ///
    /// That the address exists already is no error; it is then left as it is, now and by
    /// [`Netlink::clean_up`].
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_address(
        &mut self,
        interface: u32,
        address: Ipv6Addr,
        prefix_length: u8,
    ) -> Result<()> {
        let (name, _) = self.resolved(interface)?;
        let action = format!("cannot add the address {address}/{prefix_length} to {name}");
        // Without this switch the kernel drops the flag in silence. It is turned back at once,
        // for it would change what becomes of addresses from router advertisements as well.
        let (flag, _switch) = match Sysctl::set(interface_sysctl(name, "optimistic_dad"), "1") {
            Ok(switch) => (AddressFlags::Optimistic, Some(switch)),
            // The kernel was built without.
            Err(error) if error.kind() == ErrorKind::NotFound => (AddressFlags::Nodad, None),
            Err(error) => return Err(error).context(action),
        };
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_preferred = 0;
        lifetimes.ifa_valid = u32::MAX;
        let mut request = self
            .handle
            .address()
            .add(interface, IpAddr::V6(address), prefix_length);
        request.message_mut().attributes.extend([
            AddressAttribute::Flags(flag),
            AddressAttribute::CacheInfo(lifetimes),
            AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)),
        ]);
        match request.execute().await.map_err(io_error) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error).context(action),
            Ok(()) => {
                self.addresses.insert((interface, address), prefix_length);
                Ok(())
            }
        }
    }

    /// Sends what has no better route to `router`, from now on and without asking for its
    /// link-layer address first.
    ///
    /// `router` may be a global address that is on none of the link's prefixes. The route's MTU
    /// leaves room for the header of the tunnel to the previous router. Both route and neighbor
    /// entry take the place of those of an earlier call for the same interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn set_default_router(
        &mut self,
        interface: u32,
        router: Ipv6Addr,
        link_address: MacAddr,
    ) -> Result<()> {
        let (name, mtu) = self.resolved(interface)?;
        let action = format!("cannot make {router} ({link_address}) the default router on {name}");
        let mtu = mtu.saturating_sub(TUNNEL_HEADER).max(MIN_MTU);
        // Before the route, whose first packet would have the kernel solicit. PERMANENT: with
        // ndisc_evict_nocarrier any other entry is gone with the link, and it comes and goes here.
        let mut neighbor = self
            .handle
            .neighbours()
            .add(interface, IpAddr::V6(router))
            .link_layer_address(&link_address.0)
            .state(NeighbourState::Permanent)
            .flags(NeighbourFlags::Router)
            .replace();
        neighbor.message_mut().attributes.push(neighbor_protocol());
        neighbor
            .execute()
            .await
            .map_err(io_error)
            .with_context(|| action.clone())?;
        let mut route = default_route(interface).gateway(router).onlink().build();
        route
            .attributes
            .push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
        let routed = self.handle.route().add(route).replace().execute().await;
        if let Some(before) = self.default_routers.insert(interface, router)
            && before != router
        {
            self.delete_neighbor(interface, before, NeighbourFlags::empty())
                .await?;
        }
        routed.map_err(io_error).context(action)
    }

    /// Undoes [`Netlink::set_default_router`]: what routes there were before are used again. That
    /// there is nothing to undo is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn restore_default_router(&mut self, interface: u32) -> Result<()> {
        let Some(router) = self.default_routers.get(&interface).copied() else {
            return Ok(());
        };
        self.delete_route(default_route(interface).build()).await?;
        self.delete_neighbor(interface, router, NeighbourFlags::empty())
            .await?;
        self.default_routers.remove(&interface);
        Ok(())
    }

    /// Removes all that was installed, and puts back the switches that were changed. What cannot
    /// be removed is logged, and the rest is removed all the same.
    pub async fn clean_up(&mut self) {
        let mut results = Vec::new();
        for (interface, address) in self.proxies.clone() {
            results.push(self.remove_proxy_nd(interface, address).await);
        }
        // Before the addresses: its packets may have one of them as their source.
        for interface in self.default_routers.clone().into_keys() {
            results.push(self.restore_default_router(interface).await);
        }
        for ((interface, address), prefix_length) in self.addresses.clone() {
            results.push(self.remove_address(interface, address, prefix_length).await);
        }
        if let Some(index) = self.parked.take() {
            results.push(self.delete_link(PARKED[0], index).await);
        }
        for error in results.into_iter().filter_map(Result::err) {
            warn!("left behind: {error:#}");
        }
        self.sysctls.clear();
    }

    async fn remove_address(
        &mut self,
        interface: u32,
        address: Ipv6Addr,
        prefix_length: u8,
    ) -> Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.index = interface;
        message.header.prefix_len = prefix_length;
        message
            .attributes
            .push(AddressAttribute::Local(address.into()));
        self.delete_address(message).await?;
        self.addresses.remove(&(interface, address));
        Ok(())
    }

    async fn delete_address(&self, message: AddressMessage) -> Result<()> {
        let address = ipv6_of(&message).unwrap_or(Ipv6Addr::UNSPECIFIED);
        let interface = message.header.index;
        gone_is_done(self.handle.address().del(message).execute().await).with_context(|| {
            format!("cannot remove the address {address} from interface {interface}")
        })
    }

    async fn delete_neighbor(
        &self,
        interface: u32,
        address: Ipv6Addr,
        flags: NeighbourFlags,
    ) -> Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.ifindex = interface;
        message.header.flags = flags;
        message
            .attributes
            .push(NeighbourAttribute::Destination(address.into()));
        gone_is_done(self.handle.neighbours().del(message).execute().await).with_context(|| {
            let what = if flags.contains(NeighbourFlags::Proxy) {
                "proxy"
            } else {
                "neighbor"
            };
            format!("cannot remove the {what} entry of {address} on interface {interface}")
        })
    }

    async fn delete_route(&self, message: RouteMessage) -> Result<()> {
        gone_is_done(self.handle.route().del(message).execute().await)
            .context("cannot remove the default route")
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

    async fn addresses(&self) -> Result<Vec<AddressMessage>> {
        let addresses: Result<Vec<AddressMessage>, _> =
            self.handle.address().get().execute().try_collect().await;
        let mut addresses = addresses
            .map_err(io_error)
            .context("cannot list the addresses")?;
        addresses.retain(|message| message.header.family == AddressFamily::Inet6);
        Ok(addresses)
    }

    async fn neighbors(&self, proxies: bool) -> Result<Vec<NeighbourMessage>> {
        let mut request = self
            .handle
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Inet6);
        if proxies {
            request = request.proxies();
        }
        let neighbors = request.execute().try_collect().await;
        neighbors
            .map_err(io_error)
            .context("cannot list the neighbors")
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

/// What is to be removed and does not exist needs no removal.
fn gone_is_done(result: Result<(), rtnetlink::Error>) -> io::Result<()> {
    result.map_err(io_error).or_else(|error| {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::SRCH | Errno::NODEV | Errno::ADDRNOTAVAIL) => Ok(()),
            _ => Err(error),
        }
    })
}

fn interface(name: &str, links: &[LinkMessage], addresses: &[AddressMessage]) -> Result<Interface> {
    let link = links
        .iter()
        .find(|link| link_name(link) == Some(name))
        .ok_or_else(|| {
            let existing: Vec<&str> = links.iter().filter_map(link_name).collect();
            anyhow!(
                "there is no interface {name} (there are: {})",
                existing.join(", ")
            )
        })?;
    let link_address = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => <[u8; 6]>::try_from(octets.as_slice()).ok(),
            _ => None,
        })
        .filter(|octets| *octets != [0; 6])
        .with_context(|| {
            format!("interface {name} has no link-layer address of 6 octets, as Ethernet has")
        })?;
    let mtu = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
    let own = || {
        addresses.iter().filter(|message| {
            let failed = AddressHeaderFlags::Dadfailed;
            message.header.index == link.header.index && !message.header.flags.contains(failed)
        })
    };
    Ok(Interface {
        name: name.to_owned(),
        index: link.header.index,
        link_address: MacAddr(link_address),
        mtu: mtu.unwrap_or(MIN_MTU),
        up: link.header.flags.contains(LinkFlags::Up),
        link_local: own()
            .filter_map(ipv6_of)
            .find(|address| address.is_unicast_link_local()),
        addresses: own()
            .filter(|message| message.header.scope == AddressScope::Universe)
            .filter_map(|message| Some((ipv6_of(message)?, message.header.prefix_len)))
            .collect(),
    })
}

fn link_name(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    })
}

fn has_xdp(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => xdp.iter().any(
            |xdp| matches!(xdp, LinkXdp::Attached(attached) if *attached != XdpAttached::None),
        ),
        _ => false,
    })
}

fn ipv6_of(message: &AddressMessage) -> Option<Ipv6Addr> {
    let mut peer = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(IpAddr::V6(address)) => return Some(*address),
            // Ours, unless there is a `Local` as well: then it is the other end's.
            AddressAttribute::Address(IpAddr::V6(address)) => peer = Some(*address),
            _ => {}
        }
    }
    peer
}

fn neighbor_address(message: &NeighbourMessage) -> Option<Ipv6Addr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(*address),
            _ => None,
        })
}

fn neighbor_link_address(message: &NeighbourMessage) -> Option<MacAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(octets) => {
                <[u8; 6]>::try_from(octets.as_slice()).ok().map(MacAddr)
            }
            _ => None,
        })
}

fn neighbor_protocol() -> NeighbourAttribute {
    NeighbourAttribute::Protocol(RouteProtocol::Other(PROTOCOL))
}

fn default_route(interface: u32) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new()
        .output_interface(interface)
        .priority(DEFAULT_ROUTE_METRIC)
        .protocol(RouteProtocol::Other(PROTOCOL))
}

fn interface_sysctl(interface: &str, switch: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net/ipv6/conf")
        .join(interface)
        .join(switch)
}

/// A switch under /proc/sys, with its old value put back on drop.
///
/// /proc/sys/net is that of the network namespace of the thread that opens the file.
#[derive(Debug)]
struct Sysctl {
    path: PathBuf,
    /// `None` if it had the wanted value already.
    before: Option<String>,
}

impl Sysctl {
    fn set(path: PathBuf, value: &str) -> io::Result<Self> {
        let before = fs::read_to_string(&path)?.trim().to_owned();
        let changed = before != value;
        if changed {
            fs::write(&path, value)?;
        }
        Ok(Self {
            path,
            before: changed.then_some(before),
        })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let Some(before) = &self.before else {
            return;
        };
        match fs::write(&self.path, before) {
            Ok(()) => {}
            // The interface went away, and its switches with it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => warn!(path = %self.path.display(), %error, "cannot put back {before}"),
        }
    }
}
