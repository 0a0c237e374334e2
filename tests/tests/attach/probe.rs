//! What a frame that is redirected out of an interface meets.

use fmip_ctl::{
    io::{load::DRAIN, probe::Answer},
    wire::MacAddr,
};

use rustix::io::Errno;

use crate::setup::Setup;

/// What the probe says of `core0`.
fn probed(setup: &Setup) -> Answer {
    let device = setup.device("core0");
    let address: MacAddr = device.link_address.unwrap();
    let mut programs = setup.load();
    setup
        .here
        .run(|| programs.probe(device.index, address))
        .unwrap()
}

/// Whether a veth takes no frames as its other end is: the kernel knows that from the device's features
/// since Linux 6.3, and hears it from the driver before.
fn is_not_ready(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::NotAsked(Errno::OPNOTSUPP) | Answer::Refused(Errno::NXIO)
    )
}

#[test]
fn a_veth_takes_frames_as_long_as_its_other_end_does() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    let answer = probed(&setup);
    assert!(is_not_ready(&answer), "{answer:?}");

    setup.there.prepare_for_xdp("far0").unwrap();
    for _ in 0..3 {
        assert_eq!(probed(&setup), Answer::Taken);
    }

    setup.there.ip("link set far0 down").unwrap();
    let answer = probed(&setup);
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");

    setup.there.ip("link set far0 up").unwrap();
    assert_eq!(probed(&setup), Answer::Taken);
    setup.here.ip("link set core0 down").unwrap();
    assert_eq!(probed(&setup), Answer::NotAsked(Errno::NETDOWN));
}

#[test]
fn a_program_at_the_other_end_is_as_good_as_gro() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    let mut far = setup.load();
    (setup.there).run(|| far.attach_xdp(DRAIN, "far0")).unwrap();
    assert_eq!(probed(&setup), Answer::Taken);
    drop(far);
    let answer = probed(&setup);
    assert!(is_not_ready(&answer), "{answer:?}");
}

#[test]
fn a_driver_without_xdp_is_not_asked() {
    let Some(setup) = Setup::new() else { return };
    setup.here.ip("link add core0 type bridge").unwrap();
    setup.here.ip("link set core0 up").unwrap();
    assert_eq!(probed(&setup), Answer::NotAsked(Errno::OPNOTSUPP));
}
