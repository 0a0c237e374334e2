//! Signals of other processes: which ask the controller to end, and which for its configuration.

use std::fs::File;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGINT, SIGTERM, or the terminal went away.
    End,
    /// SIGHUP: read the configuration file again.
    Reload,
}

/// The signals that the controller listens to.
pub(super) struct Requests {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Whether there was a controlling terminal at the start.
    terminal: bool,
}

impl Requests {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            hangup: signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?,
            terminal: has_terminal(),
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::End,
            _ = self.terminate.recv() => Request::End,
            _ = self.hangup.recv() => hangup(self.terminal, has_terminal()),
        }
    }
}

/// What a SIGHUP means: a reload, as with any daemon; but who closes the terminal that the
/// controller was started from wants it to end, as any program in that terminal.
fn hangup(had_terminal: bool, has_terminal: bool) -> Request {
    if had_terminal && !has_terminal {
        Request::End
    } else {
        Request::Reload
    }
}

/// Whether this process has a controlling terminal: the kernel takes it away before it tells of
/// the hangup.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_own_terminal_is_an_end() {
        assert_eq!(hangup(true, false), Request::End);
        assert_eq!(hangup(true, true), Request::Reload);
        assert_eq!(hangup(false, false), Request::Reload);
    }
}
