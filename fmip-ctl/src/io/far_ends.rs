//! The far ends of the tunnels, and the ways there: told to the data path whenever they change.

use std::{collections::BTreeMap, future::pending, net::Ipv6Addr};

use anyhow::{Context as _, Result};

use super::{
    maps::Maps,
    next_hops::{Change, NextHops, Upkeep, Way},
};

/// Which bound address has which far end, and who finds out the way there.
pub(super) struct FarEnds {
    /// Of a router; a mobile node is told the way of its packets.
    hops: Option<NextHops>,
    of: BTreeMap<Ipv6Addr, Ipv6Addr>,
}

impl FarEnds {
    /// Finds out ways, on the running tokio runtime, if this is a router's.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub(super) fn new(is_router: bool) -> Result<Self> {
        let hops = match is_router {
            true => Some(NextHops::start(Upkeep::Managed)?),
            false => None,
        };
        Ok(Self {
            hops,
            of: BTreeMap::new(),
        })
    }

    /// What is bound for `address` has this far end from now on, or none.
    ///
    /// # Errors
    /// As [`FarEnds::apply`].
    pub(super) fn follow(
        &mut self,
        address: Ipv6Addr,
        far_end: Option<Ipv6Addr>,
        maps: &mut Maps,
    ) -> Result<()> {
        let Some(hops) = &self.hops else {
            return Ok(());
        };
        let before = match far_end {
            Some(far_end) => self.of.insert(address, far_end),
            None => self.of.remove(&address),
        };
        if before == far_end {
            return Ok(());
        }
        // The new one first: the two may share their next hop, which the kernel shall not forget in between.
        if let Some(far_end) = far_end {
            hops.watch(far_end);
            // It may be another's far end as well: then no change tells of it.
            set(maps, far_end, hops.way(far_end))?;
        }
        if let Some(before) = before {
            hops.unwatch(before);
            if hops.way(before).is_none() {
                set(maps, before, None)?;
            }
        }
        Ok(())
    }

    /// The next change; none ever at a mobile node.
    pub(super) async fn changed(&mut self) -> Change {
        match &mut self.hops {
            Some(hops) => hops.next().await,
            None => pending().await,
        }
    }

    /// Has packets take another way.
    ///
    /// # Errors
    /// There are too many different ways.
    pub(super) fn apply(&self, change: Change, maps: &mut Maps) -> Result<()> {
        tracing::debug!(?change, "next hop");
        set(maps, change.destination, change.way)
    }

    /// Ends: the kernel may forget the neighbors again.
    pub(super) async fn end(self) {
        if let Some(hops) = self.hops {
            hops.stop().await;
        }
    }
}

fn set(maps: &mut Maps, far_end: Ipv6Addr, way: Option<Way>) -> Result<()> {
    let hop = way.map(|way| {
        let hop = maps.hop(way.interface, way.link_destination.0, way.link_source.0);
        (hop, way.mtu)
    });
    maps.set_hop(far_end, hop)
        .with_context(|| format!("cannot tell the data path the way to {far_end}"))
}
