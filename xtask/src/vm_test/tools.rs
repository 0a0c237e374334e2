//! The programs that the virtual machine takes: those of this machine, and where one is missing,
//! Debian's package of it, downloaded and unpacked in a folder of this workspace. Nothing is
//! installed: neither root is needed for it, nor do access points and supplicants become services.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::CannotRun;
use crate::{machine, step};

/// Programs that are run, and Debian's package of each.
const PROGRAMS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("hostapd", "hostapd"),
    ("wpa_supplicant", "wpasupplicant"),
    ("iw", "iw"),
];

/// The shell of the first file system, which must be linked statically: Debian's package of it is
/// taken always, since one that is installed need not be.
const BUSYBOX: &str = "busybox-static";

/// The folders of a Debian system that are links into /usr, where this machine's are.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Unpacked packages, as one tree that is laid over this machine's in the virtual machine.
#[derive(Debug)]
pub(super) struct Tools {
    root: PathBuf,
}

impl Tools {
    /// Finds or fetches all that is needed, into `cache`.
    pub(super) fn ensure(cache: &Path) -> Result<Self> {
        let tools = Self {
            root: cache.join("tools"),
        };
        // What was interrupted has left files of which nobody knows what is missing beside them.
        let whole = cache.join("tools.unpacked");
        if tools.root.exists() && !whole.exists() {
            fs::remove_dir_all(&tools.root)
                .with_context(|| format!("cannot empty {}", tools.root.display()))?;
        }
        let mut packages: Vec<&str> = PROGRAMS
            .into_iter()
            .filter(|(program, _)| tools.find(program).is_none())
            .map(|(_, package)| package)
            .collect();
        if !tools.busybox().is_file() {
            packages.push(BUSYBOX);
        }
        if packages.is_empty() {
            return Ok(tools);
        }
        check_apt(&packages.join(" "))?;
        eprintln!(
            "vm-test: missing: {}; unpacking Debian's packages into {}",
            packages.join(", "),
            tools.root.display()
        );
        let all = with_dependencies(&packages)?;
        let debs = download(&all, &cache.join("packages"))?;
        if whole.exists() {
            fs::remove_file(&whole)
                .with_context(|| format!("cannot remove {}", whole.display()))?;
        }
        for deb in debs {
            unpack(&deb, &tools.root, &[])?;
        }
        fs::write(&whole, "").with_context(|| format!("cannot write {}", whole.display()))?;
        for (program, package) in PROGRAMS {
            if tools.find(program).is_none() {
                return Err(CannotRun::because(format!(
                    "Debian's package {package} was unpacked and has no {program}"
                )));
            }
        }
        Ok(tools)
    }

    /// The statically linked busybox.
    pub(super) fn busybox(&self) -> PathBuf {
        self.root.join("bin/busybox")
    }

    /// The tree of unpacked packages.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A command that runs `program`, which [`Tools::ensure`] has found.
    pub(super) fn command(&self, program: &str) -> Command {
        let path = self.find(program).unwrap_or_else(|| program.into());
        let mut command = Command::new(&path);
        if path.starts_with(&self.root) {
            let library = self.root.join("usr/lib");
            let triplet = format!("{}-linux-gnu", env::consts::ARCH);
            let mut libraries = vec![library.join(triplet), library];
            if let Some(others) = env::var_os("LD_LIBRARY_PATH") {
                libraries.extend(env::split_paths(&others));
            }
            command.env(
                "LD_LIBRARY_PATH",
                env::join_paths(libraries).unwrap_or_default(),
            );
        }
        command
    }

    /// The folders in which qemu's firmware may be, beside those it knows itself.
    pub(super) fn firmware(&self) -> Vec<PathBuf> {
        ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"]
            .map(|folder| self.root.join(folder))
            .into_iter()
            .filter(|folder| folder.is_dir())
            .collect()
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        machine::find_program(program).or_else(|| {
            ["usr/bin", "usr/sbin"]
                .map(|folder| self.root.join(folder).join(program))
                .into_iter()
                .find(|path| path.is_file())
        })
    }
}

/// # Errors
/// [`CannotRun`] if there is no apt that `missing` could be had from.
pub(super) fn check_apt(missing: &str) -> Result<()> {
    for program in ["apt-get", "apt-cache", "dpkg-deb", "tar"] {
        if machine::find_program(program).is_none() {
            return Err(CannotRun::because(format!(
                "there is no {program} on this machine; install these with its own package manager \
                 (Debian's names): {missing}"
            )));
        }
    }
    Ok(())
}

/// Brings apt's lists of packages up to date, which only root may; whether that was done. Not fatal if
/// it fails: with one source out of reach the others may do.
pub(super) fn refresh_lists() -> bool {
    let mut command = Command::new("apt-get");
    machine::is_root()
        && match step::run("vm-test: apt-get update", command.arg("update"), false) {
            Ok(_) => true,
            Err(error) => {
                eprintln!("vm-test: {error:#}; going on with the package lists there are");
                false
            }
        }
}

/// These packages, and those that apt would install with them.
fn with_dependencies(packages: &[&str]) -> Result<Vec<String>> {
    let simulate = || {
        let mut command = Command::new("apt-get");
        command
            .env("LC_ALL", "C.UTF-8")
            .args(["--simulate", "--no-install-recommends", "install"])
            .args(packages);
        command.output().context("cannot run apt-get")
    };
    let mut output = simulate()?;
    if !output.status.success() && refresh_lists() {
        output = simulate()?;
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(CannotRun::because(format!(
            "apt-get does not offer {} (is its list of packages old? `apt-get update`): {}",
            packages.join(" "),
            said.trim()
        )));
    }
    let mut all: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
    all.extend(new_packages(&String::from_utf8_lossy(&output.stdout)));
    all.sort();
    all.dedup();
    Ok(all)
}

/// The names in what a simulation of apt-get prints, such as `Inst libslirp0 (4.7.0-1 Debian:12)`.
/// The C library is left out: this machine's is running, and half of another fits no program.
fn new_packages(simulation: &str) -> Vec<String> {
    simulation
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
        .filter(|name| !["libc6", "libc-bin"].contains(name))
        .map(str::to_owned)
        .collect()
}

/// Downloads `packages` into `folder`; their files.
pub(super) fn download(packages: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let fetch = || {
        let mut command = Command::new("apt-get");
        command.arg("download").args(packages).current_dir(folder);
        let label = format!("vm-test: downloading {} packages", packages.len());
        step::run(&label, &mut command, false)
    };
    // What the lists name and the archive has no more is a list that is old.
    if let Err(error) = fetch()
        && (!refresh_lists() || fetch().is_err())
    {
        return Err(CannotRun::because(format!(
            "{error:#} (is apt's list of packages old? `apt-get update`)"
        )));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// Unpacks a package over what is in `root`, but for the paths that match `without`. Where this
/// machine has its /lib in /usr, so has `root`: it is laid over this machine's tree.
pub(super) fn unpack(deb: &Path, root: &Path, without: &[&str]) -> Result<()> {
    fs::create_dir_all(root.join("usr"))
        .with_context(|| format!("cannot make {}", root.display()))?;
    for name in MERGED {
        if let Ok(target) = fs::read_link(Path::new("/").join(name))
            && target == Path::new("usr").join(name)
            && !root.join(name).exists()
        {
            fs::create_dir_all(root.join("usr").join(name))?;
            std::os::unix::fs::symlink(&target, root.join(name))?;
        }
    }
    let mut tar = Command::new("tar");
    // Whose the files are is no matter, and only root could say.
    tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner"])
        .arg("--directory")
        .arg(root)
        .args(without.iter().map(|path| format!("--exclude={path}")));
    let mut package = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let content = package.stdout.take().expect("it is piped");
    let unpacked = tar.stdin(content).status().context("cannot run tar")?;
    let read = package.wait()?;
    if !unpacked.success() || !read.success() {
        return Err(CannotRun::because(format!(
            "cannot unpack {}: dpkg-deb {read}, tar {unpacked}",
            deb.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_to_come_are_read_from_apts_simulation() {
        let simulation = "Reading package lists...\n\
            Remv qemu-utils [1:10.0]\n\
            Inst libslirp0 (4.7.0-1 Debian:12.0/oldstable [amd64])\n\
            Inst libc6 [2.36-1] (2.36-9 Debian:12.15/oldstable [amd64])\n\
            Inst iw (5.19-1 Debian:12.0/oldstable [amd64])\n\
            Conf iw (5.19-1 Debian:12.0/oldstable [amd64])\n";
        assert_eq!(new_packages(simulation), ["libslirp0", "iw"]);
    }
}
