//! `fmip-ctl run`: the controller itself.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use fmip_ctl::{config::Config, io};

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    file: super::ConfigFile,
    /// Records all that the protocol is told and does in a new file, for `fmip-ctl replay`. The
    /// file holds the handover keys in clear text and can be read by its owner only.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl Options {
    /// The configuration file.
    pub(super) fn file(&self) -> &Path {
        &self.file.config
    }
}

/// Runs the controller until it is told to end.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    start(options, super::load(options.file())?)
}

/// Runs the controller of a configuration that was read already.
///
/// On one thread: the protocol core is one machine, and the packets do not come here.
pub(super) fn start(options: &Options, config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the tokio runtime")?
        .block_on(io::run(options.file(), config, options.record.as_deref()))
}
