//! Handover Initiate (HI): the previous router announces an MN to the new one.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    Leniency,
    code::code,
    error::{DecodeError, need, once},
    mac::MacAddr,
    mh_option::{self, Writer, kind},
    mobility_header::DATA_OFFSET,
    nd_option::{address_code, lla_code},
    option::UnknownOption,
};

/// Octets before the options, in HI and HAck: they begin at offset 10 of the Mobility Header, not
/// at 12 as in FBU and FBack (OPT-11).
pub(super) const FIXED_LEN: usize = 4;
const ASSIGNED_ADDRESS: u8 = 1 << 7;
const BUFFER: u8 = 1 << 6;
const PROXY: u8 = 1 << 5;
const FORWARD: u8 = 1 << 4;

code! {
    /// Where the FBU behind a HI came from (RFC 5568 section 6.2.1.1; HI-03).
    HiCode {
        /// From the PCoA: the MN is about to leave.
        PcoaSource = 0,
        /// From another address: the MN has moved already.
        OtherSource = 1,
    }
}

/// A Handover Initiate.
///
/// ```text
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///                                     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                     |           Sequence #          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |S|U|  Reserved |      Code     |                               |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               .
///     .                          Mobility options                     .
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.2.1.1, figure 6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoverInitiate {
    /// Matches the answer to the question.
    pub sequence: u16,
    /// S: the new router is to assign the NCoA. Never with [`HiCode::OtherSource`] (HI-04).
    pub assigned_address: bool,
    /// U: the new router is to buffer packets for the MN.
    pub buffer: bool,
    /// P of RFC 5949: not a host-based handover but one of Proxy Mobile IPv6 (EXT-02). In RFC 5568
    /// it is a reserved bit.
    pub proxy: bool,
    /// F of RFC 5949: asks for the packets buffered so far. In RFC 5568 it is a reserved bit.
    pub forward: bool,
    /// Where the FBU came from.
    pub code: HiCode,
    /// The MN's link-layer address; always sent (HI-06).
    pub mn_lla: Option<MacAddr>,
    /// The MN's address on the previous link.
    pub pcoa: Option<Ipv6Addr>,
    /// The address that the MN wants on the new link.
    pub ncoa: Option<Ipv6Addr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
}

impl HandoverInitiate {
    /// The Mobility Header type.
    pub const MH_TYPE: u8 = 14;

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
        need("HI", FIXED_LEN, data.remaining())?;
        let sequence = data.get_u16();
        let flags = data.get_u8();
        let code = data.get_u8().into();

        let mut mn_lla = None;
        let mut pcoa = None;
        let mut ncoa = None;
        let mut unknown = Vec::new();
        while let Some(option) = mh_option::next(data)? {
            match (leniency.kind(&option), option.code()) {
                (kind::LLA, Some(lla_code::MN)) => {
                    let address = mh_option::lla(&option)?;
                    once(&mut mn_lla, "MN link-layer address", address)?;
                }
                (kind::ADDRESS, Some(address_code::OLD_COA)) => {
                    let address = mh_option::address(&option)?;
                    once(&mut pcoa, "previous care-of address", address)?;
                }
                (kind::ADDRESS, Some(address_code::NEW_COA)) => {
                    let address = mh_option::address(&option)?;
                    once(&mut ncoa, "new care-of address", address)?;
                }
                _ => unknown.push(option),
            }
        }
        Ok(Self {
            sequence,
            assigned_address: flags & ASSIGNED_ADDRESS != 0,
            buffer: flags & BUFFER != 0,
            proxy: flags & PROXY != 0,
            forward: flags & FORWARD != 0,
            code,
            mn_lla,
            pcoa,
            ncoa,
            unknown,
        })
    }

    /// Writes the message data of a Mobility Header.
    pub fn encode(&self, out: &mut impl BufMut) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put_u16(self.sequence);
        out.put_u8(
            flag(self.assigned_address, ASSIGNED_ADDRESS)
                | flag(self.buffer, BUFFER)
                | flag(self.proxy, PROXY)
                | flag(self.forward, FORWARD),
        );
        out.put_u8(self.code.value());
        let mut options = Writer::new(out, DATA_OFFSET + FIXED_LEN);
        if let Some(address) = self.mn_lla {
            options.mn_lla(address);
        }
        if let Some(address) = self.pcoa {
            options.address(address_code::OLD_COA, address);
        }
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

    const FIXED: [u8; 4] = [0, 1, 0x40, 0];
    const MN_LLA: [u8; 9] = [7, 7, 2, 2, 0, 0, 0, 0, 7];

    fn address(kind: u8, code: u8) -> Vec<u8> {
        let mut option = vec![kind, 18, code, 128];
        option.extend(Ipv6Addr::LOCALHOST.octets());
        option
    }

    fn decode(parts: &[&[u8]]) -> Result<HandoverInitiate, DecodeError> {
        HandoverInitiate::decode(&mut &parts.concat()[..])
    }

    /// GEN-11; P and F are those of RFC 5949.
    // Rows: GEN-11
    #[test]
    fn every_flag_has_its_own_bit_and_the_rest_is_ignored() {
        for octet in 0..=255 {
            let message = decode(&[&[0, 1, octet, 0]]).unwrap();
            assert_eq!(message.assigned_address, octet & 0x80 != 0);
            assert_eq!(message.buffer, octet & 0x40 != 0);
            assert_eq!(message.proxy, octet & 0x20 != 0);
            assert_eq!(message.forward, octet & 0x10 != 0);
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(bytes[2], octet & 0xf0);
        }
    }

    // Rows: AMB-01
    #[test]
    fn option_17_is_not_an_address() {
        let message = decode(&[&FIXED, &MN_LLA, &address(17, 1), &address(34, 2)]).unwrap();
        assert_eq!(message.pcoa, None);
        assert_eq!(message.ncoa, Some(Ipv6Addr::LOCALHOST));
        assert_eq!(message.unknown[0].kind, 17);
    }

    #[test]
    fn addresses_of_other_kinds_are_carried_along() {
        let message = decode(&[&FIXED, &address(34, 3), &address(34, 4)]).unwrap();
        assert_eq!((message.pcoa, message.ncoa), (None, None));
        assert_eq!(message.unknown.len(), 2);
    }

    #[test]
    fn second_option_of_a_kind_is_refused() {
        for (option, name) in [
            (MN_LLA.to_vec(), "MN link-layer address"),
            (address(34, 1), "previous care-of address"),
            (address(34, 2), "new care-of address"),
        ] {
            assert_eq!(
                decode(&[&FIXED, &option, &option]),
                Err(DecodeError::DuplicateOption(name))
            );
        }
    }

    // Rows: OPT-04
    #[test]
    fn prefix_length_above_128_is_refused() {
        let mut option = address(34, 1);
        option[3] = 129;
        assert_eq!(
            decode(&[&FIXED, &option]),
            Err(DecodeError::PrefixLength(129))
        );
    }

    #[test]
    fn option_that_runs_into_the_next_is_cut_at_its_own_length() {
        // The first one says 7 octets but holds a code that is not an MN's: what follows is
        // read where it ends, whatever it holds.
        let message = decode(&[&FIXED, &[7, 7, 9, 34, 18, 1, 128, 0, 0], &MN_LLA]).unwrap();
        assert_eq!(message.mn_lla, Some(MacAddr([2, 0, 0, 0, 0, 7])));
        assert_eq!(message.pcoa, None);
    }
}
