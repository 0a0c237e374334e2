//! `fmip-ctl trigger`: link-layer triggers by hand, for tests and for drivers without any.

use std::path::Path;

use clap::{Args, Subcommand};
use fmip_ctl::{
    observe::{Trigger, client::Client},
    wire::MacAddr,
};

#[derive(Args)]
pub(super) struct Options {
    #[command(subcommand)]
    trigger: Kind,
}

#[derive(Subcommand)]
enum Kind {
    /// The node is about to move: prepare the handover, then switch.
    Impend(AccessPoint),
    /// The node is attached.
    LinkUp(AccessPoint),
    /// The node is attached to nothing.
    LinkDown,
    /// The node hears an access point: ask the router about it.
    NewLink(AccessPoint),
}

#[derive(Args)]
struct AccessPoint {
    /// The link-layer address (BSSID) of the access point.
    #[arg(value_name = "AP")]
    access_point: MacAddr,
}

/// Hands the trigger over and returns when the controller has taken it.
pub(super) fn trigger(socket: &Path, options: Options) -> anyhow::Result<()> {
    let trigger = match options.trigger {
        Kind::Impend(AccessPoint { access_point }) => Trigger::Impend { access_point },
        Kind::LinkUp(AccessPoint { access_point }) => Trigger::LinkUp { access_point },
        Kind::LinkDown => Trigger::LinkDown,
        Kind::NewLink(AccessPoint { access_point }) => Trigger::NewLink { access_point },
    };
    Ok(Client::connect(socket)?.trigger(trigger)?)
}
