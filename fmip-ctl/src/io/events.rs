//! What happened in the data path, for people: the ring that the programs tell it by.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
};
use fmip_common::{
    binding::Address,
    event::{Event, KINDS, Kind},
    reason::Reason,
};
use serde::Serialize;
use tokio::{io::unix::AsyncFd, time::Instant};

use super::{maps::take, monotonic_ns};
use crate::wire::MacAddr;

/// How long after an event it is asked how many others there were that were not told.
const ASKED_AFTER: Duration = Duration::from_secs(1);

/// Something that happened in the data path, as the control socket tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Told {
    /// A packet claims to be of a bound address, but did not come out of that address's tunnel, or not
    /// from its link.
    SpoofedPacket {
        /// Where it came in.
        interface: String,
        /// Who sent the frame.
        link_source: MacAddr,
        /// The source of the packet, or of its tunnel.
        outer_source: Ipv6Addr,
        /// Whom it claims to come from.
        source: Ipv6Addr,
        /// Whom it is for.
        destination: Ipv6Addr,
    },
    /// Signalling that the controller did not get.
    SignallingRefused {
        /// Where it came in.
        interface: String,
        /// Who sent the frame.
        link_source: MacAddr,
        /// The source of the packet.
        source: Ipv6Addr,
        /// Whom it is for.
        destination: Ipv6Addr,
        /// The name of the reason that it is counted under.
        reason: &'static str,
    },
    /// The first packet that a buffer holds.
    FirstHeld {
        /// Where it came in.
        interface: String,
        /// The source of the packet.
        source: Ipv6Addr,
        /// Whose buffer.
        address: Ipv6Addr,
    },
    /// A packet was not held, for all slots are in use.
    PoolFull {
        /// Where it came in.
        interface: String,
        /// The source of the packet.
        source: Ipv6Addr,
        /// Whose buffer.
        address: Ipv6Addr,
    },
    /// A packet was handed to the kernel, for its next hop is not known.
    NextHopMissing {
        /// Where it came in.
        interface: String,
        /// The source of the packet.
        source: Ipv6Addr,
        /// Whom it is for.
        destination: Ipv6Addr,
    },
    /// There were more of a kind than are told.
    EventsLost {
        /// The kind's name.
        of: &'static str,
        /// How many more since it was last said.
        number: u64,
    },
}

/// The name that events of a kind have.
const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Spoofed => "spoofed-packet",
        Kind::SignalRefused => "signalling-refused",
        Kind::FirstHeld => "first-held",
        Kind::PoolFull => "pool-full",
        Kind::NextHopMissing => "next-hop-missing",
    }
}

/// The receiving end.
pub(super) struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, u64>,
    /// The interfaces by index.
    interfaces: BTreeMap<u32, String>,
    /// How many losses were told, by kind.
    told: [u64; KINDS as usize],
    /// When to ask for losses.
    ask_at: Option<Instant>,
}

impl Events {
    /// Takes the ring out of the loaded object and watches it; interfaces are called by the names in
    /// `interfaces`.
    ///
    /// # Errors
    /// When a map is missing, or the runtime refuses.
    pub(super) fn new(ebpf: &mut Ebpf, interfaces: BTreeMap<u32, String>) -> Result<Self> {
        let ring: RingBuf<_> = take(ebpf, "EVENTS")?.try_into()?;
        // SAFETY: the ring owns its descriptor and gives the same one as long as it lives.
        let ring = unsafe { AsyncFd::register(ring) };
        Ok(Self {
            ring: ring.context("cannot watch the ring of events")?,
            lost: take(ebpf, "EVENTS_LOST")?.try_into()?,
            interfaces,
            told: [0; KINDS as usize],
            ask_at: None,
        })
    }

    /// Waits for the next event; its time on the monotonic clock in nanoseconds, and what it was. Nothing
    /// is lost if it is cancelled.
    ///
    /// # Errors
    /// When the ring cannot be watched any more, or the kernel does not say what was lost.
    pub(super) async fn next(&mut self) -> Result<(u64, Told)> {
        loop {
            if let Some(told) = self.take() {
                return Ok(told);
            }
            let asked = async {
                match self.ask_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = asked => {
                    if let Some(lost) = self.losses()? {
                        return Ok((monotonic_ns(), lost));
                    }
                }
                guard = self.ring.readable_mut() => {
                    guard.context("cannot watch the ring of events")?.clear_ready();
                    // Looked at once more after the flag is cleared: a record that comes in between
                    // would wake nobody.
                }
            }
        }
    }

    /// The next event in the ring.
    fn take(&mut self) -> Option<(u64, Told)> {
        while let Some(record) = self.ring.get_mut().next() {
            match describe(&record, &self.interfaces) {
                Some(told) => {
                    // More may follow than are told.
                    self.ask_at
                        .get_or_insert_with(|| Instant::now() + ASKED_AFTER);
                    return Some(told);
                }
                None => tracing::warn!(
                    octets = record.len(),
                    "an event of the data path is cut short, or of no known kind"
                ),
            }
        }
        None
    }

    /// How many of a kind were lost since it was last said; the kinds one after the other.
    fn losses(&mut self) -> Result<Option<Told>> {
        for kind in Kind::ALL {
            let total = self.lost(*kind)?;
            let told = &mut self.told[*kind as usize];
            if total > *told {
                let number = total - *told;
                *told = total;
                // It goes on, perhaps, and there are the other kinds.
                self.ask_at = Some(Instant::now() + ASKED_AFTER);
                return Ok(Some(Told::EventsLost {
                    of: name(*kind),
                    number,
                }));
            }
        }
        self.ask_at = None;
        Ok(None)
    }

    /// Events that were never told, by their name.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn all_lost(&self) -> Result<BTreeMap<String, u64>> {
        let kinds = Kind::ALL.iter();
        kinds
            .map(|kind| Ok((name(*kind).to_owned(), self.lost(*kind)?)))
            .collect()
    }

    fn lost(&self, kind: Kind) -> Result<u64> {
        let lost = self.lost.get(&(kind as u32), 0);
        let lost = lost.context("cannot read how many events were lost")?;
        Ok(lost.iter().sum())
    }
}

/// Reads an [`Event`].
fn describe(record: &[u8], interfaces: &BTreeMap<u32, String>) -> Option<(u64, Told)> {
    // The octets of one field, which are as many as it wants.
    fn field<const N: usize>(record: &[u8], offset: usize) -> Option<[u8; N]> {
        record.get(offset..offset + N)?.try_into().ok()
    }
    macro_rules! field {
        ($field:ident) => {
            field(record, std::mem::offset_of!(Event, $field))?
        };
    }
    let time_ns = u64::from_ne_bytes(field!(time_ns));
    let kind = *Kind::ALL.get(u32::from_ne_bytes(field!(kind)) as usize)?;
    let index = u32::from_ne_bytes(field!(interface));
    let detail = u32::from_ne_bytes(field!(detail));
    let link_source = MacAddr(field!(link_source));
    let addresses: [u8; 48] = field!(addresses);
    let address = |place: usize| {
        let octets = addresses[place * 16..][..16].try_into();
        Ipv6Addr::from(Address::from_octets(octets.expect("sixteen octets")))
    };
    let interface = match interfaces.get(&index) {
        Some(name) => name.clone(),
        None => index.to_string(),
    };
    let told = match kind {
        Kind::Spoofed => Told::SpoofedPacket {
            interface,
            link_source,
            outer_source: address(0),
            source: address(1),
            destination: address(2),
        },
        Kind::SignalRefused => Told::SignallingRefused {
            interface,
            link_source,
            source: address(0),
            destination: address(1),
            reason: Reason::ALL.get(detail as usize)?.name(),
        },
        Kind::FirstHeld => Told::FirstHeld {
            interface,
            source: address(0),
            address: address(1),
        },
        Kind::PoolFull => Told::PoolFull {
            interface,
            source: address(0),
            address: address(1),
        },
        Kind::NextHopMissing => Told::NextHopMissing {
            interface,
            source: address(0),
            destination: address(1),
        },
    };
    Some((time_ns, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, detail: u32) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(9_u64.to_ne_bytes());
        record.extend(kind.to_ne_bytes());
        record.extend(4_u32.to_ne_bytes());
        record.extend(detail.to_ne_bytes());
        record.extend([2; 6]);
        record.extend([0; 6]);
        for host in 1..=3 {
            record.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).octets());
        }
        record
    }

    /// `name` is what subscribers see.
    #[test]
    fn every_kind_is_told_under_its_name() {
        let interfaces = BTreeMap::from([(4, "acc0".to_owned())]);
        for kind in Kind::ALL {
            let (time_ns, told) = describe(&record(*kind as u32, 22), &interfaces).unwrap();
            assert_eq!(time_ns, 9);
            let value = serde_json::to_value(told).unwrap();
            assert_eq!(value["event"], name(*kind));
            assert_eq!(value["interface"], "acc0");
        }
        let (_, told) = describe(&record(Kind::SignalRefused as u32, 22), &interfaces).unwrap();
        let value = serde_json::to_value(told).unwrap();
        assert_eq!(value["reason"], "signal-lost");
        assert_eq!(value["source"], "2001:db8::1");
        assert_eq!(value["link_source"], "02:02:02:02:02:02");
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let interfaces = BTreeMap::new();
        let whole = record(0, 0);
        assert!(describe(&whole, &interfaces).is_some());
        for length in 0..whole.len() {
            assert_eq!(describe(&whole[..length], &interfaces), None);
        }
        assert_eq!(describe(&record(KINDS, 0), &interfaces), None);
        let refused = Kind::SignalRefused as u32;
        assert_eq!(describe(&record(refused, u32::MAX), &interfaces), None);
    }
}
