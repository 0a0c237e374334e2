//! A netlink socket that answers before it returns, for what stands between a mobile node and its
//! packets.
//!
//! The kernel carries out what it is told about neighbors within the call that hands it the message.
//! The connection that the rest goes by cannot know that: it takes two turns of the event loop for
//! every message, which is most of the time that the message takes.

use std::{cell::Cell, io};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage, addrlabel::AddrLabelMessage, neighbour::NeighbourMessage,
    tc::TcMessage,
};
use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

use super::messages::gone_is_done_io;

/// The longest answer: one neighbor, or one refusal with what was refused.
const ANSWER: usize = 4096;
/// The longest part of a list.
const ANSWERS: usize = 32_768;

/// The socket, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(in crate::io) struct Direct {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Direct {
    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel gives none.
    pub(in crate::io) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The answer is there when the message has been sent. If it ever is not, that is an error,
        // and not a controller that stands still.
        socket.set_non_blocking(true)?;
        Ok(Self {
            socket,
            sequence: Cell::new(0),
        })
    }

    /// Has a change made. It waits, as every change of the network does, for one that another
    /// process is making.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn change(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        match self.ask(message, NLM_F_ACK | flags)? {
            None => Ok(()),
            Some(other) => Err(unexpected(&other)),
        }
    }

    /// The neighbor that `message` names.
    ///
    /// # Errors
    /// There is none ([`io::ErrorKind::NotFound`]); the kernel refuses.
    pub(super) fn neighbor(&self, message: NeighbourMessage) -> io::Result<NeighbourMessage> {
        match self.ask(RouteNetlinkMessage::GetNeighbour(message), 0)? {
            Some(RouteNetlinkMessage::NewNeighbour(neighbor)) => Ok(neighbor),
            other => Err(unexpected(&other)),
        }
    }

    /// Has something removed; that it is gone is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(in crate::io) fn remove(&self, message: RouteNetlinkMessage) -> io::Result<()> {
        gone_is_done_io(self.change(message, 0))
    }

    /// All address labels.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn address_labels(&self) -> io::Result<Vec<AddrLabelMessage>> {
        let mut message = AddrLabelMessage::default();
        message.header.family = AddressFamily::Inet6;
        let all = self.list(RouteNetlinkMessage::GetAddrLabel(message))?;
        all.into_iter()
            .map(|answer| match answer {
                RouteNetlinkMessage::NewAddrLabel(label) => Ok(label),
                other => Err(unexpected(&other)),
            })
            .collect()
    }

    /// Whether there are filters where `message` says.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(in crate::io) fn has_filters(&self, message: TcMessage) -> io::Result<bool> {
        let all = self.list(RouteNetlinkMessage::GetTrafficFilter(message))?;
        Ok(!all.is_empty())
    }

    /// All of what `message` asks for.
    fn list(&self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let sequence = self.send(message, NLM_F_DUMP)?;
        let mut all = Vec::new();
        loop {
            let mut octets = Vec::with_capacity(ANSWERS);
            self.socket.recv(&mut octets, 0)?;
            let mut rest = octets.as_slice();
            // One part has many messages in it.
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                let length = answer.header.length as usize;
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if answer.header.sequence_number != sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(answer) => all.push(answer),
                    NetlinkPayload::Done(_) => return Ok(all),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    other => return Err(unexpected(&other)),
                }
            }
        }
    }

    /// Sends one message and takes its answer; `None` if that is a plain yes.
    fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        let sequence = self.send(message, flags)?;
        loop {
            let mut octets = Vec::with_capacity(ANSWER);
            self.socket.recv(&mut octets, 0)?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&octets)
                .map_err(io::Error::other)?;
            // Whatever else it is, it is late.
            if answer.header.sequence_number != sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::Error(error) if error.code.is_none() => Ok(None),
                NetlinkPayload::Error(error) => Err(error.to_io()),
                NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
                other => Err(unexpected(&other)),
            };
        }
    }

    /// Sends one message, and returns its number.
    fn send(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        let mut message = NetlinkMessage::from(message);
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = sequence;
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0)?;
        Ok(sequence)
    }
}

fn unexpected(answer: &impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("the kernel answers with {answer:?}"))
}
