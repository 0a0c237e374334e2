//! The link layer's steps, as those tell them who take them: the mobile node on its control socket, the
//! access points and base stations on their standard output, one JSON object per line.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Place;

/// A step of the link layer, as one of its ends tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Step {
    /// When: nanoseconds on the kernel's monotonic clock.
    pub time_ns: u64,
    /// Its name in the standard, such as `MOB_HO-IND` or `scan`.
    pub step: String,
    /// Which way it went, as seen by who tells it.
    pub direction: Direction,
    /// The link-layer address of the other end; a message without one is for everybody.
    #[serde(default)]
    pub peer: Option<String>,
    /// More of it, for people.
    #[serde(default)]
    pub detail: Option<String>,
}

/// Which way a step went.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Who tells it sent it.
    Sent,
    /// Who tells it received it.
    Received,
    /// It crossed nothing.
    Local,
}

/// A process that prints the steps it takes.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// Where it is.
    pub place: Place,
    /// The file with what it prints.
    pub log: PathBuf,
}

impl Reporter {
    /// What it has told so far. Lines that are no JSON objects are for people, and so are objects without
    /// a `step`.
    ///
    /// # Errors
    /// If its log cannot be read, or a step has not the form that it should have.
    pub fn steps(&self) -> Result<Vec<Step>> {
        let text = fs::read_to_string(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        // The last line may not be written to its end.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().filter(|line| line.starts_with('{'));
        lines
            .filter_map(|line| parse(line).transpose())
            .collect::<Result<_>>()
            .with_context(|| format!("in {}", self.log.display()))
    }
}

fn parse(line: &str) -> Result<Option<Step>> {
    let value: serde_json::Value =
        serde_json::from_str(line).with_context(|| format!("{line:?} is no JSON"))?;
    if value.get("step").is_none() {
        return Ok(None);
    }
    let step = serde_json::from_value(value).with_context(|| format!("{line:?} is no step"))?;
    Ok(Some(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_and_other_lines_are_passed_over() {
        let line = r#"{"time_ns":5,"step":"MOB_HO-IND","direction":"received","peer":"02:00:00:00:00:01"}"#;
        let step = parse(line).unwrap().unwrap();
        assert_eq!((step.time_ns, step.direction), (5, Direction::Received));
        assert_eq!(step.step, "MOB_HO-IND");
        assert_eq!(parse(r#"{"event":"ready"}"#).unwrap(), None);
        assert!(parse(r#"{"step":"x"}"#).is_err());
        assert!(parse("{").is_err());
    }
}
