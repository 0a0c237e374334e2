//! Every packet of the corpus, damaged in every way: cut short, an octet changed, several changed. Whatever
//! comes of it, [`World::judge`] must find it right.

use anyhow::{Context as _, Result};

use crate::{
    bench::{Bench, Counts, Program, on_router},
    corpus::{Fixture, World, fixtures, network_layer},
    packets::{ETHERNET, IPV6, IPV6_IN_IPV6},
};

/// Values that a changed octet gets, besides some made of its own: the numbers of headers, and lengths.
const VALUES: [u8; 14] = [0, 1, 6, 17, 41, 43, 44, 58, 59, 60, 127, 135, 254, 255];

/// Octets that are changed, one at a time: tags, two IPv6 headers and what is behind them.
const HEADERS: usize = 8 + ETHERNET + 2 * IPV6 + 40;

/// Whether the octet is one of an address in an IPv6 header, of the first or of one in its tunnel.
fn in_address(frame: &[u8], at: usize) -> bool {
    let Some(mut header) = network_layer(frame) else {
        return false;
    };
    while at >= header + IPV6 && frame.get(header + 6) == Some(&IPV6_IN_IPV6) {
        header += IPV6;
    }
    (header + 8..header + IPV6).contains(&at)
}

/// Packets with several octets changed, for each of the corpus.
const SCRAMBLED: usize = 100;

/// The shortest packet that the kernel takes for a test run: a header of Ethernet; and for TC, where its
/// type says IPv6, one of IPv6 as well.
fn shortest(program: Program) -> usize {
    if program.is_xdp() {
        ETHERNET
    } else {
        ETHERNET + IPV6
    }
}

/// Of the damaged packets, every so-manyth is judged: of programs that share their body with another, and of
/// packets with tags, which the corpus has without.
fn step(program: Program, fixture: &Fixture) -> usize {
    // Prime, so that in time each kind of damage has its turn.
    let of_program = match program {
        Program::RouterIn | Program::RouterOut | Program::RouterForward => 7,
        _ => 1,
    };
    let of_packet = match fixture.is_tagged() {
        true => 5,
        false => 1,
    };
    of_program * of_packet
}

/// Runs `damage` on each packet of the corpus of each program, and judges what it makes.
fn judge_all(what: &str, damage: impl Fn(&Fixture) -> Vec<Vec<u8>> + Copy + Sync) {
    // Not the drain program: it looks at no packet that comes in.
    for program in Program::ALL.into_iter().filter(|&of| of != Program::Drain) {
        on_router(|bench, router| {
            let world = World::new(program, bench, router)?;
            let mut counts = bench.counts()?;
            for (number, fixture) in fixtures(program)?.into_iter().enumerate() {
                let step = step(program, &fixture);
                for frame in damage(&fixture)
                    .into_iter()
                    .skip(number % step)
                    .step_by(step)
                {
                    judge(bench, &world, &frame, &mut counts).with_context(|| {
                        format!("{program:?}, {}, {what}: {frame:02x?}", fixture.name)
                    })?;
                }
            }
            Ok(())
        });
    }
}

fn judge(bench: &mut Bench, world: &World, frame: &[u8], counts: &mut Counts) -> Result<()> {
    if frame.len() < shortest(world.program) {
        return Ok(());
    }
    if world.tidy(bench)? {
        *counts = bench.counts()?;
    }
    let ran = bench.run_next(world.program, world.interface, frame, counts)?;
    world
        .judge(bench, frame, &ran)
        .with_context(|| format!("{:?}, left as {:02x?}", ran.verdict, ran.frame))
}

#[test]
fn cut_short_at_any_octet_a_packet_ends_once_and_for_a_reason() {
    judge_all("cut", |fixture| {
        let frame = &fixture.frame;
        (ETHERNET..frame.len())
            .map(|length| frame[..length].to_vec())
            .collect()
    });
}

/// As if it had been made so short: the headers' lengths agree, and what they carry is cut.
#[test]
fn made_short_at_any_octet_a_packet_ends_once_and_for_a_reason() {
    judge_all("made short", |fixture| {
        let frame = &fixture.frame;
        let Some(start) = network_layer(frame) else {
            return Vec::new();
        };
        let mut made = Vec::new();
        for length in start + IPV6 + 1..frame.len() {
            let mut short = frame[..length].to_vec();
            let mut at = start;
            // The outermost header's length alone, then that of the tunnelled packets, too.
            while at + IPV6 <= short.len() {
                let payload = (length - at - IPV6) as u16;
                short[at + 4..at + 6].copy_from_slice(&payload.to_be_bytes());
                made.push(short.clone());
                if short[at + 6] != IPV6_IN_IPV6 {
                    break;
                }
                at += IPV6;
            }
        }
        made
    });
}

#[test]
fn with_any_octet_changed_a_packet_ends_once_and_for_a_reason() {
    judge_all("one octet", |fixture| {
        let frame = &fixture.frame;
        let mut changed = Vec::new();
        // Link-layer addresses, but one octet of each, say nothing.
        for at in [0, 6].into_iter().chain(12..frame.len().min(HEADERS)) {
            let own = frame[at];
            let values = match in_address(frame, at) {
                true => &[0xff, 0][..],
                false => &VALUES,
            };
            for &value in values.iter().chain(&[own ^ 1, own ^ 0x80]) {
                if value != own {
                    let mut frame = frame.clone();
                    frame[at] = value;
                    changed.push(frame);
                }
            }
        }
        changed
    });
}

#[test]
fn with_several_octets_changed_a_packet_ends_once_and_for_a_reason() {
    let seed = crate::seed("malformed");
    judge_all("several octets", |fixture| {
        let mut random = fastrand::Rng::with_seed(seed ^ fixture.frame.len() as u64);
        (0..SCRAMBLED)
            .map(|_| {
                let mut frame = fixture.frame.clone();
                for _ in 0..random.usize(2..6) {
                    let at = random.usize(12..frame.len().min(HEADERS));
                    frame[at] = match random.bool() {
                        true => random.u8(..),
                        false => *random.choice(&VALUES).expect("some values"),
                    };
                }
                if random.u8(..) < 64 {
                    frame.truncate(random.usize(ETHERNET..frame.len()));
                }
                frame
            })
            .collect()
    });
}
