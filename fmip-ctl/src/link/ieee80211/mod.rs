//! 802.11 at a mobile node: wpa_supplicant tells what the radio does, and moves it; the kernel says
//! what becomes of the link.
//!
//! `station` decides, `supplicant` and `nl80211` speak with the two, and this file carries words between
//! them.

pub(crate) mod control;
pub(crate) mod hostapd;
mod nl80211;
mod policy;
mod scan;
pub mod spoken;
mod station;
mod supplicant;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};
use tracing::{info, warn};

use self::{
    nl80211::{Kernel, Query},
    station::{Input, Output, Station},
    supplicant::Client,
};
use super::{LinkLayer, Order, Teller};
use crate::{config::Ieee80211, proto::Instant};

/// Where a link layer of 802.11 is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The index of its interface.
    pub(crate) interface: u32,
    /// Where the socket is made that the supplicant answers to.
    pub(crate) answers: PathBuf,
    /// The time of the protocol.
    pub(crate) clock: fn() -> Instant,
}

/// Starts it on the running tokio runtime.
pub(crate) fn start(settings: &Ieee80211, place: Place) -> LinkLayer {
    let station = Station::new(settings);
    let client = Client::new(settings.control_interface.clone(), place.answers.clone());
    LinkLayer::spawn("802.11", move |teller, orders| {
        let runner = Runner {
            client,
            kernel: None,
            clock: place.clock,
            station,
            teller,
            orders,
        };
        runner.run(place.interface)
    })
}

struct Runner {
    client: Client,
    /// `None`: there is no 802.11 in this kernel.
    kernel: Option<Kernel>,
    clock: fn() -> Instant,
    station: Station,
    teller: Teller,
    orders: UnboundedReceiver<Order>,
}

impl Runner {
    async fn run(mut self, interface: u32) {
        match Kernel::open(interface) {
            Ok(kernel) => {
                info!("the kernel has 802.11, and tells of it");
                self.kernel = Some(kernel);
                self.handle(Input::KernelOpened).await;
            }
            Err(error) => self.lose_kernel(error).await,
        }
        loop {
            let due = self.station.poll_timeout();
            let input = tokio::select! {
                // In this order: what was told is true before anything else is done.
                biased;
                heard = self.client.next() => Some(Input::Supplicant(heard)),
                event = next(&mut self.kernel) => match event {
                    Some(event) => Some(Input::Kernel(event)),
                    None => {
                        self.lose_kernel("nl80211 tells nothing any more".to_owned()).await;
                        continue;
                    }
                },
                order = self.orders.recv() => match order {
                    Some(order) => Some(Input::Order(order)),
                    // Nobody needs a link layer any more.
                    None => return,
                },
                () = until(due, self.clock) => None,
            };
            match input {
                Some(input) => self.handle(input).await,
                None => {
                    self.station.handle_timeout((self.clock)());
                    self.carry_out().await;
                }
            }
        }
    }

    async fn handle(&mut self, input: Input) {
        self.station.handle_input((self.clock)(), input);
        self.carry_out().await;
    }

    async fn carry_out(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Tell(told) => self.teller.tell(told).await,
                Output::Ask(request) => self.client.ask(request),
                Output::Query(query) => self.query(query).await,
            }
        }
    }

    /// Asks the kernel, which answers at once.
    async fn query(&mut self, query: Query) {
        let Some(kernel) = &mut self.kernel else {
            return;
        };
        let answer = kernel.ask(query).await;
        let now = (self.clock)();
        match answer {
            Ok(answer) => self.station.handle_input(now, Input::Answered(answer)),
            Err(error) => {
                // Its events may still come, and are as good as ever.
                warn!("nl80211: {error}");
                self.station.handle_input(now, Input::Unanswered);
            }
        }
    }

    async fn lose_kernel(&mut self, error: String) {
        warn!("the kernel tells nothing of 802.11: {error}; only wpa_supplicant does");
        self.kernel = None;
        self.handle(Input::KernelLost { error }).await;
    }
}

async fn next(kernel: &mut Option<Kernel>) -> Option<nl80211::Event> {
    match kernel {
        Some(kernel) => kernel.next().await,
        None => std::future::pending().await,
    }
}

/// Sleeps until a deadline; for ever if there is none.
async fn until(due: Option<Instant>, clock: fn() -> Instant) {
    match due {
        Some(due) => {
            let left = due - clock();
            if !left.is_zero() {
                sleep(left).await;
            }
        }
        None => std::future::pending().await,
    }
}
