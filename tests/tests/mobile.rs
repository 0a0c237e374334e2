//! The mobile node as a program: how it finds out where it is, what it does with the addresses of its
//! interface, what it tells Mobile IPv6 and hears from it, and that it leaves the host as it found it.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use fmip_tests::{
    AccessPoint, Lab, Router,
    controller::{Controller, Role, Settings},
    netns::NetNs,
    scenario::stage::{Harm, Stage, check},
    testing,
    topology::{NAR, PAR, PCOA, WLAN},
    wait::SOON,
    wait_until,
};
use rustix::process::Signal;
use serde_json::{Value, json};

const NCOA: Ipv6Addr = Router::New.care_of_address();

/// Plays with the controllers, and tells all that is known if it goes wrong.
/// No test here is about a router's time that passes.
fn settings() -> Settings {
    testing::settings().patient()
}

fn play(settings: Settings, play: impl FnOnce(&mut Stage) -> Result<()>) {
    let Some(_turn) = testing::shared_turn() else {
        return;
    };
    let mut stage = Stage::set(settings, false).unwrap();
    if let Err(error) = play(&mut stage) {
        panic!("{error:#}\n{}", stage.account());
    }
}

/// A prepared handover to the new router, with traffic, up to where everything that was held has left.
fn hand_over(stage: &Stage) -> Result<()> {
    stage.prepare(AccessPoint::New)?;
    stage.leave()?;
    stage.arrive(AccessPoint::New)?;
    stage.nar.wait_for("buffer-drained", SOON)?;
    stage.mn_says("buffer-drained")?;
    stage.flows()
}

/// As [`hand_over`], to the end of the traffic: nothing is lost, and nothing out of its order.
fn hand_over_unharmed(mut stage: Stage) {
    let played = hand_over(&stage).and_then(|()| {
        let run = stage.close()?;
        check("downlink", &run.downlink, Harm::None)?;
        check("uplink", &run.uplink, Harm::None)
    });
    if let Err(error) = played {
        panic!("{error:#}\n{}", stage.account());
    }
}

fn fmip_ctl(settings: &Settings, of: &Controller, arguments: &str) -> Result<Output> {
    let mut command = Command::new(&settings.fmip_ctl);
    command.arg("--socket").arg(of.socket());
    Ok(command.args(arguments.split(' ')).output()?)
}

fn show_mobile(settings: &Settings, of: &Controller) -> Result<Value> {
    let output = fmip_ctl(settings, of, "show mobile --json")?;
    ensure!(output.status.success(), "show mobile: {output:?}");
    serde_json::from_slice(&output.stdout).context("this is no JSON")
}

/// The global addresses of the mobile node's interface, as `ip` has them.
fn addresses(mn: &NetNs) -> Result<Vec<Value>> {
    let links = mn.ip_json(&format!("-6 address show dev {WLAN} scope global"))?;
    let links = links.as_array().cloned().unwrap_or_default();
    Ok(links
        .iter()
        .flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default())
        .filter(|entry| entry["local"].is_string())
        .collect())
}

fn address(mn: &NetNs, address: Ipv6Addr) -> Result<Option<Value>> {
    let mut all = addresses(mn)?.into_iter();
    Ok(all.find(|entry| entry["local"] == json!(address)))
}

/// What of the host's network configuration a program could change: addresses, routes, rules,
/// neighbors that stay, address labels, the interface's switches, the programs on all interfaces and what
/// those hang on; without what changes by itself.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    tables: BTreeSet<String>,
    switches: BTreeSet<(String, String)>,
}

impl Host {
    fn of(mn: &NetNs) -> Result<Self> {
        const VOLATILE: [&str; 4] = [
            "expires",
            "valid_life_time",
            "preferred_life_time",
            "operstate",
        ];
        let mut tables = BTreeSet::new();
        let mut links = Vec::new();
        for arguments in [
            "-6 address show",
            "-6 route show table all",
            "-6 rule show",
            "-6 neigh show nud permanent",
            "-6 neigh show proxy",
            "-details link show",
        ] {
            let list = mn.ip_json(arguments)?;
            for entry in list.as_array().into_iter().flatten() {
                let entries = match entry["addr_info"].as_array() {
                    Some(addresses) => addresses.clone(),
                    None => vec![entry.clone()],
                };
                for mut entry in entries {
                    if arguments.contains("link") {
                        links.extend(entry["ifname"].as_str().map(str::to_owned));
                        let xdp = &entry["xdp"]["prog"]["name"];
                        entry = json!([entry["ifname"], entry["mtu"], entry["address"], xdp]);
                    }
                    let Some(fields) = entry.as_object_mut() else {
                        tables.insert(format!("{arguments}: {entry}"));
                        continue;
                    };
                    // Whether it runs out, and whether anything may begin from it, is no detail.
                    for (name, what) in [("valid_life_time", "valid"), ("preferred_life_time", "")]
                    {
                        let left = fields.get(name).and_then(Value::as_u64);
                        let kind = match left {
                            None => "none",
                            Some(0) => "over",
                            Some(left) if left >= u64::from(u32::MAX) - 1 => "forever",
                            Some(_) => "some",
                        };
                        fields.insert(format!("{what} kind of life"), kind.into());
                    }
                    fields.retain(|name, _| !VOLATILE.contains(&name.as_str()));
                    // Of a link without a carrier, for a moment.
                    fields
                        .remove("flags")
                        .filter(|_| arguments.contains("route"));
                    tables.insert(format!("{arguments}: {entry}"));
                }
            }
        }
        // The kernel numbers them anew; what they are for stays.
        for line in mn.ip("addrlabel list")?.lines() {
            tables.insert(format!("label: {}", line.trim()));
        }
        for link in links {
            mn.run(|| {
                for of in ["qdisc", "ingress", "egress"] {
                    let mut command = Command::new("tc");
                    match of {
                        "qdisc" => command.args(["qdisc", "show", "dev", &link]),
                        side => command.args(["filter", "show", "dev", &link, side]),
                    };
                    let output = command.output()?;
                    for line in String::from_utf8_lossy(&output.stdout).lines() {
                        tables.insert(format!("{of} of {link}: {}", line.trim()));
                    }
                }
                for side in [TcAttachType::Ingress, TcAttachType::Egress] {
                    // Below Linux 6.6 all of them are filters.
                    let Ok((_, programs)) = SchedClassifier::query_tcx(&link, side) else {
                        continue;
                    };
                    for program in programs {
                        let name = program.name_as_str().unwrap_or_default().to_owned();
                        tables.insert(format!("program on {link}, {side:?}: {name}"));
                    }
                }
                Ok(())
            })?;
        }
        let directory = format!("/proc/sys/net/ipv6/conf/{WLAN}");
        let switches = mn.run(|| {
            let mut switches = BTreeSet::new();
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                // A secret that cannot be read before it is set.
                if let Ok(value) = fs::read_to_string(&path) {
                    switches.insert((name, value.trim().to_owned()));
                }
            }
            Ok(switches)
        })?;
        Ok(Self { tables, switches })
    }

    /// Tells what is another than it was.
    fn check_same(&self, before: &Self, state: &str) -> Result<()> {
        let more: Vec<_> = self.tables.difference(&before.tables).collect();
        let less: Vec<_> = before.tables.difference(&self.tables).collect();
        ensure!(
            more.is_empty() && less.is_empty(),
            "{state}: the host is left with\n{more:#?}\nand without\n{less:#?}"
        );
        let switches: Vec<_> = self
            .switches
            .symmetric_difference(&before.switches)
            .collect();
        ensure!(switches.is_empty(), "{state}: other switches: {switches:?}");
        Ok(())
    }
}

/// Sends a signal to the mobile node's controller and waits until it has ended well.
fn end(stage: &mut Stage, signal: Signal) -> Result<()> {
    let process = &mut stage.controllers.mn.process;
    process.signal(signal)?;
    let status = process.wait(SOON)?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// Where the mobile node's packets to the correspondent begin, by the kernel's choice.
fn begins_from(mn: &NetNs) -> Result<Value> {
    let route = mn.ip_json("-6 route get 2001:db8:c::2")?;
    Ok(route[0]["prefsrc"].clone())
}

/// Waits until nothing begins from the new address, but from the old one. An advertisement that comes while the
/// kernel still checks an address makes that one that anything may begin from, and the kernel tells nobody before
/// the check is over.
fn is_held_back(mn: &NetNs) -> Result<()> {
    wait_until("the new address to be held back", SOON, || {
        let new = address(mn, NCOA)?.context("the new address is not there")?;
        let is_held_back = new["deprecated"] == true && begins_from(mn)? == json!(PCOA);
        Ok(is_held_back.then_some(()))
    })
}

#[test]
fn a_node_that_is_not_told_where_it_is_waits_until_it_knows_and_is_handed_over() {
    let Some(_turn) = testing::shared_turn() else {
        return;
    };
    let mut settings = settings();
    settings.finds_its_place = true;
    let lab = Lab::build().unwrap();
    // The routers advertise again and again, and what they say would give the address back.
    let hear_routers = |so: bool| {
        let key = format!("ipv6/conf/{WLAN}/accept_ra");
        lab.mn.sysctl(&key, so.into()).unwrap();
    };
    hear_routers(false);
    lab.mn
        .ip(&format!("-6 address flush dev {WLAN} scope global"))
        .unwrap();
    let mut mn = Controller::start(&lab, Role::MobileNode, &settings).unwrap();
    wait_until("it to say what it waits for", SOON, || {
        mn.process.check_running()?;
        let said = mn.process.output();
        let waits = said.contains("waiting for one") && said.contains("it has no global address");
        Ok(waits.then_some(()))
    })
    .unwrap();
    // Whoever has enough of waiting can say so.
    mn.process.signal(Signal::TERM).unwrap();
    assert!(mn.process.wait(SOON).unwrap().success());

    settings
        .mobile_node
        .insert("start-timeout-s".to_owned(), 0.into());
    let mut mn = Controller::start(&lab, Role::MobileNode, &settings).unwrap();
    assert!(!mn.process.wait(SOON).unwrap().success());
    let said = mn.process.output();
    assert!(
        said.contains("has no address in a prefix of a router that there is a key for")
            && said.contains(Router::New.prefix()),
        "{said}"
    );
    drop(mn);

    settings.mobile_node.remove("start-timeout-s");
    let mut mn = Controller::start(&lab, Role::MobileNode, &settings).unwrap();
    wait_until("it to wait", SOON, || {
        Ok(mn
            .process
            .output()
            .contains("waiting for one")
            .then_some(()))
    })
    .unwrap();
    hear_routers(true);
    lab.solicit_routers().unwrap();
    mn.wait_ready().unwrap();
    let state = show_mobile(&settings, &mn).unwrap();
    assert_eq!(state["care_of"], json!(PCOA), "{state}");
    assert_eq!(state["router"], json!(PAR), "{state}");
    assert_eq!(state["addresses"][0]["role"], "other", "{state}");
    drop(mn);
    drop(lab);

    hand_over_unharmed(Stage::set(settings, false).unwrap());
}

#[test]
fn a_file_of_another_role_is_refused_in_words() {
    let directory = std::env::temp_dir().join(format!("fmip-mobile-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let file = directory.join("router.toml");
    let settings = settings();
    let (_, text) = settings.files().swap_remove(0);
    fs::write(&file, text).unwrap();
    let mut command = Command::new(&settings.fmip_ctl);
    let output = command.args(["mobile", "--config"]).arg(&file).output();
    fs::remove_dir_all(&directory).unwrap();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(
            "role is \"access-router\", and this is for a mobile node: `fmip-ctl run` takes any role"
        ),
        "{said}"
    );
}

// Rows: UNA-05, TUN-07
#[test]
fn an_address_that_another_node_has_is_given_up_for_another() {
    play(settings(), |stage| {
        let _other = stage.lab.add_node(AccessPoint::New, NCOA)?;
        stage.prepare(AccessPoint::New)?;
        stage.leave()?;
        stage.arrive(AccessPoint::New)?;
        let failed = stage.mn_says("command-failed")?;
        ensure!(
            failed.fields["command"] == "configure-address",
            "{failed:?}"
        );
        let told = stage.mn.count("care-of-address");
        wait_until("another care-of address", SOON, || {
            let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
            let care_of: Ipv6Addr = serde_json::from_value(state["care_of"].clone())?;
            let another = care_of != NCOA && care_of != PCOA && state["settled"] == true;
            Ok(another.then_some(care_of))
        })?;
        ensure!(told > 0, "nobody was told of the first one");
        ensure!(
            address(&stage.lab.mn, NCOA)?.is_none(),
            "the node still has the other's address"
        );
        // Which of the router's advertisements tells it the prefix is all the same.
        let announced = format!("mn: UNA {NCOA}");
        stage.story.check_order(&[&announced, "mn: RS"])?;
        stage
            .story
            .check_order(&[&announced, "mn: FBU", "par: HI 1", "nar: HAck 0"])?;
        stage.flows()
    });
}

// Rows: TUN-07, UNA-05
#[test]
fn an_address_that_the_kernel_makes_first_is_held_back_and_watched_like_one_of_ours() {
    play(settings(), |stage| {
        // Nothing is known of the new link before the advertisement there, and that tells the kernel first.
        stage.leave()?;
        stage.arrive(AccessPoint::New)?;
        stage.mn_says("care-of-address")?;
        stage.flows()?;
        let mn = &stage.lab.mn;
        let entry = || address(mn, NCOA)?.context("the address is not there");
        is_held_back(mn)?;
        let new = entry()?;
        ensure!(
            new["tentative"] != true || new["optimistic"] == true,
            "{new}"
        );
        wait_until("the last word", SOON, || {
            let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
            Ok(state["announcing"].is_null().then_some(()))
        })?;
        // The next advertisement makes no other of it. When a second one is heard, the kernel is done with the
        // first.
        for _ in 0..2 {
            let heard = || -> Result<u64> {
                let status = stage.controllers.mn.status()?;
                let count = |name| status["signalling"][name].as_u64().unwrap_or(0);
                Ok(count("received-ra") + count("received-other-advertisement"))
            };
            let before = heard()?;
            stage.lab.solicit_routers()?;
            wait_until("an advertisement", SOON, || {
                Ok((heard()? > before).then_some(()))
            })?;
        }
        is_held_back(mn)?;
        let taken = fmip_ctl(
            &stage.settings,
            &stage.controllers.mn,
            &format!("registered --care-of {NCOA}"),
        )?;
        ensure!(taken.status.success(), "{taken:?}");
        wait_until("the address to be the kernel's again", SOON, || {
            let now = entry()?;
            let is_given_back = now["deprecated"] != true && now["dynamic"] == true;
            Ok(is_given_back.then_some(()))
        })?;
        end(stage, Signal::TERM)?;
        let left = address(&stage.lab.mn, NCOA)?.context("the kernel's address is gone")?;
        ensure!(
            left["deprecated"] != true && left["mngtmpaddr"] == true,
            "{left}"
        );
        Ok(())
    });
}

// Rows: UNA-10
#[test]
fn the_last_word_comes_when_the_kernel_has_checked_the_address() {
    // RFC 4862 section 5.4.2: silence is consent by then, however late the kernel says so.
    const CONSENT: Duration = Duration::from_secs(2);
    play(settings(), |stage| {
        let began = Instant::now();
        hand_over(stage)?;
        let flags = |what: &str| -> Result<bool> {
            let entry = address(&stage.lab.mn, NCOA)?.context("the address is not there")?;
            Ok(entry[what] == true)
        };
        wait_until("the check to be over", SOON, || {
            let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
            let announces = state["announcing"]["address"] == json!(NCOA);
            // Looked at behind that: what is not over now was not over then.
            let is_over = !flags("optimistic")? && !flags("tentative")?;
            ensure!(
                is_over || announces || began.elapsed() >= CONSENT,
                "it has said its last word before the address was checked: {state}"
            );
            Ok(is_over.then_some(()))
        })?;
        wait_until("the last word", SOON, || {
            let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
            Ok(state["announcing"].is_null().then_some(()))
        })
    });
}

// Rows: RTS-09
#[test]
fn a_router_that_starts_after_the_node_is_found_and_hands_over() {
    let mut settings = settings();
    // The node gives up asking, which is waited for.
    settings.timers.remove("rtsolpr-retries");
    settings
        .mobile_node
        .insert("silent-router-interval-s".to_owned(), 1.into());
    play(settings, |stage| {
        // The node is there first.
        for process in [
            &mut stage.controllers.mn.process,
            &mut stage.controllers.par.process,
        ] {
            process.signal(Signal::TERM)?;
            let status = process.wait(SOON)?;
            ensure!(status.success(), "it ended with {status}");
        }
        stage.controllers.mn = Controller::start(&stage.lab, Role::MobileNode, &stage.settings)?;
        stage.controllers.mn.wait_ready()?;
        stage.mn = stage.controllers.mn.subscribe()?;
        stage.controllers.mn.trigger("impend", AccessPoint::New)?;
        let reason = stage.mn_gives_up()?;
        ensure!(reason == "no-prrtadv", "{reason}");
        let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
        let asked_in_s = &state["silent_router"]["asked_in_s"];
        ensure!(asked_in_s.is_f64(), "{state}");
        let output = fmip_ctl(&stage.settings, &stage.controllers.mn, "show mobile")?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(text.contains("the router did not answer"), "{text}");

        let role = Role::Router(Router::Previous);
        stage.controllers.par = Controller::start(&stage.lab, role, &stage.settings)?;
        stage.controllers.par.wait_ready()?;
        stage.par = stage.controllers.par.subscribe()?;
        wait_until("the router to be found", SOON, || {
            let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
            Ok(state["silent_router"].is_null().then_some(()))
        })?;
        // That of the first attempt is no answer to the next.
        stage.mn = stage.controllers.mn.subscribe()?;
        hand_over(stage)?;
        stage
            .story
            .check_order(&["mn: FBU", "par: HI 0", "nar: HAck 0", "par: FBack 0"])
    });
}

/// A directory for what a program writes that the mobile node tells of a care-of address; it is removed however the
/// test ends.
struct Told(PathBuf);

impl Told {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn file(&self) -> PathBuf {
        self.0.join("told")
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Has the mobile node tell a shell script of a care-of address.
fn insert_hook(settings: &mut Settings, script: String, timeout_s: i64) {
    let command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
    let hook = toml::Table::from_iter([
        ("on-care-of-address".to_owned(), command.into()),
        ("timeout-s".to_owned(), timeout_s.into()),
    ]);
    settings
        .mobile_node
        .insert("mobile-ipv6".to_owned(), hook.into());
}

#[test]
fn what_mobile_ipv6_has_started_ends_with_a_program_that_takes_too_long() {
    let mut settings = settings();
    let told = Told::new("fmip-hook-child").unwrap();
    let file = told.file();
    let script = format!(
        "sleep 1000 & echo $! > {0}.part; mv {0}.part {0}; wait",
        file.display()
    );
    insert_hook(&mut settings, script, 5);
    play(settings, |stage| {
        hand_over(stage)?;
        let child = wait_until("the program to have run", SOON, || {
            Ok(fs::read_to_string(&file).ok())
        })?;
        // Gone, or a zombie that is about to be reaped.
        let stat = format!("/proc/{}/stat", child.trim());
        wait_until("what the program has started to end", SOON, || {
            let lives = fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
            Ok((!lives).then_some(()))
        })?;
        wait_until("that to be counted", SOON, || {
            let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
            let is_counted = state["counters"]["on-care-of-address-timed-out"] == 1;
            Ok(is_counted.then_some(()))
        })
    });
}

// Rows: TUN-07, MOV-02
#[test]
fn mobile_ipv6_is_told_and_says_when_the_tunnel_can_end() {
    let mut settings = settings();
    let told = Told::new("fmip-hook").unwrap();
    let file = told.file();
    // It does not compete with the controller that waits for it.
    let script = format!(
        "while [ $(nice) -lt 0 ]; do sleep 0.01; done; \
         env | grep ^FMIP_ | grep -Ev '^FMIP_(CTL|LOG|EMULATED)=' | sort > {0}.part; mv {0}.part {0}",
        file.display()
    );
    insert_hook(&mut settings, script, 30);
    play(settings, |stage| registered(stage, &file));
}

fn registered(stage: &mut Stage, file: &Path) -> Result<()> {
    hand_over(stage)?;
    let told = stage.mn_says("care-of-address")?;
    for (name, value) in [
        ("care_of", json!(NCOA)),
        ("previous", json!(PCOA)),
        ("router", json!(NAR)),
        ("prefix_length", json!(64)),
        ("fast", json!(true)),
    ] {
        ensure!(told.fields[name] == value, "{name}: {told:?}");
    }
    let told = wait_until("the program to have run", SOON, || {
        Ok(fs::read_to_string(file).ok())
    })?;
    let socket = stage.controllers.mn.socket().display();
    ensure!(
        told == format!(
            "FMIP_CARE_OF_ADDRESS={NCOA}\nFMIP_CONTROL_SOCKET={socket}\nFMIP_FAST=1\n\
             FMIP_INTERFACE={WLAN}\nFMIP_PREFIX_LENGTH=64\nFMIP_PREVIOUS_ADDRESS={PCOA}\n\
             FMIP_ROUTER={NAR}\n"
        ),
        "{told}"
    );
    // The old address is kept for its tunnel, and nothing begins from the new one yet.
    let mn = &stage.lab.mn;
    let old = address(mn, PCOA)?.context("the old address is gone")?;
    ensure!(
        old["deprecated"] == true && old["valid_life_time"].as_u64() > Some(1 << 31),
        "{old}"
    );
    is_held_back(mn)?;

    // What Mobile IPv6 does now: the correspondent hears of the new address.
    stage.streams().follow_new_address(&stage.lab, SOON)?;
    // Nothing is on its way to the old address any more, which the end of the tunnel would lose.
    stage.flows()?;
    let (settings, controller) = (&stage.settings, &stage.controllers.mn);
    let refused = fmip_ctl(
        settings,
        controller,
        &format!("registered --care-of {PCOA}"),
    )?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains("was the care-of address before"),
        "{said}"
    );
    let taken = fmip_ctl(
        settings,
        controller,
        &format!("registered --care-of {NCOA}"),
    )?;
    ensure!(taken.status.success(), "{taken:?}");
    let removed = stage.par.wait_for("tunnel-removed", SOON)?;
    ensure!(removed.fields["reason"] == "ended", "{removed:?}");
    stage.story.wait_for("mn", "FBU to end")?;
    wait_until("packets to begin from the new address", SOON, || {
        Ok((begins_from(mn)? == json!(NCOA)).then_some(()))
    })?;
    let ended = stage.mn_says("tunnel-removed")?;
    ensure!(ended.fields["reason"] == "ended", "{ended:?}");
    wait_until("the old address to go", SOON, || {
        Ok(address(&stage.lab.mn, PCOA)?.is_none().then_some(()))
    })?;
    let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
    ensure!(
        state["registered"] == true && state["previous"] == json!([]),
        "{state}"
    );
    let counted = &state["counters"];
    ensure!(
        counted["on-care-of-address-started"] == 1
            && counted["on-care-of-address-failed"].is_null(),
        "{counted}"
    );
    let run = stage.close()?;
    for (name, direction) in [("downlink", &run.downlink), ("uplink", &run.uplink)] {
        ensure!(direction.lost == 0, "{name}: {} lost", direction.lost);
        ensure!(
            direction.duplicated == 0,
            "{name}: {} doubled",
            direction.duplicated
        );
    }
    Ok(())
}

#[test]
fn without_anybody_who_registers_the_new_address_is_used_when_the_tunnel_has_ended() {
    let mut settings = settings();
    // Longer than the move takes on a busy machine.
    settings.lifetime_s = 6;
    play(settings, |stage| {
        hand_over(stage)?;
        let ended = stage.mn_says("tunnel-removed")?;
        ensure!(ended.fields["reason"] == "expired", "{ended:?}");
        wait_until("the new address to be used", SOON, || {
            let mn = &stage.lab.mn;
            let new = address(mn, NCOA)?.context("the new address is not there")?;
            let old = address(mn, PCOA)?;
            Ok((new["deprecated"] != true && old.is_none()).then_some(()))
        })
    });
}

#[test]
fn back_on_its_link_the_old_address_has_what_it_had() {
    play(settings(), |stage| {
        let before = address(&stage.lab.mn, PCOA)?.context("the address is not there")?;
        hand_over(stage)?;
        // The last that is done of a move, behind the release of what was held.
        wait_until("the old address to be held back", SOON, || {
            let kept = address(&stage.lab.mn, PCOA)?.context("the address is gone")?;
            Ok((kept["deprecated"] == true).then_some(()))
        })?;
        stage.leave()?;
        stage.arrive(AccessPoint::Previous)?;
        has_but(&stage.lab.mn, PCOA, NCOA, "2001:db8:2::/64")?;
        let marks = ["dynamic", "mngtmpaddr", "noprefixroute"];
        has_marks_of(&stage.lab.mn, &before, &marks)?;
        let now = address(&stage.lab.mn, PCOA)?.context("the address is gone")?;
        for life in ["valid_life_time", "preferred_life_time"] {
            // Advertised anew meanwhile, it has as much as it ever had, and never more.
            let (now, before) = (now[life].as_u64(), before[life].as_u64());
            ensure!(
                now > Some(0) && now <= Some(86_400),
                "{life}: {before:?}, {now:?}"
            );
        }
        stage.flows()
    });
}

/// The routes to a prefix on the mobile node's link, as an advertisement makes one.
fn on_link(mn: &NetNs, prefix: &str) -> Result<Vec<Value>> {
    let routes = mn.ip_json(&format!("-6 route show {prefix} dev {WLAN}"))?;
    Ok(routes.as_array().cloned().unwrap_or_default())
}

/// Waits until the mobile node has one of its two addresses, which something may begin from, and not the
/// other, nor a way to the other's link but through a router.
fn has_but(mn: &NetNs, here: Ipv6Addr, left: Ipv6Addr, prefix: &str) -> Result<()> {
    wait_until("one address, and the other gone", SOON, || {
        let is_used = address(mn, here)?.is_some_and(|of| of["deprecated"] != true);
        let is_gone = address(mn, left)?.is_none() && on_link(mn, prefix)?.is_empty();
        Ok((is_used && is_gone).then_some(()))
    })
    .with_context(|| format!("{:#?}", addresses(mn)))
}

/// Waits until the old address has those marks again that it had.
fn has_marks_of(mn: &NetNs, before: &Value, marks: &[&str]) -> Result<()> {
    wait_until("the address to be as it was", SOON, || {
        let now = address(mn, PCOA)?.context("the address is gone")?;
        Ok(marks.iter().all(|of| now[of] == before[of]).then_some(()))
    })
    .with_context(|| format!("it was {before:#}; there are {:#?}", addresses(mn)))
}

// Rows: W11-15, MOV-01
#[test]
fn after_a_fall_back_the_old_address_is_gone_and_back_on_its_link_it_is_what_it_was() {
    let mut settings = settings();
    // No router believes its FBU.
    settings.mobile_node_key = "ab".repeat(16);
    play(settings, |stage| {
        let (old, new) = ("2001:db8:1::/64", "2001:db8:2::/64");
        let before = address(&stage.lab.mn, PCOA)?.context("the address is not there")?;
        ensure!(
            !on_link(&stage.lab.mn, old)?.is_empty(),
            "it is on its link"
        );
        stage.leave()?;
        stage.arrive(AccessPoint::New)?;
        let why = stage.mn_gives_up()?;
        ensure!(why == "no-fback", "{why}");
        stage.mn.wait_for_another("fell-back", 0)?;
        has_but(&stage.lab.mn, NCOA, PCOA, old)?;
        stage.leave()?;
        stage.arrive(AccessPoint::Previous)?;
        has_but(&stage.lab.mn, PCOA, NCOA, new)?;
        stage.flows()?;
        // Nothing of it is ours any more, and so it stays.
        let marks = ["dynamic", "mngtmpaddr", "noprefixroute", "optimistic"];
        has_marks_of(&stage.lab.mn, &before, &marks)?;
        end(stage, Signal::TERM)?;
        let left = address(&stage.lab.mn, PCOA)?.context("the address is gone")?;
        ensure!(left["deprecated"] != true, "{left}");
        Ok(())
    });
}

/// The kernel's own router discovery stops, so that what changes is what the program changes.
fn freeze_host(stage: &Stage) -> Result<Host> {
    stage
        .lab
        .mn
        .sysctl(&format!("ipv6/conf/{WLAN}/accept_ra"), 0)?;
    // What nobody advertises any more would end half a minute after the last advertisement.
    let of = format!("default dev {WLAN} proto ra");
    let routes = stage.lab.mn.ip_json(&format!("-6 route show {of}"))?;
    let mut gateways = routes.as_array().into_iter().flatten();
    let gateway = gateways.find_map(|route| route["gateway"].as_str());
    let gateway = gateway.with_context(|| format!("no router was heard: {routes}"))?;
    let route = format!("-6 route replace {of} via {gateway} metric 1024 expires 86400");
    stage.lab.mn.ip(&route)?;
    for (router, link_address) in [(PAR, "02:00:00:00:0a:ff"), (NAR, "02:00:00:00:0b:ff")] {
        // What people say of the routers, which is not so any more.
        let entry = format!("{router} lladdr {link_address} dev {WLAN} nud permanent");
        stage.lab.mn.ip(&format!("-6 neigh replace {entry}"))?;
    }
    Host::of(&stage.lab.mn)
}

/// Where the mobile node is when it is told to end.
type State = (&'static str, fn(&Stage) -> Result<()>);

const STATES: [State; 4] = [
    ("at the start", |_| Ok(())),
    ("prepared", |stage| stage.prepare(AccessPoint::New)),
    ("half-way", |stage| {
        stage.prepare(AccessPoint::New)?;
        stage.leave()
    }),
    ("at the new router, with its tunnel", hand_over),
];

/// Ends the mobile node's controller in one of the states, and compares the host with what it was
/// before the controller started.
fn leaves_no_trace(state: State, signal: Signal) {
    let Some(_turn) = testing::shared_turn() else {
        return;
    };
    let stage = Stage::set(settings(), false).unwrap();
    check_no_trace(stage, state, signal);
}

fn check_no_trace(mut stage: Stage, (name, reach): State, signal: Signal) {
    let result = (|| {
        // Before its start, not while it runs.
        end(&mut stage, Signal::TERM)?;
        let before = freeze_host(&stage)?;
        stage.controllers.mn = Controller::start(&stage.lab, Role::MobileNode, &stage.settings)?;
        stage.controllers.mn.wait_ready()?;
        stage.mn = stage.controllers.mn.subscribe()?;
        reach(&stage).with_context(|| format!("cannot be {name}"))?;
        let during = Host::of(&stage.lab.mn)?;
        ensure!(
            during.tables != before.tables,
            "{name}: it has changed nothing"
        );
        end(&mut stage, signal)?;
        Host::of(&stage.lab.mn)?.check_same(&before, name)
    })();
    if let Err(error) = result {
        panic!("{error:#}\n{}", stage.account());
    }
}

#[test]
fn the_host_is_left_as_it_was_found_at_the_start() {
    leaves_no_trace(STATES[0], Signal::TERM);
}

#[test]
fn the_host_is_left_as_it_was_found_when_all_is_prepared() {
    leaves_no_trace(STATES[1], Signal::INT);
}

#[test]
fn the_host_is_left_as_it_was_found_half_way() {
    leaves_no_trace(STATES[2], Signal::TERM);
}

#[test]
fn the_host_is_left_as_it_was_found_at_the_new_router() {
    leaves_no_trace(STATES[3], Signal::TERM);
}

#[test]
fn the_host_is_left_as_it_was_found_at_the_new_router_after_ctrl_c() {
    leaves_no_trace(STATES[3], Signal::INT);
}

/// A node whose interface is no veth, but a bridge with the wire as its port.
#[test]
fn the_host_is_left_as_it_was_found_with_a_bridge_as_its_interface() {
    let Some(_turn) = testing::shared_turn() else {
        return;
    };
    let mut lab = Lab::build().unwrap();
    lab.make_mobile_node_plain().unwrap();
    let stage = Stage::in_lab(lab, settings()).unwrap();
    check_no_trace(stage, STATES[3], Signal::TERM);
}

/// As such a node, between the same two networks with traffic: it loses nothing, and keeps the order.
#[test]
fn a_bridge_as_its_interface_keeps_the_order_of_what_was_held() {
    let Some(_turn) = testing::shared_turn() else {
        return;
    };
    let mut lab = Lab::build().unwrap();
    lab.make_mobile_node_plain().unwrap();
    hand_over_unharmed(Stage::in_lab(lab, settings()).unwrap());
}

#[test]
fn what_a_killed_node_left_is_gone_after_the_next_start_which_finds_the_new_place() {
    let mut settings = settings();
    settings.finds_its_place = true;
    play(settings, |stage| {
        hand_over(stage)?;
        let process = &mut stage.controllers.mn.process;
        process.signal(Signal::KILL)?;
        process.wait(SOON)?;
        // It could not say good-bye.
        let mn = &stage.lab.mn;
        ensure!(address(mn, PCOA)?.is_some() && address(mn, NCOA)?.is_some());
        ensure!(mn.ip("addrlabel list")?.contains("label 1179470160"));
        ensure!(!mn.ip("-6 route show proto 55")?.is_empty());

        let started = Controller::start(&stage.lab, Role::MobileNode, &stage.settings)?;
        stage.controllers.mn = started;
        stage.lab.solicit_routers()?;
        stage.controllers.mn.wait_ready()?;
        let state = show_mobile(&stage.settings, &stage.controllers.mn)?;
        ensure!(
            state["care_of"] == json!(NCOA) && state["router"] == json!(NAR),
            "{state}"
        );
        let mn = &stage.lab.mn;
        ensure!(
            address(mn, PCOA)?.is_none(),
            "the old address is still there"
        );
        ensure!(!mn.ip("addrlabel list")?.contains("label 1179470160"));
        end(stage, Signal::TERM)?;
        ensure!(stage.lab.mn.ip("-6 route show proto 55")?.is_empty());
        let new =
            address(&stage.lab.mn, NCOA)?.context("the address of the kernel's own is gone")?;
        ensure!(new["deprecated"] != true, "{new}");
        Ok(())
    });
}

#[test]
fn a_node_is_shown_on_its_way_and_a_router_is_none() {
    play(settings(), |stage| {
        let (settings, controllers) = (&stage.settings, &stage.controllers);
        stage.prepare(AccessPoint::New)?;
        let state = show_mobile(settings, &controllers.mn)?;
        ensure!(state["handover"]["state"] == "switching", "{state}");
        ensure!(
            state["handover"]["target"] == AccessPoint::New.id(),
            "{state}"
        );
        ensure!(
            state["access_point"] == AccessPoint::Previous.id(),
            "{state}"
        );
        let known = &state["access_points"][0];
        ensure!(
            known["access_point"] == AccessPoint::New.id()
                && known["router"] == json!(NAR)
                && known["ncoa"] == json!(NCOA),
            "{known}"
        );
        stage.leave()?;
        ensure!(show_mobile(settings, &controllers.mn)?["link_up"] == false);
        stage.arrive(AccessPoint::New)?;
        stage.mn_says("buffer-drained")?;
        let state = show_mobile(settings, &controllers.mn)?;
        ensure!(
            state["link_up"] == true && state["care_of"] == json!(NCOA),
            "{state}"
        );
        let previous = &state["previous"][0];
        ensure!(
            previous["tunnel"] == json!({"local": NCOA, "remote": PAR})
                && previous["ending"] == false,
            "{previous}"
        );
        let roles: BTreeSet<_> = (state["addresses"].as_array().into_iter().flatten())
            .map(|of| format!("{} {}", of["address"].as_str().unwrap_or(""), of["role"]))
            .collect();
        let expected = [format!("{PCOA} \"kept\""), format!("{NCOA} \"care-of\"")];
        ensure!(roles == expected.into(), "{state}");
        let output = fmip_ctl(settings, &controllers.mn, "show mobile")?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            text.contains(&format!("care-of address: {NCOA}"))
                && text.contains("link layer: told by the control socket")
                && text.lines().all(|line| line.len() <= 100),
            "{text}"
        );
        let refused = fmip_ctl(settings, &controllers.par, "show mobile")?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(
            said.contains("is for a mobile node; this is an access router"),
            "{said}"
        );
        let refused = fmip_ctl(
            settings,
            &controllers.par,
            &format!("registered --care-of {NCOA}"),
        )?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(said.contains("`registered` is for a mobile node"), "{said}");
        Ok(())
    });
}
