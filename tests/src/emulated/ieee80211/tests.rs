//! The medium without a lab: on a virtual clock.

use std::time::Duration;

use fmip_ctl::{proto::Instant, wire::MacAddr};

use super::{
    AccessPoint, Control, Delays, Refusal, Step,
    medium::{Medium, Output, Radio},
};

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const AP1: MacAddr = MacAddr([2, 0, 0, 0, 10, 1]);
const AP2: MacAddr = MacAddr([2, 0, 0, 0, 10, 2]);
const AP3: MacAddr = MacAddr([2, 0, 0, 0, 10, 3]);

/// The medium and its clock.
struct World {
    medium: Medium,
    now: Instant,
    outputs: Vec<Output>,
}

impl World {
    fn new(delays: Delays) -> Self {
        let point = |id, number: u32, signal_dbm| AccessPoint {
            id,
            bridge: format!("br-ap{number}"),
            frequency: 2412 + 25 * (number - 1),
            signal_dbm,
        };
        let points = vec![point(AP1, 1, -45), point(AP2, 2, -70), point(AP3, 3, -75)];
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            medium: Medium::new(STATION, "fmip", points, AP1, delays, now),
            now,
            outputs: Vec::new(),
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.medium.poll_output() {
            self.outputs.push(output);
        }
    }

    fn supplicant(&mut self, command: &str) -> String {
        let answer = self.medium.handle_supplicant_command(self.now, command);
        self.collect();
        answer
    }

    fn control(&mut self, control: Control) {
        self.medium.handle_control(self.now, control).unwrap();
        self.collect();
    }

    /// Lets time pass until nothing is due any more, or for ten seconds.
    fn drive(&mut self) {
        let end = self.now + Duration::from_secs(10);
        while let Some(due) = self.medium.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.medium.handle_timeout(self.now);
            self.collect();
        }
    }

    /// What happened since this was asked last.
    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    fn steps(&self) -> Vec<(Step, Option<MacAddr>)> {
        let steps = self.outputs.iter().filter_map(|output| match output {
            Output::Step {
                step, access_point, ..
            } => Some((*step, *access_point)),
            _ => None,
        });
        steps.collect()
    }

    fn said(&self) -> Vec<&str> {
        let events = self.outputs.iter().filter_map(|output| match output {
            Output::SupplicantEvent(event) => Some(event.trim_end()),
            _ => None,
        });
        events.collect()
    }

    fn hostapds_said(&self) -> Vec<(MacAddr, &str)> {
        let events = self.outputs.iter().filter_map(|output| match output {
            Output::HostapdEvent(at, event) => Some((*at, event.as_str())),
            _ => None,
        });
        events.collect()
    }

    fn position(&self, what: &Output) -> usize {
        let found = self.outputs.iter().position(|output| output == what);
        found.unwrap_or_else(|| panic!("no {what:?} in {:#?}", self.outputs))
    }

    fn scanned(delays: Delays) -> Self {
        let mut world = Self::new(delays);
        assert_eq!(world.supplicant("SCAN"), "OK\n");
        world.drive();
        world.take();
        world
    }
}

fn default() -> World {
    World::scanned(Delays::default())
}

#[test]
fn a_scan_finds_what_is_on_the_air_and_takes_its_time_per_channel() {
    let mut world = World::new(Delays::default());
    let began = world.now;
    assert!(!world.supplicant("SCAN_RESULTS").contains(&AP2.to_string()));
    assert_eq!(world.supplicant("SCAN"), "OK\n");
    assert_eq!(world.supplicant("SCAN"), "FAIL-BUSY\n");
    world.drive();
    assert_eq!(
        world.said(),
        ["CTRL-EVENT-SCAN-STARTED", "CTRL-EVENT-SCAN-RESULTS"]
    );
    assert_eq!(world.now - began, Duration::from_millis(11 * 20));
    assert_eq!(
        world.supplicant("SCAN_RESULTS"),
        "bssid / frequency / signal level / flags / ssid\n\
         02:00:00:00:0a:01\t2412\t-45\t[WPA2-PSK-CCMP][ESS]\tfmip\n\
         02:00:00:00:0a:02\t2437\t-70\t[WPA2-PSK-CCMP][ESS]\tfmip\n\
         02:00:00:00:0a:03\t2462\t-75\t[WPA2-PSK-CCMP][ESS]\tfmip\n"
    );
    let bss = world.supplicant("BSS 02:00:00:00:0a:02");
    for line in ["freq=2437", "level=-70", "age=0", "ssid=fmip"] {
        assert!(
            bss.lines().any(|found| found == line),
            "{line} is not in {bss}"
        );
    }
    assert_eq!(world.supplicant("BSS 02:00:00:00:0a:09"), "");
}

#[test]
fn a_scan_of_one_channel_finds_what_is_on_it() {
    let mut world = World::new(Delays::default());
    let began = world.now;
    assert_eq!(world.supplicant("SCAN TYPE=ONLY freq=2437"), "OK\n");
    world.drive();
    assert_eq!(world.now - began, Duration::from_millis(20));
    let results = world.supplicant("SCAN_RESULTS");
    assert!(results.contains(&AP2.to_string()), "{results}");
    assert!(!results.contains(&AP3.to_string()), "{results}");
    assert_eq!(world.supplicant("SCAN freq=x"), "FAIL\n");
}

#[test]
fn a_scan_that_is_not_for_its_results_alone_lets_the_supplicant_roam() {
    for (scan, expected) in [("SCAN TYPE=ONLY", AP1), ("SCAN", AP2)] {
        let mut world = World::new(Delays::default());
        world.control(Control::Signal {
            access_point: AP2,
            dbm: -40,
        });
        world.supplicant(scan);
        world.drive();
        assert_eq!(world.medium.attached(), Some(expected), "{scan}");
    }
}

#[test]
fn an_access_point_that_two_scans_miss_is_forgotten() {
    let mut world = default();
    world.control(Control::Vanish { access_point: AP2 });
    for known in [true, false] {
        world.supplicant("SCAN freq=2437");
        world.drive();
        let results = world.supplicant("SCAN_RESULTS");
        assert_eq!(results.contains(&AP2.to_string()), known, "{results}");
    }
}

#[test]
fn a_station_that_is_deaf_during_a_scan_hears_again_after_it() {
    let mut world = World::new(Delays {
        deaf_scan: true,
        ..Delays::default()
    });
    world.supplicant("SCAN freq=2437");
    world.drive();
    let closed = world.position(&Output::Radio(Radio::Closed));
    let open = world.position(&Output::Radio(Radio::Open(AP1)));
    let results = world.position(&Output::SupplicantEvent(
        "CTRL-EVENT-SCAN-RESULTS ".to_owned(),
    ));
    assert!(closed < open && open < results);
}

#[test]
fn a_roam_goes_through_the_steps_in_order() {
    let mut world = default();
    assert_eq!(world.supplicant(&format!("ROAM {AP2}")), "OK\n");
    assert!(
        world
            .supplicant("STATUS")
            .contains("wpa_state=AUTHENTICATING")
    );
    world.drive();
    let at = Some(AP2);
    assert_eq!(
        world.steps(),
        [
            (Step::Join, at),
            (Step::Authenticate, at),
            (Step::Associate, at),
            (Step::Handshake, at),
            (Step::Layer2Update, at),
        ]
    );
    assert_eq!(
        world.said(),
        [
            "SME: Trying to authenticate with 02:00:00:00:0a:02 (SSID='fmip' freq=2437 MHz)",
            "Trying to associate with 02:00:00:00:0a:02 (SSID='fmip' freq=2437 MHz)",
            "Associated with 02:00:00:00:0a:02",
            "CTRL-EVENT-SUBNET-STATUS-UPDATE status=0",
            "WPA: Key negotiation completed with 02:00:00:00:0a:02 [PTK=CCMP GTK=CCMP]",
            "CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:0a:02 completed [id=0 id_str=]",
        ]
    );
    assert_eq!(
        world.hostapds_said(),
        [
            (AP1, "AP-STA-DISCONNECTED 02:00:00:00:00:01"),
            (AP2, "AP-STA-CONNECTED 02:00:00:00:00:01"),
        ]
    );
    // The port is closed until the handshake has ended, and open before anybody says so.
    let off = world.position(&Output::Radio(Radio::Off));
    let closed = world.position(&Output::Radio(Radio::Closed));
    let open = world.position(&Output::Radio(Radio::Open(AP2)));
    let update = world.position(&Output::Layer2Update(AP2));
    assert!(off < closed && closed < open && open < update);
    let status = world.supplicant("STATUS");
    assert!(
        status.starts_with("bssid=02:00:00:00:0a:02\nfreq=2437\nssid=fmip\n"),
        "{status}"
    );
    assert!(status.contains("\nwpa_state=COMPLETED\n"), "{status}");
}

#[test]
fn an_open_network_has_no_handshake() {
    let mut world = World::scanned(Delays {
        handshake_ms: 0,
        ..Delays::default()
    });
    world.supplicant(&format!("ROAM {AP2}"));
    world.drive();
    assert!(!world.steps().contains(&(Step::Handshake, Some(AP2))));
    assert!(world.supplicant("STATUS").contains("key_mgmt=NONE"));
}

#[test]
fn a_roam_to_what_no_scan_has_met_fails_at_once() {
    let mut world = World::new(Delays::default());
    assert_eq!(world.supplicant(&format!("ROAM {AP2}")), "FAIL\n");
    assert_eq!(world.supplicant("ROAM nonsense"), "FAIL\n");
    assert!(world.take().is_empty());
}

#[test]
fn the_firmware_roams_without_a_word_to_the_host_until_it_is_there() {
    let mut world = World::new(Delays::default());
    let began = world.now;
    world.control(Control::FirmwareRoam { access_point: AP2 });
    world.drive();
    assert_eq!(world.said()[0], format!("Associated with {AP2}"));
    let steps: Vec<Step> = world.steps().into_iter().map(|(step, _)| step).collect();
    assert_eq!(
        steps,
        [
            Step::Scan,
            Step::Join,
            Step::Authenticate,
            Step::Associate,
            Step::Handshake,
            Step::Layer2Update,
        ]
    );
    assert_eq!(world.now - began, Duration::from_millis(3 + 30));
}

#[test]
fn a_diverted_roam_ends_elsewhere() {
    let mut world = default();
    world.control(Control::DivertRoam { access_point: AP3 });
    assert_eq!(world.supplicant(&format!("ROAM {AP2}")), "OK\n");
    world.drive();
    assert_eq!(world.medium.attached(), Some(AP3));
    // Once.
    assert_eq!(world.supplicant(&format!("ROAM {AP2}")), "OK\n");
    world.drive();
    assert_eq!(world.medium.attached(), Some(AP2));
}

#[test]
fn a_refused_station_looks_for_another_access_point() {
    for (how, event) in [
        (Refusal::Silence, None),
        (
            Refusal::Authentication,
            Some(
                "CTRL-EVENT-AUTH-REJECT 02:00:00:00:0a:02 auth_type=0 auth_transaction=2 status_code=1",
            ),
        ),
        (
            Refusal::Association,
            Some("CTRL-EVENT-ASSOC-REJECT bssid=02:00:00:00:0a:02 status_code=17"),
        ),
    ] {
        let mut world = default();
        world.control(Control::RefuseRoam { how });
        world.supplicant(&format!("ROAM {AP2}"));
        world.drive();
        let said = world.said();
        match event {
            Some(event) => assert!(said.contains(&event), "{said:?}"),
            None => assert!(
                !said.iter().any(|event| event.contains("REJECT")),
                "{said:?}"
            ),
        }
        assert!(said.contains(&"CTRL-EVENT-SCAN-STARTED"), "{said:?}");
        // The strongest of the others is the one that it came from.
        assert_eq!(world.medium.attached(), Some(AP1), "{how:?}");
    }
}

#[test]
fn a_vanished_access_point_is_missed_and_another_one_found() {
    let mut world = default();
    world.control(Control::Vanish { access_point: AP1 });
    assert_eq!(world.take(), [Output::Radio(Radio::Closed)]);
    world.drive();
    let said = world.said();
    assert_eq!(
        said[..3],
        [
            "CTRL-EVENT-BEACON-LOSS",
            "CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:0a:01 reason=4 locally_generated=1",
            "CTRL-EVENT-SCAN-STARTED",
        ]
    );
    assert_eq!(world.medium.attached(), Some(AP2));
}

#[test]
fn an_access_point_that_is_back_in_time_has_not_been_missed() {
    let mut world = default();
    world.control(Control::Vanish { access_point: AP1 });
    world.control(Control::Appear { access_point: AP1 });
    world.drive();
    assert!(world.said().is_empty());
    assert_eq!(world.outputs.last(), Some(&Output::Radio(Radio::Open(AP1))));
}

#[test]
fn where_nobody_is_heard_the_station_looks_again() {
    let mut world = default();
    for access_point in [AP1, AP2, AP3] {
        world.control(Control::Vanish { access_point });
    }
    world.drive();
    assert!(world.said().contains(&"CTRL-EVENT-NETWORK-NOT-FOUND"));
    world.control(Control::Appear { access_point: AP3 });
    world.drive();
    assert_eq!(world.medium.attached(), Some(AP3));
}

#[test]
fn the_signal_is_told_when_it_crosses_the_threshold_and_has_changed_enough() {
    let mut world = default();
    assert_eq!(
        world.supplicant("SIGNAL_MONITOR THRESHOLD=-65 HYSTERESIS=3"),
        "OK\n"
    );
    let mut told = |dbm| {
        world.take();
        world.control(Control::Signal {
            access_point: AP1,
            dbm,
        });
        world.said().join(",")
    };
    assert_eq!(told(-60), "");
    assert_eq!(
        told(-66),
        "CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-66 noise=-95 txrate=54000"
    );
    assert_eq!(told(-68), "");
    assert_eq!(
        told(-70),
        "CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-70 noise=-95 txrate=54000"
    );
    assert_eq!(
        told(-50),
        "CTRL-EVENT-SIGNAL-CHANGE above=1 signal=-50 noise=-95 txrate=54000"
    );
    assert!(world.supplicant("SIGNAL_POLL").starts_with("RSSI=-50\n"));
    assert_eq!(world.supplicant("SIGNAL_MONITOR"), "OK\n");
    world.take();
    world.control(Control::Signal {
        access_point: AP1,
        dbm: -90,
    });
    assert!(world.said().is_empty());
}

#[test]
fn an_access_point_that_does_not_notice_keeps_the_station_on_its_list() {
    let mut world = World::scanned(Delays {
        notice_ms: None,
        ..Delays::default()
    });
    world.supplicant(&format!("ROAM {AP2}"));
    world.drive();
    assert_eq!(
        world.hostapds_said(),
        [(AP2, "AP-STA-CONNECTED 02:00:00:00:00:01")]
    );
    let now = world.now;
    for at in [AP1, AP2] {
        let first = world.medium.handle_hostapd_command(now, at, "STA-FIRST");
        assert!(
            first.starts_with("02:00:00:00:00:01\nflags=[AUTH]"),
            "{first}"
        );
        let next = format!("STA-NEXT {STATION}");
        assert_eq!(world.medium.handle_hostapd_command(now, at, &next), "");
    }
    assert_eq!(
        world.medium.handle_hostapd_command(now, AP3, "STA-FIRST"),
        ""
    );
    let status = world.medium.handle_hostapd_command(now, AP2, "STATUS");
    assert!(status.starts_with("state=ENABLED\n"), "{status}");
}

#[test]
fn a_station_that_lingers_is_reported_before_it_leaves() {
    let mut world = World::scanned(Delays {
        linger_ms: 100,
        ..Delays::default()
    });
    world.supplicant(&format!("ROAM {AP2}"));
    let roamed = world.now;
    world.drive();
    let told = world.position(&Output::HostapdEvent(
        AP1,
        "AP-STA-DISCONNECTED 02:00:00:00:00:01".to_owned(),
    ));
    assert!(told < world.position(&Output::Radio(Radio::Off)));
    assert_eq!(world.medium.attached(), Some(AP2));
    assert_eq!(world.now - roamed, Duration::from_millis(100 + 3 * 20 + 30));
}

#[test]
fn a_station_that_lingers_goes_at_once_when_it_is_told_again() {
    let mut world = World::new(Delays {
        linger_ms: 3_600_000,
        ..Delays::default()
    });
    let roam = Control::FirmwareRoam { access_point: AP2 };
    world.control(roam.clone());
    world.drive();
    let told = (AP1, "AP-STA-DISCONNECTED 02:00:00:00:00:01");
    assert_eq!(world.hostapds_said(), [told]);
    assert!(!world.outputs.contains(&Output::Radio(Radio::Off)));
    world.control(roam);
    world.drive();
    assert_eq!(world.medium.attached(), Some(AP2));
    let came = (AP2, "AP-STA-CONNECTED 02:00:00:00:00:01");
    assert_eq!(world.hostapds_said(), [told, came]);
}

/// So does one whose handshake does not end, with the delays that there are now.
#[test]
fn a_handshake_that_would_not_end_is_begun_anew_with_other_delays() {
    let mut world = World::new(Delays {
        handshake_ms: 3_600_000,
        ..Delays::default()
    });
    let roam = Control::FirmwareRoam { access_point: AP2 };
    world.control(roam.clone());
    world.drive();
    assert!(!world.outputs.contains(&Output::Radio(Radio::Open(AP2))));
    world.control(Control::Delays(Delays::default()));
    world.control(roam);
    world.drive();
    assert_eq!(world.medium.attached(), Some(AP2));
    world.position(&Output::Radio(Radio::Open(AP2)));
}

#[test]
fn a_roam_in_the_middle_of_another_begins_anew() {
    let mut world = default();
    world.supplicant(&format!("ROAM {AP2}"));
    while !world.supplicant("STATUS").contains("4WAY_HANDSHAKE") {
        world.now = world.medium.poll_timeout().unwrap();
        world.medium.handle_timeout(world.now);
    }
    world.collect();
    world.take();
    world.supplicant(&format!("ROAM {AP3}"));
    world.drive();
    assert_eq!(world.position(&Output::Radio(Radio::Off)), 1);
    assert_eq!(world.medium.attached(), Some(AP3));
}

#[test]
fn entries_are_told_in_ranges_with_the_lines_that_are_asked_for() {
    let mut world = default();
    assert_eq!(
        world.supplicant("BSS RANGE=1- MASK=0x20083"),
        "id=1\nbssid=02:00:00:00:0a:02\nlevel=-70\n====\n\
         id=2\nbssid=02:00:00:00:0a:03\nlevel=-75\n====\n####\n"
    );
    assert_eq!(world.supplicant("BSS RANGE=3- MASK=0x20083"), "####\n");
    assert_eq!(world.supplicant("BSS 2 MASK=1"), "id=2\n");
    assert_eq!(world.supplicant("BSS nonsense"), "FAIL\n");
}

#[test]
fn a_station_that_is_back_early_has_not_left() {
    let mut world = World::scanned(Delays {
        notice_ms: Some(1000),
        ..Delays::default()
    });
    world.supplicant(&format!("ROAM {AP2}"));
    // Not by drive, which would wait for the notice, too.
    while world.medium.attached() != Some(AP2) {
        world.now = world.medium.poll_timeout().unwrap();
        world.medium.handle_timeout(world.now);
    }
    world.collect();
    world.supplicant(&format!("ROAM {AP1}"));
    world.drive();
    let left = (AP1, "AP-STA-DISCONNECTED 02:00:00:00:00:01");
    assert!(!world.hostapds_said().contains(&left));
}

#[test]
fn a_station_that_is_sent_away_looks_elsewhere() {
    let mut world = default();
    world.control(Control::Kick { access_point: AP1 });
    world.drive();
    assert_eq!(
        world.said()[0],
        "CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:0a:01 reason=2"
    );
    assert_eq!(world.medium.attached(), Some(AP2));
}

#[test]
fn a_disconnected_station_stays_so_until_it_is_told() {
    let mut world = default();
    assert_eq!(world.supplicant("DISCONNECT"), "OK\n");
    world.drive();
    assert_eq!(world.medium.attached(), None);
    assert_eq!(world.supplicant("SIGNAL_POLL"), "FAIL\n");
    assert_eq!(world.hostapds_said().len(), 1);
    assert_eq!(world.supplicant("RECONNECT"), "OK\n");
    world.drive();
    assert_eq!(world.medium.attached(), Some(AP1));
}

#[test]
fn what_nobody_understands_is_said_to_be_unknown() {
    let mut world = default();
    assert_eq!(world.supplicant("MAKE COFFEE"), "UNKNOWN COMMAND\n");
    assert_eq!(world.supplicant("PING"), "PONG\n");
    let nobody = Control::Vanish {
        access_point: STATION,
    };
    let error = world.medium.handle_control(world.now, nobody).unwrap_err();
    assert!(error.contains("02:00:00:00:00:01"), "{error}");
}

#[test]
fn a_step_is_written_as_the_rfc_numbers_it() {
    let steps = [Step::Scan, Step::Handshake, Step::Layer2Update];
    let text = serde_json::to_string(&steps).unwrap();
    assert_eq!(text, r#"["scan","802.1X","layer-2-update"]"#);
}

#[test]
fn controls_survive_the_wire() {
    for control in [
        Control::Signal {
            access_point: AP1,
            dbm: -70,
        },
        Control::RefuseRoam {
            how: Refusal::Association,
        },
        Control::Delays(Delays::default()),
        Control::Daemon {
            daemon: super::Daemon::Hostapd(AP2),
            runs: false,
        },
        Control::AddAccessPoint(AccessPoint {
            id: AP3,
            bridge: "br-rogue".to_owned(),
            frequency: 2412,
            signal_dbm: -30,
        }),
    ] {
        let text = serde_json::to_string(&control).unwrap();
        assert_eq!(
            serde_json::from_str::<Control>(&text).unwrap(),
            control,
            "{text}"
        );
    }
}
