//! The radio: frames to and from the air, and the link that it carries.
//!
//! The lab's mobile node has one radio. Its far end, an interface in the namespace of the air, carries
//! the data of the link whose bridge it is a port of; management frames cross it whatever it carries,
//! as they do on a channel on which a station has no connection yet.

use std::{ffi::CString, io, mem::MaybeUninit, process::Command};

use anyhow::{Context, Result, ensure};
use fmip_ctl::{io::transmit::frame_address, wire::MacAddr};
use rustix::{
    ioctl::{Opcode, Setter, ioctl},
    net::netdevice::name_to_index,
};
use socket2::{Domain, SockFilter, Socket, Type};

use crate::netns::run;

/// `ETH_P_ALL` of linux/if_ether.h: a bridge takes packets away before any other protocol sees them.
pub(super) const EVERY_PROTOCOL: u16 = 3;
/// `SIOCBRADDIF` and `SIOCBRDELIF` of linux/sockios.h.
const ADD_PORT: Opcode = 0x89a2;
const REMOVE_PORT: Opcode = 0x89a3;
/// `IFNAMSIZ`, and the size of struct ifreq, of linux/if.h.
const NAME_SIZE: usize = 16;
const REQUEST_SIZE: usize = 40;

/// The mobile node's radio as a base station has it.
#[derive(Debug)]
pub(super) struct Radio {
    socket: Socket,
    interface: String,
    /// An ifreq that names the bridge and the radio.
    request: [u8; REQUEST_SIZE],
    bridge: String,
}

impl Radio {
    /// Opens `interface` for frames of one EtherType, and for being a port of `bridge`.
    ///
    /// # Errors
    /// If there is no such interface in this namespace, or the right to open it is missing (CAP_NET_RAW).
    pub(super) fn open(interface: &str, ether_type: u16, bridge: &str) -> Result<Self> {
        // Without a protocol: nothing comes until the filter stands.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).context("cannot open the air")?;
        socket.attach_filter(&only(ether_type))?;
        socket.set_nonblocking(true)?;
        let index = name_to_index(&socket, interface)
            .with_context(|| format!("there is no interface {interface} in this namespace"))?;
        socket
            .bind(&frame_address(index, EVERY_PROTOCOL, MacAddr([0; 6]))?)
            .with_context(|| format!("cannot listen on {interface}"))?;
        let mut request = [0; REQUEST_SIZE];
        // With the octet that ends it.
        let name = CString::new(bridge)?.into_bytes_with_nul();
        ensure!(name.len() <= NAME_SIZE, "{bridge} is no interface's name");
        request[..name.len()].copy_from_slice(&name);
        request[NAME_SIZE..NAME_SIZE + 4].copy_from_slice(&index.to_ne_bytes());
        Ok(Self {
            socket,
            interface: interface.to_owned(),
            request,
            bridge: bridge.to_owned(),
        })
    }

    /// The socket, to wait for frames.
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends a frame to the mobile node.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// The next frame that the mobile node has sent; `None` if there is none.
    pub(super) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = [MaybeUninit::uninit(); 2048];
        let length = match self.socket.recv(&mut frame) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let octets = frame[..length]
            .iter()
            // SAFETY: recv has written that many octets.
            .map(|octet| unsafe { octet.assume_init() })
            .collect();
        Ok(Some(octets))
    }

    /// From now on it carries the data of this base station's link, and of no other: a station has one
    /// radio.
    ///
    /// # Errors
    /// If there is no such bridge.
    pub(super) fn join(&self) -> Result<()> {
        let mut result = self.ask::<ADD_PORT>();
        if result
            .as_ref()
            .is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
        {
            run(Command::new("ip").args(["link", "set", &self.interface, "nomaster"]))?;
            result = self.ask::<ADD_PORT>();
        }
        result.with_context(|| format!("the radio cannot join {}", self.bridge))
    }

    /// From now on it carries nothing of this base station's link.
    ///
    /// # Errors
    /// If there is no such bridge. That it carried nothing of this link is none.
    pub(super) fn leave(&self) -> Result<()> {
        match self.ask::<REMOVE_PORT>() {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            result => result.with_context(|| format!("the radio cannot leave {}", self.bridge)),
        }
    }

    fn ask<const OPCODE: Opcode>(&self) -> io::Result<()> {
        // SAFETY: both requests read a struct ifreq of that size: the bridge's name and the port's index.
        let request = unsafe { Setter::<OPCODE, [u8; REQUEST_SIZE]>::new(self.request) };
        // SAFETY: as above; nothing is written.
        unsafe { ioctl(&self.socket, request) }.map_err(io::Error::from)
    }
}

/// A filter that lets pass what came in and is of that EtherType.
fn only(ether_type: u16) -> [SockFilter; 6] {
    /// `SKF_AD_OFF + SKF_AD_PKTTYPE` of linux/filter.h, and `PACKET_OUTGOING` of linux/if_packet.h.
    const PACKET_TYPE: u32 = 0xffff_f000 + 4;
    const OUTGOING: u32 = 4;
    // BPF_LD | BPF_H or BPF_B | BPF_ABS; BPF_JMP | BPF_JEQ | BPF_K; BPF_RET | BPF_K.
    const LOAD_HALF: u16 = 0x28;
    const LOAD_OCTET: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_OCTET, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 3, 0, OUTGOING),
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, ether_type.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
