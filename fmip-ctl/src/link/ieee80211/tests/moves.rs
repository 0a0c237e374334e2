//! Recorded conversations with wpa_supplicant 2.10, played back to the station.

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

#[test]
fn a_link_switch_roams_and_says_when_the_link_is_down_and_up() {
    let mut playback = Playback::new();
    playback.play(OPEN);
    playback.play(
        "
        LINK_SWITCH 02:00:00:00:02:00
        ? ROAM 02:00:00:00:02:00
        = OK
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
        ",
    );
}
