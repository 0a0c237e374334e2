//! Signalling from the data path: the ring that the programs fill.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData, RingBuf},
};
use bytes::Bytes;
use fmip_common::{event::SignalHeader, signalling::in_ring};
use tokio::io::unix::AsyncFd;

use super::maps::take;
use crate::wire::MacAddr;

const IPV6_HEADER: usize = 40;

/// Messages that are taken one after the other before everything else that waits has its turn.
const BATCH: usize = 32;

/// One packet of signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Arrival in the kernel, on the monotonic clock, in nanoseconds.
    pub arrival_ns: u64,
    /// Index of the interface it came in on.
    pub interface: u32,
    /// Link-layer source.
    pub link_source: MacAddr,
    /// The packet from the IPv6 header on.
    pub packet: Bytes,
}

/// The ring itself: gives out its records, and tells the programs which of them were read, for the share
/// of each queue depends on it.
pub struct Ring {
    ring: RingBuf<MapData>,
    read: Array<MapData, u64>,
    /// What `read` says, and what it does not say yet.
    queues: Vec<Read>,
    /// The queues that were read from since `read` was written.
    behind: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Read {
    told: u64,
    octets: u64,
}

impl Ring {
    /// Takes the ring out of the loaded object.
    ///
    /// # Errors
    /// When a map is missing.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self> {
        let read: Array<_, u64> = take(ebpf, "SIGNALS_READ")?.try_into()?;
        Ok(Self {
            ring: take(ebpf, "SIGNALS")?.try_into()?,
            queues: vec![Read::default(); read.len() as usize],
            read,
            behind: Vec::new(),
        })
    }

    /// Reads the next record, if there is one.
    pub fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let record = self.ring.next()?;
        let result = read(&record);
        let queue = header(&record).map(|header| header.queue);
        if let Some(number) = queue
            && let Some(queue) = self.queues.get_mut(number as usize)
        {
            if queue.octets == queue.told {
                self.behind.push(number);
            }
            queue.octets += in_ring(record.len() as u64);
        }
        Some(result)
    }

    /// Tells the programs what was read.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn tell(&mut self) -> Result<()> {
        for number in self.behind.drain(..) {
            let queue = &mut self.queues[number as usize];
            self.read
                .set(number, queue.octets, 0)
                .context("cannot say what was read of the signalling")?;
            queue.told = queue.octets;
        }
        Ok(())
    }
}

impl std::os::fd::AsRawFd for Ring {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.ring.as_raw_fd()
    }
}

/// What was read of the ring so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that were given to the protocol.
    pub received: u64,
    /// Records that held less than a whole packet.
    pub cut: u64,
}

/// The receiving end.
pub struct Signals {
    ring: AsyncFd<Ring>,
    counters: Counters,
    /// Records that were read since others had their turn.
    batch: usize,
}

impl Signals {
    /// Watches the ring.
    ///
    /// # Errors
    /// When the runtime refuses.
    pub fn new(ring: Ring) -> Result<Self> {
        // SAFETY: the ring owns its descriptor and gives the same one as long as it lives.
        let ring = unsafe { AsyncFd::register(ring) };
        Ok(Self {
            ring: ring.context("cannot watch the signalling ring")?,
            counters: Counters::default(),
            batch: 0,
        })
    }

    /// What was read so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Waits for the next packet. Nothing is lost if it is cancelled. However much there is, the other
    /// tasks of the runtime run, and what else is waited for is looked at, after a few.
    ///
    /// # Errors
    /// When the ring cannot be watched any more.
    pub async fn receive(&mut self) -> Result<Received> {
        loop {
            if self.batch >= BATCH {
                self.batch = 0;
                self.ring.get_mut().tell()?;
                tokio::task::yield_now().await;
            }
            match self.ring.get_mut().next(decode) {
                Some(decoded) => {
                    self.batch += 1;
                    if let Some(received) = self.counters.count(decoded) {
                        return Ok(received);
                    }
                }
                None => {
                    self.batch = 0;
                    self.ring.get_mut().tell()?;
                    let guard = self.ring.readable_mut().await;
                    let mut guard = guard.context("cannot watch the signalling ring")?;
                    guard.clear_ready();
                    // Looked at once more after the flag is cleared: a record that comes in between
                    // would wake nobody.
                    if let Some(decoded) = guard.get_inner_mut().next(decode)
                        && let Some(received) = self.counters.count(decoded)
                    {
                        return Ok(received);
                    }
                }
            }
        }
    }
}

impl Counters {
    fn count(&mut self, decoded: Option<Received>) -> Option<Received> {
        let counter = match decoded {
            Some(_) => &mut self.received,
            None => &mut self.cut,
        };
        *counter += 1;
        // Whoever sends such things sends many of them.
        if decoded.is_none() && self.cut.is_power_of_two() {
            tracing::warn!(
                number = self.cut,
                "signalling that is longer than any message, or a record that is cut short: not read"
            );
        }
        decoded
    }
}

/// The header of a record; `None` if there is less of it.
fn header(record: &[u8]) -> Option<SignalHeader> {
    // The octets of one field, which are as many as it wants.
    fn field<const N: usize>(record: &[u8], offset: usize) -> Option<[u8; N]> {
        record.get(offset..offset + N)?.try_into().ok()
    }
    macro_rules! field {
        ($field:ident) => {
            field(record, std::mem::offset_of!(SignalHeader, $field))?
        };
    }
    Some(SignalHeader {
        arrival_ns: u64::from_ne_bytes(field!(arrival_ns)),
        interface: u32::from_ne_bytes(field!(interface)),
        queue: u32::from_ne_bytes(field!(queue)),
        length: u32::from_ne_bytes(field!(length)),
        whole: u32::from_ne_bytes(field!(whole)),
        link_source: field!(link_source),
        network: u16::from_ne_bytes(field!(network)),
    })
}

/// Reads a [`Signal`](fmip_common::event::Signal); `None` unless the whole packet is in it.
fn decode(record: &[u8]) -> Option<Received> {
    let header = header(record)?;
    let frame = record.get(size_of::<SignalHeader>()..)?;
    let frame = frame.get(..header.length as usize)?;
    let packet = frame.get(usize::from(header.network)..)?;
    // Short frames are padded by the link: the IPv6 header says where the packet ends.
    let payload = u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]);
    let packet = packet.get(..IPV6_HEADER + usize::from(payload))?;
    Some(Received {
        arrival_ns: header.arrival_ns,
        interface: header.interface,
        link_source: MacAddr(header.link_source),
        packet: Bytes::copy_from_slice(packet),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of a frame of `octets` octets that says it has `length`.
    fn record(network: u16, length: u32, payload_length: u16, octets: usize) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(7_u64.to_ne_bytes());
        record.extend(3_u32.to_ne_bytes());
        record.extend(5_u32.to_ne_bytes());
        record.extend(length.to_ne_bytes());
        record.extend(length.to_ne_bytes());
        record.extend([2; 6]);
        record.extend(network.to_ne_bytes());
        record.resize(32 + usize::from(network), 0x11);
        record.extend([0x60, 0, 0, 0]);
        record.extend(payload_length.to_be_bytes());
        record.resize(32 + octets, 0);
        record
    }

    #[test]
    fn a_padded_frame_is_cut_to_its_packet() {
        for network in [14, 18, 22] {
            let record = record(network, 80, 4, 80);
            assert_eq!(header(&record).expect("a header").queue, 5);
            let received = decode(&record).expect("a whole record");
            assert_eq!(received.arrival_ns, 7);
            assert_eq!(received.interface, 3);
            assert_eq!(received.link_source, MacAddr([2; 6]));
            assert_eq!(received.packet.len(), 44);
            assert_eq!(received.packet[0], 0x60);
        }
    }

    #[test]
    fn what_is_read_and_what_is_not_is_counted() {
        let mut counters = Counters::default();
        for (octets, read) in [(1500, true), (1536, true), (1537, false), (9000, false)] {
            // The data path takes no more than this of a frame.
            let taken = octets.min(1536);
            let record = record(14, taken as u32, octets as u16 - 54, taken);
            let received = counters.count(decode(&record));
            assert_eq!(received.is_some(), read, "{octets}");
        }
        let expected = Counters {
            received: 2,
            cut: 2,
        };
        assert_eq!(counters, expected);
    }

    #[test]
    fn a_record_that_is_cut_short_is_refused() {
        assert_eq!(decode(&[0; 10]), None);
        assert_eq!(decode(&record(14, 2000, 4, 1536)), None);
        assert_eq!(decode(&record(14, 10, 4, 1536)), None);
        let whole = record(14, 60, 6, 60);
        assert!(decode(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "{length} octets");
        }
        // The packet is longer than the frame.
        assert_eq!(decode(&record(14, 60, 7, 60)), None);
        assert_eq!(decode(&record(u16::MAX, 60, 6, 60)), None);
    }
}
