//! 802.11 in the lab: one process that stands for the radio medium between the mobile node and the
//! access points, and for the daemons that a Linux machine has at both ends.
//!
//! It offers wpa_supplicant's control interface for the mobile node and one of hostapd for each access
//! point, says on them what the real ones say (version 2.10), and moves the lab's radio in the steps of
//! RFC 4260 section 4. The frames on the link are the kernel's; only the management frames, which
//! nobody outside the two ends sees, are times that pass.
//!
//! Reading order: [`medium`] is the state machine, `speech` its words, `radio` the interfaces,
//! [`process`] what ties them together, [`Air`] the scenario's handle on it.

pub mod medium;
pub mod process;
mod radio;
mod speech;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixDatagram, UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use fmip_ctl::wire::MacAddr;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    medium::{AccessPoint, Step},
    process::Configuration,
};
use crate::{
    process::{Process, tail},
    topology::{self, Lab, MN_LLA, Network, Router, WLAN},
    wait::{SOON, wait_until},
};

/// The network's name.
const SSID: &str = "fmip";
/// How strong the access points are until the scenario says otherwise, in dBm: the one where the
/// station is, and all others.
const NEAR: i32 = -45;
const FAR: i32 = -75;
/// Three channels that do not overlap, in MHz.
const FREQUENCIES: [u32; 3] = [2412, 2437, 2462];
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);

/// How long the steps take, in milliseconds, and how the two ends behave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delays {
    /// A scan, per channel, with a probe request.
    pub channel_ms: u64,
    /// A scan, per channel, without: a beacon interval.
    pub passive_channel_ms: u64,
    /// Whether the station hears no traffic during a scan. If not, the access point keeps it as for a
    /// station that sleeps, and delivers it in time.
    pub deaf_scan: bool,
    /// How long the station stays where it is after it has told its access point that it leaves.
    pub linger_ms: u64,
    /// Step 2.
    pub join_ms: u64,
    /// Step 3.
    pub authenticate_ms: u64,
    /// Step 4.
    pub associate_ms: u64,
    /// Step 5: 802.1X or the four-way handshake; 0 in an open network, which has none.
    pub handshake_ms: u64,
    /// Each of the steps 2 to 4 if the firmware does them.
    pub firmware_ms: u64,
    /// After how long an access point knows that the station has left it for another; never, if none.
    pub notice_ms: Option<u64>,
    /// After how long a station misses the beacons of an access point that is gone; after as long again
    /// it disconnects.
    pub beacon_loss_ms: u64,
    /// How long the station waits for an access point that does not answer.
    pub silence_ms: u64,
    /// After how long it looks again if there was no access point.
    pub retry_ms: u64,
}

impl Default for Delays {
    /// What a real handover between protected networks took: some 100 ms, most of it on the air.
    fn default() -> Self {
        Self {
            channel_ms: 20,
            passive_channel_ms: 110,
            deaf_scan: false,
            linger_ms: 0,
            join_ms: 20,
            authenticate_ms: 20,
            associate_ms: 20,
            handshake_ms: 30,
            firmware_ms: 1,
            notice_ms: Some(0),
            beacon_loss_ms: 200,
            silence_ms: 600,
            retry_ms: 1000,
        }
    }
}

impl Delays {
    fn channel(&self) -> Duration {
        Duration::from_millis(self.channel_ms)
    }

    fn passive_channel(&self) -> Duration {
        Duration::from_millis(self.passive_channel_ms)
    }

    fn of(&self, step: Step, firmware: bool) -> Duration {
        Duration::from_millis(match step {
            Step::Join | Step::Authenticate | Step::Associate if firmware => self.firmware_ms,
            Step::Join => self.join_ms,
            Step::Authenticate => self.authenticate_ms,
            Step::Associate => self.associate_ms,
            Step::Handshake => self.handshake_ms,
            Step::Scan | Step::Layer2Update => 0,
        })
    }

    fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    fn notice(&self) -> Option<Duration> {
        self.notice_ms.map(Duration::from_millis)
    }

    fn beacon_loss(&self) -> Duration {
        Duration::from_millis(self.beacon_loss_ms)
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.silence_ms)
    }

    fn retry(&self) -> Duration {
        Duration::from_millis(self.retry_ms)
    }
}

/// How an access point does not take a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// It does not answer.
    Silence,
    /// It refuses the authentication.
    Authentication,
    /// It refuses the association: it has no room.
    Association,
}

/// One of the daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Daemon {
    /// wpa_supplicant.
    Supplicant,
    /// hostapd of that access point.
    Hostapd(MacAddr),
}

/// What the scenario tells the medium: one JSON object a line on its socket, each answered by
/// `{"ok":true}` or `{"ok":false,"error":".."}` when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Control {
    /// The station hears an access point with that strength from now on.
    Signal {
        /// Which.
        access_point: MacAddr,
        /// In dBm.
        dbm: i32,
    },
    /// An access point is off the air.
    Vanish {
        /// Which.
        access_point: MacAddr,
    },
    /// It is back.
    Appear {
        /// Which.
        access_point: MacAddr,
    },
    /// There is one more access point.
    AddAccessPoint(AccessPoint),
    /// The host's next attempt to roam comes to nothing.
    RefuseRoam {
        /// In which way.
        how: Refusal,
    },
    /// The host's next attempt to roam ends elsewhere: the firmware knows better.
    DivertRoam {
        /// Where.
        access_point: MacAddr,
    },
    /// The firmware roams at once, without asking the host: steps 1 to 4 in rapid succession.
    FirmwareRoam {
        /// Where to.
        access_point: MacAddr,
    },
    /// An access point sends the station away.
    Kick {
        /// Which.
        access_point: MacAddr,
    },
    /// Other delays from now on.
    Delays(Delays),
    /// A daemon ends, or starts again.
    Daemon {
        /// Which.
        daemon: Daemon,
        /// Whether it runs.
        runs: bool,
    },
    /// wpa_supplicant says something that the medium does not know about.
    SupplicantSays {
        /// What, without its level.
        line: String,
    },
    /// So does a hostapd.
    HostapdSays {
        /// Whose.
        access_point: MacAddr,
        /// What, without its level.
        line: String,
    },
}

/// A step that happened, as the process prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedStep {
    /// When it had been done, on the kernel's monotonic clock, which all namespaces share.
    pub time_ns: u64,
    /// When it began.
    pub began_ns: u64,
    /// The station's link-layer address.
    pub station: MacAddr,
    /// The access point; none for a scan.
    pub access_point: Option<MacAddr>,
    /// Which step.
    pub step: Step,
}

/// The medium of a lab. Dropping it ends the process.
///
/// While it stands it alone moves the radio: [`Lab::attach`] and [`Lab::detach`] are not for use.
#[derive(Debug)]
pub struct Air {
    process: Process,
    control: UnixStream,
    answers: BufReader<UnixStream>,
    configuration: Configuration,
    network: Network,
}

impl Air {
    /// Starts it in a lab whose mobile node is at the previous access point, with the default delays.
    ///
    /// # Errors
    /// `fmip-wifi` is not there, or says what is wrong.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_with(lab, Delays::default())
    }

    /// As [`Air::start`], with those delays.
    ///
    /// # Errors
    /// As [`Air::start`].
    pub fn start_with(lab: &Lab, delays: Delays) -> Result<Self> {
        let routers = lab.network.routers().iter();
        let access_points = routers.flat_map(|router| lab.network.access_points(*router));
        let attached = lab.network.start();
        let access_points = access_points
            .zip(FREQUENCIES.into_iter().cycle())
            .map(|(point, frequency)| {
                Ok(AccessPoint {
                    id: point.id().parse()?,
                    bridge: point.bridge().to_owned(),
                    frequency,
                    signal_dbm: if *point == attached { NEAR } else { FAR },
                })
            })
            .collect::<Result<_>>()?;
        let path = |name: &str| lab.directory().join(name);
        let configuration = Configuration {
            station: MN_LLA.parse()?,
            station_namespace: lab.mn.name().to_owned(),
            interface: WLAN.to_owned(),
            radio: "radio".to_owned(),
            ssid: SSID.to_owned(),
            attached: attached.id().parse()?,
            delays,
            access_points,
            supplicant: path("wpa_supplicant"),
            hostapd: path("hostapd"),
            control: path("air.sock"),
        };
        let file = path("air.json");
        fs::write(&file, serde_json::to_string_pretty(&configuration)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(find_fmip_wifi()?);
        command.arg(&file);
        let mut process = Process::start(&lab.air, "fmip-wifi", command, path("air.log"))?;
        // The sockets of the daemons are there before its own answers.
        let control = wait_until("fmip-wifi to be ready", SOON, || {
            process.check_running()?;
            let last = configuration.access_points.last();
            let ready = last.is_none_or(|point| configuration.hostapd.join(&point.bridge).exists());
            Ok(ready
                .then(|| UnixStream::connect(&configuration.control).ok())
                .flatten())
        })?;
        control.set_read_timeout(Some(ANSWER))?;
        Ok(Self {
            answers: BufReader::new(control.try_clone()?),
            process,
            control,
            configuration,
            network: lab.network,
        })
    }

    /// The control socket of the mobile node's wpa_supplicant.
    pub fn wpa_supplicant(&self) -> &Path {
        &self.configuration.supplicant
    }

    /// The control socket of an access point's hostapd.
    pub fn hostapd(&self, access_point: topology::AccessPoint) -> PathBuf {
        self.configuration.hostapd.join(access_point.bridge())
    }

    /// The control sockets of the hostapds of all access points on a router's link.
    pub fn hostapds_of(&self, router: Router) -> Vec<PathBuf> {
        let points = self.network.access_points(router).iter();
        points.map(|point| self.hostapd(*point)).collect()
    }

    /// Tells the medium something, and returns when it is done.
    ///
    /// # Errors
    /// It refuses, and says why; it is gone.
    pub fn tell(&mut self, control: &Control) -> Result<()> {
        let line = serde_json::to_string(control)?;
        self.control
            .write_all(format!("{line}\n").as_bytes())
            .context("cannot reach fmip-wifi")?;
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .with_context(|| format!("fmip-wifi does not answer {line}: {}", self.log()))?;
        let answer: Value = serde_json::from_str(&answer)
            .with_context(|| format!("fmip-wifi answers {line} with {answer:?}: {}", self.log()))?;
        ensure!(
            answer["ok"] == true,
            "fmip-wifi refuses {line}: {}",
            answer["error"].as_str().unwrap_or("without a reason")
        );
        Ok(())
    }

    /// Sets how strong an access point is, in dBm.
    ///
    /// # Errors
    /// As [`Air::tell`].
    pub fn signal(&mut self, access_point: topology::AccessPoint, dbm: i32) -> Result<()> {
        let access_point = access_point.id().parse()?;
        self.tell(&Control::Signal { access_point, dbm })
    }

    /// An access point goes off the air.
    ///
    /// # Errors
    /// As [`Air::tell`].
    pub fn vanish(&mut self, access_point: topology::AccessPoint) -> Result<()> {
        let access_point = access_point.id().parse()?;
        self.tell(&Control::Vanish { access_point })
    }

    /// The firmware roams without asking the host.
    ///
    /// # Errors
    /// As [`Air::tell`].
    pub fn firmware_roam(&mut self, access_point: topology::AccessPoint) -> Result<()> {
        let access_point = access_point.id().parse()?;
        self.tell(&Control::FirmwareRoam { access_point })
    }

    /// The host's next attempt to roam ends at that access point.
    ///
    /// # Errors
    /// As [`Air::tell`].
    pub fn divert_roam(&mut self, access_point: topology::AccessPoint) -> Result<()> {
        let access_point = access_point.id().parse()?;
        self.tell(&Control::DivertRoam { access_point })
    }

    /// Somebody sets up an access point of the same name, behind which there is nobody: no router's
    /// neighbor. Returns its identifier.
    ///
    /// # Errors
    /// As [`Air::tell`], or if there is such a one.
    pub fn add_rogue(&mut self, lab: &Lab, dbm: i32) -> Result<MacAddr> {
        const ROGUE: MacAddr = MacAddr([0x02, 0, 0, 0, 0x0b, 0xad]);
        lab.air.ip_batch(&format!(
            "link add br-rogue address {ROGUE} type bridge stp_state 0 forward_delay 0 \
             mcast_snooping 0\nlink set br-rogue up\n"
        ))?;
        self.tell(&Control::AddAccessPoint(AccessPoint {
            id: ROGUE,
            bridge: "br-rogue".to_owned(),
            frequency: FREQUENCIES[1],
            signal_dbm: dbm,
        }))?;
        Ok(ROGUE)
    }

    /// A command on a daemon's control interface, as `wpa_cli` or `hostapd_cli` would give it, and the
    /// answer.
    ///
    /// # Errors
    /// There is no such socket, or no answer.
    pub fn ask(&self, socket: &Path, command: &str) -> Result<String> {
        // A path, since names without one are of a network namespace alone, and the daemon's is another.
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let number = ASKED.fetch_add(1, Ordering::Relaxed);
        let path = (self.configuration.control).with_file_name(format!("ask-{number}"));
        let own = UnixDatagram::bind(&path)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        // The name is of use as long as the socket is open, and that is not longer than this.
        let _named = RemovedFile(path);
        own.set_read_timeout(Some(ANSWER))?;
        own.send_to(command.as_bytes(), socket)
            .with_context(|| format!("cannot reach {}", socket.display()))?;
        let mut octets = vec![0; 8192];
        let length = own
            .recv(&mut octets)
            .with_context(|| format!("no answer to {command} from {}", socket.display()))?;
        octets.truncate(length);
        String::from_utf8(octets).context("an answer that is not UTF-8")
    }

    /// The steps so far.
    ///
    /// # Errors
    /// The process has ended.
    pub fn steps(&mut self) -> Result<Vec<RecordedStep>> {
        self.process.check_running()?;
        // What is no step is what it says to people; a line that is half written is no step yet.
        let text = self.process.output();
        let lines = text.lines();
        Ok(lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    /// Waits until that many steps of a kind have been done in all, and returns the last of them.
    ///
    /// # Errors
    /// The process has ended, or it takes too long.
    pub fn wait_for_step(&mut self, step: Step, count: usize) -> Result<RecordedStep> {
        wait_until(&format!("{count} steps {step:?}"), SOON, || {
            let steps = self.steps()?.into_iter();
            Ok(steps
                .filter(|done| done.step == step)
                .nth(count.saturating_sub(1)))
        })
    }

    /// The end of what the process said.
    pub fn log(&self) -> String {
        format!("--- fmip-wifi said:\n{}", tail(&self.process.output()))
    }
}

/// A file that goes away with the value.
struct RemovedFile(PathBuf);

impl Drop for RemovedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// `fmip-wifi`: beside this program, or where cargo built it in this workspace.
fn find_fmip_wifi() -> Result<PathBuf> {
    crate::process::find_program("fmip-wifi")
        .ok_or_else(|| anyhow!("fmip-wifi is not built: run `cargo build -p fmip-tests --bins`"))
}
