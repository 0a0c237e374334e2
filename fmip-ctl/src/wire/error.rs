//! Why bytes are not a signalling packet.

use std::net::Ipv6Addr;

/// A reason to refuse a packet, with the value that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The packet ends before something that it declares or must contain.
    #[error("{what} needs {needed} octets, {available} are there")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Octets it takes.
        needed: usize,
        /// Octets that are left.
        available: usize,
    },
    /// The first four bits are not 6.
    #[error("IP version {0}, expected 6")]
    Version(u8),
    /// Neither an option header that is walked over nor ICMPv6 nor the Mobility Header.
    #[error("next header {0} does not lead to a signalling message")]
    NextHeader(u8),
    /// An extension header option that forbids to go on without knowing it (RFC 8200 section 4.2).
    #[error("extension header option {0} is not understood and must not be skipped")]
    ExtensionOption(u8),
    /// Neighbor discovery from beyond the link (RFC 5568 section 6.1, RFC 4861 section 7.1.2).
    #[error("hop limit {0}, expected 255")]
    HopLimit(u8),
    /// The checksum does not match the packet.
    #[error("checksum {received:#06x}, computed {computed:#06x}")]
    Checksum {
        /// The field's value.
        received: u16,
        /// The value it should have.
        computed: u16,
    },
    /// An ICMPv6 type that is none of ours.
    #[error("ICMPv6 type {0} is not a signalling message")]
    Icmpv6Type(u8),
    /// An ICMPv6 type 154 subtype other than RtSolPr and PrRtAdv (GEN-01).
    #[error("ICMPv6 type 154 subtype {0} is not supported")]
    Subtype(u8),
    /// A code that the message does not have.
    #[error("{message} with code {code}")]
    Code {
        /// The message.
        message: &'static str,
        /// Its code.
        code: u8,
    },
    /// A Mobility Header type that is none of ours; to be answered with a Binding Error (GEN-12).
    #[error("Mobility Header type {0} is not supported")]
    MobilityType(u8),
    /// A Mobility Header with something behind it that does not belong there (GEN-12); only an FNA
    /// may be followed by a packet (LEG-03).
    #[error("Mobility Header with payload protocol {0}, expected 59")]
    PayloadProto(u8),
    /// An option whose length is not that of its type.
    #[error("{option} option with length {length}")]
    OptionLength {
        /// The option.
        option: &'static str,
        /// The length field's value.
        length: u8,
    },
    /// An option that may appear once, twice: which one is meant cannot be known.
    #[error("second {0} option")]
    DuplicateOption(&'static str),
    /// An option that the message or its neighbor cannot do without.
    #[error("{message} without {option} option")]
    MissingOption {
        /// The message.
        message: &'static str,
        /// The option that is not there.
        option: &'static str,
    },
    /// A router's option in a PrRtAdv before any access point (RFC 5568 section 6.1.2 orders them).
    #[error("{0} option before any access point")]
    MisplacedOption(&'static str),
    /// A prefix length above 128.
    #[error("prefix length {0} is above 128")]
    PrefixLength(u8),
    /// Octets behind the authorization option, which must be the last one.
    #[error("{0} octets after the binding authorization option, which must be last")]
    AuthorizationNotLast(usize),
    /// A message that only a node of the link may send, from another kind of address (RFC 4861
    /// section 6.1.2).
    #[error("{message} from {address}, which is not a link-local address")]
    NotLinkLocal {
        /// The message.
        message: &'static str,
        /// The packet's source.
        address: Ipv6Addr,
    },
    /// A link-layer address of nobody's (RFC 4861 sections 6.1.1 and 7.1.1).
    #[error("{0} from the unspecified address with a source link-layer address option")]
    NobodysLinkLayerAddress(&'static str),
    /// Duplicate address detection that is not sent to a solicited-node address (RFC 4861 section
    /// 7.1.1).
    #[error("neighbor solicitation from the unspecified address to {0}, no solicited-node address")]
    ProbeDestination(Ipv6Addr),
    /// An address that cannot be a node's.
    #[error("{field} {address} is not a unicast address")]
    NotUnicast {
        /// Where it stood.
        field: &'static str,
        /// The address.
        address: Ipv6Addr,
    },
}

/// Refuses to read `what` from fewer than `needed` octets.
pub(super) fn need(what: &'static str, needed: usize, available: usize) -> Result<(), DecodeError> {
    if available < needed {
        return Err(DecodeError::Truncated {
            what,
            needed,
            available,
        });
    }
    Ok(())
}

/// Refuses multicast and the unspecified address.
pub(super) fn unicast(field: &'static str, address: Ipv6Addr) -> Result<Ipv6Addr, DecodeError> {
    if address.is_multicast() || address.is_unspecified() {
        return Err(DecodeError::NotUnicast { field, address });
    }
    Ok(address)
}

/// Fills an option's slot; a second value is an error.
pub(super) fn once<T>(
    slot: &mut Option<T>,
    option: &'static str,
    value: T,
) -> Result<(), DecodeError> {
    if slot.replace(value).is_some() {
        return Err(DecodeError::DuplicateOption(option));
    }
    Ok(())
}
