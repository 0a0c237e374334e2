//! The controller itself: what it logs about the attachment, and what is left when it ends.

use std::{fs, os::unix::net::UnixStream, path::PathBuf, process::Command};

use aya::programs::TcAttachType::{Egress, Ingress};
use fmip_tests::{
    controller::find_fmip_ctl,
    process::Process,
    wait::{SOON, wait_until},
};
use rustix::process::Signal;

use crate::setup::Setup;

const ROUTER: &str = include_str!("../../../fmip-ctl/examples/access-router.toml");

/// A controller on `core0` and `acc0`, attached to these in the given ways.
struct Running {
    process: Process,
    directory: PathBuf,
}

impl Running {
    fn start(setup: &Setup, core: &str, access: &str) -> Self {
        let directory = std::env::temp_dir().join(setup.here.name());
        fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("control.sock");
        let mut text = ROUTER.to_owned();
        for (from, to) in [
            (
                "role = \"access-router\"\n",
                format!("role = \"access-router\"\ncontrol-socket = {socket:?}\n"),
            ),
            (
                "core-interfaces = [\"core0\"]",
                format!("core = [{{ interface = \"core0\", attach = {core:?} }}]"),
            ),
            ("#attach = \"auto\"", format!("attach = {access:?}")),
            (
                "#state-directory = \"/var/lib/fmip\"",
                format!("state-directory = {:?}", directory.join("state")),
            ),
        ] {
            assert!(text.contains(from), "{from:?} is not in the example");
            text = text.replacen(from, &to, 1);
        }
        let config = directory.join("router.toml");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(find_fmip_ctl().unwrap_or_else(|error| panic!("{error}")));
        command.args(["run", "--config"]).arg(&config);
        let log = directory.join("run.log");
        let mut process = Process::start(&setup.here, "fmip-ctl run", command, log).unwrap();
        wait_until("the controller to be ready", SOON, || {
            process.check_running()?;
            Ok(UnixStream::connect(&socket).ok())
        })
        .unwrap();
        Self { process, directory }
    }

    /// Whether a line of its log has all these in it.
    fn said(&self, parts: &[&str]) -> bool {
        let log = self.process.output();
        log.lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    }

    fn end(&mut self, signal: Signal) {
        self.process.signal(signal).unwrap();
        self.process.wait(SOON).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The interfaces of a router; the far ends take redirected frames.
fn router() -> Option<Setup> {
    let setup = Setup::new()?;
    for (name, far) in [("core0", "far0"), ("acc0", "far1")] {
        setup.pair(name, far);
        setup.there.prepare_for_xdp(far).unwrap();
    }
    setup.here.sysctl("ipv6/conf/acc0/disable_ipv6", 0).unwrap();
    setup
        .here
        .ip("address add 2001:db8:1::1/64 dev acc0 nodad")
        .unwrap();
    wait_until("a link-local address", SOON, || {
        let addresses = setup.here.ip("-6 address show dev acc0 scope link")?;
        Ok(addresses.contains("fe80").then_some(()))
    })
    .unwrap();
    Some(setup)
}

#[test]
fn nothing_stays_attached_however_the_controller_ends() {
    let Some(setup) = router() else { return };
    let has_tcx = setup.has_tcx("core0");
    for (attach, mode, ingress) in [
        ("native", Some("native"), 0),
        ("tc", None, 1),
        ("generic", Some("generic"), 0),
    ] {
        for signal in [Signal::TERM, Signal::KILL] {
            let mut controller = Running::start(&setup, attach, attach);
            let expected = [("core0", ingress, 0), ("acc0", ingress, 1)];
            // What another run left is replaced, not added to.
            for (name, ingress, egress) in expected {
                let xdp = setup.xdp(name);
                assert_eq!(xdp.as_ref().map(|(mode, _)| *mode), mode, "{name}");
                assert_eq!(setup.tc(name, Ingress).len(), ingress, "{name}");
                assert_eq!(setup.tc(name, Egress).len(), egress, "{name}");
            }
            controller.end(signal);
            // Without TCX the kernel knows nobody to whom a filter belongs.
            let filters_stay = signal == Signal::KILL && !has_tcx;
            for (name, ingress, egress) in expected {
                let stay = |count| if filters_stay { count } else { 0 };
                // The kernel lets go of a killed process's links a moment after it is gone.
                wait_until("the programs to be gone", SOON, || {
                    let gone = setup.xdp(name).is_none()
                        && setup.tc(name, Ingress).len() == stay(ingress)
                        && setup.tc(name, Egress).len() == stay(egress);
                    Ok(gone.then_some(()))
                })
                .unwrap();
            }
        }
    }
}

#[test]
fn what_becomes_of_an_interface_later_is_logged() {
    let Some(setup) = router() else { return };
    let controller = Running::start(&setup, "auto", "auto");
    let log = |parts: &[&str]| {
        wait_until("a line of the log", SOON, || {
            Ok(controller.said(parts).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error}: {parts:?}\n{}", controller.process.output()));
    };
    setup.here.ip("link set acc0 mtu 1400").unwrap();
    log(&[
        " WARN ",
        "the MTU changed",
        "interface=\"acc0\" from=1500 to=1400",
    ]);
    setup.here.ip("link delete core0").unwrap();
    log(&[" WARN ", "is gone", "interface=\"core0\""]);
}

#[test]
fn the_way_and_the_reason_are_logged() {
    let Some(setup) = router() else { return };
    // What comes in at the core interface is merged, and what goes out of it is lost.
    setup.ethtool("core0", &["gro", "on"]);
    Setup::ethtool_in(&setup.there, "far0", &["gro", "off"]);
    let controller = Running::start(&setup, "auto", "auto");
    for parts in [
        vec![" INFO ", "attached interface=\"acc0\" mode=\"native\""],
        vec![" INFO ", "attached interface=\"core0\" mode=\"tc\""],
        vec![
            " WARN ",
            "not native: core0 takes no redirected frames",
            "interface=\"core0\"",
        ],
        vec![" WARN ", "merged", "`ethtool -K core0 gro off`"],
    ] {
        let log = controller.process.output();
        assert!(controller.said(&parts), "{parts:?} is not in\n{log}");
    }
}
