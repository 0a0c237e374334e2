//! What a base station tells the access router of its link: which stations came and which have left.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use anyhow::{Context as _, Result};
use fmip_ctl::{
    observe::{Trigger, client::Client},
    wire::MacAddr,
};

use super::configuration::Router;

/// Tells the router in the order of what happens. A router that is slow does not hold up the base station.
#[derive(Debug)]
pub(super) struct RouterLink {
    news: Sender<(MacAddr, bool)>,
}

impl RouterLink {
    /// Begins to tell this router.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(router: Router) -> Result<Self> {
        let (news, told) = channel();
        thread::Builder::new()
            .name("router-link".to_owned())
            .spawn(move || forward(&router, &told))
            .context("cannot start a thread")?;
        Ok(Self { news })
    }

    /// A station is there now, or is not any more.
    pub(super) fn tell(&self, station: MacAddr, is_there: bool) {
        // The other end lives as long as this process.
        let _ = self.news.send((station, is_there));
    }
}

fn forward(router: &Router, news: &Receiver<(MacAddr, bool)>) {
    for (link_address, is_there) in news {
        let interface = Some(router.interface.clone());
        let trigger = match is_there {
            true => Trigger::StationAttached {
                link_address,
                interface,
            },
            false => Trigger::StationDeparted {
                link_address,
                interface,
            },
        };
        // Each time anew: the controller may have been started again.
        let told =
            Client::connect(&router.control_socket).and_then(|mut client| client.trigger(trigger));
        if let Err(error) = told {
            eprintln!("the router is not told of {link_address}: {error}");
        }
    }
}
