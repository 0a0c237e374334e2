//! A move that a scan is in the way of: conversations with a supplicant that is busy.

use super::{conversations::*, *};

/// Results without AP2: of other channels.
const WITHOUT: &str = "
    <3>CTRL-EVENT-SCAN-RESULTS
    ! scan received
    ? BSS RANGE=0- MASK=0x21a87
    = id=0
    = bssid=02:00:00:00:01:00
    = freq=2412
    = level=-50
    = age=0
    = ssid=fmip
    = ====
    ? BSS RANGE=1- MASK=0x21a87
    =
";

/// What the move comes to.
const ROAM: &str = "? ROAM 02:00:00:00:02:00\n= OK";

/// A playback in which nothing but the move goes on.
fn quiet() -> Playback {
    attached(|settings| {
        settings.signal_interval = Duration::from_secs(3600);
        settings.scan_min_interval = Duration::from_secs(3600);
        settings.scan_max_age = Duration::from_secs(20);
    })
}

// Rows: W11-05
#[test]
fn a_scan_without_the_target_is_followed_by_one_of_its_channel() {
    let mut playback = quiet();
    playback.play(
        "+30000
        ? SCAN TYPE=ONLY freq=2412,2437
        = OK
        ! scan sent
        LINK_SWITCH 02:00:00:00:02:00
        ! scan sent 02:00:00:00:02:00
        ? SCAN TYPE=ONLY freq=2437
        = FAIL-BUSY
        +10",
    );
    playback.play(&format!(
        "{WITHOUT}
        ! scan sent 02:00:00:00:02:00
        ? SCAN TYPE=ONLY freq=2437
        = OK"
    ));
    playback.play(&format!(
        "{}\n! NEW_LINK_DETECTED 02:00:00:00:02:00\n{ROAM}",
        found(-50, -60)
    ));
    playback.play(ROAMS);
}

/// A radio that is slow, or one whose end of the scan was not heard of.
// Rows: W11-05
#[test]
fn a_supplicant_that_is_busy_is_asked_again_for_as_long_as_a_roam_may_take() {
    let mut playback = quiet();
    playback.play(
        "+21000
        ? SCAN TYPE=ONLY freq=2412,2437
        = OK
        ! scan sent
        LINK_SWITCH 02:00:00:00:02:00
        ! scan sent 02:00:00:00:02:00
        ? SCAN TYPE=ONLY freq=2437
        = FAIL-BUSY",
    );
    for _ in 0..11 {
        playback.play(
            "+249
            +1
            ! scan sent 02:00:00:00:02:00
            ? SCAN TYPE=ONLY freq=2437
            = FAIL-BUSY",
        );
    }
    playback.play(
        "+249
        +1
        ! failed 02:00:00:00:02:00 (02:00:00:00:02:00: it is not heard)
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED
        +1000",
    );
}

// Rows: W11-05
#[test]
fn a_scan_for_the_target_that_fails_is_tried_again() {
    let mut playback = quiet();
    playback.play(
        "+18000
        ? SCAN TYPE=ONLY freq=2412,2437
        = FAIL
        ! scan sent
        +5000
        LINK_SWITCH 02:00:00:00:02:00
        ! scan sent 02:00:00:00:02:00
        ? SCAN TYPE=ONLY freq=2437
        = OK
        <3>CTRL-EVENT-SCAN-FAILED ret=-16
        ! scan local (failed)
        +250
        ! scan sent 02:00:00:00:02:00
        ? SCAN TYPE=ONLY freq=2437
        = OK",
    );
    playback.play(&format!("{}\n{ROAM}", found(-50, -60)));
    playback.play(ROAMS);
}

// Rows: W11-04
#[test]
fn a_roam_that_the_supplicant_is_too_busy_for_follows_the_scan() {
    for end in [
        found(-50, -60),
        "<3>CTRL-EVENT-SCAN-FAILED ret=-16\n! scan local (failed)".to_owned(),
        "+150".to_owned(),
    ] {
        let mut playback = quiet();
        playback.play(
            "LINK_SWITCH 02:00:00:00:02:00
            ? ROAM 02:00:00:00:02:00
            = FAIL-BUSY
            +100",
        );
        // Nothing makes a move wait, not even that the results are read.
        playback.play(&match end.contains("? BSS") {
            true => end.replacen("? BSS", &format!("{ROAM}\n? BSS"), 1),
            false => format!("{end}\n{ROAM}"),
        });
        playback.play(ROAMS);
    }
}

#[test]
fn a_roam_that_stays_too_busy_fails_when_a_roam_does() {
    let mut playback = quiet();
    playback.play(
        "LINK_SWITCH 02:00:00:00:02:00
        ? ROAM 02:00:00:00:02:00
        = FAIL-BUSY",
    );
    for _ in 0..11 {
        playback.play("+250\n? ROAM 02:00:00:00:02:00\n= FAIL-BUSY");
    }
    playback.play(
        "+250
        ! failed 02:00:00:00:02:00 (02:00:00:00:02:00: the roam took too long)
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED
        +1000",
    );
}

/// The supplicant said that it would move, and chose anew by what it found meanwhile.
#[test]
fn a_roam_that_a_scan_has_swallowed_is_asked_for_again() {
    let mut playback = quiet();
    playback.play(&format!("LINK_SWITCH 02:00:00:00:02:00\n{ROAM}\n+1000"));
    playback.play(&found(-50, -60));
    playback.play(&format!("+249\n+1\n{ROAM}"));
    playback.play(ROAMS);
}

#[test]
fn a_roam_that_begins_after_a_scan_is_asked_for_once() {
    let mut playback = quiet();
    playback.play(&format!("LINK_SWITCH 02:00:00:00:02:00\n{ROAM}\n+1000"));
    playback.play(&found(-50, -60));
    let (begins, ends) = ROAMS.split_once("<3>Associated").expect("it associates");
    playback.play(begins);
    playback.play(&format!("+1000\n<3>Associated{ends}"));
}

/// Its memory is shorter than the station's.
// Rows: W11-05
#[test]
fn a_target_that_the_supplicant_has_forgotten_is_looked_for_on_its_channel() {
    let mut playback = quiet();
    let refused = "? ROAM 02:00:00:00:02:00\n= FAIL";
    let looked = "! scan sent 02:00:00:00:02:00\n? SCAN TYPE=ONLY freq=2437\n= OK";
    playback.play(&format!(
        "LINK_SWITCH 02:00:00:00:02:00\n{refused}\n{looked}\n{}\n{ROAM}",
        found(-50, -60)
    ));
    playback.play(ROAMS);
    // Once: then it has another reason.
    let mut playback = quiet();
    playback.play(&format!(
        "LINK_SWITCH 02:00:00:00:02:00\n{refused}\n{looked}\n{}\n{refused}
        ! failed 02:00:00:00:02:00 (02:00:00:00:02:00: wpa_supplicant refuses: FAIL)
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED",
        found(-50, -60)
    ));
}

/// What was found before the station looked says nothing of what it looks for.
// Rows: W11-05
#[test]
fn only_the_results_of_the_search_say_that_a_target_is_not_heard() {
    let mut playback = quiet();
    let (_, entries) = WITHOUT.split_once("received").expect("what is received");
    let (first, last) = entries.split_once("? BSS RANGE=1").expect("the end of it");
    let search = "! scan sent 02:00:00:00:03:00\n? SCAN TYPE=ONLY\n= OK";
    // Other results are being read, and go on to be when the supplicant has begun.
    let (sent, begun) = search.split_once('\n').expect("two parts");
    playback.play(&format!(
        "<3>CTRL-EVENT-SCAN-RESULTS
        ! scan received
        LINK_SWITCH 02:00:00:00:03:00
        {sent}
        {first}
        {begun}
        <3>CTRL-EVENT-SCAN-RESULTS
        ! scan received
        ? BSS RANGE=1{last}
        {first}
        ? BSS RANGE=1{last}
        {search}"
    ));
    // The second time, too.
    playback.play(&format!(
        "{WITHOUT}
        ! failed 02:00:00:00:03:00 (02:00:00:00:03:00: it is not heard)
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED"
    ));
}

// Rows: W11-05
#[test]
fn a_target_that_its_channel_does_not_have_is_refused_at_once() {
    let mut playback = quiet();
    playback.play(WITHOUT);
    let search = "! scan sent 02:00:00:00:02:00\n? SCAN TYPE=ONLY freq=2437";
    // What did not begin, or failed, was no search.
    playback.play(&format!(
        "LINK_SWITCH 02:00:00:00:02:00
        {search}
        = FAIL-BUSY
        {WITHOUT}
        {search}
        = OK
        <3>CTRL-EVENT-SCAN-FAILED ret=-16
        ! scan local (failed)
        {WITHOUT}
        {search}
        = OK
        {WITHOUT}
        {search}
        = OK
        {WITHOUT}
        ! failed 02:00:00:00:02:00 (02:00:00:00:02:00: it is not heard)
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED
        +10000"
    ));
}

/// The channel is remembered where the results have dropped the access point.
// Rows: W11-05
#[test]
fn a_target_that_is_in_no_result_any_more_is_looked_for_where_it_was() {
    let mut playback = quiet();
    playback.play(WITHOUT);
    playback.play(
        "LINK_SWITCH 02:00:00:00:02:00
        ! scan sent 02:00:00:00:02:00
        ? SCAN TYPE=ONLY freq=2437
        = OK",
    );
    playback.play(&format!(
        "{}\n! NEW_LINK_DETECTED 02:00:00:00:02:00\n{ROAM}",
        found(-50, -60)
    ));
    playback.play(ROAMS);
}
