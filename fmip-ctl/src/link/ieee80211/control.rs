//! The control interface that wpa_supplicant and hostapd have in common: commands one way, answers
//! and events the other, as datagrams of text.
//!
//! One socket carries both events and answers, so that both come in the order in which they were
//! written: what an answer says after an event is true after that event.

use std::{
    io,
    os::unix::{fs::FileTypeExt as _, net},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use socket2::SockRef;
use tokio::{net::UnixDatagram, time::timeout};

/// How long an answer may take. The daemons do one thing at a time, but none of them takes long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer: `CTRL_IFACE_MAX_LEN`, and more.
const MAX_DATAGRAM: usize = 16 << 10;

/// Whether a datagram is an event and no answer.
pub(crate) fn is_event(datagram: &[u8]) -> bool {
    // The second form is that of the global control interface.
    datagram.starts_with(b"<") || datagram.starts_with(b"IFNAME=")
}

/// What an event says, without its level; `None` if it has none.
pub(crate) fn event_text(event: &str) -> Option<&str> {
    let rest = match event.strip_prefix("IFNAME=") {
        Some(named) => named.split_once(' ')?.1,
        None => event,
    };
    let (level, told) = rest.strip_prefix('<')?.split_once('>')?;
    let is_level = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit());
    is_level.then_some(told)
}

/// What a datagram says; an error is the beginning of one that is no text.
pub(super) fn text(datagram: &[u8]) -> Result<&str, Vec<u8>> {
    std::str::from_utf8(datagram).map_err(|_| datagram[..datagram.len().min(100)].to_vec())
}

/// Text, as far as people need to see it.
pub(super) fn clipped(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Where a daemon answers to at one attempt to connect: a name beside `beside` that no other attempt has,
/// of this process or another. A daemon that hung answers late, and by name: it would be heard at a later
/// attempt.
fn answers(beside: &Path) -> PathBuf {
    static ATTEMPT: AtomicU64 = AtomicU64::new(0);
    let attempt = ATTEMPT.fetch_add(1, Ordering::Relaxed);
    let mut name = beside.as_os_str().to_owned();
    name.push(format!(".{}.{attempt}", std::process::id()));
    name.into()
}

/// Removes what processes left behind that were killed: such names that nobody listens at.
fn remove_remains(beside: &Path) -> io::Result<()> {
    let (Some(directory), Some(name)) = (beside.parent(), beside.file_name()) else {
        return Ok(());
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.file_name();
        let numbers = (found.to_str().zip(name.to_str()))
            .and_then(|(found, name)| found.strip_prefix(name)?.strip_prefix('.')?.split_once('.'));
        let is_ours =
            numbers.is_some_and(|(process, attempt)| is_number(process) && is_number(attempt));
        if is_ours && entry.file_type()?.is_socket() {
            let refused = net::UnixDatagram::unbound()?.connect(entry.path()).err();
            if refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    Ok(())
}

/// A connection to a daemon that gets its events. It is good until the first error: what then
/// comes late would be taken for the answer to another question. When it is dropped, the daemon is told
/// that it need tell nothing any more.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: UnixDatagram,
    own: PathBuf,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to the socket at `path` and asks for events. The daemon answers to a socket beside
    /// `beside`: one in the file system, which is reached from any network namespace.
    ///
    /// # Errors
    /// There is no such socket, nobody listens, or it does not want to tell.
    pub(crate) async fn open(path: &Path, beside: &Path) -> io::Result<Self> {
        if let Some(directory) = beside.parent() {
            std::fs::create_dir_all(directory)?;
        }
        remove_remains(beside)?;
        let own = answers(beside);
        let socket = UnixDatagram::bind(&own).map_err(|error| {
            let own = own.display();
            io::Error::new(
                error.kind(),
                format!("no socket can be made at {own}: {error}"),
            )
        })?;
        let mut connection = Self {
            socket,
            own,
            buffer: vec![0; MAX_DATAGRAM],
        };
        connection.socket.connect(path)?;
        connection.socket.send(b"ATTACH").await?;
        let answer = timeout(PATIENCE, async {
            loop {
                let datagram = connection.receive().await?;
                if !is_event(datagram) {
                    return io::Result::Ok(String::from_utf8_lossy(datagram).trim().to_owned());
                }
            }
        });
        match answer.await {
            Ok(answer) => match answer?.as_str() {
                "OK" => Ok(connection),
                other => Err(io::Error::other(format!(
                    "ATTACH was answered by {other:?}"
                ))),
            },
            Err(_) => Err(io::Error::other("ATTACH was not answered")),
        }
    }

    /// The next datagram. Nothing is lost if this is cancelled.
    pub(crate) async fn receive(&mut self) -> io::Result<&[u8]> {
        let length = self.socket.recv(&mut self.buffer).await?;
        Ok(&self.buffer[..length])
    }

    /// Asks something.
    pub(crate) async fn send(&self, request: &str) -> io::Result<()> {
        self.socket.send(request.as_bytes()).await.map(drop)
    }

    /// Asks for something at the end, when nobody waits for the answer any more. It is not done if the
    /// daemon hangs: the end does not wait for that.
    pub(super) fn ask_at_the_end(&self, request: &str) {
        let _ = SockRef::from(&self.socket).send(request.as_bytes());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The daemon would go on telling of events, to nobody.
        self.ask_at_the_end("DETACH");
        // It is removed at the next start otherwise.
        let _ = std::fs::remove_file(&self.own);
    }
}
