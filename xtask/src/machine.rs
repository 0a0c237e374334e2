//! What the machine is: rights, kernel, programs.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};

/// The oldest kernel whose BPF_PROG_RUN takes live frames, on which the handover buffer rests.
const OLDEST_KERNEL: (u32, u32) = (5, 18);

/// The capabilities without which neither BPF programs nor network namespaces can be made, as bit
/// numbers of capabilities(7).
const CAPABILITIES: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Checks that this process may load BPF programs and make network namespaces.
///
/// # Errors
/// Names what is missing.
pub(crate) fn check_rights(what: &str) -> Result<()> {
    if !is_root() {
        bail!(
            "{what} loads BPF programs and makes network namespaces, which only root may: \
             run it as root, for example: sudo -E env \"PATH=$PATH\" cargo xtask {what}"
        );
    }
    let status =
        fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        bail!(
            "{what} runs as root, but without {}: in a container, start it with these capabilities",
            missing.join(" and ")
        );
    }
    Ok(())
}

fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        // A /proc that does not say is no reason to refuse.
        .unwrap_or(u64::MAX);
    CAPABILITIES
        .into_iter()
        .filter(|(_, bit)| effective & (1 << bit) == 0)
        .map(|(name, _)| name)
        .collect()
}

/// Checks that the running kernel is new enough.
///
/// # Errors
/// Names both versions.
pub(crate) fn check_kernel() -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot read the kernel's version from /proc/sys/kernel/osrelease")?;
    check_kernel_release(release.trim())
}

fn check_kernel_release(release: &str) -> Result<()> {
    let version = kernel_version(release)
        .with_context(|| format!("the kernel calls itself {release:?}, which is no version"))?;
    if version < OLDEST_KERNEL {
        let (major, minor) = OLDEST_KERNEL;
        bail!("this kernel is {release}, fmip needs {major}.{minor} or newer");
    }
    Ok(())
}

/// `6.18.44-fc` -> (6, 18).
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// `PATH` with the folders of system programs, which a user's `PATH` that `sudo` was told to keep
/// may lack.
pub(crate) fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    for folder in ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    env::join_paths(folders).unwrap_or(path)
}

/// Where `program` is in the search path.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|folder| folder.join(program))
        .find(|path| {
            fs::metadata(path).is_ok_and(|metadata| {
                metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_read_from_the_release() {
        for (release, version) in [
            ("6.18.44-fc-v657", Some((6, 18))),
            ("5.18.0-rc1", Some((5, 18))),
            ("5.18-custom", Some((5, 18))),
            ("5.4", Some((5, 4))),
            ("6", None),
            ("linux", None),
            ("", None),
        ] {
            assert_eq!(kernel_version(release), version, "{release}");
        }
    }

    #[test]
    fn a_kernel_below_the_oldest_is_refused_with_both_versions() {
        check_kernel_release("5.18.0").unwrap();
        check_kernel_release("10.0.1").unwrap();
        let error = check_kernel_release("5.17.15-generic")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("5.17.15-generic") && error.contains("5.18"),
            "{error}"
        );
        assert!(check_kernel_release("banana").is_err());
    }

    #[test]
    fn missing_capabilities_are_named() {
        let none: [&str; 0] = [];
        assert_eq!(missing_capabilities("CapEff:\t000001ffffffffff\n"), none);
        assert_eq!(
            missing_capabilities("Name:\tx\nCapEff:\t00000000a80425fb\n"),
            ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]
        );
        assert_eq!(
            missing_capabilities("CapEff:\t0000000000001000\n"),
            ["CAP_SYS_ADMIN"]
        );
    }

    #[test]
    fn programs_are_found_only_where_they_can_be_run() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program"), None);
        assert_eq!(find_program("../etc/passwd"), None);
    }
}
