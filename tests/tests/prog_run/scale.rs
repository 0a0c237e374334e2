//! Many bindings, of which a half changes as fast as the controller can while packets meet the others.

use std::{
    io::Write as _,
    net::Ipv6Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use fastrand::Rng;
use fmip_common::reason::Reason;
use fmip_ctl::io::{load::ROUTER, maps::Maps};

use crate::{
    bench::{
        self, Bench, WIDE,
        address::{CN, PAR},
        in_namespace, later,
    },
    packets::{IPV6_IN_IPV6, Packet},
};

const NODES: u32 = 1_000_000;
/// Of those that change, the ones that every second change is of and that get packets, so that packets meet
/// changes.
const HOT: u32 = 16;
/// Changes at the least.
const CHANGES: u32 = 200_000;
/// Packets at the least, to bindings that stay as they are.
const PACKETS: u64 = 200_000;
/// How long to go on for either.
const DEADLINE: Duration = Duration::from_secs(120);

const XDP_PASS: u32 = 2;

/// The PCoA of a node; those of odd numbers stay bound as they are.
fn pcoa(node: u32) -> Ipv6Addr {
    address(0x100, node)
}

/// Where a node is, first; and where the ones that change are now and then.
fn ncoa(node: u32) -> Ipv6Addr {
    address(0x200, node)
}

fn other_ncoa(node: u32) -> Ipv6Addr {
    address(0x300, node)
}

fn address(net: u16, node: u32) -> Ipv6Addr {
    let number = (u128::from(net) << 80) | u128::from(node);
    Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | number)
}

/// What the feeder saw.
#[derive(Default)]
struct Seen {
    steady: u64,
    changing: u64,
    /// Packets to a node that was unbound at that instant.
    unbound: u64,
}

// Rows: TUN-01, TUN-06
#[test]
fn bindings_that_change_by_the_thousand_never_touch_a_packet_of_another() {
    let seed = crate::seed("scale");
    in_namespace(|_| {
        let shape = bench::shape_for(NODES)?;
        let octets = shape.memory()?["bindings"];
        let mut bench = Bench::of(shape, WIDE)?;
        let start = Instant::now();
        for node in 0..NODES {
            bench
                .maps
                .install_tunnel(pcoa(node), ncoa(node), PAR, later())?;
        }
        let installed = f64::from(NODES) / start.elapsed().as_secs_f64();

        let before = bench.counts()?;
        bench.programs.load_programs(&[ROUTER])?;
        let ebpf = &*bench.programs.ebpf();
        let router: &Xdp = ebpf.program(ROUTER).context("no router")?.try_into()?;
        let maps = &mut bench.maps;
        let (ended, fed) = (AtomicBool::new(false), AtomicBool::new(false));
        let (seen, changes, took) = thread::scope(|scope| {
            let feeder = scope.spawn(|| {
                let result = feed(router, seed, &ended, &fed);
                // Also if it failed: the other side would wait for it.
                fed.store(true, Ordering::Relaxed);
                result
            });
            let changed = change(maps, seed, &fed);
            ended.store(true, Ordering::Relaxed);
            let seen = feeder.join().expect("no panic inside")?;
            let (changes, took) = changed?;
            anyhow::Ok((seen, changes, took))
        })?;

        // Every packet ended in the one of two ways that it saw.
        let moved: Vec<(Reason, u64)> = bench
            .counts()?
            .iter()
            .zip(&before)
            .map(|(after, before)| (after.0, after.1 - before.1))
            .filter(|moved| moved.1 > 0)
            .collect();
        let mut expected = vec![(
            Reason::TunnelledByKernel,
            seen.steady + seen.changing - seen.unbound,
        )];
        if seen.unbound > 0 {
            expected.insert(0, (Reason::NoBinding, seen.unbound));
        }
        ensure!(moved == expected, "{moved:?} instead of {expected:?}");
        // Past the harness: a rate is to be seen, and nothing to pass or fail by on a busy machine.
        let _ = writeln!(
            std::io::stderr(),
            "\n{NODES} bindings in {} MiB installed, {installed:.0} per second; {changes} changed, {:.0} \
             per second, beside {} packets to others and {} to those that changed ({} while unbound)",
            octets >> 20,
            f64::from(changes) / took.as_secs_f64(),
            seen.steady,
            seen.changing,
            seen.unbound,
        );
        Ok(())
    });
}

/// Renews, moves, removes and installs bindings of even numbers until there were enough changes and enough
/// packets; how many there were, and how long it took.
fn change(maps: &mut Maps, seed: u64, fed: &AtomicBool) -> Result<(u32, Duration)> {
    let mut random = Rng::with_seed(seed);
    let start = Instant::now();
    let mut changes = 0;
    while changes < CHANGES || !fed.load(Ordering::Relaxed) {
        ensure!(start.elapsed() < DEADLINE, "only {changes} changes");
        let among = if random.bool() { HOT } else { NODES / 2 };
        let node = random.u32(..among) * 2;
        match random.u8(..8) {
            0 => {
                maps.unbind(pcoa(node))?;
                maps.install_tunnel(pcoa(node), ncoa(node), PAR, later())?;
                changes += 2;
            }
            1 | 2 => {
                maps.install_tunnel(pcoa(node), other_ncoa(node), PAR, later())?;
                changes += 1;
            }
            3 | 4 => {
                maps.install_tunnel(pcoa(node), ncoa(node), PAR, later())?;
                changes += 1;
            }
            _ => {
                maps.set_expiry(pcoa(node), later())?;
                changes += 1;
            }
        }
    }
    Ok((changes, start.elapsed()))
}

/// Sends packets to nodes at random until there were enough and the changes have ended.
fn feed(router: &Xdp, seed: u64, ended: &AtomicBool, fed: &AtomicBool) -> Result<Seen> {
    let mut random = Rng::with_seed(!seed);
    let mut frame = Packet::udp(CN, pcoa(0), 64).octets();
    let mut out = [0; 256];
    let mut seen = Seen::default();
    while !ended.load(Ordering::Relaxed) {
        // One in eight to a binding that changes.
        let changing = random.u8(..8) == 0;
        let node = match changing {
            true => random.u32(..HOT) * 2,
            false => random.u32(..NODES / 2) * 2 + 1,
        };
        frame[38..54].copy_from_slice(&pcoa(node).octets());
        let result = router.test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        })?;
        let got = &out[..result.data_size_out as usize];
        ensure!(
            result.return_value == XDP_PASS,
            "node {node}: verdict {}",
            result.return_value
        );
        if changing && got == frame {
            seen.unbound += 1;
            seen.changing += 1;
            continue;
        }
        let packet = Packet::read(got);
        let to = packet.destination;
        ensure!(
            packet.next_header == IPV6_IN_IPV6
                && packet.source == PAR
                && (to == ncoa(node) || changing && to == other_ncoa(node)),
            "the packet of node {node} left as {packet:?}"
        );
        ensure!(
            packet.inner().destination == pcoa(node),
            "the packet of node {node} carries {:?}",
            packet.inner()
        );
        if changing {
            seen.changing += 1;
        } else {
            seen.steady += 1;
            if seen.steady == PACKETS {
                fed.store(true, Ordering::Relaxed);
            }
        }
    }
    Ok(seen)
}
