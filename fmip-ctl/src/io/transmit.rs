//! Sends signalling: whole IPv6 packets, on the kernel's routes and neighbors.

use std::net::{Ipv6Addr, SocketAddrV6};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// On an IPv6 socket it means that the caller writes the header.
const IPPROTO_RAW: i32 = 255;

/// A raw socket that takes whole packets, with their extension headers and whatever source.
pub struct Transmitter {
    socket: Socket,
}

impl Transmitter {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the right CAP_NET_RAW is missing.
    pub fn new() -> Result<Self> {
        let socket = Socket::new(
            Domain::IPV6,
            Type::RAW.nonblocking().cloexec(),
            Some(Protocol::from(IPPROTO_RAW)),
        )
        .context("cannot open a raw socket for signalling")?;
        Ok(Self { socket })
    }

    /// Sends one packet. `interface` is needed where the destination does not say which link is
    /// meant: link-local and multicast.
    ///
    /// # Errors
    /// When the packet has no IPv6 header or the kernel refuses it.
    pub fn send(&self, interface: Option<u32>, packet: &[u8]) -> Result<()> {
        let destination: [u8; 16] = packet
            .get(24..40)
            .and_then(|octets| octets.try_into().ok())
            .context("a packet without an IPv6 header")?;
        let destination = Ipv6Addr::from(destination);
        let of_one_link = destination.is_multicast() || destination.is_unicast_link_local();
        let scope = interface.filter(|_| of_one_link).unwrap_or(0);
        let address = SockAddr::from(SocketAddrV6::new(destination, 0, 0, scope));
        self.socket
            .send_to(packet, &address)
            .with_context(|| format!("cannot send signalling to {destination}"))?;
        Ok(())
    }
}
