//! Questions to the kernel, and the one thing that it is asked to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv6Addr,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol},
};
use rtnetlink::{
    Handle, IpVersion,
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    },
};
use rustix::io::Errno;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    MARK,
    messages::{
        Entry, Hop, Interface, Keeper, Prefix, Route, SourceRoute, entry, interface, left_behind,
        route, selective, source_route,
    },
};
use crate::proto::InterfaceIndex;

/// The kernel answers within the system call. What is not there after this time could not be
/// decoded, and never comes.
const ANSWER: Duration = Duration::from_secs(2);

/// Lists may be long.
const LIST: Duration = Duration::from_secs(20);

/// Answers of the kernel, on a socket of its own: that of the multicast groups may overrun, and
/// would take an answer with it.
#[derive(Debug)]
pub(super) struct Kernel {
    handle: Handle,
    connection: JoinHandle<()>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("the kernel refuses: {0}")]
    Refused(io::Error),
    #[error("{0}")]
    Broken(String),
}

impl Unanswered {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(error) => error.raw_os_error().map(Errno::from_raw_os_error),
            Self::Broken(_) => None,
        }
    }

    /// Whether it may well be answered a moment later.
    fn passing(&self) -> bool {
        self.errno().is_none_or(|errno| {
            matches!(
                errno,
                Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN | Errno::INTR | Errno::BUSY
            )
        })
    }
}

impl Kernel {
    /// Opens a socket in the network namespace of this thread.
    pub(super) fn connect() -> Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a netlink socket")?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
        })
    }

    /// Where this router's own packets to a destination go; `None` if nowhere that a way can say.
    pub(super) async fn route(
        &mut self,
        destination: Ipv6Addr,
    ) -> Result<Option<Route>, Unanswered> {
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet6;
        question.header.destination_prefix_length = 128;
        // The route as it is in the table. The answer to the plain question is what it means for
        // one packet, and does not tell whether there are other hops beside.
        question.header.flags = RouteFlags::FibMatch;
        question
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::Inet6(
                destination,
            )));
        let message = RouteNetlinkMessage::GetRoute(question);
        match self.ask(message, NLM_F_REQUEST).await {
            Ok(Some(RouteNetlinkMessage::NewRoute(answer))) => Ok(route(&answer, destination)),
            Ok(_) => Ok(None),
            Err(error) if error.passing() => Err(error),
            // None, or one that drops: unreachable, prohibit, blackhole.
            Err(_) => Ok(None),
        }
    }

    /// The entry of a neighbor, if there is one.
    pub(super) async fn neighbor(&mut self, hop: Hop) -> Result<Option<Entry>, Unanswered> {
        let message = RouteNetlinkMessage::GetNeighbour(neighbor_message(hop));
        match self.ask(message, NLM_F_REQUEST).await {
            Ok(Some(RouteNetlinkMessage::NewNeighbour(answer))) => Ok(Some(entry(&answer))),
            Ok(_) => Ok(None),
            Err(error) if error.passing() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Has the kernel look for a neighbor that has no permanent entry; if `managed`, for as long as
    /// it is not told otherwise.
    ///
    /// A kernel before 5.16 does not know the latter and takes it for the former in silence.
    pub(super) async fn look_for(
        &mut self,
        hop: Hop,
        managed: bool,
        mark: bool,
    ) -> Result<(), Unanswered> {
        let mut message = used(hop);
        if managed {
            message
                .attributes
                .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
            if mark {
                message
                    .attributes
                    .push(NeighbourAttribute::Protocol(RouteProtocol::Other(MARK)));
            }
        }
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.ask(RouteNetlinkMessage::NewNeighbour(message), flags)
            .await
            .map(drop)
    }

    /// Undoes [`Kernel::look_for`]: the entry is one like any other again, and ages.
    ///
    /// Not if somebody made it permanent meanwhile; the kernel no longer manages it then.
    pub(super) async fn leave_alone(&mut self, hop: Hop) -> Result<(), Unanswered> {
        let Some(entry) = self.neighbor(hop).await? else {
            return Ok(());
        };
        if entry.keeper != Keeper::Kernel {
            return Ok(());
        }
        // Any change without the flag takes it away, and this one changes nothing else.
        let mut message = used(hop);
        if entry.marked {
            // It cannot be taken off, but overwritten.
            message
                .attributes
                .push(NeighbourAttribute::Protocol(RouteProtocol::Kernel));
        }
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE;
        match self
            .ask(RouteNetlinkMessage::NewNeighbour(message), flags)
            .await
        {
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV)) => Ok(()),
            result => result.map(drop),
        }
    }

    /// The hops that a killed controller left managed.
    pub(super) async fn left_behind(&self) -> Result<Vec<Hop>> {
        let entries = self
            .handle
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Inet6)
            .execute();
        let entries: Vec<NeighbourMessage> = within(entries.try_collect())
            .await
            .context("cannot list the neighbors")?;
        Ok(entries.iter().filter_map(left_behind).collect())
    }

    /// An interface, if it is there.
    pub(super) async fn interface(
        &mut self,
        index: InterfaceIndex,
    ) -> Result<Option<Interface>, Unanswered> {
        let mut question = netlink_packet_route::link::LinkMessage::default();
        question.header.index = index;
        match self
            .ask(RouteNetlinkMessage::GetLink(question), NLM_F_REQUEST)
            .await
        {
            Ok(Some(RouteNetlinkMessage::NewLink(answer))) => Ok(Some(interface(&answer))),
            Ok(_) => Ok(None),
            Err(error) if error.passing() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// All interfaces.
    pub(super) async fn interfaces(&self) -> Result<BTreeMap<InterfaceIndex, Interface>> {
        let links = self.handle.link().get().execute();
        let links: Vec<_> = within(links.try_collect())
            .await
            .context("cannot list the interfaces")?;
        Ok(links
            .iter()
            .map(|link| (link.header.index, interface(link)))
            .collect())
    }

    /// The prefixes for which rules look at more than the destination.
    pub(super) async fn selective(&self) -> Result<Vec<Prefix>> {
        let rules = self.handle.rule().get(IpVersion::V6).execute();
        let rules: Result<Vec<_>, rtnetlink::Error> = match timeout(LIST, rules.try_collect()).await
        {
            // A kernel without rules.
            Ok(Err(rtnetlink::Error::NetlinkError(refusal)))
                if refusal.to_io().raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) =>
            {
                return Ok(Vec::new());
            }
            Ok(answer) => answer,
            Err(_) => return Err(anyhow!("no answer")).context("cannot list the rules"),
        };
        Ok(rules
            .context("cannot list the rules")?
            .iter()
            .filter_map(selective)
            .collect())
    }

    /// The routes for some sources alone, out of all routes of all tables.
    pub(super) async fn source_routes(&self) -> Result<BTreeSet<SourceRoute>> {
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet6;
        let routes = self.handle.route().get(question).execute();
        // There may be a million, of which none is kept that is not asked for.
        let routes = routes.try_filter_map(async |route| Ok(source_route(&route)));
        within(routes.try_collect())
            .await
            .context("cannot list the routes")
    }

    async fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Option<RouteNetlinkMessage>, Unanswered> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let mut answers = self
            .handle
            .request(request)
            .map_err(|error| Unanswered::Broken(error.to_string()))?;
        let answer = timeout(ANSWER, answers.next()).await;
        match answer.map(|answer| answer.map(|message| message.payload)) {
            Ok(Some(NetlinkPayload::InnerMessage(message))) => Ok(Some(message)),
            Ok(Some(NetlinkPayload::Error(refusal))) if refusal.code.is_some() => {
                Err(Unanswered::Refused(refusal.to_io()))
            }
            // An acknowledgement is not passed on.
            Ok(None | Some(NetlinkPayload::Error(_))) => Ok(None),
            Ok(Some(other)) => Err(Unanswered::Broken(format!("unexpected answer {other:?}"))),
            Err(_) => Err(Unanswered::Broken("no answer".to_owned())),
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T> {
    Ok(timeout(LIST, answer).await.context("no answer")??)
}

fn neighbor_message(hop: Hop) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = hop.interface;
    message
        .attributes
        .push(NeighbourAttribute::Destination(hop.address.into()));
    message
}

/// As if there were a packet for it.
fn used(hop: Hop) -> NeighbourMessage {
    let mut message = neighbor_message(hop);
    message.header.state = NeighbourState::None;
    message.header.flags = NeighbourFlags::Use;
    message
}
