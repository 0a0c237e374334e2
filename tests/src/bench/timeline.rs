//! What a handover does to a stream, packet by packet: with fast handover, and without.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};

use super::{Axis, Plot, Series};
use crate::{
    Lab,
    controller::{Controllers, Settings},
    handover::{Move, Moved},
    stream::StreamConfig,
};

/// Packets per second: a dot every other millisecond.
const RATE: u32 = 500;
/// Octets of a packet.
const SIZE: usize = 200;
/// Between leaving one access point and being at the next: what a radio takes that has to look for it.
const GAP: Duration = Duration::from_millis(200);
/// How much is shown of the time before the link is left.
const BEFORE: Duration = Duration::from_millis(300);
/// How much is shown of the time after the last packet that came late or not at all.
const AFTER: Duration = Duration::from_millis(300);
/// A packet that takes longer is late.
const LATE: Duration = Duration::from_millis(10);

/// Plays the same move twice, each in a lab of its own, and tells the delay of each packet to the mobile
/// node, or that it never came, by the time at which it was sent.
///
/// # Errors
/// If a lab cannot be built, or a handover does not come to its end.
pub fn play(fmip_ctl: &Path) -> Result<Plot> {
    let play = Move {
        gap: GAP,
        stream: StreamConfig::new(RATE, SIZE)?,
    };
    let lab = Lab::build().context("cannot build the lab")?;
    let settings = Settings::new(fmip_ctl.to_owned());
    let controllers = Controllers::start(&lab, &settings)?;
    let fast = play.move_fast(&lab, &controllers);
    let (fast, _) = fast.map_err(|error| anyhow!("{error:#}\n{}", controllers.account()))?;
    drop((controllers, lab));
    let lab = Lab::build().context("cannot build the lab")?;
    let plain = play.move_plain(&lab).context("the plain move failed")?;
    Ok(plot(&[("fmip", fast), ("no fast handover", plain)]))
}

fn plot(moves: &[(&str, Moved)]) -> Plot {
    // What is shown of both is the same time.
    let end = moves.iter().map(|(_, moved)| disturbed(moved) + AFTER);
    let end = end.max().unwrap_or_default();
    let series = moves.iter().map(|(name, moved)| Series {
        name: (*name).to_owned(),
        points: points(moved, end),
        ..Series::default()
    });
    let axis = |label: &str| Axis {
        label: label.to_owned(),
        logarithmic: false,
    };
    Plot {
        name: "timeline".to_owned(),
        title: format!(
            "Packets to a mobile node that changes routers, {} ms between the links",
            GAP.as_millis()
        ),
        x: axis("time of sending after the old link was left, ms"),
        y: axis("delay of each packet, ms"),
        series: series.collect(),
    }
}

/// How long after the node left a packet was sent last that came late, or never.
fn disturbed(moved: &Moved) -> Duration {
    let is_disturbed = |sent: Duration, arrived: Option<Duration>| {
        arrived.is_none_or(|arrived| arrived.saturating_sub(sent) > LATE)
    };
    let passages = moved.traffic.passages.iter().rev();
    passages
        .filter(|passage| is_disturbed(passage.sent, passage.arrived))
        .map(|passage| passage.sent.saturating_sub(moved.left))
        .next()
        .unwrap_or_default()
}

/// Milliseconds from when the node left to when each packet was sent, and its delay in milliseconds.
fn points(moved: &Moved, end: Duration) -> Vec<(f64, f64)> {
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    let left = moved.left;
    let shown = left.saturating_sub(BEFORE)..left + end;
    let passages = moved.traffic.passages.iter();
    passages
        .filter(|passage| shown.contains(&passage.sent))
        .map(|passage| {
            let delay = passage.arrived.map_or(f64::NAN, |arrived| {
                milliseconds(arrived.saturating_sub(passage.sent))
            });
            (milliseconds(passage.sent) - milliseconds(left), delay)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Passage, Traffic};

    #[test]
    fn a_timeline_ends_soon_after_the_last_packet_that_suffered() {
        let ms = Duration::from_millis;
        let passages = (0..2000).map(|sent| Passage {
            sent: ms(sent),
            arrived: match sent {
                500..600 => None,
                600..700 => Some(ms(sent + 50)),
                _ => Some(ms(sent + 1)),
            },
        });
        let moved = Moved {
            traffic: Traffic {
                passages: passages.collect(),
                ..Traffic::default()
            },
            left: ms(500),
        };
        let plot = plot(&[("some", moved)]);
        let points = &plot.series[0].points;
        assert_eq!(points.first(), Some(&(-300.0, 1.0)));
        assert_eq!(points.last(), Some(&(498.0, 1.0)));
        let lost = points.iter().filter(|point| point.1.is_nan());
        assert_eq!(lost.count(), 100);
        assert!(points.contains(&(150.0, 50.0)));
    }
}
