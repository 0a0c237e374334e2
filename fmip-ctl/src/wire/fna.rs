//! Fast Neighbor Advertisement (FNA) of RFC 4068: an MN arrives, and may bring its FBU along.

use bytes::{Buf, BufMut, Bytes};

use super::{
    error::{DecodeError, need, once},
    ipv6::{self, MAX_MESSAGE},
    mac::MacAddr,
    mh_option::{self, Writer, kind},
    mobility_header::{DATA_OFFSET, MAX_LEN},
    nd_option::lla_code,
    option::UnknownOption,
};

const NAME: &str = "FNA";
const FIXED_LEN: usize = 2;

/// A Fast Neighbor Advertisement.
///
/// ```text
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///                                     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                     |            Reserved           |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     .                        Mobility Options                       .
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 4068 section 6.3.3, figure 10; LEG-01..03.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastNeighborAdvertisement {
    /// The MN's link-layer address; always sent (LEG-02).
    pub mn_lla: Option<MacAddr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
    /// The FBU behind the Mobility Header (Payload Proto 41): one whole IPv6 packet as it stood on
    /// the wire, with a checksum of its own that this message's does not cover (AMB-14). Only its
    /// version and length were looked at. One of more than 63 456 octets is not sent.
    pub fbu: Option<Bytes>,
}

impl FastNeighborAdvertisement {
    /// The Mobility Header type.
    pub const MH_TYPE: u8 = 10;

    /// Reads the message data of a Mobility Header; `behind` is what follows the header if its
    /// Payload Proto is 41.
    ///
    /// # Errors
    /// It is too short, an option is malformed or there twice, or what is behind is not a whole
    /// IPv6 packet.
    pub fn decode(data: &mut impl Buf, behind: Option<&[u8]>) -> Result<Self, DecodeError> {
        need(NAME, FIXED_LEN, data.remaining())?;
        data.advance(FIXED_LEN);

        let mut mn_lla = None;
        let mut unknown = Vec::new();
        while let Some(option) = mh_option::next(data)? {
            match (option.kind, option.code()) {
                (kind::LLA, Some(lla_code::MN)) => {
                    let address = mh_option::lla(&option)?;
                    once(&mut mn_lla, "MN link-layer address", address)?;
                }
                _ => unknown.push(option),
            }
        }
        Ok(Self {
            mn_lla,
            unknown,
            fbu: behind
                .map(|behind| ipv6::cut(behind).map(Bytes::copy_from_slice))
                .transpose()?,
        })
    }

    /// Writes the message data of a Mobility Header.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u16(0);
        let mut options = Writer::new(out, DATA_OFFSET + FIXED_LEN);
        if let Some(address) = self.mn_lla {
            options.mn_lla(address);
        }
        options.unknown(&self.unknown, None);
        options.finish(None);
    }

    /// Returns what is sent behind the Mobility Header.
    pub(super) fn payload(&self) -> Option<&Bytes> {
        self.fbu
            .as_ref()
            .filter(|fbu| fbu.len() <= MAX_MESSAGE - MAX_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MN_LLA: [u8; 9] = [7, 7, 2, 2, 0, 0, 0, 0, 7];

    fn decode(
        parts: &[&[u8]],
        behind: Option<&[u8]>,
    ) -> Result<FastNeighborAdvertisement, DecodeError> {
        FastNeighborAdvertisement::decode(&mut &parts.concat()[..], behind)
    }

    /// An IPv6 header that announces `payload_length` octets, and `octets` of them.
    fn inner(version: u8, payload_length: u8, octets: usize) -> Vec<u8> {
        let mut packet = vec![version << 4, 0, 0, 0, 0, payload_length, 59, 64];
        packet.resize(40 + octets, 0x20);
        packet
    }

    // Rows: GEN-11
    #[test]
    fn reserved_octets_are_ignored_and_written_as_zeros() {
        let message = decode(&[&[0xff, 0xff], &MN_LLA], None).unwrap();
        assert_eq!(message.mn_lla, Some(MacAddr([2, 0, 0, 0, 0, 7])));
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(bytes[..11], [&[0, 0][..], &MN_LLA].concat());
    }

    #[test]
    fn second_address_of_the_mn_is_refused() {
        assert_eq!(
            decode(&[&[0, 0], &MN_LLA, &MN_LLA], None),
            Err(DecodeError::DuplicateOption("MN link-layer address"))
        );
    }

    // Rows: LEG-03
    #[test]
    fn what_is_behind_is_one_whole_packet() {
        let whole = inner(6, 8, 8);
        for behind in [&whole[..], &inner(6, 8, 11)] {
            let message = decode(&[&[0, 0], &MN_LLA], Some(behind)).unwrap();
            assert_eq!(message.fbu.as_deref(), Some(&whole[..]));
        }
        assert_eq!(
            decode(&[&[0, 0]], Some(&inner(4, 0, 0))),
            Err(DecodeError::Version(4))
        );
        for behind in [&whole[..0], &whole[..39], &whole[..47]] {
            assert!(matches!(
                decode(&[&[0, 0]], Some(behind)),
                Err(DecodeError::Truncated { .. })
            ));
        }
    }

    #[test]
    fn fbu_that_no_packet_can_hold_is_left_out() {
        let message = |len| FastNeighborAdvertisement {
            mn_lla: None,
            unknown: vec![],
            fbu: Some(Bytes::from(vec![0; len])),
        };
        let most = 63_456;
        assert!(message(most).payload().is_some());
        assert!(message(most + 1).payload().is_none());
    }
}
