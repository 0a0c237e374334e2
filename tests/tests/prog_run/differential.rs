//! Our tunnels beside the kernel's own: random packets through both give the same octets.
//!
//! In: the kernel's seg6 encapsulation in its reduced mode, whose one segment leaves no segment routing
//! header (RFC 8986 section 5.2): plain IPv6 in IPv6. Out: the kernel's End.DT6 (RFC 8986 section 4.6).
//!
//! What is not compared, all else is:
//!
//! * Going in, the outer hop limit. RFC 2473 section 6.3 leaves it to the entry point's administrator: ours
//!   is 64, seg6 takes the inner one and forwards the outer packet.
//! * Going in, the inner hop limit, which is checked instead. RFC 2473 section 3.1: the entry point forwards
//!   the packet and takes one hop of it. seg6 takes that hop from the outer header alone.
//! * Going in, the outer flow label where the inner one is 0. RFC 6438 section 3.1 wants one that is not; seg6
//!   copies the 0 unless a sysctl makes it hash everything. Where the inner one is not 0, both copy it.
//! * Coming out, the two bits of ECN. seg6 knows no RFC 6040 and leaves the inner mark alone; ours is compared
//!   with RFC 6040's own table, and the packets which that drops are not compared.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use fmip_common::reason::Reason;
use fmip_tests::NetNs;

use crate::{
    bench::{
        Bench, NEXT_HOP_MAC, OUT_MAC, Router, Verdict,
        address::{CN, NCOA, OTHER, PAR, PCOA},
        in_namespace, index, later,
    },
    corpus::{DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING, TCP},
    judge::congestion,
    packets::{ETHERNET, ICMPV6, IPV6, IPV6_IN_IPV6, Packet, UDP},
    receiver::Receiver,
};

/// Packets through each of the tunnel's ends.
const PACKETS: u32 = 3000;

/// Longest packet, in octets from its IPv6 header on, that fits into every link here with a tunnel's header.
const LONGEST: usize = 1900;

const ROUTER_SIDE: [u8; 6] = [2, 0, 0, 0, 0, 0x30];

/// The kernel's own path: what is sent into `k1` comes in by `k0`, and leaves by the same `out0` and to the
/// same next hop as ours.
///
/// ```text
///     k1 ---- k0 [kernel] out0 ---- out1
///            in0 [ours]   out0
/// ```
struct Kernel {
    socket: Receiver,
    /// Index of `k1`.
    interface: u32,
}

impl Kernel {
    fn new(namespace: &NetNs, route: &str) -> Result<Self> {
        namespace.ip_batch(
            "link add k0 address 02:00:00:00:00:30 type veth peer name k1\n\
             link set k0 mtu 4000\nlink set k1 mtu 4000\nlink set out0 mtu 4000\n\
             link set out1 mtu 4000\nlink set k0 up\nlink set k1 up\n",
        )?;
        namespace.sysctl("ipv6/conf/k0/disable_ipv6", 0)?;
        // For the routing header that ends nowhere near: the kernel forwards it as it is.
        namespace.sysctl("ipv6/conf/k0/forwarding", 1)?;
        namespace.ip(&format!("sr tunsrc set {PAR}"))?;
        namespace.ip(&format!("-6 route add {route}"))?;
        Ok(Self {
            socket: Receiver::new()?,
            interface: index(namespace, "k1")?,
        })
    }

    /// What the kernel makes of the packet.
    fn sends(&self, packet: &Packet) -> Result<Packet> {
        let to_kernel = Packet {
            link_destination: ROUTER_SIDE,
            ..packet.clone()
        };
        self.socket.send(self.interface, &to_kernel.octets())?;
        let mut packets = self.socket.packets(1)?;
        packets.pop().context("nothing came")
    }
}

/// Makes packets of every kind.
struct Maker {
    random: Rng,
}

impl Maker {
    fn octets(&mut self, most: usize) -> Vec<u8> {
        let length = self.random.usize(0..=most);
        (0..length).map(|_| self.random.u8(..)).collect()
    }

    /// An upper layer, and its number.
    fn upper_layer(&mut self, most: usize) -> (u8, Vec<u8>) {
        let mut payload = vec![0; 24];
        let next_header = match self.random.u8(..6) {
            0 | 1 => {
                let rest = self.octets(most);
                let datagram = Packet::udp(CN, PCOA, 8 + rest.len());
                let mut payload = datagram.payload;
                payload[8..].copy_from_slice(&rest);
                return (UDP, payload);
            }
            2 => {
                payload[12] = 0x50;
                TCP
            }
            3 => {
                // Echo, or an error; no neighbor discovery, which stays on its link.
                payload[0] = *self.random.choice(&[1, 3, 128, 129]).expect("some");
                ICMPV6
            }
            4 => {
                let inner = Packet::udp(OTHER, CN, 8 + self.random.usize(0..64));
                return (IPV6_IN_IPV6, inner.octets()[ETHERNET..].to_vec());
            }
            // Unknown, or none at all.
            _ => *self.random.choice(&[59, 132, 200, 253]).expect("some"),
        };
        payload.extend(self.octets(most));
        (next_header, payload)
    }

    /// The header with this number, without the next header's.
    fn extension_header(&mut self, kind: u8) -> Vec<u8> {
        match kind {
            HOP_BY_HOP | DESTINATION_OPTIONS => {
                // One option over all of it that nobody knows and everybody skips (RFC 8200 section 4.2; type
                // 0x1e is one for experiments): Linux takes no padding of more than 7 octets.
                let units = self.random.u8(..4);
                let octets = units * 8 + 4;
                let mut header = vec![units, 0x1e, octets];
                header.extend((0..octets).map(|_| self.random.u8(..)));
                header
            }
            ROUTING => {
                // Type 4 with no segment left: whoever forwards it lets it be.
                let mut header = vec![2, 253, 0, 0, 0, 0, 0];
                header.extend((0..16).map(|_| self.random.u8(..)));
                header
            }
            _ => {
                // A fragment that is not the first, or is.
                let offset = (self.random.u16(..100) << 3 | self.random.u16(..2)).to_be_bytes();
                let mut header = vec![0, offset[0], offset[1]];
                header.extend((0..4).map(|_| self.random.u8(..)));
                header
            }
        }
    }

    /// A packet that a router may forward.
    fn packet(&mut self, source: Ipv6Addr, destination: Ipv6Addr) -> Packet {
        let most = match self.random.u8(..8) {
            0 => LONGEST - IPV6 - 256,
            _ => 200,
        };
        let (mut next_header, mut payload) = self.upper_layer(most);
        let mut headers = 0;
        // From the last to the first, in the order of RFC 8200 section 4.1.
        for kind in [
            DESTINATION_OPTIONS,
            FRAGMENT,
            ROUTING,
            DESTINATION_OPTIONS,
            HOP_BY_HOP,
        ] {
            if self.random.u8(..4) == 0 {
                let mut header = vec![next_header];
                header.extend(self.extension_header(kind));
                header.extend(payload);
                (next_header, payload) = (kind, header);
                headers += 1;
            }
        }
        if payload.is_empty() {
            payload.push(0);
        }
        Packet {
            class: self.random.u8(..),
            flow: match self.random.u8(..4) {
                0 => 0,
                _ => self.random.u32(..1 << 20),
            },
            // What no router has forwarded, and has more headers than are looked behind, may be neighbor
            // discovery, and stays on its link.
            hop_limit: match headers {
                ..=3 => self.random.u8(2..),
                _ => self.random.u8(2..255),
            },
            next_header,
            payload,
            ..Packet::udp(source, destination, 8)
        }
    }
}

/// Runs `compare` on many packets, on a router whose kernel has the route.
fn beside_the_kernel(
    what: &str,
    route: &str,
    mut compare: impl FnMut(&mut Bench, &Router, &Kernel, &mut Maker) -> Result<()> + Send,
) {
    let seed = crate::seed(what);
    in_namespace(|namespace| {
        let mut bench = Bench::new()?;
        let router = Router::new(namespace, &mut bench)?;
        let kernel = Kernel::new(namespace, route)?;
        let mut maker = Maker {
            random: Rng::with_seed(seed),
        };
        for number in 0..PACKETS {
            compare(&mut bench, &router, &kernel, &mut maker)
                .with_context(|| format!("packet {number} of FMIP_SEED={seed}"))?;
        }
        Ok(())
    });
}

// Rows: TUN-01, TUN-08
#[test]
fn into_the_tunnel_the_octets_are_those_of_the_kernels_encapsulation() {
    let route = format!("{PCOA}/128 encap seg6 mode encap.red segs {NCOA} dev out0");
    beside_the_kernel("into the tunnel", &route, |bench, router, kernel, maker| {
        bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
        let sent = maker.packet(CN, PCOA);
        let ours = bench.router_on(router.incoming, &sent.octets())?;
        let ours = ours.is(Verdict::Redirect, Reason::Tunnelled, &sent.octets());
        let theirs = kernel
            .sends(&sent)
            .with_context(|| format!("the kernel, with {sent:?}"))?;
        ensure!(ours.hop_limit == 64, "the outer hop limit");
        ensure!(
            ours.inner().hop_limit == sent.hop_limit - 1,
            "the inner hop limit"
        );
        if sent.flow == 0 {
            ensure!(theirs.flow == 0, "seg6 makes flow labels");
        }
        let mut expected = theirs.clone();
        expected.hop_limit = ours.hop_limit;
        if sent.flow == 0 {
            expected.flow = ours.flow;
        }
        ensure!(
            theirs.payload[7] == sent.hop_limit,
            "seg6 changes the inner hop limit"
        );
        expected.payload[7] = sent.hop_limit - 1;
        ensure!(
            ours == expected,
            "{sent:02x?}\nbecame    {ours:02x?}\ninstead of {expected:02x?}"
        );
        Ok(())
    });
}

// Rows: TUN-05, TUN-08
#[test]
fn out_of_the_tunnel_the_octets_are_those_of_the_kernels_decapsulation() {
    let route = format!("{PAR}/128 encap seg6local action End.DT6 table 254 dev out0");
    beside_the_kernel(
        "out of the tunnel",
        &route,
        |bench, router, kernel, maker| {
            bench.maps.add_local(PAR)?;
            bench.maps.install_tunnel(PCOA, NCOA, PAR, later())?;
            let inner = maker.packet(PCOA, CN);
            let sent = Packet {
                class: maker.random.u8(..),
                flow: maker.random.u32(..1 << 20),
                hop_limit: maker.random.u8(2..),
                ..inner.tunnelled(NCOA, PAR)
            };
            let ours = bench.router_on(router.incoming, &sent.octets())?;
            let Some(mark) = congestion(inner.class & 3, sent.class & 3) else {
                ours.is_unchanged(Verdict::Drop, Reason::CongestionLost, &sent.octets());
                return Ok(());
            };
            let ours = ours.is(Verdict::Redirect, Reason::Untunnelled, &sent.octets());
            let theirs = kernel
                .sends(&sent)
                .with_context(|| format!("the kernel, with {sent:?}"))?;
            ensure!(theirs.class == inner.class, "seg6 combines marks");
            ensure!(
                theirs.hop_limit == inner.hop_limit - 1,
                "the kernel's hop limit"
            );
            let expected = Packet {
                class: inner.class & !3 | mark,
                ..theirs
            };
            ensure!(
                ours == expected,
                "{sent:02x?}\nbecame    {ours:02x?}\ninstead of {expected:02x?}"
            );
            let hop = (ours.link_destination, ours.link_source);
            ensure!(hop == (NEXT_HOP_MAC, OUT_MAC), "to {hop:02x?}");
            Ok(())
        },
    );
}
