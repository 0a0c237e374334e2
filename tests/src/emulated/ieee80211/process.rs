//! The medium as a process: its sockets, its clock, its radio.

use std::{
    fs,
    future::pending,
    io::{self, Write as _},
    os::unix::net::{SocketAddr, UnixDatagram},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use fmip_ctl::{proto::Instant, wire::MacAddr};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    Control, Daemon, Delays, RecordedStep,
    medium::{AccessPoint, Medium, Output},
    radio::Radio,
};

/// The longest command that wpa_supplicant takes.
const COMMAND: usize = 4096;
/// Commands that wait for the event loop.
const QUEUE: usize = 64;

/// What the process is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// The station's link-layer address.
    pub station: MacAddr,
    /// The name of the station's namespace.
    pub station_namespace: String,
    /// The station's interface.
    pub interface: String,
    /// The other end of it, in the process's namespace.
    pub radio: String,
    /// The network's name.
    pub ssid: String,
    /// Where the station is.
    pub attached: MacAddr,
    /// How long things take.
    pub delays: Delays,
    /// The access points.
    pub access_points: Vec<AccessPoint>,
    /// wpa_supplicant's control socket.
    pub supplicant: PathBuf,
    /// The directory of hostapd's control sockets; each is named as its access point's bridge.
    pub hostapd: PathBuf,
    /// The scenario's socket.
    pub control: PathBuf,
}

/// Whose socket a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Supplicant,
    Hostapd(MacAddr),
}

/// What the event loop is told.
enum Told {
    Command {
        of: Of,
        from: SocketAddr,
        command: String,
    },
    Control(String, oneshot::Sender<String>),
}

/// A daemon's control socket.
struct ControlSocket {
    of: Of,
    path: PathBuf,
    socket: UnixDatagram,
    /// Those who want to hear its events.
    listeners: Vec<SocketAddr>,
    reader: JoinHandle<()>,
}

/// Runs the medium of the namespace that this process is in, until SIGTERM or SIGINT.
///
/// # Errors
/// A socket cannot be made; the radio is not there or does not do what it is told.
pub fn run(configuration: Configuration) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(run_here(configuration))
}

async fn run_here(configuration: Configuration) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (tell, mut told) = mpsc::channel(QUEUE);
    let mut process = Process::start(configuration, tell).await?;
    let result = loop {
        let timeout = process.medium.poll_timeout();
        let result = tokio::select! {
            told = told.recv() => process.hear(told.expect("the process has a sender, too")).await,
            () = sleep_until(timeout) => {
                process.medium.handle_timeout(now());
                process.carry_out().await
            }
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
        };
        if result.is_err() {
            break result;
        }
    };
    process.stop().await?;
    result
}

struct Process {
    medium: Medium,
    station: MacAddr,
    radio: Radio,
    hostapd: PathBuf,
    supplicant: PathBuf,
    control: PathBuf,
    sockets: Vec<ControlSocket>,
    tell: mpsc::Sender<Told>,
    listener: JoinHandle<()>,
}

impl Process {
    async fn start(configuration: Configuration, tell: mpsc::Sender<Told>) -> Result<Self> {
        let Configuration {
            station,
            station_namespace,
            interface,
            radio,
            ssid,
            attached,
            delays,
            access_points,
            supplicant,
            hostapd,
            control,
        } = configuration;
        let radio = Radio::take(&radio, &station_namespace, &interface).await?;
        let ids: Vec<MacAddr> = access_points.iter().map(|point| point.id).collect();
        let medium = Medium::new(station, &ssid, access_points, attached, delays, now());
        fs::create_dir_all(&hostapd)
            .with_context(|| format!("cannot create {}", hostapd.display()))?;
        let listening = UnixListener::bind(&control)
            .with_context(|| format!("cannot listen on {}", control.display()))?;
        let mut process = Self {
            medium,
            station,
            radio,
            hostapd,
            supplicant,
            control,
            sockets: Vec::new(),
            listener: tokio::spawn(listen(listening, tell.clone())),
            tell,
        };
        process.open(Of::Supplicant)?;
        for id in ids {
            process.open(Of::Hostapd(id))?;
        }
        Ok(process)
    }

    fn open(&mut self, of: Of) -> Result<()> {
        if self.sockets.iter().any(|socket| socket.of == of) {
            return Ok(());
        }
        let path = match of {
            Of::Supplicant => self.supplicant.clone(),
            Of::Hostapd(id) => {
                let point = self.medium.access_point(id);
                (self.hostapd).join(&point.context("no such access point")?.bridge)
            }
        };
        let socket = UnixDatagram::bind(&path)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        socket.set_nonblocking(true)?;
        let incoming = tokio::net::UnixDatagram::from_std(socket.try_clone()?)?;
        self.sockets.push(ControlSocket {
            of,
            path,
            listeners: Vec::new(),
            reader: tokio::spawn(read(of, incoming, self.tell.clone())),
            socket,
        });
        Ok(())
    }

    /// A daemon ends: whoever is attached to it hears of that, and finds nobody afterwards.
    fn close(&mut self, of: Of) {
        self.say(of, "CTRL-EVENT-TERMINATING ");
        self.sockets.retain(|socket| {
            if socket.of == of {
                socket.remove();
            }
            socket.of != of
        });
    }

    async fn stop(mut self) -> Result<()> {
        self.listener.abort();
        let open: Vec<Of> = self.sockets.iter().map(|socket| socket.of).collect();
        for of in open {
            self.close(of);
        }
        let _ = fs::remove_file(&self.control);
        self.radio.give_back().await
    }

    async fn hear(&mut self, told: Told) -> Result<()> {
        match told {
            Told::Command { of, from, command } => {
                let answer = self.answer(of, &from, command.trim_end());
                if let Some(socket) = self.sockets.iter_mut().find(|socket| socket.of == of) {
                    socket.send(&answer, &from);
                }
                self.carry_out().await
            }
            Told::Control(line, answer) => {
                let result = self.control(&line);
                let done = self.carry_out().await;
                let text = match result {
                    Ok(()) => json!({"ok": true}),
                    Err(error) => json!({"ok": false, "error": error}),
                };
                // Whoever asked may be gone.
                let _ = answer.send(text.to_string());
                done
            }
        }
    }

    fn answer(&mut self, of: Of, from: &SocketAddr, command: &str) -> String {
        let Some(socket) = self.sockets.iter_mut().find(|socket| socket.of == of) else {
            return String::new();
        };
        match (command, of) {
            ("ATTACH", _) => {
                socket.listeners.retain(|other| !same(other, from));
                socket.listeners.push(from.clone());
                "OK\n".to_owned()
            }
            ("DETACH", _) => {
                let before = socket.listeners.len();
                socket.listeners.retain(|other| !same(other, from));
                let was_there = socket.listeners.len() < before;
                if was_there { "OK\n" } else { "FAIL\n" }.to_owned()
            }
            (_, Of::Supplicant) => self.medium.handle_supplicant_command(now(), command),
            (_, Of::Hostapd(id)) => self.medium.handle_hostapd_command(now(), id, command),
        }
    }

    fn control(&mut self, line: &str) -> Result<(), String> {
        let control: Control = serde_json::from_str(line).map_err(|error| error.to_string())?;
        self.medium.handle_control(now(), control.clone())?;
        let opened = match control {
            Control::AddAccessPoint(point) => self.open(Of::Hostapd(point.id)),
            Control::Daemon { daemon, runs } => {
                let of = match daemon {
                    Daemon::Supplicant => Of::Supplicant,
                    Daemon::Hostapd(id) => Of::Hostapd(id),
                };
                if runs {
                    self.open(of)
                } else {
                    self.close(of);
                    Ok(())
                }
            }
            _ => Ok(()),
        };
        opened.map_err(|error| format!("{error:#}"))
    }

    /// Does all that the medium wants done.
    async fn carry_out(&mut self) -> Result<()> {
        while let Some(output) = self.medium.poll_output() {
            match output {
                Output::Radio(to) => {
                    let bridge = match to {
                        super::medium::Radio::Open(id) => self.medium.access_point(id),
                        _ => None,
                    };
                    let bridge = bridge.map(|point| point.bridge.clone());
                    (self.radio.set(to, bridge.as_deref()).await)
                        .with_context(|| format!("the radio does not become {to:?}"))?;
                }
                Output::Layer2Update(_) => self.radio.send_layer_2_update(self.station)?,
                Output::Step {
                    step,
                    access_point,
                    began,
                } => print(&RecordedStep {
                    time_ns: now().as_nanos(),
                    began_ns: began.as_nanos(),
                    station: self.station,
                    access_point,
                    step,
                })?,
                Output::SupplicantEvent(event) => self.say(Of::Supplicant, &event),
                Output::HostapdEvent(id, event) => self.say(Of::Hostapd(id), &event),
            }
        }
        Ok(())
    }

    /// An event, with wpa_supplicant's level "information" before it.
    fn say(&mut self, of: Of, event: &str) {
        let Some(socket) = self.sockets.iter_mut().find(|socket| socket.of == of) else {
            return;
        };
        let text = format!("<3>{event}");
        for listener in std::mem::take(&mut socket.listeners) {
            if socket.send(&text, &listener) {
                socket.listeners.push(listener);
            }
        }
    }
}

impl ControlSocket {
    /// Whether the other side is still there. One that does not read loses what it does not read.
    fn send(&self, text: &str, to: &SocketAddr) -> bool {
        let sent = self.socket.send_to_addr(text.as_bytes(), to);
        match sent {
            Ok(_) => true,
            Err(error) => {
                eprintln!("cannot tell {to:?} {text:?}: {error}");
                error.kind() == io::ErrorKind::WouldBlock
            }
        }
    }

    fn remove(&self) {
        self.reader.abort();
        let _ = fs::remove_file(&self.path);
    }
}

/// One line on standard output, at once.
fn print(step: &RecordedStep) -> Result<()> {
    let line = serde_json::to_string(step).context("a step has a form in JSON")?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").context("cannot write to standard output")?;
    stdout.flush().context("cannot write to standard output")
}

/// Hands on what comes to a daemon's socket.
async fn read(of: Of, socket: tokio::net::UnixDatagram, tell: mpsc::Sender<Told>) {
    let mut octets = [0; COMMAND];
    loop {
        match socket.recv_from(&mut octets).await {
            Ok((length, from)) => {
                let told = Told::Command {
                    of,
                    from: from.into(),
                    command: String::from_utf8_lossy(&octets[..length]).into_owned(),
                };
                if tell.send(told).await.is_err() {
                    return;
                }
            }
            Err(error) => eprintln!("cannot read from the socket of {of:?}: {error}"),
        }
    }
}

/// Serves the scenario.
async fn listen(listener: UnixListener, tell: mpsc::Sender<Told>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, tell.clone()));
    }
}

async fn serve(stream: UnixStream, tell: mpsc::Sender<Told>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (answer, answered) = oneshot::channel();
        if tell.send(Told::Control(line, answer)).await.is_err() {
            return;
        }
        let Ok(answer) = answered.await else {
            return;
        };
        if writer
            .write_all(format!("{answer}\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

fn same(one: &SocketAddr, other: &SocketAddr) -> bool {
    use std::os::linux::net::SocketAddrExt as _;
    one.as_pathname() == other.as_pathname() && one.as_abstract_name() == other.as_abstract_name()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline - now()).await,
        None => pending().await,
    }
}

/// The kernel's monotonic clock, as everywhere in the lab.
fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (time.tv_sec as u64, time.tv_nsec as u64);
    Instant::from_nanos(seconds * 1_000_000_000 + nanoseconds)
}

/// Reads what the process is started with.
///
/// # Errors
/// The file cannot be read, or is none.
pub fn read_configuration(path: &Path) -> Result<Configuration> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is wrong", path.display()))
}
