//! The books of the uplink: what is held, and how it leaves.

use std::net::Ipv6Addr;

use crate::wire::MacAddr;

use super::{
    super::{Removal, Tunnel},
    Command, Event, Failure, HandoverStatus, Instant, MobileNode, Output, Owner, Phase, Role,
};

/// What was ordered for packets from one address.
#[derive(Clone, Debug)]
pub(super) struct Uplink {
    pub(super) pcoa: Ipv6Addr,
    pub(super) par: Ipv6Addr,
    pub(super) way: Way,
    /// When the data path stops by itself.
    expires: Instant,
    /// Whether they wait.
    held: bool,
    /// Whether they did before the last order to hold them.
    held_before: bool,
    /// Whether they ever left since the uplink was ordered.
    was_released: bool,
    /// How many commands to hold them were polled and, as far as is known, carried out.
    holds: u32,
}

/// How packets leave.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Nobody knows yet.
    Open,
    /// Through the reverse tunnel to the PAR (TUN-03).
    Tunnel(Tunnel),
    /// As they are, on the link of their address.
    Plain,
    /// As they are, by the router of another link (AMB-18).
    Kept,
}

impl Way {
    pub(super) fn tunnel(self) -> Option<Tunnel> {
        match self {
            Self::Tunnel(tunnel) => Some(tunnel),
            Self::Open | Self::Plain | Self::Kept => None,
        }
    }
}

impl Uplink {
    /// When the data path stops by itself.
    pub(super) fn expires(&self) -> Instant {
        self.expires
    }

    /// The binding behind it, if one is in force.
    pub(super) fn status(&self) -> Option<HandoverStatus> {
        let ncoa = match self.way {
            Way::Tunnel(tunnel) => tunnel.local,
            Way::Kept => self.pcoa,
            Way::Open | Way::Plain => return None,
        };
        Some(HandoverStatus {
            role: Role::MobileNode,
            state: "arrived",
            pcoa: self.pcoa,
            ncoa: Some(ncoa),
            peer: self.par,
            expires_ns: Some(self.expires),
        })
        .filter(|_| self.was_released)
    }
}

impl MobileNode {
    /// Holds what is sent from any address, until [`Self::release_uplinks`].
    ///
    /// What goes inside another uplink is held before it gets there, for where the mobile node comes
    /// up may be where no outer one is needed.
    pub(super) fn hold_uplinks(&mut self, now: Instant) {
        if self.uplink(self.origin.pcoa).is_none() {
            let expires = now + self.patience();
            self.add_uplink(Way::Open, expires);
        }
        let pcoas: Vec<Ipv6Addr> = self.uplinks.iter().map(|uplink| uplink.pcoa).collect();
        for pcoa in pcoas {
            if !self.is_held(pcoa) {
                self.hold(pcoa, None);
            }
        }
    }

    /// Holds what is sent from the address in use, and says how it will leave; and the rest.
    pub(super) fn prepare_uplink(
        &mut self,
        now: Instant,
        way: Way,
        router_lla: MacAddr,
        expires: Instant,
    ) {
        let pcoa = self.origin.pcoa;
        match self.uplink(pcoa) {
            Some(_) => self.set_way(pcoa, way, expires),
            None => self.add_uplink(way, expires),
        }
        // Even if they are held already: they have longer to wait now, and another way.
        self.hold(pcoa, Some(router_lla));
        self.hold_uplinks(now);
    }

    /// Takes packets for the address in use out of the tunnel that an FBU asks for: what the PAR has
    /// held may be here before its FBack is; and what the new router has held, if it was asked to and its
    /// answer was not heard, as soon as `care_of` is announced. What is sent is still held.
    pub(super) fn expect_tunnel(&mut self, care_of: Ipv6Addr) {
        // There will be no FBU.
        if self.key().is_none() {
            return;
        }
        let pcoa = self.origin.pcoa;
        let (tunnel, router_lla) = (self.tunnel(care_of), self.link().router_lla);
        let uplink = self.uplinks.iter_mut().find(|uplink| uplink.pcoa == pcoa);
        let Some(uplink) = uplink.filter(|uplink| uplink.held) else {
            return;
        };
        let hold = Command::HoldUplink {
            pcoa,
            interface: self.config.interface,
            tunnel: Some(tunnel),
            router_lla,
            expires: uplink.expires,
        };
        uplink.held_before = true;
        self.outbox.command(Owner::Uplink(pcoa), hold);
    }

    fn add_uplink(&mut self, way: Way, expires: Instant) {
        self.uplinks.push(Uplink {
            pcoa: self.origin.pcoa,
            par: self.origin.par,
            way,
            expires,
            held: false,
            held_before: false,
            was_released: false,
            holds: 0,
        });
    }

    fn hold(&mut self, pcoa: Ipv6Addr, router_lla: Option<MacAddr>) {
        let uplink = self.uplinks.iter_mut().find(|uplink| uplink.pcoa == pcoa);
        let Some(uplink) = uplink else {
            return;
        };
        let hold = Command::HoldUplink {
            pcoa,
            interface: self.config.interface,
            tunnel: uplink.way.tunnel(),
            router_lla,
            expires: uplink.expires,
        };
        uplink.held_before = std::mem::replace(&mut uplink.held, true);
        self.outbox.command(Owner::Uplink(pcoa), hold);
    }

    /// Says how packets from `pcoa` will leave.
    pub(super) fn set_way(&mut self, pcoa: Ipv6Addr, way: Way, expires: Instant) {
        let uplink = self.uplinks.iter_mut().find(|uplink| uplink.pcoa == pcoa);
        if let Some(uplink) = uplink {
            (uplink.way, uplink.expires) = (way, expires);
        }
    }

    /// Lets go what is held, on the link that the mobile node is on. The uplinks that lead nowhere
    /// from there are removed: no router takes an address of another link for long.
    pub(super) fn release_uplinks(&mut self, now: Instant) {
        if self.is_settled() {
            let way = match self.elsewhere {
                None => Way::Plain,
                Some(_) => Way::Kept,
            };
            let patience = now + self.patience();
            let here = self.origin.pcoa;
            let uplink = self.uplinks.iter_mut().find(|uplink| uplink.pcoa == here);
            if let Some(uplink) = uplink
                && uplink.way != way
            {
                uplink.way = way;
                uplink.expires = uplink.expires.max(patience);
            }
        }
        self.prune_uplinks();
        let Some(router_lla) = self.link().router_lla else {
            // Nobody knows whom to send it to but the kernel.
            let stuck: Vec<Ipv6Addr> = self.held().collect();
            return stuck.into_iter().for_each(|pcoa| self.remove_uplink(pcoa));
        };
        let interface = self.config.interface;
        // The outer ones first: what is inside waits for them.
        for uplink in self.uplinks.iter_mut().rev() {
            if !std::mem::replace(&mut uplink.held, false) {
                continue;
            }
            uplink.was_released = true;
            let release = Command::ReleaseUplink {
                pcoa: uplink.pcoa,
                interface,
                tunnel: uplink.way.tunnel(),
                router_lla,
                expires: uplink.expires,
            };
            self.outbox.command(Owner::Uplink(uplink.pcoa), release);
        }
    }

    /// Removes uplinks that go through a tunnel whose end is not here, nor inside one that is.
    fn prune_uplinks(&mut self) {
        let mut ends = vec![self.origin.pcoa];
        let mut lost = Vec::new();
        // An uplink's tunnel ends at an address that is newer than its own, except on the way back:
        // so once more for each.
        for _ in 0..self.uplinks.len() {
            lost.clear();
            for uplink in &self.uplinks {
                let leads_out = match uplink.way {
                    Way::Tunnel(tunnel) => ends.contains(&tunnel.local),
                    Way::Plain | Way::Kept => uplink.pcoa == self.origin.pcoa,
                    Way::Open => false,
                };
                match leads_out {
                    true => ends.push(uplink.pcoa),
                    false => lost.push(uplink.pcoa),
                }
            }
        }
        for pcoa in lost {
            self.remove_uplink(pcoa);
        }
    }

    /// Nothing is held any more: what needed no tunnel needs no uplink either.
    pub(super) fn handle_drained(&mut self, address: Ipv6Addr) {
        if let Some(uplink) = self.uplink(address)
            && uplink.way == Way::Plain
            && !uplink.held
        {
            self.remove_uplink(address);
        }
    }

    pub(super) fn uplink_deadline(&self) -> Option<Instant> {
        self.uplinks.iter().map(|uplink| uplink.expires).min()
    }

    pub(super) fn expire_uplinks(&mut self, now: Instant) {
        let over = |uplink: &&Uplink| uplink.expires <= now;
        let over: Vec<Ipv6Addr> = self.uplinks.iter().filter(over).map(|of| of.pcoa).collect();
        for pcoa in over {
            let tunnelled = self.uplink(pcoa).and_then(Uplink::status);
            let tunnelled = tunnelled.filter(|of| of.ncoa != Some(pcoa));
            self.remove_uplink(pcoa);
            if tunnelled.is_some() {
                let reason = Removal::Expired;
                self.outbox
                    .event(None, Event::TunnelRemoved { pcoa, reason });
            }
            let phase = self.handover.as_ref().map(|handover| &handover.phase);
            let in_transit = matches!(phase, Some(Phase::Switching(_) | Phase::Adrift(_)));
            if pcoa == self.origin.pcoa && in_transit {
                self.fail(now, Failure::Expired);
            }
        }
        // While packets are held, where they will be released decides.
        if self.held().next().is_none() {
            self.prune_uplinks();
        }
    }

    /// Notes a command that is being carried out.
    pub(super) fn note_polled(&mut self, output: &Output) {
        if let Output::Command(Command::HoldUplink { pcoa, .. }) = output {
            let uplink = self.uplinks.iter_mut().find(|uplink| uplink.pcoa == *pcoa);
            if let Some(uplink) = uplink {
                uplink.holds = uplink.holds.saturating_add(1);
            }
        }
    }

    /// Packets could not be held, or be taken out of `tunnel`.
    pub(super) fn handle_hold_failure(&mut self, now: Instant, pcoa: Ipv6Addr) {
        let uplink = self.uplinks.iter_mut().find(|uplink| uplink.pcoa == pcoa);
        if let Some(uplink) = uplink {
            // Those that stood before go on as they did.
            uplink.holds = uplink.holds.saturating_sub(1);
            uplink.held = uplink.held_before;
            if uplink.holds == 0 {
                self.outbox.withdraw(Owner::Uplink(pcoa));
                self.uplinks.retain(|uplink| uplink.pcoa != pcoa);
            }
        }
        // Without it the move would lose what the application sends: it stays where it is.
        let phase = self.handover.as_ref().map(|handover| &handover.phase);
        if matches!(phase, Some(Phase::Switching(_))) {
            let withdrawn = self.outbox.withdraw(Owner::Departure);
            self.withdraw_router(&withdrawn);
            self.fail(now, Failure::CommandFailed);
        }
    }

    /// What is held for `pcoa` cannot leave, and must not wait for ever.
    pub(super) fn lose_uplink(&mut self, pcoa: Ipv6Addr) {
        if self.uplink(pcoa).is_some() {
            self.remove_uplink(pcoa);
            let reason = Failure::CommandFailed;
            self.outbox.event(None, Event::EndingFailed { reason });
        }
    }

    pub(super) fn remove_uplinks(&mut self) {
        while let Some(pcoa) = self.uplinks.last().map(|uplink| uplink.pcoa) {
            self.remove_uplink(pcoa);
        }
    }

    pub(super) fn remove_uplink(&mut self, pcoa: Ipv6Addr) {
        let Some(index) = self.uplinks.iter().position(|of| of.pcoa == pcoa) else {
            return;
        };
        self.endings.forget(pcoa);
        let holds = self.uplinks.remove(index).holds;
        // What nobody heard of yet needs no undoing, but for what it took the place of.
        let unsaid = self.outbox.withdraw(Owner::Uplink(pcoa));
        if holds > 0 || unsaid.contains(&Command::RemoveUplink { pcoa }) {
            self.outbox
                .command(Owner::Uplink(pcoa), Command::RemoveUplink { pcoa });
        }
    }

    pub(super) fn uplink(&self, pcoa: Ipv6Addr) -> Option<&Uplink> {
        self.uplinks.iter().find(|uplink| uplink.pcoa == pcoa)
    }

    fn is_held(&self, pcoa: Ipv6Addr) -> bool {
        self.uplink(pcoa).is_some_and(|uplink| uplink.held)
    }

    /// The addresses whose packets wait.
    fn held(&self) -> impl Iterator<Item = Ipv6Addr> {
        let held = self.uplinks.iter().filter(|uplink| uplink.held);
        held.map(|uplink| uplink.pcoa)
    }
}
