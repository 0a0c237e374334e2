//! The story of a handover: which signalling crossed which wire, in the order of the kernel's clock.

use std::{
    fmt,
    mem::MaybeUninit,
    net::Ipv6Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::ioctl::{Getter, Opcode, ioctl, opcode};
use socket2::{Domain, Protocol, Socket, Type};

use super::message::signal;
use crate::{
    netns::NetNs,
    topology::Lab,
    wait::{SOON, wait_until},
};

/// `ETH_P_ALL` of linux/if_ether.h: a bridge takes packets away before any other protocol sees them.
const EVERY_PROTOCOL: u16 = 3;
/// `PACKET_OUTGOING` of linux/if_packet.h.
const OUTGOING: u8 = 4;
/// How long a message that was sent may take until it is recorded, on a busy machine.
const SETTLED: Duration = Duration::from_secs(2);
/// `SIOCGSTAMPNS_NEW` of linux/sockios.h: when the packet that was last received arrived.
const ARRIVAL: Opcode = opcode::read::<[i64; 2]>(0x89, 0x07);

/// A signalling message that crossed a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, on the clock of the kernel: for comparison with others.
    pub at: Duration,
    /// Who put it onto this wire: a namespace's name.
    pub by: String,
    /// The message, such as `HAck 0`.
    pub what: String,
    /// The IPv6 source address.
    pub source: Ipv6Addr,
    /// The IPv6 destination address.
    pub destination: Ipv6Addr,
    /// Where it was seen: on the `air` or in the `core`.
    pub wire: &'static str,
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.by, self.what)
    }
}

/// Listens on the air and in the core until it is dropped.
#[derive(Debug)]
pub struct Story {
    seen: Arc<Mutex<Vec<Seen>>>,
    /// What went on to somebody, who stands as [`Seen::by`].
    delivered: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Story {
    /// Starts to listen: on the air to what the mobile node and the routers send, and in the core to
    /// what the routers send.
    pub fn start(lab: &Lab) -> Result<Self> {
        let mut story = Self {
            seen: Arc::default(),
            delivered: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let of_routers = |suffix: &str| -> Vec<(String, String)> {
            let names = lab.routers().map(|(router, _)| router.name());
            names
                .map(|name| (format!("{name}{suffix}"), name.to_owned()))
                .collect()
        };
        let mut air = of_routers("-air");
        air.push(("radio".to_owned(), "mn".to_owned()));
        story.listen(&lab.air, "air", &air)?;
        story.listen(&lab.core, "core", &of_routers("0"))?;
        Ok(story)
    }

    /// Listens in `namespace` on the interfaces; with each stands who is at the other end of its wire.
    fn listen(
        &mut self,
        namespace: &NetNs,
        wire: &'static str,
        interfaces: &[(String, String)],
    ) -> Result<()> {
        let senders = interfaces
            .iter()
            .map(|(interface, sender)| {
                let link = &namespace.ip_json(&format!("link show {interface}"))?[0];
                let index = link["ifindex"].as_u64().context("a link has an index")?;
                Ok((index as u32, sender.clone()))
            })
            .collect::<Result<Vec<_>>>()?;
        let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
        let socket = namespace
            .run(|| Ok(Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?))
            .with_context(|| format!("cannot listen in {}", namespace.name()))?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 32 << 20)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        // The first question, to which there is no answer yet: from here on packets are given their times
        // when they come. Asked with the first packet, that one would have the time of the question.
        let _ = arrival(&socket);
        let (seen, delivered) = (self.seen.clone(), self.delivered.clone());
        let stop = self.stop.clone();
        self.threads.push(
            thread::Builder::new()
                .name("capture".into())
                .spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if let Some((way, message)) = receive(&socket, &senders, wire) {
                            let list = match way {
                                Way::In => &seen,
                                Way::Out => &delivered,
                            };
                            list.lock().expect("no holder panics").push(message);
                        }
                    }
                })?,
        );
        Ok(())
    }

    /// What was seen so far, in order.
    pub fn all(&self) -> Vec<Seen> {
        let mut seen = self.seen.lock().expect("no holder panics").clone();
        seen.sort_by_key(|message| message.at);
        seen
    }

    /// What was seen so far on its way to somebody ([`Seen::by`]), in order: a message that is not among
    /// these did not arrive.
    pub fn delivered(&self) -> Vec<Seen> {
        let mut seen = self.delivered.lock().expect("no holder panics").clone();
        seen.sort_by_key(|message| message.at);
        seen
    }

    /// What was seen so far and is of the protocol, as lines: repetitions are one line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.all().iter().map(Seen::to_string).collect();
        lines.dedup();
        lines
    }

    /// Waits until `router` or the mobile node (`by`) has sent `what`.
    pub fn wait_for(&self, by: &str, what: &str) -> Result<Seen> {
        let title = format!("{what} of {by} on the wire");
        wait_until(&title, SOON, || {
            let mut all = self.all().into_iter();
            Ok(all.find(|seen| seen.by == by && seen.what == what))
        })
    }

    /// Checks that these messages were seen one after the other, whatever was between them; each is
    /// `by: what`, as in [`Story::lines`].
    ///
    /// # Errors
    /// Names the first that was not, and what was seen.
    pub fn check_order(&self, expected: &[&str]) -> Result<()> {
        let missing = |lines: &[String]| {
            let mut rest = lines.iter();
            let mut expected = expected.iter();
            expected
                .find(|message| !rest.any(|line| line == **message))
                .copied()
        };
        // What was on the wire may still be on its way to here.
        let there = wait_until("the rest of the story", SETTLED, || {
            Ok(missing(&self.lines()).is_none().then_some(()))
        });
        let lines = self.lines();
        match missing(&lines) {
            None => there,
            Some(message) => {
                bail!("{message:?} is not where it belongs in {expected:?}: {lines:#?}")
            }
        }
    }

    /// Checks that no message of `by` is one that starts with `what`.
    pub fn check_never(&self, by: &str, what: &str) -> Result<()> {
        match (self.all().iter()).find(|seen| seen.by == by && seen.what.starts_with(what)) {
            Some(seen) => bail!(
                "{seen} was sent and should not have been: {:#?}",
                self.lines()
            ),
            None => Ok(()),
        }
    }
}

impl Story {
    /// Checks that no message of `by` starts with `what` before the first of `by` that is `before`.
    pub fn check_not_before(&self, by: &str, what: &str, before: &str) -> Result<()> {
        self.wait_for(by, before)?;
        let all = self.all();
        let mut own = all.iter().filter(|seen| seen.by == by);
        match own.find(|seen| seen.what == before || seen.what.starts_with(what)) {
            Some(seen) if seen.what == before => Ok(()),
            _ => bail!(
                "{before} of {by} does not come before {what}: {:#?}",
                self.lines()
            ),
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has been told of on standard error.
            let _ = thread.join();
        }
    }
}

/// Which way a frame crosses the end of a wire.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Way {
    /// From who is at the other end.
    In,
    /// To who is at the other end.
    Out,
}

/// The next frame, if it came from one of the `senders`, or goes to one, and is signalling.
fn receive(socket: &Socket, senders: &[(u32, String)], wire: &'static str) -> Option<(Way, Seen)> {
    let mut frame = [MaybeUninit::uninit(); 512];
    // An error is a timeout, or an interface that went down: neither is the end.
    let (length, from) = socket.recv_from(&mut frame).ok()?;
    // struct sockaddr_ll of packet(7): family, protocol, interface index, hardware type, packet type.
    // SAFETY: the kernel has written that many octets of the address.
    let from =
        unsafe { std::slice::from_raw_parts(from.as_ptr().cast::<u8>(), from.len() as usize) };
    let index = u32::from_ne_bytes(from.get(4..8)?.try_into().ok()?);
    let way = if *from.get(10)? == OUTGOING {
        Way::Out
    } else {
        Way::In
    };
    let (_, by) = senders.iter().find(|(sender, _)| *sender == index)?;
    let octets = frame[..length.min(frame.len())]
        .iter()
        // SAFETY: recv_from has written that many octets.
        .map(|octet| unsafe { octet.assume_init() })
        .collect::<Vec<u8>>();
    let signal = signal(&octets)?;
    let seen = Seen {
        at: arrival(socket)?,
        by: by.clone(),
        what: signal.what,
        source: signal.source,
        destination: signal.destination,
        wire,
    };
    Some((way, seen))
}

/// When the packet that was last received from a socket came to its interface, on the clock of the
/// kernel, which all namespaces share. A socket keeps such times from the first question on; of a
/// packet before that there is none.
pub(crate) fn arrival(socket: &Socket) -> Option<Duration> {
    // SAFETY: the kernel writes two numbers of 64 bits.
    let arrival = unsafe { ioctl(socket, Getter::<ARRIVAL, [i64; 2]>::new()) };
    let [seconds, nanoseconds] = arrival.ok()?;
    Some(Duration::new(seconds as u64, nanoseconds as u32))
}
