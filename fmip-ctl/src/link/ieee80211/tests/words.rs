//! Words of wpa_supplicant 2.10, one by one, and what is none.

use proptest::prelude::*;

use super::{super::supplicant::*, *};

fn event_of(text: &str) -> Event {
    event(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn events_are_read_as_the_supplicant_writes_them() {
    let bssid = AP1;
    for (text, expected) in [
        (
            "<3>SME: Trying to authenticate with 02:00:00:00:01:00 (SSID='fmip' freq=2412 MHz)",
            Event::Authenticating { bssid },
        ),
        (
            "<3>Trying to associate with 02:00:00:00:01:00 (SSID='fmip' freq=2412 MHz)",
            Event::Associating { bssid: Some(bssid) },
        ),
        (
            "<3>Trying to associate with SSID 'fmip'",
            Event::Associating { bssid: None },
        ),
        (
            "<3>Associated with 02:00:00:00:01:00",
            Event::Associated { bssid },
        ),
        (
            "<3>WPA: Key negotiation completed with 02:00:00:00:01:00 [PTK=CCMP GTK=CCMP]",
            Event::KeysNegotiated { bssid },
        ),
        (
            "<3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]",
            Event::Connected { bssid },
        ),
        (
            "<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=4 locally_generated=1",
            Event::Disconnected {
                bssid: Some(bssid),
                reason: Some(4),
            },
        ),
        (
            "<3>CTRL-EVENT-DISCONNECTED bssid=00:00:00:00:00:00 reason=0",
            Event::Disconnected {
                bssid: None,
                reason: Some(0),
            },
        ),
        (
            "<3>CTRL-EVENT-AUTH-REJECT 02:00:00:00:01:00 auth_type=0 auth_transaction=2 status_code=1",
            Event::AuthenticationRejected {
                bssid,
                status: Some(1),
            },
        ),
        (
            "<3>CTRL-EVENT-ASSOC-REJECT bssid=02:00:00:00:01:00 status_code=17",
            Event::AssociationRejected {
                bssid: Some(bssid),
                status: Some(17),
            },
        ),
        (
            "<3>CTRL-EVENT-ASSOC-REJECT status_code=1",
            Event::AssociationRejected {
                bssid: None,
                status: Some(1),
            },
        ),
        (
            "<3>Authentication with 02:00:00:00:01:00 timed out.",
            Event::TimedOut { bssid },
        ),
        (
            "<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid=\"fmip\" auth_failures=1 duration=10 \
             reason=WRONG_KEY",
            Event::NetworkDisabled {
                reason: Some("WRONG_KEY".to_owned()),
            },
        ),
        (
            "<3>CTRL-EVENT-EAP-STARTED EAP authentication started",
            Event::EapStarted,
        ),
        (
            "<3>CTRL-EVENT-EAP-SUCCESS EAP authentication completed successfully",
            Event::EapSuccess,
        ),
        (
            "<3>CTRL-EVENT-EAP-FAILURE EAP authentication failed",
            Event::EapFailure,
        ),
        ("<3>CTRL-EVENT-SCAN-STARTED ", Event::ScanStarted),
        ("<3>CTRL-EVENT-SCAN-RESULTS ", Event::ScanResults),
        (
            "<3>CTRL-EVENT-SCAN-FAILED ret=-16 retry=1",
            Event::ScanFailed,
        ),
        (
            "<3>CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-74 noise=9999 txrate=54000",
            Event::SignalChange {
                above: false,
                dbm: -74,
            },
        ),
        ("<3>CTRL-EVENT-BEACON-LOSS ", Event::BeaconLoss),
        ("<2>CTRL-EVENT-TERMINATING ", Event::Terminating),
        ("<3>CTRL-EVENT-BSS-ADDED 1 02:00:00:00:01:00", Event::Other),
        ("<3>WPS-AP-AVAILABLE ", Event::Other),
        (
            "IFNAME=wlan0 <3>CTRL-EVENT-SCAN-RESULTS ",
            Event::ScanResults,
        ),
    ] {
        assert_eq!(event_of(text), expected, "{text}");
    }
}

#[test]
fn an_event_that_lacks_what_it_should_have_is_an_error_that_names_it() {
    for (text, expected) in [
        ("CTRL-EVENT-CONNECTED", "is no event"),
        ("<>CTRL-EVENT-CONNECTED", "is no event"),
        ("<x>CTRL-EVENT-CONNECTED", "is no event"),
        ("IFNAME=wlan0", "is no event"),
        ("<3>CTRL-EVENT-CONNECTED", "Connection to"),
        ("<3>CTRL-EVENT-CONNECTED - Connection to x", "address"),
        ("<3>CTRL-EVENT-DISCONNECTED bssid=x", "bssid"),
        ("<3>CTRL-EVENT-DISCONNECTED reason=x", "reason"),
        ("<3>CTRL-EVENT-SIGNAL-CHANGE signal=-70", "above"),
        ("<3>CTRL-EVENT-SIGNAL-CHANGE above=1 signal=9999", "signal"),
        ("<3>SME: Trying to authenticate with x", "address"),
        ("<3>Associated with nobody", "address"),
    ] {
        let error = event(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(matches!(event(b"<3>\xff"), Err(Garbage::NoText(_))));
}

#[test]
fn answers_are_read_as_the_supplicant_writes_them() {
    let of = |request: &Request, answer: &str| reply(request, answer.as_bytes());
    let roam = Request::Roam { bssid: AP2 };
    assert_eq!(roam.to_string(), "ROAM 02:00:00:00:02:00");
    assert_eq!(of(&roam, "OK\n"), Ok(Reply::Done));
    assert_eq!(of(&roam, "FAIL\n"), Ok(Reply::Refused("FAIL".to_owned())));
    let scan = |frequencies: &[u32]| Request::Scan {
        frequencies: frequencies.to_vec(),
    };
    assert_eq!(scan(&[]).to_string(), "SCAN TYPE=ONLY");
    assert_eq!(
        scan(&[2412, 5180]).to_string(),
        "SCAN TYPE=ONLY freq=2412,5180"
    );
    assert_eq!(
        of(&scan(&[]), "FAIL-BUSY\n"),
        Ok(Reply::Refused("FAIL-BUSY".to_owned()))
    );
    assert_eq!(
        of(
            &Request::SignalPoll,
            "RSSI=-61\nLINKSPEED=54\nNOISE=9999\nFREQUENCY=2412\nAVG_RSSI=-60\n"
        ),
        Ok(Reply::Signal(Signal {
            dbm: -61,
            frequency: Some(2412),
        }))
    );
    let found = |id, bssid, dbm, age: Option<u64>| Bss {
        id,
        bssid,
        frequency: 2412,
        dbm,
        age: age.map(Duration::from_secs),
        ssid: "two words".to_owned(),
    };
    assert_eq!(
        of(
            &Request::Found { from: 0 },
            "id=4\nbssid=02:00:00:00:01:00\nfreq=2412\nlevel=-40\nage=7\nflags=[ESS]\n\
             ssid=two words\n====\nid=5\nbssid=02:00:00"
        ),
        Ok(Reply::Found(vec![found(Some(4), AP1, -40, Some(7))])),
        "what is cut off is asked for again"
    );
    assert_eq!(
        of(
            &Request::ScanResults,
            "bssid / frequency / signal level / flags / ssid\n\
             02:00:00:00:02:00\t2412\t-30\t[WPA2-PSK-CCMP][ESS]\ttwo words\n"
        ),
        Ok(Reply::Found(vec![found(None, AP2, -30, None)]))
    );
}

#[test]
fn an_answer_that_lacks_what_it_should_have_is_an_error_that_names_it() {
    for (request, answer, expected) in [
        (Request::Roam { bssid: AP1 }, "", "no OK"),
        (Request::Status, "bssid=02:00:00:00:01:00\n", "no wpa_state"),
        (Request::SignalPoll, "RSSI=9999\n", "no RSSI"),
        (Request::Found { from: 0 }, "id=1\n====\n", "no bssid"),
        (Request::ScanResults, "02:00:00:00:02:00\t2412\n", "columns"),
    ] {
        let error = reply(&request, answer.as_bytes()).expect_err(answer);
        assert!(error.to_string().contains(expected), "{answer}: {error}");
    }
}

/// Words that the supplicant writes, so that more than the first of them is reached.
fn almost_an_event() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "<3>",
        "IFNAME=wlan0 ",
        "SME: Trying to authenticate with ",
        "Trying to associate with ",
        "Associated with ",
        "WPA: Key negotiation completed with ",
        "CTRL-EVENT-CONNECTED ",
        "- Connection to ",
        "CTRL-EVENT-DISCONNECTED ",
        "CTRL-EVENT-ASSOC-REJECT ",
        "CTRL-EVENT-SIGNAL-CHANGE ",
        "bssid=",
        "02:00:00:00:01:00 ",
        "reason=",
        "above=0 ",
        "signal=",
        "-70 ",
        "99999999999999999999 ",
        "=",
        "ü",
    ]);
    prop::collection::vec(words, 0..8).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_octets_make_the_parser_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = event(&octets);
        for request in requests() {
            let _ = reply(&request, &octets);
        }
    }

    #[test]
    fn no_words_make_the_parser_panic(text in almost_an_event()) {
        let _ = event(text.as_bytes());
    }

    #[test]
    fn every_disconnection_is_read_back(octets in any::<[u8; 6]>(), reason in any::<u16>()) {
        prop_assume!(octets != [0; 6]);
        let bssid = MacAddr(octets);
        let text = format!("<3>CTRL-EVENT-DISCONNECTED bssid={bssid} reason={reason}");
        prop_assert_eq!(
            event_of(&text),
            Event::Disconnected { bssid: Some(bssid), reason: Some(reason) }
        );
    }

    #[test]
    fn every_scan_result_is_read_back(
        octets in any::<[u8; 6]>(),
        frequency in 2000_u32..7000,
        dbm in -110..-1_i32,
        ssid in "[ -~]{0,32}",
    ) {
        let bssid = MacAddr(octets);
        let text = format!("{bssid}\t{frequency}\t{dbm}\t[ESS]\t{ssid}\n");
        let expected = Bss { id: None, bssid, frequency, dbm, age: None, ssid };
        prop_assert_eq!(
            reply(&Request::ScanResults, text.as_bytes()),
            Ok(Reply::Found(vec![expected]))
        );
    }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Status,
        Request::SignalPoll,
        Request::SignalMonitor {
            threshold_dbm: -70,
            hysteresis_db: 2,
        },
        Request::Scan {
            frequencies: vec![2412],
        },
        Request::Found { from: 0 },
        Request::ScanResults,
        Request::Roam { bssid: AP1 },
    ]
}

#[test]
fn what_is_no_text_or_too_much_is_shown_as_its_beginning() {
    use super::super::control::{clipped, text};

    assert_eq!(text("für".as_bytes()), Ok("für"));
    assert_eq!(text(&[0xff; 101]), Err(vec![0xff; 100]));
    assert_eq!(clipped(&"ü".repeat(201)), "ü".repeat(200));
}
