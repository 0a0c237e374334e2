//! Many nodes at once: all are released at the same time, and one while another has much to get.

use std::{
    io::Read as _,
    net::Ipv6Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use fmip_ctl::io::{
    drain::{Drain, Report},
    load::ROUTER,
    pool::Room,
};
use fmip_tests::{NetNs, wait_until};
use rustix::{process::setpriority_process, thread::gettid};
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    bench::{Bench, NEXT_HOP_MAC, Router, WIDE, address::*, in_namespace, later},
    packets::{ETHERNET, IPV6, Packet},
    receiver::Receiver,
};

const NODES: u16 = 1000;
/// Packets of each of them.
const EACH: u32 = 110;
/// Far longer than a machine under load needs.
const DEADLINE: Duration = Duration::from_secs(60);
/// The drain works while the test orders: a test that is kept from running meanwhile orders when much has
/// left already, which says nothing. So often is it tried again.
const ROUNDS: u32 = 20;
/// Where the number of a packet stands.
const NUMBER: usize = ETHERNET + IPV6 + 8;
const XDP_DROP: u32 = 1;

fn node(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 1, number)
}

/// Feeds numbered packets to a node, which are held.
fn feed(bench: &mut Bench, to: u16, packets: u32) -> Result<()> {
    bench.programs.load_programs(&[ROUTER])?;
    let ebpf = &*bench.programs.ebpf();
    let router: &Xdp = ebpf.program(ROUTER).context("no router")?.try_into()?;
    let mut frame = Packet::numbered(CN, node(to), 0).octets();
    for number in 0..packets {
        frame[NUMBER..NUMBER + 4].copy_from_slice(&number.to_be_bytes());
        let result = router.test_run(TestRunOptions {
            data_in: Some(&frame),
            ..TestRunOptions::new()
        })?;
        ensure!(
            result.return_value == XDP_DROP,
            "packet {number} is not held"
        );
    }
    Ok(())
}

/// To whom the next packets are, and their numbers.
fn receive(receiver: &Receiver, packets: usize) -> Result<Vec<(u16, u32)>> {
    let deadline = Instant::now() + DEADLINE;
    let mut received = Vec::with_capacity(packets);
    let mut frame = [0; 2048];
    while received.len() < packets {
        ensure!(
            Instant::now() < deadline,
            "{} of {packets} packets arrived",
            received.len()
        );
        match (&mut receiver.socket()).read(&mut frame) {
            Ok(length) if length >= NUMBER + 4 && frame[..6] == NEXT_HOP_MAC => {}
            Ok(_) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let node = u16::from_be_bytes([frame[ETHERNET + 38], frame[ETHERNET + 39]]);
        let number = u32::from_be_bytes(frame[NUMBER..NUMBER + 4].try_into()?);
        received.push((node, number));
    }
    Ok(received)
}

/// Asks the scheduler to run this thread no later than the drain's. Without the rights for it there are more
/// rounds.
fn hurry() {
    let _ = setpriority_process(Some(gettid()), -20);
}

/// Plays `round`, each time in a namespace of its own, until it says that it has ordered in time.
fn until_in_time(mut round: impl FnMut(&NetNs) -> Result<bool> + Send) {
    for _ in 0..ROUNDS {
        let mut in_time = None;
        in_namespace(|namespace| {
            in_time = Some(round(namespace)?);
            Ok(())
        });
        // None: it was skipped.
        if in_time != Some(false) {
            return;
        }
        eprintln!("much had left before all was ordered: once more");
    }
    panic!(
        "in {ROUNDS} rounds much had left before all was ordered: the drain serves one alone, or this \
         machine is too busy to tell"
    );
}

// Rows: BUF-08
#[test]
fn of_a_thousand_nodes_that_are_released_at_once_none_waits_for_another_ones_hundredth_packet() {
    until_in_time(release_a_thousand);
}

/// Whether all were ordered before any of them had half of what nobody may have ahead of another.
fn release_a_thousand(namespace: &NetNs) -> Result<bool> {
    const AHEAD: u64 = 50;
    let room = Room {
        packets: u32::from(NODES) * EACH,
        nodes: NODES.into(),
        // Exactly what each of them needs: none takes another's.
        guaranteed: EACH,
    };
    let mut bench = Bench::with_room(room, WIDE)?;
    let router = Router::new(namespace, &mut bench)?;
    let receiver = Receiver::with_room(600 << 20)?;
    for number in 0..NODES {
        let hop = router.next_hop();
        bench.maps.hold(node(number), hop, None, later())?;
    }
    for number in 0..NODES {
        feed(&mut bench, number, EACH)?;
    }
    assert_eq!(bench.maps.slots_in_use()?, u64::from(room.packets));
    // All at hand, so that they are ordered in one instant.
    let releases = (0..NODES)
        .map(|number| {
            let release = bench.maps.release(node(number), later())?;
            release.context("nothing to release")
        })
        .collect::<Result<Vec<_>>>()?;
    let (reporter, mut reports) = unbounded_channel();
    let drain = Drain::start(bench.programs, bench.drain, reporter)?;
    let (most, received) = thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, room.packets as usize));
        hurry();
        let start = Instant::now();
        for release in releases {
            drain.release(release);
        }
        // Read when all are ordered: those that had more by then were not ordered with the others.
        let accounts = bench.maps.buffers()?;
        let most = accounts.iter().map(|buffer| buffer.released).max();
        let mut drained = 0;
        wait_until("all nodes to be drained", DEADLINE, || {
            while let Ok(report) = reports.try_recv() {
                drained += u16::from(matches!(report, Report::Drained { .. }));
            }
            Ok((drained == NODES).then_some(()))
        })?;
        eprintln!("{} packets drained in {:?}", room.packets, start.elapsed());
        let received = receiving.join().expect("no panic inside")?;
        anyhow::Ok((most.context("no account")?, received))
    })?;

    let mut next = vec![0; NODES.into()];
    let mut first = vec![usize::MAX; NODES.into()];
    let mut hundredth = usize::MAX;
    for (place, &(node, number)) in received.iter().enumerate() {
        let node = usize::from(node);
        assert_eq!(number, next[node], "of node {node}");
        next[node] += 1;
        match number {
            0 => first[node] = place,
            99 => hundredth = hundredth.min(place),
            _ => {}
        }
    }
    assert!(next.iter().all(|&next| next == EACH), "{next:?}");
    assert_eq!(bench.maps.slots_in_use()?, 0);
    eprintln!("some node had {most} packets when the last one was ordered");
    if most >= AHEAD {
        return Ok(false);
    }
    let last_first = first.iter().max().copied().unwrap_or(usize::MAX);
    assert!(
        last_first < hundredth,
        "the first packet of some node came as number {last_first}, the hundredth of some other as \
         number {hundredth}"
    );
    Ok(true)
}

#[test]
fn a_new_node_does_not_wait_until_one_with_a_full_buffer_is_drained() {
    until_in_time(release_one_more);
}

/// Whether the one with the full buffer was not drained when the new one was ordered.
fn release_one_more(namespace: &NetNs) -> Result<bool> {
    const MANY: u32 = 10_000;
    // What may have been under way already when it was ordered: the run of that moment.
    const RUN: u64 = 256;
    let room = Room {
        packets: MANY + 1,
        nodes: 2,
        guaranteed: 1,
    };
    let mut bench = Bench::with_room(room, WIDE)?;
    let router = Router::new(namespace, &mut bench)?;
    let receiver = Receiver::with_room(100 << 20)?;
    for (number, packets) in [(0, MANY), (1, 1)] {
        let hop = router.next_hop();
        bench.maps.hold(node(number), hop, None, later())?;
        feed(&mut bench, number, packets)?;
    }
    let (reporter, mut reports) = unbounded_channel();
    let drain = Drain::start(bench.programs, bench.drain, reporter)?;
    let (before, received) = thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, room.packets as usize));
        let mut release = |number| -> Result<()> {
            let release = bench.maps.release(node(number), later())?;
            drain.release(release.context("nothing to release")?);
            Ok(())
        };
        hurry();
        release(0)?;
        let deadline = Instant::now() + DEADLINE;
        while reports.try_recv().is_err() {
            ensure!(Instant::now() < deadline, "nothing is released");
            thread::yield_now();
        }
        release(1)?;
        let accounts = bench.maps.buffers()?;
        let first = accounts.iter().find(|buffer| buffer.address == node(0));
        let before = first.context("no account")?.released;
        anyhow::Ok((before, receiving.join().expect("no panic inside")?))
    })?;
    if before + RUN >= u64::from(MANY) {
        return Ok(false);
    }
    let place = received.iter().position(|&(node, _)| node == 1);
    let place = place.context("its packet never came")? as u64;
    assert!(
        place <= before + RUN,
        "it came behind {place} others, {before} of which were sent before it was ordered"
    );
    Ok(true)
}
