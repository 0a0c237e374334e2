//! The drain thread, on real packets: what it releases, keeps and drops, and when.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context as _, Result};
use fmip_common::reason::Reason;
use fmip_ctl::{
    io::{
        drain::{Drain, Pace, Report},
        maps::{BufferStatus, Maps, Release},
        pool::{BufferLimits, Policy},
        transmit::Transmitter,
    },
    proto::Transmit,
    wire::MacAddr,
};
use fmip_tests::{NetNs, wait_until};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    bench::{Bench, POOL, Router, WIDE, address::*, in_namespace, index, later},
    departed::is_tunnelled,
    packets::{ETHERNET, Packet, ROUTER_MAC},
    receiver::Receiver,
};

/// Far longer than a machine under load needs.
const DEADLINE: Duration = Duration::from_secs(30);

/// A router with its drain thread.
struct Running {
    maps: Maps,
    drain: Drain,
    reports: UnboundedReceiver<Report>,
    router: Router,
    receiver: Receiver,
    transmitter: Transmitter,
    /// The far end of the link that packets come in on.
    sender: u32,
}

impl Running {
    fn start(namespace: &NetNs, pace: Pace) -> Result<Self> {
        let limits = BufferLimits {
            policy: Policy {
                pace,
                ..WIDE.policy
            },
            ..WIDE
        };
        let mut bench = Bench::with(POOL, limits)?;
        let router = Router::new(namespace, &mut bench)?;
        // Packets are not for the kernel of this router: it would forward what is only copied.
        namespace.ip("link set in0 address 02:00:00:00:00:21")?;
        let (sender, reports) = unbounded_channel();
        Ok(Self {
            maps: bench.maps,
            drain: Drain::start(bench.programs, bench.drain, sender)?,
            reports,
            router,
            receiver: Receiver::new()?,
            transmitter: Transmitter::new()?,
            sender: index(namespace, "in1")?,
        })
    }

    /// Sends numbered packets to an address, and waits until they are put.
    fn feed(&self, address: Ipv6Addr, numbers: std::ops::Range<u32>) -> Result<()> {
        let before = self.put()?;
        for number in numbers.clone() {
            let packet = Packet::numbered(CN, address, number).octets();
            self.transmitter.send(&Transmit {
                interface: Some(self.sender),
                link_destination: Some(MacAddr(ROUTER_MAC)),
                bytes: packet[ETHERNET..].to_vec().into(),
            })?;
        }
        let fed = u64::try_from(numbers.len())?;
        wait_until("the packets to be put", DEADLINE, || {
            Ok((self.put()? >= before + fed).then_some(()))
        })
    }

    /// Packets that were put so far, for whomever. What a buffer tells of itself is without the copies that
    /// were dropped since, which may be all of them before anybody looks.
    fn put(&self) -> Result<u64> {
        Ok(self.count(Reason::Held)? + self.count(Reason::Copied)?)
    }

    fn status(&self, address: Ipv6Addr) -> Result<BufferStatus> {
        self.maps
            .buffers()?
            .into_iter()
            .find(|buffer| buffer.address == address)
            .with_context(|| format!("{address} has no buffer"))
    }

    fn until(
        &self,
        address: Ipv6Addr,
        what: &str,
        condition: impl Fn(&BufferStatus) -> bool,
    ) -> Result<()> {
        wait_until(what, DEADLINE, || {
            Ok(condition(&self.status(address)?).then_some(()))
        })
    }

    fn report(&mut self) -> Result<Report> {
        wait_until("a report", DEADLINE, || Ok(self.reports.try_recv().ok()))
    }

    fn hold(&mut self, address: Ipv6Addr) -> Result<()> {
        let hop = self.router.next_hop();
        let buffer = self.maps.hold(address, hop, None, later())?;
        self.drain.hold(buffer);
        Ok(())
    }

    fn copy(&mut self, address: Ipv6Addr, window: Duration) -> Result<()> {
        let buffer = self.maps.copy(address, self.router.next_hop())?;
        self.drain.copy(buffer, window);
        Ok(())
    }

    fn release(&mut self, release: Option<Release>) -> Result<()> {
        self.drain.release(release.context("nothing to release")?);
        Ok(())
    }

    fn install_tunnel(&mut self) -> Result<()> {
        let release = self.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        self.release(release)
    }

    fn count(&self, wanted: Reason) -> Result<u64> {
        let counts = self.maps.counts()?;
        let found = counts.iter().find(|(reason, _)| *reason == wanted);
        Ok(found.context("no such counter")?.1.packets)
    }

    #[track_caller]
    fn is_drained(&mut self, held: u64) -> Result<()> {
        loop {
            match self.report()? {
                Report::FirstReleased { address, .. } => assert_eq!(address, PCOA),
                report => {
                    let expected = Report::Drained {
                        address: PCOA,
                        held,
                        released: held,
                        dropped: 0,
                    };
                    assert_eq!(report, expected);
                    return Ok(());
                }
            }
        }
    }

    /// The next packets leave in the tunnel, with these numbers.
    fn tunnelled(&self, numbers: std::ops::Range<u32>) -> Result<()> {
        let packets = self.receiver.packets(numbers.len())?;
        for (packet, number) in packets.iter().zip(numbers) {
            is_tunnelled(packet, number);
        }
        Ok(())
    }
}

// Rows: BUF-01, BUF-05
#[test]
fn copies_are_dropped_when_they_leave_the_window_until_the_node_departs() {
    const WINDOW: Duration = Duration::from_millis(200);
    in_namespace(|namespace| {
        let mut running = Running::start(namespace, Pace::Burst)?;
        running.copy(PCOA, WINDOW)?;
        running.feed(PCOA, 0..5)?;
        running.until(PCOA, "old copies to be dropped", |buffer| {
            buffer.waiting == 0
        })?;
        // Counted last.
        wait_until("the dropped copies to be counted", DEADLINE, || {
            Ok((running.count(Reason::CopyTrimmed)? == 5).then_some(()))
        })?;

        // What is in the window when the node departs stays, however long that was ago: as long as it takes
        // for another node's copies to leave theirs.
        running.copy(PCOA, Duration::from_secs(3600))?;
        running.feed(PCOA, 5..8)?;
        running.hold(PCOA)?;
        running.feed(PCOA, 8..10)?;
        running.copy(OTHER, WINDOW)?;
        running.feed(OTHER, 0..3)?;
        running.until(OTHER, "old copies to be dropped", |buffer| {
            buffer.waiting == 0
        })?;
        assert_eq!(running.status(PCOA)?.waiting, 5);

        running.install_tunnel()?;
        running.is_drained(5)?;
        running.tunnelled(5..10)?;
        assert_eq!(running.count(Reason::Discarded)?, 0);
        Ok(())
    });
}

#[test]
fn the_end_of_copying_is_no_loss_and_that_of_holding_is() {
    in_namespace(|namespace| {
        let mut running = Running::start(namespace, Pace::Burst)?;
        running.copy(PCOA, Duration::from_secs(3600))?;
        running.hold(OTHER)?;
        for (address, reason) in [(PCOA, Reason::CopyTrimmed), (OTHER, Reason::Discarded)] {
            running.feed(address, 0..5)?;
            let buffer = running.maps.unbind(address)?.context("it has no buffer")?;
            running.drain.discard(buffer);
            let expected = Report::Discarded { buffer, packets: 5 };
            assert_eq!(running.report()?, expected);
            assert_eq!(running.count(reason)?, 5);
        }
        assert_eq!(running.maps.slots_in_use()?, 0);
        Ok(())
    });
}

/// The node comes back and leaves again while it is being drained: what has not left yet waits, and so does
/// what comes, whichever of the two orders the drain came to an end between.
// Rows: BUF-08
#[test]
fn a_release_is_broken_off_and_taken_up_again() {
    in_namespace(|namespace| {
        let pace = Pace::Metered { catch_up: 1.1 };
        let mut running = Running::start(namespace, pace)?;
        running.hold(PCOA)?;
        for number in 0..10 {
            running.feed(PCOA, number..number + 1)?;
        }
        running.install_tunnel()?;
        assert!(matches!(running.report()?, Report::FirstReleased { .. }));
        running.hold(PCOA)?;
        running.hold(OTHER)?;
        // The order was carried out when the one after it was.
        let buffer = running.maps.unbind(OTHER)?.context("it has no buffer")?;
        running.drain.discard(buffer);
        while !matches!(running.report()?, Report::Discarded { .. }) {}
        running.feed(PCOA, 10..12)?;
        assert!(running.status(PCOA)?.waiting >= 2, "not held");
        running.install_tunnel()?;
        let left = running.status(PCOA)?.held;
        running.is_drained(left)?;
        running.tunnelled(0..12)?;
        Ok(())
    });
}

#[test]
fn what_waits_for_its_next_hop_leaves_when_that_is_resolved() {
    in_namespace(|namespace| {
        let mut running = Running::start(namespace, Pace::Burst)?;
        namespace.ip_batch("neighbor del 2001:db8:f::2 dev out0\n")?;
        running.hold(PCOA)?;
        running.feed(PCOA, 0..30)?;
        running.install_tunnel()?;
        assert!(matches!(running.report()?, Report::FirstReleased { .. }));
        assert!(running.status(PCOA)?.waiting > 0, "nothing waits");
        namespace.ip_batch(
            "neighbor replace 2001:db8:f::2 lladdr 02:00:00:00:00:11 dev out0 nud permanent\n",
        )?;
        running.is_drained(30)?;
        for (number, packet) in running.receiver.packets(30)?.iter().enumerate() {
            assert_eq!(packet.inner().number(), number as u32);
        }
        Ok(())
    });
}
