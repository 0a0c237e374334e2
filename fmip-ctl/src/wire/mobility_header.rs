//! The Mobility Header around FBU, FBack, HI and HAck.

use bytes::{BufMut, BytesMut};

use super::{
    Message,
    error::{DecodeError, need},
    fback::FastBindingAck,
    fbu::FastBindingUpdate,
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

/// Cuts the Mobility Header from the end of a packet, to the length that it declares. Behind it,
/// where Payload Proto is 59, nothing counts (RFC 8200 section 4.7).
///
/// ```text
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///        | Payload Proto |  Header Len   |   MH Type     |   Reserved    |
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///        |           Checksum            |         Message Data          |
///        +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 6275 section 6.1.1; Header Len counts 8 octets, without the first 8.
pub(super) fn cut(rest: &[u8]) -> Result<&[u8], DecodeError> {
    const WHAT: &str = "Mobility Header";
    need(WHAT, 8, rest.len())?;
    let length = 8 + 8 * usize::from(rest[1]);
    need(WHAT, length, rest.len())?;
    Ok(&rest[..length])
}

/// Reads a Mobility Header that was cut to its length and whose checksum is right.
pub(super) fn decode(header: &[u8]) -> Result<Message, DecodeError> {
    let (payload_proto, kind) = (header[0], header[2]);
    let data = &mut &header[DATA_OFFSET..];
    // The type first: a foreign one deserves its own answer whatever follows it (GEN-12).
    let read: fn(&mut &[u8]) -> Result<Message, DecodeError> = match kind {
        FastBindingUpdate::MH_TYPE => {
            |data| FastBindingUpdate::decode(data).map(Message::FastBindingUpdate)
        }
        FastBindingAck::MH_TYPE => |data| FastBindingAck::decode(data).map(Message::FastBindingAck),
        HandoverInitiate::MH_TYPE => {
            |data| HandoverInitiate::decode(data).map(Message::HandoverInitiate)
        }
        HandoverAck::MH_TYPE => |data| HandoverAck::decode(data).map(Message::HandoverAck),
        other => return Err(DecodeError::MobilityType(other)),
    };
    if payload_proto != next_header::NONE {
        return Err(DecodeError::PayloadProto(payload_proto));
    }
    read(data)
}

/// Writes a Mobility Header with a checksum of 0 around what `data` writes, which ends it on a
/// multiple of 8 octets and within [`MAX_LEN`].
pub(super) fn encode(kind: u8, data: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut header = BytesMut::with_capacity(128);
    header.put_slice(&[next_header::NONE, 0, kind, 0, 0, 0]);
    data(&mut header);
    debug_assert!(header.len().is_multiple_of(8) && header.len() <= MAX_LEN);
    header[1] = (header.len() / 8 - 1) as u8;
    header
}
