//! Neighbor and proxy entries.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use netlink_packet_route::{
    AddressFamily,
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::RouteProtocol,
};

use super::{
    Netlink, PROTOCOL,
    messages::{gone_is_done, io_error, neighbor_address, neighbor_link_address},
    sysctl::{Sysctl, interface_sysctl},
};
use crate::{proto::NeighborState, wire::MacAddr};

impl Netlink {
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

    /// Has the kernel find out a neighbor's link-layer address, as if it had a packet for it.
    pub(super) async fn solicit(&self, interface: u32, address: Ipv6Addr) -> Result<()> {
        self.handle
            .neighbours()
            .add(interface, IpAddr::V6(address))
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace()
            .execute()
            .await
            .map_err(io_error)
            .with_context(|| format!("cannot ask for {address} on interface {interface}"))
    }

    pub(super) async fn delete_neighbor(
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

    pub(super) async fn neighbors(&self, proxies: bool) -> Result<Vec<NeighbourMessage>> {
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

pub(super) fn neighbor_protocol() -> NeighbourAttribute {
    NeighbourAttribute::Protocol(RouteProtocol::Other(PROTOCOL))
}
