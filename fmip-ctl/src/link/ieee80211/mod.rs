//! 802.11 at a mobile node: wpa_supplicant tells what the radio does, and moves it; the kernel says
//! what becomes of the link.
//!
//! `station` decides, with what `scan` knows of access points and `policy` makes of signals;
//! `supplicant` and `nl80211` speak with the two, and this file carries words between them.
//!
//! At a router it is `hostapd` that says who comes and leaves, on the same kind of socket
//! (`control`); [`spoken`] has the words of both without a socket.

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

use std::{future::Future, path::PathBuf};

use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};
use tracing::{info, warn};

use self::{
    nl80211::{Kernel, Query},
    station::{Input, Output, Station},
    supplicant::{Client, Heard},
};
use super::{
    LinkLayer, Order, Teller,
    carrier::{self, Watch},
};
use crate::{config::Ieee80211, proto::Instant};

/// Where a link layer of 802.11 is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The index of its interface.
    pub(crate) interface: u32,
    /// Beside which the sockets are made that the supplicant answers to.
    pub(crate) beside: PathBuf,
    /// The time of the protocol.
    pub(crate) clock: fn() -> Instant,
}

/// Starts it on the running tokio runtime.
pub(crate) fn start(settings: &Ieee80211, place: Place) -> LinkLayer {
    let station = Station::new(settings);
    let client = Client::new(settings.control_interface.clone(), place.beside.clone());
    LinkLayer::spawn("802.11", move |teller, orders| {
        let runner = Runner {
            interface: place.interface,
            client,
            kernel: None,
            carrier: None,
            clock: place.clock,
            station,
            teller,
            orders,
        };
        runner.run()
    })
}

struct Runner {
    /// The index of its interface.
    interface: u32,
    client: Client,
    /// `None`: it tells nothing of 802.11.
    kernel: Option<Kernel>,
    /// What is left to go by without the supplicant and 802.11 in the kernel.
    carrier: Option<Watch>,
    clock: fn() -> Instant,
    station: Station,
    teller: Teller,
    orders: UnboundedReceiver<Order>,
}

impl Runner {
    async fn run(mut self) {
        self.open_kernel();
        self.carry_out().await;
        match Watch::open(self.interface) {
            Ok(watch) => self.carrier = Some(watch),
            Err(error) => self.lose_carrier(&error),
        }
        let mut turns = Turns::default();
        loop {
            let due = self.station.poll_timeout();
            let next = tokio::select! {
                // The kernel does not tell of it so often that nothing else had its turn.
                biased;
                state = watched(&mut self.carrier) => Next::Carrier(state),
                next = turns.next(
                    self.client.next(),
                    next(&mut self.kernel),
                    self.orders.recv(),
                    until(due, self.clock),
                ) => next,
            };
            match next {
                Next::Carrier(Ok(state)) => self.handle(Input::Carrier(state)).await,
                Next::Carrier(Err(error)) => self.lose_carrier(&error),
                Next::Heard(heard) => self.handle(Input::Supplicant(heard)).await,
                Next::Kernel(Some(event)) => self.handle(Input::Kernel(event)).await,
                Next::Kernel(None) => {
                    self.kernel = None;
                    let error = "nl80211 tells nothing any more".to_owned();
                    self.handle(Input::KernelLost { error }).await;
                }
                Next::Order(Some(order)) => self.handle(Input::Order(order)).await,
                // Nobody needs a link layer any more.
                Next::Order(None) => return,
                Next::Due => {
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
                Output::OpenKernel => self.open_kernel(),
            }
        }
        self.teller.count(self.station.counters());
    }

    /// Listens to the kernel, if it tells of 802.11.
    fn open_kernel(&mut self) {
        let input = match Kernel::open(self.interface) {
            Ok(kernel) => {
                info!("the kernel has 802.11, and tells of it");
                self.kernel = Some(kernel);
                Input::KernelOpened
            }
            Err(error) => Input::KernelLost { error },
        };
        self.station.handle_input((self.clock)(), input);
    }

    /// Asks the kernel, which answers at once.
    async fn query(&mut self, query: Query) {
        let Some(kernel) = &mut self.kernel else {
            return;
        };
        let answer = match kernel.ask(query).await {
            Ok(answer) => Input::Answered(answer),
            Err(error) => Input::Unanswered { error },
        };
        self.station.handle_input((self.clock)(), answer);
    }

    fn lose_carrier(&mut self, error: &str) {
        warn!("the kernel tells nothing of the carrier: {error}");
        self.carrier = None;
    }
}

/// What happens next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Heard(Heard),
    /// `None`: the kernel tells nothing any more.
    Kernel(Option<nl80211::Event>),
    /// Or it is not told any more.
    Carrier(Result<carrier::State, String>),
    /// `None`: there will be no orders any more.
    Order(Option<Order>),
    /// It is time.
    Due,
}

/// How much that was told comes in a row, before orders and the time have their turn.
const MAX_IN_A_ROW: u32 = 64;

/// Whose turn it is. What was told comes first: it is true before anything else is done. But a
/// supplicant that never stops talking must not keep the node where it is.
#[derive(Debug, Default)]
struct Turns {
    /// How much was told in a row.
    told: u32,
}

impl Turns {
    /// The first of them that is there. Nothing is lost of the others if that is so of each.
    async fn next(
        &mut self,
        heard: impl Future<Output = Heard>,
        event: impl Future<Output = Option<nl80211::Event>>,
        order: impl Future<Output = Option<Order>>,
        due: impl Future<Output = ()>,
    ) -> Next {
        if self.told >= MAX_IN_A_ROW {
            self.told = 0;
            return tokio::select! {
                biased;
                order = order => Next::Order(order),
                () = due => Next::Due,
                event = event => Next::Kernel(event),
                heard = heard => Next::Heard(heard),
            };
        }
        let next = tokio::select! {
            biased;
            heard = heard => Next::Heard(heard),
            event = event => Next::Kernel(event),
            order = order => Next::Order(order),
            () = due => Next::Due,
        };
        self.told = match next {
            Next::Heard(_) | Next::Kernel(_) => self.told + 1,
            Next::Carrier(_) | Next::Order(_) | Next::Due => 0,
        };
        next
    }
}

async fn next(kernel: &mut Option<Kernel>) -> Option<nl80211::Event> {
    match kernel {
        Some(kernel) => kernel.next().await,
        None => std::future::pending().await,
    }
}

async fn watched(carrier: &mut Option<Watch>) -> Result<carrier::State, String> {
    match carrier {
        Some(watch) => watch.next().await,
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
