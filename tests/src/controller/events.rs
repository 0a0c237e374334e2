//! The events of a running controller, as its control socket tells them.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::wait::{SOON, check_interrupted};

/// The event of a handover that is given up.
const FAILED: &str = "handover-failed";

/// One event of a controller.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened: nanoseconds on the kernel's monotonic clock, which all namespaces share.
    pub time_ns: u64,
    /// Its kebab-case name.
    pub name: String,
    /// Everything that was said about it.
    pub fields: Value,
}

impl Event {
    fn parse(line: &str) -> Result<Self> {
        let fields: Value = serde_json::from_str(line)?;
        Ok(Self {
            time_ns: fields["time_ns"].as_u64().context("no time_ns")?,
            name: fields["event"].as_str().context("no event")?.to_owned(),
            fields,
        })
    }
}

/// The events of one controller since [`subscribe`](super::Controller::subscribe).
#[derive(Clone, Debug)]
pub struct Events {
    of: &'static str,
    shared: Arc<(Mutex<Recorded>, Condvar)>,
}

#[derive(Debug, Default)]
struct Recorded {
    events: Vec<Event>,
    /// Why nothing more will come.
    ended: Option<String>,
}

impl Events {
    pub(super) fn record(of: &'static str, lines: BufReader<UnixStream>) -> Self {
        let shared = Arc::<(Mutex<Recorded>, Condvar)>::default();
        let recorded = shared.clone();
        // It ends with the connection, which ends with the controller.
        thread::spawn(move || {
            let ended = lines
                .lines()
                .find_map(|line| {
                    let line = match line {
                        Ok(line) => line,
                        Err(error) => return Some(error.to_string()),
                    };
                    match Event::parse(&line) {
                        Ok(event) => {
                            let mut held = recorded.0.lock().expect("no holder panics");
                            held.events.push(event);
                            recorded.1.notify_all();
                            None
                        }
                        Err(error) => Some(format!("it says {line:?}: {error:#}")),
                    }
                })
                .unwrap_or_else(|| "the connection was closed".to_owned());
            recorded.0.lock().expect("no holder panics").ended = Some(ended);
            recorded.1.notify_all();
        });
        Self { of, shared }
    }

    /// All events so far.
    pub fn all(&self) -> Vec<Event> {
        let recorded = self.shared.0.lock().expect("no holder panics");
        recorded.events.clone()
    }

    /// The first event of that name so far.
    pub fn first(&self, name: &str) -> Option<Event> {
        self.all().into_iter().find(|event| event.name == name)
    }

    /// How many events of that name there were so far.
    pub fn count(&self, name: &str) -> usize {
        let recorded = self.shared.0.lock().expect("no holder panics");
        (recorded.events.iter())
            .filter(|event| event.name == name)
            .count()
    }

    /// Waits until an event of that name has happened, and returns the first.
    ///
    /// # Errors
    /// At once when the handover is given up (`handover-failed`), when the controller is gone, and on
    /// Ctrl-C; after `deadline` otherwise. The error lists what did happen.
    pub fn wait_for(&self, name: &str, deadline: Duration) -> Result<Event> {
        self.wait(name, 0, 0, deadline)
    }

    /// Waits for one more event of that name than the `before` that there were, and returns it. Unlike
    /// in [`Events::wait_for`], what failed before the call is no reason to give up.
    pub fn wait_for_another(&self, name: &str, before: usize) -> Result<Event> {
        self.wait(name, before, self.count(FAILED), SOON)
    }

    /// Waits for the event `name` that has `before` others before it, unless more than `failures`
    /// handovers fail meanwhile.
    fn wait(
        &self,
        name: &str,
        before: usize,
        failures: usize,
        deadline: Duration,
    ) -> Result<Event> {
        let end = Instant::now() + deadline;
        let mut recorded = self.shared.0.lock().expect("no holder panics");
        loop {
            let find = |name: &str, before: usize| {
                let events = recorded.events.iter();
                events.filter(|event| event.name == name).nth(before)
            };
            if let Some(event) = find(name, before) {
                return Ok(event.clone());
            }
            let failure = if let Some(failed) = find(FAILED, failures) {
                Some(failed.fields.to_string())
            } else if let Some(ended) = &recorded.ended {
                Some(ended.clone())
            } else {
                (Instant::now() >= end).then(|| format!("waited {deadline:?}"))
            };
            if let Some(failure) = failure {
                let names: Vec<_> = recorded.events.iter().map(|e| e.name.as_str()).collect();
                bail!(
                    "no event {name} of {}: {failure}; until now: {names:?}",
                    self.of
                );
            }
            check_interrupted()?;
            (recorded, _) = self
                .shared
                .1
                .wait_timeout(recorded, Duration::from_millis(50))
                .expect("no holder panics");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_event_has_a_time_and_a_name() {
        let line = r#"{"time_ns":12,"event":"fback-received","status":0}"#;
        let event = Event::parse(line).unwrap();
        assert_eq!((event.time_ns, event.name.as_str()), (12, "fback-received"));
        assert_eq!(event.fields["status"], 0);
        assert!(Event::parse(r#"{"event":"x"}"#).is_err());
        assert!(Event::parse("x").is_err());
    }

    #[test]
    fn events_are_recorded_in_order_and_awaited() {
        let (mut there, here) = UnixStream::pair().unwrap();
        let events = Events::record("mn", BufReader::new(here));
        there
            .write_all(b"{\"time_ns\":1,\"event\":\"a\"}\n{\"time_ns\":2,\"event\":\"b\"}\n")
            .unwrap();
        assert_eq!(events.wait_for("b", SOON).unwrap().time_ns, 2);
        assert_eq!(events.first("a").unwrap().time_ns, 1);
        assert_eq!(events.all().len(), 2);
    }

    #[test]
    fn a_failed_handover_and_a_gone_controller_end_the_wait() {
        let (mut there, here) = UnixStream::pair().unwrap();
        let events = Events::record("mn", BufReader::new(here));
        there
            .write_all(b"{\"time_ns\":1,\"event\":\"handover-failed\",\"reason\":\"no-fback\"}\n")
            .unwrap();
        let error = events
            .wait_for("link-switch", SOON)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-fback"), "{error}");

        let (there, here) = UnixStream::pair().unwrap();
        let events = Events::record("mn", BufReader::new(here));
        drop(there);
        let error = events
            .wait_for("link-switch", SOON)
            .unwrap_err()
            .to_string();
        assert!(error.contains("closed"), "{error}");
    }
}
