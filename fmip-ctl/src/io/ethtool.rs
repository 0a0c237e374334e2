//! The one switch of a network device that has no place in rtnetlink: generic receive offload.

use std::io;

use rustix::{
    ioctl::{Opcode, Setter, ioctl},
    net::{AddressFamily, SocketType, socket},
};

/// `SIOCETHTOOL` of linux/sockios.h.
const SIOCETHTOOL: Opcode = 0x8946;
/// `ETHTOOL_SGRO` of linux/ethtool.h.
const ETHTOOL_SGRO: u32 = 0x2c;

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// `struct ifreq` of linux/if.h, with the member of its union that SIOCETHTOOL reads.
#[repr(C)]
struct InterfaceRequest {
    /// Ends with a zero.
    name: [u8; 16],
    value: *const EthtoolValue,
    /// The union has larger members.
    rest: [u64; 2],
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<InterfaceRequest>() == 40);

/// Turns generic receive offload of an interface on.
///
/// # Errors
/// What the kernel says; a name of more than 15 octets is invalid input.
pub(super) fn enable_gro(interface: &str) -> io::Result<()> {
    let mut name = [0; 16];
    name[..15]
        .get_mut(..interface.len())
        .ok_or(io::ErrorKind::InvalidInput)?
        .copy_from_slice(interface.as_bytes());
    let value = EthtoolValue {
        cmd: ETHTOOL_SGRO,
        data: 1,
    };
    let request = InterfaceRequest {
        name,
        value: &raw const value,
        rest: [0; 2],
    };
    // Any socket will do: it only says in which network namespace the name is meant.
    let socket = socket(AddressFamily::INET6, SocketType::DGRAM, None)?;
    // SAFETY: SIOCETHTOOL reads a `struct ifreq`, whose shape `InterfaceRequest` has, and, for
    // ETHTOOL_SGRO, the `struct ethtool_value` it points to, which outlives the call.
    unsafe { ioctl(&socket, Setter::<SIOCETHTOOL, _>::new(request)) }?;
    Ok(())
}
