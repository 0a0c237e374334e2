//! The BPF object: loading its programs, attaching them, and taking them off again.

use std::io;

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{
        ProgramError, SchedClassifier, TcAttachType, Xdp,
        links::FdLink,
        tc::{self, SchedClassifierLink, TcError},
        xdp::{XdpLink, XdpMode},
    },
    util::KernelVersion,
};
use rustix::io::Errno;

/// The BPF object that the build script made.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fmip-ebpf"));

/// The BPF object, as it is on disk: for who looks at its programs without running them.
pub fn object() -> &'static [u8] {
    OBJECT
}

/// Name of the program on every interface of an access router.
pub const ROUTER: &str = "fmip_router";
/// Name of the program that takes packets out of the handover buffers.
pub const DRAIN: &str = "fmip_drain";
/// Name of the program on what comes in at a mobile node.
pub const MOBILE_IN: &str = "fmip_mobile_in";
/// Name of the program on what goes out of a mobile node.
pub const MOBILE_OUT: &str = "fmip_mobile_out";

/// The loaded object. What it attached is detached when it is dropped, or when the process ends in
/// whatever way; but for TC programs below Linux 6.6, which stay if the process is killed, until
/// the next one starts.
pub struct Programs {
    ebpf: Ebpf,
    links: Vec<Link>,
}

/// An attachment; held for its `Drop` alone.
enum Link {
    Xdp { _link: FdLink },
    Tc { _link: SchedClassifierLink },
}

impl Programs {
    /// Loads the object, all its programs included, with a pool of `pool` slots for held packets.
    ///
    /// # Errors
    /// When the kernel refuses a map or, in its verifier's words, a program.
    pub fn load(pool: u32) -> Result<Self> {
        // Log statements that nobody would see cost the data path nothing.
        let log_level: u8 = if tracing::enabled!(tracing::Level::DEBUG) {
            aya_log::Level::Debug as u8
        } else {
            aya_log::Level::Warn as u8
        };
        let ebpf = EbpfLoader::new()
            .map_max_entries("SLOTS", pool)
            .override_global(aya_log::LEVEL, &log_level, true)
            .load(OBJECT)
            .map_err(|error| anyhow!(in_full(&error)))
            .with_context(|| {
                format!("cannot load the BPF object (with a pool of {pool} packets)")
            })?;
        let mut programs = Self {
            ebpf,
            links: Vec::new(),
        };
        // All at once, while the object still has its maps: whoever takes one may drop it.
        for name in [ROUTER, DRAIN] {
            loaded(programs.xdp(name)?.load(), name)?;
        }
        for name in [MOBILE_IN, MOBILE_OUT] {
            loaded(programs.classifier(name)?.load(), name)?;
        }
        Ok(programs)
    }

    /// The maps of the object, and its programs for test runs.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// An XDP program.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        self.ebpf
            .program_mut(name)
            .with_context(|| format!("the BPF object has no program {name}"))?
            .try_into()
            .with_context(|| format!("{name} is not an XDP program"))
    }

    /// A TC program.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        self.ebpf
            .program_mut(name)
            .with_context(|| format!("the BPF object has no program {name}"))?
            .try_into()
            .with_context(|| format!("{name} is not a TC program"))
    }

    /// Attaches an XDP program to an interface, natively.
    ///
    /// # Errors
    /// When another program is there, or the interface's driver cannot run XDP.
    pub fn attach_xdp(&mut self, name: &str, interface: &str) -> Result<()> {
        let program = self.xdp(name)?;
        let id = program
            .attach(interface, XdpMode::Driver)
            .map_err(|error| anyhow!(in_full(&error)))
            .with_context(|| {
                format!(
                    "cannot attach {name} to {interface}: its driver must run XDP natively, and \
                     no other XDP program may be attached (`ip link show {interface}` shows one)"
                )
            })?;
        let link: XdpLink = program.take_link(id)?;
        // aya falls back to netlink on some errors; such an attachment outlives the process.
        let link = FdLink::try_from(link).map_err(|_| {
            anyhow!("cannot attach {name} to {interface} by a BPF link: the kernel is too old")
        })?;
        self.links.push(Link::Xdp { _link: link });
        Ok(())
    }

    /// Attaches a TC program to an interface: TCX where the kernel has it, else clsact.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach_classifier(
        &mut self,
        name: &str,
        interface: &str,
        direction: TcAttachType,
    ) -> Result<()> {
        // From 6.6 on the program is attached by TCX, which needs no queueing discipline.
        let needs_clsact = KernelVersion::current()
            .map(|version| version < KernelVersion::new(6, 6, 0))
            .unwrap_or(true);
        if needs_clsact {
            add_clsact(interface)?;
            // Such an attachment outlives a killed controller.
            match tc::qdisc_detach_program(interface, direction, name) {
                Ok(()) => {}
                Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(anyhow!(in_full(&error))).with_context(|| {
                        format!("cannot detach what another controller left on {interface}")
                    });
                }
            }
        }
        let program = self.classifier(name)?;
        let id = program
            .attach(interface, direction)
            .map_err(|error| anyhow!(in_full(&error)))
            .with_context(|| format!("cannot attach {name} to {interface}"))?;
        let link = program.take_link(id)?;
        self.links.push(Link::Tc { _link: link });
        Ok(())
    }
}

/// Adds the queueing discipline that TC programs need before TCX, if it is not there already. It
/// stays: others may use it.
fn add_clsact(interface: &str) -> Result<()> {
    let already_there = |error: &TcError| match error {
        TcError::AlreadyAttached => true,
        TcError::NetlinkError(error) => error.raw_os_error() == Some(Errno::EXIST.raw_os_error()),
        _ => false,
    };
    match tc::qdisc_add_clsact(interface) {
        Err(error) if !already_there(&error) => Err(anyhow!(in_full(&error)))
            .with_context(|| format!("cannot add clsact to {interface}")),
        _ => Ok(()),
    }
}

fn loaded(result: Result<(), ProgramError>, name: &str) -> Result<()> {
    result
        .map_err(|error| anyhow!(in_full(&error)))
        .with_context(|| format!("the kernel refuses the program {name}"))
}

/// An error with its causes: aya's say only the outermost when shown.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
