//! PAR: a mobile node that left without a word is held, and what was held goes into its tunnel.

use std::net::Ipv6Addr;

use anyhow::Result;
use fmip_common::{
    buffer::{DRAIN_CLOSE, DRAIN_RELEASE, DrainJob, OUTCOME_BUSY, OUTCOME_EMPTY, OUTCOME_WAIT},
    reason::Reason,
};
use fmip_ctl::io::maps::Port;
use fmip_tests::NetNs;

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, OUT_MTU, Router, Verdict, address::*, in_namespace, later,
        on_router,
    },
    packets::{ICMPV6, IPV6, Packet},
    receiver::Receiver,
};

/// Holds packets to the PCoA; the buffer's index.
pub(crate) fn hold(bench: &mut Bench, router: &Router) -> Result<u32> {
    bench.maps.hold(PCOA, router.next_hop(), None, later())
}

/// Feeds numbered packets to the PCoA, which are held.
pub(crate) fn feed(
    bench: &mut Bench,
    router: &Router,
    numbers: std::ops::Range<u32>,
) -> Result<()> {
    for number in numbers {
        let sent = Packet::numbered(CN, PCOA, number).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sent);
    }
    Ok(())
}

/// The tunnel takes over what is held; the buffer's index.
pub(crate) fn install(bench: &mut Bench) -> Result<u32> {
    let release = bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
    bench.releases(release)
}

/// The packet is the one with this number, in the tunnel, as a router that forwards it sends it.
#[track_caller]
pub(crate) fn is_tunnelled(outer: &Packet, number: u32) {
    let sent = Packet::numbered(CN, PCOA, number);
    let expected = Packet {
        link_destination: NEXT_HOP_MAC,
        link_source: OUT_MAC,
        flow: sent.flow,
        ..Packet {
            hop_limit: sent.hop_limit - 1,
            ..sent
        }
        .tunnelled(PAR, NCOA)
    };
    assert_eq!(*outer, expected, "not number {number}");
}

// Rows: TUN-01, BUF-02, BUF-08
#[test]
fn what_was_held_goes_into_the_tunnel_what_comes_meanwhile_behind_it_then_all_goes_straight() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = hold(bench, router)?;
        feed(bench, router, 0..20)?;
        assert_eq!(install(bench)?, buffer, "the tunnel has another buffer");
        feed(bench, router, 20..30)?;
        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 25)?;
        assert_eq!(job.taken, 25);
        assert_eq!(moved, [(Reason::Released, 25)]);
        let (job, _) = bench.drain(DRAIN_CLOSE, buffer, 1)?;
        assert_eq!(job.outcome, OUTCOME_BUSY, "packets wait");
        feed(bench, router, 30..32)?;
        let (job, _) = bench.drain(DRAIN_RELEASE, buffer, 10)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_EMPTY, 7));
        bench.close(buffer)?;
        for (number, packet) in receiver.packets(32)?.iter().enumerate() {
            is_tunnelled(packet, number as u32);
        }
        let found = bench.buffer(buffer)?;
        assert_eq!((found.held, found.released, found.dropped), (32, 32, 0));
        assert_eq!(bench.maps.slots_in_use()?, 0);

        let sent = Packet::numbered(CN, PCOA, 32).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        is_tunnelled(&ran.is(Verdict::Redirect, Reason::Tunnelled, &sent), 32);
        assert_eq!(bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?, None);
        assert_eq!(bench.maps.unbind(PCOA)?, Some(buffer));
        Ok(())
    });
}

#[test]
fn what_was_held_for_a_node_that_comes_back_goes_to_its_link() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = hold(bench, router)?;
        feed(bench, router, 0..3)?;
        let release = bench.maps.release(PCOA, later())?;
        bench.releases(release)?;
        bench.drain(DRAIN_RELEASE, buffer, 3)?;
        bench.close(buffer)?;
        for (number, packet) in receiver.packets(3)?.iter().enumerate() {
            assert_eq!(packet.number(), number as u32);
            assert_eq!((packet.destination, packet.hop_limit), (PCOA, 63));
        }
        let sent = Packet::numbered(CN, PCOA, 3).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is(Verdict::Redirect, Reason::Delivered, &sent);

        // It leaves again: held once more, with an account of its own.
        let again = hold(bench, router)?;
        assert_ne!(again, buffer);
        feed(bench, router, 4..6)?;
        assert_eq!(bench.buffer(again)?.held, 2);
        Ok(())
    });
}

// Rows: MOV-02, TUN-04, BUF-08
#[test]
fn what_the_tunnel_has_not_sent_when_the_node_is_announced_back_goes_to_its_link_first() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        bench.maps.add_local(PAR)?;
        let buffer = hold(bench, router)?;
        feed(bench, router, 0..10)?;
        install(bench)?;
        bench.drain(DRAIN_RELEASE, buffer, 4)?;
        for (number, packet) in receiver.packets(4)?.iter().enumerate() {
            is_tunnelled(packet, number as u32);
        }
        assert_eq!(bench.maps.releasing_from(PCOA)?, Some(buffer));

        assert_eq!(hold(bench, router)?, buffer, "another buffer");
        assert_eq!(bench.maps.releasing_from(PCOA)?, None);
        feed(bench, router, 10..15)?;
        // It does not know yet that it is expected, and sends by its tunnel; nobody else may.
        let sent = |source: Ipv6Addr| Packet::udp(PCOA, CN, 100).tunnelled(source, PAR).octets();
        let opened = bench.router_on(router.incoming, &sent(NCOA))?;
        opened.is(Verdict::Redirect, Reason::Untunnelled, &sent(NCOA));
        let forged = bench.router_on(router.incoming, &sent(CN))?;
        forged.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent(CN));
        // Held for longer, all the same.
        assert_eq!(hold(bench, router)?, buffer);
        let opened = bench.router_on(router.incoming, &sent(NCOA))?;
        opened.is(Verdict::Redirect, Reason::Untunnelled, &sent(NCOA));

        let release = bench.maps.release(PCOA, later())?;
        assert_eq!(bench.releases(release)?, buffer);
        let after = bench.router_on(router.incoming, &sent(NCOA))?;
        after.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent(NCOA));
        bench.drain(DRAIN_RELEASE, buffer, 20)?;
        bench.close(buffer)?;
        for (packet, number) in receiver.packets(11)?.iter().zip(4..) {
            assert_eq!(packet.number(), number);
            assert_eq!((packet.destination, packet.hop_limit), (PCOA, 63));
        }
        let found = bench.buffer(buffer)?;
        assert_eq!((found.held, found.released, found.dropped), (15, 15, 0));
        Ok(())
    });
}

#[test]
fn while_it_is_held_a_node_has_no_tunnel_that_could_be_opened() {
    on_router(|bench, router| {
        bench.maps.add_local(PAR)?;
        hold(bench, router)?;
        let sent = Packet::udp(PCOA, CN, 100).tunnelled(NCOA, PAR).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        install(bench)?;
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is(Verdict::Redirect, Reason::Untunnelled, &sent);
        Ok(())
    });
}

/// The first packet makes the kernel resolve the next hop; those behind it wait here, and are neither lost
/// in the kernel's short queue nor sent ahead of it.
#[test]
fn an_unresolved_next_hop_loses_and_reorders_nothing() {
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        let receiver = Receiver::new()?;
        let bench = &mut bench;
        namespace.ip_batch("neighbor del 2001:db8:f::2 dev out0\n")?;
        let buffer = hold(bench, &router)?;
        feed(bench, &router, 0..20)?;
        install(bench)?;
        let (first, moved) = bench.drain(DRAIN_RELEASE, buffer, 20)?;
        assert_eq!((first.outcome, first.taken), (OUTCOME_WAIT, 1));
        assert_eq!((first.passed, first.resolving), (1, 1));
        assert_eq!(moved, [(Reason::ReleasedByKernel, 1)]);
        let job = DrainJob { taken: 0, ..first };
        let (second, moved) = bench.drain_job(job, 20)?;
        assert_eq!((second.outcome, second.taken), (OUTCOME_WAIT, 0));
        assert_eq!(moved, []);
        assert_eq!(bench.buffer(buffer)?.waiting, 19);

        namespace.ip_batch(
            "neighbor replace 2001:db8:f::2 lladdr 02:00:00:00:00:11 dev out0 nud permanent\n",
        )?;
        let (third, moved) = bench.drain(DRAIN_RELEASE, buffer, 19)?;
        assert_eq!(third.taken, 19);
        assert_eq!(moved, [(Reason::Released, 19)]);
        for (number, packet) in receiver.packets(20)?.iter().enumerate() {
            if number == 0 {
                // The kernel forwarded it, as a router does.
                assert_eq!(packet.hop_limit, 63);
                assert_eq!(packet.inner().number(), 0);
            } else {
                is_tunnelled(packet, number as u32);
            }
        }
        let found = bench.buffer(buffer)?;
        assert_eq!((found.released, found.dropped), (20, 0));
        Ok(())
    });
}

fn far(namespace: &NetNs) -> Result<()> {
    // An index beyond those that the bench names.
    namespace.ip_batch("link add far0 index 77 type veth peer name far1\n")?;
    namespace.sysctl("ipv6/conf/far0/disable_ipv6", 0)?;
    namespace.ip_batch(
        "link set far0 up\nlink set far1 up\n\
         address add 2001:db8:e::1/64 dev far0 nodad\n\
         neighbor add 2001:db8:e::2 lladdr 02:00:00:00:00:11 dev far0 nud permanent\n\
         route replace default via 2001:db8:e::2 dev far0\n",
    )
}

/// By an interface that takes no redirected frames the kernel sends what is released; and in one run,
/// whose frames are redirected before any is handed to the kernel, all take the same way.
#[test]
fn what_cannot_be_redirected_is_released_by_the_kernel_in_order() {
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        let receiver = Receiver::new()?;
        let bench = &mut bench;
        far(namespace)?;
        let buffer = hold(bench, &router)?;
        feed(bench, &router, 0..20)?;
        install(bench)?;
        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 10)?;
        assert_eq!((job.taken, job.passed), (10, 10));
        assert_eq!(moved, [(Reason::ReleasedByKernel, 10)]);
        // As if the way had become ours in the middle of a run.
        namespace.ip_batch("route replace default via 2001:db8:f::2 dev out0\n")?;
        let egress = job.egress;
        let job = DrainJob {
            passed: 1,
            taken: 0,
            egress,
            ..job
        };
        let (job, moved) = bench.drain_job(job, 10)?;
        assert_eq!((job.taken, job.passed), (10, 11));
        assert_eq!(moved, [(Reason::ReleasedByKernel, 10)]);
        for (number, packet) in receiver.packets(20)?.iter().enumerate() {
            assert_eq!(packet.inner().number(), number as u32);
            assert_eq!((packet.source, packet.destination), (PAR, NCOA));
        }
        Ok(())
    });
}

/// What comes when the tunnel is known is answered at once; what was held before, when it is released.
// Rows: TUN-08
#[test]
fn what_is_too_big_for_the_tunnel_is_answered_before_and_after_it_was_held() {
    const FITS: usize = OUT_MTU as usize - IPV6;
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = hold(bench, router)?;
        for octets in [FITS, FITS + 1] {
            let sent = Packet::udp(CN, PCOA, octets - IPV6).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_frame(Verdict::Drop, Reason::Held, &sent);
        }
        install(bench)?;
        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 5)?;
        assert_eq!(job.taken, 2);
        assert_eq!(
            moved,
            [
                (Reason::Released, 1),
                (Reason::TooBigSent, 1),
                (Reason::TooBigHeld, 1)
            ]
        );
        let found = bench.buffer(buffer)?;
        assert_eq!((found.released, found.dropped), (1, 1));
        let packets = receiver.packets(2)?;
        assert_eq!(packets[0].payload.len() + IPV6, OUT_MTU as usize);
        let answer = &packets[1];
        assert_eq!((answer.source, answer.destination), (PAR, CN));
        assert_eq!(answer.next_header, ICMPV6);
        assert_eq!(answer.payload[..2], [2, 0], "Packet Too Big");
        assert_eq!(answer.checksum(), 0);
        let mtu = u32::from_be_bytes(answer.payload[4..8].try_into()?);
        assert_eq!(mtu as usize, FITS);

        // Still in the buffer's hands, but the bound of our own links is known when it comes.
        bench
            .maps
            .add_interface(router.parked, 1400, Port::of(router.parked))?;
        install(bench)?;
        let sent = Packet::udp(CN, PCOA, 1400 - 2 * IPV6 + 1).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        assert_eq!(ran.verdict, Verdict::Reply);
        assert_eq!(bench.buffer(buffer)?.waiting, 0);
        Ok(())
    });
}
