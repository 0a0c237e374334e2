//! BADF authenticators (RFC 5568 section 6.4.5): who may redirect a mobile node's packets.

use std::net::Ipv6Addr;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::wire::{Authorization, Message, Packet, mobility_header};

/// Octets of an authenticator: First(96, HMAC_SHA1(..)) (RFC 6275 section 6.2.7).
pub const AUTHENTICATOR_LEN: usize = 12;

/// Where the Mobility Header's checksum stands (RFC 6275 section 6.1.1).
const CHECKSUM: std::ops::Range<usize> = 4..6;

/// The two addresses that an authenticator covers beside the message.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The new care-of address that the binding is, or was to be, for (AMB-16); the previous one
    /// in an FBU that ends a binding, and in its answer (AMB-17).
    pub care_of: Ipv6Addr,
    /// The PAR's, as the FBU is addressed to it.
    pub par: Ipv6Addr,
}

/// Writes `packet`, an FBU or FBack, with a BADF option under `key`.
///
/// Other messages carry no BADF option and are written as they are.
pub fn sign(mut packet: Packet, spi: u32, key: &[u8], addresses: Addresses) -> Bytes {
    // The authenticator covers the option's head and the padding before it: those must stand.
    if !authorize(&mut packet, spi, &[0; AUTHENTICATOR_LEN]) {
        return packet.encode();
    }
    let bytes = packet.encode();
    let header = mobility_header(&bytes).expect("an FBU or FBack is a Mobility Header message");
    let data = &header[..header.len() - AUTHENTICATOR_LEN];
    let tag = hmac(key, addresses, data).finalize().into_bytes();
    authorize(&mut packet, spi, &tag[..AUTHENTICATOR_LEN]);
    packet.encode()
}

/// Whether the Mobility Header in `packet` (a whole IPv6 packet), an FBU or FBack that ends in
/// `authorization`, was signed with `key`. Takes the same time whatever the answer.
///
/// An authenticator of another length than [`AUTHENTICATOR_LEN`] is never right: a shorter one
/// could be guessed.
pub fn verify(
    packet: &[u8],
    authorization: &Authorization,
    key: &[u8],
    addresses: Addresses,
) -> bool {
    let Some(header) = mobility_header(packet) else {
        return false;
    };
    let received = &authorization.authenticator;
    let Some(end) = header.len().checked_sub(AUTHENTICATOR_LEN) else {
        return false;
    };
    if received.len() != AUTHENTICATOR_LEN || header[end..] != received[..] {
        return false;
    }
    hmac(key, addresses, &header[..end])
        .verify_truncated_left(received)
        .is_ok()
}

fn authorize(packet: &mut Packet, spi: u32, authenticator: &[u8]) -> bool {
    let authorization = Some(Authorization {
        spi,
        authenticator: Bytes::copy_from_slice(authenticator),
    });
    match &mut packet.message {
        Message::FastBindingUpdate(fbu) => fbu.authorization = authorization,
        Message::FastBindingAck(fback) => fback.authorization = authorization,
        _ => return false,
    }
    true
}

/// HMAC_SHA1(key, care-of address | PAR address | MH data), where `data` is the Mobility Header
/// without the authenticator, and its checksum counts as 0 (OPT-08).
fn hmac(key: &[u8], addresses: Addresses, data: &[u8]) -> Hmac<Sha1> {
    let mut hmac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    hmac.update(&addresses.care_of.octets());
    hmac.update(&addresses.par.octets());
    hmac.update(&data[..CHECKSUM.start]);
    hmac.update(&[0; 2]);
    hmac.update(&data[CHECKSUM.end..]);
    hmac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FastBindingAck, FastBindingStatus, FastBindingUpdate};

    const ADDRESSES: Addresses = Addresses {
        care_of: Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0xff, 0xfe00, 1),
        par: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
    };
    const PCOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0xff, 0xfe00, 1);

    fn fbu() -> Packet {
        Packet {
            source: PCOA,
            destination: ADDRESSES.par,
            hop_limit: 64,
            home_address: Some(PCOA),
            message: Message::FastBindingUpdate(FastBindingUpdate {
                sequence: 1,
                ack: true,
                home: true,
                link_local: false,
                key_management: false,
                lifetime: 60,
                alternate_coa: Some(ADDRESSES.care_of),
                mn_lla: None,
                unknown: Vec::new(),
                authorization: None,
            }),
        }
    }

    fn authorization(bytes: &[u8]) -> Authorization {
        let packet = Packet::decode(bytes).unwrap();
        let (Message::FastBindingUpdate(FastBindingUpdate { authorization, .. })
        | Message::FastBindingAck(FastBindingAck { authorization, .. })) = packet.message
        else {
            panic!("only FBU and FBack are signed");
        };
        authorization.expect("it was signed")
    }

    /// RFC 2202 section 3, cases 1, 2 and 6.
    // Rows: OPT-07
    #[test]
    fn hmac_sha1_is_that_of_rfc_2202() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b617318655057264e28bc0b6fb378c8ef146be00",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
        ];
        for (key, data, digest) in cases {
            let mut hmac = Hmac::<Sha1>::new_from_slice(key).unwrap();
            hmac.update(data);
            let tag = hmac.finalize().into_bytes();
            let hex: String = tag.iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(hex, digest);
        }
    }

    /// The expected value was computed apart from this program, from the octets written out here.
    // Rows: OPT-08, OPT-09
    #[test]
    fn the_authenticator_covers_addresses_and_message_and_counts_the_checksum_as_zero() {
        let bytes = sign(fbu(), 256, b"0123456789abcdef", ADDRESSES);
        let header = mobility_header(&bytes).unwrap();
        let mut signed = header[..header.len() - AUTHENTICATOR_LEN].to_vec();
        signed[CHECKSUM].fill(0);
        #[rustfmt::skip]
        assert_eq!(signed, [
            59, 6, 8, 0, 0, 0, // payload proto, length, type, reserved, checksum
            0, 1, 0xc0, 0, 0, 60, // sequence, A and H, lifetime
            1, 0, // padding to 8n+6
            3, 16, // alternate care-of address
            0x20, 0x01, 0x0d, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1,
            1, 4, 0, 0, 0, 0, // padding, so that BADF ends on 8n
            21, 16, 0, 0, 1, 0, // BADF, SPI
        ]);
        assert_eq!(authorization(&bytes).authenticator[..], EXPECTED);
    }

    const EXPECTED: [u8; 12] = [
        0xec, 0x79, 0x10, 0xb0, 0x08, 0x98, 0x8c, 0xac, 0x34, 0x75, 0xec, 0xc4,
    ];

    // Rows: OPT-08
    #[test]
    fn what_was_signed_is_verified_with_the_same_key_and_addresses_alone() {
        let key = b"0123456789abcdef";
        let bytes = sign(fbu(), 256, key, ADDRESSES);
        let authorization = authorization(&bytes);
        assert!(verify(&bytes, &authorization, key, ADDRESSES));
        assert!(!verify(
            &bytes,
            &authorization,
            b"0123456789abcdeF",
            ADDRESSES
        ));
        let swapped = Addresses {
            care_of: ADDRESSES.par,
            par: ADDRESSES.care_of,
        };
        assert!(!verify(&bytes, &authorization, key, swapped));
    }

    // Rows: SEC-05
    #[test]
    fn an_fback_is_signed_like_an_fbu() {
        let packet = Packet {
            source: ADDRESSES.par,
            destination: PCOA,
            hop_limit: 64,
            home_address: None,
            message: Message::FastBindingAck(FastBindingAck {
                status: FastBindingStatus::Accepted,
                key_management: false,
                sequence: 1,
                lifetime: 60,
                alternate_coa: None,
                unknown: Vec::new(),
                authorization: None,
            }),
        };
        let bytes = sign(packet, 7, b"key", ADDRESSES);
        let authorization = authorization(&bytes);
        assert_eq!(authorization.spi, 7);
        assert!(verify(&bytes, &authorization, b"key", ADDRESSES));
    }

    // Rows: OPT-07
    #[test]
    fn an_authenticator_of_another_length_is_never_right() {
        let bytes = sign(fbu(), 256, b"key", ADDRESSES);
        let whole = authorization(&bytes);
        for length in 0..AUTHENTICATOR_LEN {
            let short = Authorization {
                authenticator: whole.authenticator.slice(..length),
                ..whole.clone()
            };
            assert!(!verify(&bytes, &short, b"key", ADDRESSES));
        }
        assert!(!verify(b"no packet", &whole, b"key", ADDRESSES));
    }
}
