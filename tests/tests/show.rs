//! `fmip-ctl show`, of real controllers in the middle of a handover and after it.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use fmip_tests::{
    AccessPoint, Lab,
    controller::{Controller, Controllers},
    handover::Prepared,
    testing,
    topology::{NAR, PAR, PCOA, Router},
    wait::SOON,
    wait_until,
};
use serde_json::Value;

const NCOA: std::net::Ipv6Addr = Router::New.care_of_address();

fn show(fmip_ctl: &Path, of: &Controller, arguments: &str) -> Result<Output> {
    let mut command = Command::new(fmip_ctl);
    command.arg("--socket").arg(of.socket()).arg("show");
    let output = command.args(arguments.split(' ')).output()?;
    ensure!(output.status.success(), "show {arguments}: {output:?}");
    Ok(output)
}

fn shown(fmip_ctl: &Path, of: &Controller, arguments: &str) -> Result<Value> {
    let output = show(fmip_ctl, of, &format!("{arguments} --json"))?;
    serde_json::from_slice(&output.stdout).context("this is no JSON")
}

/// The only object of an array.
fn only(array: &Value) -> &Value {
    assert_eq!(array.as_array().map(Vec::len), Some(1), "{array}");
    &array[0]
}

#[test]
fn a_handover_is_seen_in_bindings_buffers_and_counters() {
    let Some(_turn) = testing::turn() else { return };
    // What is shown of a handover is gone when its lifetime has passed.
    let settings = testing::settings().patient();
    let fmip_ctl = settings.fmip_ctl.as_path();
    let lab = Lab::build().unwrap();
    let controllers = Controllers::start(&lab, &settings).unwrap();
    let (par, nar) = (&controllers.par, &controllers.nar);
    let explained = |error: anyhow::Error| -> ! { panic!("{error:#}\n{}", controllers.account()) };

    // Nothing is bound yet.
    for list in ["bindings", "buffers"] {
        assert_eq!(
            shown(fmip_ctl, nar, list).unwrap(),
            Value::Array(Vec::new())
        );
    }
    let streams = testing::a_move(0, 500).start_streams(&lab).unwrap();
    let prepared = Prepared::start(&controllers).unwrap_or_else(|error| explained(error));
    lab.detach().unwrap();

    // The new router holds; what is shown is one moment.
    let buffer = wait_until("packets to wait", SOON, || {
        let buffers = shown(fmip_ctl, nar, "buffers")?;
        let waits = buffers[0]["waiting_packets"].as_u64() > Some(3);
        Ok(waits.then(|| only(&buffers).clone()))
    })
    .unwrap_or_else(|error| explained(error));
    assert_eq!(buffer["address"], NCOA.to_string());
    assert_eq!(buffer["state"], "holding");
    assert_eq!(buffer["released"], 0);
    let waiting = buffer["waiting_packets"].as_u64().unwrap();
    // Packets of 200 octets, and the one of signalling.
    let octets = buffer["waiting_octets"].as_u64().unwrap();
    assert!((waiting * 100..waiting * 250).contains(&octets), "{buffer}");
    assert!(buffer["high_water_packets"].as_u64() >= Some(waiting));
    assert!(buffer["max_packets"].as_u64() > Some(waiting));
    let dropped = buffer["dropped"].as_object().unwrap();
    assert_eq!(dropped.len(), 8);
    assert!(dropped.values().all(|number| number == 0), "{buffer}");
    let binding = shown(fmip_ctl, nar, &format!("bindings --address {NCOA}")).unwrap();
    let binding = only(&binding);
    assert_eq!(binding["action"], "buffer");
    assert_eq!(binding["tunnel"], Value::Null);
    assert_eq!(binding["next_hop"]["interface"], "acc0");
    assert_eq!(
        binding["next_hop"]["link_address"],
        fmip_tests::topology::MN_LLA
    );
    assert!(binding["buffer"].is_u64(), "{binding}");
    assert!(binding["packets"].as_u64() >= Some(waiting));
    let left = binding["expires_in_s"].as_f64().unwrap();
    assert!(left > 0.0 && left < 60.0, "{left}");
    let data_path = shown(fmip_ctl, nar, "datapath").unwrap();
    assert_eq!(data_path["bindings"]["used"], 1);
    assert_eq!(data_path["pool"]["buffers"]["used"], 1);
    assert!(data_path["pool"]["slots"]["used"].as_u64() >= Some(waiting));

    // The previous one tunnels.
    let binding = shown(fmip_ctl, par, "bindings").unwrap();
    let binding = only(&binding);
    assert_eq!(binding["address"], PCOA.to_string());
    assert_eq!(binding["action"], "tunnel");
    assert_eq!(binding["tunnel"]["remote"], NCOA.to_string());
    assert_eq!(binding["tunnel"]["local"], PAR.to_string());
    let text = String::from_utf8(show(fmip_ctl, par, "bindings").unwrap().stdout).unwrap();
    assert!(text.starts_with("ADDRESS "), "{text}");
    assert!(
        text.contains(&format!("tunnel from {PAR} to {NCOA}")),
        "{text}"
    );
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");

    lab.attach(AccessPoint::New).unwrap();
    controllers.mn.trigger("link-up", AccessPoint::New).unwrap();
    let first = prepared
        .nar
        .wait_for("first-held", SOON)
        .unwrap_or_else(|error| explained(error));
    assert_eq!(first.fields["address"], NCOA.to_string());
    prepared
        .nar
        .wait_for("buffer-drained", SOON)
        .unwrap_or_else(|error| explained(error));
    streams.stop().unwrap();

    let buffers = shown(fmip_ctl, nar, "buffers").unwrap();
    let buffer = only(&buffers);
    assert_eq!(buffer["state"], "direct", "{buffer}");
    assert_eq!(buffer["waiting_packets"], 0);
    assert_eq!(buffer["held"], buffer["released"]);
    let data_path = shown(fmip_ctl, nar, "datapath").unwrap();
    assert_eq!(data_path["pool"]["slots"]["used"], 0);
    let packets = |counts: &Value, reason: &str| counts[reason]["packets"].as_u64().unwrap();
    let interfaces = data_path["interfaces"].as_array().unwrap();
    let of = |name: &str| {
        let named = interfaces
            .iter()
            .find(|interface| interface["name"] == name);
        named.unwrap_or_else(|| panic!("no {name}: {data_path}"))
    };
    let core = of("core0");
    assert_eq!(core["mode"], "native");
    assert_eq!(core["port"], core["index"]);
    // It came in from the other router; what left the buffer came in nowhere.
    let held = packets(&core["reasons"], "held");
    assert!(held >= waiting);
    assert_eq!(packets(&of("acc0")["reasons"], "held"), 0);
    let released = packets(&data_path["elsewhere"], "released");
    assert_eq!(released, buffer["released"].as_u64().unwrap());
    for reason in ["held", "released", "delivered", "pass-no-binding"] {
        let sum: u64 = (interfaces.iter().map(|interface| &interface["reasons"]))
            .chain([&data_path["elsewhere"]])
            .map(|counts| packets(counts, reason))
            .sum();
        assert_eq!(packets(&data_path["reasons"], reason), sum, "{reason}");
    }
    let text = String::from_utf8(show(fmip_ctl, nar, "datapath").unwrap().stdout).unwrap();
    assert!(text.contains("\ncore0 (index "), "{text}");
    assert!(!text.contains("drop-pool-full"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    let all = show(fmip_ctl, nar, "datapath --all").unwrap();
    assert!(
        String::from_utf8(all.stdout)
            .unwrap()
            .contains("drop-pool-full")
    );

    // Somebody whom nobody has heard of.
    let mut command = Command::new(fmip_ctl);
    command.arg("--socket").arg(nar.socket());
    let output = command
        .args(["show", "buffers", "--address"])
        .arg(NAR.to_string())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!("fmip-ctl: error: there is no handover buffer for {NAR}\n")
    );
}
