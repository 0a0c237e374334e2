//! The client's end of the control socket, blocking: for the subcommands and for the lab.

use std::{
    io::{self, Read, Write},
    net::Ipv6Addr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    EventRecord, Heard, Request, Status, Trigger,
    show::{BindingEntry, BufferEntry, DataPath, Listed, MobileState, Page},
};
use crate::link::{damping::Outcome, vocabulary::Indication};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest line accepted from a controller, in octets: a status with many handovers.
const MAX_LINE: usize = 16 << 20;

/// What can go wrong between a client and its controller.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "no controller listens on {}: is `fmip-ctl run` running, and is this its control-socket?",
        .0.display()
    )]
    NoController(PathBuf),
    /// The socket's mode does not let us.
    #[error("no right to use {}: become root or a member of its group", .0.display())]
    NoRight(PathBuf),
    /// The connection broke.
    #[error("the control connection broke")]
    Io(#[from] io::Error),
    /// The controller closed the connection in the middle.
    #[error("the controller closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("nothing came from the controller in time")]
    Timeout,
    /// What came is not what was agreed.
    #[error("the controller's answer is not understood: {0}; is it of another version?")]
    NotUnderstood(String),
    /// The controller refused.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a controller.
#[derive(Debug)]
pub struct Client {
    lines: Lines,
}

impl Client {
    /// Connects to the controller that listens on `path`. That it works means that the controller
    /// has loaded everything.
    ///
    /// # Errors
    /// [`ClientError::NoController`], [`ClientError::NoRight`] or [`ClientError::Io`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoController(path.to_owned())
            }
            io::ErrorKind::PermissionDenied => ClientError::NoRight(path.to_owned()),
            _ => ClientError::Io(error),
        })?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self {
            lines: Lines {
                stream,
                buffer: Vec::new(),
                searched: 0,
            },
        })
    }

    /// Sends a request and returns the answer's object, its `ok` included.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the controller's words if `ok` is false, or what else can go
    /// wrong with a connection.
    pub fn request(&mut self, request: &Request) -> Result<Map<String, Value>, ClientError> {
        let line = serde_json::to_string(request).expect("requests are plain data") + "\n";
        self.lines.stream.write_all(line.as_bytes())?;
        let answer = self
            .lines
            .next_before(Some(Instant::now() + ANSWER_TIMEOUT))?
            .ok_or(ClientError::Closed)?;
        check(parse(&answer)?)
    }

    /// What the controller did and does.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn status(&mut self) -> Result<Status, ClientError> {
        self.read(&Request::Status)
    }

    /// The data path as a whole.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn data_path(&mut self) -> Result<DataPath, ClientError> {
        self.read(&Request::ShowDatapath)
    }

    /// Part of what is bound.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn bindings(&mut self, page: Page) -> Result<Listed<BindingEntry>, ClientError> {
        self.read(&Request::ShowBindings(page))
    }

    /// Part of the handover buffers.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn buffers(&mut self, page: Page) -> Result<Listed<BufferEntry>, ClientError> {
        self.read(&Request::ShowBuffers(page))
    }

    /// The answer to a request, which is a `T`.
    fn read<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let answer = self.request(request)?;
        serde_json::from_value(Value::Object(answer))
            .map_err(|error| ClientError::NotUnderstood(error.to_string()))
    }

    /// Gives a controller a trigger.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn trigger(&mut self, trigger: Trigger) -> Result<(), ClientError> {
        self.request(&Request::Trigger(trigger)).map(drop)
    }

    /// Tells a mobile node's controller a primitive; returns what became of it.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn primitive(&mut self, indication: Indication) -> Result<Outcome, ClientError> {
        let heard: Heard = self.read(&Request::Primitive(indication))?;
        Ok(heard.outcome)
    }

    /// What a mobile node knows and does.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn mobile(&mut self) -> Result<MobileState, ClientError> {
        self.read(&Request::ShowMobile)
    }

    /// Tells a mobile node that Mobile IPv6 has registered its care-of address.
    ///
    /// # Errors
    /// As [`Client::request`]; it is refused if it is not the node's care-of address.
    pub fn registered(&mut self, care_of: Ipv6Addr) -> Result<(), ClientError> {
        self.request(&Request::Registered { care_of }).map(drop)
    }

    /// Has the controller read its configuration file again; returns once the new one is in use.
    ///
    /// # Errors
    /// As [`Client::request`]; if the controller refused, it goes on with what it had.
    pub fn reload(&mut self) -> Result<(), ClientError> {
        self.request(&Request::Reload).map(drop)
    }

    /// Asks the controller to remove what it installed and to end; returns before it has.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn shutdown(&mut self) -> Result<(), ClientError> {
        self.request(&Request::Shutdown).map(drop)
    }

    /// Turns the connection into a stream of the events from now on.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn subscribe(mut self) -> Result<Events, ClientError> {
        self.request(&Request::Subscribe)?;
        Ok(Events { lines: self.lines })
    }
}

/// The events of a controller, in order. As an iterator it waits for as long as it takes.
#[derive(Debug)]
pub struct Events {
    lines: Lines,
}

impl Events {
    /// The next event, or `None` if the controller has ended.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] if none comes before `deadline`, after which one may try again;
    /// [`ClientError::Refused`] if the controller has given us up for being slow.
    pub fn next_before(&mut self, deadline: Instant) -> Result<Option<EventRecord>, ClientError> {
        self.next_line(Some(deadline))
    }

    fn next_line(&mut self, deadline: Option<Instant>) -> Result<Option<EventRecord>, ClientError> {
        let Some(line) = self.lines.next_before(deadline)? else {
            return Ok(None);
        };
        let object = check(parse(&line)?)?;
        serde_json::from_value(Value::Object(object))
            .map(Some)
            .map_err(|error| ClientError::NotUnderstood(error.to_string()))
    }
}

impl Iterator for Events {
    type Item = Result<EventRecord, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line(None).transpose()
    }
}

fn parse(line: &[u8]) -> Result<Map<String, Value>, ClientError> {
    serde_json::from_slice(line).map_err(|error| ClientError::NotUnderstood(error.to_string()))
}

/// The object, unless its `ok` is false. Events have no `ok`.
fn check(object: Map<String, Value>) -> Result<Map<String, Value>, ClientError> {
    if object.get("ok") == Some(&Value::Bool(false)) {
        let error = object.get("error").and_then(Value::as_str);
        return Err(ClientError::Refused(
            error.unwrap_or("refused without a reason").to_owned(),
        ));
    }
    Ok(object)
}

/// A stream cut into lines; what came of a line stays here if the deadline passes.
#[derive(Debug)]
struct Lines {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// How much of `buffer` is known to hold no newline.
    searched: usize,
}

impl Lines {
    fn next_before(&mut self, deadline: Option<Instant>) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let newline = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(position) = newline {
                let rest = self.buffer.split_off(self.searched + position + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                return Err(ClientError::NotUnderstood("a line without end".to_owned()));
            }
            let left = match deadline {
                None => None,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(ClientError::Timeout);
                    }
                    Some(left)
                }
            };
            self.stream.set_read_timeout(left)?;
            let mut chunk = [0; 4_096];
            match self.stream.read(&mut chunk) {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(ClientError::Closed),
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                Err(error) => match error.kind() {
                    // The loop looks at the deadline.
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {}
                    // A controller that was killed.
                    io::ErrorKind::ConnectionReset if self.buffer.is_empty() => return Ok(None),
                    _ => return Err(error.into()),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> (UnixStream, Lines) {
        let (there, here) = UnixStream::pair().unwrap();
        let lines = Lines {
            stream: here,
            buffer: Vec::new(),
            searched: 0,
        };
        (there, lines)
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    #[test]
    fn half_a_line_survives_a_deadline() {
        let (mut there, mut lines) = lines();
        there.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.next_before(soon()).unwrap().unwrap(), b"one");
        assert!(matches!(
            lines.next_before(soon()),
            Err(ClientError::Timeout)
        ));
        there.write_all(b"o\nthree\n").unwrap();
        assert_eq!(lines.next_before(soon()).unwrap().unwrap(), b"two");
        assert_eq!(lines.next_before(None).unwrap().unwrap(), b"three");
        drop(there);
        assert!(lines.next_before(None).unwrap().is_none());
    }

    #[test]
    fn an_end_within_a_line_is_an_error() {
        let (mut there, mut lines) = lines();
        there.write_all(b"one\ntw").unwrap();
        drop(there);
        assert_eq!(lines.next_before(None).unwrap().unwrap(), b"one");
        assert!(matches!(lines.next_before(None), Err(ClientError::Closed)));
    }

    #[test]
    fn a_controller_that_is_not_there_is_named_with_what_to_look_at() {
        let error = Client::connect(Path::new("/nonexistent/x.sock")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no controller listens on /nonexistent/x.sock: is `fmip-ctl run` running, and is this \
             its control-socket?"
        );
    }
}
