//! Thousands of handovers of one node while packets for it come in on two processors: hold, drain, deliver,
//! and hold again, by the drain thread and on real packets.
//!
//! ```text
//!     two senders, each on a processor        in1 ---- in0 [router] out0 ---- out1   one receiver
//! ```
//!
//! Every sender numbers its packets, those of its stream and those of its signalling by themselves. The
//! receiver knows which number must come next of each: a packet that is lost, comes twice or is overtaken is a
//! wrong number, and a stranded one is a number that never comes.

use std::{
    io::Read as _,
    net::Ipv6Addr,
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use fmip_common::reason::Reason;
use fmip_ctl::{
    io::{
        drain::{Drain, Report},
        maps::Maps,
        pool::Room,
        transmit::Transmitter,
    },
    proto::Transmit,
    wire::MacAddr,
};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    bench::{Bench, NEXT_HOP_MAC, Router, WIDE, address::*, in_namespace, index, later},
    packets::{ETHERNET, IPV6, Packet, ROUTER_MAC, UDP},
    receiver::Receiver,
};

/// Packets of each sender at least.
const EACH: u32 = 1_000_000;
/// Handovers at least, each of which switches three times: how many there are in so many packets is a matter of
/// the machine's other work, and the senders go on until there were as many.
const HANDOVERS: u64 = 400;
/// Packets of one sender that are under way at most, held ones included: all of them together find room in
/// the ring of a veth (256 frames).
const WINDOW: u32 = 100;
/// Every so many packets one is signalling.
const SIGNALLING: u32 = 8;
/// Packets that must be held before a release, and go straight on before the next hold.
const SOME: u64 = 20;
/// Far longer than a machine under load needs, for all and for each step.
const DEADLINE: Duration = Duration::from_secs(300);
/// The buffers rest between two uses.
const ROOM: Room = Room {
    packets: 1024,
    nodes: 8192,
    guaranteed: 0,
};
const SENDERS: [Ipv6Addr; 2] = [CN, OTHER];
const MOBILITY: u8 = 135;

/// How far everybody is.
#[derive(Default)]
struct Progress {
    handovers: AtomicU64,
    /// Of each sender, when it has ended.
    sent: [AtomicU32; SENDERS.len()],
    /// How many senders have ended.
    ended: AtomicUsize,
    received: [AtomicU32; SENDERS.len()],
    failed: AtomicBool,
}

impl Progress {
    fn received(&self) -> u64 {
        total(&self.received)
    }

    /// Packets that were sent, once there will be no more.
    fn all(&self) -> Option<u64> {
        (self.ended.load(Acquire) == SENDERS.len()).then(|| total(&self.sent))
    }

    fn goes_on(&self) -> bool {
        self.all().is_none_or(|all| self.received() < all) && !self.failed.load(Relaxed)
    }

    fn sender_ends(&self, place: usize, sent: u32) {
        self.sent[place].store(sent, Relaxed);
        self.ended.fetch_add(1, Release);
    }

    /// Notes a failure, so that the others end, too.
    fn check<T>(&self, result: Result<T>) -> Result<T> {
        self.failed.fetch_or(result.is_err(), Relaxed);
        result
    }

    fn wait(&self, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while self.goes_on() && !condition()? {
            ensure!(Instant::now() < deadline, "a packet is stranded");
            thread::yield_now();
        }
        Ok(())
    }
}

fn total(counts: &[AtomicU32]) -> u64 {
    let counts = counts.iter();
    counts.map(|count| u64::from(count.load(Relaxed))).sum()
}

// Rows: BUF-08
#[test]
fn in_millions_of_packets_and_thousands_of_switches_none_is_lost_doubled_stranded_or_overtaken() {
    in_namespace(|namespace| {
        let mut bench = Bench::with_room(ROOM, WIDE)?;
        let router = Router::new(namespace, &mut bench)?;
        let receiver = Receiver::new()?;
        let sender = index(namespace, "in1")?;
        let (reporter, mut reports) = unbounded_channel();
        let mut maps = bench.maps;
        let drain = Drain::start(bench.programs, bench.drain, reporter)?;
        let progress = Progress::default();
        // Bound before the first packet comes.
        let mut handovers = Handovers {
            maps: &mut maps,
            drain: &drain,
            reports: &mut reports,
            router: &router,
            held: 0,
        };
        handovers.hold()?;
        thread::scope(|scope| {
            let progress = &progress;
            let receiving = scope.spawn(|| progress.check(receive(&receiver, progress)));
            let feeding: Vec<_> = (0..SENDERS.len())
                .map(|place| scope.spawn(move || progress.check(feed(place, sender, progress))))
                .collect();
            let result = progress.check(handovers.run(progress));
            for feeder in feeding {
                feeder.join().expect("no panic inside")?;
            }
            receiving.join().expect("no panic inside")?;
            result
        })?;
        let held = handovers.held;
        let switches = progress.handovers.load(Relaxed);
        let all = progress.all().context("a sender did not end")?;
        eprintln!("{all} packets, {held} of them held, in {switches} handovers");
        assert!(
            switches >= HANDOVERS,
            "only {switches} handovers in {DEADLINE:?}"
        );
        assert!(held > SOME * switches / 2, "only {held} held");
        assert!(
            held < all - SOME * switches / 2,
            "{held} held, and only the rest of {all} not"
        );
        assert_eq!(maps.slots_in_use()?, 0);
        for (reason, count) in maps.counts()? {
            let expected = match reason {
                Reason::Held | Reason::Released => held,
                Reason::Delivered => all - held,
                _ => 0,
            };
            assert_eq!(count.packets, expected, "{}", reason.name());
        }
        Ok(())
    });
}

struct Handovers<'a> {
    maps: &'a mut Maps,
    drain: &'a Drain,
    reports: &'a mut UnboundedReceiver<Report>,
    router: &'a Router,
    held: u64,
}

impl Handovers<'_> {
    fn hold(&mut self) -> Result<()> {
        let buffer = self
            .maps
            .hold(NCOA, self.router.next_hop(), None, later())?;
        self.drain.hold(buffer);
        Ok(())
    }

    /// Hands over until all packets have come, beginning with a release.
    fn run(&mut self, progress: &Progress) -> Result<()> {
        loop {
            progress.wait(|| {
                let buffers = self.maps.buffers()?;
                let (held, waiting) = buffers
                    .first()
                    .map_or((0, 0), |buffer| (buffer.held, buffer.waiting));
                // The last ones may be fewer: nobody comes behind them.
                let all = progress.all();
                Ok(held >= SOME || all.is_some_and(|all| progress.received() + waiting >= all))
            })?;
            let release = self.maps.release(NCOA, later())?;
            self.drain.release(release.context("nothing to release")?);
            self.drained(progress)?;
            if !progress.goes_on() {
                return Ok(());
            }
            let enough = progress.received() + SOME;
            progress.wait(|| Ok(progress.received() >= enough))?;
            if !progress.goes_on() {
                return Ok(());
            }
            self.hold()?;
        }
    }

    /// Waits until the buffer is drained, and adds up its account.
    fn drained(&mut self, progress: &Progress) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.reports.try_recv() {
                Ok(Report::Drained {
                    held,
                    released,
                    dropped,
                    ..
                }) => {
                    ensure!(
                        (released, dropped) == (held, 0),
                        "of {held} packets {released} were released, {dropped} dropped"
                    );
                    self.held += held;
                    progress.handovers.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Ok(Report::FirstReleased { .. }) => {}
                Ok(report) => bail!("{report:?}"),
                Err(_) => thread::yield_now(),
            }
            ensure!(
                Instant::now() < deadline && !progress.failed.load(Relaxed),
                "the buffer is never drained"
            );
        }
    }
}

/// Sends the packets of one sender, on a processor of its own if there are so many.
fn feed(place: usize, interface: u32, progress: &Progress) -> Result<()> {
    let mut processors = CpuSet::new();
    processors.set(place);
    // With a single processor all share it.
    let _ = sched_setaffinity(None, &processors);
    let transmitter = Transmitter::new()?;
    let mut numbers = [0; 2];
    let deadline = Instant::now() + DEADLINE;
    let mut sent = 0;
    while sent < EACH || progress.handovers.load(Relaxed) < HANDOVERS && Instant::now() < deadline {
        let is_signalling = sent % SIGNALLING == 0;
        let number = &mut numbers[usize::from(is_signalling)];
        let packet = Packet {
            next_header: if is_signalling { MOBILITY } else { UDP },
            ..Packet::numbered(SENDERS[place], NCOA, *number)
        };
        *number += 1;
        let received = &progress.received[place];
        progress.wait(|| Ok(sent - received.load(Relaxed) < WINDOW))?;
        if progress.failed.load(Relaxed) {
            return Ok(());
        }
        transmitter.send(&Transmit {
            interface: Some(interface),
            link_destination: Some(MacAddr(ROUTER_MAC)),
            bytes: packet.octets()[ETHERNET..].to_vec().into(),
        })?;
        sent += 1;
    }
    progress.sender_ends(place, sent);
    Ok(())
}

/// Checks what comes out, number by number.
fn receive(receiver: &Receiver, progress: &Progress) -> Result<()> {
    const NUMBER: usize = ETHERNET + IPV6 + 8;
    let mut expected = [[0_u32; 2]; SENDERS.len()];
    let mut frame = [0; 2048];
    while progress.goes_on() {
        match (&mut receiver.socket()).read(&mut frame) {
            Ok(length) if length > NUMBER + 4 && frame[..6] == NEXT_HOP_MAC => {}
            Ok(_) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let source = &frame[ETHERNET + 8..ETHERNET + 24];
        let place = SENDERS
            .iter()
            .position(|sender| sender.octets() == *source)
            .context("a packet of nobody's")?;
        let is_signalling = frame[ETHERNET + 6] == MOBILITY;
        let number = u32::from_be_bytes(frame[NUMBER..NUMBER + 4].try_into()?);
        let next = &mut expected[place][usize::from(is_signalling)];
        ensure!(
            number == *next,
            "packet {number} came in place of {next}, of sender {place}, signalling: {is_signalling}"
        );
        *next += 1;
        progress.received[place].fetch_add(1, Relaxed);
    }
    Ok(())
}
