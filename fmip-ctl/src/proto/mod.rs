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
mod mobile_node;
mod nar;
mod neighborhood;
mod outbox;
mod par;
mod router;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod timer;

pub use mobile_node::MobileNode;
pub use router::AccessRouter;

use std::{
    fmt,
    net::Ipv6Addr,
    ops::{Add, Sub},
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;

use crate::wire::{FastBindingStatus, MacAddr, Prefix};

/// A point on the kernel's monotonic clock (that of `bpf_ktime_get_ns`), or on a virtual one.
///
/// Serialized as its number of nanoseconds.
#[derive(
    Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The point `nanos` nanoseconds after the clock's zero.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the clock's end, some 584 years after its zero.
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

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

/// What a machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A signalling packet that is addressed to this node.
    Packet {
        /// Where it arrived.
        interface: InterfaceIndex,
        /// The source address of the frame that brought it.
        link_source: MacAddr,
        /// The whole IPv6 packet.
        bytes: Bytes,
    },
    /// An indication of the link layer; for a mobile node.
    Link(LinkEvent),
    /// A wish of the people who run this node.
    Admin(Admin),
    /// The data path released the last held packet of `address`; new ones now go straight through.
    Drained {
        /// The address of [`Command::ReleaseBuffer`].
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The address of a `StartBuffering` or `AddProxyNd` is another node's.
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
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
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
    /// The link is gone.
    LinkDown,
    /// LINK_UP: attached, and authorised to send (RFC 5270 section 5.3).
    LinkUp {
        /// Where it is attached now.
        access_point: MacAddr,
    },
}

/// A wish of the people who run this node.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// End every handover, remove all that was installed, and begin nothing new.
    Shutdown,
}

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// Change the data path or the kernel.
    Command(Command),
    /// Tell people.
    Event(Event),
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The link to send on, past any routing and tunnelling of this node's own; `None`: as routed.
    ///
    /// Always present for link-local and multicast destinations, and for the copy of an FBack to
    /// the previous care-of address, which must not enter the tunnel it announces (AMB-08).
    pub interface: Option<InterfaceIndex>,
    /// The whole IPv6 packet.
    pub bytes: Bytes,
}

/// A change to the data path or to the kernel.
///
/// What is installed by one command is removed by exactly one other, even at
/// [`Admin::Shutdown`]; a command that failed needs no removal. What a mobile node needs where it
/// arrived, its address and its default router, stays. Repeating an installing command
/// for the same address replaces its parameters, and drops no packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// PAR: tunnels packets for `pcoa` to `ncoa`, and accepts `ncoa`'s reverse tunnel from `pcoa`.
    InstallTunnel {
        /// Previous care-of address: whose packets.
        pcoa: Ipv6Addr,
        /// New care-of address: the other end of the tunnel.
        ncoa: Ipv6Addr,
        /// This end of the tunnel: our address on the link the mobile node leaves (TUN-02).
        local: Ipv6Addr,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// PAR: undoes `InstallTunnel`.
    RemoveTunnel {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
    },
    /// NAR: holds packets for `address`, unless it is another node's (HI-12). If they are held
    /// already, only `expires` changes.
    StartBuffering {
        /// New care-of address.
        address: Ipv6Addr,
        /// The access link that the mobile node will arrive on.
        interface: InterfaceIndex,
        /// The mobile node's link-layer address.
        link_address: MacAddr,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// NAR: releases what is held, in order; [`Input::Drained`] follows.
    ReleaseBuffer {
        /// New care-of address.
        address: Ipv6Addr,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// NAR: undoes `StartBuffering`; what is still held is dropped and counted.
    RemoveBuffer {
        /// New care-of address.
        address: Ipv6Addr,
    },
    /// NAR: answers neighbor solicitations for `address` in the mobile node's stead (HI-13).
    AddProxyNd {
        /// The access link.
        interface: InterfaceIndex,
        /// New care-of address.
        address: Ipv6Addr,
    },
    /// NAR: undoes `AddProxyNd`.
    RemoveProxyNd {
        /// The access link.
        interface: InterfaceIndex,
        /// New care-of address.
        address: Ipv6Addr,
    },
    /// NAR: makes a neighbor entry in state STALE (UNA-06), but not in place of one with another
    /// link-layer address (UNA-11). It ages as any other: nothing undoes it.
    AddNeighbor {
        /// The access link.
        interface: InterfaceIndex,
        /// New care-of address.
        address: Ipv6Addr,
        /// The mobile node's link-layer address.
        link_address: MacAddr,
    },
    /// MN: holds packets from `pcoa`, to be encapsulated from `ncoa` to `par`, and accepts the
    /// tunnel from `par` to `ncoa`.
    HoldUplink {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// New care-of address.
        ncoa: Ipv6Addr,
        /// The PAR's end of the tunnel.
        par: Ipv6Addr,
        /// Where the mobile node is and will be attached.
        interface: InterfaceIndex,
        /// The NAR's link-layer address: the next hop of the encapsulated packets.
        router_lla: MacAddr,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// MN: sends what is held, in order, and from then on each packet at once, encapsulated.
    ReleaseUplink {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// MN: undoes `HoldUplink`. The default router has a life of its own: see `ForgetRouter`.
    RemoveUplink {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
    },
    /// MN: adds an address: optimistic (RFC 4429), and deprecated, for nothing new may use it
    /// towards correspondents (TUN-07).
    ConfigureAddress {
        /// Where.
        interface: InterfaceIndex,
        /// New care-of address.
        address: Ipv6Addr,
        /// Of the new link's prefix, 0..=128.
        prefix_length: u8,
    },
    /// MN: makes the NAR its default router, before the link is there. It stays that as long as
    /// the mobile node is behind it, beyond the end of the binding.
    SetDefaultRouter {
        /// Where.
        interface: InterfaceIndex,
        /// The NAR's address.
        router: Ipv6Addr,
        /// The NAR's link-layer address: needs no neighbor discovery.
        link_address: MacAddr,
    },
    /// MN: undoes `SetDefaultRouter`: the mobile node is not behind that router, or will not be.
    ForgetRouter {
        /// Where.
        interface: InterfaceIndex,
    },
    /// MN: LINK_SWITCH of RFC 5270 section 5.3, to the link-layer driver: move now.
    SwitchLink {
        /// Where to.
        access_point: MacAddr,
    },
}

impl Command {
    /// The command's name as people see it, such as `install-tunnel`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InstallTunnel { .. } => "install-tunnel",
            Self::RemoveTunnel { .. } => "remove-tunnel",
            Self::StartBuffering { .. } => "start-buffering",
            Self::ReleaseBuffer { .. } => "release-buffer",
            Self::RemoveBuffer { .. } => "remove-buffer",
            Self::AddProxyNd { .. } => "add-proxy-nd",
            Self::RemoveProxyNd { .. } => "remove-proxy-nd",
            Self::AddNeighbor { .. } => "add-neighbor",
            Self::HoldUplink { .. } => "hold-uplink",
            Self::ReleaseUplink { .. } => "release-uplink",
            Self::RemoveUplink { .. } => "remove-uplink",
            Self::ConfigureAddress { .. } => "configure-address",
            Self::SetDefaultRouter { .. } => "set-default-router",
            Self::ForgetRouter { .. } => "forget-router",
            Self::SwitchLink { .. } => "switch-link",
        }
    }
}

/// Something that people want to know; serialized with its name under `event`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// MN: an FBU was sent, or sent again.
    FbuSent {
        /// Its sequence number.
        sequence: u16,
    },
    /// MN: a genuine FBack arrived.
    FbackReceived {
        /// Its status (RFC 5568 section 6.2.3); below 128: accepted.
        status: u8,
    },
    /// MN: the link layer was told to move.
    LinkSwitch {
        /// Where to.
        access_point: MacAddr,
    },
    /// MN: a UNA was sent, or sent again.
    UnaSent {
        /// The address it announces.
        ncoa: Ipv6Addr,
    },
    /// MN: this handover will not be a fast one.
    HandoverFailed {
        /// Why.
        reason: Failure,
    },
    /// PAR: an FBU was authentic and asks for something we can do.
    FbuAccepted {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// PAR: an FBU changed nothing, or its handover came to nothing.
    FbuRefused {
        /// Why.
        reason: Reason,
        /// Who sent it.
        source: Ipv6Addr,
    },
    /// PAR: an HI was sent, or sent again.
    HiSent {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// New care-of address.
        ncoa: Ipv6Addr,
        /// The NAR.
        peer: Ipv6Addr,
    },
    /// PAR: the HAck that was waited for arrived.
    HackReceived {
        /// Its code (RFC 5568 section 6.2.1.2); below 128: accepted.
        code: u8,
        /// The NAR.
        peer: Ipv6Addr,
    },
    /// NAR: a mobile node is expected.
    HiAccepted {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// NAR: an HI was refused.
    HiRefused {
        /// Why.
        reason: Reason,
        /// The code of the answer (RFC 5568 section 6.2.1.2).
        code: u8,
        /// Who sent it.
        source: Ipv6Addr,
    },
    /// NAR: the expected mobile node is here.
    UnaReceived {
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// PAR: the tunnel was ordered.
    TunnelInstalled {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// PAR: the tunnel's removal was ordered.
    TunnelRemoved {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// Why.
        reason: Removal,
    },
    /// NAR: packets for the new care-of address are held.
    BufferStarted {
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// NAR: held packets are being released.
    BufferReleased {
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// NAR: nothing is held any more; packets go straight through.
    BufferDrained {
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// NAR: the mobile node did not come, or its packets could not be released, in time.
    BufferExpired {
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// A command could not be carried out.
    CommandFailed {
        /// [`Command::name`].
        command: &'static str,
        /// What went wrong.
        error: String,
    },
}

/// Why a message was refused or ignored; each has its own counter.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It could not be parsed.
    Malformed,
    /// It is not for this role, or did not come over a link where it may come from.
    Unexpected,
    /// It is addressed to none of our addresses.
    NotForUs,
    /// A neighbor discovery message that came from beyond the link (hop limit below 255).
    HopLimit,
    /// An FBU without a Home Address option (FBU-04).
    HomeAddressMissing,
    /// An FBU without its 'A' or its 'H' flag (FBU-01).
    FlagsMissing,
    /// A message without a BADF option at its end (FBU-05).
    AuthorizationMissing,
    /// An FBU for a previous care-of address, or with an SPI, that no key is configured for.
    UnknownKey,
    /// The authenticator is not the one that the key gives.
    BadAuthenticator,
    /// A sequence number that is not newer than the last (FBU-16).
    StaleSequence,
    /// An FBU for a previous care-of address that is on none of our links.
    PcoaNotOurs,
    /// An FBU from somewhere else than its previous care-of address.
    NotFromPcoa,
    /// No new care-of address is given.
    NcoaMissing,
    /// The new care-of address is not in the prefix of a neighbor (FBU) or of ours (HI).
    NcoaOutsidePrefix,
    /// No room for another handover.
    Resources,
    /// The NAR did not answer.
    PeerSilent,
    /// The NAR refused.
    PeerRefused,
    /// The NAR did not accept the new care-of address.
    PeerRefusedNcoa,
    /// The NAR answered in a way that we cannot follow.
    PeerUnsupported,
    /// A command to the data path or the kernel failed.
    CommandFailed,
    /// A newer FBU of the same mobile node took this one's place.
    Superseded,
    /// From a router that is not a configured neighbor (SEC-06).
    UnknownPeer,
    /// An HI for a previous care-of address outside its sender's prefix (SEC-06).
    PcoaOutsidePrefix,
    /// An HI without the mobile node's link-layer address or its previous care-of address.
    OptionMissing,
    /// An HI that asks for something that we do not do.
    Unsupported,
    /// An HI for an address that another node has.
    NcoaInUse,
    /// An answer to nothing that we asked (HAK-10).
    Unmatched,
    /// A UNA for an address that no handover is known for: the kernel's matter (UNA-08).
    NoHandover,
    /// A UNA with another link-layer address than that of the HI (UNA-09).
    WrongLinkAddress,
    /// Something that was said before.
    Duplicate,
}

/// Why a tunnel was removed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Removal {
    /// The binding's lifetime ended.
    Expired,
    /// The mobile node ended it.
    Ended,
    /// The mobile node is coming back: the router that took it over announced it.
    Returning,
    /// The NAR no longer takes the mobile node.
    Refused,
    /// The NAR did not answer.
    PeerSilent,
    /// It could not be renewed.
    Failed,
    /// This router shuts down.
    Shutdown,
}

/// Why a mobile node's handover is not a fast one.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// No PrRtAdv came: the router does not know fast handovers (RTS-09).
    NoPrrtadv,
    /// The router does not know the access point (PRA-09).
    UnknownAccessPoint,
    /// The router behind the access point does not know fast handovers (PRA-14).
    NoFastHandover,
    /// No FBack came (FBU-09).
    NoFback,
    /// The FBack refuses, or grants something that we cannot use.
    Refused,
    /// The link went down too early.
    LinkLost,
    /// The link came up somewhere else.
    Elsewhere,
    /// The previous handover has not come to its end.
    NotAtPreviousRouter,
    /// The binding ended before the new link came up.
    Expired,
    /// A command failed.
    CommandFailed,
}

/// How often things happened, since the machine was made. Serialized as a flat map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // The names are those of the messages and of `Reason`.
pub struct Counters {
    pub received_rtsolpr: u64,
    pub received_prrtadv: u64,
    pub received_fbu: u64,
    pub received_fback: u64,
    pub received_hi: u64,
    pub received_hack: u64,
    pub received_una: u64,
    /// Neighbor advertisements that are no UNA.
    pub received_other_advertisement: u64,
    pub sent_rtsolpr: u64,
    pub sent_prrtadv: u64,
    pub sent_fbu: u64,
    pub sent_fback: u64,
    pub sent_hi: u64,
    pub sent_hack: u64,
    pub sent_una: u64,
    pub malformed: u64,
    pub unexpected: u64,
    pub not_for_us: u64,
    pub hop_limit: u64,
    pub home_address_missing: u64,
    pub flags_missing: u64,
    pub authorization_missing: u64,
    pub unknown_key: u64,
    pub bad_authenticator: u64,
    pub stale_sequence: u64,
    pub pcoa_not_ours: u64,
    pub not_from_pcoa: u64,
    pub ncoa_missing: u64,
    pub ncoa_outside_prefix: u64,
    pub resources: u64,
    pub peer_silent: u64,
    pub peer_refused: u64,
    pub peer_refused_ncoa: u64,
    pub peer_unsupported: u64,
    pub command_failed: u64,
    pub superseded: u64,
    pub unknown_peer: u64,
    pub pcoa_outside_prefix: u64,
    pub option_missing: u64,
    pub unsupported: u64,
    pub ncoa_in_use: u64,
    pub unmatched: u64,
    pub no_handover: u64,
    pub wrong_link_address: u64,
    pub duplicate: u64,
}

impl Counters {
    fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::Malformed => &mut self.malformed,
            Reason::Unexpected => &mut self.unexpected,
            Reason::NotForUs => &mut self.not_for_us,
            Reason::HopLimit => &mut self.hop_limit,
            Reason::HomeAddressMissing => &mut self.home_address_missing,
            Reason::FlagsMissing => &mut self.flags_missing,
            Reason::AuthorizationMissing => &mut self.authorization_missing,
            Reason::UnknownKey => &mut self.unknown_key,
            Reason::BadAuthenticator => &mut self.bad_authenticator,
            Reason::StaleSequence => &mut self.stale_sequence,
            Reason::PcoaNotOurs => &mut self.pcoa_not_ours,
            Reason::NotFromPcoa => &mut self.not_from_pcoa,
            Reason::NcoaMissing => &mut self.ncoa_missing,
            Reason::NcoaOutsidePrefix => &mut self.ncoa_outside_prefix,
            Reason::Resources => &mut self.resources,
            Reason::PeerSilent => &mut self.peer_silent,
            Reason::PeerRefused => &mut self.peer_refused,
            Reason::PeerRefusedNcoa => &mut self.peer_refused_ncoa,
            Reason::PeerUnsupported => &mut self.peer_unsupported,
            Reason::CommandFailed => &mut self.command_failed,
            Reason::Superseded => &mut self.superseded,
            Reason::UnknownPeer => &mut self.unknown_peer,
            Reason::PcoaOutsidePrefix => &mut self.pcoa_outside_prefix,
            Reason::OptionMissing => &mut self.option_missing,
            Reason::Unsupported => &mut self.unsupported,
            Reason::NcoaInUse => &mut self.ncoa_in_use,
            Reason::Unmatched => &mut self.unmatched,
            Reason::NoHandover => &mut self.no_handover,
            Reason::WrongLinkAddress => &mut self.wrong_link_address,
            Reason::Duplicate => &mut self.duplicate,
        } += 1;
    }
}

/// One handover as `fmip-ctl status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HandoverStatus {
    /// What this node is in it.
    pub role: Role,
    /// Where it stands, such as `awaiting-hack`.
    pub state: &'static str,
    /// Previous care-of address.
    pub pcoa: Ipv6Addr,
    /// New care-of address, once it is known.
    pub ncoa: Option<Ipv6Addr>,
    /// The other router (of an access router), or the PAR (of a mobile node).
    pub peer: Ipv6Addr,
    /// When it ends if nothing else happens.
    pub expires_ns: Option<Instant>,
}

/// What a node is in one handover.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Previous access router.
    Par,
    /// New access router.
    Nar,
    /// Mobile node.
    MobileNode,
}

/// Times and limits; the defaults are those of RFC 5568 section 9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    /// RTSOLPR_RETRIES: how often an unanswered RtSolPr is sent again.
    pub rtsolpr_retries: u32,
    /// MAX_RTSOLPR_RATE: RtSolPrs in any one second; at least 1.
    pub max_rtsolpr_rate: u32,
    /// FBU_RETRIES: how often an unanswered FBU is sent again.
    pub fbu_retries: u32,
    /// PROXY_ND_LIFETIME: how long a NAR waits for the mobile node.
    pub proxy_nd_lifetime: Duration,
    /// HI_RETRIES: how often an unanswered HI is sent again.
    pub hi_retries: u32,
    /// The first wait for an answer, doubled for each retransmission: twice the round-trip time,
    /// or 100 ms (RFC 5568 sections 6.1.1 and 6.2.1.1; AMB-07 for the FBU).
    pub initial_timeout: Duration,
    /// How often a UNA is sent again; nothing acknowledges it (UNA-04).
    pub una_retries: u32,
    /// The time between two UNAs, "far shorter" than RetransTimer (UNA-04).
    pub una_interval: Duration,
    /// The longest lifetime that a PAR grants (TUN-06).
    pub max_binding_lifetime: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            rtsolpr_retries: 3,
            max_rtsolpr_rate: 3,
            fbu_retries: 3,
            proxy_nd_lifetime: Duration::from_millis(1500),
            hi_retries: 3,
            initial_timeout: Duration::from_millis(100),
            una_retries: 2,
            una_interval: Duration::from_millis(100),
            max_binding_lifetime: Duration::from_secs(60),
        }
    }
}

/// All that an access router must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Times and limits.
    pub timers: Timers,
    /// Our links that mobile nodes are on.
    pub access: Vec<AccessLink>,
    /// The routers that take over our mobile nodes, and give us theirs.
    pub peers: Vec<Peer>,
    /// Handover keys.
    pub mobile_nodes: Vec<HandoverKey>,
    /// Whether a NAR is asked to hold packets (the HI's 'U' flag).
    pub buffering: bool,
    /// How many handovers there may be at one time, both roles together.
    pub max_handovers: usize,
}

/// A link of ours that mobile nodes are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLink {
    /// Our interface on it.
    pub interface: InterfaceIndex,
    /// Our global address on it.
    pub address: Ipv6Addr,
    /// Our link-local address on it.
    pub link_local: Ipv6Addr,
    /// Our link-layer address on it.
    pub lla: MacAddr,
    /// The prefix that mobile nodes form addresses from.
    pub prefix: Prefix,
    /// The access points on it.
    pub access_points: Vec<MacAddr>,
}

/// An access link of a neighbouring router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The router's global address on it.
    pub address: Ipv6Addr,
    /// The router's link-layer address on it.
    pub lla: MacAddr,
    /// The prefix that mobile nodes form addresses from.
    pub prefix: Prefix,
    /// The access points on it.
    pub access_points: Vec<MacAddr>,
}

/// The key shared with one mobile node.
#[derive(Clone, PartialEq, Eq)]
pub struct HandoverKey {
    /// The one previous care-of address that it speaks for (SEC-08).
    pub pcoa: Ipv6Addr,
    /// Its index in the BADF option.
    pub spi: u32,
    /// The key itself.
    pub key: Vec<u8>,
}

impl fmt::Debug for HandoverKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoverKey")
            .field("pcoa", &self.pcoa)
            .field("spi", &self.spi)
            .finish_non_exhaustive()
    }
}

/// All that a mobile node must know.
#[derive(Clone, PartialEq, Eq)]
pub struct MobileNodeConfig {
    /// Times and limits.
    pub timers: Timers,
    /// The interface that moves.
    pub interface: InterfaceIndex,
    /// Its link-layer address.
    pub lla: MacAddr,
    /// Its care-of address at the current router.
    pub pcoa: Ipv6Addr,
    /// The current router's global address.
    pub par: Ipv6Addr,
    /// The access point it is attached to, if that is known.
    pub current_access_point: Option<MacAddr>,
    /// The key's index in the BADF option.
    pub spi: u32,
    /// The key shared with the current router.
    pub key: Vec<u8>,
    /// The lifetime asked for in an FBU: whole seconds, 1..=65535.
    pub lifetime: Duration,
}

impl fmt::Debug for MobileNodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MobileNodeConfig")
            .field("timers", &self.timers)
            .field("interface", &self.interface)
            .field("lla", &self.lla)
            .field("pcoa", &self.pcoa)
            .field("par", &self.par)
            .field("current_access_point", &self.current_access_point)
            .field("spi", &self.spi)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
