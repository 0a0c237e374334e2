//! Proxy Router Advertisement (PrRtAdv): a router tells an MN what lies behind access points.

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    code::code,
    error::{DecodeError, need, once},
    icmpv6,
    mac::MacAddr,
    nd_option::{self, Writer, address_code, kind, lla_code},
    option::UnknownOption,
    prefix::Prefix,
    rtsolpr::FIXED_LEN,
};

const NAME: &str = "PrRtAdv";

code! {
    /// What a PrRtAdv is for (RFC 5568 section 6.1.2).
    PrRtAdvCode {
        /// The answer to a RtSolPr.
        Solicited = 0,
        /// The network wants the MN to move.
        HandoverTrigger = 1,
        /// There is no router information.
        NoNewRouter = 2,
        /// There is router information for a part of the access points.
        Partial = 3,
        /// News of the neighborhood that nobody asked for.
        Neighborhood = 4,
        /// As [`PrRtAdvCode::Solicited`], but the MN gets its address by DHCP.
        Dhcp = 5,
    }
}

code! {
    /// What is known of an access point: the Option-Code of its Link-Layer Address option (RFC 5568
    /// section 6.4.3). `Other` is 8 or more; 0, 2, 3 and 4 name other kinds of addresses.
    ApOutcome {
        /// The options behind it describe its router.
        Known = 1,
        /// It belongs to the MN's present interface of this router.
        SameInterface = 5,
        /// Its router is not known.
        NoPrefix = 6,
        /// Its router has no fast handover.
        NoFastHandover = 7,
    }
}

/// A Proxy Router Advertisement.
///
/// ```text
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |    Type 154   |      Code     |           Checksum            |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |   Subtype 3   |    Reserved   |           Identifier          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |    Options ...
///     +-+-+-+-+-+-+-+-+-+-+-+-
/// ```
/// RFC 5568 section 6.1.2, figure 5; PRA-01..07.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrRtAdv {
    /// What it is for.
    pub code: PrRtAdvCode,
    /// That of the RtSolPr; 0 if there was none.
    pub identifier: u16,
    /// The sender's link-layer address.
    pub source_lla: Option<MacAddr>,
    /// What is known of each access point, in the order of the message.
    pub tuples: Vec<ApTuple>,
    /// Options that this message gives no meaning to.
    pub unknown: Vec<UnknownOption>,
}

/// An [AP-ID, AR-Info] tuple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApTuple {
    /// The access point.
    pub access_point: MacAddr,
    /// What is known of it.
    pub outcome: ApOutcome,
    /// Its router.
    pub router: Option<RouterInfo>,
    /// The address that the MN is to use there.
    pub new_coa: Option<Ipv6Addr>,
}

/// What an MN must know of a router before it can announce a move to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterInfo {
    /// Its link-layer address on the MN's future link.
    pub lla: MacAddr,
    /// Its IP address.
    pub address: Ipv6Addr,
    /// The prefix of the MN's future address.
    pub prefix: Prefix,
}

impl PrRtAdv {
    /// The subtype of ICMPv6 type 154.
    pub const SUBTYPE: u8 = 3;

    /// Octets of a message without access points.
    pub const FIXED_LEN: usize = FIXED_LEN;

    /// Reads the message from its ICMPv6 type on. The checksum was checked before.
    ///
    /// # Errors
    /// It is too short, an option is malformed or there twice, a router's option precedes every
    /// access point, or a router is described incompletely.
    pub fn decode(message: &mut impl Buf) -> Result<Self, DecodeError> {
        need(NAME, FIXED_LEN, message.remaining())?;
        message.advance(1);
        let code = message.get_u8().into();
        message.advance(4);
        let identifier = message.get_u16();

        let mut source_lla = None;
        let mut tuples: Vec<PartialTuple> = Vec::new();
        let mut unknown = Vec::new();
        while let Some(option) = nd_option::next(message)? {
            let last = tuples.last_mut();
            match (option.kind, option.code()) {
                (kind::LLA, Some(lla_code::SOURCE)) => {
                    let address = nd_option::lla(&option)?;
                    once(&mut source_lla, "source link-layer address", address)?;
                }
                (kind::LLA, Some(lla_code::NAR)) => {
                    const OPTION: &str = "router link-layer address";
                    let tuple = last.ok_or(DecodeError::MisplacedOption(OPTION))?;
                    once(&mut tuple.lla, OPTION, nd_option::lla(&option)?)?;
                }
                (kind::ADDRESS, Some(address_code::NAR_ADDRESS)) => {
                    const OPTION: &str = "router address";
                    let tuple = last.ok_or(DecodeError::MisplacedOption(OPTION))?;
                    once(&mut tuple.address, OPTION, nd_option::address(&option)?)?;
                }
                (kind::ADDRESS, Some(address_code::NAR_PREFIX)) => {
                    const OPTION: &str = "router prefix";
                    let tuple = last.ok_or(DecodeError::MisplacedOption(OPTION))?;
                    once(&mut tuple.prefix, OPTION, nd_option::prefix(&option)?)?;
                }
                (kind::ADDRESS, Some(address_code::NEW_COA)) => {
                    const OPTION: &str = "new care-of address";
                    let tuple = last.ok_or(DecodeError::MisplacedOption(OPTION))?;
                    let (address, _) = nd_option::address(&option)?;
                    once(&mut tuple.new_coa, OPTION, address)?;
                }
                // A PrRtAdv neither asks for all access points nor names an MN.
                (kind::LLA, Some(lla_code::WILDCARD | lla_code::MN)) => unknown.push(option),
                (kind::LLA, Some(outcome)) => {
                    tuples.push(PartialTuple::new(nd_option::lla(&option)?, outcome.into()));
                }
                _ => unknown.push(option),
            }
        }
        Ok(Self {
            code,
            identifier,
            source_lla,
            tuples: tuples
                .into_iter()
                .map(PartialTuple::finish)
                .collect::<Result<_, _>>()?,
            unknown,
        })
    }

    /// Writes the message from its ICMPv6 type on, with a checksum of 0, in the order of PRA-03.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&[icmpv6::FMIPV6, self.code.value(), 0, 0, Self::SUBTYPE, 0]);
        out.put_u16(self.identifier);
        let mut options = Writer::new(out, FIXED_LEN);
        if let Some(address) = self.source_lla {
            options.lla(lla_code::SOURCE, address);
        }
        for tuple in &self.tuples {
            // Half a tuple would be an error to the reader.
            if options.has_room(tuple.encoded_len()) {
                tuple.encode(&mut options);
            }
        }
        options.unknown(&self.unknown);
    }
}

impl ApTuple {
    /// Returns the octets that this tuple takes in a PrRtAdv, for whoever fills one up to the
    /// link's MTU (PRA-15).
    pub fn encoded_len(&self) -> usize {
        let router = self.router.map_or(0, |_| 16 + 24 + 24);
        16 + router + self.new_coa.map_or(0, |_| 24)
    }

    fn encode<B: BufMut>(&self, options: &mut Writer<'_, B>) {
        options.lla(self.outcome.value(), self.access_point);
        if let Some(router) = self.router {
            let prefix = router.prefix;
            options.lla(lla_code::NAR, router.lla);
            options.address(address_code::NAR_ADDRESS, prefix.length(), router.address);
            // It could be left out where it is the address's own (PRA-07); sent it is clearer.
            options.address(address_code::NAR_PREFIX, prefix.length(), prefix.address());
        }
        if let Some(address) = self.new_coa {
            options.address(address_code::NEW_COA, 128, address);
        }
    }
}

/// A tuple whose options are still being read.
struct PartialTuple {
    access_point: MacAddr,
    outcome: ApOutcome,
    lla: Option<MacAddr>,
    address: Option<(Ipv6Addr, u8)>,
    prefix: Option<Prefix>,
    new_coa: Option<Ipv6Addr>,
}

impl PartialTuple {
    fn new(access_point: MacAddr, outcome: ApOutcome) -> Self {
        Self {
            access_point,
            outcome,
            lla: None,
            address: None,
            prefix: None,
            new_coa: None,
        }
    }

    fn finish(self) -> Result<ApTuple, DecodeError> {
        let missing = |option| DecodeError::MissingOption {
            message: NAME,
            option,
        };
        let router = if (self.lla, self.address, self.prefix) == (None, None, None) {
            None
        } else {
            let lla = self.lla.ok_or(missing("router link-layer address"))?;
            let (address, length) = self.address.ok_or(missing("router address"))?;
            let prefix = match self.prefix {
                Some(prefix) => prefix,
                // PRA-07: the address's own prefix length says it. A length of 0 says nothing.
                None if length > 0 => {
                    Prefix::new(address, length).map_err(|_| DecodeError::PrefixLength(length))?
                }
                None => return Err(missing("router prefix")),
            };
            Some(RouterInfo {
                lla,
                address,
                prefix,
            })
        };
        Ok(ApTuple {
            access_point: self.access_point,
            outcome: self.outcome,
            router,
            new_coa: self.new_coa,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 8] = [154, 0, 0, 0, 3, 0, 0x12, 0x34];
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
    const NAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);

    fn lla(code: u8) -> Vec<u8> {
        let mut option = vec![19, 2, code];
        option.extend(MAC.0);
        option.resize(16, 0);
        option
    }

    fn ip(code: u8, prefix_length: u8) -> Vec<u8> {
        let mut option = vec![17, 3, code, prefix_length, 0, 0, 0, 0];
        option.extend(NAR.octets());
        option
    }

    fn decode(options: &[Vec<u8>]) -> Result<PrRtAdv, DecodeError> {
        PrRtAdv::decode(&mut &[HEADER.to_vec(), options.concat()].concat()[..])
    }

    // Rows: PRA-07
    #[test]
    fn prefix_left_out_is_that_of_the_router_s_address() {
        let message = decode(&[lla(1), lla(3), ip(3, 64)]).unwrap();
        let router = message.tuples[0].router.unwrap();
        assert_eq!(router.address, NAR);
        assert_eq!(router.prefix.to_string(), "2001:db8:2::/64");
    }

    #[test]
    fn prefix_that_is_there_wins() {
        let message = decode(&[lla(1), lla(3), ip(3, 64), ip(4, 32)]).unwrap();
        let router = message.tuples[0].router.unwrap();
        assert_eq!(router.prefix.to_string(), "2001:db8::/32");
    }

    // Rows: PRA-06
    #[test]
    fn half_a_router_is_refused() {
        for (options, option) in [
            (vec![lla(1), lla(3)], "router address"),
            (vec![lla(1), ip(4, 64)], "router link-layer address"),
            (vec![lla(1), ip(3, 64)], "router link-layer address"),
            (vec![lla(1), lla(3), ip(3, 0)], "router prefix"),
        ] {
            assert_eq!(
                decode(&options),
                Err(DecodeError::MissingOption {
                    message: "PrRtAdv",
                    option
                })
            );
        }
    }

    #[test]
    fn router_before_any_access_point_is_refused() {
        for (option, name) in [
            (lla(3), "router link-layer address"),
            (ip(3, 64), "router address"),
            (ip(4, 64), "router prefix"),
            (ip(2, 128), "new care-of address"),
        ] {
            assert_eq!(
                decode(&[option, lla(1)]),
                Err(DecodeError::MisplacedOption(name))
            );
        }
    }

    #[test]
    fn option_that_a_tuple_has_already_is_refused() {
        for (option, name) in [
            (lla(3), "router link-layer address"),
            (ip(3, 64), "router address"),
            (ip(4, 64), "router prefix"),
            (ip(2, 128), "new care-of address"),
            (lla(4), "source link-layer address"),
        ] {
            assert_eq!(
                decode(&[lla(1), option.clone(), option]),
                Err(DecodeError::DuplicateOption(name))
            );
        }
    }

    // Rows: PRA-16
    #[test]
    fn options_belong_to_the_access_point_before_them() {
        let message = decode(&[
            lla(6),
            lla(1),
            lla(3),
            ip(3, 64),
            lla(7),
            ip(2, 128),
            lla(5),
        ]);
        let seen: Vec<_> = message
            .unwrap()
            .tuples
            .iter()
            .map(|tuple| (tuple.outcome, tuple.router.is_some(), tuple.new_coa))
            .collect();
        assert_eq!(
            seen,
            [
                (ApOutcome::NoPrefix, false, None),
                (ApOutcome::Known, true, None),
                (ApOutcome::NoFastHandover, false, Some(NAR)),
                (ApOutcome::SameInterface, false, None),
            ]
        );
    }

    // Rows: GEN-10
    #[test]
    fn addresses_of_other_kinds_are_carried_along() {
        let message = decode(&[lla(0), lla(2), ip(1, 0), ip(9, 255), lla(8)]).unwrap();
        assert_eq!(message.unknown.len(), 4);
        assert_eq!(message.tuples[0].outcome, ApOutcome::Other(8));
    }

    /// GEN-11: RFC 7411 has made the first of the reserved bits its own.
    // Rows: EXT-01, GEN-11
    #[test]
    fn reserved_octet_is_ignored() {
        let mut bytes = [HEADER.to_vec(), lla(1)].concat();
        bytes[5] = 0xff;
        assert_eq!(PrRtAdv::decode(&mut &bytes[..]), decode(&[lla(1)]));
    }

    #[test]
    fn encoded_length_is_that_of_what_is_written() {
        let empty = PrRtAdv {
            code: PrRtAdvCode::Solicited,
            identifier: 0,
            source_lla: None,
            tuples: vec![],
            unknown: vec![],
        };
        let router = RouterInfo {
            lla: MAC,
            address: NAR,
            prefix: Prefix::new(NAR, 64).unwrap(),
        };
        for router in [None, Some(router)] {
            for new_coa in [None, Some(NAR)] {
                let tuple = ApTuple {
                    access_point: MAC,
                    outcome: ApOutcome::Known,
                    router,
                    new_coa,
                };
                let len = tuple.encoded_len();
                let message = PrRtAdv {
                    tuples: vec![tuple],
                    ..empty.clone()
                };
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                assert_eq!(bytes.len(), PrRtAdv::FIXED_LEN + len);
            }
        }
    }

    #[test]
    fn tuples_beyond_the_longest_packet_are_left_out_whole() {
        let tuple = ApTuple {
            access_point: MAC,
            outcome: ApOutcome::Known,
            router: Some(RouterInfo {
                lla: MAC,
                address: NAR,
                prefix: Prefix::new(NAR, 64).unwrap(),
            }),
            new_coa: None,
        };
        let message = PrRtAdv {
            code: PrRtAdvCode::Neighborhood,
            identifier: 0,
            source_lla: None,
            tuples: vec![tuple; 1000],
            unknown: vec![],
        };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let read = PrRtAdv::decode(&mut &bytes[..]).unwrap();
        assert_eq!(read.tuples.len(), (65_504 - 8) / 80);
    }

    #[test]
    fn every_value_of_a_code_survives() {
        for value in 0..=255 {
            assert_eq!(PrRtAdvCode::from(value).value(), value);
            assert_eq!(ApOutcome::from(value).value(), value);
        }
        assert_eq!(PrRtAdvCode::from(5), PrRtAdvCode::Dhcp);
        assert_eq!(PrRtAdvCode::from(6), PrRtAdvCode::Other(6));
    }
}
