//! Routes: a mobile node's default router, and the nodes that keep their address at a router.

use std::{
    io::ErrorKind,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use netlink_packet_route::{
    neighbour::NeighbourState,
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
        RouteScope,
    },
};
use rtnetlink::RouteMessageBuilder;
use tokio::time::sleep;

use super::{
    MIN_MTU, Netlink, PROTOCOL, TUNNEL_HEADER,
    messages::{gone_is_done, io_error, neighbor_address, neighbor_link_address},
};
use crate::wire::{MacAddr, Prefix};

/// How long the kernel may take to find out a router's link-layer address: some round trips of a
/// link, and nobody waits for the controller longer than he must.
const RESOLUTION: Duration = Duration::from_millis(250);
/// How often it is asked meanwhile.
const RESOLUTION_STEP: Duration = Duration::from_millis(5);

impl Netlink {
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
        if self.default_routers.is_empty() {
            // First, for what is fixed is given back with its route alone.
            self.default_metric = self.free_metric().await?;
        }
        self.fix_neighbor(interface, router, link_address)
            .with_context(|| action.clone())?;
        let mut route = self
            .default_route(interface)
            .gateway(router)
            .onlink()
            .build();
        route
            .attributes
            .push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
        let routed = self.handle.route().add(route).replace().execute().await;
        if let Some(before) = self.default_routers.insert(interface, router)
            && before != router
        {
            self.free_neighbor(interface, before).await?;
        }
        routed.map_err(io_error).context(action)
    }

    /// As [`Netlink::set_default_router`], by what the kernel knows: the link-layer address of
    /// `router`, or else that of the default router which it has on the interface. Keeps them from
    /// being forgotten when the carrier goes. If the kernel knows neither, it is made to ask, and
    /// has a quarter of a second for it.
    ///
    /// # Errors
    /// Neither answers; the kernel refuses.
    pub async fn keep_default_router(&mut self, interface: u32, router: Ipv6Addr) -> Result<()> {
        let (name, _) = self.resolved(interface)?;
        let unknown = format!(
            "the link-layer address of {router} on {name} is not known, nor that of a default \
             router there"
        );
        let mut gateways = self.default_gateways(interface).await?;
        gateways.insert(0, router);
        let deadline = Instant::now() + RESOLUTION;
        let mut asked = false;
        loop {
            if let Some((gateway, link_address)) = self.first_known(interface, &gateways).await? {
                return self
                    .set_default_router(interface, gateway, link_address)
                    .await;
            }
            if Instant::now() >= deadline {
                bail!(unknown);
            }
            if !asked {
                for gateway in &gateways {
                    self.solicit(interface, *gateway).await?;
                }
                asked = true;
            }
            sleep(RESOLUTION_STEP).await;
        }
    }

    /// The metric for our default routes: below it by as much as is needed, if somebody else has a
    /// default route with it. The kernel would take that away as it sets ours.
    async fn free_metric(&self) -> Result<u32> {
        let routes = self.routes().await?;
        let taken = |metric| {
            routes.iter().any(|route| {
                route.header.destination_prefix_length == 0
                    && route.header.protocol != RouteProtocol::Other(PROTOCOL)
                    && (route.attributes).contains(&RouteAttribute::Priority(metric))
            })
        };
        let mut metrics = (1..=self.wanted_metric).rev();
        Ok(metrics
            .find(|metric| !taken(*metric))
            .unwrap_or(self.wanted_metric))
    }

    fn default_route(&self, interface: u32) -> RouteMessageBuilder<Ipv6Addr> {
        RouteMessageBuilder::<Ipv6Addr>::new()
            .output_interface(interface)
            .priority(self.default_metric)
            .protocol(RouteProtocol::Other(PROTOCOL))
    }

    /// The link-layer address of a router on an interface, or else of the default router there, if the
    /// kernel knows one now.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub async fn known_router(&self, interface: u32, router: Ipv6Addr) -> Result<Option<MacAddr>> {
        let mut routers = self.default_gateways(interface).await?;
        routers.insert(0, router);
        let known = self.first_known(interface, &routers).await?;
        Ok(known.map(|(_, link_address)| link_address))
    }

    /// The first of these neighbors whose link-layer address the kernel knows, and that address.
    async fn first_known(
        &self,
        interface: u32,
        neighbors: &[Ipv6Addr],
    ) -> Result<Option<(Ipv6Addr, MacAddr)>> {
        let entries = self.neighbors(false).await?;
        Ok(neighbors.iter().find_map(|neighbor| {
            let entry = entries.iter().find(|entry| {
                entry.header.ifindex == interface
                    && neighbor_address(entry) == Some(*neighbor)
                    && entry.header.state != NeighbourState::Failed
            })?;
            Some((*neighbor, neighbor_link_address(entry)?))
        }))
    }

    /// Where the default routes on an interface lead to, the best one first.
    async fn default_gateways(&self, interface: u32) -> Result<Vec<Ipv6Addr>> {
        let mut gateways: Vec<(u32, Ipv6Addr)> = self
            .routes()
            .await?
            .iter()
            .filter(|route| {
                route.header.destination_prefix_length == 0
                    && output_interface(route) == Some(interface)
            })
            .filter_map(|route| {
                let mut metric = 0;
                let mut gateway = None;
                for attribute in &route.attributes {
                    match attribute {
                        RouteAttribute::Priority(priority) => metric = *priority,
                        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => {
                            gateway = Some(*address);
                        }
                        _ => {}
                    }
                }
                Some((metric, gateway?))
            })
            .collect();
        gateways.sort_unstable();
        Ok(gateways.into_iter().map(|(_, gateway)| gateway).collect())
    }

    /// Sends packets for `address` to an access link, whatever prefix it is of (HI-16). That the
    /// route exists already is no error.
    ///
    /// # Errors
    /// Another route to that address exists; the kernel refuses.
    pub async fn add_host_route(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        let (name, _) = self.resolved(interface)?;
        let action = format!("cannot make a route for {address} to {name}");
        if self.host_routes.contains(&(interface, address)) {
            return Ok(());
        }
        let route = host_route(interface, address).build();
        match self
            .handle
            .route()
            .add(route)
            .execute()
            .await
            .map_err(io_error)
        {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(error).context(format!("{action}: somebody else has made one"))
            }
            Err(error) => Err(error).context(action),
            Ok(()) => {
                self.host_routes.insert((interface, address));
                Ok(())
            }
        }
    }

    /// Undoes [`Netlink::add_host_route`]. That there is no such route is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_host_route(&mut self, interface: u32, address: Ipv6Addr) -> Result<()> {
        self.delete_route(host_route(interface, address).build())
            .await?;
        self.host_routes.remove(&(interface, address));
        Ok(())
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
        self.delete_route(self.default_route(interface).build())
            .await?;
        self.free_neighbor(interface, router).await?;
        self.default_routers.remove(&interface);
        Ok(())
    }

    /// Removes the route by which a prefix is on a link, if an advertisement has made it, and returns it.
    pub(super) async fn take_prefix_route(
        &self,
        interface: u32,
        address: Ipv6Addr,
        length: u8,
    ) -> Result<Option<PrefixRoute>> {
        let Ok(prefix) = Prefix::new(address, length) else {
            return Ok(None);
        };
        let destination = RouteAttribute::Destination(RouteAddress::Inet6(prefix.address()));
        let is_it = |route: &RouteMessage| {
            route.header.destination_prefix_length == length
                && route.header.protocol == RouteProtocol::Kernel
                && route.header.table == RouteHeader::RT_TABLE_MAIN
                && output_interface(route) == Some(interface)
                && route.attributes.contains(&destination)
                && !(route.attributes.iter()).any(|of| matches!(of, RouteAttribute::Gateway(_)))
        };
        let Some(route) = self.routes().await?.into_iter().find(is_it) else {
            return Ok(None);
        };
        let (mut metric, mut expires_s) = (0, None);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Priority(priority) => metric = *priority,
                // In hundredths of a second; 0: never.
                RouteAttribute::CacheInfo(info) if info.expires != 0 => {
                    expires_s = Some(info.expires / 100);
                }
                _ => {}
            }
        }
        self.delete_route(route).await?;
        Ok(Some(PrefixRoute {
            prefix,
            metric,
            expires_s,
        }))
    }

    /// Undoes [`Netlink::take_prefix_route`] after so many seconds. That an advertisement has made the
    /// route anew is no error.
    pub(super) async fn put_back_prefix_route(
        &self,
        interface: u32,
        route: &PrefixRoute,
        elapsed_s: u32,
    ) -> Result<()> {
        let left = route.expires_s.map(|of| of.saturating_sub(elapsed_s));
        if left == Some(0) {
            return Ok(());
        }
        let PrefixRoute { prefix, metric, .. } = route;
        let mut message = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(prefix.address(), prefix.length())
            .output_interface(interface)
            .priority(*metric)
            .protocol(RouteProtocol::Kernel)
            .build();
        message.attributes.extend(left.map(RouteAttribute::Expires));
        let added = self.handle.route().add(message).execute().await;
        match added.map_err(io_error) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            result => result.with_context(|| format!("cannot put back the route to {prefix}")),
        }
    }

    pub(super) async fn delete_route(&self, message: RouteMessage) -> Result<()> {
        let what = match message.header.destination_prefix_length {
            0 => "the default route",
            _ => "a host route",
        };
        gone_is_done(self.handle.route().del(message).execute().await)
            .with_context(|| format!("cannot remove {what}"))
    }

    /// All IPv6 routes of all tables.
    pub(super) async fn routes(&self) -> Result<Vec<RouteMessage>> {
        self.handle
            .route()
            .get(RouteMessageBuilder::<Ipv6Addr>::new().build())
            .execute()
            .try_collect()
            .await
            .map_err(io_error)
            .context("cannot list the routes")
    }
}

/// The route by which a prefix is on a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrefixRoute {
    prefix: Prefix,
    metric: u32,
    /// How long it had left; `None`: it does not run out.
    expires_s: Option<u32>,
}

/// The interface that a route leads to.
pub(super) fn output_interface(route: &RouteMessage) -> Option<u32> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
}

fn host_route(interface: u32, address: Ipv6Addr) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(address, 128)
        .output_interface(interface)
        .scope(RouteScope::Link)
        .protocol(RouteProtocol::Other(PROTOCOL))
}
