//! PAR: out of the mobile node's reverse tunnel (TUN-04, TUN-05).

use fmip_common::reason::Reason;

use crate::{
    bench::{Bench, NEXT_HOP_MAC, OUT_MAC, Verdict, address::*, later, on_bench, on_router, over},
    packets::Packet,
};

fn bind(bench: &mut Bench) -> anyhow::Result<()> {
    bench.maps.add_local(PAR)?;
    bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
    Ok(())
}

// Rows: TUN-05
#[test]
fn a_packet_in_the_reverse_tunnel_is_opened_and_sent() {
    on_router(|bench, router| {
        bind(bench)?;
        let inner = Packet::udp(PCOA, CN, 100);
        let sent = inner.tunnelled(NCOA, PAR).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        let packet = ran.is(Verdict::Redirect, Reason::Untunnelled, &sent);
        let expected = Packet {
            hop_limit: inner.hop_limit - 1,
            link_destination: NEXT_HOP_MAC,
            link_source: OUT_MAC,
            ..inner
        };
        assert_eq!(packet, expected);
        Ok(())
    });
}

#[test]
fn without_a_next_hop_the_opened_packet_goes_to_the_kernel_with_its_hop_limit() {
    on_bench(|bench| {
        bind(bench)?;
        let inner = Packet::udp(PCOA, CN, 100);
        let sent = inner.tunnelled(NCOA, PAR).octets();
        let ran = bench.router(&sent)?;
        let packet = ran.is(Verdict::Pass, Reason::UntunnelledByKernel, &sent);
        assert_eq!(packet, inner);
        Ok(())
    });
}

#[test]
fn a_used_up_hop_limit_inside_the_tunnel_is_left_to_the_kernel() {
    on_router(|bench, router| {
        bind(bench)?;
        let inner = Packet {
            hop_limit: 1,
            ..Packet::udp(PCOA, CN, 100)
        };
        let sent = inner.tunnelled(NCOA, PAR).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        assert_eq!(ran.is(Verdict::Pass, Reason::HopLimit, &sent), inner);
        Ok(())
    });
}

// Rows: TUN-04
#[test]
fn a_tunnel_from_or_to_another_end_stays_closed() {
    on_router(|bench, router| {
        bind(bench)?;
        let another_of_us = OTHER;
        bench.maps.add_local(another_of_us)?;
        let inner = Packet::udp(PCOA, CN, 100);
        for (source, destination) in [(CN, PAR), (PCOA, PAR), (NCOA, another_of_us)] {
            let sent = inner.tunnelled(source, destination).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent);
        }
        Ok(())
    });
}

// Rows: TUN-04
#[test]
fn a_tunnel_that_carries_nobody_known_stays_closed() {
    on_router(|bench, router| {
        bind(bench)?;
        // A binding, but not a tunnel's.
        bench.hold(OTHER, router)?;
        for source in [CN, OTHER, NCOA] {
            let sent = Packet::udp(source, CN, 100).tunnelled(NCOA, PAR).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        }
        // Not to this node: a tunnel that passes through.
        let sent = Packet::udp(PCOA, CN, 100).tunnelled(NCOA, CN).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        Ok(())
    });
}

// Rows: TUN-04, TUN-06
#[test]
fn an_expired_binding_opens_no_tunnel() {
    on_router(|bench, router| {
        bind(bench)?;
        bench.maps.set_expiry(PCOA, over())?;
        let sent = Packet::udp(PCOA, CN, 100).tunnelled(NCOA, PAR).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::Expired, &sent);
        Ok(())
    });
}

/// RFC 6040 section 4.2, figure 4: the inner mark that leaves, by the inner and the outer one that
/// arrive; None where the packet must be dropped.
const MARKS: [(u8, [Option<u8>; 4]); 4] = {
    const NOT_ECT: u8 = 0b00;
    const ECT_1: u8 = 0b01;
    const ECT_0: u8 = 0b10;
    const CE: u8 = 0b11;
    // Columns in the order of their values: Not-ECT, ECT(1), ECT(0), CE.
    [
        (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
        (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
        (ECT_0, [Some(ECT_0), Some(ECT_1), Some(ECT_0), Some(CE)]),
        (CE, [Some(CE); 4]),
    ]
};

// Rows: TUN-08
#[test]
fn congestion_marks_leave_the_tunnel_as_rfc_6040_has_them() {
    on_router(|bench, router| {
        bind(bench)?;
        for (inner_mark, expected) in MARKS {
            for (outer_mark, expected) in expected.into_iter().enumerate() {
                let inner = Packet {
                    class: 0xb8 | inner_mark,
                    ..Packet::udp(PCOA, CN, 100)
                };
                let mut outer = inner.tunnelled(NCOA, PAR);
                // The outer code point is not the inner one: it must not leak.
                outer.class = 0x20 | outer_mark as u8;
                let sent = outer.octets();
                let ran = bench.router_on(router.incoming, &sent)?;
                match expected {
                    Some(mark) => {
                        let packet = ran.is(Verdict::Redirect, Reason::Untunnelled, &sent);
                        assert_eq!(
                            packet.class,
                            0xb8 | mark,
                            "inner {inner_mark:02b}, outer {outer_mark:02b}"
                        );
                        assert_eq!(packet.flow, inner.flow);
                    }
                    None => ran.is_unchanged(Verdict::Drop, Reason::CongestionLost, &sent),
                }
            }
        }
        Ok(())
    });
}

/// Two nodes that have both left this router talk to each other.
#[test]
fn out_of_one_tunnel_and_into_another() {
    on_router(|bench, router| {
        bind(bench)?;
        let (other_pcoa, other_ncoa) = (OTHER, CN);
        bench
            .maps
            .install_tunnel(other_pcoa, other_ncoa, PAR, later())?;
        let inner = Packet {
            class: 0b10,
            ..Packet::udp(PCOA, other_pcoa, 100)
        };
        let mut outer = inner.tunnelled(NCOA, PAR);
        outer.class = 0b11;
        let sent = outer.octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        let packet = ran.is(Verdict::Redirect, Reason::Tunnelled, &sent);
        assert_eq!(packet.source, PAR);
        assert_eq!(packet.destination, other_ncoa);
        assert_eq!(packet.class, 0b11, "the mark was lost between the tunnels");
        let expected = Packet {
            class: 0b11,
            hop_limit: inner.hop_limit - 1,
            link_destination: NEXT_HOP_MAC,
            link_source: OUT_MAC,
            ..inner
        };
        assert_eq!(packet.inner(), expected);
        Ok(())
    });
}

/// What belongs to one link must not come out of a tunnel onto another: with a hop limit of 255 it
/// would pass there for a neighbor's word (RFC 4861 section 11.2).
#[test]
fn what_belongs_to_a_link_does_not_come_out_of_the_tunnel() {
    use crate::packets::ICMPV6;
    on_router(|bench, router| {
        bind(bench)?;
        let link_local = "fe80::1".parse()?;
        let all_nodes = "ff02::1".parse()?;
        let advertisement = Packet {
            hop_limit: 255,
            ..Packet::of(PCOA, CN, ICMPV6, &[136, 0, 0, 0, 0, 0, 0, 0])
        };
        for inner in [
            Packet::udp(PCOA, link_local, 100),
            Packet::udp(PCOA, all_nodes, 100),
            advertisement,
        ] {
            let sent = inner.tunnelled(NCOA, PAR).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::LinkScope, &sent);
        }
        Ok(())
    });
}
