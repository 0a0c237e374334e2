//! Waiting for conditions with a deadline, and giving up when the user presses Ctrl-C.

use std::{
    env, io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

/// How long the machine gets for what should take milliseconds: far beyond any load seen, so that only
/// something broken reaches it, also where the processor is emulated and ten times slower.
pub const SOON: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Whether the processor is emulated, and ten times slower: `cargo xtask vm-test` says so.
pub fn is_emulated() -> bool {
    env::var_os("FMIP_EMULATED").is_some()
}

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The user asked the lab to end.
#[derive(Copy, Clone, Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// From here on SIGINT and SIGTERM end every [`wait_until`] with [`Interrupted`] instead of ending the
/// process, so that the drop guards of namespaces and processes run.
pub fn catch_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, INTERRUPTED.clone())?;
    }
    Ok(())
}

/// Fails with [`Interrupted`] once the user has asked for the end.
pub fn check_interrupted() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Interrupted);
    }
    Ok(())
}

/// Asks `condition` again and again until it answers with a value, at most for `deadline`.
///
/// # Errors
/// The condition's own error at once; [`Interrupted`]; or, when the deadline has passed, an error that
/// names `what` was waited for.
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        check_interrupted()?;
        if let Some(value) = condition().with_context(|| format!("while waiting for {what}"))? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {deadline:?} for {what} in vain");
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Lets `duration` pass: for times that are parameters of an experiment, never for guesses.
pub fn elapse(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    loop {
        check_interrupted()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Like [`wait_until`], for the way out: it does not stop for Ctrl-C, and only tells whether the
/// condition came true.
pub(crate) fn poll(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_until_it_answers() {
        let mut asked = 0;
        let answer = wait_until("three", SOON, || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(answer.unwrap(), 3);
    }

    #[test]
    fn a_passed_deadline_names_what_was_waited_for() {
        let error = wait_until::<()>("Godot", Duration::ZERO, || Ok(None)).unwrap_err();
        assert!(error.to_string().contains("Godot"), "{error}");
    }

    #[test]
    fn an_error_of_the_condition_ends_the_wait() {
        let error = wait_until::<()>("Godot", SOON, || bail!("no tree")).unwrap_err();
        assert!(format!("{error:#}").contains("no tree"), "{error:#}");
    }
}
