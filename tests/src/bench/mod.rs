//! The bench: the data path measured on this machine, beside what a user would take instead.
//!
//! What counts are ratios of two ways that are measured in turn, in one run: a machine that is slow
//! today is slow for both. Times are those of the processor that does the work, so that what else
//! the machine does disturbs the caches, but is not counted.
//!
//! Reading order: [`targets`] says what is to be reached; `rig` builds the router and makes packets;
//! `rates`, `lookups` and `buffering` measure it, `user_space` being what `buffering` compares it with;
//! [`journey`] and [`timeline`] look at a whole handover from outside; [`plot`] draws. `object` loads the
//! helper programs (`fmip-ebpf/src/bench.rs`), `subject` the data path.

mod buffering;
pub mod figure;
pub mod journey;
mod lookups;
mod object;
pub mod plot;
mod rates;
mod report;
mod rig;
mod subject;
mod tap;
pub mod targets;
pub mod timeline;
mod user_space;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use figure::{Axis, Figure, Plot, Series};
pub use report::{Report, Skipped};

use crate::{NetNs, netns};

/// What is to be measured, and how long.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only figures whose key begins with one of these; empty: all.
    pub only: Vec<String>,
    /// Few and short measurements: to see that everything runs.
    pub quick: bool,
    /// The plots, too, which take as long again.
    pub plots: bool,
    /// The controller, for what goes through it.
    pub fmip_ctl: PathBuf,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only))
    }

    fn wants_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.wants(name))
    }

    /// How often each measurement is made.
    fn rounds(&self) -> usize {
        if self.quick { 3 } else { 15 }
    }
}

/// Measures. What cannot be measured here is in the report with its reason.
///
/// # Errors
/// If there is no rig to measure on, or the user asks for the end.
pub fn run(options: &Options) -> Result<Report> {
    remove_leftovers()?;
    let mut report = Report::default();
    let chapters: [(&str, Chapter); 3] = [
        ("packet rates", rates::measure),
        ("lookups", lookups::measure),
        ("buffering", buffering::measure),
    ];
    for (number, (name, chapter)) in chapters.into_iter().enumerate() {
        eprintln!("bench: {name}");
        let name = format!("{NAMESPACES}{}-{number}", std::process::id());
        let namespace = NetNs::create(&name)?;
        namespace.run(|| {
            rig::settle_on_one_processor()?;
            chapter(options, &namespace, &mut report)
        })?;
    }
    let journeys = [
        "una_to_first_us_p50",
        "una_to_first_us_p99",
        "handover_timeline",
    ];
    if options.wants_any(&journeys[..2]) {
        eprintln!("bench: handovers through the controller");
        let (rounds, handovers) = if options.quick { (2, 20) } else { (5, 100) };
        match journey::una_to_first(&options.fmip_ctl, rounds, handovers) {
            Ok(figures) => report.figures.extend(figures),
            Err(error) => report.skip(&journeys[..2], &error),
        }
    }
    if options.plots && options.wants(journeys[2]) {
        eprintln!("bench: a stream over a handover");
        match timeline::play(&options.fmip_ctl) {
            Ok(plot) => report.plots.push(plot),
            Err(error) => report.skip(&journeys[2..], &error),
        }
    }
    Ok(report)
}

/// What the names of this bench's namespaces begin with; the process that made them follows.
const NAMESPACES: &str = "fmip-bench-";

/// Removes the namespaces of a bench that was killed.
fn remove_leftovers() -> Result<()> {
    for name in netns::list()? {
        let Some(rest) = name.strip_prefix(NAMESPACES) else {
            continue;
        };
        let process = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            netns::remove(&name);
        }
    }
    Ok(())
}

type Chapter = fn(&Options, &NetNs, &mut Report) -> Result<()>;
