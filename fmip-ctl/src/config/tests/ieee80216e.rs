//! The section `[mobile-node.ieee80216e]`, which stands in the example with a blank before every line
//! of it: a node has one radio.

use super::*;
use crate::link::ieee80216e::{auth::Pmk, message::MacMode};

const PMK: &str = "202122232425262728292a2b2c2d2e2f30313233";

/// The example with this section in the place of that of 802.11.
fn example() -> String {
    let (before, rest) = NODE
        .split_once("[mobile-node.ieee80211]")
        .expect("the example has the section");
    let (_, section) = rest
        .split_once("# [mobile-node.ieee80216e]")
        .expect("the example has the section");
    let (section, after) = section.split_once("\n\n").expect("something follows it");
    let section: String = section
        .lines()
        .map(|line| {
            let line = line
                .strip_prefix("# ")
                .filter(|rest| rest.contains(" = "))
                .unwrap_or(line);
            format!("{line}\n")
        })
        .collect();
    format!("{before}[mobile-node.ieee80216e]{section}\n{after}")
}

fn station(text: &str) -> Ieee80216e {
    let config = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    match config.role {
        Role::MobileNode(MobileNode {
            link_layer: LinkLayerKind::Ieee80216e(settings),
            ..
        }) => settings,
        other => panic!("{other:?} is no node with 802.16e"),
    }
}

#[test]
fn the_example_shows_every_default_as_it_is() {
    let pmk: [u8; 20] = std::array::from_fn(|at| 0x20 + at as u8);
    let defaults = Ieee80216e {
        base_station: Some("02:00:00:00:0a:01".parse().unwrap()),
        ..Ieee80216e::with(Pmk(pmk))
    };
    assert_eq!(station(&example()), defaults);
    let without = example()
        .lines()
        .filter(|line| {
            let key = line.split_once(" = ").map(|(key, _)| key);
            !key.is_some_and(|key| {
                [
                    "scan-",
                    "signal-",
                    "lost-",
                    "indications",
                    "link-switch",
                    "choose",
                ]
                .iter()
                .any(|start| key.starts_with(start))
            })
        })
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(station(&without), defaults);
}

#[test]
fn every_key_is_read() {
    let mut text = example();
    for (from, to) in [
        ("base-station = \"02:00:00:00:0a:01\"\n", ""),
        ("choose-target = true", "choose-target = false"),
        ("signal-threshold-dbm = -75", "signal-threshold-dbm = -81"),
        ("signal-hysteresis-db = 5", "signal-hysteresis-db = 6"),
        ("indications = 2", "indications = 3"),
        ("link-switch-wait-ms = 1000", "link-switch-wait-ms = 0"),
        ("scan-min-interval-ms = 1000", "scan-min-interval-ms = 11"),
        ("scan-duration-frames = 20", "scan-duration-frames = 12"),
        (
            "scan-interleaving-frames = 10",
            "scan-interleaving-frames = 13",
        ),
        ("mac-mode = \"cmac\"", "mac-mode = \"hmac\""),
        ("scan-iterations = 2", "scan-iterations = 14"),
        ("lost-dl-map-ms = 600", "lost-dl-map-ms = 700"),
    ] {
        assert!(text.contains(from), "{from:?} is not in the example");
        text = text.replacen(from, to, 1);
    }
    let settings = station(&text);
    assert_eq!(
        settings,
        Ieee80216e {
            pmk: settings.pmk.clone(),
            mac_mode: MacMode::Hmac,
            base_station: None,
            choose_target: false,
            signal_threshold_dbm: -81,
            signal_hysteresis_db: 6,
            indications: 3,
            link_switch_wait: Duration::ZERO,
            scan_min_interval: Duration::from_millis(11),
            scan_duration: 12,
            scan_interleaving: 13,
            scan_iterations: 14,
            lost_dl_map: Duration::from_millis(700),
        }
    );
}

#[test]
fn every_error_names_key_and_value() {
    let text = example();
    for (from, to, message) in [
        (
            "base-station = \"02:00:00:00:0a:01\"",
            "base-station = \"ff:ff:ff:ff:ff:ff\"",
            "base-station: \"ff:ff:ff:ff:ff:ff\" is no unicast link-layer address",
        ),
        (
            "mac-mode = \"cmac\"",
            "mac-mode = \"none\"",
            "mac-mode: \"none\" is no mac-mode: write \"cmac\" or \"hmac\"",
        ),
        (
            "signal-threshold-dbm = -75",
            "signal-threshold-dbm = 75",
            "signal-threshold-dbm: 75 is out of range: -103 to -40",
        ),
        (
            "signal-hysteresis-db = 5",
            "signal-hysteresis-db = 61",
            "signal-hysteresis-db: 61 is out of range: 0 to 60",
        ),
        (
            "indications = 2",
            "indications = 0",
            "indications: 0 is out of range: 1 to 100",
        ),
        (
            "link-switch-wait-ms = 1000",
            "link-switch-wait-ms = 60001",
            "link-switch-wait-ms: 60001 is out of range: 0 to 60000",
        ),
        (
            "scan-min-interval-ms = 1000",
            "scan-min-interval-ms = 9",
            "scan-min-interval-ms: 9 is out of range: 10 to 3600000",
        ),
        (
            "scan-duration-frames = 20",
            "scan-duration-frames = 256",
            "scan-duration-frames: 256 is out of range: 1 to 255",
        ),
        (
            "scan-iterations = 2",
            "scan-iterations = 0",
            "scan-iterations: 0 is out of range: 1 to 255",
        ),
        (
            "lost-dl-map-ms = 600",
            "lost-dl-map-ms = 49",
            "lost-dl-map-ms: 49 is out of range: 50 to 10000",
        ),
    ] {
        let error = error_with(&text, from, to);
        let key = from.split_once(" = ").expect("key = value").0;
        let line = line_of(&text, &format!("\n{key}")) + 1;
        assert_eq!(
            error,
            format!("f.toml:{line}: mobile-node.ieee80216e.{message}")
        );
    }
}

#[test]
fn a_node_has_one_radio() {
    let text = format!("{NODE}\n[mobile-node.ieee80216e]\npmk = \"{PMK}\"\n");
    let error = parse(&text).unwrap_err().to_string();
    assert!(
        error.contains("mobile-node.ieee80216e: there is a section [mobile-node.ieee80211], too"),
        "{error}"
    );
}

#[test]
fn the_master_key_is_shown_nowhere() {
    let text = example();
    let shown = format!("{:?} {:#?}", parse(&text), parse(&text));
    assert!(shown.contains("Pmk"));
    assert!(!shown.contains("32, 33, 34"), "{shown}");
    for (to, message) in [
        (
            "\"6162636465\"",
            "has 5 octets, and must have 20; make one with `openssl rand -hex 20`",
        ),
        (
            "\"616263646566zz\"",
            "is not an even number of hexadecimal digits: make one with `openssl rand -hex 20`",
        ),
        (
            "6162636465",
            "must be a string of hexadecimal digits in quotation marks",
        ),
    ] {
        let error = error_with(&text, &format!("\"{PMK}\""), to);
        let line = line_of(&text, PMK);
        assert_eq!(
            error,
            format!("f.toml:{line}: mobile-node.ieee80216e.pmk: {message}")
        );
    }
}
