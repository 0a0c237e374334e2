//! `fmip-ctl` in the lab: its configuration files, its processes, and talking to them.

mod events;
mod settings;

use std::{
    env,
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

pub use self::{
    events::{Event, Events},
    settings::{Buffer, RouterSettings, Settings},
};
use crate::{
    netns::NetNs,
    process::{Process, tail},
    topology::{AccessPoint, Lab, Router},
    wait::{SOON, wait_until},
};

/// How long a controller may take until it has loaded its programs. The verifier walks through a million
/// instructions for it: half a second, on an emulated and busy processor more than a minute.
const LOADING: Duration = Duration::from_secs(300);
/// How long an answer on a control socket may take.
const ANSWER: Duration = Duration::from_secs(30);

/// What a process of `fmip-ctl` is in the lab.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// An access router.
    Router(Router),
    /// The mobile node.
    MobileNode,
}

impl Role {
    /// Its name, which is also its namespace's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Router(router) => router.name(),
            Self::MobileNode => "mn",
        }
    }

    /// Where its controller answers, in this lab.
    pub fn control_socket(self, lab: &Lab) -> PathBuf {
        lab.directory().join(format!("{}.sock", self.name()))
    }

    fn namespace(self, lab: &Lab) -> Result<&NetNs> {
        match self {
            Self::Router(router) => lab.router(router),
            Self::MobileNode => Ok(&lab.mn),
        }
    }
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
    /// Starts `fmip-ctl run`, or `fmip-ctl mobile`, for `role`; [`Controller::wait_ready`] waits for it.
    pub fn start(lab: &Lab, role: Role, settings: &Settings) -> Result<Self> {
        let name = role.name();
        let file = |extension: &str| lab.directory().join(format!("{name}.{extension}"));
        let (config, socket) = (file("toml"), role.control_socket(lab));
        write_configuration(lab, role, settings, &config, &socket)?;
        let mut command = Command::new(&settings.fmip_ctl);
        let subcommand = match role {
            Role::Router(_) => "run",
            Role::MobileNode => "mobile",
        };
        command
            .args([subcommand, "--log-level", &settings.log_level, "--config"])
            .arg(&config);
        if settings.record {
            command.arg("--record").arg(recording(&socket));
        }
        let title = format!("fmip-ctl of {name}");
        let process = Process::start(role.namespace(lab)?, &title, command, file("log"))?;
        Ok(Self {
            role,
            process,
            socket,
        })
    }

    /// Writes its configuration file anew; it reads it when it is asked to (`reload`).
    pub fn rewrite(&self, lab: &Lab, settings: &Settings) -> Result<()> {
        let config = self.socket.with_extension("toml");
        write_configuration(lab, self.role, settings, &config, &self.socket)
    }

    /// Waits until the control socket answers: everything is loaded then.
    pub fn wait_ready(&mut self) -> Result<()> {
        let what = format!("fmip-ctl of {} to be ready", self.role.name());
        wait_until(&what, LOADING, || {
            self.process.check_running()?;
            Ok(UnixStream::connect(&self.socket).ok().map(drop))
        })
        .map_err(|error| match self.process.ended() {
            // The error says already what it said.
            Ok(Some(_)) => error,
            _ => error.context(self.log()),
        })
    }

    /// Kills it, without a chance to clean up, and starts it again.
    pub fn restart(&mut self, lab: &Lab, settings: &Settings) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.wait(SOON)?;
        *self = Self::start(lab, self.role, settings)?;
        self.wait_ready()
    }

    /// Where it records if [`Settings::record`] says so. A restart needs the file out of its way.
    pub fn recording(&self) -> PathBuf {
        recording(&self.socket)
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

fn write_configuration(
    lab: &Lab,
    role: Role,
    settings: &Settings,
    config: &Path,
    socket: &Path,
) -> Result<()> {
    let text = settings::configuration(role, settings, lab.network, socket);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(config)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", config.display()))
}

/// The recording of the controller with that control socket.
fn recording(socket: &Path) -> PathBuf {
    socket.with_extension("recording")
}

/// The controllers of a lab.
#[derive(Debug)]
pub struct Controllers {
    /// The previous access router's.
    pub par: Controller,
    /// The new access router's.
    pub nar: Controller,
    /// The third access router's, if the lab has one.
    pub third: Option<Controller>,
    /// The mobile node's.
    pub mn: Controller,
}

impl Controllers {
    /// Starts one in every access router and then one in the mobile node, and waits until all are ready:
    /// what the node asks a router that does not listen yet, it asks in vain.
    pub fn start(lab: &Lab, settings: &Settings) -> Result<Self> {
        let start = |role| Controller::start(lab, role, settings);
        let mut par = start(Role::Router(Router::Previous))?;
        let mut nar = start(Role::Router(Router::New))?;
        let mut third = lab
            .third
            .as_ref()
            .filter(|_| !settings.strangers.contains(&Router::Third))
            .map(|_| start(Role::Router(Router::Third)))
            .transpose()?;
        for router in [&mut par, &mut nar].into_iter().chain(&mut third) {
            router.wait_ready()?;
        }
        let mut mn = start(Role::MobileNode)?;
        mn.wait_ready()?;
        Ok(Self {
            par,
            nar,
            third,
            mn,
        })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Controller> {
        [&self.par, &self.nar]
            .into_iter()
            .chain(&self.third)
            .chain([&self.mn])
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Controller> {
        [&mut self.par, &mut self.nar]
            .into_iter()
            .chain(&mut self.third)
            .chain([&mut self.mn])
    }

    /// That of an access router.
    ///
    /// # Panics
    /// If it is the third router's and the lab has none.
    pub fn router(&self, router: Router) -> &Controller {
        match router {
            Router::Previous => &self.par,
            Router::New => &self.nar,
            Router::Third => self.third.as_ref().expect("the lab has a third router"),
        }
    }

    /// Leaves them running when this value is dropped.
    pub fn keep(&mut self) {
        for controller in self.all_mut() {
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

    #[test]
    fn a_status_is_told_without_its_zeros() {
        let status = json!({"ok": true, "held": 0, "reasons": {"pass": {"packets": 0}, "hold": {"packets": 2}}});
        assert_eq!(
            without_zeros(status),
            json!({"ok": true, "reasons": {"hold": {"packets": 2}}})
        );
    }
}
