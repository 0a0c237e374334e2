//! Neighbor Solicitation (NS), and the one that probes whether an address is taken.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    error::{DecodeError, need, unicast},
    icmpv6,
    mac::MacAddr,
    nd_option::{self, Writer},
    option::UnknownOption,
    prefix::Prefix,
};

const FIXED_LEN: usize = 24;
/// ff02:0:0:0:0:1:ff00::/104 (RFC 4291 section 2.7.1).
const SOLICITED_NODE: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);
const SOLICITED_NODE_LENGTH: u8 = 104;

/// Returns the multicast address at which the owner of `address` is asked for: the last 24 bits of
/// it behind ff02::1:ff00:0 (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(SOLICITED_NODE.to_bits() | address.to_bits() & 0x00ff_ffff)
}

/// Tells whether an address is one of those that [`solicited_node`] returns.
pub(super) fn is_solicited_node(address: Ipv6Addr) -> bool {
    Prefix::new(SOLICITED_NODE, SOLICITED_NODE_LENGTH).is_ok_and(|prefix| prefix.contains(address))
}

/// A Neighbor Solicitation.
///
/// ```text
///       0                   1                   2                   3
///       0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |    Type 135   |     Code 0    |          Checksum             |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                           Reserved                            |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                 Target Address (16 octets)                    |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |   Options ...
///      +-+-+-+-+-+-+-+-+-+-+-+-
/// ```
/// RFC 4861 section 4.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborSolicitation {
    /// The address whose owner is asked for.
    pub target: Ipv6Addr,
    /// The sender's link-layer address; never there if the packet's source is unspecified.
    pub source_lla: Option<MacAddr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
}

impl NeighborSolicitation {
    pub(super) const NAME: &str = "neighbor solicitation";

    /// Makes the probe of Duplicate Address Detection (RFC 4862 section 5.4.2). It is sent from the
    /// unspecified address to [`solicited_node`] of `target`.
    pub fn probe(target: Ipv6Addr) -> Self {
        Self {
            target,
            source_lla: None,
            unknown: Vec::new(),
        }
    }

    /// Reads the message from its ICMPv6 type on. The checksum was checked before.
    ///
    /// # Errors
    /// It is too short, its code is not 0, the target is no unicast address (RFC 4861 section
    /// 7.1.1), or an option is malformed or there twice.
    pub fn decode(message: &mut impl Buf) -> Result<Self, DecodeError> {
        need(Self::NAME, FIXED_LEN, message.remaining())?;
        icmpv6::begin(Self::NAME, message)?;
        message.advance(4);
        let target = unicast("target address", message.get_u128().into())?;

        let (source_lla, unknown) = nd_option::source_lla_and_others(message)?;
        Ok(Self {
            target,
            source_lla,
            unknown,
        })
    }

    /// Writes the message from its ICMPv6 type on, with a checksum of 0.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&[icmpv6::NEIGHBOR_SOLICITATION, 0, 0, 0]);
        out.put_u32(0);
        out.put_u128(self.target.to_bits());
        let mut options = Writer::new(out, FIXED_LEN);
        if let Some(address) = self.source_lla {
            options.source_lla(address);
        }
        options.unknown(&self.unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0x12, 0x3456);
    const LLA: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 7];

    fn decode(
        code: u8,
        target: Ipv6Addr,
        options: &[u8],
    ) -> Result<NeighborSolicitation, DecodeError> {
        let fixed = [135, code, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let bytes = [&fixed, &target.octets()[..], options].concat();
        NeighborSolicitation::decode(&mut &bytes[..])
    }

    #[test]
    fn solicited_node_address_keeps_24_bits() {
        let group = solicited_node(TARGET);
        assert_eq!(group.to_string(), "ff02::1:ff12:3456");
        assert!(is_solicited_node(group));
        for other in ["ff02::1", "ff02::1:fe12:3456", "ff05::1:ff12:3456"] {
            assert!(!is_solicited_node(other.parse().unwrap()), "{other}");
        }
    }

    // Rows: GEN-11
    #[test]
    fn reserved_octets_are_ignored_and_written_as_zeros() {
        let message = decode(0, TARGET, &LLA).unwrap();
        assert_eq!(message.source_lla, Some(MacAddr([2, 0, 0, 0, 0, 7])));
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(bytes[..8], [135, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[8..24], TARGET.octets());
        assert_eq!(bytes[24..], LLA);
    }

    #[test]
    fn second_source_address_is_refused() {
        assert_eq!(
            decode(0, TARGET, &[LLA, LLA].concat()),
            Err(DecodeError::DuplicateOption("source link-layer address"))
        );
    }

    #[test]
    fn target_that_is_no_node_is_refused() {
        for target in ["ff02::1", "::"] {
            let address: Ipv6Addr = target.parse().unwrap();
            assert_eq!(
                decode(0, address, &[]),
                Err(DecodeError::NotUnicast {
                    field: "target address",
                    address
                })
            );
        }
    }

    #[test]
    fn code_other_than_0_is_refused() {
        assert!(matches!(
            decode(2, TARGET, &[]),
            Err(DecodeError::Code { code: 2, .. })
        ));
    }
}
