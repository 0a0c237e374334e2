//! The carrier of an interface, for a node that nobody tells more: a wired one, or one whose radio's
//! programs are gone. It says that the link went and came, and not where: the routers there do.
//!
//! What went and came faster than the kernel tells it is seen by the count that the kernel keeps.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinHandle, time::sleep};

use super::{Health, LinkLayer, Order, Teller, Told};
use crate::proto::LinkEvent;

/// The pause before the kernel is asked again: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How it is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Whether packets get through: there is a carrier, and it is not dormant, as the link is until
    /// 802.1X has authorized its port.
    pub(super) up: bool,
    /// How often the carrier went, as far as the kernel counts that.
    pub(super) downs: Option<u32>,
}

impl State {
    /// That of an interface that is gone.
    const GONE: Self = Self {
        up: false,
        downs: None,
    };
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Down,
    Up,
    /// It went and came, and only that is seen now.
    Interrupted,
}

/// It, as it was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carrier(Option<State>);

impl Carrier {
    /// Takes in how it is now. At first nothing has changed, unless it is down: whoever asks
    /// takes the link for up.
    pub(super) fn see(&mut self, now: State) -> Option<Change> {
        let last = self.0.replace(now);
        match (last, now.up) {
            (None | Some(State { up: true, .. }), false) => Some(Change::Down),
            (Some(State { up: false, .. }), true) => Some(Change::Up),
            (Some(last), true) => {
                let went = (last.downs.zip(now.downs)).is_some_and(|(last, now)| last != now);
                went.then_some(Change::Interrupted)
            }
            (None, true) | (Some(State { up: false, .. }), false) => None,
        }
    }

    /// Whether it was there, if it was seen at all.
    pub(super) fn is_up(&self) -> Option<bool> {
        self.0.map(|state| state.up)
    }
}

/// What a message of the kernel's says of the carrier.
fn state(link: &LinkMessage) -> State {
    let running = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    State {
        up: link.header.flags.contains(running),
        downs: (link.attributes.iter()).find_map(|attribute| match attribute {
            LinkAttribute::CarrierDownCount(downs) => Some(*downs),
            _ => None,
        }),
    }
}

/// What the kernel tells of an interface.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    State(State),
    /// More than there was room for: the kernel is to be asked.
    Overrun,
}

fn notice(message: &NetlinkMessage<RouteNetlinkMessage>, interface: u32) -> Option<Notice> {
    match &message.payload {
        NetlinkPayload::Overrun(_) => Some(Notice::Overrun),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
            (link.header.index == interface).then(|| Notice::State(state(link)))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
            (link.header.index == interface).then_some(Notice::State(State::GONE))
        }
        _ => None,
    }
}

/// Watches it.
pub(super) struct Watch {
    interface: u32,
    handle: Handle,
    notices: BoxStream<'static, Notice>,
    /// Whether the kernel is to be asked.
    outdated: bool,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins to watch the interface with this index, in the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub(super) fn open(interface: u32) -> Result<Self, String> {
        let (connection, handle, messages) =
            new_multicast_connection(&[MulticastGroup::Link]).map_err(|error| error.to_string())?;
        let notices = messages
            .filter_map(move |(message, _)| std::future::ready(notice(&message, interface)));
        Ok(Self {
            interface,
            handle,
            notices: notices.boxed(),
            outdated: true,
            task: tokio::spawn(connection),
        })
    }

    /// How it is at first, and after each message of the kernel's. Nothing is lost if this is
    /// cancelled.
    ///
    /// # Errors
    /// The kernel does not tell any more.
    pub(super) async fn next(&mut self) -> Result<State, String> {
        if !self.outdated {
            match self.notices.next().await {
                Some(Notice::State(state)) => return Ok(state),
                Some(Notice::Overrun) => self.outdated = true,
                None => return Err("rtnetlink tells nothing any more".to_owned()),
            }
        }
        let mut links = (self.handle.link().get().match_index(self.interface)).execute();
        let link = links.try_next().await.map_err(|error| error.to_string())?;
        self.outdated = false;
        Ok(link.as_ref().map_or(State::GONE, state))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a link layer that knows nothing but the carrier, on the running tokio runtime.
pub(crate) fn start(interface: u32, name: String) -> LinkLayer {
    LinkLayer::spawn("carrier", move |teller, orders| {
        run(interface, name, teller, orders)
    })
}

async fn run(interface: u32, name: String, teller: Teller, mut orders: UnboundedReceiver<Order>) {
    let mut carrier = Carrier::default();
    let mut pause = FIRST_PAUSE;
    let mut is_lost = false;
    loop {
        let error = match Watch::open(interface) {
            Err(error) => error,
            Ok(mut watch) => loop {
                let state = tokio::select! {
                    state = watch.next() => state,
                    order = orders.recv() => match order {
                        Some(order) => {
                            refuse(&teller, order).await;
                            continue;
                        }
                        // Nobody needs a link layer any more.
                        None => return,
                    },
                };
                let state = match state {
                    Ok(state) => state,
                    Err(error) => break error,
                };
                if std::mem::replace(&mut is_lost, false) {
                    pause = FIRST_PAUSE;
                    teller.tell(Told::Health(Health::Working)).await;
                }
                for event in events(carrier.see(state)) {
                    teller.primitive(*event).await;
                }
            },
        };
        if !std::mem::replace(&mut is_lost, true) {
            let what = format!("the carrier of {name}");
            teller
                .tell(Told::Health(Health::Lost { what, error }))
                .await;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// What a change is to the protocol.
fn events(change: Option<Change>) -> &'static [LinkEvent] {
    match change {
        None => &[],
        Some(Change::Down) => &[LinkEvent::LinkDown],
        Some(Change::Up) => &[LinkEvent::LinkUpSomewhere],
        Some(Change::Interrupted) => &[LinkEvent::LinkDown, LinkEvent::LinkUpSomewhere],
    }
}

async fn refuse(teller: &Teller, order: Order) {
    if let Order::Switch { access_point } = order {
        let error =
            format!("{access_point}: nothing but the carrier is known, and nothing moves it");
        teller
            .tell(Told::SwitchFailed {
                access_point,
                error,
            })
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: State = State {
        up: true,
        downs: Some(1),
    };
    const DOWN: State = State {
        up: false,
        downs: Some(2),
    };

    fn message(index: u32, flags: LinkFlags, downs: Option<u32>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = flags;
        link.attributes
            .extend(downs.map(LinkAttribute::CarrierDownCount));
        link
    }

    #[test]
    fn what_changed_is_told_once() {
        let mut carrier = Carrier::default();
        assert_eq!(carrier.is_up(), None);
        assert_eq!(carrier.see(UP), None);
        // The kernel tells of much else of an interface.
        assert_eq!(carrier.see(UP), None);
        assert_eq!(carrier.see(DOWN), Some(Change::Down));
        assert_eq!(carrier.see(DOWN), None);
        assert_eq!(carrier.is_up(), Some(false));
        let again = State { up: true, ..DOWN };
        assert_eq!(carrier.see(again), Some(Change::Up));
        assert_eq!(carrier.is_up(), Some(true));
        let mut carrier = Carrier::default();
        assert_eq!(carrier.see(DOWN), Some(Change::Down), "at the start");
    }

    #[test]
    fn what_went_and_came_unseen_is_counted() {
        let mut carrier = Carrier::default();
        carrier.see(UP);
        let later = |downs| State { up: true, downs };
        assert_eq!(carrier.see(later(Some(2))), Some(Change::Interrupted));
        assert_eq!(carrier.see(later(Some(2))), None);
        // A kernel, or an interface, that does not count.
        assert_eq!(carrier.see(later(None)), None);
        assert_eq!(carrier.see(later(None)), None);
        assert_eq!(
            events(Some(Change::Interrupted)),
            [LinkEvent::LinkDown, LinkEvent::LinkUpSomewhere]
        );
    }

    #[test]
    fn a_link_is_up_when_it_runs_and_only_ours_counts() {
        let running = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
        let told = |message: RouteNetlinkMessage| notice(&NetlinkMessage::from(message), 7);
        let new =
            |index, flags, downs| told(RouteNetlinkMessage::NewLink(message(index, flags, downs)));
        let up = |up, downs| Some(Notice::State(State { up, downs }));
        assert_eq!(new(7, running, Some(3)), up(true, Some(3)));
        assert_eq!(new(7, running, None), up(true, None));
        // Dormant: the port is not open. And no carrier, or taken down.
        for missing in [LinkFlags::Running, LinkFlags::LowerUp, LinkFlags::Up] {
            let flags = running.difference(missing);
            assert_eq!(new(7, flags, Some(3)), up(false, Some(3)));
        }
        assert_eq!(new(8, running, Some(3)), None);
        let gone = |index| told(RouteNetlinkMessage::DelLink(message(index, running, None)));
        assert_eq!(gone(7), Some(Notice::State(State::GONE)));
        assert_eq!(gone(8), None);
        let mut overrun: NetlinkMessage<RouteNetlinkMessage> =
            NetlinkMessage::from(RouteNetlinkMessage::NewLink(message(8, running, None)));
        overrun.payload = NetlinkPayload::Overrun(Vec::new());
        assert_eq!(notice(&overrun, 7), Some(Notice::Overrun));
    }
}
