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
