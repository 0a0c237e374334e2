//! 802.11 at a mobile node: wpa_supplicant tells what the radio does, and moves it.
//!
//! [`station`] decides, [`supplicant`] speaks with the supplicant, and this file carries words between
//! the two.

pub(crate) mod control;
pub(crate) mod hostapd;
mod policy;
mod scan;
mod station;
mod supplicant;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, io, path::PathBuf, pin::pin, time::Duration};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};
use tracing::info;

use self::{
    control::{Connection, PATIENCE},
    station::{Input, Output, Station},
    supplicant::{Event, Request},
};
use super::{LinkLayer, Order, Teller};
use crate::{config::Ieee80211, proto::Instant};

/// The pause before the supplicant is tried again: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How many questions may wait. The supplicant answers one after the other, and what is asked again
/// and again is asked once.
const MAX_WAITING: usize = 32;

/// Starts it on the running tokio runtime. `answers` is where the socket is made that the supplicant
/// answers to; `clock` says the time of the protocol.
pub(crate) fn start(settings: &Ieee80211, answers: PathBuf, clock: fn() -> Instant) -> LinkLayer {
    let station = Station::new(settings);
    let settings = settings.clone();
    LinkLayer::spawn("802.11", move |teller, orders| {
        let runner = Runner {
            settings,
            answers,
            clock,
            station,
            teller,
            orders,
            waiting: VecDeque::new(),
        };
        runner.run()
    })
}

struct Runner {
    settings: Ieee80211,
    answers: PathBuf,
    clock: fn() -> Instant,
    station: Station,
    teller: Teller,
    orders: UnboundedReceiver<Order>,
    /// What the supplicant is still to be asked.
    waiting: VecDeque<Request>,
}

/// What woke the runner.
enum Woken {
    Order(Option<Order>),
    Datagram(Vec<u8>),
    Timeout,
}

impl Runner {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut was_lost = false;
        loop {
            let path = &self.settings.control_interface;
            let error = match Connection::open(path, self.answers.clone()).await {
                Ok(connection) => {
                    pause = FIRST_PAUSE;
                    was_lost = false;
                    info!(supplicant = %path.display(), "connected");
                    match self.converse(connection).await {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.waiting.clear();
            // It is told once, not at every attempt.
            if !std::mem::replace(&mut was_lost, true) {
                let error = error.to_string();
                self.handle(Input::Lost { error }).await;
            }
            if !self.wait(pause).await {
                return;
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Waits, and goes on with what needs no supplicant. `false`: nobody needs a link layer any more.
    async fn wait(&mut self, pause: Duration) -> bool {
        let mut pause = pin!(sleep(pause));
        loop {
            let due = self.until_due();
            let order = tokio::select! {
                () = &mut pause => return true,
                () = due => None,
                order = self.orders.recv() => match order {
                    Some(order) => Some(order),
                    None => return false,
                },
            };
            match order {
                Some(order) => self.handle(Input::Order(order)).await,
                None => self.handle_timeout().await,
            }
        }
    }

    /// Serves one connection to its end; `Ok`: nobody needs a link layer any more.
    async fn converse(&mut self, mut connection: Connection) -> io::Result<()> {
        let mut asked: Option<Request> = None;
        let mut patience = pin!(sleep(PATIENCE));
        self.handle(Input::Opened).await;
        loop {
            if asked.is_none()
                && let Some(request) = self.waiting.pop_front()
            {
                match timeout(PATIENCE, connection.send(&request.to_string())).await {
                    Ok(sent) => sent?,
                    Err(_) => return Err(io::Error::other("it reads nothing")),
                }
                asked = Some(request);
                patience.set(sleep(PATIENCE));
            }
            let due = self.until_due();
            let woken = tokio::select! {
                // In this order: what the supplicant has told is true before anything else is done.
                biased;
                datagram = connection.receive() => Woken::Datagram(datagram?.to_vec()),
                order = self.orders.recv() => Woken::Order(order),
                () = &mut patience, if asked.is_some() => {
                    return Err(io::Error::other("it does not answer"));
                }
                () = due => Woken::Timeout,
            };
            match woken {
                Woken::Order(None) => return Ok(()),
                Woken::Order(Some(order)) => self.handle(Input::Order(order)).await,
                Woken::Timeout => self.handle_timeout().await,
                Woken::Datagram(datagram) if control::is_event(&datagram) => {
                    match supplicant::event(&datagram) {
                        Ok(event) => {
                            let ends = event == Event::Terminating;
                            self.handle(Input::Event(event)).await;
                            if ends {
                                return Err(io::Error::other("it ended"));
                            }
                        }
                        Err(error) => self.handle_garbage(error.to_string()).await,
                    }
                }
                Woken::Datagram(datagram) => match asked.take() {
                    Some(request) => match supplicant::reply(&request, &datagram) {
                        Ok(reply) => self.handle(Input::Replied { request, reply }).await,
                        Err(error) => self.handle_garbage(error.to_string()).await,
                    },
                    None => {
                        let answer = String::from_utf8_lossy(&datagram[..datagram.len().min(100)]);
                        let error = format!("{answer:?} answers nothing");
                        self.handle_garbage(error).await;
                    }
                },
            }
        }
    }

    /// Sleeps until the station's next deadline; for ever if it has none.
    fn until_due(&self) -> impl Future<Output = ()> + use<> {
        let due = self.station.poll_timeout();
        let left = due.map(|due| due - (self.clock)());
        async move {
            match left {
                Some(left) if left.is_zero() => {}
                Some(left) => sleep(left).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn handle_garbage(&mut self, error: String) {
        self.handle(Input::Garbage { error }).await;
    }

    async fn handle(&mut self, input: Input) {
        self.station.handle_input((self.clock)(), input);
        self.carry_out().await;
    }

    async fn handle_timeout(&mut self) {
        self.station.handle_timeout((self.clock)());
        self.carry_out().await;
    }

    async fn carry_out(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Tell(told) => self.teller.tell(told).await,
                Output::Ask(request) => self.ask(request),
            }
        }
    }

    fn ask(&mut self, request: Request) {
        if self.waiting.contains(&request) {
            return;
        }
        match request {
            // Nothing may make a move wait.
            Request::Roam { .. } => self.waiting.push_front(request),
            _ if self.waiting.len() < MAX_WAITING => self.waiting.push_back(request),
            _ => {}
        }
    }
}
