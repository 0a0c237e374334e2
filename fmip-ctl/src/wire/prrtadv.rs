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
