//! Neighbor and proxy entries.

use std::{
    io::{self, ErrorKind},
    net::Ipv6Addr,
};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::RouteProtocol,
};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};

use super::{
    Netlink, PROTOCOL,
    messages::{gone_is_done_io, io_error, neighbor_link_address},
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
        let mut entry = entry(interface, address);
        entry.header.flags = NeighbourFlags::Proxy;
        entry.header.state = NeighbourState::Permanent;
        entry.attributes.push(neighbor_protocol());
        self.replace(entry).context(action)?;
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
        // One, and not all of them: a router may have thousands.
        let entry = self.neighbor_entry(interface, address)?.filter(|entry| {
            !unanswered.contains(&entry.header.state)
                && !entry.attributes.contains(&neighbor_protocol())
        });
        Ok(entry.as_ref().and_then(neighbor_link_address))
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
        let mut entry = entry(interface, address);
        entry.header.state = state;
        let octets = link_address.0.to_vec();
        (entry.attributes).push(NeighbourAttribute::LinkLayerAddress(octets));
        self.replace(entry).context(action)
    }

    /// The entry of a neighbor, if the kernel has one.
    fn neighbor_entry(
        &self,
        interface: u32,
        address: Ipv6Addr,
    ) -> Result<Option<NeighbourMessage>> {
        match self.direct.neighbor(entry(interface, address)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some).with_context(|| {
                format!("cannot look up the neighbor {address} on interface {interface}")
            }),
        }
    }

    /// Makes the entry of a router one that stays, until [`Netlink::free_neighbor`]. If people made one
    /// that stays and says the same, that does; one that says something else is put back then.
    pub(super) fn fix_neighbor(
        &mut self,
        interface: u32,
        address: Ipv6Addr,
        link_address: MacAddr,
    ) -> Result<()> {
        let key = (interface, address);
        let found = self.neighbor_entry(interface, address)?.filter(|entry| {
            entry.header.state == NeighbourState::Permanent
                && !entry.attributes.contains(&neighbor_protocol())
        });
        if !self.fixed_neighbors.contains_key(&key)
            && found.as_ref().and_then(neighbor_link_address) == Some(link_address)
        {
            return Ok(());
        }
        let mut fixed = entry(interface, address);
        fixed.header.state = NeighbourState::Permanent;
        fixed.header.flags = NeighbourFlags::Router;
        let octets = link_address.0.to_vec();
        (fixed.attributes).push(NeighbourAttribute::LinkLayerAddress(octets));
        fixed.attributes.push(neighbor_protocol());
        self.replace(fixed)?;
        self.fixed_neighbors.entry(key).or_insert(found);
        Ok(())
    }

    /// Undoes [`Netlink::fix_neighbor`].
    pub(super) async fn free_neighbor(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let key = (interface, address);
        let Some(found) = self.fixed_neighbors.get(&key) else {
            return Ok(());
        };
        // Not changed into what was: it would still be marked as ours.
        self.delete_neighbor(interface, address, NeighbourFlags::empty())
            .await?;
        if let Some(found) = found {
            let mut before = entry(interface, address);
            before.header.state = NeighbourState::Permanent;
            before.header.flags = found.header.flags;
            let stated = found.attributes.iter().filter(|attribute| {
                matches!(
                    attribute,
                    NeighbourAttribute::LinkLayerAddress(_) | NeighbourAttribute::Protocol(_)
                )
            });
            before.attributes.extend(stated.cloned());
            self.replace(before).with_context(|| {
                format!("cannot put back the neighbor entry of {address} on interface {interface}")
            })?;
        }
        self.fixed_neighbors.remove(&key);
        Ok(())
    }

    /// Has the kernel find out a neighbor's link-layer address, as if it had a packet for it.
    pub(super) async fn solicit(&self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let mut entry = entry(interface, address);
        entry.header.flags = NeighbourFlags::Use;
        self.replace(entry)
            .with_context(|| format!("cannot ask for {address} on interface {interface}"))
    }

    pub(super) async fn delete_neighbor(
        &self,
        interface: u32,
        address: Ipv6Addr,
        flags: NeighbourFlags,
    ) -> Result<()> {
        let mut message = entry(interface, address);
        message.header.flags = flags;
        let message = RouteNetlinkMessage::DelNeighbour(message);
        gone_is_done_io(self.direct.change(message, 0)).with_context(|| {
            let what = if flags.contains(NeighbourFlags::Proxy) {
                "proxy"
            } else {
                "neighbor"
            };
            format!("cannot remove the {what} entry of {address} on interface {interface}")
        })
    }

    /// Makes a neighbor or proxy entry, or turns the one that is there into this.
    fn replace(&self, entry: NeighbourMessage) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewNeighbour(entry);
        self.direct.change(message, NLM_F_CREATE | NLM_F_REPLACE)
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

/// The entry of an address on an interface, with nothing said about it.
fn entry(interface: u32, address: Ipv6Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = interface;
    message
        .attributes
        .push(NeighbourAttribute::Destination(address.into()));
    message
}

pub(super) fn neighbor_protocol() -> NeighbourAttribute {
    NeighbourAttribute::Protocol(RouteProtocol::Other(PROTOCOL))
}
