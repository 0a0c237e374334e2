//! What the machines want done.

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;

use serde::{Deserialize, Serialize};

use crate::wire::MacAddr;

use super::{Event, Instant, InterfaceIndex};

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// Change the data path or the kernel.
    Command(Command),
    /// Tell people.
    Event(Event),
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transmit {
    /// The link to send on, past any routing and tunnelling of this node's own; `None`: as routed.
    ///
    /// Always present for link-local and multicast destinations, and for the copy of an FBack to
    /// the previous care-of address, which must not enter the tunnel it announces (AMB-08).
    pub interface: Option<InterfaceIndex>,
    /// Where the frame goes on that link, whatever the neighbor table says (NAK-03); `None`: as
    /// resolved.
    pub link_destination: Option<MacAddr>,
    /// The whole IPv6 packet.
    #[serde(with = "super::hex")]
    pub bytes: Bytes,
}

/// The two ends of an IPv6-in-IPv6 tunnel.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// This node's end.
    pub local: Ipv6Addr,
    /// The other end.
    pub remote: Ipv6Addr,
}

/// What a neighbor entry says about reachability (RFC 4861 section 7.3.2).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighborState {
    /// The entry is used, and checked at the first packet: after a UNA (UNA-06).
    Stale,
    /// The neighbor was heard just now: after an FNA (LEG-02).
    Reachable,
}

/// A change to the data path or to the kernel.
///
/// What is installed by one command is removed by exactly one other, even at
/// [`Admin::Shutdown`](super::Admin::Shutdown); a command that failed needs no removal. What a mobile node needs where it
/// arrived, its address and its default router, stays. Repeating an installing command
/// for the same address replaces its parameters, and drops no packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// PAR: tunnels packets for `pcoa` to `ncoa`, and accepts `ncoa`'s reverse tunnel from `pcoa`.
    /// If packets for `pcoa` are held or copied, those go into the tunnel first, in their order,
    /// and [`Input::Drained`](super::Input::Drained) follows.
    InstallTunnel {
        /// Previous care-of address: whose packets.
        pcoa: Ipv6Addr,
        /// The other end of the tunnel: the new care-of address, or the NAR's own if the mobile
        /// node keeps the previous one (HAK-08).
        ncoa: Ipv6Addr,
        /// This end of the tunnel: our address on the link the mobile node leaves (TUN-02).
        local: Ipv6Addr,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// PAR: undoes `InstallTunnel`, unless `StartBuffering` has taken the tunnel's place; what the tunnel
    /// took over and still holds is dropped and counted.
    RemoveTunnel {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
    },
    /// Holds packets for `address`, unless it is another node's (HI-12). If they are held already,
    /// only `expires` changes.
    ///
    /// If they are on their way out, to the link or into a tunnel, that ends: what has not left yet is
    /// held, ahead of what comes now. It takes the tunnel's place in one step, so that no packet meets
    /// neither; if it fails the tunnel stands as before.
    ///
    /// At a NAR `address` is the new care-of address, or the previous one if the mobile node keeps
    /// it; `tunnel` then says where its packets come from and go to. At a PAR it is the address of
    /// a mobile node that left without a word: what is held goes into the tunnel that
    /// `InstallTunnel` makes, or back to the link by `ReleaseBuffer`.
    StartBuffering {
        /// Whose packets.
        address: Ipv6Addr,
        /// The access link that the mobile node will arrive on, or was on.
        interface: InterfaceIndex,
        /// The mobile node's link-layer address.
        link_address: MacAddr,
        /// What comes for `address` out of this tunnel is held and delivered, and what comes from
        /// `address` on `interface` goes into it (HAK-07).
        tunnel: Option<Tunnel>,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// PAR: delivers packets for `address` as ever, and keeps a copy of those of the last `window`
    /// (BUF-01). `InstallTunnel` sends the copies ahead; `StartBuffering` ends the delivery and
    /// goes on holding behind them; `RemoveBuffer` undoes it.
    StartCopying {
        /// Previous care-of address.
        address: Ipv6Addr,
        /// The access link that the mobile node is on.
        interface: InterfaceIndex,
        /// The mobile node's link-layer address.
        link_address: MacAddr,
        /// How old a copy gets.
        window: Duration,
    },
    /// Releases what is held to the mobile node on its link, in order;
    /// [`Input::Drained`](super::Input::Drained) follows.
    ReleaseBuffer {
        /// That of `StartBuffering`.
        address: Ipv6Addr,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// Undoes `StartBuffering` or `StartCopying`; what is still held is dropped and counted. If
    /// `StartBuffering` failed, it undoes the `InstallTunnel` whose place that was to take.
    RemoveBuffer {
        /// That of `StartBuffering` or `StartCopying`.
        address: Ipv6Addr,
    },
    /// NAR: answers neighbor solicitations for `address` in the mobile node's stead (HI-13), unless
    /// it is another node's (HI-12).
    AddProxyNd {
        /// The access link.
        interface: InterfaceIndex,
        /// New care-of address.
        address: Ipv6Addr,
        /// The mobile node's link-layer address: whose the address may be.
        link_address: MacAddr,
    },
    /// NAR: undoes `AddProxyNd`.
    RemoveProxyNd {
        /// The access link.
        interface: InterfaceIndex,
        /// New care-of address.
        address: Ipv6Addr,
    },
    /// NAR: makes a neighbor entry, but not in place of one with another link-layer address
    /// (UNA-11): the address is another node's then. It ages as any other: nothing undoes it.
    AddNeighbor {
        /// The access link.
        interface: InterfaceIndex,
        /// New care-of address, or the previous one if the mobile node keeps it.
        address: Ipv6Addr,
        /// The mobile node's link-layer address.
        link_address: MacAddr,
        /// The state of the entry.
        state: NeighborState,
    },
    /// NAR: makes the kernel send packets for `address` to the access link (HI-16).
    AddHostRoute {
        /// The access link.
        interface: InterfaceIndex,
        /// The previous care-of address, which the mobile node keeps.
        address: Ipv6Addr,
    },
    /// NAR: undoes `AddHostRoute`.
    RemoveHostRoute {
        /// The access link.
        interface: InterfaceIndex,
        /// The previous care-of address.
        address: Ipv6Addr,
    },
    /// PAR: keeps the last FBU sequence number of `pcoa` where it survives a restart (AMB-21).
    StoreSequence {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// The number.
        sequence: u16,
    },
    /// MN: holds packets from `pcoa` until it is known how they leave.
    HoldUplink {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// Where the mobile node is and will be attached.
        interface: InterfaceIndex,
        /// As in `ReleaseUplink`, if it is known already: packets that are too large for it need
        /// not wait to hear so.
        tunnel: Option<Tunnel>,
        /// As in `ReleaseUplink`, if it is known already.
        router_lla: Option<MacAddr>,
        /// When the data path stops by itself.
        expires: Instant,
    },
    /// MN: sends what is held, in order, and from then on each packet at once.
    ReleaseUplink {
        /// Previous care-of address.
        pcoa: Ipv6Addr,
        /// Where the mobile node is attached.
        interface: InterfaceIndex,
        /// From the new care-of address to the PAR; what comes back in it for `pcoa` is accepted.
        /// `None`: the packets need no tunnel, for the mobile node keeps its address.
        tunnel: Option<Tunnel>,
        /// The link-layer address of the router on the link: the next hop.
        router_lla: MacAddr,
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
    /// MN: an address of `ConfigureAddress` is one like any other from now on.
    PreferAddress {
        /// Where.
        interface: InterfaceIndex,
        /// The care-of address.
        address: Ipv6Addr,
    },
    /// MN: keeps the address of a link that it left for as long as its tunnel lives: it does not run
    /// out, and nothing new begins from it.
    KeepAddress {
        /// Where.
        interface: InterfaceIndex,
        /// Previous care-of address.
        address: Ipv6Addr,
    },
    /// MN: undoes `KeepAddress`, for it is on the link of that address again; if it was removed, it is
    /// there again.
    RestoreAddress {
        /// Where.
        interface: InterfaceIndex,
        /// The care-of address, which was the previous one.
        address: Ipv6Addr,
        /// Of the link's prefix, 0..=128.
        prefix_length: u8,
    },
    /// MN: removes an address of `ConfigureAddress` or `KeepAddress`, which leads nowhere here or is
    /// another node's. One that the people who run this node have given it stays as it is kept.
    RemoveAddress {
        /// Where.
        interface: InterfaceIndex,
        /// The address.
        address: Ipv6Addr,
    },
    /// MN: makes the NAR its default router, before the link is there. It stays that as long as
    /// the mobile node is behind it, beyond the end of the binding.
    SetDefaultRouter {
        /// Where.
        interface: InterfaceIndex,
        /// The NAR's address.
        router: Ipv6Addr,
        /// The NAR's link-layer address: needs no neighbor discovery. `None`: the one that the
        /// kernel knows of this router, which is kept from being forgotten while the carrier is
        /// gone.
        link_address: Option<MacAddr>,
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
            Self::StartCopying { .. } => "start-copying",
            Self::ReleaseBuffer { .. } => "release-buffer",
            Self::RemoveBuffer { .. } => "remove-buffer",
            Self::AddProxyNd { .. } => "add-proxy-nd",
            Self::RemoveProxyNd { .. } => "remove-proxy-nd",
            Self::AddNeighbor { .. } => "add-neighbor",
            Self::AddHostRoute { .. } => "add-host-route",
            Self::RemoveHostRoute { .. } => "remove-host-route",
            Self::StoreSequence { .. } => "store-sequence",
            Self::HoldUplink { .. } => "hold-uplink",
            Self::ReleaseUplink { .. } => "release-uplink",
            Self::RemoveUplink { .. } => "remove-uplink",
            Self::ConfigureAddress { .. } => "configure-address",
            Self::PreferAddress { .. } => "prefer-address",
            Self::KeepAddress { .. } => "keep-address",
            Self::RestoreAddress { .. } => "restore-address",
            Self::RemoveAddress { .. } => "remove-address",
            Self::SetDefaultRouter { .. } => "set-default-router",
            Self::ForgetRouter { .. } => "forget-router",
            Self::SwitchLink { .. } => "switch-link",
        }
    }
}
