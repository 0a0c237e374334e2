//! A base station of IEEE 802.16e in the lab's air, or somebody who forges its messages.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use fmip_ctl::wire::MacAddr;
use fmip_tests::emulated::ieee80216e::{Configuration, Flood, Forgery, run};

/// A base station of IEEE 802.16e for the lab: it speaks the handover dialogue with the mobile station
/// and with other base stations, and gives the station's radio to its link or takes it away.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until it is ended, and prints every message and act as a line of JSON.
    Run {
        /// What it is told: a file of JSON.
        #[arg(long)]
        config: PathBuf,
    },
    /// Sends what is forged, as many messages as are asked for, and ends.
    Forge {
        /// What is forged.
        forgery: Forgery,
        /// The interface that it is sent from.
        #[arg(long, default_value = "radio")]
        interface: String,
        /// In the name of which base station.
        #[arg(long)]
        as_base_station: MacAddr,
        /// To which station.
        #[arg(long)]
        station: MacAddr,
        /// Where the station is to be made to go.
        #[arg(long)]
        target: MacAddr,
        /// On which connection the station hears orders.
        #[arg(long, default_value_t = 1)]
        cid: u16,
        /// How many messages.
        #[arg(long)]
        messages: u32,
        /// Microseconds between two of them.
        #[arg(long, default_value_t = 500)]
        interval_us: u64,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Run { config } => {
            let text =
                fs::read(&config).with_context(|| format!("cannot read {}", config.display()))?;
            let configuration: Configuration = serde_json::from_slice(&text)
                .with_context(|| format!("{} is no configuration", config.display()))?;
            run(configuration)
        }
        Command::Forge {
            forgery,
            interface,
            as_base_station,
            station,
            target,
            cid,
            messages,
            interval_us,
        } => Flood {
            forgery,
            as_base_station,
            station,
            target,
            cid,
            messages,
            interval: Duration::from_micros(interval_us),
        }
        .send(&interface),
    }
}
