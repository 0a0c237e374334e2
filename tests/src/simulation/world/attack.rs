//! Somebody who is not honest.

use std::time::Duration;

use fmip_ctl::wire::{Message, Packet};

use super::super::messages;
use super::{Pending, World, describe};

impl World {
    /// Somebody repeats, changes or forges a message. The routers' association with each other
    /// keeps HI and HAck out of reach (SEC-01), and what is on a link is not under attack there.
    pub(super) fn attack(&mut self) {
        self.judge.disturbance(self.now);
        let index = match self.captured.len() {
            0 => return,
            length => self.rng.usize(0..length),
        };
        let (to, interface, link_source, bytes) = self.captured[index].clone();
        let Ok(packet) = Packet::decode(&bytes) else {
            return;
        };
        match packet.message {
            Message::FastBindingUpdate(_) | Message::FastBindingAck(_) => {}
            _ => return,
        }
        let bytes = match self.rng.u8(0..3) {
            0 => {
                let mut changed = bytes.to_vec();
                let at = self.rng.usize(40..changed.len());
                changed[at] ^= 1 << self.rng.u8(0..8);
                changed.into()
            }
            1 => match messages::forged(&packet, self.rng.usize(0..self.plan.mobiles.len())) {
                Some(forged) => forged,
                None => bytes,
            },
            _ => bytes,
        };
        self.note(|| format!("attack on {to}: {}", describe(&bytes)));
        let pending = Pending::Packet {
            to,
            interface,
            link_source,
            bytes,
        };
        let delay = Duration::from_millis(self.rng.u64(0..5_000));
        self.after(delay, pending);
    }
}
