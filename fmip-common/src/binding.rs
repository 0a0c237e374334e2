//! Binding: what the data path does with packets to (or, at a mobile node, from) one address.

use core::net::Ipv6Addr;

/// An IPv6 address as it stands in a packet, in two words: compared and hashed without byte loads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u64; 2]);
const _: () = assert!(size_of::<Address>() == 16);

impl Address {
    /// The address from its sixteen octets in network order.
    #[inline(always)]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self([
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        ])
    }

    /// The sixteen octets in network order.
    #[inline(always)]
    pub const fn octets(&self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.0[0].to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.0[1].to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// The first octet: 0xff means multicast (RFC 4291 section 2.4).
    #[inline(always)]
    pub const fn is_multicast(&self) -> bool {
        self.0[0].to_ne_bytes()[0] == 0xff
    }

    /// Whether it is in fe80::/10 (RFC 4291 section 2.4).
    #[inline(always)]
    pub const fn is_link_local(&self) -> bool {
        let octets = self.0[0].to_ne_bytes();
        octets[0] == 0xfe && octets[1] & 0xc0 == 0x80
    }
}

impl Address {
    /// Whether a router may forward a packet from this address: not multicast, link-local, the
    /// unspecified or the loopback address (RFC 4291 sections 2.5.2, 2.5.3, 2.5.6 and 2.7).
    #[inline(always)]
    pub const fn is_forwarded_from(&self) -> bool {
        let unspecified_or_loopback = self.0[0] == 0 && u64::from_be(self.0[1]) <= 1;
        !(self.is_multicast() || self.is_link_local() || unspecified_or_loopback)
    }

    /// Whether a router may forward a packet to this address: not link-local, nor multicast of a
    /// scope within one link (RFC 4291 sections 2.5.6 and 2.7).
    #[inline(always)]
    pub const fn is_forwarded_to(&self) -> bool {
        const LINK_LOCAL_SCOPE: u8 = 2;
        let scope = self.0[0].to_ne_bytes()[1] & 0x0f;
        !(self.is_link_local() || (self.is_multicast() && scope <= LINK_LOCAL_SCOPE))
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self::from_octets(address.octets())
    }
}

impl From<Address> for Ipv6Addr {
    fn from(address: Address) -> Self {
        address.octets().into()
    }
}

/// PAR: packets to the key (PCoA) go into a tunnel, by way of the buffer while there is one that is
/// open; packets from it are accepted from that tunnel.
pub const ACTION_TUNNEL: u16 = 1;
/// Packets to the key wait in the buffer while it is open, and go straight to the mobile node once it
/// is closed. NAR: the key is the NCoA; PAR: the PCoA of a node that left without a word.
pub const ACTION_BUFFER: u16 = 2;
/// Mobile node: packets from the key (PCoA) go into the reverse tunnel, or plain to the router where
/// there is none, by way of the buffer while that is open; packets to it are accepted from the tunnel.
pub const ACTION_MOBILE: u16 = 3;
/// PAR: packets to the key (PCoA) go on as if nothing were bound, and a copy of each waits in the
/// buffer (RFC 5568 section 4: buffer and forward).
pub const ACTION_COPY: u16 = 4;
/// NAR that answered HAck code 3: packets to the key (PCoA), in the tunnel from the PAR or not, as with
/// [`ACTION_BUFFER`]; packets from it, on its own link, go into the tunnel to the PAR.
pub const ACTION_HOST: u16 = 5;

/// `Binding::buffer` of a binding without a buffer.
pub const NO_BUFFER: u16 = u16::MAX;

/// Links that bindings can name.
pub const LINKS: u16 = 1 << LINK_BITS;
const LINK_BITS: u32 = 12;
const ACTION_BITS: u32 = 16 - LINK_BITS;

/// What happens to packets of one address. Written by the controller, read by the data path.
///
/// Whether a buffered packet is put or goes straight on is not said here but by the buffer's own
/// tail word, since the two must change in one atomic step.
///
/// In the table it is four words, so that it stands beside its key and its counters in one cache line; what
/// many bindings share stands once, in a [`Way`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// When it ends: a dead controller must not leave traffic redirected for ever.
    pub expiry: Expiry,
    /// The tunnel's far end, if there is a tunnel.
    pub remote: Address,
    /// Index of the handover buffer, or [`NO_BUFFER`].
    pub buffer: u16,
    /// One of the `ACTION_` constants.
    pub action: u16,
    /// How packets leave that go into the tunnel: index of a [`Way`].
    pub tunnel: u16,
    /// How packets leave that go to the mobile node on its link: index of a [`Way`] below [`LINKS`], of which
    /// everything counts but the link-layer destination.
    pub link: u16,
    /// The mobile node's link-layer address.
    pub node: [u8; 6],
}

/// Words of a binding in the table.
pub const BINDING_WORDS: usize = 4;

impl Binding {
    /// The binding as the table keeps it.
    #[inline(always)]
    pub const fn words(&self) -> [u64; BINDING_WORDS] {
        let [a, b, c, d, e, f] = self.node;
        let node = u64::from_ne_bytes(if cfg!(target_endian = "little") {
            [a, b, c, d, e, f, 0, 0]
        } else {
            [0, 0, a, b, c, d, e, f]
        });
        [
            self.remote.0[0],
            self.remote.0[1],
            (self.expiry.0 as u64) << 32 | (self.buffer as u64) << 16 | self.tunnel as u64,
            node << 16 | (self.link as u64) << ACTION_BITS | self.action as u64,
        ]
    }

    /// Undoes [`Binding::words`].
    #[inline(always)]
    pub const fn from_words([first, second, third, fourth]: [u64; BINDING_WORDS]) -> Self {
        let node = (fourth >> 16).to_ne_bytes();
        let node = if cfg!(target_endian = "little") {
            let [a, b, c, d, e, f, _, _] = node;
            [a, b, c, d, e, f]
        } else {
            let [_, _, a, b, c, d, e, f] = node;
            [a, b, c, d, e, f]
        };
        Self {
            expiry: Expiry((third >> 32) as u32),
            remote: Address([first, second]),
            buffer: (third >> 16) as u16,
            action: (fourth & ((1 << ACTION_BITS) - 1)) as u16,
            tunnel: third as u16,
            link: (fourth >> ACTION_BITS) as u16 & (LINKS - 1),
            node,
        }
    }
}

/// When a binding ends, in ticks of the kernel's clock (`bpf_jiffies64`), which comes round after some weeks:
/// it is never further away than half of that. 0: never.
///
/// Ticks, since they are read without a call: the time of day costs as much as the whole look-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry(pub u32);

impl Expiry {
    /// Never.
    pub const NEVER: Self = Self(0);

    /// Whether it is over at this tick.
    #[inline(always)]
    pub const fn is_over(self, tick: u32) -> bool {
        self.0 != 0 && self.0.wrapping_sub(tick) as i32 <= 0
    }
}

/// What the kernel's ticks are on its monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// A tick.
    pub tick: u32,
    /// When it was, in nanoseconds; or up to one tick before that.
    pub at_ns: u64,
    /// Nanoseconds from one tick to the next.
    pub each_ns: u64,
}

impl Ticks {
    /// The tick by which it is `ns`, late by one at most; `u64::MAX`: never.
    pub const fn expiry(&self, ns: u64) -> Expiry {
        if ns == u64::MAX {
            return Expiry::NEVER;
        }
        let from_here = ns as i64 - self.at_ns as i64;
        let ticks = from_here.div_euclid(self.each_ns as i64) + 1;
        match self.tick.wrapping_add(ticks as u32) {
            // The one tick that means something else.
            0 => Expiry(1),
            tick => Expiry(tick),
        }
    }

    /// A nanosecond before it is that tick, seen from `now_ns`, which [`Ticks::expiry`] makes the same tick of;
    /// `u64::MAX`: never.
    pub const fn ns(&self, expiry: Expiry, now_ns: u64) -> u64 {
        if expiry.0 == 0 {
            return u64::MAX;
        }
        let now = (now_ns as i64 - self.at_ns as i64).div_euclid(self.each_ns as i64);
        let left = expiry.0.wrapping_sub(self.tick.wrapping_add(now as u32)) as i32;
        let from_here = (now + left as i64) * self.each_ns as i64;
        self.at_ns.saturating_add_signed(from_here - 1)
    }
}

/// How packets leave this node; many bindings share one. What is written once is not changed while a
/// binding names it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Way {
    /// The tunnel's end at this node.
    pub outer_source: Address,
    /// The longest packet that may go into the tunnel with its outer header, in octets; besides
    /// what the route says. 0: there is no tunnel.
    pub mtu: u32,
    /// The router at the far end, if it has several addresses: what the map of peers gives for each
    /// of them (AMB-20). 0: the far end has this one address.
    pub group: u32,
    /// Where packets go; on the kernel's routes, if its interface is 0.
    pub next_hop: NextHop,
    /// Always 0; a way is one cache line.
    pub reserved: u64,
}
const _: () = assert!(size_of::<Way>() == 64);

/// How packets leave a buffer: in which tunnel, if any, and to whom.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// The tunnel's end at this node.
    pub outer_source: Address,
    /// The tunnel's far end.
    pub outer_destination: Address,
    /// As [`Way::mtu`].
    pub mtu: u32,
    /// As [`Way::group`].
    pub group: u32,
    /// Where packets go; on the kernel's routes, if its interface is 0.
    pub next_hop: NextHop,
}
const _: () = assert!(size_of::<Egress>() == 72);

impl Egress {
    /// Straight to a neighbor.
    pub const fn plain(next_hop: NextHop) -> Self {
        Self {
            outer_source: Address([0; 2]),
            outer_destination: Address([0; 2]),
            mtu: 0,
            group: 0,
            next_hop,
        }
    }

    /// Whether there is a tunnel.
    #[inline(always)]
    pub const fn is_tunnel(&self) -> bool {
        self.mtu != 0
    }

    /// What other bindings may share of it.
    #[inline(always)]
    pub const fn way(&self) -> Way {
        Way {
            outer_source: self.outer_source,
            mtu: self.mtu,
            group: self.group,
            next_hop: self.next_hop,
            reserved: 0,
        }
    }
}

impl Way {
    /// Whether there is a tunnel.
    #[inline(always)]
    pub const fn is_tunnel(&self) -> bool {
        self.mtu != 0
    }

    /// This way, to `remote` if there is a tunnel.
    #[inline(always)]
    pub const fn to(&self, remote: Address) -> Egress {
        Egress {
            outer_source: self.outer_source,
            outer_destination: remote,
            mtu: self.mtu,
            group: self.group,
            next_hop: self.next_hop,
        }
    }
}

/// Index of the loopback, in every network namespace.
pub const LOOPBACK: u32 = 1;

/// How what a mobile node has held leaves, if it is passed up on the loopback.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// What its frames have behind their destination; source and Ethernet type, as they stand there.
    pub mark: u64,
    /// The interface to leave by; 0: none.
    pub interface: u32,
    /// Always 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Exit>() == 16);

impl Exit {
    /// By an interface with this link-layer address. Nothing else on the loopback has such a source: what a
    /// node sends to itself has none at all there.
    pub const fn by(interface: u32, source: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = source;
        Self {
            // IPv6 over Ethernet.
            mark: u64::from_ne_bytes([a, b, c, d, e, f, 0x86, 0xdd]),
            interface,
            reserved: 0,
        }
    }
}

/// Where a packet leaves this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Index of the interface, in the network namespace of the programs.
    pub interface: u32,
    /// Index of the interface that XDP programs give frames to: of a VLAN its parent, else the same. 0: it
    /// takes none, and what leaves there goes by way of the kernel. [`LOOPBACK`], of a mobile node: what its
    /// drain takes out of a buffer is passed up there, from where it is sent on.
    pub port: u32,
    /// The VLAN tags that frames carry on that port, the outer one first.
    pub tags: [Tag; 2],
    /// Link-layer destination.
    pub destination: [u8; 6],
    /// Link-layer source: the interface's own address.
    pub source: [u8; 6],
    /// Always 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<NextHop>() == 32);

impl NextHop {
    /// By an interface that is no VLAN.
    pub const fn untagged(interface: u32, destination: [u8; 6], source: [u8; 6]) -> Self {
        Self {
            interface,
            port: interface,
            tags: [Tag::NONE; 2],
            destination,
            source,
            reserved: 0,
        }
    }
}

/// A VLAN tag (IEEE 802.1Q), as it stands in a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Its Ethernet type, 0x8100 or 0x88a8, in network order; 0: there is no tag.
    pub protocol: u16,
    /// Priority and VLAN number, in network order.
    pub control: u16,
}

impl Tag {
    /// No tag.
    pub const NONE: Self = Self {
        protocol: 0,
        control: 0,
    };

    /// The tag of a VLAN.
    pub const fn new(protocol: u16, vlan: u16) -> Self {
        Self {
            protocol: protocol.to_be(),
            control: vlan.to_be(),
        }
    }

    /// Whether there is a tag.
    #[inline(always)]
    pub const fn is_some(&self) -> bool {
        self.protocol != 0
    }

    /// The same without priority and drop eligibility: what names the VLAN.
    #[inline(always)]
    pub const fn vlan(&self) -> Self {
        Self {
            protocol: self.protocol,
            control: self.control & 0x0fff_u16.to_be(),
        }
    }
}

/// An interface of this node that its programs are attached to, by its index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// As [`NextHop::port`].
    pub port: u32,
    /// As [`NextHop::tags`].
    pub tags: [Tag; 2],
    /// Whose counters: 0 are those of all that has no number of its own.
    pub number: u16,
    /// 1 if the programs see what comes in there.
    pub ours: u16,
}
const _: () = assert!(size_of::<Interface>() == 16);

/// A VLAN on an interface of this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vlan {
    /// Index of the interface that its frames come in on.
    pub port: u32,
    /// Its tags, without priorities.
    pub tags: [Tag; 2],
}
const _: () = assert!(size_of::<Vlan>() == 12);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding (sizes asserted above), every bit pattern valid.
    unsafe impl aya::Pod for super::Address {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Way {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Interface {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Exit {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Vlan {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_octets_and_knows_its_scope() {
        for (text, multicast, link_local) in [
            ("2001:db8::1", false, false),
            ("fe80::1", false, true),
            ("febf::1", false, true),
            ("fec0::1", false, false),
            ("ff02::1", true, false),
        ] {
            let address: Ipv6Addr = text.parse().expect("a literal");
            let packed = Address::from(address);
            assert_eq!(Ipv6Addr::from(packed), address);
            assert_eq!(packed.is_multicast(), multicast, "{text}");
            assert_eq!(packed.is_link_local(), link_local, "{text}");
        }
    }

    #[test]
    fn a_binding_survives_its_way_into_words_and_back() {
        let binding = Binding {
            expiry: Expiry(0x8765_4321),
            remote: Address([2, u64::MAX]),
            buffer: NO_BUFFER,
            action: ACTION_HOST,
            tunnel: 0xfedc,
            link: LINKS - 1,
            node: [0xff, 2, 3, 4, 5, 0xfe],
        };
        assert_eq!(Binding::from_words(binding.words()), binding);
        assert_eq!(Binding::from_words([0; BINDING_WORDS]), Binding::default());
    }

    #[test]
    fn an_expiry_is_over_when_its_time_has_come_and_also_where_the_ticks_come_round() {
        const SECOND: u64 = 1_000_000_000;
        const EACH: u64 = 4_000_000;
        let at_ns = 1000 * SECOND;
        for first in [0, 5, u32::MAX - 15_000, u32::MAX] {
            let ticks = Ticks {
                tick: first,
                at_ns,
                each_ns: EACH,
            };
            let tick_at =
                |ns: u64| first.wrapping_add(((ns as i64 - at_ns as i64) / EACH as i64) as u32);
            for now in [at_ns, at_ns + SECOND, at_ns + 86_400 * SECOND] {
                let expiry = ticks.expiry(now + 60 * SECOND);
                assert!(!expiry.is_over(tick_at(now)));
                assert!(!expiry.is_over(tick_at(now + 60 * SECOND - EACH)));
                assert!(expiry.is_over(tick_at(now + 60 * SECOND + 2 * EACH)));
                assert!(expiry.is_over(tick_at(now + 65_535 * SECOND)));
                let ns = ticks.ns(expiry, now);
                assert!(ns.abs_diff(now + 60 * SECOND) <= 2 * EACH, "{ns}");
                // What is read and written again does not move.
                assert_eq!(ticks.ns(expiry, now + SECOND), ns);
                assert_eq!(ticks.expiry(ns), expiry);
            }
            assert!(ticks.expiry(at_ns - SECOND).is_over(tick_at(at_ns)));
            assert_eq!(ticks.expiry(u64::MAX), Expiry::NEVER);
            assert_eq!(ticks.ns(Expiry::NEVER, at_ns), u64::MAX);
        }
        assert!(!Expiry::NEVER.is_over(u32::MAX));
    }

    #[test]
    fn an_address_knows_whether_a_router_forwards_from_and_to_it() {
        for (text, from, to) in [
            ("2001:db8::1", true, true),
            ("fd00::1", true, true),
            ("::1:0:0:0:1", true, true),
            ("::2", true, true),
            ("::", false, true),
            ("::1", false, true),
            ("fe80::1", false, false),
            ("ff01::1", false, false),
            ("ff02::1", false, false),
            ("ff12::1", false, false),
            ("ff05::2", false, true),
            ("ff3e::1", false, true),
        ] {
            let address: Ipv6Addr = text.parse().expect("a literal");
            let packed = Address::from(address);
            assert_eq!(packed.is_forwarded_from(), from, "{text}");
            assert_eq!(packed.is_forwarded_to(), to, "{text}");
        }
    }
}
