//! The table against a map of the standard library, and read while it is written.

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
    let refused = (number..).find(|&number| writer.set(&key(number), &binding(number)).is_err());
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
    let of =
        |prefix: u64, host: u64| Address([(0x2001_0db8_0000_0000 | prefix).to_be(), host.to_be()]);
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
