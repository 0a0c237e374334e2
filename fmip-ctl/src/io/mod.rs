//! Thin adapters between the protocol core and Linux: the only room that knows sockets, netlink,
//! the BPF maps and a clock.

pub mod addresses;
pub mod admission;
pub mod attach;
mod bindings;
mod bpf_link;
pub mod check;
mod clsact;
mod controller;
pub mod devices;
pub mod drain;
pub mod events;
pub mod execute;
mod far_ends;
pub mod features;
pub mod hook;
mod hostapd;
mod hurry;
mod link;
pub mod load;
mod machine;
pub mod mapped;
pub mod maps;
mod memory;
mod mobile;
pub mod monitor;
pub mod netlink;
pub mod next_hops;
pub mod pool;
pub mod probe;
mod requests;
mod run;
pub mod sequences;
mod show;
pub mod signals;
pub mod transmit;
pub mod triggers;
mod watch;
mod whereabouts;

pub use run::run;

/// The kernel's monotonic clock in nanoseconds: the one that the data path reads.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
