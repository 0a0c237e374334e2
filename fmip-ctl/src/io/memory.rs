//! What the maps take of the kernel's memory: computed, so that it is known for what it is used.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use fmip_common::{
    binding::{Address, Interface, Vlan, Way},
    buffer::{Buffer, DrainJob, DrainList, Pool, Slot},
    event::Signal,
    limits,
    reason::Count,
    signalling::{Link, QUEUES_PER_LINK, Queue, Source, Station},
    table::{Entry, PLACES, buckets_for},
};

use super::load::Shape;

/// What a map is, as far as its memory goes.
#[derive(Clone, Copy)]
enum Kind {
    Array,
    /// With a copy of its elements for each processor.
    PerProcessor,
    /// All of whose elements are there from the beginning, with a key of so many octets.
    Hash(usize),
}

/// Octets that the kernel adds to an element of a hash table (`struct htab_elem`).
const HASH_ELEMENT: u64 = 48;
/// Octets of a bucket of a hash table (`struct bucket`), of which there are as many as elements, or the next
/// power of two.
const HASH_BUCKET: u64 = 16;

/// Octets of the ring that log statements of the programs come by (aya-log-ebpf's `AYA_LOGS`).
const LOG_RING: u64 = 1 << 17;

/// Octets of a route that a router's programs remember for a moment.
const RECENT_ROUTE: usize = 80;

/// Octets of `number` elements with a value of `value` octets.
fn octets(kind: Kind, number: u32, value: usize, processors: u64) -> u64 {
    // Keys and values begin at whole words.
    let words = |octets: usize| octets.next_multiple_of(size_of::<u64>()) as u64;
    let entries = u64::from(number);
    match kind {
        Kind::Array => entries * words(value),
        Kind::PerProcessor => entries * words(value) * processors,
        Kind::Hash(key) => {
            entries * (HASH_ELEMENT + words(key) + words(value))
                + entries.next_power_of_two() * HASH_BUCKET
        }
    }
}

impl Shape {
    /// Octets of all maps of this shape, by what they are for.
    ///
    /// # Errors
    /// When the kernel does not say how many processors there are.
    pub fn memory(&self) -> Result<BTreeMap<&'static str, u64>> {
        let processors = aya::util::nr_cpus()
            .map_err(|(what, error)| anyhow!("cannot count the processors: {what}: {error}"))?;
        Ok(self.memory_with(processors as u64))
    }

    fn memory_with(&self, processors: u64) -> BTreeMap<&'static str, u64> {
        let array = |number, value: usize| octets(Kind::Array, number, value, processors);
        let each = |number, value: usize| octets(Kind::PerProcessor, number, value, processors);
        let hash =
            |number, key: usize, value: usize| octets(Kind::Hash(key), number, value, processors);
        let (buckets, room) = (buckets_for(self.bindings), self.room);
        let queues = (limits::INTERFACES + 1) * QUEUES_PER_LINK;
        let (number, word) = (size_of::<u32>(), size_of::<u64>());
        let address = size_of::<Address>();
        BTreeMap::from([
            (
                "bindings",
                array(buckets, word)
                    // The entries and their spares.
                    + 2 * array(buckets * PLACES, size_of::<Entry>())
                    + array(limits::WAYS, size_of::<Way>()),
            ),
            (
                "buffers",
                array(room.packets, size_of::<Slot>())
                    + array(room.packets, number)
                    + array(room.nodes, size_of::<Buffer>())
                    + array(1, size_of::<Pool>())
                    + array(limits::DRAIN_JOBS, size_of::<DrainJob>())
                    + array(1, size_of::<DrainList>()),
            ),
            (
                "counters",
                each(
                    self.counters * limits::REASONS_PER_INTERFACE,
                    size_of::<Count>(),
                ),
            ),
            (
                "interfaces",
                array(self.highest_interface + 1, size_of::<Interface>())
                    + hash(limits::VLANS, size_of::<Vlan>(), number)
                    + hash(limits::LOCAL_ADDRESSES, address, number)
                    + hash(limits::PEER_ADDRESSES, address, number),
            ),
            (
                "routes",
                each(1 << limits::RECENT_ROUTES_BITS, RECENT_ROUTE),
            ),
            (
                "signalling",
                u64::from(limits::SIGNAL_RING_BYTES)
                    + each(1, size_of::<Signal>())
                    + hash(limits::INTERFACES + 1, number, size_of::<Link>())
                    + array(queues, size_of::<Queue>())
                    + array(queues, word)
                    + hash(limits::SIGNAL_SOURCES, size_of::<Source>(), word)
                    + hash(limits::STATIONS, size_of::<Station>(), number),
            ),
            ("events", u64::from(limits::EVENT_RING_BYTES)),
            ("logs", LOG_RING),
        ])
    }
}

#[cfg(test)]
mod tests {
    use fmip_common::table::Seed;

    use super::*;
    use crate::io::pool::Room;

    #[test]
    fn a_million_bindings_and_the_usual_pool_have_their_known_size() {
        let shape = Shape {
            room: Room {
                packets: 16_384,
                nodes: 1024,
                guaranteed: 8,
            },
            bindings: 1_000_000,
            highest_interface: 0,
            counters: 3,
            seed: Seed::default(),
        };
        let memory = shape.memory_with(4);
        // 262 144 buckets of 7 entries, each with its spare; 65 536 ways.
        assert_eq!(memory["bindings"], 262_144 * (8 + 7 * 2 * 64) + 65_536 * 64);
        assert_eq!(
            memory["buffers"],
            16_384 * 2_056 + 1024 * 192 + 128 + 64 * 120 + 8
        );
        assert_eq!(memory["counters"], 3 * 64 * 16 * 4);
        assert_eq!(memory["events"], 65_536);
    }
}
