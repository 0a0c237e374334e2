//! A process inside a namespace, with its output in a file, ended and reaped with its owner.

use std::{
    env,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    netns::NetNs,
    wait::{poll, wait_until},
};

/// How long a process may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A process in a namespace. Dropping it ends it: SIGTERM, and SIGKILL if it does not listen.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    status: Option<ExitStatus>,
    keep: bool,
}

impl Process {
    /// Starts `command` in `namespace`, with both its outputs in the file `log`.
    pub fn start(
        namespace: &NetNs,
        name: &str,
        mut command: Command,
        log: PathBuf,
    ) -> Result<Self> {
        let output =
            File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C at the terminal is for the lab, which then ends its processes in order.
            .process_group(0);
        Ok(Self {
            name: name.to_owned(),
            child: namespace.spawn(&mut command)?,
            log,
            status: None,
            keep: false,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with what it has printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Leaves the process running when this value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// The exit status if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Fails, with what the process printed last, if it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        let status = self.ended()?;
        ensure!(
            status.is_none(),
            "{} has ended ({}); it said:\n{}",
            self.name,
            status.unwrap_or_default(),
            tail(&self.output())
        );
        Ok(())
    }

    /// Sends a signal; nothing happens if the process has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // Until it is reaped its id is not given to another process.
        if self.ended()?.is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal)
                .with_context(|| format!("cannot send {signal:?} to {}", self.name))?;
        }
        Ok(())
    }

    /// Waits for its end, at most for `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait_until(&what, deadline, || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        for signal in [Signal::TERM, Signal::KILL] {
            let _ = self.signal(signal);
            if poll(GRACE, || !matches!(self.ended(), Ok(None))) {
                return;
            }
        }
        eprintln!("{} (process {}) does not end", self.name, self.child.id());
    }
}

/// A program of this package: beside this program, or where cargo built it in this workspace.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let own = env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    // Tests run in a directory below that of the programs.
    let above = beside.and_then(Path::parent);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let built = ["release", "debug"].map(|profile| target.join(profile));
    (beside.into_iter().chain(above))
        .chain(built.iter().map(PathBuf::as_path))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// The last lines of a log, as many as a person reads.
pub fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(30);
    lines[first..].join("\n")
}
