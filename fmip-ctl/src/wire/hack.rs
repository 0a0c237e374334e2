//! Handover Acknowledge (HAck): the new router's answer to a HI.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    Leniency,
    code::code,
    error::{DecodeError, need, once},
    hi::FIXED_LEN,
    mh_option::{self, Writer, kind},
    mobility_header::DATA_OFFSET,
    nd_option::address_code,
    option::UnknownOption,
};

code! {
    /// What became of a HI (RFC 5568 section 6.2.1.2; HAK-02).
    HackCode {
        /// Accepted, and the NCoA is free.
        NcoaValid = 0,
        /// Accepted, but the NCoA is not valid or in use.
        NcoaInUse = 1,
        /// Accepted, with an NCoA that the new router assigned.
        NcoaAssigned = 2,
        /// Accepted; the MN keeps its PCoA on the new link.
        UsePcoa = 3,
        /// Not an answer: it asks for a HI.
        Unsolicited = 4,
        /// Refused without a reason.
        Unspecified = 128,
        /// Refused by the operator's rules.
        Prohibited = 129,
        /// Refused for want of resources.
        Resources = 130,
    }
}

impl HackCode {
    /// Tells whether the new router takes the MN: values below 128, except
    /// [`HackCode::Unsolicited`], which answers nothing.
    pub fn is_accepted(self) -> bool {
        self.value() < 128 && self != Self::Unsolicited
    }
}

/// A Handover Acknowledge.
///
/// ```text
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///                                     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                     |           Sequence #          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |    Reserved   |      Code     |                               |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               .
///     .                          Mobility options                     .
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.2.1.2, figure 7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoverAck {
    /// That of the HI.
    pub sequence: u16,
    /// What became of it.
    pub code: HackCode,
    /// The address that the MN is to use on the new link.
    pub ncoa: Option<Ipv6Addr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
}

impl HandoverAck {
    /// The Mobility Header type.
    pub const MH_TYPE: u8 = 15;

    /// Reads the message data of a Mobility Header by the letter.
    ///
    /// # Errors
    /// As [`Self::decode_with`].
    pub fn decode(data: &mut impl Buf) -> Result<Self, DecodeError> {
        Self::decode_with(data, Leniency::default())
    }

    /// Reads the message data of a Mobility Header.
    ///
    /// # Errors
    /// It is too short, or an option is malformed or there twice.
    pub fn decode_with(data: &mut impl Buf, leniency: Leniency) -> Result<Self, DecodeError> {
        need("HAck", FIXED_LEN, data.remaining())?;
        let sequence = data.get_u16();
        data.advance(1);
        let code = data.get_u8().into();

        let mut ncoa = None;
        let mut unknown = Vec::new();
        while let Some(option) = mh_option::next(data)? {
            match (leniency.kind(&option), option.code()) {
                (kind::ADDRESS, Some(address_code::NEW_COA)) => {
                    let address = mh_option::address(&option)?;
                    once(&mut ncoa, "new care-of address", address)?;
                }
                _ => unknown.push(option),
            }
        }
        Ok(Self {
            sequence,
            code,
            ncoa,
            unknown,
        })
    }

    /// Writes the message data of a Mobility Header.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u16(self.sequence);
        out.put_u8(0);
        out.put_u8(self.code.value());
        let mut options = Writer::new(out, DATA_OFFSET + FIXED_LEN);
        if let Some(address) = self.ncoa {
            options.address(address_code::NEW_COA, address);
        }
        options.unknown(&self.unknown, None);
        options.finish(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rows: HAK-02
    #[test]
    fn every_code_survives_and_says_whether_it_accepts() {
        for value in 0..=255 {
            let code = HackCode::from(value);
            assert_eq!(code.value(), value);
            assert_eq!(code.is_accepted(), value < 128 && value != 4);
        }
        assert_eq!(HackCode::from(3), HackCode::UsePcoa);
        assert_eq!(HackCode::from(131), HackCode::Other(131));
    }

    // Rows: GEN-11
    #[test]
    fn reserved_octet_is_ignored() {
        let message = HandoverAck::decode(&mut &[0, 1, 0xff, 2][..]).unwrap();
        assert_eq!(message.code, HackCode::NcoaAssigned);
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(bytes[..4], [0, 1, 0, 2]);
    }

    #[test]
    fn second_new_care_of_address_is_refused() {
        let option = [&[34, 18, 2, 128][..], &[9; 16]].concat();
        let bytes = [&[0, 1, 0, 2][..], &option, &option].concat();
        assert_eq!(
            HandoverAck::decode(&mut &bytes[..]),
            Err(DecodeError::DuplicateOption("new care-of address"))
        );
    }
}
