//! The base stations of a lab: started, controlled, listened to, ended.

use std::{
    env, fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum as _;
use fmip_ctl::{
    link::ieee80216e::{auth::KEY_LEN, message::MacMode},
    wire::MacAddr,
};

use super::{
    configuration::{Configuration, Router, Timing},
    control::{Answer, Control},
    forge::Forgery,
    step::{Direction, Step},
};
use crate::{
    controller::Role,
    process::{Process, tail},
    topology::{ACCESS_INTERFACE, AccessPoint, Lab, MN_LLA},
    wait::{SOON, wait_until},
};

/// The mobile node's radio in the namespace of the air.
pub(super) const RADIO: &str = "radio";
/// How long a flood may take.
const FORGED: Duration = Duration::from_secs(60);

/// The base stations of a lab, one at each of its access points. Dropping it ends them.
#[derive(Debug)]
pub struct Network {
    stations: Vec<(AccessPoint, Process)>,
    directory: PathBuf,
    program: PathBuf,
}

/// What the base stations of a lab are started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program; if it is not named, the one that [`find_base_station`] finds.
    pub fmip_base_station: Option<PathBuf>,
    /// The key that the mobile station and the network share: what EAP would have left them with.
    pub pmk: [u8; KEY_LEN],
    /// How the mobile station wants messages to be authenticated; base stations can do both.
    pub mac_mode: MacMode,
    /// How strong the base station is where the mobile node is at first, in dBm.
    pub serving_dbm: Option<i8>,
    /// How strong the others are.
    pub others_dbm: Option<i8>,
    /// Timing.
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fmip_base_station: None,
            pmk: *b"lab pairwise masterk",
            mac_mode: MacMode::Cmac,
            serving_dbm: Some(-60),
            others_dbm: None,
            timing: Timing {
                neighbor_advertisement_ms: 100,
                // As long as it may, for a machine that is busy.
                context_ms: 750,
                ..Timing::default()
            },
        }
    }
}

impl Settings {
    /// What the mobile node's configuration says of its station, in `[mobile-node.ieee80216e]`.
    pub fn mobile_station(&self) -> toml::Table {
        let pmk: String = self
            .pmk
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        let mac_mode = match self.mac_mode {
            MacMode::Cmac => "cmac",
            MacMode::Hmac => "hmac",
        };
        toml::Table::from_iter([
            ("pmk".to_owned(), pmk.into()),
            ("mac-mode".to_owned(), mac_mode.into()),
            ("base-station".to_owned(), AccessPoint::Previous.id().into()),
            ("signal-threshold-dbm".to_owned(), (-75).into()),
            ("scan-min-interval-ms".to_owned(), 100.into()),
            // No scene is about a base station that is lost, and a busy machine may keep one from its DL-MAPs.
            ("lost-dl-map-ms".to_owned(), 5000.into()),
            ("scan-duration-frames".to_owned(), 10.into()),
            ("scan-interleaving-frames".to_owned(), 2.into()),
        ])
    }
}

impl Network {
    /// Takes the radio from the link that it carries, and starts a base station at every access point of
    /// the lab. It carries a link again when the mobile station has entered the network.
    ///
    /// # Errors
    /// If a base station does not start; tells what it said.
    pub fn start(lab: &Lab, settings: &Settings) -> Result<Self> {
        let program = match &settings.fmip_base_station {
            Some(program) => program.clone(),
            None => find_base_station()?,
        };
        lab.air.ip("link set radio nomaster")?;
        let routers = lab.network.routers().iter();
        let access_points: Vec<AccessPoint> = routers
            .flat_map(|router| lab.network.access_points(*router))
            .copied()
            .collect();
        let mut network = Self {
            stations: Vec::new(),
            directory: lab.directory().to_owned(),
            program,
        };
        for access_point in &access_points {
            let dbm = match access_point {
                AccessPoint::Previous => settings.serving_dbm,
                _ => settings.others_dbm,
            };
            let neighbors = access_points.iter().filter(|other| *other != access_point);
            let configuration = Configuration {
                base_station: bsid(*access_point),
                interface: RADIO.to_owned(),
                bridge: access_point.bridge().to_owned(),
                directory: network.directory.clone(),
                neighbors: neighbors.map(|other| bsid(*other)).collect(),
                announced: Vec::new(),
                signal_dbm: dbm,
                pmk: settings.pmk,
                router: Some(Router {
                    control_socket: Role::Router(access_point.router()).control_socket(lab),
                    interface: ACCESS_INTERFACE.to_owned(),
                }),
                timing: settings.timing.clone(),
            };
            network.start_one(lab, *access_point, &configuration)?;
        }
        for (access_point, process) in &mut network.stations {
            let socket = configuration_socket(&network.directory, bsid(*access_point));
            wait_until("a base station to be ready", SOON, || {
                process.check_running()?;
                Ok(socket.exists().then_some(()))
            })?;
        }
        Ok(network)
    }

    fn start_one(
        &mut self,
        lab: &Lab,
        access_point: AccessPoint,
        configuration: &Configuration,
    ) -> Result<()> {
        let name = format!("base-station-{}", access_point.bridge());
        let file = |extension: &str| self.directory.join(format!("{name}.{extension}"));
        fs::write(file("json"), serde_json::to_vec(configuration)?)
            .with_context(|| format!("cannot write {}", file("json").display()))?;
        let mut command = Command::new(&self.program);
        command.args(["run", "--config"]).arg(file("json"));
        let title = format!("fmip-base-station {access_point}");
        let process = Process::start(&lab.air, &title, command, file("log"))?;
        self.stations.push((access_point, process));
        Ok(())
    }

    /// Tells a base station something; returns once it has taken note of it.
    ///
    /// # Errors
    /// If it refuses, or does not answer.
    pub fn tell(&self, access_point: AccessPoint, control: &Control) -> Result<()> {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let number = ASKED.fetch_add(1, Ordering::Relaxed);
        let own = Removed(self.directory.join(format!("control-{number}.sock")));
        let socket = UnixDatagram::bind(&own.0)
            .with_context(|| format!("cannot open {}", own.0.display()))?;
        socket.set_read_timeout(Some(SOON))?;
        let to = configuration_socket(&self.directory, bsid(access_point));
        let request = serde_json::to_string(control)?;
        socket
            .send_to(request.as_bytes(), &to)
            .with_context(|| format!("cannot reach the base station {access_point}"))?;
        let mut answer = [0; 1024];
        let length = socket
            .recv(&mut answer)
            .with_context(|| format!("{access_point} does not answer {request}"))?;
        let answer: Answer = serde_json::from_slice(&answer[..length])?;
        match answer.error {
            None if answer.ok => Ok(()),
            error => bail!(
                "the base station {access_point} refuses {request}: {}",
                error.unwrap_or_default()
            ),
        }
    }

    /// How strong the mobile station measures a base station from now on, in dBm; none: it is off the air.
    pub fn set_signal(&self, access_point: AccessPoint, dbm: Option<i8>) -> Result<()> {
        self.tell(access_point, &Control::Signal { dbm })
    }

    /// All others announce a base station from now on.
    pub fn announce(&self, access_point: AccessPoint) -> Result<()> {
        let neighbor = bsid(access_point);
        let mut others = self.stations.iter().map(|(other, _)| *other);
        others.try_for_each(|other| match other == access_point {
            true => Ok(()),
            false => self.tell(other, &Control::Announce { neighbor }),
        })
    }

    /// A base station makes the mobile station leave for another one; returns once it has said so.
    ///
    /// A candidate may not say in time that it takes the station: its process has to wait for a busy
    /// machine. Then it is asked again.
    ///
    /// # Errors
    /// If the base station refuses, or the candidate never takes the station.
    pub fn order_handover(&self, from: AccessPoint, to: AccessPoint) -> Result<()> {
        const ORDERED: (&str, Direction) = ("MOB_BSHO-REQ", Direction::Sent);
        const NOBODY: (&str, Direction) = ("nobody-takes-it", Direction::Local);
        let (station, target) = (mobile_station(), bsid(to));
        let own = bsid(from);
        let ends = || -> Result<Vec<Step>> {
            let mut steps = self.steps()?;
            steps.retain(|seen| {
                let end = (seen.act.step.as_str(), seen.act.direction);
                seen.base_station == own && [ORDERED, NOBODY].contains(&end)
            });
            Ok(steps)
        };
        let mut seen = ends()?.len();
        let order = Control::Handover { station, target };
        self.tell(from, &order)?;
        let title = format!("the base station {from} to send the mobile station to {to}");
        wait_until(&title, SOON, || match ends()?.get(seen) {
            Some(end) if end.act.step == ORDERED.0 => Ok(Some(())),
            Some(_) => {
                seen += 1;
                self.tell(from, &order)?;
                Ok(None)
            }
            None => Ok(None),
        })
    }

    /// Somebody at the radio forges messages of the base station at `access_point`, orders among them on
    /// the connection `cid`; returns once all are sent.
    ///
    /// # Errors
    /// If it does not end well; tells what it said.
    pub fn forge(
        &self,
        lab: &Lab,
        forgery: Forgery,
        access_point: AccessPoint,
        target: AccessPoint,
        cid: u16,
        messages: u32,
    ) -> Result<()> {
        let mut command = Command::new(&self.program);
        let kind = forgery.to_possible_value().expect("none is hidden");
        command.args(["forge", kind.get_name(), "--interface", RADIO]);
        command.args(["--as-base-station", access_point.id()]);
        command.args(["--station", MN_LLA, "--target", target.id()]);
        command.args(["--cid", &cid.to_string()]);
        command.args(["--messages", &messages.to_string()]);
        let log = self.directory.join("forger.log");
        let mut process = Process::start(&lab.air, "the forger", command, log)?;
        let status = process.wait(FORGED)?;
        ensure!(status.success(), "the forger ended: {}", process.output());
        Ok(())
    }

    /// Who prints steps, and where.
    pub fn logs(&self) -> impl Iterator<Item = (AccessPoint, PathBuf)> {
        let stations = self.stations.iter();
        stations.map(|(access_point, process)| (*access_point, process.log().to_owned()))
    }

    /// The steps of all base stations so far, in order.
    ///
    /// # Errors
    /// If a base station has ended.
    pub fn steps(&self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for (_, process) in &self.stations {
            // Lines of another form are complaints.
            let said = process.output();
            steps.extend(
                said.lines()
                    .filter_map(|line| serde_json::from_str(line).ok()),
            );
        }
        steps.sort_by_key(|step: &Step| step.time_ns);
        Ok(steps)
    }

    /// Waits until a base station has done that step, `before` times before.
    pub fn wait_for_another(
        &self,
        access_point: AccessPoint,
        step: &str,
        direction: Direction,
        before: usize,
    ) -> Result<Step> {
        let own = bsid(access_point);
        let title = format!("{step} of the base station {access_point}");
        wait_until(&title, SOON, || {
            let steps = self.steps()?.into_iter();
            let mut those = steps.filter(|seen| {
                seen.base_station == own && seen.act.step == step && seen.act.direction == direction
            });
            Ok(those.nth(before))
        })
    }

    /// Waits until a base station has done that step.
    pub fn wait_for(
        &self,
        access_point: AccessPoint,
        step: &str,
        direction: Direction,
    ) -> Result<Step> {
        self.wait_for_another(access_point, step, direction, 0)
    }

    /// Everything that the base stations said, for a person who wants to know what went wrong.
    pub fn account(&self) -> String {
        let mut text = String::new();
        for (access_point, process) in &self.stations {
            let said = process.output();
            let complaints: Vec<&str> = said
                .lines()
                .filter(|line| serde_json::from_str::<Step>(line).is_err())
                .collect();
            if !complaints.is_empty() {
                text += &format!("--- the base station {access_point} said:\n");
                text += &tail(&complaints.join("\n"));
                text += "\n";
            }
        }
        text += "--- the base stations did:\n";
        for step in self.steps().unwrap_or_default() {
            text += &format!("{step}\n");
        }
        text
    }
}

/// A file that is removed with its owner.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The BSID of the base station at an access point.
pub fn bsid(access_point: AccessPoint) -> MacAddr {
    address(access_point.id())
}

/// The mobile station's address.
pub fn mobile_station() -> MacAddr {
    address(MN_LLA)
}

fn address(text: &str) -> MacAddr {
    text.parse().expect("the lab's own addresses are addresses")
}

fn configuration_socket(directory: &Path, base_station: MacAddr) -> PathBuf {
    super::configuration::control_socket(directory, base_station)
}

/// The `fmip-base-station` to use where none is named: of the environment variable FMIP_BASE_STATION,
/// else the one beside this program, else the one cargo built in this workspace.
///
/// # Errors
/// If there is none; tells how to get one.
pub fn find_base_station() -> Result<PathBuf> {
    const NAME: &str = "fmip-base-station";
    if let Some(path) = env::var_os("FMIP_BASE_STATION").map(PathBuf::from) {
        ensure!(
            path.is_file(),
            "FMIP_BASE_STATION is {}, which is no file",
            path.display()
        );
        return Ok(path);
    }
    // A test's program is in `deps`, beside which the binaries of its package are.
    let own = env::current_exe().unwrap_or_default();
    let beside = own.ancestors().skip(1).take(2);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    beside
        .map(Path::to_owned)
        .chain(["debug", "release"].map(|profile| target.join(profile)))
        .map(|directory| directory.join(NAME))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            anyhow!("{NAME} is not built: `cargo build -p fmip-tests --bin {NAME}` builds it")
        })
}
