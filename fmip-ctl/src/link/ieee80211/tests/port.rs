//! From the association to a port that lets packets through.

use super::{conversations::*, *};

/// The association with AP2 where the driver authenticates by itself.
const ASSOCIATES_AT_ONCE: &str = "
    <3>Trying to associate with 02:00:00:00:02:00 (SSID='fmip' freq=2437 MHz)
    ! LINK_DOWN
    ! join local 02:00:00:00:02:00
    ! associate sent 02:00:00:00:02:00
    <3>Associated with 02:00:00:00:02:00
    ! associate received 02:00:00:00:02:00
";

// Rows: W11-13
#[test]
fn the_link_is_up_when_the_port_is_open_and_not_before() {
    let mut playback = attached(|_| {});
    playback.play(ORDERED);
    let (associates, _) = halves();
    playback.play(associates);
    playback.play(
        "<3>WPA: Key negotiation completed with 02:00:00:00:02:00 [PTK=CCMP GTK=CCMP]
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
    playback.play(ORDERED);
    let (associates, connects) = halves();
    playback.play(associates);
    playback.play(
        "<3>CTRL-EVENT-EAP-STARTED EAP authentication started
        ! 802.1x received 02:00:00:00:02:00 (started)
        <3>CTRL-EVENT-EAP-PROPOSED-METHOD vendor=0 method=25
        <3>CTRL-EVENT-EAP-METHOD EAP vendor 0 method 25 (PEAP) selected
        # Longer than a roam may take.
        +20000
        <3>CTRL-EVENT-EAP-SUCCESS EAP authentication completed successfully
        ! 802.1x received 02:00:00:00:02:00 (success)
        <3>WPA: Key negotiation completed with 02:00:00:00:02:00 [PTK=CCMP GTK=CCMP]
        ! 802.1x received 02:00:00:00:02:00 (keys negotiated)",
    );
    playback.play(connects);
}

// Rows: W11-13
#[test]
fn an_8021x_that_fails_is_a_failed_roam() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.play(ORDERED);
    playback.play(ASSOCIATES_AT_ONCE);
    playback.play(
        "<3>CTRL-EVENT-EAP-STARTED EAP authentication started
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

// Rows: W11-13
#[test]
fn a_handshake_that_takes_too_long_for_the_supplicant_is_a_failed_roam() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.play(ORDERED);
    playback.play(ASSOCIATES_AT_ONCE);
    playback.play(
        "+10000
        <3>Authentication with 02:00:00:00:02:00 timed out.
        ! 802.1x received 02:00:00:00:02:00 (timed out)
        ! handover local 02:00:00:00:02:00 (failed: it timed out)
        ? STATUS
        = wpa_state=DISCONNECTED
        <3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:02:00 reason=3 locally_generated=1
        ! disassociate received 02:00:00:00:02:00 (reason 3)",
    );
}
