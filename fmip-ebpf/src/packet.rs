//! The only pointer arithmetic: one view of a packet over the XDP and the TC context.
//!
//! SAFETY of this module: [`Packet::at`] gives a pointer only after it was compared with the end of
//! the packet, which is also what the kernel's verifier demands before it lets the program load.
//! A pointer is used before the next call that can move the packet (`&mut self`).

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_INGRESS,
        bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, xdp_md,
    },
    helpers::{
        bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_redirect, bpf_skb_adjust_room,
        bpf_skb_change_tail, bpf_skb_load_bytes, bpf_xdp_adjust_head, bpf_xdp_adjust_tail,
        bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes,
    },
    programs::{TcContext, XdpContext},
};

/// A packet, wherever a program meets it.
pub(crate) trait Packet {
    /// Address of the first octet.
    fn start(&self) -> usize;
    /// Address behind the last octet that can be read directly.
    fn end(&self) -> usize;
    /// Octets in all.
    fn length(&self) -> u64;
    /// Where its IPv6 header starts.
    #[inline(always)]
    fn network(&self) -> u32 {
        14
    }
    /// The interface it came in on, or (TC, egress) goes out of.
    fn interface(&self) -> u32;
    /// Whether it is several packets, which the kernel will cut apart on their way out (GSO).
    fn is_merged(&self) -> bool;
    /// Copies `length` octets from `offset` on; `false` if there are not so many.
    ///
    /// # Safety
    /// `to` is valid for `length` octets.
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool;
    /// Adds `TUNNEL_HEADER` octets before the IPv6 header; what stands there is undefined.
    fn grow(&mut self) -> bool;
    /// Removes `TUNNEL_HEADER` octets before the (inner) IPv6 header.
    fn shrink(&mut self) -> bool;
    /// Adds `octets` before the IPv6 header, for what is no tunnel; what stands before and in them is
    /// undefined.
    fn insert(&mut self, octets: usize) -> bool;
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

/// The segments of a merged packet keep their size: the route to the tunnel's end has room for the
/// outer header. Without it the kernel refuses merged packets that are not TCP.
const GSO_KEPT: u64 = BPF_F_ADJ_ROOM_FIXED_GSO as u64;

/// A packet in an XDP program.
pub(crate) struct XdpPacket {
    ctx: *mut xdp_md,
}

impl XdpPacket {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.ctx }
    }

    /// Adds `octets` (or removes, if negative) before the first one.
    #[inline(always)]
    fn move_start(&mut self, octets: i32) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_xdp_adjust_head(self.ctx, octets) == 0 }
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

impl EbpfContext for XdpPacket {
    #[inline(always)]
    fn as_ptr(&self) -> *mut core::ffi::c_void {
        self.ctx.cast()
    }
}

impl Packet for XdpPacket {
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
    fn interface(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx).ingress_ifindex }
    }
    #[inline(always)]
    fn is_merged(&self) -> bool {
        false
    }
    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: as the caller says.
        unsafe { bpf_xdp_load_bytes(self.ctx, offset, to.cast(), length) == 0 }
    }
    #[inline(always)]
    fn grow(&mut self) -> bool {
        let Some(ethernet) = self.read::<[u16; 7]>(0) else {
            return false;
        };
        self.move_start(-(TUNNEL_HEADER as i32)) && self.write(0, ethernet).is_some()
    }
    #[inline(always)]
    fn shrink(&mut self) -> bool {
        let Some(ethernet) = self.read::<[u16; 7]>(0) else {
            return false;
        };
        self.move_start(TUNNEL_HEADER as i32) && self.write(0, ethernet).is_some()
    }
    #[inline(always)]
    fn insert(&mut self, octets: usize) -> bool {
        self.move_start(-(octets as i32))
    }
    #[inline(always)]
    fn set_length(&mut self, length: u32) -> bool {
        // From the helper, not from the pointers: the verifier refuses 32-bit arithmetic on those.
        let change = i64::from(length) - self.length() as i64;
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
}

impl<'a> TcPacket<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a TcContext) -> Self {
        Self { ctx }
    }

    /// Octets of each packet that the kernel makes of this one, without its headers; 0 if it is one.
    #[inline(always)]
    pub(crate) fn segment(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx.skb.skb).gso_size }
    }
}

impl Packet for TcPacket<'_> {
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
    fn interface(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.ctx.skb.skb).ifindex }
    }
    #[inline(always)]
    fn is_merged(&self) -> bool {
        self.segment() > 0
    }
    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: as the caller says.
        unsafe { bpf_skb_load_bytes(self.ctx.as_ptr(), offset, to.cast(), length) == 0 }
    }
    #[inline(always)]
    fn grow(&mut self) -> bool {
        // The kernel notes the inner header's offsets once: for a packet that is in a tunnel already, whoever
        // put it there, they are the innermost ones, as merged packets need them.
        const NOTED_ALREADY: i64 = -114; // EALREADY
        const NOTE: u64 = BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 as u64;
        let add = |flags| {
            // SAFETY: the context is the kernel's.
            unsafe {
                bpf_skb_adjust_room(
                    self.ctx.skb.skb,
                    TUNNEL_HEADER as i32,
                    BPF_ADJ_ROOM_MAC,
                    flags,
                )
            }
        };
        match add(GSO_KEPT | NOTE) {
            NOTED_ALREADY => add(GSO_KEPT) == 0,
            result => result == 0,
        }
    }
    #[inline(always)]
    fn shrink(&mut self) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe {
            bpf_skb_adjust_room(
                self.ctx.skb.skb,
                -(TUNNEL_HEADER as i32),
                BPF_ADJ_ROOM_MAC,
                GSO_KEPT,
            ) == 0
        }
    }
    #[inline(always)]
    fn insert(&mut self, octets: usize) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_skb_adjust_room(self.ctx.skb.skb, octets as i32, BPF_ADJ_ROOM_MAC, 0) == 0 }
    }
    #[inline(always)]
    fn set_length(&mut self, length: u32) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_skb_change_tail(self.ctx.skb.skb, length, 0) == 0 }
    }
    #[inline(always)]
    fn pull(&mut self, octets: u32) {
        if self.start() + octets as usize > self.end() {
            // A failure leaves the packet as it was, and the reads that follow say so.
            let _ = self.ctx.pull_data(octets);
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

/// The same clock as it was at the kernel's last tick: some milliseconds late, and far cheaper.
#[inline(always)]
pub(crate) fn now_coarse() -> u64 {
    // SAFETY: a helper without pointers.
    unsafe { bpf_ktime_get_coarse_ns() }
}
