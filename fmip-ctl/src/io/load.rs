//! The BPF object: loading its programs. Attaching them is [`super::attach`]'s.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{Program, ProgramError, SchedClassifier, Xdp},
    util::KernelVersion,
};
use fmip_common::{
    limits::{INTERFACES, REASONS_PER_INTERFACE},
    table::{PLACES, Seed, buckets_for},
};

use super::{attach::Link, bindings::random_seed, clsact::Clsact, pool::Room, probe};

/// The BPF object that the build script made.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fmip-ebpf"));

/// The BPF object, as it is on disk: for who looks at its programs without running them.
pub fn object() -> &'static [u8] {
    OBJECT
}

/// Name of the program in the driver of every interface of an access router that can have it there.
pub const ROUTER: &str = "fmip_router";
/// Name of the program on what comes in at the other interfaces.
pub const ROUTER_IN: &str = "fmip_router_in";
/// Name of the program on what goes out of the access interfaces.
pub const ROUTER_OUT: &str = "fmip_router_out";
/// Name of the program that takes packets out of the handover buffers.
pub const DRAIN: &str = "fmip_drain";
/// Name of the program that says what time it is.
pub const CLOCK: &str = "fmip_clock";
/// Name of the program on what comes in at a mobile node.
pub const MOBILE_IN: &str = "fmip_mobile_in";
/// Name of the program on what goes out of a mobile node.
pub const MOBILE_OUT: &str = "fmip_mobile_out";
/// Name of the program on a mobile node's loopback, for what was held and leaves by way of it.
pub const RELEASE: &str = "fmip_release";

/// The programs of an access router.
pub const OF_ROUTER: &[&str] = &[ROUTER, ROUTER_IN, ROUTER_OUT, DRAIN, probe::SEND];
/// The programs of a mobile node.
pub const OF_MOBILE_NODE: &[&str] = &[MOBILE_IN, MOBILE_OUT, RELEASE, DRAIN];

/// The loaded object. What it attached is detached when it is dropped, or when the process ends in
/// whatever way; but for TC programs below Linux 6.6, which stay with their queueing discipline if the
/// process is killed, until the next one has started and ended.
pub struct Programs {
    pub(super) ebpf: Ebpf,
    pub(super) links: Vec<Link>,
    /// What was added for them, by the interface. Behind them: it goes when they are gone.
    pub(super) qdiscs: BTreeMap<u32, Clsact>,
    /// Whether the kernel attaches TC programs without that.
    pub(super) has_tcx: bool,
    /// Whether what a driver does with a redirected frame can be heard; why not otherwise.
    pub(super) hearing: Result<(), String>,
}

/// How large the maps are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// For held packets.
    pub room: Room,
    /// Addresses that are bound at a time; 230 octets each (`fmip_common::table`).
    pub bindings: u32,
    /// The highest index of an interface that packets come in on or leave by.
    pub highest_interface: u32,
    /// Interfaces that have counters of their own, and one more.
    pub counters: u32,
    /// What the hash of the table of bindings depends on.
    pub seed: Seed,
}

impl Shape {
    /// For that much room and so many bindings, and the interfaces with these indexes.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub fn new(
        room: Room,
        bindings: u32,
        interfaces: impl IntoIterator<Item = u32>,
    ) -> Result<Self> {
        let (mut highest_interface, mut counters) = (0, 1);
        for interface in interfaces {
            highest_interface = highest_interface.max(interface);
            counters += 1;
        }
        Ok(Self {
            room,
            bindings,
            highest_interface,
            counters: counters.min(INTERFACES),
            seed: random_seed()?,
        })
    }
}

impl Programs {
    /// Loads the object, all its programs included, with maps of this shape.
    ///
    /// # Errors
    /// When the kernel refuses a map or, in its verifier's words, a program.
    pub fn load(shape: &Shape) -> Result<Self> {
        let mut programs = Self::open(shape)?;
        for names in [OF_ROUTER, OF_MOBILE_NODE] {
            programs.load_programs(names)?;
        }
        Ok(programs)
    }

    /// Loads the object with maps of this shape. A program is loaded when it is asked for first; as long
    /// as that may happen, nobody may drop a map that he took.
    ///
    /// What the programs log (aya-log) is for debugging: unless this crate logs at debug itself, their level
    /// is that of warnings, and no statement of theirs is as loud. The level is a constant when the verifier
    /// looks, which takes out of a program what can never run: such a statement costs a packet no
    /// instruction, no look at a level and no room. A test compares the sizes (`tests/tests/verifier`).
    ///
    /// # Errors
    /// When the kernel refuses a map.
    pub fn open(shape: &Shape) -> Result<Self> {
        let buckets = buckets_for(shape.bindings);
        let room = shape.room;
        let log_level: u8 = if tracing::enabled!(tracing::Level::DEBUG) {
            aya_log::Level::Debug as u8
        } else {
            aya_log::Level::Warn as u8
        };
        let ebpf = EbpfLoader::new()
            .map_max_entries("SLOTS", room.packets)
            .map_max_entries("LINKS", room.packets)
            .map_max_entries("BUFFERS", room.nodes)
            .map_max_entries("BUCKETS", buckets)
            .map_max_entries("ENTRIES", buckets * PLACES)
            .map_max_entries("SPARES", buckets * PLACES)
            .map_max_entries("INTERFACES", shape.highest_interface + 1)
            .map_max_entries("COUNTS", shape.counters * REASONS_PER_INTERFACE)
            .override_global("TABLE_SEED", &shape.seed, true)
            .override_global("TABLE_MASK", &(buckets - 1), true)
            .override_global(aya_log::LEVEL, &log_level, true)
            .load(OBJECT)
            .map_err(|error| anyhow!(in_full(&error)))
            .with_context(|| {
                let Room { packets, nodes, .. } = room;
                format!(
                    "cannot load the BPF object (with a pool of {packets} packets for {nodes} \
                     nodes, and for {} bindings)",
                    shape.bindings
                )
            })?;
        let mut programs = Self {
            ebpf,
            links: Vec::new(),
            qdiscs: BTreeMap::new(),
            has_tcx: KernelVersion::current()
                .is_ok_and(|version| version >= KernelVersion::new(6, 6, 0)),
            hearing: Ok(()),
        };
        // The table of bindings asks it for the time.
        programs.load_programs(&[CLOCK])?;
        // Tracing is a right of its own (CAP_PERFMON), and a kernel may be built without.
        programs.hearing = probe::load_listeners(&mut programs.ebpf);
        Ok(programs)
    }

    /// Loads these programs, all at once, while the object still has its maps: the verifier's second or
    /// so is spent before anything else is changed, and on what the role needs alone.
    ///
    /// # Errors
    /// When the kernel refuses one, in its verifier's words.
    pub fn load_programs(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            let is_xdp = matches!(self.ebpf.program(name), Some(Program::Xdp(_)));
            match is_xdp {
                true => drop(self.xdp(name)?),
                false => drop(self.classifier(name)?),
            }
        }
        Ok(())
    }

    /// The maps of the object, and its programs for test runs.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// An XDP program, loaded.
    ///
    /// # Errors
    /// When there is none of this name, or the kernel refuses it.
    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let program: &mut Xdp = self
            .program(name)?
            .try_into()
            .with_context(|| format!("{name} is not an XDP program"))?;
        if program.fd().is_err() {
            loaded(program.load(), name)?;
        }
        Ok(program)
    }

    /// A TC program, loaded.
    ///
    /// # Errors
    /// When there is none of this name, or the kernel refuses it.
    pub fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        let program: &mut SchedClassifier = self
            .program(name)?
            .try_into()
            .with_context(|| format!("{name} is not a TC program"))?;
        if program.fd().is_err() {
            loaded(program.load(), name)?;
        }
        Ok(program)
    }

    fn program(&mut self, name: &str) -> Result<&mut Program> {
        self.ebpf
            .program_mut(name)
            .with_context(|| format!("the BPF object has no program {name}"))
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
