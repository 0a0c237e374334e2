//! NAR that answered HAck code 3: the mobile node keeps its PCoA on a link where it does not belong.

use std::net::Ipv6Addr;

use anyhow::Result;
use fmip_common::{binding::NextHop, buffer::DRAIN_RELEASE, reason::Reason};
use fmip_ctl::proto::Tunnel;

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, OUT_MTU, Router, Verdict, address::*, in_namespace, later,
        on_router, over,
    },
    packets::{ICMPV6, IPV6, Packet},
    receiver::Receiver,
};

/// The end of the tunnel at this router.
const NAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf2, 0, 0, 0, 0, 2);
/// Another address of the PAR.
const PAR_TOO: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf1, 0, 0, 0, 0, 3);
/// The link-layer address of this router on the mobile node's link.
const IN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x20];

const TUNNEL: Tunnel = Tunnel {
    local: NAR,
    remote: PAR,
};

/// The mobile node, behind `in0`.
fn node(router: &Router) -> NextHop {
    NextHop::untagged(router.incoming, NEXT_HOP_MAC, IN_MAC)
}

/// Holds what is for the PCoA; the buffer's index.
fn keep(bench: &mut Bench, router: &Router) -> Result<u32> {
    bench.maps.add_local(NAR)?;
    bench.maps.set_peers(&[vec![OTHER], vec![PAR, PAR_TOO]])?;
    bench.maps.hold(PCOA, node(router), Some(TUNNEL), later())?;
    let release = bench.maps.release(PCOA, later())?;
    bench.releases(release)
}

/// A packet that the mobile node sends.
fn from_node(destination: Ipv6Addr) -> Packet {
    Packet {
        link_source: NEXT_HOP_MAC,
        ..Packet::udp(PCOA, destination, 100)
    }
}

// Rows: HAK-07, AMB-20, BUF-08
#[test]
fn what_comes_in_the_tunnel_or_not_is_held_unwrapped_and_delivered_in_order() {
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        namespace.prepare_for_xdp("in1")?;
        let receiver = Receiver::new()?;
        let bench = &mut bench;
        let buffer = keep(bench, &router)?;
        let ways = |number| {
            let plain = Packet::numbered(CN, PCOA, number);
            match number % 3 {
                0 => plain.tunnelled(PAR, NAR),
                1 => plain.tunnelled(PAR_TOO, NAR),
                _ => plain,
            }
            .octets()
        };
        for number in 0..6 {
            let sent = ways(number);
            let ran = bench.router_on(router.incoming, &sent)?;
            assert_eq!(ran.verdict, Verdict::Drop);
            assert_eq!(ran.moved, [(Reason::Held, 1, sent.len() as u64)]);
        }
        bench.drain(DRAIN_RELEASE, buffer, 6)?;
        bench.close(buffer)?;
        let delivered = |number| {
            let sent = Packet::numbered(CN, PCOA, number);
            Packet {
                hop_limit: sent.hop_limit - 1,
                link_destination: NEXT_HOP_MAC,
                link_source: IN_MAC,
                ..sent
            }
        };
        for (number, packet) in receiver.packets(6)?.into_iter().enumerate() {
            assert_eq!(packet, delivered(number as u32));
        }
        for number in 6..9 {
            let sent = ways(number);
            let ran = bench.router_on(router.incoming, &sent)?;
            let packet = ran.is(Verdict::Redirect, Reason::Delivered, &sent);
            assert_eq!(packet, delivered(number));
        }
        Ok(())
    });
}

// Rows: AMB-20, TUN-04
#[test]
fn a_tunnel_from_another_router_or_to_another_address_stays_closed() {
    on_router(|bench, router| {
        keep(bench, router)?;
        bench.maps.add_local(CN)?;
        for (source, destination) in [(OTHER, NAR), (CN, NAR), (NCOA, NAR), (PAR, CN)] {
            let sent = Packet::udp(CN, PCOA, 100)
                .tunnelled(source, destination)
                .octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent);
        }
        // A peer that is one no more.
        bench.maps.set_peers(&[vec![PAR]])?;
        let sent = Packet::udp(CN, PCOA, 100).tunnelled(PAR_TOO, NAR).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent);
        Ok(())
    });
}

// Rows: HAK-07, HI-16
#[test]
fn what_the_node_sends_goes_into_the_tunnel_to_the_par() {
    on_router(|bench, router| {
        keep(bench, router)?;
        let sent = from_node(CN);
        let ran = bench.router_on(router.incoming, &sent.octets())?;
        let outer = ran.is(Verdict::Redirect, Reason::Tunnelled, &sent.octets());
        let expected = Packet {
            hop_limit: sent.hop_limit - 1,
            ..sent
        };
        let expected = Packet {
            link_destination: NEXT_HOP_MAC,
            link_source: OUT_MAC,
            flow: expected.flow,
            ..expected.tunnelled(NAR, PAR)
        };
        assert_eq!(outer, expected);

        let big = Packet {
            payload: vec![0; OUT_MTU as usize - 2 * IPV6 + 1],
            ..from_node(CN)
        };
        let ran = bench.router_on(router.incoming, &big.octets())?;
        assert_eq!(ran.verdict, Verdict::Reply);
        let answer = Packet::read(&ran.frame);
        assert_eq!((answer.source, answer.destination), (NAR, PCOA));
        Ok(())
    });
}

// Rows: TUN-04
#[test]
fn nobody_else_speaks_for_the_node() {
    on_router(|bench, router| {
        keep(bench, router)?;
        let sent = from_node(CN).octets();
        // It came in elsewhere.
        let ran = bench.router(&sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent);
        let sent = Packet::udp(PCOA, CN, 100).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent);
        Ok(())
    });
}

#[test]
fn what_the_node_says_to_this_link_stays_on_it() {
    on_router(|bench, router| {
        keep(bench, router)?;
        let discovery = Packet {
            hop_limit: 255,
            link_source: NEXT_HOP_MAC,
            ..Packet::of(PCOA, CN, ICMPV6, &[135, 0, 0, 0, 0, 0, 0, 0])
        };
        for sent in [
            from_node("ff02::1".parse()?),
            from_node("fe80::1".parse()?),
            from_node(NAR),
            discovery,
        ] {
            let sent = sent.octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::LinkScope, &sent);
        }
        let used_up = Packet {
            hop_limit: 1,
            ..from_node(CN)
        }
        .octets();
        let ran = bench.router_on(router.incoming, &used_up)?;
        ran.is_unchanged(Verdict::Pass, Reason::HopLimit, &used_up);
        Ok(())
    });
}

#[test]
fn when_it_ends_the_node_is_a_stranger_again() {
    on_router(|bench, router| {
        keep(bench, router)?;
        let up = from_node(CN).octets();
        let down = Packet::udp(CN, PCOA, 100).tunnelled(PAR, NAR).octets();
        bench.maps.set_expiry(PCOA, over())?;
        let ran = bench.router_on(router.incoming, &up)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &up);
        let ran = bench.router_on(router.incoming, &down)?;
        ran.is_unchanged(Verdict::Pass, Reason::Expired, &down);
        bench.maps.unbind(PCOA)?;
        for sent in [up, down] {
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        }
        Ok(())
    });
}

/// The other side of it, at the PAR: the tunnel ends at the NAR's own address, and may come from any of
/// its addresses.
// Rows: HAK-08, TUN-01, AMB-20
#[test]
fn at_the_par_the_tunnel_goes_to_the_nar_and_comes_from_any_of_its_addresses() {
    let nar_too = OTHER;
    on_router(|bench, router| {
        bench.maps.add_local(PAR)?;
        bench.maps.set_peers(&[vec![NAR, nar_too]])?;
        bench.maps.install_tunnel(PCOA, NAR, PAR, later())?;
        let sent = Packet::udp(CN, PCOA, 100).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        let outer = ran.is(Verdict::Redirect, Reason::Tunnelled, &sent);
        assert_eq!((outer.source, outer.destination), (PAR, NAR));
        for source in [NAR, nar_too] {
            let sent = Packet::udp(PCOA, CN, 100).tunnelled(source, PAR).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is(Verdict::Redirect, Reason::Untunnelled, &sent);
        }
        let sent = Packet::udp(PCOA, CN, 100).tunnelled(NCOA, PAR).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent);
        Ok(())
    });
}
