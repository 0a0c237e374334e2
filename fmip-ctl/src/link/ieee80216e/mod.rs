//! IEEE 802.16e at the mobile node: the handover dialogue of RFC 5270, message by message.
//!
//! [`message`] is the messages as octets, [`auth`] who may send them, [`air`] what carries them,
//! [`station`] the mobile station's part of the dialogue, and [`timing`] its timers. This file
//! carries words between the station and the air.
//!
//! # The other end
//! What a base station is expected to do, for those who write one:
//! - It sends DL-MAP to all, more often than a station's lost DL-MAP interval and a scan's duration,
//!   and MOB_NBR-ADV to all on the broadcast connection.
//! - RNG-REQ comes on the initial ranging connection; its RNG-RSP goes back on it, to the station
//!   that it names, with both CIDs. That of a handover is authenticated both ways, under the
//!   station's key at this base station. If the RNG-REQ's CMAC is wrong or was heard before, nothing
//!   may be skipped; then it is a whole entry.
//! - SBC, the MOB messages but MOB_SCN-REP: on the basic connection. PKM, REG, DSA and MOB_SCN-REP:
//!   on the primary one.
//! - SA-TEK-Challenge comes of itself, after SBC. It and SA-TEK-Response are authenticated;
//!   SA-TEK-Request is new by the base station's random number in it, whatever its packet number.
//! - DSA-REQ comes of itself, after REG, as often as REG-RSP says (TLV 36; once, if it says nothing);
//!   DSA-RSP is answered with DSA-ACK. With the last one the link is up.
//! - MOB_HO-IND ends all: what comes for the station after it is not sent any more.

pub mod air;
pub mod auth;
pub mod message;
pub mod station;
pub mod timing;

use std::{io, time::Duration};

use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};
use tracing::{debug, info};

use self::{
    air::{Air, Tuned},
    auth::KEY_SEQUENCE,
    station::{Output, Settings, Station},
};
use super::{Health, LinkLayer, Order, Teller, Told};
use crate::{config::Ieee80216e, proto::Instant, wire::MacAddr};

/// The pause before the air is opened again: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How long the station waits for the core to hold what the node sends: the signal does not wait.
const SETTLED: Duration = Duration::from_millis(100);

/// The interface that the station is at.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its name.
    pub(crate) name: String,
    /// Its address, which is the station's.
    pub(crate) address: MacAddr,
}

/// Starts it on the running tokio runtime; `clock` says the time of the protocol.
///
/// # Errors
/// The system has no random numbers.
pub(crate) fn start(
    settings: &Ieee80216e,
    place: Place,
    clock: fn() -> Instant,
) -> io::Result<LinkLayer> {
    let mut seed = [0; 32];
    rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::empty())?;
    let station = Station::new(Settings {
        station: place.address,
        first: settings.base_station,
        pmk: settings.pmk.clone(),
        mac_mode: settings.mac_mode,
        key_sequence: KEY_SEQUENCE,
        choose_target: settings.choose_target,
        threshold_dbm: settings.signal_threshold_dbm,
        hysteresis_db: i32::try_from(settings.signal_hysteresis_db).unwrap_or(i32::MAX),
        confirmations: settings.indications,
        link_switch_wait: settings.link_switch_wait,
        scan_interval: settings.scan_min_interval,
        scan_duration: settings.scan_duration,
        scan_interleaving: settings.scan_interleaving,
        scan_iterations: settings.scan_iterations,
        lost_dl_map: settings.lost_dl_map,
        seed,
    });
    Ok(LinkLayer::spawn("802.16e", move |teller, orders| {
        let runner = Runner {
            place,
            clock,
            station,
            tuned: Tuned::All,
            malformed: 0,
            health: None,
            teller,
            orders,
        };
        runner.run()
    }))
}

struct Runner {
    place: Place,
    clock: fn() -> Instant,
    station: Station,
    /// What the receiver is tuned to, also while it cannot be.
    tuned: Tuned,
    /// How many frames could not be read, before the air was opened anew.
    malformed: u64,
    /// Whether the air works, as it was told last.
    health: Option<bool>,
    teller: Teller,
    orders: UnboundedReceiver<Order>,
}

impl Runner {
    /// Runs until nobody needs a link layer any more.
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            // By its name: an interface that was made anew has another index.
            let error = match Air::open(&self.place.name, self.place.address) {
                Ok(air) => {
                    air.tune(self.tuned.clone());
                    let ended = self.converse(&air, &mut pause).await;
                    self.malformed += air.malformed();
                    match ended {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.lost(&error).await;
            if !self.wait(pause).await {
                return;
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Carries frames until the air is gone (an error) or nobody needs it.
    async fn converse(&mut self, air: &Air, pause: &mut Duration) -> io::Result<()> {
        self.working().await;
        loop {
            self.perform(Some(air)).await;
            let due = self.until_due();
            tokio::select! {
                frame = air.receive() => {
                    let frame = frame?;
                    *pause = FIRST_PAUSE;
                    let now = (self.clock)();
                    let signal = frame.signal_dbm;
                    self.station.handle_frame(now, frame.source, signal, &frame.pdu);
                }
                order = self.orders.recv() => {
                    let Some(order) = order else {
                        return Ok(());
                    };
                    self.station.handle_order((self.clock)(), order);
                }
                () = due => {}
            }
            self.handle_timeout();
        }
    }

    /// Waits, and goes on with what needs no air. `false`: nobody needs a link layer any more.
    async fn wait(&mut self, pause: Duration) -> bool {
        let mut pause = std::pin::pin!(sleep(pause));
        loop {
            self.perform(None).await;
            let due = self.until_due();
            tokio::select! {
                () = &mut pause => return true,
                order = self.orders.recv() => {
                    let Some(order) = order else {
                        return false;
                    };
                    self.station.handle_order((self.clock)(), order);
                }
                () = due => {}
            }
            self.handle_timeout();
        }
    }

    fn handle_timeout(&mut self) {
        let now = (self.clock)();
        if self.station.poll_timeout().is_some_and(|due| due <= now) {
            self.station.handle_timeout(now);
        }
    }

    fn until_due(&self) -> impl Future<Output = ()> + use<> {
        let due = self.station.poll_timeout();
        let now = (self.clock)();
        async move {
            match due {
                Some(due) => sleep(due - now).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Does what the station wants.
    async fn perform(&mut self, air: Option<&Air>) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Send { destination, pdu } => {
                    let Some(air) = air else {
                        continue;
                    };
                    // As if it was lost on the air: what needs an answer is sent again.
                    if let Err(error) = air.send(destination, None, pdu).await {
                        debug!(%destination, %error, "a frame was not sent");
                    }
                }
                Output::Tune(tuned) => {
                    if let Some(air) = air {
                        air.tune(tuned.clone());
                    }
                    self.tuned = tuned;
                }
                Output::Primitive(event) => self.teller.primitive(event).await,
                Output::Settle => self.teller.settled(SETTLED).await,
                Output::SwitchFailed {
                    access_point,
                    error,
                } => {
                    self.teller
                        .tell(Told::SwitchFailed {
                            access_point,
                            error,
                        })
                        .await;
                }
                Output::Step(step) => self.teller.tell(Told::Step(step)).await,
                Output::Heard(heard) => self.teller.tell(Told::Heard(heard)).await,
            }
        }
        self.count(air);
    }

    /// Says what was not understood, refused or in vain so far.
    fn count(&self, air: Option<&Air>) {
        let malformed = self.malformed + air.map_or(0, Air::malformed);
        let numbers = self.station.counters().iter();
        let numbers = numbers.map(|(name, number)| (*name, *number));
        self.teller
            .count(numbers.chain([("malformed-frames", malformed)]));
    }

    async fn working(&mut self) {
        if self.health.replace(true) != Some(true) {
            info!(interface = %self.place.name, "the station listens");
            self.teller.tell(Told::Health(Health::Working)).await;
        }
    }

    async fn lost(&mut self, error: &io::Error) {
        if self.health.replace(false) != Some(false) {
            self.teller
                .tell(Told::Health(Health::Lost {
                    what: format!("the air of 802.16e at {}", self.place.name),
                    error: error.to_string(),
                }))
                .await;
        }
    }
}
