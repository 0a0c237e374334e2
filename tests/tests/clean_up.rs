//! A controller that is told to end takes everything with it.

use std::collections::BTreeSet;

use aya::programs::loaded_programs;
use fmip_tests::{
    Lab,
    controller::{Controller, Controllers},
    handover::Prepared,
    testing::{self, Traces},
    wait::SOON,
    wait_until,
};
use rustix::process::Signal;

fn traces(lab: &Lab) -> [Traces; 3] {
    [&lab.par, &lab.nar, &lab.mn].map(|namespace| Traces::of(namespace).unwrap())
}

fn end_and_check(controllers: Controllers, signal: Signal) {
    for mut controller in [controllers.mn, controllers.nar, controllers.par] {
        let programs = testing::bpf_programs_of(controller.process.id()).unwrap();
        assert!(!programs.is_empty(), "it had loaded nothing");
        controller.process.signal(signal).unwrap();
        let status = controller.process.wait(SOON).unwrap();
        assert!(
            status.success(),
            "{status} after {signal:?}\n{}",
            controller.log()
        );
        assert!(!controller.socket().exists(), "the control socket stays");
        assert_unloaded(&controller, &programs);
    }
}

fn assert_unloaded(controller: &Controller, programs: &BTreeSet<u32>) {
    // The kernel frees a program a moment after its last user is gone.
    wait_until("the programs to be unloaded", SOON, || {
        let loaded: BTreeSet<u32> = loaded_programs()
            .filter_map(Result::ok)
            .map(|program| program.id())
            .collect();
        Ok(programs.is_disjoint(&loaded).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", controller.log()));
}

#[test]
fn ctrl_c_unloads_everything() {
    let Some(_turn) = testing::turn() else { return };
    let settings = testing::settings();
    let lab = Lab::build().unwrap();
    let before = traces(&lab);
    let controllers = Controllers::start(&lab, &settings).unwrap();
    let [par, ..] = traces(&lab);
    assert!(par.links.contains("acc0 with XDP"), "{par:?}");
    assert!(par.links.contains("core0 with XDP"), "{par:?}");
    end_and_check(controllers, Signal::INT);
    assert_eq!(traces(&lab), before);
}

#[test]
fn ended_in_the_middle_of_a_handover_it_takes_that_with_it() {
    let Some(_turn) = testing::turn() else { return };
    let settings = testing::settings().patient();
    let lab = Lab::build().unwrap();
    let before = traces(&lab);
    let controllers = Controllers::start(&lab, &settings).unwrap();
    let streams = testing::a_move(0, 500).start_streams(&lab).unwrap();
    Prepared::start(&controllers)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    assert_eq!(testing::proxies(&lab.nar).unwrap().len(), 1);
    end_and_check(controllers, Signal::TERM);
    assert_eq!(traces(&lab), before);
    // The node never left its link: the traffic goes on.
    streams.wait_for_packets(100, SOON).unwrap();
}
