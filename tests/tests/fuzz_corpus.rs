//! The fuzzers' corpus, replayed: what once was found stays found.

use std::{collections::BTreeSet, fs, panic, path::Path};

use fmip_tests::fuzzing::{TARGETS, Target, seeds::seeds};

const FUZZERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fmip-ctl/fuzz");

/// The inputs of a target that are kept, with their names.
fn corpus(target: Target) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(FUZZERS).join("corpus").join(target.name);
    let entries = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", directory.display()));
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let octets = fs::read(&path).unwrap();
            (path.display().to_string(), octets)
        })
        .collect()
}

/// The names of the inputs that make a target panic.
fn crashing(target: Target, inputs: &[(String, Vec<u8>)]) -> Vec<String> {
    inputs
        .iter()
        .filter(|(_, octets)| panic::catch_unwind(|| (target.run)(octets)).is_err())
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn every_input_of_the_corpus_passes() {
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        let crashing = crashing(target, &corpus);
        assert!(
            crashing.is_empty(),
            "{} of {} inputs crash; to see one by itself: \
             cargo run -p fmip-tests --bin fmip-fuzz -- run {} FILE\n{}",
            crashing.len(),
            corpus.len(),
            target.name,
            crashing.join("\n")
        );
    }
}

#[test]
fn every_input_to_begin_with_passes() {
    for target in TARGETS {
        let seeds = seeds(target.name);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            let passed = panic::catch_unwind(|| (target.run)(seed));
            assert!(passed.is_ok(), "seed {number} of {}", target.name);
        }
    }
}

/// A replay that cannot fail would be worth nothing.
#[test]
fn an_input_that_crashes_is_told_by_name() {
    let target = Target {
        name: "crash",
        run: |octets| assert_ne!(octets, b"bad"),
    };
    let inputs = ["good", "bad"].map(|name| (name.to_owned(), name.into()));
    assert_eq!(crashing(target, &inputs), ["bad"]);
}

/// A fuzzer for each target, a corpus for each target, and nothing else.
#[test]
fn fuzzers_corpora_and_targets_are_the_same() {
    let names = |directory: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(Path::new(FUZZERS).join(directory)).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let targets: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
}
