//! What the carrier says where neither the supplicant nor the kernel tells of 802.11.

use super::{
    super::nl80211::{Answer, Peer},
    conversations::attached,
    *,
};
use crate::link::carrier::State;

impl Playback {
    pub(super) fn carrier(&mut self, up: bool, downs: u32) {
        let downs = Some(downs);
        self.input(Input::Carrier(State { up, downs }));
    }

    /// The supplicant goes; `then`: what else is told.
    fn lose(&mut self, then: &str) {
        let error = "it ended".to_owned();
        self.input(Input::Supplicant(Heard::Lost { error }));
        self.play(&format!(
            "! wpa_supplicant at /run/wpa_supplicant/wlan0 lost: it ended\n{then}"
        ));
    }
}

/// The supplicant has gone, and left the node at AP1.
fn alone() -> Playback {
    let mut playback = attached(|_| {});
    playback.carrier(true, 1);
    playback.lose("");
    playback
}

// Rows: W11-06
#[test]
fn the_carrier_says_that_the_link_went_and_came() {
    let mut playback = alone();
    playback.carrier(true, 1);
    playback.play("+60000");
    playback.carrier(false, 2);
    playback.play("! LINK_DOWN");
    playback.carrier(false, 2);
    playback.carrier(true, 2);
    playback.play("! LINK_UP");
    // The kernel told of both at once.
    playback.carrier(true, 3);
    playback.play("! LINK_DOWN\n! LINK_UP");
    // Nobody moves it.
    playback.play(
        "LINK_SWITCH 02:00:00:00:02:00
        ! failed 02:00:00:00:02:00 (02:00:00:00:02:00: wpa_supplicant is gone)
        GO AHEAD",
    );
    // And whoever comes back says where it is.
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
}

/// A supplicant that is ended leaves the access point first, and its end is told later or sooner.
// Rows: W11-06
#[test]
fn a_carrier_that_went_before_the_supplicant_did_is_down_when_it_has_gone() {
    let mut playback = attached(|_| {});
    playback.carrier(true, 1);
    playback.carrier(false, 2);
    playback.play("+10");
    playback.lose("! LINK_DOWN");
    playback.carrier(true, 2);
    playback.play("! LINK_UP");
    // The supplicant said that it is down, and the driver has joined by itself since.
    let mut playback = attached(|_| {});
    playback.carrier(true, 1);
    playback.play(
        "<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=4
        ! disassociate received 02:00:00:00:01:00 (reason 4)
        ! LINK_DOWN",
    );
    playback.carrier(false, 2);
    playback.carrier(true, 2);
    playback.lose("! LINK_UP");
}

#[test]
fn what_the_supplicant_tells_the_carrier_does_not() {
    let mut playback = attached(|_| {});
    for downs in 1..4 {
        playback.carrier(downs % 2 == 0, downs);
    }
    playback.play("+100");
}

/// Its word is the more exact: it knows the access point.
#[test]
fn what_the_kernel_tells_of_802_11_the_carrier_does_not() {
    let mut playback = attached(|_| {});
    playback.input(Input::KernelOpened);
    let peer = Peer {
        bssid: AP1,
        authorized: Some(true),
        dbm: Some(-50),
    };
    playback.input(Input::Answered(Answer::Peers(vec![peer])));
    playback.lose("");
    for downs in 1..4 {
        playback.carrier(downs % 2 == 0, downs);
    }
    playback.play("+100");
    // It does not tell any more.
    let error = "it was unloaded".to_owned();
    playback.input(Input::KernelLost { error });
    playback.play(
        "! nl80211 local (the kernel tells nothing of 802.11: it was unloaded)
        ! LINK_DOWN",
    );
    playback.carrier(true, 4);
    playback.play("! LINK_UP");
}

/// There never was a supplicant: the node is taken to be where the file says, unless nothing is there.
#[test]
fn at_the_start_the_link_is_as_its_carrier() {
    for up in [true, false] {
        let settings = Ieee80211::of("wlan0");
        let mut playback = Playback::with(|_| {});
        playback.station = Station::new(&settings);
        (playback.asked, playback.told) = (Vec::new(), Vec::new());
        playback.carrier(up, 1);
        let down = if up { "" } else { "! LINK_DOWN" };
        playback.play(down);
        playback.carrier(false, 2);
        playback.play(if up { "! LINK_DOWN" } else { "" });
        playback.carrier(true, 2);
        playback.play("! LINK_UP");
    }
}
