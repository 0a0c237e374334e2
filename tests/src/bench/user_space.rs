//! What a handover buffer in user space does: packets come through a ring buffer and leave by a packet socket.
//!
//! Without what such a program would do besides (timers, many nodes): the least that it can cost.

use std::io::IoSlice;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{MapData, RingBuf};
use fmip_ctl::{io::transmit::frame_address, wire::MacAddr};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use socket2::{Domain, Socket, Type};

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
        let address = frame_address(interface, 0, MacAddr([0; 6]))?;
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
