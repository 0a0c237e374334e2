//! The handovers that come to us, by what messages name them by.

use std::net::Ipv6Addr;

use crate::wire::MacAddr;

use super::super::{
    InterfaceIndex,
    hash::{Seeded, Table},
    nar::Handover,
};

/// Handovers by the address that the mobile node has here.
#[derive(Debug)]
pub(in crate::proto) struct Arrivals {
    by_address: Table<Ipv6Addr, Handover>,
    /// The newest of each previous care-of address.
    by_pcoa: Table<Ipv6Addr, Ipv6Addr>,
    /// The newest of each link-layer address on each link.
    by_node: Table<(InterfaceIndex, MacAddr), Ipv6Addr>,
}

impl Arrivals {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            by_address: Table::with_hasher(Seeded(seed)),
            by_pcoa: Table::with_hasher(Seeded(seed)),
            by_node: Table::with_hasher(Seeded(seed)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether nothing is found by anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_address.is_empty() && self.by_pcoa.is_empty() && self.by_node.is_empty()
    }

    pub(super) fn contains(&self, address: Ipv6Addr) -> bool {
        self.by_address.contains_key(&address)
    }

    pub(super) fn get(&self, address: Ipv6Addr) -> Option<&Handover> {
        self.by_address.get(&address)
    }

    /// For inputs to its machine: what it is found by does not change.
    pub(super) fn get_mut(&mut self, address: Ipv6Addr) -> Option<&mut Handover> {
        self.by_address.get_mut(&address)
    }

    /// The handover that was last announced of this previous care-of address.
    pub(super) fn of_pcoa(&self, pcoa: Ipv6Addr) -> Option<&Handover> {
        self.get(*self.by_pcoa.get(&pcoa)?)
    }

    /// The handover that was last announced of this mobile node.
    pub(super) fn of_node(&self, interface: InterfaceIndex, lla: MacAddr) -> Option<&Handover> {
        self.get(*self.by_node.get(&(interface, lla))?)
    }

    /// Puts in a handover for whose address there is none.
    pub(super) fn insert(&mut self, handover: Handover) {
        let announcement = handover.announcement();
        let address = announcement.address();
        self.by_pcoa.insert(announcement.pcoa, address);
        let node = (announcement.interface, announcement.lla);
        self.by_node.insert(node, address);
        self.by_address.insert(address, handover);
    }

    pub(super) fn remove(&mut self, address: Ipv6Addr) -> Option<Handover> {
        let handover = self.by_address.remove(&address)?;
        let announcement = handover.announcement();
        if self.by_pcoa.get(&announcement.pcoa) == Some(&address) {
            self.by_pcoa.remove(&announcement.pcoa);
        }
        let node = (announcement.interface, announcement.lla);
        if self.by_node.get(&node) == Some(&address) {
            self.by_node.remove(&node);
        }
        Some(handover)
    }

    /// The addresses of all handovers, in order.
    pub(super) fn addresses(&self) -> Vec<Ipv6Addr> {
        let mut addresses: Vec<_> = self.by_address.keys().copied().collect();
        addresses.sort_unstable();
        addresses
    }
}
