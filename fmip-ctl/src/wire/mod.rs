//! Signalling packets as bytes: pure functions that know nothing of sockets or clocks.
//!
//! [`Packet::decode`] and [`Packet::encode`] take and give whole IPv6 packets; everything a packet
//! can be is in [`Message`]. Lengths, checksums and padding are computed when a packet is written
//! and checked when it is read, never stored. Options that a message gives no meaning to and code
//! values without a name survive a round trip. Where an RFC says "ignored on receipt", so it is;
//! what contradicts an RFC, or itself, is a [`DecodeError`] that carries the value refused.

use std::net::Ipv6Addr;

use bytes::{BufMut, Bytes, BytesMut};

mod badf;
mod binding_error;
mod checksum;
pub(crate) mod code;
mod error;
mod fback;
mod fbu;
mod fna;
mod hack;
mod hi;
mod icmpv6;
mod ipv6;
mod leniency;
mod mac;
mod mh_option;
mod mobility_header;
mod na;
mod naack;
mod nd_option;
mod ns;
mod option;
mod parameter_problem;
mod prefix;
#[cfg(test)]
mod properties;
mod prrtadv;
mod ra;
mod rs;
mod rtsolpr;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use badf::Authorization;
pub use binding_error::BindingError;
pub use checksum::checksum;
pub use error::DecodeError;
pub use fback::{FastBindingAck, FastBindingStatus};
pub use fbu::FastBindingUpdate;
pub use fna::FastNeighborAdvertisement;
pub use hack::{HackCode, HandoverAck};
pub use hi::{HandoverInitiate, HiCode};
pub use leniency::Leniency;
pub use mac::{MacAddr, ParseMacError};
pub use na::NeighborAdvertisement;
pub use naack::{Naack, NaackStatus};
pub use ns::{NeighborSolicitation, solicited_node};
pub use option::UnknownOption;
pub use parameter_problem::ParameterProblem;
pub use prefix::{Prefix, PrefixError};
pub use prrtadv::{ApOutcome, ApTuple, PrRtAdv, PrRtAdvCode, RouterInfo};
pub use ra::{PrefixInformation, RouterAdvertisement};
pub use rs::RouterSolicitation;
pub use rtsolpr::RtSolPr;

use ipv6::{Headers, next_header};

/// One signalling packet, from the IPv6 header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The IPv6 source address.
    pub source: Ipv6Addr,
    /// The IPv6 destination address.
    pub destination: Ipv6Addr,
    /// 255 in all neighbor discovery; with another value it is not accepted.
    pub hop_limit: u8,
    /// The address in a Home Address destination option (RFC 6275 section 6.3). If there is one,
    /// it takes the source's place in the checksum (AMB-13).
    pub home_address: Option<Ipv6Addr>,
    /// What the packet says.
    pub message: Message,
}

/// A message of RFC 5568, one of those that it builds on, or one that tells of trouble with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Section 6.1.1.
    RtSolPr(RtSolPr),
    /// Section 6.1.2.
    PrRtAdv(PrRtAdv),
    /// Section 6.3: a UNA is one without a flag and with a target link-layer address.
    NeighborAdvertisement(NeighborAdvertisement),
    /// Section 6.2.2.
    FastBindingUpdate(FastBindingUpdate),
    /// Section 6.2.3.
    FastBindingAck(FastBindingAck),
    /// Section 6.2.1.1.
    HandoverInitiate(HandoverInitiate),
    /// Section 6.2.1.2.
    HandoverAck(HandoverAck),
    /// RFC 4068 section 6.3.3.
    FastNeighborAdvertisement(FastNeighborAdvertisement),
    /// RFC 4861 section 4.1.
    RouterSolicitation(RouterSolicitation),
    /// RFC 4861 section 4.2, with the NAACK of RFC 5568 section 6.4.6.
    RouterAdvertisement(RouterAdvertisement),
    /// RFC 4861 section 4.3.
    NeighborSolicitation(NeighborSolicitation),
    /// RFC 6275 section 6.1.9.
    BindingError(BindingError),
    /// RFC 4443 section 3.4.
    ParameterProblem(ParameterProblem),
}

/// A message as it is written, with a checksum of 0.
struct Written {
    /// Its Next Header value.
    protocol: u8,
    /// Where the checksum stands.
    checksum_offset: usize,
    /// What the checksum covers.
    message: BytesMut,
    /// What follows it (AMB-14).
    behind: Bytes,
}

impl Packet {
    /// Reads an IPv6 packet by the letter.
    ///
    /// # Errors
    /// As [`Packet::decode_with`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_with(bytes, Leniency::default())
    }

    /// Reads an IPv6 packet. Hop-by-Hop and Destination Options headers are walked over.
    ///
    /// # Errors
    /// It is not one of ours, or it is malformed: version, lengths, checksum, hop limit or
    /// addresses of neighbor discovery, Payload Proto, or something inside the message.
    pub fn decode_with(bytes: &[u8], leniency: Leniency) -> Result<Self, DecodeError> {
        let (headers, rest) = Headers::decode(bytes)?;
        let message = match headers.next_header {
            next_header::ICMPV6 => {
                verify(&headers, rest, icmpv6::CHECKSUM_OFFSET)?;
                icmpv6::decode(&headers, rest)?
            }
            next_header::MOBILITY => {
                let (header, behind) = mobility_header::split(rest)?;
                verify(&headers, header, mobility_header::CHECKSUM_OFFSET)?;
                mobility_header::decode(header, behind, leniency)?
            }
            other => return Err(DecodeError::NextHeader(other)),
        };
        Ok(Self {
            source: headers.source,
            destination: headers.destination,
            hop_limit: headers.hop_limit,
            home_address: headers.home_address,
            message,
        })
    }

    /// Writes the whole IPv6 packet.
    pub fn encode(&self) -> Bytes {
        let Written {
            protocol,
            checksum_offset,
            mut message,
            behind,
        } = self.message.encode();
        let headers = Headers {
            source: self.source,
            destination: self.destination,
            hop_limit: self.hop_limit,
            home_address: self.home_address,
            next_header: protocol,
        };
        let value = checksum(
            headers.checksum_source(),
            headers.destination,
            protocol,
            &message,
        );
        message[checksum_offset..checksum_offset + 2].copy_from_slice(&value.to_be_bytes());

        let len = message.len() + behind.len();
        let mut packet = BytesMut::with_capacity(ipv6::HEADER_LEN + 24 + len);
        headers.encode(len, &mut packet);
        packet.put_slice(&message);
        packet.put_slice(&behind);
        packet.freeze()
    }
}

impl Message {
    /// Returns the message's usual short name, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RtSolPr(_) => "RtSolPr",
            Self::PrRtAdv(_) => "PrRtAdv",
            Self::NeighborAdvertisement(_) => "NA",
            Self::FastBindingUpdate(_) => "FBU",
            Self::FastBindingAck(_) => "FBack",
            Self::HandoverInitiate(_) => "HI",
            Self::HandoverAck(_) => "HAck",
            Self::FastNeighborAdvertisement(_) => "FNA",
            Self::RouterSolicitation(_) => "RS",
            Self::RouterAdvertisement(_) => "RA",
            Self::NeighborSolicitation(_) => "NS",
            Self::BindingError(_) => "BindingError",
            Self::ParameterProblem(_) => "ParameterProblem",
        }
    }

    fn encode(&self) -> Written {
        let icmpv6 = |write: &dyn Fn(&mut BytesMut)| {
            let mut message = BytesMut::with_capacity(128);
            write(&mut message);
            Written {
                protocol: next_header::ICMPV6,
                checksum_offset: icmpv6::CHECKSUM_OFFSET,
                message,
                behind: Bytes::new(),
            }
        };
        let mobility_before = |behind: Option<&Bytes>, kind, write: &dyn Fn(&mut BytesMut)| {
            let payload_proto = behind.map_or(next_header::NONE, |_| next_header::IPV6);
            Written {
                protocol: next_header::MOBILITY,
                checksum_offset: mobility_header::CHECKSUM_OFFSET,
                message: mobility_header::encode(payload_proto, kind, write),
                behind: behind.cloned().unwrap_or_default(),
            }
        };
        let mobility = |kind, write: &dyn Fn(&mut BytesMut)| mobility_before(None, kind, write);
        match self {
            Self::RtSolPr(message) => icmpv6(&|out| message.encode(out)),
            Self::PrRtAdv(message) => icmpv6(&|out| message.encode(out)),
            Self::NeighborAdvertisement(message) => icmpv6(&|out| message.encode(out)),
            Self::FastBindingUpdate(message) => {
                mobility(FastBindingUpdate::MH_TYPE, &|out| message.encode(out))
            }
            Self::FastBindingAck(message) => {
                mobility(FastBindingAck::MH_TYPE, &|out| message.encode(out))
            }
            Self::HandoverInitiate(message) => {
                mobility(HandoverInitiate::MH_TYPE, &|out| message.encode(out))
            }
            Self::HandoverAck(message) => {
                mobility(HandoverAck::MH_TYPE, &|out| message.encode(out))
            }
            Self::FastNeighborAdvertisement(message) => mobility_before(
                message.payload(),
                FastNeighborAdvertisement::MH_TYPE,
                &|out| message.encode(out),
            ),
            Self::RouterSolicitation(message) => icmpv6(&|out| message.encode(out)),
            Self::RouterAdvertisement(message) => icmpv6(&|out| message.encode(out)),
            Self::NeighborSolicitation(message) => icmpv6(&|out| message.encode(out)),
            Self::BindingError(message) => {
                mobility(BindingError::MH_TYPE, &|out| message.encode(out))
            }
            Self::ParameterProblem(message) => icmpv6(&|out| message.encode(out)),
        }
    }
}

/// Checks the checksum of a message that has its checksum field at `offset`.
fn verify(headers: &Headers, message: &[u8], offset: usize) -> Result<(), DecodeError> {
    error::need("upper-layer checksum", offset + 2, message.len())?;
    let sum = |message: &[u8]| {
        checksum(
            headers.checksum_source(),
            headers.destination,
            headers.next_header,
            message,
        )
    };
    if sum(message) == 0 {
        return Ok(());
    }
    let mut zeroed = message.to_vec();
    zeroed[offset..offset + 2].fill(0);
    Err(DecodeError::Checksum {
        received: u16::from_be_bytes([message[offset], message[offset + 1]]),
        computed: sum(&zeroed),
    })
}

/// The addresses of a packet, whatever it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The IPv6 source address.
    pub source: Ipv6Addr,
    /// The IPv6 destination address.
    pub destination: Ipv6Addr,
    /// The address in a Home Address destination option.
    pub home_address: Option<Ipv6Addr>,
}

/// Returns the addresses of an IPv6 packet whose headers can be read; for the answer to a message
/// that cannot.
pub fn addresses(packet: &[u8]) -> Option<Addresses> {
    let (headers, _) = Headers::decode(packet).ok()?;
    Some(Addresses {
        source: headers.source,
        destination: headers.destination,
        home_address: headers.home_address,
    })
}

/// Returns the Mobility Header inside an IPv6 packet as it stood on the wire, which is what a BADF
/// option authenticates; none if there is none. Its checksum is not looked at.
pub fn mobility_header(packet: &[u8]) -> Option<&[u8]> {
    let (headers, rest) = Headers::decode(packet).ok()?;
    if headers.next_header != next_header::MOBILITY {
        return None;
    }
    let (header, _) = mobility_header::split(rest).ok()?;
    Some(header)
}
