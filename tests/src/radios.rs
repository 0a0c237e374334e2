//! Real 802.11 in the lab: radios that the kernel simulates (mac80211_hwsim) in place of the mobile
//! node's wire, with hostapd and wpa_supplicant on them.
//!
//! ```text
//!          air                                     mn
//!   +--------------------+
//!   | par-air -- br-ap1  |
//!   |              ap1   |~ ~ ~ channel 1 ~ ~ ~
//!   |                    |                  wlan0   WPA2-PSK, network "fmip"
//!   |              ap2   |~ ~ ~ channel 6 ~ ~ ~
//!   | nar-air -- br-ap2  |
//!   +--------------------+
//! ```
//!
//! All else is as the lab has it. A radio is moved into a namespace as a whole, since its interface
//! alone cannot be, and comes back when the namespace is removed. The module is not loaded here: whoever
//! loads it decides that this machine may have such radios.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    controller::Settings,
    netns::{self, NetNs},
    process::Process,
    topology::{AccessPoint, Lab, MN_LLA, Router, WLAN},
    wait::{SOON, wait_until},
};

/// The driver of the simulated radios.
const DRIVER: &str = "mac80211_hwsim";
/// The network's name and its key.
const SSID: &str = "fmip";
const PASSPHRASE: &str = "a passphrase of the lab";
/// How well an access point is heard near by, in dBm.
pub const NEAR_DBM: i32 = -40;
/// How well an access point is heard that is about to be lost.
pub const FAR_DBM: i32 = -80;
/// How strongly all of them send, in dBm; what the driver is told is what is lost on the way.
const SENT_DBM: i32 = 20;

/// What each access point has: its interface's name, its channel, and that in MHz.
const fn air_of(access_point: AccessPoint) -> (&'static str, u32, u32) {
    match access_point {
        AccessPoint::Previous | AccessPoint::Integrated(Router::Previous) => ("ap1", 1, 2412),
        AccessPoint::New | AccessPoint::Integrated(Router::New) => ("ap2", 6, 2437),
        AccessPoint::Third | AccessPoint::Integrated(Router::Third) => ("ap3", 11, 2462),
        AccessPoint::Beside => ("ap4", 11, 2462),
        AccessPoint::Relay(_) => panic!("the kernel has no radios for all relays of figure 1"),
    }
}

/// A radio: its name, and that of its interface.
#[derive(Clone, Debug)]
struct Radio {
    phy: String,
    interface: String,
}

/// Why there are no radios here, if so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The kernel has none.
    Kernel(String),
    /// A program is not installed.
    Program(String),
}

/// Access points and a station that runs. Dropping it ends their daemons.
#[derive(Debug)]
pub struct Radios {
    supplicant: Option<Process>,
    hostapds: Vec<Process>,
    /// Of the two access points.
    radios: Vec<(AccessPoint, Radio)>,
    directory: PathBuf,
}

impl Radios {
    /// Why none can be started here, if so.
    pub fn missing() -> Option<Missing> {
        const NEEDED: usize = 3;
        let found = list().map_or(0, |radios| radios.len());
        // Those of a lab that has just been removed may still be on their way back.
        if found < NEEDED && !Path::new("/sys/module").join(DRIVER).exists() {
            return Some(Missing::Kernel(format!(
                "no simulated 802.11 radios: the module {DRIVER} is not loaded (`cargo xtask vm-test` \
                 has a kernel with it)"
            )));
        }
        for (program, package) in [
            ("hostapd", "hostapd"),
            ("wpa_supplicant", "wpasupplicant"),
            ("wpa_cli", "wpasupplicant"),
            ("iw", "iw"),
        ] {
            let found = std::env::var_os("PATH").is_some_and(|path| {
                std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
            });
            if !found {
                return Some(Missing::Program(format!(
                    "{program} (package {package}) is not installed"
                )));
            }
        }
        None
    }

    /// Takes the wire out of a lab and puts radios in its place. Returns when the mobile node is
    /// associated with the previous access point, has its address again, and the new access point is
    /// on the air.
    pub fn start(lab: &mut Lab) -> Result<Self> {
        let radios = wait_until("three simulated radios", SOON, || {
            let radios = list()?;
            Ok((radios.len() >= 3).then_some(radios))
        })?;
        let [previous, new, station] = &radios[..3] else {
            unreachable!("there are three");
        };
        let mut this = Self {
            supplicant: None,
            hostapds: Vec::new(),
            radios: vec![
                (AccessPoint::Previous, previous.clone()),
                (AccessPoint::New, new.clone()),
            ],
            directory: lab.directory().to_owned(),
        };
        // Its other end goes with it.
        lab.mn.ip(&format!("link delete {WLAN}"))?;
        place(station, &lab.mn, WLAN, MN_LLA)?;
        for (access_point, radio) in &this.radios {
            let (interface, _, _) = air_of(*access_point);
            place(radio, &lab.air, interface, access_point.id())?;
        }
        for (access_point, _) in &this.radios {
            this.set_signal(*access_point, NEAR_DBM)?;
        }
        // The second is not there yet while the station looks for the first.
        this.start_hostapd(lab, AccessPoint::Previous)?;
        this.start_supplicant(lab)?;
        this.wait_associated(AccessPoint::Previous)?;
        lab.first_address()?;
        this.start_hostapd(lab, AccessPoint::New)?;
        Ok(this)
    }

    /// wpa_supplicant's control interface.
    pub fn supplicant(&self) -> PathBuf {
        self.directory.join("supplicant").join(WLAN)
    }

    /// hostapd's control interface of an access point.
    pub fn hostapd(&self, access_point: AccessPoint) -> PathBuf {
        let (interface, _, _) = air_of(access_point);
        self.directory.join("hostapd").join(interface)
    }

    /// Has the controllers listen to the daemons.
    pub fn connect(&self, settings: &mut Settings, station: toml::Table) {
        for (access_point, router) in [
            (AccessPoint::Previous, Router::Previous),
            (AccessPoint::New, Router::New),
        ] {
            let socket = self.hostapd(access_point).to_string_lossy().into_owned();
            settings
                .router(router)
                .set_access("hostapd", vec![toml::Value::from(socket)]);
        }
        let mut station = station;
        let socket = self.supplicant().to_string_lossy().into_owned();
        station.insert("control-interface".to_owned(), socket.into());
        settings
            .mobile_node
            .insert("ieee80211".to_owned(), station.into());
    }

    /// How well an access point is heard from now on.
    pub fn set_signal(&self, access_point: AccessPoint, dbm: i32) -> Result<()> {
        let radio = self.radios.iter().find(|(of, _)| *of == access_point);
        let (_, radio) = radio.context("the access point has no radio")?;
        let path = format!("/sys/kernel/debug/ieee80211/{}/hwsim/rx_rssi", radio.phy);
        // As the kernel's number without a sign: Linux 6.1 reads no other there, and newer ones take it.
        let unsigned = i64::from(dbm - SENT_DBM) as u64;
        fs::write(&path, unsigned.to_string())
            .with_context(|| format!("cannot write {dbm} to {path}"))
    }

    /// Asks wpa_supplicant, in the words of its control interface.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        netns::run(
            Command::new("wpa_cli")
                .arg("-p")
                .arg(self.directory.join("supplicant"))
                .args(["-i", WLAN])
                .args(words),
        )
    }

    /// The station looks for an access point until it has heard it: it moves only to such a one.
    pub fn hear(&self, access_point: AccessPoint) -> Result<()> {
        let (_, _, frequency) = air_of(access_point);
        wait_until("the access point to be heard", SOON, || {
            // Refused while another scan lasts, which will do as well.
            self.ask(&["scan", &format!("freq={frequency}"), "TYPE=ONLY"])?;
            let results = self.ask(&["scan_results"])?;
            Ok(results.contains(access_point.id()).then_some(()))
        })
    }

    /// The station moves of itself, and says nothing about it before.
    pub fn roam(&self, access_point: AccessPoint) -> Result<()> {
        self.hear(access_point)?;
        let answer = self.ask(&["roam", access_point.id()])?;
        ensure!(
            answer.trim() == "OK",
            "wpa_supplicant does not roam: {answer}"
        );
        Ok(())
    }

    /// Waits until the station is there and may send.
    pub fn wait_associated(&mut self, access_point: AccessPoint) -> Result<()> {
        let what = format!("the station to be at {access_point}");
        wait_until(&what, SOON, || {
            for process in self.supplicant.iter_mut().chain(&mut self.hostapds) {
                process.check_running()?;
            }
            // The control interface is not there from the start.
            let status = self.ask(&["status"]).unwrap_or_default();
            let there = status.contains("wpa_state=COMPLETED")
                && status.contains(&format!("bssid={access_point}"));
            Ok(there.then_some(()))
        })
        .map_err(|error| anyhow!("{error:#}\n{}", self.account()))
    }

    /// What the daemons said last.
    pub fn account(&self) -> String {
        self.supplicant
            .iter()
            .chain(&self.hostapds)
            .map(|process| {
                let output = process.output();
                format!(
                    "--- {} said:\n{}\n",
                    process.log().display(),
                    crate::process::tail(&output)
                )
            })
            .collect()
    }

    fn start_hostapd(&mut self, lab: &Lab, access_point: AccessPoint) -> Result<()> {
        let (interface, channel, _) = air_of(access_point);
        let control = self.directory.join("hostapd");
        let configuration = format!(
            "interface={interface}\n\
             bridge={}\n\
             driver=nl80211\n\
             ctrl_interface={}\n\
             ssid={SSID}\n\
             hw_mode=g\n\
             channel={channel}\n\
             wpa=2\n\
             wpa_key_mgmt=WPA-PSK\n\
             rsn_pairwise=CCMP\n\
             wpa_passphrase={PASSPHRASE}\n",
            access_point.bridge(),
            control.display()
        );
        let file = self.directory.join(format!("{interface}.conf"));
        fs::write(&file, configuration)?;
        let mut command = Command::new("hostapd");
        command.arg(&file);
        let log = self.directory.join(format!("{interface}.log"));
        let mut process =
            Process::start(&lab.air, &format!("hostapd of {interface}"), command, log)?;
        wait_until("the access point to be on the air", SOON, || {
            process.check_running()?;
            Ok(process.output().contains("AP-ENABLED").then_some(()))
        })?;
        self.hostapds.push(process);
        Ok(())
    }

    fn start_supplicant(&mut self, lab: &Lab) -> Result<()> {
        let configuration = format!(
            "ctrl_interface={}\n\
             network={{\n\
             \tssid=\"{SSID}\"\n\
             \tpsk=\"{PASSPHRASE}\"\n\
             \tkey_mgmt=WPA-PSK\n\
             \tscan_freq=2412 2437\n\
             }}\n",
            self.directory.join("supplicant").display()
        );
        let file = self.directory.join("supplicant.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new("wpa_supplicant");
        command
            .args(["-D", "nl80211", "-i", WLAN, "-t", "-c"])
            .arg(&file);
        let log = self.directory.join("supplicant.log");
        self.supplicant = Some(Process::start(&lab.mn, "wpa_supplicant", command, log)?);
        Ok(())
    }
}

/// Moves a radio into a namespace, and gives its interface a name and an address there.
fn place(radio: &Radio, namespace: &NetNs, name: &str, address: &str) -> Result<()> {
    let Radio { phy, interface } = radio;
    netns::run(Command::new("iw").args(["phy", phy, "set", "netns", "name", namespace.name()]))?;
    namespace.ip(&format!("link set {interface} down"))?;
    if interface != name {
        namespace.ip(&format!("link set {interface} name {name}"))?;
    }
    namespace.ip(&format!("link set {name} address {address}"))?;
    Ok(())
}

/// The simulated radios in the caller's namespace.
fn list() -> Result<Vec<Radio>> {
    let mut radios = Vec::new();
    let Ok(entries) = fs::read_dir("/sys/class/ieee80211") else {
        // No radio at all.
        return Ok(radios);
    };
    for entry in entries {
        let path = entry?.path();
        let driver = fs::read_link(path.join("device/driver")).unwrap_or_default();
        if !driver.ends_with(DRIVER) {
            continue;
        }
        let interfaces = fs::read_dir(path.join("device/net")).into_iter().flatten();
        let interface = interfaces.flatten().next().map(|entry| entry.file_name());
        if let (Some(phy), Some(interface)) = (path.file_name(), interface) {
            radios.push(Radio {
                phy: phy.to_string_lossy().into_owned(),
                interface: interface.to_string_lossy().into_owned(),
            });
        }
    }
    radios.sort_by(|a, b| a.phy.cmp(&b.phy));
    Ok(radios)
}
