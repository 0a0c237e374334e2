//! Neighbor Advertisement (NA), and the unsolicited one with which an MN arrives (UNA).

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    error::{DecodeError, need, once, unicast},
    icmpv6,
    mac::MacAddr,
    nd_option::{self, Writer, kind},
    option::UnknownOption,
};

const FIXED_LEN: usize = 24;
const ROUTER: u32 = 1 << 31;
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;

/// A Neighbor Advertisement.
///
/// ```text
///       0                   1                   2                   3
///       0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |    Type 136   |     Code 0    |          Checksum             |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |R|S|O|                     Reserved                            |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                 Target Address (16 octets)                    |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |   Options ...
///      +-+-+-+-+-+-+-+-+-+-+-+-
/// ```
/// RFC 4861 section 4.4; RFC 5568 section 6.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// R: the sender is a router.
    pub router: bool,
    /// S: somebody asked.
    pub solicited: bool,
    /// O: it may replace what is known.
    pub override_: bool,
    /// The address that is announced.
    pub target: Ipv6Addr,
    /// Its link-layer address.
    pub target_lla: Option<MacAddr>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
}

impl NeighborAdvertisement {
    /// Makes the advertisement with which an MN arrives: no flag, its NCoA as the target, its
    /// link-layer address (UNA-02).
    pub fn unsolicited(ncoa: Ipv6Addr, lla: MacAddr) -> Self {
        Self {
            router: false,
            solicited: false,
            override_: false,
            target: ncoa,
            target_lla: Some(lla),
            unknown: Vec::new(),
        }
    }

    /// Reads the message from its ICMPv6 type on. The checksum was checked before.
    ///
    /// # Errors
    /// It is too short, its code is not 0, the target is no unicast address (RFC 4861 section
    /// 7.1.2), or an option is malformed or there twice.
    pub fn decode(message: &mut impl Buf) -> Result<Self, DecodeError> {
        const NAME: &str = "neighbor advertisement";
        need(NAME, FIXED_LEN, message.remaining())?;
        icmpv6::begin(NAME, message)?;
        let flags = message.get_u32();
        let target = unicast("target address", message.get_u128().into())?;

        let mut target_lla = None;
        let mut unknown = Vec::new();
        while let Some(option) = nd_option::next(message)? {
            match option.kind {
                kind::TARGET_LLA => {
                    let address = nd_option::target_lla(&option)?;
                    once(&mut target_lla, "target link-layer address", address)?;
                }
                _ => unknown.push(option),
            }
        }
        Ok(Self {
            router: flags & ROUTER != 0,
            solicited: flags & SOLICITED != 0,
            override_: flags & OVERRIDE != 0,
            target,
            target_lla,
            unknown,
        })
    }

    /// Writes the message from its ICMPv6 type on, with a checksum of 0.
    pub fn encode(&self, out: &mut impl BufMut) {
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        out.put_slice(&[icmpv6::NEIGHBOR_ADVERTISEMENT, 0, 0, 0]);
        out.put_u32(
            flag(self.router, ROUTER)
                | flag(self.solicited, SOLICITED)
                | flag(self.override_, OVERRIDE),
        );
        out.put_u128(self.target.to_bits());
        let mut options = Writer::new(out, FIXED_LEN);
        if let Some(address) = self.target_lla {
            options.target_lla(address);
        }
        options.unknown(&self.unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x11);

    /// A message with this first octet of flags and these options.
    fn decode(flags: [u8; 4], options: &[u8]) -> Result<NeighborAdvertisement, DecodeError> {
        let bytes = [&[136, 0, 0, 0][..], &flags, &TARGET.octets(), options].concat();
        NeighborAdvertisement::decode(&mut &bytes[..])
    }

    // Rows: GEN-11
    #[test]
    fn every_flag_has_its_own_bit_and_the_rest_is_ignored() {
        for octet in 0..=255u8 {
            let message = decode([octet, 0xff, 0xff, 0xff], &[]).unwrap();
            assert_eq!(message.router, octet & 0x80 != 0);
            assert_eq!(message.solicited, octet & 0x40 != 0);
            assert_eq!(message.override_, octet & 0x20 != 0);
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(bytes[4..8], [octet & 0xe0, 0, 0, 0]);
        }
    }

    #[test]
    fn target_that_is_no_node_is_refused() {
        for target in ["ff02::1", "::"] {
            let address: Ipv6Addr = target.parse().unwrap();
            let bytes = [&[136, 0, 0, 0, 0, 0, 0, 0][..], &address.octets()].concat();
            assert_eq!(
                NeighborAdvertisement::decode(&mut &bytes[..]),
                Err(DecodeError::NotUnicast {
                    field: "target address",
                    address
                })
            );
        }
    }

    #[test]
    fn second_target_address_is_refused() {
        let option = [2, 1, 2, 0, 0, 0, 0, 7];
        assert!(decode([0; 4], &option).unwrap().target_lla.is_some());
        assert_eq!(
            decode([0; 4], &[option, option].concat()),
            Err(DecodeError::DuplicateOption("target link-layer address"))
        );
    }

    #[test]
    fn code_other_than_0_is_refused() {
        let mut bytes = vec![136, 3, 0, 0, 0, 0, 0, 0];
        bytes.extend(TARGET.octets());
        assert!(matches!(
            NeighborAdvertisement::decode(&mut &bytes[..]),
            Err(DecodeError::Code { code: 3, .. })
        ));
    }
}
