//! Interfaces that are VLANs of another.
//!
//! Not every kernel has VLAN devices. What netlink says of them is tested beside the code that reads it;
//! here a device of another kind stands for one.

use aya::programs::TcAttachType::Ingress;
use fmip_ctl::{
    config::{Attach, Side},
    io::{
        attach::Mode,
        devices::{Device, Kind, Tag, TagProtocol},
    },
};

use crate::setup::Setup;

/// `name` as if it were the VLAN with that tag of `parent`.
fn vlan(setup: &Setup, name: &str, protocol: TagProtocol, parent: &Device) -> Device {
    setup
        .here
        .ip_batch(&format!("link add {name} type ifb\nlink set {name} up\n"))
        .unwrap();
    Device {
        kind: Kind::Vlan,
        tags: [Some(Tag { protocol, id: 10 }), None],
        parent: Some(Box::new(parent.clone())),
        ..setup.device(name)
    }
}

#[test]
fn the_programs_of_all_vlans_are_one_on_the_parent() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("trunk0", "far0");
    setup.there.prepare_for_xdp("far0").unwrap();
    let trunk = setup.device("trunk0");
    let mut programs = setup.load();
    let devices = [
        vlan(&setup, "core0", TagProtocol::Customer, &trunk),
        vlan(&setup, "core1", TagProtocol::Service, &trunk),
        trunk,
    ];
    for device in &devices {
        let mode = (setup.here)
            .run(|| programs.attach_router(device, Attach::Native, Side::Core))
            .unwrap();
        assert_eq!(mode, Mode::Native);
        let shown = setup.xdp("trunk0");
        assert_eq!(shown, Some(("native", "fmip_router".to_owned())));
    }
    for name in ["core0", "core1"] {
        assert_eq!(setup.xdp(name), None);
    }
    setup.end(programs);
    assert_eq!(setup.xdp("trunk0"), None);
}

#[test]
fn tags_that_the_other_end_does_not_write_are_found() {
    let Some(setup) = Setup::new() else { return };
    setup
        .here
        .ip_batch(
            "link add trunk0 type veth peer name far0\nlink set trunk0 up\nlink set far0 up\n",
        )
        .unwrap();
    setup.here.prepare_for_xdp("far0").unwrap();
    let trunk = setup.device("trunk0");
    for (name, protocol, switch) in [
        ("core0", TagProtocol::Customer, "txvlan"),
        ("core1", TagProtocol::Service, "tx-vlan-stag-hw-insert"),
    ] {
        let device = vlan(&setup, name, protocol, &trunk);
        let mut programs = setup.load();
        let mut attach =
            |wanted| (setup.here).run(|| programs.attach_router(&device, wanted, Side::Core));
        let error = format!("{:#}", attach(Attach::Native).unwrap_err());
        assert_eq!(
            error,
            format!(
                "cannot attach to {name} natively: far0 does not write the VLAN tags, and the \
                 program on trunk0 does not see them: `ethtool -K far0 {switch} off`"
            )
        );
        assert_eq!(attach(Attach::Auto).unwrap(), Mode::Tc);
        assert_eq!(setup.tc(name, Ingress), ["fmip_router_in"]);
        assert_eq!(setup.xdp("trunk0"), None);

        setup.ethtool("far0", &[switch, "off"]);
        let mut programs = setup.load();
        let mode = (setup.here)
            .run(|| programs.attach_router(&device, Attach::Auto, Side::Core))
            .unwrap();
        assert_eq!(mode, Mode::Native);
    }
}

#[test]
fn a_vlan_whose_parent_is_elsewhere_is_taken_by_tc() {
    let Some(setup) = Setup::new() else { return };
    setup.pair("trunk0", "far0");
    let device = Device {
        parent: None,
        tags: [None, None],
        ..vlan(
            &setup,
            "core0",
            TagProtocol::Customer,
            &setup.device("trunk0"),
        )
    };
    let mut programs = setup.load();
    let mut attach =
        |wanted| (setup.here).run(|| programs.attach_router(&device, wanted, Side::Core));
    let error = format!("{:#}", attach(Attach::Native).unwrap_err());
    assert_eq!(
        error,
        "cannot attach to core0 natively: it is a VLAN device whose parent is in another network \
         namespace, or it has more than two tags"
    );
    assert_eq!(attach(Attach::Auto).unwrap(), Mode::Tc);
}
