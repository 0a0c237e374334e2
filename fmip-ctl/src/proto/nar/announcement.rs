//! What an HI announces, and which address its mobile node is given here.

use std::net::Ipv6Addr;

use crate::wire::{HackCode, MacAddr};

use super::super::{InterfaceIndex, Reason, Tunnel};

/// An HI that was found to be in order, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Announcement {
    /// The PAR.
    pub(in super::super) peer: Ipv6Addr,
    /// The address of ours that the PAR wrote to.
    pub(in super::super) local: Ipv6Addr,
    pub(in super::super) sequence: u16,
    /// The PAR listens only to the holder of the key of this address.
    pub(in super::super) pcoa: Ipv6Addr,
    /// What the HI proposes.
    pub(in super::super) ncoa: Option<Ipv6Addr>,
    /// The mobile node's.
    pub(in super::super) lla: MacAddr,
    /// The access link that it comes to.
    pub(in super::super) interface: InterfaceIndex,
    /// Whether the PAR wants packets held ('U').
    pub(in super::super) buffer: bool,
    /// Whether the PAR wants an address assigned ('S').
    pub(in super::super) assign: bool,
    /// Whether the mobile node moved before its PAR knew (Code 1).
    pub(in super::super) moved: bool,
    /// Where a kept previous care-of address's packets come from and go to.
    pub(in super::super) tunnel: Tunnel,
    /// The address that it has here.
    pub(in super::super) grant: Grant,
    /// How many others were tried before.
    pub(in super::super) attempts: u8,
}

/// The address that a mobile node has here, by the word of this router.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Grant {
    /// Its own proposal.
    Proposed(Ipv6Addr),
    /// One that we give it (HI-15).
    Assigned(Ipv6Addr),
    /// The previous care-of address (HI-16).
    Kept(Ipv6Addr),
}

impl Grant {
    pub(in super::super) fn address(self) -> Ipv6Addr {
        match self {
            Self::Proposed(address) | Self::Assigned(address) | Self::Kept(address) => address,
        }
    }
}

impl Announcement {
    /// The address that the mobile node has here.
    pub(in super::super) fn address(&self) -> Ipv6Addr {
        self.grant.address()
    }

    /// The source, the destination and the number of the answer (HAK-01).
    pub(in super::super) fn answers_to(&self) -> (Ipv6Addr, Ipv6Addr, u16) {
        (self.local, self.peer, self.sequence)
    }

    /// What the answer says if the address is another node's.
    pub(in super::super) fn in_use(&self) -> (HackCode, Reason) {
        let code = match self.moved {
            false => HackCode::NcoaInUse,
            true => HackCode::Unspecified, // HAK-05
        };
        (code, Reason::NcoaInUse)
    }

    /// Whether nothing is to be held for a mobile node that is yet to come (MOV-06).
    pub(super) fn calls_off(&self) -> bool {
        !self.buffer && !self.moved
    }

    /// Whether the PAR sent `other` shortly before this one.
    pub(super) fn overtook(&self, other: &Self) -> bool {
        const SHORTLY: u16 = 16;
        let between = self.sequence.wrapping_sub(other.sequence);
        self.peer == other.peer && (1..SHORTLY).contains(&between)
    }

    /// Whether `other` is the same HI: the numbers of two PARs have nothing to do with each other.
    pub(super) fn is_same_question(&self, other: &Self) -> bool {
        self.sequence == other.sequence && self.same_node(other)
    }

    /// Whether both are about the same mobile node on the same link, by the word of the same PAR.
    pub(in super::super) fn same_node(&self, other: &Self) -> bool {
        let key = |a: &Self| (a.peer, a.pcoa, a.lla, a.interface);
        key(self) == key(other)
    }
}
