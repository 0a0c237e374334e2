//! Random journeys in a simulated network: whatever happens, the rules hold.

use fmip_tests::simulation::{World, explore, replay_command};

const JOURNEYS: u64 = 10_000;
/// More would be more of the same.
const FAILURES: usize = 5;

// Rows: FBU-13, FBU-14, FBU-15, FBU-16, FBA-11, TUN-06, BUF-06, MOV-06, SEC-06
#[test]
fn ten_thousand_journeys_break_no_rule() {
    // Another part of the worlds can be asked for: FMIP_JOURNEYS_FROM=1000000.
    let from = match std::env::var("FMIP_JOURNEYS_FROM") {
        Ok(from) => from.parse().expect("FMIP_JOURNEYS_FROM is a number"),
        Err(_) => 0,
    };
    let found = explore(from, JOURNEYS, FAILURES);
    let faults: Vec<String> = found
        .violations
        .iter()
        .map(|violation| {
            let replay = replay_command(violation.seed);
            format!("{violation}\n  replay: {replay}")
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let summary = found.summary;
    println!("{} worlds: {summary:?}", found.worlds);
    assert!(summary.journeys >= JOURNEYS);
    // The worlds are what they should be: all that can happen did.
    assert!(
        summary.fast > 0 && summary.fallen_back > 0 && summary.lost > 0,
        "{summary:?}"
    );
    let ends = summary.ends;
    assert!(
        ends.released > 0 && ends.handed_on > 0 && ends.expired > 0,
        "{ends:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..50 {
        let trace = || {
            let mut world = World::new(seed, true);
            // Whether something was wrong in it is the other test's question.
            let _ = world.run();
            world.trace().to_vec()
        };
        let first = trace();
        assert!(first.len() > 10, "seed {seed}: next to nothing happened");
        let again = trace();
        let differing = first.iter().zip(&again).find(|(one, other)| one != other);
        assert_eq!(differing, None, "seed {seed}");
        assert_eq!(first.len(), again.len(), "seed {seed}");
    }
}
