//! Fast Binding Acknowledgment (FBack): the previous router's answer to an FBU.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    badf::Authorization,
    code::code,
    error::{DecodeError, need, once},
    mh_option::{self, Authorized, Writer, kind},
    mobility_header::DATA_OFFSET,
    option::UnknownOption,
};

const FIXED_LEN: usize = 6;
const KEY_MANAGEMENT: u8 = 1 << 7;

code! {
    /// What became of an FBU (RFC 5568 section 6.2.3).
    FastBindingStatus {
        /// Accepted.
        Accepted = 0,
        /// Accepted; the address to use is in the alternate care-of address.
        NcoaInvalid = 1,
        /// Refused without a reason.
        Unspecified = 128,
        /// Refused by the operator's rules.
        Prohibited = 129,
        /// Refused for want of resources.
        Resources = 130,
        /// Refused for its interface identifier's length.
        BadIid = 131,
    }
}

impl FastBindingStatus {
    /// Tells whether there is a binding now: values below 128.
    pub fn is_accepted(self) -> bool {
        self.value() < 128
    }
}

/// A Fast Binding Acknowledgment.
///
/// ```text
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///                                     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                     |     Status    |K|   Reserved  |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |            Sequence #         |            Lifetime           |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     .                           Mobility options                    .
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.2.3, figure 9, with the field widths of RFC 6275 section 6.1.8: in figure 9
/// the bar behind Status stands one place too far to the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastBindingAck {
    /// What became of the FBU.
    pub status: FastBindingStatus,
    /// K: see RFC 6275 section 6.1.8.
    pub key_management: bool,
    /// That of the FBU.
    pub sequence: u16,
    /// Seconds for which the binding is granted (AMB-04).
    pub lifetime: u16,
    /// The address that the MN is to use; always there with
    /// [`FastBindingStatus::NcoaInvalid`] (FBA-04).
    pub alternate_coa: Option<Ipv6Addr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
    /// The proof that the sender is the MN's previous router (FBA-05).
    pub authorization: Option<Authorization>,
}

impl FastBindingAck {
    /// The Mobility Header type.
    pub const MH_TYPE: u8 = 9;

    /// Reads the message data of a Mobility Header.
    ///
    /// # Errors
    /// It is too short, an option is malformed or there twice, or something follows the
    /// authorization.
    pub fn decode(data: &mut impl Buf) -> Result<Self, DecodeError> {
        need("FBack", FIXED_LEN, data.remaining())?;
        let status = data.get_u8().into();
        let flags = data.get_u8();
        let sequence = data.get_u16();
        let lifetime = data.get_u16();

        let mut alternate_coa = None;
        let mut unknown = Vec::new();
        let mut authorization = None;
        while let Some(option) = mh_option::next_authorized(data)? {
            match option {
                Authorized::Authorization(last) => {
                    authorization = Some(last);
                    break;
                }
                Authorized::Option(option) if option.kind == kind::ALTERNATE_COA => {
                    let address = mh_option::alternate_coa(&option)?;
                    once(&mut alternate_coa, "alternate care-of address", address)?;
                }
                Authorized::Option(option) => unknown.push(option),
            }
        }
        Ok(Self {
            status,
            key_management: flags & KEY_MANAGEMENT != 0,
            sequence,
            lifetime,
            alternate_coa,
            unknown,
            authorization,
        })
    }

    /// Writes the message data of a Mobility Header.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.status.value());
        out.put_u8(if self.key_management {
            KEY_MANAGEMENT
        } else {
            0
        });
        out.put_u16(self.sequence);
        out.put_u16(self.lifetime);
        let mut options = Writer::new(out, DATA_OFFSET + FIXED_LEN);
        if let Some(address) = self.alternate_coa {
            options.alternate_coa(address);
        }
        let authorization = self.authorization.as_ref();
        options.unknown(&self.unknown, authorization);
        options.finish(authorization);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rows: FBA-08
    #[test]
    fn every_status_survives_and_those_below_128_are_accepted() {
        for value in 0..=255 {
            let status = FastBindingStatus::from(value);
            assert_eq!(status.value(), value);
            assert_eq!(status.is_accepted(), value < 128);
        }
        assert_eq!(FastBindingStatus::from(131), FastBindingStatus::BadIid);
        assert_eq!(FastBindingStatus::from(2), FastBindingStatus::Other(2));
    }

    // Rows: GEN-11
    #[test]
    fn reserved_bits_are_ignored() {
        let message = FastBindingAck::decode(&mut &[0, 0x7f, 0, 1, 0, 2][..]).unwrap();
        assert!(!message.key_management);
        assert_eq!((message.sequence, message.lifetime), (1, 2));
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(bytes[..6], [0, 0, 0, 1, 0, 2]);
    }

    // Rows: OPT-07
    #[test]
    fn authorization_must_be_the_last_option() {
        let badf = [21, 5, 0, 0, 0, 9, 1];
        let bytes = [&[0, 0, 0, 1, 0, 2][..], &badf, &[0]].concat();
        assert!(FastBindingAck::decode(&mut &bytes[..13]).is_ok());
        assert_eq!(
            FastBindingAck::decode(&mut &bytes[..]),
            Err(DecodeError::AuthorizationNotLast(1))
        );
    }

    #[test]
    fn second_alternate_care_of_address_is_refused() {
        let coa = [&[3, 16][..], &[9; 16]].concat();
        let bytes = [&[0, 0, 0, 1, 0, 2][..], &coa, &coa].concat();
        assert_eq!(
            FastBindingAck::decode(&mut &bytes[..]),
            Err(DecodeError::DuplicateOption("alternate care-of address"))
        );
    }
}
