//! The race that the buffer's one tail word decides, in the kernel and on two processors: packets come
//! in while the last ones are drained and the buffer is switched to direct delivery.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use fmip_common::{
    binding::Egress,
    buffer::{DRAIN_CLOSE, DRAIN_RELEASE, DrainJob, OUTCOME_DONE},
    reason::Reason,
};
use fmip_ctl::io::{
    drain::DrainMaps,
    load::{DRAIN, ROUTER},
};

use crate::{
    bench::{Bench, Router, WIDE, address::*, in_namespace, run_drain},
    packets::Packet,
    receiver::Receiver,
};

/// How often the race is run.
const ROUNDS: u32 = 200;
/// Frames of one run of the drain: what the ring of a veth takes with ease.
const BATCH: u32 = 32;
/// Packets that are held before the drain begins: the feeder is in full run by then.
const HEAD_START: u32 = 10;
/// Packets that go straight on before a round ends.
const DELIVERED: u32 = 50;
/// Packets that the feeder may be ahead of the drain: on a busy machine it would fill the pool.
const AHEAD: u32 = POOL / 2;
const POOL: u32 = 16384;
/// Packets that the feeder feeds in full run. On a busy machine it may be as fast as the drain, and the buffer
/// would never be empty; from there on it feeds one in a while.
const IN_FULL_RUN: u32 = 5_000;
const WHILE: Duration = Duration::from_millis(1);
const XDP_DROP: u32 = 1;
const XDP_REDIRECT: u32 = 4;

// Rows: BUF-08
#[test]
fn no_packet_is_stranded_or_overtaken_while_the_buffer_is_closed() {
    in_namespace(|namespace| {
        let mut bench = Bench::with(POOL, WIDE)?;
        let router = Router::new(namespace, &mut bench)?;
        let receiver = Receiver::new()?;
        let mut held = 0;
        for round in 0..ROUNDS {
            let buffer = bench.hold(NCOA, &router)?;
            let release = DrainJob {
                buffer,
                operation: DRAIN_RELEASE,
                egress: Egress::plain(router.next_hop()),
                ..DrainJob::default()
            };
            held +=
                race(&mut bench, &receiver, release).with_context(|| format!("round {round}"))?;
            bench.maps.unbind(NCOA)?;
        }
        assert_eq!(bench.maps.slots_in_use()?, 0);
        let counts = bench.maps.counts()?;
        let count = |wanted| {
            counts
                .iter()
                .find(|(reason, _)| *reason == wanted)
                .map(|(_, count)| count.packets)
        };
        assert_eq!(count(Reason::Held), Some(u64::from(held)));
        assert_eq!(count(Reason::Released), Some(u64::from(held)));
        assert_eq!(
            count(Reason::Delivered),
            Some(u64::from(ROUNDS * DELIVERED))
        );
        Ok(())
    });
}

/// One handover: feeds numbered packets on one processor while another drains and closes. Every
/// packet up to one number must be held, and leave in order; all from there on must go straight. How many
/// were held.
fn race(bench: &mut Bench, receiver: &Receiver, release: DrainJob) -> Result<u32> {
    let drain_maps = &bench.drain;
    bench.programs.load_programs(&[ROUTER, DRAIN])?;
    let ebpf = &*bench.programs.ebpf();
    let router: &Xdp = ebpf.program(ROUTER).context("no router")?.try_into()?;
    let drain: &Xdp = ebpf.program(DRAIN).context("no drain")?.try_into()?;
    let failed = AtomicBool::new(false);
    let fed = AtomicU32::new(0);
    let drained = AtomicU32::new(0);

    let (held, released) = thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let result = feed(router, &fed, &drained, &failed);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            result
        });
        while fed.load(Ordering::Relaxed) < HEAD_START && !failed.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let released = release_and_close(drain, drain_maps, receiver, release, &drained, &failed);
        failed.fetch_or(released.is_err(), Ordering::Relaxed);
        (feeder.join().expect("no panic inside"), released)
    });
    let (held, released) = (held?, released?);
    ensure!(
        held == released,
        "{held} packets were held, {released} came out"
    );
    let state = bench.buffer(release.buffer)?;
    ensure!(
        (state.held, state.released, state.dropped) == (u64::from(held), u64::from(held), 0),
        "the buffer's own account is {state:?}"
    );
    ensure!(state.waiting == 0 && state.waiting_bytes == 0, "{state:?}");
    Ok(held)
}

/// Feeds packets until enough of them went straight on; how many were held before.
fn feed(router: &Xdp, fed: &AtomicU32, drained: &AtomicU32, failed: &AtomicBool) -> Result<u32> {
    let mut held = 0;
    let mut delivered = 0;
    for number in 0.. {
        while held - drained.load(Ordering::Relaxed) > AHEAD && !failed.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        if held > IN_FULL_RUN && delivered == 0 {
            thread::sleep(WHILE);
        }
        let frame = Packet::numbered(CN, NCOA, number).octets();
        let result = router.test_run(TestRunOptions {
            data_in: Some(&frame),
            ..TestRunOptions::new()
        })?;
        match result.return_value {
            XDP_DROP => {
                ensure!(
                    delivered == 0,
                    "packet {number} did not go straight on, but those before it did"
                );
                held += 1;
                fed.store(held, Ordering::Relaxed);
            }
            XDP_REDIRECT => delivered += 1,
            other => anyhow::bail!("packet {number}: verdict {other}"),
        }
        if delivered == DELIVERED || failed.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(held)
}

/// Releases until the buffer could be closed; how many packets came out, each in its place.
fn release_and_close(
    drain: &Xdp,
    maps: &DrainMaps,
    receiver: &Receiver,
    release: DrainJob,
    drained: &AtomicU32,
    failed: &AtomicBool,
) -> Result<u32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut received = 0;
    loop {
        let job = run_drain(drain, maps, release, BATCH)?;
        for packet in receiver.packets(job.taken as usize)? {
            ensure!(
                packet.number() == received,
                "packet {} came out in place of {received}",
                packet.number()
            );
            received += 1;
        }
        drained.store(received, Ordering::Relaxed);
        let close = DrainJob {
            operation: DRAIN_CLOSE,
            ..release
        };
        let job = run_drain(drain, maps, close, 1)?;
        if job.outcome == OUTCOME_DONE {
            return Ok(received);
        }
        ensure!(Instant::now() < deadline, "the buffer never became empty");
        ensure!(!failed.load(Ordering::Relaxed), "the feeder gave up");
    }
}
