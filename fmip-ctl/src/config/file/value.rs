//! The values that have a syntax or a range of their own.

use std::{fmt, net::Ipv6Addr, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use toml::Spanned;

use super::fault::{Fault, bad};
use crate::{
    config::{Key, MAX_KEY_OCTETS, MIN_KEY_OCTETS},
    wire::{MacAddr, Prefix},
};

/// The longest path of a Unix socket (`sun_path` without its terminating zero).
const MAX_SOCKET_PATH: usize = 107;
/// The longest name of an interface (`IFNAMSIZ` without its terminating zero).
const MAX_INTERFACE_NAME: usize = 15;
/// Interface identifiers are 64 bits long (RFC 4291 section 2.5.1), so a prefix has 64 at most.
const MAX_PREFIX_LENGTH: u8 = 64;

pub(super) fn integer(
    value: Option<Spanned<i64>>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, Fault> {
    let Some(value) = value else {
        return Ok(default);
    };
    in_range(&value, range)
}

pub(super) fn milliseconds(
    value: Option<Spanned<i64>>,
    default: Duration,
    range: RangeInclusive<u64>,
) -> Result<Duration, Fault> {
    match value {
        None => Ok(default),
        value => integer(value, 0, range).map(Duration::from_millis),
    }
}

pub(super) fn negative(
    value: Option<Spanned<i64>>,
    default: i32,
    range: RangeInclusive<i32>,
) -> Result<i32, Fault> {
    let Some(value) = value else {
        return Ok(default);
    };
    in_range(&value, range)
}

fn in_range<T>(value: &Spanned<i64>, range: RangeInclusive<T>) -> Result<T, Fault>
where
    T: TryFrom<i64> + PartialOrd + fmt::Display,
{
    let (start, end) = (range.start(), range.end());
    T::try_from(*value.get_ref())
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let reason = format!("{} is out of range: {start} to {end}", value.get_ref());
            Fault::new(value.span(), reason)
        })
}

/// One of several words, or the first of them.
pub(super) fn choice<T: Copy>(
    value: &Option<Spanned<String>>,
    what: &str,
    words: &[(&str, T)],
) -> Result<T, Fault> {
    let Some(value) = value else {
        return Ok(words[0].1);
    };
    let found = words.iter().find(|(word, _)| word == value.get_ref());
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let (last, others) = quoted.split_last().expect("there is something to choose");
        bad(
            value,
            &format!("is no {what}: write {} or {last}", others.join(", ")),
        )
    })
}

pub(super) fn check_socket_path(path: &Spanned<String>) -> Result<PathBuf, Fault> {
    let checked = PathBuf::from(path.get_ref());
    if !checked.is_absolute() || path.get_ref().ends_with('/') {
        return Err(bad(path, "is no absolute path of a file"));
    }
    if path.get_ref().len() > MAX_SOCKET_PATH || path.get_ref().contains('\0') {
        return Err(bad(
            path,
            &format!("is no path of a Unix socket: it has {MAX_SOCKET_PATH} octets at most"),
        ));
    }
    Ok(checked)
}

pub(super) fn check_directory(path: &Spanned<String>) -> Result<PathBuf, Fault> {
    let checked = PathBuf::from(path.get_ref());
    if !checked.is_absolute() || path.get_ref().contains('\0') {
        return Err(bad(path, "is no absolute path of a directory"));
    }
    Ok(checked)
}

pub(super) fn check_interface_name(name: &Spanned<String>) -> Result<String, Fault> {
    let text = name.get_ref();
    let valid = (1..=MAX_INTERFACE_NAME).contains(&text.len())
        && text != "."
        && text != ".."
        && !text
            .bytes()
            .any(|byte| byte.is_ascii_whitespace() || byte == b'/' || byte == 0);
    if !valid {
        return Err(bad(
            name,
            &format!(
                "is no interface name: 1 to {MAX_INTERFACE_NAME} octets without blank or slash"
            ),
        ));
    }
    Ok(text.clone())
}

pub(super) fn check_global_address(address: &Spanned<String>) -> Result<Ipv6Addr, Fault> {
    let checked = Ipv6Addr::from_str(address.get_ref()).map_err(|_| {
        bad(
            address,
            "is no IPv6 address: write it like \"2001:db8:1::1\", without a prefix length",
        )
    })?;
    if checked.is_unspecified()
        || checked.is_loopback()
        || checked.is_multicast()
        || checked.is_unicast_link_local()
        || checked.to_ipv4_mapped().is_some()
    {
        return Err(bad(
            address,
            "is no global unicast address, which other routers could reach",
        ));
    }
    Ok(checked)
}

pub(super) fn check_prefix(prefix: &Spanned<String>) -> Result<Prefix, Fault> {
    let checked = Prefix::from_str(prefix.get_ref())
        .map_err(|_| bad(prefix, "is no prefix: write it like \"2001:db8:1::/64\""))?;
    if !(1..=MAX_PREFIX_LENGTH).contains(&checked.length()) {
        return Err(bad(
            prefix,
            "has a length out of range: 1 to 64, because interface identifiers are 64 bits long",
        ));
    }
    Ok(checked)
}

/// A prefix to assign addresses from, which may be longer than a link's.
pub(super) fn check_pool(prefix: &Spanned<String>) -> Result<Prefix, Fault> {
    Prefix::from_str(prefix.get_ref()).map_err(|_| {
        bad(
            prefix,
            "is no prefix: write it like \"2001:db8:1::a000:0:0:0/68\"",
        )
    })
}

pub(super) fn check_link_address(address: &Spanned<String>) -> Result<MacAddr, Fault> {
    let checked = MacAddr::from_str(address.get_ref()).map_err(|_| {
        bad(
            address,
            "is no link-layer address: write six octets like \"02:00:00:00:0a:01\"",
        )
    })?;
    if !checked.is_unicast() {
        return Err(bad(address, "is no unicast link-layer address"));
    }
    Ok(checked)
}

pub(super) fn check_spi(spi: &Spanned<i64>) -> Result<u32, Fault> {
    u32::try_from(*spi.get_ref())
        .ok()
        .filter(|spi| *spi != 0)
        .ok_or_else(|| {
            Fault::new(
                spi.span(),
                format!(
                    "{} is out of range: 1 to {} (0 stands for keys made by SEND)",
                    spi.get_ref(),
                    u32::MAX
                ),
            )
        })
}

/// Never repeats the key.
pub(super) fn check_key(key: &Spanned<String>) -> Result<Key, Fault> {
    let octets = check_octets(key)?;
    if !(MIN_KEY_OCTETS..=MAX_KEY_OCTETS).contains(&octets.len()) {
        return Err(Fault::new(
            key.span(),
            format!(
                "has {} octets, out of range: {MIN_KEY_OCTETS} to {MAX_KEY_OCTETS}; make one with \
                 `openssl rand -hex 20`",
                octets.len()
            ),
        ));
    }
    Ok(Key(octets))
}

/// A secret as octets; it is not repeated.
pub(super) fn check_octets(key: &Spanned<String>) -> Result<Vec<u8>, Fault> {
    let digits = key.get_ref().as_bytes();
    let octets: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                Some((digit(high)? << 4 | digit(low)?) as u8)
            }
            _ => None,
        })
        .collect();
    octets.ok_or_else(|| {
        Fault::new(
            key.span(),
            "is not an even number of hexadecimal digits: make one with `openssl rand -hex 20`",
        )
    })
}
