//! Reading a recording, and driving a machine by it.

use std::io::{self, BufRead};

use serde::Deserialize;
use serde_json::Value;

use super::{Header, Restored, VERSION};
use crate::proto::{Input, Instant, Machine, RouterConfig};

/// What a line but the first says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A sequence number was given back.
    Restore(Restored),
    /// The machine was told this.
    In(Input),
    /// The machine did what was due.
    Timeout(bool),
    /// The machine was given another configuration.
    Reload(Box<RouterConfig>),
    /// The machine wanted this done; to be compared, not to be read.
    Out(Value),
    /// All was polled, and nothing follows.
    End(bool),
}

#[derive(Deserialize)]
struct Line {
    t: Instant,
    #[serde(flatten)]
    step: Step,
}

/// Why a recording cannot be read, or what a machine did otherwise.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It cannot be read.
    #[error("cannot read the recording")]
    Io(#[from] io::Error),
    /// The first line is none of a recording.
    #[error("line 1: this is no recording of fmip-ctl: {0}")]
    Header(String),
    /// It is of another version.
    #[error("line 1: this is a recording of version {0}, and this program reads {VERSION}")]
    Version(u32),
    /// A line is not understood.
    #[error("line {line}: {message}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The machine does something else than what was recorded.
    #[error("line {line}: recorded was\n  {recorded}\nand the machine does\n  {replayed}")]
    Difference {
        /// The line of what was recorded, from 1.
        line: usize,
        /// What was recorded; or that nothing was.
        recorded: String,
        /// What the machine does now; or that it does nothing.
        replayed: String,
    },
}

/// What was replayed without a difference.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Inputs, deadlines and reloads.
    pub inputs: u64,
    /// Outputs, all the same as recorded.
    pub outputs: u64,
    /// Whether the recording was brought to an end, and not cut short.
    pub complete: bool,
}

/// The first line, and the others with their number and time.
///
/// A last line without its newline is one that was cut short, and left out.
///
/// # Errors
/// The first line is not understood. The iterator's items are errors where a line is not.
#[allow(clippy::type_complexity)] // An iterator of results: a name would say no more.
pub fn steps<R: BufRead>(
    mut reader: R,
) -> Result<
    (
        Header,
        impl Iterator<Item = Result<(usize, Instant, Step), RecordingError>>,
    ),
    RecordingError,
> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "fmip-record")]
        version: u32,
    }
    let mut text = String::new();
    reader.read_line(&mut text)?;
    let not_understood = |error: serde_json::Error| RecordingError::Header(error.to_string());
    // Alone at first: what else is in it depends on it.
    let Version { version } = serde_json::from_str(&text).map_err(not_understood)?;
    if version != VERSION {
        return Err(RecordingError::Version(version));
    }
    let header = serde_json::from_str(&text).map_err(not_understood)?;
    let mut number = 1;
    let rest = std::iter::from_fn(move || {
        let mut text = String::new();
        number += 1;
        match reader.read_line(&mut text) {
            Err(error) => Some(Err(error.into())),
            Ok(_) if !text.ends_with('\n') => None,
            Ok(_) => Some(match serde_json::from_str::<Line>(&text) {
                Ok(line) => Ok((number, line.t, line.step)),
                Err(error) => Err(RecordingError::Line {
                    line: number,
                    message: error.to_string(),
                }),
            }),
        }
    });
    Ok((header, rest))
}

/// Drives a machine by a recording and compares what it does.
///
/// # Errors
/// The recording is not understood, or the first difference.
pub fn replay(reader: impl BufRead) -> Result<Replayed, RecordingError> {
    let (header, steps) = steps(reader)?;
    let mut machine = Machine::new(header.config, header.seed);
    let mut replayed = Replayed::default();
    for step in steps {
        let (line, now, step) = step?;
        let failed = matches!(&step, Step::In(Input::CommandFailed { .. }));
        if !failed && !matches!(&step, Step::Out(_)) {
            // Everything was polled before.
            if let Some(output) = poll(&mut machine) {
                return Err(RecordingError::Difference {
                    line,
                    recorded: "nothing more before this line".to_owned(),
                    replayed: output.to_string(),
                });
            }
        }
        match step {
            Step::Restore(Restored { pcoa, sequence }) => machine.restore_sequence(pcoa, sequence),
            Step::In(input) => machine.handle_input(now, input),
            Step::Timeout(_) => machine.handle_timeout(now),
            Step::Reload(config) => machine.reload(now, *config),
            Step::Out(recorded) => {
                let output = poll(&mut machine);
                if output.as_ref() != Some(&recorded) {
                    return Err(RecordingError::Difference {
                        line,
                        recorded: recorded.to_string(),
                        replayed: output.map_or("nothing".to_owned(), |output| output.to_string()),
                    });
                }
                replayed.outputs += 1;
                continue;
            }
            Step::End(_) => {
                replayed.complete = true;
                break;
            }
        }
        replayed.inputs += 1;
    }
    Ok(replayed)
}

/// The next output as it would be recorded.
fn poll(machine: &mut Machine) -> Option<Value> {
    let output = machine.poll_output()?;
    Some(serde_json::to_value(output).expect("outputs have string keys and derived serializers"))
}
