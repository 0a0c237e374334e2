//! Records from the kernel to user space.

use crate::{
    binding::Address,
    limits::{EVENTS_PER_SECOND, SIGNAL_BYTES},
    signalling::Rate,
};

/// What stands before the frame in a record of signalling.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalHeader {
    /// Arrival, on the clock of `bpf_ktime_get_ns`.
    pub arrival_ns: u64,
    /// Index of the interface it came in on.
    pub interface: u32,
    /// The queue that it is counted in (see [`crate::signalling`]).
    pub queue: u32,
    /// Octets of the frame that are in the record.
    pub length: u32,
    /// Octets of the frame as it came; more than `length` if it was cut.
    pub whole: u32,
    /// The frame's link-layer source.
    pub link_source: [u8; 6],
    /// Where in the frame the IPv6 header starts.
    pub network: u16,
}
const _: () = assert!(size_of::<SignalHeader>() == 32);

/// One frame of signalling, as it arrived. Only as much of it is sent as the frame is long.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// What is known of it.
    pub header: SignalHeader,
    /// The frame from the Ethernet header on.
    pub frame: [u8; SIGNAL_BYTES],
}
const _: () = assert!(size_of::<Signal>() == size_of::<SignalHeader>() + SIGNAL_BYTES);

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal;)+) => {
        /// What happened in the data path that people want to see, not only counted.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Kind {
            /// All kinds, in the order of their numbers.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)+];
        }
    };
}

kinds! {
    /// A tunnelled packet from or to a bound address that came from another end than the binding's, or one
    /// from a bound address that came in elsewhere than on that node's link. Addresses: the outer source (or
    /// the packet's own), the inner source and destination (or the packet's destination).
    Spoofed = 0;
    /// Signalling that was not given to the controller. Addresses: source and destination. Detail: the
    /// number of the [`Reason`](crate::reason::Reason).
    SignalRefused = 1;
    /// The first packet that a buffer holds, or the first copy, signalling to the node apart. Addresses:
    /// the packet's source and the bound address.
    FirstHeld = 2;
    /// A packet was not held, for all slots are in use. Addresses: as in `FirstHeld`.
    PoolFull = 3;
    /// A packet was handed to the kernel, which knows the next hop but not its link-layer address.
    /// Addresses: source and destination, of a packet in a tunnel the tunnel's.
    NextHopMissing = 4;
}

/// How many kinds there are.
pub const KINDS: u32 = Kind::ALL.len() as u32;

/// Events of one kind that are told; others are counted as lost.
pub const EVENT_RATE: Rate = Rate::per_second(EVENTS_PER_SECOND, EVENTS_PER_SECOND);

/// One thing that happened.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When, on the clock of `bpf_ktime_get_ns`.
    pub time_ns: u64,
    /// The number of its [`Kind`].
    pub kind: u32,
    /// Index of the interface that the packet came in on.
    pub interface: u32,
    /// What the kind says.
    pub detail: u32,
    /// The frame's link-layer source; zeros if it has none.
    pub link_source: [u8; 6],
    /// 0.
    pub reserved: [u8; 6],
    /// What the kind says; the unspecified address where it says nothing.
    pub addresses: [Address; 3],
}
const _: () = assert!(size_of::<Event>() == 80);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_kinds_are_the_places_in_the_list() {
        for (place, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
    }
}
