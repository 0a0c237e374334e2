//! NAR: packets to the new care-of address wait in the handover buffer.

use std::time::Duration;

use anyhow::Result;
use fmip_common::{
    buffer::{
        Bounds, Buffer, CLOSED, DRAIN_CLOSE, DRAIN_RELEASE, DROPPED_OCTETS, DROPPED_PACKETS,
        DROPPED_POOL, OUTCOME_DONE, PRIORITY_RESERVE, STREAM, mark, metered, one_packet,
    },
    limits::FRAME_BYTES,
    reason::Reason,
};
use fmip_ctl::io::{
    monotonic_ns,
    pool::{BufferLimits, Policy, Room},
};

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, POOL, Router, Verdict, WIDE, address::*, in_namespace, later,
        on_router, over,
    },
    packets::{ETHERNET, IPV6, Packet},
    receiver::Receiver,
};

/// A packet to the NCoA, as the PAR's tunnel brings it.
fn tunnelled(number: u32) -> Packet {
    Packet::numbered(CN, PCOA, number).tunnelled(PAR, NCOA)
}

/// Runs `test` on a router that holds packets to the NCoA in the buffer whose index it gives.
fn holding(
    pool: u32,
    limits: BufferLimits,
    test: impl FnOnce(&mut Bench, &Router, u32) -> Result<()> + Send,
) {
    in_namespace(|namespace| {
        let mut bench = Bench::with(pool, limits)?;
        let router = Router::new(namespace, &mut bench)?;
        let buffer = bench.hold(NCOA, &router)?;
        test(&mut bench, &router, buffer)
    });
}

// Rows: HI-11
#[test]
fn a_packet_is_held_as_it_came_but_one_hop_older() {
    holding(POOL, WIDE, |bench, router, buffer| {
        let first = Packet::udp(CN, NCOA, 100);
        let second = Packet::udp(CN, NCOA, 101);
        let before = monotonic_ns();
        for sent in [&first, &second] {
            let ran = bench.router_on(router.incoming, &sent.octets())?;
            ran.is_frame(Verdict::Drop, Reason::Held, &sent.octets());
        }
        let after = monotonic_ns();
        // The pool's stack gives out its slots from the first one on.
        for (slot, sent) in [(0, &first), (1, &second)] {
            let expected = Packet {
                hop_limit: sent.hop_limit - 1,
                ..sent.clone()
            };
            assert_eq!(bench.slot(slot)?, expected.octets());
        }
        let found = bench.drain.buffer(buffer)?;
        let octets = |packet: &Packet| (packet.octets().len() - ETHERNET) as u64;
        let bounds = Bounds {
            packets: WIDE.packets as u32,
            guaranteed: 0,
            octets: WIDE.bytes,
        };
        let open = Buffer::open(&bounds, WIDE.policy.age.as_nanos() as u64);
        let mut expected = Buffer {
            load: one_packet(octets(&first)) + one_packet(octets(&second)),
            first: found.first,
            latest: found.latest,
            high_water: 2,
            ..open
        };
        // Two were put, the newest of them into slot 1; the oldest is in slot 0.
        expected.tails[STREAM] = 2 << 32 | 1;
        expected.heads[STREAM] = 0;
        assert_eq!(found, expected);
        let of = |from, to| metered(from, to).expect("one is after the other");
        assert_eq!(of(mark(u32::MAX, before), found.first).0, 1);
        assert_eq!(of(found.first, found.latest).0, 1);
        assert_eq!(of(found.latest, mark(2, after)).0, 1);
        // As of the last tick, which may be a while ago if the processor had other work.
        const COARSE_NS: u64 = 1_000_000_000;
        for slot in [0, 1] {
            let arrival = bench.slots.get(slot).expect("a slot").arrival_ns;
            assert!(before - COARSE_NS < arrival && arrival < after);
        }
        assert_eq!(bench.maps.slots_in_use()?, 2);
        Ok(())
    });
}

#[test]
fn a_used_up_hop_limit_is_not_held() {
    holding(POOL, WIDE, |bench, router, _| {
        let sent = Packet {
            hop_limit: 1,
            ..Packet::udp(CN, NCOA, 100)
        }
        .octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::HopLimit, &sent);
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

// Rows: BUF-06
#[test]
fn an_expired_binding_holds_nothing() {
    holding(POOL, WIDE, |bench, router, _| {
        bench.maps.set_expiry(NCOA, over())?;
        let sent = Packet::udp(CN, NCOA, 100).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::Expired, &sent);
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

/// Feeds packets until one is refused for `reason`; checks what is left behind.
fn fill_until(
    bench: &mut Bench,
    router: &Router,
    buffer: u32,
    fitting: u32,
    (reason, by): (Reason, usize),
) -> Result<()> {
    for number in 0..fitting {
        let sent = tunnelled(number).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sent);
    }
    let full = bench.drain.buffer(buffer)?;
    for number in 1..=3 {
        let sent = tunnelled(fitting).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_frame(Verdict::Drop, reason, &sent);
        // What was refused leaves no trace but its count.
        let mut expected = full;
        expected.dropped[by] = number;
        assert_eq!(bench.drain.buffer(buffer)?, expected);
        assert_eq!(bench.maps.slots_in_use()?, u64::from(fitting));
    }
    Ok(())
}

// Rows: BUF-05, SEC-07
#[test]
fn a_node_holds_no_more_packets_than_its_bound() {
    let limits = BufferLimits { packets: 5, ..WIDE };
    holding(POOL, limits, |bench, router, buffer| {
        fill_until(
            bench,
            router,
            buffer,
            5,
            (Reason::NodeFull, DROPPED_PACKETS),
        )
    });
}

// Rows: BUF-05, SEC-07
#[test]
fn a_node_holds_no_more_octets_than_its_bound() {
    let bytes = (tunnelled(0).octets().len() - ETHERNET) as u64 * 4;
    let limits = BufferLimits { bytes, ..WIDE };
    holding(POOL, limits, |bench, router, buffer| {
        let full = (Reason::NodeOctets, DROPPED_OCTETS);
        fill_until(bench, router, buffer, 4, full)
    });
    let limits = BufferLimits {
        bytes: bytes - 1,
        ..WIDE
    };
    holding(POOL, limits, |bench, router, buffer| {
        let full = (Reason::NodeOctets, DROPPED_OCTETS);
        fill_until(bench, router, buffer, 3, full)
    });
}

// Rows: BUF-05, SEC-07
#[test]
fn all_nodes_hold_no_more_packets_than_the_pool() {
    holding(7, WIDE, |bench, router, buffer| {
        fill_until(bench, router, buffer, 7, (Reason::PoolFull, DROPPED_POOL))?;
        // Another node finds it full as well.
        bench.hold(OTHER, router)?;
        let sent = Packet::udp(CN, OTHER, 100).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_frame(Verdict::Drop, Reason::PoolFull, &sent);
        Ok(())
    });
}

#[test]
fn the_longest_packet_of_a_slot_is_held_and_one_octet_more_is_not() {
    holding(POOL, WIDE, |bench, router, buffer| {
        let longest = FRAME_BYTES - IPV6;
        let sent = Packet::udp(CN, NCOA, longest).octets();
        assert_eq!(sent.len(), ETHERNET + FRAME_BYTES);
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sent);
        assert_eq!(bench.slot(0)?.len(), sent.len());

        let sent = Packet::udp(CN, NCOA, longest + 1).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_frame(Verdict::Drop, Reason::TooLong, &sent);
        let found = bench.buffer(buffer)?;
        assert_eq!((found.waiting, found.held, found.dropped), (1, 1, 1));
        Ok(())
    });
}

#[test]
fn a_packet_to_a_closed_buffer_goes_straight_to_the_mobile_node() {
    holding(POOL, WIDE, |bench, router, buffer| {
        let (job, moved) = bench.drain(DRAIN_CLOSE, buffer, 1)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_DONE, 0));
        assert_eq!(moved, [], "there was no packet to count");
        let closed = bench.buffer(buffer)?;
        assert_eq!(closed.tail, CLOSED);
        let sent = tunnelled(1);
        let ran = bench.router_on(router.incoming, &sent.octets())?;
        let packet = ran.is(Verdict::Redirect, Reason::Delivered, &sent.octets());
        let expected = Packet {
            hop_limit: sent.hop_limit - 1,
            link_destination: NEXT_HOP_MAC,
            link_source: OUT_MAC,
            ..sent
        };
        assert_eq!(packet, expected);
        assert_eq!(bench.buffer(buffer)?, closed);
        assert_eq!(bench.maps.slots_in_use()?, 0);

        let sent = Packet {
            hop_limit: 1,
            ..Packet::udp(CN, NCOA, 100)
        }
        .octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::HopLimit, &sent);
        Ok(())
    });
}

/// RFC 4291 section 2.5.6: a router forwards nothing from a link-local address; and neighbor
/// discovery is between the nodes of one link.
// Rows: GEN-09
#[test]
fn what_belongs_to_a_link_is_left_to_the_kernel() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        bench.hold(NCOA, router)?;
        let link_local = "fe80::1".parse()?;
        for bound in [PCOA, NCOA] {
            // A probe of the neighbor's reachability, to the address that this router defends.
            let solicitation = Packet {
                hop_limit: 255,
                ..Packet::of(
                    CN,
                    bound,
                    crate::packets::ICMPV6,
                    &[135, 0, 0, 0, 0, 0, 0, 0],
                )
            };
            let from_link_local = Packet::udp(link_local, bound, 100);
            for sent in [solicitation, from_link_local] {
                let sent = sent.octets();
                let ran = bench.router_on(router.incoming, &sent)?;
                ran.is_unchanged(Verdict::Pass, Reason::LinkScope, &sent);
            }
            // Not neighbor discovery, whatever its hop limit.
            let echo = Packet {
                hop_limit: 255,
                ..Packet::of(
                    CN,
                    bound,
                    crate::packets::ICMPV6,
                    &[128, 0, 0, 0, 0, 0, 0, 0],
                )
            }
            .octets();
            let ran = bench.router_on(router.incoming, &echo)?;
            assert_ne!(ran.verdict, Verdict::Pass);
        }
        Ok(())
    });
}

// Rows: BUF-09
#[test]
fn a_packet_that_waited_too_long_is_not_sent() {
    // A bound that every packet exceeds.
    let limits = BufferLimits {
        policy: Policy {
            age: Duration::ZERO,
            ..WIDE.policy
        },
        ..WIDE
    };
    holding(POOL, limits, |bench, router, buffer| {
        let sent = tunnelled(1).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sent);
        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 1)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_DONE, 1));
        assert_eq!(moved, [(Reason::Aged, 1)]);
        let found = bench.buffer(buffer)?;
        assert_eq!((found.waiting, found.released, found.dropped), (0, 0, 1));
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

/// A packet with a Mobility Header, such as the FBack to the NCoA.
fn signalling(number: u32) -> Packet {
    const MOBILITY: u8 = 135;
    Packet {
        next_header: MOBILITY,
        ..Packet::numbered(PAR, NCOA, number)
    }
}

/// Feeds a packet; what became of it.
fn fed(bench: &mut Bench, router: &Router, packet: &Packet) -> Result<Reason> {
    let ran = bench.router_on(router.incoming, &packet.octets())?;
    assert_eq!(ran.verdict, Verdict::Drop);
    Ok(ran.moved[0].0)
}

#[test]
fn signalling_to_a_held_address_leaves_before_the_stream_and_in_order() {
    holding(POOL, WIDE, |bench, router, buffer| {
        let receiver = Receiver::new()?;
        for number in 0..3 {
            let stream = Packet::numbered(CN, NCOA, number);
            assert_eq!(fed(bench, router, &stream)?, Reason::Held);
        }
        for number in 10..12 {
            assert_eq!(fed(bench, router, &signalling(number))?, Reason::Held);
        }
        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 5)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_DONE, 5));
        assert_eq!(moved, [(Reason::Released, 5)]);
        let numbers: Vec<u32> = receiver.packets(5)?.iter().map(Packet::number).collect();
        assert_eq!(numbers, [10, 11, 0, 1, 2]);
        bench.close(buffer)?;
        let ran = bench.router_on(router.incoming, &signalling(12).octets())?;
        ran.is(
            Verdict::Redirect,
            Reason::Delivered,
            &signalling(12).octets(),
        );
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

#[test]
fn a_buffer_that_is_full_of_the_stream_has_room_for_a_little_signalling() {
    let limits = BufferLimits { packets: 5, ..WIDE };
    holding(POOL, limits, |bench, router, _| {
        for number in 0..5 {
            let stream = Packet::numbered(CN, NCOA, number);
            assert_eq!(fed(bench, router, &stream)?, Reason::Held);
        }
        let stream = Packet::numbered(CN, NCOA, 5);
        assert_eq!(fed(bench, router, &stream)?, Reason::NodeFull);
        for number in 0..PRIORITY_RESERVE as u32 {
            assert_eq!(fed(bench, router, &signalling(number))?, Reason::Held);
        }
        assert_eq!(fed(bench, router, &signalling(9))?, Reason::NodeFull);
        Ok(())
    });
}

// Rows: BUF-05, SEC-07
#[test]
fn a_greedy_node_leaves_every_other_what_is_guaranteed_to_it() {
    let room = Room {
        packets: 10,
        nodes: 2,
        guaranteed: 3,
    };
    in_namespace(|namespace| {
        let mut bench = Bench::with_room(room, WIDE)?;
        let router = Router::new(namespace, &mut bench)?;
        let bench = &mut bench;
        let greedy = bench.hold(NCOA, &router)?;
        let modest = bench.hold(OTHER, &router)?;
        let to = |address| Packet::udp(CN, address, 100);
        // The more often it is done the more would a slip of the account show.
        for _ in 0..3 {
            for _ in 0..7 {
                assert_eq!(fed(bench, &router, &to(NCOA))?, Reason::Held);
            }
            assert_eq!(fed(bench, &router, &to(NCOA))?, Reason::PoolFull);
            for _ in 0..3 {
                assert_eq!(fed(bench, &router, &to(OTHER))?, Reason::Held);
            }
            assert_eq!(fed(bench, &router, &to(OTHER))?, Reason::PoolFull);
            // One that leaves from beyond the guaranteed makes room for all; one of the guaranteed, for its
            // own node alone.
            bench.drain(DRAIN_RELEASE, greedy, 1)?;
            assert_eq!(fed(bench, &router, &to(OTHER))?, Reason::Held);
            bench.drain(DRAIN_RELEASE, greedy, 4)?;
            for _ in 0..3 {
                assert_eq!(fed(bench, &router, &to(OTHER))?, Reason::Held);
            }
            bench.drain(DRAIN_RELEASE, greedy, 1)?;
            assert_eq!(fed(bench, &router, &to(OTHER))?, Reason::PoolFull);
            bench.drain(DRAIN_RELEASE, greedy, 10)?;
            bench.drain(DRAIN_RELEASE, modest, 10)?;
            assert_eq!(bench.maps.slots_in_use()?, 0);
        }
        Ok(())
    });
}
