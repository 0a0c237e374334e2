//! What becomes of the interfaces after the programs were attached to them.
//!
//! The programs go with an interface that is removed, and the data path knows the MTU of the start:
//! neither can be put right while the controller runs, and neither may go unnoticed.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection, packet_core::NetlinkPayload};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::{devices::Device, netlink::link_name};

/// Watches interfaces in a task of its own, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    connection: JoinHandle<()>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins to watch what the programs were attached to, in the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub(super) fn start<'a>(devices: impl Iterator<Item = &'a Device>) -> Result<Self> {
        let (connection, handle, mut messages) = new_multicast_connection(&[MulticastGroup::Link])
            .context("cannot open a netlink socket to watch the interfaces")?;
        let mut known = Known::new(devices);
        let connection = tokio::spawn(connection);
        let task = tokio::spawn(async move {
            // What changed since the devices were looked at.
            known.all_seen(&handle).await;
            while let Some((message, _)) = messages.next().await {
                match message.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                        known.seen(&link);
                    }
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                        known.removed(&link);
                    }
                    NetlinkPayload::Overrun(_) => known.all_seen(&handle).await,
                    _ => {}
                }
            }
            warn!("the kernel tells no more about interfaces: what becomes of them is not noticed");
        });
        Ok(Self { connection, task })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
        self.connection.abort();
    }
}

/// The interfaces that are watched, by index.
struct Known(BTreeMap<u32, Now>);

/// What an interface was when it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Now {
    name: String,
    mtu: u32,
}

/// What became of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Gone(Now),
    Mtu { name: String, from: u32, to: u32 },
    Name { from: String, to: String },
}

impl Known {
    fn new<'a>(devices: impl Iterator<Item = &'a Device>) -> Self {
        let with_parents = devices.flat_map(|device| {
            [Some(device), device.parent.as_deref()]
                .into_iter()
                .flatten()
        });
        let now = |device: &Device| Now {
            name: device.name.clone(),
            mtu: device.mtu,
        };
        Self(
            with_parents
                .map(|device| (device.index, now(device)))
                .collect(),
        )
    }

    fn seen(&mut self, link: &LinkMessage) {
        self.update(link).iter().for_each(tell);
    }

    fn removed(&mut self, link: &LinkMessage) {
        // A bridge tells in the same words that a port left it.
        if link.header.interface_family == AddressFamily::Unspec
            && let Some(now) = self.0.remove(&link.header.index)
        {
            tell(&Change::Gone(now));
        }
    }

    /// Asks for all interfaces.
    async fn all_seen(&mut self, handle: &Handle) {
        let links: Result<Vec<LinkMessage>, _> = handle.link().get().execute().try_collect().await;
        let links = match links {
            Ok(links) => links,
            Err(error) => {
                warn!("cannot list the interfaces: {error}");
                return;
            }
        };
        let there = |index: &u32| links.iter().any(|link| link.header.index == *index);
        let gone: Vec<u32> = self
            .0
            .keys()
            .copied()
            .filter(|index| !there(index))
            .collect();
        for now in gone.iter().filter_map(|index| self.0.remove(index)) {
            tell(&Change::Gone(now));
        }
        for link in &links {
            self.seen(link);
        }
    }

    fn update(&mut self, link: &LinkMessage) -> Vec<Change> {
        let Some(now) = self.0.get_mut(&link.header.index) else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        if let Some(name) = link_name(link)
            && now.name != name
        {
            let from = std::mem::replace(&mut now.name, name.to_owned());
            changes.push(Change::Name {
                from,
                to: name.to_owned(),
            });
        }
        for attribute in &link.attributes {
            if let LinkAttribute::Mtu(to) = *attribute
                && now.mtu != to
            {
                let from = std::mem::replace(&mut now.mtu, to);
                let name = now.name.clone();
                changes.push(Change::Mtu { name, from, to });
            }
        }
        changes
    }
}

fn tell(change: &Change) {
    match change {
        Change::Gone(now) => warn!(
            interface = now.name,
            "is gone, and the programs that were attached to it: restart when it is there again"
        ),
        Change::Mtu { name, from, to } => warn!(
            interface = name,
            from, to, "the MTU changed, and the data path knows the old one: restart"
        ),
        Change::Name { from, to } => info!(interface = to, from, "has another name now"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let now = Now {
            name: "core0".to_owned(),
            mtu: 1500,
        };
        Known(BTreeMap::from([(2, now)]))
    }

    fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = attributes;
        link
    }

    #[test]
    fn a_change_is_told_once() {
        let mut known = known();
        let changed = link(
            2,
            vec![
                LinkAttribute::IfName("core1".to_owned()),
                LinkAttribute::Mtu(9000),
            ],
        );
        assert_eq!(
            known.update(&changed),
            [
                Change::Name {
                    from: "core0".to_owned(),
                    to: "core1".to_owned()
                },
                Change::Mtu {
                    name: "core1".to_owned(),
                    from: 1500,
                    to: 9000
                }
            ]
        );
        assert_eq!(known.update(&changed), []);
        assert_eq!(known.update(&link(2, Vec::new())), []);
    }

    #[test]
    fn a_port_that_leaves_a_bridge_and_the_interfaces_of_others_are_not_gone() {
        let mut known = known();
        let mut port = link(2, Vec::new());
        port.header.interface_family = AddressFamily::Bridge;
        known.removed(&port);
        known.removed(&link(3, Vec::new()));
        assert!(known.0.contains_key(&2));
        known.removed(&link(2, Vec::new()));
        assert!(known.0.is_empty());
    }
}
