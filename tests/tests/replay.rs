//! A handover in the lab, recorded by those who took part, is done again without any of it.

use std::{fs::File, io::BufReader};

use fmip_ctl::record::replay;
use fmip_tests::{
    Lab,
    controller::{Controller, Controllers},
    testing,
    wait::SOON,
};
use rustix::process::Signal;

#[test]
fn what_three_controllers_did_in_a_handover_they_do_again_in_a_file() {
    let Some(_turn) = testing::turn() else { return };
    let mut settings = testing::settings();
    settings.record = true;
    let lab = Lab::build().unwrap();
    let mut controllers = Controllers::start(&lab, &settings).unwrap();
    testing::a_move(50, 200)
        .fast(&lab, &controllers)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    let of = |controller: &mut Controller| {
        controller.process.signal(Signal::TERM).unwrap();
        assert!(controller.process.wait(SOON).unwrap().success());
        let file = File::open(controller.recording()).unwrap();
        let replayed = replay(BufReader::new(file)).unwrap_or_else(|error| panic!("{error}"));
        assert!(replayed.complete, "{replayed:?}");
        replayed
    };
    let (mn, par, nar) = (
        of(&mut controllers.mn),
        of(&mut controllers.par),
        of(&mut controllers.nar),
    );
    // At the least: RtSolPr, FBU and UNA with what they command; PrRtAdv, HI and FBack; HAck.
    assert!(mn.outputs >= 8, "{mn:?}");
    assert!(par.outputs >= 6, "{par:?}");
    assert!(nar.outputs >= 5, "{nar:?}");
}
