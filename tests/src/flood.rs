//! Somebody on an access link who sends signalling without end, each message from another station.

use std::{
    net::Ipv6Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use fmip_ctl::{
    io::transmit::frame_address,
    wire::{self, MacAddr, Message, RtSolPr},
};
use socket2::{Domain, Socket, Type};

use crate::{
    netns::NetNs,
    topology::{Router, lla_bytes},
};

/// The Ethernet type of IPv6.
const ETH_P_IPV6: u16 = 0x86dd;

/// A flood; it ends when it is dropped.
#[derive(Debug)]
pub struct Flood {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Flood {
    /// Floods `router`'s access link from `interface` of a node on it: router solicitations for proxy
    /// advertisement, each from a link-layer and an IPv6 address of its own.
    ///
    /// # Errors
    /// Without the right to send raw frames (CAP_NET_RAW), or if there is no such interface.
    pub fn start(node: &NetNs, interface: &str, router: Router) -> Result<Self> {
        let links = node.ip_json(&format!("link show dev {interface}"))?;
        let index = links[0]["ifindex"]
            .as_i64()
            .context("ip shows no ifindex")?;
        let socket = node
            .run(|| {
                let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
                socket.bind(&frame_address(u32::try_from(index)?, 0, MacAddr([0; 6]))?)?;
                Ok(socket)
            })
            .with_context(|| format!("cannot send frames on {interface}"))?;
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = shared.clone();
            move || {
                for number in 0.. {
                    if shared.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // A full queue is what a flood meets.
                    if socket.send(&frame(number, router)).is_ok() {
                        shared.sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Messages so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic; and this is no place for another panic.
            let _ = thread.join();
        }
    }
}

/// The message of the station with that number.
fn frame(number: u32, router: Router) -> Vec<u8> {
    let [a, b, c, d] = number.to_be_bytes();
    let station = [0x06, 0, a, b, c, d];
    let [a, b] = [(number >> 16) as u16, number as u16];
    let packet = wire::Packet {
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0xbad, 0, a, b),
        destination: router.address(),
        hop_limit: 255,
        home_address: None,
        message: Message::RtSolPr(RtSolPr {
            identifier: number as u16,
            source_lla: Some(MacAddr(station)),
            access_points: vec![],
            unknown: vec![],
        }),
    };
    let mut frame = Vec::new();
    frame.extend(lla_bytes(router.lla()));
    frame.extend(station);
    frame.extend(ETH_P_IPV6.to_be_bytes());
    frame.extend_from_slice(&packet.encode());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_valid_and_from_another_station() {
        let frames = [7, 8].map(|number| frame(number, Router::New));
        assert_ne!(frames[0][6..12], frames[1][6..12]);
        for frame in frames {
            let packet = wire::Packet::decode(&frame[14..]).unwrap();
            assert_eq!(packet.destination, Router::New.address());
        }
    }
}
