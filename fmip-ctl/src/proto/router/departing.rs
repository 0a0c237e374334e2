//! The handovers that leave us: by previous care-of address, and by the HI that was asked.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::super::{
    hash::{Seeded, Table},
    par::Handover,
};

/// A table of handovers.
#[derive(Debug)]
pub(in crate::proto) struct Departing {
    handovers: Table<Ipv6Addr, Handover>,
    /// By NAR and sequence number of the last HI (HAK-10).
    asked: BTreeMap<(Ipv6Addr, u16), Ipv6Addr>,
}

impl Departing {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            handovers: Table::with_hasher(Seeded(seed)),
            asked: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.handovers.len()
    }

    /// Whether nothing is found by anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.handovers.is_empty() && self.asked.is_empty()
    }

    pub(super) fn contains(&self, pcoa: Ipv6Addr) -> bool {
        self.handovers.contains_key(&pcoa)
    }

    pub(super) fn get(&self, pcoa: Ipv6Addr) -> Option<&Handover> {
        self.handovers.get(&pcoa)
    }

    /// Adds a handover. Its PCoA has none.
    pub(super) fn insert(&mut self, pcoa: Ipv6Addr, handover: Handover) {
        self.handovers.insert(pcoa, handover);
    }

    pub(super) fn get_mut(&mut self, pcoa: Ipv6Addr) -> Option<&mut Handover> {
        self.handovers.get_mut(&pcoa)
    }

    pub(super) fn remove(&mut self, pcoa: Ipv6Addr) -> Option<Handover> {
        self.handovers.remove(&pcoa)
    }

    /// Notes which HI the handover of `pcoa` asked before, and which now.
    pub(super) fn note_asked(
        &mut self,
        pcoa: Ipv6Addr,
        before: Option<(Ipv6Addr, u16)>,
        after: Option<(Ipv6Addr, u16)>,
    ) {
        if before == after {
            return;
        }
        // The numbers come round: the place may be another's by now.
        if let Some(before) = before
            && self.asked.get(&before) == Some(&pcoa)
        {
            self.asked.remove(&before);
        }
        if let Some(after) = after {
            self.asked.insert(after, pcoa);
        }
    }

    /// Whose handover asked `peer` with this number.
    pub(super) fn asked(&self, peer: Ipv6Addr, sequence: u16) -> Option<Ipv6Addr> {
        self.asked.get(&(peer, sequence)).copied()
    }

    /// The PCoAs of all handovers that asked `peer`, in the order of their numbers.
    pub(super) fn with_peer(&self, peer: Ipv6Addr) -> impl Iterator<Item = Ipv6Addr> {
        let asked = self.asked.range((peer, 0)..=(peer, u16::MAX));
        asked.map(|(_, pcoa)| *pcoa)
    }

    /// The PCoAs of all handovers, in order.
    pub(super) fn addresses(&self) -> Vec<Ipv6Addr> {
        let mut addresses: Vec<_> = self.handovers.keys().copied().collect();
        addresses.sort_unstable();
        addresses
    }
}
