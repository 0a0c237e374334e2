//! The ways that packets leave by: known next hops and routes, interfaces that take no redirected frames; and
//! what is counted of each binding and each interface.

use std::{collections::BTreeMap, net::Ipv6Addr};

use anyhow::Result;
use fmip_common::{binding::NextHop, buffer::DRAIN_RELEASE, reason::Reason};
use fmip_ctl::{
    io::maps::{BindingStatus, Port},
    proto::Tunnel,
};

use crate::{
    bench::{
        Bench, ELSEWHERE, MTU, NEXT_HOP_MAC, OUT_MAC, OUT_MTU, Program, Router, Verdict,
        address::*, in_namespace, later, on_router, over,
    },
    corpus::{VLAN, named, tagged},
    packets::{IPV6, Packet},
    receiver::Receiver,
};

const ANOTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x12];

/// Another node that went to the same router, and one that went to another.
const PCOA_TOO: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x11);
const PCOA_ELSEWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x12);

/// Sends a packet to a node that has left; the link-layer destination that it got, or `None` if it was left to
/// the kernel.
fn goes_to(bench: &mut Bench, router: &Router, node: Ipv6Addr) -> Result<Option<[u8; 6]>> {
    let sent = Packet::udp(CN, node, 100).octets();
    let ran = bench.router_on(router.incoming, &sent)?;
    if ran.verdict == Verdict::Pass {
        ran.is(Verdict::Pass, Reason::TunnelledByKernel, &sent);
        return Ok(None);
    }
    let outer = ran.is(Verdict::Redirect, Reason::Tunnelled, &sent);
    Ok(Some(outer.link_destination))
}

// Rows: TUN-01
#[test]
fn a_known_next_hop_is_taken_without_a_route_and_changes_for_all_at_once() {
    in_namespace(|namespace| {
        let bench = &mut Bench::new()?;
        let router = &Router::new(namespace, bench)?;
        let hop = |destination| {
            let hop = NextHop::untagged(router.outgoing, destination, OUT_MAC);
            Some((hop, OUT_MTU))
        };
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        bench
            .maps
            .install_tunnel(PCOA_ELSEWHERE, OTHER, PAR, later())?;
        bench.reroute(namespace, "-6 route del default")?;
        assert_eq!(goes_to(bench, router, PCOA)?, None);

        bench.maps.set_hop(NCOA, hop(ANOTHER_MAC))?;
        // One that is bound before the next hop is known, and one that is bound after.
        bench.maps.install_tunnel(PCOA_TOO, NCOA, PAR, later())?;
        for node in [PCOA, PCOA_TOO] {
            assert_eq!(goes_to(bench, router, node)?, Some(ANOTHER_MAC));
        }
        assert_eq!(goes_to(bench, router, PCOA_ELSEWHERE)?, None);

        bench.maps.set_hop(NCOA, hop(NEXT_HOP_MAC))?;
        for node in [PCOA, PCOA_TOO] {
            assert_eq!(goes_to(bench, router, node)?, Some(NEXT_HOP_MAC));
        }

        // It stays with the address, not with the binding.
        bench.maps.unbind(PCOA)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        assert_eq!(goes_to(bench, router, PCOA)?, Some(NEXT_HOP_MAC));
        bench.maps.set_expiry(PCOA, later())?;
        assert_eq!(goes_to(bench, router, PCOA)?, Some(NEXT_HOP_MAC));
        bench.maps.install_tunnel(PCOA, OTHER, PAR, later())?;
        assert_eq!(goes_to(bench, router, PCOA)?, None);
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;

        bench.maps.set_hop(NCOA, None)?;
        for node in [PCOA, PCOA_TOO] {
            assert_eq!(goes_to(bench, router, node)?, None);
        }
        bench.reroute(namespace, "route add default via 2001:db8:f::2 dev out0")?;
        for node in [PCOA, PCOA_TOO, PCOA_ELSEWHERE] {
            assert_eq!(goes_to(bench, router, node)?, Some(NEXT_HOP_MAC));
        }
        Ok(())
    });
}

// Rows: TUN-08
#[test]
fn a_known_next_hop_bounds_what_goes_into_its_tunnels() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        for mtu in [None, Some(1400), Some(1320), Some(1300), None] {
            let hop = mtu.map(|mtu| (router.next_hop(), mtu));
            bench.maps.set_hop(NCOA, hop)?;
            let mtu = mtu.unwrap_or(OUT_MTU) as usize;
            let of_length = |octets: usize| Packet::udp(CN, PCOA, octets - IPV6).octets();
            let fits = of_length(mtu - IPV6);
            let ran = bench.router_on(router.incoming, &fits)?;
            ran.is(Verdict::Redirect, Reason::Tunnelled, &fits);

            bench.refill_errors()?;
            let too_big = of_length((mtu - IPV6 + 1).max(1281));
            let ran = bench.router_on(router.incoming, &too_big)?;
            assert_eq!(ran.verdict, Verdict::Reply, "{mtu}");
            let answer = Packet::read(&ran.frame);
            let told = u32::from_be_bytes(answer.payload[4..8].try_into()?) as usize;
            assert_eq!(told, (mtu - IPV6).max(1280));
        }
        Ok(())
    });
}

/// A driver without XDP would lose redirected frames and tell nobody. A TC program gives packets to the
/// interface itself, whatever its driver.
#[test]
fn an_interface_that_takes_no_frames_gets_them_from_the_kernel() {
    on_router(|bench, router| {
        let port = Port::default();
        bench.maps.add_interface(router.outgoing, MTU, port)?;
        let hop = bench.maps.hop(router.outgoing, NEXT_HOP_MAC, OUT_MAC);
        assert_eq!(hop.port, 0);
        bench.maps.add_local(PAR)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        bench.maps.hold(OTHER, hop, None, later())?;
        let release = bench.maps.release(OTHER, later())?;
        let buffer = bench.releases(release)?;
        let tunnelled = Packet::udp(CN, PCOA, 100).octets();
        let reverse = Packet::udp(PCOA, CN, 100).tunnelled(NCOA, PAR).octets();
        let delivered = Packet::udp(CN, OTHER, 100);
        let out_of_tunnel = Packet::udp(PCOA, OTHER, 100).tunnelled(NCOA, PAR).octets();

        // Held like any other, and released to the kernel.
        let sent = delivered.octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Held, &sent);
        let (_, moved) = bench.drain(DRAIN_RELEASE, buffer, 1)?;
        assert_eq!(moved, [(Reason::ReleasedByKernel, 1)]);
        bench.close(buffer)?;

        let mut run = |program, sent: &[u8]| bench.run(program, Some(router.incoming), sent);
        // With the next hop that is known as without.
        let known = |bench: &mut Bench| bench.maps.set_hop(NCOA, Some((hop, OUT_MTU)));
        let ran = run(Program::Router, &tunnelled)?;
        let outer = ran.is(Verdict::Pass, Reason::TunnelledByKernel, &tunnelled);
        assert_eq!(outer.inner().hop_limit, 63);
        let ran = run(Program::Router, &reverse)?;
        let inner = ran.is(Verdict::Pass, Reason::UntunnelledByKernel, &reverse);
        // The kernel forwards it, and takes the hop.
        assert_eq!(inner.hop_limit, 64);
        let ran = run(Program::Router, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::DeliveredByKernel, &sent);
        let ran = run(Program::Router, &out_of_tunnel)?;
        let inner = ran.is(Verdict::Pass, Reason::DeliveredByKernel, &out_of_tunnel);
        assert_eq!(inner, Packet::udp(PCOA, OTHER, 100));

        for (sent, reason) in [
            (&tunnelled, Reason::Tunnelled),
            (&reverse, Reason::Untunnelled),
            (&sent, Reason::Delivered),
        ] {
            let ran = run(Program::RouterIn, sent)?;
            let packet = ran.is(Verdict::Redirect, reason, sent);
            assert_eq!(packet.link_destination, NEXT_HOP_MAC);
        }
        known(bench)?;
        assert_eq!(goes_to(bench, router, PCOA)?, None);
        let ran = bench.run(Program::RouterIn, Some(router.incoming), &tunnelled)?;
        ran.is(Verdict::Redirect, Reason::Tunnelled, &tunnelled);
        Ok(())
    });
}

/// Frames for a VLAN go out of its port: the interface of the VLAN itself would lose them.
#[test]
fn frames_for_a_vlan_leave_by_its_port() {
    in_namespace(|namespace| {
        let bench = &mut Bench::new()?;
        let router = &Router::new(namespace, bench)?;
        // Whatever is sent to the stand-in is lost.
        namespace.ip("link set vlan0 down")?;
        namespace.prepare_for_xdp("out1")?;
        let receiver = Receiver::new()?;
        let port = Port {
            index: router.outgoing,
            tags: named(&VLAN),
        };
        bench.maps.add_interface(router.vlan, MTU, port)?;
        let hop = bench.maps.hop(router.vlan, NEXT_HOP_MAC, OUT_MAC);
        bench.maps.hold(PCOA, hop, None, later())?;
        let release = bench.maps.release(PCOA, later())?;
        let buffer = bench.releases(release)?;
        let packets: Vec<Packet> = (0..8)
            .map(|number| Packet::numbered(CN, PCOA, number))
            .collect();
        for packet in &packets {
            bench.router_on(router.incoming, &packet.octets())?;
        }
        let (_, moved) = bench.drain(DRAIN_RELEASE, buffer, 8)?;
        assert_eq!(moved, [(Reason::Released, 8)]);
        // The tag is beside the packet when the far end's socket gets it.
        for (packet, sent) in receiver.packets(8)?.iter().zip(&packets) {
            let expected = Packet {
                link_destination: NEXT_HOP_MAC,
                link_source: OUT_MAC,
                hop_limit: sent.hop_limit - 1,
                ..sent.clone()
            };
            assert_eq!(*packet, expected);
        }
        Ok(())
    });
}

/// What is bound, by address.
fn bound(bench: &Bench) -> BTreeMap<Ipv6Addr, BindingStatus> {
    let bindings = bench.maps.bindings().into_iter();
    bindings.map(|binding| (binding.address, binding)).collect()
}

#[test]
fn each_binding_counts_the_packets_that_met_it() {
    on_router(|bench, router| {
        let expires_ns = later();
        bench.maps.install_tunnel(PCOA, NCOA, PAR, expires_ns)?;
        bench.maps.install_tunnel(PCOA_TOO, NCOA, PAR, later())?;
        bench.maps.hold(OTHER, router.next_hop(), None, later())?;
        let mut octets = BTreeMap::new();
        for (node, packets) in [(PCOA, 3), (PCOA_TOO, 1), (OTHER, 2)] {
            for length in 0..packets {
                let sent = Packet::udp(CN, node, 100 + length).octets();
                bench.router_on(router.incoming, &sent)?;
                *octets.entry(node).or_insert(0) += sent.len() as u64;
            }
        }
        let met = bound(bench);
        // In the data path it is a number of ticks, of up to ten milliseconds.
        let kept = met[&PCOA].expires_ns;
        assert!(kept.abs_diff(expires_ns) < 20_000_000, "{kept}");
        assert_eq!(
            met[&PCOA],
            BindingStatus {
                address: PCOA,
                action: "tunnel",
                tunnel: Some(Tunnel {
                    local: PAR,
                    remote: NCOA
                }),
                next_hop: None,
                buffer: None,
                expires_ns: kept,
                packets: 3,
                bytes: octets[&PCOA],
            }
        );
        assert_eq!(
            (met[&PCOA_TOO].packets, met[&PCOA_TOO].bytes),
            (1, octets[&PCOA_TOO])
        );
        let held = met[&OTHER];
        assert_eq!((held.packets, held.bytes), (2, octets[&OTHER]));
        assert_eq!((held.action, held.tunnel), ("buffer", None));
        assert_eq!(held.buffer, bench.maps.buffer_of(OTHER));

        // A change goes on counting; what does not go its way is none of its packets.
        bench.maps.install_tunnel(PCOA, OTHER, PAR, over())?;
        let sent = Packet::udp(CN, PCOA, 100).octets();
        bench.router_on(router.incoming, &sent)?;
        bench.maps.install_tunnel(PCOA, OTHER, PAR, later())?;
        assert_eq!(bound(bench)[&PCOA].packets, 3);
        bench.router_on(router.incoming, &sent)?;
        assert_eq!(bound(bench)[&PCOA].packets, 4);

        // Another binding of the same address begins anew.
        bench.maps.unbind(PCOA)?;
        assert_eq!(bound(bench).get(&PCOA), None);
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        assert_eq!(
            (bound(bench)[&PCOA].packets, bound(bench)[&PCOA].bytes),
            (0, 0)
        );
        Ok(())
    });
}

#[test]
fn each_interface_counts_what_came_in_there() {
    in_namespace(|namespace| {
        let bench = &mut Bench::counting_by_interface()?;
        let router = &Router::new(namespace, bench)?;
        let port = Port {
            index: router.incoming,
            tags: named(&VLAN),
        };
        bench.maps.add_interface(router.vlan, MTU, port)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let by_interface = |bench: &Bench| -> Result<BTreeMap<(u32, Reason), (u64, u64)>> {
            let mut sums = BTreeMap::new();
            for (interface, counts) in bench.maps.counts_by_interface()? {
                for (reason, count) in counts {
                    let sum: &mut (u64, u64) = sums.entry((interface, reason)).or_default();
                    *sum = (sum.0 + count.packets, sum.1 + count.bytes);
                }
            }
            Ok(sums)
        };
        let tunnelled = Packet::udp(CN, PCOA, 100).octets();
        let mut outgoing = tunnelled.clone();
        outgoing[..6].copy_from_slice(&OUT_MAC);
        let in_vlan = tagged(&tunnelled, &VLAN);
        let missed = Packet::udp(CN, OTHER, 50).octets();
        for (program, on, counted, sent, reason) in [
            (
                Program::Router,
                router.incoming,
                router.incoming,
                &tunnelled,
                Reason::Tunnelled,
            ),
            (
                Program::Router,
                router.incoming,
                router.vlan,
                &in_vlan,
                Reason::Tunnelled,
            ),
            (
                Program::RouterIn,
                router.incoming,
                router.incoming,
                &missed,
                Reason::NoBinding,
            ),
            (
                Program::RouterIn,
                router.outgoing,
                router.outgoing,
                &missed,
                Reason::NoBinding,
            ),
            // What goes out is counted where it goes out, wherever it comes from.
            (
                Program::RouterForward,
                router.outgoing,
                router.outgoing,
                &outgoing,
                Reason::Tunnelled,
            ),
        ] {
            let before = by_interface(bench)?;
            bench.run(program, Some(on), sent)?;
            let after = by_interface(bench)?;
            let moved: Vec<_> = after
                .iter()
                .map(|(key, now)| {
                    let before = before[key];
                    (*key, (now.0 - before.0, now.1 - before.1))
                })
                .filter(|(_, moved)| moved.0 > 0)
                .collect();
            let expected = ((counted, reason), (1, sent.len() as u64));
            assert_eq!(moved, [expected], "{program:?}");
        }
        // All that has no counters of its own is counted together.
        namespace.ip(&format!(
            "link add far0 index {ELSEWHERE} type veth peer name far1"
        ))?;
        let before = by_interface(bench)?;
        bench.run(Program::RouterIn, Some(ELSEWHERE), &missed)?;
        let (before, after) = (
            before[&(0, Reason::NoBinding)],
            by_interface(bench)?[&(0, Reason::NoBinding)],
        );
        assert_eq!(after, (before.0 + 1, before.1 + missed.len() as u64));
        // And the sum is what is told without interfaces.
        let sum: u64 = by_interface(bench)?.values().map(|count| count.0).sum();
        let told: u64 = bench.counts()?.iter().map(|count| count.1).sum();
        assert_eq!(sum, told);
        Ok(())
    });
}
