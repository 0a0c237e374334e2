//! How a handover at the NAR undoes what it ordered.

use crate::wire::HackCode;

use super::super::{Command, CommandError, Instant, Reason, router::Context};
use super::{Handover, Next, State};

/// A buffer that a mobile node that moves on leaves behind.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Leftover {
    /// How long it was to stand.
    pub(in super::super) until: Instant,
    /// Whether its packets are on their way to the link.
    pub(in super::super) released: bool,
}

impl Handover {
    /// Gives up what a command was needed for that was not carried out. Whoever drives this
    /// machine sees to the address being another node's.
    pub(super) fn fail(
        &mut self,
        command: &Command,
        error: &CommandError,
        context: &mut Context<'_>,
    ) -> Next {
        let in_use = matches!(error, CommandError::InUse(_));
        let code = match command {
            // UNA-11: the mobile node is not the one with this address.
            Command::AddNeighbor { .. } if in_use => HackCode::Unspecified,
            Command::StartBuffering { .. } => HackCode::Resources,
            Command::AddProxyNd { .. } => HackCode::Unspecified,
            // What is held can never go out; what comes now must not be held too.
            Command::ReleaseBuffer { .. } => {
                self.take_back(context);
                self.undo(context);
                return Next::Ends;
            }
            Command::AddHostRoute { .. } => {
                // What comes through the tunnel is delivered all the same.
                self.route = false;
                return Next::Stays;
            }
            // Without the entry, neighbor discovery finds the mobile node.
            _ => return Next::Stays,
        };
        self.take_back(context);
        match command {
            Command::StartBuffering { .. } => self.buffer = self.buffer_prolonged,
            Command::AddProxyNd { .. } => self.proxy = false,
            _ => {}
        }
        let answers = self.is_awaited() || self.announcement.moved;
        self.undo(context);
        // Once the mobile node is here, the answer to the HI is history.
        if answers && !in_use {
            self.refuse(code, Reason::CommandFailed, context);
        }
        Next::Ends
    }

    /// Unsays what was not yet heard.
    pub(super) fn take_back(&mut self, context: &mut Context<'_>) {
        for command in context.outbox.withdraw(self.id()) {
            match command {
                Command::StartBuffering { .. } => self.buffer = self.buffer_prolonged,
                Command::RemoveBuffer { .. } => self.buffer = true,
                Command::AddProxyNd { .. } => self.proxy = false,
                Command::RemoveProxyNd { .. } => self.proxy = true,
                Command::AddHostRoute { .. } => self.route = false,
                Command::RemoveHostRoute { .. } => self.route = true,
                _ => {}
            }
        }
    }

    /// Removes what was installed.
    pub(super) fn undo(&mut self, context: &mut Context<'_>) {
        self.clear_the_link(context);
        if std::mem::take(&mut self.buffer) {
            let address = self.announcement.address();
            context.command(self.id(), Command::RemoveBuffer { address });
        }
    }

    /// Ends, for the mobile node moves on to where its packets are tunnelled. What has not reached
    /// it yet stays in the buffer, for the tunnel; `None` if there is nothing, and no buffer.
    pub(in super::super) fn give_away(mut self, context: &mut Context<'_>) -> Option<Leftover> {
        if self.state == State::Arrived {
            self.undo(context);
        }
        self.clear_the_link(context);
        self.buffer.then_some(Leftover {
            until: self.deadline,
            released: self.state == State::Draining,
        })
    }

    fn clear_the_link(&mut self, context: &mut Context<'_>) {
        self.remove_proxy(context);
        if std::mem::take(&mut self.route) {
            let command = Command::RemoveHostRoute {
                interface: self.announcement.interface,
                address: self.announcement.address(),
            };
            context.command(self.id(), command);
        }
    }

    pub(super) fn remove_proxy(&mut self, context: &mut Context<'_>) {
        if std::mem::take(&mut self.proxy) {
            let command = Command::RemoveProxyNd {
                interface: self.announcement.interface,
                address: self.announcement.address(),
            };
            context.command(self.id(), command);
        }
    }
}
