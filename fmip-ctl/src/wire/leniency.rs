//! What is accepted beyond the letter of the formats.

use super::{
    mh_option::{self, kind},
    nd_option::address_code,
    option::UnknownOption,
};

/// Which slips of other implementations are understood; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// Takes option type 17 in HI and HAck for the IP address that RFC 5568 section 6.4.2 calls so,
    /// by a slip, if its length is 18 and its Option-Code 1 to 4 (AMB-01). Otherwise it is what the
    /// registry says, DNS-UPDATE, and carried along.
    pub address_option_17: bool,
}

impl Leniency {
    /// Returns the type that an option of a HI or HAck is meant to have.
    pub(super) fn kind(self, option: &UnknownOption) -> u8 {
        let is_address = option.kind == kind::ADDRESS_BY_SLIP
            && option.body.len() == mh_option::ADDRESS_LEN
            && option.code().is_some_and(|code| {
                (address_code::OLD_COA..=address_code::NAR_PREFIX).contains(&code)
            });
        if self.address_option_17 && is_address {
            kind::ADDRESS
        } else {
            option.kind
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HandoverAck, HandoverInitiate};
    use super::*;

    const LENIENT: Leniency = Leniency {
        address_option_17: true,
    };

    fn address(kind: u8, code: u8) -> Vec<u8> {
        [&[kind, 18, code, 128][..], &[9; 16]].concat()
    }

    // Rows: AMB-01
    #[test]
    fn option_17_is_an_address_where_it_is_allowed_to_be() {
        let bytes = [&[0, 1, 0, 0][..], &address(17, 1), &address(17, 2)].concat();
        let meant = [&[0, 1, 0, 0][..], &address(34, 1), &address(34, 2)].concat();
        assert_eq!(
            HandoverInitiate::decode_with(&mut &bytes[..], LENIENT),
            HandoverInitiate::decode(&mut &meant[..])
        );
        assert_eq!(
            HandoverAck::decode_with(&mut &bytes[..], LENIENT).map(|hack| hack.ncoa),
            HandoverAck::decode(&mut &meant[..]).map(|hack| hack.ncoa),
        );
        let strict = HandoverAck::decode(&mut &bytes[..]).unwrap();
        assert_eq!((strict.ncoa, strict.unknown.len()), (None, 2));
    }

    // Rows: AMB-01
    #[test]
    fn option_17_of_another_length_or_code_stays_dns_update() {
        let short = [17, 4, 2, 128, 0, 0];
        for option in [address(17, 0), address(17, 5), short.to_vec(), vec![17, 0]] {
            let bytes = [&[0, 1, 0, 2][..], &option].concat();
            let hack = HandoverAck::decode_with(&mut &bytes[..], LENIENT).unwrap();
            assert_eq!(hack.ncoa, None);
            assert_eq!(hack.unknown[0].kind, 17);
        }
    }

    #[test]
    fn address_in_both_types_is_there_twice() {
        let bytes = [&[0, 1, 0, 2][..], &address(17, 2), &address(34, 2)].concat();
        assert!(HandoverAck::decode_with(&mut &bytes[..], LENIENT).is_err());
        assert!(HandoverAck::decode(&mut &bytes[..]).is_ok());
    }
}
