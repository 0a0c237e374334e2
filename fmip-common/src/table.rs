//! The table of bindings: its layout, how it is read and how it is written, the same code in the
//! kernel and in the tests on the host.
//!
//! A router meets a binding in one packet of thousands, or in every one; and there may be a million
//! of them. What costs then is not the arithmetic but the cache lines that must come from memory, so
//! the table is made of as few as can be:
//!
//! * a *bucket* is one word: seven tags (an octet of the hash; 0: nobody) and the number of keys that
//!   found no place here and went on to their next bucket. A packet that meets no binding reads this
//!   word and, but for one in some seventy, no other;
//! * an *entry* is one cache line: its key, its counters and its binding. Beside it, in an array of its own
//!   and all but never read, it has a *spare* one.
//!
//! All are arrays that the controller maps into its own memory. It is the only writer, and makes
//! no system call; the programs read without a lock, however many they are. That holds because
//! each entry has two copies of its binding and a version whose lowest bit says which is in force:
//! a change is written to the spare copy, and is in force with the one store of the version; then it
//! is written to the entry's own, which is in force from then on. A reader that finds the version
//! changed under it reads again. The writer may be interrupted
//! anywhere, for ever, and no packet waits for it. (A sequence lock was rejected: while its writer is
//! not scheduled nobody can read, and a held packet would be let go. So was the kernel's hash
//! table: it gives the memory of a replaced element to another key at once, which a reader finds
//! out only by a second lookup, and takes three to four cache lines.)
//!
//! Loads are not reordered by x86-64, stores neither. On other machines [`Table::fence`] keeps them
//! in order.

use crate::binding::{Address, BINDING_WORDS, Binding};

/// Places in one bucket.
pub const PLACES: u32 = 7;
/// Buckets that a key may stand in. It stands in the first of them, or, where that has its share already, in
/// the one of the first two that has fewer keys; so hardly a bucket is ever full, and the others are for
/// that.
pub const PROBES: u32 = 4;
/// Keys that make a bucket's share, as [`buckets_for`] has it.
const SHARE: u32 = 4;
/// Steps of a search at most: a step to another bucket, to an entry with the tag that is looked for, or to
/// the same one again when it was changed just now. One is the rule, a tag in 255 is another key's: five such
/// before the right one are never met.
///
/// One loop for all of them: of loops inside each other the kernel's verifier walks through every
/// combination.
const STEPS: u32 = 8;

/// Words of an entry, and of its spare.
pub const ENTRY_WORDS: usize = 8;
const KEY: usize = 0;
const VERSION: usize = 2;
/// Where the binding stands: in the entry if the version is odd, in the spare if it is even.
const COPY: usize = 3;
/// Packets that met the binding in the upper 28 bits, and their octets in the lower 36: one word, and one
/// atomic step of the program that counts. Before either is full, the program moves it to [`TOTALS`].
pub const COUNTS: usize = 7;
/// In the spare: packets, and then octets, that were counted before.
pub const TOTALS: usize = 0;
const _: () = assert!(COPY + BINDING_WORDS <= COUNTS && COUNTS < ENTRY_WORDS && TOTALS + 2 <= COPY);

const OCTET_BITS: u32 = 36;

/// One packet of so many octets, as [`COUNTS`] has it.
#[inline(always)]
pub const fn one_packet(octets: u64) -> u64 {
    1 << OCTET_BITS | octets
}

/// The packets and octets in a word of [`COUNTS`].
#[inline(always)]
pub const fn counted(counts: u64) -> (u64, u64) {
    (counts >> OCTET_BITS, counts & ((1 << OCTET_BITS) - 1))
}

/// Whether a word of [`COUNTS`] must be moved: one of its halves is half full.
#[inline(always)]
pub const fn is_filling(counts: u64) -> bool {
    counts & (1 << 63 | 1 << (OCTET_BITS - 1)) != 0
}

/// Set in a version while the entry is nobody's: its key is being written.
const VACANT: u64 = 1 << 63;

/// One entry.
pub type Entry = [u64; ENTRY_WORDS];

/// What the hash depends on: chosen at random at every start, or whoever can choose an address could
/// choose many of one bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub [u64; 2]);

/// How many buckets a table for `bindings` bindings has: a power of two, with four keys or fewer
/// for the seven places of a bucket.
pub const fn buckets_for(bindings: u32) -> u32 {
    let buckets = bindings.div_ceil(SHARE);
    if buckets < 8 {
        8
    } else {
        buckets.next_power_of_two()
    }
}

/// A key's buckets, before they are cut to their number, and its tag.
#[derive(Clone, Copy)]
struct Hash {
    bucket: u32,
    /// From each bucket to the next; odd, so that they differ.
    stride: u32,
    tag: u8,
}

#[inline(always)]
fn hash(seed: Seed, key: &Address) -> Hash {
    // The two halves at the same time, and then together: what the upper bits are made of is all of the key.
    // What varies in an address are its last octets, which a little-endian machine has at the top, and a
    // multiplication carries nothing down: so they are folded down first.
    let [a, b] = key.0;
    let (a, b) = (a ^ seed.0[0], b ^ seed.0[1]);
    let first = (a ^ (a >> 32)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let second = (b ^ (b >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let both = (first ^ (first >> 32)).wrapping_add(second ^ (second >> 31));
    let all = both.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let all = all ^ (all >> 32);
    // Of bits that say nothing of the bucket, or all keys of a bucket would have one tag.
    let tag = (all >> 56) as u8;
    Hash {
        bucket: (all >> 32) as u32,
        stride: (all >> 8) as u32 | 1,
        tag: if tag == 0 { 1 } else { tag },
    }
}

/// The places of a bucket whose tag is this one, as the highest bits of their octets; one above such
/// a place may be among them by mistake.
#[inline(always)]
const fn places(bucket: u64, tag: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // What is no tag is made different from every tag.
    let differences = (bucket ^ (ONES * tag as u64)) | 0xff << 56;
    differences.wrapping_sub(ONES) & !differences & (ONES << 7)
}

/// The lowest of such places, by its number.
#[inline(always)]
const fn lowest(places: u64) -> u32 {
    // One bit is left, at the foot of its octet. The multiplication moves the octet of the factor
    // to the top that is as far from there; BPF cannot count zeros.
    let bit = (places & places.wrapping_neg()) >> 7;
    (bit.wrapping_mul(0x0001_0203_0405_0607) >> 56) as u32
}

/// Keys that went past this bucket.
#[inline(always)]
const fn passed(bucket: u64) -> u8 {
    (bucket >> 56) as u8
}

/// A table, as a reader sees it: BPF maps, or memory that is shared with other threads.
pub trait Table {
    /// An entry: a pointer in the kernel, a reference elsewhere.
    type Entry: Copy;
    /// The seed and the number of buckets less 1.
    fn shape(&self) -> (Seed, u32);
    /// The bucket with this number; 0 if there is none.
    fn bucket(&self, number: u32) -> u64;
    /// The entry with this number.
    fn entry(&self, number: u32) -> Self::Entry;
    /// Its spare.
    fn spare(&self, number: u32) -> Self::Entry;
    /// Whether there was an entry, or a spare, with its number.
    fn exists(entry: Self::Entry) -> bool;
    /// A word of an entry.
    fn word(entry: Self::Entry, word: usize) -> u64;
    /// What was read before is read before what is read behind it.
    fn fence();
}

/// What [`find`] found.
#[derive(Clone, Copy)]
pub struct Found<E> {
    /// The entry that the binding stands in.
    pub entry: E,
    /// Its number.
    pub number: u32,
    /// The binding.
    pub binding: Binding,
}

/// Finds the binding of an address, and the entry that it stands in; `false` if there is none.
///
/// The result is written to where the caller says, and stays as it was if there is none: of an option that is
/// empty the compiler carries on what is in none of its fields, and the kernel's verifier refuses that. There
/// are none in here for the same reason.
#[inline(always)]
#[must_use]
pub fn find<T: Table>(table: &T, key: &Address, found: &mut Found<T::Entry>) -> bool {
    let (seed, mask) = table.shape();
    let hash = hash(seed, key);
    let mut number = hash.bucket & mask;
    let mut bucket = table.bucket(number);
    let mut left = places(bucket, hash.tag);
    for _ in 0..STEPS {
        if left == 0 {
            if passed(bucket) == 0 {
                return false;
            }
            number = number.wrapping_add(hash.stride) & mask;
            bucket = table.bucket(number);
            left = places(bucket, hash.tag);
            continue;
        }
        let index = number * PLACES + lowest(left);
        let entry = table.entry(index);
        if !T::exists(entry) {
            return false;
        }
        let version = T::word(entry, VERSION);
        T::fence();
        if [T::word(entry, KEY), T::word(entry, KEY + 1)] != key.0 {
            // Another key, or this one is just about to be written: it is in force when its tag is.
            left &= left - 1;
            continue;
        }
        let copy = match version & 1 {
            0 => table.spare(index),
            _ => entry,
        };
        if !T::exists(copy) {
            return false;
        }
        let words = [
            T::word(copy, COPY),
            T::word(copy, COPY + 1),
            T::word(copy, COPY + 2),
            T::word(copy, COPY + 3),
        ];
        T::fence();
        // Else it was changed while it was read.
        if T::word(entry, VERSION) == version {
            if version & VACANT != 0 {
                return false;
            }
            found.entry = entry;
            found.number = index;
            found.binding = Binding::from_words(words);
            return true;
        }
    }
    false
}

const _: () = assert!(BINDING_WORDS == 4);

#[cfg(any(test, feature = "user"))]
pub use writer::{Full, Index, Words, Writer};

#[cfg(any(test, feature = "user"))]
mod writer;

#[cfg(test)]
mod tests;

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding, every bit pattern valid.
    unsafe impl aya::Pod for super::Seed {}
}
