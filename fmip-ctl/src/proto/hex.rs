//! Octets as hexadecimal digits: for `#[serde(with = "hex")]`.

use std::fmt::Write as _;

use serde::{Deserialize as _, Deserializer, Serializer, de};

pub(super) fn serialize<S: Serializer>(
    octets: &impl AsRef<[u8]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let octets = octets.as_ref();
    let mut digits = String::with_capacity(2 * octets.len());
    for octet in octets {
        let _ = write!(digits, "{octet:02x}");
    }
    serializer.serialize_str(&digits)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>, T: From<Vec<u8>>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let digits = String::deserialize(deserializer)?;
    let octets: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                Some((digit(high)? << 4 | digit(low)?) as u8)
            }
            _ => None,
        })
        .collect();
    octets
        .map(T::from)
        .ok_or_else(|| de::Error::custom("not an even number of hexadecimal digits"))
}
