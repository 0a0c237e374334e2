//! What a correspondent sends to a moving mobile node, and what arrives of it.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use fmip_ctl::proto::Instant;

/// How long a packet is on its way, if it is not held.
const LONGEST: Duration = Duration::from_millis(100);

/// One correspondent's packets during one move.
#[derive(Debug)]
pub(super) struct Flow {
    /// The address that they are sent to.
    pub(super) to: Ipv6Addr,
    sent: u64,
    /// What was sent and did not arrive, and when it was sent.
    missing: BTreeMap<u64, Instant>,
    newest: Option<u64>,
    duplicated: u64,
    reordered: u64,
    end: Option<Instant>,
}

/// What became of packets.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Were sent.
    pub sent: u64,
    /// Did not arrive.
    pub lost: u64,
    /// Arrived again.
    pub duplicated: u64,
    /// Arrived behind one that was sent later.
    pub reordered: u64,
}

impl Loss {
    /// Whether not everything arrived once and in order.
    pub fn is_any(&self) -> bool {
        self.lost + self.duplicated + self.reordered > 0
    }
}

impl std::ops::AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}

impl Flow {
    pub(super) fn new(to: Ipv6Addr) -> Self {
        Self {
            to,
            sent: 0,
            missing: BTreeMap::new(),
            newest: None,
            duplicated: 0,
            reordered: 0,
            end: None,
        }
    }

    pub(super) fn end_at(&mut self, end: Instant) {
        self.end = Some(end);
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| end <= now)
    }

    /// The number of the next packet.
    pub(super) fn send(&mut self, now: Instant) -> u64 {
        let number = self.sent;
        self.sent += 1;
        self.missing.insert(number, now);
        number
    }

    pub(super) fn receive(&mut self, number: u64) {
        if self.missing.remove(&number).is_none() {
            self.duplicated += 1;
        } else if self.newest > Some(number) {
            self.reordered += 1;
        }
        self.newest = self.newest.max(Some(number));
    }

    /// What became of them by `now`; those that are still on their way count as not sent.
    pub(super) fn loss(&self, now: Instant) -> Loss {
        let missing = self.missing.values();
        let lost = missing.filter(|&&sent| sent + LONGEST < now).count() as u64;
        Loss {
            sent: self.sent - (self.missing.len() as u64 - lost),
            lost,
            duplicated: self.duplicated,
            reordered: self.reordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_duplicates_and_disorder_are_told_apart() {
        let mut flow = Flow::new(Ipv6Addr::LOCALHOST);
        for _ in 0..5 {
            flow.send(Instant::from_nanos(0));
        }
        for number in [0, 2, 1, 2] {
            flow.receive(number);
        }
        let expected = Loss {
            sent: 5,
            lost: 2,
            duplicated: 1,
            reordered: 1,
        };
        flow.send(Instant::from_nanos(900_000_000)); // on its way
        assert_eq!(flow.loss(Instant::from_nanos(1_000_000_000)), expected);
    }
}
