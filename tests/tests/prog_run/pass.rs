//! What the router program leaves to the kernel.

use fmip_common::reason::Reason;

use crate::{
    bench::{Verdict, address::*, later, on_bench},
    packets::{ETHERNET, Packet, UDP},
};

#[test]
fn a_packet_without_a_binding_passes_unchanged() {
    on_bench(|bench| {
        let sent = Packet::udp(CN, PCOA, 100).octets();
        let ran = bench.router(&sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        Ok(())
    });
}

#[test]
fn what_is_not_ipv6_or_of_another_vlan_passes_unchanged() {
    on_bench(|bench| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let ipv6 = Packet::udp(CN, PCOA, 100).octets();
        let mut arp = ipv6.clone();
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        let mut tagged = ipv6[..12].to_vec();
        tagged.extend([0x81, 0x00, 0x00, 0x07]);
        tagged.extend_from_slice(&ipv6[12..]);
        for (sent, reason) in [(arp, Reason::NotIpv6), (tagged, Reason::OtherVlan)] {
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Pass, reason, &sent);
        }
        Ok(())
    });
}

#[test]
fn ipv6_that_contradicts_itself_passes_unchanged() {
    on_bench(|bench| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let valid = Packet::udp(CN, PCOA, 100).octets();
        let mut version = valid.clone();
        version[ETHERNET] = 0x40;
        let mut too_long = valid.clone();
        too_long[ETHERNET + 5] += 1;
        let mut jumbogram = valid;
        jumbogram[ETHERNET + 4..ETHERNET + 6].fill(0);
        for sent in [version, too_long, jumbogram] {
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::Malformed, &sent);
        }
        Ok(())
    });
}

/// Octets behind the IPv6 packet are an Ethernet frame's padding.
#[test]
fn padding_behind_a_packet_is_no_contradiction() {
    on_bench(|bench| {
        let mut sent = Packet::of(CN, PCOA, UDP, &[0; 2]).octets();
        sent.resize(60, 0);
        let ran = bench.router(&sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        Ok(())
    });
}

#[test]
fn a_packet_cut_short_at_any_length_passes_unchanged_and_is_counted() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let inner = Packet::udp(PCOA, CN, 40);
        let valid = inner.tunnelled(NCOA, PAR).octets();
        for length in ETHERNET..valid.len() {
            let ran = bench.router(&valid[..length])?;
            let reason = if length < ETHERNET {
                Reason::NotIpv6
            } else {
                Reason::Malformed
            };
            ran.is_unchanged(Verdict::Pass, reason, &valid[..length]);
        }
        // Cut short inside the tunnel, the outer header telling the truth.
        for length in 1..inner.octets().len() - ETHERNET {
            let mut cut = inner.tunnelled(NCOA, PAR);
            cut.payload.truncate(length);
            let sent = cut.octets();
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::Malformed, &sent);
        }
        Ok(())
    });
}
