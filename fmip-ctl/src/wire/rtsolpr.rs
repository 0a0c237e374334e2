//! Router Solicitation for Proxy Advertisement (RtSolPr): an MN asks about access points.

use bytes::{Buf, BufMut};

use super::{
    error::{DecodeError, need, once},
    icmpv6,
    mac::MacAddr,
    nd_option::{self, Writer, kind, lla_code},
    option::UnknownOption,
};

/// Octets before the options, in RtSolPr and PrRtAdv.
pub(super) const FIXED_LEN: usize = 8;

/// A Router Solicitation for Proxy Advertisement.
///
/// ```text
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |    Type 154   |     Code 0    |             Checksum          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |   Subtype 2   |    Reserved   |            Identifier         |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |    Options ...
///     +-+-+-+-+-+-+-+-+-+-+-+-
/// ```
/// RFC 5568 section 6.1.1, figure 4; RTS-01..05.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtSolPr {
    /// Matches the answer to the question.
    pub identifier: u16,
    /// The sender's link-layer address.
    pub source_lla: Option<MacAddr>,
    /// The access points that are asked about; none asks for all of them (the wildcard).
    pub access_points: Vec<MacAddr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
}

impl RtSolPr {
    /// The subtype of ICMPv6 type 154.
    pub const SUBTYPE: u8 = 2;

    /// Reads the message from its ICMPv6 type on. The checksum was checked before.
    ///
    /// A wildcard beside named access points asks for them too, and is all that is kept: such a
    /// message must not be sent (RTS-05).
    ///
    /// # Errors
    /// It is too short, its code is not 0 (RTS-11), an option is malformed or there twice, or it
    /// asks about no access point (RTS-04).
    pub fn decode(message: &mut impl Buf) -> Result<Self, DecodeError> {
        const NAME: &str = "RtSolPr";
        need(NAME, FIXED_LEN, message.remaining())?;
        message.advance(1);
        let code = message.get_u8();
        if code != 0 {
            return Err(DecodeError::Code {
                message: NAME,
                code,
            });
        }
        message.advance(4);
        let identifier = message.get_u16();

        let mut source_lla = None;
        let mut wildcard = false;
        let mut access_points = Vec::new();
        let mut unknown = Vec::new();
        while let Some(option) = nd_option::next(message)? {
            match (option.kind, option.code()) {
                (kind::LLA, Some(lla_code::WILDCARD)) => wildcard = true,
                (kind::LLA, Some(lla_code::NEW_AP)) => access_points.push(nd_option::lla(&option)?),
                (kind::LLA, Some(lla_code::SOURCE)) => {
                    let address = nd_option::lla(&option)?;
                    once(&mut source_lla, "source link-layer address", address)?;
                }
                _ => unknown.push(option),
            }
        }
        if wildcard {
            access_points.clear();
        } else if access_points.is_empty() {
            return Err(DecodeError::MissingOption {
                message: NAME,
                option: "access point",
            });
        }
        Ok(Self {
            identifier,
            source_lla,
            access_points,
            unknown,
        })
    }

    /// Writes the message from its ICMPv6 type on, with a checksum of 0.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&[icmpv6::FMIPV6, 0, 0, 0, Self::SUBTYPE, 0]);
        out.put_u16(self.identifier);
        let mut options = Writer::new(out, FIXED_LEN);
        if let Some(address) = self.source_lla {
            options.lla(lla_code::SOURCE, address);
        }
        if self.access_points.is_empty() {
            options.wildcard();
        }
        for access_point in &self.access_points {
            options.lla(lla_code::NEW_AP, *access_point);
        }
        options.unknown(&self.unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 8] = [154, 0, 0, 0, 2, 0, 0x12, 0x34];
    const WILDCARD: [u8; 8] = [19, 1, 0, 0, 0, 0, 0, 0];

    fn lla(code: u8, last: u8) -> [u8; 16] {
        [19, 2, code, 2, 0, 0, 0, 0, last, 0, 0, 0, 0, 0, 0, 0]
    }

    fn decode(parts: &[&[u8]]) -> Result<RtSolPr, DecodeError> {
        RtSolPr::decode(&mut &parts.concat()[..])
    }

    #[test]
    fn question_about_no_access_point_is_refused() {
        let missing = Err(DecodeError::MissingOption {
            message: "RtSolPr",
            option: "access point",
        });
        assert_eq!(decode(&[&HEADER]), missing);
        assert_eq!(decode(&[&HEADER, &lla(4, 1)]), missing);
    }

    #[test]
    fn wildcard_includes_every_other_access_point() {
        for parts in [
            [&HEADER[..], &WILDCARD, &lla(1, 2)],
            [&HEADER[..], &lla(1, 2), &WILDCARD],
        ] {
            assert_eq!(decode(&parts).unwrap().access_points, []);
        }
    }

    #[test]
    fn wildcard_may_be_as_long_as_an_address() {
        assert_eq!(decode(&[&HEADER, &lla(0, 0)]).unwrap().access_points, []);
    }

    #[test]
    fn access_points_keep_their_order() {
        let message = decode(&[&HEADER, &lla(1, 9), &lla(4, 1), &lla(1, 8)]).unwrap();
        let address = |last| MacAddr([2, 0, 0, 0, 0, last]);
        assert_eq!(message.identifier, 0x1234);
        assert_eq!(message.source_lla, Some(address(1)));
        assert_eq!(message.access_points, [address(9), address(8)]);
    }

    #[test]
    fn second_source_address_is_refused() {
        assert_eq!(
            decode(&[&HEADER, &WILDCARD, &lla(4, 1), &lla(4, 1)]),
            Err(DecodeError::DuplicateOption("source link-layer address"))
        );
    }

    // Rows: RTS-11
    #[test]
    fn code_other_than_0_is_refused() {
        let mut header = HEADER;
        header[1] = 1;
        assert_eq!(
            decode(&[&header, &WILDCARD]),
            Err(DecodeError::Code {
                message: "RtSolPr",
                code: 1
            })
        );
    }

    /// GEN-10: a nonce (14), an address that only a PrRtAdv has, the address of an MN.
    // Rows: GEN-10
    #[test]
    fn options_of_other_messages_are_carried_along() {
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        let mut prefix = [0; 24];
        prefix[..4].copy_from_slice(&[17, 3, 4, 200]);
        let message = decode(&[&HEADER, &nonce, &prefix, &lla(2, 7), &WILDCARD]).unwrap();
        let kinds: Vec<u8> = message.unknown.iter().map(|option| option.kind).collect();
        assert_eq!(kinds, [14, 17, 19]);
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(
            bytes,
            [&HEADER[..], &WILDCARD, &nonce, &prefix, &lla(2, 7)].concat()
        );
    }

    // Rows: GEN-11
    #[test]
    fn reserved_octet_is_ignored() {
        let mut header = HEADER;
        header[5] = 0xff;
        assert_eq!(decode(&[&header, &WILDCARD]), decode(&[&HEADER, &WILDCARD]));
    }

    #[test]
    fn message_shorter_than_its_fixed_part_is_refused() {
        for len in 0..HEADER.len() {
            assert!(matches!(
                decode(&[&HEADER[..len]]),
                Err(DecodeError::Truncated { .. })
            ));
        }
    }
}
