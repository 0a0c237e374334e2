//! The FBU that ends a binding (RFC 5568 section 5.6).

use std::time::Duration;

use bytes::Bytes;

use crate::wire::FastBindingAck;

use super::{super::SEQUENCE_OUT_OF_WINDOW, Event, Failure, Instant, MobileNode, Reason};

/// An FBU with lifetime 0 that waits for its FBack (MOV-01).
#[derive(Clone, Debug)]
pub(super) struct Farewell {
    /// That of the first; each retransmission has the next (FBU-10).
    first_sequence: u16,
    retries_left: u32,
    timeout: Duration,
    pub(super) due: Instant,
}

impl MobileNode {
    /// Asks the router to deliver directly again (MOV-01, AMB-17).
    pub(super) fn send_farewell(&mut self, now: Instant, retries_left: u32, timeout: Duration) {
        let pcoa = self.origin.pcoa;
        let bytes = self.binding_update(pcoa, pcoa, 0); // MOV-07
        self.outbox.transmit(None, None, bytes);
        self.count_fbu();
        let first_sequence = match &self.farewell {
            Some(farewell) => farewell.first_sequence,
            None => self.sequence,
        };
        self.farewell = Some(Farewell {
            first_sequence,
            retries_left,
            timeout,
            due: now + timeout,
        });
    }

    /// Sends it again, or leaves the rest to the lifetime of what the router has.
    pub(super) fn repeat_farewell(&mut self, now: Instant) {
        let Some(farewell) = self.farewell.clone() else {
            return;
        };
        match farewell.retries_left.checked_sub(1) {
            Some(left) => self.send_farewell(now, left, farewell.timeout.saturating_mul(2)),
            None => {
                self.end_farewell();
                let reason = Failure::NoFback;
                self.outbox.event(None, Event::EndingFailed { reason });
            }
        }
    }

    fn end_farewell(&mut self) {
        self.farewell = None;
        self.origin.redirected = None;
    }

    /// An FBack while an FBU with lifetime 0 is out.
    pub(super) fn handle_farewell_fback(
        &mut self,
        now: Instant,
        farewell: &Farewell,
        message: &FastBindingAck,
        bytes: &Bytes,
    ) {
        let lost_count = message.status == SEQUENCE_OUT_OF_WINDOW;
        if !lost_count && !self.was_sent(message.sequence, farewell.first_sequence) {
            return self.counters.count(Reason::StaleSequence); // of the handover that failed
        }
        // MOV-07.
        if let Err(reason) = self.authenticate(message, bytes, self.origin.pcoa) {
            return self.counters.count(reason);
        }
        let status = message.status.value();
        self.outbox.event(None, Event::FbackReceived { status });
        if lost_count {
            self.sequence = message.sequence;
            let first_sequence = self.sequence.wrapping_add(1);
            self.farewell = Some(Farewell {
                first_sequence,
                ..farewell.clone()
            });
            return self.repeat_farewell(now);
        }
        self.end_farewell();
    }
}
