//! Signalling from the data path: the ring that the programs fill.

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use fmip_common::event::Signal;
use tokio::io::unix::AsyncFd;

use crate::wire::MacAddr;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;

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

/// The receiving end.
pub struct Signals {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Signals {
    /// Watches the ring.
    ///
    /// # Errors
    /// When the runtime refuses.
    pub fn new(ring: RingBuf<MapData>) -> Result<Self> {
        // SAFETY: the ring owns its descriptor and gives the same one as long as it lives.
        let ring = unsafe { AsyncFd::register(ring) };
        Ok(Self {
            ring: ring.context("cannot watch the signalling ring")?,
        })
    }

    /// Waits for the next packet. Nothing is lost if it is cancelled.
    ///
    /// # Errors
    /// When the ring cannot be watched any more.
    pub async fn receive(&mut self) -> Result<Received> {
        loop {
            if let Some(record) = self.ring.get_mut().next() {
                match decode(&record) {
                    Some(received) => return Ok(received),
                    None => tracing::warn!(
                        octets = record.len(),
                        "a record from the data path is cut short"
                    ),
                }
                continue;
            }
            let mut guard = self
                .ring
                .readable_mut()
                .await
                .context("cannot watch the signalling ring")?;
            // Looked at once more after the flag is cleared: a record that comes in between
            // would wake nobody.
            guard.clear_ready();
            if let Some(record) = guard.get_inner_mut().next()
                && let Some(received) = decode(&record)
            {
                return Ok(received);
            }
        }
    }
}

/// Reads a [`Signal`].
fn decode(record: &[u8]) -> Option<Received> {
    const FRAME: usize = std::mem::offset_of!(Signal, frame);
    let word = |offset: usize| -> Option<u32> {
        Some(u32::from_ne_bytes(
            record.get(offset..offset + 4)?.try_into().ok()?,
        ))
    };
    let arrival_ns = u64::from_ne_bytes(record.get(..8)?.try_into().ok()?);
    let interface = word(std::mem::offset_of!(Signal, interface))?;
    let length = word(std::mem::offset_of!(Signal, length))? as usize;
    let frame = record.get(FRAME..)?.get(..length)?;
    let packet = frame.get(ETHERNET_HEADER..)?;
    // Short frames are padded by the link: the IPv6 header says where the packet ends.
    let announced =
        IPV6_HEADER + usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
    let packet = &packet[..announced.min(packet.len())];
    Some(Received {
        arrival_ns,
        interface,
        link_source: MacAddr(frame.get(6..12)?.try_into().ok()?),
        packet: Bytes::copy_from_slice(packet),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: u32, payload_length: u16, octets: usize) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(7_u64.to_ne_bytes());
        record.extend(3_u32.to_ne_bytes());
        record.extend(length.to_ne_bytes());
        record.extend([1; 6]);
        record.extend([2; 6]);
        record.extend([0x86, 0xdd]);
        record.extend([0x60, 0, 0, 0]);
        record.extend(payload_length.to_be_bytes());
        record.resize(16 + octets, 0);
        record
    }

    #[test]
    fn a_padded_frame_is_cut_to_its_packet() {
        let received = decode(&record(60, 4, 1536)).expect("a whole record");
        assert_eq!(received.arrival_ns, 7);
        assert_eq!(received.interface, 3);
        assert_eq!(received.link_source, MacAddr([2; 6]));
        assert_eq!(received.packet.len(), 44);
    }

    #[test]
    fn a_record_that_is_cut_short_is_refused() {
        assert_eq!(decode(&[0; 10]), None);
        assert_eq!(decode(&record(2000, 4, 1536)), None);
        assert_eq!(decode(&record(10, 4, 1536)), None);
    }
}
