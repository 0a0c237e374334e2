//! Counts what crosses the core: packets on their way to the mobile node, with and without a tunnel.

use std::{
    mem::MaybeUninit,
    net::Ipv6Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    topology::{Lab, PAR, PCOA},
    wait::wait_until,
};

/// EtherType of IPv6.
const IPV6: u16 = 0x86dd;
const ETHERNET_HEADER: usize = 14;
/// Next Header of IPv6 in IPv6.
const TUNNEL: u8 = 41;

/// Watches the core's links until it is dropped.
#[derive(Debug)]
pub struct Watch {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    tunnelled: AtomicU64,
    direct: AtomicU64,
}

/// What a packet in the core is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// From the previous access router, with a packet inside.
    Tunnelled,
    /// To the previous care-of address, as its sender made it.
    Direct,
}

impl Watch {
    /// Starts to watch.
    pub fn start(lab: &Lab) -> Result<Self> {
        // Of that EtherType, not of all: a packet then counts once, where it comes in.
        let protocol = Protocol::from(i32::from(IPV6.to_be()));
        let socket = lab
            .core
            .run(|| Ok(Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?))
            .context("cannot watch the core")?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let counts = Arc::<Counts>::default();
        let thread = thread::spawn({
            let counts = counts.clone();
            move || watch(&socket, &counts)
        });
        Ok(Self {
            counts,
            thread: Some(thread),
        })
    }

    /// Packets so far that the previous access router has sent through a tunnel.
    pub fn tunnelled(&self) -> u64 {
        self.counts.tunnelled.load(Ordering::Relaxed)
    }

    /// Packets so far on their way to the previous care-of address.
    pub fn direct(&self) -> u64 {
        self.counts.direct.load(Ordering::Relaxed)
    }

    /// Waits until `packets` more are on their way to the previous care-of address, and returns how many
    /// tunnelled ones crossed the core meanwhile.
    pub fn tunnelled_during(&self, packets: u64, deadline: Duration) -> Result<u64> {
        let (direct, tunnelled) = (self.direct(), self.tunnelled());
        wait_until("packets to the previous address", deadline, || {
            Ok((self.direct() >= direct + packets).then_some(()))
        })?;
        Ok(self.tunnelled() - tunnelled)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A watcher that panicked has been told of on standard error.
            let _ = thread.join();
        }
    }
}

fn watch(socket: &Socket, counts: &Counts) {
    let mut frame = [MaybeUninit::uninit(); 128];
    while !counts.stop.load(Ordering::Relaxed) {
        // An error is a timeout, or an interface that went down: neither is the end.
        let Ok(length) = socket.recv(&mut frame) else {
            continue;
        };
        let octets = frame[..length.min(frame.len())]
            .iter()
            // SAFETY: recv has written that many octets.
            .map(|octet| unsafe { octet.assume_init() })
            .collect::<Vec<u8>>();
        match kind(&octets) {
            Some(Kind::Tunnelled) => counts.tunnelled.fetch_add(1, Ordering::Relaxed),
            Some(Kind::Direct) => counts.direct.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
    }
}

fn kind(frame: &[u8]) -> Option<Kind> {
    let header = frame.get(ETHERNET_HEADER..ETHERNET_HEADER + 40)?;
    let address = |at: usize| -> Option<Ipv6Addr> {
        Some(<[u8; 16]>::try_from(&header[at..at + 16]).ok()?.into())
    };
    if header[6] == TUNNEL && address(8)? == PAR {
        Some(Kind::Tunnelled)
    } else if address(24)? == PCOA {
        Some(Kind::Direct)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{CN, NAR};

    fn frame(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET_HEADER];
        frame.extend([0x60, 0, 0, 0, 0, 0, next_header, 64]);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        frame
    }

    #[test]
    fn tunnelled_and_direct_packets_are_told_apart() {
        assert_eq!(kind(&frame(PAR, NAR, TUNNEL)), Some(Kind::Tunnelled));
        assert_eq!(kind(&frame(CN, PCOA, 17)), Some(Kind::Direct));
        assert_eq!(kind(&frame(PCOA, CN, 17)), None);
        assert_eq!(kind(&frame(NAR, PAR, TUNNEL)), None);
        assert_eq!(kind(&frame(CN, PCOA, 17)[..50]), None);
    }
}
