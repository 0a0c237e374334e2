//! Tells which message a frame carries, in the words of people: `FBU`, `HAck 0`, `RA with NAACK 2`.
//!
//! It shares no code with the controller: what both got wrong would otherwise look right.

use std::net::Ipv6Addr;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;

/// Next Header values.
const IPV6: u8 = 41;
const ICMPV6: u8 = 58;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

/// A signalling message as it was on a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signal {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    /// Its name and the numbers that tell what it means.
    pub(super) what: String,
}

/// The signalling in a frame; none if it is data or nothing of ours.
pub(super) fn signal(frame: &[u8]) -> Option<Signal> {
    // EtherType of IPv6.
    if frame.get(12..ETHERNET_HEADER)? != [0x86, 0xdd] {
        return None;
    }
    packet(&frame[ETHERNET_HEADER..])
}

fn packet(packet: &[u8]) -> Option<Signal> {
    let source = address(packet, 8)?;
    let destination = address(packet, 24)?;
    let mut next_header = packet[6];
    let mut payload = packet.get(IPV6_HEADER..)?;
    if next_header == DESTINATION_OPTIONS {
        let length = (usize::from(*payload.get(1)?) + 1) * 8;
        next_header = payload[0];
        payload = payload.get(length..)?;
    }
    let what = match next_header {
        ICMPV6 => icmpv6(payload, source)?,
        MOBILITY => mobility(payload)?,
        // What the tunnel carries, if that is signalling.
        IPV6 => return self::packet(payload).map(|inner| inner.tunnelled()),
        _ => return None,
    };
    Some(Signal {
        source,
        destination,
        what,
    })
}

impl Signal {
    fn tunnelled(mut self) -> Self {
        self.what += " in a tunnel";
        self
    }
}

fn address(octets: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets = octets.get(at..at + 16)?;
    Some(<[u8; 16]>::try_from(octets).ok()?.into())
}

fn icmpv6(message: &[u8], source: Ipv6Addr) -> Option<String> {
    Some(match *message.first()? {
        133 => "RS".to_owned(),
        134 => match option(message.get(16..)?, 20) {
            // NAACK (RFC 5568 section 6.4.6): type, length, Option-Code, Status.
            Some(naack) => format!("RA with NAACK {}", naack.get(3)?),
            None => "RA".to_owned(),
        },
        135 => {
            let target = address(message, 8)?;
            // Duplicate address detection (RFC 4862 section 5.4.2).
            let probe = if source.is_unspecified() { "DAD " } else { "" };
            format!("{probe}NS {target}")
        }
        136 => {
            let target = address(message, 8)?;
            // R, S, O; a UNA has none of them (RFC 5568 section 6.3).
            match message[4] >> 5 {
                0 => format!("UNA {target}"),
                _ => format!("NA {target}"),
            }
        }
        // RFC 5568 section 6.1: subtype in the fifth octet.
        154 => match *message.get(4)? {
            2 => "RtSolPr".to_owned(),
            3 => format!("PrRtAdv {}", message[1]),
            _ => return None,
        },
        _ => return None,
    })
}

fn mobility(message: &[u8]) -> Option<String> {
    let body = message.get(6..)?;
    Some(match *message.get(2)? {
        // RFC 6275 section 6.1.9.
        7 => format!("BE {}", body.first()?),
        8 => {
            let lifetime = u16::from_be_bytes([*body.get(4)?, *body.get(5)?]);
            if lifetime == 0 {
                "FBU to end".to_owned()
            } else {
                "FBU".to_owned()
            }
        }
        9 => format!("FBack {}", body.first()?),
        10 if *message.first()? == NO_NEXT_HEADER => "FNA".to_owned(),
        10 => "FNA with FBU".to_owned(),
        14 => format!("HI {}", body.get(3)?),
        15 => format!("HAck {}", body.get(3)?),
        _ => return None,
    })
}

/// The first neighbor discovery option of that type, its type and length included.
fn option(mut options: &[u8], kind: u8) -> Option<&[u8]> {
    while let [found, length, ..] = *options {
        let length = usize::from(length) * 8;
        let option = options.get(..length).filter(|option| !option.is_empty())?;
        if found == kind {
            return Some(option);
        }
        options = &options[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);

    fn ipv6(next_header: u8, source: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u16).to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next_header, 64];
        packet.extend(source.octets());
        packet.extend(B.octets());
        packet.extend(payload);
        packet
    }

    fn what(packet: &[u8]) -> Option<String> {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd]);
        frame.extend(packet);
        signal(&frame).map(|signal| signal.what)
    }

    #[test]
    fn mobility_headers_are_told_by_type_and_code() {
        for (octets, name) in [
            // Payload Proto, length, type, reserved, checksum; then the message's own.
            (vec![59, 1, 14, 0, 0, 0, 0, 7, 0, 1], "HI 1"),
            (vec![59, 1, 15, 0, 0, 0, 0, 7, 0, 3], "HAck 3"),
            (vec![59, 1, 9, 0, 0, 0, 128, 0, 0, 1, 0, 0], "FBack 128"),
            (vec![59, 1, 8, 0, 0, 0, 0, 1, 0xc0, 0, 0, 60], "FBU"),
            (vec![59, 1, 8, 0, 0, 0, 0, 1, 0xc0, 0, 0, 0], "FBU to end"),
            (vec![59, 0, 10, 0, 0, 0, 0, 0], "FNA"),
            (vec![41, 0, 10, 0, 0, 0, 0, 0], "FNA with FBU"),
            (vec![59, 1, 7, 0, 0, 0, 2, 0], "BE 2"),
        ] {
            let direct = ipv6(MOBILITY, A, &octets);
            assert_eq!(what(&direct).as_deref(), Some(name));
            let tunnelled = format!("{name} in a tunnel");
            assert_eq!(what(&ipv6(IPV6, A, &direct)), Some(tunnelled));
        }
    }

    #[test]
    fn a_destination_option_stands_before_the_fbu() {
        let mut payload = vec![MOBILITY, 2, 1, 2, 0, 0, 201, 16];
        payload.extend(A.octets());
        payload.extend([59, 1, 8, 0, 0, 0, 0, 1, 0xc0, 0, 0, 60]);
        let packet = ipv6(DESTINATION_OPTIONS, A, &payload);
        assert_eq!(what(&packet).as_deref(), Some("FBU"));
    }

    #[test]
    fn neighbor_discovery_is_told_with_its_target() {
        let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
        message.extend(A.octets());
        let name = |source, message: &[u8]| what(&ipv6(ICMPV6, source, message)).unwrap();
        assert_eq!(name(A, &message), format!("NS {A}"));
        assert_eq!(name(Ipv6Addr::UNSPECIFIED, &message), format!("DAD NS {A}"));
        message[0] = 136;
        assert_eq!(name(A, &message), format!("UNA {A}"));
        message[4] = 0x20;
        assert_eq!(name(A, &message), format!("NA {A}"));
    }

    #[test]
    fn a_naack_is_found_behind_other_options() {
        let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(what(&ipv6(ICMPV6, A, &message)).as_deref(), Some("RA"));
        message.extend([1, 1, 2, 0, 0, 0, 0, 0x11]);
        message.extend([20, 1, 0, 4, 0, 0, 0, 0]);
        let name = what(&ipv6(ICMPV6, A, &message));
        assert_eq!(name.as_deref(), Some("RA with NAACK 4"));
    }

    #[test]
    fn data_and_rubbish_are_no_signalling() {
        assert_eq!(what(&ipv6(17, A, &[0; 8])), None);
        assert_eq!(what(&ipv6(ICMPV6, A, &[128, 0])), None);
        assert_eq!(what(&ipv6(MOBILITY, A, &[59, 0])), None);
        assert_eq!(what(&ipv6(IPV6, A, &[0; 39])), None);
        assert_eq!(what(&ipv6(ICMPV6, A, &[134, 0, 0, 0, 20, 0])), None);
        assert_eq!(signal(&[0; 60]), None);
    }
}
