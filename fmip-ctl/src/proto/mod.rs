//! The protocol as pure state machines: no clock, no socket, no map and no random source of its own.
//!
//! # Driving a machine
//!
//! [`AccessRouter`] and [`MobileNode`] have the same methods:
//!
//! 1. Something happened: call `handle_input(now, input)`; or `now` has reached `poll_timeout()`:
//!    call `handle_timeout(now)`. `now` never goes backwards.
//! 2. Call `poll_output()` until it answers `None`, and carry out each output before the next is
//!    asked for: their order is part of the protocol (a tunnel stands before the acknowledgement
//!    that makes the mobile node leave).
//! 3. Sleep until `poll_timeout()`, or for ever if that is `None`.
//!
//! A [`Command`] that cannot be carried out is handed back as [`Input::CommandFailed`], at best
//! before the next output is polled: what was queued behind it and depends on it is then taken
//! back and never seen. Later is allowed too; it costs a second, negative answer to the peer.
//!
//! Nothing here depends on anything but the inputs, their order and the seed: the same inputs
//! give the same outputs.

pub mod auth;
mod event;
mod hash;
mod hex;
mod input;
mod instant;
mod machine;
mod mobile_node;
mod nar;
mod neighborhood;
mod outbox;
mod output;
mod par;
mod reason;
mod router;
mod settings;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod timer;

pub use event::{Event, Failure, HandoverStatus, Removal, Role};
pub use input::{Admin, CommandError, Input, LinkEvent, StationEvent};
pub use instant::Instant;
pub use machine::{Machine, MachineConfig};
pub use mobile_node::{
    AnnouncementsLeft, HandoverUnderWay, KnownAccessPoint, MobileNode, MobileNodeStatus,
    PreviousAddress, Prospect,
};
pub use output::{Command, NeighborState, Output, Transmit, Tunnel};
pub use reason::{Counters, Reason};
pub use router::AccessRouter;
pub use settings::{
    AccessLink, Addressing, Announcement, Departure, HandoverKey, Limits, MobileNodeConfig,
    OnInvalidNcoa, Peer, PeerAddressing, RouterConfig, RouterKey, Timers,
};

use crate::wire::FastBindingStatus;

/// The hop limit of signalling that routers forward (the default of RFC 1700).
const HOP_LIMIT: u8 = 64;

/// What every link takes (RFC 8200 section 5): the bound of a PrRtAdv.
const LINK_MTU: usize = 1280;

/// The status of an FBack to an FBU whose number is not newer than the last; the FBack's own
/// number is then that last one, as in a Binding Acknowledgement (RFC 6275 sections 6.1.8 and
/// 9.5.1). RFC 5568 section 6.2.3 has no status for it, and no other way back for a mobile node
/// that lost count.
const SEQUENCE_OUT_OF_WINDOW: FastBindingStatus = FastBindingStatus::Other(135);

/// The kernel's number of an interface.
pub type InterfaceIndex = u32;
