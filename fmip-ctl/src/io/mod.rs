//! Thin adapters between the protocol core and Linux: the only room that knows sockets, netlink,
//! the BPF maps and a clock.

pub mod check;
pub mod drain;
mod ethtool;
pub mod load;
pub mod maps;
pub mod netlink;
pub mod signals;
pub mod transmit;

/// The kernel's monotonic clock in nanoseconds: the one that the data path reads.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Runs the controller as `config` says, until it is told to end.
///
/// # Errors
/// This machine cannot run it.
pub async fn run(config: crate::config::Config) -> anyhow::Result<()> {
    check::preconditions()?;
    anyhow::bail!(
        "the event loop of an {} is not built in",
        config.role.name()
    )
}
