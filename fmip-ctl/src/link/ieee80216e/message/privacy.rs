//! Privacy key management: PKM-REQ and PKM-RSP, of which the profile has the SA-TEK 3-way
//! handshake.

use super::{
    capability::SecurityNegotiation,
    error::DecodeError,
    field::{Reader, UnknownTlv, Writer},
};
use crate::wire::code::code;

code! {
    /// What a PKM message is (section 6.3.2.3.9, table 26).
    PkmCode {
        /// EAP-Transfer: carries an EAP packet. The profile's keys are configured, as if the EAP
        /// method had been run before.
        EapTransfer = 18,
        /// SA-TEK-Challenge, in PKM-RSP: the base station has the AK, and shows a random number.
        SaTekChallenge = 20,
        /// SA-TEK-Request, in PKM-REQ: so has the station.
        SaTekRequest = 21,
        /// SA-TEK-Response, in PKM-RSP: the security associations.
        SaTekResponse = 22,
        /// Key-Request, in PKM-REQ.
        KeyRequest = 23,
        /// Key-Reply, in PKM-RSP.
        KeyReply = 24,
        /// Key-Reject, in PKM-RSP.
        KeyReject = 25,
    }
}

/// What PKM-REQ and PKM-RSP (sections 6.3.2.3.9.1 and 2) say: code (8), identifier (8), then
/// attributes of section 11.9.
///
/// Of the profile are the attributes 9, 16, 23, 25, 33, 34 and 45, and 10 and 40, which authenticate
/// (see [`super::Authentication`]). A security association is not looked into: the profile's data
/// is not encrypted on the air (cryptographic suite 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkm {
    /// What it is.
    pub code: PkmCode,
    /// Matches the answer to the question.
    pub identifier: u8,
    /// 9: how long the AK holds, in seconds.
    pub key_lifetime: Option<u32>,
    /// 16: why not.
    pub error_code: Option<u8>,
    /// 25: what is agreed, or was offered.
    pub security: Option<SecurityNegotiation>,
    /// 33: the station's random number.
    pub ms_random: Option<[u8; 8]>,
    /// 34: the base station's random number.
    pub bs_random: Option<[u8; 8]>,
    /// 45: which AK.
    pub akid: Option<[u8; 8]>,
    /// Attributes that the profile gives no meaning to; security associations (23) among them.
    pub unknown: Vec<UnknownTlv>,
}

impl Pkm {
    /// One without an attribute.
    pub fn new(code: PkmCode, identifier: u8) -> Self {
        Self {
            code,
            identifier,
            key_lifetime: None,
            error_code: None,
            security: None,
            ms_random: None,
            bs_random: None,
            akid: None,
            unknown: Vec::new(),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = PkmCode::from(reader.octet("code")?);
        let mut message = Self::new(code, reader.octet("PKM identifier")?);
        while let Some(tlv) = reader.tlv()? {
            match tlv.kind {
                9 => {
                    let seconds = u32::from_be_bytes(tlv.fixed("key lifetime")?);
                    tlv.once(&mut message.key_lifetime, "key lifetime", seconds)?;
                }
                16 => {
                    let [code] = tlv.fixed("error code")?;
                    tlv.once(&mut message.error_code, "error code", code)?;
                }
                25 => {
                    let security = SecurityNegotiation::decode(&mut tlv.nested())?;
                    tlv.once(
                        &mut message.security,
                        "security negotiation parameters",
                        security,
                    )?;
                }
                33 => tlv.once(&mut message.ms_random, "MS_Random", tlv.fixed("MS_Random")?)?,
                34 => tlv.once(&mut message.bs_random, "BS_Random", tlv.fixed("BS_Random")?)?,
                45 => tlv.once(&mut message.akid, "AKID", tlv.fixed("AKID")?)?,
                _ => message.unknown.push(tlv.unknown()),
            }
        }
        Ok(message)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(self.code.value());
        writer.octet(self.identifier);
        writer.optional(9, self.key_lifetime.map(u32::to_be_bytes));
        writer.optional(16, self.error_code.map(|code| [code]));
        if let Some(security) = &self.security {
            writer.compound(25, |writer| security.encode(writer));
        }
        writer.optional(33, self.ms_random);
        writer.optional(34, self.bs_random);
        writer.optional(45, self.akid);
        writer.unknown(&self.unknown);
    }
}
