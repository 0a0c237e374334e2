//! The end of the tunnels from earlier addresses, once Mobile IPv6 has registered the new one.
//!
//! "Such a tunnel remains active until the MN completes the Binding Update with its correspondents"
//! (RFC 5568 section 3.1). It ends as it does for a mobile node that is back (section 5.6): by an FBU
//! with lifetime 0, here from the new care-of address.

use std::{collections::VecDeque, net::Ipv6Addr, time::Duration};

use bytes::Bytes;

use crate::wire::{FastBindingAck, Packet};

use super::{
    super::{Removal, SEQUENCE_OUT_OF_WINDOW},
    Event, Failure, Instant, MobileNode, Reason,
    uplink::Way,
};

/// How long packets are still taken out of a tunnel that its router has ended: what was in it then is
/// on its way, or waits its turn in the new router's buffer.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// The tunnels that are being ended. An older one may lead through a newer one, whose router must go on
/// sending until the older one has ended: one after the other, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// Earlier addresses whose routers are still to be asked.
    waiting: VecDeque<Ipv6Addr>,
    asked: Option<Ending>,
    /// Addresses whose routers have ended the tunnel, and until when stragglers are waited for.
    ended: Vec<(Ipv6Addr, Instant)>,
}

/// An FBU with lifetime 0 for an earlier address, which waits for its FBack.
#[derive(Clone, Debug)]
struct Ending {
    pcoa: Ipv6Addr,
    par: Ipv6Addr,
    /// That of the first; each retransmission has the next (FBU-10).
    first_sequence: u16,
    retries_left: u32,
    timeout: Duration,
    due: Instant,
}

impl Endings {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let asked = self.asked.as_ref().map(|asked| asked.due);
        let ended = self.ended.iter().map(|(_, until)| *until);
        asked.into_iter().chain(ended).min()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether the tunnel from this address is being ended.
    pub(super) fn contains(&self, pcoa: Ipv6Addr) -> bool {
        let asked = self.asked.as_ref().map(|asked| asked.pcoa);
        let ended = self.ended.iter().map(|(ended, _)| *ended);
        let mut all = self.waiting.iter().copied().chain(asked).chain(ended);
        all.any(|of| of == pcoa)
    }

    /// There is no such tunnel any more.
    pub(super) fn forget(&mut self, pcoa: Ipv6Addr) {
        self.waiting.retain(|of| *of != pcoa);
        self.asked.take_if(|asked| asked.pcoa == pcoa);
        self.ended.retain(|(of, _)| *of != pcoa);
    }
}

impl MobileNode {
    /// Whether this is the care-of address that Mobile IPv6 can have registered.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn may_register(&self, care_of: Ipv6Addr) -> Result<(), String> {
        let here = self.origin.pcoa;
        if care_of == here {
            return Ok(());
        }
        let is_past = self.past.iter().any(|past| past.pcoa == care_of);
        Err(match is_past {
            true => format!(
                "{care_of} was the care-of address before: it is {here} now, and that is to be \
                 registered"
            ),
            false => format!("{care_of} is no care-of address of this node: it is {here}"),
        })
    }

    pub(super) fn handle_registered(&mut self, now: Instant, care_of: Ipv6Addr) {
        if self.may_register(care_of).is_err() {
            return self.counters.count(Reason::Unexpected);
        }
        self.note_registered(care_of);
        let uplinks = self.uplinks.iter();
        let others = uplinks.filter(|uplink| {
            uplink.pcoa != care_of
                && matches!(uplink.way, Way::Tunnel(_))
                && !self.endings.contains(uplink.pcoa)
        });
        let others: Vec<Ipv6Addr> = others.map(|uplink| uplink.pcoa).collect();
        self.endings.waiting.extend(others);
        self.ask_for_next_end(now);
    }

    /// Asks the router of the oldest tunnel, if none is being asked.
    fn ask_for_next_end(&mut self, now: Instant) {
        while self.endings.asked.is_none()
            && let Some(pcoa) = self.endings.waiting.pop_front()
        {
            let Some(uplink) = self.uplink(pcoa) else {
                continue;
            };
            let par = uplink.par;
            // Who gave the key back cannot ask any more: the tunnel's lifetime ends it.
            if self.key_of(par).is_none() {
                continue;
            }
            let timers = &self.config.timers;
            let ending = Ending {
                pcoa,
                par,
                first_sequence: self.sequence.wrapping_add(1),
                retries_left: timers.fbu_retries,
                timeout: timers.initial_timeout,
                due: now,
            };
            self.ask_for_end(now, ending);
        }
    }

    /// Sends the FBU, unless there is no way for it now.
    fn ask_for_end(&mut self, now: Instant, mut ending: Ending) {
        ending.due = now + ending.timeout;
        if self.link_up && self.is_settled() {
            let (pcoa, par) = (ending.pcoa, ending.par);
            // MOV-07: the care-of address of an FBU that ends a binding is the home address.
            let bytes = self.update_of(pcoa, par, self.origin.pcoa, pcoa, 0);
            match self.link().router_lla {
                // Past the route to the link of the earlier address, which the kernel may still have.
                Some(router) => {
                    let interface = self.config.interface;
                    self.outbox.transmit_frame(interface, router, bytes);
                }
                None => self.outbox.transmit(None, None, bytes),
            }
            self.count_fbu();
        }
        self.endings.asked = Some(ending);
    }

    pub(super) fn handle_ending_timeout(&mut self, now: Instant) {
        let ended = &mut self.endings.ended;
        if let Some(index) = ended.iter().position(|(_, until)| *until <= now) {
            let (pcoa, _) = ended.remove(index);
            if self.uplink(pcoa).is_some() {
                let reason = Removal::Ended;
                self.remove_uplink(pcoa);
                self.outbox
                    .event(None, Event::TunnelRemoved { pcoa, reason });
            }
            return;
        }
        let Some(asked) = self.endings.asked.take() else {
            return;
        };
        // On its way elsewhere nothing is sent, and nothing is given up.
        if !(self.link_up && self.is_settled()) {
            return self.ask_for_end(now, asked);
        }
        match asked.retries_left.checked_sub(1) {
            Some(retries_left) => {
                let timeout = asked.timeout.saturating_mul(2);
                let again = Ending {
                    retries_left,
                    timeout,
                    ..asked
                };
                self.ask_for_end(now, again);
            }
            // The router goes on sending, and so it is listened to: until the lifetime ends.
            None => {
                let reason = Failure::NoFback;
                self.outbox.event(None, Event::EndingFailed { reason });
                self.ask_for_next_end(now);
            }
        }
    }

    /// Whether an FBack is the answer to the FBU that ends a tunnel; then it is dealt with.
    pub(super) fn handle_ending_fback(
        &mut self,
        now: Instant,
        packet: &Packet,
        message: &FastBindingAck,
        bytes: &Bytes,
    ) -> bool {
        let asked = self.endings.asked.clone();
        let Some(asked) = asked.filter(|asked| asked.par == packet.source) else {
            return false;
        };
        let lost_count = message.status == SEQUENCE_OUT_OF_WINDOW;
        if !lost_count && !self.was_sent(message.sequence, asked.first_sequence) {
            // Of the handover before.
            return false;
        }
        if let Err(reason) = self.authenticate_by(asked.par, message, bytes, asked.pcoa) {
            self.counters.count(reason);
            return true;
        }
        let status = message.status.value();
        self.outbox.event(None, Event::FbackReceived { status });
        self.endings.asked = None;
        if lost_count {
            // As a retransmission, with the right number.
            self.sequence = message.sequence;
            let first_sequence = self.sequence.wrapping_add(1);
            self.endings.asked = Some(Ending {
                first_sequence,
                due: now,
                ..asked
            });
            self.handle_ending_timeout(now);
            return true;
        }
        if status < 128 {
            let mut past = self.past.iter_mut();
            if let Some(past) = past.find(|past| past.pcoa == asked.pcoa) {
                past.redirected = None;
            }
            self.endings.ended.push((asked.pcoa, now + STRAGGLERS));
        }
        // What it refuses to end, its lifetime does.
        self.ask_for_next_end(now);
        true
    }
}
