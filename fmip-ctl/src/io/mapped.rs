//! BPF arrays in this process's own memory: what is written there the programs see, without a system call.

use std::{
    ffi::c_void,
    os::fd::AsFd as _,
    ptr::{NonNull, null_mut},
    sync::atomic::AtomicU64,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapData;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// An array that was made with `BPF_F_MMAPABLE`, as words. Unmapped when it is dropped; the map itself
/// lives on as long as a program uses it.
pub(super) struct Mapped {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: memory that is shared with the kernel anyway, and read and written in atomic words only.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps all elements of `map`.
    ///
    /// # Errors
    /// When it is no such array, its elements are not made of words, or the kernel refuses.
    pub(super) fn new(map: &MapData) -> Result<Self> {
        let info = map.info()?;
        let octets = info.value_size() as usize * info.max_entries() as usize;
        ensure!(
            info.value_size() % 8 == 0 && octets > 0,
            "an element of {} octets is not made of words",
            info.value_size()
        );
        // SAFETY: a new mapping, anywhere, of a descriptor that is open.
        let start = unsafe {
            mmap(
                null_mut(),
                octets,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map.fd().as_fd(),
                0,
            )
        }
        .with_context(|| format!("cannot map {octets} octets of a BPF array"))?;
        Ok(Self {
            start: NonNull::new(start.cast()).context("a mapping at address 0")?,
            words: octets / 8,
        })
    }

    /// All words.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is as long as that, aligned to a page, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; nothing borrows from it any more.
        if let Err(error) = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.words * 8) }
        {
            tracing::error!("cannot unmap a BPF array: {error}");
        }
    }
}
