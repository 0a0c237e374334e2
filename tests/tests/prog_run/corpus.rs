//! Packets of every path through every program, and the world in which they take it.
//!
//! One table: a program that runs the same body over another kind of packet gets the same rows.

use std::net::Ipv6Addr;

use anyhow::Result;
use fmip_common::{
    binding::{NextHop, Tag},
    buffer::DRAIN_DISCARD,
    reason::Reason,
};
use fmip_ctl::{io::maps::Port, proto::Tunnel};

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, OUT_MTU, Program, Router, Verdict,
        address::{CN, NCOA, OTHER, PAR, PCOA},
        later, over,
    },
    packets::{ETHERNET, ICMPV6, IPV6, IPV6_IN_IPV6, Packet, UDP},
    signalling::{advertisement, fbu, frame, messages},
};

pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const TCP: u8 = 6;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const DESTINATION_OPTIONS: u8 = 60;
pub(crate) const MOBILITY: u8 = 135;

/// VLAN tags (IEEE 802.1Q) of customer and service.
pub(crate) const CUSTOMER: u16 = 0x8100;
pub(crate) const SERVICE: u16 = 0x88a8;

/// Any two differ in two octets, so that one octet that is changed never makes one of another.
const fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x20 + number, 0, 0, 0, 0, 0x30 + number)
}

/// Packets to it are held.
pub(crate) const HELD: Ipv6Addr = address(1);
/// Packets to it are copied.
pub(crate) const COPIED: Ipv6Addr = address(2);
/// It was held, and packets to it go straight on.
pub(crate) const DELIVERED: Ipv6Addr = address(3);
/// It is kept by a node away from home; nothing is held.
pub(crate) const KEPT: Ipv6Addr = address(4);
/// Its tunnel has expired.
pub(crate) const GONE: Ipv6Addr = address(5);
/// No packet of the corpus is for it, and one is held.
pub(crate) const BYSTANDER: Ipv6Addr = address(6);
/// The end at this router of the tunnel of `KEPT`.
pub(crate) const NAR: Ipv6Addr = address(7);
/// The far end of that tunnel.
pub(crate) const HOME: Ipv6Addr = address(8);
/// Of a mobile node: the first PCoA, the second one, and where it is now.
pub(crate) const SECOND: Ipv6Addr = address(9);
pub(crate) const THIRD: Ipv6Addr = address(10);
/// Of a mobile node: what it sends from here is held.
pub(crate) const SILENT: Ipv6Addr = address(11);
/// Of a mobile node: what it sends from here goes plain to its router.
pub(crate) const PLAIN: Ipv6Addr = address(12);

/// Where a program has been set up for the corpus.
pub(crate) struct World {
    pub(crate) program: Program,
    /// Of every packet.
    pub(crate) interface: u32,
    /// By bound address, the tunnel.
    pub(crate) tunnels: Vec<(Ipv6Addr, Tunnel)>,
    /// The buffers that are open, and the one of the bystander.
    pub(crate) open: Vec<u32>,
    pub(crate) bystander: u32,
}

impl World {
    /// Binds all that the corpus meets.
    pub(crate) fn new(program: Program, bench: &mut Bench, router: &Router) -> Result<Self> {
        let mut world = Self {
            program,
            interface: match program {
                Program::Router | Program::RouterIn | Program::MobileIn => router.incoming,
                Program::Drain => router.parked,
                Program::RouterOut | Program::RouterForward | Program::MobileOut => router.outgoing,
            },
            tunnels: Vec::new(),
            open: Vec::new(),
            bystander: 0,
        };
        bench.maps.set_parked(router.parked)?;
        match program {
            Program::Router
            | Program::RouterIn
            | Program::RouterOut
            | Program::RouterForward
            | Program::Drain => world.router(bench, router)?,
            Program::MobileIn | Program::MobileOut => world.mobile(bench, router)?,
        }
        Ok(world)
    }

    fn tunnel(&mut self, address: Ipv6Addr, local: Ipv6Addr, remote: Ipv6Addr) -> Tunnel {
        let tunnel = Tunnel { local, remote };
        self.tunnels.push((address, tunnel));
        tunnel
    }

    fn router(&mut self, bench: &mut Bench, router: &Router) -> Result<()> {
        let hop = router.next_hop();
        for (interface, tags) in [(router.vlan, &VLAN[..]), (router.qinq, &QINQ)] {
            let port = Port {
                index: router.incoming,
                tags: named(tags),
            };
            bench.maps.add_interface(interface, OUT_MTU, port)?;
        }
        for local in [PAR, NAR] {
            bench.maps.add_local(local)?;
        }
        self.tunnel(PCOA, PAR, NCOA);
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        self.tunnel(GONE, PAR, OTHER);
        bench.maps.install_tunnel(GONE, OTHER, PAR, over())?;
        self.open.push(bench.maps.hold(HELD, hop, None, later())?);
        self.open.push(bench.maps.copy(COPIED, hop)?);
        let delivered = bench.hold(DELIVERED, router)?;
        bench.close(delivered)?;
        // Its node is on the link that the packets come from.
        let tunnel = self.tunnel(KEPT, NAR, HOME);
        let node = NextHop::untagged(router.incoming, NEXT_HOP_MAC, OUT_MAC);
        let kept = bench.maps.hold(KEPT, node, Some(tunnel), later())?;
        bench.close(kept)?;
        self.bystander = bench.maps.hold(BYSTANDER, hop, None, later())?;
        let sentinel = Packet::numbered(CN, BYSTANDER, 1).octets();
        let ran = bench.run(Program::Router, Some(router.incoming), &sentinel)?;
        ran.is_frame(Verdict::Drop, Reason::Held, &sentinel);
        Ok(())
    }

    fn mobile(&mut self, bench: &mut Bench, router: &Router) -> Result<()> {
        let hop = router.next_hop();
        bench.maps.add_local(THIRD)?;
        bench
            .maps
            .add_interface(router.outgoing, OUT_MTU, Port::of(router.outgoing))?;
        // Moved twice: PCOA in the tunnel from SECOND, and that in the tunnel from THIRD.
        let inner = self.tunnel(PCOA, SECOND, PAR);
        let outer = self.tunnel(SECOND, THIRD, NAR);
        for (address, tunnel) in [(PCOA, Some(inner)), (SECOND, Some(outer)), (PLAIN, None)] {
            bench.maps.hold_uplink(address, None, later())?;
            let release = bench.maps.release_uplink(address, tunnel, hop, later())?;
            let buffer = bench.releases(release)?;
            bench.close(buffer)?;
        }
        bench.maps.hold_uplink(GONE, None, over())?;
        self.open
            .push(bench.maps.hold_uplink(SILENT, None, later())?);
        self.bystander = bench.maps.hold_uplink(BYSTANDER, None, later())?;
        let sentinel = Packet::numbered(BYSTANDER, CN, 1).octets();
        let ran = bench.run(Program::MobileOut, Some(router.outgoing), &sentinel)?;
        ran.is_frame(Verdict::Redirect, Reason::Held, &sentinel);
        Ok(())
    }

    /// Empties what the last packet may have filled; whether that was counted.
    pub(crate) fn tidy(&self, bench: &mut Bench) -> Result<bool> {
        let mut counted = false;
        while bench.signal().is_some() {}
        for &buffer in &self.open {
            let waiting = bench.buffer(buffer)?.waiting;
            if waiting > 0 {
                bench.drain(DRAIN_DISCARD, buffer, u32::try_from(waiting)?)?;
                counted = true;
            }
        }
        bench.refill_errors()?;
        Ok(counted)
    }
}

/// A packet, and what the program makes of it.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) frame: Vec<u8>,
    /// The verdict, and the reason of it; more reasons may be counted beside that one. `None`: nothing is
    /// counted.
    pub(crate) expected: (Verdict, Option<Reason>),
}

impl Fixture {
    /// Whether it carries tags of VLANs.
    pub(crate) fn is_tagged(&self) -> bool {
        [CUSTOMER, SERVICE]
            .map(u16::to_be_bytes)
            .contains(&[self.frame[12], self.frame[13]])
    }
}

fn fixture(name: &str, packet: &Packet, verdict: Verdict, reason: Reason) -> Fixture {
    raw(name, packet.octets(), verdict, reason)
}

fn raw(name: &str, frame: Vec<u8>, verdict: Verdict, reason: Reason) -> Fixture {
    Fixture {
        name: name.to_owned(),
        frame,
        expected: (verdict, Some(reason)),
    }
}

/// The packets for `program`.
pub(crate) fn fixtures(program: Program) -> Result<Vec<Fixture>> {
    let mut fixtures = match program {
        Program::Router | Program::RouterIn => router(program)?,
        Program::RouterOut | Program::RouterForward => router_out(program)?,
        Program::Drain => router(program)?
            .into_iter()
            .map(|fixture| Fixture {
                // Not a run of the controller's: none of its business.
                expected: (Verdict::Pass, Some(Reason::NoBinding)),
                ..fixture
            })
            .collect(),
        Program::MobileIn => mobile_in()?,
        Program::MobileOut => mobile_out()?,
    };
    if program.is_router_out() {
        // Whatever goes out is this node's own; a test run asks the address, as if it came in.
        for fixture in &mut fixtures {
            fixture.frame[..6].copy_from_slice(&OUT_MAC);
        }
    }
    // In turn, so that each kind of tag meets packets of many kinds.
    let tags = [
        ("VLAN", true, &VLAN[..]),
        ("QinQ", true, &QINQ),
        ("VLAN of others", false, &[(CUSTOMER, 6)]),
        ("QinQ of others", false, &[(SERVICE, 7), (CUSTOMER, 6)]),
        ("VLAN without the one around", false, &[(SERVICE, 7)]),
        ("priority tag", false, &[(CUSTOMER, 0xe000)]),
        ("VLAN with priority", true, &[(CUSTOMER, 0xe005)]),
    ];
    for (place, (name, ours, tags)) in (0..fixtures.len()).step_by(2).zip(tags.iter().cycle()) {
        let Fixture {
            name: plain,
            frame,
            expected,
        } = &fixtures[place];
        fixtures.push(Fixture {
            name: format!("{plain}, {name}"),
            frame: tagged(frame, tags),
            expected: match program {
                Program::Drain => *expected,
                Program::Router if frame[12..14] == [0x86, 0xdd] => match ours {
                    // The node is on the link itself, and nobody in a VLAN speaks for it.
                    true if plain == FROM_KEPT => (Verdict::Drop, Some(Reason::Spoofed)),
                    true if plain == PROBE_OF_KEPT => (Verdict::Pass, Some(Reason::NoBinding)),
                    true => *expected,
                    false => (Verdict::Pass, Some(Reason::OtherVlan)),
                },
                // In TC tags stand beside the packet, if they are the kernel's.
                _ => (Verdict::Pass, Some(Reason::NotIpv6)),
            },
        });
    }
    Ok(fixtures)
}

/// VLANs of the router, on the link that packets come in on: the stand-ins [`Router::vlan`] and
/// [`Router::qinq`].
pub(crate) const VLAN: [(u16, u16); 1] = [(CUSTOMER, 5)];
pub(crate) const QINQ: [(u16, u16); 2] = [(SERVICE, 7), (CUSTOMER, 5)];

/// Such tags as the maps name them.
pub(crate) fn named(tags: &[(u16, u16)]) -> [Tag; 2] {
    let tag = |place: usize| match tags.get(place) {
        Some(&(protocol, vlan)) => Tag::new(protocol, vlan),
        None => Tag::NONE,
    };
    [tag(0), tag(1)]
}

const FROM_KEPT: &str = "from the kept address";
const PROBE_OF_KEPT: &str = "its node's probe of the kept address";

/// The packet in so many tunnels that end somewhere else.
fn in_tunnels(packet: Packet, tunnels: u32) -> Packet {
    (0..tunnels).fold(packet, |packet, _| {
        packet.tunnelled(packet.source, packet.destination)
    })
}

fn router(program: Program) -> Result<Vec<Fixture>> {
    use Reason as R;
    use Verdict::{Drop, Pass, Redirect, Reply};
    let to = |destination| Packet::udp(CN, destination, 60);
    let reply = match program {
        Program::RouterIn => Redirect,
        _ => Reply,
    };
    let mut fixtures = vec![
        raw("ARP", arp(), Pass, R::NotIpv6),
        fixture("miss", &to(OTHER), Pass, R::NoBinding),
        fixture("expired", &to(GONE), Pass, R::Expired),
        fixture("tunnel", &to(PCOA), Redirect, R::Tunnelled),
        fixture("held", &to(HELD), Drop, R::Held),
        fixture("copied", &to(COPIED), Pass, R::NoBinding),
        fixture("delivered", &to(DELIVERED), Redirect, R::Delivered),
        fixture("to the kept address", &to(KEPT), Redirect, R::Delivered),
        fixture(
            FROM_KEPT,
            &Packet {
                link_source: NEXT_HOP_MAC,
                ..Packet::udp(KEPT, CN, 60)
            },
            Redirect,
            R::Tunnelled,
        ),
        fixture(
            "from the kept address, forged",
            &Packet::udp(KEPT, CN, 60),
            Drop,
            R::Spoofed,
        ),
        fixture(
            "reverse tunnel",
            &Packet::udp(PCOA, CN, 60).tunnelled(NCOA, PAR),
            Redirect,
            R::Untunnelled,
        ),
        fixture(
            "reverse tunnel, forged",
            &Packet::udp(PCOA, CN, 60).tunnelled(OTHER, PAR),
            Drop,
            R::Spoofed,
        ),
        fixture(
            "reverse tunnel into a buffer",
            &Packet::udp(PCOA, HELD, 60).tunnelled(NCOA, PAR),
            Drop,
            R::Held,
        ),
        fixture(
            "reverse tunnel into a tunnel",
            &Packet::udp(PCOA, PCOA, 60).tunnelled(NCOA, PAR),
            Redirect,
            R::Tunnelled,
        ),
        fixture(
            "reverse tunnel, copied",
            &Packet::udp(PCOA, COPIED, 60).tunnelled(NCOA, PAR),
            Redirect,
            R::Untunnelled,
        ),
        fixture(
            "tunnel to the kept address",
            &to(KEPT).tunnelled(HOME, NAR),
            Redirect,
            R::Delivered,
        ),
        fixture(
            "congestion that cannot be told",
            &marked(Packet::udp(PCOA, CN, 60).tunnelled(NCOA, PAR)),
            Drop,
            R::CongestionLost,
        ),
        fixture(
            "too big",
            &Packet::udp(CN, PCOA, 1461),
            reply,
            R::TooBigSent,
        ),
        fixture(
            "too big, and an error",
            &Packet::of(CN, PCOA, ICMPV6, &icmp(1, OUT_MTU as usize - IPV6)),
            Drop,
            R::TooBig,
        ),
        fixture(
            "to a group of hosts",
            &Packet {
                link_destination: [0x33, 0x33, 0, 0, 0, 1],
                ..to(PCOA)
            },
            Pass,
            R::LinkScope,
        ),
        fixture(
            "in three tunnels",
            &in_tunnels(to(PCOA), 3),
            Redirect,
            R::Tunnelled,
        ),
        fixture("in a circle", &in_tunnels(to(PCOA), 4), Drop, R::Nested),
        fixture(
            "from the kept address, in a circle",
            &Packet {
                link_source: NEXT_HOP_MAC,
                ..in_tunnels(Packet::udp(KEPT, CN, 60), 4)
            },
            Drop,
            R::Nested,
        ),
        fixture(
            "hop limit",
            &Packet {
                hop_limit: 1,
                ..to(PCOA)
            },
            Pass,
            R::HopLimit,
        ),
        fixture(
            "solicitation to a bound address",
            &Packet {
                hop_limit: 255,
                ..Packet::of(CN, PCOA, ICMPV6, &icmp(135, 24))
            },
            Pass,
            R::LinkScope,
        ),
        fixture(
            PROBE_OF_KEPT,
            &Packet {
                link_source: NEXT_HOP_MAC,
                ..probe(KEPT)?
            },
            Drop,
            R::OwnProbe,
        ),
        fixture(
            "probe of the kept address, by another",
            &probe(KEPT)?,
            Pass,
            R::NoBinding,
        ),
        raw("FBU", frame(PAR, Some(PCOA), fbu()), Drop, R::Signal),
        raw(
            "UNA",
            frame(PAR, None, advertisement()),
            Pass,
            R::SignalCopied,
        ),
        fixture(
            "parameter problem",
            &Packet::of(CN, PAR, ICMPV6, &parameter_problem()),
            Pass,
            R::SignalCopied,
        ),
    ];
    fixtures.extend(
        messages()
            .into_iter()
            .map(|message| raw("message", frame(NAR, None, message), Drop, R::Signal)),
    );
    fixtures.extend(extended(CN, PCOA)?.into_iter().map(|(name, packet)| {
        fixture(&format!("tunnel, {name}"), &packet, Redirect, R::Tunnelled)
    }));
    fixtures.extend(extended(PCOA, CN)?.into_iter().map(|(name, packet)| {
        fixture(
            &format!("reverse tunnel, {name}"),
            &packet.tunnelled(NCOA, PAR),
            Redirect,
            R::Untunnelled,
        )
    }));
    fixtures.extend(extended(CN, PAR)?.into_iter().map(|(name, packet)| {
        let end = match name {
            "Mobility Header" | "chain that ends" => (Drop, R::Signal),
            _ => (Pass, R::NoBinding),
        };
        fixture(&format!("to the router, {name}"), &packet, end.0, end.1)
    }));
    Ok(fixtures)
}

fn router_out(program: Program) -> Result<Vec<Fixture>> {
    use Reason as R;
    use Verdict::{Drop, Pass, Redirect};
    let to = |destination| Packet::udp(CN, destination, 60);
    let with_hops = |hop_limit, destination| Packet {
        hop_limit,
        ..to(destination)
    };
    let mut fixtures = vec![
        raw("ARP", arp(), Pass, R::NotIpv6),
        fixture("miss", &to(OTHER), Pass, R::NoBinding),
        fixture("expired", &to(GONE), Pass, R::Expired),
        fixture("tunnel", &to(PCOA), Redirect, R::Tunnelled),
        fixture("held", &to(HELD), Redirect, R::Held),
        fixture("copied", &to(COPIED), Pass, R::NoBinding),
        fixture("delivered", &to(DELIVERED), Pass, R::Delivered),
        // Its node is on another link.
        fixture("to the kept address", &to(KEPT), Redirect, R::Delivered),
        fixture(
            "from the kept address",
            &Packet::udp(KEPT, CN, 60),
            Pass,
            R::NoBinding,
        ),
        fixture(
            "reverse tunnel",
            &Packet::udp(PCOA, CN, 60).tunnelled(NCOA, PAR),
            Pass,
            R::NoBinding,
        ),
        fixture(
            "too big",
            &Packet::udp(CN, PCOA, 1461),
            Redirect,
            R::TooBigSent,
        ),
        fixture(
            "too big, and an error",
            &Packet::of(CN, PCOA, ICMPV6, &icmp(1, OUT_MTU as usize - IPV6)),
            Drop,
            R::TooBig,
        ),
        // It has taken its last hop here.
        fixture("last hop", &with_hops(1, DELIVERED), Pass, R::Delivered),
        fixture(
            "last hop, tunnel",
            &with_hops(1, PCOA),
            Redirect,
            R::Tunnelled,
        ),
        fixture("no hop", &with_hops(0, PCOA), Pass, R::HopLimit),
        fixture(
            "in three tunnels",
            &in_tunnels(to(PCOA), 3),
            Redirect,
            R::Tunnelled,
        ),
        fixture("in a circle", &in_tunnels(to(PCOA), 4), Drop, R::Nested),
        fixture(
            "solicitation to a bound address",
            &Packet {
                hop_limit: 255,
                ..Packet::of(CN, PCOA, ICMPV6, &icmp(135, 24))
            },
            Pass,
            R::LinkScope,
        ),
        fixture(
            "of this link",
            &Packet::udp("fe80::1".parse()?, PCOA, 60),
            Pass,
            R::LinkScope,
        ),
    ];
    // The router says itself where its messages go; those that it forwards are like any other packet.
    for message in messages() {
        let mut fixture = raw(
            "message",
            frame(PCOA, None, message),
            Redirect,
            R::Tunnelled,
        );
        if program == Program::RouterOut {
            fixture.expected = (Pass, None);
        }
        fixtures.push(fixture);
    }
    for (name, packet) in extended(CN, PCOA)? {
        let mut fixture = fixture(&format!("tunnel, {name}"), &packet, Redirect, R::Tunnelled);
        if program == Program::RouterOut && name == "Mobility Header" {
            fixture.expected = (Pass, None);
        }
        fixtures.push(fixture);
    }
    for (name, packet) in extended(CN, HELD)? {
        let mut fixture = fixture(&format!("held, {name}"), &packet, Redirect, R::Held);
        if program == Program::RouterOut && name == "Mobility Header" {
            fixture.expected = (Pass, None);
        }
        fixtures.push(fixture);
    }
    Ok(fixtures)
}

fn mobile_in() -> Result<Vec<Fixture>> {
    use Reason as R;
    use Verdict::{Drop, Pass};
    let to_second = Packet::udp(CN, SECOND, 60).tunnelled(NAR, THIRD);
    let to_first = Packet::udp(CN, PCOA, 60)
        .tunnelled(PAR, SECOND)
        .tunnelled(NAR, THIRD);
    let mut fixtures = vec![
        raw("ARP", arp(), Pass, R::NotIpv6),
        fixture("plain", &Packet::udp(CN, THIRD, 60), Pass, R::NoBinding),
        fixture("tunnel", &to_second, Pass, R::MobileUntunnelled),
        fixture("two tunnels", &to_first, Pass, R::MobileUntunnelled),
        fixture(
            "forged tunnel",
            &Packet::udp(CN, SECOND, 60).tunnelled(OTHER, THIRD),
            Drop,
            R::Spoofed,
        ),
        fixture(
            "tunnel to nobody",
            &Packet::udp(CN, OTHER, 60).tunnelled(NAR, THIRD),
            Pass,
            R::NoBinding,
        ),
        fixture(
            "congestion that cannot be told",
            &marked(to_second.clone()),
            Drop,
            R::CongestionLost,
        ),
        fixture(
            "router advertisement",
            &Packet {
                hop_limit: 255,
                ..Packet::of(
                    "fe80::1".parse()?,
                    "ff02::1".parse()?,
                    ICMPV6,
                    &icmp(134, 16),
                )
            },
            Pass,
            R::SignalCopied,
        ),
        raw(
            "UNA",
            frame(THIRD, None, advertisement()),
            Pass,
            R::SignalCopied,
        ),
    ];
    fixtures.extend(
        messages()
            .into_iter()
            .map(|message| raw("message", frame(THIRD, None, message), Drop, R::Signal)),
    );
    fixtures.extend(extended(CN, SECOND)?.into_iter().map(|(name, packet)| {
        fixture(
            &format!("tunnel, {name}"),
            &packet.tunnelled(NAR, THIRD),
            Pass,
            R::MobileUntunnelled,
        )
    }));
    Ok(fixtures)
}

fn mobile_out() -> Result<Vec<Fixture>> {
    use Reason as R;
    use Verdict::{Pass, Redirect};
    let from = |source| Packet::udp(source, CN, 60);
    let mut fixtures = vec![
        raw("ARP", arp(), Pass, R::NotIpv6),
        fixture("miss", &from(OTHER), Pass, R::NoBinding),
        fixture("expired", &from(GONE), Pass, R::Expired),
        fixture("tunnel", &from(SECOND), Pass, R::MobileTunnelled),
        fixture("two tunnels", &from(PCOA), Pass, R::MobileTunnelled),
        fixture("plain", &from(PLAIN), Pass, R::MobileSent),
        fixture("held", &from(SILENT), Redirect, R::Held),
        fixture(
            "too big",
            &Packet::udp(SECOND, CN, 1461),
            Redirect,
            R::TooBigSent,
        ),
        fixture(
            "to the link",
            &Packet::udp(PCOA, "ff02::2".parse()?, 60),
            Pass,
            R::LinkScope,
        ),
    ];
    for (name, packet) in extended(PCOA, CN)? {
        let name = format!("two tunnels, {name}");
        fixtures.push(fixture(&name, &packet, Pass, R::MobileTunnelled));
    }
    for (name, packet) in extended(SILENT, CN)? {
        fixtures.push(fixture(
            &format!("held, {name}"),
            &packet,
            Redirect,
            R::Held,
        ));
    }
    Ok(fixtures)
}

/// A packet with each upper layer and each extension header, and with chains of them.
pub(crate) fn extended(
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<Vec<(&'static str, Packet)>> {
    let udp = Packet::udp(source, destination, 24);
    let within = |chain: &[(u8, Vec<u8>)]| {
        chain.iter().rev().fold(udp.clone(), |packet, header| {
            let mut payload = vec![packet.next_header];
            payload.extend(&header.1[1..]);
            payload.extend(&packet.payload);
            Packet {
                next_header: header.0,
                payload,
                ..packet
            }
        })
    };
    // Each with the place of the next header's number in front, which is filled in.
    let options = vec![0, 0, 1, 4, 0, 0, 0, 0];
    let home_address = {
        // PadN, then the Home Address option (RFC 6275 section 6.3).
        let mut header = vec![0, 2, 1, 2, 0, 0, 0xc9, 16];
        header.extend(OTHER.octets());
        header
    };
    let routing = vec![0, 0, 0, 0, 0, 0, 0, 0];
    let fragment = vec![0, 0, 0, 0xb9, 0, 0, 0, 1];
    // A Binding Refresh Request is the kernel's; a Fast Binding Update the controller's.
    let mobility = vec![59, 1, 8, 0, 0, 0, 0, 7, 0x80, 0, 0, 10, 1, 2, 0, 0];
    let of = |next_header, payload: &[u8]| Packet::of(source, destination, next_header, payload);
    let mut tcp = vec![0; 32];
    tcp[12] = 0x50;
    let chain = |count: usize, end: &[u8], number| {
        let mut payload = Vec::new();
        for place in 0..count {
            let next = match place + 1 {
                next if next == count => number,
                _ => DESTINATION_OPTIONS,
            };
            payload.extend([next, 0, 1, 4, 0, 0, 0, 0]);
        }
        payload.extend(end);
        of(DESTINATION_OPTIONS, &payload)
    };
    Ok(vec![
        ("UDP", udp.clone()),
        ("TCP", of(TCP, &tcp)),
        ("echo request", of(ICMPV6, &icmp(128, 24))),
        ("no next header", of(59, &[1, 2, 3, 4])),
        ("unknown protocol", of(253, &[0; 24])),
        (
            "hop-by-hop options",
            within(&[(HOP_BY_HOP, options.clone())]),
        ),
        (
            "destination options",
            within(&[(DESTINATION_OPTIONS, home_address.clone())]),
        ),
        ("routing header", within(&[(ROUTING, routing.clone())])),
        ("fragment header", within(&[(FRAGMENT, fragment.clone())])),
        (
            "all of them",
            within(&[
                (HOP_BY_HOP, options.clone()),
                (DESTINATION_OPTIONS, options),
                (ROUTING, routing),
                (FRAGMENT, fragment),
                (DESTINATION_OPTIONS, home_address),
            ]),
        ),
        ("Mobility Header", of(MOBILITY, &mobility)),
        ("chain that ends", chain(3, &mobility, MOBILITY)),
        ("chain too long", chain(20, &mobility, MOBILITY)),
        (
            "packet in a packet",
            Packet::udp(OTHER, CN, 24).tunnelled(source, destination),
        ),
    ])
}

/// An ICMPv6 message of this type, `octets` long.
fn icmp(kind: u8, octets: usize) -> Vec<u8> {
    let mut message = vec![0; octets];
    message[0] = kind;
    message
}

/// Whether anybody else has this address (RFC 4862 section 5.4.2).
fn probe(target: Ipv6Addr) -> Result<Packet> {
    let mut solicitation = icmp(135, 8);
    solicitation.extend(target.octets());
    Ok(Packet {
        hop_limit: 255,
        ..Packet::of(
            "::".parse()?,
            "ff02::1:ff00:1".parse()?,
            ICMPV6,
            &solicitation,
        )
    })
}

/// A Parameter Problem about a Mobility Header of ours.
fn parameter_problem() -> Vec<u8> {
    let mut message = icmp(4, 8);
    message[1] = 1;
    message
        .extend(&Packet::of(PAR, CN, MOBILITY, &[59, 0, 14, 0, 0, 0, 0, 0]).octets()[ETHERNET..]);
    message
}

/// Congestion was met by the outer packet.
fn marked(mut outer: Packet) -> Packet {
    assert_eq!(outer.next_header, IPV6_IN_IPV6);
    outer.class = 0x03;
    outer
}

fn arp() -> Vec<u8> {
    let mut frame = Packet::udp(CN, OTHER, 60).octets();
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame
}

/// The frame with VLAN tags, the outer one first: what it is and its number.
pub(crate) fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    for (kind, number) in tags {
        tagged.extend(kind.to_be_bytes());
        tagged.extend(number.to_be_bytes());
    }
    tagged.extend(&frame[12..]);
    tagged
}

/// Where the network layer starts, behind at most two tags; `None` if that is not IPv6.
pub(crate) fn network_layer(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    for _ in 0..3 {
        let kind = u16::from_be_bytes(frame.get(at..at + 2)?.try_into().expect("two"));
        match kind {
            CUSTOMER | SERVICE => at += 4,
            0x86dd => return Some(at + 2),
            _ => return None,
        }
    }
    None
}

/// That the corpus reaches what it says, on every program.
#[test]
fn every_packet_of_the_corpus_takes_its_path() {
    for program in Program::ALL {
        crate::bench::on_router(|bench, router| {
            let world = World::new(program, bench, router)?;
            let mut wrong = Vec::new();
            for fixture in fixtures(program)? {
                world.tidy(bench)?;
                let ran = bench.run(program, Some(world.interface), &fixture.frame)?;
                let (verdict, reason) = fixture.expected;
                let name = &fixture.name;
                let counted = match reason {
                    Some(reason) => ran.moved.iter().any(|moved| moved.0 == reason),
                    None => ran.moved.is_empty(),
                };
                if ran.verdict != verdict || !counted {
                    wrong.push(format!(
                        "{name}: {:?} {:?} instead of {verdict:?} {reason:?}",
                        ran.verdict, ran.moved
                    ));
                } else if let Err(error) = world.judge(bench, &fixture.frame, &ran) {
                    wrong.push(format!("{name}: {error:#}; it left as {:02x?}", ran.frame));
                }
            }
            anyhow::ensure!(wrong.is_empty(), "{program:?}: {wrong:#?}");
            Ok(())
        });
    }
}

const _: () = assert!(UDP == 17);
