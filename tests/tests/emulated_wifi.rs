//! The lab's 802.11: what moves when the station's daemon is told to roam.

use std::{
    mem::MaybeUninit,
    net::SocketAddrV6,
    path::Path,
    time::{Duration, Instant},
};

use fmip_tests::{
    Lab,
    controller::Controllers,
    emulated::ieee80211::{Air, Control, Daemon, Delays, Step},
    scenario::stage::{Harm, check},
    stream::{StreamConfig, Streams},
    testing::{settings, shared_turn},
    topology::{AccessPoint, Router, WLAN},
    wait::{SOON, wait_until},
};
use socket2::{Domain, Protocol, Socket, Type};

fn start() -> (Lab, Air) {
    let lab = Lab::build().unwrap();
    let air = Air::start(&lab).unwrap();
    (lab, air)
}

/// The controllers, that of the mobile node beside the supplicant of the air.
fn start_controllers(lab: &Lab, air: &Air) -> Controllers {
    let mut settings = settings().patient();
    let supplicant = air.wpa_supplicant().to_string_lossy().into_owned();
    let radio = toml::Table::from_iter([
        ("control-interface".to_owned(), supplicant.into()),
        // As long as a busy machine may take.
        ("link-switch-wait-ms".to_owned(), 5000.into()),
    ]);
    (settings.mobile_node).insert("ieee80211".to_owned(), radio.into());
    Controllers::start(lab, &settings).unwrap()
}

fn ask(air: &Air, socket: &Path, command: &str) -> String {
    air.ask(socket, command).unwrap()
}

/// Waits until a router answers.
fn wait_to_reach(lab: &Lab, router: Router) {
    wait_until(&format!("{} to be heard", router.name()), SOON, || {
        Ok(reaches(lab, router).then_some(()))
    })
    .unwrap();
}

/// Whether an echo request to a router's link-local address is answered within a quarter of a second.
fn reaches(lab: &Lab, router: Router) -> bool {
    const ECHO_REQUEST: u8 = 128;
    const ECHO_REPLY: u8 = 129;
    let index = lab.mn.ip_json(&format!("link show {WLAN}")).unwrap()[0]["ifindex"].as_u64();
    let to = SocketAddrV6::new(router.link_local(), 0, 0, index.unwrap() as u32);
    let socket = (lab.mn)
        .run(|| {
            Ok(Socket::new(
                Domain::IPV6,
                Type::RAW,
                Some(Protocol::ICMPV6),
            )?)
        })
        .unwrap();
    // Without a carrier, or a neighbor, sending fails: that is no answer, either.
    let _ = socket.send_to(&[ECHO_REQUEST, 0, 0, 0, 0, 7, 0, 1], &to.into());
    let end = Instant::now() + Duration::from_millis(250);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        socket.set_read_timeout(Some(left)).unwrap();
        let mut message = [MaybeUninit::uninit(); 64];
        let Ok((length, from)) = socket.recv_from(&mut message) else {
            continue;
        };
        // SAFETY: recv_from has written that many octets, and there are some.
        let first = (length > 0).then(|| unsafe { message[0].assume_init() });
        let from = from.as_socket_ipv6().map(|from| *from.ip());
        if first == Some(ECHO_REPLY) && from == Some(router.link_local()) {
            return true;
        }
    }
}

#[test]
fn a_roam_moves_the_radio_from_one_link_to_the_other() {
    let Some(_turn) = shared_turn() else { return };
    let (lab, mut air) = start();
    wait_to_reach(&lab, Router::Previous);
    /// ETH_P_802_2 of linux/if_ether.h: frames with a length instead of a type.
    const LLC: u16 = 0x0004;
    let protocol = Protocol::from(i32::from(LLC.to_be()));
    let update = (lab.nar)
        .run(|| Ok(Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?))
        .unwrap();
    update.set_read_timeout(Some(SOON)).unwrap();
    let supplicant = air.wpa_supplicant().to_owned();
    assert_eq!(ask(&air, &supplicant, "PING"), "PONG\n");
    assert_eq!(ask(&air, &supplicant, "SCAN"), "OK\n");
    air.wait_for_step(Step::Scan, 1).unwrap();
    let roam = format!("ROAM {}", AccessPoint::New);
    assert_eq!(ask(&air, &supplicant, &roam), "OK\n");
    air.wait_for_step(Step::Layer2Update, 1).unwrap();
    wait_to_reach(&lab, Router::New);
    assert!(!reaches(&lab, Router::Previous));
    let steps: Vec<Step> = air.steps().unwrap().iter().map(|done| done.step).collect();
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
    let status = ask(&air, &supplicant, "STATUS");
    assert!(status.contains("wpa_state=COMPLETED"), "{status}");
    let there = ask(&air, &air.hostapd(AccessPoint::New), "STA-FIRST");
    assert!(there.starts_with("02:00:00:00:00:01\n"), "{there}");
    assert_eq!(
        ask(&air, &air.hostapd(AccessPoint::Previous), "STA-FIRST"),
        ""
    );
    // The update frame came to all on the new link, as if from the station.
    let mut frame = [MaybeUninit::uninit(); 64];
    let length = update.recv(&mut frame).expect("the update frame");
    assert!(length >= 20, "{length}");
    // SAFETY: recv has written that many octets.
    let octets = frame[..20]
        .iter()
        .map(|octet| unsafe { octet.assume_init() });
    let octets: Vec<u8> = octets.collect();
    assert_eq!(octets[..6], [0xff; 6]);
    assert_eq!(octets[6..12], [2, 0, 0, 0, 0, 1]);
    assert_eq!(octets[12..], [0, 6, 0, 1, 0xaf, 0x81, 1, 2]);
}

#[test]
fn the_port_is_closed_until_the_handshake_has_ended() {
    let Some(_turn) = shared_turn() else { return };
    let lab = Lab::build().unwrap();
    // It does not end before all of this has been seen, however slow the machine is.
    let endless = Delays {
        handshake_ms: 3_600_000,
        ..Delays::default()
    };
    let mut air = Air::start_with(&lab, endless).unwrap();
    air.firmware_roam(AccessPoint::New).unwrap();
    air.wait_for_step(Step::Associate, 1).unwrap();
    let link = || lab.mn.ip_json(&format!("link show {WLAN}")).unwrap()[0]["operstate"].clone();
    wait_until("the carrier", SOON, || {
        Ok((link() == "DORMANT").then_some(()))
    })
    .unwrap();
    assert!(!reaches(&lab, Router::New));
    let steps = air.steps().unwrap();
    assert!(steps.iter().all(|done| done.step != Step::Handshake));
    // The next attempt is as short as any.
    air.tell(&Control::Delays(Delays::default())).unwrap();
    air.firmware_roam(AccessPoint::New).unwrap();
    air.wait_for_step(Step::Layer2Update, 1).unwrap();
    wait_until("the port to be open", SOON, || {
        Ok((link() == "UP").then_some(()))
    })
    .unwrap();
    wait_to_reach(&lab, Router::New);
}

#[test]
fn an_access_point_that_vanishes_is_replaced_and_a_daemon_comes_back() {
    let Some(_turn) = shared_turn() else { return };
    let (lab, mut air) = start();
    air.vanish(AccessPoint::Previous).unwrap();
    air.wait_for_step(Step::Layer2Update, 1).unwrap();
    let supplicant = air.wpa_supplicant().to_owned();
    let status = ask(&air, &supplicant, "STATUS");
    assert!(status.contains(AccessPoint::New.id()), "{status}");
    for runs in [false, true] {
        let daemon = Daemon::Supplicant;
        air.tell(&Control::Daemon { daemon, runs }).unwrap();
        assert_eq!(air.ask(&supplicant, "PING").is_ok(), runs);
    }
    let rogue = air.add_rogue(&lab, -30).unwrap();
    assert_eq!(ask(&air, &supplicant, "SCAN TYPE=ONLY"), "OK\n");
    air.wait_for_step(Step::Scan, 2).unwrap();
    let results = ask(&air, &supplicant, "SCAN_RESULTS");
    assert!(results.contains(&rogue.to_string()), "{results}");
}

#[test]
fn a_falling_signal_brings_about_a_handover_that_loses_nothing() {
    let Some(_turn) = shared_turn() else { return };
    let (lab, mut air) = start();
    let controllers = start_controllers(&lab, &air);
    let mn = controllers.mn.subscribe().unwrap();
    let nar = controllers.nar.subscribe().unwrap();
    let streams = Streams::start(&lab, StreamConfig::new(500, 200).unwrap()).unwrap();
    streams.wait_for_packets(100, SOON).unwrap();
    air.signal(AccessPoint::New, -40).unwrap();
    air.signal(AccessPoint::Previous, -85).unwrap();
    let arrived = mn.wait_for("una-sent", SOON);
    let drained = arrived.and_then(|_| nar.wait_for("buffer-drained", SOON));
    if let Err(error) = drained {
        panic!("{error:#}\n{}\n{}", controllers.account(), air.log());
    }
    streams.wait_for_packets(100, SOON).unwrap();
    let traffic = streams.stop().unwrap();
    if let Err(error) = check("downlink", &traffic.downlink, Harm::None) {
        panic!("{error:#}\n{}\n{}", controllers.account(), air.log());
    }
    // Everything was prepared before the station left its access point.
    let joined = air.wait_for_step(Step::Join, 1).unwrap();
    let fback = mn.first("fback-received").unwrap();
    assert!(fback.time_ns < joined.began_ns);
}

// Rows: W11-06
#[test]
fn a_node_whose_supplicant_is_gone_moves_without_preparation_and_predicts_again_afterwards() {
    let Some(_turn) = shared_turn() else { return };
    let (lab, mut air) = start();
    let controllers = start_controllers(&lab, &air);
    let mn = controllers.mn.subscribe().unwrap();
    let told = |name: &str, count: usize| {
        let what = format!("{count} events {name}");
        let waited = wait_until(&what, SOON, || Ok((mn.count(name) >= count).then_some(())));
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    };
    let health = |expected: &str| {
        let request = serde_json::json!({"command": "show-mobile"});
        let what = format!("the link layer to be {expected}");
        let waited = wait_until(&what, SOON, || {
            let state = controllers.mn.request(&request)?;
            Ok((state["health"]["state"] == expected).then_some(()))
        });
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    };
    health("working");
    let daemon = Daemon::Supplicant;
    air.tell(&Control::Daemon {
        daemon,
        runs: false,
    })
    .unwrap();
    health("lost");
    // The link moves meanwhile. Nobody says so, but its carrier went and came.
    air.firmware_roam(AccessPoint::New).unwrap();
    air.wait_for_step(Step::Layer2Update, 1).unwrap();
    // From the new link, whose router says which it is.
    told("fback-received", 1);
    let mut ups = (mn.all().into_iter())
        .filter(|event| event.name == "primitive" && event.fields["primitive"] == "LINK_UP");
    let nameless = ups.next_back().expect("the link came up");
    assert!(
        nameless.fields.get("access_point").is_none(),
        "{nameless:?}"
    );
    air.tell(&Control::Daemon { daemon, runs: true }).unwrap();
    health("working");
    // And now the access point has its name.
    let request = serde_json::json!({"command": "show-mobile"});
    wait_until("the access point's name", SOON, || {
        let state = controllers.mn.request(&request)?;
        Ok((state["access_point"] == AccessPoint::New.id()).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    // Back again, and this time it is foreseen.
    air.signal(AccessPoint::Previous, -40).unwrap();
    air.signal(AccessPoint::New, -85).unwrap();
    told("link-switch", 1);
}

/// As a wired node is.
// Rows: W11-06, W11-08
#[test]
fn a_node_that_knows_nothing_but_its_carrier_reacts() {
    let Some(_turn) = shared_turn() else { return };
    let (lab, mut air) = start();
    let mut settings = settings();
    (settings.mobile_node).insert("carrier".to_owned(), true.into());
    let controllers = Controllers::start(&lab, &settings).unwrap();
    let mn = controllers.mn.subscribe().unwrap();
    air.firmware_roam(AccessPoint::New).unwrap();
    if let Err(error) = mn.wait_for("fback-received", SOON) {
        panic!("{error:#}\n{}\n{}", controllers.account(), air.log());
    }
    let told = (mn.all().into_iter())
        .filter(|event| event.name == "primitive")
        .map(|event| event.fields["primitive"].clone());
    assert_eq!(told.collect::<Vec<_>>(), ["LINK_DOWN", "LINK_UP"]);
    let request = serde_json::json!({"command": "show-mobile"});
    let state = controllers.mn.request(&request).unwrap();
    assert_eq!(state["link_layer"], "carrier");
}
