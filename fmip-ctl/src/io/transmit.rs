//! Sends signalling: whole IPv6 packets, on the kernel's routes and neighbors or straight to a
//! link-layer address.

use std::{
    io,
    mem::size_of,
    net::{Ipv6Addr, SocketAddrV6},
};

use anyhow::{Context as _, Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    proto::{Transmit, Tunnel},
    wire::MacAddr,
};

/// On an IPv6 socket it means that the caller writes the header.
const IPPROTO_RAW: i32 = 255;
/// Sockets of frames: linux/socket.h.
const AF_PACKET: u16 = 17;
/// The Ethernet type of IPv6.
const ETH_P_IPV6: u16 = 0x86dd;
/// Octets that may wait in the kernel for the link-layer addresses of their next hops: some thousand
/// messages, as many as come in while it gives up on one that never answers. With the kernel's ordinary
/// 200 kB, those that wait for nobody would soon hold up all others.
const WAITING: usize = 8 << 20;
/// The length of an IPv6 header.
const IPV6_HEADER: usize = 40;

/// `struct sockaddr_ll` of linux/if_packet.h.
#[repr(C)]
struct LinkAddress {
    family: u16,
    /// In network order.
    protocol: u16,
    interface: i32,
    hardware_type: u16,
    packet_type: u8,
    length: u8,
    address: [u8; 8],
}

/// Raw sockets that take whole packets, with their extension headers and whatever source.
pub struct Transmitter {
    routed: Socket,
    /// The kernel puts the Ethernet header in front of what is sent here.
    framed: Socket,
}

impl Transmitter {
    /// Opens the sockets.
    ///
    /// # Errors
    /// When the right CAP_NET_RAW is missing.
    pub fn new() -> Result<Self> {
        let socket = |domain, kind: Type, protocol: i32| {
            let protocol = Some(Protocol::from(protocol));
            Socket::new(domain, kind.nonblocking().cloexec(), protocol)
                .context("cannot open a raw socket for signalling")
        };
        let routed = socket(Domain::IPV6, Type::RAW, IPPROTO_RAW)?;
        rustix::net::sockopt::set_socket_send_buffer_size_force(&routed, WAITING)
            .context("cannot make room for signalling that waits for a neighbor")?;
        Ok(Self {
            routed,
            // Protocol 0: it receives nothing.
            framed: socket(Domain::PACKET, Type::DGRAM, 0)?,
        })
    }

    /// Sends one packet. An interface is needed where the destination does not say which link is
    /// meant: link-local and multicast, and for a link-layer destination.
    ///
    /// # Errors
    /// When the packet has no IPv6 header, a link-layer destination is without an interface, or the
    /// kernel refuses.
    pub fn send(&self, transmit: &Transmit) -> Result<()> {
        let packet = &transmit.bytes;
        let destination = destination(packet).context("a packet without an IPv6 header")?;
        let sent = match transmit.link_destination {
            Some(link_destination) => {
                let interface = transmit.interface.unwrap_or(0);
                ensure!(
                    interface != 0,
                    "a packet to {link_destination} without a link that it is for"
                );
                let address = link_address(interface, link_destination)
                    .context("cannot make a link-layer address")?;
                self.framed.send_to(packet, &address)
            }
            None => {
                let of_one_link = destination.is_multicast() || destination.is_unicast_link_local();
                let scope = transmit.interface.filter(|_| of_one_link).unwrap_or(0);
                let address = SockAddr::from(SocketAddrV6::new(destination, 0, 0, scope));
                self.routed.send_to(packet, &address)
            }
        };
        sent.with_context(|| format!("cannot send signalling to {destination}"))?;
        Ok(())
    }
}

/// The packet, if it is for no certain link, in the tunnel that `tunnel_to` has for its destination
/// (AMB-08).
pub fn routed(transmit: Transmit, tunnel_to: impl Fn(Ipv6Addr) -> Option<Tunnel>) -> Transmit {
    match destination(&transmit.bytes).and_then(tunnel_to) {
        Some(tunnel) if transmit.interface.is_none() => Transmit {
            bytes: encapsulated(&transmit.bytes, tunnel),
            ..transmit
        },
        _ => transmit,
    }
}

fn destination(packet: &[u8]) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = packet.get(24..IPV6_HEADER)?.try_into().ok()?;
    Some(octets.into())
}

/// The packet in the tunnel (RFC 2473 section 3).
fn encapsulated(packet: &[u8], tunnel: Tunnel) -> Bytes {
    const IPV6_IN_IPV6: u8 = 41;
    const HOP_LIMIT: u8 = 64;
    let mut outer = BytesMut::with_capacity(IPV6_HEADER + packet.len());
    outer.put_u32(6 << 28);
    outer.put_u16(u16::try_from(packet.len()).unwrap_or(u16::MAX));
    outer.put_u8(IPV6_IN_IPV6);
    outer.put_u8(HOP_LIMIT);
    outer.put_u128(tunnel.local.to_bits());
    outer.put_u128(tunnel.remote.to_bits());
    outer.put_slice(packet);
    outer.freeze()
}

/// Where a packet socket sends: out of an interface, to a link-layer address, or (to bind it) nothing but
/// the interface; as the kernel wants it.
///
/// # Errors
/// When there can be no interface of that index.
pub fn link_address(interface: u32, destination: MacAddr) -> io::Result<SockAddr> {
    frame_address(interface, ETH_P_IPV6, destination)
}

/// As [`link_address`], for frames of any Ethernet type.
///
/// # Errors
/// When there can be no interface of that index.
pub fn frame_address(interface: u32, ethertype: u16, destination: MacAddr) -> io::Result<SockAddr> {
    let mut octets = [0; 8];
    octets[..6].copy_from_slice(&destination.0);
    let address = LinkAddress {
        family: AF_PACKET,
        protocol: ethertype.to_be(),
        interface: i32::try_from(interface).map_err(io::Error::other)?,
        hardware_type: 0,
        packet_type: 0,
        length: 6,
        address: octets,
    };
    // SAFETY: the storage is larger than any address (a `LinkAddress` has 20 octets of its 128) and
    // aligned for all of them; the length is that of what was written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<LinkAddress>().write(address);
            *length = size_of::<LinkAddress>() as u32;
            Ok(())
        })
    }?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rows: AMB-08
    #[test]
    fn a_packet_goes_into_the_tunnel_of_its_destination_unless_it_is_for_a_certain_link() {
        let tunnel = Tunnel {
            local: "2001:db8:1::1".parse().unwrap(),
            remote: "2001:db8:2::1".parse().unwrap(),
        };
        let pcoa: Ipv6Addr = "2001:db8:1::2".parse().unwrap();
        let packet = [&[0xaa; 24][..], &pcoa.octets(), &[0xbb; 3]].concat();
        let sent = |interface, to| {
            let transmit = Transmit {
                interface,
                link_destination: None,
                bytes: packet.clone().into(),
            };
            routed(transmit, |address| (address == to).then_some(tunnel)).bytes
        };
        let tunnelled = sent(None, pcoa);
        assert_eq!(tunnelled[..8], [0x60, 0, 0, 0, 0, 43, 41, 64]);
        assert_eq!(tunnelled[8..24], tunnel.local.octets());
        assert_eq!(tunnelled[24..40], tunnel.remote.octets());
        assert_eq!(tunnelled[40..], packet);
        assert_eq!(sent(Some(3), pcoa), packet);
        assert_eq!(sent(None, tunnel.remote), packet);
    }

    #[test]
    fn a_link_layer_address_has_the_kernels_layout() {
        let address = link_address(0x0102, MacAddr([2, 0, 0, 0, 0x0a, 1])).unwrap();
        assert_eq!(address.len(), 20);
        assert_eq!(address.domain(), Domain::PACKET);
        // SAFETY: `len` octets were written.
        let octets = unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), 20) };
        let mut expected = Vec::new();
        expected.extend(17_u16.to_ne_bytes());
        expected.extend([0x86, 0xdd]);
        expected.extend(0x0102_i32.to_ne_bytes());
        expected.extend([0, 0, 0, 6]);
        expected.extend([2, 0, 0, 0, 0x0a, 1, 0, 0]);
        assert_eq!(octets, expected);
    }
}
