//! Basic capabilities: SBC-REQ and SBC-RSP.

use serde::{Deserialize, Serialize};

use super::{
    error::DecodeError,
    field::{Reader, UnknownTlv, Writer},
};

/// What SBC-REQ and SBC-RSP (sections 6.3.2.3.23 and 24) say: TLVs of section 11.8 alone.
///
/// Of the profile are the types 1, 4, 16 and 25; the long list of what an OFDMA radio can do is
/// carried along as unknown. Not authenticated: there is no key yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasicCapabilities {
    /// 1: bandwidth allocation support.
    pub bandwidth: Option<u8>,
    /// 4: capabilities for the construction and transmission of MAC PDUs.
    pub pdu: Option<u8>,
    /// 16: authorization policy support; in SBC-RSP, the policy.
    pub authorization: Option<u8>,
    /// 25: security negotiation parameters.
    pub security: Option<SecurityNegotiation>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

/// Security negotiation parameters (section 11.8.4): what both ends can, or what is agreed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityNegotiation {
    /// 25.1: bit 0 is PKM version 1, bit 1 version 2.
    pub pkm_version: Option<u8>,
    /// 25.2: bit 0 RSA, bit 1 EAP, for the first entry.
    pub authorization: Option<u8>,
    /// 25.3: bit 0 is HMAC, bit 1 CMAC, the others short HMACs.
    pub mac_mode: Option<u8>,
    /// 25.4: how far packet numbers may come out of order.
    pub pn_window: Option<u16>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

/// How management messages are authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MacMode {
    /// CMAC with AES, and packet numbers.
    #[default]
    Cmac,
    /// HMAC with SHA-1, and no packet numbers.
    Hmac,
}

impl MacMode {
    /// Its bit in the message authentication code mode.
    pub fn bit(self) -> u8 {
        match self {
            Self::Hmac => 1 << 0,
            Self::Cmac => 1 << 1,
        }
    }

    /// The better one of those in a message authentication code mode.
    pub fn best_of(bits: u8) -> Option<Self> {
        let all = [Self::Cmac, Self::Hmac];
        all.into_iter().find(|mode| bits & mode.bit() != 0)
    }
}

impl SecurityNegotiation {
    /// PKM version 2.
    pub const PKM_V2: u8 = 1 << 1;
    /// EAP.
    pub const EAP: u8 = 1 << 1;

    /// What the profile usually offers and agrees to.
    pub fn profile() -> Self {
        Self::with(MacMode::Cmac)
    }

    /// What the profile offers and agrees to: PKM version 2, EAP, this mode, no window.
    pub fn with(mode: MacMode) -> Self {
        Self {
            pkm_version: Some(Self::PKM_V2),
            authorization: Some(Self::EAP),
            mac_mode: Some(mode.bit()),
            pn_window: Some(0),
            unknown: Vec::new(),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut parameters = Self::default();
        while let Some(tlv) = reader.tlv()? {
            match tlv.kind {
                1 => {
                    let field = "PKM version support";
                    let [value] = tlv.fixed(field)?;
                    tlv.once(&mut parameters.pkm_version, field, value)?;
                }
                2 => {
                    let field = "authorization policy support";
                    let [value] = tlv.fixed(field)?;
                    tlv.once(&mut parameters.authorization, field, value)?;
                }
                3 => {
                    let field = "message authentication code mode";
                    let [value] = tlv.fixed(field)?;
                    tlv.once(&mut parameters.mac_mode, field, value)?;
                }
                4 => {
                    let field = "PN window size";
                    let size = u16::from_be_bytes(tlv.fixed(field)?);
                    tlv.once(&mut parameters.pn_window, field, size)?;
                }
                _ => parameters.unknown.push(tlv.unknown()),
            }
        }
        Ok(parameters)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.optional(1, self.pkm_version.map(|value| [value]));
        writer.optional(2, self.authorization.map(|value| [value]));
        writer.optional(3, self.mac_mode.map(|value| [value]));
        writer.optional(4, self.pn_window.map(u16::to_be_bytes));
        writer.unknown(&self.unknown);
    }
}

impl BasicCapabilities {
    /// What the profile usually offers and agrees to.
    pub fn profile() -> Self {
        Self::with(MacMode::Cmac)
    }

    /// What the profile offers and agrees to, with this mode.
    pub fn with(mode: MacMode) -> Self {
        Self {
            bandwidth: Some(0),
            pdu: Some(0),
            authorization: None,
            security: Some(SecurityNegotiation::with(mode)),
            unknown: Vec::new(),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        while let Some(tlv) = reader.tlv()? {
            match tlv.kind {
                1 => {
                    let field = "bandwidth allocation support";
                    let [value] = tlv.fixed(field)?;
                    tlv.once(&mut message.bandwidth, field, value)?;
                }
                4 => {
                    let field = "capabilities for MAC PDUs";
                    let [value] = tlv.fixed(field)?;
                    tlv.once(&mut message.pdu, field, value)?;
                }
                16 => {
                    let field = "authorization policy support";
                    let [value] = tlv.fixed(field)?;
                    tlv.once(&mut message.authorization, field, value)?;
                }
                25 => {
                    let security = SecurityNegotiation::decode(&mut tlv.nested())?;
                    tlv.once(
                        &mut message.security,
                        "security negotiation parameters",
                        security,
                    )?;
                }
                _ => message.unknown.push(tlv.unknown()),
            }
        }
        Ok(message)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.optional(1, self.bandwidth.map(|value| [value]));
        writer.optional(4, self.pdu.map(|value| [value]));
        writer.optional(16, self.authorization.map(|value| [value]));
        if let Some(security) = &self.security {
            writer.compound(25, |writer| security.encode(writer));
        }
        writer.unknown(&self.unknown);
    }
}
