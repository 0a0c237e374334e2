//! PAR: a packet that the tunnel makes too long (RFC 2473 section 7.1, RFC 4443 section 3.2).

use fmip_common::reason::Reason;
use fmip_ctl::io::maps::Port;

use crate::{
    bench::{Bench, OUT_MTU, Ran, Router, Verdict, address::*, in_namespace, later, on_router},
    packets::{ETHERNET, ICMPV6, IPV6, Packet, ROUTER_MAC, SENDER_MAC},
};

const MINIMUM_MTU: usize = 1280;

/// A packet to the PCoA that is `octets` long, from its IPv6 header on.
fn of_length(octets: usize) -> Packet {
    Packet::udp(CN, PCOA, octets - IPV6)
}

fn send(bench: &mut Bench, router: &Router, packet: &Packet) -> anyhow::Result<Ran> {
    bench.router_on(router.incoming, &packet.octets())
}

// Rows: TUN-08
#[test]
fn the_longest_packet_that_fits_is_tunnelled_and_one_octet_more_is_answered() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let fits = of_length(OUT_MTU as usize - IPV6);
        let outer =
            send(bench, router, &fits)?.is(Verdict::Redirect, Reason::Tunnelled, &fits.octets());
        assert_eq!(outer.payload.len() + IPV6, OUT_MTU as usize);

        let sent = of_length(OUT_MTU as usize - IPV6 + 1);
        let ran = send(bench, router, &sent)?;
        assert_eq!(ran.verdict, Verdict::Reply);
        let octets = sent.octets().len() as u64;
        assert_eq!(
            ran.moved,
            [(Reason::TooBig, 1, octets), (Reason::TooBigSent, 1, octets)]
        );
        let answer = Packet::read(&ran.frame);
        assert_eq!(answer.link_destination, SENDER_MAC);
        assert_eq!(answer.link_source, ROUTER_MAC);
        assert_eq!(answer.source, PAR);
        assert_eq!(answer.destination, CN);
        assert_eq!(answer.next_header, ICMPV6);
        assert_eq!(answer.hop_limit, 64);
        assert_eq!(answer.class, 0);
        assert_eq!(answer.payload.len() + IPV6, MINIMUM_MTU);
        assert_eq!(answer.checksum(), 0, "the checksum is wrong");
        let (header, quoted) = answer.payload.split_at(8);
        assert_eq!(header[..2], [2, 0], "type and code of Packet Too Big");
        let mtu = u32::from_be_bytes(header[4..].try_into()?);
        assert_eq!(mtu, OUT_MTU - IPV6 as u32);
        assert_eq!(quoted, &sent.octets()[ETHERNET..ETHERNET + quoted.len()]);
        Ok(())
    });
}

/// The far router's access link is taken to be like ours: what is too big there would be told to this
/// router, which cannot tell the sender.
// Rows: TUN-08
#[test]
fn the_narrowest_of_our_links_bounds_the_tunnel_too() {
    const ACCESS_MTU: u32 = 1400;
    on_router(|bench, router| {
        bench
            .maps
            .add_interface(router.parked, ACCESS_MTU, Port::of(router.parked))?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let fits = of_length(ACCESS_MTU as usize - IPV6);
        send(bench, router, &fits)?.is(Verdict::Redirect, Reason::Tunnelled, &fits.octets());
        let ran = send(bench, router, &of_length(ACCESS_MTU as usize - IPV6 + 1))?;
        assert_eq!(ran.verdict, Verdict::Reply);
        let answer = Packet::read(&ran.frame);
        let mtu = u32::from_be_bytes(answer.payload[4..8].try_into()?);
        assert_eq!(mtu, ACCESS_MTU - IPV6 as u32);
        Ok(())
    });
}

/// The bound is that of the way to the tunnel's end: its link's, or its route's if that is narrower. (Locked,
/// for only then does the kernel itself bind what it forwards by it.)
// Rows: TUN-08
#[test]
fn the_way_to_the_tunnels_end_bounds_what_goes_into_it() {
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        for (change, mtu) in [
            ("link set out0 mtu 1450", 1450),
            (
                "-6 route add 2001:db8:2::/64 via 2001:db8:f::2 dev out0 mtu lock 1400",
                1400,
            ),
            // The narrowest that there is (RFC 8200 section 5): what it leaves to the sender is less than that,
            // and a sender is told 1280 all the same (RFC 2473 section 7.1).
            (
                "-6 route change 2001:db8:2::/64 via 2001:db8:f::2 dev out0 mtu lock 1280",
                1280,
            ),
        ] {
            bench.reroute(namespace, change)?;
            let fits = of_length(mtu - IPV6);
            let ran = send(&mut bench, &router, &fits)?;
            ran.is(Verdict::Redirect, Reason::Tunnelled, &fits.octets());
            bench.refill_errors()?;
            let sent = of_length(mtu - IPV6 + 1);
            let ran = send(&mut bench, &router, &sent)?;
            assert_eq!(ran.verdict, Verdict::Reply, "{change}");
            let answer = Packet::read(&ran.frame);
            let told = u32::from_be_bytes(answer.payload[4..8].try_into()?);
            assert_eq!(told as usize, (mtu - IPV6).max(MINIMUM_MTU), "{change}");
            assert_eq!(answer.source, PAR);
            assert_eq!(answer.checksum(), 0);
        }
        Ok(())
    });
}

/// RFC 8201 section 4: a node never goes below 1280 for what it is told, and a router that named less would
/// only make it add fragment headers.
#[test]
fn nobody_is_told_less_than_the_minimum() {
    on_router(|bench, router| {
        let narrow = MINIMUM_MTU as u32 + 20;
        bench
            .maps
            .add_interface(router.parked, narrow, Port::of(router.parked))?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let ran = send(bench, router, &of_length(MINIMUM_MTU + 20))?;
        assert_eq!(ran.verdict, Verdict::Reply);
        let answer = Packet::read(&ran.frame);
        assert_eq!(answer.payload[4..8], (MINIMUM_MTU as u32).to_be_bytes());
        Ok(())
    });
}

/// The answer is made of the packet that came: of any class, with any label and any hop limit, and with
/// extension headers in front of what it carries.
#[test]
fn the_answer_quotes_the_packet_whatever_it_is() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        for next_header in [6, 17, 0, 43, 44, 59, 60, 253] {
            for (class, flow, hop_limit) in [(0xff, 0xf_ffff, 255), (0, 0, 2)] {
                let sent = Packet {
                    class,
                    flow,
                    hop_limit,
                    ..Packet::of(CN, PCOA, next_header, &[0xa5; OUT_MTU as usize - IPV6])
                };
                bench.refill_errors()?;
                let ran = send(bench, router, &sent)?;
                assert_eq!(ran.verdict, Verdict::Reply, "next header {next_header}");
                let answer = Packet::read(&ran.frame);
                assert_eq!((answer.source, answer.destination), (PAR, CN));
                assert_eq!((answer.class, answer.flow, answer.hop_limit), (0, 0, 64));
                assert_eq!(answer.payload.len() + IPV6, MINIMUM_MTU);
                assert_eq!(answer.checksum(), 0);
                assert!(sent.octets()[ETHERNET..].starts_with(&answer.payload[8..]));
            }
        }
        Ok(())
    });
}

/// RFC 4443 section 2.4 (e.6): never to an address that is no single node's. Such a packet is not forwarded,
/// either.
#[test]
fn a_source_that_is_nobody_gets_no_answer() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        for source in ["::", "::1", "ff02::1", "ff0e::1", "fe80::1"] {
            let sent = Packet {
                source: source.parse()?,
                ..of_length(OUT_MTU as usize)
            };
            let ran = send(bench, router, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::LinkScope, &sent.octets());
        }
        Ok(())
    });
}

/// A packet that has no hop left is not too big: it goes no further (RFC 4443 section 3.3).
#[test]
fn a_used_up_hop_limit_comes_before_the_size() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let sent = Packet {
            hop_limit: 1,
            ..of_length(OUT_MTU as usize)
        };
        let ran = send(bench, router, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::HopLimit, &sent.octets());
        Ok(())
    });
}

#[test]
fn answers_are_limited_in_rate_and_the_packets_are_dropped_all_the_same() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let sent = of_length(OUT_MTU as usize);
        // On one processor, or each processor's own limit would be spent in turn.
        rustix::thread::sched_setaffinity(None, &one_processor()?)?;
        let start = std::time::Instant::now();
        let (mut answers, mut drops) = (0, 0);
        for _ in 0..1000 {
            let ran = send(bench, router, &sent)?;
            match ran.verdict {
                Verdict::Reply => answers += 1,
                _ => {
                    ran.is_unchanged(Verdict::Drop, Reason::TooBig, &sent.octets());
                    drops += 1;
                }
            }
        }
        // Ten at once, then one in ten milliseconds.
        let earned = start.elapsed().as_millis() / 10 + 1;
        assert!(answers >= 10, "{answers} answers");
        assert!(answers <= 10 + earned, "{answers} answers");
        assert_eq!(answers + drops, 1000);
        Ok(())
    });
}

/// RFC 4443 section 2.4 (e): an error about an error, or to an address that is nobody's, must not
/// be.
#[test]
fn what_must_not_be_answered_is_dropped_in_silence() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let mut error = vec![0; OUT_MTU as usize - IPV6];
        error[0] = 1;
        let error = Packet::of(CN, PCOA, ICMPV6, &error);
        let redirect = Packet::of(CN, PCOA, ICMPV6, &{
            let mut payload = error.payload.clone();
            payload[0] = 137;
            payload
        });
        for sent in [error, redirect] {
            let ran = send(bench, router, &sent)?;
            ran.is_unchanged(Verdict::Drop, Reason::TooBig, &sent.octets());
        }
        let echo = Packet::of(CN, PCOA, ICMPV6, &{
            let mut payload = vec![0; OUT_MTU as usize - IPV6];
            payload[0] = 128;
            payload
        });
        assert_eq!(send(bench, router, &echo)?.verdict, Verdict::Reply);
        Ok(())
    });
}

fn one_processor() -> anyhow::Result<rustix::thread::CpuSet> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let mut one = rustix::thread::CpuSet::new();
    let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu));
    one.set(first.unwrap_or(0));
    Ok(one)
}
