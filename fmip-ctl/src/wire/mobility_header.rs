//! The Mobility Header around FBU, FBack, HI, HAck, FNA and Binding Error.

use bytes::{BufMut, BytesMut};

use super::{
    Leniency, Message,
    binding_error::BindingError,
    error::{DecodeError, need},
    fback::FastBindingAck,
    fbu::FastBindingUpdate,
    fna::FastNeighborAdvertisement,
    hack::HandoverAck,
    hi::HandoverInitiate,
    ipv6::next_header,
};

/// Where the checksum stands.
pub(super) const CHECKSUM_OFFSET: usize = 4;
/// Where a message's own data begins.
pub(super) const DATA_OFFSET: usize = 6;
/// The longest Mobility Header that Header Len can count.
pub(super) const MAX_LEN: usize = 8 + 8 * 255;

/// Splits the end of a packet into its Mobility Header, of the length that this declares, and what
/// follows. Where Payload Proto is 59, that counts for nothing (RFC 8200 section 4.7).
///
/// ```text
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///        | Payload Proto |  Header Len   |   MH Type     |   Reserved    |
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///        |           Checksum            |         Message Data          |
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 6275 section 6.1.1; Header Len counts 8 octets, without the first 8.
pub(super) fn split(rest: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    const WHAT: &str = "Mobility Header";
    need(WHAT, 8, rest.len())?;
    let length = 8 + 8 * usize::from(rest[1]);
    need(WHAT, length, rest.len())?;
    Ok(rest.split_at(length))
}

/// Reads a Mobility Header that was cut to its length and whose checksum is right, and what is
/// behind it.
pub(super) fn decode(
    header: &[u8],
    behind: &[u8],
    leniency: Leniency,
) -> Result<Message, DecodeError> {
    type Read = fn(&mut &[u8], Option<&[u8]>, Leniency) -> Result<Message, DecodeError>;
    let (payload_proto, kind) = (header[0], header[2]);
    // The type first: a foreign one deserves its own answer whatever follows it (GEN-12).
    let read: Read = match kind {
        BindingError::MH_TYPE => |data, _, _| BindingError::decode(data).map(Message::BindingError),
        FastBindingUpdate::MH_TYPE => {
            |data, _, _| FastBindingUpdate::decode(data).map(Message::FastBindingUpdate)
        }
        FastBindingAck::MH_TYPE => {
            |data, _, _| FastBindingAck::decode(data).map(Message::FastBindingAck)
        }
        FastNeighborAdvertisement::MH_TYPE => |data, behind, _| {
            FastNeighborAdvertisement::decode(data, behind).map(Message::FastNeighborAdvertisement)
        },
        HandoverInitiate::MH_TYPE => |data, _, leniency| {
            HandoverInitiate::decode_with(data, leniency).map(Message::HandoverInitiate)
        },
        HandoverAck::MH_TYPE => {
            |data, _, leniency| HandoverAck::decode_with(data, leniency).map(Message::HandoverAck)
        }
        other => return Err(DecodeError::MobilityType(other)),
    };
    let behind = match (kind, payload_proto) {
        (_, next_header::NONE) => None,
        (FastNeighborAdvertisement::MH_TYPE, next_header::IPV6) => Some(behind), // LEG-03
        _ => return Err(DecodeError::PayloadProto(payload_proto)),
    };
    read(&mut &header[DATA_OFFSET..], behind, leniency)
}

/// Writes a Mobility Header with a checksum of 0 around what `data` writes, which ends it on a
/// multiple of 8 octets and within [`MAX_LEN`].
pub(super) fn encode(payload_proto: u8, kind: u8, data: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut header = BytesMut::with_capacity(128);
    header.put_slice(&[payload_proto, 0, kind, 0, 0, 0]);
    data(&mut header);
    debug_assert!(header.len().is_multiple_of(8) && header.len() <= MAX_LEN);
    header[1] = (header.len() / 8 - 1) as u8;
    header
}
