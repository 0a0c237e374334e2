//! Fields of any number of bits, and the TLVs behind them.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    error::DecodeError,
    tuple::{self, Authentication},
};
use crate::wire::MacAddr;

/// A TLV that a message gives no meaning to; it survives a round trip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTlv {
    /// Its type.
    pub kind: u8,
    /// Its value.
    pub value: Bytes,
}

/// Reads the fields of one message in their order.
pub(super) struct Reader<'a> {
    message: &'static str,
    octets: &'a [u8],
    /// How many bits were read.
    at: usize,
    attributes: tuple::Form,
    /// The tuple that ended the TLVs, and where it began.
    pub(super) authentication: Option<(Authentication, usize)>,
    key_sequence: Option<u8>,
}

impl<'a> Reader<'a> {
    /// `octets` begin with the message's type.
    pub(super) fn new(message: &'static str, octets: &'a [u8], attributes: tuple::Form) -> Self {
        Self {
            message,
            octets,
            at: 0,
            attributes,
            authentication: None,
            key_sequence: None,
        }
    }

    /// The message, for errors.
    pub(super) fn message(&self) -> &'static str {
        self.message
    }

    /// Up to 32 bits, the most significant first.
    pub(super) fn bits(&mut self, count: usize, field: &'static str) -> Result<u32, DecodeError> {
        let available = self.octets.len() * 8 - self.at;
        if count > available {
            return Err(DecodeError::Truncated {
                message: self.message,
                field,
                needed: count,
                available,
            });
        }
        let value = (self.at..self.at + count).fold(0, |value, at| {
            value << 1 | u32::from(self.octets[at / 8] >> (7 - at % 8) & 1)
        });
        self.at += count;
        Ok(value)
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.bits(1, field)? != 0)
    }

    pub(super) fn octet(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.bits(8, field)? as u8)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let mut octets = [0; N];
        for octet in &mut octets {
            *octet = self.octet(field)?;
        }
        Ok(octets)
    }

    pub(super) fn address(&mut self, field: &'static str) -> Result<MacAddr, DecodeError> {
        Ok(MacAddr(self.array(field)?))
    }

    /// As many of something as an 8-bit number before it says.
    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.octet(field)?;
        (0..count).map(|_| item(self)).collect()
    }

    /// The next `count` octets as a message of their own.
    pub(super) fn nested(
        &mut self,
        count: usize,
        field: &'static str,
    ) -> Result<Reader<'a>, DecodeError> {
        self.align();
        let at = self.at / 8;
        let octets = self
            .octets
            .get(at..at + count)
            .ok_or_else(|| DecodeError::Truncated {
                message: self.message,
                field,
                needed: count * 8,
                available: (self.octets.len() - at) * 8,
            })?;
        self.at += count * 8;
        Ok(Reader::new(self.message, octets, tuple::Form::None))
    }

    /// Skips to the next octet.
    pub(super) fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.align();
        let rest = &self.octets[self.at / 8..];
        self.at = self.octets.len() * 8;
        rest
    }

    /// Refuses what the profile has no use for.
    pub(super) fn refuse(&self, field: &'static str, value: u32) -> DecodeError {
        DecodeError::Value {
            message: self.message,
            field,
            value,
        }
    }

    /// The next TLV of the message, without the tuple that ends it.
    pub(super) fn tlv(&mut self) -> Result<Option<Tlv<'a>>, DecodeError> {
        loop {
            self.align();
            let start = self.at / 8;
            let rest = &self.octets[start..];
            if let Some((_, tuple)) = &self.authentication
                && !rest.is_empty()
            {
                debug_assert!(*tuple < start, "the tuple was read");
                return Err(DecodeError::TupleNotLast {
                    message: self.message,
                    octets: rest.len(),
                });
            }
            if rest.is_empty() {
                return match self.key_sequence {
                    // Without the digest that it belongs to it says nothing.
                    Some(_) if self.authentication.is_none() => Err(DecodeError::Missing {
                        message: self.message,
                        field: "CMAC digest",
                    }),
                    _ => Ok(None),
                };
            }
            let tlv = split(self.message, rest)?;
            self.at += tlv.len * 8;
            match (self.attributes, tlv.kind) {
                (tuple::Form::Tuple, tuple::CMAC_TUPLE) => {
                    self.authentication = Some((tuple::decode_cmac(&tlv)?, start));
                }
                (tuple::Form::Tuple, tuple::HMAC_TUPLE) => {
                    self.authentication = Some((tuple::decode_hmac(&tlv)?, start));
                }
                (tuple::Form::Digest, tuple::KEY_SEQUENCE) => {
                    let [sequence] = tlv.fixed("key sequence number")?;
                    tlv.once(
                        &mut self.key_sequence,
                        "key sequence number",
                        sequence & 0xf,
                    )?;
                }
                (tuple::Form::Digest, tuple::CMAC_DIGEST | tuple::HMAC_DIGEST) => {
                    let key_sequence = self.key_sequence.ok_or(DecodeError::Missing {
                        message: self.message,
                        field: "key sequence number",
                    })?;
                    self.authentication = Some((tuple::decode_digest(&tlv, key_sequence)?, start));
                }
                _ => return Ok(Some(tlv)),
            }
        }
    }
}

/// A TLV as it stands in a message.
pub(super) struct Tlv<'a> {
    message: &'static str,
    pub(super) kind: u8,
    pub(super) value: &'a [u8],
    /// Octets that it takes, with type and length.
    len: usize,
}

impl<'a> Tlv<'a> {
    /// The value, which has a fixed length.
    pub(super) fn fixed<const N: usize>(
        &self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        self.value.try_into().map_err(|_| self.bad_length(field))
    }

    pub(super) fn bad_length(&self, field: &'static str) -> DecodeError {
        DecodeError::TlvLength {
            message: self.message,
            field,
            length: self.value.len(),
        }
    }

    /// Fills a TLV's slot; a second value is an error.
    pub(super) fn once<T>(
        &self,
        slot: &mut Option<T>,
        field: &'static str,
        value: T,
    ) -> Result<(), DecodeError> {
        if slot.replace(value).is_some() {
            return Err(DecodeError::Duplicate {
                message: self.message,
                field,
            });
        }
        Ok(())
    }

    /// The TLVs that are its value.
    pub(super) fn nested(&self) -> Reader<'a> {
        Reader::new(self.message, self.value, tuple::Form::None)
    }

    pub(super) fn unknown(&self) -> UnknownTlv {
        UnknownTlv {
            kind: self.kind,
            value: Bytes::copy_from_slice(self.value),
        }
    }
}

/// One octet of type, then the length: one octet, or 0x80 and the number of octets that hold it
/// (IEEE 802.16e-2005 section 11).
fn split<'a>(message: &'static str, octets: &'a [u8]) -> Result<Tlv<'a>, DecodeError> {
    let truncated = |needed: usize| DecodeError::Truncated {
        message,
        field: "TLV",
        needed: needed * 8,
        available: octets.len() * 8,
    };
    let (&[kind, first], _) = octets.split_first_chunk().ok_or_else(|| truncated(2))?;
    let (length, head) = if first & 0x80 == 0 {
        (usize::from(first), 2)
    } else {
        let count = usize::from(first & 0x7f);
        // Two octets can say more than a PDU holds.
        if !(1..=2).contains(&count) {
            return Err(DecodeError::TlvLength {
                message,
                field: "TLV length",
                length: count,
            });
        }
        let octets = octets
            .get(2..2 + count)
            .ok_or_else(|| truncated(2 + count))?;
        let length = octets
            .iter()
            .fold(0, |length, octet| length << 8 | usize::from(*octet));
        (length, 2 + count)
    };
    let value = octets
        .get(head..head + length)
        .ok_or_else(|| truncated(head + length))?;
    Ok(Tlv {
        message,
        kind,
        value,
        len: head + length,
    })
}

/// Writes fields of any number of bits, and TLVs.
#[derive(Default)]
pub(super) struct Writer {
    out: BytesMut,
    /// Bits of the last octet that are in use; 0: all.
    used: usize,
}

impl Writer {
    /// The lowest `count` bits of `value`, the most significant first.
    pub(super) fn bits(&mut self, value: u32, count: usize) {
        for bit in (0..count).rev() {
            if self.used == 0 {
                self.out.put_u8(0);
            }
            let last = self.out.len() - 1;
            self.out[last] |= ((value >> bit & 1) as u8) << (7 - self.used);
            self.used = (self.used + 1) % 8;
        }
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.bits(value.into(), 1);
    }

    pub(super) fn octet(&mut self, value: u8) {
        self.bits(value.into(), 8);
    }

    pub(super) fn octets(&mut self, octets: &[u8]) {
        if self.used == 0 {
            self.out.put_slice(octets);
        } else {
            octets.iter().for_each(|octet| self.octet(*octet));
        }
    }

    /// A list behind its number of items, of which there are 255 at most: what goes beyond them
    /// fits into no PDU either.
    pub(super) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        let count = items.len().min(255);
        self.octet(count as u8);
        for each in &items[..count] {
            item(self, each);
        }
    }

    /// Pads to the next octet.
    pub(super) fn align(&mut self) {
        self.used = 0;
    }

    pub(super) fn tlv(&mut self, kind: u8, value: &[u8]) {
        self.align();
        self.out.put_u8(kind);
        match value.len() {
            length @ 0..=0x7f => self.out.put_u8(length as u8),
            length @ 0x80..=0xff => self.out.put_slice(&[0x81, length as u8]),
            length => {
                self.out.put_u8(0x82);
                self.out.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
            }
        }
        self.out.put_slice(value);
    }

    pub(super) fn optional<const N: usize>(&mut self, kind: u8, value: Option<[u8; N]>) {
        if let Some(value) = value {
            self.tlv(kind, &value);
        }
    }

    /// A TLV made of TLVs.
    pub(super) fn compound(&mut self, kind: u8, write: impl FnOnce(&mut Self)) {
        let mut nested = Self::default();
        write(&mut nested);
        self.tlv(kind, &nested.finish());
    }

    pub(super) fn unknown(&mut self, tlvs: &[UnknownTlv]) {
        for tlv in tlvs {
            self.tlv(tlv.kind, &tlv.value);
        }
    }

    pub(super) fn finish(self) -> BytesMut {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_packed_from_the_most_significant_one() {
        let mut writer = Writer::default();
        writer.bits(0b101, 3);
        writer.octets(&[0xff, 0x00]);
        writer.align();
        writer.octet(7);
        let octets = writer.finish();
        assert_eq!(octets[..], [0b1011_1111, 0b1110_0000, 0, 7]);
        let mut reader = Reader::new("test", &octets, tuple::Form::None);
        assert_eq!(reader.bits(3, "a"), Ok(0b101));
        assert_eq!(reader.array("b"), Ok([0xff, 0x00]));
        reader.align();
        assert_eq!(reader.octet("c"), Ok(7));
        assert_eq!(
            reader.bits(1, "d"),
            Err(DecodeError::Truncated {
                message: "test",
                field: "d",
                needed: 1,
                available: 0
            })
        );
    }

    #[test]
    fn long_values_have_long_lengths() {
        for (length, head) in [
            (0x7f, vec![9, 0x7f]),
            (0x80, vec![9, 0x81, 0x80]),
            (0x100, vec![9, 0x82, 1, 0]),
        ] {
            let value = vec![1; length];
            let mut writer = Writer::default();
            writer.tlv(9, &value);
            let octets = writer.finish();
            assert_eq!(octets[..head.len()], head);
            let tlv = split("test", &octets).unwrap();
            assert_eq!((tlv.kind, tlv.value), (9, &value[..]));
        }
    }

    #[test]
    fn lengths_that_no_pdu_has_are_refused() {
        for first in [0x80, 0x83, 0xff] {
            let error = split("test", &[1, first, 0, 0, 0]).err().unwrap();
            assert!(matches!(error, DecodeError::TlvLength { .. }), "{error}");
        }
    }
}
