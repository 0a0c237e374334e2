//! Neighbor discovery options: type, length in units of 8 octets, body (RFC 4861 section 4.6,
//! RFC 5568 section 6.4).

use std::net::Ipv6Addr;

use bytes::{Buf, BufMut};

use super::{
    error::{DecodeError, need, once},
    ipv6::MAX_MESSAGE,
    mac::MacAddr,
    option::UnknownOption,
    prefix::Prefix,
};

/// Option types.
pub(super) mod kind {
    /// RFC 4861 section 4.6.1.
    pub(in crate::wire) const SOURCE_LLA: u8 = 1;
    /// RFC 4861 section 4.6.1.
    pub(in crate::wire) const TARGET_LLA: u8 = 2;
    /// RFC 4861 section 4.6.2.
    pub(in crate::wire) const PREFIX_INFORMATION: u8 = 3;
    /// RFC 5568 section 6.4.1.
    pub(in crate::wire) const ADDRESS: u8 = 17;
    /// RFC 5568 section 6.4.3.
    pub(in crate::wire) const LLA: u8 = 19;
    /// RFC 5568 section 6.4.6.
    pub(in crate::wire) const NAACK: u8 = 20;
}

/// Option-Codes of the IP Address/Prefix option, in neighbor discovery and in the Mobility Header
/// (RFC 5568 sections 6.4.1 and 6.4.2).
pub(super) mod address_code {
    pub(in crate::wire) const OLD_COA: u8 = 1;
    pub(in crate::wire) const NEW_COA: u8 = 2;
    pub(in crate::wire) const NAR_ADDRESS: u8 = 3;
    pub(in crate::wire) const NAR_PREFIX: u8 = 4;
}

/// Option-Codes of the Link-Layer Address option, in neighbor discovery and in the Mobility Header
/// (RFC 5568 section 6.4.3). The outcomes 1, 5, 6 and 7 are [`super::ApOutcome`].
pub(super) mod lla_code {
    pub(in crate::wire) const WILDCARD: u8 = 0;
    pub(in crate::wire) const NEW_AP: u8 = 1;
    pub(in crate::wire) const MN: u8 = 2;
    pub(in crate::wire) const NAR: u8 = 3;
    pub(in crate::wire) const SOURCE: u8 = 4;
}

/// Octets of an IP Address/Prefix option.
const ADDRESS_LEN: usize = 24;
/// Octets of a Link-Layer Address option with a 48-bit address: 9, filled up to 16.
const LLA_LEN: usize = 16;
/// Octets of the wildcard, a Link-Layer Address option without an address.
const WILDCARD_LEN: usize = 8;

/// Cuts the next option from a message; none at its end.
///
/// ```text
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |      Type     |     Length    |  Option-Code  |               |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.4, figure 10; OPT-01.
pub(super) fn next(message: &mut impl Buf) -> Result<Option<UnknownOption>, DecodeError> {
    const WHAT: &str = "neighbor discovery option";
    if !message.has_remaining() {
        return Ok(None);
    }
    need(WHAT, 2, message.remaining())?;
    let kind = message.get_u8();
    let length = message.get_u8();
    if length == 0 {
        // RFC 4861 section 4.6: such a packet is discarded; it would never end.
        return Err(DecodeError::OptionLength {
            option: WHAT,
            length,
        });
    }
    let body_len = 8 * usize::from(length) - 2;
    need(WHAT, body_len, message.remaining())?;
    let body = message.copy_to_bytes(body_len);
    Ok(Some(UnknownOption { kind, body }))
}

/// Reads a Link-Layer Address option; how long the address is, only the link tells (OPT-05).
///
/// ```text
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |     Type 19   |    Length 2   |  Option-Code  |               |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+               +
///     |                      LLA                      |   padding     |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+               +
///     |                                                               |
///     +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.4.3, figure 13.
pub(super) fn lla(option: &UnknownOption) -> Result<MacAddr, DecodeError> {
    let mut body = sized(option, "link-layer address", LLA_LEN)?;
    body.advance(1);
    Ok(mac(&mut body))
}

/// Reads an IP Address/Prefix option into its address and prefix length, 0 to 128.
///
/// ```text
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |   Type 17     |   Length 3    | Option-Code   | Prefix Length |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                             Reserved                          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                    IPv6 Address (16 octets)                   |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 5568 section 6.4.1, figure 11; OPT-02.
pub(super) fn address(option: &UnknownOption) -> Result<(Ipv6Addr, u8), DecodeError> {
    let mut body = sized(option, "IP address", ADDRESS_LEN)?;
    body.advance(1);
    let prefix_length = body.get_u8();
    if prefix_length > 128 {
        return Err(DecodeError::PrefixLength(prefix_length));
    }
    body.advance(4);
    Ok((body.get_u128().into(), prefix_length))
}

/// Reads an IP Address/Prefix option as a prefix; bits beyond its length are ignored (OPT-03).
pub(super) fn prefix(option: &UnknownOption) -> Result<Prefix, DecodeError> {
    let (address, length) = address(option)?;
    Prefix::new(address, length).map_err(|_| DecodeError::PrefixLength(length))
}

/// Reads a Source Link-Layer Address option.
pub(super) fn source_lla(option: &UnknownOption) -> Result<MacAddr, DecodeError> {
    let mut body = sized(option, "source link-layer address", 8)?;
    Ok(mac(&mut body))
}

/// Reads the options of a message that gives a meaning to none but the Source Link-Layer Address: that
/// address, once at most, and the others.
pub(super) fn source_lla_and_others(
    message: &mut impl Buf,
) -> Result<(Option<MacAddr>, Vec<UnknownOption>), DecodeError> {
    let mut address = None;
    let mut unknown = Vec::new();
    while let Some(option) = next(message)? {
        match option.kind {
            kind::SOURCE_LLA => {
                let found = source_lla(&option)?;
                once(&mut address, "source link-layer address", found)?;
            }
            _ => unknown.push(option),
        }
    }
    Ok((address, unknown))
}

/// Reads a Target Link-Layer Address option. The Source Link-Layer Address option is as this one.
///
/// ```text
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///      |  Type 1 or 2  |    Length 1   |    Link-Layer Address ...
///      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
/// RFC 4861 section 4.6.1.
pub(super) fn target_lla(option: &UnknownOption) -> Result<MacAddr, DecodeError> {
    let mut body = sized(option, "target link-layer address", 8)?;
    Ok(mac(&mut body))
}

/// The body of an option that has exactly `whole` octets, type and length included.
pub(super) fn sized<'a>(
    option: &'a UnknownOption,
    name: &'static str,
    whole: usize,
) -> Result<&'a [u8], DecodeError> {
    let len = option.body.len() + 2;
    if len != whole {
        return Err(DecodeError::OptionLength {
            option: name,
            length: (len / 8) as u8,
        });
    }
    Ok(&option.body)
}

/// Takes a link-layer address from a body that was found long enough.
pub(super) fn mac(body: &mut &[u8]) -> MacAddr {
    let mut octets = [0; 6];
    body.copy_to_slice(&mut octets);
    MacAddr(octets)
}

/// Writes options as long as the message stays within [`MAX_MESSAGE`]. What does not fit is left
/// out, so that the length fields hold in any case; whoever composes a message for a link stays far
/// below.
pub(super) struct Writer<'a, B> {
    out: &'a mut B,
    room: usize,
}

impl<'a, B: BufMut> Writer<'a, B> {
    /// Begins behind the `fixed` first octets of a message.
    pub(super) fn new(out: &'a mut B, fixed: usize) -> Self {
        Self {
            out,
            room: MAX_MESSAGE - fixed,
        }
    }

    /// Tells whether this many more octets fit.
    pub(super) fn has_room(&self, octets: usize) -> bool {
        self.room >= octets
    }

    /// Writes type and length of an option, and tells whether its body may follow.
    fn begin(&mut self, kind: u8, whole: usize) -> bool {
        if !self.has_room(whole) {
            return false;
        }
        self.room -= whole;
        self.out.put_u8(kind);
        self.out.put_u8((whole / 8) as u8);
        true
    }

    /// Writes a Link-Layer Address option.
    pub(super) fn lla(&mut self, code: u8, address: MacAddr) {
        if self.begin(kind::LLA, LLA_LEN) {
            self.out.put_u8(code);
            self.out.put_slice(&address.0);
            self.out.put_bytes(0, LLA_LEN - 9);
        }
    }

    /// Writes the Link-Layer Address option that asks for all access points.
    pub(super) fn wildcard(&mut self) {
        if self.begin(kind::LLA, WILDCARD_LEN) {
            self.out.put_u8(lla_code::WILDCARD);
            self.out.put_bytes(0, WILDCARD_LEN - 3);
        }
    }

    /// Writes an IP Address/Prefix option.
    pub(super) fn address(&mut self, code: u8, prefix_length: u8, address: Ipv6Addr) {
        if self.begin(kind::ADDRESS, ADDRESS_LEN) {
            self.out.put_u8(code);
            self.out.put_u8(prefix_length);
            self.out.put_u32(0);
            self.out.put_u128(address.to_bits());
        }
    }

    /// Writes a Source Link-Layer Address option.
    pub(super) fn source_lla(&mut self, address: MacAddr) {
        self.option(kind::SOURCE_LLA, &address.0);
    }

    /// Writes a Target Link-Layer Address option.
    pub(super) fn target_lla(&mut self, address: MacAddr) {
        self.option(kind::TARGET_LLA, &address.0);
    }

    /// Writes an option with this body, filled up with zeros; one whose length cannot be counted is
    /// left out.
    pub(super) fn option(&mut self, kind: u8, body: &[u8]) {
        let whole = (body.len() + 2).next_multiple_of(8);
        if whole <= 8 * 255 && self.begin(kind, whole) {
            self.out.put_slice(body);
            self.out.put_bytes(0, whole - 2 - body.len());
        }
    }

    /// Writes the options that were carried along.
    pub(super) fn unknown(&mut self, options: &[UnknownOption]) {
        for option in options {
            self.option(option.kind, &option.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

    fn written(write: impl FnOnce(&mut Writer<'_, Vec<u8>>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut Writer::new(&mut bytes, 8));
        bytes
    }

    fn only(bytes: &[u8]) -> UnknownOption {
        let mut rest = bytes;
        let option = next(&mut rest).unwrap().unwrap();
        assert!(rest.is_empty());
        option
    }

    // Rows: OPT-05
    #[test]
    fn link_layer_address_is_filled_up_to_16_octets() {
        let bytes = written(|writer| writer.lla(4, MAC));
        assert_eq!(bytes, [19, 2, 4, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(lla(&only(&bytes)), Ok(MAC));
    }

    // Rows: OPT-05
    #[test]
    fn wildcard_is_8_octets() {
        assert_eq!(
            written(|writer| writer.wildcard()),
            [19, 1, 0, 0, 0, 0, 0, 0]
        );
    }

    // Rows: OPT-02
    #[test]
    fn address_option_is_figure_11() {
        let bytes = written(|writer| writer.address(3, 64, ADDRESS));
        let mut expected = vec![17, 3, 3, 64, 0, 0, 0, 0];
        expected.extend(ADDRESS.octets());
        assert_eq!(bytes, expected);
        assert_eq!(address(&only(&bytes)), Ok((ADDRESS, 64)));
    }

    // Rows: GEN-11, OPT-05
    #[test]
    fn reserved_octets_are_ignored() {
        let mut bytes = written(|writer| writer.address(3, 64, ADDRESS));
        bytes[4..8].fill(0xff);
        assert_eq!(address(&only(&bytes)), Ok((ADDRESS, 64)));
        let mut bytes = written(|writer| writer.lla(4, MAC));
        bytes[9..].fill(0xff);
        assert_eq!(lla(&only(&bytes)), Ok(MAC));
    }

    // Rows: OPT-03
    #[test]
    fn bits_beyond_the_prefix_are_ignored() {
        let bytes = written(|writer| writer.address(4, 48, "2001:db8:1:2::3".parse().unwrap()));
        assert_eq!(
            prefix(&only(&bytes)).unwrap().to_string(),
            "2001:db8:1::/48"
        );
    }

    // Rows: OPT-02
    #[test]
    fn prefix_length_above_128_is_refused() {
        let mut bytes = written(|writer| writer.address(4, 64, ADDRESS));
        bytes[3] = 129;
        assert_eq!(prefix(&only(&bytes)), Err(DecodeError::PrefixLength(129)));
    }

    // Rows: OPT-01
    #[test]
    fn option_of_length_0_is_refused() {
        let mut bytes = &[19, 0, 0, 0, 0, 0, 0, 0][..];
        assert!(matches!(
            next(&mut bytes),
            Err(DecodeError::OptionLength { length: 0, .. })
        ));
    }

    #[test]
    fn option_longer_than_the_message_is_refused() {
        let whole = written(|writer| writer.lla(4, MAC));
        for len in 1..whole.len() {
            assert!(matches!(
                next(&mut &whole[..len]),
                Err(DecodeError::Truncated { .. })
            ));
        }
        assert_eq!(next(&mut &whole[..0]), Ok(None));
    }

    #[test]
    fn lengths_other_than_the_type_s_own_are_refused() {
        let option = |body: usize| UnknownOption {
            kind: 0,
            body: Bytes::from(vec![0; body]),
        };
        for body in [6, 22] {
            let length = ((body + 2) / 8) as u8;
            let error = |option| DecodeError::OptionLength { option, length };
            assert_eq!(lla(&option(body)), Err(error("link-layer address")));
            if body != 22 {
                assert_eq!(address(&option(body)), Err(error("IP address")));
            } else {
                assert_eq!(
                    target_lla(&option(body)),
                    Err(error("target link-layer address"))
                );
                assert_eq!(
                    source_lla(&option(body)),
                    Err(error("source link-layer address"))
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let option = UnknownOption {
            kind: 200,
            body: Bytes::from(vec![1; 2038]),
        };
        let too_long = UnknownOption {
            kind: 201,
            body: Bytes::from(vec![1; 2039]),
        };
        let bytes = written(|writer| writer.unknown(&vec![option; 100]));
        assert_eq!(bytes.len() % 2040, 0);
        assert!(bytes.len() <= MAX_MESSAGE - 8 && bytes.len() + 2040 > MAX_MESSAGE - 8);
        assert!(written(|writer| writer.unknown(&[too_long])).is_empty());
    }
}
