//! `fmip-ctl run`: the controller itself.

use std::path::Path;

use anyhow::Context;
use fmip_ctl::{config::Config, io};

/// Runs the controller until it is told to end; `file` is what `config` was read from.
///
/// On one thread: the protocol core is one machine, and the packets do not come here.
pub(super) fn run(file: &Path, config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the tokio runtime")?
        .block_on(io::run(file, config))
}
