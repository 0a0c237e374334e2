//! What the kernel says of the addresses of an interface: that one is there, that duplicate address
//! detection is over, that one is gone.

use std::{net::Ipv6Addr, pin::Pin};

use anyhow::{Context as _, Result};
use futures_util::{Stream, StreamExt as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
};
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
};
use tokio::task::JoinHandle;
use tracing::warn;

use super::netlink::ipv6_of;

/// An address as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// The interface's index.
    pub interface: u32,
    /// The address.
    pub address: Ipv6Addr,
    /// Of its prefix.
    pub prefix_length: u8,
    /// Whether other links could reach it.
    pub global: bool,
    /// Its flags.
    pub flags: AddressFlags,
    /// For how many seconds something new may begin from it; `u32::MAX`: for ever.
    pub preferred_s: u32,
    /// For how many seconds it is there; `u32::MAX`: for ever.
    pub valid_s: u32,
}

impl Described {
    /// What a message of the kernel says, if it is about an IPv6 address.
    pub fn by(message: &AddressMessage) -> Option<Self> {
        if message.header.family != AddressFamily::Inet6 {
            return None;
        }
        let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
        let (mut preferred_s, mut valid_s) = (u32::MAX, u32::MAX);
        for attribute in &message.attributes {
            match attribute {
                // All of them: the header has room for eight.
                AddressAttribute::Flags(all) => flags = *all,
                AddressAttribute::CacheInfo(lifetimes) => {
                    (preferred_s, valid_s) = (lifetimes.ifa_preferred, lifetimes.ifa_valid);
                }
                _ => {}
            }
        }
        Some(Self {
            interface: message.header.index,
            address: ipv6_of(message)?,
            prefix_length: message.header.prefix_len,
            global: message.header.scope == AddressScope::Universe,
            flags,
            preferred_s,
            valid_s,
        })
    }

    /// Whether it can be the source of a packet now.
    pub fn is_usable(&self) -> bool {
        let refused = self.flags.contains(AddressFlags::Dadfailed);
        let waiting = self.flags.contains(AddressFlags::Tentative)
            && !self.flags.contains(AddressFlags::Optimistic);
        !refused && !waiting
    }

    /// Whether duplicate address detection has run, and nobody else has it.
    pub fn is_confirmed(&self) -> bool {
        let open = AddressFlags::Tentative
            | AddressFlags::Optimistic
            | AddressFlags::Dadfailed
            | AddressFlags::Nodad;
        !self.flags.intersects(open)
    }

    /// Whether another node has it.
    pub fn is_duplicate(&self) -> bool {
        self.flags.contains(AddressFlags::Dadfailed)
    }

    /// Whether it is one that changes for privacy (RFC 8981), which nothing can be agreed on about.
    pub fn is_temporary(&self) -> bool {
        // The kernel has one bit for this and for the secondary addresses of IPv4.
        self.flags.contains(AddressFlags::Secondary)
    }
}

/// What happened to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there, like this.
    There(Described),
    /// It is gone.
    Gone(Described),
    /// Something, but what was lost: all is to be looked at.
    Unknown,
}

/// Listens to the kernel until it is dropped.
pub struct AddressWatch {
    connection: JoinHandle<()>,
    messages: Pin<Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send>>,
    ended: bool,
}

impl AddressWatch {
    /// Begins to listen, in the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn start() -> Result<Self> {
        let (connection, _, messages) = new_multicast_connection(&[MulticastGroup::Ipv6Ifaddr])
            .context("cannot open a netlink socket to watch addresses")?;
        Ok(Self {
            connection: tokio::spawn(connection),
            messages: Box::pin(messages.map(|(message, _)| message)),
            ended: false,
        })
    }

    /// Waits for the next change. Nothing is lost if it is cancelled.
    pub async fn next(&mut self) -> Change {
        while !self.ended {
            match self.messages.next().await.map(|message| message.payload) {
                Some(NetlinkPayload::Overrun(_)) => return Change::Unknown,
                Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message))) => {
                    if let Some(described) = Described::by(&message) {
                        return Change::There(described);
                    }
                }
                Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message))) => {
                    if let Some(described) = Described::by(&message) {
                        return Change::Gone(described);
                    }
                }
                Some(_) => {}
                None => {
                    warn!(
                        "the kernel tells no more about addresses: that another node has one of \
                         this node's is not noticed"
                    );
                    self.ended = true;
                }
            }
        }
        std::future::pending().await
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
