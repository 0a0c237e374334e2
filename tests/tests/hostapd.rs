//! An access router hears of its stations from the access points' hostapd.

use std::{fs, path::PathBuf, process::Command};

use fmip_tests::{
    Lab,
    controller::{Controller, Controllers, Events, Role, Settings},
    emulated::ieee80211::{Air, Control, Daemon, Delays, Step},
    process::Process,
    scenario::stage::{Harm, check},
    stream::{StreamConfig, Streams},
    testing::{settings, shared_turn},
    topology::{AccessPoint, Network, PCOA, Router, WLAN},
    wait::{SOON, wait_until},
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Packets that must pass each way until traffic counts as flowing.
const FLOWS: u64 = 100;

/// The settings of an access router that listens to its hostapds.
fn listen(settings: &mut Settings, router: Router, sockets: &[PathBuf]) {
    let sockets: Vec<String> = (sockets.iter())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    settings.router(router).set_access("hostapd", sockets);
}

/// Waits until a router's hostapds are in that state, and returns what is said about them.
fn wait_for_state(router: &Controller, state: &str) -> Vec<Value> {
    wait_until(&format!("hostapd to be {state}"), SOON, || {
        let status = router.status()?;
        let all = status["hostapd"].as_array().cloned().unwrap_or_default();
        let there = !all.is_empty() && all.iter().all(|hostapd| hostapd["state"] == state);
        Ok(there.then_some(all))
    })
    .unwrap()
}

#[test]
fn a_departure_that_the_access_point_reports_loses_nothing() {
    let Some(_turn) = shared_turn() else { return };
    let lab = Lab::build().unwrap();
    // The access point knows that the station leaves while it is still there. It stays until it is sent
    // off, however long the router takes.
    let lingers = Delays {
        linger_ms: 3_600_000,
        ..Delays::default()
    };
    let mut air = Air::start_with(&lab, lingers).unwrap();
    let mut settings = settings();
    for router in [Router::Previous, Router::New] {
        listen(&mut settings, router, &air.hostapds_of(router));
    }
    settings
        .router(Router::Previous)
        .set_access("departure", "hold");
    let supplicant = air.wpa_supplicant().to_string_lossy().into_owned();
    let radio = toml::Table::from_iter([("control-interface".to_owned(), supplicant.into())]);
    settings
        .mobile_node
        .insert("ieee80211".to_owned(), radio.into());
    let controllers = Controllers::start(&lab, &settings).unwrap();
    let told = |events: &Events, name: &str| {
        let event = events.wait_for(name, SOON);
        event.unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()))
    };
    let [at_par] = &wait_for_state(&controllers.par, "connected")[..] else {
        panic!("one access point is on the previous router's link");
    };
    assert_eq!(at_par["stations"], 1);
    let (par, nar) = (
        controllers.par.subscribe().unwrap(),
        controllers.nar.subscribe().unwrap(),
    );
    let mn = controllers.mn.subscribe().unwrap();
    let streams = Streams::start(&lab, StreamConfig::new(500, 200).unwrap()).unwrap();
    streams.wait_for_packets(FLOWS, SOON).unwrap();

    // Nobody is asked, and so nothing is prepared. Once there, the node has no reason to go back.
    air.signal(AccessPoint::New, -45).unwrap();
    air.firmware_roam(AccessPoint::New).unwrap();
    let left = told(&par, "station-departed");
    assert_eq!(left.fields["station"], "02:00:00:00:00:01");
    assert_eq!(left.fields["addresses"], json!([PCOA]));
    // What comes for it is held, and now it goes: one that is told again does not linger.
    wait_until("packets to be held", SOON, || {
        let status = controllers.par.status()?;
        Ok((status["held"].as_u64() > Some(0)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.account()));
    air.firmware_roam(AccessPoint::New).unwrap();
    let came = told(&nar, "station-attached");
    assert_eq!(came.fields["interface"], "acc0");
    told(&mn, "fback-received");
    streams.wait_for_packets(FLOWS, SOON).unwrap();
    streams.check().unwrap();
    let traffic = streams.stop().unwrap();
    if let Err(error) = check("downlink", &traffic.downlink, Harm::None) {
        panic!("{error:#}\n{}\n{}", controllers.account(), air.log());
    }
}

#[test]
fn a_hostapd_that_comes_back_is_asked_what_was_missed() {
    let Some(_turn) = shared_turn() else { return };
    let lab = Lab::build().unwrap();
    let mut air = Air::start(&lab).unwrap();
    let mut settings = settings();
    let sockets = air.hostapds_of(Router::Previous);
    listen(&mut settings, Router::Previous, &sockets);
    let mut par = Controller::start(&lab, Role::Router(Router::Previous), &settings).unwrap();
    par.wait_ready().unwrap();
    wait_for_state(&par, "connected");
    let events = par.subscribe().unwrap();

    let daemon = Daemon::Hostapd(AccessPoint::Previous.id().parse().unwrap());
    air.tell(&Control::Daemon {
        daemon,
        runs: false,
    })
    .unwrap();
    let lost = events.wait_for("hostapd-lost", SOON).unwrap();
    assert_eq!(lost.fields["interface"], "acc0");
    let [status] = &wait_for_state(&par, "lost")[..] else {
        panic!("one hostapd is listened to");
    };
    assert!(status["error"].is_string(), "{status}");
    // Meanwhile the station goes.
    air.firmware_roam(AccessPoint::New).unwrap();
    air.wait_for_step(Step::Layer2Update, 1).unwrap();
    assert!(events.first("station-departed").is_none());
    air.tell(&Control::Daemon { daemon, runs: true }).unwrap();
    let back = events.wait_for("hostapd-connected", SOON).unwrap();
    assert_eq!(back.fields["stations"], 0);
    let left = events.wait_for("station-departed", SOON).unwrap();
    assert_eq!(left.fields["addresses"], json!([PCOA]));

    // The sockets follow the file.
    for listened in [&[][..], &sockets] {
        listen(&mut settings, Router::Previous, listened);
        par.rewrite(&lab, &settings).unwrap();
        par.request(&json!({"command": "reload"})).unwrap();
        match listened {
            [] => assert!(par.status().unwrap().get("hostapd").is_none()),
            _ => drop(wait_for_state(&par, "connected")),
        }
    }
}

#[test]
fn the_directory_that_the_daemons_answer_to_goes_with_its_controller() {
    let Some(_turn) = shared_turn() else { return };
    let lab = Lab::build().unwrap();
    let air = Air::start(&lab).unwrap();
    let mut settings = settings();
    listen(
        &mut settings,
        Router::Previous,
        &air.hostapds_of(Router::Previous),
    );
    let supplicant = air.wpa_supplicant().to_string_lossy().into_owned();
    let radio = toml::Table::from_iter([("control-interface".to_owned(), supplicant.into())]);
    settings
        .mobile_node
        .insert("ieee80211".to_owned(), radio.into());
    for (role, namespace, answers) in [
        (Router::Previous.name(), &lab.par, "hostapd"),
        ("mn", &lab.mn, WLAN),
    ] {
        let file = |extension: &str| lab.directory().join(format!("{role}-run.{extension}"));
        let directory = file("directory");
        let mut files = settings.files_in(Network::Two).into_iter();
        let (_, text) = files.find(|(of, _)| *of == role).unwrap();
        let text = text
            .replace("/run/fmip/x.state", &file("state").to_string_lossy())
            .replace("/run/fmip", &directory.to_string_lossy());
        fs::write(file("toml"), text).unwrap();
        let mut command = Command::new(&settings.fmip_ctl);
        command.args(["run", "--config"]).arg(file("toml"));
        let mut process = Process::start(namespace, role, command, file("log")).unwrap();
        wait_until("the sockets", SOON, || {
            process.check_running()?;
            let names = fs::read_dir(&directory).into_iter().flatten().flatten();
            let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
            let is_there = |is: &dyn Fn(&str) -> bool| {
                let mut names = names.iter();
                names.any(|name| name.to_str().is_some_and(is))
            };
            // Each connection has a name of its own.
            let prefix = format!("x.sock.{answers}.");
            let there =
                is_there(&|name| name == "x.sock") && is_there(&|name| name.starts_with(&prefix));
            Ok(there.then_some(()))
        })
        .unwrap();
        process.signal(Signal::TERM).unwrap();
        let status = process.wait(SOON).unwrap();
        assert!(status.success(), "{}", process.output());
        let left: Vec<_> = fs::read_dir(&directory).into_iter().flatten().collect();
        assert!(!directory.exists(), "{role} leaves {left:?}");
    }
}
