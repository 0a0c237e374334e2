//! `fmip-ctl events`: what happens, as it happens.

use std::{
    io::{self, Write},
    path::Path,
};

use fmip_ctl::observe::client::Client;

/// Prints one line of JSON per event until the controller ends.
pub(super) fn events(socket: &Path) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    for event in Client::connect(socket)?.subscribe()? {
        serde_json::to_writer(&mut stdout, &event?)?;
        stdout.write_all(b"\n")?;
        // Whoever waits for an event at the end of a pipe waits for this one.
        stdout.flush()?;
    }
    Ok(())
}
