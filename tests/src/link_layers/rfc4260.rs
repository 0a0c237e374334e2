//! The scenarios of RFC 4260 section 7. Their names are their order: the numbers are the steps of an
//! 802.11 handover (section 4), the letters those of FMIPv6 (section 5).
//!
//! The text is of RFC 4068. Where it has an FNA, RFC 5568 has a UNA; and the FBU that the FNA would have
//! had inside follows the UNA. So in the reactive scenarios `g` comes before `cdef`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{
    order::{Is, Step, check, check_sequence, never, never_after, not_before},
    stage::{LOSSY_HANDSHAKE_MS, NEAR, SCAN_MIN_INTERVAL, Scene, Setup, Wifi},
};
use crate::{
    emulated::ieee80211::Step as Step80211,
    ladder::Place::{self, MnL2, MnL3, Nar, NewAp, Par},
    report::Run,
    scenario::stage::{self, Harm},
    topology::{AccessPoint, Network, Router},
    wait::{SOON, elapse, wait_until},
};

/// What shows each step of a handover from the PAR to the NAR.
const STEPS: &[Step<'static>] = &[
    step("1", &[Is::what("scan").from(MnL2)]),
    step("a", &[Is::what("RtSolPr").from(MnL3).to(Par)]),
    step("b", &[Is::what("PrRtAdv").from(Par).to(MnL3)]),
    step("c", &[Is::what("FBU").from(MnL3).to(Par)]),
    step("d", &[Is::what("HI").from(Par).to(Nar)]),
    step("e", &[Is::what("HAck").from(Nar).to(Par)]),
    step("f", &[Is::what("FBack").from(Par).to(MnL3)]),
    step("2", &[Is::what("join").from(MnL2)]),
    step("3", &[Is::what("authenticate").from(MnL2).to(NewAp)]),
    step("4", &[Is::what("associate").from(MnL2).to(NewAp)]),
    step("5", &[Is::what("802.1X").from(MnL2).to(NewAp)]),
    step("6", &[Is::what("layer 2 update").from(NewAp).to(Nar)]),
    step("g", &[Is::what("UNA").from(MnL3).to(Nar)]),
];

const fn step<'a>(name: &'a str, shown_by: &'a [Is]) -> Step<'a> {
    Step { name, shown_by }
}

/// The new access point comes into reach only in the play.
pub(super) fn two_routers(setup: &mut Setup) {
    let mut wifi = Wifi::quick();
    wifi.absent = vec![AccessPoint::New];
    setup.use_802_11(wifi);
}

/// The node asks its router for all access points around at the beginning, which needs no scan; the
/// firmware decides when to move.
pub(super) fn told_before(setup: &mut Setup) {
    never_heard(setup);
    let node = &mut setup.settings.mobile_node;
    node.insert("neighborhood-interval-s".to_owned(), 60.into());
}

/// The new access point is there only when the firmware moves there.
pub(super) fn never_heard(setup: &mut Setup) {
    let mut wifi = Wifi::firmware();
    wifi.absent = vec![AccessPoint::New];
    setup.use_802_11(wifi);
}

/// RFC 4260 section 7.1.
pub(super) fn predictive(scene: &mut Scene) -> Result<Run> {
    scene.walk(AccessPoint::Previous, AccessPoint::New)?;
    let run = lossless(scene)?;
    check_sequence(&scene.ladder()?, "1abcdef23456g", STEPS)?;
    Ok(run)
}

/// RFC 4260 section 7.2: the firmware performs steps 1 to 4 without asking the host.
pub(super) fn reactive_known(scene: &mut Scene) -> Result<Run> {
    scene.begin_at_the_start();
    scene.knows(AccessPoint::New, "router")?;
    scene.firmware_moves(AccessPoint::New)?;
    let run = react(scene)?;
    // The host's own scans found nothing: the one meant is that of the firmware.
    let mut legend = STEPS.to_vec();
    let scan = [Is::what("scan").from(MnL2).again()];
    legend[0] = step("1", &scan);
    // RFC 4260 puts the FBU into the FNA; in RFC 5568 it follows the UNA.
    check_sequence(&scene.ladder()?, "ab123456gcdef", &legend)?;
    Ok(run)
}

/// As [`told_before`]; during a scan nothing is heard, as with a radio whose access point keeps nothing.
pub(super) fn deaf_scans(setup: &mut Setup) {
    told_before(setup);
    let wifi = setup.wifi.as_mut().expect("it has just been set");
    wifi.delays.deaf_scan = true;
    wifi.station.insert("choose-target".to_owned(), true.into());
}

/// RFC 4260 section 6: while the signal is good there is traffic and no scan, however long it takes; what
/// there is to know of other routers is asked for by wildcard, which needs none.
pub(super) fn quiet_radio(scene: &mut Scene) -> Result<Run> {
    /// So often could a station have scanned that scans whenever it may.
    const CHANCES: u32 = 10;
    scene.begin_at_the_start();
    scene.stage.story.wait_for("par", "PrRtAdv 0")?;
    // It has one when it starts, before which nobody knows how good the signal is.
    scene.air().wait_for_step(Step80211::Scan, 1)?;
    scene.restart_streams()?;
    let scans = |scene: &mut Scene| -> Result<usize> {
        let steps = scene.air().steps()?.into_iter();
        Ok(steps.filter(|step| step.step == Step80211::Scan).count())
    };
    let before = scans(scene)?;
    elapse(CHANCES * SCAN_MIN_INTERVAL)?;
    let scanned = scans(scene)? - before;
    let run = scene.close()?;
    ensure!(
        scanned == 0,
        "{scanned} scans beside traffic, with a good signal"
    );
    stage::check("downlink", &run.downlink, Harm::None)?;
    stage::check("uplink", &run.uplink, Harm::None)?;
    let ladder = scene.ladder()?;
    check(
        &ladder,
        &[
            step("a", &[Is::what("RtSolPr").from(MnL3).to(Par)]),
            step("b", &[Is::what("PrRtAdv 0").from(Par).to(MnL3)]),
        ],
    )?;
    Ok(run)
}

/// RFC 4260 section 7.3: nothing is known of the NAR, so that `ab` are a router solicitation and its
/// answer on the new link.
pub(super) fn reactive_unknown(scene: &mut Scene) -> Result<Run> {
    scene.firmware_moves(AccessPoint::New)?;
    let run = react(scene)?;
    let mut legend = STEPS.to_vec();
    let (solicitation, advertisement) = (
        [Is::what("RS").from(MnL3).to(Nar)],
        [Is::what("RA").from(Nar).to(MnL3)],
    );
    legend[1] = step("a", &solicitation);
    legend[2] = step("b", &advertisement);
    let ladder = scene.ladder()?;
    check_sequence(&ladder, "123456abcdef", &legend)?;
    // W11-08: there is no address to announce before the advertisement.
    not_before(&ladder, Is::what("UNA"), Is::what("RA").to(MnL3))?;
    not_before(&ladder, Is::what("FBU"), Is::what("RA").to(MnL3))?;
    check(
        &ladder,
        &[legend[2], step("g", &[Is::what("UNA").from(MnL3).to(Nar)])],
    )?;
    Ok(run)
}

/// Waits for the end of a predicted handover, and checks that nothing was lost.
fn lossless(scene: &mut Scene) -> Result<Run> {
    scene.stage.nar.wait_for("buffer-drained", SOON)?;
    scene.stage.mn_says("buffer-drained")?;
    let run = scene.close()?;
    stage::check("downlink", &run.downlink, Harm::None)?;
    stage::check("uplink", &run.uplink, Harm::None)?;
    Ok(run)
}

/// Waits for the end of a handover that was not predicted. Of what the node sent before it knew that it
/// has no link, and of what was sent to it until the PAR knew, some is lost.
fn react(scene: &mut Scene) -> Result<Run> {
    scene.stage.mn_says("fback-received")?;
    let run = scene.close()?;
    stage::check("downlink", &run.downlink, Harm::LostInGap)?;
    stage::check("uplink", &run.uplink, Harm::MayLoseInGap)?;
    Ok(run)
}

pub(super) fn figure_1(setup: &mut Setup) {
    setup.set_network(
        Network::Figure1,
        &[AccessPoint::Relay(1), AccessPoint::Relay(2)],
    );
    let mut wifi = Wifi::quick();
    wifi.delays.handshake_ms = LOSSY_HANDSHAKE_MS;
    setup.use_802_11(wifi);
}

pub(super) fn figure_1_edge(setup: &mut Setup) {
    setup.set_network(
        Network::Figure1,
        &[AccessPoint::Relay(5), AccessPoint::Relay(6)],
    );
    let mut wifi = Wifi::quick();
    wifi.absent = (1..=10)
        .filter(|number| ![1, 5].contains(number))
        .map(AccessPoint::Relay)
        .collect();
    setup.use_802_11(wifi);
}

/// RFC 4260 section 3, figure 1: AP1 to AP2 is no change of the router, and nothing is said of it.
pub(super) fn figure_1_same_subnet(scene: &mut Scene) -> Result<Run> {
    scene.begin_at_the_start();
    let [from, to] = [1, 2].map(AccessPoint::Relay);
    // No answer is on its way any more when it goes.
    scene.knows(to, "same-link")?;
    scene.walk(from, to)?;
    scene.comes_to(to)?;
    let run = scene.close()?;
    stage::check("downlink", &run.downlink, Harm::LostInGap)?;
    stage::check("uplink", &run.uplink, Harm::MayLoseInGap)?;
    let ladder = scene.ladder()?;
    check(
        &ladder,
        &[
            step("1", &[Is::what("scan").from(MnL2)]),
            step("a", &[Is::what("RtSolPr").from(MnL3).to(Par)]),
            step("b", &[Is::what("PrRtAdv").from(Par).to(MnL3)]),
            step("2", &[Is::what("join").from(MnL2)]),
            step("3", &[Is::what("authenticate").from(MnL2).to(NewAp)]),
            step("4", &[Is::what("associate").from(MnL2).to(NewAp)]),
            step("5", &[Is::what("802.1X").from(MnL2).to(NewAp)]),
            step("6", &[Is::what("layer 2 update").from(NewAp).to(Par)]),
        ],
    )?;
    for message in ["FBU", "FBack", "HI", "HAck", "UNA"] {
        never(&ladder, Is::what(message))?;
    }
    // W11-01: nothing at all is said of it.
    for message in ["RtSolPr", "PrRtAdv"] {
        never_after(&ladder, Is::what(message), Is::what("join").from(MnL2))?;
    }
    Ok(run)
}

/// RFC 4260 section 3, figure 1: AP5 to AP6 is a change of the router.
pub(super) fn figure_1_handover(scene: &mut Scene) -> Result<Run> {
    let [first, from, to] = [1, 5, 6].map(AccessPoint::Relay);
    // From AP1 to AP5 in one subnet; what is lost there is no handover's, and so it comes first.
    scene.walk(first, from)?;
    scene.comes_to(from)?;
    scene.restart_streams()?;
    scene.begin();
    scene.walk(from, to)?;
    let run = lossless(scene)?;
    check_sequence(&scene.ladder()?, "1abcdef23456g", STEPS)?;
    Ok(run)
}

pub(super) fn figure_2(setup: &mut Setup) {
    let access_points = Router::ALL.map(AccessPoint::Integrated);
    setup.set_network(Network::Figure2, &access_points);
    let mut wifi = Wifi::quick();
    wifi.absent = access_points[1..].to_vec();
    setup.use_802_11(wifi);
}

/// RFC 4260 section 3, figure 2: every change of the access point is one of the router, and the router's
/// link-layer address is that of the access point.
pub(super) fn figure_2_handover(scene: &mut Scene) -> Result<Run> {
    scene.walk(
        AccessPoint::Integrated(Router::Previous),
        AccessPoint::Integrated(Router::New),
    )?;
    let run = lossless(scene)?;
    check_sequence(&scene.ladder()?, "1abcdef23456g", STEPS)?;
    Ok(run)
}

/// As [`figure_2`]; the firmware moves, and the node knows the figure.
pub(super) fn figure_2_told(setup: &mut Setup) {
    figure_2(setup);
    setup.settings.tells_of_integrated_routers = true;
    let absent = setup.wifi.take().map(|wifi| wifi.absent);
    setup.use_802_11(Wifi {
        absent: absent.unwrap_or_default(),
        ..Wifi::firmware()
    });
}

/// RFC 4260 section 7.3: where the new access point's address is the NAR's, `ab` can be left out.
pub(super) fn figure_2_reactive(scene: &mut Scene) -> Result<Run> {
    scene.firmware_moves(AccessPoint::Integrated(Router::New))?;
    let run = react(scene)?;
    let ladder = scene.ladder()?;
    check_sequence(&ladder, "123456gcdef", STEPS)?;
    not_before(&ladder, Is::what("RtSolPr"), Is::what("FBack"))?;
    never(&ladder, Is::what("RS"))?;
    Ok(run)
}

pub(super) fn three_routers(setup: &mut Setup) {
    setup.set_network(
        Network::Three,
        &[AccessPoint::Previous, AccessPoint::New, AccessPoint::Third],
    );
    let mut wifi = Wifi::quick();
    wifi.absent = vec![AccessPoint::New, AccessPoint::Third, AccessPoint::Beside];
    wifi.delays.handshake_ms = LOSSY_HANDSHAKE_MS;
    setup.use_802_11(wifi);
}

/// RFC 4260 section 7.1: changing radio conditions make the NAR unreachable, and the handover devolves
/// into a reactive one, to the router whose access point was found in its place.
pub(super) fn wrong_prediction(scene: &mut Scene) -> Result<Run> {
    scene.appear(AccessPoint::Third)?;
    scene.air().divert_roam(AccessPoint::Third)?;
    scene.walk(AccessPoint::Previous, AccessPoint::New)?;
    scene.comes_to(AccessPoint::Third)?;
    scene.stage.story.wait_for("third", "FBack 0")?;
    let run = scene.close()?;
    // What went to the NAR is held there for nobody.
    stage::check("downlink", &run.downlink, Harm::LostInGap)?;
    stage::check("uplink", &run.uplink, Harm::None)?;
    let ladder = scene.ladder()?;
    check_sequence(&ladder, "1abcdef2", STEPS)?;
    check(
        &ladder,
        &[
            step("f", &[Is::what("FBack").from(Par).to(MnL3)]),
            step("4", &[Is::what("associate").to(Place::ThirdAp)]),
            step("g", &[Is::what("UNA").from(MnL3).to(Place::Third)]),
            step("c", &[Is::what("FBU").from(MnL3).to(Par).again()]),
            step("d", &[Is::what("HI 1").from(Par).to(Place::Third)]),
            step("e", &[Is::what("HAck 0").from(Place::Third).to(Par)]),
            step(
                "f",
                &[Is::what("FBack 0").from(Par).to(MnL3).arrives().again()],
            ),
        ],
    )?;
    never(&ladder, Is::what("UNA").to(Nar))?;
    Ok(run)
}

/// The node has seen the new access point, and does not look again for long.
pub(super) fn out_of_date(setup: &mut Setup) {
    three_routers(setup);
    let mut wifi = Wifi::quick();
    wifi.near = vec![AccessPoint::New];
    wifi.absent = vec![AccessPoint::Third, AccessPoint::Beside];
    wifi.delays.silence_ms = 150;
    wifi.delays.handshake_ms = LOSSY_HANDSHAKE_MS;
    let minute = 60_000;
    wifi.station
        .insert("scan-min-interval-ms".to_owned(), minute.into());
    setup.use_802_11(wifi);
}

/// RFC 4260 sections 4 and 7.1: steps 1, a and b were far in advance of the handover, and the neighbor
/// list is out of date: the join fails, and the station finds another access point, of whose router
/// nothing is known.
pub(super) fn stale_scan(scene: &mut Scene) -> Result<Run> {
    scene.begin_at_the_start();
    scene.stage.story.wait_for("par", "PrRtAdv 0")?;
    scene.air().vanish(AccessPoint::New)?;
    scene.walk(AccessPoint::Previous, AccessPoint::Third)?;
    scene.comes_to(AccessPoint::Third)?;
    scene.stage.story.wait_for("third", "FBack 0")?;
    let run = scene.close()?;
    // What went to the NAR is held there for nobody.
    stage::check("downlink", &run.downlink, Harm::LostInGap)?;
    stage::check("uplink", &run.uplink, Harm::MayLoseInGap)?;
    let ladder = scene.ladder()?;
    check_sequence(&ladder, "abcdef2", STEPS)?;
    check(
        &ladder,
        &[
            step("f", &[Is::what("FBack").from(Par).to(MnL3)]),
            step("2", &[Is::what("join").from(MnL2)]),
            step("1", &[Is::what("scan").from(MnL2).again()]),
            step("4", &[Is::what("associate").to(Place::ThirdAp)]),
            step("a", &[Is::what("RS").from(MnL3).to(Place::Third)]),
            step("b", &[Is::what("RA").from(Place::Third).to(MnL3)]),
            step("c", &[Is::what("FBU").from(MnL3).to(Par).again()]),
            step("d", &[Is::what("HI 1").from(Par).to(Place::Third)]),
            step("e", &[Is::what("HAck 0").from(Place::Third).to(Par)]),
            step(
                "f",
                &[Is::what("FBack 0").from(Par).to(MnL3).arrives().again()],
            ),
        ],
    )?;
    check(
        &ladder,
        &[
            step("b", &[Is::what("RA").from(Place::Third).to(MnL3)]),
            step("g", &[Is::what("UNA").from(MnL3).to(Place::Third)]),
        ],
    )?;
    never(&ladder, Is::what("UNA").to(Nar))?;
    never(&ladder, Is::what("associate").to(NewAp))?;
    Ok(run)
}

/// How long 802.1X takes with a server that is far away.
const DOT1X_MS: u64 = 2000;

fn with_dot1x(setup: &mut Setup) {
    two_routers(setup);
    let wifi = setup.wifi.as_mut().expect("it has just been set");
    wifi.delays.handshake_ms = DOT1X_MS;
}

/// The routers are configured for that.
pub(super) fn dot1x_foreseen(setup: &mut Setup) {
    with_dot1x(setup);
    setup
        .settings
        .timers
        .insert("proxy-nd-lifetime-ms", 3 * DOT1X_MS);
}

/// The routers are configured for a link without.
pub(super) fn dot1x_unforeseen(setup: &mut Setup) {
    with_dot1x(setup);
    setup
        .settings
        .timers
        .insert("proxy-nd-lifetime-ms", DOT1X_MS / 2);
}

/// RFC 4260 section 4, step 5: seconds pass between the association and the UNA, and what is held for
/// the node is held as long.
pub(super) fn dot1x_survived(scene: &mut Scene) -> Result<Run> {
    let run = predictive(scene)?;
    let of_nar = |name| scene.stage.nar.wait_for(name, SOON);
    let (held, released) = (of_nar("buffer-started")?, of_nar("first-released")?);
    let held_for = Duration::from_nanos(released.time_ns - held.time_ns);
    ensure!(
        held_for >= Duration::from_millis(DOT1X_MS),
        "the packets were held for {held_for:?}, less than 802.1X takes"
    );
    Ok(run)
}

/// As [`dot1x_survived`], but the NAR gives up before: then nothing of it is left there, and the node's
/// UNA is that of any newcomer.
pub(super) fn dot1x_expired(scene: &mut Scene) -> Result<Run> {
    scene.walk(AccessPoint::Previous, AccessPoint::New)?;
    scene.stage.nar.wait_for("buffer-expired", SOON)?;
    scene.comes_to(AccessPoint::New)?;
    let run = scene.close()?;
    stage::check("downlink", &run.downlink, Harm::LostInGap)?;
    stage::check("uplink", &run.uplink, Harm::MayLoseInGap)?;
    let ladder = scene.ladder()?;
    check_sequence(&ladder, "1abcdef23456g", STEPS)?;
    check(
        &ladder,
        &[
            step("e", &[Is::what("HAck 0").from(Nar).to(Par)]),
            step("expiry", &[Is::what("buffer expired").from(Nar)]),
            step("6", &[Is::what("layer 2 update")]),
        ],
    )?;
    Ok(run)
}

/// The third router is nobody's neighbor.
pub(super) fn stranger(setup: &mut Setup) {
    three_routers(setup);
    setup.settings.strangers.insert(Router::Third);
    let mut wifi = Wifi::firmware();
    wifi.absent = vec![AccessPoint::New, AccessPoint::Beside, AccessPoint::Third];
    setup.use_802_11(wifi);
}

/// RFC 4260 section 8: an access point that is somebody else's lures the node, and behind it is a router
/// that is no neighbor. The FBU from there is refused: nothing is redirected, and back at its own router
/// the node has what it had.
pub(super) fn rogue(scene: &mut Scene) -> Result<Run> {
    scene.firmware_moves(AccessPoint::Third)?;
    scene.comes_to(AccessPoint::Third)?;
    scene.stage.par.wait_for("fbu-refused", SOON)?;
    scene.firmware_moves(AccessPoint::Previous)?;
    scene.stage.flows()?;
    let run = scene.close()?;
    stage::check("downlink", &run.downlink, Harm::LostInGap)?;
    stage::check("uplink", &run.uplink, Harm::LostInGap)?;
    let ladder = scene.ladder()?;
    check(
        &ladder,
        &[
            step("lured", &[Is::what("associate").to(Place::ThirdAp)]),
            step("FBU", &[Is::what("FBU").from(MnL3).to(Par)]),
            step("refused", &[Is::what("refuses the FBU").from(Par)]),
            step("back", &[Is::what("associate").to(Place::OldAp)]),
        ],
    )?;
    for is in [Is::what("HI"), Is::what("packets").from(Par)] {
        never(&ladder, is)?;
    }
    Ok(run)
}

/// How much stronger the access point of nobody's neighbor is, in dB: not as much as the hysteresis.
const STRONGER_BY: i32 = 5;

/// As [`stranger`]; the node chooses where to go, and hears the stranger and the new access point from the
/// beginning.
pub(super) fn stranger_beside(setup: &mut Setup) {
    stranger(setup);
    let mut wifi = Wifi::quick();
    wifi.absent = vec![AccessPoint::Beside];
    wifi.near = vec![AccessPoint::New, AccessPoint::Third];
    setup.use_802_11(wifi);
}

/// RFC 4260 section 8: signals say nothing of whose an access point is, and the router does.
pub(super) fn strong_rogue(scene: &mut Scene) -> Result<Run> {
    scene.air().signal(AccessPoint::Third, NEAR + STRONGER_BY)?;
    scene.knows(AccessPoint::New, "router")?;
    scene.knows(AccessPoint::Third, "unknown")?;
    scene.walk(AccessPoint::Previous, AccessPoint::New)?;
    comes_to_the_known_one(scene)
}

/// As [`stranger`]; the node chooses where to go, and only where the router is known.
pub(super) fn stranger_alone(setup: &mut Setup) {
    stranger(setup);
    let mut wifi = Wifi::quick();
    wifi.absent = vec![AccessPoint::New, AccessPoint::Beside, AccessPoint::Third];
    let station = &mut wifi.station;
    station.insert("require-known-router".to_owned(), true.into());
    setup.use_802_11(wifi);
}

/// RFC 4260 section 8: as long as the node has a link, it is not lured away.
pub(super) fn lonely_rogue(scene: &mut Scene) -> Result<Run> {
    scene.walk(AccessPoint::Previous, AccessPoint::Third)?;
    scene.knows(AccessPoint::Third, "unknown")?;
    wait_until("the node to know of no target", SOON, || {
        let told = scene.stage.mn.all();
        let fades = (told.iter()).any(|event| event.fields["primitive"] == "LINK_GOING_DOWN");
        Ok(fades.then_some(()))
    })?;
    scene.stage.flows()?;
    // Weaker than the other, and better than what it has.
    scene.appear(AccessPoint::New)?;
    scene
        .air()
        .signal(AccessPoint::New, NEAR - 5 * STRONGER_BY)?;
    comes_to_the_known_one(scene)
}

/// The handover is prepared as any is, and nothing goes to the rogue.
fn comes_to_the_known_one(scene: &mut Scene) -> Result<Run> {
    let run = lossless(scene)?;
    let ladder = scene.ladder()?;
    check_sequence(&ladder, "cdef23456g", STEPS)?;
    let rogue = Place::ThirdAp;
    for what in ["authenticate", "associate"] {
        never(&ladder, Is::what(what).to(rogue))?;
    }
    let mut targets = Vec::new();
    for event in scene.stage.mn.all() {
        if event.fields["primitive"] == "LINK_HANDOVER_IMPEND" {
            let target = event.fields["access_point"].as_str();
            targets.push(target.context("a handover to nowhere")?.to_owned());
        }
    }
    ensure!(
        targets == [AccessPoint::New.id()],
        "a handover was prepared to {targets:?}"
    );
    Ok(run)
}
