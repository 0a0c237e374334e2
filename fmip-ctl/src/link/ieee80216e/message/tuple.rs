//! What authenticates a management message: the CMAC tuple, the HMAC tuple, and the digest of PKM.

use super::{
    error::DecodeError,
    field::{Tlv, Writer},
};
use crate::wire::MacAddr;

/// TLV types of IEEE 802.16e-2005 section 11.1 (table 346).
pub(super) const CMAC_TUPLE: u8 = 141;
pub(super) const HMAC_TUPLE: u8 = 149;
/// Attributes of PKM (section 11.9).
pub(super) const KEY_SEQUENCE: u8 = 10;
pub(super) const HMAC_DIGEST: u8 = 11;
pub(super) const CMAC_DIGEST: u8 = 40;

/// Octets of a CMAC value: the first 64 bits (section 7.5.4.4.1).
pub const CMAC_LEN: usize = 8;
/// Octets of an HMAC digest: all of SHA-1's.
pub const HMAC_LEN: usize = 20;

/// In which form a message carries its authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As an attribute of PKM, with the key's sequence number in another.
    Digest,
    /// As a tuple.
    Tuple,
    /// Not at all.
    None,
}

/// What authenticates a message; always its last TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// A CMAC tuple, or the CMAC digest of a PKM message.
    Cmac(CmacTuple),
    /// An HMAC tuple, or the HMAC digest of a PKM message.
    Hmac(HmacTuple),
}

/// A CMAC tuple (section 11.1.2.2): 4 bits reserved, the key's sequence number, the BSID if it is
/// there, the packet number, the value.
///
/// In PKM messages the sequence number is an attribute of its own, and there is no BSID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CmacTuple {
    /// The AK's sequence number, 4 bits.
    pub key_sequence: u8,
    /// Which base station's key it is, where that is not clear.
    pub bsid: Option<MacAddr>,
    /// CMAC_PN: never the same twice under one key.
    pub packet_number: u32,
    /// The first 64 bits of the CMAC.
    pub value: [u8; CMAC_LEN],
}

/// An HMAC tuple (section 11.1.2.1): 4 bits reserved, the key's sequence number, the digest.
///
/// In PKM messages the sequence number is an attribute of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HmacTuple {
    /// The AK's sequence number, 4 bits.
    pub key_sequence: u8,
    /// HMAC-SHA1 of the message.
    pub digest: [u8; HMAC_LEN],
}

pub(super) fn decode_cmac(tlv: &Tlv<'_>) -> Result<Authentication, DecodeError> {
    const FIELD: &str = "CMAC tuple";
    let (sequence, rest) = tlv
        .value
        .split_first()
        .ok_or_else(|| tlv.bad_length(FIELD))?;
    let (bsid, rest) = match rest.len() {
        12 => (None, rest),
        18 => {
            let (bsid, rest) = rest
                .split_first_chunk()
                .ok_or_else(|| tlv.bad_length(FIELD))?;
            (Some(MacAddr(*bsid)), rest)
        }
        _ => return Err(tlv.bad_length(FIELD)),
    };
    let (packet_number, value) = number_and_value(tlv, rest, FIELD)?;
    Ok(Authentication::Cmac(CmacTuple {
        key_sequence: sequence & 0xf,
        bsid,
        packet_number,
        value,
    }))
}

pub(super) fn decode_hmac(tlv: &Tlv<'_>) -> Result<Authentication, DecodeError> {
    let [sequence, digest @ ..] = tlv.fixed::<{ 1 + HMAC_LEN }>("HMAC tuple")?;
    Ok(Authentication::Hmac(HmacTuple {
        key_sequence: sequence & 0xf,
        digest,
    }))
}

pub(super) fn decode_digest(
    tlv: &Tlv<'_>,
    key_sequence: u8,
) -> Result<Authentication, DecodeError> {
    if tlv.kind == HMAC_DIGEST {
        return Ok(Authentication::Hmac(HmacTuple {
            key_sequence,
            digest: tlv.fixed("HMAC digest")?,
        }));
    }
    let (packet_number, value) = number_and_value(tlv, tlv.value, "CMAC digest")?;
    Ok(Authentication::Cmac(CmacTuple {
        key_sequence,
        bsid: None,
        packet_number,
        value,
    }))
}

fn number_and_value(
    tlv: &Tlv<'_>,
    octets: &[u8],
    field: &'static str,
) -> Result<(u32, [u8; CMAC_LEN]), DecodeError> {
    octets
        .split_first_chunk()
        .and_then(|(number, value)| Some((u32::from_be_bytes(*number), value.try_into().ok()?)))
        .ok_or_else(|| tlv.bad_length(field))
}

/// Writes what comes before the tuple and is covered by it: in PKM the key's sequence number.
pub(super) fn encode_covered(authentication: &Authentication, form: Form, writer: &mut Writer) {
    let key_sequence = match authentication {
        Authentication::Cmac(cmac) => cmac.key_sequence,
        Authentication::Hmac(hmac) => hmac.key_sequence,
    };
    if form == Form::Digest {
        writer.tlv(KEY_SEQUENCE, &[key_sequence & 0xf]);
    }
}

/// Writes the tuple. A message that can carry none gets none.
pub(super) fn encode(authentication: &Authentication, form: Form, writer: &mut Writer) {
    match (form, authentication) {
        (Form::Tuple, Authentication::Cmac(cmac)) => {
            let mut value = vec![cmac.key_sequence & 0xf];
            value.extend(cmac.bsid.iter().flat_map(|bsid| bsid.0));
            value.extend(cmac.packet_number.to_be_bytes());
            value.extend(cmac.value);
            writer.tlv(CMAC_TUPLE, &value);
        }
        (Form::Tuple, Authentication::Hmac(hmac)) => {
            let mut value = vec![hmac.key_sequence & 0xf];
            value.extend(hmac.digest);
            writer.tlv(HMAC_TUPLE, &value);
        }
        (Form::Digest, Authentication::Cmac(cmac)) => {
            let mut value = cmac.packet_number.to_be_bytes().to_vec();
            value.extend(cmac.value);
            writer.tlv(CMAC_DIGEST, &value);
        }
        (Form::Digest, Authentication::Hmac(hmac)) => writer.tlv(HMAC_DIGEST, &hmac.digest),
        (Form::None, _) => {}
    }
}
