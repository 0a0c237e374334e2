//! Every mode of the protocol, with real processes and live traffic both ways.

mod addressing;
mod movement;
mod naack;
mod predictive;
mod reactive;
mod reload;

use fmip_tests::{controller::find_fmip_ctl, scenario::Mode, testing};

/// Plays a mode, which checks itself what the wires showed and what became of the packets.
fn play(name: &str) {
    let Some(_turn) = testing::turn() else {
        return;
    };
    let fmip_ctl = find_fmip_ctl().unwrap_or_else(|error| panic!("{error}"));
    let mode = Mode::named(name).unwrap();
    if let Err(error) = mode.play(fmip_ctl, "fmip_ctl=debug,info") {
        panic!("{error:#}");
    }
}
