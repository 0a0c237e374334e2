//! Switches under /proc/sys that are put back.

use std::{
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};

use tracing::warn;

pub(super) fn interface_sysctl(interface: &str, switch: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net/ipv6/conf")
        .join(interface)
        .join(switch)
}

/// A switch under /proc/sys, with its old value put back on drop.
///
/// /proc/sys/net is that of the network namespace of the thread that opens the file.
#[derive(Debug)]
pub(super) struct Sysctl {
    path: PathBuf,
    /// `None` if it had the wanted value already.
    pub(super) before: Option<String>,
}

impl Sysctl {
    pub(super) fn set(path: PathBuf, value: &str) -> io::Result<Self> {
        let before = fs::read_to_string(&path)?.trim().to_owned();
        let changed = before != value;
        if changed {
            fs::write(&path, value)?;
        }
        Ok(Self {
            path,
            before: changed.then_some(before),
        })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let Some(before) = &self.before else {
            return;
        };
        match fs::write(&self.path, before) {
            Ok(()) => {}
            // The interface went away, and its switches with it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => warn!(path = %self.path.display(), %error, "cannot put back {before}"),
        }
    }
}
