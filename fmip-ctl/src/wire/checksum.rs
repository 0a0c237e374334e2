//! The Internet checksum over an IPv6 pseudo-header.

use std::net::Ipv6Addr;

/// Computes the checksum of an upper-layer message, header included (RFC 8200 section 8.1).
///
/// Over a message whose checksum field is zero it is the field's value; over one with the right
/// value in place it is 0.
pub fn checksum(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, message: &[u8]) -> u16 {
    let mut sum = 0;
    add(&mut sum, &source.octets());
    add(&mut sum, &destination.octets());
    sum += message.len() as u64 + u64::from(next_header);
    add(&mut sum, message);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// Adds up 16-bit words; an odd last octet is the upper half of one. 64 bits take the sum of any
/// packet without a carry in between.
fn add(sum: &mut u64, octets: &[u8]) {
    let mut words = octets.chunks_exact(2);
    for word in &mut words {
        *sum += u64::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        *sum += u64::from(*last) << 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same thing done the slow way: the pseudo-header laid out as in RFC 8200 section 8.1,
    /// one's complement addition with the carry brought back after every word.
    fn by_the_book(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        message: &[u8],
    ) -> u16 {
        let mut text = Vec::new();
        text.extend(source.octets());
        text.extend(destination.octets());
        text.extend((message.len() as u32).to_be_bytes());
        text.extend([0, 0, 0, next_header]);
        text.extend(message);
        if text.len() % 2 == 1 {
            text.push(0);
        }
        let mut sum = 0u16;
        for word in text.chunks(2) {
            let (next, carry) = sum.overflowing_add(u16::from(word[0]) << 8 | u16::from(word[1]));
            sum = next + u16::from(carry);
        }
        !sum
    }

    proptest! {
        #[test]
        fn sum_is_that_of_the_book(
            source: u128,
            destination: u128,
            next_header: u8,
            message in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (source, destination) = (source.into(), destination.into());
            prop_assert_eq!(
                checksum(source, destination, next_header, &message),
                by_the_book(source, destination, next_header, &message)
            );
        }
    }

    #[test]
    fn right_checksum_in_place_gives_zero() {
        let (source, destination) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        let mut message = vec![128, 0, 0, 0, 1, 2, 3, 4, 5];
        let value = checksum(source, destination, 58, &message);
        message[2..4].copy_from_slice(&value.to_be_bytes());
        assert_eq!(checksum(source, destination, 58, &message), 0);
    }
}
