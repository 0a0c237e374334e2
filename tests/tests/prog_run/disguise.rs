//! What is not what its first header says: behind extension headers the kernel finds it all the same, so the
//! programs must.

use fmip_common::reason::Reason;

use crate::{
    bench::{OUT_MTU, Verdict, address::*, later, on_router},
    corpus::{DESTINATION_OPTIONS, HOP_BY_HOP, ROUTING},
    packets::{ICMPV6, IPV6, Packet},
};

/// The packet behind options that say nothing, or a routing header that has been followed to its end.
fn behind(packet: &Packet, headers: &[u8]) -> Packet {
    headers.iter().rev().fold(packet.clone(), |packet, &kind| {
        let mut payload = match kind {
            ROUTING => vec![packet.next_header, 0, 4, 0, 0, 0, 0, 0],
            _ => vec![packet.next_header, 0, 1, 4, 0, 0, 0, 0],
        };
        payload.extend(&packet.payload);
        Packet {
            next_header: kind,
            payload,
            ..packet
        }
    })
}

/// More headers than anybody looks behind, too.
const DISGUISES: [&[u8]; 5] = [
    &[],
    &[DESTINATION_OPTIONS],
    &[HOP_BY_HOP],
    &[HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS],
    &[DESTINATION_OPTIONS; 9],
];

/// Neighbor discovery as a neighbor would send it, if it were not in a tunnel.
fn discovery(kind: u8, source: std::net::Ipv6Addr, destination: std::net::Ipv6Addr) -> Packet {
    let mut message = [0; 24];
    message[0] = kind;
    Packet {
        hop_limit: 255,
        ..Packet::of(source, destination, ICMPV6, &message)
    }
}

/// Out of the tunnel it would be a neighbor's word (RFC 4861 section 11.2), and whoever can forge the tunnel's
/// outer source would be the node's default router.
// Rows: TUN-04
#[test]
fn neighbor_discovery_in_disguise_does_not_come_out_of_the_tunnel_at_a_node() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        for headers in DISGUISES {
            for kind in 133..=137 {
                let inner = behind(&discovery(kind, CN, PCOA), headers);
                let sent = inner.tunnelled(PAR, NCOA).octets();
                let ran = bench.mobile_in(&sent)?;
                ran.is_unchanged(Verdict::Pass, Reason::LinkScope, &sent);
            }
            // What only looks like it does.
            let inner = behind(&Packet::udp(CN, PCOA, 24), &headers[..headers.len().min(3)]);
            let inner = Packet {
                hop_limit: 255,
                ..inner
            };
            let sent = inner.tunnelled(PAR, NCOA).octets();
            let ran = bench.mobile_in(&sent)?;
            ran.is(Verdict::Pass, Reason::MobileUntunnelled, &sent);
        }
        Ok(())
    });
}

// Rows: TUN-04
#[test]
fn neighbor_discovery_in_disguise_does_not_come_out_of_the_tunnel_at_a_router() {
    on_router(|bench, router| {
        bench.maps.add_local(PAR)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        for headers in DISGUISES {
            let inner = behind(&discovery(136, PCOA, PAR), headers);
            let sent = inner.tunnelled(NCOA, PAR).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::LinkScope, &sent);
        }
        Ok(())
    });
}

/// RFC 4443 section 2.4 (e.1): no error about an error, whatever stands before it.
// Rows: TUN-08
#[test]
fn an_error_in_disguise_is_answered_by_none() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        for headers in &DISGUISES[..4] {
            for (kind, verdict) in [(1, Verdict::Drop), (128, Verdict::Reply)] {
                let mut message = vec![0; OUT_MTU as usize - IPV6];
                message[0] = kind;
                let sent = behind(&Packet::of(CN, PCOA, ICMPV6, &message), headers).octets();
                bench.refill_errors()?;
                let ran = bench.router_on(router.incoming, &sent)?;
                assert_eq!(ran.verdict, verdict, "type {kind} behind {headers:?}");
            }
        }
        Ok(())
    });
}
