//! The handover keys, and how far each mobile node has counted with its own.

use std::net::Ipv6Addr;

use super::super::{
    HandoverKey,
    hash::{Seeded, Table},
};

/// Keys by previous care-of address (SEC-08).
#[derive(Debug)]
pub(super) struct Keys(Table<Ipv6Addr, Entry>);

#[derive(Debug)]
struct Entry {
    key: HandoverKey,
    /// The sequence number of the last authentic FBU, as long as the key lives (AMB-21).
    sequence: Option<u16>,
}

impl Keys {
    /// Of two keys for one address the first counts.
    pub(super) fn new(keys: Vec<HandoverKey>, seed: u64) -> Self {
        let mut table = Table::with_capacity_and_hasher(keys.len(), Seeded(seed));
        for key in keys {
            let sequence = None;
            table.entry(key.pcoa).or_insert(Entry { key, sequence });
        }
        Self(table)
    }

    /// Takes other keys; who keeps his own goes on counting.
    pub(super) fn replace(&mut self, keys: Vec<HandoverKey>) {
        let before = std::mem::replace(self, Self::new(keys, self.0.hasher().0));
        for (pcoa, entry) in &mut self.0 {
            let same = before.0.get(pcoa).filter(|old| old.key == entry.key);
            entry.sequence = same.and_then(|old| old.sequence);
        }
    }

    pub(super) fn get(&self, pcoa: Ipv6Addr) -> Option<&HandoverKey> {
        self.0.get(&pcoa).map(|entry| &entry.key)
    }

    pub(super) fn sequence(&self, pcoa: Ipv6Addr) -> Option<u16> {
        self.0.get(&pcoa)?.sequence
    }

    /// Remembers a number; not without a key.
    pub(super) fn set_sequence(&mut self, pcoa: Ipv6Addr, sequence: u16) {
        if let Some(entry) = self.0.get_mut(&pcoa) {
            entry.sequence = Some(sequence);
        }
    }
}
