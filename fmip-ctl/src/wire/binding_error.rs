//! Binding Error: a node has no use for a Mobility Header that it was sent.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    error::{DecodeError, need},
    mh_option,
};

const NAME: &str = "Binding Error";
const FIXED_LEN: usize = 18;

/// A Binding Error.
///
/// ```text
///                                     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                     |     Status    |   Reserved    |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                    Home Address (16 octets)                   |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     .                        Mobility Options                       .
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 6275 section 6.1.9. It defines no options for this message; they are skipped, and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingError {
    /// Why: [`BindingError::UNKNOWN_BINDING`], [`BindingError::UNRECOGNIZED_TYPE`] or another value.
    pub status: u8,
    /// That of the Home Address option in the packet that is answered; unspecified if it had none.
    pub home_address: Ipv6Addr,
}

impl BindingError {
    /// The Mobility Header type.
    pub const MH_TYPE: u8 = 7;
    /// A Home Address option without a binding that would allow it.
    pub const UNKNOWN_BINDING: u8 = 1;
    /// A Mobility Header of a type that the node does not know (GEN-12, GEN-13).
    pub const UNRECOGNIZED_TYPE: u8 = 2;

    /// Reads the message data of a Mobility Header.
    ///
    /// # Errors
    /// It is too short, or an option is malformed.
    pub fn decode(data: &mut impl Buf) -> Result<Self, DecodeError> {
        need(NAME, FIXED_LEN, data.remaining())?;
        let status = data.get_u8();
        data.advance(1);
        let home_address = data.get_u128().into();
        while mh_option::next(data)?.is_some() {}
        Ok(Self {
            status,
            home_address,
        })
    }

    /// Writes the message data of a Mobility Header, which it fills to 24 octets.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&[self.status, 0]);
        out.put_u128(self.home_address.to_bits());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x11);

    fn decode(status: u8, reserved: u8, options: &[u8]) -> Result<BindingError, DecodeError> {
        let bytes = [&[status, reserved], &HOME.octets()[..], options].concat();
        BindingError::decode(&mut &bytes[..])
    }

    // Rows: GEN-11
    #[test]
    fn reserved_octet_is_ignored_and_written_as_zero() {
        for status in 0..=255 {
            let message = decode(status, 0xff, &[]).unwrap();
            assert_eq!((message.status, message.home_address), (status, HOME));
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(bytes, [&[status, 0], &HOME.octets()[..]].concat());
        }
    }

    #[test]
    fn options_are_skipped_unless_they_run_over_the_end() {
        assert_eq!(decode(2, 0, &[200, 1, 9, 0, 1, 1, 0, 0]), decode(2, 0, &[]));
        assert!(matches!(
            decode(2, 0, &[200, 7, 9, 0, 1, 1, 0, 0]),
            Err(DecodeError::Truncated { .. })
        ));
    }
}
