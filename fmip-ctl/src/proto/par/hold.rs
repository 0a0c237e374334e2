//! What the PAR keeps of a mobile node's packets while nobody knows where it is: copies as long as
//! it may still be there, all of them once it has left (RFC 5568 section 4).

use std::{net::Ipv6Addr, time::Duration};

use crate::wire::MacAddr;

use super::super::{
    Command, Event, Instant, InterfaceIndex,
    nar::Leftover,
    router::{Context, HandoverId},
};

/// What is kept for one address.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pcoa: Ipv6Addr,
    interface: InterfaceIndex,
    link_address: MacAddr,
    kept: Kept,
    /// What the tunnel took over; it comes back if the tunnel does not stand after all.
    taken: Kept,
}

/// How packets are kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kept {
    /// Not at all, or by the tunnel.
    No,
    /// Copies, beside the delivery.
    Copies,
    /// Instead of the delivery.
    Held {
        until: Instant,
        /// Behind copies that were made before.
        copies: bool,
    },
    /// Those that were held are on their way to the link, until then.
    Released(Instant),
}

impl Hold {
    /// Keeps nothing yet.
    pub(super) fn new(pcoa: Ipv6Addr, interface: InterfaceIndex, link_address: MacAddr) -> Self {
        Self {
            pcoa,
            interface,
            link_address,
            kept: Kept::No,
            taken: Kept::No,
        }
    }

    /// Takes over copies that are being made already.
    pub(super) fn adopt_copies(&mut self, link_address: MacAddr) {
        self.link_address = link_address;
        self.kept = Kept::Copies;
    }

    /// Takes over what is held from the mobile node's way here.
    pub(super) fn adopt_leftover(&mut self, leftover: Leftover) {
        let until = leftover.until;
        let copies = false;
        self.kept = match leftover.released {
            true => Kept::Released(until),
            false => Kept::Held { until, copies },
        };
    }

    /// Hands over the copies that are being made, as long as nothing else is kept.
    pub(super) fn yield_copies(&mut self) -> bool {
        let copies = self.kept == Kept::Copies;
        if copies {
            self.kept = Kept::No;
        }
        copies
    }

    pub(super) fn interface(&self) -> InterfaceIndex {
        self.interface
    }

    pub(super) fn link_address(&self) -> MacAddr {
        self.link_address
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept == Kept::No
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.kept {
            Kept::No | Kept::Copies => None,
            Kept::Held { until, .. } | Kept::Released(until) => Some(until),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        match self.kept {
            Kept::No | Kept::Copies => "attached",
            Kept::Held { .. } => "departed",
            Kept::Released(_) => "returned",
        }
    }

    /// The mobile node is still there, for it has just written: what was copied before, it has.
    pub(super) fn begin_copies_anew(&mut self, window: Duration, context: &mut Context<'_>) {
        if self.kept == Kept::Copies {
            let address = self.pcoa;
            context.command(self.id(), Command::RemoveBuffer { address });
            let command = Command::StartCopying {
                address,
                interface: self.interface,
                link_address: self.link_address,
                window,
            };
            context.command(self.id(), command);
        }
    }

    /// The mobile node has left: everything is held, behind the copies if there are some.
    pub(super) fn depart(
        &mut self,
        link_address: MacAddr,
        lifetime: Duration,
        context: &mut Context<'_>,
    ) {
        let copies = match self.kept {
            Kept::No => false,
            Kept::Copies => true,
            Kept::Held { .. } | Kept::Released(_) => return,
        };
        self.link_address = link_address;
        let expires = context.now + lifetime;
        self.kept = Kept::Held {
            until: expires,
            copies,
        };
        let command = Command::StartBuffering {
            address: self.pcoa,
            interface: self.interface,
            link_address,
            tunnel: None,
            expires,
        };
        context.command(self.id(), command);
        context.event(self.id(), Event::BufferStarted { ncoa: self.pcoa });
    }

    /// The mobile node is on its link again.
    pub(super) fn release(&mut self, context: &mut Context<'_>) {
        let Kept::Held { .. } = self.kept else {
            return;
        };
        let expires = context.now + context.config.timers.max_binding_lifetime;
        self.kept = Kept::Released(expires);
        let address = self.pcoa;
        context.command(self.id(), Command::ReleaseBuffer { address, expires });
        context.event(self.id(), Event::BufferReleased { ncoa: address });
    }

    /// Nothing is held any more. What was on its way into the buffer has a while to follow.
    pub(super) fn drained(&mut self, context: &mut Context<'_>) {
        if let Kept::Released(until) = self.kept {
            let soon = context.now + context.config.timers.proxy_nd_lifetime;
            self.kept = Kept::Released(until.min(soon));
        }
    }

    /// BUF-02: the tunnel takes over what is kept; it goes ahead of what comes now.
    pub(super) fn hand_to_tunnel(&mut self) {
        self.taken = std::mem::replace(&mut self.kept, Kept::No);
    }

    /// What the tunnel took over is gone.
    pub(super) fn forget_taken(&mut self) {
        self.taken = Kept::No;
    }

    /// The tunnel does not stand.
    pub(super) fn take_from_tunnel(&mut self) {
        self.kept = std::mem::replace(&mut self.taken, Kept::No);
    }

    /// BUF-06: nothing is held beyond its time.
    pub(super) fn expire(&mut self, context: &mut Context<'_>) {
        if self.deadline().is_some_and(|until| until <= context.now) {
            let held = matches!(self.kept, Kept::Held { .. });
            self.remove(context);
            if held {
                context.event(self.id(), Event::BufferExpired { ncoa: self.pcoa });
            }
        }
    }

    /// Holds nothing any more; copies are the link's matter.
    pub(super) fn remove_held(&mut self, context: &mut Context<'_>) {
        if self.kept != Kept::Copies {
            self.remove(context);
        }
    }

    /// Keeps nothing any more.
    pub(super) fn remove(&mut self, context: &mut Context<'_>) {
        if std::mem::replace(&mut self.kept, Kept::No) != Kept::No {
            let address = self.pcoa;
            context.command(self.id(), Command::RemoveBuffer { address });
        }
    }

    /// A command was not carried out.
    pub(super) fn failed(&mut self, command: &Command, context: &mut Context<'_>) {
        match (command, self.kept) {
            // What was copied goes nowhere any more, for the mobile node has left.
            (Command::StartBuffering { .. }, Kept::Held { copies, .. }) => {
                self.kept = if copies { Kept::Copies } else { Kept::No };
                self.remove(context);
            }
            (Command::StartCopying { .. }, Kept::Copies) => self.kept = Kept::No,
            (Command::ReleaseBuffer { .. }, Kept::Released(_)) => self.remove(context),
            _ => {}
        }
    }

    /// A command was taken back before anybody saw it.
    pub(super) fn withdrawn(&mut self, command: &Command, now: Instant) {
        match command {
            Command::StartCopying { .. } => self.kept = Kept::No,
            Command::StartBuffering { .. } => {
                self.kept = match self.kept {
                    Kept::Held { copies: true, .. } => Kept::Copies,
                    _ => Kept::No,
                };
            }
            // It still stands, but its time is over.
            Command::RemoveBuffer { .. } | Command::ReleaseBuffer { .. } => {
                self.kept = Kept::Held {
                    until: now,
                    copies: false,
                };
            }
            _ => {}
        }
    }

    fn id(&self) -> HandoverId {
        HandoverId::Par(self.pcoa)
    }
}
