//! Which IPv6 addresses the kernel lets a namespace use.

use std::{fs, net::Ipv6Addr};

use anyhow::{Context, Result, ensure};

/// The global addresses of the calling thread's namespace that are neither tentative nor duplicates.
pub(crate) fn usable_addresses() -> Result<Vec<Ipv6Addr>> {
    let text = fs::read_to_string("/proc/thread-self/net/if_inet6")
        .context("cannot read the list of IPv6 addresses")?;
    text.lines()
        .filter_map(|line| parse_if_inet6(line).transpose())
        .collect()
}

/// One line of if_inet6: address, interface index, prefix length, scope, flags (all hexadecimal), name.
fn parse_if_inet6(line: &str) -> Result<Option<Ipv6Addr>> {
    const SCOPE_GLOBAL: u32 = 0;
    /// `IFA_F_DADFAILED` and `IFA_F_TENTATIVE` of linux/if_addr.h.
    const NOT_USABLE: u32 = 0x08 | 0x40;
    let fields: Vec<_> = line.split_whitespace().collect();
    ensure!(fields.len() == 6, "if_inet6 has an unknown form: {line:?}");
    let hex = |text: &str| u32::from_str_radix(text, 16).with_context(|| line.to_owned());
    let address = u128::from_str_radix(fields[0], 16).with_context(|| line.to_owned())?;
    let usable = hex(fields[3])? == SCOPE_GLOBAL && hex(fields[4])? & NOT_USABLE == 0;
    Ok(usable.then(|| Ipv6Addr::from_bits(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_usable_when_global_and_checked() {
        let line = |scope: &str, flags: &str| {
            format!("20010db800010000000000fffe000001 15 40 {scope} {flags} wlan0")
        };
        let address = Some("2001:db8:1::ff:fe00:1".parse().unwrap());
        assert_eq!(parse_if_inet6(&line("00", "00")).unwrap(), address);
        assert_eq!(
            parse_if_inet6(&line("00", "20")).unwrap(),
            address,
            "deprecated"
        );
        assert_eq!(
            parse_if_inet6(&line("00", "40")).unwrap(),
            None,
            "tentative"
        );
        assert_eq!(
            parse_if_inet6(&line("00", "48")).unwrap(),
            None,
            "duplicate"
        );
        assert_eq!(
            parse_if_inet6(&line("20", "80")).unwrap(),
            None,
            "link-local"
        );
        assert!(parse_if_inet6("nonsense").is_err());
    }
}
