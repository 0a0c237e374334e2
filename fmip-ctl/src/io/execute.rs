//! Carries out the core's commands: in the data path and in the kernel.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    error::Error,
    fmt,
    net::Ipv6Addr,
};

use anyhow::{Context as _, Result, bail};
use fmip_common::binding::NextHop;
use tracing::warn;

use super::{
    addresses::{Change, Described},
    admission::Admission,
    drain::{Drain, Report},
    far_ends::FarEnds,
    maps::{Maps, Release},
    netlink::{AddressOwner, Netlink, Verdict},
    pool::BufferLimits,
    sequences::Sequences,
};
use crate::{
    config::{self, Interface},
    proto::{Command, CommandError, Input, InterfaceIndex, StationEvent, Tunnel},
    wire::MacAddr,
};

/// Everything that a command may change.
pub(super) struct Executor {
    maps: Maps,
    admission: Admission,
    drain: Drain,
    netlink: Netlink,
    /// Of a PAR: where packets for which address go.
    tunnels: BTreeMap<Ipv6Addr, Tunnel>,
    far_ends: FarEnds,
    /// Of a router.
    sequences: Option<Sequences>,
    interfaces: BTreeMap<InterfaceIndex, Interface>,
    /// The addresses that a mobile node got on its way, oldest first.
    visited: VecDeque<Ipv6Addr>,
}

/// How many care-of addresses of a mobile node signalling is taken at.
const VISITED: usize = 64;

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
    pub(super) fn new(
        maps: Maps,
        admission: Admission,
        drain: Drain,
        netlink: Netlink,
        far_ends: FarEnds,
        sequences: Option<Sequences>,
        interfaces: Vec<Interface>,
    ) -> Self {
        Self {
            maps,
            admission,
            drain,
            netlink,
            tunnels: BTreeMap::new(),
            far_ends,
            sequences,
            interfaces: by_index(interfaces),
            visited: VecDeque::new(),
        }
    }

    /// The tunnel that packets for `address` go into. The data path does not see what this router
    /// itself sends there.
    pub(super) fn tunnel_to(&self, address: Ipv6Addr) -> Option<Tunnel> {
        self.tunnels.get(&address).copied()
    }

    /// The maps, to read.
    pub(super) fn maps(&self) -> &Maps {
        &self.maps
    }

    /// The interfaces, by index.
    pub(super) fn interfaces(&self) -> &BTreeMap<InterfaceIndex, Interface> {
        &self.interfaces
    }

    /// What the kernel knows about interfaces now.
    ///
    /// # Errors
    /// An interface is not there any more.
    pub(super) async fn resolve(&mut self, names: &[&str]) -> Result<Vec<Interface>> {
        self.netlink.resolve(names).await
    }

    /// Takes other addresses on the same interfaces, other neighbors, other bounds for signalling and for
    /// the buffers to come, and other mobile nodes with a key.
    ///
    /// # Errors
    /// An interface is another than before, or the kernel refuses; nothing has changed then that
    /// anybody would notice.
    pub(super) fn reconfigure(
        &mut self,
        interfaces: Vec<Interface>,
        config: &config::Config,
        router: &config::AccessRouter,
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
        self.maps.set_peers(&router.peers())?;
        self.maps
            .set_limits(BufferLimits::configured(config, &interfaces));
        let in_order = interfaces.iter().collect::<Vec<_>>();
        self.admission.configure(config, &in_order)?;
        if let Some(sequences) = &mut self.sequences {
            let keyed = router.keyed();
            sequences.retain(|address| keyed.contains(&address));
        }
        self.interfaces = by_index(interfaces);
        Ok(())
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// When the kernel refuses, or an address is another node's; the command had no effect then.
    pub(super) async fn execute(&mut self, command: &Command) -> Result<(), CommandError> {
        self.carry_out(command).await.map_err(told)
    }

    /// Finds out whether one command can be carried out later, without a change of anything.
    ///
    /// # Errors
    /// When an address is another node's.
    pub(super) async fn admit(&mut self, command: &Command) -> Result<(), CommandError> {
        self.examine(command).await.map_err(told)
    }

    async fn examine(&mut self, command: &Command) -> Result<()> {
        match *command {
            Command::AddNeighbor {
                interface,
                address,
                link_address,
                ..
            } => {
                self.refuse_own(address)?;
                self.refuse_others(interface, address, link_address).await
            }
            Command::AddHostRoute { address, .. } => self.refuse_own(address),
            _ => Ok(()),
        }
    }

    async fn carry_out(&mut self, command: &Command) -> Result<()> {
        match *command {
            Command::InstallTunnel {
                pcoa,
                ncoa,
                local,
                expires,
            } => {
                let release = self
                    .maps
                    .install_tunnel(pcoa, ncoa, local, expires.as_nanos())?;
                self.release(release);
                let tunnel = Tunnel {
                    local,
                    remote: ncoa,
                };
                self.tunnels.insert(pcoa, tunnel);
                self.far_ends.follow(pcoa, Some(ncoa), &mut self.maps)
            }
            Command::RemoveTunnel { pcoa } => {
                self.tunnels.remove(&pcoa);
                self.unbind(pcoa)
            }
            Command::StartBuffering {
                address,
                interface,
                link_address,
                tunnel,
                expires,
            } => {
                let hop = self.next_hop(interface, link_address)?;
                self.refuse_own(address)?;
                self.refuse_others(interface, address, link_address).await?;
                // Nothing leaves by the way of before once packets are bound to wait.
                if let Some(buffer) = self.maps.releasing_from(address)? {
                    self.drain.hold_now(buffer).await;
                }
                let buffer = self.maps.hold(address, hop, tunnel, expires.as_nanos())?;
                self.drain.hold(buffer);
                self.tunnels.remove(&address);
                let far_end = tunnel.map(|tunnel| tunnel.remote);
                self.far_ends.follow(address, far_end, &mut self.maps)
            }
            Command::StartCopying {
                address,
                interface,
                link_address,
                window,
            } => {
                let hop = self.next_hop(interface, link_address)?;
                self.refuse_own(address)?;
                let buffer = self.maps.copy(address, hop)?;
                self.drain.copy(buffer, window);
                Ok(())
            }
            Command::ReleaseBuffer { address, expires } => {
                let release = self.maps.release(address, expires.as_nanos())?;
                self.release(release);
                Ok(())
            }
            Command::RemoveBuffer { address } => {
                self.tunnels.remove(&address);
                self.unbind(address)
            }
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
                // Again: it may have waited.
                self.examine(command).await?;
                let netlink = &mut self.netlink;
                Ok(netlink
                    .add_neighbor(interface, address, link_address, state)
                    .await?)
            }
            Command::HoldUplink {
                pcoa,
                tunnel,
                expires,
                ..
            } => {
                let buffer = self.maps.hold_uplink(pcoa, tunnel, expires.as_nanos())?;
                self.drain.hold(buffer);
                Ok(())
            }
            Command::ReleaseUplink {
                pcoa,
                interface,
                tunnel,
                router_lla,
                expires,
            } => {
                let hop = self.next_hop(interface, router_lla)?;
                let release = self
                    .maps
                    .release_uplink(pcoa, tunnel, hop, expires.as_nanos())?;
                self.release(release);
                Ok(())
            }
            Command::RemoveUplink { pcoa } => self.unbind(pcoa),
            Command::ConfigureAddress {
                interface,
                address,
                prefix_length,
            } => {
                self.netlink
                    .add_address(interface, address, prefix_length)
                    .await?;
                self.take_signalling(address)
            }
            Command::PreferAddress { interface, address } => {
                Ok(self.netlink.prefer_address(interface, address).await?)
            }
            Command::KeepAddress { interface, address } => {
                Ok(self.netlink.keep_address(interface, address).await?)
            }
            Command::RestoreAddress {
                interface,
                address,
                prefix_length,
            } => Ok(self
                .netlink
                .restore_address(interface, address, prefix_length)
                .await?),
            Command::RemoveAddress { interface, address } => {
                Ok(self.netlink.remove_address(interface, address).await?)
            }
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
                self.examine(command).await?;
                Ok(self.netlink.add_host_route(interface, address).await?)
            }
            Command::RemoveHostRoute { interface, address } => {
                Ok(self.netlink.remove_host_route(interface, address).await?)
            }
            Command::StoreSequence { pcoa, sequence } => match &mut self.sequences {
                Some(sequences) => Ok(sequences.store(pcoa, sequence)?),
                None => bail!("only an access router keeps sequence numbers"),
            },
        }
    }

    /// Takes note of a mobile node that came or left.
    pub(super) fn note_station(&mut self, event: &StationEvent) {
        // It is listened to all the same, among the others of its link.
        if let Err(error) = self.admission.note(event) {
            warn!("{error:#}");
        }
    }

    /// Waits until the way to a tunnel's far end is another, and has packets take it. Nothing is lost if
    /// it is cancelled.
    ///
    /// # Errors
    /// There are too many different ways; packets go where the kernel's routes say then.
    pub(super) async fn follow_next_hops(&mut self) -> Result<()> {
        let change = self.far_ends.changed().await;
        self.far_ends.apply(change, &mut self.maps)
    }

    /// Takes note of a change of an address; returns what the core is to be told.
    ///
    /// # Errors
    /// The kernel does not tell what is now.
    pub(super) async fn note_address(&mut self, change: Change) -> Result<Vec<Input>> {
        let verdicts = self.netlink.note_address(change).await?;
        Ok(verdicts.into_iter().map(|of| self.input(of)).collect())
    }

    fn input(&self, verdict: Verdict) -> Input {
        match verdict {
            Verdict::Confirmed(address) => Input::AddressConfirmed { address },
            Verdict::Duplicate {
                interface,
                address,
                prefix_length,
            } => Input::CommandFailed {
                command: Command::ConfigureAddress {
                    interface,
                    address,
                    prefix_length,
                },
                error: CommandError::InUse(format!(
                    "duplicate address detection found {address} at another node{}",
                    self.interface(interface)
                        .map(|interface| format!(" on {}", interface.name))
                        .unwrap_or_default()
                )),
            },
        }
    }

    /// The addresses of an interface, as the kernel describes them.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) async fn described_addresses(
        &self,
        interface: InterfaceIndex,
    ) -> Result<Vec<Described>> {
        self.netlink.described_addresses(interface).await
    }

    /// Whose an address is.
    pub(super) fn owner_of(&self, interface: InterfaceIndex, address: Ipv6Addr) -> AddressOwner {
        self.netlink.owner_of(interface, address)
    }

    /// Takes note of what the drain thread tells.
    pub(super) fn note(&mut self, report: &Report) {
        if let Report::Discarded { buffer, .. } = report {
            self.maps.give_back(*buffer);
        }
    }

    /// Ends: what the commands changed in the kernel is undone, the programs are unloaded.
    pub(super) async fn end(mut self) {
        drop(self.drain);
        self.far_ends.end().await;
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
        let source = self.interface(interface)?.link_address;
        Ok(self.maps.hop(interface, destination.0, source.0))
    }

    fn release(&self, release: Option<Release>) {
        if let Some(release) = release {
            self.drain.release(release);
        }
    }

    fn unbind(&mut self, address: Ipv6Addr) -> Result<()> {
        if let Some(buffer) = self.maps.unbind(address)? {
            self.drain.discard(buffer);
        }
        self.far_ends.follow(address, None, &mut self.maps)
    }

    /// Takes signalling to a new care-of address. It is the previous one of the next handover, and of the
    /// one after that: so long its tunnel may live.
    fn take_signalling(&mut self, address: Ipv6Addr) -> Result<()> {
        if self.visited.contains(&address) || self.refuse_own(address).is_err() {
            return Ok(());
        }
        self.maps.add_local(address)?;
        self.visited.push_back(address);
        if self.visited.len() > VISITED
            && let Some(oldest) = self.visited.pop_front()
        {
            self.maps.remove_local(oldest)?;
        }
        Ok(())
    }
}

/// An error as the core is told it.
fn told(error: anyhow::Error) -> CommandError {
    let words = format!("{error:#}");
    match error.is::<InUse>() {
        true => CommandError::InUse(words),
        false => CommandError::Other(words),
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
