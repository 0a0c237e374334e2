//! Carries out the core's commands: in the data path and in the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    net::Ipv6Addr,
};

use anyhow::{Context as _, Result, bail};
use fmip_common::binding::NextHop;

use super::{
    drain::{Drain, Report},
    maps::Maps,
    netlink::Netlink,
    sequences::Sequences,
};
use crate::{
    config::{self, Interface},
    proto::{Command, CommandError, InterfaceIndex, Tunnel},
    wire::MacAddr,
};

/// Everything that a command may change.
pub struct Executor {
    maps: Maps,
    drain: Drain,
    netlink: Netlink,
    /// Of a router.
    sequences: Option<Sequences>,
    interfaces: BTreeMap<InterfaceIndex, Interface>,
    /// The end of a mobile node's reverse tunnel, by previous care-of address.
    uplinks: BTreeMap<Ipv6Addr, Ipv6Addr>,
}

/// An address is another node's.
#[derive(Debug)]
struct InUse(String);

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for InUse {}

impl Executor {
    /// Takes the means to carry out commands on these interfaces.
    pub fn new(
        maps: Maps,
        drain: Drain,
        netlink: Netlink,
        sequences: Option<Sequences>,
        interfaces: Vec<Interface>,
    ) -> Self {
        Self {
            maps,
            drain,
            netlink,
            sequences,
            interfaces: by_index(interfaces),
            uplinks: BTreeMap::new(),
        }
    }

    /// The maps, to read.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// The interfaces, by index.
    pub fn interfaces(&self) -> &BTreeMap<InterfaceIndex, Interface> {
        &self.interfaces
    }

    /// What the kernel knows about interfaces now.
    ///
    /// # Errors
    /// An interface is not there any more.
    pub async fn resolve(&mut self, names: &[&str]) -> Result<Vec<Interface>> {
        self.netlink.resolve(names).await
    }

    /// Takes other addresses on the same interfaces, other bounds for the buffers to come, and other
    /// mobile nodes with a key.
    ///
    /// # Errors
    /// An interface is another than before, or the kernel refuses; nothing has changed then that
    /// anybody would notice.
    pub fn reconfigure(
        &mut self,
        interfaces: Vec<Interface>,
        buffer: &config::Buffer,
        keyed: &BTreeSet<Ipv6Addr>,
    ) -> Result<()> {
        let before: BTreeSet<Ipv6Addr> = self.interfaces.values().flat_map(own).collect();
        let after: BTreeSet<Ipv6Addr> = interfaces.iter().flat_map(own).collect();
        for interface in &interfaces {
            if !self.interfaces.contains_key(&interface.index) {
                bail!(
                    "interface {} is another than at the start: restart the controller",
                    interface.name
                );
            }
        }
        for address in after.difference(&before) {
            self.maps.add_local(*address)?;
        }
        for address in before.difference(&after) {
            self.maps.remove_local(*address)?;
        }
        self.maps.set_limits(buffer.into());
        if let Some(sequences) = &mut self.sequences {
            sequences.retain(|address| keyed.contains(&address));
        }
        self.interfaces = by_index(interfaces);
        Ok(())
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// When the kernel refuses, or an address is another node's; the command had no effect then.
    pub async fn execute(&mut self, command: &Command) -> Result<(), CommandError> {
        self.carry_out(command).await.map_err(|error| {
            let words = format!("{error:#}");
            match error.is::<InUse>() {
                true => CommandError::InUse(words),
                false => CommandError::Other(words),
            }
        })
    }

    async fn carry_out(&mut self, command: &Command) -> Result<()> {
        match *command {
            Command::InstallTunnel {
                pcoa,
                ncoa,
                local,
                expires,
            } => self
                .maps
                .install_tunnel(pcoa, ncoa, local, expires.as_nanos()),
            Command::RemoveTunnel { pcoa } => self.unbind(pcoa),
            Command::StartBuffering {
                address,
                interface,
                link_address,
                tunnel: None,
                expires,
            } => {
                let hop = self.next_hop(interface, link_address)?;
                self.refuse_own(address)?;
                self.refuse_others(interface, address, link_address).await?;
                self.maps.hold(address, hop, expires.as_nanos())
            }
            Command::ReleaseBuffer { address, expires } => {
                self.release(address, expires.as_nanos())
            }
            Command::RemoveBuffer { address } => self.unbind(address),
            Command::AddProxyNd {
                interface,
                address,
                link_address,
            } => {
                self.refuse_own(address)?;
                self.refuse_others(interface, address, link_address).await?;
                Ok(self.netlink.add_proxy_nd(interface, address).await?)
            }
            Command::RemoveProxyNd { interface, address } => {
                Ok(self.netlink.remove_proxy_nd(interface, address).await?)
            }
            Command::AddNeighbor {
                interface,
                address,
                link_address,
                state,
            } => {
                self.refuse_own(address)?;
                self.refuse_others(interface, address, link_address).await?;
                let netlink = &mut self.netlink;
                Ok(netlink
                    .add_neighbor(interface, address, link_address, state)
                    .await?)
            }
            Command::HoldUplink {
                pcoa,
                interface,
                tunnel:
                    Some(Tunnel {
                        local: ncoa,
                        remote: par,
                    }),
                router_lla: Some(router_lla),
                expires,
            } => {
                let hop = self.next_hop(interface, router_lla)?;
                self.maps
                    .hold_uplink(pcoa, ncoa, par, hop, expires.as_nanos())?;
                if let Err(error) = self.maps.add_local(ncoa) {
                    self.unbind(pcoa)?;
                    return Err(error);
                }
                self.uplinks.insert(pcoa, ncoa);
                Ok(())
            }
            Command::ReleaseUplink { pcoa, expires, .. } => self.release(pcoa, expires.as_nanos()),
            Command::RemoveUplink { pcoa } => self.remove_uplink(pcoa),
            Command::ConfigureAddress {
                interface,
                address,
                prefix_length,
            } => Ok(self
                .netlink
                .add_address(interface, address, prefix_length)
                .await?),
            Command::SetDefaultRouter {
                interface,
                router,
                link_address: Some(link_address),
            } => Ok(self
                .netlink
                .set_default_router(interface, router, link_address)
                .await?),
            Command::SetDefaultRouter {
                interface,
                router,
                link_address: None,
            } => Ok(self.netlink.keep_default_router(interface, router).await?),
            Command::ForgetRouter { interface } => {
                Ok(self.netlink.restore_default_router(interface).await?)
            }
            // The link layer's driver listens on the control socket: the core's event of the same
            // name tells it.
            Command::SwitchLink { .. } => Ok(()),
            Command::AddHostRoute { interface, address } => {
                self.refuse_own(address)?;
                Ok(self.netlink.add_host_route(interface, address).await?)
            }
            Command::RemoveHostRoute { interface, address } => {
                Ok(self.netlink.remove_host_route(interface, address).await?)
            }
            Command::StoreSequence { pcoa, sequence } => match &mut self.sequences {
                Some(sequences) => Ok(sequences.store(pcoa, sequence)?),
                None => bail!("only an access router keeps sequence numbers"),
            },
            ref other => bail!("{} is not supported by this data path", other.name()),
        }
    }

    /// Takes note of what the drain thread tells.
    pub fn note(&mut self, report: &Report) {
        if let Report::Discarded { buffer, .. } = report {
            self.maps.give_back(*buffer);
        }
    }

    /// Ends: what the commands changed in the kernel is undone, the programs are unloaded.
    pub async fn end(mut self) {
        let uplinks: Vec<Ipv6Addr> = self.uplinks.keys().copied().collect();
        for pcoa in uplinks {
            if let Err(error) = self.remove_uplink(pcoa) {
                tracing::warn!(%pcoa, "{error:#}");
            }
        }
        drop(self.drain);
        self.netlink.clean_up().await;
    }

    fn interface(&self, index: InterfaceIndex) -> Result<&Interface> {
        self.interfaces
            .get(&index)
            .with_context(|| format!("no interface with index {index} is configured"))
    }

    fn refuse_own(&self, address: Ipv6Addr) -> Result<()> {
        let own = self.interfaces.values().find(|interface| {
            interface.link_local == Some(address)
                || interface.addresses.iter().any(|(own, _)| *own == address)
        });
        match own {
            Some(interface) => {
                let name = &interface.name;
                Err(InUse(format!("{address} is this router's own, on {name}")).into())
            }
            None => Ok(()),
        }
    }

    /// HI-12, UNA-11: an entry with another link-layer address would keep the mobile node from its
    /// packets.
    async fn refuse_others(
        &mut self,
        interface: InterfaceIndex,
        address: Ipv6Addr,
        link_address: MacAddr,
    ) -> Result<()> {
        match self.netlink.neighbor(interface, address).await? {
            Some(owner) if owner != link_address => {
                let name = &self.interface(interface)?.name;
                Err(InUse(format!(
                    "{address} is that of {owner} on {name}, not of {link_address}"
                ))
                .into())
            }
            _ => Ok(()),
        }
    }

    fn next_hop(&self, interface: InterfaceIndex, destination: MacAddr) -> Result<NextHop> {
        Ok(NextHop {
            interface,
            destination: destination.0,
            source: self.interface(interface)?.link_address.0,
        })
    }

    fn release(&mut self, address: Ipv6Addr, expires_ns: u64) -> Result<()> {
        let buffer = self
            .maps
            .buffer_of(address)
            .with_context(|| format!("{address} has no handover buffer"))?;
        self.maps.set_expiry(address, expires_ns)?;
        self.drain.release(address, buffer);
        Ok(())
    }

    fn unbind(&mut self, address: Ipv6Addr) -> Result<()> {
        if let Some(buffer) = self.maps.unbind(address)? {
            self.drain.discard(buffer);
        }
        Ok(())
    }

    fn remove_uplink(&mut self, pcoa: Ipv6Addr) -> Result<()> {
        self.unbind(pcoa)?;
        if let Some(ncoa) = self.uplinks.remove(&pcoa) {
            self.maps.remove_local(ncoa)?;
        }
        Ok(())
    }
}

fn by_index(interfaces: Vec<Interface>) -> BTreeMap<InterfaceIndex, Interface> {
    interfaces
        .into_iter()
        .map(|interface| (interface.index, interface))
        .collect()
}

/// All addresses of an interface.
fn own(interface: &Interface) -> impl Iterator<Item = Ipv6Addr> + '_ {
    let global = interface.addresses.iter().map(|(address, _)| *address);
    global.chain(interface.link_local)
}
