//! qemu: the machine itself, from its start to its end, and what it says meanwhile.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{guest, tools::Tools};

/// Who runs the machine's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// This machine's processor.
    Hardware,
    /// qemu, ten times slower.
    Software,
}

impl Accelerator {
    /// What this machine can do. The device alone says little: a machine that is virtual itself may
    /// have it and yet not be able to nest another.
    pub(super) fn find() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let device = File::options().read(true).write(true).open("/dev/kvm");
        if device.is_ok() && virtualises(&processor) {
            Self::Hardware
        } else {
            Self::Software
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Hardware => &["-accel", "kvm", "-cpu", "host"],
            // Without the fast string instructions of real processors: qemu emulates them octet by octet.
            Self::Software => &["-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm"],
        }
    }

    /// What the kernel is told besides: that the other string instructions are not fast, either. Copied
    /// by plain loads and stores, what the verifier of BPF programs copies, which is most of the time
    /// that a test takes, costs less than half.
    fn kernel_options(self) -> &'static str {
        match self {
            Self::Hardware => "",
            Self::Software => " clearcpuid=rep_good,erms,fsrm",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hardware => "KVM",
            Self::Software => "emulated, about ten times slower",
        })
    }
}

/// Whether the processor that /proc/cpuinfo describes can run a machine.
fn virtualises(processor: &str) -> bool {
    processor
        .lines()
        .find_map(|line| line.strip_prefix("flags"))
        .is_some_and(|flags| {
            flags
                .split_whitespace()
                .any(|flag| ["vmx", "svm"].contains(&flag))
        })
}

/// What a machine is made of.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    /// The first file system's archive.
    pub(super) initramfs: &'a Path,
    pub(super) accelerator: Accelerator,
    pub(super) memory_mib: u32,
    pub(super) processors: u32,
    /// Where the kernel's own messages go.
    pub(super) kernel_log: PathBuf,
    /// Where qemu's own messages go.
    pub(super) qemu_log: PathBuf,
}

/// A machine that runs. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// What came of waiting for a line.
#[derive(Debug)]
pub(super) enum Told {
    Line(String),
    /// The time was up.
    Nothing,
    /// The machine has ended.
    Ended,
}

impl Machine<'_> {
    /// Starts it.
    pub(super) fn start(&self, tools: &Tools) -> Result<Running> {
        // qemu appends.
        let _ = fs::remove_file(&self.kernel_log);
        let mut command = tools.command("qemu-system-x86_64");
        for folder in tools.firmware() {
            command.arg("-L").arg(folder);
        }
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-nic", "none", "-machine", "q35"])
            .args(self.accelerator.arguments())
            .args(["-smp", &self.processors.to_string()])
            .args(["-m", &format!("{}M", self.memory_mib)])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            // A panic ends the machine, since it must not be started again; an oops is a panic.
            .arg("-append")
            .arg(format!(
                "console=ttyS0 loglevel=6 panic=-1 oops=panic{}",
                self.accelerator.kernel_options()
            ))
            .arg("-serial")
            .arg(format!("file:{}", self.kernel_log.display()))
            .args(["-serial", "stdio"])
            .args(["-device", "virtio-rng-pci"]);
        for (share, folder) in [(guest::HOST, Path::new("/")), (guest::TOOLS, tools.root())] {
            // qemu takes a comma for the end of a value, and two for one.
            let folder = folder.display().to_string().replace(',', ",,");
            command
                .args([
                    "-device",
                    &format!("virtio-9p-pci,fsdev={share},mount_tag={share}"),
                ])
                .arg("-fsdev")
                .arg(format!(
                    "local,id={share},path={folder},security_model=none,readonly=on,multidevs=remap"
                ));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(
            File::create(&self.qemu_log)
                .with_context(|| format!("cannot create {}", self.qemu_log.display()))?,
        );
        let mut child = command.spawn().context("cannot run qemu-system-x86_64")?;
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
            }
        });
        Ok(Running { child, lines })
    }

    /// Why the kernel died, if its messages say so.
    pub(super) fn panic(&self) -> Option<String> {
        let log = fs::read(&self.kernel_log).unwrap_or_default();
        panic_in(&String::from_utf8_lossy(&log))
    }

    /// The last of what qemu and the kernel said.
    pub(super) fn last_words(&self) -> String {
        [&self.qemu_log, &self.kernel_log]
            .into_iter()
            .map(|path| {
                let log = fs::read(path).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let lines: Vec<&str> = log.lines().collect();
                lines[lines.len().saturating_sub(15)..].join("\n")
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Running {
    /// Waits for its next line, at most until `deadline`.
    pub(super) fn next(&mut self, deadline: Instant) -> Told {
        match self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(line) => Told::Line(line),
            Err(mpsc::RecvTimeoutError::Timeout) => Told::Nothing,
            Err(mpsc::RecvTimeoutError::Disconnected) => Told::Ended,
        }
    }

    /// Lets it power off by itself, at most for `grace`.
    pub(super) fn wait(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        while matches!(self.next(deadline), Told::Line(_)) {}
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line of a kernel's log that says why it died.
fn panic_in(log: &str) -> Option<String> {
    ["BUG: ", "Oops: ", "Kernel panic - "]
        .iter()
        .find_map(|sign| {
            let line = log.lines().find(|line| line.contains(sign))?;
            Some(line.trim().to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_without_the_flag_runs_no_machine() {
        assert!(virtualises("processor: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(virtualises("flags\t\t: svm\n"));
        assert!(!virtualises("flags\t\t: fpu svme\nvmx flags: vnmi\n"));
        assert!(!virtualises(""));
    }

    #[test]
    fn what_comes_first_in_a_dying_kernels_log_is_the_reason() {
        let log = "[    3.1] all is well\n\
            [    4.2] BUG: kernel NULL pointer dereference, address: 0000000000000008\r\n\
            [    4.2] Oops: 0000 [#1] PREEMPT SMP NOPTI\n\
            [    4.3] Kernel panic - not syncing: Fatal exception in interrupt\n";
        assert_eq!(
            panic_in(log).as_deref(),
            Some("[    4.2] BUG: kernel NULL pointer dereference, address: 0000000000000008")
        );
        let log = "[    4.3] Kernel panic - not syncing: Attempted to kill init!\n";
        assert!(panic_in(log).unwrap().contains("kill init"));
        assert_eq!(panic_in("[    3.1] all is well\n"), None);
    }
}
