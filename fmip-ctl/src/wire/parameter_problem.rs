//! ICMPv6 Parameter Problem: a node stumbled over a field of a packet that it was sent.

use bytes::{Buf, BufMut, Bytes};

use super::{
    error::{DecodeError, need},
    icmpv6,
    ipv6::MAX_MESSAGE,
};

const FIXED_LEN: usize = 8;

/// A Parameter Problem.
///
/// ```text
///       0                   1                   2                   3
///       0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |     Type 4    |      Code     |          Checksum             |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                            Pointer                            |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                    As much of invoking packet                 |
///      +               as possible without the ICMPv6 packet           +
///      |               exceeding the minimum IPv6 MTU                  |
/// ```
/// RFC 4443 section 3.4. It comes from anywhere: the hop limit of 255 is not asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterProblem {
    /// 0 erroneous field, 1 unrecognized Next Header, 2 unrecognized option.
    pub code: u8,
    /// The octet of the invoking packet at which it was found.
    pub pointer: u32,
    /// The packet that is answered, as much of it as came along. Whoever composes a message keeps
    /// it within the 1232 octets that the minimum MTU leaves; it is cut only where no packet could
    /// hold it.
    pub invoking: Bytes,
}

impl ParameterProblem {
    /// Reads the message from its ICMPv6 type on. The checksum was checked before.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode(message: &mut impl Buf) -> Result<Self, DecodeError> {
        need("parameter problem", FIXED_LEN, message.remaining())?;
        message.advance(1);
        let code = message.get_u8();
        message.advance(2);
        let pointer = message.get_u32();
        let invoking = message.copy_to_bytes(message.remaining());
        Ok(Self {
            code,
            pointer,
            invoking,
        })
    }

    /// Writes the message from its ICMPv6 type on, with a checksum of 0.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&[icmpv6::PARAMETER_PROBLEM, self.code, 0, 0]);
        out.put_u32(self.pointer);
        out.put_slice(&self.invoking[..self.invoking.len().min(MAX_MESSAGE - FIXED_LEN)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_figure_has_them() {
        let bytes = [4, 2, 0, 0, 0, 1, 2, 46, 0x60, 1, 2];
        let message = ParameterProblem::decode(&mut &bytes[..]).unwrap();
        assert_eq!((message.code, message.pointer), (2, 0x0001_022e));
        assert_eq!(message.invoking[..], [0x60, 1, 2]);
        let mut written = Vec::new();
        message.encode(&mut written);
        assert_eq!(written, bytes);
    }

    #[test]
    fn invoking_packet_that_no_packet_can_hold_is_cut() {
        let message = ParameterProblem {
            code: 0,
            pointer: 0,
            invoking: Bytes::from(vec![7; 70_000]),
        };
        let mut written = Vec::new();
        message.encode(&mut written);
        assert_eq!(written.len(), MAX_MESSAGE);
    }
}
