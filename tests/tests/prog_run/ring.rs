//! A release as fast as possible into a ring that nobody empties for a while: the far end of a veth whose
//! processor has other things to do, and with it every link that is slower than this machine.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use fmip_ctl::io::drain::{Drain, Report};
use fmip_tests::{
    stall::{self, Stall},
    testing, wait_until,
};
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    bench::{Bench, Router, WIDE, address::*, in_namespace, later},
    packets::Packet,
    receiver::Receiver,
};

/// Four times as many as the ring of a veth takes.
const PACKETS: u32 = 1000;
/// How long nothing is taken out of the ring: as long as on a machine that is busy compiling, and far longer
/// than the drain takes to fill it.
const PAUSE: Duration = Duration::from_millis(30);
/// Far longer than a machine under load needs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Found in a lab beside a compiler: the packets that did not find room in the ring were lost, and counted
/// as released.
// Rows: W11-04
#[test]
fn a_release_waits_while_nothing_is_taken_out_of_the_ring() {
    if let Some(reason) = stall::missing() {
        return testing::skip(reason);
    }
    in_namespace(|namespace| {
        stall::stay_away()?;
        let mut bench = Bench::with(2 * PACKETS, WIDE)?;
        let router = Router::new(namespace, &mut bench)?;
        let receiver = Receiver::new()?;
        stall::prepare(namespace, "out1")?;
        bench.maps.hold(NCOA, router.next_hop(), None, later())?;
        for number in 0..PACKETS {
            bench.router(&Packet::numbered(CN, NCOA, number).octets())?;
        }
        let (reporter, mut reports) = unbounded_channel();
        let release = bench.maps.release(NCOA, later())?;
        let drain = Drain::start(bench.programs, bench.drain, reporter)?;
        let stall = Stall::begin(2 * PAUSE)?;
        drain.release(release.context("nothing to release")?);
        let end = Instant::now() + PAUSE;
        while Instant::now() < end {
            thread::yield_now();
        }
        stall.end()?;
        wait_until("the node to be drained", DEADLINE, || {
            let drained = |report| matches!(report, Report::Drained { .. });
            Ok(reports.try_recv().is_ok_and(drained).then_some(()))
        })?;
        for (number, packet) in (0..).zip(receiver.packets(PACKETS as usize)?) {
            assert_eq!(packet.number(), number);
        }
        Ok(())
    });
}
