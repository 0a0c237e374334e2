//! The scheduling of threads that somebody's call waits for.

use std::num::NonZeroU64;

use rustix::{
    process::setpriority_process,
    thread::{gettid, set_current_timer_slack},
};
use tracing::debug;

/// How exactly the thread is woken. The kernel's default of 50 microseconds is a packet's time at
/// twenty thousand packets a second.
const TIMER_SLACK_NS: u64 = 5_000;

/// Asks the scheduler to run the calling thread on time, and those that it starts, with this niceness.
/// Without the rights for it they wait for their turn on a busy machine, and nothing is lost.
pub(super) fn hurry(niceness: i32) {
    if let Err(error) = set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS)) {
        debug!("cannot sharpen the thread's timer: {error}");
    }
    // On Linux a niceness is a thread's own.
    if let Err(error) = setpriority_process(Some(gettid()), niceness) {
        debug!("cannot raise the thread's priority: {error}");
    }
}
