//! The generic MAC header: 6 octets before every management message.

use bytes::{BufMut, BytesMut};

use super::error::DecodeError;

/// Octets of the header.
pub(super) const LEN: usize = 6;
/// The longest PDU, with its header: LEN has 11 bits.
pub(super) const MAX_LEN: usize = 0x7ff;

const NAME: &str = "MAC header";
/// CI: a CRC-32 stands behind the message.
const CRC_INDICATOR: u8 = 1 << 6;

/// A generic MAC header.
///
/// ```text
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |H|E|    Type   |E|C|EKS|R|         LEN         |   CID (MSB)   |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |   CID (LSB)   |      HCS      |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// IEEE 802.16e-2005 section 6.3.2.1.1. In the profile HT, EC, Type, ESF, CI and EKS are 0: no
/// encryption, no subheaders, and no CRC-32, because the frame that carries the PDU has a check
/// sequence of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The whole PDU's length, with the header.
    pub(super) len: usize,
    /// The connection.
    pub(super) cid: u16,
}

impl Header {
    /// Reads the header and finds the message behind it. What follows the PDU is padding of the
    /// frame that carries it.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let truncated = |field, needed: usize| DecodeError::Truncated {
            message: NAME,
            field,
            needed: needed * 8,
            available: bytes.len() * 8,
        };
        let Some((&head, _)) = bytes.split_first_chunk::<LEN>() else {
            return Err(truncated("header", LEN));
        };
        let [first, second, len, cid_high, cid_low, received] = head;
        let computed = crc8(&head[..LEN - 1]);
        if received != computed {
            return Err(DecodeError::HeaderCheck { received, computed });
        }
        let refuse = |field, value| Err(DecodeError::Header { field, value });
        if first >> 7 != 0 {
            return refuse("HT", first >> 7);
        }
        if first >> 6 != 0 {
            return refuse("EC", 1);
        }
        if first != 0 {
            return refuse("Type", first & 0x3f);
        }
        if second >> 7 != 0 {
            return refuse("ESF", 1);
        }
        if second & CRC_INDICATOR != 0 {
            return refuse("CI", 1);
        }
        let header = Self {
            len: usize::from(second & 0x7) << 8 | usize::from(len),
            cid: u16::from_be_bytes([cid_high, cid_low]),
        };
        if header.len < LEN {
            return Err(DecodeError::TlvLength {
                message: NAME,
                field: "LEN",
                length: header.len,
            });
        }
        let pdu = bytes
            .get(LEN..header.len)
            .ok_or_else(|| truncated("PDU", header.len))?;
        Ok((header, pdu))
    }

    /// Writes the header; `len` is at most [`MAX_LEN`].
    pub(super) fn encode(self, out: &mut BytesMut) {
        let [cid_high, cid_low] = self.cid.to_be_bytes();
        let head = [
            0,
            (self.len >> 8) as u8 & 0x7,
            self.len as u8,
            cid_high,
            cid_low,
        ];
        out.put_slice(&head);
        out.put_u8(crc8(&head));
    }
}

/// CRC-8 with the generator D^8 + D^2 + D + 1, nothing inverted (IEEE 802.16e-2005 section
/// 6.3.2.1.1, HCS).
fn crc8(octets: &[u8]) -> u8 {
    octets.iter().fold(0, |crc, octet| {
        (0..8).fold(crc ^ octet, |crc: u8, _| {
            if crc & 0x80 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x07
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "123456789" is the check value that catalogues of CRCs give: 0xf4 for CRC-8 with 0x07.
    #[test]
    fn crc8_is_that_of_the_catalogues() {
        assert_eq!(crc8(b"123456789"), 0xf4);
        assert_eq!(crc8(&[]), 0);
    }

    #[test]
    fn header_that_is_not_of_the_profile_is_refused_by_field() {
        for (octets, field) in [
            ([0x80, 0, 6, 0, 0], "HT"),
            ([0x40, 0, 6, 0, 0], "EC"),
            ([0x02, 0, 6, 0, 0], "Type"),
            ([0, 0x80, 6, 0, 0], "ESF"),
            ([0, 0x40, 6, 0, 0], "CI"),
        ] {
            let mut bytes = octets.to_vec();
            bytes.push(crc8(&octets));
            let error = Header::decode(&bytes).unwrap_err();
            assert!(
                matches!(error, DecodeError::Header { field: at, .. } if at == field),
                "{error}"
            );
        }
    }

    #[test]
    fn length_that_cannot_be_is_refused() {
        let octets = [0, 0, 5, 0, 0];
        let mut bytes = octets.to_vec();
        bytes.push(crc8(&octets));
        assert!(matches!(
            Header::decode(&bytes),
            Err(DecodeError::TlvLength {
                field: "LEN",
                length: 5,
                ..
            })
        ));
    }

    #[test]
    fn flipped_bit_is_an_error() {
        let mut bytes = BytesMut::new();
        let header = Header {
            len: LEN,
            cid: 0x1234,
        };
        header.encode(&mut bytes);
        assert_eq!(Header::decode(&bytes), Ok((header, &[][..])));
        for bit in 0..48 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(
                Header::decode(&flipped),
                Err(DecodeError::HeaderCheck { .. })
            ));
        }
    }
}
