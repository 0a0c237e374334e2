//! The drain program: what was held leaves in order, or is dropped without a trace.

use anyhow::{Result, ensure};
use fmip_common::{
    buffer::{
        CLOSED, DRAIN_CLOSE, DRAIN_DISCARD, DRAIN_RELEASE, EMPTY, OUTCOME_BUSY, OUTCOME_DONE,
        OUTCOME_EMPTY,
    },
    reason::Reason,
};

use crate::{
    bench::{Bench, Router, Verdict, address::*, on_router},
    packets::Packet,
    receiver::Receiver,
};

fn hold(bench: &mut Bench, router: &Router, numbers: std::ops::Range<u32>) -> Result<()> {
    for number in numbers {
        let sent = Packet::numbered(CN, NCOA, number).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sent);
    }
    Ok(())
}

// Rows: BUF-08
#[test]
fn held_packets_leave_in_order_those_of_the_meantime_behind_them_then_all_go_straight() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = bench.hold(NCOA, router)?;
        hold(bench, router, 0..20)?;

        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 5)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_DONE, 5));
        assert_eq!(moved, [(Reason::Released, 5)]);
        let (job, moved) = bench.drain(DRAIN_CLOSE, buffer, 1)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_BUSY, 0), "packets wait");
        assert_eq!(moved, []);

        // In the meantime others come: behind those that wait.
        hold(bench, router, 20..30)?;
        let (job, _) = bench.drain(DRAIN_RELEASE, buffer, 25)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_DONE, 25));
        // The last one is gone, but the switch is not made: still they are held.
        hold(bench, router, 30..32)?;
        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 5)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_EMPTY, 2));
        assert_eq!(moved, [(Reason::Released, 2)]);
        assert_eq!(bench.buffer(buffer)?.tail, EMPTY);

        let (job, _) = bench.drain(DRAIN_CLOSE, buffer, 1)?;
        assert_eq!(job.outcome, OUTCOME_DONE);
        let found = bench.buffer(buffer)?;
        assert_eq!(found.tail, CLOSED);
        assert_eq!((found.waiting, found.waiting_bytes, found.held), (0, 0, 32));
        assert_eq!((found.released, found.dropped), (32, 0));
        assert_eq!(bench.maps.slots_in_use()?, 0);

        let packets = receiver.packets(32)?;
        for (number, packet) in packets.iter().enumerate() {
            let sent = Packet::numbered(CN, NCOA, number as u32);
            let expected = Packet {
                hop_limit: sent.hop_limit - 1,
                link_destination: router.next_hop().destination,
                link_source: router.next_hop().source,
                ..sent
            };
            assert_eq!(*packet, expected);
        }

        let sent = Packet::numbered(CN, NCOA, 32).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is(Verdict::Redirect, Reason::Delivered, &sent);
        Ok(())
    });
}

/// A run's frame is a recycled page: what an earlier, longer packet left must not show.
#[test]
fn packets_of_all_lengths_leave_as_they_came() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = bench.hold(NCOA, router)?;
        let lengths = [1446, 8, 1446, 9, 700, 60, 8, 1445];
        for length in lengths {
            let sent = Packet::udp(CN, NCOA, length).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_frame(Verdict::Drop, Reason::Held, &sent);
        }
        let (job, _) = bench.drain(DRAIN_RELEASE, buffer, lengths.len() as u32)?;
        assert_eq!(job.taken as usize, lengths.len());
        for (packet, length) in receiver.packets(lengths.len())?.iter().zip(lengths) {
            assert_eq!(packet.payload, Packet::udp(CN, NCOA, length).payload);
        }
        Ok(())
    });
}

#[test]
fn an_empty_buffer_gives_nothing_and_counts_nothing() {
    on_router(|bench, router| {
        let buffer = bench.hold(NCOA, router)?;
        for operation in [DRAIN_RELEASE, DRAIN_DISCARD] {
            let (job, moved) = bench.drain(operation, buffer, 5)?;
            assert_eq!((job.outcome, job.taken), (OUTCOME_EMPTY, 0));
            assert_eq!(moved, []);
        }
        Ok(())
    });
}

#[test]
fn a_job_that_makes_no_sense_is_not_done() {
    on_router(|bench, router| {
        let buffer = bench.hold(NCOA, router)?;
        hold(bench, router, 0..1)?;
        for (operation, buffer) in [(0, buffer), (6, buffer), (DRAIN_RELEASE, u32::MAX)] {
            let (job, moved) = bench.drain(operation, buffer, 1)?;
            assert_eq!((job.outcome, job.taken), (0, 0));
            assert_eq!(moved, []);
        }
        assert_eq!(bench.buffer(buffer)?.waiting, 1);
        Ok(())
    });
}

// Rows: BUF-06
#[test]
fn what_is_discarded_frees_its_slots_and_is_not_sent() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = bench.hold(NCOA, router)?;
        let other = bench.hold(OTHER, router)?;
        hold(bench, router, 0..20)?;
        let kept = Packet::numbered(CN, OTHER, 77).octets();
        bench.router_on(router.incoming, &kept)?;
        assert_eq!(bench.maps.slots_in_use()?, 21);

        assert_eq!(bench.maps.unbind(NCOA)?, Some(buffer));
        let (job, moved) = bench.drain(DRAIN_DISCARD, buffer, 64)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_EMPTY, 20));
        assert_eq!(moved, [(Reason::Discarded, 20)]);
        let found = bench.buffer(buffer)?;
        assert_eq!((found.waiting, found.waiting_bytes), (0, 0));
        assert_eq!((found.held, found.released, found.dropped), (20, 0, 20));
        assert_eq!(bench.maps.slots_in_use()?, 1, "the other node's alone");

        let (job, _) = bench.drain(DRAIN_RELEASE, other, 1)?;
        assert_eq!(job.taken, 1);
        let packets = receiver.packets(1)?;
        assert_eq!(packets[0].number(), 77, "a discarded packet was sent");
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

/// Held, sent and held again, many times the pool: every slot comes back.
#[test]
fn the_pool_does_not_wear_out() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = bench.hold(NCOA, router)?;
        for round in 0..20 {
            hold(bench, router, round * 64..(round + 1) * 64)?;
            let sent = Packet::numbered(CN, NCOA, 0).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_frame(Verdict::Drop, Reason::PoolFull, &sent);
            let (job, _) = bench.drain(DRAIN_RELEASE, buffer, 64)?;
            assert_eq!(job.taken, 64);
            for (place, packet) in receiver.packets(64)?.iter().enumerate() {
                ensure!(packet.number() == round * 64 + place as u32, "out of order");
            }
            assert_eq!(bench.maps.slots_in_use()?, 0);
        }
        Ok(())
    });
}

/// What arrives on the parked interface is no live frame of the controller's.
#[test]
fn a_packet_that_really_arrives_is_not_filled() {
    on_router(|bench, router| {
        let buffer = bench.hold(NCOA, router)?;
        hold(bench, router, 0..1)?;
        let sent = Packet::numbered(CN, NCOA, 1).octets();
        let ran = bench.drain_program_on(router.parked, &sent, DRAIN_RELEASE, buffer)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        assert_eq!(bench.buffer(buffer)?.waiting, 1);
        Ok(())
    });
}
