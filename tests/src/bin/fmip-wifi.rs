//! The lab's 802.11: the radio medium between a station and its access points, as one process.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use fmip_tests::emulated::ieee80211::process::{read_configuration, run};

/// Stands for the radio medium of the network namespace it is started in: moves the station's radio
/// between access points as it is told on wpa_supplicant's control interface, and says at both ends
/// what the daemons there would say. Prints each step of a handover as a line of JSON.
#[derive(Parser)]
#[command(name = "fmip-wifi", version)]
struct Cli {
    /// What there is, as JSON.
    configuration: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match read_configuration(&cli.configuration).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
