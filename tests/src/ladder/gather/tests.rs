//! What becomes of messages, events and steps that are known from several places.

use serde_json::json;

use super::*;
use crate::{
    ladder::Reading,
    topology::{AccessPoint, PAR, PCOA},
};

const NAR: Ipv6Addr = Router::New.address();
const NCOA: Ipv6Addr = Router::New.care_of_address();
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// How far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC here.
const AHEAD: Duration = Duration::from_secs(1_000_000);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn reading(milliseconds: u64) -> Reading {
    Reading {
        monotonic: ms(milliseconds),
        realtime: ms(milliseconds) + AHEAD,
        error: Duration::from_micros(1),
    }
}

fn sources() -> Sources {
    let member = |access_point: AccessPoint, place| Member {
        id: access_point.id().to_owned(),
        place,
        router: place_of_router(access_point.router()),
    };
    Sources {
        title: "test".to_owned(),
        names: Names::access_points(),
        access_points: vec![
            member(AccessPoint::Previous, Place::OldAp),
            member(AccessPoint::New, Place::NewAp),
        ],
        began: ms(0),
        ended: ms(10_000),
        clocks: Clocks::between(reading(0), reading(10_000)),
        seen: Vec::new(),
        delivered: Vec::new(),
        events: Vec::new(),
        steps: Vec::new(),
        air: None,
        passages: Vec::new(),
        streams_began: ms(0),
    }
}

impl Sources {
    /// A message that `from` puts onto a wire, and that comes to `to` a moment later, if to anybody.
    fn saw(
        &mut self,
        at: u64,
        wire: &'static str,
        from: &str,
        to: Option<&str>,
        what: &str,
        ends: (Ipv6Addr, Ipv6Addr),
    ) -> &mut Self {
        let seen = Seen {
            at: ms(at) + AHEAD,
            by: from.to_owned(),
            what: what.to_owned(),
            source: ends.0,
            destination: ends.1,
            wire,
        };
        if let Some(to) = to {
            let mut there = seen.clone();
            to.clone_into(&mut there.by);
            there.at += Duration::from_micros(5);
            self.delivered.push(there);
        }
        self.seen.push(seen);
        self
    }

    fn events(&mut self, of: &'static str, events: &[(u64, &str, Value)]) -> &mut Self {
        let events = events.iter().map(|(at, name, fields)| Event {
            time_ns: at * 1_000_000,
            name: (*name).to_owned(),
            fields: fields.clone(),
        });
        self.events.push((of, events.collect()));
        self
    }

    /// Its rows, each as `time from > to: what`.
    fn rows(&self) -> Vec<String> {
        let rows = self.ladder().rows.into_iter().map(|row| {
            let to = row.to.map(|to| format!(" > {to:?}")).unwrap_or_default();
            let via = match row.via.as_slice() {
                [] => String::new(),
                via => format!(" via {via:?}"),
            };
            let lost = if row.lost { ", lost" } else { "" };
            let at = row.at.as_millis();
            format!("{at} {:?}{to}: {}{via}{lost}", row.from, row.what)
        });
        rows.collect()
    }
}

#[test]
fn a_message_that_is_seen_at_several_places_is_one_arrow() {
    let mut sources = sources();
    sources
        .saw(1, "air", "mn", Some("nar"), "FBU", (NCOA, PAR))
        .saw(2, "core", "nar", Some("par"), "FBU", (NCOA, PAR));
    assert_eq!(sources.rows(), ["0 MnL3 > Par: FBU via [Nar]"]);
}

#[test]
fn a_message_that_is_kept_on_its_way_is_two_arrows() {
    let mut sources = sources();
    let ends = (PAR, NCOA);
    sources
        .events(
            "nar",
            &[
                (1, "buffer-started", json!({"ncoa": NCOA})),
                (201, "buffer-drained", json!({"released": 1})),
            ],
        )
        .saw(2, "core", "par", Some("nar"), "FBack 0 in a tunnel", ends)
        .saw(200, "air", "nar", Some("mn"), "FBack 0", ends);
    assert_eq!(
        sources.rows(),
        [
            "0 Nar: buffer",
            "1 Par > Nar: FBack 0",
            "199 Nar > MnL3: FBack 0",
            "200 Nar: 1 released"
        ]
    );
}

#[test]
fn a_message_that_a_router_is_slow_to_pass_on_is_one_arrow() {
    let mut sources = sources();
    let buffer = |began: u64, ended: u64| {
        [
            (began, "buffer-started", json!({"ncoa": NCOA})),
            (ended, "buffer-drained", json!({"released": 1})),
        ]
    };
    let of_nar = [buffer(1, 5), buffer(300, 400)].concat();
    sources
        .events("nar", &of_nar)
        .events("par", &buffer(1, 500))
        .saw(10, "core", "par", Some("nar"), "FBack 0", (PAR, NCOA))
        .saw(250, "air", "nar", Some("mn"), "FBack 0", (PAR, NCOA))
        // What goes the other way is in no buffer.
        .saw(310, "air", "mn", Some("nar"), "FBU", (NCOA, PAR))
        .saw(390, "core", "nar", Some("par"), "FBU", (NCOA, PAR));
    let mut rows = sources.rows();
    rows.retain(|row| row.contains('>'));
    assert_eq!(
        rows,
        [
            "9 Par > MnL3: FBack 0 via [Nar]",
            "309 MnL3 > Par: FBU via [Nar]"
        ]
    );
}

#[test]
fn a_repeated_message_is_an_arrow_of_its_own() {
    let mut sources = sources();
    for at in [1, 5] {
        sources.saw(at, "air", "mn", Some("par"), "FBU", (PCOA, PAR));
    }
    assert_eq!(sources.rows(), ["0 MnL3 > Par: FBU", "4 MnL3 > Par: FBU"]);
}

#[test]
fn what_nobody_gets_is_lost() {
    let mut sources = sources();
    sources
        .saw(1, "air", "par", None, "FBack 0", (PAR, PCOA))
        .saw(2, "core", "par", None, "HI 0", (PAR, NAR));
    assert_eq!(
        sources.rows(),
        ["0 Par > MnL3: FBack 0, lost", "1 Par > Nar: HI 0, lost"]
    );
}

#[test]
fn what_was_sent_and_never_seen_is_lost_on_the_link_where_the_node_was() {
    let mut sources = sources();
    let up = json!({"primitive": "LINK_UP", "access_point": AccessPoint::New.id()});
    sources
        .events(
            "mn",
            &[
                (10, "fbu-sent", json!({})),
                (20, "fbu-sent", json!({})),
                (30, "primitive", up),
                (31, "una-sent", json!({})),
            ],
        )
        .saw(21, "air", "mn", Some("par"), "FBU", (PCOA, PAR));
    assert_eq!(
        sources.rows(),
        [
            "0 MnL3 > Par: FBU, lost",
            "11 MnL3 > Par: FBU",
            "20 MnL2 > MnL3: LINK_UP",
            "21 MnL3 > Nar: UNA, lost"
        ]
    );
}

#[test]
fn an_fna_with_an_fbu_inside_is_what_both_events_tell_of() {
    let mut sources = sources();
    sources
        .events(
            "mn",
            &[(10, "una-sent", json!({})), (10, "fbu-sent", json!({}))],
        )
        .saw(11, "air", "mn", Some("nar"), "FNA with FBU", (NCOA, NAR));
    assert_eq!(sources.rows(), ["0 MnL3 > Nar: FNA with FBU"]);
}

#[test]
fn of_the_advertisements_only_the_answers_are_shown() {
    let mut sources = sources();
    let to_all = (NAR, ALL_NODES);
    sources
        .saw(1, "air", "nar", Some("mn"), "RA", to_all)
        .saw(2, "air", "mn", Some("nar"), "RS", (NCOA, ALL_ROUTERS))
        .saw(3, "air", "par", Some("mn"), "RA", (PAR, ALL_NODES))
        .saw(4, "air", "nar", Some("mn"), "RA", to_all)
        .saw(1900, "air", "nar", Some("mn"), "RA", to_all)
        .saw(1901, "air", "nar", Some("mn"), "NS 2001:db8::1", to_all);
    assert_eq!(sources.rows(), ["0 MnL3 > Nar: RS", "2 Nar > MnL3: RA"]);
}

#[test]
fn events_and_wires_are_on_one_axis() {
    let mut sources = sources();
    let impends = json!({"primitive": "LINK_HANDOVER_IMPEND", "access_point": "x"});
    let tunnel = json!({"pcoa": PCOA, "ncoa": NCOA});
    let switch = json!({"primitive": "LINK_SWITCH"});
    sources
        .events(
            "mn",
            &[
                (1, "primitive", impends),
                (2, "fbu-sent", json!({})),
                (6, "link-switch", json!({})),
                (6, "primitive", switch),
                (9, "buffer-drained", json!({"released": 7})),
            ],
        )
        .events("par", &[(5, "tunnel-installed", tunnel)])
        .events("nar", &[(4, "first-held", json!({}))])
        .saw(3, "air", "mn", Some("par"), "FBU", (PCOA, PAR));
    assert_eq!(
        sources.rows(),
        [
            "0 MnL2 > MnL3: LINK_HANDOVER_IMPEND",
            "2 MnL3 > Par: FBU",
            "3 Nar: holds packets",
            "4 Par > Nar: packets: tunnel",
            "5 MnL3 > MnL2: LINK_SWITCH",
            "8 MnL3: 7 released"
        ]
    );
}

#[test]
fn a_primitive_is_about_the_base_station_that_it_names() {
    let mut sources = sources();
    let says = |name: &str, of: Option<&str>| json!({"primitive": name, "access_point": of});
    let (old, new) = (AccessPoint::Previous.id(), AccessPoint::New.id());
    sources.events(
        "mn",
        &[
            (1, "primitive", says("LINK_HANDOVER_IMPEND", Some(new))),
            (2, "primitive", says("LINK_SWITCH", Some(new))),
            (3, "primitive", says("LINK_DOWN", None)),
            (4, "primitive", says("LINK_UP", Some("02:00:00:00:0a:99"))),
            (5, "primitive", says("LINK_UP", Some(old))),
        ],
    );
    let rows = sources.ladder().rows;
    let about: Vec<_> = rows.iter().map(|row| row.about).collect();
    let (old, new) = (Some(Place::OldAp), Some(Place::NewAp));
    assert_eq!(about, [new, new, None, None, old]);
}

#[test]
fn what_was_before_the_play_is_left_out() {
    let mut sources = sources();
    sources.began = ms(100);
    for at in [99, 100] {
        sources.saw(at, "air", "mn", Some("par"), "RtSolPr", (PCOA, PAR));
    }
    assert_eq!(sources.rows(), ["0 MnL3 > Par: RtSolPr"]);
}

fn step(at: u64, name: &str, direction: Direction, peer: Option<&str>) -> Step {
    Step {
        time_ns: at * 1_000_000,
        step: name.to_owned(),
        direction,
        peer: peer.map(str::to_owned),
        detail: None,
    }
}

#[test]
fn a_step_that_both_ends_tell_is_one_arrow_and_one_that_one_end_misses_is_lost() {
    let mut sources = sources();
    let old = Some(AccessPoint::Previous.id());
    let told = |at, name: &str, direction: &str| {
        let fields = json!({
            "time_ns": at * 1_000_000_u64, "step": name, "direction": direction, "peer": old,
        });
        (at, "link-step", fields)
    };
    sources.events(
        "mn",
        &[
            told(1, "MOB_MSHO-REQ", "sent"),
            told(4, "MOB_BSHO-RSP", "received"),
            told(5, "MOB_HO-IND", "sent"),
        ],
    );
    let station = Some("02:00:00:00:00:01");
    sources.steps = vec![(
        Place::OldAp,
        vec![
            step(0, "MOB_NBR-ADV", Direction::Sent, None),
            step(2, "MOB_MSHO-REQ", Direction::Received, station),
            step(3, "MOB_BSHO-RSP", Direction::Sent, station),
            step(300, "resources released", Direction::Local, station),
        ],
    )];
    assert_eq!(
        sources.rows(),
        [
            "0 MnL2 > OldAp: MOB_MSHO-REQ",
            "2 OldAp > MnL2: MOB_BSHO-RSP",
            "4 MnL2 > OldAp: MOB_HO-IND, lost",
            "299 OldAp: resources released"
        ]
    );
}

#[test]
fn what_is_for_everybody_is_heard_when_it_was_said_last() {
    let mut sources = sources();
    let old = AccessPoint::Previous.id();
    let heard = |at: u64| {
        let fields = json!({
            "time_ns": at * 1_000_000, "step": "MOB_NBR-ADV", "direction": "received", "peer": old,
        });
        (at, "link-step", fields)
    };
    // The mobile node had to wait for the processor twice, the second time past the next one.
    sources.events("mn", &[heard(190), heard(405), heard(406)]);
    let said = |at| step(at, "MOB_NBR-ADV", Direction::Sent, None);
    let other = step(150, "MOB_NBR-ADV", Direction::Sent, None);
    sources.steps = vec![
        (Place::OldAp, [100, 200, 300, 400].map(said).to_vec()),
        (Place::NewAp, vec![other]),
    ];
    assert_eq!(
        sources.rows(),
        [
            "0 OldAp > MnL2: MOB_NBR-ADV",
            "300 OldAp > MnL2: MOB_NBR-ADV",
            "306 OldAp > MnL2: MOB_NBR-ADV"
        ]
    );
}

#[test]
fn a_message_of_the_key_exchange_is_told_with_its_code() {
    let mut sources = sources();
    let old = AccessPoint::Previous.id();
    let told = |at: u64, name: &str, direction: &str, code: &str| {
        let fields = json!({
            "time_ns": at * 1_000_000, "step": name, "direction": direction, "peer": old,
            "detail": code,
        });
        (at, "link-step", fields)
    };
    sources.events(
        "mn",
        &[
            told(5, "PKM-RSP", "received", "SA-TEK-Challenge"),
            told(6, "PKM-REQ", "sent", "SA-TEK-Request"),
            told(9, "PKM-RSP", "received", "SA-TEK-Response"),
        ],
    );
    let station = Some("02:00:00:00:00:01");
    let with = |step: Step, detail: &str| Step {
        detail: Some(detail.to_owned()),
        ..step
    };
    let challenge = |at| step(at, "PKM-RSP", Direction::Sent, station);
    sources.steps = vec![(
        Place::OldAp,
        vec![
            with(challenge(3), "SA-TEK-Challenge"),
            with(challenge(4), "SA-TEK-Challenge, again"),
            step(7, "PKM-REQ", Direction::Received, station),
            with(challenge(8), "SA-TEK-Response"),
        ],
    )];
    assert_eq!(
        sources.rows(),
        [
            "0 OldAp > MnL2: PKM-RSP SA-TEK-Challenge",
            "1 OldAp > MnL2: PKM-RSP SA-TEK-Challenge, lost",
            "3 MnL2 > OldAp: PKM-REQ SA-TEK-Request",
            "5 OldAp > MnL2: PKM-RSP SA-TEK-Response"
        ]
    );
}

#[test]
fn what_is_told_late_is_where_it_was_sent() {
    let mut sources = sources();
    let told = |at: u64, name: &str, to: AccessPoint| {
        let fields = json!({
            "time_ns": at * 1_000_000, "step": name, "direction": "sent", "peer": to.id(),
        });
        (at, "link-step", fields)
    };
    sources.events(
        "mn",
        &[
            told(20, "MOB_HO-IND", AccessPoint::Previous),
            told(21, "RNG-REQ", AccessPoint::New),
        ],
    );
    let station = Some("02:00:00:00:00:01");
    let received = |at, name| vec![step(at, name, Direction::Received, station)];
    sources.steps = vec![
        (Place::OldAp, received(22, "MOB_HO-IND")),
        (Place::NewAp, received(10, "RNG-REQ")),
    ];
    // One was told before the other, and the other was received before both were told.
    assert_eq!(
        sources.rows(),
        ["0 MnL2 > OldAp: MOB_HO-IND", "0 MnL2 > NewAp: RNG-REQ"]
    );
}

#[test]
fn the_steps_of_802_11_are_those_of_the_air_and_what_went_wrong_is_the_nodes() {
    let mut sources = sources();
    let new: fmip_ctl::wire::MacAddr = AccessPoint::New.id().parse().unwrap();
    let done = |began: u64, ended: u64, step| RecordedStep {
        time_ns: ended * 1_000_000,
        began_ns: began * 1_000_000,
        station: new,
        access_point: Some(new),
        step,
    };
    sources.air = Some(vec![
        done(1, 5, ieee80211::Step::Join),
        done(5, 9, ieee80211::Step::Authenticate),
        done(9, 10, ieee80211::Step::Layer2Update),
    ]);
    let told = |at: u64, step: &str, detail: Option<&str>| {
        let fields = json!({
            "time_ns": at * 1_000_000, "step": step, "direction": "received",
            "peer": new.to_string(), "detail": detail,
        });
        (at, "link-step", fields)
    };
    sources.events(
        "mn",
        &[
            told(6, "authenticate", None),
            told(20, "associate", Some("rejected: status 17")),
        ],
    );
    assert_eq!(
        sources.rows(),
        [
            "0 MnL2: join",
            "4 MnL2 > NewAp: authenticate",
            "8 NewAp > Nar: layer 2 update",
            "19 NewAp > MnL2: associate"
        ]
    );
}

#[test]
fn the_longest_silence_since_the_node_left_is_shown() {
    let mut sources = sources();
    sources.steps = vec![(
        Place::MnL2,
        vec![step(20, "disconnect", Direction::Local, None)],
    )];
    let passage = |sent, arrived: Option<u64>| Passage {
        sent: ms(sent),
        arrived: arrived.map(ms),
    };
    sources.passages = vec![
        passage(1, Some(1)),
        passage(3, Some(4)),
        passage(5, None),
        passage(7, Some(54)),
        passage(9, Some(56)),
    ];
    assert_eq!(
        sources.rows(),
        [
            "0 MnL3: last packet before the gap",
            "16 MnL2: disconnect",
            "50 MnL3: first packet after the gap"
        ]
    );
}
