//! What the machines tell people.

use std::net::Ipv6Addr;

use serde::Serialize;

use crate::wire::MacAddr;

use super::{Instant, Reason};

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
    /// MN: an earlier handover does not end as it should: its router does not answer the FBU that ends its
    /// tunnel, which then lasts until its lifetime ends; or what was held for its address cannot leave. The
    /// handover that is under way, if there is one, goes on.
    EndingFailed {
        /// Why.
        reason: Failure,
    },
    /// MN: nothing but an ordinary Binding Update (RFC 6275 section 11.7.1) completes this move.
    FellBack {
        /// The care-of address to register.
        care_of: Ipv6Addr,
    },
    /// MN: it has another care-of address from now on, which Mobile IPv6 is to register.
    CareOfAddress {
        /// The care-of address.
        care_of: Ipv6Addr,
        /// The one before.
        previous: Ipv6Addr,
        /// The router of the link; global where it is known to be.
        router: Ipv6Addr,
        /// Of the link's prefix.
        prefix_length: u8,
        /// Whether packets for the previous one still come, through a tunnel.
        fast: bool,
    },
    /// MN: addresses come from DHCP here (PRA-23); for now the previous one goes on working.
    DhcpNeeded {
        /// The router.
        router: Ipv6Addr,
    },
    /// PAR: a mobile node was told to move.
    HandoverOrdered {
        /// Its address.
        pcoa: Ipv6Addr,
        /// Where to.
        access_point: MacAddr,
    },
    /// PAR: a mobile node was not told what it was to be told.
    OrderRefused {
        /// Its address.
        pcoa: Ipv6Addr,
        /// Why.
        reason: Reason,
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
    /// NAR: a mobile node was told that it cannot have the address that it announced.
    NaackSent {
        /// That address.
        ncoa: Ipv6Addr,
        /// What it was told (RFC 5568 section 6.4.6).
        status: u8,
    },
    /// PAR: the tunnel was ordered.
    TunnelInstalled {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// New care-of address.
        ncoa: Ipv6Addr,
    },
    /// PAR: the tunnel's removal was ordered. MN: the tunnel from an earlier address has ended.
    TunnelRemoved {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// Why.
        reason: Removal,
    },
    /// Packets are held: for the new care-of address, or at the PAR for the previous one of a mobile
    /// node that left without a word.
    BufferStarted {
        /// The address.
        ncoa: Ipv6Addr,
    },
    /// Held packets are being released.
    BufferReleased {
        /// The address.
        ncoa: Ipv6Addr,
    },
    /// The mobile node did not come, or its packets could not be released, in time.
    BufferExpired {
        /// The address.
        ncoa: Ipv6Addr,
    },
    /// A command could not be carried out.
    CommandFailed {
        /// [`Command::name`](super::Command::name).
        command: &'static str,
        /// What went wrong.
        error: String,
    },
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
    /// The mobile node's key, its link or the NAR is no longer configured.
    Revoked,
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
    /// No key is shared with the router that would have to be asked (SEC-05).
    NoHandoverKey,
    /// No router answered, or none that gives addresses.
    NoAddress,
    /// The binding ended before the new link came up.
    Expired,
    /// A command failed.
    CommandFailed,
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
    /// The other router (of an access router; `::` while there is none), or the PAR (of a mobile
    /// node).
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
