//! Whether this machine can run the controller at all: kernel and rights.
//!
//! Asked before anything is touched, so that the answer is one sentence and not the refusal of
//! some system call halfway.

use std::{fs, io};

/// The oldest kernel with live frames in `BPF_PROG_RUN`, which release held packets, and with
/// `IFA_PROTO`, by which addresses are known as ours.
const MIN_KERNEL: (u32, u32) = (5, 18);

// Numbers of capabilities: include/uapi/linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Why this machine cannot run the controller.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// The kernel is too old.
    #[error("kernel {release} is too old: fmip needs {}.{} or newer", MIN_KERNEL.0, MIN_KERNEL.1)]
    KernelTooOld {
        /// Its release, as `uname -r` says it.
        release: String,
    },
    /// The kernel's version is not understood.
    #[error("kernel release {0:?} does not begin with a version number")]
    KernelUnknown(String),
    /// A right is missing.
    #[error(
        "the right {capability} is missing, which is needed to {purpose}: run as root, or give \
         the process this capability"
    )]
    MissingCapability {
        /// Its name; two names if either will do.
        capability: &'static str,
        /// What it is for.
        purpose: &'static str,
    },
    /// The process's own status cannot be read.
    #[error("cannot read the capabilities of this process from /proc/self/status: {0}")]
    Status(io::Error),
}

/// Checks kernel and rights.
///
/// # Errors
/// The first thing that is missing.
pub(super) fn preconditions() -> Result<(), CheckError> {
    let uname = rustix::system::uname();
    kernel(&uname.release().to_string_lossy())?;
    let status = fs::read_to_string("/proc/self/status").map_err(CheckError::Status)?;
    capabilities(effective_capabilities(&status).ok_or_else(|| {
        CheckError::Status(io::Error::new(
            io::ErrorKind::InvalidData,
            "there is no line CapEff with a hexadecimal number",
        ))
    })?)
}

/// Is this release, such as `6.1.0-13-amd64`, new enough?
fn kernel(release: &str) -> Result<(), CheckError> {
    let unknown = || CheckError::KernelUnknown(release.to_owned());
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Err(unknown());
    };
    if (major, minor) < MIN_KERNEL {
        return Err(CheckError::KernelTooOld {
            release: release.to_owned(),
        });
    }
    Ok(())
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn capabilities(effective: u64) -> Result<(), CheckError> {
    let has = |capability: u32| effective & 1 << capability != 0;
    for (present, capability, purpose) in [
        (
            has(CAP_NET_ADMIN),
            "CAP_NET_ADMIN",
            "attach programs to interfaces and to change neighbors and routes",
        ),
        (
            // Kernels since 5.8 have split CAP_BPF off CAP_SYS_ADMIN; the latter still implies it.
            has(CAP_BPF) || has(CAP_SYS_ADMIN),
            "CAP_BPF (or CAP_SYS_ADMIN)",
            "load BPF programs",
        ),
        (has(CAP_NET_RAW), "CAP_NET_RAW", "send signalling"),
    ] {
        if !present {
            return Err(CheckError::MissingCapability {
                capability,
                purpose,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_from_5_18_on_are_taken() {
        for release in ["5.18", "5.18.0-rc1", "6.1.0-13-amd64", "6.18.44", "10.0.1"] {
            assert!(kernel(release).is_ok(), "{release}");
        }
        for release in ["5.17.99", "5.4.0-generic", "4.19", "2.6.32"] {
            let error = kernel(release).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("kernel {release} is too old: fmip needs 5.18 or newer")
            );
        }
        for release in ["", "linux", "6", "6.x", "99999999999.1"] {
            assert!(
                matches!(kernel(release), Err(CheckError::KernelUnknown(_))),
                "{release}"
            );
        }
    }

    #[test]
    fn the_missing_right_is_named() {
        let all = 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW | 1u64 << CAP_BPF;
        assert!(capabilities(all).is_ok());
        assert!(capabilities(all & !(1 << CAP_BPF) | 1 << CAP_SYS_ADMIN).is_ok());
        for (missing, name) in [
            (CAP_NET_ADMIN, "CAP_NET_ADMIN"),
            (CAP_NET_RAW, "CAP_NET_RAW"),
            (CAP_BPF, "CAP_BPF (or CAP_SYS_ADMIN)"),
        ] {
            let error = capabilities(all & !(1 << missing)).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("the right {name} is missing")),
                "{error}"
            );
        }
    }

    #[test]
    fn effective_capabilities_are_read_from_their_line() {
        let status = "Name:\tx\nCapPrm:\t0000000000000001\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n";
        assert_eq!(effective_capabilities(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
        assert_eq!(effective_capabilities("CapEff:\tzz\n"), None);
    }
}
