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
mod writer {
    extern crate std;
    use std::vec::Vec;

    use core::sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    };

    use super::*;

    /// The table, as its one writer sees it.
    pub struct Writer<W> {
        words: W,
        seed: Seed,
        mask: u32,
        entries: u32,
    }

    /// Where a key stands; of no use once the key is removed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Index {
        bucket: u32,
        place: u32,
    }

    impl Index {
        fn entry(self) -> u32 {
            self.bucket * PLACES + self.place
        }
    }

    /// There is no place for another key.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Full;

    /// Where the table's words are: memory that readers see, too.
    pub trait Words {
        /// The bucket with this number.
        fn bucket(&self, number: u32) -> &AtomicU64;
        /// The entry with this number.
        fn entry(&self, number: u32) -> &[AtomicU64; ENTRY_WORDS];
        /// Its spare.
        fn spare(&self, number: u32) -> &[AtomicU64; ENTRY_WORDS];
    }

    impl<W: Words> Writer<W> {
        /// The writer of a table whose words are all 0 and that has `buckets` buckets.
        ///
        /// # Panics
        /// When `buckets` is not a power of two.
        pub fn new(words: W, seed: Seed, buckets: u32) -> Self {
            assert!(buckets.is_power_of_two(), "{buckets} is no power of two");
            Self {
                words,
                seed,
                mask: buckets - 1,
                entries: 0,
            }
        }

        /// How many keys there are.
        pub fn len(&self) -> u32 {
            self.entries
        }

        /// Whether there is none.
        pub fn is_empty(&self) -> bool {
            self.entries == 0
        }

        /// Where `key` stands, if it has a binding.
        pub fn index_of(&self, key: &Address) -> Option<Index> {
            let hash = hash(self.seed, key);
            for bucket in self.buckets_of(hash) {
                let word = self.words.bucket(bucket).load(Relaxed);
                let mut left = places(word, hash.tag);
                while left != 0 {
                    let place = lowest(left);
                    let index = Index { bucket, place };
                    let entry = self.words.entry(index.entry());
                    if [entry[KEY].load(Relaxed), entry[KEY + 1].load(Relaxed)] == key.0 {
                        return Some(index);
                    }
                    left &= left - 1;
                }
                if passed(word) == 0 {
                    break;
                }
            }
            None
        }

        /// The buckets of a key, in the order in which they are looked through.
        fn buckets_of(&self, hash: Hash) -> impl Iterator<Item = u32> + Clone + use<W> {
            let mask = self.mask;
            (0..PROBES)
                .map(move |step| hash.bucket.wrapping_add(step.wrapping_mul(hash.stride)) & mask)
        }

        /// A place for a new key.
        fn place_for(&self, hash: Hash) -> Option<Index> {
            let free = |bucket| {
                let word = self.words.bucket(bucket).load(Relaxed);
                (0..PLACES).filter(move |place| word >> (8 * place) & 0xff == 0)
            };
            let mut buckets = self.buckets_of(hash);
            let (first, second) = (buckets.next()?, buckets.next()?);
            let (in_first, in_second) = (free(first).count(), free(second).count());
            let begin = match in_first > (PLACES - SHARE) as usize || in_first >= in_second {
                true => 0,
                false => 1,
            };
            self.buckets_of(hash)
                .skip(begin)
                .find_map(|bucket| Some((bucket, free(bucket).next()?)))
                .map(|(bucket, place)| Index { bucket, place })
        }

        /// The binding that stands there.
        pub fn at(&self, index: Index) -> Binding {
            let entry = self.words.entry(index.entry());
            Binding::from_words(core::array::from_fn(|place| {
                entry[COPY + place].load(Relaxed)
            }))
        }

        /// The binding of `key`.
        pub fn get(&self, key: &Address) -> Option<Binding> {
            self.index_of(key).map(|index| self.at(index))
        }

        /// Packets that met the binding there, and their octets.
        pub fn counts(&self, index: Index) -> (u64, u64) {
            let entry = self.words.entry(index.entry());
            let spare = self.words.spare(index.entry());
            let (packets, octets) = counted(entry[COUNTS].load(Relaxed));
            (
                packets + spare[TOTALS].load(Relaxed),
                octets + spare[TOTALS + 1].load(Relaxed),
            )
        }

        /// Binds `key`, anew or otherwise than before: in one instant, as its readers see it.
        ///
        /// # Errors
        /// When there is no place; nothing is changed then.
        pub fn set(&mut self, key: &Address, binding: &Binding) -> Result<Index, Full> {
            if let Some(index) = self.index_of(key) {
                self.publish(index, binding);
                return Ok(index);
            }
            let hash = hash(self.seed, key);
            let index = self.place_for(hash).ok_or(Full)?;
            let entry = self.words.entry(index.entry());
            // A reader that saw this place's former tag must not take what is half written.
            let version = entry[VERSION].load(Relaxed);
            entry[VERSION].store(version | VACANT, Release);
            for (place, word) in key.0.iter().enumerate() {
                entry[KEY + place].store(*word, Release);
            }
            let spare = self.words.spare(index.entry());
            for word in [&entry[COUNTS], &spare[TOTALS], &spare[TOTALS + 1]] {
                word.store(0, Release);
            }
            self.publish(index, binding);
            // From the far end: whoever is led past a bucket finds the key behind it.
            self.change(index.bucket, |word| {
                word | u64::from(hash.tag) << (8 * index.place)
            });
            let before: Vec<u32> = self
                .buckets_of(hash)
                .take_while(|bucket| *bucket != index.bucket)
                .collect();
            for bucket in before.into_iter().rev() {
                self.change(bucket, |word| match passed(word) {
                    // That many stay that many: it can no longer be known when the last is gone.
                    u8::MAX => word,
                    _ => word + (1 << 56),
                });
            }
            self.entries += 1;
            Ok(index)
        }

        /// Removes what is bound for `key`; whether there was anything.
        pub fn remove(&mut self, key: &Address) -> bool {
            let Some(index) = self.index_of(key) else {
                return false;
            };
            self.change(index.bucket, |word| word & !(0xff << (8 * index.place)));
            let entry = self.words.entry(index.entry());
            let version = entry[VERSION].load(Relaxed);
            entry[VERSION].store(version | VACANT, Release);
            let hash = hash(self.seed, key);
            for bucket in self
                .buckets_of(hash)
                .take_while(|bucket| *bucket != index.bucket)
            {
                self.change(bucket, |word| match passed(word) {
                    u8::MAX => word,
                    _ => word - (1 << 56),
                });
            }
            self.entries -= 1;
            true
        }

        /// Puts a binding in force that stands at `index`.
        fn publish(&self, index: Index, binding: &Binding) {
            let entry = self.words.entry(index.entry());
            let spare = self.words.spare(index.entry());
            let write = |copy: &[AtomicU64; ENTRY_WORDS]| {
                for (place, word) in binding.words().iter().enumerate() {
                    copy[COPY + place].store(*word, Release);
                }
            };
            let before = entry[VERSION].load(Relaxed);
            let mut version = before & !VACANT;
            if before & VACANT == 0 && version & 1 == 1 {
                write(spare);
                version = version.wrapping_add(1) & !VACANT;
                entry[VERSION].store(version, Release);
            }
            // Nobody reads the entry's own copy now: it is vacant, or the spare one is in force.
            write(entry);
            version = (version.wrapping_add(1) | 1) & !VACANT;
            entry[VERSION].store(version, Release);
        }

        fn change(&self, bucket: u32, change: impl Fn(u64) -> u64) {
            let bucket = self.words.bucket(bucket);
            bucket.store(change(bucket.load(Acquire)), Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, SeqCst},
        fence,
    };
    use std::{cell::Cell, collections::HashMap};

    use super::*;

    const SEED: Seed = Seed([0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321]);

    struct Memory {
        seed: Seed,
        buckets: Vec<AtomicU64>,
        entries: Vec<[AtomicU64; ENTRY_WORDS]>,
        spares: Vec<[AtomicU64; ENTRY_WORDS]>,
    }

    impl Memory {
        fn new(buckets: u32) -> Self {
            let zeroed = |_| core::array::from_fn(|_| AtomicU64::new(0));
            Self {
                seed: SEED,
                buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
                entries: (0..buckets * PLACES).map(zeroed).collect(),
                spares: (0..buckets * PLACES).map(zeroed).collect(),
            }
        }
    }

    impl writer::Words for &Memory {
        fn bucket(&self, number: u32) -> &AtomicU64 {
            &self.buckets[number as usize]
        }
        fn entry(&self, number: u32) -> &[AtomicU64; ENTRY_WORDS] {
            &self.entries[number as usize]
        }
        fn spare(&self, number: u32) -> &[AtomicU64; ENTRY_WORDS] {
            &self.spares[number as usize]
        }
    }

    impl<'a> Table for &'a Memory {
        type Entry = &'a [AtomicU64; ENTRY_WORDS];
        fn shape(&self) -> (Seed, u32) {
            (self.seed, self.buckets.len() as u32 - 1)
        }
        fn bucket(&self, number: u32) -> u64 {
            self.buckets[number as usize].load(Acquire)
        }
        fn entry(&self, number: u32) -> Self::Entry {
            &self.entries[number as usize]
        }
        fn spare(&self, number: u32) -> Self::Entry {
            &self.spares[number as usize]
        }
        fn exists(_: Self::Entry) -> bool {
            true
        }
        fn word(entry: Self::Entry, word: usize) -> u64 {
            entry[word].load(Acquire)
        }
        fn fence() {
            fence(SeqCst);
        }
    }

    fn key(number: u64) -> Address {
        Address([0xb80d_0120, number.to_be()])
    }

    /// A binding all of whose words say the same.
    fn binding(number: u64) -> Binding {
        Binding::from_words([number; BINDING_WORDS])
    }

    fn found(memory: &Memory, number: u64) -> Option<Binding> {
        let mut found = Found {
            entry: &memory.entries[0],
            number: 0,
            binding: Binding::default(),
        };
        find(&memory, &key(number), &mut found).then_some(found.binding)
    }

    #[test]
    fn counters_tell_packets_from_octets_and_when_they_fill() {
        let mut counts = 0;
        for _ in 0..1000 {
            counts += one_packet(1500);
        }
        assert_eq!(counted(counts), (1000, 1_500_000));
        assert!(!is_filling(counts));
        assert!(is_filling(one_packet(0) << 27));
        assert!(is_filling(1 << 35));
        assert!(!is_filling((1 << 35) - 1));
    }

    #[test]
    fn every_place_is_found_by_its_tag_and_no_other_below_it() {
        for place in 0..PLACES {
            for tag in [1_u8, 0x7f, 0x80, 0xff] {
                let bucket = u64::from(tag) << (8 * place);
                assert_eq!(lowest(places(bucket, tag)), place);
                assert_eq!(places(bucket, tag ^ 0x10) & (0x80 << (8 * place)), 0);
            }
        }
        // The number of keys that went past is no tag.
        assert_eq!(places(0x05 << 56, 5), 0);
    }

    /// What a map of the standard library says is what the table says, while keys come and go in a
    /// table that is nearly too small.
    #[test]
    fn the_table_says_what_a_map_says() {
        const BUCKETS: u32 = 16;
        const KEYS: u64 = 90;
        let memory = Memory::new(BUCKETS);
        let mut writer = Writer::new(&memory, SEED, BUCKETS);
        let mut model = HashMap::new();
        let mut random = 88_172_645_463_325_252_u64;
        let mut refused = 0;
        for step in 1..200_000_u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let number = random % KEYS;
            if random >> 32 & 1 == 0 {
                assert_eq!(writer.remove(&key(number)), model.remove(&number).is_some());
            } else {
                match writer.set(&key(number), &binding(step)) {
                    Ok(index) => {
                        assert_eq!(writer.at(index), binding(step));
                        model.insert(number, step);
                    }
                    Err(Full) => {
                        assert!(!model.contains_key(&number), "a change needs no place");
                        refused += 1;
                    }
                }
            }
            assert_eq!(writer.len() as usize, model.len());
            for number in 0..KEYS {
                let expected = model.get(&number).map(|&step| binding(step));
                assert_eq!(found(&memory, number), expected, "step {step}");
                if step % 64 != 0 {
                    break;
                }
            }
        }
        for number in 0..KEYS {
            writer.remove(&key(number));
        }
        assert!(memory.buckets.iter().all(|bucket| bucket.load(SeqCst) == 0));
        assert!(refused < 1000, "{refused} times no place was found");
    }

    #[test]
    fn a_full_table_says_so_and_stays_as_it_was() {
        let memory = Memory::new(8);
        let mut writer = Writer::new(&memory, SEED, 8);
        let mut bound = Vec::new();
        let mut number = 0;
        while bound.len() < 40 {
            if writer.set(&key(number), &binding(number)).is_ok() {
                bound.push(number);
            }
            number += 1;
        }
        let refused =
            (number..).find(|&number| writer.set(&key(number), &binding(number)).is_err());
        let refused = refused.expect("a table is full one day");
        bound.extend(number..refused);
        assert!(
            bound
                .iter()
                .all(|&number| found(&memory, number) == Some(binding(number)))
        );
        assert_eq!(found(&memory, refused), None);
    }

    /// As many bindings as the table is made for find a place, whatever the seed.
    #[test]
    fn the_table_holds_what_it_is_made_for() {
        // As full as it gets: a power of two.
        const BINDINGS: u32 = 1 << 18;
        for seed in 1..4 {
            let buckets = buckets_for(BINDINGS);
            let memory = Memory::new(buckets);
            let mut writer = Writer::new(&memory, Seed([seed, !seed]), buckets);
            for number in 0..u64::from(BINDINGS) {
                writer.set(&key(number), &binding(number)).expect("a place");
            }
        }
    }

    /// A table whose reader counts the entries that it looks at.
    #[derive(Clone, Copy)]
    struct Watched<'a>(&'a Memory, &'a Cell<u32>);

    impl<'a> Table for Watched<'a> {
        type Entry = &'a [AtomicU64; ENTRY_WORDS];
        fn shape(&self) -> (Seed, u32) {
            Table::shape(&self.0)
        }
        fn bucket(&self, number: u32) -> u64 {
            Table::bucket(&self.0, number)
        }
        fn entry(&self, number: u32) -> Self::Entry {
            self.1.set(self.1.get() + 1);
            Table::entry(&self.0, number)
        }
        fn spare(&self, number: u32) -> Self::Entry {
            Table::spare(&self.0, number)
        }
        fn exists(entry: Self::Entry) -> bool {
            <&Memory>::exists(entry)
        }
        fn word(entry: Self::Entry, word: usize) -> u64 {
            <&Memory>::word(entry, word)
        }
        fn fence() {
            <&Memory>::fence();
        }
    }

    /// Addresses are not random: they are given out one after the other, in one prefix or each in its own, or
    /// made of link-layer addresses. In a full table each is found at the first entry that is looked at, but for
    /// some in a hundred, and for one that is not bound hardly any is looked at.
    #[test]
    fn addresses_of_any_pattern_have_tags_that_tell_them_apart() {
        const BINDINGS: u32 = 1 << 16;
        let of = |prefix: u64, host: u64| {
            Address([(0x2001_0db8_0000_0000 | prefix).to_be(), host.to_be()])
        };
        let patterns: [(&str, &dyn Fn(u64) -> Address); 6] = [
            ("one after the other", &|number| of(0x100, number)),
            ("a prefix for each", &|number| of(number, 1)),
            ("a prefix for some", &|number| {
                of(number >> 8, number & 0xff)
            }),
            ("from the highest octet on", &|number| of(1, number << 40)),
            ("of link-layer addresses", &|number| {
                of(
                    1,
                    0x0200_5eff_fe00_0000 | number & 0xff_ffff | number >> 24 << 40,
                )
            }),
            ("at random", &|number| {
                let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                of(1, mixed ^ mixed.rotate_left(27))
            }),
        ];
        for seed in [Seed([1, !1]), Seed([0, 0]), SEED] {
            for (name, pattern) in patterns {
                let buckets = buckets_for(BINDINGS);
                let memory = Memory {
                    seed,
                    ..Memory::new(buckets)
                };
                let mut writer = Writer::new(&memory, seed, buckets);
                for number in 0..BINDINGS.into() {
                    let bound = writer.set(&pattern(number), &binding(number));
                    bound.unwrap_or_else(|_| panic!("{name}, {seed:?}: {number} has no place"));
                }
                let looks = Cell::new(0);
                let mut found = Found {
                    entry: &memory.entries[0],
                    number: 0,
                    binding: Binding::default(),
                };
                let mut look = |number| {
                    find(&Watched(&memory, &looks), &pattern(number), &mut found)
                        .then_some(found.binding)
                };
                for number in 0..BINDINGS.into() {
                    let binding = Some(binding(number));
                    assert_eq!(look(number), binding, "{name}, {seed:?}: {number}");
                }
                let hits = looks.replace(0);
                for number in BINDINGS.into()..u64::from(2 * BINDINGS) {
                    assert_eq!(look(number), None);
                }
                let of_bindings = |looks: u32| f64::from(looks) / f64::from(BINDINGS);
                let (hits, misses) = (of_bindings(hits), of_bindings(looks.get()));
                assert!(
                    hits < 1.05 && misses < 0.05,
                    "{name}, {seed:?}: {hits} looks at a key, {misses} at none"
                );
            }
        }
    }

    /// A reader beside the writer, on another processor: it never sees half a binding, another key's, an
    /// older one than it saw before, or none where there always is one.
    #[test]
    fn a_reader_sees_whole_bindings_and_never_an_older_one() {
        const ROUNDS: u64 = 300_000;
        // All keys in few buckets, and one that comes and goes between them.
        let memory = &Memory::new(8);
        let mut writer = Writer::new(memory, SEED, 8);
        for number in 0..20 {
            writer.set(&key(number), &binding(number)).expect("a place");
        }
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = [0; 20];
                while last[0] < ROUNDS * 20 {
                    for (number, last) in (0..).zip(&mut last) {
                        let binding = found(memory, number).expect("always bound");
                        let words = binding.words();
                        assert!(words.iter().all(|word| *word == words[0]), "{words:?}");
                        assert_eq!(words[0] % 20, number, "another key's");
                        assert!(words[0] >= *last, "an older one");
                        *last = words[0];
                    }
                    if let Some(guest) = found(memory, 100) {
                        assert_eq!(guest.words(), [guest.remote.0[0]; BINDING_WORDS]);
                        assert_eq!(guest.remote.0[0] % 1000, 100);
                    }
                    if let Some(guest) = found(memory, 200) {
                        assert_eq!(guest.words(), [guest.remote.0[0]; BINDING_WORDS]);
                        assert_eq!(guest.remote.0[0] % 1000, 200);
                    }
                }
            });
            let mut round = 0;
            while !reader.is_finished() {
                round += 1;
                // The two guests share a place by turns.
                let guest = if round % 2 == 0 { 100 } else { 200 };
                writer
                    .set(&key(guest), &binding(round * 1000 + guest))
                    .expect("a place");
                for number in 0..20 {
                    writer
                        .set(&key(number), &binding(round * 20 + number))
                        .expect("a place");
                    // Few changes fall into one reading of a router's.
                    core::hint::spin_loop();
                }
                writer.remove(&key(guest));
            }
            reader.join().expect("no panic");
        });
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding, every bit pattern valid.
    unsafe impl aya::Pod for super::Seed {}
}
