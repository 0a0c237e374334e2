//! One end of a wire without an IPv6 stack behind it: frames go in as they are made, and come out with
//! the time at which the kernel had them.

use std::{
    io::{ErrorKind, Read as _},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fmip_ctl::{io::transmit::link_address, wire::MacAddr};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{capture::arrival, netns::NetNs, wait::check_interrupted};

/// EtherType of IPv6.
const IPV6: u16 = 0x86dd;
/// Octets of an Ethernet header.
pub(super) const ETHERNET_HEADER: usize = 14;
/// The longest frame that is read.
const MAX_FRAME: usize = 2048;
/// How long one look for a frame takes at most, so that Ctrl-C is heard.
const LOOK: Duration = Duration::from_millis(50);

/// A socket on one interface for frames of IPv6.
#[derive(Debug)]
pub(super) struct Tap {
    socket: Socket,
}

/// A frame that came in.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// When it came to the interface, on the clock of [`wall_clock`].
    pub(super) at: Duration,
    /// From the Ethernet header on.
    pub(super) octets: Vec<u8>,
}

impl Frame {
    /// From the IPv6 header on.
    pub(super) fn packet(&self) -> &[u8] {
        self.octets.get(ETHERNET_HEADER..).unwrap_or_default()
    }
}

impl Tap {
    /// Opens the interface.
    ///
    /// # Errors
    /// If there is no such interface, or the right CAP_NET_RAW is missing.
    pub(super) fn open(namespace: &NetNs, interface: &str) -> Result<Self> {
        let link = &namespace.ip_json(&format!("link show {interface}"))?[0];
        let index = link["ifindex"].as_u64().context("a link has an index")?;
        // Of that EtherType, not of all: what goes out is not seen again then.
        let protocol = Protocol::from(i32::from(IPV6.to_be()));
        let socket = namespace
            .run(|| Ok(Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?))
            .with_context(|| format!("cannot listen on {interface}"))?;
        let address = link_address(u32::try_from(index)?, MacAddr([0; 6]))?;
        socket
            .bind(&address)
            .with_context(|| format!("cannot bind to {interface}"))?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20)?;
        socket.set_read_timeout(Some(LOOK))?;
        // From here on the kernel notes when frames come.
        let _ = arrival(&socket);
        Ok(Self { socket })
    }

    /// Puts one frame on the wire.
    pub(super) fn send(&self, source: MacAddr, destination: MacAddr, packet: &[u8]) -> Result<()> {
        let ethertype = IPV6.to_be_bytes();
        let frame = [&destination.0[..], &source.0[..], &ethertype[..], packet].concat();
        let sent = self.socket.send(&frame).context("cannot send a frame")?;
        ensure!(sent == frame.len(), "a frame was cut");
        Ok(())
    }

    /// The next frame that comes within `deadline`, if one does.
    pub(super) fn receive(&self, deadline: Duration) -> Result<Option<Frame>> {
        let end = Instant::now() + deadline;
        let mut octets = [0; MAX_FRAME];
        loop {
            match (&self.socket).read(&mut octets) {
                Ok(length) => {
                    return Ok(Some(Frame {
                        at: arrival(&self.socket).context("a frame without a time")?,
                        octets: octets[..length].to_vec(),
                    }));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot receive a frame"),
            }
            check_interrupted()?;
            if Instant::now() >= end {
                return Ok(None);
            }
        }
    }
}

/// The kernel's clock that frames are timed by.
pub(super) fn wall_clock() -> Duration {
    let now = clock_gettime(ClockId::Realtime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
