//! Which ICMPv6 message is which.

use bytes::Buf;

use super::{
    Message,
    error::{DecodeError, need},
    ipv6::Headers,
    na::NeighborAdvertisement,
    ns::{NeighborSolicitation, is_solicited_node},
    parameter_problem::ParameterProblem,
    prrtadv::PrRtAdv,
    ra::RouterAdvertisement,
    rs::RouterSolicitation,
    rtsolpr::RtSolPr,
};

/// The type of RtSolPr and PrRtAdv (RFC 5568 section 6.1).
pub(super) const FMIPV6: u8 = 154;
/// RFC 4443 section 3.4.
pub(super) const PARAMETER_PROBLEM: u8 = 4;
/// RFC 4861 section 4.1.
pub(super) const ROUTER_SOLICITATION: u8 = 133;
/// RFC 4861 section 4.2.
pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
/// RFC 4861 section 4.3.
pub(super) const NEIGHBOR_SOLICITATION: u8 = 135;
/// RFC 4861 section 4.4.
pub(super) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Where the checksum stands.
pub(super) const CHECKSUM_OFFSET: usize = 2;
/// What neighbor discovery is sent with, and refused without: none of it comes from beyond the
/// link.
const HOP_LIMIT: u8 = 255;

/// Reads a message whose checksum is right.
pub(super) fn decode(headers: &Headers, mut message: &[u8]) -> Result<Message, DecodeError> {
    need("ICMPv6 message", 8, message.len())?;
    let read: fn(&mut &[u8]) -> Result<Message, DecodeError> = match (message[0], message[4]) {
        (FMIPV6, RtSolPr::SUBTYPE) => |message| RtSolPr::decode(message).map(Message::RtSolPr),
        (FMIPV6, PrRtAdv::SUBTYPE) => |message| PrRtAdv::decode(message).map(Message::PrRtAdv),
        (FMIPV6, subtype) => return Err(DecodeError::Subtype(subtype)),
        (NEIGHBOR_ADVERTISEMENT, _) => {
            |message| NeighborAdvertisement::decode(message).map(Message::NeighborAdvertisement)
        }
        (ROUTER_SOLICITATION, _) => {
            |message| RouterSolicitation::decode(message).map(Message::RouterSolicitation)
        }
        (ROUTER_ADVERTISEMENT, _) => {
            |message| RouterAdvertisement::decode(message).map(Message::RouterAdvertisement)
        }
        (NEIGHBOR_SOLICITATION, _) => {
            |message| NeighborSolicitation::decode(message).map(Message::NeighborSolicitation)
        }
        (PARAMETER_PROBLEM, _) => {
            return ParameterProblem::decode(&mut message).map(Message::ParameterProblem);
        }
        (other, _) => return Err(DecodeError::Icmpv6Type(other)),
    };
    if headers.hop_limit != HOP_LIMIT {
        return Err(DecodeError::HopLimit(headers.hop_limit));
    }
    let message = read(&mut message)?;
    check_addresses(headers, &message)?;
    Ok(message)
}

/// Checks what RFC 4861 asks of a message's addresses in sections 6.1.1, 6.1.2 and 7.1.1.
fn check_addresses(headers: &Headers, message: &Message) -> Result<(), DecodeError> {
    let (name, source_lla) = match message {
        Message::RouterAdvertisement(_) if !headers.source.is_unicast_link_local() => {
            return Err(DecodeError::NotLinkLocal {
                message: RouterAdvertisement::NAME,
                address: headers.source,
            });
        }
        _ if !headers.source.is_unspecified() => return Ok(()),
        Message::RouterSolicitation(message) => (RouterSolicitation::NAME, message.source_lla),
        Message::NeighborSolicitation(_) if !is_solicited_node(headers.destination) => {
            return Err(DecodeError::ProbeDestination(headers.destination));
        }
        Message::NeighborSolicitation(message) => (NeighborSolicitation::NAME, message.source_lla),
        _ => return Ok(()),
    };
    match source_lla {
        Some(_) => Err(DecodeError::NobodysLinkLayerAddress(name)),
        None => Ok(()),
    }
}

/// Reads type, code and checksum of a message whose code must be 0 and that is long enough.
pub(super) fn begin(name: &'static str, message: &mut impl Buf) -> Result<(), DecodeError> {
    message.advance(1);
    let code = message.get_u8();
    message.advance(2);
    if code != 0 {
        return Err(DecodeError::Code {
            message: name,
            code,
        });
    }
    Ok(())
}
