//! An IPv6 prefix.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An IPv6 prefix of 0 to 128 bits; the bits beyond its length are zero. Written and read as
/// `2001:db8:1::/64`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: Ipv6Addr,
    length: u8,
}

/// A text or a length that is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The length is above 128.
    #[error("prefix length {0} is above 128")]
    Length(u8),
    /// Not an address, a slash and a length.
    #[error("{0:?} is not an IPv6 prefix: write it as 2001:db8:1::/64, with a length of 0 to 128")]
    Format(String),
}

impl Prefix {
    /// Makes a prefix of the first `length` bits of `address`; the other bits are dropped
    /// (OPT-03).
    ///
    /// # Errors
    /// `length` is above 128.
    pub fn new(address: Ipv6Addr, length: u8) -> Result<Self, PrefixError> {
        if length > 128 {
            return Err(PrefixError::Length(length));
        }
        let address = Ipv6Addr::from_bits(address.to_bits() & mask(length));
        Ok(Self { address, length })
    }

    /// Returns the prefix as an address, zero beyond its length.
    pub fn address(self) -> Ipv6Addr {
        self.address
    }

    /// Returns the number of its bits, 0 to 128.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Tells whether `address` begins with this prefix.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask(self.length) == self.address.to_bits()
    }

    /// Returns the address of this prefix with the interface identifier `iid` (RFC 4862 section
    /// 5.5.3). Where the prefix is longer than 64 bits, its bits win.
    pub fn address_from_iid(self, iid: [u8; 8]) -> Ipv6Addr {
        let iid = u128::from(u64::from_be_bytes(iid)) & !mask(self.length);
        Ipv6Addr::from_bits(self.address.to_bits() | iid)
    }
}

/// Ones in the first `length` of 128 bits.
fn mask(length: u8) -> u128 {
    // A shift by all 128 bits overflows.
    u128::MAX
        .checked_shl(128 - u32::from(length))
        .unwrap_or_default()
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PrefixError::Format(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(error)?;
        let address = address.parse().map_err(|_| error())?;
        let length = length.parse().map_err(|_| error())?;
        Self::new(address, length).map_err(|_| error())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    // Rows: OPT-03
    #[test]
    fn bits_beyond_the_length_are_dropped() {
        assert_eq!(
            prefix("2001:db8:1:2:3:4:5:6/64").to_string(),
            "2001:db8:1:2::/64"
        );
        assert_eq!(prefix("2001:db8:ff::/45").to_string(), "2001:db8:f8::/45");
        assert_eq!(prefix("2001:db8::1/0").to_string(), "::/0");
        assert_eq!(prefix("2001:db8::1/128").to_string(), "2001:db8::1/128");
    }

    #[test]
    fn an_address_is_inside_or_not() {
        let inside = "2001:db8:1::5".parse().unwrap();
        assert!(prefix("2001:db8:1::/64").contains(inside));
        assert!(prefix("::/0").contains(inside));
        assert!(prefix("2001:db8:1::5/128").contains(inside));
        assert!(!prefix("2001:db8:1::4/128").contains(inside));
        assert!(!prefix("2001:db8:2::/64").contains(inside));
    }

    #[test]
    fn interface_identifier_fills_what_the_prefix_leaves() {
        let iid = [0, 0, 0x5e, 0xff, 0xfe, 0, 0, 1];
        assert_eq!(
            prefix("2001:db8:1::/64").address_from_iid(iid),
            "2001:db8:1::5eff:fe00:1".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!(
            prefix("2001:db8:1::aaaa:0:0:0/80").address_from_iid([0xff; 8]),
            "2001:db8:1:0:aaaa:ffff:ffff:ffff"
                .parse::<Ipv6Addr>()
                .unwrap()
        );
    }

    #[test]
    fn what_is_not_a_prefix_is_refused_by_name() {
        for text in [
            "",
            "2001:db8::",
            "2001:db8::/129",
            "2001:db8::/-1",
            "2001:db8::/64/64",
            "10.0.0.0/8",
        ] {
            let error = text.parse::<Prefix>().unwrap_err();
            assert_eq!(error, PrefixError::Format(text.to_owned()));
        }
        assert_eq!(
            Prefix::new(Ipv6Addr::LOCALHOST, 129),
            Err(PrefixError::Length(129))
        );
    }

    #[test]
    fn serde_writes_text() {
        let json = serde_json::to_string(&prefix("2001:db8:1::/64")).unwrap();
        assert_eq!(json, "\"2001:db8:1::/64\"");
        assert_eq!(
            serde_json::from_str::<Prefix>(&json).unwrap(),
            prefix("2001:db8:1::/64")
        );
    }
}
