//! Recorded conversations with wpa_supplicant 2.10, played back to the station.

use super::{super::supplicant::Garbage, *};

/// The start beside a supplicant that is attached to AP1 on an open network, and has seen AP2.
const OPEN: &str = "
    ! working
    ? STATUS
    = bssid=02:00:00:00:01:00
    = freq=2412
    = ssid=fmip
    = id=0
    = mode=station
    = pairwise_cipher=NONE
    = group_cipher=NONE
    = key_mgmt=NONE
    = wpa_state=COMPLETED
    = address=02:00:00:00:00:00
    = uuid=6c17de63-5264-58b6-a0a5-34c8b4b7f7a4
    = Supplicant PAE state=AUTHENTICATED
    = suppPortStatus=Authorized
    = EAP state=IDLE
    ! LINK_UP 02:00:00:00:01:00
    ? BSS RANGE=0- MASK=0x21a87
    = id=0
    = bssid=02:00:00:00:01:00
    = freq=2412
    = level=-50
    = age=3
    = flags=[ESS]
    = ssid=fmip
    = ====
    = id=1
    = bssid=02:00:00:00:02:00
    = freq=2437
    = level=-60
    = age=3
    = flags=[ESS]
    = ssid=fmip
    = ====
    ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
    = OK
    ? BSS RANGE=2- MASK=0x21a87
    =
    ! NEW_LINK_DETECTED 02:00:00:00:02:00
";

/// The roam to AP2 that the supplicant was asked for, to its end.
pub(super) const ROAMS: &str = "
    <3>SME: Trying to authenticate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
    ! LINK_DOWN
    ! join local 02:00:00:00:02:00
    ! authenticate sent 02:00:00:00:02:00
    <3>Trying to associate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
    ! authenticate received 02:00:00:00:02:00
    ! associate sent 02:00:00:00:02:00
    <3>Associated with 02:00:00:00:02:00
    ! associate received 02:00:00:00:02:00
    <3>CTRL-EVENT-SUBNET-STATUS-UPDATE status=0
    <3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:02:00 completed [id=0 id_str=]
    ? STATUS
    = bssid=02:00:00:00:02:00
    = ssid=fmip
    = wpa_state=COMPLETED
    = suppPortStatus=Authorized
    ! LINK_UP 02:00:00:00:02:00
    ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
    = OK
";

/// A playback that has come as far as [`OPEN`].
pub(super) fn attached(change: impl FnOnce(&mut Ieee80211)) -> Playback {
    let mut playback = Playback::with(change);
    playback.play(OPEN);
    playback
}

/// The signal that is measured next.
fn measured(playback: &mut Playback, dbm: i32) {
    let millis = playback.interval().as_millis();
    playback.play(&format!(
        "+{millis}\n? SIGNAL_POLL\n= RSSI={dbm}\n= FREQUENCY=2412"
    ));
}

/// Scan results: AP1 and AP2 with these signals.
pub(super) fn found(ap1: i32, ap2: i32) -> String {
    format!(
        "<3>CTRL-EVENT-SCAN-RESULTS
        ! scan received
        ? BSS RANGE=0- MASK=0x21a87
        = id=0
        = bssid=02:00:00:00:01:00
        = freq=2412
        = level={ap1}
        = age=0
        = flags=[ESS]
        = ssid=fmip
        = ====
        = id=1
        = bssid=02:00:00:00:02:00
        = freq=2437
        = level={ap2}
        = age=0
        = flags=[ESS]
        = ssid=fmip
        = ====
        ? BSS RANGE=2- MASK=0x21a87
        ="
    )
}

/// The signal becomes weak enough, certainly enough, for the protocol to hear of it.
fn fade(playback: &mut Playback) {
    measured(playback, -85);
    let millis = playback.interval().as_millis();
    // Before it is certain, access points are looked for; nothing is decided while that is under way.
    playback.play(&format!(
        "+{millis}
        ? SCAN TYPE=ONLY freq=2412,2437
        = OK
        ! scan sent
        ? SIGNAL_POLL
        = RSSI=-86
        {}
        ! LINK_HANDOVER_IMPEND 02:00:00:00:02:00",
        found(-86, -60),
    ));
}

// Rows: W11-04, W16-10
#[test]
fn a_link_switch_roams_and_says_when_the_link_is_down_and_up() {
    let mut playback = attached(|_| {});
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(ROAMS);
}

// Rows: GEN-05, W11-04
#[test]
fn a_fading_signal_impends_and_the_switch_follows_the_order() {
    let mut playback = attached(|_| {});
    fade(&mut playback);
    // Not before the order.
    measured(&mut playback, -87);
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(ROAMS);
    // What is measured now is the new access point's.
    measured(&mut playback, -60);
    measured(&mut playback, -60);
}

// Rows: W11-07
#[test]
fn a_node_whose_move_nobody_prepares_moves_without() {
    for hint in ["GO AHEAD", "+1000"] {
        let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(2));
        fade(&mut playback);
        playback.play(&format!("{hint}\n? ROAM 02:00:00:00:02:00\n= OK"));
        playback.play(ROAMS);
    }
}

#[test]
fn a_node_whose_move_nobody_prepares_stays_if_the_signal_is_good_again() {
    let mut playback = attached(|settings| settings.link_switch_wait = Duration::from_secs(60));
    fade(&mut playback);
    for _ in 0..5 {
        measured(&mut playback, -50);
    }
    playback.play("GO AHEAD");
    // And may impend again.
    for _ in 0..4 {
        measured(&mut playback, -50);
    }
}

#[test]
fn one_weak_measurement_proves_nothing() {
    let mut playback = attached(|_| {});
    measured(&mut playback, -50);
    // Far below the threshold, but not when filtered.
    measured(&mut playback, -95);
    measured(&mut playback, -50);
    measured(&mut playback, -50);
    // Below it once, which is worth a look, and then no more.
    measured(&mut playback, -99);
    playback.play(&format!(
        "+500\n? SCAN TYPE=ONLY freq=2412,2437\n= OK\n! scan sent\n? SIGNAL_POLL\n= RSSI=-40\n{}",
        found(-40, -30)
    ));
    measured(&mut playback, -40);
}

#[test]
fn an_access_point_that_is_little_better_is_no_target() {
    let mut playback = attached(|settings| settings.signal_weight = 1.0);
    measured(&mut playback, -75);
    // 7 dB better, where 8 are asked for: the protocol is only told that the link may go.
    let log = found(-75, -68);
    playback.play(&format!(
        "+500\n? SCAN TYPE=ONLY freq=2412,2437\n= OK\n! scan sent\n? SIGNAL_POLL\n= RSSI=-75\n{log}\n\
         ! LINK_GOING_DOWN"
    ));
    measured(&mut playback, -75);
    playback.play("+500\n? SIGNAL_POLL\n= RSSI=-76\n! LINK_HANDOVER_IMPEND 02:00:00:00:02:00");
}

// Rows: W11-05
#[test]
fn a_target_whose_result_is_too_old_is_looked_for_first() {
    let mut playback = attached(|settings| {
        settings.scan_max_age = Duration::from_secs(20);
        settings.scan_min_interval = Duration::from_secs(3600);
        settings.signal_interval = Duration::from_secs(15);
    });
    // A background scan that finds nothing of AP2, and is not repeated soon.
    playback.play(
        "+15000
        ? SIGNAL_POLL
        = RSSI=-50
        +2100
        ? SCAN TYPE=ONLY freq=2412,2437
        = OK
        ! scan sent
        <3>CTRL-EVENT-SCAN-STARTED
        <3>CTRL-EVENT-SCAN-FAILED ret=-22
        ! scan local (failed)
        +5000
        LINK_SWITCH 02:00:00:00:02:00
        ! scan sent 02:00:00:00:02:00
        ? SCAN TYPE=ONLY freq=2437
        = OK
        <3>CTRL-EVENT-SCAN-STARTED",
    );
    playback.play(&format!(
        "{}\n? ROAM 02:00:00:00:02:00\n= OK",
        found(-50, -60)
    ));
    playback.play(ROAMS);
}

// Rows: W11-05
#[test]
fn a_target_that_is_not_heard_any_more_is_refused() {
    let mut playback = attached(|_| {});
    playback.play(
        "LINK_SWITCH 02:00:00:00:03:00
        ! scan sent 02:00:00:00:03:00
        ? SCAN TYPE=ONLY
        = OK",
    );
    playback.play(&found(-50, -60));
    playback.play(
        "+3000
        ! failed 02:00:00:00:03:00 (02:00:00:00:03:00: it is not heard)
        ? SIGNAL_POLL
        = RSSI=-50
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED",
    );
}

#[test]
fn a_roam_that_the_supplicant_refuses_has_failed() {
    let mut playback = attached(|_| {});
    playback.play(
        "LINK_SWITCH 02:00:00:00:02:00
        ? ROAM 02:00:00:00:02:00
        = FAIL-NO-SUCH-THING
        ! failed 02:00:00:00:02:00 (02:00:00:00:02:00: wpa_supplicant refuses: FAIL-NO-SUCH-THING)
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED",
    );
}

#[test]
fn a_roam_that_does_not_begin_has_failed_after_a_while() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.play(
        "LINK_SWITCH 02:00:00:00:02:00
        ? ROAM 02:00:00:00:02:00
        = OK
        +3000
        ! failed 02:00:00:00:02:00 (02:00:00:00:02:00: the roam took too long)
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED",
    );
}

/// AP2 does not take the node, and the supplicant goes back to AP1.
const REJECTED: &str = "
    <3>SME: Trying to authenticate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
    ! LINK_DOWN
    ! join local 02:00:00:00:02:00
    ! authenticate sent 02:00:00:00:02:00
    <3>Trying to associate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
    ! authenticate received 02:00:00:00:02:00
    ! associate sent 02:00:00:00:02:00
    <3>CTRL-EVENT-ASSOC-REJECT bssid=02:00:00:00:02:00 status_code=17
    ! associate received 02:00:00:00:02:00 (refused: status 17)
    ! handover local 02:00:00:00:02:00 (failed: it refused: status 17)
    ? STATUS
    = wpa_state=ASSOCIATING
    <3>SME: Trying to authenticate with 02:00:00:00:01:00 (SSID='fmip' freq=2412 MHz)
    ! join local 02:00:00:00:01:00
    ! authenticate sent 02:00:00:00:01:00
    <3>Trying to associate with 02:00:00:00:01:00 (SSID='fmip' freq=2412 MHz)
    ! authenticate received 02:00:00:00:01:00
    ! associate sent 02:00:00:00:01:00
    <3>Associated with 02:00:00:00:01:00
    ! associate received 02:00:00:00:01:00
    <3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]
    ? STATUS
    = bssid=02:00:00:00:01:00
    = ssid=fmip
    = wpa_state=COMPLETED
    ! LINK_UP 02:00:00:00:01:00
    ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
    = OK
";

// Rows: W11-06
#[test]
fn a_roam_that_is_rejected_ends_where_the_link_comes_up() {
    let mut playback = attached(|_| {});
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(REJECTED);
}

#[test]
fn a_target_that_failed_is_not_chosen_again_for_a_while() {
    let mut playback = attached(|settings| settings.avoid_failed = Duration::from_secs(20));
    fade(&mut playback);
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(REJECTED);
    // Weak as before, and nothing else to go to.
    let heard = [(AP1, -85), (AP2, -60)];
    let told = playback.live(Duration::from_secs(19), &heard);
    assert_eq!(told, ["LINK_GOING_DOWN"]);
    let told = playback.live(Duration::from_millis(1900), &heard);
    assert_eq!(told, ["LINK_HANDOVER_IMPEND 02:00:00:00:02:00"]);
}

// Rows: W11-06
#[test]
fn a_roam_that_ends_elsewhere_is_told_as_it_is() {
    let mut playback = attached(|_| {});
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(
        "<3>Trying to associate with 02:00:00:00:03:00 (SSID='fmip' freq=2462 MHz)
        ! LINK_DOWN
        ! join local 02:00:00:00:03:00
        ! associate sent 02:00:00:00:03:00
        <3>Associated with 02:00:00:00:03:00
        ! associate received 02:00:00:00:03:00
        <3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:03:00 completed [id=0 id_str=]
        ? STATUS
        = bssid=02:00:00:00:03:00
        = ssid=fmip
        = wpa_state=COMPLETED
        ! LINK_UP 02:00:00:00:03:00
        ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
        = OK
        # No timer of the roam is left.
        +400",
    );
}

#[test]
fn a_disconnection_is_told_at_once_and_once() {
    let mut playback = attached(|_| {});
    playback.play(
        "<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=4 locally_generated=1
        ! disassociate received 02:00:00:00:01:00 (reason 4)
        ! LINK_DOWN
        <3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=3
        ! disassociate received 02:00:00:00:01:00 (reason 3)
        <3>CTRL-EVENT-SCAN-STARTED
        # Only to see whether it is still there; no scan of ours.
        +500
        ? PING
        = PONG",
    );
}

/// Events may be lost: the supplicant does not wait for those who do not read them.
#[test]
fn a_link_that_is_gone_without_a_word_is_missed_when_its_signal_is_measured() {
    let mut playback = attached(|_| {});
    // It may be that only the measurement fails.
    playback.play(
        "+500
        ? SIGNAL_POLL
        = FAIL
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED
        +500
        ? SIGNAL_POLL
        = FAIL
        ? STATUS
        = wpa_state=SCANNING
        ! LINK_DOWN
        +500
        ? PING
        = PONG",
    );
}

/// Nothing is asked of a link that is known to be gone.
#[test]
fn a_measurement_that_the_end_of_the_link_overtakes_is_no_news() {
    let mut playback = attached(|_| {});
    playback.pass(Duration::from_millis(500));
    let event = supplicant::event(b"<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=4");
    playback.input(Input::Supplicant(Heard::Event(event.expect("an event"))));
    playback.play(
        "! disassociate received 02:00:00:00:01:00 (reason 4)
        ! LINK_DOWN
        ? SIGNAL_POLL
        = FAIL",
    );
}

#[test]
fn a_disconnection_ends_what_impends() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(2));
    fade(&mut playback);
    playback.play(
        "<3>CTRL-EVENT-BEACON-LOSS
        ! beacon loss local 02:00:00:00:01:00
        <3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=4 locally_generated=1
        ! disassociate received 02:00:00:00:01:00 (reason 4)
        ! LINK_DOWN
        GO AHEAD
        +1500",
    );
}

// Rows: W11-13
#[test]
fn the_link_is_up_when_the_port_is_open_and_not_before() {
    let mut playback = attached(|_| {});
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(
        "<3>SME: Trying to authenticate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
        ! LINK_DOWN
        ! join local 02:00:00:00:02:00
        ! authenticate sent 02:00:00:00:02:00
        <3>Trying to associate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
        ! authenticate received 02:00:00:00:02:00
        ! associate sent 02:00:00:00:02:00
        <3>Associated with 02:00:00:00:02:00
        ! associate received 02:00:00:00:02:00
        <3>WPA: Key negotiation completed with 02:00:00:00:02:00 [PTK=CCMP GTK=CCMP]
        ! 802.1x received 02:00:00:00:02:00 (keys negotiated)
        <3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:02:00 completed [id=0 id_str=]
        ? STATUS
        = bssid=02:00:00:00:02:00
        = ssid=fmip
        = wpa_state=COMPLETED
        = suppPortStatus=Unauthorized
        +5
        ? STATUS
        = bssid=02:00:00:00:02:00
        = ssid=fmip
        = wpa_state=COMPLETED
        = suppPortStatus=Unauthorized
        +9
        +1
        ? STATUS
        = bssid=02:00:00:00:02:00
        = ssid=fmip
        = wpa_state=COMPLETED
        = suppPortStatus=Authorized
        ! LINK_UP 02:00:00:00:02:00
        ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
        = OK",
    );
}

// Rows: W11-13
#[test]
fn a_slow_8021x_is_waited_for() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(
        "<3>SME: Trying to authenticate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
        ! LINK_DOWN
        ! join local 02:00:00:00:02:00
        ! authenticate sent 02:00:00:00:02:00
        <3>Trying to associate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
        ! authenticate received 02:00:00:00:02:00
        ! associate sent 02:00:00:00:02:00
        <3>Associated with 02:00:00:00:02:00
        ! associate received 02:00:00:00:02:00
        <3>CTRL-EVENT-EAP-STARTED EAP authentication started
        ! 802.1x received 02:00:00:00:02:00 (started)
        <3>CTRL-EVENT-EAP-PROPOSED-METHOD vendor=0 method=25
        <3>CTRL-EVENT-EAP-METHOD EAP vendor 0 method 25 (PEAP) selected
        # Longer than a roam may take.
        +20000
        <3>CTRL-EVENT-EAP-SUCCESS EAP authentication completed successfully
        ! 802.1x received 02:00:00:00:02:00 (success)
        <3>WPA: Key negotiation completed with 02:00:00:00:02:00 [PTK=CCMP GTK=CCMP]
        ! 802.1x received 02:00:00:00:02:00 (keys negotiated)
        <3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:02:00 completed [id=0 id_str=]
        ? STATUS
        = bssid=02:00:00:00:02:00
        = ssid=fmip
        = wpa_state=COMPLETED
        = suppPortStatus=Authorized
        ! LINK_UP 02:00:00:00:02:00
        ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
        = OK",
    );
}

// Rows: W11-13
#[test]
fn an_8021x_that_fails_is_a_failed_roam() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(
        "<3>Trying to associate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
        ! LINK_DOWN
        ! join local 02:00:00:00:02:00
        ! associate sent 02:00:00:00:02:00
        <3>Associated with 02:00:00:00:02:00
        ! associate received 02:00:00:00:02:00
        <3>CTRL-EVENT-EAP-STARTED EAP authentication started
        ! 802.1x received 02:00:00:00:02:00 (started)
        <3>CTRL-EVENT-EAP-FAILURE EAP authentication failed
        ! 802.1x received 02:00:00:00:02:00 (failure)
        <3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:02:00 reason=23
        ! disassociate received 02:00:00:00:02:00 (reason 23)
        ! handover local 02:00:00:00:02:00 (failed: it let go of the node)
        ? STATUS
        = wpa_state=DISCONNECTED
        <3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid=\"fmip\" auth_failures=1 duration=10 reason=AUTH_FAILED",
    );
}

// Rows: W11-11
#[test]
fn while_the_signal_is_good_a_scan_is_as_rare_as_the_age_of_its_results_lets_it() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(10));
    // They were 3 s old at the start.
    measured(&mut playback, -50);
    measured(&mut playback, -50);
    playback.play("+6999");
    playback.play(&format!(
        "+1\n? SCAN TYPE=ONLY freq=2412,2437\n= OK\n! scan sent\n{}",
        found(-50, -60)
    ));
    playback.play("+3000\n? SIGNAL_POLL\n= RSSI=-50");
    measured(&mut playback, -50);
    measured(&mut playback, -50);
    playback.play("+6999");
    playback.play("+1\n? SCAN TYPE=ONLY freq=2412,2437\n= FAIL-BUSY\n! scan sent");
}

// Rows: W11-11
#[test]
fn every_fourth_scan_is_of_all_channels() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(3600));
    let mut after = 27_000;
    for channels in ["known", "known", "known", "all", "known"] {
        let frequencies = match channels {
            "known" => " freq=2412,2437",
            _ => "",
        };
        playback.play(&format!(
            "+{after}\n? SCAN TYPE=ONLY{frequencies}\n= OK\n! scan sent\n{}",
            found(-50, -60)
        ));
        after = 30_000;
    }
}

/// It may be on a channel on which none of its network was heard before.
// Rows: W11-11
#[test]
fn a_target_that_the_known_channels_do_not_have_is_looked_for_on_all() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(3600));
    playback.play("<3>CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-80 noise=9999 txrate=54000");
    // AP2 is heard, and no better.
    let mut after = 0;
    for frequencies in [
        " freq=2412,2437",
        "",
        " freq=2412,2437",
        "",
        " freq=2412,2437",
    ] {
        playback.play(&format!(
            "+{after}\n? SCAN TYPE=ONLY{frequencies}\n= OK\n! scan sent\n{}",
            found(-80, -80)
        ));
        after = 5000;
    }
    // One that came to nothing is still to be done.
    for _ in 0..2 {
        playback.play(
            "+5000
            ? SCAN TYPE=ONLY
            = OK
            ! scan sent
            <3>CTRL-EVENT-SCAN-FAILED ret=-22
            ! scan local (failed)",
        );
    }
    // The signal is good again: no need for all of them.
    for _ in 0..8 {
        playback.play("<3>CTRL-EVENT-SIGNAL-CHANGE above=1 signal=-50 noise=9999 txrate=54000");
    }
    // 30 s after the last that had results.
    playback.play("+19999");
    playback.play("+1\n? SCAN TYPE=ONLY freq=2412,2437\n= OK\n! scan sent");
}

#[test]
fn the_files_channels_are_the_only_ones() {
    let mut playback = attached(|settings| {
        settings.signal_interval = Duration::from_secs(3600);
        settings.frequencies = vec![5180];
    });
    playback.play("<3>CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-80 noise=9999 txrate=54000");
    let mut after = 0;
    for _ in 0..6 {
        playback.play(&format!(
            "+{after}\n? SCAN TYPE=ONLY freq=5180\n= OK\n! scan sent\n{}",
            found(-80, -80)
        ));
        after = 5000;
    }
}

// Rows: W11-11
#[test]
fn nothing_is_scanned_while_a_handover_is_under_way() {
    let mut playback = attached(|settings| {
        settings.link_switch_wait = Duration::from_secs(60);
        settings.scan_min_interval = Duration::from_millis(600);
        settings.scan_max_age = Duration::from_secs(5);
    });
    fade(&mut playback);
    for _ in 0..30 {
        measured(&mut playback, -86);
    }
}

#[test]
fn the_signal_is_also_told_and_not_only_asked_for() {
    let mut playback = attached(|settings| {
        settings.signal_interval = Duration::from_secs(60);
        settings.scan_min_interval = Duration::from_secs(3600);
    });
    playback.play(&format!(
        "<3>CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-74 noise=9999 txrate=54000
        +0
        ? SCAN TYPE=ONLY freq=2412,2437
        = OK
        ! scan sent
        {}
        <3>CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-76 noise=9999 txrate=54000
        ! LINK_HANDOVER_IMPEND 02:00:00:00:02:00",
        found(-74, -60)
    ));
}

#[test]
fn lost_beacons_are_as_good_as_many_weak_measurements() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.play(
        "<3>CTRL-EVENT-BEACON-LOSS
        ! beacon loss local 02:00:00:00:01:00
        ! LINK_HANDOVER_IMPEND 02:00:00:00:02:00",
    );
}

#[test]
fn the_file_says_which_access_points_are_moved_to() {
    let other = MacAddr([2, 0, 0, 0, 3, 0]);
    let stranger = MacAddr([2, 0, 0, 0, 9, 0]);
    let heard = [(AP1, -85), (AP2, -60), (other, -50), (stranger, -30)];
    let chosen = |change: fn(&mut Ieee80211)| {
        let mut playback = Playback::with(change);
        let told = playback.live(Duration::from_secs(2), &heard);
        told.last().cloned().unwrap_or_default()
    };
    let impends = |target: MacAddr| format!("LINK_HANDOVER_IMPEND {target}");
    // Another network's is none, however strong.
    assert_eq!(chosen(|_| {}), impends(other));
    assert_eq!(chosen(|settings| settings.prefer = vec![AP2]), impends(AP2));
    assert_eq!(chosen(|settings| settings.allow = vec![AP2]), impends(AP2));
    let denied = |settings: &mut Ieee80211| settings.deny = vec![MacAddr([2, 0, 0, 0, 3, 0])];
    assert_eq!(chosen(denied), impends(AP2));
    assert_eq!(
        chosen(|settings| settings.allow = vec![AP1]),
        "LINK_GOING_DOWN"
    );
    assert_eq!(
        chosen(|settings| settings.choose_target = false),
        "LINK_GOING_DOWN"
    );
}

#[test]
fn what_does_not_age_is_not_read_as_new() {
    let mut playback = attached(|_| {});
    // The supplicant lists AP2 as long as it remembers it, 3 minutes, with its age.
    playback.play(
        "<3>CTRL-EVENT-SCAN-RESULTS
        ! scan received
        ? BSS RANGE=0- MASK=0x21a87
        = bssid=02:00:00:00:02:00
        = freq=2437
        = level=-30
        = age=100
        = ssid=fmip
        = ====",
    );
    // It was heard 3 s before the start, and this says nothing newer.
    let told = playback.live(Duration::from_secs(28), &[(AP1, -50)]);
    assert_eq!(told, Vec::<String>::new());
    playback.play(
        "<3>CTRL-EVENT-BEACON-LOSS\n! beacon loss local 02:00:00:00:01:00\n! LINK_GOING_DOWN",
    );
}

#[test]
fn an_older_supplicant_lists_what_it_heard_without_ages() {
    let mut playback = attached(|_| {});
    playback.play(
        "<3>CTRL-EVENT-SCAN-RESULTS
        ! scan received
        ? BSS RANGE=0- MASK=0x21a87
        = UNKNOWN COMMAND
        ? SCAN_RESULTS
        = bssid / frequency / signal level / flags / ssid
        = 02:00:00:00:02:00\t2437\t-60\t[ESS]\tfmip
        = 02:00:00:00:03:00\t2437\t-60\t[ESS]\tfmip
        ! NEW_LINK_DETECTED 02:00:00:00:03:00",
    );
}

#[test]
fn a_supplicant_that_comes_back_is_asked_what_happened_meanwhile() {
    let mut playback = attached(|_| {});
    let lost = |playback: &mut Playback| {
        let error = "it ended".to_owned();
        playback.input(Input::Supplicant(Heard::Lost { error }));
        // Nothing is asked, and nothing is thought to have happened.
        playback.play(
            "! wpa_supplicant at /run/wpa_supplicant/wlan0 lost: it ended
            +60000",
        );
    };
    lost(&mut playback);
    playback.play(
        "LINK_SWITCH 02:00:00:00:02:00
        ! failed 02:00:00:00:02:00 (02:00:00:00:02:00: wpa_supplicant is gone)",
    );
    // Where it was.
    playback.input(Input::Supplicant(Heard::Opened));
    playback.play(
        "! working
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED
        ? BSS RANGE=0- MASK=0x21a87
        =
        +0
        ? SCAN TYPE=ONLY
        = OK
        ! scan sent",
    );
    // Elsewhere.
    lost(&mut playback);
    playback.input(Input::Supplicant(Heard::Opened));
    playback.play(
        "! working
        ? STATUS
        = bssid=02:00:00:00:02:00
        = ssid=fmip
        = wpa_state=COMPLETED
        ! LINK_UP 02:00:00:00:02:00
        ? BSS RANGE=0- MASK=0x21a87
        =
        ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
        = OK",
    );
    // Nowhere.
    lost(&mut playback);
    playback.input(Input::Supplicant(Heard::Opened));
    playback.play(
        "! working
        ? STATUS
        = wpa_state=SCANNING
        ! LINK_DOWN
        ? BSS RANGE=0- MASK=0x21a87
        =",
    );
}

#[test]
fn a_switch_that_the_supplicants_end_interrupts_has_failed() {
    let mut playback = attached(|_| {});
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    let error = "it ended".to_owned();
    playback.input(Input::Supplicant(Heard::Lost { error }));
    playback.play(
        "! failed 02:00:00:00:02:00 (02:00:00:00:02:00: wpa_supplicant is gone)
        ! wpa_supplicant at /run/wpa_supplicant/wlan0 lost: it ended",
    );
}

#[test]
fn results_that_cannot_be_read_do_not_keep_the_next_from_being_read() {
    let mut playback = attached(|_| {});
    playback.input(Input::Supplicant(Heard::Event(Event::ScanResults)));
    assert_eq!(playback.told.remove(0), "scan received");
    let request = playback.asked.remove(0);
    assert_eq!(request, Request::Found { from: 0 });
    let garbage = supplicant::reply(&request, b"id=1\n====\n").unwrap_err();
    playback.input(Input::Supplicant(Heard::Unreadable { request, garbage }));
    let told = playback.told.remove(0);
    assert!(told.starts_with("unreadable local"), "{told}");
    playback.play(&found(-50, -60));
}

#[test]
fn results_that_do_not_end_are_read_only_once() {
    let mut playback = attached(|_| {});
    playback.play(
        "<3>CTRL-EVENT-SCAN-RESULTS
        ! scan received
        ? BSS RANGE=0- MASK=0x21a87
        = id=7
        = bssid=02:00:00:00:02:00
        = freq=2437
        = level=-60
        = ssid=fmip
        = ====
        ? BSS RANGE=8- MASK=0x21a87
        = id=7
        = bssid=02:00:00:00:02:00
        = freq=2437
        = level=-60
        = ssid=fmip
        = ====",
    );
    playback.play(&found(-50, -60));
}

#[test]
fn garbage_is_counted_and_told_of_less_and_less() {
    let mut playback = attached(|_| {});
    let garbage = || Garbage::NoLevel("?".to_owned());
    for _ in 0..1000 {
        playback.input(Input::Supplicant(Heard::Garbage(garbage())));
    }
    assert_eq!(playback.told.len(), 10);
    let last = "unreadable local (\"?\" is no event: it has no <level> in front (512 so far))";
    assert_eq!(playback.told.last().unwrap(), last);
}

// Rows: W11-13
#[test]
fn a_handshake_that_takes_too_long_for_the_supplicant_is_a_failed_roam() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.play("LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK");
    playback.play(
        "<3>Trying to associate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
        ! LINK_DOWN
        ! join local 02:00:00:00:02:00
        ! associate sent 02:00:00:00:02:00
        <3>Associated with 02:00:00:00:02:00
        ! associate received 02:00:00:00:02:00
        +10000
        <3>Authentication with 02:00:00:00:02:00 timed out.
        ! 802.1x received 02:00:00:00:02:00 (timed out)
        ! handover local 02:00:00:00:02:00 (failed: it timed out)
        ? STATUS
        = wpa_state=DISCONNECTED
        <3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:02:00 reason=3 locally_generated=1
        ! disassociate received 02:00:00:00:02:00 (reason 3)",
    );
}
