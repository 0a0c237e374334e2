//! Records from the kernel to user space.

use crate::limits::SIGNAL_BYTES;

/// One frame of signalling, as it arrived.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Arrival, on the clock of `bpf_ktime_get_ns`.
    pub arrival_ns: u64,
    /// Index of the interface it came in on.
    pub interface: u32,
    /// Octets of `frame` that are in use.
    pub length: u32,
    /// The frame from the Ethernet header on.
    pub frame: [u8; SIGNAL_BYTES],
}
const _: () = assert!(size_of::<Signal>() == 16 + SIGNAL_BYTES);
