//! The checksum that the interface was to compute, and that nobody computes for a held packet.
//!
//! What a node sends leaves its TCP and UDP with the sum of the pseudo-header alone in the checksum field,
//! if the interface can do the rest (CHECKSUM_PARTIAL). That this is so stands beside the packet, not in it, and
//! programs cannot see it; but the field tells: it is the pseudo-header's sum. A complete checksum that
//! happens to be the same number comes out as it was.

use aya_ebpf::helpers::bpf_csum_diff;
use fmip_common::limits::FRAME_BYTES;

use crate::{
    packet::bounded,
    parse::{IPV6_HEADER, Ipv6, TCP, UDP},
};

/// Where the upper layer of a packet starts, and that of a tunnelled one. What has extension headers in
/// front is left alone: the kernel computes those checksums itself.
const SEGMENT: u64 = IPV6_HEADER as u64;
const TUNNELLED_SEGMENT: u64 = 2 * IPV6_HEADER as u64;
const LONGEST: u64 = FRAME_BYTES as u64 - TUNNELLED_SEGMENT;

/// Most octets that `bpf_csum_diff` takes at once.
const PART: u64 = 512;
const PARTS: u64 = LONGEST.div_ceil(PART);

/// Finishes the checksum of the packet in `frame`, whose header `inner` comes, from its first octet on, behind `outer` octets of
/// outer headers: none, or one.
///
/// # Safety
/// `frame` is valid for `FRAME_BYTES` octets, and nobody else's.
#[inline(always)]
pub(crate) unsafe fn finish(frame: *mut u8, inner: &Ipv6, outer: u64) {
    let at = match inner.next_header {
        TCP => 16,
        UDP => 6,
        _ => return,
    };
    let length = u64::from(u16::from_be(inner.payload_length));
    if length < at as u64 + 2 || length > LONGEST {
        return;
    }
    let Some(start) = bounded(SEGMENT + outer, SEGMENT, TUNNELLED_SEGMENT) else {
        return;
    };
    // SAFETY: as the caller says; `start` and `length` are bounded above.
    unsafe {
        let segment = frame.add(start as usize);
        let field = segment.add(at).cast::<u16>();
        if field.read_unaligned() != fold(pseudo_header(inner)) {
            return;
        }
        if let Some(sum) = sum(segment, length) {
            let checksum = !fold(sum);
            // RFC 8200 section 8.1: 0 would mean that there is none.
            field.write_unaligned(if checksum == 0 { 0xffff } else { checksum });
        }
    }
}

/// RFC 8200 section 8.1. All sums here are of the words as they stand in memory, in this machine's order:
/// one's complement sums come out in that order, too (RFC 1071 section 1.2).
#[inline(always)]
fn pseudo_header(inner: &Ipv6) -> u64 {
    let halves = |word: u64| (word >> 32) + (word & 0xffff_ffff);
    let [a, b] = inner.source.0;
    let [c, d] = inner.destination.0;
    halves(a)
        + halves(b)
        + halves(c)
        + halves(d)
        + u64::from(inner.payload_length)
        + u64::from(u16::from(inner.next_header).to_be())
}

/// # Safety
/// `segment` is valid for [`LONGEST`] octets, and `length` is not more.
#[inline(always)]
unsafe fn sum(segment: *mut u8, length: u64) -> Option<u64> {
    let mut sum = 0;
    for part in 0..PARTS {
        let start = part * PART;
        if length < start + 4 {
            break;
        }
        let octets = (length - start).min(PART) & !3;
        let octets = bounded(octets, 4, (LONGEST - start).min(PART))?;
        // SAFETY: up to `length`, at most.
        let result = unsafe {
            bpf_csum_diff(
                core::ptr::null_mut(),
                0,
                segment.add(start as usize).cast(),
                octets as u32,
                sum,
            )
        };
        sum = u32::try_from(result).ok()?;
    }
    let whole = length & !3;
    let mut rest = [0; 4];
    for (place, octet) in rest.iter_mut().enumerate() {
        if whole + place as u64 >= length {
            break;
        }
        let offset = bounded(whole + place as u64, 0, LONGEST - 1)?;
        // SAFETY: bounded right above.
        *octet = unsafe { *segment.add(offset as usize) };
    }
    Some(u64::from(sum) + u64::from(u32::from_ne_bytes(rest)))
}

#[inline(always)]
fn fold(mut sum: u64) -> u16 {
    // 64 bits to 33, to 17, to 16 and the last carry.
    sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}
