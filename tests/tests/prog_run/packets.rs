//! Packets for test runs, built and read octet by octet.
//!
//! By hand, so that what the programs write is judged by code that shares nothing with them.

use std::net::Ipv6Addr;

pub(crate) const ETHERNET: usize = 14;
pub(crate) const IPV6: usize = 40;

pub(crate) const UDP: u8 = 17;
pub(crate) const IPV6_IN_IPV6: u8 = 41;
pub(crate) const ICMPV6: u8 = 58;

/// Link-layer addresses of a packet on its way to the router.
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// An IPv6 packet over Ethernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) link_destination: [u8; 6],
    pub(crate) link_source: [u8; 6],
    pub(crate) class: u8,
    pub(crate) flow: u32,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    /// A UDP datagram of `octets` octets, its own header included.
    pub(crate) fn udp(source: Ipv6Addr, destination: Ipv6Addr, octets: usize) -> Self {
        assert!(octets >= 8, "a UDP header has 8 octets");
        let mut payload = vec![0; octets];
        payload[..2].copy_from_slice(&4000_u16.to_be_bytes());
        payload[2..4].copy_from_slice(&5000_u16.to_be_bytes());
        payload[4..6].copy_from_slice(&(octets as u16).to_be_bytes());
        for (place, octet) in payload[8..].iter_mut().enumerate() {
            *octet = place as u8;
        }
        let mut packet = Self {
            link_destination: ROUTER_MAC,
            link_source: SENDER_MAC,
            class: 0,
            flow: 0x12345,
            next_header: UDP,
            hop_limit: 64,
            source,
            destination,
            payload,
        };
        let checksum = packet.checksum();
        packet.payload[6..8].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    /// A datagram that carries `number` behind its UDP header.
    pub(crate) fn numbered(source: Ipv6Addr, destination: Ipv6Addr, number: u32) -> Self {
        let mut packet = Self::udp(source, destination, 100);
        packet.payload[8..12].copy_from_slice(&number.to_be_bytes());
        packet
    }

    /// The number of such a datagram.
    pub(crate) fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[8..12].try_into().expect("four octets"))
    }

    /// A packet whose upper layer is `payload`, unread.
    pub(crate) fn of(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        payload: &[u8],
    ) -> Self {
        Self {
            next_header,
            payload: payload.to_vec(),
            ..Self::udp(source, destination, 8)
        }
    }

    /// This packet inside a tunnel.
    pub(crate) fn tunnelled(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            flow: 0,
            class: 0,
            hop_limit: 64,
            next_header: IPV6_IN_IPV6,
            source,
            destination,
            payload: self.octets()[ETHERNET..].to_vec(),
            ..self.clone()
        }
    }

    /// What a tunnelled packet carries, with this packet's link-layer addresses.
    pub(crate) fn inner(&self) -> Self {
        assert_eq!(self.next_header, IPV6_IN_IPV6);
        let mut frame = self.octets()[..ETHERNET].to_vec();
        frame.extend_from_slice(&self.payload);
        Self::read(&frame)
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(ETHERNET + IPV6 + self.payload.len());
        octets.extend(self.link_destination);
        octets.extend(self.link_source);
        octets.extend(0x86dd_u16.to_be_bytes());
        let first = 6 << 28 | u32::from(self.class) << 20 | self.flow;
        octets.extend(first.to_be_bytes());
        octets.extend((self.payload.len() as u16).to_be_bytes());
        octets.extend([self.next_header, self.hop_limit]);
        octets.extend(self.source.octets());
        octets.extend(self.destination.octets());
        octets.extend_from_slice(&self.payload);
        octets
    }

    /// Reads a frame; it must be a whole IPv6 packet without anything behind it.
    pub(crate) fn read(frame: &[u8]) -> Self {
        let address =
            |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).expect("16"));
        assert_eq!(frame[12..14], [0x86, 0xdd], "not IPv6");
        let first = u32::from_be_bytes(frame[14..18].try_into().expect("four octets"));
        assert_eq!(first >> 28, 6, "not version 6");
        let length = u16::from_be_bytes([frame[18], frame[19]]);
        assert_eq!(
            usize::from(length) + ETHERNET + IPV6,
            frame.len(),
            "the payload length contradicts the frame's"
        );
        Self {
            link_destination: frame[..6].try_into().expect("six octets"),
            link_source: frame[6..12].try_into().expect("six octets"),
            class: (first >> 20) as u8,
            flow: first & 0xf_ffff,
            next_header: frame[20],
            hop_limit: frame[21],
            source: address(22),
            destination: address(38),
            payload: frame[ETHERNET + IPV6..].to_vec(),
        }
    }

    /// The checksum over the upper layer as it stands; 0 if it holds the right one.
    pub(crate) fn checksum(&self) -> u16 {
        fmip_ctl::wire::checksum(
            self.source,
            self.destination,
            self.next_header,
            &self.payload,
        )
    }
}
