//! An option that is carried along without being understood.

use bytes::Bytes;

/// An option as it stood on the wire, kept so that it survives a round trip.
///
/// In a message's `unknown` list it is one that the message gives no meaning to; padding is never
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOption {
    /// The type field.
    pub kind: u8,
    /// What follows type and length. 0 to 255 octets in a Mobility Header; in neighbor discovery
    /// 6 octets, 14, 22 and so on: other lengths are filled up with zeros when sent.
    pub body: Bytes,
}

impl UnknownOption {
    /// Returns the Option-Code, the first octet of the body in all options of RFC 5568 but BADF.
    pub(super) fn code(&self) -> Option<u8> {
        self.body.first().copied()
    }
}
