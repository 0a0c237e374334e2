//! Binding Authorization Data for FMIPv6 (BADF), the option that ends FBU and FBack.

use bytes::{Buf, BufMut, Bytes};

use super::{error::DecodeError, mh_option::kind};

/// The longest authenticator that the option's length field can hold beside the SPI.
pub(super) const MAX_AUTHENTICATOR: usize = 251;
const SPI_LEN: usize = 4;

/// The authorization of an FBU or FBack (OPT-07).
///
/// ```text
///                                        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///                                        |    Type 21    | Option Length |
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///        |                            SPI                                |
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///        |                        Authenticator                          |
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.4.5, figure 15.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Security Parameter Index; 0 is a handover key made with SEND.
    pub spi: u32,
    /// 1 to 251 octets, by default the first 12 of an HMAC-SHA1. They end the Mobility Header. What
    /// goes beyond 251 is not sent.
    pub authenticator: Bytes,
}

impl Authorization {
    /// Reads what follows the length field. The section says "length of the Authenticator", which
    /// as a type-length-value would leave the SPI out; both counts are taken, which is possible
    /// because nothing may follow (AMB-03).
    pub(super) fn decode(length: u8, rest: &mut impl Buf) -> Result<Self, DecodeError> {
        let length = usize::from(length);
        let available = rest.remaining();
        if available < length {
            return Err(DecodeError::Truncated {
                what: "binding authorization option",
                needed: length,
                available,
            });
        }
        if available != length && available != length + SPI_LEN {
            return Err(DecodeError::AuthorizationNotLast(available - length));
        }
        if available <= SPI_LEN {
            return Err(DecodeError::OptionLength {
                option: "binding authorization",
                length: length as u8,
            });
        }
        Ok(Self {
            spi: rest.get_u32(),
            authenticator: rest.copy_to_bytes(available - SPI_LEN),
        })
    }

    /// Octets of the whole option.
    pub(super) fn option_len(&self) -> usize {
        2 + SPI_LEN + self.authenticator.len().min(MAX_AUTHENTICATOR)
    }

    /// Writes the option, with a length that covers the SPI too (AMB-03).
    pub(super) fn encode(&self, out: &mut impl BufMut) {
        let authenticator = &self.authenticator[..self.authenticator.len().min(MAX_AUTHENTICATOR)];
        out.put_u8(kind::BADF);
        out.put_u8((SPI_LEN + authenticator.len()) as u8);
        out.put_u32(self.spi);
        out.put_slice(authenticator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization() -> Authorization {
        Authorization {
            spi: 0x0102_0304,
            authenticator: Bytes::from_static(b"twelve octet"),
        }
    }

    // Rows: AMB-03, OPT-07
    #[test]
    fn length_covers_the_spi() {
        let mut bytes = Vec::new();
        authorization().encode(&mut bytes);
        assert_eq!(bytes[..6], [21, 16, 1, 2, 3, 4]);
        assert_eq!(bytes[6..], *b"twelve octet");
        assert_eq!(bytes.len(), authorization().option_len());
    }

    // Rows: AMB-03
    #[test]
    fn both_readings_of_the_length_are_taken() {
        let body = [&[1, 2, 3, 4][..], b"twelve octet"].concat();
        for length in [16, 12] {
            assert_eq!(
                Authorization::decode(length, &mut &body[..]),
                Ok(authorization())
            );
        }
    }

    #[test]
    fn anything_behind_it_is_refused() {
        let body = [0; 16];
        for length in (0..16).filter(|length| *length != 12) {
            assert_eq!(
                Authorization::decode(length, &mut &body[..]),
                Err(DecodeError::AuthorizationNotLast(16 - usize::from(length)))
            );
        }
        assert!(matches!(
            Authorization::decode(17, &mut &body[..]),
            Err(DecodeError::Truncated { .. })
        ));
    }

    #[test]
    fn authenticator_of_no_octets_is_refused() {
        for (length, available) in [(4, 4), (0, 4), (0, 0), (3, 3)] {
            let body = [0; 4];
            assert_eq!(
                Authorization::decode(length, &mut &body[..available]),
                Err(DecodeError::OptionLength {
                    option: "binding authorization",
                    length
                })
            );
        }
    }
}
