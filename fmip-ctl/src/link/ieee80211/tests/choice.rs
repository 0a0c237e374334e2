//! Whose access point the station moves to, by what the router says.

use std::sync::Arc;

use super::{conversations::*, *};
use crate::proto::Prospect;

/// The router says this of access points.
fn says(playback: &mut Playback, prospects: &[(MacAddr, Prospect)]) {
    let prospects = prospects.iter().copied().collect();
    let order = Order::Prospects(Arc::new(prospects));
    playback.input(Input::Order(order));
}

const AP3: MacAddr = MacAddr([2, 0, 0, 0, 3, 0]);
const AP4: MacAddr = MacAddr([2, 0, 0, 0, 4, 0]);

fn impends_to(access_point: MacAddr) -> String {
    format!("LINK_HANDOVER_IMPEND {access_point}")
}

// Rows: W11-14
#[test]
fn of_signals_that_are_near_to_each_other_that_of_a_known_router_is_chosen() {
    use Prospect::{Fast, Plain, Unknown};
    let chosen = |prefer: &[MacAddr], heard: &[(MacAddr, i32)], told: &[(MacAddr, Prospect)]| {
        let mut playback = attached(|settings| settings.prefer = prefer.to_vec());
        says(&mut playback, told);
        let heard: Vec<_> = [(AP1, -85)]
            .into_iter()
            .chain(heard.iter().copied())
            .collect();
        let told = playback.live(Duration::from_secs(3), &heard);
        let impends = told.iter().find(|told| told.starts_with("LINK_HANDOVER"));
        impends.expect("one of them is chosen").clone()
    };
    let heard = [(AP2, -58), (AP3, -50)];
    // The file has the last word, and the signal the first.
    assert_eq!(chosen(&[], &heard, &[]), impends_to(AP3));
    assert_eq!(chosen(&[], &heard, &[(AP2, Fast)]), impends_to(AP2));
    assert_eq!(chosen(&[AP3], &heard, &[(AP2, Fast)]), impends_to(AP3));
    assert_eq!(
        chosen(&[], &heard, &[(AP2, Plain), (AP3, Unknown)]),
        impends_to(AP2)
    );
    assert_eq!(
        chosen(&[], &heard, &[(AP2, Fast), (AP3, Plain)]),
        impends_to(AP2)
    );
    let far = [(AP2, -59), (AP3, -50)];
    assert_eq!(chosen(&[], &far, &[(AP2, Fast)]), impends_to(AP3));
    // The stronger one of those that are known.
    let three = [(AP2, -55), (AP3, -50), (AP4, -53)];
    assert_eq!(
        chosen(&[], &three, &[(AP2, Fast), (AP4, Fast)]),
        impends_to(AP4)
    );
}

// Rows: W11-14
#[test]
fn what_the_router_is_asked_about_is_waited_for_but_not_for_long() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_millis(100));
    // The signal is certainly weak, and a stronger one than that which is known has come into reach.
    let heard = [(AP1, -85), (AP2, -58), (AP3, -50)];
    let told = playback.live(Duration::from_millis(250), &heard);
    assert_eq!(told, [format!("NEW_LINK_DETECTED {AP3}")]);
    says(
        &mut playback,
        &[(AP2, Prospect::Fast), (AP3, Prospect::Unknown)],
    );
    playback.play(&format!("! {}", impends_to(AP2)));

    // A router that says nothing.
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_millis(100));
    let told = playback.live(Duration::from_millis(600), &heard);
    assert_eq!(told, [format!("NEW_LINK_DETECTED {AP3}"), impends_to(AP3)]);
}

// Rows: W11-14
#[test]
fn a_node_that_wants_the_router_known_goes_elsewhere_only_when_its_link_is_gone() {
    let strict = |settings: &mut Ieee80211| settings.require_known_router = true;
    let mut playback = attached(strict);
    says(&mut playback, &[(AP2, Prospect::Unknown)]);
    let rogue = [(AP1, -85), (AP2, -40)];
    let told = playback.live(Duration::from_secs(60), &rogue);
    assert_eq!(told, ["LINK_GOING_DOWN"]);
    // However weak it is.
    let both = [(AP1, -85), (AP2, -40), (AP3, -70)];
    let told = playback.live(Duration::from_secs(60), &both);
    assert_eq!(told, [format!("NEW_LINK_DETECTED {AP3}")]);
    says(
        &mut playback,
        &[(AP2, Prospect::Unknown), (AP3, Prospect::Plain)],
    );
    playback.play(&format!("! {}", impends_to(AP3)));

    // What the router takes back while the handover is prepared.
    let mut playback = attached(strict);
    says(&mut playback, &[(AP2, Prospect::Fast)]);
    fade(&mut playback);
    says(&mut playback, &[(AP2, Prospect::Unknown)]);
    playback.play("GO AHEAD");
    playback.play("+500\n? SIGNAL_POLL\n= RSSI=-87\n! LINK_GOING_DOWN");
    // Nothing is to be lost any more.
    playback.play(
        "<3>CTRL-EVENT-BEACON-LOSS
        ! beacon loss local 02:00:00:00:01:00
        ! LINK_HANDOVER_IMPEND 02:00:00:00:02:00",
    );
}
