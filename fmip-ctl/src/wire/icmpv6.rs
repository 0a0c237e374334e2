//! Which ICMPv6 message is which.

use super::{
    Message,
    error::{DecodeError, need},
    na::NeighborAdvertisement,
    prrtadv::PrRtAdv,
    rtsolpr::RtSolPr,
};

/// The type of RtSolPr and PrRtAdv (RFC 5568 section 6.1).
pub(super) const FMIPV6: u8 = 154;
/// RFC 4861 section 4.4.
pub(super) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Where the checksum stands.
pub(super) const CHECKSUM_OFFSET: usize = 2;
/// What all of these messages are sent with, and refused without: none comes from beyond the link.
const HOP_LIMIT: u8 = 255;

/// Reads a message whose checksum is right.
pub(super) fn decode(hop_limit: u8, mut message: &[u8]) -> Result<Message, DecodeError> {
    need("ICMPv6 message", 8, message.len())?;
    let read: fn(&mut &[u8]) -> Result<Message, DecodeError> = match (message[0], message[4]) {
        (FMIPV6, RtSolPr::SUBTYPE) => |message| RtSolPr::decode(message).map(Message::RtSolPr),
        (FMIPV6, PrRtAdv::SUBTYPE) => |message| PrRtAdv::decode(message).map(Message::PrRtAdv),
        (FMIPV6, subtype) => return Err(DecodeError::Subtype(subtype)),
        (NEIGHBOR_ADVERTISEMENT, _) => {
            |message| NeighborAdvertisement::decode(message).map(Message::NeighborAdvertisement)
        }
        (other, _) => return Err(DecodeError::Icmpv6Type(other)),
    };
    if hop_limit != HOP_LIMIT {
        return Err(DecodeError::HopLimit(hop_limit));
    }
    read(&mut message)
}
