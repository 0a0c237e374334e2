//! The 48-bit link-layer address of 802.11, 802.16 and Ethernet.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A 48-bit link-layer address; written and read as `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether one station can have it: neither a group's, nor the one that stands for none.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// Returns the interface identifier made of this address: `ff:fe` in the middle, the
    /// universal/local bit inverted (RFC 4291 appendix A).
    pub fn modified_eui64(self) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.0;
        [a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]
    }
}

/// A text that is not a link-layer address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a link-layer address: write it as 02:00:00:00:00:01")]
pub struct ParseMacError(pub String);

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMacError(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or_else(error)?;
            // from_str_radix alone would also take "+1".
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(error());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(error()),
        }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_a_round_trip() {
        let address: MacAddr = "02:00:5e:10:AB:ff".parse().unwrap();
        assert_eq!(address, MacAddr([0x02, 0, 0x5e, 0x10, 0xab, 0xff]));
        assert_eq!(address.to_string(), "02:00:5e:10:ab:ff");
        let json = serde_json::to_string(&address).unwrap();
        assert_eq!(json, "\"02:00:5e:10:ab:ff\"");
        assert_eq!(serde_json::from_str::<MacAddr>(&json).unwrap(), address);
    }

    #[test]
    fn what_is_not_an_address_is_refused_by_name() {
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "02:00:00:00:00:1",
            "02:00:00:00:00:+1",
            "02-00-00-00-00-01",
            "02:00:00:00:00:0g",
        ] {
            let error = text.parse::<MacAddr>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn one_station_can_have_what_is_no_group_and_not_zero() {
        assert!(MacAddr([2, 0, 0, 0, 0, 0]).is_unicast());
        assert!(MacAddr([0, 0, 0, 0, 0, 1]).is_unicast());
        for octets in [
            [0; 6],
            [0xff; 6],
            [0x33, 0x33, 0, 0, 0, 1],
            [1, 0, 0, 0, 0, 0],
        ] {
            assert!(!MacAddr(octets).is_unicast(), "{octets:?}");
        }
    }

    /// The example of RFC 4291 appendix A is for a universal address; RFC 2464 section 4 has
    /// 34-56-78-9A-BC-DE -> 36-56-78-FF-FE-9A-BC-DE.
    #[test]
    fn interface_identifier_is_that_of_rfc_2464() {
        let address = MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        assert_eq!(
            address.modified_eui64(),
            [0x36, 0x56, 0x78, 0xff, 0xfe, 0x9a, 0xbc, 0xde]
        );
    }
}
