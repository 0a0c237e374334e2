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
    /// What the tunnel took over, until that has left; it comes back if the tunnel does not stand after
    /// all.
    taken: Kept,
    /// What the last order to hold was to take the place of, should it fail.
    before: Before,
}

/// What stands when packets begin to be held.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Copies,
    /// What was held before is on its way to the link, until then.
    Released(Instant),
    /// The same, into a tunnel.
    Tunnel,
}

/// How packets are kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kept {
    /// Not at all, or by the tunnel.
    No,
    /// Copies, beside the delivery.
    Copies,
    /// Instead of the delivery.
    Held(Instant),
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
            before: Before::Nothing,
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
        self.kept = match leftover.released {
            true => Kept::Released(until),
            false => Kept::Held(until),
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
            Kept::Held(until) | Kept::Released(until) => Some(until),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        match self.kept {
            Kept::No | Kept::Copies => "attached",
            Kept::Held(_) => "departed",
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

    /// The mobile node has left: everything is held, behind the copies if there are some, or behind what
    /// was held before and has not reached it.
    pub(super) fn depart(
        &mut self,
        link_address: MacAddr,
        lifetime: Duration,
        context: &mut Context<'_>,
    ) {
        let before = match self.kept {
            Kept::No => Before::Nothing,
            Kept::Copies => Before::Copies,
            Kept::Released(until) => Before::Released(until),
            Kept::Held(_) => return,
        };
        self.link_address = link_address;
        self.hold(before, context.now + lifetime, context);
    }

    fn hold(&mut self, before: Before, until: Instant, context: &mut Context<'_>) {
        self.before = before;
        self.kept = Kept::Held(until);
        let command = Command::StartBuffering {
            address: self.pcoa,
            interface: self.interface,
            link_address: self.link_address,
            tunnel: None,
            expires: until,
        };
        context.command(self.id(), command);
        context.event(self.id(), Event::BufferStarted { ncoa: self.pcoa });
    }

    /// The mobile node is on its link again.
    pub(super) fn release(&mut self, context: &mut Context<'_>) {
        let Kept::Held(_) = self.kept else {
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
        self.taken = Kept::No;
    }

    /// BUF-02: the tunnel takes over what is kept; it goes ahead of what comes now.
    pub(super) fn hand_to_tunnel(&mut self) {
        let kept = std::mem::replace(&mut self.kept, Kept::No);
        // Another tunnel in place of the first one goes on with what that took.
        if kept != Kept::No {
            self.taken = kept;
        }
    }

    /// Whether the tunnel took over what has not left yet, as far as is known.
    pub(super) fn has_taken(&self) -> bool {
        self.taken != Kept::No
    }

    /// The tunnel ends before all that it took over has left, and the mobile node is on its link again: the
    /// rest goes there, and what comes now behind it.
    pub(super) fn bring_home(&mut self, context: &mut Context<'_>) {
        self.taken = Kept::No;
        let until = context.now + context.config.timers.max_binding_lifetime;
        self.hold(Before::Tunnel, until, context);
        self.release(context);
    }

    /// The tunnel ends before all that it took over has left, and where the mobile node is nobody knows: the
    /// rest is held again, for what is left of its time. Returns whether there is anything to hold.
    pub(super) fn resume(&mut self, context: &mut Context<'_>) -> bool {
        match std::mem::replace(&mut self.taken, Kept::No) {
            Kept::Held(until) if until > context.now => {
                self.hold(Before::Tunnel, until, context);
                true
            }
            _ => false,
        }
    }

    /// What is kept, here or by the tunnel, is another handover's from now on.
    pub(super) fn leave_behind(&mut self) {
        self.kept = Kept::No;
        self.taken = Kept::No;
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
            let held = matches!(self.kept, Kept::Held(_));
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
            // What stood before goes nowhere any more: copies, for the mobile node has left.
            (Command::StartBuffering { .. }, Kept::Held(_) | Kept::Released(_)) => {
                let address = self.pcoa;
                let is_release = |command: &Command| matches!(command, Command::ReleaseBuffer { address: of, .. } if *of == address);
                context.outbox.take_back(is_release);
                if self.before == Before::Nothing {
                    self.kept = Kept::No;
                }
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
                self.kept = match self.before {
                    Before::Nothing => Kept::No,
                    Before::Copies => Kept::Copies,
                    Before::Released(until) => Kept::Released(until),
                    Before::Tunnel => Kept::Held(now),
                };
            }
            // It still stands, but its time is over.
            Command::RemoveBuffer { .. } | Command::ReleaseBuffer { .. } => {
                self.kept = Kept::Held(now);
            }
            _ => {}
        }
    }

    fn id(&self) -> HandoverId {
        HandoverId::Par(self.pcoa)
    }
}
