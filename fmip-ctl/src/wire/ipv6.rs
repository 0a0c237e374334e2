//! The IPv6 header and the option headers between it and a signalling message.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::error::{DecodeError, need, once, unicast};

/// Next Header values.
pub(super) mod next_header {
    pub(in crate::wire) const HOP_BY_HOP: u8 = 0;
    pub(in crate::wire) const IPV6: u8 = 41;
    pub(in crate::wire) const ICMPV6: u8 = 58;
    pub(in crate::wire) const NONE: u8 = 59;
    pub(in crate::wire) const DESTINATION_OPTIONS: u8 = 60;
    pub(in crate::wire) const MOBILITY: u8 = 135;
}

/// Octets of the IPv6 header.
pub(super) const HEADER_LEN: usize = 40;
/// Octets of a Destination Options header that holds a Home Address option alone.
const HOME_ADDRESS_LEN: usize = 24;
/// The longest message that fits behind the headers written here, a multiple of 8.
pub(super) const MAX_MESSAGE: usize = 65_528 - HOME_ADDRESS_LEN;

const PAD1: u8 = 0;
const PADN: u8 = 1;
const HOME_ADDRESS: u8 = 201;

/// What the headers in front of a message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) hop_limit: u8,
    pub(super) home_address: Option<Ipv6Addr>,
    /// The protocol of the message.
    pub(super) next_header: u8,
}

impl Headers {
    /// The source address of the pseudo-header: the home address if there is one (AMB-13,
    /// RFC 6275 sections 6.1.1 and 11.3.1).
    pub(super) fn checksum_source(&self) -> Ipv6Addr {
        self.home_address.unwrap_or(self.source)
    }

    /// Splits a packet into what its headers say and the message behind them. What follows the
    /// declared payload, as a link layer's padding does, is dropped.
    ///
    /// ```text
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ///    |Version| Traffic Class |           Flow Label                  |
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ///    |         Payload Length        |  Next Header  |   Hop Limit   |
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ///    |                  Source Address (16 octets)                   |
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ///    |               Destination Address (16 octets)                 |
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    /// ```
    /// RFC 8200 section 3.
    pub(super) fn decode(mut packet: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        need("IPv6 header", HEADER_LEN, packet.len())?;
        let version = (packet.get_u32() >> 28) as u8;
        if version != 6 {
            return Err(DecodeError::Version(version));
        }
        let payload_length = usize::from(packet.get_u16());
        let mut headers = Self {
            next_header: packet.get_u8(),
            hop_limit: packet.get_u8(),
            source: packet.get_u128().into(),
            destination: packet.get_u128().into(),
            home_address: None,
        };
        need("IPv6 payload", payload_length, packet.len())?;
        let mut rest = &packet[..payload_length];

        // Hop-by-Hop Options only come first (RFC 8200 section 4.1).
        if headers.next_header == next_header::HOP_BY_HOP {
            headers.option_header(&mut rest)?;
        }
        while headers.next_header == next_header::DESTINATION_OPTIONS {
            headers.option_header(&mut rest)?;
        }
        Ok((headers, rest))
    }

    /// Walks over one option header and takes the home address from it.
    ///
    /// ```text
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ///    |  Next Header  |  Hdr Ext Len  |   Options: type, length, data; Pad1 is one octet
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    /// ```
    /// RFC 8200 section 4.6; Hdr Ext Len counts 8 octets, without the first 8.
    fn option_header(&mut self, rest: &mut &[u8]) -> Result<(), DecodeError> {
        need("extension header", 8, rest.len())?;
        let length = 8 + 8 * usize::from(rest[1]);
        need("extension header", length, rest.len())?;
        let (header, behind) = rest.split_at(length);
        *rest = behind;
        let is_destination = self.next_header == next_header::DESTINATION_OPTIONS;
        self.next_header = header[0];

        let mut options = &header[2..];
        while options.has_remaining() {
            let kind = options.get_u8();
            if kind == PAD1 {
                continue;
            }
            need("extension header option", 1, options.len())?;
            let length = options.get_u8();
            need(
                "extension header option",
                usize::from(length),
                options.len(),
            )?;
            let (mut body, behind) = options.split_at(usize::from(length));
            options = behind;
            match kind {
                PADN => {}
                // RFC 6275 section 6.3: once, 16 octets, unicast.
                HOME_ADDRESS if is_destination => {
                    const OPTION: &str = "home address";
                    if length != 16 {
                        return Err(DecodeError::OptionLength {
                            option: OPTION,
                            length,
                        });
                    }
                    let address = unicast(OPTION, body.get_u128().into())?;
                    once(&mut self.home_address, OPTION, address)?;
                }
                // The two highest bits of an unknown option: 00 is skipped, all else discards.
                unknown if unknown >> 6 == 0 => {}
                unknown => return Err(DecodeError::ExtensionOption(unknown)),
            }
        }
        Ok(())
    }

    /// Writes the headers in front of a message of at most [`MAX_MESSAGE`] octets.
    ///
    /// The Home Address option begins at 8n+6 of its header, so four octets of padding precede it
    /// (RFC 6275 section 6.3):
    ///
    /// ```text
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ///    |  Next Header  | Hdr Ext Len 2 |    PadN  1    |       2       |
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ///    |               0               |   Type 201    |   Length 16   |
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ///    |                   Home Address (16 octets)                    |
    ///    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    /// ```
    pub(super) fn encode(&self, message_len: usize, out: &mut impl BufMut) {
        let (first, options_len) = match self.home_address {
            Some(_) => (next_header::DESTINATION_OPTIONS, HOME_ADDRESS_LEN),
            None => (self.next_header, 0),
        };
        let payload_length = u16::try_from(options_len + message_len)
            .expect("messages are never written longer than MAX_MESSAGE");
        out.put_u32(6 << 28);
        out.put_u16(payload_length);
        out.put_u8(first);
        out.put_u8(self.hop_limit);
        out.put_u128(self.source.to_bits());
        out.put_u128(self.destination.to_bits());
        if let Some(home_address) = self.home_address {
            out.put_slice(&[self.next_header, 2, PADN, 2, 0, 0, HOME_ADDRESS, 16]);
            out.put_u128(home_address.to_bits());
        }
    }
}

/// Cuts one whole IPv6 packet to the length that its header declares; what its headers and its
/// payload are is not looked at.
pub(super) fn cut(packet: &[u8]) -> Result<&[u8], DecodeError> {
    const WHAT: &str = "encapsulated packet";
    need(WHAT, HEADER_LEN, packet.len())?;
    let version = packet[0] >> 4;
    if version != 6 {
        return Err(DecodeError::Version(version));
    }
    let length = HEADER_LEN + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    need(WHAT, length, packet.len())?;
    Ok(&packet[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    const DESTINATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
    const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 9);

    /// A packet of these extension headers and nothing else, the last one's Next Header 59.
    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, rest.len() as u8, first, 64];
        packet.extend(SOURCE.octets());
        packet.extend(DESTINATION.octets());
        packet.extend(rest);
        packet
    }

    fn home_address_option() -> Vec<u8> {
        [&[201, 16][..], &HOME.octets()].concat()
    }

    // Rows: FBU-04
    #[test]
    fn home_address_begins_at_8n_plus_6_and_fills_its_header() {
        let headers = Headers {
            source: SOURCE,
            destination: DESTINATION,
            hop_limit: 64,
            home_address: Some(HOME),
            next_header: 135,
        };
        let mut bytes = Vec::new();
        headers.encode(16, &mut bytes);
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[4..8], [0, 40, 60, 64]);
        assert_eq!(bytes[40..48], [135, 2, 1, 2, 0, 0, 201, 16]);
        assert_eq!(bytes[48..64], HOME.octets());
        bytes.extend([7; 16]);
        assert_eq!(Headers::decode(&bytes), Ok((headers, &[7; 16][..])));
    }

    #[test]
    fn traffic_class_and_flow_label_are_no_obstacle() {
        let mut bytes = packet(59, &[]);
        bytes[..4].copy_from_slice(&[0x6b, 0x81, 0x23, 0x45]);
        assert!(Headers::decode(&bytes).is_ok());
        bytes[0] = 0x4b;
        assert_eq!(Headers::decode(&bytes), Err(DecodeError::Version(4)));
    }

    #[test]
    fn router_alert_and_padding_are_walked_over() {
        // Hop-by-Hop with a Router Alert (RFC 2711) and a PadN, then Destination Options with
        // seven Pad1 and another option to skip.
        let bytes = packet(0, &[60, 0, 5, 2, 0, 0, 1, 0, 59, 0, 0, 0, 0, 0x3e, 1, 7]);
        let (headers, rest) = Headers::decode(&bytes).unwrap();
        assert_eq!((headers.next_header, rest.len()), (59, 0));
    }

    #[test]
    fn option_that_must_not_be_skipped_is_refused() {
        for kind in [0x40, 0x80, 0xc2] {
            let bytes = packet(60, &[59, 0, kind, 1, 0, 0, 0, 0]);
            assert_eq!(
                Headers::decode(&bytes),
                Err(DecodeError::ExtensionOption(kind))
            );
        }
    }

    #[test]
    fn home_address_belongs_into_destination_options_once() {
        let header = |options: &[u8], next: u8| {
            let mut header = vec![next, 0];
            header.extend(options);
            header.resize(header.len().next_multiple_of(8), PAD1);
            header[1] = (header.len() / 8 - 1) as u8;
            header
        };
        let option = home_address_option();
        let once = packet(60, &header(&option, 59));
        assert_eq!(Headers::decode(&once).unwrap().0.home_address, Some(HOME));
        let hop_by_hop = packet(0, &header(&option, 59));
        assert_eq!(
            Headers::decode(&hop_by_hop),
            Err(DecodeError::ExtensionOption(201))
        );
        let duplicate = Err(DecodeError::DuplicateOption("home address"));
        let twice = packet(60, &header(&[&option[..], &option].concat(), 59));
        assert_eq!(Headers::decode(&twice), duplicate);
        let two_headers = packet(60, &[header(&option, 60), header(&option, 59)].concat());
        assert_eq!(Headers::decode(&two_headers), duplicate);
    }

    #[test]
    fn home_address_of_wrong_length_or_kind_is_refused() {
        let bytes = packet(60, &[59, 0, 201, 4, 1, 2, 3, 4]);
        assert!(matches!(
            Headers::decode(&bytes),
            Err(DecodeError::OptionLength { length: 4, .. })
        ));
        let mut multicast = vec![59, 2, 1, 2, 0, 0, 201, 16];
        multicast.extend([0xff; 16]);
        assert!(matches!(
            Headers::decode(&packet(60, &multicast)),
            Err(DecodeError::NotUnicast { .. })
        ));
    }

    #[test]
    fn extension_header_longer_than_the_packet_is_refused() {
        for rest in [
            &[59][..],
            &[59, 1, 0, 0, 0, 0, 0, 0],
            &[59, 0, 0, 0, 0, 0, 0, 5],
            &[59, 0, 5, 5, 0, 0, 0, 0],
        ] {
            assert!(
                matches!(
                    Headers::decode(&packet(60, rest)),
                    Err(DecodeError::Truncated { .. })
                ),
                "{rest:?}"
            );
        }
    }

    #[test]
    fn padding_of_the_link_is_dropped() {
        let mut bytes = packet(59, &[1, 2, 3]);
        bytes.extend([0; 6]);
        assert_eq!(Headers::decode(&bytes).unwrap().1, [1, 2, 3]);
    }
}
