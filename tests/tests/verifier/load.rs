//! Loads a program once more, to read what the verifier says when it is content.
//!
//! aya keeps the verifier's log only of programs that are refused. So the object is parsed and relocated
//! here against the maps of the loaded one, and given to the kernel with a buffer for the statistics.

use std::{
    ffi::CStr,
    mem::size_of,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapFd;
use aya_obj::{
    Object, ProgramSection,
    generated::{bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type},
};
use fmip_ctl::io::load;

/// BPF_LOG_STATS in the kernel's include/linux/bpf_verifier.h.
const STATISTICS: u32 = 4;
/// Octets of a map's name that the kernel keeps: BPF_OBJ_NAME_LEN without the NUL.
const NAME: usize = 15;

/// A map of the loaded object.
pub(crate) struct LoadedMap {
    pub(crate) name: String,
    pub(crate) handle: MapFd,
}

/// What the verifier counted.
pub(crate) struct Statistics {
    /// Instructions that it walked through.
    pub(crate) instructions: u64,
    /// Octets of stack of each function, the program itself first.
    pub(crate) stack: Vec<u64>,
}

impl Statistics {
    /// The deepest that the stack can be: as if every function called the next one.
    pub(crate) fn stack_depth(&self) -> u64 {
        self.stack.iter().sum()
    }
}

/// Loads the program `name` on the maps of the object that is loaded already.
pub(crate) fn statistics(name: &str, maps: &[LoadedMap]) -> Result<Statistics> {
    let mut object = Object::parse(load::object())?;
    let sections = object
        .functions
        .keys()
        .map(|(section, _)| *section)
        .collect();
    let described = std::mem::take(&mut object.maps);
    let handles = described
        .iter()
        .map(|(name, map)| {
            let kept = &name[..name.len().min(NAME)];
            let handle = maps.iter().find(|map| map.name == kept);
            // A map that only other programs use: its place is relocated too, and never loaded.
            let handle = handle.map_or(-1, |map| map.handle.as_fd().as_raw_fd());
            (name.as_str(), handle, map)
        })
        .collect::<Vec<(&str, RawFd, _)>>();
    object.relocate_maps(handles.into_iter(), &sections)?;
    object.relocate_calls(&sections)?;
    let program = object.programs.get(name).context("no such program")?;
    let kind = match program.section {
        ProgramSection::Xdp { .. } => bpf_prog_type::BPF_PROG_TYPE_XDP,
        ProgramSection::SchedClassifier => bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS,
        ProgramSection::RawTracePoint => bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
        ref other => anyhow::bail!("{name} is of an unknown kind: {other:?}"),
    };
    let function = object
        .functions
        .get(&program.function_key())
        .context("a program without instructions")?;
    let log = verify(kind, &function.instructions, &program.license)
        .with_context(|| format!("the kernel refuses {name}, which it has loaded before"))?;
    read(&log).with_context(|| format!("the verifier says of {name}: {log}"))
}

/// Reads `stack depth 344+0` and `processed 12345 insns (limit 1000000) ...`.
fn read(log: &str) -> Result<Statistics> {
    let behind = |words: &str| log.lines().find_map(|line| line.strip_prefix(words));
    let instructions = behind("processed ")
        .and_then(|rest| rest.split(' ').next())
        .context("nothing of instructions")?
        .parse()?;
    let stack = behind("stack depth ")
        .context("nothing of the stack")?
        .trim()
        .split('+')
        .map(str::parse)
        .collect::<Result<Vec<u64>, _>>()?;
    ensure!(!stack.is_empty(), "no function");
    Ok(Statistics {
        instructions,
        stack,
    })
}

/// Has the kernel verify the program, and drops it; the verifier's log.
fn verify(kind: bpf_prog_type, instructions: &[bpf_insn], license: &CStr) -> Result<String> {
    let mut log = vec![0_u8; 1 << 16];
    // SAFETY: a union of structures of integers.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: all members are integers; this is the one of BPF_PROG_LOAD.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = kind as u32;
    load.insns = instructions.as_ptr() as u64;
    load.insn_cnt = u32::try_from(instructions.len())?;
    load.license = license.as_ptr() as u64;
    load.log_level = STATISTICS;
    load.log_buf = log.as_mut_ptr() as u64;
    load.log_size = u32::try_from(log.len())?;
    // SAFETY: the attributes name memory that lives until the call returns, each with its length; the kernel
    // writes to `log` alone.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            bpf_cmd::BPF_PROG_LOAD as u32,
            &raw mut attributes,
            size_of::<bpf_attr>(),
        )
    };
    let error = std::io::Error::last_os_error();
    let log = CStr::from_bytes_until_nul(&log)?
        .to_string_lossy()
        .into_owned();
    ensure!(result >= 0, "{error}: {log}");
    // SAFETY: a new descriptor that nobody else has.
    drop(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(result)?) });
    Ok(log)
}
