//! PAR: from the previous care-of address into the tunnel (RFC 2473, 6040, 6438).

use fmip_common::reason::Reason;

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, Ran, Router, Verdict, address::*, in_namespace, later,
        on_bench, on_router, over,
    },
    packets::{IPV6, IPV6_IN_IPV6, Packet},
};

/// Checks the outer header and gives the inner packet.
#[track_caller]
fn opened(ran: &Ran, verdict: Verdict, reason: Reason, sent: &Packet) -> (Packet, Packet) {
    let outer = ran.is(verdict, reason, &sent.octets());
    assert_eq!(outer.source, PAR);
    assert_eq!(outer.destination, NCOA);
    assert_eq!(outer.next_header, IPV6_IN_IPV6);
    assert_eq!(outer.hop_limit, 64);
    assert_eq!(outer.payload.len(), IPV6 + sent.payload.len());
    let inner = outer.inner();
    (outer, inner)
}

// Rows: TUN-01, TUN-02
#[test]
fn a_packet_to_the_pcoa_goes_into_the_tunnel_and_to_the_next_hop() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let sent = Packet::udp(CN, PCOA, 100);
        let ran = bench.router_on(router.incoming, &sent.octets())?;
        let (outer, inner) = opened(&ran, Verdict::Redirect, Reason::Tunnelled, &sent);
        assert_eq!(outer.link_destination, NEXT_HOP_MAC);
        assert_eq!(outer.link_source, OUT_MAC);
        let expected = Packet {
            hop_limit: sent.hop_limit - 1,
            link_destination: NEXT_HOP_MAC,
            link_source: OUT_MAC,
            ..sent
        };
        assert_eq!(inner, expected);
        Ok(())
    });
}

/// Redirected to a VLAN device, say, it would vanish and be counted as sent.
#[test]
fn a_way_out_of_an_interface_that_is_not_ours_is_left_to_the_kernel() {
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        namespace.ip_batch("link add far0 index 77 type veth peer name far1\n")?;
        namespace.sysctl("ipv6/conf/far0/disable_ipv6", 0)?;
        namespace.ip_batch(
            "link set far0 up\nlink set far1 up\n\
             address add 2001:db8:e::1/64 dev far0 nodad\n\
             neighbor add 2001:db8:e::2 lladdr 02:00:00:00:00:12 dev far0 nud permanent\n\
             route replace default via 2001:db8:e::2 dev far0\n",
        )?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let sent = Packet::udp(CN, PCOA, 100);
        let ran = bench.router_on(router.incoming, &sent.octets())?;
        opened(&ran, Verdict::Pass, Reason::TunnelledByKernel, &sent);
        Ok(())
    });
}

#[test]
fn without_a_next_hop_the_tunnelled_packet_goes_to_the_kernel() {
    on_bench(|bench| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let sent = Packet::udp(CN, PCOA, 100);
        let ran = bench.router(&sent.octets())?;
        let (outer, inner) = opened(&ran, Verdict::Pass, Reason::TunnelledByKernel, &sent);
        assert_eq!(outer.link_destination, sent.link_destination);
        assert_eq!(outer.link_source, sent.link_source);
        let expected = Packet {
            hop_limit: sent.hop_limit - 1,
            ..sent
        };
        assert_eq!(inner, expected);
        Ok(())
    });
}

// Rows: TUN-08
#[test]
fn traffic_class_and_congestion_mark_are_copied_to_the_outer_header() {
    on_bench(|bench| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        // A code point with each of the four values of ECN (RFC 6040 section 4.1).
        for class in [0xb8, 0xb9, 0xba, 0xbb] {
            let sent = Packet {
                class,
                ..Packet::udp(CN, PCOA, 100)
            };
            let ran = bench.router(&sent.octets())?;
            let (outer, inner) = opened(&ran, Verdict::Pass, Reason::TunnelledByKernel, &sent);
            assert_eq!(outer.class, class);
            assert_eq!(inner.class, class);
            assert_eq!(outer.flow, inner.flow);
        }
        Ok(())
    });
}

#[test]
fn a_packet_without_a_flow_label_gets_one_that_tells_flows_apart() {
    on_bench(|bench| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let mut label = |source, class| {
            let sent = Packet {
                flow: 0,
                class,
                ..Packet::udp(source, PCOA, 100)
            };
            let ran = bench.router(&sent.octets())?;
            let (outer, inner) = opened(&ran, Verdict::Pass, Reason::TunnelledByKernel, &sent);
            assert_eq!(inner.flow, 0, "the inner label is the sender's affair");
            assert_eq!(outer.class, class, "the label spilt into the traffic class");
            anyhow::Ok(outer.flow)
        };
        let first = label(CN, 0)?;
        assert_ne!(first, 0);
        assert_eq!(label(CN, 0xff)?, first, "the same flow, another label");
        assert_ne!(label(OTHER, 0)?, first, "another flow, the same label");
        Ok(())
    });
}

// Rows: TUN-08
#[test]
fn a_used_up_hop_limit_is_left_to_the_kernel() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        for hop_limit in [0, 1] {
            let sent = Packet {
                hop_limit,
                ..Packet::udp(CN, PCOA, 100)
            }
            .octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::HopLimit, &sent);
        }
        let sent = Packet {
            hop_limit: 2,
            ..Packet::udp(CN, PCOA, 100)
        };
        let ran = bench.router_on(router.incoming, &sent.octets())?;
        let (_, inner) = opened(&ran, Verdict::Redirect, Reason::Tunnelled, &sent);
        assert_eq!(inner.hop_limit, 1);
        Ok(())
    });
}

// Rows: FBA-11, TUN-06
#[test]
fn an_expired_binding_redirects_nothing() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, over())?;
        let sent = Packet::udp(CN, PCOA, 100).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::Expired, &sent);
        bench.maps.set_expiry(PCOA, later())?;
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is(Verdict::Redirect, Reason::Tunnelled, &sent);
        Ok(())
    });
}

#[test]
fn a_removed_binding_redirects_nothing() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        assert_eq!(bench.maps.unbind(PCOA)?, None);
        let sent = Packet::udp(CN, PCOA, 100).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        Ok(())
    });
}

/// A fragment is plain IPv6 to the tunnel, and so is a packet with extension headers.
#[test]
fn fragments_and_extension_headers_go_into_the_tunnel_as_they_are() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        const HOP_BY_HOP: u8 = 0;
        const FRAGMENT: u8 = 44;
        const DESTINATION_OPTIONS: u8 = 60;
        // Next header UDP, length 0, PadN of 4 octets; or offset 185, no more fragments.
        let options = [17, 0, 1, 4, 0, 0, 0, 0, 1, 2, 3, 4];
        let fragment = [17, 0, 5, 200, 0, 0, 0, 1, 1, 2, 3, 4];
        for (next_header, payload) in [
            (HOP_BY_HOP, options),
            (FRAGMENT, fragment),
            (DESTINATION_OPTIONS, options),
        ] {
            let sent = Packet::of(CN, PCOA, next_header, &payload);
            let ran = bench.router_on(router.incoming, &sent.octets())?;
            let (_, inner) = opened(&ran, Verdict::Redirect, Reason::Tunnelled, &sent);
            assert_eq!(inner.payload, payload);
            assert_eq!(inner.next_header, next_header);
        }
        Ok(())
    });
}
