//! `fmip-ctl trigger`: what a link layer's driver would tell, and what a router shall do, by hand.

use std::{net::Ipv6Addr, path::Path};

use clap::{Args, Subcommand};
use fmip_ctl::{
    observe::{StationOfLink, Trigger, client::Client},
    wire::MacAddr,
};

#[derive(Args)]
pub(super) struct Options {
    #[command(subcommand)]
    trigger: Kind,
}

#[derive(Subcommand)]
enum Kind {
    /// Mobile node: it is about to move: prepare the handover, then switch.
    Impend(AccessPoint),
    /// Mobile node: it is attached.
    LinkUp(AccessPoint),
    /// Mobile node: it is attached to nothing.
    LinkDown,
    /// Mobile node: it hears an access point: ask the router about it.
    NewLink(AccessPoint),
    /// Access router: a mobile node is on one of its links.
    Attached {
        /// The node's address on the link.
        #[arg(long, value_name = "ADDR")]
        node: Ipv6Addr,
        /// The node's link-layer address.
        #[arg(long, value_name = "MAC")]
        link_address: MacAddr,
        #[command(flatten)]
        link: Link,
    },
    /// Access router: a mobile node has left its link.
    Departed {
        /// The node's address on the link.
        #[arg(long, value_name = "ADDR")]
        node: Ipv6Addr,
        #[command(flatten)]
        link: Link,
    },
    /// Access router: a station is on one of its links, as an access point or base station knows it.
    StationAttached(Station),
    /// Access router: a station has left its link.
    StationDeparted(Station),
    /// Access router: make a mobile node move (a proxy router advertisement with code 1).
    Handover {
        /// The node's address on one of the router's links.
        #[arg(long, value_name = "PCOA")]
        node: Ipv6Addr,
        /// The link-layer address (BSSID) of the access point to move to.
        #[arg(long, value_name = "AP")]
        access_point: MacAddr,
        /// The address to use there. Without it the node makes one.
        #[arg(long, value_name = "ADDR")]
        ncoa: Option<Ipv6Addr>,
    },
    /// Access router: tell a mobile node about the access points around (code 4).
    Advertise {
        /// The node's address on one of the router's links.
        #[arg(long, value_name = "PCOA")]
        node: Ipv6Addr,
    },
}

#[derive(Args)]
struct AccessPoint {
    /// The link-layer address (BSSID) of the access point.
    #[arg(value_name = "AP")]
    access_point: MacAddr,
}

#[derive(Args)]
struct Station {
    /// The station's link-layer address.
    #[arg(long, value_name = "MAC")]
    link_address: MacAddr,
    /// The interface of the link. Without it, the router's only access link.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// The link-layer address of the access point or base station, where there are several on the link.
    #[arg(long, value_name = "AP")]
    access_point: Option<MacAddr>,
}

#[derive(Args)]
struct Link {
    /// The interface of the link. Without it, the one with the prefix of the node's address.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
}

/// Hands the trigger over and returns when the controller has taken it.
pub(super) fn trigger(socket: &Path, options: Options) -> anyhow::Result<()> {
    Ok(Client::connect(socket)?.trigger(options.trigger.into())?)
}

impl From<Station> for StationOfLink {
    fn from(station: Station) -> Self {
        let Station {
            link_address,
            interface,
            access_point,
        } = station;
        Self {
            link_address,
            interface,
            access_point,
        }
    }
}

impl From<Kind> for Trigger {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Impend(AccessPoint { access_point }) => Self::Impend { access_point },
            Kind::LinkUp(AccessPoint { access_point }) => Self::LinkUp { access_point },
            Kind::LinkDown => Self::LinkDown,
            Kind::NewLink(AccessPoint { access_point }) => Self::NewLink { access_point },
            Kind::Attached {
                node,
                link_address,
                link: Link { interface },
            } => Self::Attached {
                node,
                link_address,
                interface,
            },
            Kind::Departed {
                node,
                link: Link { interface },
            } => Self::Departed { node, interface },
            Kind::StationAttached(station) => Self::StationAttached(station.into()),
            Kind::StationDeparted(station) => Self::StationDeparted(station.into()),
            Kind::Handover {
                node,
                access_point,
                ncoa,
            } => Self::Handover {
                node,
                access_point,
                ncoa,
            },
            Kind::Advertise { node } => Self::Advertise { node },
        }
    }
}
