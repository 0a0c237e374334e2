//! ICMPv6 Packet Too Big, for packets that the tunnel's header makes too long (RFC 2473 section 7.1,
//! RFC 4443 section 3.2).

use aya_ebpf::helpers::bpf_csum_diff;
use fmip_common::{binding::Address, limits::TUNNEL_HOP_LIMIT, reason::Reason};

use crate::{
    Outcome, count,
    maps::ERROR_RATE,
    packet::{Packet, Resize, TUNNEL_HEADER, now},
    parse::{self, ICMPV6, IPV6_HEADER, Icmpv6, Ipv6, REDIRECT},
};

/// RFC 8200 section 5: no link of IPv6 is narrower.
const MINIMUM_MTU: u32 = 1280;
const ICMPV6_HEADER: usize = 8;
/// What the error quotes: as much as makes it as long as the minimum MTU. A packet that is too big
/// always has that much.
const QUOTED: usize = MINIMUM_MTU as usize - IPV6_HEADER - ICMPV6_HEADER;
const PACKET_TOO_BIG: u8 = 2;

/// RFC 4443 section 2.4 (f): errors are rate-limited, by a token bucket on each processor.
const BURST: u64 = 10;
const INTERVAL_NS: u64 = 10_000_000;

/// The token bucket: when the next token is due that is not there yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Bucket {
    full_at_ns: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct TooBig {
    kind: u8,
    code: u8,
    checksum: u16,
    mtu: u32,
}

/// Sends an error to the source of a packet that just came.
#[inline(always)]
pub(crate) fn answer(
    packet: &mut impl Packet,
    original: &Ipv6,
    router: &Address,
    mtu: u32,
) -> Outcome {
    let (interface, length) = (packet.interface(), packet.length());
    if !becomes_error(packet, original, router, mtu) {
        return Outcome::Drop(Reason::TooBig);
    }
    count::count(interface, Reason::TooBig, length);
    Outcome::Reply(Reason::TooBigSent)
}

/// Turns the packet around into an error to its source; `false` if there must be none, or cannot be.
#[inline(always)]
pub(crate) fn becomes_error(
    packet: &mut impl Packet,
    original: &Ipv6,
    router: &Address,
    mtu: u32,
) -> bool {
    original.total_length() >= QUOTED as u32
        && !is_error(packet, original)
        && permitted()
        && turn_around(packet, original, router, mtu).is_some()
}

/// RFC 4443 section 2.4 (e): what must not be answered by an error. (That packets from an address which
/// is no single node's are not, the router sees to.)
#[inline(always)]
fn is_error(packet: &impl Packet, original: &Ipv6) -> bool {
    const FIRST_INFORMATIONAL: u8 = 128;
    matches!(
        parse::icmpv6_type(packet, original, 0),
        Icmpv6::Type(..FIRST_INFORMATIONAL | REDIRECT) | Icmpv6::Unknown
    )
}

#[inline(always)]
fn turn_around(
    packet: &mut impl Packet,
    original: &Ipv6,
    router: &Address,
    mtu: u32,
) -> Option<()> {
    const ADDED: usize = IPV6_HEADER + ICMPV6_HEADER;
    let destination = packet.read::<[u8; 6]>(0)?;
    let source = packet.read::<[u8; 6]>(6)?;
    let link = packet.network();
    if !packet.set_length((link + QUOTED) as u32) || !packet.resize(Resize::Insert(ADDED)) {
        return None;
    }
    packet.pull((link + ADDED + QUOTED) as u32);
    packet.write(0, source)?;
    packet.write(6, destination)?;
    let payload = (ICMPV6_HEADER + QUOTED) as u16;
    packet.write_ip(
        0,
        Ipv6 {
            version_class_flow: (6_u32 << 28).to_be(),
            payload_length: payload.to_be(),
            next_header: ICMPV6,
            hop_limit: TUNNEL_HOP_LIMIT,
            source: *router,
            destination: original.source,
        },
    )?;
    let mtu = if mtu < MINIMUM_MTU + TUNNEL_HEADER as u32 {
        MINIMUM_MTU
    } else {
        mtu - TUNNEL_HEADER as u32
    };
    let mut error = TooBig {
        kind: PACKET_TOO_BIG,
        code: 0,
        checksum: 0,
        mtu: mtu.to_be(),
    };
    packet.write_ip(IPV6_HEADER, error)?;
    error.checksum = checksum(packet, payload)?;
    packet.write_ip(IPV6_HEADER, error)
}

/// RFC 4443 section 2.3, over the packet as it stands: addresses, length and next header, then the
/// ICMPv6 message.
#[inline(always)]
fn checksum(packet: &impl Packet, payload: u16) -> Option<u16> {
    // The addresses are the last 32 octets of the IPv6 header, so that the sum runs on from them
    // over the message. In parts: the helper takes at most 512 octets.
    let mut sum = u32::from(payload.to_be()) + u32::from(u16::from(ICMPV6).to_be());
    sum = add::<512>(packet, 8, sum)?;
    sum = add::<512>(packet, 8 + 512, sum)?;
    sum = add::<REST>(packet, 8 + 1024, sum)?;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    Some(!(sum as u16))
}

const REST: usize = 32 + ICMPV6_HEADER + QUOTED - 1024;
const _: () = assert!(REST <= 512 && REST % 4 == 0);

#[inline(always)]
fn add<const OCTETS: usize>(packet: &impl Packet, offset: usize, sum: u32) -> Option<u32> {
    let part = packet.at::<[u8; OCTETS]>(packet.network() + offset)?;
    // SAFETY: bounds checked by `at`.
    let result =
        unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, part.cast(), OCTETS as u32, sum) };
    (result >= 0).then_some(result as u32)
}

#[inline(always)]
fn permitted() -> bool {
    let Some(bucket) = ERROR_RATE.get_ptr_mut(0) else {
        return false;
    };
    let now = now();
    // SAFETY: an element of a per-CPU map.
    unsafe {
        let full_at = (*bucket).full_at_ns;
        let full_at = if full_at < now { now } else { full_at };
        if full_at - now > (BURST - 1) * INTERVAL_NS {
            return false;
        }
        (*bucket).full_at_ns = full_at + INTERVAL_NS;
    }
    true
}
