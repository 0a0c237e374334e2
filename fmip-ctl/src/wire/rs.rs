//! Router Solicitation (RS): a node asks who its routers are.

use bytes::{Buf, BufMut};

use super::{
    error::{DecodeError, need},
    icmpv6,
    mac::MacAddr,
    nd_option::{self, Writer},
    option::UnknownOption,
};

const FIXED_LEN: usize = 8;

/// A Router Solicitation.
///
/// ```text
///       0                   1                   2                   3
///       0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |    Type 133   |     Code 0    |          Checksum             |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                            Reserved                           |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |   Options ...
///      +-+-+-+-+-+-+-+-+-+-+-+-
/// ```
/// RFC 4861 section 4.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterSolicitation {
    /// The sender's link-layer address; never there if the packet's source is unspecified.
    pub source_lla: Option<MacAddr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
}

impl RouterSolicitation {
    pub(super) const NAME: &str = "router solicitation";

    /// Reads the message from its ICMPv6 type on. The checksum was checked before.
    ///
    /// # Errors
    /// It is too short, its code is not 0, or an option is malformed or there twice.
    pub fn decode(message: &mut impl Buf) -> Result<Self, DecodeError> {
        need(Self::NAME, FIXED_LEN, message.remaining())?;
        icmpv6::begin(Self::NAME, message)?;
        message.advance(4);

        let (source_lla, unknown) = nd_option::source_lla_and_others(message)?;
        Ok(Self {
            source_lla,
            unknown,
        })
    }

    /// Writes the message from its ICMPv6 type on, with a checksum of 0.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&[icmpv6::ROUTER_SOLICITATION, 0, 0, 0]);
        out.put_u32(0);
        let mut options = Writer::new(out, FIXED_LEN);
        if let Some(address) = self.source_lla {
            options.source_lla(address);
        }
        options.unknown(&self.unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLA: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 7];

    fn decode(parts: &[&[u8]]) -> Result<RouterSolicitation, DecodeError> {
        RouterSolicitation::decode(&mut &parts.concat()[..])
    }

    // Rows: GEN-11
    #[test]
    fn reserved_octets_are_ignored_and_written_as_zeros() {
        let message = decode(&[&[133, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], &LLA]).unwrap();
        assert_eq!(message.source_lla, Some(MacAddr([2, 0, 0, 0, 0, 7])));
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(bytes, [&[133, 0, 0, 0, 0, 0, 0, 0][..], &LLA].concat());
    }

    #[test]
    fn second_source_address_is_refused() {
        assert_eq!(
            decode(&[&[133, 0, 0, 0, 0, 0, 0, 0], &LLA, &LLA]),
            Err(DecodeError::DuplicateOption("source link-layer address"))
        );
    }

    #[test]
    fn code_other_than_0_is_refused() {
        assert_eq!(
            decode(&[&[133, 1, 0, 0, 0, 0, 0, 0]]),
            Err(DecodeError::Code {
                message: "router solicitation",
                code: 1
            })
        );
    }
}
