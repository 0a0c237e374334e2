//! The only pointer arithmetic: one view of a packet over the XDP and the TC context.
//!
//! SAFETY of this module: [`Packet::at`] gives a pointer only after it was compared with the end of
//! the packet, which is also what the kernel's verifier demands before it lets the program load.
//! A pointer is used before the next call that can move the packet (`&mut self`).

use core::{arch::asm, mem::offset_of};

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_INGRESS,
        bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, xdp_md,
    },
    helpers::{
        bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_redirect,
        bpf_set_hash_invalid, bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_load_bytes,
        bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
        bpf_xdp_store_bytes,
    },
    programs::{TcContext, XdpContext},
};
use fmip_common::binding::NextHop;
use network_types::eth::EtherType;

use crate::parse::{IPV6_HEADER, Ipv6, TCP};

/// A packet, wherever a program meets it.
pub(crate) trait Packet: EbpfContext {
    /// Whether VLAN tags stand in the frame. Where they do not, the interface is the VLAN's own.
    const SHOWS_TAGS: bool;

    /// Address of the first octet.
    fn start(&self) -> usize;
    /// Address behind the last octet that can be read directly.
    fn end(&self) -> usize;
    /// Octets in all.
    fn length(&self) -> u64;
    /// Octets as the packet came, or goes out of this node; known once its headers are read.
    fn arrived(&self) -> u64;
    /// Whether the packet has so many octets.
    fn has(&mut self, octets: u64) -> bool;
    /// The interface it came in on, or (TC, egress) goes out of: of a tagged packet the VLAN's.
    fn interface(&self) -> u32;
    /// Names the VLAN's interface, and where the IPv6 header starts.
    fn set_place(&mut self, interface: u32, network: usize);
    /// Where the IPv6 header starts: behind the Ethernet header and its tags.
    fn network(&self) -> usize;
    /// Whether it is for a group of hosts on the link, or (TC) for another one, and only came by here.
    fn is_for_others(&self) -> bool;
    /// Whether there is a VLAN tag beside the frame: it will be seen again without.
    fn has_tag_beside(&self) -> bool;
    /// Whether it is several packets, which the kernel will cut apart on their way out (GSO).
    fn is_merged(&self) -> bool;
    /// How long it is on the link from the IPv6 header on, or each of those that the kernel makes of it.
    fn wire_length(&self, header: &Ipv6) -> u32;
    /// Copies `length` octets from `offset` on; `false` if there are not so many.
    ///
    /// # Safety
    /// `to` is valid for `length` octets.
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool;
    /// Adds octets before the IPv6 header, or removes them, and keeps what is before. What stands in the
    /// new ones is undefined.
    fn resize(&mut self, change: Resize) -> bool;
    /// The same, and the packet gets the link header that leads it to `hop`.
    fn depart(&mut self, change: Resize, hop: &NextHop) -> bool;
    /// The interface that it is redirected to for `hop`; 0: it must go by way of the kernel.
    fn exit(hop: &NextHop) -> u32;
    /// Makes the packet `length` octets long.
    fn set_length(&mut self, length: u32) -> bool;
    /// Makes the first `octets` directly readable, as far as there are so many.
    fn pull(&mut self, octets: u32);

    /// A pointer to a `T` at `offset`, if the packet reaches so far.
    ///
    /// Addresses are read as two words at once. That is aligned by the verifier's own reckoning
    /// (Ethernet header of 14 octets, NET_IP_ALIGN of 2) and every machine that runs this program
    /// loads such words; reading them octet by octet costs sixteen loads.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let start = self.start();
        if start + offset + size_of::<T>() > self.end() {
            return None;
        }
        Some((start + offset) as *mut T)
    }

    /// The `T` at `offset`.
    #[inline(always)]
    fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        // SAFETY: bounds checked by `at`; only types of plain octets are read.
        self.at::<T>(offset).map(|pointer| unsafe { *pointer })
    }

    /// Writes a `T` at `offset`; `None` if the packet does not reach so far.
    #[inline(always)]
    fn write<T: Copy>(&mut self, offset: usize, value: T) -> Option<()> {
        // SAFETY: bounds checked by `at`.
        self.at::<T>(offset)
            .map(|pointer| unsafe { *pointer = value })
    }

    /// The `T` at `offset` behind the start of the IPv6 header.
    #[inline(always)]
    fn read_ip<T: Copy>(&self, offset: usize) -> Option<T> {
        self.read(self.network() + offset)
    }

    /// Writes a `T` at `offset` behind the start of the IPv6 header.
    #[inline(always)]
    fn write_ip<T: Copy>(&mut self, offset: usize, value: T) -> Option<()> {
        self.write(self.network() + offset, value)
    }

    /// Writes the link-layer addresses of the next hop.
    #[inline(always)]
    fn address_to(&mut self, hop: &NextHop) -> Option<()> {
        // Both addresses, destination first, in two words.
        // SAFETY: twelve octets from `destination` on, with its alignment, inside the structure.
        let (first, second) = unsafe {
            let from = (&raw const *hop)
                .cast::<u8>()
                .add(offset_of!(NextHop, destination));
            (*from.cast::<u64>(), *from.add(8).cast::<u32>())
        };
        self.write(0, first)?;
        self.write(8, second)
    }

    /// One octet, at an offset that only the packet knows.
    #[inline(always)]
    fn octet(&self, offset: u32) -> Option<u8> {
        let mut octet = 0_u8;
        // SAFETY: one octet on this stack.
        unsafe { self.copy(offset, &raw mut octet, 1) }.then_some(octet)
    }
}

/// Octets of the outer header.
pub(crate) const TUNNEL_HEADER: usize = 40;
/// Octets of an Ethernet header without and with one and two VLAN tags.
const LINK: [usize; 3] = [14, 18, 22];

/// How a packet changes before its IPv6 header.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Resize {
    /// Not at all.
    Keep,
    /// Into a tunnel: by `TUNNEL_HEADER` octets more.
    Push,
    /// Out of a tunnel: by `TUNNEL_HEADER` octets less.
    Pop,
    /// By so many octets more, for what is no tunnel.
    Insert(usize),
}

impl Resize {
    /// Octets more.
    #[inline(always)]
    const fn octets(self) -> i32 {
        match self {
            Self::Keep => 0,
            Self::Push => TUNNEL_HEADER as i32,
            Self::Pop => -(TUNNEL_HEADER as i32),
            Self::Insert(octets) => octets as i32,
        }
    }
}

/// The segments of a merged packet keep their size: the route to the tunnel's end has room for the
/// outer header. Without it the kernel refuses merged packets that are not TCP.
const GSO_KEPT: u64 = BPF_F_ADJ_ROOM_FIXED_GSO as u64;

/// A packet in an XDP program.
pub(crate) struct XdpPacket {
    ctx: *mut xdp_md,
    interface: u32,
    network: usize,
    arrived: u64,
    /// What is known of its length as it is now: octets that it has at least.
    octets: u64,
}

impl XdpPacket {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        let mut packet = Self {
            ctx: ctx.ctx,
            // SAFETY: the context is the kernel's.
            interface: unsafe { (*ctx.ctx).ingress_ifindex },
            network: LINK[0],
            arrived: 0,
            octets: 0,
        };
        packet.octets = packet.linear();
        packet.arrived = packet.octets;
        packet
    }

    /// Octets that can be read directly: all, unless the packet takes more than one buffer.
    ///
    /// In a register as wide as a pointer, which the compiler would make narrower, and the verifier refuses
    /// that. (The helper that gives all octets costs a call.)
    #[inline(always)]
    fn linear(&self) -> u64 {
        let mut octets = self.end();
        // SAFETY: arithmetic of registers.
        unsafe {
            asm!(
                "{0} -= {1}",
                inout(reg) octets,
                in(reg) self.start(),
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        octets as u64
    }

    /// Adds `octets` (or removes, if negative) before the first one.
    #[inline(always)]
    fn move_start(&mut self, octets: i32) -> bool {
        self.octets = self.octets.wrapping_sub(i64::from(octets) as u64);
        // SAFETY: the context is the kernel's.
        unsafe { bpf_xdp_adjust_head(self.ctx, octets) == 0 }
    }

    /// As [`Packet::resize`], of a packet whose link header is so many 16-bit words long.
    #[inline(always)]
    fn resize_behind<const WORDS: usize>(&mut self, change: Resize) -> bool {
        let Some(link) = self.read::<[u16; WORDS]>(0) else {
            return false;
        };
        self.move_start(-change.octets()) && self.write(0, link).is_some()
    }

    /// Makes the link header that leads to `hop`; the addresses behind it are the caller's.
    #[inline(always)]
    pub(crate) fn write_link(&mut self, hop: &NextHop) -> Option<()> {
        self.address_to(hop)?;
        self.network = link_octets(hop);
        let [outer, inner] = hop.tags;
        if outer.is_some() {
            self.write(LINK[0] - 2, outer)?;
        }
        if inner.is_some() {
            self.write(LINK[1] - 2, inner)?;
        }
        self.write(self.network - 2, EtherType::Ipv6 as u16)
    }

    /// Writes `length` octets from `from` at `offset`.
    ///
    /// # Safety
    /// `from` is valid for `length` octets.
    #[inline(always)]
    pub(crate) unsafe fn fill(&mut self, offset: u32, from: *mut u8, length: u32) -> bool {
        // SAFETY: as the caller says.
        unsafe { bpf_xdp_store_bytes(self.ctx, offset, from.cast(), length) == 0 }
    }
}

/// Octets of the link header that leads to `hop`.
#[inline(always)]
pub(crate) fn link_octets(hop: &NextHop) -> usize {
    let [outer, inner] = hop.tags;
    match (outer.is_some(), inner.is_some()) {
        (false, _) => LINK[0],
        (true, false) => LINK[1],
        (true, true) => LINK[2],
    }
}

impl EbpfContext for XdpPacket {
    #[inline(always)]
    fn as_ptr(&self) -> *mut core::ffi::c_void {
        self.ctx.cast()
    }
}

impl Packet for XdpPacket {
    const SHOWS_TAGS: bool = true;

    #[inline(always)]
    fn start(&self) -> usize {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx).data as usize }
    }
    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx).data_end as usize }
    }
    #[inline(always)]
    fn length(&self) -> u64 {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_xdp_get_buff_len(self.ctx) }
    }
    #[inline(always)]
    fn arrived(&self) -> u64 {
        self.arrived
    }
    #[inline(always)]
    fn has(&mut self, octets: u64) -> bool {
        if octets > self.octets {
            // In more than one buffer.
            let all = self.length();
            self.arrived += all - self.octets;
            self.octets = all;
        }
        octets <= self.octets
    }
    #[inline(always)]
    fn interface(&self) -> u32 {
        self.interface
    }
    #[inline(always)]
    fn set_place(&mut self, interface: u32, network: usize) {
        (self.interface, self.network) = (interface, network);
    }
    #[inline(always)]
    fn network(&self) -> usize {
        self.network
    }
    #[inline(always)]
    fn is_for_others(&self) -> bool {
        const GROUP: u8 = 1;
        // More than the one octet: of so narrow a look the compiler makes one that the verifier refuses.
        self.read::<u64>(0)
            .is_none_or(|octets| octets.to_ne_bytes()[0] & GROUP != 0)
    }
    #[inline(always)]
    fn has_tag_beside(&self) -> bool {
        false
    }
    #[inline(always)]
    fn is_merged(&self) -> bool {
        false
    }
    #[inline(always)]
    fn wire_length(&self, header: &Ipv6) -> u32 {
        header.total_length()
    }
    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: as the caller says.
        unsafe { bpf_xdp_load_bytes(self.ctx, offset, to.cast(), length) == 0 }
    }
    #[inline(always)]
    fn resize(&mut self, change: Resize) -> bool {
        if let Resize::Keep = change {
            return true;
        }
        if self.network == LINK[0] {
            self.resize_behind::<7>(change)
        } else if self.network == LINK[1] {
            self.resize_behind::<9>(change)
        } else {
            self.resize_behind::<11>(change)
        }
    }
    #[inline(always)]
    fn depart(&mut self, change: Resize, hop: &NextHop) -> bool {
        // In one move: the tags that it came with, those that it leaves with, and the tunnel's header.
        let start = self.network as i32 - change.octets() - link_octets(hop) as i32;
        (start == 0 || self.move_start(start)) && self.write_link(hop).is_some()
    }
    #[inline(always)]
    fn exit(hop: &NextHop) -> u32 {
        hop.port
    }
    #[inline(always)]
    fn set_length(&mut self, length: u32) -> bool {
        // From the helper, not from the pointers: the verifier refuses 32-bit arithmetic on those.
        let change = i64::from(length) - self.length() as i64;
        self.octets = u64::from(length);
        // SAFETY: the context is the kernel's.
        unsafe { bpf_xdp_adjust_tail(self.ctx, change as i32) == 0 }
    }
    #[inline(always)]
    fn pull(&mut self, _: u32) {
        // What is not directly readable in an XDP program never is.
    }
}

/// A packet in a TC program.
pub(crate) struct TcPacket<'a> {
    ctx: &'a TcContext,
    arrived: u64,
    octets: u64,
}

impl<'a> TcPacket<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a TcContext) -> Self {
        let octets = u64::from(ctx.len());
        Self {
            ctx,
            arrived: octets,
            octets,
        }
    }

    /// Octets of each packet that the kernel makes of this one, without its headers; 0 if it is one.
    #[inline(always)]
    fn segment(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx.skb.skb).gso_size }
    }

    /// The interface that it came in on, if it goes out; 0 if this node made it.
    #[inline(always)]
    pub(crate) fn came_in_on(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx.skb.skb).ingress_ifindex }
    }

    /// Has the kernel tell its flow by its headers alone, and not by the socket that it is from.
    #[inline(always)]
    pub(crate) fn forget_flow(&mut self) {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_set_hash_invalid(self.ctx.skb.skb) };
    }

    #[inline(always)]
    fn adjust(&mut self, octets: i32, flags: u64) -> i64 {
        // SAFETY: the context is the kernel's.
        let result =
            unsafe { bpf_skb_adjust_room(self.ctx.skb.skb, octets, BPF_ADJ_ROOM_MAC, flags) };
        if result == 0 {
            self.octets = self.octets.wrapping_add(i64::from(octets) as u64);
        }
        result
    }
}

impl EbpfContext for TcPacket<'_> {
    #[inline(always)]
    fn as_ptr(&self) -> *mut core::ffi::c_void {
        self.ctx.as_ptr()
    }
}

impl Packet for TcPacket<'_> {
    const SHOWS_TAGS: bool = false;

    #[inline(always)]
    fn start(&self) -> usize {
        self.ctx.data()
    }
    #[inline(always)]
    fn end(&self) -> usize {
        self.ctx.data_end()
    }
    #[inline(always)]
    fn length(&self) -> u64 {
        u64::from(self.ctx.len())
    }
    #[inline(always)]
    fn arrived(&self) -> u64 {
        self.arrived
    }
    #[inline(always)]
    fn has(&mut self, octets: u64) -> bool {
        octets <= self.octets
    }
    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx.skb.skb).ifindex }
    }
    #[inline(always)]
    fn set_place(&mut self, _: u32, _: usize) {
        // Always where it is.
    }
    #[inline(always)]
    fn network(&self) -> usize {
        LINK[0]
    }
    #[inline(always)]
    fn is_for_others(&self) -> bool {
        // PACKET_HOST of the kernel's uapi/linux/if_packet.h, or PACKET_OUTGOING.
        const HOST: u32 = 0;
        const OUTGOING: u32 = 4;
        // SAFETY: the context is the kernel's.
        !matches!(unsafe { (*self.ctx.skb.skb).pkt_type }, HOST | OUTGOING)
    }
    #[inline(always)]
    fn has_tag_beside(&self) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx.skb.skb).vlan_present != 0 }
    }
    #[inline(always)]
    fn is_merged(&self) -> bool {
        self.segment() > 0
    }
    #[inline(always)]
    fn wire_length(&self, header: &Ipv6) -> u32 {
        const TCP_DATA_OFFSET: u32 = (LINK[0] + IPV6_HEADER + 12) as u32;
        const UDP_HEADER: u32 = 8;
        match self.segment() {
            0 => header.total_length(),
            segment if header.next_header == TCP => {
                // RFC 9293 section 3.1: in units of four octets, in the upper half of the octet.
                let offset = self.octet(TCP_DATA_OFFSET).unwrap_or(0) >> 4;
                IPV6_HEADER as u32 + u32::from(offset) * 4 + segment
            }
            segment => IPV6_HEADER as u32 + UDP_HEADER + segment,
        }
    }
    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: as the caller says.
        unsafe { bpf_skb_load_bytes(self.ctx.as_ptr(), offset, to.cast(), length) == 0 }
    }
    #[inline(always)]
    fn resize(&mut self, change: Resize) -> bool {
        // The kernel notes the inner header's offsets once: for a packet that is in a tunnel already, whoever
        // put it there, they are the innermost ones, as merged packets need them.
        const NOTED_ALREADY: i64 = -114; // EALREADY
        const NOTE: u64 = BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 as u64;
        let octets = change.octets();
        match change {
            Resize::Keep => true,
            Resize::Push => match self.adjust(octets, GSO_KEPT | NOTE) {
                NOTED_ALREADY => self.adjust(octets, GSO_KEPT) == 0,
                result => result == 0,
            },
            Resize::Pop => self.adjust(octets, GSO_KEPT) == 0,
            Resize::Insert(_) => self.adjust(octets, 0) == 0,
        }
    }
    #[inline(always)]
    fn depart(&mut self, change: Resize, hop: &NextHop) -> bool {
        self.resize(change) && self.address_to(hop).is_some()
    }
    #[inline(always)]
    fn exit(hop: &NextHop) -> u32 {
        // The kernel writes a VLAN's tags.
        hop.interface
    }
    #[inline(always)]
    fn set_length(&mut self, length: u32) -> bool {
        self.octets = u64::from(length);
        // SAFETY: the context is the kernel's.
        unsafe { bpf_skb_change_tail(self.ctx.skb.skb, length, 0) == 0 }
    }
    #[inline(always)]
    fn pull(&mut self, octets: u32) {
        if self.start() + octets as usize > self.end() {
            // A failure leaves the packet as it was, and the reads that follow say so.
            let _ = self.ctx.pull_data(octets.min(self.ctx.len()));
        }
    }
}

/// `value`, if it is from `least` to `most`: for a length that is given to a helper.
///
/// The verifier wants to see both bounds on the very register that the helper gets; left to itself, the compiler
/// leaves out a check as needless, makes one of two, or makes it of one copy of the value and gives the
/// helper another (which newer verifiers understand, that of 6.1 does not). Nor does that of 6.1 learn
/// anything from a comparison with 0, so `least` is more than 1, or 0.
#[inline(always)]
pub(crate) fn bounded(value: u64, least: u64, most: u64) -> Option<u64> {
    // Through memory, so that the compiler knows nothing of it.
    // SAFETY: a reference.
    let opaque = |value: u64| unsafe { (&raw const value).read_volatile() };
    let value = opaque(value);
    if value < least {
        return None;
    }
    let value = opaque(value);
    if value > most {
        return None;
    }
    Some(value)
}

/// Sends the packet out of an interface.
#[inline(always)]
pub(crate) fn redirect(interface: u32) -> i64 {
    // SAFETY: a helper without pointers.
    unsafe { bpf_redirect(interface, 0) }
}

/// Lets the packet come in by an interface, as if it had been received there.
#[inline(always)]
pub(crate) fn turn_in(interface: u32) -> i64 {
    // SAFETY: a helper without pointers.
    unsafe { bpf_redirect(interface, BPF_F_INGRESS.into()) }
}

/// Nanoseconds of the kernel's monotonic clock.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: a helper without pointers.
    unsafe { bpf_ktime_get_ns() }
}

/// The same clock, as it was at the kernel's last tick: late by some milliseconds, and read in a tenth of the
/// time.
#[inline(always)]
pub(crate) fn coarse_now() -> u64 {
    // SAFETY: a helper without pointers.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// The kernel's ticks, the lower half: read as a variable is.
#[inline(always)]
pub(crate) fn tick() -> u32 {
    // SAFETY: a helper without pointers.
    unsafe { bpf_jiffies64() as u32 }
}
