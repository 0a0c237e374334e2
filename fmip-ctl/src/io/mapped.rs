//! BPF arrays mapped into the controller's memory: read and written without a system call.
//!
//! SAFETY of this module: the mapping is as long as the array and lives as long as the value; elements are
//! read and written word by word, each word atomically, since programs write them at the same time.

use std::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, Pod,
    maps::{Map, MapData},
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// An array of `T`, which consists of whole words.
pub struct MappedArray<T> {
    words: NonNull<AtomicU64>,
    octets: usize,
    length: u32,
    of: PhantomData<T>,
}

// SAFETY: the memory is shared with programs on every processor anyway.
unsafe impl<T: Send> Send for MappedArray<T> {}
// SAFETY: as above; all access is atomic, word by word.
unsafe impl<T: Sync> Sync for MappedArray<T> {}

/// Octets of a word.
const WORD: usize = size_of::<AtomicU64>();

impl<T: Pod> MappedArray<T> {
    /// Maps the array of this name, which stays in the object.
    ///
    /// # Errors
    /// When there is none, or it is not an array of `T` that can be mapped.
    pub fn new(ebpf: &Ebpf, name: &str) -> Result<Self> {
        let map = ebpf
            .map(name)
            .with_context(|| format!("the BPF object has no map {name}"))?;
        let Map::Array(data) = map else {
            anyhow::bail!("the map {name} of the BPF object is not an array");
        };
        Self::of(data).with_context(|| format!("cannot map the array {name}"))
    }

    fn of(data: &MapData) -> Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(WORD) && align_of::<T>() <= WORD) };
        let info = data.info()?;
        ensure!(
            info.value_size() as usize == size_of::<T>(),
            "its elements have {} octets, not {}",
            info.value_size(),
            size_of::<T>()
        );
        let length = info.max_entries();
        let octets = length as usize * size_of::<T>();
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let address = unsafe {
            mmap(
                null_mut(),
                octets,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                data.fd(),
                0,
            )
        }?;
        Ok(Self {
            words: NonNull::new(address.cast()).context("it was mapped at address 0")?,
            octets,
            length,
            of: PhantomData,
        })
    }

    /// How many elements there are.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// An element, if there is one with this index. Its words are read one after another.
    pub fn get(&self, index: u32) -> Option<T> {
        let mut element = MaybeUninit::<T>::uninit();
        let to = element.as_mut_ptr().cast::<u64>();
        for (place, word) in self.element(index)?.iter().enumerate() {
            // SAFETY: an element has as many words.
            unsafe { to.add(place).write(word.load(Ordering::Acquire)) };
        }
        // SAFETY: all of it is written, and every bit pattern is a `T`.
        Some(unsafe { element.assume_init() })
    }

    /// Writes an element, word by word.
    ///
    /// # Errors
    /// When there is none with this index.
    pub fn set(&self, index: u32, element: &T) -> Result<()> {
        let words = self
            .element(index)
            .with_context(|| format!("there is no element {index} of {}", self.length))?;
        let from = (&raw const *element).cast::<u64>();
        for (place, word) in words.iter().enumerate() {
            // SAFETY: an element has as many words, and is aligned like one or can be read unaligned.
            word.store(
                unsafe { from.add(place).read_unaligned() },
                Ordering::Release,
            );
        }
        Ok(())
    }

    /// The words of an element, if there is one with this index.
    pub(super) fn element(&self, index: u32) -> Option<&[AtomicU64]> {
        const { assert!(size_of::<T>() > 0) };
        let words = size_of::<T>() / WORD;
        if index >= self.length {
            return None;
        }
        // SAFETY: within the mapping, which is page-aligned.
        Some(unsafe {
            std::slice::from_raw_parts(self.words.as_ptr().add(index as usize * words), words)
        })
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody borrows any more.
        if let Err(error) = unsafe { munmap(self.words.as_ptr().cast(), self.octets) } {
            tracing::debug!("cannot unmap a BPF array: {error}");
        }
    }
}
