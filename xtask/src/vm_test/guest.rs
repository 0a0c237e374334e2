//! What runs inside the virtual machine: the first file system with its `init`, and the script that
//! runs the programs one after the other and tells the host where it is.
//!
//! ```text
//!   initramfs: busybox, modules for the disk         this machine's /, read-only, over 9p
//!        |  init: insmod, mount, switch_root  --->   + unpacked packages, + memory for what is written
//!        v
//!   script: begin NAME / the program's own lines / end NAME CODE   --->   second serial line
//! ```

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result};

use super::{archive::Archive, kernel::Kernel, modules::Dependencies, results::End};
use crate::step;

/// What begins a line of the script's own: no text, so that no test prints it.
const MARK: char = '\u{1}';

/// The names under which the host's tree and that of the unpacked packages are offered. The latter is
/// in the former, but two layers of one must not be parts of the same file system.
pub(super) const HOST: &str = "host";
pub(super) const TOOLS: &str = "tools";

/// The script's path in the first file system.
const SCRIPT: &str = "script";

/// What the first file system needs to reach the second. The rest loads itself when it is asked for.
const BOOT_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Octets of one 9p message: the larger, the fewer turns between guest and host for a program's file.
const MESSAGE_SIZE: u32 = 512 * 1024;

/// A program to run in the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// The test program, as people call it.
    pub(super) name: String,
    /// The one test of it, if it is not all.
    pub(super) test: Option<String>,
    /// Its file.
    pub(super) program: String,
    /// The folder it is run in.
    pub(super) folder: String,
    pub(super) arguments: Vec<String>,
    /// Seconds until it is ended.
    pub(super) limit: u32,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.test {
            Some(test) => write!(f, "::{test}"),
            None => Ok(()),
        }
    }
}

/// All that the script needs to know.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The environment of the programs.
    pub(super) environment: Vec<(String, String)>,
    /// How many simulated radios there are to be.
    pub(super) radios: u32,
    pub(super) jobs: Vec<Job>,
}

/// A line from the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// The kernel of this release is up, and the programs are about to run.
    Ready(&'a str),
    /// The job of this number begins.
    Begin(usize),
    /// What a program prints.
    Text(&'a str),
    /// The job of this number has ended.
    End(usize, End),
    /// All jobs have.
    Done,
}

impl<'a> Line<'a> {
    /// Reads a line without its end.
    pub(super) fn read(line: &'a str) -> Self {
        let line = line.trim_end_matches('\r');
        // A program's last line may lack its end.
        let Some((_, told)) = line.split_once(MARK) else {
            return Self::Text(line);
        };
        let mut words = told.split(' ');
        let read = match (words.next(), words.next(), words.next()) {
            (Some("ready"), Some(release), None) => Some(Self::Ready(release)),
            (Some("done"), None, None) => Some(Self::Done),
            (Some("begin"), Some(job), None) => job.parse().ok().map(Self::Begin),
            (Some("end"), Some(job), Some(code)) => job
                .parse()
                .ok()
                .zip(code.parse().ok())
                .map(|(job, code)| Self::End(job, end_of(code))),
            _ => None,
        };
        read.unwrap_or(Self::Text(line))
    }
}

/// What the exit code of busybox's `timeout` means: it ends a program by SIGTERM, and by SIGKILL if
/// that does not help, and exits as a shell does after a signal.
fn end_of(code: i32) -> End {
    const TERMINATED: i32 = 128 + 15;
    const KILLED: i32 = 128 + 9;
    match code {
        TERMINATED | KILLED => End::TimeUp,
        code => End::Code(code),
    }
}

/// The first file system.
pub(super) fn first_file_system(kernel: &Kernel, busybox: &Path, plan: &Plan) -> Result<Vec<u8>> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let list = kernel.modules.join("modules.dep");
    let list =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let mut archive = Archive::default();
    for folder in [
        "bin", "dev", "proc", "sys", "modules", "memory", "whole", HOST, TOOLS,
    ] {
        archive.directory(folder);
    }
    archive.file("bin/busybox", &read(busybox)?);
    let mut modules = Vec::new();
    for (number, file) in Dependencies::read(&list)
        .in_order(&BOOT_MODULES)
        .into_iter()
        .enumerate()
    {
        // Their names could be the same in different folders; their suffix tells how they are packed.
        let suffix = file.split_once(".ko").map_or("", |(_, suffix)| suffix);
        let name = format!("modules/{number}.ko{suffix}");
        archive.file(&name, &read(&kernel.modules.join(file))?);
        modules.push(name);
    }
    archive.file("init", init(&modules, kernel).as_bytes());
    archive.file(SCRIPT, script(plan).as_bytes());
    Ok(archive.finish())
}

/// The first process, up to the change into the host's tree.
fn init(modules: &[String], kernel: &Kernel) -> String {
    let insert: String = modules
        .iter()
        .map(|module| format!("insmod /{module}\n"))
        .collect();
    let modules = quoted(&format!("/{HOST}{}", kernel.modules.display()));
    let release = &kernel.release;
    // What the host has there is of no use, unless the tests are built there.
    let temporary = match step::workspace_root().starts_with("/tmp") {
        true => "",
        false => "mount -t tmpfs -o mode=1777,size=50% tmp /whole/tmp\n",
    };
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/bin\n\
         fail() {{ echo \"fmip-vm: $*\"; poweroff -f; }}\n\
         mount -t devtmpfs dev /dev\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         {insert}\
         for share in {HOST} {TOOLS}; do\n\
         mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize={MESSAGE_SIZE} $share /$share \
         || fail \"the host does not share its files: $share\"\n\
         done\n\
         mount -t tmpfs -o size=60% memory /memory\n\
         mkdir /memory/upper /memory/work\n\
         mount -t overlay -o lowerdir=/{TOOLS}:/{HOST},upperdir=/memory/upper,workdir=/memory/work overlay /whole \
         || fail 'nothing can be laid over the files of the host'\n\
         for folder in dev proc sys; do mkdir -p /whole/$folder; mount --move /$folder /whole/$folder; done\n\
         mkdir -p /whole/run /whole/tmp /whole/lib/modules/{release}\n\
         mount --bind {modules} /whole/lib/modules/{release} || fail 'no modules'\n\
         mount -t tmpfs run /whole/run\n\
         {temporary}\
         mkdir -p /whole/run/fmip-vm\n\
         cp /bin/busybox /{SCRIPT} /whole/run/fmip-vm\n\
         exec switch_root /whole /run/fmip-vm/busybox sh /run/fmip-vm/{SCRIPT}\n"
    )
}

/// The first process from then on.
fn script(plan: &Plan) -> String {
    let mut text = "b=/run/fmip-vm/busybox\n\
         say() { printf '\\001%s\\n' \"$*\"; }\n\
         exec </dev/null >/dev/ttyS1 2>&1\n\
         $b stty -F /dev/ttyS1 raw -echo\n\
         mkdir -p /dev/shm /dev/pts\n\
         $b mount -t devpts devpts /dev/pts\n\
         $b mount -t tmpfs shm /dev/shm\n\
         $b mount -t bpf bpf /sys/fs/bpf\n\
         $b mount -t debugfs debugfs /sys/kernel/debug\n\
         $b mount -t tracefs tracefs /sys/kernel/tracing\n\
         $b mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         $b hostname fmip-vm\n\
         $b ip link set lo up\n\
         # What the kernel asks for when it misses a module.\n\
         $b ln -s $b /run/fmip-vm/modprobe\n\
         echo /run/fmip-vm/modprobe > /proc/sys/kernel/modprobe\n\
         # Its device is asked for by name, and there is nobody else to make it.\n\
         /run/fmip-vm/modprobe tun\n\
         export HOME=/root\n"
        .to_owned();
    for (name, value) in &plan.environment {
        text += &format!("export {name}={}\n", quoted(value));
    }
    if plan.radios > 0 {
        text += &format!(
            "/run/fmip-vm/modprobe mac80211_hwsim radios={}\n",
            plan.radios
        );
    }
    text += "say ready $($b uname -r)\n";
    for (number, job) in plan.jobs.iter().enumerate() {
        let arguments: String = job
            .arguments
            .iter()
            .map(|argument| format!(" {}", quoted(argument)))
            .collect();
        // Killed is what the program left running; the first process is not. The radios that are in a network
        // namespace come back when it ends.
        text += &format!(
            "say begin {number}\n\
             cd {}\n\
             CARGO_MANIFEST_DIR={} $b timeout -k 10 {} {}{arguments}\n\
             say end {number} $?\n\
             kill -9 -1\n\
             for n in /run/netns/*; do $b umount $n 2>/dev/null; $b rm -f $n; done\n",
            quoted(&job.folder),
            quoted(&job.folder),
            job.limit,
            quoted(&job.program),
        );
    }
    text += "say done\n\
             $b poweroff -f\n";
    text
}

/// A word for the shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_script_are_told_from_those_of_the_programs() {
        for (line, read) in [
            ("\u{1}ready 6.1.0-56-amd64\r", Line::Ready("6.1.0-56-amd64")),
            ("\u{1}begin 3", Line::Begin(3)),
            ("no end of line\u{1}end 3 0", Line::End(3, End::Code(0))),
            ("\u{1}end 3 101", Line::End(3, End::Code(101))),
            ("\u{1}end 3 143", Line::End(3, End::TimeUp)),
            ("\u{1}end 3 137", Line::End(3, End::TimeUp)),
            ("\u{1}done", Line::Done),
            ("test a ... ok\r", Line::Text("test a ... ok")),
            ("end 3 0", Line::Text("end 3 0")),
            ("\u{1}end 3", Line::Text("\u{1}end 3")),
            ("\u{1}begin x", Line::Text("\u{1}begin x")),
        ] {
            assert_eq!(Line::read(line), read, "{line:?}");
        }
    }

    #[test]
    fn the_script_runs_every_job_with_its_arguments_and_its_limit() {
        let plan = Plan {
            environment: vec![("FMIP_CTL".to_owned(), "/a b/fmip-ctl".to_owned())],
            radios: 3,
            jobs: vec![
                Job {
                    name: "modes".to_owned(),
                    test: None,
                    program: "/t/modes-1".to_owned(),
                    folder: "/w/tests".to_owned(),
                    arguments: vec!["--test-threads=1".to_owned(), "it's".to_owned()],
                    limit: 60,
                },
                Job {
                    name: "attach".to_owned(),
                    test: None,
                    program: "/t/attach-2".to_owned(),
                    folder: "/w/tests".to_owned(),
                    arguments: Vec::new(),
                    limit: 70,
                },
            ],
        };
        let script = script(&plan);
        for line in [
            "export FMIP_CTL='/a b/fmip-ctl'",
            "/run/fmip-vm/modprobe mac80211_hwsim radios=3",
            "say begin 0",
            r"CARGO_MANIFEST_DIR='/w/tests' $b timeout -k 10 60 '/t/modes-1' '--test-threads=1' 'it'\''s'",
            "say end 0 $?",
            "CARGO_MANIFEST_DIR='/w/tests' $b timeout -k 10 70 '/t/attach-2'",
            "say end 1 $?",
            "say done",
        ] {
            assert!(script.lines().any(|of| of == line), "{line}\nof\n{script}");
        }
    }
}
