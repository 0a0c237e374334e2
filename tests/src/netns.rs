//! A network namespace that goes away with its owner.

use std::{
    fs::{self, File},
    io::Write as _,
    os::fd::AsFd as _,
    panic,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::wait::poll;

/// A named network namespace. Dropping it ends the processes in it, then removes it.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    handle: File,
    keep: bool,
}

impl NetNs {
    /// Makes the namespace `name`, with its loopback interface up.
    ///
    /// # Errors
    /// If a namespace of that name exists, or the right to make one is missing (CAP_SYS_ADMIN).
    pub fn create(name: &str) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]))?;
        let path = format!("/run/netns/{name}");
        let handle = match File::open(&path) {
            Ok(handle) => handle,
            Err(error) => {
                remove(name);
                return Err(error).with_context(|| format!("cannot open {path}"));
            }
        };
        let namespace = Self {
            name: name.to_owned(),
            handle,
            keep: false,
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A namespace that is there and stays when this value is dropped.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn open(name: &str) -> Result<Self> {
        let path = format!("/run/netns/{name}");
        Ok(Self {
            name: name.to_owned(),
            handle: File::open(&path).with_context(|| format!("cannot open {path}"))?,
            keep: true,
        })
    }

    /// The name under /run/netns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the namespace and its processes standing when this value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets made there stay in the namespace
    /// wherever they are used afterwards.
    ///
    /// A thread of its own, because a namespace is entered per thread and never left again.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(
                        self.handle.as_fd(),
                        Some(LinkNameSpaceType::Network),
                    )
                    .with_context(|| format!("cannot enter the namespace {}", self.name))?;
                    work()
                })
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Starts a program in the namespace; it is the caller's to end and to reap.
    ///
    /// Not by way of `ip netns exec`, which remounts /sys and so hides the BPF file system.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.run(|| {
            command
                .spawn()
                .with_context(|| format!("cannot run {:?}", command.get_program()))
        })
    }

    /// Runs `ip` (iproute2) in the namespace and returns what it prints. `arguments` are split at spaces.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        run(Command::new("ip")
            .args(["-n", &self.name])
            .args(arguments.split_whitespace()))
    }

    /// Like [`NetNs::ip`] for many commands, one per line, in one process; the first failure ends it.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-6", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ip (package iproute2)")?;
        let written = child
            .stdin
            .take()
            .expect("stdin is piped")
            .write_all(lines.as_bytes());
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "ip -n {} -6 -batch: {}\nof\n{lines}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        written.context("cannot hand the commands to ip")
    }

    /// Runs `tc` (iproute2) in the namespace. `arguments` are split at spaces.
    pub fn tc(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("tc");
        command.args(["-n", &self.name]);
        run(command.args(arguments.split_whitespace())).map(drop)
    }

    /// The answer of `ip -json`, parsed.
    pub fn ip_json(&self, arguments: &str) -> Result<serde_json::Value> {
        let text = self.ip(&format!("-json {arguments}"))?;
        if text.trim().is_empty() {
            // Some objects (ip neigh) print nothing where others print an empty list.
            return Ok(serde_json::Value::Array(Vec::new()));
        }
        serde_json::from_str(&text).with_context(|| format!("ip -json {arguments} prints {text:?}"))
    }

    /// Sets what a veth end needs for XDP.
    ///
    /// Receive: GRO on, without which it takes no redirected frames from its peer. Transmit: no checksum
    /// offload and no segmentation, or its peer's XDP program sees unfinished checksums and packets that
    /// were never on a wire.
    pub fn prepare_for_xdp(&self, interface: &str) -> Result<()> {
        let mut command = Command::new("ethtool");
        command.args(["-K", interface, "tx", "off", "tso", "off"]);
        command.args(["gso", "off", "gro", "on"]);
        self.run(|| run(&mut command).map(drop))
    }

    /// Sets a value under /proc/sys/net of the namespace; `key` with slashes, such as
    /// `ipv6/conf/all/forwarding`.
    pub fn sysctl(&self, key: &str, value: u32) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.run(|| {
            fs::write(&path, value.to_string())
                .with_context(|| format!("cannot write {value} to {path}"))
        })
    }

    /// Reads a value under /proc/sys/net of the namespace.
    pub fn read_sysctl(&self, key: &str) -> Result<String> {
        let path = format!("/proc/sys/net/{key}");
        self.run(|| {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            Ok(text.trim().to_owned())
        })
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if !self.keep {
            remove(&self.name);
        }
    }
}

/// Ends the processes in the namespace `name`, each by its id, and removes it. Failures are told on
/// standard error: there is nobody else left to handle them.
pub fn remove(name: &str) {
    let listed = || {
        run(Command::new("ip").args(["netns", "pids", name]))
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect::<Vec<_>>()
    };
    let signal_all = |signal| {
        for pid in listed() {
            // Gone in the meantime is as good as ended.
            let _ = kill_process(pid, signal);
        }
    };
    signal_all(Signal::TERM);
    if !poll(Duration::from_secs(2), || listed().is_empty()) {
        signal_all(Signal::KILL);
        if !poll(Duration::from_secs(2), || listed().is_empty()) {
            eprintln!("processes stay in the namespace {name}: {:?}", listed());
        }
    }
    if let Err(error) = run(Command::new("ip").args(["netns", "delete", name])) {
        eprintln!("cannot remove the namespace {name}: {error:#}");
    }
}

/// The names of the namespaces that exist.
pub fn list() -> Result<Vec<String>> {
    let text = run(Command::new("ip").args(["netns", "list"]))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

/// Runs a program to its end and returns its standard output; its standard error is the error's text.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        bail!(
            "{} {} failed ({}): {}",
            command.get_program().to_string_lossy(),
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("output that is not UTF-8")
}
