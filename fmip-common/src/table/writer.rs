//! The table as its one writer sees it: the controller.

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
        (0..PROBES).map(move |step| hash.bucket.wrapping_add(step.wrapping_mul(hash.stride)) & mask)
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
