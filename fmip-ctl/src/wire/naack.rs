//! Neighbor Advertisement Acknowledgment (NAACK), the option with which a router refuses the
//! address of a UNA.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    code::code,
    error::{DecodeError, once, unicast},
    nd_option::{self, Writer, address_code, kind},
    option::UnknownOption,
};

pub(super) const NAME: &str = "neighbor advertisement acknowledgment";
/// The only Option-Code; an option with another one is not this one.
pub(super) const OPTION_CODE: u8 = 0;

const NCOA: &str = "new care-of address";
/// Octets of an address after the Reserved field: none, bare, or as an IP Address option.
const WITHOUT_NCOA: usize = 0;
const BARE_NCOA: usize = 16;
const NCOA_OPTION: usize = 24;
/// Octets of the body before the address.
const FIXED_LEN: usize = 6;

code! {
    /// What became of a UNA (RFC 5568 section 6.4.6; OPT-10).
    NaackStatus {
        /// The NCoA is invalid: configure an address as without fast handover.
        ConfigureAddress = 1,
        /// The NCoA is invalid: use the one that is supplied.
        UseSupplied = 2,
        /// The NCoA is invalid: name the new router's address as the NCoA in an FBU.
        UseRouterAddress = 3,
        /// The PCoA is good on this link, too: send no FBU.
        UsePcoa = 4,
        /// The link-layer address is not known here: neither NCoA nor PCoA may be used.
        LinkAddressUnrecognized = 128,
    }
}

/// A Neighbor Advertisement Acknowledgment.
///
/// ```text
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |    Type 20    |     Length    | Option-Code 0 |    Status     |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                             Reserved                          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |             New Care-of Address (16 octets), or none          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.4.6, figure 16.
///
/// The section gives the length as 3 with an address, which leaves room for the bare address, and
/// calls it "in the form of an IP Address Option", which would make it 4. Length 3 is sent;
/// received is, too, length 4 with that option inside, and length 1 with that option beside it
/// (AMB-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naack {
    /// What became of the UNA.
    pub status: NaackStatus,
    /// The address to use; always there with [`NaackStatus::UseSupplied`] (NAK-04).
    pub ncoa: Option<Ipv6Addr>,
}

impl Naack {
    /// Reads the option alone; what stands beside it comes by [`Naack::supply`].
    pub(super) fn decode(option: &UnknownOption) -> Result<Self, DecodeError> {
        let mut body = &option.body[..];
        body.advance(1);
        let status = body.get_u8().into();
        body.advance(4);
        let ncoa = match option.body.len() - FIXED_LEN {
            WITHOUT_NCOA => None,
            BARE_NCOA => Some(unicast(NCOA, body.get_u128().into())?),
            NCOA_OPTION => {
                let inner = nd_option::next(&mut body)?;
                Some(new_coa(&inner.ok_or(MISSING_NCOA)?)?)
            }
            other => {
                return Err(DecodeError::OptionLength {
                    option: NAME,
                    length: ((2 + FIXED_LEN + other) / 8) as u8,
                });
            }
        };
        Ok(Self { status, ncoa })
    }

    /// Takes the address of an IP Address option that stands beside this one.
    pub(super) fn supply(&mut self, option: &UnknownOption) -> Result<(), DecodeError> {
        once(&mut self.ncoa, NCOA, new_coa(option)?)
    }

    /// Refuses a promise that is not kept (NAK-04).
    pub(super) fn check(&self) -> Result<(), DecodeError> {
        if self.status == NaackStatus::UseSupplied && self.ncoa.is_none() {
            return Err(MISSING_NCOA);
        }
        Ok(())
    }

    pub(super) fn encode<B: BufMut>(&self, options: &mut Writer<'_, B>) {
        let mut body = vec![OPTION_CODE, self.status.value(), 0, 0, 0, 0];
        if let Some(address) = self.ncoa {
            body.put_u128(address.to_bits());
        }
        options.option(kind::NAACK, &body);
    }
}

const MISSING_NCOA: DecodeError = DecodeError::MissingOption {
    message: NAME,
    option: NCOA,
};

fn new_coa(option: &UnknownOption) -> Result<Ipv6Addr, DecodeError> {
    if (option.kind, option.code()) != (kind::ADDRESS, Some(address_code::NEW_COA)) {
        return Err(MISSING_NCOA);
    }
    let (address, _) = nd_option::address(option)?;
    unicast(NCOA, address)
}
