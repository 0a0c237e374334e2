//! That a log statement which nobody sees is not there at all: the level is a constant to the verifier,
//! which leaves out what can never run.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use aya::{EbpfLoader, programs::Xdp};
use fmip_ctl::io::load::{ROUTER, object};

/// `aya_log::LEVEL` and two of `aya_log::Level`.
const LEVEL: &str = "AYA_LOG_LEVEL";
const WARN: u8 = 2;
const DEBUG: u8 = 4;

/// Octets of the router's program as the kernel runs it, before they are made machine code.
fn size_with(level: u8) -> Result<u32> {
    let mut ebpf = EbpfLoader::new()
        .override_global(LEVEL, &level, true)
        .load(object())?;
    let program: &mut Xdp = ebpf.program_mut(ROUTER).context("no router")?.try_into()?;
    program.load()?;
    program.info()?.size_translated().context("no size")
}

#[test]
fn a_log_statement_below_the_level_is_left_out_of_the_program() {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {}: BPF programs need root",
            std::thread::current().name().unwrap_or("a test")
        );
        return;
    }
    let size = |level| size_with(level).unwrap_or_else(|error| panic!("{error:#}"));
    let silent = size(0);
    // The controller's own level, unless it is to log what is for debugging.
    assert_eq!(size(WARN), silent);
    // And there is something to leave out.
    assert!(size(DEBUG) > silent + 100);
}
