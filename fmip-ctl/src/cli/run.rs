//! `fmip-ctl run`: the controller itself.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use fmip_ctl::io;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    file: super::ConfigFile,
    /// Records all that the protocol is told and does in a new file, for `fmip-ctl replay`. The
    /// file holds the handover keys in clear text and can be read by its owner only.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// Runs the controller until it is told to end.
///
/// On one thread: the protocol core is one machine, and the packets do not come here.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let file = &options.file.config;
    let config = super::load(file)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the tokio runtime")?
        .block_on(io::run(file, config, options.record.as_deref()))
}
