//! The far end of the router's outgoing interface.

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use fmip_ctl::{io::transmit::link_address, wire::MacAddr};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{bench::NEXT_HOP_MAC, packets::Packet};

/// ETH_P_IPV6, as a packet socket wants it.
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Receives what is sent to the next hop.
pub(crate) struct Receiver {
    socket: Socket,
}

impl Receiver {
    /// Opens a packet socket on all interfaces of the thread's namespace; what is not for the next
    /// hop is passed over.
    pub(crate) fn new() -> Result<Self> {
        Self::with_room(64 << 20)
    }

    /// As [`Receiver::new`], with so much memory for what is not read yet: a page for each packet.
    pub(crate) fn with_room(octets: usize) -> Result<Self> {
        let protocol = Protocol::from(i32::from(ETHERTYPE_IPV6.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, octets)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket })
    }

    /// The same, on one interface alone.
    pub(crate) fn on(interface: u32) -> Result<Self> {
        let receiver = Self::new()?;
        let address = link_address(interface, MacAddr(NEXT_HOP_MAC))?;
        receiver.socket.bind(&address)?;
        Ok(receiver)
    }

    /// Sends a frame out of an interface.
    pub(crate) fn send(&self, interface: u32, frame: &[u8]) -> Result<()> {
        let destination = MacAddr(frame[..6].try_into().expect("six octets"));
        let address = link_address(interface, destination)?;
        let sent = self.socket.send_to(frame, &address)?;
        ensure!(sent == frame.len(), "{sent} of {} octets", frame.len());
        Ok(())
    }

    /// The socket itself, for who is in a hurry: what is for others comes out of it, too.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The next `number` packets.
    pub(crate) fn packets(&self, number: usize) -> Result<Vec<Packet>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut packets = Vec::with_capacity(number);
        let mut frame = [0; 4096];
        while packets.len() < number {
            match (&self.socket).read(&mut frame) {
                Ok(length) if frame[..6] == NEXT_HOP_MAC => {
                    packets.push(Packet::read(&frame[..length]));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            ensure!(
                Instant::now() < deadline,
                "{} of {number} packets arrived",
                packets.len()
            );
        }
        Ok(packets)
    }
}
