//! When it scans, on which channels, and how it reads the results.

use super::{super::supplicant::Event, conversations::*, *};

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
