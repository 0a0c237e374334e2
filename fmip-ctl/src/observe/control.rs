//! The control socket: accepts clients, parses their requests, and hands them to the event loop.
//!
//! It runs on the event loop's thread but never in its way: the loop gets parsed [`Order`]s
//! through a bounded channel and publishes events without waiting for anybody. A client that
//! sends rubbish is answered and counted, one that does not read its events is disconnected.

use std::{
    fs, io,
    net::Ipv6Addr,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, oneshot, watch,
    },
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    Answer, ControlCounts, Heard, MAX_REQUEST, Request, RequestError, Status, Trigger,
    show::{BindingEntry, BufferEntry, DataPath, Listed, MobileState, Page},
};
use crate::link::{damping::Outcome, vocabulary::Indication};

/// Events that a subscriber may be behind before it is disconnected: several handovers' worth.
const EVENT_QUEUE: usize = 1_024;
/// Orders that may wait for the event loop.
const ORDER_QUEUE: usize = 16;
/// Connections at a time; each costs a task and a buffer.
const MAX_CONNECTIONS: usize = 64;
/// How long one line may take to be written to a client that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the clients have at the end to take what was written for them.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// Only the owner and the group of the controller may give it orders.
const SOCKET_MODE: u32 = 0o660;

/// What a client wants of the event loop. A dropped `reply` is answered with an error.
#[derive(Debug)]
pub enum Order {
    /// Asks what the controller did and does.
    Status {
        /// Takes the answer.
        reply: oneshot::Sender<Result<Status, String>>,
    },
    /// Asks for the data path as a whole.
    DataPath {
        /// Takes the answer.
        reply: oneshot::Sender<Result<DataPath, String>>,
    },
    /// Asks for what is bound.
    Bindings {
        /// Which part of it.
        page: Page,
        /// Takes the answer.
        reply: oneshot::Sender<Result<Listed<BindingEntry>, String>>,
    },
    /// Asks for the handover buffers.
    Buffers {
        /// Which of them.
        page: Page,
        /// Takes the answer.
        reply: oneshot::Sender<Result<Listed<BufferEntry>, String>>,
    },
    /// Reports what the link layer did or is about to do, or asks for an act.
    Trigger {
        /// What that is.
        trigger: Trigger,
        /// Takes `Ok` once the core was told, or the reason why it was not.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Tells a primitive of the link layer, or answers one.
    Primitive {
        /// What is told.
        indication: Indication,
        /// Takes what became of it, or the reason why it was refused.
        reply: oneshot::Sender<Result<Outcome, String>>,
    },
    /// Asks what a mobile node knows and does.
    Mobile {
        /// Takes the answer.
        reply: oneshot::Sender<Result<MobileState, String>>,
    },
    /// Tells that Mobile IPv6 has registered a care-of address.
    Registered {
        /// The care-of address.
        care_of: Ipv6Addr,
        /// Takes `Ok` once the core was told, or why that cannot be.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Asks for the configuration file to be read again.
    Reload {
        /// Takes `Ok` once the new configuration is in use, or why the old one still is.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Asks the controller to end.
    Shutdown {
        /// Takes `Ok`; to be sent before [`ControlSocket::stop`].
        reply: oneshot::Sender<Result<(), String>>,
    },
}

/// The channel on which the event loop gets its [`Order`]s.
pub fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(ORDER_QUEUE)
}

/// Carries events from the event loop to all subscribers.
#[derive(Clone, Debug)]
pub struct EventBus(broadcast::Sender<Arc<str>>);

impl Default for EventBus {
    fn default() -> Self {
        Self(broadcast::Sender::new(EVENT_QUEUE))
    }
}

impl EventBus {
    /// Hands an event to all subscribers, waiting for none of them.
    ///
    /// `time_ns` is its time on the kernel's monotonic clock; `event` must serialize as an object
    /// with its name in a field `event`, as an enum with `#[serde(tag = "event")]` does.
    pub fn publish(&self, time_ns: u64, event: &impl Serialize) {
        #[derive(Serialize)]
        struct Record<'a, T> {
            time_ns: u64,
            #[serde(flatten)]
            event: &'a T,
        }
        if self.0.receiver_count() == 0 {
            return;
        }
        match serde_json::to_string(&Record { time_ns, event }) {
            // That the last subscriber left meanwhile is no error.
            Ok(line) => drop(self.0.send((line + "\n").into())),
            Err(error) => warn!(%error, "an event is no JSON object"),
        }
    }
}

/// Why the control socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another controller has it.
    #[error(
        "a controller listens on {} already: end it, or give this one another control-socket",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something else is in its place.
    #[error("{} exists and is no socket: remove it, or give another control-socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("cannot {action} control socket {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

#[derive(Debug, Default)]
struct Counters {
    bad_requests: AtomicU64,
    refused_primitives: AtomicU64,
    slow_subscribers: AtomicU64,
    refused_connections: AtomicU64,
}

impl Counters {
    fn snapshot(&self) -> ControlCounts {
        ControlCounts {
            bad_requests: self.bad_requests.load(Ordering::Relaxed),
            refused_primitives: self.refused_primitives.load(Ordering::Relaxed),
            slow_subscribers: self.slow_subscribers.load(Ordering::Relaxed),
            refused_connections: self.refused_connections.load(Ordering::Relaxed),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The directory of a control socket, and of the sockets beside it that the daemons of the link layer answer
/// to. If it was made here it is removed when this is dropped; it stays if somebody else uses it by then.
#[derive(Debug)]
pub struct Directory {
    made: Option<PathBuf>,
}

impl Directory {
    /// Makes the directory of the control socket at `socket`, if there is none.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn of(socket: &Path) -> Result<Self, ControlError> {
        let Some(directory) = socket.parent() else {
            return Ok(Self { made: None });
        };
        match fs::create_dir(directory) {
            Ok(()) => Ok(Self {
                made: Some(directory.to_owned()),
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self { made: None }),
            Err(source) => Err(ControlError::Io {
                action: "make the directory of",
                path: socket.to_owned(),
                source,
            }),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Some(directory) = &self.made {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The listening socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    file: SocketFile,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Makes the socket, in a directory that is there ([`Directory`]), and serves it on the running tokio
    /// runtime.
    ///
    /// Clients take a connection for "everything is loaded": call it last. A socket file that
    /// nobody listens on any more, as a killed controller leaves it, is replaced.
    ///
    /// # Errors
    /// [`ControlError`]; nothing is left behind then.
    pub fn start(
        path: &Path,
        orders: mpsc::Sender<Order>,
        events: EventBus,
    ) -> Result<Self, ControlError> {
        let (listener, file) = bind(path)?;
        let (stop, stopped) = watch::channel(false);
        let shared = Shared {
            orders,
            events,
            stopped,
            counters: Arc::default(),
        };
        Ok(Self {
            file,
            stop,
            task: tokio::spawn(serve(listener, shared)),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Takes no more connections, gives the clients half a second to take their answers and
    /// events, and closes.
    pub async fn stop(mut self) {
        self.file.remove();
        self.stop.send_replace(true);
        if timeout(STOP_TIMEOUT, &mut self.task).await.is_err() {
            debug!("clients of the control socket were cut off");
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The socket's file, removed on drop if it is still this socket's.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn remove(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ControlError> {
    let failed = |action| {
        move |source| ControlError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ControlError::NotASocket(path.to_owned()));
        }
        Ok(_) => {
            if is_listened_on(path).map_err(failed("look at"))? {
                return Err(ControlError::InUse(path.to_owned()));
            }
            debug!(path = %path.display(), "replacing a control socket that nobody listens on");
            fs::remove_file(path).map_err(failed("replace"))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
    }
    let address = SockAddr::unix(path).map_err(failed("bind"))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("make"))?;
    socket.bind(&address).map_err(failed("bind"))?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path).map_err(failed("look at"))?,
    };
    // Before `listen`: nobody can connect while the mode is still the umask's.
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))
        .map_err(failed("set the mode of"))?;
    socket
        .listen(MAX_CONNECTIONS as i32)
        .map_err(failed("listen on"))?;
    socket.set_nonblocking(true).map_err(failed("listen on"))?;
    let listener = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
    let listener = UnixListener::from_std(listener).map_err(failed("listen on"))?;
    Ok((listener, file))
}

fn is_listened_on(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose backlog is full would otherwise block us.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}

#[derive(Clone)]
struct Shared {
    orders: mpsc::Sender<Order>,
    events: EventBus,
    stopped: watch::Receiver<bool>,
    counters: Arc<Counters>,
}

async fn serve(listener: UnixListener, shared: Shared) {
    let mut stopped = shared.stopped.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = ended(&mut stopped) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(Connection::new(stream, shared.clone()).run());
                }
                Ok((stream, _)) => {
                    count(&shared.counters.refused_connections);
                    // Its socket buffer is empty: there is room for the line.
                    let _ = stream.try_write(
                        error_line("too many connections: close one").as_bytes(),
                    );
                }
                Err(error) => {
                    warn!(%error, "cannot accept on the control socket");
                    // Out of descriptors, most likely: without a pause this would spin.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Returns once the controller ends.
async fn ended(stopped: &mut watch::Receiver<bool>) {
    // An error means that the socket was dropped, which is an end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn error_line(error: &str) -> String {
    line(&Answer::<()> {
        ok: false,
        error: Some(error.to_owned()),
        body: None,
    })
}

fn ok_line() -> String {
    line(&Answer::<()> {
        ok: true,
        error: None,
        body: None,
    })
}

fn body_line(body: impl Serialize) -> String {
    line(&Answer {
        ok: true,
        error: None,
        body: Some(body),
    })
}

fn line(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("answers have string keys and derived serializers") + "\n"
}

/// What [`read_line`] met.
enum Line {
    Complete,
    TooLong,
    End,
}

/// Reads up to a newline or the end into `line`, keeping at most `MAX_REQUEST` octets.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Line> {
    line.clear();
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            // A last line may do without its newline.
            return Ok(if line.is_empty() {
                Line::End
            } else {
                Line::Complete
            });
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        if line.len() + part.len() > MAX_REQUEST {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(Line::Complete);
        }
    }
}

struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    shared: Shared,
}

impl Connection {
    fn new(stream: UnixStream, shared: Shared) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::new(reader),
            writer,
            shared,
        }
    }

    async fn run(mut self) {
        if let Err(error) = self.requests().await {
            // Clients come and go: no more than a detail.
            debug!(%error, "a control connection broke");
        }
    }

    async fn requests(&mut self) -> io::Result<()> {
        let mut stopped = self.shared.stopped.clone();
        let mut request = Vec::new();
        loop {
            let read = tokio::select! {
                read = read_line(&mut self.reader, &mut request) => read?,
                () = ended(&mut stopped) => return Ok(()),
            };
            match read {
                Line::End => return Ok(()),
                Line::TooLong => {
                    count(&self.shared.counters.bad_requests);
                    // What follows belongs to the same line: there is no next request to find.
                    return self
                        .write(&error_line(&format!(
                            "a request has {MAX_REQUEST} octets at most"
                        )))
                        .await;
                }
                Line::Complete => {}
            }
            match Request::parse(&request) {
                Ok(Request::Subscribe) => return self.stream_events().await,
                Ok(request) => {
                    let answer = self.carry_out(request).await;
                    self.write(&answer).await?;
                }
                Err(error) => {
                    let counters = &self.shared.counters;
                    count(match error {
                        RequestError::Primitive(_) => &counters.refused_primitives,
                        _ => &counters.bad_requests,
                    });
                    self.write(&error_line(&error.to_string())).await?;
                }
            }
        }
    }

    /// The answer to a request other than `subscribe`.
    async fn carry_out(&self, request: Request) -> String {
        const ENDING: &str = "the controller is ending";
        async fn ask<T>(
            orders: &mpsc::Sender<Order>,
            order: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Order,
        ) -> Result<T, String> {
            let (reply, answer) = oneshot::channel();
            if orders.send(order(reply)).await.is_err() {
                return Err(ENDING.to_owned());
            }
            answer.await.unwrap_or_else(|_| Err(ENDING.to_owned()))
        }
        let orders = &self.shared.orders;
        let done = match request {
            Request::Status => match ask(orders, |reply| Order::Status { reply }).await {
                Ok(mut status) => {
                    status.control = self.shared.counters.snapshot();
                    return body_line(status);
                }
                Err(error) => Err(error),
            },
            Request::ShowDatapath => match ask(orders, |reply| Order::DataPath { reply }).await {
                Ok(data_path) => return body_line(data_path),
                Err(error) => Err(error),
            },
            Request::ShowBindings(page) => {
                match ask(orders, |reply| Order::Bindings { page, reply }).await {
                    Ok(bindings) => return body_line(bindings),
                    Err(error) => Err(error),
                }
            }
            Request::ShowBuffers(page) => {
                match ask(orders, |reply| Order::Buffers { page, reply }).await {
                    Ok(buffers) => return body_line(buffers),
                    Err(error) => Err(error),
                }
            }
            Request::Trigger(trigger) => {
                let done = ask(orders, |reply| Order::Trigger { trigger, reply }).await;
                if done.is_err() {
                    count(&self.shared.counters.refused_primitives);
                }
                done
            }
            Request::Primitive(indication) => {
                let primitive = |reply| Order::Primitive { indication, reply };
                match ask(orders, primitive).await {
                    Ok(outcome) => return body_line(Heard { outcome }),
                    Err(error) => {
                        count(&self.shared.counters.refused_primitives);
                        Err(error)
                    }
                }
            }
            Request::ShowMobile => match ask(orders, |reply| Order::Mobile { reply }).await {
                Ok(mobile) => return body_line(mobile),
                Err(error) => Err(error),
            },
            Request::Registered { care_of } => {
                ask(orders, |reply| Order::Registered { care_of, reply }).await
            }
            Request::Reload => ask(orders, |reply| Order::Reload { reply }).await,
            Request::Shutdown => ask(orders, |reply| Order::Shutdown { reply }).await,
            Request::Subscribe => Err("subscribe has no answer of this kind".to_owned()),
        };
        match done {
            Ok(()) => ok_line(),
            Err(error) => error_line(&error),
        }
    }

    /// Writes events until the client closes, falls behind, or the controller ends.
    async fn stream_events(&mut self) -> io::Result<()> {
        // First subscribe, then say so: the client may rely on what happens after the answer.
        let mut events = self.shared.events.0.subscribe();
        self.write(&ok_line()).await?;
        let mut stopped = self.shared.stopped.clone();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                read = self.reader.fill_buf() => {
                    let length = read?.len();
                    if length == 0 {
                        return Ok(());
                    }
                    // Nothing is asked for on this connection any more.
                    self.reader.consume(length);
                    continue;
                }
                () = ended(&mut stopped) => {
                    // What was published before the end is still delivered.
                    while let Ok(event) = events.try_recv() {
                        self.write(&event).await?;
                    }
                    return Ok(());
                }
            };
            let too_slow = match event {
                Ok(event) => match self.write(&event).await {
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => true,
                    written => {
                        written?;
                        false
                    }
                },
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return Ok(()),
            };
            if too_slow {
                count(&self.shared.counters.slow_subscribers);
                warn!("a subscriber does not read its events: disconnected");
                let line = error_line("events were lost: read faster, or subscribe again");
                // Only if there is room; half a line may stand there already.
                let _ = self.writer.try_write(line.as_bytes());
                return Ok(());
            }
        }
    }

    async fn write(&mut self, line: &str) -> io::Result<()> {
        timeout(WRITE_TIMEOUT, self.writer.write_all(line.as_bytes()))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
