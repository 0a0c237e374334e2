//! Packets that come in by a VLAN, or by one in another (QinQ), and leave by a third or by none: octet by
//! octet, tags included.
//!
//! Not every kernel has VLAN devices, so other interfaces stand for them: the programs know a VLAN by its
//! port and tags, and the kernel's routes know it as an interface.

use anyhow::Result;
use fmip_common::{
    binding::NextHop,
    buffer::{DRAIN_CLOSE, DRAIN_RELEASE, DrainJob, OUTCOME_DONE},
    reason::Reason,
};
use fmip_ctl::io::maps::Port;
use fmip_tests::NetNs;

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, OUT_MTU, Program, Ran, Router, Verdict, address::*,
        in_namespace, index, later, on_router,
    },
    corpus::{CUSTOMER, QINQ, SERVICE, VLAN, named, network_layer, tagged},
    packets::{ETHERNET, IPV6, Packet, ROUTER_MAC, SENDER_MAC},
    signalling::{fbu, frame},
};

type Tags = &'static [(u16, u16)];

/// An interface, and the tags that its packets carry on their port.
#[derive(Clone, Copy, Debug)]
struct Link {
    interface: u32,
    tags: Tags,
}

/// A router with VLANs on both of its interfaces.
struct Trunks {
    bench: Bench,
    router: Router,
    /// Where packets come in.
    ways_in: [Link; 3],
    /// Where they leave, each with the net of its next hop.
    ways_out: [(Link, &'static str); 3],
}

const OUT_VLAN: [(u16, u16); 1] = [(CUSTOMER, 6)];
const OUT_QINQ: [(u16, u16); 2] = [(SERVICE, 8), (CUSTOMER, 6)];
/// Of the VLANs that packets leave by, in octets.
const NARROW: u32 = 1400;

impl Trunks {
    fn new(namespace: &NetNs) -> Result<Self> {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        namespace.ip_batch(&format!(
            "link add out6 address 02:00:00:00:00:10 mtu {NARROW} type veth peer name out86\n\
             link set out86 address 02:00:00:00:00:10\nlink set out86 mtu {NARROW}\n\
             link set out6 up\nlink set out86 up\n",
        ))?;
        for (interface, net) in [("out6", "e6"), ("out86", "e86")] {
            namespace.sysctl(&format!("ipv6/conf/{interface}/disable_ipv6"), 0)?;
            namespace.ip_batch(&format!(
                "address add 2001:db8:{net}::1/64 dev {interface} nodad\n\
                 neighbor add 2001:db8:{net}::2 lladdr 02:00:00:00:00:11 dev {interface} nud permanent\n"
            ))?;
        }
        let link = |interface, tags| Link { interface, tags };
        let trunks = Self {
            ways_in: [
                link(router.incoming, &[]),
                link(router.vlan, &VLAN),
                link(router.qinq, &QINQ),
            ],
            ways_out: [
                (link(router.outgoing, &[]), "f"),
                (link(index(namespace, "out6")?, &OUT_VLAN), "e6"),
                (link(index(namespace, "out86")?, &OUT_QINQ), "e86"),
            ],
            bench,
            router,
        };
        trunks.name()
    }

    /// Tells the programs of the VLANs.
    fn name(mut self) -> Result<Self> {
        let ways_out = self.ways_out.map(|(link, _)| link);
        for (port, links) in [
            (self.router.incoming, self.ways_in),
            (self.router.outgoing, ways_out),
        ] {
            for link in links.into_iter().filter(|link| !link.tags.is_empty()) {
                let port = Port {
                    index: port,
                    tags: named(link.tags),
                };
                self.bench
                    .maps
                    .add_interface(link.interface, OUT_MTU, port)?;
            }
        }
        Ok(self)
    }

    /// Every way in with every way out.
    fn pairs(&self) -> Vec<(Link, Link, &'static str)> {
        self.ways_in
            .iter()
            .flat_map(|&from| self.ways_out.iter().map(move |&(to, net)| (from, to, net)))
            .collect()
    }

    /// The packet comes in there; with priorities in the tags, which name no VLAN.
    fn comes_in(&mut self, from: Link, packet: &Packet) -> Result<(Vec<u8>, Ran)> {
        let tags: Vec<_> = from
            .tags
            .iter()
            .map(|&(kind, vlan)| (kind, 0x6000 | vlan))
            .collect();
        let sent = tagged(&packet.octets(), &tags);
        let ran = self.bench.router_on(self.router.incoming, &sent)?;
        Ok((sent, ran))
    }

    fn next_hop(&self, to: Link) -> NextHop {
        self.bench.maps.hop(to.interface, NEXT_HOP_MAC, OUT_MAC)
    }
}

/// The packet as it is sent to the next hop.
fn leaves(to: Link, packet: &Packet) -> Vec<u8> {
    let packet = Packet {
        link_destination: NEXT_HOP_MAC,
        link_source: OUT_MAC,
        ..packet.clone()
    };
    tagged(&packet.octets(), to.tags)
}

/// The packet one hop on.
fn forwarded(packet: &Packet) -> Packet {
    Packet {
        hop_limit: packet.hop_limit - 1,
        ..packet.clone()
    }
}

/// The packet one hop on, in the tunnel to the NCoA.
fn in_tunnel(packet: &Packet) -> Packet {
    Packet {
        flow: packet.flow,
        class: packet.class,
        ..forwarded(packet).tunnelled(PAR, NCOA)
    }
}

#[track_caller]
fn left_as(ran: &Ran, reason: Reason, sent: &[u8], expected: &[u8]) {
    ran.is_frame(Verdict::Redirect, reason, sent);
    assert_eq!(ran.frame, expected, "{reason:?}");
}

// Rows: TUN-01
#[test]
fn into_the_tunnel_from_any_vlan_to_any_other() {
    in_namespace(|namespace| {
        let mut trunks = Trunks::new(namespace)?;
        trunks.bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let packet = Packet {
            class: 0xb9,
            ..Packet::udp(CN, PCOA, 100)
        };
        for (from, to, net) in trunks.pairs() {
            // By the kernel's routes, and by a next hop that is known.
            for known in [false, true] {
                let way = match known {
                    false => format!("via 2001:db8:{net}::2"),
                    true => "dev lo".to_owned(),
                };
                let route = format!("route replace {NCOA}/128 {way}");
                trunks.bench.reroute(namespace, &route)?;
                let hop = known.then(|| (trunks.next_hop(to), OUT_MTU));
                trunks.bench.maps.set_hop(NCOA, hop)?;
                let (sent, ran) = trunks.comes_in(from, &packet)?;
                let expected = leaves(to, &in_tunnel(&packet));
                left_as(&ran, Reason::Tunnelled, &sent, &expected);
            }
        }
        Ok(())
    });
}

// Rows: TUN-05
#[test]
fn out_of_the_reverse_tunnel_from_any_vlan_to_any_other() {
    in_namespace(|namespace| {
        let mut trunks = Trunks::new(namespace)?;
        trunks.bench.maps.add_local(PAR)?;
        trunks.bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let packet = Packet::udp(PCOA, CN, 100);
        for (from, to, net) in trunks.pairs() {
            trunks.bench.reroute(
                namespace,
                &format!("route replace {CN}/128 via 2001:db8:{net}::2"),
            )?;
            let (sent, ran) = trunks.comes_in(from, &packet.tunnelled(NCOA, PAR))?;
            let expected = leaves(to, &forwarded(&packet));
            left_as(&ran, Reason::Untunnelled, &sent, &expected);
            // And out of one tunnel into the other.
            trunks.bench.reroute(
                namespace,
                &format!("route replace {NCOA}/128 via 2001:db8:{net}::2"),
            )?;
            let packet = Packet::udp(PCOA, PCOA, 100);
            let (sent, ran) = trunks.comes_in(from, &packet.tunnelled(NCOA, PAR))?;
            let expected = leaves(to, &in_tunnel(&packet));
            left_as(&ran, Reason::Tunnelled, &sent, &expected);
        }
        Ok(())
    });
}

/// Without a way for redirected frames, the packet goes to the kernel as it came in: with its tags, that is as
/// one of its VLAN.
#[test]
fn what_the_kernel_gets_keeps_its_tags() {
    in_namespace(|namespace| {
        let mut trunks = Trunks::new(namespace)?;
        trunks.bench.maps.add_local(PAR)?;
        trunks.bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        trunks
            .bench
            .reroute(namespace, &format!("route add unreachable {NCOA}/128"))?;
        trunks
            .bench
            .reroute(namespace, &format!("route add unreachable {CN}/128"))?;
        for from in trunks.ways_in {
            let packet = Packet::udp(CN, PCOA, 100);
            let (sent, ran) = trunks.comes_in(from, &packet)?;
            ran.is_frame(Verdict::Pass, Reason::TunnelledByKernel, &sent);
            let at = network_layer(&sent).expect("IPv6");
            let expected = [&sent[..at], &in_tunnel(&packet).octets()[ETHERNET..]].concat();
            assert_eq!(ran.frame, expected);

            let packet = Packet::udp(PCOA, CN, 100);
            let (sent, ran) = trunks.comes_in(from, &packet.tunnelled(NCOA, PAR))?;
            ran.is_frame(Verdict::Pass, Reason::UntunnelledByKernel, &sent);
            let expected = [&sent[..at], &packet.octets()[ETHERNET..]].concat();
            assert_eq!(ran.frame, expected);

            let (sent, ran) = trunks.comes_in(from, &Packet::udp(CN, OTHER, 100))?;
            ran.is_unchanged(Verdict::Pass, Reason::NoBinding, &sent);
        }
        Ok(())
    });
}

/// Held without link header and tags, and sent with those of the node's link; then straight there.
// Rows: BUF-08
#[test]
fn held_from_any_vlan_and_released_and_delivered_to_any_other() {
    in_namespace(|namespace| {
        let mut trunks = Trunks::new(namespace)?;
        for (from, to, _) in trunks.pairs() {
            let hop = trunks.next_hop(to);
            let bench = &mut trunks.bench;
            bench.maps.hold(PCOA, hop, None, later())?;
            let release = bench.maps.release(PCOA, later())?.expect("a buffer");
            let packets: Vec<Packet> = (0..3)
                .map(|number| Packet::numbered(CN, PCOA, number))
                .collect();
            for packet in &packets {
                let (sent, ran) = trunks.comes_in(from, packet)?;
                ran.is_unchanged(Verdict::Drop, Reason::Held, &sent);
            }
            let bench = &mut trunks.bench;
            let held = &bench.slot(bench.buffer(release.buffer)?.tail)?[ETHERNET..];
            assert_eq!(held, &forwarded(&packets[2]).octets()[ETHERNET..]);
            for packet in &packets {
                let job = DrainJob {
                    buffer: release.buffer,
                    operation: DRAIN_RELEASE,
                    budget: 1,
                    egress: release.egress,
                    ..DrainJob::default()
                };
                bench.drain.ask(&[job])?;
                // Whatever the frame of the run is.
                let ran = bench.run(Program::Drain, None, &Packet::udp(CN, CN, 700).octets())?;
                assert_eq!(ran.verdict, Verdict::Redirect);
                let octets = (packet.payload.len() + IPV6) as u64;
                assert_eq!(ran.moved, [(Reason::Released, 1, octets)]);
                assert_eq!(ran.frame, leaves(to, &forwarded(packet)));
            }
            let (job, _) = bench.drain(DRAIN_CLOSE, release.buffer, 1)?;
            assert_eq!(job.outcome, OUTCOME_DONE);
            let (sent, ran) = trunks.comes_in(from, &packets[0])?;
            let expected = leaves(to, &forwarded(&packets[0]));
            left_as(&ran, Reason::Delivered, &sent, &expected);
        }
        Ok(())
    });
}

// Rows: TUN-08
#[test]
fn a_packet_too_big_is_answered_in_the_vlan_that_it_came_from() {
    in_namespace(|namespace| {
        let mut trunks = Trunks::new(namespace)?;
        trunks.bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        // The bound is the narrow link's, as the route says or as the next hop does.
        for (from, to, net) in trunks.pairs() {
            if to.tags.is_empty() {
                continue;
            }
            trunks.bench.reroute(
                namespace,
                &format!("route replace {NCOA}/128 via 2001:db8:{net}::2"),
            )?;
            for hop in [None, Some((trunks.next_hop(to), NARROW))] {
                trunks.bench.maps.set_hop(NCOA, hop)?;
                let longest = NARROW as usize - IPV6;
                let fits = Packet::udp(CN, PCOA, longest - IPV6);
                let (sent, ran) = trunks.comes_in(from, &fits)?;
                left_as(
                    &ran,
                    Reason::Tunnelled,
                    &sent,
                    &leaves(to, &in_tunnel(&fits)),
                );

                trunks.bench.refill_errors()?;
                let (sent, ran) =
                    trunks.comes_in(from, &Packet::udp(CN, PCOA, longest - IPV6 + 1))?;
                assert_eq!(ran.verdict, Verdict::Reply);
                let octets = sent.len() as u64;
                assert_eq!(
                    ran.moved,
                    [(Reason::TooBig, 1, octets), (Reason::TooBigSent, 1, octets)]
                );
                let at = network_layer(&sent).expect("IPv6");
                let back = [&SENDER_MAC[..], &ROUTER_MAC, &sent[12..at]].concat();
                assert_eq!(ran.frame[..at], back);
                let link = [&SENDER_MAC[..], &ROUTER_MAC, &[0x86, 0xdd]].concat();
                let answer = Packet::read(&[&link, &ran.frame[at..]].concat());
                assert_eq!((answer.source, answer.destination), (PAR, CN));
                assert_eq!(answer.checksum(), 0);
                assert_eq!(
                    answer.payload[..4],
                    [2, 0, answer.payload[2], answer.payload[3]]
                );
                assert_eq!(answer.payload[4..8], (longest as u32).to_be_bytes());
                assert!(sent[at..].starts_with(&answer.payload[8..]));
            }
        }
        Ok(())
    });
}

/// The controller hears of the VLAN's interface, and gets the frame with its tags.
// Rows: KRN-01
#[test]
fn signalling_in_a_vlan_is_taken_as_of_its_interface() {
    in_namespace(|namespace| {
        let mut trunks = Trunks::new(namespace)?;
        trunks.bench.maps.add_local(PAR)?;
        for from in trunks.ways_in {
            let sent = tagged(&frame(PAR, Some(PCOA), fbu()), from.tags);
            let ran = trunks.bench.router_on(trunks.router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Drop, Reason::Signal, &sent);
            assert_eq!(trunks.bench.signal(), Some((from.interface, sent)));
        }
        Ok(())
    });
}

/// A VLAN is its port and all of its tags. What is none of ours is the kernel's, bound or not.
#[test]
fn the_same_tags_on_another_port_or_other_tags_are_another_vlan() {
    on_router(|bench, router| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let packet = Packet::udp(CN, PCOA, 100).octets();
        for (port, tags) in [(router.outgoing, &VLAN[..]), (router.incoming, &QINQ)] {
            let port = Port {
                index: port,
                tags: named(tags),
            };
            bench.maps.add_interface(router.vlan, OUT_MTU, port)?;
        }
        for tags in [
            &VLAN[..],
            &[(SERVICE, 5)],
            &[(SERVICE, 7)],
            &[(CUSTOMER, 7), (CUSTOMER, 5)],
            &[(SERVICE, 7), (SERVICE, 5)],
            &[(SERVICE, 5), (CUSTOMER, 7)],
            &[(SERVICE, 7), (CUSTOMER, 0)],
            &[(CUSTOMER, 0)],
        ] {
            let sent = tagged(&packet, tags);
            let ran = bench.router_on(router.incoming, &sent)?;
            ran.is_unchanged(Verdict::Pass, Reason::OtherVlan, &sent);
        }
        let sent = tagged(&packet, &QINQ);
        let ran = bench.router_on(router.incoming, &sent)?;
        assert_eq!(ran.moved, [(Reason::Tunnelled, 1, sent.len() as u64)]);
        // A third tag is read by nobody here.
        let sent = tagged(&packet, &[QINQ[0], QINQ[1], VLAN[0]]);
        let ran = bench.router_on(router.incoming, &sent)?;
        ran.is_unchanged(Verdict::Pass, Reason::NotIpv6, &sent);
        Ok(())
    });
}
