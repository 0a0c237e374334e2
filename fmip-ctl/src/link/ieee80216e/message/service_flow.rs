//! Service flows: DSA-REQ, DSA-RSP and DSA-ACK.

use super::{
    error::DecodeError,
    field::{Reader, UnknownTlv, Writer},
};
use crate::wire::code::code;

/// A service flow (section 11.13), of which the profile has the types 1, 2, 5, 6, 11 and 28.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFlow {
    /// 1: its name.
    pub sfid: Option<u32>,
    /// 2: its connection; chosen by the base station.
    pub cid: Option<u16>,
    /// 5: which of the sets of QoS parameters are meant; 7: all.
    pub qos_set: Option<u8>,
    /// 6: traffic priority.
    pub priority: Option<u8>,
    /// 11: uplink grant scheduling type; 2: best effort.
    pub scheduling: Option<u8>,
    /// 28: what it carries; 2: IPv6.
    pub convergence: Option<u8>,
    /// TLVs that the profile gives no meaning to; classifiers among them.
    pub unknown: Vec<UnknownTlv>,
}

impl ServiceFlow {
    /// IPv6, of [`Self::convergence`].
    pub const IPV6: u8 = 2;
    /// Best effort, of [`Self::scheduling`].
    pub const BEST_EFFORT: u8 = 2;
    const UPLINK: u8 = 145;
    const DOWNLINK: u8 = 146;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut flow = Self::default();
        while let Some(tlv) = reader.tlv()? {
            let (slot, field) = match tlv.kind {
                1 => {
                    let sfid = u32::from_be_bytes(tlv.fixed("SFID")?);
                    tlv.once(&mut flow.sfid, "SFID", sfid)?;
                    continue;
                }
                2 => {
                    let cid = u16::from_be_bytes(tlv.fixed("CID")?);
                    tlv.once(&mut flow.cid, "CID", cid)?;
                    continue;
                }
                5 => (&mut flow.qos_set, "QoS parameter set type"),
                6 => (&mut flow.priority, "traffic priority"),
                11 => (&mut flow.scheduling, "uplink grant scheduling type"),
                28 => (&mut flow.convergence, "CS specification"),
                _ => {
                    flow.unknown.push(tlv.unknown());
                    continue;
                }
            };
            let [value] = tlv.fixed(field)?;
            tlv.once(slot, field, value)?;
        }
        Ok(flow)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.optional(1, self.sfid.map(u32::to_be_bytes));
        writer.optional(2, self.cid.map(u16::to_be_bytes));
        for (kind, value) in [
            (5, self.qos_set),
            (6, self.priority),
            (11, self.scheduling),
            (28, self.convergence),
        ] {
            writer.optional(kind, value.map(|value| [value]));
        }
        writer.unknown(&self.unknown);
    }
}

/// The service flow of a DSA message, if it names one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// 145: the flow upwards.
    pub uplink: Option<ServiceFlow>,
    /// 146: the flow downwards.
    pub downlink: Option<ServiceFlow>,
    /// TLVs that the profile gives no meaning to.
    pub unknown: Vec<UnknownTlv>,
}

impl Flows {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut flows = Self::default();
        while let Some(tlv) = reader.tlv()? {
            let (slot, field) = match tlv.kind {
                ServiceFlow::UPLINK => (&mut flows.uplink, "uplink service flow"),
                ServiceFlow::DOWNLINK => (&mut flows.downlink, "downlink service flow"),
                _ => {
                    flows.unknown.push(tlv.unknown());
                    continue;
                }
            };
            let flow = ServiceFlow::decode(&mut tlv.nested())?;
            tlv.once(slot, field, flow)?;
        }
        Ok(flows)
    }

    fn encode(&self, writer: &mut Writer) {
        for (kind, flow) in [
            (ServiceFlow::UPLINK, &self.uplink),
            (ServiceFlow::DOWNLINK, &self.downlink),
        ] {
            if let Some(flow) = flow {
                writer.compound(kind, |writer| flow.encode(writer));
            }
        }
        writer.unknown(&self.unknown);
    }
}

code! {
    /// Whether a service flow is made (section 11.13, confirmation codes).
    Confirmation {
        /// It is.
        Ok = 0,
        /// No.
        Reject = 1,
    }
}

/// DSA-REQ (section 6.3.2.3.10): transaction ID (16), then TLVs. Authenticated.
///
/// The profile's are sent by the base station, whose transaction IDs have their first bit set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DsaReq {
    /// Matches the answers to the question.
    pub transaction: u16,
    /// What is to be made.
    pub flows: Flows,
}

impl DsaReq {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            transaction: reader.bits(16, "transaction ID")? as u16,
            flows: Flows::decode(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.transaction.into(), 16);
        self.flows.encode(writer);
    }
}

/// What DSA-RSP and DSA-ACK (sections 6.3.2.3.11 and 12) say: transaction ID (16), confirmation code
/// (8), then TLVs. Authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DsaAnswer {
    /// That of the DSA-REQ.
    pub transaction: u16,
    /// Whether it is made.
    pub confirmation: Confirmation,
    /// What is made.
    pub flows: Flows,
}

impl DsaAnswer {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            transaction: reader.bits(16, "transaction ID")? as u16,
            confirmation: reader.octet("confirmation code")?.into(),
            flows: Flows::decode(reader)?,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.transaction.into(), 16);
        writer.octet(self.confirmation.value());
        self.flows.encode(writer);
    }
}
