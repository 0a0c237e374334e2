//! What a move did to the traffic, for people and for machines.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::stream::Direction;

/// One move: with fast handover, or plain.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// Correspondent node to mobile node.
    pub downlink: Direction,
    /// Mobile node to correspondent node.
    pub uplink: Direction,
    /// Packets that entered the new access router's handover buffer.
    pub held: u64,
    /// Packets that left it for the mobile node.
    pub released: u64,
    /// Microseconds from the Fast Binding Update to its acknowledgement, at the mobile node.
    pub fbu_to_fback_us: Option<u64>,
    /// Microseconds from the mobile node's UNA to the first packet the new access router releases.
    pub una_to_first_us: Option<u64>,
    /// What else a person should know.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// The same move in both ways; one is missing if only the other was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// With fast handover.
    pub fmip: Option<Run>,
    /// Without: the mobile node just gets a new address on the new link.
    pub plain: Option<Run>,
}

impl Run {
    /// Why this was not a lossless handover in order, one reason per line; empty if it was.
    ///
    /// A run in which nothing moved is no proof: packets must have arrived both ways and, where the link
    /// had a gap (`expect_held`), packets must have been held.
    pub fn faults(&self, expect_held: bool) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, direction) in [("downlink", &self.downlink), ("uplink", &self.uplink)] {
            if direction.received == 0 {
                faults.push(format!("{name}: nothing was received"));
            }
            for (count, what) in [
                (direction.lost, "lost"),
                (direction.duplicated, "duplicated"),
                (direction.reordered, "reordered"),
            ] {
                if count > 0 {
                    faults.push(format!("{name}: {count} of {} {what}", direction.sent));
                }
            }
        }
        if expect_held && self.held == 0 {
            faults.push("nothing was held at the new access router".to_owned());
        }
        if self.held != self.released {
            faults.push(format!("{} held but {} released", self.held, self.released));
        }
        faults
    }
}

impl Report {
    /// One line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a report has only names and numbers")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(formatter, self);
        table.row("", |_, name| Some(name.to_owned()))?;
        for (title, pick) in [
            (
                "downlink, CN to MN",
                (|run| &run.downlink) as fn(&Run) -> &Direction,
            ),
            ("uplink, MN to CN", |run| &run.uplink),
        ] {
            table.title(title)?;
            table.row("  sent", |run, _| Some(pick(run).sent.to_string()))?;
            table.row("  received", |run, _| Some(pick(run).received.to_string()))?;
            table.row("  lost", |run, _| Some(pick(run).lost.to_string()))?;
            table.row("  duplicated", |run, _| {
                Some(pick(run).duplicated.to_string())
            })?;
            table.row("  reordered", |run, _| {
                Some(pick(run).reordered.to_string())
            })?;
            table.row("  longest gap", |run, _| {
                Some(milliseconds(pick(run).longest_gap_ms))
            })?;
            table.row("  longest delay", |run, _| {
                Some(milliseconds(pick(run).longest_delay_ms))
            })?;
        }
        table.title("handover")?;
        let microseconds = |time: u64| milliseconds(time as f64 / 1e3);
        table.row("  FBU to FBack", |run, _| {
            run.fbu_to_fback_us.map(microseconds)
        })?;
        table.row("  UNA to first packet", |run, _| {
            run.una_to_first_us.map(microseconds)
        })?;
        // The plain move has no buffer to speak of.
        let with_fmip = |name: &str, count: u64| (name == FMIP).then(|| count.to_string());
        table.row("  packets held", |run, name| with_fmip(name, run.held))?;
        table.row("  packets released", |run, name| {
            with_fmip(name, run.released)
        })?;
        for (name, run) in table.columns() {
            for note in &run.notes {
                writeln!(table.out, "{name}: {note}")?;
            }
        }
        Ok(())
    }
}

const FMIP: &str = "with fmip";
const PLAIN: &str = "plain move";

/// Lines of a label and one value per run.
struct Table<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    report: &'a Report,
}

impl<'a, 'f> Table<'a, 'f> {
    fn new(out: &'a mut fmt::Formatter<'f>, report: &'a Report) -> Self {
        Self { out, report }
    }

    fn columns(&self) -> Vec<(&'static str, &'a Run)> {
        [(FMIP, &self.report.fmip), (PLAIN, &self.report.plain)]
            .into_iter()
            .filter_map(|(name, run)| Some((name, run.as_ref()?)))
            .collect()
    }

    fn title(&mut self, text: &str) -> fmt::Result {
        writeln!(self.out, "{text}")
    }

    fn row(&mut self, label: &str, value: impl Fn(&Run, &str) -> Option<String>) -> fmt::Result {
        let mut line = format!("{label:<24}");
        for (name, run) in self.columns() {
            let value = value(run, name).unwrap_or_else(|| "-".to_owned());
            write!(line, "{value:>14}")?;
        }
        writeln!(self.out, "{}", line.trim_end())
    }
}

fn milliseconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.3} ms")
    } else {
        format!("{value:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Run {
        let direction = Direction {
            sent: 2000,
            received: 2000,
            longest_gap_ms: 231.25,
            ..Direction::default()
        };
        Run {
            downlink: direction,
            uplink: direction,
            held: 220,
            released: 220,
            fbu_to_fback_us: Some(1234),
            una_to_first_us: Some(87),
            notes: Vec::new(),
        }
    }

    fn plain() -> Run {
        let mut run = Run {
            downlink: good().downlink,
            ..Run::default()
        };
        run.downlink.received = 800;
        run.downlink.lost = 1200;
        run.notes = vec!["a remark".to_owned()];
        run
    }

    #[test]
    fn a_good_run_has_no_faults() {
        assert_eq!(good().faults(true), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_fault_is_named() {
        let fault = |change: fn(&mut Run)| {
            let mut run = good();
            change(&mut run);
            run.faults(true).join("; ")
        };
        assert!(fault(|run| run.downlink.lost = 3).contains("downlink: 3 of 2000 lost"));
        assert!(fault(|run| run.uplink.duplicated = 1).contains("uplink: 1 of 2000 duplicated"));
        assert!(fault(|run| run.uplink.reordered = 2).contains("uplink: 2 of 2000 reordered"));
        assert!(fault(|run| run.downlink.received = 0).contains("nothing was received"));
        assert!(fault(|run| run.released = 219).contains("220 held but 219 released"));
        assert!(fault(|run| (run.held, run.released) = (0, 0)).contains("nothing was held"));
    }

    #[test]
    fn without_a_gap_nothing_need_be_held() {
        let mut run = good();
        (run.held, run.released) = (0, 0);
        assert_eq!(run.faults(false), Vec::<String>::new());
    }

    #[test]
    fn json_is_one_object_with_the_agreed_names() {
        let report = Report {
            fmip: Some(good()),
            plain: Some(plain()),
        };
        let text = report.json();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "fmip": {
                    "downlink": {"sent": 2000, "received": 2000, "lost": 0, "duplicated": 0,
                                 "reordered": 0, "longest_gap_ms": 231.25},
                    "uplink": {"sent": 2000, "received": 2000, "lost": 0, "duplicated": 0,
                               "reordered": 0, "longest_gap_ms": 231.25},
                    "held": 220, "released": 220,
                    "fbu_to_fback_us": 1234, "una_to_first_us": 87
                },
                "plain": {
                    "downlink": {"sent": 2000, "received": 800, "lost": 1200, "duplicated": 0,
                                 "reordered": 0, "longest_gap_ms": 231.25},
                    "uplink": {"sent": 0, "received": 0, "lost": 0, "duplicated": 0,
                               "reordered": 0, "longest_gap_ms": 0.0},
                    "held": 0, "released": 0,
                    "fbu_to_fback_us": null, "una_to_first_us": null
                }
            })
        );
    }

    #[test]
    fn the_table_has_both_runs_side_by_side() {
        let text = Report {
            fmip: Some(good()),
            plain: Some(plain()),
        }
        .to_string();
        let line = |label: &str| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(label))
                .unwrap();
            line.trim_start()[label.len()..]
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("lost"), "0 1200", "{text}");
        assert_eq!(line("longest gap"), "231.2 ms 231.2 ms");
        assert_eq!(line("FBU to FBack"), "1.234 ms -");
        assert_eq!(line("packets held"), "220 -");
        assert!(text.contains("plain move: a remark"), "{text}");
    }

    #[test]
    fn a_run_that_was_not_asked_for_has_no_column() {
        let text = Report {
            fmip: None,
            plain: Some(plain()),
        }
        .to_string();
        assert!(!text.contains(FMIP), "{text}");
    }
}
