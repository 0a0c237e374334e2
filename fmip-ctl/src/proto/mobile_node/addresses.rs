//! The addresses of the mobile node: which one something new may begin from, which are kept for
//! their tunnels, and which it needs no more.
//!
//! # When what is used
//! The address that it came with is kept as long as the tunnel from it lives: its lifetimes do not run
//! out, but nothing new begins from it, for it will go. The new care-of address is not used towards
//! correspondents before their binding exists (TUN-07): it becomes an address like any other when
//! Mobile IPv6 has registered it ([`Admin::Registered`](super::Admin::Registered)), or when no tunnel
//! from an earlier address lives any more. Then nothing but it works, whoever was told about it, and a
//! mobile node without Mobile IPv6 would otherwise be left without an address to begin from. When its
//! tunnel has ended, an address of a link that was left is of no use, and is removed; so is one that
//! never got a tunnel, for the move was no fast one.

use std::net::Ipv6Addr;

use super::{
    Command, Event, MobileNode, Owner, discovery::IID_BITS, place::Destination, uplink::Way,
};

/// What was ordered about addresses.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Those that it has: it came with them, or they were configured or restored; and not removed.
    present: Vec<Ipv6Addr>,
    /// That of them which nothing begins from yet.
    waiting: Option<Ipv6Addr>,
    /// Those of links that were left, kept for their tunnels.
    kept: Vec<Ipv6Addr>,
    /// Those that were removed, of the links that it remembers. A router that takes back what it
    /// granted makes one of them the address in use again.
    removed: Vec<Ipv6Addr>,
    /// The care-of address that Mobile IPv6 was told last.
    told: Ipv6Addr,
    /// The care-of address that Mobile IPv6 has registered.
    registered: Option<Ipv6Addr>,
}

impl Addresses {
    pub(super) fn new(pcoa: Ipv6Addr) -> Self {
        Self {
            present: vec![pcoa],
            waiting: None,
            kept: Vec::new(),
            removed: Vec::new(),
            told: pcoa,
            registered: None,
        }
    }
}

impl MobileNode {
    /// Gives the mobile node the address that it has at `destination`.
    pub(super) fn configure(&mut self, destination: &Destination) {
        self.add_address(destination.ncoa, destination.router.prefix.length());
    }

    fn add_address(&mut self, address: Ipv6Addr, prefix_length: u8) {
        self.addresses.removed.retain(|of| *of != address);
        if !self.addresses.present.contains(&address) {
            self.addresses.present.push(address);
        }
        self.addresses.waiting = Some(address);
        let configure = Command::ConfigureAddress {
            interface: self.config.interface,
            address,
            prefix_length,
        };
        self.outbox.command(Owner::Rest, configure);
    }

    /// An address that was refused: to go on having it would be to answer for another node.
    pub(super) fn abandon_address(&mut self, address: Ipv6Addr) {
        let present = &mut self.addresses.present;
        let before = present.len();
        present.retain(|of| *of != address);
        if present.len() == before {
            return; // it was never more than announced
        }
        self.addresses.waiting.take_if(|of| *of == address);
        self.addresses.kept.retain(|of| *of != address);
        self.remove_address(address);
        self.give_up_tunnel(address);
    }

    /// An address could not be configured, and is not there.
    pub(super) fn forget_address(&mut self, address: Ipv6Addr) {
        self.addresses.present.retain(|of| *of != address);
        self.addresses.waiting.take_if(|of| *of == address);
        self.addresses.kept.retain(|of| *of != address);
        // What was to follow, follows on nothing.
        self.outbox.take_back(|command| match *command {
            Command::PreferAddress { address: of, .. }
            | Command::KeepAddress { address: of, .. }
            | Command::RemoveAddress { address: of, .. } => of == address,
            _ => false,
        });
        self.give_up_tunnel(address);
    }

    /// An earlier address that the mobile node cannot have again: nothing begins from it, and nothing that
    /// comes for it is taken.
    fn give_up_tunnel(&mut self, address: Ipv6Addr) {
        if address != self.origin.pcoa && self.has_tunnel(address) {
            self.lose_uplink(address);
        }
    }

    /// Back on the link of this address, which may have been removed meanwhile.
    pub(super) fn restore_address(&mut self, address: Ipv6Addr) {
        self.addresses.kept.retain(|of| *of != address);
        self.addresses.waiting.take_if(|of| *of == address);
        self.addresses.removed.retain(|of| *of != address);
        if !self.addresses.present.contains(&address) {
            self.addresses.present.push(address);
        }
        let restore = Command::RestoreAddress {
            interface: self.config.interface,
            address,
            prefix_length: self.origin.prefix_length,
        };
        self.outbox.command(Owner::Rest, restore);
    }

    /// Mobile IPv6 has registered this address.
    pub(super) fn note_registered(&mut self, care_of: Ipv6Addr) {
        self.addresses.registered = Some(care_of);
    }

    pub(super) fn is_registered(&self, care_of: Ipv6Addr) -> bool {
        self.addresses.registered == Some(care_of)
    }

    /// Whether packets from an earlier address go through a tunnel, or come through one.
    fn has_tunnel(&self, pcoa: Ipv6Addr) -> bool {
        let uplink = self.uplink(pcoa);
        uplink.is_some_and(|uplink| matches!(uplink.way, Way::Tunnel(_)))
    }

    /// Orders what follows from where it is now. While it is on its way nothing follows: where it comes
    /// up decides.
    pub(super) fn settle_addresses(&mut self) {
        if !self.link_up || !self.is_settled() {
            return;
        }
        let here = self.origin.pcoa;
        if self.addresses.removed.contains(&here)
            || (self.elsewhere.is_none() && self.addresses.kept.contains(&here))
        {
            self.restore_address(here);
        }
        if self.elsewhere.is_none() {
            let mut uplinks = self.uplinks.iter();
            let tunnelled = uplinks
                .by_ref()
                .filter(|uplink| uplink.pcoa != here && matches!(uplink.way, Way::Tunnel(_)));
            let tunnelled: Vec<Ipv6Addr> = tunnelled.map(|uplink| uplink.pcoa).collect();
            for address in &tunnelled {
                self.keep_address(*address);
            }
            let registered = self.is_registered(here);
            if self.addresses.waiting == Some(here) && (registered || tunnelled.is_empty()) {
                self.addresses.waiting = None;
                let interface = self.config.interface;
                let prefer = Command::PreferAddress {
                    interface,
                    address: here,
                };
                self.outbox.command(Owner::Rest, prefer);
            }
        }
        self.drop_addresses(here);
        self.tell_care_of(here);
    }

    fn keep_address(&mut self, address: Ipv6Addr) {
        if self.addresses.kept.contains(&address) {
            return;
        }
        if self.addresses.removed.contains(&address) {
            let mut past = self.past.iter();
            let past = past.find(|past| past.pcoa == address);
            let prefix_length = past.map_or(IID_BITS, |past| past.prefix_length);
            let waiting = self.addresses.waiting;
            self.add_address(address, prefix_length);
            self.addresses.waiting = waiting;
        }
        if !self.addresses.present.contains(&address) {
            return; // Another node has it, too.
        }
        self.addresses.kept.push(address);
        let interface = self.config.interface;
        let keep = Command::KeepAddress { interface, address };
        self.outbox.command(Owner::Rest, keep);
    }

    /// Removes addresses of other links that lead nowhere.
    fn drop_addresses(&mut self, here: Ipv6Addr) {
        let in_use = |address: &Ipv6Addr| {
            *address == here
                || self.uplink(*address).is_some()
                || self.handover_needs(*address)
                || self.announces(*address)
        };
        let (present, kept) = (&self.addresses.present, &self.addresses.kept);
        let candidates = kept.iter().chain(present);
        let mut useless: Vec<Ipv6Addr> = candidates.filter(|of| !in_use(of)).copied().collect();
        useless.sort_unstable();
        useless.dedup();
        for address in useless {
            // One that something may begin from may be the kernel's, or that of the people who run this
            // node: only what is kept can be removed, or gets back at the end what it had.
            if self
                .addresses
                .waiting
                .take_if(|of| *of == address)
                .is_none()
            {
                self.keep_address(address);
            }
            self.addresses.present.retain(|of| *of != address);
            self.addresses.kept.retain(|of| *of != address);
            if self.past.iter().any(|past| past.pcoa == address) {
                self.addresses.removed.push(address);
            }
            self.remove_address(address);
        }
        let past = &self.past;
        let remembered = |address: &Ipv6Addr| past.iter().any(|past| past.pcoa == *address);
        self.addresses.removed.retain(remembered);
    }

    /// Whether the FBU that is out is for this address.
    fn handover_needs(&self, address: Ipv6Addr) -> bool {
        let handover = self.handover.as_ref();
        handover.is_some_and(|handover| handover.phase.ncoa() == Some(address))
    }

    fn announces(&self, address: Ipv6Addr) -> bool {
        let announced = self.announced.as_ref();
        announced.is_some_and(|announced| announced.ncoa == address)
    }

    fn remove_address(&mut self, address: Ipv6Addr) {
        let interface = self.config.interface;
        let remove = Command::RemoveAddress { interface, address };
        self.outbox.command(Owner::Rest, remove);
    }

    /// Tells Mobile IPv6 what it is to register.
    fn tell_care_of(&mut self, care_of: Ipv6Addr) {
        let previous = std::mem::replace(&mut self.addresses.told, care_of);
        if previous == care_of {
            return;
        }
        self.addresses.registered = None;
        let event = Event::CareOfAddress {
            care_of,
            previous,
            router: self.link().router,
            prefix_length: self.origin.prefix_length,
            fast: self.has_tunnel(previous),
        };
        self.outbox.event(None, event);
    }
}
