//! `fmip-ctl status`: what a controller did so far and does now.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use clap::Args;
use fmip_ctl::observe::{Request, Status, client::Client};
use serde_json::Value;

use super::counted;

#[derive(Args)]
pub(super) struct Options {
    /// Prints the controller's answer as it is, one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Asks once and prints the answer.
pub(super) fn status(socket: &Path, options: &Options) -> anyhow::Result<()> {
    let mut client = Client::connect(socket)?;
    let text = if options.json {
        serde_json::to_string(&client.request(&Request::Status)?)? + "\n"
    } else {
        report(&client.status()?)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// The status for people: what is zero is left out.
fn report(status: &Status) -> String {
    let mut text = format!(
        "{}, up {}; packets held {}, released {}\n",
        status.role,
        duration(status.uptime_s),
        status.held,
        status.released
    );
    section(
        &mut text,
        "Handovers",
        status.handovers.iter().map(|handover| {
            let Value::Object(fields) = handover else {
                return vec![plain(handover)];
            };
            fields
                .iter()
                .filter_map(|(name, value)| match (name.as_str(), value.as_f64()) {
                    // A number of the kernel's clock says nothing to people.
                    ("expires_ns", _) => None,
                    _ if value.is_null() => None,
                    ("expires_in_s", Some(left)) => Some(format!("ends in {left:.1} s")),
                    _ => Some(format!("{name} {}", plain(value))),
                })
                .collect()
        }),
    );
    section(
        &mut text,
        "Buffers",
        status.buffers.iter().map(|buffer| {
            vec![
                buffer.address.to_string(),
                format!("held {}", buffer.held),
                format!("released {}", buffer.released),
                format!("dropped {}", buffer.dropped),
                format!("waiting {}", buffer.waiting),
            ]
        }),
    );
    section(
        &mut text,
        "Packets by reason",
        status
            .reasons
            .iter()
            .filter(|(_, count)| count.packets != 0)
            .map(|(name, count)| {
                vec![
                    name.clone(),
                    counted(count.packets, "packet"),
                    counted(count.bytes, "byte"),
                ]
            }),
    );
    section(
        &mut text,
        "Access points",
        status.hostapd.iter().map(|hostapd| {
            let state = match &hostapd.error {
                Some(error) => format!("{}: {error}", hostapd.state),
                None => hostapd.state.clone(),
            };
            let mut row = vec![
                hostapd.hostapd.display().to_string(),
                hostapd.interface.clone(),
                counted(hostapd.stations as u64, "station"),
                state,
            ];
            if hostapd.garbage != 0 {
                row.push(format!("not understood {}", hostapd.garbage));
            }
            row
        }),
    );
    section(
        &mut text,
        "Stations",
        (status.unknown_stations != 0)
            .then(|| {
                vec![
                    "without an address that has a key".to_owned(),
                    status.unknown_stations.to_string(),
                ]
            })
            .into_iter(),
    );
    let mut counters = Vec::new();
    flatten("", &status.signalling, &mut counters);
    section(&mut text, "Signalling", counters.into_iter());
    let data_path = &status.data_path;
    let lost = data_path.events_lost.iter();
    let lost = lost.map(|(name, number)| (format!("events lost: {name}"), *number));
    section(
        &mut text,
        "From the data path",
        [
            ("signals received".to_owned(), data_path.signals_received),
            ("signals cut".to_owned(), data_path.signals_cut),
        ]
        .into_iter()
        .chain(lost)
        .filter(|(_, number)| *number != 0)
        .map(|(name, number)| vec![name, number.to_string()]),
    );
    let damping = status.damping.map(serde_json::to_value);
    let mut damped = Vec::new();
    if let Some(Ok(damping)) = damping {
        flatten("", &damping, &mut damped);
    }
    section(&mut text, "Damped primitives", damped.into_iter());
    let numbered = |numbers: &BTreeMap<String, u64>| {
        let rows = numbers.iter();
        let rows = rows.map(|(name, number)| vec![name.clone(), number.to_string()]);
        rows.collect::<Vec<_>>().into_iter()
    };
    section(&mut text, "Link layer", numbered(&status.link_layer));
    section(
        &mut text,
        "Handovers that were not fast",
        numbered(&status.failed_handovers),
    );
    let control = &status.control;
    section(
        &mut text,
        "Control socket",
        [
            ("bad requests", control.bad_requests),
            ("refused primitives", control.refused_primitives),
            ("slow subscribers", control.slow_subscribers),
            ("refused connections", control.refused_connections),
        ]
        .into_iter()
        .filter(|(_, number)| *number != 0)
        .map(|(name, number)| vec![name.to_owned(), number.to_string()]),
    );
    text
}

/// Appends a titled table with aligned columns, or nothing if it has no rows.
fn section(text: &mut String, title: &str, rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let _ = writeln!(text, "\n{title}");
    for row in rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, " {cell:width$} ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Counters as rows of name and number, nested ones with their names joined; zeros are left out.
fn flatten(prefix: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                flatten(&name, value, rows);
            }
        }
        Value::Null => {}
        Value::Number(number) if number.as_u64() == Some(0) => {}
        value => rows.push(vec![prefix.to_owned(), plain(value)]),
    }
}

/// A JSON value without the quotation marks around text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60) {
        (0, 0, 0) => format!("{seconds:.1} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", whole % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use fmip_ctl::link::damping;
    use fmip_ctl::observe::{BufferStatus, ControlCounts, Count, DataPathCounts, HostapdStatus};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_report_shows_what_is_not_zero() {
        let count = |packets, bytes| Count { packets, bytes };
        let status = Status {
            role: "access-router".to_owned(),
            uptime_s: 3.25,
            reasons: [
                ("forwarded".to_owned(), count(1_200, 240_000)),
                ("held".to_owned(), count(7, 1_400)),
                ("no-binding".to_owned(), count(0, 0)),
                ("pass".to_owned(), count(1, 1)),
            ]
            .into(),
            signalling: json!({"received": {"hi": 1, "fbu": 0}, "malformed": 2}),
            handovers: vec![json!({
                "role": "nar", "ncoa": "2001:db8:2::1", "peer": null,
                "expires_ns": 31_016_000_000_u64, "expires_in_s": 12.345,
            })],
            buffers: vec![BufferStatus {
                address: "2001:db8:2::1".parse().unwrap(),
                held: 7,
                released: 4,
                dropped: 1,
                waiting: 2,
            }],
            held: 7,
            released: 4,
            data_path: DataPathCounts {
                signals_received: 5,
                signals_cut: 0,
                events_lost: [
                    ("pool-full".to_owned(), 0),
                    ("spoofed-packet".to_owned(), 9),
                ]
                .into(),
            },
            hostapd: vec![
                HostapdStatus {
                    hostapd: "/run/hostapd/wlan0".into(),
                    interface: "acc0".to_owned(),
                    state: "connected".to_owned(),
                    stations: 1,
                    ..Default::default()
                },
                HostapdStatus {
                    hostapd: "/run/hostapd/wlan1".into(),
                    interface: "acc0".to_owned(),
                    state: "lost".to_owned(),
                    error: Some("it ended".to_owned()),
                    garbage: 2,
                    ..Default::default()
                },
            ],
            unknown_stations: 4,
            damping: Some(damping::Counters {
                repeated_impends: 4,
                ..Default::default()
            }),
            link_layer: [("supplicant-garbage".to_owned(), 3)].into(),
            failed_handovers: [("no-fback".to_owned(), 1)].into(),
            control: ControlCounts {
                bad_requests: 3,
                refused_primitives: 2,
                ..Default::default()
            },
        };
        assert_eq!(
            report(&status),
            "\
access-router, up 3.2 s; packets held 7, released 4

Handovers
  ends in 12.3 s  ncoa 2001:db8:2::1  role nar

Buffers
  2001:db8:2::1  held 7  released 4  dropped 1  waiting 2

Packets by reason
  forwarded  1200 packets  240000 bytes
  held       7 packets     1400 bytes
  pass       1 packet      1 byte

Access points
  /run/hostapd/wlan0  acc0  1 station   connected
  /run/hostapd/wlan1  acc0  0 stations  lost: it ended  not understood 2

Stations
  without an address that has a key  4

Signalling
  malformed    2
  received.hi  1

From the data path
  signals received             5
  events lost: spoofed-packet  9

Damped primitives
  repeated-impends  4

Link layer
  supplicant-garbage  3

Handovers that were not fast
  no-fback  1

Control socket
  bad requests        3
  refused primitives  2
"
        );
    }

    #[test]
    fn an_idle_controller_has_a_report_of_one_line() {
        let status = Status {
            role: "mobile-node".to_owned(),
            uptime_s: 93_784.0,
            ..Default::default()
        };
        assert_eq!(
            report(&status),
            "mobile-node, up 1 d 2 h; packets held 0, released 0\n"
        );
    }

    #[test]
    fn durations_have_two_units_at_most() {
        assert_eq!(duration(0.04), "0.0 s");
        assert_eq!(duration(75.9), "1 min 15 s");
        assert_eq!(duration(7_265.0), "2 h 1 min");
    }
}
