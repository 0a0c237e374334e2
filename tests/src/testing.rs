//! What the tests that need a lab have in common.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::{
    controller::{Settings, find_fmip_ctl},
    handover::Move,
    netns::NetNs,
    stream::StreamConfig,
    topology::missing,
    wait::is_emulated,
};

/// Held while a lab stands: two labs at once take each other's time.
#[derive(Debug)]
#[must_use]
pub struct Turn {
    _lock: File,
}

/// Waits for the turn of this test; `None`, and the reason said aloud, where no lab can be built.
pub fn turn() -> Option<Turn> {
    turn_of(FlockOperation::LockExclusive)
}

/// As [`turn`], of a test that judges the order of what happens and what is lost, and not how long it
/// takes: its lab may stand beside others of that kind.
pub fn shared_turn() -> Option<Turn> {
    turn_of(FlockOperation::LockShared)
}

fn turn_of(kind: FlockOperation) -> Option<Turn> {
    if let Some(reason) = missing() {
        skip(&reason);
        return None;
    }
    let path = env::temp_dir().join("fmip-lab.lock");
    let lock = File::create(&path)
        .unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    flock(&lock, kind).expect("a lock file can be locked");
    Some(Turn { _lock: lock })
}

/// Says aloud that this test is skipped, and why.
pub fn skip(reason: &str) {
    say("SKIPPED", reason);
}

/// Says aloud that this kernel cannot do what the test is about, and what that is.
pub fn without_kernel(reason: &str) {
    say("WITHOUT KERNEL", reason);
}

fn say(word: &str, reason: &str) {
    // Not by eprintln, which the test harness keeps to itself when a test passes.
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(io::stderr(), "{word}: {test}: {reason}");
}

/// The settings of the controllers under test.
pub fn settings() -> Settings {
    Settings::new(find_fmip_ctl().unwrap_or_else(|error| panic!("{error}")))
}

/// Packets per second at most where the processor is emulated. More would take all of its time, and none
/// be left for the controllers.
const EMULATED_RATE: u32 = 300;

/// A move with that gap in milliseconds and that many packets per second of 200 bytes, or as many as the
/// machine can carry.
pub fn a_move(gap_ms: u64, rate: u32) -> Move {
    let rate = match is_emulated() {
        true => rate.min(EMULATED_RATE),
        false => rate,
    };
    Move {
        gap: Duration::from_millis(gap_ms),
        stream: StreamConfig::new(rate, 200).expect("the tests' rates are in range"),
    }
}

/// What a controller could leave behind in a namespace, in a form to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Names of links; those with an XDP program carry a mark.
    pub links: BTreeSet<String>,
    /// Neighbours that are proxied for.
    pub proxies: BTreeSet<String>,
    /// proxy_ndp of the interfaces.
    pub proxy_ndp: BTreeSet<String>,
    /// Neighbours that never age.
    pub permanent: BTreeSet<String>,
}

impl Traces {
    /// Looks at a namespace.
    pub fn of(namespace: &NetNs) -> Result<Self> {
        let names: Vec<(String, bool)> = items(namespace, "-details link show")?
            .iter()
            .map(|link| (text(link, "ifname"), link.get("xdp").is_some()))
            .collect();
        Ok(Self {
            proxies: proxies(namespace)?,
            proxy_ndp: names
                .iter()
                .map(|(name, _)| {
                    let value = namespace.read_sysctl(&format!("ipv6/conf/{name}/proxy_ndp"))?;
                    Ok(format!("{name} {value}"))
                })
                .collect::<Result<_>>()?,
            permanent: items(namespace, "-6 neigh show nud permanent")?
                .iter()
                .map(|neighbour| format!("{} {}", text(neighbour, "dst"), text(neighbour, "dev")))
                .collect(),
            links: names
                .into_iter()
                .map(|(name, xdp)| {
                    if xdp {
                        format!("{name} with XDP")
                    } else {
                        name
                    }
                })
                .collect(),
        })
    }
}

/// The addresses that a namespace answers neighbour solicitations for in place of others.
pub fn proxies(namespace: &NetNs) -> Result<BTreeSet<String>> {
    let entries = items(namespace, "-6 neigh show proxy")?;
    Ok(entries.iter().map(|entry| text(entry, "dst")).collect())
}

fn items(namespace: &NetNs, arguments: &str) -> Result<Vec<Value>> {
    match namespace.ip_json(arguments)? {
        Value::Array(items) => Ok(items),
        other => anyhow::bail!("ip {arguments} prints {other}, which is no list"),
    }
}

fn text(item: &Value, name: &str) -> String {
    item[name].as_str().unwrap_or_default().to_owned()
}

/// The ids of the BPF programs that a process holds.
pub fn bpf_programs_of(process: u32) -> Result<BTreeSet<u32>> {
    let directory = format!("/proc/{process}/fdinfo");
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {directory}"))? {
        // A descriptor may have been closed in the meantime.
        let information = fs::read_to_string(entry?.path()).unwrap_or_default();
        ids.extend(
            information
                .lines()
                .filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok()),
        );
    }
    Ok(ids)
}

/// The packets counted under a reason in a status.
pub fn packets(status: &Value, reason: &str) -> u64 {
    status["reasons"][reason]["packets"].as_u64().unwrap_or(0)
}
