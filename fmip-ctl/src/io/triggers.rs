//! From a trigger that somebody gives to what the protocol core is told.

use std::net::Ipv6Addr;

use super::hostapd::StationTold;
use crate::{
    link::vocabulary,
    observe::{StationOfLink, Trigger},
    proto::{Admin, Input, InterfaceIndex, LinkEvent, StationEvent},
    wire::{MacAddr, Prefix},
};

/// An access link, as far as it takes to tell which one a node is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its interface's name.
    pub(super) name: String,
    /// Its interface's index.
    pub(super) index: InterfaceIndex,
    /// The prefix of its nodes.
    pub(super) prefix: Prefix,
}

/// What a controller is that is given a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiver<'a> {
    /// An access router with these links.
    AccessRouter(&'a [Link]),
    /// A mobile node.
    MobileNode,
}

/// What a trigger tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// What the core is told.
    Input(Input),
    /// That of which the controller must find out first which node it is.
    Station(StationTold),
}

/// What it tells.
///
/// # Errors
/// In words for the one who gave it: the trigger is for the other role, or names no link.
pub(super) fn told(trigger: Trigger, receiver: Receiver<'_>) -> Result<Told, String> {
    let name = trigger.name();
    let link_event = match trigger {
        Trigger::Impend { access_point } => LinkEvent::HandoverImpend { access_point },
        Trigger::LinkUp { access_point } => LinkEvent::LinkUp { access_point },
        Trigger::LinkDown => LinkEvent::LinkDown,
        Trigger::NewLink { access_point } => LinkEvent::NewLinkDetected { access_point },
        of_router => {
            return match receiver {
                Receiver::AccessRouter(links) => router_input(of_router, links),
                Receiver::MobileNode => Err(format!(
                    "`{name}` is for an access router; this is a mobile node"
                )),
            };
        }
    };
    match receiver {
        Receiver::MobileNode => match vocabulary::named(link_event).1 {
            Some(access_point) if !access_point.is_unicast() => Err(format!(
                "access_point: {access_point} is no unicast link-layer address: no access point has it"
            )),
            _ => Ok(Told::Input(Input::Link(link_event))),
        },
        Receiver::AccessRouter(_) => Err(format!(
            "`{name}` is for a mobile node; this is an access router"
        )),
    }
}

fn router_input(trigger: Trigger, links: &[Link]) -> Result<Told, String> {
    Ok(Told::Input(match trigger {
        Trigger::StationAttached(of) => return station_told(of, true, links),
        Trigger::StationDeparted(of) => return station_told(of, false, links),
        Trigger::Attached {
            node,
            link_address,
            interface,
        } => Input::Station(StationEvent::Attached {
            link_address: unicast(link_address)?,
            interface: link_of(node, interface, links)?,
            address: node,
        }),
        Trigger::Departed { node, interface } => Input::Station(StationEvent::Departed {
            interface: link_of(node, interface, links)?,
            address: node,
        }),
        Trigger::Handover {
            node,
            access_point,
            ncoa,
        } => Input::Admin(Admin::Handover {
            pcoa: on_a_link(node, links)?,
            access_point,
            ncoa,
        }),
        Trigger::Advertise { node } => Input::Admin(Admin::Advertise {
            pcoa: on_a_link(node, links)?,
        }),
        other => return Err(format!("`{}` is for a mobile node", other.name())),
    }))
}

fn station_told(of: StationOfLink, came: bool, links: &[Link]) -> Result<Told, String> {
    Ok(Told::Station(StationTold {
        interface: link_named(of.interface, links)?,
        station: unicast(of.link_address)?,
        access_point: of.access_point,
        came,
    }))
}

fn unicast(link_address: MacAddr) -> Result<MacAddr, String> {
    match link_address.is_unicast() {
        true => Ok(link_address),
        false => Err(format!("{link_address} is no unicast link-layer address")),
    }
}

fn on_a_link(node: Ipv6Addr, links: &[Link]) -> Result<Ipv6Addr, String> {
    link_of(node, None, links).map(|_| node)
}

/// The link that a node is on: the named one, or that of its prefix.
fn link_of(
    node: Ipv6Addr,
    interface: Option<String>,
    links: &[Link],
) -> Result<InterfaceIndex, String> {
    match interface {
        Some(_) => link_named(interface, links),
        None => links
            .iter()
            .find(|link| link.prefix.contains(node))
            .map(|link| link.index)
            .ok_or_else(|| {
                format!(
                    "{node} is in the prefix of none of this router's access links (they are {})",
                    known(links)
                )
            }),
    }
}

/// The link of that name, or the only one.
fn link_named(interface: Option<String>, links: &[Link]) -> Result<InterfaceIndex, String> {
    match (interface, links) {
        (Some(name), _) => links
            .iter()
            .find(|link| link.name == name)
            .map(|link| link.index)
            .ok_or_else(|| {
                format!(
                    "{name} is none of this router's access links (they are {})",
                    known(links)
                )
            }),
        (None, [link]) => Ok(link.index),
        (None, _) => Err(format!(
            "interface: it is missing, and this router has more access links than one (they are {})",
            known(links)
        )),
    }
}

/// For an error.
fn known(links: &[Link]) -> String {
    let known: Vec<String> = links
        .iter()
        .map(|link| format!("{} with {}", link.name, link.prefix))
        .collect();
    known.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AP: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);

    fn links() -> Vec<Link> {
        [
            ("acc0", 3, "2001:db8:1::/64"),
            ("acc1", 4, "2001:db8:2::/64"),
        ]
        .map(|(name, index, prefix)| Link {
            name: name.to_owned(),
            index,
            prefix: prefix.parse().unwrap(),
        })
        .to_vec()
    }

    fn node() -> Ipv6Addr {
        "2001:db8:2::9".parse().unwrap()
    }

    #[test]
    fn a_mobile_node_is_told_the_primitive_of_every_link_trigger() {
        for (trigger, event) in [
            (
                Trigger::Impend { access_point: AP },
                LinkEvent::HandoverImpend { access_point: AP },
            ),
            (
                Trigger::LinkUp { access_point: AP },
                LinkEvent::LinkUp { access_point: AP },
            ),
            (Trigger::LinkDown, LinkEvent::LinkDown),
            (
                Trigger::NewLink { access_point: AP },
                LinkEvent::NewLinkDetected { access_point: AP },
            ),
        ] {
            assert_eq!(
                told(trigger, Receiver::MobileNode),
                Ok(Told::Input(Input::Link(event)))
            );
        }
    }

    #[test]
    fn a_router_is_told_which_link_a_node_is_on() {
        let links = links();
        let router = Receiver::AccessRouter(&links);
        let attached = |interface: Option<&str>| Trigger::Attached {
            node: node(),
            link_address: AP,
            interface: interface.map(str::to_owned),
        };
        for (interface, index) in [(None, 4), (Some("acc1"), 4), (Some("acc0"), 3)] {
            assert_eq!(
                told(attached(interface), router),
                Ok(Told::Input(Input::Station(StationEvent::Attached {
                    interface: index,
                    address: node(),
                    link_address: AP,
                })))
            );
        }
        let departed = Trigger::Departed {
            node: node(),
            interface: None,
        };
        assert_eq!(
            told(departed, router),
            Ok(Told::Input(Input::Station(StationEvent::Departed {
                interface: 4,
                address: node(),
            })))
        );
    }

    #[test]
    fn a_router_is_told_what_to_do_with_a_node() {
        let links = links();
        let router = Receiver::AccessRouter(&links);
        let ncoa = Some("2001:db8:1::9".parse().unwrap());
        let handover = Trigger::Handover {
            node: node(),
            access_point: AP,
            ncoa,
        };
        assert_eq!(
            told(handover, router),
            Ok(Told::Input(Input::Admin(Admin::Handover {
                pcoa: node(),
                access_point: AP,
                ncoa,
            })))
        );
        assert_eq!(
            told(Trigger::Advertise { node: node() }, router),
            Ok(Told::Input(Input::Admin(Admin::Advertise { pcoa: node() })))
        );
    }

    #[test]
    fn a_router_is_told_of_a_station_by_its_link_layer_address() {
        let links = links();
        let of = |interface: Option<&str>| StationOfLink {
            link_address: AP,
            interface: interface.map(str::to_owned),
            access_point: None,
        };
        let attached = |interface| Trigger::StationAttached(of(interface));
        let departed = Trigger::StationDeparted(of(None));
        let said = |interface, came| StationTold {
            interface,
            station: AP,
            access_point: None,
            came,
        };
        for (trigger, links, expected) in [
            (attached(Some("acc1")), &links[..], said(4, true)),
            (departed.clone(), &links[..1], said(3, false)),
        ] {
            assert_eq!(
                told(trigger, Receiver::AccessRouter(links)),
                Ok(Told::Station(expected))
            );
        }
        for (trigger, links, expected) in [
            (
                departed,
                &links[..],
                "interface: it is missing, and this router has more access links than one (they are \
                 acc0 with 2001:db8:1::/64, acc1 with 2001:db8:2::/64)",
            ),
            (
                attached(Some("core0")),
                &links[..1],
                "core0 is none of this router's access links (they are acc0 with 2001:db8:1::/64)",
            ),
            (
                Trigger::StationAttached(StationOfLink {
                    link_address: MacAddr([1, 0, 0, 0, 0, 1]),
                    ..of(None)
                }),
                &links[..1],
                "01:00:00:00:00:01 is no unicast link-layer address",
            ),
        ] {
            assert_eq!(
                told(trigger, Receiver::AccessRouter(links)),
                Err(expected.to_owned())
            );
        }
    }

    #[test]
    fn what_is_for_the_other_role_or_no_link_is_refused_in_words() {
        let links = links();
        let router = Receiver::AccessRouter(&links);
        let elsewhere: Ipv6Addr = "2001:db8:9::9".parse().unwrap();
        let departed = |node, interface: Option<&str>| Trigger::Departed {
            node,
            interface: interface.map(str::to_owned),
        };
        for (trigger, receiver, expected) in [
            (
                Trigger::LinkDown,
                router,
                "`link-down` is for a mobile node; this is an access router",
            ),
            (
                departed(node(), None),
                Receiver::MobileNode,
                "`departed` is for an access router; this is a mobile node",
            ),
            (
                departed(node(), Some("core0")),
                router,
                "core0 is none of this router's access links (they are acc0 with 2001:db8:1::/64, \
                 acc1 with 2001:db8:2::/64)",
            ),
            (
                Trigger::Advertise { node: elsewhere },
                router,
                "2001:db8:9::9 is in the prefix of none of this router's access links (they are \
                 acc0 with 2001:db8:1::/64, acc1 with 2001:db8:2::/64)",
            ),
            (
                Trigger::Attached {
                    node: node(),
                    link_address: MacAddr([0xff; 6]),
                    interface: None,
                },
                router,
                "ff:ff:ff:ff:ff:ff is no unicast link-layer address",
            ),
            (
                Trigger::Impend {
                    access_point: MacAddr([0; 6]),
                },
                Receiver::MobileNode,
                "access_point: 00:00:00:00:00:00 is no unicast link-layer address: no access point \
                 has it",
            ),
        ] {
            assert_eq!(told(trigger, receiver), Err(expected.to_owned()));
        }
    }
}
