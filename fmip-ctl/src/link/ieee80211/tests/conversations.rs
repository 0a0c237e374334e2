//! What wpa_supplicant 2.10 and the station said to each other, recorded, and what the tests make of it.

use super::*;

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

/// The protocol orders the move to AP2, and the supplicant takes it on.
pub(super) const ORDERED: &str = "LINK_SWITCH 02:00:00:00:02:00\n? ROAM 02:00:00:00:02:00\n= OK";

/// What [`ROAMS`] says until the port is to open, and of that.
pub(super) fn halves() -> (&'static str, &'static str) {
    let connected = ROAMS.find("<3>CTRL-EVENT-CONNECTED");
    ROAMS.split_at(connected.expect("it connects"))
}

/// A playback that has come as far as [`OPEN`].
pub(super) fn attached(change: impl FnOnce(&mut Ieee80211)) -> Playback {
    let mut playback = Playback::with(change);
    playback.play(OPEN);
    playback
}

/// The signal that is measured next.
pub(super) fn measured(playback: &mut Playback, dbm: i32) {
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
pub(super) fn fade(playback: &mut Playback) {
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
