//! The handover buffer: what a put costs, and how fast a whole buffer is sent, in the kernel and in user space.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{
    Axis, Figure, Options, Plot, Report, Series,
    object::{Contender, processor_time},
    rig::{Rig, Traffic},
    user_space::{Call, UserBuffer},
};
use crate::{NetNs, wait::SOON};

/// Packets of a whole buffer.
const PACKETS: u32 = 16384;
/// Octets of the frames whose put is measured; the plot has all, the table those with a target.
const PUT_SIZES: [usize; 4] = [100, 400, 900, 1400];
/// Octets of the frames that are sent: a voice call's.
const SENT: usize = 200;

/// Measures puts and drains.
pub(super) fn measure(options: &Options, namespace: &NetNs, report: &mut Report) -> Result<()> {
    let drains = ["drain_vs_send", "drain_vs_sendmmsg"];
    let puts = options.plots || PUT_SIZES.iter().any(|size| options.wants(&put_name(*size)));
    if !puts && !options.wants_any(&drains) {
        return Ok(());
    }
    let mut rig = Rig::new(namespace, PACKETS, 1)?;
    rig.helpers.set_order(0..1)?;
    let next_hop = rig.next_hop();
    let buffer = rig.subject.hold(0, next_hop)?;
    if puts {
        measure_puts(options, &mut rig, buffer, report)?;
    }
    if options.wants_any(&drains) {
        measure_drains(options, &mut rig, buffer, report)?;
    }
    Ok(())
}

fn put_name(size: usize) -> String {
    format!("put_ns_{size}")
}

/// What it costs to hold a packet, in a slot that is in no cache: the whole pool is filled each time.
fn measure_puts(options: &Options, rig: &mut Rig, buffer: u32, report: &mut Report) -> Result<()> {
    let mut series = Series {
        name: "put".to_owned(),
        ..Series::default()
    };
    for size in PUT_SIZES {
        if !options.plots && !options.wants(&put_name(size)) {
            continue;
        }
        let mut empty = rig.plan(Traffic::ToBound, Contender::Pass, size, 1);
        let mut held = rig.plan(Traffic::ToBound, Contender::Subject, size, 1);
        let mut costs = Vec::new();
        for round in 0..=options.rounds() {
            let without = rig.run(&mut empty, PACKETS)?;
            let with = rig.run(&mut held, PACKETS)?;
            let waiting = rig.subject.waiting(buffer)?;
            ensure!(
                waiting == u64::from(PACKETS),
                "{waiting} of {PACKETS} packets were held"
            );
            rig.subject.discard(buffer)?;
            // The first round warms up, and is not counted.
            if round > 0 {
                costs.push(with - without);
            }
        }
        let figure = Figure::of(put_name(size), "ns", costs);
        series.push(size as f64, &figure);
        report.figures.push(figure);
    }
    report.plots.push(Plot {
        name: "put".to_owned(),
        title: "Cost of holding a packet, less an empty program".to_owned(),
        x: Axis {
            label: "octets of a frame".to_owned(),
            logarithmic: false,
        },
        y: Axis {
            label: "nanoseconds".to_owned(),
            logarithmic: false,
        },
        series: vec![series],
    });
    Ok(())
}

/// Until the last packet of a whole buffer is out.
fn measure_drains(
    options: &Options,
    rig: &mut Rig,
    buffer: u32,
    report: &mut Report,
) -> Result<()> {
    let mut user = UserBuffer::new(rig.helpers.take_ring()?, rig.kernel)?;
    let mut held = rig.plan(Traffic::ToBound, Contender::Subject, SENT, 1);
    let mut ringed = rig.plan(Traffic::ToBound, Contender::ToRing, SENT, 1);
    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..=options.rounds() {
        rig.run(&mut held, PACKETS)?;
        let waiting = rig.subject.waiting(buffer)?;
        ensure!(
            waiting == u64::from(PACKETS),
            "{waiting} of {PACKETS} packets were held"
        );
        let in_kernel = until_out(rig, |rig| rig.subject.release(0))?;
        let mut round_times = [in_kernel, 0.0, 0.0];
        for (time, call) in round_times[1..]
            .iter_mut()
            .zip([Call::Send, Call::SendMany])
        {
            rig.run(&mut ringed, PACKETS)?;
            *time = until_out(rig, |_| user.send_all(call, PACKETS))?;
        }
        if round > 0 {
            for (all, time) in times.iter_mut().zip(round_times) {
                all.push(time);
            }
        }
    }
    let [in_kernel, send, sendmmsg] = &times;
    for (name, theirs) in [("drain_vs_send", send), ("drain_vs_sendmmsg", sendmmsg)] {
        let ratios = theirs
            .iter()
            .zip(in_kernel)
            .map(|(theirs, ours)| theirs / ours);
        report
            .figures
            .push(Figure::of(name, "ratio", ratios.collect()));
    }
    let mut series = Vec::new();
    for (key, title, times) in [
        ("drain", "fmip, in the kernel", in_kernel),
        ("sendmmsg", "user space, sendmmsg", sendmmsg),
        ("send", "user space, send", send),
    ] {
        let rates = times.iter().map(|time| 1e3 / time).collect();
        let figure = Figure::of(format!("rate_{key}"), "Mpps", rates);
        // A line from the first packet out to the last.
        let whole = f64::from(PACKETS) / figure.value / 1e3;
        series.push(Series {
            name: title.to_owned(),
            points: vec![(0.0, 0.0), (whole, PACKETS.into())],
            ..Series::default()
        });
        report.figures.push(figure);
    }
    report.plots.push(Plot {
        name: "drain".to_owned(),
        title: format!("Sending a buffer of {PACKETS} packets of {SENT} octets (medians)"),
        x: Axis {
            label: "milliseconds".to_owned(),
            logarithmic: false,
        },
        y: Axis {
            label: "packets out".to_owned(),
            logarithmic: false,
        },
        series,
    });
    Ok(())
}

/// Lets a whole buffer be sent and waits for the last packet of it; nanoseconds for each packet. In time of the
/// processor, which does all of it, the waiting included.
fn until_out(rig: &mut Rig, send: impl FnOnce(&mut Rig) -> Result<()>) -> Result<f64> {
    let before = rig.helpers.arrived()?;
    let deadline = Instant::now() + SOON;
    let start = processor_time();
    send(rig)?;
    let mut time = processor_time() - start;
    // Most have arrived by now; for the last no time is given away by sleeping.
    loop {
        let arrived = rig.helpers.arrived()? - before;
        if arrived >= PACKETS.into() {
            return Ok(time.as_nanos() as f64 / f64::from(PACKETS));
        }
        ensure!(
            Instant::now() < deadline,
            "{arrived} of {PACKETS} packets arrived"
        );
        time = processor_time() - start;
    }
}
