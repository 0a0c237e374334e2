//! The link layers of a mobile node, behind the one interface that its protocol core knows: the
//! four primitives of RFC 5270 section 5.
//!
//! Three of them come up, as [`LinkEvent`]s: NEW_LINK_DETECTED, LINK_HANDOVER_IMPEND and LINK_UP
//! (and that the link went down, which RFC 5270 has no name for). One goes down, as an [`Order`]:
//! LINK_SWITCH. A link layer is a task ([`LinkLayer`]) that tells and is ordered through channels;
//! whatever drives it, the event loop sees nothing else of it.
//!
//! Arrows: `io` starts a link layer and carries its words to the core; a link layer knows `proto`'s
//! primitives and nothing of the protocol behind them.

pub(crate) mod carrier;
pub mod damping;
pub mod ieee80211;
pub mod ieee80216e;
pub mod vocabulary;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    proto::{InterfaceIndex, LinkEvent, Prospect},
    wire::MacAddr,
};

/// What became of a station on an access link of a router, as its access point or base station knows it: by
/// its link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StationChange {
    /// It is on the link now.
    Came {
        /// The link.
        interface: InterfaceIndex,
        /// The station.
        station: MacAddr,
    },
    /// It is not on the link any more.
    Left {
        /// The link.
        interface: InterfaceIndex,
        /// The station.
        station: MacAddr,
    },
}

/// What a link layer has told and the event loop has not heard yet. A link layer that tells faster
/// than that waits, and so does whatever floods it.
const TOLD_QUEUE: usize = 256;

/// What a link layer tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A primitive, for the core.
    Primitive(LinkEvent),
    /// It cannot move to where [`Order::Switch`] says; it is where it was.
    SwitchFailed {
        /// Where to.
        access_point: MacAddr,
        /// Why not, in words.
        error: String,
    },
    /// A step of its own, for people: RFC 4260 section 4 and RFC 5270 section 6 say where the steps
    /// stand among those of the protocol.
    Step(Step),
    /// All access points that it hears now, the strongest first.
    Heard(Vec<Heard>),
    /// Whether what it depends on is there.
    Health(Health),
    /// Nothing: when it is heard, all that was told before is carried out ([`Teller::settled`]).
    Mark,
}

/// A step of the link layer: a message of it, or something that it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name in the standard, such as `MOB_HO-IND` or `scan`.
    pub step: String,
    /// Which way it went.
    pub direction: Direction,
    /// The access point or base station at the other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<MacAddr>,
    /// More of it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Which way a step went, as seen by the mobile node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The mobile node sent it.
    Sent,
    /// The mobile node received it.
    Received,
    /// Nothing crossed the air, or how it did is the driver's affair.
    Local,
}

/// An access point that is heard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heard {
    /// Its link-layer address (the BSSID or BSID).
    pub access_point: MacAddr,
    /// How strong it is, in dBm.
    pub signal_dbm: Option<i32>,
    /// How long ago that was measured, in milliseconds.
    pub age_ms: u64,
    /// Whether the node is attached to it.
    pub attached: bool,
}

/// Whether what a link layer depends on is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Health {
    /// All of it.
    Working,
    /// It is tried again, with a growing pause; until then the node moves without preparation.
    Lost {
        /// What, such as `wpa_supplicant at /run/wpa_supplicant/wlan0`.
        what: String,
        /// Why, in words.
        error: String,
    },
}

/// How often what happened in a link layer, by its name in kebab-case; what never happened is not there.
pub type Counts = BTreeMap<&'static str, u64>;

/// What a link layer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// LINK_SWITCH (RFC 5270 section 5.3): move now.
    Switch {
        /// Where to.
        access_point: MacAddr,
    },
    /// The protocol prepares nothing (any more) for the move that was said to impend: there is
    /// nothing to wait for.
    GoAhead,
    /// What moves lead to, of all access points that the router has spoken of so far.
    Prospects(Arc<BTreeMap<MacAddr, Prospect>>),
}

/// A link layer that runs. Dropping it ends its task.
#[derive(Debug)]
pub struct LinkLayer {
    name: &'static str,
    told: mpsc::Receiver<Told>,
    counts: watch::Receiver<Counts>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl LinkLayer {
    /// Starts a link layer on the running tokio runtime; `name` is for people, such as `802.11`.
    pub fn spawn<Run>(
        name: &'static str,
        run: impl FnOnce(Teller, mpsc::UnboundedReceiver<Order>) -> Run,
    ) -> Self
    where
        Run: Future<Output = ()> + Send + 'static,
    {
        let (teller, told) = mpsc::channel(TOLD_QUEUE);
        let (counter, counts) = watch::channel(Counts::new());
        let (orders, ordered) = mpsc::unbounded_channel();
        let teller = Teller {
            told: teller,
            counts: counter,
        };
        Self {
            name,
            told,
            counts,
            orders,
            task: tokio::spawn(run(teller, ordered)),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The next that it tells; `None` if it ended. Nothing is lost if this is cancelled.
    pub async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// How often what happened in it so far.
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Tells it something. Whether it still runs is seen by [`LinkLayer::next`].
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Ends it, with all that it has open.
    pub async fn end(mut self) {
        self.task.abort();
        // That it was ended is no news.
        let _ = (&mut self.task).await;
    }
}

impl Drop for LinkLayer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The link layer's own end: what it tells with.
#[derive(Clone, Debug)]
pub struct Teller {
    told: mpsc::Sender<Told>,
    counts: watch::Sender<Counts>,
}

impl Teller {
    /// Tells something. If nobody listens any more, the task is about to be ended.
    pub async fn tell(&self, told: Told) {
        let _ = self.told.send(told).await;
    }

    /// Says how often what happened so far. It is not told by and by, but found where it is looked
    /// for: whoever floods the link layer makes nobody else work.
    pub fn count(&self, numbers: impl IntoIterator<Item = (&'static str, u64)>) {
        self.counts.send_if_modified(|counts| {
            let happened = numbers.into_iter().filter(|(_, number)| *number != 0);
            happened.fold(false, |is_news, (name, number)| {
                counts.insert(name, number) != Some(number) || is_news
            })
        });
    }

    /// Tells a primitive.
    pub async fn primitive(&self, event: LinkEvent) {
        self.tell(Told::Primitive(event)).await;
    }

    /// Returns when all that was told so far is carried out, at the latest after `patience`.
    pub async fn settled(&self, patience: Duration) {
        let heard = async {
            self.tell(Told::Mark).await;
            // All places in the queue are free: the mark was taken out, after what was before it.
            let _ = self.told.reserve_many(self.told.max_capacity()).await;
        };
        let _ = tokio::time::timeout(patience, heard).await;
    }

    /// Tells a step.
    pub async fn step(&self, step: &str, direction: Direction, peer: Option<MacAddr>) {
        self.tell(Told::Step(Step {
            step: step.to_owned(),
            direction,
            peer,
            detail: None,
        }))
        .await;
    }
}
