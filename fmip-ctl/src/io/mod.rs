//! Thin adapters between the protocol core and Linux: the only place that knows sockets,
//! netlink, the BPF maps and a clock.
//!
//! Reading order: `run` goes from the configuration to a `controller`, the loop that carries every
//! input to the core; `execute` carries out what the core commands, in the data path ([`maps`],
//! [`drain`]) and in the kernel ([`netlink`]). [`load`] and [`attach`] bring the programs where the
//! packets are; [`transmit`] and [`signals`] are the two ways of signalling.

pub mod addresses;
pub mod admission;
pub mod attach;
mod bindings;
mod bpf_link;
mod check;
mod clsact;
mod controller;
pub mod devices;
pub mod drain;
mod events;
mod execute;
mod far_ends;
mod features;
mod hook;
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
mod sequences;
mod show;
pub mod signals;
pub mod transmit;
mod triggers;
mod watch;
mod whereabouts;

pub use run::run;

/// The kernel's monotonic clock in nanoseconds: the one that the data path reads.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
