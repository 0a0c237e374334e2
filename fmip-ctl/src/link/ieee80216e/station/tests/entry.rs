//! Network entry, whole and shortened, and what becomes of one that fails.

use super::*;

const ALL: HoOptimization = HoOptimization::OMIT_SBC
    .with(HoOptimization::OMIT_PKM)
    .with(HoOptimization::OMIT_REG)
    .with(HoOptimization::FULL_STATE);

/// Is moved by LINK_SWITCH to the second base station.
fn switched(settings: Settings, optimization: HoOptimization) -> World {
    let mut world = World::neighborly(settings);
    world.base(BS2).optimization = optimization;
    world.order(Order::Switch { access_point: BS2 });
    world
}

// Rows: W16-11
#[test]
fn first_entry_is_the_whole_of_it_and_link_up_comes_last() {
    let mut world = World::new(settings());
    world.run(ms(200));
    assert_eq!(
        world.sent_to(BS1)[..5],
        ["RNG-REQ", "SBC-REQ", "PKM-REQ", "REG-REQ", "DSA-RSP"]
    );
    let entry = world.steps.iter().map(|step| step.step.as_str());
    let entry: Vec<_> = entry.take_while(|step| *step != "MOB_NBR-ADV").collect();
    assert_eq!(
        entry,
        [
            "synchronise",
            "DL-MAP",
            "RNG-REQ",
            "RNG-RSP",
            "SBC-REQ",
            "SBC-RSP",
            "PKM-RSP",
            "PKM-REQ",
            "PKM-RSP",
            "REG-REQ",
            "REG-RSP",
            "DSA-REQ",
            "DSA-RSP",
            "DSA-ACK",
        ]
    );
    assert_eq!(
        world.primitives(),
        [LinkEvent::LinkUp { access_point: BS1 }]
    );
}

#[test]
fn without_a_base_station_to_begin_with_the_strongest_is_taken() {
    let mut world = World::new(Settings {
        first: None,
        ..settings()
    });
    world.base(BS3).dbm = Some(-50);
    world.run(ms(500));
    assert_eq!(world.station.serving(), Some(BS3));
}

// Rows: W16-11
#[test]
fn link_is_up_when_all_of_its_service_flows_are() {
    for (flows, made) in [(Some(0), 0), (Some(3), 3), (None, 1)] {
        let mut world = World::new(settings());
        world.base(BS1).flows = flows;
        world.run(ms(200));
        assert_eq!(
            world.primitives(),
            [LinkEvent::LinkUp { access_point: BS1 }]
        );
        let made_before = world.sent_to(BS1);
        let count = made_before.iter().filter(|name| **name == "DSA-RSP");
        assert_eq!(count.count(), made);
    }
    let mut world = World::new(settings());
    world.base(BS1).flows = Some(2);
    world.base(BS1).mute = vec!["DSA-RSP"];
    world.run(ms(250));
    assert_eq!(world.primitives(), []);
}

// Rows: W16-11
#[test]
fn what_the_target_has_from_the_serving_base_station_is_skipped() {
    for (optimization, sent) in [
        (
            HoOptimization::default(),
            &["RNG-REQ", "SBC-REQ", "PKM-REQ", "REG-REQ", "DSA-RSP"][..],
        ),
        (
            HoOptimization::OMIT_SBC,
            &["RNG-REQ", "PKM-REQ", "REG-REQ", "DSA-RSP"],
        ),
        (
            HoOptimization::OMIT_SBC.with(HoOptimization::UPDATE_TEK),
            &["RNG-REQ", "REG-REQ", "DSA-RSP"],
        ),
        (
            HoOptimization::OMIT_SBC
                .with(HoOptimization::OMIT_PKM)
                .with(HoOptimization::OMIT_REG),
            &["RNG-REQ", "DSA-RSP"],
        ),
        (ALL, &["RNG-REQ"]),
    ] {
        let mut world = switched(settings(), optimization);
        world.run(ms(100));
        assert_eq!(world.station.serving(), Some(BS2), "{:#?}", world.log);
        assert_eq!(world.sent_to(BS2)[..sent.len()], *sent, "{optimization:?}");
        assert_eq!(
            world.primitives(),
            [LinkEvent::LinkDown, LinkEvent::LinkUp { access_point: BS2 }]
        );
    }
}

#[test]
fn rng_rsp_of_a_handover_without_a_cmac_is_not_believed() {
    let mut world = World::neighborly(settings());
    world.base(BS2).mute = vec!["RNG-REQ"];
    world.order(Order::Switch { access_point: BS2 });
    world.run(ms(50));
    let forged = RngRsp {
        station: Some(STATION),
        basic_cid: Some(1),
        primary_cid: Some(2),
        ho_optimization: Some(ALL),
        ..RngRsp::new(RangingStatus::Success)
    };
    world.say_plainly(BS2, cid::INITIAL_RANGING, Message::RngRsp(forged));
    assert_eq!(world.station.serving(), None);
    assert_eq!(world.count("cmac-missing"), 1);
}

#[test]
fn questions_without_an_answer_are_repeated() {
    for (mute, stage) in [
        ("RNG-REQ", T3),
        ("SBC-REQ", ms(50)),
        ("PKM-REQ", ms(300)),
        ("REG-REQ", ms(1_000)),
    ] {
        let mut world = World::new(settings());
        world.base(BS1).mute = vec![mute];
        world.run(stage * 2 + ms(20));
        let count = world.sent_to(BS1);
        let count = count.iter().filter(|name| **name == mute).count();
        assert_eq!(count, 3, "{mute}");
        world.base(BS1).mute.clear();
        world.run(stage + ms(50));
        assert_eq!(world.station.serving(), Some(BS1), "{mute}");
    }
}

#[test]
fn dsa_rsp_without_an_ack_is_repeated_and_one_flow_is_made() {
    let mut world = World::new(settings());
    world.base(BS1).mute = vec!["DSA-RSP"];
    world.run(ms(400));
    assert_eq!(world.station.serving(), None);
    world.base(BS1).mute.clear();
    world.run(ms(300));
    assert_eq!(
        world.primitives(),
        [LinkEvent::LinkUp { access_point: BS1 }]
    );
}

// Rows: W16-14
#[test]
fn target_that_lets_nobody_in_is_left_for_the_old_base_station() {
    for mute in ["RNG-REQ", "SBC-REQ", "PKM-REQ", "REG-REQ", "DSA-RSP"] {
        let mut world = World::neighborly(settings());
        world.base(BS2).mute = vec![mute];
        world.base(BS1).optimization = ALL;
        world.order(Order::Switch { access_point: BS2 });
        world.run(ms(6_000));
        let log = world.log.clone();
        assert_eq!(
            world.primitives()[..2],
            [LinkEvent::LinkDown, LinkEvent::LinkUp { access_point: BS1 }],
            "{mute}: {log:#?}"
        );
        assert_eq!(world.station.serving(), Some(BS1));
        assert_eq!(world.count("entry-failed"), 1);
    }
}

#[test]
fn target_that_aborts_is_left_at_once_and_what_was_retained_is_used_again() {
    let mut world = World::neighborly(settings());
    world.base(BS2).ranging = RangingStatus::Abort;
    world.base(BS1).optimization = ALL;
    world.order_by_base(BS1, &[BS2]);
    world.order(Order::Switch { access_point: BS2 });
    world.run(ms(100));
    assert_eq!(world.station.serving(), Some(BS1));
    assert_eq!(
        world.base(BS1).indications,
        [HoIndication::Release { target: BS2 }, HoIndication::Cancel]
    );
    assert_eq!(
        world.primitives(),
        [
            LinkEvent::HandoverImpend { access_point: BS2 },
            LinkEvent::LinkDown,
            LinkEvent::LinkUp { access_point: BS1 }
        ]
    );
}

#[test]
fn what_was_retained_is_not_asked_for_when_its_time_is_over() {
    let mut world = World::neighborly(settings());
    // Longer than the 500 ms of REG-RSP.
    world.base(BS2).mute = vec!["RNG-REQ"];
    world.order_by_base(BS1, &[BS2]);
    world.order(Order::Switch { access_point: BS2 });
    world.run(ms(1_500));
    assert_eq!(world.station.serving(), Some(BS1));
    assert_eq!(
        world.base(BS1).indications,
        [HoIndication::Release { target: BS2 }]
    );
}

#[test]
fn when_the_old_base_station_is_gone_too_another_is_tried() {
    let mut world = World::connected(Settings {
        choose_target: false,
        ..settings()
    });
    world.list = vec![BS2, BS3];
    world.run(ms(400));
    world.upward.clear();
    world.base(BS2).ranging = RangingStatus::Abort;
    world.order_by_base(BS1, &[BS2]);
    world.base(BS1).dbm = None;
    world.order(Order::GoAhead);
    world.run(ms(2_000));
    assert_eq!(world.station.serving(), Some(BS3), "{:#?}", world.log);
    assert_eq!(
        world.primitives()[..3],
        [
            LinkEvent::HandoverImpend { access_point: BS2 },
            LinkEvent::LinkDown,
            LinkEvent::LinkUp { access_point: BS3 }
        ]
    );
}

#[test]
fn when_nobody_is_left_it_listens_for_anybody() {
    let mut world = World::neighborly(settings());
    world.base(BS1).dbm = None;
    world.base(BS2).dbm = None;
    world.base(BS3).dbm = None;
    world.run(ms(3_000));
    assert_eq!(world.primitives(), [LinkEvent::LinkDown]);
    assert_eq!(world.tuned, Tuned::All);
    world.base(BS3).dbm = Some(-80);
    world.run(ms(600));
    assert_eq!(
        world.primitives(),
        [LinkEvent::LinkUp { access_point: BS3 }]
    );
}

#[test]
fn station_that_was_started_anew_is_let_in_by_a_base_station_that_was_not() {
    let mut world = World::neighborly(settings());
    world.station = Station::new(Settings {
        seed: [10; 32],
        ..settings()
    });
    world.run(ms(200));
    assert_eq!(world.station.serving(), Some(BS1));
}

#[test]
fn random_numbers_are_never_the_same_twice() {
    let mut station = Station::new(settings());
    let numbers: std::collections::BTreeSet<_> = (0..1_000).map(|_| station.random()).collect();
    assert_eq!(numbers.len(), 1_000);
    let mut other = Station::new(Settings {
        seed: [8; 32],
        ..settings()
    });
    assert!(!numbers.contains(&other.random()));
}
