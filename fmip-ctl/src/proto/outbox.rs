//! Outputs that wait to be polled, and can be taken back until then.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::wire::MacAddr;

use super::{Command, Event, InterfaceIndex, Output, Transmit};

/// A queue of outputs, each with the handover that it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Outbox<K> {
    queue: VecDeque<(Option<K>, Output)>,
}

impl<K> Default for Outbox<K> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
        }
    }
}

impl<K: Copy + PartialEq> Outbox<K> {
    pub(super) fn transmit(
        &mut self,
        owner: Option<K>,
        interface: Option<InterfaceIndex>,
        bytes: Bytes,
    ) {
        let transmit = Transmit {
            interface,
            link_destination: None,
            bytes,
        };
        self.queue.push_back((owner, Output::Transmit(transmit)));
    }

    /// A packet in a frame to `link_destination`, whoever has the packet's destination (NAK-03).
    pub(super) fn transmit_frame(
        &mut self,
        interface: InterfaceIndex,
        link_destination: MacAddr,
        bytes: Bytes,
    ) {
        let transmit = Transmit {
            interface: Some(interface),
            link_destination: Some(link_destination),
            bytes,
        };
        self.queue.push_back((None, Output::Transmit(transmit)));
    }

    pub(super) fn command(&mut self, owner: K, command: Command) {
        self.queue
            .push_back((Some(owner), Output::Command(command)));
    }

    pub(super) fn event(&mut self, owner: Option<K>, event: Event) {
        self.queue.push_back((owner, Output::Event(event)));
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front().map(|(_, output)| output)
    }

    /// Whether a command waits.
    pub(super) fn contains(&self, command: &Command) -> bool {
        let mut outputs = self.queue.iter().map(|(_, output)| output);
        outputs.any(|output| matches!(output, Output::Command(waiting) if waiting == command))
    }

    /// Takes back the commands that `is_meant` tells; whether there were any.
    pub(super) fn take_back(&mut self, is_meant: impl Fn(&Command) -> bool) -> bool {
        let len = self.queue.len();
        self.queue
            .retain(|(_, output)| !matches!(output, Output::Command(command) if is_meant(command)));
        self.queue.len() < len
    }

    /// Takes back all that `owner` has in the queue; returns the commands among it, oldest first.
    pub(super) fn withdraw(&mut self, owner: K) -> Vec<Command> {
        let mut commands = Vec::new();
        self.queue.retain(|(of, output)| {
            if *of != Some(owner) {
                return true;
            }
            if let Output::Command(command) = output {
                commands.push(command.clone());
            }
            false
        });
        commands
    }
}
