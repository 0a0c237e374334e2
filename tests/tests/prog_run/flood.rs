//! More signalling than the controller reads: whose is lost, whose is not, and that all of it is counted.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::Result;
use fmip_common::{
    binding::NextHop,
    event::{Event, Kind},
    limits::EVENTS_PER_SECOND,
    reason::Reason,
    signalling::{LINK_ACCESS, LINK_CORE, Link, Rate},
};
use fmip_ctl::{proto::StationEvent, wire::MacAddr};
use fmip_tests::wait::elapse;

use crate::{
    bench::{Bench, Router, Verdict, address::*, later, on_router},
    events::Told,
    packets::{ETHERNET, Packet},
    signalling::{advertisement, fbu, frame, messages},
};

/// Messages at once from one source, of those that are not expected and of those that are.
const ONE: u32 = 100;
const ONE_EXPECTED: u32 = 1000;
/// From all of a link that are not expected.
const ALL: u32 = 500;

/// So many at once, and then one that no test waits for.
fn once(number: u32) -> Rate {
    const HOUR: u64 = 3_600_000_000_000;
    Rate {
        interval_ns: HOUR,
        tolerance_ns: HOUR * u64::from(number - 1),
    }
}

/// A link with those bounds; its queues begin at `queue`.
fn link(kind: u32, queue: u32) -> Link {
    Link {
        kind,
        queue,
        source: [once(ONE_EXPECTED), once(ONE)],
        all: [Rate::UNBOUNDED, once(ALL)],
    }
}

/// A link without rates: only the ring bounds what comes from it.
fn unbounded(kind: u32, queue: u32) -> Link {
    Link {
        kind,
        queue,
        ..Link::default()
    }
}

/// A message from this link-layer source.
fn from(mac: [u8; 6], mut frame: Vec<u8>) -> Vec<u8> {
    frame[6..12].copy_from_slice(&mac);
    frame
}

/// A message from this IPv6 source.
fn sent_by(source: Ipv6Addr, mut frame: Vec<u8>) -> Vec<u8> {
    frame[ETHERNET + 8..ETHERNET + 24].copy_from_slice(&source.octets());
    frame
}

fn handover_initiate() -> Vec<u8> {
    frame(PAR, None, messages()[2].clone())
}

/// A link-layer address that nobody has used yet, and neither will again.
fn made_up(number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [0x06, 0, a, b, c, d]
}

/// `number` messages, each from a station and an address of its own.
fn flood_of_strangers(bench: &mut Bench, interface: u32, number: u32) -> Result<()> {
    let message = frame(PAR, None, fbu());
    for place in 0..number {
        let source = Ipv6Addr::new(
            0x2001,
            0xdb8,
            0xbad,
            0,
            0,
            0,
            (place >> 16) as u16,
            place as u16,
        );
        let sent = sent_by(source, from(made_up(place), message.clone()));
        bench.send(interface, &sent, 1)?;
    }
    Ok(())
}

#[track_caller]
fn taken(bench: &mut Bench, interface: u32, sent: &[u8]) {
    let ran = bench.router_on(interface, sent).expect("it runs");
    ran.is_unchanged(Verdict::Drop, Reason::Signal, sent);
}

#[track_caller]
fn refused(bench: &mut Bench, interface: u32, sent: &[u8], reason: Reason) {
    let ran = bench.router_on(interface, sent).expect("it runs");
    ran.is_unchanged(Verdict::Drop, reason, sent);
}

/// Everything that is in the ring.
fn read_all(bench: &mut Bench) -> usize {
    std::iter::from_fn(|| bench.signal()).count()
}

/// The links of these tests: an access link, another, and one to the core.
fn links(bench: &mut Bench, router: &Router, link: fn(u32, u32) -> Link) -> Result<[u32; 3]> {
    const LOOPBACK: u32 = 1;
    let interfaces = [router.incoming, router.parked, LOOPBACK];
    let kinds = [LINK_ACCESS, LINK_ACCESS, LINK_CORE];
    for (place, (interface, kind)) in (1..).zip(interfaces.into_iter().zip(kinds)) {
        bench.admission.set_link(interface, link(kind, 2 * place))?;
    }
    bench.maps.add_local(PAR)?;
    bench.maps.set_peers(&[vec![OTHER]])?;
    Ok(interfaces)
}

// Rows: SEC-07
#[test]
fn one_station_cannot_talk_down_another_of_its_link() {
    on_router(|bench, router| {
        let [access, ..] = links(bench, router, link)?;
        let sent = frame(PAR, None, fbu());
        let moved = bench.flood(access, &sent, 20_000)?;
        assert_eq!(moved[&Reason::Signal], u64::from(ONE));
        assert_eq!(moved[&Reason::SignalSourceRate], 20_000 - u64::from(ONE));
        assert_eq!(moved.len(), 2, "{moved:?}");
        taken(bench, access, &from([2, 0, 0, 0, 0, 0x44], sent.clone()));
        refused(bench, access, &sent, Reason::SignalSourceRate);
        // The kernel has its copy all the same.
        let copied = frame(PAR, None, advertisement());
        let ran = bench.router_on(access, &copied)?;
        ran.is_unchanged(Verdict::Pass, Reason::SignalSourceRate, &copied);
        // By another name it is the same station.
        let renamed = sent_by(OTHER, sent.clone());
        refused(bench, access, &renamed, Reason::SignalSourceRate);
        assert_eq!(read_all(bench), ONE as usize + 1);
        Ok(())
    });
}

#[test]
fn whoever_was_too_fast_is_heard_again_when_it_is_slower() {
    const RATE: u32 = 20;
    on_router(|bench, router| {
        let [access, ..] = links(bench, router, unbounded)?;
        let limited = Link {
            source: [Rate::UNBOUNDED, Rate::per_second(RATE, RATE)],
            ..unbounded(LINK_ACCESS, 2)
        };
        bench.admission.set_link(access, limited)?;
        let sent = frame(PAR, None, fbu());
        let moved = bench.flood(access, &sent, 20_000)?;
        assert!(moved[&Reason::Signal] >= u64::from(RATE), "{moved:?}");
        assert!(moved[&Reason::Signal] < 10 * u64::from(RATE), "{moved:?}");
        elapse(Duration::from_secs(1) / RATE)?;
        taken(bench, access, &sent);
        Ok(())
    });
}

/// On the core every router comes by way of the same link-layer address.
#[test]
fn one_router_cannot_talk_down_another_of_the_core() {
    on_router(|bench, router| {
        let [.., core] = links(bench, router, link)?;
        let sent = handover_initiate();
        let flood = bench.flood(core, &sent, 20_000)?;
        assert_eq!(flood[&Reason::Signal], u64::from(ONE), "{flood:?}");
        refused(bench, core, &sent, Reason::SignalSourceRate);
        taken(bench, core, &sent_by(CN, sent.clone()));
        // A peer speaks for many nodes.
        let flood = bench.flood(core, &sent_by(OTHER, sent), 20_000)?;
        assert_eq!(flood[&Reason::Signal], u64::from(ONE_EXPECTED));
        Ok(())
    });
}

/// Every message has another link-layer and another IPv6 source, so that no bucket of a source helps.
// Rows: SEC-07
#[test]
fn strangers_without_number_keep_none_away_who_is_expected() {
    on_router(|bench, router| {
        let [access, other, core] = links(bench, router, link)?;
        let station = MacAddr([2, 0, 0, 0, 0, 0x55]);
        bench.admission.note(&StationEvent::Attached {
            interface: access,
            address: PCOA,
            link_address: station,
        })?;
        // An HI said that it would come to this link.
        let coming = MacAddr([2, 0, 0, 0, 0, 0x56]);
        let hop = NextHop::untagged(access, coming.0, [2; 6]);
        bench.maps.hold(NCOA, hop, None, later())?;

        flood_of_strangers(bench, access, 5_000)?;
        let message = frame(PAR, None, fbu());
        let stranger = from([2, 0, 0, 0, 0, 0x57], message.clone());
        refused(bench, access, &stranger, Reason::SignalLinkRate);
        // The known station, by whatever address.
        taken(
            bench,
            access,
            &sent_by(OTHER, from(station.0, message.clone())),
        );
        // The one that is coming, by its new address and no other.
        let una = from(coming.0, frame(PAR, None, advertisement()));
        let ran = bench.router_on(access, &una)?;
        ran.is_unchanged(Verdict::Pass, Reason::SignalCopied, &una);
        refused(
            bench,
            access,
            &sent_by(CN, from(coming.0, message.clone())),
            Reason::SignalLinkRate,
        );
        // That address alone is no password, and neither is the station on another link.
        refused(bench, access, &stranger, Reason::SignalLinkRate);
        // The other links do not notice: a stranger, a peer, a router that nobody knows.
        taken(bench, other, &stranger);
        taken(bench, core, &sent_by(OTHER, handover_initiate()));
        taken(bench, core, &sent_by(CN, handover_initiate()));

        // The same on the core.
        flood_of_strangers(bench, core, 5_000)?;
        let stranger = sent_by(PCOA, handover_initiate());
        refused(bench, core, &stranger, Reason::SignalLinkRate);
        taken(bench, core, &sent_by(OTHER, handover_initiate()));
        taken(bench, access, &from(station.0, message.clone()));

        // Once it has left it is a stranger.
        bench.admission.note(&StationEvent::Departed {
            interface: access,
            address: PCOA,
        })?;
        flood_of_strangers(bench, access, 1_000)?;
        let left = from(station.0, message);
        refused(bench, access, &left, Reason::SignalLinkRate);
        Ok(())
    });
}

/// Nobody reads, and no rate bounds anything.
#[test]
fn no_queue_takes_the_ring_from_the_others() {
    on_router(|bench, router| {
        let [access, other, core] = links(bench, router, unbounded)?;
        let message = frame(PAR, None, fbu());
        let hi = handover_initiate();
        let from_peer = sent_by(OTHER, hi.clone());
        let mut put = Vec::new();
        for (interface, sent) in [(access, &message), (other, &message), (core, &hi)] {
            let moved = bench.flood(interface, sent, 20_000)?;
            assert_eq!(moved[&Reason::Signal] + moved[&Reason::SignalShare], 20_000);
            put.push(moved[&Reason::Signal]);
            // A frame of the longest kind, too.
            let mut long = from_peer.clone();
            long.resize(1500, 0);
            taken(bench, core, &long);
        }
        // Thousands of real messages, and half of what was left for each.
        assert!(put[0] > 3000, "{put:?}");
        assert!(put[1] * 2 > put[0] - 100 && put[1] < put[0], "{put:?}");
        assert!(put[2] > 500, "{put:?}");
        let moved = bench.flood(core, &from_peer, 20_000)?;
        let peers = moved[&Reason::Signal];
        assert!(peers > 500, "{moved:?}");
        // There is room for one that was quiet, even now.
        bench.admission.note(&StationEvent::Attached {
            interface: access,
            address: PCOA,
            link_address: MacAddr([2, 0, 0, 0, 0, 0x55]),
        })?;
        taken(bench, access, &from([2, 0, 0, 0, 0, 0x55], message.clone()));
        let read = read_all(bench) as u64;
        assert_eq!(read, put.iter().sum::<u64>() + 3 + peers + 1);
        // All of it was given back.
        let moved = bench.flood(access, &message, 20_000)?;
        assert_eq!(moved[&Reason::Signal], put[0]);
        Ok(())
    });
}

/// 100 000 messages of four senders on three links to a reader that reads every third of them.
#[test]
fn what_is_lost_is_counted_to_the_last_message() {
    const ROUNDS: u32 = 250;
    const EACH: u32 = 100;
    on_router(|bench, router| {
        let [access, other, core] = links(bench, router, unbounded)?;
        // One of them is limited by its rate as well.
        bench.admission.set_link(other, link(LINK_ACCESS, 4))?;
        let message = frame(PAR, None, fbu());
        let hi = handover_initiate();
        let senders = [
            (access, message.clone()),
            (other, message),
            (core, hi.clone()),
            (core, sent_by(OTHER, hi)),
        ];
        let mut counted = BTreeMap::<Reason, u64>::new();
        let mut delivered = 0;
        for _ in 0..ROUNDS {
            for (interface, sent) in &senders {
                for (reason, packets) in bench.flood(*interface, sent, EACH)? {
                    *counted.entry(reason).or_default() += packets;
                }
                for _ in 0..EACH / 3 {
                    delivered += u64::from(bench.signal().is_some());
                }
            }
        }
        delivered += read_all(bench) as u64;
        assert_eq!(counted[&Reason::Signal], delivered, "{counted:?}");
        let sent = u64::from(ROUNDS * EACH) * senders.len() as u64;
        assert_eq!(sent, 100_000);
        assert_eq!(counted.values().sum::<u64>(), sent, "{counted:?}");
        for reason in [Reason::SignalShare, Reason::SignalSourceRate] {
            assert!(counted[&reason] > 1000, "{counted:?}");
        }
        Ok(())
    });
}

#[test]
fn a_refused_message_is_told_a_few_times_and_counted_always() {
    on_router(|bench, router| {
        let [access, ..] = links(bench, router, link)?;
        let mut events = Told::new(bench)?;
        let sent = frame(PAR, None, fbu());
        let start = Instant::now();
        let moved = bench.flood(access, &sent, 20_000)?;
        // So many at once, and as many in a second: one more for what of a second had passed before.
        let earned = start.elapsed().as_millis() as u64 * u64::from(EVENTS_PER_SECOND) / 1000 + 1;
        let refused = moved[&Reason::SignalSourceRate];
        let record = events.next().expect("an event");
        assert_eq!(record.len(), size_of::<Event>());
        let word = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("four"));
        assert_eq!(word(8), Kind::SignalRefused as u32);
        assert_eq!(word(12), access);
        assert_eq!(word(16), Reason::SignalSourceRate as u32);
        assert_eq!(record[20..26], sent[6..12]);
        assert_eq!(record[32..48], NCOA.octets());
        assert_eq!(record[48..64], PAR.octets());
        let told = 1 + std::iter::from_fn(|| events.next()).count() as u64;
        let rate = u64::from(EVENTS_PER_SECOND);
        assert!(told >= rate, "{told} were told");
        assert!(told <= rate + earned, "{told} were told");
        assert_eq!(told + events.lost(Kind::SignalRefused)?, refused);
        assert_eq!(events.lost(Kind::Spoofed)?, 0);
        Ok(())
    });
}

/// Somebody who sends in the name of a bound node, from outside and in a tunnel of its own.
// Rows: TUN-04
#[test]
fn a_spoofed_packet_is_told_with_its_addresses() {
    on_router(|bench, router| {
        links(bench, router, unbounded)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let mut events = Told::new(bench)?;
        let sent = Packet::udp(PCOA, CN, 40).tunnelled(OTHER, PAR).octets();
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent);
        let record = events.next().expect("an event");
        let word = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("four"));
        assert_eq!(word(8), Kind::Spoofed as u32);
        assert_eq!(word(12), router.incoming);
        assert_eq!(record[20..26], sent[6..12]);
        assert_eq!(record[32..48], OTHER.octets());
        assert_eq!(record[48..64], PCOA.octets());
        assert_eq!(record[64..80], CN.octets());
        assert_eq!(events.next(), None);
        // Out of its own tunnel it is nothing to tell.
        let sent = Packet::udp(PCOA, CN, 40).tunnelled(NCOA, PAR).octets();
        bench.router_on(router.incoming, &sent)?;
        assert_eq!(events.next(), None);
        assert_eq!(events.lost(Kind::Spoofed)?, 0);
        Ok(())
    });
}
