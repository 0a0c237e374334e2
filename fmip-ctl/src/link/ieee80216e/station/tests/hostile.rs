//! What somebody else on the air can do: be counted.

use super::*;
use proptest::{collection::vec, prelude::*};

// Rows: W16-24
#[test]
fn flood_of_mob_bsho_req_without_a_valid_cmac_raises_nothing_but_a_count() {
    let mut world = World::neighborly(settings());
    let steps = world.steps.len();
    let message = || {
        Message::MobBshoReq(MobBshoReq {
            network_assisted: false,
            recommendation: World::recommend(&[BS2]),
            action_time: 0,
            unknown: Vec::new(),
        })
    };
    // Of another key: what somebody has who is not the base station.
    let ak = Ak::derive(&Pmk([1; KEY_LEN]), STATION, BS1);
    let mut other = Context::new(&ak, KEY_SEQUENCE, STATION, BS1, End::BaseStation);
    for _ in 0..500 {
        world.say_plainly(BS1, basic(BS1), message());
        let forged = other.sign(basic(BS1), message()).unwrap();
        world.transmit(BS1, &forged);
    }
    assert_eq!(world.primitives(), []);
    assert_eq!(world.count("cmac-missing"), 500);
    assert_eq!(world.count("cmac-wrong"), 500);
    assert_eq!(world.base(BS1).indications, []);
    // The first, the second, the fourth, ..., the 256th of each.
    assert_eq!(world.steps.len() - steps, 18);
    // The true one is heard after all that.
    world.order_by_base(BS1, &[BS2]);
    assert_eq!(
        world.primitives(),
        [LinkEvent::HandoverImpend { access_point: BS2 }]
    );
}

// Rows: W16-24
#[test]
fn flood_of_mob_bsho_req_without_a_valid_hmac_raises_nothing_but_a_count() {
    let mut world = World::neighborly(Settings {
        mac_mode: MacMode::Hmac,
        ..settings()
    });
    let message = || {
        Message::MobBshoReq(MobBshoReq {
            network_assisted: false,
            recommendation: World::recommend(&[BS2]),
            action_time: 0,
            unknown: Vec::new(),
        })
    };
    let somebody = |mode, pmk| {
        let ak = Ak::derive_for(mode, &pmk, STATION, BS1);
        Context::new(&ak, KEY_SEQUENCE, STATION, BS1, End::BaseStation)
    };
    let mut other = somebody(MacMode::Hmac, Pmk([1; KEY_LEN]));
    // Even who has the key is not heard in the other way.
    let mut otherwise = somebody(MacMode::Cmac, PMK);
    for _ in 0..100 {
        world.say_plainly(BS1, basic(BS1), message());
        for forger in [&mut other, &mut otherwise] {
            let forged = forger.sign(basic(BS1), message()).unwrap();
            world.transmit(BS1, &forged);
        }
    }
    assert_eq!(world.primitives(), []);
    for name in ["hmac-missing", "hmac-wrong", "cmac-not-negotiated"] {
        assert_eq!(world.count(name), 100, "{name}");
    }
    world.order_by_base(BS1, &[BS2]);
    assert_eq!(
        world.primitives(),
        [LinkEvent::HandoverImpend { access_point: BS2 }]
    );
}

// Rows: W16-24
#[test]
fn replayed_mob_bsho_req_raises_nothing() {
    let mut world = World::neighborly(settings());
    let message = Message::MobBshoReq(MobBshoReq {
        network_assisted: false,
        recommendation: World::recommend(&[BS3]),
        action_time: 0,
        unknown: Vec::new(),
    });
    let bytes = world.base(BS1).context.sign(basic(BS1), message).unwrap();
    world.transmit(BS1, &bytes);
    assert_eq!(world.base(BS1).indications, [HoIndication::Reject]);
    world.transmit(BS1, &bytes);
    assert_eq!(world.base(BS1).indications, [HoIndication::Reject]);
    assert_eq!(world.count("cmac-replayed"), 1);
}

// Rows: W16-03, W16-04
#[test]
fn flood_of_forged_mob_nbr_adv_is_bounded_and_the_true_neighbor_is_found() {
    let mut world = World::listing(settings());
    let start = world.now;
    let mut forged = 0_u32;
    while world.now - start < ms(10_000) {
        for _ in 0..20 {
            let bsids: Vec<_> = (0..10)
                .map(|_| {
                    forged += 1;
                    let [_, a, b, c] = forged.to_be_bytes();
                    MacAddr([2, 0, 0, 0x80 | a, b, c])
                })
                .collect();
            world.say_list(BS1, &bsids);
        }
        world.run(ms(20));
        assert!(world.station.neighbors.len() <= neighbors::MAX_NEIGHBORS);
    }
    assert_eq!(
        world.primitives(),
        [LinkEvent::NewLinkDetected { access_point: BS2 }]
    );
    let base = world.base(BS1);
    let scans = base.received.iter().filter(|name| **name == "MOB_SCN-REQ");
    assert!(scans.count() <= 52, "200 ms are between two");
    assert!(world.count("neighbors-full") > 1_000);
}

#[test]
fn challenge_of_somebody_else_is_not_answered() {
    let mut world = World::new(settings());
    world.base(BS1).mute = vec!["SBC-REQ"];
    world.run(ms(30));
    world.say_plainly(
        BS1,
        basic(BS1),
        Message::SbcRsp(BasicCapabilities::profile()),
    );
    let ak = Ak::derive(&Pmk([1; KEY_LEN]), STATION, BS1);
    let mut other = Context::new(&ak, KEY_SEQUENCE, STATION, BS1, End::BaseStation);
    let challenge = Pkm {
        bs_random: Some([1; 8]),
        ..Pkm::new(PkmCode::SaTekChallenge, 1)
    };
    let bytes = other
        .sign(primary(BS1), Message::PkmRsp(challenge))
        .unwrap();
    world.transmit(BS1, &bytes);
    assert_eq!(world.count("cmac-wrong"), 1);
    assert!(!world.base(BS1).received.contains(&"PKM-REQ"));
}

#[test]
fn nothing_but_what_was_offered_is_agreed_to() {
    for (offered, mac_mode, pkm_version) in [
        (MacMode::Cmac, Some(1), None),
        (MacMode::Cmac, None, Some(1)),
        (MacMode::Cmac, Some(0), Some(2)),
        (MacMode::Hmac, Some(2), None),
        (MacMode::Hmac, Some(4), Some(2)),
    ] {
        let mut world = World::new(Settings {
            mac_mode: offered,
            ..settings()
        });
        world.base(BS1).mute = vec!["SBC-REQ"];
        world.run(ms(30));
        let chosen = BasicCapabilities {
            security: Some(SecurityNegotiation {
                mac_mode,
                pkm_version,
                ..SecurityNegotiation::default()
            }),
            ..BasicCapabilities::profile()
        };
        world.say_plainly(BS1, basic(BS1), Message::SbcRsp(chosen));
        assert_eq!(world.count("entry-failed"), 1);
    }
}

/// A recorded answer, signed by the true base station, to a question of an earlier entry.
#[test]
fn answer_to_another_question_is_not_believed() {
    let mut world = World::new(settings());
    world.base(BS1).mute = vec!["PKM-REQ"];
    world.run(ms(50));
    assert!(world.base(BS1).received.contains(&"PKM-REQ"));
    let stale = Pkm {
        ms_random: Some([7; 8]),
        bs_random: Some([1; 8]),
        ..Pkm::new(PkmCode::SaTekResponse, 1)
    };
    world.say(BS1, primary(BS1), Message::PkmRsp(stale));
    assert_eq!(world.count("cmac-replayed"), 1);
    assert!(!world.base(BS1).received.contains(&"REG-REQ"));
}

#[test]
fn dl_map_of_another_base_station_is_not_taken_for_this_one() {
    let mut world = World::connected(settings());
    world.base(BS1).dbm = None;
    let map = Message::DlMap(DlMap {
        frame_duration: DlMap::FRAME_5_MS,
        frame_number: 0,
        dcd_count: 0,
        bsid: BS2,
        symbols: 0,
        allocations: Bytes::new(),
    });
    let pdu = Pdu {
        cid: cid::BROADCAST,
        message: map,
        authentication: None,
    };
    let now = world.now;
    let bytes = pdu.encode().unwrap();
    world.station.handle_frame(now, BS1, Some(-60), &bytes);
    assert_eq!(world.count("foreign-dl-map"), 1);
}

#[test]
fn message_on_anothers_connection_is_dropped() {
    let mut world = World::neighborly(settings());
    let message = Message::MobBshoReq(MobBshoReq {
        network_assisted: false,
        recommendation: World::recommend(&[BS2]),
        action_time: 0,
        unknown: Vec::new(),
    });
    world.say(BS1, 0x0777, message);
    assert_eq!(world.primitives(), []);
    assert_eq!(world.count("other-cid"), 1);
}

/// In which phase the station is when it is tried.
fn world_in(phase: u8) -> World {
    match phase {
        0 => World::new(settings()),
        1 => {
            let mut world = World::new(settings());
            world.base(BS1).mute = vec!["PKM-REQ"];
            world.run(ms(50));
            world
        }
        2 => World::connected(settings()),
        _ => {
            let mut world = World::neighborly(settings());
            world.order_by_base(BS1, &[BS2]);
            world
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_octets_in_any_phase_never_panic(
        phase in 0..4u8,
        frames in vec((0..3usize, any::<Option<i8>>(), vec(any::<u8>(), 0..60)), 1..20),
    ) {
        let mut world = world_in(phase);
        for (from, dbm, octets) in frames {
            let now = world.now;
            world.station.handle_frame(now, [BS1, BS2, BS3][from], dbm, &octets);
            world.drain();
            world.run(ms(7));
        }
    }

    /// Messages that are written well, and unsigned: nothing is told upwards because of them once
    /// the station is connected, but what a scan heard.
    #[test]
    fn unsigned_messages_move_nobody(kinds in vec(0..6u8, 1..30)) {
        let mut world = World::neighborly(settings());
        for kind in kinds {
            let message = match kind {
                0 => Message::MobBshoReq(MobBshoReq {
                    network_assisted: true,
                    recommendation: World::recommend(&[BS2, BS3]),
                    action_time: 1,
                    unknown: Vec::new(),
                }),
                1 => Message::MobBshoRsp(MobBshoRsp {
                    recommendation: Some(World::recommend(&[BS2])),
                    action_time: 0,
                    unknown: Vec::new(),
                }),
                2 => Message::RngRsp(RngRsp {
                    station: Some(STATION),
                    ..RngRsp::new(RangingStatus::Abort)
                }),
                3 => Message::MobScnRsp(MobScnRsp {
                    grant: None,
                    report_mode: 0,
                    report_period: 0,
                    unknown: Vec::new(),
                }),
                4 => Message::DsaAck(DsaAnswer {
                    transaction: 0x8000,
                    confirmation: Confirmation::Ok,
                    flows: Flows::default(),
                }),
                _ => Message::PkmRsp(Pkm::new(PkmCode::KeyReject, 0)),
            };
            world.say_plainly(BS1, basic(BS1), message);
            world.run(ms(13));
        }
        prop_assert_eq!(world.primitives(), []);
        prop_assert_eq!(world.station.serving(), Some(BS1));
    }
}
