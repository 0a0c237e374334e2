//! The data path, its bindings and its buffers, as the control socket shows them.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use anyhow::Result;
use fmip_common::{
    binding::{NextHop, Tag},
    buffer::DROP_NAMES,
    reason::{self, Reason},
};

use super::{
    attach::Mode,
    devices::TagProtocol,
    events::Events,
    execute::Executor,
    maps::{BindingStatus, BufferStatus, Port},
    monotonic_ns,
    signals::Signals,
};
use crate::{
    observe::{
        Count,
        show::{
            BindingEntry, BufferEntry, DataPath, InterfaceStatus, Listed, NextHopStatus, Page,
            PoolStatus, TagStatus, Usage,
        },
    },
    wire::MacAddr,
};

/// Signalling that the controller did not get, as the data path counts it.
const LOST: [Reason; 4] = [
    Reason::SignalLost,
    Reason::SignalSourceRate,
    Reason::SignalLinkRate,
    Reason::SignalShare,
];

/// What is under the name of an interface.
fn counts(counted: &[(Reason, reason::Count)]) -> BTreeMap<String, Count> {
    let named = counted.iter().map(|(reason, count)| {
        let count = Count {
            packets: count.packets,
            bytes: count.bytes,
        };
        (reason.name().to_owned(), count)
    });
    named.collect()
}

/// The data path as a whole; `modes` is how the packets of each interface are met.
///
/// # Errors
/// When the kernel refuses to tell a counter.
pub(super) fn data_path(
    role: &str,
    executor: &Executor,
    modes: &BTreeMap<u32, Mode>,
    signals: &Signals,
    events: &Events,
) -> Result<DataPath> {
    let maps = executor.maps();
    let mut counted: BTreeMap<u32, _> = maps.counts_by_interface()?.into_iter().collect();
    let mut sums: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| (*reason, reason::Count::default()))
        .collect();
    for counts in counted.values() {
        for ((_, sum), (_, count)) in sums.iter_mut().zip(counts) {
            sum.packets += count.packets;
            sum.bytes += count.bytes;
        }
    }
    let elsewhere = counted.remove(&0).unwrap_or_default();
    let interfaces = maps.ports().iter().map(|(index, port)| InterfaceStatus {
        name: name(executor, *index),
        index: *index,
        mode: modes.get(index).map(|mode| mode.name().to_owned()),
        port: (port.index != 0).then_some(port.index),
        tags: tags(port),
        reasons: counted.get(index).map(|counted| counts(counted)),
    });
    let (pool, room) = (maps.pool(), maps.pool().room());
    let lost = sums.iter().filter(|(reason, _)| LOST.contains(reason));
    let lost = lost.map(|(reason, count)| (reason.name().to_owned(), count.packets));
    let cut = ("signal-cut".to_owned(), signals.counters().cut);
    Ok(DataPath {
        role: role.to_owned(),
        interfaces: interfaces.collect(),
        elsewhere: counts(&elsewhere),
        reasons: counts(&sums),
        pool: PoolStatus {
            slots: Usage {
                used: maps.slots_in_use()?,
                room: u64::from(room.packets),
            },
            shared: Usage {
                used: pool.shared(),
                room: room.shared(),
            },
            guaranteed_per_node: room.guaranteed,
            buffers: Usage {
                used: pool.buffers_in_use(),
                room: u64::from(room.nodes),
            },
        },
        bindings: Usage {
            used: maps.bound(),
            room: u64::from(maps.shape().bindings),
        },
        memory_octets: (maps.shape().memory()?.into_iter())
            .map(|(what, octets)| (what.to_owned(), octets))
            .collect(),
        signalling_lost: lost.chain([cut]).collect(),
        events_lost: events.all_lost()?,
    })
}

/// Part of what is bound.
pub(super) fn bindings(executor: &Executor, page: Page) -> Listed<BindingEntry> {
    let from = page.from.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let (list, next) = executor.maps().bindings_from(from, page.length());
    let now_ns = monotonic_ns();
    let list = list.into_iter();
    Listed {
        list: list
            .map(|binding| binding_entry(binding, now_ns, |index| name(executor, index)))
            .collect(),
        next,
    }
}

fn binding_entry(
    binding: BindingStatus,
    now_ns: u64,
    name: impl Fn(u32) -> String,
) -> BindingEntry {
    let next_hop = |hop: NextHop| NextHopStatus {
        interface: name(hop.interface),
        link_address: MacAddr(hop.destination),
    };
    let left = (binding.expires_ns != u64::MAX).then(|| {
        let left = Duration::from_nanos(binding.expires_ns.saturating_sub(now_ns));
        left.as_secs_f64()
    });
    BindingEntry {
        address: binding.address,
        action: binding.action.to_owned(),
        tunnel: binding.tunnel,
        next_hop: binding.next_hop.map(next_hop),
        buffer: binding.buffer,
        expires_in_s: left,
        packets: binding.packets,
        octets: binding.bytes,
    }
}

/// Part of the handover buffers.
///
/// # Errors
/// When there is no buffer where one is said to be.
pub(super) fn buffers(executor: &Executor, page: Page) -> Result<Listed<BufferEntry>> {
    let from = page.from.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let (list, next) = executor.maps().buffers_from(from, page.length())?;
    Ok(Listed {
        list: list.into_iter().map(buffer_entry).collect(),
        next,
    })
}

fn buffer_entry(buffer: BufferStatus) -> BufferEntry {
    let dropped = DROP_NAMES.iter().zip(buffer.dropped_by);
    BufferEntry {
        address: buffer.address,
        state: buffer.state,
        waiting_packets: buffer.waiting,
        waiting_octets: buffer.waiting_octets,
        high_water_packets: buffer.high_water,
        held: buffer.held,
        released: buffer.released,
        dropped: dropped
            .map(|(name, number)| ((*name).to_owned(), number))
            .collect(),
        max_packets: buffer.bounds.packets,
        guaranteed_packets: buffer.bounds.guaranteed,
        max_octets: buffer.bounds.octets,
        max_age_ms: buffer.max_age_ns / 1_000_000,
    }
}

/// The name of an interface, or its index where it is none of the configuration's.
fn name(executor: &Executor, index: u32) -> String {
    match executor.interfaces().get(&index) {
        Some(interface) => interface.name.clone(),
        None => index.to_string(),
    }
}

fn tags(port: &Port) -> Vec<TagStatus> {
    let tags = port.tags.iter().filter(|tag| tag.is_some());
    tags.map(|tag: &Tag| {
        let service = tag.protocol == TagProtocol::Service.ethertype().to_be();
        TagStatus {
            protocol: if service { "802.1ad" } else { "802.1Q" }.to_owned(),
            vlan: u16::from_be(tag.vlan().control),
        }
    })
    .collect()
}
