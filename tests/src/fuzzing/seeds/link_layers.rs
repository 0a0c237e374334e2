//! Those of the link layers: what base stations of 802.16e send, what wpa_supplicant and hostapd write.

use std::collections::BTreeMap;

use crate::fuzzing::station::messages;

/// What a station of 802.16e is set to: the first base station, or any.
const STATION: &[u8] = &[0];
const SEARCHING: &[u8] = &[1];
/// The first two base stations are heard; the second is the stronger one.
const FIRST_IS_HEARD: &[u8] = &[3, 0, 2];
const FIRST_FADES: &[u8] = &[3, 0, 3];
const SECOND_IS_HEARD: &[u8] = &[3, 1, 1];
/// Base stations send DL-MAP meanwhile.
const SOME_FRAMES: &[u8] = &[0, 50];
const MANY_FRAMES: &[u8] = &[0, 255];
const ANSWER: &[u8] = &[15, 0];
const ANSWER_WITH_CONTEXT: &[u8] = &[15, 24];
const CHALLENGE: &[u8] = &[8, 0];
const FLOW: &[u8] = &[9, 0];
/// MOB_NBR-ADV of the first, with the second in it; one with names that nobody has.
const LIST: &[u8] = &[6, 0, 1, 2];
const FORGED_LIST: &[u8] = &[6, 0, 7, 11, 12, 13, 14, 15, 16, 17];
/// MOB_BSHO-REQ of the first, to the second; unsigned; to the first two.
const HAND_OVER: &[u8] = &[7, 0, 1, 2];
const FORGED_HAND_OVER: &[u8] = &[7, 0, 0x21, 2];
const SWITCH: &[u8] = &[4, 1];
const GO_AHEAD: &[u8] = &[5];
const SILENCE: &[u8] = &[1, 50];

const ENTRY: &[&[u8]] = &[
    FIRST_IS_HEARD,
    SOME_FRAMES,
    ANSWER,
    ANSWER,
    CHALLENGE,
    ANSWER,
    ANSWER,
    FLOW,
    ANSWER,
];
const SCAN: &[&[u8]] = &[
    SECOND_IS_HEARD,
    LIST,
    LIST,
    MANY_FRAMES,
    ANSWER,
    MANY_FRAMES,
    MANY_FRAMES,
];

/// Parts of a story, each of several steps.
type Parts = &'static [&'static [&'static [u8]]];

/// Stories of a station of 802.16e: what it is set to, and what it sees.
const MANAGEMENT_STORIES: &[(&[u8], Parts)] = &[
    (STATION, &[ENTRY]),
    (SEARCHING, &[&[SECOND_IS_HEARD], ENTRY]),
    (STATION, &[ENTRY, SCAN]),
    (
        STATION,
        &[
            ENTRY,
            SCAN,
            &[HAND_OVER, SWITCH, SOME_FRAMES, ANSWER_WITH_CONTEXT],
        ],
    ),
    (
        STATION,
        &[
            ENTRY,
            SCAN,
            &[HAND_OVER, GO_AHEAD, SOME_FRAMES, ANSWER, SILENCE],
        ],
    ),
    (
        STATION,
        &[
            ENTRY,
            SCAN,
            &[FIRST_FADES, MANY_FRAMES],
            &[ANSWER, MANY_FRAMES],
            &[ANSWER, MANY_FRAMES],
            &[ANSWER, SWITCH, SILENCE],
        ],
    ),
    (
        STATION,
        &[
            ENTRY,
            SCAN,
            &[FORGED_HAND_OVER, FORGED_LIST, FORGED_LIST, MANY_FRAMES],
        ],
    ),
    (STATION, &[ENTRY, &[SWITCH, SILENCE], ENTRY]),
];

/// The stories, and a message of every type that occurs in them.
pub(super) fn station() -> Vec<Vec<u8>> {
    let stories = MANAGEMENT_STORIES.iter().map(|(settings, parts)| {
        let parts = parts.iter().flat_map(|part| part.concat());
        settings.iter().copied().chain(parts).collect()
    });
    let stories: Vec<Vec<u8>> = stories.collect();
    let mut types = BTreeMap::new();
    for message in stories.iter().flat_map(|story| messages(story)) {
        types.entry(message[0]).or_insert(message);
    }
    // On the first's basic connection, as it is.
    let alone = types.into_values().filter_map(|message| {
        let len = u8::try_from(message.len()).ok()?;
        let how = [0, 11, 0, 2, 0, len];
        Some(how.into_iter().chain(message).collect())
    });
    let mut seeds: Vec<Vec<u8>> = alone.collect();
    seeds.extend(stories);
    seeds
}

/// Stories of a station of 802.11.
pub(super) fn supplicant() -> Vec<Vec<u8>> {
    paragraphs(SUPPLICANT_STORIES)
}

/// Stories of three access points.
pub(super) fn hostapd() -> Vec<Vec<u8>> {
    paragraphs(HOSTAPD_STORIES)
}

/// Paragraphs with an empty line behind each, as [`supplicant`](crate::fuzzing::supplicant) reads them.
fn paragraphs(stories: &[&[&str]]) -> Vec<Vec<u8>> {
    let story = |story: &&[&str]| story.join("\n\n").into_bytes();
    stories.iter().map(story).collect()
}

const ATTACHED: &str = "bssid=02:00:00:00:01:00\nfreq=2412\nssid=fmip\nid=0\nmode=station\n\
    wpa_state=COMPLETED\nsuppPortStatus=Authorized\naddress=02:00:00:00:00:01";
const DETACHED: &str = "wpa_state=DISCONNECTED\naddress=02:00:00:00:00:01";
const FOUND: &str = "id=0\nbssid=02:00:00:00:01:00\nfreq=2412\nlevel=-80\nage=0\nflags=[ESS]\n\
    ssid=fmip\n====\nid=1\nbssid=02:00:00:00:02:00\nfreq=2437\nlevel=-50\nage=0\nflags=[ESS]\n\
    ssid=fmip\n====";
const CUT_OFF: &str = "id=2\nbssid=02:00:00:00:03:00\nfreq=5180\nlevel=-70\nage=99\nssid=\n====\n\
    id=3\nbssid=02:00";
const TABLE: &str = "bssid / frequency / signal level / flags / ssid\n\
    02:00:00:00:02:00\t2412\t-30\t[WPA2-PSK-CCMP][ESS]\ttwo words\n\
    02:00:00:00:03:00\t5180\t-60\t[ESS]\t";
const JOINS: &str =
    "<3>SME: Trying to authenticate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)";
const ASSOCIATES: &str =
    "<3>Trying to associate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)";
const ASSOCIATED: &str = "<3>Associated with 02:00:00:00:02:00";
const CONNECTED: &str =
    "<3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:02:00 completed [id=0 id_str=]";
const MOVED: &str =
    "bssid=02:00:00:00:02:00\nssid=fmip\nwpa_state=COMPLETED\nsuppPortStatus=Authorized";
const NOT_YET: &str =
    "bssid=02:00:00:00:02:00\nssid=fmip\nwpa_state=COMPLETED\nsuppPortStatus=Unauthorized";
const END: &str = "";
const OK: &str = "OK";
const SWITCH_TO_SECOND: &str = "# switch 02:00:00:00:02:00";
const HALF_A_SECOND: &str = "# pass 500";

const SUPPLICANT_STORIES: &[&[&str]] = &[
    &[DETACHED, END],
    &[ATTACHED, FOUND, OK, END],
    &[ATTACHED, FOUND, OK, CUT_OFF, END, END],
    &[ATTACHED, "FAIL", OK, TABLE],
    &[
        ATTACHED,
        FOUND,
        OK,
        END,
        SWITCH_TO_SECOND,
        OK,
        JOINS,
        ASSOCIATES,
        ASSOCIATED,
        CONNECTED,
        NOT_YET,
        HALF_A_SECOND,
        MOVED,
    ],
    &[
        ATTACHED,
        FOUND,
        OK,
        END,
        HALF_A_SECOND,
        "RSSI=-85\nFREQUENCY=2412",
        HALF_A_SECOND,
        OK,
        "RSSI=-86",
        "<3>CTRL-EVENT-SCAN-RESULTS ",
        FOUND,
        END,
        SWITCH_TO_SECOND,
        OK,
        JOINS,
        CONNECTED,
        MOVED,
    ],
    &[
        ATTACHED,
        FOUND,
        OK,
        END,
        HALF_A_SECOND,
        "RSSI=-90",
        "<3>CTRL-EVENT-BEACON-LOSS ",
        "<3>CTRL-EVENT-SCAN-STARTED ",
        "# go ahead",
        OK,
        JOINS,
        "<3>CTRL-EVENT-AUTH-REJECT 02:00:00:00:02:00 auth_type=0 auth_transaction=2 status_code=1",
        "<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=3 locally_generated=1",
    ],
    &[
        ATTACHED,
        FOUND,
        OK,
        END,
        SWITCH_TO_SECOND,
        OK,
        JOINS,
        "# leave",
        "# pass 5000",
        "# come back",
        "wpa_state=SCANNING",
        END,
        CONNECTED,
        MOVED,
    ],
    &[
        ATTACHED,
        FOUND,
        OK,
        END,
        "# switch 02:00:00:00:09:00",
        OK,
        "<3>CTRL-EVENT-SCAN-FAILED ret=-16",
        "# pass 10000",
        "<3>CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-74 noise=9999 txrate=54000",
    ],
    &[
        ATTACHED,
        FOUND,
        OK,
        END,
        SWITCH_TO_SECOND,
        "FAIL",
        SWITCH_TO_SECOND,
        OK,
        JOINS,
        "<3>CTRL-EVENT-ASSOC-REJECT bssid=02:00:00:00:02:00 status_code=17",
        "<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid=\"fmip\" auth_failures=1 duration=10 reason=WRONG_KEY",
    ],
    &[
        "<3>CTRL-EVENT-EAP-STARTED EAP authentication started",
        "<3>CTRL-EVENT-EAP-SUCCESS EAP authentication completed successfully",
        "<3>CTRL-EVENT-EAP-FAILURE EAP authentication failed",
        "<3>WPA: Key negotiation completed with 02:00:00:00:02:00 [PTK=CCMP GTK=CCMP]",
        "<3>Trying to associate with SSID 'fmip'",
        "IFNAME=wlan0 <3>CTRL-EVENT-BSS-ADDED 1 02:00:00:00:01:00",
        "<2>CTRL-EVENT-TERMINATING ",
        "UNKNOWN COMMAND",
    ],
];

const HOSTAPD_STORIES: &[&[&str]] = &[
    &[
        "1<3>AP-STA-CONNECTED 02:00:00:00:00:01",
        "1<3>AP-STA-DISCONNECTED 02:00:00:00:00:01",
    ],
    &[
        "1<3>AP-STA-CONNECTED 02:00:00:00:00:01 auth_alg=open keyid=staff",
        "2<3>AP-STA-CONNECTED 02:00:00:00:00:01",
        "1<3>AP-STA-DISCONNECTED 02:00:00:00:00:01",
        "3IFNAME=wlan0 <3>AP-STA-CONNECTED 02:00:00:00:00:01",
        "2<3>AP-STA-DISCONNECTED 02:00:00:00:00:01",
    ],
    &[
        "102:00:00:00:00:01\nflags=[AUTH][ASSOC][AUTHORIZED]\naid=1\nconnected_time=17",
        "102:00:00:00:00:02\nflags=[AUTH][ASSOC]\naid=2\nconnected_time=1",
        "1",
        "202:00:00:00:00:01\nflags=[AUTHORIZED]\nconnected_time=300",
        "2",
        "1",
    ],
    &[
        "302:00:00:00:00:01\nconnected_time=4294967295",
        "3FAIL",
        "3",
        "1FAIL",
        "2UNKNOWN COMMAND",
    ],
    &[
        "1<3>AP-ENABLED ",
        "1<3>AP-DISABLED ",
        "1<3>INTERFACE-DISABLED ",
        "1<3>CTRL-EVENT-TERMINATING ",
        "1<3>AP-STA-POSSIBLE-PSK-MISMATCH 02:00:00:00:00:01",
        "1<3>AP-STA-CONNECTED",
        "1<x>AP-STA-CONNECTED 02:00:00:00:00:01",
        "1<2>",
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A story that stops in its first step is no seed.
    #[test]
    fn stories_of_802_16e_speak_of_everything() {
        // By management message type.
        let spoken: Vec<u8> = station()
            .iter()
            .filter(|seed| seed.starts_with(&[0, 11]))
            .map(|seed| seed[6])
            .collect();
        assert_eq!(
            spoken,
            [
                2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 26, 27, 53, 54, 55, 56, 57, 58, 59, 60
            ]
        );
    }
}
