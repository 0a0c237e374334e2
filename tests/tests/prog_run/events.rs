//! What the data path tells people, besides counting it.

use std::net::Ipv6Addr;

use anyhow::Result;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use fmip_common::{
    event::{Event, Kind},
    limits::EVENTS_PER_SECOND,
    reason::Reason,
};

use crate::{
    bench::{Bench, Router, Verdict, WIDE, address::*, in_namespace, later, on_router},
    packets::{Packet, SENDER_MAC},
};

/// The records of events, and how many of a kind were not told.
pub(crate) struct Told {
    ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
}

impl Told {
    pub(crate) fn new(bench: &mut Bench) -> Result<Self> {
        let ebpf = bench.programs.ebpf();
        Ok(Self {
            ring: ebpf.take_map("EVENTS").expect("a map").try_into()?,
            lost: ebpf.take_map("EVENTS_LOST").expect("a map").try_into()?,
        })
    }

    /// The next record as it is.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        self.ring.next().map(|record| record.to_vec())
    }

    pub(crate) fn lost(&self, kind: Kind) -> Result<u64> {
        Ok(self.lost.get(&(kind as u32), 0)?.iter().sum())
    }

    /// All that was told since the last time.
    fn seen(&mut self) -> Vec<Seen> {
        let records = std::iter::from_fn(|| self.next());
        records.map(|record| Seen::read(&record)).collect()
    }
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: Kind,
    interface: u32,
    link_source: [u8; 6],
    addresses: [Ipv6Addr; 3],
}

impl Seen {
    fn read(record: &[u8]) -> Self {
        assert_eq!(record.len(), size_of::<Event>());
        let word = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("four"));
        let address = |number: usize| {
            let at = 32 + 16 * number;
            Ipv6Addr::from(<[u8; 16]>::try_from(&record[at..at + 16]).expect("sixteen"))
        };
        Self {
            kind: Kind::ALL[word(8) as usize],
            interface: word(12),
            link_source: record[20..26].try_into().expect("six"),
            addresses: [address(0), address(1), address(2)],
        }
    }

    /// An event of a packet that came in on `interface` from where packets of these tests come from.
    fn of(kind: Kind, interface: u32, addresses: [Ipv6Addr; 3]) -> Self {
        Self {
            kind,
            interface,
            link_source: SENDER_MAC,
            addresses,
        }
    }
}

const NONE: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
/// Interface index of the loopback, where packets come in unless a test says otherwise.
const LOOPBACK: u32 = 1;
/// Next header of the mobility header.
const MOBILITY: u8 = 135;

#[test]
fn the_first_packet_of_the_stream_that_a_buffer_holds_is_told() {
    on_router(|bench, router| {
        bench.hold(NCOA, router)?;
        let mut events = Told::new(bench)?;
        // Signalling to the node goes ahead of the stream, and begins none.
        let signal = Packet::of(CN, NCOA, MOBILITY, &[59, 0, 9, 0, 0, 0, 0, 0]).octets();
        let ran = bench.router_on(router.incoming, &signal)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &signal);
        assert_eq!(events.seen(), []);
        for number in 0..3 {
            let sent = Packet::numbered(CN, NCOA, number).octets();
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_frame(Verdict::Drop, Reason::Held, &sent);
        }
        let first = Seen::of(Kind::FirstHeld, router.incoming, [CN, NCOA, NONE]);
        assert_eq!(events.seen(), [first]);
        assert_eq!(events.lost(Kind::FirstHeld)?, 0);
        Ok(())
    });
}

#[test]
fn of_a_node_that_leaves_the_first_packet_it_sends_is_told() {
    on_router(|bench, _| {
        bench.maps.hold_uplink(PCOA, None, later())?;
        let mut events = Told::new(bench)?;
        for number in 0..3 {
            bench.mobile_out(&Packet::numbered(PCOA, CN, number).octets())?;
        }
        let first = Seen::of(Kind::FirstHeld, LOOPBACK, [PCOA, PCOA, NONE]);
        assert_eq!(events.seen(), [first]);
        Ok(())
    });
}

/// A pool of four packets, for two nodes.
#[test]
fn a_full_pool_is_told_a_few_times_and_counted_always() {
    in_namespace(|namespace| {
        let mut bench = Bench::with(4, WIDE)?;
        let router = Router::new(namespace, &mut bench)?;
        bench.hold(NCOA, &router)?;
        bench.hold(OTHER, &router)?;
        let mut events = Told::new(&mut bench)?;
        let fitting = Packet::udp(CN, OTHER, 40).octets();
        let moved = bench.flood(router.incoming, &fitting, 4)?;
        assert_eq!(moved[&Reason::Held], 4);
        let first = Seen::of(Kind::FirstHeld, router.incoming, [CN, OTHER, NONE]);
        assert_eq!(events.seen(), [first]);

        let sent = Packet::udp(CN, NCOA, 40).octets();
        let moved = bench.flood(router.incoming, &sent, 10_000)?;
        let refused = moved[&Reason::PoolFull];
        assert_eq!(refused, 10_000);
        let told = events.seen();
        let full = Seen::of(Kind::PoolFull, router.incoming, [CN, NCOA, NONE]);
        assert!(told.iter().all(|event| *event == full), "{told:?}");
        let told = told.len() as u64;
        assert!(
            (1..refused / 2).contains(&told) && told >= u64::from(EVENTS_PER_SECOND),
            "{told} were told"
        );
        assert_eq!(told + events.lost(Kind::PoolFull)?, refused);
        Ok(())
    });
}

#[test]
fn a_next_hop_without_a_link_layer_address_is_told() {
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        bench.maps.add_local(PAR)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let mut events = Told::new(&mut bench)?;
        let into = Packet::udp(CN, PCOA, 100).octets();
        let out = Packet::udp(PCOA, CN, 100).tunnelled(NCOA, PAR).octets();
        namespace.ip("neighbor del 2001:db8:f::2 dev out0")?;
        let ran = bench.router_on(router.incoming, &into)?;
        ran.is(Verdict::Pass, Reason::TunnelledByKernel, &into);
        // It is the tunnel's far end that cannot be reached.
        let missing = |addresses| Seen::of(Kind::NextHopMissing, router.incoming, addresses);
        assert_eq!(events.seen(), [missing([PAR, NCOA, NONE])]);
        let ran = bench.router_on(router.incoming, &out)?;
        ran.is(Verdict::Pass, Reason::UntunnelledByKernel, &out);
        assert_eq!(events.seen(), [missing([PCOA, CN, NONE])]);

        // As soon as it is known, there is nothing to tell.
        namespace
            .ip("neighbor add 2001:db8:f::2 lladdr 02:00:00:00:00:11 dev out0 nud permanent")?;
        let ran = bench.router_on(router.incoming, &into)?;
        ran.is(Verdict::Redirect, Reason::Tunnelled, &into);
        let ran = bench.router_on(router.incoming, &out)?;
        ran.is(Verdict::Redirect, Reason::Untunnelled, &out);
        assert_eq!(events.seen(), []);
        Ok(())
    });
}

// Rows: TUN-04
#[test]
fn a_mobile_node_tells_of_a_tunnel_from_somebody_else() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        let mut events = Told::new(bench)?;
        let inner = Packet::udp(CN, PCOA, 100);
        let own = inner.tunnelled(PAR, NCOA).octets();
        let ran = bench.mobile_in(&own)?;
        ran.is(Verdict::Pass, Reason::MobileUntunnelled, &own);
        assert_eq!(events.seen(), []);
        let others = inner.tunnelled(OTHER, NCOA).octets();
        let ran = bench.mobile_in(&others)?;
        ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &others);
        let spoofed = Seen::of(Kind::Spoofed, LOOPBACK, [OTHER, CN, PCOA]);
        assert_eq!(events.seen(), [spoofed]);
        Ok(())
    });
}
