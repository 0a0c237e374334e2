//! Sizes that the data path is built with.

/// Octets of one packet in the handover buffer, from the Ethernet header on; with its own header a
/// slot is 2048 octets. Longer packets cannot be held.
pub const FRAME_BYTES: usize = 2016;

/// Handover buffers, one for each mobile node whose packets are held at the same time.
pub const BUFFERS: u32 = 1024;

/// Bindings: mobile nodes whose packets are tunnelled, held or delivered at the same time.
pub const BINDINGS: u32 = 131_072;

/// Addresses of this node, at which signalling is taken.
pub const LOCAL_ADDRESSES: u32 = 256;

/// Addresses of the routers that this one hands over to and from.
pub const PEER_ADDRESSES: u32 = 16384;

/// Interfaces of this node that the programs are attached to.
pub const INTERFACES: u32 = 256;

/// Packets that all buffers together can hold, unless the configuration says otherwise.
pub const DEFAULT_POOL: u32 = 16384;

/// Octets of the ring that carries signalling to the controller.
pub const SIGNAL_RING_BYTES: u32 = 1 << 19;

/// Octets of one signalling frame, from the Ethernet header on. No message of RFC 5568 comes near
/// to it; a longer frame is cut, and then refused by the decoder.
pub const SIGNAL_BYTES: usize = 1536;

/// Hop limit of an outer header (RFC 2473 section 6.3: the default of the tunnel entry-point node).
pub const TUNNEL_HOP_LIMIT: u8 = 64;
