//! Signalling for the controller (KRN-01), at a router and at a mobile node.

use std::net::Ipv6Addr;

use fmip_common::{binding::NextHop, reason::Reason};
use fmip_ctl::wire::{
    self, FastBindingAck, FastBindingStatus, FastBindingUpdate, HackCode, HandoverAck,
    HandoverInitiate, HiCode, MacAddr, Message, NeighborAdvertisement, PrRtAdv, PrRtAdvCode,
    RtSolPr,
};

use crate::{
    bench::{Bench, Verdict, address::*, later, on_bench, on_router},
    packets::{ETHERNET, ICMPV6, IPV6, IPV6_IN_IPV6, Packet, ROUTER_MAC, SENDER_MAC},
};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);
const MOBILITY: u8 = 135;
const LOOPBACK: u32 = 1;

/// The octets of a message to `destination`.
pub(crate) fn frame(
    destination: Ipv6Addr,
    home_address: Option<Ipv6Addr>,
    message: Message,
) -> Vec<u8> {
    let packet = wire::Packet {
        source: NCOA,
        destination,
        hop_limit: 255,
        home_address,
        message,
    };
    let mut frame = Vec::new();
    frame.extend(ROUTER_MAC);
    frame.extend(SENDER_MAC);
    frame.extend([0x86, 0xdd]);
    frame.extend_from_slice(&packet.encode());
    frame
}

pub(crate) fn fbu() -> Message {
    Message::FastBindingUpdate(FastBindingUpdate {
        sequence: 7,
        ack: true,
        home: true,
        link_local: false,
        key_management: false,
        lifetime: 10,
        alternate_coa: Some(NCOA),
        mn_lla: Some(MAC),
        unknown: vec![],
        authorization: None,
    })
}

pub(crate) fn advertisement() -> Message {
    Message::NeighborAdvertisement(NeighborAdvertisement::unsolicited(NCOA, MAC))
}

/// Every message that is the controller's alone.
pub(crate) fn messages() -> [Message; 6] {
    [
        fbu(),
        Message::FastBindingAck(FastBindingAck {
            status: FastBindingStatus::Accepted,
            key_management: false,
            sequence: 7,
            lifetime: 10,
            alternate_coa: None,
            unknown: vec![],
            authorization: None,
        }),
        Message::HandoverInitiate(HandoverInitiate {
            sequence: 1,
            assigned_address: false,
            buffer: true,
            proxy: false,
            forward: false,
            code: HiCode::PcoaSource,
            mn_lla: Some(MAC),
            pcoa: Some(PCOA),
            ncoa: Some(NCOA),
            unknown: vec![],
        }),
        Message::HandoverAck(HandoverAck {
            sequence: 1,
            code: HackCode::NcoaValid,
            ncoa: None,
            unknown: vec![],
        }),
        Message::RtSolPr(RtSolPr {
            identifier: 5,
            source_lla: Some(MAC),
            access_points: vec![MAC],
            unknown: vec![],
        }),
        Message::PrRtAdv(PrRtAdv {
            code: PrRtAdvCode::NoNewRouter,
            identifier: 5,
            source_lla: Some(MAC),
            tuples: vec![],
            unknown: vec![],
        }),
    ]
}

/// The record is the frame, whole, and there is no other.
#[track_caller]
fn reported(bench: &mut Bench, interface: u32, frame: &[u8]) {
    assert_eq!(bench.signal(), Some((interface, frame.to_vec())));
    assert_eq!(bench.signal(), None);
}

// Rows: KRN-01
#[test]
fn every_message_to_this_node_is_taken_whole() {
    on_router(|bench, router| {
        bench.maps.add_local(PAR)?;
        for message in messages() {
            // With and without a Home Address option in front.
            for home_address in [None, Some(PCOA)] {
                let sent = frame(PAR, home_address, message.clone());
                let ran = bench.router_on(router.incoming, &sent)?;
                ran.is_unchanged(Verdict::Drop, Reason::Signal, &sent);
                reported(bench, router.incoming, &sent);
            }
        }
        Ok(())
    });
}

#[test]
fn every_message_to_a_mobile_node_is_taken_whole() {
    on_bench(|bench| {
        bench.maps.add_local(NCOA)?;
        for message in messages() {
            let sent = frame(NCOA, None, message);
            let ran = bench.mobile_in(&sent)?;
            ran.is_unchanged(Verdict::Drop, Reason::Signal, &sent);
            reported(bench, LOOPBACK, &sent);
        }
        let sent = frame(NCOA, None, advertisement());
        let ran = bench.mobile_in(&sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::SignalCopied, &sent);
        reported(bench, LOOPBACK, &sent);
        Ok(())
    });
}

#[test]
fn messages_to_other_nodes_are_let_alone() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        for message in messages().into_iter().chain([advertisement()]) {
            let sent = frame(OTHER, Some(PCOA), message);
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
            assert_eq!(bench.signal(), None);
        }
        bench.maps.remove_local(PAR)?;
        let sent = frame(PAR, None, fbu());
        let ran = bench.router(&sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        Ok(())
    });
}

/// An FBack to a node that is bound goes the way of its packets.
#[test]
fn a_message_to_a_bound_node_goes_the_way_of_its_packets() {
    on_bench(|bench| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let sent = frame(PCOA, None, messages()[1].clone());
        let ran = bench.router(&sent)?;
        let outer = ran.is(Verdict::Pass, Reason::TunnelledByKernel, &sent);
        let inner = outer.inner();
        assert_eq!(inner.next_header, MOBILITY);
        assert_eq!(inner.payload, Packet::read(&sent).payload);
        Ok(())
    });
}

// Rows: GEN-09
#[test]
fn a_neighbor_advertisement_is_copied_and_passed() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        for destination in [PAR, "ff02::1".parse()?, "ff02::2".parse()?] {
            let sent = frame(destination, None, advertisement());
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::SignalCopied, &sent);
            reported(bench, LOOPBACK, &sent);
        }
        Ok(())
    });
}

/// Every other one is the answer to a solicitation of the kernel's.
#[test]
fn a_solicited_advertisement_is_the_kernels_alone() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        let mut sent = frame(PAR, None, advertisement());
        for (flags, copied) in [
            (0x00, true),
            (0x20, true),
            (0xa0, true),
            (0x40, false),
            (0xe0, false),
        ] {
            sent[ETHERNET + IPV6 + 4] = flags;
            let ran = bench.router(&sent)?;
            let reason = match copied {
                true => Reason::SignalCopied,
                false => Reason::NoBinding,
            };
            ran.is_unchanged(Verdict::Pass, reason, &sent);
            assert_eq!(bench.signal().is_some(), copied, "flags {flags:02x}");
        }
        Ok(())
    });
}

/// An FNA, with and without the FBU that it carries (RFC 4068 section 6.3.3), and what nobody knows: the
/// kernel would answer each with a Parameter Problem of its own.
// Rows: KRN-01
#[test]
fn an_fna_and_an_unknown_mobility_header_are_the_controllers_alone() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        let kinds = (8..=255).map(|kind| (59, kind)).chain([(IPV6_IN_IPV6, 10)]);
        for (payload_proto, kind) in kinds {
            let mut payload = vec![payload_proto, 0, kind, 0, 0, 0, 0, 0];
            if payload_proto == IPV6_IN_IPV6 {
                payload.extend(&frame(PAR, Some(PCOA), fbu())[ETHERNET..]);
            }
            let sent = Packet::of(NCOA, PAR, MOBILITY, &payload).octets();
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Drop, Reason::Signal, &sent);
            reported(bench, LOOPBACK, &sent);
        }
        // To another node.
        let sent = Packet::of(NCOA, OTHER, MOBILITY, &[59, 0, 10, 0, 0, 0, 0, 0]).octets();
        let ran = bench.router(&sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        Ok(())
    });
}

/// "No fast handover there" comes in one of two forms; a home agent or mobile node beside this one wants to
/// hear them, too.
#[test]
fn a_binding_error_and_a_problem_with_a_mobility_header_are_copied() {
    // A Parameter Problem that quotes a packet with this next header and payload.
    let problem = |next_header, payload: &[u8]| {
        let quoted = Packet::of(PAR, NCOA, next_header, payload).octets();
        let mut octets = vec![4, 1, 0, 0, 0, 0, 0, 6];
        octets.extend(&quoted[ETHERNET..]);
        (ICMPV6, octets)
    };
    const DESTINATION_OPTIONS: u8 = 60;
    let header = [59, 1, 14, 0, 0, 0, 0, 0];
    let mut behind_options = vec![MOBILITY, 0, 1, 4, 0, 0, 0, 0];
    behind_options.extend(header);
    let copied = [
        (MOBILITY, vec![59, 2, 7, 0, 0, 0, 2, 0]),
        problem(MOBILITY, &header),
        problem(DESTINATION_OPTIONS, &behind_options),
    ];
    let let_alone = [
        problem(17, &header),
        problem(DESTINATION_OPTIONS, &[17, 0, 1, 4, 0, 0, 0, 0]),
        // Another error: the way is too narrow.
        (ICMPV6, {
            let mut too_big = problem(MOBILITY, &header).1;
            too_big[0] = 2;
            too_big
        }),
    ];
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        for (next_header, payload) in copied {
            let sent = Packet::of(NCOA, PAR, next_header, &payload).octets();
            for ran in [bench.router(&sent)?, bench.mobile_in(&sent)?] {
                ran.is_unchanged(Verdict::Pass, Reason::SignalCopied, &sent);
                assert_eq!(bench.signal(), Some((LOOPBACK, sent.clone())));
            }
        }
        for (next_header, payload) in let_alone {
            let sent = Packet::of(NCOA, PAR, next_header, &payload).octets();
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
            assert_eq!(bench.signal(), None);
        }
        Ok(())
    });
}

/// A router stands in for the address of a node that is expected, but not against that node, which probes
/// for duplicates as soon as it has sent its UNA.
// Rows: UNA-03
#[test]
fn a_nodes_own_probe_for_duplicates_is_kept_from_the_kernel_and_no_other() {
    let probe = |source: &str, of: Ipv6Addr, link_source: MacAddr| -> anyhow::Result<Vec<u8>> {
        let mut solicitation = vec![135, 0, 0, 0, 0, 0, 0, 0];
        solicitation.extend(of.octets());
        let mut octets = Packet {
            hop_limit: 255,
            ..Packet::of(
                source.parse()?,
                "ff02::1:ff00:1".parse()?,
                ICMPV6,
                &solicitation,
            )
        }
        .octets();
        octets[6..12].copy_from_slice(&link_source.0);
        Ok(octets)
    };
    let another = MacAddr([2, 0, 0, 0, 0, 0x98]);
    on_router(|bench, router| {
        let access = router.incoming;
        let sent = probe("::", NCOA, MAC)?;
        // Nobody is expected yet.
        let ran = bench.router_on(access, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        let hop = NextHop::untagged(access, MAC.0, [2; 6]);
        bench.maps.hold(NCOA, hop, None, later())?;
        let ran = bench.router_on(access, &sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::OwnProbe, &sent);
        for sent in [
            // Of another node, which has the address or wants it.
            probe("::", NCOA, another)?,
            // Of another address.
            probe("::", PCOA, MAC)?,
            // No probe: whoever asks where the address is gets the router's answer.
            probe("fe80::99", NCOA, MAC)?,
        ] {
            let ran = bench.router_on(access, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        }
        // On another link.
        let ran = bench.router_on(LOOPBACK, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        Ok(())
    });
}

/// Also one to an address that the controller knows nothing of yet (NAK-03: to the UNA's source).
#[test]
fn a_router_advertisement_is_copied_at_a_mobile_node_and_let_alone_at_a_router() {
    on_bench(|bench| {
        let advertisement = [134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for destination in [NCOA, "ff02::1".parse()?] {
            let sent = Packet {
                hop_limit: 255,
                ..Packet::of("fe80::1".parse()?, destination, ICMPV6, &advertisement)
            }
            .octets();
            let ran = bench.mobile_in(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::SignalCopied, &sent);
            reported(bench, LOOPBACK, &sent);
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
            assert_eq!(bench.signal(), None);
        }
        Ok(())
    });
}

#[test]
fn a_solicitation_to_all_routers_is_taken() {
    on_bench(|bench| {
        let sent = frame("ff02::2".parse()?, None, messages()[4].clone());
        let ran = bench.router(&sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Signal, &sent);
        reported(bench, LOOPBACK, &sent);
        Ok(())
    });
}

// Rows: GEN-01, GEN-09
#[test]
fn what_is_not_of_this_protocol_is_let_alone() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        // ICMPv6: echo, solicitation, other experimental subtypes.
        let mut payloads: Vec<(u8, [u8; 8])> = vec![
            (ICMPV6, [128, 0, 0, 0, 0, 0, 0, 0]),
            (ICMPV6, [135, 0, 0, 0, 0, 0, 0, 0]),
            (ICMPV6, [137, 0, 0, 0, 0, 0, 0, 0]),
            (ICMPV6, [154, 0, 0, 0, 1, 0, 0, 0]),
            (ICMPV6, [154, 0, 0, 0, 4, 0, 0, 0]),
        ];
        // Mobility Headers of RFC 6275.
        for kind in 0..=6 {
            payloads.push((MOBILITY, [59, 0, kind, 0, 0, 0, 0, 0]));
        }
        for (next_header, payload) in payloads {
            let sent = Packet::of(NCOA, PAR, next_header, &payload).octets();
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
            assert_eq!(bench.signal(), None);
        }
        Ok(())
    });
}

/// Every header of every message, cut off and with lengths that lie, is passed or taken, and counted
/// once.
#[test]
fn signalling_cut_short_at_any_length_is_counted_once() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        for message in messages() {
            let valid = Packet::read(&frame(PAR, Some(PCOA), message));
            for length in 1..valid.payload.len() {
                let mut cut = valid.clone();
                cut.payload.truncate(length);
                let sent = cut.octets();
                let ran = bench.router(&sent)?;
                match ran.verdict {
                    Verdict::Drop => {
                        ran.is_unchanged(Verdict::Drop, Reason::Signal, &sent);
                        reported(bench, LOOPBACK, &sent);
                    }
                    _ => ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent),
                }
            }
        }
        let mut lying = frame(PAR, Some(PCOA), fbu());
        for length in 0..=255 {
            lying[ETHERNET + 41] = length;
            let ran = bench.router(&lying)?;
            assert_eq!(ran.moved.len(), 1, "length {length}: {:?}", ran.moved);
            assert_eq!(ran.frame, lying);
        }
        Ok(())
    });
}

/// From the shortest to the longest that is taken whole.
#[test]
fn a_message_of_any_length_has_a_record_of_its_length() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        let mut packet = Packet::read(&frame(PAR, None, fbu()));
        for length in (8..=1482).step_by(1474 / 11) {
            packet.payload.resize(length, 0);
            let sent = packet.octets();
            let ran = bench.router(&sent)?;
            ran.is_unchanged(Verdict::Drop, Reason::Signal, &sent);
            // The bench compares the record's length with the frame's.
            reported(bench, LOOPBACK, &sent);
        }
        Ok(())
    });
}

/// No message is so long; the controller counts it.
#[test]
fn an_overlong_message_is_cut() {
    on_bench(|bench| {
        bench.maps.add_local(PAR)?;
        let mut packet = Packet::read(&frame(PAR, None, fbu()));
        packet.payload.resize(2500, 0);
        let sent = packet.octets();
        let ran = bench.router(&sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Signal, &sent);
        reported(bench, LOOPBACK, &sent[..1536]);
        Ok(())
    });
}
