//! Router Advertisement (RA), and the one that answers a UNA with a NAACK option.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    error::{DecodeError, need, once},
    icmpv6,
    mac::MacAddr,
    naack::{self, Naack},
    nd_option::{self, Writer, address_code, kind},
    option::UnknownOption,
    prefix::Prefix,
};

const FIXED_LEN: usize = 16;
const MANAGED: u8 = 1 << 7;
const OTHER: u8 = 1 << 6;
/// Octets of a Prefix Information option.
const PREFIX_LEN: usize = 32;
const ON_LINK: u8 = 1 << 7;
const AUTONOMOUS: u8 = 1 << 6;

/// A Router Advertisement.
///
/// ```text
///       0                   1                   2                   3
///       0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |    Type 134   |     Code 0    |          Checksum             |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      | Cur Hop Limit |M|O|  Reserved |       Router Lifetime         |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                         Reachable Time                        |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                          Retrans Timer                        |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |   Options ...
///      +-+-+-+-+-+-+-+-+-+-+-+-
/// ```
/// RFC 4861 section 4.2; RFC 5568 section 6.4.6 for its NAACK option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// What to send packets with; 0 leaves it open.
    pub hop_limit: u8,
    /// M: there are addresses by DHCP.
    pub managed: bool,
    /// O: there is other configuration by DHCP.
    pub other: bool,
    /// Seconds for which the sender is a default router; 0 says it is none.
    pub router_lifetime: u16,
    /// Milliseconds for which a neighbor counts as reachable; 0 leaves it open.
    pub reachable_ms: u32,
    /// Milliseconds between neighbor solicitations; 0 leaves it open.
    pub retrans_ms: u32,
    /// The sender's link-layer address.
    pub source_lla: Option<MacAddr>,
    /// The link's prefixes, in the order of the message.
    pub prefixes: Vec<PrefixInformation>,
    /// What the router thinks of the address that a UNA announced.
    pub naack: Option<Naack>,
    /// Options that this message gives no meaning to, the link's MTU among them.
    pub unknown: Vec<UnknownOption>,
}

/// A Prefix Information option.
///
/// ```text
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |     Type 3    |    Length 4   | Prefix Length |L|A| Reserved1 |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                         Valid Lifetime                        |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                       Preferred Lifetime                      |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                           Reserved2                           |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |                      Prefix (16 octets)                       |
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 4861 section 4.6.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix.
    pub prefix: Prefix,
    /// L: its addresses are on the link.
    pub on_link: bool,
    /// A: hosts may make their addresses of it.
    pub autonomous: bool,
    /// Seconds for which it is valid; 0xffffffff for ever.
    pub valid: u32,
    /// Seconds for which addresses made of it are preferred; 0xffffffff for ever.
    pub preferred: u32,
}

impl RouterAdvertisement {
    pub(super) const NAME: &str = "router advertisement";

    /// Reads the message from its ICMPv6 type on. The checksum was checked before.
    ///
    /// # Errors
    /// It is too short, its code is not 0, an option is malformed or there twice, or its NAACK
    /// speaks of a supplied address (NAK-04) that is not there or no unicast address.
    pub fn decode(message: &mut impl Buf) -> Result<Self, DecodeError> {
        need(Self::NAME, FIXED_LEN, message.remaining())?;
        icmpv6::begin(Self::NAME, message)?;
        let hop_limit = message.get_u8();
        let flags = message.get_u8();
        let router_lifetime = message.get_u16();
        let reachable_ms = message.get_u32();
        let retrans_ms = message.get_u32();

        let mut source_lla = None;
        let mut prefixes = Vec::new();
        let mut naack = None;
        // What may belong to the NAACK is known when the whole message is (AMB-05).
        let mut supplied = Vec::new();
        let mut unknown = Vec::new();
        while let Some(option) = nd_option::next(message)? {
            match (option.kind, option.code()) {
                (kind::SOURCE_LLA, _) => {
                    let address = nd_option::source_lla(&option)?;
                    once(&mut source_lla, "source link-layer address", address)?;
                }
                (kind::PREFIX_INFORMATION, _) => prefixes.push(PrefixInformation::decode(&option)?),
                (kind::NAACK, Some(naack::OPTION_CODE)) => {
                    let answer = Naack::decode(&option)?;
                    once(&mut naack, naack::NAME, answer)?;
                }
                (kind::ADDRESS, Some(address_code::NEW_COA)) => supplied.push(option),
                _ => unknown.push(option),
            }
        }
        match &mut naack {
            Some(naack) => {
                for option in supplied {
                    naack.supply(&option)?;
                }
                naack.check()?;
            }
            None => unknown.extend(supplied),
        }
        Ok(Self {
            hop_limit,
            managed: flags & MANAGED != 0,
            other: flags & OTHER != 0,
            router_lifetime,
            reachable_ms,
            retrans_ms,
            source_lla,
            prefixes,
            naack,
            unknown,
        })
    }

    /// Writes the message from its ICMPv6 type on, with a checksum of 0.
    pub fn encode(&self, out: &mut impl BufMut) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put_slice(&[icmpv6::ROUTER_ADVERTISEMENT, 0, 0, 0, self.hop_limit]);
        out.put_u8(flag(self.managed, MANAGED) | flag(self.other, OTHER));
        out.put_u16(self.router_lifetime);
        out.put_u32(self.reachable_ms);
        out.put_u32(self.retrans_ms);
        let mut options = Writer::new(out, FIXED_LEN);
        if let Some(address) = self.source_lla {
            options.source_lla(address);
        }
        for prefix in &self.prefixes {
            prefix.encode(&mut options);
        }
        if let Some(naack) = &self.naack {
            naack.encode(&mut options);
        }
        options.unknown(&self.unknown);
    }
}

impl PrefixInformation {
    fn decode(option: &UnknownOption) -> Result<Self, DecodeError> {
        let mut body = nd_option::sized(option, "prefix information", PREFIX_LEN)?;
        let length = body.get_u8();
        let flags = body.get_u8();
        let valid = body.get_u32();
        let preferred = body.get_u32();
        body.advance(4);
        let address = Ipv6Addr::from_bits(body.get_u128());
        Ok(Self {
            prefix: Prefix::new(address, length).map_err(|_| DecodeError::PrefixLength(length))?,
            on_link: flags & ON_LINK != 0,
            autonomous: flags & AUTONOMOUS != 0,
            valid,
            preferred,
        })
    }

    fn encode<B: BufMut>(&self, options: &mut Writer<'_, B>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut body = Vec::with_capacity(PREFIX_LEN - 2);
        body.put_u8(self.prefix.length());
        body.put_u8(flag(self.on_link, ON_LINK) | flag(self.autonomous, AUTONOMOUS));
        body.put_u32(self.valid);
        body.put_u32(self.preferred);
        body.put_u32(0);
        body.put_u128(self.prefix.address().to_bits());
        options.option(kind::PREFIX_INFORMATION, &body);
    }
}

#[cfg(test)]
mod tests {
    use super::super::naack::NaackStatus;
    use super::*;

    const NCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x12);
    const LLA: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 7];

    fn header(flags: u8) -> [u8; 16] {
        [134, 0, 0, 0, 64, flags, 0, 30, 0, 0, 0, 1, 0, 0, 0, 2]
    }

    fn prefix_information(length: u8, flags: u8) -> Vec<u8> {
        let mut option = vec![3, 4, length, flags, 0, 0, 0, 9, 0, 0, 0, 8];
        option.extend([0xff; 4]);
        option.extend(NCOA.octets());
        option
    }

    fn address(code: u8) -> Vec<u8> {
        [&[17, 3, code, 128, 0, 0, 0, 0][..], &NCOA.octets()].concat()
    }

    /// A NAACK of `length` units that begins with `status` and goes on with `supplied`.
    fn naack(length: u8, status: u8, supplied: &[u8]) -> Vec<u8> {
        [&[20, length, 0, status, 0, 0, 0, 0][..], supplied].concat()
    }

    fn decode(options: &[Vec<u8>]) -> Result<RouterAdvertisement, DecodeError> {
        let bytes = [header(0).to_vec(), options.concat()].concat();
        RouterAdvertisement::decode(&mut &bytes[..])
    }

    fn encoded(message: &RouterAdvertisement) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        bytes
    }

    // Rows: GEN-11
    #[test]
    fn every_flag_has_its_own_bit_and_the_rest_is_ignored() {
        for octet in 0..=255u8 {
            let bytes = [&header(octet)[..], &prefix_information(64, octet)].concat();
            let message = RouterAdvertisement::decode(&mut &bytes[..]).unwrap();
            let prefix = message.prefixes[0];
            assert_eq!(
                (message.managed, prefix.on_link),
                (octet & 0x80 != 0, octet & 0x80 != 0)
            );
            assert_eq!(
                (message.other, prefix.autonomous),
                (octet & 0x40 != 0, octet & 0x40 != 0)
            );
            let written = encoded(&message);
            assert_eq!(written[5], octet & 0xc0);
            assert_eq!(written[19], octet & 0xc0);
            assert_eq!(written[28..32], [0; 4]);
        }
    }

    // Rows: OPT-03
    #[test]
    fn bits_beyond_the_prefix_are_ignored_and_written_as_zeros() {
        let message = decode(&[prefix_information(64, 0xc0)]).unwrap();
        let PrefixInformation {
            prefix,
            valid,
            preferred,
            ..
        } = message.prefixes[0];
        assert_eq!(prefix.to_string(), "2001:db8:2::/64");
        assert_eq!((valid, preferred), (9, 8));
        assert_eq!(encoded(&message)[40..], [0; 8]);
        assert_eq!(
            decode(&[prefix_information(129, 0)]),
            Err(DecodeError::PrefixLength(129))
        );
    }

    // Rows: AMB-05, OPT-10
    #[test]
    fn supplied_address_is_read_in_all_three_forms_and_written_in_one() {
        let bare = naack(3, 2, &NCOA.octets());
        for options in [
            vec![bare.clone()],
            vec![naack(4, 2, &address(2))],
            vec![naack(1, 2, &[]), address(2)],
            vec![address(2), naack(1, 2, &[])],
        ] {
            let message = decode(&options).unwrap();
            assert_eq!(
                message.naack,
                Some(Naack {
                    status: NaackStatus::UseSupplied,
                    ncoa: Some(NCOA)
                })
            );
            assert_eq!(message.unknown, []);
            assert_eq!(encoded(&message)[16..], bare);
        }
    }

    // Rows: NAK-04, OPT-10
    #[test]
    fn every_status_survives_and_only_2_must_supply_an_address() {
        for status in 0..=255 {
            let message = decode(&[naack(3, status, &NCOA.octets())]).unwrap();
            assert_eq!(message.naack.unwrap().status.value(), status);
            let alone = decode(&[naack(1, status, &[])]);
            if status == 2 {
                assert_eq!(
                    alone,
                    Err(DecodeError::MissingOption {
                        message: "neighbor advertisement acknowledgment",
                        option: "new care-of address"
                    })
                );
            } else {
                assert_eq!(encoded(&alone.unwrap())[16..], naack(1, status, &[]));
            }
        }
    }

    // Rows: GEN-11
    #[test]
    fn reserved_octets_of_a_naack_are_ignored() {
        let mut option = naack(1, 1, &[]);
        option[4..].fill(0xff);
        assert_eq!(decode(&[option]), decode(&[naack(1, 1, &[])]));
    }

    #[test]
    fn naack_of_another_length_or_content_is_refused() {
        for length in [2u8, 5] {
            let option = naack(length, 1, &vec![0; 8 * usize::from(length) - 8]);
            assert_eq!(
                decode(&[option]),
                Err(DecodeError::OptionLength {
                    option: "neighbor advertisement acknowledgment",
                    length
                })
            );
        }
        // What is inside one of length 4 must be a new care-of address, in an option of its own.
        let missing = DecodeError::MissingOption {
            message: "neighbor advertisement acknowledgment",
            option: "new care-of address",
        };
        let too_short = DecodeError::OptionLength {
            option: "IP address",
            length: 2,
        };
        for (at, value, error) in [(0, 19, &missing), (1, 2, &too_short), (2, 1, &missing)] {
            let mut inner = address(2);
            inner[at] = value;
            assert_eq!(decode(&[naack(4, 2, &inner)]), Err(error.clone()));
        }
        let multicast = "ff02::1".parse::<Ipv6Addr>().unwrap();
        assert_eq!(
            decode(&[naack(3, 2, &multicast.octets())]),
            Err(DecodeError::NotUnicast {
                field: "new care-of address",
                address: multicast
            })
        );
    }

    #[test]
    fn option_that_is_there_twice_is_refused() {
        let naack = naack(3, 2, &NCOA.octets());
        for (options, name) in [
            (
                vec![naack.clone(), naack.clone()],
                "neighbor advertisement acknowledgment",
            ),
            (vec![naack, address(2)], "new care-of address"),
            (
                vec![LLA.to_vec(), LLA.to_vec()],
                "source link-layer address",
            ),
        ] {
            assert_eq!(decode(&options), Err(DecodeError::DuplicateOption(name)));
        }
    }

    // Rows: GEN-09
    #[test]
    fn what_a_plain_advertisement_has_beside_is_carried_along() {
        // An MTU, a NAACK of another Option-Code, an address of another kind, and one without a
        // NAACK that it could belong to.
        let mtu = vec![5, 1, 0, 0, 0, 0, 5, 0xdc];
        let mut foreign = naack(1, 1, &[]);
        foreign[2] = 1;
        let message = decode(&[mtu, foreign, address(1), address(2), LLA.to_vec()]).unwrap();
        assert_eq!(message.naack, None);
        assert_eq!(message.source_lla, Some(MacAddr([2, 0, 0, 0, 0, 7])));
        let kinds: Vec<_> = message.unknown.iter().map(|option| option.kind).collect();
        assert_eq!(kinds, [5, 20, 17, 17]);
    }

    #[test]
    fn code_other_than_0_is_refused() {
        let mut bytes = header(0);
        bytes[1] = 1;
        assert!(matches!(
            RouterAdvertisement::decode(&mut &bytes[..]),
            Err(DecodeError::Code { code: 1, .. })
        ));
    }
}
