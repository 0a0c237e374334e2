//! Recordings: all that a machine was told and answered, in a file from which it can be driven again.
//!
//! One JSON object per line. The first says what the machine was made of, its keys included:
//!
//! ```text
//! {"fmip-record":1,"seed":7,"role":"access-router","config":{...}}
//! ```
//!
//! Every other line has a time `t` in nanoseconds of the kernel's monotonic clock, and one of
//!
//! ```text
//! {"t":1,"restore":{"pcoa":"2001:db8:1::9","sequence":7}}   before the first input
//! {"t":2,"in":{"packet":{...}}}                             an Input
//! {"t":3,"timeout":true}                                    a deadline passed
//! {"t":4,"reload":{...}}                                    another configuration
//! {"t":4,"out":{"transmit":{...}}}                          an Output, when it was polled
//! {"t":5,"end":true}                                        all was polled, and it ended
//! ```
//!
//! All outputs are polled before the next `in`, `timeout` or `reload`, except before an input
//! `command-failed`, which comes when the command has just been polled. A file without an `end` was cut
//! short, perhaps within its last line.

mod replay;
#[cfg(test)]
mod tests;

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    net::Ipv6Addr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

pub use self::replay::{RecordingError, Replayed, Step, replay, steps};
use crate::proto::{Input, Instant, MachineConfig, Output, RouterConfig};

/// The version of the format, in the first line.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    #[serde(rename = "fmip-record")]
    pub version: u32,
    /// What the machine's numbers come from.
    pub seed: u64,
    /// What it must know. Keys are in clear text, for without them no authenticator could be
    /// checked again.
    #[serde(flatten)]
    pub config: MachineConfig,
}

/// A sequence number that was kept over a restart.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Whose.
    pub pcoa: Ipv6Addr,
    /// The number.
    pub sequence: u16,
}

/// A line but the first, as it is written.
#[derive(Serialize)]
struct Line<'a> {
    t: Instant,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum What<'a> {
    Restore(Restored),
    In(&'a Input),
    Timeout(bool),
    Reload(&'a RouterConfig),
    Out(&'a Output),
    End(bool),
}

/// Writes a recording. What goes wrong later than at the beginning is said once, and ends the
/// recording, not the controller.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Recorder {
    /// Begins a recording in a new file that only its owner can read.
    ///
    /// # Errors
    /// The file exists already, or cannot be written.
    pub fn create(path: &Path, seed: u64, config: MachineConfig) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut file = BufWriter::new(file);
        let header = Header {
            version: VERSION,
            seed,
            config,
        };
        write(&mut file, &header)?;
        file.flush()?;
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
        })
    }

    /// A sequence number was given back.
    pub fn restore(&mut self, t: Instant, pcoa: Ipv6Addr, sequence: u16) {
        self.line(t, What::Restore(Restored { pcoa, sequence }));
    }

    /// The machine is told this.
    pub fn input(&mut self, t: Instant, input: &Input) {
        self.line(t, What::In(input));
    }

    /// The machine does what is due.
    pub fn timeout(&mut self, t: Instant) {
        self.line(t, What::Timeout(true));
    }

    /// The machine is given another configuration.
    pub fn reload(&mut self, t: Instant, config: &RouterConfig) {
        self.line(t, What::Reload(config));
    }

    /// The machine wants this done.
    pub fn output(&mut self, t: Instant, output: &Output) {
        self.line(t, What::Out(output));
    }

    /// Hands everything to the kernel: it survives the end of this process.
    pub fn flush(&mut self) {
        let flushed = self.file.as_mut().map_or(Ok(()), BufWriter::flush);
        self.check(flushed);
    }

    /// All was polled, and nothing follows.
    pub fn end(mut self, t: Instant) {
        self.line(t, What::End(true));
        self.flush();
    }

    fn line(&mut self, t: Instant, what: What<'_>) {
        let Some(file) = &mut self.file else {
            return;
        };
        let written = write(file, &Line { t, what });
        self.check(written);
    }

    fn check(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            warn!(path = %self.path.display(), %error, "the recording ends here");
            self.file = None;
        }
    }
}

fn write(file: &mut BufWriter<File>, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}
