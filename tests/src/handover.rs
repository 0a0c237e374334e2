//! The move of the mobile node under traffic: with fast handover, and plain.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{
    controller::{Controllers, Events},
    report::Run,
    stream::{StreamConfig, Streams, Traffic},
    topology::{AccessPoint, Lab},
    wait::{SOON, elapse},
};

/// How long the stream runs on after the move.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// How long a plain move may take until traffic flows again both ways.
const RECOVERY: Duration = Duration::from_secs(60);
/// How long the release of what was held may take: a paced drain of a full buffer takes its time.
const DRAIN: Duration = Duration::from_secs(60);

/// The move to play.
#[derive(Copy, Clone, Debug)]
pub struct Move {
    /// The time between leaving one access point and being at the next.
    pub gap: Duration,
    /// The traffic meanwhile.
    pub stream: StreamConfig,
}

/// A fast handover up to the moment at which the mobile node may leave its link.
#[derive(Debug)]
pub struct Prepared {
    /// The mobile node's events since before the handover.
    pub mn: Events,
    /// The new access router's.
    pub nar: Events,
}

impl Prepared {
    /// Tells the mobile node that it is about to move to the new access point, and waits until the
    /// signalling is done and it wants to switch.
    pub fn start(controllers: &Controllers) -> Result<Self> {
        let mn = controllers.mn.subscribe()?;
        let nar = controllers.nar.subscribe()?;
        controllers.mn.trigger("impend", AccessPoint::New)?;
        mn.wait_for("link-switch", SOON)
            .context("the handover was not prepared")?;
        Ok(Self { mn, nar })
    }
}

/// What a move did to the traffic.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The account of the traffic.
    pub traffic: Traffic,
    /// When the mobile node left its link, since the streams' start.
    pub left: Duration,
}

impl Move {
    /// Starts the streams and waits until they flow evenly: half a second's packets, at least ten.
    pub fn start_streams(&self, lab: &Lab) -> Result<Streams> {
        let streams = Streams::start(lab, self.stream)?;
        let rate = self.stream.rate();
        let packets = u64::from(rate / 2).max(10);
        let expected = Duration::from_secs_f64(packets as f64 / f64::from(rate));
        streams
            .wait_for_packets(packets, expected + SOON)
            .context("the traffic does not flow before the move")?;
        Ok(streams)
    }

    /// The predictive fast handover of RFC 5568 figure 2: signalling on the old link, the link-layer gap,
    /// arrival at the predicted router, release of what was held on both sides.
    ///
    /// # Errors
    /// If the handover does not come to its end. Whether it was lossless is the [`Run`]'s to say.
    pub fn fast(&self, lab: &Lab, controllers: &Controllers) -> Result<Run> {
        let (moved, events) = self.move_fast(lab, controllers)?;
        let mut run = run_of(moved.traffic);

        let status = controllers.nar.status()?;
        let count = |name: &str| {
            status[name]
                .as_u64()
                .with_context(|| format!("the status of the new router has no number {name}"))
        };
        run.held = count("held")?;
        run.released = count("released")?;
        run.fbu_to_fback_us = microseconds(&events.mn, "fbu-sent", &events.mn, "fback-received");
        run.una_to_first_us = microseconds(&events.mn, "una-sent", &events.nar, "first-released");
        Ok(run)
    }

    /// As [`Move::fast`], with every packet's way.
    ///
    /// # Errors
    /// As [`Move::fast`].
    pub fn move_fast(&self, lab: &Lab, controllers: &Controllers) -> Result<(Moved, Prepared)> {
        let streams = self.start_streams(lab)?;
        let events = Prepared::start(controllers)?;
        let left = streams.elapsed();
        lab.leave()?;
        elapse(self.gap)?;
        lab.attach(AccessPoint::New)?;
        controllers.mn.trigger("link-up", AccessPoint::New)?;
        events.nar.wait_for("buffer-drained", DRAIN)?;
        events.mn.wait_for("buffer-drained", DRAIN)?;
        elapse(AFTERWARDS)?;
        streams.check()?;
        let traffic = streams.stop()?;
        Ok((Moved { traffic, left }, events))
    }

    /// The move without fast handover: the mobile node comes to the new link, asks for a router, makes
    /// its new address and checks it for duplicates; its application goes on from there. What network
    /// managers do to speed this up is done. Returns once traffic has flowed again both ways and the
    /// streams have ended.
    pub fn plain(&self, lab: &Lab) -> Result<Run> {
        Ok(run_of(self.move_plain(lab)?.traffic))
    }

    /// As [`Move::plain`], with every packet's way.
    ///
    /// # Errors
    /// As [`Move::plain`].
    pub fn move_plain(&self, lab: &Lab) -> Result<Moved> {
        let streams = self.start_streams(lab)?;
        let left = streams.elapsed();
        lab.detach()?;
        lab.forget_link()?;
        elapse(self.gap)?;
        lab.attach(AccessPoint::New)?;
        lab.solicit_routers()?;
        streams.follow_new_address(lab, RECOVERY)?;
        streams
            .wait_for_packets(1, RECOVERY)
            .context("the traffic does not come back after the plain move")?;
        elapse(AFTERWARDS)?;
        streams.check()?;
        let traffic = streams.stop()?;
        Ok(Moved { traffic, left })
    }
}

/// The traffic's part of a run.
pub(crate) fn run_of(traffic: Traffic) -> Run {
    let notes = traffic
        .refused
        .iter()
        .map(|(error, count)| format!("{count} packets could not be sent: {error}"))
        .chain(traffic.losses)
        .collect();
    Run {
        downlink: traffic.downlink,
        uplink: traffic.uplink,
        notes,
        ..Run::default()
    }
}

/// The time from the first event `from` to the first event `to`, if both happened in this order.
fn microseconds(of: &Events, from: &str, at: &Events, to: &str) -> Option<u64> {
    let from = of.first(from)?.time_ns;
    let to = at.first(to)?.time_ns;
    Some(to.checked_sub(from)? / 1000)
}
