//! What a base station tells the access router of its link: which stations came and which have left.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use anyhow::{Context as _, Result};
use fmip_ctl::{
    observe::{StationOfLink, Trigger, client::Client},
    wire::MacAddr,
};

use super::configuration::Router;

/// Tells the router in the order of what happens. A router that is slow does not hold up the base station.
#[derive(Debug)]
pub(super) struct RouterLink {
    news: Sender<(MacAddr, bool)>,
}

impl RouterLink {
    /// Begins to tell this router what becomes of the stations of the base station `own`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(own: MacAddr, router: Router) -> Result<Self> {
        let (news, told) = channel();
        thread::Builder::new()
            .name("router-link".to_owned())
            .spawn(move || forward(own, &router, &told))
            .context("cannot start a thread")?;
        Ok(Self { news })
    }

    /// A station is there now, or is not any more.
    pub(super) fn tell(&self, station: MacAddr, is_there: bool) {
        // The other end lives as long as this process.
        let _ = self.news.send((station, is_there));
    }
}

fn forward(own: MacAddr, router: &Router, news: &Receiver<(MacAddr, bool)>) {
    for (link_address, is_there) in news {
        let station = StationOfLink {
            link_address,
            interface: Some(router.interface.clone()),
            access_point: Some(own),
        };
        let trigger = match is_there {
            true => Trigger::StationAttached(station),
            false => Trigger::StationDeparted(station),
        };
        // Each time anew: the controller may have been started again.
        let told =
            Client::connect(&router.control_socket).and_then(|mut client| client.trigger(trigger));
        if let Err(error) = told {
            eprintln!("the router is not told of {link_address}: {error}");
        }
    }
}
