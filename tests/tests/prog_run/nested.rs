//! A mobile node that moved again before its first tunnel has ended: in two tunnels.

use std::net::Ipv6Addr;

use anyhow::Result;
use fmip_common::{
    buffer::{DRAIN_RELEASE, OUTCOME_EMPTY, OUTCOME_WAIT},
    reason::Reason,
};
use fmip_ctl::{
    io::maps::{Port, Release},
    proto::Tunnel,
};

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, Router, Verdict, address::*, in_namespace, later, on_router,
    },
    packets::{ICMPV6, IPV6, Packet},
    receiver::Receiver,
};

/// The second router, the end of the outer tunnel.
const NAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf2, 0, 0, 0, 0, 2);
/// Where the node is now, behind the third.
const THIRD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x10);

const OUTER: Tunnel = Tunnel {
    local: THIRD,
    remote: NAR,
};

/// The first tunnel, with nothing held.
fn first(bench: &mut Bench, router: &Router) -> Result<()> {
    let buffer = bench.hold_uplink(router)?;
    bench.close(buffer)
}

/// The second tunnel is there; what is to be released.
fn second(bench: &mut Bench, router: &Router) -> Result<Option<Release>> {
    bench
        .maps
        .release_uplink(NCOA, Some(OUTER), router.next_hop(), later())
}

/// A packet of the first PCoA, in both tunnels.
fn nested(packet: &Packet) -> Packet {
    in_tunnel(&in_tunnel(packet, NCOA, PAR), THIRD, NAR)
}

/// The flow label goes outward.
fn in_tunnel(packet: &Packet, source: Ipv6Addr, destination: Ipv6Addr) -> Packet {
    Packet {
        link_destination: NEXT_HOP_MAC,
        link_source: OUT_MAC,
        flow: packet.flow,
        ..packet.tunnelled(source, destination)
    }
}

// Rows: TUN-03, BUF-08
#[test]
fn packets_of_both_addresses_are_held_once_and_leave_each_in_its_tunnels() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        first(bench, router)?;
        let buffer = bench.maps.hold_uplink(NCOA, None, later())?;
        let packets: Vec<Packet> = (0..6)
            .map(|number| Packet::numbered([PCOA, NCOA][number as usize % 2], CN, number))
            .collect();
        let expected = |packet: &Packet| match packet.source {
            PCOA => nested(packet),
            _ => in_tunnel(packet, THIRD, NAR),
        };
        for sent in &packets {
            let sent = sent.octets();
            let ran = bench.mobile_out(&sent)?;
            assert_eq!(ran.verdict, Verdict::Drop);
            assert_eq!(ran.moved, [(Reason::Held, 1, sent.len() as u64)]);
        }
        let release = second(bench, router)?;
        assert_eq!(bench.releases(release)?, buffer);
        bench.drain(DRAIN_RELEASE, buffer, 6)?;
        bench.close(buffer)?;
        for (found, sent) in receiver.packets(6)?.iter().zip(&packets) {
            assert_eq!(*found, expected(sent));
        }
        for sent in &packets {
            let ran = bench.mobile_out(&sent.octets())?;
            let found = ran.is(Verdict::Pass, Reason::MobileTunnelled, &sent.octets());
            assert_eq!(found, expected(sent));
        }
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

/// The second move begins while the first buffer is still being drained: what is in it must neither leave by
/// the old link nor be overtaken.
#[test]
fn the_first_buffer_waits_until_the_second_is_drained() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let inner_buffer = bench.hold_uplink(router)?;
        let sent: Vec<Packet> = (0..4)
            .map(|number| Packet::numbered(PCOA, CN, number))
            .collect();
        for packet in &sent[..2] {
            bench.mobile_out(&packet.octets())?;
        }
        let outer_buffer = bench.maps.hold_uplink(NCOA, None, later())?;
        bench.mobile_out(&sent[2].octets())?;
        assert_eq!(bench.buffer(inner_buffer)?.waiting, 3);
        assert_eq!(bench.buffer(outer_buffer)?.waiting, 0);
        let (job, moved) = bench.drain(DRAIN_RELEASE, inner_buffer, 3)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_WAIT, 0));
        assert_eq!(moved, []);

        let release = second(bench, router)?;
        bench.releases(release)?;
        bench.close(outer_buffer)?;
        bench.mobile_out(&sent[3].octets())?;
        let (job, _) = bench.drain(DRAIN_RELEASE, inner_buffer, 5)?;
        assert_eq!((job.outcome, job.taken), (OUTCOME_EMPTY, 4));
        let packets = receiver.packets(4)?;
        for (found, sent) in packets.iter().zip(&sent) {
            assert_eq!(*found, nested(sent));
        }
        Ok(())
    });
}

/// Shut while the outer tunnel's packets are held, the first buffer would let a packet pass that looked
/// just before whether it was.
#[test]
fn the_first_buffer_is_not_found_empty_while_the_second_holds() {
    on_router(|bench, router| {
        let inner_buffer = bench.hold_uplink(router)?;
        bench.maps.hold_uplink(NCOA, None, later())?;
        let (job, _) = bench.drain(DRAIN_RELEASE, inner_buffer, 1)?;
        assert_eq!(job.outcome, OUTCOME_WAIT);
        Ok(())
    });
}

/// Behind the third router the node may keep the second address.
#[test]
fn without_an_outer_tunnel_the_inner_one_leaves_by_the_new_router() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        first(bench, router)?;
        let buffer = bench.maps.hold_uplink(NCOA, None, later())?;
        let sent = Packet::numbered(PCOA, CN, 0);
        bench.mobile_out(&sent.octets())?;
        let release = bench
            .maps
            .release_uplink(NCOA, None, router.next_hop(), later())?;
        bench.releases(release)?;
        bench.drain(DRAIN_RELEASE, buffer, 1)?;
        bench.close(buffer)?;
        let expected = in_tunnel(&sent, NCOA, PAR);
        assert_eq!(receiver.packets(1)?, std::slice::from_ref(&expected));
        let ran = bench.mobile_out(&sent.octets())?;
        let found = ran.is(Verdict::Pass, Reason::MobileTunnelled, &sent.octets());
        assert_eq!(found, expected);
        Ok(())
    });
}

#[test]
fn both_tunnels_are_opened() {
    on_router(|bench, router| {
        first(bench, router)?;
        bench.maps.hold_uplink(NCOA, Some(OUTER), later())?;
        let inner = Packet {
            class: 0b10,
            ..Packet::udp(CN, PCOA, 100)
        };
        let mut outer = inner.tunnelled(PAR, NCOA).tunnelled(NAR, THIRD);
        let sent = outer.octets();
        let ran = bench.mobile_in(&sent)?;
        assert_eq!(
            ran.is(Verdict::Pass, Reason::MobileUntunnelled, &sent),
            inner
        );

        // A mark of congestion that the inner tunnel's header cannot carry.
        outer.class = 0b11;
        let marked = outer.octets();
        let ran = bench.mobile_in(&marked)?;
        ran.is_unchanged(Verdict::Drop, Reason::CongestionLost, &marked);

        // For the second address, in the outer tunnel alone.
        let inner = Packet::udp(CN, NCOA, 100);
        let sent = inner.tunnelled(NAR, THIRD).octets();
        let ran = bench.mobile_in(&sent)?;
        assert_eq!(
            ran.is(Verdict::Pass, Reason::MobileUntunnelled, &sent),
            inner
        );
        // For somebody else, in the tunnel from the first router: opened once.
        let inner = Packet::udp(CN, OTHER, 100).tunnelled(PAR, NCOA);
        let sent = inner.tunnelled(NAR, THIRD).octets();
        let ran = bench.mobile_in(&sent)?;
        assert_eq!(
            ran.is(Verdict::Pass, Reason::MobileUntunnelled, &sent),
            inner
        );
        Ok(())
    });
}

// Rows: TUN-04
#[test]
fn the_inner_tunnel_of_another_stays_closed() {
    on_router(|bench, router| {
        first(bench, router)?;
        bench.maps.hold_uplink(NCOA, Some(OUTER), later())?;
        let inner = Packet::udp(CN, PCOA, 100).tunnelled(OTHER, NCOA);
        let sent = inner.tunnelled(NAR, THIRD).octets();
        let ran = bench.mobile_in(&sent)?;
        assert_eq!(ran.is(Verdict::Drop, Reason::Spoofed, &sent), inner);
        let advertisement = Packet {
            hop_limit: 255,
            ..Packet::of(CN, PCOA, ICMPV6, &[136, 0, 0, 0, 0, 0, 0, 0])
        };
        let inner = advertisement.tunnelled(PAR, NCOA);
        let sent = inner.tunnelled(NAR, THIRD).octets();
        let ran = bench.mobile_in(&sent)?;
        assert_eq!(ran.is(Verdict::Pass, Reason::LinkScope, &sent), inner);
        Ok(())
    });
}

/// The checksum stands behind a header more.
#[test]
fn the_checksum_of_a_tunnelled_packet_is_finished_too() {
    on_router(|bench, router| {
        first(bench, router)?;
        bench.maps.hold_uplink(NCOA, None, later())?;
        for (slot, octets) in [20, 23, 512, 1400, 1882].into_iter().enumerate() {
            let mut sent = Packet::udp(PCOA, CN, octets);
            let complete = sent.payload.clone();
            // The sum of the pseudo-header alone, as over a message of zeros.
            let nothing = Packet::of(PCOA, CN, sent.next_header, &vec![0; octets]);
            sent.payload[6..8].copy_from_slice(&(!nothing.checksum()).to_be_bytes());
            let ran = bench.mobile_out(&sent.octets())?;
            assert_eq!(ran.moved[0].0, Reason::Held);
            let held = Packet::read(&bench.slot(slot as u32)?);
            assert_eq!((held.source, held.destination), (NCOA, PAR));
            assert_eq!(held.inner().payload, complete, "{octets} octets");
        }
        Ok(())
    });
}

// Rows: TUN-08
#[test]
fn what_fits_in_one_tunnel_and_not_in_two_is_answered() {
    const MTU: usize = 1400;
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        let bench = &mut bench;
        bench
            .maps
            .add_interface(router.parked, MTU as u32, Port::of(router.parked))?;
        first(bench, &router)?;
        let buffer = bench.maps.hold_uplink(NCOA, None, later())?;
        let fits = Packet::udp(PCOA, CN, MTU - 3 * IPV6).octets();
        let too_big = Packet::udp(PCOA, CN, MTU - 3 * IPV6 + 1).octets();
        for sent in [&fits, &too_big] {
            let ran = bench.mobile_out(sent)?;
            assert_eq!(ran.moved[0].0, Reason::Held);
        }
        let release = second(bench, &router)?;
        bench.releases(release)?;
        let (_, moved) = bench.drain(DRAIN_RELEASE, buffer, 2)?;
        let count = |wanted| {
            moved
                .iter()
                .find(|(reason, _)| *reason == wanted)
                .map(|(_, packets)| *packets)
        };
        assert_eq!(count(Reason::Released), Some(1));
        assert_eq!(count(Reason::TooBigHeld), Some(1));
        bench.close(buffer)?;
        let ran = bench.mobile_out(&fits)?;
        ran.is(Verdict::Pass, Reason::MobileTunnelled, &fits);
        let ran = bench.mobile_out(&too_big)?;
        assert_eq!(ran.verdict, Verdict::Redirect);
        let answer = Packet::read(&ran.frame);
        assert_eq!((answer.next_header, answer.destination), (ICMPV6, PCOA));
        let mtu = u32::from_be_bytes(answer.payload[4..8].try_into()?);
        assert_eq!(mtu as usize, MTU - 2 * IPV6);
        Ok(())
    });
}
