//! Mobility options: type, length in octets, body, and padding in between (RFC 6275 section 6.2,
//! RFC 5568 section 6.4).

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    badf::{self, Authorization},
    error::{DecodeError, need},
    mac::MacAddr,
    mobility_header::MAX_LEN,
    nd_option::{lla_code, mac},
    option::UnknownOption,
};

/// Option types.
pub(super) mod kind {
    /// RFC 6275 section 6.2.2.
    pub(in crate::wire) const PAD1: u8 = 0;
    /// RFC 6275 section 6.2.3.
    pub(in crate::wire) const PADN: u8 = 1;
    /// RFC 6275 section 6.2.5.
    pub(in crate::wire) const ALTERNATE_COA: u8 = 3;
    /// RFC 5568 section 6.4.4.
    pub(in crate::wire) const LLA: u8 = 7;
    /// RFC 5568 section 6.4.5.
    pub(in crate::wire) const BADF: u8 = 21;
    /// RFC 5568 section 6.4.2, by a slip: it is DNS-UPDATE in the registry. Never sent, and taken
    /// for an address only where [`super::super::Leniency`] says so (AMB-01, OPT-04).
    pub(in crate::wire) const ADDRESS_BY_SLIP: u8 = 17;
    /// RFC 5568 section 11.
    pub(in crate::wire) const ADDRESS: u8 = 34;
}

/// Octets of an IP Address/Prefix option's body.
pub(super) const ADDRESS_LEN: usize = 18;

/// Cuts the next option from a message, skipping padding; none at its end.
///
/// ```text
///     0                   1                   2                   3
///     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///    |  Option Type  | Option Length |   Option Data...
///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 6275 section 6.2.1; OPT-01.
pub(super) fn next(message: &mut impl Buf) -> Result<Option<UnknownOption>, DecodeError> {
    while let Some((kind, length)) = begin(message)? {
        let option = cut(kind, length, message)?;
        if kind != kind::PADN {
            return Ok(Some(option));
        }
    }
    Ok(None)
}

/// An option of a message that may end in an authorization.
pub(super) enum Authorized {
    Option(UnknownOption),
    Authorization(Authorization),
}

/// Does what [`next`] does, in a message where a BADF option has its meaning.
pub(super) fn next_authorized(message: &mut impl Buf) -> Result<Option<Authorized>, DecodeError> {
    while let Some((kind, length)) = begin(message)? {
        if kind == kind::BADF {
            let authorization = Authorization::decode(length, message)?;
            return Ok(Some(Authorized::Authorization(authorization)));
        }
        let option = cut(kind, length, message)?;
        if kind != kind::PADN {
            return Ok(Some(Authorized::Option(option)));
        }
    }
    Ok(None)
}

/// Reads type and length of the next option that is not Pad1.
fn begin(message: &mut impl Buf) -> Result<Option<(u8, u8)>, DecodeError> {
    while message.has_remaining() {
        let kind = message.get_u8();
        if kind != kind::PAD1 {
            need("mobility option", 1, message.remaining())?;
            return Ok(Some((kind, message.get_u8())));
        }
    }
    Ok(None)
}

fn cut(kind: u8, length: u8, message: &mut impl Buf) -> Result<UnknownOption, DecodeError> {
    need("mobility option", usize::from(length), message.remaining())?;
    let body = message.copy_to_bytes(usize::from(length));
    Ok(UnknownOption { kind, body })
}

/// Reads an Alternate Care-of Address option.
///
/// ```text
///                                      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                      |   Type = 3    |  Length = 16  |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |            Alternate Care-of Address (16 octets)              |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 6275 section 6.2.5.
pub(super) fn alternate_coa(option: &UnknownOption) -> Result<Ipv6Addr, DecodeError> {
    let mut body = sized(option, "alternate care-of address", 16)?;
    Ok(body.get_u128().into())
}

/// Reads a Mobility Header Link-Layer Address option.
///
/// ```text
///                                    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                    |    Type 7     |    Length 7   |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      | Option-Code 2 |                  LLA                     ....
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.4.4, figure 14; OPT-06.
pub(super) fn lla(option: &UnknownOption) -> Result<MacAddr, DecodeError> {
    let mut body = sized(option, "mobility header link-layer address", 7)?;
    body.advance(1);
    Ok(mac(&mut body))
}

/// Reads a Mobility Header IP Address/Prefix option as an address; its prefix length says nothing
/// that the address does not.
///
/// ```text
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |   Type 34     |   Length 18   | Option-Code   | Prefix Length |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                IPv6 Address/Prefix (16 octets)                |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.4.2, figure 12; OPT-04.
pub(super) fn address(option: &UnknownOption) -> Result<Ipv6Addr, DecodeError> {
    let mut body = sized(option, "mobility header IP address", ADDRESS_LEN)?;
    body.advance(1);
    let prefix_length = body.get_u8();
    if prefix_length > 128 {
        return Err(DecodeError::PrefixLength(prefix_length));
    }
    Ok(body.get_u128().into())
}

fn sized<'a>(
    option: &'a UnknownOption,
    name: &'static str,
    length: usize,
) -> Result<&'a [u8], DecodeError> {
    if option.body.len() != length {
        return Err(DecodeError::OptionLength {
            option: name,
            length: option.body.len() as u8,
        });
    }
    Ok(&option.body)
}

/// Writes options where their alignment wants them. It counts from the beginning of the Mobility
/// Header, as the alignment does.
pub(super) struct Writer<'a, B> {
    out: &'a mut B,
    offset: usize,
}

impl<'a, B: BufMut> Writer<'a, B> {
    /// Begins at the offset at which a message's fixed part ends.
    pub(super) fn new(out: &'a mut B, offset: usize) -> Self {
        Self { out, offset }
    }

    /// Writes an Alternate Care-of Address option, at 8n+6 (RFC 6275 section 6.2.5).
    pub(super) fn alternate_coa(&mut self, address: Ipv6Addr) {
        self.align(6);
        self.begin(kind::ALTERNATE_COA, 16);
        self.out.put_u128(address.to_bits());
    }

    /// Writes an MN's Link-Layer Address option, anywhere (OPT-06).
    pub(super) fn mn_lla(&mut self, address: MacAddr) {
        self.begin(kind::LLA, 7);
        self.out.put_u8(lla_code::MN);
        self.out.put_slice(&address.0);
    }

    /// Writes an IP Address/Prefix option with a whole address, at 8n+4 (OPT-04).
    pub(super) fn address(&mut self, code: u8, address: Ipv6Addr) {
        self.align(4);
        self.begin(kind::ADDRESS, ADDRESS_LEN as u8);
        self.out.put_u8(code);
        self.out.put_u8(128);
        self.out.put_u128(address.to_bits());
    }

    /// Writes the options that were carried along, except those for which the Mobility Header has
    /// no room left beside `authorization`: padding may have grown since they were read.
    pub(super) fn unknown(
        &mut self,
        options: &[UnknownOption],
        authorization: Option<&Authorization>,
    ) {
        // Up to 7 octets of padding precede either end.
        let reserve = 7 + authorization.map_or(0, Authorization::option_len);
        for option in options {
            let Ok(length) = u8::try_from(option.body.len()) else {
                continue;
            };
            if self.offset + 2 + option.body.len() + reserve <= MAX_LEN {
                self.begin(option.kind, length);
                self.out.put_slice(&option.body);
            }
        }
    }

    /// Ends the message on a multiple of 8 octets. The authorization is the last option, so that
    /// the padding precedes it: one with 12 octets begins at 8n+6 (OPT-09).
    pub(super) fn finish(mut self, authorization: Option<&Authorization>) {
        match authorization {
            Some(authorization) => {
                let len = authorization.option_len();
                self.align((8 - len % 8) % 8);
                authorization.encode(self.out);
            }
            None => self.align(0),
        }
    }

    fn begin(&mut self, kind: u8, length: u8) {
        self.out.put_u8(kind);
        self.out.put_u8(length);
        self.offset += 2 + usize::from(length);
    }

    /// Pads until the offset is 8n + `remainder`.
    fn align(&mut self, remainder: usize) {
        match (8 + remainder - self.offset % 8) % 8 {
            0 => {}
            1 => {
                self.out.put_u8(kind::PAD1);
                self.offset += 1;
            }
            octets => {
                self.begin(kind::PADN, octets as u8 - 2);
                self.out.put_bytes(0, octets - 2);
            }
        }
    }
}

/// The longest authenticator whose option's length field holds.
const _: () = assert!(badf::MAX_AUTHENTICATOR + 4 == u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

    /// What is written from `offset` of a Mobility Header on.
    fn written(offset: usize, write: impl FnOnce(Writer<'_, Vec<u8>>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(Writer::new(&mut bytes, offset));
        bytes
    }

    /// The offset in the Mobility Header at which an option begins, with the padding before it
    /// checked.
    fn begins(offset: usize, bytes: &[u8], kind: u8) -> usize {
        let mut at = 0;
        loop {
            match bytes[at] {
                0 => at += 1,
                1 => {
                    let length = usize::from(bytes[at + 1]);
                    assert!(
                        bytes[at + 2..at + 2 + length]
                            .iter()
                            .all(|octet| *octet == 0)
                    );
                    at += 2 + length;
                }
                found => {
                    assert_eq!(found, kind);
                    return offset + at;
                }
            }
        }
    }

    fn authorization(octets: usize) -> Authorization {
        Authorization {
            spi: 1,
            authenticator: Bytes::from(vec![0xaa; octets]),
        }
    }

    // Rows: OPT-04, OPT-06
    #[test]
    fn options_begin_where_their_alignment_wants_them() {
        for offset in 8..32 {
            let bytes = written(offset, |mut writer| writer.address(1, ADDRESS));
            assert_eq!(begins(offset, &bytes, 34) % 8, 4);
            let bytes = written(offset, |mut writer| writer.alternate_coa(ADDRESS));
            assert_eq!(begins(offset, &bytes, 3) % 8, 6);
            let bytes = written(offset, |mut writer| writer.mn_lla(MAC));
            assert_eq!(begins(offset, &bytes, 7), offset);
        }
    }

    // Rows: OPT-09
    #[test]
    fn authorization_ends_the_header_without_padding_behind_it() {
        for offset in 8..32 {
            for (octets, remainder) in [(12, 6), (16, 2), (32, 2), (20, 6)] {
                let authorization = authorization(octets);
                let bytes = written(offset, |writer| writer.finish(Some(&authorization)));
                assert_eq!(begins(offset, &bytes, 21) % 8, remainder);
                assert_eq!((offset + bytes.len()) % 8, 0);
                assert!(bytes.ends_with(&authorization.authenticator));
            }
        }
    }

    #[test]
    fn header_without_authorization_ends_on_8_octets() {
        for offset in 8..32 {
            let bytes = written(offset, |writer| writer.finish(None));
            assert_eq!((offset + bytes.len()) % 8, 0);
            assert_eq!(next(&mut &bytes[..]), Ok(None));
        }
    }

    // Rows: OPT-04, OPT-06
    #[test]
    fn every_option_is_read_as_it_was_written() {
        let option = |bytes: &[u8]| next(&mut &bytes[..]).unwrap().unwrap();
        let bytes = written(10, |mut writer| writer.address(2, ADDRESS));
        // Two octets of padding up to offset 12, then figure 12.
        assert_eq!(bytes[..6], [1, 0, 34, 18, 2, 128]);
        assert_eq!(bytes[6..], ADDRESS.octets());
        assert_eq!(address(&option(&bytes)), Ok(ADDRESS));
        let bytes = written(10, |mut writer| writer.mn_lla(MAC));
        assert_eq!(bytes, [7, 7, 2, 2, 0, 0, 0, 0, 9]);
        assert_eq!(lla(&option(&bytes)), Ok(MAC));
        let bytes = written(12, |mut writer| writer.alternate_coa(ADDRESS));
        assert_eq!(bytes[..4], [1, 0, 3, 16]);
        assert_eq!(alternate_coa(&option(&bytes)), Ok(ADDRESS));
    }

    // Rows: OPT-04, OPT-06
    #[test]
    fn lengths_other_than_the_type_s_own_are_refused() {
        for length in [0, 6, 8, 15, 17, 19, 255] {
            let option = UnknownOption {
                kind: 0,
                body: Bytes::from(vec![0; usize::from(length)]),
            };
            let error = |option| DecodeError::OptionLength { option, length };
            assert_eq!(
                alternate_coa(&option),
                Err(error("alternate care-of address"))
            );
            assert_eq!(
                lla(&option),
                Err(error("mobility header link-layer address"))
            );
            assert_eq!(address(&option), Err(error("mobility header IP address")));
        }
    }

    #[test]
    fn option_longer_than_the_message_is_refused() {
        for bytes in [&[3][..], &[3, 1], &[1, 4, 0, 0, 0], &[0, 0, 34, 18, 1]] {
            assert!(
                matches!(next(&mut &bytes[..]), Err(DecodeError::Truncated { .. })),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn data_in_padding_is_ignored() {
        let mut bytes = &[1, 3, 34, 18, 1, 0, 0, 200, 1, 5][..];
        let option = next(&mut bytes).unwrap().unwrap();
        assert_eq!((option.kind, &option.body[..]), (200, &[5][..]));
        assert_eq!(next(&mut bytes), Ok(None));
    }

    #[test]
    fn carried_options_never_push_the_authorization_out() {
        let options = vec![
            UnknownOption {
                kind: 200,
                body: Bytes::from(vec![1; 255]),
            };
            20
        ];
        let authorization = authorization(badf::MAX_AUTHENTICATOR);
        let bytes = written(12, |mut writer| {
            writer.unknown(&options, Some(&authorization));
            writer.finish(Some(&authorization));
        });
        assert!(12 + bytes.len() <= MAX_LEN);
        assert!(bytes.ends_with(&authorization.authenticator));
    }
}
