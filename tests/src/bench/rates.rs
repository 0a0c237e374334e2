//! Packets per second of one processor: fmip, XDP that does less, and the kernel.

use anyhow::Result;
use fmip_common::bench::Plan;

use super::{
    Axis, Figure, Options, Plot, Report, Series,
    object::Contender::{self, Pass, Redirect, RedirectFib, Subject},
    rig::{
        Rig,
        Traffic::{self, FromTunnel, ToBound, ToOthers},
        route_out_of_tunnels, route_to_segments,
    },
};
use crate::NetNs;

/// Octets of a frame of the ratios, as on the wire of old without the checksum.
const SHORT: usize = 64;
/// Octets of the frames of the plot. The longest has room for an outer header below 1500 octets.
const SIZES: [usize; 4] = [64, 256, 512, 1400];
/// What the shortest packet in a tunnel has.
const SHORT_IN_TUNNEL: usize = SHORT + 40;
/// Nodes that have packets in turn, where there are many.
const MANY: u32 = 1000;

/// One way that packets go.
#[derive(Clone, Copy)]
struct Way {
    traffic: Traffic,
    contender: Contender,
    length: usize,
    nodes: u32,
}

const fn way(traffic: Traffic, contender: Contender, length: usize, nodes: u32) -> Way {
    Way {
        traffic,
        contender,
        length,
        nodes,
    }
}

/// The figures: one way over another, in packets per second.
const RATIOS: [(&str, Way, Way); 5] = [
    (
        "encap_vs_redirect",
        way(ToBound, Subject, SHORT, 1),
        way(ToBound, Redirect, SHORT, 1),
    ),
    (
        "encap_vs_seg6",
        way(ToBound, Subject, SHORT, 1),
        way(ToBound, Pass, SHORT, 1),
    ),
    (
        "encap_vs_seg6_1000",
        way(ToBound, Subject, SHORT, MANY),
        way(ToBound, Pass, SHORT, MANY),
    ),
    (
        "decap_vs_end_dt6",
        way(FromTunnel, Subject, SHORT_IN_TUNNEL, 1),
        way(FromTunnel, Pass, SHORT_IN_TUNNEL, 1),
    ),
    (
        "pass_vs_forward",
        way(ToOthers, Subject, SHORT, 1),
        way(ToOthers, Pass, SHORT, 1),
    ),
];

/// The lines of the plot, with what their keys are made of.
const LINES: [(&str, &str, Traffic, Contender); 5] = [
    ("redirect", "bare XDP redirect", ToOthers, Redirect),
    ("encap", "fmip encapsulation", ToBound, Subject),
    (
        "redirect_fib",
        "XDP redirect with FIB lookup",
        ToOthers,
        RedirectFib,
    ),
    ("forward", "kernel forwarding", ToOthers, Pass),
    ("seg6", "kernel seg6 encap.red", ToBound, Pass),
];

/// Measures the ratios, then the lines of the plot.
pub(super) fn measure(options: &Options, namespace: &NetNs, report: &mut Report) -> Result<()> {
    let names = RATIOS.map(|(name, ..)| name);
    let rates = options.plots || options.wants("rate_");
    if !options.wants_any(&names) && !rates {
        return Ok(());
    }
    let mut rig = Rig::new(namespace, 1024, MANY)?;
    let packets = if options.quick { 1 << 16 } else { 1 << 18 };
    rig.helpers.set_order(0..MANY)?;
    rig.bind(1)?;
    let mut bound = 1;
    let mut no_seg6 = route_to_segments(namespace, 0..1).err();
    let no_end_dt6 = route_out_of_tunnels(namespace).err();

    if rates {
        rates_by_size(options, &mut rig, packets, no_seg6.as_ref(), report)?;
    }
    for (name, ours, theirs) in RATIOS {
        if !options.wants(name) {
            continue;
        }
        if ours.nodes > bound {
            rig.bind(ours.nodes)?;
            if no_seg6.is_none() {
                no_seg6 = route_to_segments(namespace, bound..ours.nodes).err();
            }
            bound = ours.nodes;
        }
        let missing = match (theirs.traffic, theirs.contender) {
            (ToBound, Pass) => no_seg6.as_ref(),
            (FromTunnel, Pass) => no_end_dt6.as_ref(),
            _ => None,
        };
        if let Some(error) = missing {
            report.skip(&[name], error);
            continue;
        }
        let mut plans = [ours, theirs].map(|way| plan(&rig, way));
        let times = in_turn(options, &mut rig, &mut plans, packets)?;
        // Packets per second are the reverse of the time for one.
        let ratios = times.iter().map(|times| times[1] / times[0]).collect();
        report.figures.push(Figure::of(name, "ratio", ratios));
    }
    Ok(())
}

/// Packets per second by their size.
fn rates_by_size(
    options: &Options,
    rig: &mut Rig,
    packets: u32,
    no_seg6: Option<&anyhow::Error>,
    report: &mut Report,
) -> Result<()> {
    let mut series = LINES.map(|(_, title, ..)| Series {
        name: title.to_owned(),
        ..Series::default()
    });
    for size in SIZES {
        let mut plans = LINES.map(|(_, _, traffic, contender)| {
            let contender = match (contender, traffic, no_seg6) {
                // Measured, so that the others keep their turn, and not shown.
                (Pass, ToBound, Some(_)) => Redirect,
                _ => contender,
            };
            plan(rig, way(traffic, contender, size, 1))
        });
        let times = in_turn(options, rig, &mut plans, packets)?;
        for (line, (key, ..)) in LINES.iter().enumerate() {
            let name = format!("rate_{key}_{size}");
            if let ("seg6", Some(error)) = (*key, no_seg6) {
                report.skip(&[&name], error);
                continue;
            }
            let rates = times.iter().map(|times| 1e3 / times[line]).collect();
            let figure = Figure::of(name, "Mpps", rates);
            series[line].push(size as f64, &figure);
            report.figures.push(figure);
        }
    }
    report.plots.push(Plot {
        name: "rates".to_owned(),
        title: "Packets per second of one processor, by size".to_owned(),
        x: Axis {
            label: "octets of a frame".to_owned(),
            logarithmic: false,
        },
        y: Axis {
            label: "million packets per second".to_owned(),
            logarithmic: false,
        },
        series: series
            .into_iter()
            .filter(|line| !line.points.is_empty())
            .collect(),
    });
    Ok(())
}

fn plan(rig: &Rig, way: Way) -> Plan {
    rig.plan(way.traffic, way.contender, way.length, way.nodes)
}

/// Sends packets by each of the plans in turn, round after round; nanoseconds for each, by round.
fn in_turn<const N: usize>(
    options: &Options,
    rig: &mut Rig,
    plans: &mut [Plan; N],
    packets: u32,
) -> Result<Vec<[f64; N]>> {
    let mut rounds = Vec::new();
    // The first round warms up caches and tables, and is not counted.
    for round in 0..=options.rounds() {
        let mut times = [0.0; N];
        for (plan, time) in plans.iter_mut().zip(&mut times) {
            *time = rig.send(plan, packets)?;
        }
        if round > 0 {
            rounds.push(times);
        }
    }
    Ok(rounds)
}
