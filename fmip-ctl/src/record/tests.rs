//! What is recorded is what is replayed, and what differs is found.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;

use super::*;
use crate::{
    proto::{
        AccessLink, Addressing, Admin, Announcement, Command, CommandError, Departure, HandoverKey,
        InterfaceIndex, Limits, LinkEvent, Machine, MobileNodeConfig, NeighborState, OnInvalidNcoa,
        Peer, PeerAddressing, RouterKey, StationEvent, Timers, Transmit, Tunnel,
    },
    wire::MacAddr,
};

const LINK: InterfaceIndex = 3;
const AP: MacAddr = MacAddr([2, 0, 0, 0, 0x0a, 2]);
const KEY: [u8; 16] = [0xa5; 16];

fn node() -> Ipv6Addr {
    "2001:db8:1::ff:fe00:1".parse().unwrap()
}

fn mobile_node() -> MachineConfig {
    MachineConfig::MobileNode(MobileNodeConfig {
        timers: Timers::default(),
        interface: LINK,
        lla: MacAddr([2, 0, 0, 0, 0, 1]),
        pcoa: node(),
        par: "2001:db8:1::1".parse().unwrap(),
        current_access_point: None,
        router_lla: None,
        routers: vec![RouterKey {
            router: "2001:db8:1::1".parse().unwrap(),
            prefix: Some("2001:db8:1::/64".parse().unwrap()),
            access_point: None,
            spi: 256,
            key: KEY.to_vec(),
        }],
        lifetime: Duration::from_secs(60),
        announcement: Announcement::Una,
        neighborhood_interval: None,
        silent_router_interval: None,
    })
}

fn router() -> RouterConfig {
    RouterConfig {
        timers: Timers::default(),
        access: vec![AccessLink {
            interface: LINK,
            address: "2001:db8:1::1".parse().unwrap(),
            link_local: "fe80::1".parse().unwrap(),
            lla: MacAddr([2, 0, 0, 0, 0, 0x11]),
            prefix: "2001:db8:1::/64".parse().unwrap(),
            access_points: vec![MacAddr([2, 0, 0, 0, 0x0a, 1])],
            mtu: 1_500,
            addressing: Addressing::Assigned {
                pool: "2001:db8:1::a000:0:0:0/68".parse().unwrap(),
            },
            departure: Departure::Hold {
                lifetime: Duration::from_millis(2_500),
            },
            duplicate_probe: Some(Duration::from_millis(10)),
            on_invalid_ncoa: OnInvalidNcoa::Assign,
            known_link_addresses: vec![MacAddr([2, 0, 0, 0, 0, 1])],
        }],
        peers: vec![Peer {
            address: "2001:db8:2::1".parse().unwrap(),
            lla: MacAddr([2, 0, 0, 0, 0, 0x22]),
            prefix: "2001:db8:2::/64".parse().unwrap(),
            access_points: vec![AP],
            other_addresses: Vec::new(),
            addressing: PeerAddressing::Dhcp,
            fast_handover: true,
        }],
        mobile_nodes: vec![HandoverKey {
            pcoa: node(),
            spi: 256,
            key: KEY.to_vec(),
        }],
        buffering: true,
        limits: Limits::default(),
    }
}

/// A file that is removed.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fmip-record-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A machine that is driven and recorded as the event loop does it.
struct Driven {
    machine: Machine,
    recorder: Recorder,
    file: Scratch,
    now: Instant,
    outputs: Vec<Output>,
}

impl Driven {
    fn new(config: MachineConfig) -> Self {
        let file = Scratch::new();
        let mut driven = Self {
            recorder: Recorder::create(&file.0, 7, config.clone()).unwrap(),
            machine: Machine::new(config, 7),
            file,
            now: Instant::from_nanos(1_000_000_000),
            outputs: Vec::new(),
        };
        driven.poll();
        driven
    }

    fn tell(&mut self, input: Input) {
        self.recorder.input(self.now, &input);
        self.machine.handle_input(self.now, input);
        self.poll();
    }

    fn wait(&mut self) {
        self.now = self.machine.poll_timeout().expect("something is due");
        self.recorder.timeout(self.now);
        self.machine.handle_timeout(self.now);
        self.poll();
    }

    /// Every second command fails.
    fn poll(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.recorder.output(self.now, &output);
            if let Output::Command(command) = &output
                && self.outputs.len() % 2 == 1
            {
                let failed = Input::CommandFailed {
                    command: command.clone(),
                    error: CommandError::InUse("somebody else's".to_owned()),
                };
                self.recorder.input(self.now, &failed);
                self.machine.handle_input(self.now, failed);
            }
            self.outputs.push(output);
        }
    }

    /// The file, and how many outputs are in it.
    fn end(mut self) -> (String, u64) {
        self.tell(Input::Admin(Admin::Shutdown));
        self.recorder.end(self.now);
        let text = fs::read_to_string(&self.file.0).unwrap();
        (text, self.outputs.len() as u64)
    }
}

/// A mobile node asks about an access point until it gives up.
fn journey() -> (String, u64) {
    let mut driven = Driven::new(mobile_node());
    driven.tell(Input::Link(LinkEvent::NewLinkDetected { access_point: AP }));
    driven.wait();
    driven.wait();
    driven.tell(Input::Packet {
        interface: LINK,
        link_source: AP,
        bytes: Bytes::from_static(b"no packet"),
    });
    driven.end()
}

fn replayed(text: &str) -> Result<Replayed, RecordingError> {
    replay(text.as_bytes())
}

#[test]
fn what_a_mobile_node_did_it_does_again() {
    let (text, outputs) = journey();
    assert!(outputs >= 3, "{text}");
    assert_eq!(
        replayed(&text).unwrap(),
        Replayed {
            inputs: 5,
            outputs,
            complete: true
        }
    );
}

#[test]
fn what_a_router_did_it_does_again() {
    let mut driven = Driven::new(MachineConfig::AccessRouter(router()));
    driven.recorder.restore(driven.now, node(), 7);
    driven.machine.restore_sequence(node(), 7);
    for _ in 0..3 {
        driven.tell(Input::Station(StationEvent::Attached {
            interface: LINK,
            address: node(),
            link_address: MacAddr([2, 0, 0, 0, 0, 1]),
        }));
        driven.tell(Input::Station(StationEvent::Departed {
            interface: LINK,
            address: node(),
        }));
    }
    driven.wait();
    let mut other = router();
    other.mobile_nodes.clear();
    driven.recorder.reload(driven.now, &other);
    driven.machine.reload(driven.now, other);
    driven.poll();
    let commands = driven.outputs.iter();
    assert!(
        commands
            .filter(|output| matches!(output, Output::Command(_)))
            .count()
            > 2,
        "{:?}",
        driven.outputs
    );
    let (text, outputs) = driven.end();
    let replayed = replayed(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(replayed.outputs, outputs);
    assert!(replayed.complete);
}

#[test]
fn the_first_difference_is_named_with_both_sides() {
    let (text, _) = journey();
    let lines: Vec<&str> = text.lines().collect();
    let of = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    let sent = of("\"out\":{\"transmit\"");
    let joined = |lines: &[&str]| lines.join("\n") + "\n";

    let mut changed = lines.clone();
    let other = lines[sent].replace("\"interface\":3", "\"interface\":4");
    assert_ne!(other, lines[sent]);
    changed[sent] = &other;
    let error = replayed(&joined(&changed)).unwrap_err();
    let RecordingError::Difference {
        line,
        recorded,
        replayed: got,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(line, sent + 1);
    assert!(recorded.contains("\"interface\":4"), "{recorded}");
    assert!(got.contains("\"interface\":3"), "{got}");

    // An output that is not recorded, and one that does not come.
    let mut missing = lines.clone();
    missing.remove(sent);
    assert!(matches!(
        replayed(&joined(&missing)),
        Err(RecordingError::Difference { .. })
    ));
    let mut twice = lines.clone();
    twice.insert(lines.len() - 1, lines[sent]);
    let error = replayed(&joined(&twice)).unwrap_err().to_string();
    assert!(
        error.ends_with("and the machine does\n  nothing"),
        "{error}"
    );
}

#[test]
fn a_recording_that_was_cut_short_is_replayed_as_far_as_it_goes() {
    let (text, _) = journey();
    let header = text.find('\n').unwrap() + 1;
    let mut outputs = 0;
    for length in header..text.len() {
        let replayed = replayed(&text[..length])
            .unwrap_or_else(|error| panic!("cut to {length} octets: {error}"));
        assert!(!replayed.complete);
        assert!(replayed.outputs >= outputs);
        outputs = replayed.outputs;
    }
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let (text, _) = journey();
    let header = text.lines().next().unwrap();
    for (text, expected) in [
        (String::new(), "line 1: this is no recording of fmip-ctl: "),
        (
            "hello\n".to_owned(),
            "line 1: this is no recording of fmip-ctl: ",
        ),
        (
            "{\"fmip-record\":2}\n".to_owned(),
            "line 1: this is a recording of version 2, and this program reads 1",
        ),
        (
            "{\"fmip-record\":1,\"seed\":1,\"role\":\"bridge\",\"config\":{}}\n".to_owned(),
            "line 1: this is no recording of fmip-ctl: ",
        ),
        (format!("{header}\nhello\n"), "line 2: "),
        (format!("{header}\n{{\"t\":1}}\n"), "line 2: "),
        (format!("{header}\n{{\"t\":1,\"in\":{{}}}}\n"), "line 2: "),
        (
            format!(
                "{header}\n{{\"t\":1,\"in\":{{\"packet\":{{\"interface\":1,\"link_source\":\
                 \"02:00:00:00:00:01\",\"bytes\":\"abc\"}}}}}}\n"
            ),
            "line 2: not an even number of hexadecimal digits",
        ),
    ] {
        let error = replayed(&text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn the_file_is_new_and_its_owners_alone_for_there_are_keys_in_it() {
    let file = Scratch::new();
    let config = MachineConfig::AccessRouter(router());
    let recorder = Recorder::create(&file.0, 1, config.clone()).unwrap();
    drop(recorder);
    let mode = fs::metadata(&file.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&file.0).unwrap();
    assert!(text.contains(&"a5".repeat(KEY.len())), "{text}");
    let error = Recorder::create(&file.0, 1, config.clone()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&file.0).unwrap(), text);
    // It says all that the machine is made of.
    let (header, _) = steps(text.as_bytes()).unwrap();
    assert_eq!(header.config, config);
    assert_eq!(header.seed, 1);
}

#[test]
fn a_disk_that_is_full_ends_the_recording_and_nothing_else() {
    let mut driven = Driven::new(mobile_node());
    driven.recorder.file = Some(BufWriter::new(
        OpenOptions::new().write(true).open("/dev/full").unwrap(),
    ));
    driven.tell(Input::Link(LinkEvent::NewLinkDetected { access_point: AP }));
    driven.recorder.flush();
    assert!(driven.recorder.file.is_none());
    driven.wait();
    assert!(driven.outputs.len() > 1);
}

#[test]
fn every_input_is_read_as_it_was_written() {
    let interface = LINK;
    let address = node();
    let tunnel = Some(Tunnel {
        local: address,
        remote: "2001:db8:2::1".parse().unwrap(),
    });
    let expires = Instant::from_nanos(u64::MAX);
    let failed = |command| Input::CommandFailed {
        command,
        error: CommandError::Other("no".to_owned()),
    };
    for input in [
        Input::Packet {
            interface,
            link_source: AP,
            bytes: Bytes::from_static(&[0, 1, 0xff]),
        },
        Input::Link(LinkEvent::LinkDown),
        Input::Link(LinkEvent::LinkUp { access_point: AP }),
        Input::Station(StationEvent::Departed { interface, address }),
        Input::Admin(Admin::Shutdown),
        Input::Admin(Admin::Handover {
            pcoa: address,
            access_point: AP,
            ncoa: Some(address),
        }),
        Input::Admin(Admin::Advertise { pcoa: address }),
        Input::Admin(Admin::Registered { care_of: address }),
        Input::AddressConfirmed { address },
        Input::Drained { address },
        Input::DrainFailed {
            address,
            error: CommandError::InUse("x".to_owned()),
        },
        failed(Command::StartBuffering {
            address,
            interface,
            link_address: AP,
            tunnel,
            expires,
        }),
        failed(Command::StartCopying {
            address,
            interface,
            link_address: AP,
            window: Duration::from_millis(1_500),
        }),
        failed(Command::AddNeighbor {
            interface,
            address,
            link_address: AP,
            state: NeighborState::Reachable,
        }),
        failed(Command::StoreSequence {
            pcoa: address,
            sequence: u16::MAX,
        }),
        failed(Command::SwitchLink { access_point: AP }),
    ] {
        let text = serde_json::to_string(&Line {
            t: expires,
            what: What::In(&input),
        })
        .unwrap();
        let header = serde_json::to_string(&Header {
            version: VERSION,
            seed: u64::MAX,
            config: mobile_node(),
        })
        .unwrap();
        let recording = format!("{header}\n{text}\n");
        let (_, mut steps) = steps(recording.as_bytes()).unwrap();
        let (line, t, step) = steps.next().unwrap().unwrap();
        assert_eq!((line, t), (2, expires));
        assert_eq!(step, Step::In(input));
        assert!(steps.next().is_none());
    }
    // The shape that other programs rely on.
    let output = Output::Transmit(Transmit {
        interface: None,
        link_destination: Some(AP),
        bytes: Bytes::from_static(&[0x60]),
    });
    let t = Instant::from_nanos(5);
    assert_eq!(
        serde_json::to_string(&Line {
            t,
            what: What::Out(&output)
        })
        .unwrap(),
        "{\"t\":5,\"out\":{\"transmit\":{\"interface\":null,\"link_destination\":\
         \"02:00:00:00:0a:02\",\"bytes\":\"60\"}}}"
    );
    assert_eq!(
        serde_json::to_string(&Line {
            t,
            what: What::Timeout(true)
        })
        .unwrap(),
        "{\"t\":5,\"timeout\":true}"
    );
}
