//! `fmip-ctl` as a program: what it refuses, in which words, and that it leaves nothing behind.

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use fmip_tests::{
    controller::find_fmip_ctl,
    netns::NetNs,
    process::Process,
    testing::{self, Traces},
    wait::SOON,
    wait_until,
};
use rustix::process::Signal;

const ROUTER: &str = include_str!("../../fmip-ctl/examples/access-router.toml");

/// The interfaces of the example configuration, in a namespace, and a directory for files.
struct Router {
    namespace: NetNs,
    directory: PathBuf,
    fmip_ctl: PathBuf,
}

impl Router {
    fn new() -> Self {
        let name = format!("fmip-cl-{}", std::process::id());
        let namespace = NetNs::create(&name).unwrap();
        namespace
            .ip_batch(
                "link add acc0 type veth peer name acc1\n\
                 link add core0 type veth peer name core1\n\
                 link set acc0 up\n\
                 link set acc1 up\n\
                 link set core0 up\n\
                 link set core1 up\n\
                 address add 2001:db8:1::1/64 dev acc0 nodad\n",
            )
            .unwrap();
        for interface in ["acc0", "acc1", "core0", "core1"] {
            namespace.prepare_for_xdp(interface).unwrap();
        }
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        Self {
            namespace,
            directory,
            fmip_ctl: find_fmip_ctl().unwrap_or_else(|error| panic!("{error}")),
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    /// The example with this router's control socket, and `from`, if not empty, replaced by `to`.
    fn configuration(&self, from: &str, to: &str) -> PathBuf {
        assert!(ROUTER.contains(from), "{from:?} is not in the example");
        let text = if from.is_empty() {
            ROUTER.to_owned()
        } else {
            ROUTER.replacen(from, to, 1)
        };
        let role = "role = \"access-router\"\n";
        let socket = format!("control-socket = {:?}\n", self.socket());
        let file = self.directory.join("router.toml");
        let text = text.replace(role, &(role.to_owned() + &socket)).replace(
            "#state-directory = \"/var/lib/fmip\"",
            &format!("state-directory = {:?}", self.directory.join("state")),
        );
        fs::write(&file, text).unwrap();
        file
    }

    fn run(&self, mut command: Command) -> Output {
        let child = self
            .namespace
            .spawn(
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped()),
            )
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// The one error line of `command`, which must fail and leave everything as it was.
    fn refused(&self, command: Command) -> String {
        let before = Traces::of(&self.namespace).unwrap();
        let output = self.run(command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(output.stdout, b"", "{said}");
        assert_eq!(Traces::of(&self.namespace).unwrap(), before, "{said}");
        let mut errors = said
            .lines()
            .filter_map(|line| line.strip_prefix("fmip-ctl: error: "));
        let error = errors.next().unwrap_or_else(|| panic!("no error: {said}"));
        assert_eq!(errors.next(), None, "{said}");
        assert!(said.trim_end().ends_with(error), "{said}");
        error.to_owned()
    }

    fn run_command(&self, config: &Path) -> Command {
        let mut command = Command::new(&self.fmip_ctl);
        command.args(["run", "--config"]).arg(config);
        command
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.fmip_ctl);
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }

    fn start(&self) -> Process {
        self.start_command(self.run_command(&self.configuration("", "")))
    }

    fn start_command(&self, command: Command) -> Process {
        let log = self.directory.join("run.log");
        let mut process = Process::start(&self.namespace, "fmip-ctl run", command, log).unwrap();
        wait_until("the controller to be ready", SOON, || {
            process.check_running()?;
            Ok(UnixStream::connect(self.socket()).ok())
        })
        .unwrap();
        process
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn what_it_cannot_run_with_is_named_and_nothing_stays() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    for (from, to, expected) in [
        (
            "interface = \"acc0\"",
            "interface = \"acc9\"",
            "there is no interface acc9 (there are: lo, ",
        ),
        (
            "core-interfaces = [\"core0\"]",
            "core-interfaces = [\"lo\"]",
            "interface lo has no link-layer address of 6 octets, as Ethernet has",
        ),
        (
            "address = \"2001:db8:1::1\"",
            "address = \"2001:db8:1::2\"",
            "access-router.access.address: 2001:db8:1::2 is not an address of acc0 (it has \
             2001:db8:1::1/64): correct the file or add the address",
        ),
        (
            "key = \"000102",
            "key = \"00010",
            "access-router.mobile-node.key: is not an even number of hexadecimal \
             digits: make one with `openssl rand -hex 20`",
        ),
        (
            "spi = 256",
            "spy = 256",
            "access-router.mobile-node.spy: unknown field `spy`, expected one of \
             `pcoa`, `spi`, `key`",
        ),
    ] {
        let config = router.configuration(from, to);
        let error = router.refused(router.run_command(&config));
        assert!(error.contains(expected), "{error}");
        assert!(!router.socket().exists());
    }
    let error = router.refused(router.run_command(Path::new("/nonexistent.toml")));
    assert_eq!(
        error,
        "cannot read /nonexistent.toml: No such file or directory (os error 2)"
    );

    router.namespace.ip("link set core0 down").unwrap();
    let config = router.configuration("", "");
    assert_eq!(
        router.refused(router.run_command(&config)),
        "access-router.core-interfaces: core0 is down: `ip link set core0 up`"
    );
}

#[test]
fn a_missing_right_is_named() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    let config = router.configuration("", "");
    for (capability, expected) in [
        ("net_admin", "the right CAP_NET_ADMIN is missing"),
        ("net_raw", "the right CAP_NET_RAW is missing"),
    ] {
        // Root gets at an exec what the bounding set leaves.
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set=-{capability}"));
        command.arg(&router.fmip_ctl).args(["run", "--config"]);
        command.arg(&config);
        let error = router.refused(command);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn ended_by_a_signal_or_a_client_it_unloads_everything_and_succeeds() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    let before = Traces::of(&router.namespace).unwrap();
    for signal in [Some(Signal::INT), Some(Signal::TERM), None] {
        let mut process = router.start();
        assert_ne!(Traces::of(&router.namespace).unwrap(), before);
        match signal {
            Some(signal) => process.signal(signal).unwrap(),
            None => {
                let mut client = fmip_ctl::observe::client::Client::connect(&router.socket());
                client.as_mut().unwrap().shutdown().unwrap();
            }
        }
        let status = process.wait(SOON).unwrap();
        assert!(status.success(), "{signal:?}: {}", process.output());
        assert_eq!(Traces::of(&router.namespace).unwrap(), before, "{signal:?}");
        assert!(!router.socket().exists());
    }
}

#[test]
fn a_second_controller_is_refused_and_does_not_disturb_the_first() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    let mut first = router.start();
    let config = router.configuration("", "");
    let error = router.refused(router.run_command(&config));
    assert!(
        error.starts_with("another controller runs in this network namespace"),
        "{error}"
    );
    first.check_running().unwrap();
    let output = router.run(router.client(&["status", "--json"]));
    assert!(output.status.success());
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["role"], "access-router");
}

#[test]
fn without_a_place_for_sequence_numbers_it_does_not_start() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    let config = router.configuration("", "");
    let state = router.directory.join("state");
    fs::write(&state, "a file in the way").unwrap();
    let error = router.refused(router.run_command(&config));
    assert!(
        error.starts_with(&format!(
            "cannot make the state directory {}, and a router that forgets sequence numbers",
            state.display()
        )),
        "{error}"
    );
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    fs::write(state.join("sequences"), "fmip-sequences 1\n2001:db8::1 1\n").unwrap();
    let error = router.refused(router.run_command(&config));
    assert!(
        error.contains("state/sequences:2: this is no sequence number: put back a good copy"),
        "{error}"
    );
}

#[test]
fn a_control_socket_of_somebody_else_is_not_taken() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    let _owner = UnixListener::bind(router.socket()).unwrap();
    let config = router.configuration("", "");
    let error = router.refused(router.run_command(&config));
    assert!(error.starts_with("a controller listens on "), "{error}");
    assert!(UnixStream::connect(router.socket()).is_ok());
}

#[test]
fn the_subcommands_tell_what_the_controller_says() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    for arguments in [
        &["status"][..],
        &["events"],
        &["show", "datapath"],
        &["show", "bindings", "--json"],
        &["show", "buffers"],
        &["trigger", "link-down"],
    ] {
        let error = router.refused(router.client(arguments));
        assert!(error.starts_with("no controller listens on "), "{error}");
    }
    let _running = router.start();
    let output = router.run(router.client(&["status"]));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.starts_with("access-router, up "), "{report}");
    let error = router.refused(router.client(&["trigger", "impend", "02:00:00:00:0a:02"]));
    assert_eq!(
        error,
        "`impend` is for a mobile node; this is an access router"
    );
    let arguments = ["trigger", "departed", "--node", "2001:db8:9::9"];
    let error = router.refused(router.client(&arguments));
    assert!(
        error.starts_with("2001:db8:9::9 is in the prefix of none of this router's access links"),
        "{error}"
    );
    let stranger = ["--link-address", "02:00:00:00:00:77"];
    for what in ["station-attached", "station-departed"] {
        let arguments = [&["trigger", what][..], &stranger].concat();
        let output = router.run(router.client(&arguments));
        assert!(output.status.success(), "{output:?}");
    }
    let error = router.refused(router.client(&[
        "trigger",
        "station-departed",
        "--link-address",
        "ff:ff:ff:ff:ff:ff",
    ]));
    assert_eq!(error, "ff:ff:ff:ff:ff:ff is no unicast link-layer address");
    let status = router.run(router.client(&["status", "--json"]));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["unknown_stations"], 2, "{status}");
}

#[test]
fn a_reload_takes_a_right_file_and_leaves_everything_with_a_wrong_one() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    let mut process = router.start();
    let reload = || router.run(router.client(&["reload"]));
    let departed = || {
        let node = ["trigger", "departed", "--node", "2001:db8:7::9"];
        router.run(router.client(&node))
    };
    assert!(!departed().status.success());

    // The socket of this router is a line more than the example has.
    let line = 2 + ROUTER[..ROUTER.find("spi = 256").unwrap()]
        .matches('\n')
        .count();
    let spi = format!("router.toml:{line}: access-router.mobile-node.spi: 0 is out of range");
    for (from, to, expected) in [
        ("spi = 256", "spi = 0", &*spi),
        (
            "core-interfaces = [\"core0\"]",
            "core-interfaces = [\"core1\"]",
            "access-router.core-interfaces: cannot change while the controller runs",
        ),
        (
            "address = \"2001:db8:1::1\"",
            "address = \"2001:db8:1::2\"",
            "access-router.access.address: 2001:db8:1::2 is not an address of acc0",
        ),
    ] {
        router.configuration(from, to);
        let error = router.refused(router.client(&["reload"]));
        assert!(error.contains(expected), "{error}");
        assert!(!departed().status.success());
    }

    // Another prefix on the link: what tells that it is in use is a node of that prefix.
    router
        .namespace
        .ip("address add 2001:db8:7::1/64 dev acc0 nodad")
        .unwrap();
    let file = router.configuration("address = \"2001:db8:1::1\"", "address = \"2001:db8:7::1\"");
    let text = fs::read_to_string(&file).unwrap();
    let moved = text
        .replace(
            "prefix = \"2001:db8:1::/64\"",
            "prefix = \"2001:db8:7::/64\"",
        )
        .replace("pcoa = \"2001:db8:1::", "pcoa = \"2001:db8:7::");
    fs::write(&file, &moved).unwrap();
    let output = reload();
    assert!(output.status.success(), "{output:?}");
    assert!(departed().status.success());

    // A signal does the same, and ends nobody.
    router.configuration("", "");
    process.signal(Signal::HUP).unwrap();
    wait_until("the first file to be in use again", SOON, || {
        process.check_running()?;
        Ok((!departed().status.success()).then_some(()))
    })
    .unwrap();
    router.configuration("spi = 256", "spi = 0");
    process.signal(Signal::HUP).unwrap();
    wait_until("the wrong file to be refused", SOON, || {
        process.check_running()?;
        let said = process.output();
        Ok(said
            .contains("the configuration stays as it was")
            .then_some(()))
    })
    .unwrap();
    process.signal(Signal::TERM).unwrap();
    assert!(process.wait(SOON).unwrap().success());
}

#[test]
fn what_a_controller_recorded_is_replayed_and_a_change_is_found() {
    let Some(_turn) = testing::turn() else { return };
    let router = Router::new();
    let file = router.directory.join("recording");
    let record = || {
        let mut command = router.run_command(&router.configuration("", ""));
        command.arg("--record").arg(&file);
        command
    };
    let mut process = router.start_command(record());
    let node = "2001:db8:1::ff:fe00:1";
    let mac = "02:00:00:00:00:01";
    for arguments in [
        &["trigger", "attached", "--node", node, "--link-address", mac][..],
        &["trigger", "departed", "--node", node],
        &["reload"],
    ] {
        let output = router.run(router.client(arguments));
        assert!(output.status.success(), "{output:?}");
    }
    process.signal(Signal::TERM).unwrap();
    assert!(process.wait(SOON).unwrap().success());

    let replay = || {
        let mut command = Command::new(&router.fmip_ctl);
        command.arg("replay").arg(&file);
        command
    };
    let output = router.run(replay());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    // Attached, departed, the reload, the end; and what its link told it.
    let inputs = said.split_once(": ").and_then(|(_, rest)| {
        let (inputs, _) = rest.split_once(" inputs replayed, ")?;
        inputs.parse::<u32>().ok()
    });
    assert!(inputs.is_some_and(|inputs| inputs >= 4), "{said}");
    assert!(!said.contains("cut short"), "{said}");

    // A second recording does not take the place of the first.
    let error = router.refused(record());
    assert_eq!(
        error,
        format!(
            "cannot record to {}: File exists (os error 17)",
            file.display()
        )
    );
    let text = fs::read_to_string(&file).unwrap();
    let end = text.rfind("{\"t\":").unwrap();
    let more = "{\"t\":1,\"out\":{\"event\":{\"event\":\"una-sent\",\"ncoa\":\"::1\"}}}\n";
    fs::write(&file, text[..end].to_owned() + more).unwrap();
    let output = router.run(replay());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("recorded was\n  {\"event\":{\"event\":\"una-sent\""),
        "{said}"
    );
    assert!(said.contains("and the machine does\n  nothing"), "{said}");
}
