//! Handovers of both initiators, and when MOB_HO-IND is said.

use super::*;

/// The serving base station fades.
fn fading(settings: Settings) -> World {
    let mut world = World::neighborly(settings);
    world.base(BS1).dbm = Some(-85);
    world
}

fn impend(target: MacAddr) -> LinkEvent {
    LinkEvent::HandoverImpend {
        access_point: target,
    }
}

fn up(bsid: MacAddr) -> LinkEvent {
    LinkEvent::LinkUp { access_point: bsid }
}

// Rows: W16-01, W16-05, W16-10, W16-18
#[test]
fn station_asks_and_holds_mob_ho_ind_until_link_switch() {
    let mut world = fading(settings());
    let mut waited = 0;
    while world.upward.is_empty() {
        world.run(ms(10));
        waited += 1;
        assert!(waited < 200, "{:#?}", world.log);
    }
    assert_eq!(world.primitives(), [impend(BS2)]);
    world.run(ms(300));
    assert_eq!(world.station.serving(), Some(BS1));
    assert_eq!(world.base(BS1).indications, []);
    world.order(Order::Switch { access_point: BS2 });
    assert_eq!(
        world.base(BS1).indications,
        [HoIndication::Release { target: BS2 }]
    );
    world.run(ms(100));
    assert_eq!(world.primitives(), [LinkEvent::LinkDown, up(BS2)]);
    let log = world.log.join("\n");
    let order = [
        &format!("MOB_MSHO-REQ to {BS1}"),
        "HandoverImpend",
        // The core holds what the node sends before it would be lost.
        "LinkDown",
        "settle",
        &format!("MOB_HO-IND to {BS1}"),
        &format!("RNG-REQ to {BS2}"),
        "LinkUp { access_point: 02:00:00:00:0a:02 }",
    ];
    let places: Vec<_> = order.iter().map(|each| log.find(each)).collect();
    assert!(
        places.is_sorted() && places[0].is_some(),
        "{places:?}\n{log}"
    );
}

// Rows: W16-05, W16-19
#[test]
fn base_station_orders_and_link_handover_impend_follows_at_once() {
    let mut world = World::neighborly(settings());
    world.order_by_base(BS1, &[BS2]);
    assert_eq!(world.primitives(), [impend(BS2)]);
    assert_eq!(world.sent_to(BS1).last(), Some(&"MOB_SCN-REP"));
    world.order(Order::Switch { access_point: BS2 });
    world.run(ms(100));
    assert_eq!(world.primitives(), [LinkEvent::LinkDown, up(BS2)]);
}

// Rows: W16-08
#[test]
fn after_mob_ho_ind_nothing_passes_on_the_old_link() {
    let mut world = World::neighborly(settings());
    world.base(BS2).mute = vec!["REG-REQ"];
    world.order_by_base(BS1, &[BS2]);
    world.order(Order::Switch { access_point: BS2 });
    world.upward.clear();
    assert_eq!(world.tuned, Tuned::to(BS2));
    let sent = world.log.len();
    // It would be heard, and would move it elsewhere.
    let pdu = {
        let message = Message::MobBshoReq(MobBshoReq {
            network_assisted: false,
            recommendation: World::recommend(&[BS3]),
            action_time: 0,
            unknown: Vec::new(),
        });
        world.base(BS1).context.sign(basic(BS1), message).unwrap()
    };
    let now = world.now;
    world.station.handle_frame(now, BS1, Some(-60), &pdu);
    world.run(ms(500));
    let to_old = format!("to {BS1}");
    assert!(
        !world.log[sent..].iter().any(|line| line.ends_with(&to_old)),
        "{:#?}",
        world.log
    );
    assert_eq!(world.primitives(), []);
}

// Rows: W16-09
#[test]
fn without_link_switch_mob_ho_ind_is_said_when_the_wait_is_over() {
    let mut world = World::neighborly(settings());
    world.order_by_base(BS1, &[BS2]);
    world.run(ms(499));
    assert_eq!(world.base(BS1).indications, []);
    world.run(ms(101));
    assert_eq!(
        world.base(BS1).indications,
        [HoIndication::Release { target: BS2 }]
    );
    assert_eq!(
        world.primitives(),
        [impend(BS2), LinkEvent::LinkDown, up(BS2)]
    );
}

// Rows: W16-09
#[test]
fn without_a_wait_mob_ho_ind_is_said_at_once() {
    let mut world = World::neighborly(Settings {
        link_switch_wait: Duration::ZERO,
        ..settings()
    });
    world.order_by_base(BS1, &[BS2]);
    assert_eq!(
        world.base(BS1).indications,
        [HoIndication::Release { target: BS2 }]
    );
    assert_eq!(world.primitives(), [impend(BS2), LinkEvent::LinkDown]);
    world.run(ms(100));
    assert_eq!(world.primitives(), [up(BS2)]);
}

// Rows: W16-10
#[test]
fn when_nothing_is_prepared_there_is_nothing_to_wait_for() {
    let mut world = World::neighborly(settings());
    world.order(Order::GoAhead);
    assert_eq!(world.base(BS1).indications, []);
    world.order_by_base(BS1, &[BS2]);
    world.order(Order::GoAhead);
    assert_eq!(
        world.base(BS1).indications,
        [HoIndication::Release { target: BS2 }]
    );
    assert_eq!(world.primitives(), [impend(BS2), LinkEvent::LinkDown]);
}

// Rows: W16-07
#[test]
fn one_weak_measurement_moves_nobody() {
    let mut world = World::neighborly(Settings {
        confirmations: 3,
        ..settings()
    });
    world.base(BS1).dbm = Some(-85);
    let mut scans = 0;
    while world.upward.is_empty() {
        let before = world.base(BS1).received.len();
        world.run(ms(10));
        let base = world.base(BS1);
        scans += base.received[before..]
            .iter()
            .filter(|name| **name == "MOB_SCN-REP")
            .count();
        assert!(scans < 20);
        if scans < 3 {
            assert!(!base.received.contains(&"MOB_MSHO-REQ"));
        }
    }
    assert_eq!(scans, 3);
    // A short fade is over before it is confirmed.
    let mut world = World::neighborly(settings());
    world.base(BS1).dbm = Some(-85);
    world.run(ms(150));
    world.base(BS1).dbm = Some(-60);
    world.run(ms(2_000));
    assert_eq!(world.primitives(), []);
    assert!(!world.base(BS1).received.contains(&"MOB_MSHO-REQ"));
}

// Rows: W16-07
#[test]
fn weak_alone_is_no_reason_to_move_to_somebody_as_weak() {
    let mut world = World::neighborly(settings());
    world.base(BS1).dbm = Some(-85);
    world.base(BS2).dbm = Some(-82);
    world.run(ms(3_000));
    assert_eq!(world.primitives(), []);
    assert!(!world.base(BS1).received.contains(&"MOB_MSHO-REQ"));
}

#[test]
fn station_that_may_not_choose_does_not_ask() {
    let mut world = fading(Settings {
        choose_target: false,
        ..settings()
    });
    world.run(ms(3_000));
    assert_eq!(world.primitives(), []);
    world.order_by_base(BS1, &[BS2]);
    assert_eq!(world.primitives(), [impend(BS2)]);
}

#[test]
fn mob_msho_req_without_an_answer_is_repeated_and_then_left() {
    let mut world = fading(settings());
    world.base(BS1).mute = vec!["MOB_MSHO-REQ"];
    world.run(ms(1_600));
    let base = world.base(BS1);
    let count = base.received.iter().filter(|name| **name == "MOB_MSHO-REQ");
    assert_eq!(count.count(), 4);
    assert_eq!(world.primitives(), []);
    assert_eq!(world.station.serving(), Some(BS1));
}

#[test]
fn handover_that_is_not_recommended_is_not_made() {
    let mut world = fading(settings());
    world.base(BS1).recommends = Some(None);
    world.run(ms(1_500));
    assert_eq!(world.primitives(), []);
    assert_eq!(world.station.serving(), Some(BS1));
    let base = world.base(BS1);
    let count = base.received.iter().filter(|name| **name == "MOB_MSHO-REQ");
    assert_eq!(count.count(), 1, "it is asked again after a pause");
    assert_eq!(base.indications, []);
    // Those that could not say it in time take it now.
    base.recommends = None;
    world.run(ms(2_500));
    assert_eq!(world.primitives().first(), Some(&impend(BS2)));
}

// Rows: W16-04
#[test]
fn nobody_moves_to_a_base_station_that_no_scan_heard() {
    let mut world = World::neighborly(settings());
    world.order_by_base(BS1, &[BS3]);
    assert_eq!(world.primitives(), []);
    assert_eq!(world.base(BS1).indications, [HoIndication::Reject]);
    // Of several, the first that was heard.
    world.order_by_base(BS1, &[BS3, BS2]);
    assert_eq!(world.primitives(), [impend(BS2)]);
}

#[test]
fn repeated_mob_bsho_req_changes_nothing() {
    let mut world = World::neighborly(settings());
    world.order_by_base(BS1, &[BS2]);
    world.order_by_base(BS1, &[BS2]);
    assert_eq!(world.primitives(), [impend(BS2)]);
}

#[test]
fn mob_bsho_req_answers_the_stations_own_question() {
    let mut world = fading(settings());
    world.base(BS1).mute = vec!["MOB_MSHO-REQ"];
    while !world.base(BS1).received.contains(&"MOB_MSHO-REQ") {
        world.run(ms(10));
    }
    world.order_by_base(BS1, &[BS2]);
    assert_eq!(world.primitives(), [impend(BS2)]);
}

#[test]
fn link_switch_needs_no_word_of_a_base_station() {
    let mut world = World::neighborly(settings());
    world.order(Order::Switch { access_point: BS2 });
    world.run(ms(100));
    assert_eq!(world.primitives(), [LinkEvent::LinkDown, up(BS2)]);
}

#[test]
fn link_switch_that_cannot_be_obeyed_is_answered() {
    let mut world = World::neighborly(settings());
    world.order(Order::Switch { access_point: BS3 });
    world.order(Order::Switch { access_point: BS1 });
    assert_eq!(
        world.upward,
        [Upward::SwitchFailed(BS3), Upward::SwitchFailed(BS1)]
    );
    world.upward.clear();
    world.base(BS2).mute = vec!["RNG-REQ"];
    world.order(Order::Switch { access_point: BS2 });
    // Late, and the same: it is obeyed already.
    world.order(Order::Switch { access_point: BS2 });
    world.order(Order::Switch { access_point: BS1 });
    assert_eq!(
        world.upward,
        [
            Upward::Primitive(LinkEvent::LinkDown),
            Upward::SwitchFailed(BS1)
        ]
    );
    let mut world = World::new(settings());
    world.order(Order::Switch { access_point: BS2 });
    assert_eq!(world.upward, [Upward::SwitchFailed(BS2)]);
}

// Rows: W16-09
#[test]
fn lost_base_station_is_left_for_the_target_that_was_agreed_on() {
    let mut world = World::neighborly(Settings {
        link_switch_wait: ms(5_000),
        ..settings()
    });
    world.order_by_base(BS1, &[BS2]);
    world.base(BS1).dbm = None;
    world.run(ms(900));
    assert_eq!(
        world.primitives(),
        [impend(BS2), LinkEvent::LinkDown, up(BS2)]
    );
    assert_eq!(world.count("lost"), 1);
    assert_eq!(world.base(BS1).indications, [], "nobody would hear it");
}

// Rows: W16-14
#[test]
fn lost_base_station_is_left_for_the_best_that_was_heard() {
    let mut world = World::connected(settings());
    world.list = vec![BS2, BS3];
    world.run(ms(400));
    world.upward.clear();
    world.base(BS1).dbm = None;
    world.run(ms(900));
    assert_eq!(world.primitives()[..2], [LinkEvent::LinkDown, up(BS2)]);
}

#[test]
fn there_and_back_again_with_the_same_keys() {
    let mut world = World::neighborly(settings());
    world.list = vec![BS1, BS2];
    for round in 0..3 {
        for (from, to) in [(BS1, BS2), (BS2, BS1)] {
            world.order_by_base(from, &[to]);
            world.order(Order::Switch { access_point: to });
            world.run(ms(600));
            assert_eq!(
                world.primitives(),
                [
                    impend(to),
                    LinkEvent::LinkDown,
                    up(to),
                    LinkEvent::NewLinkDetected { access_point: from }
                ],
                "round {round}: {:#?}",
                world.log
            );
        }
    }
}
