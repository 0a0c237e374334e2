//! What the machines are told.

use std::{fmt, net::Ipv6Addr};

use bytes::Bytes;

use serde::{Deserialize, Serialize};

use crate::wire::MacAddr;

use super::{Command, InterfaceIndex};

/// What a machine is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// A signalling packet that is addressed to this node.
    Packet {
        /// Where it arrived.
        interface: InterfaceIndex,
        /// The source address of the frame that brought it.
        link_source: MacAddr,
        /// The whole IPv6 packet.
        #[serde(with = "super::hex")]
        bytes: Bytes,
    },
    /// An indication of the link layer; for a mobile node.
    Link(LinkEvent),
    /// What an access link tells about the mobile nodes on it; for an access router.
    Station(StationEvent),
    /// A wish of the people who run this node.
    Admin(Admin),
    /// The data path released the last held packet of `address`; new ones now go straight through.
    Drained {
        /// The address of [`Command::ReleaseBuffer`], or the previous care-of address of a
        /// [`Command::InstallTunnel`] that took over what was held.
        address: Ipv6Addr,
    },
    /// The release of what was held for `address` broke off; what is left of it cannot go out.
    DrainFailed {
        /// As in `Drained`.
        address: Ipv6Addr,
        /// What went wrong.
        error: CommandError,
    },
    /// Duplicate address detection is over for an address of [`Command::ConfigureAddress`], and no
    /// other node has it; for a mobile node.
    AddressConfirmed {
        /// The address.
        address: Ipv6Addr,
    },
    /// A command could not be carried out, and had no effect.
    CommandFailed {
        /// The command as it was polled.
        command: Command,
        /// What went wrong.
        error: CommandError,
    },
}

/// Why a command was not carried out, with words for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandError {
    /// The address of a `StartBuffering`, `AddProxyNd`, `AddNeighbor` or `ConfigureAddress` is another
    /// node's. The kernel may find that out long after the address was configured.
    InUse(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(error) | Self::Other(error) => f.write_str(error),
        }
    }
}

/// Those of the four primitives of RFC 5270 section 5 that come from the link layer.
///
/// The fourth, LINK_SWITCH, goes the other way: [`Command::SwitchLink`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkEvent {
    /// NEW_LINK_DETECTED: an access point has come into reach (RFC 5270 section 5.1).
    NewLinkDetected {
        /// The access point's link-layer address.
        access_point: MacAddr,
    },
    /// LINK_HANDOVER_IMPEND: the link layer is about to move (RFC 5270 section 5.2).
    HandoverImpend {
        /// Where it is about to move to.
        access_point: MacAddr,
    },
    /// The link will be gone before long, and nobody says where to (LINK_GOING_DOWN of IEEE 802.21).
    LinkGoingDown,
    /// The link is gone.
    LinkDown,
    /// LINK_UP: attached, and authorised to send (RFC 5270 section 5.3).
    LinkUp {
        /// Where it is attached now.
        access_point: MacAddr,
    },
    /// LINK_UP, and nobody says where: whoever tells it knows nothing but the carrier.
    LinkUpSomewhere,
}

/// What an access link tells about a mobile node: an event of its access point, a neighbor that
/// does not answer any more, or the word of an operator.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StationEvent {
    /// It is on the link.
    Attached {
        /// The access link.
        interface: InterfaceIndex,
        /// Its address on the link.
        address: Ipv6Addr,
        /// Its link-layer address.
        link_address: MacAddr,
    },
    /// It has left the link, perhaps without a word.
    Departed {
        /// The access link.
        interface: InterfaceIndex,
        /// Its address on the link.
        address: Ipv6Addr,
    },
}

/// A wish of the people who run this node.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admin {
    /// End every handover, remove all that was installed, and begin nothing new.
    Shutdown,
    /// For an access router: make a mobile node move (PrRtAdv with Code 1, RFC 5568 section 3.3).
    Handover {
        /// The mobile node's address on a link of ours.
        pcoa: Ipv6Addr,
        /// Where it is to move to.
        access_point: MacAddr,
        /// The address it is to use there; `None`: its own choice.
        ncoa: Option<Ipv6Addr>,
    },
    /// For a mobile node: Mobile IPv6 has registered its care-of address with all who need to know
    /// it, and the tunnels from earlier ones can end (RFC 5568 section 3.1).
    Registered {
        /// The care-of address.
        care_of: Ipv6Addr,
    },
    /// For an access router: tell a mobile node about the access points around (PrRtAdv with
    /// Code 4, RFC 5568 section 6.1.2).
    Advertise {
        /// The mobile node's address on a link of ours.
        pcoa: Ipv6Addr,
    },
}
