//! Every program, one packet at a time: packet in; packet, verdict and counter out (BPF_PROG_RUN).

mod bench;
mod copy;
mod corpus;
mod crowd;
mod departed;
mod differential;
mod disguise;
mod drain;
mod drain_thread;
mod events;
mod flood;
mod hold;
mod host;
mod judge;
mod malformed;
mod memory;
mod mobile;
mod nested;
mod packets;
mod pass;
mod rebinding;
mod receiver;
mod reverse;
mod ring;
mod router_out;
mod scale;
mod show;
mod signalling;
mod straggler;
mod switches;
mod too_big;
mod tunnel;
mod vlan;
mod ways;

/// Where random numbers begin: `FMIP_SEED`, or one that changes. Printed past the harness, so that what
/// failed can be run again.
fn seed(what: &str) -> u64 {
    use std::io::Write as _;
    let seed = match std::env::var("FMIP_SEED") {
        Ok(text) => text.parse().expect("FMIP_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    let _ = writeln!(std::io::stderr(), "{what}: FMIP_SEED={seed}");
    seed
}
