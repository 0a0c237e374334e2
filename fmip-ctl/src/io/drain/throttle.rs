//! How much is sent at a time: never more than the ring of the interface that it leaves by takes.
//!
//! A veth's ring has 256 frames, and what does not find room is lost without a word. Nobody tells how full it is,
//! but its far end counts what it takes out. As long as that is all that was put in, run by run, the next run
//! may follow at once, and be a long one; else a run follows after the time in which the ring of the run before
//! it is emptied by any processor that is awake.

use std::time::{Duration, Instant};

use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketType, netdevice::index_to_name, socket},
};

/// Frames of one [`QUANTUM`] at most, while it is not known whether they have left.
pub(super) const BATCH: u32 = 64;
/// Frames of one run at most, into a ring that is known to be empty: it leaves room for what others send.
pub(super) const LONG_RUN: u32 = 192;
/// The shortest time between two full batches otherwise.
pub(super) const QUANTUM: Duration = Duration::from_micros(250);

/// When how much may be sent.
pub(super) struct Throttle {
    counters: Box<dyn FnMut(u32) -> Option<u64> + Send>,
    /// When the present quantum began.
    start: Instant,
    /// Frames sent in it.
    frames: u32,
    /// The interface whose ring is empty, and how many packets it had sent then.
    empty: Option<(u32, u64)>,
}

impl Throttle {
    /// By the counters of the network namespace that this thread is in.
    pub(super) fn new(now: Instant) -> Self {
        let mut counters = Counters::default();
        Self::by(now, move |interface| counters.sent(interface))
    }

    fn by(now: Instant, counters: impl FnMut(u32) -> Option<u64> + Send + 'static) -> Self {
        Self {
            counters: Box::new(counters),
            start: now,
            frames: 0,
            empty: None,
        }
    }

    /// How many frames may be sent now, and by which interface alone, if it is so many for a single one.
    pub(super) fn room(&self, now: Instant) -> (u32, Option<u32>) {
        match self.empty {
            Some((interface, _)) => (LONG_RUN, Some(interface)),
            None if now.saturating_duration_since(self.start) >= QUANTUM => (BATCH, None),
            None => (BATCH.saturating_sub(self.frames), None),
        }
    }

    /// When there is room again.
    pub(super) fn until(&self) -> Instant {
        match self.frames >= BATCH && self.empty.is_none() {
            true => self.start + QUANTUM,
            false => self.start,
        }
    }

    /// Before so many frames are sent by an interface, if it is a single one, as far as is known.
    pub(super) fn sending(&mut self, now: Instant, interface: Option<u32>, frames: u32) {
        let is_empty = self
            .empty
            .is_some_and(|(empty, _)| Some(empty) == interface);
        if is_empty {
            return;
        }
        self.empty = None;
        let began = now.saturating_duration_since(self.start) >= QUANTUM;
        // Looking costs as much as some packets: worth it for a second full batch.
        if let Some(interface) = interface
            && began
            && self.frames >= BATCH
            && frames >= BATCH
            && let Some(sent) = (self.counters)(interface)
        {
            self.empty = Some((interface, sent));
        }
    }

    /// So many frames were sent.
    pub(super) fn sent(&mut self, now: Instant, frames: u32) {
        if now.saturating_duration_since(self.start) >= QUANTUM {
            self.start = now;
            self.frames = 0;
        }
        self.frames += frames;
        if frames < BATCH {
            // It was the last of many.
            self.empty = None;
        }
        if let Some((interface, before)) = self.empty {
            let sent = (self.counters)(interface);
            // More would be what others sent as well: how much of the ring is theirs cannot be told.
            self.empty = match sent {
                Some(sent) if sent.wrapping_sub(before) == u64::from(frames) => {
                    Some((interface, sent))
                }
                _ => None,
            };
        }
    }
}

/// The kernel's counters of packets sent, by the index of the interface.
#[derive(Default)]
struct Counters {
    socket: Option<OwnedFd>,
    name: Option<(u32, String)>,
}

impl Counters {
    /// Where this thread's namespace shows its counters. Not in /sys, which belongs to whoever mounted it.
    const FILE: &str = "/proc/thread-self/net/dev";

    fn sent(&mut self, interface: u32) -> Option<u64> {
        let name = self.name(interface)?;
        let sent = sent_of(&std::fs::read_to_string(Self::FILE).ok()?, &name);
        if sent.is_none() {
            // It has another name by now, or is gone.
            self.name = None;
        }
        sent
    }

    fn name(&mut self, interface: u32) -> Option<String> {
        if let Some((known, name)) = &self.name
            && *known == interface
        {
            return Some(name.clone());
        }
        if self.socket.is_none() {
            self.socket = socket(AddressFamily::INET6, SocketType::DGRAM, None).ok();
        }
        let name = index_to_name(self.socket.as_ref()?, interface).ok()?;
        self.name = Some((interface, name.clone()));
        Some(name)
    }
}

/// The packets that an interface of this name sent, by what the kernel says of all of them.
fn sent_of(table: &str, name: &str) -> Option<u64> {
    const PACKETS_SENT: usize = 9;
    let columns = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(of, _)| of.trim() == name)?
        .1;
    columns
        .split_ascii_whitespace()
        .nth(PACKETS_SENT)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use super::*;

    #[test]
    fn no_more_is_sent_in_one_quantum_than_the_rings_take() {
        let start = Instant::now();
        let mut throttle = Throttle::by(start, |_| None);
        throttle.sending(start, Some(1), BATCH - 5);
        throttle.sent(start, BATCH - 5);
        assert_eq!(throttle.room(start), (5, None));
        throttle.sent(start + QUANTUM / 2, 5);
        assert_eq!(throttle.room(start + QUANTUM / 2), (0, None));
        assert_eq!(throttle.until(), start + QUANTUM);
        assert_eq!(throttle.room(start + QUANTUM), (BATCH, None));
    }

    #[test]
    fn what_is_known_to_have_left_makes_room_at_once_for_more_by_the_same_interface() {
        let start = Instant::now();
        let count = Arc::new(AtomicU64::new(1000));
        let counted = count.clone();
        let mut throttle = Throttle::by(start, move |_| Some(counted.load(Relaxed)));
        let run = |throttle: &mut Throttle, now, frames: u32, left: u32| {
            throttle.sending(now, Some(7), frames);
            count.fetch_add(left.into(), Relaxed);
            throttle.sent(now, frames);
            (throttle.room(now).1, throttle.until() <= now)
        };
        let now = start + QUANTUM;
        assert_eq!(run(&mut throttle, now, BATCH, BATCH), (None, false));
        let now = now + QUANTUM;
        assert_eq!(run(&mut throttle, now, BATCH, BATCH), (Some(7), true));
        assert_eq!(run(&mut throttle, now, LONG_RUN, LONG_RUN), (Some(7), true));
        // One that is still in the ring, or somebody else's, and it is as if nothing were known.
        assert_eq!(
            run(&mut throttle, now, LONG_RUN, LONG_RUN - 1),
            (None, false)
        );
    }

    #[test]
    fn another_interface_has_another_ring() {
        let start = Instant::now();
        let mut throttle = Throttle::by(start, |_| Some(0));
        throttle.empty = Some((7, 0));
        throttle.sending(start, Some(8), 5);
        assert_eq!(throttle.room(start), (BATCH, None));
        throttle.empty = Some((7, 0));
        throttle.sending(start, None, 5);
        assert_eq!(throttle.empty, None);
    }

    #[test]
    fn the_kernels_table_is_read_by_name() {
        let table = "Inter-|   Receive    |  Transmit\n face |bytes packets|bytes packets\n    \
                     lo:    1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n  out0: 5 6 0 0 0 0 0 0 7 8 0 0 0 0 0 0\n";
        assert_eq!(sent_of(table, "out0"), Some(8));
        assert_eq!(sent_of(table, "lo"), Some(4));
        assert_eq!(sent_of(table, "out"), None);
    }
}
