//! What the helper programs of the bench and their driver must agree on; no part of the data path.

/// The most destinations that one measurement walks over.
pub const DESTINATIONS: usize = 1 << 20;

/// Octets that are written before every packet: Ethernet, and one IPv6 header.
pub const PLAIN_HEAD: usize = 14 + 40;
/// The same with two IPv6 headers.
pub const TUNNEL_HEAD: usize = PLAIN_HEAD + 40;

/// Where the interface identifier of the destination stands in a plain packet.
pub const DESTINATION_ID: usize = 14 + 32;
/// Where that of the inner source stands in a tunnelled packet.
pub const INNER_SOURCE_ID: usize = 14 + 40 + 16;

/// `Plan::shape`: a plain packet, whose destination walks.
pub const PLAIN: u32 = 0;
/// `Plan::shape`: a packet in a tunnel, whose inner source walks.
pub const TUNNELLED: u32 = 1;

/// What the walking program makes of every frame, and who gets it.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Puts the head where a packet lies in memory: the IPv6 header at a multiple of 8.
    pub reserved: [u8; 2],
    /// The beginning of every packet: as many octets of it as the shape has.
    pub head: [u8; TUNNEL_HEAD],
    /// One of the shapes.
    pub shape: u32,
    /// Octets of a frame.
    pub length: u32,
    /// Index of the program that it is given to.
    pub program: u32,
    /// How many of the destinations are walked over, from the first on.
    pub destinations: u32,
    /// The next of them.
    pub next: u32,
    /// Index of the interface that the redirecting helpers send to.
    pub interface: u32,
}
const _: () = assert!(size_of::<Plan>() == 120);

/// The lower half of the address of node `index`: as scattered as those that hosts choose at random, and
/// different for each.
#[inline(always)]
pub const fn interface_id(index: u32) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), without padding (size asserted above), every bit pattern valid.
    unsafe impl aya::Pod for super::Plan {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_an_address_of_its_own() {
        let mut seen: Vec<u64> = (0..10_000).map(interface_id).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 10_000);
    }
}
