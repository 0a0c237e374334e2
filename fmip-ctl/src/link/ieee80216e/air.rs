//! The air: PDUs in Ethernet frames, and a receiver that hears who it is tuned to.
//!
//! There is no radio. A frame's source and destination are the base station's BSID and the station's
//! address, its type is the second of IEEE 802's local experimental ones. In front of the PDU stands
//! what a receiver would have measured:
//!
//! ```text
//!     Ethernet header (14) | version 1 (8) | RSSI in dBm, two's complement (8) | PDU
//! ```
//! A base station writes there how strong it is at the station (a lab's script says so); -128 means
//! that nothing was measured, as on the way up.
//!
//! All base stations share one segment with the station, as they would the air. That a station hears
//! the one only whose frequency it is on is done by [`Tuned`], in the receiver.

use std::{
    collections::BTreeSet,
    io,
    os::fd::AsFd as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{BufMut as _, Bytes, BytesMut};
use rustix::net::{RecvFlags, SendFlags, netdevice::name_to_index};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{io::transmit::frame_address, wire::MacAddr};

/// IEEE 802 local experimental ethertype 2.
pub const ETHERTYPE: u16 = 0x88b6;
/// Where all listen.
pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

const VERSION: u8 = 1;
const NOT_MEASURED: i8 = i8::MIN;
const ETHERNET_HEADER: usize = 14;
const HEADER: usize = ETHERNET_HEADER + 2;
/// The longest PDU and what stands before it.
const MAX_FRAME: usize = HEADER + 2047;

/// A frame on the air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who hears it: one, or [`BROADCAST`].
    pub destination: MacAddr,
    /// Whose it is.
    pub source: MacAddr,
    /// How strong the receiver heard it, in dBm.
    pub signal_dbm: Option<i8>,
    /// What it carries.
    pub pdu: Bytes,
}

/// Why octets are not a frame of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There are too few.
    #[error("a frame of {0} octets")]
    Short(usize),
    /// The Ethernet type is another's.
    #[error("Ethernet type {0:#06x}")]
    Type(u16),
    /// It was made by something that is not understood.
    #[error("version {0} of the air's header")]
    Version(u8),
}

impl Frame {
    /// Reads an Ethernet frame.
    ///
    /// # Errors
    /// It is not of ours.
    pub fn decode(octets: &[u8]) -> Result<Self, FrameError> {
        let Some((head, pdu)) = octets.split_first_chunk::<HEADER>() else {
            return Err(FrameError::Short(octets.len()));
        };
        let address = |at: usize| MacAddr(head[at..at + 6].try_into().expect("6 octets"));
        let kind = u16::from_be_bytes([head[12], head[13]]);
        if kind != ETHERTYPE {
            return Err(FrameError::Type(kind));
        }
        if head[14] != VERSION {
            return Err(FrameError::Version(head[14]));
        }
        let signal = head[15] as i8;
        Ok(Self {
            destination: address(0),
            source: address(6),
            signal_dbm: (signal != NOT_MEASURED).then_some(signal),
            pdu: Bytes::copy_from_slice(pdu),
        })
    }

    /// Writes the Ethernet frame.
    pub fn encode(&self) -> Bytes {
        let mut octets = BytesMut::with_capacity(HEADER + self.pdu.len());
        octets.put_slice(&self.destination.0);
        octets.put_slice(&self.source.0);
        octets.put_u16(ETHERTYPE);
        octets.put_u8(VERSION);
        octets.put_i8(self.signal_dbm.unwrap_or(NOT_MEASURED));
        octets.put_slice(&self.pdu);
        octets.freeze()
    }
}

/// Whom a receiver hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tuned {
    /// All: a base station, or a station that looks for its first one.
    All,
    /// Only these: its own base station, and those that it scans; nobody while it changes over.
    To(BTreeSet<MacAddr>),
}

impl Tuned {
    /// One base station.
    pub fn to(bsid: MacAddr) -> Self {
        Self::To(BTreeSet::from([bsid]))
    }

    /// Whether it hears `source`.
    pub fn hears(&self, source: MacAddr) -> bool {
        match self {
            Self::All => true,
            Self::To(bsids) => bsids.contains(&source),
        }
    }
}

/// A place on the air: an interface and an address.
#[derive(Debug)]
pub struct Air {
    socket: AsyncFd<Socket>,
    address: MacAddr,
    tuned: Mutex<Tuned>,
    malformed: AtomicU64,
}

impl Air {
    /// Opens the air at an interface of the calling thread's network namespace, for the one who has
    /// `address`: a base station's BSID, or a station's own address. It hears all at first. Must be
    /// called on a tokio runtime.
    ///
    /// # Errors
    /// There is no such interface, it is down, or the right CAP_NET_RAW is missing.
    pub fn open(interface: &str, address: MacAddr) -> io::Result<Self> {
        // The protocol is in network order, as packet(7) wants it.
        let protocol = Protocol::from(i32::from(ETHERTYPE.to_be()));
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::PACKET, kind, Some(protocol))?;
        let index = name_to_index(&socket, interface)?;
        socket.bind(&frame_address(index, ETHERTYPE, address)?)?;
        // An interface that is down can be bound to, and nothing is heard there.
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: the socket owns its descriptor and gives the same one as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, interest) };
        Ok(Self {
            socket: socket?,
            address,
            tuned: Mutex::new(Tuned::All),
            malformed: AtomicU64::new(0),
        })
    }

    /// The address that it was opened for.
    pub fn address(&self) -> MacAddr {
        self.address
    }

    /// Tunes the receiver; what was sent before and not yet received is filtered so, too.
    pub fn tune(&self, tuned: Tuned) {
        *self.tuned.lock().unwrap_or_else(PoisonError::into_inner) = tuned;
    }

    /// Frames that were not of ours.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// The next frame for this address or for all, from somebody that it is tuned to. Nothing is
    /// lost if this is cancelled.
    ///
    /// # Errors
    /// What the socket says, such as that the interface is down or gone.
    pub async fn receive(&self) -> io::Result<Frame> {
        let mut buffer = [0; MAX_FRAME];
        // An interface that goes away is an error and makes nothing readable.
        let interest = Interest::READABLE | Interest::ERROR;
        loop {
            let received = self
                .socket
                .async_io(interest, |socket| {
                    let flags = RecvFlags::DONTWAIT;
                    rustix::net::recv(socket.as_fd(), &mut buffer, flags).map_err(io::Error::from)
                })
                .await?;
            let octets = &buffer[..received.0];
            match Frame::decode(octets) {
                Ok(frame) if self.is_for_us(&frame) => return Ok(frame),
                Ok(_) => {}
                Err(_) => {
                    self.malformed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Sends a PDU, as strong as `signal_dbm` at the receiver.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn send(
        &self,
        destination: MacAddr,
        signal_dbm: Option<i8>,
        pdu: Bytes,
    ) -> io::Result<()> {
        let frame = Frame {
            destination,
            source: self.address,
            signal_dbm,
            pdu,
        };
        let octets = frame.encode();
        self.socket
            .async_io(Interest::WRITABLE, |socket| {
                let flags = SendFlags::DONTWAIT;
                rustix::net::send(socket.as_fd(), &octets, flags).map_err(io::Error::from)
            })
            .await?;
        Ok(())
    }

    fn is_for_us(&self, frame: &Frame) -> bool {
        let ours = frame.destination == self.address || frame.destination == BROADCAST;
        let tuned = self.tuned.lock().unwrap_or_else(PoisonError::into_inner);
        // Its own come back where a bridge floods them.
        ours && frame.source != self.address && tuned.hears(frame.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
    const BS1: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 1]);
    const BS2: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);

    #[test]
    fn frame_is_an_ethernet_frame_with_what_was_measured() {
        let frame = Frame {
            destination: STATION,
            source: BS1,
            signal_dbm: Some(-70),
            pdu: Bytes::from_static(&[1, 2, 3]),
        };
        let octets = frame.encode();
        assert_eq!(
            octets[..],
            [
                2, 0, 0, 0, 0, 0x11, 2, 0, 0, 0, 0x0a, 1, 0x88, 0xb6, 1, 0xba, 1, 2, 3
            ]
        );
        assert_eq!(Frame::decode(&octets), Ok(frame.clone()));
        let up = Frame {
            signal_dbm: None,
            ..frame
        };
        assert_eq!(Frame::decode(&up.encode()), Ok(up));
    }

    #[test]
    fn what_is_not_a_frame_of_ours_is_refused() {
        let mut octets = Frame {
            destination: BROADCAST,
            source: BS1,
            signal_dbm: None,
            pdu: Bytes::new(),
        }
        .encode()
        .to_vec();
        for length in 0..HEADER {
            assert_eq!(
                Frame::decode(&octets[..length]),
                Err(FrameError::Short(length))
            );
        }
        octets[14] = 2;
        assert_eq!(Frame::decode(&octets), Err(FrameError::Version(2)));
        octets[13] = 0xb5;
        assert_eq!(Frame::decode(&octets), Err(FrameError::Type(0x88b5)));
    }

    #[test]
    fn receiver_hears_those_alone_that_it_is_tuned_to() {
        assert!(Tuned::All.hears(BS1));
        assert!(Tuned::to(BS1).hears(BS1));
        assert!(!Tuned::to(BS1).hears(BS2));
        assert!(!Tuned::To(BTreeSet::new()).hears(BS1));
    }
}
