//! What a mobile node knows and does, for people.

use std::{collections::BTreeMap, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::wire::MacAddr;

use super::{Instant, MobileNode, solicitation::Knowledge, uplink::Way};

/// A mobile node as `fmip-ctl show mobile` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MobileNodeStatus {
    /// Whether the link is there.
    pub link_up: bool,
    /// Where it is attached, or was last.
    pub access_point: Option<MacAddr>,
    /// The router of the link, if one is known.
    pub router: Option<Ipv6Addr>,
    /// That router's link-layer address, if it is known.
    pub router_link_address: Option<MacAddr>,
    /// The address in use.
    pub care_of: Ipv6Addr,
    /// Whether that address is usable on this link.
    pub settled: bool,
    /// Whether Mobile IPv6 has said that it has registered it.
    pub registered: bool,
    /// Earlier addresses with a tunnel, the oldest first.
    pub previous: Vec<PreviousAddress>,
    /// The handover that is under way.
    pub handover: Option<HandoverUnderWay>,
    /// The announcements that are still to be sent.
    pub announcing: Option<AnnouncementsLeft>,
    /// What is known of access points.
    pub access_points: Vec<KnownAccessPoint>,
}

/// An earlier address whose packets still come, and go, through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// The router of its link, which is the other end.
    pub router: Ipv6Addr,
    /// This end.
    pub tunnel_from: Ipv6Addr,
    /// When it ends if nothing else happens.
    pub expires_ns: Instant,
    /// Whether its router was, or is being, asked to end it.
    pub ending: bool,
}

/// A handover that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverUnderWay {
    /// Where it stands, such as `awaiting-fback`.
    pub state: String,
    /// Where the link layer is said to go.
    pub target: Option<MacAddr>,
    /// The address to use there.
    pub ncoa: Option<Ipv6Addr>,
}

/// Announcements that are still to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncementsLeft {
    /// The address that is announced.
    pub address: Ipv6Addr,
    /// How many, besides the last, which says that the address is certainly ours.
    pub left: u32,
}

/// What the router said about an access point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAccessPoint {
    /// Its link-layer address.
    pub access_point: MacAddr,
    /// `router`, `same-link`, `unknown` (the router knows nothing of it) or `no-fast-handover`.
    pub knowledge: String,
    /// The router behind it.
    pub router: Option<Ipv6Addr>,
    /// The prefix of its link.
    pub prefix: Option<String>,
    /// The address that the mobile node would have there.
    pub ncoa: Option<Ipv6Addr>,
}

/// What a move to an access point leads to, by what the router said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prospect {
    /// The router knows nothing of it: whose it is nobody knows, and nothing can be prepared.
    Unknown,
    /// A router that is known and takes part in no fast handover.
    Plain,
    /// A router that packets follow the mobile node to, or the one that it has.
    Fast,
}

impl MobileNode {
    /// What moves lead to, of all access points that the router has spoken of.
    pub fn prospects(&self) -> BTreeMap<MacAddr, Prospect> {
        let prospect = |knowledge| match knowledge {
            Knowledge::Router(_) | Knowledge::SameInterface => Prospect::Fast,
            Knowledge::NoFastHandover => Prospect::Plain,
            Knowledge::Unknown => Prospect::Unknown,
        };
        let all = self.neighborhood.all();
        all.map(|(access_point, knowledge)| (access_point, prospect(knowledge)))
            .collect()
    }

    /// Another number whenever [`Self::prospects`] may have changed.
    pub fn prospects_revision(&self) -> u64 {
        self.neighborhood.revision()
    }

    /// What it knows and does.
    pub fn status(&self) -> MobileNodeStatus {
        let link = self.link();
        let here = self.origin.pcoa;
        let previous = self.uplinks.iter().filter_map(|uplink| match uplink.way {
            Way::Tunnel(tunnel) => Some(PreviousAddress {
                address: uplink.pcoa,
                router: uplink.par,
                tunnel_from: tunnel.local,
                expires_ns: uplink.expires(),
                ending: self.endings.contains(uplink.pcoa),
            }),
            Way::Open | Way::Plain | Way::Kept => None,
        });
        MobileNodeStatus {
            link_up: self.link_up,
            access_point: self.access_point,
            router: Some(link.router).filter(|router| !router.is_unspecified()),
            router_link_address: link.router_lla,
            care_of: here,
            settled: self.link_up && self.is_settled(),
            registered: self.is_registered(here),
            previous: previous.collect(),
            handover: self.handover.as_ref().map(|handover| HandoverUnderWay {
                state: handover.phase.name().to_owned(),
                target: handover.target,
                ncoa: handover.phase.ncoa(),
            }),
            announcing: self.announcing.as_ref().map(|of| of.status()),
            access_points: self
                .neighborhood
                .all()
                .map(|(access_point, knowledge)| known(access_point, knowledge))
                .collect(),
        }
    }
}

fn known(access_point: MacAddr, knowledge: Knowledge) -> KnownAccessPoint {
    let (name, destination) = match knowledge {
        Knowledge::Router(destination) => ("router", Some(destination)),
        Knowledge::SameInterface => ("same-link", None),
        Knowledge::Unknown => ("unknown", None),
        Knowledge::NoFastHandover => ("no-fast-handover", None),
    };
    KnownAccessPoint {
        access_point,
        knowledge: name.to_owned(),
        router: destination.map(|of| of.router.address),
        prefix: destination.map(|of| of.router.prefix.to_string()),
        ncoa: destination.map(|of| of.ncoa),
    }
}
