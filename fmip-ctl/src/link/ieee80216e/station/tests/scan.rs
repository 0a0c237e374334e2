//! Scanning: whom, when, and what is told of it.

use super::*;

// Rows: W16-02, W16-04
#[test]
fn base_station_of_a_list_is_told_when_a_scan_heard_it_and_once() {
    let mut world = World::listing(settings());
    world.run(ms(2_000));
    assert_eq!(
        world.primitives(),
        [LinkEvent::NewLinkDetected { access_point: BS2 }]
    );
    let log = world.log.join("\n");
    let request = log.find("MOB_SCN-REQ").unwrap();
    let told = log.find("NewLinkDetected").unwrap();
    assert!(request < told);
    let names: Vec<_> = world.steps.iter().map(|step| step.step.as_str()).collect();
    let list = names
        .iter()
        .rposition(|name| *name == "MOB_NBR-ADV")
        .unwrap();
    assert_eq!(
        names[list..],
        [
            "MOB_NBR-ADV",
            "MOB_SCN-REQ",
            "MOB_SCN-RSP",
            "scan",
            "MOB_SCN-REP"
        ]
    );
}

// Rows: W16-04
#[test]
fn base_station_that_no_scan_hears_is_never_told() {
    let mut world = World::listing(settings());
    world.list = vec![MacAddr([2, 0, 0, 0, 0x66, 6])];
    world.run(ms(3_000));
    assert_eq!(world.primitives(), []);
    assert!(world.count("scan-silent") >= 2);
}

#[test]
fn station_hears_its_own_base_station_or_those_that_it_scans_never_both() {
    let mut world = World::listing(Settings {
        scan_iterations: 3,
        ..settings()
    });
    world.log.clear();
    world.run(ms(500));
    let tunings: Vec<_> = world
        .log
        .iter()
        .filter_map(|line| line.strip_prefix("tune "))
        .collect();
    let (scanned, own) = (
        format!("{:?}", Tuned::to(BS2)),
        format!("{:?}", Tuned::to(BS1)),
    );
    assert_eq!(tunings, [&scanned, &own, &scanned, &own, &scanned, &own]);
}

#[test]
fn scans_keep_their_distance() {
    let mut world = World::listing(Settings {
        scan_interval: ms(400),
        ..settings()
    });
    world.base(BS1).dbm = Some(-85);
    world.base(BS2).dbm = Some(-84);
    world.run(ms(4_100));
    let base = world.base(BS1);
    let scans = base.received.iter().filter(|name| **name == "MOB_SCN-REQ");
    assert!((5..=11).contains(&scans.count()));
}

#[test]
fn scan_that_is_not_answered_is_asked_for_again_and_one_that_is_refused_later() {
    let mut world = World::listing(settings());
    world.base(BS1).mute = vec!["MOB_SCN-REQ"];
    world.run(ms(450));
    let base = world.base(BS1);
    assert!(
        base.received
            .iter()
            .filter(|name| **name == "MOB_SCN-REQ")
            .count()
            >= 3
    );
    world.base(BS1).mute.clear();
    world.run(ms(1_000));
    assert_eq!(
        world.primitives(),
        [LinkEvent::NewLinkDetected { access_point: BS2 }]
    );
    let mut world = World::listing(settings());
    world.base(BS1).mute = vec!["MOB_SCN-REQ"];
    world.run(ms(60));
    let refused = MobScnRsp {
        grant: None,
        report_mode: 0,
        report_period: 0,
        unknown: Vec::new(),
    };
    world.say(BS1, basic(BS1), Message::MobScnRsp(refused));
    assert_eq!(world.tuned, Tuned::to(BS1));
    world.base(BS1).mute.clear();
    world.run(ms(1_000));
    assert_eq!(
        world.primitives(),
        [LinkEvent::NewLinkDetected { access_point: BS2 }]
    );
}

#[test]
fn nobody_is_listened_to_that_was_not_asked_for() {
    let mut world = World::listing(settings());
    world.base(BS1).mute = vec!["MOB_SCN-REQ"];
    world.run(ms(60));
    let request = MobScnReq {
        duration: 10,
        interleaving: 0,
        iterations: 1,
        targets: vec![crate::link::ieee80216e::message::ScanTarget {
            bsid: BS3,
            kind: crate::link::ieee80216e::message::ScanType::Listen,
        }],
        unknown: Vec::new(),
    };
    world.say(BS1, basic(BS1), Message::MobScnRsp(grant(&request)));
    world.base(BS1).mute.clear();
    world.run(ms(100));
    assert!(
        !world
            .log
            .iter()
            .any(|line| *line == format!("tune {:?}", Tuned::to(BS3)))
    );
}

#[test]
fn handover_ends_a_scan() {
    let mut world = World::neighborly(settings());
    world.list = vec![BS2, BS3];
    while world.tuned != Tuned::to(BS3) {
        world.run(ms(5));
    }
    world.order(Order::Switch { access_point: BS2 });
    assert_eq!(world.tuned, Tuned::to(BS2));
    assert_eq!(
        world.base(BS1).indications,
        [HoIndication::Release { target: BS2 }]
    );
}

#[test]
fn base_station_is_not_lost_while_others_are_listened_to() {
    let mut world = World::listing(Settings {
        scan_duration: 200,
        lost_dl_map: ms(100),
        ..settings()
    });
    world.run(ms(3_000));
    assert_eq!(
        world.primitives(),
        [LinkEvent::NewLinkDetected { access_point: BS2 }]
    );
    assert_eq!(world.count("lost"), 0);
}

#[test]
fn people_see_who_is_heard_the_strongest_first() {
    let world = World::neighborly(settings());
    let heard: Vec<_> = world
        .heard
        .iter()
        .map(|heard| (heard.access_point, heard.signal_dbm, heard.attached))
        .collect();
    assert_eq!(heard, [(BS1, Some(-60), true), (BS2, Some(-70), false)]);
}
