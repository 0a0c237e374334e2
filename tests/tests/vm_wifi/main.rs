//! Handovers by real roams: mac80211, hostapd and wpa_supplicant on simulated radios, in a network with
//! WPA2-PSK, under live traffic both ways.
//!
//! Needs a kernel with mac80211_hwsim loaded, which `cargo xtask vm-test` has in a virtual machine; said
//! aloud where there is none. What it measures it reports, and no time of it is a condition.

mod predictive;
mod reactive;

use std::{io::Write as _, thread};

use anyhow::{Context as _, Result, ensure};
use fmip_tests::{
    Lab,
    controller::{Controllers, Events},
    radios::{Missing, Radios},
    stream::{Direction, StreamConfig, Streams, Traffic},
    testing::{self, Turn},
    wait::SOON,
};

/// Packets per second each way, and their size: what an emulated processor encrypts with ease.
const RATE: u32 = 100;
const SIZE: usize = 200;
/// How many packets must pass each way until traffic counts as flowing.
const FLOWS: u64 = 50;

/// The lab with radios, its controllers and its traffic.
struct Scene {
    // Dropped in this order.
    streams: Option<Streams>,
    mn: Events,
    nar: Events,
    controllers: Controllers,
    radios: Radios,
    _lab: Lab,
    _turn: Turn,
}

/// Sets the scene, with more keys of the station's section; `None`, and the reason said aloud, where
/// that is not possible.
fn scene(station: toml::Table) -> Option<Scene> {
    let name = thread::current().name().unwrap_or("test").to_owned();
    match Radios::missing() {
        Some(Missing::Kernel(reason)) => {
            let _ = writeln!(std::io::stderr(), "WITHOUT KERNEL: {name}: {reason}");
            return None;
        }
        Some(Missing::Program(reason)) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: {reason}");
            return None;
        }
        None => {}
    }
    let turn = testing::turn()?;
    Some(Scene::set(turn, station).unwrap_or_else(|error| panic!("{error:#}")))
}

impl Scene {
    fn set(turn: Turn, station: toml::Table) -> Result<Self> {
        let mut lab = Lab::build()?;
        let radios = Radios::start(&mut lab)?;
        let mut settings = testing::settings();
        settings.log_level = "fmip_ctl=debug,info".to_owned();
        // RFC 5568 section 9.2: not less than the link-layer handover takes, and here the processor may
        // be emulated and busy.
        settings.timers.insert("proxy-nd-lifetime-ms", 20_000);
        settings.buffer.max_hold_ms = Some(20_000);
        radios.connect(&mut settings, station);
        let controllers = Controllers::start(&lab, &settings)?;
        let mut scene = Self {
            streams: None,
            mn: controllers.mn.subscribe()?,
            nar: controllers.nar.subscribe()?,
            controllers,
            radios,
            _lab: lab,
            _turn: turn,
        };
        scene.streams = Some(Streams::start(&scene._lab, StreamConfig::new(RATE, SIZE)?)?);
        scene.flows().context("before the move")?;
        Ok(scene)
    }

    fn streams(&self) -> &Streams {
        self.streams.as_ref().expect("they run until the end")
    }

    fn flows(&self) -> Result<()> {
        self.streams().wait_for_packets(FLOWS, SOON)
    }

    /// Lets the traffic flow on, ends it, reports what became of it, and returns it.
    fn close(&mut self, title: &str) -> Result<Traffic> {
        self.flows().context("after the move")?;
        let streams = self.streams.take().expect("they run until the end");
        streams.check()?;
        let traffic = streams.stop()?;
        let mut report = format!(
            "{title}, WPA2-PSK: downlink {}; uplink {}",
            told(&traffic.downlink),
            told(&traffic.uplink)
        );
        for (from, to) in [
            ("fbu-sent", "fback-received"),
            ("link-switch", "link-up"),
            ("link-switch", "una-sent"),
        ] {
            if let (Some(begin), Some(end)) = (self.mn.first(from), self.mn.first(to))
                && let Some(ns) = end.time_ns.checked_sub(begin.time_ns)
            {
                report += &format!("; {from} to {to} {:.0} ms", ns as f64 / 1e6);
            }
        }
        // Past the harness, which keeps to itself what a passing test prints.
        let _ = writeln!(std::io::stderr(), "REPORT: {report}");
        Ok(traffic)
    }

    /// Checks that these things happened to the mobile node in this order, each the first time.
    fn check_order(&self, names: &[&str]) -> Result<()> {
        let mut before: Option<(&str, u64)> = None;
        for name in names {
            let event = self.mn.first(name);
            let at = event
                .with_context(|| format!("there was no {name}"))?
                .time_ns;
            if let Some((earlier, then)) = before {
                ensure!(
                    then <= at,
                    "{name} was {} us before {earlier}",
                    (then - at) / 1000
                );
            }
            before = Some((name, at));
        }
        Ok(())
    }

    /// Ends the test with all that helps to find out why.
    fn fail(&self, error: &anyhow::Error) -> ! {
        let events: Vec<String> = self
            .mn
            .all()
            .iter()
            .map(|event| format!("{} {}", event.time_ns / 1_000_000, event.name))
            .collect();
        panic!(
            "{error:#}\n--- the mobile node's events:\n{}\n{}\n{}",
            events.join("\n"),
            self.controllers.account(),
            self.radios.account()
        )
    }
}

fn told(direction: &Direction) -> String {
    format!(
        "{} of {} lost, {} reordered, {} duplicated, longest gap {:.0} ms",
        direction.lost,
        direction.sent,
        direction.reordered,
        direction.duplicated,
        direction.longest_gap_ms
    )
}

/// A table of the station's section.
fn station(text: &str) -> toml::Table {
    text.parse().expect("the tests' own keys are TOML")
}
