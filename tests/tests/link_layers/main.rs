//! Every scenario of the link layers, with real processes and live traffic both ways.

mod air;
mod hostile;
mod rfc4260;
mod rfc5270;

use fmip_tests::{controller::find_fmip_ctl, link_layers::Scenario, testing};

/// Plays a scenario, which checks itself the order of its steps and what became of the packets.
fn play(name: &str) {
    let Some(_turn) = testing::shared_turn() else {
        return;
    };
    let fmip_ctl = find_fmip_ctl().unwrap_or_else(|error| panic!("{error}"));
    let scenario = Scenario::named(name).unwrap();
    match scenario.play(fmip_ctl, "fmip_ctl=debug,info") {
        Ok(performance) => println!("{}", performance.ladder),
        Err(error) => panic!("{error:#}"),
    }
}
