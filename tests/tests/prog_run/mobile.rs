//! The mobile node's programs: out of the tunnel, and into the reverse tunnel.

use std::{net::UdpSocket, time::Duration};

use anyhow::Result;
use aya::programs::TcAttachType;
use fmip_common::{
    binding::{LOOPBACK, NextHop},
    buffer::{DRAIN_DISCARD, DRAIN_RELEASE},
    limits::FRAME_BYTES,
    reason::Reason,
};
use fmip_ctl::{
    io::{
        load::{MOBILE_OUT, RELEASE},
        maps::Port,
    },
    proto::Tunnel,
    wire::MacAddr,
};
use fmip_tests::wait_until;

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, Ran, Router, Verdict, address::*, in_namespace, index, later,
        on_bench, on_router, over,
    },
    packets::{ETHERNET, ICMPV6, IPV6, Packet, SENDER_MAC, UDP},
    receiver::Receiver,
};

const TCP: u8 = 6;

/// What a slot holds.
fn held(bench: &Bench, slot: u32) -> Result<Packet> {
    Ok(Packet::read(&bench.slot(slot)?))
}

#[test]
fn the_tunnel_from_the_par_is_opened() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        let inner = Packet::udp(CN, PCOA, 100);
        let sent = inner.tunnelled(PAR, NCOA).octets();
        let ran = bench.mobile_in(&sent)?;
        assert_eq!(
            ran.is(Verdict::Pass, Reason::MobileUntunnelled, &sent),
            inner
        );
        Ok(())
    });
}

#[test]
fn a_tunnel_from_or_to_another_end_stays_closed() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        let inner = Packet::udp(CN, PCOA, 100);
        for (source, destination) in [(OTHER, NCOA), (PAR, PCOA)] {
            let sent = inner.tunnelled(source, destination).octets();
            let ran = bench.mobile_in(&sent)?;
            ran.is_unchanged(Verdict::Drop, Reason::Spoofed, &sent);
        }
        Ok(())
    });
}

#[test]
fn what_is_not_for_a_bound_address_stays_closed() {
    on_router(|bench, router| {
        let to_pcoa = Packet::udp(CN, PCOA, 100).tunnelled(PAR, NCOA).octets();
        let ran = bench.mobile_in(&to_pcoa)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &to_pcoa);

        bench.hold_uplink(router)?;
        let to_other = Packet::udp(CN, OTHER, 100).tunnelled(PAR, NCOA).octets();
        let ran = bench.mobile_in(&to_other)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &to_other);
        let plain = Packet::udp(CN, PCOA, 100).octets();
        let ran = bench.mobile_in(&plain)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &plain);

        bench.maps.set_expiry(PCOA, over())?;
        let ran = bench.mobile_in(&to_pcoa)?;
        ran.is_unchanged(Verdict::Pass, Reason::Expired, &to_pcoa);
        Ok(())
    });
}

// Rows: TUN-08
#[test]
fn a_congestion_mark_comes_out_of_the_tunnel_or_the_packet_is_lost() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        for (class, expected) in [(0x02, Some(0x03)), (0x00, None)] {
            let inner = Packet {
                class,
                ..Packet::udp(CN, PCOA, 100)
            };
            let mut outer = inner.tunnelled(PAR, NCOA);
            outer.class = 0x03;
            let sent = outer.octets();
            let ran = bench.mobile_in(&sent)?;
            match expected {
                Some(class) => assert_eq!(
                    ran.is(Verdict::Pass, Reason::MobileUntunnelled, &sent),
                    Packet { class, ..inner }
                ),
                None => ran.is_unchanged(Verdict::Drop, Reason::CongestionLost, &sent),
            }
        }
        Ok(())
    });
}

#[test]
fn cut_short_at_any_length_a_packet_passes_unchanged_and_is_counted() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        let inward = Packet::udp(CN, PCOA, 40).tunnelled(PAR, NCOA).octets();
        let outward = Packet::udp(PCOA, CN, 40).octets();
        // The kernel makes no shorter packet for a test run than an IPv6 header.
        for length in ETHERNET + IPV6..inward.len() {
            let ran = bench.mobile_in(&inward[..length])?;
            ran.is_unchanged(Verdict::Pass, Reason::Malformed, &inward[..length]);
        }
        for length in ETHERNET + IPV6..outward.len() {
            let ran = bench.mobile_out(&outward[..length])?;
            ran.is_unchanged(Verdict::Pass, Reason::Malformed, &outward[..length]);
        }
        let mut cut = Packet::read(&inward);
        for length in (1..cut.payload.len()).rev() {
            cut.payload.truncate(length);
            let sent = cut.octets();
            let ran = bench.mobile_in(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::Malformed, &sent);
        }
        let mut arp = outward;
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        for ran in [bench.mobile_in(&arp)?, bench.mobile_out(&arp)?] {
            ran.is_unchanged(Verdict::Pass, Reason::NotIpv6, &arp);
        }
        Ok(())
    });
}

// Rows: TUN-03
#[test]
fn a_packet_from_the_pcoa_is_held_as_it_is_and_leaves_in_the_reverse_tunnel() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = bench.hold_uplink(router)?;
        let sent = Packet {
            class: 0xba,
            hop_limit: 1,
            ..Packet::udp(PCOA, CN, 100)
        };
        // Without a parked interface to send the original to, it is dropped; held it is all the same.
        let ran = bench.mobile_out(&sent.octets())?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sent.octets());
        bench.maps.set_parked(router.parked)?;
        let ran = bench.mobile_out(&sent.octets())?;
        ran.is_frame(Verdict::Redirect, Reason::Held, &sent.octets());

        let octets = sent.octets().len() - ETHERNET;
        for slot in [0, 1] {
            assert_eq!(held(bench, slot)?, sent);
        }
        let found = bench.buffer(buffer)?;
        assert_eq!((found.waiting, found.held), (2, 2));
        assert_eq!(found.waiting_bytes, 2 * octets as u64);

        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, 2)?;
        assert_eq!(job.taken, 2);
        assert_eq!(moved, [(Reason::Released, 2)]);
        for outer in receiver.packets(2)? {
            assert_eq!(outer.link_source, OUT_MAC);
            assert_eq!((outer.source, outer.destination), (NCOA, PAR));
            assert_eq!((outer.hop_limit, outer.class), (64, sent.class));
            assert_eq!(outer.flow, sent.flow);
            // This node is the packet's source: it takes no hop of it.
            let inner = Packet {
                link_destination: sent.link_destination,
                link_source: sent.link_source,
                ..outer.inner()
            };
            assert_eq!(inner, sent);
        }
        let found = bench.buffer(buffer)?;
        assert_eq!((found.waiting, found.waiting_bytes), (0, 0));
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

/// Sends a packet out through a buffer that is closed.
fn straight(bench: &mut Bench, router: &Router, sent: &Packet) -> Result<Ran> {
    if bench.maps.buffer_of(PCOA).is_none() {
        let buffer = bench.hold_uplink(router)?;
        bench.close(buffer)?;
    }
    bench.mobile_out(&sent.octets())
}

// Rows: TUN-03
#[test]
fn once_the_buffer_is_closed_a_packet_goes_into_the_reverse_tunnel() {
    on_router(|bench, router| {
        for class in [0, 0x03, 0xba] {
            let sent = Packet {
                class,
                ..Packet::udp(PCOA, CN, 100)
            };
            let ran = straight(bench, router, &sent)?;
            let outer = ran.is(Verdict::Pass, Reason::MobileTunnelled, &sent.octets());
            assert_eq!((outer.source, outer.destination), (NCOA, PAR));
            assert_eq!((outer.hop_limit, outer.class), (64, class));
            assert_eq!(outer.flow, sent.flow);
            assert_eq!(outer.link_destination, NEXT_HOP_MAC);
            assert_eq!(outer.link_source, OUT_MAC);
            let inner = Packet {
                link_destination: sent.link_destination,
                link_source: sent.link_source,
                ..outer.inner()
            };
            assert_eq!(inner, sent);
        }
        Ok(())
    });
}

/// Before anybody knows where the node will be; and where it keeps its address, or is back.
#[test]
fn without_a_tunnel_what_was_held_goes_plain_to_the_router() {
    on_router(|bench, router| {
        let receiver = Receiver::new()?;
        let buffer = bench.maps.hold_uplink(PCOA, None, later())?;
        let sent = Packet::numbered(PCOA, CN, 1);
        let ran = bench.mobile_out(&sent.octets())?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sent.octets());
        // No tunnel is open to it.
        let inward = Packet::udp(CN, PCOA, 100).tunnelled(PAR, NCOA).octets();
        let ran = bench.mobile_in(&inward)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &inward);

        let release = bench
            .maps
            .release_uplink(PCOA, None, router.next_hop(), later())?;
        assert_eq!(bench.releases(release)?, buffer);
        bench.drain(DRAIN_RELEASE, buffer, 1)?;
        bench.close(buffer)?;
        let expected = Packet {
            link_destination: NEXT_HOP_MAC,
            link_source: OUT_MAC,
            ..sent.clone()
        };
        assert_eq!(receiver.packets(1)?, std::slice::from_ref(&expected));
        let ran = bench.mobile_out(&sent.octets())?;
        let packet = ran.is(Verdict::Pass, Reason::MobileSent, &sent.octets());
        assert_eq!(packet, expected);

        // It moves on and is released into a tunnel: the new way is in force at once.
        let tunnel = Tunnel {
            local: NCOA,
            remote: PAR,
        };
        let release = bench
            .maps
            .release_uplink(PCOA, Some(tunnel), router.next_hop(), later())?;
        assert_eq!(release, None, "there was nothing to release");
        let ran = bench.mobile_out(&sent.octets())?;
        ran.is(Verdict::Pass, Reason::MobileTunnelled, &sent.octets());
        let ran = bench.mobile_in(&inward)?;
        ran.is(Verdict::Pass, Reason::MobileUntunnelled, &inward);
        Ok(())
    });
}

#[test]
fn a_node_that_moves_again_is_held_again_and_keeps_its_tunnel_open() {
    on_router(|bench, router| {
        let buffer = bench.hold_uplink(router)?;
        bench.close(buffer)?;
        let again = bench.maps.hold_uplink(PCOA, None, later())?;
        assert_ne!(again, buffer, "its account is of two handovers");
        let sent = Packet::udp(PCOA, CN, 100).octets();
        let ran = bench.mobile_out(&sent)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sent);
        let inward = Packet::udp(CN, PCOA, 100).tunnelled(PAR, NCOA).octets();
        let ran = bench.mobile_in(&inward)?;
        ran.is(Verdict::Pass, Reason::MobileUntunnelled, &inward);
        // It was being released, and is held all the same.
        assert_eq!(bench.maps.hold_uplink(PCOA, None, later())?, again);
        Ok(())
    });
}

/// Checks the answer to a packet that is too big, which comes in where the packet was to go out.
#[track_caller]
fn is_answered(ran: &Ran, sent: &Packet, mtu: usize) {
    let octets = sent.octets().len() as u64;
    assert_eq!(ran.verdict, Verdict::Redirect);
    assert_eq!(
        ran.moved,
        [(Reason::TooBig, 1, octets), (Reason::TooBigSent, 1, octets)]
    );
    let answer = Packet::read(&ran.frame);
    assert_eq!(answer.link_destination, sent.link_source);
    assert_eq!(answer.link_source, sent.link_destination);
    assert_eq!((answer.source, answer.destination), (NCOA, PCOA));
    assert_eq!(answer.next_header, ICMPV6);
    assert_eq!(answer.payload.len() + IPV6, 1280);
    assert_eq!(answer.checksum(), 0, "the checksum is wrong");
    let (header, quoted) = answer.payload.split_at(8);
    assert_eq!(header[..2], [2, 0], "type and code of Packet Too Big");
    assert_eq!(header[4..], (mtu as u32).to_be_bytes());
    assert_eq!(quoted, &sent.octets()[ETHERNET..ETHERNET + quoted.len()]);
}

// Rows: TUN-08
#[test]
fn what_is_too_big_for_the_tunnel_is_answered_instead_of_held_or_sent() {
    const MTU: usize = 1400;
    on_router(|bench, router| {
        bench
            .maps
            .add_interface(router.parked, MTU as u32, Port::of(router.parked))?;
        let buffer = bench.hold_uplink(router)?;
        let fits = Packet::udp(PCOA, CN, MTU - 2 * IPV6).octets();
        let too_big = Packet::udp(PCOA, CN, MTU - 2 * IPV6 + 1);
        let ran = bench.mobile_out(&fits)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &fits);
        let ran = bench.mobile_out(&too_big.octets())?;
        is_answered(&ran, &too_big, MTU - IPV6);
        // What the kernel will cut into segments is as big as those. A TCP header of 32 octets:
        let mut merged = Packet::udp(PCOA, CN, 2000);
        merged.next_header = TCP;
        merged.payload[12] = 0x80;
        let segment = (MTU - 2 * IPV6 - 32) as u32;
        let ran = bench.mobile_out_merged(&merged.octets(), segment)?;
        ran.is_frame(Verdict::Drop, Reason::TooLong, &merged.octets());
        let ran = bench.mobile_out_merged(&merged.octets(), segment + 1)?;
        is_answered(&ran, &merged, MTU - IPV6);

        bench.drain(DRAIN_DISCARD, buffer, 1)?;
        bench.close(buffer)?;
        let ran = bench.mobile_out(&fits)?;
        ran.is(Verdict::Pass, Reason::MobileTunnelled, &fits);
        let ran = bench.mobile_out(&too_big.octets())?;
        is_answered(&ran, &too_big, MTU - IPV6);
        Ok(())
    });
}

/// The answer reaches the kernel, which tells the application or cuts its packets smaller.
// Rows: TUN-08
#[test]
fn the_kernel_learns_from_the_answer_how_big_a_packet_may_be() {
    const MTU: u32 = 1400;
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        let bench = &mut bench;
        namespace.ip_batch(&format!(
            "address add {PCOA}/64 dev out0 nodad\naddress add {NCOA}/64 dev out0 nodad\n\
             link set lo up\n"
        ))?;
        bench
            .maps
            .add_interface(router.parked, MTU, Port::of(router.parked))?;
        let buffer = bench.hold_uplink(&router)?;
        bench.close(buffer)?;
        bench
            .programs
            .attach_classifier(MOBILE_OUT, "out0", TcAttachType::Egress)?;
        let socket = UdpSocket::bind((PCOA, 0))?;
        socket.connect((CN, 4000))?;
        let learnt = || {
            let route = namespace.ip_json(&format!("route get {CN} from {PCOA}"))?;
            Ok(route[0]["metrics"][0]["mtu"].as_u64())
        };
        assert_eq!(learnt()?, None);
        socket.send(&[0; MTU as usize])?;
        let mtu = wait_until("the kernel to learn", Duration::from_secs(10), learnt)?;
        assert_eq!(mtu, u64::from(MTU) - IPV6 as u64);
        Ok(())
    });
}

#[test]
fn what_belongs_to_the_link_stays_out_of_the_tunnel() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        let discovery = Packet {
            hop_limit: 255,
            ..Packet::of(PCOA, CN, ICMPV6, &[135, 0, 0, 0, 0, 0, 0, 0])
        };
        for sent in [
            Packet::udp(PCOA, "ff02::1".parse()?, 100),
            Packet::udp(PCOA, "fe80::1".parse()?, 100),
            discovery,
        ] {
            let sent = sent.octets();
            let ran = bench.mobile_out(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::LinkScope, &sent);
        }
        Ok(())
    });
}

/// With a hop limit of 255 it would pass for a neighbor's word (RFC 4861 section 11.2).
#[test]
fn what_belongs_to_a_link_does_not_come_out_of_the_tunnel() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        let advertisement = Packet {
            hop_limit: 255,
            ..Packet::of(CN, PCOA, ICMPV6, &[136, 0, 0, 0, 0, 0, 0, 0])
        };
        let from_link_local = Packet::udp("fe80::1".parse()?, PCOA, 100);
        for inner in [advertisement, from_link_local] {
            let sent = inner.tunnelled(PAR, NCOA).octets();
            let ran = bench.mobile_in(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::LinkScope, &sent);
        }
        Ok(())
    });
}

#[test]
fn packets_from_other_addresses_go_their_own_way() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        let sent = Packet::udp(NCOA, CN, 100).octets();
        let ran = bench.mobile_out(&sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        bench.maps.set_expiry(PCOA, over())?;
        let sent = Packet::udp(PCOA, CN, 100).octets();
        let ran = bench.mobile_out(&sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::Expired, &sent);
        Ok(())
    });
}

#[test]
fn the_longest_packet_that_fits_with_its_outer_header_is_held() {
    on_router(|bench, router| {
        bench.hold_uplink(router)?;
        let longest = FRAME_BYTES - 2 * IPV6;
        for odd in 0..4 {
            let sent = Packet::udp(PCOA, CN, longest - odd);
            let ran = bench.mobile_out(&sent.octets())?;
            ran.is_frame(Verdict::Drop, Reason::Held, &sent.octets());
            assert_eq!(held(bench, odd as u32)?.payload, sent.payload);
        }
        let sent = Packet::udp(PCOA, CN, longest + 1).octets();
        let ran = bench.mobile_out(&sent)?;
        ran.is_frame(Verdict::Drop, Reason::TooLong, &sent);
        Ok(())
    });
}

/// What this node sends has, where its interface can compute checksums, the pseudo-header's sum in
/// place of one (CHECKSUM_PARTIAL). What leaves by the drain is computed by nobody any more.
#[test]
fn the_checksum_of_a_held_packet_is_finished() {
    on_router(|bench, router| {
        let buffer = bench.hold_uplink(router)?;
        for (next_header, at) in [(UDP, 6), (TCP, 16)] {
            for octets in [20, 21, 22, 23, 24, 511, 512, 513, 1025, 1400, 1922] {
                let mut sent = Packet::udp(PCOA, CN, octets);
                sent.next_header = next_header;
                sent.payload[at..at + 2].fill(0);
                let mut complete = sent.clone();
                let checksum = complete.checksum();
                complete.payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
                assert_eq!(complete.checksum(), 0);
                // The sum of the pseudo-header alone, as over a message of zeros.
                let nothing = Packet::of(PCOA, CN, next_header, &vec![0; octets]);
                let partial = !nothing.checksum();
                sent.payload[at..at + 2].copy_from_slice(&partial.to_be_bytes());
                // One that is complete stays; one that is wrong stays wrong.
                let mut wrong = complete.clone();
                wrong.payload[at] ^= 0x40;
                for (sent, expected) in
                    [(&sent, &complete), (&complete, &complete), (&wrong, &wrong)]
                {
                    let ran = bench.mobile_out(&sent.octets())?;
                    ran.is_frame(Verdict::Drop, Reason::Held, &sent.octets());
                    let newest = bench.buffer(buffer)?.tail;
                    let inner = held(bench, newest)?;
                    assert_eq!(
                        inner.payload, expected.payload,
                        "protocol {next_header}, {octets} octets"
                    );
                    bench.drain(DRAIN_DISCARD, buffer, 1)?;
                }
            }
        }
        Ok(())
    });
}

/// The kernel would cut it into its segments on the way out, which nobody does behind the buffer.
#[test]
fn a_packet_that_is_several_is_not_held() {
    on_router(|bench, router| {
        let buffer = bench.hold_uplink(router)?;
        let mut sent = Packet::udp(PCOA, CN, 1000);
        sent.next_header = TCP;
        let ran = bench.mobile_out_merged(&sent.octets(), 500)?;
        ran.is_frame(Verdict::Drop, Reason::TooLong, &sent.octets());
        assert_eq!(bench.buffer(buffer)?.dropped, 1);
        assert_eq!(bench.maps.slots_in_use()?, 0);
        Ok(())
    });
}

#[test]
fn nothing_is_held_or_opened_without_a_binding() {
    on_bench(|bench| {
        let sent = Packet::udp(PCOA, CN, 100).octets();
        let ran = bench.mobile_out(&sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        Ok(())
    });
}

#[test]
fn of_what_is_on_the_loopback_only_what_was_held_leaves_by_the_radio() {
    on_router(|bench, router| {
        let drained = Packet {
            link_destination: NEXT_HOP_MAC,
            link_source: OUT_MAC,
            ..Packet::udp(PCOA, CN, 100)
        };
        let drained_octets = drained.octets();
        // As long as there is nowhere to go.
        assert_eq!(bench.mobile_loopback(&drained_octets)?, Verdict::Pass);
        bench
            .maps
            .set_release_to(router.outgoing, MacAddr(OUT_MAC))?;
        let verdict = bench.mobile_loopback(&drained_octets)?;
        assert_eq!(verdict, Verdict::Redirect);
        let own = Packet {
            link_destination: [0; 6],
            link_source: [0; 6],
            ..drained.clone()
        };
        // By packet tools and other programs: with other addresses, or in another language.
        let foreign = Packet {
            link_source: SENDER_MAC,
            ..drained.clone()
        };
        let reflected = Packet {
            link_destination: OUT_MAC,
            link_source: NEXT_HOP_MAC,
            ..drained.clone()
        };
        for stays in [own, foreign, reflected] {
            let verdict = bench.mobile_loopback(&stays.octets())?;
            assert_eq!(verdict, Verdict::Pass, "{stays:?}");
        }
        for ethertype in [0x0800_u16, 0x0806, 0x88cc, 0] {
            let mut frame = drained_octets.clone();
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            let verdict = bench.mobile_loopback(&frame)?;
            assert_eq!(verdict, Verdict::Pass, "{ethertype:04x}");
        }
        Ok(())
    });
}

#[test]
fn what_was_held_leaves_by_way_of_the_loopback_in_order() {
    const PACKETS: u32 = 20;
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        namespace.ip("link set lo up")?;
        let hop = NextHop {
            port: LOOPBACK,
            ..router.next_hop()
        };
        let tunnel = Tunnel {
            local: NCOA,
            remote: PAR,
        };
        bench
            .maps
            .set_release_to(router.outgoing, MacAddr(OUT_MAC))?;
        bench
            .programs
            .attach_classifier(RELEASE, "lo", TcAttachType::Ingress)?;
        bench.maps.hold_uplink(PCOA, None, later())?;
        for number in 0..PACKETS {
            let sent = Packet::numbered(PCOA, CN, number).octets();
            let ran = bench.mobile_out(&sent)?;
            ran.is_frame(Verdict::Drop, Reason::Held, &sent);
        }
        let release = bench
            .maps
            .release_uplink(PCOA, Some(tunnel), hop, later())?;
        let buffer = bench.releases(release)?;
        let receiver = Receiver::on(index(namespace, "out1")?)?;
        let (job, moved) = bench.drain(DRAIN_RELEASE, buffer, PACKETS)?;
        assert_eq!(job.used, PACKETS, "{moved:?}");
        for (number, packet) in (0..PACKETS).zip(receiver.packets(PACKETS as usize)?) {
            assert_eq!(packet.link_source, OUT_MAC);
            assert_eq!((packet.source, packet.destination), (NCOA, PAR));
            assert_eq!(packet.inner().number(), number);
        }
        Ok(())
    });
}
