//! Who may send how much signalling to the controller: rates, and shares of the ring that carries it.
//!
//! A message meets three bounds, each with a counter of its own:
//!
//! 1. the rate of its source, so that one station (or router) cannot talk down the others of its link;
//! 2. the rate of its queue, of which every interface has two: one for those that this node expects to
//!    hear from, one for everybody else. Who makes up a new source for every message is one of many in
//!    the second queue, and takes nothing from the first;
//! 3. its queue's share of the ring, so that however many queues are flooded, and however slow the
//!    controller is, there is room for the message of another.

use crate::binding::Address;

/// A rate, as a token bucket is asked for it: how long one token takes to come, and how far ahead of time
/// tokens may be taken. The bucket itself is one word, the time at which it will be full.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds for one token; 0: there is no bound.
    pub interval_ns: u64,
    /// Nanoseconds that all tokens but one take which may be taken at once.
    pub tolerance_ns: u64,
}
const _: () = assert!(size_of::<Rate>() == 16);

impl Rate {
    /// No bound.
    pub const UNBOUNDED: Self = Self {
        interval_ns: 0,
        tolerance_ns: 0,
    };

    /// `number` in a second, and `burst` of them at once; at least one.
    pub const fn per_second(number: u32, burst: u32) -> Self {
        const SECOND: u64 = 1_000_000_000;
        let number = if number == 0 { 1 } else { number };
        let interval_ns = SECOND / number as u64;
        Self {
            interval_ns,
            tolerance_ns: interval_ns * burst.saturating_sub(1) as u64,
        }
    }

    /// Takes a token from a bucket that is `full_at_ns`: when it will be full then; `None` if there is no
    /// token.
    #[inline(always)]
    pub const fn take(&self, full_at_ns: u64, now_ns: u64) -> Option<u64> {
        let full_at_ns = if full_at_ns < now_ns {
            now_ns
        } else {
            full_at_ns
        };
        if full_at_ns - now_ns > self.tolerance_ns {
            return None;
        }
        Some(full_at_ns + self.interval_ns)
    }
}

/// [`Link::kind`]: stations are told apart by their link-layer addresses, which the link may vouch for; an
/// IPv6 address is made up at will. Those in the map of stations, and those that packets are held for or
/// delivered to, are expected.
pub const LINK_ACCESS: u32 = 0;
/// [`Link::kind`]: routers are told apart by their IPv6 addresses, for all share the link-layer address of
/// the last hop. The configured peers are expected.
pub const LINK_CORE: u32 = 1;

/// The queue of those that are expected, counted from [`Link::queue`].
pub const EXPECTED: u32 = 0;
/// The queue of all others.
pub const OTHERS: u32 = 1;
/// Queues of an interface.
pub const QUEUES_PER_LINK: u32 = 2;

/// What signalling is admitted from an interface. Written by the controller, read by the data path.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// One of the `LINK_` constants.
    pub kind: u32,
    /// The first of its queues.
    pub queue: u32,
    /// Of one source, by queue.
    pub source: [Rate; QUEUES_PER_LINK as usize],
    /// Of all sources, by queue.
    pub all: [Rate; QUEUES_PER_LINK as usize],
}
const _: () = assert!(size_of::<Link>() == 72);

/// One queue: those messages in the ring that came by one interface from the expected, or from others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The bucket of [`Link::all`].
    pub full_at_ns: u64,
    /// Octets that were ever put into the ring.
    pub put: u64,
}
const _: () = assert!(size_of::<Queue>() == 16);

/// Who sent a message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// Index of the interface.
    pub interface: u32,
    /// [`LINK_ACCESS`] or [`LINK_CORE`]: what `address` is.
    pub kind: u32,
    /// The link-layer address, with zeros behind it, or the IPv6 address.
    pub address: Address,
}
const _: () = assert!(size_of::<Source>() == 24);

/// A station of an access link.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Station {
    /// Index of the interface.
    pub interface: u32,
    /// Its link-layer address.
    pub address: [u8; 6],
    /// 0.
    pub reserved: [u8; 2],
}
const _: () = assert!(size_of::<Station>() == 12);

/// Octets that a record of `length` octets takes in a ring: with the kernel's header, in whole words.
#[inline(always)]
pub const fn in_ring(length: u64) -> u64 {
    const HEADER: u64 = 8;
    (HEADER + length + 7) & !7
}

/// Whether a queue may have `own` octets in a ring of `size` octets, all of whose queues have `fill`; both
/// with the message that asks.
///
/// A queue of the expected may have twice as much as is free, another as much as is free. So one that is
/// flooded while nobody reads stops at two thirds, or half, of the ring; of any number of them each gets the
/// same, and some is always left for a queue that was quiet.
#[inline(always)]
pub const fn has_share(queue: u32, own: u64, fill: u64, size: u64) -> bool {
    let free = size.saturating_sub(fill);
    let share = if queue == EXPECTED { 2 * free } else { free };
    own <= share
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding (sizes asserted above), every bit pattern valid.
    unsafe impl aya::Pod for super::Link {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Queue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Source {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Station {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many tokens are there at a time.
    fn taken(rate: &Rate, bucket: &mut u64, now: u64) -> usize {
        std::iter::from_fn(|| {
            *bucket = rate.take(*bucket, now)?;
            Some(())
        })
        .take(10_000)
        .count()
    }

    #[test]
    fn a_rate_is_kept_over_time_and_so_is_what_comes_at_once() {
        let rate = Rate::per_second(10, 25);
        let mut bucket = 0;
        let start = 5 * SECOND;
        assert_eq!(taken(&rate, &mut bucket, start), 25);
        assert_eq!(taken(&rate, &mut bucket, start + SECOND / 10 - 1), 0);
        assert_eq!(taken(&rate, &mut bucket, start + SECOND / 10), 1);
        assert_eq!(taken(&rate, &mut bucket, start + SECOND), 9);
        assert_eq!(taken(&rate, &mut bucket, start + 3600 * SECOND), 25);
        // A clock that another processor reads a little earlier.
        assert_eq!(taken(&rate, &mut bucket, start + 3599 * SECOND), 0);
    }

    #[test]
    fn no_bound_admits_all_and_the_least_rate_admits_one() {
        let mut bucket = 0;
        assert_eq!(taken(&Rate::UNBOUNDED, &mut bucket, SECOND), 10_000);
        assert_eq!(
            Rate::per_second(u32::MAX, u32::MAX).take(7, 3).map(drop),
            None,
            "a bucket of another rate is emptied first"
        );
        assert_eq!(
            taken(&Rate::per_second(u32::MAX, 9), &mut 0, SECOND),
            10_000
        );
        assert_eq!(taken(&Rate::per_second(1, 0), &mut 0, SECOND), 1);
        assert_eq!(taken(&Rate::per_second(0, 0), &mut 0, SECOND), 1);
    }

    /// What is in the ring while nobody reads and these queues send without end, in turns.
    fn flooded(queues: &[u32], size: u64) -> Vec<u64> {
        const MESSAGE: u64 = 192;
        let mut own = vec![0; queues.len()];
        loop {
            let mut refused = 0;
            for (place, &queue) in queues.iter().enumerate() {
                let fill: u64 = own.iter().sum();
                if has_share(queue, own[place] + MESSAGE, fill + MESSAGE, size) {
                    own[place] += MESSAGE;
                } else {
                    refused += 1;
                }
            }
            if refused == queues.len() {
                return own;
            }
        }
    }

    #[test]
    fn whoever_floods_there_is_room_for_another() {
        const SIZE: u64 = 1 << 20;
        const LONGEST: u64 = in_ring(32 + 1536);
        for queues in [
            vec![OTHERS],
            vec![EXPECTED],
            vec![OTHERS; 100],
            [vec![OTHERS; 50], vec![EXPECTED; 50]].concat(),
        ] {
            let own = flooded(&queues, SIZE);
            let fill: u64 = own.iter().sum();
            for queue in [EXPECTED, OTHERS] {
                assert!(
                    has_share(queue, LONGEST, fill + LONGEST, SIZE),
                    "{} flooded queues leave {} octets",
                    queues.len(),
                    SIZE - fill
                );
            }
            let least = own.iter().min().expect("there are some");
            assert!(*least > LONGEST, "one has {least} octets only");
        }
        let [alone] = flooded(&[OTHERS], SIZE)[..] else {
            panic!("one queue")
        };
        assert!(alone.abs_diff(SIZE / 2) < 1000, "{alone}");
        let [alone] = flooded(&[EXPECTED], SIZE)[..] else {
            panic!("one queue")
        };
        assert!(alone.abs_diff(SIZE * 2 / 3) < 1000, "{alone}");
    }

    #[test]
    fn a_record_takes_whole_words_and_a_header() {
        assert_eq!(in_ring(0), 8);
        assert_eq!(in_ring(1), 16);
        assert_eq!(in_ring(8), 16);
        assert_eq!(in_ring(9), 24);
    }
}
