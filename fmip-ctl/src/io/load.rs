//! The BPF object: loading its programs. Attaching them is [`super::attach`]'s.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{ProgramError, SchedClassifier, Xdp},
};

use super::{attach::Link, probe};

/// The BPF object that the build script made.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fmip-ebpf"));

/// Name of the program in the driver of every interface of an access router that can have it there.
pub const ROUTER: &str = "fmip_router";
/// Name of the program on what comes in at the other interfaces.
pub const ROUTER_IN: &str = "fmip_router_in";
/// Name of the program on what goes out of the access interfaces.
pub const ROUTER_OUT: &str = "fmip_router_out";
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
    pub(super) ebpf: Ebpf,
    pub(super) links: Vec<Link>,
    /// Whether what a driver does with a redirected frame can be heard; why not otherwise.
    pub(super) hearing: Result<(), String>,
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
            hearing: Ok(()),
        };
        // All at once, while the object still has its maps: whoever takes one may drop it.
        for name in [ROUTER, DRAIN, probe::SEND] {
            loaded(programs.xdp(name)?.load(), name)?;
        }
        for name in [ROUTER_IN, ROUTER_OUT, MOBILE_IN, MOBILE_OUT] {
            loaded(programs.classifier(name)?.load(), name)?;
        }
        // Tracing is a right of its own (CAP_PERFMON), and a kernel may be built without.
        programs.hearing = probe::load_listeners(&mut programs.ebpf);
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
}

fn loaded(result: Result<(), ProgramError>, name: &str) -> Result<()> {
    result
        .map_err(|error| anyhow!(in_full(&error)))
        .with_context(|| format!("the kernel refuses the program {name}"))
}

/// An error with its causes: aya's say only the outermost when shown.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
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
