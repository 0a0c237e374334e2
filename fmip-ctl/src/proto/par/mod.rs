//! One handover as its previous access router sees it.

mod binding;
mod hold;
mod question;
mod request;

use std::{net::Ipv6Addr, time::Duration};

use crate::wire::{HackCode, MacAddr};

use super::{
    Command, HandoverStatus, Instant, InterfaceIndex, Role,
    nar::{Announcement, Leftover, Next},
    neighborhood::Neighborhood,
    router::Context,
};
use binding::Binding;
use hold::Hold;

pub(super) use question::link_address_of;
pub(super) use request::{Acknowledgment, Answer, Request};

/// What can happen to a handover at the PAR.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// A newer FBU.
    Requested(Box<Request>),
    /// The last FBU came once more.
    RequestedTwice,
    /// The NAR's HAck to the last HI.
    Answered {
        code: HackCode,
        ncoa: Option<Ipv6Addr>,
    },
    /// The NAR would like to have an HI.
    Invited,
    /// The NAR does not know what an HI is.
    NotUnderstood,
    /// The mobile node ends the binding.
    Ended {
        /// Whether it is on the link that it left.
        here: bool,
    },
    /// The mobile node comes back here, by a handover.
    Returning {
        /// Whether that handover takes over what stands, as far as [`Handover::is_left_to`] allows.
        inherits: bool,
    },
    /// The link layer says that the mobile node has left.
    Departed {
        link_address: MacAddr,
        lifetime: Duration,
    },
    /// The link layer says that the mobile node is on its link.
    Attached,
    /// Nothing is held any more.
    Drained,
    /// What is held cannot go out.
    DrainFailed,
    /// A deadline was reached.
    Deadline,
    /// A command was not carried out.
    Failed(&'a Command),
    /// The mobile node's key, its link or the NAR is no longer configured.
    Revoked,
    /// The router shuts down.
    Shutdown,
}

/// One handover: what is kept of a mobile node's packets, and the binding that it asked for. There
/// is at least one of them.
#[derive(Debug)]
pub(super) struct Handover {
    pcoa: Ipv6Addr,
    hold: Hold,
    binding: Option<Box<Binding>>,
}

impl Handover {
    /// Of a mobile node that nothing is known of but where it is, or was.
    pub(super) fn new(pcoa: Ipv6Addr, interface: InterfaceIndex, link_address: MacAddr) -> Self {
        Self {
            pcoa,
            hold: Hold::new(pcoa, interface, link_address),
            binding: None,
        }
    }

    /// Takes over the copies that are being made of the mobile node's packets.
    pub(super) fn adopt_copies(&mut self, link_address: MacAddr) {
        self.hold.adopt_copies(link_address);
    }

    /// Takes over what is held for the mobile node from its way here.
    pub(super) fn adopt_leftover(&mut self, leftover: Leftover) {
        self.hold.adopt_leftover(leftover);
    }

    /// Gives them back, if the handover made nothing else of them.
    pub(super) fn yield_copies(&mut self) -> bool {
        self.hold.yield_copies()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let binding = self.binding.as_ref().and_then(|binding| binding.deadline());
        binding.into_iter().chain(self.hold.deadline()).min()
    }

    /// The link that the mobile node is on, or was.
    pub(super) fn interface(&self) -> InterfaceIndex {
        self.hold.interface()
    }

    /// The mobile node's link-layer address.
    pub(super) fn link_address(&self) -> MacAddr {
        match self.request() {
            Some(request) => request.lla,
            None => self.hold.link_address(),
        }
    }

    /// The NAR, as far as there is one.
    pub(super) fn peer(&self) -> Option<Ipv6Addr> {
        self.binding.as_ref().map(|binding| binding.request().peer)
    }

    /// The last FBU.
    pub(super) fn request(&self) -> Option<&Request> {
        self.binding.as_ref().map(|binding| binding.request())
    }

    /// The NAR and the sequence number of the last HI to it.
    pub(super) fn asked(&self) -> Option<(Ipv6Addr, u16)> {
        let binding = self.binding.as_ref()?;
        Some((binding.request().peer, binding.asked()))
    }

    /// Whether the last HI came from this address of ours.
    pub(super) fn asked_from(&self, local: Ipv6Addr) -> bool {
        self.request().is_some_and(|request| request.local == local)
    }

    /// Whether an HI is out.
    pub(super) fn is_awaiting(&self) -> bool {
        self.binding
            .as_ref()
            .is_some_and(|binding| binding.is_awaiting())
    }

    /// Whether `announcement` is about the mobile node that this is the handover of.
    pub(super) fn is_of(&self, announcement: &Announcement) -> bool {
        self.binding
            .as_ref()
            .is_some_and(|binding| binding.is_of(announcement))
    }

    /// Whether a handover that brings the mobile node back takes over what stands here, in one step with
    /// the order to hold its packets: what has not gone out yet must not be lost. `holds`: whether it
    /// holds them in any case.
    pub(super) fn is_left_to(&self, holds: bool) -> bool {
        match self.binding.as_ref().is_some_and(|b| b.has_tunnel()) {
            true => holds || self.hold.has_taken(),
            false => self.hold.deadline().is_some(),
        }
    }

    /// Whether this answer makes the tunnel stand.
    pub(super) fn is_consent(
        &self,
        code: HackCode,
        ncoa: Option<Ipv6Addr>,
        neighborhood: &Neighborhood,
    ) -> bool {
        self.binding
            .as_ref()
            .is_some_and(|binding| binding.is_consent(code, ncoa, neighborhood))
    }

    pub(super) fn handle(&mut self, input: Input<'_>, context: &mut Context<'_>) -> Next {
        match &input {
            // BUF-01: what comes from now on, the mobile node may miss if it does not wait for the
            // answer. What came before it has, for it was there to ask.
            Input::Requested(request) if request.is_predictive() => {
                if let Some(window) = request.copy_window {
                    self.hold.begin_copies_anew(window, context);
                }
            }
            // A tunnel takes the packets with it.
            Input::Departed {
                link_address,
                lifetime,
            } => {
                let bound = self.binding.as_ref().is_some_and(|b| b.has_tunnel());
                if !bound {
                    self.hold.depart(*link_address, *lifetime, context);
                }
            }
            Input::Attached | Input::Ended { here: true } => self.hold.release(context),
            Input::Ended { here: false } => self.hold.remove_held(context),
            Input::Drained => self.hold.drained(context),
            Input::Deadline => self.hold.expire(context),
            Input::Failed(command) => self.hold.failed(command, context),
            Input::DrainFailed if !self.hold.is_empty() => self.hold.remove(context),
            Input::Returning { inherits: true } => self.hold.leave_behind(),
            Input::Returning { inherits: false } | Input::Revoked | Input::Shutdown => {
                self.hold.remove(context);
            }
            _ => {}
        }
        match (&mut self.binding, input) {
            (Some(binding), input) => {
                if binding.handle(input, &mut self.hold, context) == Next::Ends {
                    self.binding = None;
                }
            }
            (none, Input::Requested(request)) => {
                *none = Some(Box::new(Binding::begin(*request, context)));
            }
            (None, _) => {}
        }
        // Copies are the link's again.
        if self.binding.is_none() && self.hold.deadline().is_none() {
            Next::Ends
        } else {
            Next::Stays
        }
    }

    pub(super) fn status(&self) -> HandoverStatus {
        let request = self.request();
        HandoverStatus {
            role: Role::Par,
            state: match &self.binding {
                Some(binding) => binding.state(),
                None => self.hold.state(),
            },
            pcoa: self.pcoa,
            ncoa: self.binding.as_ref().map(|binding| binding.care_of()),
            peer: request.map_or(Ipv6Addr::UNSPECIFIED, |request| request.peer),
            expires_ns: match &self.binding {
                Some(binding) => binding.expires(),
                None => self.hold.deadline(),
            },
        }
    }
}
