//! BPF links to interfaces, by the system call itself.
//!
//! Not by aya's methods. Where the kernel refuses a link with EINVAL they attach by netlink in
//! silence: what is attached so outlives a killed controller, and is no longer ours to replace. And
//! they let go of a link whose program cannot be replaced, which leaves the interface without any.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

// Commands, types of attachment and flags: include/uapi/linux/bpf.h and if_link.h.
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Programs in a TCX chain at most (`BPF_MPROG_MAX`).
const MAX_CHAIN: usize = 64;

/// Where a program is linked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// The driver's own XDP.
    NativeXdp,
    /// The XDP of the kernel's network stack.
    GenericXdp,
    /// TCX, behind all programs that are there, on what comes in.
    TcxIngress,
    /// TCX, behind all programs that are there, on what goes out.
    TcxEgress,
}

impl Hook {
    /// The type of attachment, and its flags.
    fn numbers(self) -> (u32, u32) {
        match self {
            Self::NativeXdp => (BPF_XDP, XDP_FLAGS_DRV_MODE),
            Self::GenericXdp => (BPF_XDP, XDP_FLAGS_SKB_MODE),
            Self::TcxIngress => (BPF_TCX_INGRESS, 0),
            Self::TcxEgress => (BPF_TCX_EGRESS, 0),
        }
    }
}

/// A program's link to an interface. The kernel detaches the program when it is dropped, or when
/// the process ends in whatever way.
#[derive(Debug)]
pub(super) struct BpfLink(OwnedFd);

/// The head of `union bpf_attr` as BPF_LINK_CREATE reads it; what follows there, such as the place
/// among the other programs of a TCX chain, is left at its default of zero.
#[repr(C)]
#[derive(Default)]
struct Create {
    program: RawFd,
    interface: u32,
    attach_type: u32,
    flags: u32,
    place: [u64; 2],
}

/// The head of `union bpf_attr` as BPF_PROG_QUERY reads it, and writes `count`.
#[repr(C)]
#[derive(Default)]
struct Query {
    interface: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    reserved: u32,
    more: [u64; 4],
}

/// The head of `union bpf_attr` as BPF_LINK_UPDATE reads it.
#[repr(C)]
#[derive(Default)]
struct Update {
    link: RawFd,
    program: RawFd,
    flags: u32,
    old_program: u32,
}

impl BpfLink {
    /// Attaches a program of the type that the hook is for.
    pub(super) fn create(program: BorrowedFd<'_>, interface: u32, hook: Hook) -> io::Result<Self> {
        let (attach_type, flags) = hook.numbers();
        let mut attributes = Create {
            program: program.as_raw_fd(),
            interface,
            attach_type,
            flags,
            ..Create::default()
        };
        // SAFETY: the kernel reads as many octets as the structure has, in which there is no
        // pointer.
        let fd = unsafe { bpf(BPF_LINK_CREATE, &mut attributes) }?;
        // SAFETY: the kernel opened it for us, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Puts another program in the place of the one that is attached. There is no moment without
    /// one, and if it fails the old one stays.
    pub(super) fn replace(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let mut attributes = Update {
            link: self.0.as_raw_fd(),
            program: program.as_raw_fd(),
            ..Update::default()
        };
        // SAFETY: as above.
        unsafe { bpf(BPF_LINK_UPDATE, &mut attributes) }.map(drop)
    }
}

/// The programs of a TCX chain, by their numbers, in the order in which they run; not more than
/// the kernel lets there be.
pub(super) fn chain(interface: u32, hook: Hook) -> io::Result<Vec<u32>> {
    let mut programs = [0_u32; MAX_CHAIN];
    let mut attributes = Query {
        interface,
        attach_type: hook.numbers().0,
        programs: programs.as_mut_ptr() as u64,
        count: MAX_CHAIN as u32,
        ..Query::default()
    };
    // SAFETY: the kernel writes into `attributes`, and at most `count` numbers into `programs`,
    // which has room for them and is not touched until the call is over.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    Ok(programs[..MAX_CHAIN.min(attributes.count as usize)].to_vec())
}

/// # Safety
/// `attributes` is what the kernel reads for `command`, and all that it points to is valid
/// for what the kernel does there.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: the pointer and its length are those of a reference; the rest is the caller's word.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as RawFd)
}
