//! Counts what crosses the core: packets on their way to the mobile node, with and without a tunnel.

use std::{
    net::Ipv6Addr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    stream::number_of,
    topology::{Lab, PAR, PCOA},
    wait::wait_until,
};

/// EtherType of IPv6.
const IPV6: u16 = 0x86dd;
const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
/// Next Header of IPv6 in IPv6.
const TUNNEL: u8 = 41;
/// Next Header of UDP.
const UDP: u8 = 17;

/// Watches the core's links until it is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no holder panics")
    }
}

/// What has been read of what crossed the core.
#[derive(Debug, Default)]
struct Tally {
    tunnelled: u64,
    direct: u64,
    /// The lowest number that a tunnelled packet of a stream bore.
    first_tunnelled: Option<u64>,
    next: Next,
}

/// The packets that set out after they were asked for.
#[derive(Copy, Clone, Debug, Default)]
enum Next {
    /// Nobody has asked.
    #[default]
    Unasked,
    /// Asked for; what crossed the core before that may not have been read yet.
    Asked,
    /// What is read from now on crossed the core after that.
    Begun(Passed),
}

#[derive(Copy, Clone, Debug, Default)]
struct Passed {
    /// The number that the first of them bears in its stream.
    first: Option<u64>,
    direct: u64,
    tunnelled: u64,
}

impl Tally {
    /// Enters a frame that crossed the core.
    fn enter(&mut self, frame: &[u8]) {
        let Some((kind, number)) = read(frame) else {
            return;
        };
        match kind {
            Kind::Tunnelled => {
                self.tunnelled += 1;
                let first = self.first_tunnelled.into_iter().chain(number).min();
                self.first_tunnelled = first;
            }
            Kind::Direct => self.direct += 1,
        }
        let (Next::Begun(passed), Some(number)) = (&mut self.next, number) else {
            return;
        };
        match kind {
            // Every packet comes by here before the previous router has it.
            Kind::Direct => {
                let first = *passed.first.get_or_insert(number);
                passed.direct += u64::from(number >= first);
            }
            Kind::Tunnelled => {
                let is_one = passed.first.is_some_and(|first| number >= first);
                passed.tunnelled += u64::from(is_one);
            }
        }
    }

    /// All that crossed the core so far has been read.
    fn has_all(&mut self) {
        if matches!(self.next, Next::Asked) {
            self.next = Next::Begun(Passed::default());
        }
    }
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
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = shared.clone();
            move || watch(&socket, &shared)
        });
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Packets so far that the previous access router has sent through a tunnel.
    pub fn tunnelled(&self) -> u64 {
        self.shared.tally().tunnelled
    }

    /// The number of the first packet of the stream that the previous access router has sent through a tunnel.
    pub fn first_tunnelled(&self) -> Option<u64> {
        self.shared.tally().first_tunnelled
    }

    /// Waits until the stream has sent `packets` more to the previous care-of address, and returns how many
    /// of those went through a tunnel. Packets are known by their numbers, for the times at which frames are
    /// seen say nothing: one that was tunnelled before the call may cross the core after it, and be read
    /// later still.
    pub fn tunnelled_of_next(&self, packets: u64, deadline: Duration) -> Result<u64> {
        self.shared.tally().next = Next::Asked;
        wait_until("packets to the previous address", deadline, || {
            Ok(match self.shared.tally().next {
                Next::Begun(passed) if passed.direct >= packets => Some(passed.tunnelled),
                _ => None,
            })
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A watcher that panicked has been told of on standard error.
            let _ = thread.join();
        }
    }
}

fn watch(socket: &Socket, shared: &Shared) {
    let mut frame = [0; 192];
    while !shared.stop.load(Ordering::Relaxed) {
        let is_asked = matches!(shared.tally().next, Next::Asked);
        let flags = if is_asked {
            RecvFlags::DONTWAIT
        } else {
            RecvFlags::empty()
        };
        match recv(socket, &mut frame, flags) {
            Ok((length, _)) => shared.tally().enter(&frame[..length]),
            // Asked first, found empty then.
            Err(Errno::AGAIN) if is_asked => shared.tally().has_all(),
            // A timeout, or an interface that went down: neither is the end.
            Err(_) => {}
        }
    }
}

/// What a frame is, and its number if it has a packet of a stream.
fn read(frame: &[u8]) -> Option<(Kind, Option<u64>)> {
    let packet = frame.get(ETHERNET_HEADER..)?;
    let header = packet.get(..IPV6_HEADER)?;
    let address = |at: usize| -> Option<Ipv6Addr> {
        Some(<[u8; 16]>::try_from(&header[at..at + 16]).ok()?.into())
    };
    let number = |packet: &[u8]| {
        (*packet.get(6)? == UDP)
            .then(|| packet.get(IPV6_HEADER + UDP_HEADER..))
            .flatten()
            .and_then(number_of)
    };
    if header[6] == TUNNEL && address(8)? == PAR {
        Some((Kind::Tunnelled, number(&packet[IPV6_HEADER..])))
    } else if address(24)? == PCOA {
        Some((Kind::Direct, number(packet)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        stream::numbered_payload,
        topology::{CN, NAR},
    };

    fn packet(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(body);
        packet
    }

    fn frame(packet: &[u8]) -> Vec<u8> {
        [&[0; ETHERNET_HEADER], packet].concat()
    }

    fn of_stream(number: u64) -> Vec<u8> {
        let body = [&[0; UDP_HEADER], &numbered_payload(number)[..]].concat();
        packet(CN, PCOA, UDP, &body)
    }

    fn direct(number: u64) -> Vec<u8> {
        frame(&of_stream(number))
    }

    fn tunnelled(number: u64) -> Vec<u8> {
        frame(&packet(PAR, NAR, TUNNEL, &of_stream(number)))
    }

    #[test]
    fn tunnelled_and_direct_packets_are_told_apart() {
        let kind = |packet: &[u8]| read(&frame(packet)).map(|(kind, _)| kind);
        assert_eq!(kind(&packet(PAR, NAR, TUNNEL, &[])), Some(Kind::Tunnelled));
        assert_eq!(kind(&packet(CN, PCOA, UDP, &[])), Some(Kind::Direct));
        assert_eq!(kind(&packet(PCOA, CN, UDP, &[])), None);
        assert_eq!(kind(&packet(NAR, PAR, TUNNEL, &[])), None);
        assert_eq!(kind(&packet(CN, PCOA, UDP, &[])[..36]), None);
    }

    #[test]
    fn a_packet_of_a_stream_has_its_number_in_a_tunnel_too() {
        assert_eq!(read(&direct(7)), Some((Kind::Direct, Some(7))));
        assert_eq!(read(&tunnelled(8)), Some((Kind::Tunnelled, Some(8))));
        let longest = tunnelled(8).len();
        assert!(longest <= 192, "{longest} octets do not fit");
    }

    /// What was counted of the next packets, once `frames` were read, the first `before` of them before all
    /// that crossed the core until the question had been read.
    fn next_of(before: usize, frames: &[Vec<u8>]) -> (u64, u64) {
        let mut tally = Tally {
            next: Next::Asked,
            ..Tally::default()
        };
        for (place, frame) in frames.iter().enumerate() {
            if place == before {
                tally.has_all();
            }
            tally.enter(frame);
        }
        match tally.next {
            Next::Begun(passed) => (passed.direct, passed.tunnelled),
            next => panic!("{next:?}"),
        }
    }

    #[test]
    fn what_was_tunnelled_before_the_question_does_not_count_however_late_it_is_read() {
        let frames = [direct(4), tunnelled(4), direct(5), tunnelled(5), direct(6)];
        // Read late.
        assert_eq!(next_of(4, &frames), (1, 0));
        // Crossed the core late.
        let frames = [direct(4), tunnelled(4), tunnelled(5), direct(6), direct(7)];
        assert_eq!(next_of(1, &frames), (2, 0));
        let frames = [direct(4), direct(5), tunnelled(4), direct(6)];
        assert_eq!(next_of(1, &frames), (2, 0));
    }

    #[test]
    fn the_first_one_in_the_tunnel_is_that_with_the_lowest_number() {
        let mut tally = Tally::default();
        tally.enter(&frame(&packet(PAR, NAR, TUNNEL, &[])));
        tally.enter(&direct(3));
        assert_eq!(tally.first_tunnelled, None);
        for number in [6, 5, 7] {
            tally.enter(&tunnelled(number));
        }
        assert_eq!(tally.first_tunnelled, Some(5));
    }

    #[test]
    fn what_is_tunnelled_after_the_question_counts() {
        let frames = [direct(4), tunnelled(4), direct(5), tunnelled(5), direct(6)];
        assert_eq!(next_of(0, &frames), (3, 2));
        assert_eq!(next_of(2, &frames), (2, 1));
    }
}
