//! What the data path's program costs by itself, by the number of bindings.
//!
//! Every packet is for another node than the one before, in an order that nobody can guess, so that what a packet
//! finds in the caches is what it would find on a router. The program's time is that of a run less that of the
//! empty program, which is given the same packets.

use std::time::Instant;

use anyhow::Result;

use super::{
    Axis, Figure, Options, Plot, Report, Series,
    object::Contender,
    rig::{Rig, Traffic},
};
use crate::NetNs;

/// Numbers of bindings, and how they stand in the keys.
const NUMBERS: [(u32, &str); 4] = [(1, "1"), (1000, "1k"), (100_000, "100k"), (1_000_000, "1m")];
/// The number of bindings of `miss_ns`.
const USUAL: &str = "1k";
/// Bindings that are changed at a time, to see how fast that is.
const CHANGES: u32 = 100_000;
/// Octets of a frame.
const LENGTH: usize = 64;

/// Measures matches and misses.
pub(super) fn measure(options: &Options, namespace: &NetNs, report: &mut Report) -> Result<()> {
    let wanted: Vec<_> = NUMBERS
        .into_iter()
        .filter(|(_, text)| {
            options.plots
                || options.wants(&format!("match_ns_{text}"))
                || options.wants(&format!("miss_ns_{text}"))
                || (*text == USUAL && options.wants("miss_ns"))
        })
        .collect();
    let Some(&(most, _)) = wanted.last() else {
        return Ok(());
    };
    let mut rig = Rig::new(namespace, 1024, most)?;
    let mut matched = Series {
        name: "bound".to_owned(),
        ..Series::default()
    };
    let mut missed = Series {
        name: "not bound".to_owned(),
        ..Series::default()
    };
    for (number, text) in wanted {
        let names = [format!("match_ns_{text}"), format!("miss_ns_{text}")];
        if let Err(error) = rig.bind(number) {
            report.skip(&[&names[0], &names[1]], &error);
            continue;
        }
        let [matches, misses] = cost(options, &mut rig, number)?;
        if number >= CHANGES {
            let name = format!("changes_per_s_{text}");
            let rates = changes(options, &mut rig)?;
            report.figures.push(Figure::of(name, "1/s", rates));
        }
        let [match_name, miss_name] = names;
        if text == USUAL {
            let usual = Figure::of("miss_ns", "ns", misses.clone());
            report.figures.push(usual);
        }
        for (name, times, series) in [
            (match_name, matches, &mut matched),
            (miss_name, misses, &mut missed),
        ] {
            let figure = Figure::of(name, "ns", times);
            series.push(number.into(), &figure);
            report.figures.push(figure);
        }
    }
    report.plots.push(Plot {
        name: "lookups".to_owned(),
        title: "Cost of a packet by the number of bindings, less an empty program".to_owned(),
        x: Axis {
            label: "bindings".to_owned(),
            logarithmic: true,
        },
        y: Axis {
            label: "nanoseconds".to_owned(),
            logarithmic: false,
        },
        series: vec![matched, missed],
    });
    Ok(())
}

/// Bindings that the controller changes in a second: by the clock, since that is what its user waits for.
fn changes(options: &Options, rig: &mut Rig) -> Result<Vec<f64>> {
    (0..options.rounds())
        .map(|_| {
            let start = Instant::now();
            rig.renew(CHANGES)?;
            Ok(f64::from(CHANGES) / start.elapsed().as_secs_f64())
        })
        .collect()
}

/// Nanoseconds for a packet to a node that is bound, and to one that is not.
fn cost(options: &Options, rig: &mut Rig, nodes: u32) -> Result<[Vec<f64>; 2]> {
    // As many as there are nodes at most, and then some: every one has its turn.
    let packets = if options.quick { 1 << 17 } else { 1 << 20 };
    let mut order: Vec<u32> = (0..nodes).collect();
    // The same in every run.
    fastrand::Rng::with_seed(1).shuffle(&mut order);
    rig.helpers.set_order(order.into_iter())?;
    let mut plans = [
        (Traffic::ToBound, Contender::Pass),
        (Traffic::ToBound, Contender::Subject),
        (Traffic::ToOthers, Contender::Subject),
    ]
    .map(|(traffic, contender)| rig.plan(traffic, contender, LENGTH, nodes));
    let mut costs = [Vec::new(), Vec::new()];
    // The first round warms up, and is not counted.
    for round in 0..=options.rounds() {
        let mut times = [0.0; 3];
        for (plan, time) in plans.iter_mut().zip(&mut times) {
            *time = rig.run(plan, packets)?;
        }
        if round > 0 {
            let [empty, matched, missed] = times;
            costs[0].push(matched - empty);
            costs[1].push(missed - empty);
        }
    }
    Ok(costs)
}
