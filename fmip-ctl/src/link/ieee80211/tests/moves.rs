//! Whether and where the station moves, and what becomes of it.

use super::{conversations::*, *};

// Rows: W11-04, W16-10
#[test]
fn a_link_switch_roams_and_says_when_the_link_is_down_and_up() {
    let mut playback = attached(|_| {});
    playback.play(ORDERED);
    playback.play(ROAMS);
}

// Rows: GEN-05, W11-04
#[test]
fn a_fading_signal_impends_and_the_switch_follows_the_order() {
    let mut playback = attached(|_| {});
    fade(&mut playback);
    // Not before the order.
    measured(&mut playback, -87);
    playback.play(ORDERED);
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
    // A beacon may have been missed, but not twice: packets are on their way to the new router already.
    let found = found(-50, -60);
    playback.play(&format!(
        "{found}
        ! scan sent 02:00:00:00:03:00
        ? SCAN TYPE=ONLY
        = OK
        {found}
        ! failed 02:00:00:00:03:00 (02:00:00:00:03:00: it is not heard)
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED"
    ));
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
    playback.play(ORDERED);
    playback.play(REJECTED);
}

#[test]
fn a_target_that_failed_is_not_chosen_again_for_a_while() {
    let mut playback = attached(|settings| settings.avoid_failed = Duration::from_secs(20));
    fade(&mut playback);
    playback.play(ORDERED);
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
    playback.play(ORDERED);
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
        # No scan of ours; but it may be there again, and that be lost.
        +500
        ? STATUS
        = wpa_state=SCANNING
        +500
        ? STATUS
        = bssid=02:00:00:00:02:00
        = ssid=fmip
        = wpa_state=ASSOCIATING",
    );
}

/// Events may be lost: whether the supplicant is there is asked with the question where it is.
// Rows: W11-06
#[test]
fn a_link_that_comes_up_without_a_word_is_found_when_the_supplicant_is_asked() {
    let mut playback = attached(|_| {});
    playback.play(
        "<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=4
        ! disassociate received 02:00:00:00:01:00 (reason 4)
        ! LINK_DOWN
        +500
        ? STATUS
        = bssid=02:00:00:00:02:00
        = ssid=fmip
        = wpa_state=COMPLETED
        = suppPortStatus=Authorized
        ! LINK_UP 02:00:00:00:02:00
        ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
        = OK
        # And now its signal is measured.
        +500
        ? SIGNAL_POLL
        = RSSI=-50",
    );
    // So it is with the end of a move.
    let mut playback = attached(|_| {});
    playback.play(ORDERED);
    let (associates, _) = halves();
    playback.play(associates);
    playback.play(
        "+500
        ? STATUS
        = bssid=02:00:00:00:02:00
        = ssid=fmip
        = wpa_state=4WAY_HANDSHAKE
        +500
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
        ? STATUS
        = wpa_state=SCANNING",
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
