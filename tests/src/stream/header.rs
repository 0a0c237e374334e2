//! What each packet of a stream says of itself.

/// What stands at the front of each payload: magic, sequence number, time of sending; big-endian.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamHeader {
    /// Counts from 0; [`StreamHeader::PROBE`] is not part of the stream.
    pub(super) sequence: u64,
    /// Nanoseconds since the streams' start.
    pub(super) time: u64,
}

impl StreamHeader {
    pub(super) const SIZE: usize = 24;
    const MAGIC: [u8; 8] = *b"fmip-lab";
    /// Asks whether the path is there, before the stream starts.
    pub(super) const PROBE: u64 = u64::MAX;
    /// A bound on sequence numbers, so that a stray packet cannot make the account grow: hours at the
    /// highest rate.
    pub(super) const END: u64 = 1 << 32;

    pub(super) fn write(self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&Self::MAGIC);
        payload[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        payload[16..24].copy_from_slice(&self.time.to_be_bytes());
    }

    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let number = |at: usize| -> Option<u64> {
            Some(u64::from_be_bytes(
                payload.get(at..at + 8)?.try_into().ok()?,
            ))
        };
        let sequence = number(8)?;
        (payload.starts_with(&Self::MAGIC) && (sequence < Self::END || sequence == Self::PROBE))
            .then_some(Self {
                sequence,
                time: number(16)?,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_survives_the_wire_and_foreign_packets_are_none() {
        let header = StreamHeader {
            sequence: 0x0102_0304,
            time: 99,
        };
        let mut packet = [0; StreamHeader::SIZE + 10];
        header.write(&mut packet);
        assert_eq!(StreamHeader::read(&packet), Some(header));
        for length in 0..StreamHeader::SIZE {
            assert_eq!(StreamHeader::read(&packet[..length]), None);
        }
        packet[0] ^= 1;
        assert_eq!(StreamHeader::read(&packet), None);
    }

    #[test]
    fn a_sequence_number_beyond_any_stream_is_none_of_ours() {
        let mut packet = [0; StreamHeader::SIZE];
        StreamHeader {
            sequence: StreamHeader::END,
            time: 0,
        }
        .write(&mut packet);
        assert_eq!(StreamHeader::read(&packet), None);
    }
}
