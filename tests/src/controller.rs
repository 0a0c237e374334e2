//! `fmip-ctl` in the lab: its configuration files, its processes, and talking to them.

use std::{
    collections::BTreeMap,
    env,
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv6Addr,
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    process::{Process, tail},
    topology::{
        ACCESS_INTERFACE, AccessPoint, CORE_INTERFACE, Lab, NAR, NAR_LLA, NAR_PREFIX, PAR, PAR_LLA,
        PAR_PREFIX, PCOA, WLAN,
    },
    wait::{SOON, check_interrupted, wait_until},
};

/// How long an answer on a control socket may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The handover key that the lab's mobile node and its access router share.
const KEY: &str = "6c61622d68616e646f7665722d6b6579";

/// What a process of `fmip-ctl` is in the lab.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The previous access router.
    Par,
    /// The new access router.
    Nar,
    /// The mobile node.
    Mn,
}

impl Role {
    /// Its name, which is also its namespace's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Par => "par",
            Self::Nar => "nar",
            Self::Mn => "mn",
        }
    }
}

/// What the lab's configuration files say beyond the topology.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `fmip-ctl` binary.
    pub fmip_ctl: PathBuf,
    /// `--log-level`.
    pub log_level: String,
    /// The `[buffer]` table.
    pub buffer: Buffer,
    /// The `[timers]` table; what is not in it has the RFC's value.
    pub timers: BTreeMap<&'static str, u64>,
    /// Seconds the mobile node asks for in its FBU.
    pub lifetime_s: u32,
    /// The mobile node's key, hexadecimal; the access router has [`Settings::new`]'s.
    pub mobile_node_key: String,
}

impl Settings {
    /// The defaults, with the binary at `fmip_ctl`.
    pub fn new(fmip_ctl: PathBuf) -> Self {
        Self {
            fmip_ctl,
            log_level: "info".to_owned(),
            buffer: Buffer::default(),
            timers: BTreeMap::new(),
            lifetime_s: 60,
            mobile_node_key: KEY.to_owned(),
        }
    }
}

/// The `[buffer]` table; what is `None` is left to the default.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Buffer {
    /// Packets in the pool.
    pub packets: Option<u32>,
    /// Packets of one mobile node.
    pub packets_per_node: Option<u32>,
    /// `paced` or `burst`.
    pub drain: Option<String>,
    /// The factor by which a paced drain is faster than the packets came.
    pub catch_up: Option<f64>,
    /// Milliseconds after which held packets are dropped.
    pub max_hold_ms: Option<u64>,
}

/// The configuration file of one role, as TOML.
fn configuration(role: Role, settings: &Settings, socket: &Path) -> String {
    /// The order is the file's: TOML wants values before tables.
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct File<'a> {
        role: &'static str,
        control_socket: &'a Path,
        #[serde(skip_serializing_if = "Option::is_none")]
        access_router: Option<AccessRouter>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mobile_node: Option<MobileNode<'a>>,
        buffer: &'a Buffer,
        timers: &'a BTreeMap<&'static str, u64>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct AccessRouter {
        core_interfaces: [&'static str; 1],
        access: [Access; 1],
        neighbor: [Neighbor; 1],
        #[serde(skip_serializing_if = "Vec::is_empty")]
        mobile_node: Vec<HandoverKey>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Access {
        interface: &'static str,
        address: Ipv6Addr,
        prefix: &'static str,
        access_points: [&'static str; 1],
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Neighbor {
        address: Ipv6Addr,
        link_address: &'static str,
        prefix: &'static str,
        access_points: [&'static str; 1],
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct HandoverKey {
        pcoa: Ipv6Addr,
        spi: u32,
        key: &'static str,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct MobileNode<'a> {
        interface: &'static str,
        access_router: Ipv6Addr,
        pcoa: Ipv6Addr,
        access_point: &'static str,
        spi: u32,
        key: &'a str,
        lifetime_s: u32,
    }

    const SPI: u32 = 256;
    let par = (PAR, PAR_LLA, PAR_PREFIX, AccessPoint::Previous.id());
    let nar = (NAR, NAR_LLA, NAR_PREFIX, AccessPoint::New.id());
    let router = |own: (Ipv6Addr, _, _, _), neighbor: (Ipv6Addr, _, _, _), keys| AccessRouter {
        core_interfaces: [CORE_INTERFACE],
        access: [Access {
            interface: ACCESS_INTERFACE,
            address: own.0,
            prefix: own.2,
            access_points: [own.3],
        }],
        neighbor: [Neighbor {
            address: neighbor.0,
            link_address: neighbor.1,
            prefix: neighbor.2,
            access_points: [neighbor.3],
        }],
        mobile_node: keys,
    };
    let keys = vec![HandoverKey {
        pcoa: PCOA,
        spi: SPI,
        key: KEY,
    }];
    let file = File {
        role: match role {
            Role::Par | Role::Nar => "access-router",
            Role::Mn => "mobile-node",
        },
        control_socket: socket,
        access_router: match role {
            Role::Par => Some(router(par, nar, keys)),
            Role::Nar => Some(router(nar, par, Vec::new())),
            Role::Mn => None,
        },
        mobile_node: (role == Role::Mn).then(|| MobileNode {
            interface: WLAN,
            access_router: PAR,
            pcoa: PCOA,
            access_point: AccessPoint::Previous.id(),
            spi: SPI,
            key: &settings.mobile_node_key,
            lifetime_s: settings.lifetime_s,
        }),
        buffer: &settings.buffer,
        timers: &settings.timers,
    };
    toml::to_string(&file).expect("names, numbers and lists have a form in TOML")
}

/// A running `fmip-ctl`. Dropping it ends the process.
#[derive(Debug)]
pub struct Controller {
    role: Role,
    /// The process.
    pub process: Process,
    socket: PathBuf,
}

impl Controller {
    /// Starts `fmip-ctl run` for `role`; [`Controller::wait_ready`] waits for it.
    pub fn start(lab: &Lab, role: Role, settings: &Settings) -> Result<Self> {
        let name = role.name();
        let file = |extension: &str| lab.directory().join(format!("{name}.{extension}"));
        let (config, socket) = (file("toml"), file("sock"));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&config)
            .and_then(|mut file| file.write_all(configuration(role, settings, &socket).as_bytes()))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = Command::new(&settings.fmip_ctl);
        command
            .args(["run", "--log-level", &settings.log_level, "--config"])
            .arg(&config);
        let namespace = match role {
            Role::Par => &lab.par,
            Role::Nar => &lab.nar,
            Role::Mn => &lab.mn,
        };
        let title = format!("fmip-ctl of {name}");
        let process = Process::start(namespace, &title, command, file("log"))?;
        Ok(Self {
            role,
            process,
            socket,
        })
    }

    /// Waits until the control socket answers: everything is loaded then.
    pub fn wait_ready(&mut self) -> Result<()> {
        let what = format!("fmip-ctl of {} to be ready", self.role.name());
        wait_until(&what, SOON, || {
            self.process.check_running()?;
            Ok(UnixStream::connect(&self.socket).ok().map(drop))
        })
        .map_err(|error| match self.process.ended() {
            // The error says already what it said.
            Ok(Some(_)) => error,
            _ => error.context(self.log()),
        })
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends one request and returns the answer, which is `{"ok":true,...}`.
    pub fn request(&self, request: &Value) -> Result<Value> {
        let mut lines = BufReader::new(self.connect(request)?);
        self.answer(&mut lines, request)
    }

    /// The answer to `status`.
    pub fn status(&self) -> Result<Value> {
        self.request(&json!({"command": "status"}))
    }

    /// Tells it of a link-layer event that concerns `access_point`.
    pub fn trigger(&self, trigger: &str, access_point: AccessPoint) -> Result<()> {
        self.request(&json!({
            "command": "trigger", "trigger": trigger, "access_point": access_point.id(),
        }))
        .map(drop)
    }

    /// Records its events from now on.
    pub fn subscribe(&self) -> Result<Events> {
        let request = json!({"command": "subscribe"});
        let mut lines = BufReader::new(self.connect(&request)?);
        self.answer(&mut lines, &request)?;
        lines.get_ref().set_read_timeout(None)?;
        Ok(Events::record(self.role.name(), lines))
    }

    /// The end of its log, with a heading.
    pub fn log(&self) -> String {
        format!(
            "--- fmip-ctl of {} said:\n{}",
            self.role.name(),
            tail(&self.process.output())
        )
    }

    fn connect(&self, request: &Value) -> Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("cannot reach fmip-ctl of {}", self.role.name()))?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream
            .write_all(format!("{request}\n").as_bytes())
            .with_context(|| format!("cannot send {request} to {}", self.role.name()))?;
        Ok(stream)
    }

    fn answer(&self, lines: &mut BufReader<UnixStream>, request: &Value) -> Result<Value> {
        let mut line = String::new();
        lines
            .read_line(&mut line)
            .with_context(|| format!("{} does not answer {request}", self.role.name()))?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("{} answers {request} with {line:?}", self.role.name()))?;
        ensure!(
            answer["ok"] == true,
            "{} refuses {request}: {}",
            self.role.name(),
            answer["error"].as_str().unwrap_or("without a reason")
        );
        Ok(answer)
    }
}

/// The three controllers of a handover.
#[derive(Debug)]
pub struct Controllers {
    /// The previous access router's.
    pub par: Controller,
    /// The new access router's.
    pub nar: Controller,
    /// The mobile node's.
    pub mn: Controller,
}

impl Controllers {
    /// Starts them together and waits until all are ready.
    pub fn start(lab: &Lab, settings: &Settings) -> Result<Self> {
        let mut controllers = Self {
            par: Controller::start(lab, Role::Par, settings)?,
            nar: Controller::start(lab, Role::Nar, settings)?,
            mn: Controller::start(lab, Role::Mn, settings)?,
        };
        for controller in [
            &mut controllers.par,
            &mut controllers.nar,
            &mut controllers.mn,
        ] {
            controller.wait_ready()?;
        }
        Ok(controllers)
    }

    /// All three.
    pub fn all(&self) -> [&Controller; 3] {
        [&self.par, &self.nar, &self.mn]
    }

    /// Leaves them running when this value is dropped.
    pub fn keep(&mut self) {
        for controller in [&mut self.par, &mut self.nar, &mut self.mn] {
            controller.process.keep();
        }
    }

    /// What a person needs to find out why something went wrong: logs, and the counters that count.
    pub fn account(&self) -> String {
        let mut text = String::new();
        for controller in self.all() {
            text += &controller.log();
            text += "\n";
            text += &match controller.status() {
                Ok(status) => format!("status: {}\n", without_zeros(status)),
                Err(error) => format!("no status: {error:#}\n"),
            };
        }
        text
    }
}

/// Leaves out of a status what says nothing: zeros, and objects of zeros only.
fn without_zeros(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (name, without_zeros(member)))
            .filter(|(_, member)| *member != json!(0) && *member != json!({}))
            .collect(),
        other => other,
    }
}

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

/// The events of one controller since [`Controller::subscribe`].
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
    fn record(of: &'static str, lines: BufReader<UnixStream>) -> Self {
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

    /// Waits until an event of that name has happened, and returns the first.
    ///
    /// # Errors
    /// At once when the handover is given up (`handover-failed`), when the controller is gone, and on
    /// Ctrl-C; after `deadline` otherwise. The error lists what did happen.
    pub fn wait_for(&self, name: &str, deadline: Duration) -> Result<Event> {
        let end = Instant::now() + deadline;
        let mut recorded = self.shared.0.lock().expect("no holder panics");
        loop {
            let find = |name: &str| recorded.events.iter().find(|event| event.name == name);
            if let Some(event) = find(name) {
                return Ok(event.clone());
            }
            let failure = if let Some(failed) = find("handover-failed") {
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

/// The `fmip-ctl` to use where none is named: of the environment variable FMIP_CTL, else the one beside
/// this program, else the one cargo built in this workspace.
pub fn find_fmip_ctl() -> Result<PathBuf> {
    if let Some(path) = env::var_os("FMIP_CTL").map(PathBuf::from) {
        ensure!(
            path.is_file(),
            "FMIP_CTL is {}, which is no file",
            path.display()
        );
        return Ok(path);
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("fmip-ctl")));
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    beside
        .into_iter()
        .chain(["release", "debug"].map(|profile| target.join(profile).join("fmip-ctl")))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            anyhow!(
                "fmip-ctl is not built: run `cargo xtask test`, which builds it, or set FMIP_CTL"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(role: Role, settings: &Settings) -> toml::Table {
        let text = configuration(role, settings, Path::new("/run/x.sock"));
        text.parse()
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn settings() -> Settings {
        Settings::new(PathBuf::from("fmip-ctl"))
    }

    #[test]
    fn the_previous_router_knows_its_neighbour_and_the_key() {
        let file = parsed(Role::Par, &settings());
        assert_eq!(file["role"].as_str(), Some("access-router"));
        assert_eq!(file["control-socket"].as_str(), Some("/run/x.sock"));
        let router = &file["access-router"];
        assert_eq!(
            router["access"][0]["address"].as_str(),
            Some("2001:db8:1::1")
        );
        assert_eq!(
            router["neighbor"][0]["prefix"].as_str(),
            Some("2001:db8:2::/64")
        );
        assert_eq!(
            router["neighbor"][0]["link-address"].as_str(),
            Some(NAR_LLA)
        );
        assert_eq!(
            router["mobile-node"][0]["pcoa"].as_str(),
            Some("2001:db8:1::ff:fe00:1")
        );
        assert!(file.get("mobile-node").is_none());
    }

    #[test]
    fn the_new_router_has_no_key_of_the_mobile_node() {
        let file = parsed(Role::Nar, &settings());
        let router = &file["access-router"];
        assert_eq!(
            router["access"][0]["access-points"][0].as_str(),
            Some("02:00:00:00:0a:02")
        );
        assert_eq!(
            router["neighbor"][0]["address"].as_str(),
            Some("2001:db8:1::1")
        );
        assert!(router.get("mobile-node").is_none());
    }

    #[test]
    fn the_mobile_node_has_the_key_the_lifetime_and_where_it_is() {
        let mut settings = settings();
        settings.lifetime_s = 3;
        settings.mobile_node_key = "ab".repeat(16);
        let file = parsed(Role::Mn, &settings);
        assert_eq!(file["role"].as_str(), Some("mobile-node"));
        let node = &file["mobile-node"];
        assert_eq!(node["interface"].as_str(), Some("wlan0"));
        assert_eq!(node["access-point"].as_str(), Some("02:00:00:00:0a:01"));
        assert_eq!(node["lifetime-s"].as_integer(), Some(3));
        assert_eq!(node["key"].as_str(), Some("ab".repeat(16).as_str()));
    }

    #[test]
    fn only_what_is_set_is_in_the_buffer_and_timer_tables() {
        let mut settings = settings();
        assert!(
            parsed(Role::Par, &settings)["buffer"]
                .as_table()
                .unwrap()
                .is_empty()
        );
        settings.buffer.drain = Some("burst".to_owned());
        settings.buffer.catch_up = Some(1.5);
        settings.timers.insert("proxy-nd-lifetime-ms", 700);
        let file = parsed(Role::Nar, &settings);
        assert_eq!(file["buffer"]["drain"].as_str(), Some("burst"));
        assert_eq!(file["buffer"]["catch-up"].as_float(), Some(1.5));
        assert_eq!(file["buffer"].as_table().unwrap().len(), 2);
        assert_eq!(
            file["timers"]["proxy-nd-lifetime-ms"].as_integer(),
            Some(700)
        );
    }

    #[test]
    fn the_controller_understands_every_file() {
        let mut settings = settings();
        settings.buffer = Buffer {
            packets: Some(4096),
            packets_per_node: Some(1024),
            drain: Some("paced".to_owned()),
            catch_up: Some(3.0),
            max_hold_ms: Some(5000),
        };
        settings.timers.insert("una-interval-ms", 50);
        for role in [Role::Par, Role::Nar, Role::Mn] {
            let text = configuration(role, &settings, Path::new("/run/x.sock"));
            if let Err(error) = fmip_ctl::config::Config::parse(Path::new("x.toml"), &text) {
                panic!("{}: {error}\n{text}", role.name());
            }
        }
    }

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

    #[test]
    fn a_status_is_told_without_its_zeros() {
        let status = json!({"ok": true, "held": 0, "reasons": {"pass": {"packets": 0}, "hold": {"packets": 2}}});
        assert_eq!(
            without_zeros(status),
            json!({"ok": true, "reasons": {"hold": {"packets": 2}}})
        );
    }
}
