//! What crosses the mobile node's radio: every frame, with its time on the kernel's clock.

use std::{
    mem::MaybeUninit,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use fmip_ctl::{io::transmit::frame_address, link::ieee80216e::air::ETHERTYPE, wire::MacAddr};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

use super::{network::RADIO, radio::EVERY_PROTOCOL};
use crate::{capture::arrival, topology::Lab};

/// `PACKET_OUTGOING` of linux/if_packet.h.
const OUTGOING: u8 = 4;

/// A frame that crossed the radio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// When: nanoseconds on the kernel's monotonic clock.
    pub time_ns: u64,
    /// Whether the mobile node sent it.
    pub up: bool,
    /// All of it if it is one of the link layer's own; the beginning of a data frame.
    pub frame: Vec<u8>,
}

impl Crossed {
    /// Whether it is one of the link layer's own.
    pub fn is_management(&self) -> bool {
        self.frame.get(12..14) == Some(&ETHERTYPE.to_be_bytes()[..])
    }
}

/// Watches the radio until it is dropped.
#[derive(Debug)]
pub struct AirWatch {
    crossed: Arc<Mutex<Vec<Crossed>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AirWatch {
    /// Starts to watch.
    pub fn start(lab: &Lab) -> Result<Self> {
        let links = lab.air.ip_json(&format!("link show {RADIO}"))?;
        let index = links[0]["ifindex"]
            .as_u64()
            .context("a link has an index")?;
        let socket = lab
            .air
            .run(|| {
                let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
                let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
                socket.bind(&frame_address(
                    index as u32,
                    EVERY_PROTOCOL,
                    MacAddr([0; 6]),
                )?)?;
                Ok(socket)
            })
            .context("cannot watch the air")?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 32 << 20)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        // From this question on packets are given their times when they come.
        let _ = arrival(&socket);
        let offset = clock_offset();
        let (crossed, stop) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let thread = thread::spawn({
            let (crossed, stop) = (crossed.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(frame) = receive(&socket, index as u32, offset) {
                        crossed.lock().expect("no holder panics").push(frame);
                    }
                }
            }
        });
        Ok(Self {
            crossed,
            stop,
            thread: Some(thread),
        })
    }

    /// What has crossed so far, in order.
    pub fn all(&self) -> Vec<Crossed> {
        self.crossed.lock().expect("no holder panics").clone()
    }
}

impl Drop for AirWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has been told of on standard error.
            let _ = thread.join();
        }
    }
}

/// How far the clock that packets are stamped with is ahead of the monotonic one.
fn clock_offset() -> Duration {
    let read = |clock| {
        let now = clock_gettime(clock);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    read(ClockId::Realtime).saturating_sub(read(ClockId::Monotonic))
}

fn receive(socket: &Socket, index: u32, offset: Duration) -> Option<Crossed> {
    /// Of a data frame: its addresses, and an IPv6 header with the ports behind it.
    const HEADERS: usize = 14 + 40 + 8;
    let mut frame = [MaybeUninit::uninit(); 2048];
    // An error is a timeout: not the end.
    let (length, from) = socket.recv_from(&mut frame).ok()?;
    // struct sockaddr_ll of packet(7): family, protocol, interface index, hardware type, packet type.
    // SAFETY: the kernel has written that many octets of the address.
    let from =
        unsafe { std::slice::from_raw_parts(from.as_ptr().cast::<u8>(), from.len() as usize) };
    // Before it was bound it was on every interface.
    if u32::from_ne_bytes(from.get(4..8)?.try_into().ok()?) != index {
        return None;
    }
    let mut octets = frame[..length.min(frame.len())]
        .iter()
        // SAFETY: recv_from has written that many octets.
        .map(|octet| unsafe { octet.assume_init() })
        .collect::<Vec<u8>>();
    if octets.get(12..14) != Some(&ETHERTYPE.to_be_bytes()[..]) {
        octets.truncate(HEADERS);
    }
    Some(Crossed {
        time_ns: arrival(socket)?.saturating_sub(offset).as_nanos() as u64,
        up: *from.get(10)? != OUTGOING,
        frame: octets,
    })
}
