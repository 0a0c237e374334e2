//! Fast Binding Update (FBU): an MN tells its previous router where it goes.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    badf::Authorization,
    error::{DecodeError, need, once},
    mac::MacAddr,
    mh_option::{self, Authorized, Writer, kind},
    mobility_header::DATA_OFFSET,
    nd_option::lla_code,
    option::UnknownOption,
};

const FIXED_LEN: usize = 6;
const ACK: u16 = 1 << 15;
const HOME: u16 = 1 << 14;
const LINK_LOCAL: u16 = 1 << 13;
const KEY_MANAGEMENT: u16 = 1 << 12;

/// A Fast Binding Update. The PCoA is not in it but in the packet's Home Address option (FBU-04).
///
/// ```text
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///                                     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                     |           Sequence #          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |A|H|L|K|       Reserved        |            Lifetime           |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     .                           Mobility options                    .
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.2.2, figure 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastBindingUpdate {
    /// Counts up from one FBU to the next, modulo 65536 (FBU-10).
    pub sequence: u16,
    /// A: an FBack is wanted. Always set by an MN (FBU-01).
    pub ack: bool,
    /// H: always set by an MN (FBU-01).
    pub home: bool,
    /// L: see RFC 6275 section 6.1.7.
    pub link_local: bool,
    /// K: see RFC 6275 section 6.1.7.
    pub key_management: bool,
    /// Seconds, not the units of four of a Binding Update (AMB-04); 0 ends the binding.
    pub lifetime: u16,
    /// The NCoA, where the packet's source address is not (FBU-03).
    pub alternate_coa: Option<Ipv6Addr>,
    /// The MN's link-layer address.
    pub mn_lla: Option<MacAddr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
    /// The proof that the sender owns the PCoA; an FBU without one is to change nothing (FBU-13).
    pub authorization: Option<Authorization>,
}

impl FastBindingUpdate {
    /// The Mobility Header type.
    pub const MH_TYPE: u8 = 8;

    /// Reads the message data of a Mobility Header.
    ///
    /// # Errors
    /// It is too short, an option is malformed or there twice, or something follows the
    /// authorization.
    pub fn decode(data: &mut impl Buf) -> Result<Self, DecodeError> {
        need("FBU", FIXED_LEN, data.remaining())?;
        let sequence = data.get_u16();
        let flags = data.get_u16();
        let lifetime = data.get_u16();

        let mut alternate_coa = None;
        let mut mn_lla = None;
        let mut unknown = Vec::new();
        let mut authorization = None;
        while let Some(option) = mh_option::next_authorized(data)? {
            let option = match option {
                Authorized::Authorization(last) => {
                    authorization = Some(last);
                    break;
                }
                Authorized::Option(option) => option,
            };
            match (option.kind, option.code()) {
                (kind::ALTERNATE_COA, _) => {
                    let address = mh_option::alternate_coa(&option)?;
                    once(&mut alternate_coa, "alternate care-of address", address)?;
                }
                (kind::LLA, Some(lla_code::MN)) => {
                    let address = mh_option::lla(&option)?;
                    once(&mut mn_lla, "MN link-layer address", address)?;
                }
                _ => unknown.push(option),
            }
        }
        Ok(Self {
            sequence,
            ack: flags & ACK != 0,
            home: flags & HOME != 0,
            link_local: flags & LINK_LOCAL != 0,
            key_management: flags & KEY_MANAGEMENT != 0,
            lifetime,
            alternate_coa,
            mn_lla,
            unknown,
            authorization,
        })
    }

    /// Writes the message data of a Mobility Header.
    pub fn encode(&self, out: &mut impl BufMut) {
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        out.put_u16(self.sequence);
        out.put_u16(
            flag(self.ack, ACK)
                | flag(self.home, HOME)
                | flag(self.link_local, LINK_LOCAL)
                | flag(self.key_management, KEY_MANAGEMENT),
        );
        out.put_u16(self.lifetime);
        let mut options = Writer::new(out, DATA_OFFSET + FIXED_LEN);
        if let Some(address) = self.alternate_coa {
            options.alternate_coa(address);
        }
        if let Some(address) = self.mn_lla {
            options.mn_lla(address);
        }
        let authorization = self.authorization.as_ref();
        options.unknown(&self.unknown, authorization);
        options.finish(authorization);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXED: [u8; 6] = [0, 1, 0xc0, 0, 0, 30];
    const MN_LLA: [u8; 9] = [7, 7, 2, 2, 0, 0, 0, 0, 7];
    const BADF: [u8; 18] = [21, 16, 0, 0, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];

    fn decode(parts: &[&[u8]]) -> Result<FastBindingUpdate, DecodeError> {
        FastBindingUpdate::decode(&mut &parts.concat()[..])
    }

    fn alternate_coa() -> Vec<u8> {
        [&[3, 16][..], &Ipv6Addr::LOCALHOST.octets()].concat()
    }

    // Rows: GEN-11
    #[test]
    fn every_flag_has_its_own_bit_and_the_rest_is_ignored() {
        for octet in 0..=255 {
            let message = decode(&[&[0, 1, octet, 0xff, 0, 30]]).unwrap();
            let flags = [
                message.ack,
                message.home,
                message.link_local,
                message.key_management,
            ];
            let expected = [0x80, 0x40, 0x20, 0x10].map(|bit| octet & bit != 0);
            assert_eq!(flags, expected);
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(bytes[2..4], [octet & 0xf0, 0]);
        }
    }

    #[test]
    fn fbu_without_authorization_is_read_as_one() {
        assert_eq!(decode(&[&FIXED, &MN_LLA]).unwrap().authorization, None);
    }

    // Rows: OPT-07
    #[test]
    fn authorization_must_be_the_last_option() {
        assert!(decode(&[&FIXED, &MN_LLA, &BADF]).is_ok());
        // RFC 6275 section 6.2: nor may padding follow.
        for behind in [&MN_LLA[..], &[0], &[1, 0]] {
            assert_eq!(
                decode(&[&FIXED, &BADF, behind]),
                Err(DecodeError::AuthorizationNotLast(behind.len()))
            );
        }
    }

    // Rows: AMB-03
    #[test]
    fn authorization_is_read_with_either_length() {
        let mut without_spi = BADF;
        without_spi[1] = 12;
        assert_eq!(decode(&[&FIXED, &without_spi]), decode(&[&FIXED, &BADF]));
    }

    #[test]
    fn second_option_of_a_kind_is_refused() {
        let coa = alternate_coa();
        assert_eq!(
            decode(&[&FIXED, &coa, &coa]),
            Err(DecodeError::DuplicateOption("alternate care-of address"))
        );
        assert_eq!(
            decode(&[&FIXED, &MN_LLA, &MN_LLA]),
            Err(DecodeError::DuplicateOption("MN link-layer address"))
        );
    }

    #[test]
    fn other_options_are_carried_along() {
        let foreign_lla = [7, 7, 3, 2, 0, 0, 0, 0, 7];
        let other = [200, 0];
        let message = decode(&[&FIXED, &other, &foreign_lla, &BADF]).unwrap();
        assert_eq!(message.mn_lla, None);
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(FastBindingUpdate::decode(&mut &bytes[..]), Ok(message));
        // At 12 of the header; BADF at 30, after padding from 23 on.
        assert_eq!(bytes[6..17], [&other[..], &foreign_lla].concat());
        assert_eq!(bytes[17..24], [1, 5, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[24..], BADF);
    }
}
