//! Sizes that the data path is built with.

/// Octets of one packet in the handover buffer, from the IPv6 header on; with its own header a
/// slot is 2048 octets. Longer packets cannot be held.
pub const FRAME_BYTES: usize = 2032;

/// Handover buffers, one for each mobile node whose packets are held at the same time, unless the
/// configuration says otherwise.
pub const DEFAULT_NODES: u32 = 1024;

/// Jobs of one run of the drain program.
pub const DRAIN_JOBS: u32 = 64;

/// Bindings: mobile nodes whose packets are tunnelled, held or delivered at the same time, unless the
/// configuration says otherwise.
pub const DEFAULT_BINDINGS: u32 = 65536;

/// The same, at a mobile node.
pub const MOBILE_NODE_BINDINGS: u32 = 256;

/// Ways that packets leave by: pairs of a tunnel's end at this node and a next hop.
pub const WAYS: u32 = 1 << 16;

/// Pairs of addresses whose route each processor remembers for a moment, as a power of two.
pub const RECENT_ROUTES_BITS: u32 = 10;

/// VLANs of this node that its programs are attached to.
pub const VLANS: u32 = 256;

/// Counters of one interface: not fewer than there are reasons.
pub const REASONS_PER_INTERFACE: u32 = 64;
const _: () = assert!(crate::reason::REASONS <= REASONS_PER_INTERFACE);

/// Addresses of this node, at which signalling is taken.
pub const LOCAL_ADDRESSES: u32 = 256;

/// Addresses of the routers that this one hands over to and from.
pub const PEER_ADDRESSES: u32 = 16384;

/// Interfaces of this node that the programs are attached to.
pub const INTERFACES: u32 = 256;

/// Packets that all buffers together can hold, unless the configuration says otherwise.
pub const DEFAULT_POOL: u32 = 16384;

/// Octets of the ring that carries signalling to the controller: about 5 000 messages.
pub const SIGNAL_RING_BYTES: u32 = 1 << 20;

/// Sources of signalling whose rates are kept at the same time.
pub const SIGNAL_SOURCES: u32 = 16384;

/// Stations of access links that are known to be mobile nodes'.
pub const STATIONS: u32 = 65536;

/// Octets of the ring that carries events to the controller: about 700 of them.
pub const EVENT_RING_BYTES: u32 = 1 << 16;

/// Events of one kind in a second, and as many at once.
pub const EVENTS_PER_SECOND: u32 = 10;

/// Octets of one signalling frame, from the Ethernet header on. No message of RFC 5568 comes near
/// to it; a longer frame is cut, and then refused by the decoder.
pub const SIGNAL_BYTES: usize = 1536;

/// Hop limit of an outer header (RFC 2473 section 6.3: the default of the tunnel entry-point node).
pub const TUNNEL_HOP_LIMIT: u8 = 64;
