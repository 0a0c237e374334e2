//! What a handover buffer in user space does: packets come through a ring buffer and leave by a packet socket.
//!
//! Without what such a program would do besides (timers, many nodes): the least that it can cost.

use std::{io, io::IoSlice, mem::size_of};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{MapData, RingBuf};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use socket2::{Domain, SockAddr, Socket, Type};

/// How packets are given to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// One by one, by send().
    Send,
    /// Many at a time, by sendmmsg().
    SendMany,
}

/// Packets of one sendmmsg(): as the drain's batches.
const BATCH: usize = 64;

/// Sockets of frames: linux/socket.h.
const AF_PACKET: u16 = 17;

/// `struct sockaddr_ll` of linux/if_packet.h.
#[repr(C)]
struct LinkAddress {
    family: u16,
    protocol: u16,
    interface: i32,
    hardware_type: u16,
    packet_type: u8,
    length: u8,
    address: [u8; 8],
}

/// The buffer.
pub(super) struct UserBuffer {
    ring: RingBuf<MapData>,
    socket: Socket,
}

impl UserBuffer {
    /// Takes packets from the ring, and sends them out of an interface of this thread's namespace.
    pub(super) fn new(ring: RingBuf<MapData>, interface: u32) -> Result<Self> {
        // Protocol 0: it receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::RAW.cloexec(), None)
            .context("cannot open a packet socket")?;
        let address = LinkAddress {
            family: AF_PACKET,
            protocol: 0,
            interface: i32::try_from(interface).map_err(io::Error::other)?,
            hardware_type: 0,
            packet_type: 0,
            length: 0,
            address: [0; 8],
        };
        // SAFETY: the storage is larger than any address (a `LinkAddress` has 20 octets of its 128) and
        // aligned for all of them; the length is that of what was written.
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                storage.cast::<LinkAddress>().write(address);
                *length = size_of::<LinkAddress>() as u32;
                Ok(())
            })
        }?;
        socket
            .bind(&address)
            .context("cannot bind a packet socket")?;
        Ok(Self { ring, socket })
    }

    /// Sends all that is in the ring, which is `packets`.
    pub(super) fn send_all(&mut self, call: Call, packets: u32) -> Result<()> {
        let sent = match call {
            Call::Send => self.one_by_one()?,
            Call::SendMany => self.many_at_a_time()?,
        };
        ensure!(
            sent == packets as usize,
            "{sent} of {packets} packets were in the ring"
        );
        Ok(())
    }

    fn one_by_one(&mut self) -> Result<usize> {
        let mut sent = 0;
        while let Some(packet) = self.ring.next() {
            self.socket.send(&packet)?;
            sent += 1;
        }
        Ok(sent)
    }

    fn many_at_a_time(&mut self) -> Result<usize> {
        let mut sent = 0;
        // Out of the ring, which gives one packet at a time.
        let mut packets: [Vec<u8>; BATCH] = std::array::from_fn(|_| Vec::with_capacity(2048));
        loop {
            let mut number = 0;
            while number < BATCH
                && let Some(packet) = self.ring.next()
            {
                packets[number].clear();
                packets[number].extend_from_slice(&packet);
                number += 1;
            }
            if number == 0 {
                return Ok(sent);
            }
            self.send_many(&packets[..number])?;
            sent += number;
        }
    }

    fn send_many(&self, packets: &[Vec<u8>]) -> Result<()> {
        let slices: Vec<[IoSlice<'_>; 1]> = packets
            .iter()
            .map(|packet| [IoSlice::new(packet)])
            .collect();
        let mut controls: Vec<_> = packets
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let mut messages: Vec<_> = slices
            .iter()
            .zip(&mut controls)
            .map(|(slice, control)| MMsgHdr::new(slice, control))
            .collect();
        let mut from = 0;
        while from < messages.len() {
            from += sendmmsg(&self.socket, &mut messages[from..], SendFlags::empty())?;
        }
        Ok(())
    }
}
