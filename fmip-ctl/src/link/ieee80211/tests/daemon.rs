//! A supplicant that ends, comes back, or says what cannot be understood.

use super::{super::supplicant::Garbage, conversations::*, *};

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
    playback.play(ORDERED);
    let error = "it ended".to_owned();
    playback.input(Input::Supplicant(Heard::Lost { error }));
    playback.play(
        "! failed 02:00:00:00:02:00 (02:00:00:00:02:00: wpa_supplicant is gone)
        ! wpa_supplicant at /run/wpa_supplicant/wlan0 lost: it ended",
    );
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
