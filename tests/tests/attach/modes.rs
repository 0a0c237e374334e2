//! Which way the programs are attached to what kind of interface, and what is said where they are not.

use aya::programs::TcAttachType::{Egress, Ingress};
use fmip_ctl::{
    config::{Attach, Side},
    io::{
        attach::Mode,
        load::{DRAIN, MOBILE_IN, MOBILE_OUT, Programs, ROUTER_IN},
    },
};

use fmip_tests::wait::{SOON, wait_until};

use crate::setup::Setup;

#[test]
fn a_driver_that_can_do_all_gets_the_program_natively() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    setup.there.prepare_for_xdp("far0").unwrap();
    for wanted in [Attach::Auto, Attach::Native] {
        let mut programs = setup.load();
        let mode = setup.attach(&mut programs, "core0", wanted).unwrap();
        assert_eq!(mode, Mode::Native);
        assert_eq!(
            setup.xdp("core0"),
            Some(("native", "fmip_router".to_owned()))
        );
        assert!(setup.tc("core0", Ingress).is_empty());
        assert!(setup.tc("core0", Egress).is_empty());
        setup.end(programs);
        assert_eq!(setup.xdp("core0"), None);
    }
}

#[test]
fn an_access_interface_has_the_program_for_what_goes_out_in_every_mode() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("acc0", "far0");
    setup.there.prepare_for_xdp("far0").unwrap();
    let device = setup.device("acc0");
    for (wanted, expected) in [
        (Attach::Native, Mode::Native),
        (Attach::Tc, Mode::Tc),
        (Attach::Generic, Mode::Generic),
    ] {
        let mut programs = setup.load();
        let mode = (setup.here)
            .run(|| programs.attach_router(&device, wanted, Side::Access))
            .unwrap();
        assert_eq!(mode, expected);
        assert_eq!(setup.tc("acc0", Egress), ["fmip_router_out"]);
        setup.end(programs);
        assert!(setup.tc("acc0", Egress).is_empty());
    }
}

#[test]
fn a_veth_whose_other_end_drops_what_is_redirected_is_taken_by_tc() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    let mut programs = setup.load();
    let mode = setup.attach(&mut programs, "core0", Attach::Auto).unwrap();
    assert_eq!(mode, Mode::Tc);
    assert_eq!(setup.xdp("core0"), None);
    assert_eq!(setup.tc("core0", Ingress), ["fmip_router_in"]);
    setup.end(programs);
    assert!(setup.tc("core0", Ingress).is_empty());

    // Since Linux 6.3 the kernel says so itself; before, the driver does when it is tried.
    let error = setup.refusal("core0", Attach::Native);
    assert_eq!(
        error.replacen(" (No such device or address (os error 6))", "", 1),
        "cannot attach to core0 natively: core0 takes no redirected frames: its other end has \
         neither an XDP program nor GRO (`ethtool -K PEER gro on` there)"
    );
    assert_eq!(setup.xdp("core0"), None);
}

#[test]
fn generic_xdp_is_taken_where_it_is_named_and_nowhere_else() {
    let Some(setup) = Setup::new() else { return };
    setup.here.ip("link add core0 type ifb").unwrap();
    setup.here.ip("link set core0 up").unwrap();
    let mut programs = setup.load();
    let mode = setup.attach(&mut programs, "core0", Attach::Generic);
    assert_eq!(mode.unwrap(), Mode::Generic);
    assert_eq!(
        setup.xdp("core0"),
        Some(("generic", "fmip_router".to_owned()))
    );
    setup.end(programs);
    let mut programs = setup.load();
    let mode = setup.attach(&mut programs, "core0", Attach::Auto).unwrap();
    assert_eq!(mode, Mode::Tc);
    assert_eq!(setup.xdp("core0"), None);
}

#[test]
fn what_runs_no_xdp_is_taken_by_tc_and_named() {
    let Some(setup) = Setup::new() else { return };
    setup
        .here
        .ip_batch(
            "link add bridge0 type bridge\nlink set bridge0 up\n\
             link add ifb0 type ifb\nlink set ifb0 up\n\
             link add macvlan0 link bridge0 type macvlan\nlink set macvlan0 up\n",
        )
        .unwrap();
    for (name, kind) in [
        ("bridge0", "a bridge"),
        ("ifb0", "a device of the kind ifb"),
        ("macvlan0", "a device of the kind macvlan"),
    ] {
        let mut programs = setup.load();
        let mode = setup.attach(&mut programs, name, Attach::Auto).unwrap();
        assert_eq!(mode, Mode::Tc, "{name}");
        assert_eq!(setup.tc(name, Ingress), ["fmip_router_in"]);
        let error = setup.refusal(name, Attach::Native);
        assert_eq!(
            error,
            format!(
                "cannot attach to {name} natively: {name} is {kind}: its driver does not run XDP \
                 (Operation not supported (os error 95))"
            )
        );
    }
}

/// Nobody can try whether it takes frames, and then its driver's word is taken.
#[test]
fn an_interface_without_carrier_is_believed() {
    let Some(setup) = Setup::new() else { return };
    setup
        .here
        .ip_batch("tuntap add name tap0 mode tap\nlink set tap0 up\n")
        .unwrap();
    assert!(!setup.device("tap0").carrier);
    let mut programs = setup.load();
    let mode = setup.attach(&mut programs, "tap0", Attach::Auto).unwrap();
    assert_eq!(mode, Mode::Native);
    assert_eq!(
        setup.xdp("tap0"),
        Some(("native", "fmip_router".to_owned()))
    );

    // A pair whose other end is down, but has what it takes.
    setup.pair("core0", "far0");
    setup.there.prepare_for_xdp("far0").unwrap();
    setup.there.ip("link set far0 down").unwrap();
    wait_until("the carrier to go", SOON, || {
        Ok((!setup.device("core0").carrier).then_some(()))
    })
    .unwrap();
    let mode = setup.attach(&mut programs, "core0", Attach::Auto).unwrap();
    assert_eq!(mode, Mode::Native);
}

#[test]
fn another_xdp_program_is_named_and_left_alone() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    setup.there.prepare_for_xdp("far0").unwrap();
    let mut other = setup.load();
    (setup.here)
        .run(|| other.attach_xdp(DRAIN, "core0"))
        .unwrap();
    let error = setup.refusal("core0", Attach::Native);
    let number = setup.device("core0").xdp.unwrap();
    assert_eq!(
        error,
        format!(
            "cannot attach to core0 natively: another XDP program is attached to core0 (number \
             {number}: `bpftool prog show id {number}`)"
        )
    );
    let mut programs = setup.load();
    let mode = setup.attach(&mut programs, "core0", Attach::Auto).unwrap();
    assert_eq!(mode, Mode::Tc);
    assert_eq!(
        setup.xdp("core0"),
        Some(("native", "fmip_drain".to_owned()))
    );
}

#[test]
fn an_mtu_that_the_xdp_of_the_driver_does_not_take_is_named() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    setup.there.prepare_for_xdp("far0").unwrap();
    setup.here.ip("link set core0 mtu 9000").unwrap();
    setup.there.ip("link set far0 mtu 9000").unwrap();
    // This program takes no packets of several buffers.
    let mut programs = setup.load();
    let error = (setup.here)
        .run(|| programs.attach_xdp(DRAIN, "core0"))
        .unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("the MTU, or that of the other end, is more than its XDP takes"),
        "{error}"
    );
}

#[test]
fn there_may_be_other_tc_programs_in_front() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    let mut other = setup.load();
    // Not one of the same name: without TCX that is taken for what a killed controller left there.
    (setup.here)
        .run(|| other.attach_classifier(MOBILE_IN, "core0", Ingress))
        .unwrap();
    let mut programs = setup.load();
    let mode = setup.attach(&mut programs, "core0", Attach::Tc).unwrap();
    assert_eq!(mode, Mode::Tc);
    let mut expected = ["fmip_mobile_in", "fmip_router_in"];
    // A filter that names no place comes in front of those that are there.
    if !setup.has_tcx("core0") {
        expected.reverse();
    }
    assert_eq!(setup.tc("core0", Ingress), expected);
}

/// With TCX the kernel has taken away what a killed controller's was, as `process` shows.
#[test]
fn without_tcx_a_program_takes_the_place_of_one_of_its_name() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("core0", "far0");
    let mut left = setup.load();
    let mut programs = setup.load();
    for programs in [&mut left, &mut programs] {
        let mode = setup.attach(programs, "core0", Attach::Tc).unwrap();
        assert_eq!(mode, Mode::Tc);
    }
    let count = if setup.has_tcx("core0") { 2 } else { 1 };
    assert_eq!(setup.tc("core0", Ingress), vec!["fmip_router_in"; count]);
}

/// As on Linux 6.1, on any kernel.
fn attach_without_tcx(setup: &Setup, interface: &str) -> Programs {
    let mut programs = setup.load();
    programs.without_tcx();
    (setup.here)
        .run(|| {
            programs.attach_classifier(MOBILE_IN, interface, Ingress)?;
            programs.attach_classifier(MOBILE_OUT, interface, Egress)
        })
        .unwrap();
    for (direction, program) in [(Ingress, MOBILE_IN), (Egress, MOBILE_OUT)] {
        assert_eq!(setup.filters(interface, direction), [program]);
    }
    programs
}

/// In the namespace whose interfaces they are on, as a controller is.
fn detach(setup: &Setup, programs: Programs) {
    setup
        .here
        .run(|| {
            drop(programs);
            Ok(())
        })
        .unwrap();
}

#[test]
fn without_tcx_the_queueing_discipline_goes_with_the_programs_that_it_was_added_for() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("wlan0", "far0");
    for interface in ["wlan0", "lo"] {
        let before = setup.qdiscs(interface);
        let programs = attach_without_tcx(&setup, interface);
        assert_ne!(setup.qdiscs(interface), before);
        // A newer version takes over both.
        let mut newer = setup.load();
        let mut programs = programs;
        setup.here.run(|| newer.take_over(&mut programs)).unwrap();
        detach(&setup, programs);
        assert_eq!(setup.filters(interface, Ingress), [MOBILE_IN]);
        detach(&setup, newer);
        assert_eq!(setup.qdiscs(interface), before);
    }
}

#[test]
fn without_tcx_what_others_have_or_come_to_use_stays() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("wlan0", "far0");
    // They had it before.
    setup.traffic_control("qdisc add dev wlan0 clsact");
    let before = setup.qdiscs("wlan0");
    detach(&setup, attach_without_tcx(&setup, "wlan0"));
    assert_eq!(setup.qdiscs("wlan0"), before);

    // They found it there, and use it.
    setup.traffic_control("qdisc del dev wlan0 clsact");
    for direction in [Ingress, Egress] {
        let programs = attach_without_tcx(&setup, "wlan0");
        let mut others = setup.load();
        others.without_tcx();
        (setup.here)
            .run(|| others.attach_classifier(ROUTER_IN, "wlan0", direction))
            .unwrap();
        detach(&setup, programs);
        assert_eq!(setup.filters("wlan0", direction), [ROUTER_IN]);
        detach(&setup, others);
        assert_eq!(setup.qdiscs("wlan0"), before);
        setup.traffic_control("qdisc del dev wlan0 clsact");
    }
}

#[test]
fn without_tcx_what_a_killed_controller_left_goes_with_the_next_one() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("wlan0", "far0");
    let before = setup.qdiscs("wlan0");
    // Killed: nothing is dropped.
    std::mem::forget(attach_without_tcx(&setup, "wlan0"));
    detach(&setup, attach_without_tcx(&setup, "wlan0"));
    assert_eq!(setup.qdiscs("wlan0"), before);
}
