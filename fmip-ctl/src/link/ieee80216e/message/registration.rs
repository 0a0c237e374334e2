//! Registration: REG-REQ and REG-RSP, after which a station is one of the network.

use super::{
    error::DecodeError,
    field::{Reader, UnknownTlv, Writer},
};
use crate::wire::code::code;

/// The TLVs of REG-REQ, REG-RSP and the REG-RSP encodings of RNG-RSP (section 11.7).
///
/// Of the profile are the types 2 to 4, 28, 30, 31 and 36; the others are carried along as unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationParameters {
    /// 2: whether the station has a secondary management connection.
    pub managed: Option<u8>,
    /// 3: IP management mode.
    pub ip_management: Option<u8>,
    /// 4: bit 0 is IPv4, bit 1 IPv6.
    pub ip_version: Option<u8>,
    /// 28: how long a serving base station keeps what it has of a station that leaves, in units of
    /// 100 ms.
    pub resource_retain_time: Option<u8>,
    /// 30: when a station repeats MOB_MSHO-REQ or MOB_HO-IND, in frames.
    pub ho_retransmission: Option<u8>,
    /// 31: bit 0 is handover, bit 1 sleep mode, bit 2 idle mode.
    pub mobility: Option<u8>,
    /// 36: how many service flows the base station is about to make.
    pub service_flows: Option<u8>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl RegistrationParameters {
    /// IPv6, of [`Self::ip_version`].
    pub const IPV6: u8 = 1 << 1;
    /// Handover, of [`Self::mobility`].
    pub const HANDOVER: u8 = 1;

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        while let Some(tlv) = reader.tlv()? {
            let (slot, field) = match tlv.kind {
                2 => (&mut message.managed, "SS management support"),
                3 => (&mut message.ip_management, "IP management mode"),
                4 => (&mut message.ip_version, "IP version"),
                28 => (
                    &mut message.resource_retain_time,
                    "system resource retain time",
                ),
                30 => (
                    &mut message.ho_retransmission,
                    "MS handover retransmission timer",
                ),
                31 => (&mut message.mobility, "mobility features supported"),
                36 => (
                    &mut message.service_flows,
                    "total number of provisioned service flows",
                ),
                _ => {
                    message.unknown.push(tlv.unknown());
                    continue;
                }
            };
            let [value] = tlv.fixed(field)?;
            tlv.once(slot, field, value)?;
        }
        Ok(message)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        for (kind, value) in [
            (2, self.managed),
            (3, self.ip_management),
            (4, self.ip_version),
            (28, self.resource_retain_time),
            (30, self.ho_retransmission),
            (31, self.mobility),
            (36, self.service_flows),
        ] {
            writer.optional(kind, value.map(|value| [value]));
        }
        writer.unknown(&self.unknown);
    }
}

/// REG-REQ (section 6.3.2.3.7): TLVs alone. Authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegReq {
    /// What the station can.
    pub parameters: RegistrationParameters,
}

impl RegReq {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            parameters: RegistrationParameters::decode(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        self.parameters.encode(writer);
    }
}

code! {
    /// Whether a station is registered (section 6.3.2.3.8).
    RegResponse {
        /// It is.
        Ok = 0,
        /// The REG-REQ was not authentic.
        AuthenticationFailure = 1,
    }
}

/// REG-RSP (section 6.3.2.3.8): response (8), then TLVs. Authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegRsp {
    /// Whether it is registered.
    pub response: RegResponse,
    /// How.
    pub parameters: RegistrationParameters,
}

impl RegRsp {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            response: reader.octet("response")?.into(),
            parameters: RegistrationParameters::decode(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.octet(self.response.value());
        self.parameters.encode(writer);
    }
}
