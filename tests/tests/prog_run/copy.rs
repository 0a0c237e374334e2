//! PAR: packets go on to the mobile node, and a copy of the last of them is kept (RFC 5568 section 4).

use anyhow::{Context as _, Result};
use fmip_common::{
    buffer::{Buffer, DRAIN_RELEASE, DRAIN_TRIM, DrainJob, OUTCOME_EMPTY, Slot, mark, metered},
    reason::Reason,
};
use fmip_ctl::io::{mapped::MappedArray, monotonic_ns, pool::BufferLimits};

use crate::{
    bench::{Bench, POOL, Router, Verdict, WIDE, address::*, in_namespace, later, on_router},
    departed::{feed, install, is_tunnelled},
    packets::Packet,
    receiver::Receiver,
};

/// A window that no packet of a test leaves by itself; and, twice as long, an age beyond it. A machine that has
/// just been started is older than that, too.
const WINDOW_NS: u64 = 30_000_000_000;
const BEYOND_NS: u64 = 2 * WINDOW_NS;

/// Keeps copies of packets to the PCoA; the buffer's index.
fn copy(bench: &mut Bench, router: &Router) -> Result<u32> {
    bench.maps.copy(PCOA, router.next_hop())
}

/// A packet that goes on as it came, and a copy with this end.
#[track_caller]
fn goes_on(bench: &mut Bench, router: &Router, number: u32, copied: Reason) {
    let sent = Packet::numbered(CN, PCOA, number).octets();
    let octets = sent.len() as u64;
    let ran = bench
        .router_on(router.incoming, &sent)
        .expect("the program runs");
    assert_eq!(
        (ran.verdict, ran.moved),
        (
            Verdict::Pass,
            vec![(Reason::NoBinding, 1, octets), (copied, 1, octets)]
        )
    );
    assert_eq!(ran.frame, sent, "the packet was changed");
}

fn trim(bench: &mut Bench, buffer: u32, window_ns: u64) -> Result<(u32, Vec<(Reason, u64)>)> {
    let job = DrainJob {
        buffer,
        operation: DRAIN_TRIM,
        window_ns,
        ..DrainJob::default()
    };
    let (job, moved) = bench.drain_job(job, 20)?;
    assert_eq!(job.outcome, OUTCOME_EMPTY);
    Ok((job.taken, moved))
}

// Rows: BUF-01
#[test]
fn a_packet_goes_on_and_its_copy_is_what_a_router_would_send() {
    on_router(|bench, router| {
        copy(bench, router)?;
        goes_on(bench, router, 7, Reason::Copied);
        let sent = Packet::numbered(CN, PCOA, 7);
        let expected = Packet {
            hop_limit: sent.hop_limit - 1,
            ..sent
        };
        assert_eq!(bench.slot(0)?, expected.octets());

        // What nobody forwards is not copied either.
        let used_up = Packet {
            hop_limit: 1,
            ..Packet::udp(CN, PCOA, 100)
        }
        .octets();
        let ran = bench.router_on(router.incoming, &used_up)?;
        ran.is_unchanged(Verdict::Pass, Reason::HopLimit, &used_up);
        assert_eq!(bench.maps.slots_in_use()?, 1);
        Ok(())
    });
}

#[test]
fn copies_that_leave_the_window_are_taken_out_and_are_no_loss() {
    on_router(|bench, router| {
        let buffer = copy(bench, router)?;
        for number in 0..5 {
            goes_on(bench, router, number, Reason::Copied);
        }
        assert_eq!(trim(bench, buffer, WINDOW_NS)?, (0, vec![]));
        for slot in 0..2 {
            let aged = bench.slots.get(slot).context("a slot")?;
            let aged = Slot {
                arrival_ns: aged
                    .arrival_ns
                    .checked_sub(BEYOND_NS)
                    .context("this machine was started less than a minute ago")?,
                ..aged
            };
            bench.slots.set(slot, &aged)?;
        }
        let (taken, moved) = trim(bench, buffer, WINDOW_NS)?;
        assert_eq!((taken, moved), (2, vec![(Reason::CopyTrimmed, 2)]));
        let found = bench.buffer(buffer)?;
        assert_eq!((found.waiting, found.trimmed, found.dropped), (3, 2, 0));
        // The end of a buffer with copies.
        let (taken, moved) = trim(bench, buffer, 0)?;
        assert_eq!((taken, moved), (3, vec![(Reason::CopyTrimmed, 3)]));
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

/// The newest count: the oldest make room before it is used up, and what finds none is not missed by the
/// packet itself.
// Rows: BUF-05
#[test]
fn a_full_buffer_copies_no_more_and_trimming_makes_room() {
    in_namespace(|namespace| {
        let limits = BufferLimits {
            packets: 16,
            ..WIDE
        };
        let mut bench = Bench::with(POOL, limits)?;
        let router = Router::new(namespace, &mut bench)?;
        let buffer = copy(&mut bench, &router)?;
        for number in 0..16 {
            goes_on(&mut bench, &router, number, Reason::Copied);
        }
        goes_on(&mut bench, &router, 16, Reason::CopyRefused);
        assert_eq!(bench.buffer(buffer)?.dropped, 0);
        assert_eq!(trim(&mut bench, buffer, WINDOW_NS)?.0, 2);
        goes_on(&mut bench, &router, 17, Reason::Copied);
        Ok(())
    });
}

// Rows: BUF-01, BUF-02
#[test]
fn copies_are_replayed_into_the_tunnel_before_what_comes_now() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = copy(bench, router)?;
        for number in 0..5 {
            goes_on(bench, router, number, Reason::Copied);
        }
        assert_eq!(install(bench)?, buffer);
        feed(bench, router, 5..8)?;
        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 10)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_EMPTY, 8));
        assert_eq!(moved, [(Reason::Released, 8)]);
        bench.close(buffer)?;
        for (number, packet) in receiver.packets(8)?.iter().enumerate() {
            is_tunnelled(packet, number as u32);
        }
        // No copies any more.
        let sent = Packet::numbered(CN, PCOA, 8).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is(Verdict::Redirect, Reason::Tunnelled, &sent);
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

#[test]
fn when_the_node_departs_the_copies_stay_in_front_of_what_is_held() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = copy(bench, router)?;
        for number in 0..3 {
            goes_on(bench, router, number, Reason::Copied);
        }
        let held = bench.maps.hold(PCOA, router.next_hop(), None, later())?;
        assert_eq!(held, buffer);
        feed(bench, router, 3..6)?;
        install(bench)?;
        bench.drain(DRAIN_RELEASE, buffer, 6)?;
        for (number, packet) in receiver.packets(6)?.iter().enumerate() {
            is_tunnelled(packet, number as u32);
        }
        Ok(())
    });
}

/// As if nothing were bound also means: out of another node's tunnel and on by the kernel's routes.
#[test]
fn a_packet_out_of_a_tunnel_is_copied_and_forwarded() {
    on_router(|bench, router| {
        bench.maps.add_local(PAR)?;
        bench.maps.install_tunnel(OTHER, NCOA, PAR, later())?;
        copy(bench, router)?;
        let inner = Packet::udp(OTHER, PCOA, 100);
        let sent = inner.tunnelled(NCOA, PAR).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        assert_eq!(ran.verdict, Verdict::Redirect);
        let octets = sent.len() as u64;
        assert_eq!(
            ran.moved,
            [
                (Reason::Untunnelled, 1, octets),
                (Reason::Copied, 1, inner.octets().len() as u64)
            ]
        );
        let copied = Packet::read(&bench.slot(0)?);
        assert_eq!((copied.source, copied.hop_limit), (OTHER, 63));
        assert_eq!(copied.payload, inner.payload);
        Ok(())
    });
}

/// How long the meter goes back, in nanoseconds.
fn metered_time(bench: &Bench, buffer: u32) -> Result<u64> {
    let found = bench.drain.buffer(buffer)?;
    let metered = metered(found.first, found.latest);
    let (_, ns) = metered.context("nothing was metered")?;
    Ok(ns)
}

const LONG_AGO_NS: u64 = 10_000_000_000;

/// As if the packet in the first slot, with which the meter began, had come long ago.
fn age(bench: &mut Bench, buffer: u32) -> Result<()> {
    let buffers = MappedArray::<Buffer>::new(bench.programs.ebpf(), "BUFFERS")?;
    let found = buffers.get(buffer).context("a buffer")?;
    let long_ago = monotonic_ns().saturating_sub(LONG_AGO_NS);
    let aged = Buffer {
        first: mark(0, long_ago),
        ..found
    };
    buffers.set(buffer, &aged)?;
    let aged = bench.slots.get(0).context("a slot")?;
    let aged = Slot {
        arrival_ns: long_ago,
        ..aged
    };
    bench.slots.set(0, &aged)
}

/// A node that was all but idle, and whose packets come often now.
// Rows: BUF-03, BUF-04
#[test]
fn the_meter_does_not_remember_what_left_the_window() {
    // Only the first is out of the window when copies are trimmed: then the buffer is empty, or it is not.
    for before in [1, 3] {
        on_router(|bench, router| {
            let buffer = copy(bench, router)?;
            for number in 0..before {
                goes_on(bench, router, number, Reason::Copied);
            }
            age(bench, buffer)?;
            assert_eq!(trim(bench, buffer, LONG_AGO_NS / 2)?.0, 1);
            for number in before..10 {
                goes_on(bench, router, number, Reason::Copied);
            }
            let ns = metered_time(bench, buffer)?;
            assert!(ns < LONG_AGO_NS, "{ns} ns");
            Ok(())
        });
    }
}

/// One packet, nothing for long, and then many.
// Rows: BUF-03, BUF-04
#[test]
fn the_meter_does_not_remember_what_was_released() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = bench.maps.hold(PCOA, router.next_hop(), None, later())?;
        feed(bench, router, 0..1)?;
        age(bench, buffer)?;
        feed(bench, router, 1..10)?;
        install(bench)?;
        let ns = metered_time(bench, buffer)?;
        assert!(ns >= LONG_AGO_NS, "{ns} ns");
        bench.drain(DRAIN_RELEASE, buffer, 1)?;
        let ns = metered_time(bench, buffer)?;
        assert!(ns < LONG_AGO_NS, "{ns} ns");
        receiver.packets(1)?;
        Ok(())
    });
}
