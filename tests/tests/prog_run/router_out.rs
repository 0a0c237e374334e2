//! What goes out of an access interface and no program has seen come in: the router's own packets, and those
//! that the kernel forwards from interfaces that are not ours.

use std::net::{Ipv6Addr, UdpSocket};

use anyhow::Result;
use aya::programs::TcAttachType::{Egress, Ingress};
use fmip_common::{
    buffer::{DRAIN_CLOSE, DRAIN_RELEASE, OUTCOME_DONE},
    reason::Reason,
};
use fmip_ctl::io::load::{ROUTER_IN, ROUTER_OUT};
use fmip_tests::{
    NetNs,
    wait::{SOON, wait_until},
};

use crate::{
    bench::{
        Bench, ELSEWHERE, NEXT_HOP_MAC, OUT_MAC, Router, Verdict, address::*, in_namespace, index,
        later, on_router,
    },
    corpus::{CUSTOMER, tagged},
    packets::{ETHERNET, Packet, ROUTER_MAC, SENDER_MAC, UDP},
    receiver::Receiver,
    signalling::{fbu, frame},
};

const LOOPBACK: u32 = 1;

/// What goes out of `out0`. A test run asks the address, as if it came in there.
fn outgoing(destination: Ipv6Addr) -> Vec<u8> {
    Packet {
        link_destination: OUT_MAC,
        ..Packet::udp(CN, destination, 100)
    }
    .octets()
}

#[test]
fn what_came_in_by_a_program_or_from_a_buffer_is_not_seen_again() {
    on_router(|bench, router| {
        bench.maps.set_parked(router.parked)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        bench.hold(OTHER, router)?;
        for destination in [PCOA, OTHER, CN] {
            let sent = outgoing(destination);
            for from in [router.incoming, router.outgoing, LOOPBACK] {
                let ran = bench.router_out(from, router.outgoing, &sent)?;
                assert_eq!(
                    (ran.verdict, ran.moved.as_slice()),
                    (Verdict::Pass, &[][..])
                );
                assert_eq!(ran.frame, sent);
            }
        }
        for from in [0, ELSEWHERE] {
            let sent = outgoing(PCOA);
            let ran = bench.router_out(from, router.outgoing, &sent)?;
            let outer = ran.is(Verdict::Redirect, Reason::Tunnelled, &sent);
            assert_eq!((outer.source, outer.destination), (PAR, NCOA));
            assert_eq!(outer.inner().hop_limit, 64, "the kernel has taken its hop");
            let sent = outgoing(OTHER);
            let ran = bench.router_out(from, router.outgoing, &sent)?;
            ran.is_unchanged(Verdict::Redirect, Reason::Held, &sent);
        }
        Ok(())
    });
}

/// The controller's messages to a node that has left, or is held, must reach it where the controller says.
// Rows: FBA-03
#[test]
fn the_routers_own_messages_go_where_the_controller_says() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let mut sent = frame(PCOA, None, fbu());
        sent[..6].copy_from_slice(&OUT_MAC);
        let ran = bench.router_out(0, router.outgoing, &sent)?;
        assert_eq!(
            (ran.verdict, ran.moved.as_slice()),
            (Verdict::Pass, &[][..])
        );
        assert_eq!(ran.frame, sent);
        // Somebody else's are packets like any other.
        let ran = bench.router_out(ELSEWHERE, router.outgoing, &sent)?;
        ran.is(Verdict::Redirect, Reason::Tunnelled, &sent);
        Ok(())
    });
}

/// Without the parked interface there is nowhere for the original to go.
#[test]
fn a_held_packet_leaves_nothing_behind() {
    on_router(|bench, router| {
        bench.hold(PCOA, router)?;
        let sent = outgoing(PCOA);
        let ran = bench.router_out(0, router.outgoing, &sent)?;
        ran.is_unchanged(Verdict::Drop, Reason::Held, &sent);
        bench.maps.set_parked(router.parked)?;
        let ran = bench.router_out(0, router.outgoing, &sent)?;
        ran.is_unchanged(Verdict::Redirect, Reason::Held, &sent);
        Ok(())
    });
}

/// A router that sends datagrams to a node, and what is behind the node's link.
struct Sender {
    bench: Bench,
    router: Router,
    socket: UdpSocket,
    receiver: Receiver,
}

impl Sender {
    fn new(namespace: &NetNs) -> Result<Self> {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        bench.maps.set_parked(router.parked)?;
        bench
            .programs
            .attach_classifier(ROUTER_OUT, "out0", Egress)?;
        Ok(Self {
            bench,
            router,
            socket: UdpSocket::bind("[2001:db8:f::1]:4000")?,
            // Not on the parked interface's other end.
            receiver: Receiver::on(index(namespace, "out1")?)?,
        })
    }

    fn send(&self, number: u32) -> Result<()> {
        let sent = self.socket.send_to(&number.to_be_bytes(), (PCOA, 5000))?;
        anyhow::ensure!(sent == 4, "{sent} octets were sent");
        Ok(())
    }

    /// The packets that reached the next hop are those with these numbers, and whole.
    fn arrived(packets: &[Packet], numbers: std::ops::Range<u32>) {
        assert_eq!(packets.len(), numbers.len());
        for (packet, number) in packets.iter().zip(numbers) {
            assert_eq!((packet.next_header, packet.number()), (UDP, number));
            assert_eq!(packet.destination, PCOA);
            assert_eq!(packet.checksum(), 0, "number {number}");
        }
    }
}

// Rows: TUN-01
#[test]
fn what_the_router_sends_to_a_node_that_left_goes_into_the_tunnel() {
    in_namespace(|namespace| {
        let mut sender = Sender::new(namespace)?;
        // Nobody at the far end would finish a checksum.
        namespace.prepare_for_xdp("out0")?;
        sender.bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        for number in 0..3 {
            sender.send(number)?;
        }
        let outer = sender.receiver.packets(3)?;
        let inner: Vec<Packet> = outer.iter().map(Packet::inner).collect();
        for outer in outer {
            assert_eq!((outer.source, outer.destination), (PAR, NCOA));
            assert_eq!(
                (outer.link_destination, outer.link_source),
                (NEXT_HOP_MAC, OUT_MAC)
            );
        }
        Sender::arrived(&inner, 0..3);
        Ok(())
    });
}

// Rows: BUF-08
#[test]
fn what_the_router_sends_to_a_held_node_waits_and_arrives_whole() {
    in_namespace(|namespace| {
        let mut sender = Sender::new(namespace)?;
        let buffer = sender.bench.hold(PCOA, &sender.router)?;
        for number in 0..3 {
            sender.send(number)?;
        }
        assert_eq!(sender.bench.buffer(buffer)?.waiting, 3);
        let (_, moved) = sender.bench.drain(DRAIN_RELEASE, buffer, 3)?;
        assert_eq!(moved, [(Reason::Released, 3)]);
        Sender::arrived(&sender.receiver.packets(3)?, 0..3);
        // Drained, the next ones go straight on.
        let (job, _) = sender.bench.drain(DRAIN_CLOSE, buffer, 1)?;
        assert_eq!(job.outcome, OUTCOME_DONE);
        // As above; until here the interface was to finish them.
        namespace.prepare_for_xdp("out0")?;
        sender.send(3)?;
        Sender::arrived(&sender.receiver.packets(1)?, 3..4);
        Ok(())
    });
}

/// In TC a VLAN's tag stands beside the packet, which looks as if it had none. It comes by again on the
/// VLAN's own interface, if there is one.
#[test]
fn a_packet_with_its_tag_beside_it_is_another_vlans() {
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        namespace.sysctl("ipv6/conf/default/disable_ipv6", 1)?;
        namespace
            .ip_batch("link add t0 address 02:00:00:00:00:01 type veth peer name t1\nlink set t0 up\nlink set t1 up\n")?;
        bench.programs.attach_classifier(ROUTER_IN, "t0", Ingress)?;
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let far = index(namespace, "t1")?;
        let sender = Receiver::new()?;
        let packet = Packet::udp(CN, PCOA, 100).octets();
        assert_eq!(packet[..ETHERNET - 2], [ROUTER_MAC, SENDER_MAC].concat());
        for (sent, reason) in [
            (tagged(&packet, &[(CUSTOMER, 5)]), Reason::OtherVlan),
            (packet, Reason::TunnelledByKernel),
        ] {
            let before = bench.counts()?;
            sender.send(far, &sent)?;
            let moved = wait_until("a packet", SOON, || {
                let after = bench.counts()?;
                let moved: Vec<Reason> = before
                    .iter()
                    .zip(&after)
                    .filter(|(before, after)| before.1 != after.1)
                    .map(|(before, _)| before.0)
                    .collect();
                Ok((!moved.is_empty()).then_some(moved))
            })?;
            assert_eq!(moved, [reason]);
        }
        Ok(())
    });
}
