//! `fmip-ctl registered`: what Mobile IPv6 tells a mobile node.

use std::{net::Ipv6Addr, path::Path};

use clap::Args;
use fmip_ctl::observe::client::Client;

#[derive(Args)]
pub(super) struct Options {
    /// The care-of address that the home agent and the correspondents know now.
    #[arg(long, value_name = "ADDR")]
    care_of: Ipv6Addr,
}

/// Returns when the node has taken it; the tunnel ends a little later.
pub(super) fn registered(socket: &Path, options: &Options) -> anyhow::Result<()> {
    Ok(Client::connect(socket)?.registered(options.care_of)?)
}
