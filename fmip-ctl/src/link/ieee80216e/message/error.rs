//! Why octets are not a management message.

/// A reason to refuse octets, with the message, the field and the value that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The octets end before something that they declare or must contain.
    #[error("{message}: {field} needs {needed} bits, {available} are there")]
    Truncated {
        /// The message, or `MAC header`.
        message: &'static str,
        /// What was being read.
        field: &'static str,
        /// Bits it takes.
        needed: usize,
        /// Bits that are left.
        available: usize,
    },
    /// The header check sequence does not match the header.
    #[error("MAC header: check sequence {received:#04x}, computed {computed:#04x}")]
    HeaderCheck {
        /// The field's value.
        received: u8,
        /// The value it should have.
        computed: u8,
    },
    /// A header that the profile has no use for: a bandwidth request, an encrypted PDU, subheaders.
    #[error("MAC header: {field} is {value}, which is not of the profile")]
    Header {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u8,
    },
    /// A management message type that is none of the profile's.
    #[error("management message type {0} is not of the profile")]
    MessageType(u8),
    /// A field with a value that it cannot have, or that the profile has no use for.
    #[error("{message}: {field} is {value}, which is not of the profile")]
    Value {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// A TLV whose length is not that of its type, or not a length at all.
    #[error("{message}: {field} with length {length}")]
    TlvLength {
        /// The message.
        message: &'static str,
        /// The TLV.
        field: &'static str,
        /// Its length.
        length: usize,
    },
    /// A TLV that may appear once, twice: which one is meant cannot be known.
    #[error("{message}: second {field}")]
    Duplicate {
        /// The message.
        message: &'static str,
        /// The TLV.
        field: &'static str,
    },
    /// A TLV that the message cannot do without.
    #[error("{message} without {field}")]
    Missing {
        /// The message.
        message: &'static str,
        /// What is not there.
        field: &'static str,
    },
    /// Something behind the tuple that authenticates the message, which must be its last TLV.
    #[error("{message}: {octets} octets after the HMAC/CMAC tuple, which must be last")]
    TupleNotLast {
        /// The message.
        message: &'static str,
        /// How many.
        octets: usize,
    },
}

/// A message that does not fit into one PDU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} takes {octets} octets, a PDU holds {max}", max = super::header::MAX_LEN)]
pub struct TooLong {
    /// The message.
    pub message: &'static str,
    /// Octets that it takes, with its header.
    pub octets: usize,
}
