//! Where the mobile node is, and was.

use std::{collections::BTreeSet, net::Ipv6Addr};

use crate::wire::{MacAddr, Prefix, RouterInfo};

use super::{Instant, MAX_KNOWN, MAX_PAST, MobileNode, discovery::IID_BITS};

/// A link and its router.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The router's address, if it is known: global where its PrRtAdv or its key says it, otherwise
    /// link-local.
    pub(super) router: Ipv6Addr,
    pub(super) router_lla: Option<MacAddr>,
    /// Access points that are known to be on it.
    pub(super) access_points: BTreeSet<MacAddr>,
}

/// A link that an address of the mobile node belongs to.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The address: the previous care-of address of a move away from here.
    pub(super) pcoa: Ipv6Addr,
    /// The router's global address, as far as it is known: the PAR of a move away from here.
    pub(super) par: Ipv6Addr,
    /// Of the link's prefix.
    pub(super) prefix_length: u8,
    pub(super) link: Link,
    /// Until when the router may send packets for `pcoa` elsewhere, as far as an FBU asked for it.
    pub(super) redirected: Option<Instant>,
    /// Whether the mobile node came here by a handover, and announced itself.
    pub(super) is_new: bool,
}

/// A link that no address in use belongs to.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    pub(super) link: Link,
    /// Whether the router there lets it use its previous care-of address.
    pub(super) keeps_pcoa: bool,
}

/// Where a handover leads.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) router: RouterInfo,
    /// The address to use there.
    pub(super) ncoa: Ipv6Addr,
    /// The address is only for the FBU: data goes on from the previous one (PRA-23).
    pub(super) dhcp: bool,
}

impl Destination {
    /// Whether a mobile node can have this address there: it is one of the link's, and not its
    /// router's.
    pub(super) fn can_have(&self, address: Ipv6Addr) -> bool {
        let RouterInfo {
            address: router,
            prefix,
            ..
        } = self.router;
        // The first address of a prefix is that of all its routers (RFC 4291 section 2.6.1).
        prefix.contains(address) && address != router && address != prefix.address()
    }
}

impl Link {
    /// One of which nothing is known but an access point.
    pub(super) fn unknown(access_point: Option<MacAddr>) -> Self {
        Self {
            router: Ipv6Addr::UNSPECIFIED,
            router_lla: None,
            access_points: access_point.into_iter().collect(),
        }
    }

    pub(super) fn behind(destination: &Destination, access_point: Option<MacAddr>) -> Self {
        Self {
            router: destination.router.address,
            router_lla: Some(destination.router.lla),
            access_points: access_point.into_iter().collect(),
        }
    }

    /// Takes note of an access point on it, if that is known.
    pub(super) fn add(&mut self, access_point: Option<MacAddr>) {
        if self.access_points.len() < MAX_KNOWN {
            self.access_points.extend(access_point);
        }
    }
}

impl MobileNode {
    /// The link that it is on.
    pub(super) fn link(&self) -> &Link {
        match &self.elsewhere {
            Some(elsewhere) => &elsewhere.link,
            None => &self.origin.link,
        }
    }

    pub(super) fn link_mut(&mut self) -> &mut Link {
        match &mut self.elsewhere {
            Some(elsewhere) => &mut elsewhere.link,
            None => &mut self.origin.link,
        }
    }

    /// Whether its address works where it is.
    pub(super) fn is_settled(&self) -> bool {
        self.elsewhere
            .as_ref()
            .is_none_or(|elsewhere| elsewhere.keeps_pcoa)
    }

    /// Makes `next` the link whose address it uses, and remembers the one before.
    pub(super) fn change_origin(&mut self, next: Origin) {
        let last = std::mem::replace(&mut self.origin, next);
        self.past.push(last);
        if self.past.len() > MAX_PAST {
            self.past.remove(0);
        }
        self.elsewhere = None;
    }

    /// Takes the link with this address out of those that were left.
    pub(super) fn take_past(&mut self, is_it: impl Fn(&Origin) -> bool) -> Option<Origin> {
        let index = self.past.iter().rposition(is_it)?;
        Some(self.past.remove(index))
    }

    /// Takes out a link whose router still sends elsewhere what comes for the address there
    /// (RFC 5568 section 5.6). Where that is over, coming back is a move like any other.
    pub(super) fn take_redirected(
        &mut self,
        now: Instant,
        is_it: impl Fn(&Origin) -> bool,
    ) -> Option<Origin> {
        self.take_past(|past| past.redirected.is_some_and(|until| until > now) && is_it(past))
    }

    /// The way back to a link that it left, as far as its router is known.
    pub(super) fn destination_again(&self, past: &Origin) -> Option<Destination> {
        let prefix = Prefix::new(past.pcoa, IID_BITS).ok()?;
        let router = RouterInfo {
            lla: past.link.router_lla?,
            address: past.par,
            prefix,
        };
        Some(Destination {
            router,
            ncoa: self.form_address(prefix),
            dhcp: false,
        })
    }

    /// The router that is itself this access point, if it is known as such.
    pub(super) fn integrated_router(&self, access_point: MacAddr) -> Option<Destination> {
        let mut keys = self.config.routers.iter();
        let key = keys.find(|key| key.access_point == Some(access_point))?;
        let router = RouterInfo {
            lla: access_point,
            address: key.router,
            prefix: key.prefix?,
        };
        Some(Destination {
            router,
            ncoa: self.form_address(router.prefix),
            dhcp: false,
        })
    }

    /// The global address of the router at `destination`, as it is known to the key that is shared
    /// with it; without a key, as it is known at all.
    pub(super) fn global_address(&self, destination: &Destination) -> Ipv6Addr {
        let keys = &self.config.routers;
        let by_address = keys
            .iter()
            .find(|key| key.router == destination.router.address);
        let by_prefix = || {
            let holds = |prefix: Prefix| prefix.contains(destination.ncoa);
            keys.iter().find(|key| key.prefix.is_some_and(holds))
        };
        by_address
            .or_else(by_prefix)
            .map_or(destination.router.address, |key| key.router)
    }
}
